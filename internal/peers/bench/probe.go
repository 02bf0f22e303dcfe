package bench

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"rawtcp/internal/ping"
	"rawtcp/rawsock"
	"rawtcp/segment"

	"golang.org/x/sys/unix"
)

const (
	probesPerSecond = "probes/s"
	hping3          = "hping3 --flood"
)

// probeContests are half-open probes as fast as they go, P6.
func probeContests() []contest {
	const work = "half-open probes answered"
	c := contest{name: work, laps: turnsPerRound, setUp: func(s *Session) error { return s.enter(true) }, contenders: []contender{
		{ourRaw, func(s *Session) (sample, error) { return s.playProbes(ourRaw) }},
		{ourPacket, func(s *Session) (sample, error) { return s.playProbes(ourPacket) }},
		{hping3, (*Session).playHping},
	}}
	for _, us := range []string{ourRaw, ourPacket} {
		c.comparisons = append(c.comparisons, comparison{"P6", work, probesPerSecond, probesPerSecond, us, hping3, atLeast(1)})
	}
	return []contest{c}
}

func (s *Session) playProbes(stack string) (sample, error) {
	return s.play(stack, "probe", "listen", nil)
}

// playHping counts the SYN-ACKs that the kernel's side sent to hping3, which
// itself looks at none of them when it floods.
func (s *Session) playHping() (sample, error) {
	to, port := remotes(s.lab.toTested)[0], s.nextPort()
	peer, err := s.start(s.lab.kernel, s.peerCPU, Spec{Stack: goNet, Work: "listen", Remotes: []netip.AddrPort{netip.AddrPortFrom(to, port)}})
	if err != nil {
		return nil, err
	}
	defer peer.kill()
	if err := peer.ready(); err != nil {
		return nil, err
	}
	tool, err := s.startProgram(s.lab.tested, s.testCPU, "hping3", "--flood", "-q", "-S", "-p", strconv.Itoa(int(port)), to.String())
	if err != nil {
		return nil, err
	}
	defer tool.kill()
	time.Sleep(s.Warm)
	began := time.Now()
	before, err := s.sentByKernel()
	if err != nil {
		return nil, err
	}
	after := before
	for time.Since(began) < s.Length || after == before && time.Since(began) < shortTimeout {
		time.Sleep(s.Length)
		if after, err = s.sentByKernel(); err != nil {
			return nil, err
		}
	}
	took := time.Since(began)
	if err := tool.Process.Signal(syscall.SIGINT); err != nil {
		return nil, fmt.Errorf("hping3 ended early: %w", err)
	}
	_, _ = tool.output() // its exit code says that nobody answered: it did not look
	if after == before {
		return nil, fmt.Errorf("not one probe was answered: %s", tool.stderr.String())
	}
	return sample{probesPerSecond: float64(after-before) / took.Seconds()}, nil
}

// sentByKernel is how many packets the kernel's side has sent to the tested one.
func (s *Session) sentByKernel() (sent uint64, err error) {
	err = s.lab.kernel.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/dev")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			name, counters, _ := strings.Cut(strings.TrimSpace(line), ":")
			if columns := strings.Fields(counters); name == s.lab.toTested.B.Name && len(columns) > 9 {
				sent, err = strconv.ParseUint(columns[9], 10, 64)
				return err
			}
		}
		return fmt.Errorf("/proc/net/dev has no %s", s.lab.toTested.B.Name)
	})
	return sent, err
}

// underway is how many probes of ours wait at a time.
const underway = 256

// probe is the tested side: the machinery of ping, with every round trip in its
// histogram. Its times are those of the program: nobody asks the kernel for a stamp
// a hundred thousand times a second.
func probe(spec Spec) (sample, error) {
	link, err := rawsock.Open(rawsock.Config{Family: rawsock.IPv4, IO: links[spec.Stack], NoTimestamps: true})
	if err != nil {
		return nil, err
	}
	syn := segment.Segment{Window: 64240, TTL: 64, Options: segment.Options{Set: segment.HasMSS, MSS: mtu - 40}}
	p := ping.NewPinger(link, ping.Config{
		Targets: []ping.Target{{Local: spec.Local, Remote: spec.Remotes[0], SYN: syn}}, Flood: underway, Wait: time.Second,
	}, nil)
	ended, stop := make(chan error, 1), make(chan struct{})
	go func() { ended <- p.Run(stop, nil) }()
	for p.Stats()[0].Replies < 2*underway { // until every port is claimed
		select {
		case err := <-ended:
			return nil, err
		case <-time.After(time.Millisecond):
		}
	}
	time.Sleep(spec.Warm)
	from, began := p.Stats()[0], time.Now()
	to, took := from, time.Duration(0)
	for took < spec.Length || to.Replies == from.Replies && took < shortTimeout {
		time.Sleep(spec.Length)
		to, took = p.Stats()[0], time.Since(began)
	}
	close(stop)
	if err := <-ended; err != nil {
		return nil, err
	}
	return answered(from, to, p.Stats()[0], took)
}

// answered is how many probes a second were answered, of whom each must have its
// round trip told and its RST sent.
func answered(from, to, end ping.Stats, took time.Duration) (sample, error) {
	replies := to.Replies - from.Replies
	if timed := to.Times.Count() - from.Times.Count(); replies == 0 || timed < replies {
		return nil, fmt.Errorf("%d replies and %d round-trip times", replies, timed)
	}
	if resets := end.SegmentsSent - end.Sent; resets < end.Replies {
		return nil, fmt.Errorf("%d replies and %d RSTs", end.Replies, resets)
	}
	return sample{probesPerSecond: float64(replies) / took.Seconds()}, nil
}

// listenOnly is the kernel's side: a port where handshakes can begin.
func listenOnly(spec Spec) (sample, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(spec.Remotes[0].Port())}); err != nil {
		return nil, err
	}
	if err := unix.Listen(fd, 65535); err != nil {
		return nil, err
	}
	return sample{}, tellReady()
}
