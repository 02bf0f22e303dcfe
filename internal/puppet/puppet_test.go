package puppet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/puppet"
	"rawtcp/internal/simnet"
	"rawtcp/segment"
)

const text = segment.ACK | segment.PSH

func TestConversation(t *testing.T) {
	inWorld(t, puppet.Config{}, func(w *world) {
		s := w.stage(1)
		p := w.open(s)
		if rtt := p.RTT(); rtt != 2*time.Millisecond {
			w.Errorf("the round trip is %v", rtt)
		}
		if life := p.Deliver([]byte("hello")); life != puppet.Alive {
			w.Errorf("the connection is %v", life)
		}
		if string(p.Received()) != "hello" {
			p.Await(time.Second, func(*puppet.Arrival) bool { return string(p.Received()) == "hello" })
		}
		if string(p.Received()) != "hello" {
			w.Errorf("received %q", p.Received())
		}
		p.Send(segment.ACK)
		p.Send(segment.FIN | segment.ACK)
		if p.Await(time.Second, puppet.FIN) == nil || !p.PeerClosed() {
			w.Error("the peer has not closed")
		}
		p.Send(segment.ACK)
		s.Close()
		for _, m := range w.left() {
			if m.seg.Flags.Has(segment.RST) {
				w.Error("a connection closed in order was reset")
			}
		}
		w.nothingLeft()
	})
}

// Whatever a stage has opened is gone when it is closed.
func TestTearDown(t *testing.T) {
	for name, leave := range map[string]func(*world, *puppet.Stage){
		"established":  func(w *world, s *puppet.Stage) { w.open(s) },
		"half-open":    func(w *world, s *puppet.Stage) { s.Puppet(w.target, puppet.Shape{}).Send(segment.SYN) },
		"nothing sent": func(w *world, s *puppet.Stage) { s.Puppet(w.target, puppet.Shape{}) },
		"after a provocation that was accepted": func(w *world, s *puppet.Stage) {
			p := w.open(s)
			p.Provoke(text, puppet.Text([]byte("abc"))) // SND.NXT stays, and the peer is beyond it
			p.Await(time.Second, puppet.Any)
		},
		"half-closed": func(w *world, s *puppet.Stage) {
			p := w.open(s)
			p.Send(segment.FIN | segment.ACK)
			p.Await(time.Second, puppet.FIN)
		},
		"reset by the peer": func(w *world, s *puppet.Stage) {
			p := s.Puppet(w.target, puppet.Shape{})
			p.Send(segment.ACK)
			p.Await(time.Second, puppet.RST)
		},
		"many": func(w *world, s *puppet.Stage) {
			for range 5 {
				w.open(s)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, puppet.Config{}, func(w *world) {
				s := w.stage(5)
				leave(w, s)
				synctest.Wait()
				s.Close()
				w.nothingLeft()
			})
		})
	}
}

// A row that is cancelled tears down all the same, and its goroutine may be ended.
func TestCancel(t *testing.T) {
	inWorld(t, puppet.Config{}, func(w *world) {
		ctx, cancel := context.WithCancelCause(w.Context())
		var aborted error
		s, err := w.board.Stage(ctx, puppet.StageConfig{Abort: func(err error) { aborted = err }})
		if err != nil {
			w.Fatal(err)
		}
		p := w.open(s)
		why := errors.New("enough")
		time.AfterFunc(time.Second, func() { cancel(why) })
		began := w.board.Now()
		if p.Await(time.Hour, puppet.Any) != nil || w.board.Now()-began > 2*time.Second {
			w.Error("the wait went on")
		}
		if !errors.Is(aborted, why) || !errors.Is(s.Err(), why) {
			w.Errorf("aborted for %v, %v", aborted, s.Err())
		}
		if sent := p.Send(segment.ACK); sent.Number != 0 {
			w.Error("a stage that has ended sends on")
		}
		if s.Puppet(w.target, puppet.Shape{}) != nil || p.Collect(time.Hour) != nil {
			w.Error("a stage that has ended goes on")
		}
		s.Close()
		w.nothingLeft()
	})
}

func TestLinkGone(t *testing.T) {
	inWorld(t, puppet.Config{}, func(w *world) {
		var aborted error
		s, err := w.board.Stage(w.Context(), puppet.StageConfig{Abort: func(err error) { aborted = err }})
		if err != nil {
			w.Fatal(err)
		}
		p := w.open(s)
		time.AfterFunc(time.Second, func() { _ = w.here.Close() })
		if p.Await(time.Hour, puppet.Any) != nil || !errors.Is(aborted, net.ErrClosed) {
			w.Errorf("the link is gone: %v", aborted)
		}
		s.Close()
	})
}

// What one puppet sends another does not hear.
func TestSideBySide(t *testing.T) {
	inWorld(t, puppet.Config{Rate: 1000, Conns: 20}, func(w *world) {
		done := make(chan error)
		const n = 20
		for i := range n {
			go func() {
				s, err := w.board.Stage(w.Context(), puppet.StageConfig{})
				if err != nil {
					done <- err
					return
				}
				defer s.Close()
				p := s.Puppet(w.target, puppet.Shape{})
				word := fmt.Appendf(nil, "this is %d", i)
				if p.Open() != puppet.Opened || p.Deliver(word) != puppet.Alive {
					done <- errors.New("no connection")
					return
				}
				p.Collect(time.Second)
				if !bytes.Equal(p.Received(), word) {
					err = fmt.Errorf("%q came back as %q", word, p.Received())
				}
				done <- err
			}()
		}
		for range n {
			if err := <-done; err != nil {
				w.Error(err)
			}
		}
		w.nothingLeft()
	})
}

// No more packets leave in any second than the rate says, whoever sends.
func TestPace(t *testing.T) {
	inWorld(t, puppet.Config{Conns: 3}, func(w *world) {
		done := make(chan bool)
		for range 3 {
			go func() {
				defer func() { done <- true }()
				s := w.stage(1)
				defer s.Close()
				p := w.open(s)
				for range 20 {
					p.Send(segment.ACK)
				}
				var shots []puppet.Shot
				for range 15 { // more than fit a second
					shots = append(shots, p.Segment(segment.ACK))
				}
				p.Volley(shots...)
			}()
		}
		for range 3 {
			<-done
		}
		if n := len(w.left()); n < 3*37 {
			w.Fatalf("%d packets left", n)
		}
		w.paced(10)
	})
}

// An answer goes before what others wait to send, and hides nothing that has come
// meanwhile. Places that are kept for answers are given back with the puppet.
func TestReply(t *testing.T) {
	const conns = 6
	inWorld(t, puppet.Config{Conns: conns}, func(w *world) {
		s := w.stage(1)
		p := w.open(s)
		p.OnCall(2)
		var others sync.WaitGroup
		for range conns - 1 {
			others.Go(func() {
				s := w.stage(1)
				defer s.Close()
				q := w.open(s)
				for range 10 {
					q.Send(segment.ACK)
				}
			})
		}
		time.Sleep(2500 * time.Millisecond)
		p.Send(text, puppet.Text([]byte("a"))) // and "a" comes back
		time.Sleep(time.Second)
		for range 10 {
			begun := w.board.Now()
			if sent := p.Reply(segment.ACK); sent.At != begun {
				w.Errorf("an answer waited for %v", sent.At-begun)
			}
			if p.Reply(segment.ACK).At != begun {
				w.Error("a second one waited")
			}
			time.Sleep(time.Second)
		}
		if p.Await(0, puppet.Data) == nil {
			w.Error("an answer has hidden what came before it")
		}
		s.Close()
		others.Wait()
		time.Sleep(time.Second)
		s = w.stage(1)
		defer s.Close()
		q, begun := s.Puppet(w.target, puppet.Shape{}), w.board.Now()
		for range 9 {
			q.Send(segment.ACK)
		}
		if w.board.Now() != begun {
			w.Error("places are kept for one who has left")
		}
		w.paced(10)
	})
}

// Stages wait for seats, and one that wants many is not starved.
func TestSeats(t *testing.T) {
	inWorld(t, puppet.Config{Conns: 2}, func(w *world) {
		first := w.stage(1)
		order := make(chan string, 2)
		go func() {
			s := w.stage(7) // all there are
			order <- "many"
			s.Close()
		}()
		synctest.Wait()
		go func() {
			s := w.stage(1)
			order <- "one"
			s.Close()
		}()
		synctest.Wait()
		if len(order) > 0 {
			w.Errorf("%q did not wait", <-order)
		}
		ctx, cancel := context.WithCancel(w.Context())
		cancel()
		if s, err := w.board.Stage(ctx, puppet.StageConfig{}); err == nil || s != nil {
			w.Error("a stage was opened for nobody")
		}
		first.Close()
		if who := <-order; who != "many" {
			w.Errorf("%q came first", who)
		}
		<-order
	})
}

// Two provocations of one connection are 600 ms apart; those of two connections
// are not held up.
func TestProvocationsAreApart(t *testing.T) {
	inWorld(t, puppet.Config{}, func(w *world) {
		s := w.stage(2)
		defer s.Close()
		p, q := w.open(s), w.open(s)
		first := p.Provoke(segment.RST, puppet.Seq(10))
		other := q.Provoke(segment.RST, puppet.Seq(10))
		second := p.Provoke(segment.RST, puppet.Seq(10))
		if gap := second.At - first.At; gap < 600*time.Millisecond {
			w.Errorf("%v between two provocations", gap)
		}
		if gap := other.At - first.At; gap > 100*time.Millisecond {
			w.Errorf("the other connection waited for %v", gap)
		}
	})
}

// SND.NXT is that of an obedient peer, RCV.NXT what has arrived in order.
func TestNumbers(t *testing.T) {
	inWorld(t, puppet.Config{Rate: 100}, func(w *world) {
		s := w.stage(1)
		defer s.Close()
		p := w.open(s)
		from := p.SndNxt()
		if from != p.ISS().Add(1) || p.RcvNxt() != p.IRS().Add(1) || !p.Established() {
			w.Error("after the handshake the numbers are wrong")
		}
		p.Provoke(text, puppet.Text([]byte("x")), puppet.Seq(100))
		if p.SndNxt() != from {
			w.Error("a provocation moved SND.NXT")
		}
		p.Send(text, puppet.Text([]byte("abc")))
		if p.SndNxt() != from.Add(3) {
			w.Error("data in its place did not move SND.NXT")
		}
		p.Collect(time.Second)
		if p.RcvNxt() != p.IRS().Add(4) {
			w.Errorf("RCV.NXT is %d beyond the ISN", p.RcvNxt().Sub(p.IRS()))
		}
		p.HoldAckAt(1)
		if held := p.Segment(segment.ACK); held.Ack != p.IRS().Add(2) {
			w.Error("a held ACK says more than it is told")
		}
		p.HoldAck()
		if held := p.Segment(segment.ACK); held.Ack != p.RcvNxt() {
			w.Error("a held ACK does not stand where it was")
		}
		p.ReleaseAck()
		p.Window(7)
		if now := p.Segment(segment.ACK); now.Ack != p.RcvNxt() || now.Window != 7 {
			w.Error("the ACK is still held, or the window not frozen")
		}
	})
}

// What arrives out of order, twice, or overlapping is put together once.
func TestReassembly(t *testing.T) {
	inWorld(t, puppet.Config{Rate: 100}, func(w *world) {
		s := w.stage(1)
		defer s.Close()
		p := w.open(s)
		at := func(n int, data string, flags segment.Flags) {
			seg := segment.Segment{Src: p.Remote(), Dst: p.Local(), Flags: segment.ACK | flags, Seq: p.IRS().Add(1 + n), Ack: p.SndNxt(), Payload: []byte(data)}
			pkt, err := seg.Append(nil)
			if err != nil {
				w.Fatal(err)
			}
			w.here.Inject(pkt)
		}
		at(6, "ghi", segment.FIN)
		at(2, "cdef", 0)
		at(-3, "???", 0)
		synctest.Wait()
		if len(p.Received()) > 0 || p.PeerClosed() {
			w.Error("data was taken that is not in its place")
		}
		at(0, "abcd", 0)
		at(1, "bcdefgh", 0)
		synctest.Wait()
		if got := string(p.Received()); got != "abcdefghi" || !p.PeerClosed() || p.RcvNxt() != p.IRS().Add(11) {
			w.Errorf("received %q, closed %v", got, p.PeerClosed())
		}
	})
}

// A host that connects to us comes through a Door; others, and what is no SYN,
// do not.
func TestDoor(t *testing.T) {
	inWorld(t, puppet.Config{}, func(w *world) {
		s := w.stage(1)
		d := s.Door(5000, w.target.Addr(), puppet.Shape{})
		go func() {
			if c, err := w.host.Dial(w.Context(), d.Local(), engine.DialConfig{}); err == nil {
				_, _ = c.Write([]byte("hello"))
			}
		}()
		p := d.Await(time.Minute)
		if p == nil {
			w.Fatal("nobody came")
		}
		p.Send(segment.SYN | segment.ACK)
		p.Await(time.Second, puppet.Data)
		if string(p.Received()) != "hello" || !p.Established() {
			w.Errorf("received %q", p.Received())
		}
		if d.Await(time.Second) != nil {
			w.Error("a second guest")
		}
		s.Close()
		w.nothingLeft()
	})
}

// Options, order and windows are those of the Shape.
func TestShape(t *testing.T) {
	k := func(kinds ...segment.Kind) []segment.Kind { return kinds }
	for want, shape := range map[string]puppet.Shape{
		"mss 1460,sackOK,TS val 0 ecr 0,nop,wscale 7": {},
		"mss 1460,nop,nop,sackOK,nop,wscale 7":        {NoTimestamps: true},
		"":                                            puppet.Plain,
		"mss 500,nop,wscale 2":                        {MSS: 500, Scale: 2, NoSACK: true, NoTimestamps: true, Layout: k(segment.KindMSS, segment.KindNOP, segment.KindWindowScale)},
	} {
		inWorld(t, puppet.Config{Random: func() uint64 { return 0 }}, func(w *world) {
			s := w.stage(1)
			defer s.Close()
			p := s.Puppet(w.target, shape)
			seg := p.Segment(segment.SYN)
			if got := seg.Options.String(); got != want {
				w.Errorf("%q, want %q", got, want)
			}
		})
	}
}

// The evidence of a stage is what it sent and received, in order, numbered over
// all stages; the tracer is told the same.
func TestEvidence(t *testing.T) {
	var told []string
	tracer := traceFunc(func(e *engine.Event) { told = append(told, fmt.Sprint(e.Kind, e.Conn, e.Segment, e.Reason)) })
	inWorld(t, puppet.Config{Tracer: tracer}, func(w *world) {
		first, second := w.stage(1), (*puppet.Stage)(nil)
		w.open(first)
		first.Close()
		second = w.stage(1)
		w.open(second)
		second.Close()
		var shown []string
		number := 0
		for _, rec := range slices.Concat(first.Log(), second.Log()) {
			number++
			if rec.Number != number {
				w.Errorf("record %d has the number %d", number, rec.Number)
			}
			shown = append(shown, fmt.Sprint(rec.Event.Kind, rec.Event.Conn, rec.Event.Segment, rec.Event.Reason))
		}
		if number != 8 || !slices.Equal(shown, told) { // SYN, SYN-ACK, ACK, RST, twice
			w.Errorf("shown\n%q\ntold\n%q", shown, told)
		}
	})
}

type traceFunc func(*engine.Event)

func (f traceFunc) Trace(e *engine.Event) { f(e) }

// ICMP errors reach the puppet whose packet they quote.
func TestUnreachable(t *testing.T) {
	inWorld(t, puppet.Config{}, func(w *world) {
		s := w.stage(1)
		defer s.Close()
		p := s.Puppet(w.target, puppet.Shape{})
		time.AfterFunc(500*time.Millisecond, func() {
			var quoted []byte
			for _, m := range w.left() {
				quoted, _ = m.seg.Append(nil)
			}
			w.here.InjectError(&simnet.ICMPError{From: w.target.Addr(), Type: 3, Code: 1, Quoted: quoted})
		})
		w.network.SetPath(w.here, w.there, simnet.PathConfig{Loss: 1})
		if a := p.Open(); a != puppet.Unreachable {
			w.Errorf("the answer is %v", a)
		}
		if e := p.AwaitICMP(0); e == nil || e.ICMP.Type != 3 {
			w.Errorf("the error is %v", e)
		}
	})
}

func TestClosedAndSilentPorts(t *testing.T) {
	inWorld(t, puppet.Config{}, func(w *world) {
		s := w.stage(1)
		defer s.Close()
		closed := netip.AddrPortFrom(w.target.Addr(), 9)
		if a := s.Puppet(closed, puppet.Shape{}).Open(); a != puppet.Refused {
			w.Errorf("a closed port is %v", a)
		}
		w.network.SetPath(w.here, w.there, simnet.PathConfig{Loss: 1})
		if a := s.Puppet(w.target, puppet.Shape{}).Open(); a != puppet.Silent || w.board.Resent() != 3 {
			w.Errorf("a lost host is %v, %d sent again", a, w.board.Resent())
		}
	})
}
