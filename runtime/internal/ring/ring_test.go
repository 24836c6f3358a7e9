package ring

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

var id = [2]Identity{{Session: [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9}, Side: 0}, {Session: [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9}, Side: 1}}

// memories are what segments can lie in.
var memories = map[string]func(t *testing.T, size int) []byte{
	"heap": func(_ *testing.T, size int) []byte { return make([]byte, size) },
}

// segments makes those of two sides.
func segments(t *testing.T, memory func(*testing.T, int) []byte, size int) (a, b []byte) {
	t.Helper()
	a, b = memory(t, HeaderSize+size), memory(t, HeaderSize+size)
	Init(a, id[0])
	Init(b, id[1])
	for i, s := range [][]byte{a, b} {
		if err := Check(s, id[i]); err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}

// TestQueue holds both directions against a queue: what is read is what was written, there is room where the queue has
// room, and the counters may wrap.
func TestQueue(t *testing.T) {
	for name, memory := range memories {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20) {
				rng := rand.New(rand.NewPCG(seed, 0))
				a, b := segments(t, memory, MinSize<<rng.IntN(3))
				w, _ := New(a, b)
				_, r := New(b, a)
				start := rng.Uint32()
				if seed%2 == 0 {
					start = -uint32(rng.IntN(100_000)) // it wraps on the way
				}
				begin(w, r, start)
				queue(t, rng, w, r)
			}
		})
	}
}

// begin makes a ring look as if n bytes had gone through it.
func begin(w *Writer, r *Reader, n uint32) {
	w.at, w.seen, r.at, r.seen = n, n, n, n
	w.tail.Store(n)
	r.head.Store(n)
}

func queue(t *testing.T, rng *rand.Rand, w *Writer, r *Reader) {
	t.Helper()
	var model []byte
	next := byte(0)
	for range 500 {
		b := make([]byte, rng.IntN([]int{10, 1000, 2 * len(w.data)}[rng.IntN(3)]))
		if rng.IntN(2) == 0 {
			for i := range b {
				b[i] = next + byte(i)
			}
			n, err := w.Write(b)
			if want := min(len(b), chunk, len(w.data)-len(model)); n != want || err != nil {
				t.Fatalf("wrote %d of %d bytes, %v; want %d", n, len(b), err, want)
			}
			model = append(model, b[:n]...)
			next += byte(n)
		} else {
			n, err := r.Read(b)
			if want := min(len(b), chunk, len(model)); err != nil || n > want || (n == 0) != (want == 0) {
				t.Fatalf("read %d of %d bytes, %v; want %d", n, len(b), err, want)
			}
			if !bytes.Equal(b[:n], model[:n]) {
				t.Fatal("other bytes were read than were written")
			}
			model = model[n:]
		}
		if word, empty := r.Awaits(); (*word != empty) != (len(model) > 0) || r.Ready() != (len(model) > 0) {
			t.Fatalf("to be waited for: %d is no longer %d, with %d bytes in the queue", *word, empty, len(model))
		}
		if len(model) > 0 && *r.Next() != model[0] {
			t.Fatal("the next byte is not where it is said to be")
		}
		if word, full := w.Awaits(); (*word != full) != (len(model) < len(w.data)) {
			t.Fatalf("to be waited for: %d is no longer %d, with %d bytes in a ring of %d", *word, full, len(model), len(w.data))
		}
	}
}

// TestBell: the other side is rung once each time that it has parked, for room only where there is enough.
func TestBell(t *testing.T) {
	a, b := segments(t, memories["heap"], MinSize)
	w, _ := New(a, b)
	_, r := New(b, a)
	if w.Write(make([]byte, 1)); w.Bell() {
		t.Error("a bell for a side that is not parked")
	}
	if ready, err := r.Park(); !ready || err != nil {
		t.Errorf("parked with something to read: %v, %v", ready, err)
	}
	r.Unpark()
	for range 3 {
		r.Read(make([]byte, 100))
		if ready, err := r.Park(); ready || err != nil {
			t.Errorf("parked with nothing to read: %v, %v", ready, err)
		}
		w.Write(make([]byte, 1))
		if !w.Bell() {
			t.Error("no bell for a side that is parked")
		}
		if w.Write(make([]byte, 1)); w.Bell() {
			t.Error("a second bell")
		}
		r.Unpark()
	}
	r.Read(make([]byte, 100))

	for range 3 {
		for n := 1; n > 0; {
			n, _ = w.Write(make([]byte, MinSize))
		}
		if ready, err := w.Park(100); ready || err != nil {
			t.Errorf("parked without room: %v, %v", ready, err)
		}
		if r.Read(make([]byte, 99)); r.Bell() {
			t.Error("a bell for less room than was wanted")
		}
		if r.Read(make([]byte, 1)); !r.Bell() {
			t.Error("no bell for a side that is parked for room")
		}
		if r.Read(make([]byte, 1)); r.Bell() {
			t.Error("a second bell for room")
		}
		w.Unpark()
		if ready, err := w.Park(100); !ready || err != nil {
			t.Errorf("parked with room: %v, %v", ready, err)
		}
		w.Unpark()
	}
}

// TestCheck damages each field of the header.
func TestCheck(t *testing.T) {
	good, _ := segments(t, memories["heap"], MinSize)
	for offset, want := range map[int]string{
		atMagic: "begins with", atVersion: "layout version", atHeader: "a header of", atSize: "a ring of",
		atFlags: "the flags", atSession: "another session", atSession + 15: "another session", atSide: "side",
	} {
		bad := bytes.Clone(good)
		bad[offset] ^= 0x80
		if err := Check(bad, id[0]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("offset %#x: got %v, want an error with %q", offset, err, want)
		}
	}
	for _, n := range []int{0, HeaderSize, HeaderSize + MinSize/2, HeaderSize + MinSize + 4096} {
		if err := Check(make([]byte, n), id[0]); err == nil {
			t.Errorf("%d bytes: no error", n)
		}
	}
}

// TestBroken: whatever the other side writes in its words, nothing but an error comes of it.
func TestBroken(t *testing.T) {
	fresh := func(t *testing.T) (w *Writer, r *Reader, theirs []byte) {
		a, b := segments(t, memories["heap"], MinSize)
		w, r = New(a, b)
		ow, or := New(b, a)
		w.Write(make([]byte, 1000))
		or.Read(make([]byte, 500))
		ow.Write(make([]byte, 1000))
		r.Read(make([]byte, 500))
		if _, err := w.look(); err != nil {
			t.Fatal(err)
		}
		return w, r, b
	}
	for _, v := range []uint32{0, 499, 1001, 1 << 31, 1<<31 - 1, 1<<32 - 1} {
		w, _, theirs := fresh(t)
		word(theirs, atHead).Store(v)
		if _, err := w.Park(1); !errors.Is(err, ErrBroken) {
			t.Errorf("head %d: got %v", v, err)
		}
		if _, err := w.Write(make([]byte, MinSize)); !errors.Is(err, ErrBroken) {
			t.Errorf("head %d: writing: got %v", v, err)
		}
	}
	for _, v := range []uint32{0, 499, 999, 500 + MinSize + 1, 1 << 31, 1<<32 - 1} {
		_, r, theirs := fresh(t)
		word(theirs, atTail).Store(v)
		if _, err := r.Park(); !errors.Is(err, ErrBroken) {
			t.Errorf("tail %d: got %v", v, err)
		}
		if _, err := r.Read(make([]byte, MinSize)); !errors.Is(err, ErrBroken) {
			t.Errorf("tail %d: reading: got %v", v, err)
		}
	}
	for _, offset := range []int{atRxWait, atTxWait, atWakeAt} {
		for _, v := range []uint32{1, 1 << 31, 1<<32 - 1} {
			w, r, theirs := fresh(t)
			word(theirs, offset).Store(v)
			bells := 0
			for range 10 {
				_, err := w.Write([]byte{1})
				if w.Bell() {
					bells++
				}
				if err == nil {
					_, err = r.Read(make([]byte, 1))
				}
				if r.Bell() {
					bells++
				}
				if err != nil {
					t.Errorf("offset %#x: %v", offset, err)
				}
			}
			if bells > 1 {
				t.Errorf("offset %#x: %d bells for one value", offset, bells)
			}
		}
	}
}
