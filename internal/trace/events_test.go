package trace

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rawtcp/engine"
	"rawtcp/segment"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with a file under testdata, or writes the file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s differs (-want +got); go test -update writes it anew:\n%s", name, diff)
	}
}

var (
	local4  = netip.MustParseAddrPort("198.18.0.1:49152")
	remote4 = netip.MustParseAddrPort("198.18.0.2:80")
	local6  = netip.MustParseAddrPort("[2001:db8::1]:49152")
	remote6 = netip.MustParseAddrPort("[2001:db8::2]:80")
)

var wallClock = func() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 89_000_000, time.UTC) }

// A script makes the events of one connection, without an engine. Times are
// microseconds, sequence numbers are relative.
type script struct {
	tracer        engine.Tracer
	conn          uint64
	local, remote netip.AddrPort
	iss, irs      segment.Seq
	state         engine.State
	now           engine.Time
	vars          engine.Vars
}

func newScript(tracer engine.Tracer) *script {
	s := &script{
		tracer: tracer, conn: 1, local: local4, remote: remote4,
		iss: segment.MakeSeq(4294967290), irs: segment.MakeSeq(1000000),
		now: engine.Time(5 * time.Second),
	}
	s.vars.ISS = s.iss
	return s
}

func (s *script) after(us int) *script {
	s.now = s.now.Add(time.Duration(us) * time.Microsecond)
	return s
}

func (s *script) send(e engine.Event) {
	e.At, e.Conn, e.Local, e.Remote, e.State, e.Vars = s.now, s.conn, s.local, s.remote, s.state, s.vars
	s.tracer.Trace(&e)
}

// become is a change of state, which the event after it shows.
func (s *script) become(to engine.State, why string) {
	from := s.state
	s.state = to
	s.send(engine.Event{Kind: engine.EventState, From: from, To: to, Reason: why})
}

// moved tells of a change of state that a segment has shown already.
func (s *script) moved(from, to engine.State, why string) {
	s.send(engine.Event{Kind: engine.EventState, From: from, To: to, Reason: why})
}

// parse reads one line of the notation, relative to the ISNs.
func (s *script) parse(line string) *segment.Segment {
	seg, dir, err := segment.ParseText(line)
	if err != nil {
		panic(err)
	}
	seg.TTL, seg.Checksum = 64, segment.ChecksumOK
	seqBase, ackBase := s.irs, s.iss
	seg.Src, seg.Dst = s.remote, s.local
	if dir == segment.Out {
		seqBase, ackBase = s.iss, s.irs
		seg.Src, seg.Dst = s.local, s.remote
		seg.Checksum = segment.ChecksumUnknown
	}
	seg.Seq = seqBase.Add(int(seg.Seq.Uint32()))
	if seg.Flags.Has(segment.ACK) {
		seg.Ack = ackBase.Add(int(seg.Ack.Uint32()))
	}
	if seg.Options.Has(segment.HasSACK) {
		seg.Options.Raw = nil // the fields below are what counts
	}
	for i := range seg.Options.Blocks() {
		b := &seg.Options.SACK[i]
		b.Start, b.End = ackBase.Add(int(b.Start.Uint32())), ackBase.Add(int(b.End.Uint32()))
	}
	return &seg
}

// in and out are segments: `< S. 0:0(0) ack 1 win 65160 <mss 1460>`.
func (s *script) in(line string, note engine.Note, payload string) {
	seg := s.parse("< " + line)
	fill(seg, payload)
	if seg.Flags.Has(segment.SYN) {
		s.vars.IRS = s.irs
	}
	packet, err := seg.Append(nil)
	if err != nil {
		panic(err)
	}
	s.send(engine.Event{Kind: engine.EventSegmentIn, Segment: seg, Packet: packet, Note: note})
}

func (s *script) out(line string, note engine.Note, payload, why string) {
	seg := s.parse("> " + line)
	fill(seg, payload)
	s.send(engine.Event{Kind: engine.EventSegmentOut, Segment: seg, Note: note, Reason: why})
}

// fill replaces the payload that the notation gave only a length to.
func fill(seg *segment.Segment, payload string) {
	if payload != "" {
		seg.Payload = []byte(payload)
	}
}

// exchange is a whole connection in which much goes wrong.
func (s *script) exchange() {
	s.become(engine.SynSent, "active OPEN")
	s.out("S 0:0(0) win 64240 <mss 1460,sackOK,TS val 2863311530 ecr 0,nop,wscale 7>", "", "", "active OPEN (RFC 9293 section 3.10.1)")
	s.send(engine.Event{Kind: engine.EventTimerArmed, Timer: engine.TimerRTO, Due: s.now.Add(time.Second)})
	s.after(1000000).send(engine.Event{Kind: engine.EventTimerFired, Timer: engine.TimerRTO})
	s.out("S 0:0(0) win 64240 <mss 1460,sackOK,TS val 2863312530 ecr 0,nop,wscale 7>", engine.NoteRetransmission, "", "no answer to our SYN (RFC 6298 section 5.4)")
	s.after(214).state = engine.Established // the engine shows what came in before what follows from it
	s.in("S. 0:0(0) ack 1 win 65160 <mss 1460,sackOK,TS val 99 ecr 2863312530,nop,wscale 7>", "", "")
	s.moved(engine.SynSent, engine.Established, "our SYN is acknowledged")
	s.send(engine.Event{Kind: engine.EventTimerStopped, Timer: engine.TimerRTO})
	s.vars.SndUna, s.vars.SndNxt, s.vars.RcvNxt = s.iss.Add(1), s.iss.Add(1), s.irs.Add(1)
	s.vars.SndWnd, s.vars.RcvWnd, s.vars.Cwnd, s.vars.RTO = 65160, 64240, 14480, 200*time.Millisecond
	s.vars.RcvScale, s.vars.SndScale = 7, 7
	s.after(46).out(". 1:1(0) ack 1 win 502 <nop,nop,TS val 2863312531 ecr 99>", "", "", "acknowledge the peer's SYN")
	s.send(engine.Event{Kind: engine.EventDataOut, Size: 18})
	s.vars.SndNxt, s.vars.Flight = s.iss.Add(19), 18
	s.after(30).out("P. 1:19(18) ack 1 win 502 <nop,nop,TS val 2863312531 ecr 99>", "", "GET / HTTP/1.0\r\n\r\n", "new data")
	s.after(190).in(". 1:1(0) ack 19 win 509 <nop,nop,TS val 99 ecr 2863312531>", "", "")
	s.after(900).in("P. 1449:1465(16) ack 19 win 509 <nop,nop,TS val 100 ecr 2863312531>", engine.NoteOutOfOrder, "\x1b]0;owned\a\u202e<p>")
	s.after(40).out(". 19:19(0) ack 1 win 502 <nop,nop,TS val 2863312532 ecr 100,nop,nop,sack 1449:1465>", engine.NoteDupAck, "", "out of order (RFC 5681 section 3.2)")
	s.after(9).send(engine.Event{Kind: engine.EventDrop, Reason: "bad checksum", Size: 1500})
	s.after(100).in(". 1:1449(1448) ack 19 win 0 <nop,nop,TS val 101 ecr 2863312532>", engine.NoteZeroWindow, "")
	s.send(engine.Event{Kind: engine.EventDataIn, Size: 1464})
	s.vars.RcvNxt = s.irs.Add(1465)
	s.after(300).send(engine.Event{Kind: engine.EventICMP, ICMP: &engine.ICMP{From: netip.MustParseAddr("198.18.7.1"), Type: 3, Code: 4, MTU: 1400}, Reason: "believed"})
	s.after(1).send(engine.Event{Kind: engine.EventLocal, Reason: "send: operation not permitted"})
	s.after(40000).become(engine.FinWait1, "CLOSE")
	s.after(2).out("F. 19:19(0) ack 1465 win 491 <nop,nop,TS val 2863312575 ecr 101>", "", "", "CLOSE")
	s.after(150).state = engine.TimeWait
	s.in("F. 1465:1465(0) ack 20 win 509 <nop,nop,TS val 143 ecr 2863312575>", "", "")
	s.moved(engine.FinWait1, engine.FinWait2, "our FIN is acknowledged")
	s.moved(engine.FinWait2, engine.TimeWait, "the peer's FIN")
	s.after(40).out(". 20:20(0) ack 1466 win 491 <nop,nop,TS val 2863312575 ecr 143>", "", "", "acknowledge the peer's FIN")
	s.after(200000).send(engine.Event{Kind: engine.EventTimerFired, Timer: engine.TimerTimeWait})
	s.become(engine.Closed, "TIME-WAIT is over")
}

// scriptEvent is a segment of ours with any flags.
func scriptEvent(flags segment.Flags) *engine.Event {
	return &engine.Event{Kind: engine.EventSegmentOut, Segment: &segment.Segment{Src: local4, Dst: remote4, Flags: flags}}
}
