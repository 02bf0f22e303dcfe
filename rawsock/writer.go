package rawsock

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// WriteBatch sends whole IP packets, each by the version and destination in its
// header, and returns how many were sent. The error is about packet n, and
// those after it were not tried. No buffer is kept.
//
// When the socket's queue is full WriteBatch waits up to 50 ms for room; after
// that the error is syscall.EAGAIN. To errors.Is the other errors of one packet
// are syscall.EMSGSIZE (longer than the interface's MTU), ENOBUFS (dropped by a
// queue of this host), EPERM (refused by a firewall of this host), EACCES (to a
// broadcast address), ENETUNREACH and EHOSTUNREACH (no route), EINVAL (no IP packet) and EAFNOSUPPORT (a family
// the Conn was not opened for). After Close it is net.ErrClosed.
//
// On IPv4 the kernel computes the header's checksum and total length, and fills
// in an identification of 0 (unless DF is set) and a source of 0.0.0.0.
//
// Under PacketIO a packet whose next hop is known goes to it as an Ethernet frame,
// past this host's firewall; others, and those in whose IPv4 header the kernel
// would fill in something, take the raw socket.
func (c *Conn) WriteBatch(pkts [][]byte) (int, error) { return c.writeAll(pkts, nil) }

// SuperSegment returns the size in octets, IP header included, of the largest
// super-segment that is worth handing to WriteSegments, or 0 if none is.
func (c *Conn) SuperSegment() int {
	if c.packet == nil {
		return 0
	}
	return 0xffff
}

// WriteSegments is WriteBatch for TCP packets of which some are longer than the
// MTU: it cuts packet i into segments of at most segmentSizes[i] octets of payload
// each. The TCP checksum of such a packet is unfinished: it holds the folded sum
// of its pseudo-header. FIN, PSH and CWR end up in the segment they belong to,
// and an IPv4 identification counts up. The packet may be short enough for one
// segment. With a segment size of 0 it is sent as it is.
//
// Where a super-segment has to be cut by the program, some of its segments may
// have been sent when the error is about the others.
func (c *Conn) WriteSegments(pkts [][]byte, segmentSizes []int) (int, error) {
	for i, pkt := range pkts {
		_, _, ok := superHeaders(pkt)
		if size := segmentSizes[i]; size < 0 || size > 0 && !ok {
			return 0, &net.OpError{Op: "write", Net: "ip", Err: fmt.Errorf("packet %d is no TCP packet with segments of %d octets: %w", i, size, unix.EINVAL)}
		}
	}
	return c.writeAll(pkts, segmentSizes)
}

// ConcurrentWrites reports whether several goroutines may be in WriteBatch and
// WriteSegments at the same time. With transmit timestamps they may not: the order
// in which packets leave is what a stamp is known by.
func (c *Conn) ConcurrentWrites() bool { return !c.cfg.TxTimestamps }

// A writer is what one call of WriteBatch needs beside the sockets.
type writer struct {
	out    [2]outBatch // IPv4 and IPv6
	plain  headlessBatch
	frames frameBatch
	cutter cutter
}

// A writerPool lends writers, which are made once and used again.
type writerPool struct {
	mu   sync.Mutex
	idle []*writer
}

func (p *writerPool) take() *writer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.idle) - 1; last >= 0 {
		w := p.idle[last]
		p.idle = p.idle[:last]
		return w
	}
	w := new(writer)
	w.out[0].init(false)
	w.out[1].init(true)
	w.plain.init()
	w.frames.init()
	return w
}

func (p *writerPool) give(w *writer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, w)
}

func (c *Conn) writeAll(pkts [][]byte, sizes []int) (int, error) {
	w := c.writers.take()
	defer c.writers.give(w)
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return 0, &net.OpError{Op: "write", Net: "ip", Err: net.ErrClosed}
	}
	total := 0
	for total < len(pkts) {
		n, err := c.writeRun(w, pkts[total:], tailOf(sizes, total))
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// tailOf is sizes[i:] of segment sizes that there may be none of.
func tailOf(sizes []int, i int) []int {
	if sizes == nil {
		return nil
	}
	return sizes[i:]
}

// writeRun sends as many packets as go the same way, at most BatchSize.
func (c *Conn) writeRun(w *writer, pkts [][]byte, sizes []int) (int, error) {
	if c.packet != nil {
		n, framed := c.packet.gather(&w.frames, pkts, sizes)
		if framed {
			return c.packet.write(w, pkts[:n], sizes)
		}
		pkts = pkts[:n]
	}
	return c.writeRaw(w, pkts, sizes)
}

// writeRaw sends by one raw socket: as many packets as are for it, or the first
// alone if that is to be cut.
func (c *Conn) writeRaw(w *writer, pkts [][]byte, sizes []int) (int, error) {
	s, run, err := c.route(pkts)
	if err != nil {
		return 0, err
	}
	if size := sizeAt(sizes, 0); size > 0 {
		if err := c.writeCut(w, s, pkts[0], size); err != nil {
			return 0, err
		}
		return 1, nil
	}
	n := 1
	for n < run && sizeAt(sizes, n) == 0 {
		n++
	}
	return c.write(w, s, pkts[:n])
}

// writeCut sends the segments of a super-segment.
func (c *Conn) writeCut(w *writer, s *socket, pkt []byte, size int) error {
	for from, more := 0, true; more; {
		var segments [][]byte
		segments, from, more = w.cutter.cut(pkt, size, from)
		if _, err := c.write(w, s, segments); err != nil {
			return err
		}
	}
	return nil
}

// route returns the socket for the first packet, and how many packets from
// there on are for the same one, at most BatchSize.
func (c *Conn) route(pkts [][]byte) (*socket, int, error) {
	version := ipVersion(pkts[0])
	if version == 0 {
		return nil, 0, &net.OpError{Op: "write", Net: "ip", Err: fmt.Errorf("not a whole IPv4 or IPv6 packet: %w", unix.EINVAL)}
	}
	s := c.socket(version == 6)
	if s == nil {
		return nil, 0, &net.OpError{Op: "write", Net: "ip", Err: unix.EAFNOSUPPORT}
	}
	n := 1
	for n < min(len(pkts), BatchSize) && ipVersion(pkts[n]) == version {
		n++
	}
	return s, n, nil
}

// ipVersion returns 4, 6, or 0 if pkt is too short to be an IP packet.
func ipVersion(pkt []byte) int {
	switch {
	case len(pkt) >= ipv4HeaderLen && pkt[0]>>4 == 4:
		return 4
	case len(pkt) >= ipv6HeaderLen && pkt[0]>>4 == 6:
		return 6
	}
	return 0
}

// destination returns the destination address of an IP packet.
func destination(pkt []byte) netip.Addr {
	if ipVersion(pkt) == 4 {
		return netip.AddrFrom4([4]byte(pkt[16:20]))
	}
	return netip.AddrFrom16([16]byte(pkt[24:40]))
}

// write sends up to BatchSize packets of one family: each run of those that are
// handed over in the same way.
func (c *Conn) write(w *writer, s *socket, pkts [][]byte) (int, error) {
	for sent := 0; sent < len(pkts); {
		n, err := c.writeAlike(w, s, pkts[sent:])
		if sent += n; err != nil {
			return sent, err
		}
	}
	return len(pkts), nil
}

// writeAlike sends the first run of packets, or a part of it. What the headless
// socket does not take the other one does, or knows what is wrong; but what a
// firewall or a queue has refused has had its turn.
func (c *Conn) writeAlike(w *writer, s *socket, pkts [][]byte) (int, error) {
	run := c.headless.takes(pkts)
	if run > 0 {
		n, errno := c.headless.send(&w.plain, pkts[:run])
		switch errno {
		case 0:
			return n, nil
		case unix.EPERM, unix.ENOBUFS:
			return 0, writeError(s, pkts[0], errno)
		}
		return c.writeHeaded(w, s, pkts[:run])
	}
	for run = 1; run < len(pkts) && c.headless.takes(pkts[run:run+1]) == 0; {
		run++
	}
	return c.writeHeaded(w, s, pkts[:run])
}

// writeHeaded sends packets with their headers.
func (c *Conn) writeHeaded(w *writer, s *socket, pkts [][]byte) (int, error) {
	out := &w.out[familyIndex(s.v6)]
	for i, pkt := range pkts {
		out.prepare(i, pkt, c.zone(pkt))
	}
	defer out.forget(len(pkts))
	sent, tries := 0, 0
	for sent < len(pkts) {
		n, errno := s.send(out, pkts, sent)
		if errno == 0 {
			sent, tries = sent+n, 0
			continue
		}
		tries++
		if !s.retry(errno, tries) {
			return sent, writeError(s, pkts[sent], errno)
		}
	}
	return sent, nil
}

// send sends pkts[i:], or with transmit timestamps only pkts[i]: when a batch
// ends early, the kernel does not tell whether it gave the packet a number that
// it stopped at.
func (s *socket) send(out *outBatch, pkts [][]byte, i int) (int, unix.Errno) {
	if s.sent == nil {
		return out.send(s.out, i, len(pkts))
	}
	s.sent.expect(pkts[i])
	n, errno := out.send(s.out, i, i+1)
	// A queue or a firewall refuses a packet that has its number already.
	if errno == 0 || errno == unix.EPERM || errno == unix.ENOBUFS {
		s.sent.numbered()
	}
	return n, errno
}

// retry reports whether a failed send is worth another try. The kernel hands an
// ICMP error about an earlier packet to whichever call comes next, so an errno
// that an ICMP error can cause has to come more than once to be believed. (The
// error queue keeps that news for ReadBatch.)
func (s *socket) retry(errno unix.Errno, tries int) bool {
	switch errno {
	case unix.EINTR:
		return true
	case unix.EAGAIN:
		return tries == 1 && s.waitWritable()
	case unix.EMSGSIZE, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EACCES, unix.EPROTO,
		unix.ECONNREFUSED, unix.ENOPROTOOPT, unix.EHOSTDOWN, unix.ENONET, unix.EOPNOTSUPP:
		return tries < 3
	}
	return false
}

// waitWritable waits for room in the send queue and reports whether there is.
func (s *socket) waitWritable() bool {
	fds := []unix.PollFd{{Fd: int32(s.out), Events: unix.POLLOUT}}
	for end := time.Now().Add(sendPatience); ; {
		left := time.Until(end)
		if left <= 0 {
			return false
		}
		n, err := unix.Poll(fds, int(left/time.Millisecond)+1)
		if err != nil && err != unix.EINTR {
			return false
		}
		if n > 0 {
			return fds[0].Revents&unix.POLLOUT != 0
		}
	}
}

// sendPatience is how long WriteBatch waits for room in a full send queue.
const sendPatience = 50 * time.Millisecond

// zone returns the interface index that a link-local destination needs.
func (c *Conn) zone(pkt []byte) uint32 {
	if ipVersion(pkt) != 6 || pkt[24] != 0xfe || pkt[25]&0xc0 != 0x80 {
		return 0
	}
	if c.ifindex != 0 {
		return uint32(c.ifindex)
	}
	return c.claims.zone(netip.AddrFrom16([16]byte(pkt[8:24])))
}
