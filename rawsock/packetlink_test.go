package rawsock

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// linkIO is of every Conn that a test opens. TestPacketLink changes it.
var linkIO IOMode

func openLink(cfg Config) (*Conn, error) {
	cfg.IO = linkIO
	return Open(cfg)
}

// linkTests are what holds of a Conn whatever sockets carry its packets.
var linkTests = []struct {
	name string
	test func(*testing.T)
}{
	{"CloseUnblocksReadBatch", TestCloseUnblocksReadBatch},
	{"ReadBatchRefusesBadBuffers", TestReadBatchRefusesBadBuffers},
	{"WriteBatchRoutesMixedFamilies", TestWriteBatchRoutesMixedFamilies},
	{"ReaderThatNeverSleeps", TestReaderThatNeverSleeps},
	{"SeveralWriteAtTheSameTime", TestSeveralWriteAtTheSameTime},
	{"WriteBatchStopsAtTheFirstError", TestWriteBatchStopsAtTheFirstError},
	{"TooBigWhateverDFSays", TestTooBigWhateverDFSays},
	{"KernelFillsIPv4Header", TestKernelFillsIPv4Header},
	{"IPv6HeaderIsRestored", TestIPv6HeaderIsRestored},
	{"ExtensionHeadersAreGone", TestExtensionHeadersAreGone},
	{"SuperSegmentsAreCut", TestSuperSegmentsAreCut},
	{"WriteSegmentsRefuses", TestWriteSegmentsRefuses},
	{"KernelReceivesSuperSegments", TestKernelReceivesSuperSegments},
	{"WrongChecksumArrives", TestWrongChecksumArrives},
	{"SuperSegmentsArriveWhole", TestSuperSegmentsArriveWhole},
	{"LoopbackCarriesTheLargestPackets", TestLoopbackCarriesTheLargestPackets},
	{"BatchesFitTheCache", TestBatchesFitTheCache},
	{"DropsAreCounted", TestDropsAreCounted},
	{"OnlyClaimedPortsComeThrough", TestOnlyClaimedPortsComeThrough},
	{"ManyClaims", TestManyClaims},
	{"FullQueueIsNoBuffers", TestFullQueueIsNoBuffers},
	{"LinkDownAndRouteGone", TestLinkDownAndRouteGone},
	{"OpenInAnotherNamespace", TestOpenInAnotherNamespace},
	{"InterfaceIsObeyed", TestInterfaceIsObeyed},
	{"LinkLocal", TestLinkLocal},
	{"BusyFamilyStarvesNoOther", TestBusyFamilyStarvesNoOther},
	{"NoAllocationPerPacket", TestNoAllocationPerPacket},
	{"FamilyIsObeyed", TestFamilyIsObeyed},
	{"HostWithoutIPv6Addresses", TestHostWithoutIPv6Addresses},
	{"HandshakeWithAKernel", TestHandshakeWithAKernel},
	{"GuardSilencesKernel", TestGuardSilencesKernel},
	{"WildcardGuardSilencesBothFamilies", TestWildcardGuardSilencesBothFamilies},
	{"TakenPortIsInUse", TestTakenPortIsInUse},
	{"ClaimRefusals", TestClaimRefusals},
	{"ClaimsShareOneGuard", TestClaimsShareOneGuard},
	{"CloseReleasesClaims", TestCloseReleasesClaims},
	{"ICMPErrorsComeOutOfReadBatch", TestICMPErrorsComeOutOfReadBatch},
	{"ReaderRestsAfterICMPErrors", TestReaderRestsAfterICMPErrors},
	{"ICMPErrorsOfStrangersStayOut", TestICMPErrorsOfStrangersStayOut},
	{"RoutersICMPErrors", TestRoutersICMPErrors},
	{"ICMPErrorFailsNoInnocentSend", TestICMPErrorFailsNoInnocentSend},
	{"ICMPErrorDuringReceive", TestICMPErrorDuringReceive},
	{"NFTTableSilencesKernel", TestNFTTableSilencesKernel},
	{"Route", TestRoute},
	{"RouteToOurselves", TestRouteToOurselves},
	{"RouteErrors", TestRouteErrors},
	{"NoRouteToBroadcast", TestNoRouteToBroadcast},
	{"BroadcastIsNotHeard", TestBroadcastIsNotHeard},
	{"RouteMTU", TestRouteMTU},
	{"RouteSourceFromConfig", TestRouteSourceFromConfig},
	{"RouteFollowsTheMark", TestRouteFollowsTheMark},
	{"TransmitStampsGiveRTT", TestTransmitStampsGiveRTT},
	{"StampsFollowENOBUFS", TestStampsFollowENOBUFS},
	{"NoStampsUnlessAskedFor", TestNoStampsUnlessAskedFor},
	{"TapSeesWhatLeaves", TestTapSeesWhatLeaves},
	{"OpenSocketOutlivesItsCapabilities", TestOpenSocketOutlivesItsCapabilities},
	{"DescriptorsAreCloseOnExec", TestDescriptorsAreCloseOnExec},
}

// TestPacketLink holds the packet link to what the raw link is held to.
func TestPacketLink(t *testing.T) {
	linkIO = PacketIO
	defer func() { linkIO = RawIO }()
	for _, tt := range linkTests {
		t.Run(tt.name, tt.test)
	}
}

// settle waits until a packet link knows the way of a packet, so that it and not
// the raw socket is what a test sees.
func settle(t testing.TB, c *Conn, pkts ...[]byte) {
	t.Helper()
	for _, pkt := range pkts {
		if c.packet == nil || ipVersion(pkt) == 0 {
			continue
		}
		poll(t, "the next hop", func() bool {
			hops := &c.packet.hops
			hops.mu.Lock()
			defer hops.mu.Unlock()
			h := hops.find(keyOf(c, pkt))
			h.nudged = time.Now()
			if h.until.IsZero() && !h.asked {
				hops.ask(h)
			}
			return !h.until.IsZero() && !h.asked && (h.state&nudUsable != 0 || h.why != "" || h.state&unix.NUD_INCOMPLETE == 0)
		})
	}
}

// WriteBatch is that of the Conn, of whose link the test shall see the packets.
func (s *station) WriteBatch(pkts [][]byte) (int, error) {
	s.t.Helper()
	settle(s.t, s.Conn, pkts...)
	return s.Conn.WriteBatch(pkts)
}

// whyLocal is Route.Raw of a destination on this host.
func whyLocal() string {
	if linkIO == PacketIO {
		return "it is an address of this host"
	}
	return ""
}

func openPacketStation(t *testing.T, cfg Config) *station {
	t.Helper()
	linkIO = PacketIO
	t.Cleanup(func() { linkIO = RawIO })
	s := openStation(t, cfg)
	if mode, why := s.IO(); mode != PacketIO {
		t.Fatal("no packet link:", why)
	}
	return s
}

// framed reports how a packet would go.
func framed(c *Conn, pkt []byte) bool {
	hops := &c.packet.hops
	hops.mu.Lock()
	defer hops.mu.Unlock()
	return hops.road(c, pkt, 0, time.Now()) != nil
}

// A frame is from our device to the neighbour's, and from nobody else.
func TestFrameHeader(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		l.acquaint()
		s := openPacketStation(t, Config{Guard: GuardNone})
		protocol := []uint16{unix.ETH_P_IP, unix.ETH_P_IPV6}[family]
		var fd int
		var there netlink.Link
		must(t, l.peer.do(func() (err error) {
			if there, err = netlink.LinkByName(l.peerName); err != nil {
				return err
			}
			fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(networkOrder(protocol)))
			return err
		}))
		defer unix.Close(fd)
		here, err := netlink.LinkByName(l.name)
		must(t, err)
		pkt := tcpPacket{src: netip.AddrPortFrom(l.ours[family], 4001), dst: netip.AddrPortFrom(l.theirs[family], 80), seq: 7, flags: rst}.bytes()
		settle(t, s.Conn, pkt)
		if !framed(s.Conn, pkt) {
			t.Fatal("no frame")
		}
		s.mustWrite(pkt)
		want := append(append([]byte(nil), there.Attrs().HardwareAddr...), here.Attrs().HardwareAddr...)
		want = append(binary.BigEndian.AppendUint16(want, protocol), pkt...)
		buf := make([]byte, 2048)
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for { // neighbours may have something to say to each other, too
			if n, err := unix.Poll(fds, int(patience/time.Millisecond)); n != 1 || err != nil {
				t.Fatalf("the frame does not arrive: %v", err)
			}
			n, _, err := unix.Recvfrom(fd, buf, 0)
			must(t, err)
			if bytes.Equal(buf[:n], want) {
				return
			}
			if n > 14 && bytes.Equal(buf[14:n], pkt) {
				t.Fatalf("the frame is\n%x, want\n%x", buf[:n], want)
			}
		}
	})
}

// A packet for which the kernel has something to mend, or to say, is the raw socket's.
func TestOddPacketsTakeTheRawSocket(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		l.acquaint()
		s := openPacketStation(t, Config{Guard: GuardNone})
		p := tcpPacket{src: netip.AddrPortFrom(l.ours[family], 4001), dst: netip.AddrPortFrom(l.theirs[family], 80), flags: rst, payload: make([]byte, 100)}
		settle(t, s.Conn, p.bytes())
		if !framed(s.Conn, p.bytes()) {
			t.Fatal("an ordinary packet takes the raw socket")
		}
		odd := map[string]func([]byte) []byte{
			"longer than the MTU":    func([]byte) []byte { p := p; p.payload = make([]byte, 1500); return p.bytes() },
			"octets behind it":       func(b []byte) []byte { return append(b, 0) },
			"less than its length":   func(b []byte) []byte { return b[:len(b)-1] },
			"a header alone":         func(b []byte) []byte { return b[:20] },
			"nothing":                func([]byte) []byte { return nil },
			"of another version":     func(b []byte) []byte { b[0] = 0x55; return b },
			"to this host":           func([]byte) []byte { p := p; p.dst = p.src; return p.bytes() },
			"to where no route goes": func([]byte) []byte { p := p; p.dst = netip.AddrPortFrom(nowhere[family], 1); return p.bytes() },
		}
		if family == 0 {
			odd["from somebody else"] = func([]byte) []byte { p := p; p.src = netip.AddrPortFrom(l.theirs[0], 1); return p.bytes() }
			odd["a header checksum to finish"] = func(b []byte) []byte { b[10]++; return b }
			odd["a source to fill in"] = func(b []byte) []byte { clear(b[12:16]); return b }
			odd["an identification to choose"] = func([]byte) []byte { p := p; p.mayFrag = true; return p.bytes() }
			odd["a header of no length"] = func(b []byte) []byte { b[0] = 0x40; return b }
			odd["a header beyond the packet"] = func(b []byte) []byte { b[0] = 0x4f; return b[:40] }
		}
		for name, spoil := range odd {
			pkt := spoil(p.bytes())
			if framed(s.Conn, pkt) {
				t.Errorf("%s: a frame", name)
			}
			settle(t, s.Conn, pkt)
			if framed(s.Conn, pkt) {
				t.Errorf("%s: a frame after a while", name)
			}
		}
	})
}

// nowhere are addresses that no lab has a route to.
var nowhere = [2]netip.Addr{netip.MustParseAddr("198.19.255.1"), netip.MustParseAddr("2001:db8:ffff::1")}

func TestWhyPacketsTakeTheRawSocket(t *testing.T) {
	l := newLab(t)
	silent := newLab(t)
	link, err := netlink.LinkByName(silent.name)
	must(t, err)
	must(t, netlink.LinkSetARPOff(link))
	tun := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tun9"}, Mode: netlink.TUNTAP_MODE_TUN}
	must(t, netlink.LinkAdd(tun))
	t.Cleanup(func() { netlink.LinkDel(tun) })
	must(t, netlink.AddrAdd(tun, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("198.19.1.1/24"))}))
	must(t, netlink.LinkSetUp(tun))
	s := openPacketStation(t, Config{Guard: GuardNone})
	for remote, want := range map[string]string{
		silent.theirs[0].String(): silent.name + " knows no neighbours",
		"198.19.1.2":              "tun9 is no Ethernet device",
		"127.0.0.1":               "it is an address of this host",
		"::1":                     "it is an address of this host",
		l.ours[0].String():        "it is an address of this host",
		l.theirs[0].String():      "",
		l.theirs[1].String():      "",
	} {
		route, err := s.RouteInfo(netip.MustParseAddr(remote), netip.Addr{})
		if err != nil || route.Raw != want {
			t.Errorf("%s: %+v, %v, want %q", remote, route, err, want)
		}
	}
	// Packets go all the same.
	p := tcpPacket{src: netip.AddrPortFrom(silent.ours[0], 1), dst: netip.AddrPortFrom(silent.theirs[0], 2)}
	if n, err := s.WriteBatch([][]byte{p.bytes(), p.bytes()}); n != 2 || err != nil {
		t.Errorf("WriteBatch to where no neighbours are = %d, %v", n, err)
	}
}

// Without packet sockets the raw sockets serve, and say why.
func TestRawSocketsServeWithoutPacketSockets(t *testing.T) {
	var before unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &before))
	defer func() { must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &before)) }()
	// With one descriptor more in each round, Open gets as far as it can without
	// packet sockets before it gets them.
	for limit := uint64(3); ; limit++ {
		must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: before.Max}))
		c, err := Open(Config{IO: PacketIO})
		if err != nil && limit < 1000 {
			continue
		}
		must(t, err)
		defer c.Close()
		if mode, why := c.IO(); mode != RawIO || !strings.Contains(why, "packet socket: socket: too many open files") {
			t.Errorf("IO() = %v, %q", mode, why)
		}
		must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &before))
		local := netip.MustParseAddrPort("127.0.0.1:4001")
		if _, err := c.Claim(local); err != nil {
			t.Error(err)
		}
		if n, err := c.WriteBatch([][]byte{tcpPacket{src: local, dst: local}.bytes()}); n != 1 || err != nil {
			t.Errorf("WriteBatch = %d, %v", n, err)
		}
		return
	}
}

func TestDeafDevices(t *testing.T) {
	attrs := netlink.LinkAttrs{Name: "red"}
	if err := deafDevice(&netlink.Vrf{LinkAttrs: attrs}); err == nil || !strings.Contains(err.Error(), "red is a VRF") {
		t.Errorf("a VRF: %v", err)
	}
	if err := deafDevice(&netlink.Veth{LinkAttrs: attrs}); err != nil {
		t.Errorf("a veth: %v", err)
	}
}

// hopOf returns what is known of the way of a packet.
func hopOf(c *Conn, pkt []byte) hop {
	hops := &c.packet.hops
	hops.mu.Lock()
	defer hops.mu.Unlock()
	return *hops.find(keyOf(c, pkt))
}

func TestNeighbourIsFollowed(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		l.acquaint()
		s := openPacketStation(t, Config{Guard: GuardNone})
		w := l.newWire(family)
		p := tcpPacket{src: netip.AddrPortFrom(l.ours[family], 4001), dst: netip.AddrPortFrom(l.theirs[family], 80), seq: 1, flags: rst}
		s.send(p)
		right := hopOf(s.Conn, p.bytes()).mac
		ours, err := netlink.LinkByName(l.name)
		must(t, err)
		wrong := net.HardwareAddr{2, 0, 0, 0, 0, 9}
		set := func(mac net.HardwareAddr) {
			must(t, netlink.NeighSet(&netlink.Neigh{LinkIndex: ours.Attrs().Index, State: netlink.NUD_REACHABLE, IP: l.theirs[family].AsSlice(), HardwareAddr: mac}))
			poll(t, "the neighbour's new address", func() bool { h := hopOf(s.Conn, p.bytes()); return string(h.mac[:]) == string(mac) })
		}
		set(wrong)
		p.seq = 2 // not for the peer
		s.send(p)
		set(right[:])
		p.seq = 3
		s.send(p)
		for _, want := range []uint32{1, 3} {
			if got, ok := w.receive(patience); !ok || got.seq != want {
				t.Errorf("the peer hears %+v, %v, want sequence number %d", got, ok, want)
			}
		}
		// A neighbour that is gone has to be found anew: that is the raw socket's.
		must(t, netlink.NeighDel(&netlink.Neigh{LinkIndex: ours.Attrs().Index, IP: l.theirs[family].AsSlice()}))
		poll(t, "the neighbour's loss", func() bool { return hopOf(s.Conn, p.bytes()).state&nudUsable == 0 })
		p.seq = 4
		if _, err := s.Conn.WriteBatch([][]byte{p.bytes()}); err != nil {
			t.Fatal(err)
		}
		if got, ok := w.receive(patience); !ok || got.seq != 4 {
			t.Errorf("the peer hears %+v, %v, want sequence number 4", got, ok)
		}
		poll(t, "the neighbour's return", func() bool { return hopOf(s.Conn, p.bytes()).state&nudUsable != 0 })
	})
}

// A neighbour that the kernel is not sure of gets a packet by the kernel's own
// way from time to time, so that it is asked.
func TestStaleNeighbourIsConfirmed(t *testing.T) {
	l := newLab(t)
	l.acquaint()
	s := openPacketStation(t, Config{Guard: GuardNone})
	pkt := tcpPacket{src: netip.AddrPortFrom(l.ours[0], 4001), dst: netip.AddrPortFrom(l.theirs[0], 80)}.bytes()
	settle(t, s.Conn, pkt)
	hops := &s.packet.hops
	hops.mu.Lock()
	defer hops.mu.Unlock()
	h := hops.find(keyOf(s.Conn, pkt))
	now := time.Now().Add(2 * nudgeEvery)
	h.until = now.Add(time.Hour)
	for _, step := range []struct {
		state  int
		after  time.Duration
		framed bool
	}{
		{unix.NUD_STALE, 0, false}, {unix.NUD_STALE, 0, true}, {unix.NUD_STALE, nudgeEvery, true}, {unix.NUD_STALE, time.Millisecond, false},
		{unix.NUD_DELAY, 2 * nudgeEvery, true}, {unix.NUD_PROBE, 2 * nudgeEvery, true}, {unix.NUD_REACHABLE, 2 * nudgeEvery, true},
		{unix.NUD_PERMANENT, 2 * nudgeEvery, true}, {unix.NUD_INCOMPLETE, 0, false}, {unix.NUD_FAILED, 0, false}, {0, 0, false},
	} {
		h.state, now = step.state, now.Add(step.after)
		if got := hops.road(s.Conn, pkt, 0, now) != nil; got != step.framed {
			t.Errorf("%+v: as a frame: %v", step, got)
		}
	}
}

// A route is followed, over a gateway too, while its packets go.
func TestRouteIsFollowed(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		a, b := newLab(t), newLab(t)
		outside := []netip.Addr{netip.MustParseAddr("198.19.66.1"), netip.MustParseAddr("2001:db8:ff66::1")}[family]
		for _, l := range []*lab{a, b} {
			l.acquaint()
			must(t, l.peer.do(func() error {
				link, err := netlink.LinkByName(l.peerName)
				if err != nil {
					return err
				}
				return netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(outside, outside.BitLen())), Flags: unix.IFA_F_NODAD})
			}))
		}
		by := func(l *lab) {
			must(t, netlink.RouteReplace(&netlink.Route{Dst: ipNet(netip.PrefixFrom(outside, outside.BitLen())), Gw: l.theirs[family].AsSlice()}))
		}
		by(a)
		s := openPacketStation(t, Config{Guard: GuardNone})
		p := tcpPacket{src: netip.AddrPortFrom(a.ours[family], 4001), dst: netip.AddrPortFrom(outside, 80), flags: rst}
		for _, l := range []*lab{a, b, a} {
			by(l)
			link, err := netlink.LinkByName(l.name)
			must(t, err)
			w := l.newWire(family)
			poll(t, "the way of the new route", func() bool {
				s.send(p)
				h := hopOf(s.Conn, p.bytes())
				return h.ifindex == link.Attrs().Index && h.state&nudUsable != 0
			})
			p.seq++
			s.send(p)
			for heard, ok := w.receive(patience); heard.seq != p.seq; heard, ok = w.receive(patience) {
				if !ok {
					t.Fatal("the peer there hears nothing")
				}
			}
		}
	})
}

// sendFrame sends a packet from the peer to our Ethernet address, wherever its
// IP header says it goes.
func (l *lab) sendFrame(pkt []byte) {
	l.t.Helper()
	link, err := netlink.LinkByName(l.name)
	must(l.t, err)
	must(l.t, l.peer.do(func() error {
		theirs, err := netlink.LinkByName(l.peerName)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		to := &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_IP), Ifindex: theirs.Attrs().Index, Halen: 6}
		if ipVersion(pkt) == 6 {
			to.Protocol = networkOrder(unix.ETH_P_IPV6)
		}
		copy(to.Addr[:], link.Attrs().HardwareAddr)
		return unix.Sendto(fd, pkt, 0, to)
	}))
}

// A packet socket hears what the kernel's IP would not take for this host's.
func TestStrangersPacketsStayOut(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		s := openPacketStation(t, Config{})
		s.claim(netip.AddrPortFrom(netip.IPv6Unspecified(), 4001))
		loopback := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}[family]
		s.claim(netip.AddrPortFrom(loopback, 4002))
		good := tcpPacket{src: netip.AddrPortFrom(l.theirs[family], 80), dst: netip.AddrPortFrom(l.ours[family], 4001), seq: 1, flags: ack}
		passing, toLoopback, claimed, fromLoopback := good, good, good, good
		passing.dst = netip.AddrPortFrom(nowhere[family], 4001)
		toLoopback.dst = netip.AddrPortFrom(loopback, 4001)
		claimed.dst = netip.AddrPortFrom(loopback, 4002)
		fromLoopback.src = netip.AddrPortFrom(loopback, 80)
		for i, p := range []tcpPacket{passing, toLoopback, claimed, fromLoopback, passing} {
			p.seq = uint32(100 + i)
			l.sendFrame(p.bytes())
		}
		l.sendFrame(good.bytes())
		if p := s.want(ack); p.seq != 1 {
			t.Errorf("it hears %+v", p)
		}
	})
}

func TestPaddingIsCutOff(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		s := openPacketStation(t, Config{})
		local := netip.AddrPortFrom(l.ours[family], 4001)
		s.claim(local)
		pkt := tcpPacket{src: netip.AddrPortFrom(l.theirs[family], 80), dst: local, flags: ack}.bytes()
		l.sendFrame(append(bytes.Clone(pkt), 1, 2, 3, 4, 5, 6))
		if got := <-s.raw; !bytes.Equal(got, pkt) {
			t.Errorf("received\n%x, sent\n%x", got, pkt)
		}
	})
}

// The kernel puts fragments together for the raw socket: it hears a family from
// its first fragment on.
func TestFragmentsMoveTheEar(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		s := openPacketStation(t, Config{})
		local := netip.AddrPortFrom(l.ours[family], 4001)
		s.claim(local)
		w := l.newWire(family)
		p := tcpPacket{src: netip.AddrPortFrom(w.here, 80), dst: local, flags: ack, mayFrag: true, payload: bytes.Repeat([]byte("abcdefgh"), 100)}
		stranger := p
		stranger.dst = netip.AddrPortFrom(local.Addr(), 4002)
		send := func(p tcpPacket, id byte) {
			for _, part := range fragments(p.bytes(), id) {
				must(t, unix.Sendto(w.fd, part, 0, sockaddr(local.Addr())))
			}
		}
		send(stranger, 1) // of no account
		whole := p
		whole.payload = []byte("whole")
		w.send(whole)
		if got := s.want(ack); string(got.payload) != "whole" {
			t.Fatalf("it hears %+v", got)
		}
		s.claims.making.Lock()
		moved := s.ear(family == 1) == s.socket(family == 1)
		s.claims.making.Unlock()
		if moved {
			t.Fatal("a stranger's fragment moved the ear")
		}
		for id := byte(2); ; id++ { // the first ones are lost, as a network loses them
			send(p, id)
			select {
			case got := <-s.packets:
				if !bytes.Equal(got.payload, p.payload) {
					t.Errorf("fragments arrived otherwise than put together: %d octets", len(got.payload))
				}
				w.send(whole)
				if got := s.want(ack); string(got.payload) != "whole" {
					t.Errorf("then it hears %+v", got)
				}
				return
			case <-time.After(100 * time.Millisecond):
			}
			if id == 250 {
				t.Fatal("nothing arrives")
			}
		}
	})
}

// fragments cuts a packet in two.
func fragments(pkt []byte, id byte) [][]byte {
	const cut = 400
	if ipVersion(pkt) == 4 {
		first := append([]byte(nil), pkt[:20+cut]...)
		second := append(append([]byte(nil), pkt[:20]...), pkt[20+cut:]...)
		first[4], second[4] = id, id
		first[6] = 0x20 // MF
		second[7] = cut / 8
		return [][]byte{first, second}
	}
	part := func(b []byte, offset uint16) []byte {
		out := append([]byte(nil), pkt[:40]...)
		out[6] = unix.IPPROTO_FRAGMENT
		binary.BigEndian.PutUint16(out[4:], uint16(8+len(b)))
		out = append(out, unix.IPPROTO_TCP, 0, byte(offset>>8), byte(offset), 0, 0, 0, id)
		return append(out, b...)
	}
	return [][]byte{part(pkt[40:40+cut], 1), part(pkt[40+cut:], cut)} // 1: M
}

// A device on top of another has an Ethernet address of its own, and hears what
// the one below hands on.
func TestDeviceOnTopOfAnother(t *testing.T) {
	l := newLab(t)
	under, err := netlink.LinkByName(l.name)
	must(t, err)
	top := &netlink.Macvlan{LinkAttrs: netlink.LinkAttrs{Name: "top9", ParentIndex: under.Attrs().Index}, Mode: netlink.MACVLAN_MODE_BRIDGE}
	must(t, netlink.LinkAdd(top))
	here, there := netip.MustParseAddr("198.19.44.1"), netip.MustParseAddr("198.19.44.2")
	must(t, netlink.AddrAdd(top, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(here, 24))}))
	must(t, netlink.LinkSetUp(top))
	must(t, l.peer.do(func() error {
		link, err := netlink.LinkByName(l.peerName)
		if err != nil {
			return err
		}
		return netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(there, 24))})
	}))
	for _, device := range []string{"", "top9"} {
		s := openPacketStation(t, Config{Interface: device})
		local := netip.AddrPortFrom(here, 4001)
		release := s.claim(local)
		p := tcpPacket{src: local, dst: netip.AddrPortFrom(there, 9), ack: 1, flags: ack}
		poll(t, "frames of the device", func() bool { s.send(p); return framed(s.Conn, p.bytes()) })
		p.ack = 1000
		s.send(p)
		for got := s.want(rst); got.seq != 1000; got = s.want(rst) { // answers to the packets before
		}
		must(t, release())
	}
}

// The table of hops and that of local addresses are bounded, whatever comes.
func TestHopsAreBounded(t *testing.T) {
	s := openPacketStation(t, Config{Guard: GuardNone})
	hops := &s.packet.hops
	hops.mu.Lock()
	for i := range 3 * maxHops {
		hops.find(hopKey{dst: netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), zone: uint32(i)})
	}
	if n := len(hops.table); n > maxHops {
		t.Errorf("%d hops", n)
	}
	hops.mu.Unlock()
	for i := range 2 * maxLocals {
		s.packet.locals.has(netip.AddrFrom4([4]byte{198, 19, byte(i >> 8), byte(i)}))
	}
	if n := len(s.packet.locals.known); n > maxLocals {
		t.Errorf("%d local addresses", n)
	}
}
