package rawsock

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is struct mmsghdr of recvmmsg(2) and sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// controlSize holds the control messages of one packet: packet info, hop limit,
// flow info and timestamps take 184 octets on 64-bit systems.
const controlSize = 256

// An inBatch is what recvmmsg needs, made once and used again.
type inBatch struct {
	v6      bool
	hdrs    [BatchSize]mmsghdr
	iovs    [BatchSize]unix.Iovec
	names   [BatchSize]unix.RawSockaddrInet6
	control [BatchSize][controlSize]byte
}

func (b *inBatch) init(v6 bool) {
	b.v6 = v6
	for i := range b.hdrs {
		h := &b.hdrs[i].hdr
		h.Iov = &b.iovs[i]
		h.SetIovlen(1)
		h.Control = &b.control[i][0]
		if v6 {
			h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		}
	}
}

// recv receives into bufs and returns how many arrived. It never waits.
func (b *inBatch) recv(fd int, bufs [][]byte, sizes []int, stamps []int64) (int, unix.Errno) {
	n := min(len(bufs), BatchSize)
	for i := range n {
		b.prepare(i, bufs[i])
	}
	got, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.hdrs[0])),
		uintptr(n), unix.MSG_DONTWAIT, 0, 0)
	for i := range n {
		b.iovs[i].Base = nil // the buffers are the caller's again
	}
	if errno != 0 {
		return 0, errno
	}
	for i := range int(got) {
		sizes[i], stamps[i] = b.finish(i, bufs[i])
	}
	return int(got), 0
}

// prepare points message i at a buffer. On IPv6 the packet comes without its IP
// header, for which room is left in front.
func (b *inBatch) prepare(i int, buf []byte) {
	h := &b.hdrs[i].hdr
	h.SetControllen(controlSize)
	if b.v6 {
		h.Namelen = unix.SizeofSockaddrInet6
		buf = buf[ipv6HeaderLen:]
	}
	b.iovs[i].Base = &buf[0]
	b.iovs[i].SetLen(len(buf))
}

// finish returns the length and receive time of packet i, after giving an IPv6
// packet its header back.
func (b *inBatch) finish(i int, buf []byte) (size int, stamp int64) {
	m := &b.hdrs[i]
	var info controlInfo
	info.parse(b.control[i][:m.hdr.Controllen])
	if !b.v6 {
		return int(m.len), info.stamp
	}
	putIPv6Header(buf, int(m.len), &b.names[i].Addr, &info)
	return ipv6HeaderLen + int(m.len), info.stamp
}

// The lengths of IP headers without options, in octets.
const (
	ipv4HeaderLen = 20
	ipv6HeaderLen = 40
)

// putIPv6Header writes the header of a received packet as far as the kernel
// tells about it. The payload length of a packet above 65,535 octets is 0, as
// in a jumbogram (RFC 2675).
func putIPv6Header(buf []byte, size int, src *[16]byte, info *controlInfo) {
	if size > 0xffff {
		size = 0
	}
	binary.BigEndian.PutUint32(buf[0:], 6<<28|info.flow)
	binary.BigEndian.PutUint16(buf[4:], uint16(size))
	buf[6] = unix.IPPROTO_TCP
	buf[7] = info.hopLimit
	copy(buf[8:24], src[:])
	copy(buf[24:40], info.dst[:])
}

// controlInfo is what control messages say about one packet.
type controlInfo struct {
	stamp    int64 // ns since 1970, 0 if none
	hopLimit uint8
	flow     uint32 // traffic class and flow label, as in the header's first word
	dst      [16]byte
}

func (c *controlInfo) parse(control []byte) {
	for len(control) >= unix.SizeofCmsghdr {
		hdr, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return
		}
		c.add(hdr.Level, hdr.Type, data)
		control = rest
	}
}

func (c *controlInfo) add(level, typ int32, data []byte) {
	switch {
	case level == unix.SOL_SOCKET && typ == unix.SO_TIMESTAMPNS_NEW && len(data) >= 16:
		c.stamp = timespec(data)
	case level != unix.SOL_IPV6:
	case typ == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
		copy(c.dst[:], data)
	case typ == unix.IPV6_HOPLIMIT && len(data) >= 4:
		c.hopLimit = uint8(binary.NativeEndian.Uint32(data))
	case typ == ipv6FlowInfo && len(data) >= 4:
		c.flow = binary.BigEndian.Uint32(data) & 0x0fffffff
	}
}

// timespec reads a struct __kernel_timespec as nanoseconds.
func timespec(b []byte) int64 {
	return int64(binary.NativeEndian.Uint64(b))*1e9 + int64(binary.NativeEndian.Uint64(b[8:]))
}

// An outBatch is what sendmmsg needs, made once and used again.
type outBatch struct {
	v6     bool
	hdrs   [BatchSize]mmsghdr
	iovs   [BatchSize]unix.Iovec
	names4 [BatchSize]unix.RawSockaddrInet4
	names6 [BatchSize]unix.RawSockaddrInet6
}

func (b *outBatch) init(v6 bool) {
	b.v6 = v6
	for i := range b.hdrs {
		h := &b.hdrs[i].hdr
		h.Iov = &b.iovs[i]
		h.SetIovlen(1)
		b.names4[i].Family = unix.AF_INET
		b.names6[i].Family = unix.AF_INET6
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&b.names4[i])), unix.SizeofSockaddrInet4
		if v6 {
			h.Name, h.Namelen = (*byte)(unsafe.Pointer(&b.names6[i])), unix.SizeofSockaddrInet6
		}
	}
}

// prepare points message i at a packet. zone is the interface index for a
// link-local destination.
func (b *outBatch) prepare(i int, pkt []byte, zone uint32) {
	b.iovs[i].Base = &pkt[0]
	b.iovs[i].SetLen(len(pkt))
	if !b.v6 {
		copy(b.names4[i].Addr[:], pkt[16:20])
		return
	}
	copy(b.names6[i].Addr[:], pkt[24:40])
	b.names6[i].Scope_id = zone
}

// send sends messages i to n-1 and returns how many were sent. It never waits.
func (b *outBatch) send(fd, i, n int) (int, unix.Errno) {
	octets := 0
	for _, v := range b.iovs[i:n] {
		octets += int(v.Len)
	}
	return sendmmsg(fd, b.hdrs[i:n], octets)
}

// sendmmsg sends messages of so many octets and returns how many messages were
// sent. It never waits.
//
// Of a long call the runtime is not told. It would take the processor from the
// thread after some 20 µs, wake another for whoever can run, and have the two
// push each other aside: a tenth of the work of bulk transfer. A collector of garbage
// waits for it to the end, which is a tenth of a millisecond for what an engine
// writes at a time.
func sendmmsg(fd int, msgs []mmsghdr, octets int) (int, unix.Errno) {
	var n uintptr
	var errno unix.Errno
	if octets < longCall {
		n, _, errno = unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&msgs[0])), uintptr(len(msgs)), unix.MSG_DONTWAIT, 0, 0)
	} else {
		n, _, errno = unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&msgs[0])), uintptr(len(msgs)), unix.MSG_DONTWAIT, 0, 0)
	}
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// longCall is how many octets, sent by one system call, take it so long that the
// runtime would notice.
const longCall = 8 << 10

// forget lets go of the packets.
func (b *outBatch) forget(n int) {
	for i := range n {
		b.iovs[i].Base = nil
	}
}
