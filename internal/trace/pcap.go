package trace

import (
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/gopacket/gopacket"
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

// A Pcap writes a pcapng file (LINKTYPE_RAW, nanoseconds) with the direction of
// each packet, and with what the engine made of it as comments: changes of
// state, notes, and why a packet of ours was sent. Every packet is a record of
// its own, so that a file cut short is readable to its last packet.
type Pcap struct {
	queue *queue

	mu     sync.Mutex
	time   timeline
	record writer // one finished record
	ng     *pcapgo.NgWriter
	conns  map[uint64]*pcapConn
	told   int // events to come that stand on the packet before them
	count  uint64
	fresh  uint64 // of them, those not handed over yet

	linked bool         // a link tells when packets leave
	held   []heldPacket // packets of ours that have not left yet, oldest first
	head   int          // held[head:] are those
	packet []byte       // scratch
}

// A heldPacket is what is known of a packet of ours before it leaves.
type heldPacket struct {
	id       packetID
	comments []string
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
	waiting []string
}

// NewPcap starts a capture that is written to cfg.Out until Close.
func NewPcap(cfg PcapConfig) (*Pcap, error) {
	p := &Pcap{
		queue: newQueue(cfg.Out, pcapLimit),
		time:  timeline{now: cfg.Now},
		conns: map[uint64]*pcapConn{},
	}
	intf := pcapgo.NgInterface{Name: cfg.Interface, OS: runtime.GOOS, LinkType: layers.LinkTypeRaw, TimestampResolution: 9}
	section := pcapgo.NgSectionInfo{Hardware: runtime.GOARCH, OS: runtime.GOOS, Application: cfg.Application, Comment: cfg.Comment}
	var err error
	p.ng, err = pcapgo.NewNgWriterInterface(&p.record, intf, pcapgo.NgWriterOptions{SectionInfo: section})
	if err != nil {
		return nil, fmt.Errorf("start capture: %w", err)
	}
	return p, p.flush()
}

// pcapLimit is how many octets of packets wait for a slow disk or reader.
const pcapLimit = 32 << 20

// Trace implements engine.Tracer.
func (p *Pcap) Trace(e *engine.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.time.since(e.At)
	told := p.told > 0
	p.told = max(0, p.told-1)
	switch e.Kind {
	case engine.EventSegmentIn:
		p.told = len(e.Follows)
		fallthrough
	case engine.EventDrop:
		if len(e.Packet) > 0 {
			at := p.time.now()
			if e.Stamp != 0 {
				at = time.Unix(0, e.Stamp)
			}
			p.write(at, e.Packet, p.comments(e), pcapgo.NgEpbFlagDirectionInbound)
			_ = p.flush()
		}
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

// wait keeps what happened without a packet for the next packet of ours.
func (p *Pcap) wait(e *engine.Event) {
	line := happening(e)
	if line == "" || e.Conn == 0 {
		return
	}
	c := p.conn(e)
	if e.Kind == engine.EventState {
		c.state = e.To
	}
	if len(c.waiting) < maxWaiting {
		c.waiting = append(c.waiting, line)
	}
}

// comment is a text that a packet's comment can hold: an option of the format
// has a length of 16 bits.
func comment(text string) string {
	const longest = 1000
	text = safe(text)
	return text[:min(len(text), longest)]
}

// maxWaiting bounds the comments of one packet.
const maxWaiting = 16

// happening is a change of state, a timer or an ICMP message as a comment.
func happening(e *engine.Event) string {
	switch e.Kind {
	case engine.EventState:
		return fmt.Sprintf("%s -> %s: %s", e.From, e.To, comment(e.Reason))
	case engine.EventTimerArmed:
		return fmt.Sprintf("timer %s armed, due in %v", spaced(e.Timer.String()), e.Due.Sub(e.At).Round(time.Microsecond))
	case engine.EventTimerFired:
		return "timer " + spaced(e.Timer.String()) + " fired"
	case engine.EventTimerStopped:
		return "timer " + spaced(e.Timer.String()) + " stopped"
	case engine.EventICMP:
		return fmt.Sprintf("ICMP %s from %s", ICMPText(e.ICMP), e.ICMP.From)
	}
	return ""
}

// segmentOut writes a packet of ours, or keeps its comments until it leaves.
func (p *Pcap) segmentOut(e *engine.Event) {
	if p.linked {
		if len(p.held)-p.head < maxHeld {
			p.held = append(p.held, heldPacket{idOf(e.Segment), p.comments(e)})
		}
		return
	}
	var err error
	if p.packet, err = e.Segment.Append(p.packet[:0]); err == nil {
		p.write(p.time.now(), p.packet, p.comments(e), pcapgo.NgEpbFlagDirectionOutbound)
		_ = p.flush()
	}
}

// maxHeld is more packets than a host has ready at once.
const maxHeld = 1024

// Link puts the capture between a host and its link: packets of ours are
// stamped when they are handed to the link, and written after that, so that the
// capture delays none of them, and holds what has left and no more. Call it before the first event.
func (p *Pcap) Link(link engine.Link) engine.Link {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.linked = true
	return pcapLink{link, p}
}

type pcapLink struct {
	engine.Link
	pcap *Pcap
}

// WriteBatch implements engine.Link.
func (l pcapLink) WriteBatch(pkts [][]byte) (int, error) {
	before := l.pcap.time.now()
	n, err := l.Link.WriteBatch(pkts)
	if n > 0 {
		l.pcap.left(pkts[:n], before, l.pcap.time.now())
	}
	return n, err
}

// left writes packets that the link took, one after the other, between two times.
func (p *Pcap) left(pkts [][]byte, before, after time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	step := after.Sub(before) / time.Duration(len(pkts))
	for i, pkt := range pkts {
		p.write(before.Add(step*time.Duration(i)), pkt, p.commentsOf(pkt), pcapgo.NgEpbFlagDirectionOutbound)
	}
	_ = p.flush()
}

// commentsOf takes the comments of a packet that leaves. Those before it are of
// packets that the link refused.
func (p *Pcap) commentsOf(pkt []byte) []string {
	for id := idIn(pkt); p.head < len(p.held); {
		h := p.held[p.head]
		p.held[p.head] = heldPacket{}
		if p.head++; p.head == len(p.held) {
			p.held, p.head = p.held[:0], 0
		}
		if h.id == id {
			return h.comments
		}
	}
	return nil
}

func (p *Pcap) write(at time.Time, packet []byte, comments []string, dir pcapgo.NgEpbFlag) {
	info := gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(packet), Length: len(packet)}
	options := pcapgo.NgPacketOptions{Comments: comments, Flags: &pcapgo.NgEpbFlags{Direction: dir}}
	// The writer fills a buffer in memory: only a record that is too long for
	// the format can fail, and it costs itself and no other.
	if p.ng.WritePacketWithOptions(info, packet, options) == nil {
		p.count++
		p.fresh++
	}
}

// comments are the story of one packet: what led to it or what it led to, what
// is remarkable about it, and why we sent it or refused it.
func (p *Pcap) comments(e *engine.Event) []string {
	var lines []string
	if e.Conn != 0 {
		lines = p.conn(e).story(e)
	}
	if e.Kind == engine.EventDrop {
		return append(lines, "dropped: "+comment(e.Reason))
	}
	if note := notes(e); note != "" {
		lines = append(lines, note)
	}
	if e.Reason != "" {
		lines = append(lines, comment(e.Reason))
	}
	return lines
}

// story returns what a packet of ours was waited for, or what a packet of the
// peer's has caused.
func (c *pcapConn) story(e *engine.Event) []string {
	if e.Kind == engine.EventSegmentOut {
		lines := c.waiting
		c.waiting = nil
		if c.state != e.State { // a RST is told before the end that it brings
			lines = append(lines, fmt.Sprintf("%s -> %s", c.state, e.State))
			c.state = e.State
		}
		return lines
	}
	var lines []string
	for i := range e.Follows {
		f := &e.Follows[i]
		if line := happening(f); line != "" && f.Conn == e.Conn && len(lines) < maxWaiting {
			lines = append(lines, line)
		}
	}
	c.state = e.State
	return lines
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

// flush hands what the writer holds over: the records of one batch.
func (p *Pcap) flush() error {
	err := p.ng.Flush()
	p.queue.putAll(p.record, p.fresh)
	p.record, p.fresh = p.record[:0], 0
	return err
}

// Lost returns how many packets a slow disk or reader has cost.
func (p *Pcap) Lost() uint64 { return p.queue.lost() }

// Failed is closed when a packet could not be written.
func (p *Pcap) Failed() <-chan struct{} { return p.queue.failed }

// Err returns the first failed write, or nil.
func (p *Pcap) Err() error { return p.queue.failure() }

// Close adds the statistics (packets seen and lost), writes out what is left,
// for at most d, and returns the first write error of the capture's life.
func (p *Pcap) Close(d time.Duration) error {
	p.mu.Lock()
	now := p.time.now()
	stats := pcapgo.NgInterfaceStatistics{
		LastUpdate:      now,
		EndTime:         now,
		PacketsReceived: p.count,
		PacketsDropped:  p.queue.lost(),
	}
	if p.ng.WriteInterfaceStats(0, stats) == nil {
		_ = p.flush()
	}
	p.mu.Unlock()
	return p.queue.close(d)
}
