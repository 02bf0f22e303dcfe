package rawsock

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/nftables"
)

// wantStamp waits for the next transmit timestamp.
func (s *station) wantStamp() TxStamp {
	s.t.Helper()
	var got [1]TxStamp
	poll(s.t, "transmit timestamp", func() bool { return s.TxStamps(got[:]) == 1 })
	return got[0]
}

func TestTransmitStampsGiveRTT(t *testing.T) { // E6
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		remote := kernelListener(l, family)
		s := openStation(t, Config{TxTimestamps: true})
		local := netip.AddrPortFrom(l.ours[family], 4001)
		s.claim(local)
		for i := range uint32(20) {
			before := time.Now()
			s.send(tcpPacket{src: local, dst: remote, seq: 1000 * i, flags: syn})
			sa := s.want(syn | ack)
			elapsed := time.Since(before)
			received := <-s.stamps
			stamp := s.wantStamp()
			if stamp.Local != local || stamp.Remote != remote || stamp.Seq != 1000*i {
				t.Errorf("a stamp of %+v, want that of sequence number %d", stamp, 1000*i)
			}
			rtt := time.Duration(received - stamp.Stamp)
			if rtt <= 0 || rtt > elapsed {
				t.Errorf("RTT %v by the kernel, %v by our clock", rtt, elapsed)
			}
			if i == 19 {
				t.Logf("RTT %v by the kernel, %v by our clock", rtt, elapsed)
			}
			s.send(tcpPacket{src: local, dst: remote, seq: 1000*i + 1, ack: sa.seq + 1, flags: rst})
			if stamp := s.wantStamp(); stamp.Seq != 1000*i+1 {
				t.Errorf("a stamp of %+v, want that of the RST", stamp)
			}
		}
	})
}

// TestStampsSurviveFailedSends sends what fails in every way: the kernel numbers
// some of it and some not.
func TestStampsSurviveFailedSends(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		outside := []netip.Addr{netip.MustParseAddr("198.19.77.1"), netip.MustParseAddr("2001:db8:ff77::1")}[family]
		drop(t, nftables.ChainHookOutput, toPort(81)...)
		s := openStation(t, Config{Guard: GuardNone, TxTimestamps: true})
		good := tcpPacket{src: netip.AddrPortFrom(l.ours[family], 4001), dst: netip.AddrPortFrom(l.theirs[family], 80), flags: rst}
		tooBig, denied, unroutable := good, good, good
		tooBig.payload = make([]byte, 1500)
		denied.dst = netip.AddrPortFrom(l.theirs[family], 81)
		unroutable.dst = netip.AddrPortFrom(outside, 80)
		for i, bad := range []tcpPacket{tooBig, denied, unroutable, denied, denied, tooBig} {
			bad.seq, good.seq = 500+uint32(i), uint32(i)
			if n, err := s.WriteBatch([][]byte{good.bytes(), bad.bytes(), good.bytes()}); n != 1 || err == nil {
				t.Fatalf("WriteBatch = %d, %v", n, err)
			}
			if stamp := s.wantStamp(); stamp.Seq != uint32(i) {
				t.Errorf("round %d: stamp of %+v", i, stamp)
			}
		}
	})
}

func TestStampsFollowENOBUFS(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		restore := l.narrowQueue()
		s := openStation(t, Config{Guard: GuardNone, TxTimestamps: true})
		p := tcpPacket{src: netip.AddrPortFrom(l.ours[family], 4001), dst: netip.AddrPortFrom(l.theirs[family], 80), flags: rst, payload: make([]byte, 1000)}
		failures := 0
		for failures < 3 {
			if _, err := s.WriteBatch([][]byte{p.bytes()}); err != nil {
				failures++
			}
		}
		restore()
		p.seq = 7777
		s.send(p)
		for s.wantStamp().Seq != 7777 {
		}
	})
}

func TestNoStampsUnlessAskedFor(t *testing.T) {
	l := newLab(t)
	s := openStation(t, Config{Guard: GuardNone})
	s.send(tcpPacket{src: netip.AddrPortFrom(l.ours[0], 4001), dst: netip.AddrPortFrom(l.theirs[0], 80), flags: rst})
	if n := s.TxStamps(make([]TxStamp, 8)); n != 0 {
		t.Errorf("%d stamps", n)
	}
}

func TestUntakenStampsAreBounded(t *testing.T) {
	q, s := stampQueue{}, &socket{sent: new(sentRing)}
	pkt := tcpPacket{src: netip.MustParseAddrPort("198.18.0.1:1"), dst: netip.MustParseAddrPort("198.18.0.2:2")}
	for i := range uint32(keptStamps + 10) {
		pkt.seq = i
		s.sent.expect(pkt.bytes())
		s.sent.numbered()
		q.stamped(s, i, int64(i))
	}
	got := make([]TxStamp, keptStamps+10)
	if n := q.take(got); n != keptStamps || got[0].Seq != 10 || got[n-1].Seq != keptStamps+9 {
		t.Errorf("%d stamps from %d to %d", n, got[0].Seq, got[n-1].Seq)
	}
	q.stamped(s, 3, 1) // long forgotten
	if n := q.take(got); n != 0 {
		t.Error("a stamp was matched to a packet that took its place")
	}
}
