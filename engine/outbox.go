package engine

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"rawtcp/segment"
)

// An outbox holds packets between Append and WriteBatch. Its buffers are used
// again and again.
type outbox struct {
	seg    segment.Segment
	bufs   [writeBatch][]byte
	first  int  // bufs[first:end] wait to be written
	end    int  //
	retry  Time // when to try again, zero if the link is not full
	misses int  // tries without success
}

// The sizes of an outbox.
const (
	writeBatch    = 64
	typicalPacket = 1600
)

func (o *outbox) isEmpty() bool { return o.first == o.end }

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
	o.first, o.end = 0, 0
	for o.end < writeBatch && s.stack.Transmit(now, &o.seg) {
		if o.bufs[o.end] == nil {
			o.bufs[o.end] = make([]byte, 0, typicalPacket)
		}
		pkt, err := o.seg.Append(o.bufs[o.end][:0])
		if err != nil {
			s.traceLocal(now, o.seg.Src, o.seg.Dst, fmt.Sprintf("cannot build segment: %v", err))
			continue
		}
		o.bufs[o.end] = pkt
		o.end++
	}
	return o.end > 0
}

// write hands packets to the link and reports whether it took them all.
func (s *shard) write(now Time) bool {
	o := &s.out
	for !o.isEmpty() {
		n, err := s.link.WriteBatch(o.bufs[o.first:o.end])
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
			pkt := o.bufs[o.first]
			o.first++ // lost; the stack will send it again if it matters
			o.misses = 0
			s.sendError(now, pkt, err)
		}
	}
	o.retry = 0
	return true
}

// isFull reports whether a send error says that the same packet may succeed a
// moment later.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.EAGAIN) ||
		errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.EINTR)
}

// sendError reports a packet that the link did not take. It does not end a
// connection: the error may pass, and if not, retransmission gives up in time.
func (s *shard) sendError(now Time, pkt []byte, err error) {
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
	if err != nil || mtu >= len(pkt) {
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
