package explain

import (
	"errors"
	"io"
	"net/netip"

	"rawtcp/internal/capture"
	"rawtcp/internal/flow"
	"rawtcp/segment"
)

// Options choose what is looked at; the zero value: everything. The filters
// leave the numbers of connections as they are.
type Options struct {
	Host        netip.Addr         // only connections with this address; invalid: any
	Port        uint16             // only connections with this port; 0: any
	Stream      uint64             // only the connection of this number; 0: any
	Connections int                // how many are followed at once; 0: 32768
	Progress    func(octets int64) // told now and then how much of the file was read; may be nil
}

// ErrStopped is what a reader's error wraps if somebody has asked for an end
// before that of the capture: what was read is explained, and a finding says so.
var ErrStopped = errors.New("the reading was stopped")

// A Total is what was seen of a whole capture.
type Total struct {
	Format      string
	Frames      uint64            // packets of any kind
	Segments    uint64            // TCP segments
	Connections uint64            // whatever the filters say
	Began, Last int64             // ns since 1970, of the first and the latest TCP segment
	Passed      map[string]uint64 // packets without a segment to read, by reason
	Snapped     uint64            // segments of which not all was kept
	Backwards   uint64            // packets with a time before that of the packet before
	Timeless    uint64            // packets without a time
	Damage      error             // what ended the reading before the file's end; nil: it was read whole

	odd map[string]uint64 // the first frame of each oddity
}

// A view is told what a capture shows. An error ends the reading.
type view interface {
	begin(at int64) // the time of the first segment, which the others count from
	segment(e *flow.Event) error
	gone(c *flow.Conn, found []Finding) error
	end(t *Total, found []Finding) error
}

// A reading is one pass through a capture.
type reading struct {
	options Options
	view    view
	total   Total
	err     error // of the view
}

// progressStep is after how many packets the caller hears of the progress.
const progressStep = 4096

// run reads r to its end.
func run(r io.Reader, o Options, v view) error {
	in := &counted{r: r}
	file, err := capture.NewReader(in)
	if err != nil {
		return err
	}
	x := &reading{options: o, view: v, total: Total{Format: file.Format(), Passed: map[string]uint64{}, odd: map[string]uint64{}}}
	tracker := flow.New(x, o.Connections)
	if err := x.packets(file, tracker, in); err != nil {
		return err
	}
	tracker.Close()
	if x.err != nil {
		return x.err
	}
	x.total.Frames = file.Frames()
	if o.Progress != nil {
		o.Progress(in.n)
	}
	return v.end(&x.total, aboutCapture(&x.total))
}

func (x *reading) packets(file *capture.Reader, tracker *flow.Tracker, in *counted) error {
	var p capture.Packet
	var s segment.Segment
	var decoder capture.Decoder
	last := int64(0)
	for x.err == nil {
		err := file.Next(&p)
		if errors.Is(err, io.EOF) && !errors.As(err, new(*capture.Damage)) {
			return nil
		}
		if err != nil {
			x.total.Damage = err
			return nil
		}
		if p.Frame%progressStep == 0 && x.options.Progress != nil {
			x.options.Progress(in.n)
		}
		if !p.Timed {
			x.odd("timeless", p.Frame, &x.total.Timeless)
		} else if p.At < last {
			x.odd("backwards", p.Frame, &x.total.Backwards)
		}
		last = p.At
		detail, err := decoder.Segment(&p, &s)
		if err != nil {
			reason := capture.Reason(err)
			n := x.total.Passed[reason]
			x.odd(reason, p.Frame, &n)
			x.total.Passed[reason] = n
			continue
		}
		if detail.Kept < len(s.Payload) || detail.OptionsCut {
			x.odd("cut", p.Frame, &x.total.Snapped)
		}
		if x.total.Segments == 0 {
			x.total.Began, x.total.Last = p.At, p.At
			x.view.begin(p.At)
		}
		x.total.Segments++
		x.total.Last = max(x.total.Last, p.At)
		tracker.Add(flow.Moment{Frame: p.Frame, At: p.At}, &s, detail)
	}
	return x.err
}

// odd counts something odd and remembers where it was first.
func (x *reading) odd(what string, frame uint64, n *uint64) {
	if *n == 0 {
		x.total.odd[what] = frame
	}
	*n++
}

// Segment implements flow.Sink.
func (x *reading) Segment(e *flow.Event) {
	x.total.Connections = max(x.total.Connections, e.Conn.ID)
	if x.err == nil && x.options.wants(e.Conn) {
		x.err = x.view.segment(e)
	}
}

// Gone implements flow.Sink.
func (x *reading) Gone(c *flow.Conn) {
	if x.err == nil && x.options.wants(c) {
		x.err = x.view.gone(c, findings(c))
	}
}

func (o *Options) wants(c *flow.Conn) bool {
	local, remote := c.Ends[flow.Local].Addr, c.Ends[flow.Remote].Addr
	switch {
	case o.Stream != 0 && c.ID != o.Stream:
		return false
	case o.Port != 0 && local.Port() != o.Port && remote.Port() != o.Port:
		return false
	}
	return !o.Host.IsValid() || o.Host == local.Addr() || o.Host == remote.Addr()
}

// counted counts what is read through it.
type counted struct {
	r io.Reader
	n int64
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
