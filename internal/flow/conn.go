package flow

import (
	"math/bits"
	"net/netip"

	"rawtcp/engine"
	"rawtcp/segment"
)

// A Side is one end of a connection.
type Side uint8

// The sides. Local is the one that opened the connection, or if that was not
// seen, the one that was seen first.
const (
	Local Side = iota
	Remote
)

// String returns the word of the JSON field "side".
func (s Side) String() string {
	if s == Local {
		return "local"
	}
	return "remote"
}

// Other returns the other side.
func (s Side) Other() Side { return 1 - s }

// An Opening says how a connection began.
type Opening uint8

// The openings.
const (
	MidStream    Opening = iota // before the capture, or it has lost the SYN
	Active                      // a SYN of Local
	Simultaneous                // SYNs of both that crossed
)

// A Moment is a place in a capture. The zero Moment is none.
type Moment struct {
	Frame uint64 // from 1
	At    int64  // ns since 1970
}

// Seen reports whether the moment is one.
func (m Moment) Seen() bool { return m.Frame != 0 }

// A Conn is what was seen of one connection so far.
type Conn struct {
	ID      uint64 // 1, 2, 3 … in the order of their first segments
	Opening Opening
	First   Moment
	Last    Moment
	Ends    [2]End

	SYN         Moment // the first one
	SYNACK      Moment // the first one
	Established Moment // the ACK that completed the handshake
	Closing     Moment // the first FIN or RST that counted
	ClosedBy    Side   // whose it was
	ByReset     bool   // it was an RST
	Over        Moment // when both ends were done, TIME-WAIT not counted
	Resets      []Reset
	Crossed     bool   // both FINs were on their way at once
	Evicted     bool   // forgotten for want of room
	Reused      uint64 // the connection before it between the same ports, 0 if none
	Parts       Parts  // what was seen of its life

	samples []sample // the first of each note and side
	pending pendingSYN
	key     key
	newer   *Conn // in the order of use
	older   *Conn
}

// A pendingSYN is a SYN in the midst of a connection, which may turn out to be
// the beginning of another.
type pendingSYN struct {
	seq  segment.Seq
	at   Moment
	from Side
}

// A sample is a segment that had a note.
type sample struct {
	Moment
	side Side
	bit  uint8 // of the note
}

// maxSamples is how many are remembered of a note and a side.
const maxSamples = 3

// maxStates bounds the list of states of one end.
const maxStates = 16

// maxResets bounds how many RSTs are remembered with their looks.
const maxResets = 4

// An End is what was seen of one side.
type End struct {
	Addr   netip.AddrPort
	State  engine.State
	Passed []engine.State // in order, at most 16
	Base   segment.Seq    // counts as 0: its ISN, or one before the first octet seen
	SYN    SYN

	Segments  uint64
	Bytes     uint64     // payload, each octet once
	Octets    uint64     // payload, as often as it was sent
	Counts    [21]uint32 // by note
	Largest   int        // octets of payload
	LargestAt Moment
	AtLargest uint32 // segments of that size
	Super     uint32 // segments of more than the other's MSS: cut only behind the capture

	TTL        uint8     // of its first segment
	Checksums  [4]uint32 // by segment.Verdict
	FirstBad   Moment
	FIN        Moment
	FINAcked   Moment
	Closures   uint32 // how often its window closed
	ClosedFor  int64  // ns, of all closures that ended
	closedAt   int64
	Needless   uint32 // octets the other side reported to have had twice (DSACK, RFC 2883)
	AfterReset Moment // it went on after an RST in its name

	FirstPartial Moment // its first segment with an unfinished checksum

	// What an RST has done.
	struck       bool
	struckSender bool         // the RST bore its address
	before       engine.State // its state before
	struckAt     int64

	track
}

// A SYN is what one side's SYN offered.
type SYN struct {
	Seen          bool
	Count         uint32 // how often it was sent
	First         Moment // the first time
	Last          Moment // the last time
	Window        uint16
	MSS           uint16 // 0: no such option
	Scale         uint8
	HasScale      bool
	SACKPermitted bool
	Timestamps    bool
	ECN           bool
	Cut           bool // the capture has not all of its options: what is not seen may have been offered
}

// Parts are the parts of a connection's life that a capture has: the bits of
// Wireshark's tcp.completeness.
type Parts uint8

// The parts.
const (
	PartSYN Parts = 1 << iota
	PartSYNACK
	PartACK // without a SYN
	PartData
	PartFIN
	PartRST
)

// A Reset is how an RST looked.
type Reset struct {
	Moment
	From       Side
	Accepted   bool // its receiver had to believe it
	Offset     int  // of its number from what its receiver expected; valid if Known
	Known      bool
	Window     uint16
	LastWindow uint16 // of its sender's last segment before
	TTL        uint8
	UsualTTL   uint8 // of its sender's last segment before; 0: none was seen
	IPID       uint16
	LastIPID   uint16 // of its sender's last segment before
	Counting   bool   // its sender's IPIDs count up
	State      engine.State
	AnswerHas  bool  // the receiver's last segment before it had data, a SYN or a FIN
	Distance   int64 // ns since that segment
	FastestRTT int64 // ns, the fastest answer of this side seen before; 0: none
}

// count adds notes to what is remembered.
func (c *Conn) count(side Side, n Notes, m Moment) {
	for ; n != 0; n &= n - 1 {
		bit := bits.TrailingZeros32(uint32(n))
		if c.Ends[side].Counts[bit]++; c.Ends[side].Counts[bit] <= maxSamples {
			c.samples = append(c.samples, sample{m, side, uint8(bit)})
		}
	}
}

// Count returns how many segments of a side had one of the notes.
func (e *End) Count(n Notes) (sum uint64) {
	for ; n != 0; n &= n - 1 {
		sum += uint64(e.Counts[bits.TrailingZeros32(uint32(n))])
	}
	return sum
}

// Moments returns when a side's first segments with each of the notes came, in
// the order of the capture.
func (c *Conn) Moments(side Side, n Notes) (moments []Moment) {
	for _, x := range c.samples {
		if x.side == side && n.Has(1<<x.bit) {
			moments = append(moments, x.Moment)
		}
	}
	return moments
}

// Done reports whether nothing more is to come: both ends are closed, or one
// is and the other waits in TIME-WAIT.
func (c *Conn) Done() bool {
	return gone(c.Ends[Local].State) && gone(c.Ends[Remote].State)
}

func gone(s engine.State) bool {
	return s == engine.Closed || s == engine.Listen || s == engine.TimeWait
}

// RTT is the time from the SYN to the ACK that completes the handshake, or 0
// if that was not seen.
func (c *Conn) RTT() int64 {
	if !c.SYN.Seen() || !c.Established.Seen() || c.Ends[Local].SYN.Count != 1 || c.Ends[Remote].SYN.Count != 1 {
		return 0
	}
	return c.Established.At - c.SYN.At
}
