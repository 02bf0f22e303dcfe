package puppet

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A schedule is what senders made of a pace in virtual time.
type schedule struct {
	*testing.T
	pace   *pace
	began  time.Time
	mu     sync.Mutex
	left   []time.Duration
	waited []time.Duration // of the answers
}

// inSchedule has senders use a pace, side by side, and checks what came of it.
func inSchedule(t *testing.T, rate int, senders ...func(*schedule)) *schedule {
	s := &schedule{T: t}
	synctest.Test(t, func(t *testing.T) {
		s.began = time.Now()
		s.pace = newPace(rate, s.now)
		var group sync.WaitGroup
		for _, send := range senders {
			group.Go(func() { send(s) })
		}
		group.Wait()
	})
	slices.Sort(s.left)
	for i := range s.left[min(rate, len(s.left)):] {
		if gap := s.left[i+rate] - s.left[i]; gap < time.Second {
			t.Fatalf("%d packets left within %v", rate+1, gap)
		}
	}
	if p := s.pace; p.leaving != 0 || p.kept != 0 || len(p.queue) != 0 {
		t.Errorf("all have left, and the pace holds %d to leave, %d kept, %d in the queue", p.leaving, p.kept, len(p.queue))
	}
	return s
}

func (s *schedule) now() time.Duration { return time.Since(s.began) }

// wait is that of a stage.
func (s *schedule) wait(d time.Duration, news <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-news:
	}
	return true
}

// send lets n packets leave that were allowed to.
func (s *schedule) send(n int) {
	s.mu.Lock()
	for range n {
		s.left = append(s.left, s.now())
	}
	s.mu.Unlock()
	s.pace.gone(n)
}

func (s *schedule) take(n int, r rank) {
	asked := s.now()
	s.pace.take(n, r, s.wait)
	if waited := s.now() - asked; r == onCall {
		s.mu.Lock()
		s.waited = append(s.waited, waited)
		s.mu.Unlock()
	}
}

// busy returns a sender of groups of up to most packets, of bookings that it uses
// up or not, and of waits that it gives up.
func busy(random *rand.Rand, most int) func(*schedule) {
	return func(s *schedule) {
		for range 60 {
			switch n := 1 + random.IntN(most); random.IntN(6) {
			case 0:
				s.take(n, inTurn)
				b := s.pace.book(n)
				for range random.IntN(n + 1) {
					time.Sleep(time.Duration(random.Int64N(int64(400 * time.Millisecond))))
					if !s.pace.draw(b, 1) {
						break
					}
					s.send(1)
				}
				if random.IntN(2) == 0 {
					s.pace.giveBack(b)
				}
			case 1:
				patience := time.Duration(random.Int64N(int64(time.Second)))
				if s.pace.take(n, inTurn, func(d time.Duration, news <-chan struct{}) bool {
					begun := s.now()
					s.wait(min(d, patience), news)
					patience -= s.now() - begun
					return patience > 0
				}) {
					s.send(n)
				}
			case 2:
				s.take(1, owing)
				s.send(1)
			default:
				s.take(n, inTurn)
				s.send(n)
			}
			time.Sleep(time.Duration(random.Int64N(int64(200 * time.Millisecond))))
		}
	}
}

// answering returns a sender of answers, up to kept in any second, or of more than
// that in haste.
func answering(random *rand.Rand, kept int, haste bool) func(*schedule) {
	return func(s *schedule) {
		s.take(kept, inTurn)
		if got := s.pace.keep(kept); got != kept {
			s.Errorf("%d places are kept, want %d", got, kept)
		}
		for range 40 {
			at := s.now()
			for range kept {
				s.take(1, onCall)
				s.send(1)
				time.Sleep(time.Duration(random.Int64N(int64(300 * time.Millisecond))))
			}
			if !haste {
				time.Sleep(time.Second - (s.now()-at)%time.Second)
				time.Sleep(time.Second)
			}
		}
		s.pace.release(kept)
	}
}

// Whatever is asked of it, no second has more packets than the rate says, and
// nobody waits for ever. Answers that have places of their own do not wait.
func TestPaceHolds(t *testing.T) {
	for seed := range uint64(18) {
		source := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }
		rate := []int{10, 50, 100}[seed%3]
		kept, haste := 2, seed%2 == 0
		most := rate - kept // larger groups take what is kept, too
		if haste {
			most = rate
		}
		senders := []func(*schedule){answering(source(0), kept, haste)}
		for n := range uint64(rate / 3) {
			senders = append(senders, busy(source(1+n), most))
		}
		s := inSchedule(t, rate, senders...)
		if longest := slices.Max(s.waited); !haste && longest > 0 || longest > 2*time.Second {
			t.Errorf("seed %d: an answer waited for %v", seed, longest)
		}
	}
}

// Answers go first, and before them those that have places, and then the others in turn.
func TestPaceInTurn(t *testing.T) {
	var order []string
	later := func(after time.Duration, name string, r rank) func(*schedule) {
		return func(s *schedule) {
			time.Sleep(after)
			s.take(1, r)
			s.mu.Lock()
			order = append(order, name)
			s.mu.Unlock()
			s.send(1)
		}
	}
	inSchedule(t, 1,
		later(0, "first", inTurn), later(1, "second", inTurn), later(2, "third", inTurn),
		later(3, "answer", owing), later(4, "next answer", owing), later(5, "prompt answer", onCall))
	if want := []string{"first", "prompt answer", "answer", "next answer", "second", "third"}; !slices.Equal(order, want) {
		t.Errorf("the order is %q, want %q", order, want)
	}
}

// Who waits for one that may leave, and has not yet, hears when it has.
func TestPaceOfSlowSender(t *testing.T) {
	const slow = 10 * time.Millisecond
	inSchedule(t, 1, func(s *schedule) {
		s.take(1, inTurn)
		time.Sleep(slow)
		s.send(1)
	}, func(s *schedule) {
		time.Sleep(slow / 2)
		s.take(1, inTurn)
		if want := slow + time.Second; s.now() != want {
			s.Errorf("the next left at %v, want %v", s.now(), want)
		}
		s.send(1)
	})
}

// A booking holds its places for a second and no longer, whether or not others wait.
func TestBooking(t *testing.T) {
	inSchedule(t, 4, func(s *schedule) {
		s.take(3, inTurn)
		b := s.pace.book(3)
		s.take(1, inTurn)
		s.send(1)
		if !s.pace.draw(b, 1) || s.now() != 0 {
			s.Error("what was booked did not leave at once")
		}
		s.send(1)
		s.take(1, inTurn)
		if s.now() != time.Second {
			s.Errorf("the others waited for %v", s.now())
		}
		s.send(1)
		if s.pace.draw(b, 1) || s.pace.draw(nil, 1) {
			s.Error("a booking that is over, or none, lets packets leave")
		}
		s.take(3, inTurn)
		other := s.pace.book(3)
		s.pace.giveBack(other)
		s.take(3, inTurn)
		if s.now() != time.Second {
			s.Error("a booking that was given back holds its places")
		}
		s.send(3)
	})
}

// Who keeps places has no more than a quarter of all.
func TestKeep(t *testing.T) {
	inSchedule(t, 10, func(s *schedule) {
		for _, want := range []int{2, 0} {
			s.take(2, inTurn)
			if got := s.pace.keep(2); got != want {
				s.Errorf("%d places are kept, want %d", got, want)
			}
		}
		s.pace.release(2)
		s.take(10, inTurn)
		s.send(10)
	})
}
