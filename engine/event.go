package engine

import (
	"net/netip"
	"time"

	"rawtcp/segment"
)

// EventKind says which fields of an Event are filled.
type EventKind uint8

// The kinds of event.
const (
	EventSegmentIn    EventKind = iota + 1 // Segment, Packet, Note, Follows
	EventSegmentOut                        // Segment, Note, Reason
	EventState                             // From, To, Reason
	EventTimerArmed                        // Timer, Due
	EventTimerFired                        // Timer
	EventTimerStopped                      // Timer
	EventDataIn                            // Size: octets that became readable in order
	EventDataOut                           // Size: octets the application handed over
	EventICMP                              // ICMP, Note (whether it was believed)
	EventDrop                              // Reason, Size, maybe Packet: received and refused, by a named reason
	EventLocal                             // Reason: something the local host did (send error, receive-queue overflow)
	EventTally                             // Tally: in place of events that nobody wants, see Selective
)

// Note is what is remarkable about one segment.
type Note string

// The notes. They are the words of the JSON field "note".
const (
	NoteNone           Note = ""
	NoteRetransmission Note = "retransmission"
	NoteFastRetransmit Note = "fast_retransmission"
	NoteLossProbe      Note = "loss_probe"
	NoteDupAck         Note = "dup_ack"
	NoteZeroWindow     Note = "zero_window"
	NoteWindowProbe    Note = "zero_window_probe"
	NoteWindowUpdate   Note = "window_update"
	NoteKeepAlive      Note = "keep_alive"
	NoteKeepAliveAck   Note = "keep_alive_ack"
	NoteChallengeAck   Note = "challenge_ack"
	NoteOutOfOrder     Note = "out_of_order"
	NoteDuplicate      Note = "duplicate"
	NoteUnacceptable   Note = "unacceptable"
	NoteOldSYN         Note = "old_duplicate_syn"
	NotePAWS           Note = "paws"
	NoteMTUProbe       Note = "mtu_probe"
	NoteSYNCookie      Note = "syn_cookie"
	NoteFastOpen       Note = "fast_open" // a SYN whose data counts, RFC 7413
)

// Resent reports whether the note says that the segment was sent before.
func (n Note) Resent() bool {
	return n == NoteRetransmission || n == NoteFastRetransmit || n == NoteLossProbe
}

// TimerKind names a timer of a connection.
type TimerKind uint8

// The timers of a connection.
const (
	TimerReorder    TimerKind = iota // how long an overtaken segment may still take, RFC 8985 section 6.2
	TimerProbe                       // tail loss probe, RFC 8985 section 7.2; due with the RTO it comes first
	TimerRTO                         // retransmission, RFC 6298
	TimerPersist                     // zero-window probe, RFC 9293 section 3.8.6.1
	TimerKeepAlive                   // RFC 9293 section 3.8.4
	TimerDelayedAck                  // RFC 9293 section 3.8.6.3
	TimerTimeWait                    // 2MSL, RFC 9293 section 3.6.1
	TimerFinWait2                    // a closed application's wait for the peer's FIN
	TimerUser                        // user timeout or connect timeout
	TimerHold                        // how long new data is kept back, by a cork or by RFC 3168 section 6.1.2
	TimerPace                        // when the pacer lets more data go: see ConnConfig.Pacing
	NumTimers                        // how many there are
)

var timerNames = [NumTimers]string{"reorder", "loss_probe", "rto", "persist", "keepalive", "delayed_ack", "time_wait", "fin_wait_2", "user", "hold", "pace"}

// String returns the name used in the JSON field "timer".
func (k TimerKind) String() string {
	if k < NumTimers {
		return timerNames[k]
	}
	return "unknown"
}

// ICMP is an ICMP or ICMPv6 error message about a packet of ours.
type ICMP struct {
	From       netip.Addr // who reported
	Type, Code uint8
	MTU        int    // next-hop MTU, 0 if none was given
	Own        bool   // it is no message: our own link refused the packet
	Quoted     []byte // our packet as quoted, from its IP header on
}

// Vars are a connection's sequence variables (RFC 9293 section 3.3.1) and what
// goes with them, as they are after the event.
type Vars struct {
	ISS, IRS               segment.Seq
	SndUna, SndNxt         segment.Seq
	SndWnd                 int // octets, scaled
	RcvNxt                 segment.Seq
	RcvWnd                 int // octets, scaled
	SndScale, RcvScale     uint8
	Cwnd, Ssthresh, Flight int           // octets
	SRTT, RTTVar, RTO      time.Duration // 0 before the first sample
	MSS                    int           // effective send MSS, octets of payload without options
}

// An Event is one thing that happened on a connection, or (Conn 0) on a stack.
// It and all it points to are valid only during the call of Trace.
type Event struct {
	Kind          EventKind
	At            Time
	Stamp         int64  // EventSegmentIn, EventDrop: the kernel's receive time, ns since 1970, 0 if unknown
	Conn          uint64 // 1, 2, 3 … in order of creation; 0: of no connection
	Local, Remote netip.AddrPort
	State         State // after the event
	Vars          Vars

	Segment  *segment.Segment
	Packet   []byte // the packet as received
	Note     Note
	Reason   string // why, in a few words; for a segment of ours with the RFC section that asks for it
	From, To State
	Timer    TimerKind
	Due      Time
	Size     int
	ICMP     *ICMP
	Tally    *Tally

	// Follows is what a segment that came in has caused at once: the very events
	// that are told right after this one, so that a sink can show cause and effect
	// together without waiting.
	Follows []Event
}

// A Tracer is told what happens. Trace is called with the stack's lock held: it
// must not block and must not call back into the stack. One that does not want
// every event can say so: see Selective.
type Tracer interface{ Trace(*Event) }
