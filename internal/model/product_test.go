package model_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"runtime/debug"
	"slices"
	"testing"

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
	tsClasses
)

// A cell is one segment of the product.
type cell struct {
	flags                  segment.Flags
	seq, ack, length, time int
}

func (c cell) String() string {
	return fmt.Sprintf("flags %v, SEQ %s, ACK %s, %d octets, timestamp %s", c.flags, seqClasses[c.seq].name,
		ackClasses[c.ack].name, lengths[c.length], [...]string{"ok", "old", "none"}[c.time])
}

// cells yields the product.
func cells(yield func(cell) bool) {
	for flags := range segment.Flags(256) {
		for seq := range seqClasses {
			for ack := range ackClasses {
				for length := range lengths {
					for time := range tsClasses {
						if !yield(cell{flags, seq, ack, length, time}) {
							return
						}
					}
				}
			}
		}
	}
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

// compareProduct runs the cells of a scene and counts them in tally.
func compareProduct(t *testing.T, sc *scene, place int, tally *tally) {
	b := sc.bench(place)
	b.begin()
	sc.talk(b)
	if b.err != nil {
		t.Fatal(b.err)
	}
	kept := *b
	unread := kept.unreadText()
	var s segment.Segment
	for c := range cells {
		if !tally.draw() {
			continue
		}
		b.again(&kept)
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
	clear(y.kinds)
	clear(y.example)
}

// With -full every scene is tried in every cell at both places, and many more walks.
var full = flag.Bool("full", false, "compare all cells of all scenes")

// sampleOf is how many cells there are to each that is tried. The eleven states
// are tried in all of them, but under the race detector.
func (sc *scene) sampleOf(place int) int {
	every := 1
	if raceDetector {
		every = 40
	}
	switch {
	case sc.base || *full:
		return every
	case place == 0:
		return 0
	}
	return 4 * every
}

// TestProduct compares the engine with the model in every cell: the eleven states
// at both places of the sequence space, and further scenes where it wraps.
func TestProduct(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1000)) // every cell makes a stack and leaves it
	tally := tally{dice: rand.New(rand.NewPCG(1, 2)), kinds: map[string]int{}, example: map[string]string{}}
	ran := 0
	for i := range scenes {
		t.Run(scenes[i].name, func(t *testing.T) {
			for place := range places {
				if tally.every = scenes[i].sampleOf(place); tally.every > 0 {
					compareProduct(t, &scenes[i], place, &tally)
				}
			}
			tally.report(t)
			ran++
		})
	}
	t.Logf("%d cells were compared", tally.cells)
	for _, d := range departures {
		t.Logf("%d segments departed: %s (%s)", d.seen, d.name, d.section)
		if d.seen == 0 && ran == len(scenes) && !raceDetector && !t.Failed() {
			t.Errorf("nothing departs any more: %s", d.name)
		}
	}
}
