package report

import (
	"io"
	"sync"

	"rawtcp/engine"
	"rawtcp/internal/trace"
)

// A Recorder is a sink that keeps what a report needs of a run as it happens,
// in bounded memory. It may be used by several goroutines at once.
type Recorder struct {
	mu    sync.Mutex
	run   *Run
	lines *trace.Lines
}

// NewRecorder returns a sink that has seen nothing yet.
func NewRecorder() *Recorder {
	r := &Recorder{run: NewRun()}
	r.lines = trace.NewLines(r.Add)
	return r
}

// Trace implements engine.Tracer.
func (r *Recorder) Trace(e *engine.Event) { r.lines.Trace(e) }

// Add keeps a line that is no event: a trace.Start, Summary or ErrorLine.
func (r *Recorder) Add(line any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.run.Add(line)
}

// Write writes the report of all that came so far.
func (r *Recorder) Write(w io.Writer) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.run.Write(w)
}
