package probe

import (
	"bytes"
	"fmt"
	"time"

	"rawtcp/internal/puppet"
	"rawtcp/segment"
)

// groupG: extensions.
var groupG = []*Row{
	{
		ID: "G1", Name: "ecn",
		Question: "Does the host agree to ECN?",
		Stimulus: "SYN with ECE and CWR",
		Clauses:  []Clause{rfc(3168, "6.1.1")},
		Risk:     Safe, Takes: 200 * time.Millisecond, Needs: []Field{FieldFlags},
		Outcomes: []Outcome{
			{Key: "agreed", Verdict: Pass, Says: "the SYN-ACK has ECE alone"},
			{Key: "declined", Verdict: Note, Says: "the SYN-ACK has neither ECE nor CWR"},
			{Key: "reflected", Verdict: Fail, Rule: rfc(3168, "6.1.1.2"), Says: "the SYN-ACK has ECE and CWR: it echoes what it does not know"},
			{Key: "odd", Verdict: Fail, Says: "the SYN-ACK has CWR alone"},
			{Key: "refused", Verdict: Note, Says: "a RST, although a SYN without them is answered"},
			{Key: "dropped", Verdict: Note, Rule: rfc(3168, "6.1.1.1"), LikeLoss: true, Says: "no answer, although a SYN without them is answered"},
		},
		Test: ecnHandshake,
	},
	{
		ID: "G2", Name: "ce-echo",
		Question: "Is a congestion mark reported until the sender says that it has heard?",
		Stimulus: "on a connection with ECN an octet with ECT(0), one with CE, one with ECT(0), one with CWR",
		Clauses:  []Clause{rfc(3168, "6.1.3")},
		Risk:     Safe, Takes: 2 * time.Second, Needs: []Field{FieldECN, FieldFlags},
		Outcomes: []Outcome{
			{Key: "echoed", Verdict: Pass, Says: "ECE from the mark until CWR"},
			{Key: "unechoed", Verdict: Fail, LikeLoss: true, Says: "no ECE, although the host has agreed to ECN; or the mark was erased on the path"},
			{Key: "once", Verdict: Fail, Says: "ECE on one ACK only, not until CWR"},
			{Key: "sticky", Verdict: Fail, Says: "ECE goes on after CWR"},
			{Key: "early", Verdict: Note, Says: "ECE before the mark: a queue on the path is congested, or the host errs"},
			{Key: "no-ecn", Verdict: Note, Says: "the host does not agree to ECN"},
		},
		Test: ceEcho,
	},
	{
		ID: "G3", Name: "ecn-on-control",
		Question: "Do control packets survive that are marked ECN-capable?",
		Stimulus: "SYN with ECT(0), SYN with CE, ACK, FIN and RST with ECT(0)",
		Clauses:  []Clause{rfc(8311, "4.3")},
		Risk:     Safe, Takes: 3 * time.Second, Needs: []Field{FieldECN},
		Outcomes: []Outcome{
			{Key: "works", Verdict: Pass, Says: "all are obeyed as without the mark"},
			{Key: "broken", Verdict: Note, LikeLoss: true, Says: "one of them has no effect"},
		},
		Test: markedControl,
	},
	{
		ID: "G4", Name: "ecn-on-path",
		Question: "Does the path leave the ECN field alone?",
		Stimulus: "SYNs with ECT(0) and a growing TTL; what routers quote of them is compared",
		Clauses:  []Clause{rfc(3168, "5")},
		Risk:     Safe, Takes: 10 * time.Second,
		Outcomes: []Outcome{
			{Key: "intact", Verdict: Pass, Says: "ECT(0) as far as routers tell"},
			{Key: "direct", Verdict: Pass, Says: "there is no router between us"},
			{Key: "bleached", Verdict: Note, Says: "a router quotes Not-ECT: somebody before it erases ECN"},
			{Key: "marked", Verdict: Note, Says: "a router quotes CE or ECT(1)"},
			{Key: "unseen", Verdict: Note, LikeLoss: true, Says: "no router tells"},
		},
		Test: ecnOnPath,
	},
	{
		ID: "G5", Name: "accecn",
		Question: "Does the host agree to Accurate ECN?",
		Stimulus: "SYN with AE, CWR and ECE",
		Clauses:  []Clause{rfc(9768, "3.1"), rfc(3168, "6.1.1")},
		Risk:     Safe, Takes: 200 * time.Millisecond, Needs: []Field{FieldFlags, FieldReserved},
		Outcomes: []Outcome{
			{Key: "accecn", Verdict: Pass, Says: "the SYN-ACK tells in the new code which ECN field the SYN had"},
			{Key: "mangled", Verdict: Note, Says: "the SYN-ACK tells in the new code of an ECN field that the SYN did not have: it was changed, or ECE and CWR are echoed"},
			{Key: "classic", Verdict: Pass, LikePath: true, Says: "the SYN-ACK has ECE alone: ECN as in RFC 3168"},
			{Key: "no-ecn", Verdict: Note, Says: "the SYN-ACK has none of the flags"},
			{Key: "nonce", Verdict: Note, Says: "the SYN-ACK has AE and ECE, as in the ECN nonce experiment"},
			{Key: "reflected", Verdict: Fail, Says: "the SYN-ACK has all three flags: it echoes what it does not know"},
			{Key: "dropped", Verdict: Note, LikeLoss: true, Says: "no answer, although a SYN without them is answered"},
			{Key: "refused", Verdict: Note, Says: "a RST, although a SYN without them is answered"},
		},
		Test: accurateECN,
	},
	{
		ID: "G6", Name: "tfo-cookie",
		Question: "Does the host give a Fast Open cookie?",
		Stimulus: "SYN with an empty Fast Open option; if nothing comes of it, with the experimental one",
		Clauses:  []Clause{rfc(7413, "4.1.1"), rfc(7413, "4.2.1")},
		Risk:     Safe, Takes: 300 * time.Millisecond, Needs: []Field{FieldOptions},
		Outcomes: []Outcome{
			{Key: "none", Verdict: Pass, LikePath: true, Says: "no cookie: the host does not offer Fast Open on this port"},
			{Key: "cookie", Verdict: Pass, Says: "a cookie"},
			{Key: "experimental", Verdict: Note, Says: "a cookie in the experimental option only"},
			{Key: "malformed", Verdict: Fail, Says: "a cookie of an illegal length"},
			{Key: "dropped", Verdict: Note, LikeLoss: true, Says: "no answer, although a SYN without the option is answered"},
		},
		Test: fastOpenCookie,
	},
	{
		ID: "G7", Name: "tfo-data",
		Question: "Is data on a SYN taken with the host's cookie, and only with it?",
		Stimulus: "SYN with data and a cookie that the host gave; then with a cookie of our own making",
		Clauses:  []Clause{rfc(7413, "4.2.2")},
		Risk:     Safe, Takes: time.Second, Needs: []Field{FieldOptions, FieldPayload, FieldSeq},
		Outcomes: []Outcome{
			{Key: "accepted", Verdict: Pass, Says: "data with the right cookie is taken, with the wrong one it is not"},
			{Key: "fallback", Verdict: Note, Says: "the SYN is acknowledged without the data, whatever the cookie"},
			{Key: "any-cookie", Verdict: Vulnerable, Rule: rfc(7413, "4.1.2"), Says: "data with a wrong cookie is taken: anybody can have the host work for a forged address"},
			{Key: "dropped", Verdict: Note, LikeLoss: true, Says: "the SYN with cookie and data is not answered"},
			{Key: "not-offered", Verdict: Pass, LikePath: true, Says: "the host gives no cookie"},
		},
		Test: fastOpenData,
	},
	{
		ID: "G8", Name: "mptcp",
		Question: "Does the host speak Multipath TCP?",
		Stimulus: "SYN with MP_CAPABLE of version 1, then of version 0",
		Clauses:  []Clause{rfc(8684, "3.1")},
		Risk:     Safe, Takes: 300 * time.Millisecond, Needs: []Field{FieldOptions},
		Outcomes: []Outcome{
			{Key: "plain", Verdict: Pass, LikePath: true, Says: "a SYN-ACK without MP_CAPABLE: ordinary TCP"},
			{Key: "mptcp", Verdict: Pass, Says: "a SYN-ACK with a key of the host's own"},
			{Key: "mirrored", Verdict: Fail, Says: "our own option comes back: somebody echoes what he does not know"},
			{Key: "dropped", Verdict: Note, LikeLoss: true, Says: "no answer, although a SYN without the option is answered"},
			{Key: "refused", Verdict: Note, Says: "a RST, although a SYN without the option is answered"},
		},
		Test: multipath,
	},
	{
		ID: "G9", Name: "single-options",
		Question: "Does each option work by itself, and does only what was offered come back?",
		Stimulus: "SYNs with timestamps alone, with a window scale alone, with SACK-permitted alone, and with none",
		Clauses:  []Clause{rfc(7323, "3.2"), rfc(7323, "2.2"), rfc(2018, "2")},
		Risk:     Safe, Takes: time.Second, Needs: []Field{FieldOptions, FieldScale, FieldSACK, FieldStamps},
		Outcomes: []Outcome{
			{Key: "exact", Verdict: Pass, Says: "each is agreed to by itself, and nothing else is"},
			{Key: "partly", Verdict: Note, Says: "the host does not agree to some of them"},
			{Key: "unasked", Verdict: Fail, Says: "a SYN-ACK has an option that the SYN did not have"},
			{Key: "dropped", Verdict: Note, LikeLoss: true, Says: "a SYN with one of them is not answered"},
		},
		Test: singleOptions,
	},
}

// offer sends a SYN and returns what answers: a SYN-ACK, or in words why not,
// a plain SYN being answered.
func (t *T) offer(shape puppet.Shape, mods ...puppet.Mod) (*puppet.Puppet, *puppet.Arrival, string) {
	p := t.Puppet(shape)
	_, a := t.SYN(p, mods...)
	switch {
	case a == nil:
		t.Connect().Close() // or the attempt ends
		return p, nil, "dropped"
	case puppet.RST(a):
		t.Connect().Close()
		return p, nil, "refused"
	}
	return p, a, ""
}

func ecnHandshake(t *T) string {
	_, a, why := t.offer(puppet.Shape{ECN: true})
	if a == nil {
		return why
	}
	switch a.Flags & (segment.ECE | segment.CWR) {
	case segment.ECE:
		return "agreed"
	case 0:
		return "declined"
	case segment.CWR:
		return "odd"
	}
	return "reflected"
}

// The ECN field of IP (RFC 3168 section 5).
const (
	notECT, ect1, ect0, ce = 0, 1, 2, 3
	ecnMask                = 3
)

func ceEcho(t *T) string {
	p := t.Connect(puppet.Shape{ECN: true})
	if !p.Peer().ECN {
		return "no-ecn"
	}
	before := t.echoes(p, 0, ect0)
	marked := t.echoes(p, 0, ce)
	after := t.echoes(p, 0, ect0)
	reduced := t.echoes(p, segment.CWR, ect0)
	t.Fact("ece", "before %v, at the mark %v, after it %v, after CWR %v", before, marked, after, reduced)
	switch {
	case before:
		return "early"
	case !marked && !after:
		return "unechoed"
	case !after:
		return "once"
	case reduced:
		return "sticky"
	}
	return "echoed"
}

// echoes sends an octet until it is acknowledged and reports whether the ACK has
// ECE.
func (t *T) echoes(p *puppet.Puppet, flags segment.Flags, tos uint8) bool {
	from := p.SndNxt()
	data := t.Octets(p, 1)
	for range 4 {
		p.Send(text|flags, puppet.Text(data), puppet.SeqAt(from), puppet.TOS(tos))
		a := t.Answer(p, puppet.Either(puppet.RST, puppet.Acks(from.Add(1))))
		if a != nil && puppet.RST(a) {
			t.Unknown("the service ended the connection")
		}
		if a != nil {
			t.asked[p]++
			return a.Flags.Has(segment.ECE)
		}
	}
	t.Unknown("the connection fell silent")
	return false
}

func markedControl(t *T) string {
	said := "works"
	note := func(name string, ok bool) {
		t.Fact(name, "%s", map[bool]string{true: "obeyed", false: "without effect"}[ok])
		if !ok {
			said = "broken"
		}
	}
	p, a, _ := t.offer(puppet.Shape{TOS: ect0})
	note("syn_ect", a != nil)
	if a != nil {
		p.Send(segment.ACK)
		note("ack_ect", t.Life(p) == puppet.Alive) // data has the mark, too
		fin := t.sendFIN(p)
		note("fin_ect", fin != nil && !puppet.RST(fin))
	}
	p.Close()
	_, a, _ = t.offer(puppet.Shape{}, puppet.TOS(ce))
	note("syn_ce", a != nil)
	// Behind a SYN cookie no RST is the end: the next ACK opens the connection anew.
	note("rst_ect", t.killedBy(ect0) || !t.killedBy(notECT) || t.killedBy(ect0))
	return said
}

// killedBy reports whether a RST with a TOS ends a connection.
func (t *T) killedBy(tos uint8) bool {
	p := t.Connect()
	defer p.Close()
	p.Provoke(segment.RST, puppet.TOS(tos))
	return t.Life(p) == puppet.Dead
}

func ecnOnPath(t *T) string {
	const farthest, silence = 30, 4
	p := t.Puppet()
	said, quiet := "unseen", 0
	for hop := uint8(1); hop <= farthest && quiet < silence; hop++ {
		p.Send(segment.SYN, puppet.TTL(hop), puppet.TOS(ect0))
		e := p.AwaitICMP(300*time.Millisecond + 2*t.battery.rtt())
		if p.Established() || p.Reset() {
			if hop == 1 {
				return "direct"
			}
			break
		}
		if e == nil || len(e.ICMP.Quoted) < 2 {
			quiet++
			continue
		}
		quiet = 0
		switch quoted := quotedTOS(e.ICMP.Quoted) & ecnMask; quoted {
		case ect0:
			said = worsePath(said, "intact")
		case notECT:
			t.Fact("bleached", "at or before hop %d, %v", hop, e.ICMP.From)
			return "bleached"
		default:
			t.Fact("marked", "%d at or before hop %d, %v", quoted, hop, e.ICMP.From)
			said = "marked"
		}
		t.Fact("routers", "%d", hop)
	}
	return said
}

func worsePath(said, now string) string {
	if said == "unseen" {
		return now
	}
	return said
}

// quotedTOS is the TOS or traffic class of a quoted packet.
func quotedTOS(packet []byte) uint8 {
	if packet[0]>>4 == 6 {
		return packet[0]<<4 | packet[1]>>4
	}
	return packet[1]
}

func accurateECN(t *T) string {
	const ae = 1 // the last of the three reserved bits of RFC 9293
	_, a, why := t.offer(puppet.Shape{ECN: true}, puppet.Reserved(ae))
	if a == nil {
		return why
	}
	code := a.Reserved()&ae<<2 | uint8(a.Flags&segment.CWR>>7)<<1 | uint8(a.Flags&segment.ECE>>6)
	t.Fact("code", "%03b", code)
	switch code {
	case 0b000:
		return "no-ecn"
	case 0b001:
		return "classic"
	case 0b101:
		return "nonce"
	case 0b111:
		return "reflected"
	case 0b010: // Not-ECT was seen
		return "accecn"
	}
	return "mangled"
}

// fastOpenID is the identifier of Fast Open in experimental options (RFC 7413
// section 4.1.1, appendix).
var fastOpenID = []byte{0xf9, 0x89}

// cookie asks for a Fast Open cookie and returns it, without one nil, and the
// outcome that says what came.
func (t *T) cookie() ([]byte, string) {
	_, a, why := t.offer(puppet.Shape{}, puppet.MoreOptions([]byte{byte(segment.KindFastOpen), 2}))
	if a == nil {
		return nil, why
	}
	if cookie, found := a.Options.Find(segment.KindFastOpen); found && len(cookie) > 0 {
		t.Fact("cookie", "%d octets", len(cookie))
		if len(cookie) < 4 || len(cookie) > 16 || len(cookie)%2 != 0 {
			return nil, "malformed"
		}
		return cookie, "cookie"
	}
	return nil, "none"
}

func fastOpenCookie(t *T) string {
	_, said := t.cookie()
	switch said {
	case "refused":
		t.Unknown("a RST answers the SYN")
	case "none":
		request := append([]byte{byte(segment.KindExperiment2), 4}, fastOpenID...)
		_, a, _ := t.offer(puppet.Shape{}, puppet.MoreOptions(request))
		if a == nil {
			break
		}
		if data, found := a.Options.Find(segment.KindExperiment2); found && bytes.HasPrefix(data, fastOpenID) && len(data) > 2 {
			return "experimental"
		}
	}
	return said
}

func fastOpenData(t *T) string {
	cookie, said := t.cookie()
	if cookie == nil {
		if said == "none" {
			return "not-offered"
		}
		t.Unknown("the SYN for a cookie: %s", said)
	}
	wrong := bytes.Clone(cookie)
	for i := range wrong {
		wrong[i] ^= 0x5a
	}
	acked := func(name string, cookie []byte) int {
		p := t.Puppet()
		option := append([]byte{byte(segment.KindFastOpen), byte(2 + len(cookie))}, cookie...)
		_, a := t.Insist(p, puppet.SYNACK, func() puppet.Sent {
			return p.Send(segment.SYN, puppet.MoreOptions(option), puppet.Text(t.Octets(p, 5)))
		})
		if a == nil {
			t.Fact(name, "no answer")
			return -1
		}
		n := a.Ack.Sub(p.ISS()) - 1
		t.Fact(name, "%d of 5 octets acknowledged", n)
		return n
	}
	right, forged := acked("right_cookie", cookie), acked("wrong_cookie", wrong)
	switch {
	case forged > 0:
		return "any-cookie"
	case right > 0:
		return "accepted"
	case right < 0:
		return "dropped"
	}
	return "fallback"
}

func multipath(t *T) string {
	// Kind, length, subtype 0 and version, flags; version 0 has the key of 8 octets
	// on the SYN already.
	v1 := []byte{byte(segment.KindMPTCP), 4, 0x01, 0x01}
	v0 := append([]byte{byte(segment.KindMPTCP), 12, 0x00, 0x81}, "puppet!!"...)
	said := "plain"
	for i, option := range [][]byte{v1, v0} {
		_, a, why := t.offer(puppet.Shape{}, puppet.MoreOptions(option))
		if a == nil {
			return why
		}
		data, found := a.Options.Find(segment.KindMPTCP)
		switch {
		case !found:
		case bytes.Equal(data, option[2:]):
			return "mirrored"
		default:
			t.Fact(fmt.Sprintf("version_%d", 1-i), "%x", data[:min(2, len(data))])
			said = "mptcp"
		}
	}
	return said
}

func singleOptions(t *T) string {
	shape := func(stamps, scale, sack bool) puppet.Shape {
		s := puppet.Shape{MSS: -1, Scale: -1, NoSACK: !sack, NoTimestamps: !stamps}
		if scale {
			s.Scale = 7
		}
		return s
	}
	said := "exact"
	for _, o := range []struct {
		name                string
		stamps, scale, sack bool
	}{
		{"timestamps", true, false, false}, {"wscale", false, true, false}, {"sack", false, false, true}, {"none", false, false, false},
	} {
		p, a, why := t.offer(shape(o.stamps, o.scale, o.sack))
		if a == nil {
			t.Fact(o.name, "%s", why)
			said = "dropped"
			continue
		}
		peer := p.Peer()
		t.Fact(o.name, "%v", &a.Options)
		switch {
		case peer.Timestamps && !o.stamps || peer.Scale >= 0 && !o.scale || peer.SACK && !o.sack:
			return "unasked"
		case (peer.Timestamps != o.stamps || peer.Scale >= 0 != o.scale || peer.SACK != o.sack) && said == "exact":
			said = "partly"
		}
		p.Close()
	}
	return said
}
