// Handbench measures connections opened and closed in a second, in turns with Go's
// net package over the kernel's TCP, against a listener of the kernel's TCP over
// a veth pair. The client has the first processor and the server the second.
//
// It sends nothing outside of network namespaces of its own.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"rawtcp/internal/handbench"
	"rawtcp/internal/netlab"
	"rawtcp/rawsock"
)

var (
	role     = flag.String("role", "", "raw, packet, net or server: do that, here and now")
	roles    = flag.String("roles", "raw,net,packet", "who takes turns")
	to       = flag.String("to", "", "address and ports of the server, as ADDR:PORT+N")
	length   = flag.Duration("d", 2*time.Second, "what is measured each time")
	parallel = flag.Int("parallel", 64, "connections at once")
	ports    = flag.Int("ports", 4096, "source ports to claim")
	rounds   = flag.Int("rounds", 5, "turns")
	profile  = flag.String("cpuprofile", "", "write a profile of the role here")
)

const (
	firstPort = 8000
	servers   = 8
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "handbench:", err)
		os.Exit(1)
	}
}

func run() error {
	switch {
	case *role == "server":
		var all []uint16
		for i := range servers {
			all = append(all, uint16(firstPort+i))
		}
		return handbench.Serve(all, func() { fmt.Println("ready") })
	case *role != "":
		return client()
	case !netlab.Isolated():
		code, err := netlab.Isolate(os.Args[1:]...)
		if err == nil && code != 0 {
			os.Exit(code)
		}
		return err
	}
	return compare()
}

// client does one piece of work and prints its report.
func client() error {
	var remotes []netip.AddrPort
	for i := range servers {
		addr, err := netip.ParseAddr(*to)
		if err != nil {
			return err
		}
		remotes = append(remotes, netip.AddrPortFrom(addr, uint16(firstPort+i)))
	}
	runtime.GOMAXPROCS(1)
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	work := handbench.Connects{Remotes: remotes, Parallel: *parallel, Ports: *ports, Warm: time.Second, Length: *length}
	var report handbench.Report
	var err error
	switch *role {
	case "raw":
		report, err = work.Run()
	case "packet":
		work.IO = rawsock.PacketIO
		report, err = work.Run()
	case "probe", "probe-packet":
		probes := handbench.Probes{Remotes: remotes[:1], Warm: time.Second, Length: *length}
		if *role == "probe-packet" {
			probes.IO = rawsock.PacketIO
		}
		var all handbench.ProbeReport
		all, err = probes.Run()
		fmt.Fprintf(os.Stderr, "%+v\n", all)
		report = all.Report
	case "net":
		report = overNet(remotes)
	default:
		err = fmt.Errorf("no role %q", *role)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}

// overNet does the same with Go's net package.
func overNet(remotes []netip.AddrPort) handbench.Report {
	var r handbench.Report
	var next, failed atomic.Int64
	for range *parallel {
		go func() {
			for {
				c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(remotes[int(next.Add(1))%len(remotes)]))
				if err != nil || c.Close() != nil {
					failed.Add(1)
				}
			}
		}()
	}
	time.Sleep(time.Second)
	did, not, began, cpu := next.Load(), failed.Load(), time.Now(), handbench.CPUTime()
	time.Sleep(*length)
	r.Elapsed, r.CPU = time.Since(began), handbench.CPUTime()-cpu
	r.Failed = int(failed.Load() - not)
	r.Done = int(next.Load()-did) - r.Failed
	return r
}

func compare() error {
	lab := netlab.New()
	defer lab.Close()
	a, err := lab.Host("a")
	if err != nil {
		return err
	}
	b, err := lab.Host("b")
	if err != nil {
		return err
	}
	if _, err = lab.Join(a, b, netlab.LinkConfig{Offload: true}); err != nil {
		return err
	}
	for _, s := range []struct{ key, value string }{{"net.ipv4.ip_local_port_range", "1024 65535"}, {"net.ipv4.tcp_tw_reuse", "1"}} {
		if err := a.Sysctl(s.key, s.value); err != nil {
			return err
		}
	}
	for _, s := range []struct{ key, value string }{{"net.core.somaxconn", "4096"}, {"net.ipv4.tcp_max_syn_backlog", "8192"}} {
		if err := b.Sysctl(s.key, s.value); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	server := b.Command(ctx, "taskset", "-c", "1", os.Args[0], "-role", "server")
	server.Stderr = os.Stderr
	out, err := server.StdoutPipe()
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		return errors.New("the server did not start")
	}
	return turns(ctx, a, b)
}

func turns(ctx context.Context, a, b *netlab.Host) error {
	names := strings.Split(*roles, ",")
	rates, costs := map[string][]float64{}, map[string][]float64{}
	for range *rounds {
		for _, name := range names {
			play := playRole
			if name == "hping3" {
				play = playHping
			}
			r, err := play(ctx, a, b.Addr4().String(), name)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			cost := float64(r.CPU.Nanoseconds()) / 1e3 / float64(max(r.Done, 1))
			fmt.Printf("%-12s %8.0f/s, cpu %6.2f us each, %d failed\n", name, r.PerSecond(), cost, r.Failed)
			rates[name], costs[name] = append(rates[name], r.PerSecond()), append(costs[name], cost)
		}
	}
	for _, name := range names {
		slices.Sort(rates[name])
		slices.Sort(costs[name])
		fmt.Printf("%-12s median %8.0f/s, cpu %6.2f us each\n", name, rates[name][len(rates[name])/2], costs[name][len(costs[name])/2])
	}
	return nil
}

// playRole starts this program in a role, on the first processor.
func playRole(ctx context.Context, a *netlab.Host, to, name string) (r handbench.Report, err error) {
	args := []string{"-c", "0", os.Args[0], "-role", name, "-to", to, "-d", length.String(),
		"-parallel", strconv.Itoa(*parallel), "-ports", strconv.Itoa(*ports)}
	if *profile != "" {
		args = append(args, "-cpuprofile", *profile+"."+name)
	}
	cmd := a.Command(ctx, "taskset", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	return r, err
}

var hpingSent = regexp.MustCompile(`(\d+) packets transmitted`)

// playHping has hping3 send SYNs as fast as it can, and counts what it sent: of
// answers it tells nothing.
func playHping(ctx context.Context, a *netlab.Host, to, _ string) (handbench.Report, error) {
	cmd := a.Command(ctx, "taskset", "-c", "0", "timeout", "-s", "INT", fmt.Sprint(length.Seconds()),
		"hping3", "-q", "--flood", "-S", "-p", strconv.Itoa(firstPort), to)
	out, _ := cmd.CombinedOutput() // interrupted, as asked for
	m := hpingSent.FindSubmatch(out)
	if m == nil {
		return handbench.Report{}, fmt.Errorf("it said %s", out)
	}
	n, err := strconv.Atoi(string(m[1]))
	return handbench.Report{Done: n, Elapsed: *length, CPU: cmd.ProcessState.SystemTime() + cmd.ProcessState.UserTime()}, err
}
