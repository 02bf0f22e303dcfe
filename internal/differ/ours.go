package differ

import (
	"net/netip"
	"time"

	"rawtcp/engine"
	"rawtcp/segment"
)

// Ours is rawtcp's engine in virtual time. It acknowledges at once, so that
// what it owes shows in the turn that asked for it.
type Ours struct {
	stack *engine.Stack
	now   engine.Time
	l     *engine.Listener
	conn  *engine.Conn
	state engine.State
}

// OurAddrs are the addresses of every subject but the kernel.
var (
	Our4 = netip.MustParseAddr("198.18.0.2")
	Our6 = netip.MustParseAddr("2001:db8::2")
)

// LocalAddr returns the address that a subject has towards a peer.
func LocalAddr(peer netip.AddrPort) netip.Addr {
	if peer.Addr().Is4() {
		return Our4
	}
	return Our6
}

// Begin implements Subject.
func (o *Ours) Begin(active bool, peer netip.AddrPort) (netip.AddrPort, error) {
	o.stack = engine.NewStack(engine.StackConfig{Tracer: o, Conn: engine.ConnConfig{
		NoDelay: true, DelayedAck: -1, LossProbe: engine.Off, ChallengeACK: time.Nanosecond}})
	o.now = 1
	o.l, o.conn, o.state = nil, nil, engine.Listen
	local := netip.AddrPortFrom(LocalAddr(peer), 4000)
	var err error
	if active {
		o.conn, err = o.stack.Dial(o.now, local, peer, 1500, engine.ConnConfig{})
	} else {
		o.l, err = o.stack.Listen(o.now, local, func(netip.Addr) int { return 1500 }, engine.ListenConfig{})
	}
	return local, err
}

// Deliver implements Subject.
func (o *Ours) Deliver(pkt []byte) error {
	o.now = o.now.Add(time.Millisecond)
	o.stack.Deliver(o.now, pkt, 0)
	return nil
}

// Sent implements Subject.
func (o *Ours) Sent() (pkts [][]byte, err error) {
	var s segment.Segment
	for o.stack.Transmit(o.now, &s) {
		pkt, err := s.Append(nil)
		if err != nil {
			return nil, err
		}
		pkts = append(pkts, pkt)
	}
	return pkts, nil
}

// user returns the connection the user has, if there is one.
func (o *Ours) user() *engine.Conn {
	if o.conn == nil && o.l != nil {
		o.conn = o.l.Accept()
	}
	return o.conn
}

// Write implements Subject.
func (o *Ours) Write(p []byte) {
	if c := o.user(); c != nil && c.State().Synchronized() {
		_, _ = c.Write(o.now, p) // an error of the connection is no news
	}
}

// CloseWrite implements Subject.
func (o *Ours) CloseWrite() {
	if c := o.user(); c != nil && c.State().Synchronized() {
		c.CloseWrite(o.now)
	}
}

// Read implements Subject.
func (o *Ours) Read() (data []byte, end End) {
	c := o.user()
	if c == nil {
		return nil, None
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(o.now, buf)
		data = append(data, buf[:n]...)
		switch {
		case err != nil && c.Err() == nil:
			return data, EOF
		case err != nil:
			return data, Failed
		case n == 0:
			return data, Open
		}
	}
}

// State returns the state of the latest connection, for the record.
func (o *Ours) State() string { return o.state.String() }

// Trace implements engine.Tracer.
func (o *Ours) Trace(e *engine.Event) {
	if e.Kind == engine.EventState {
		o.state = e.To
	}
}

// Finish implements Subject.
func (o *Ours) Finish() error { return nil }
