package codec

// optionals are pieces of memory for the values that pointers of optional fields point to. A piece serves the whole
// Unmarshal; the next is larger, so that one value costs no more than itself and a thousand cost a few allocations.
type optionals struct {
	bools    []bool
	int32s   []int32
	int64s   []int64
	uint32s  []uint32
	uint64s  []uint64
	float32s []float32
	float64s []float64
	strings  []string
}

const maxPiece = 256

// keep returns a pointer to a copy of v in the piece of memory.
func keep[T any](piece *[]T, v T) *T {
	p := *piece
	if len(p) == cap(p) {
		p = make([]T, 0, min(max(1, 2*cap(p)), maxPiece))
	}
	p = append(p, v)
	*piece = p
	return &p[len(p)-1]
}

// NewBool returns a pointer to v, as the other methods named New do.
func (d *Decoder) NewBool(v bool) *bool { return keep(&d.optional.bools, v) }

// NewInt32 returns a pointer to v.
func (d *Decoder) NewInt32(v int32) *int32 { return keep(&d.optional.int32s, v) }

// NewInt64 returns a pointer to v.
func (d *Decoder) NewInt64(v int64) *int64 { return keep(&d.optional.int64s, v) }

// NewUint32 returns a pointer to v.
func (d *Decoder) NewUint32(v uint32) *uint32 { return keep(&d.optional.uint32s, v) }

// NewUint64 returns a pointer to v.
func (d *Decoder) NewUint64(v uint64) *uint64 { return keep(&d.optional.uint64s, v) }

// NewFloat32 returns a pointer to v.
func (d *Decoder) NewFloat32(v float32) *float32 { return keep(&d.optional.float32s, v) }

// NewFloat64 returns a pointer to v.
func (d *Decoder) NewFloat64(v float64) *float64 { return keep(&d.optional.float64s, v) }

// NewString returns a pointer to v.
func (d *Decoder) NewString(v string) *string { return keep(&d.optional.strings, v) }
