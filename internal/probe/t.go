package probe

import (
	"bytes"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"rawtcp/internal/puppet"
	"rawtcp/segment"
)

// A T is one attempt at a row. Its methods are called by the goroutine of the
// row's Test, and some of them end it, as those of a testing.T do.
type T struct {
	Target  netip.AddrPort
	Service Service

	battery *Battery
	row     *Row
	stage   *puppet.Stage
	try     int // 1, 2, 3 …
	facts   []Fact
	asked   map[*puppet.Puppet]int // octets of the request that were sent
	ending  bool                   // what the service is sent makes it close, whatever the row needs
	why     string                 // of Unknown
	detail  string                 // stands behind what the outcome says
}

// Unknown ends the attempt: nothing can be said, for a reason that fits behind
// "unknown: ".
func (t *T) Unknown(format string, args ...any) {
	t.why = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// Detail makes a text stand behind what the outcome says: who, or where.
func (t *T) Detail(format string, args ...any) { t.detail = fmt.Sprintf(format, args...) }

// Try returns the number of this attempt at the row: 1, 2, 3 …
func (t *T) Try() int { return t.try }

// Fact takes down what was observed. name is in snake_case; a fact of that name
// that was taken down before is replaced.
func (t *T) Fact(name, format string, args ...any) {
	t.put(Fact{Name: name, Text: fmt.Sprintf(format, args...)})
}

// Times takes down a series of times.
func (t *T) Times(name string, times ...time.Duration) {
	t.put(Fact{Name: name, Text: timesText(times), Times: times})
}

func (t *T) put(f Fact) {
	for i := range t.facts {
		if t.facts[i].Name == f.Name {
			t.facts[i] = f
			return
		}
	}
	t.facts = append(t.facts, f)
}

// timesText is times in milliseconds, or in seconds where one is beyond ten.
func timesText(times []time.Duration) string {
	text := ""
	for i, d := range times {
		if i > 0 {
			text += " "
		}
		switch {
		case d >= 10*time.Second:
			text += fmt.Sprintf("%.1fs", d.Seconds())
		case d >= time.Second:
			text += fmt.Sprintf("%.2fs", d.Seconds())
		default:
			text += fmt.Sprintf("%.1fms", float64(d)/float64(time.Millisecond))
		}
	}
	return text
}

// Waiting tells whoever watches what a long wait is for.
func (t *T) Waiting(format string, args ...any) {
	t.battery.progress(Progress{Row: t.row, What: RowWaits, Text: fmt.Sprintf(format, args...)})
}

// Now returns the time since the Board began, as arrivals have it.
func (t *T) Now() time.Duration { return t.stage.Now() }

// Wait lets time pass.
func (t *T) Wait(d time.Duration) { t.stage.Wait(d) }

// Patience returns how long an answer may take on this path, the longest that an
// ACK may be delayed included ("the delay MUST be less than 0.5 seconds (MUST-40)",
// RFC 9293 section 3.8.6.3).
func (t *T) Patience() time.Duration { return 550*time.Millisecond + 4*t.battery.rtt() }

// rtt is the round trip of a connection's own handshake. A slow one of another row
// would make this one wait until the timers of the host run out.
func (t *T) rtt(p *puppet.Puppet) time.Duration {
	if rtt := p.RTT(); rtt > 0 {
		return rtt
	}
	return t.battery.rtt()
}

// Puppet returns a puppet for the target that has sent nothing yet.
func (t *T) Puppet(shape ...puppet.Shape) *puppet.Puppet { return t.PuppetTo(t.Target, shape...) }

// PuppetTo returns a puppet for another port of the host.
func (t *T) PuppetTo(remote netip.AddrPort, shape ...puppet.Shape) *puppet.Puppet {
	return t.stage.Puppet(remote, append(shape, puppet.Shape{})[0])
}

// Twin returns a puppet that shares the local port of another.
func (t *T) Twin(p *puppet.Puppet, remote netip.AddrPort, shape ...puppet.Shape) *puppet.Puppet {
	return t.stage.Twin(p, remote, append(shape, puppet.Shape{})[0])
}

// ClosedPort returns a port of the host where nobody answers a SYN with a
// SYN-ACK, or ends the attempt if none of a few is.
func (t *T) ClosedPort() netip.AddrPort {
	for _, port := range []uint16{1, 9, 4, 31337} {
		if port != t.Target.Port() {
			return netip.AddrPortFrom(t.Target.Addr(), port)
		}
	}
	panic("probe: all ports are the target's")
}

// Connect makes a handshake with the target, or ends the attempt. Where the path
// has lost something before, it makes sure that the handshake is complete.
func (t *T) Connect(shape ...puppet.Shape) *puppet.Puppet {
	p := t.fresh(shape...)
	if t.battery.lossy() && t.Life(p) != puppet.Alive {
		t.Unknown("the connection does not take data")
	}
	return p
}

// fresh is Connect that sends nothing but the handshake, whatever the path loses.
func (t *T) fresh(shape ...puppet.Shape) *puppet.Puppet {
	p := t.Puppet(shape...)
	if answer := p.Open(); answer != puppet.Opened {
		t.Unknown("no handshake to begin with: %v", answer)
	}
	t.battery.learn(p.RTT())
	return p
}

// prompt is Connect for a row that measures the host's timers. The host sets them by
// the round trip that it has seen, in which this host is included: where that was
// busy, or the handshake took longer than others, another connection is tried.
func (t *T) prompt(shape ...puppet.Shape) *puppet.Puppet {
	const tries, enough = 12, 2 * time.Millisecond
	for n := 1; ; n++ {
		p := t.Connect(shape...)
		late := p.Lag() + max(p.RTT()-t.battery.leastRTT(), 0)
		switch {
		case late <= enough:
			return p
		case n == tries:
			t.Fact("busy", "the handshake took %v longer than it need have: so much longer may the timers be", late)
			return p
		}
		p.Close()
		t.Wait(time.Duration(n) * 300 * time.Millisecond) // what is busy now need not be for long
	}
}

// Accept waits until the host connects to us, and returns the puppet of its SYN,
// which nobody has answered. Where nobody listens it ends the attempt.
func (t *T) Accept(shape ...puppet.Shape) *puppet.Puppet {
	if t.battery.Listen == 0 {
		t.Unknown("the host has to connect to us: --listen PORT")
	}
	d := t.stage.Door(t.battery.Listen, t.Target.Addr(), append(shape, puppet.Shape{})[0])
	t.Waiting("%v to connect to %v", t.Target.Addr(), d.Local())
	const patience = 2 * time.Minute
	p := d.Await(patience)
	if p == nil {
		t.Unknown("the host did not connect to %v within %v", d.Local(), patience)
	}
	return p
}

// Establish is Connect that has the host acknowledge some octets first: some hosts
// judge what follows the handshake at once by other rules, or not at all. A SYN
// cookie of Linux is good for the four sequence numbers behind it, too: a segment
// there would make a connection anew that has ended.
func (t *T) Establish(shape ...puppet.Shape) *puppet.Puppet {
	const octets = 8
	p := t.Connect(shape...)
	switch p.Deliver(t.Octets(p, octets)) {
	case puppet.Dead:
		t.Unknown("the service ends the connection at the first octets")
	case puppet.Mute:
		t.Unknown("the connection does not take data")
	}
	t.asked[p] += octets
	if t.battery.lossy() { // they may have left twice, and so may their ACK
		p.Collect(50*time.Millisecond + t.battery.rtt())
	}
	return p
}

// Answer waits for a segment that matches, for as long as an answer may take, and
// returns nil if none came.
func (t *T) Answer(p *puppet.Puppet, match puppet.Match) *puppet.Arrival {
	return p.Await(t.Patience(), match)
}

// script is what the service is sent in this row: a request, or what makes it
// close first.
func (t *T) script() []byte {
	if t.row.Service == ClosesFirst || t.ending {
		return t.Service.Goodbye
	}
	return t.Service.Request
}

// rest is what of the script has not been sent yet.
func (t *T) rest(p *puppet.Puppet) []byte {
	script := t.script()
	return script[min(t.asked[p], len(script)):]
}

// Octets returns the next n octets that the service would be sent, without
// counting them as sent. Behind the request, or where there is none, they are
// line feeds.
func (t *T) Octets(p *puppet.Puppet, n int) []byte {
	next := t.rest(p)
	next = next[:min(n, len(next))]
	return append(next[:len(next):len(next)], bytes.Repeat([]byte{'\n'}, n-len(next))...)
}

// Insist sends up to three times, until an answer comes, and returns what was
// sent last with its answer, or nil: for a stimulus where no answer is bad news.
func (t *T) Insist(p *puppet.Puppet, match puppet.Match, send func() puppet.Sent) (puppet.Sent, *puppet.Arrival) {
	const tries = 3
	for n := 1; ; n++ {
		sent := send()
		if a := t.Answer(p, match); a != nil || n == tries {
			return sent, a
		}
	}
}

// SYN is Insist with the SYN of a puppet: it returns the SYN-ACK or RST.
func (t *T) SYN(p *puppet.Puppet, mods ...puppet.Mod) (puppet.Sent, *puppet.Arrival) {
	return t.Insist(p, puppet.Either(puppet.SYNACK, puppet.RST), func() puppet.Sent { return p.Send(segment.SYN, mods...) })
}

// Life asks a connection whether it lives: with one octet of data, sent again
// until something comes. The octets are the first of the service's request.
func (t *T) Life(p *puppet.Puppet) puppet.Life {
	life := p.Deliver(t.Octets(p, 1))
	if life == puppet.Alive {
		t.asked[p]++
	}
	return life
}

// Lives is Life that ends the attempt when the connection falls silent.
func (t *T) Lives(p *puppet.Puppet) bool {
	switch t.Life(p) {
	case puppet.Alive:
		return true
	case puppet.Dead:
		return false
	}
	t.Unknown("the connection fell silent")
	return false
}

// Request sends the rest of the service's request, again until it is
// acknowledged, or ends the attempt. The answer is not acknowledged.
func (t *T) Request(p *puppet.Puppet) {
	rest := t.rest(p)
	if len(rest) == 0 {
		t.Unknown("there is no request to send")
	}
	if p.Deliver(rest) != puppet.Alive {
		t.Unknown("the request was not acknowledged")
	}
	t.asked[p] += len(rest)
}

// Flight sends the request and returns the segments with data that come before
// we acknowledge any, until nothing has come for as long as half an RTO is. It
// ends the attempt if none came.
func (t *T) Flight(p *puppet.Puppet) []*puppet.Arrival {
	t.Request(p)
	return t.Rest(p)
}

// Rest is Flight after the request.
func (t *T) Rest(p *puppet.Puppet) []*puppet.Arrival {
	const pause = 120 * time.Millisecond // less than any RTO
	p.Await(t.Patience()+2*time.Second, puppet.Data)
	for p.Await(pause+t.rtt(p), puppet.Data) != nil {
		// an arrival extends the wait
	}
	var flight []*puppet.Arrival
	for _, a := range p.Arrivals() {
		if puppet.Data(a) {
			flight = append(flight, a)
		}
	}
	if len(flight) == 0 {
		t.Unknown("the service sent no data")
	}
	return flight
}

// Largest returns the most octets of payload in one segment. What the network
// card of this host may have merged of several segments has an unfinished
// checksum: it ends the attempt if it is above limit.
func (t *T) Largest(flight []*puppet.Arrival, limit int) int {
	largest := 0
	for _, a := range flight {
		if len(a.Payload) > limit && a.Checksum == segment.ChecksumPartial {
			t.Unknown("this host merges segments before they can be measured: ethtool -K IFACE gro off lro off")
		}
		largest = max(largest, len(a.Payload))
	}
	return largest
}

// octets returns how many octets of the stream a flight holds, what came twice
// counted once.
func octets(flight []*puppet.Arrival) int {
	first, end := flight[0].Seq, flight[0].Seq
	for _, a := range flight {
		first = segment.MinSeq(first, a.Seq)
		end = segment.MaxSeq(end, a.Seq.Add(len(a.Payload)))
	}
	return end.Sub(first)
}

// sizeText is " asked:got", for a list of them.
func sizeText(asked, got int) string { return fmt.Sprintf(" %d:%d", asked, got) }

// Rel is a sequence number of ours relative to our ISN.
func Rel(p *puppet.Puppet, n segment.Seq) int { return n.Sub(p.ISS()) }

// PeerRel is a sequence number of the peer's relative to its ISN.
func PeerRel(p *puppet.Puppet, n segment.Seq) int { return n.Sub(p.IRS()) }
