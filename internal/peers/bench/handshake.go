package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"rawtcp/internal/handshakes"

	"golang.org/x/sys/unix"
)

// connections is the metric of whole connections: opened, and closed in order by
// both sides, a second.
const connections = "connections/s"

// handshakeContests are connections that only open and close, 64 at a time and
// one at a time, P4 and P5.
func handshakeContests() []contest {
	many, one := connectContest("connect and close, 64 at a time", 64), connectContest("connect and close, one at a time", 1)
	row := func(goal string, c contest, us, peer string, b *Bound) comparison {
		return comparison{goal, c.name, connections, connections, us, peer, b}
	}
	many.comparisons = []comparison{
		row("P4", many, ourRaw, goNet, atLeast(1.4)),
		row("P4", many, ourRaw, gvisorGSO, atLeast(3.5)),
		row("P4", many, ourPacket, goNet, atLeast(2)),
		row("P4", many, ourPacket, gvisorGSO, atLeast(5)),
	}
	for _, us := range []string{ourRaw, ourPacket} {
		one.comparisons = append(one.comparisons, row("P5", one, us, gvisorGSO, atLeast(1.5)), row("P5", one, us, goNet, atLeast(0.5)))
	}
	for _, us := range []string{ourRawInTurn, ourPacketInTurn} {
		one.contenders = append(one.contenders, connects(us, 1))
		one.comparisons = append(one.comparisons, row("P5", one, us, goNet, nil))
	}
	return []contest{many, one}
}

func connectContest(name string, streams int) contest {
	c := contest{name: name, eachLap: renew, laps: turnsPerRound}
	for _, stack := range []string{ourRaw, ourPacket, goNet, gvisorGSO} {
		c.contenders = append(c.contenders, connects(stack, streams))
	}
	return c
}

func connects(stack string, streams int) contender {
	return contender{stack, func(s *Session) (sample, error) {
		got, err := s.play(stack, "connect", "accept", func(spec *Spec) { spec.Streams = streams })
		if err != nil {
			return nil, err
		}
		return sample{connections: got["peer "+connections]}, nil
	}}
}

// renew leaves the scene, with all that is in TIME-WAIT there, for a new one. The
// kernel clears the old one away in its own time, which is not to be measured.
func renew(s *Session) error {
	s.leave()
	if err := s.enter(true); err != nil {
		return err
	}
	time.Sleep(s.Length)
	return nil
}

// connect is the tested side: it opens connections to each address in turn and
// closes them. The kernel's side counts those that ended.
func connect(spec Spec) (sample, error) {
	if _, us := links[spec.Stack]; us {
		return drive(spec)
	}
	s, err := openStack(spec)
	if err != nil {
		return nil, err
	}
	m := newMeter()
	broken := make(chan error, spec.Streams)
	var turn atomic.Int64
	for range spec.Streams {
		go func() {
			for {
				remote := spec.Remotes[int(turn.Add(1))%len(spec.Remotes)]
				if err := openAndClose(s, remote); err != nil {
					broken <- err
					return
				}
				m.count(1)
			}
		}()
	}
	_, _, err = m.window(spec)
	select {
	case why := <-broken:
		return nil, why
	default:
		return sample{}, err
	}
}

// sourcePorts is how many ports a driver of ours claims. With the addresses of the
// other side they make more pairs than a run has connections, so that none waits
// for the TIME-WAIT of another, and none is claimed in the measured part.
func sourcePorts(spec Spec) int {
	const fastest, dynamic = 80_000, 16384 // connections a second, and ports
	run := spec.Warm + spec.Length + time.Second/2
	return min(dynamic, int(fastest*run.Seconds())/len(spec.Remotes))
}

// drive is our own way to make many connections. As for the others a connection is
// under way until it is closed on our side: none waits for the peer's FIN before it
// goes on, but for those whose names say that they do.
func drive(spec Spec) (sample, error) {
	link, err := openLink(spec.Stack)
	if err != nil {
		return nil, err
	}
	d := handshakes.New(handshakes.Config{Link: link, Parallel: spec.Streams, CloseBehind: spec.Stack != ourRawInTurn && spec.Stack != ourPacketInTurn})
	if err := d.Reserve(spec.Local, sourcePorts(spec)); err != nil {
		return nil, err
	}
	for _, remote := range spec.Remotes {
		if err := d.Open(handshakes.Target{Local: spec.Local, Remote: remote, MTU: mtu}, math.MaxInt32); err != nil {
			return nil, err
		}
	}
	for until := time.Now().Add(shortTimeout); d.Stats().Closed == 0; time.Sleep(spec.Length) {
		if time.Now().After(until) {
			return nil, fmt.Errorf("not one connection came to its end: %+v", d.Stats())
		}
	}
	return sample{}, nil
}

func openAndClose(s stack, remote netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(context.Background(), shortTimeout)
	defer cancel()
	c, err := s.Dial(ctx, remote)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return c.Close()
}

// accept is the kernel's side: it accepts, waits for the FIN, closes and counts.
// A thread with epoll does it, as no other way keeps up with all contenders.
func accept(spec Spec) (sample, error) {
	a, err := newAccepter(spec.Remotes[0].Port())
	if err != nil {
		return nil, err
	}
	broken := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		broken <- a.run()
	}()
	if err := tellReady(); err != nil {
		return nil, err
	}
	from, to, err := a.closed.window(spec)
	if err != nil {
		return nil, err
	}
	select {
	case why := <-broken:
		return nil, why
	default:
	}
	return sample{connections: float64(to.count-from.count) / to.at.Sub(from.at).Seconds()}, nil
}

// An accepter is a listening socket and the connections that it brought.
type accepter struct {
	listener, poll int
	closed         *meter // connections that ended in order
}

func newAccepter(port uint16) (*accepter, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Port: int(port)}), unix.Listen(fd, 65535)); err != nil {
		return nil, err
	}
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	a := &accepter{listener: fd, poll: poll, closed: newMeter()}
	return a, a.watch(fd, unix.EPOLLIN)
}

func (a *accepter) watch(fd int, events uint32) error {
	return unix.EpollCtl(a.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// run accepts and closes until that fails.
func (a *accepter) run() error {
	var events [256]unix.EpollEvent
	for {
		n, err := unix.EpollWait(a.poll, events[:], -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		for _, e := range events[:n] {
			if int(e.Fd) == a.listener {
				err = a.accept()
			} else {
				err = a.end(e)
			}
			if err != nil {
				return err
			}
		}
	}
}

// accept takes what waits, at most as much as lets the others have their turn.
func (a *accepter) accept() error {
	for range 64 {
		fd, _, err := unix.Accept4(a.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		if err := a.watch(fd, unix.EPOLLRDHUP); err != nil {
			return err
		}
	}
	return nil
}

// end closes a connection whose peer has closed, and counts it if that was by a FIN.
func (a *accepter) end(e unix.EpollEvent) error {
	if e.Events&unix.EPOLLERR == 0 {
		a.closed.count(1)
	}
	return unix.Close(int(e.Fd))
}
