package netlab

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// A lane decides the fate of each frame of one direction. It opens no socket
// and reads no clock, so that its statistics can be tested without either.
//
// admit, pop and next belong to one goroutine; the impairment and the counters
// may be used by any.
type lane struct {
	impairment atomic.Pointer[Impairment] // validated
	random     *rand.Rand
	waiting    schedule
	lineFree   time.Time // when the rate-limited line has sent all it was given
	lastDue    time.Time // the latest time given to a packet that keeps its place
	admitted   uint64    // numbers the frames, for order among equals

	mu       sync.Mutex
	counters Counters
}

// mostWaiting bounds the memory of a lane: about 100 MB of full frames.
const mostWaiting = 1 << 16

// newLane returns a lane whose decisions the seed determines.
func newLane(seed uint64, d Direction, i Impairment) *lane {
	l := &lane{random: rand.New(rand.NewPCG(seed, uint64(d)))}
	l.impairment.Store(&i)
	return l
}

// A draw is all the chance one packet needs. All of it is drawn for every
// packet, so that turning one knob leaves the decisions of the others alone.
type draw struct{ loss, duplicate, corrupt, bit, jitter, reorder float64 }

func (l *lane) draw() draw {
	f := l.random.Float64
	return draw{loss: f(), duplicate: f(), corrupt: f(), bit: f(), jitter: f(), reorder: f()}
}

// admit takes a frame that arrived at now, finishes its checksum in place and
// puts what is to become of it into the schedule. It keeps copies, not the frame.
func (l *lane) admit(now time.Time, frame []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &l.counters
	packet := impairable(frame)
	if packet == nil {
		c.Unharmed++
		l.push(now, frame)
		return
	}
	c.Packets++
	c.Octets += uint64(len(packet))
	c.Largest = max(c.Largest, len(packet))
	if finishChecksum(packet) {
		c.Partial++
	}
	i, d := l.impairment.Load(), l.draw()
	switch {
	case i.Drop != nil && l.unlockedDrop(i, packet):
		c.Dropped++
		return
	case d.loss < i.Loss:
		c.Lost++
		return
	}
	copies := 1
	if d.duplicate < i.Duplicate {
		copies = 2
		c.Duplicated++
	}
	if d.corrupt < i.Corrupt && flipBit(packet, d.bit) {
		c.Corrupted++
	}
	if d.reorder < i.Reorder {
		c.Reordered++
	}
	for range copies {
		l.schedule(now, frame, len(packet), i, d)
	}
}

// unlockedDrop asks the hook without the lock, so that the hook may use the relay.
func (l *lane) unlockedDrop(i *Impairment, packet []byte) bool {
	l.mu.Unlock()
	defer l.mu.Lock()
	return i.Drop(packet)
}

// schedule sends one copy over the line and gives it a time to leave the relay.
func (l *lane) schedule(now time.Time, frame []byte, size int, i *Impairment, d draw) {
	if len(l.waiting) >= mostWaiting {
		l.counters.Overflowed++
		return
	}
	due := now
	if i.Rate > 0 {
		if l.lineFree.Before(now) {
			l.lineFree = now
		}
		if backlog := l.lineFree.Sub(now).Seconds() * float64(i.Rate) / 8; int(backlog)+size > max(i.Queue, size) {
			l.counters.Overflowed++
			return
		}
		l.lineFree = l.lineFree.Add(time.Duration(float64(size) * 8 / float64(i.Rate) * float64(time.Second)))
		due = l.lineFree
	}
	due = due.Add(max(0, i.Delay+time.Duration((2*d.jitter-1)*float64(i.Jitter))))
	if due.Before(l.lastDue) {
		due = l.lastDue
	}
	if d.reorder < i.Reorder {
		due = due.Add(i.ReorderDelay)
	} else {
		l.lastDue = due
	}
	l.push(due, frame)
}

// push copies a frame into the schedule.
func (l *lane) push(due time.Time, frame []byte) {
	l.admitted++
	heap.Push(&l.waiting, waiting{due: due, number: l.admitted, frame: append([]byte(nil), frame...)})
}

// next returns when the next frame is due; false if none waits.
func (l *lane) next() (time.Time, bool) {
	if len(l.waiting) == 0 {
		return time.Time{}, false
	}
	return l.waiting[0].due, true
}

// pop returns the next frame that is due at now; false if none is.
func (l *lane) pop(now time.Time) ([]byte, bool) {
	if due, ok := l.next(); !ok || due.After(now) {
		return nil, false
	}
	return heap.Pop(&l.waiting).(waiting).frame, true
}

// sent notes whether the kernel took a copy.
func (l *lane) sent(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.counters.Refused++
		return
	}
	l.counters.Sent++
}

// A waiting frame leaves at due; among equals the first to come goes first.
type waiting struct {
	due    time.Time
	number uint64
	frame  []byte
}

// A schedule is a heap of waiting frames, the next one first.
type schedule []waiting

func (s schedule) Len() int { return len(s) }
func (s schedule) Less(i, j int) bool {
	if s[i].due.Equal(s[j].due) {
		return s[i].number < s[j].number
	}
	return s[i].due.Before(s[j].due)
}
func (s schedule) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(x any)   { *s = append(*s, x.(waiting)) }
func (s *schedule) Pop() any {
	old := *s
	last := old[len(old)-1]
	old[len(old)-1] = waiting{} // or the frame would not be collected
	*s = old[:len(old)-1]
	return last
}
