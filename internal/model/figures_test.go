package model

import (
	"slices"
	"testing"

	"rawtcp/segment"
)

const (
	fin  = segment.FIN
	syn  = segment.SYN
	rst  = segment.RST
	psh  = segment.PSH
	ackf = segment.ACK
)

func num(n uint32) segment.Seq { return segment.MakeSeq(n) }

// seg is <SEQ=seq><ACK=ack><CTL=flags><DATA=n>.
func seg(seq uint32, ack uint32, flags segment.Flags, n int) *segment.Segment {
	return &segment.Segment{Seq: num(seq), Ack: num(ack), Flags: flags, Window: 1000, Payload: make([]byte, n)}
}

// peer is a TCB in a state with SND.UNA, SND.NXT and RCV.NXT and windows of 1000.
func peer(s State, una, nxt, rcv uint32) TCB {
	t := TCB{State: s, ISS: num(una), SndUna: num(una), SndNxt: num(nxt), SndWnd: 1000, MaxSndWnd: 1000,
		RcvNxt: num(rcv), RcvEdge: num(rcv).Add(1000), IRS: num(rcv).Add(-1), LastAck: num(rcv), RcvWnd: 1000, Credit: true,
		SndWL1: num(rcv), SndWL2: num(una)}
	if s.Synchronized() {
		t.ISS = num(una).Add(-1)
	}
	t.FinSent = slices.Contains([]State{FinWait1, FinWait2, Closing, LastAck, TimeWait}, s)
	t.FinTaken = slices.Contains([]State{CloseWait, Closing, LastAck, TimeWait}, s)
	return t
}

func passive(t TCB) TCB {
	t.Passive = true
	return t
}

// The arrivals of figures 6 to 13 of RFC 9293: who receives what in which state,
// where that leads, and what the figure shows as sent in answer.
var figures = []struct {
	line    string
	at      TCB
	in      *segment.Segment
	state   State
	rcv     uint32 // RCV.NXT, 0 if there is no connection
	replies Replies
	reset   ResetForm
}{
	{"6.2 B", peer(Listen, 300, 300, 0), seg(100, 0, syn, 0), SynReceived, 101, SynAck, ResetForm{}},
	{"6.3 A", peer(SynSent, 100, 101, 0), seg(300, 101, syn|ackf, 0), Established, 301, Ack, ResetForm{}},
	{"6.4 B", passive(peer(SynReceived, 300, 301, 101)), seg(101, 301, ackf, 0), Established, 101, Silence, ResetForm{}},
	{"6.5 B", peer(Established, 301, 301, 101), seg(101, 301, ackf, 10), Established, 111, Ack | AckSoon, ResetForm{}},

	{"7.3 A", peer(SynSent, 100, 101, 0), seg(300, 0, syn, 0), SynReceived, 301, SynAck, ResetForm{}},
	{"7.4 B", peer(SynSent, 300, 301, 0), seg(100, 0, syn, 0), SynReceived, 101, SynAck, ResetForm{}},
	{"7.6 A", peer(SynReceived, 100, 101, 301), seg(300, 101, syn|ackf, 0), Established, 301, Silence | Ack | AckSoon, ResetForm{}},
	{"7.7 B", peer(SynReceived, 300, 301, 101), seg(100, 301, syn|ackf, 0), Established, 101, Silence | Ack | AckSoon, ResetForm{}},

	{"8.3 B", peer(Listen, 300, 300, 0), seg(90, 0, syn, 0), SynReceived, 91, SynAck, ResetForm{}},
	{"8.4 A", peer(SynSent, 100, 101, 0), seg(300, 91, syn|ackf, 0), SynSent, 0, Reset, ResetForm{Seq: num(91)}},
	{"8.5 B", passive(peer(SynReceived, 300, 301, 91)), seg(91, 0, rst, 0), Listen, 91, Silence, ResetForm{}},
	{"8.7 A", peer(SynSent, 100, 101, 0), seg(400, 101, syn|ackf, 0), Established, 401, Ack, ResetForm{}},

	{"9.3 B", peer(Established, 300, 300, 100), seg(400, 0, syn, 0), Established, 100, Ack, ResetForm{}},
	{"9.4 A", peer(SynSent, 400, 401, 0), seg(300, 100, ackf, 0), SynSent, 0, Reset, ResetForm{Seq: num(100)}},
	{"9.5 B", peer(Established, 300, 300, 100), seg(100, 0, rst, 0), Closed, 100, Silence, ResetForm{}},

	{"10.2 A", TCB{}, seg(300, 100, ackf, 10), Closed, 0, Reset, ResetForm{Seq: num(100)}},
	{"10.3 B", peer(Established, 300, 310, 100), seg(100, 0, rst, 0), Closed, 100, Silence, ResetForm{}},

	{"11.2 B", peer(Listen, 700, 700, 0), seg(50, 0, syn, 0), SynReceived, 51, SynAck, ResetForm{}},
	{"11.3 A", peer(Listen, 0, 0, 0), seg(700, 51, syn|ackf, 0), Listen, 0, Reset, ResetForm{Seq: num(51)}},
	{"11.4 B", passive(peer(SynReceived, 700, 701, 51)), seg(51, 0, rst, 0), Listen, 51, Silence, ResetForm{}},

	{"12.2 B", peer(Established, 300, 300, 100), seg(100, 300, fin|ackf, 0), CloseWait, 101, Ack | AckSoon, ResetForm{}},
	{"12.3 A", peer(FinWait1, 100, 101, 300), seg(300, 101, ackf, 0), FinWait2, 300, Silence, ResetForm{}},
	{"12.4 A", peer(FinWait2, 101, 101, 300), seg(300, 101, fin|ackf, 0), TimeWait, 301, Ack | AckSoon, ResetForm{}},
	{"12.5 B", peer(LastAck, 300, 301, 101), seg(101, 301, ackf, 0), Closed, 101, Silence, ResetForm{}},

	{"13.2 A", peer(FinWait1, 100, 101, 300), seg(300, 100, fin|ackf, 0), Closing, 301, Ack | AckSoon, ResetForm{}},
	{"13.3 A", peer(Closing, 100, 101, 301), seg(301, 101, ackf, 0), TimeWait, 301, Silence, ResetForm{}},

	{"5 note 2", peer(FinWait1, 100, 101, 300), seg(300, 101, fin|ackf, 0), TimeWait, 301, Ack | AckSoon, ResetForm{}},
}

// TestFigures holds the model to the figures.
func TestFigures(t *testing.T) {
	for _, f := range figures {
		t.Run(f.line, func(t *testing.T) {
			for o := range Outcomes(&f.at, f.in) {
				if o.After.State != f.state || o.Replies != f.replies || o.Reset != f.reset {
					t.Errorf("%s, %v, %+v; the figure has %s, %v, %+v", o.After.State, o.Replies, o.Reset, f.state, f.replies, f.reset)
				}
				if f.rcv != 0 && o.After.RcvNxt != num(f.rcv) {
					t.Errorf("RCV.NXT is %v, the figure has %d", o.After.RcvNxt, f.rcv)
				}
				break // the others are liberties beside the figure
			}
		})
	}
}

// The arrows of figure 5 that an arriving segment can take, its notes, and the
// aborts of section 3.10.7 that it leaves out.
var edges = map[State][]State{
	Listen:      {SynReceived},
	SynSent:     {SynReceived, Established, Closed},
	SynReceived: {Established, Listen, Closed, CloseWait}, // with FIN, by way of ESTABLISHED
	Established: {CloseWait, Closed},
	FinWait1:    {FinWait2, Closing, TimeWait, Closed},
	FinWait2:    {TimeWait, Closed},
	CloseWait:   {Closed},
	Closing:     {TimeWait, Closed},
	LastAck:     {Closed},
}

// TestEdges walks all flags over numbers around the windows and sees no arrow
// that figure 5 lacks, and none of its arrows unused.
func TestEdges(t *testing.T) {
	used := map[[2]State]bool{}
	for s := Closed; s <= TimeWait; s++ {
		una, nxt := uint32(101), uint32(111)
		if s == SynSent || s == SynReceived {
			nxt = 102
		}
		for _, at := range []TCB{peer(s, una, nxt, 301), passive(peer(s, una, nxt, 301))} {
			for flags := range segment.Flags(256) {
				for _, seq := range []uint32{299, 300, 301, 302, 1300, 1301} {
					for _, ack := range []uint32{una - 1, una, una + 1, nxt - 1, nxt, nxt + 1} {
						in := seg(seq, ack, flags, 1)
						for o := range Outcomes(&at, in) {
							to := o.After.State
							if to != s && !slices.Contains(edges[s], to) {
								t.Fatalf("%s -> %s on %v: %q", s, to, in, Explain(&at, in))
							}
							used[[2]State{s, to}] = true
						}
					}
				}
			}
		}
	}
	for from, tos := range edges {
		for _, to := range tos {
			if !used[[2]State{from, to}] {
				t.Errorf("no segment leads from %s to %s", from, to)
			}
		}
	}
}
