package engine

// Advance fires every timer of the connection that is due.
func (c *Conn) Advance(now Time) {
	for k, due := range c.timers {
		if due == 0 || due > now || c.timers[k] != due {
			continue
		}
		kind := TimerKind(k)
		c.timers[k] = 0
		c.traceTimer(EventTimerFired, kind, 0)
		c.fire(now, kind)
	}
	c.firePace(now)
	c.stack.schedule(c)
	c.stack.wake(c)
}

func (c *Conn) fire(now Time, k TimerKind) {
	switch k {
	case TimerRTO:
		c.retransmissionTimeout(now)
	case TimerPersist:
		c.persistTimeout(now)
	case TimerKeepAlive:
		c.keepAliveTimeout(now)
	case TimerDelayedAck:
		c.ackDue("the delayed ACK's time is up, RFC 9293 section 3.8.6.3")
	case TimerTimeWait:
		c.finish(nil, "TIME-WAIT is over")
	case TimerFinWait2:
		c.finish(nil, "the peer sent no FIN in time")
	case TimerReorder:
		c.reorderTimeout(now)
	case TimerProbe:
		c.probeTimeout(now)
	case TimerUser:
		c.userTimedOut(now)
	case TimerHold:
		c.uncorked, c.ecn.held = true, false
	}
}

// setTimer arms a timer, or moves it.
func (c *Conn) setTimer(k TimerKind, due Time) {
	if c.timers[k] == due {
		return
	}
	c.timers[k] = due
	c.stack.schedule(c)
	c.traceTimer(EventTimerArmed, k, due)
}

func (c *Conn) stopTimer(k TimerKind) {
	if c.timers[k] == 0 {
		return
	}
	c.timers[k] = 0
	c.stack.schedule(c)
	c.traceTimer(EventTimerStopped, k, 0)
}

// restartRTO arms the retransmission timer anew, or stops it when nothing is
// outstanding (RFC 6298 sections 5.1 to 5.3).
func (c *Conn) restartRTO(now Time) {
	if c.snd.sent.empty() {
		c.stopTimer(TimerRTO)
		c.stopTimer(TimerProbe)
		return
	}
	c.setTimer(TimerRTO, now.Add(c.rtt.rto()))
}

// retransmissionTimeout is RFC 6298 section 5.4 to 5.7 with RFC 5681 section 3.1.
// The timer starts anew with the retransmission that it has made due.
func (c *Conn) retransmissionTimeout(now Time) {
	if c.snd.sent.empty() {
		return
	}
	c.incidents().Timeouts++
	if c.snd.wnd == 0 && c.state.Synchronized() && c.lastRecv >= c.snd.sent.ranges()[0].at {
		c.retries = 0 // the peer closed its window but lives (RFC 9293 section 3.8.6.1, MUST-37)
	}
	if c.outOfPatience(now) {
		c.giveUp(c.impatience())
		return
	}
	if c.forsaken() {
		c.forsake()
		return
	}
	c.retries++
	c.troubled()
	c.rtt.backoff()
	if c.state == SynSent || c.state == SynReceived {
		c.synNow = true
		return
	}
	if c.retries == 1 {
		c.armUndo(true)
		c.noteReduction()
		c.cc.OnRTO(now, c.snd.nxt.Sub(c.snd.una))
	}
	c.snd.sent.markAllLost()
	if c.loss.episode != nil {
		c.loss.episode.revive = revival{}
	}
	c.loss = lossState{timeout: true, recover: c.snd.nxt, reduced: now, urgently: true, rack: c.loss.rack, episode: c.loss.episode}
	c.mtuTimedOut(now)
	c.stopTimer(TimerReorder)
	c.stopTimer(TimerProbe)
}

// watchFlight starts the retransmission timer where a segment is outstanding and
// nothing is timed (RFC 6298 section 5.1). That is so after a timeout whose
// retransmission, which starts the timer, became needless before it left.
func (c *Conn) watchFlight(now Time) {
	if c.timers[TimerRTO] == 0 && c.timers[TimerProbe] == 0 && c.timers[TimerReorder] == 0 && !c.snd.sent.empty() {
		c.restartRTO(now)
	}
}

// outOfPatience is R2 of RFC 9293 section 3.8.3: as a count of
// retransmissions, or as a time where the application set one (RFC 5482).
func (c *Conn) outOfPatience(now Time) bool {
	if c.state == SynSent || c.state == SynReceived {
		return c.retries >= c.cfg.SYNRetries
	}
	if c.cfg.UserTimeout > 0 {
		return now.Sub(c.progressAt) >= c.cfg.UserTimeout
	}
	return c.retries >= c.cfg.Retries
}

// impatience says which limit of outOfPatience was reached.
func (c *Conn) impatience() string {
	if c.state.Synchronized() && c.cfg.UserTimeout > 0 {
		return "no acknowledgement within the user timeout, RFC 9293 section 3.8.3"
	}
	return "no acknowledgement after the last retransmission, RFC 9293 section 3.8.3"
}

// giveUp ends the connection because the peer does not answer. A peer that may
// only be deaf for a while is told (RFC 9293 section 3.9.1, the ABORT in 3.8.3).
func (c *Conn) giveUp(why string) {
	err := ErrTimeout
	c.failedFastOpen(c.stack.now)
	if soft := c.softErr(); c.state == SynSent && soft != nil {
		err = soft
	}
	if c.state.Synchronized() {
		c.abort(err, why)
		return
	}
	c.finish(err, why)
}

// armPersist starts the wait for a window (RFC 9293 section 3.8.6.1): the first
// probe after one RTO, the next ones ever later (SHLD-29, SHLD-30).
func (c *Conn) armPersist(now Time) {
	if !c.snd.sent.empty() || c.timers[TimerPersist] != 0 || c.timers[TimerHold] != 0 || c.snd.wnd > 0 && c.paceDue() != 0 {
		return // it asks again when the hold is over
	}
	wait := min(c.rtt.rto()<<min(c.probes, 16), c.cfg.MaxRTO)
	c.setTimer(TimerPersist, now.Add(max(wait, c.rtt.rto())))
}

func (c *Conn) persistTimeout(now Time) {
	if c.unanswered > 0 && c.cfg.UserTimeout > 0 && now.Sub(c.progressAt) >= c.cfg.UserTimeout ||
		int(c.unanswered) >= c.cfg.Retries {
		c.giveUp("no answer to window probes, RFC 9293 section 3.8.6.1")
		return
	}
	if c.forsaken() {
		c.forsake()
		return
	}
	if c.unanswered == 0 {
		c.progressAt = now
	}
	c.probes++
	c.unanswered++
	c.probeNow = true
	c.watchPatience(now)
}

// touchKeepAlive starts the idle time anew (RFC 9293 section 3.8.4). The timer
// is moved only when it fires, so that a busy connection does not pay for it.
func (c *Conn) touchKeepAlive(now Time) {
	c.keepProbes = 0
	if c.cfg.KeepAliveIdle > 0 && c.timers[TimerKeepAlive] == 0 && c.state.Synchronized() && c.state != TimeWait {
		c.setTimer(TimerKeepAlive, now.Add(c.keepAliveIdle()))
	}
}

// keepAliveTimeout probes an idle peer, and gives up only after several
// unanswered probes (MUST-29). With data outstanding it leaves the judgement to
// the retransmission timer (MUST-26).
func (c *Conn) keepAliveTimeout(now Time) {
	idle := c.lastRecv
	if c.snd.lastData > idle {
		idle = c.snd.lastData
	}
	switch due := idle.Add(c.keepAliveIdle()); {
	case c.keepProbes == 0 && now < due:
		c.setTimer(TimerKeepAlive, due)
		return
	case !c.snd.sent.empty() || c.snd.buf.len() > 0:
		c.setTimer(TimerKeepAlive, now.Add(c.keepAliveIdle()))
		return
	case int(c.keepProbes) >= c.cfg.KeepAliveCount:
		c.giveUp("no answer to keep-alives, RFC 9293 section 3.8.4")
		return
	}
	c.keepProbes++
	c.keepNow = true
	c.setTimer(TimerKeepAlive, now.Add(c.cfg.KeepAliveInterval))
}

// accepted hands a connection of a passive open to its listener.
func (c *Conn) accepted() {
	if c.listener != nil {
		c.listener.push(c)
	}
}
