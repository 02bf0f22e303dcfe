package engine

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"rawtcp/segment"
)

// An outbox holds packets between Append and WriteBatch. Its memory is used
// again and again.
type outbox struct {
	link   SegmentingLink // nil: super-segments are of no use
	seg    segment.Segment
	octets []byte             // the packets, one behind the other
	pkts   [writeBatch][]byte // pkts[first:end] wait to be written
	sizes  [writeBatch]int    // their segment sizes, 0 for what is no super-segment
	first  int
	end    int
	retry  Time // when to try again, zero if the link is not full
	misses int  // tries without success
}

// The most that is written at a time: packets, and octets after which none is
// added, so that what is copied to the kernel lies in the processor's cache yet.
const (
	writeBatch  = 64
	writeOctets = 256 << 10
)

func (o *outbox) isEmpty() bool { return o.first == o.end }

// superSegment returns the largest super-segment of a link, 0 if it takes none,
// and the link as one that does.
func superSegment(link Link) (SegmentingLink, int) {
	if l, ok := link.(SegmentingLink); ok && l.SuperSegment() > 0 {
		return l, l.SuperSegment()
	}
	return nil, 0
}

// A full link is asked again after a millisecond, and not forever: in the end
// the packets are dropped as the network would drop them, and the stack's
// retransmission decides.
const (
	retryAfter = time.Millisecond
	maxMisses  = 100
)

// flush sends until the stack has nothing more to say or the link is full.
func (s *shard) flush() {
	now := s.now()
	if s.out.retry.IsZero() || s.out.retry <= now {
		for s.fill(now) && s.write(now) {
		}
	}
	s.stack.tellTally() // also when the link is full
	s.arm(now)
}

// fill builds packets and reports whether there are any to write.
func (s *shard) fill(now Time) bool {
	o := &s.out
	if !o.isEmpty() {
		return true
	}
	o.first, o.end, o.octets = 0, 0, o.octets[:0]
	for o.end < writeBatch && len(o.octets) < writeOctets && s.stack.Transmit(now, &o.seg) {
		from, err := len(o.octets), error(nil)
		if o.octets, err = o.seg.Append(o.octets); err != nil {
			s.traceLocal(now, o.seg.Src, o.seg.Dst, fmt.Sprintf("cannot build segment: %v", err))
			continue
		}
		o.pkts[o.end], o.sizes[o.end] = o.octets[from:], int(o.seg.SegmentSize)
		o.end++
	}
	return o.end > 0
}

// write hands packets to the link and reports whether it took them all.
func (s *shard) write(now Time) bool {
	o := &s.out
	for !o.isEmpty() {
		n, err := s.send(o.pkts[o.first:o.end], o.sizes[o.first:o.end])
		if n > 0 {
			o.first += min(n, o.end-o.first)
			o.misses = 0
		}
		switch {
		case err == nil:
		case isFull(err) && o.misses < maxMisses && !s.isClosed:
			o.misses++
			o.retry = now.Add(retryAfter)
			return false
		case !o.isEmpty():
			pkt, size := o.pkts[o.first], o.sizes[o.first]
			o.first++ // lost; the stack will send it again if it matters
			o.misses = 0
			s.sendError(now, pkt, size, err)
		}
	}
	o.retry = 0
	return true
}

// send hands packets to the link.
func (s *shard) send(pkts [][]byte, sizes []int) (int, error) {
	if s.out.link != nil {
		return s.out.link.WriteSegments(pkts, sizes)
	}
	return s.link.WriteBatch(pkts)
}

// isFull reports whether a send error says that the same packet may succeed a
// moment later.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.EAGAIN) ||
		errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.EINTR)
}

// sendError reports a packet that the link did not take. It does not end a
// connection: the error may pass, and if not, retransmission gives up in time.
// size is the segment size of a super-segment, else 0.
func (s *shard) sendError(now Time, pkt []byte, size int, err error) {
	var seg segment.Segment
	if seg.Parse(pkt) != nil {
		seg = segment.Segment{}
	}
	s.traceLocal(now, seg.Src, seg.Dst, sendReason(err))
	if !errors.Is(err, syscall.EMSGSIZE) {
		return
	}
	// The link's own limit has shrunk. The stack learns it as from a router
	// that says "fragmentation needed" (RFC 1191, RFC 8201).
	_, mtu, err := s.link.Route(seg.Dst.Addr(), seg.Src.Addr())
	datagram := len(pkt)
	if n := len(seg.Payload); size > 0 && n > size {
		datagram -= n - size
	}
	if err != nil || mtu >= datagram {
		return
	}
	m := ICMP{From: seg.Src.Addr(), Type: 3, Code: 4, MTU: mtu, Own: true, Quoted: pkt}
	if seg.Src.Addr().Is6() {
		m.Type, m.Code = 2, 0
	}
	s.stack.DeliverICMP(now, m)
}

func sendReason(err error) string {
	if errors.Is(err, syscall.EPERM) {
		return fmt.Sprintf("send error: %v: a firewall rule of this host drops our segments; look at nft list ruleset and iptables -S OUTPUT", err)
	}
	return fmt.Sprintf("send error: %v", err)
}
