package wkt

// NewDoubleValue returns v as a message.
func NewDoubleValue(v float64) *DoubleValue { return &DoubleValue{Value: v} }

// NewFloatValue returns v as a message.
func NewFloatValue(v float32) *FloatValue { return &FloatValue{Value: v} }

// NewInt64Value returns v as a message.
func NewInt64Value(v int64) *Int64Value { return &Int64Value{Value: v} }

// NewUInt64Value returns v as a message.
func NewUInt64Value(v uint64) *UInt64Value { return &UInt64Value{Value: v} }

// NewInt32Value returns v as a message.
func NewInt32Value(v int32) *Int32Value { return &Int32Value{Value: v} }

// NewUInt32Value returns v as a message.
func NewUInt32Value(v uint32) *UInt32Value { return &UInt32Value{Value: v} }

// NewBoolValue returns v as a message.
func NewBoolValue(v bool) *BoolValue { return &BoolValue{Value: v} }

// NewStringValue returns v as a message.
func NewStringValue(v string) *StringValue { return &StringValue{Value: v} }

// NewBytesValue returns v as a message, which keeps the slice.
func NewBytesValue(v []byte) *BytesValue { return &BytesValue{Value: v} }
