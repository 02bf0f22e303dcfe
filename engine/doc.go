// Package engine is TCP: segments and time in, segments out.
//
//	   application                        network
//	Write Read Close                  ReadBatch WriteBatch
//	      |   ^                             |    ^
//	+-----v---+-----------------------------v----+-----+
//	| Host, NetConn, NetListener: clock, lock,         |  loop.go dial.go
//	|   goroutines, the faces of package net           |  claims.go netconn.go
//	+-----+---^-----------------------------+----^-----+
//	      |   |                     Deliver |    | Transmit
//	+-----v---+-----------------------------v----+-----+
//	| Stack: who owns a segment, timers, replies       |  stack.go listener.go
//	|  Conn: the state machine of RFC 9293             |  conn.go receive.go ack.go
//	|        and its companions                        |  transmit.go timeout.go ...
//	+--------------------------------------------------+
//
// # The core
//
// Stack, Listener and Conn are pure. They read no clock, start no goroutine, draw
// no random numbers and take no lock: now is an argument, and the same calls give
// the same segments. The shipped command, simulations, fuzzers and tests drive
// the very same code. A caller brings packets with Stack.Deliver, lets timers fire
// with Stack.Advance at Stack.Deadline, and takes what is to be sent from
// Stack.Transmit until that returns false. The example below does it with a clock
// of its own.
//
//	+--------+ Dial +--------+ SYN-ACK +-----------+ Close +----------+
//	| CLOSED |----->|SYN-SENT|-------->|ESTABLISHED|------>|FIN-WAIT-1| ...
//	+--------+      +--------+         +-----------+       +----------+
//
// # The host
//
// Host runs Stacks on a Link, a shard for each processor it may use, each with its
// mutex; whoever holds that also sends what the stack has to say, so that a Write
// goes out without waiting for another goroutine. NetConn and NetListener satisfy net.Conn and net.Listener: net/http
// runs over them, on either side.
//
// # What happened
//
// A Tracer is told of every segment, state, timer and decision, with the reason.
// Without one, events cost nothing. One that is Selective is told what it asks
// for, and sums in place of the rest.
//
// # Limitations
//
// TCP-AO and MPTCP are parsed and not spoken.
package engine
