package engine

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"rawtcp/segment"
)

// A stage is what changes from one performance of a script to the next: the
// numbers and the addresses, of which the text must not depend.
type stage struct {
	name     string
	iss, irs uint32
	ipv6     bool
}

var stages = []stage{
	{name: "plain", iss: 5_000_000, irs: 1_000_000},
	{name: "wrap", iss: 0xffff_fe00, irs: 0xffff_fd00}, // within the first segment of data
	{name: "wrap-at-SYN", iss: 0xffff_ffff, irs: 0xffff_ffff},
	{name: "sign", iss: 0x7fff_f800, irs: 0x7fff_ff00}, // of a 32-bit number
	{name: "IPv6", iss: 5_000_000, irs: 1_000_000, ipv6: true},
}

// A play performs one script. All that the engine sends and every state it
// enters is kept until the script tells it.
type play struct {
	s        *script
	stage    stage
	stack    *Stack
	listener *Listener
	cfg      ListenConfig // .Conn is that of the connection
	mtu      int
	now      Time
	zero     Time // the talk's 0.000
	iss, irs segment.Seq
	local    netip.AddrPort
	parties  map[byte]*party
	sent     []sentText // by the engine and not told by the script yet
	log      []string
}

// A party is one conversation of a play: a peer, and our connection with it.
type party struct {
	remote  netip.AddrPort
	conn    *Conn
	tsBase  uint32 // of our timestamps, at the talk's zero
	written int    // octets
	read    int
	told    ConnEvents
	changes []State // not told by the script yet
}

type sentText struct {
	label byte
	text  string
}

// newPlay makes the stack and its settings; nothing was said yet.
func newPlay(s *script, at stage) (*play, error) {
	k := &play{s: s, stage: at, now: Time(time.Second), parties: map[byte]*party{}, mtu: 1500,
		iss: segment.MakeSeq(at.iss), irs: segment.MakeSeq(at.irs),
		local: netip.MustParseAddrPort("198.18.0.1:1000")}
	if at.ipv6 {
		k.local = netip.MustParseAddrPort("[2001:db8::1]:1000")
	}
	k.cfg.Conn = ConnConfig{Timestamps: Off, ISN: &k.iss, Congestion: "reno", LossProbe: Off, SendBuffer: 1 << 20, ReceiveBuffer: 1 << 20}
	for _, set := range s.settings {
		if err := k.set(set); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", s.file, set.line, err)
		}
	}
	if at.ipv6 {
		k.mtu += 20 // the MSS is that of the IPv4 stages
	}
	k.zero = k.now.Add(s.given.rtt)
	k.stack = NewStack(StackConfig{Secret: [32]byte{1}, Tracer: k})
	return k, nil
}

// set takes a field of ConnConfig or ListenConfig, or MTU.
func (k *play) set(set setting) error {
	if set.name == "MTU" {
		n, err := strconv.Atoi(set.value)
		k.mtu = n
		return err
	}
	f := reflect.ValueOf(&k.cfg.Conn).Elem().FieldByName(set.name)
	if !f.IsValid() {
		f = reflect.ValueOf(&k.cfg).Elem().FieldByName(set.name)
	}
	if !f.IsValid() {
		return fmt.Errorf("there is no setting %q", set.name)
	}
	switch v := f.Addr().Interface().(type) {
	case *time.Duration:
		d, err := time.ParseDuration(set.value)
		*v = d
		return err
	case *Switch:
		*v = map[string]Switch{"on": On, "off": Off}[set.value]
		if *v == Default {
			return fmt.Errorf("%s is on or off, not %q", set.name, set.value)
		}
	case *bool:
		b, err := strconv.ParseBool(set.value)
		*v = b
		return err
	case *string:
		*v = set.value
	case *[]segment.Kind:
		for _, word := range strings.Fields(set.value) {
			n, err := strconv.ParseUint(word, 10, 8)
			if err != nil {
				return err
			}
			*v = append(*v, segment.Kind(n))
		}
	default:
		n, err := strconv.ParseInt(set.value, 10, 32)
		if err != nil {
			return err
		}
		if f.CanUint() {
			f.SetUint(uint64(n))
		} else {
			f.SetInt(n)
		}
	}
	return nil
}

// party returns the conversation of a label.
func (k *play) party(label byte) *party {
	p := k.parties[label]
	if p == nil {
		addr := "198.18.0.2"
		if k.stage.ipv6 {
			addr = "2001:db8::2"
		}
		p = &party{remote: netip.AddrPortFrom(netip.MustParseAddr(addr), 8000+uint16(label-'a'))}
		p.tsBase = timestampAt(k.zero, k.stack.secrets.tsOffset(k.local, p.remote))
		k.parties[label] = p
	}
	if c := k.stack.conns.find(k.local, p.remote); c != nil {
		p.conn = c
	}
	if p.conn != nil && p.conn.OnEvent == nil {
		p.conn.OnEvent = func(e ConnEvents) { p.told |= e }
	}
	return p
}

func (k *play) labelOf(remote netip.AddrPort) byte { return 'a' + byte(remote.Port()-8000) }

// state is that of a conversation, a half-open one included.
func (k *play) state(label byte) State {
	p := k.party(label)
	if k.listener != nil {
		if k.listener.find(k.local, p.remote) != nil {
			return SynReceived
		}
		if p.conn == nil && !k.listener.closed {
			return Listen
		}
	}
	if p.conn == nil {
		return Closed
	}
	return p.conn.state
}

// Trace keeps the ladder for a failure, and the changes of state.
func (k *play) Trace(e *Event) {
	at := e.At.Sub(k.zero).Seconds()
	line := ""
	switch e.Kind {
	case EventSegmentOut:
		line = fmt.Sprintf("> %s  %s %s (%s)", k.show(e.Segment, true), e.State, e.Note, e.Reason)
	case EventSegmentIn:
		line = fmt.Sprintf("< %s  %s %s", k.show(e.Segment, false), e.State, e.Note)
	case EventState:
		line = fmt.Sprintf("  state %s (%s)", e.To, e.Reason)
		p := k.party(k.labelOf(e.Remote))
		p.changes = append(p.changes, e.To)
	case EventTimerFired:
		line = fmt.Sprintf("  timer %s fires", e.Timer)
	case EventDrop:
		line = "  dropped: " + e.Reason
	case EventICMP:
		line = fmt.Sprintf("  icmp %d/%d: %s", e.ICMP.Type, e.ICMP.Code, e.Reason)
	default:
		return
	}
	label := ""
	if e.Remote.IsValid() && len(k.parties) > 1 {
		label = string(k.labelOf(e.Remote)) + ": "
	}
	k.log = append(k.log, fmt.Sprintf("%10.6f %s%s", at, label, line))
}

// show writes a segment with relative numbers.
func (k *play) show(s *segment.Segment, ours bool) string {
	own, other := k.irs, k.iss
	remote := s.Src
	if ours {
		own, other, remote = k.iss, k.irs, s.Dst
	}
	if s.Flags.Has(segment.RST) && !s.Flags.Has(segment.ACK) {
		other = segment.Seq{}
	}
	c := *s
	if c.Options.Len() > 0 {
		c.Options.Raw = k.relativeTimes(s, ours, k.party(k.labelOf(remote)).tsBase)
	}
	return string(c.AppendText(nil, segment.Relative{Seq: own, Ack: other}))
}

// relativeTimes returns the options of s as on the wire, with our timestamps in
// milliseconds since the talk's zero.
func (k *play) relativeTimes(s *segment.Segment, ours bool, base uint32) []byte {
	raw := slices.Clone(s.Options.Raw)
	if raw == nil {
		var laidOut segment.Segment
		whole := segment.Segment{Src: s.Src, Dst: s.Dst, Options: s.Options}
		pkt, err := whole.Append(nil)
		if err != nil || laidOut.Parse(pkt) != nil {
			return nil
		}
		raw = slices.Clone(laidOut.Options.Raw)
	}
	shiftTimes(raw, ours, s.Flags.Has(segment.ACK), -base)
	return raw
}

// shiftTimes adds to our timestamp in an option area: TSval in a segment of
// ours, TSecr in one of the peer that acknowledges anything.
func shiftTimes(raw []byte, ours, acks bool, by uint32) {
	for data := range optionsOf(raw, segment.KindTimestamps) {
		if len(data) != 8 {
			continue
		}
		if v := binary.BigEndian.Uint32(data); ours && v != 0 {
			binary.BigEndian.PutUint32(data, v+by)
		} else if !ours && acks {
			binary.BigEndian.PutUint32(data[4:], binary.BigEndian.Uint32(data[4:])+by)
		}
	}
}

// shiftBlocks adds to every number of the SACK options of an option area.
func shiftBlocks(raw []byte, by uint32) {
	for data := range optionsOf(raw, segment.KindSACK) {
		for ; len(data) >= 4; data = data[4:] {
			binary.BigEndian.PutUint32(data, binary.BigEndian.Uint32(data)+by)
		}
	}
}

func optionsOf(raw []byte, kind segment.Kind) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for k, data := range (&segment.Options{Raw: raw}).All() {
			if k == kind && !yield(data) {
				return
			}
		}
	}
}

// streamOctet is the octet that stands at a relative sequence number, of the
// peer's stream or of ours.
func streamOctet(at int, ours bool) byte {
	b := byte(at) + 7*byte(at>>8)
	if ours {
		b = ^b
	}
	return b
}

// packet is a segment of the peer as on the wire.
func (k *play) packet(p *party, s segment.Segment, h header) ([]byte, error) {
	s.Src, s.Dst, s.TTL, s.TOS = p.remote, k.local, h.ttl, h.tos
	if h.from.IsValid() {
		s.Src = h.from
	}
	if h.to.IsValid() {
		s.Dst = h.to
	}
	first := int(int32(s.Seq.Uint32()))
	if s.Flags.Has(segment.SYN) {
		first++
	}
	for i := range s.Payload {
		s.Payload[i] = streamOctet(first+i, false)
		if h.other {
			s.Payload[i] ^= 0x55
		}
	}
	s.Seq = s.Seq.Add(int(k.irs.Uint32()))
	if s.Flags.Has(segment.ACK) {
		s.Ack = s.Ack.Add(int(k.iss.Uint32()))
	}
	shiftTimes(s.Options.Raw, false, s.Flags.Has(segment.ACK), p.tsBase)
	shiftBlocks(s.Options.Raw, k.iss.Uint32())
	pkt, err := s.Append(nil)
	if err != nil {
		return nil, err
	}
	tcp := segment.IPv4HeaderLen
	if k.stage.ipv6 {
		tcp = segment.IPv6HeaderLen
	}
	if h.offset != 0 {
		pkt[tcp+12] = byte(h.offset)<<4 | pkt[tcp+12]&15
		h.badChecksum = false
	}
	if h.badChecksum {
		pkt[tcp+17] ^= 1
	}
	if h.partial {
		binary.BigEndian.PutUint16(pkt[tcp+16:], pseudoSum(&s, len(pkt)-tcp))
	}
	return pkt[:len(pkt)-h.cut], nil
}

// pseudoSum is what stands in the checksum's place before a packet leaves its machine.
func pseudoSum(s *segment.Segment, length int) uint16 {
	header := append(s.Src.Addr().AsSlice(), s.Dst.Addr().AsSlice()...)
	return segment.Sum(append(header, 0, 6, byte(length>>8), byte(length)), 0)
}

// drain takes all that the engine has to send.
func (k *play) drain() error {
	var s segment.Segment
	for k.stack.Transmit(k.now, &s) {
		pkt, err := s.Append(nil)
		if err != nil {
			return fmt.Errorf("the engine sent what cannot be built: %w", err)
		}
		var wire segment.Segment
		if err := wire.Parse(pkt); err != nil || wire.Checksum != segment.ChecksumOK {
			return fmt.Errorf("the engine sent what cannot be read: %v, checksum %v", err, wire.Checksum)
		}
		label := k.labelOf(s.Dst)
		if err := k.checkPayload(&wire); err != nil {
			return err
		}
		text := k.show(&wire, true)
		k.sent = append(k.sent, sentText{label, headerText(wire.TOS, wire.TTL) + text})
		if len(k.sent) > 500 {
			return fmt.Errorf("the engine does not stop sending")
		}
	}
	k.refresh()
	return nil
}

func (k *play) refresh() {
	for _, label := range slices.Sorted(mapsKeys(k.parties)) {
		k.party(label)
	}
}

func mapsKeys(m map[byte]*party) func(func(byte) bool) {
	return func(yield func(byte) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// checkPayload: each octet stands where it belongs in the stream.
func (k *play) checkPayload(s *segment.Segment) error {
	first := s.Seq.Sub(k.iss)
	if s.Flags.Has(segment.SYN) {
		first++
	}
	for i, b := range s.Payload {
		if b != streamOctet(first+i, true) {
			return fmt.Errorf("octet %d of the stream was sent with another value", first+i)
		}
	}
	return nil
}

func headerText(tos, ttl uint8) string {
	text := ""
	if tos != 0 {
		text = fmt.Sprintf("[tos %d] ", tos)
	}
	if ttl != 64 {
		text += fmt.Sprintf("[ttl %d] ", ttl)
	}
	return text
}

// moveTo lets time pass; every timer fires at its own moment. What is sent on
// the way must be told by a line of that moment.
func (k *play) moveTo(t Time) error {
	if t < k.now {
		return fmt.Errorf("the line's time has passed: it is %.6f", k.now.Sub(k.zero).Seconds())
	}
	for {
		if due := k.stack.Deadline(); due != 0 && due <= t {
			k.now = max(due, k.now)
			k.stack.Advance(k.now)
			if err := k.drain(); err != nil {
				return err
			}
		} else {
			k.now = t
			return nil
		}
		if k.now < t {
			if err := k.untold(); err != nil {
				return err
			}
		}
	}
}

// untold says what happened that the script does not tell.
func (k *play) untold() error {
	at := k.now.Sub(k.zero).Seconds()
	if len(k.sent) > 0 {
		return fmt.Errorf("at %.6f the engine sent what the talk does not tell:\n got   > %s", at, k.sent[0].text)
	}
	for _, label := range slices.Sorted(mapsKeys(k.parties)) {
		if p := k.parties[label]; len(p.changes) > 0 {
			return fmt.Errorf("at %.6f %c came to %s, which the talk does not tell", at, label, p.changes[0])
		}
	}
	return nil
}

// perform runs the script from its given state to its end.
func (k *play) perform() (failed *step, err error) {
	for i := range k.s.steps {
		st := &k.s.steps[i]
		if st.timed {
			t := k.zero.Add(st.at)
			if st.relative {
				t = k.now.Add(st.at)
			}
			if t > k.now { // what belongs to this moment must have been told
				if err := k.untold(); err != nil {
					return st, err
				}
			}
			if err := k.moveTo(t); err != nil {
				return st, err
			}
		}
		v := verbs[st.verb]
		if v.stimulus && !st.with {
			if err := k.untold(); err != nil {
				return st, err
			}
			for _, p := range k.parties {
				p.told = 0
			}
		}
		if err := v.run(k, st); err != nil {
			return st, err
		}
		last := i+1 == len(k.s.steps) || !k.s.steps[i+1].with
		if v.stimulus && last {
			if err := k.drain(); err != nil {
				return st, err
			}
		}
	}
	return nil, k.untold()
}

// report makes a failure readable: the line, what is wrong, the ladder so far.
func (k *play) report(failed *step, err error) string {
	line, text := k.s.line, "the end of the talk"
	if failed != nil {
		line, text = failed.line, failed.text
	}
	return fmt.Sprintf("%s:%d: %s\n at    %s\n %v\nthe talk so far (%s, %s):\n%s", k.s.file, line, k.s.title, text, err,
		k.s.clause, k.stage.name, strings.Join(k.log, "\n"))
}

// leastTalks is how many conversations there must be at least.
const leastTalks = 700

// TestTalks performs every conversation below testdata/talks, on every stage.
func TestTalks(t *testing.T) {
	scripts := loadScripts(t)
	titles := map[string]bool{}
	for _, s := range scripts {
		name := s.topic + "/" + s.title
		if titles[name] {
			t.Errorf("%s:%d: there are two talks %q", s.file, s.line, name)
		}
		titles[name] = true
		t.Run(name, func(t *testing.T) {
			for _, at := range stages {
				if at.ipv6 && s.only == "IPv4" || !at.ipv6 && s.only == "IPv6" {
					continue
				}
				if fault := performOn(s, at); fault != "" {
					t.Fatal(fault)
				}
			}
		})
	}
	t.Logf("%d conversations, each on %d stages", len(scripts), len(stages))
	if len(scripts) < leastTalks {
		t.Errorf("%d conversations; there were at least %d", len(scripts), leastTalks)
	}
}

// performOn performs one script and returns what is wrong.
func performOn(s *script, at stage) string {
	k, err := newPlay(s, at)
	if err == nil {
		err = k.construct()
	}
	if err != nil {
		return fmt.Sprintf("%s:%d: %s: %v", s.file, s.given.line, s.title, err)
	}
	real, err := newPlay(s, at)
	if err == nil {
		err = real.reach()
	}
	if err != nil {
		return fmt.Sprintf("%s:%d: %s: %v", s.file, s.given.line, s.title, err)
	}
	if diff := differences(k.stack, real.stack); len(diff) > 0 {
		return fmt.Sprintf("%s:%d: %s (%s): the constructed %s is not the real one:\n%s", s.file, s.given.line, s.title, at.name,
			s.given.state, strings.Join(diff, "\n"))
	}
	if failed, err := k.perform(); err != nil {
		return k.report(failed, err)
	}
	return ""
}
