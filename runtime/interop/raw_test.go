//go:build unix

package interop

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/ipcgen/ipcgen/runtime/internal/frame"
	"github.com/ipcgen/ipcgen/runtime/ipc"
	interopv1 "github.com/ipcgen/ipcgen/testdata/interop/go/interop/v1"
)

// hello returns the preface and a HELLO of these versions, with features and a field that nobody knows.
func hello(least, most uint16) []byte {
	p := frame.HelloPayload{MinVersion: least, MaxVersion: most, Features: 0xffff0000, MaxFrame: 16 << 10, MaxMessage: 1 << 20, MaxSlots: 32, Window: 32 << 10, Agent: "raw"}
	body := append(p.Append(nil), "from the future"...)
	head := frame.Header{Type: frame.Hello, Length: uint32(len(body))}
	return append(head.Append([]byte(frame.Preface)), body...)
}

// rawCases are what a peer does that is no testee: the suite writes bytes.
var rawCases = []struct {
	feature, name string
	sends         []byte
	ends          ipc.Reason // what the testee says of it where it dials
	goAway        bool       // and it tells the peer so
}{
	{"handshake", "something else", []byte("GET / HTTP/1.1\r\n\r\n"), ipc.Foreign, false},
	{"handshake", "nothing", nil, ipc.PeerGone, false},
	{"handshake", "half a handshake", hello(1, 1)[:30], ipc.PeerGone, false},
	{"handshake", "no HELLO", append([]byte(frame.Preface), frame.Header{Type: frame.Ping}.Append(nil)...), ipc.Protocol, true},
	{"handshake", "a refusal", append([]byte(frame.Preface), frame.Header{Type: frame.GoAway, Arg: 5}.Append(nil)...), ipc.Refused, false},
	{"version skew", "only newer versions", hello(2, 3), ipc.Version, true},
}

// testRaw has the suite be the peer of a testee.
func testRaw(t *testing.T, l *language) {
	for _, c := range rawCases {
		t.Run(c.feature+"/"+c.name, func(t *testing.T) {
			if !l.has(c.feature) {
				t.Skipf("%s does not have %s", l.name, c.feature)
			}
			e := startTestee(t, l)
			t.Run("dials", func(t *testing.T) {
				failed := rawDialed(t, e, c.sends, c.goAway, c.ends)
				if got := ipc.Reason(failed.Reason); got != c.ends {
					t.Errorf("the testee says %v: %s; want %v", got, failed.Message, c.ends)
				}
			})
			t.Run("is dialed", func(t *testing.T) {
				address := serveRaw(t, e)
				rawDial(t, address, c.sends, c.goAway, c.ends)
				serves(t, address)
			})
		})
	}
	t.Run("version skew/a newer peer", func(t *testing.T) { testNewer(t, l) })
	t.Run("broken peers", func(t *testing.T) { testBroken(t, l) })
}

// rawDialed has a testee dial a peer that sends bytes and then no more, and returns why it failed.
func rawDialed(t *testing.T, e *testee, sends []byte, goAway bool, reason ipc.Reason) *interopv1.NoSession {
	t.Helper()
	conn, dialed := rawConn(t, e)
	farewell(t, conn, sends, goAway, reason)
	res, err := dialed()
	if err != nil || res.Failure == nil {
		t.Fatalf("the testee has a session: %v, %v", res, err)
	}
	return res.Failure
}

// serveRaw has a testee serve at a unix socket.
func serveRaw(t *testing.T, e *testee) string {
	t.Helper()
	address := "unix:" + filepath.Join(t.TempDir(), "s")
	res, err := e.Serve(limited(t), &interopv1.ServeRequest{Address: address})
	if err != nil || res.Failure != nil {
		t.Fatalf("got %v, %v", res, err)
	}
	return address
}

// rawDial sends bytes to a testee that serves, and then no more.
func rawDial(t *testing.T, address string, sends []byte, goAway bool, reason ipc.Reason) {
	t.Helper()
	conn, err := net.Dial("unix", address[len("unix:"):])
	if err != nil {
		t.Fatal(err)
	}
	farewell(t, conn, sends, goAway, reason)
}

// farewell sends bytes and then no more, and reads to the end: a GOAWAY with the reason is there, or not.
func farewell(t *testing.T, conn net.Conn, sends []byte, goAway bool, reason ipc.Reason) {
	t.Helper()
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	conn.Write(sends) // the testee may have closed it meanwhile
	conn.(*net.UnixConn).CloseWrite()
	said := false
	for {
		h, _, err := readFrame(conn)
		if err != nil {
			break
		}
		if h.Type == frame.GoAway {
			said = true
			if goAway && h.Arg != uint32(reason) {
				t.Errorf("GOAWAY with reason %d, want %d", h.Arg, reason)
			}
		}
	}
	if goAway && !said {
		t.Error("no GOAWAY came")
	}
}

// readFrame reads a frame, and passes over the preface.
func readFrame(conn net.Conn) (h frame.Header, payload []byte, err error) {
	head := make([]byte, frame.HeaderSize)
	if _, err = io.ReadFull(conn, head); err != nil {
		return h, nil, err
	}
	if string(head[:len(frame.Preface)]) == frame.Preface {
		copy(head, head[len(frame.Preface):])
		if _, err = io.ReadFull(conn, head[frame.HeaderSize-len(frame.Preface):]); err != nil {
			return h, nil, err
		}
	}
	if h, err = frame.Parse(head, 1<<20); err != nil {
		return h, nil, err
	}
	payload = make([]byte, h.Length)
	_, err = io.ReadFull(conn, payload)
	return h, payload, err
}

// serves sees that a testee serves others.
func serves(t *testing.T, address string) {
	t.Helper()
	ctx := limited(t)
	conn, err := ipc.Dial(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	res, err := interopv1.NewTestClient(conn).Unary(ctx, &interopv1.Request{Data: []byte("x")})
	if err != nil || string(res.Data) != "x" {
		t.Errorf("got %v, %v", res, err)
	}
}

// rawOpen shakes hands with a testee that serves.
func rawOpen(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", address[len("unix:"):])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(hello(1, 9)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// rawCall calls Unary, in slot 0 and generation 1 of the dialer.
func rawCall(t *testing.T, conn net.Conn, req *interopv1.Request) {
	t.Helper()
	sum := sha256.Sum256([]byte("interop.v1.Test/Unary"))
	head := frame.CallPayload{Method: binary.LittleEndian.Uint64(sum[:])}
	body, err := req.MarshalAppend(head.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	h := frame.Header{Type: frame.Call, Flags: frame.Msg | frame.End, Length: uint32(len(body)), Stream: frame.NewStreamID(0, 0, 1)}
	if _, err := conn.Write(append(h.Append(nil), body...)); err != nil {
		t.Fatal(err)
	}
}

// until reads frames until one of a type comes.
func until(t *testing.T, conn net.Conn, want frame.Type) (frame.Header, []byte) {
	t.Helper()
	for {
		h, payload, err := readFrame(conn)
		if err != nil {
			t.Fatalf("no %v came: %v", want, err)
		}
		if h.Type == want {
			return h, payload
		}
	}
}

// testNewer has a peer call that speaks newer versions too, and has features and fields that nobody knows.
func testNewer(t *testing.T, l *language) {
	if !l.has("version skew") {
		t.Skipf("%s does not have version skew", l.name)
	}
	conn := rawOpen(t, serveRaw(t, startTestee(t, l)))
	rawCall(t, conn, &interopv1.Request{Data: []byte("x")})
	h, payload := until(t, conn, frame.Status)
	_, message, err := frame.ParseStatus(payload, frame.MetadataLimit{Entries: 64, Bytes: 8 << 10})
	res := &interopv1.Response{}
	if err = errors.Join(err, res.Unmarshal(message)); err != nil || h.Arg != 0 || string(res.Data) != "x" {
		t.Errorf("got code %d, %v, %v", h.Arg, res, err)
	}
}

// broken are frames that no peer sends, and the half of one.
var broken = map[string][]byte{
	"an unknown type":         frame.Header{Type: 0x7f}.Append(nil),
	"a length over the limit": frame.Header{Type: frame.GoAway, Length: 1 << 30}.Append(nil),
	"an answer to no PING":    frame.Header{Type: frame.Ping, Flags: frame.Ack}.Append(nil),
	"a stream that is not":    frame.Header{Type: frame.Cancel, Stream: frame.NewStreamID(7, 0, 9), Arg: 1}.Append(nil),
	"half a frame":            frame.Header{Type: frame.Ping}.Append(nil)[:7],
}

// testBroken has a peer break the protocol while a call runs.
func testBroken(t *testing.T, l *language) {
	if !l.has("broken peers") {
		t.Skipf("%s does not have broken peers", l.name)
	}
	e := startTestee(t, l)
	for name, bytes := range broken {
		want := ipc.Protocol
		if len(bytes) < frame.HeaderSize {
			want = ipc.PeerGone
		}
		t.Run(name+" to a server", func(t *testing.T) {
			waits := newName("waits")
			address := serveRaw(t, e)
			conn := rawOpen(t, address)
			rawCall(t, conn, &interopv1.Request{Action: interopv1.Action_ACTION_WAIT, Name: waits})
			e.waiting(t, waits)
			farewell(t, conn, bytes, false, want)
			e.handlerEnded(t, waits)
			wantReason(t, e, e.connected(t), want)
			serves(t, address)
			e.connected(t)
		})
		t.Run(name+" to a client", func(t *testing.T) {
			conn, session := rawAccept(t, e)
			c := e.start(t, &interopv1.CallRequest{Session: session, Method: "Unary", Requests: one(&interopv1.Request{})})
			until(t, conn, frame.Call)
			farewell(t, conn, bytes, false, want)
			res := c.wait()
			wantCode(t, res, ipc.Unavailable)
			wantExecuted(t, res, true)
			wantReason(t, e, session, want)
		})
	}
}

// rawConn has a testee dial the suite. It returns the connection, and what waits until the testee says what came of it.
func rawConn(t *testing.T, e *testee) (conn net.Conn, dialed func() (*interopv1.DialResponse, error)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ctx := limited(t)
	var res *interopv1.DialResponse
	wait := in(func() error {
		var err error
		res, err = e.Dial(ctx, &interopv1.DialRequest{Address: "unix:" + path})
		return err
	})
	conn, err = listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return conn, func() (*interopv1.DialResponse, error) {
		err := wait()
		return res, err
	}
}

// rawAccept has a testee dial the suite, and shakes hands.
func rawAccept(t *testing.T, e *testee) (net.Conn, uint64) {
	t.Helper()
	conn, dialed := rawConn(t, e)
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	conn.Write(hello(1, 9)) // what fails is seen below
	res, err := dialed()
	if err != nil || res.Failure != nil {
		t.Fatalf("the testee has no session: %v, %v", res, err)
	}
	return conn, res.Session
}
