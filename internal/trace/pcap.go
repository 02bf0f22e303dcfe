package trace

import (
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"rawtcp/engine"
	"rawtcp/segment"
)

// PcapConfig describes a capture.
type PcapConfig struct {
	Out         io.Writer
	Now         func() time.Time // the wall clock
	Interface   string           // name of the interface, for the reader
	Application string           // name and version of the program
	Comment     string           // what was run
}

// A Tap sees packets of ours pass the network interface.
type Tap interface {
	// Next writes the first octets of the next packet that has passed to
	// headers and returns how many, and when it passed, in nanoseconds since
	// 1970. It does not wait: ok is false if there is none.
	Next(headers []byte) (n int, stamp int64, ok bool)
}

// A Pcap writes a pcapng file (LINKTYPE_RAW, nanoseconds) with the direction of
// each packet, and with what the engine made of it as comments: changes of
// state, notes, and why a packet of ours was sent. Every packet is a record of
// its own, so that a file cut short is readable to its last packet.
//
// The engine's goroutine makes a block of each packet, while it is in the
// processor's cache, and leaves it. A round later another goroutine gives the
// blocks their times and their order and writes them. With a Tap the order is
// that of the times, and without one that of the events.
type Pcap struct {
	queue   *queue
	sending sync.Mutex // held while the link sends; taken before the others

	mu      sync.Mutex // guards what the engine's goroutine needs; never held for long
	time    timeline
	conns   map[uint64]*pcapConn
	told    int       // events to come that stand on the packet before them
	in      *intake   // packets that are not in line yet
	filled  []*intake // as in, but older
	idle    []*intake
	octets  int // what the intakes and the line hold
	round   time.Duration
	timer   *time.Timer // ends a round
	armed   bool        // timer will fire
	soon    bool        // timer fires at once
	closed  bool
	linked  bool         // a link tells when packets leave
	batches uint64       // that the link was given
	busy    bool         // the link is at the last of them
	held    []heldPacket // packets of ours that have not left yet, oldest first
	head    int          // held[head:] are those
	packet  []byte       // scratch
	remarks []byte       // scratch

	writing sync.Mutex // guards what the capture's goroutine needs; taken before mu
	taken   []*intake  // scratch
	line    lineup
	tap     Tap // sees packets leave, or nil
	seen    []sighting
	record  writer // finished records
	ng      *pcapgo.NgWriter
	batch   []*record // scratch
	count   uint64
	fresh   uint64 // of them, those not handed over yet
}

// A round is how long a packet waits for older ones. It is shorter when the line
// holds many octets, and nothing waits when it holds too many.
const (
	many    = 2 << 20
	tooMany = 4 << 20
)

// recordCost is what a record counts for beside its packet, in octets.
const recordCost = 512

// A heldPacket is what is known of a packet of ours before it leaves: its
// comments, as options of the block.
type heldPacket struct {
	id      packetID
	remarks []byte
}

// A packetID tells packets apart that a host has ready at the same time.
type packetID struct {
	from, to uint16
	seq      uint32
	flags    uint8
}

func idOf(s *segment.Segment) packetID {
	return packetID{s.Src.Port(), s.Dst.Port(), s.Seq.Uint32(), uint8(s.Flags)}
}

// idIn reads the ID from a packet that segment.Append made.
func idIn(pkt []byte) packetID {
	tcp := pkt[segment.IPv6HeaderLen:]
	if pkt[0]>>4 == 4 {
		tcp = pkt[segment.IPv4HeaderLen:]
	}
	return packetID{binary.BigEndian.Uint16(tcp), binary.BigEndian.Uint16(tcp[2:]), binary.BigEndian.Uint32(tcp[4:]), tcp[13]}
}

// pcapConn is what the capture remembers of one connection: its state, and what
// happened since its last packet that the next packet of ours stands for.
type pcapConn struct {
	state   engine.State
	waiting []remark
}

// NewPcap starts a capture that is written to cfg.Out until Close.
func NewPcap(cfg PcapConfig) (*Pcap, error) {
	p := &Pcap{
		queue: newQueue(cfg.Out, pcapLimit, recordChunk),
		time:  timeline{now: cfg.Now},
		conns: map[uint64]*pcapConn{},
		round: 5 * time.Millisecond,
	}
	p.in = p.emptyIntake()
	p.timer = time.AfterFunc(time.Hour, p.endRound)
	p.timer.Stop()
	intf := pcapgo.NgInterface{Name: cfg.Interface, OS: runtime.GOOS, LinkType: layers.LinkTypeRaw, TimestampResolution: 9}
	section := pcapgo.NgSectionInfo{Hardware: runtime.GOARCH, OS: runtime.GOOS, Application: cfg.Application, Comment: cfg.Comment}
	var err error
	p.ng, err = pcapgo.NewNgWriterInterface(&p.record, intf, pcapgo.NgWriterOptions{SectionInfo: section})
	if err != nil {
		return nil, fmt.Errorf("start capture: %w", err)
	}
	if err := p.ng.Flush(); err != nil {
		return nil, fmt.Errorf("start capture: %w", err)
	}
	p.handOver()
	return p, nil
}

// pcapLimit is how many octets of packets wait for a slow disk or reader.
const pcapLimit = 32 << 20

// Trace implements engine.Tracer.
func (p *Pcap) Trace(e *engine.Event) {
	p.mu.Lock()
	p.trace(e)
	full := p.octets >= tooMany
	p.mu.Unlock()
	if full {
		p.drain(true)
	}
}

func (p *Pcap) trace(e *engine.Event) {
	p.time.since(e.At)
	told := p.told > 0
	p.told = max(0, p.told-1)
	switch e.Kind {
	case engine.EventSegmentIn:
		p.told = len(e.Follows)
		fallthrough
	case engine.EventDrop:
		p.segmentIn(e)
	case engine.EventSegmentOut:
		p.segmentOut(e)
	default:
		if !told {
			p.wait(e)
		}
	}
	if e.Kind == engine.EventState && gone(e.To) {
		delete(p.conns, e.Conn)
	}
}

// segmentIn puts a packet of the peer's in line.
func (p *Pcap) segmentIn(e *engine.Event) {
	if len(e.Packet) == 0 {
		return
	}
	at := e.Stamp
	if at == 0 {
		at = p.time.now().UnixNano()
	}
	p.remarks = p.appendRemarks(p.remarks[:0], e)
	p.take(at, false, e.Packet, p.remarks)
}

// take puts a packet in line.
func (p *Pcap) take(at int64, out bool, packet, remarks []byte) {
	if room := cap(p.in.blocks) - len(p.in.blocks); room < len(packet)+len(remarks)+blockCost && len(p.in.blocks) > 0 {
		p.filled = append(p.filled, p.in)
		p.in = p.emptyIntake()
	}
	p.in.blocks = appendBlock(p.in.blocks, at, out, packet, remarks)
	p.octets += len(packet) + recordCost
	p.arm()
}

// wait keeps what happened without a packet for the next packet of ours.
func (p *Pcap) wait(e *engine.Event) {
	r, ok := happening(e)
	if !ok || e.Conn == 0 {
		return
	}
	c := p.conn(e)
	if e.Kind == engine.EventState {
		c.state = e.To
	}
	if len(c.waiting) < maxWaiting {
		c.waiting = append(c.waiting, r)
	}
}

// maxWaiting bounds the comments of one packet.
const maxWaiting = 16

// segmentOut keeps the comments of a packet of ours until it leaves. Without a
// link it leaves now.
func (p *Pcap) segmentOut(e *engine.Event) {
	if p.linked {
		if len(p.held)-p.head < maxHeld {
			h := p.hold()
			h.id, h.remarks = idOf(e.Segment), p.appendRemarks(h.remarks[:0], e)
		}
		return
	}
	var err error
	if p.packet, err = e.Segment.Append(p.packet[:0]); err == nil {
		p.remarks = p.appendRemarks(p.remarks[:0], e)
		p.take(p.time.now().UnixNano(), true, p.packet, p.remarks)
	}
}

// hold returns a new place at the end of held, with what the last packet there
// has left.
func (p *Pcap) hold() *heldPacket {
	if len(p.held) == cap(p.held) {
		p.held = append(p.held, heldPacket{})
	} else {
		p.held = p.held[:len(p.held)+1]
	}
	return &p.held[len(p.held)-1]
}

// maxHeld is more packets than a host has ready at once.
const maxHeld = 1024

// Link puts the capture between a host and its link, so that it holds what has
// left and no more. A packet of ours has the time at which tap saw it. One that
// it does not see for half a second has the program's time, and a comment that
// says so. Without a tap (nil) all have the program's. Call it before the first event.
func (p *Pcap) Link(link engine.Link, tap Tap) engine.Link {
	p.writing.Lock()
	defer p.writing.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.linked, p.tap, p.line.sorted = true, tap, tap != nil
	return pcapLink{link, p}
}

// A pcapLink is a SegmentingLink whatever the link is, and says by SuperSegment
// whether that one cuts anything. A super-segment is one packet of the capture, with
// its checksum unfinished, as in any capture on the host that sends it.
type pcapLink struct {
	engine.Link
	pcap *Pcap
}

// WriteBatch implements engine.Link.
func (l pcapLink) WriteBatch(pkts [][]byte) (int, error) {
	return l.write(pkts, nil)
}

// SuperSegment implements engine.SegmentingLink.
func (l pcapLink) SuperSegment() int {
	if s, ok := l.Link.(engine.SegmentingLink); ok {
		return s.SuperSegment()
	}
	return 0
}

// WriteSegments implements engine.SegmentingLink. Only a link that takes
// super-segments is handed some.
func (l pcapLink) WriteSegments(pkts [][]byte, sizes []int) (int, error) {
	return l.write(pkts, sizes)
}

// write sends by WriteBatch if there are no segment sizes.
func (l pcapLink) write(pkts [][]byte, sizes []int) (int, error) {
	n, err, full := l.pcap.send(l.Link, pkts, sizes)
	if full {
		l.pcap.drain(true)
	}
	return n, err
}

// send takes the packets that the link took: one after the other, between two
// times.
func (p *Pcap) send(link engine.Link, pkts [][]byte, sizes []int) (n int, err error, full bool) {
	p.sending.Lock()
	defer p.sending.Unlock()
	before := p.beginBatch()
	if sizes == nil {
		n, err = link.WriteBatch(pkts)
	} else {
		n, err = link.(engine.SegmentingLink).WriteSegments(pkts, sizes)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy = false
	if n > 0 {
		step := p.time.now().Sub(before) / time.Duration(n)
		for i, pkt := range pkts[:n] {
			p.take(before.Add(step*time.Duration(i)).UnixNano(), true, pkt, p.remarksOf(pkt))
		}
	}
	return n, err, p.octets >= tooMany
}

// beginBatch notes that the link is at work, and since when: the tap may see
// packets now that are not in line yet.
func (p *Pcap) beginBatch() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.batches++
	p.busy = true
	return p.time.now()
}

// arm makes sure that the round will end, and soon if the line is long.
func (p *Pcap) arm() {
	switch {
	case p.closed:
	case !p.soon && p.octets >= many:
		p.armed, p.soon = true, true
		p.timer.Reset(0)
	case !p.armed:
		p.armed = true
		p.timer.Reset(p.round)
	}
}

// endRound is the timer's.
func (p *Pcap) endRound() {
	p.drain(false)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed, p.soon = p.octets > 0 && !p.closed, false
	if p.armed {
		p.timer.Reset(p.round)
	}
}

// drain writes what has waited long enough.
func (p *Pcap) drain(hurry bool) {
	p.writing.Lock()
	defer p.writing.Unlock()
	limit := int64(0)
	if p.tap != nil { // before the look at it: we may be held up after that
		limit = p.now().UnixNano() - patience
	}
	p.takeIn()
	if hurry {
		p.line.giveUp((len(p.line.unseen) + 1) / 2)
	}
	if len(p.line.unseen) > 0 {
		p.line.giveUpBefore(limit)
	}
	p.write(hurry)
}

// takeIn puts what the engine has told of in line, with the times at which the
// tap has seen it.
func (p *Pcap) takeIn() {
	p.look()
	p.mu.Lock()
	p.taken = p.exchange(p.taken[:0])
	batches, busy := p.batches, p.busy
	p.mu.Unlock()
	for _, in := range p.taken {
		p.line.enter(in, p.tap != nil)
	}
	p.match(batches, busy)
}

// now reads the wall clock.
func (p *Pcap) now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.time.now()
}

// write writes what is due.
func (p *Pcap) write(hurry bool) {
	p.batch = p.line.due(p.batch[:0], hurry)
	for _, r := range p.batch {
		p.encode(r)
	}
	p.handOver()
	p.written(p.batch)
}

// written frees the place of records.
func (p *Pcap) written(records []*record) {
	octets := 0
	for _, r := range records {
		octets += len(r.packet) + recordCost
		if r.home.left--; r.home.left == 0 {
			p.giveBack(r.home)
		}
	}
	p.line.recycle(records)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.octets -= octets
}

// A sighting is a packet that the tap has seen leave.
type sighting struct {
	headers [segment.IPv6HeaderLen + segment.TCPHeaderLen]byte
	n       int
	at      int64
	batch   uint64 // that the link was at, or 0
}

// maxSeen bounds the sightings in one round; it is more than a tap can hold.
const maxSeen = 8192

// look asks the tap what it has seen. That comes before a look at what the
// engine has told: so a packet that was seen has been told of, or the link is at
// it still.
func (p *Pcap) look() {
	for p.tap != nil && len(p.seen) < maxSeen {
		n := len(p.seen)
		if n == cap(p.seen) {
			p.seen = append(p.seen, sighting{})
		}
		s := &p.seen[:n+1][n]
		var ok bool
		if s.n, s.at, ok = p.tap.Next(s.headers[:]); !ok {
			return
		}
		s.batch = 0
		p.seen = p.seen[:n+1]
	}
}

// match tells the line what was seen. What belongs to no packet is a stranger's,
// unless the link is still at the batch during which it was seen: then it is
// kept for the next round.
func (p *Pcap) match(batches uint64, busy bool) {
	kept := p.seen[:0]
	for i := range p.seen {
		s := &p.seen[i]
		if p.line.saw(s.headers[:s.n], s.at) {
			continue
		}
		if s.batch == 0 {
			s.batch = batches
		}
		if busy && s.batch == batches {
			kept = append(kept, *s)
		}
	}
	p.seen = kept
	p.line.settle()
}

// remarksOf returns the comments of a packet that leaves. Those before it are of
// packets that the link refused.
func (p *Pcap) remarksOf(pkt []byte) []byte {
	for id := idIn(pkt); p.head < len(p.held); {
		h := &p.held[p.head]
		if p.head++; p.head == len(p.held) {
			p.held, p.head = p.held[:0], 0
		}
		if h.id == id {
			return h.remarks
		}
	}
	return nil
}

// appendRemarks appends the story of one packet: what led to it or what it led
// to, what is remarkable about it, and why we sent it or refused it.
func (p *Pcap) appendRemarks(b []byte, e *engine.Event) []byte {
	if e.Conn != 0 {
		b = p.conn(e).appendStory(b, e)
	}
	if e.Kind == engine.EventDrop {
		return appendRemark(b, &remark{text: "dropped: " + e.Reason})
	}
	if note := notes(e); note != "" {
		b = appendRemark(b, &remark{text: note})
	}
	if e.Reason != "" {
		b = appendRemark(b, &remark{text: e.Reason})
	}
	return b
}

// appendStory appends what a packet of ours was waited for, or what a packet of
// the peer's has caused.
func (c *pcapConn) appendStory(b []byte, e *engine.Event) []byte {
	if e.Kind == engine.EventSegmentOut {
		for i := range c.waiting {
			b = appendRemark(b, &c.waiting[i])
		}
		c.waiting = c.waiting[:0]
		if c.state != e.State { // a RST is told before the end that it brings
			b = appendRemark(b, &remark{kind: engine.EventState, from: c.state, to: e.State})
			c.state = e.State
		}
		return b
	}
	told := 0
	for i := range e.Follows {
		f := &e.Follows[i]
		if r, ok := happening(f); ok && f.Conn == e.Conn && told < maxWaiting {
			b = appendRemark(b, &r)
			told++
		}
	}
	c.state = e.State
	return b
}

// conn finds or begins a connection; an event before its first change of state
// shows the state that it is in.
func (p *Pcap) conn(e *engine.Event) *pcapConn {
	c := p.conns[e.Conn]
	if c == nil {
		c = &pcapConn{state: e.State}
		if !gone(e.State) {
			p.conns[e.Conn] = c
		}
	}
	return c
}

// Lost returns how many packets a slow disk or reader has cost.
func (p *Pcap) Lost() uint64 { return p.queue.lost() }

// Failed is closed when a packet could not be written.
func (p *Pcap) Failed() <-chan struct{} { return p.queue.failed }

// Err returns the first failed write, or nil.
func (p *Pcap) Err() error { return p.queue.failure() }

// Close adds the statistics (packets seen and lost), writes out what is left,
// for at most d, and returns the first write error of the capture's life. The
// tap is not asked any more after it.
func (p *Pcap) Close(d time.Duration) error {
	p.mu.Lock()
	p.closed = true
	p.timer.Stop()
	p.mu.Unlock()
	p.finish()
	return p.queue.close(d)
}

// finish writes what nobody has seen until the end, and the statistics.
func (p *Pcap) finish() {
	p.sending.Lock() // what the link is at belongs to it
	defer p.sending.Unlock()
	p.writing.Lock()
	defer p.writing.Unlock()
	p.takeIn()
	p.tap = nil
	p.line.giveUp(len(p.line.unseen))
	p.write(true)
	now := p.now()
	stats := pcapgo.NgInterfaceStatistics{
		LastUpdate:      now,
		EndTime:         now,
		PacketsReceived: p.count,
		PacketsDropped:  p.queue.lost(),
	}
	if p.ng.WriteInterfaceStats(0, stats) == nil && p.ng.Flush() == nil {
		p.handOver()
	}
}
