// Package puppet is a TCP peer that obeys its caller and no rule: it opens a
// connection the ordinary way and can then send any segment, hold or forge any
// acknowledgement, freeze its window, and wait for what matches. Behaviour tests
// stand on it.
//
//	row A      row B               a row reads like the protocol it tests
//	  |          |
//	Stage      Stage               places for puppets, the evidence of one row
//	 |  \        |
//	Puppet     Puppet              numbers, options, windows; one 4-tuple
//	    \      /
//	     Board                     one link, shared: pace, seats, dispatch
//	       |
//	  engine.Link                  rawsock, or simnet in virtual time
//
// Nothing happens that the caller did not ask for: a Puppet keeps count of what
// arrives, and acknowledges it when it is told to. Numbers in calls are relative
// to what an obedient peer would say next, so that
//
//	p.Provoke(segment.RST, puppet.Seq(+10))
//
// is a RST ten octets beyond the exact sequence number.
//
// # Manners
//
// The Board holds everybody to a pace (packets in any one second) and to a number
// of connections at a time; a Puppet keeps provocations of one connection apart.
// Who waits for the pace is served in turn. What must not wait has three ways: Book
// a number of packets ahead of an exchange, Reply to what the peer wants an answer
// to, and be OnCall where answers will be owed.
// A local port is claimed, and with it the kernel silenced, before the first
// segment leaves. A Stage that is closed has torn down every connection that its
// puppets opened, and given the ports back.
//
// # Time
//
// Moments are since the Board began. What arrives has the kernel's receive time
// where the link knows it, what is sent the program's, taken before the call to
// the link.
//
// # Failure
//
// A Stage that cannot go on (its context has ended, the link is gone, a send has
// failed) keeps the reason and tells its Abort function, which may end the
// goroutine. If it returns, every call returns at once with nothing.
//
// Methods of a Stage and of its puppets are called by one goroutine; stages may
// be used side by side.
package puppet
