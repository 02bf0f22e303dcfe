package browser

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rawtcp/internal/report"
	"rawtcp/internal/trace"
)

// lines are those of a run that internal/report keeps for its tests.
func lines(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "report", "testdata", name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// start is the first line of the runs made here.
const start = `{"type":"start","schema":"rawtcp/1","command":"connect","local":"198.18.0.1:49152","remote":"198.18.0.2:80","iface":"veth0","mtu":1500,"guard":"none","io":"raw","version":"test"}` + "\n"

// write makes the report of some lines and returns its file.
func write(t *testing.T, text string) string {
	t.Helper()
	run := report.NewRun()
	if err := run.Read(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	if err := run.Write(&page); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(file, page.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	return file
}

// shape is what a run's lines say should be seen.
type shape struct {
	segments, states, fired int
	bars, sacks             int  // of the graphs
	shut                    bool // a window was zero
}

// direction is what one side of a connection sent that its graph should show.
type direction struct{ bars, data, sacks int }

func shapeOf(t *testing.T, text string) shape {
	t.Helper()
	var s shape
	directions := map[uint64]map[string]*direction{}
	for line := range strings.Lines(text) {
		var head struct{ Type, What string }
		if err := json.Unmarshal([]byte(line), &head); err != nil {
			t.Fatal(err)
		}
		switch head.Type {
		case "segment":
			var l trace.SegmentLine
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatal(err)
			}
			s.segments++
			s.shut = s.shut || l.Win == 0 && !strings.Contains(l.Flags, "R")
			if directions[l.Conn] == nil {
				directions[l.Conn] = map[string]*direction{"in": {}, "out": {}}
			}
			note(directions[l.Conn], &l)
		case "state":
			s.states++
		case "timer":
			if head.What == "fired" {
				s.fired++
			}
		}
	}
	for _, both := range directions {
		s.graphs(both["out"], both["in"])
	}
	return s
}

// note counts what a segment adds to the graphs: what occupies sequence space to
// that of its sender, SACK blocks to that of the other side.
func note(both map[string]*direction, l *trace.SegmentLine) {
	if slices.Contains([]string{"dropped", "unacceptable", "paws", "old_duplicate_syn"}, l.Note) || l.Checksum == "bad" {
		return // its numbers need not mean anything
	}
	if l.Len > 0 || strings.ContainsAny(l.Flags, "SF") {
		both[l.Dir].bars++
	}
	if l.Len > 0 {
		both[l.Dir].data++
	}
	other := map[string]string{"in": "out", "out": "in"}[l.Dir]
	both[other].sacks += len(l.Options.SACK)
}

// graphs adds the graphs of a connection: one for each side that sent data, or
// one for SYN and FIN.
func (s *shape) graphs(out, in *direction) {
	list := []*direction{out, in}
	list = slices.DeleteFunc(list, func(d *direction) bool { return d.data == 0 })
	if len(list) == 0 {
		list = []*direction{out}
		if out.bars == 0 {
			list = []*direction{in}
		}
	}
	for _, d := range list {
		s.bars += d.bars
		s.sacks += d.sacks
	}
}

// long is a connection of n segments: data out, ACKs in, one in a hundred lost
// and sent again.
func long(n int) string {
	var b strings.Builder
	b.WriteString(start)
	out := json.NewEncoder(&b)
	us, seq := int64(0), uint32(1)
	segment := func(dir, flags string, seq, ack uint32, size int, note string) {
		l := trace.SegmentLine{
			Type: "segment", Conn: 1, TimeUS: us, Dir: dir, Src: "198.18.0.1:49152", Dst: "198.18.0.2:80", Flags: flags,
			Seq: seq, Ack: ack, SeqAbs: seq + 1000, AckAbs: ack + 2000, Win: 502, WScale: 7, Len: size, TTL: 64, Checksum: "ok", Note: note,
			Reason: "data the window allows, RFC 9293 section 3.8.6", State: "ESTABLISHED",
		}
		if dir == "in" {
			l.Src, l.Dst, l.Reason = l.Dst, l.Src, ""
		}
		val, ecr := uint32(us/1000), uint32(us/1000-20)
		l.Options.TSVal, l.Options.TSEcr = &val, &ecr
		_ = out.Encode(l)
	}
	_ = out.Encode(trace.StateLine{Type: "state", Conn: 1, From: "CLOSED", To: "SYN-SENT", Cause: "active open"})
	segment("out", "S", 0, 0, 0, "")
	us = 20000
	segment("in", "S.", 0, 1, 0, "")
	_ = out.Encode(trace.StateLine{Type: "state", Conn: 1, TimeUS: us, From: "SYN-SENT", To: "ESTABLISHED", Cause: "SYN-ACK received"})
	for i := 2; i < n; i++ {
		us += 311
		switch {
		case i%3 == 0:
			segment("in", ".", 1, seq, 0, "")
		case i%100 == 1:
			segment("out", ".", seq-1448, 1, 1448, "fast_retransmission")
		default:
			segment("out", ".", seq, 1, 1448, "")
			seq += 1448
		}
		if i%2 == 0 {
			due := us + 200000
			_ = out.Encode(trace.TimerLine{Type: "timer", Conn: 1, TimeUS: us, Timer: "rto", What: "armed", DueUS: &due})
		}
	}
	fmt.Fprintf(&b, `{"type":"summary","conn":1,"result":"closed","syn_rtt_us":20000,"handshake_us":20000,"teardown_us":null,"bytes_sent":%d,"bytes_received":0,"segments_sent":%d,"segments_received":%d,"retransmits":100,"peer":null,"close":{"first":"none","how":"none"},"states":[]}`+"\n", seq, n*2/3, n/3)
	return b.String()
}

// many is the same talk on so many connections.
func many(t *testing.T, n int) string {
	t.Helper()
	_, talk, _ := strings.Cut(lines(t, "request"), "\n")
	var b strings.Builder
	b.WriteString(start)
	for i := range n {
		b.WriteString(strings.ReplaceAll(talk, `"conn":1,`, fmt.Sprintf(`"conn":%d,`, i+1)))
	}
	return b.String()
}
