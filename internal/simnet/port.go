package simnet

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
)

// A Port is a host's place on the network. It has the methods of engine.Link;
// all of them may be called by any goroutine at any time.
type Port struct {
	net    *Network
	number uint64
	cfg    PortConfig

	// The network's lock guards what follows.
	arrived  *sync.Cond
	queue    []*parcel
	queued   int                 // octets in queue
	claims   map[uint16][]*claim // by port number
	count    PortCounters
	failing  func(pkt []byte) error
	scratch  []byte
	segment  []byte // scratch
	isClosed bool
}

// PortConfig describes a port.
type PortConfig struct {
	Addrs         []netip.Addr // the first of a family is the default source
	MTU           int          // largest packet WriteBatch takes; default 1500
	SuperSegment  int          // largest super-segment, octets; 0: none
	ReceiveBuffer int          // octets that may wait for ReadBatch; default 4 MiB

	// Refuse answers TCP segments to addresses and ports nobody has claimed
	// with a RST, as the kernel of a host does.
	Refuse bool
}

// PortCounters count the packets of a port.
type PortCounters struct {
	Sent, Received int
	Unclaimed      int // arrived for an address and port without a claim
	Overflowed     int // dropped, since nobody read
}

// NewPort attaches a host. An address that another port has moves to the new one.
func (n *Network) NewPort(cfg PortConfig) *Port {
	if cfg.MTU <= 0 {
		cfg.MTU = 1500
	}
	if cfg.ReceiveBuffer <= 0 {
		cfg.ReceiveBuffer = 4 << 20
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.number++
	p := &Port{net: n, number: n.number, cfg: cfg, arrived: sync.NewCond(&n.mu), claims: map[uint16][]*claim{}}
	for _, a := range cfg.Addrs {
		n.ports[a] = p
	}
	return p
}

// Addr returns the port's first address.
func (p *Port) Addr() netip.Addr { return p.cfg.Addrs[0] }

// Claims returns how many claims are held.
func (p *Port) Claims() int {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	n := 0
	for _, list := range p.claims {
		n += len(list)
	}
	return n
}

// Counters returns what the port has sent and received.
func (p *Port) Counters() PortCounters {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	return p.count
}

// FailWrites makes WriteBatch ask fail about every packet; an error of it is
// WriteBatch's. nil ends that. fail is called with the network's lock held.
func (p *Port) FailWrites(fail func(pkt []byte) error) {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	p.failing = fail
}

// Inject delivers a packet that no port has sent.
func (p *Port) Inject(pkt []byte) {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	p.net.fly(p, pkt, p.net.now())
	p.net.land()
}

// InjectError makes ReadBatch return an error, after the packets that arrived
// before it.
func (p *Port) InjectError(err error) {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	p.news(err)
}

// ReadBatch waits for packets, as engine.Link says.
func (p *Port) ReadBatch(bufs [][]byte, sizes []int, stamps []int64) (int, error) {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	for len(p.queue) == 0 && !p.isClosed {
		p.arrived.Wait()
	}
	if p.isClosed {
		return 0, net.ErrClosed
	}
	n := 0
	for n < len(bufs) && n < len(p.queue) && p.queue[n].err == nil {
		sizes[n] = copy(bufs[n], p.queue[n].data)
		stamps[n] = p.queue[n].stamp
		p.queued -= len(p.queue[n].data)
		p.net.recycle(p.queue[n])
		n++
	}
	if n == 0 && len(bufs) > 0 {
		err := p.queue[0].err
		p.net.recycle(p.queue[0])
		p.queue = slices.Delete(p.queue, 0, 1)
		return 0, err
	}
	p.queue = slices.Delete(p.queue, 0, n)
	return n, nil
}

// WriteBatch sends packets, as engine.Link says. One larger than the port's MTU
// is EMSGSIZE.
func (p *Port) WriteBatch(pkts [][]byte) (int, error) {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	defer p.net.land()
	for i, pkt := range pkts {
		if err := p.refusal(pkt); err != nil {
			return i, err
		}
		p.write(pkt)
	}
	return len(pkts), nil
}

// SuperSegment is PortConfig.SuperSegment, as engine.SegmentingLink says.
func (p *Port) SuperSegment() int { return p.cfg.SuperSegment }

// WriteSegments cuts and sends packets, as engine.SegmentingLink says. A segment
// larger than the port's MTU is EMSGSIZE, and so is a super-segment that is larger
// than the port takes.
func (p *Port) WriteSegments(pkts [][]byte, segmentSizes []int) (int, error) {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	defer p.net.land()
	for i, pkt := range pkts {
		if err := p.writeSegments(pkt, segmentSizes[i]); err != nil {
			return i, err
		}
	}
	return len(pkts), nil
}

func (p *Port) writeSegments(pkt []byte, size int) error {
	if size > 0 && len(pkt) > p.cfg.SuperSegment {
		return os.NewSyscallError("sendmsg", syscall.EMSGSIZE)
	}
	for i := 0; ; i++ {
		seg, last := pkt, true
		if size > 0 {
			p.segment, last = cut(p.segment[:0], pkt, size, i)
			seg = p.segment
		}
		if err := p.refusal(seg); err != nil {
			return err
		}
		if p.write(seg); last {
			return nil
		}
	}
}

func (p *Port) refusal(pkt []byte) error {
	switch {
	case p.isClosed:
		return net.ErrClosed
	case len(pkt) > p.cfg.MTU:
		return os.NewSyscallError("sendmsg", syscall.EMSGSIZE)
	case p.failing != nil:
		return p.failing(pkt)
	}
	return nil
}

// write sends a copy of a packet, so that a hook may change it.
func (p *Port) write(pkt []byte) {
	p.count.Sent++
	p.scratch = append(p.scratch[:0], pkt...)
	_, dst := endpoints(pkt)
	to := p.net.ports[dst.Addr()]
	if to == nil {
		p.net.tap(Packet{Sent: p.net.now(), From: p, Data: pkt, Fate: NoRoute})
		return
	}
	p.net.send(p, to, p.scratch)
}

// arrive takes a parcel that has come to its end. Called with the lock held.
func (p *Port) arrive(pc *parcel, stamp int64) {
	_, dst := endpoints(pc.data)
	switch {
	case p.isClosed:
	case !p.isClaimed(dst):
		p.count.Unclaimed++
		if p.cfg.Refuse {
			p.refuse(pc.data)
		}
	case p.queued+len(pc.data) > p.cfg.ReceiveBuffer:
		p.count.Overflowed++
	default:
		p.count.Received++
		p.queued += len(pc.data)
		pc.stamp = stamp
		p.queue = append(p.queue, pc)
		p.arrived.Signal()
		return
	}
	p.net.recycle(pc)
}

// refuse sends the RST of a host that does not know the connection.
func (p *Port) refuse(pkt []byte) {
	if rst := resetFor(pkt); rst != nil {
		p.write(rst)
	}
}

// news puts an error among the packets that wait. Called with the lock held.
func (p *Port) news(err error) {
	pc := p.net.newParcel(nil)
	pc.err = err
	p.queue = append(p.queue, pc)
	p.arrived.Signal()
}

// Route finds the source address for a destination, as engine.Link says.
func (p *Port) Route(remote, local netip.Addr) (source netip.Addr, mtu int, err error) {
	if local.IsValid() {
		if !slices.Contains(p.cfg.Addrs, local) {
			return netip.Addr{}, 0, fmt.Errorf("source %v: %w", local, syscall.EADDRNOTAVAIL)
		}
		return local, p.cfg.MTU, nil
	}
	for _, a := range p.cfg.Addrs {
		if a.Is4() == remote.Is4() {
			return a, p.cfg.MTU, nil
		}
	}
	return netip.Addr{}, 0, fmt.Errorf("route to %v: %w", remote, syscall.ENETUNREACH)
}

// Close ends the port; its packets vanish from now on.
func (p *Port) Close() error {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	if p.isClosed {
		return net.ErrClosed
	}
	p.isClosed = true
	p.arrived.Broadcast()
	return nil
}

// A claim is an address and port that belong to one owner.
type claim struct {
	port *Port
	addr netip.AddrPort
}

// Claim takes an address and port, as engine.Link says.
func (p *Port) Claim(local netip.AddrPort) (io.Closer, error) {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	switch {
	case p.isClosed:
		return nil, net.ErrClosed
	case local.Port() == 0 || !local.IsValid():
		return nil, fmt.Errorf("claim of %v: %w", local, syscall.EINVAL)
	case !local.Addr().IsUnspecified() && !slices.Contains(p.cfg.Addrs, local.Addr()):
		return nil, fmt.Errorf("claim of %v: %w", local, syscall.EADDRNOTAVAIL)
	}
	for _, c := range p.claims[local.Port()] {
		if covers(c.addr.Addr(), local.Addr()) || covers(local.Addr(), c.addr.Addr()) {
			return nil, fmt.Errorf("claim of %v: %w", local, os.NewSyscallError("bind", syscall.EADDRINUSE))
		}
	}
	c := &claim{p, local}
	p.claims[local.Port()] = append(p.claims[local.Port()], c)
	return c, nil
}

// Close gives the address and port back.
func (c *claim) Close() error {
	c.port.net.mu.Lock()
	defer c.port.net.mu.Unlock()
	number := c.addr.Port()
	list := c.port.claims[number]
	i := slices.Index(list, c)
	if i < 0 {
		return net.ErrClosed
	}
	if list = slices.Delete(list, i, i+1); len(list) == 0 {
		delete(c.port.claims, number)
	} else {
		c.port.claims[number] = list
	}
	return nil
}

func (p *Port) isClaimed(dst netip.AddrPort) bool {
	for _, c := range p.claims[dst.Port()] {
		if covers(c.addr.Addr(), dst.Addr()) {
			return true
		}
	}
	return false
}

// covers reports whether a claim of one address holds another: the unspecified
// IPv4 address covers IPv4, [::] covers both families.
func covers(claimed, a netip.Addr) bool {
	return claimed == a || claimed.IsUnspecified() && (claimed.Is6() || a.Is4())
}
