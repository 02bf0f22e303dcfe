package trace

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"rawtcp/engine"
)

// jsonOf returns the lines that play makes.
func jsonOf(t *testing.T, play func(*JSONLines)) string {
	t.Helper()
	var out bytes.Buffer
	j := NewJSONLines(&out)
	play(j)
	if err := j.Close(time.Minute); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestJSONLines(t *testing.T) {
	text := jsonOf(t, func(j *JSONLines) {
		j.Start(Start{Command: "connect", Local: local4.String(), Remote: remote4.String(), Iface: "veth0", MTU: 1500, Guard: "none", IO: "raw", Version: "test"})
		c := NewCollector()
		newScript(Tee{j, c}).exchange()
		s, _ := c.Take(1)
		j.Summary(s)
		j.Error(ErrorLine{Code: 7, Message: "refused", Hint: "none"})
	})
	golden(t, "exchange.jsonl.golden", text)
}

// Every line is one object whose keys of the contract are there.
func TestJSONKeys(t *testing.T) {
	text := jsonOf(t, func(j *JSONLines) {
		j.Start(Start{})
		newScript(j).exchange()
		j.Summary(Summary{})
		j.Error(ErrorLine{})
	})
	keys := map[string]string{
		"start":   "schema command local iface mtu guard io version",
		"segment": "conn t_us dir src dst flags seq ack seq_abs ack_abs win wscale len options checksum",
		"state":   "conn t_us from to cause",
		"timer":   "conn t_us timer what due_us",
		"data":    "conn t_us dir len",
		"icmp":    "conn t_us from icmp_type code text",
		"summary": "conn result syn_rtt_us handshake_us teardown_us bytes_sent bytes_received segments_sent segments_received retransmits peer close states",
		"error":   "code message hint",
	}
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		var object map[string]json.RawMessage
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		var kind string
		if err := json.Unmarshal(object["type"], &kind); err != nil || keys[kind] == "" {
			t.Fatalf("type %s", object["type"])
		}
		seen[kind] = true
		for key := range strings.FieldsSeq(keys[kind]) {
			if _, ok := object[key]; !ok {
				t.Errorf("%s has no %q: %s", kind, key, line)
			}
		}
	}
	if len(seen) != len(keys) {
		t.Errorf("saw the types %v only", seen)
	}
}

func TestJSONDropsThatCannotBeReadAreLeftOut(t *testing.T) {
	text := jsonOf(t, func(j *JSONLines) {
		newScript(j).send(engine.Event{Kind: engine.EventDrop, Reason: "short", Packet: []byte{0x45}})
	})
	if text != "" {
		t.Errorf("got %q", text)
	}
}

// Whatever a stranger sends, each line stays one valid JSON object.
func FuzzJSON(f *testing.F) {
	f.Add([]byte{0x45}, "reason")
	f.Add([]byte("\x45\x00\x00\x28\x00\x00\x40\x00\x40\x06\x00\x00\xc6\x12\x00\x02\xc6\x12\x00\x01\x00\x50\xc0\x00\x00\x00\x00\x00\x00\x00\x00\x00\x50\x04\x00\x00\x00\x00\x00\x00"), "\x1b<>\u2028\xff")
	f.Fuzz(func(t *testing.T, packet []byte, reason string) {
		text := jsonOf(t, func(j *JSONLines) {
			s := newScript(j)
			s.send(engine.Event{Kind: engine.EventDrop, Reason: reason, Packet: packet})
			s.send(engine.Event{Kind: engine.EventICMP, ICMP: &engine.ICMP{From: netip.IPv6Unspecified(), Quoted: packet}})
		})
		for line := range strings.Lines(text) {
			if !json.Valid([]byte(line)) || strings.ContainsRune(line, '\x1b') {
				t.Fatalf("%q", line)
			}
		}
	})
}

// Lines are the lines of JSONLines, as values.
func TestLinesAreThoseOfJSONLines(t *testing.T) {
	for _, p := range plots {
		s := newStory(t, false)
		var lines [2]strings.Builder
		for side, v := range s.views {
			encoder := json.NewEncoder(&lines[side])
			encoder.SetEscapeHTML(false)
			v.tee = append(v.tee, NewLines(func(line any) {
				if err := encoder.Encode(line); err != nil {
					t.Error(err)
				}
			}))
			s.stacks[side] = engine.NewStack(engine.StackConfig{Secret: [32]byte{byte(side + 1)}, Tracer: v.tee})
		}
		p.play(s)
		s.run()
		for side, v := range s.views {
			want, _, _ := strings.Cut(v.outs["json"].String(), `{"type":"summary"`)
			if got := lines[side].String(); got != want {
				t.Errorf("%s, side %d: lines\n%s\nJSON Lines\n%s", p.name, side, got, want)
			}
		}
	}
}
