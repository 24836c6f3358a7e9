//go:build linux && (amd64 || arm64)

package session

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ipcgen/ipcgen/runtime/internal/frame"
	"github.com/ipcgen/ipcgen/runtime/internal/ring"
	"github.com/ipcgen/ipcgen/runtime/transport"
	"github.com/ipcgen/ipcgen/runtime/transport/shm"
	"github.com/ipcgen/ipcgen/runtime/transport/socket"
	"github.com/ipcgen/ipcgen/runtime/transport/transporttest"
)

// checkLeaks is transporttest's, and looks at mappings too.
func checkLeaks(t *testing.T) {
	t.Helper()
	transporttest.CheckLeaks(t)
	before := mappings(t)
	t.Cleanup(func() {
		if now := mappings(t); now > before {
			t.Errorf("%d segments are mapped, %d were before", now, before)
		}
	})
}

// mappings is how many segments this process has mapped.
func mappings(t *testing.T) int {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(maps, []byte("/memfd:ipcgen"))
}

// listenUnix returns what accepts the next connection to path.
func listenUnix(t *testing.T, path string) (accept func() transport.Conn) {
	t.Helper()
	l, err := socket.ListenUnix(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return func() transport.Conn {
		c, err := l.Accept(context.Background())
		if err != nil {
			t.Error(err)
		}
		return c
	}
}

// noMemory is a segment maker that has none.
func noMemory(int, ring.Identity, bool) (*shm.Segment, error) { return nil, syscall.ENOSPC }

// otherHeader makes segments that are good but for their header.
func otherHeader(size int, id ring.Identity, sameUser bool) (*shm.Segment, error) {
	id.Session[3]++
	return shm.Make(size, id, sameUser)
}

// TestMemory: a session moves where both sides want it and can, and goes on over the socket otherwise; then both say
// why, and the log does where somebody expected something else.
func TestMemory(t *testing.T) {
	for _, c := range []struct {
		name string
		side [2]Memory // the dialer's, the listener's
		why  [2]string // "" where it moves
		tell [2]bool
	}{
		{name: "asked for", side: [2]Memory{{Use: MemoryAsked}, {Use: MemoryAllowed}}},
		{name: "both allow it", side: [2]Memory{{Use: MemoryAllowed}, {Use: MemoryAllowed}}},
		{name: "without spinning", side: [2]Memory{{Use: MemoryAsked, Spin: -1}, {Use: MemoryAllowed, Spin: -1}}},
		{name: "the dialer does not want it", side: [2]Memory{{}, {Use: MemoryAllowed}},
			why: [2]string{"this side does not want it", "the peer does not want it"}},
		{name: "the listener does not want it", side: [2]Memory{{Use: MemoryAsked}, {}},
			why: [2]string{"the peer does not want it", "this side does not want it"}, tell: [2]bool{true, false}},
		{name: "the dialer has no memory", side: [2]Memory{{Use: MemoryAsked, Make: noMemory}, {Use: MemoryAllowed}},
			why:  [2]string{"could not make its segment: no space left on device", "the peer offered none: no memory for it"},
			tell: [2]bool{true, true}},
		{name: "the listener has no memory", side: [2]Memory{{Use: MemoryAsked}, {Use: MemoryAllowed, Make: noMemory}},
			why:  [2]string{"the peer offered none: no memory for it", "could not make its segment: no space left on device"},
			tell: [2]bool{true, true}},
		{name: "neither has memory", side: [2]Memory{{Use: MemoryAsked, Make: noMemory}, {Use: MemoryAllowed, Make: noMemory}},
			why: [2]string{"could not make its segment", "could not make its segment"}, tell: [2]bool{true, true}},
		{name: "a segment that is not as it should be", side: [2]Memory{{Use: MemoryAsked, Make: otherHeader}, {Use: MemoryAllowed}},
			why: [2]string{"the peer could not use it: a segment of another session", "a segment of another session"}, tell: [2]bool{true, true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkLeaks(t)
			path := filepath.Join(t.TempDir(), "s")
			accept := listenUnix(t, path)
			var logs [2]strings.Builder
			var sessions [2]*Session
			start := func(side uint8, conn transport.Conn) {
				var err error
				sessions[side], err = Start(t.Context(), conn, Config{Side: side, Memory: c.side[side], Methods: newServer().methods,
					Logger: slog.New(slog.NewTextHandler(&logs[side], nil))})
				if err != nil {
					t.Error(err)
				}
			}
			conn, err := socket.DialUnix(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				start(1, accept())
			}()
			start(0, conn)
			<-done
			if t.Failed() {
				t.FailNow()
			}
			for i, s := range sessions {
				used, why := s.Memory()
				if used != (c.why[0] == "") || !strings.Contains(why, c.why[i]) || used != (why == "") {
					t.Errorf("side %d: in use: %v, why not: %q; want %q", i, used, why, c.why[i])
				}
				if told := strings.Count(logs[i].String(), "without shared memory"); told > 1 || (told == 1) != c.tell[i] {
					t.Errorf("side %d: the log told it %d times: %s", i, told, &logs[i])
				}
				res := new(blob)
				if f := ask(s, t.Context(), Outgoing{Method: mEcho}, text("hello"), res); f != nil || string(res.b) != "hello" {
					t.Errorf("side %d: a call: got %q, %v", i, res.b, f)
				}
			}
			if used, _ := sessions[0].Memory(); used && mappings(t) != 4 {
				t.Errorf("%d segments are mapped, want two in each side", mappings(t))
			}
			for _, s := range sessions {
				s.Close()
				s.Wait()
			}
		})
	}
}

// A rawPeer is a dialer that does what the test says. It has shaken hands up to HELLO.
type rawPeer struct {
	*net.UnixConn
	t  *testing.T
	id [2]ring.Identity // its own segment's, the session's
}

// sendFiles sends b with descriptors, which it keeps.
func (p *rawPeer) sendFiles(b []byte, fds ...int) {
	p.t.Helper()
	if _, _, err := p.WriteMsgUnix(b, syscall.UnixRights(fds...), nil); err != nil {
		p.t.Error(err)
	}
}

// offer sends an offer of a memfd of the size, which has been prepared.
func (p *rawPeer) offer(size int, prepare func(fd int)) {
	p.t.Helper()
	fd, err := unix.MemfdCreate("peer", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		p.t.Fatal(err)
	}
	defer unix.Close(fd)
	prepare(fd)
	p.sendFiles(offerOf(1, size), fd)
}

func offerOf(descriptors uint8, size int) []byte {
	return frame.AppendShm(nil, frame.ShmOffer, descriptors, frame.AppendOffer(nil, size, ""))
}

// fill writes a segment with the header of id and seals it.
func fill(t *testing.T, fd, size int, id ring.Identity, seals int) {
	t.Helper()
	mem := make([]byte, size)
	ring.Init(mem, id)
	_, err := unix.Pwrite(fd, mem, 0)
	if err == nil && seals != 0 {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		t.Error(err)
	}
}

const (
	goodSize  = ring.HeaderSize + 64<<10
	goodSeals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
)

// hello shakes hands with the session at the other end, with the features, and descriptors behind the first bytes.
func (p *rawPeer) hello(features uint32, fds ...int) {
	p.t.Helper()
	h := tightHello
	h.Features, h.Session = features, 42
	body := h.Append(nil)
	p.Write([]byte(frame.Preface))
	b := append(frame.Header{Type: frame.Hello, Length: uint32(len(body))}.Append(nil), body...)
	if len(fds) > 0 {
		p.sendFiles(b, fds...)
	} else {
		p.Write(b)
	}
	head := make([]byte, len(frame.Preface)+frame.HeaderSize)
	if _, err := io.ReadFull(p, head); err != nil {
		p.t.Fatal(err)
	}
	theirs, err := frame.ParseHello(p.payload(head[len(frame.Preface):]))
	if err != nil {
		p.t.Fatal(err)
	}
	var session [16]byte
	binary.LittleEndian.PutUint64(session[:], 42)
	binary.LittleEndian.PutUint64(session[8:], theirs.Session)
	p.id = [2]ring.Identity{{Session: session, Side: 0}, {Session: session, Side: 1}}
}

func (p *rawPeer) payload(header []byte) []byte {
	b := make([]byte, binary.LittleEndian.Uint32(header[4:]))
	if _, err := io.ReadFull(p, b); err != nil {
		p.t.Fatal(err)
	}
	return b
}

// next reads a frame.
func (p *rawPeer) next() (frame.Type, []byte) {
	p.t.Helper()
	header := make([]byte, frame.HeaderSize)
	if _, err := io.ReadFull(p, header); err != nil {
		p.t.Fatal(err)
	}
	return frame.Type(header[0]), p.payload(header)
}

// victim starts a session at one end of a connection and returns the other end, with what the session comes to.
func victim(t *testing.T, limits Limits) (*rawPeer, chan *Session, chan error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	accept := listenUnix(t, path)
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	began, failed := make(chan *Session, 1), make(chan error, 1)
	c := accept()
	go func() {
		s, err := Start(context.Background(), c, Config{Side: 1, Limits: limits, Methods: newServer().methods, Memory: Memory{Use: MemoryAllowed, Spin: -1}})
		if err != nil {
			failed <- err
			return
		}
		began <- s
	}()
	return &rawPeer{UnixConn: conn.(*net.UnixConn), t: t}, began, failed
}

// TestBadSegment: a segment that is no good is rejected with a reason, and the session goes on over the socket.
func TestBadSegment(t *testing.T) {
	devNull, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer devNull.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, c := range []struct {
		name, want string
		offer      func(p *rawPeer)
	}{
		{"none", "the peer offered none: because", func(p *rawPeer) {
			p.Write(frame.AppendShm(nil, frame.ShmOffer, 0, frame.AppendOffer(nil, 0, "because\x1b")))
		}},
		{"a device", "not of a memfd", func(p *rawPeer) { p.sendFiles(offerOf(1, goodSize), int(devNull.Fd())) }},
		{"a file that can be cut", "", func(p *rawPeer) { p.sendFiles(offerOf(1, goodSize), int(file.Fd())) }},
		{"not sealed", "has the seals 0x0", func(p *rawPeer) {
			p.offer(goodSize, func(fd int) { fill(t, fd, goodSize, p.id[0], 0) })
		}},
		{"can be cut", "has the seals", func(p *rawPeer) {
			p.offer(goodSize, func(fd int) { fill(t, fd, goodSize, p.id[0], unix.F_SEAL_GROW|unix.F_SEAL_SEAL) })
		}},
		{"shorter than it says", "has 8192 bytes, the offer said 69632", func(p *rawPeer) {
			p.offer(goodSize, func(fd int) { fill(t, fd, 8192, p.id[0], goodSeals) })
		}},
		{"of another size than it says", "has 4160 bytes, the offer said 0", func(p *rawPeer) {
			p.offer(0, func(fd int) { fill(t, fd, ring.HeaderSize+64, p.id[0], goodSeals) })
		}},
		{"no power of two", "want 4096 and a power of two", func(p *rawPeer) {
			p.offer(ring.HeaderSize+20<<10, func(fd int) { fill(t, fd, ring.HeaderSize+20<<10, p.id[0], goodSeals) })
		}},
		{"over the limit", "over the limit of 135168", func(p *rawPeer) {
			p.offer(ring.HeaderSize+256<<10, func(fd int) { fill(t, fd, ring.HeaderSize+256<<10, p.id[0], goodSeals) })
		}},
		{"over any limit", "over the limit of 135168", func(p *rawPeer) {
			p.offer(1<<32-1, func(fd int) { fill(t, fd, goodSize, p.id[0], goodSeals) })
		}},
		{"of the other side", "side 1, not of side 0", func(p *rawPeer) {
			p.offer(goodSize, func(fd int) { fill(t, fd, goodSize, p.id[1], goodSeals) })
		}},
		{"with nothing in it", "begins with", func(p *rawPeer) {
			p.offer(goodSize, func(fd int) {
				fill(t, fd, goodSize, p.id[0], 0)
				unix.Pwrite(fd, make([]byte, 8), 0)
				unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, goodSeals)
			})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkLeaks(t)
			limits := tight
			limits.PeerRing = 128 << 10
			p, began, failed := victim(t, limits)
			p.t = t
			p.hello(frame.FeatureShm)
			p.next() // its offer
			c.offer(p)
			kind, text := p.next()
			if kind != frame.ShmReject || !strings.Contains(string(text), c.want) {
				t.Errorf("got %s %q, want a SHM_REJECT with %q", kind, text, c.want)
			}
			p.Write(frame.AppendShm(nil, frame.ShmAccept, 0, nil))
			p.Write(frame.Header{Type: frame.Ping}.Append(nil))
			if kind, _ := p.next(); kind != frame.Ping {
				t.Errorf("after it: got %s, want a PING", kind)
			}
			select {
			case s := <-began:
				if used, why := s.Memory(); used || !strings.Contains(why, c.want) || strings.ContainsRune(why, '\x1b') {
					t.Errorf("the session: in use: %v, why not: %q", used, why)
				}
				s.Close()
				s.Wait()
			case err := <-failed:
				t.Error(err)
			}
		})
	}
}

// TestBadAgreement: what a peer's runtime cannot have meant ends the session, and leaves no descriptor.
func TestBadAgreement(t *testing.T) {
	fd, err := unix.MemfdCreate("peer", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	good := func(p *rawPeer) { p.offer(goodSize, func(fd int) { fill(t, fd, goodSize, p.id[0], goodSeals) }) }
	ping := frame.Header{Type: frame.Ping}.Append(nil)
	accept := frame.AppendShm(nil, frame.ShmAccept, 0, nil)
	for _, c := range []struct {
		name, want string
		features   uint32
		bad        func(p *rawPeer) // nil: HELLO has a descriptor
	}{
		{"a descriptor without the feature", "1 descriptors came with no frame", 0, nil},
		{"a descriptor too early", "1 descriptors came, the frame says 0", 1, nil},
		{"another frame", "a PING frame where SHM_OFFER is due", 1, func(p *rawPeer) { p.Write(ping) }},
		{"a CALL", "a CALL frame where SHM_OFFER is due", 1, func(p *rawPeer) { p.Write(callOf(mEcho, 0, 1, frame.Msg|frame.End, nil)) }},
		{"the answer first", "a SHM_ACCEPT frame where SHM_OFFER is due", 1, func(p *rawPeer) { p.Write(accept) }},
		{"a descriptor less", "0 descriptors came, the frame says 1", 1, func(p *rawPeer) { p.Write(offerOf(1, goodSize)) }},
		{"a descriptor more", "1 descriptors came, the frame says 0", 1, func(p *rawPeer) { p.sendFiles(offerOf(0, goodSize), fd) }},
		{"two descriptors", "2 descriptors came, the frame says 1", 1, func(p *rawPeer) { p.sendFiles(offerOf(1, goodSize), fd, fd) }},
		{"two descriptors, and says so", "with 2 descriptors", 1, func(p *rawPeer) { p.sendFiles(offerOf(2, goodSize), fd, fd) }},
		{"more descriptors than are taken", "more descriptors than there is use for", 1, func(p *rawPeer) {
			p.sendFiles(offerOf(1, goodSize), fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd)
		}},
		{"a descriptor with the answer", "1 descriptors came with no frame", 1, func(p *rawPeer) {
			good(p)
			p.sendFiles(accept, fd)
		}},
		{"two offers", "a SHM_OFFER frame where SHM_ACCEPT is due", 1, func(p *rawPeer) {
			good(p)
			p.Write(offerOf(0, 0))
		}},
		{"an offer that is too short", "payload ends in the middle", 1, func(p *rawPeer) { p.Write(frame.AppendShm(nil, frame.ShmOffer, 0, []byte{1, 2, 3})) }},
		{"an offer that is too long", "over its limit", 1, func(p *rawPeer) { p.Write(frame.AppendShm(nil, frame.ShmOffer, 0, make([]byte, 2000))) }},
		{"an answer with something in it", "over its limit", 1, func(p *rawPeer) {
			good(p)
			p.Write(frame.AppendShm(nil, frame.ShmAccept, 0, []byte{1}))
		}},
		{"a stream", "something in its header that must be 0", 1, func(p *rawPeer) {
			b := offerOf(0, 0)
			b[8] = 1
			p.Write(b)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkLeaks(t)
			p, began, failed := victim(t, tight)
			p.t = t
			if c.bad != nil {
				p.hello(c.features)
				c.bad(p)
			} else {
				p.hello(c.features, fd)
				p.Write(offerOf(0, 0))
			}
			select {
			case s := <-began:
				t.Error("the session began")
				s.Close()
				s.Wait()
			case err := <-failed:
				if wantEnd(t, err, Protocol); !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
			}
		})
	}
}

// TestManyDescriptors: what comes a few at a time adds up.
func TestManyDescriptors(t *testing.T) {
	checkLeaks(t)
	fd, err := unix.MemfdCreate("peer", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	limits := tight
	limits.Handshake = time.Second
	p, _, failed := victim(t, limits)
	h := tightHello
	h.Features, h.Agent = frame.FeatureShm, strings.Repeat("a", 255)
	body := h.Append(nil)
	b := append([]byte(frame.Preface), frame.Header{Type: frame.Hello, Length: uint32(len(body))}.Append(nil)...)
	for _, c := range append(b, body[:200]...) {
		if _, _, err := p.WriteMsgUnix([]byte{c}, syscall.UnixRights(fd), nil); err != nil {
			break
		}
	}
	if err := <-failed; !strings.Contains(err.Error(), "more descriptors than there is use for") {
		t.Errorf("got %v", err)
	}
}

// TestSilentAgreement: a peer that stops in the middle is given up, and one that leaves is gone.
func TestSilentAgreement(t *testing.T) {
	for name, do := range map[string]func(p *rawPeer){
		"before its offer":  func(*rawPeer) {},
		"before its answer": func(p *rawPeer) { p.Write(offerOf(0, 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			checkLeaks(t)
			limits := tight
			limits.Handshake = 50 * time.Millisecond
			p, _, failed := victim(t, limits)
			p.t = t
			p.hello(frame.FeatureShm)
			do(p)
			wantEnd(t, <-failed, NoHandshake)

			p, _, failed = victim(t, tight)
			p.t = t
			p.hello(frame.FeatureShm)
			do(p)
			p.Close()
			wantEnd(t, <-failed, PeerGone)
		})
	}
}

func wantEnd(t *testing.T, err error, want Reason) {
	t.Helper()
	var e *EndError
	if !errors.As(err, &e) || e.Reason != want {
		t.Errorf("got %v, want an EndError for %v", err, want)
	}
}
