package rawsock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// A socket is the raw TCP socket of one family, or a packet socket.
type socket struct {
	fd     int
	out    int // what packets are sent by: fd, or what openMouth has opened
	v6     bool
	packet bool
	in     inBatch
	ring   *ring // nil: all that comes is received by in
	event  unix.EpollEvent
	mean   int  // octets of a packet in the latest batch
	awake  bool // the reader looks here without being told

	sent *sentRing // nil without transmit timestamps
}

// ipv6FlowInfo is IPV6_FLOWINFO of linux/in6.h: asks for the traffic class and
// flow label of what is received. x/sys has no name for it.
const ipv6FlowInfo = 11

// skMeminfoDrops is SK_MEMINFO_DROPS of linux/sock_diag.h, the last of nine.
const skMeminfoDrops = 8

// network returns the net package's name of the socket's network, for errors.
func (s *socket) network() string {
	switch {
	case s.packet:
		return "packet"
	case s.v6:
		return "ip6:tcp"
	}
	return "ip4:tcp"
}

// listenRaw opens a raw socket through the net package. A raw socket receives
// from its first moment on, so the filter that refuses everything comes first.
func listenRaw(network, address string) (*net.IPConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error {
		var err error
		ctlErr := rc.Control(func(fd uintptr) { err = attachFilter(int(fd), refuseAll) })
		return errors.Join(ctlErr, err)
	}}
	pc, err := lc.ListenPacket(context.Background(), network, address)
	if err != nil {
		return nil, needNetRaw(err)
	}
	return pc.(*net.IPConn), nil
}

func openIPv4() (*socket, error) {
	pc, err := listenRaw("ip4:6", "0.0.0.0")
	if err != nil {
		return nil, err
	}
	defer pc.Close()
	raw, err := ipv4.NewRawConn(pc) // sets IP_HDRINCL
	if err != nil {
		return nil, fmt.Errorf("IP_HDRINCL: %w", err)
	}
	if err := raw.SetBPF(refuseAll); err != nil {
		return nil, fmt.Errorf("SO_ATTACH_FILTER: %w", err)
	}
	return detach(pc, false)
}

func openIPv6() (*socket, error) {
	pc, err := listenRaw("ip6:6", "::")
	if err != nil {
		return nil, err
	}
	defer pc.Close()
	return detach(pc, true)
}

// detach takes the socket out of the runtime's poller; see Conn.epoll.
func detach(pc *net.IPConn, v6 bool) (*socket, error) {
	rc, err := pc.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &socket{v6: v6}
	ctlErr := rc.Control(func(fd uintptr) {
		s.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
		s.out = s.fd
	})
	if err := errors.Join(ctlErr, os.NewSyscallError("fcntl", err)); err != nil {
		return nil, err
	}
	s.in.init(v6)
	return s, nil
}

// configure sets the options that both the reader and the writer rely on, and
// empties the queue of what came in before the filter was attached.
func (c *Conn) configure(s *socket) error {
	opts := []option{
		{"SO_BROADCAST", unix.SOL_SOCKET, unix.SO_BROADCAST, 0}, // package net sets it; TCP has nothing to say to many
	}
	if s.v6 {
		opts = []option{
			{"IPV6_RECVPKTINFO", unix.SOL_IPV6, unix.IPV6_RECVPKTINFO, 1},
			{"IPV6_RECVHOPLIMIT", unix.SOL_IPV6, unix.IPV6_RECVHOPLIMIT, 1},
			{"IPV6_FLOWINFO", unix.SOL_IPV6, ipv6FlowInfo, 1},
		}
	}
	for _, o := range opts {
		if err := o.set(s.fd); err != nil {
			return err
		}
	}
	if err := c.configureBoth(s.fd, s.v6); err != nil {
		return err
	}
	c.configureOptional(s)
	if c.cfg.TxTimestamps {
		c.enableTxStamps(s)
	}
	s.discard()
	return c.openMouth(s)
}

// configureBoth sets what a raw socket that receives and one that sends have in common.
func (c *Conn) configureBoth(fd int, v6 bool) error {
	opts := []option{
		{"IP_HDRINCL", unix.SOL_IP, unix.IP_HDRINCL, 1},
		{"IP_RECVERR", unix.SOL_IP, unix.IP_RECVERR, 1},
	}
	if v6 {
		opts = []option{
			{"IPV6_HDRINCL", unix.SOL_IPV6, unix.IPV6_HDRINCL, 1},
			{"IPV6_RECVERR", unix.SOL_IPV6, unix.IPV6_RECVERR, 1},
		}
	}
	for _, o := range opts {
		if err := o.set(fd); err != nil {
			return err
		}
	}
	if c.cfg.Interface != "" {
		if err := unix.BindToDevice(fd, c.cfg.Interface); err != nil {
			return fmt.Errorf("bind to interface %q: %w", c.cfg.Interface, os.NewSyscallError("setsockopt", err))
		}
	}
	c.mark(fd)
	return nil
}

// mark marks what a socket sends.
func (c *Conn) mark(fd int) {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(c.cfg.Mark)); err != nil {
		c.marked = false
		c.note("packets are not marked: SO_MARK: %v (Linux 5.17 needs CAP_NET_RAW, older ones CAP_NET_ADMIN)", err)
	}
}

// configureOptional sets what a Conn is better with and can do without.
func (c *Conn) configureOptional(s *socket) {
	if c.cfg.NoTimestamps {
		// nobody looks at them
	} else if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, 1); err != nil {
		c.note("no receive timestamps: SO_TIMESTAMPNS: %v", err)
	}
	if s.packet {
		c.mark(s.fd)
	}
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, c.cfg.ReceiveBuffer) == nil {
		return
	}
	_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, c.cfg.ReceiveBuffer)
	// The kernel doubles what is asked for, to cover its own overhead.
	if got, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF); err == nil && got < c.cfg.ReceiveBuffer {
		c.note("receive buffer is %d octets, not %d: raise net.core.rmem_max or give CAP_NET_ADMIN", got, c.cfg.ReceiveBuffer)
	}
}

// An option is a socket option with a name for errors.
type option struct {
	name               string
	level, opt, enable int
}

func (o option) set(fd int) error {
	if err := unix.SetsockoptInt(fd, o.level, o.opt, o.enable); err != nil {
		return fmt.Errorf("%s: %w", o.name, os.NewSyscallError("setsockopt", err))
	}
	return nil
}

// discard empties the receive queue.
func (s *socket) discard() {
	var b [1]byte
	for {
		_, _, err := unix.Recvfrom(s.fd, b[:], unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		if err != nil && err != unix.EINTR {
			return
		}
	}
}

// receive moves packets into bufs and returns how many. It never waits.
func (s *socket) receive(bufs [][]byte, sizes []int, stamps []int64) (int, unix.Errno) {
	if s.ring != nil {
		return s.ring.read(s.fd, &s.in, bufs, sizes, stamps)
	}
	return s.in.recv(s.fd, bufs, sizes, stamps)
}

// interest is what epoll is asked about socket i of a Conn. Its memory is the
// socket's, and used by one goroutine at a time.
func (s *socket) interest(i int) *unix.EpollEvent {
	s.event = unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
	return &s.event
}

// close closes the socket, of which a ring would keep a part.
func (s *socket) close() {
	if s.ring != nil {
		s.ring.close()
	}
	unix.Close(s.fd)
	if s.out != s.fd {
		unix.Close(s.out)
	}
}

// drops reads SO_MEMINFO's count of dropped packets, or the ring's.
func (s *socket) drops() uint64 {
	if s.ring != nil {
		return s.ring.drops(s.fd)
	}
	var info [skMeminfoDrops + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0
	}
	return uint64(info[skMeminfoDrops])
}

// attachFilter attaches a program, replacing the one before in one step.
func attachFilter(fd int, prog []bpf.RawInstruction) error {
	filter := make([]unix.SockFilter, len(prog))
	for i, ins := range prog {
		filter[i] = unix.SockFilter{Code: ins.Op, Jt: ins.Jt, Jf: ins.Jf, K: ins.K}
	}
	fprog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return os.NewSyscallError("setsockopt", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &fprog))
}
