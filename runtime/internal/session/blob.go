package session

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ipcgen/ipcgen/runtime/codec"
	"github.com/ipcgen/ipcgen/runtime/internal/frame"
	"github.com/ipcgen/ipcgen/runtime/transport/shm"
)

// Blobs travel apart from their messages where both sides want it: in an arena of the sender's, which the receiver can
// read (PROTOCOL.md, section 13.6). The sender copies them there and names their ranges behind the message; the receiver
// gives each range back when it has copied it out, or when the program has no more use for it in place.
//
// Whose a range is:
//
//	lender     free ──lend──▶ out, named in a frame ──comeBack──▶ free
//	                 ◀─takeBack─ the frame was not sent
//	           free ──draft─▶ in the program, which fills it ──lend──▶ out
//	                                                          └─▶ Release, or the message was not sent so: free
//	borrower   arrive ──▶ waits with its message ──▶ is decoded ──▶ give
//	                                                  └─▶ in the program, in place ──Release──▶ give
//
// A message without a receiver gives its ranges back at once. Mappings outlive the session as long as a range is in use.

// An arenaConn is a connection over which arenas are sent.
type arenaConn interface {
	SendArena(*shm.Arena) (sent bool)
	PeerArena(most int) (*shm.PeerArena, error)
	GiveBack(offset uint32) bool
	TakeBack() (offset uint32, ok bool, err error)
}

// blobs are a session's arenas. Guarded by the session's mutex, where nothing else is said.
type blobs struct {
	s    *Session
	conn arenaConn

	// This side's arena.
	setup    sync.Mutex // held while it is made and sent
	hopeless bool       // it could not be made; guarded by setup
	sent     atomic.Bool
	arena    *shm.Arena   // nil before the first blob
	writers  int          // goroutines that copy into it
	drafts   map[int]bool // where ranges start that the program fills
	lent     map[int]bool // where those start that the peer has
	// drafted is the memory in which they are, from the first on, for those who do not hold the mutex: to tell by addresses
	// what may be one.
	drafted atomic.Pointer[[]byte]

	// The peer's.
	peer  *shm.PeerArena // nil before the first blob
	out   map[uint32]use // the ranges that this side has, by where they start
	freed []uint32       // those that are to be given back by frames
}

// A use is what this side does with a range of the peer's.
type use struct {
	inPlace bool // the program has it
}

// startBlobs makes ready for blobs, which both sides want.
func (s *Session) startBlobs() {
	s.blobs = &blobs{s: s, conn: s.conn.(arenaConn), drafts: map[int]bool{}, lent: map[int]bool{}, out: map[uint32]use{}}
}

// end gives up what nobody uses any more. Called with the mutex held, when the session has ended and whenever a use ends
// after that.
func (b *blobs) end() {
	if b.arena != nil && b.writers == 0 && len(b.drafts) == 0 {
		drafters.remove(b)
		b.arena.Release()
		b.arena = nil
	}
	if b.peer != nil && len(b.out) == 0 {
		borrowers.remove(b)
		b.peer.Release()
		b.peer = nil
	}
}

// encode encodes m with its large blobs apart, and returns the parts of it that are in this side's arena now, whose table
// ends b. There are none where m has no large blobs; ok is false where it is to be encoded like any message. C has the
// parts afterwards.
func (b *blobs) encode(c *scratch, m codec.Holder, room, most int) (_ []byte, lent []frame.Part, ok bool, err error) {
	if memory := b.drafted.Load(); memory != nil {
		c.apart.parts.Near = *memory
	}
	message, err := m.AppendApart(c.room(room), &c.apart.parts)
	parts := c.apart.parts.List
	if err != nil {
		return nil, nil, false, fmt.Errorf("encoding the message: %w", err)
	}
	total := len(message) - room
	for _, p := range parts {
		total += len(p.Bytes)
	}
	if err := checkSize(total, b.s.agreed.maxMessage); err != nil {
		return nil, nil, false, err
	}
	if len(parts) > 0 {
		table := frame.TableSize(len(parts))
		if len(parts) > frame.MaxParts || len(message)-room+table > most {
			return nil, nil, false, nil
		}
		if lent = b.lend(parts, room); lent == nil {
			return nil, nil, false, nil
		}
		message = frame.AppendParts(message, lent)
	}
	c.keep(message)
	return message, lent, true, nil
}

// encodeHolder is Session.encode of a message that may have blobs.
func (b *blobs) encodeHolder(c *scratch, h codec.Holder, m codec.Message, room, most int) ([]byte, error) {
	if c.apart == nil {
		c.apart = new(apartScratch)
	}
	defer c.apart.forgetParts()
	encoded, lent, ok, err := b.encode(c, h, room, most)
	if ok {
		c.apart.lent = lent
		return encoded, nil
	}
	defer b.dropDrafts(c.apart.parts.List) // when they have been copied
	if err != nil {
		return nil, err
	}
	return c.encode(m, room, b.s.agreed.maxMessage, false)
}

// encode encodes m behind room for so many bytes, by c. With its large blobs apart, which then are c's lent, the message has
// at most so many bytes. Else what is large in it may be spread, which appendSpread and sendPieces send.
func (s *Session) encode(c *scratch, m codec.Message, room, most int) ([]byte, error) {
	if c.apart != nil {
		c.apart.lent = nil
	}
	if s.blobs != nil {
		if h, ok := m.(codec.Holder); ok {
			return s.blobs.encodeHolder(c, h, m, room, most)
		}
	}
	return c.encode(m, room, s.agreed.maxMessage, s.memory != nil)
}

// lend copies parts of a message, which begins at position from, into this side's arena. It returns nil where there is
// none, or no room in it.
func (b *blobs) lend(parts []codec.Part, from int) []frame.Part {
	if !b.ready() {
		return nil
	}
	s := b.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil {
		return nil
	}
	b.takeAll()
	lent := make([]frame.Part, 0, len(parts))
	var drafts []int
	var copies []filling
	for _, p := range parts {
		offset, ok := b.draftAt(p.Bytes)
		if ok {
			delete(b.drafts, offset)
			drafts = append(drafts, offset)
		} else {
			var to []byte
			if offset, to, ok = b.arena.Take(len(p.Bytes)); ok {
				copies = append(copies, filling{offset, to, p.Bytes, !b.arena.There(offset, len(to))})
			}
		}
		if !ok {
			b.unlend(drafts, copies)
			return nil
		}
		lent = append(lent, frame.Part{Offset: uint32(offset), Length: uint32(len(p.Bytes)), At: uint32(p.At - from)})
	}
	if err := b.fill(copies); err != nil || s.ended != nil {
		b.unlend(drafts, copies)
		return nil
	}
	for _, p := range lent {
		b.lent[int(p.Offset)] = true
	}
	return lent
}

// A filling is what is to be copied to a range of this side's arena.
type filling struct {
	offset   int
	to, from []byte
	fresh    bool // it was never reserved
}

// unlend undoes what lend has begun. Called with the mutex held.
func (b *blobs) unlend(drafts []int, copies []filling) {
	for _, offset := range drafts {
		b.drafts[offset] = true
	}
	for _, p := range copies {
		b.arena.Give(p.offset)
	}
	if b.s.ended != nil {
		b.end()
	}
}

// fill copies. Called and returns with the mutex held, which is released meanwhile.
func (b *blobs) fill(copies []filling) (err error) {
	if len(copies) == 0 {
		return nil
	}
	b.writers++
	b.s.mu.Unlock()
	n := 0
	for ; n < len(copies); n++ {
		p := copies[n]
		if p.fresh {
			if err = b.arena.Reserve(p.offset, len(p.to)); err != nil {
				break
			}
		}
		codec.CopyLarge(p.to, p.from)
	}
	b.s.mu.Lock()
	b.writers--
	for _, p := range copies[:n] {
		b.arena.Reserved(p.offset, len(p.to))
	}
	return err
}

// ready says whether the peer has this side's arena, which is made and sent when it is first asked for.
func (b *blobs) ready() bool {
	if b.sent.Load() {
		return true
	}
	b.setup.Lock()
	defer b.setup.Unlock()
	if b.hopeless || b.sent.Load() {
		return !b.hopeless
	}
	b.s.mu.Lock()
	made := b.arena != nil
	b.s.mu.Unlock()
	if !made && !b.makeArena() {
		return false
	}
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	if b.s.ended != nil || !b.conn.SendArena(b.arena) { // which may be full of doorbells
		return false
	}
	b.sent.Store(true)
	return true
}

// makeArena makes this side's arena. Called with setup held.
func (b *blobs) makeArena() bool {
	s := b.s
	maker := s.cfg.Memory.MakeArena
	if maker == nil {
		maker = shm.MakeArena
	}
	arena, err := maker(s.limits.Arena)
	if err != nil {
		b.hopeless = true
		s.cfg.Logger.Warn("ipc session sends blobs like other bytes", "peer", s.peer.Address, "reason", "no memory for them: "+err.Error())
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil {
		arena.Release()
		return false
	}
	b.arena = arena
	return true
}

// takeBack frees what was lent and did not leave. Called with the mutex held.
func (b *blobs) takeBack(lent []frame.Part) {
	for _, p := range lent {
		b.comeBack(int(p.Offset))
	}
}

// comeBack frees what was lent, and says whether it was. Called with the mutex held.
func (b *blobs) comeBack(offset int) bool {
	if b.arena == nil || !b.lent[offset] {
		return false
	}
	delete(b.lent, offset)
	return b.arena.Give(offset)
}

// takeBack is blobs.takeBack where something was lent. Called with the mutex held.
func (s *Session) takeBack(lent []frame.Part) {
	if len(lent) > 0 {
		s.blobs.takeBack(lent)
	}
}

// takeAll takes back what the peer has given back. Where that cannot be, the session ends. Called with the mutex held.
func (b *blobs) takeAll() {
	for {
		offset, ok, err := b.conn.TakeBack()
		if ok && !b.comeBack(int(offset)) {
			err = fmt.Errorf("%w: it gave back a range at %d that it does not have", shm.ErrBroken, offset)
		}
		if err != nil {
			b.s.wg.Go(func() { b.s.end(endf(Protocol, "%w", err)) })
			return
		}
		if !ok {
			return
		}
	}
}

// draft returns a range of n bytes for the program to fill, or nil where there is none.
func (b *blobs) draft(n int) []byte {
	if !b.ready() {
		return nil
	}
	s := b.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil {
		return nil
	}
	b.takeAll()
	offset, p, ok := b.arena.Take(n)
	if !ok {
		return nil
	}
	b.drafts[offset] = true
	if !b.arena.There(offset, n) {
		s.mu.Unlock()
		err := b.arena.Reserve(offset, n)
		s.mu.Lock()
		if err != nil {
			b.dropDraft(offset)
			return nil
		}
		b.arena.Reserved(offset, n)
	}
	if b.drafted.Load() == nil {
		memory := b.arena.Memory()
		b.drafted.Store(&memory)
		drafters.add(b)
	}
	return p
}

// NewBlob returns n bytes for a blob, in this side's arena where that has room.
func (s *Session) NewBlob(n int) []byte {
	if s.blobs != nil && n > 0 {
		if p := s.blobs.draft(n); p != nil {
			return p
		}
	}
	return make([]byte, n)
}

// draftAt returns where a draft starts that p begins with. Called with the mutex held.
func (b *blobs) draftAt(p []byte) (offset int, ok bool) {
	if len(b.drafts) == 0 || b.arena == nil {
		return 0, false
	}
	offset, ok = b.arena.Offset(p)
	return offset, ok && b.drafts[offset]
}

// dropDraft frees a draft. Called with the mutex held.
func (b *blobs) dropDraft(offset int) {
	delete(b.drafts, offset)
	b.arena.Give(offset)
	if b.s.ended != nil {
		b.end()
	}
}

// dropDrafts frees those among the parts of a message that was not sent with them.
func (b *blobs) dropDrafts(parts []codec.Part) {
	if b.drafted.Load() == nil {
		return
	}
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	for _, p := range parts {
		if offset, ok := b.draftAt(p.Bytes); ok {
			b.dropDraft(offset)
		}
	}
}

// Drop frees the drafts in a message that is not going to be sent.
func (s *Session) Drop(m codec.Message) {
	if s.blobs == nil {
		return
	}
	memory := s.blobs.drafted.Load()
	if h, ok := m.(codec.Holder); ok && memory != nil {
		parts := codec.Parts{Near: *memory}
		h.AppendApart(nil, &parts) // the parts are there also where that fails
		s.blobs.dropDrafts(parts.List)
	}
}

// handleFree takes a range back from the peer.
func (s *Session) handleFree(h frame.Header) error {
	if !s.blobs.comeBack(int(h.Arg)) {
		return fmt.Errorf("of a range at %d that the peer does not have", h.Arg)
	}
	return nil
}

// apart are the blobs of one message that has come.
type apart struct {
	table int // bytes behind the rest of the message
	parts []codec.Part
	spans []frame.Part
}

// handleApart handles a frame with APART. What its handling has no use for is given back.
func (s *Session) handleApart(h frame.Header, payload []byte, alone bool) error {
	if s.ended != nil {
		return nil // what the peer lends now nobody gives back
	}
	message, err := s.messageOf(h.Type, payload)
	if err != nil {
		return err
	}
	a, err := s.blobs.arrive(message)
	if err != nil {
		return err
	}
	s.apart = a
	err = s.dispatch(h, payload, alone)
	if s.apart == a {
		s.apart = nil
		s.blobs.give(a)
	}
	return err
}

// messageOf returns what a frame has of a message.
func (s *Session) messageOf(t frame.Type, payload []byte) (message []byte, err error) {
	switch t {
	case frame.Call:
		_, message, err = frame.ParseCall(payload, s.limits.Metadata)
	case frame.Status:
		_, message, err = frame.ParseStatus(payload, s.limits.Metadata)
	default:
		message = payload
	}
	return message, err
}

// arrive takes the ranges that a message names over from the peer. Called with the mutex held, by the holder of the role.
func (b *blobs) arrive(message []byte) (*apart, error) {
	rest, spans, err := frame.ParseParts(message)
	if err != nil {
		return nil, err
	}
	if b.peer == nil {
		if b.peer, err = b.conn.PeerArena(b.s.limits.PeerArena); err != nil {
			return nil, ioError("the peer's arena", err)
		}
		borrowers.add(b)
	}
	total := uint64(len(rest))
	a := &apart{table: len(message) - len(rest), parts: make([]codec.Part, len(spans)), spans: spans}
	for i, p := range spans {
		bytes, ok := b.peer.Range(p.Offset, p.Length)
		if _, twice := b.out[p.Offset]; !ok || twice {
			b.forget(spans[:i])
			return nil, fmt.Errorf("a blob of %d bytes at %d, which is no free range of the arena of %d", p.Length, p.Offset, b.peer.Size())
		}
		total += uint64(p.Length)
		a.parts[i] = codec.Part{At: int(p.At), Bytes: bytes}
		b.out[p.Offset] = use{}
	}
	if most := b.s.limits.MaxMessage; total > uint64(most) {
		b.forget(spans)
		return nil, fmt.Errorf("a message of %d bytes, over the limit of %d", total, most)
	}
	return a, nil
}

// forget has the peer keep ranges that a violation has named. Called with the mutex held.
func (b *blobs) forget(spans []frame.Part) {
	for _, p := range spans {
		delete(b.out, p.Offset)
	}
}

// give gives the ranges of a message back. Called with the mutex held.
func (b *blobs) give(a *apart) {
	for _, p := range a.spans {
		b.giveOne(p.Offset)
	}
}

// giveOne gives a range back that this side has. Called with the mutex held.
func (b *blobs) giveOne(offset uint32) {
	delete(b.out, offset)
	switch {
	case b.s.ended != nil:
		b.end()
	case !b.conn.GiveBack(offset):
		b.freed = append(b.freed, offset)
	}
}

// collect turns into frames what could not be given back in another way. Called with the mutex held.
func (b *blobs) collect() {
	for _, offset := range b.freed {
		b.s.appendFrame(frame.Header{Type: frame.ShmFree, Arg: offset}, nil)
	}
	b.freed = b.freed[:0]
}

// decodeApart decodes a message whose blobs are a. Where it cannot be decoded so - it is malformed, or the schemas differ -
// it is put together first. The mutex is not held.
func (s *Session) decodeApart(message []byte, alone bool, a *apart, m codec.Message) error {
	b := s.blobs
	if err := b.reserve(a); err != nil {
		b.settle(a, false)
		return fmt.Errorf("the memory of its blobs: %w", err)
	}
	rest := message[:len(message)-a.table]
	if s.decoding(alone).UnmarshalApart(rest, a.parts, s.cfg.Memory.InPlace, m) {
		b.settle(a, s.cfg.Memory.InPlace)
		return nil
	}
	whole := codec.Join(rest, a.parts)
	b.settle(a, false)
	return s.decoding(true).Unmarshal(whole, m)
}

// reserve sees to it that what a says of ranges can be read.
func (b *blobs) reserve(a *apart) error {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	for _, p := range a.spans {
		offset, n := int(p.Offset), int(p.Length)
		if b.peer.There(offset, n) {
			continue
		}
		peer := b.peer // which stays mapped, because the range is in use
		b.s.mu.Unlock()
		err := peer.Reserve(offset, n)
		b.s.mu.Lock()
		if err != nil {
			return err
		}
		peer.Reserved(offset, n)
	}
	return nil
}

// settle ends the decoding of a message: its ranges are the program's now, or given back.
func (b *blobs) settle(a *apart, inPlace bool) {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	if !inPlace {
		b.give(a)
		b.flush()
		return
	}
	for _, p := range a.spans {
		b.out[p.Offset] = use{inPlace: true}
	}
}

// flush sends what is to be given back by frames. Called and returns with the mutex held; it is released meanwhile.
func (b *blobs) flush() {
	if b.s.ended == nil && len(b.freed) > 0 {
		b.s.flush(noWait)
	}
}

// reclaim gives back what the program would have got in place, of a message that does not get there; nil has nothing.
// Called with the mutex held.
func (s *Session) reclaim(a *apart) {
	if a == nil {
		return
	}
	for _, p := range a.spans {
		if s.blobs.out[p.Offset].inPlace {
			s.blobs.giveOne(p.Offset)
		}
	}
}

// A queue are the blobs of messages that wait in a stream.
type queue struct {
	b    *blobs
	list []*apart
}

// enqueueApart returns the blobs of the frame that is being handled, whose message is about to wait in st; nil where it
// has none. Called with the mutex held.
func (st *stream) enqueueApart() *apart {
	a := st.s.apart
	if a == nil {
		return nil
	}
	st.s.apart = nil
	if st.blobs == nil {
		st.blobs = &queue{b: st.s.blobs}
		// A stream that the program lets go of without ending it, as it may when the session has ended, leaves nothing
		// mapped.
		runtime.AddCleanup(st.arrivals, func(q *queue) {
			q.b.s.mu.Lock()
			defer q.b.s.mu.Unlock()
			q.drop()
		}, st.blobs)
	}
	st.blobs.list = append(st.blobs.list, a)
	return a
}

// claim is queue.claim, on the goroutine that receives.
func (st *stream) claim(a *apart) bool {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	return st.blobs.claim(a)
}

// claim takes the blobs of a message over from the queue. They are not there where the call has ended meanwhile. Called
// with the mutex held.
func (q *queue) claim(a *apart) bool {
	i := slices.Index(q.list, a)
	if i < 0 {
		return false
	}
	q.list = slices.Delete(q.list, i, i+1)
	return true
}

// drop gives back all that is in the queue, which may be nil. Called with the mutex held.
func (q *queue) drop() {
	if q == nil {
		return
	}
	for _, a := range q.list {
		q.b.give(a)
	}
	q.list = nil
}

// owners are the sessions of this process in whose arenas programs have blobs: in place in their peers', drafts in their own.
type owners struct {
	mu   sync.RWMutex
	list []*blobs
}

var borrowers, drafters owners

func (o *owners) add(b *blobs) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = append(o.list, b)
}

func (o *owners) remove(b *blobs) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = slices.DeleteFunc(o.list, func(other *blobs) bool { return other == b })
}

// find returns the session in whose arena p begins, and where; nil where there is none.
func (o *owners) find(p []byte, in func(b *blobs, p []byte) (int, bool)) (*blobs, int) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	for _, b := range o.list {
		if offset, ok := in(b, p); ok {
			return b, offset
		}
	}
	return nil, 0
}

func inPeers(b *blobs, p []byte) (int, bool) { return b.peer.Offset(p) }
func inOwn(b *blobs, p []byte) (int, bool)   { return b.arena.Offset(p) }

// Release gives a blob in place back to the peer, and frees one of NewBlob's that was not sent. Of other bytes it does
// nothing.
func Release(p []byte) {
	if b, offset := borrowers.find(p, inPeers); b != nil {
		b.s.mu.Lock()
		defer b.s.mu.Unlock()
		if b.out[uint32(offset)].inPlace {
			b.giveOne(uint32(offset))
			b.flush()
		}
		return
	}
	if b, _ := drafters.find(p, inOwn); b != nil {
		b.dropDrafts([]codec.Part{{Bytes: p}})
	}
}
