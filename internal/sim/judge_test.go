package sim

import (
	"strings"
	"testing"
	"time"

	"rawtcp/engine"
	"rawtcp/segment"
)

// A bench shows the judge events of one connection, made by hand: those of the
// server of a plan with one talk.
type bench struct {
	*testing.T
	h    *host
	e    engine.Event // the next one's base: state and variables
	irs  segment.Seq
	news segment.Segment
	opts segment.OptionSet // that all segments have
}

func newBench(t *testing.T, irs uint32) *bench {
	p := clean(time.Millisecond, 0, 1<<20, 1<<16, 1000)
	w := newWorld(&p, nil)
	b := &bench{T: t, h: w.hosts[len(w.hosts)-1], irs: segment.MakeSeq(irs), opts: segment.HasTimestamps}
	b.e = engine.Event{Conn: 1, Local: w.address(0, serverSide), Remote: w.address(0, clientSide), State: engine.Established}
	b.e.Vars = engine.Vars{ISS: segment.MakeSeq(7), SndUna: segment.MakeSeq(8), SndNxt: segment.MakeSeq(8), SndWnd: 1000,
		IRS: b.irs, RcvNxt: b.irs.Add(1), RcvWnd: 65535, MSS: 1460, Cwnd: 14600, RTO: time.Second}
	return b
}

// in has n octets come in that stand at octet at of what the peer says.
func (b *bench) in(at, n int, note engine.Note) {
	b.news = segment.Segment{Src: b.e.Remote, Dst: b.e.Local, Seq: b.irs.Add(1 + at), Ack: b.e.Vars.SndNxt, Flags: segment.ACK,
		Payload: stream(0, clientSide, at, n)}
	b.tell(engine.EventSegmentIn, note)
}

// out has an ACK go out with SACK blocks, pairs of octets of what the peer says.
func (b *bench) out(blocks ...[2]int) {
	b.news = segment.Segment{Src: b.e.Local, Dst: b.e.Remote, Seq: b.e.Vars.SndNxt, Ack: b.e.Vars.RcvNxt, Flags: segment.ACK, Window: 65535}
	o := &b.news.Options
	o.Set |= segment.HasSACK
	for i, k := range blocks {
		o.SACK[i] = segment.SACKBlock{Start: b.irs.Add(1 + k[0]), End: b.irs.Add(1 + k[1])}
	}
	o.SACKCount = uint8(len(blocks))
	b.tell(engine.EventSegmentOut, engine.NoteDupAck)
}

// syn tells of a SYN or SYN-ACK of one side.
func (b *bench) syn(kind engine.EventKind, seq segment.Seq, flags segment.Flags, note engine.Note) {
	b.news = segment.Segment{Src: b.e.Local, Dst: b.e.Remote, Seq: seq, Ack: b.e.Vars.RcvNxt, Flags: flags, Window: 65535}
	b.tell(kind, note)
}

func (b *bench) tell(kind engine.EventKind, note engine.Note) {
	b.news.Options.Set |= b.opts
	e := b.e
	e.Kind, e.Note, e.Segment = kind, note, &b.news
	b.h.Trace(&e)
}

// begin has the connection appear with octets 10 to 20 of what the peer says.
func (b *bench) begin() {
	b.e.Vars.RcvNxt = b.e.Vars.RcvNxt.Add(20)
	b.in(10, 10, engine.NoteNone)
	b.h.watches[1].maySACK, b.h.watches[1].peerSACK = true, true
}

func (b *bench) want(violation string) {
	b.Helper()
	if got := b.h.w.violation; !strings.HasPrefix(got, violation) || violation == "" && got != "" {
		b.Errorf("the judge says %q, want %q", got, violation)
	}
}

// The first block of a SACK is that of the segment that drew the ACK, also of
// one that was here already, and a D-SACK block goes before it (RFC 2883 section 4).
func TestJudgeOfSACK(t *testing.T) {
	for _, test := range []struct {
		name      string
		duplicate [2]int // comes after 100:200 and 300:400
		blocks    [][2]int
		violation string
	}{
		{"of the duplicate, behind its D-SACK", [2]int{120, 140}, [][2]int{{120, 140}, {100, 200}, {300, 400}}, ""},
		{"of the duplicate, without D-SACK", [2]int{120, 140}, [][2]int{{100, 200}, {300, 400}}, ""},
		{"of the duplicate, which is all of it", [2]int{100, 200}, [][2]int{{100, 200}, {100, 200}, {300, 400}}, ""},
		{"of the arrival before", [2]int{120, 140}, [][2]int{{120, 140}, {300, 400}, {100, 200}}, "I9"},
		{"of the arrival before, without D-SACK", [2]int{120, 140}, [][2]int{{300, 400}, {100, 200}}, "I9"},
		{"of what never came", [2]int{120, 140}, [][2]int{{120, 140}, {100, 201}}, "I9"},
		{"of old data", [2]int{2, 4}, [][2]int{{2, 4}, {300, 400}, {100, 200}}, ""},
		{"of no duplicate at all", [2]int{150, 250}, [][2]int{{150, 250}, {100, 200}}, "I9"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, 1<<31)
			b.begin()
			b.in(100, 100, engine.NoteOutOfOrder)
			b.in(300, 100, engine.NoteOutOfOrder)
			b.in(test.duplicate[0], test.duplicate[1]-test.duplicate[0], engine.NoteDuplicate)
			b.out(test.blocks...)
			b.want(test.violation)
		})
	}
}

// What arrives beyond a hole has to be told before all is quiet again, and an ACK
// without SACK blocks does not tell it.
func TestJudgeOfSilence(t *testing.T) {
	for told, violation := range map[bool]string{true: "", false: "I9"} {
		b := newBench(t, 1<<31)
		b.begin()
		x := b.h.watches[1]
		x.guessed = false
		b.in(100, 100, engine.NoteOutOfOrder)
		b.out()
		if told {
			b.out([2]int{100, 200})
		}
		b.h.judgeReport(x)
		b.want(violation)
		b.h.judgeReport(x) // once is enough
		b.want(violation)
	}
}

// What was agreed on with a connection that appears complete is guessed by its first
// segment, but not where a box may have written options into the handshake.
func TestJudgeOfUnseenHandshakes(t *testing.T) {
	for tainted, violation := range map[bool]string{true: "", false: "I16"} {
		b := newBench(t, 1<<31)
		b.h.w.tainted = tainted
		b.begin()
		b.opts = 0
		b.out()
		b.want(violation)
	}
}

// The SYN that was answered says what is agreed on, and no copy of it.
func TestJudgeOfRepeatedSYN(t *testing.T) {
	for _, note := range []engine.Note{engine.NoteDuplicate, engine.NoteUnacceptable, engine.NotePAWS} {
		for stamps, violation := range map[segment.OptionSet]string{segment.HasTimestamps: "", 0: "I16"} {
			b := newBench(t, 1<<31)
			b.e.State = engine.SynReceived
			b.syn(engine.EventSegmentIn, b.irs, segment.SYN, engine.NoteNone)
			b.syn(engine.EventSegmentOut, b.e.Vars.ISS, segment.SYN|segment.ACK, engine.NoteNone)
			b.opts = 0
			b.syn(engine.EventSegmentIn, b.irs, segment.SYN, note)
			b.opts = stamps
			b.out()
			b.want(violation)
		}
	}
}

// A connection that appears complete, from a cookie, has its window from the
// segment that completed it, wherever its numbers are (RFC 9293 section 3.10.7.4).
func TestJudgeOfWindowUpdates(t *testing.T) {
	for _, irs := range []uint32{1, 1<<31 - 5, 1 << 31, 1<<32 - 5} {
		for at, violation := range map[int]string{20: "", 5: "I19"} {
			b := newBench(t, irs)
			b.begin()
			b.e.Vars.SndWnd = 50878
			b.in(at, 20, engine.NoteNone)
			b.want(violation)
		}
	}
}

// A duplicate of before the connection is one of nothing, unless there was another
// one between the same addresses.
func TestJudgeOfDuplicatesFromBefore(t *testing.T) {
	for again, violation := range map[bool]string{true: "", false: "I9"} {
		b := newBench(t, 1<<31)
		if p := b.h.w.plan; again {
			p.Talks = append(p.Talks, p.Talks[0])
		}
		b.begin()
		b.out([2]int{-100, -50})
		b.want(violation)
	}
}

// New data that leaves at the pacing rate is right, also if a burst comes first, and
// what is faster for longer is not.
func TestJudgeOfPacing(t *testing.T) {
	for gap, violation := range map[time.Duration]string{10 * time.Millisecond: "", 5 * time.Millisecond: "I29"} {
		b := newBench(t, 1)
		b.h.w.plan.Talks[0].Conf[serverSide].PacingRate = 100_000
		b.h.w.ends[0][serverSide].sent = 100_000
		b.begin()
		b.e.Vars.SndWnd, b.e.Vars.Cwnd = 1<<20, 1<<20
		for at := 0; at < 40_000; at += 1000 {
			b.news = segment.Segment{Src: b.e.Local, Dst: b.e.Remote, Seq: b.e.Vars.ISS.Add(1 + at), Ack: b.e.Vars.RcvNxt, Flags: segment.ACK,
				Window: 65535, Payload: stream(0, serverSide, at, 1000)}
			b.e.Vars.SndNxt = b.e.Vars.ISS.Add(1 + at + 1000)
			b.e.Vars.Flight = at + 1000
			if at > 5000 {
				b.e.At = b.e.At.Add(gap)
			}
			b.h.watches[1].maxWnd = 1 << 20
			b.tell(engine.EventSegmentOut, engine.NoteNone)
		}
		b.want(violation)
	}
}
