package wkt

import (
	"encoding/base64"
	"fmt"
	"math"
	"unicode/utf8"
)

// NewStruct returns fields as a Struct. See NewValue for what their values may be.
func NewStruct(fields map[string]any) (*Struct, error) {
	s := &Struct{Fields: make(map[string]*Value, len(fields))}
	for k, v := range fields {
		if !utf8.ValidString(k) {
			return nil, fmt.Errorf("%q: not UTF-8", k)
		}
		value, err := NewValue(v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k, err)
		}
		s.Fields[k] = value
	}
	return s, nil
}

// NewListValue returns items as a ListValue. See NewValue for what they may be.
func NewListValue(items []any) (*ListValue, error) {
	l := &ListValue{Values: make([]*Value, len(items))}
	for i, item := range items {
		var err error
		if l.Values[i], err = NewValue(item); err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return l, nil
}

// NewValue returns v as a Value: nil, a bool, any integer or float, a string, []byte (which becomes its base64, as JSON
// has it), []any or map[string]any. Integers above 2^53 lose their last digits, as they do in JSON.
func NewValue(v any) (*Value, error) {
	switch v := v.(type) {
	case nil:
		return &Value{Kind: &Value_NullValue{}}, nil
	case bool:
		return &Value{Kind: &Value_BoolValue{BoolValue: v}}, nil
	case string:
		if !utf8.ValidString(v) {
			return nil, fmt.Errorf("%q: not UTF-8", v)
		}
		return &Value{Kind: &Value_StringValue{StringValue: v}}, nil
	case []byte:
		return NewValue(base64.StdEncoding.EncodeToString(v))
	case map[string]any:
		s, err := NewStruct(v)
		return &Value{Kind: &Value_StructValue{StructValue: s}}, err
	case []any:
		l, err := NewListValue(v)
		return &Value{Kind: &Value_ListValue{ListValue: l}}, err
	}
	n, ok := number(v)
	switch {
	case !ok:
		return nil, fmt.Errorf("a %T cannot be a Value", v)
	case math.IsNaN(n) || math.IsInf(n, 0):
		return nil, fmt.Errorf("%v: JSON has no such number", n)
	}
	return &Value{Kind: &Value_NumberValue{NumberValue: n}}, nil
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case int8:
		return float64(v), true
	case int16:
		return float64(v), true
	case int32:
		return float64(v), true
	case int64:
		return float64(v), true
	case uint:
		return float64(v), true
	case uint8:
		return float64(v), true
	case uint16:
		return float64(v), true
	case uint32:
		return float64(v), true
	case uint64:
		return float64(v), true
	case float32:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// AsMap returns the fields as Go values: see AsAny.
func (m *Struct) AsMap() map[string]any {
	fields := make(map[string]any, len(m.GetFields()))
	for k, v := range m.GetFields() {
		fields[k] = v.AsAny()
	}
	return fields
}

// AsAny returns m as nil, bool, float64, string, []any or map[string]any.
func (m *Value) AsAny() any {
	switch k := m.GetKind().(type) {
	case *Value_BoolValue:
		return k.BoolValue
	case *Value_NumberValue:
		return k.NumberValue
	case *Value_StringValue:
		return k.StringValue
	case *Value_StructValue:
		return k.StructValue.AsMap()
	case *Value_ListValue:
		return k.ListValue.AsSlice()
	}
	return nil
}

// AsSlice returns the items as Go values: see Value.AsAny.
func (m *ListValue) AsSlice() []any {
	items := make([]any, len(m.GetValues()))
	for i, v := range m.GetValues() {
		items[i] = v.AsAny()
	}
	return items
}
