package engine

import (
	"io"
	"net/netip"
	"time"

	"rawtcp/segment"
)

// ConnEvents says what changed on a connection.
type ConnEvents uint8

// The bits of ConnEvents.
const (
	Readable    ConnEvents = 1 << iota // octets, end of data or an error wait for Read
	Writable                           // there is room in the send buffer again, or an error
	Connected                          // ESTABLISHED was reached
	Settled                            // CLOSED was reached; the connection is off the stack
	Urgent                             // the peer's urgent pointer is new, or has moved on; see Conn.Urgent
	Troubled                           // R1: a segment was sent several times in vain
	TimeoutTold                        // the peer told of its user timeout; see Info
)

// A Conn is one connection: the state machine of RFC 9293 and its companions
// as pure code. It never reads a clock, blocks, or starts a goroutine, and it
// does not lock: the owner of its Stack does.
type Conn struct {
	// OnEvent, if set, is called when the application could go on. It must
	// only take note.
	OnEvent func(ConnEvents)

	face          *NetConn // of a Host, which is told as well: a closure for each would be another object
	stack         *Stack
	id            uint64
	local, remote netip.AddrPort
	cfg           *ConnConfig // shared with other connections: see Stack.settings
	listener      *Listener   // where it waits to be accepted
	peer          peerOffer

	snd  sender
	rcv  receiver
	ts   timestamps
	rtt  rttEstimator
	cc   Controller
	loss lossState
	ecn  ecnState

	state      State
	passive    bool // opened by a peer (RFC 9293 section 3.5, MUST-11)
	sack       bool // both sides sent SACK-permitted
	queued     bool // on the stack's list of connections that may have something to say
	synNow     bool // a SYN or SYN-ACK is due
	answered   bool // our SYN has left with an ACK in it
	probeNow   bool // a window probe, or the override of silly window avoidance, is due
	keepNow    bool // a keep-alive probe is due
	readClosed bool // the application has closed
	orphan     bool // and counts among those that nobody has: see Limits
	deaf       bool // the application will not read any more, and the peer need not know
	uncorked   bool // the cork's ceiling was reached: what is buffered may leave
	tellUTO    bool // the next segment without SYN says our user timeout
	ackNote    Note // of the pure ACK that is due

	link       int32 // the route's MTU: no datagram is larger
	works      int32 // the largest datagram that is known to have arrived, 0 before any
	retries    int32 // retransmission timeouts since the last progress
	acksDue    int32 // pure ACKs due; more than one only for out-of-order arrivals
	probes     int32 // window probes since the window closed, for their backoff
	unanswered int32 // of them, those since the peer was last heard
	keepProbes int32 // unanswered keep-alives
	mtu        int   // path MTU in use, octets of IP datagram
	ackReason  string

	timers timers
	node   timerNode

	err        error // how it ended, nil while it has not, or orderly
	created    Time
	lastRecv   Time // when the peer was last heard
	progressAt Time // when data outstanding was last seen to move, for the user timeout

	traffic  Traffic
	partials uint64     // PartialChecksums, which every connection meets on a path within the machine
	cold     *coldState // nil until it is needed: see rare
}

// coldState is what only an unusual connection needs. Most connections are idle
// most of the time, and the memory of a hundred thousand of them is that of Conn.
type coldState struct {
	incidents Incidents
	softErr   error // the last ICMP error that did not end it
	challenge Time  // when the last challenge ACK left
	fast      fastOpen
	quick     quickAcks
	path      pathMTU
	meter     *meter
	pacer     pacer
}

// incidents returns the counters of what few connections meet.
func (c *Conn) incidents() *Incidents { return &c.rare().incidents }

// softErr returns the last ICMP error that did not end the connection, or nil.
func (c *Conn) softErr() error {
	if c.cold == nil {
		return nil
	}
	return c.cold.softErr
}

// rare returns the cold state for writing. Readers look at c.cold, nil means that
// all of it is zero.
func (c *Conn) rare() *coldState {
	if c.cold == nil {
		c.cold = new(coldState)
	}
	return c.cold
}

// sender holds the SND variables of RFC 9293 section 3.3.1, figure 3:
//
//	     1         2          3          4
//	----------|----------|----------|----------
//	       SND.UNA    SND.NXT    SND.UNA+SND.WND
//
// 1 acknowledged, 2 outstanding, 3 may be sent, 4 not yet allowed.
type sender struct {
	iss, una, nxt segment.Seq
	wl1           segment.Seq // sequence number of the last window update
	up            segment.Seq // end of urgent data, significant if urgent
	urgent        bool
	scale         uint8 // the peer's window shift
	fin           finState
	wnd           int // SND.WND, octets
	maxWnd        int // largest SND.WND seen
	mss           int // largest payload less options, octets
	buf           sendBuffer
	sent          sentQueue
	lastData      Time        // when data last left, for the restart after idle
	round         int32       // round trips so far
	roundEnd      segment.Seq // an ACK beyond it begins the next one
	tuning        tuning      // of buf
}

// finState is how far our FIN has come.
type finState uint8

const (
	finNone   finState = iota
	finQueued          // the application closed; the FIN waits its turn
	finSent
)

// receiver holds the RCV variables of RFC 9293 section 3.3.1, figure 4.
type receiver struct {
	irs, nxt segment.Seq
	edge     segment.Seq       // right edge of the largest window advertised; never moves left
	finAt    segment.Seq       // sequence number of the peer's FIN, significant if fin
	up       segment.Seq       // end of the peer's urgent data, significant if urgent
	fin      bool              // the peer's FIN was seen
	urgent   bool              //
	scale    uint8             // our window shift
	unacked  int               // octets received since our last ACK
	again    segment.SACKBlock // what arrived a second time since then; empty: nothing
	buf      receiveBuffer
	tuning   tuning // of buf
	least    leastRound
}

// timestamps is the state of RFC 7323.
type timestamps struct {
	on       bool
	offset   uint32      // ours, so that the clock does not tell the uptime (section 7.1)
	lastAck  segment.Seq // Last.ACK.sent
	recent   uint32      // TS.Recent
	recentAt Time
}

// PeerInfo is what the peer's SYN said.
type PeerInfo struct {
	MSS           int // octets, 0: no option
	WindowScale   int // -1: no option
	SACKPermitted bool
	Timestamps    bool
	ECN           bool
	Window        int           // as in the SYN, octets
	UserTimeout   time.Duration // RFC 5482, 0: no option
}

// ID returns the connection's number on its stack: 1, 2, 3 …
func (c *Conn) ID() uint64 { return c.id }

// Local returns our address and port.
func (c *Conn) Local() netip.AddrPort { return c.local }

// Remote returns the peer's address and port.
func (c *Conn) Remote() netip.AddrPort { return c.remote }

// State returns the state of RFC 9293 section 3.3.2.
func (c *Conn) State() State { return c.state }

// Err returns how the connection ended: nil while it lives or after an orderly close.
func (c *Conn) Err() error { return c.err }

// Deadline returns when Advance has something to do; zero: nothing is waiting.
func (c *Conn) Deadline() Time { return earlier(c.timers.next(), c.paceDue()) }

// Read moves received octets into p. (0, nil) means there are none yet;
// io.EOF is the peer's orderly end; another error is how the connection ended.
func (c *Conn) Read(now Time, p []byte) (int, error) {
	if c.rcv.buf.readable > 0 {
		n := c.rcv.buf.read(p)
		if c.state != Closed {
			c.stack.hold(-n)
		}
		c.rcv.tuning.add(n)
		c.tidy()
		c.noteWindow(now)
		return n, nil
	}
	switch {
	case c.err != nil:
		return 0, c.err
	case c.rcv.fin && c.rcv.finAt.Less(c.rcv.nxt), c.state == Closed, c.deaf:
		return 0, io.EOF
	}
	return 0, nil
}

// Write takes as much of p as the send buffer has room for, and all buffers
// together by Limits.Memory; a short count means that this was not enough.
// Writable tells when to try again.
func (c *Conn) Write(now Time, p []byte) (int, error) {
	c.stack.now = now
	switch {
	case c.err != nil:
		return 0, c.err
	case c.snd.fin != finNone || c.state == Closed:
		return 0, ErrClosing
	}
	if p = p[:c.mayWrite(len(p))]; len(p) > 0 {
		c.stack.spares.takeOctets(&c.snd.buf.buf)
	}
	n := c.snd.buf.write(p)
	c.stack.hold(n)
	c.traffic.BytesWritten += uint64(n)
	if n > 0 {
		c.traceData(EventDataOut, n)
		c.stack.wake(c)
	}
	return n, nil
}

// WriteUrgent is Write, and marks the octets as urgent (RFC 9293 section 3.8.5):
// the urgent pointer names the octet after the last one taken.
func (c *Conn) WriteUrgent(now Time, p []byte) (int, error) {
	n, err := c.Write(now, p)
	if n > 0 {
		c.snd.up, c.snd.urgent = c.snd.buf.end(), true
	}
	return n, err
}

// Urgent returns how many octets the application has still to read up to the
// end of the peer's urgent data, 0 if there is none (RFC 9293 section 3.8.5, MUST-33).
func (c *Conn) Urgent() int {
	if !c.rcv.urgent {
		return 0
	}
	return max(0, c.rcv.up.Sub(c.rcv.buf.nxt.Add(-c.rcv.buf.readable)))
}

func (c *Conn) notify(e ConnEvents) {
	if c.face != nil {
		c.face.onEvent(e)
	}
	if c.OnEvent != nil {
		c.OnEvent(e)
	}
}

// setState moves the connection along an edge of RFC 9293 figure 5.
func (c *Conn) setState(to State, why string) {
	from := c.state
	c.state = to
	c.trace(&Event{Kind: EventState, From: from, To: to, Reason: why})
}

// finish ends the connection: no timer, no buffer, no table entry is left.
// What the application has not read stays readable after an orderly end.
func (c *Conn) finish(err error, why string) {
	if c.state == Closed {
		return
	}
	c.err = err
	c.confirmed(c.stack.now, false)
	c.buried()
	if c.state == TimeWait {
		c.stack.leftTimeWait()
	}
	c.setState(Closed, why)
	for k := range c.timers {
		c.stopTimer(TimerKind(k))
	}
	c.stopPace()
	c.dropSend()
	c.noteBusy(c.stack.now)
	c.dropReceived(err)
	c.synNow, c.probeNow, c.keepNow, c.acksDue = false, false, false, 0
	c.stack.remove(c)
	c.notify(Readable | Writable | Settled)
}

// tracing says whether an event is worth building: for one that nobody wants
// nothing is paid, not even its memory.
func (c *Conn) tracing(kind EventKind) bool { return c.stack.wants(kind) }

func (c *Conn) traceData(kind EventKind, n int) {
	switch {
	case c.tracing(kind):
		e := c.newEvent(kind)
		e.Size = n
		c.stack.tell(e)
	case kind == EventDataIn && c.tracing(EventTally):
		c.stack.tallyOf(c).DataIn += n
	}
}

// traceOut tells of a segment that leaves.
func (c *Conn) traceOut(now Time, s *segment.Segment, note Note, reason string) {
	if c.stack.wantsSegment(EventSegmentOut, s.Flags) {
		e := c.newEvent(EventSegmentOut)
		e.At, e.Segment, e.Note, e.Reason = now, s, note, reason
		c.stack.tell(e)
	}
}

func (c *Conn) traceTimer(kind EventKind, t TimerKind, due Time) {
	if c.tracing(kind) {
		e := c.newEvent(kind)
		e.Timer, e.Due = t, due
		c.stack.tell(e)
	}
}

// trace completes e and hands it to the stack's tracer, if there is one.
func (c *Conn) trace(e *Event) {
	if !c.tracing(e.Kind) {
		return
	}
	c.complete(e)
	c.stack.trace(e)
}

// newEvent starts an event where it will be told from: the frequent ones are
// not built first and copied then. Nothing may be traced before it is told.
func (c *Conn) newEvent(kind EventKind) *Event {
	e := c.stack.eventSlot()
	e.Kind, e.At = kind, c.stack.now
	c.complete(e)
	return e
}

func (c *Conn) complete(e *Event) {
	e.Conn, e.Local, e.Remote, e.State = c.id, c.local, c.remote, c.state
	c.fillVars(&e.Vars)
}
