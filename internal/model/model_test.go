package model

import (
	"strings"
	"testing"

	"rawtcp/segment"
)

// first is the outcome without liberties.
func first(t TCB, in *segment.Segment) Outcome {
	for o := range Outcomes(&t, in) {
		return *o
	}
	panic("no outcome")
}

func stamped(s *segment.Segment, val uint32) *segment.Segment {
	s.Options.Set |= segment.HasTimestamps
	s.Options.TSVal = val
	return s
}

func withTS(t TCB, recent uint32) TCB {
	t.TS, t.TSOffer, t.TSRecent = true, true, recent
	return t
}

func change(t TCB, f func(*TCB)) TCB {
	f(&t)
	return t
}

// TestRules has one line for each rule that the figures do not show.
func TestRules(t *testing.T) {
	estab := peer(Established, 101, 111, 301) // window 301..1300, 101..110 outstanding
	tests := []struct {
		name      string
		at        TCB
		in        *segment.Segment
		state     State
		rcv       uint32
		una       uint32
		delivered int
		replies   Replies
		ending    Endings
	}{
		{"RST in the window", estab, seg(302, 0, rst, 0), Established, 301, 101, 0, Ack, NoError},
		{"RST behind the window", estab, seg(1301, 0, rst, 0), Established, 301, 101, 0, Silence, NoError},
		{"RST before the window with text in it", estab, seg(300, 0, rst, 5), Established, 301, 101, 0, Silence, NoError},
		{"RST on the mark with text", estab, seg(301, 0, rst, 5), Closed, 301, 101, 0, Silence, WasReset},
		{"RST on the mark, no window", change(estab, func(t *TCB) { t.RcvEdge = t.RcvNxt }), seg(301, 0, rst, 0), Closed, 301, 101, 0, Silence, WasReset},
		{"RST in TIME-WAIT", peer(TimeWait, 101, 101, 301), seg(301, 0, rst, 0), TimeWait, 301, 101, 0, Silence, NoError},
		{"RST in SYN-RECEIVED, active", peer(SynReceived, 101, 102, 301), seg(301, 0, rst, 0), Closed, 301, 101, 0, Silence, Refused},
		{"RST in SYN-SENT without ACK", peer(SynSent, 101, 102, 0), seg(0, 0, rst, 0), SynSent, 0, 101, 0, Silence, NoError},
		{"RST in SYN-SENT", peer(SynSent, 101, 102, 0), seg(0, 102, rst|ackf, 0), Closed, 0, 101, 0, Silence, Refused},
		{"RST in SYN-SENT with a wrong ACK", peer(SynSent, 101, 102, 0), seg(0, 103, rst|ackf, 0), SynSent, 0, 101, 0, Silence, NoError},
		{"SYN on the mark", estab, seg(301, 101, syn|ackf, 0), Established, 301, 101, 0, Ack, NoError},
		{"SYN, no credit", change(estab, func(t *TCB) { t.Credit = false }), seg(301, 101, syn|ackf, 0), Established, 301, 101, 0, Silence, NoError},
		{"no ACK bit", estab, seg(301, 0, psh, 5), Established, 301, 101, 0, Silence, NoError},
		{"ACK of what was not sent", estab, seg(301, 112, ackf, 5), Established, 301, 101, 0, Ack, NoError},
		{"ACK of some", estab, seg(301, 105, ackf, 0), Established, 301, 105, 0, Silence, NoError},
		{"ACK as old as can be", change(estab, func(t *TCB) { t.SndUna = num(5000); t.SndNxt = num(5000) }), seg(301, 4000, ackf, 5), Established, 306, 5000, 5, Ack | AckSoon, NoError},
		{"ACK too old", change(estab, func(t *TCB) { t.SndUna = num(5000); t.SndNxt = num(5000) }), seg(301, 3999, ackf, 5), Established, 301, 5000, 0, Ack, NoError},
		{"wrong ACK in SYN-RECEIVED", peer(SynReceived, 101, 102, 301), seg(301, 101, ackf, 5), SynReceived, 301, 101, 0, Reset, NoError},
		{"text that began earlier", estab, seg(299, 101, ackf, 5), Established, 304, 101, 3, Ack | AckSoon, NoError},
		{"text after a hole", estab, seg(302, 101, ackf, 5), Established, 301, 101, 0, Ack, NoError},
		{"text beyond the window", estab, seg(301, 101, ackf, 1005), Established, 1301, 101, 1000, Ack | AckSoon, NoError},
		{"FIN beyond the window", estab, seg(301, 101, fin|ackf, 1000), Established, 1301, 101, 1000, Ack | AckSoon, NoError},
		{"FIN at the end of the window", estab, seg(301, 101, fin|ackf, 999), CloseWait, 1301, 101, 999, Ack | AckSoon, NoError},
		{"FIN after a hole", estab, seg(302, 101, fin|ackf, 5), Established, 301, 101, 0, Ack, NoError},
		{"text in CLOSE-WAIT", peer(CloseWait, 101, 111, 301), seg(301, 101, ackf, 5), CloseWait, 301, 101, 0, Silence | Ack | AckSoon, NoError},
		{"ACK of the text but not of the FIN", peer(FinWait1, 101, 111, 301), seg(301, 110, ackf, 0), FinWait1, 301, 110, 0, Silence, NoError},
		{"text for nobody", change(peer(FinWait2, 101, 101, 301), func(t *TCB) { t.NoReader = true }), seg(301, 101, ackf, 5), Closed, 301, 101, 0, Reset, NoError | WasReset | Aborted},
		{"window probe", change(estab, func(t *TCB) { t.RcvEdge = t.RcvNxt }), seg(301, 105, ackf, 1), Established, 301, 101, 0, Ack, NoError},
		{"keep-alive", estab, seg(300, 101, ackf, 0), Established, 301, 101, 0, Ack, NoError},
		{"text on the SYN,ACK", peer(SynSent, 101, 102, 0), seg(300, 102, syn|ackf, 5), Established, 306, 102, 5, Ack | AckSoon, NoError},
		{"SYN again", passive(peer(SynReceived, 101, 102, 301)), seg(300, 0, syn, 0), SynReceived, 301, 101, 0, Ack | SynAck, NoError},
		{"SYN in the window of a passive open", passive(peer(SynReceived, 101, 102, 301)), seg(301, 0, syn, 0), Listen, 301, 101, 0, Silence, NoError},
		{"SYN in the window of an active open", peer(SynReceived, 101, 102, 301), seg(301, 0, syn, 0), SynReceived, 301, 101, 0, Ack, NoError},
		{"SYN with FIN in LISTEN", peer(Listen, 101, 101, 0), seg(300, 0, syn|fin, 0), Listen, 0, 101, 0, Silence, NoError},
		{"no timestamp", withTS(estab, 50), seg(301, 105, ackf, 5), Established, 301, 101, 0, Silence, NoError},
		{"old timestamp", withTS(estab, 50), stamped(seg(301, 105, ackf, 5), 49), Established, 301, 101, 0, Ack, NoError},
		{"old timestamp on a RST", withTS(estab, 50), stamped(seg(301, 0, rst, 0), 49), Closed, 301, 101, 0, Silence, WasReset},
		{"RST without timestamp", withTS(estab, 50), seg(301, 0, rst, 0), Closed, 301, 101, 0, Silence, WasReset},
		{"timestamp across 2^31", withTS(estab, 0x7fffffff), stamped(seg(301, 105, ackf, 5), 0x80000001), Established, 306, 105, 5, Ack | AckSoon, NoError},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := first(test.at, test.in)
			n := 0
			for _, d := range o.Delivered {
				n += len(d.Data)
			}
			if o.After.State != test.state || o.After.RcvNxt != num(test.rcv) || o.After.SndUna != num(test.una) ||
				n != test.delivered || o.Replies != test.replies || o.Ending != test.ending {
				t.Errorf("%s, RCV.NXT %v, SND.UNA %v, %d octets, %v, ending %b: %q", o.After.State, o.After.RcvNxt,
					o.After.SndUna, n, o.Replies, o.Ending, Explain(&test.at, test.in)[0])
			}
		})
	}
}

// TestTimestampRecorded is RFC 7323 section 4.3 with figures of its two examples.
func TestTimestampRecorded(t *testing.T) {
	at := withTS(peer(Established, 101, 101, 301), 1)
	for _, step := range []struct {
		in     *segment.Segment
		recent uint32
	}{
		{stamped(seg(301, 101, ackf, 10), 1), 1}, // A
		{stamped(seg(321, 101, ackf, 10), 3), 1}, // C, out of order
		{stamped(seg(311, 101, ackf, 10), 2), 2}, // B fills the hole
		{stamped(seg(341, 101, ackf, 10), 5), 2}, // E
		{stamped(seg(331, 101, ackf, 10), 4), 4}, // D
	} {
		at = first(at, step.in).After
		at.LastAck = at.RcvNxt // every segment is acknowledged
		if at.TSRecent != step.recent {
			t.Errorf("TS.Recent is %d after TSval=%d, want %d", at.TSRecent, step.in.Options.TSVal, step.recent)
		}
	}
	if at.RcvNxt != num(351) {
		t.Errorf("RCV.NXT is %v", at.RcvNxt)
	}
}

// TestFirstOctetWins overlaps held text from both sides.
func TestFirstOctetWins(t *testing.T) {
	at := peer(Established, 101, 101, 301)
	for _, step := range []struct {
		seq  uint32
		text string
	}{{303, "CD"}, {308, "HI"}, {302, "xxxxEFxx"}} {
		in := seg(step.seq, 101, ackf, 0)
		in.Payload = []byte(step.text)
		at = first(at, in).After
	}
	in := seg(301, 101, ackf, 0)
	in.Payload = []byte("A")
	o := first(at, in)
	var got strings.Builder
	for _, d := range o.Delivered {
		got.Write(d.Data)
	}
	if want := "AxCDxEFHI"; got.String() != want {
		t.Errorf("%q, want %q", got.String(), want)
	}
}

// TestTimeWaitReopens is the list of RFC 6191 section 2.
func TestTimeWaitReopens(t *testing.T) {
	old := change(peer(TimeWait, 101, 101, 301), func(t *TCB) { t.Listener, t.TSOffer = true, true })
	for _, test := range []struct {
		name string
		at   TCB
		in   *segment.Segment
		want State
	}{
		{"later timestamp", withTS(old, 50), stamped(seg(5, 0, syn, 0), 51), SynReceived},
		{"same timestamp, higher number", withTS(old, 50), stamped(seg(301, 0, syn, 0), 50), SynReceived},
		{"same timestamp, the number of the FIN", withTS(old, 50), stamped(seg(300, 0, syn, 0), 50), TimeWait},
		{"earlier timestamp, higher number", withTS(old, 50), stamped(seg(301, 0, syn, 0), 49), TimeWait},
		{"no timestamp now, higher number", withTS(old, 50), seg(301, 0, syn, 0), SynReceived},
		{"no timestamp before", old, stamped(seg(5, 0, syn, 0), 1), SynReceived},
		{"none at all, higher number", old, seg(301, 0, syn, 0), SynReceived},
		{"none at all, lower number", old, seg(300, 0, syn, 0), TimeWait},
		{"nobody listens", change(old, func(t *TCB) { t.Listener = false }), seg(301, 0, syn, 0), TimeWait},
		{"SYN,ACK", old, seg(301, 101, syn|ackf, 0), TimeWait},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := first(test.at, test.in).After.State; got != test.want {
				t.Errorf("%s, want %s: %q", got, test.want, Explain(&test.at, test.in)[0])
			}
		})
	}
}

// TestLiberties counts what may follow where a standard leaves a choice.
func TestLiberties(t *testing.T) {
	estab := peer(Established, 101, 111, 301)
	for _, test := range []struct {
		name string
		at   TCB
		in   *segment.Segment
		want int
	}{
		{"none", estab, seg(301, 101, ackf, 5), 1},
		{"a segment around the window", estab, seg(300, 101, ackf, 1005), 3},
		{"a refused segment, the limiter, and its timestamp", withTS(estab, 50), stamped(seg(300, 101, ackf, 0), 51), 4},
		{"an ACK with a window probe", change(estab, func(t *TCB) { t.RcvEdge = t.RcvNxt }), seg(301, 105, ackf, 1), 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := 0
			for range Outcomes(&test.at, test.in) {
				n++
			}
			if n != test.want || len(Explain(&test.at, test.in)) != n {
				t.Errorf("%d outcomes, want %d", n, test.want)
			}
		})
	}
}
