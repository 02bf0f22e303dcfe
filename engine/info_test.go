package engine

import (
	"testing"
	"time"
)

func accounted(c *ConnConfig) { c.Accounts = On }

func TestInfoOfLossAndPatience(t *testing.T) {
	k := established(t, plain(accounted))
	if i := k.c.Info(k.now); i.Recovery != RecoveryOpen || i.Unacked != 0 || i.Accounts.LastDataOut != -1 || i.Accounts.LastDataIn != -1 {
		t.Errorf("at the beginning: %+v", i)
	}
	k.sendSegments(6)
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:2001>")
	if i := k.c.Info(k.now); i.Recovery != RecoveryDisorder || i.Unacked != 6 || i.Sacked != 1 || i.Lost != 0 {
		t.Errorf("one report: %s, %d outstanding, %d reported", i.Recovery, i.Unacked, i.Sacked)
	}
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:4001>")
	k.want("the hole", ". 1:1001(1000) ack 1")
	if i := k.c.Info(k.now); i.Recovery != RecoveryFast || !i.InRecovery || i.Sacked != 3 || i.Lost != 1 || i.Resent != 1 ||
		i.Stats.Retransmits != 1 || i.Accounts.BytesResent != 1000 {
		t.Errorf("in recovery: %+v", i)
	}
	for i := range 3 {
		k.advance(k.stack.Deadline().Sub(k.now))
		for k.stack.Transmit(k.now, &k.seg) {
		}
		in := k.c.Info(k.now)
		if in.Recovery != RecoveryLoss || in.Retries != i+1 || in.Backoff != i+1 || in.Vars.Cwnd != 1000 {
			t.Errorf("timeout %d: %s, %d retries, %d doublings, window %d", i+1, in.Recovery, in.Retries, in.Backoff, in.Vars.Cwnd)
		}
	}
	k.in(". 1:1(0) ack 6001 win 65535")
	if i := k.c.Info(k.now); i.Recovery != RecoveryOpen || i.Retries != 0 || i.Unacked != 0 || i.Accounts.BytesAcked != 6000 {
		t.Errorf("all acknowledged: %+v", i)
	}
	for r, want := range []string{"open", "disorder", "cwr", "recovery", "loss", "unknown"} {
		if got := Recovery(r).String(); got != want {
			t.Errorf("state %d is called %s, want %s", r, got, want)
		}
	}
}

func TestInfoOfSizes(t *testing.T) {
	k := established(t, plain(func(c *ConnConfig) { accounted(c); c.UserTimeout, c.SendBuffer = time.Minute, 80_000 }))
	k.write(70_000)
	for k.stack.Transmit(k.now, &k.seg) {
	}
	k.in("P. 1:501(500) ack 1 win 65535")
	k.in("P. 801:901(100) ack 1 win 65535")
	k.advance(time.Second / 2)
	i := k.c.Info(k.now)
	if i.SendQueue != 70_000 || i.Unsent != 60_000 || i.ReceiveQueue != 500 || i.OutOfOrder != 1 || i.SendBuffer != 80_000 ||
		i.Accounts.ReceiveMSS != 500 || i.AdvertisedMSS != 1460 || i.UserTimeout != time.Minute || i.MTU != 1500 {
		t.Errorf("%+v", i)
	}
	if i.Accounts.LastDataIn != time.Second/2 || i.Accounts.LastDataOut != time.Second/2 || i.LastHeard != time.Second/2 {
		t.Errorf("data came %v ago, left %v ago, the peer was heard %v ago", i.Accounts.LastDataIn, i.Accounts.LastDataOut, i.LastHeard)
	}
	if s, a := i.Stats, i.Accounts; a.DataOut != 10 || a.DataIn != 2 || s.BytesIn != 600 || s.BytesOut != 10_000 {
		t.Errorf("%+v", s)
	}
}

// The times of tcpi_busy_time, tcpi_rwnd_limited and tcpi_sndbuf_limited.
func TestInfoOfWhatAConnectionWaitsFor(t *testing.T) {
	k := established(t, plain(func(c *ConnConfig) { accounted(c); c.SendBuffer = 5000 }))
	drain := func() {
		for k.stack.Transmit(k.now, &k.seg) {
		}
	}
	k.advance(time.Second) // idle
	k.write(4000)
	drain()
	k.advance(100 * time.Millisecond) // busy
	k.in(". 1:1(0) ack 4001 win 0")
	drain()
	k.advance(time.Second) // idle
	k.write(4000)
	drain()
	k.advance(50 * time.Millisecond) // the peer's window is closed
	k.in(". 1:1(0) ack 4001 win 65535")
	k.write(1000)
	drain()
	k.advance(20 * time.Millisecond) // all has left, and the buffer is full
	i := k.c.Info(k.now).Accounts
	if i.Busy != 170*time.Millisecond || i.WindowLimit != 50*time.Millisecond || i.BufferLimit != 20*time.Millisecond {
		t.Errorf("busy %v, by the window %v, by the buffer %v", i.Busy, i.WindowLimit, i.BufferLimit)
	}
	k.in(". 1:1(0) ack 9001 win 65535")
	drain()
	k.advance(time.Minute)
	if j := k.c.Info(k.now).Accounts; j.Busy != i.Busy || j.BufferLimit != i.BufferLimit {
		t.Errorf("idle time counts: busy %v, by the buffer %v", j.Busy, j.BufferLimit)
	}
	k.write(1000)
	drain()
	k.advance(time.Millisecond)
	k.c.Abort(k.now)
	k.advance(time.Hour)
	if j := k.c.Info(k.now).Accounts; j.Busy != i.Busy+time.Millisecond {
		t.Errorf("after the end: busy %v", j.Busy)
	}
}

func TestInfoOfTheDeliveryRate(t *testing.T) {
	k := established(t, plain(accounted))
	at := 1
	for range 200 {
		k.write(2000)
		for k.stack.Transmit(k.now, &k.seg) {
		}
		k.advance(10 * time.Millisecond)
		at += 2000
		k.in(". 1:1(0) ack " + num(at) + " win 65535")
	}
	if i := k.c.Info(k.now).Accounts; i.DeliveryRate < 150_000 || i.DeliveryRate > 250_000 {
		t.Errorf("2000 octets each 10 ms are told as %d octets a second", i.DeliveryRate)
	}
}
