package trace

import "rawtcp/engine"

// A Tee hands each event to all of its tracers, in order.
type Tee []engine.Tracer

// Trace implements engine.Tracer.
func (t Tee) Trace(e *engine.Event) {
	for _, tracer := range t {
		tracer.Trace(e)
	}
}
