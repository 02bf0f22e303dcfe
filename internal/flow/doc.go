// Package flow follows the TCP connections of a capture from outside: it sees
// every segment that passed one point of the path, and tells from these alone
// in which state both ends are, what each segment is (new, sent again, out of
// order, a probe …), and what stands out in the end.
//
//	                     +-> Event  one segment, its notes, changes of state
//	segments -> Tracker -+
//	                     +-> Conn   all that was seen of one connection, when it is over
//
// What an observer cannot know is assumed as follows. A segment that was seen
// arrives: the receiver's state changes with it. Only a SYN must be answered
// first, because most SYNs that nobody answers never arrived or were ignored on
// purpose. An RST that its receiver would have to refuse (RFC 9293 section
// 3.10.7.4, RFC 5961) ends nothing, and one whose sender goes on did not come
// from there.
//
// A capture may begin and end anywhere, have holes, hold segments twice and in
// another order than they were sent. What is marked as sent again was seen
// before, or its place in the stream was left open for longer than the network
// can explain; IP identification and timestamps decide where they can.
//
// A Tracker holds a bounded number of connections, and forgets first what was
// silent longest. It allocates nothing for a segment. It may be used by one
// goroutine at a time.
package flow
