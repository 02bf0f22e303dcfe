package probe

import (
	"bytes"
	"slices"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/puppet"
	"rawtcp/segment"
)

// groupD: timers of the target.
var groupD = []*Row{
	{
		ID: "D1", Name: "data-rto",
		Question: "How does the host repeat data that nobody acknowledges?",
		Stimulus: "a request, and no ACK of what it brings",
		Clauses:  []Clause{rfc(6298, "5"), rfc(9293, "3.8.3", "SHLD-11"), rfc(9293, "3.8.1", "MUST-18")},
		Risk:     Data | Slow, Service: AnyData, Takes: 110 * time.Second, Needs: []Field{FieldAck}, Attempts: 2,
		Outcomes: []Outcome{
			{Key: "backoff", Verdict: Pass, Says: "the first octets come again, at growing distances"},
			{Key: "constant", Verdict: Fail, Says: "the first octets come again, at distances that do not grow"},
			{Key: "irregular", Verdict: Note, LikeLoss: true, Says: "the first octets come again, at distances without a rule"},
			{Key: "given-up", Verdict: Note, Rule: rfc(9293, "3.8.3", "SHLD-11"), Says: "a RST ends the connection before 100 seconds: the patience of the host, or of its service"},
			{Key: "once", Verdict: Note, LikeLoss: true, Says: "the first octets come again once: too little to see a rule"},
			{Key: "never", Verdict: Fail, LikeLoss: true, Says: "the first octets never come again"},
		},
		Test: dataRTO,
	},
	{
		ID: "D2", Name: "tail-loss-probe",
		Question: "Does the host probe for a lost tail before its retransmission timer runs out?",
		Stimulus: "a request on a connection with SACK, and no ACK of the first flight, three times over; then the same without SACK",
		Clauses:  []Clause{rfc(8985, "7.2"), rfc(8985, "7.3")},
		Risk:     Data, Service: BulkData, Takes: 8 * time.Second, Needs: []Field{FieldSACK, FieldAck},
		Outcomes: []Outcome{
			{Key: "new", Verdict: Pass, Says: "a probe with new data"},
			{Key: "last", Verdict: Pass, LikeLoss: true, Says: "a probe with the last segment again"},
			{Key: "none", Verdict: Note, LikeLoss: true, Says: "nothing comes before the retransmission timeout"},
			{Key: "not-offered", Verdict: Note, Says: "the host does not use SACK, which a probe wants"},
		},
		Test: tailLossProbe,
	},
	{
		ID: "D3", Name: "loss-detection",
		Question: "How soon does the host repeat a segment when later ones are selectively acknowledged?",
		Stimulus: "in a first flight the third segment is reported by SACK; on another connection the second, third and fourth",
		Clauses:  []Clause{rfc(5681, "3.2"), rfc(8985, "6.2")},
		Risk:     Data, Service: BulkData, Takes: 6 * time.Second, Needs: []Field{FieldSACK, FieldAck, FieldMSS},
		Outcomes: []Outcome{
			{Key: "rack", Verdict: Pass, Rule: rfc(8985, "6.2"), Says: "one report is enough, by the time that has passed"},
			{Key: "dupthresh", Verdict: Pass, LikeLoss: true, Says: "three reports are enough, one is not"},
			{Key: "timeout", Verdict: Note, LikeLoss: true, Says: "only the retransmission timeout brings it"},
			{Key: "not-offered", Verdict: Note, Says: "the host does not use SACK"},
		},
		Test: lossDetection,
	},
	{
		ID: "D4", Name: "limited-transmit",
		Question: "Do the first two duplicate ACKs bring new data?",
		Stimulus: "two duplicate ACKs after a first flight, on a connection without SACK",
		Clauses:  []Clause{rfc(3042, "2")},
		Risk:     Data, Service: BulkData, Takes: 3 * time.Second, Needs: []Field{FieldAck},
		Outcomes: []Outcome{
			{Key: "both", Verdict: Pass, Says: "they bring two new segments"},
			{Key: "one", Verdict: Note, LikeLoss: true, Says: "they bring one new segment"},
			{Key: "none", Verdict: Note, LikeLoss: true, Says: "they bring no new data"},
			{Key: "retransmits", Verdict: Note, Says: "the first segment comes again before a third duplicate ACK"},
		},
		Test: limitedTransmit,
	},
	{
		ID: "D5", Name: "recovery",
		Question: "How does the host repair two losses in one flight?",
		Stimulus: "the first and the third segment of a flight seem lost: told by SACK, and on another connection by duplicate ACKs and a partial ACK",
		Clauses:  []Clause{rfc(6675, "5"), rfc(6582, "3.2")},
		Risk:     Data, Service: BulkData, Takes: 6 * time.Second, Needs: []Field{FieldSACK, FieldAck},
		Outcomes: []Outcome{
			{Key: "sack", Verdict: Pass, Says: "both are sent again without waiting, those that arrived are not"},
			{Key: "newreno", Verdict: Pass, LikePath: true, Rule: rfc(6582, "3.2"), Says: "no SACK; a partial ACK brings the second at once"},
			{Key: "tahoe", Verdict: Note, LikeLoss: true, Says: "segments that arrived are sent again, too"},
			{Key: "reno", Verdict: Note, LikeLoss: true, Says: "the first is sent again, the second waits for the retransmission timeout"},
			{Key: "timeout", Verdict: Note, LikeLoss: true, Says: "neither comes before the retransmission timeout"},
		},
		Test: recoveryVariant,
	},
	{
		ID: "D6", Name: "spurious-rto",
		Question: "Does the host notice that a retransmission timeout was spurious?",
		Stimulus: "no ACK until the timeout, then an ACK of the first two segments of the flight",
		Clauses:  []Clause{rfc(5682, "2.1"), rfc(4015, "3.2")},
		Risk:     Data, Service: BulkData, Takes: 6 * time.Second, Needs: []Field{FieldAck, FieldStamps},
		Outcomes: []Outcome{
			{Key: "f-rto", Verdict: Pass, Says: "it goes on with new data, by the ACK alone"},
			{Key: "eifel", Verdict: Pass, Rule: rfc(4015, "3.2"), Says: "it goes on with new data if a timestamp tells it"},
			{Key: "go-back-n", Verdict: Note, Says: "it sends again what was not lost"},
			{Key: "quiet", Verdict: Note, LikeLoss: true, Says: "the ACK brings nothing"},
		},
		Test: spuriousRTO,
	},
	{
		ID: "D7", Name: "zero-window-probe",
		Question: "Does the host probe a window that stays at zero, and how?",
		Stimulus: "a request with a window of zero; every probe is answered with a window of zero",
		Clauses:  []Clause{rfc(9293, "3.8.6.1", "MUST-36"), rfc(9293, "3.8.6.1", "SHLD-29"), rfc(9293, "3.8.6.1", "SHLD-30")},
		Risk:     Data | Slow, Service: AnyData, Takes: 45 * time.Second, Needs: []Field{FieldWindow}, Attempts: 3,
		Outcomes: []Outcome{
			{Key: "backoff", Verdict: Pass, Says: "probes at growing distances"},
			{Key: "constant", Verdict: Note, Rule: rfc(9293, "3.8.6.1", "SHLD-30"), Says: "probes at distances that do not grow"},
			{Key: "irregular", Verdict: Note, LikeLoss: true, Says: "probes at distances without a rule"},
			{Key: "once", Verdict: Note, LikeLoss: true, Says: "one probe: too little to see a rule"},
			{Key: "ended", Verdict: Note, Rule: rfc(9293, "3.8.6.1", "MUST-37"), Says: "a RST ends it although every probe was answered: the host gave up, or its service"},
			{Key: "ignored", Verdict: Fail, Says: "data comes as if the window were open"},
			{Key: "never", Verdict: Fail, LikeLoss: true, Says: "no probe within 12 seconds"},
		},
		Test: zeroWindowProbe,
	},
	{
		ID: "D8", Name: "lost-window-update",
		Question: "Does data flow again when the ACK that opens the window is lost?",
		Stimulus: "a request with a window of zero, which opens without a word after the first probe",
		Clauses:  []Clause{rfc(9293, "3.8.6.1", "MUST-36")},
		Risk:     Data, Service: AnyData, Takes: 3 * time.Second, Needs: []Field{FieldWindow}, Attempts: 3,
		Outcomes: []Outcome{
			{Key: "recovers", Verdict: Pass, Says: "the answer to the next probe brings the data"},
			{Key: "deadlock", Verdict: Fail, LikeLoss: true, Says: "nothing ever comes: the connection hangs"},
		},
		Test: lostWindowUpdate,
	},
	{
		ID: "D9", Name: "keepalive-sent",
		Question: "Does the host send keep-alives on an idle connection?",
		Stimulus: "nothing for 65 seconds",
		Clauses:  []Clause{rfc(9293, "3.8.4", "MUST-25"), rfc(9293, "3.8.4", "MUST-28"), rfc(9293, "3.8.4", "SHLD-12")},
		Risk:     Slow, Takes: 70 * time.Second,
		Outcomes: []Outcome{
			{Key: "quiet", Verdict: Pass, LikeLoss: true, Says: "nothing comes"},
			{Key: "probes", Verdict: Note, Says: "keep-alives come: the service has asked for them"},
			{Key: "closed", Verdict: Note, Says: "the service ends the idle connection"},
		},
		Attempts: 1, Test: keepAliveSent,
	},
	{
		ID: "D10", Name: "keepalive-reply",
		Question: "Are keep-alives of both forms answered?",
		Stimulus: "SEQ=RCV.NXT-1 without data, later the same with one octet",
		Clauses:  []Clause{rfc(9293, "3.8.4"), rfc(9293, "3.10.7.4")},
		Risk:     Safe, Takes: time.Second, Needs: []Field{FieldSeq},
		Outcomes: []Outcome{
			{Key: "both", Verdict: Pass, Says: "an ACK answers both"},
			{Key: "octet-only", Verdict: Note, LikeLoss: true, Says: "an ACK answers only the form with an octet"},
			{Key: "empty-only", Verdict: Note, LikeLoss: true, Says: "an ACK answers only the form without data"},
			{Key: "none", Verdict: Fail, LikeLoss: true, Says: "neither is answered, and the connection lives"},
			{Key: "reset", Verdict: Fail, Says: "a keep-alive ends the connection"},
		},
		Test: keepAliveReply,
	},
	{
		ID: "D11", Name: "idle-timeout",
		Question: "How long may a connection be idle before somebody forgets it?",
		Stimulus: "four connections, idle for 15, 60, 120 and 200 seconds, then one octet on each",
		Clauses:  []Clause{rfc(5382, "5")},
		Risk:     Slow, Takes: 205 * time.Second, Puppets: 4, Attempts: 1,
		Outcomes: []Outcome{
			{Key: "alive", Verdict: Pass, Says: "all live: nobody forgets a connection within 200 seconds"},
			{Key: "closed", Verdict: Note, Says: "the service ends idle connections with a FIN or a RST"},
			{Key: "reset", Verdict: Note, Says: "the octet draws a RST although nothing had ended the connection: somebody has forgotten it"},
			{Key: "silent", Verdict: Note, LikeLoss: true, Says: "the octet draws nothing although nothing had ended the connection: somebody on the way has forgotten it"},
		},
		Test: idleTimeout,
	},
}

// A neglect is what a host does when its data is never acknowledged.
type neglect struct {
	una      segment.Seq
	first    *puppet.Arrival // the first segment
	repeated []time.Duration // when its first octet came again, since it came
	probe    *puppet.Arrival // a tail loss probe; nil: none was seen
	ptoAfter time.Duration   // of the probe, after the segment before it
	flight   int             // octets before the probe and the first repetition
	reset    bool
}

// neglect asks for data, never acknowledges it, and watches for so long, or until
// enough repetitions have come, or the next is long overdue.
func (t *T) neglect(p *puppet.Puppet, longest time.Duration, enough int) *neglect {
	p.HoldAck()
	n := &neglect{una: p.Segment(segment.ACK).Ack}
	t.Request(p)
	if n.first = t.seen(p, t.Patience()+2*time.Second, begins(n.una)); n.first == nil {
		t.Unknown("the service sent no data")
	}
	n.repeated = t.recurrence(p, n.first.At, longest, enough, begins(n.una))
	n.reset = p.Reset()
	n.findProbe(p.Arrivals(), t.battery.leastRTT())
	return n
}

// begins matches data that begins at n.
func begins(n segment.Seq) puppet.Match {
	return func(a *puppet.Arrival) bool { return len(a.Payload) > 0 && a.Seq == n }
}

// seen returns the first segment of a connection that matches; one that has been
// looked at already counts.
func (t *T) seen(p *puppet.Puppet, d time.Duration, match puppet.Match) *puppet.Arrival {
	for _, a := range p.Arrivals() {
		if match(a) {
			return a
		}
	}
	return p.Await(d, match)
}

// recurrence watches a segment come again and returns when, since start. It ends
// when enough have come, or with a RST, or when it would take another two
// doublings for the next one to come: that lets one of them be lost.
func (t *T) recurrence(p *puppet.Puppet, start, longest time.Duration, enough int, match puppet.Match) (times []time.Duration) {
	last, wait := start, 12*time.Second
	for len(times) < enough {
		if longest > 10*time.Second {
			t.Waiting("repetition %d", len(times)+1)
		}
		a := p.Await(min(wait, start+longest-t.Now()), puppet.Either(match, puppet.RST))
		if a == nil || puppet.RST(a) {
			return times
		}
		if a.At <= start {
			continue // the first
		}
		times = append(times, a.At-start)
		wait = max(12*time.Second, 7*(a.At-last))
		last = a.At
	}
	return times
}

// findProbe looks for the segment that came last before the first repetition, if
// it kept a distance from those before it: a probe waits for two round trips (RFC
// 8985 section 7.2), and a flight does not, paced or not.
func (n *neglect) findProbe(all []*puppet.Arrival, rtt time.Duration) {
	var flight []*puppet.Arrival
	for _, a := range all {
		if len(a.Payload) == 0 || a.Seq.Less(n.una) {
			continue
		}
		if a.Seq == n.una && a != n.first {
			break
		}
		flight = append(flight, a)
	}
	n.flight = octets(flight)
	if len(flight) < 2 {
		return
	}
	least := max(500*time.Microsecond, rtt*3/2)
	for i := 1; i < len(flight)-1; i++ {
		least = max(least, 3*(flight[i].At-flight[i-1].At))
	}
	last, before := flight[len(flight)-1], flight[len(flight)-2]
	if gap := last.At - before.At; gap > least {
		n.probe, n.ptoAfter = last, gap
		n.flight = octets(flight[:len(flight)-1])
	}
}

func dataRTO(t *T) string {
	n := t.neglect(t.prompt(), 110*time.Second, 20)
	t.Times("repeated_at", n.repeated...)
	t.Fact("flight", "%d octets", n.flight)
	if n.probe != nil {
		t.Times("probe_after", n.ptoAfter)
	}
	if n.reset {
		t.Fact("end", "RST after %v", t.Now()-n.first.At)
		if t.Now()-n.first.At < 100*time.Second {
			return "given-up"
		}
	}
	return ruleBehindProbe(n.repeated)
}

// ruleBehindProbe is rule for what may begin with a tail loss probe: if all that
// is in flight is one segment, the probe is that segment again.
func ruleBehindProbe(times []time.Duration) string {
	said := rule(times)
	if said == "irregular" || said == "late-backoff" {
		var rest []time.Duration
		for _, at := range times[1:] {
			rest = append(rest, at-times[0])
		}
		said = rule(rest)
	}
	if said == "late-backoff" {
		return "irregular"
	}
	return said
}

func tailLossProbe(t *T) string {
	var n *neglect
	var after []time.Duration
	flight, fresh := 0, false
	// Whatever is busy makes a time longer and never shorter: of several the least
	// is the nearest to what the host has set.
	for range 3 {
		p := t.prompt()
		if !p.Peer().SACK {
			return "not-offered"
		}
		n = t.neglect(p, 4*time.Second, 1)
		p.Close()
		if len(n.repeated) == 0 {
			t.Unknown("no retransmission came to compare with")
		}
		if n.probe == nil {
			break
		}
		after, flight = append(after, n.ptoAfter), n.flight
		fresh = fresh || n.probe.Seq.Sub(n.una) >= n.flight
	}
	if without := t.neglect(t.Connect(puppet.Shape{NoSACK: true}), 4*time.Second, 1); without.probe == nil {
		t.Fact("without_sack", "none")
	} else {
		t.Fact("without_sack", "a probe")
	}
	if after == nil {
		t.Times("rto", n.repeated...)
		return "none"
	}
	t.Times("probe_after", slices.Min(after))
	t.Times("each", after...)
	t.Fact("flight", "%d octets", flight)
	if fresh {
		return "new"
	}
	return "last"
}

// A burst is a first flight of segments of one size that nobody has acknowledged.
type burst struct {
	p    *puppet.Puppet
	una  segment.Seq // where it begins
	size int         // octets of a segment
	n    int         // full segments
}

// end returns where the data ends that has come so far, whatever of it was lost.
func (b *burst) end() segment.Seq {
	end := b.una
	for _, a := range b.p.Arrivals() {
		if puppet.Data(a) {
			end = segment.MaxSeq(end, a.Seq.Add(len(a.Payload)))
		}
	}
	return end
}

// at returns where segment i begins: 0, 1, 2 …
func (b *burst) at(i int) segment.Seq { return b.una.Add(i * b.size) }

// block is segments from up to, but without, to.
func (b *burst) block(from, to int) segment.SACKBlock {
	return segment.SACKBlock{Start: b.at(from), End: b.at(to)}
}

// TooSlow is why a row is unknown when this machine was too busy to ask in time.
const TooSlow = "the retransmission timeout was faster than we were"

const (
	burstMSS = 536
	leastRTO = 190 * time.Millisecond // what comes again later may be the timer's
	booked   = 6                      // ACKs of a burst, to be fast enough
)

// burst asks for a first flight and returns it as soon as it is there: the
// retransmission timer of the host runs. It ends the attempt if the flight has
// less than so many segments.
func (t *T) burst(least int, shape puppet.Shape) *burst {
	shape.MSS = burstMSS
	b := &burst{p: t.Connect(shape), size: burstMSS}
	if b.p.Peer().Timestamps && !shape.NoTimestamps {
		b.size -= 12
	}
	b.p.HoldAck()
	b.p.Book(1 + len(t.Service.Request)/b.p.Room() + booked)
	b.una = b.p.Segment(segment.ACK).Ack
	t.Request(b.p)
	first := t.seen(b.p, t.Patience()+2*time.Second, begins(b.una))
	if first == nil {
		t.Unknown("the service sent no data")
	}
	b.size = min(b.size, len(first.Payload)) // some hosts keep room for options
	for b.p.Await(20*time.Millisecond+t.rtt(b.p)/2, puppet.Data) != nil {
		// an arrival extends the wait
	}
	b.n = b.end().Sub(b.una) / b.size
	if b.n < least {
		t.Unknown("the first flight has %d full segments only", b.n)
	}
	return b
}

// soon is how long to wait for what an ACK brings: less than a retransmission
// timeout.
func (t *T) soon(p *puppet.Puppet) time.Duration { return 50*time.Millisecond + t.rtt(p)*5/4 }

// bring sends ACKs together, and returns the data that they bring, and when they
// left.
func (t *T) bring(b *burst, acks ...puppet.Shot) (data []*puppet.Arrival, at time.Duration) {
	sent := b.p.Volley(acks...)
	data = t.brought(b, sent[0].At)
	t.timedOut(b, sent[0].At)
	return data, sent[0].At
}

// brought waits for data, and returns what an ACK has brought that left at a
// moment. What comes sooner than a round trip allows was on its way before; what
// comes later than soon, this host having been busy, is the timer's.
func (t *T) brought(b *burst, sent time.Duration) (data []*puppet.Arrival) {
	soon := t.soon(b.p)
	for _, a := range b.p.Collect(soon) {
		if puppet.Data(a) && t.reached(sent) <= a.At && a.At <= sent+soon {
			data = append(data, a)
		}
	}
	return data
}

// reached is before when nothing can be an answer to what left at a moment. The round
// trip of one handshake says too little: that it took long may be the business of an
// instant.
func (t *T) reached(sent time.Duration) time.Duration { return sent + t.battery.leastRTT()*3/4 }

// timedOut ends the attempt if the first segment of the burst had come again by
// itself before an ACK that left at a moment could bring it.
func (t *T) timedOut(b *burst, sent time.Duration) {
	count := 0
	for _, a := range b.p.Arrivals() {
		if begins(b.una)(a) && a.At < t.reached(sent) {
			count++
		}
	}
	if count > 1 {
		t.Unknown(TooSlow)
	}
}

// ack is an ACK of the first n segments with SACK blocks.
func (b *burst) ack(n int, blocks ...segment.SACKBlock) puppet.Shot {
	mods := []puppet.Mod{puppet.AckAt(b.at(n))}
	if len(blocks) > 0 {
		mods = append(mods, puppet.SACK(blocks...))
	}
	return b.p.Segment(segment.ACK, mods...)
}

// has returns the segment of those that holds segment i of the burst, or nil.
func (b *burst) has(data []*puppet.Arrival, i int) *puppet.Arrival {
	for _, a := range data {
		if a.Seq.LessEq(b.at(i)) && b.at(i).Less(a.Seq.Add(len(a.Payload))) {
			return a
		}
	}
	return nil
}

func lossDetection(t *T) string {
	one := t.burst(5, puppet.Shape{NoTimestamps: true})
	if !one.p.Peer().SACK {
		return "not-offered"
	}
	data, at := t.bring(one, one.ack(0, one.block(2, 3)))
	if a := one.has(data, 0); a != nil {
		t.Times("after_one", a.At-at)
		one.p.Close()
		t.afterThree()
		return "rack"
	}
	one.p.Close()
	if t.afterThree() {
		return "dupthresh"
	}
	return "timeout"
}

// afterThree reports whether three reports bring the hole at once, and takes down
// how soon: the least of three times, for being busy makes them longer only.
func (t *T) afterThree() bool {
	var after []time.Duration
	for range 3 {
		b := t.burst(5, puppet.Shape{NoTimestamps: true})
		data, at := t.bring(b, b.ack(0, b.block(1, 2)), b.ack(0, b.block(1, 3)), b.ack(0, b.block(1, 4)))
		b.p.Close()
		a := b.has(data, 0)
		if a == nil {
			break
		}
		after = append(after, a.At-at)
	}
	if after == nil {
		return false
	}
	t.Times("after_three", slices.Min(after))
	return true
}

func limitedTransmit(t *T) string {
	b := t.burst(3, puppet.Shape{NoTimestamps: true, NoSACK: true})
	// The first may not count as a duplicate: its sequence number is beyond that of
	// the request, and so it is also news of the window.
	end := b.end()
	brought := 0
	for i := 0; i < 3 && brought < 2*b.size; i++ {
		sent := b.p.Send(segment.ACK)
		data := t.brought(b, sent.At)
		t.timedOut(b, sent.At)
		if n := slices.IndexFunc(data, begins(b.una)); n >= 0 && i < 2 {
			if first := t.seen(b.p, 0, begins(b.una)); data[n].At-first.At > leastRTO {
				t.Unknown(TooSlow)
			}
			return "retransmits"
		}
		brought = b.end().Sub(end)
	}
	t.Fact("new_data", "%d octets", brought)
	switch {
	case brought == 0:
		return "none"
	case brought <= b.size:
		return "one"
	}
	return "both"
}

func recoveryVariant(t *T) string {
	withSACK := t.repairBySACK()
	t.Fact("with_sack", "%s", withSACK)
	without := t.repairByPartialACK()
	t.Fact("without_sack", "%s", without)
	if withSACK == "not offered" {
		return without
	}
	return withSACK
}

func (t *T) repairBySACK() string {
	b := t.burst(6, puppet.Shape{NoTimestamps: true})
	defer b.p.Close()
	if !b.p.Peer().SACK {
		return "not offered"
	}
	// All that arrived is told, or a congestion window that was halved is full.
	data, _ := t.bring(b, b.ack(0, b.block(1, 2)), b.ack(0, b.block(3, 4), b.block(1, 2)),
		b.ack(0, b.block(3, 5), b.block(1, 2)), b.ack(0, segment.SACKBlock{Start: b.at(3), End: b.end()}, b.block(1, 2)))
	switch {
	case b.has(data, 1) != nil || b.has(data, 3) != nil:
		return "tahoe"
	case b.has(data, 0) != nil && b.has(data, 2) != nil:
		return "sack"
	case b.has(data, 0) != nil:
		return "reno"
	}
	return "timeout"
}

func (t *T) repairByPartialACK() string {
	b := t.burst(6, puppet.Shape{NoTimestamps: true, NoSACK: true})
	defer b.p.Close()
	if data, _ := t.bring(b, slices.Repeat([]puppet.Shot{b.ack(0)}, min(b.n-2, booked))...); b.has(data, 0) == nil {
		return "timeout"
	}
	sent := b.p.Send(segment.ACK, puppet.AckAt(b.at(2)))
	data := t.brought(b, sent.At)
	switch {
	case b.has(data, 2) == nil:
		return "reno"
	case b.has(data, 3) != nil:
		return "tahoe"
	}
	return "newreno"
}

func spuriousRTO(t *T) string {
	said := t.undo(false)
	if said == "go-back-n" && t.undo(true) == "f-rto" {
		return "eifel"
	}
	return said
}

// undo says what follows an ACK of two segments that comes after the timeout of
// the first. stamped: the ACK echoes the timestamp of the original.
func (t *T) undo(stamped bool) string {
	b := t.burst(5, puppet.Shape{NoTimestamps: !stamped})
	defer b.p.Close()
	if stamped && !b.p.Peer().Timestamps {
		return "go-back-n"
	}
	original := t.seen(b.p, 0, begins(b.una))
	again := func(a *puppet.Arrival) bool { return begins(b.una)(a) && a != original }
	if t.seen(b.p, 4*time.Second, again) == nil {
		t.Unknown("no retransmission timeout came")
	}
	end := b.end()
	mods := []puppet.Mod{puppet.AckAt(b.at(2))}
	if stamped {
		mods = append(mods, puppet.Stamps(b.p.Segment(segment.ACK).Options.TSVal, original.Options.TSVal))
	}
	b.p.Send(segment.ACK, mods...)
	// The next timeout is twice as far away, and some hosts pace what they send.
	a := b.p.Await(t.soon(b.p)+150*time.Millisecond, func(a *puppet.Arrival) bool { return puppet.Data(a) && b.at(2).LessEq(a.Seq) })
	switch {
	case a == nil:
		return "quiet"
	case a.Seq.Less(end):
		return "go-back-n"
	}
	return "f-rto"
}

// closedAnswers is how many probes of a closed window may come in a second: the first
// are the distances of a retransmission timeout apart.
const closedAnswers = 2

// closedWindow returns a connection whose window is zero and whose service has
// something to say, what a probe of it looks like, and when the service was asked.
// p is nil if data came all the same.
func (t *T) closedWindow() (p *puppet.Puppet, isProbe puppet.Match, start time.Duration) {
	p = t.prompt()
	p.OnCall(closedAnswers)
	if !t.Lives(p) { // some hosts believe in a smaller window only of a later segment
		t.Unknown("the connection does not take data")
	}
	p.Collect(t.soon(p)) // an echo, a greeting
	una := p.RcvNxt()
	p.Window(0)
	t.Request(p)
	start = t.sentAt(p)
	t.Wait(t.soon(p))
	for _, a := range p.Arrivals() {
		if len(a.Payload) > 1 && una.LessEq(a.Seq) {
			if t.Service.Greets {
				t.Unknown("a greeting came late")
			}
			t.Fact("data", "%d octets", len(a.Payload))
			return nil, nil, 0
		}
	}
	isProbe = func(a *puppet.Arrival) bool {
		return !a.Flags.Any(segment.RST|segment.SYN) && (len(a.Payload) > 0 || a.Seq.Less(una))
	}
	return p, isProbe, start
}

// sentAt returns when the last segment with data left.
func (t *T) sentAt(p *puppet.Puppet) (at time.Duration) {
	for _, r := range t.stage.Log() {
		if e := r.Event; e.Kind == engine.EventSegmentOut && e.Conn == p.Conn() && len(e.Segment.Payload) > 0 {
			at = time.Duration(e.At - 1)
		}
	}
	return at
}

func zeroWindowProbe(t *T) string {
	p, isProbe, start := t.closedWindow()
	if p == nil {
		return "ignored"
	}
	una := p.RcvNxt()
	p.HoldAck() // a window of zero takes no octet
	var times, waits []time.Duration
	for wait, last, answered := 12*time.Second, start, start; t.Now() < start+40*time.Second; {
		t.Waiting("probe %d", len(times)+1)
		a := p.Await(min(wait, start+40*time.Second-t.Now()), puppet.Either(isProbe, puppet.RST))
		if a == nil {
			break
		}
		if puppet.RST(a) {
			t.Times("probes_at", times...)
			return "ended"
		}
		if len(times) == 0 {
			t.Fact("form", "%d octets at %+d", len(a.Payload), a.Seq.Sub(una))
		}
		wait = max(wait, 7*(a.At-last))
		times, waits = append(times, a.At-start), further(waits, hostWaited(a.At, last, answered))
		last = a.At
		answered = p.Reply(segment.ACK).At
	}
	t.Times("probes_at", times...)
	t.Times("waits", waits...)
	return ruleOfProbes(times, waits)
}

// hostWaited returns how long the host had waited for when it sent a probe: since our
// answer to the one before, or since that one, if our answer came too late.
func hostWaited(at, before, answered time.Duration) time.Duration {
	if answered > at {
		return at - before
	}
	return at - answered
}

// ruleOfProbes is the rule of probes that came at times, and before which the host
// has waited: many hosts wait anew after each answer, and ours may have been late.
func ruleOfProbes(times, waits []time.Duration) string {
	if said := ruleBehindProbe(times); said != "irregular" {
		return said
	}
	return ruleBehindProbe(waits)
}

// further adds a distance to times.
func further(times []time.Duration, d time.Duration) []time.Duration {
	if len(times) > 0 {
		d += times[len(times)-1]
	}
	return append(times, d)
}

func lostWindowUpdate(t *T) string {
	p, isProbe, _ := t.closedWindow()
	if p == nil {
		t.Unknown("the host sends data although our window is zero")
	}
	p.HoldAck()
	t.Waiting("a probe of the closed window")
	if p.Await(30*time.Second, isProbe) == nil {
		t.Unknown("the host does not probe a closed window")
	}
	opened := p.Reply(segment.ACK).At
	p.Window(100)
	p.ReleaseAck()
	for range 4 {
		t.Waiting("a probe of the open window")
		if p.Await(60*time.Second, isProbe) == nil {
			break
		}
		before := len(p.Received())
		p.Send(segment.ACK)
		if a := t.Answer(p, puppet.Data); a != nil || len(p.Received()) > before {
			t.Times("recovered_after", t.Now()-opened)
			return "recovers"
		}
	}
	return "deadlock"
}

func keepAliveSent(t *T) string {
	const watch, calm = 65 * time.Second, 4 * time.Second
	p := t.Connect()
	for p.Await(calm, puppet.Data) != nil { // a greeting, or data whose ACK was lost
		p.Reply(segment.ACK)
	}
	start := t.Now()
	var times []time.Duration
	old := func(a *puppet.Arrival) bool { return a.Seq.Less(p.RcvNxt()) && len(a.Payload) <= 1 }
	for {
		t.Waiting("%v of silence", watch)
		a := p.Await(start+watch-t.Now(), puppet.Either(old, puppet.RST, puppet.FIN))
		switch {
		case a != nil && old(a) && t.repeats(p, a):
			p.Reply(segment.ACK)
			continue
		case a == nil && times == nil:
			return "quiet"
		case a == nil:
			t.Times("probes_at", times...)
			return "probes"
		case a.Flags.Any(segment.RST | segment.FIN):
			t.Times("closed_after", a.At-start)
			return "closed"
		}
		if times == nil {
			t.Fact("form", "%d octets at %+d", len(a.Payload), a.Seq.Sub(p.RcvNxt()))
		}
		times = append(times, a.At-start)
		p.Reply(segment.ACK)
	}
}

// repeats reports whether a segment is a SYN-ACK or data that has arrived before:
// our ACK of it was lost.
func (t *T) repeats(p *puppet.Puppet, a *puppet.Arrival) bool {
	if puppet.SYNACK(a) {
		return true
	}
	at, stream := PeerRel(p, a.Seq)-1, p.Received()
	return len(a.Payload) > 0 && at >= 0 && at+len(a.Payload) <= len(stream) && bytes.Equal(stream[at:at+len(a.Payload)], a.Payload)
}

func keepAliveReply(t *T) string {
	p := t.Connect()
	if !t.Lives(p) {
		t.Unknown("the connection does not take data")
	}
	answered := 0
	for i, garbage := range [][]byte{nil, {'\n'}} {
		sent, a := t.Insist(p, puppet.Either(puppet.RST, puppet.PureACK), func() puppet.Sent { // an echo may come again
			return p.Provoke(segment.ACK, puppet.Seq(-1), puppet.Text(garbage))
		})
		switch {
		case a == nil:
		case puppet.RST(a):
			return "reset"
		default:
			t.Times([]string{"empty_after", "octet_after"}[i], a.At-sent.At)
			answered |= 1 << i
		}
	}
	if answered == 0 && !t.Lives(p) {
		return "reset"
	}
	return [...]string{"none", "empty-only", "octet-only", "both"}[answered]
}

// idleTimes are how long the connections of idleTimeout are idle.
var idleTimes = []time.Duration{15 * time.Second, 60 * time.Second, 120 * time.Second, 200 * time.Second}

func idleTimeout(t *T) string {
	var puppets []*puppet.Puppet
	for range idleTimes {
		puppets = append(puppets, t.Connect())
	}
	start, said := t.Now(), "alive"
	for i, idle := range idleTimes {
		p := puppets[i]
		t.Waiting("a connection to be idle for %v", idle)
		t.idle(puppets[i:], start+idle)
		ended := p.Reset() || p.PeerClosed()
		life := t.Life(p)
		t.Fact("after_"+idle.String(), "%v", life)
		switch {
		case life == puppet.Alive:
		case ended || said == "closed":
			said = "closed"
		case life == puppet.Dead:
			said = "reset"
		default:
			said = "silent"
		}
	}
	return said
}

// idle lets time pass, and answers keep-alives, or the host would end what is
// idle by itself.
func (t *T) idle(puppets []*puppet.Puppet, until time.Duration) {
	for t.Now() < until {
		t.Wait(min(time.Second, until-t.Now()))
		for _, p := range puppets {
			keepAlive := func(a *puppet.Arrival) bool { return a.Seq.Less(p.RcvNxt()) && len(a.Payload) <= 1 }
			if p.Await(0, keepAlive) != nil {
				t.Fact("keep_alives", "answered")
				p.Reply(segment.ACK)
			}
		}
	}
}
