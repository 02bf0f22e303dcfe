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

// Info is a snapshot of a connection.
type Info struct {
	ID            uint64
	Local, Remote netip.AddrPort
	State         State
	Passive       bool
	Vars          Vars
	Peer          PeerInfo
	SACK          bool // negotiated
	Timestamps    bool // negotiated
	ECN           bool // negotiated
	FastOpen      bool // data on the SYN was taken, by the peer or by us
	MTU           int
	Congestion    string
	InRecovery    bool
	SendQueue     int // octets not acknowledged
	ReceiveQueue  int // octets not read
	OutOfOrder    int // ranges held beyond a hole
	Age           time.Duration
	SoftError     error // the last ICMP error that did not end the connection
	Stats         Stats
}

// Info returns a snapshot.
func (c *Conn) Info(now Time) Info {
	return Info{
		ID: c.id, Local: c.local, Remote: c.remote, State: c.state, Passive: c.passive,
		Vars: c.vars(), Peer: c.peer, SACK: c.sack, Timestamps: c.ts.on, ECN: c.ecn.on, FastOpen: c.fast().taken, MTU: c.mtu,
		Congestion: c.cfg.Congestion, InRecovery: c.loss.recovery,
		SendQueue: c.snd.buf.len(), ReceiveQueue: c.rcv.buf.readable, OutOfOrder: len(c.rcv.buf.spans()),
		Age: now.Sub(c.created), SoftError: c.softErr(), Stats: c.stats(),
	}
}

func (c *Conn) stats() Stats {
	st := Stats{Traffic: c.traffic}
	if c.cold != nil {
		st.Incidents = c.cold.incidents
	}
	st.OverlapMismatch = uint64(c.rcv.buf.mismatch)
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
