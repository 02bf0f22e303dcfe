package engine

import (
	"net/netip"
	"time"

	"rawtcp/segment"
)

// A synCache holds the handshakes under way of one listener: what RFC 9293
// calls connections in SYN-RECEIVED, as small entries that have neither buffers
// nor timers nor goroutines of their own (RFC 4987 section 3.4).
//
// Every entry waits in a list with others that wait equally long, so that each
// list is in the order of its deadlines and one timer serves them all.
type synCache struct {
	entries map[uint64]*synEntry // by a keyed hash, which takes less room than addresses
	delayed synList              // until their first SYN-ACK may leave
	waiting []synList            // for an answer, by how often the SYN-ACK was sent again
	delay   time.Duration
	conn    *ConnConfig
}

func newSYNCache(conn *ConnConfig, delay time.Duration) synCache {
	return synCache{entries: make(map[uint64]*synEntry), waiting: make([]synList, conn.SYNRetries+1), delay: delay, conn: conn}
}

// A synEntry is one connection in SYN-RECEIVED by a passive open. A hundred
// thousand of them are to fit into 16 MiB: addresses stand in it without the
// pointers of package netip.
type synEntry struct {
	next, prev *synEntry
	list       *synList // where it waits: delayed, waiting, or those that owe a SYN-ACK
	listener   *Listener
	key        uint64 // its own in entries
	id         uint64
	at         Time // when the last SYN-ACK left; before that, when the SYN came
	ackAt      Time // when the last challenge ACK left
	addrs      [2][16]byte
	ports      [2]uint16
	iss, irs   segment.Seq
	tsVal      uint32
	window     uint16
	mss        uint16 // 0: no option
	mtu        uint16 // largest datagram towards the peer
	uto        uint16 // the user timeout option as on the wire, 0: none
	scale      int8   // -1: no option
	tos        uint8
	retries    uint8 // SYN-ACKs sent again because nobody answered
	has        synFlags
	grant      segment.Kind // of the option in which the first SYN-ACK gives a Fast Open cookie; 0: none
}

// synFlags are the bits of a synEntry.
type synFlags uint8

const (
	synSACK synFlags = 1 << iota // the peer offered it
	synTimestamps
	synECN
	synAnswered // a SYN-ACK has left
	synResent   // more than one has, for whatever reason
)

// set fills in what the peer's SYN says.
func (e *synEntry) set(local, remote netip.AddrPort, irs segment.Seq, p PeerInfo, tsVal uint32) {
	e.addrs = [2][16]byte{local.Addr().As16(), remote.Addr().As16()}
	e.ports = [2]uint16{local.Port(), remote.Port()}
	e.irs, e.tsVal = irs, tsVal
	e.window, e.mss, e.scale = uint16(p.Window), uint16(p.MSS), int8(min(p.WindowScale, maxScale))
	if p.UserTimeout > 0 {
		var o segment.Options
		o.SetUserTimeout(int(p.UserTimeout / time.Second))
		e.uto = o.UTO
	}
	e.note(synSACK, p.SACKPermitted)
	e.note(synTimestamps, p.Timestamps)
	e.note(synECN, p.ECN)
}

func (e *synEntry) note(bit synFlags, on bool) {
	if on {
		e.has |= bit
	}
}

func (e *synEntry) peer() PeerInfo {
	o := segment.Options{Set: segment.HasUserTimeout, UTO: e.uto}
	seconds, _ := o.UserTimeout()
	return PeerInfo{MSS: int(e.mss), WindowScale: int(e.scale), Window: int(e.window), UserTimeout: time.Duration(seconds) * time.Second,
		SACKPermitted: e.has&synSACK != 0, Timestamps: e.has&synTimestamps != 0, ECN: e.has&synECN != 0}
}

func (e *synEntry) answered() bool         { return e.has&synAnswered != 0 }
func (e *synEntry) local() netip.AddrPort  { return e.end(0) }
func (e *synEntry) remote() netip.AddrPort { return e.end(1) }

func (e *synEntry) end(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(e.addrs[i]).Unmap(), e.ports[i])
}

func (c *synCache) len() int { return len(c.entries) }

// find returns the handshake between two addresses and ports, nil if there is none.
func (c *synCache) find(key uint64, local, remote netip.AddrPort) *synEntry {
	e := c.entries[key]
	if e == nil || e.local() != local || e.remote() != remote {
		return nil
	}
	return e
}

// oldest returns the entry that is the least likely to be completed: of those
// whose SYN-ACK was repeated most often, the one that has waited longest.
func (c *synCache) oldest() *synEntry {
	for i := len(c.waiting) - 1; i >= 0; i-- {
		if e := c.waiting[i].first; e != nil {
			return e
		}
	}
	return c.delayed.first
}

// next returns the entry that is due first and when, nil if none waits for a time.
func (c *synCache) next() (first *synEntry, due Time) {
	for i := range c.waiting {
		if e := c.waiting[i].first; e != nil {
			if at := e.at.Add(c.wait(i)); first == nil || at < due {
				first, due = e, at
			}
		}
	}
	if e := c.delayed.first; e != nil {
		if at := e.at.Add(c.delay); first == nil || at < due {
			first, due = e, at
		}
	}
	return first, due
}

// wait is how long a SYN-ACK that was sent again so many times waits for its
// answer (RFC 6298 section 5.5).
func (c *synCache) wait(retries int) time.Duration {
	return min(c.conn.InitialRTO<<min(retries, 16), c.conn.MaxRTO)
}

// A synList is a queue of entries, each of which knows its neighbours.
type synList struct{ first, last *synEntry }

// push moves e to the end of the list.
func (l *synList) push(e *synEntry) {
	e.leave()
	e.list, e.prev = l, l.last
	if l.last == nil {
		l.first = e
	} else {
		l.last.next = e
	}
	l.last = e
}

// leave takes e out of the list it is in, if any.
func (e *synEntry) leave() {
	l := e.list
	if l == nil {
		return
	}
	if e.prev == nil {
		l.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.next, e.prev, e.list = nil, nil, nil
}
