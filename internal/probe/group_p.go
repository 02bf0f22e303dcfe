package probe

import (
	"fmt"
	"strings"
	"time"

	"rawtcp/internal/puppet"
	"rawtcp/segment"
)

// groupP: the path.
var groupP = []*Row{
	{
		ID: "P3", Name: "hop-diff",
		Question: "Do our segments arrive at the routers on the path as they left us?",
		Stimulus: "our SYN and our first data, both with AF11 and ECT(0), with a growing hop limit; what routers quote is compared field by field",
		Clauses:  []Clause{rfc(9293, "3.1"), rfc(1122, "3.2.2.4")},
		Risk:     Safe, Takes: 2 * time.Second,
		Outcomes: []Outcome{
			{Key: "intact", Verdict: Pass, Says: "every router that tells saw what we had sent"},
			{Key: "direct", Verdict: Pass, Says: "no router lies between us and the host"},
			{Key: "changed", Verdict: Note, Says: "somebody on the path changes segments"},
			{Key: "unseen", Verdict: Note, LikeLoss: true, Says: "no router tells what it saw"},
		},
		Test: hopDiff,
	},
	{
		ID: "P4", Name: "rst-attribution",
		Question: "If our data draws a RST, who sends it?",
		Stimulus: "a request; if it draws a RST, the request again on a fresh connection with a growing hop limit",
		Clauses:  []Clause{rfc(9293, "3.5.2"), rfc(9293, "3.10.7.4")},
		Risk:     Safe, Takes: time.Second,
		Outcomes: []Outcome{
			{Key: "none", Verdict: Pass, Says: "the data draws no RST"},
			{Key: "host", Verdict: Note, Says: "the RST comes from as far away as the SYN-ACK: it is the host's"},
			{Key: "box", Verdict: Note, Says: "the RST does not come from where the SYN-ACK came from: somebody on the path sends it"},
		},
		Test: resetAttribution,
	},
}

// pathTOS is what the segments of P3 carry that a router should leave alone: the
// DSCP AF11, and ECT(0).
const pathTOS = 10<<2 | 2

// hopDiff makes a connection whose SYN and first data climb a ladder.
func hopDiff(t *T) string {
	p := t.Puppet(puppet.Shape{ECN: true, TOS: pathTOS})
	syn := t.copied(p, segment.SYN)
	rungs := t.Ladder(p, puppet.Either(puppet.SYNACK, puppet.RST), func(hops puppet.Mod) puppet.Sent {
		return p.Send(segment.SYN, syn, hops)
	})
	path := &pathView{changed: map[Field]string{}, answered: map[int]string{}}
	path.see(t, "SYN", rungs)
	for _, r := range rungs {
		switch {
		case r.Answer != nil:
			path.answered[r.Hops] = "the host"
		case r.ICMP != nil:
			path.answered[r.Hops] = r.ICMP.From.String()
		}
	}
	if rungs[len(rungs)-1].Answer == nil {
		if _, a := t.SYN(p); a == nil {
			t.Unknown("no handshake: the SYN is not answered")
		}
	}
	if !p.Established() {
		t.Unknown("no handshake: the SYN is refused")
	}
	p.Send(segment.ACK)
	path.seeHost(t, p.Peer().TTL, rungs)

	const octets = 32
	from, data := p.SndNxt(), t.Octets(p, octets)
	first := t.copied(p, text, puppet.Text(data))
	path.see(t, "data", t.Ladder(p, puppet.Either(puppet.Acks(from.Add(octets)), puppet.RST), func(hops puppet.Mod) puppet.Sent {
		return p.Send(text, first, puppet.SeqAt(from), hops)
	}))
	t.battery.setPath(path)
	return path.outcome(t, rungs)
}

// copied returns a Mod that makes every segment a copy of the one that would leave
// now, its time stamp and an identification of IPv4 included, so that a quote can
// be held against it whenever it comes.
func (t *T) copied(p *puppet.Puppet, flags segment.Flags, mods ...puppet.Mod) puppet.Mod {
	model, number := p.Segment(flags, mods...), numbered(p)
	return func(s *puppet.Shot) {
		s.Options, s.Payload = model.Options, model.Payload
		number(s)
	}
}

// numbered gives a segment an identification of IPv4, which the kernel chooses
// otherwise.
func numbered(p *puppet.Puppet) puppet.Mod {
	id := uint16(p.ISS().Uint32()) | 1
	return func(s *puppet.Shot) { s.IPID = id }
}

// A pathView is what was seen of the path.
type pathView struct {
	told    int              // routers that quoted something
	partial int              // of them, those that quoted no options
	changed map[Field]string // how and where; a field that arrived as it left is missing
	lines   []string

	answered map[int]string // who answered a SYN, by hop limit
	lostAt   string         // where the copies of another SYN stop; "": nowhere
}

// see compares what the routers of a ladder quote. Whoever changes a field sits
// behind the last router that saw it as it left.
func (v *pathView) see(t *T, what string, rungs []Rung) {
	last := "us"
	for _, r := range rungs {
		if r.ICMP == nil {
			continue
		}
		changes, whole := compareQuote(r.Sent.Bytes, r.ICMP.Quoted)
		if v.told++; !whole {
			v.partial++
		}
		var fresh []change
		for _, c := range changes {
			if v.changed[c.field] == "" {
				fresh = append(fresh, c)
				v.changed[c.field] = fmt.Sprintf("%s to %s at or before hop %d (%v), behind %s", c.from, c.to, r.Hops, r.ICMP.From, last)
			}
		}
		if fresh != nil {
			v.lines = append(v.lines, fmt.Sprintf("%s: %s at or before hop %d (%v), behind %s", what, changesText(fresh), r.Hops, r.ICMP.From, last))
		}
		last = fmt.Sprintf("hop %d (%v)", r.Hops, r.ICMP.From)
	}
	t.Fact(strings.ToLower(what)+"_routers", "%s", routersText(rungs))
}

// routersText is who answered, hop by hop.
func routersText(rungs []Rung) string {
	var words []string
	for _, r := range rungs {
		switch {
		case r.Answer != nil:
			words = append(words, fmt.Sprintf("%d the host", r.Hops))
		case r.ICMP != nil:
			words = append(words, fmt.Sprintf("%d %v", r.Hops, r.ICMP.From))
		default:
			words = append(words, fmt.Sprintf("%d silent", r.Hops))
		}
	}
	return strings.Join(words, ", ")
}

// seeHost compares how far the host is with how far its own packets come: who
// raises the hop limit on the way makes it look nearer than it is.
func (v *pathView) seeHost(t *T, ttl uint8, rungs []Rung) {
	last := rungs[len(rungs)-1]
	back := startTTL(ttl) - int(ttl) + 1
	if last.Answer == nil || last.Hops >= back {
		return
	}
	v.changed[FieldTTL] = fmt.Sprintf("raised at or before hop %d, or the way back is longer", last.Hops)
	v.lines = append(v.lines, fmt.Sprintf("ttl: the host answers a hop limit of %d, and its own packets come %d hops: raised on the way, or the way back is longer", last.Hops, back))
}

func (v *pathView) outcome(t *T, rungs []Rung) string {
	if v.partial > 0 {
		t.Fact("partial", "%d of %d quotes end before the options", v.partial, v.told)
	}
	switch {
	case len(v.lines) > 0:
		t.Fact("changed", "%s", strings.Join(v.lines, "; "))
		t.Detail("%s", strings.Join(v.lines, "; "))
		return "changed"
	case rungs[0].Answer != nil:
		return "direct"
	case v.told == 0:
		return "unseen"
	}
	return "intact"
}

// resetAttribution asks for a RST and, if one comes, how far away it is made.
func resetAttribution(t *T) string {
	p := t.Connect()
	rst := t.provokedReset(p)
	if rst == nil {
		return "none"
	}
	t.Fact("rst", "ttl %d, win %d, ipid %s; the SYN-ACK had ttl %d", rst.TTL, rst.Window, zeroOrNot(rst.IPID), p.Peer().TTL)
	q := t.Connect()
	from, data := q.SndNxt(), t.trigger(q)
	rungs := t.Ladder(q, puppet.RST, func(hops puppet.Mod) puppet.Sent {
		return q.Send(text, puppet.Text(data), puppet.SeqAt(from), hops)
	})
	last, before := rungs[len(rungs)-1], "us"
	for _, r := range rungs {
		if r.ICMP != nil {
			before = fmt.Sprintf("hop %d (%v)", r.Hops, r.ICMP.From)
		}
	}
	if last.Answer != nil {
		t.Fact("fires_at", "hop %d, behind %s", last.Hops, before)
	}
	if hopsBack(rst.TTL) == hopsBack(p.Peer().TTL) {
		return "host"
	}
	if last.Answer != nil {
		t.Detail("at hop %d, behind %s", last.Hops, before)
	}
	return "box"
}

// trigger is the first of what the service is sent.
func (t *T) trigger(p *puppet.Puppet) []byte {
	return t.Octets(p, max(1, min(len(t.Service.Request), p.Room())))
}

// provokedReset sends the trigger and returns the RST that comes of it, or nil.
func (t *T) provokedReset(p *puppet.Puppet) *puppet.Arrival {
	p.Deliver(t.trigger(p))
	p.Await(t.Patience(), puppet.RST)
	for _, a := range p.Arrivals() {
		if puppet.RST(a) {
			return a
		}
	}
	return nil
}

// hopsBack is how many routers a packet has passed, most likely.
func hopsBack(ttl uint8) int { return startTTL(ttl) - int(ttl) }
