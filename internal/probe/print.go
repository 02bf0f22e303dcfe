package probe

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/puppet"
	"rawtcp/segment"
)

// Print returns a compact string of what a run has seen of a host's stack, or ""
// where no SYN-ACK was seen. docs/print.md is its grammar. What was not looked at
// is a question mark, so that two prints can be compared place by place.
func (r *Report) Print() string {
	greeting := r.greeting()
	if greeting == nil {
		return ""
	}
	places := []string{
		"rtp1",
		"ip=" + family(greeting),
		"ttl=" + strconv.Itoa(startTTL(greeting.TTL)),
		"df=" + flag(dontFragment(greeting)),
		"win=" + strconv.Itoa(int(greeting.Segment.Window)),
		"opt=" + optionsPrint(&greeting.Segment.Options),
		"sa=" + r.schedulePrint(),
		"rst=" + r.resetPrint(),
		"isn=" + r.outcomePrint("H1"),
		"ts=" + r.stampsPrint(),
	}
	return strings.Join(places, ";")
}

// A sighting is a packet of the host in the evidence.
type sighting struct {
	*engine.Event
	TTL uint8
}

// sightings calls see with what the host sent in each row, until it returns false.
func (r *Report) sightings(see func(sighting) bool) {
	for i := range r.Results {
		for _, rec := range r.Results[i].Record {
			e := rec.Event
			if e.Kind == engine.EventSegmentIn && !see(sighting{e, e.Segment.TTL}) {
				return
			}
		}
	}
}

// greeting is the first SYN-ACK to a SYN that offers everything, or else the first.
func (r *Report) greeting() (best *sighting) {
	const everything = segment.HasMSS | segment.HasSACKPermitted | segment.HasTimestamps | segment.HasWindowScale
	offered := map[uint64]segment.OptionSet{}
	for i := range r.Results {
		for _, rec := range r.Results[i].Record {
			e := rec.Event
			switch {
			case e.Kind == engine.EventSegmentOut && e.Segment.Flags.Has(segment.SYN):
				offered[e.Conn] = e.Segment.Options.Set
			case e.Kind != engine.EventSegmentIn || e.Segment.Flags&(segment.SYN|segment.ACK) != segment.SYN|segment.ACK:
			case offered[e.Conn]&everything == everything:
				return &sighting{e, e.Segment.TTL}
			case best == nil:
				best = &sighting{e, e.Segment.TTL}
			}
		}
	}
	return best
}

func family(s *sighting) string {
	if s.Remote.Addr().Is4() {
		return "4"
	}
	return "6"
}

func flag(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

// startTTL is the TTL that a packet most likely set out with: the next of those
// that stacks begin with.
func startTTL(ttl uint8) int {
	for _, start := range []int{32, 64, 128} {
		if int(ttl) <= start {
			return start
		}
	}
	return 255
}

// dontFragment reports whether the packet says so; IPv6 always does.
func dontFragment(s *sighting) bool {
	return len(s.Packet) > 6 && (s.Packet[0]>>4 == 6 || s.Packet[6]&0x40 != 0)
}

// optionsPrint is the options in their order: M and the MSS, S for SACK permitted,
// T for timestamps, W and the shift, N for NOP, E for the end, and for all others
// a plus sign and their number.
func optionsPrint(o *segment.Options) string {
	var words []string
	for kind := range o.All() {
		switch kind {
		case segment.KindMSS:
			words = append(words, "M"+strconv.Itoa(int(o.MSS)))
		case segment.KindWindowScale:
			words = append(words, fmt.Sprintf("W%d", o.WindowScale))
		case segment.KindSACKPermitted:
			words = append(words, "S")
		case segment.KindTimestamps:
			words = append(words, "T")
		case segment.KindNOP:
			words = append(words, "N")
		case segment.KindEOL:
			words = append(words, "E")
		default:
			words = append(words, "+"+strconv.Itoa(int(kind)))
		}
	}
	if len(words) == 0 {
		return "-"
	}
	return strings.Join(words, ",")
}

// schedulePrint is when the SYN-ACK came again, in seconds after the first, as row
// A2 has seen it; 0 if it never did.
func (r *Report) schedulePrint() string {
	a2 := r.result("A2")
	if a2 == nil || a2.Key == "" {
		return "?"
	}
	times := a2.times("synack_at")
	if len(times) == 0 {
		return "0"
	}
	var words []string
	for _, d := range times { // since the first SYN-ACK
		words = append(words, strconv.FormatFloat(d.Seconds(), 'f', 1, 64))
	}
	return strings.Join(words, ",")
}

// resetPrint is the shape of the RSTs: to a segment with ACK and to one without.
// A for its ACK bit, its window, its first TTL, D for DF, I for an IPv4 ID that is
// not zero.
func (r *Report) resetPrint() string {
	shapes := map[bool]string{false: "?", true: "?"}
	r.sightings(func(s sighting) bool {
		if !s.Segment.Flags.Has(segment.RST) {
			return true
		}
		answersACK := !s.Segment.Flags.Has(segment.ACK)
		if shapes[answersACK] == "?" {
			shapes[answersACK] = resetShape(s)
		}
		return shapes[false] == "?" || shapes[true] == "?"
	})
	return shapes[true] + "/" + shapes[false]
}

func resetShape(s sighting) string {
	shape := fmt.Sprintf("w%dt%d", s.Segment.Window, startTTL(s.TTL))
	if s.Segment.Flags.Has(segment.ACK) {
		shape = "A" + shape
	}
	if dontFragment(&s) {
		shape += "D"
	}
	if len(s.Packet) > 5 && s.Packet[0]>>4 == 4 && (s.Packet[4]|s.Packet[5]) != 0 {
		shape += "I"
	}
	return shape
}

// outcomePrint is the outcome of a row.
func (r *Report) outcomePrint(id string) string {
	if res := r.result(id); res != nil && res.Key != "" {
		return res.Key
	}
	return "?"
}

// stampsPrint is the rate of the timestamp clock in ticks a second: the middle of
// what connections show that were watched for half a second or longer; 0 if the
// host has no timestamps.
func (r *Report) stampsPrint() string {
	type point struct {
		at  time.Duration
		val uint32
	}
	first := map[uint64]point{}
	rates := map[uint64]float64{}
	r.sightings(func(s sighting) bool {
		if !s.Segment.Options.Has(segment.HasTimestamps) {
			return true
		}
		p := point{time.Duration(s.At), s.Segment.Options.TSVal}
		begin, seen := first[s.Conn]
		if !seen {
			first[s.Conn] = p
		} else if d := p.at - begin.at; d >= 500*time.Millisecond {
			rates[s.Conn] = float64(p.val-begin.val) / d.Seconds()
		}
		return true
	})
	if len(first) == 0 {
		return "0"
	}
	if len(rates) == 0 {
		return "?"
	}
	var all []float64
	for _, rate := range rates {
		all = append(all, rate)
	}
	slices.Sort(all)
	return strconv.Itoa(usualRate(all[len(all)/2]))
}

// usualRate is the rate that clocks have which is less than a tenth off, or the
// rate as it was measured.
func usualRate(measured float64) int {
	for _, usual := range []float64{1, 2, 10, 100, 250, 500, 1000, 10000, 100000, 1e6} {
		if measured > usual*0.9 && measured < usual*1.1 {
			return int(usual)
		}
	}
	return int(measured + 0.5)
}

// result returns what became of a row, or nil if it was not run.
func (r *Report) result(id string) *Result {
	i := slices.IndexFunc(r.Results, func(res Result) bool { return res.Row.ID == id })
	if i < 0 {
		return nil
	}
	return &r.Results[i]
}

// times returns the times of a fact.
func (r *Result) times(name string) []time.Duration {
	for _, f := range r.Facts {
		if f.Name == name {
			return f.Times
		}
	}
	return nil
}

// ErrorBar returns how far off a time of the run may be: the spread of the round
// trips of its handshakes but for the longest tenth, and from how many handshakes
// it is known. A time between two segments of the host cannot be better than the
// path and this machine are even.
func (r *Report) ErrorBar() (bar time.Duration, handshakes int) {
	var trips []time.Duration
	for i := range r.Results {
		trips = append(trips, roundTrips(r.Results[i].Record)...)
	}
	if len(trips) == 0 {
		return 0, 0
	}
	slices.Sort(trips)
	return trips[(len(trips)-1)*9/10] - trips[0], len(trips)
}

// roundTrips are those of SYNs that were sent once.
func roundTrips(record []puppet.Record) (trips []time.Duration) {
	sent := map[uint64]engine.Time{}
	again := map[uint64]bool{}
	for _, rec := range record {
		e := rec.Event
		switch {
		case e.Kind == engine.EventSegmentOut && e.Segment.Flags.Has(segment.SYN):
			_, again[e.Conn] = sent[e.Conn]
			sent[e.Conn] = e.At
		case e.Kind == engine.EventSegmentIn && e.Segment.Flags&(segment.SYN|segment.ACK) == segment.SYN|segment.ACK:
			if at, ok := sent[e.Conn]; ok && !again[e.Conn] && e.Segment.Ack == e.Vars.ISS.Add(1) {
				trips = append(trips, time.Duration(e.At-at))
			}
			delete(sent, e.Conn)
		}
	}
	return trips
}
