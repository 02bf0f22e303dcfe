package flow

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"rawtcp/internal/capture"
	"rawtcp/segment"
)

// A script feeds a tracker with segments in the notation of package segment:
// ">" is from the client at 198.18.0.1:1000, "<" from the server at
// 198.18.0.2:80. It writes down what the tracker makes of each.
type script struct {
	t       *testing.T
	tracker *Tracker
	at      time.Duration
	frame   uint64
	last    Event
	states  string
	changes []string
	gone    []Conn
	ttl     uint8
	id      uint16
	bad     segment.Verdict
}

func newScript(t *testing.T, most int) *script {
	s := &script{t: t, ttl: 64}
	s.tracker = New(s, most)
	return s
}

// Segment implements Sink.
func (s *script) Segment(e *Event) {
	s.last = *e
	s.changes = nil
	for _, c := range e.Changes {
		s.changes = append(s.changes, fmt.Sprintf("%v %v -> %v", c.Side, c.From, c.To))
	}
	s.states = e.Conn.Ends[Local].State.String() + "/" + e.Conn.Ends[Remote].State.String()
}

// Gone implements Sink.
func (s *script) Gone(c *Conn) {
	kept := *c
	kept.Resets = slices.Clone(c.Resets)
	kept.samples = slices.Clone(c.samples)
	for i := range kept.Ends {
		kept.Ends[i].Passed = slices.Clone(c.Ends[i].Passed)
	}
	s.gone = append(s.gone, kept)
}

var (
	client = netip.MustParseAddrPort("198.18.0.1:1000")
	server = netip.MustParseAddrPort("198.18.0.2:80")
)

// see feeds one segment and holds its notes to want, a list parted by blanks.
func (s *script) see(line, want string) {
	s.t.Helper()
	g, dir, err := segment.ParseText(line)
	if err != nil {
		s.t.Fatalf("%s: %v", line, err)
	}
	g.Src, g.Dst = client, server
	if dir == segment.In {
		g.Src, g.Dst = server, client
	}
	g.Checksum = max(s.bad, segment.ChecksumOK)
	g.TTL = s.ttl
	g.IPID = s.id
	s.add(&g)
	if got := strings.Join(s.last.Notes.Names(), " "); got != want {
		s.t.Errorf("%s: notes %q, want %q", line, got, want)
	}
}

func (s *script) add(g *segment.Segment) {
	s.at += time.Millisecond
	s.frame++
	s.tracker.Add(Moment{Frame: s.frame, At: 1_700_000_000e9 + int64(s.at)}, g, capture.Detail{Kept: len(g.Payload)})
}

// wait lets time pass.
func (s *script) wait(d time.Duration) { s.at += d }

func (s *script) want(states string) {
	s.t.Helper()
	if s.states != states {
		s.t.Errorf("frame %d: %s, want %s", s.frame, s.states, states)
	}
}

// open is a handshake with a round trip of 2 ms, and SACK.
func (s *script) open() {
	s.t.Helper()
	s.see("> S 100:100(0) win 1000 <mss 1460,sackOK,wscale 0>", "")
	s.want("SYN-SENT/LISTEN")
	s.see("< S. 500:500(0) ack 101 win 1000 <mss 1460,sackOK,wscale 0>", "")
	s.want("ESTABLISHED/SYN-RECEIVED")
	s.see("> . 101:101(0) ack 501 win 1000", "")
	s.want("ESTABLISHED/ESTABLISHED")
}

// end closes the tracker and returns the only connection.
func (s *script) end() *Conn {
	s.t.Helper()
	s.tracker.Close()
	if len(s.gone) != 1 {
		s.t.Fatalf("%d connections, want 1", len(s.gone))
	}
	return &s.gone[0]
}
