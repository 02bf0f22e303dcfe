package engine

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"
)

// A shard is one of the stacks of a Host, with the lock that Stack and Conn do
// without: all connections between two sockets are the affair of one shard (see
// Host.shardOf), so that what happens on them needs nothing of another. A host
// has as many as there are processors to keep busy.
//
// Whoever holds the lock also sends what the stack has to say before letting go,
// so that neither Write nor an ACK waits for another goroutine to wake up.
type shard struct {
	host *Host
	link Link // for WriteBatch and Route

	mu           sync.Mutex
	stack        *Stack
	out          outbox
	timer        *time.Timer
	armed        Time       // what timer is set to, zero if it is not
	deadlines    timerQueue // of Read and Write calls
	excused      bool       // the timer was late and got its grace
	spareWaiting []*waiting
	leaving      []farewell // claims to release when the lock is given up
	draining     int        // calls of Shutdown that wait
	progress     sync.Cond  // something happened, for them
	stirs        uint64     // counts calls of rouse
	awaited      bool       // somebody was waiting for what happened
	served       uint64     // batches that were delivered, of those that issued counts
	turn         sync.Cond  // served has moved
	refusing     bool       // Shutdown or Close was called
	isClosed     bool
	failure      error // why the link ended, if not by Close

	// Who reads the link (turnstile) guards what follows.
	issued uint64 // batches with packets for this shard
	latest uint64 // the number of the last such batch
}

// now is the stack's clock.
func (s *shard) now() Time { return s.host.now() }

// wait fires the stack's timers, in a goroutine of its own.
func (s *shard) wait() {
	for {
		select {
		case <-s.host.closing:
			return
		case <-s.timer.C:
			s.mu.Lock()
			s.armed = 0
			now := s.now()
			s.deadlines.fire(now)
			if !s.late(now) {
				s.stack.Advance(now)
			}
			s.unlock()
		}
	}
}

// A timer that fires later than tardy means that the process was held up, by a
// busy machine or a SIGSTOP. What it waited for may be in the link's queue by
// now, so the reader gets grace to bring it before a retransmission is wasted.
const (
	tardy = 2 * time.Millisecond
	grace = time.Millisecond
)

// late reports, once for each time, whether the stack's deadline is long past.
func (s *shard) late(now Time) bool {
	due := s.stack.Deadline()
	if s.excused || due.IsZero() || now.Sub(due) < tardy {
		s.excused = false
		return false
	}
	s.excused = true
	s.armed = now.Add(grace)
	s.timer.Reset(grace)
	return true
}

// arm sets the timer to the next deadline. A timer that is set to an earlier
// moment stays: a deadline moves away with every ACK, and to follow it each time
// would cost more than to look once too often.
func (s *shard) arm(now Time) {
	due := earlier(s.stack.Deadline(), earlier(s.deadlines.due(), s.out.retry))
	if due.IsZero() || !s.armed.IsZero() && (s.armed <= due || s.excused) {
		return
	}
	s.armed = due
	s.timer.Reset(max(due.Sub(now), 0))
}

// A farewell is what remains to be done, without the lock, for a connection or
// a listener that has come to its end.
type farewell struct {
	claim *claim
	conn  *NetConn // nil for a listener
}

// leave has a claim released, and conn told after that, when the lock is given
// up.
func (s *shard) leave(claim *claim, conn *NetConn) {
	s.leaving = append(s.leaving, farewell{claim, conn})
}

// unlock sends what the stack has to say, gives up the lock and releases the
// claims of what has come to its end.
func (s *shard) unlock() {
	leaving := s.letGo()
	for _, f := range leaving {
		f.claim.release()
	}
	if len(leaving) > 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, f := range leaving {
			if f.conn != nil {
				f.conn.leftPort()
			}
		}
	}
}

// letGo sends, gives up the lock, and returns whose claims are to be released.
// Should the core panic, the lock is free all the same, so that what runs on the
// way out of a panic does not wait for it for ever.
func (s *shard) letGo() (leaving []farewell) {
	defer s.mu.Unlock()
	s.flush()
	if s.mayRelease() {
		leaving, s.leaving = s.leaving, nil
	}
	if s.draining > 0 {
		s.progress.Broadcast()
	}
	return leaving
}

// mayRelease: a claim outlives the last segment, for without it the kernel
// might answer before that segment is out.
func (s *shard) mayRelease() bool { return len(s.leaving) > 0 && s.out.isEmpty() }

// sleep waits for cond, whose lock is the host's. What there is to send and to
// release comes first, so that it may return at once: call it in a loop.
func (s *shard) sleep(cond *sync.Cond) {
	stirs := s.stirs
	s.flush()
	switch {
	case s.stirs != stirs: // flush itself brought what the caller waits for
	case s.mayRelease():
		s.unlock()
		s.mu.Lock()
	default:
		cond.Wait()
	}
}

// rouse wakes those who sleep.
func (s *shard) rouse(cond *sync.Cond) {
	s.stirs++
	cond.Broadcast()
}

func (s *shard) traceLocal(now Time, local, remote netip.AddrPort, reason string) {
	if s.stack.wants(EventLocal) {
		s.host.tracer.Trace(&Event{Kind: EventLocal, At: now, Local: local, Remote: remote, Reason: reason})
	}
}

// note traces what is about no connection.
func (s *shard) note(reason string) {
	s.mu.Lock()
	defer s.unlock()
	s.traceLocal(s.now(), netip.AddrPort{}, netip.AddrPort{}, reason)
}

// fail ends every connection without a word: there is no link to say it on.
func (s *shard) fail(err error) {
	s.mu.Lock()
	defer s.unlock()
	s.refusing, s.failure = true, err
	for _, c := range s.sortedConns() {
		c.conn.Abandon(s.now())
		c.wake()
	}
}

// refusal is the error of a host that opens nothing any more.
func (s *shard) refusal() error {
	switch {
	case s.failure != nil:
		return s.failure
	case s.refusing:
		return net.ErrClosed
	}
	return nil
}

// listen starts the part of a NetListener that is this shard's.
func (s *shard) listen(common *listenerCommons, local netip.AddrPort, cfg ListenConfig, onReady func()) (*Listener, error) {
	s.mu.Lock()
	defer s.unlock()
	if err := s.refusal(); err != nil {
		return nil, err
	}
	l, err := s.stack.listenWith(common, withoutZone(local), s.host.mtuTo, cfg)
	if err != nil {
		return nil, err
	}
	l.OnReady = onReady
	return l, nil
}

// refuse makes the shard open nothing any more, and sends a FIN on every connection.
func (s *shard) refuse() {
	s.mu.Lock()
	defer s.unlock()
	s.refusing = true
	for _, c := range s.sortedConns() {
		c.close()
	}
}

// settle waits until each connection is CLOSED or in TIME-WAIT, or ctx ends.
func (s *shard) settle(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.progress.Broadcast()
	})
	defer stop()
	s.mu.Lock()
	defer s.unlock()
	s.draining++
	defer func() { s.draining-- }()
	for s.anyUnsettled() {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.sleep(&s.progress)
	}
	return nil
}

func (s *shard) anyUnsettled() bool {
	unsettled := func(c *Conn) bool { return c.face != nil && c.state != TimeWait }
	for _, c := range s.stack.conns.v4 {
		if unsettled(c) {
			return true
		}
	}
	for _, c := range s.stack.conns.v6 {
		if unsettled(c) {
			return true
		}
	}
	return false
}

// close aborts every connection, for good.
func (s *shard) close() {
	s.mu.Lock()
	defer s.unlock()
	s.refusing, s.isClosed = true, true
	s.out.retry = 0 // what a full link did not take gets one more chance
	s.abortAll()
}

func (s *shard) abort() {
	s.mu.Lock()
	defer s.unlock()
	s.abortAll()
}

func (s *shard) abortAll() {
	for _, c := range s.sortedConns() {
		c.conn.Abort(s.now())
		c.wake()
	}
}

// sortedConns lists the connections in the order they were made, so that what
// happens to all of them happens in the same order in every run.
func (s *shard) sortedConns() []*NetConn {
	var list []*NetConn
	for _, c := range s.stack.conns.inOrder() {
		if c.face != nil {
			list = append(list, c.face)
		}
	}
	return list
}
