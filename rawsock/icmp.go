package rawsock

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An ICMPError is an ICMP or ICMPv6 error message about a packet from a claimed
// port. ReadBatch returns it; it is news and not the end.
type ICMPError struct {
	From   netip.Addr // who reported
	Type   uint8      // of ICMP if Quoted is an IPv4 packet, else of ICMPv6
	Code   uint8
	MTU    int    // next-hop MTU in octets, 0 if the message has none
	Quoted []byte // our packet from its IP header on, as far as it was quoted
}

// ICMP returns the fields.
func (e *ICMPError) ICMP() (from netip.Addr, typ, code uint8, mtu int, quoted []byte) {
	return e.From, e.Type, e.Code, e.MTU, e.Quoted
}

// Error says who reported what.
func (e *ICMPError) Error() string {
	name := "icmp"
	if ipVersion(e.Quoted) == 6 {
		name = "icmp6"
	}
	return fmt.Sprintf("%s from %v: type %d code %d", name, e.From, e.Type, e.Code)
}

// Temporary reports true.
func (e *ICMPError) Temporary() bool { return true }

// Timeout reports false.
func (e *ICMPError) Timeout() bool { return false }

// maxQuoted is the most a conforming ICMPv6 error quotes: all that fits 1280
// octets (RFC 4443 section 2.4 (c)). ICMP quotes less (RFC 1812 section 4.3.2.3).
const maxQuoted = 1280

// readErrors empties a socket's error queue, up to a bound so that a flood
// cannot hold the caller, and returns how many entries there were.
func (r *reader) readErrors(s *socket) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := range BatchSize {
		size, controlSize, _, _, err := unix.Recvmsg(s.fd, r.quoted[:], r.control[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err != nil {
			return n
		}
		r.readErrorEntry(s, r.quoted[:size], r.control[:controlSize])
	}
	return BatchSize
}

// readErrorEntry sorts one entry: an ICMP error, a transmit timestamp, or a
// local error, which WriteBatch has already returned.
func (r *reader) readErrorEntry(s *socket, quoted, control []byte) {
	var e errorEntry
	e.parse(control)
	switch e.Origin {
	case unix.SO_EE_ORIGIN_TIMESTAMPING:
		r.c.stamps.stamped(s, e.Data, e.stamp)
	case unix.SO_EE_ORIGIN_ICMP, unix.SO_EE_ORIGIN_ICMP6:
		if r.c.claims.sentBy(quoted) {
			r.news = append(r.news, e.icmpError(quoted))
		}
	}
}

// An errorEntry is the control part of an entry of the error queue.
type errorEntry struct {
	unix.SockExtendedErr
	from  netip.Addr
	stamp int64 // ns since 1970
}

func (e *errorEntry) parse(control []byte) {
	for len(control) >= unix.SizeofCmsghdr {
		hdr, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return
		}
		switch {
		case hdr.Level == unix.SOL_SOCKET && hdr.Type == unix.SO_TIMESTAMPING_NEW && len(data) >= 16:
			e.stamp = timespec(data)
		case hdr.Level == unix.SOL_PACKET && hdr.Type == unix.PACKET_TX_TIMESTAMP,
			hdr.Level == unix.SOL_IP && hdr.Type == unix.IP_RECVERR,
			hdr.Level == unix.SOL_IPV6 && hdr.Type == unix.IPV6_RECVERR:
			e.parseExtended(data)
		}
		control = rest
	}
}

// parseExtended reads a struct sock_extended_err and the socket address of the
// offender behind it.
func (e *errorEntry) parseExtended(data []byte) {
	const size = int(unsafe.Sizeof(e.SockExtendedErr))
	if len(data) < size {
		return
	}
	e.Errno = binary.NativeEndian.Uint32(data)
	e.Origin, e.Type, e.Code = data[4], data[5], data[6]
	e.Info = binary.NativeEndian.Uint32(data[8:])
	e.Data = binary.NativeEndian.Uint32(data[12:])
	offender := data[size:]
	if len(offender) < 2 {
		return
	}
	switch family := binary.NativeEndian.Uint16(offender); {
	case family == unix.AF_INET && len(offender) >= unix.SizeofSockaddrInet4:
		e.from = netip.AddrFrom4([4]byte(offender[4:]))
	case family == unix.AF_INET6 && len(offender) >= unix.SizeofSockaddrInet6:
		e.from = netip.AddrFrom16([16]byte(offender[8:]))
	}
}

// icmpError copies the entry out of the reader's buffers.
func (e *errorEntry) icmpError(quoted []byte) *ICMPError {
	err := &ICMPError{From: e.from, Type: e.Type, Code: e.Code, Quoted: append([]byte(nil), quoted...)}
	if e.Errno == uint32(unix.EMSGSIZE) {
		err.MTU = int(e.Info)
	}
	return err
}
