package rawsock

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

// A TxStamp is when the kernel handed one packet to the network interface.
type TxStamp struct {
	Local, Remote netip.AddrPort
	Seq           uint32 // the TCP header's sequence number field
	Stamp         int64  // ns since 1970, on the clock of ReadBatch's stamps
}

// TxStamps fills dst with transmit timestamps that have not been returned yet,
// oldest first, and returns how many there are. It does not wait. The stamp of
// a packet is there before the answer to it is. The last 4096 are kept. Without
// Config.TxTimestamps there are none.
//
// The difference to a receive stamp is a round-trip time without the program's
// own delays; a step of the system clock between the two spoils it.
func (c *Conn) TxStamps(dst []TxStamp) int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed || !c.cfg.TxTimestamps {
		return 0
	}
	for _, s := range c.sockets {
		for c.reader.readErrors(s) == BatchSize {
		}
	}
	c.reader.tell()
	return c.stamps.take(dst)
}

// enableTxStamps asks for a stamp of every packet. The kernel numbers a socket's
// packets from 0 and names only the number (OPT_ID, OPT_TSONLY).
func (c *Conn) enableTxStamps(s *socket) {
	const flags = unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE |
		unix.SOF_TIMESTAMPING_OPT_ID | unix.SOF_TIMESTAMPING_OPT_TSONLY
	s.sent = new(sentRing)
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING_NEW, flags); err != nil {
		c.note("no transmit timestamps: SO_TIMESTAMPING: %v", err)
	}
}

// A sentRing remembers what the last packets of one socket were.
type sentRing struct {
	mu      sync.Mutex
	next    uint32 // the number the kernel gives to the next packet
	packets [1024]sentPacket
}

type sentPacket struct {
	number uint32
	stamp  TxStamp
}

func (r *sentRing) at(number uint32) *sentPacket { return &r.packets[number%uint32(len(r.packets))] }

// expect notes a packet before it is sent: its stamp can come back before the
// system call does.
func (r *sentRing) expect(pkt []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*r.at(r.next) = sentPacket{r.next, describe(pkt)}
}

// numbered notes that the kernel has given a number away.
func (r *sentRing) numbered() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next++
}

// find returns the packet of a number, if it is still known and was TCP.
func (r *sentRing) find(number uint32) (TxStamp, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.at(number)
	return p.stamp, p.number == number && p.stamp.Local.IsValid()
}

// keptStamps bounds the stamps that nobody has taken.
const keptStamps = 4096

// A stampQueue holds transmit timestamps until they are taken.
type stampQueue struct {
	mu    sync.Mutex
	ready []TxStamp
}

// stamped takes a stamp from the kernel.
func (q *stampQueue) stamped(s *socket, number uint32, stamp int64) {
	if s.sent == nil {
		return
	}
	packet, ok := s.sent.find(number)
	if !ok {
		return
	}
	packet.Stamp = stamp
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.ready) == keptStamps {
		q.ready = q.ready[1:]
	}
	q.ready = append(q.ready, packet)
}

func (q *stampQueue) take(dst []TxStamp) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := copy(dst, q.ready)
	q.ready = append(q.ready[:0], q.ready[n:]...)
	return n
}

// describe reads what an ICMP error would quote: addresses, ports and sequence
// number. The zero TxStamp means that the packet is no TCP segment.
func describe(pkt []byte) TxStamp {
	src, dst, tcp, ok := split(pkt)
	if !ok || len(tcp) < 8 {
		return TxStamp{}
	}
	return TxStamp{
		Local:  netip.AddrPortFrom(src, binary.BigEndian.Uint16(tcp)),
		Remote: netip.AddrPortFrom(dst, binary.BigEndian.Uint16(tcp[2:])),
		Seq:    binary.BigEndian.Uint32(tcp[4:]),
	}
}

// split returns the addresses of an IP packet, and what follows its header if
// that is TCP. The packet may be cut off.
func split(pkt []byte) (src, dst netip.Addr, tcp []byte, ok bool) {
	switch ipVersion(pkt) {
	case 4:
		n := int(pkt[0]&0x0f) * 4
		if n < ipv4HeaderLen || n > len(pkt) || pkt[9] != unix.IPPROTO_TCP {
			return
		}
		return netip.AddrFrom4([4]byte(pkt[12:])), netip.AddrFrom4([4]byte(pkt[16:])), pkt[n:], true
	case 6:
		if pkt[6] != unix.IPPROTO_TCP {
			return
		}
		return netip.AddrFrom16([16]byte(pkt[8:])), netip.AddrFrom16([16]byte(pkt[24:])), pkt[ipv6HeaderLen:], true
	}
	return
}
