package trace

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"rawtcp/engine"
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
	comments string
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
		p := packet{at: info.Timestamp, data: bytes.Clone(data), comments: strings.Join(options.Comments, "; ")}
		if options.Flags != nil {
			p.dir = options.Flags.Direction
		}
		packets = append(packets, p)
	}
}

func TestPcap(t *testing.T) {
	packets := readPcap(t, pcapOf(t, exchange))
	const wantPackets = 12
	if len(packets) != wantPackets {
		t.Fatalf("%d packets, want %d", len(packets), wantPackets)
	}
	first, second, third := packets[0], packets[1], packets[2]
	if first.dir != pcapgo.NgEpbFlagDirectionOutbound || third.dir != pcapgo.NgEpbFlagDirectionInbound {
		t.Errorf("directions %v, %v", first.dir, third.dir)
	}
	if !first.at.Equal(wallClock()) || third.at.Sub(first.at) != time.Second+214*time.Microsecond {
		t.Errorf("times %v, %v", first.at, third.at)
	}
	if !strings.Contains(second.comments, "retransmission") {
		t.Errorf("the second packet says %q", second.comments)
	}
	if want := "CLOSED -> SYN-SENT: active OPEN; active OPEN (RFC 9293 section 3.10.1)"; first.comments != want {
		t.Errorf("our SYN says %q", first.comments)
	}
	last := packets[len(packets)-2] // the peer's FIN
	if want := "FIN-WAIT-1 -> TIME-WAIT"; last.comments != want {
		t.Errorf("the peer's FIN says %q", last.comments)
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
	if err := os.WriteFile(path, pcapOf(t, exchange), 0o600); err != nil {
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
	deadline := time.After(10 * time.Second)
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
