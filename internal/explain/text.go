package explain

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/flow"
	"rawtcp/internal/trace"
	"rawtcp/segment"
)

// A TextConfig says how the text looks. The zero value, with Out, is 80 columns
// of plain ASCII.
type TextConfig struct {
	Out      io.Writer
	Name     string       // of the file, safe to show
	Ladder   LadderAmount // how many ladders
	Width    int          // columns; 0: lines are as long as they are
	UTF8     bool
	Color    bool
	Verbose  int // 1: with payload
	Absolute bool
	Time     trace.TimeStyle
}

// A LadderAmount says how many segments are drawn.
type LadderAmount uint8

// The amounts.
const (
	LadderSome LadderAmount = iota // of a small capture all, of a large one the beginnings
	LadderAll                      // every segment, in the order of the capture
	LadderNone
)

// What a text shows of a capture that is large: people do not read more, and
// memory stays small.
const (
	mostRows    = 10000    // connections in the table
	mostLadders = 50       // connections with a ladder
	mostLines   = 400      // segments of one ladder
	mostFound   = 200      // connections with findings of their own
	mostDrawn   = 32 << 20 // octets of all ladders
)

// Text reads a capture and writes ladders, a table of connections and findings
// for people to read. Its errors are those of Lines, and of writing.
func Text(r io.Reader, o Options, cfg TextConfig) error {
	return run(r, o, newText(cfg))
}

// text is the view behind Text.
type text struct {
	cfg    TextConfig
	stream *trace.Ladder // LadderAll
	blocks map[uint64]*block
	rows   []row
	more   int // connections beyond the table
	kinds  map[string]*kindCount
	event  engine.Event
	now    time.Time // of the segment in hand
	drawn  int
}

// A block is what is told of one connection.
type block struct {
	title   string
	ladder  *trace.Ladder
	drawn   bytes.Buffer
	lines   int
	left    int // segments that were not drawn
	states  string
	offload [2]bool // the reader knows of the side's unfinished checksums
	found   []Finding
}

// A row is a connection in the table.
type row struct {
	conn           uint64
	client, server string
	cells          string // the others, parted by tabs
}

// A kindCount is how often a finding was made.
type kindCount struct {
	Finding
	times int
}

func newText(cfg TextConfig) *text {
	t := &text{cfg: cfg, blocks: map[uint64]*block{}, kinds: map[string]*kindCount{}}
	if cfg.Ladder == LadderAll {
		t.stream = t.ladder(cfg.Out)
	}
	return t
}

// statesWidth is the width of "SYN-RECEIVED/SYN-RECEIVED".
const statesWidth = 25

func (t *text) ladder(out io.Writer) *trace.Ladder {
	return trace.NewLadder(trace.LadderConfig{
		Out: out, Now: func() time.Time { return t.now }, Width: t.cfg.Width, Unbroken: t.cfg.Width == 0, UTF8: t.cfg.UTF8, Color: t.cfg.Color,
		Verbose: t.cfg.Verbose, Absolute: t.cfg.Absolute, Time: t.cfg.Time, Direct: true, StateWidth: statesWidth,
	})
}

func (t *text) segment(e *flow.Event) error {
	if t.cfg.Ladder == LadderNone {
		return nil
	}
	b := t.blocks[e.Conn.ID]
	if b == nil {
		if len(t.blocks) >= mostLadders && t.stream == nil {
			return nil
		}
		b = t.open(e.Conn)
	}
	ladder := t.stream
	if ladder == nil {
		if b.ladder == nil || b.lines >= mostLines || t.drawn+b.drawn.Len() > mostDrawn {
			b.left++
			return nil
		}
		ladder = b.ladder
		b.lines++
	}
	t.draw(ladder, b, e)
	return ladder.Err()
}

func (t *text) begin(int64) {}

func (t *text) open(c *flow.Conn) *block {
	b := &block{}
	if t.stream == nil {
		b.ladder = t.ladder(&b.drawn)
	}
	t.blocks[c.ID] = b
	return b
}

// draw writes one segment, with the states of both sides where they change.
func (t *text) draw(l *trace.Ladder, b *block, e *flow.Event) {
	asEvent(&t.event, e)
	t.now = time.Unix(0, e.At)
	tag := fmt.Sprintf("%3d", e.Frame)
	if t.stream != nil {
		tag = fmt.Sprintf("%d:%s", e.Conn.ID, tag)
	}
	if e.Fired && e.Timer != engine.TimerKeepAlive {
		l.Between(&t.event, tag, fmt.Sprintf("timer %s of %s has fired", e.Timer, e.Conn.Ends[e.From].Addr))
	}
	c := e.Conn
	states := c.Ends[flow.Local].State.String() + "/" + c.Ends[flow.Remote].State.String()
	news := ""
	if states != b.states {
		b.states, news = states, states
	}
	if was := e.Segment.Checksum; was == segment.ChecksumPartial {
		if b.offload[e.From] { // once is enough
			e.Segment.Checksum = segment.ChecksumOK
			defer func() { e.Segment.Checksum = was }()
		}
		b.offload[e.From] = true
	}
	l.Seen(&t.event, tag, news)
}

func (t *text) gone(c *flow.Conn, found []Finding) error {
	if len(t.rows) < mostRows {
		t.rows = append(t.rows, row{c.ID, c.Ends[flow.Local].Addr.String(), c.Ends[flow.Remote].Addr.String(), cells(c)})
	} else {
		t.more++
	}
	for _, f := range found {
		k := t.kinds[f.Kind]
		if k == nil {
			k = &kindCount{Finding: f}
			t.kinds[f.Kind] = k
		}
		k.times++
	}
	b := t.blocks[c.ID]
	if b == nil && len(t.blocks) < mostFound {
		b = t.open(c)
		b.ladder = nil
	}
	switch {
	case b == nil:
	case len(t.blocks) > mostFound: // of LadderAll: nothing but the states was kept
		delete(t.blocks, c.ID)
	default:
		b.title, b.found, b.ladder = title(c), found, nil
		t.drawn += b.drawn.Len()
	}
	return nil
}

func title(c *flow.Conn) string {
	local, remote := c.Ends[flow.Local].Addr, c.Ends[flow.Remote].Addr
	if c.Opening == flow.MidStream {
		return fmt.Sprintf("#%d  %s (left)  and  %s (right)", c.ID, local, remote)
	}
	return fmt.Sprintf("#%d  %s (client, left)  to  %s (server, right)", c.ID, local, remote)
}

// cells are the columns of a connection's row, but for its number and addresses.
func cells(c *flow.Conn) string {
	local, remote := &c.Ends[flow.Local], &c.Ends[flow.Remote]
	rtt := "-"
	if c.SYN.Seen() && c.SYNACK.Seen() {
		rtt = took(c.SYNACK.At - c.SYN.At)
	}
	return fmt.Sprintf("%d\t%d\t%d\t%d\t%s\t%s\t%s\t", local.Segments+remote.Segments,
		local.Bytes, remote.Bytes, local.Count(flow.Resent)+remote.Count(flow.Resent), rtt, took(c.Last.At-c.First.At), ended(c))
}

// ended tells in a word or two how a connection ended.
func ended(c *flow.Conn) string {
	r := result(c)
	if !c.Closing.Seen() || r == ResultOpen || r == trace.ResultRefused {
		return r
	}
	who := "client"
	if c.ClosedBy == flow.Remote {
		who = "server"
	}
	if c.Opening == flow.MidStream {
		who = map[flow.Side]string{flow.Local: "left", flow.Remote: "right"}[c.ClosedBy]
	}
	return r + " by " + who
}

func (t *text) end(total *Total, found []Finding) error {
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s: %s, %s, %s, %s", t.cfg.Name, total.Format, count(total.Frames, "packet", "packets"),
		count(total.Segments, "TCP segment", "TCP segments"), count(total.Connections, "connection", "connections"))
	if total.Segments > 0 {
		fmt.Fprintf(&out, ", %s from %s", took(total.Last-total.Began), time.Unix(0, total.Began).Format("2006-01-02 15:04:05.000000"))
	}
	out.WriteString("\n")
	t.writeFindings(&out, found)
	slices.SortFunc(t.rows, func(a, b row) int { return int(int64(a.conn) - int64(b.conn)) })
	t.table(&out, total)
	ids := make([]uint64, 0, len(t.blocks))
	for id := range t.blocks {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		t.write(&out, t.blocks[id])
	}
	t.rest(&out)
	_, err := t.cfg.Out.Write(out.Bytes())
	return err
}

func (t *text) table(out *bytes.Buffer, total *Total) {
	switch {
	case len(t.rows) > 0:
	case total.Connections > 0:
		fmt.Fprintf(out, "\nno connection fits --host, --port and --stream: the capture has %d\n", total.Connections)
		return
	default:
		out.WriteString("\nno TCP connection to show\n")
		return
	}
	out.WriteString("\n")
	if !t.columns(out, false) {
		t.columns(out, true)
	}
	if t.more > 0 {
		fmt.Fprintf(out, "and %s more: --host, --port and --stream pick some, --json has all\n", count(uint64(t.more), "connection", "connections"))
	}
}

// columns writes the table, with the addresses on lines of their own if it is to
// be narrow. It reports whether it fits; if not, nothing is written.
func (t *text) columns(out *bytes.Buffer, narrow bool) bool {
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(conn, client, server, cells string) {
		if narrow {
			fmt.Fprintf(w, "%s\n", cells)
		} else {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", conn, client, server, cells)
		}
	}
	rows := slices.Concat([]row{{0, "client", "server", "segments\toctets>\t<octets\tresent\tSYN rtt\ttime\tend\t"}}, t.rows)
	number := func(i int) string {
		if i == 0 {
			return "#"
		}
		return fmt.Sprint(rows[i].conn)
	}
	for i, r := range rows {
		line(number(i), r.client, r.server, r.cells)
	}
	_ = w.Flush() // a buffer takes all
	if first := bytes.IndexByte(table.Bytes(), '\n'); !narrow && t.cfg.Width > 0 && first > t.cfg.Width {
		return false
	}
	if !narrow {
		out.Write(table.Bytes())
		return true
	}
	indent := len(number(len(rows) - 1))
	for i, r := range rows {
		cells, _ := table.ReadString('\n')
		fmt.Fprintf(out, "  %*s  %s  to  %s\n  %*s%s", indent, number(i), r.client, r.server, indent, "", cells)
	}
	return true
}

func (t *text) write(out *bytes.Buffer, b *block) {
	fmt.Fprintf(out, "\n%s\n", b.title)
	out.Write(b.drawn.Bytes())
	if b.left > 0 && b.lines > 0 {
		fmt.Fprintf(out, "  and %s more: --stream with --ladder all shows them\n", count(uint64(b.left), "segment", "segments"))
	}
	t.writeFindings(out, b.found)
}

// marks of findings: the worse, the louder.
var bullets = [...]string{Info: "  - ", Note: "  * ", Warning: "  ! ", Problem: " !! "}

// writeFindings writes a bullet for each, broken at width.
func (t *text) writeFindings(out *bytes.Buffer, found []Finding) {
	for _, f := range found {
		words := f.Text
		if len(f.Frames) > 0 && f.Kind != "reset" && f.Kind != "refused" {
			words += " [" + in(f.Frames...) + "]"
		}
		t.bullet(out, f.Severity, words)
	}
}

// bullet writes words behind a mark; without a width they stay on one line.
func (t *text) bullet(out *bytes.Buffer, s Severity, words string) {
	mark := bullets[s]
	out.WriteString(mark)
	column := len(mark)
	for i, word := range strings.Fields(words) {
		switch {
		case i == 0:
		case t.cfg.Width > 0 && column+1+len(word) > t.cfg.Width:
			out.WriteString("\n    ")
			column = 4
		default:
			out.WriteByte(' ')
			column++
		}
		out.WriteString(word)
		column += len(word)
	}
	out.WriteByte('\n')
}

// rest sums up the findings of a capture with too many connections to tell them one by one.
func (t *text) rest(out *bytes.Buffer) {
	told := len(t.rows) + t.more
	if told <= len(t.blocks) {
		return
	}
	fmt.Fprintf(out, "\nall %d connections:\n", told)
	kinds := make([]*kindCount, 0, len(t.kinds))
	for _, k := range t.kinds {
		kinds = append(kinds, k)
	}
	slices.SortFunc(kinds, func(a, b *kindCount) int {
		if a.Severity != b.Severity {
			return int(b.Severity) - int(a.Severity)
		}
		if a.times != b.times {
			return b.times - a.times
		}
		return bytes.Compare([]byte(a.Kind), []byte(b.Kind))
	})
	for _, k := range kinds {
		t.bullet(out, k.Severity, fmt.Sprintf("%s: %s, first in #%d: %s", k.Kind, count(uint64(k.times), "time", "times"), k.Conn, k.Text))
	}
}
