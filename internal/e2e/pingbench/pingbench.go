// Package pingbench compares the round-trip times of `rawtcp ping`, hping3 and
// nping with those in a capture by libpcap, which is what tcpdump writes: from the
// SYN to its SYN-ACK, probe by probe, over a veth pair to a server on the kernel's
// TCP. Its command is `make bench-ping`; `make bench` has the errors in its table.
package pingbench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
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

// Interval is the time between two probes.
const Interval = 5 * time.Millisecond

// port is that of the server.
const port = 80

// A Tool is one program that measures round-trip times.
type Tool struct {
	Name string
	path string
	args []string
	read func(out string) ([]float64, error) // us, one for each answered probe, in order
}

// Tools returns the programs, ours first, for a number of probes to a host.
func Tools(rawtcp string, to netip.Addr, probes int) []Tool {
	host, service, count, every := to.String(), strconv.Itoa(port), strconv.Itoa(probes), strconv.Itoa(int(Interval.Microseconds()))
	return []Tool{
		{"rawtcp", rawtcp, []string{"ping", "--json", "-c", count, "-i", Interval.String(), host + ":" + service}, readRawtcp},
		{"hping3", "hping3", []string{"-S", "-p", service, "-c", count, "-i", "u" + every, host}, readHping},
		{"nping", "nping", []string{"--tcp", "-p", service, "-c", count, "--delay", Interval.String(), host}, readNping},
	}
}

// Pair makes the two hosts and a server that accepts on the second.
func Pair(lab *netlab.Lab) (a, b *netlab.Host, err error) {
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

// An Accuracy is what a tool told beside what was captured, in microseconds.
type Accuracy struct {
	Answers  int
	Captured float64 // median round trip in the capture
	Told     float64 // median round trip that the tool told
	Bias     float64 // median of told - captured
	P50, P99 float64 // of the size of that difference
}

// Measure runs the tool inside h beside a capture there.
func (t Tool) Measure(h *netlab.Host) (Accuracy, error) {
	dir, err := os.MkdirTemp("", "pingbench-")
	if err != nil {
		return Accuracy{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "capture.pcapng")
	out, err := t.besideCapture(h, file)
	if err != nil {
		return Accuracy{}, err
	}
	said, err := t.read(out)
	if err != nil {
		return Accuracy{}, err
	}
	seen, err := readCapture(file)
	if err != nil {
		return Accuracy{}, err
	}
	if len(said) != len(seen) {
		return Accuracy{}, fmt.Errorf("%s tells %d round trips, and the capture %d: they cannot be matched", t.Name, len(said), len(seen))
	}
	return compare(said, seen), nil
}

// compare takes the round trips in the same order.
func compare(said, seen []float64) Accuracy {
	signed, size := make([]float64, len(said)), make([]float64, len(said))
	for i := range said {
		signed[i] = said[i] - seen[i]
		size[i] = max(signed[i], -signed[i])
	}
	return Accuracy{Answers: len(said), Captured: quantile(seen, 0.5), Told: quantile(said, 0.5), Bias: quantile(signed, 0.5),
		P50: quantile(size, 0.50), P99: quantile(size, 0.99)}
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
func (t Tool) besideCapture(h *netlab.Host, file string) (string, error) {
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
	cmd := h.Command(ctx, t.path, t.args...)
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
