package rawsock

import (
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A headless is a raw IPv4 socket that segments are handed to without their IP
// header, of those whose header the kernel would write just as we did. For a packet
// that brings its header (IP_HDRINCL) to a neighbour the kernel makes a route of
// its own, and throws it away after: a tenth of what the packet costs. Others have
// the one that is cached.
//
// It hears nothing (openDeaf), and its errors are those of the packet that is sent.
type headless struct{ fd int }

// What every header has that the kernel writes for it.
const (
	headlessTTL = 64
	headlessTOS = 0
)

// openHeadless opens the socket of a Conn.
func (c *Conn) openHeadless() (*headless, error) {
	fd, err := openDeaf(false)
	if err != nil {
		return nil, err
	}
	if err := c.configureHeadless(fd); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &headless{fd}, nil
}

func (c *Conn) configureHeadless(fd int) error {
	for _, o := range []option{
		{"IP_RECVERR", unix.SOL_IP, unix.IP_RECVERR, 1}, // else a queue of this host drops without a word
		{"IP_MTU_DISCOVER", unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO},
		{"IP_TTL", unix.SOL_IP, unix.IP_TTL, headlessTTL},
		{"IP_TOS", unix.SOL_IP, unix.IP_TOS, headlessTOS},
	} {
		if err := o.set(fd); err != nil {
			return err
		}
	}
	if c.marked {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(c.cfg.Mark)); err != nil {
			return fmt.Errorf("SO_MARK: %w", os.NewSyscallError("setsockopt", err))
		}
	}
	if c.cfg.Interface != "" {
		if err := unix.BindToDevice(fd, c.cfg.Interface); err != nil {
			return fmt.Errorf("bind to interface %q: %w", c.cfg.Interface, os.NewSyscallError("setsockopt", err))
		}
	}
	return nil
}

// takes returns how many packets, from the first on, have the header that the
// kernel writes.
func (h *headless) takes(pkts [][]byte) int {
	n := 0
	for h != nil && n < len(pkts) && isPlainHead(pkts[n]) {
		n++
	}
	return n
}

// isPlainHead reports whether the kernel would write an IPv4 packet's header as it
// is: no options, DF, an identification of 0 (which DF allows, RFC 6864 section
// 4.1), and a source that is told with the packet.
func isPlainHead(pkt []byte) bool {
	const version, dontFragment = 0x45, 0x4000
	return len(pkt) > ipv4HeaderLen &&
		binary.BigEndian.Uint64(pkt) == version<<56|headlessTOS<<48|uint64(len(pkt))<<32|dontFragment &&
		pkt[8] == headlessTTL && pkt[9] == unix.IPPROTO_TCP && binary.BigEndian.Uint32(pkt[12:]) != 0
}

// A sourced is the control message that names a packet's source address.
type sourced struct {
	head unix.Cmsghdr
	info unix.Inet4Pktinfo
	_    [4]byte // CMSG_ALIGN
}

// A headlessBatch is what sendmmsg needs, made once and used again.
type headlessBatch struct {
	hdrs    [BatchSize]mmsghdr
	iovs    [BatchSize]unix.Iovec
	names   [BatchSize]unix.RawSockaddrInet4
	control [BatchSize]sourced
}

func (b *headlessBatch) init() {
	for i := range b.hdrs {
		c := &b.control[i]
		c.head.Level, c.head.Type = unix.SOL_IP, unix.IP_PKTINFO
		c.head.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
		b.names[i].Family = unix.AF_INET
		h := &b.hdrs[i].hdr
		h.Iov, h.Control = &b.iovs[i], (*byte)(unsafe.Pointer(c))
		h.SetIovlen(1)
		h.SetControllen(unix.CmsgSpace(unix.SizeofInet4Pktinfo))
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&b.names[i])), unix.SizeofSockaddrInet4
	}
}

// send sends packets that it takes, at most BatchSize, and returns how many were
// sent. It never waits.
func (h *headless) send(b *headlessBatch, pkts [][]byte) (int, unix.Errno) {
	for i, pkt := range pkts {
		b.iovs[i].Base = &pkt[ipv4HeaderLen]
		b.iovs[i].SetLen(len(pkt) - ipv4HeaderLen)
		b.control[i].info.Spec_dst = [4]byte(pkt[12:])
		b.names[i].Addr = [4]byte(pkt[16:])
	}
	sent, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(h.fd), uintptr(unsafe.Pointer(&b.hdrs[0])),
		uintptr(len(pkts)), unix.MSG_DONTWAIT, 0, 0)
	for i := range pkts {
		b.iovs[i].Base = nil // the packets are the caller's again
	}
	if errno != 0 {
		return 0, errno
	}
	return int(sent), 0
}
