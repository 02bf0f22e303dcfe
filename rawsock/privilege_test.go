package rawsock

import (
	"errors"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// withCapabilities runs f on a thread that has these capabilities and no
// others, for good.
func withCapabilities(f func() error, caps ...int) error {
	errc := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		var err error
		defer func() { errc <- err }()
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		for _, c := range caps {
			data[c/32].Effective |= 1 << (c % 32)
			data[c/32].Permitted |= 1 << (c % 32)
		}
		if err = unix.Capset(&hdr, &data[0]); err == nil {
			err = f()
		}
	}()
	return <-errc
}

func TestOpenNamesTheMissingCapability(t *testing.T) {
	err := withCapabilities(func() error {
		_, err := openLink(Config{})
		return err
	})
	exe, _ := os.Executable()
	if !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), "need CAP_NET_RAW: sudo setcap cap_net_raw+ep "+exe) {
		t.Errorf("Open without capabilities: %v", err)
	}
}

func TestOpenSocketOutlivesItsCapabilities(t *testing.T) { // S5
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		s := openStation(t, Config{})
		must(t, withCapabilities(func() error {
			local := netip.AddrPortFrom(l.ours[family], 4001)
			s.claim(local)
			w := l.newWire(family)
			s.send(tcpPacket{src: local, dst: netip.AddrPortFrom(w.here, 80), seq: 5, flags: rst})
			if p, ok := w.receive(patience); !ok || p.seq != 5 {
				t.Errorf("the peer got %+v, %v", p, ok)
			}
			w.send(tcpPacket{src: netip.AddrPortFrom(w.here, 80), dst: local, flags: ack})
			s.want(ack)
			if _, err := openLink(Config{}); !errors.Is(err, syscall.EPERM) {
				t.Errorf("a new socket without capabilities: %v", err)
			}
			return nil
		}))
	})
}

func TestTableNeedsNetAdmin(t *testing.T) {
	must(t, withCapabilities(func() error {
		s := openStation(t, Config{Guard: GuardNFT})
		_, err := s.Claim(netip.MustParseAddrPort("127.0.0.1:4001"))
		if !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), "cap_net_admin") {
			t.Errorf("nft guard without CAP_NET_ADMIN: %v", err)
		}
		return nil
	}, unix.CAP_NET_RAW))
}

func TestSmallReceiveBufferIsNoted(t *testing.T) { // E3
	must(t, withCapabilities(func() error {
		s := openStation(t, Config{ReceiveBuffer: 1 << 30})
		if notes := strings.Join(s.Notes(), "\n"); !strings.Contains(notes, "net.core.rmem_max") {
			t.Errorf("Notes() = %q", notes)
		}
		return nil
	}, unix.CAP_NET_RAW))
}

func TestCapabilities(t *testing.T) {
	for _, want := range []Privileges{{}, {NetRaw: true}, {NetRaw: true, NetAdmin: true, NetBindService: true}} {
		var caps []int
		for c, on := range map[int]bool{unix.CAP_NET_RAW: want.NetRaw, unix.CAP_NET_ADMIN: want.NetAdmin, unix.CAP_NET_BIND_SERVICE: want.NetBindService} {
			if on {
				caps = append(caps, c)
			}
		}
		must(t, withCapabilities(func() error {
			got, err := Capabilities()
			if got != want || err != nil {
				t.Errorf("Capabilities() = %+v, %v, want %+v", got, err, want)
			}
			return nil
		}, caps...))
	}
}

func TestTryGuard(t *testing.T) {
	for mode, want := range map[GuardMode]string{
		GuardAuto: "minttl+md5+filter", GuardSocket: "minttl+md5+filter", GuardNFT: "nft owner table", GuardNone: "none",
	} {
		if got, err := TryGuard(mode); got != want || err != nil {
			t.Errorf("TryGuard(%v) = %q, %v, want %q", mode, got, err, want)
		}
	}
	must(t, withCapabilities(func() error {
		if got, err := TryGuard(GuardAuto); got != "minttl+md5" || err != nil {
			t.Errorf("without capabilities TryGuard(auto) = %q, %v", got, err)
		}
		if _, err := TryGuard(GuardNFT); !errors.Is(err, syscall.EPERM) {
			t.Errorf("without capabilities TryGuard(nft): %v", err)
		}
		return nil
	}))
	if tables := nftTables(t); len(tables) > 0 {
		t.Errorf("left behind: %v", tables)
	}
}

// wantWords checks that an error says what a person needs.
func wantWords(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%v does not say %q", err, word)
		}
	}
}

// wantErrno checks an error of a system call.
func wantErrno(t *testing.T, err error, want syscall.Errno) {
	t.Helper()
	var sys *os.SyscallError
	if !errors.Is(err, want) || !errors.As(err, &sys) {
		t.Errorf("error %v, want %v with the name of a system call", err, want)
	}
}
