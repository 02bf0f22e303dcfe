package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"

	"rawtcp/internal/netlab"
)

// A scene is the network of a contest:
//
//	+-----------+                       +-----------+
//	| tested    | eth0 ============eth0 | kernel    |
//	+-----------+ 198.18.0.1 198.18.0.2 |           |
//	+-----------+                       |           |
//	| netstack  | eth0 ============eth1 |           |
//	+-----------+ 198.18.1.1 198.18.1.2 +-----------+
//
// gVisor has a host of its own, where the kernel has no address: else both would
// answer. The kernel's side has more addresses for those who need many pairs.
type scene struct {
	*netlab.Lab
	tested, netstack, kernel *netlab.Host
	toTested, toNetstack     *netlab.Link
	offload                  bool
}

// manyAddresses is how many addresses the kernel's side has on each link: .2 and up.
const manyAddresses = 8

// enter sees to it that the session has a scene whose links have their offloads on
// or off.
func (s *Session) enter(offload bool) error {
	if s.lab != nil && s.lab.offload == offload {
		return nil
	}
	s.leave()
	lab := &scene{Lab: netlab.New(), offload: offload}
	s.lab = lab
	for name, host := range map[string]**netlab.Host{"tested": &lab.tested, "netstack": &lab.netstack, "kernel": &lab.kernel} {
		var err error
		if *host, err = lab.Host(name); err != nil {
			return err
		}
		if err = settings(*host); err != nil {
			return err
		}
	}
	var err error
	cfg := netlab.LinkConfig{MTU: mtu, Offload: offload}
	if lab.toTested, err = lab.Join(lab.tested, lab.kernel, cfg); err != nil {
		return err
	}
	if lab.toNetstack, err = lab.Join(lab.netstack, lab.kernel, cfg); err != nil {
		return err
	}
	end := lab.toNetstack.A
	err = errors.Join(end.DelAddr(end.Addr4), end.DelAddr(end.Addr6))
	for _, link := range []*netlab.Link{lab.toTested, lab.toNetstack} {
		for _, a := range remotes(link)[1:] {
			err = errors.Join(err, link.B.AddAddr(netip.PrefixFrom(a, 24)))
		}
	}
	return err
}

// mtu of every link, in octets.
const mtu = 1500

// leave ends the scene, with all that its kernels remember.
func (s *Session) leave() {
	if s.lab != nil {
		s.lab.Close()
		s.lab = nil
	}
}

// settings make runs alike: the kernel remembers no metrics of earlier ones, and
// has as many ports and places in TIME-WAIT as they take.
func settings(h *netlab.Host) error {
	return errors.Join(
		h.Sysctl("net.ipv4.tcp_no_metrics_save", "1"),
		h.Sysctl("net.ipv4.ip_local_port_range", "10000 65535"),
		h.Sysctl("net.ipv4.tcp_max_syn_backlog", "65535"),
		h.Sysctl("net.core.somaxconn", "65535"),
	)
}

// remotes are the addresses of the kernel's side on a link.
func remotes(link *netlab.Link) []netip.Addr {
	all := []netip.Addr{link.B.Addr4.Addr()}
	for len(all) < manyAddresses {
		all = append(all, all[len(all)-1].Next())
	}
	return all
}

// A stack is a way to speak TCP, by the name that the table has for it.
const (
	ourRaw        = "rawtcp raw"
	ourPacket     = "rawtcp packet"
	ourSpinning   = "rawtcp raw, spinning"
	goNet         = "Go net"
	gvisorGSO     = "gvisor, host GSO"
	gvisorNoGSO   = "gvisor, no GSO"
	iperf3        = "iperf3"
	rawCeiling    = "sendmmsg, 1500 B"
	shortTimeout  = 20 * time.Second
	peerReadiness = "ready"
	noRole        = "" // the kernel's side does nothing

	// These begin a connection when the one before is closed by both sides.
	ourRawInTurn    = "rawtcp raw, in turn"
	ourPacketInTurn = "rawtcp packet, in turn"
)

// play runs one subject against one role of the kernel's side, each a process on
// a processor of its own, and returns what both measured: theirs with "peer "
// before the metric.
func (s *Session) play(stack, work, role string, change func(*Spec)) (sample, error) {
	link, host := s.lab.toTested, s.lab.tested
	if strings.HasPrefix(stack, "gvisor") {
		link, host = s.lab.toNetstack, s.lab.netstack
	}
	port := s.nextPort()
	spec := Spec{Stack: stack, Work: work, Local: link.A.Addr4.Addr(), Warm: s.Warm, Length: s.Length, Streams: 1}
	for _, a := range remotes(link) {
		spec.Remotes = append(spec.Remotes, netip.AddrPortFrom(a, port))
	}
	if change != nil {
		change(&spec)
	}
	var peer *process
	if role != noRole {
		theirs, err := s.start(s.lab.kernel, s.peerCPU, Spec{Stack: goNet, Work: role, Remotes: spec.Remotes, Streams: spec.Streams,
			Warm: spec.Warm, Length: spec.Length, Count: spec.Count})
		if err != nil {
			return nil, err
		}
		peer = theirs
		defer peer.kill()
		if err := peer.ready(); err != nil {
			return nil, fmt.Errorf("the kernel's side: %w", err)
		}
	}
	cpus := s.testCPU
	if spec.Wide {
		cpus += "," + s.peerCPU
	}
	subject, err := s.start(host, cpus, spec)
	if err != nil {
		return nil, err
	}
	defer subject.kill()
	got, err := subject.result()
	if err != nil {
		return nil, err
	}
	if peer != nil {
		told, err := peer.result() // while the tested side goes on
		if err != nil {
			return nil, fmt.Errorf("the kernel's side: %w", err)
		}
		for metric, v := range told {
			got["peer "+metric] = v
		}
		defer peer.end()
	}
	return got, subject.end()
}

// A process is a role that runs.
type process struct {
	*netlab.Cmd
	cancel context.CancelFunc
	stdin  io.Closer
	stdout *bufio.Reader
	stderr strings.Builder
}

// start runs this program in a role, pinned to processors, inside a host.
func (s *Session) start(h *netlab.Host, cpus string, spec Spec) (*process, error) {
	args, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return s.startProgram(h, cpus, self, "role", string(args))
}

// startProgram runs any program, pinned to processors, inside a host.
func (s *Session) startProgram(h *netlab.Host, cpus, name string, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if name, err = exec.LookPath(name); err != nil {
		return nil, fmt.Errorf("%w; scripts/deps.sh bench installs it", err)
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.Warm+s.Length+time.Minute)
	p := &process{Cmd: h.Command(ctx, self, append([]string{"pin", cpus, name}, args...)...), cancel: cancel}
	p.Stderr = &p.stderr
	in, err := p.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.stdin, p.stdout = in, bufio.NewReader(out)
	if err := p.Start(); err != nil {
		cancel()
		return nil, err
	}
	return p, nil
}

// ready waits until a role says so.
func (p *process) ready() error {
	line, err := p.stdout.ReadString('\n')
	if strings.TrimSpace(line) != peerReadiness {
		return fmt.Errorf("it did not start: %w", errors.Join(err, p.wait()))
	}
	return nil
}

// result waits for what a role measured. It goes on until its end is told.
func (p *process) result() (sample, error) {
	line, err := p.stdout.ReadBytes('\n')
	if err != nil {
		return nil, errors.Join(p.wait(), err)
	}
	got := sample{}
	if err := json.Unmarshal(line, &got); err != nil {
		return nil, fmt.Errorf("it said %q: %w", line, err)
	}
	return got, nil
}

// end tells the process to end, and waits for it.
func (p *process) end() error {
	_, err := p.output()
	return err
}

// output tells the process that it may end, waits for it and returns what it wrote.
func (p *process) output() ([]byte, error) {
	_ = p.stdin.Close()
	out, err := io.ReadAll(p.stdout)
	return out, errors.Join(err, p.wait())
}

// wait returns how the process ended, with what it said last.
func (p *process) wait() error {
	err := p.Wait()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(p.stderr.String()))
	}
	return err
}

// kill ends the process if it still runs.
func (p *process) kill() { p.cancel() }
