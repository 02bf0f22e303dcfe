package simnet_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"

	"rawtcp/engine"
	"rawtcp/internal/simnet"
	"rawtcp/segment"
)

var _ engine.SegmentingLink = (*simnet.Port)(nil)

// What a port makes of a super-segment are the segments that would have been sent
// one by one, and the IPv4 identification counts up.
func TestPortCutsSuperSegments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, addrs := range [][2]netip.Addr{{addrA, addrB}, {addrA6, addrB6}} {
			for _, octets := range []int{1, 999, 1000, 2001, 9000} {
				n := simnet.New(simnet.Config{})
				a := n.NewPort(simnet.PortConfig{Addrs: addrs[:1], SuperSegment: 20_000})
				b := n.NewPort(simnet.PortConfig{Addrs: addrs[1:]})
				if _, err := b.Claim(netip.AddrPortFrom(addrs[1], 2000)); err != nil {
					t.Fatal(err)
				}
				whole := segment.Segment{Src: netip.AddrPortFrom(addrs[0], 1000), Dst: netip.AddrPortFrom(addrs[1], 2000),
					Seq: segment.MakeSeq(0xffff_ff00), Ack: segment.MakeSeq(9), Flags: segment.ACK | segment.PSH | segment.FIN | segment.CWR, Window: 3,
					Options: segment.Options{Set: segment.HasTimestamps, TSVal: 8}, Payload: make([]byte, octets)}
				for i := range whole.Payload {
					whole.Payload[i] = byte(i % 251)
				}
				super := whole
				super.SegmentSize = 1000
				pkt, err := super.Append(nil)
				if err != nil {
					t.Fatal(err)
				}
				if n, err := a.WriteSegments([][]byte{pkt}, []int{1000}); n != 1 || err != nil {
					t.Fatal(n, err)
				}
				wantSegments(t, b, &whole)
			}
		}
	})
}

// wantSegments reads the segments of 1000 octets each that a whole one was cut into.
func wantSegments(t *testing.T, b *simnet.Port, whole *segment.Segment) {
	t.Helper()
	bufs, sizes, stamps := make([][]byte, 20), make([]int, 20), make([]int64, 20)
	for i := range bufs {
		bufs[i] = make([]byte, 2000)
	}
	got, err := b.ReadBatch(bufs, sizes, stamps)
	count := (len(whole.Payload) + 999) / 1000
	if got != count || err != nil {
		t.Fatalf("%d segments, %v; want %d", got, err, count)
	}
	for i := range count {
		piece := *whole
		piece.Seq, piece.Payload = whole.Seq.Add(1000*i), whole.Payload[1000*i:min(1000*i+1000, len(whole.Payload))]
		if i > 0 {
			piece.Flags &^= segment.CWR
		}
		if i < count-1 {
			piece.Flags &^= segment.FIN | segment.PSH
		}
		if piece.Src.Addr().Is4() {
			piece.IPID = uint16(i)
		}
		want, err := piece.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bufs[i][:sizes[i]], want) {
			t.Errorf("segment %d of %d of %v:\ngot  %x\nwant %x", i, count, whole.Src, bufs[i][:min(60, sizes[i])], want[:min(60, len(want))])
		}
	}
}

// A segment larger than the MTU is no better for having come in a super-segment,
// and with a segment size of 0 a packet is sent as it is.
func TestPortRefusesWhatItCannotCut(t *testing.T) {
	n := simnet.New(simnet.Config{})
	a := n.NewPort(simnet.PortConfig{Addrs: []netip.Addr{addrA}, SuperSegment: 4000, MTU: 1000})
	if got := a.SuperSegment(); got != 4000 {
		t.Errorf("super-segments of %d octets, want 4000", got)
	}
	for _, tt := range []struct {
		octets, size int
		want         error
	}{
		{500, 0, nil}, {3000, 0, syscall.EMSGSIZE}, {3000, 960, nil}, {3000, 961, syscall.EMSGSIZE}, {3961, 500, syscall.EMSGSIZE},
	} {
		pkt := packet(addrA, addrB, ack, binary.BigEndian.Uint32([]byte("size")), tt.octets)
		if _, err := a.WriteSegments([][]byte{pkt}, []int{tt.size}); !errors.Is(err, tt.want) {
			t.Errorf("%d octets in segments of %d: %v, want %v", tt.octets, tt.size, err, tt.want)
		}
	}
}
