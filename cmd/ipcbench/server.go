package main

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/ipcgen/ipcgen/cmd/ipcbench/benchv1"
	"github.com/ipcgen/ipcgen/runtime/ipc"
	"github.com/ipcgen/ipcgen/runtime/wkt"
)

// serve is the server's process. It ends with the client, which holds the other end of stdin, and not before it: an
// interrupt from the keyboard comes to both, and is for the client to answer.
func serve(ctx context.Context) error {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	signal.Ignore(os.Interrupt)
	signal.Reset(syscall.SIGTERM)
	s := &server{ctx: ctx, bench: benchv1.NewBenchService(&bench{})}
	endpoint := &ipc.Endpoint{Services: []ipc.Service{s.bench, benchv1.NewControlService(s)}, Logger: silent}
	err := endpoint.Serve(ctx, "stdio:")
	stop()
	s.wg.Wait()
	if e := (*ipc.SessionError)(nil); errors.As(err, &e) && e.Reason == ipc.PeerGone {
		return nil // the client was gone before it began; where it could say why, it has
	}
	return err
}

// silent is the server's logger: what is worth saying, the client says.
var silent = slog.New(slog.DiscardHandler)

// server implements benchv1.ControlServer.
type server struct {
	ctx   context.Context // ends with the process
	bench ipc.Service
	wg    sync.WaitGroup // what listens
}

func (s *server) Listen(_ context.Context, req *benchv1.ListenRequest) (*benchv1.ListenResponse, error) {
	listen := s.listen
	if req.Bare {
		listen = s.listenBare
	}
	address, err := listen(req.Address)
	if err != nil {
		return nil, ipc.Errorf(ipc.Unavailable, "%w", err)
	}
	return &benchv1.ListenResponse{Address: address}, nil
}

func (s *server) listen(address string) (string, error) {
	l, err := (&ipc.Endpoint{Services: []ipc.Service{s.bench}, Logger: silent}).Listen(s.ctx, address)
	if err != nil {
		return "", err
	}
	s.wg.Go(func() { l.Serve(s.ctx) })
	return l.Address(), nil
}

func (s *server) listenBare(address string) (string, error) {
	network, where, _ := strings.Cut(address, ":")
	l, err := net.Listen(network, where)
	if err != nil {
		return "", err
	}
	context.AfterFunc(s.ctx, func() { l.Close() })
	s.wg.Go(func() { serveBare(l) })
	return network + ":" + l.Addr().String(), nil
}

func (s *server) PingPong(ctx context.Context, req *benchv1.PingPongRequest) (*benchv1.PingPongResponse, error) {
	if err := answerPingPong(ctx, req.Path, int(req.Bytes), req.Count); err != nil {
		return nil, ipc.Errorf(ipc.Unavailable, "%w", err)
	}
	return &benchv1.PingPongResponse{}, nil
}

func (s *server) Usage(context.Context, *benchv1.UsageRequest) (*benchv1.UsageResponse, error) {
	return &benchv1.UsageResponse{ProcessorTime: wkt.NewDuration(processorTime())}, nil
}

// bench implements benchv1.BenchServer.
type bench struct {
	mu      sync.Mutex // guards what follows
	notes   uint64
	awaited uint64
	reached chan struct{} // closed when notes is awaited; nil where nobody waits
}

func (*bench) Echo(_ context.Context, req *benchv1.Data) (*benchv1.Data, error) { return req, nil }

func (b *bench) Note(context.Context, *benchv1.Data) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notes++
	b.tell()
	return nil
}

// tell wakes who waits for notes. Called with the mutex held.
func (b *bench) tell() {
	if b.reached != nil && b.notes >= b.awaited {
		close(b.reached)
		b.reached = nil
	}
}

func (b *bench) AwaitNotes(ctx context.Context, req *benchv1.AwaitNotesRequest) (*benchv1.AwaitNotesResponse, error) {
	reached := make(chan struct{})
	b.mu.Lock()
	if b.reached != nil {
		b.mu.Unlock()
		return nil, ipc.Errorf(ipc.FailedPrecondition, "somebody waits for notes already")
	}
	b.awaited, b.reached = req.Total, reached
	b.tell()
	b.mu.Unlock()
	select {
	case <-reached:
		return &benchv1.AwaitNotesResponse{}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (*bench) Download(_ context.Context, req *benchv1.DownloadRequest, send func(*benchv1.Data) error) error {
	data := &benchv1.Data{Data: make([]byte, req.Bytes)}
	for range req.Count {
		if err := send(data); err != nil {
			return err
		}
	}
	return nil
}

func (*bench) Upload(_ context.Context, in iter.Seq2[*benchv1.Data, error]) (*benchv1.UploadResponse, error) {
	res := &benchv1.UploadResponse{}
	for _, err := range in {
		if err != nil {
			return nil, err
		}
		res.Count++
	}
	return res, nil
}

func (*bench) Chat(_ context.Context, in iter.Seq2[*benchv1.Data, error], send func(*benchv1.Data) error) error {
	for data, err := range in {
		if err != nil {
			return err
		}
		if err := send(data); err != nil {
			return err
		}
	}
	return nil
}
