package trace

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"rawtcp/engine"
)

// summaryOf returns the summary of the connection that play makes.
func summaryOf(t *testing.T, play func(*script)) Summary {
	t.Helper()
	c := NewCollector()
	play(newScript(c))
	s, ok := c.Take(1)
	if !ok {
		t.Fatal("no summary")
	}
	if _, ok := c.Take(1); ok {
		t.Error("a summary can be taken twice")
	}
	return s
}

func TestSummary(t *testing.T) {
	s := summaryOf(t, (*script).exchange)
	if s.SYNRTTUS != nil {
		t.Errorf("syn_rtt_us %d, though the SYN was sent twice", *s.SYNRTTUS)
	}
	if got := Duration(s.HandshakeUS); got != time.Second+214*time.Microsecond {
		t.Errorf("handshake %v", got)
	}
	if got := Duration(s.TeardownUS); got != 150*time.Microsecond {
		t.Errorf("teardown %v", got)
	}
	if s.BytesSent != 18 || s.BytesReceived != 1464 {
		t.Errorf("bytes %d and %d", s.BytesSent, s.BytesReceived)
	}
	if s.SegmentsSent != 7 || s.SegmentsReceived != 5 || s.Retransmits != 1 {
		t.Errorf("segments %d, %d, again %d", s.SegmentsSent, s.SegmentsReceived, s.Retransmits)
	}
	if want := (Close{First: "local", How: "fin"}); s.Close != want || s.Result != ResultClosed {
		t.Errorf("close %+v, result %s", s.Close, s.Result)
	}
	if s.Peer == nil || *s.Peer.MSS != 1460 || *s.Peer.WScale != 7 || !s.Peer.SACKPermitted || !s.Peer.Timestamps || s.Peer.ECN || s.Peer.Window != 65160 {
		t.Errorf("peer %+v", s.Peer)
	}
	want := "CLOSED SYN-SENT ESTABLISHED FIN-WAIT-1 FIN-WAIT-2 TIME-WAIT CLOSED"
	if got := strings.Join(s.States, " "); got != want {
		t.Errorf("states %s\nwant   %s", got, want)
	}
}

// end is the peer's last word: the engine shows the segment, then the state.
func (s *script) end(line string) {
	from := s.state
	s.state = engine.Closed
	s.in(line, "", "")
	s.send(engine.Event{Kind: engine.EventState, From: from, To: engine.Closed})
}

func TestSummaryResults(t *testing.T) {
	open := func(s *script) {
		s.become(engine.SynSent, "OPEN")
		s.out("S 0:0(0) win 1 <mss 1460>", "", "", "")
		s.after(300)
	}
	handshake := func(s *script) {
		open(s)
		s.become(engine.Established, "SYN")
		s.in("SE. 0:0(0) ack 1 win 1", "", "")
	}
	tests := []struct {
		name   string
		play   func(*script)
		result string
		close  Close
	}{
		{"refused", func(s *script) {
			open(s)
			s.end("R. 0:0(0) ack 1 win 0")
		}, ResultRefused, Close{"peer", "rst"}},
		{"silence", func(s *script) {
			open(s)
			s.send(engine.Event{Kind: engine.EventTimerFired, Timer: engine.TimerRTO})
			s.become(engine.Closed, "R2")
		}, ResultTimeout, Close{"none", "timeout"}},
		{"unreachable", func(s *script) {
			open(s)
			s.send(engine.Event{Kind: engine.EventICMP, ICMP: &engine.ICMP{From: netip.MustParseAddr("198.18.0.9"), Type: 3, Code: 1}})
			s.send(engine.Event{Kind: engine.EventState, From: engine.SynSent, To: engine.Closed})
		}, ResultUnreachable, Close{"peer", "icmp"}},
		{"reset", func(s *script) {
			handshake(s)
			s.end("R 1:1(0) win 0")
		}, ResultReset, Close{"peer", "rst"}},
		{"reset by us", func(s *script) {
			handshake(s)
			s.state = engine.Closed
			s.out("R. 1:1(0) ack 1 win 0", "", "", "ABORT")
		}, ResultClosed, Close{"local", "rst"}},
		{"a RST that is ignored", func(s *script) {
			handshake(s)
			s.in("R 70001:70001(0) win 0", engine.NoteUnacceptable, "")
		}, ResultClosed, Close{"none", "none"}},
		{"retransmissions in vain", func(s *script) {
			handshake(s)
			s.send(engine.Event{Kind: engine.EventTimerFired, Timer: engine.TimerUser})
			s.out("R. 1:1(0) ack 1 win 0", "", "", "R2")
			s.become(engine.Closed, "R2")
		}, ResultTimeout, Close{"none", "timeout"}},
		{"abandoned", func(s *script) {
			handshake(s)
			s.send(engine.Event{Kind: engine.EventTimerFired, Timer: engine.TimerDelayedAck})
			s.after(10).become(engine.Closed, "abandoned")
		}, ResultClosed, Close{"none", "none"}},
		{"a SYN and no more", func(s *script) {
			s.state = engine.Listen
			s.become(engine.SynReceived, "SYN")
			s.in("S 0:0(0) win 1", "", "")
			s.out("S. 0:0(0) ack 1 win 1", "", "", "")
			s.become(engine.Listen, "no answer to the SYN-ACK")
		}, ResultTimeout, Close{"none", "timeout"}},
		{"a half-open scan", func(s *script) {
			s.state = engine.Listen
			s.become(engine.SynReceived, "SYN")
			s.in("S 0:0(0) win 1", "", "")
			s.out("S. 0:0(0) ack 1 win 1", "", "", "")
			s.state = engine.Listen
			s.in("R 1:1(0) win 0", "", "")
			s.send(engine.Event{Kind: engine.EventState, From: engine.SynReceived, To: engine.Listen})
		}, ResultReset, Close{"peer", "rst"}},
		{"peer first", func(s *script) {
			handshake(s)
			s.become(engine.CloseWait, "FIN")
			s.in("F. 1:1(0) ack 1 win 1", "", "")
			s.become(engine.LastAck, "CLOSE")
			s.out("F. 1:1(0) ack 2 win 1", "", "", "")
			s.become(engine.Closed, "ACK")
		}, ResultClosed, Close{"peer", "fin"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := summaryOf(t, tt.play)
			if s.Result != tt.result || s.Close != tt.close {
				t.Errorf("%s, %+v; want %s, %+v", s.Result, s.Close, tt.result, tt.close)
			}
		})
	}
}

func TestRefusalHasAnOrigin(t *testing.T) {
	s := summaryOf(t, func(s *script) {
		s.become(engine.SynSent, "OPEN")
		s.out("S 0:0(0) win 1", "", "", "")
		s.state = engine.Closed
		s.after(1200).in("R. 0:0(0) ack 1 win 0", "", "")
	})
	if s.RST == nil || *s.RST != (Origin{From: "198.18.0.2", TTL: 64, AfterUS: 1200}) {
		t.Errorf("got %+v", s.RST)
	}
}

func TestRTTOfACleanHandshake(t *testing.T) {
	s := summaryOf(t, func(s *script) {
		s.become(engine.SynSent, "OPEN")
		s.out("S 0:0(0) win 1", "", "", "")
		s.after(250).become(engine.Established, "SYN")
		s.in("SE. 0:0(0) ack 1 win 1", "", "")
	})
	if Duration(s.SYNRTTUS) != 250*time.Microsecond || !s.Peer.ECN || s.Peer.MSS != nil {
		t.Errorf("rtt %v, peer %+v", Duration(s.SYNRTTUS), s.Peer)
	}
}

func TestBytesSentCountEachOctetOnce(t *testing.T) {
	s := summaryOf(t, func(s *script) {
		s.out("S 0:0(0) win 1", "", "", "")
		s.out(". 1:1001(1000) ack 1 win 1", "", "", "")
		s.out(". 1:1001(1000) ack 1 win 1", engine.NoteRetransmission, "", "")
		s.out(". 501:1501(1000) ack 1 win 1", "", "", "")
		s.out("F. 1501:1501(0) ack 1 win 1", "", "", "")
	})
	if s.BytesSent != 1500 {
		t.Errorf("%d octets, want 1500", s.BytesSent)
	}
}

func TestTotal(t *testing.T) {
	var total Total
	for _, us := range []int64{100, 200, 300} {
		total.Add(Summary{Result: ResultClosed, SYNRTTUS: &us, BytesSent: 10, Retransmits: 1})
	}
	total.Add(Summary{Result: ResultRefused})
	s := total.Summary()
	if s.Conn != "all" || s.Connections != 4 || s.Results[ResultClosed] != 3 || s.Results[ResultRefused] != 1 || s.Result != ResultClosed {
		t.Errorf("%+v", s)
	}
	if s.SYNRTT == nil || *s.SYNRTT != (Spread{100, 200, 300, 82}) || s.BytesSent != 30 || s.Retransmits != 3 {
		t.Errorf("rtt %+v, bytes %d, again %d", s.SYNRTT, s.BytesSent, s.Retransmits)
	}
}

func TestCollectorForgetsWhatIsTaken(t *testing.T) {
	c := NewCollector()
	s := newScript(c)
	s.exchange()
	if !slices.Equal(c.Over(false), []uint64{1}) || c.Newest() != 1 {
		t.Errorf("over %v, newest %d", c.Over(false), c.Newest())
	}
	open := newScript(c)
	open.conn = 2
	open.become(engine.SynSent, "OPEN")
	if !slices.Equal(c.Over(false), []uint64{1}) || !slices.Equal(c.Over(true), []uint64{1, 2}) {
		t.Errorf("over %v, all %v", c.Over(false), c.Over(true))
	}
	c.Take(2)
	c.Take(1)
	s.in("R 1:1(0) win 0", "", "")
	if len(c.Over(true)) != 0 {
		t.Error("a late segment brings a taken connection back")
	}
	if c.Drops()["bad checksum"] != 1 {
		t.Errorf("drops %v", c.Drops())
	}
}
