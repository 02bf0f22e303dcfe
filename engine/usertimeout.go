package engine

import (
	"fmt"
	"time"

	"rawtcp/segment"
)

// The user timeout: how long data may stay unacknowledged before the connection
// ends, and the option that tells a peer of it (RFC 5482). USER_TIMEOUT is
// cfg.UserTimeout, ADV_UTO cfg.AdvertisedTimeout, ENABLED cfg.UserTimeoutOption,
// CHANGEABLE cfg.TimeoutChangeable.

func (c *ConnConfig) userTimeoutDefaults() {
	if c.TimeoutChangeable == Default {
		// "If an application explicitly sets the USER_TIMEOUT, CHANGEABLE MUST
		// become false" RFC 5482 section 3
		c.TimeoutChangeable = On
		if c.UserTimeout > 0 {
			c.TimeoutChangeable = Off
		}
	}
	advertised := 5 * time.Minute // the default of RFC 9293 section 3.9.1.1
	if c.UserTimeout > 0 {
		advertised = advertisable(c.UserTimeout)
	}
	setTime(&c.AdvertisedTimeout, advertised)
	setTime(&c.UserTimeoutMin, 100*time.Second)
	setTime(&c.UserTimeoutMax, max(30*time.Minute, c.UserTimeoutMin))
}

// maxAdvertised is the longest time the option can say (RFC 5482 section 3.3).
const maxAdvertised = 32767 * time.Minute

func advertisable(d time.Duration) time.Duration { return min(max(d, time.Second), maxAdvertised) }

// SetUserTimeout changes how long data, or a window probe, may stay unanswered
// before the connection ends; 0 leaves that to the count of retransmissions
// (MUST-21). The peer's option does not change it from now on, and where the
// option is enabled the peer is told.
func (c *Conn) SetUserTimeout(now Time, d time.Duration) error {
	if d < 0 || d > maxTime {
		return fmt.Errorf("%w: UserTimeout %v is not between 0 and %v", ErrBadConfig, d, maxTime)
	}
	c.set(func(cfg *ConnConfig) {
		cfg.UserTimeout, cfg.TimeoutChangeable = d, On
		if d > 0 {
			cfg.AdvertisedTimeout, cfg.TimeoutChangeable = advertisable(d), Off
		}
	})
	c.stopTimer(TimerUser)
	c.watchPatience(now)
	c.tellTimeout()
	return nil
}

// watchPatience arms the timer of the user timeout while something is
// unanswered. Like the keep-alive timer it is moved only when it fires.
func (c *Conn) watchPatience(now Time) {
	waiting := !c.snd.sent.empty() || c.unanswered > 0
	if c.cfg.UserTimeout > 0 && c.timers[TimerUser] == 0 && waiting && c.state.Synchronized() {
		c.setTimer(TimerUser, max(now, c.progressAt.Add(c.cfg.UserTimeout)))
	}
}

// userTimedOut is the timer's end: of the connect timeout before ESTABLISHED,
// and of the user timeout after it.
func (c *Conn) userTimedOut(now Time) {
	switch {
	case !c.state.Synchronized():
		c.giveUp("the connect timeout passed")
	case c.snd.sent.empty() && c.unanswered == 0: // nothing waits for an answer
	case now.Sub(c.progressAt) < c.cfg.UserTimeout:
		c.watchPatience(now)
	default:
		c.giveUp("the user timeout passed, RFC 9293 section 3.9.1.8")
	}
}

// tellTimeout has the next segment carry our option: "SHOULD include one in the
// next possible outgoing segment whenever it starts using a new user timeout"
// RFC 5482 section 3. It does not ask for a segment of its own.
func (c *Conn) tellTimeout() { c.tellUTO = c.cfg.UserTimeoutOption == On }

// addTimeout puts the option into o if it is due and returns its length.
func (c *Conn) addTimeout(o *segment.Options) int {
	if !c.tellUTO {
		return 0
	}
	o.SetUserTimeout(int(c.cfg.AdvertisedTimeout / time.Second))
	return 4
}

// receiveTimeout heeds the peer's option (RFC 5482 section 3.1).
func (c *Conn) receiveTimeout(now Time, o *segment.Options) {
	seconds, ok := o.UserTimeout()
	if !ok || seconds == 0 { // 0 is reserved: "MUST ignore it upon reception", section 3.4
		return
	}
	c.adoptTimeout(now, time.Duration(seconds)*time.Second)
}

// adoptTimeout computes USER_TIMEOUT = min(U_LIMIT, max(ADV_UTO, REMOTE_UTO,
// L_LIMIT)), where "the lower limit (L_LIMIT) MUST be larger than the current
// retransmission timeout". RFC 5482 section 3.1.
func (c *Conn) adoptTimeout(now Time, remote time.Duration) {
	if c.cfg.UserTimeoutOption != On || remote == 0 {
		return
	}
	if c.peer.timeout = int32(remote / time.Second); c.cfg.TimeoutChangeable != On {
		c.notify(TimeoutTold)
		return
	}
	lower := max(c.cfg.UserTimeoutMin, c.rtt.rto()+time.Second)
	upper := max(c.cfg.UserTimeoutMax, lower)
	adopted := min(upper, max(c.cfg.AdvertisedTimeout, remote, lower))
	c.set(func(cfg *ConnConfig) { cfg.UserTimeout = adopted })
	c.notify(TimeoutTold)
	c.watchPatience(now)
}

// keepAliveIdle is how long silence may last: "if a connection that enables
// keep-alives is also using the TCP User Timeout Option, then the keep-alive
// timer MUST be set to a value larger than that of the adopted USER TIMEOUT"
// RFC 5482 section 4.2.
func (c *Conn) keepAliveIdle() time.Duration {
	if c.cfg.UserTimeoutOption == On && c.cfg.UserTimeout > 0 {
		return max(c.cfg.KeepAliveIdle, c.cfg.UserTimeout+time.Second)
	}
	return c.cfg.KeepAliveIdle
}
