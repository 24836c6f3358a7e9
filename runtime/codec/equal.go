package codec

import (
	"bytes"
	"maps"
	"slices"
)

// EqualFloat says that a and b are the same number, or both none.
func EqualFloat[F ~float32 | ~float64](a, b F) bool { return a == b || a != a && b != b }

// EqualPointer says that a and b are both nil or point to equal values.
func EqualPointer[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// EqualFloatPointer is EqualPointer for floats.
func EqualFloatPointer[F ~float32 | ~float64](a, b *F) bool {
	if a == nil || b == nil {
		return a == b
	}
	return EqualFloat(*a, *b)
}

// ClonePointer returns a pointer to a copy of what p points to.
func ClonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

type cloner[P any] interface{ Clone() P }

// CloneMessages returns a list of copies.
func CloneMessages[P cloner[P]](list []P) []P {
	copies := slices.Clone(list)
	for i, m := range copies {
		copies[i] = m.Clone()
	}
	return copies
}

// CloneBytesList returns a list of copies.
func CloneBytesList(list [][]byte) [][]byte {
	copies := slices.Clone(list)
	for i, b := range copies {
		copies[i] = bytes.Clone(b)
	}
	return copies
}

// CloneMap returns a map with copies of the values.
func CloneMap[K comparable, P cloner[P]](m map[K]P) map[K]P {
	copies := maps.Clone(m)
	for k, v := range copies {
		copies[k] = v.Clone()
	}
	return copies
}

// CloneBytesMap returns a map with copies of the values.
func CloneBytesMap[K comparable](m map[K][]byte) map[K][]byte {
	copies := maps.Clone(m)
	for k, v := range copies {
		copies[k] = bytes.Clone(v)
	}
	return copies
}
