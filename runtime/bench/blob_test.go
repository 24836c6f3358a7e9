package bench

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ipcgen/ipcgen/runtime/ipc"
	"github.com/ipcgen/ipcgen/testdata/blobs/go/blobs/store"
	blobsv1 "github.com/ipcgen/ipcgen/testdata/blobs/go/blobs/v1"
)

// A gallery sends pictures, of as many bytes as the cover of the album has, and as often as its title has: always the same
// one, or, where the back of the album has a text, each painted in memory that the client can read.
type gallery struct{ store.UnimplementedStore }

func (gallery) List(ctx context.Context, req *blobsv1.Album, send func(*blobsv1.Picture) error) error {
	conn := ipc.ConnOf(ctx)
	p := &blobsv1.Picture{Data: make([]byte, len(req.Cover))}
	for i := range len(req.Title) {
		if req.GetText() != "" {
			p = &blobsv1.Picture{Data: conn.NewBlob(len(req.Cover))}
			paint(p.Data, byte(i))
		}
		if err := send(p); err != nil {
			return err
		}
	}
	return nil
}

// paint writes every byte once.
func paint(p []byte, colour byte) {
	clear(p)
	p[0], p[len(p)-1] = colour, colour
}

func serveGallery(address string, ready func()) error {
	e := &ipc.Endpoint{Services: []ipc.Service{store.NewStoreService(gallery{})}}
	l, err := e.Listen(context.Background(), address)
	if err != nil {
		return err
	}
	ready()
	return l.Serve(context.Background())
}

// listBlobs returns a server stream of n blobs of size bytes, which counts those that came.
func listBlobs(b *testing.B, e *ipc.Endpoint, address string, size, n int, painted bool) func() (int, error) {
	conn, err := e.Dial(context.Background(), address)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	client := store.NewStoreClient(conn)
	req := &blobsv1.Album{Title: string(make([]byte, n)), Cover: make([]byte, size)}
	if painted {
		req.Back = &blobsv1.Album_Text{Text: "painted"}
	}
	return func() (came int, err error) {
		for p, err := range client.List(context.Background(), req) {
			if err != nil {
				return came, err
			}
			ipc.Release(p.Data)
			came++
		}
		return came, nil
	}
}

// BenchmarkBlobs is a server stream of 1 MiB blobs in shared memory: like other bytes; copied by the sender and by the
// receiver; copied by the sender and read in place; painted by the sender where they are read, which copies nothing. It
// reports messages a second, beside what two processes in C move through a ring.
func BenchmarkBlobs(b *testing.B) {
	const size, n = 1 << 20, 1000
	dir := b.TempDir()
	at := filepath.Join(dir, "s")
	start(b, "gallery", "unix:"+at)
	all := []struct {
		name string
		run  func() (int, error)
	}{
		{"plain", listBlobs(b, &ipc.Endpoint{Limits: ipc.Limits{Arena: -1}}, "shm:"+at, size, n, false)},
		{"copied", listBlobs(b, &ipc.Endpoint{}, "shm:"+at, size, n, false)},
		{"in-place", listBlobs(b, &ipc.Endpoint{BlobsInPlace: true}, "shm:"+at, size, n, false)},
		{"painted", listBlobs(b, &ipc.Endpoint{BlobsInPlace: true}, "shm:"+at, size, n, true)},
	}
	mover := cProgram(b, "mover")
	took := make([]time.Duration, len(all))
	var moved []float64
	rounds := 0
	for b.Loop() {
		rounds++
		for i, s := range all {
			begin := time.Now()
			if came, err := s.run(); err != nil || came != n {
				b.Fatalf("%s: got %d messages, want %d: %v", s.name, came, n, err)
			}
			took[i] += time.Since(begin)
		}
		if mover != nil {
			moved = append(moved, mover(size, n, 256<<10))
		}
	}
	b.ReportMetric(0, "ns/op")
	rate := map[string]float64{}
	for i, s := range all {
		rate[s.name] = float64(rounds*n) / took[i].Seconds()
		b.ReportMetric(rate[s.name]/1000, s.name+"-kmsg/s")
	}
	if mover != nil {
		slices.Sort(moved)
		middle := moved[len(moved)/2]
		b.ReportMetric(middle/1000, "c-kmsg/s")
		for _, s := range all {
			b.ReportMetric(rate[s.name]/middle, s.name+"/c")
		}
	}
}
