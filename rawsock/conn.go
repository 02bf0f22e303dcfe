package rawsock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Conn sends and receives whole IP packets that carry TCP.
//
// ReadBatch may run at the same time as every other method, but by one goroutine
// at a time; WriteBatch and WriteSegments by several, if ConcurrentWrites says so.
type Conn struct {
	cfg     Config
	ns      *netns
	ifindex int // of cfg.Interface, or 0
	notes   []string
	marked  bool   // every socket sets cfg.Mark
	whyRaw  string // why PacketIO is not possible, "" if it is or was not asked for

	// mu keeps the descriptors open while they are in use: Close takes it for
	// writing.
	mu      sync.RWMutex
	closed  bool
	sockets []*socket // a raw one for each family, and then those of packet
	closing sync.Once

	// The sockets are watched by an epoll descriptor of our own, and the
	// runtime's poller watches that one. Measured on loopback against sockets
	// that the runtime watches itself: sending is a third faster, because the
	// runtime asks to be told of every packet that leaves a queue. And one
	// goroutine can wait for both families.
	epoll  *os.File
	poller syscall.RawConn
	wakeFd int // has ReadBatch look for news; -1 before Open is done

	reader   reader
	claims   claims
	routes   *router
	packet   *packetLink // nil: the raw sockets do all
	headless *headless   // nil: all packets bring their headers
	writers  writerPool
	stamps   stampQueue
}

// Open returns a Conn that receives nothing yet: Claim lets packets through.
//
// It needs CAP_NET_RAW; without it the error is syscall.EPERM to errors.Is and
// says what to do. What was asked for and could not be had, and is not worth a
// failure, is listed by Notes. The Conn belongs to the network namespace of the
// calling thread, whichever threads use it later.
func Open(cfg Config) (*Conn, error) {
	c := &Conn{cfg: cfg.withDefaults(), wakeFd: -1}
	if err := c.open(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Conn) open() error {
	var err error
	if c.ns, err = currentNetns(); err != nil {
		return err
	}
	if c.ifindex, err = interfaceIndex(c.cfg.Interface); err != nil {
		return err
	}
	if err := c.openSockets(); err != nil {
		return err
	}
	if c.routes, err = newRouter(); err != nil {
		return err
	}
	c.claims.init(c)
	if c.cfg.IO == PacketIO {
		if err := c.openPacketLink(); err != nil {
			c.whyRaw = err.Error()
		}
	}
	if err := c.watch(); err != nil {
		return err
	}
	// Transmit stamps are told by the number of a packet of one socket.
	if c.packet == nil && c.socket(false) != nil && !c.cfg.TxTimestamps {
		if c.headless, err = c.openHeadless(); err != nil {
			c.note("every IPv4 packet brings its header: %v", err)
		}
	}
	return nil
}

// openSockets opens a socket for each wanted family. A kernel without IPv6 is
// no reason to refuse IPv4.
func (c *Conn) openSockets() error {
	if c.cfg.Family != IPv6 {
		s, err := openIPv4()
		if err != nil {
			return err
		}
		c.sockets = append(c.sockets, s)
	}
	if c.cfg.Family != IPv4 {
		s, err := openIPv6()
		switch {
		case err == nil:
			c.sockets = append(c.sockets, s)
		case c.cfg.Family == Both && errors.Is(err, unix.EAFNOSUPPORT):
			c.note("no IPv6: %v", err)
		default:
			return err
		}
	}
	c.marked = true
	for _, s := range c.sockets {
		if err := c.configure(s); err != nil {
			return err
		}
	}
	return nil
}

// watch puts the sockets under the eyes of the runtime's poller.
func (c *Conn) watch() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return os.NewSyscallError("fcntl", err)
	}
	c.epoll = os.NewFile(uintptr(fd), "rawsock")
	if err := c.epoll.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("the runtime cannot poll an epoll descriptor: %w", err)
	}
	for i, s := range c.sockets {
		if c.packet != nil && s == c.packet.frames.s && s.sent == nil {
			continue // it hears nothing, and to watch it has a price: see openMouth
		}
		if err := unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, s.fd, s.interest(i)); err != nil {
			return os.NewSyscallError("epoll_ctl", err)
		}
	}
	if c.wakeFd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		c.wakeFd = -1
		return os.NewSyscallError("eventfd", err)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeEvent}
	if err := unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, c.wakeFd, &ev); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	c.poller, err = c.epoll.SyscallConn()
	c.reader.init(c, fd, c.wakeFd)
	return err
}

// Close ends the Conn and releases every claim. A blocked ReadBatch returns
// net.ErrClosed. Closing again does nothing.
func (c *Conn) Close() error {
	c.closing.Do(func() {
		if c.epoll != nil {
			c.epoll.Close()
		}
		c.claims.closeAll()
		if c.packet != nil {
			c.packet.stop()
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.closed = true
		for _, s := range c.sockets {
			s.close()
		}
		if c.headless != nil {
			unix.Close(c.headless.fd)
		}
		if c.wakeFd >= 0 {
			unix.Close(c.wakeFd)
		}
		if c.routes != nil {
			c.routes.close()
		}
		c.ns.close()
	})
	return nil
}

// Notes lists what was asked for and not granted, each with its reason. It does
// not change after Open.
func (c *Conn) Notes() []string { return c.notes }

func (c *Conn) note(format string, args ...any) {
	if note := fmt.Sprintf(format, args...); !slices.Contains(c.notes, note) {
		c.notes = append(c.notes, note) // of several sockets one is enough
	}
}

// Drops returns how many packets the kernel dropped before ReadBatch because
// the receive queue was full, since Open.
func (c *Conn) Drops() uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return 0
	}
	var n uint64
	for _, s := range c.sockets {
		n += s.drops()
	}
	return n
}

// IO returns what sockets carry the packets, and, if that is not what Config
// asked for, why not. Under PacketIO it may still be the raw socket for some
// destinations: Route.Raw tells.
func (c *Conn) IO() (mode IOMode, why string) {
	if c.packet != nil {
		return PacketIO, ""
	}
	return RawIO, c.whyRaw
}

// socket returns the raw socket of a family, or nil.
func (c *Conn) socket(v6 bool) *socket {
	for _, s := range c.sockets {
		if s.v6 == v6 && !s.packet {
			return s
		}
	}
	return nil
}

func interfaceIndex(name string) (int, error) {
	if name == "" {
		return 0, nil
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req)
	}
	if err != nil {
		return 0, &net.OpError{Op: "open", Net: "ip", Err: fmt.Errorf("interface %q: %w (ip link lists them)", name, err)}
	}
	return int(req.Uint32()), nil
}
