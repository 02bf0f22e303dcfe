package engine

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"rawtcp/segment"
)

// The conversation harness: a test says what the peer sends (in), what we must
// send (want), what the application does, and how the clock moves. Lines are in
// the notation of segment.AppendText; numbers are relative to the ISNs, so that
// the first octet of data is 1 on both sides. Nobody sleeps.
type talk struct {
	t     *testing.T
	stack *Stack
	l     *Listener
	c     *Conn
	now   Time
	iss   segment.Seq // ours
	irs   segment.Seq // the peer's
	peer  netip.AddrPort
	seg   segment.Segment
	log   []string
}

var (
	us   = netip.MustParseAddrPort("198.18.0.1:1000")
	peer = netip.MustParseAddrPort("198.18.0.2:80")
)

const peerISN = 1_000_000

// plain is a connection without timestamps, so that lines stay short.
func plain(change ...func(*ConnConfig)) ConnConfig {
	iss := segment.MakeSeq(5_000_000)
	cfg := ConnConfig{Timestamps: Off, ISN: &iss, Congestion: "reno", LossProbe: Off, PathMTU: Off, SendBuffer: 1 << 20, ReceiveBuffer: 1 << 20}
	for _, f := range change {
		f(&cfg)
	}
	return cfg
}

func newTalk(t *testing.T) *talk {
	k := &talk{t: t, now: Time(time.Second), irs: segment.MakeSeq(peerISN), peer: peer}
	k.stack = NewStack(StackConfig{Secret: [32]byte{1}, Tracer: k})
	t.Cleanup(func() {
		if t.Failed() || testing.Verbose() {
			t.Log("the whole talk:\n" + strings.Join(k.log, "\n"))
		}
	})
	return k
}

// Trace keeps the talk for the failure report, and checks what always holds.
func (k *talk) Trace(e *Event) {
	at := e.At.Sub(Time(time.Second))
	switch e.Kind {
	case EventSegmentOut:
		k.log = append(k.log, fmt.Sprintf("%8v > %s  %s (%s) %s", at, k.text(e.Segment, k.iss, k.irs), e.State, e.Reason, e.Note))
	case EventSegmentIn:
		k.log = append(k.log, fmt.Sprintf("%8v < %s  %s %s", at, k.text(e.Segment, k.irs, k.iss), e.State, e.Note))
	case EventState:
		k.log = append(k.log, fmt.Sprintf("%8v   %s -> %s: %s", at, e.From, e.To, e.Reason))
	case EventTimerFired:
		k.log = append(k.log, fmt.Sprintf("%8v   timer %s", at, e.Timer))
	}
}

// dial starts an active open; the SYN is not taken yet.
func dial(t *testing.T, cfg ConnConfig) *talk {
	k := newTalk(t)
	c, err := k.stack.Dial(k.now, us, peer, 1500, cfg)
	if err != nil {
		t.Fatal(err)
	}
	k.c, k.iss = c, c.snd.iss
	return k
}

// established is an active open whose handshake is done, with MSS 1000 and a
// window of 65535 on the peer's side.
func established(t *testing.T, cfg ConnConfig) *talk {
	return establishedWith(t, cfg, "mss 1000,sackOK", 65535)
}

func establishedWith(t *testing.T, cfg ConnConfig, options string, window int) *talk {
	t.Helper()
	k := dial(t, cfg)
	k.want("the SYN", "S 0:0(0)")
	k.in(fmt.Sprintf("S. 0:0(0) ack 1 win %d <%s>", window, options))
	k.want("the handshake's last ACK", ". ack 1")
	k.wantState(Established)
	return k
}

// listening is a listener that has seen nothing.
func listening(t *testing.T, cfg ListenConfig) *talk {
	k := newTalk(t)
	l, err := k.stack.Listen(k.now, us, func(netip.Addr) int { return 1500 }, cfg)
	if err != nil {
		t.Fatal(err)
	}
	k.l = l
	if cfg.Conn.ISN != nil {
		k.iss = *cfg.Conn.ISN
	}
	return k
}

func (k *talk) text(s *segment.Segment, seqBase, ackBase segment.Seq) string {
	if s.Flags.Has(segment.RST) && !s.Flags.Has(segment.ACK) {
		ackBase = segment.Seq{}
	}
	return string(s.AppendText(nil, segment.Relative{Seq: seqBase, Ack: ackBase}))
}

// in delivers a segment of the peer.
func (k *talk) in(line string) {
	k.t.Helper()
	s, _, err := segment.ParseText(line)
	if err != nil {
		k.t.Fatalf("%s: %v", line, err)
	}
	s.Src, s.Dst = k.peer, us
	s.Seq = s.Seq.Add(int(k.irs.Uint32()))
	if s.Flags.Has(segment.ACK) {
		s.Ack = s.Ack.Add(int(k.iss.Uint32()))
	}
	if s.Options.Has(segment.HasSACK) {
		for i := range s.Options.Blocks() {
			b := &s.Options.SACK[i]
			b.Start, b.End = b.Start.Add(int(k.iss.Uint32())), b.End.Add(int(k.iss.Uint32()))
		}
	}
	first := s.End().Add(-len(s.Payload))
	if s.Flags.Has(segment.FIN) {
		first = first.Add(-1)
	}
	for i := range s.Payload {
		s.Payload[i] = byte(first.Add(i).Uint32())
	}
	k.stack.Receive(k.now, &s)
}

var (
	rangeText   = regexp.MustCompile(`\d+:\d+\(0\) `)
	windowText  = regexp.MustCompile(` win \d+`)
	optionsText = regexp.MustCompile(` <[^>]*>`)
)

// want takes the next segment of ours and compares it. Window and options are
// compared only where the line has them.
func (k *talk) want(why, line string) {
	k.t.Helper()
	if !k.stack.Transmit(k.now, &k.seg) {
		k.t.Fatalf("%s: nothing was sent, want %s", why, line)
	}
	got := k.text(&k.seg, k.iss, k.irs)
	short := got
	if fields, _, _ := strings.Cut(line, "<"); !strings.Contains(fields, ":") {
		short = rangeText.ReplaceAllString(short, "")
	}
	if !strings.Contains(line, " win ") {
		short = windowText.ReplaceAllString(short, "")
	}
	if !strings.Contains(line, "<") {
		short = optionsText.ReplaceAllString(short, "")
	}
	if short != line {
		k.t.Fatalf("%s:\n got  %s\n want %s", why, got, line)
	}
}

// wantIdle says that there is nothing to send now.
func (k *talk) wantIdle(why string) {
	k.t.Helper()
	if k.stack.Transmit(k.now, &k.seg) {
		k.t.Fatalf("%s: %s was sent", why, k.text(&k.seg, k.iss, k.irs))
	}
}

func (k *talk) wantState(s State) {
	k.t.Helper()
	if k.c.State() != s {
		k.t.Fatalf("state %s, want %s", k.c.State(), s)
	}
}

func (k *talk) wantErr(err error) {
	k.t.Helper()
	if got := k.c.Err(); got != err && (err == nil || got == nil || !strings.Contains(got.Error(), err.Error())) {
		k.t.Fatalf("ended with %v, want %v", got, err)
	}
}

func (k *talk) advance(d time.Duration) {
	k.now = k.now.Add(d)
	k.stack.Advance(k.now)
}

// advanceToTimer jumps to the next deadline, which must be d away.
func (k *talk) advanceToTimer(d time.Duration) {
	k.t.Helper()
	due := k.stack.Deadline()
	if due.IsZero() || due.Sub(k.now) != d {
		k.t.Fatalf("the next deadline is %v away (armed: %v), want %v", due.Sub(k.now), !due.IsZero(), d)
	}
	k.now = due
	k.stack.Advance(k.now)
}

func (k *talk) write(n int) {
	k.t.Helper()
	if got, err := k.c.Write(k.now, make([]byte, n)); err != nil || got != n {
		k.t.Fatalf("wrote %d of %d: %v", got, n, err)
	}
}

// read takes all there is, which must be n octets, each as the peer sent it.
func (k *talk) read(n int) {
	k.t.Helper()
	p := make([]byte, n+1)
	at := k.c.rcv.buf.nxt.Add(-k.c.rcv.buf.readable)
	got, err := k.c.Read(k.now, p)
	if got != n || err != nil {
		k.t.Fatalf("read %d, %v; want %d", got, err, n)
	}
	for i, b := range p[:n] {
		if b != byte(at.Add(i).Uint32()) {
			k.t.Fatalf("octet %d is %d", i, b)
		}
	}
}

func withPort(a netip.AddrPort, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr(), port)
}

func mustAddrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
