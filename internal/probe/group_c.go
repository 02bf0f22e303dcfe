package probe

import (
	"time"

	"rawtcp/internal/puppet"
	"rawtcp/segment"
)

// The flags of an ordinary segment with data.
const text = segment.ACK | segment.PSH

// groupC: segments that arrive in ESTABLISHED.
var groupC = []*Row{
	{
		ID: "C1", Name: "rst-exact",
		Question: "Does a RST at exactly RCV.NXT end the connection?",
		Stimulus: "RST with SEQ=RCV.NXT, then one octet of data",
		Clauses:  []Clause{rfc(9293, "3.10.7.4"), rfc(5961, "3.2")},
		Risk:     Safe, Takes: time.Second, Needs: []Field{FieldSeq},
		Outcomes: []Outcome{
			{Key: "dead", Verdict: Pass, Says: "the connection is dead"},
			{Key: "ignored", Verdict: Fail, LikeLoss: true, Says: "the connection lives on"},
		},
		Test: rstExact,
	},
	{
		ID: "C2", Name: "rst-in-window",
		Question: "Does a RST in the window, but not at its left edge, end the connection?",
		Stimulus: "RST with SEQ=RCV.NXT+10, then one octet of data",
		Clauses:  []Clause{rfc(5961, "3.2"), rfc(9293, "3.10.7.4")},
		Risk:     Safe, Takes: time.Second, Needs: []Field{FieldSeq},
		Outcomes: []Outcome{
			{Key: "challenge", Verdict: Pass, Says: "a challenge ACK, and the connection lives"},
			{Key: "accepted", Verdict: Vulnerable, Says: "the connection is dead: a RST anywhere in the window ends it"},
			{Key: "ignored", Verdict: Note, LikeLoss: true, Says: "no challenge ACK, and the connection lives"},
		},
		Test: rstInWindow,
	},
	{
		ID: "C3", Name: "rst-outside",
		Question: "Is a RST outside of the window dropped in silence?",
		Stimulus: "RST with SEQ=RCV.NXT-70000, then one octet of data",
		Clauses:  []Clause{rfc(5961, "3.2"), rfc(9293, "3.10.7.4")},
		Risk:     Safe, Takes: 2 * time.Second, Needs: []Field{FieldSeq},
		Outcomes: []Outcome{
			{Key: "silent", Verdict: Pass, LikeLoss: true, Says: "no answer, and the connection lives"},
			{Key: "answered", Verdict: Note, Says: "an ACK, and the connection lives"},
			{Key: "accepted", Verdict: Vulnerable, Says: "the connection is dead: a RST with any sequence number ends it"},
		},
		Test: rstOutside,
	},
	{
		ID: "C4", Name: "rst-ack",
		Question: "Does a RST with ACK at exactly RCV.NXT end the connection?",
		Stimulus: "RST, ACK with SEQ=RCV.NXT, then one octet of data",
		Clauses:  []Clause{rfc(9293, "3.5.3"), rfc(9293, "3.10.7.4")},
		Risk:     Safe, Takes: time.Second, Needs: []Field{FieldSeq, FieldAck},
		Outcomes: []Outcome{
			{Key: "dead", Verdict: Pass, Says: "the connection is dead"},
			{Key: "ignored", Verdict: Fail, LikeLoss: true, Says: "the connection lives on"},
		},
		Test: rstACK,
	},
	{
		ID: "C5", Name: "syn-in-established",
		Question: "What does a SYN do to an established connection?",
		Stimulus: "SYN with SEQ=RCV.NXT+10, later one with SEQ=RCV.NXT-70000, each followed by one octet of data",
		Clauses:  []Clause{rfc(5961, "4.2"), rfc(9293, "3.10.7.4")},
		Risk:     Safe, Takes: 2 * time.Second, Needs: []Field{FieldSeq},
		Outcomes: []Outcome{
			{Key: "challenge", Verdict: Pass, Says: "a challenge ACK to both, and the connection lives"},
			{Key: "reset", Verdict: Vulnerable, Says: "the SYN in the window ends the connection, as in RFC 793"},
			{Key: "reset-outside", Verdict: Vulnerable, Says: "a SYN outside of the window ends the connection"},
			{Key: "syn-ack", Verdict: Note, Says: "a SYN-ACK, and the old connection lives"},
			{Key: "ignored", Verdict: Note, LikeLoss: true, Says: "no challenge ACK to one of them, and the connection lives"},
		},
		Test: synInEstablished,
	},
	{
		ID: "C6", Name: "syn-ack-in-established",
		Question: "What does a SYN-ACK do to an established connection?",
		Stimulus: "SYN, ACK with SEQ=RCV.NXT and a right ACK, then one octet of data",
		Clauses:  []Clause{rfc(9293, "3.10.7.4"), rfc(5961, "4.2")},
		Risk:     Safe, Takes: time.Second, Needs: []Field{FieldSeq},
		Outcomes: []Outcome{
			{Key: "challenge", Verdict: Pass, Says: "a challenge ACK, and the connection lives"},
			{Key: "reset", Verdict: Vulnerable, Says: "the connection is dead"},
			{Key: "ignored", Verdict: Note, LikeLoss: true, Says: "no challenge ACK, and the connection lives"},
		},
		Test: synACKInEstablished,
	},
	{
		ID: "C7", Name: "ack-future",
		Question: "Is data refused that acknowledges what was never sent?",
		Stimulus: "three octets with ACK=SND.NXT+70000",
		Clauses:  []Clause{rfc(9293, "3.10.7.4"), rfc(5961, "5.2")},
		Risk:     Safe, Takes: time.Second, Needs: []Field{FieldSeq, FieldAck},
		Outcomes: dataOutcomes("the ACK is beyond what was sent"),
		Test:     func(t *T) string { return badACK(t, t.Establish(), 70000) },
	},
	{
		ID: "C8", Name: "ack-old",
		Question: "Is data refused whose ACK is older than any window we ever had?",
		Stimulus: "three octets with ACK=SND.UNA-70000, our window never having been above 32768",
		Clauses:  []Clause{rfc(5961, "5.2"), rfc(9293, "3.10.7.4")},
		Risk:     Safe, Takes: time.Second, Needs: []Field{FieldSeq, FieldAck, FieldWindow},
		Outcomes: dataOutcomes("the ACK is older than the largest window"),
		Test:     oldACK,
	},
	{
		ID: "C9", Name: "data-without-ack",
		Question: "Is data dropped that has no ACK bit?",
		Stimulus: "three octets with PSH alone, later with no flag at all",
		Clauses:  []Clause{rfc(9293, "3.10.7.4")},
		Risk:     Safe, Takes: 3 * time.Second, Needs: []Field{FieldSeq, FieldFlags},
		Outcomes: []Outcome{
			{Key: "silent", Verdict: Pass, LikeLoss: true, Says: "dropped in silence"},
			{Key: "answered", Verdict: Note, Says: "not accepted, and answered"},
			{Key: "reset", Verdict: Fail, Says: "the connection is dead"},
			{Key: "accepted", Verdict: Fail, Says: "the data is accepted"},
		},
		Test: dataWithoutACK,
	},
	{
		ID: "C10", Name: "data-beyond-window",
		Question: "Is data beyond the window refused with an ACK?",
		Stimulus: "three octets behind the right edge of the host's window, 200000 beyond RCV.NXT at least",
		Clauses:  []Clause{rfc(9293, "3.10.7.4"), rfc(9293, "3.5.2")},
		Risk:     Safe, Takes: time.Second, Needs: []Field{FieldSeq, FieldWindow},
		Outcomes: []Outcome{
			{Key: "acked", Verdict: Pass, Says: "an ACK of RCV.NXT, and the connection lives"},
			{Key: "silent", Verdict: Note, LikeLoss: true, Says: "no answer, and the connection lives"},
			{Key: "kept", Verdict: Fail, Says: "a SACK block or an ACK says that the data was kept"},
			{Key: "reset", Verdict: Fail, Rule: rfc(9293, "3.5.2"), Says: "the connection is dead"},
		},
		Test: dataBeyondWindow,
	},
	{
		ID: "C11", Name: "challenge-shape",
		Question: "Is a challenge ACK an ACK of RCV.NXT at SND.NXT, without data?",
		Stimulus: "RST with SEQ=RCV.NXT+10, SYN with SEQ=RCV.NXT+10, octets with ACK=SND.NXT+70000",
		Clauses:  []Clause{rfc(5961, "3.2"), rfc(9293, "3.10.7.4")},
		Risk:     Safe, Takes: 3 * time.Second, Needs: []Field{FieldSeq, FieldAck},
		Outcomes: []Outcome{
			{Key: "exact", Verdict: Pass, Says: "every challenge ACK has SEQ=SND.NXT, ACK=RCV.NXT and no data"},
			{Key: "wrong", Verdict: Fail, Says: "a challenge ACK has other numbers: two such hosts can answer each other without end"},
		},
		Test: challengeShape,
	},
	{
		ID: "C12", Name: "challenge-rate",
		Question: "Are challenge ACKs limited, and for each connection by itself?",
		Stimulus: "ten RSTs in the window together on one connection, then one on another",
		Clauses:  []Clause{rfc(5961, "7")},
		Risk:     Intrusive, Takes: 2 * time.Second, Puppets: 2, Needs: []Field{FieldSeq},
		Outcomes: []Outcome{
			{Key: "limited", Verdict: Pass, Says: "less challenges than RSTs, and the other connection has its own"},
			{Key: "unlimited", Verdict: Note, Says: "a challenge for every RST"},
			{Key: "shared", Verdict: Vulnerable, LikeLoss: true, Says: "the other connection is not challenged: a limit for all lets strangers count"},
		},
		Test: challengeRate,
	},
	{
		ID: "C13", Name: "blind-fin",
		Question: "Is a FIN refused whose ACK was never possible?",
		Stimulus: "FIN one octet beyond RCV.NXT with ACK=SND.NXT+70000, then the octet before it",
		Clauses:  []Clause{rfc(5961, "5.2"), rfc(9293, "3.10.7.4")},
		Risk:     Safe, Takes: time.Second, Needs: []Field{FieldSeq, FieldAck},
		Outcomes: []Outcome{
			{Key: "refused", Verdict: Pass, LikeLoss: true, Says: "the FIN is not kept"},
			{Key: "accepted", Verdict: Vulnerable, Says: "the FIN is kept, and consumed when the gap is filled"},
		},
		Test: blindFIN,
	},
	{
		ID: "C14", Name: "fin-out-of-order",
		Question: "Is a FIN that arrives early kept until the gap before it is filled?",
		Stimulus: "FIN five octets beyond RCV.NXT, then the five octets",
		Clauses:  []Clause{rfc(9293, "3.10.7.4", "SHLD-31")},
		Risk:     Safe, Takes: time.Second, Needs: []Field{FieldSeq},
		Outcomes: []Outcome{
			{Key: "queued", Verdict: Pass, Says: "acknowledged with the octets before it"},
			{Key: "lost", Verdict: Note, LikeLoss: true, Says: "not kept: the FIN has to come again"},
			{Key: "early", Verdict: Fail, Says: "acknowledged while the octets before it were missing"},
		},
		Test: finOutOfOrder,
	},
	{
		ID: "C15", Name: "rst-at-zero-window",
		Question: "Is a RST obeyed while the host's window is zero?",
		Stimulus: "data until the host's window is zero, while ours is zero too; then RST with SEQ=RCV.NXT, and one octet",
		Clauses:  []Clause{rfc(9293, "3.4", "MUST-66"), rfc(9293, "3.10.7.4")},
		Risk:     Data, Service: BulkData, Takes: 8 * time.Second, Needs: []Field{FieldSeq, FieldWindow},
		Outcomes: []Outcome{
			{Key: "dead", Verdict: Pass, Says: "the connection is dead"},
			{Key: "ignored", Verdict: Fail, LikeLoss: true, Says: "the connection lives on"},
		},
		Test: rstAtZeroWindow,
	},
	{
		ID: "C16", Name: "icmp-errors",
		Question: "Does an ICMP error end an established connection?",
		Stimulus: "ICMP errors from us about a segment in flight, each first with a sequence number that was never sent",
		Clauses:  []Clause{rfc(9293, "3.9.2.2", "MUST-56"), rfc(9293, "3.9.2.2", "SHLD-26"), rfc(5927, "4.1")},
		Risk:     Data | Intrusive, Service: AnyData, Takes: 8 * time.Second, Needs: []Field{FieldSeq, FieldPorts},
		Outcomes: []Outcome{
			{Key: "survives", Verdict: Pass, Says: "no error ends it, soft or hard"},
			{Key: "hard-aborts", Verdict: Pass, Rule: rfc(9293, "3.9.2.2", "SHLD-26"), Says: "hard errors end it, soft ones do not"},
			{Key: "soft-aborts", Verdict: Fail, Says: "a soft error ends it"},
			{Key: "blind", Verdict: Vulnerable, Rule: rfc(5927, "4.1"), Says: "an error ends it that quotes a sequence number the host has never used"},
		},
		Test: icmpErrors,
	},
	{
		ID: "C17", Name: "paws",
		Question: "Is data refused whose timestamp is older than the last?",
		Stimulus: "three octets with TSval 10000 below the last one",
		Clauses:  []Clause{rfc(7323, "5.3")},
		Risk:     Safe, Takes: time.Second, Needs: []Field{FieldSeq, FieldStamps},
		Outcomes: []Outcome{
			{Key: "refused", Verdict: Pass, Says: "an ACK, and the data is not accepted"},
			{Key: "silent", Verdict: Note, LikeLoss: true, Says: "the data is not accepted, and no ACK says so"},
			{Key: "accepted", Verdict: Fail, Says: "the data is accepted"},
			{Key: "reset", Verdict: Fail, Says: "the connection is dead"},
		},
		Test: paws,
	},
	{
		ID: "C18", Name: "paws-rst",
		Question: "Is a RST obeyed whatever its timestamp?",
		Stimulus: "RST with SEQ=RCV.NXT and TSval 10000 below the last one, then one octet of data",
		Clauses:  []Clause{rfc(7323, "5.2"), rfc(7323, "5.3")},
		Risk:     Safe, Takes: time.Second, Needs: []Field{FieldSeq, FieldStamps},
		Outcomes: []Outcome{
			{Key: "dead", Verdict: Pass, Says: "the connection is dead"},
			{Key: "ignored", Verdict: Fail, LikeLoss: true, Says: "the connection lives on"},
		},
		Test: pawsRST,
	},
	{
		ID: "C19", Name: "state-matrix",
		Question: "What do eight kinds of segments draw in each state that a client can reach?",
		Stimulus: "SYN, SYN-ACK, RST, ACK, data, data without ACK, FIN and keep-alive, out of place, each on a fresh connection in each of up to six states",
		Clauses:  []Clause{rfc(9293, "3.10.7"), rfc(5961, "4.2")},
		Risk:     Intrusive | Slow, Takes: time.Minute, Needs: []Field{FieldSeq, FieldAck, FieldFlags},
		Outcomes: []Outcome{
			{Key: "as-asked", Verdict: Pass, Says: "every cell is as the standard has it"},
			{Key: "differs", Verdict: Note, Says: "some cells are not: they are among the facts"},
		},
		Test: stateMatrix,
	},
}

// dataOutcomes are those of data that should be refused with an ACK.
func dataOutcomes(why string) []Outcome {
	return []Outcome{
		{Key: "refused", Verdict: Pass, Says: "an ACK, and the data is not accepted"},
		{Key: "silent", Verdict: Note, LikeLoss: true, Says: "the data is not accepted, and no ACK says so"},
		{Key: "accepted", Verdict: Vulnerable, Says: "the data is accepted although " + why},
		{Key: "reset", Verdict: Fail, Says: "the connection is dead"},
	}
}

func rstExact(t *T) string {
	p := t.Establish()
	p.Provoke(segment.RST)
	return deadOrIgnored(t, p)
}

func deadOrIgnored(t *T, p *puppet.Puppet) string {
	if t.Lives(p) {
		return "ignored"
	}
	return "dead"
}

func rstInWindow(t *T) string {
	p := t.Establish()
	answer := challenge(t, p, segment.RST, puppet.Seq(10))
	switch {
	case !t.Lives(p):
		return "accepted"
	case answer == nil:
		return "ignored"
	}
	return "challenge"
}

// challenge provokes and returns the ACK that comes of it, or nil.
func challenge(t *T, p *puppet.Puppet, flags segment.Flags, mods ...puppet.Mod) *puppet.Arrival {
	sent := p.Provoke(flags, mods...)
	answer := t.Answer(p, puppet.Either(puppet.PureACK, puppet.RST))
	if answer == nil || puppet.RST(answer) {
		return nil
	}
	t.Times("challenged_after", answer.At-sent.At)
	return answer
}

func rstOutside(t *T) string {
	p := t.Establish()
	answer := challenge(t, p, segment.RST, puppet.Seq(-70000))
	switch {
	case !t.Lives(p):
		return "accepted"
	case answer != nil:
		return "answered"
	}
	return "silent"
}

func rstACK(t *T) string {
	p := t.Establish()
	p.Provoke(segment.RST | segment.ACK)
	return deadOrIgnored(t, p)
}

func synInEstablished(t *T) string {
	said := "challenge"
	for _, at := range []struct {
		d    int
		dead string
	}{{10, "reset"}, {-70000, "reset-outside"}} {
		p := t.Establish()
		p.Provoke(segment.SYN, puppet.SeqAt(p.SndNxt().Add(at.d)))
		answer := t.Answer(p, puppet.Any)
		switch {
		case !t.Lives(p):
			return at.dead
		case answer == nil:
			said = "ignored"
		case puppet.SYNACK(answer):
			return "syn-ack"
		}
		p.Close()
	}
	return said
}

func synACKInEstablished(t *T) string {
	p := t.Establish()
	answer := challenge(t, p, segment.SYN|segment.ACK, puppet.SeqAt(p.SndNxt()))
	switch {
	case !t.Lives(p):
		return "reset"
	case answer == nil:
		return "ignored"
	}
	return "challenge"
}

func badACK(t *T, p *puppet.Puppet, by int) string {
	from := p.SndNxt()
	sent := p.Provoke(text, puppet.Text(t.Octets(p, 3)), puppet.Ack(by))
	return refused(t, p, from, sent, t.Answer(p, puppet.PureACK))
}

// oldACK judges a fresh connection. Some hosts have a faster path for segments
// that are the next in order, which looks at less: what they do there is a fact.
func oldACK(t *T) string {
	p := t.fresh(puppet.Shape{Scale: -1, Window: 32768})
	for range 2 { // the first may be lost, and data that tells would end what is fresh
		p.Send(segment.ACK)
	}
	said := badACK(t, p, -70000)
	if said == "refused" {
		t.Fact("after_data", "%s", badACK(t, p, -70000))
	}
	return said
}

// refused says what became of three octets sent at from that should not have been
// accepted. One more octet at the same place tells, if nothing else does.
func refused(t *T, p *puppet.Puppet, from segment.Seq, sent puppet.Sent, answer *puppet.Arrival) string {
	if answer != nil {
		t.Times("answered_after", answer.At-sent.At)
	}
	if p.SndUna() == from && !t.Lives(p) {
		return "reset"
	}
	switch {
	case p.SndUna().Sub(from) >= 3:
		return "accepted"
	case answer == nil:
		return "silent"
	}
	return "refused"
}

func dataWithoutACK(t *T) string {
	p := t.Establish()
	said := "silent"
	for _, flags := range []segment.Flags{segment.PSH, 0} {
		from := p.SndNxt()
		sent := p.Provoke(flags, puppet.Text(t.Octets(p, 3)))
		switch refused(t, p, from, sent, t.Answer(p, puppet.PureACK)) {
		case "accepted":
			return "accepted"
		case "reset":
			return "reset"
		case "refused":
			said = "answered"
		}
	}
	return said
}

func dataBeyondWindow(t *T) string {
	p := t.Establish()
	beyond := max(200000, p.PeerWindow()+10000)
	from := p.SndNxt()
	at := p.SndNxt().Add(beyond)
	sent := p.Provoke(text, puppet.Text(t.Octets(p, 3)), puppet.SeqAt(at))
	answer := t.Answer(p, puppet.PureACK)
	if answer != nil {
		t.Times("answered_after", answer.At-sent.At)
		for _, b := range answer.Options.Blocks() {
			if at.LessEq(b.Start) && b.End.LessEq(at.Add(3)) {
				return "kept"
			}
		}
	}
	if from.Less(p.SndUna()) {
		return "kept"
	}
	switch {
	case !t.Lives(p):
		return "reset"
	case p.SndUna().Sub(from) > 1:
		return "kept"
	case answer == nil:
		return "silent"
	}
	return "acked"
}

func challengeShape(t *T) string {
	stimuli := []struct {
		flags segment.Flags
		mods  []puppet.Mod
	}{
		{segment.RST, []puppet.Mod{puppet.Seq(10)}},
		{segment.SYN, []puppet.Mod{puppet.Seq(2 + 10)}}, // from the ISN
		{text, []puppet.Mod{puppet.Text([]byte{'\n', '\n', '\n'}), puppet.Ack(70000)}},
	}
	seen, said := 0, "exact"
	for _, s := range stimuli {
		p := t.Establish()
		from, want := p.SndNxt(), p.RcvNxt()
		a := challenge(t, p, s.flags, s.mods...)
		if a != nil && t.Life(p) == puppet.Alive && p.SndUna() == from.Add(1) { // or it was no challenge
			seen++
			if want.Less(a.Seq) && p.RcvNxt().Less(a.Seq) { // data of the host's was lost, or it lies
				p.Await(3*time.Second, func(*puppet.Arrival) bool { return a.Seq.LessEq(p.RcvNxt()) })
			}
			if a.Seq.Less(want) || p.RcvNxt().Less(a.Seq) || a.Ack != from {
				t.Fact("challenge", "seq %d and ack %d beyond what they should be", a.Seq.Sub(want), a.Ack.Sub(from))
				said = "wrong"
			}
		}
		p.Close()
	}
	t.Fact("challenges", "%d of %d", seen, len(stimuli))
	if seen == 0 {
		t.Unknown("no challenge ACK came to look at")
	}
	return said
}

// challengeRate sends bad RSTs together on one connection, and one more on
// another, as somebody would who counts the challenges of strangers.
func challengeRate(t *T) string {
	const rsts = 10
	p, other := t.Establish(), t.Establish()
	var shots []puppet.Shot
	for i := range rsts {
		shots = append(shots, p.Segment(segment.RST, puppet.Seq(10+i)))
	}
	p.Volley(shots...)
	answers := 0
	for _, a := range p.Collect(t.Patience()) {
		if puppet.PureACK(a) {
			answers++
		}
	}
	t.Fact("challenges", "%d to %d", answers, rsts)
	elsewhere := challenge(t, other, segment.RST, puppet.Seq(10)) != nil
	t.Fact("elsewhere", "%s", map[bool]string{true: "challenged", false: "not challenged"}[elsewhere])
	switch {
	case answers == 0:
		t.Unknown("no challenge ACK came")
	case !elsewhere:
		return "shared"
	case answers == rsts:
		return "unlimited"
	}
	return "limited"
}

func blindFIN(t *T) string {
	p := t.Establish()
	from := p.SndNxt()
	if challenge(t, p, segment.FIN|segment.ACK, puppet.Seq(1), puppet.Ack(70000)) == nil {
		t.Fact("challenge", "none")
	}
	if !t.Lives(p) { // fills the gap
		t.Unknown("the connection is dead")
	}
	if p.SndUna() == from.Add(1) {
		t.Answer(p, puppet.Acks(from.Add(2)))
	}
	if from.Add(1).Less(p.SndUna()) {
		return "accepted"
	}
	return "refused"
}

func finOutOfOrder(t *T) string {
	p := t.Establish()
	from := p.SndNxt()
	p.Provoke(segment.FIN|segment.ACK, puppet.Seq(5))
	if first := t.Answer(p, puppet.PureACK); first != nil && from.Less(first.Ack) {
		return "early"
	}
	if p.Deliver(t.Octets(p, 5)) != puppet.Alive {
		t.Unknown("the connection does not take data")
	}
	if p.SndUna() == from.Add(5) {
		t.Answer(p, puppet.Acks(from.Add(6)))
	}
	if from.Add(5).Less(p.SndUna()) {
		return "queued"
	}
	return "lost"
}

func rstAtZeroWindow(t *T) string {
	if t.Service.Echoes {
		t.Unknown("an echo service reads on until much more has been sent")
	}
	p := t.Connect()
	p.Window(0)
	t.Request(p)
	fill(t, p)
	p.Provoke(segment.RST)
	before := len(p.Arrivals())
	if p.Deliver([]byte{'\n'}) == puppet.Dead {
		return "dead"
	}
	// An octet into a zero window is refused with an ACK, if the connection lives.
	if len(p.Arrivals()) == before {
		t.Unknown("the connection fell silent")
	}
	return "ignored"
}

// fill sends data until the host has no room for more.
func fill(t *T, p *puppet.Puppet) {
	t.Waiting("the host's window to close")
	const most = 100 // segments
	for range most {
		window := p.PeerWindow()
		if window == 0 {
			return
		}
		switch p.Deliver(make([]byte, min(p.Room(), window))) {
		case puppet.Dead:
			t.Unknown("the service ended the connection")
		case puppet.Mute:
			t.Unknown("the host takes no data although its window is open")
		}
	}
	t.Unknown("the host's window did not close within %d segments: the service reads on", most)
}

func paws(t *T) string {
	p := t.Establish()
	if !p.Peer().Timestamps {
		t.Unknown("the host does not use timestamps")
	}
	from := p.SndNxt()
	sent := p.Provoke(text, puppet.Text(t.Octets(p, 3)), puppet.TSVal(-10000))
	return refused(t, p, from, sent, t.Answer(p, puppet.PureACK))
}

func pawsRST(t *T) string {
	p := t.Establish()
	if !p.Peer().Timestamps {
		t.Unknown("the host does not use timestamps")
	}
	old := p.Segment(segment.ACK).Options
	p.Provoke(segment.RST, puppet.Stamps(old.TSVal-10000, old.TSEcr))
	return deadOrIgnored(t, p)
}
