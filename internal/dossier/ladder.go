package dossier

import (
	"bytes"
	"fmt"
	"time"

	"rawtcp/internal/probe"
	"rawtcp/internal/trace"
)

// The most events of a row that its ladder shows: the first and the last of them.
const firstEvents, lastEvents = 400, 100

// Ladder returns the segments and ICMP errors of a row's evidence as a ladder,
// with times since the first of them. cfg.Out and cfg.Now are ignored.
func Ladder(r *probe.Result, cfg trace.LadderConfig) string {
	var text bytes.Buffer
	cfg.Out, cfg.Now = &text, time.Now
	ladder := trace.NewLadder(cfg)
	left := len(r.Record) - firstEvents - lastEvents
	for i, rec := range r.Record {
		if left > 0 && i == firstEvents {
			ladder.Print(fmt.Sprintf("  ... %d more, which a capture shows ...", left))
		}
		if left <= 0 || i < firstEvents || i >= len(r.Record)-lastEvents {
			ladder.Trace(rec.Event)
		}
	}
	_ = ladder.Close(time.Minute) // memory does not fail
	return text.String()
}
