// Package trace turns the event stream of an engine into what people and
// programs read: a terminal ladder, JSON Lines, a pcapng file, and a summary of
// each connection.
//
//	                       +-> Ladder    -> queue -> terminal
//	                       +-> Explain   -> Ladder
//	engine -> Tee -> Trace +-> JSONLines -> queue -> stdout
//	                       +-> Lines     -> a function
//	                       +-> Pcap      -> queue -> file
//	                       +-> Collector            (Summary)
//
// Every sink is an engine.Tracer. Trace is called with the stack's lock held,
// so a sink only formats: the bytes go into a bounded queue that a goroutine of
// the sink writes out. A slow reader costs records, which are counted, and
// never delays a segment; a failed write is remembered and the connection goes
// on. Close drains the queue, for a bounded time.
//
// All sinks want every event but the Collector, which is content with sums of
// plain segments when it is alone: see Tee.Interest.
//
// All sinks may be used by several goroutines at once.
package trace
