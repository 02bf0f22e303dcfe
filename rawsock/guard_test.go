package rawsock

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// checkSilence provokes the kernel on a claimed port and wants no answer, and
// every provocation in the Conn.
func checkSilence(l *lab, s *station, family int, local netip.AddrPort) {
	l.t.Helper()
	w := l.newWire(family)
	for _, ttl := range []byte{1, 64, 255} {
		w.provoke(local, ttl)
		for _, flags := range provocations {
			if p := s.want(flags); p.ttl != ttl {
				l.t.Errorf("TTL %d arrived as %d", ttl, p.ttl)
			}
		}
		if heard := w.heardBefore(l.ours[family]); len(heard) > 0 {
			l.t.Errorf("TTL %d: the kernel answered %+v", ttl, heard)
		}
	}
}

func TestKernelResetsWithoutGuard(t *testing.T) { // G1
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		s := openStation(t, Config{Guard: GuardNone})
		local := netip.AddrPortFrom(l.ours[family], 4001)
		s.claim(local)
		w := l.newWire(family)
		w.send(tcpPacket{src: netip.AddrPortFrom(l.theirs[family], 80), dst: local, ack: 1, flags: syn | ack})
		s.want(syn | ack)
		if heard := w.heardBefore(l.ours[family]); len(heard) != 1 || heard[0].flags != rst {
			t.Errorf("heard %+v, want one RST", heard)
		}
		if s.Guard() != "none" {
			t.Errorf("Guard() = %q", s.Guard())
		}
	})
}

func TestGuardSilencesKernel(t *testing.T) { // G2
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		s := openStation(t, Config{Guard: GuardSocket})
		local := netip.AddrPortFrom(l.ours[family], 4001)
		s.claim(local)
		checkSilence(l, s, family, local)
		if s.Guard() != "minttl+md5+filter" {
			t.Errorf("Guard() = %q", s.Guard())
		}
	})
}

func TestWildcardGuardSilencesBothFamilies(t *testing.T) {
	l := newLab(t)
	s := openStation(t, Config{})
	s.claim(netip.AddrPortFrom(netip.IPv6Unspecified(), 4002))
	for family := range 2 {
		checkSilence(l, s, family, netip.AddrPortFrom(l.ours[family], 4002))
	}
}

func TestEachWayOfDroppingSilences(t *testing.T) { // G3
	for _, way := range []struct {
		name  string
		set   func(fd int, v6 bool) error
		leaks bool // to TTL 255
	}{
		{"minttl", setMinTTL, true},
		{"md5", setMD5Key, false},
		{"filter", func(fd int, _ bool) error { return attachFilter(fd, refuseAll) }, false},
	} {
		t.Run(way.name, func(t *testing.T) {
			bothFamilies(t, func(t *testing.T, family int) {
				l := newLab(t)
				local := netip.AddrPortFrom(l.ours[family], 4001)
				listenWith(t, local, func(fd int) error { return way.set(fd, local.Addr().Is6()) }, true)
				w := l.newWire(family)
				w.provoke(local, 64)
				if heard := w.heardBefore(l.ours[family]); len(heard) > 0 {
					t.Errorf("TTL 64 draws %+v", heard)
				}
				w.provoke(local, 255)
				if heard := w.heardBefore(l.ours[family]); (len(heard) > 0) != way.leaks {
					t.Errorf("TTL 255 draws %+v", heard)
				}
			})
		})
	}
}

// listenWith binds a bare socket for the length of the test.
func listenWith(t *testing.T, local netip.AddrPort, prepare func(fd int) error, listen bool) {
	t.Helper()
	fd, err := tcpSocket(local, "")
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	must(t, prepare(fd))
	must(t, bind(fd, local, 0))
	if listen {
		must(t, unix.Listen(fd, 1))
	}
}

func TestBoundSocketDoesNotSilence(t *testing.T) { // G2
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		local := netip.AddrPortFrom(l.ours[family], 4001)
		listenWith(t, local, func(fd int) error { dropEverything(fd, local.Addr().Is6()); return nil }, false)
		w := l.newWire(family)
		w.provoke(local, 64)
		if heard := w.heardBefore(l.ours[family]); len(heard) == 0 {
			t.Error("a bound socket that does not listen keeps the kernel silent")
		}
	})
}

func TestGuardNeedsNoCapability(t *testing.T) { // G3
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		var s *station
		local := netip.AddrPortFrom(l.ours[family], 4001)
		must(t, withCapabilities(func() error {
			s = openStation(t, Config{})
			s.claim(local)
			return nil
		}, unix.CAP_NET_RAW))
		if s.Guard() != "minttl+md5" {
			t.Errorf("Guard() = %q", s.Guard())
		}
		checkSilence(l, s, family, local)
	})
}

func TestGuardShowsAsListenerAndAcceptsNothing(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		s := openStation(t, Config{})
		local := netip.AddrPortFrom(l.ours[family], 4003)
		s.claim(local)
		if !listening(t, family, local.Port()) {
			t.Error("ss -ltn would not show the guard")
		}
		// The connections stay in SYN-SENT: neither accepted nor refused.
		errs := make(chan error, 2)
		dial := func() error { return dialFor(local, 300*time.Millisecond) }
		go func() { errs <- dial() }() // by way of loopback
		go func() { errs <- l.peer.do(dial) }()
		for range 2 {
			var ne net.Error
			if err := <-errs; !errors.As(err, &ne) || !ne.Timeout() {
				t.Errorf("connecting to a guarded port: %v, want a timeout", err)
			}
		}
	})
}

func dialFor(to netip.AddrPort, d time.Duration) error {
	c, err := net.DialTimeout("tcp", to.String(), d)
	if err == nil {
		c.Close()
	}
	return err
}

// listening looks a listener up where ss looks.
func listening(t *testing.T, family int, port uint16) bool {
	const listen = "0A"
	return kernelSocket(t, family, port, listen)
}

// kernelSocket reports whether the kernel has a socket on a local port in a
// state, in the hexadecimal of /proc/net/tcp.
func kernelSocket(t *testing.T, family int, port uint16, state string) bool {
	t.Helper()
	b, err := os.ReadFile([]string{"/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"}[family])
	must(t, err)
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) > 3 && f[3] == state && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
			return true
		}
	}
	return false
}

func TestKernelAnswersALateFinAfterTheClaim(t *testing.T) { // G10
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		s := openStation(t, Config{})
		local := netip.AddrPortFrom(l.ours[family], 4001)
		release := s.claim(local)
		w := l.newWire(family)
		late := tcpPacket{src: netip.AddrPortFrom(w.here, 80), dst: local, seq: 1, ack: 1, flags: fin | ack}
		w.send(late)
		s.want(fin | ack)
		if heard := w.heardBefore(l.ours[family]); len(heard) > 0 {
			t.Errorf("under the claim the kernel answers %+v", heard)
		}
		must(t, release())
		w.send(late)
		if heard := w.heardBefore(l.ours[family]); len(heard) != 1 || heard[0].flags&rst == 0 {
			t.Errorf("after the claim the kernel answers %+v, want a RST", heard)
		}
		if len(s.packets) > 0 {
			t.Error("a packet came after its claim was released")
		}
	})
}

func TestTakenPortIsInUse(t *testing.T) {
	for _, mode := range []GuardMode{GuardAuto, GuardSocket, GuardNFT} {
		t.Run(mode.String(), func(t *testing.T) {
			bothFamilies(t, func(t *testing.T, family int) {
				l := newLab(t)
				ln, err := net.Listen("tcp", netip.AddrPortFrom(l.ours[family], 0).String())
				must(t, err)
				defer ln.Close()
				s := openStation(t, Config{Guard: mode})
				taken := ln.Addr().(*net.TCPAddr).AddrPort()
				wantClaimError(t, s, taken, syscall.EADDRINUSE)
				wantClaimError(t, s, netip.AddrPortFrom(netip.IPv6Unspecified(), taken.Port()), syscall.EADDRINUSE)
			})
		})
	}
}

func wantClaimError(t *testing.T, s *station, local netip.AddrPort, want error) {
	t.Helper()
	cl, err := s.Claim(local)
	if !errors.Is(err, want) {
		t.Errorf("Claim(%v) = %v, want %v", local, err, want)
	}
	var op *net.OpError
	if err != nil && !errors.As(err, &op) {
		t.Errorf("%v is no *net.OpError", err)
	}
	if cl != nil {
		cl.Close()
	}
}

// closedFirst returns our end of a connection between kernels that we closed.
func closedFirst(l *lab, family int, remote netip.AddrPort) netip.AddrPort {
	l.t.Helper()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(l.ours[family], 0))}
	c, err := d.Dial("tcp", remote.String())
	must(l.t, err)
	local := c.LocalAddr().(*net.TCPAddr).AddrPort()
	must(l.t, c.Close())
	return local
}

func TestPortInTimeWaitIsInUse(t *testing.T) { // a kernel connection would answer on it
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		remote := kernelListener(l, family)
		local := closedFirst(l, family, remote)
		const timeWait = "06"
		begin := time.Now()
		poll(t, "TIME-WAIT", func() bool {
			if time.Since(begin) > patience/6 { // it may have come and gone before we looked
				begin, local = time.Now(), closedFirst(l, family, remote)
			}
			return kernelSocket(t, family, local.Port(), timeWait)
		})
		for _, mode := range []GuardMode{GuardSocket, GuardNFT} {
			wantClaimError(t, openStation(t, Config{Guard: mode}), local, syscall.EADDRINUSE)
		}
	})
}

func TestClaimRefusals(t *testing.T) {
	l := newLab(t)
	s, only4 := openStation(t, Config{}), openStation(t, Config{Family: IPv4})
	wantClaimError(t, s, netip.AddrPortFrom(l.theirs[0], 4001), syscall.EADDRNOTAVAIL)
	wantClaimError(t, s, netip.AddrPortFrom(l.theirs[1], 4001), syscall.EADDRNOTAVAIL)
	wantClaimError(t, s, netip.AddrPortFrom(l.ours[0], 0), syscall.EINVAL)
	wantClaimError(t, s, netip.AddrPort{}, syscall.EINVAL)
	wantClaimError(t, s, netip.MustParseAddrPort("224.0.0.1:80"), syscall.EINVAL)
	wantClaimError(t, only4, netip.AddrPortFrom(l.ours[1], 4001), syscall.EAFNOSUPPORT)
	must(t, withCapabilities(func() error {
		wantClaimError(t, s, netip.AddrPortFrom(l.ours[0], 80), syscall.EACCES)
		return nil
	}, unix.CAP_NET_RAW))
	_, err := s.Claim(netip.MustParseAddrPort("[fe80::1%nosuch]:4001"))
	if !errors.Is(err, syscall.ENODEV) {
		t.Errorf("claim on a missing interface: %v", err)
	}
}

func TestClaimsShareOneGuard(t *testing.T) {
	l := newLab(t)
	s := openStation(t, Config{})
	local := netip.AddrPortFrom(l.ours[0], 4001)
	wide := netip.AddrPortFrom(netip.IPv4Unspecified(), 4001)
	first, second := s.claim(wide), s.claim(local)
	must(t, first())
	must(t, first()) // again does nothing
	if !listening(t, 0, 4001) {
		t.Fatal("the guard went with the first of two claims")
	}
	must(t, second())
	if listening(t, 0, 4001) {
		t.Fatal("the guard outlived its claims")
	}
	// The other way round the narrow guard is in the way of the wide one.
	s.claim(local)
	wantClaimError(t, s, wide, syscall.EADDRINUSE)
}

func TestOtherProgramCannotTakeAGuardedPort(t *testing.T) {
	for _, mode := range []GuardMode{GuardSocket, GuardNFT} {
		l := newLab(t)
		s := openStation(t, Config{Guard: mode})
		local := netip.AddrPortFrom(l.ours[0], 4001)
		release := s.claim(local)
		if _, err := net.Listen("tcp", local.String()); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%v: listening on a claimed port: %v", mode, err)
		}
		must(t, release())
		ln, err := net.Listen("tcp", local.String())
		must(t, err)
		ln.Close()
	}
}

func TestCloseReleasesClaims(t *testing.T) {
	for _, mode := range []GuardMode{GuardSocket, GuardNFT} {
		l := newLab(t)
		s := openStation(t, Config{Guard: mode})
		local := netip.AddrPortFrom(l.ours[0], 4001)
		release := s.claim(local)
		must(t, s.Close())
		ln, err := net.Listen("tcp", local.String())
		must(t, err)
		ln.Close()
		must(t, release())
		if n := len(nftTables(t)); n != 0 {
			t.Errorf("%d nft tables are left", n)
		}
	}
}

func TestGuardDiesWithTheProcess(t *testing.T) { // G4, G6
	for _, mode := range []GuardMode{GuardSocket, GuardNFT} {
		t.Run(mode.String(), func(t *testing.T) {
			child := startChild(t, "claim", mode.String())
			if mode == GuardNFT && len(nftTables(t)) != 1 {
				t.Errorf("nft tables: %v", nftTables(t))
			}
			must(t, child.Process.Kill())
			child.Wait()
			killed := time.Now()
			poll(t, "the port of a killed process", func() bool {
				ln, err := net.Listen("tcp", childClaim.String())
				if err != nil {
					return false
				}
				ln.Close()
				return len(nftTables(t)) == 0
			})
			t.Logf("free %v after the death of its owner", time.Since(killed))
		})
	}
}

// poll waits for the kernel to get somewhere.
func poll(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); {
		if time.Now().After(end) {
			t.Fatalf("%s: still not after %v", what, patience)
		}
		time.Sleep(time.Millisecond)
	}
}
