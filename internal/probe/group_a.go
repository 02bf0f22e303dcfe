package probe

import (
	"fmt"
	"strings"
	"time"

	"rawtcp/internal/puppet"
	"rawtcp/segment"
)

// groupA: reachability and handshake.
var groupA = []*Row{
	{
		ID: "A1", Name: "syn",
		Question: "What answers a SYN?",
		Stimulus: "a SYN such as an ordinary host sends",
		Clauses:  []Clause{rfc(9293, "3.10.7.2"), rfc(9293, "3.10.7.1")},
		Risk:     Safe, Takes: 100 * time.Millisecond,
		Outcomes: []Outcome{
			{Key: "open", Verdict: Pass, Says: "a SYN-ACK"},
			{Key: "closed", Verdict: Note, Says: "a RST"},
			{Key: "filtered", Verdict: Note, Says: "an ICMP error"},
			{Key: "silent", Verdict: Note, LikeLoss: true, Says: "nothing"},
		},
		Test: plainSYN,
	},
	{
		ID: "A2", Name: "synack-retransmission",
		Question: "How does the host repeat a SYN-ACK that nobody acknowledges?",
		Stimulus: "a SYN, and silence",
		Clauses:  []Clause{rfc(6298, "5"), rfc(9293, "3.8.3", "MUST-22")},
		Risk:     Slow, Takes: 80 * time.Second, Attempts: 3,
		Outcomes: []Outcome{
			{Key: "backoff", Verdict: Pass, Says: "it comes again, at growing distances"},
			{Key: "late-backoff", Verdict: Note, Says: "it comes again, first at constant, then at growing distances"},
			{Key: "constant", Verdict: Fail, Says: "it comes again, at distances that do not grow"},
			{Key: "irregular", Verdict: Note, LikeLoss: true, Says: "it comes again, at distances without a rule"},
			{Key: "once", Verdict: Note, LikeLoss: true, Says: "it comes again once: too little to see a rule"},
			{Key: "cookie", Verdict: Note, LikeLoss: true, Says: "it never comes again: a SYN cookie, of which the host remembers nothing"},
			{Key: "never", Verdict: Fail, LikeLoss: true, Says: "it never comes again although the host remembers the handshake"},
		},
		Test: synACKSchedule,
	},
	{
		ID: "A3", Name: "dup-syn",
		Question: "Is a SYN that comes twice answered twice, with the same ISN?",
		Stimulus: "the same SYN again in SYN-RECEIVED",
		Clauses:  []Clause{rfc(9293, "3.10.7.4")},
		Risk:     Safe, Takes: 200 * time.Millisecond, Needs: []Field{FieldSeq},
		Outcomes: []Outcome{
			{Key: "same", Verdict: Pass, Says: "a SYN-ACK again, with the same ISN"},
			{Key: "ack", Verdict: Pass, Says: "an ACK without SYN: the duplicate is not acceptable, and says so"},
			{Key: "new", Verdict: Note, Says: "a SYN-ACK with another ISN: a SYN cookie or several hosts behind one address"},
			{Key: "none", Verdict: Note, LikeLoss: true, Says: "no answer to the second SYN"},
		},
		Test: dupSYN,
	},
	{
		ID: "A4", Name: "new-syn-in-synrcvd",
		Question: "What does a SYN with another number do to a handshake under way?",
		Stimulus: "a second SYN in SYN-RECEIVED on the same ports, with SEQ 2^30 further",
		Clauses:  []Clause{rfc(9293, "3.10.7.4"), rfc(5961, "4.2")},
		Risk:     Safe, Takes: 200 * time.Millisecond, Needs: []Field{FieldSeq},
		Outcomes: []Outcome{
			{Key: "ack", Verdict: Pass, Says: "an ACK that names the first SYN's number"},
			{Key: "synack-old", Verdict: Note, LikeLoss: true, Says: "the SYN-ACK for the first SYN again"},
			{Key: "synack-new", Verdict: Note, Says: "a SYN-ACK for the new SYN: a SYN cookie, or the first one is forgotten"},
			{Key: "reset", Verdict: Note, Says: "a RST"},
			{Key: "none", Verdict: Note, LikeLoss: true, Says: "no answer"},
		},
		Test: newSYN,
	},
	{
		ID: "A5", Name: "bad-ack-in-synrcvd",
		Question: "Is an ACK refused that acknowledges something else than the SYN-ACK?",
		Stimulus: "ACK=SND.NXT+776 in SYN-RECEIVED, then an octet with the same ACK",
		Clauses:  []Clause{rfc(9293, "3.10.7.4"), rfc(9293, "3.5.2")},
		Risk:     Safe, Takes: 200 * time.Millisecond, Needs: []Field{FieldSeq, FieldAck},
		Outcomes: []Outcome{
			{Key: "reset", Verdict: Pass, Says: "a RST with SEQ=SEG.ACK"},
			{Key: "wrong-reset", Verdict: Fail, Rule: rfc(9293, "3.5.2"), Says: "a RST with another sequence number"},
			{Key: "silent", Verdict: Note, LikeLoss: true, Says: "no RST, and no connection"},
			{Key: "accepted", Verdict: Vulnerable, Says: "the connection is established without proof that we saw the SYN-ACK"},
		},
		Test: badACKInSYNRcvd,
	},
	{
		ID: "A6", Name: "rst-in-synrcvd",
		Question: "Does a RST take a handshake under way back to LISTEN?",
		Stimulus: "RST in SYN-RECEIVED, then the ACK that would have completed the handshake, with one octet",
		Clauses:  []Clause{rfc(9293, "3.5.3"), rfc(9293, "3.10.7.4")},
		Risk:     Safe, Takes: 200 * time.Millisecond, Needs: []Field{FieldSeq},
		Outcomes: []Outcome{
			{Key: "listen", Verdict: Pass, Says: "the handshake is forgotten: the ACK draws a RST"},
			{Key: "cookie", Verdict: Note, LikeLoss: true, Says: "the ACK still completes the handshake, and the SYN-ACK is not repeated: a SYN cookie"},
			{Key: "ignored", Verdict: Fail, LikeLoss: true, Says: "the handshake goes on: the SYN-ACK is repeated"},
			{Key: "silent", Verdict: Note, LikeLoss: true, Says: "the ACK draws no answer"},
		},
		Test: rstInSYNRcvd,
	},
	{
		ID: "A7", Name: "syn-data",
		Question: "What becomes of data on a SYN that has no cookie?",
		Stimulus: "SYN with five octets",
		Clauses:  []Clause{rfc(9293, "3.10.7.3"), rfc(7413, "4.2.2")},
		Risk:     Safe, Takes: 100 * time.Millisecond, Needs: []Field{FieldSeq, FieldPayload},
		Outcomes: []Outcome{
			{Key: "syn-only", Verdict: Pass, Says: "the SYN is acknowledged, the data is not"},
			{Key: "with-data", Verdict: Note, Says: "the SYN and the data are acknowledged"},
			{Key: "reset", Verdict: Note, Says: "a RST: something on the way or the host dislikes data on a SYN"},
			{Key: "dropped", Verdict: Note, LikeLoss: true, Says: "no answer"},
		},
		Test: synData,
	},
	{
		ID: "A8", Name: "odd-flags-to-listen",
		Question: "Do segments that cannot belong to any connection draw a RST from LISTEN only if they carry an ACK?",
		Stimulus: "SYN and FIN, SYN and RST, no flag, FIN, ACK, SYN-ACK, each from a fresh port",
		Clauses:  []Clause{rfc(9293, "3.10.7.2")},
		Risk:     Safe, Takes: 3 * time.Second, Needs: []Field{FieldFlags, FieldAck},
		Outcomes: []Outcome{
			{Key: "exact", Verdict: Pass, Says: "a RST with SEQ=SEG.ACK to ACK and SYN-ACK, and to nothing else"},
			{Key: "wrong-reset", Verdict: Fail, Says: "a RST with another sequence number than SEG.ACK"},
			{Key: "talkative", Verdict: Note, Says: "an answer to what should be dropped"},
			{Key: "quiet", Verdict: Note, LikeLoss: true, Says: "no RST to an ACK or SYN-ACK, as behind a stateful filter"},
		},
		Test: oddFlags,
	},
	{
		ID: "A9", Name: "closed-port",
		Question: "Are the RSTs of a closed port formed as they should be?",
		Stimulus: "SYN, ACK, SYN-ACK, FIN, no flag, and RST to a closed port",
		Clauses:  []Clause{rfc(9293, "3.5.2"), rfc(9293, "3.10.7.1")},
		Risk:     Safe, Takes: 2 * time.Second, Needs: []Field{FieldSeq, FieldAck, FieldFlags},
		Outcomes: []Outcome{
			{Key: "exact", Verdict: Pass, Says: "every segment but the RST draws a RST with the right numbers"},
			{Key: "wrong", Verdict: Fail, Says: "a RST with wrong numbers"},
			{Key: "answers-rst", Verdict: Fail, Says: "a RST is answered with a RST"},
			{Key: "partly", Verdict: Note, LikeLoss: true, Says: "not every segment draws a RST"},
			{Key: "silent", Verdict: Note, LikeLoss: true, Says: "nothing draws a RST: filtered"},
		},
		Test: closedPort,
	},
	{
		ID: "A10", Name: "syn-cookie",
		Question: "Does the host turn to SYN cookies when handshakes stay half open?",
		Stimulus: "a SYN without timestamps, eight handshakes that stay half open, and the SYN again from a fresh port",
		Clauses:  []Clause{rfc(4987, "3.6")},
		Risk:     Intrusive, Takes: 6 * time.Second, Puppets: 10, Needs: []Field{FieldOptions},
		Outcomes: []Outcome{
			{Key: "off", Verdict: Note, Says: "no: the SYN-ACK has the options from before, and comes again"},
			{Key: "on", Verdict: Note, LikeLoss: true, Says: "yes: the SYN-ACK loses its options, or does not come again"},
			{Key: "always", Verdict: Note, LikeLoss: true, Says: "the first SYN-ACK is a cookie already"},
			{Key: "without-options", Verdict: Note, Says: "it cannot be seen in the options, for there are none; the SYN-ACK comes again"},
			{Key: "dropped", Verdict: Note, LikeLoss: true, Says: "the SYN is not answered any more"},
		},
		Test: synCookies,
	},
	{
		ID: "A11", Name: "simultaneous-open",
		Question: "Does a SYN that meets the host's own SYN open the connection?",
		Stimulus: "the host connects to us, and a SYN answers its SYN; then an ACK and an octet",
		Clauses:  []Clause{rfc(9293, "3.5", "MUST-10")},
		Risk:     Passive, Takes: 500 * time.Millisecond, Needs: []Field{FieldFlags, FieldSeq},
		Outcomes: []Outcome{
			{Key: "works", Verdict: Pass, Says: "a SYN-ACK, and the connection takes data"},
			{Key: "reset", Verdict: Fail, Says: "a RST answers our SYN"},
			{Key: "silent", Verdict: Fail, LikeLoss: true, Says: "our SYN draws no answer"},
		},
		Test: simultaneousOpen,
	},
	{
		ID: "A12", Name: "client-syn-schedule",
		Question: "How does the host repeat a SYN that nobody answers, and when does it give up?",
		Stimulus: "nothing: the host connects to us, and we are silent",
		Clauses:  []Clause{rfc(9293, "3.8.3", "MUST-23"), rfc(6298, "5")},
		Risk:     Passive | Slow, Takes: 3 * time.Minute,
		Outcomes: []Outcome{
			{Key: "backoff", Verdict: Pass, Says: "it comes again, at growing distances"},
			{Key: "late-backoff", Verdict: Note, Says: "it comes again, first at constant, then at growing distances"},
			{Key: "constant", Verdict: Note, Says: "it comes again, at distances that do not grow"},
			{Key: "irregular", Verdict: Note, LikeLoss: true, Says: "it comes again, at distances without a rule"},
		},
		Test: clientSchedule,
	},
}

func plainSYN(t *T) string {
	p := t.Puppet()
	sent, a := t.SYN(p)
	switch {
	case a != nil && puppet.RST(a):
		return "closed"
	case a != nil:
		t.Times("rtt", a.At-sent.At)
		t.Fact("syn_ack", "%v, ttl %d", &a.Options, a.TTL)
		t.Fact("window", "%d", a.Window)
		return "open"
	}
	if e := p.AwaitICMP(0); e != nil {
		t.Fact("icmp", "type %d code %d from %v", e.ICMP.Type, e.ICMP.Code, e.ICMP.From)
		return "filtered"
	}
	return "silent"
}

func synACKSchedule(t *T) string {
	p, first := t.halfOpen()
	times := t.schedule(p, first.At, puppet.SYNACK)
	if rst := p.Await(0, puppet.RST); rst != nil || p.Reset() {
		t.Fact("end", "RST")
	}
	t.Times("synack_at", times...)
	said := rule(times)
	if said == "never" && t.afterReset() == "completed" {
		return "cookie"
	}
	return said
}

// afterReset resets a handshake under way and then completes it, with one octet.
// "completed" means that the host knew nothing of what had been before, or did
// not believe the RST; "listen" that it forgot the handshake; "silent" nothing.
func (t *T) afterReset() string {
	p, _ := t.halfOpen()
	defer p.Close()
	p.Provoke(segment.RST)
	_, a := t.Insist(p, puppet.Either(puppet.RST, puppet.Acks(p.ISS().Add(2))), func() puppet.Sent {
		return p.Send(text, puppet.Text(t.Octets(p, 1)), puppet.SeqAt(p.ISS().Add(1)))
	})
	switch {
	case a == nil:
		return "silent"
	case puppet.RST(a):
		return "listen"
	}
	return "completed"
}

// schedule watches a segment come again and again, and returns when, since start.
// It ends when the next one is overdue by half as much again, or after 200 s.
func (t *T) schedule(p *puppet.Puppet, start time.Duration, match puppet.Match) (times []time.Duration) {
	const longest = 200 * time.Second
	last, wait := start, 10*time.Second
	for {
		t.Waiting("retransmission %d", len(times)+1)
		wait = min(wait, start+longest-t.Now())
		a := p.Await(wait, puppet.Either(match, puppet.RST))
		if a == nil || puppet.RST(a) {
			return times
		}
		times = append(times, a.At-start)
		wait = max(10*time.Second, 3*(a.At-last))
		last = a.At
	}
}

// rule says how the distances of a schedule, which began at 0, grow. One that is
// missing makes a distance longer and the next one less so.
func rule(times []time.Duration) string {
	switch len(times) {
	case 0:
		return "never"
	case 1:
		return "once"
	}
	gaps := []time.Duration{times[0]}
	for i := 1; i < len(times); i++ {
		gaps = append(gaps, times[i]-times[i-1])
	}
	even := 0 // how many distances at the beginning are alike
	for even+1 < len(gaps) && alike(gaps[even+1], gaps[0]) {
		even++
	}
	for i := even + 1; i < len(gaps); i++ {
		if gaps[i] <= gaps[i-1]*6/5 {
			return "irregular"
		}
	}
	switch even {
	case 0:
		return "backoff"
	case len(gaps) - 1:
		return "constant"
	}
	return "late-backoff"
}

// alike reports whether two distances differ by a tenth at most.
func alike(a, b time.Duration) bool { return (a - b).Abs() <= b/10 }

func dupSYN(t *T) string {
	p, first := t.halfOpen()
	_, second := t.Insist(p, puppet.Any, func() puppet.Sent { return p.Send(segment.SYN) })
	switch {
	case second == nil:
		return "none"
	case puppet.RST(second):
		t.Unknown("a RST answers the second SYN")
	case !puppet.SYNACK(second):
		return "ack"
	}
	if second.Seq != first.Seq {
		t.Fact("isn_moved", "%d", second.Seq.Sub(first.Seq))
		return "new"
	}
	return "same"
}

// halfOpen sends a SYN and returns the SYN-ACK, or ends the attempt.
func (t *T) halfOpen(shape ...puppet.Shape) (*puppet.Puppet, *puppet.Arrival) {
	p := t.Puppet(shape...)
	for try := range 3 {
		p.Ask(try > 0)
		p.Send(segment.SYN)
		if a := t.Answer(p, puppet.SYNACK); a != nil {
			return p, a
		}
	}
	t.Unknown("no SYN-ACK to begin with")
	return nil, nil
}

func newSYN(t *T) string {
	const further = 1 << 30
	p, _ := t.halfOpen()
	_, a := t.Insist(p, puppet.Any, func() puppet.Sent { return p.Provoke(segment.SYN, puppet.Seq(further)) })
	switch {
	case a == nil:
		return "none"
	case puppet.RST(a):
		return "reset"
	case !puppet.SYNACK(a):
		return "ack"
	case a.Ack == p.ISS().Add(1):
		return "synack-old"
	}
	return "synack-new"
}

func badACKInSYNRcvd(t *T) string {
	p, _ := t.halfOpen()
	bad, a := t.Insist(p, puppet.RST, func() puppet.Sent { return p.Provoke(segment.ACK, puppet.Ack(776)) })
	if a != nil {
		if a.Seq != bad.Ack {
			t.Fact("rst_seq", "%d beyond SEG.ACK", a.Seq.Sub(bad.Ack))
			return "wrong-reset"
		}
		return "reset"
	}
	p.Provoke(text, puppet.Ack(776), puppet.Text(t.Octets(p, 1)))
	if t.Answer(p, puppet.Acks(p.ISS().Add(2))) != nil {
		return "accepted"
	}
	return "silent"
}

func rstInSYNRcvd(t *T) string {
	if said := t.afterReset(); said != "completed" {
		return said
	}
	p, _ := t.halfOpen()
	p.Provoke(segment.RST)
	t.Waiting("another SYN-ACK")
	if p.Await(4*time.Second, puppet.SYNACK) != nil {
		return "ignored"
	}
	return "cookie"
}

func synData(t *T) string {
	p := t.Puppet()
	_, a := t.SYN(p, puppet.Text(t.Octets(p, 5)))
	switch {
	case a == nil:
		return "dropped"
	case puppet.RST(a):
		return "reset"
	}
	t.Fact("acknowledged", "%d of 5", a.Ack.Sub(p.ISS())-1)
	if a.Ack == p.ISS().Add(1) {
		return "syn-only"
	}
	return "with-data"
}

// A stray is a segment that belongs to no connection.
type stray struct {
	name  string
	flags segment.Flags
}

// strays are those that A8 and A9 send, but for the SYN.
var strays = []stray{
	{"ack", segment.ACK},
	{"syn_ack", segment.SYN | segment.ACK},
	{"fin", segment.FIN},
	{"null", 0},
}

// stray sends a segment of no connection from a fresh port and returns it with
// what answers; again if an answer is expected and does not come.
func (t *T) stray(p *puppet.Puppet, flags segment.Flags, expected bool) (puppet.Sent, *puppet.Arrival) {
	send := func() puppet.Sent { return p.Provoke(flags, puppet.AckAt(segment.MakeSeq(0x12345678))) }
	if expected {
		return t.Insist(p, puppet.Any, send)
	}
	return send(), t.Answer(p, puppet.Any)
}

func oddFlags(t *T) string {
	odd := append([]stray{{"syn_fin", segment.SYN | segment.FIN}, {"syn_rst", segment.SYN | segment.RST}}, strays...)
	said := "exact"
	for _, o := range odd {
		p := t.Puppet()
		sent, a := t.stray(p, o.flags, o.flags.Has(segment.ACK))
		switch carriesACK := o.flags.Has(segment.ACK); {
		case a == nil && carriesACK:
			t.Fact(o.name, "nothing")
			said = worse(said, "quiet")
		case a == nil:
			t.Fact(o.name, "nothing")
		case !carriesACK && o.flags.Has(segment.SYN|segment.FIN) && puppet.SYNACK(a):
			t.Fact(o.name, "SYN-ACK") // "any other control or text should be queued"
		case !carriesACK:
			t.Fact(o.name, "%v", &a.Segment)
			said = worse(said, "talkative")
		case !puppet.RST(a) || a.Seq != sent.Ack:
			t.Fact(o.name, "%v", &a.Segment)
			said = "wrong-reset"
		default:
			t.Fact(o.name, "RST")
		}
		p.Close()
	}
	return said
}

// worse keeps the outcome that weighs more: a wrong number above everything,
// what came above what did not.
func worse(said, now string) string {
	order := []string{"exact", "silent", "quiet", "partly", "talkative", "wrong-reset", "wrong", "answers-rst"}
	weight := func(s string) int { return strings.Index(strings.Join(order, ","), s) }
	if weight(now) > weight(said) {
		return now
	}
	return said
}

func closedPort(t *T) string {
	port := t.ClosedPort()
	t.Fact("port", "%d", port.Port())
	said, answered := "exact", 0
	for _, s := range append([]stray{{"syn", segment.SYN}, {"rst", segment.RST}}, strays...) {
		p := t.PuppetTo(port)
		sent, a := t.stray(p, s.flags, !s.flags.Has(segment.RST))
		switch {
		case s.flags.Has(segment.RST) && a != nil:
			said = "answers-rst"
		case s.flags.Has(segment.RST):
		case a == nil:
			t.Fact(s.name, "nothing")
			said = worse(said, "partly")
		case puppet.SYNACK(a):
			t.Unknown("port %d is not closed", port.Port())
		default:
			answered++
			if fault := resetFault(&sent.Segment, a); fault != "" {
				t.Fact(s.name, "%s", fault)
				said = worse(said, "wrong")
			}
			t.Fact("shape", "win %d, ttl %d, ipid %s", a.Window, a.TTL, zeroOrNot(a.IPID))
		}
		p.Close()
	}
	if answered == 0 && said != "answers-rst" {
		return "silent"
	}
	return said
}

func zeroOrNot(n uint16) string {
	if n == 0 {
		return "0"
	}
	return "set"
}

// resetFault says what is wrong with the RST for a segment of no connection, or "".
func resetFault(s *segment.Segment, a *puppet.Arrival) string {
	wantSeq, wantAck, wantFlags := segment.MakeSeq(0), s.End(), segment.RST|segment.ACK
	if s.Flags.Has(segment.ACK) {
		wantSeq, wantFlags = s.Ack, segment.RST
	}
	switch {
	case !puppet.RST(a):
		return fmt.Sprintf("not a RST: %v", &a.Segment)
	case a.Seq != wantSeq:
		return fmt.Sprintf("seq is off by %d", a.Seq.Sub(wantSeq))
	case wantFlags.Has(segment.ACK) && (!a.Flags.Has(segment.ACK) || a.Ack != wantAck):
		return fmt.Sprintf("ack is off by %d", a.Ack.Sub(wantAck))
	case len(a.Payload) > 0:
		return fmt.Sprintf("%d octets of data", len(a.Payload))
	}
	return ""
}

// synCookies leaves handshakes half open and compares the SYN-ACKs before and
// after.
func synCookies(t *T) string {
	const half = 8
	shape := puppet.Shape{NoTimestamps: true} // in which a cookie hides the options
	look := func(name string) (*puppet.Puppet, *puppet.Arrival) {
		p := t.Puppet(shape)
		_, a := t.SYN(p)
		if a == nil || puppet.RST(a) {
			t.Fact(name, "no SYN-ACK")
			return p, nil
		}
		t.Fact(name, "%v", &a.Options)
		return p, a
	}
	p, before := look("before")
	if before == nil {
		t.Unknown("no SYN-ACK to begin with")
	}
	p.Close()
	for range half {
		t.halfOpen()
	}
	p, after := look("after")
	if after == nil {
		return "dropped"
	}
	const scaled = segment.HasWindowScale | segment.HasSACKPermitted
	switch {
	case before.Options.Set&scaled == 0:
		return t.remembers(p, "without-options", "always")
	case after.Options.Set&scaled != before.Options.Set&scaled:
		return "on"
	}
	return t.remembers(p, "off", "on")
}

// remembers reports by one of two words whether a SYN-ACK comes again, which no
// cookie's does.
func (t *T) remembers(p *puppet.Puppet, yes, no string) string {
	t.Waiting("the SYN-ACK to come again")
	if p.Await(4*time.Second, puppet.SYNACK) != nil {
		return yes
	}
	return no
}

func simultaneousOpen(t *T) string {
	p := t.Accept()
	_, a := t.SYN(p)
	switch {
	case a == nil:
		return "silent"
	case puppet.RST(a):
		return "reset"
	}
	p.Send(segment.ACK)
	if !t.Lives(p) {
		return "reset"
	}
	return "works"
}

func clientSchedule(t *T) string {
	p := t.Accept()
	first := p.Arrivals()[0]
	isSYN := func(a *puppet.Arrival) bool { return a.Flags&(segment.SYN|segment.ACK) == segment.SYN }
	p.Await(0, isSYN) // the first
	times := t.schedule(p, first.At, isSYN)
	t.Times("syn_at", times...)
	t.Fact("options", "%v", &first.Options)
	all := p.Arrivals()
	if last := all[len(all)-1]; isSYN(last) && last.Options.Set != first.Options.Set {
		t.Fact("last_options", "%v", &last.Options)
	}
	if len(times) < 2 { // it may have begun before we looked
		t.Unknown("%d SYNs came: too few to see a rule", 1+len(times))
	}
	return rule(times)
}
