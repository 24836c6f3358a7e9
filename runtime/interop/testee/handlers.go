package main

import (
	"context"
	"errors"
	"iter"

	"github.com/ipcgen/ipcgen/runtime/ipc"
	interopv1 "github.com/ipcgen/ipcgen/testdata/interop/go/interop/v1"
)

// handlers do to each request what it says.
type handlers struct {
	interopv1.UnimplementedTest
	t *testee
}

// act does what the request says, except what only some of the methods do.
func (h handlers) act(ctx context.Context, req *interopv1.Request) error {
	switch req.Action {
	case interopv1.Action_ACTION_FAIL:
		return failure(req.Failure)
	case interopv1.Action_ACTION_THROW:
		return errors.New(string(req.Data))
	case interopv1.Action_ACTION_WAIT:
		h.waiting(req.Name)
		<-ctx.Done()
		ended := &interopv1.HandlerEnded{Name: req.Name, Code: uint32(ipc.CodeOf(ctx.Err()))}
		h.t.observed <- &interopv1.Observation{What: &interopv1.Observation_HandlerEnded{HandlerEnded: ended}}
		return ctx.Err()
	case interopv1.Action_ACTION_HOLD:
		h.waiting(req.Name)
		return h.t.name(req.Name).pass(ctx)
	}
	return nil
}

func (h handlers) waiting(name string) {
	h.t.observed <- &interopv1.Observation{What: &interopv1.Observation_Waiting{Waiting: name}}
}

// refusal is an error of a text and of what it wraps.
type refusal struct {
	text    string
	wrapped []error
}

func (r refusal) Error() string   { return r.text }
func (r refusal) Unwrap() []error { return r.wrapped }

// failure is the error that the request wants.
func failure(f *interopv1.Failure) error {
	r := refusal{text: f.GetMessage()}
	if f.GetRefused() != nil {
		r.wrapped = append(r.wrapped, f.Refused)
	}
	if f.GetBusy() != nil {
		r.wrapped = append(r.wrapped, f.Busy)
	}
	return ipc.Errorf(ipc.Code(f.GetCode()), "%w", r)
}

// Unary does what the request says.
func (h handlers) Unary(ctx context.Context, req *interopv1.Request) (*interopv1.Response, error) {
	if err := h.act(ctx, req); err != nil {
		return nil, err
	}
	switch req.Action {
	case interopv1.Action_ACTION_METADATA:
		for k, v := range req.Trailers {
			if err := ipc.SetTrailer(ctx, k, string(v)); err != nil {
				return nil, err
			}
		}
		res := &interopv1.Response{Metadata: map[string][]byte{}}
		for k, v := range ipc.MetadataOf(ctx) {
			res.Metadata[k] = []byte(v)
		}
		return res, nil
	case interopv1.Action_ACTION_CALL_BACK:
		res, err := interopv1.NewTestClient(ipc.ConnOf(ctx)).Unary(ctx, &interopv1.Request{Data: req.Data})
		if err != nil {
			return nil, err
		}
		return &interopv1.Response{Data: res.Data}, nil
	}
	return &interopv1.Response{Data: req.Data, Everything: req.Everything}, nil
}

// Brief is Unary with a deadline of its own.
func (h handlers) Brief(ctx context.Context, req *interopv1.Request) (*interopv1.Response, error) {
	return h.Unary(ctx, req)
}

// Download does what the request says behind the responses; HOLD before them.
func (h handlers) Download(ctx context.Context, req *interopv1.Request, send func(*interopv1.Response) error) error {
	hold := req.Action == interopv1.Action_ACTION_HOLD
	if hold {
		if err := h.act(ctx, req); err != nil {
			return err
		}
	}
	n := h.t.name(req.Name)
	for range req.Count {
		if err := send(&interopv1.Response{Data: req.Data, Everything: req.Everything}); err != nil {
			return err
		}
		n.count(1, 0)
	}
	if hold {
		return nil
	}
	return h.act(ctx, req)
}

// dataKept is how many bytes of data Upload gives back.
const dataKept = 64 << 10

// Upload does what each request says and adds them up.
func (h handlers) Upload(ctx context.Context, in iter.Seq2[*interopv1.Request, error]) (*interopv1.Response, error) {
	res := &interopv1.Response{}
	for req, err := range in {
		if err != nil {
			return nil, err
		}
		h.t.name(req.Name).count(0, 1)
		if err := h.act(ctx, req); err != nil {
			return nil, err
		}
		res.Count++
		if res.Total += uint64(len(req.Data)); res.Total <= dataKept {
			res.Data = append(res.Data, req.Data...)
		} else {
			res.Data = nil
		}
	}
	return res, nil
}

// Chat does what each request says and answers it.
func (h handlers) Chat(ctx context.Context, in iter.Seq2[*interopv1.Request, error], send func(*interopv1.Response) error) error {
	for req, err := range in {
		if err != nil {
			return err
		}
		n := h.t.name(req.Name)
		n.count(0, 1)
		res, err := h.Unary(ctx, req)
		if err != nil {
			return err
		}
		if err := send(res); err != nil {
			return err
		}
		n.count(1, 0)
	}
	return nil
}

// Tell observes what it is told.
func (h handlers) Tell(_ context.Context, req *interopv1.Request) error {
	h.t.observed <- &interopv1.Observation{What: &interopv1.Observation_Told{Told: req.Data}}
	return nil
}
