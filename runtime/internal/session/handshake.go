package session

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"time"

	"github.com/ipcgen/ipcgen/runtime/internal/frame"
	"github.com/ipcgen/ipcgen/runtime/transport"
)

// The versions of the protocol that this package speaks.
const (
	minVersion = 1
	maxVersion = 1
)

const agent = "ipcgen-go"

// handshake sends this side's preface and HELLO and reads the peer's, within ctx and the limit for handshakes.
func (s *Session) handshake(ctx context.Context) error {
	deadline := time.Now().Add(s.limits.Handshake)
	s.conn.SetReadDeadline(deadline)
	s.conn.SetWriteDeadline(deadline)
	stop := context.AfterFunc(ctx, func() {
		s.conn.SetReadDeadline(time.Unix(1, 0))
		s.conn.SetWriteDeadline(time.Unix(1, 0))
	})
	s.shared.open(s.conn, s.cfg.Memory, s.peer.SameUser && s.limits.Arena > 0)
	defer s.shared.release()
	err := s.exchange()
	if !stop() || ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	s.conn.SetReadDeadline(time.Time{})
	s.conn.SetWriteDeadline(time.Time{})
	s.enterMemory()
	return nil
}

func (s *Session) exchange() error {
	mine := s.myHello()
	first := append([]byte(frame.Preface), make([]byte, frame.HeaderSize)...)
	first = mine.Append(first)
	n := len(first) - len(frame.Preface) - frame.HeaderSize
	if n > frame.MaxHello {
		return endf(Refused, "this side's HELLO has %d bytes, over the limit of %d: it serves too many services (%d) for one session",
			n, frame.MaxHello, len(mine.Services))
	}
	frame.Header{Type: frame.Hello, Length: uint32(n)}.Put(first[len(frame.Preface):])
	// A peer that speaks before it reads may have filled a pipe: write while reading.
	wrote := make(chan error, 1)
	go func() {
		_, err := s.conn.Write(first)
		wrote <- err
	}()
	err := s.readHello()
	var bad *EndError
	if errors.As(err, &bad) && bad.Reason == Protocol {
		if werr := <-wrote; werr == nil {
			s.refuse(bad)
		}
		return err
	}
	if err != nil {
		s.conn.SetWriteDeadline(time.Unix(1, 0)) // what is not written by now need not be
	}
	if werr := <-wrote; err == nil && werr != nil {
		return ioError("sending HELLO", werr)
	}
	if err != nil {
		return err
	}
	if err := s.agree(mine); err != nil {
		return err
	}
	err = s.settleMemory(mine)
	if errors.As(err, &bad) && bad.Reason == Protocol {
		s.refuse(bad)
	}
	return err
}

func (s *Session) myHello() *frame.HelloPayload {
	var id [8]byte
	rand.Read(id[:])
	return &frame.HelloPayload{
		MinVersion: minVersion, MaxVersion: maxVersion, Features: s.shared.features(),
		MaxFrame: uint32(s.limits.MaxFrame), MaxMessage: uint32(s.limits.MaxMessage),
		MaxSlots: uint32(s.limits.Slots), Window: uint32(s.limits.Window),
		Session: binary.LittleEndian.Uint64(id[:]), Agent: agent, Services: s.cfg.Services,
	}
}

// readHello reads the peer's preface and HELLO. What comes behind them stays in the buffer.
func (s *Session) readHello() error {
	s.buf = make([]byte, 16<<10)
	head := len(frame.Preface) + frame.HeaderSize
	for s.w < head {
		// Each byte of the preface is looked at as it comes: a peer that waits for an answer to something else
		// is told apart at once.
		if n := min(s.w, len(frame.Preface)); string(s.buf[:n]) != frame.Preface[:n] {
			return endf(Foreign, "the peer does not speak ipcgen's protocol: it began with %.32q, not %q", s.buf[:s.w], frame.Preface)
		}
		if err := s.readMore(len(s.buf)); err != nil {
			return err
		}
	}
	if got := s.buf[:len(frame.Preface)]; string(got) != frame.Preface {
		return endf(Foreign, "the peer does not speak ipcgen's protocol: it began with %.32q, not %q", s.buf[:s.w], frame.Preface)
	}
	h, err := frame.Parse(s.buf[len(frame.Preface):], frame.MaxHello)
	if err != nil {
		return endf(Protocol, "handshake: %w", err)
	}
	if h.Type != frame.Hello && h.Type != frame.GoAway {
		return endf(Protocol, "handshake: a %s frame came before HELLO", h.Type)
	}
	for s.w < head+int(h.Length) {
		if err := s.readMore(len(s.buf)); err != nil {
			return err
		}
	}
	payload := s.buf[head : head+int(h.Length)]
	s.r = head + int(h.Length)
	if h.Type == frame.GoAway {
		return endf(Refused, "the peer refused: %s", safeText(payload))
	}
	if s.hello, err = frame.ParseHello(payload); err != nil {
		return endf(Protocol, "handshake: HELLO: %w", err)
	}
	return nil
}

// readMore reads on, at most to a position of the buffer.
func (s *Session) readMore(end int) error {
	n, err := s.shared.read(s.conn, s.buf[s.w:end])
	s.w += n
	var bad *EndError
	switch {
	case errors.As(err, &bad):
		return err
	case n > 0:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		if s.hello != nil {
			return endf(NoHandshake, "the peer's part of the handshake did not come within %v", s.limits.Handshake)
		}
		return endf(NoHandshake, "the peer's HELLO did not come within %v: is it an ipcgen peer?", s.limits.Handshake)
	case err == io.EOF:
		return endf(PeerGone, "the peer closed the connection during the handshake: is it an ipcgen peer?")
	case errors.Is(err, io.EOF):
		return endf(PeerGone, "the peer closed the connection during the handshake: %w", err)
	case err == nil:
		return endf(Broken, "reading: no bytes and no error")
	default:
		return ioError("reading HELLO", err)
	}
}

// agree takes the highest version of both and the smaller of each limit.
func (s *Session) agree(mine *frame.HelloPayload) error {
	theirs := s.hello
	if theirs.Session == mine.Session {
		return endf(Foreign, "the peer sends back what it gets: it is no ipcgen peer")
	}
	version := min(mine.MaxVersion, theirs.MaxVersion)
	if version < max(mine.MinVersion, theirs.MinVersion) {
		return s.refuse(endf(Version, "this side (%s) speaks protocol versions %d to %d, the peer (%s) %d to %d: upgrade the older one",
			mine.Agent, mine.MinVersion, mine.MaxVersion, safeText([]byte(theirs.Agent)), theirs.MinVersion, theirs.MaxVersion))
	}
	if theirs.MaxFrame < minFrame || theirs.MaxMessage < minFrame || theirs.MaxSlots == 0 || theirs.Window < 4*minFrame {
		return s.refuse(endf(Protocol, "handshake: HELLO with limits below the least: frame %d, message %d, slots %d, window %d",
			theirs.MaxFrame, theirs.MaxMessage, theirs.MaxSlots, theirs.Window))
	}
	s.agreed = agreed{
		maxFrame:   int(min(mine.MaxFrame, theirs.MaxFrame)),
		maxMessage: int(min(mine.MaxMessage, theirs.MaxMessage)),
		slots:      int(min(mine.MaxSlots, theirs.MaxSlots)),
		window:     int(min(mine.Window, theirs.Window)),
	}
	// At most a quarter of a window, so that a receiver that returns credit by half windows never leaves a sender without
	// enough.
	s.agreed.single = min(singleMost, s.agreed.window/4-frame.HeaderSize, s.agreed.maxFrame)
	return nil
}

// refuse tells the peer why there will be no session.
func (s *Session) refuse(e *EndError) error {
	s.conn.Write(appendGoAway(nil, e.Reason, e.Err)) // best effort, within the handshake's deadline
	return e
}

func appendGoAway(b []byte, r Reason, err error) []byte {
	text := cutText(err.Error(), frame.MaxGoAwayText)
	return append(frame.Header{Type: frame.GoAway, Length: uint32(len(text)), Arg: uint32(r)}.Append(b), text...)
}

// refusing is how long telling a peer why it is refused may take.
const refusing = time.Second

// Refuse closes a connection on which no session is to begin, and tells the peer why.
func Refuse(conn transport.Conn, why error) {
	conn.SetWriteDeadline(time.Now().Add(refusing))
	conn.Write(appendGoAway([]byte(frame.Preface), Refused, why)) // best effort
	conn.Close()
}
