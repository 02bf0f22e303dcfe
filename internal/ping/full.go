package ping

import (
	"context"
	"math"
	"net/netip"
	"sync"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/handshakes"
	"rawtcp/segment"
)

// A Full makes whole connections: each probe is a handshake by the engine,
// followed by an orderly close. What is measured is the same as by a Pinger.
type Full struct {
	runner
	driver *handshakes.Driver
	conn   engine.ConnConfig
}

// NewFull returns a Full; Run starts it. All is as for NewPinger; conn are the
// settings of the connections.
func NewFull(link Link, cfg Config, conn engine.ConnConfig, tracer engine.Tracer, taps ...*Tap) *Full {
	f := &Full{conn: conn}
	f.init(&sharedLink{Link: link}, cfg, tracer, taps)
	f.conn.SYNRetries = -1                   // one SYN a probe
	f.conn.ConnectTimeout = cfg.Wait         // the Prober calls it lost then
	f.conn.InitialRTO = cfg.Wait + time.Hour // the connect timeout comes first
	f.open = f.attempt
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

// closePatience is how long a peer may take to close after we have.
const closePatience = 2 * time.Second

// Run is that of a Pinger. Connections that are still open when it ends are
// closed, and after a moment reset.
func (f *Full) Run(stop, kill <-chan struct{}) error {
	f.mu.Lock() // the tracer must not see the driver before it is there
	f.driver = handshakes.New(handshakes.Config{
		Link: f.link, Tracer: fullTracer{f}, Conn: f.conn, ISN: f.isn, OnPanic: f.onPanic,
		Parallel: math.MaxInt, Patience: closePatience, // how many there are at once is the Prober's to say
	})
	f.mu.Unlock()
	err := f.loop(stop, kill, nil)
	if err == nil {
		f.settle(kill)
	}
	_ = f.driver.Close()
	return err
}

// settle waits until every connection is closed, or until kill is.
func (f *Full) settle(kill <-chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	done := make(chan struct{})
	go func() {
		select {
		case <-kill:
			cancel()
		case <-done:
		}
	}()
	_ = f.driver.Wait(ctx)
	close(done)
}

// attempt makes a connection in place of sending a SYN. It is called without the
// lock.
func (f *Full) attempt(syn *segment.Segment) {
	f.mu.Lock()
	t := f.prober.targetOf(syn.Src.Addr(), syn.Dst).Target
	f.mu.Unlock()
	_, mtu, err := f.link.Route(t.Remote.Addr(), t.Local)
	if err == nil {
		to := handshakes.Target{Local: t.Local, Remote: t.Remote, MTU: mtu}
		err = f.driver.OpenFrom(netip.AddrPortFrom(t.Local, syn.Src.Port()), to)
	}
	if err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.prober.SendFailed(f.now(), syn, err)
		f.rouse()
	}
}

// isn is the Prober's choice: it wants to know the answers.
func (f *Full) isn(_ engine.Time, local, remote netip.AddrPort) segment.Seq {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w := f.prober.find(local, remote); w != nil {
		return w.isn
	}
	return f.prober.isn()
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
