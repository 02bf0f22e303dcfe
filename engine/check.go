package engine

import (
	"fmt"
	"slices"
	"time"

	"rawtcp/segment"
)

// maxBuffer bounds buffers and windows: TCP cannot advertise more than 2^30
// octets (RFC 7323 section 2.3).
const maxBuffer = 1 << 30

// A numberRange is a setting and what it may be. Zero, the default, always is.
type numberRange struct {
	name        string
	value       int
	least, most int
}

// check refuses settings that are out of range or contradict each other. It
// wants them with the defaults filled in.
func (c *ConnConfig) check() error {
	for _, r := range []numberRange{
		{"MSS", c.MSS, -1, 65535},
		{"WindowScale", c.WindowScale, -1, maxScale},
		{"Window", c.Window, 0, maxBuffer},
		{"SendBuffer", c.SendBuffer, 1, maxBuffer},
		{"ReceiveBuffer", c.ReceiveBuffer, 1, maxBuffer},
		{"SendBufferMax", c.SendBufferMax, c.SendBuffer, maxBuffer},
		{"ReceiveBufferMax", c.ReceiveBufferMax, c.ReceiveBuffer, maxBuffer},
		{"InitialWindow", c.InitialWindow, 1, 1000},
		{"ABCLimit", c.ABCLimit, 0, 1000},
		{"SYNRetries", c.SYNRetries, 0, 255},
		{"R1", c.R1, 1, 255},
		{"Retries", c.Retries, 1, 255},
		{"KeepAliveCount", c.KeepAliveCount, 1, 255},
	} {
		if r.value < r.least || r.value > r.most {
			return fmt.Errorf("%w: %s %d is not between %d and %d", ErrBadConfig, r.name, r.value, r.least, r.most)
		}
	}
	if err := c.checkPacing(); err != nil {
		return err
	}
	if err := c.checkTimes(); err != nil {
		return err
	}
	return c.checkWords()
}

// checkTimes refuses lengths of time that cannot be.
func (c *ConnConfig) checkTimes() error {
	for _, r := range []struct {
		name        string
		value       time.Duration
		least, most time.Duration
	}{
		{"InitialRTO", c.InitialRTO, time.Millisecond, maxTime},
		{"MinRTO", c.MinRTO, time.Millisecond, time.Hour},
		{"MaxRTO", c.MaxRTO, time.Millisecond, 24 * time.Hour},
		{"ConnectTimeout", c.ConnectTimeout, 0, maxTime},
		{"UserTimeout", c.UserTimeout, 0, maxTime},
		{"AdvertisedTimeout", c.AdvertisedTimeout, time.Second, maxAdvertised},
		{"UserTimeoutMin", c.UserTimeoutMin, time.Second, maxTime},
		{"UserTimeoutMax", c.UserTimeoutMax, c.UserTimeoutMin, maxTime},
		{"KeepAliveIdle", c.KeepAliveIdle, 0, maxTime},
		{"KeepAliveInterval", c.KeepAliveInterval, time.Millisecond, maxTime},
		{"MSL", c.MSL, time.Millisecond, maxTime},
		{"MTUExpiry", c.MTUExpiry, 5 * time.Minute, maxTime},
	} {
		if r.value < r.least || r.value > r.most {
			return fmt.Errorf("%w: %s %v is not between %v and %v", ErrBadConfig, r.name, r.value, r.least, r.most)
		}
	}
	if c.MaxRTO < c.MinRTO {
		return fmt.Errorf("%w: MaxRTO %v is less than MinRTO %v", ErrBadConfig, c.MaxRTO, c.MinRTO)
	}
	return nil
}

// maxTime keeps sums of times far from overflow. Nobody waits longer.
const maxTime = 100 * 365 * 24 * time.Hour

// checkWords refuses names and kinds that are not known.
func (c *ConnConfig) checkWords() error {
	if _, err := newController(c, defaultMSS, c.InitialWindow, nil); err != nil {
		return err
	}
	if err := c.checkAckPolicy(); err != nil {
		return err
	}
	if c.Push > PushNever {
		return fmt.Errorf("%w: Push %d is none of PushLast, PushAlways and PushNever", ErrBadConfig, c.Push)
	}
	for i, k := range c.SYNOptions {
		switch k {
		case segment.KindNOP, segment.KindEOL:
			continue
		case segment.KindMSS, segment.KindWindowScale, segment.KindSACKPermitted, segment.KindTimestamps, segment.KindFastOpen, segment.KindUserTimeout:
		default:
			return fmt.Errorf("%w: SYNOptions has kind %d, which is no option of a SYN", ErrBadConfig, k)
		}
		if slices.Contains(c.SYNOptions[:i], k) {
			return fmt.Errorf("%w: SYNOptions has kind %d twice", ErrBadConfig, k)
		}
	}
	return nil
}

// offerListed turns off what a list of SYN options leaves out: what was not
// offered must not be used.
func (c *ConnConfig) offerListed() {
	if c.SYNOptions == nil {
		return
	}
	lacks := func(k segment.Kind) bool { return !slices.Contains(c.SYNOptions, k) }
	if lacks(segment.KindMSS) {
		c.MSS = -1
	}
	if lacks(segment.KindWindowScale) {
		c.WindowScale = -1
	}
	if lacks(segment.KindSACKPermitted) {
		c.SACK = Off
	}
	if lacks(segment.KindTimestamps) {
		c.Timestamps = Off
	}
}
