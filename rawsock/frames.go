package rawsock

import (
	"encoding/binary"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// frames is the sending half of a packetLink: one packet socket that sends
// Ethernet frames of both families. In front of each goes a virtio_net_hdr
// (linux/virtio_net.h), by which the kernel, or the network card, finishes a
// checksum and cuts a super-segment.
type frames struct{ s *socket }

// A frameBatch is what sendmmsg needs for frames, made once and used again.
type frameBatch struct {
	hdrs  [BatchSize]mmsghdr
	iovs  [BatchSize][2]unix.Iovec
	names [BatchSize]unix.RawSockaddrLinklayer
	heads [BatchSize]frameHead
}

// A frameHead is a virtio_net_hdr and an Ethernet header.
type frameHead [vnetLen + etherLen]byte

const (
	vnetLen  = 10
	etherLen = 14
)

// The fields of a virtio_net_hdr, in the byte order of the host.
const (
	vnetNeedsChecksum = 1 // flags
	vnetTCPv4         = 1 // gso_type
	vnetTCPv6         = 4
	vnetECN           = 0x80 // CWR is set: in the first segment alone
)

// tcpChecksumAt is where a TCP header has its checksum.
const tcpChecksumAt = 16

// sendBuffer is the size asked of the packet socket's send queue, in octets: some
// super-segments more than a system call carries.
const sendBuffer = 8 << 20

func (f *frames) open(c *Conn) error {
	fd, err := c.packetSocket(unix.SOCK_RAW)
	if err != nil {
		return err
	}
	f.s = &socket{fd: fd, out: fd, packet: true}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
		return fmt.Errorf("PACKET_VNET_HDR: %w", os.NewSyscallError("setsockopt", err))
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
	}
	c.configureOptional(f.s)
	if c.cfg.TxTimestamps {
		c.enableTxStamps(f.s)
	}
	return nil
}

func (f *frameBatch) init() {
	for i := range f.hdrs {
		h := &f.hdrs[i].hdr
		h.Iov = &f.iovs[i][0]
		h.SetIovlen(2)
		f.iovs[i][0].Base = &f.heads[i][0]
		f.iovs[i][0].SetLen(len(f.heads[i]))
		f.names[i].Family = unix.AF_PACKET
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&f.names[i])), unix.SizeofSockaddrLinklayer
	}
}

// gather returns how many packets from the first on go the same way, at most
// BatchSize, and whether that is as frames, which it has then prepared in f: they have a
// known next hop and need nothing else of the kernel. sizes are the segment sizes
// of WriteSegments, or nil.
func (p *packetLink) gather(f *frameBatch, pkts [][]byte, sizes []int) (n int, framed bool) {
	p.hops.mu.Lock()
	defer p.hops.mu.Unlock()
	now := time.Now()
	for n < min(len(pkts), BatchSize) {
		pkt, size := pkts[n], sizeAt(sizes, n)
		h := p.hops.road(p.c, pkt, size, now)
		if n == 0 {
			framed = h != nil
		}
		if framed != (h != nil) {
			break
		}
		if framed {
			f.prepare(n, pkt, size, h)
		}
		n++
	}
	return n, framed
}

// sizeAt is the segment size of packet i, 0 if it is sent as it is.
func sizeAt(sizes []int, i int) int {
	if sizes == nil {
		return 0
	}
	return sizes[i]
}

// prepare makes frame i.
func (f *frameBatch) prepare(i int, pkt []byte, size int, h *hop) {
	head := &f.heads[i]
	putVnet((*[vnetLen]byte)(head[:]), pkt, size)
	copy(head[vnetLen:], h.mac[:])
	copy(head[vnetLen+6:], h.source[:])
	protocol := uint16(unix.ETH_P_IP)
	if ipVersion(pkt) == 6 {
		protocol = unix.ETH_P_IPV6
	}
	binary.BigEndian.PutUint16(head[vnetLen+12:], protocol)
	f.names[i].Protocol, f.names[i].Ifindex = networkOrder(protocol), int32(h.ifindex)
	f.iovs[i][1].Base = &pkt[0]
	f.iovs[i][1].SetLen(len(pkt))
}

// putVnet says what the kernel has to do to a packet of segment size size: with
// 0 nothing. The caller knows that pkt is a whole TCP packet if size is not 0.
func putVnet(v *[vnetLen]byte, pkt []byte, size int) {
	*v = [vnetLen]byte{}
	if size == 0 {
		return
	}
	ip, header, _ := superHeaders(pkt)
	v[0] = vnetNeedsChecksum
	if len(pkt)-header > size {
		v[1] = vnetTCPv4
		if ipVersion(pkt) == 6 {
			v[1] = vnetTCPv6
		}
		if pkt[ip+13]&tcpCWR != 0 {
			v[1] |= vnetECN
		}
		binary.NativeEndian.PutUint16(v[4:], uint16(size))
	}
	binary.NativeEndian.PutUint16(v[2:], uint16(etherLen+header))
	binary.NativeEndian.PutUint16(v[6:], uint16(etherLen+ip))
	binary.NativeEndian.PutUint16(v[8:], tcpChecksumAt)
}

// send sends the frames of pkts from i on, or with transmit timestamps one.
func (f *frameBatch) send(s *socket, pkts [][]byte, i int) (int, unix.Errno) {
	n := len(pkts)
	if s.sent != nil {
		n = i + 1
		s.sent.expect(pkts[i])
	}
	octets := 0
	for _, pkt := range pkts[i:n] {
		octets += len(pkt)
	}
	sent, errno := sendmmsg(s.fd, f.hdrs[i:n], octets)
	if s.sent != nil && (errno == 0 || errno == unix.ENOBUFS) {
		s.sent.numbered() // a queue refuses a packet that has its number already
	}
	return sent, errno
}

// write sends the frames that gather has prepared for pkts. A packet that the
// device does not take goes to the raw socket, which knows a better way or says
// what is wrong.
func (p *packetLink) write(w *writer, pkts [][]byte, sizes []int) (int, error) {
	f, s := &w.frames, p.frames.s
	defer f.forget(len(pkts))
	sent, tries := 0, 0
	for sent < len(pkts) {
		n, errno := f.send(s, pkts, sent)
		if errno == 0 {
			sent, tries = sent+n, 0
			continue
		}
		tries++
		switch {
		case errno == unix.EINTR, errno == unix.EAGAIN && tries == 1 && s.waitWritable():
		case errno == unix.ENETDOWN, errno == unix.ENXIO, errno == unix.ENODEV, errno == unix.EMSGSIZE:
			p.hops.expire()
			if _, err := p.c.writeRaw(w, pkts[sent:sent+1], tailOf(sizes, sent)); err != nil {
				return sent, err
			}
			sent, tries = sent+1, 0
		default:
			return sent, writeError(s, pkts[sent], errno)
		}
	}
	return sent, nil
}

// forget lets go of the packets.
func (f *frameBatch) forget(n int) {
	for i := range n {
		f.iovs[i][1].Base = nil
	}
}
