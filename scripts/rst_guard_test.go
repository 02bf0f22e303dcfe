package scripts

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rawtcp/internal/netlab"
)

const (
	guard = "./rst-guard.sh"
	mark  = 0x72610074
)

var backends = []string{"nft", "iptables"}

// rules returns everything that the host's firewall holds, without packet counts.
func rules(t *testing.T, h *netlab.Host) string {
	t.Helper()
	return must(t, h, "sh", "-c", `nft list ruleset 2>/dev/null | sed 's/packets [0-9]* bytes [0-9]*//'
		iptables -t raw -S; ip6tables -t raw -S`)
}

// ours counts the guard's rules. One guard is one rule of nft, or two of iptables.
func ours(t *testing.T, h *netlab.Host) int {
	t.Helper()
	n := 0
	for line := range strings.Lines(must(t, h, "sh", "-c",
		"nft list table inet rawtcp_guard 2>/dev/null; iptables -t raw -S; ip6tables -t raw -S")) {
		if strings.Contains(line, `comment "rawtcp:`) {
			n++
		}
	}
	return n
}

// rulesPerGuard is how many rules one up without --source makes.
func rulesPerGuard(backend string) int {
	if backend == "nft" {
		return 1
	}
	return 2
}

func TestGuardUpAndDown(t *testing.T) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			h := host(t)
			per := rulesPerGuard(backend)
			for range 2 {
				must(t, h, guard, "up", "--port", "4000", "--backend", backend)
				if got := ours(t, h); got != per {
					t.Fatalf("%d rules, want %d\n%s", got, per, rules(t, h))
				}
			}
			must(t, h, guard, "up", "--range=5000-5010", "--backend="+backend)
			if out := must(t, h, guard, "status"); strings.Count(out, "port 4000,") != per || strings.Count(out, "port 5000-5010,") != per {
				t.Errorf("status says\n%s", out)
			}
			must(t, h, guard, "down", "--port", "4000")
			if got := ours(t, h); got != per {
				t.Errorf("%d rules left, want those of the range\n%s", got, rules(t, h))
			}
			for range 2 {
				must(t, h, guard, "down")
				if got := ours(t, h); got != 0 {
					t.Errorf("%d rules left\n%s", got, rules(t, h))
				}
			}
			if r := run(t, h, guard, "status"); r.code != 1 || r.stdout != "" {
				t.Errorf("status without rules: %+v", r)
			}
		})
	}
}

func TestGuardTakesNftByDefault(t *testing.T) {
	h := host(t)
	must(t, h, guard, "up", "--port", "4000")
	if out := must(t, h, guard, "status"); !strings.HasPrefix(out, "nft:") || strings.Count(out, "\n") != 1 {
		t.Errorf("status says %q", out)
	}
	must(t, h, guard, "down")
	if out := must(t, h, "nft", "list", "tables"); strings.Contains(out, "rawtcp") {
		t.Errorf("the table is left: %s", out)
	}
}

func TestGuardTouchesNothingElse(t *testing.T) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			h := host(t)
			must(t, h, "sh", "-ec", `
				nft add table inet other
				nft "add chain inet other output { type filter hook output priority -300; }"
				nft add rule inet other output tcp sport 4000 drop comment '"rawtcp:mine"'
				for c in iptables ip6tables; do
					$c -t raw -A OUTPUT -p tcp --sport 4000 --tcp-flags RST RST -j DROP
					$c -t raw -A OUTPUT -p tcp --sport 4000 -m comment --comment "rawtcp: not of the guard" -j DROP
					$c -t raw -A OUTPUT -p tcp --sport 4000 -m comment --comment rawtcp:keep -j DROP
				done`)
			before := rules(t, h)
			must(t, h, guard, "up", "--port", "4000", "--backend", backend)
			if rules(t, h) == before {
				t.Fatal("up changed nothing")
			}
			must(t, h, guard, "down")
			if after := rules(t, h); after != before {
				t.Errorf("before:\n%s\nafter up and down:\n%s", before, after)
			}
		})
	}
}

// TestGuardLeavesOthersInItsTable: a rule that somebody put into our chain keeps the table.
func TestGuardLeavesOthersInItsTable(t *testing.T) {
	h := host(t)
	must(t, h, guard, "up", "--port", "4000")
	must(t, h, "nft", "add rule inet rawtcp_guard output tcp sport 9 drop")
	must(t, h, guard, "down")
	if out := must(t, h, "nft", "list", "ruleset"); !strings.Contains(out, "tcp sport 9 drop") || strings.Contains(out, "4000") {
		t.Errorf("left is\n%s", out)
	}
}

func TestGuardDryRun(t *testing.T) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			h := host(t)
			before := rules(t, h)
			commands := must(t, h, guard, "up", "--dry-run", "--port", "4000", "--backend", backend)
			if !strings.Contains(commands, backend) || rules(t, h) != before {
				t.Fatalf("printed %q, changed: %t", commands, rules(t, h) != before)
			}
			must(t, h, "sh", "-ec", commands)
			must(t, h, guard, "status", "--port", "4000", "--backend", backend)

			before = rules(t, h)
			commands = must(t, h, guard, "down", "--dry-run")
			if rules(t, h) != before {
				t.Error("the dry run of down changed the rules")
			}
			must(t, h, "sh", "-ec", commands)
			if ours(t, h) != 0 {
				t.Errorf("after %s\nthere is still\n%s", commands, rules(t, h))
			}
		})
	}
}

// ordinary is a program run as a user who is root of nothing.
func ordinary(t *testing.T, h *netlab.Host, args ...string) result {
	t.Helper()
	return run(t, h, "unshare", append([]string{"--user", "--map-user=1000", "--map-group=1000", "--"}, args...)...)
}

func TestGuardWithoutRoot(t *testing.T) {
	h := host(t)
	if id := ordinary(t, h, "id", "-u"); strings.TrimSpace(id.stdout) == "0" {
		t.Fatalf("the ordinary user is root: %+v", id)
	}
	for _, action := range []string{"up", "down", "status"} {
		r := ordinary(t, h, guard, action, "--port", "4000")
		if r.code != 77 || !strings.Contains(r.stderr, "sudo ./rst-guard.sh "+action+" --port 4000") {
			t.Errorf("%s: %+v", action, r)
		}
	}
	if r := ordinary(t, h, guard, "up", "--port", "4000", "--dry-run"); r.code != 0 || !strings.Contains(r.stdout, "sport 4000") {
		t.Errorf("dry run: %+v", r)
	}
}

func TestGuardNamesTheMissingTool(t *testing.T) {
	h := host(t)
	bin := t.TempDir()
	add := func(names ...string) {
		for _, name := range names {
			path, err := exec.LookPath(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	try := func(says string, code int, args ...string) {
		t.Helper()
		cmd := h.Command(t.Context(), guard, args...)
		cmd.Env = []string{"PATH=" + bin}
		if r := finish(t, cmd); r.code != code || !strings.Contains(r.stderr, says) {
			t.Errorf("%v: %+v, want exit code %d and %q", args, r, code, says)
		}
	}
	add("cat", "id", "sed", "tr", "cut", "grep")
	try("neither nft nor iptables is installed; install the package nftables", 1, "up", "--port", "1")
	try("install the package nftables or use --backend iptables", 1, "up", "--port", "1", "--backend", "nft")
	try("install the package iptables or use --backend nft", 1, "up", "--port", "1", "--backend", "iptables")
	add("iptables", "ip6tables")
	try("", 0, "up", "--port", "1")
	if ours(t, h) != 2 {
		t.Errorf("with iptables alone there is\n%s", rules(t, h))
	}
}

func TestGuardSweepsDeadOwners(t *testing.T) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			h := host(t)
			per := rulesPerGuard(backend)
			owner := func() *netlab.Cmd {
				cmd := h.Command(t.Context(), "sleep", "1000")
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				return cmd
			}
			doomed, alive := owner(), owner()
			for port, cmd := range map[string]*netlab.Cmd{"4001": doomed, "4002": alive} {
				for range 2 {
					must(t, h, guard, "up", "--backend", backend, "--port", port, "--pid", strconv.Itoa(cmd.Process.Pid))
				}
			}
			must(t, h, guard, "up", "--backend", backend, "--port", "4003")
			if ours(t, h) != 3*per {
				t.Fatalf("three guards are\n%s", rules(t, h))
			}
			doomed.Process.Kill()
			doomed.Wait()
			if out := must(t, h, guard, "status", "--port", "4001"); strings.Count(out, "which is gone") != per {
				t.Errorf("status of a dead owner's rules: %s", out)
			}
			must(t, h, guard, "up", "--backend", backend, "--port", "4003")
			out := must(t, h, guard, "status")
			if strings.Contains(out, "port 4001") || !strings.Contains(out, "port 4002") || !strings.Contains(out, "port 4003") {
				t.Errorf("after the sweep\n%s", out)
			}
			must(t, h, guard, "down", "--pid", strconv.Itoa(alive.Process.Pid))
			if out := must(t, h, guard, "status"); strings.Contains(out, "port 4002") || !strings.Contains(out, "port 4003") {
				t.Errorf("after down of one owner\n%s", out)
			}
		})
	}
}

// TestGuardSweepsRulesOfAnotherBoot: restored rules name a boot that is over,
// and a process number may have been given away again.
func TestGuardSweepsStaleTags(t *testing.T) {
	h := host(t)
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{
		"rawtcp:00000000-0000-4000-8000-000000000000:0:0:4001:any",
		fmt.Sprintf("rawtcp:%s:1:12345:4002:any", strings.TrimSpace(string(boot))),
	} {
		port := strings.Split(tag, ":")[4]
		must(t, h, "iptables", "-t", "raw", "-A", "OUTPUT", "-p", "tcp", "--sport", port, "--tcp-flags", "RST", "RST",
			"-m", "mark", "!", "--mark", "0x72610074", "-m", "comment", "--comment", tag, "-j", "DROP")
	}
	must(t, h, guard, "up", "--port", "4003")
	if out := must(t, h, guard, "status"); strings.Contains(out, "4001") || strings.Contains(out, "4002") || !strings.Contains(out, "4003") {
		t.Errorf("after the sweep\n%s", out)
	}
}

func TestGuardMisuse(t *testing.T) {
	testMisuse(t, "rst-guard.sh", []misuse{
		{nil, "want up, down or status"},
		{[]string{"--port", "1"}, "want up, down or status"},
		{[]string{"up"}, "--port N or --range A-B"},
		{[]string{"up", "down"}, "want one of"},
		{[]string{"up", "--port"}, "--port wants a value"},
		{[]string{"up", "--port", "0"}, "'0' is not a port"},
		{[]string{"up", "--port", "65536"}, "'65536' is not a port"},
		{[]string{"up", "--port", "99999999999999999999"}, "is not a port"},
		{[]string{"up", "--port", "80; reboot"}, "is not a port"},
		{[]string{"up", "--port="}, "'' is not a port"},
		{[]string{"up", "--range", "80"}, "'80' is not a range"},
		{[]string{"up", "--range", "90-80"}, "the range 90-80 is empty"},
		{[]string{"up", "--range", "1-2-3"}, "is not a port"},
		{[]string{"up", "--port", "1", "--range", "1-2"}, "want one of --port and --range"},
		{[]string{"up", "--port", "1", "--source", "eth0"}, "is not an address"},
		{[]string{"up", "--port", "1", "--source", "$(id)"}, "is not an address"},
		{[]string{"up", "--port", "1", "--backend", "pf"}, "unknown backend 'pf'"},
		{[]string{"up", "--port", "1", "--pid", "x"}, "'x' is not a process number"},
		{[]string{"up", "--prot", "1"}, "unknown argument '--prot'"},
	})
	if r := run(t, host(t), guard, "up", "--port", "1", "--pid", "999999999"); r.code != 1 || !strings.Contains(r.stderr, "no process 999999999") {
		t.Errorf("an owner that does not exist: %+v", r)
	}
}

// answers reports how a host answers a SYN to a closed port: true with a RST,
// false with silence. An answer that is expected gets all the time it needs.
func answers(t *testing.T, from *netlab.Host, to netip.Addr, port uint16, want bool) bool {
	t.Helper()
	wait := 200 * time.Millisecond
	if want {
		wait = patience
	}
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	c, err := from.Dial(ctx, netip.AddrPortFrom(to, port))
	var timeout net.Error
	switch {
	case err == nil:
		c.Close()
		t.Fatalf("port %d of %s is open", port, to)
	case errors.Is(err, syscall.ECONNREFUSED):
		return true
	case errors.As(err, &timeout) && timeout.Timeout():
		return false
	}
	t.Fatalf("a SYN to port %d of %s: %v", port, to, err)
	return false
}

func TestGuardSilencesTheKernel(t *testing.T) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			a, b := netlab.Pair(t, netlab.LinkConfig{})
			check := func(want map[uint16]bool) {
				t.Helper()
				for _, addr := range []netip.Addr{a.Addr4(), a.Addr6()} {
					for port, answer := range want {
						if got := answers(t, b, addr, port, answer); got != answer {
							t.Errorf("%s: a RST from port %d: %t, want %t", addr, port, got, answer)
						}
					}
				}
			}
			check(map[uint16]bool{4000: true})
			must(t, a, guard, "up", "--port", "4000", "--backend", backend)
			check(map[uint16]bool{3999: true, 4000: false, 4001: true})
			must(t, a, guard, "up", "--range", "4002-4004", "--backend", backend)
			check(map[uint16]bool{4001: true, 4002: false, 4004: false, 4005: true})
			must(t, a, guard, "down", "--port", "4000")
			check(map[uint16]bool{4000: true, 4003: false})
			must(t, a, guard, "down")
			check(map[uint16]bool{4003: true})
		})
	}
}

func TestGuardOfOneSource(t *testing.T) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			a, b := netlab.Pair(t, netlab.LinkConfig{})
			for _, source := range []netip.Addr{a.Addr4(), a.Addr6()} {
				must(t, a, guard, "up", "--port", "4000", "--source", strings.ToUpper(source.String()), "--backend", backend)
				for _, addr := range []netip.Addr{a.Addr4(), a.Addr6()} {
					if got := answers(t, b, addr, 4000, addr != source); got != (addr != source) {
						t.Errorf("source %s guarded: a RST from %s: %t", source, addr, got)
					}
				}
				if got := ours(t, a); got != 1 {
					t.Errorf("%d rules for one source", got)
				}
				must(t, a, guard, "down", "--source", source.String())
			}
		})
	}
}

// TestGuardLetsOurResetsOut sends a RST from a raw socket with and without the mark.
func TestGuardLetsOurResetsOut(t *testing.T) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			a, b := netlab.Pair(t, netlab.LinkConfig{})
			must(t, a, guard, "up", "--port", "4000", "--backend", backend)
			for from, to := range map[netip.Addr]netip.Addr{a.Addr4(): b.Addr4(), a.Addr6(): b.Addr6()} {
				in, out := rawSocket(t, b, to), rawSocket(t, a, from)
				if err := sendReset(out, to, 4000, 1); !errors.Is(err, unix.EPERM) {
					t.Errorf("%s: an unmarked RST: %v, want EPERM", from, err)
				}
				if err := unix.SetsockoptInt(out, unix.SOL_SOCKET, unix.SO_MARK, mark); err != nil {
					t.Fatal(err)
				}
				if err := sendReset(out, to, 4000, 2); err != nil {
					t.Errorf("%s: a marked RST: %v", from, err)
				}
				if got := readReset(t, in, 4000); got != 2 {
					t.Errorf("%s: RST number %d arrived, want 2", from, got)
				}
			}
		})
	}
}

// rawSocket opens a raw TCP socket of the address's family on a host.
func rawSocket(t *testing.T, h *netlab.Host, addr netip.Addr) (fd int) {
	t.Helper()
	family := unix.AF_INET
	if addr.Is6() {
		family = unix.AF_INET6
	}
	if err := h.Do(func() (err error) {
		fd, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// sendReset sends a RST with a sequence number from a port. Its checksum is
// zero: only raw sockets are to see it.
func sendReset(fd int, to netip.Addr, port uint16, seq uint32) error {
	const rst = 0x04
	header := make([]byte, 20)
	binary.BigEndian.PutUint16(header, port)
	binary.BigEndian.PutUint16(header[2:], 9)
	binary.BigEndian.PutUint32(header[4:], seq)
	header[12], header[13] = 5<<4, rst
	if to.Is6() {
		return unix.Sendto(fd, header, 0, &unix.SockaddrInet6{Addr: to.As16()})
	}
	return unix.Sendto(fd, header, 0, &unix.SockaddrInet4{Addr: to.As4()})
}

// readReset waits for a segment from a port and returns its sequence number.
func readReset(t *testing.T, fd int, port uint16) uint32 {
	t.Helper()
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	for {
		n, err := unix.Read(fd, buf)
		if err != nil {
			t.Fatalf("no segment from port %d: %v", port, err)
		}
		segment := buf[:n]
		if n >= 40 && segment[0] == 0x45 {
			segment = segment[20:] // IPv4 comes with its header, IPv6 without
		}
		if n >= 20 && binary.BigEndian.Uint16(segment) == port {
			return binary.BigEndian.Uint32(segment[4:])
		}
	}
}
