package engine

import "runtime"

// A turnstile lets one goroutine at a time read the link. What it guards says in
// what order the shards get their packets, whoever brings them.
type turnstile struct {
	gate    chan struct{} // holds one while somebody reads
	help    chan struct{} // asks the second reader
	batches uint64
	ended   bool // the link is read no more
}

func (t *turnstile) init() {
	t.gate, t.help = make(chan struct{}, 1), make(chan struct{}, 1)
}

// A batch is what one read of the link brings.
type batch struct {
	bufs   [readBatch][]byte
	sizes  [readBatch]int
	stamps [readBatch]int64
	shards [readBatch]*shard // whose packet it is
	turns  [readBatch]uint64 // of the first packet of a shard: how many batches it has to have been given before
}

func newBatch() *batch {
	b := new(batch)
	for i := range b.bufs {
		b.bufs[i] = make([]byte, maxPacket)
	}
	return b
}

// busyOctets are how many octets in a batch say that more are to come.
const busyOctets = 64 << 10

// isBusy reports whether n packets are so many, or so large, that a second reader
// is worth waking.
func (b *batch) isBusy(n int) bool {
	octets := 0
	for _, size := range b.sizes[:n] {
		octets += size
	}
	return n == readBatch || octets >= busyOctets
}

// read delivers what the link receives, a batch at a time, until the link ends.
func (h *Host) read() {
	for b, ended := newBatch(), false; !ended; {
		_, ended = h.readOnce(b)
	}
}

// assist is the second reader: while one of the two delivers a batch, the other
// reads the next one. It goes on as long as much comes. Without it what is received
// is one goroutine's work, however many shards and processors there are.
func (h *Host) assist() {
	b := newBatch()
	for {
		select {
		case <-h.closing:
			return
		case <-h.reading.help:
		}
		for busy := true; busy; {
			var ended bool
			if busy, ended = h.readOnce(b); ended {
				return
			}
		}
	}
}

// readOnce reads one batch and delivers it. It reports whether much came, and
// whether the link has ended.
func (h *Host) readOnce(b *batch) (busy, ended bool) {
	t := &h.reading
	t.gate <- struct{}{}
	if t.ended {
		<-t.gate
		return false, true
	}
	n, err := h.link.ReadBatch(b.bufs[:], b.sizes[:], b.stamps[:])
	ended = err != nil && !h.readError(err)
	t.ended = ended
	h.address(b, n)
	<-t.gate
	if busy = b.isBusy(n); busy {
		select {
		case t.help <- struct{}{}:
		default:
		}
	}
	if h.deliver(b, n) { // who was waiting goes on first: to answer, perhaps, before the link is asked in vain
		runtime.Gosched()
	}
	return busy, ended
}

// address says whose each packet is, and when it is its shard's turn.
func (h *Host) address(b *batch, n int) {
	t := &h.reading
	t.batches++
	for i := range n {
		s := h.shardOfPacket(b.bufs[i][:b.sizes[i]])
		b.shards[i] = s
		if s.latest != t.batches {
			s.latest, b.turns[i] = t.batches, s.issued
			s.issued++
		}
	}
}

// deliver gives each shard its packets, all of them under one hold of its lock:
// "A TCP endpoint MUST process all queued segments before sending an ACK" (RFC 9293
// section 3.10.7.4, MUST-59); the sending is in unlock.
//
// It reports whether somebody was waiting for them.
func (h *Host) deliver(b *batch, n int) (awaited bool) {
	for i := range n {
		if s := b.shards[i]; s != nil && s.deliver(b, i, n) {
			awaited = true
		}
	}
	return awaited
}

// deliver takes the packets of s from first on out of b[:n], when those of the
// batches before were taken, and reports whether somebody was waiting for them.
func (s *shard) deliver(b *batch, first, n int) (awaited bool) {
	s.mu.Lock()
	defer s.unlock()
	for s.served != b.turns[first] {
		s.turn.Wait()
	}
	s.awaited = false
	now := s.now()
	for i := first; i < n; i++ {
		if b.shards[i] == s {
			b.shards[i] = nil
			s.stack.Deliver(now, b.bufs[i][:b.sizes[i]], b.stamps[i])
		}
	}
	s.served++
	s.turn.Broadcast()
	return s.awaited
}
