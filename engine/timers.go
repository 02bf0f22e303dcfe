package engine

// timers are the deadlines of one connection, but for the pacer's; zero is "not armed".
type timers [TimerPace]Time

// next returns the earliest deadline, zero if none is armed.
func (t *timers) next() Time {
	var first Time
	for _, due := range t {
		if due != 0 && (first == 0 || due < first) {
			first = due
		}
	}
	return first
}

// A timerNode is one entry of a stack's timerQueue.
type timerNode struct {
	due   Time
	index int // place in the queue plus one; 0: not queued
	owner interface{ Advance(now Time) }
}

// A timerQueue orders everything on a stack that waits for a moment: a binary
// heap whose nodes know their place, so that re-arming costs O(log n).
type timerQueue []*timerNode

// set queues, moves or (due zero) removes n.
func (q *timerQueue) set(n *timerNode, due Time) {
	if n.due == due {
		return
	}
	n.due = due
	switch {
	case due == 0:
		q.remove(n)
	case n.index == 0:
		*q = append(*q, n)
		n.index = len(*q)
		q.up(n.index - 1)
	default:
		q.up(n.index - 1)
		q.down(n.index - 1)
	}
}

func (q *timerQueue) remove(n *timerNode) {
	i, last := n.index-1, len(*q)-1
	if i < 0 {
		return
	}
	q.swap(i, last)
	(*q)[last] = nil
	*q = (*q)[:last]
	n.index, n.due = 0, 0
	if i < last {
		q.up(i)
		q.down(i)
	}
}

// first returns the node that is due earliest, nil if there is none.
func (q timerQueue) first() *timerNode {
	if len(q) == 0 {
		return nil
	}
	return q[0]
}

// due returns when the first node is due, zero if there is none.
func (q timerQueue) due() Time {
	if n := q.first(); n != nil {
		return n.due
	}
	return 0
}

// fire takes out every node that is due and advances its owner.
func (q *timerQueue) fire(now Time) {
	for n := q.first(); n != nil && n.due <= now; n = q.first() {
		q.set(n, 0)
		n.owner.Advance(now)
	}
}

func (q timerQueue) swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i+1, j+1
}

func (q timerQueue) up(i int) {
	for i > 0 && q[i].due < q[(i-1)/2].due {
		q.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (q timerQueue) down(i int) {
	for {
		least := i
		for k := 2*i + 1; k <= 2*i+2 && k < len(q); k++ {
			if q[k].due < q[least].due {
				least = k
			}
		}
		if least == i {
			return
		}
		q.swap(i, least)
		i = least
	}
}
