package rawsock

import (
	"net/netip"
	"testing"
)

// A batch of merged segments ends before it falls out of the processor's cache.
func TestBatchesFitTheCache(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		addr := [2]netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}[family]
		local := netip.AddrPortFrom(addr, 4001)
		c, err := openLink(Config{})
		must(t, err)
		defer c.Close()
		_, err = c.Claim(local)
		must(t, err)
		var bufs [BatchSize][]byte
		for i := range bufs {
			bufs[i] = make([]byte, 65600)
		}
		var sizes [BatchSize]int
		var stamps [BatchSize]int64
		large := tcpPacket{src: netip.AddrPortFrom(addr, 80), dst: local, flags: rst, payload: make([]byte, 60_000)}.bytes()
		const some = 12
		hear := func() (most int) {
			for range some {
				if n, err := c.WriteBatch([][]byte{large}); n != 1 || err != nil {
					t.Fatal(n, err)
				}
			}
			for heard := 0; heard < some; {
				n, err := c.ReadBatch(bufs[:], sizes[:], stamps[:])
				must(t, err)
				heard, most = heard+n, max(most, n)
			}
			return most
		}
		hear() // now it is known how large they are
		if most := hear(); most > batchOctets/len(large)+1 {
			t.Errorf("%d packets of %d octets in a batch", most, len(large))
		}
	})
}
