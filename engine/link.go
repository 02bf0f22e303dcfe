package engine

import (
	"io"
	"net/netip"
)

// A Link carries whole IP packets between a Host and a network. rawsock.Conn
// satisfies it by shape, and so does simnet's.
//
// ReadBatch and WriteBatch may be called at the same time as each other and as
// the other methods, but each by one goroutine at a time; see also ConcurrentLink.
type Link interface {
	// ReadBatch waits for packets and fills bufs[i][:sizes[i]] with one whole
	// IP packet each (for IPv6 too), and stamps[i] with the kernel's receive
	// time in nanoseconds since 1970, or 0. It returns the number of packets.
	// An error that has the method of ICMPError, or Temporary() true, is news
	// about the network and not the end; net.ErrClosed after Close is.
	ReadBatch(bufs [][]byte, sizes []int, stamps []int64) (int, error)

	// WriteBatch sends whole IP packets and returns how many were sent; the
	// error is about packet n. It does not keep the buffers.
	WriteBatch(pkts [][]byte) (int, error)

	// Claim makes the kernel silent on a local address and port, and lets
	// their packets through to ReadBatch, until the claim is closed. An
	// unspecified address claims the port on every address of its family;
	// [::] claims both families. A taken port is syscall.EADDRINUSE.
	Claim(local netip.AddrPort) (io.Closer, error)

	// Route returns the source address and the largest datagram (octets, IP
	// header included) for a destination. local, if valid, is the source
	// address the caller insists on. A destination that is the broadcast address
	// of a network is an error that is a BroadcastError.
	Route(remote, local netip.Addr) (source netip.Addr, mtu int, err error)

	// Close ends the link; a blocked ReadBatch returns net.ErrClosed.
	Close() error
}

// A SegmentingLink is a Link that cuts super-segments: TCP packets longer than the
// MTU, which pass through the stack below as one and are cut by the network card,
// by the kernel, or not at all if the receiver takes them whole. Whether a Link
// is one is found out by a type assertion, and whether it is of use by
// SuperSegment. (A super-segment that is received needs no word: ReadBatch
// returns it like any packet.)
type SegmentingLink interface {
	Link

	// SuperSegment returns the size in octets, IP header included, of the largest
	// super-segment to hand to WriteSegments, or 0 if none is worth it. It does
	// not change.
	SuperSegment() int

	// WriteSegments is WriteBatch for packets of which some are super-segments:
	// packet i is cut into segments of segmentSizes[i] octets of payload each, of
	// which the last may have less. Its TCP checksum is unfinished: the field holds
	// the folded sum of the pseudo-header with the length of the whole
	// (segment.ChecksumPartial). Its header goes before each segment, with the
	// sequence number and the IPv4 identification counted up, FIN and PSH in
	// the last alone and CWR in the first. A packet of no more than
	// segmentSizes[i] octets of payload is one segment, whose checksum the link
	// finishes; with a segment size of 0 it is sent as it is.
	//
	// When the error is about a super-segment, some of its segments may have been
	// sent: to send it again is right.
	WriteSegments(pkts [][]byte, segmentSizes []int) (int, error)
}

// A ConcurrentLink is a Link to which several goroutines may write at the same time,
// if ConcurrentWrites says so, which does not change: the shards of a Host then do
// not wait for each other. Packets of one call leave in their order.
type ConcurrentLink interface {
	Link
	ConcurrentWrites() bool // of WriteBatch, and of WriteSegments if it has that
}

// A BroadcastError is the shape of a Link's error about an address that stands
// for many hosts, of which only the link knows (RFC 9293 section 3.9.1.1, MUST-46).
type BroadcastError interface {
	error
	Broadcast() bool // true
}

// An ICMPError is the shape of a Link's read error that carries an ICMP or
// ICMPv6 error message about a packet we sent.
type ICMPError interface {
	error
	// ICMP returns who reported, type and code, the next-hop MTU (0 if the
	// message has none) and the quoted packet from its IP header on.
	ICMP() (from netip.Addr, typ, code uint8, mtu int, quoted []byte)
}
