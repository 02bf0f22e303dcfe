package rawsock

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// wantICMP waits for the next ICMP error.
func (s *station) wantICMP() *ICMPError {
	s.t.Helper()
	select {
	case err := <-s.errs:
		var icmp *ICMPError
		if !errors.As(err, &icmp) {
			s.t.Fatalf("ReadBatch = %v, want an ICMP error", err)
		}
		return icmp
	case p := <-s.packets:
		s.t.Fatalf("received %+v, want an ICMP error", p)
	case <-time.After(patience):
		s.t.Fatal("no ICMP error came")
	}
	return nil
}

// icmpMessage is an ICMP error about a packet: type, code, the word that holds
// an MTU or a pointer, and the quoted packet. The kernel fills in ICMPv6's
// checksum.
func icmpMessage(v6 bool, typ, code byte, word uint32, quoted []byte) []byte {
	msg := binary.BigEndian.AppendUint32([]byte{typ, code, 0, 0}, word)
	msg = append(msg, quoted...)
	if !v6 {
		var sum uint32
		for i := 0; i+1 < len(msg); i += 2 {
			sum += uint32(msg[i])<<8 | uint32(msg[i+1])
		}
		if len(msg)%2 == 1 {
			sum += uint32(msg[len(msg)-1]) << 8
		}
		for sum > 0xffff {
			sum = sum>>16 + sum&0xffff
		}
		binary.BigEndian.PutUint16(msg[2:], ^uint16(sum))
	}
	return msg
}

// sendICMP sends an ICMP message from the peer to us.
func (l *lab) sendICMP(family int, msg []byte) {
	l.t.Helper()
	must(l.t, l.peer.do(func() error {
		domain, proto := unix.AF_INET, unix.IPPROTO_ICMP
		if family == 1 {
			domain, proto = unix.AF_INET6, unix.IPPROTO_ICMPV6
		}
		fd, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, msg, 0, sockaddr(l.ours[family]))
	}))
}

// An icmpCase is an ICMP error that a TCP has to know about.
type icmpCase struct {
	name      string
	typ, code byte
	word      uint32
	mtu       int
}

var icmpCases = [2][]icmpCase{
	{
		{"network unreachable", 3, 0, 0, 0},
		{"host unreachable", 3, 1, 0, 0},
		{"protocol unreachable", 3, 2, 0, 0},
		{"port unreachable", 3, 3, 0, 0},
		{"fragmentation needed", 3, 4, 1400, 1400},
		{"host prohibited", 3, 10, 0, 0},
		{"admin prohibited", 3, 13, 0, 0},
		{"time exceeded", 11, 0, 0, 0},
		{"parameter problem", 12, 0, 0x06000000, 0},
	},
	{
		{"no route", 1, 0, 0, 0},
		{"admin prohibited", 1, 1, 0, 0},
		{"address unreachable", 1, 3, 0, 0},
		{"port unreachable", 1, 4, 0, 0},
		{"packet too big", 2, 0, 1400, 1400},
		{"time exceeded", 3, 0, 0, 0},
		{"parameter problem", 4, 1, 6, 0},
	},
}

func TestICMPErrorsComeOutOfReadBatch(t *testing.T) { // E5
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		s := openStation(t, Config{})
		local := netip.AddrPortFrom(l.ours[family], 4001)
		s.claim(local)
		sent := tcpPacket{src: local, dst: netip.AddrPortFrom(l.theirs[family], 80), seq: 99, flags: ack, payload: []byte("data")}.bytes()
		for _, c := range icmpCases[family] {
			l.sendICMP(family, icmpMessage(family == 1, c.typ, c.code, c.word, sent))
			e := s.wantICMP()
			from, typ, code, mtu, quoted := e.ICMP()
			if from != l.theirs[family] || typ != c.typ || code != c.code || mtu != c.mtu {
				t.Errorf("%s: from %v type %d code %d mtu %d", c.name, from, typ, code, mtu)
			}
			if !bytes.Equal(quoted, sent) {
				t.Errorf("%s: quotes\n%x, want\n%x", c.name, quoted, sent)
			}
			if !e.Temporary() || e.Timeout() {
				t.Errorf("%s: Temporary %v Timeout %v", c.name, e.Temporary(), e.Timeout())
			}
		}
		if len(s.errs) > 0 {
			t.Errorf("an ICMP error is told twice: %v", <-s.errs)
		}
	})
}

// The kernel queues an ICMP error and then sets the socket's error: a reader in
// between must not take the socket to be ready for ever after.
func TestReaderRestsAfterICMPErrors(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		s := openStation(t, Config{TxTimestamps: true})
		local := netip.AddrPortFrom(l.ours[family], 4001)
		s.claim(local)
		sent := tcpPacket{src: local, dst: netip.AddrPortFrom(l.theirs[family], 80), seq: 99, flags: ack}.bytes()
		c := icmpCases[family][1]
		message := icmpMessage(family == 1, c.typ, c.code, c.word, sent)
		var stamps [BatchSize]TxStamp
		for range 3000 {
			l.sendICMP(family, message)
			s.TxStamps(stamps[:]) // another reader of the queue
			s.wantICMP()
			poll(t, "reader at rest", func() bool {
				rests := s.mu.TryLock() // a reader that goes round and round holds it
				if rests {
					s.mu.Unlock()
				}
				return rests
			})
		}
	})
}

func TestICMPErrorsOfStrangersStayOut(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		s := openStation(t, Config{})
		local := netip.AddrPortFrom(l.ours[family], 4001)
		s.claim(local)
		ours := tcpPacket{src: local, dst: netip.AddrPortFrom(l.theirs[family], 80), flags: ack}
		unreachable := icmpCases[family][0]
		tell := func(quoted []byte) {
			l.sendICMP(family, icmpMessage(family == 1, unreachable.typ, unreachable.code, 0, quoted))
		}
		other := ours
		other.src = netip.AddrPortFrom(l.ours[family], 4002)
		tell(other.bytes())
		whole := ours.bytes()
		for n := range len(whole) { // and no truncated quote makes trouble
			tell(whole[:n])
		}
		notTCP := ours.bytes()
		notTCP[9-3*family] = 17 // protocol, next header
		tell(notTCP)
		ours.seq = 5
		tell(ours.bytes())
		for {
			e := s.wantICMP()
			p, ok := parsePacket(e.Quoted)
			if ok && p.seq == 5 {
				break
			}
			if len(e.Quoted) < len(whole)-20+4 || !bytes.Equal(e.Quoted, whole[:len(e.Quoted)]) {
				t.Fatalf("not about a packet of ours: %x", e.Quoted)
			}
		}
	})
}

// TestRoutersICMPErrors has a router make them instead of the test.
func TestRoutersICMPErrors(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		narrow := [2]netip.Prefix{netip.MustParsePrefix("198.19.1.0/24"), netip.MustParsePrefix("2001:db8:ff01::/64")}[family]
		nowhere := [2]netip.Prefix{netip.MustParsePrefix("198.19.2.0/24"), netip.MustParsePrefix("2001:db8:ff02::/64")}[family]
		must(t, l.peer.do(func() error { return l.makeRouter(narrow, nowhere) }))
		link, err := netlink.LinkByName(l.name)
		must(t, err)
		for _, dst := range []netip.Prefix{narrow, nowhere} {
			must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(dst), Gw: l.theirs[family].AsSlice()}))
		}
		s := openStation(t, Config{})
		local := netip.AddrPortFrom(l.ours[family], 4001)
		s.claim(local)

		s.send(tcpPacket{src: local, dst: netip.AddrPortFrom(nowhere.Addr().Next(), 80), flags: syn})
		if e := s.wantICMP(); e.From != l.theirs[family] || e.Type != []byte{3, 1}[family] || e.Code != []byte{1, 0}[family] {
			t.Errorf("to an unreachable route: %v", e)
		}
		big := tcpPacket{src: local, dst: netip.AddrPortFrom(narrow.Addr().Next(), 80), flags: ack, seq: 31, payload: make([]byte, 1400)}
		s.send(big)
		e := s.wantICMP()
		if e.Type != []byte{3, 2}[family] || e.MTU != 1280 {
			t.Errorf("through a narrow link: %v mtu %d", e, e.MTU)
		}
		if _, _, tcp, ok := split(e.Quoted); !ok || binary.BigEndian.Uint32(tcp[4:]) != 31 {
			t.Errorf("quoted %x", e.Quoted)
		}
	})
}

// makeRouter lets the calling thread's namespace forward to a link of MTU 1280
// and have an unreachable route.
func (l *lab) makeRouter(narrow, nowhere netip.Prefix) error {
	if err := forward(); err != nil {
		return err
	}
	err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "narrow", MTU: 1280}, PeerName: "end"})
	if err != nil {
		return err
	}
	if err := errors.Join(setUp("narrow"), setUp("end")); err != nil {
		return err
	}
	link, err := netlink.LinkByName("narrow")
	if err != nil {
		return err
	}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(narrow), Scope: netlink.SCOPE_LINK}); err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{Dst: ipNet(nowhere), Type: unix.RTN_UNREACHABLE})
}

// forward turns forwarding on in the calling thread's namespace. /proc/sys/net
// shows the namespace of whoever opens it.
func forward() error {
	return errors.Join(
		os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0),
		os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0))
}

func TestICMPErrorFailsNoInnocentSend(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		c, err := openLink(Config{}) // nobody reads, so the news is still in the socket
		must(t, err)
		defer c.Close()
		local := netip.AddrPortFrom(l.ours[family], 4001)
		_, err = c.Claim(local)
		must(t, err)
		pkt := tcpPacket{src: local, dst: netip.AddrPortFrom(l.theirs[family], 80), flags: rst}.bytes()
		for _, icmp := range icmpCases[family] {
			l.sendICMP(family, icmpMessage(family == 1, icmp.typ, icmp.code, icmp.word, pkt))
			waitForError(t, c.socket(family == 1))
			if n, err := c.WriteBatch([][]byte{pkt}); n != 1 || err != nil {
				t.Errorf("%s: the next send is blamed: %d, %v", icmp.name, n, err)
			}
		}
		for _, icmp := range icmpCases[family] { // and none of the news is lost
			_, err := c.ReadBatch([][]byte{make([]byte, 2048)}, make([]int, 1), make([]int64, 1))
			var e *ICMPError
			if !errors.As(err, &e) || e.Type != icmp.typ || e.Code != icmp.code {
				t.Errorf("ReadBatch = %v, want %s", err, icmp.name)
			}
		}
	})
}

// waitForError waits until a socket has an error queued.
func waitForError(t *testing.T, s *socket) {
	t.Helper()
	poll(t, "the ICMP error", func() bool {
		fds := []unix.PollFd{{Fd: int32(s.fd)}}
		n, _ := unix.Poll(fds, 0)
		return n > 0 && fds[0].Revents&unix.POLLERR != 0
	})
}

// TestICMPErrorDuringReceive has the error arrive between the look at the error
// queue and the receive, which then fails with its errno.
func TestICMPErrorDuringReceive(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		c, err := openLink(Config{})
		must(t, err)
		defer c.Close()
		local := netip.AddrPortFrom(l.ours[family], 4001)
		_, err = c.Claim(local)
		must(t, err)
		icmp := icmpCases[family][0]
		pkt := tcpPacket{src: local, dst: netip.AddrPortFrom(l.theirs[family], 80), flags: rst}.bytes()
		l.sendICMP(family, icmpMessage(family == 1, icmp.typ, icmp.code, icmp.word, pkt))
		s, r := c.socket(family == 1), &c.reader
		waitForError(t, s)
		r.bufs, r.sizes, r.stamps = [][]byte{make([]byte, 2048)}, make([]int, 1), make([]int64, 1)
		r.receive(s)
		var e *ICMPError
		if len(r.news) != 1 || !errors.As(r.news[0], &e) {
			t.Errorf("news: %v, want one ICMP error", r.news)
		}
	})
}

func TestReadErrorKinds(t *testing.T) {
	s := &socket{}
	for errno, want := range map[syscall.Errno]bool{syscall.ENETUNREACH: true, syscall.ENETDOWN: true, syscall.ENOBUFS: true, syscall.EBADF: false, syscall.ENOTSOCK: false} {
		err := readError(s, errno)
		temporary, _ := err.(interface{ Temporary() bool })
		if temporary.Temporary() != want {
			t.Errorf("%v: Temporary() = %v", err, !want)
		}
		wantErrno(t, err, errno)
	}
}
