package report

import (
	"fmt"
	"slices"

	"rawtcp/internal/trace"
)

const laneHeight = 26.0

// lanes draws each timer as a lane: from when it was armed to when it fired, or
// was stopped or armed anew. Nil if there was none.
func lanes(c *conn, s *timescale) *picture {
	var names []string
	for i := range c.timers {
		if name := laneName(&c.timers[i]); !slices.Contains(names, name) && len(names) < 20 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	s.fit(plotWidth-12, foldWidth)
	height := laneHeight * float64(len(names))
	p := &picture{
		Name: "lanes", W: graphWidth, H: num(graphTop + height + graphBottom), Title: "Timers over time",
		Desc: fmt.Sprintf("%s of timers in %s. The table of timers has the same in words.", count(len(c.timers), "event"), count(len(names), "lane")),
	}
	scale := layer{Class: "scale"}
	var rules path
	for i, name := range names {
		y := graphTop + laneHeight*(float64(i)+0.5)
		rules.move(graphLeft, y)
		rules.across(graphWidth - graphRight)
		scale.Texts = append(scale.Texts, label{graphLeft - 8, num(y + 4), "end", name})
	}
	scale.Shapes = shapes(shape{"rule", rules})
	times := graphTimes(s)
	for i := range times.Texts {
		times.Texts[i].Y = p.H - 8
	}
	times.Shapes = nil
	p.Layers = []layer{scale, times, lanePlot(c, s, names, height)}
	p.Keys = []key{{"key armed", "runs"}, {"dotkey", "fires"}, {"key stopped", "is stopped"}}
	return p
}

func laneName(l *trace.TimerLine) string {
	if l.Side == "remote" {
		return spoken(l.Timer) + " (peer)"
	}
	return spoken(l.Timer)
}

func lanePlot(c *conn, s *timescale, names []string, height float64) layer {
	at := func(us int64) float64 { return 6 + s.at(us) }
	var runs, fired, stopped path
	armed := map[string]int64{}
	for i := range c.timers {
		l := &c.timers[i]
		lane := slices.Index(names, laneName(l))
		if lane < 0 {
			continue
		}
		y := laneHeight * (float64(lane) + 0.5)
		if from, ok := armed[names[lane]]; ok {
			runs.move(at(from), y)
			runs.across(max(at(l.TimeUS), at(from)+1))
			delete(armed, names[lane])
		}
		switch l.What {
		case "armed":
			armed[names[lane]] = l.TimeUS
		case "fired":
			fired.dot(at(l.TimeUS), y)
		case "stopped":
			stopped.move(at(l.TimeUS), y-6)
			stopped.down(y + 6)
		}
	}
	for i, name := range names { // those that were never heard of again
		if from, ok := armed[name]; ok {
			runs.move(at(from), laneHeight*(float64(i)+0.5))
			runs.across(at(s.last))
		}
	}
	return layer{
		Class: "plot", Frame: &frame{graphLeft, graphTop, plotWidth, num(height)},
		Shapes: shapes(shape{"fold", foldMarks(s, at, height)}, shape{"armed", runs}, shape{"stopped", stopped}, shape{"fired", fired}),
	}
}
