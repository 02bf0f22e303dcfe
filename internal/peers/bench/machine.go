package bench

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// A Machine is what the figures were taken on, and with what.
type Machine struct {
	CPU        string            `json:"cpu"`
	CPUs       int               `json:"cpus"`
	MemoryGB   float64           `json:"memory_gb"`
	Kernel     string            `json:"kernel"`
	Load       string            `json:"load"`       // load averages when the run ended: 1, 5 and 15 minutes
	Congestion string            `json:"congestion"` // control of the kernel's TCP
	Buffers    string            `json:"buffers"`    // what packet and raw sockets may have
	Versions   map[string]string `json:"versions"`
}

// describeMachine asks the kernel, the build and the programs.
func describeMachine() (Machine, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return Machine{}, err
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return Machine{}, err
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return Machine{}, err
	}
	congestion, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control") // new namespaces have it from here
	if err != nil {
		return Machine{}, err
	}
	buffers := "as asked for"
	if err := largeBuffers(); err != nil {
		buffers = "no more than net.core.rmem_max, for want of CAP_NET_ADMIN outside"
	}
	return Machine{
		Congestion: strings.TrimSpace(string(congestion)),
		Buffers:    buffers,
		CPU:        field("/proc/cpuinfo", "model name"),
		CPUs:       runtime.NumCPU(),
		MemoryGB:   float64(info.Totalram) * float64(info.Unit) / 1e9,
		Kernel:     unix.ByteSliceToString(name.Release[:]),
		Load:       strings.Join(strings.Fields(string(load))[:3], " "),
		Versions:   versions(),
	}, nil
}

// field returns the first value of a key in a file of /proc.
func field(path, key string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if k, v, found := strings.Cut(line, ":"); found && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

// versions are those of the peers, by name. A program that is not there has none.
func versions() map[string]string {
	got := map[string]string{"Go": runtime.Version()}
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, m := range build.Deps {
			switch m.Path {
			case "gvisor.dev/gvisor", "github.com/gopacket/gopacket":
				got[m.Path] = m.Version
			}
		}
	}
	for name, ask := range map[string][]string{
		"iperf3": {"iperf3", "--version"},
		"hping3": {"hping3", "--version"},
		"rawtcp": {"git", "describe", "--always", "--dirty"},
	} {
		if out, err := exec.Command(ask[0], ask[1:]...).CombinedOutput(); err == nil {
			first, _, _ := strings.Cut(string(out), "\n")
			got[name] = strings.TrimSpace(strings.TrimPrefix(first, name+" version"))
		}
	}
	return got
}

// String is the machine in one line.
func (m Machine) String() string {
	return fmt.Sprintf("%s, %d processors, %.0f GB, Linux %s, load %s; receive buffers %s",
		m.CPU, m.CPUs, m.MemoryGB, m.Kernel, m.Load, m.Buffers)
}
