package engine

import "time"

// corkCeiling is how long a cork holds back what does not fill a segment, as
// on Linux.
const corkCeiling = 200 * time.Millisecond

// SetCork keeps back, while on, what does not fill a segment: for a FIN, for
// more data, or until 200 ms are over. Without it all leaves that may.
func (c *Conn) SetCork(on bool) {
	c.set(func(cfg *ConnConfig) { cfg.Cork = on })
	c.uncorked = false
	c.stopTimer(TimerHold)
	c.stack.wake(c)
}

// corked reports whether n octets, the last that are buffered, wait for more to
// fill a segment of room octets. A peer whose whole window is smaller than a
// segment will never see a full one, so nothing waits for that.
func (c *Conn) corked(now Time, n, room int) bool {
	if !c.cfg.Cork || c.uncorked || n >= min(room, c.snd.wnd) {
		return false
	}
	if c.timers[TimerHold] == 0 {
		c.setTimer(TimerHold, now.Add(corkCeiling))
	}
	return true
}

// corkAgain notes that new data has left: the next small piece waits anew.
func (c *Conn) corkAgain() {
	c.uncorked = false
	c.stopTimer(TimerHold)
}
