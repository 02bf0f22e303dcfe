package sim

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"rawtcp/engine"
	"rawtcp/segment"
)

// A Recorder writes a run down: a ladder to read, and a capture with what each
// host sent and got. Either writer may be nil.
type Recorder struct {
	ladder io.Writer
	ng     *pcapgo.NgWriter
	hosts  int // that have an interface in ng
	err    error
	isn    map[netip.AddrPort]segment.Seq
	digest digest
	road   digest
}

// NewRecorder starts a recording.
func NewRecorder(ladder, capture io.Writer) (*Recorder, error) {
	r := &Recorder{ladder: ladder, isn: map[netip.AddrPort]segment.Seq{}, digest: newDigest(), road: newDigest()}
	if capture == nil {
		return r, nil
	}
	var err error
	if r.ng, err = pcapgo.NewNgWriterInterface(capture, hostInterface(0), pcapgo.NgWriterOptions{}); err != nil {
		return nil, fmt.Errorf("start capture: %w", err)
	}
	r.hosts = 1
	return r, nil
}

func hostInterface(host int) pcapgo.NgInterface {
	return pcapgo.NgInterface{Name: fmt.Sprintf("host%d", host), LinkType: layers.LinkTypeRaw, TimestampResolution: 9}
}

// Sum returns the SHA-256 of all events so far: the same seed has the same.
func (r *Recorder) Sum() [sha256.Size]byte { return r.digest.sum() }

// Road returns the SHA-256 of all packets that hosts have sent so far, and of when.
func (r *Recorder) Road() [sha256.Size]byte { return r.road.sum() }

// Close writes out what is left and returns the first error.
func (r *Recorder) Close() error {
	if r.ng != nil {
		r.keep(r.ng.Flush())
	}
	return r.err
}

func (r *Recorder) keep(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *Recorder) note(at time.Duration, text string) {
	if r.ladder != nil {
		_, err := fmt.Fprintf(r.ladder, "%14.6f  -- %s\n", at.Seconds(), text)
		r.keep(err)
	}
}

func (r *Recorder) sent(at time.Duration, host int, pkt []byte) {
	r.road.packet(at, host, pkt)
	r.capture(at, host, pkt)
}

func (r *Recorder) capture(at time.Duration, host int, pkt []byte) {
	if r.ng == nil {
		return
	}
	for ; r.hosts <= host; r.hosts++ {
		_, err := r.ng.AddInterface(hostInterface(r.hosts))
		r.keep(err)
	}
	info := gopacket.CaptureInfo{Timestamp: time.Unix(0, int64(at)), CaptureLength: len(pkt), Length: len(pkt), InterfaceIndex: host}
	r.keep(r.ng.WritePacket(info, pkt))
}

// event writes one line: host 0 on the left, host 1 on the right.
func (r *Recorder) event(at time.Duration, host int, e *engine.Event) {
	r.digest.event(host, e)
	if r.ladder == nil && r.ng == nil {
		return
	}
	if e.Kind == engine.EventSegmentOut && e.Segment.Flags.Has(segment.SYN) {
		r.isn[e.Local] = e.Segment.Seq
	}
	text := ""
	switch e.Kind {
	case engine.EventSegmentIn:
		text = "<- " + r.text(e.Segment) + " " + e.State.String() + " " + string(e.Note)
		if len(e.Packet) > 0 {
			r.capture(at, host, e.Packet)
		}
	case engine.EventSegmentOut:
		text = "-> " + r.text(e.Segment) + " " + e.State.String() + " " + string(e.Note)
	case engine.EventState:
		text = fmt.Sprintf("%v to %v: %s", e.From, e.To, e.Reason)
	case engine.EventTimerFired:
		text = fmt.Sprintf("timer %v", e.Timer)
	case engine.EventTimerArmed:
		text = fmt.Sprintf("timer %v in %v", e.Timer, e.Due.Sub(e.At))
	case engine.EventDrop, engine.EventLocal, engine.EventICMP:
		text = e.Reason
	default:
		return
	}
	if r.ladder == nil {
		return
	}
	indent := ""
	if host == 1 {
		indent = "                                        "
	}
	_, err := fmt.Fprintf(r.ladder, "%14.6f %d/%d %s%s\n", at.Seconds(), host, e.Conn, indent, text)
	r.keep(err)
}

// text is the segment with numbers relative to the hosts' SYNs.
func (r *Recorder) text(s *segment.Segment) string {
	seq, ack := r.isn[s.Src], r.isn[s.Dst]
	return string(s.AppendText(nil, segment.Relative{Seq: seq, Ack: ack}))
}
