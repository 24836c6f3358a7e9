//go:build unix

package pipe

import "os"

// ends are the two ends of a pipe or FIFO. Closing is for all that are there, as often as one likes.
type ends struct{ r, w *os.File }

func (e *ends) close() {
	for _, f := range []*os.File{e.r, e.w} {
		if f != nil {
			f.Close()
		}
	}
}
