package handshakes

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"rawtcp/engine"
	"rawtcp/segment"
)

// The sizes of batches. A received packet may be a merged one of up to 64 KiB.
const (
	batch      = 64
	readRoom   = 65535 + segment.IPv6HeaderLen
	packetRoom = 128
)

// readStride is the distance of two read buffers, octets: a few cache lines more
// than a multiple of a page, so that the headers in them do not contend for the
// same lines of the processor's cache.
const readStride = 65536 + 192

// read delivers what the link receives, a batch at a time, until the link ends.
func (d *Driver) read() {
	bufs, sizes, stamps := make([][]byte, batch), make([]int, batch), make([]int64, batch)
	room := make([]byte, batch*readStride)
	for i := range bufs {
		bufs[i] = room[i*readStride:][:readRoom:readRoom]
	}
	for {
		n, err := d.cfg.Link.ReadBatch(bufs, sizes, stamps)
		if !d.received(bufs[:n], sizes, stamps, err) {
			return
		}
	}
}

// received takes a batch and reports whether the link can be read again.
func (d *Driver) received(bufs [][]byte, sizes []int, stamps []int64, err error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	for i, buf := range bufs {
		d.stack.Deliver(now, buf[:sizes[i]], stamps[i])
	}
	goOn := err == nil || d.readError(now, err)
	if due := d.due(); !due.IsZero() && due <= now { // the other goroutine need not wake up for it
		d.advance(now)
	}
	d.work(now)
	return goOn
}

// readError takes news from the link and reports whether it can be read again.
func (d *Driver) readError(now engine.Time, err error) bool {
	var icmp engine.ICMPError
	var passing interface{ Temporary() bool }
	switch {
	case errors.As(err, &icmp):
		var m engine.ICMP
		m.From, m.Type, m.Code, m.MTU, m.Quoted = icmp.ICMP()
		d.stack.DeliverICMP(now, m)
		return true
	case errors.Is(err, net.ErrClosed):
		return false
	case errors.As(err, &passing) && passing.Temporary():
		d.traceLocal(now, netip.AddrPort{}, netip.AddrPort{}, fmt.Sprintf("receive error: %v", err))
		return true
	}
	d.fail(now, linkFailed(err))
	return false
}

// wait fires the timers.
func (d *Driver) wait() {
	for {
		select {
		case <-d.closed:
			return
		case <-d.timer.C:
			d.fire()
		}
	}
}

// grace is what the reader gets, once, to bring what may be in the link's queue,
// where a timer is late by more than that: the process was held up.
const grace = 2 * time.Millisecond

func (d *Driver) fire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	due := d.due()
	d.excused = !d.excused && !due.IsZero() && now.Sub(due) >= grace
	if d.armed = 0; d.excused {
		d.armed = now.Add(grace)
		d.timer.Reset(grace)
		return
	}
	d.advance(now)
	d.work(now)
}

// advance fires the timers that are due.
func (d *Driver) advance(now engine.Time) {
	d.stack.Advance(now)
	d.losePatience(now)
}

// due is when the next timer is due, zero if none is.
func (d *Driver) due() engine.Time {
	due := d.stack.Deadline()
	if w, ok := d.patience.first(); ok && (due.IsZero() || w.due < due) {
		due = w.due
	}
	return due
}

// leastWait is how far ahead the timer is set at least: of many connections some
// timer is always due, and as long as packets come, the reader fires them anyway.
const leastWait = time.Millisecond

// arm sets the timer to the next moment. One that is set to an earlier one stays.
func (d *Driver) arm() {
	due := d.due()
	if due.IsZero() || !d.armed.IsZero() && (d.armed <= due || d.excused) || d.isClosed {
		return
	}
	now := d.now()
	d.armed = max(due, now.Add(leastWait))
	d.timer.Reset(d.armed.Sub(now))
}

// work does all there is to do at a time: it looks at the connections with news,
// opens others in their place, and sends what all of them have to say. The ACK
// that completes a handshake is sent before the FIN is asked for.
func (d *Driver) work(now engine.Time) {
	for {
		d.look(now)
		d.fillUp(now)
		d.send(now)
		d.retire()
		if len(d.closing) == 0 && len(d.news) == 0 {
			break
		}
		d.hangUp(now)
	}
	d.flush(now)
	d.arm()
	if d.underway == 0 {
		d.idle.Broadcast()
	}
}

// fillUp opens connections while there is room for them.
func (d *Driver) fillUp(now engine.Time) {
	for tries := len(d.orders); tries > 0 && len(d.orders) > 0 && d.hasRoom(); {
		t := d.orders[0]
		port, err := t.take(d.stack)
		if err == nil {
			if err = d.open(now, port, t, true); errors.Is(err, engine.ErrInUse) { // by OpenFrom
				t.rested.push(port)
			}
		}
		switch {
		case err == nil:
			tries = len(d.orders)
			t.orders--
		case errors.Is(err, errNoPort), errors.Is(err, engine.ErrInUse):
			tries-- // the end of a TIME-WAIT brings us here again
		default:
			d.fail(now, err)
			return
		}
		d.rotate(t)
	}
}

// maxBehind bounds what CloseBehind leaves to the peers.
const maxBehind = 4096

// hasRoom reports whether one more connection may be opened.
func (d *Driver) hasRoom() bool {
	if d.cfg.CloseBehind {
		return d.opening < d.cfg.Parallel && d.underway < maxBehind
	}
	return d.underway < d.cfg.Parallel
}

// rotate lets the next target have its turn.
func (d *Driver) rotate(t *target) {
	n := copy(d.orders, d.orders[1:])
	d.orders = d.orders[:n]
	if t.orders > 0 {
		d.orders = append(d.orders, t)
	}
}

// An outbox holds packets between Append and WriteBatch.
type outbox struct {
	seg  segment.Segment
	bufs [batch][]byte
	n    int
}

// send makes packets of what the stack has to say; those of full batches are
// written.
func (d *Driver) send(now engine.Time) {
	o := &d.out
	for d.stack.Transmit(now, &o.seg) {
		if o.bufs[o.n] == nil {
			o.bufs[o.n] = make([]byte, 0, packetRoom)
		}
		pkt, err := o.seg.Append(o.bufs[o.n][:0])
		if err != nil {
			d.traceLocal(now, netip.AddrPort{}, netip.AddrPort{}, fmt.Sprintf("cannot build segment: %v", err))
			continue
		}
		o.bufs[o.n] = pkt
		if o.n++; o.n == batch {
			d.flush(now)
		}
	}
}

// flush hands the packets to the link. One that it does not take is lost, as it
// could be in the network, and retransmission decides.
func (d *Driver) flush(now engine.Time) {
	o := &d.out
	for first := 0; first < o.n; {
		n, err := d.cfg.Link.WriteBatch(o.bufs[first:o.n])
		first += max(n, 0)
		if err != nil {
			d.unsent(now, o.bufs[first], err)
			first++
		}
	}
	o.n = 0
}

// unsent reports a packet that the link did not take.
func (d *Driver) unsent(now engine.Time, pkt []byte, err error) {
	d.stats.Unsent++
	var seg segment.Segment
	if seg.Parse(pkt) != nil {
		seg = segment.Segment{}
	}
	reason := fmt.Sprintf("send error: %v", err)
	if errors.Is(err, syscall.EPERM) {
		reason += ": a firewall rule of this host drops our segments; look at nft list ruleset and iptables -S OUTPUT"
	}
	d.traceLocal(now, seg.Src, seg.Dst, reason)
}
