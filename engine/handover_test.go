package engine

import (
	"bytes"
	"testing"
)

// waiter has a Read of size octets wait on the talk's connection.
func (k *talk) waiter(size int) *NetConn {
	k.c.face = &NetConn{shard: new(shard), conn: k.c, waiting: &waiting{into: make([]byte, size)}}
	return k.c.face
}

// octets are what in gives the octets [from, to) of the peer's text.
func octets(from, to int) []byte {
	var b []byte
	for n := from; n < to; n++ {
		b = append(b, byte(peerISN+n))
	}
	return b
}

// wantTaken checks what was given to who waits, and what was kept.
func (k *talk) wantTaken(want []byte, readable int) {
	k.t.Helper()
	w, b := k.c.face.waiting, &k.c.rcv.buf
	if got := w.into[:w.taken]; !bytes.Equal(got, want) {
		k.t.Errorf("who waits was given %v, want %v", got, want)
	}
	if b.readable != readable || b.nxt != k.c.rcv.nxt {
		k.t.Errorf("%d octets are readable up to %v; want %d up to %v", b.readable, b.nxt, readable, k.c.rcv.nxt)
	}
}

func TestTextGoesToWhoWaits(t *testing.T) {
	k := established(t, plain())
	k.waiter(5)
	k.in("P. 1:4(3) ack 1")
	k.wantTaken(octets(1, 4), 0)
	if held := k.c.holding(); held != 0 || k.stack.Buffered() != 0 || cap(k.c.rcv.buf.buf) > 0 {
		t.Errorf("%d octets are held of what was given away, in a buffer of %d", held, cap(k.c.rcv.buf.buf))
	}
	k.in("P. 4:12(8) ack 1")
	k.wantTaken(octets(1, 6), 6)
	if k.c.holding() != 6 || k.stack.Buffered() != 6 {
		t.Errorf("%d octets are held, want the 6 that found no room", k.c.holding())
	}
	if n, err := k.c.Read(k.now, make([]byte, 100)); n != 6 || err != nil {
		t.Errorf("Read: %d, %v", n, err)
	}
}

// What is given away was read: the window stays open, and acknowledging is as ever.
func TestTextGivenAwayLeavesTheWindowOpen(t *testing.T) {
	k := established(t, plain(func(cfg *ConnConfig) { cfg.ReceiveBuffer, cfg.ReceiveBufferMax = 4000, 4000 }))
	k.waiter(10_000)
	k.in("P. 1:1001(1000) ack 1 win 65535")
	k.wantIdle("one full segment: its ACK is delayed")
	k.in("P. 1001:2001(1000) ack 1 win 65535")
	k.want("every second segment, and all of the window", ". ack 2001 win 4000")
}

// Behind a hole the buffer keeps the order, and who waits gets what fills it.
func TestTextBeyondAHoleIsKept(t *testing.T) {
	k := established(t, plain())
	k.waiter(100)
	k.in("P. 11:21(10) ack 1")
	k.wantTaken(nil, 0)
	k.in("P. 1:11(10) ack 1")
	k.wantTaken(nil, 20)
}

// What another call has read in between ends what the first one takes.
func TestWhoWaitsIsOvertaken(t *testing.T) {
	k := established(t, plain())
	c := k.waiter(100)
	k.in("P. 1:11(10) ack 1")
	k.in("P. 21:31(10) ack 1")
	k.in("P. 11:21(10) ack 1")
	k.wantTaken(octets(1, 11), 20)
	if n, _ := k.c.Read(k.now, make([]byte, 100)); n != 20 {
		t.Errorf("another Read took %d octets", n)
	}
	c.overtaken()
	k.in("P. 31:41(10) ack 1")
	k.wantTaken(octets(1, 11), 10)
}
