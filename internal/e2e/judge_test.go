package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rawtcp/internal/netlab"
	"rawtcp/segment"
)

// A witness is a whole capture of an interface, which tshark judges in one
// pass: no bad checksum, nothing beyond a window, no warning that has no reason.
type witness struct {
	t    *testing.T
	file string
	dump *process
	own  netip.Addr // where rawtcp is: it alone answers for what it sends
}

// witnessOn starts a capture at rawtcp's own interface: what it had heard when
// it sent something is what was captured before. dumpcap has a ring of its own,
// which loses nothing under load and takes no root of the machine.
func witnessOn(t *testing.T, h *netlab.Host, own netip.Addr) *witness {
	t.Helper()
	w := &witness{t: t, file: filepath.Join(t.TempDir(), "capture.pcap"), own: own}
	w.dump = start(t, h, nil, "File:", "dumpcap", "-i", "eth0", "-B", "64", "-P", "-q", "-w", w.file, "-f", "tcp")
	return w
}

// fields are what tshark tells of each segment, in this order.
var fields = []string{
	"frame.number", "ip.src", "ipv6.src", "tcp.srcport", "tcp.dstport", "tcp.flags", "tcp.seq_raw", "tcp.ack_raw",
	"tcp.len", "tcp.window_size_value", "tcp.options.wscale.shift", "tcp.checksum.status", "_ws.expert.severity", "_ws.expert.message",
}

// aggregator stands between several values of one field.
const aggregator = "~"

// A verdict is what a capture says.
type verdict struct {
	segments int
	faults   []string
	remarks  map[string]int // warnings that have a reason
}

// end ends the capture and judges it.
func (w *witness) end() verdict {
	w.t.Helper()
	time.Sleep(50 * time.Millisecond) // what is late would be a RST after the end
	w.dump.signal(syscall.SIGINT)
	w.dump.wait()
	if !strings.Contains(w.dump.text(), "/0 (pcap:0/dumpcap:0") {
		w.t.Errorf("the capture is not whole: %s", w.dump.text())
	}
	args := []string{"-n", "-r", w.file, "-o", "tcp.check_checksum:TRUE", "-d", "tcp.port==1-65535,data", // what programs say is their own affair
		"-T", "fields", "-E", "separator=/t", "-E", "aggregator=" + aggregator}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	cmd := exec.Command("tshark", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatalf("tshark: %v", err)
	}
	j := judge{own: w.own, flows: map[string]*flow{}, verdict: verdict{remarks: map[string]int{}}}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if col := strings.Split(lines.Text(), "\t"); len(col) == len(fields) && col[3] != "" {
			j.segment(col)
		} else {
			j.fault("line %q of tshark is not understood", lines.Text())
		}
	}
	if err := cmd.Wait(); err != nil {
		w.t.Fatalf("tshark: %v\n%s", err, stderr.String())
	}
	return j.verdict
}

// A flow is one direction of a connection: what its sender may send.
type flow struct {
	edge  segment.Seq // right edge of the largest window heard
	heard bool
	scale int
}

// A judge goes through a capture once.
type judge struct {
	verdict
	own   netip.Addr
	flows map[string]*flow
}

func (j *judge) fault(format string, args ...any) {
	if len(j.faults) < 20 {
		j.faults = append(j.faults, fmt.Sprintf(format, args...))
	}
}

func (j *judge) flow(key string) *flow {
	if j.flows[key] == nil {
		j.flows[key] = &flow{}
	}
	return j.flows[key]
}

func number(text string) int {
	n, _ := strconv.ParseInt(text, 0, 64) // tshark's own numbers
	return int(n)
}

func (j *judge) segment(col []string) {
	j.segments++
	frame, src, from, to := col[0], col[1]+col[2], col[3], col[4]
	own := src == j.own.String()
	if status := col[11]; status == "0" && own { // 0: bad, 1: good
		j.fault("frame %s: bad checksum", frame)
	}
	flags := number(col[5])
	seq, ack := segment.MakeSeq(uint32(number(col[6]))), segment.MakeSeq(uint32(number(col[7])))
	mine, peer := j.flow(from+">"+to), j.flow(to+">"+from)
	const fin, syn, rst, ackFlag = 1, 2, 4, 16
	if flags&syn != 0 {
		*mine = flow{}
		mine.scale = -1
		if col[10] != "" {
			mine.scale = number(col[10])
		}
	}
	if length := number(col[8]); own && mine.heard && flags&(syn|rst) == 0 && length > 0 {
		// One octet beyond is a window probe (RFC 9293 section 3.8.6.1).
		if over := seq.Add(length).Sub(mine.edge); over > 1 || over == 1 && length > 1 {
			j.fault("frame %s: %d octets beyond the window", frame, over)
		}
	}
	if flags&ackFlag != 0 && flags&rst == 0 {
		window := number(col[9])
		if flags&syn == 0 && mine.scale > 0 && peer.scale >= 0 {
			window <<= mine.scale
		}
		if edge := ack.Add(window); !peer.heard || peer.edge.Less(edge) {
			peer.edge, peer.heard = edge, true
		}
	}
	j.expert(frame, own, col[12], col[13])
}

const (
	windowFull = "TCP window specified by the receiver is now completely full"
	zeroWindow = "TCP Zero Window segment"
)

// reasons say why a warning of tshark's is no fault of rawtcp's.
var reasons = map[string]string{
	"Connection reset (RST)":                           "a program closes with data unread, or is closed while the other sends",
	"This frame is a (suspected) out-of-order segment": "the relay loses and reorders",
	"Previous segment(s) not captured":                 "the relay lost it before the capture",
	"ACKed segment that wasn't captured":               "the relay reorders: the ACK overtook what it is for",
	windowFull:                                         "a slow reader, and the sender stops at its window",
	zeroWindow:                                         "a slow reader",
	"D-SACK Sequence":                                  "the relay duplicates, or a retransmission was one too many",
}

// kernelReasons are for what the kernel sends.
var kernelReasons = map[string]string{
	"TCP Checksum 0xffff instead of 0x0000": "the kernel's habit with a sum of zero; both are the same number",
}

// expert takes what tshark thinks: notes are its business, but a warning or an
// error must have a reason.
func (j *judge) expert(frame string, own bool, severities, messages string) {
	if severities == "" {
		return
	}
	const warning = 0x600000
	levels, texts := strings.Split(severities, aggregator), strings.Split(messages, aggregator)
	if len(levels) != len(texts) {
		j.fault("frame %s: %d severities of %q", frame, len(levels), messages)
		return
	}
	for i, text := range texts {
		if number(levels[i]) >= warning && !j.explained(own, text) {
			j.fault("frame %s (ours: %t): %s", frame, own, text)
		}
	}
}

func (j *judge) explained(own bool, text string) bool {
	for known := range reasons {
		if strings.Contains(text, known) {
			j.remark(own, known)
			return true
		}
	}
	for known := range kernelReasons {
		if !own && strings.Contains(text, known) {
			j.remark(own, known)
			return true
		}
	}
	return false
}

func (j *judge) remark(own bool, text string) {
	if own {
		text = "ours: " + text
	}
	j.remarks[text]++
}
