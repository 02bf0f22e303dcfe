package netlab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Direction is one way through a relay.
type Direction uint8

// The two ways through the relay between a and b.
const (
	AtoB Direction = iota
	BtoA
)

// String returns "a>b" or "b>a".
func (d Direction) String() string {
	if d == AtoB {
		return "a>b"
	}
	return "b>a"
}

// RelayConfig says what a relay is like. The zero value forwards everything.
type RelayConfig struct {
	// Link is for both of its links. Segmentation offloads are off in any case;
	// with Offload the hosts still leave checksums unfinished, and the relay
	// finishes them.
	Link LinkConfig

	// Seed determines the fate of the n-th packet of each direction; 0 draws a
	// seed, which Relay.Seed tells.
	Seed uint64

	AtoB, BtoA Impairment
}

// A Relay is a bad link between two hosts: it forwards Ethernet frames both
// ways and treats the IP packets in them as its impairments say. To the hosts
// it is a cable. Its methods may be called from any goroutine.
type Relay struct {
	Link Link // the hosts' ends of it

	seed  uint64
	lanes [2]*lane
	ports [2]int // packet sockets: facing a, facing b
	wake  int    // eventfd that ends the loops

	running sync.WaitGroup
	closing sync.Once
}

// Relay connects two hosts as Join does, with a relay in between.
func (l *Lab) Relay(a, b *Host, cfg RelayConfig) (*Relay, error) {
	if err := errors.Join(cfg.AtoB.validate(), cfg.BtoA.validate()); err != nil {
		return nil, err
	}
	middle, err := l.Host(fmt.Sprintf("relay %s:%s-%s:%s", a.name, a.nextInterface(), b.name, b.nextInterface()))
	if err != nil {
		return nil, err
	}
	for cfg.Seed == 0 {
		cfg.Seed = rand.Uint64()
	}
	r := &Relay{
		seed:  cfg.Seed,
		ports: [2]int{-1, -1},
		wake:  -1,
		lanes: [2]*lane{newLane(cfg.Seed, AtoB, cfg.AtoB), newLane(cfg.Seed, BtoA, cfg.BtoA)},
	}
	if err := r.connect(l, a, middle, b, cfg.Link); err != nil {
		return nil, fmt.Errorf("relay between %s and %s: %w", a.name, b.name, err)
	}
	if err := middle.atEnd(r.Close); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// connect makes the two links, opens the sockets and starts the loops.
func (r *Relay) connect(l *Lab, a, middle, b *Host, cfg LinkConfig) error {
	// The relay's own kernel has nothing to say on the wire.
	if err := middle.Sysctl("net.ipv6.conf.default.disable_ipv6", "1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	left, right, err := l.joinThrough(a, middle, b, cfg)
	if err != nil {
		return err
	}
	r.Link = Link{A: left.A, B: right.B}
	if err := r.openDescriptors(left.B, right.A); err != nil {
		r.closeDescriptors()
		return err
	}
	r.running.Add(2)
	go r.run(r.lanes[AtoB], r.ports[0], r.ports[1])
	go r.run(r.lanes[BtoA], r.ports[1], r.ports[0])
	return nil
}

func (r *Relay) openDescriptors(facingA, facingB *Interface) (err error) {
	if r.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	if r.ports[0], err = facingA.openPacketSocket(); err != nil {
		return err
	}
	r.ports[1], err = facingB.openPacketSocket()
	return err
}

// joinThrough makes the two links of a relay and numbers their outer ends as one subnet.
func (l *Lab) joinThrough(a, middle, b *Host, cfg LinkConfig) (left, right *Link, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.nextSubnet()
	if err != nil {
		return nil, nil, err
	}
	if left, err = newLink(a, a.nextInterface(), middle, "left", cfg); err != nil {
		return nil, nil, err
	}
	if right, err = newLink(middle, "right", b, b.nextInterface(), cfg); err != nil {
		return nil, nil, err
	}
	for _, end := range []*Interface{left.A, left.B, right.A, right.B} {
		for _, o := range segmentationOffloads {
			if err := end.setOffload(o, false); err != nil {
				return nil, nil, err
			}
		}
	}
	return left, right, errors.Join(
		left.A.number(subnet4(n, 1), subnet6(n, 1)), right.B.number(subnet4(n, 2), subnet6(n, 2)))
}

// Seed returns the number that makes the relay's decisions again.
func (r *Relay) Seed() uint64 { return r.seed }

// Set changes what the relay does in one direction, for packets that arrive from now on.
func (r *Relay) Set(d Direction, i Impairment) error {
	if err := i.validate(); err != nil {
		return err
	}
	r.lanes[d].impairment.Store(&i)
	return nil
}

// SetBoth changes what the relay does in both directions.
func (r *Relay) SetBoth(i Impairment) error {
	return errors.Join(r.Set(AtoB, i), r.Set(BtoA, i))
}

// Counters returns what the relay did in one direction so far.
func (r *Relay) Counters(d Direction) Counters {
	l := r.lanes[d]
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counters
}

// Close ends the relay; frames still waiting are lost. It may be called more than once.
func (r *Relay) Close() {
	r.closing.Do(func() {
		_, _ = unix.Write(r.wake, binary.NativeEndian.AppendUint64(nil, 1)) // the counter has room
		r.running.Wait()
		r.closeDescriptors()
	})
}

func (r *Relay) closeDescriptors() {
	for _, fd := range []int{r.ports[0], r.ports[1], r.wake} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// largestFrame is room for a super-segment too, so that one would be noticed and not cut.
const largestFrame = 1 << 16

// run carries frames from one socket to another until Close. It waits in ppoll
// and not in the runtime's poller, whose timers are a millisecond coarse.
func (r *Relay) run(l *lane, from, to int) {
	defer r.running.Done()
	buf := make([]byte, largestFrame)
	for {
		poll := []unix.PollFd{{Fd: int32(from), Events: unix.POLLIN}, {Fd: int32(r.wake), Events: unix.POLLIN}}
		if _, err := unix.Ppoll(poll, l.timeout(time.Now()), nil); err != nil && err != unix.EINTR {
			panic(os.NewSyscallError("ppoll", err)) // no argument of ours can be wrong
		}
		if poll[1].Revents != 0 {
			return
		}
		l.receive(from, buf)
		for now := time.Now(); ; {
			frame, ok := l.pop(now)
			if !ok {
				break
			}
			_, err := unix.Write(to, frame)
			l.sent(err)
		}
		l.countOverruns(from)
	}
}

// batch is how many frames are read before those that are due go out.
const batch = 64

// receive admits the frames that are there, at most a batch.
func (l *lane) receive(from int, buf []byte) {
	for range batch {
		n, err := unix.Read(from, buf)
		if err != nil {
			return // nothing there, or the link went down, which ppoll will tell again
		}
		l.admit(time.Now(), buf[:n])
	}
}

// timeout returns how long to wait for the next frame that is due, nil for ever.
func (l *lane) timeout(now time.Time) *unix.Timespec {
	due, ok := l.next()
	if !ok {
		return nil
	}
	ts := unix.NsecToTimespec(max(0, due.Sub(now).Nanoseconds()))
	return &ts
}

// countOverruns adds what the socket had no room for since the last call.
func (l *lane) countOverruns(from int) {
	stats, err := unix.GetsockoptTpacketStats(from, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil || stats.Drops == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counters.Overrun += uint64(stats.Drops)
}

// relayBuffer is the receive buffer of a relay's socket in octets: thousands of full frames.
const relayBuffer = 16 << 20

// openPacketSocket opens a socket that sends and receives the interface's
// frames whole; -1 if it cannot.
func (i *Interface) openPacketSocket() (fd int, err error) {
	err = i.Host.Do(func() (err error) {
		// Protocol 0 receives nothing: only bind names the interface and opens the door.
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		return os.NewSyscallError("socket", err)
	})
	if err == nil {
		if err = i.preparePacketSocket(fd); err == nil {
			return fd, nil
		}
		unix.Close(fd)
	}
	return -1, i.told("open packet socket on", err)
}

// preparePacketSocket sizes the socket's buffer and binds it to the interface.
func (i *Interface) preparePacketSocket(fd int) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, relayBuffer) != nil {
		// Only root of the host may exceed net.core.rmem_max; Overrun tells if that hurts.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, relayBuffer); err != nil {
			return os.NewSyscallError("setsockopt SO_RCVBUF", err)
		}
	}
	// A packet socket does not read back what it sends itself, and the relay's
	// kernel sends nothing: all that arrives comes from the host.
	networkOrder := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})
	return os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder, Ifindex: i.Index}))
}
