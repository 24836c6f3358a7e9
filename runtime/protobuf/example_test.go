package protobuf_test

import (
	"fmt"
	"log"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/ipcgen/ipcgen/runtime/protobuf"
	"github.com/ipcgen/ipcgen/runtime/wkt"
	av1 "github.com/ipcgen/ipcgen/testdata/imports/go/a/v1"
	"github.com/ipcgen/ipcgen/testdata/imports/go/c"
	"github.com/ipcgen/ipcgen/testdata/messages/go/nested"
	"github.com/ipcgen/ipcgen/testdata/proto2/go/old"
	echov1 "github.com/ipcgen/ipcgen/testdata/services/go/echo/v1"
)

func ExampleJSON() {
	req := &echov1.SayRequest{Text: "hello", Times: 3}
	b, err := protobuf.JSON{}.Marshal(req)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(b))

	again := new(echov1.SayRequest)
	if err := (protobuf.JSON{}).Unmarshal(b, again); err != nil {
		log.Fatal(err)
	}
	fmt.Println(again.Equal(req))
	// Output:
	// {"text":"hello","times":3}
	// true
}

func ExampleJSON_wellKnown() {
	b, err := protobuf.JSON{Indent: "  "}.Marshal(&nested.WellKnown{
		At:   wkt.NewTimestamp(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)),
		Span: wkt.NewDuration(1500 * time.Millisecond),
		Mask: &wkt.FieldMask{Paths: []string{"user.first_name", "photo"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(b))
	// Output:
	// {
	//   "at": "2026-01-02T03:04:05Z",
	//   "span": "1.500s",
	//   "mask": "user.firstName,photo"
	// }
}

// What an Any may hold is said by Types.
func ExampleNewTypes() {
	types, err := protobuf.NewTypes(&echov1.SayRequest{}, &echov1.TooLong{})
	if err != nil {
		log.Fatal(err)
	}
	detail, err := wkt.NewAny(&echov1.TooLong{Limit: 20})
	if err != nil {
		log.Fatal(err)
	}
	m, err := types.Unpack(detail)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.(*echov1.TooLong).Limit)

	b, err := protobuf.JSON{Types: types}.Marshal(&nested.WellKnown{Any: detail})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(b))
	// Output:
	// 20
	// {"any":{"@type":"type.googleapis.com/echo.v1.TooLong","limit":20}}
}

// Extensions are JSON and text as protobuf has it.
func ExampleText() {
	var m old.Old
	text := `
		name: "Ada"
		[old.number]: 7  # an extension
	`
	if err := (protobuf.Text{}).Unmarshal([]byte(text), &m); err != nil {
		log.Fatal(err)
	}
	number, err := old.E_Number.Get(&m)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.GetName(), number)
	// Output: Ada 7
}

// A program that gives its messages to libraries made for protobuf's own registers them once.
func ExampleTypes_Register() {
	types, err := protobuf.NewTypes(&av1.A{})
	if err != nil {
		log.Fatal(err)
	}
	// In a program these are protoregistry.GlobalFiles and protoregistry.GlobalTypes.
	files, known := new(protoregistry.Files), new(protoregistry.Types)
	if err := types.Register(files, known); err != nil {
		log.Fatal(err)
	}
	d, err := files.FindDescriptorByName("a.v1.A.kinds")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.FullName())

	b, err := proto.Marshal(protoadapt.MessageV2Of(&av1.A{C: &context.C{Text: "c"}}))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%x\n", b)
	// Output:
	// a.v1.A.kinds
	// 22030a0163
}
