package model_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"testing"

	"rawtcp/engine"
	"rawtcp/internal/model"
	"rawtcp/segment"
)

// TestScenes judges every segment of the conversations themselves.
func TestScenes(t *testing.T) {
	for _, sc := range scenes {
		for place := range places {
			t.Run(sc.name, func(t *testing.T) {
				b := sc.bench(place)
				b.begin()
				sc.talk(b)
				if b.err != nil {
					t.Fatal(b.err)
				}
				if b.tcb.State != sc.state || b.c != nil && b.c.State().String() != sc.state.String() {
					t.Fatalf("the talk leads to %s", b.tcb.State)
				}
			})
		}
	}
}

// A class is a place for a number of the segment under test.
type class struct {
	name string
	at   func(*model.TCB) segment.Seq
}

// edge is the right edge of the window, or of one that the numbers of a state
// without a window are laid around.
func edge(t *model.TCB) segment.Seq {
	if t.State <= model.SynSent {
		return t.RcvNxt.Add(recvWindow)
	}
	return t.RcvEdge
}

var seqClasses = []class{
	{"=RCV.NXT", func(t *model.TCB) segment.Seq { return t.RcvNxt }},
	{"old", func(t *model.TCB) segment.Seq { return t.RcvNxt.Add(-5000) }},
	{"left+1", func(t *model.TCB) segment.Seq { return t.RcvNxt.Add(1) }},
	{"left-1", func(t *model.TCB) segment.Seq { return t.RcvNxt.Add(-1) }},
	{"in", func(t *model.TCB) segment.Seq { return t.RcvNxt.Add(edge(t).Sub(t.RcvNxt) / 2) }},
	{"right-1", func(t *model.TCB) segment.Seq { return edge(t).Add(-1) }},
	{"=right", func(t *model.TCB) segment.Seq { return edge(t) }},
	{"right+1", func(t *model.TCB) segment.Seq { return edge(t).Add(1) }},
	{"far", func(t *model.TCB) segment.Seq { return t.RcvNxt.Add(1 << 30) }},
	{"wrap", func(t *model.TCB) segment.Seq { return t.RcvNxt.Add(1 << 31) }},
}

var ackClasses = []class{
	{"=SND.NXT", func(t *model.TCB) segment.Seq { return t.SndNxt }},
	{"=SND.UNA", func(t *model.TCB) segment.Seq { return t.SndUna }},
	{"old", func(t *model.TCB) segment.Seq { return t.SndUna.Add(-t.MaxSndWnd - 1) }},
	{"oldest", func(t *model.TCB) segment.Seq { return t.SndUna.Add(-t.MaxSndWnd) }},
	{"SND.UNA-1", func(t *model.TCB) segment.Seq { return t.SndUna.Add(-1) }},
	{"between", func(t *model.TCB) segment.Seq { return t.SndUna.Add(max(t.SndNxt.Sub(t.SndUna)-1, 0)) }},
	{"SND.NXT+1", func(t *model.TCB) segment.Seq { return t.SndNxt.Add(1) }},
	{"far", func(t *model.TCB) segment.Seq { return t.SndNxt.Add(1 << 30) }},
}

var lengths = []int{0, 1, recvWindow + 300}

// The timestamps of the segment under test, against TS.Recent.
const (
	tsOK = iota
	tsOld
	tsNone
)

// A cell is one segment of the product: see the package's comment.
type cell struct {
	flags                  segment.Flags
	seq, ack, length, time int
}

func (c cell) String() string {
	return fmt.Sprintf("flags %v, SEQ %s, ACK %s, %d octets, timestamp %s", c.flags, seqClasses[c.seq].name,
		ackClasses[c.ack].name, lengths[c.length], [...]string{"ok", "old", "none"}[c.time])
}

// cells yields the product for the state of b. Classes whose numbers are the same
// in that state are one, and so are the timestamps where there are none.
func (b *bench) cells(yield func(cell) bool) {
	seqs, acks, times := distinct(seqClasses, &b.tcb), distinct(ackClasses, &b.tcb), []int{tsOK, tsOld, tsNone}
	if b.cfg.Timestamps == engine.Off {
		times = []int{tsNone}
	}
	for flags := range segment.Flags(256) {
		for _, seq := range seqs {
			for _, ack := range acks {
				for length := range lengths {
					for _, time := range times {
						if !yield(cell{flags, seq, ack, length, time}) {
							return
						}
					}
				}
			}
		}
	}
}

// distinct are the classes whose numbers no earlier class has at t.
func distinct(classes []class, t *model.TCB) (indices []int) {
	seen := map[segment.Seq]bool{}
	for i := range classes {
		if at := classes[i].at(t); !seen[at] {
			seen[at] = true
			indices = append(indices, i)
		}
	}
	return indices
}

// fill makes the segment of a cell for the state of b.
func (c cell) fill(b *bench, s *segment.Segment) {
	t := &b.tcb
	*s = segment.Segment{Src: them, Dst: us, Flags: c.flags, Window: segWindow,
		Seq: seqClasses[c.seq].at(t), Ack: ackClasses[c.ack].at(t)}
	if c.flags.Has(segment.URG) {
		s.Urgent = 1
	}
	s.Payload = text(s.Seq, lengths[c.length], 1)
	b.options(s, [...]uint32{b.peerTS + 5, b.peerTS - 5, 0}[c.time])
}

// try judges a cell, and what it left behind.
func (b *bench) try(s *segment.Segment, unread []byte) {
	b.judge(s)
	switch {
	case b.err != nil || b.c == nil && b.l == nil:
		return
	case b.c == nil: // what the handshake's last segment meets
		b.judge(b.segment(ackf, 0, b.isn.Add(1)))
	case s.Len() > 0 && b.tcb.State.Synchronized() && !b.tcb.FinTaken && !b.tcb.NoReader:
		unread = append(unread[:len(unread):len(unread)], octets(b.delivered)...)
		b.fill()
	}
	if b.err == nil && b.owed {
		b.wantAck()
	}
	if b.err == nil && b.c != nil {
		b.finish(unread)
	}
}

// fill sends all the text that the window has room for, so that text and a FIN
// which lie beyond a hole come to light.
func (b *bench) fill() {
	s := b.segment(ackf, max(1, b.tcb.RcvEdge.Sub(b.tcb.RcvNxt)), b.tcb.SndUna)
	b.options(s, b.peerTS+5)
	b.judge(s)
}

// reach talks until the state of the scene is there.
func (sc *scene) reach(t *testing.T, place int) *bench {
	b := sc.bench(place)
	b.begin()
	sc.talk(b)
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b
}

// compareProduct runs the cells of a scene and counts them in tally. The state is
// made once and put back for every cell.
func compareProduct(t *testing.T, sc *scene, place int, tally *tally) {
	b := sc.reach(t, place)
	kept := b.keep()
	unread := kept.unreadText()
	var s segment.Segment
	for c := range kept.cells {
		if !tally.draw() {
			continue
		}
		b.restore(kept)
		c.fill(b, &s)
		b.try(&s, unread)
		if b.err != nil {
			tally.differ(c, b)
		}
	}
}

// A tally counts cells, and differences by their kind.
type tally struct {
	cells, every int
	dice         *rand.Rand
	kinds        map[string]int
	example      map[string]string
}

func newTally(every int) *tally {
	return &tally{every: every, dice: rand.New(rand.NewPCG(1, 2)), kinds: map[string]int{}, example: map[string]string{}}
}

// draw reports whether a cell is in the sample, and counts it.
func (y *tally) draw() bool {
	if y.every > 1 && y.dice.IntN(y.every) != 0 {
		return false
	}
	y.cells++
	return true
}

var numbers = regexp.MustCompile(`\d+`)

func (y *tally) differ(c cell, b *bench) {
	kind := numbers.ReplaceAllString(fmt.Sprint(c.flags&(fin|syn|rst|ackf), c.time, b.why), "#")
	y.kinds[kind]++
	if y.example[kind] == "" {
		y.example[kind] = fmt.Sprintf("%v: %v", c, b.err)
	}
}

// report fails t with one example of each kind.
func (y *tally) report(t *testing.T) {
	for _, kind := range slices.Sorted(maps.Keys(y.kinds)) {
		t.Errorf("%d cells as this one: %s", y.kinds[kind], y.example[kind])
	}
}

// Under the race detector, which is there for what runs at once and makes all of
// this ten times slower, one cell of so many is tried.
const raceSample = 100

// TestProduct compares the engine with the model in every cell of every scene at
// both places of the sequence space.
func TestProduct(t *testing.T) {
	gc := debug.SetGCPercent(1000) // little is live
	every, cells, ran := 1, atomic.Int64{}, atomic.Int64{}
	if raceDetector {
		every = raceSample
	}
	for i := range scenes {
		t.Run(scenes[i].name, func(t *testing.T) {
			t.Parallel()
			tally := newTally(every)
			for place := range places {
				compareProduct(t, &scenes[i], place, tally)
			}
			tally.report(t)
			cells.Add(int64(tally.cells))
			ran.Add(1)
		})
	}
	t.Cleanup(func() {
		debug.SetGCPercent(gc)
		t.Logf("%d cells were compared, one of %d", cells.Load(), every)
		reportDepartures(t, int(ran.Load()) == len(scenes) && !raceDetector)
	})
}

// reportDepartures fails t for one that was not seen where all were to be.
func reportDepartures(t *testing.T, all bool) {
	for _, d := range departures {
		t.Logf("%d segments departed: %s (%s)", d.seen.Load(), d.name, d.section)
		if d.seen.Load() == 0 && all && !t.Failed() {
			t.Errorf("nothing departs any more: %s", d.name)
		}
	}
}

// TestRestore holds an engine that was put back against one made anew by the same
// calls, after cells of all kinds.
func TestRestore(t *testing.T) {
	for i := range scenes {
		t.Run(scenes[i].name, func(t *testing.T) {
			b, anew := scenes[i].reach(t, 1), scenes[i].reach(t, 1)
			kept, calls, tally := b.keep(), *anew, newTally(2000)
			unread := kept.unreadText()
			var s segment.Segment
			for c := range kept.cells {
				if !tally.draw() {
					continue
				}
				b.restore(kept)
				anew.again(&calls)
				c.fill(b, &s)
				b.try(&s, unread)
				anew.try(&s, unread)
				if got, want := b.shown(), anew.shown(); got != want {
					t.Fatalf("%v: put back it is\n%s\nand anew\n%s", c, got, want)
				}
			}
		})
	}
}

// shown is all that can be seen of the engine.
func (b *bench) shown() string {
	text := fmt.Sprintf("%v %+v %v %v %+v", b.err, b.tcb, b.out, b.stack.Deadline(), b.stack.Counters())
	if b.c != nil {
		text += fmt.Sprintf(" %+v", b.c.Info(b.now))
	}
	return text
}
