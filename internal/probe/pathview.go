package probe

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"rawtcp/engine"
	"rawtcp/internal/puppet"
	"rawtcp/segment"
)

func (b *Battery) setPath(v *pathView) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.path = v
}

func (b *Battery) seenPath() *pathView {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.path
}

// altered returns what the path does to something that a row relies on, in words,
// or "". Who asks first looks along the path, as row P3 does; the SYNs of the row's
// evidence that are of another shape follow the same way. It is what a row has to
// be excused by, and may take some seconds.
func (b *Battery) altered(ctx context.Context, row *Row, r *Result) string {
	b.looking <- struct{}{}
	defer func() { <-b.looking }()
	if b.seenPath() == nil {
		look := Find("P3")
		if b.attempt(ctx, look, 1); b.seenPath() == nil {
			b.setPath(&pathView{}) // it cannot be told
		}
	}
	path := b.seenPath()
	if what := path.alters(row); what != "" || path.told == 0 {
		return what
	}
	lossLike := r.Key == "" || row.Outcome(r.Key).LikeLoss
	for _, syn := range oddSYNs(r.Record) {
		view := b.follow(ctx, syn)
		if what := view.alters(row); what != "" {
			return what
		}
		if lossLike && view.lostAt != "" {
			return "a SYN with " + shapeText(syn) + " is dropped " + view.lostAt
		}
	}
	return ""
}

// alters says how a path changes a field that a row relies on, or "".
func (v *pathView) alters(row *Row) string {
	for _, need := range row.Needs {
		if what := v.changed[need]; what != "" {
			return string(need) + " " + what
		}
	}
	return ""
}

// oddSYNs are the SYNs of ours in the evidence, one of each shape; only so many,
// for each is sent to every router.
func oddSYNs(record []puppet.Record) (syns []*engine.Event) {
	const most = 4
	var shapes []string
	for _, rec := range record {
		e := rec.Event
		if e.Kind != engine.EventSegmentOut || !e.Segment.Flags.Has(segment.SYN) || e.Segment.Flags.Has(segment.ACK) {
			continue
		}
		if shape := shapeText(e); !slices.Contains(shapes, shape) && len(syns) < most {
			shapes, syns = append(shapes, shape), append(syns, e)
		}
	}
	return syns
}

// shapeText is what routers may make a difference by: flags, reserved bits, the
// kinds of options.
func shapeText(syn *engine.Event) string {
	fields := fieldsOf(syn.Packet)
	text := "flags " + syn.Segment.Flags.String()
	for _, f := range fields.list {
		if f.field == FieldReserved && f.value != "0" {
			text += ", reserved bits " + f.value
		}
	}
	var kinds []string
	for kind := range fields.options.All() {
		if kind != segment.KindNOP && kind != segment.KindEOL {
			kinds = append(kinds, strconv.Itoa(int(kind)))
		}
	}
	if kinds == nil {
		return text + ", no options"
	}
	return text + ", options " + strings.Join(kinds, " ")
}

// follow has copies of a SYN climb a ladder, once for each shape.
func (b *Battery) follow(ctx context.Context, syn *engine.Event) *pathView {
	shape := shapeText(syn)
	if view := b.followed[shape]; view != nil {
		return view
	}
	view := &pathView{changed: map[Field]string{}}
	look := *Find("P3")
	look.Test = func(t *T) string {
		p := t.Puppet()
		rungs := t.Ladder(p, puppet.Either(puppet.SYNACK, puppet.RST), func(hops puppet.Mod) puppet.Sent {
			return p.Send(segment.SYN, hops, puppet.LookLike(syn.Packet), numbered(p))
		})
		view.see(t, "SYN", rungs)
		view.lostAt = b.seenPath().missing(rungs)
		return "intact"
	}
	b.attempt(ctx, &look, 1)
	b.followed[shape] = view
	return view
}

// missing says where a ladder breaks off that another one has climbed, or "".
func (v *pathView) missing(rungs []Rung) string {
	before := "us"
	for _, r := range rungs {
		switch {
		case r.Answer != nil:
			return ""
		case r.ICMP != nil:
			before = fmt.Sprintf("hop %d (%v)", r.Hops, r.ICMP.From)
		case v.answered[r.Hops] == "the host": // which may drop it itself
			return ""
		case v.answered[r.Hops] != "":
			return fmt.Sprintf("before hop %d (%s), behind %s", r.Hops, v.answered[r.Hops], before)
		}
	}
	return ""
}

// strayReset says if a RST of the evidence came from another distance than the
// SYN-ACK of its connection: somebody on the path has sent it.
func strayReset(record []puppet.Record) string {
	greeted := map[uint64]uint8{}
	for _, rec := range record {
		e := rec.Event
		if e.Kind != engine.EventSegmentIn {
			continue
		}
		switch s := e.Segment; {
		case s.Flags&(segment.SYN|segment.ACK) == segment.SYN|segment.ACK:
			greeted[e.Conn] = s.TTL
		case s.Flags.Has(segment.RST):
			if ttl, known := greeted[e.Conn]; known && hopsBack(ttl) != hopsBack(s.TTL) {
				return fmt.Sprintf("a RST came with ttl %d, and the SYN-ACK with ttl %d: it is not the host's", s.TTL, ttl)
			}
		}
	}
	return ""
}
