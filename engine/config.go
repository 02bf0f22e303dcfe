package engine

import (
	"reflect"
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

// ConnConfig holds the settings of one connection. The zero value is what a
// careful Internet host does; a zero field means the default given beside it.
// Lengths are octets.
type ConnConfig struct {
	MSS         int            // MSS option we send; default: link MTU less IP and TCP header. -1: send no MSS option
	WindowScale int            // shift we offer, 1 to 14; default fits ReceiveBuffer. -1: no window scale option
	Window      int            // advertise exactly this receive window while open; default: free receive buffer
	SACK        Switch         // default on
	DSACK       Switch         // report what arrives twice (RFC 2883); default on
	Timestamps  Switch         // default on
	ECN         Switch         // default off
	TTL, TOS    uint8          // default 64, 0
	SYNOptions  []segment.Kind // order of the options of our SYN, with KindNOP where wanted; default Linux's
	ISN         *segment.Seq   // default: RFC 6528
	FastOpen    Switch         // of an active open: ask for a cookie, and send data on the SYN with it (RFC 7413); default off

	SendBuffer    int // most unsent and unacknowledged octets held; default 1 MiB
	ReceiveBuffer int // most octets held for the application; default 1 MiB

	NoDelay       bool          // Nagle off (MUST-17)
	DelayedAck    time.Duration // default 40 ms, at most 500 ms; negative: acknowledge at once
	InitialWindow int           // segments; default 10 (RFC 6928)
	LossProbe     Switch        // tail loss probes (RFC 8985 section 7); default on
	Congestion    string        // "cubic" (default) or "reno"; with Controller only a name
	HyStart       Switch        // HyStart++ ends the first slow start (RFC 9406); default on
	ABCLimit      int           // L: segments by which one ACK may open the window in slow start (RFC 3465 section 2.2); default 8 (RFC 9406 section 4.3)

	// Controller, if not nil, makes a congestion control of the application's own
	// for each connection; mss and initialWindow are octets. It may be called once
	// more when a connection or listener is made, to try it.
	Controller func(mss, initialWindow int) Controller

	InitialRTO time.Duration // default 1 s (RFC 6298 section 2)
	MinRTO     time.Duration // default 200 ms, as Linux; RFC 6298 asks for 1 s
	MaxRTO     time.Duration // default 120 s, as Linux, so that seven SYNs take 127 s

	SYNRetries     int           // default 6; negative: none
	ConnectTimeout time.Duration // default none: SYNRetries decide
	Retries        int           // R2 as a count of data retransmissions; default 15
	UserTimeout    time.Duration // R2 as a time; default none: Retries decide

	KeepAliveIdle     time.Duration // 0: keep-alive off (MUST-25)
	KeepAliveInterval time.Duration // default 75 s
	KeepAliveCount    int           // default 9

	MSL          time.Duration // default 30 s
	TimeWait     time.Duration // default 2*MSL; negative: one RTO
	TimeWaitRST  Switch        // a RST ends TIME-WAIT; default off (RFC 1337)
	FinWait2     time.Duration // after Close, how long to wait for the peer's FIN; default 60 s
	ChallengeACK time.Duration // least time between challenge ACKs; default 500 ms (RFC 5961 section 7)
}

// mostShared bounds the settings a stack remembers.
const mostShared = 8

// settings completes cfg and returns it for connections to share: most of a
// stack's connections have the same settings, and a copy in each would be a
// quarter of its memory. Nobody may write to what settings returned; a
// connection whose settings change takes others from here.
func (s *Stack) settings(cfg ConnConfig) (*ConnConfig, error) {
	cfg = cfg.or(s.cfg.Conn).withDefaults()
	for _, held := range s.shared {
		if reflect.DeepEqual(*held, cfg) {
			return held, nil
		}
	}
	if _, err := newController(&cfg, defaultMSS, cfg.InitialWindow); err != nil {
		return nil, err
	}
	cfg.SYNOptions = slices.Clone(cfg.SYNOptions)
	if cfg.ISN != nil {
		iss := *cfg.ISN
		cfg.ISN = &iss
	}
	if len(s.shared) == mostShared {
		s.shared = slices.Delete(s.shared, 0, 1)
	}
	s.shared = append(s.shared, &cfg)
	return &cfg, nil
}
