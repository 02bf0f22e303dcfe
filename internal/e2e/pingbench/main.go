// Pingbench compares the round-trip times of `rawtcp ping`, hping3 and nping with
// those in a capture by libpcap, which is what tcpdump writes: from the SYN to its
// SYN-ACK, probe by probe, over a veth pair to a server on the kernel's TCP.
//
// Its argument is the rawtcp binary. It sends nothing outside a network
// namespace of its own.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gopacket/gopacket/pcapgo"

	"rawtcp/internal/netlab"
	"rawtcp/segment"
)

const (
	probes   = 1000
	interval = 5 * time.Millisecond
	port     = 80
)

// The target: less than 2 µs at the median and 5 µs at the 99th percentile.
const (
	goalMedian = 2.0
	goalP99    = 5.0
)

// A tool is one program that measures round-trip times.
type tool struct {
	name string
	args []string
	read func(out string) ([]float64, error) // µs, one for each answered probe, in order
}

func main() {
	code, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "pingbench:", err)
		code = 1
	}
	os.Exit(code)
}

func run() (int, error) {
	if len(os.Args) != 2 {
		return 2, errors.New("usage: pingbench RAWTCP")
	}
	binary, err := filepath.Abs(os.Args[1])
	if err != nil {
		return 1, err
	}
	if !netlab.Isolated() {
		return netlab.Isolate(binary)
	}
	lab := netlab.New()
	defer lab.Close()
	return compare(lab, binary)
}

// compare measures with each tool in turn. The exit code says whether rawtcp is
// within its target.
func compare(lab *netlab.Lab, binary string) (int, error) {
	a, b, err := pair(lab)
	if err != nil {
		return 1, err
	}
	to, every := b.Addr4().String(), strconv.Itoa(int(interval.Microseconds()))
	tools := []tool{
		{binary, []string{"ping", "--json", "-c", strconv.Itoa(probes), "-i", interval.String(), to + ":" + strconv.Itoa(port)}, readRawtcp},
		{"hping3", []string{"-S", "-p", strconv.Itoa(port), "-c", strconv.Itoa(probes), "-i", "u" + every, to}, readHping},
		{"nping", []string{"--tcp", "-p", strconv.Itoa(port), "-c", strconv.Itoa(probes), "--delay", interval.String(), to}, readNping},
	}
	fmt.Fprintf(os.Stdout, "%d SYNs each, one every %v, over a veth pair; error = tool's RTT - RTT in the capture, us\n", probes, interval)
	fmt.Fprintf(os.Stdout, "%-8s %8s %12s %12s %12s %12s %12s\n", "tool", "answers", "capture p50", "tool p50", "error p50", "|error| p50", "|error| p99")
	code := 0
	for _, t := range tools {
		errs, err := t.measure(a)
		if err != nil {
			return 1, fmt.Errorf("%s: %w", filepath.Base(t.name), err)
		}
		if t.name == binary && (errs.median >= goalMedian || errs.p99 >= goalP99) {
			fmt.Fprintf(os.Stdout, "%8s the target is below %.0f at the median and below %.0f at p99\n", "", goalMedian, goalP99)
			code = 1
		}
	}
	return code, nil
}

// pair makes the two hosts and a server that accepts.
func pair(lab *netlab.Lab) (a, b *netlab.Host, err error) {
	if a, err = lab.Host("a"); err != nil {
		return nil, nil, err
	}
	if b, err = lab.Host("b"); err != nil {
		return nil, nil, err
	}
	if _, err = lab.Join(a, b, netlab.LinkConfig{Offload: true}); err != nil {
		return nil, nil, err
	}
	_, err = b.Serve(port, netlab.Discard)
	return a, b, err
}

// An accuracy is how far a tool is from the capture, in microseconds.
type accuracy struct{ median, p99 float64 }

// measure runs the tool beside a capture and prints a line.
func (t tool) measure(h *netlab.Host) (accuracy, error) {
	dir, err := os.MkdirTemp("", "pingbench-")
	if err != nil {
		return accuracy{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "capture.pcapng")
	out, err := t.besideCapture(h, file)
	if err != nil {
		return accuracy{}, err
	}
	said, err := t.read(out)
	if err != nil {
		return accuracy{}, err
	}
	seen, err := readCapture(file)
	if err != nil {
		return accuracy{}, err
	}
	if len(said) != len(seen) {
		return accuracy{}, fmt.Errorf("it tells %d round trips, and the capture %d: they cannot be matched", len(said), len(seen))
	}
	return t.report(said, seen), nil
}

func (t tool) report(said, seen []float64) accuracy {
	signed, size := make([]float64, len(said)), make([]float64, len(said))
	for i := range said {
		signed[i] = said[i] - seen[i]
		size[i] = max(signed[i], -signed[i])
	}
	a := accuracy{quantile(size, 0.50), quantile(size, 0.99)}
	fmt.Fprintf(os.Stdout, "%-8s %8d %12.2f %12.2f %12.2f %12.2f %12.2f\n", filepath.Base(t.name), len(said),
		quantile(seen, 0.5), quantile(said, 0.5), quantile(signed, 0.5), a.median, a.p99)
	return a
}

func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// besideCapture runs the tool while libpcap writes what it sends and receives.
// dumpcap and not tcpdump: that one insists on giving up root, which cannot be
// done in an ordinary user's namespace.
func (t tool) besideCapture(h *netlab.Host, file string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	capture := h.Command(ctx, "dumpcap", "-q", "-i", "eth0", "-f", "tcp", "-B", "16", "-w", file)
	said, err := capture.StderrPipe()
	if err != nil {
		return "", err
	}
	if err := capture.Start(); err != nil {
		return "", fmt.Errorf("dumpcap, of Debian's package wireshark-common: %w", err)
	}
	lines := bufio.NewScanner(said)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "File:") { // from here on it captures
	}
	cmd := h.Command(ctx, t.name, t.args...)
	cmd.Stderr = io.Discard
	out, runErr := cmd.Output()
	time.Sleep(500 * time.Millisecond) // libpcap hands packets over in blocks
	stopErr := capture.Process.Signal(syscall.SIGINT)
	for lines.Scan() { // until it has ended
	}
	return string(out), errors.Join(runErr, stopErr, capture.Wait())
}

// readCapture returns the times from each SYN to its SYN-ACK, in µs.
func readCapture(file string) ([]float64, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	r, err := pcapgo.NewNgReader(f, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		return nil, err
	}
	sent := map[string]time.Time{}
	var seen []float64
	for {
		frame, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return seen, nil
		}
		if err != nil {
			return nil, err
		}
		var s segment.Segment
		const ethernet = 14
		if len(frame) < ethernet || s.Parse(frame[ethernet:]) != nil {
			continue
		}
		switch s.Flags & (segment.SYN | segment.ACK) {
		case segment.SYN:
			sent[fmt.Sprint(s.Src, s.Seq.Add(1))] = info.Timestamp
		case segment.SYN | segment.ACK:
			key := fmt.Sprint(s.Dst, s.Ack)
			if at, ok := sent[key]; ok {
				seen = append(seen, micro(info.Timestamp.Sub(at)))
				delete(sent, key)
			}
		}
	}
}

func micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func readRawtcp(out string) ([]float64, error) {
	var said []float64
	for text := range strings.Lines(out) {
		var line struct {
			Type, Result string
			RTTUS        float64 `json:"rtt_us"`
		}
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			return nil, err
		}
		if line.Type == "probe" && line.Result == "reply" {
			said = append(said, line.RTTUS)
		}
	}
	return said, nil
}

var hpingAnswer = regexp.MustCompile(`flags=SA .* rtt=([0-9.]+) ms`)

// readHping reads times that are told to 0.1 ms.
func readHping(out string) ([]float64, error) {
	var said []float64
	for _, m := range hpingAnswer.FindAllStringSubmatch(out, -1) {
		ms, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return nil, err
		}
		said = append(said, ms*1000)
	}
	return said, nil
}

var npingLine = regexp.MustCompile(`(?m)^(SENT|RCVD) \(([0-9.]+)s\) TCP`)

// readNping takes the differences of the moments it prints, to 0.1 ms; of single
// probes it tells no more.
func readNping(out string) ([]float64, error) {
	var said []float64
	var sent float64
	for _, m := range npingLine.FindAllStringSubmatch(out, -1) {
		at, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return nil, err
		}
		if m[1] == "SENT" {
			sent = at
			continue
		}
		said = append(said, (at-sent)*1e6)
	}
	return said, nil
}
