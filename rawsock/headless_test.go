package rawsock

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hearAll has the peer hear n IPv4 packets, each from its header on.
func (l *lab) hearAll(n int, provoke func()) [][]byte {
	l.t.Helper()
	w := l.newWire(0)
	provoke()
	var heard [][]byte
	for len(heard) < n {
		fds := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, int(patience.Milliseconds())); n != 1 || err != nil {
			l.t.Fatalf("the peer heard %d packets and no more: %v", len(heard), err)
		}
		buf := make([]byte, 2048)
		n, _, err := unix.Recvfrom(w.fd, buf, 0)
		must(l.t, err)
		heard = append(heard, buf[:n])
	}
	return heard
}

// Whoever writes the header, the peer gets the same packets, in the order that they
// were written in.
func TestHeadlessPacketsAreTheSame(t *testing.T) {
	l := newLab(t)
	packet := func(i int) []byte {
		return tcpPacket{src: netip.AddrPortFrom(l.ours[0], 4001), dst: netip.AddrPortFrom(l.theirs[0], 80), seq: uint32(i), flags: rst, payload: make([]byte, []int{0, 1, 1460}[i%3])}.bytes()
	}
	changes := []func(p []byte){
		func([]byte) {},
		func(p []byte) { p[1] = 2 },                                 // ECT(0)
		func(p []byte) { p[1] = 0xb8 },                              // another TOS
		func(p []byte) { p[8] = 63 },                                // another TTL
		func(p []byte) { p[8] = 255 },                               //
		func(p []byte) { binary.BigEndian.PutUint16(p[4:], 7) },     // an identification
		func(p []byte) { p[6] = 0 },                                 // no DF
		func(p []byte) { p[10], p[11] = 0, 0 },                      // the kernel computes it
		func(p []byte) { copy(p[12:], make([]byte, 4)) },            // it fills this in
		func(p []byte) { binary.BigEndian.PutUint16(p[2:], 0xfff) }, // and this
	}
	var batch [][]byte
	for i := range 60 { // which the peer's queue holds
		p := packet(i)
		changes[(i+i/7)%len(changes)](p)
		batch = append(batch, p)
	}
	var heard [2][][]byte
	for i := range heard {
		c, err := Open(Config{Guard: GuardNone})
		must(t, err)
		defer c.Close()
		if i == 1 {
			if c.headless == nil {
				t.Fatal("no headless socket:", c.Notes())
			}
			if n := c.headless.takes([][]byte{packet(0), packet(1), packet(2)}); n != 3 {
				t.Fatalf("it takes %d of 3 plain packets", n)
			}
		} else {
			unix.Close(c.headless.fd)
			c.headless = nil
		}
		heard[i] = l.hearAll(len(batch), func() {
			if n, err := c.WriteBatch(batch); n != len(batch) || err != nil {
				t.Fatalf("WriteBatch = %d, %v", n, err)
			}
		})
	}
	for i := range batch {
		with, without := heard[0][i], heard[1][i]
		if changed := (i + i/7) % len(changes); changed == 6 { // the kernel numbers what may be cut
			for _, p := range [][]byte{with, without} {
				copy(p[4:], []byte{0, 0})
				copy(p[10:], []byte{0, 0})
			}
		}
		if !bytes.Equal(with, without) {
			t.Fatalf("packet %d was heard as\n%x and without its header as\n%x", i, with, without)
		}
		if seq := binary.BigEndian.Uint32(without[24:]); seq != uint32(i) {
			t.Fatalf("packet %d was heard as number %d", seq, i)
		}
	}
}

// What the kernel writes no header for goes out as before, or fails as before.
func TestHeadlessRefusals(t *testing.T) {
	l := newLab(t)
	c, err := Open(Config{Guard: GuardNone})
	must(t, err)
	defer c.Close()
	stranger := tcpPacket{src: netip.MustParseAddrPort("198.18.255.1:4001"), dst: netip.AddrPortFrom(l.theirs[0], 80), seq: 5, flags: rst}.bytes()
	if c.headless.takes([][]byte{stranger}) != 1 {
		t.Fatal("it is not tried")
	}
	p, ok := parsePacket(l.hear(func() {
		_, err = c.WriteBatch([][]byte{stranger})
		must(t, err)
	}))
	if !ok || p.src.Addr() != netip.MustParseAddr("198.18.255.1") || p.seq != 5 {
		t.Errorf("heard %v %+v", ok, p)
	}
	large := tcpPacket{src: netip.AddrPortFrom(l.ours[0], 4001), dst: netip.AddrPortFrom(l.theirs[0], 80), flags: rst, payload: make([]byte, 1461)}.bytes()
	_, err = c.WriteBatch([][]byte{large})
	wantErrno(t, err, syscall.EMSGSIZE)
	l.narrowQueue()
	batch := make([][]byte, 100)
	for i := range batch {
		batch[i] = large[:len(large)-1]
		binary.BigEndian.PutUint16(batch[i][2:], uint16(len(batch[i])))
	}
	_, err = c.WriteBatch(batch)
	wantErrno(t, err, syscall.ENOBUFS)
	link, err := netlink.LinkByName(l.name)
	must(t, err)
	must(t, netlink.LinkSetDown(link))
	_, err = c.WriteBatch(batch)
	wantErrno(t, err, syscall.ENETUNREACH)
}

// The socket gets no copy of what comes, and no ICMP error.
func TestHeadlessIsDeaf(t *testing.T) {
	l := newLab(t)
	s := openStation(t, Config{})
	local := netip.AddrPortFrom(l.ours[0], 4001)
	s.claim(local)
	must(t, attachFilter(s.headless.fd, filterProgram(s.socket(false), []portRange{{4001, 4001}})))
	w := l.newWire(0)
	w.send(tcpPacket{src: netip.AddrPortFrom(w.here, 80), dst: local, seq: 1, flags: rst})
	s.want(rst)
	sent := tcpPacket{src: local, dst: netip.AddrPortFrom(l.theirs[0], 80), seq: 99, flags: rst}.bytes() // which nobody answers
	s.mustWrite(sent)
	l.sendICMP(0, icmpMessage(false, 3, 1, 0, sent))
	s.wantICMP()
	fds := []unix.PollFd{{Fd: int32(s.headless.fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, 0); n != 0 || err != nil {
		t.Errorf("the headless socket has something: %#x, %v", fds[0].Revents, err)
	}
}
