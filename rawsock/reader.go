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
	look    func(uintptr)      // the same for spin
	found   bool               // what look has found
	events  [6]unix.EpollEvent // of the event descriptor, two raw sockets and three packet sockets
	turn    int                // whose turn it is to be read first
	latest  *socket            // that packets came from

	// The call in progress.
	bufs   [][]byte
	sizes  []int
	stamps []int64
	n      int
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
	r.look = func(fd uintptr) { r.found = r.readReady(fd) }
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
	r.n, r.err, r.asked = 0, nil, false
	found, err := r.spin()
	if !found && err == nil {
		err = c.poller.Read(r.step)
	}
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

// spin looks for packets again and again, as long as Config.Spin says, and reports
// whether ReadBatch can return. Other goroutines run in between: the one that the
// last packet was for is about to answer.
func (r *reader) spin() (found bool, err error) {
	if r.c.cfg.Spin <= 0 {
		return false, nil
	}
	for end := time.Now().Add(r.c.cfg.Spin); ; runtime.Gosched() {
		if err := r.c.poller.Control(r.look); err != nil {
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

// readReady reads what is there and reports whether ReadBatch can return. The
// runtime calls it again when something has arrived.
func (r *reader) readReady(uintptr) bool {
	r.c.mu.RLock()
	defer r.c.mu.RUnlock()
	if r.c.closed {
		r.err = &net.OpError{Op: "read", Net: "ip", Err: net.ErrClosed}
		return true
	}
	if r.guess() {
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

// poll reads every socket that is ready and reports whether one was.
func (r *reader) poll() bool {
	n, err := unix.EpollWait(r.epollFd, r.events[:], 0)
	if err == unix.EINTR {
		return true
	}
	r.turn++ // so that a busy family cannot starve the other
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

// receive reads one batch of a socket behind what the call already has.
func (r *reader) receive(s *socket) {
	if r.n == len(r.bufs) {
		return
	}
	bufs, sizes, stamps := r.bufs[r.n:], r.sizes[r.n:], r.stamps[r.n:]
	n, errno := s.in.recv(s.fd, bufs, sizes, stamps)
	if errno != 0 {
		r.receiveFailed(s, errno)
		return
	}
	if s.packet {
		r.c.packet.tidy(bufs[:n], sizes)
	}
	n = r.c.claims.filter(bufs[:n], sizes, stamps)
	if !s.packet {
		for i := range n {
			mendHeader(bufs[i][:sizes[i]])
		}
	}
	r.n += n
	r.latest = s
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
