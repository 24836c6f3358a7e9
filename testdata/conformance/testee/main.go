// Testee answers protobuf's conformance_test_runner on stdin and stdout: with messages that ipcgen has generated, in the
// wire format, JSON and the text format.
package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"reflect"

	"github.com/ipcgen/ipcgen/runtime/codec"
	"github.com/ipcgen/ipcgen/runtime/protobuf"
	"github.com/ipcgen/ipcgen/testdata/conformance/go/conformance"
	"github.com/ipcgen/ipcgen/testdata/conformance/go/edition2023"
	"github.com/ipcgen/ipcgen/testdata/conformance/go/editionproto2"
	"github.com/ipcgen/ipcgen/testdata/conformance/go/editionproto3"
	"github.com/ipcgen/ipcgen/testdata/conformance/go/proto2"
	"github.com/ipcgen/ipcgen/testdata/conformance/go/proto3"
)

// messages are those that the runner asks for.
var messages = []codec.Message{
	&conformance.FailureSet{}, // the runner asks whether the testee knows of any, once
	&proto2.TestAllTypesProto2{}, &proto3.TestAllTypesProto3{}, &edition2023.TestAllTypesEdition2023{},
	&editionproto2.TestAllTypesProto2{}, &editionproto3.TestAllTypesProto3{},
	&proto2.TestAllRequiredTypesProto2{}, &editionproto2.TestAllRequiredTypesProto2{},
}

func main() {
	types, err := protobuf.NewTypes(messages...)
	if err != nil {
		log.Fatal(err)
	}
	t := testee{types: types, byName: make(map[string]codec.Message)}
	for _, m := range messages {
		t.byName[codec.FullName(m)] = m
	}
	in := bufio.NewReader(os.Stdin)
	for {
		err := t.serve(in, os.Stdout)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
	}
}

type testee struct {
	types  *protobuf.Types
	byName map[string]codec.Message
}

// serve answers one request: both have their length before them, in four bytes. It returns io.EOF where no other comes.
func (t *testee) serve(r io.Reader, w io.Writer) error {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return err
	}
	b := make([]byte, binary.LittleEndian.Uint32(length[:]))
	if _, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("a request of %d bytes: %w", len(b), err)
	}
	var req conformance.ConformanceRequest
	if err := req.Unmarshal(b); err != nil {
		return err
	}
	res := t.answer(&req)
	b = binary.LittleEndian.AppendUint32(nil, uint32(res.Size()))
	b, err := res.MarshalAppend(b)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

func (t *testee) answer(req *conformance.ConformanceRequest) *conformance.ConformanceResponse {
	kind, ok := t.byName[req.MessageType]
	if !ok {
		return failed("no message " + req.MessageType)
	}
	m := reflect.New(reflect.TypeOf(kind).Elem()).Interface().(codec.Message)
	if skipped, err := t.read(req, m); skipped != "" {
		return &conformance.ConformanceResponse{Result: &conformance.ConformanceResponse_Skipped{Skipped: skipped}}
	} else if err != nil {
		return &conformance.ConformanceResponse{Result: &conformance.ConformanceResponse_ParseError{ParseError: err.Error()}}
	}
	return t.write(req, m)
}

func failed(text string) *conformance.ConformanceResponse {
	return &conformance.ConformanceResponse{Result: &conformance.ConformanceResponse_RuntimeError{RuntimeError: text}}
}

// read gives m what the request holds.
func (t *testee) read(req *conformance.ConformanceRequest, m codec.Message) (skipped string, err error) {
	if req.PrintUnknownFields {
		return "fields that the schema does not know are not written as text or JSON", nil
	}
	ignore := req.TestCategory == conformance.TestCategory_JSON_IGNORE_UNKNOWN_PARSING_TEST
	switch p := req.Payload.(type) {
	case *conformance.ConformanceRequest_ProtobufPayload:
		return "", m.Unmarshal(p.ProtobufPayload)
	case *conformance.ConformanceRequest_JsonPayload:
		return "", protobuf.JSON{Types: t.types, IgnoreUnknown: ignore}.Unmarshal([]byte(p.JsonPayload), m)
	case *conformance.ConformanceRequest_TextPayload:
		return "", protobuf.Text{Types: t.types}.Unmarshal([]byte(p.TextPayload), m)
	default:
		return fmt.Sprintf("there is no %T here", p), nil
	}
}

// write returns m in the format that is asked for.
func (t *testee) write(req *conformance.ConformanceRequest, m codec.Message) *conformance.ConformanceResponse {
	var res conformance.ConformanceResponse
	var b []byte
	var err error
	switch req.RequestedOutputFormat {
	case conformance.WireFormat_PROTOBUF:
		b, err = m.MarshalAppend(nil)
		res.Result = &conformance.ConformanceResponse_ProtobufPayload{ProtobufPayload: b}
	case conformance.WireFormat_JSON:
		b, err = protobuf.JSON{Types: t.types}.Marshal(m)
		res.Result = &conformance.ConformanceResponse_JsonPayload{JsonPayload: string(b)}
	case conformance.WireFormat_TEXT_FORMAT:
		b, err = protobuf.Text{Types: t.types}.Marshal(m)
		res.Result = &conformance.ConformanceResponse_TextPayload{TextPayload: string(b)}
	default:
		res.Result = &conformance.ConformanceResponse_Skipped{Skipped: "there is no " + req.RequestedOutputFormat.String() + " here"}
	}
	if err != nil {
		res.Result = &conformance.ConformanceResponse_SerializeError{SerializeError: err.Error()}
	}
	return &res
}
