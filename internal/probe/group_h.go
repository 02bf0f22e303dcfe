package probe

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"rawtcp/internal/puppet"
	"rawtcp/segment"
)

// groupH: identity and randomness.
var groupH = []*Row{
	{
		ID: "H1", Name: "isn",
		Question: "Can the initial sequence number of another connection be guessed?",
		Stimulus: "SYNs from twelve ports, and four from one port, each taken back with a RST",
		Clauses:  []Clause{rfc(9293, "3.4.1", "SHLD-1"), rfc(9293, "3.4.1", "MUST-8"), rfc(6528, "3")},
		Risk:     Safe, Takes: 6 * time.Second, Needs: []Field{FieldSeq},
		Outcomes: []Outcome{
			{Key: "random", Verdict: Pass, Says: "no rule from port to port, a clock for the same port"},
			{Key: "unclocked", Verdict: Note, Rule: rfc(9293, "3.4.1", "MUST-8"), LikeLoss: true, Says: "no rule from port to port, and no clock for the same port either: a SYN cookie, or chance alone"},
			{Key: "predictable", Verdict: Vulnerable, Says: "each is a little above the one before: anybody can guess the next"},
			{Key: "constant", Verdict: Vulnerable, Says: "all are the same"},
		},
		Test: initialNumbers,
	},
	{
		ID: "H2", Name: "timestamp-clock",
		Question: "What does the clock of the timestamps tell?",
		Stimulus: "octets over two seconds on one connection, and three more connections",
		Clauses:  []Clause{rfc(7323, "5.4"), rfc(7323, "7.1")},
		Risk:     Safe, Takes: 3 * time.Second, Needs: []Field{FieldStamps},
		Outcomes: []Outcome{
			{Key: "private", Verdict: Pass, Says: "1 to 1000 ticks a second, from another start on each connection"},
			{Key: "shared", Verdict: Note, Rule: rfc(7323, "7.1"), Says: "one clock for all connections: it tells the uptime and who is behind one address"},
			{Key: "fast", Verdict: Note, Says: "more than 1000 ticks a second"},
			{Key: "stopped", Verdict: Fail, Says: "less than one tick in two seconds"},
			{Key: "none", Verdict: Note, Says: "the host does not use timestamps"},
		},
		Test: stampClock,
	},
	{
		ID: "H3", Name: "ip-id",
		Question: "What does the identification field of IPv4 tell?",
		Stimulus: "SYNs from six ports to the open port and to a closed one",
		Clauses:  []Clause{rfc(6864, "4.1")},
		Risk:     Safe, Takes: 3 * time.Second, Needs: []Field{FieldIPID},
		Outcomes: []Outcome{
			{Key: "zero", Verdict: Pass, Says: "nothing: it is zero, or there is none (IPv6)"},
			{Key: "random", Verdict: Pass, Says: "nothing: the values have no rule"},
			{Key: "mixed", Verdict: Pass, Says: "little: some are zero, the others have no rule"},
			{Key: "counter", Verdict: Note, Says: "how many packets the host sends: one counter for all, of use to an idle scan"},
		},
		Test: ipIDs,
	},
	{
		ID: "H4", Name: "stack-print",
		Question: "Which stack is it?",
		Stimulus: "a SYN and a few seconds of silence, SYNs from one port, one to a closed port",
		Clauses:  []Clause{rfc(9293, "3.4.1"), rfc(6298, "5")},
		Risk:     Safe, Takes: 9 * time.Second,
		Outcomes: []Outcome{
			{Key: "printed", Verdict: Note, Says: "its print is among the facts"},
			{Key: "partly", Verdict: Note, LikeLoss: true, Says: "its print is among the facts, with question marks where nothing came"},
		},
		Test: stackPrint,
	},
	{
		ID: "H5", Name: "one-host",
		Question: "Is it one host that answers, or several behind one address?",
		Stimulus: "eight SYNs from different ports; the SYN-ACKs are compared",
		Clauses:  []Clause{rfc(9293, "3.10.7.2"), rfc(7323, "5.4")},
		Risk:     Safe, Takes: 2 * time.Second,
		Outcomes: []Outcome{
			{Key: "alike", Verdict: Pass, Says: "all SYN-ACKs are of one kind"},
			{Key: "several", Verdict: Note, Says: "SYN-ACKs of different kinds: several hosts, or several paths"},
		},
		Test: oneHost,
	},
}

// A sample is a number of the host at a moment.
type sample struct {
	at    time.Duration
	value uint32
}

// synACKs opens n handshakes from fresh ports, one after the other, and returns
// the SYN-ACKs. What is not answered is left out.
func (t *T) synACKs(n int) (answers []*puppet.Arrival) {
	for range n {
		p := t.Puppet()
		p.Send(segment.SYN)
		if a := t.Answer(p, puppet.SYNACK); a != nil {
			answers = append(answers, a)
		}
		p.Close()
	}
	return answers
}

func initialNumbers(t *T) string {
	const ports = 12
	answers := t.synACKs(ports)
	if len(answers) < ports/2 {
		t.Unknown("%d of %d SYNs were answered", len(answers), ports)
	}
	// An increment that is less than a sixteenth of all numbers, eleven times over,
	// is no chance; a clock of 4 microseconds stays far below it.
	const small = 1 << 28
	constant, rising := true, true
	for i := 1; i < len(answers); i++ {
		step := answers[i].Seq.Uint32() - answers[i-1].Seq.Uint32()
		constant = constant && step == 0
		rising = rising && step < small
	}
	rate := "not measured"
	if isns := t.sameTuple(); len(isns) >= 3 {
		rate = isnRate(isns)
	}
	t.Fact("same_port", "%s", rate)
	switch {
	case constant:
		return "constant"
	case rising:
		return "predictable"
	case rate == "?":
		return "unclocked"
	}
	return "random"
}

// sameTuple opens handshakes from one port until four were answered, or eight
// were not, and returns the ISNs.
func (t *T) sameTuple() (isns []sample) {
	p := t.Puppet()
	for try := 0; try < 8 && len(isns) < 4; try++ {
		if try > 0 {
			t.Wait(250 * time.Millisecond)
			p.Again()
		}
		p.Book(2)
		p.Send(segment.SYN)
		a := t.Answer(p, puppet.SYNACK)
		if a == nil {
			continue
		}
		if a.Ack == p.ISS().Add(1) { // or our RST was lost
			isns = append(isns, sample{a.At, a.Seq.Uint32()})
		}
		p.Send(segment.RST)
	}
	return isns
}

// isnRate is how fast ISNs of one 4-tuple grow, in numbers a microsecond, or "?"
// if they do not keep to a rate.
func isnRate(isns []sample) string {
	if len(isns) < 3 {
		return "?"
	}
	var rates []float64
	for i := 1; i < len(isns); i++ {
		rates = append(rates, float64(isns[i].value-isns[i-1].value)/float64((isns[i].at-isns[i-1].at).Microseconds()))
	}
	first, last := isns[0], isns[len(isns)-1]
	total := float64(last.value-first.value) / float64((last.at - first.at).Microseconds())
	for _, r := range rates {
		if math.Abs(r-total) > total/10 || total == 0 {
			return "?"
		}
	}
	return fmt.Sprintf("%.4g/us", total)
}

func stampClock(t *T) string {
	p := t.Connect()
	if !p.Peer().Timestamps {
		return "none"
	}
	for range 4 {
		if !t.Lives(p) {
			t.Unknown("the service ended the connection")
		}
		t.Wait(700 * time.Millisecond)
	}
	var stamps []sample
	for _, a := range p.Arrivals() {
		if a.Options.Has(segment.HasTimestamps) {
			stamps = append(stamps, sample{a.At, a.Options.TSVal})
		}
	}
	first, last := stamps[0], stamps[len(stamps)-1]
	hz := float64(last.value-first.value) / (last.at - first.at).Seconds()
	t.Fact("rate", "%.4g Hz", hz)
	p.Close()
	switch {
	case last.value == first.value:
		return "stopped"
	case hz > 1100: // 1000, as well as it can be measured
		return "fast"
	case t.sharesClock(first, hz):
		return "shared"
	}
	return "private"
}

// sharesClock reports whether the timestamps of other connections are on the line
// of the first, give or take a second.
func (t *T) sharesClock(first sample, hz float64) bool {
	shared, seen := true, 0
	for _, a := range t.synACKs(3) {
		if !a.Options.Has(segment.HasTimestamps) {
			continue
		}
		seen++
		expected := first.value + uint32(int64((a.At-first.at).Seconds()*hz))
		off := math.Abs(float64(int32(a.Options.TSVal - expected)))
		shared = shared && off <= math.Max(hz, 2)
	}
	return shared && seen > 1
}

func ipIDs(t *T) string {
	const each = 6
	answers := t.synACKs(each)
	closed := t.ClosedPort()
	for range each {
		p := t.PuppetTo(closed)
		p.Send(segment.SYN)
		if a := t.Answer(p, puppet.RST); a != nil {
			answers = append(answers, a)
		}
		p.Close()
	}
	if len(answers) < each {
		t.Unknown("%d answers came to %d SYNs", len(answers), 2*each)
	}
	text, zeros, rising := "", 0, true
	for i, a := range answers {
		text += fmt.Sprintf(" %d", a.IPID)
		if a.IPID == 0 {
			zeros++
		}
		if i > 0 {
			rising = rising && smallStep(answers[i-1].IPID, a.IPID)
		}
	}
	t.Fact("ip_ids", "%s", text[1:])
	switch {
	case zeros == len(answers):
		return "zero"
	case rising:
		return "counter"
	case zeros > len(answers)/3:
		return "mixed"
	}
	return "random"
}

// smallStep reports whether a counter, of either byte order, has gone a little on.
func smallStep(from, to uint16) bool {
	const little = 1000
	swapped := func(n uint16) uint16 { return n<<8 | n>>8 }
	return to-from-1 < little || swapped(to)-swapped(from)-1 < little
}

// stackPrint makes the print of a stack: what of it is not a matter of the moment,
// in seven parts that a slash divides, "?" where nothing was seen.
//
//	4/64/65160/m1460,s,t,n,w10/1.0,2.0/r64,w0,i0/15.6/1000
//	| |  |     |               |       |         |    ticks a second of the timestamps
//	| |  |     |               |       |         ISN of the same port, numbers per microsecond; "x" for no clock
//	| |  |     |               |       RST of a closed port: TTL as below, window, IP ID 0 or x
//	| |  |     |               distances of the first SYN-ACKs in seconds
//	| |  |     options of the SYN-ACK in order: m MSS, s SACK-permitted, t timestamps, n NOP, e end, w window scale, else the kind
//	| |  window of the SYN-ACK
//	| TTL or hop limit with which it left: 32, 64, 128 or 255
//	IP version
func stackPrint(t *T) string {
	p, a := t.halfOpen()
	parts := []string{
		map[bool]string{true: "4", false: "6"}[t.Target.Addr().Is4()],
		fmt.Sprint(bornTTL(a.TTL)), fmt.Sprint(a.Window), printOptions(&a.Options),
	}
	parts = append(parts, t.printSchedule(p, a), t.printRST(), t.printISN(), t.printClock(a))
	p.Close()
	t.Fact("print", "%s", strings.Join(parts, "/"))
	if slices.Contains(parts, "?") {
		return "partly"
	}
	return "printed"
}

// bornTTL is what a TTL was before routers took from it.
func bornTTL(ttl uint8) int {
	for _, usual := range []int{32, 64, 128} {
		if int(ttl) <= usual {
			return usual
		}
	}
	return 255
}

func printOptions(o *segment.Options) string {
	var parts []string
	for kind := range o.All() {
		switch kind {
		case segment.KindEOL:
			parts = append(parts, "e")
		case segment.KindNOP:
			parts = append(parts, "n")
		case segment.KindMSS:
			parts = append(parts, fmt.Sprintf("m%d", o.MSS))
		case segment.KindSACKPermitted:
			parts = append(parts, "s")
		case segment.KindTimestamps:
			parts = append(parts, "t")
		case segment.KindWindowScale:
			parts = append(parts, fmt.Sprintf("w%d", o.WindowScale))
		default:
			parts = append(parts, fmt.Sprint(uint8(kind)))
		}
	}
	if parts == nil {
		return "-"
	}
	return strings.Join(parts, ",")
}

// printSchedule is when the SYN-ACK comes again, up to two times.
func (t *T) printSchedule(p *puppet.Puppet, first *puppet.Arrival) string {
	var parts []string
	last := first.At
	for range 2 {
		a := p.Await(4*time.Second, puppet.SYNACK)
		if a == nil {
			break
		}
		parts = append(parts, fmt.Sprintf("%.0f", (a.At-last).Seconds()))
		last = a.At
	}
	if parts == nil {
		return "?"
	}
	return strings.Join(parts, ",")
}

func (t *T) printRST() string {
	p := t.PuppetTo(t.ClosedPort())
	defer p.Close()
	_, a := t.Insist(p, puppet.RST, func() puppet.Sent { return p.Send(segment.SYN) })
	if a == nil {
		return "?"
	}
	return fmt.Sprintf("r%d,w%d,i%s", bornTTL(a.TTL), a.Window, map[bool]string{true: "0", false: "x"}[a.IPID == 0])
}

func (t *T) printISN() string {
	isns := t.sameTuple()
	rate := strings.TrimSuffix(isnRate(isns), "/us")
	if rate == "?" && len(isns) >= 3 {
		return "x"
	}
	return rate
}

// printClock is the rate of the timestamps, measured on a connection of its own:
// each may have another start. first says whether there are any.
func (t *T) printClock(first *puppet.Arrival) string {
	if !first.Options.Has(segment.HasTimestamps) {
		return "-"
	}
	p := t.Connect()
	defer p.Close()
	var stamps []sample
	for range 2 {
		if t.Life(p) != puppet.Alive {
			return "?"
		}
		all := p.Arrivals()
		last := all[len(all)-1]
		if !last.Options.Has(segment.HasTimestamps) {
			return "?"
		}
		stamps = append(stamps, sample{last.At, last.Options.TSVal})
		t.Wait(time.Second)
	}
	hz := float64(stamps[1].value-stamps[0].value) / (stamps[1].at - stamps[0].at).Seconds()
	return fmt.Sprint(roundRate(hz))
}

// roundRate is the usual rate that one measured over a second stands for.
func roundRate(hz float64) int {
	for _, usual := range []int{1, 2, 10, 100, 200, 250, 500, 1000, 1000000} {
		if math.Abs(hz-float64(usual)) <= float64(usual)/10 {
			return usual
		}
	}
	return int(hz)
}

func oneHost(t *T) string {
	const conns = 8
	answers := t.synACKs(conns)
	if len(answers) < conns/2 {
		t.Unknown("%d of %d SYNs were answered", len(answers), conns)
	}
	kinds := map[string]int{}
	for _, a := range answers {
		kinds[fmt.Sprintf("%d/%d/%s", a.TTL, a.Window, printOptions(&a.Options))]++
	}
	i := 0
	for kind, n := range kinds {
		i++
		t.Fact(fmt.Sprintf("kind_%d", i), "%s, %d times", kind, n)
	}
	if len(kinds) > 1 {
		return "several"
	}
	return "alike"
}
