package explain

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"rawtcp/internal/capture"
	"rawtcp/internal/trace"
	"rawtcp/segment"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A roll makes a capture from lines in the notation of package segment: ">" is
// from the client at 198.18.0.1, "<" from the server at 198.18.0.2.
type roll struct {
	t      testing.TB
	b      []byte
	at     time.Duration
	port   uint16
	ttl    [2]uint8
	id     [2]uint16
	host   byte // the last number of the client's address
	damage bool // the next segments are damaged
	text   string
	snap   int // octets that are kept of a packet, 0: all
}

// newRoll begins a capture of raw IP packets in nanoseconds.
func newRoll(t testing.TB) *roll {
	b := binary.LittleEndian.AppendUint32(nil, 0xa1b23c4d)
	b = binary.LittleEndian.AppendUint16(b, 2)
	b = binary.LittleEndian.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = binary.LittleEndian.AppendUint32(b, 262144)
	b = binary.LittleEndian.AppendUint32(b, uint32(capture.LinkRaw))
	return &roll{t: t, b: b, port: 1000, ttl: [2]uint8{64, 55}, host: 1}
}

// see appends segments, 1 ms apart.
func (r *roll) see(lines ...string) *roll {
	r.t.Helper()
	for _, line := range lines {
		s, dir, err := segment.ParseText(line)
		if err != nil {
			r.t.Fatalf("%s: %v", line, err)
		}
		side := 0
		s.Src = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, 0, r.host}), r.port)
		s.Dst = netip.MustParseAddrPort("198.18.0.2:80")
		if dir == segment.In {
			s.Src, s.Dst, side = s.Dst, s.Src, 1
		}
		r.id[side]++
		s.TTL, s.IPID = r.ttl[side], r.id[side]
		copy(s.Payload, r.text)
		r.add(&s)
	}
	return r
}

func (r *roll) add(s *segment.Segment) {
	r.t.Helper()
	pkt, err := s.Append(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if r.damage {
		pkt[len(pkt)-1] ^= 1
	}
	r.at += time.Millisecond
	at := 1_700_000_000*time.Second + r.at
	kept := len(pkt)
	if r.snap != 0 {
		kept = min(kept, r.snap)
	}
	for _, v := range []uint32{uint32(at / time.Second), uint32(at % time.Second), uint32(kept), uint32(len(pkt))} {
		r.b = binary.LittleEndian.AppendUint32(r.b, v)
	}
	r.b = append(r.b, pkt[:kept]...)
}

func (r *roll) wait(d time.Duration) *roll {
	r.at += d
	return r
}

// open is a handshake.
func (r *roll) open() *roll {
	return r.see("> S 100:100(0) win 64240 <mss 1460,sackOK,wscale 7>", "< S. 500:500(0) ack 101 win 65160 <mss 1460,sackOK,wscale 7>", "> . 101:101(0) ack 501 win 502")
}

// crossed is a capture that ends in the midst of a simultaneous open.
func crossed(t testing.TB) *roll {
	return newRoll(t).see("> S 100:100(0) win 64240 <mss 1460,wscale 7>", "< S 500:500(0) win 65160 <mss 1380>").wait(time.Second).
		see("> S 100:100(0) win 64240 <mss 1460,wscale 7>", "< S 500:500(0) win 65160 <mss 1380>")
}

// close is a close of three segments, the client first.
func (r *roll) close() *roll {
	return r.see("> F. 101:101(0) ack 501 win 502", "< F. 501:501(0) ack 102 win 502", "> . 102:102(0) ack 502 win 502")
}

// linesOf returns all lines of a capture.
func linesOf(t testing.TB, b []byte, o Options) (all []any) {
	t.Helper()
	if err := Lines(bytes.NewReader(b), o, func(line any) error { all = append(all, line); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// found returns the findings of a capture by kind.
func found(t testing.TB, b []byte) map[string]trace.FindingLine {
	t.Helper()
	kinds := map[string]trace.FindingLine{}
	for _, line := range linesOf(t, b, Options{}) {
		if f, ok := line.(trace.FindingLine); ok && kinds[f.Kind].Kind == "" { // the first of each
			kinds[f.Kind] = f
		}
	}
	return kinds
}

// Who sent an RST is told by its looks, and by what its sender does afterwards.
func TestWhoSentTheReset(t *testing.T) {
	const off = "< R 9999:9999(0) win 0"
	// Some segments of the server, so that its IPIDs are seen to count.
	talk := func(r *roll) *roll {
		for i := range 6 {
			r.see(fmt.Sprintf("< P. %d:%d(10) ack 101 win 502", 501+10*i, 511+10*i), fmt.Sprintf("> . 101:101(0) ack %d win 502", 511+10*i))
		}
		return r
	}
	const exactLater = "< R. 561:561(0) ack 101 win 502"
	for _, test := range []struct {
		name string
		roll func(r *roll)
		side string
		says []string
	}{
		{"the endpoint", func(r *roll) { talk(r).see(exactLater) }, "remote", []string{"The server sent it itself", "TTL 55 as before", "IP ID goes on counting", "sequence number is exact"}},
		{"another TTL and another IPID", func(r *roll) {
			talk(r)
			r.ttl[1], r.id[1] = 61, 40000
			r.see(exactLater)
		}, "path", []string{"A box in between sent it, not the server", "TTL is 61, that of the other segments 55", "IP ID 40001 does not go on"}},
		{"another TTL alone", func(r *roll) {
			talk(r)
			r.ttl[1] = 61
			r.see(exactLater)
		}, "path", []string{"Perhaps a box in between", "TTL is 61", "against it, its IP ID goes on"}},
		{"as many hops away", func(r *roll) {
			talk(r)
			r.ttl[1] = 255 - 9
			r.see(exactLater)
		}, "remote", []string{"The server sent it itself", "TTL 246 is as many hops away as the TTL 55"}},
		{"as many hops away from a Windows", func(r *roll) {
			talk(r)
			r.ttl[1] = 128 - 9
			r.see(exactLater)
		}, "remote", []string{"The server sent it itself", "TTL 119 is as many hops away as the TTL 55"}},
		{"it goes on", func(r *roll) { talk(r).see(exactLater, "< P. 561:571(10) ack 101 win 502") }, "path", []string{"A box in between sent it", "the server goes on in frame 17 as if nothing had happened"}},
		{"a number that does not fit", func(r *roll) {
			talk(r)
			r.id[1] = 40000
			r.see(off)
		}, "path", []string{"does not have to believe", "A box in between sent it", "9438 octets off"}},
		{"three at once", func(r *roll) {
			talk(r)
			r.id[1] = 40000
			r.see(exactLater, "< R. 2021:2021(0) ack 101 win 502", "< R. 4941:4941(0) ack 101 win 502")
		}, "path", []string{"3 RSTs with different numbers came at once", "A box in between sent it"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRoll(t).open()
			test.roll(r)
			f, ok := found(t, r.b)["reset"]
			if !ok || f.Side != test.side {
				t.Errorf("%+v", f)
			}
			for _, says := range test.says {
				if !strings.Contains(f.Text, says) {
					t.Errorf("%q does not say %q", f.Text, says)
				}
			}
		})
	}
}

// Each kind of finding is made where it should be, and not where it should not.
func TestFindings(t *testing.T) {
	for _, test := range []struct {
		name string
		roll *roll
		want string // the kinds, but for handshake, options and teardown
	}{
		{"an ordinary life", newRoll(t).open().close(), ""},
		{"SYN sent twice", newRoll(t).see("> S 100:100(0) win 64240 <mss 1460,sackOK,wscale 7>").wait(time.Second).open().close(), "retransmission syn_retry"},
		{"nobody answers", newRoll(t).see("> S 1:1(0) win 1").wait(time.Second).see("> S 1:1(0) win 1"), "no_answer retransmission"},
		{"refused", newRoll(t).see("> S 1:1(0) win 1", "< R. 0:0(0) ack 2 win 0"), "refused"},
		{"half-open", newRoll(t).see("> S 1:1(0) win 1", "< S. 5:5(0) ack 2 win 9").wait(time.Second).see("< S. 5:5(0) ack 2 win 9"), "half_open retransmission"},
		{"left open", newRoll(t).open(), "open_at_end"},
		{"half-closed", newRoll(t).open().see("> F. 101:101(0) ack 501 win 502", "< . 501:501(0) ack 102 win 502"), "half_closed"},
		{"in the midst", newRoll(t).see("> . 101:111(10) ack 501 win 502"), "mid_stream open_at_end"},
		{"without window scaling", newRoll(t).see("> S 100:100(0) win 64240 <mss 1460,wscale 7>", "< S. 500:500(0) ack 101 win 65160 <mss 1460>", "> . 101:101(0) ack 501 win 502").close(), "no_window_scaling"},
		{"a lowered MSS", newRoll(t).see("> S 100:100(0) win 64240 <mss 1460>", "< S. 500:500(0) ack 101 win 65160 <mss 1360>", "> . 101:101(0) ack 501 win 502").close(), "mss_lowered"},
		{"smaller segments than allowed", newRoll(t).open().see("> . 101:1401(1300) ack 501 win 502", "> . 1401:2701(1300) ack 501 win 502", "> . 2701:4001(1300) ack 501 win 502"), "mss_clamped open_at_end"},
		{"larger segments than allowed", newRoll(t).open().see("> . 101:4101(4000) ack 501 win 502"), "open_at_end super_segments"},
		{"a closed window", newRoll(t).open().see("< . 501:501(0) ack 101 win 0").wait(time.Second).see("> . 100:100(0) ack 501 win 502", "< . 501:501(0) ack 101 win 0", "< . 501:501(0) ack 101 win 502").close(), "zero_window"},
		{"keep-alive", newRoll(t).open().see("> . 100:100(0) ack 501 win 502", "< . 501:501(0) ack 101 win 65160").close(), "keep_alive"},
		{"loss", newRoll(t).open().see("> . 101:201(100) ack 501 win 502", "> . 201:301(100) ack 501 win 502", "< . 501:501(0) ack 101 win 65160 <sack 201:301>", "> . 101:201(100) ack 501 win 502"), "dup_ack open_at_end retransmission"},
		{"a hole in the capture", newRoll(t).open().see("> . 201:301(100) ack 501 win 502", "< . 501:501(0) ack 301 win 502"), "not_captured open_at_end"},
		{"damage", func() *roll {
			r := newRoll(t).open().see("> . 101:201(100) ack 501 win 502")
			r.damage = true
			return r.see("> . 201:301(100) ack 501 win 502")
		}(), "checksum_bad open_at_end"},
		{"checksums that nobody wrote", func() *roll {
			r := newRoll(t)
			r.damage = true
			return r.open().close()
		}(), "checksum_offload"},
		{"checksums of one side alone", func() *roll {
			r := newRoll(t)
			r.damage = true
			return r.see("> S 1:1(0) win 1").wait(time.Second).see("> S 1:1(0) win 1")
		}(), "checksum_offload no_answer retransmission"},
		{"both close at once", newRoll(t).open().see("> F. 101:101(0) ack 501 win 502", "< F. 501:501(0) ack 101 win 502", "> . 102:102(0) ack 502 win 502", "< . 502:502(0) ack 102 win 502"), "simultaneous_close"},
		{"two SYNs, each sent twice, no SYN-ACK", crossed(t), "mss_lowered no_window_scaling retransmission syn_retry"},
		{"nothing but an RST", newRoll(t).see("< R. 501:501(0) ack 101 win 502"), "mid_stream reset"},
		{"ports used again", newRoll(t).open().see("> R. 101:101(0) ack 501 win 0", "> S 9000:9000(0) win 64240 <mss 1460>", "< S. 500:500(0) ack 9001 win 65160 <mss 1460>", "> . 9001:9001(0) ack 501 win 502"), "open_at_end ports_reused reset"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var kinds []string
			for kind, f := range found(t, test.roll.b) {
				if kind != "handshake" && kind != "options" && kind != "teardown" {
					kinds = append(kinds, kind)
				}
				if !strings.HasSuffix(f.Text, ".") || f.Text[0] >= 'a' && f.Text[0] <= 'z' || len(f.Frames) == 0 || slices.Contains(f.Frames, 0) {
					t.Errorf("%+v", f)
				}
			}
			slices.Sort(kinds)
			if got := strings.Join(kinds, " "); got != test.want {
				t.Errorf("found %q, want %q", got, test.want)
			}
		})
	}
}

// Of a capture that was cut in the options of its SYNs, nothing is said that these
// may refute.
func TestCutOptions(t *testing.T) {
	r := newRoll(t)
	r.snap = 20 + 20 + 5 // the MSS, and one octet more
	r.open().see("> . 101:601(500) ack 501 win 502", "> . 601:1101(500) ack 501 win 502", "> . 1101:1601(500) ack 501 win 502").see("> F. 1601:1601(0) ack 501 win 502", "< F. 501:501(0) ack 1602 win 502", "> . 1602:1602(0) ack 502 win 502")
	kinds := found(t, r.b)
	if f := kinds["options"]; !strings.HasPrefix(f.Text, "Options: MSS 1460 by the client, 1460 by the server; the others are not whole in the capture") {
		t.Errorf("%+v", f)
	}
	if got := strings.Join(slices.Sorted(maps.Keys(kinds)), " "); got != "handshake options snapped teardown" {
		t.Errorf("found %q", got)
	}
}

// atTwoPlaces is a capture of two interfaces, of which one recorder has read
// first all of this, then all of that, as it comes with "any".
func atTwoPlaces(t *testing.T, b []byte) []byte {
	const cooked = 20
	out := bytes.Clone(b[:24])
	binary.LittleEndian.PutUint32(out[20:], uint32(capture.LinkCooked2))
	for place := range 2 {
		in, err := capture.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		for p := new(capture.Packet); in.Next(p) == nil; {
			at, size := p.At-int64(place)*2000, len(p.Data)+cooked
			for _, v := range []int64{at / 1e9, at % 1e9, int64(size), int64(size)} {
				out = binary.LittleEndian.AppendUint32(out, uint32(v))
			}
			out = append(out, 8, 0, 0, 0, 0, 0, 0, byte(place+1), 0, 1, 4, 6, 2, 0, 0, 0, 0, 1, 0, 0)
			out = append(out, p.Data...)
		}
	}
	return out
}

// A packet that was seen at two places is one packet, with or without IPIDs, also
// where the connection is over when its copies come.
func TestTwoPlaces(t *testing.T) {
	for _, test := range []struct {
		name string
		roll *roll
	}{
		{"a whole life", newRoll(t).open().see("> P. 101:201(100) ack 501 win 502", "< . 501:501(0) ack 201 win 501", "> F. 201:201(0) ack 501 win 502", "< F. 501:501(0) ack 202 win 502", "> . 202:202(0) ack 502 win 502")},
		{"refused", newRoll(t).see("> S 1:1(0) win 1", "< R. 0:0(0) ack 2 win 0")},
		{"reset", newRoll(t).open().see("< P. 501:511(10) ack 101 win 502", "> . 101:101(0) ack 511 win 502", "> R. 101:101(0) ack 511 win 0")},
		{"ports used again", newRoll(t).open().see("> R. 101:101(0) ack 501 win 0", "> S 9000:9000(0) win 64240 <mss 1460>", "< S. 500:500(0) ack 9001 win 65160 <mss 1460>", "> . 9001:9001(0) ack 501 win 502")},
	} {
		t.Run(test.name, func(t *testing.T) {
			once, twice := found(t, test.roll.b), found(t, atTwoPlaces(t, test.roll.b))
			for _, kind := range []string{"duplicate", "time_backwards"} {
				if twice[kind].Kind == "" {
					t.Errorf("no %s", kind)
				}
				delete(twice, kind)
			}
			if diff := cmp.Diff(slices.Sorted(maps.Keys(once)), slices.Sorted(maps.Keys(twice))); diff != "" {
				t.Errorf("once and twice:\n%s", diff)
			}
			if once["reset"].Text != twice["reset"].Text {
				t.Errorf("%q, twice %q", once["reset"].Text, twice["reset"].Text)
			}
		})
	}
}

// What an RST's alleged sender does before says nothing of it.
func TestSecondReset(t *testing.T) {
	r := newRoll(t).open().see("< P. 501:511(10) ack 101 win 502", "< R. 511:511(0) ack 101 win 0", "< P. 511:521(10) ack 101 win 502").wait(time.Second)
	r.see("> . 101:101(0) ack 521 win 502", "< R. 521:521(0) ack 101 win 0")
	var said []string
	for _, line := range linesOf(t, r.b, Options{}) {
		if f, ok := line.(trace.FindingLine); ok && f.Kind == "reset" {
			said = append(said, f.Text)
		}
	}
	if len(said) != 2 || !strings.Contains(said[0], "goes on in frame 6") || strings.Contains(said[1], "goes on in frame") || strings.HasSuffix(said[1], ": .") {
		t.Errorf("%q", said)
	}
}

// The page of explain has a row for every kind of finding, and no other.
func TestKindsAreOnThePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/explain.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "| kind | of | what it tells |")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_*]+)` ").FindAllStringSubmatch(table, -1) {
		rows[m[1]] = true
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{"passed_*": true}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?:add|noted)\("([a-z_]+)", `).FindAllSubmatch(text, -1) {
			kinds[string(m[1])] = true
		}
	}
	if diff := cmp.Diff(kinds, rows); diff != "" {
		t.Errorf("kinds in the code and rows of the page:\n%s", diff)
	}
}

// two is a capture of two connections, one of them with some trouble.
func two(t testing.TB) []byte {
	r := newRoll(t).open()
	r.text = "GET /\x1b[31m\x9b2J\u202e HTTP/1.0\r\n"
	r.see("> P. 101:201(100) ack 501 win 502", "< . 501:501(0) ack 201 win 501")
	r.port = 1001
	r.text = ""
	r.open().see("> . 101:1561(1460) ack 501 win 502", "> . 1561:3021(1460) ack 501 win 502", "> . 3021:4481(1460) ack 501 win 502",
		"< . 501:501(0) ack 101 win 502 <sack 1561:3021>", "< . 501:501(0) ack 101 win 502 <sack 1561:4481>", "> . 101:1561(1460) ack 501 win 502", "< . 501:501(0) ack 4481 win 502")
	r.wait(time.Second)
	r.see("> F. 4481:4481(0) ack 501 win 502", "< F. 501:501(0) ack 4482 win 502", "> . 4482:4482(0) ack 502 win 502")
	r.port = 1000
	return r.see("< R. 501:501(0) ack 201 win 501").b
}

// golden compares with a file under testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// textOf is what people read of a capture.
func textOf(t testing.TB, b []byte, o Options, cfg TextConfig) string {
	t.Helper()
	var out bytes.Buffer
	cfg.Out, cfg.Name = &out, "x.pcap"
	if err := Text(bytes.NewReader(b), o, cfg); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestText(t *testing.T) {
	local := time.Local
	time.Local = time.UTC
	t.Cleanup(func() { time.Local = local })
	golden(t, "two.golden", textOf(t, two(t), Options{}, TextConfig{Width: 80}))
	golden(t, "two-verbose.golden", textOf(t, two(t), Options{Port: 1000}, TextConfig{Width: 80, Verbose: 1, UTF8: true, Time: trace.TimeEpoch, Absolute: true}))
	golden(t, "two-all.golden", textOf(t, two(t), Options{}, TextConfig{Ladder: LadderAll}))
	golden(t, "two-table.golden", textOf(t, two(t), Options{Stream: 2}, TextConfig{Ladder: LadderNone, Width: 110}))
}

func TestJSON(t *testing.T) {
	var out strings.Builder
	w := trace.NewLineWriter(&out)
	for _, line := range linesOf(t, two(t), Options{}) {
		if err := w.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "two.jsonl.golden", out.String())
	checkSchema(t, out.String())
}

// checkSchema holds each line to the committed schema.
func checkSchema(t testing.TB, text string) {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile("../../docs/json/rawtcp-1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
		if err == nil {
			err = schema.Validate(value)
		}
		if err != nil {
			t.Errorf("%v\n%s", err, line)
		}
	}
}

// A line with one key less, or one key under another name, does not fit the schema.
func TestSchemaMissesEveryField(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../docs/json/rawtcp-1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	tried := map[string]bool{}
	all := append(linesOf(t, two(t), Options{}), trace.CaptureStart{Type: "start", Schema: trace.Schema, Command: "explain"})
	for _, line := range all {
		var object map[string]any
		text, err := json.Marshal(line)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &object); err != nil {
			t.Fatal(err)
		}
		for key := range object {
			name := object["type"].(string) + "." + key
			switch key {
			case "type", "note", "notes", "side", "frame", "peer_state", "state", "connections", "results", "syn_rtt":
				continue
			}
			if tried[name] {
				continue
			}
			tried[name] = true
			value := object[key]
			delete(object, key)
			if schema.Validate(object) == nil {
				t.Errorf("%s can go unnoticed", name)
			}
			object[key] = value
			object[key+"2"] = value
			if schema.Validate(object) == nil {
				t.Errorf("%s2 can come unnoticed", name)
			}
			delete(object, key+"2")
		}
	}
	if len(tried) < 50 {
		t.Errorf("only %d fields were tried", len(tried))
	}
}

// Filters choose, and leave numbers and times as they are.
func TestFilters(t *testing.T) {
	b := two(t)
	r := newRoll(t)
	r.host = 9
	whole := linesOf(t, b, Options{})
	for _, test := range []struct {
		name string
		o    Options
		want []uint64
	}{
		{"none", Options{}, []uint64{1, 2}},
		{"port", Options{Port: 1001}, []uint64{2}},
		{"the server's port", Options{Port: 80}, []uint64{1, 2}},
		{"host", Options{Host: netip.MustParseAddr("198.18.0.1")}, []uint64{1, 2}},
		{"another host", Options{Host: netip.MustParseAddr("198.18.0.9")}, nil},
		{"stream", Options{Stream: 1}, []uint64{1}},
		{"stream and port", Options{Stream: 1, Port: 1001}, nil},
	} {
		var conns []uint64
		for _, line := range linesOf(t, b, test.o) {
			if c, ok := line.(trace.ConnectionLine); ok {
				conns = append(conns, c.Conn)
			}
			if _, last := line.(trace.Summary); !last && !slices.ContainsFunc(whole, func(w any) bool { return cmp.Equal(w, line) }) {
				t.Errorf("%s: %+v is not in the whole", test.name, line)
			}
		}
		if !slices.Equal(conns, test.want) {
			t.Errorf("%s: connections %v, want %v", test.name, conns, test.want)
		}
	}
}

// An error of the receiver ends the reading and comes back as it is.
func TestYieldError(t *testing.T) {
	stop := errors.New("enough")
	n := 0
	err := Lines(bytes.NewReader(two(t)), Options{}, func(any) error { n++; return stop })
	if !errors.Is(err, stop) || n != 1 {
		t.Errorf("%v after %d lines", err, n)
	}
	if err := Text(bytes.NewReader(two(t)), Options{}, TextConfig{Out: broken{}, Ladder: LadderAll}); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// What is before the damage is told, and the damage is.
func TestDamagedFile(t *testing.T) {
	b := two(t)
	f, ok := found(t, b[:len(b)-3])["damaged_file"]
	if !ok || f.Conn != 0 || !strings.Contains(f.Text, "after frame 18: the file ends inside a record") {
		t.Errorf("%+v", f)
	}
	if err := Lines(strings.NewReader("nonsense"), Options{}, nil); !errors.Is(err, capture.ErrFormat) {
		t.Error(err)
	}
}

// A large capture is summed up, and its text is bounded.
func TestManyConnections(t *testing.T) {
	r := newRoll(t)
	const conns = mostRows + 500
	for i := range conns {
		r.port = uint16(1 + i%60000)
		r.see("> S 100:100(0) win 64240 <mss 1460>", "< R. 0:0(0) ack 101 win 0")
	}
	text := textOf(t, r.b, Options{}, TextConfig{Width: 80})
	for _, want := range []string{"10500 connections", "and 500 connections more", "all 10500 connections:", "refused: 10500 times, first in #1:"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if n := strings.Count(text, "\n#"); n != mostFound {
		t.Errorf("%d connections are told one by one", n)
	}
	if n := strings.Count(text, "SYN-SENT/LISTEN"); n != mostLadders {
		t.Errorf("%d ladders", n)
	}
}

// A long connection has the beginning of a ladder, or all of it on request.
func TestLongConnection(t *testing.T) {
	r := newRoll(t).open()
	for i := range 2 * mostLines {
		r.see(fmt.Sprintf("> . %d:%d(10) ack 501 win 502", 101+10*i, 111+10*i))
	}
	if text := textOf(t, r.b, Options{}, TextConfig{}); !strings.Contains(text, "  and 403 segments more") || strings.Count(text, "-->") != mostLines-1 {
		t.Errorf("%d lines", strings.Count(text, "-->"))
	}
	if text := textOf(t, r.b, Options{}, TextConfig{Ladder: LadderAll}); strings.Count(text, "-->") != 2*mostLines+2 {
		t.Errorf("%d lines", strings.Count(text, "-->"))
	}
}

// printable fails for a byte that a terminal must not get from a stranger.
func printable(t *testing.T, text string) {
	t.Helper()
	for i := range len(text) {
		if c := text[i]; (c < ' ' || c > '~') && c != '\n' {
			t.Fatalf("octet %#x in %q", c, text[max(0, i-40):min(len(text), i+40)])
		}
	}
}

// Octets of strangers are text and nothing else.
func TestEscapes(t *testing.T) {
	text := textOf(t, two(t), Options{}, TextConfig{Verbose: 1, Ladder: LadderAll})
	printable(t, text)
	if !strings.Contains(text, `GET /\x1b[31m\x9b2J\u202e`) {
		t.Errorf("the payload is not shown:\n%s", text)
	}
}

// FuzzExplain explains anything: no panic, plain text, lines that fit the schema.
func FuzzExplain(f *testing.F) {
	lines := lineSchema(f)
	f.Add(two(f))
	f.Add(newRoll(f).open().close().b)
	f.Add(crossed(f).b)
	f.Fuzz(func(t *testing.T, b []byte) { explainAny(t, lines, b) })
}

// The same for what no one would send, but whole: segments of two hosts in any
// order, with numbers near to each other.
func TestAnyConversation(t *testing.T) {
	lines := lineSchema(t)
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 0))
		capture := newRoll(t)
		capture.snap = []int{0, 0, 0, 41 + r.IntN(40)}[r.IntN(4)]
		for range 1 + r.IntN(14) {
			capture.see(anySegment(r)).wait(time.Duration(r.ExpFloat64() * float64(50*time.Millisecond)))
		}
		if !t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { explainAny(t, lines, capture.b) }) {
			return
		}
	}
}

func anySegment(r *rand.Rand) string {
	dir := []string{">", "<"}[r.IntN(2)]
	flags := []string{"S", "S.", ".", "P.", "F.", "R", "R.", "SF", "SR.", "S.", ".", "S"}[r.IntN(12)]
	near := func() int { return 100 + 400*r.IntN(2) + r.IntN(4) + 100*r.IntN(3) }
	seq, n := near(), []int{0, 0, 1, 100, 500}[r.IntN(5)]
	line := fmt.Sprintf("%s %s %d:%d(%d)", dir, flags, seq, seq+n, n)
	if strings.Contains(flags, ".") {
		line += fmt.Sprint(" ack ", near())
	}
	line += fmt.Sprint(" win ", []int{0, 1, 502, 65535}[r.IntN(4)])
	return line + []string{"", " <mss 1460,sackOK,wscale 7>", " <mss 536>", " <sack 201:301>", " <wscale 14>"}[r.IntN(5)]
}

func lineSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile("../../docs/json/rawtcp-1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// explainAny explains a capture, if it is one, in both ways.
func explainAny(t *testing.T, schema *jsonschema.Schema, b []byte) {
	t.Helper()
	var out bytes.Buffer
	if Text(bytes.NewReader(b), Options{}, TextConfig{Out: &out, Name: "x", Verbose: 1}) != nil {
		return
	}
	printable(t, out.String())
	var text bytes.Buffer
	w := trace.NewLineWriter(&text)
	last := any(nil)
	if err := Lines(bytes.NewReader(b), Options{}, func(line any) error { last = line; return w.Write(line) }); err != nil {
		t.Fatal(err)
	}
	if _, ok := last.(trace.Summary); !ok {
		t.Fatalf("the last line is %+v", last)
	}
	for line := range strings.Lines(text.String()) {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
		if err == nil {
			err = schema.Validate(value)
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, line)
		}
	}
}
