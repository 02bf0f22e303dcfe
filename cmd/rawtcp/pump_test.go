package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/simnet"
)

// A pumped is a pump between two parties, all on a simulated network:
//
//	left <-> pump.a, pump.b <-> right
type pumped struct {
	t           *testing.T
	left, right *engine.NetConn
	stop, kill  chan struct{}
	ended       chan error // what run returned
}

// smallBuffers lets back-pressure show with little data.
var smallBuffers = engine.ConnConfig{SendBuffer: 8 << 10, ReceiveBuffer: 8 << 10, TimeWait: -1}

// startPump must be called inside a bubble of synctest.
func startPump(t *testing.T) *pumped {
	addrs := []netip.Addr{netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("198.18.0.2")}
	network := simnet.New(simnet.Config{Seed: 1, Path: simnet.PathConfig{Delay: time.Millisecond}})
	outer := engine.NewHost(engine.HostConfig{Link: network.NewPort(simnet.PortConfig{Addrs: addrs[:1]}), Conn: smallBuffers})
	middle := engine.NewHost(engine.HostConfig{Link: network.NewPort(simnet.PortConfig{Addrs: addrs[1:]}), Conn: smallBuffers})
	t.Cleanup(func() { outer.Close(); middle.Close() })
	p := &pumped{t: t, stop: make(chan struct{}), kill: make(chan struct{}), ended: make(chan error, 1)}
	var a, b *engine.NetConn
	p.left, a = connectPair(t, outer, middle, netip.AddrPortFrom(addrs[1], 1))
	p.right, b = connectPair(t, outer, middle, netip.AddrPortFrom(addrs[1], 2))
	pump := &pump{a: ownEnd{a}, b: ownEnd{b}, stop: p.stop, kill: p.kill}
	go func() { p.ended <- pump.run() }()
	return p
}

func connectPair(t *testing.T, from, to *engine.Host, at netip.AddrPort) (dialed, accepted *engine.NetConn) {
	l, err := to.Listen(at, engine.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if dialed, err = from.Dial(t.Context(), at, engine.DialConfig{}); err != nil {
		t.Fatal(err)
	}
	if accepted, err = l.AcceptConn(); err != nil {
		t.Fatal(err)
	}
	return dialed, accepted
}

func (p *pumped) write(c *engine.NetConn, text string) {
	p.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		p.t.Fatal(err)
	}
}

// read reads a text that must come next, "" for the end.
func (p *pumped) read(c *engine.NetConn, want string) {
	p.t.Helper()
	buf := make([]byte, max(1, len(want)))
	n, err := io.ReadFull(c, buf)
	if want == "" && n == 0 && errors.Is(err, io.EOF) || err == nil && string(buf) == want {
		return
	}
	p.t.Fatalf("read %q, %v; want %q", buf[:n], err, want)
}

// A half-close of one party reaches the other, which goes on talking.
func TestPumpHalfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startPump(t)
		p.write(p.left, "question")
		p.left.CloseWrite()
		p.read(p.right, "question")
		p.read(p.right, "")
		time.Sleep(time.Hour) // nothing ends it
		p.write(p.right, "answer")
		p.right.CloseWrite()
		p.read(p.left, "answer")
		p.read(p.left, "")
		if err := <-p.ended; err != nil {
			t.Errorf("the pump ended with %v", err)
		}
	})
}

// A reset of one party resets the other, in any state, also if nobody reads
// from that party at the time.
func TestPumpReset(t *testing.T) {
	states := map[string]func(p *pumped){
		"idle":               func(*pumped) {},
		"after a half-close": func(p *pumped) { p.left.CloseWrite(); p.read(p.right, "") },
		"after the other's":  func(p *pumped) { p.right.CloseWrite(); p.read(p.left, "") },
		"while the other does not read": func(p *pumped) {
			go p.left.Write(make([]byte, 1<<20))
			time.Sleep(time.Minute)
		},
	}
	for name, reach := range states {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := startPump(t)
				reach(p)
				start := time.Now()
				p.left.Abort()
				if err := <-p.ended; !errors.Is(err, engine.ErrReset) {
					t.Errorf("the pump ended with %v", err)
				}
				if took := time.Since(start); took > time.Second {
					t.Errorf("the reset took %v", took)
				}
				for {
					if _, err := p.right.Read(make([]byte, 1<<20)); err != nil {
						if !errors.Is(err, engine.ErrReset) && !errors.Is(err, io.EOF) {
							t.Errorf("the other party reads %v", err)
						}
						break
					}
				}
				if <-p.right.Done(); !errors.Is(p.right.Err(), engine.ErrReset) {
					t.Errorf("the other party was not reset: %v", p.right.Err())
				}
			})
		})
	}
}

// Who does not read makes the other party wait: the pump holds a bounded amount.
func TestPumpBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startPump(t)
		const size = 1 << 20
		written := make(chan int, 1)
		go func() {
			n, _ := p.left.Write(bytes.Repeat([]byte("x"), size))
			p.left.CloseWrite()
			written <- n
		}()
		time.Sleep(10 * time.Minute)
		select {
		case n := <-written:
			t.Fatalf("%d octets went nowhere", n)
		default:
		}
		const room = 4*8<<10 + pumpBuffer
		if sent := p.left.Info().Stats.BytesWritten; sent > room {
			t.Errorf("%d octets were taken from a party whose peer reads nothing; there is room for %d", sent, room)
		}
		p.read(p.right, strings.Repeat("x", size))
		p.read(p.right, "")
		p.right.Close()
		if err := <-p.ended; err != nil {
			t.Errorf("the pump ended with %v", err)
		}
	})
}

// A stop closes both connections in order, though the parties have more to say.
func TestPumpStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startPump(t)
		p.write(p.left, "hello")
		p.read(p.right, "hello")
		close(p.stop)
		p.read(p.left, "")
		p.read(p.right, "")
		p.write(p.left, "too late, and harmless")
		p.left.Close()
		p.right.Close()
		if err := <-p.ended; err != nil {
			t.Errorf("the pump ended with %v", err)
		}
	})
}

// A party that does not close after a stop is reset after the grace time, and
// at once after a kill.
func TestPumpStopIsNotWaitedForLong(t *testing.T) {
	for _, kill := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := startPump(t)
			start := time.Now()
			close(p.stop)
			want := graceTime
			if kill {
				close(p.kill)
				want = 0
			}
			if err := <-p.ended; !errors.Is(err, errStopped) || time.Since(start) != want {
				t.Errorf("the pump ended with %v after %v", err, time.Since(start))
			}
			for _, c := range []*engine.NetConn{p.left, p.right} {
				if <-c.Done(); !errors.Is(c.Err(), engine.ErrReset) {
					t.Errorf("%v: %v, want a reset", c.LocalAddr(), c.Err())
				}
			}
		})
	}
}

// loopbackPair returns the two ends of a connection of the kernel's.
func loopbackPair(t *testing.T) (a, b *net.TCPConn) {
	l, err := listenKernel(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if b, err = l.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	a = c.(*net.TCPConn)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// The kernel's socket tells of a reset that no read and no write asks for, and
// of nothing else.
func TestErrorWatch(t *testing.T) {
	w, err := newErrorWatch()
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	a, b := loopbackPair(t)
	broken, forget, err := w.add(b)
	if err != nil {
		t.Fatal(err)
	}
	e := newKernelEnd(b, broken)
	a.Write([]byte("unread"))
	a.CloseWrite()
	b.CloseWrite()
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	select {
	case <-e.broken():
		t.Fatal("data and FINs are no errors")
	case <-time.After(50 * time.Millisecond):
	}
	c, d := loopbackPair(t)
	broken, forget2, err := w.add(d)
	if err != nil {
		t.Fatal(err)
	}
	e = newKernelEnd(d, broken)
	newKernelEnd(c, nil).reset()
	select {
	case <-e.broken():
	case <-time.After(patience):
		t.Fatal("the reset was not told")
	}
	if err := e.fault(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the fault is %v", err)
	}
	if _, err := e.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a read after the fault was taken says %v", err) // io.EOF would go on as a FIN
	}
	forget()
	forget2()
	if len(w.waiting) != 0 {
		t.Errorf("%d sockets are not forgotten", len(w.waiting))
	}
}

// A pump between connections of the kernel: half-close and reset, with nobody
// reading from the party that resets.
func TestPumpOfKernelEnds(t *testing.T) {
	w, err := newErrorWatch()
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	left, a := loopbackPair(t)
	right, b := loopbackPair(t)
	var ends [2]kernelEnd
	for i, c := range []*net.TCPConn{a, b} {
		broken, forget, err := w.add(c)
		if err != nil {
			t.Fatal(err)
		}
		defer forget()
		ends[i] = newKernelEnd(c, broken)
	}
	ended := make(chan error, 1)
	p := &pump{a: ends[0], b: ends[1]}
	go func() { ended <- p.run() }()
	left.Write([]byte("hello"))
	left.CloseWrite()
	if got, err := io.ReadAll(right); err != nil || string(got) != "hello" {
		t.Fatalf("%q, %v", got, err)
	}
	newKernelEnd(left, nil).reset()
	right.SetDeadline(time.Now().Add(patience))
	if _, err := right.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the other party was not reset")
	}
	if err := <-ended; !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("the pump ended with %v", err)
	}
}
