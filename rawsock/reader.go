package rawsock

import (
	"encoding/binary"
	"errors"
	"net"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A reader is the receiving half of a Conn.
type reader struct {
	c       *Conn
	epollFd int
	wakeFd  int                // an event descriptor among the watched, or -1
	step    func(uintptr) bool // readReady, bound once: a closure per call would allocate
	glance  func(uintptr)      // the same for spin
	found   bool               // what glance has found
	more    func(uintptr)      // readMore, bound once
	events  [6]unix.EpollEvent // of the event descriptor, two raw sockets and three packet sockets
	turn    int                // whose turn it is to be read first
	latest  *socket            // that packets came from
	awake   int                // sockets that epoll does not tell of, for we look ourselves

	spinning  bool // we are looking, and do not sleep
	streaming bool // and have found packets
	vain      uint // times in a row that we found none
	skips     int  // times that we do not look

	// The call in progress.
	bufs   [][]byte
	sizes  []int
	stamps []int64
	n      int
	octets int
	err    error
	asked  bool // which sockets are ready

	mu      sync.Mutex // guards news, and reading the error queues
	news    []error    // not yet returned
	control [512]byte
	quoted  [maxQuoted]byte
}

func (r *reader) init(c *Conn, epollFd, wakeFd int) {
	r.c, r.epollFd, r.wakeFd = c, epollFd, wakeFd
	r.step = r.readReady
	r.glance = func(fd uintptr) { r.found = r.readReady(fd) }
	r.more = r.readMore
}

// ReadBatch waits for packets and fills bufs[i][:sizes[i]] with one whole IP
// packet each, and stamps[i] with the kernel's receive time in nanoseconds since
// 1970, or 0. It returns how many packets there are, at most BatchSize. sizes
// and stamps are at least as long as bufs; a buffer holds at least 64 octets,
// and a packet longer than its buffer is cut off (65,575 octets hold any).
//
// An IPv6 packet gets a header in front as the kernel describes it: without
// extension headers.
//
// An error with Temporary() true is news from the network and not the end. An
// ICMP error about a packet from a claimed port is an *ICMPError. After Close
// the error is net.ErrClosed.
func (c *Conn) ReadBatch(bufs [][]byte, sizes []int, stamps []int64) (int, error) {
	r := &c.reader
	n := min(len(bufs), len(sizes), len(stamps), BatchSize)
	if n == 0 {
		return 0, &net.OpError{Op: "read", Net: "ip", Err: unix.EINVAL}
	}
	for _, b := range bufs[:n] {
		if len(b) < minBuffer {
			return 0, &net.OpError{Op: "read", Net: "ip", Err: errShortBuffer}
		}
	}
	r.bufs, r.sizes, r.stamps = bufs[:n], sizes, stamps
	r.n, r.octets, r.err, r.asked = 0, 0, nil, false
	err := r.read()
	r.bufs, r.sizes, r.stamps = nil, nil, nil
	if err != nil {
		// Without a deadline the poller has one reason to fail, which it
		// keeps to itself: the descriptor was closed.
		return 0, &net.OpError{Op: "read", Net: "ip", Err: net.ErrClosed}
	}
	return r.n, r.err
}

// minBuffer is the least a buffer holds: an IPv6 and a TCP header.
const minBuffer = 64

var errShortBuffer = errors.New("a receive buffer holds at least 64 octets")

// read waits for packets, or an error, and takes them.
func (r *reader) read() error {
	r.streaming = false
	if limit := r.patience(); limit > 0 {
		found, err := r.spin(limit)
		if r.learn(found); found || err != nil {
			r.gather()
			return err
		}
	}
	return r.c.poller.Read(r.step)
}

// While a socket is awake packets come as fast as we take them, as a rule, and to
// wait for the next ones awake costs less than to be woken up: us, and still more
// who sends them. So we look for them a little before we sleep, and when that has
// found some, for more: then there are fewer, larger batches, and fewer ACKs.
const (
	busyBatch = 4 // packets in a batch that wakes a socket: any for a ring, for another all there was room for
	busySpin  = 20 * time.Microsecond
	gathering = 20 * time.Microsecond
	mostSkips = 6 // doublings
)

// patience is how long to look for packets before sleep, 0: not at all.
func (r *reader) patience() time.Duration {
	switch {
	case r.c.cfg.Spin > 0:
		return r.c.cfg.Spin
	case r.awake == 0:
		return 0
	case r.skips > 0: // it was in vain lately
		r.skips--
		return 0
	}
	return busySpin
}

// learn takes what came of spinning: what is in vain is tried ever more rarely.
func (r *reader) learn(found bool) {
	r.streaming = found && r.awake > 0
	if found {
		r.vain = 0
		return
	}
	r.vain = min(r.vain+1, mostSkips)
	r.skips = 1<<r.vain - 1
}

// spin looks for packets again and again until limit has passed, and reports
// whether ReadBatch can return. Other goroutines run in between: the one that the
// last packet was for is about to answer.
func (r *reader) spin(limit time.Duration) (found bool, err error) {
	r.spinning = true
	defer func() { r.spinning = false }()
	for end := time.Now().Add(limit); ; runtime.Gosched() {
		if err := r.c.poller.Control(r.glance); err != nil {
			return false, err
		}
		if r.found {
			return true, nil
		}
		if !time.Now().Before(end) {
			return false, nil
		}
	}
}

// gather waits a little for a batch to become full.
func (r *reader) gather() {
	if !r.streaming || r.n == 0 {
		return
	}
	r.spinning = true
	defer func() { r.spinning = false }()
	for end := time.Now().Add(gathering); !r.isFull() && time.Now().Before(end); runtime.Gosched() {
		if r.c.poller.Control(r.more) != nil {
			return // the next call says why
		}
	}
}

// readMore reads what sockets that are awake have.
func (r *reader) readMore(uintptr) {
	r.c.mu.RLock()
	defer r.c.mu.RUnlock()
	if !r.c.closed {
		r.readAwake()
	}
}

// readReady reads what is there and reports whether ReadBatch can return. The
// runtime calls it again when something has arrived.
func (r *reader) readReady(uintptr) bool {
	r.c.mu.RLock()
	defer r.c.mu.RUnlock()
	if r.c.closed {
		r.err = &net.OpError{Op: "read", Net: "ip", Err: net.ErrClosed}
		return true
	}
	if r.takeNews() || r.guess() { // news that came beside packets is the next call's
		return true
	}
	for {
		ready := r.poll()
		if r.takeNews() || r.n > 0 {
			return true
		}
		if !ready {
			return false
		}
	}
}

// guess reads the socket that packets came from last, if this call has found
// nothing to read before, and reports whether ReadBatch can return: what wakes it
// up is most often there, and not to ask where spares a system call on the way of
// every answer that was waited for. No socket starves, for the next call begins
// with the question.
func (r *reader) guess() bool {
	first := !r.asked
	r.asked = true
	if first || r.latest == nil {
		return false
	}
	r.receive(r.latest)
	return r.takeNews() || r.n > 0
}

// poll reads every socket that is ready and reports whether one was. One that is
// awake is looked into without asking, but the others have their turn too.
func (r *reader) poll() bool {
	r.turn++ // so that a busy family cannot starve the other
	if r.awake > 0 && r.turn%othersTurn != 0 {
		switch {
		case r.readAwake():
			return true
		case r.spinning:
			return false
		}
	}
	ready := r.pollSockets()
	return r.readAwake() || ready
}

// othersTurn is how often sockets are asked for while one is awake.
const othersTurn = 8

// readAwake reads the sockets that are awake and reports whether one had packets.
// Those that have none it puts to sleep, unless we are about to look again.
func (r *reader) readAwake() (found bool) {
	if r.awake == 0 {
		return false
	}
	for i := range r.c.sockets {
		at := (i + r.turn) % len(r.c.sockets)
		switch s := r.c.sockets[at]; {
		case !s.awake:
		case r.look(s):
			found = true
		case !r.spinning:
			found = !r.sleep(s, at) || found
		}
	}
	return found
}

// look reads a socket that is awake and reports whether there was anything. What the
// error queue of a raw socket has, nobody else tells.
func (r *reader) look(s *socket) bool {
	if s.ring != nil && s.ring.isEmpty() {
		return false
	}
	news := s.ring == nil && r.turn%othersTurn == 0 && r.readErrors(s) > 0
	return r.receive(s) || news
}

// wake has epoll tell no more of a socket that is full of packets anyway: of each
// that comes, and of each that leaves, that would cost the kernel a tenth of its
// work.
func (r *reader) wake(s *socket) {
	if !s.awake && unix.EpollCtl(r.epollFd, unix.EPOLL_CTL_DEL, s.fd, nil) == nil {
		s.awake = true
		r.awake++
	}
}

// sleep has epoll tell of socket i again and reports whether it will.
func (r *reader) sleep(s *socket, i int) bool {
	if unix.EpollCtl(r.epollFd, unix.EPOLL_CTL_ADD, s.fd, s.interest(i)) != nil {
		return false
	}
	s.awake = false
	r.awake--
	return true
}

// pollSockets reads the sockets that epoll tells of, and reports whether there were any.
func (r *reader) pollSockets() bool {
	n, err := unix.EpollWait(r.epollFd, r.events[:], 0)
	if err == unix.EINTR {
		return true
	}
	for i := range n {
		ev := r.events[(i+r.turn)%n]
		if ev.Fd == wakeEvent {
			var count [8]byte
			_, _ = unix.Read(r.wakeFd, count[:])
			continue
		}
		s := r.c.sockets[ev.Fd]
		if ev.Events&unix.EPOLLERR != 0 && r.readErrors(s) == 0 {
			r.takeSocketError(s)
		}
		if ev.Events&unix.EPOLLIN != 0 {
			r.receive(s)
		}
	}
	return n > 0
}

// wakeEvent is what epoll calls the event descriptor; a socket has its index.
const wakeEvent = -1

// tell wakes ReadBatch if another goroutine has found news for it in an error
// queue.
func (r *reader) tell() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.news) > 0 {
		one := [8]byte{1} // the host's byte order does not matter
		_, _ = unix.Write(r.wakeFd, one[:])
	}
}

// receive reads one batch of a socket behind what the call already has, and reports
// whether there was anything.
func (r *reader) receive(s *socket) bool {
	room := min(len(r.bufs)-r.n, max(1, (batchOctets-r.octets)/max(1, s.mean)))
	if r.isFull() {
		return true
	}
	bufs, sizes, stamps := r.bufs[r.n:][:room], r.sizes[r.n:], r.stamps[r.n:]
	n, errno := s.receive(bufs, sizes, stamps)
	if errno != 0 {
		r.receiveFailed(s, errno)
	}
	if s.packet {
		r.c.packet.tidy(bufs[:n], sizes)
	}
	found := n > 0 || errno != 0 && errno != unix.EAGAIN
	if n >= busyBatch && (s.ring != nil || n == room) {
		r.wake(s)
	}
	n = r.c.claims.filter(bufs[:n], sizes, stamps)
	if !s.packet {
		for i := range n {
			mendHeader(bufs[i][:sizes[i]])
		}
	}
	if n > 0 {
		r.measure(s, sizes[:n])
	}
	r.latest = s
	return found
}

// batchOctets is after how many octets a batch takes no more: what the kernel has
// copied lies in the processor's cache yet when it is looked at. 32 merged
// segments would not.
const batchOctets = 256 << 10

// isFull reports whether the call takes no more.
func (r *reader) isFull() bool { return r.n == len(r.bufs) || r.octets >= batchOctets }

// measure counts what a socket brought, and holds the next packets to be as large.
func (r *reader) measure(s *socket, sizes []int) {
	octets := 0
	for _, n := range sizes {
		octets += n
	}
	r.n, r.octets = r.n+len(sizes), r.octets+octets
	s.mean = octets / len(sizes)
}

// mendHeader writes the checksum of an IPv4 header with options anew. The kernel
// has checked it, and has then written its own address or time into an option that
// asks for that (RFC 791 section 3.1, record route and timestamp).
func mendHeader(packet []byte) {
	const plain = 20 // octets of a header without options
	if len(packet) < plain || packet[0]>>4 != 4 {
		return
	}
	n := int(packet[0]&15) * 4
	if n <= plain || n > len(packet) {
		return
	}
	packet[10], packet[11] = 0, 0
	sum := uint32(0)
	for i := 0; i < n; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(packet[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(packet[10:], ^uint16(sum+sum>>16))
}

// takeSocketError takes SO_ERROR, which keeps a socket ready as long as it is
// set. The kernel queues an ICMP error first and sets this after; who reads the
// queue in between finds it empty the next time and the socket ready for ever.
func (r *reader) takeSocketError(s *socket) {
	errno, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		r.receiveFailed(s, unix.Errno(errno))
	}
}

// receiveFailed turns a failed receive into news.
func (r *reader) receiveFailed(s *socket, errno unix.Errno) {
	if errno == unix.EAGAIN || errno == unix.EINTR || r.readErrors(s) > 0 || toldByICMP(errno) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.news = append(r.news, readError(s, errno))
}

// toldByICMP reports whether the kernel makes an errno out of an ICMP error,
// whose full story another reader of the error queue has.
func toldByICMP(errno unix.Errno) bool {
	switch errno {
	case unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EHOSTDOWN, unix.ENONET, unix.ECONNREFUSED,
		unix.ENOPROTOOPT, unix.EOPNOTSUPP, unix.EMSGSIZE, unix.EPROTO, unix.EACCES:
		return true
	}
	return false
}

// takeNews moves one error to the call, if it has no packets to return first.
func (r *reader) takeNews() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n > 0 || len(r.news) == 0 {
		return false
	}
	r.err = r.news[0]
	r.news[0] = nil
	r.news = r.news[1:]
	return true
}
