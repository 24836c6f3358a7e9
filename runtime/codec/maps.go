package codec

import (
	"fmt"
	"slices"
	"unsafe"
)

// An entry of a map is a message of two fields.
const (
	keyNumber   = 1
	valueNumber = 2
)

// sortedKeys returns the keys in the order in which entries are written.
func sortedKeys[KK Kind[K], K comparable, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	var kk KK
	slices.SortFunc(keys, kk.compare)
	return keys
}

// SizeMap returns the size of the entries of m, each with a tag of the given size.
func SizeMap[KK Kind[K], VK Kind[V], K comparable, V any](tag int, m map[K]V) int {
	var kk KK
	var vk VK
	n := 0
	for k, v := range m {
		n += tag + SizeBytes(2+kk.size(k)+vk.size(v))
	}
	return n
}

// AppendMap appends the entries of m, sorted by key, each behind the tag.
func AppendMap[KK Kind[K], VK Kind[V], K comparable, V any](e *Encoder, b []byte, tag uint64, m map[K]V) []byte {
	var kk KK
	var vk VK
	own := onStack(e)
	apart := own.apart
	own.apart = nil // an entry is read in one piece
	for _, k := range sortedKeys[KK](m) {
		at := len(b) + SizeVarint(tag)
		b = kk.append(own, own.Open(b, tag), keyNumber<<3|kk.wire(), k)
		b = vk.append(own, b, valueNumber<<3|vk.wire(), m[k])
		b = own.Close(b, at)
	}
	own.apart = apart
	return b
}

// ReadMap reads the entry at pos into m, which is made if it is nil.
func ReadMap[KK Kind[K], VK Kind[V], K comparable, V any](d *Decoder, b []byte, pos int, m map[K]V) (map[K]V, int) {
	start, end := readSpan(b, pos)
	if start < 0 {
		return m, start
	}
	var key K
	var kk KK
	var vk VK
	value, ok := vk.zero(d)
	if !ok || !d.claim(int(unsafe.Sizeof(key)+unsafe.Sizeof(value))) {
		return m, tooLarge
	}
	b = b[:end]
	for pos = start; pos < end; {
		var tag uint64
		tag, pos = readVarint(b, pos)
		switch {
		case pos < 0:
		case tag == keyNumber<<3|kk.wire():
			key, pos = kk.read(d, tag, b, pos, key)
		case tag == valueNumber<<3|vk.wire():
			value, pos = vk.read(d, tag, b, pos, value)
		case tag>>3 == 0 || tag>>3 > maxNumber:
			pos = badNumber
		default:
			pos = skip(b, tag, pos, d.depth)
		}
		if pos < 0 {
			return m, d.failEntry(pos, key)
		}
	}
	if m == nil {
		m = make(map[K]V)
	}
	m[key] = value
	return m, end
}

// failEntry adds to the way to the field that the value behind the key has failed.
func (d *Decoder) failEntry(code int, key any) int {
	if code == failed {
		d.path = joinPath(fmt.Sprintf("[%#v]", key), d.path)
	}
	return code
}
