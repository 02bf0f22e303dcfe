package rawsock

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inLab marks the test binary that runs in namespaces of its own.
const inLab = "RAWSOCK_TEST_IN_LAB"

// TestMain runs the tests in a user and a network namespace of their own, where
// they may do what root may and can touch nothing of the host.
func TestMain(m *testing.M) {
	if os.Getenv(inLab) == "" {
		os.Exit(enterLab())
	}
	if err := setUp("lo"); err != nil {
		fmt.Fprintln(os.Stderr, "rawsock tests: loopback in the test namespace:", err)
		os.Exit(1)
	}
	if role := os.Getenv(childRole); role != "" {
		os.Exit(runChild(role))
	}
	os.Exit(m.Run())
}

// enterLab runs the test binary again in new namespaces.
func enterLab() int {
	runtime.LockOSThread() // Pdeathsig is tied to the thread that starts the child
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inLab+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "rawsock tests need user and network namespaces (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns):", err)
	return 1
}

func setUp(link string) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

// A lab is a veth pair: our end in the tests' namespace, the peer's end in one
// of its own, each with an address of both families.
type lab struct {
	t        testing.TB
	n        int
	name     string // of our interface
	peerName string
	peer     *space
	ours     [2]netip.Addr // IPv4, IPv6
	theirs   [2]netip.Addr
}

var labs atomic.Int32

func newLab(t testing.TB) *lab {
	t.Helper()
	n := int(labs.Add(1))
	l := &lab{t: t, n: n, name: fmt.Sprintf("our%d", n), peerName: fmt.Sprintf("peer%d", n), peer: newSpace(t)}
	for i, subnet := range []string{fmt.Sprintf("198.%d.%d.", 18+n/256, n%256), fmt.Sprintf("2001:db8:%d::", n)} {
		l.ours[i] = netip.MustParseAddr(subnet + "1")
		l.theirs[i] = netip.MustParseAddr(subnet + "2")
	}
	must(t, netlink.LinkAdd(&netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: l.name, MTU: 1500},
		PeerName:      l.peerName,
		PeerNamespace: netlink.NsFd(l.peer.fd),
	}))
	t.Cleanup(func() {
		if link, err := netlink.LinkByName(l.name); err == nil {
			netlink.LinkDel(link)
		}
	})
	must(t, addAddrs(l.name, l.ours))
	must(t, l.peer.do(func() error { return addAddrs(l.peerName, l.theirs) }))
	poll(t, "our address", func() bool { return usable(l.name, l.ours[1]) })
	poll(t, "the peer's address", func() bool {
		var ok bool
		must(t, l.peer.do(func() error { ok = usable(l.peerName, l.theirs[1]); return nil }))
		return ok
	})
	if linkIO == PacketIO {
		l.acquaint()
	}
	return l
}

// acquaint makes the two ends' kernels know each other as neighbours.
func (l *lab) acquaint() {
	l.t.Helper()
	for family := range 2 {
		l.newWire(family).heardBefore(l.ours[family])
	}
}

// usable reports whether the IPv6 address of a link has come into use: it can be
// bound and has its local route. Asking about the link makes the kernel notice
// its carrier, for which it takes up to a second of its own accord.
func usable(link string, a netip.Addr) bool {
	if _, err := netlink.LinkByName(link); err != nil {
		return false
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	if unix.Bind(fd, sockaddr(a)) != nil {
		return false
	}
	routes, err := netlink.RouteGet(a.AsSlice())
	return err == nil && routes[0].Type == unix.RTN_LOCAL
}

// addAddrs gives an interface its addresses and brings it up.
func addAddrs(link string, addrs [2]netip.Addr) error {
	ln, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	for i, bits := range []int{24, 64} {
		addr := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(addrs[i], bits)), Flags: unix.IFA_F_NODAD}
		if err := netlink.AddrAdd(ln, addr); err != nil {
			return err
		}
	}
	return netlink.LinkSetUp(ln)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// A space is a network namespace with a thread in it.
type space struct {
	fd   int
	work chan func()
}

func newSpace(t testing.TB) *space {
	t.Helper()
	s := &space{work: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			s.fd, err = unix.Open(threadNetns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		if err == nil {
			err = setUp("lo")
		}
		ready <- err
		for f := range s.work {
			f()
		}
	}()
	must(t, <-ready)
	t.Cleanup(func() {
		close(s.work)
		unix.Close(s.fd)
	})
	return s
}

// do runs f on the thread of the namespace.
func (s *space) do(f func() error) error {
	done := make(chan error)
	s.work <- func() { done <- f() }
	return <-done
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// bothFamilies runs a test for each family: 0 is IPv4, 1 is IPv6, as the
// addresses of a lab.
func bothFamilies(t *testing.T, f func(t *testing.T, family int)) {
	t.Run("IPv4", func(t *testing.T) { f(t, 0) })
	t.Run("IPv6", func(t *testing.T) { f(t, 1) })
}
