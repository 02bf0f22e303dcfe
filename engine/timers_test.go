package engine

import (
	"math/rand/v2"
	"testing"
	"time"
)

// An alarm notes when it went off.
type alarm struct {
	node timerNode
	rung []Time
}

func (a *alarm) Advance(now Time) { a.rung = append(a.rung, now) }

func newAlarms(n int) []*alarm {
	alarms := make([]*alarm, n)
	for i := range alarms {
		alarms[i] = &alarm{}
		alarms[i].node.owner = alarms[i]
	}
	return alarms
}

// One call fires all that is due, what is set in the meantime too, and nothing else.
func TestTimersFireTogether(t *testing.T) {
	var q timerQueue
	alarms := newAlarms(1000)
	for i, a := range alarms {
		q.set(&a.node, Time(1+i))
	}
	q.fire(500)
	for i, a := range alarms {
		if fired := len(a.rung); fired != map[bool]int{true: 1}[i < 500] {
			t.Fatalf("timer %d was fired %d times", i, fired)
		}
	}
	if q.due() != 501 {
		t.Errorf("next is %v", q.due())
	}
}

// The runtime's timer is left alone while deadlines move away, as they do with
// every segment, and is set when one is earlier than all before.
func TestArmingLeavesTheRuntimeTimerAlone(t *testing.T) {
	s := &shard{stack: NewStack(StackConfig{}), timer: time.NewTimer(time.Hour)}
	alarms := newAlarms(3)
	arm := func(a *alarm, due Time) (set bool) {
		s.stack.timers.set(&a.node, due)
		before := s.armed
		s.armed++ // whoever sets it writes over this
		s.arm(1)
		if set = s.armed != before+1; !set {
			s.armed = before
		}
		return set
	}
	s.stack.timers.set(&alarms[0].node, 1000)
	s.arm(1)
	if s.armed != 1000 {
		t.Fatalf("armed for %v", s.armed)
	}
	for due := Time(2000); due < 3000; due++ {
		if arm(alarms[0], due) || arm(alarms[1], due+500) {
			t.Fatal("a later deadline sets the timer")
		}
	}
	if !arm(alarms[2], 500) || s.armed != 500 {
		t.Errorf("an earlier deadline leaves the timer at %v", s.armed)
	}
}

// BenchmarkTimers is the price of a segment in timers, with a hundred thousand
// connections that all wait for a keep-alive: the RTO is armed, and stopped by
// the ACK. The busy ones are one, a hundred, or all.
func BenchmarkTimers(b *testing.B) {
	const conns = 100_000
	for _, busy := range []int{1, 100, conns} {
		b.Run(map[int]string{1: "one", 100: "hundred", conns: "all"}[busy], func(b *testing.B) {
			var q timerQueue
			alarms := newAlarms(conns)
			rng := rand.New(rand.NewPCG(1, 2))
			for _, a := range alarms {
				q.set(&a.node, Time(2*time.Hour)+Time(rng.Int64N(int64(time.Hour))))
			}
			now := Time(1)
			b.ReportAllocs()
			for b.Loop() {
				n := &alarms[rng.IntN(busy)].node
				q.set(n, now+Time(200*time.Millisecond))
				q.set(n, now+Time(2*time.Hour))
				now += 1000
			}
		})
	}
	b.Run("fire", func(b *testing.B) { // all of them, in one call
		var q timerQueue
		alarms := newAlarms(conns)
		for b.Loop() {
			b.StopTimer()
			for i, a := range alarms {
				a.rung = a.rung[:0]
				q.set(&a.node, Time(1+i*7919%conns))
			}
			b.StartTimer()
			q.fire(conns)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/conns, "ns/timer")
	})
}
