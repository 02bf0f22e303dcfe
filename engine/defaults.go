package engine

import (
	"reflect"
	"time"
)

// The bounds a peer's MSS option is held to: below 64 a peer could make us send
// more header than data (CVE-2019-11479).
const (
	minMSS     = 64
	defaultMSS = 536  // no MSS option received, IPv4 (RFC 9293 section 3.7.1, MUST-15)
	defaultMS6 = 1220 // the same, IPv6
)

// maxDelayedAck is the longest an ACK may wait: "MUST be less than 0.5 seconds"
// (RFC 9293 section 3.8.6.3, MUST-40).
const maxDelayedAck = 499 * time.Millisecond

// maxScale is the largest window shift count (RFC 7323 section 2.3).
const maxScale = 14

// or returns c with every zero field taken from def.
func (c ConnConfig) or(def ConnConfig) ConnConfig {
	mine, theirs := reflect.ValueOf(&c).Elem(), reflect.ValueOf(def)
	for i := range mine.NumField() {
		if f := mine.Field(i); f.IsZero() {
			f.Set(theirs.Field(i))
		}
	}
	return c
}

// withDefaults returns c with every zero field that has a default filled in.
func (c ConnConfig) withDefaults() ConnConfig {
	setInt(&c.SendBuffer, 1<<20)
	setInt(&c.ReceiveBuffer, 1<<20)
	setInt(&c.InitialWindow, 10)
	setInt(&c.SYNRetries, 6)
	setInt(&c.R1, 3)
	setInt(&c.Retries, 15)
	setInt(&c.KeepAliveCount, 9)
	setTime(&c.DelayedAck, 40*time.Millisecond)
	setTime(&c.InitialRTO, time.Second)
	setTime(&c.MinRTO, 200*time.Millisecond)
	setTime(&c.MaxRTO, 120*time.Second)
	setTime(&c.KeepAliveInterval, 75*time.Second)
	setTime(&c.MSL, 30*time.Second)
	setTime(&c.TimeWait, 2*c.MSL)
	setTime(&c.FinWait2, 60*time.Second)
	setTime(&c.ChallengeACK, 500*time.Millisecond)
	setTime(&c.MTUExpiry, 10*time.Minute)
	c.userTimeoutDefaults()
	c.ackPolicyDefaults()
	c.offerListed()
	c.DelayedAck = min(c.DelayedAck, maxDelayedAck)
	c.SYNRetries = max(c.SYNRetries, 0)
	if c.TTL == 0 {
		c.TTL = 64
	}
	if c.Congestion == "" && c.Controller != nil {
		c.Congestion = "custom"
	}
	if c.Congestion == "" {
		c.Congestion = "cubic"
	}
	if c.WindowScale == 0 {
		c.WindowScale = scaleFor(max(c.ReceiveBuffer, c.Window))
	}
	c.WindowScale = min(c.WindowScale, maxScale)
	widest := c.ReceiveBuffer
	if c.Window > 0 {
		widest = min(widest, c.Window)
	}
	for c.WindowScale > 0 && 2<<c.WindowScale > widest {
		c.WindowScale-- // or an open window would be told as a closed one, for ever
	}
	return c
}

func setInt(v *int, def int) {
	if *v == 0 {
		*v = def
	}
}

func setTime(v *time.Duration, def time.Duration) {
	if *v == 0 {
		*v = def
	}
}

// scaleFor returns the least shift that lets a 16-bit field say window, at
// least 1 so that the option is offered.
func scaleFor(window int) int {
	shift := 1
	for shift < maxScale && window>>shift > 0xffff {
		shift++
	}
	return shift
}
