package engine

import (
	"net/netip"
	"time"
)

// Stats count what passed over one connection.
type Stats struct {
	Traffic
	Incidents
}

// Traffic counts what every connection does.
type Traffic struct {
	SegmentsIn, SegmentsOut uint64
	BytesIn, BytesOut       uint64 // payload; BytesOut counts retransmissions too
	BytesWritten, BytesRead uint64 // handed over by the application; delivered in order
}

// Incidents count what an untroubled connection does not meet.
type Incidents struct {
	Retransmits               uint64 // segments
	Timeouts                  uint64 // retransmission timeouts
	FastRecoveries            uint64
	DupAcksIn                 uint64
	DSACKsIn                  uint64 // reports of needless retransmissions
	LossProbes                uint64
	MTUProbes                 uint64 // segments larger than the others, to find a larger path MTU
	OutOfOrderIn              uint64
	DuplicatesIn              uint64
	PAWSDrops, Unacceptable   uint64
	ChallengeAcks             uint64
	ZeroWindows, WindowProbes uint64
	KeepAlives                uint64
	PartialChecksums          uint64 // segments that never left this machine unfinished
	OverlapMismatch           uint64 // octets that arrived twice with different values
	BadSACKs                  uint64 // SACK and DSACK blocks that name what was not sent, and were ignored
	SpuriousRecoveries        uint64 // fast recoveries and timeouts that proved needless and were undone (RFC 4015)
}

// Info is a snapshot of a connection. It says what a Linux host says in struct
// tcp_info (linux/tcp.h), whose names stand beside the fields where they differ.
// Lengths are octets where nothing else is said.
type Info struct {
	ID            uint64
	Local, Remote netip.AddrPort
	State         State
	Passive       bool
	Vars          Vars // with rto, rtt, rttvar, snd_mss, snd_cwnd, snd_ssthresh, snd_wnd, rcv_wnd and both scales
	Peer          PeerInfo
	SACK          bool // negotiated (options)
	Timestamps    bool // negotiated
	ECN           bool // negotiated
	FastOpen      bool // data on the SYN was taken, by the peer or by us
	Congestion    string
	Age           time.Duration
	SoftError     error // the last ICMP error that did not end the connection

	// Loss and patience.

	Recovery   Recovery // ca_state
	InRecovery bool     // Recovery is RecoveryFast
	Retries    int      // timeouts of the oldest segment in a row (retransmits)
	Probes     int      // window probes or keep-alives without an answer
	Backoff    int      // times the RTO was doubled since the last sample
	Unacked    int      // segments outstanding
	Sacked     int      // of them, those the peer has reported
	Lost       int      // of them, those held for lost
	Resent     int      // of them, those under way a second time (retrans)
	Reordered  bool     // segments were seen to overtake each other (reord_seen)

	// Sizes.

	MTU           int           // path MTU in use (pmtu)
	AdvertisedMSS int           // in our SYN (advmss)
	SendQueue     int           // held for the peer
	Unsent        int           // of it, what has not left yet (notsent_bytes)
	ReceiveQueue  int           // held for the application
	OutOfOrder    int           // ranges held beyond a hole
	SendBuffer    int           // most held for the peer
	ReceiveBuffer int           // most held for the application (rcv_space)
	UserTimeout   time.Duration // in force, 0: Retries decide
	PacingRate    int64         // octets a second at which data may leave now, 0: as fast as it will (pacing_rate)

	// Times.

	MinRTT     time.Duration // least round trip of late
	DelayedAck time.Duration // longest wait of an ACK (ato)
	LastHeard  time.Duration // since the peer was heard (last_ack_recv)

	Stats    Stats
	Accounts *Accounts // nil unless ConnConfig.Accounts asked for them
}

// Accounts are what costs memory and time to keep.
type Accounts struct {
	LastDataOut time.Duration // since data left, -1: never (last_data_sent)
	LastDataIn  time.Duration // since data came, -1: never (last_data_recv)

	Busy        time.Duration // with something to send or to be acknowledged (busy_time)
	WindowLimit time.Duration // of it, waiting for the peer's window (rwnd_limited)
	BufferLimit time.Duration // of it, with a full send buffer and all of it sent (sndbuf_limited)

	DeliveryRate    int    // octets a second that arrived in the last round trip
	BytesAcked      uint64 // of what was written, what the peer has acknowledged
	BytesResent     uint64 // payload of retransmissions (bytes_retrans)
	DataIn, DataOut uint64 // segments with payload, repeated ones included
	ReceiveMSS      int    // largest payload that came (rcv_mss)
}

// Recovery is what the sender makes of missing segments, as Linux's ca_state.
type Recovery uint8

// The states of Recovery.
const (
	RecoveryOpen     Recovery = iota // nothing is missing
	RecoveryDisorder                 // duplicate ACKs or reports, not enough yet
	RecoveryCWR                      // the window was lowered for an ECN echo
	RecoveryFast                     // fast recovery
	RecoveryLoss                     // after a retransmission timeout
)

var recoveryNames = [...]string{"open", "disorder", "cwr", "recovery", "loss"}

// String returns the state as ss prints it.
func (r Recovery) String() string {
	if int(r) < len(recoveryNames) {
		return recoveryNames[r]
	}
	return "unknown"
}

// Info returns a snapshot.
func (c *Conn) Info(now Time) Info {
	i := Info{
		ID: c.id, Local: c.local, Remote: c.remote, State: c.state, Passive: c.passive,
		Vars: c.vars(), Peer: c.peer, SACK: c.sack, Timestamps: c.ts.on, ECN: c.ecn.on, FastOpen: c.fast().taken,
		Congestion: c.cfg.Congestion, Age: now.Sub(c.created), SoftError: c.softErr(),
		MTU: c.mtu, AdvertisedMSS: c.advertisedMSS(),
		SendQueue: c.snd.buf.len(), Unsent: max(0, c.snd.buf.end().Sub(c.snd.nxt)),
		ReceiveQueue: c.rcv.buf.readable, OutOfOrder: len(c.rcv.buf.spans()),
		SendBuffer: c.snd.buf.limit, ReceiveBuffer: c.rcv.buf.limit, UserTimeout: c.cfg.UserTimeout, PacingRate: c.toldPacingRate(),
		Stats: c.stats(),
	}
	c.tellLoss(&i)
	i.MinRTT, i.DelayedAck, i.LastHeard = c.loss.rack.minRTT.value(), c.ackDelay(), now.Sub(c.lastRecv)
	if m := c.meter(); m != nil {
		i.Accounts = m.told(now)
	}
	return i
}

func (c *Conn) advertisedMSS() int {
	if c.cfg.MSS < 0 {
		return 0
	}
	return c.ownMSS()
}

func (c *Conn) tellLoss(i *Info) {
	i.Recovery, i.Reordered = c.recoveryNow(), c.loss.rack.reordering
	i.InRecovery = i.Recovery == RecoveryFast
	i.Retries, i.Backoff = c.retries, c.rtt.doublings
	i.Probes = int(max(c.unanswered, c.keepProbes))
	for k := range c.snd.sent.ranges() {
		r := &c.snd.sent.ranges()[k]
		i.Unacked++
		switch {
		case r.sacked:
			i.Sacked++
		case r.lost:
			i.Lost++
		}
		if r.resent {
			i.Resent++
		}
	}
}

func (c *Conn) recoveryNow() Recovery {
	switch {
	case c.loss.timeout:
		return RecoveryLoss
	case c.loss.recovery:
		return RecoveryFast
	case c.ecn.lowered:
		return RecoveryCWR
	case c.loss.dup > 0 || c.snd.sent.sacked > 0:
		return RecoveryDisorder
	}
	return RecoveryOpen
}

func (c *Conn) stats() Stats {
	st := Stats{Traffic: c.traffic}
	if c.cold != nil {
		st.Incidents = c.cold.incidents
	}
	st.PartialChecksums = c.partials
	return st
}

func (c *Conn) vars() (v Vars) {
	c.fillVars(&v)
	return v
}

// fillVars fills an empty v where it lies: every event has one.
func (c *Conn) fillVars(v *Vars) {
	v.ISS, v.IRS, v.SndUna, v.SndNxt = c.snd.iss, c.rcv.irs, c.snd.una, c.snd.nxt
	v.SndWnd, v.RcvNxt, v.RcvWnd = c.snd.wnd, c.rcv.nxt, max(0, c.rcv.edge.Sub(c.rcv.nxt))
	v.SndScale, v.RcvScale, v.Flight = c.snd.scale, c.rcv.scale, c.snd.nxt.Sub(c.snd.una)
	v.SRTT, v.RTTVar, v.RTO, v.MSS = c.rtt.srtt, c.rtt.rttvar, c.rtt.rto(), c.snd.mss
	if c.cc != nil {
		v.Cwnd, v.Ssthresh = c.window(), c.cc.Ssthresh()
	}
}
