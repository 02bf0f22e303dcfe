package sim

import (
	"net/netip"
	"time"

	"rawtcp/engine"
)

// The sides of the road.
const (
	clientSide = iota // one host, or several
	serverSide        // one host
)

// A host is one stack with a clock and a process of its own.
type host struct {
	w       *world
	id      int // in world.hosts
	side    int
	stack   *engine.Stack
	drift   int64 // parts in a million
	epoch   int64 // what its clock shows at the start, nanoseconds
	paused  bool
	dead    bool // its process crashed: its kernel answers
	quit    bool // its process opens nothing any more
	mailbox []happening
	watches []*watch // by number of the connection
	touched []*watch // had events since they were judged
	auditIn int      // judgements until the stack's next audit
	stirs   bool     // is in the world's list of those who may have something to say
	doors   []door
	isns    map[fourTuple]incarnation
	due     engine.Time   // the stack's deadline
	dueAt   time.Duration // when that is
}

// A door is a listener, and when its application begins to accept.
type door struct {
	*engine.Listener
	opens time.Duration
}

type fourTuple struct{ local, remote netip.AddrPort }

// mailboxSize is how many packets wait for a process that stands still.
const mailboxSize = 256

func newHost(w *world, id, side int) *host {
	h := &host{w: w, id: id, side: side, epoch: int64(time.Hour) * int64(id+1), isns: map[fourTuple]incarnation{}}
	secret := [32]byte{byte(w.plan.Seed), byte(w.plan.Seed >> 8), byte(w.plan.Seed >> 16), byte(id)}
	h.stack = engine.NewStack(engine.StackConfig{Secret: secret, Tracer: h, Limits: w.plan.Limits[side], SuperSegment: w.plan.Super[side]})
	return h
}

// clock is what the host's clock shows at a moment of true time. It never goes back.
func (h *host) clock(at time.Duration) engine.Time {
	whole, part := int64(at)/1_000_000, int64(at)%1_000_000
	return engine.Time(h.epoch + int64(at) + whole*h.drift + part*h.drift/1_000_000)
}

// when is the first moment of true time at which the clock shows t.
func (h *host) when(t engine.Time) time.Duration {
	at := time.Duration(float64(int64(t)-h.epoch) / (1 + float64(h.drift)/1e6))
	step := time.Duration(1 << 12)
	for h.clock(at) < t {
		at += step
	}
	for ; step > 0; step /= 2 {
		for h.clock(at-step) >= t {
			at -= step
		}
	}
	return at
}

// leap sets the clock ahead, as a machine's that wakes up.
func (h *host) leap(by time.Duration) {
	h.epoch += int64(by)
	h.due = 0
}

// deadline is when the host's next timer is due, in true time.
func (h *host) deadline() (time.Duration, bool) {
	due := h.stack.Deadline()
	if due == 0 || h.paused || h.dead {
		return 0, false
	}
	if due != h.due {
		h.due, h.dueAt = due, h.when(due)
	}
	return max(h.dueAt, h.w.now), true
}

// stir has the world ask the host for what it has to say.
func (h *host) stir() {
	if !h.stirs {
		h.stirs = true
		h.w.stirred = append(h.w.stirred, h)
	}
}

// standsStill reports whether the host's process is paused now.
func (h *host) standsStill() bool { return h.w.anyOn(Pause, h.side) }

// Ports: a talk's dialler has one of the second kind, and its listener one of the first.
const (
	firstDoor  = 1000
	firstTuple = 20000
)

// address returns a side's address in a talk.
func (w *world) address(talk, side int) netip.AddrPort {
	t := &w.plan.Talks[talk]
	port := uint16(firstTuple + t.Tuple)
	if side != t.Opener && !t.Simultaneous {
		port = uint16(firstDoor + t.Door)
	}
	return netip.AddrPortFrom(hostAddr(w.hostOf(talk, side).id, t.V6), port)
}

// hostOf returns who takes part in a talk on a side.
func (w *world) hostOf(talk, side int) *host {
	if side == serverSide {
		return w.hosts[len(w.hosts)-1]
	}
	return w.hosts[w.plan.Talks[talk].Client]
}

// talkOf returns whose addresses these are, -1 if they are a stranger's. Of
// several talks with one pair of addresses it is the one begun last.
func (w *world) talkOf(local, remote netip.AddrPort) int {
	tuple := max(local.Port(), remote.Port())
	if tuple < firstTuple || int(tuple-firstTuple) >= len(w.talks) {
		return -1
	}
	return w.talks[tuple-firstTuple]
}

func hostAddr(id int, v6 bool) netip.Addr {
	if v6 {
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: byte(1 + id)})
	}
	return netip.AddrFrom4([4]byte{198, 18, 0, byte(1 + id)})
}

// destination returns the host that a packet goes to from a side. Damage to the
// address does not lose the packet: it meets the checksum of some host there.
func (w *world) destination(from int, pkt []byte) *host { return w.addressee(from, pkt, 19, 39) }

// source returns the host of a side that sent a packet.
func (w *world) source(from int, pkt []byte) *host { return w.addressee(1-from, pkt, 15, 23) }

// addressee finds the host beyond a side by the last octet of its address, which
// stands at v4 or v6.
func (w *world) addressee(from int, pkt []byte, v4, v6 int) *host {
	if from == clientSide {
		return w.hosts[len(w.hosts)-1]
	}
	at := v4
	if len(pkt) > 0 && pkt[0]>>4 == 6 {
		at = v6
	}
	if at < len(pkt) && pkt[at] > 0 && int(pkt[at]) < len(w.hosts) {
		return w.hosts[pkt[at]-1]
	}
	return w.hosts[0]
}
