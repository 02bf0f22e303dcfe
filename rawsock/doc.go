// Package rawsock carries whole IP packets between a program and the kernel
// through raw sockets, IPv4 and IPv6 alike, and keeps the kernel's own TCP
// silent on the ports the program has claimed.
//
//	            ReadBatch                 WriteBatch
//	                ^                         |
//	  own check: claimed address and port     | by version nibble
//	                |                         v
//	     +----------+----------+   +----------+----------+
//	     | BPF filter on ports |   | headers included    |
//	     +----------+----------+   +----------+----------+
//	                |        raw sockets      |
//	- - - - - - - - | - - - - - - - - - - - - | - - - - - - - -
//	 kernel: every TCP packet        route, queue, interface
//	                |
//	      its own TCP: a guard on each claimed port
//	      keeps it from answering
//
// A Conn has one socket for each family. Nothing reaches ReadBatch until a
// Claim lets it through. The package never looks further into a TCP header than
// the ports, and eight octets of a packet sent when its timestamp is wanted.
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
package rawsock
