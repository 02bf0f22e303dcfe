package model_test

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"rawtcp/internal/model"
	"rawtcp/segment"
)

// A walk is a conversation in which the peer says anything, near to what is due,
// and the application does what it likes. The model goes along.
type walk struct {
	*bench
	dice   *rand.Rand
	closed bool
}

const steps = 14

// With -full there are many more walks.
var full = flag.Bool("full", false, "take 40000 walks from each scene")

// walks is how many walks begin in each scene.
func walks() int {
	switch {
	case *full:
		return 40_000
	case raceDetector:
		return 300
	}
	return 2000
}

// TestWalk holds every step of many walks against the model: what one segment
// leaves behind, another brings to light.
func TestWalk(t *testing.T) {
	total := 0
	for i := range scenes {
		sc := &scenes[i]
		if sc.state < model.Established {
			continue
		}
		t.Run(sc.name, func(t *testing.T) {
			b := sc.bench(1)
			b.begin()
			sc.talk(b)
			kept := *b
			for seed := range walks() {
				b.again(&kept)
				b.late, b.inbox = true, kept.unreadText()
				w := walk{bench: b, dice: rand.New(rand.NewPCG(uint64(seed), 3)), closed: b.tcb.NoReader}
				total += w.take(steps)
				if b.err != nil {
					t.Fatalf("walk %d: %v", seed, b.err)
				}
			}
		})
	}
	t.Logf("%d steps were compared", total)
}

// take takes n steps, or fewer if the connection ends.
func (w *walk) take(n int) (taken int) {
	for range n {
		if w.err != nil || w.c == nil || w.tcb.State == model.Closed {
			break
		}
		w.step()
		taken++
	}
	return taken
}

func (w *walk) step() {
	t := &w.tcb
	switch n := w.dice.IntN(20); {
	case n < 14:
		w.judge(w.segment())
	case n < 16 && !t.NoReader && w.unread > 0:
		w.read(1 + w.dice.IntN(w.unread))
	case n < 18:
		w.advance(time.Duration(w.dice.IntN(100)) * time.Millisecond)
	case n == 18 && !w.closes():
		w.write(1 + w.dice.IntN(600))
	case n == 19 && !w.closes() && w.toSend == 0:
		w.closed = true
		w.closeWrite()
	}
}

// closes reports whether the application wrote its last.
func (w *walk) closes() bool {
	return w.closed || w.tcb.FinSent || w.tcb.State != model.Established && w.tcb.State != model.CloseWait
}

// oneOf returns one of the values.
func oneOf[T any](w *walk, values ...T) T { return values[w.dice.IntN(len(values))] }

func (w *walk) segment() *segment.Segment {
	t := &w.tcb
	s := &segment.Segment{Src: them, Dst: us, Window: uint16(w.dice.IntN(2) * w.dice.IntN(peerWindow)),
		Flags: oneOf(w, ackf, ackf, ackf, ackf, ackf|psh, ackf|psh, ackf|fin, ackf|fin, ackf|segment.URG, rst, syn, syn|ackf, 0)}
	if s.Flags == rst && w.dice.IntN(4) != 0 {
		s.Flags = ackf
	}
	outstanding := t.SndNxt.Sub(t.SndUna)
	s.Ack = oneOf(w, t.SndNxt, t.SndNxt, t.SndUna, t.SndUna, t.SndUna.Add(w.dice.IntN(outstanding+1)), t.SndUna.Add(-20), t.SndNxt.Add(1))
	room := max(0, t.RcvEdge.Sub(t.RcvNxt))
	s.Seq = oneOf(w, t.RcvNxt, t.RcvNxt, t.RcvNxt, t.RcvNxt.Add(w.dice.IntN(room+1)), t.RcvNxt.Add(w.dice.IntN(60)),
		t.RcvNxt.Add(-w.dice.IntN(60)), t.RcvEdge.Add(-1), t.RcvEdge)
	s.Payload = text(s.Seq, oneOf(w, 0, 0, 1, w.dice.IntN(60), w.dice.IntN(1200)), w.dice.IntN(2))
	w.peerTS += uint32(w.dice.IntN(3))
	w.options(s, oneOf(w, w.peerTS, w.peerTS, w.peerTS, w.peerTS, w.peerTS, w.peerTS-4, 0))
	return s
}
