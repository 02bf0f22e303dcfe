package engine

import "rawtcp/segment"

// An Interest is a set of kinds of events, and whether plain segments belong to
// it: those without SYN, FIN and RST, which are nearly all that pass in a bulk
// transfer.
type Interest uint32

// The sets that are no list of kinds.
const (
	PlainSegments Interest = 1         // beside EventSegmentIn and EventSegmentOut: the plain ones too
	Everything    Interest = 1<<32 - 1 // all kinds, now and in times to come
)

// InterestIn returns the set of kinds, without plain segments.
func InterestIn(kinds ...EventKind) Interest {
	var i Interest
	for _, k := range kinds {
		i |= 1 << k
	}
	return i
}

// A Selective is a Tracer that has no use for every event. Interest is asked
// once, when the stack is made. What is not in it need not be told: it costs the
// stack next to nothing then. It may be told all the same, for the sake of
// another tracer.
//
// Who lists EventTally and not PlainSegments learns from tallies what the
// segments and octets come to that were not told.
type Selective interface {
	Tracer
	Interest() Interest
}

// InterestOf returns what t wants to be told: nothing if it is nil, and
// everything if it does not say.
func InterestOf(t Tracer) Interest {
	if t == nil {
		return 0
	}
	if s, ok := t.(Selective); ok {
		return s.Interest()
	}
	return Everything
}

// setTracer makes t the one who is told, nil: nobody.
func (s *Stack) setTracer(t Tracer) { s.cfg.Tracer, s.interest = t, InterestOf(t) }

// wants reports whether events of a kind are to be told. Others are not built.
func (s *Stack) wants(k EventKind) bool { return s.interest&(1<<k) != 0 }

// wantsSegment reports the same of a segment with these flags, in or out.
func (s *Stack) wantsSegment(k EventKind, f segment.Flags) bool {
	return s.wants(k) && (s.interest&PlainSegments != 0 || !isPlain(f))
}

func isPlain(f segment.Flags) bool { return !f.Any(segment.SYN | segment.FIN | segment.RST) }
