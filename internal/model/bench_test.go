package model_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/model"
	"rawtcp/segment"
)

const (
	fin  = segment.FIN
	syn  = segment.SYN
	rst  = segment.RST
	psh  = segment.PSH
	ackf = segment.ACK
)

var (
	us   = netip.MustParseAddrPort("198.18.0.1:1000")
	them = netip.MustParseAddrPort("198.18.0.2:80")
)

// Lengths of the bench, octets.
const (
	recvWindow = 1000
	peerWindow = 300 // field of the peer's segments, to be shifted
	peerScale  = 2
	segWindow  = 250 // field of the segments under test
)

// Times of the engine.
const (
	timeWait       = time.Minute            // 2 MSL
	challengeEvery = 500 * time.Millisecond // at least between challenge ACKs
)

// A bench is one engine with one connection or listener on it, and beside it
// the model's TCB of the same, which follows the segments on the wire and the
// application's calls and never looks inside the engine.
type bench struct {
	isn, peerISN segment.Seq
	cfg          engine.ConnConfig

	stack *engine.Stack
	l     *engine.Listener
	c     *engine.Conn
	now   engine.Time

	tcb        model.TCB
	toSend     int         // octets written and not seen on the wire, and one for the FIN
	unread     int         // octets received and not read
	due        engine.Time // the next timer before the last arrival
	challenged engine.Time // when the last challenge ACK left
	late       bool        // a walk: retransmissions may come, and the octets are kept
	inbox      []byte      // in a walk: what can be read
	tsVal      uint32
	peerTS     uint32

	out          []segment.Segment // what the last arrival drew
	also, before []model.TCB       // what the engine may be as well; and before the last arrival
	delivered    []model.Text      // by the last arrival
	owed         bool              // an ACK has to follow
	telling      bool              // say in words what differs
	why          string            // the differences of the last arrival
	info         engine.Info       // of the connection after the last arrival
	seg          segment.Segment
	packet       []byte   // the last one on the wire
	inlet        []byte   // where RECEIVE puts octets, room for all there ever are
	steps        []func() // what was done to the engine, to do it again
	err          error    // the first difference
}

// begin makes an engine with nothing on it.
func (b *bench) begin() {
	b.now = engine.Time(time.Hour)
	b.stack = engine.NewStack(engine.StackConfig{Secret: [32]byte{1}})
	b.l, b.c = nil, nil
	b.peerTS = 5000
}

// again is kept with an engine made anew by the same calls.
func (b *bench) again(kept *bench) {
	b.begin()
	b.cfg = kept.cfg
	for _, call := range kept.steps {
		call()
		for b.stack.Transmit(b.now, &b.seg) {
		}
	}
	stack, l, c, now := b.stack, b.l, b.c, b.now
	b.back(kept)
	b.stack, b.l, b.c, b.now = stack, l, c, now
}

// A keptBench is one in the state that a scene leads to.
type keptBench struct {
	*bench
	engine *snapshot
}

// keep keeps b and its engine.
func (b *bench) keep() *keptBench {
	kept := *b
	kept.also = slices.Clone(b.also)
	return &keptBench{&kept, snap(b.stack, b.c, b.l)}
}

// restore is kept, with the engine that b was kept with.
func (b *bench) restore(kept *keptBench) {
	kept.engine.restore()
	b.back(kept.bench)
}

// back is kept, with buffers of its own.
func (b *bench) back(kept *bench) {
	out, also, before, delivered, packet := b.out[:0], b.also[:0], b.before[:0], b.delivered[:0], b.packet
	*b = *kept
	b.out, b.also, b.before, b.delivered, b.packet = out, append(also, kept.also...), before, delivered, packet
}

// do is one call into the engine and what it then sends.
func (b *bench) do(call func()) {
	b.steps = append(b.steps, call)
	call()
	b.drain()
}

// fail keeps the first difference.
func (b *bench) fail(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf(format, args...)
	}
}

// listen is a passive OPEN.
func (b *bench) listen() {
	b.do(func() {
		l, err := b.stack.Listen(b.now, us, func(netip.Addr) int { return 1500 }, engine.ListenConfig{Conn: b.cfg})
		if err != nil {
			b.fail("listen: %w", err)
		}
		b.l = l
	})
	b.tcb = b.offer(model.TCB{State: model.Listen, Listener: true, ISS: b.isn, SndUna: b.isn, SndNxt: b.isn})
}

// dial is an active OPEN.
func (b *bench) dial() {
	b.tcb = b.offer(model.TCB{State: model.SynSent, ISS: b.isn, SndUna: b.isn, SndNxt: b.isn})
	b.do(func() {
		c, err := b.stack.Dial(b.now, us, them, 1500, b.cfg)
		if err != nil {
			b.fail("dial: %w", err)
		}
		b.c = c
	})
	if len(b.out) != 1 || b.out[0].Flags != syn || b.out[0].Seq != b.isn || int(b.out[0].Window) != b.tcb.RcvWnd {
		b.fail("dial: %v was sent", b.out)
	}
}

// offer is t with what our SYN or SYN,ACK says.
func (b *bench) offer(t model.TCB) model.TCB {
	t.RcvWnd, t.Credit = recvWindow, true
	t.TSOffer, t.WSOffer = b.cfg.Timestamps != engine.Off, b.cfg.WindowScale >= 0
	t.SACKOffer = b.cfg.SACK != engine.Off
	return t
}

// write is SEND.
func (b *bench) write(n int) {
	b.toSend += n
	b.do(func() {
		if got, err := b.c.Write(b.now, zeros[:n]); got != n || err != nil {
			b.fail("write %d: %d, %v", n, got, err)
		}
	})
}

// closeWrite is CLOSE; the application goes on reading.
func (b *bench) closeWrite() { b.close(func() { b.c.CloseWrite(b.now) }) }

// closeAll is CLOSE by an application that does not read any more (MAY-1).
func (b *bench) closeAll() {
	b.tcb.NoReader = true
	b.close(func() { b.c.Close(b.now) })
}

// close is section 3.10.4. "Queue this request until all preceding SENDs have been
// segmentized; then send a FIN segment, enter LAST-ACK state": the engine calls
// it LAST-ACK at once, as the section itself does with FIN-WAIT-1, and no segment
// tells the difference.
func (b *bench) close(call func()) {
	b.toSend++
	b.do(call)
	b.each(func(t *model.TCB) {
		switch {
		case t.State == model.SynReceived && !t.FinSent:
			t.ToClose = true
		case t.State == model.Established, t.State == model.SynReceived:
			t.State = model.FinWait1
		case t.State == model.CloseWait:
			t.State = model.LastAck
		}
	})
}

// read is RECEIVE.
func (b *bench) read(n int) {
	b.unread -= n
	b.do(func() {
		if got, err := b.c.Read(b.now, b.inlet[:n]); got != n || err != nil {
			b.fail("read %d: %d, %v", n, got, err)
		}
	})
	if b.late && b.err == nil {
		if !bytes.Equal(b.inlet[:n], b.inbox[:n]) {
			b.fail("read other octets than were sent")
		}
		b.inbox = b.inbox[n:]
	}
}

// advance lets time pass and takes what falls due.
func (b *bench) advance(d time.Duration) {
	if b.now.Add(d).Sub(b.challenged) >= challengeEvery {
		b.each(func(t *model.TCB) { t.Credit = true })
	}
	b.do(func() {
		b.now = b.now.Add(d)
		b.stack.Advance(b.now)
	})
}

// drain takes all that is to be sent.
func (b *bench) drain() {
	b.out = b.out[:0]
	for b.stack.Transmit(b.now, &b.seg) && len(b.out) < 20 {
		b.encode(&b.seg)
		var s segment.Segment
		if err := s.Parse(b.packet); err != nil || s.Checksum != segment.ChecksumOK {
			b.fail("%v was sent in octets that say %v", &b.seg, err)
		}
		s.Options.Raw, s.Payload = nil, zeros[:len(s.Payload)]
		b.out = append(b.out, s)
		b.sent(&b.out[len(b.out)-1])
	}
	b.each(func(t *model.TCB) { t.Unsent = b.toSend > 0 })
}

// each calls f for all that the engine may be.
func (b *bench) each(f func(*model.TCB)) {
	f(&b.tcb)
	for i := range b.also {
		f(&b.also[i])
	}
}

var zeros [1 << 16]byte // never written

// sent follows the sequence variables by what is seen on the wire.
func (b *bench) sent(s *segment.Segment) {
	if s.Options.Has(segment.HasTimestamps) {
		b.tsVal = s.Options.TSVal
	}
	if s.Flags.Has(rst) {
		return
	}
	if t := &b.tcb; t.SndNxt.Less(s.End()) {
		b.toSend -= s.End().Sub(t.SndNxt)
		if s.Flags.Has(syn) {
			b.toSend++
		}
	}
	b.show(&b.tcb, s)
	for i := range b.also {
		b.show(&b.also[i], s)
	}
}

// show takes over what a segment of ours shows of t.
func (b *bench) show(t *model.TCB, s *segment.Segment) {
	t.SndNxt = segment.MaxSeq(t.SndNxt, s.End())
	t.FinSent = t.FinSent || s.Flags.Has(fin)
	if !s.Flags.Has(ackf) {
		return
	}
	scale := 0
	if !s.Flags.Has(syn) {
		scale = b.scale()
	}
	edge := s.Ack.Add(int(s.Window) << scale)
	if t.State > model.SynSent {
		edge = segment.MaxSeq(edge, t.RcvEdge)
	}
	t.LastAck, t.RcvEdge = s.Ack, edge
}

// in judges a segment of a peer that keeps the rules, with the numbers due.
func (b *bench) in(flags segment.Flags, n int) { b.ack(b.tcb.SndNxt, flags, n) }

// ack is in with a chosen ACK.
func (b *bench) ack(to segment.Seq, flags segment.Flags, n int) { b.arrive(b.segment(flags, n, to)) }

// beyond is in with a hole before it.
func (b *bench) beyond(hole, n int, flags segment.Flags) {
	s := b.segment(flags, n, b.tcb.SndUna)
	s.Seq = s.Seq.Add(hole)
	s.Payload = text(s.Seq, n, 0)
	b.arrive(s)
}

func (b *bench) arrive(s *segment.Segment) {
	b.steps = append(b.steps, func() { b.deliver(s) })
	b.judge(s)
}

func (b *bench) segment(flags segment.Flags, n int, to segment.Seq) *segment.Segment {
	s := &segment.Segment{Src: them, Dst: us, Seq: b.tcb.RcvNxt, Flags: flags, Window: peerWindow}
	if flags.Has(ackf) {
		s.Ack = to
	}
	if flags.Has(syn) {
		s.Seq = b.peerISN
	}
	s.Payload = text(s.Seq, n, 0)
	b.options(s, b.peerTS)
	return s
}

// options are those of a SYN or of another segment.
func (b *bench) options(s *segment.Segment, ts uint32) {
	o := &s.Options
	if s.Flags.Has(syn) {
		o.Set |= segment.HasMSS | segment.HasSACKPermitted | segment.HasWindowScale
		o.MSS, o.WindowScale = 1400, peerScale
	}
	if ts != 0 && b.cfg.Timestamps != engine.Off {
		o.Set |= segment.HasTimestamps
		o.TSVal, o.TSEcr = ts, b.tsVal
	}
}

// text is n octets from seq on; each is a function of its sequence number and of
// the version, 0 or 1, so that overlapping text of another version shows.
func text(seq segment.Seq, n, version int) []byte {
	at := int(seq.Uint32() & 0x7f)
	return patterns[version][at : at+n]
}

var patterns = func() (p [2][1 << 14]byte) {
	for i := range p[0] {
		p[0][i], p[1][i] = byte(i%128), byte(i%128)+128
	}
	return p
}()

// unreadText is what the application could read, if all of it is of version 0.
func (b *bench) unreadText() []byte {
	from := b.tcb.RcvNxt.Add(-b.unread)
	if b.tcb.FinTaken {
		from = from.Add(-1)
	}
	return slices.Clone(text(from, b.unread, 0))
}

// encode makes b.packet of s.
func (b *bench) encode(s *segment.Segment) {
	var err error
	if b.packet, err = s.Append(b.packet[:0]); err != nil {
		b.fail("%v has no octets: %w", s, err)
	}
}

// deliver hands the octets of s to the engine.
func (b *bench) deliver(s *segment.Segment) {
	b.encode(s)
	b.stack.Deliver(b.now, b.packet, 0)
	if b.c == nil && b.l != nil {
		b.c = b.l.Accept()
	}
}

// judge delivers s and looks for the outcomes that match what is seen. What they
// differ in has not shown yet: each is kept as what the engine may now be.
func (b *bench) judge(s *segment.Segment) {
	b.before = append(append(b.before[:0], b.tcb), b.also...)
	b.also = b.also[:0]
	unread, matched := b.unread, false
	if b.c != nil {
		b.due = b.c.Deadline()
	}
	b.deliver(s)
	b.drain()
	if b.c != nil {
		b.info = b.c.Info(b.now)
	}
	wire := b.tcb
	for i := range b.before {
		for o := range model.Outcomes(&b.before[i], s) {
			if b.compare(&b.before[i], s, o, unread) != "" {
				continue
			}
			b.match(b.follow(&b.before[i], o, &wire), o, unread, matched)
			matched = true
		}
	}
	if !b.depart(s, unread, &wire, matched) {
		b.disagree(s, unread)
	}
}

// match takes an outcome that fits: the first as what the engine is, others as
// what it may be as well.
func (b *bench) match(after model.TCB, o *model.Outcome, unread int, also bool) {
	if also {
		if !same(&after, &b.tcb) && !slices.ContainsFunc(b.also, func(t model.TCB) bool { return same(&after, &t) }) {
			b.also = append(b.also, after)
		}
		return
	}
	if b.c != nil && after.State == model.SynReceived && b.c.State() == engine.Closed {
		b.c = nil // TIME-WAIT made room for a new connection
	}
	b.owed = len(b.out) == 0 && o.Replies&model.Silence == 0
	b.tcb, b.unread = after, unread+b.took(o)
	if b.late {
		b.inbox = append(b.inbox, octets(b.delivered)...)
	}
}

// same is a DeepEqual that looks first at what differs most.
func same(x, y *model.TCB) bool {
	return x.Credit == y.Credit && x.TSRecent == y.TSRecent && x.State == y.State && reflect.DeepEqual(x, y)
}

// took keeps what o delivered and returns how many octets that is.
func (b *bench) took(o *model.Outcome) (n int) {
	b.delivered = append(b.delivered[:0], o.Delivered...)
	for _, d := range o.Delivered {
		n += len(d.Data)
	}
	return n
}

// octets joins texts.
func octets(texts []model.Text) (all []byte) {
	for _, t := range texts {
		all = append(all, t.Data...)
	}
	return all
}

// disagree puts into words how each outcome differs.
func (b *bench) disagree(s *segment.Segment, unread int) {
	b.telling, b.why = true, ""
	for i := range b.before {
		for o := range model.Outcomes(&b.before[i], s) {
			b.why += "\n    " + b.compare(&b.before[i], s, o, unread)
		}
	}
	b.telling = false
	text := fmt.Sprintf("%v\n  in %+v\n  drew %v\n  differs:%s\n", s, b.before[0], b.out, b.why)
	for i, reasons := range model.Explain(&b.before[0], s) {
		text += fmt.Sprintf("  outcome %d by %s\n", i+1, strings.Join(reasons, "\n     and by "))
	}
	b.fail("%s", text)
}

// follow is the TCB of o, and what the wire shows of it.
func (b *bench) follow(before *model.TCB, o *model.Outcome, wire *model.TCB) model.TCB {
	t := o.After
	if t.State <= model.Listen || t.State == model.SynReceived && before.State == model.TimeWait {
		return t // of the connection that was nothing is left
	}
	t.Unsent = b.toSend > 0
	if len(b.out) > 0 {
		t.SndNxt = segment.MaxSeq(t.SndNxt, wire.SndNxt)
		t.FinSent = wire.FinSent
		t.RcvEdge = segment.MaxSeq(t.RcvEdge, wire.RcvEdge)
		t.LastAck = wire.LastAck
	}
	if o.Challenge && before.Credit && len(b.out) > 0 {
		t.Credit, b.challenged = false, b.now
	}
	return t
}

// differs says what differs, or only that something does, which is much cheaper:
// most outcomes that do not match stand beside one that does.
func (b *bench) differs(format string, args ...any) string {
	if !b.telling {
		return "differs"
	}
	return fmt.Sprintf(format, args...)
}

// compare says how what is seen differs from o; "" if it does not.
func (b *bench) compare(before *model.TCB, s *segment.Segment, o *model.Outcome, unread int) string {
	if d := b.compareReplies(before, s, o); d != "" {
		return d
	}
	if b.c == nil || b.reopened(before, o) {
		return "" // LISTEN and SYN-RECEIVED of a passive open show only by what follows
	}
	if o.After.State == model.Listen && b.c.State() == engine.Closed {
		return ""
	}
	if got := b.c.State(); got.String() != o.After.State.String() {
		return b.differs("state %s, want %s", got, o.After.State)
	}
	if d := b.compareEnd(o); d != "" {
		return d
	}
	if o.After.State == model.Closed {
		return ""
	}
	v := &b.info.Vars
	switch {
	case v.SndUna != o.After.SndUna:
		return b.differs("SND.UNA %v, want %v", v.SndUna, o.After.SndUna)
	case o.After.State != model.SynSent && v.RcvNxt != o.After.RcvNxt:
		return b.differs("RCV.NXT %v, want %v", v.RcvNxt, o.After.RcvNxt)
	case o.After.State != model.SynSent && v.SndWnd != o.After.SndWnd:
		return b.differs("SND.WND %d, want %d", v.SndWnd, o.After.SndWnd)
	}
	if d := b.compareTimeWait(o); d != "" {
		return d
	}
	return b.compareText(o, unread)
}

// compareTimeWait looks at the only timer of TIME-WAIT.
func (b *bench) compareTimeWait(o *model.Outcome) string {
	if o.After.State != model.TimeWait {
		return ""
	}
	got := model.Clocks(0)
	if b.c.Deadline() == b.now.Add(timeWait) {
		got |= model.Restarted
	}
	if b.c.Deadline() == b.due {
		got |= model.Kept
	}
	if got&o.TimeWait == 0 {
		return b.differs("2 MSL end in %v, want %b of kept and restarted", b.c.Deadline().Sub(b.now), o.TimeWait)
	}
	return ""
}

// reopened reports whether o makes room for a new connection, and so did the engine.
func (b *bench) reopened(before *model.TCB, o *model.Outcome) bool {
	return before.State == model.TimeWait && o.After.State == model.SynReceived && b.c.State() == engine.Closed && b.c.Err() == nil
}

// compareEnd holds what the application is told against o.
func (b *bench) compareEnd(o *model.Outcome) string {
	err, got := b.c.Err(), model.Endings(0)
	switch {
	case err == nil:
		got = model.NoError
	case errors.Is(err, engine.ErrRefused):
		got = model.Refused
	case errors.Is(err, engine.ErrReset):
		got = model.WasReset
	case errors.Is(err, engine.ErrAborted):
		got = model.Aborted
	}
	if got&o.Ending == 0 {
		return b.differs("ended with %v, want %b", err, o.Ending)
	}
	return ""
}

// compareText counts what can be read.
func (b *bench) compareText(o *model.Outcome, unread int) string {
	if o.After.NoReader {
		return ""
	}
	want := unread
	for _, d := range o.Delivered {
		want += len(d.Data)
	}
	if got := b.info.ReceiveQueue; got != want {
		return b.differs("%d octets readable, want %d", got, want)
	}
	return ""
}

// wantAck waits for an ACK that is owed: "an ACK ... MUST be delayed by less than
// 0.5 seconds", RFC 9293 section 3.8.6.3.
func (b *bench) wantAck() {
	end := b.now.Add(500 * time.Millisecond)
	for due := b.stack.Deadline(); !due.IsZero() && due < end; due = b.stack.Deadline() {
		b.now = due
		b.stack.Advance(due)
		b.drain()
		for i := range b.out {
			if b.out[i].Flags.Has(ackf) && b.out[i].Ack == b.tcb.RcvNxt {
				return
			}
		}
	}
	b.fail("no ACK of %v came within 0.5 seconds", b.tcb.RcvNxt)
}

// finish reads all there is: the octets that were unread, those of the outcome,
// and the end of the peer's data, or the error.
func (b *bench) finish(unread []byte) {
	t := &b.tcb
	if t.NoReader {
		return
	}
	want := unread
	if b.c.Err() != nil {
		want = nil
	}
	want = append(want[:len(want):len(want)], octets(b.delivered)...)
	n, err := b.c.Read(b.now, b.inlet)
	if len(want) > 0 {
		if err != nil || !bytes.Equal(b.inlet[:n], want) {
			b.fail("read %d octets, %v; want %d", n, err, len(want))
			return
		}
		n, err = b.c.Read(b.now, b.inlet)
	}
	var end error
	switch {
	case b.c.Err() != nil:
		end = b.c.Err()
	case t.FinTaken || t.State == model.Closed:
		end = io.EOF
	}
	if n != 0 || err != end {
		b.fail("read %d, %v; want %v", n, err, end)
	}
}

// compareReplies looks for one of the allowed answers in what was sent.
func (b *bench) compareReplies(before *model.TCB, s *segment.Segment, o *model.Outcome) string {
	allowed := o.Replies
	if len(b.out) == 0 {
		if allowed&(model.Silence|model.AckSoon) != 0 {
			return ""
		}
		return b.differs("nothing was sent, want %v", allowed)
	}
	for i := range b.out {
		if d := b.compareReply(before, s, o, &b.out[i]); d != "" {
			return d
		}
	}
	if len(b.out) > 1 && !o.MaySend && !b.late {
		return b.differs("%d segments were sent", len(b.out))
	}
	return ""
}

func (b *bench) compareReply(before *model.TCB, s *segment.Segment, o *model.Outcome, got *segment.Segment) string {
	switch {
	case got.Flags.Has(rst):
		return b.compareReset(s, o, got)
	case got.Flags.Has(syn):
		if o.Replies&model.SynAck == 0 || got.Flags != syn|ackf || got.Ack != o.After.RcvNxt || got.Seq != o.After.ISS || len(got.Payload) > 0 {
			return b.differs("%v, want %v", got, o.Replies)
		}
	case b.late && got.Len() > 0 && got.End().LessEq(before.SndNxt):
		if got.Seq.Less(o.After.SndUna) || got.Flags&^(psh|fin) != ackf || got.Ack != o.After.RcvNxt {
			return b.differs("%v is no retransmission", got)
		}
	case got.Len() > 0:
		if !o.MaySend || got.Flags&^(psh|fin) != ackf || got.Ack != o.After.RcvNxt || got.Seq.Less(o.After.SndNxt) ||
			o.After.SndUna.Add(o.After.SndWnd+1).Less(got.End()) {
			return b.differs("%v, but no text or FIN may leave", got)
		}
	default:
		if o.Replies&(model.Ack|model.AckSoon) == 0 || got.Flags != ackf || got.Ack != o.After.RcvNxt || got.Seq != b.tcb.SndNxt {
			return b.differs("%v, want %v with SEQ=%v ACK=%v", got, o.Replies, b.tcb.SndNxt, o.After.RcvNxt)
		}
	}
	if d := b.compareTimestamp(o, got); d != "" {
		return d
	}
	if d := b.compareSACK(&o.After, got); d != "" {
		return d
	}
	if before.State.Synchronized() && !got.Flags.Has(syn) {
		// Less than one unit of the scale may go: "The end of the window will be on a
		// boundary based on the granularity of the scale factor", RFC 7323 section 2.4.
		if edge := got.Ack.Add((int(got.Window) + 1) << b.scale()); edge.LessEq(before.RcvEdge) {
			return b.differs("%v takes the window back from %v to %v", got, before.RcvEdge, edge)
		}
	}
	return ""
}

func (b *bench) scale() int { return max(0, b.cfg.WindowScale) }

// compareTimestamp: "Once TSopt has been successfully negotiated ... the TSopt
// MUST be sent in every non-<RST> segment", RFC 7323 section 3.2, and "its TSecr
// field is set to the current TS.Recent value", section 4.3.
func (b *bench) compareTimestamp(o *model.Outcome, got *segment.Segment) string {
	has := got.Options.Has(segment.HasTimestamps)
	if has != o.After.TS || has && got.Options.TSEcr != o.After.TSRecent {
		return b.differs("%v, want timestamps: %v, TSecr %d", got, o.After.TS, o.After.TSRecent)
	}
	return ""
}

// compareSACK: "If sent at all, SACK options SHOULD be included in all ACKs which
// do not ACK the highest sequence number in the data receiver's queue", RFC 2018
// section 4, and no octet may be told that was not received.
func (b *bench) compareSACK(t *model.TCB, got *segment.Segment) string {
	if !got.Options.Has(segment.HasSACK) {
		if t.SACK && len(t.Held) > 0 && !got.Flags.Has(syn) && got.Len() == 0 { // text needs the room
			return b.differs("%v, want SACK", got)
		}
		return ""
	}
	if !t.SACK {
		return b.differs("%v, but SACK was not agreed on", got)
	}
	for _, block := range got.Options.Blocks() {
		if !t.HoldsAll(block) {
			return b.differs("%v tells of octets that were not received", got)
		}
	}
	return ""
}

// compareReset: "In the <RST> segment, SEG.TSecr SHOULD be set to SEG.TSval from
// the incoming segment and SEG.TSval SHOULD be set to zero", RFC 7323 section 5.2.
func (b *bench) compareReset(s *segment.Segment, o *model.Outcome, got *segment.Segment) string {
	want := o.Reset
	hasAck := got.Flags == rst|ackf
	switch {
	case o.Replies&model.Reset == 0:
		return b.differs("%v, want %v", got, o.Replies)
	case got.Flags != rst && !hasAck, got.Len() > 0, got.Seq != want.Seq:
		return b.differs("%v, want a RST with SEQ=%v", got, want.Seq)
	case hasAck && !want.HasAck && !want.MayAck, !hasAck && want.HasAck:
		return b.differs("%v, want ACK bit: %v", got, want.HasAck)
	case hasAck && got.Ack != want.Ack:
		return b.differs("%v, want ACK=%v", got, want.Ack)
	case got.Options.Has(segment.HasTimestamps) && s.Options.Has(segment.HasTimestamps) && !want.MayAck && got.Options.TSEcr != s.Options.TSVal:
		return b.differs("%v does not echo TSval %d", got, s.Options.TSVal)
	}
	return ""
}
