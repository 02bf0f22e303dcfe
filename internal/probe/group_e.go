package probe

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"rawtcp/internal/puppet"
	"rawtcp/segment"
)

// groupE: window, acknowledgements, congestion.
var groupE = []*Row{
	{
		ID: "E1", Name: "initial-window",
		Question: "How much does the host send before the first ACK?",
		Stimulus: "requests on connections with an MSS of 64, 536 and 1460, and no ACK until all is quiet",
		Clauses:  []Clause{rfc(6928, "2"), rfc(5681, "3.1")},
		Risk:     Data, Service: BulkData, Takes: 3 * time.Second, Needs: []Field{FieldMSS, FieldAck, FieldWindow},
		Outcomes: []Outcome{
			{Key: "ten", Verdict: Pass, Says: "ten segments, whatever their size"},
			{Key: "fewer", Verdict: Pass, LikeLoss: true, LikePath: true, Rule: rfc(5681, "3.1"), Says: "less than ten segments"},
			{Key: "more", Verdict: Note, Says: "more than RFC 6928 allows"},
		},
		Test: initialWindow,
	},
	{
		ID: "E2", Name: "restart-after-idle",
		Question: "Does the host begin with a small window again when a connection was idle?",
		Stimulus: "requests in round trips of 400 ms until the congestion window has doubled, five seconds of silence, and a request",
		Clauses:  []Clause{rfc(5681, "4.1"), rfc(7661, "4.4")},
		Risk:     Data | Slow, Service: RepeatedData, Takes: 15 * time.Second, Needs: []Field{FieldMSS, FieldAck, FieldWindow},
		Outcomes: []Outcome{
			{Key: "restarts", Verdict: Pass, Says: "it is back to its initial window"},
			{Key: "reduced", Verdict: Pass, Rule: rfc(7661, "4.4.3"), Says: "with less than before, and more than its initial window"},
			{Key: "kept", Verdict: Note, Says: "no: the whole window leaves at once, or at the rate from before"},
		},
		Test: restartAfterIdle,
	},
	{
		ID: "E3", Name: "ack-division",
		Question: "Does an ACK that is cut in pieces open the congestion window further than a whole one?",
		Stimulus: "five ACKs that share the first segment of a flight",
		Clauses:  []Clause{rfc(5681, "3.1"), rfc(3465, "2")},
		Risk:     Data, Service: BulkData, Takes: 2 * time.Second, Needs: []Field{FieldAck},
		Outcomes: []Outcome{
			{Key: "bytes", Verdict: Pass, Says: "no: what counts is octets, or whole segments"},
			{Key: "acks", Verdict: Note, Says: "yes: what counts is ACKs, and a receiver can have more than its share"},
			{Key: "quiet", Verdict: Note, LikeLoss: true, Says: "the ACKs bring nothing"},
		},
		Test: ackDivision,
	},
	{
		ID: "E4", Name: "optimistic-ack",
		Question: "Is an ACK believed of what was never sent?",
		Stimulus: "after a first flight an ACK of twenty segments more than it had",
		Clauses:  []Clause{rfc(9293, "3.10.7.4"), rfc(5961, "5.2")},
		Risk:     Data | Intrusive, Service: BulkData, Takes: time.Second, Needs: []Field{FieldAck},
		Outcomes: []Outcome{
			{Key: "refused", Verdict: Pass, Says: "an ACK says what is right, and nothing else comes of it"},
			{Key: "silent", Verdict: Note, LikeLoss: true, Says: "nothing comes of it"},
			{Key: "believed", Verdict: Fail, Says: "the host goes on behind what it never sent"},
			{Key: "reset", Verdict: Fail, Says: "a RST ends the connection"},
		},
		Test: optimisticACK,
	},
	{
		ID: "E5", Name: "congestion-control",
		Question: "Which congestion control does the host seem to use?",
		Stimulus: "a transfer in round trips of 400 ms that we make, with one segment reported lost when the window is 32 segments or grows no more",
		Clauses:  []Clause{rfc(5681, "3.2"), rfc(9438, "4")},
		Risk:     Data | Slow, Service: BulkData, Takes: 12 * time.Second, Needs: []Field{FieldMSS, FieldAck, FieldWindow},
		Outcomes: []Outcome{
			{Key: "reno", Verdict: Pass, Says: "half of the window after the loss, and a segment more in each round trip: as Reno does"},
			{Key: "cubic", Verdict: Pass, Rule: rfc(9438, "4"), Says: "seven tenths of the window after the loss, and a curve back to where it was: as CUBIC does"},
			{Key: "rate", Verdict: Note, Says: "the loss does not reduce the window: what counts is the rate, as with BBR"},
			{Key: "other", Verdict: Note, LikeLoss: true, Says: "the windows after the loss are none of Reno's, CUBIC's or BBR's"},
		},
		Test: congestionControl,
	},
	{
		ID: "E6", Name: "delayed-ack",
		Question: "How long does the host wait with an ACK?",
		Stimulus: "24 octets, each after the ACK of the one before; then two full segments",
		Clauses:  []Clause{rfc(9293, "3.8.6.3", "MUST-40"), rfc(9293, "3.8.6.3", "SHLD-19")},
		Risk:     Safe, Takes: 4 * time.Second, Needs: []Field{FieldAck},
		Outcomes: []Outcome{
			{Key: "delayed", Verdict: Pass, Says: "some time, less than half a second"},
			{Key: "at-once", Verdict: Pass, Says: "not at all"},
			{Key: "late", Verdict: Fail, LikeLoss: true, Says: "half a second or longer"},
		},
		Test: delayedACK,
	},
	{
		ID: "E7", Name: "ack-on-gap",
		Question: "Is a segment beyond a gap answered at once?",
		Stimulus: "an octet one beyond RCV.NXT",
		Clauses:  []Clause{rfc(5681, "4.2")},
		Risk:     Safe, Takes: 300 * time.Millisecond, Needs: []Field{FieldSeq, FieldAck},
		Outcomes: []Outcome{
			{Key: "at-once", Verdict: Pass, Says: "a duplicate ACK at once"},
			{Key: "delayed", Verdict: Note, Says: "a duplicate ACK, more than 100 ms later"},
			{Key: "none", Verdict: Note, LikeLoss: true, Says: "no ACK"},
		},
		Test: ackOnGap,
	},
	{
		ID: "E8", Name: "sack-blocks",
		Question: "Do SACK blocks tell what has arrived, the latest first?",
		Stimulus: "single octets 3, 6, 9 and 12 beyond RCV.NXT",
		Clauses:  []Clause{rfc(2018, "4")},
		Risk:     Safe, Takes: 2 * time.Second, Needs: []Field{FieldSACK, FieldSeq},
		Outcomes: []Outcome{
			{Key: "exact", Verdict: Pass, Says: "every block is exact, the latest first, three at least"},
			{Key: "order", Verdict: Fail, Says: "the first block is not that of the segment that has just arrived"},
			{Key: "shifted", Verdict: Fail, Says: "a block tells of what was never sent"},
			{Key: "few", Verdict: Note, LikeLoss: true, Says: "less blocks than there is room for"},
			{Key: "none", Verdict: Note, LikeLoss: true, Says: "no blocks, although both sides agreed to SACK"},
			{Key: "not-offered", Verdict: Note, Says: "the host does not use SACK"},
		},
		Test: sackBlocks,
	},
	{
		ID: "E9", Name: "dsack",
		Question: "Is a duplicate reported by SACK?",
		Stimulus: "two octets again that have been acknowledged",
		Clauses:  []Clause{rfc(2883, "4")},
		Risk:     Safe, Takes: 300 * time.Millisecond, Needs: []Field{FieldSACK, FieldSeq},
		Outcomes: []Outcome{
			{Key: "reported", Verdict: Pass, Says: "the first block is the duplicate"},
			{Key: "unreported", Verdict: Note, Says: "an ACK without such a block"},
			{Key: "none", Verdict: Note, LikeLoss: true, Says: "no ACK"},
			{Key: "not-offered", Verdict: Note, Says: "the host does not use SACK"},
		},
		Test: duplicateSACK,
	},
	{
		ID: "E10", Name: "shrunken-window",
		Question: "Is the host robust against a window whose right edge moves back?",
		Stimulus: "after a first flight an ACK with a window of 500 octets, less than is in flight",
		Clauses:  []Clause{rfc(9293, "3.8.6", "MUST-34"), rfc(9293, "3.8.6", "SHLD-15"), rfc(9293, "3.8.6", "SHLD-16")},
		Risk:     Data, Service: BulkData, Takes: 3 * time.Second, Needs: []Field{FieldWindow, FieldAck},
		Outcomes: []Outcome{
			{Key: "inside", Verdict: Pass, Says: "no new data; what is inside of the window is sent again"},
			{Key: "beyond", Verdict: Pass, Rule: rfc(9293, "3.8.6", "MAY-7"), Says: "no new data; old data beyond the window is sent again"},
			{Key: "new-data", Verdict: Fail, Rule: rfc(9293, "3.8.6", "SHLD-15"), Says: "new data beyond the window"},
			{Key: "reset", Verdict: Fail, Says: "the connection is dead"},
			{Key: "silent", Verdict: Note, Rule: rfc(9293, "3.8.6", "SHLD-16"), LikeLoss: true, Says: "nothing is sent again within five seconds"},
		},
		Test: shrunkenWindow,
	},
	{
		ID: "E11", Name: "tiny-window",
		Question: "Does the host wait before it fills a tiny window?",
		Stimulus: "a request with a window of 100 octets, after one of 65535",
		Clauses:  []Clause{rfc(9293, "3.8.6.2.1", "MUST-38")},
		Risk:     Data, Service: BulkData, Takes: 3 * time.Second, Needs: []Field{FieldWindow},
		Outcomes: []Outcome{
			{Key: "waits", Verdict: Pass, Says: "it sends only after some time, as much as fits"},
			{Key: "fills", Verdict: Note, Says: "it sends at once what fits: a silly window"},
			{Key: "exceeded", Verdict: Fail, Rule: rfc(9293, "3.8.6", "MUST-34"), Says: "it sends more than fits"},
			{Key: "silent", Verdict: Note, LikeLoss: true, Says: "it sends nothing within ten seconds"},
		},
		Test: tinyWindow,
	},
	{
		ID: "E12", Name: "overlap-rewrite",
		Question: "Which octet counts when one comes twice with different values?",
		Stimulus: "an octet B beyond a gap, then the gap and an A in place of the B; an echo tells",
		Clauses:  []Clause{rfc(9293, "3.10.7.4")},
		Risk:     Data | Intrusive, Service: EchoedData, Takes: 2 * time.Second, Needs: []Field{FieldSeq, FieldPayload},
		Outcomes: []Outcome{
			{Key: "first", Verdict: Note, Says: "the one that came first"},
			{Key: "last", Verdict: Note, Says: "the one that came last"},
		},
		Test: overlapRewrite,
	},
	{
		ID: "E13", Name: "window-update",
		Question: "Does the host's window open in large steps?",
		Stimulus: "data until the window is closed, while an echo service cannot write; then we read on",
		Clauses:  []Clause{rfc(9293, "3.8.6.2.2", "MUST-39")},
		Risk:     Data | Slow, Service: EchoedData, Takes: 40 * time.Second, Needs: []Field{FieldWindow}, Attempts: 1,
		Outcomes: []Outcome{
			{Key: "large", Verdict: Pass, Says: "the first step is a full segment or half of the buffer, at least"},
			{Key: "silly", Verdict: Fail, Says: "the first step is smaller: a silly window"},
			{Key: "closed", Verdict: Note, LikeLoss: true, Says: "the window stays closed"},
		},
		Test: windowUpdate,
	},
}

func initialWindow(t *T) string {
	said, facts := "ten", ""
	for _, mss := range []int{64, 536, 1460} {
		limit := min(10*mss, max(2*mss, 14600))
		inFlight := t.firstFlight(mss, limit)
		facts += sizeText(mss, (inFlight+mss-1)/mss)
		switch {
		case inFlight > limit:
			said = "more"
		case inFlight <= 9*mss && said == "ten":
			said = "fewer"
		}
	}
	t.Fact("segments", "%s", facts[1:])
	return said
}

// firstFlight is how many octets come before we acknowledge any: the most of up to
// three connections where it is less than enough, for a flight may lose its end.
func (t *T) firstFlight(mss, enough int) (most int) {
	for try := 0; try < 3 && most < enough; try++ {
		p := t.Connect(puppet.Shape{MSS: mss, NoSACK: true, NoTimestamps: true})
		inFlight := octets(t.Flight(p))
		if inFlight <= 9*mss && !t.goesOn(p) {
			t.Unknown("the service sent %d octets only", inFlight)
		}
		most = max(most, inFlight)
		p.Close()
		if !t.battery.lossy() {
			break
		}
	}
	return most
}

// goesOn reports whether an ACK of all brings more data.
func (t *T) goesOn(p *puppet.Puppet) bool {
	p.Send(segment.ACK)
	return t.Answer(p, puppet.Data) != nil
}

// encore asks the service once more and acknowledges all it says. It returns the
// segments of the first round, and the most of a round that was not the last: of
// what the window, and not the service, had limited.
func (c *course) encore() (first, most int) {
	c.ask(c.t.Service.Encore)
	before := 0
	for n := 0; n < 20; n++ {
		now := c.flight()
		if n == 0 {
			first = now
		}
		if now == 0 {
			return first, most
		}
		most, before = max(most, before), now
		c.ack()
	}
	c.t.Unknown("the service says more than it was asked for")
	return 0, 0
}

func restartAfterIdle(t *T) string {
	const idle = 5 * time.Second // some timeouts of a round trip of courseRound
	c := t.course(64, 65535)
	initial, grown := c.encore()
	for range 3 {
		if grown >= 2*initial {
			break
		}
		_, most := c.encore()
		grown = max(grown, most)
	}
	if grown < 2*initial {
		t.Unknown("the window did not grow beyond %d segments", grown)
	}
	t.Waiting("%v of silence", idle)
	t.Wait(idle)
	first, most := c.encore()
	t.Fact("segments", "%d at first, %d before the silence, %d after it", initial, grown, first)
	switch {
	case first >= grown*3/4:
		return "kept"
	case most < first:
		t.Unknown("the service says too little to see the window")
	case first > initial+1:
		return "reduced"
	}
	return "restarts"
}

// optimisticACK acknowledges what the host has not sent.
func optimisticACK(t *T) string {
	const far = 20 // segments
	b := t.burst(4, puppet.Shape{NoTimestamps: true})
	end := b.end()
	sent := b.p.Provoke(segment.ACK, puppet.AckAt(end.Add(far*b.size)))
	t.timedOut(b, sent.At)
	var answer, fresh *puppet.Arrival
	for _, a := range b.p.Collect(t.soon(b.p)) {
		switch {
		case puppet.RST(a):
			return "reset"
		case puppet.PureACK(a):
			answer = a
		case puppet.Data(a) && end.LessEq(a.Seq):
			fresh = a
		}
	}
	if answer != nil {
		t.Times("answered_after", answer.At-sent.At)
	}
	switch {
	case fresh != nil && end.Add(b.size).Less(fresh.Seq):
		t.Fact("goes_on", "%d octets beyond what it had sent", fresh.Seq.Sub(end))
		return "believed"
	case answer == nil:
		return "silent"
	}
	return "refused"
}

// overlapRewrite sends an octet beyond a gap, and then both with another one in
// its place; the echo tells which the service got.
func overlapRewrite(t *T) string {
	p := t.Establish()
	p.Collect(t.soon(p)) // the echo
	p.Send(segment.ACK)
	from, heard := p.SndNxt(), len(p.Received())
	if _, a := t.Insist(p, puppet.PureACK, func() puppet.Sent {
		return p.Provoke(text, puppet.Text([]byte("B")), puppet.Seq(1))
	}); a == nil {
		t.Unknown("data beyond a gap is not answered")
	}
	if p.Deliver([]byte("aA")) != puppet.Alive {
		t.Unknown("the connection does not take data")
	}
	for deadline := t.Now() + t.Patience(); t.Now() < deadline && len(p.Received()) < heard+2; {
		p.Await(deadline-t.Now(), puppet.Data)
	}
	echo := p.Received()[heard:]
	t.Fact("echo", "%q", echo)
	switch string(echo) {
	case "aB":
		return "first"
	case "aA":
		return "last"
	}
	t.Unknown("the echo of octets %d and %d is %q", Rel(p, from), Rel(p, from)+1, echo)
	return ""
}

func congestionControl(t *T) string {
	const size, largest, enough, rounds = 256, 128, 32, 12 // all but the first in segments or round trips
	c := t.course(size, size*largest)
	c.ask(t.Service.Request)
	before := c.flight()
	opening := []int{before}
	for before < enough && len(opening) < rounds {
		c.ack()
		last := before
		before = c.flight()
		opening = append(opening, before)
		if before >= enough/2 && before < last*5/4 { // it has found what it takes for the rate
			break
		}
	}
	t.Fact("opening", "%s", strings.Trim(fmt.Sprint(opening), "[]"))
	if before < enough/2 {
		t.Unknown("the window stays at %d segments", before)
	}
	c.lose()
	c.ack()
	var after []int
	for range rounds {
		t.Waiting("round trip %d after the loss", len(after)+1)
		after = append(after, c.flight())
		c.ack()
	}
	t.Fact("before_loss", "%d segments", before)
	t.Fact("after_loss", "%s", strings.Trim(fmt.Sprint(after), "[]"))
	said, confidence, errors := fitWindows(before, after, courseRound)
	t.Fact("misfit", "%s", errors)
	t.Fact("confidence", "%d %%", confidence)
	t.Detail("confidence %d %%", confidence)
	return said
}

func ackDivision(t *T) string {
	const pieces = 5
	b := t.burst(6, puppet.Shape{NoTimestamps: true, NoSACK: true})
	end := b.end()
	var acks []puppet.Shot
	for i := range pieces {
		acks = append(acks, b.p.Segment(segment.ACK, puppet.AckAt(b.una.Add((i+1)*b.size/pieces))))
	}
	t.bring(b, acks...)
	brought := (b.end().Sub(end) + b.size - 1) / b.size
	t.Fact("new_segments", "%d", brought)
	switch {
	case brought == 0:
		return "quiet"
	case brought >= pieces: // one that has left, and one for each ACK but the first
		return "acks"
	}
	return "bytes"
}

func delayedACK(t *T) string {
	const octets = 24
	const quick = 15 * time.Millisecond
	p := t.Connect()
	rtt := max(p.RTT(), t.battery.rtt())
	var delays []time.Duration
	for range octets {
		from := p.SndNxt()
		sent := p.Send(segment.ACK, puppet.Text(t.Octets(p, 1))) // PSH would hurry it
		t.asked[p]++
		// What comes later than an ACK may, is an answer to the octet that is sent
		// again, and no measure.
		a := p.Await(2*time.Second+2*rtt, puppet.Either(puppet.RST, puppet.Acks(from.Add(1))))
		switch {
		case a == nil && !t.arrives(p, sent):
			t.Unknown("the connection fell silent")
		case a == nil:
		case puppet.RST(a):
			t.Unknown("the service ended the connection")
		default:
			delays = append(delays, a.At-sent.At)
		}
	}
	if len(delays) == 0 {
		t.Unknown("no octet was acknowledged the first time")
	}
	longest := slices.Max(delays)
	first := slices.IndexFunc(delays, func(d time.Duration) bool { return d > quick+rtt })
	slices.Sort(delays)
	t.Times("median", delays[len(delays)/2])
	t.Times("longest", longest)
	if first >= 0 {
		t.Fact("first_delayed", "octet %d", first+1)
	}
	if t.Service.Echoes || t.Service.Request == nil {
		t.fullSegments(p)
	}
	switch {
	case longest > 500*time.Millisecond+2*rtt:
		return "late"
	case first < 0:
		return "at-once"
	}
	return "delayed"
}

// arrives sends a segment again until it is acknowledged, or three times.
func (t *T) arrives(p *puppet.Puppet, sent puppet.Sent) bool {
	_, a := t.Insist(p, puppet.Either(puppet.RST, puppet.Acks(sent.End())), func() puppet.Sent {
		return p.Send(text, puppet.Text(sent.Payload), puppet.SeqAt(sent.Seq))
	})
	return a != nil && !puppet.RST(a)
}

// fullSegments takes down how long an ACK of two full segments takes.
func (t *T) fullSegments(p *puppet.Puppet) {
	p.Book(2)
	p.Send(text, puppet.Text(t.Octets(p, p.Room())))
	sent := p.Send(text, puppet.Text(t.Octets(p, p.Room())))
	if a := t.Answer(p, puppet.Acks(p.SndNxt())); a != nil {
		t.Times("two_full_segments", a.At-sent.At)
	}
}

func ackOnGap(t *T) string {
	p := t.Connect()
	if !t.Lives(p) {
		t.Unknown("the connection does not take data")
	}
	p.Collect(50 * time.Millisecond) // an echo
	from := p.SndNxt()
	sent := p.Provoke(text, puppet.Text([]byte{'\n'}), puppet.Seq(1))
	a := t.Answer(p, func(a *puppet.Arrival) bool { return puppet.PureACK(a) && a.Ack == from })
	if a == nil {
		return "none"
	}
	t.Times("answered_after", a.At-sent.At)
	if a.At-sent.At > 100*time.Millisecond+2*t.battery.rtt() {
		return "delayed"
	}
	return "at-once"
}

func sackBlocks(t *T) string {
	p := t.Connect()
	if !p.Peer().SACK {
		return "not-offered"
	}
	room := 4
	if p.Peer().Timestamps {
		room = 3
	}
	from := p.SndNxt()
	var islands []segment.SACKBlock // the latest first
	said := "none"
	for _, d := range []int{3, 6, 9, 12} {
		island := segment.SACKBlock{Start: from.Add(d), End: from.Add(d + 1)}
		islands = append([]segment.SACKBlock{island}, islands...)
		_, a := t.Insist(p, puppet.PureACK, func() puppet.Sent {
			return p.Provoke(text, puppet.Text([]byte{'\n'}), puppet.Seq(d))
		})
		if a == nil {
			t.Unknown("data beyond a gap is not answered")
		}
		blocks := once(a.Options.Blocks())
		t.Fact(fmt.Sprintf("at_%d", d), "%s", blockText(blocks, from))
		now := judgeBlocks(blocks, islands[:min(len(islands), room)], islands)
		if now != "exact" {
			return now
		}
		said = now
	}
	return said
}

// once is blocks without those that repeat another, as the report of a duplicate
// does (RFC 2883 section 4).
func once(blocks []segment.SACKBlock) (out []segment.SACKBlock) {
	for _, b := range blocks {
		if !slices.Contains(out, b) {
			out = append(out, b)
		}
	}
	return out
}

func blockText(blocks []segment.SACKBlock, from segment.Seq) string {
	var parts []string
	for _, b := range blocks {
		parts = append(parts, fmt.Sprintf("[%d,%d]", b.Start.Sub(from), b.End.Sub(from)))
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, " ")
}

// judgeBlocks compares blocks with those that should be there, and with all that
// may be.
func judgeBlocks(blocks, want, all []segment.SACKBlock) string {
	for _, b := range blocks {
		if !slices.Contains(all, b) {
			return "shifted"
		}
	}
	switch {
	case len(blocks) == 0:
		return "none"
	case blocks[0] != want[0]:
		return "order"
	case len(blocks) < min(len(want), 3):
		return "few"
	}
	return "exact"
}

func duplicateSACK(t *T) string {
	p := t.Connect()
	if !p.Peer().SACK {
		return "not-offered"
	}
	from := p.SndNxt()
	data := t.Octets(p, 2)
	if p.Deliver(data) != puppet.Alive {
		t.Unknown("the connection does not take data")
	}
	p.Collect(50 * time.Millisecond) // an echo
	report := func(a *puppet.Arrival) bool { return puppet.PureACK(a) && a.Ack == from.Add(2) }
	_, a := t.Insist(p, report, func() puppet.Sent {
		return p.Provoke(text, puppet.Text(data), puppet.SeqAt(from))
	})
	if a == nil {
		return "none"
	}
	blocks := a.Options.Blocks()
	t.Fact("blocks", "%s", blockText(blocks, from.Add(-1)))
	if len(blocks) > 0 && blocks[0] == (segment.SACKBlock{Start: from, End: from.Add(2)}) {
		return "reported"
	}
	return "unreported"
}

func shrunkenWindow(t *T) string {
	const window = 500
	b := t.burst(3, puppet.Shape{Scale: -1, Window: 65535, NoSACK: true, NoTimestamps: true})
	end := b.end()
	b.p.Window(window)
	shrunk := b.p.Send(segment.ACK)
	var again *puppet.Arrival
	for again == nil || t.Now() < again.At+time.Second {
		a := b.p.Await(shrunk.At+5*time.Second-t.Now(), puppet.Either(puppet.Data, puppet.RST))
		switch {
		case a == nil && again == nil:
			return "silent"
		case a == nil:
			return t.insideOr(again, b, window)
		case puppet.RST(a):
			return "reset"
		case end.LessEq(a.Seq) && a.At > shrunk.At+2*t.battery.rtt()+10*time.Millisecond:
			return "new-data"
		case a.Seq.Less(end) && again == nil:
			again = a
		}
	}
	return t.insideOr(again, b, window)
}

// insideOr says where data is that was sent again after the window had shrunk.
func (t *T) insideOr(a *puppet.Arrival, b *burst, window int) string {
	t.Fact("again", "%d octets at %d", len(a.Payload), a.Seq.Sub(b.una))
	beyond := a.Seq.Add(len(a.Payload)).Sub(b.una.Add(window))
	if a.Seq != b.una || beyond > 0 {
		return "beyond"
	}
	return "inside"
}

func tinyWindow(t *T) string {
	const window = 100
	p := t.Connect(puppet.Shape{Scale: -1, Window: 65535, NoSACK: true})
	// Some hosts believe in a smaller window only if the segment is a later one.
	if !t.Lives(p) {
		t.Unknown("the connection does not take data")
	}
	p.Window(window)
	p.HoldAck()
	una := p.RcvNxt()
	t.Request(p)
	sent := t.sentAt(p)
	first := t.seen(p, 10*time.Second, puppet.Data)
	if first == nil {
		return "silent"
	}
	p.Collect(t.soon(p)) // what came with it
	inFlight := p.RcvNxt().Sub(una)
	t.Fact("in_flight", "%d octets", inFlight)
	t.Times("first_after", first.At-sent)
	switch {
	case inFlight > window:
		return "exceeded"
	case first.At-sent < 80*time.Millisecond+t.rtt(p) && inFlight == window:
		return "fills"
	case first.At-sent < 80*time.Millisecond+t.rtt(p):
		t.Unknown("the service sent %d octets only", inFlight)
	}
	return "waits"
}

func windowUpdate(t *T) string {
	const most = 1500 // segments: some hosts, and echo services, take more than a megabyte
	p := t.Connect()
	p.Window(0)
	p.HoldAck()
	largest := 0
	t.Waiting("the host's window to close")
	for n := 0; p.PeerWindow() > 0; n++ {
		if n == most {
			t.Unknown("the host and its service take more than %d segments", most)
		}
		largest = max(largest, p.PeerWindow())
		switch p.Deliver(make([]byte, min(p.Room(), p.PeerWindow()))) {
		case puppet.Dead:
			t.Unknown("the service ended the connection")
		case puppet.Mute:
			t.Unknown("the host takes no data although its window is open")
		}
	}
	t.Fact("taken", "%d octets", p.SndUna().Sub(p.ISS()))
	edge := p.SndUna()
	p.ReleaseAck()
	p.Window(512)
	opens := func(a *puppet.Arrival) bool { return a.Flags.Has(segment.ACK) && a.Window > 0 && edge.LessEq(a.Ack) }
	t.Waiting("the host's window to open")
	// The service has much to say before it reads on, and where the path loses that
	// takes time: what counts is that it goes on.
	for heard, last := p.RcvNxt(), t.Now(); t.Now() < last+10*time.Second; {
		p.Send(segment.ACK)
		if t.seen(p, 100*time.Millisecond+t.rtt(p), opens) == nil {
			if now := p.RcvNxt(); now != heard {
				heard, last = now, t.Now()
			}
			continue
		}
		step := p.PeerWindow()
		t.Fact("first_step", "%d octets", step)
		if step >= min(p.Room(), largest/2) {
			return "large"
		}
		return "silly"
	}
	return "closed"
}
