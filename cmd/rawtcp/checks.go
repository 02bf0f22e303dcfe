package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"rawtcp/engine"
	"rawtcp/rawsock"
)

// checkKernel: nothing below is new, but older kernels lack some of it.
func checkKernel() []finding {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return []finding{warn("kernel", "", "cannot tell: %v", err)}
	}
	release := unix.ByteSliceToString(name.Release[:])
	major, minor := kernelVersion(release)
	switch {
	case major < 5 || major == 5 && minor < 12:
		return []finding{warn("kernel", "Linux 5.17 or later has all of it", "Linux %s has no nft owner tables and marks packets for CAP_NET_ADMIN only", release)}
	case major == 5 && minor < 17:
		return []finding{warn("kernel", "Linux 5.17 or later has all of it", "Linux %s marks packets for CAP_NET_ADMIN only", release)}
	}
	return []finding{okay("kernel", "Linux %s", release)}
}

func kernelVersion(release string) (major, minor int) {
	_, _ = fmt.Sscanf(release, "%d.%d", &major, &minor) // zeros for what cannot be read
	return major, minor
}

// A capability by its number in linux/capability.h.
var capabilities = []struct {
	name string
	bit  uint
	need string // what it is for
	must bool
}{
	{"CAP_NET_RAW", unix.CAP_NET_RAW, "raw sockets", true},
	{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN, "larger receive buffers, the nft guard, reading the firewall", false},
	{"CAP_NET_BIND_SERVICE", unix.CAP_NET_BIND_SERVICE, "listening below port " + unprivilegedPort(), false},
}

func checkCapabilities() []finding {
	effective, err := effectiveCapabilities()
	if err != nil {
		return []finding{warn("capability", "", "cannot tell: %v", err)}
	}
	var list []finding
	for _, c := range capabilities {
		switch {
		case effective&(1<<c.bit) != 0:
			list = append(list, okay("capability", "%s", c.name))
		case c.must:
			list = append(list, bad("capability", "sudo setcap cap_net_raw+ep "+executable(), "%s is missing: %s", c.name, c.need))
		default:
			list = append(list, okay("capability", "%s is absent, and only needed for %s", c.name, c.need))
		}
	}
	return list
}

func effectiveCapabilities() (uint64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
			return strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
		}
	}
	return 0, errors.New("/proc/self/status names no capabilities")
}

func unprivilegedPort() string {
	return readSetting("/proc/sys/net/ipv4/ip_unprivileged_port_start", "1024")
}

func executable() string {
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

// readSetting returns the content of a one-line file, or otherwise.
func readSetting(path, otherwise string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return otherwise
	}
	return strings.TrimSpace(string(text))
}

func checkRawSocket() []finding {
	link, err := rawsock.Open(rawsock.Config{})
	if err != nil {
		return []finding{bad("raw socket", "", "%v", err)}
	}
	defer link.Close()
	list := []finding{okay("raw socket", "opened, IPv4 and IPv6")}
	for _, note := range link.Notes() {
		list = append(list, warn("raw socket", "", "%s", note))
	}
	return list
}

// checkGuards tries both ways to keep the kernel silent. One that works is enough.
func checkGuards() []finding {
	socket, socketErr := rawsock.TryGuard(rawsock.GuardSocket)
	table, tableErr := rawsock.TryGuard(rawsock.GuardNFT)
	switch {
	case socketErr == nil && tableErr == nil:
		return []finding{okay("guard", "socket: %s", socket), okay("guard", "%s", table)}
	case socketErr == nil:
		return []finding{okay("guard", "socket: %s", socket), okay("guard", "nft does not go, and is not needed: %v", tableErr)}
	case tableErr == nil:
		return []finding{warn("guard", "", "socket: %v", socketErr), okay("guard", "%s", table)}
	}
	return []finding{bad("guard", "silence the kernel by hand (scripts/rst-drop.sh) and use --guard none", "socket: %v; nft: %v", socketErr, tableErr)}
}

// checkHandshake opens a connection to the kernel's own TCP over loopback.
func checkHandshake() []finding {
	took, stamped, err := loopbackHandshake()
	switch {
	case err != nil:
		return []finding{bad("handshake", "a firewall rule on lo may hide the answers", "with this kernel over loopback: %v", err)}
	case !stamped:
		return []finding{okay("handshake", "with this kernel over loopback in %s", durationText(took)),
			warn("timestamps", "", "the kernel stamps no received packet: times are taken when rawtcp sees it")}
	}
	return []finding{okay("handshake", "with this kernel over loopback in %s", durationText(took)),
		okay("timestamps", "received packets are stamped by the kernel")}
}

// stampWatch notes whether received segments carry the kernel's time.
type stampWatch struct{ seen bool }

// Trace implements engine.Tracer.
func (w *stampWatch) Trace(e *engine.Event) {
	w.seen = w.seen || e.Kind == engine.EventSegmentIn && e.Stamp != 0
}

func loopbackHandshake() (took time.Duration, stamped bool, err error) {
	var cfg net.ListenConfig
	cfg.SetMultipathTCP(false)
	listener, err := cfg.Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, false, err
	}
	defer listener.Close()
	link, err := rawsock.Open(rawsock.Config{Family: rawsock.IPv4})
	if err != nil {
		return 0, false, err
	}
	watch := &stampWatch{}
	host := engine.NewHost(engine.HostConfig{Link: link, Tracer: watch, OnPanic: crash})
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	began := time.Now()
	nc, err := host.Dial(ctx, listener.Addr().(*net.TCPAddr).AddrPort(), engine.DialConfig{})
	took = time.Since(began)
	if err == nil {
		err = nc.Abort()
	}
	err = errors.Join(err, host.Close()) // from here on nobody traces
	return took, watch.seen, err
}

// checkNFTables looks for rules at the INPUT hook, which stands before raw
// sockets: what is dropped there never reaches us.
func checkNFTables() []finding {
	const look = "nft list ruleset"
	conn, err := nftables.New()
	if err != nil {
		return []finding{okay("nftables", "cannot look: %v", err)}
	}
	chains, err := conn.ListChains()
	switch {
	case errors.Is(err, unix.EPERM):
		return []finding{warn("nftables", "run as root to look, or sudo "+look, "reading the rules needs CAP_NET_ADMIN; a drop at INPUT would hide answers")}
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOENT), errors.Is(err, unix.EPROTONOSUPPORT):
		return []finding{okay("nftables", "this kernel has none")}
	case err != nil:
		return []finding{warn("nftables", "", "cannot look: %v", err)}
	}
	var list []finding
	for _, c := range chains {
		if finding, found := judgeChain(conn, c); found {
			list = append(list, finding)
		}
	}
	if len(list) == 0 {
		return []finding{okay("nftables", "no chain at INPUT")}
	}
	return list
}

func judgeChain(conn *nftables.Conn, c *nftables.Chain) (finding, bool) {
	if c.Hooknum == nil || *c.Hooknum != *nftables.ChainHookInput || c.Type != nftables.ChainTypeFilter {
		return finding{}, false
	}
	name := fmt.Sprintf("%s %s %s", familyName(c.Table.Family), c.Table.Name, c.Name)
	rules, err := conn.GetRules(c.Table, c)
	if err != nil {
		return warn("nftables", "", "cannot read chain %s: %v", name, err), true
	}
	if c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop {
		return warn("nftables", "for listen, accept its port: nft list chain "+name,
			"chain %s drops by default: answers come through only where a rule accepts them", name), true
	}
	if len(rules) > 0 {
		return warn("nftables", "nft list chain "+name, "chain %s has %s at INPUT: one that drops our segments makes rawtcp deaf", name, plural(uint64(len(rules)), "rule")), true
	}
	return okay("nftables", "chain %s accepts all", name), true
}

func familyName(f nftables.TableFamily) string {
	switch f {
	case nftables.TableFamilyIPv4:
		return "ip"
	case nftables.TableFamilyIPv6:
		return "ip6"
	case nftables.TableFamilyINet:
		return "inet"
	}
	return "other"
}

// checkIPTables finds the old firewall by the tables the kernel has loaded.
func checkIPTables() []finding {
	var tables []string
	for _, file := range []string{"/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"} {
		text, err := os.ReadFile(file)
		switch {
		case errors.Is(err, os.ErrPermission):
			return []finding{warn("iptables", "sudo iptables-legacy-save shows them", "legacy tables may be loaded; reading which needs root")}
		case err == nil:
			tables = append(tables, strings.Fields(string(text))...)
		}
	}
	if len(tables) == 0 {
		return []finding{okay("iptables", "no legacy tables")}
	}
	slices.Sort(tables)
	return []finding{warn("iptables", "iptables-legacy-save shows them; only INPUT matters",
		"legacy tables are loaded: %s", strings.Join(slices.Compact(tables), ", "))}
}

// checkConntrack: its table full, or a rule that drops what it calls invalid,
// loses segments that TCP would take.
func checkConntrack() []finding {
	const dir = "/proc/sys/net/netfilter/"
	count, err := strconv.Atoi(readSetting(dir+"nf_conntrack_count", ""))
	if err != nil {
		return []finding{okay("conntrack", "not loaded")}
	}
	limit, err := strconv.Atoi(readSetting(dir+"nf_conntrack_max", ""))
	if err == nil && count*10 > limit*9 {
		return []finding{bad("conntrack", "sudo sysctl net.netfilter.nf_conntrack_max="+strconv.Itoa(2*limit), "%d of %d entries are taken: new connections are about to be dropped", count, limit)}
	}
	return []finding{okay("conntrack", "%d of %d entries; a rule on ct state invalid may drop unusual segments", count, limit)}
}

// checkReversePath: with strict filtering an answer that comes in by another
// interface than its route's is dropped before we see it.
func checkReversePath() []finding {
	all, _ := strconv.Atoi(readSetting("/proc/sys/net/ipv4/conf/all/rp_filter", "0"))
	var strict []string
	for _, name := range interfaceNames() {
		own, _ := strconv.Atoi(readSetting(filepath.Join("/proc/sys/net/ipv4/conf", name, "rp_filter"), "0"))
		if max(all, own) == 1 {
			strict = append(strict, name)
		}
	}
	if len(strict) == 0 {
		return []finding{okay("rp_filter", "not strict on any interface")}
	}
	if len(strict) == 1 {
		return []finding{okay("rp_filter", "strict on %s, the only way in", strict[0])}
	}
	return []finding{warn("rp_filter", "sudo sysctl net.ipv4.conf.all.rp_filter=2 if paths are asymmetric",
		"strict on %s: an answer by another interface than its route's is dropped", strings.Join(strict, ", "))}
}

// interfaceNames lists the interfaces that are up, without loopback.
func interfaceNames() []string {
	list, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var names []string
	for _, i := range list {
		if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagLoopback == 0 {
			names = append(names, i.Name)
		}
	}
	return names
}

// checkOffloads: merged segments are no harm to the engine, but the ladder then
// shows what the kernel made of the wire and not the wire.
func checkOffloads() []finding {
	var list []finding
	for _, name := range interfaceNames() {
		switch on, err := receiveOffload(name); {
		case err != nil:
			list = append(list, okay("offload", "%s: cannot tell: %v", name, err))
		case on:
			list = append(list, okay("offload", "%s merges received segments (gro): what the ladder shows may be several on the wire; sudo ethtool -K %s gro off", name, name))
		default:
			list = append(list, okay("offload", "%s hands over each segment as it came", name))
		}
	}
	return list
}

// receiveOffload asks the interface whether GRO is on, as ethtool -k does.
func receiveOffload(name string) (bool, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	value := struct{ cmd, data uint32 }{cmd: unix.ETHTOOL_GGRO}
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte // struct ifreq is larger than a pointer
	}{data: unsafe.Pointer(&value)}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return false, errno
	}
	return value.data != 0, nil
}

// checkClock: some clock sources take microseconds to read.
func checkClock() []finding {
	source := readSetting("/sys/devices/system/clocksource/clocksource0/current_clocksource", "unknown")
	switch source {
	case "hpet", "acpi_pm", "jiffies":
		return []finding{warn("clock", "", "clock source %s is slow to read: times under 10 us mean little", source)}
	}
	return []finding{okay("clock", "clock source %s", source)}
}

// checkNamespaces tries what the demo needs.
func checkNamespaces() []finding {
	cmd := exec.Command("/proc/self/exe", "version")
	cmd.Args[0] = os.Args[0]
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
	}
	if err := cmd.Run(); err != nil {
		return []finding{warn("namespaces", "rawtcp demo says more", "user namespaces are refused, so the demo wants root: %v", err)}
	}
	return []finding{okay("namespaces", "user and network namespaces can be made: rawtcp demo works")}
}
