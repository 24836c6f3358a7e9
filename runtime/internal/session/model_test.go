package session

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipcgen/ipcgen/runtime/internal/frame"
	"github.com/ipcgen/ipcgen/runtime/transport"
	"github.com/ipcgen/ipcgen/runtime/transport/mem"
)

// FuzzModel has a peer send frames as the input says, most of them right and some wrong, and keeps a model of what both
// sides know by the frames that went between them: slots, credit, messages, ends. After each frame the session must
// live if the frame was allowed and have ended with Protocol if not; each frame of its own must be allowed, each message
// and answer the right one. At last the peer does what it takes to end every call, and every call must end.
func FuzzModel(f *testing.F) {
	for seed := range 8 {
		b := make([]byte, 400)
		x := uint32(seed)
		for i := range b {
			x = x*1664525 + 1013904223
			b[i] = byte(x >> 24)
		}
		f.Add(b)
	}
	// Three streams that begin a large message each, with room for one.
	f.Add(append(bytes.Repeat([]byte{0, 0, 0, 0, 5, 0, 0, 0}, 3), 1, 0, 0, 0, 200, 3, 1, 1, 0, 0, 200, 3, 1, 2, 0, 0, 200, 3))
	f.Fuzz(func(t *testing.T, script []byte) {
		synctest.Test(t, func(t *testing.T) { runModel(t, script[:min(len(script), 600)]) })
	})
}

const (
	modelSlots   = 3
	modelFrame   = minFrame
	modelWindow  = 4 * minFrame
	modelMessage = 40_000
)

func runModel(t *testing.T, script []byte) {
	a, b := mem.Pair()
	m := &model{t: t, conn: b, script: script, sv: newServer()}
	var reading sync.WaitGroup
	reading.Go(m.read)
	defer reading.Wait()
	defer b.Close()
	shaken := make(chan struct{})
	go func() {
		b.Write(hello(frame.HelloPayload{MinVersion: 1, MaxVersion: 1, MaxFrame: modelFrame, MaxMessage: modelMessage, MaxSlots: modelSlots, Window: modelWindow}))
		close(shaken)
	}()
	var err error
	m.s, err = Start(t.Context(), a, Config{Side: 1, Methods: m.sv.methods, Limits: Limits{MaxFrame: modelFrame, MaxMessage: modelMessage,
		Slots: modelSlots, Window: modelWindow, Raised: modelWindow, Assembly: modelMessage + 1000}})
	if err != nil {
		t.Fatal(err)
	}
	<-shaken
	defer m.s.Wait()
	defer b.Close() // before that
	m.play()
}

// A model is what a peer knows of a session.
type model struct {
	t      *testing.T
	conn   transport.Conn
	script []byte
	s      *Session
	sv     *server

	mu  sync.Mutex
	got []byte // what the session has written and the model has not looked at

	calls [modelSlots]modelCall // of the peer
	backs [modelSlots]modelBack // of the session: the call-backs of its handlers
	pings int                   // without an answer
}

// A modelCall is a slot of the peer, with its last call.
type modelCall struct {
	id        frame.StreamID
	method    uint64
	open      bool // STATUS has not come
	ended     bool // END was sent
	cancelled bool
	credit    int // to send with
	window    int // what the session has left to send with
	left      int // of the message that is being sent
	large     bool
	sending   []byte
	sent      [][]byte // whole messages
	assembly
}

// An assembly is what has come in DATA frames.
type assembly struct {
	part     []byte
	partLeft int
	received [][]byte
}

// A modelBack is a slot of the session, with its last call.
type modelBack struct {
	id        frame.StreamID
	open      bool
	cancelled bool
	assembly
}

func (m *model) read() {
	buf := make([]byte, 64<<10)
	for {
		n, err := m.conn.Read(buf)
		m.mu.Lock()
		m.got = append(m.got, buf[:n]...)
		m.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// next returns the next byte of the script, 0 behind its end.
func (m *model) next() int {
	if len(m.script) == 0 {
		return 0
	}
	b := m.script[0]
	m.script = m.script[1:]
	return int(b)
}

// rarely is what the script says when a frame is to be wrong: else no script would come far.
func (m *model) rarely() bool { return m.next() >= 250 }

// pick returns one of all, as the script says.
func pick[T any](m *model, all ...T) T { return all[m.next()%len(all)] }

// play runs the script, and then ends what is open.
func (m *model) play() {
	m.settle()
	if hello := m.frames(len(frame.Preface)); len(hello) != 1 || hello[0].Type != frame.Hello {
		m.t.Fatalf("the session began with %v", hello)
	}
	moves := []func() bool{m.call, m.data, m.data, m.data, m.burst, m.burst, m.credit, m.credit, m.cancel, m.ping, m.answer, m.release, m.pass}
	for len(m.script) > 0 {
		allowed := moves[m.next()%len(moves)]()
		m.settle()
		m.look()
		e := m.s.Err()
		if !allowed {
			if e == nil || e.Reason != Protocol {
				m.t.Fatalf("after a frame that is not allowed: %v, want the reason %v", e, Protocol)
			}
			return
		}
		if e != nil {
			m.t.Fatalf("ended without a reason: %v", e)
		}
	}
	m.finish()
}

// settle lets the session do all that it can: also what it does only when a tick has found that nothing moves.
func (m *model) settle() {
	time.Sleep(5 * tickEvery)
	synctest.Wait()
}

func (m *model) send(h frame.Header, payload []byte) {
	h.Length = uint32(len(payload))
	m.conn.Write(append(h.Append(nil), payload...)) // fails where the session has ended, which is looked at elsewhere
}

// message returns one of n bytes that mCount takes for a number, or that differs from others in its first byte.
func (m *model) message(method uint64, n int) []byte {
	if method == mCount {
		return []byte(fmt.Sprint(n%40, " ", pick(m, 0, 10, 3000, 9000)))
	}
	return bytes.Repeat([]byte{'a' + byte(m.next()%26)}, n)
}

// call sends a CALL, in a slot that is mostly free and with a generation that is mostly right.
func (m *model) call() (allowed bool) {
	slot := m.next() % modelSlots
	if i := slices.IndexFunc(m.calls[:], func(c modelCall) bool { return !c.open }); i >= 0 && !m.rarely() {
		slot = i
	}
	c := &m.calls[slot]
	id := frame.NewStreamID(slot, 0, frame.NextGeneration(c.id.Generation()))
	allowed = !c.open
	switch m.next() {
	case 255:
		id, allowed = frame.NewStreamID(slot, 0, id.Generation()+1), false
	case 254:
		id, allowed = frame.NewStreamID(slot, 1, id.Generation()), false
	case 253:
		id, allowed = frame.NewStreamID(modelSlots, 0, 1), false
	}
	method := pick(m, mEcho, mBlock, mPanic, mExit, mCount, mSum, mEchoes, mEchoes, mCallBack, 999)
	head := frame.CallPayload{Method: method, Timeout: pick(m, 0, 0, 0, uint64(time.Second))}
	h := frame.Header{Type: frame.Call, Stream: id}
	next := modelCall{id: id, method: method, open: true, credit: modelWindow, window: modelWindow}
	var text []byte
	if m.next()%3 > 0 {
		h.Flags |= frame.Msg
		text = m.message(method, pick(m, 0, 1, 100, 3000))
		next.sent = append(next.sent, text)
	}
	if m.next()%3 > 0 {
		h.Flags |= frame.End
		next.ended = true
	}
	m.send(h, append(head.Append(nil), text...))
	if allowed {
		*c = next
	}
	return allowed
}

// data sends a message, a piece of one, or an END.
func (m *model) data() (allowed bool) {
	c := &m.calls[m.next()%modelSlots]
	if c.id == 0 || c.cancelled {
		return true
	}
	h := frame.Header{Type: frame.Data, Stream: c.id}
	var payload []byte
	if c.left > 0 && !m.rarely() {
		payload, h.Flags = m.piece(c)
	} else {
		payload, h.Flags = m.begin(c)
	}
	if len(payload)+frame.HeaderSize > c.credit && m.next()%8 > 0 {
		return true // not sent: mostly, a peer keeps to its credit
	}
	allowed = c.judge(h.Flags, payload)
	m.send(h, payload)
	return allowed
}

// burst sends messages faster than they are taken.
func (m *model) burst() (allowed bool) {
	c := &m.calls[m.next()%modelSlots]
	if !c.open || c.ended || c.cancelled || c.left > 0 {
		return true
	}
	for range m.next() % 8 {
		text := m.message(c.method, 3000)
		if frame.HeaderSize+len(text) > c.credit {
			break
		}
		c.judge(frame.Msg, text)
		m.send(frame.Header{Type: frame.Data, Flags: frame.Msg, Stream: c.id}, text)
	}
	return true
}

// piece is a further piece of the message that is being sent: as large as may be, as is asked of a sender.
func (m *model) piece(c *modelCall) ([]byte, frame.Flags) {
	n := min(c.left, modelFrame)
	b := bytes.Repeat([]byte{'p'}, n)
	if n < c.left {
		return b, frame.Msg | frame.More
	}
	return b, frame.Msg | pick(m, 0, 0, 0, frame.End)
}

// begin is a whole message, or the first piece of one, or what is in place of that; not always right.
func (m *model) begin(c *modelCall) ([]byte, frame.Flags) {
	text := m.message(c.method, pick(m, 0, 1, 100, 3000, modelFrame))
	switch k := m.next(); {
	case k < 150:
		return text, frame.Msg
	case k < 170:
		return text, frame.Msg | frame.End
	case k < 235:
		total := pick(m, 5000, 9000, 20_000, modelMessage)
		return append(binary.LittleEndian.AppendUint32(nil, uint32(total)), bytes.Repeat([]byte{'p'}, 3000)...), frame.Msg | frame.More
	case k == 252:
		return binary.LittleEndian.AppendUint32(nil, pick(m, uint32(modelMessage+1), 1<<31, 0)), frame.Msg | frame.More
	case k == 253:
		return text[:min(len(text), 3)], frame.Msg | frame.More
	case k == 254:
		return text, 0
	default:
		return nil, frame.End
	}
}

// judge says whether a DATA frame is allowed, and takes note of it.
func (c *modelCall) judge(flags frame.Flags, payload []byte) (allowed bool) {
	if !c.open {
		return true // sent before STATUS was seen
	}
	cost := frame.HeaderSize + len(payload)
	if c.ended || cost > c.credit {
		return false
	}
	c.credit -= cost
	more := flags&frame.More != 0
	switch {
	case flags&frame.Msg == 0:
		if len(payload) > 0 || c.left > 0 {
			return false
		}
	case c.left == 0 && !more:
		c.sent = append(c.sent, payload)
	case c.left == 0:
		if len(payload) < 4 {
			return false
		}
		total := binary.LittleEndian.Uint32(payload)
		payload = payload[4:]
		if total > modelMessage || int(total) <= len(payload) {
			return false
		}
		c.sending, c.left, c.large = slices.Clone(payload), int(total)-len(payload), true
	default:
		if len(payload) > c.left || (len(payload) == c.left) == more {
			return false
		}
		c.sending, c.left = append(c.sending, payload...), c.left-len(payload)
		if !more {
			c.sent = append(c.sent, c.sending)
		}
	}
	c.ended = flags&frame.End != 0
	return true
}

func (m *model) credit() (allowed bool) {
	c := &m.calls[m.next()%modelSlots]
	if c.id == 0 || c.cancelled {
		return true
	}
	id, n := c.id, pick(m, 1, 100, 5000, modelWindow, 100_000)
	allowed = true
	switch m.next() {
	case 255:
		n, allowed = 0, !c.open
	case 254:
		n, allowed = -1<<31, !c.open // as a uint32 the least that is too much
	case 253:
		id, allowed = frame.NewStreamID(id.Slot(), 0, frame.NextGeneration(id.Generation())), false
	}
	m.send(frame.Header{Type: frame.Credit, Stream: id, Arg: uint32(n)}, nil)
	c.window += n
	return allowed
}

func (m *model) cancel() (allowed bool) {
	c := &m.calls[m.next()%modelSlots]
	if c.id == 0 || c.cancelled {
		return true
	}
	m.send(frame.Header{Type: frame.Cancel, Stream: c.id, Arg: pick(m, CodeCanceled, CodeDeadlineExceeded, 77)}, nil)
	c.cancelled = true
	return true
}

func (m *model) ping() (allowed bool) {
	if m.rarely() {
		m.send(frame.Header{Type: frame.Ping, Flags: frame.Ack}, nil)
		return false
	}
	m.pings++
	m.send(frame.Header{Type: frame.Ping}, nil)
	return true
}

// answer ends a call of the session, well where its request has come.
func (m *model) answer() (allowed bool) {
	slot := m.next() % modelSlots
	back := &m.backs[slot]
	if back.open {
		m.answerBack(back, m.next()%8 > 0)
		return true
	}
	if !m.rarely() {
		return true
	}
	if back.id == 0 {
		back.id = frame.NewStreamID(slot, 1, 1)
	}
	m.answerBack(back, false)
	return false
}

// answerBack answers with the length of the request, in the STATUS or before it.
func (m *model) answerBack(back *modelBack, well bool) {
	h := frame.Header{Type: frame.Status, Flags: frame.End, Stream: back.id}
	var status frame.StatusPayload
	var message []byte
	switch {
	case back.cancelled && len(back.received) == 0: // the rest of the request will not come
		h.Flags |= frame.NotExecuted
		h.Arg = CodeCanceled
	case !well:
		h.Arg, status.Text = 9, "no"
	case len(back.received) == 0:
		m.send(frame.Header{Type: frame.Credit, Stream: back.id, Arg: 100_000}, nil)
		return
	default:
		message = fmt.Append(nil, len(back.received[0]))
		if m.next()%2 == 0 {
			h.Flags |= frame.Msg
			break
		}
		m.send(frame.Header{Type: frame.Data, Flags: frame.Msg, Stream: back.id}, message)
		message = nil
	}
	back.open = false
	m.send(h, append(status.Append(nil), message...))
}

// release lets a handler of mBlock go on, if one waits.
func (m *model) release() (allowed bool) {
	select {
	case m.sv.release <- struct{}{}:
	default:
	}
	return true
}

// pass lets time go by.
func (m *model) pass() (allowed bool) {
	time.Sleep(time.Duration(m.next()) * 10 * time.Millisecond)
	return true
}

// frames takes what the session has written, behind some bytes that are none.
func (m *model) frames(skip int) (all []received) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for b := m.got[skip:]; len(b) > 0; {
		h, err := frame.Parse(b, modelFrame)
		if err != nil {
			m.t.Fatalf("the session sent %x: %v", b[:min(len(b), 100)], err)
		}
		b = b[frame.HeaderSize:]
		all = append(all, received{h, slices.Clone(b[:h.Length])})
		b = b[h.Length:]
	}
	m.got = m.got[:0]
	return all
}

// received is a frame of the session.
type received struct {
	frame.Header
	payload []byte
}

// look checks every frame that the session has sent.
func (m *model) look() {
	for _, r := range m.frames(0) {
		var err error
		switch {
		case r.Type == frame.Ping && r.Flags == frame.Ack && m.pings > 0:
			m.pings = 0 // several may get one answer
		case r.Type == frame.GoAway && Reason(r.Arg) == Protocol:
		case r.Stream != 0 && r.Stream.Slot() >= modelSlots:
			err = fmt.Errorf("slot %d", r.Stream.Slot())
		case r.Stream.Side() == 1:
			err = m.backs[r.Stream.Slot()].take(r)
		case r.Stream != 0:
			err = m.calls[r.Stream.Slot()].take(r)
		default:
			err = fmt.Errorf("not expected")
		}
		if err != nil {
			m.t.Fatalf("the session sent a %v of %d bytes on stream %#x: %v", r.Type, len(r.payload), uint32(r.Stream), err)
		}
	}
}

// take checks a frame of a call of the session.
func (b *modelBack) take(r received) error {
	switch {
	case r.Type == frame.Call && !b.open && r.Stream.Generation() == frame.NextGeneration(b.id.Generation()):
		_, message, err := frame.ParseCall(r.payload, trusted.Metadata)
		*b = modelBack{id: r.Stream, open: true}
		if r.Flags&frame.Msg != 0 {
			b.received = append(b.received, message)
		}
		return err
	case r.Type == frame.Data && b.open && r.Stream == b.id:
		return b.add(r)
	case r.Type == frame.Cancel && r.Stream == b.id:
		b.cancelled = true
		return nil
	}
	return fmt.Errorf("which does not fit %+v", *b)
}

// take checks a frame of a call of the peer.
func (c *modelCall) take(r received) error {
	if !c.open || r.Stream != c.id {
		return fmt.Errorf("the call in the slot is %#x, open: %v", uint32(c.id), c.open)
	}
	switch r.Type {
	case frame.Credit:
		return c.takeCredit(r)
	case frame.Data:
		return c.takeData(r)
	case frame.Status:
		c.open = false
		return c.takeStatus(r)
	}
	return fmt.Errorf("not expected")
}

// takeCredit checks that credit is for what the handler has taken. Large messages get theirs before.
func (c *modelCall) takeCredit(r received) error {
	c.credit += int(r.Arg)
	if c.large {
		return nil
	}
	most := modelWindow
	switch c.method {
	case mSum, mCount:
		return nil // what they have taken cannot be seen
	case mEchoes:
		most = 2*modelWindow + frame.HeaderSize + modelFrame // a raised window, and the message that the handler is at
	}
	waiting := 0
	for _, b := range c.sent[min(len(c.sent), len(c.received)):] {
		waiting += frame.HeaderSize + len(b)
	}
	if c.credit+waiting > most {
		return fmt.Errorf("a credit of %d with %d bytes waiting, want at most %d together", c.credit, waiting, most)
	}
	return nil
}

func (c *modelCall) takeData(r received) error {
	if c.window -= frame.HeaderSize + len(r.payload); c.window < 0 || r.Flags&frame.End != 0 {
		return fmt.Errorf("flags %#x, and %d bytes more than credit", r.Flags, -c.window)
	}
	return c.add(r)
}

// add puts a piece to what has come.
func (a *assembly) add(r received) error {
	b := r.payload
	if a.partLeft == 0 {
		a.part, a.partLeft = nil, len(b)
		if r.Flags&frame.More != 0 {
			a.partLeft = int(binary.LittleEndian.Uint32(b))
			b = b[4:]
		}
	}
	a.part, a.partLeft = append(a.part, b...), a.partLeft-len(b)
	if (a.partLeft > 0) != (r.Flags&frame.More != 0) {
		return fmt.Errorf("flags %#x with %d bytes to come", r.Flags, a.partLeft)
	}
	if a.partLeft == 0 {
		a.received = append(a.received, a.part)
	}
	return nil
}

// takeStatus checks the answer to a call that went well against what was sent.
func (c *modelCall) takeStatus(r received) error {
	p, message, err := frame.ParseStatus(r.payload, trusted.Metadata)
	if err != nil || r.Arg != CodeOK {
		return err
	}
	if c.partLeft > 0 {
		return fmt.Errorf("success with %d bytes of a message to come", c.partLeft)
	}
	if r.Flags&frame.Msg != 0 {
		c.received = append(c.received, message)
	}
	if want := c.wanted(); !slices.EqualFunc(c.received, want, bytes.Equal) {
		return fmt.Errorf("success (%q) with %d messages %.60q, want %d %.60q", p.Text, len(c.received), c.received, len(want), want)
	}
	return nil
}

// wanted are the messages that a call answers with that goes well.
func (c *modelCall) wanted() [][]byte {
	switch c.method {
	case mEcho, mBlock:
		return c.sent[:1]
	case mCallBack:
		return [][]byte{fmt.Append(nil, "back: ", len(c.sent[0]))}
	case mSum:
		return [][]byte{fmt.Append(nil, len(bytes.Join(c.sent, nil)))}
	case mEchoes:
		return c.sent
	case mCount:
		var n, size int
		fmt.Sscan(string(c.sent[0]), &n, &size)
		want := make([][]byte, n)
		for i := range want {
			want[i] = make([]byte, size)
			copy(want[i], fmt.Sprint(i))
		}
		return want
	}
	return [][]byte{[]byte("no such call goes well")}
}

// finish ends every call: with the rest of its message, an END, credit for what is to come, an answer to what the session
// asks, and time. Calls whose handlers do not take what comes are cancelled in the end: they may wait for credit that
// they do not get, and keep others waiting for room.
func (m *model) finish() {
	open := func() bool {
		return slices.ContainsFunc(m.calls[:], func(c modelCall) bool { return c.open }) ||
			slices.ContainsFunc(m.backs[:], func(b modelBack) bool { return b.open })
	}
	for round := 0; round < 100 && open(); round++ {
		for i := range m.calls {
			if c := &m.calls[i]; c.open && !c.cancelled {
				m.end(c, round > 50)
			}
		}
		for i := range m.backs {
			if m.backs[i].open {
				m.answerBack(&m.backs[i], true)
			}
		}
		m.release()
		m.settle()
		m.look()
	}
	for _, c := range m.calls {
		if c.open {
			m.t.Errorf("call %#x of method %d does not end: %d bytes to send with a credit of %d, ended %v, cancelled %v",
				uint32(c.id), c.method, c.left, c.credit, c.ended, c.cancelled)
		}
	}
	if e := m.s.Err(); e != nil || m.pings > 0 {
		m.t.Errorf("at last the session has ended with %v, and %d PINGs have no answer", e, m.pings)
	}
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	if s := m.s; s.running != 0 || s.pending != 0 || s.reserved != 0 || s.raised != 0 || len(s.starved) != 0 {
		m.t.Errorf("at last %d handlers run, %d calls wait, %d bytes are reserved, %d raised, %d streams in line",
			s.running, s.pending, s.reserved, s.raised, len(s.starved))
	}
}

// end does what the peer has to do for a call to end.
func (m *model) end(c *modelCall, impatient bool) {
	if impatient && c.method != mSum && c.method != mEchoes {
		m.send(frame.Header{Type: frame.Cancel, Stream: c.id, Arg: CodeCanceled}, nil)
		c.cancelled = true
		return
	}
	var payload []byte
	flags := frame.End
	if c.left > 0 {
		payload, flags = m.piece(c)
	}
	if !c.ended && c.credit >= frame.HeaderSize+len(payload) {
		c.judge(flags, payload)
		m.send(frame.Header{Type: frame.Data, Flags: flags, Stream: c.id}, payload)
	}
	m.send(frame.Header{Type: frame.Credit, Stream: c.id, Arg: 100_000}, nil)
	c.window += 100_000
}
