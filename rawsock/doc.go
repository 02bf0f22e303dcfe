// Package rawsock carries whole IP packets between a program and the kernel
// through raw sockets, IPv4 and IPv6 alike, or as Ethernet frames beside them, and keeps the kernel's own TCP
// silent on the ports the program has claimed.
//
//	            ReadBatch                 WriteBatch
//	                ^                         |
//	  own check: claimed address and port     | by version nibble
//	                |                         v
//	     +----------+----------+   +----------+----------+
//	     | BPF filter on ports |   | with their headers, |
//	     |                     |   | or the kernel's same|
//	     +----------+----------+   +----------+----------+
//	                |        raw sockets      |
//	- - - - - - - - | - - - - - - - - - - - - | - - - - - - - -
//	 kernel: every TCP packet        route, queue, interface
//	                |
//	      its own TCP: a guard on each claimed port
//	      keeps it from answering
//
// A Conn has one raw socket for each family, and one that only sends plain IPv4
// segments, whose headers the kernel writes as they are. Under PacketIO packet sockets carry
// what they can, and more of it: frames to neighbours that are known, and
// super-segments. The raw sockets carry the rest. Nothing reaches ReadBatch until a
// Claim lets it through. The package never looks further into a TCP header than
// the ports, and eight octets of a packet sent when its timestamp is wanted,
// unless it has to cut a super-segment.
//
// # Limitations
//
// Raw sockets stand behind the firewall's INPUT hook: a host that drops packets
// there makes a Conn deaf. Packets whose TCP checksum is wrong arrive like others,
// and so do unfinished checksums. With headers included the kernel writes the
// IPv4 checksum and total length itself. IPv6 packets arrive without their
// extension headers. A packet to a link-local address goes out by
// Config.Interface, or by the zone of the claimed address that it comes from: a
// claim on [::] alone does not say which.
//
// Ethernet frames go past this host's firewall, connection tracking, NAT and IPsec,
// and are heard before them; VRFs are not known.
package rawsock
