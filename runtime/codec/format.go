package codec

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Format returns a message as text for people: `text:"hello" times:2`. It may change from release to release and
// cannot be read back.
func Format(m any) string {
	v := reflect.ValueOf(m)
	if v.IsNil() {
		return "<nil>"
	}
	var b strings.Builder
	formatMessage(&b, v.Elem())
	return b.String()
}

// FormatError returns a message that is an error as text.
func FormatError(name string, m any) string {
	if text := Format(m); text != "" {
		return name + ": " + text
	}
	return name
}

func formatMessage(b *strings.Builder, v reflect.Value) {
	before := b.Len()
	for _, f := range structFields(v) {
		if !f.member && absent(f.value) {
			continue
		}
		if b.Len() > before {
			b.WriteByte(' ')
		}
		b.WriteString(f.name)
		b.WriteByte(':')
		formatValue(b, f.value)
	}
	if n := v.FieldByName("unknownFields").Len(); n > 0 {
		if b.Len() > before {
			b.WriteByte(' ')
		}
		fmt.Fprintf(b, "(%d bytes of unknown fields)", n)
	}
}

// absent says that a field holds nothing worth printing.
func absent(v reflect.Value) bool {
	switch {
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8, v.Kind() == reflect.Map:
		return v.Len() == 0
	default:
		return v.IsZero()
	}
}

func formatValue(b *strings.Builder, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		switch {
		case v.IsNil():
			b.WriteString("<nil>")
		case v.Elem().Kind() == reflect.Struct:
			b.WriteByte('{')
			formatMessage(b, v.Elem())
			b.WriteByte('}')
		default:
			formatValue(b, v.Elem())
		}
	case reflect.String:
		b.WriteString(strconv.Quote(v.String()))
	case reflect.Slice:
		formatList(b, v)
	case reflect.Map:
		formatMap(b, v)
	default:
		fmt.Fprint(b, v.Interface())
	}
}

func formatList(b *strings.Builder, v reflect.Value) {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		b.WriteString(strconv.Quote(string(v.Bytes())))
		return
	}
	b.WriteByte('[')
	for i := range v.Len() {
		if i > 0 {
			b.WriteString(", ")
		}
		formatValue(b, v.Index(i))
	}
	b.WriteByte(']')
}

func formatMap(b *strings.Builder, v reflect.Value) {
	entries := make([]string, 0, v.Len())
	for _, key := range v.MapKeys() {
		var entry strings.Builder
		formatValue(&entry, key)
		entry.WriteByte(':')
		formatValue(&entry, v.MapIndex(key))
		entries = append(entries, entry.String())
	}
	slices.Sort(entries)
	b.WriteString("{" + strings.Join(entries, ", ") + "}")
}
