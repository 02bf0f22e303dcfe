package trace

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"rawtcp/engine"
	"rawtcp/segment"
)

func pcapOf(t *testing.T, play func(engine.Tracer)) []byte {
	t.Helper()
	var out bytes.Buffer
	p, err := NewPcap(PcapConfig{Out: &out, Now: wallClock, Interface: "veth0", Application: "rawtcp test", Comment: "connect"})
	if err != nil {
		t.Fatal(err)
	}
	play(p)
	if err := p.Close(time.Minute); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

type packet struct {
	at       time.Time
	data     []byte
	dir      pcapgo.NgEpbFlag
	comments []string
}

func readPcap(t *testing.T, file []byte) []packet {
	t.Helper()
	r, err := pcapgo.NewNgReader(bytes.NewReader(file), pcapgo.NgReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if r.LinkType() != layers.LinkTypeRaw {
		t.Errorf("link type %v", r.LinkType())
	}
	if in, err := r.Interface(0); err != nil || in.Name != "veth0" {
		t.Errorf("interface %+v, %v", in, err)
	}
	var packets []packet
	for {
		data, info, options, err := r.ReadPacketDataWithOptions()
		if errors.Is(err, io.EOF) {
			return packets
		}
		if err != nil {
			t.Fatal(err)
		}
		p := packet{at: info.Timestamp, data: bytes.Clone(data), comments: options.Comments}
		if options.Flags != nil {
			p.dir = options.Flags.Direction
		}
		packets = append(packets, p)
	}
}

// tellPcap writes a capture as text: each packet with its time, direction and
// comments.
func tellPcap(t *testing.T, file []byte) string {
	var b strings.Builder
	for _, p := range readPcap(t, file) {
		var seg segment.Segment
		if err := seg.Parse(p.data); err != nil {
			t.Fatal(err)
		}
		dir := "in "
		if p.dir == pcapgo.NgEpbFlagDirectionOutbound {
			dir = "out"
		}
		fmt.Fprintf(&b, "%s %s %s\n", p.at.UTC().Format("05.000000000"), dir, string(seg.AppendText(nil, segment.Relative{Seq: seg.Seq, Ack: seg.Ack})))
		for _, c := range p.comments {
			fmt.Fprintf(&b, "    # %s\n", c)
		}
	}
	return b.String()
}

// What led to a packet of ours, and what a packet of the peer's led to, stands
// on that very packet.
func TestPcapComments(t *testing.T) {
	s := newStory(t, false)
	s.open()
	s.lose(client, 1)
	s.at(1050, func() { s.close(client) })
	s.closeOnEOF(server, 30)
	s.run()
	var got []string
	for _, p := range readPcap(t, s.views[client].outs["pcap"].Bytes()) {
		got = append(got, strings.Join(p.comments, "; "))
	}
	want := []string{
		"CLOSED -> SYN-SENT: active open; timer rto armed, due in 1s; opens the connection, RFC 9293 section 3.5",
		"timer rto fired; timer rto armed, due in 2s; [retransmission]; no answer to the SYN, RFC 6298 section 5",
		"timer rto stopped; SYN-SENT -> ESTABLISHED: SYN-ACK received",
		"completes the handshake, RFC 9293 section 3.5",
		"ESTABLISHED -> FIN-WAIT-1: the application closed; timer rto armed, due in 3s; timer loss probe armed, due in 1s; the application closed, RFC 9293 section 3.10.4",
		"timer rto stopped; timer loss probe stopped; FIN-WAIT-1 -> FIN-WAIT-2: our FIN is acknowledged; timer fin wait 2 armed, due in 1m0s",
		"timer fin wait 2 stopped; FIN-WAIT-2 -> TIME-WAIT: FIN received; timer time wait armed, due in 200ms",
		"acknowledges the FIN, RFC 9293 section 3.10.7.4",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("comments (-want +got):\n%s", diff)
	}
}

// The kernel's stamp is better than the time we got round to looking.
func TestPcapUsesTheKernelsStamp(t *testing.T) {
	stamp := time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)
	packets := readPcap(t, pcapOf(t, func(tr engine.Tracer) {
		s := newScript(tr)
		seg := s.parse("< S 0:0(0) win 1")
		raw, err := seg.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		s.send(engine.Event{Kind: engine.EventSegmentIn, Segment: seg, Packet: raw, Stamp: stamp.UnixNano()})
	}))
	if len(packets) != 1 || !packets[0].at.Equal(stamp) {
		t.Errorf("got %+v", packets)
	}
}

// A second opinion: tshark reads it, finds nothing wrong, and shows the story.
func TestPcapPleasesTshark(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pcapng")
	s := newStory(t, false)
	s.open()
	s.at(50, func() { s.close(client) })
	s.closeOnEOF(server, 30)
	s.run()
	if err := os.WriteFile(path, s.views[client].outs["pcap"].Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("tshark", "-r", path, "-o", "tcp.check_checksum:TRUE", "-T", "fields", "-e", "tcp.checksum.status", "-e", "frame.comment").Output()
	if err != nil {
		t.Fatalf("tshark (apt install tshark): %v", err)
	}
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "1\t") {
			t.Errorf("checksum not good: %s", line)
		}
	}
	if !strings.Contains(string(out), "SYN-SENT -> ESTABLISHED") {
		t.Errorf("no change of state in the comments:\n%s", out)
	}
}

func TestPcapFailureIsRemembered(t *testing.T) {
	p, err := NewPcap(PcapConfig{Out: &failingWriter{left: 1}, Now: wallClock})
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.After(time.Minute)
	for failed := false; !failed; {
		newScript(p).exchange()
		select {
		case <-p.Failed():
			failed = true
		case <-deadline:
			t.Fatal("the failed write went unnoticed")
		default:
		}
	}
	if err := p.Close(time.Minute); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
}

// takingLink takes every packet.
type takingLink struct{ engine.Link }

func (takingLink) WriteBatch(pkts [][]byte) (int, error) { return len(pkts), nil }

// A packet that the link refused is not in the capture, and its comments go
// with it.
func TestPcapHoldsWhatHasLeft(t *testing.T) {
	packets := readPcap(t, pcapOf(t, func(tr engine.Tracer) {
		link := tr.(*Pcap).Link(takingLink{}, nil)
		s := newScript(tr)
		var pkts [][]byte
		for i := range 3 {
			seg := s.parse(fmt.Sprintf("> . %d:%d(0) ack 1 win 7", i, i))
			s.send(engine.Event{Kind: engine.EventSegmentOut, Segment: seg, Reason: fmt.Sprintf("number %d", i)})
			pkt, err := seg.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			pkts = append(pkts, pkt)
		}
		for _, batch := range [][][]byte{pkts[:1], pkts[2:]} { // the second one was refused
			if _, err := link.WriteBatch(batch); err != nil {
				t.Fatal(err)
			}
		}
	}))
	if len(packets) != 2 || packets[0].comments[0] != "number 0" || packets[1].comments[0] != "number 2" {
		t.Errorf("got %+v", packets)
	}
}

// cuttingLink takes super-segments too.
type cuttingLink struct{ takingLink }

func (cuttingLink) SuperSegment() int                                 { return 9000 }
func (cuttingLink) WriteSegments(pkts [][]byte, _ []int) (int, error) { return len(pkts), nil }

// A super-segment is one packet of the capture, with its comment. A link that cuts
// none is not offered any.
func TestPcapHoldsSuperSegments(t *testing.T) {
	packets := readPcap(t, pcapOf(t, func(tr engine.Tracer) {
		if n := tr.(*Pcap).Link(takingLink{}, nil).(engine.SegmentingLink).SuperSegment(); n != 0 {
			t.Errorf("a link without super-segments takes %d octets", n)
		}
		link := tr.(*Pcap).Link(cuttingLink{}, nil).(engine.SegmentingLink)
		if n := link.SuperSegment(); n != 9000 {
			t.Errorf("the link takes %d octets, want 9000", n)
		}
		s := newScript(tr)
		seg := s.parse("> P. 1:4001(4000) ack 1 win 7")
		seg.SegmentSize = 1000
		s.send(engine.Event{Kind: engine.EventSegmentOut, Segment: seg, Reason: "data"})
		pkt, err := seg.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := link.WriteSegments([][]byte{pkt}, []int{1000}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}))
	if len(packets) != 1 || len(packets[0].data) != 4040 || packets[0].comments[0] != "data" {
		t.Errorf("got %+v", packets)
	}
}
