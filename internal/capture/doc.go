// Package capture reads what tcpdump, Wireshark and rawtcp itself record: pcap
// and pcapng files of any byte order and resolution, and in them the TCP
// segments behind every usual link layer.
//
//	octets -> Reader.Next -> Packet -> Decoder.Segment -> segment.Segment
//
// It reads a stream, from its first octet to its last, through one buffer of
// fixed size. Nothing is allocated for a packet, and nothing for what a file
// claims: a length is believed only as far as the octets are there.
//
// A file may be hostile. Each thing that cannot be is refused with an error that
// says which, at which octet; what stands before it has been read by then. A
// packet that holds no TCP segment to read is no damage: Decoder.Segment says why.
//
// # Limitations
//
// Frames are counted as Wireshark does for files of packets alone. Fragments are
// told and not put together. Tunnels are not looked into, but for PPPoE.
//
// A Reader and a Decoder may be used by one goroutine at a time.
package capture
