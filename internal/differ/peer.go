package differ

import (
	"fmt"
	"net/netip"
	"strings"

	"rawtcp/segment"
)

// A Turn is a stimulus and what came back at once.
type Turn struct {
	What    string // the stimulus
	Step    Step
	State   string // of the subject before it, if the subject tells
	Replies []Reply
}

// A Transcript is a conversation as it was.
type Transcript struct {
	Turns  []Turn
	Stream []byte // what the subject's user has read
	End    End
}

// A Reply is one segment of a subject in a form that says what matters:
// numbers are relative to the initial ones, the window is closed or open, text
// that follows on text is one piece however it was cut.
type Reply struct {
	Flags      segment.Flags // without PSH and the ECN bits
	Seq, Ack   int
	Len        int
	Closed     bool              // the window is 0
	Options    segment.OptionSet // of those that the peer offered
	Echo       int               // TSecr, relative to the peer's first timestamp
	Blocks     string            // SACK
	Retransmit bool              // all of it was sent before
}

// String is the reply in the notation of the project, as far as it goes.
func (r Reply) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v %d:%d(%d)", r.Flags, r.Seq, r.Seq+r.Len, r.Len)
	if r.Flags.Has(ack) {
		fmt.Fprintf(&b, " ack %d", r.Ack)
	}
	if r.Closed {
		b.WriteString(" win 0")
	}
	fmt.Fprintf(&b, " %v", optionNames(r.Options))
	if r.Options&segment.HasTimestamps != 0 {
		fmt.Fprintf(&b, " ecr %d", r.Echo)
	}
	if r.Blocks != "" {
		fmt.Fprintf(&b, " sack %s", r.Blocks)
	}
	if r.Retransmit {
		b.WriteString(" again")
	}
	return b.String()
}

// peerMSS is what the peer's SYN says. All subjects cut their text to it, so
// that no step writes more than the initial window.
const peerMSS = 1000

// The peer's own first numbers.
const (
	peerISS   = 0xffff_f000 // so that conversations wrap
	firstTime = 1_000_000
)

// A peer is the scripted other end of one conversation.
type peer struct {
	plan    *Plan
	subject Subject
	at, own netip.AddrPort // the subject's address and ours

	iss      segment.Seq // the subject's, once its SYN was seen; before that a guess
	irs      segment.Seq // ours, that the subject has acknowledged
	seenSYN  bool
	rcvNxt   segment.Seq // the subject's RCV.NXT as its ACKs say
	edge     segment.Seq // the right edge of its window
	scale    uint8
	sndNxt   segment.Seq // end of what it has sent
	una      segment.Seq // what we have acknowledged
	stamps   bool        // negotiated
	subjTime uint32      // its last timestamp
	time     uint32      // ours
	script   Transcript
}

// Play holds the conversation of plan with a subject.
func Play(plan *Plan, s Subject) (*Transcript, error) {
	p := &peer{plan: plan, subject: s, own: peerAddr(plan), time: firstTime}
	p.iss = segment.MakeSeq(7_000_000)
	p.sndNxt, p.una = p.iss, p.iss
	p.rcvNxt, p.irs = segment.MakeSeq(peerISS), segment.MakeSeq(peerISS)
	p.edge = p.rcvNxt.Add(8000)
	var err error
	if p.at, err = s.Begin(plan.Target.opens(), p.own); err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	if err = p.talk(); err != nil {
		return nil, err
	}
	p.read()
	return &p.script, s.Finish()
}

// PeerAddrs are the addresses the peer speaks from.
var (
	Peer4 = netip.MustParseAddr("198.18.0.77")
	Peer6 = netip.MustParseAddr("2001:db8::77")
)

func peerAddr(plan *Plan) netip.AddrPort {
	addr := Peer4
	if plan.V6 {
		addr = Peer6
	}
	return netip.AddrPortFrom(addr, uint16(20_000+plan.Seed%40_000))
}

// talk goes to the target and then through the steps.
func (p *peer) talk() error {
	if p.plan.Target.opens() {
		if err := p.turn("open", Step{}, nil); err != nil {
			return err
		}
	}
	for _, s := range p.wayThere() {
		if err := p.step(s); err != nil {
			return err
		}
	}
	for _, s := range p.plan.Steps {
		if err := p.step(s); err != nil {
			return err
		}
	}
	return nil
}

// wayThere are the steps that lead to the target.
func (p *peer) wayThere() []Step {
	seg := func(f segment.Flags, a AckClass) Step { return Step{Flags: f, Ack: a, Window: 8000} }
	half := Step{Call: CallCloseWrite}
	open := []Step{seg(syn, 0), seg(ack, AckNext)}
	switch p.plan.Target {
	case SynReceived:
		return open[:1]
	case Passive:
		return open
	case Active:
		return []Step{seg(syn|ack, AckNext)}
	case FinWait1:
		return append(open, half)
	case FinWait2:
		return append(open, half, seg(ack, AckNext))
	case CloseWait:
		return append(open, seg(fin|ack, AckNext))
	case Closing:
		return append(open, half, seg(fin|ack, AckUna))
	case LastAck:
		return append(open, seg(fin|ack, AckNext), half)
	case TimeWait:
		return append(open, half, seg(ack, AckNext), seg(fin|ack, AckNext))
	}
	return nil
}

func (p *peer) step(s Step) error {
	return p.turn(s.String(), s, func() error {
		switch {
		case s.Call != NoCall && !p.open(): // there is no connection to call
		case s.Call == CallWrite:
			p.subject.Write(make([]byte, s.Size))
		case s.Call == CallCloseWrite:
			p.subject.CloseWrite()
		default:
			return p.send(s)
		}
		return nil
	})
}

// open reports whether both SYNs were acknowledged, so that the user has a
// connection to speak to.
func (p *peer) open() bool { return p.iss.Less(p.una) && segment.MakeSeq(peerISS).Less(p.rcvNxt) }

// turn does something and takes down what comes of it.
func (p *peer) turn(what string, s Step, do func() error) error {
	t := Turn{What: what, Step: s}
	if teller, ok := p.subject.(interface{ State() string }); ok {
		t.State = teller.State()
	}
	if do != nil {
		if err := do(); err != nil {
			return err
		}
	}
	if err := p.hear(&t); err != nil {
		return err
	}
	p.script.Turns = append(p.script.Turns, t)
	p.read()
	return nil
}

// send makes the segment of a step and delivers it.
func (p *peer) send(s Step) error {
	p.time++
	g := segment.Segment{Src: p.own, Dst: p.at, Flags: s.Flags, Window: s.Window, Seq: p.seq(s.Seq)}
	if s.Flags.Has(ack) {
		g.Ack = p.ack(s.Ack)
		if known := s.Flags.Has(syn) || segment.MakeSeq(peerISS).Less(p.rcvNxt); known && p.una.Less(g.Ack) && g.Ack.LessEq(p.sndNxt) {
			p.una = g.Ack
		}
	}
	g.Payload = text(g.Seq.Sub(p.irs), s.Size)
	if s.Flags.Has(syn) {
		g.Options = segment.Options{Set: segment.HasMSS | p.plan.Offer, MSS: peerMSS, WindowScale: 0, TSVal: p.time, TSEcr: p.subjTime}
		if s.Flags.Has(ack) && p.subjTime == 0 {
			g.Options.TSEcr = 0
		}
	} else if p.stamps && s.Stamp != StampNone {
		g.Options = segment.Options{Set: segment.HasTimestamps, TSVal: p.time, TSEcr: p.subjTime}
		if s.Stamp == StampOld {
			g.Options.TSVal -= 500_000
		}
	}
	pkt, err := g.Append(nil)
	if err != nil {
		return fmt.Errorf("build %v: %w", s, err)
	}
	return p.subject.Deliver(pkt)
}

// text is what stands at a place of the peer's stream: the same octets whenever
// they are sent.
func text(place, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		at := uint32(place + i)
		b[i] = byte(at ^ at>>8 ^ at>>16)
	}
	return b
}

func (p *peer) seq(c SeqClass) segment.Seq {
	switch c {
	case SeqPrevious:
		return p.rcvNxt.Add(-1)
	case SeqOld:
		return p.rcvNxt.Add(-5000)
	case SeqBeyond:
		return p.rcvNxt.Add(700)
	case SeqLast:
		return p.edge.Add(-1)
	case SeqEdge:
		return p.edge
	case SeqFar:
		return p.rcvNxt.Add(1 << 30)
	case SeqOpposite:
		return p.rcvNxt.Add(1 << 31)
	}
	return p.rcvNxt
}

func (p *peer) ack(c AckClass) segment.Seq {
	switch c {
	case AckUna:
		return p.una
	case AckBelow:
		return p.una.Add(-1)
	case AckOld:
		return p.una.Add(-1 << 25)
	case AckFuture:
		return p.sndNxt.Add(1)
	case AckFar:
		return p.sndNxt.Add(1 << 30)
	}
	return p.sndNxt
}

// hear takes what the subject sent.
func (p *peer) hear(t *Turn) error {
	pkts, err := p.subject.Sent()
	if err != nil {
		return err
	}
	for _, pkt := range pkts {
		var s segment.Segment
		if err := s.Parse(pkt); err != nil {
			return fmt.Errorf("%s is answered by what is no segment: %w", t.What, err)
		}
		if s.Src == p.at && s.Dst == p.own {
			t.Replies = join(t.Replies, p.note(&s))
		}
	}
	return nil
}

func (p *peer) read() {
	data, end := p.subject.Read()
	p.script.Stream = append(p.script.Stream, data...)
	p.script.End = end
}

// note learns from a segment of the subject and puts it into the form for comparison.
func (p *peer) note(s *segment.Segment) Reply {
	if s.Flags.Has(syn) && !s.Flags.Has(rst) && (!p.seenSYN || s.Seq != p.iss) {
		p.seenSYN, p.iss, p.sndNxt, p.una = true, s.Seq, s.Seq, s.Seq
		p.stamps = s.Options.Has(segment.HasTimestamps) && p.plan.Offer&segment.HasTimestamps != 0
		if s.Flags.Has(ack) {
			p.irs = s.Ack.Add(-1)
			p.rcvNxt = s.Ack
		}
		p.scale = 0
		if s.Options.Has(segment.HasWindowScale) && p.plan.Offer&segment.HasWindowScale != 0 {
			p.scale = s.Options.WindowScale
		}
	}
	r := Reply{Flags: s.Flags & (syn | ack | fin | rst | segment.URG), Seq: s.Seq.Sub(p.iss), Len: s.Len(), Closed: s.Window == 0 && !s.Flags.Has(rst),
		Options: s.Options.Set & (p.plan.Offer | segment.HasSACK), Retransmit: s.Len() > 0 && s.End().LessEq(p.sndNxt)}
	if s.Flags.Has(ack) {
		r.Ack = s.Ack.Sub(p.irs)
	}
	if s.Options.Has(segment.HasTimestamps) {
		p.subjTime = s.Options.TSVal
		if s.Options.TSEcr != 0 {
			r.Echo = int(int32(s.Options.TSEcr - firstTime))
		}
	}
	for _, b := range s.Options.Blocks() {
		r.Blocks += p.block(b)
	}
	if s.Flags.Has(rst) {
		return r
	}
	p.sndNxt = segment.MaxSeq(p.sndNxt, s.End())
	if s.Flags.Has(ack) {
		p.rcvNxt = segment.MaxSeq(p.rcvNxt, s.Ack)
		scale := p.scale
		if s.Flags.Has(syn) {
			scale = 0
		}
		p.edge = s.Ack.Add(int(s.Window) << scale)
	}
	return r
}

// block is a SACK block in relative numbers. Where the window ends is everybody's
// own affair, so that of one near there the length must do.
func (p *peer) block(b segment.SACKBlock) string {
	if b.Start.Sub(p.rcvNxt) > 6000 {
		return fmt.Sprintf("edge(%d) ", b.End.Sub(b.Start))
	}
	return fmt.Sprintf("%+d:%+d ", b.Start.Sub(p.irs), b.End.Sub(p.irs))
}

// join adds a reply to a turn. Text that goes on where the text before it ended
// is one piece with it.
func join(replies []Reply, r Reply) []Reply {
	if len(replies) > 0 && r.Len > 0 {
		last := &replies[len(replies)-1]
		if last.Flags == ack && last.Len > 0 && r.Flags&^fin == ack && last.Seq+last.Len == r.Seq && last.Ack == r.Ack && last.Retransmit == r.Retransmit {
			last.Len += r.Len
			last.Flags |= r.Flags
			return replies
		}
	}
	return append(replies, r)
}
