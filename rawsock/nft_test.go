package rawsock

import (
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// nftTables lists the tables of the tests' namespace.
func nftTables(t *testing.T) []string {
	t.Helper()
	conn, err := nftables.New()
	must(t, err)
	tables, err := conn.ListTables()
	must(t, err)
	var names []string
	for _, table := range tables {
		names = append(names, table.Name)
	}
	return names
}

func TestNFTTableSilencesKernel(t *testing.T) { // G6, G7
	for _, wild := range []bool{false, true} {
		bothFamilies(t, func(t *testing.T, family int) {
			l := newLab(t)
			s := openStation(t, Config{Guard: GuardNFT})
			local := netip.AddrPortFrom(l.ours[family], 4001)
			if wild {
				s.claim(netip.AddrPortFrom(netip.IPv6Unspecified(), 4001))
			} else {
				s.claim(local)
			}
			checkSilence(l, s, family, local)
			if s.Guard() != "nft owner table" {
				t.Errorf("Guard() = %q", s.Guard())
			}
		})
	}
}

func TestOurOwnRSTPassesTheTable(t *testing.T) { // G7
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		s := openStation(t, Config{Guard: GuardNFT})
		local := netip.AddrPortFrom(l.ours[family], 4001)
		s.claim(local)
		w := l.newWire(family)
		s.send(tcpPacket{src: local, dst: netip.AddrPortFrom(w.here, 80), seq: 77, flags: rst})
		if p, ok := w.receive(patience); !ok || p.flags != rst || p.seq != 77 {
			t.Errorf("the peer got %+v, %v", p, ok)
		}
		// Without the mark it is refused.
		other := openStation(t, Config{Guard: GuardNone, Mark: 1})
		_, err := other.WriteBatch([][]byte{tcpPacket{src: local, dst: netip.AddrPortFrom(w.here, 80), flags: rst}.bytes()})
		wantErrno(t, err, unix.EPERM)
		if !strings.Contains(err.Error(), "nft list ruleset") {
			t.Errorf("%q does not say where to look", err)
		}
	})
}

func TestTableTouchesNoOtherPortOrAddress(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l, other := newLab(t), newLab(t)
		s := openStation(t, Config{Guard: GuardNFT})
		s.claim(netip.AddrPortFrom(l.ours[family], 4001))
		for _, free := range []struct {
			l    *lab
			port uint16
		}{{l, 4000}, {l, 4002}, {other, 4001}} {
			w := free.l.newWire(family)
			w.send(tcpPacket{src: netip.AddrPortFrom(w.here, 80), dst: netip.AddrPortFrom(free.l.ours[family], free.port), ack: 1, flags: ack})
			if heard := w.heardBefore(free.l.ours[family]); len(heard) != 1 {
				t.Errorf("%v port %d: heard %+v, want the kernel's RST", free.l.ours[family], free.port, heard)
			}
		}
	})
}

func TestFlushRulesetLeavesTheTable(t *testing.T) { // G6
	l := newLab(t)
	s := openStation(t, Config{Guard: GuardNFT})
	local := netip.AddrPortFrom(l.ours[0], 4001)
	s.claim(local)
	conn, err := nftables.New()
	must(t, err)
	conn.FlushRuleset()
	must(t, conn.Flush())
	if tables := nftTables(t); len(tables) != 1 {
		t.Fatalf("tables after a flush: %v", tables)
	}
	checkSilence(l, s, 0, local)
}

func TestReleasedClaimLeavesTheTable(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		s := openStation(t, Config{Guard: GuardNFT})
		local := netip.AddrPortFrom(l.ours[family], 4001)
		for range 2 { // what was taken out can be put in again
			release := s.claim(local)
			checkSilence(l, s, family, local)
			must(t, release())
			w := l.newWire(family)
			w.send(tcpPacket{src: netip.AddrPortFrom(w.here, 80), dst: local, ack: 1, flags: ack})
			if heard := w.heardBefore(l.ours[family]); len(heard) != 1 {
				t.Errorf("after the claim: heard %+v, want a RST", heard)
			}
		}
	})
}

func TestTableIsRefusedWithoutMark(t *testing.T) { // it would drop our own RSTs
	s := openStation(t, Config{Guard: GuardNFT})
	s.marked = false
	wantClaimError(t, s, netip.MustParseAddrPort("127.0.0.1:4001"), unix.EPERM)
}

func TestDescriptorsAreCloseOnExec(t *testing.T) { // a child that held the table's socket would keep it
	l := newLab(t)
	before := descriptors(t)
	for _, mode := range []GuardMode{GuardSocket, GuardNFT} {
		s := openStation(t, Config{Guard: mode})
		s.claim(netip.AddrPortFrom(netip.IPv6Unspecified(), 4001+uint16(mode)))
		s.claim(netip.AddrPortFrom(l.ours[0], 4010+uint16(mode)))
	}
	opened := 0
	for fd := range descriptors(t) {
		if before[fd] {
			continue
		}
		opened++
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d is inherited by children", fd)
		}
	}
	if opened < 15 {
		t.Errorf("only %d descriptors were opened: this test looks at the wrong ones", opened)
	}
}

func descriptors(t *testing.T) map[int]bool {
	t.Helper()
	names, err := filepath.Glob("/proc/self/fd/*")
	must(t, err)
	fds := make(map[int]bool)
	for _, name := range names {
		if _, err := os.Readlink(name); err == nil {
			fd, err := strconv.Atoi(filepath.Base(name))
			must(t, err)
			fds[fd] = true
		}
	}
	return fds
}
