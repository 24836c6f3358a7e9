package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/ipcgen/ipcgen/runtime/ipc"
	"github.com/ipcgen/ipcgen/runtime/wkt"
	interopv1 "github.com/ipcgen/ipcgen/testdata/interop/go/interop/v1"
)

type empty = wkt.Empty

// endpoint returns one that serves Test, with the options that the suite wants.
func (t *testee) endpoint(o *interopv1.Options) (*ipc.Endpoint, error) {
	e := &ipc.Endpoint{
		Services: []ipc.Service{interopv1.NewTestService(handlers{t: t})},
		Logger:   slog.New(slog.DiscardHandler), // what goes wrong is meant to
		Limits: ipc.Limits{MaxMessage: int(o.GetMaxMessage()), MaxFrame: int(o.GetMaxFrame()), Calls: int(o.GetCalls()),
			Window: int(o.GetWindow()), Grace: time.Duration(o.GetGraceMs()) * time.Millisecond},
		Connected: func(c *ipc.Conn) { t.add(c, true) },
	}
	if o.GetCertificate() == "" {
		return e, nil
	}
	cert, err := tls.LoadX509KeyPair(o.GetCertificate(), o.GetKey())
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(o.GetAuthorities())
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in " + o.GetAuthorities())
	}
	e.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, ServerName: "localhost",
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	return e, nil
}

// Serve is the suite's.
func (t *testee) Serve(_ context.Context, req *interopv1.ServeRequest) (*interopv1.ServeResponse, error) {
	address, err := t.serve(req.Address, req.Options)
	return &interopv1.ServeResponse{Address: address, Failure: noSession(err)}, nil
}

func noSession(err error) *interopv1.NoSession {
	if err == nil {
		return nil
	}
	return &interopv1.NoSession{Reason: uint32(reasonOf(err)), Message: err.Error()}
}

// serve begins to serve at address, and returns where that can be dialed.
func (t *testee) serve(address string, o *interopv1.Options) (string, error) {
	e, err := t.endpoint(o)
	if err != nil {
		return "", err
	}
	ctx, stop := context.WithCancel(context.Background())
	l, err := e.Listen(ctx, address)
	if err != nil {
		stop()
		return "", err
	}
	served := make(chan struct{})
	t.mu.Lock()
	t.stop, t.served = stop, served
	t.mu.Unlock()
	go func() {
		defer close(served)
		l.Serve(ctx)
	}()
	return l.Address(), nil
}

// Stop is the suite's.
func (t *testee) Stop(context.Context, *interopv1.StopRequest) (*empty, error) {
	t.mu.Lock()
	stop, served := t.stop, t.served
	t.mu.Unlock()
	if stop != nil {
		stop()
		<-served
	}
	return &empty{}, nil
}

// Dial is the suite's.
func (t *testee) Dial(ctx context.Context, req *interopv1.DialRequest) (*interopv1.DialResponse, error) {
	e, err := t.endpoint(req.Options)
	if err != nil {
		return &interopv1.DialResponse{Failure: noSession(err)}, nil
	}
	c, err := e.Dial(ctx, req.Address)
	if err != nil {
		return &interopv1.DialResponse{Failure: noSession(err)}, nil
	}
	id := t.add(c, false)
	t.mu.Lock()
	t.grace[id] = e.Limits.Grace
	t.mu.Unlock()
	return &interopv1.DialResponse{Session: id}, nil
}

// Shutdown is the suite's.
func (t *testee) Shutdown(ctx context.Context, req *interopv1.ShutdownRequest) (*empty, error) {
	c, err := t.session(req.Session)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	grace := t.grace[req.Session]
	t.mu.Unlock()
	if grace > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, grace)
		defer cancel()
	}
	return &empty{}, c.Shutdown(ctx)
}

// Close is the suite's.
func (t *testee) Close(_ context.Context, req *interopv1.CloseRequest) (*empty, error) {
	c, err := t.session(req.Session)
	if err != nil {
		return nil, err
	}
	return &empty{}, c.Close()
}

// Cancel is the suite's.
func (t *testee) Cancel(ctx context.Context, req *interopv1.CancelRequest) (*empty, error) {
	n := t.name(req.Name)
	select {
	case <-n.calling:
		n.cancel()
		return &empty{}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Open is the suite's.
func (t *testee) Open(_ context.Context, req *interopv1.OpenRequest) (*empty, error) {
	n := t.name(req.Name)
	n.open.Do(func() { close(n.gate) })
	return &empty{}, nil
}

// Progress is the suite's.
func (t *testee) Progress(_ context.Context, req *interopv1.ProgressRequest) (*interopv1.ProgressResponse, error) {
	n := t.name(req.Name)
	n.mu.Lock()
	defer n.mu.Unlock()
	return &interopv1.ProgressResponse{Sent: n.sent, Received: n.received}, nil
}
