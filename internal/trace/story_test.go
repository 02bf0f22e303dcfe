package trace

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"rawtcp/engine"
	"rawtcp/segment"
)

// The sides of a story.
const (
	client = iota
	server
)

// A story is two stacks joined by a wire, in virtual time and in one goroutine:
// the same story gives the same transcript, to the last microsecond.
type story struct {
	t        *testing.T
	v6       bool
	now      engine.Time
	stacks   [2]*engine.Stack
	views    [2]*view
	conns    [2]*engine.Conn
	later    *engine.Conn // the last that dialFrom made
	listener *engine.Listener
	agenda   []deed
	sent     [2]int    // packets each side has sent
	last     [2][]byte // the last packet of each side
	clock    [2]uint32 // the last timestamp of each side
	rules    []func(side, n int, pkt []byte) []byte
	delays   map[[2]int]time.Duration
	deaf     [2]bool // does not read
	eof      [2]func()
	until    time.Duration
	settled  func() // called when both sides have said all, if it is set
	seg      segment.Segment
}

// A deed is something that happens at its time, in order.
type deed struct {
	at engine.Time
	n  int
	do func()
}

const (
	storyStart = engine.Time(time.Second)
	wireDelay  = 10 * time.Millisecond
)

func storyAddr(side int, v6 bool) netip.AddrPort {
	switch {
	case side == client && v6:
		return local6
	case side == client:
		return local4
	case v6:
		return remote6
	}
	return remote4
}

func newStory(t *testing.T, v6 bool) *story {
	s := newUnseen(t, v6)
	for side := range s.stacks {
		s.views[side] = newView(t, s, side)
		s.follow(side, s.views[side].tee)
	}
	return s
}

// newUnseen is a story without views.
func newUnseen(t *testing.T, v6 bool) *story {
	return &story{t: t, v6: v6, now: storyStart, delays: map[[2]int]time.Duration{}, until: 10 * time.Minute}
}

// follow makes the stack of a side, whose events go to tracer.
func (s *story) follow(side int, tracer engine.Tracer) {
	s.stacks[side] = engine.NewStack(engine.StackConfig{Secret: [32]byte{byte(side + 1)}, Tracer: tracer})
}

func (s *story) wall() time.Time { return wallClock().Add(s.now.Sub(storyStart)) }

// config is what both sides start from: TIME-WAIT of one RTO, as the command has it.
func (s *story) config(side int) engine.ConnConfig {
	isn := segment.MakeSeq(uint32(1_000_000_000 * (side + 1)))
	return engine.ConnConfig{ISN: &isn, TimeWait: -1, SendBuffer: 1 << 20, ReceiveBuffer: 1 << 20}
}

func (s *story) listen(change ...func(*engine.ListenConfig)) {
	cfg := engine.ListenConfig{Conn: s.config(server)}
	for _, f := range change {
		f(&cfg)
	}
	l, err := s.stacks[server].Listen(s.now, storyAddr(server, s.v6), func(netip.Addr) int { return 1500 }, cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.listener = l
}

func (s *story) dial(side int, change ...func(*engine.ConnConfig)) {
	cfg := s.config(side)
	for _, f := range change {
		f(&cfg)
	}
	c, err := s.stacks[side].Dial(s.now, storyAddr(side, s.v6), storyAddr(1-side, s.v6), 1500, cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.conns[side] = c
}

// open is a listener and an active open to it.
func (s *story) open() {
	s.listen()
	s.dial(client)
}

// at plans a deed at so many milliseconds from the beginning.
func (s *story) at(ms int, do func()) {
	s.plan(storyStart.Add(time.Duration(ms)*time.Millisecond), do)
}

func (s *story) after(ms int, do func()) {
	s.plan(s.now.Add(time.Duration(ms)*time.Millisecond), do)
}

func (s *story) plan(at engine.Time, do func()) {
	s.agenda = append(s.agenda, deed{at, len(s.agenda), do})
	slices.SortStableFunc(s.agenda, func(a, b deed) int { return cmp.Compare(a.at, b.at) })
}

// lose drops the numbered packets of a side, counted from 1.
func (s *story) lose(from int, numbers ...int) {
	s.change(from, func([]byte) []byte { return nil }, numbers...)
}

// loseFrom drops all from a number on.
func (s *story) loseFrom(from, first int) {
	s.rules = append(s.rules, func(side, n int, pkt []byte) []byte {
		if side == from && n >= first {
			return nil
		}
		return pkt
	})
}

// change has the numbered packets of a side changed on the wire.
func (s *story) change(from int, f func([]byte) []byte, numbers ...int) {
	s.rules = append(s.rules, func(side, n int, pkt []byte) []byte {
		if side == from && slices.Contains(numbers, n) {
			return f(pkt)
		}
		return pkt
	})
}

// narrow drops in silence what a side sends in packets larger than mtu, while it is.
func (s *story) narrow(from int, mtu *int) {
	s.rules = append(s.rules, func(side, _ int, pkt []byte) []byte {
		if side == from && len(pkt) > *mtu {
			return nil
		}
		return pkt
	})
}

func (s *story) write(side int, text string) {
	if _, err := s.conns[side].Write(s.now, []byte(text)); err != nil {
		s.t.Fatalf("write: %v", err)
	}
}

func (s *story) shut(side int)  { s.conns[side].CloseWrite(s.now) }
func (s *story) close(side int) { s.conns[side].Close(s.now) }
func (s *story) abort(side int) { s.conns[side].Abort(s.now) }

// closeOnEOF is the polite application: it closes so many milliseconds after
// the peer has.
func (s *story) closeOnEOF(side, ms int) {
	s.eof[side] = func() {
		if ms == 0 {
			s.close(side)
			return
		}
		s.after(ms, func() { s.close(side) })
	}
}

// inject gives a segment of nobody's to a side; numbers and
// timestamps are relative to what the other side says.
func (s *story) inject(to int, line string) {
	seg, _, err := segment.ParseText("< " + line)
	if err != nil {
		s.t.Fatalf("%s: %v", line, err)
	}
	var v engine.Vars
	if c := s.conns[to]; c != nil {
		v = c.Info(s.now).Vars
	}
	seg.Src, seg.Dst, seg.TTL = storyAddr(1-to, s.v6), storyAddr(to, s.v6), 61
	seg.Seq = seg.Seq.Add(int(v.IRS.Uint32()))
	if seg.Flags.Has(segment.ACK) {
		seg.Ack = seg.Ack.Add(int(v.ISS.Uint32()))
	}
	seg.Options.TSVal += s.clock[1-to]
	seg.Options.Raw = nil
	pkt, err := seg.Append(nil)
	if err != nil {
		s.t.Fatalf("%s: %v", line, err)
	}
	s.stacks[to].Deliver(s.now, pkt, 0)
}

// icmp reports about the last packet of a side.
func (s *story) icmp(to int, typ, code uint8, mtu int) {
	from := netip.MustParseAddr("198.18.9.1")
	if s.v6 {
		from = netip.MustParseAddr("2001:db8:9::1")
	}
	s.stacks[to].DeliverICMP(s.now, engine.ICMP{From: from, Type: typ, Code: code, MTU: mtu, Quoted: s.last[to]})
}

// run plays the story to its end.
func (s *story) run() {
	for {
		s.settle()
		next := s.next()
		if next == 0 || next.Sub(storyStart) > s.until {
			break
		}
		s.now = max(s.now, next)
		for len(s.agenda) > 0 && s.agenda[0].at <= s.now {
			d := s.agenda[0]
			s.agenda = s.agenda[1:]
			d.do()
			s.settle()
		}
		for _, stack := range s.stacks {
			stack.Advance(s.now)
		}
	}
	for _, v := range s.views {
		if v != nil {
			v.end()
		}
	}
}

func (s *story) next() engine.Time {
	var next engine.Time
	consider := func(at engine.Time) {
		if at != 0 && (next == 0 || at < next) {
			next = at
		}
	}
	if len(s.agenda) > 0 {
		consider(s.agenda[0].at)
	}
	for _, stack := range s.stacks {
		consider(stack.Deadline())
	}
	return next
}

// settle lets the applications read and the stacks say what they have to.
func (s *story) settle() {
	if s.conns[server] == nil && s.listener != nil {
		s.conns[server] = s.listener.Accept()
	}
	for side := range s.stacks {
		s.read(side)
	}
	s.now = s.now.Add(time.Microsecond) // a host sends a moment after it has received
	for side := range s.stacks {
		for s.stacks[side].Transmit(s.now, &s.seg) {
			pkt, err := s.seg.Append(nil)
			if err != nil {
				s.t.Fatal(err)
			}
			s.send(side, pkt)
		}
	}
	if s.settled != nil {
		s.settled()
	}
}

func (s *story) read(side int) {
	c := s.conns[side]
	if c == nil || s.deaf[side] {
		return
	}
	var p [4096]byte
	for {
		n, err := c.Read(s.now, p[:])
		if errors.Is(err, io.EOF) && s.eof[side] != nil && c.Err() == nil {
			f := s.eof[side]
			s.eof[side] = nil
			f()
		}
		if n == 0 {
			return
		}
	}
}

func (s *story) send(side int, pkt []byte) {
	s.sent[side]++
	n := s.sent[side]
	s.last[side], s.clock[side] = pkt, s.seg.Options.TSVal
	for _, rule := range s.rules {
		if pkt = rule(side, n, pkt); pkt == nil {
			return
		}
	}
	s.plan(s.now.Add(wireDelay+s.delays[[2]int{side, n}]), func() {
		stamp := s.wall().Add(-7 * time.Microsecond) // the kernel saw it a little earlier
		s.stacks[1-side].Deliver(s.now, pkt, stamp.UnixNano())
	})
}

// A view is what one side's sinks make of a story.
type view struct {
	t       *testing.T
	outs    map[string]*bytes.Buffer
	tee     Tee
	closers []func(time.Duration) error
	json    *JSONLines
	sums    *Collector
	events  []engine.Event // kinds, notes and reasons only
}

func newView(t *testing.T, s *story, side int) *view {
	v := &view{t: t, outs: map[string]*bytes.Buffer{}, sums: NewCollector()}
	tag := TagLocal
	if side == server {
		tag = TagPeer
	}
	out := func(name string) *bytes.Buffer {
		v.outs[name] = new(bytes.Buffer)
		return v.outs[name]
	}
	ladder := func(name string, verbose int) *Ladder {
		l := NewLadder(LadderConfig{Out: out(name), Now: s.wall, Verbose: verbose, Tag: tag})
		v.closers = append(v.closers, l.Close)
		return l
	}
	v.tee = append(v.tee, ladder("ladder", 0), ladder("ladder -v", 1), ladder("ladder -vv", 2), NewExplain(ladder("--explain", 0)))
	v.json = NewJSONLines(out("json"))
	pcap, err := NewPcap(PcapConfig{Out: out("pcap"), Now: s.wall, Interface: "veth0", Application: "rawtcp test", Comment: "story"})
	if err != nil {
		t.Fatal(err)
	}
	v.closers = append(v.closers, pcap.Close)
	v.tee = append(v.tee, v.json, pcap, v.sums, v)
	return v
}

// Trace keeps what tests ask for afterwards.
func (v *view) Trace(e *engine.Event) {
	kept := engine.Event{Kind: e.Kind, Conn: e.Conn, State: e.State, Note: e.Note, Reason: e.Reason, From: e.From, To: e.To}
	if e.Segment != nil {
		kept.Segment = &segment.Segment{Flags: e.Segment.Flags}
	}
	v.events = append(v.events, kept)
}

func (v *view) end() {
	var total Total
	for _, id := range v.sums.Over(true) {
		sum, _ := v.sums.Take(id)
		total.Add(sum)
		v.json.Summary(sum)
	}
	if total.Connections() != 1 {
		v.json.Summary(total.Summary())
	}
	for _, c := range append(v.closers, v.json.Close) {
		if err := c(time.Minute); err != nil {
			v.t.Error(err)
		}
	}
}

// transcript is all that is for people and scripts, in sections.
func (v *view) transcript(about string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", about)
	for _, name := range []string{"ladder", "ladder -v", "ladder -vv", "--explain", "json"} {
		fmt.Fprintf(&b, "\n=== %s\n%s", name, v.outs[name])
	}
	fmt.Fprintf(&b, "\n=== pcapng\n%s", tellPcap(v.t, v.outs["pcap"].Bytes()))
	return b.String()
}

// dialFrom is one more client, from another port.
func (s *story) dialFrom(port uint16, change ...func(*engine.ConnConfig)) {
	cfg := s.config(client)
	for _, f := range change {
		f(&cfg)
	}
	local := netip.AddrPortFrom(storyAddr(client, s.v6).Addr(), port)
	c, err := s.stacks[client].Dial(s.now, local, storyAddr(server, s.v6), 1500, cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.later = c
}

// icmpOld reports about a packet that was acknowledged long ago.
func (s *story) icmpOld(to int) {
	if s.v6 {
		s.icmp(to, 1, 4, 0)
	} else {
		s.icmp(to, 3, 3, 0)
	}
}
