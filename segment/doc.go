// Package segment turns the bytes of a TCP/IP packet into values and back. It
// has no sockets, no clock and no state.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-------------------------------+-------------------------------+
//	|           Src.Port()          |           Dst.Port()          |
//	+-------------------------------+-------------------------------+
//	|                              Seq                              |
//	+---------------------------------------------------------------+
//	|                              Ack                              |
//	+-------+-----+-----------------+-------------------------------+
//	| offset|  0  |A C E U A P R S F|            Window             |
//	|       |     |E W C R C S S Y I|      as on the wire           |
//	|       |     |  R E G K H T N N|                               |
//	+-------+-----+-----------------+-------------------------------+
//	|            checksum           |             Urgent            |
//	+-------------------------------+-------------------------------+
//	|              Options.Raw, 0 to 40 octets, padded              |
//	+---------------------------------------------------------------+
//	|                            Payload                            |
//	+---------------------------------------------------------------+
//
// The header is that of RFC 9293 section 3.1 with AE of RFC 9768; an IPv4
// (RFC 791) or IPv6 (RFC 8200) header stands before it.
//
// [Segment.Parse] reads a packet, [Segment.Append] writes one, and neither
// allocates. Parse checks what a receiver must check to read at all: versions,
// lengths, offsets, the IPv4 header checksum. It refuses with an error that
// [Reason] names, and it never panics and never loops, whatever the bytes. It
// judges the TCP checksum but leaves the decision to the caller, for a packet
// that has not left this machine carries an unfinished one ([ChecksumPartial]).
// Whether the values make sense (ports, flags, addresses) is not its business.
//
// Payload and option bytes alias the packet: they live as long as its buffer is
// left alone.
//
// [Segment.AppendText] and [ParseText] write and read the one-line notation
// used wherever people meet a segment:
//
//	P. 1:1001(1000) ack 1 win 502 <nop,nop,TS val 7 ecr 3>
//
// # Limitations
//
// Fragments and jumbograms are refused. IP options and IPv6 extension headers
// are passed over and not kept, and the reserved bits of the TCP header are
// read as 0. Append writes neither.
//
// A value may be used by one goroutine at a time; the functions share nothing.
package segment
