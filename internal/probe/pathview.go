package probe

import (
	"context"
	"fmt"

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

// alteredFor returns which of the fields that a row relies on the path changes,
// and how. Who asks first looks along the path, as row P3 does.
func (b *Battery) alteredFor(ctx context.Context, row *Row) (Field, string) {
	b.looking <- struct{}{}
	defer func() { <-b.looking }()
	if b.seenPath() == nil {
		look := Find("P3")
		if b.attempt(ctx, look, 1); b.seenPath() == nil {
			b.setPath(&pathView{}) // it cannot be told
		}
	}
	changed := b.seenPath().changed
	for _, need := range row.Needs {
		for f, what := range changed {
			if need.covers(f) {
				return f, what
			}
		}
	}
	return "", ""
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
