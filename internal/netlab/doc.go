// Package netlab builds real networks out of nothing for tests and demonstrations:
// hosts that are network namespaces, veth pairs between them, peers on the
// kernel's own TCP, and a relay that treats packets badly on purpose.
//
//	+--------------+                                   +--------------+
//	| host a       |                                   | host b       |
//	|  198.18.0.1  | eth0 =========================eth0|  198.18.0.2  |   Lab.Join
//	|  2001:db8::1 |                                   |  2001:db8::2 |
//	+--------------+                                   +--------------+
//
//	+--------------+            +-----------+            +--------------+
//	| host a       | eth0 ==left| relay     |right== eth0| host b       |   Lab.Relay
//	+--------------+            +-----------+            +--------------+
//	                 loss, delay, rate, duplicates, damage
//
// Nothing has a name in /run/netns and nothing is configured outside: a
// namespace lives as long as the threads and descriptors of this process, so
// that even SIGKILL leaves nothing behind. Addresses come from 198.18.0.0/15
// (RFC 2544) and 2001:db8::/32 (RFC 3849), which belong to no network.
//
// Main and Isolate put a whole program into a fresh user and network namespace,
// where an ordinary user may do all of this, and where Lab.Here can make the
// program itself one of the hosts.
//
// # Limitations
//
// A goroutine is inside a host only within Host.Do. Names are not resolved
// inside a host: it has no resolver to ask. Timing is that of a user-space
// relay: about 0.2 ms late, milliseconds on a busy machine.
package netlab
