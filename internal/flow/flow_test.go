package flow

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
	"unsafe"

	"rawtcp/engine"
	"rawtcp/internal/capture"
	"rawtcp/segment"
)

func TestLife(t *testing.T) {
	s := newScript(t, 0)
	s.open()
	s.see("> P. 101:111(10) ack 501 win 1000", "")
	s.see("< . 501:501(0) ack 111 win 1000", "")
	s.see("< F. 501:501(0) ack 111 win 1000", "")
	s.want("CLOSE-WAIT/FIN-WAIT-1")
	s.see("> . 111:111(0) ack 502 win 1000", "")
	s.want("CLOSE-WAIT/FIN-WAIT-2")
	s.see("> F. 111:111(0) ack 502 win 1000", "")
	s.want("LAST-ACK/TIME-WAIT")
	s.see("< . 502:502(0) ack 112 win 1000", "")
	s.want("CLOSED/TIME-WAIT")
	c := s.end()
	if c.ClosedBy != Remote || c.ByReset || c.Over.Frame != 9 || c.Ends[Local].Bytes != 10 || c.RTT() != 2e6 || !c.Done() {
		t.Errorf("%+v", c)
	}
	want := []engine.State{engine.Closed, engine.SynSent, engine.Established, engine.CloseWait, engine.LastAck, engine.Closed}
	if !slices.Equal(c.Ends[Local].Passed, want) {
		t.Errorf("passed %v", c.Ends[Local].Passed)
	}
}

func TestResent(t *testing.T) {
	s := newScript(t, 0)
	s.open()
	s.see("> . 101:201(100) ack 501 win 1000", "")
	s.see("> . 201:301(100) ack 501 win 1000", "")
	s.see("> . 301:401(100) ack 501 win 1000", "")
	s.see("< . 501:501(0) ack 101 win 1000 <sack 201:301>", "dup_ack")
	s.see("< . 501:501(0) ack 101 win 1000 <sack 201:401>", "dup_ack")
	s.see("> . 101:201(100) ack 501 win 1000", "fast_retransmission")
	s.see("< . 501:501(0) ack 401 win 1000", "")
	s.see("> . 301:401(100) ack 501 win 1000", "spurious_retransmission")
	s.see("> . 401:501(100) ack 501 win 1000", "")
	s.wait(20 * time.Millisecond)
	s.see("> . 401:501(100) ack 501 win 1000", "loss_probe")
	s.wait(300 * time.Millisecond)
	s.see("> . 401:501(100) ack 501 win 1000", "retransmission")
	if !s.last.Fired || s.last.Timer != engine.TimerRTO {
		t.Error("no timer has fired")
	}
	c := s.end()
	if n := c.Ends[Local].Count(Resent); n != 4 || c.Ends[Local].Bytes != 400 || c.Ends[Local].Octets != 800 {
		t.Errorf("%d sent again, %d octets new, %d in all", n, c.Ends[Local].Bytes, c.Ends[Local].Octets)
	}
	if f := c.Moments(Local, Resent); len(f) != 4 || f[0].Frame != 9 || f[1].Frame != 11 || f[2].Frame != 13 || f[3].Frame != 14 || c.Moments(Remote, Resent) != nil {
		t.Errorf("frames %v", f)
	}
}

// Without SACK it takes duplicate ACKs to ask for something; and what was had
// twice (DSACK) is no news of what is missing.
func TestDuplicateAcks(t *testing.T) {
	s := newScript(t, 0)
	s.open()
	s.see("> . 101:201(100) ack 501 win 1000", "")
	s.see("> . 201:301(100) ack 501 win 1000", "")
	s.see("< . 501:501(0) ack 101 win 1000", "dup_ack")
	s.see("> . 101:201(100) ack 501 win 1000", "retransmission")
	s.see("> . 301:401(100) ack 501 win 1000", "")
	s.see("< . 501:501(0) ack 101 win 1000", "dup_ack")
	s.see("> . 101:201(100) ack 501 win 1000", "fast_retransmission")
	s.see("< . 501:501(0) ack 401 win 1000", "")
	s.see("< . 501:501(0) ack 401 win 900 <sack 101:201>", "window_update")
	if c := s.end(); c.Ends[Remote].Needless != 100 {
		t.Errorf("%d octets came twice", c.Ends[Remote].Needless)
	}
}

// What was overtaken is told from what was sent again by IPIDs, by timestamps,
// and only without these by time.
func TestOvertaken(t *testing.T) {
	t.Run("by IPID", func(t *testing.T) {
		s := newScript(t, 0)
		s.open()
		number := func(id uint16, line, want string) { s.id = id; s.see(line, want) }
		for i := range 5 {
			number(uint16(10+i), "> . 101:101(0) ack 501 win "+string(rune('2'+i))+"000", "window_update")
		}
		number(16, "> . 201:301(100) ack 501 win 5000", "gap")
		s.wait(time.Second)
		number(15, "> . 101:201(100) ack 501 win 5000", "out_of_order")
		number(18, "> . 401:501(100) ack 501 win 5000", "gap")
		number(19, "> . 301:401(100) ack 501 win 5000", "retransmission")
	})
	t.Run("by timestamp", func(t *testing.T) {
		s := newScript(t, 0)
		s.open()
		s.see("> . 201:301(100) ack 501 win 1000 <TS val 20 ecr 1>", "gap")
		s.see("> . 101:201(100) ack 501 win 1000 <TS val 21 ecr 1>", "retransmission")
		s.see("> . 401:501(100) ack 501 win 1000 <TS val 22 ecr 1>", "gap")
		s.wait(time.Second)
		s.see("> . 301:401(100) ack 501 win 1000 <TS val 19 ecr 1>", "out_of_order")
	})
	t.Run("by time", func(t *testing.T) {
		s := newScript(t, 0)
		s.open()
		s.see("> . 201:301(100) ack 501 win 1000", "gap")
		s.see("> . 101:201(100) ack 501 win 1000", "out_of_order")
		s.see("> . 401:501(100) ack 501 win 1000", "gap")
		s.wait(5 * time.Millisecond)
		s.see("> . 301:401(100) ack 501 win 1000", "retransmission")
	})
	t.Run("by the capture", func(t *testing.T) {
		s := newScript(t, 0)
		s.open()
		s.see("< . 501:501(0) ack 201 win 1000", "ack_of_unseen")
		s.wait(time.Second)
		s.see("> . 101:201(100) ack 501 win 1000", "out_of_order")
	})
}

func TestWindows(t *testing.T) {
	s := newScript(t, 0)
	s.open()
	s.see("> . 101:1101(1000) ack 501 win 1000", "window_full")
	s.see("< . 501:501(0) ack 1101 win 0", "zero_window")
	s.wait(time.Second)
	s.see("> . 1100:1100(0) ack 501 win 1000", "zero_window_probe")
	s.see("< . 501:501(0) ack 1101 win 0", "zero_window_probe_ack zero_window")
	s.see("> . 1101:1102(1) ack 501 win 1000", "zero_window_probe")
	s.see("< . 501:501(0) ack 1101 win 0", "zero_window_probe_ack zero_window")
	s.see("< . 501:501(0) ack 1101 win 900", "window_update")
	s.see("> . 1101:1201(100) ack 501 win 1000", "")
	s.see("> . 1200:1200(0) ack 501 win 1000", "")
	s.see("< . 501:501(0) ack 1201 win 900", "")
	s.see("> . 1200:1200(0) ack 501 win 1000", "keep_alive")
	s.see("< . 501:501(0) ack 1201 win 800", "keep_alive_ack")
	c := s.end()
	if e := &c.Ends[Remote]; e.Closures != 1 || e.ClosedFor != int64(time.Second+5*time.Millisecond) {
		t.Errorf("closed %d times, for %v", e.Closures, time.Duration(e.ClosedFor))
	}
}

// An RST that has to be believed ends both sides, another one ends nothing, and
// one whose sender goes on is taken back.
func TestResets(t *testing.T) {
	s := newScript(t, 0)
	s.open()
	s.see("< R 5000:5000(0) win 0", "")
	s.want("ESTABLISHED/CLOSED") // its sender is gone, if it was the server
	s.see("> . 101:101(0) ack 501 win 1000", "challenge_ack")
	s.see("< R. 501:501(0) ack 101 win 0", "")
	s.want("CLOSED/CLOSED")
	s.see("< P. 501:511(10) ack 101 win 1000", "")
	s.want("CLOSED/ESTABLISHED")
	s.wait(time.Second)
	s.see("> . 101:101(0) ack 511 win 1000", "")
	s.want("ESTABLISHED/ESTABLISHED")
	c := s.end()
	if len(c.Resets) != 2 || c.Resets[0].Accepted || !c.Resets[1].Accepted || c.Resets[0].Offset != 5000-501 || c.Ends[Remote].AfterReset.Frame != 7 {
		t.Errorf("%+v, it went on in %+v", c.Resets, c.Ends[Remote].AfterReset)
	}
}

func TestRefused(t *testing.T) {
	s := newScript(t, 0)
	s.see("> S 100:100(0) win 1000 <mss 1460>", "")
	s.see("< R. 0:0(0) ack 9 win 0", "")
	s.want("SYN-SENT/CLOSED")
	s.see("< R. 0:0(0) ack 101 win 0", "")
	s.want("CLOSED/CLOSED")
	s.wait(time.Second)
	s.see("> S 100:100(0) win 1000 <mss 1460>", "retransmission") // as some stacks do
	s.see("> S 9000:9000(0) win 1000 <mss 1460>", "ports_reused")
	s.want("SYN-SENT/LISTEN")
	if s.last.Conn = nil; len(s.gone) != 1 {
		t.Errorf("%d connections are over", len(s.gone))
	}
}

// Another connection between the same ports is another one, also when its SYN
// came in the midst of the old one and was answered.
func TestIncarnations(t *testing.T) {
	s := newScript(t, 0)
	s.open()
	s.see("> S 7000:7000(0) win 1000 <mss 1460>", "old_duplicate_syn")
	s.want("ESTABLISHED/ESTABLISHED")
	s.see("< . 501:501(0) ack 101 win 1000", "challenge_ack")
	s.see("< S. 9000:9000(0) ack 7001 win 1000 <mss 1460>", "ports_reused")
	s.want("ESTABLISHED/SYN-RECEIVED")
	s.see("> . 7001:7001(0) ack 9001 win 1000", "")
	s.want("ESTABLISHED/ESTABLISHED")
	s.tracker.Close()
	if len(s.gone) != 2 || s.gone[1].Reused != 1 || s.gone[1].SYN.Frame != 4 || s.gone[1].Opening != Active {
		t.Errorf("%+v", s.gone)
	}
}

// A segment that is there twice counts once.
func TestTwice(t *testing.T) {
	s := newScript(t, 0)
	s.open()
	s.id = 77
	s.see("> P. 101:201(100) ack 501 win 1000", "")
	s.ttl = 63 // behind a router
	s.see("> P. 101:201(100) ack 501 win 1000", "duplicate")
	s.id = 78
	s.wait(5 * time.Millisecond)
	s.see("> P. 101:201(100) ack 501 win 1000", "loss_probe")
	if c := s.end(); c.Ends[Local].Bytes != 100 || c.Ends[Local].Octets != 200 {
		t.Errorf("%+v", c.Ends[Local])
	}
}

// A damaged segment did not arrive. Where every checksum is wrong, the network
// card was to write them.
func TestDamage(t *testing.T) {
	s := newScript(t, 0)
	s.open()
	s.bad = segment.ChecksumBad
	s.see("> F. 101:101(0) ack 501 win 1000", "")
	s.want("ESTABLISHED/ESTABLISHED")
	if !s.last.Ignored {
		t.Error("it counts")
	}
	all := newScript(t, 0)
	all.bad = segment.ChecksumBad
	all.open()
	all.see("> F. 101:101(0) ack 501 win 1000", "")
	all.want("FIN-WAIT-1/CLOSE-WAIT")
}

func TestMidStream(t *testing.T) {
	s := newScript(t, 0)
	s.see("< P. 900:910(10) ack 400 win 1000", "")
	s.want("ESTABLISHED/ESTABLISHED")
	s.see("> . 400:400(0) ack 910 win 1000", "")
	s.see("> F. 400:400(0) ack 910 win 1000", "")
	s.want("CLOSE-WAIT/FIN-WAIT-1")
	c := s.end()
	if c.Opening != MidStream || c.Ends[Local].Addr != server || c.Ends[Local].Bytes != 10 || c.Ends[Remote].Base != segment.MakeSeq(399) {
		t.Errorf("%+v", c)
	}
}

// New octets with a timestamp from before those that were sent before them are
// thrown away by their receiver.
func TestOldTimestamps(t *testing.T) {
	s := newScript(t, 0)
	s.open()
	s.see("> . 101:201(100) ack 501 win 1000 <TS val 20 ecr 1>", "")
	s.see("> F. 201:301(100) ack 501 win 1000 <TS val 19 ecr 1>", "paws")
	s.want("ESTABLISHED/ESTABLISHED")
	if !s.last.Ignored {
		t.Error("it counts")
	}
}

// Of holes only so many are remembered, the latest.
func TestManyHoles(t *testing.T) {
	s := newScript(t, 0)
	s.open()
	for i := range 3 * maxHoles {
		s.see(fmt.Sprintf("> . %d:%d(100) ack 501 win 1000", 211+200*i, 311+200*i), "gap")
		if e := &s.last.Conn.Ends[Local]; len(e.holes) != min(i+1, maxHoles) || e.holes[len(e.holes)-1].end != segment.MakeSeq(uint32(211+200*i)) {
			t.Fatalf("%+v", e.holes)
		}
	}
}

// A FIN counts when nothing before it is missing.
func TestFINBehindAHole(t *testing.T) {
	s := newScript(t, 0)
	s.open()
	s.see("> F. 201:201(0) ack 501 win 1000", "gap")
	s.want("FIN-WAIT-1/ESTABLISHED")
	s.see("> . 101:201(100) ack 501 win 1000", "out_of_order")
	s.want("FIN-WAIT-1/CLOSE-WAIT")
}

// However many connections there are, only so many are followed; the one that
// was silent longest is forgotten, and it is said.
func TestEviction(t *testing.T) {
	const most = 100
	s := newScript(t, most)
	g := segment.Segment{Dst: server, Flags: segment.SYN, Checksum: segment.ChecksumOK}
	for i := range 10 * most {
		g.Src = netip.AddrPortFrom(client.Addr(), uint16(2000+i))
		s.add(&g)
		if s.tracker.Live() > most {
			t.Fatalf("%d connections", s.tracker.Live())
		}
	}
	s.tracker.Close()
	evicted := 0
	for i, c := range s.gone {
		if c.ID != uint64(i+1) {
			t.Fatalf("connection %d is gone as number %d", c.ID, i+1)
		}
		if c.Evicted {
			evicted++
		}
	}
	if len(s.gone) != 10*most || evicted != 9*most {
		t.Errorf("%d are gone, %d before their end", len(s.gone), evicted)
	}
}

// Connections that are over make room when time goes on.
func TestExpiry(t *testing.T) {
	s := newScript(t, 0)
	s.open()
	s.see("> R. 101:101(0) ack 501 win 0", "")
	s.wait(time.Hour)
	g := segment.Segment{Src: server, Dst: netip.MustParseAddrPort("198.18.0.3:7"), Flags: segment.SYN}
	s.add(&g)
	if len(s.gone) != 1 || s.gone[0].Evicted || s.tracker.Live() != 1 {
		t.Errorf("%d gone, %d live", len(s.gone), s.tracker.Live())
	}
}

type nobody struct{}

func (nobody) Segment(*Event) {}
func (nobody) Gone(*Conn)     {}

// Following allocates nothing for a segment, nor for a connection in the room of
// one that is gone.
func TestNoAllocations(t *testing.T) {
	tracker := New(nobody{}, 10)
	at := int64(1e18)
	g := segment.Segment{Checksum: segment.ChecksumOK, Window: 500}
	port := uint16(0)
	step := func() {
		port++
		g.Payload = nil
		for i, flags := range []segment.Flags{segment.SYN, segment.SYN | segment.ACK, segment.ACK, segment.ACK, segment.ACK | segment.FIN, segment.RST} {
			at += 1e6
			a, b := netip.AddrPortFrom(client.Addr(), port), server
			if i%2 == 1 {
				a, b = b, a
			}
			g.Src, g.Dst, g.Flags, g.Seq = a, b, flags, segment.MakeSeq(uint32(i))
			tracker.Add(Moment{1, at}, &g, capture.Detail{})
		}
	}
	for range 100 {
		step()
	}
	if n := testing.AllocsPerRun(100, step); n > 0 {
		t.Errorf("%v allocations for a connection", n)
	}
	g.Src, g.Dst, g.Flags = client, server, segment.ACK
	g.Payload = make([]byte, 100)
	if n := testing.AllocsPerRun(1000, func() {
		at += 1e6
		g.Seq = g.Seq.Add(100)
		tracker.Add(Moment{1, at}, &g, capture.Detail{})
	}); n != 0 {
		t.Errorf("%v allocations for a segment", n)
	}
}

// A connection takes no more room than the bound on their number was made for:
// 32768 of them stay far below the 200 MiB that explaining may take.
func TestSizeOfAConnection(t *testing.T) {
	const most = 1700
	if size := unsafe.Sizeof(Conn{}); size > most {
		t.Errorf("%d octets, more than %d", size, most)
	}
}
