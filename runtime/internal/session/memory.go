package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ipcgen/ipcgen/runtime/internal/frame"
	"github.com/ipcgen/ipcgen/runtime/internal/ring"
	"github.com/ipcgen/ipcgen/runtime/transport"
	"github.com/ipcgen/ipcgen/runtime/transport/shm"
)

// Memory is what a side wants of shared memory (PROTOCOL.md, section 13).
type Memory struct {
	Use Use
	// Spin is how long a wait may spin before it parks: 0 is as long as was measured to be worth while, less is not at
	// all.
	Spin time.Duration
	// Make makes this side's segment; nil is shm.Make.
	Make func(size int, id ring.Identity, sameUser bool) (*shm.Segment, error)
	// InPlace leaves blobs of messages that come where they are, in the peer's memory, until they are released.
	InPlace bool
	// MakeArena makes this side's arena; nil is shm.MakeArena.
	MakeArena func(size int) (*shm.Arena, error)
}

// Use says when a session moves into shared memory.
type Use uint8

// When it does.
const (
	NoMemory      Use = iota
	MemoryAllowed     // when the peer asks for it
	MemoryAsked       // when the peer is able; where it does not come to that, the log says why
)

// memory is what the handshake knows of shared memory.
type memory struct {
	socket       *shm.Socket // nil: no descriptors can come
	mine, theirs *shm.Segment
	used         bool
	why          string // not used
	blobs        bool   // this side would send them apart, and take them
}

// open prepares for descriptors, where this side would use them. Blobs says that this side lends and borrows memory, which
// it does with nobody but the same user.
func (m *memory) open(conn transport.Conn, cfg Memory, blobs bool) {
	if cfg.Use == NoMemory {
		m.why = "this side does not want it"
		return
	}
	var err error
	if m.socket, err = shm.Open(conn); err != nil {
		m.why = err.Error()
		return
	}
	m.blobs = blobs && shm.CanPopulate()
}

func (m *memory) features() uint32 {
	switch {
	case m.why != "":
		return 0
	case m.blobs:
		return frame.FeatureShm | frame.FeatureBlobs
	}
	return frame.FeatureShm
}

// read reads from the connection while it shakes hands. A plain read would lose the descriptors.
func (m *memory) read(conn transport.Conn, p []byte) (int, error) {
	if m.socket == nil {
		return conn.Read(p)
	}
	n, err := m.socket.Read(p)
	if errors.Is(err, shm.ErrBroken) {
		return n, endf(Protocol, "handshake: %w", err)
	}
	return n, err
}

// release gives up what the session does not use.
func (m *memory) release() {
	for _, s := range []*shm.Segment{m.mine, m.theirs} {
		if s != nil && !m.used {
			s.Release()
		}
	}
	m.mine, m.theirs = nil, nil
	if m.socket != nil {
		m.socket.Discard()
		m.socket = nil
	}
}

// settleMemory finds out whether the session moves into shared memory: each side offers a segment, and says whether it
// takes the other's. In any case the session goes on.
func (s *Session) settleMemory(mine *frame.HelloPayload) error {
	m := &s.shared
	switch {
	case m.socket == nil:
		s.tellMemory(s.cfg.Memory.Use == MemoryAsked)
		return nil
	case s.hello.Features&frame.FeatureShm == 0:
		m.why = "the peer does not want it, or cannot"
		s.tellMemory(s.cfg.Memory.Use == MemoryAsked)
		return s.leftovers()
	}
	id := s.identities(mine)
	if err := s.offer(id[0]); err != nil {
		return err
	}
	payload, descriptors, err := s.readShm(frame.ShmOffer)
	if err != nil {
		return err
	}
	why, err := s.takeOffer(payload, descriptors, id[1])
	if err != nil {
		return err
	}
	answer := frame.ShmAccept
	if why != "" {
		answer = frame.ShmReject
	}
	if m.why == "" {
		m.why = why
	}
	if err := m.socket.Send(frame.AppendShm(nil, answer, 0, []byte(why)), nil); err != nil {
		return ioError("answering the offer of shared memory", err)
	}
	rejected, err := s.readAnswer()
	if err != nil {
		return err
	}
	if m.why == "" {
		m.why = rejected
	}
	s.tellMemory(true)
	return s.leftovers()
}

// identities are what this side's and the peer's segment are to say of themselves.
func (s *Session) identities(mine *frame.HelloPayload) (id [2]ring.Identity) {
	halves := [2]uint64{mine.Session, s.hello.Session}
	first := s.cfg.Side
	var session [16]byte
	binary.LittleEndian.PutUint64(session[:], halves[first])
	binary.LittleEndian.PutUint64(session[8:], halves[1-first])
	id[0] = ring.Identity{Session: session, Side: uint32(s.cfg.Side)}
	id[1] = ring.Identity{Session: session, Side: uint32(1 - s.cfg.Side)}
	return id
}

// offer makes this side's segment and sends it, or says why there is none.
func (s *Session) offer(id ring.Identity) error {
	m := &s.shared
	segment := s.cfg.Memory.Make
	if segment == nil {
		segment = shm.Make
	}
	var err error
	size, why, descriptors := 0, "", uint8(1)
	if m.mine, err = segment(s.limits.Ring, id, s.peer.SameUser); err != nil {
		m.why = fmt.Sprintf("this side could not make its segment: %v", err)
		why, descriptors = "no memory for it", 0
	} else {
		size = m.mine.Size()
	}
	b := frame.AppendShm(nil, frame.ShmOffer, descriptors, frame.AppendOffer(nil, size, why))
	if err := m.socket.Send(b, m.mine); err != nil {
		return ioError("offering shared memory", err)
	}
	return nil
}

// takeOffer maps the peer's segment, or says why it does not, in words that the peer may read. An error is a violation.
func (s *Session) takeOffer(payload []byte, descriptors int, id ring.Identity) (why string, err error) {
	m := &s.shared
	size, none, err := frame.ParseOffer(payload)
	if err != nil {
		return "", endf(Protocol, "SHM_OFFER: %w", err)
	}
	if came := m.socket.Received(); came != descriptors {
		return "", endf(Protocol, "SHM_OFFER: %d descriptors came, the frame says %d", came, descriptors)
	}
	defer m.socket.Discard()
	switch most := s.limits.PeerRing + ring.HeaderSize; {
	case descriptors == 0:
		return "the peer offered none: " + cutText(safeText(none), 512), nil
	case m.mine == nil:
		return "there is no memory for the other direction", nil
	case size > uint32(most):
		return fmt.Sprintf("a segment of %d bytes, over the limit of %d", size, most), nil
	}
	if m.theirs, err = m.socket.Attach(int(size), id); err != nil {
		return cutText(err.Error(), 512), nil
	}
	return "", nil
}

// readAnswer reads whether the peer takes this side's segment: if not, why.
func (s *Session) readAnswer() (rejected string, err error) {
	payload, _, err := s.readShm(frame.ShmAccept, frame.ShmReject)
	if err != nil || payload == nil {
		return "", err
	}
	return "the peer could not use it: " + safeText(payload), nil
}

// readShm reads the next frame of the handshake, which must have one of the types. Where an accept has come the payload
// is nil.
func (s *Session) readShm(types ...frame.Type) (payload []byte, descriptors int, err error) {
	if err := s.readExactly(frame.HeaderSize); err != nil {
		return nil, 0, err
	}
	h, descriptors, err := frame.ParseShm(s.buf[s.r:])
	if err != nil {
		return nil, 0, endf(Protocol, "handshake: %w", err)
	}
	if h.Type != frame.GoAway && !slices.Contains(types, h.Type) {
		return nil, 0, endf(Protocol, "handshake: a %s frame where %s is due", h.Type, types[0])
	}
	size := frame.HeaderSize + int(h.Length)
	if err := s.readExactly(size); err != nil {
		return nil, 0, err
	}
	payload = s.buf[s.r+frame.HeaderSize : s.r+size]
	s.r += size
	switch h.Type {
	case frame.GoAway:
		return nil, 0, endf(Refused, "the peer refused: %s", safeText(payload))
	case frame.ShmAccept:
		return nil, 0, nil
	default:
		return payload, descriptors, nil
	}
}

// readExactly reads until there are n bytes, and none behind them: what the peer sends when it has moved, which may be an
// arena, is not for the handshake.
func (s *Session) readExactly(n int) error {
	for s.w-s.r < n {
		if err := s.readMore(s.r + n); err != nil {
			return err
		}
	}
	return nil
}

// leftovers are descriptors that belong to no frame, and bytes behind the last one that is read from the socket.
func (s *Session) leftovers() error {
	m := &s.shared
	if n := m.socket.Received(); n > 0 {
		return endf(Protocol, "handshake: %d descriptors came with no frame", n)
	}
	if m.why == "" && s.r != s.w {
		return endf(Protocol, "handshake: %d bytes came on the socket behind the last frame", s.w-s.r)
	}
	return nil
}

// tellMemory logs why the session stays where it is, if somebody expects something else.
func (s *Session) tellMemory(expected bool) {
	if expected && s.shared.why != "" {
		s.cfg.Logger.Warn("ipc session goes on without shared memory", "peer", s.peer.Address, "reason", s.shared.why)
	}
}

// enterMemory moves the session, if that is settled.
func (s *Session) enterMemory() {
	m := &s.shared
	if m.why != "" {
		return
	}
	m.used = true
	blobs := m.blobs && s.hello.Features&frame.FeatureBlobs != 0
	s.conn = m.socket.Conn(m.mine, m.theirs, s.cfg.Memory.Spin, blobs, s.knock)
	if blobs {
		s.startBlobs()
	}
}

// Memory says whether the session is in shared memory, and if not, why.
func (s *Session) Memory() (used bool, why string) { return s.shared.used, s.shared.why }
