package codec

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unsafe"
)

// What stands here is for errors and for people who print messages: it may be slow, and so finds its way by
// reflection instead of by tables in generated code.

// fieldTag is what the tag of a struct field says: `protobuf:"bytes,1,opt,name=text"`.
type fieldTag struct {
	number   int
	name     string
	required bool
}

func parseTag(tag string) (fieldTag, bool) {
	parts := strings.Split(tag, ",")
	if len(parts) < 4 {
		return fieldTag{}, false
	}
	number, err := strconv.Atoi(parts[1])
	t := fieldTag{number: number, required: parts[2] == "req"}
	for _, p := range parts[3:] {
		if name, ok := strings.CutPrefix(p, "name="); ok {
			t.name = name
		}
	}
	return t, err == nil
}

// A structField is a field of a message that holds something: its value and what the schema says of it.
type structField struct {
	fieldTag
	value  reflect.Value
	member bool // of a oneof, so that it is there whatever it is
}

// structFields returns the fields of the message that v, a struct, holds, those of oneofs that are set among them.
func structFields(v reflect.Value) []structField {
	var fields []structField
	for i := range v.NumField() {
		f := v.Type().Field(i)
		value := v.Field(i)
		_, member := f.Tag.Lookup("protobuf_oneof")
		if member {
			if value.IsNil() || value.Elem().IsNil() {
				continue
			}
			wrapper := value.Elem().Elem()
			f, value = wrapper.Type().Field(0), wrapper.Field(0)
		}
		if t, ok := parseTag(f.Tag.Get("protobuf")); ok {
			fields = append(fields, structField{t, value, member})
		}
	}
	return fields
}

// findField returns the field of m for which match holds, and the type that holds it: m's or that of a oneof's member.
func findField(m any, match func(fieldTag) bool) (string, reflect.Type) {
	types := []reflect.Type{reflect.TypeOf(m).Elem()}
	if o, ok := m.(interface{ XXX_OneofWrappers() []any }); ok {
		for _, w := range o.XXX_OneofWrappers() {
			types = append(types, reflect.TypeOf(w).Elem())
		}
	}
	for _, t := range types {
		for i := range t.NumField() {
			if f, ok := parseTag(t.Field(i).Tag.Get("protobuf")); ok && match(f) {
				return f.name, t.Field(i).Type
			}
		}
	}
	return "", nil
}

// fieldName returns the schema's name of the field of m that has the tag; "" if there is none.
func fieldName(m any, tag uint64) string {
	name, _ := findField(m, func(f fieldTag) bool { return uint64(f.number) == tag>>3 })
	return name
}

// HasPath says that a generated message has a field at the path of names that the schema gives, "owner.name", in itself
// or in the messages of its fields, lists and maps left out.
func HasPath(m Message, path string) bool {
	var at any = m
	for name := range strings.SplitSeq(path, ".") {
		t := reflect.TypeOf(at)
		if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
			return false
		}
		_, field := findField(at, func(f fieldTag) bool { return f.name == name })
		if field == nil {
			return false
		}
		at = reflect.Zero(field).Interface()
	}
	return true
}

func index(i int) string { return "[" + strconv.Itoa(i) + "]" }

// findString returns the way to the field of m that holds the very string s.
func findString(m any, s string) string {
	way, _ := findIn(reflect.ValueOf(m), func(v reflect.Value, _ fieldTag) bool {
		return v.Kind() == reflect.String && sameString(v.String(), s)
	})
	return way
}

func sameString(a, b string) bool {
	return len(a) == len(b) && unsafe.StringData(a) == unsafe.StringData(b)
}

// missing returns an error that names a required field of m that is absent, or nil.
func missing(m any, offset int) error {
	r, ok := m.(interface{ HasRequired() bool })
	if !ok || r.HasRequired() {
		return nil
	}
	way, _ := findIn(reflect.ValueOf(m), func(v reflect.Value, t fieldTag) bool {
		return t.required && v.IsNil()
	})
	return &Error{Message: typeName(m), Field: way, Offset: offset, Reason: "the field is required and missing"}
}

// Missing returns the error of encoding m, which lacks a required field.
func Missing(m any) error { return missing(m, -1) }

// findIn returns the way to the first value for which match holds: a field, an element, a key or value of a map.
func findIn(v reflect.Value, match func(v reflect.Value, t fieldTag) bool) (string, bool) {
	return findValue(v, fieldTag{}, match)
}

func findValue(v reflect.Value, t fieldTag, match func(reflect.Value, fieldTag) bool) (string, bool) {
	if t.name != "" && match(v, t) {
		return "", true
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return "", false
		}
		if v.Elem().Kind() != reflect.Struct {
			return findValue(v.Elem(), fieldTag{name: t.name}, match)
		}
		for _, f := range structFields(v.Elem()) {
			if way, ok := findValue(f.value, f.fieldTag, match); ok {
				return joinPath(f.name, way), true
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			if way, ok := findValue(v.Index(i), fieldTag{name: t.name}, match); ok {
				return joinPath(index(i), way), true
			}
		}
	case reflect.Map:
		return findEntry(v, t, match)
	}
	return "", false
}

func findEntry(v reflect.Value, t fieldTag, match func(reflect.Value, fieldTag) bool) (string, bool) {
	for _, key := range v.MapKeys() {
		for _, half := range []reflect.Value{key, v.MapIndex(key)} {
			if way, ok := findValue(half, fieldTag{name: t.name}, match); ok {
				return joinPath(fmt.Sprintf("[%#v]", key.Interface()), way), true
			}
		}
	}
	return "", false
}
