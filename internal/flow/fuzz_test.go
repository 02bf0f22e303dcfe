package flow

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"rawtcp/internal/capture"
	"rawtcp/segment"
)

// fuzzSegment makes a segment of 12 octets: near numbers and few addresses, so
// that they meet each other.
func fuzzSegment(b []byte) (s segment.Segment, step int64) {
	ends := [2]netip.AddrPort{client, server}
	if b[0]&2 != 0 {
		ends[0] = netip.AddrPortFrom(client.Addr(), uint16(b[1]&3))
	}
	s.Src, s.Dst = ends[b[0]&1], ends[1-b[0]&1]
	s.Flags = segment.Flags(b[2]) & 0x1f
	s.Seq = segment.MakeSeq(uint32(binary.BigEndian.Uint16(b[3:]))<<(b[0]>>4) + 0xfffff000)
	s.Ack = segment.MakeSeq(uint32(binary.BigEndian.Uint16(b[5:])) + 0xfffff000)
	s.Window = uint16(b[7]) << 3
	s.Payload = make([]byte, int(b[8])*int(b[0]>>2&3)*8)
	s.Checksum = segment.Verdict(b[9] & 3)
	s.IPID = uint16(b[10])
	if b[9]&4 != 0 {
		s.Options.Set, s.Options.TSVal = segment.HasTimestamps, uint32(b[11])<<(b[9]>>3&31)
	}
	if b[9]&0x80 != 0 {
		s.Options.Set |= segment.HasSACK
		s.Options.SACKCount = 1
		s.Options.SACK[0] = segment.SACKBlock{Start: s.Ack.Add(int(b[10])), End: s.Ack.Add(int(b[11]) - int(b[8]))}
	}
	if s.Flags.Has(segment.SYN) {
		s.Options.Set |= segment.HasWindowScale | segment.HasMSS
		s.Options.WindowScale, s.Options.MSS = b[10], uint16(b[11])<<4
	}
	return s, int64(int8(b[1])) << (b[2] >> 3)
}

// A checker holds what a tracker says to what holds for any capture.
type checker struct {
	t     *testing.T
	live  map[uint64]bool
	known uint64
}

// Segment implements Sink.
func (c *checker) Segment(e *Event) {
	if e.Conn.ID > c.known {
		c.known = e.Conn.ID
		c.live[c.known] = true
	}
	if !c.live[e.Conn.ID] {
		c.t.Fatalf("a segment of connection %d, which is gone", e.Conn.ID)
	}
	state := e.Conn.Ends
	for i := len(e.Changes) - 1; i >= 0; i-- {
		ch := e.Changes[i]
		if state[ch.Side].State != ch.To || ch.From == ch.To {
			c.t.Fatalf("changes %+v lead to %v/%v", e.Changes, e.Conn.Ends[0].State, e.Conn.Ends[1].State)
		}
		state[ch.Side].State = ch.From
	}
	for i := range e.Conn.Ends {
		end := &e.Conn.Ends[i]
		if len(end.holes) > maxHoles || len(end.Passed) > maxStates || len(e.Conn.Resets) > maxResets || end.sacks > 4 {
			c.t.Fatalf("beyond bounds: %+v", end)
		}
		for _, h := range end.holes {
			if !h.start.Less(h.end) {
				c.t.Fatalf("a hole of nothing: %+v", h)
			}
		}
	}
}

// Gone implements Sink.
func (c *checker) Gone(conn *Conn) {
	if !c.live[conn.ID] {
		c.t.Fatalf("connection %d is gone twice", conn.ID)
	}
	delete(c.live, conn.ID)
	for i := range conn.Ends {
		e := &conn.Ends[i]
		if e.Bytes > e.Octets {
			c.t.Fatalf("%d octets are new of %d", e.Bytes, e.Octets)
		}
	}
}

// FuzzTracker follows any segments at any times: no panic, no growth, and
// changes of state that fit each other.
func FuzzTracker(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x00\x10\x00\x00\xff\x00\x01\x00\x00\x01\x01\x12\x00\x20\x00\x11\xff\x00\x01\x00\x00"))
	f.Add(make([]byte, 240))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &checker{t: t, live: map[uint64]bool{}}
		tracker := New(c, 3)
		at, frame := int64(1e18), uint64(0)
		for ; len(b) >= 12; b = b[12:] {
			s, step := fuzzSegment(b)
			at = max(at+step, 0)
			frame++
			tracker.Add(Moment{frame, at}, &s, capture.Detail{Kept: len(s.Payload), IPLen: 40 + len(s.Payload), Place: uint64(b[11] & 1), OptionsCut: b[10]&1 != 0})
			if tracker.Live() > 3 {
				t.Fatalf("%d connections", tracker.Live())
			}
		}
		tracker.Close()
		if len(c.live) > 0 || tracker.Live() > 0 {
			t.Fatalf("%d connections are left", len(c.live))
		}
	})
}
