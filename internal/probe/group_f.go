package probe

import (
	"fmt"
	"time"

	"rawtcp/internal/puppet"
	"rawtcp/segment"
)

// groupF: closing.
var groupF = []*Row{
	{
		ID: "F1", Name: "active-close",
		Question: "How does the host close a connection?",
		Stimulus: "what makes the service close first; then an ACK of the FIN, and our own",
		Clauses:  []Clause{rfc(9293, "3.6"), rfc(9293, "3.10.4")},
		Risk:     Data, Service: ClosesFirst, Takes: time.Second, Needs: []Field{FieldSeq, FieldAck},
		Outcomes: []Outcome{
			{Key: "fin", Verdict: Pass, Says: "a FIN by itself, and our FIN is acknowledged"},
			{Key: "fin-with-data", Verdict: Pass, Says: "a FIN with the last data, and our FIN is acknowledged"},
			{Key: "reset", Verdict: Note, Says: "a RST instead of a FIN"},
			{Key: "unfinished", Verdict: Fail, LikeLoss: true, Says: "our FIN is never acknowledged"},
			{Key: "refused", Verdict: Note, Says: "our FIN draws a RST"},
		},
		Test: activeClose,
	},
	{
		ID: "F2", Name: "half-close",
		Question: "Does the host send data after our FIN?",
		Stimulus: "a request with FIN",
		Clauses:  []Clause{rfc(9293, "3.6.1"), rfc(9293, "3.6")},
		Risk:     Data, Service: AnyData, Takes: time.Second, Needs: []Field{FieldFlags},
		Outcomes: []Outcome{
			{Key: "data", Verdict: Pass, Says: "the answer comes, and then a FIN"},
			{Key: "open", Verdict: Pass, Says: "the answer comes, and no FIN yet"},
			{Key: "fin-only", Verdict: Note, Says: "a FIN, and no answer: the service takes our FIN for the end"},
			{Key: "reset", Verdict: Note, Says: "a RST, and no answer"},
			{Key: "silent", Verdict: Note, LikeLoss: true, Says: "the FIN is acknowledged, and nothing else comes"},
		},
		Test: halfClose,
	},
	{
		ID: "F3", Name: "close-with-unread-data",
		Question: "Does a RST say so when a service closes before it has read all?",
		Stimulus: "what makes the service close first, with seven more segments behind it",
		Clauses:  []Clause{rfc(9293, "3.6.1", "SHLD-3")},
		Risk:     Data, Service: ClosesFirst, Takes: 2 * time.Second, Needs: []Field{FieldPayload},
		Outcomes: []Outcome{
			{Key: "reset", Verdict: Pass, Says: "a RST"},
			{Key: "fin", Verdict: Note, LikeLoss: true, Says: "a FIN alone: the service has read all, or the loss of data is hidden"},
			{Key: "open", Verdict: Note, LikeLoss: true, Says: "neither a FIN nor a RST"},
		},
		Test: unreadData,
	},
	{
		ID: "F4", Name: "data-after-close",
		Question: "Does data draw a RST that nobody can read any more?",
		Stimulus: "what makes the service close first, an ACK of its FIN, then an octet",
		Clauses:  []Clause{rfc(9293, "3.6.1", "SHLD-3")},
		Risk:     Data, Service: ClosesFirst, Takes: 2 * time.Second, Needs: []Field{FieldSeq},
		Outcomes: []Outcome{
			{Key: "reset", Verdict: Pass, Says: "a RST"},
			{Key: "acked", Verdict: Note, Says: "an ACK: the service still reads, or the loss of data is hidden"},
			{Key: "silent", Verdict: Note, LikeLoss: true, Says: "nothing"},
		},
		Test: dataAfterClose,
	},
	{
		ID: "F5", Name: "fin-wait-2",
		Question: "How long does the host wait for our FIN after it has closed?",
		Stimulus: "connections that the service has closed first, with no FIN of ours; an old segment on each, after 1 to 185 seconds",
		Clauses:  []Clause{rfc(9293, "3.6"), rfc(1122, "4.2.2.20")},
		Risk:     Data | Slow, Service: ClosesFirst, Takes: 200 * time.Second, Puppets: len(finWait2Times), Needs: []Field{FieldSeq}, Attempts: 1,
		Outcomes: []Outcome{
			{Key: "ends", Verdict: Pass, Says: "an ACK at first and later a RST: it waits for some time; no standard sets a limit"},
			{Key: "holds", Verdict: Pass, Says: "an ACK to the end: it waits longer than we did"},
			{Key: "at-once", Verdict: Note, Says: "a RST from the beginning: it does not wait"},
			{Key: "silent", Verdict: Note, LikeLoss: true, Says: "no answer: somebody on the way has forgotten the connection"},
		},
		Test: finWait2,
	},
	{
		ID: "F6", Name: "time-wait",
		Question: "How long is TIME-WAIT?",
		Stimulus: "connections that the service has closed first and we after it; our FIN again on each, after 5 to 245 seconds",
		Clauses:  []Clause{rfc(9293, "3.6.1", "MUST-13")},
		Risk:     Data | Slow, Service: ClosesFirst, Takes: 255 * time.Second, Puppets: len(timeWaitTimes), Needs: []Field{FieldSeq}, Attempts: 1,
		Outcomes: []Outcome{
			{Key: "full", Verdict: Pass, Says: "four minutes: 2 MSL, an MSL being two minutes"},
			{Key: "shorter", Verdict: Note, Says: "shorter than four minutes, by an MSL of less than two, as most hosts have it"},
			{Key: "none", Verdict: Note, Says: "a RST after five seconds: there is no TIME-WAIT, or it gave way to others"},
			{Key: "silent", Verdict: Note, LikeLoss: true, Says: "no answer: somebody on the way has forgotten the connection"},
		},
		Test: timeWait,
	},
	{
		ID: "F7", Name: "time-wait-reuse",
		Question: "Which SYNs open a connection anew from TIME-WAIT?",
		Stimulus: "SYNs on the same ports with a higher and a lower sequence number, without timestamps; with a lower number and a later timestamp, with a higher number and an older timestamp",
		Clauses:  []Clause{rfc(9293, "3.6.1", "MAY-2"), rfc(6191, "2")},
		Risk:     Data, Service: ClosesFirst, Takes: 6 * time.Second, Needs: []Field{FieldSeq, FieldStamps},
		Outcomes: []Outcome{
			{Key: "newer", Verdict: Pass, Says: "one with a higher number, not one with a lower"},
			{Key: "none", Verdict: Pass, Says: "neither: TIME-WAIT lasts its time"},
			{Key: "any", Verdict: Note, Says: "one with a lower number, too: an old duplicate could open a connection, or TIME-WAIT was not kept"},
			{Key: "reset", Verdict: Note, Says: "a RST answers one of them"},
			{Key: "silent", Verdict: Note, LikeLoss: true, Says: "one of them is not answered"},
		},
		Test: timeWaitReuse,
	},
	{
		ID: "F8", Name: "time-wait-assassination",
		Question: "Does a RST end TIME-WAIT?",
		Stimulus: "an exact RST in TIME-WAIT, then our FIN again; if a RST answers it, the same without our RST",
		Clauses:  []Clause{rfc(1337, "3"), rfc(9293, "3.10.7.4")},
		Risk:     Data, Service: ClosesFirst, Takes: 2 * time.Second, Needs: []Field{FieldSeq},
		Outcomes: []Outcome{
			{Key: "protected", Verdict: Pass, Says: "the FIN is acknowledged: TIME-WAIT goes on"},
			{Key: "assassinated", Verdict: Note, Says: "the FIN draws a RST: TIME-WAIT is over, as RFC 9293 has it and RFC 1337 advises against"},
			{Key: "over", Verdict: Note, Rule: rfc(9293, "3.6.1", "MUST-13"), Says: "the FIN draws a RST with our RST before it and without: TIME-WAIT has ended within a second"},
			{Key: "silent", Verdict: Note, LikeLoss: true, Says: "the FIN draws nothing"},
		},
		Test: assassination,
	},
	{
		ID: "F9", Name: "lost-last-ack",
		Question: "How does the host repeat a FIN that nobody acknowledges?",
		Stimulus: "a FIN of ours, and no ACK of the host's",
		Clauses:  []Clause{rfc(6298, "5"), rfc(9293, "3.8.3", "MUST-20")},
		Risk:     Slow, Takes: 115 * time.Second, Needs: []Field{FieldAck}, Attempts: 2,
		Outcomes: []Outcome{
			{Key: "backoff", Verdict: Pass, Says: "it comes again, at growing distances"},
			{Key: "constant", Verdict: Fail, Says: "it comes again, at distances that do not grow"},
			{Key: "irregular", Verdict: Note, LikeLoss: true, Says: "it comes again, at distances without a rule"},
			{Key: "once", Verdict: Note, LikeLoss: true, Says: "it comes again once: too little to see a rule"},
			{Key: "never", Verdict: Fail, LikeLoss: true, Says: "it never comes again"},
		},
		Test: lostLastACK,
	},
	{
		ID: "F10", Name: "simultaneous-close",
		Question: "Do both sides close when their FINs cross?",
		Stimulus: "our FIN as if the host's had not arrived; then an ACK of it, and our FIN again",
		Clauses:  []Clause{rfc(9293, "3.6"), rfc(9293, "3.10.7.4")},
		Risk:     Data, Service: ClosesFirst, Takes: 2 * time.Second, Needs: []Field{FieldSeq, FieldAck},
		Outcomes: []Outcome{
			{Key: "time-wait", Verdict: Pass, Says: "our FIN is acknowledged, and the host is in TIME-WAIT"},
			{Key: "closed", Verdict: Note, LikeLoss: true, Says: "our FIN is acknowledged, and there is no TIME-WAIT"},
			{Key: "reset", Verdict: Fail, Says: "our FIN draws a RST"},
			{Key: "silent", Verdict: Fail, LikeLoss: true, Says: "our FIN is never acknowledged"},
		},
		Test: simultaneousClose,
	},
}

// farewell says what makes the service close first, acknowledges its data but not
// its FIN, and returns the FIN; nil if it was a RST instead.
func (t *T) farewell(p *puppet.Puppet) *puppet.Arrival {
	if p.Deliver(t.rest(p)) == puppet.Mute {
		t.Unknown("what should make the service close was not acknowledged")
	}
	return t.awaitFIN(p)
}

// awaitFIN acknowledges data until all up to the FIN has come, and returns the
// FIN; nil if a RST came instead. It ends the attempt if neither comes.
func (t *T) awaitFIN(p *puppet.Puppet) *puppet.Arrival {
	const patience = 8 * time.Second
	acked := p.IRS().Add(1)
	for start := t.Now(); !p.PeerClosed() && !p.Reset(); {
		if end := dataEnd(p); acked.Less(end) {
			p.Send(segment.ACK, puppet.AckAt(end))
			acked = end
		}
		if t.Now() > start+patience {
			t.Unknown("the service does not close")
		}
		p.Await(200*time.Millisecond, puppet.Either(puppet.Data, puppet.FIN, puppet.RST))
	}
	if p.Reset() {
		return nil
	}
	if end := dataEnd(p); acked.Less(end) {
		p.Send(segment.ACK, puppet.AckAt(end))
	}
	return t.seen(p, 0, puppet.FIN)
}

// dataEnd is where the host's data ends so far, without its FIN.
func dataEnd(p *puppet.Puppet) segment.Seq {
	end := p.RcvNxt()
	if p.PeerClosed() {
		end = end.Add(-1)
	}
	return end
}

// sendFIN sends a FIN until it is acknowledged, and returns what the last one
// drew: an ACK of it, a RST, or nil.
func (t *T) sendFIN(p *puppet.Puppet, mods ...puppet.Mod) *puppet.Arrival {
	from := p.SndNxt()
	mods = append(mods, puppet.SeqAt(from))
	for range 5 {
		p.Send(segment.FIN|segment.ACK, mods...)
		if a := t.Answer(p, puppet.Either(puppet.RST, puppet.Acks(from.Add(1)))); a != nil {
			return a
		}
	}
	return nil
}

// halfClosed returns a connection that the service has closed, in FIN-WAIT-2.
func (t *T) halfClosed(shape ...puppet.Shape) *puppet.Puppet {
	p := t.Connect(shape...)
	if t.farewell(p) == nil {
		t.Unknown("the service closes with a RST")
	}
	p.Send(segment.ACK)
	return p
}

// waiting returns a connection that the service has closed first, and we after
// it: the host is in TIME-WAIT.
func (t *T) waiting(shape ...puppet.Shape) *puppet.Puppet {
	p := t.halfClosed(shape...)
	switch a := t.sendFIN(p); {
	case a == nil:
		t.Unknown("our FIN is not acknowledged")
	case puppet.RST(a):
		t.Unknown("our FIN draws a RST")
	}
	return p
}

func activeClose(t *T) string {
	p := t.Connect()
	fin := t.farewell(p)
	if fin == nil {
		return "reset"
	}
	t.Fact("fin", "%v, %d octets", fin.Flags, len(fin.Payload))
	p.Send(segment.ACK)
	switch a := t.sendFIN(p); {
	case a == nil:
		return "unfinished"
	case puppet.RST(a):
		return "refused"
	case len(fin.Payload) > 0:
		return "fin-with-data"
	}
	return "fin"
}

func halfClose(t *T) string {
	p := t.Connect()
	if t.Service.Greets {
		t.Answer(p, puppet.Data)
	}
	greeted := p.RcvNxt()
	a := t.sendLast(p, t.rest(p))
	if a == nil {
		t.Unknown("a request with FIN is not acknowledged")
	}
	for start := t.Now(); !p.PeerClosed() && !p.Reset() && t.Now() < start+3*time.Second; {
		if p.Await(500*time.Millisecond, puppet.Either(puppet.Data, puppet.FIN, puppet.RST)) != nil {
			p.Send(segment.ACK)
		}
		if p.RcvNxt().Sub(greeted) > 1<<14 {
			break // there is no end in sight
		}
	}
	got := dataEnd(p).Sub(greeted)
	t.Fact("answer", "%d octets", got)
	switch {
	case got > 0 && p.PeerClosed():
		return "data"
	case got > 0:
		return "open"
	case p.Reset():
		return "reset"
	case p.PeerClosed():
		return "fin-only"
	}
	return "silent"
}

// sendLast sends data with a FIN until both are acknowledged, and returns what
// they draw.
func (t *T) sendLast(p *puppet.Puppet, data []byte) *puppet.Arrival {
	if room := p.Room(); len(data) > room {
		if p.Deliver(data[:len(data)-room]) != puppet.Alive {
			return nil
		}
		data = data[len(data)-room:]
	}
	from := p.SndNxt()
	for range 5 {
		p.Send(text|segment.FIN, puppet.Text(data), puppet.SeqAt(from))
		if a := t.Answer(p, puppet.Either(puppet.RST, puppet.Acks(from.Add(len(data)+1)))); a != nil {
			return a
		}
	}
	return nil
}

func unreadData(t *T) string {
	const segments = 8
	p := t.Connect()
	p.Book(segments)
	for i := range segments {
		data := make([]byte, p.Room())
		if i == 0 {
			copy(data, t.rest(p))
		}
		p.Send(text, puppet.Text(data))
	}
	fin := false
	for start := t.Now(); t.Now() < start+5*time.Second; {
		a := p.Await(2*time.Second, puppet.Either(puppet.FIN, puppet.RST))
		switch {
		case a == nil:
		case puppet.RST(a):
			return "reset"
		default:
			fin = true
			p.Reply(segment.ACK)
		}
	}
	if fin {
		return "fin"
	}
	return "open"
}

func dataAfterClose(t *T) string {
	p := t.halfClosed()
	p.Collect(t.Patience()) // the service may close for reading a little later
	end := p.SndNxt().Add(1)
	sent, a := t.Insist(p, puppet.Either(puppet.RST, puppet.Acks(end)), func() puppet.Sent {
		return p.Provoke(text, puppet.Text([]byte{'\n'}))
	})
	switch {
	case a == nil:
		return "silent"
	case puppet.RST(a):
		t.Times("reset_after", a.At-sent.At)
		return "reset"
	}
	return "acked"
}

// The times after which finWait2 and timeWait ask, each a connection of its own:
// on both sides of what hosts are known to have.
var (
	finWait2Times = seconds(1, 8, 12, 28, 32, 58, 63, 118, 123, 178, 185)
	timeWaitTimes = seconds(5, 28, 32, 55, 65, 118, 125, 235, 245)
)

func seconds(n ...int) (times []time.Duration) {
	for _, s := range n {
		times = append(times, time.Duration(s)*time.Second)
	}
	return times
}

// An edge is where ACKs end and RSTs begin.
type edge struct {
	lastACK, firstRST time.Duration // 0: none
	silent            int
	last              waiter // which drew the last ACK
}

// A waiter is a connection that is asked some time after its beginning.
type waiter struct {
	p    *puppet.Puppet
	from time.Duration
}

// edge asks connections, one after the other, each at its time after from, until
// one draws a RST. ask sends the question.
func (t *T) edge(times []time.Duration, begin func() *puppet.Puppet, ask func(*puppet.Puppet)) (e edge) {
	var waiters []waiter
	for range times {
		p := begin()
		waiters = append(waiters, waiter{p, t.Now()})
	}
	for i, w := range waiters {
		t.Waiting("a connection closed for %v", times[i])
		t.Wait(w.from + times[i] - t.Now())
		a := t.ask(w.p, ask)
		switch name := fmt.Sprintf("after_%v", times[i]); {
		case a == nil:
			e.silent++
			t.Fact(name, "nothing")
		case puppet.RST(a):
			t.Fact(name, "RST")
			e.firstRST = times[i]
			return e
		default:
			t.Fact(name, "ACK")
			e.lastACK, e.last = times[i], w
		}
	}
	return e
}

// ask asks a connection up to three times whether the host remembers it.
func (t *T) ask(p *puppet.Puppet, ask func(*puppet.Puppet)) (a *puppet.Arrival) {
	for try := 0; a == nil && try < 3; try++ {
		ask(p)
		a = t.Answer(p, puppet.Either(puppet.RST, puppet.Acks(p.SndNxt())))
	}
	return a
}

func finWait2(t *T) string {
	e := t.edge(finWait2Times, func() *puppet.Puppet { return t.halfClosed() },
		func(p *puppet.Puppet) { p.Provoke(segment.ACK, puppet.Seq(-1)) })
	switch {
	case e.silent > 1 || e.lastACK == 0 && e.firstRST == 0:
		return "silent"
	case e.firstRST == 0:
		return "holds"
	case e.lastACK == 0:
		return "at-once"
	}
	t.Fact("fin_wait_2", "between %v and %v", e.lastACK, e.firstRST)
	return "ends"
}

func timeWait(t *T) string {
	again := func(p *puppet.Puppet) { p.Provoke(segment.FIN|segment.ACK, puppet.Seq(-1)) }
	e := t.edge(timeWaitTimes, func() *puppet.Puppet { return t.waiting() }, again)
	last := timeWaitTimes[len(timeWaitTimes)-1]
	switch {
	case e.silent > 1 || e.lastACK == 0 && e.firstRST == 0:
		return "silent"
	case e.firstRST == 0 || e.firstRST == last:
		t.Fact("time_wait", "%v at least", e.lastACK)
		return "full"
	case e.lastACK == 0:
		return "none"
	}
	t.Fact("time_wait", "between %v and %v", e.lastACK, e.firstRST)
	t.Wait(time.Second)
	after := (t.Now() - e.last.from).Round(time.Second)
	switch a := t.ask(e.last.p, again); { // did the first question begin TIME-WAIT anew?
	case a == nil:
	case puppet.RST(a):
		t.Fact("asked_twice", "RST after %v", after)
	default:
		t.Fact("asked_twice", "ACK after %v", after)
	}
	return "shorter"
}

func timeWaitReuse(t *T) string {
	unstamped := puppet.Shape{NoTimestamps: true}
	higher := t.reopen("higher", unstamped, 100000)
	lower := t.reopen("lower", unstamped, -100000)
	t.reopen("lower_later", puppet.Shape{}, -100000, puppet.TSVal(1000))
	t.reopen("higher_older", puppet.Shape{}, 100000, puppet.TSVal(-100000))
	switch {
	case higher == "nothing" || lower == "nothing":
		return "silent"
	case higher == "RST" || lower == "RST":
		return "reset"
	case lower == "SYN-ACK":
		return "any"
	case higher == "SYN-ACK":
		return "newer"
	}
	return "none"
}

// reopen sends a SYN to a connection in TIME-WAIT and says what answers.
func (t *T) reopen(name string, shape puppet.Shape, by int, mods ...puppet.Mod) (said string) {
	p := t.waiting(shape)
	defer p.Close()
	at := p.SndNxt().Add(by)
	_, a := t.Insist(p, puppet.Any, func() puppet.Sent {
		return p.Provoke(segment.SYN, append(mods, puppet.SeqAt(at))...)
	})
	switch {
	case a == nil:
		said = "nothing"
	case puppet.SYNACK(a):
		said = "SYN-ACK"
		p.Send(segment.RST, puppet.SeqAt(at.Add(1)))
	case puppet.RST(a):
		said = "RST"
	default:
		said = "ACK"
	}
	t.Fact(name, "%s", said)
	return said
}

func assassination(t *T) string {
	p := t.waiting()
	p.Provoke(segment.RST)
	said := t.replay(p, "protected", "assassinated")
	if said != "assassinated" {
		return said
	}
	p.Close()
	control := t.waiting()
	t.Wait(time.Second)
	return t.replay(control, "assassinated", "over")
}

// replay sends our FIN again to a connection that should be in TIME-WAIT, and
// returns acked or reset by what it draws.
func (t *T) replay(p *puppet.Puppet, acked, reset string) string {
	a := t.ask(p, func(p *puppet.Puppet) { p.Provoke(segment.FIN|segment.ACK, puppet.Seq(-1)) })
	switch {
	case a == nil:
		return "silent"
	case puppet.RST(a):
		return reset
	}
	return acked
}

func lostLastACK(t *T) string {
	p := t.prompt(puppet.Shape{NoSACK: true}) // or a tail loss probe stands in front of the timeouts
	p.HoldAck()
	if a := t.sendFIN(p); a == nil || puppet.RST(a) {
		t.Unknown("our FIN is not acknowledged")
	}
	fin := t.seen(p, 5*time.Second, puppet.FIN)
	if fin == nil {
		t.Unknown("the service does not close when we do")
	}
	start := fin.At
	if end := dataEnd(p); p.IRS().Add(1).Less(end) { // a greeting or an echo
		p.Send(segment.ACK, puppet.AckAt(end))
		start = t.Now()
	}
	times := t.recurrence(p, start, 110*time.Second, 20, puppet.FIN)
	t.Times("repeated_at", times...)
	if start != fin.At && t.seen(p, 0, func(a *puppet.Arrival) bool { return puppet.Data(a) && a.At > start+t.battery.rtt() }) != nil {
		t.Unknown("data before the FIN comes again")
	}
	return ruleBehindProbe(times)
}

func simultaneousClose(t *T) string {
	p := t.Connect()
	if t.farewell(p) == nil {
		t.Unknown("the service closes with a RST")
	}
	a := t.sendFIN(p, puppet.AckAt(dataEnd(p)))
	switch {
	case a == nil:
		return "silent"
	case puppet.RST(a):
		return "reset"
	}
	p.Send(segment.ACK)
	if t.replay(p, "time-wait", "closed") == "time-wait" {
		return "time-wait"
	}
	return "closed"
}
