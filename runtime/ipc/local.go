package ipc

import (
	"context"
	"sync"

	"github.com/ipcgen/ipcgen/runtime/transport/mem"
)

// Local returns a Caller without a wire, for tests: its calls go to services in this process. They behave as calls
// between processes do - messages and errors are encoded and decoded, deadlines and limits hold - and leave no
// goroutine behind when they have ended.
func Local(services ...Service) Caller { return local{services} }

type local struct{ services []Service }

// connect makes a session for one call.
func (l local) connect(ctx context.Context) (c *Conn, closeBoth func(), err error) {
	server, err := (&Endpoint{Services: l.services}).build()
	if err != nil {
		return nil, nil, err
	}
	client, err := (&Endpoint{}).build()
	if err != nil {
		return nil, nil, err
	}
	a, b := mem.Pair()
	var far *Conn
	var farErr error
	var wg sync.WaitGroup
	wg.Go(func() { far, farErr = server.start(ctx, context.WithoutCancel(ctx), b, 1) })
	near, err := client.start(ctx, context.Background(), a, 0)
	wg.Wait()
	switch {
	case err != nil && farErr == nil:
		far.Close()
	case err == nil && farErr != nil:
		near.Close()
		err = farErr
	}
	if err != nil {
		return nil, nil, err
	}
	return near, func() {
		near.Close()
		<-far.Done() // when it has read what near had to say
		far.Close()
	}, nil
}

// unconnected is how a call fails for which there was no session: ctx has ended, or the services cannot be served.
func unconnected(ctx context.Context, m *Method, err error) error {
	noTrailers(ctx)
	code := CodeOf(err)
	if code == Unknown {
		code = Internal
	}
	return &Error{Code: code, Message: err.Error(), Method: m.path, NotExecuted: true, causes: []error{err}}
}

func (l local) Call(ctx context.Context, m *Method, req Message) (Message, error) {
	c, closeBoth, err := l.connect(ctx)
	if err != nil {
		return nil, unconnected(ctx, m, err)
	}
	defer closeBoth()
	res, err := c.Call(ctx, m, req)
	if err == nil && m.shape == OnewayShape {
		err = c.Shutdown(ctx) // the handler of a oneway call has run when it returns
	}
	return res, err
}

func (l local) Open(ctx context.Context, m *Method, req Message) (*RawStream, error) {
	c, closeBoth, err := l.connect(ctx)
	if err != nil {
		return nil, unconnected(ctx, m, err)
	}
	st, err := c.Open(ctx, m, req)
	if err != nil {
		closeBoth()
		return nil, err
	}
	stop := context.AfterFunc(st.ctx, func() { // whatever the program does then
		st.call.GiveUp(st.ctx.Err())
		closeBoth()
	})
	cancel := st.cancel
	st.cancel = func() {
		stop()
		cancel()
		closeBoth()
	}
	return st, nil
}
