package trace

import (
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"rawtcp/engine"
	"rawtcp/segment"
)

// How a connection, or the attempt at one, ended: the words of the JSON field
// "result".
const (
	ResultClosed      = "closed"
	ResultRefused     = "refused"
	ResultTimeout     = "timeout"
	ResultReset       = "reset"
	ResultUnreachable = "unreachable"
	ResultInterrupted = "interrupted"
)

// A Summary is what is left to say of a connection when it is over. Times are
// null where the connection did not get that far. It is the JSON line of the
// same name.
type Summary struct {
	Type             string   `json:"type"` // "summary"
	Conn             any      `json:"conn"` // a number, or "all"
	Local            string   `json:"local,omitempty"`
	Remote           string   `json:"remote,omitempty"`
	Result           string   `json:"result"`
	SYNRTTUS         *int64   `json:"syn_rtt_us"`   // our SYN to its answer; null after a retransmission
	HandshakeUS      *int64   `json:"handshake_us"` // first SYN to ESTABLISHED
	TeardownUS       *int64   `json:"teardown_us"`  // first FIN or RST to the end, TIME-WAIT not counted
	BytesSent        uint64   `json:"bytes_sent"`   // new data put on the wire
	BytesReceived    uint64   `json:"bytes_received"`
	SegmentsSent     uint64   `json:"segments_sent"`
	SegmentsReceived uint64   `json:"segments_received"`
	Retransmits      uint64   `json:"retransmits"`
	Peer             *Peer    `json:"peer"` // null if no SYN of its came
	Close            Close    `json:"close"`
	States           []string `json:"states"` // in the order they were passed

	RST  *Origin `json:"rst,omitempty"`  // the RST that ended it
	ICMP *Origin `json:"icmp,omitempty"` // the last ICMP error about it

	LocalDrops uint64 `json:"local_drops,omitempty"` // packets lost in this host's own receive queue, in the whole run

	// Only in the summary of all.
	Connections int            `json:"connections,omitempty"`
	Results     map[string]int `json:"results,omitempty"`
	SYNRTT      *Spread        `json:"syn_rtt,omitempty"`
	Drops       map[string]int `json:"drops,omitempty"` // packets received and refused, by reason
	LinesLost   uint64         `json:"lines_lost,omitempty"`
}

// A Peer is what the peer's SYN offered.
type Peer struct {
	MSS           *uint16 `json:"mss"`    // octets; null: no such option
	WScale        *uint8  `json:"wscale"` // null: no such option
	SACKPermitted bool    `json:"sack_permitted"`
	Timestamps    bool    `json:"timestamps"`
	ECN           bool    `json:"ecn"`
	Window        uint16  `json:"window"` // as on the wire
}

// A Close says who ended the connection first and how.
type Close struct {
	First string `json:"first"` // "local", "peer" or "none"
	How   string `json:"how"`   // "fin", "rst", "timeout", "icmp" or "none"
}

// An Origin is where a bad message came from.
type Origin struct {
	From    string `json:"from"`
	TTL     uint8  `json:"ttl,omitempty"`
	AfterUS int64  `json:"after_us"` // since our first SYN, or the connection's first event
	Text    string `json:"text,omitempty"`
}

// A Spread is the usual four numbers of a series, in microseconds.
type Spread struct {
	MinUS  int64 `json:"min_us"`
	AvgUS  int64 `json:"avg_us"`
	MaxUS  int64 `json:"max_us"`
	MdevUS int64 `json:"mdev_us"` // standard deviation, as ping's mdev
}

// A Collector makes the Summary of each connection. What it keeps of a
// connection ends with Take.
type Collector struct {
	mu     sync.Mutex
	conns  map[uint64]*connRecord
	newest uint64
	drops  map[string]int
}

// connRecord is a connection being summed up.
type connRecord struct {
	sum           Summary
	local, remote netip.AddrPort
	began         engine.Time // first event
	syn           engine.Time // first SYN sent, or received by a listener
	synSent       int
	answered      bool
	firstEnd      engine.Time // first FIN or RST
	finIn, finOut bool
	over          engine.Time // both directions closed
	top           segment.Seq // highest octet sent, as far as it is counted
	counting      bool
	last          engine.State
	established   bool
	active        bool        // we opened it
	timerFired    engine.Time // the last one
	icmpAt        engine.Time // the last one
}

// NewCollector returns an empty Collector.
func NewCollector() *Collector {
	return &Collector{conns: map[uint64]*connRecord{}, drops: map[string]int{}}
}

// maxStates bounds the list of states; a connection passes ten at most, but a
// handshake may be started over.
const maxStates = 64

// maxDropReasons bounds the table of drops.
const maxDropReasons = 256

// Interest implements engine.Selective: plain segments, of which a summary needs
// nothing but sums, are not told one by one unless another sink asks for them.
func (c *Collector) Interest() engine.Interest {
	return engine.InterestIn(engine.EventSegmentIn, engine.EventSegmentOut, engine.EventState, engine.EventTimerFired,
		engine.EventICMP, engine.EventDrop, engine.EventTally)
}

// Trace implements engine.Tracer.
func (c *Collector) Trace(e *engine.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.Kind == engine.EventDrop && (len(c.drops) < maxDropReasons || c.drops[e.Reason] > 0) {
		c.drops[e.Reason]++
	}
	if e.Conn == 0 {
		return
	}
	r := c.conns[e.Conn]
	if r == nil {
		if e.Conn <= c.newest {
			return // an echo of a connection that was taken away
		}
		r = &connRecord{began: e.At}
		c.conns[e.Conn], c.newest = r, e.Conn
	}
	r.local, r.remote = e.Local, e.Remote
	switch e.Kind {
	case engine.EventSegmentIn:
		r.segmentIn(e)
	case engine.EventSegmentOut:
		r.segmentOut(e)
	case engine.EventState:
		r.state(e)
	case engine.EventTimerFired:
		r.timerFired = e.At
	case engine.EventDataIn:
		r.sum.BytesReceived += uint64(e.Size)
	case engine.EventICMP:
		r.sum.ICMP = &Origin{From: e.ICMP.From.String(), AfterUS: r.after(e.At), Text: ICMPText(e.ICMP)}
		r.icmpAt = e.At
	case engine.EventTally:
		r.tally(e.Tally)
	}
}

// tally counts what was not told one by one.
func (r *connRecord) tally(t *engine.Tally) {
	r.sum.SegmentsReceived += uint64(t.SegmentsIn)
	r.sum.SegmentsSent += uint64(t.SegmentsOut)
	r.sum.Retransmits += uint64(t.Resent)
	r.sum.BytesReceived += uint64(t.DataIn)
	if t.SegmentsOut > 0 {
		r.countFrom(t.First)
	}
	if t.Payload > 0 {
		r.countTo(t.Top)
	}
}

func (r *connRecord) after(at engine.Time) int64 {
	if r.syn.IsZero() {
		return microseconds(at.Sub(r.began))
	}
	return microseconds(at.Sub(r.syn))
}

func (r *connRecord) segmentIn(e *engine.Event) {
	s := e.Segment
	r.sum.SegmentsReceived++
	if s.Flags.Has(segment.SYN) {
		r.peerSYN(e)
	}
	if s.Flags.Has(segment.RST) && gone(e.State) && r.sum.RST == nil {
		r.sum.RST = &Origin{From: s.Src.Addr().String(), TTL: s.TTL, AfterUS: r.after(e.At)}
		r.end("peer", "rst", e.At)
	}
	if s.Flags.Has(segment.FIN) {
		r.finIn = true
		r.end("peer", "fin", e.At)
	}
}

func (r *connRecord) peerSYN(e *engine.Event) {
	s := e.Segment
	if r.syn.IsZero() {
		r.syn = e.At
	}
	if r.synSent == 1 && !r.answered && s.Flags.Has(segment.ACK) {
		r.sum.SYNRTTUS = since(r.syn, e.At)
	}
	r.answered = true
	if r.sum.Peer != nil {
		return
	}
	p := &Peer{
		SACKPermitted: s.Options.Has(segment.HasSACKPermitted),
		Timestamps:    s.Options.Has(segment.HasTimestamps),
		Window:        s.Window,
	}
	if s.Options.Has(segment.HasMSS) {
		mss := s.Options.MSS
		p.MSS = &mss
	}
	if s.Options.Has(segment.HasWindowScale) {
		scale := s.Options.WindowScale
		p.WScale = &scale
	}
	// An ECN-setup SYN has ECE and CWR, an ECN-setup SYN-ACK ECE alone (RFC 3168 section 6.1.1).
	if s.Flags.Has(segment.ACK) {
		p.ECN = s.Flags.Has(segment.ECE) && !s.Flags.Has(segment.CWR)
	} else {
		p.ECN = s.Flags.Has(segment.ECE | segment.CWR)
	}
	r.sum.Peer = p
}

func (r *connRecord) segmentOut(e *engine.Event) {
	s := e.Segment
	r.sum.SegmentsSent += uint64(s.Count())
	if e.Note.Resent() {
		r.sum.Retransmits++
	}
	if s.Flags.Has(segment.SYN) {
		r.synSent++
		if r.syn.IsZero() {
			r.syn = e.At
		}
	}
	switch {
	case !s.Flags.Has(segment.RST):
	case r.timerFired == e.At: // the last word to a peer that does not answer
		r.end("none", "timeout", e.At)
	default:
		r.end("local", "rst", e.At)
	}
	if s.Flags.Has(segment.FIN) {
		r.finOut = true
		r.end("local", "fin", e.At)
	}
	r.countSent(s)
}

// countSent counts each octet of the stream once, by the highest one sent.
func (r *connRecord) countSent(s *segment.Segment) {
	start := s.Seq
	if s.Flags.Has(segment.SYN) {
		start = start.Add(1)
	}
	r.countFrom(start)
	if len(s.Payload) > 0 { // a bare ACK behind our FIN lies one past the last octet
		r.countTo(start.Add(len(s.Payload)))
	}
}

// countFrom notes where the stream begins: at the first segment.
func (r *connRecord) countFrom(start segment.Seq) {
	if !r.counting {
		r.top, r.counting = start, true
	}
}

// countTo counts the octets up to end that were not counted yet.
func (r *connRecord) countTo(end segment.Seq) {
	if n := end.Sub(r.top); n > 0 {
		r.sum.BytesSent += uint64(n)
		r.top = end
	}
}

func (r *connRecord) state(e *engine.Event) {
	if len(r.sum.States) == 0 {
		r.visit(e.From, e.At)
	}
	r.visit(e.To, e.At)
	switch {
	case !gone(e.To):
	case r.icmpAt == e.At:
		r.end("peer", "icmp", e.At)
	case r.timerFired == e.At || e.To == engine.Listen: // nobody answered
		r.end("none", "timeout", e.At)
	default: // left without a word
		r.end("none", "none", e.At)
	}
}

// visit adds a state to the list when it is a new one, and marks the moments
// that the summary measures.
func (r *connRecord) visit(s engine.State, at engine.Time) {
	if len(r.sum.States) > 0 && s == r.last {
		return
	}
	r.last = s
	r.active = r.active || s == engine.SynSent
	if len(r.sum.States) < maxStates {
		r.sum.States = append(r.sum.States, s.String())
	}
	if s == engine.Established && !r.established {
		r.established = true
		r.sum.HandshakeUS = since(r.syn, at)
	}
	if (s == engine.TimeWait || gone(s) && len(r.sum.States) > 1) && r.over.IsZero() {
		r.over = at
	}
}

// end notes who began to end the connection; the first one counts.
func (r *connRecord) end(who, how string, at engine.Time) {
	if r.firstEnd.IsZero() {
		r.firstEnd = at
		r.sum.Close = Close{First: who, How: how}
	}
}

func since(from, to engine.Time) *int64 {
	if from.IsZero() {
		return nil
	}
	us := microseconds(to.Sub(from))
	return &us
}

// Newest returns the number of the youngest connection, 0 if there was none.
func (c *Collector) Newest() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.newest
}

// Peek returns the summary of a connection as it is now.
func (c *Collector) Peek(conn uint64) (Summary, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.conns[conn]
	if r == nil {
		return Summary{}, false
	}
	return r.summary(conn), true
}

// Take returns the summary of a connection and forgets the connection.
func (c *Collector) Take(conn uint64) (Summary, bool) {
	s, ok := c.Peek(conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, conn)
	return s, ok
}

// Over returns the numbers of the connections that have closed and were not
// taken yet, or, with all, of every one not taken yet; oldest first.
func (c *Collector) Over(all bool) []uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []uint64
	for id, r := range c.conns {
		if all || !r.over.IsZero() && gone(r.last) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Drops returns how many packets were received and refused, by reason.
func (c *Collector) Drops() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	drops := make(map[string]int, len(c.drops))
	for reason, n := range c.drops {
		drops[reason] = n
	}
	return drops
}

func (r *connRecord) summary(conn uint64) Summary {
	s := r.sum
	s.Conn = conn
	s.Local, s.Remote = addrText(r.local), addrText(r.remote)
	s.States = append([]string{}, r.sum.States...)
	if s.Close.First == "" {
		s.Close = Close{First: "none", How: "none"}
	}
	if !r.firstEnd.IsZero() && !r.over.IsZero() && r.established {
		s.TeardownUS = since(r.firstEnd, r.over)
	}
	s.Result = r.result()
	return s
}

// result tells from the talk alone how the connection ended. One that is still
// open counts as closed: who leaves it so has asked for that.
func (r *connRecord) result() string {
	switch {
	case r.sum.RST != nil && !r.established && r.active:
		return ResultRefused
	case r.sum.RST != nil && !(r.finIn && r.finOut):
		return ResultReset
	case r.sum.Close.How == "icmp":
		return ResultUnreachable
	case r.sum.Close.How == "timeout":
		return ResultTimeout
	}
	return ResultClosed
}

// A Total adds summaries up.
type Total struct {
	sum     Summary
	n       int
	rtts    int
	min     int64
	max     int64
	mean    float64
	squares float64 // sum of squared distances from the mean (Welford)
}

// Add counts one connection.
func (t *Total) Add(s Summary) {
	if t.sum.Results == nil {
		t.sum.Results = map[string]int{}
	}
	t.n++
	t.sum.Results[s.Result]++
	t.sum.BytesSent += s.BytesSent
	t.sum.BytesReceived += s.BytesReceived
	t.sum.SegmentsSent += s.SegmentsSent
	t.sum.SegmentsReceived += s.SegmentsReceived
	t.sum.Retransmits += s.Retransmits
	if s.SYNRTTUS != nil {
		t.addRTT(*s.SYNRTTUS)
	}
}

func (t *Total) addRTT(us int64) {
	if t.rtts == 0 || us < t.min {
		t.min = us
	}
	t.max = max(t.max, us)
	t.rtts++
	delta := float64(us) - t.mean
	t.mean += delta / float64(t.rtts)
	t.squares += delta * (float64(us) - t.mean)
}

// Connections returns how many were added.
func (t *Total) Connections() int { return t.n }

// Summary returns the sum, whose conn is "all". Its result is "closed" if at
// least one connection closed, else the most common result, and "" for none.
func (t *Total) Summary() Summary {
	s := t.sum
	s.Conn, s.Connections = "all", t.n
	s.Close = Close{First: "none", How: "none"}
	s.States = []string{}
	most := 0
	for _, result := range []string{ResultClosed, ResultRefused, ResultTimeout, ResultReset, ResultUnreachable, ResultInterrupted} {
		if n := s.Results[result]; n > most && s.Result != ResultClosed {
			s.Result, most = result, n
		}
	}
	if t.rtts > 0 {
		s.SYNRTT = &Spread{
			MinUS: t.min, AvgUS: int64(math.Round(t.mean)), MaxUS: t.max,
			MdevUS: int64(math.Round(math.Sqrt(t.squares / float64(t.rtts)))),
		}
	}
	return s
}

// Duration turns a field of a Summary back into a time; 0 for null.
func Duration(us *int64) time.Duration {
	if us == nil {
		return 0
	}
	return time.Duration(*us) * time.Microsecond
}
