package trace

import (
	"bytes"
	"slices"

	"rawtcp/segment"
)

// A record is one packet of a capture that is not written yet.
type record struct {
	at      int64 // ns since 1970; of an unseen packet, when it was given to the link
	round   int   // of the lineup, when it was taken in
	guessed bool  // nobody saw it pass: at is the program's time
	block   []byte
	packet  []byte  // in block
	home    *intake // where block lies
}

// A lineup puts packets into the order of their times, if there is a tap. What
// came in is heard of some time after its stamp, and what goes out may have been
// seen on the interface before that: so a packet waits for one round, and a
// packet of ours until it was seen. Its owner's lock guards it.
type lineup struct {
	sorted bool      // by time, and not as they came
	known  []*record // the oldest first
	unseen []*record // packets of ours that wait to be seen, as they were sent
	first  int       // unseen[first:] are those
	round  int
	free   []*record
}

// patience is how long a packet of ours may be unseen, in ns: it may wait in a
// queue of this host.
const patience = 500e6

// insert gives a record its place: behind those of the same time.
func (l *lineup) insert(r *record) {
	i := len(l.known)
	for l.sorted && i > 0 && l.known[i-1].at > r.at {
		i--
	}
	l.known = slices.Insert(l.known, i, r)
}

// enter takes in what an engine has put in line. What is ours waits to be seen
// if there is somebody to see it.
func (l *lineup) enter(in *intake, watched bool) {
	for blocks := in.blocks; len(blocks) > 0; {
		r := l.take()
		r.block, blocks = next(blocks)
		out := false
		r.at, out, r.packet = readBlock(r.block)
		r.home = in
		in.left++
		if out && watched {
			l.unseen = append(l.unseen, r)
		} else {
			l.insert(r)
		}
	}
}

// slab is how many records are allocated at once.
const slab = 256

// take returns a record to fill.
func (l *lineup) take() (r *record) {
	if len(l.free) == 0 {
		records := make([]record, slab)
		for i := range records {
			l.free = append(l.free, &records[i])
		}
	}
	n := len(l.free) - 1
	r, l.free = l.free[n], l.free[:n]
	*r = record{round: l.round}
	return r
}

// recycle takes back what has been written. All of it is kept: there are no more
// than a full line holds.
func (l *lineup) recycle(records []*record) { l.free = append(l.free, records...) }

// saw gives the packet with these headers the time at which it was seen, and
// reports whether there is such a packet.
func (l *lineup) saw(headers []byte, at int64) bool {
	for i := l.first; i < len(l.unseen); i++ {
		r := l.unseen[i]
		if !samePacket(r.packet, headers) {
			continue
		}
		if i == l.first { // as a rule: no other has to move
			l.first++
		} else {
			l.unseen = slices.Delete(l.unseen, i, i+1)
		}
		r.at = at
		l.insert(r)
		return true
	}
	return false
}

// settle ends a series of saw.
func (l *lineup) settle() {
	l.unseen = slices.Delete(l.unseen, 0, l.first)
	l.first = 0
}

// samePacket compares a packet with the headers of one that was seen: addresses
// and the TCP header with its checksum. The kernel fills in the rest of an IPv4
// header as it likes.
func samePacket(packet, headers []byte) bool {
	from, tcp := 12, segment.IPv4HeaderLen
	if packet[0]>>4 == 6 {
		from, tcp = 8, segment.IPv6HeaderLen
	}
	end := tcp + segment.TCPHeaderLen
	return len(packet) >= end && len(headers) >= end && packet[0] == headers[0] && bytes.Equal(packet[from:end], headers[from:end])
}

// giveUp ends the waiting of the first n unseen packets.
func (l *lineup) giveUp(n int) {
	for _, r := range l.unseen[:n] {
		r.guessed = true
		l.insert(r)
	}
	l.unseen = slices.Delete(l.unseen, 0, n)
}

// giveUpBefore ends the waiting of what was sent before a time.
func (l *lineup) giveUpBefore(at int64) {
	n := 0
	for n < len(l.unseen) && l.unseen[n].at < at {
		n++
	}
	l.giveUp(n)
}

// due ends a round and appends to dst what has waited long enough, the oldest
// first. In a hurry nothing waits for what is to come.
func (l *lineup) due(dst []*record, hurry bool) []*record {
	n := 0
	for n < len(l.known) && (hurry || l.known[n].round < l.round) && (len(l.unseen) == 0 || l.known[n].at < l.unseen[0].at) {
		n++
	}
	dst = append(dst, l.known[:n]...)
	l.known = slices.Delete(l.known, 0, n)
	l.round++
	return dst
}
