package sim

import (
	"slices"

	"rawtcp/engine"
)

// Shrink leaves out of a failing plan what it can while some run of it still
// fails: faults, talks, then octets. tries bounds the runs.
func Shrink(p Plan, tries int) Plan {
	fails := func(q *Plan) bool {
		tries--
		return tries >= 0 && Run(q, nil).Violation != ""
	}
	for smaller := true; smaller && tries > 0; {
		smaller = false
		for _, q := range simpler(&p) {
			if fails(&q) {
				p, smaller = q, true
				break
			}
		}
	}
	return p
}

// simpler returns the plans that are one step smaller, the boldest first.
func simpler(p *Plan) []Plan {
	var all []Plan
	vary := func(change func(q *Plan)) {
		q := *p
		q.Talks = slices.Clone(p.Talks)
		q.Faults = slices.Clone(p.Faults)
		change(&q)
		all = append(all, q)
	}
	if n := len(p.Faults); n > 1 {
		vary(func(q *Plan) { q.Faults = nil })
	}
	for side := range p.Limits {
		if p.Limits[side] != (engine.Limits{}) {
			vary(func(q *Plan) { q.Limits[side] = engine.Limits{} })
		}
	}
	for i := range p.Faults {
		vary(func(q *Plan) { q.Faults = slices.Delete(q.Faults, i, i+1) })
	}
	present := 0
	for i := range p.Talks {
		if !p.Talks[i].Absent {
			present++
		}
	}
	for i := range p.Talks {
		if p.Talks[i].Absent {
			continue
		}
		if present > 1 {
			vary(func(q *Plan) { q.Talks[i].Absent = true })
		}
		for h := range 2 {
			if p.Talks[i].Apps[h].Send > 0 {
				vary(func(q *Plan) { q.Talks[i].Apps[h].Send = 0 })
				vary(func(q *Plan) { q.Talks[i].Apps[h].Send /= 2 })
				vary(func(q *Plan) { q.Talks[i].Apps[h].Send -= (q.Talks[i].Apps[h].Send + 9) / 10 })
			}
		}
	}
	return all
}
