//go:build unix

package ipc_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ipcgen/ipcgen/runtime/internal/frame"
	"github.com/ipcgen/ipcgen/runtime/ipc"
	echov1 "github.com/ipcgen/ipcgen/testdata/services/go/echo/v1"
	"github.com/ipcgen/ipcgen/testdata/vectors"
)

// sessionVectors is what every language's end of a session must do with what its peer sends; the README.md of the
// vectors says what the keys mean.
type sessionVectors struct {
	About      string
	MaxFrame   int `json:"max_frame"`
	MaxMessage int `json:"max_message"`
	MaxSlots   int `json:"max_slots"`
	Window     int
	Hello      vectors.Hex
	Cases      []sessionVector
}

type sessionVector struct {
	Name, Side string
	Steps      []vectorStep
	Ends       string
	Outcome    *vectorOutcome
}

type vectorStep struct {
	Do           string
	Hex          vectors.Hex
	Method, Text string
	Times        uint32
	Frame        *vectorFrame
}

// vectorFrame is what is said of a frame; nil is not said.
type vectorFrame struct {
	Type    string
	Flags   []string
	Stream  *frame.StreamID
	Arg     *uint32
	Method  vectors.Hex
	Message *vectors.Hex
	Details []struct {
		Type  string
		Value vectors.Hex
	}
}

type vectorOutcome struct {
	Code        ipc.Code
	Message     string
	NotExecuted bool `json:"not_executed"`
	Limit       uint32
	Texts       []string
	Trailers    map[string]vectors.Hex
}

// TestSessionVectors plays each of the vectors' peers, byte by byte and all bytes of a step at once.
func TestSessionVectors(t *testing.T) {
	var file sessionVectors
	vectors.Load(t, "sessions.json", &file)
	for _, c := range file.Cases {
		for _, size := range []int{1, 1 << 20} {
			t.Run(fmt.Sprintf("%s/%s/%d bytes at a time", c.Side, c.Name, size), func(t *testing.T) {
				p := newVectorPeer(t, &file, c.Side)
				p.size = size
				p.play(c)
			})
		}
	}
}

// A vectorPeer is the peer of the end under test: the other end of a socket pair.
type vectorPeer struct {
	t       *testing.T
	file    *sessionVectors
	conn    net.Conn
	size    int // bytes in a write
	greeted bool
	conns   chan *ipc.Conn     // the end under test, once it has shaken hands
	failed  chan error         // why there is none
	cancel  context.CancelFunc // of the call
	outcome chan *vectorOutcome
}

func newVectorPeer(t *testing.T, file *sessionVectors, side string) *vectorPeer {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[0]), "peer")
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	p := &vectorPeer{t: t, file: file, conn: conn, conns: make(chan *ipc.Conn, 1), failed: make(chan error, 1)}
	e := &ipc.Endpoint{Services: []ipc.Service{echov1.NewEchoService(vectorEcho{})}, Logger: quiet(),
		Limits: ipc.Limits{MaxFrame: file.MaxFrame, MaxMessage: file.MaxMessage, Calls: file.MaxSlots, Window: file.Window}}
	address := fmt.Sprintf("fd:%d", fds[1])
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if side == "dialer" {
			c, err := e.Dial(context.Background(), address)
			if err != nil {
				p.failed <- err
				return
			}
			p.conns <- c
			<-c.Done()
			c.Close()
			return
		}
		e.Connected = func(c *ipc.Conn) { p.conns <- c }
		if err := e.Serve(context.Background(), address); err != nil {
			p.failed <- err
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-ended
	})
	return p
}

func (p *vectorPeer) play(c sessionVector) {
	for i, s := range c.Steps {
		switch s.Do {
		case "hello":
			p.send(p.file.Hello)
		case "send":
			p.send(s.Hex)
		case "close":
			if err := p.conn.(*net.UnixConn).CloseWrite(); err != nil {
				p.t.Fatal(err)
			}
		case "call":
			p.outcome = make(chan *vectorOutcome, 1)
			conn := p.session()
			ctx, cancel := context.WithCancel(context.Background())
			p.t.Cleanup(cancel)
			p.cancel = cancel
			go func() { p.outcome <- makeCall(ctx, conn, s) }()
		case "cancel":
			p.cancel()
		case "await":
			p.await(i, s.Frame)
		default:
			p.t.Fatalf("step %d: %q", i, s.Do)
		}
	}
	if c.Ends == "" {
		p.alive()
	} else {
		p.ended(c.Ends)
	}
	if (c.Outcome == nil) != (p.outcome == nil) {
		p.t.Fatal("want an outcome where there is a call, and only there")
	}
	if c.Outcome != nil {
		if diff := cmp.Diff(c.Outcome, <-p.outcome); diff != "" {
			p.t.Errorf("outcome of the call, - want, + got:\n%s", diff)
		}
	}
}

// send writes b. It stops where the end under test does not read on: it may have seen enough.
func (p *vectorPeer) send(b []byte) {
	for chunk := range slices.Chunk(b, p.size) {
		if _, err := p.conn.Write(chunk); err != nil {
			return
		}
	}
}

// session waits until the end under test has shaken hands.
func (p *vectorPeer) session() *ipc.Conn {
	select {
	case c := <-p.conns:
		p.conns <- c
		return c
	case err := <-p.failed:
		p.t.Fatalf("no session: %v", err)
		return nil
	}
}

// next reads a frame, behind the preface. Those that depend on how an end is written are passed over: HELLO and CREDIT.
func (p *vectorPeer) next() (h frame.Header, payload []byte, err error) {
	if !p.greeted {
		p.greeted = true
		preface := make([]byte, len(frame.Preface))
		if _, err := io.ReadFull(p.conn, preface); err != nil {
			return h, nil, err // it had seen enough before it wrote
		}
		if string(preface) != frame.Preface {
			p.t.Fatalf("the preface is %q", preface)
		}
	}
	for {
		var b [frame.HeaderSize]byte
		if _, err := io.ReadFull(p.conn, b[:]); err != nil {
			return h, nil, err
		}
		if h, err = frame.Parse(b[:], frame.MaxHello); err != nil {
			p.t.Fatal(err)
		}
		payload = make([]byte, h.Length)
		if _, err := io.ReadFull(p.conn, payload); err != nil {
			return h, nil, err
		}
		if h.Type != frame.Hello && h.Type != frame.Credit {
			return h, payload, nil
		}
	}
}

// await reads the next frame and compares it with what is said of it.
func (p *vectorPeer) await(step int, want *vectorFrame) {
	p.t.Helper()
	h, payload, err := p.next()
	if err != nil {
		p.t.Fatalf("step %d: want %s: %v", step, want.Type, err)
	}
	var message []byte
	var details []frame.Detail
	var method uint64
	limit := frame.MetadataLimit{Entries: 64, Bytes: 8 << 10}
	switch h.Type {
	case frame.Call:
		var call frame.CallPayload
		call, message, err = frame.ParseCall(payload, limit)
		method = call.Method
	case frame.Status:
		var status frame.StatusPayload
		status, message, err = frame.ParseStatus(payload, limit)
		details = status.Details
	default:
		message = payload
	}
	if err != nil {
		p.t.Fatalf("step %d: %v", step, err)
	}
	ok := h.Type.String() == want.Type &&
		(want.Flags == nil || flagsOf(h.Flags) == strings.Join(want.Flags, " ")) &&
		(want.Stream == nil || *want.Stream == h.Stream) &&
		(want.Arg == nil || *want.Arg == h.Arg) &&
		(want.Message == nil || string(*want.Message) == string(message)) &&
		(want.Method == nil || binary.LittleEndian.Uint64(want.Method) == method) &&
		(want.Details == nil || len(want.Details) == len(details))
	for i := 0; ok && i < len(want.Details); i++ {
		ok = want.Details[i].Type == details[i].Type && string(want.Details[i].Value) == string(details[i].Value)
	}
	if !ok {
		p.t.Fatalf("step %d: got %s %s on %#x, arg %d, payload % x; want %+v", step, h.Type, flagsOf(h.Flags), uint32(h.Stream), h.Arg, payload, want)
	}
}

func flagsOf(f frame.Flags) string {
	var names []string
	for i, name := range []string{"END", "MORE", "MSG", "ACK", "NOT_EXECUTED"} {
		if f>>i&1 != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

// alive sees that the session lives: the end under test answers a PING, and has sent nothing that was not awaited.
func (p *vectorPeer) alive() {
	p.t.Helper()
	p.send(frame.Header{Type: frame.Ping}.Append(nil))
	h, payload, err := p.next()
	if err != nil || h.Type != frame.Ping || h.Flags != frame.Ack {
		p.t.Errorf("want the answer to a PING, got %s %s with %q, %v", h.Type, flagsOf(h.Flags), payload, err)
	}
}

// ended sees that the end under test closes the connection, and why. A last GOAWAY may tell.
func (p *vectorPeer) ended(want string) {
	p.t.Helper()
	for {
		h, _, err := p.next()
		if err != nil {
			break
		}
		if h.Type != frame.GoAway && h.Type != frame.Ping && h.Type != frame.Status && h.Type != frame.Data {
			p.t.Errorf("got a %s frame, want the end", h.Type)
		}
	}
	var err error
	select {
	case err = <-p.failed:
	case c := <-p.conns:
		<-c.Done()
		err = c.Err()
	}
	var e *ipc.SessionError
	if !errors.As(err, &e) || e.Reason.String() != want {
		p.t.Errorf("the session ended with %v, want %s", err, want)
	}
}

// makeCall makes the call of a step.
func makeCall(ctx context.Context, conn *ipc.Conn, s vectorStep) *vectorOutcome {
	client := echov1.NewEchoClient(conn)
	var out vectorOutcome
	var trailers ipc.Metadata
	ctx = ipc.WithTrailers(ctx, &trailers)
	req := &echov1.SayRequest{Text: s.Text, Times: s.Times}
	var err error
	switch s.Method {
	case "echo.v1.Echo/Say":
		var res *echov1.SayResponse
		if res, err = client.Say(ctx, req); err == nil {
			out.Texts = append(out.Texts, res.Text)
		}
	case "echo.v1.Echo/Repeat":
		var res *echov1.SayResponse
		for res, err = range client.Repeat(ctx, req) {
			if err == nil {
				out.Texts = append(out.Texts, res.Text)
			}
		}
	}
	for k, v := range trailers {
		out.Trailers = map[string]vectors.Hex{k: vectors.Hex(v)}
	}
	var tooLong *echov1.TooLong
	if errors.As(err, &tooLong) {
		out.Limit = tooLong.Limit
	}
	var e *ipc.Error
	if errors.As(err, &e) {
		out.Code, out.NotExecuted = e.Code, e.NotExecuted
		if e.Remote {
			out.Message = e.Message
		}
	}
	return &out
}

// vectorEcho is the service that the vectors say is there.
type vectorEcho struct{}

func (vectorEcho) Say(ctx context.Context, req *echov1.SayRequest) (*echov1.SayResponse, error) {
	switch req.Text {
	case "wait":
		<-ctx.Done()
		return nil, ctx.Err()
	case "too long":
		return nil, ipc.Errorf(ipc.OutOfRange, "over the limit: %w", &echov1.TooLong{Limit: 8})
	}
	return &echov1.SayResponse{Text: req.Text}, nil
}

func (vectorEcho) Repeat(_ context.Context, req *echov1.SayRequest, send func(*echov1.SayResponse) error) error {
	for range req.Times {
		if err := send(&echov1.SayResponse{Text: req.Text}); err != nil {
			return err
		}
	}
	return nil
}

func (vectorEcho) Join(_ context.Context, in iter.Seq2[*echov1.SayRequest, error]) (*echov1.SayResponse, error) {
	var all strings.Builder
	for req, err := range in {
		if err != nil {
			return nil, err
		}
		all.WriteString(req.Text)
	}
	return &echov1.SayResponse{Text: all.String()}, nil
}

func (vectorEcho) Chat(_ context.Context, in iter.Seq2[*echov1.SayRequest, error], send func(*echov1.SayResponse) error) error {
	for req, err := range in {
		if err != nil {
			return err
		}
		if err := send(&echov1.SayResponse{Text: req.Text}); err != nil {
			return err
		}
	}
	return nil
}

func (vectorEcho) Note(context.Context, *echov1.SayRequest) error { return nil }
