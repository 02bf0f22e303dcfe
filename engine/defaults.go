package engine

import (
	"cmp"
	"slices"
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

// or returns c with every zero field taken from def. It is plain code, for each Dial
// pays for it.
func (c ConnConfig) or(def ConnConfig) ConnConfig {
	c.MSS = cmp.Or(c.MSS, def.MSS)
	c.WindowScale = cmp.Or(c.WindowScale, def.WindowScale)
	c.Window = cmp.Or(c.Window, def.Window)
	c.SACK = cmp.Or(c.SACK, def.SACK)
	c.DSACK = cmp.Or(c.DSACK, def.DSACK)
	c.Timestamps = cmp.Or(c.Timestamps, def.Timestamps)
	c.ECN = cmp.Or(c.ECN, def.ECN)
	c.TTL = cmp.Or(c.TTL, def.TTL)
	c.TOS = cmp.Or(c.TOS, def.TOS)
	if c.SYNOptions == nil {
		c.SYNOptions = def.SYNOptions
	}
	c.ISN = cmp.Or(c.ISN, def.ISN)
	c.Push = cmp.Or(c.Push, def.Push)
	c.FastOpen = cmp.Or(c.FastOpen, def.FastOpen)
	c.SendBuffer = cmp.Or(c.SendBuffer, def.SendBuffer)
	c.ReceiveBuffer = cmp.Or(c.ReceiveBuffer, def.ReceiveBuffer)
	c.SendBufferMax = cmp.Or(c.SendBufferMax, def.SendBufferMax)
	c.ReceiveBufferMax = cmp.Or(c.ReceiveBufferMax, def.ReceiveBufferMax)
	c.NoDelay = cmp.Or(c.NoDelay, def.NoDelay)
	c.Cork = cmp.Or(c.Cork, def.Cork)
	c.AckPolicy = cmp.Or(c.AckPolicy, def.AckPolicy)
	c.DelayedAck = cmp.Or(c.DelayedAck, def.DelayedAck)
	c.InitialWindow = cmp.Or(c.InitialWindow, def.InitialWindow)
	c.LossProbe = cmp.Or(c.LossProbe, def.LossProbe)
	c.Congestion = cmp.Or(c.Congestion, def.Congestion)
	c.HyStart = cmp.Or(c.HyStart, def.HyStart)
	c.ABCLimit = cmp.Or(c.ABCLimit, def.ABCLimit)
	c.Pacing = cmp.Or(c.Pacing, def.Pacing)
	c.PacingRate = cmp.Or(c.PacingRate, def.PacingRate)
	if c.Controller == nil {
		c.Controller = def.Controller
	}
	c.InitialRTO = cmp.Or(c.InitialRTO, def.InitialRTO)
	c.MinRTO = cmp.Or(c.MinRTO, def.MinRTO)
	c.MaxRTO = cmp.Or(c.MaxRTO, def.MaxRTO)
	c.SYNRetries = cmp.Or(c.SYNRetries, def.SYNRetries)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, def.ConnectTimeout)
	c.R1 = cmp.Or(c.R1, def.R1)
	c.Retries = cmp.Or(c.Retries, def.Retries)
	c.UserTimeout = cmp.Or(c.UserTimeout, def.UserTimeout)
	c.UserTimeoutOption = cmp.Or(c.UserTimeoutOption, def.UserTimeoutOption)
	c.AdvertisedTimeout = cmp.Or(c.AdvertisedTimeout, def.AdvertisedTimeout)
	c.TimeoutChangeable = cmp.Or(c.TimeoutChangeable, def.TimeoutChangeable)
	c.UserTimeoutMin = cmp.Or(c.UserTimeoutMin, def.UserTimeoutMin)
	c.UserTimeoutMax = cmp.Or(c.UserTimeoutMax, def.UserTimeoutMax)
	c.KeepAliveIdle = cmp.Or(c.KeepAliveIdle, def.KeepAliveIdle)
	c.KeepAliveInterval = cmp.Or(c.KeepAliveInterval, def.KeepAliveInterval)
	c.KeepAliveCount = cmp.Or(c.KeepAliveCount, def.KeepAliveCount)
	c.MSL = cmp.Or(c.MSL, def.MSL)
	c.TimeWait = cmp.Or(c.TimeWait, def.TimeWait)
	c.TimeWaitRST = cmp.Or(c.TimeWaitRST, def.TimeWaitRST)
	c.FinWait2 = cmp.Or(c.FinWait2, def.FinWait2)
	c.Linger = cmp.Or(c.Linger, def.Linger)
	c.ChallengeACK = cmp.Or(c.ChallengeACK, def.ChallengeACK)
	c.Accounts = cmp.Or(c.Accounts, def.Accounts)
	c.PathMTU = cmp.Or(c.PathMTU, def.PathMTU)
	c.MTUExpiry = cmp.Or(c.MTUExpiry, def.MTUExpiry)
	return c
}

// same reports whether c and d say the same. Two controllers of an application may
// be two, though their function looks alike.
func (c *ConnConfig) same(d *ConnConfig) bool {
	if c.Controller != nil || d.Controller != nil || (c.ISN == nil) != (d.ISN == nil) || c.ISN != nil && *c.ISN != *d.ISN {
		return false
	}
	return (c.SYNOptions == nil) == (d.SYNOptions == nil) && slices.Equal(c.SYNOptions, d.SYNOptions) &&
		c.MSS == d.MSS && c.WindowScale == d.WindowScale && c.Window == d.Window && c.SACK == d.SACK &&
		c.DSACK == d.DSACK && c.Timestamps == d.Timestamps && c.ECN == d.ECN && c.TTL == d.TTL &&
		c.TOS == d.TOS && c.Push == d.Push && c.FastOpen == d.FastOpen && c.SendBuffer == d.SendBuffer &&
		c.ReceiveBuffer == d.ReceiveBuffer && c.SendBufferMax == d.SendBufferMax && c.ReceiveBufferMax == d.ReceiveBufferMax && c.NoDelay == d.NoDelay && c.Cork == d.Cork && c.AckPolicy == d.AckPolicy &&
		c.DelayedAck == d.DelayedAck && c.InitialWindow == d.InitialWindow && c.LossProbe == d.LossProbe && c.Congestion == d.Congestion &&
		c.HyStart == d.HyStart && c.ABCLimit == d.ABCLimit && c.Pacing == d.Pacing && c.PacingRate == d.PacingRate && c.InitialRTO == d.InitialRTO && c.MinRTO == d.MinRTO &&
		c.MaxRTO == d.MaxRTO && c.SYNRetries == d.SYNRetries && c.ConnectTimeout == d.ConnectTimeout && c.R1 == d.R1 &&
		c.Retries == d.Retries && c.UserTimeout == d.UserTimeout && c.UserTimeoutOption == d.UserTimeoutOption && c.AdvertisedTimeout == d.AdvertisedTimeout &&
		c.TimeoutChangeable == d.TimeoutChangeable && c.UserTimeoutMin == d.UserTimeoutMin && c.UserTimeoutMax == d.UserTimeoutMax && c.KeepAliveIdle == d.KeepAliveIdle &&
		c.KeepAliveInterval == d.KeepAliveInterval && c.KeepAliveCount == d.KeepAliveCount && c.MSL == d.MSL && c.TimeWait == d.TimeWait &&
		c.TimeWaitRST == d.TimeWaitRST && c.FinWait2 == d.FinWait2 && c.Linger == d.Linger && c.ChallengeACK == d.ChallengeACK &&
		c.Accounts == d.Accounts && c.PathMTU == d.PathMTU && c.MTUExpiry == d.MTUExpiry
}

// withDefaults returns c with every zero field that has a default filled in.
func (c ConnConfig) withDefaults() ConnConfig {
	bufferDefaults(&c.SendBuffer, &c.SendBufferMax)
	bufferDefaults(&c.ReceiveBuffer, &c.ReceiveBufferMax)
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
		c.WindowScale = scaleFor(max(c.ReceiveBufferMax, c.Window))
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

// The size of a buffer at first, and to which it grows, if neither is set.
const (
	firstBuffer = 1 << 20
	mostBuffer  = 16 << 20
)

// bufferDefaults settles the bounds of a buffer. One that was set is not to grow
// unless that was set, too.
func bufferDefaults(first, most *int) {
	switch {
	case *first == 0 && *most == 0:
		*first, *most = firstBuffer, mostBuffer
	case *first == 0:
		*first = min(firstBuffer, *most)
	default:
		setInt(most, *first)
	}
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
