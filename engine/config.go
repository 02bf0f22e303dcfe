package engine

import (
	"slices"
	"time"

	"rawtcp/segment"
)

// A Switch is a setting that is on, off, or left to its default.
type Switch int8

// The positions of a Switch.
const (
	Default Switch = 0
	On      Switch = 1
	Off     Switch = -1
)

func (s Switch) or(def bool) bool {
	if s == Default {
		return def
	}
	return s == On
}

// A PushPolicy says on which segments PSH is set (RFC 9293 section 3.9.1.2).
type PushPolicy uint8

// The push policies.
const (
	PushLast   PushPolicy = iota // on the last octet that is buffered, as MUST-61 asks
	PushAlways                   // on every segment with data
	PushNever                    // on none: a departure from MUST-61, to see what a peer makes of it
)

// ConnConfig holds the settings of one connection. The zero value is what a
// careful Internet host does. A zero field means the default of the stack, and
// if that is zero too, the one given beside it. Lengths are octets. What is out
// of its range is refused when a connection is opened or a port listened on.
type ConnConfig struct {
	// The shape of our segments.

	MSS         int            // MSS option we send, 1 to 65535, told as at least 64; default: link MTU less IP and TCP header (RFC 6691). -1: send no MSS option
	WindowScale int            // shift we offer, 1 to 14 (RFC 7323 section 2.3); default fits ReceiveBufferMax. -1: no window scale option
	Window      int            // advertise exactly this receive window while so much is free, 1 to 2^30; default: the free receive buffer
	SACK        Switch         // offer and use selective acknowledgements (RFC 2018); default on
	DSACK       Switch         // report what arrives twice (RFC 2883); default on
	Timestamps  Switch         // offer and use timestamps (RFC 7323); default on
	ECN         Switch         // ask for ECN and grant it (RFC 3168); default off
	TTL, TOS    uint8          // TTL or hop limit, default 64 (MUST-49); DiffServ field with the ECN bits below it, default 0 (MUST-48)
	SYNOptions  []segment.Kind // the options of our SYN or SYN-ACK, in this order, KindNOP where wanted; one that is not listed is not offered. Default: mss,sackOK,TS,nop,wscale, as Linux
	ISN         *segment.Seq   // initial sequence number; default: StackConfig.ISN, or else RFC 6528
	Push        PushPolicy     // which segments have PSH; default the last one buffered
	FastOpen    Switch         // of an active open: ask for a cookie, and send data on the SYN with it (RFC 7413); default off

	// What is held, and how fast it leaves.

	SendBuffer       int           // most unsent and unacknowledged octets held at first, 1 to 2^30; default 1 MiB
	ReceiveBuffer    int           // most octets held for the application at first, 1 to 2^30; default 1 MiB
	SendBufferMax    int           // up to which SendBuffer grows with the path, SendBuffer to 2^30; default SendBuffer if that is set, else 16 MiB
	ReceiveBufferMax int           // up to which ReceiveBuffer grows with the path, ReceiveBuffer to 2^30; default ReceiveBuffer if that is set, else 16 MiB
	NoDelay          bool          // Nagle off (MUST-17, RFC 9293 section 3.7.4)
	Cork             bool          // keep what does not fill a segment until Uncork, a FIN or 200 ms, as Linux's TCP_CORK
	AckPolicy        AckPolicy     // when data is acknowledged; default AckClassic
	DelayedAck       time.Duration // longest wait of an ACK, below 500 ms (MUST-40); default 40 ms as Linux; negative: AckEvery
	InitialWindow    int           // segments, 1 to 1000; default 10 (RFC 6928)
	LossProbe        Switch        // tail loss probes (RFC 8985 section 7); default on
	Congestion       string        // "cubic" (RFC 9438, default) or "reno" (RFC 5681); with Controller only a name
	HyStart          Switch        // HyStart++ ends the first slow start (RFC 9406); default on
	ABCLimit         int           // L: segments by which one ACK may open the window in slow start (RFC 3465 section 2.2); 1 to 1000; default 8, and with Pacing none (RFC 9406 section 4.3)

	// Pacing spreads what the congestion window allows over the round trip, in bursts
	// of a millisecond or two segments: a window for each round trip and a fifth more,
	// twice the window while slow start doubles it, as Linux does. Default off.
	Pacing Switch

	// PacingRate is at most how many octets of payload leave in a second,
	// retransmissions included, 1 to 2^40, as Linux's SO_MAX_PACING_RATE; in the same
	// bursts. Default no limit; -1: none, whatever the stack's.
	PacingRate int64

	// Controller, if not nil, makes a congestion control of the application's own
	// for each connection; mss and initialWindow are octets. It may be called once
	// more when a connection or listener is made, to try it.
	Controller func(mss, initialWindow int) Controller

	// Patience.

	InitialRTO time.Duration // RTO before the first sample, at least 1 ms; default 1 s (RFC 6298 section 2)
	MinRTO     time.Duration // least RTO, 1 ms to 1 h; default 200 ms, as Linux; RFC 6298 asks for 1 s
	MaxRTO     time.Duration // largest RTO, 1 ms to 24 h; default 120 s, as Linux, so that seven SYNs take 127 s

	SYNRetries     int           // SYNs or SYN-ACKs after the first, at most 255; default 6, for a listener 3; negative: none
	ConnectTimeout time.Duration // longest wait for ESTABLISHED; default none: SYNRetries decide
	R1             int           // timeouts of one segment until the application is told of trouble, 1 to 255; default 3 (SHLD-9, SHLD-10)
	Retries        int           // R2 as a count of data retransmissions, 1 to 255; default 15 (RFC 9293 section 3.8.3)
	UserTimeout    time.Duration // R2 as a time, for data and window probes (MUST-21); default none: Retries decide

	UserTimeoutOption Switch        // tell the peer of our user timeout, and heed what it tells (RFC 5482, ENABLED); default off
	AdvertisedTimeout time.Duration // ADV_UTO of RFC 5482, 1 s to 32767 min; default UserTimeout, or 5 min
	TimeoutChangeable Switch        // whether the peer's option may change our user timeout (CHANGEABLE); default on unless UserTimeout is set
	UserTimeoutMin    time.Duration // L_LIMIT of RFC 5482; default 100 s. The RTO is a floor too
	UserTimeoutMax    time.Duration // U_LIMIT; default 30 min

	KeepAliveIdle     time.Duration // silence until the first keep-alive; 0: keep-alive off (MUST-25)
	KeepAliveInterval time.Duration // between unanswered ones; default 75 s
	KeepAliveCount    int           // unanswered ones until the connection ends, 1 to 255; default 9

	// The end.

	MSL          time.Duration // maximum segment lifetime; default 30 s, as Linux; RFC 9293 has 2 min
	TimeWait     time.Duration // length of TIME-WAIT; default 2*MSL (MUST-13); negative: one RTO
	TimeWaitRST  Switch        // a RST ends TIME-WAIT, as on Linux; default off (RFC 1337)
	FinWait2     time.Duration // after Close, how long to wait for the peer's FIN; default 60 s, as Linux; negative: for ever, as RFC 9293 has it
	Linger       time.Duration // how Close ends: 0 (default): FIN, what is queued goes on; negative: RST; positive: NetConn.Close waits so long for the peer to have all
	ChallengeACK time.Duration // least time between challenge ACKs; default 500 ms (RFC 5961 section 7); negative: no limit

	Accounts Switch // keep Info.Accounts, some 200 octets a connection; default off

	// The path.

	PathMTU   Switch        // find a path's MTU without ICMP, too (RFC 4821); default on
	MTUExpiry time.Duration // when a larger MTU is tried again, at least 5 min; default 10 min (RFC 4821 section 7.3)
}

// mostShared bounds the settings a stack remembers.
const mostShared = 8

// settings completes cfg and returns it for connections to share: most of a
// stack's connections have the same settings, and a copy in each would be a
// quarter of its memory. Nobody may write to what settings returned; a
// connection whose settings change takes others from here.
func (s *Stack) settings(cfg ConnConfig) (*ConnConfig, error) {
	// What the caller can still change behind a pointer is not known again by it.
	plain := cfg.ISN == nil && cfg.SYNOptions == nil && s.cfg.Conn.Controller == nil
	if plain && s.latest.settings != nil && s.latest.asked.same(&cfg) {
		return s.latest.settings, nil
	}
	shared, err := s.share(cfg.or(s.cfg.Conn).withDefaults())
	if err == nil && plain {
		s.latest.asked, s.latest.settings = cfg, shared
	}
	return shared, err
}

// share is settings for what is complete.
func (s *Stack) share(cfg ConnConfig) (*ConnConfig, error) {
	for _, held := range s.shared {
		if held.same(&cfg) {
			return held, nil
		}
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	kept := new(ConnConfig) // and not &cfg, which would make every call allocate
	*kept = cfg
	kept.SYNOptions = slices.Clone(cfg.SYNOptions)
	if cfg.ISN != nil {
		iss := *cfg.ISN
		kept.ISN = &iss
	}
	if len(s.shared) == mostShared {
		s.shared = slices.Delete(s.shared, 0, 1)
	}
	s.shared = append(s.shared, kept)
	return kept, nil
}
