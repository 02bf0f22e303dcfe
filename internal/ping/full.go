package ping

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"sync"
	"time"

	"rawtcp/engine"
	"rawtcp/segment"
)

// A Full makes whole connections: each probe is a handshake by the engine,
// followed by an orderly close. What is measured is the same as by a Pinger.
type Full struct {
	runner
	host    *engine.Host
	conn    engine.ConnConfig
	running sync.WaitGroup
	ctx     context.Context // of the dials
}

// NewFull returns a Full; Run starts it. All is as for NewPinger; conn are the
// settings of the connections.
func NewFull(link Link, cfg Config, conn engine.ConnConfig, tracer engine.Tracer, taps ...*Tap) *Full {
	f := &Full{conn: conn}
	f.init(&sharedLink{Link: link}, cfg, tracer, taps)
	f.conn.SYNRetries = -1                   // one SYN a probe
	f.conn.ConnectTimeout = cfg.Wait         // the Prober calls it lost then
	f.conn.InitialRTO = cfg.Wait + time.Hour // the connect timeout comes first
	f.open = func(syn segment.Segment) {
		f.running.Go(func() { f.watched(func() { f.attempt(syn) }) })
	}
	return f
}

// A sharedLink lets the engine and the runner's RSTs take turns.
type sharedLink struct {
	Link
	mu sync.Mutex
}

// WriteBatch implements engine.Link.
func (l *sharedLink) WriteBatch(pkts [][]byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Link.WriteBatch(pkts)
}

// Run is that of a Pinger. Connections that are still open when it ends are
// closed, and after a moment reset.
func (f *Full) Run(stop, kill <-chan struct{}) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f.ctx = ctx
	f.mu.Lock() // the tracer must not see the host before it is there
	f.host = engine.NewHost(engine.HostConfig{Link: f.link, Tracer: fullTracer{f}, OnPanic: f.onPanic})
	f.mu.Unlock()
	err := f.loop(stop, kill, nil)
	if err == nil {
		f.settle(kill)
	}
	cancel()
	_ = f.host.Close()
	f.running.Wait()
	return err
}

// settle waits until every connection is closed, or until kill is.
func (f *Full) settle(kill <-chan struct{}) {
	done := make(chan struct{})
	go func() {
		f.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-kill:
	case <-time.After(closePatience):
	}
}

// closePatience is how long a peer may take to close after we have.
const closePatience = 2 * time.Second

// attempt makes one connection and closes it.
func (f *Full) attempt(syn segment.Segment) {
	cfg := f.conn
	cfg.ISN = &syn.Seq
	f.mu.Lock()
	remote := f.prober.byPeer[peer{syn.Src.Addr(), syn.Dst}].Remote
	local := f.prober.byPeer[peer{syn.Src.Addr(), syn.Dst}].Local
	f.mu.Unlock()
	nc, err := f.host.Dial(f.ctx, remote, engine.DialConfig{
		Local: netip.AddrPortFrom(local, syn.Src.Port()), Conn: cfg,
	})
	if err != nil {
		f.failed(&syn, err)
		return
	}
	if nc.CloseWrite() == nil && nc.SetReadDeadline(time.Now().Add(closePatience)) == nil {
		if _, err := io.Copy(io.Discard, nc); err == nil { // up to the peer's FIN
			_ = nc.Close()
			<-nc.Done()
			return
		}
	}
	_ = nc.Abort()
}

// failed tells the Prober why there is no connection, unless the network has.
func (f *Full) failed(syn *segment.Segment, err error) {
	for _, known := range []error{engine.ErrRefused, engine.ErrTimeout, engine.ErrUnreachable, context.Canceled} {
		if errors.Is(err, known) {
			return
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.prober.SendFailed(f.now(), syn, err)
	f.rouse()
}

// A fullTracer shows the Prober what the engine hears.
type fullTracer struct{ *Full }

// Trace implements engine.Tracer.
func (f fullTracer) Trace(e *engine.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tracer != nil {
		f.tracer.Trace(e)
	}
	switch e.Kind {
	case engine.EventSegmentIn:
		f.takeStamps()
		f.prober.Overhear(f.now(), e.Segment, e.Stamp)
	case engine.EventDrop:
		// The engine answers nothing that belongs to no connection of its own: a
		// late SYN-ACK is ours to end.
		if e.Segment == nil {
			return
		}
		f.takeStamps()
		f.prober.Deliver(f.now(), e.Segment, e.Stamp)
	case engine.EventICMP:
		f.prober.DeliverICMP(f.now(), e.ICMP)
	default:
		return
	}
	f.rouse()
}
