package codec

import (
	"bytes"
	"slices"
)

// Extendable is a generated message that may have extensions, which are kept among the fields that it does not know.
type Extendable interface {
	comparable
	Message
	// ExtensionFields returns where the message keeps them.
	ExtensionFields() *[]byte
}

// An Extension is a field that the message M gets from elsewhere; T is the Go type of its value. Several goroutines
// may read extensions of one message at once, as long as none changes any.
type Extension[M Extendable, K Kind[T], T any] struct {
	number   int32
	fallback T
}

// NewExtension describes an extension, for generated code.
func NewExtension[M Extendable, K Kind[T], T any](number int32) Extension[M, K, T] {
	return Extension[M, K, T]{number: number}
}

// Default returns the extension with a default value, for generated code.
func (x Extension[M, K, T]) Default(v T) Extension[M, K, T] {
	x.fallback = v
	return x
}

// Has says that m has the extension.
func (x Extension[M, K, T]) Has(m M) bool {
	found := false
	_ = eachExtension(m, x.number, func(*Decoder, uint64, []byte, int) (int, bool) {
		found = true
		return failed, false
	})
	return found
}

// Get returns the value of the extension, or its default if m does not have it. It fails if what stands in m is not
// of the extension's type.
func (x Extension[M, K, T]) Get(m M) (T, error) {
	var kind K
	var value T
	found := false
	err := eachExtension(m, x.number, func(d *Decoder, tag uint64, b []byte, pos int) (int, bool) {
		if tag&7 != kind.wire() {
			return pos, false
		}
		found = true
		value, pos = kind.read(d, tag, b, pos, value)
		return pos, true
	})
	if !found || err != nil {
		return x.absent(), err
	}
	return value, nil
}

// absent returns the default. Bytes are a copy: the caller may change them.
func (x Extension[M, K, T]) absent() T {
	if b, ok := any(x.fallback).([]byte); ok {
		return any(bytes.Clone(b)).(T)
	}
	return x.fallback
}

// Set gives m the extension in place of what it had. It fails if v cannot be encoded.
func (x Extension[M, K, T]) Set(m M, v T) error {
	b, err := appendExtension[K](without(*m.ExtensionFields(), x.number), x.number, v)
	if err != nil {
		return err
	}
	*m.ExtensionFields() = b
	return nil
}

// Clear takes the extension from m.
func (x Extension[M, K, T]) Clear(m M) {
	fields := m.ExtensionFields()
	*fields = without(*fields, x.number)
}

// A ListExtension is a repeated field that the message M gets from elsewhere; T is the Go type of an element.
type ListExtension[M Extendable, K Kind[T], T any] struct {
	number int32
	packed bool
}

// NewListExtension describes a repeated extension, for generated code.
func NewListExtension[M Extendable, K Kind[T], T any](number int32, packed bool) ListExtension[M, K, T] {
	return ListExtension[M, K, T]{number, packed}
}

// Get returns the elements of the extension. It fails if what stands in m is not of the extension's type.
func (x ListExtension[M, K, T]) Get(m M) ([]T, error) {
	var kind K
	var list []T
	err := eachExtension(m, x.number, func(d *Decoder, tag uint64, b []byte, pos int) (int, bool) {
		var v T
		switch wire := tag & 7; {
		case wire == kind.wire():
			v, pos = kind.read(d, tag, b, pos, v)
			list = append(list, v)
			return pos, true
		case wire == WireBytes && kind.wire() != WireStartGroup:
			start, end := readSpan(b, pos)
			for pos = start; pos >= 0 && pos < end; {
				v, pos = kind.read(d, tag, b[:end], pos, v)
				list = append(list, v)
			}
			return inPacked(pos), true
		default:
			return pos, false
		}
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// Set gives m the elements in place of those it had. It fails if one cannot be encoded.
func (x ListExtension[M, K, T]) Set(m M, list []T) error {
	b := without(*m.ExtensionFields(), x.number)
	if x.packed && len(list) > 0 {
		b = x.appendPacked(b, list)
	} else {
		for _, v := range list {
			var err error
			if b, err = appendExtension[K](b, x.number, v); err != nil {
				return err
			}
		}
	}
	*m.ExtensionFields() = b
	return nil
}

// Clear takes the extension from m.
func (x ListExtension[M, K, T]) Clear(m M) {
	fields := m.ExtensionFields()
	*fields = without(*fields, x.number)
}

// appendPacked appends a list of numbers, which need no Encoder.
func (x ListExtension[M, K, T]) appendPacked(b []byte, list []T) []byte {
	var kind K
	n := 0
	for _, v := range list {
		n += kind.size(v)
	}
	b = AppendVarint(b, uint64(x.number)<<3|WireBytes, uint64(n))
	for _, v := range list {
		at := len(b)
		b = kind.append(nil, b, kind.wire(), v)
		b = slices.Delete(b, at, at+1) // the tag
	}
	return b
}

func appendExtension[K Kind[T], T any](b []byte, number int32, v T) ([]byte, error) {
	var kind K
	var e Encoder
	b = kind.append(&e, b, uint64(number)<<3|kind.wire(), v)
	if e.err != nil {
		e.err.Message, e.err.Field = "the extension", index(int(number))
		return nil, e.err
	}
	return e.putLengths(b), nil
}

// eachExtension calls read for each field of m with the number. It returns the position behind the value, and
// whether it has read it; what it has not read is left out.
func eachExtension[M Extendable](m M, number int32, read func(*Decoder, uint64, []byte, int) (int, bool)) error {
	if m == *new(M) {
		return nil
	}
	b := *m.ExtensionFields()
	d := &Decoder{input: b, depth: defaultDepth - 1, memory: max(defaultMemory, memoryFactor*len(b))}
	d.ahead = 1
	for pos := 0; pos < len(b); {
		start := pos
		tag, value := readVarint(b, pos)
		if int32(tag>>3) == number {
			end, done := read(d, tag, b, value)
			if end < 0 {
				return d.extensionError(m, number, start, end)
			}
			if pos = end; done {
				continue
			}
		}
		if pos = skip(b, tag, value, defaultDepth); pos < 0 {
			return d.extensionError(m, number, start, pos)
		}
	}
	return nil
}

func (d *Decoder) extensionError(m any, number int32, start, code int) error {
	if code != failed || d.err == nil {
		d.err = &Error{Offset: start, Reason: d.reason(code)}
	}
	d.err.Message, d.err.Field = typeName(m), joinPath(index(int(number)), d.path)
	return d.err
}

// without returns a copy of fields that leaves out those with the number.
func without(fields []byte, number int32) []byte {
	var kept []byte
	for pos := 0; pos < len(fields); {
		tag, value := readVarint(fields, pos)
		end := skip(fields, tag, value, defaultDepth)
		if end < 0 {
			return append(kept, fields[pos:]...)
		}
		if int32(tag>>3) != number {
			kept = append(kept, fields[pos:end]...)
		}
		pos = end
	}
	return slices.Clip(kept)
}
