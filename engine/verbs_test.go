package engine

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"rawtcp/segment"
)

// A verb is what one word of the notation does. A stimulus is something done to
// the engine, after which it may speak; the others look.
type verb struct {
	stimulus bool
	run      func(k *play, st *step) error
}

// verbs are the words of docs/talks.md.
var verbs map[string]verb

func init() {
	verbs = map[string]verb{
		"<":              {true, (*play).receive},
		"icmp":           {true, (*play).icmp},
		"connect":        {true, (*play).connect},
		"accept":         {true, (*play).accept},
		"write":          {true, (*play).write},
		"read":           {true, (*play).read},
		"close":          {true, onConn(func(k *play, c *Conn) { c.Close(k.now) })},
		"half-close":     {true, onConn(func(k *play, c *Conn) { c.CloseWrite(k.now) })},
		"abort":          {true, onConn(func(k *play, c *Conn) { c.Abort(k.now) })},
		"abandon":        {true, onConn(func(k *play, c *Conn) { c.Abandon(k.now) })},
		"close-listener": {true, (*play).closeListener},
		">":              {false, (*play).want},
		"state":          {false, (*play).wantState},
		"error":          {false, (*play).wantError},
		"timer":          {false, (*play).wantTimer},
		"told":           {false, (*play).wantTold},
		"urgent":         {false, (*play).wantUrgent},
		"is":             {false, (*play).wantVar},
		"count":          {false, (*play).wantCount},
		"quiet":          {false, (*play).quiet},
	}
}

// errorNames are the words for how things end.
var errorNames = map[string]error{
	"refused": ErrRefused, "reset": ErrReset, "timeout": ErrTimeout, "unreachable": ErrUnreachable, "aborted": ErrAborted,
	"closing": ErrClosing, "in-use": ErrInUse, "bad-address": ErrBadAddress, "eof": io.EOF, "none": nil,
}

func sameError(name string, err error) error {
	want, known := errorNames[name]
	switch {
	case !known:
		return fmt.Errorf("unknown error %q", name)
	case want == nil && err == nil, want != nil && errors.Is(err, want):
		return nil
	}
	return fmt.Errorf(" want  error %s\n got   %v", name, err)
}

func onConn(f func(*play, *Conn)) func(*play, *step) error {
	return func(k *play, st *step) error {
		c, err := k.conn(st)
		if err == nil && st.rest != "" {
			err = fmt.Errorf("unknown word %q", st.rest)
		}
		if err == nil {
			k.note(st)
			f(k, c)
		}
		return err
	}
}

func (k *play) conn(st *step) (*Conn, error) {
	if p := k.party(st.label); p.conn != nil {
		return p.conn, nil
	}
	return nil, fmt.Errorf("there is no connection yet")
}

// note writes a user's call into the ladder.
func (k *play) note(st *step) {
	k.log = append(k.log, fmt.Sprintf("%10.6f   %s %s", k.now.Sub(k.zero).Seconds(), st.verb, st.rest))
}

func (k *play) receive(st *step) error {
	s, h, err := readSegment(st.rest)
	if err != nil {
		return err
	}
	pkt, err := k.packet(k.party(st.label), s, h)
	if err != nil {
		return err
	}
	k.stack.Deliver(k.now, pkt, 0)
	return nil
}

// want takes the next segment that was sent and compares all of it.
func (k *play) want(st *step) error {
	s, h, err := readSegment(st.rest)
	if err != nil {
		return err
	}
	want := sentText{st.label, headerText(h.tos, h.ttl) + string(s.AppendText(nil, segment.Relative{}))}
	if len(k.sent) == 0 {
		return fmt.Errorf("nothing was sent\n want  > %s", want.text)
	}
	got := k.sent[0]
	k.sent = k.sent[1:]
	if got != want {
		return fmt.Errorf("want %c: > %s\n got   %c: > %s", want.label, want.text, got.label, got.text)
	}
	return nil
}

// wantState takes the next change of state, or if there was none looks where we are.
func (k *play) wantState(st *step) error {
	p := k.party(st.label)
	got := k.state(st.label)
	if len(p.changes) > 0 {
		got = p.changes[0]
		p.changes = p.changes[1:]
	}
	if got.String() != st.rest {
		return fmt.Errorf("want  state %s\n got   state %s", st.rest, got)
	}
	return nil
}

func (k *play) wantError(st *step) error {
	c, err := k.conn(st)
	if err != nil {
		return err
	}
	return sameError(st.rest, c.Err())
}

// connect dials; "connect fails in-use" wants a refusal.
func (k *play) connect(st *step) error {
	p := k.party(st.label)
	k.note(st)
	c, err := k.stack.Dial(k.now, k.local, p.remote, k.mtu, k.cfg.Conn)
	if name, ok := strings.CutPrefix(st.rest, "fails "); ok {
		return sameError(name, err)
	}
	if err == nil {
		p.conn = c
		k.party(st.label)
	}
	return err
}

func (k *play) accept(st *step) error {
	if k.listener == nil {
		return fmt.Errorf("there is no listener")
	}
	k.note(st)
	c := k.listener.Accept()
	if nothing := st.rest == "nothing"; nothing || c == nil {
		if nothing != (c == nil) {
			return fmt.Errorf("a connection waits: %v, want %v", c != nil, !nothing)
		}
		return nil
	}
	if got := k.labelOf(c.remote); got != st.label {
		return fmt.Errorf("the connection of %c was accepted, want %c", got, st.label)
	}
	k.party(st.label).conn = c
	return nil
}

func (k *play) closeListener(st *step) error {
	k.note(st)
	k.listener.Close(k.now)
	return nil
}

// write is "write N", "write N urgent", "write N takes M", "write N fails closing".
func (k *play) write(st *step) error {
	c, err := k.conn(st)
	if err != nil {
		return err
	}
	k.note(st)
	words := append(strings.Fields(st.rest), "", "")
	n, err := strconv.Atoi(words[0])
	if err != nil {
		return err
	}
	p := k.party(st.label)
	octets := make([]byte, n)
	for i := range octets {
		octets[i] = streamOctet(1+p.written+i, true)
	}
	write := c.Write
	takes, fails := n, "none"
	switch words[1] {
	case "":
	case "urgent":
		write = c.WriteUrgent
	case "takes":
		if takes, err = strconv.Atoi(words[2]); err != nil {
			return err
		}
	case "fails":
		takes, fails = 0, words[2]
	default:
		return fmt.Errorf("unknown word %q", words[1])
	}
	got, err := write(k.now, octets)
	p.written += got
	if got != takes {
		return fmt.Errorf("took %d octets, want %d: %v", got, takes, err)
	}
	return sameError(fails, err)
}

// read is "read N" (all there is), "read N of more", "read N other",
// "read nothing" or "read fails eof".
func (k *play) read(st *step) error {
	c, err := k.conn(st)
	if err != nil {
		return err
	}
	k.note(st)
	p := k.party(st.label)
	how := ""
	n := 0
	switch words := strings.SplitN(st.rest, " ", 2); {
	case st.rest == "nothing":
	case words[0] == "fails" && len(words) == 2:
		got, err := c.Read(k.now, make([]byte, 1))
		if got != 0 {
			return fmt.Errorf("read %d octets, want an error", got)
		}
		return sameError(words[1], err)
	default:
		if n, err = strconv.Atoi(words[0]); err != nil {
			return err
		}
		if len(words) == 2 {
			how = words[1]
		}
	}
	room := n + 1
	switch how {
	case "", "other":
	case "of more":
		room = n
	default:
		return fmt.Errorf("unknown word %q", how)
	}
	octets := make([]byte, room)
	got, err := c.Read(k.now, octets)
	if got != n || err != nil {
		return fmt.Errorf("read %d octets, want %d: %v", got, n, err)
	}
	for i, b := range octets[:n] {
		want := streamOctet(1+p.read+i, false)
		if how == "other" {
			want ^= 0x55
		}
		if b != want {
			return fmt.Errorf("octet %d of the stream has another value", 1+p.read+i)
		}
	}
	p.read += n
	return nil
}

// icmp is "icmp 3/4 mtu 1000 about 1:1001": an error from a router about
// a packet of ours.
func (k *play) icmp(st *step) error {
	words := strings.Fields(st.rest)
	m := ICMP{From: netip.MustParseAddr("198.18.0.254")}
	about, length := "0", 0
	var err error
	for len(words) > 0 && err == nil {
		switch word := words[0]; {
		case word == "mtu" && len(words) > 1:
			m.MTU, err = strconv.Atoi(words[1])
			words = words[1:]
		case word == "about" && len(words) > 1:
			about = words[1]
			words = words[1:]
		default:
			_, err = fmt.Sscanf(word, "%d/%d", &m.Type, &m.Code)
		}
		words = words[1:]
	}
	if err != nil {
		return err
	}
	first, last, ranged := strings.Cut(about, ":")
	seq, err := strconv.Atoi(first)
	if err != nil {
		return err
	}
	if ranged {
		if length, err = strconv.Atoi(last); err != nil {
			return err
		}
		length -= seq
	}
	s := segment.Segment{Src: k.local, Dst: k.party(st.label).remote, Seq: k.iss.Add(seq), Flags: segment.ACK, Payload: make([]byte, length)}
	pkt, err := s.Append(nil)
	if err != nil {
		return err
	}
	header := len(pkt) - length - segment.TCPHeaderLen
	m.Quoted = pkt[:header+8]
	k.stack.DeliverICMP(k.now, m)
	return nil
}

// wantTimer is "timer rto +1.000" or "timer rto 2.500" (when it is due),
// "timer rto off", or "timer none".
func (k *play) wantTimer(st *step) error {
	c, err := k.conn(st)
	if err != nil {
		return err
	}
	words := strings.Fields(st.rest)
	if st.rest == "none" {
		if due := c.Deadline(); due != 0 {
			return fmt.Errorf("want no timer\n got  %s", timersText(k, c))
		}
		return nil
	}
	kind := TimerKind(0)
	for kind < NumTimers && (len(words) != 2 || kind.String() != words[0]) {
		kind++
	}
	if kind == NumTimers {
		return fmt.Errorf("want a timer and when it is due, or off")
	}
	want := Time(0)
	if words[1] != "off" {
		d, err := readSeconds(words[1])
		if err != nil {
			return err
		}
		if want = k.zero.Add(d); words[1][0] == '+' {
			want = k.now.Add(d)
		}
	}
	if c.timers[kind] != want {
		return fmt.Errorf("want timer %s\n got  %s", st.rest, timersText(k, c))
	}
	return nil
}

func timersText(k *play, c *Conn) string {
	text := ""
	for kind, due := range c.timers {
		if due != 0 {
			text += fmt.Sprintf(" %s %.6f", TimerKind(kind), due.Sub(k.zero).Seconds())
		}
	}
	return text
}

// wantTold is "told readable writable": what the application was told since
// something was last done to the engine.
func (k *play) wantTold(st *step) error {
	got := ""
	for i, name := range []string{"readable", "writable", "connected", "settled"} {
		if k.party(st.label).told&(1<<i) != 0 {
			got += " " + name
		}
	}
	if got == "" {
		got = " nothing"
	}
	if got != " "+st.rest {
		return fmt.Errorf("want  told %s\n got   told%s", st.rest, got)
	}
	return nil
}

func (k *play) wantUrgent(st *step) error {
	c, err := k.conn(st)
	if err != nil {
		return err
	}
	if got := strconv.Itoa(c.Urgent()); got != st.rest {
		return fmt.Errorf("%s octets to the end of urgent data, want %s", got, st.rest)
	}
	return nil
}

// wantVar is "is cwnd 4000", "is srtt 0.1", "is snd.una 1001".
func (k *play) wantVar(st *step) error {
	c, err := k.conn(st)
	if err != nil {
		return err
	}
	name, want, _ := strings.Cut(st.rest, " ")
	i := c.Info(k.now)
	v := i.Vars
	known := map[string]any{
		"snd.una": v.SndUna.Sub(k.iss), "snd.nxt": v.SndNxt.Sub(k.iss), "snd.wnd": v.SndWnd,
		"rcv.nxt": v.RcvNxt.Sub(k.irs), "rcv.wnd": v.RcvWnd, "cwnd": v.Cwnd, "ssthresh": v.Ssthresh, "flight": v.Flight,
		"srtt": v.SRTT, "rttvar": v.RTTVar, "rto": v.RTO, "mss": v.MSS, "mtu": i.MTU,
		"sack": i.SACK, "timestamps": i.Timestamps, "ecn": i.ECN, "recovery": i.InRecovery,
		"send-queue": i.SendQueue, "receive-queue": i.ReceiveQueue, "out-of-order": i.OutOfOrder, "passive": i.Passive,
		"soft-error": i.SoftError != nil, "snd.scale": int(v.SndScale), "rcv.scale": int(v.RcvScale),
	}
	got, ok := known[name]
	if !ok {
		return fmt.Errorf("unknown variable %q", name)
	}
	if d, ok := got.(time.Duration); ok {
		seconds, err := readSeconds(want)
		if err != nil || seconds != d {
			return fmt.Errorf("%s is %.9f, want %s", name, d.Seconds(), want)
		}
		return nil
	}
	if fmt.Sprint(got) != want {
		return fmt.Errorf("%s is %v, want %s", name, got, want)
	}
	return nil
}

// wantCount is "count Retransmits 2": a field of Stats or Counters.
func (k *play) wantCount(st *step) error {
	name, want, _ := strings.Cut(st.rest, " ")
	f := reflect.ValueOf(k.stack.counters).FieldByName(name)
	if p := k.party(st.label); p.conn != nil {
		if own := reflect.ValueOf(p.conn.Info(k.now).Stats).FieldByName(name); own.IsValid() {
			f = own
		}
	}
	if !f.IsValid() {
		return fmt.Errorf("there is no counter %q", name)
	}
	if got := strconv.FormatUint(f.Uint(), 10); got != want {
		return fmt.Errorf("%s is %s, want %s", name, got, want)
	}
	return nil
}

// quiet: up to this moment nothing was sent and no state changed.
func (k *play) quiet(st *step) error {
	if st.rest != "" {
		return fmt.Errorf("unknown word %q", st.rest)
	}
	return k.untold()
}
