//go:build unix

package ipc_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"testing"

	"github.com/ipcgen/ipcgen/runtime/ipc"
	"github.com/ipcgen/ipcgen/runtime/transport/transporttest"
	"github.com/ipcgen/ipcgen/testdata/blobs/go/blobs/store"
	blobsv1 "github.com/ipcgen/ipcgen/testdata/blobs/go/blobs/v1"
)

// A keeper gives back what it gets, and releases that.
type keeper struct {
	store.UnimplementedStore
	notes chan *blobsv1.Picture
}

func (s *keeper) Swap(_ context.Context, req *blobsv1.Album) (*blobsv1.Album, error) {
	defer ipc.ReleaseAll(req)
	return req.Clone(), nil
}

func (s *keeper) List(ctx context.Context, req *blobsv1.Album, send func(*blobsv1.Picture) error) error {
	defer ipc.ReleaseAll(req)
	for _, p := range req.More {
		data := ipc.ConnOf(ctx).NewBlob(len(p.Data))
		copy(data, p.Data)
		if err := send(&blobsv1.Picture{Name: p.Name, Data: data, Digest: p.Digest}); err != nil {
			return err
		}
	}
	return nil
}

func (s *keeper) Add(_ context.Context, in iter.Seq2[*blobsv1.Picture, error]) (*blobsv1.Album, error) {
	album := new(blobsv1.Album)
	for p, err := range in {
		if err != nil {
			return nil, err
		}
		album.More = append(album.More, p.Clone())
		ipc.ReleaseAll(p)
	}
	return album, nil
}

func (s *keeper) Mirror(_ context.Context, in iter.Seq2[*blobsv1.Picture, error], send func(*blobsv1.Picture) error) error {
	for p, err := range in {
		if err != nil {
			return err
		}
		err = send(p)
		ipc.ReleaseAll(p)
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *keeper) Note(_ context.Context, p *blobsv1.Picture) error {
	s.notes <- p.Clone()
	ipc.ReleaseAll(p)
	return nil
}

// photo is a picture that takes so many bytes, each n.
func photo(n byte, size int) *blobsv1.Picture {
	return &blobsv1.Picture{Name: fmt.Sprint("photo ", n), Data: bytes.Repeat([]byte{n}, size), Digest: []byte{n, n}}
}

// blobAddresses are where blobs are tested; shm: where there is shared memory.
var blobAddresses = []string{"unix:", "tcp:127.0.0.1:0"}

// TestBlobs: blobs come as they were sent, by every transport and in every kind of call, in place or not.
func TestBlobs(t *testing.T) {
	for _, address := range blobAddresses {
		for _, inPlace := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s in place %v", address, inPlace), func(t *testing.T) {
				transporttest.CheckLeaks(t)
				checkMappings(t)
				s := &keeper{notes: make(chan *blobsv1.Picture, 1)}
				at := address
				if at == "shm:" || at == "unix:" {
					at += filepath.Join(t.TempDir(), "s")
				}
				e := func() *ipc.Endpoint { return &ipc.Endpoint{BlobsInPlace: inPlace, Logger: quiet()} }
				server := e()
				server.Services = []ipc.Service{store.NewStoreService(s)}
				testBlobs(t, s, store.NewStoreClient(serve(t, at, server, e())))
			})
		}
	}
	t.Run("local", func(t *testing.T) {
		s := &keeper{notes: make(chan *blobsv1.Picture, 1)}
		testBlobs(t, s, store.NewStoreClient(ipc.Local(store.NewStoreService(s))))
	})
}

func testBlobs(t *testing.T, s *keeper, c *store.StoreClient) {
	ctx := patient(t)
	wantSame := func(what string, got, want *blobsv1.Picture) {
		t.Helper()
		if !got.Equal(want) {
			t.Errorf("%s: got %d bytes in %.50v, want %d in %.50v", what, len(got.GetData()), got, len(want.GetData()), want)
		}
		ipc.ReleaseAll(got)
	}
	album := &blobsv1.Album{Title: "title", Cover: bytes.Repeat([]byte("cover"), 50_000), Pages: [][]byte{{1}, {}, make([]byte, 100_000)},
		Back: &blobsv1.Album_Picture{Picture: photo(1, 200_000)}, First: photo(2, 1<<16), Inner: &blobsv1.Album{First: photo(3, 70_000)},
		Named: map[string]*blobsv1.Picture{"in a map": photo(4, 80_000)}, Last: photo(5, 1)}
	for range 3 {
		got, err := c.Swap(ctx, album)
		if err != nil || !got.Equal(album) {
			t.Fatalf("Swap: got %.100v, %v", got, err)
		}
		ipc.ReleaseAll(got)
	}
	sizes := []int{0, 1, 65_535, 65_536, 400_000, 3, 400_000}
	list := new(blobsv1.Album)
	for n, size := range sizes {
		list.More = append(list.More, photo(byte(n), size))
	}
	n := 0
	for p, err := range c.List(ctx, list) {
		if err != nil {
			t.Fatal(err)
		}
		wantSame("List", p, list.More[n])
		n++
	}
	if n != len(sizes) {
		t.Errorf("List: %d pictures, want %d", n, len(sizes))
	}
	added, err := c.Add(ctx, func(yield func(*blobsv1.Picture) bool) {
		for _, p := range list.More {
			if !yield(p) {
				return
			}
		}
	})
	if err != nil || !added.Equal(&blobsv1.Album{More: list.More}) {
		t.Errorf("Add: got %.100v, %v", added, err)
	}
	ipc.ReleaseAll(added)
	mirror, err := c.Mirror(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer mirror.Close()
	for _, p := range list.More {
		if err := mirror.Send(p); err != nil {
			t.Fatal(err)
		}
		back, err := mirror.Receive()
		if err != nil {
			t.Fatal(err)
		}
		wantSame("Mirror", back, p)
	}
	if err := c.Note(ctx, photo(9, 300_000)); err != nil {
		t.Fatal(err)
	}
	wantSame("Note", <-s.notes, photo(9, 300_000))
}
