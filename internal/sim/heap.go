package sim

import "time"

// happening is something that will happen at a moment of true time.
type happening struct {
	at     time.Duration
	n      uint64 // order among equals
	kind   happeningKind
	forged bool
	who    int // host, side, or index of a fault
	talk   int
	packet []byte
}

type happeningKind uint8

const (
	arrives happeningKind = iota // a packet, at host who
	reports                      // ICMP about packet, at host who
	flushes                      // what the merging box of fault who holds
	starts                       // a talk is dialled by host who
	works                        // the application of talk on host who
	resumes                      // the hosts of fault who run again
	accepts                      // host who lets its applications accept
	forges                       // the forger or flooder of fault who
	strikes                      // what fault who does once
	mourns                       // the end on side who of a talk must know that its peer is dead
	heals                        // chaos is over
)

// agenda is a binary heap by (at, n), without the boxes of container/heap.
type agenda struct {
	q []happening
	n uint64
}

func (a *agenda) less(i, j int) bool {
	return a.q[i].at < a.q[j].at || a.q[i].at == a.q[j].at && a.q[i].n < a.q[j].n
}

func (a *agenda) push(h happening) {
	a.n++
	h.n = a.n
	a.q = append(a.q, h)
	for i := len(a.q) - 1; i > 0 && a.less(i, (i-1)/2); i = (i - 1) / 2 {
		a.q[i], a.q[(i-1)/2] = a.q[(i-1)/2], a.q[i]
	}
}

func (a *agenda) pop() happening {
	top, last := a.q[0], len(a.q)-1
	a.q[0] = a.q[last]
	a.q[last] = happening{}
	a.q = a.q[:last]
	for i := 0; ; {
		least := i
		for k := 2*i + 1; k <= 2*i+2 && k < last; k++ {
			if a.less(k, least) {
				least = k
			}
		}
		if least == i {
			return top
		}
		a.q[i], a.q[least] = a.q[least], a.q[i]
		i = least
	}
}
