package probe

import (
	"time"

	"rawtcp/internal/puppet"
	"rawtcp/segment"
)

// groupB: options and header hygiene.
var groupB = []*Row{
	{
		ID: "B1", Name: "unknown-option",
		Question: "Are options ignored that nobody knows?",
		Stimulus: "option kind 158 and an experimental option (kind 253) on the SYN, later on data",
		Clauses:  []Clause{rfc(9293, "3.1", "MUST-6"), rfc(6994, "3.2")},
		Risk:     Safe, Takes: 500 * time.Millisecond, Needs: []Field{FieldOptions},
		Outcomes: []Outcome{
			{Key: "ignored", Verdict: Pass, Says: "the handshake succeeds and the data is acknowledged"},
			{Key: "echoed", Verdict: Note, Says: "the SYN-ACK carries the unknown option back"},
			{Key: "no-handshake", Verdict: Fail, LikeLoss: true, Says: "no SYN-ACK, although there is one without the options"},
			{Key: "refused", Verdict: Fail, Says: "a RST to the SYN"},
			{Key: "data-lost", Verdict: Fail, LikeLoss: true, Says: "the data with the option is not acknowledged, without it it is"},
			{Key: "data-reset", Verdict: Fail, Says: "the data with the option ends the connection"},
		},
		Test: unknownOption,
	},
	{
		ID: "B2", Name: "illegal-length",
		Question: "Does the host survive an option of an illegal length?",
		Stimulus: "SYN with an MSS option of length 0, then an ordinary SYN",
		Clauses:  []Clause{rfc(9293, "3.1", "MUST-7")},
		Risk:     Safe, Takes: 500 * time.Millisecond, Needs: []Field{FieldOptions},
		Outcomes: []Outcome{
			{Key: "ignored", Verdict: Pass, Says: "a SYN-ACK, and the host lives"},
			{Key: "reset", Verdict: Pass, Says: "a RST, and the host lives"},
			{Key: "dropped", Verdict: Pass, LikeLoss: true, Says: "no answer, and the host lives"},
			{Key: "gone", Verdict: Fail, LikeLoss: true, Says: "afterwards the host answers no SYN"},
		},
		Test: illegalLength,
	},
	{
		ID: "B3", Name: "no-mss",
		Question: "Does the host assume the default MSS when our SYN names none?",
		Stimulus: "SYN without options, then a request",
		Clauses:  []Clause{rfc(9293, "3.7.1", "MUST-15")},
		Risk:     Data, Service: BulkData, Takes: time.Second, Needs: []Field{FieldMSS},
		Outcomes: []Outcome{
			{Key: "default", Verdict: Pass, Says: "no segment is larger than 536 octets (1220 on IPv6)"},
			{Key: "larger", Verdict: Fail, Says: "a segment is larger than the default"},
		},
		Test: noMSS,
	},
	{
		ID: "B4", Name: "mss-honesty",
		Question: "Does the host keep to the MSS that our SYN names?",
		Stimulus: "SYNs with an MSS of 1, 48, 88, 256, 536 and 1000, and a request on each",
		Clauses:  []Clause{rfc(9293, "3.7.1", "MUST-16")},
		Risk:     Data, Service: BulkData, Takes: 6 * time.Second, Needs: []Field{FieldMSS},
		Outcomes: []Outcome{
			{Key: "honoured", Verdict: Pass, Says: "no segment is larger than the MSS, down to 48"},
			{Key: "minimum", Verdict: Note, Says: "a small MSS is raised to a minimum of the host's own"},
			{Key: "exceeded", Verdict: Fail, Says: "segments are larger than an MSS of 536 or more"},
		},
		Test: mssHonesty,
	},
	{
		ID: "B5", Name: "mss-on-path",
		Question: "Does the MSS of our SYN arrive as it left?",
		Stimulus: "SYNs with a growing hop limit, whose MSS the routers quote",
		Clauses:  []Clause{rfc(9293, "3.7.1")},
		Risk:     Safe, Takes: time.Second,
		Outcomes: []Outcome{
			{Key: "intact", Verdict: Pass, Says: "no router saw another MSS than we sent"},
			{Key: "clamped", Verdict: Note, Says: "a router saw another MSS: somebody before it clamps it"},
			{Key: "stripped", Verdict: Note, Says: "a router saw no MSS: somebody before it strips it"},
			{Key: "unseen", Verdict: Note, LikeLoss: true, Says: "no router quotes enough of the SYN to see"},
			{Key: "direct", Verdict: Pass, Says: "there is no router between us"},
		},
		Test: mssOnPath,
	},
	{
		ID: "B6", Name: "late-mss",
		Question: "Is an MSS option ignored that comes with data?",
		Stimulus: "SYN with an MSS of 1000, the request with an MSS option of 200; then a SYN with two MSS options, 1000 and 500",
		Clauses:  []Clause{rfc(9293, "3.7.1", "MUST-16"), rfc(9293, "3.1", "MUST-5")},
		Risk:     Data, Service: BulkData, Takes: 2 * time.Second, Needs: []Field{FieldOptions, FieldMSS},
		Outcomes: []Outcome{
			{Key: "ignored", Verdict: Pass, Says: "segments stay as large as the SYN allowed"},
			{Key: "obeyed", Verdict: Note, Says: "the late option shrinks the segments"},
			{Key: "refused", Verdict: Fail, Rule: rfc(9293, "3.1", "MUST-5"), LikeLoss: true, Says: "the request with the option is not acknowledged"},
		},
		Test: lateMSS,
	},
	{
		ID: "B7", Name: "wscale-15",
		Question: "Does a window scale beyond 14 disturb the handshake?",
		Stimulus: "SYN with a shift count of 15",
		Clauses:  []Clause{rfc(7323, "2.3")},
		Risk:     Safe, Takes: 300 * time.Millisecond, Needs: []Field{FieldScale},
		Outcomes: []Outcome{
			{Key: "taken", Verdict: Pass, Says: "the SYN-ACK has a window scale of its own"},
			{Key: "off", Verdict: Note, Says: "the SYN-ACK has no window scale"},
			{Key: "refused", Verdict: Fail, Says: "a RST"},
			{Key: "dropped", Verdict: Fail, LikeLoss: true, Says: "no SYN-ACK"},
		},
		Test: wscale15,
	},
	{
		ID: "B8", Name: "wscale-honesty",
		Question: "Does the host shift our window by what our SYN said?",
		Stimulus: "SYN with a shift count of 7, and a window field of 20 in all that follows: 2560 octets",
		Clauses:  []Clause{rfc(7323, "2.3")},
		Risk:     Data, Service: BulkData, Takes: time.Second, Needs: []Field{FieldScale, FieldWindow},
		Outcomes: []Outcome{
			{Key: "honest", Verdict: Pass, Says: "no more than 2560 octets are in flight, and more than 20"},
			{Key: "exceeded", Verdict: Fail, Says: "more octets are in flight than our window allows"},
			{Key: "unscaled", Verdict: Fail, LikeLoss: true, Says: "no more than 20 octets come: the shift is ignored"},
			{Key: "not-offered", Verdict: Note, Says: "the host does not scale windows"},
		},
		Test: wscaleHonesty,
	},
	{
		ID: "B9", Name: "timestamp-missing",
		Question: "What becomes of data without a timestamp, once both sides have agreed on them?",
		Stimulus: "three octets without the timestamps option",
		Clauses:  []Clause{rfc(7323, "3.2")},
		Risk:     Safe, Takes: time.Second, Needs: []Field{FieldStamps, FieldOptions},
		Outcomes: []Outcome{
			{Key: "dropped", Verdict: Pass, LikeLoss: true, Says: "dropped in silence"},
			{Key: "answered", Verdict: Note, Says: "not accepted, and answered with an ACK"},
			{Key: "accepted", Verdict: Note, Says: "accepted, against a SHOULD that many hosts do not follow"},
			{Key: "aborted", Verdict: Fail, Says: "the connection is dead, against a MUST NOT"},
		},
		Test: stampMissing,
	},
	{
		ID: "B10", Name: "timestamp-echo",
		Question: "Whose timestamp does an ACK echo when segments arrive out of order?",
		Stimulus: "an octet, later an octet beyond a gap, then the gap, each with a timestamp of its own",
		Clauses:  []Clause{rfc(7323, "4.3")},
		Risk:     Safe, Takes: time.Second, Needs: []Field{FieldStamps},
		Outcomes: []Outcome{
			{Key: "right", Verdict: Pass, Says: "that of the last segment that advanced RCV.NXT, and of the one that filled the gap"},
			{Key: "early", Verdict: Note, Says: "that of the segment beyond the gap: round trips look shorter than they are"},
			{Key: "stale", Verdict: Fail, Says: "after the gap is filled the ACK does not echo the segment that filled it"},
		},
		Test: stampEcho,
	},
	{
		ID: "B11", Name: "reserved-bits",
		Question: "Are the reserved bits of the header ignored, and zero in what the host sends?",
		Stimulus: "SYN and data with the three reserved bits set",
		Clauses:  []Clause{rfc(9293, "3.1")},
		Risk:     Safe, Takes: 500 * time.Millisecond, Needs: []Field{FieldReserved},
		Outcomes: []Outcome{
			{Key: "ignored", Verdict: Pass, Says: "the handshake succeeds, the data is acknowledged, no bit comes back"},
			{Key: "echoed", Verdict: Fail, Says: "reserved bits are set in what the host sends"},
			{Key: "dropped", Verdict: Fail, LikeLoss: true, Says: "no answer to a segment with the bits, one to the same without"},
			{Key: "refused", Verdict: Fail, Says: "a RST to a segment with the bits"},
		},
		Test: reservedBits,
	},
	{
		ID: "B12", Name: "checksum",
		Question: "Are segments dropped whose checksum is wrong?",
		Stimulus: "SYN with a wrong checksum and with one of zero, then data with a wrong one in ESTABLISHED",
		Clauses:  []Clause{rfc(9293, "3.1", "MUST-3")},
		Risk:     Safe, Takes: 3 * time.Second,
		Outcomes: []Outcome{
			{Key: "dropped", Verdict: Pass, LikeLoss: true, Says: "no answer to any of them"},
			{Key: "accepted", Verdict: Fail, Says: "a segment with a wrong checksum is accepted, or somebody on the way mends it"},
		},
		Test: checksum,
	},
	{
		ID: "B13", Name: "urgent",
		Question: "Is urgent data accepted, wherever the pointer points?",
		Stimulus: "octets with URG, the pointer at their end, one beyond, and 1000 beyond",
		Clauses:  []Clause{rfc(9293, "3.8.5", "MUST-30"), rfc(9293, "3.8.5", "MUST-31")},
		Risk:     Safe, Takes: 2 * time.Second, Needs: []Field{FieldUrgent, FieldFlags},
		Outcomes: []Outcome{
			{Key: "acked", Verdict: Pass, Says: "all is acknowledged"},
			{Key: "reset", Verdict: Fail, Says: "the connection is dead"},
			{Key: "dropped", Verdict: Fail, LikeLoss: true, Says: "urgent data is not acknowledged, the same data without URG is"},
		},
		Test: urgent,
	},
	{
		ID: "B14", Name: "signature-options",
		Question: "What becomes of a SYN with a signature that the host has no key for?",
		Stimulus: "SYN with an MD5 signature (kind 19), SYN with a TCP-AO option (kind 29)",
		Clauses:  []Clause{rfc(2385, "2.0"), rfc(5925, "7.3")},
		Risk:     Safe, Takes: 2 * time.Second, Needs: []Field{FieldOptions},
		Outcomes: []Outcome{
			{Key: "ignored", Verdict: Note, Says: "both SYNs are answered as if the option were not there"},
			{Key: "md5-dropped", Verdict: Note, LikeLoss: true, Says: "the SYN with MD5 is dropped, the one with AO answered"},
			{Key: "ao-dropped", Verdict: Note, LikeLoss: true, Says: "the SYN with AO is dropped, the one with MD5 answered"},
			{Key: "both-dropped", Verdict: Note, LikeLoss: true, Says: "both SYNs are dropped"},
			{Key: "reset", Verdict: Note, Says: "a RST answers one of them"},
		},
		Test: signatures,
	},
	{
		ID: "B15", Name: "ip-oddities",
		Question: "Do IP options, the reserved IP bit or a DSCP keep a SYN from being answered?",
		Stimulus: "SYNs with IP options (record route, timestamp, quick start), with the reserved bit of IPv4, and with DSCP EF",
		Clauses:  []Clause{rfc(9293, "3.9.2", "MUST-50"), rfc(1122, "3.2.1.8")},
		Risk:     Safe, Takes: 3 * time.Second,
		Outcomes: []Outcome{
			{Key: "works", Verdict: Pass, Says: "every SYN is answered"},
			{Key: "broken", Verdict: Note, LikeLoss: true, Says: "some are not answered: routers or filters on the way drop them, or the host does"},
		},
		Test: ipOddities,
	},
	{
		ID: "B16", Name: "syn-look",
		Question: "Does it matter whose operating system our SYN looks like?",
		Stimulus: "SYNs with the options of Linux, of Windows, of macOS, and with none",
		Clauses:  []Clause{rfc(9293, "3.10.7.2")},
		Risk:     Safe, Takes: time.Second, Needs: []Field{FieldOptions, FieldScale, FieldSACK, FieldStamps},
		Outcomes: []Outcome{
			{Key: "all", Verdict: Pass, Says: "all are answered"},
			{Key: "some", Verdict: Note, LikeLoss: true, Says: "some are not answered: a policy by fingerprint"},
		},
		Test: synLook,
	},
}

// oddOptions are an option of a kind that IANA has not given away and an
// experimental one with an identifier of nobody's.
var oddOptions = []byte{158, 4, 0xca, 0xfe, 253, 6, 0x0f, 0xf5, 0xbe, 0xef}

func unknownOption(t *T) string {
	p := t.Puppet()
	sent, a := t.SYN(p, puppet.MoreOptions(oddOptions))
	switch {
	case a == nil:
		return "no-handshake"
	case puppet.RST(a):
		return "refused"
	}
	t.Times("rtt", a.At-sent.At)
	p.Send(segment.ACK)
	if _, back := a.Options.Find(158); back {
		return "echoed"
	}
	from := p.SndNxt()
	_, b := t.Insist(p, puppet.Either(puppet.RST, puppet.Acks(from.Add(1))), func() puppet.Sent {
		return p.Provoke(text, puppet.Text(t.Octets(p, 1)), puppet.MoreOptions(oddOptions))
	})
	switch {
	case b == nil && t.Lives(p):
		return "data-lost"
	case b == nil || puppet.RST(b):
		return "data-reset"
	}
	return "ignored"
}

func illegalLength(t *T) string {
	p := t.Puppet()
	_, a := t.SYN(p, puppet.RawOptions([]byte{2, 0, 2, 0xf1}))
	p.Close()
	alive := t.Puppet()
	if alive.Open() != puppet.Opened {
		return "gone"
	}
	switch {
	case a == nil:
		return "dropped"
	case puppet.RST(a):
		return "reset"
	}
	return "ignored"
}

func noMSS(t *T) string {
	limit := 536
	if t.Target.Addr().Is6() {
		limit = 1220
	}
	flight := t.Flight(t.Connect(puppet.Plain))
	largest := t.Largest(flight, limit)
	t.Fact("largest", "%d octets", largest)
	switch {
	case largest > limit:
		return "larger"
	case len(flight) == 1 && largest < limit:
		t.Unknown("the service sent %d octets only", largest)
	}
	return "default"
}

func mssHonesty(t *T) string {
	said, facts := "honoured", ""
	for _, mss := range []int{1, 48, 88, 256, 536, 1000} {
		p := t.Connect(puppet.Shape{MSS: mss, NoTimestamps: true})
		flight := t.Flight(p)
		floor := max(mss, 48)
		largest := t.Largest(flight, floor)
		facts += sizeText(mss, largest)
		switch {
		case largest > mss && mss >= 536:
			said = "exceeded"
		case largest > floor && said == "honoured":
			said = "minimum"
		case largest < mss && len(flight) == 1:
			t.Unknown("the service sent %d octets only", largest)
		}
		p.Close()
	}
	t.Fact("largest", "%s", facts[1:])
	return said
}

func mssOnPath(t *T) string {
	p := t.Puppet()
	rungs := t.Ladder(p, puppet.Either(puppet.SYNACK, puppet.RST), func(hops puppet.Mod) puppet.Sent {
		return p.Send(segment.SYN, hops)
	})
	if rungs[0].Answer != nil {
		return "direct"
	}
	said := "unseen"
	for _, r := range rungs {
		if r.ICMP == nil {
			continue
		}
		o, whole := quotedOptions(r.ICMP.Quoted)
		if !whole {
			continue
		}
		mss, there := o.Find(segment.KindMSS)
		switch {
		case !there:
			t.Fact("stripped", "at or before hop %d, %v", r.Hops, r.ICMP.From)
			return "stripped"
		case len(mss) == 2 && int(mss[0])<<8+int(mss[1]) != p.Shape().MSS:
			t.Fact("clamped", "%d to %d at or before hop %d, %v", p.Shape().MSS, int(mss[0])<<8+int(mss[1]), r.Hops, r.ICMP.From)
			return "clamped"
		}
		said = "intact"
	}
	return said
}

func lateMSS(t *T) string {
	p := t.Connect(puppet.Shape{MSS: 1000, NoTimestamps: true})
	from := p.SndNxt()
	request := t.Service.Request
	p.Send(text, puppet.Text(request), puppet.RawOptions([]byte{2, 4, 0, 200}))
	if a := p.Await(t.Patience()+2*time.Second, puppet.Either(puppet.RST, puppet.Acks(from.Add(len(request))))); a == nil || puppet.RST(a) {
		return "refused"
	}
	flight := t.Rest(p)
	size := t.Largest(flight, 1000)
	t.Fact("late", "%d octets", size)
	p.Close()

	double := t.Connect(puppet.Shape{MSS: 1000, NoTimestamps: true, Raw: []byte{2, 4, 1000 >> 8, 1000 & 255, 2, 4, 500 >> 8, 500 & 255}})
	t.Fact("double", "%d octets", t.Largest(t.Flight(double), 1000))
	switch {
	case size > 200:
		return "ignored"
	case octets(flight) <= 200:
		t.Unknown("the service sent %d octets only", octets(flight))
	}
	return "obeyed"
}

func wscale15(t *T) string {
	p := t.Puppet(puppet.Shape{Scale: 15})
	_, a := t.SYN(p)
	switch {
	case a == nil:
		return "dropped"
	case puppet.RST(a):
		return "refused"
	case p.Peer().Scale < 0:
		return "off"
	}
	t.Fact("own_shift", "%d", p.Peer().Scale)
	return "taken"
}

func wscaleHonesty(t *T) string {
	// As small from the beginning: a window that shrinks need not be believed at
	// once. And less than an initial window of ten segments.
	const field, shift = 20, 7
	p := t.Connect(puppet.Shape{Scale: shift, MSS: 512, Window: field})
	if p.Peer().Scale < 0 {
		return "not-offered"
	}
	inFlight := octets(t.Flight(p))
	t.Fact("in_flight", "%d octets", inFlight)
	switch {
	case inFlight > field<<shift:
		return "exceeded"
	case inFlight > field && (inFlight >= field<<shift*3/4 || t.goesOn(p)):
		return "honest"
	case inFlight == field && t.goesOn(p):
		return "unscaled"
	}
	t.Unknown("the service sent %d octets only", inFlight)
	return ""
}

func stampMissing(t *T) string {
	p := t.stamped()
	from := p.SndNxt()
	sent := p.Provoke(text, puppet.Text(t.Octets(p, 3)), puppet.NoStamps())
	switch refused(t, p, from, sent, t.Answer(p, puppet.PureACK)) {
	case "accepted":
		return "accepted"
	case "reset":
		return "aborted"
	case "refused":
		return "answered"
	}
	return "dropped"
}

// stamped returns a connection with timestamps, or ends the attempt.
func (t *T) stamped() *puppet.Puppet {
	p := t.Establish()
	if !p.Peer().Timestamps {
		t.Unknown("the host does not use timestamps")
	}
	return p
}

func stampEcho(t *T) string {
	p := t.stamped()
	base, echo := p.Segment(segment.ACK).Options.TSVal+5, p.Segment(segment.ACK).Options.TSEcr
	from := p.SndNxt()
	data := t.Octets(p, 3)
	step := func(at int, val uint32, acked int) *puppet.Arrival {
		p.Send(text, puppet.Text(data[at:at+1]), puppet.SeqAt(from.Add(at)), puppet.Stamps(base+val, echo))
		a := t.Answer(p, puppet.Acks(from.Add(acked)))
		if a == nil {
			t.Unknown("no ACK came")
		}
		return a
	}
	first := step(0, 0, 1)
	t.Wait(50 * time.Millisecond)
	beyond := step(2, 50, 1)
	t.Wait(50 * time.Millisecond)
	filled := step(1, 100, 3)
	t.Fact("echoed", "in order %+d, beyond the gap %+d, gap filled %+d",
		int32(first.Options.TSEcr-base), int32(beyond.Options.TSEcr-base), int32(filled.Options.TSEcr-base))
	switch {
	case filled.Options.TSEcr != base+100:
		return "stale"
	case beyond.Options.TSEcr == base+50:
		return "early"
	case beyond.Options.TSEcr != base:
		t.Unknown("the ACK beyond the gap echoes a timestamp that was not sent")
	}
	return "right"
}

func reservedBits(t *T) string {
	p := t.Puppet()
	_, a := t.SYN(p, puppet.Reserved(7))
	switch {
	case a == nil:
		return "dropped"
	case puppet.RST(a):
		return "refused"
	case a.Reserved() != 0:
		return "echoed"
	}
	p.Send(segment.ACK)
	from := p.SndNxt()
	_, b := t.Insist(p, puppet.Either(puppet.RST, puppet.Acks(from.Add(1))), func() puppet.Sent {
		return p.Provoke(text, puppet.Text(t.Octets(p, 1)), puppet.Reserved(7))
	})
	switch {
	case b == nil && t.Lives(p):
		return "dropped"
	case b == nil || puppet.RST(b):
		return "refused"
	case b.Reserved() != 0:
		return "echoed"
	}
	return "ignored"
}

func checksum(t *T) string {
	wrong := puppet.Checksum(func(right uint16) uint16 { return right ^ 0x5555 })
	zero := puppet.Checksum(func(uint16) uint16 { return 0 })
	for _, bad := range []puppet.Mod{wrong, zero} {
		p := t.Puppet()
		p.Send(segment.SYN, bad)
		if t.Answer(p, puppet.Any) != nil {
			return "accepted"
		}
		p.Close()
	}
	p := t.Establish()
	from := p.SndNxt()
	p.Provoke(text, puppet.Text(t.Octets(p, 3)), wrong)
	t.Answer(p, puppet.PureACK)
	if !t.Lives(p) {
		t.Unknown("the connection is dead")
	}
	if p.SndUna().Sub(from) >= 3 {
		return "accepted"
	}
	return "dropped"
}

func urgent(t *T) string {
	p := t.Establish()
	for _, pointer := range []uint16{2, 3, 1000} {
		from := p.SndNxt()
		data := t.Octets(p, 2)
		_, a := t.Insist(p, puppet.Either(puppet.RST, puppet.Acks(from.Add(2))), func() puppet.Sent {
			return p.Provoke(text|segment.URG, puppet.Text(data), puppet.Urgent(pointer))
		})
		switch life := p.Deliver(data); { // moves SND.NXT over it, and asks again
		case life == puppet.Dead:
			return "reset"
		case life == puppet.Mute:
			t.Unknown("the connection fell silent")
		case a == nil:
			t.Fact("dropped", "pointer %d", pointer)
			return "dropped"
		}
	}
	return "acked"
}

func signatures(t *T) string {
	md5 := append([]byte{2, 4, 5, 180, byte(segment.KindMD5), 18}, make([]byte, 16)...)
	ao := append([]byte{2, 4, 5, 180, byte(segment.KindAO), 16, 0, 0}, make([]byte, 12)...)
	answered := map[string]bool{}
	for name, options := range map[string][]byte{"md5": md5, "ao": ao} {
		p := t.Puppet()
		_, a := t.SYN(p, puppet.RawOptions(options))
		switch {
		case a == nil:
			t.Fact(name, "nothing")
		case puppet.RST(a):
			t.Fact(name, "RST")
			return "reset"
		default:
			t.Fact(name, "SYN-ACK")
			answered[name] = true
		}
		p.Close()
	}
	switch {
	case answered["md5"] && answered["ao"]:
		return "ignored"
	case answered["ao"]:
		return "md5-dropped"
	case answered["md5"]:
		return "ao-dropped"
	}
	return "both-dropped"
}

// A variant is a SYN that differs from an ordinary one in one thing.
type variant struct {
	name  string
	shape puppet.Shape
	mods  []puppet.Mod
}

// variants sends each SYN and reports whether all were answered with a SYN-ACK.
func (t *T) variants(list []variant) bool {
	all := true
	for _, v := range list {
		p := t.Puppet(v.shape)
		_, a := t.SYN(p, v.mods...)
		switch {
		case a == nil:
			t.Fact(v.name, "nothing")
			all = false
		case puppet.RST(a):
			t.Fact(v.name, "RST")
			all = false
		default:
			t.Fact(v.name, "SYN-ACK")
		}
		p.Close()
	}
	return all
}

func ipOddities(t *T) string {
	list := []variant{{name: "dscp_ef", mods: []puppet.Mod{puppet.TOS(46 << 2)}}}
	if t.Target.Addr().Is4() {
		list = append(list,
			variant{name: "record_route", mods: []puppet.Mod{puppet.IPOptions([]byte{7, 15, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})}},
			variant{name: "timestamp", mods: []puppet.Mod{puppet.IPOptions([]byte{68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0})}},
			variant{name: "quick_start", mods: []puppet.Mod{puppet.IPOptions([]byte{25, 8, 0, 0, 0, 0, 0, 0})}},
			variant{name: "evil_bit", mods: []puppet.Mod{puppet.EvilBit()}},
		)
	}
	if t.variants(list) {
		return "works"
	}
	return "broken"
}

func synLook(t *T) string {
	k := func(kinds ...segment.Kind) []segment.Kind { return kinds }
	const (
		mss, sack, stamps, scale = segment.KindMSS, segment.KindSACKPermitted, segment.KindTimestamps, segment.KindWindowScale
		nop, eol                 = segment.KindNOP, segment.KindEOL
	)
	if t.variants([]variant{
		{name: "linux", shape: puppet.Shape{Window: 64240, Scale: 7}},
		{name: "windows", shape: puppet.Shape{Window: 65535, Scale: 8, NoTimestamps: true, TTL: 128, Layout: k(mss, nop, scale, nop, nop, sack)}},
		{name: "macos", shape: puppet.Shape{Window: 65535, Scale: 6, Layout: k(mss, nop, scale, nop, nop, stamps, sack, eol)}},
		{name: "bare", shape: puppet.Plain},
	}) {
		return "all"
	}
	return "some"
}
