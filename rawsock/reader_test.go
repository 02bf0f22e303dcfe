package rawsock

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A reader that has looked for packets in vain looks ever more rarely, and as
// before when it has found some.
func TestReaderSpinsLessInVain(t *testing.T) {
	r := &reader{c: &Conn{}}
	if got := r.patience(); got != 0 {
		t.Errorf("it looks for %v though no socket is awake", got)
	}
	r.awake = 1
	looks := func(calls int, found bool) (n int) {
		for range calls {
			if r.patience() > 0 {
				n++
				r.learn(found)
			}
		}
		return n
	}
	if got := looks(100, true); got != 100 {
		t.Errorf("%d of 100 calls look where there always is something", got)
	}
	if got := looks(1000, false); got < 10 || got > 30 {
		t.Errorf("%d of 1000 calls look where there never is anything", got)
	}
	looks(200, true)
	if got := looks(100, true); got != 100 {
		t.Errorf("%d of 100 calls look after there was something again", got)
	}
}

// A crowd is more packets than a socket brings before it is held to be busy.
const crowd = 3 * busyBatch

// crowdRoom is room for n packets.
func crowdRoom(n int) (bufs [][]byte, sizes []int, stamps []int64) {
	bufs = make([][]byte, n)
	for i := range bufs {
		bufs[i] = make([]byte, 2048)
	}
	return bufs, make([]int, n), make([]int64, n)
}

// A reader that was busy, and sleeps now, is woken by the next packet.
func TestBusySocketGoesToSleep(t *testing.T) {
	for _, io := range []IOMode{RawIO, PacketIO} {
		t.Run(io.String(), func(t *testing.T) {
			l := newLab(t)
			l.acquaint()
			c, err := Open(Config{IO: io})
			must(t, err)
			t.Cleanup(func() { c.Close() })
			local := netip.AddrPortFrom(l.ours[0], 4001)
			_, err = c.Claim(local)
			must(t, err)
			w := l.newWire(0)
			bufs, sizes, stamps := crowdRoom(crowd)
			p := tcpPacket{src: netip.AddrPortFrom(w.here, 80), dst: local, flags: rst}
			for range 20 {
				for range crowd {
					w.send(p)
				}
				w.heardBefore(l.ours[0])
				for heard := 0; heard < crowd; {
					n, err := c.ReadBatch(bufs, sizes, stamps)
					must(t, err)
					heard += n
				}
				if io == RawIO && !c.ear(false).awake { // a ring can tell that it is empty, and sleeps at once
					t.Fatal("epoll is asked to tell of a busy socket")
				}
				heard := make(chan error)
				go func() {
					_, err := c.ReadBatch(bufs, sizes, stamps)
					heard <- err
				}()
				for range 5 { // some round trips, in which it goes to sleep
					w.heardBefore(l.ours[0])
				}
				w.send(p)
				select {
				case err := <-heard:
					must(t, err)
				case <-time.After(patience):
					t.Fatal("nothing is heard")
				}
			}
		})
	}
}

// An ICMP error is told while packets come faster than they are read, also if a
// send has taken the socket's error, and only the queue has it.
func TestBusySocketTellsICMPErrors(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		c, err := Open(Config{})
		must(t, err)
		defer c.Close()
		local := netip.AddrPortFrom(l.ours[family], 4001)
		_, err = c.Claim(local)
		must(t, err)
		w := l.newWire(family)
		s := c.socket(family == 1)
		bufs, sizes, stamps := crowdRoom(busyBatch)
		sent := tcpPacket{src: local, dst: netip.AddrPortFrom(l.theirs[family], 80), seq: 99, flags: ack}.bytes()
		for _, taken := range []bool{false, true} {
			for range busyBatch * 4 * othersTurn {
				w.send(tcpPacket{src: netip.AddrPortFrom(w.here, 80), dst: local, flags: rst})
			}
			w.heardBefore(l.ours[family])
			_, err := c.ReadBatch(bufs, sizes, stamps)
			must(t, err)
			if !s.awake {
				t.Fatal("epoll is asked to tell of a busy socket")
			}
			e := icmpCases[family][1]
			l.sendICMP(family, icmpMessage(family == 1, e.typ, e.code, e.word, sent))
			waitForError(t, s)
			if taken {
				_, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
				must(t, err)
			}
			var icmp *ICMPError
			heard := busyBatch
			for i := 0; !errors.As(err, &icmp); i++ {
				if i > 2*othersTurn {
					t.Fatalf("%d calls, and no ICMP error", i)
				}
				var n int
				n, err = c.ReadBatch(bufs, sizes, stamps)
				heard += n
			}
			for heard < busyBatch*4*othersTurn {
				n, err := c.ReadBatch(bufs, sizes, stamps)
				must(t, err)
				heard += n
			}
		}
	})
}
