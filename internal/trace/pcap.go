package trace

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"rawtcp/engine"
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
	packet []byte // scratch
	conns  map[uint64]*pcapConn
	count  uint64
}

// pcapConn is what the capture remembers of one connection: its state, and the
// changes of state that wait for a packet to stand on.
type pcapConn struct {
	state   engine.State // that the last packet showed
	waiting []string
	to      engine.State // that waiting leads to
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
	switch e.Kind {
	case engine.EventSegmentIn, engine.EventDrop:
		if len(e.Packet) > 0 {
			p.write(e, e.Packet, pcapgo.NgEpbFlagDirectionInbound)
		}
	case engine.EventSegmentOut:
		var err error
		if p.packet, err = e.Segment.Append(p.packet[:0]); err == nil {
			p.write(e, p.packet, pcapgo.NgEpbFlagDirectionOutbound)
		}
	case engine.EventState:
		p.conn(e.Conn).become(e)
	}
}

func (p *Pcap) write(e *engine.Event, packet []byte, dir pcapgo.NgEpbFlag) {
	info := gopacket.CaptureInfo{Timestamp: p.stamp(e), CaptureLength: len(packet), Length: len(packet)}
	options := pcapgo.NgPacketOptions{
		Comments: p.comments(e),
		Flags:    &pcapgo.NgEpbFlags{Direction: dir},
	}
	// The writer fills a buffer in memory: only a record that is too long for
	// the format can fail, and it costs itself and no other.
	if p.ng.WritePacketWithOptions(info, packet, options) == nil {
		p.count++
	}
	_ = p.flush()
}

// stamp is the kernel's receive time where there is one, else the event's.
func (p *Pcap) stamp(e *engine.Event) time.Time {
	if e.Stamp != 0 {
		return time.Unix(0, e.Stamp)
	}
	return p.time.wallTime(e.At)
}

func (p *Pcap) comments(e *engine.Event) []string {
	var lines []string
	if e.Conn != 0 {
		lines = p.conn(e.Conn).show(e.State)
	}
	if e.Note != engine.NoteNone {
		lines = append(lines, strings.ReplaceAll(string(e.Note), "_", " "))
	}
	switch {
	case e.Kind == engine.EventDrop:
		lines = append(lines, "dropped: "+e.Reason)
	case e.Reason != "":
		lines = append(lines, e.Reason)
	}
	return lines
}

// maxPcapConns bounds the table: closed connections leave it when it is full.
const maxPcapConns = 1024

func (p *Pcap) conn(id uint64) *pcapConn {
	c := p.conns[id]
	if c == nil {
		if len(p.conns) >= maxPcapConns {
			p.forgetClosed()
		}
		c = &pcapConn{}
		p.conns[id] = c
	}
	return c
}

func (p *Pcap) forgetClosed() {
	for id, c := range p.conns {
		if gone(c.state) || len(c.waiting) > 0 && gone(c.to) {
			delete(p.conns, id)
		}
	}
}

// become notes a change of state. The engine tells of it before a packet of
// ours that goes with it, and after a packet of the peer's, which has shown it.
func (c *pcapConn) become(e *engine.Event) {
	if e.To == c.state {
		c.waiting = nil
		return
	}
	c.waiting = append(c.waiting, fmt.Sprintf("%s -> %s: %s", e.From, e.To, e.Reason))
	c.to = e.To
}

// show returns the changes of state that a packet in state s stands for.
func (c *pcapConn) show(s engine.State) []string {
	lines := c.waiting
	if c.to != s || len(lines) == 0 {
		lines = nil
		if c.state != s {
			lines = []string{fmt.Sprintf("%s -> %s", c.state, s)}
		}
	}
	c.state, c.waiting = s, nil
	return lines
}

// flush hands what the writer holds over as one record.
func (p *Pcap) flush() error {
	err := p.ng.Flush()
	p.queue.put(p.record)
	p.record = p.record[:0]
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
