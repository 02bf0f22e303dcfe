package trace

import "rawtcp/engine"

// A Tee hands each event to all of its tracers, in order.
type Tee []engine.Tracer

// Interest implements engine.Selective: what any of its tracers wants.
func (t Tee) Interest() engine.Interest {
	var all engine.Interest
	for _, tracer := range t {
		all |= engine.InterestOf(tracer)
	}
	return all
}

// Trace implements engine.Tracer.
func (t Tee) Trace(e *engine.Event) {
	for _, tracer := range t {
		tracer.Trace(e)
	}
}
