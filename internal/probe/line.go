package probe

import "time"

// A Line is a Result as a line of JSON, type "row".
type Line struct {
	Type     string     `json:"type"` // "row"
	TimeUS   int64      `json:"t_us"` // when the row was done, since the first event of the run
	Row      string     `json:"row"`  // the id
	Name     string     `json:"name"`
	Target   string     `json:"target"`
	Verdict  Verdict    `json:"verdict"`
	Outcome  string     `json:"outcome"` // the key; empty if none was reached
	Text     string     `json:"text"`
	Rule     string     `json:"rule"` // the clause that decided; empty if none did
	Risk     string     `json:"risk"`
	Facts    []FactLine `json:"facts"`
	Offered  string     `json:"offered"`  // the options of our SYN
	Attempts int        `json:"attempts"` // made
	Agreed   int        `json:"agreed"`   // of them, those that ended in this outcome
	TookUS   int64      `json:"took_us"`
	Conns    []uint64   `json:"conns"`    // connections of the evidence
	Segments []int      `json:"segments"` // numbers of its segments: 1 is the first of the run
}

// A FactLine is a Fact in JSON.
type FactLine struct {
	Name    string  `json:"name"`
	Text    string  `json:"text"`
	TimesUS []int64 `json:"times_us,omitempty"`
}

// NewLine makes the line of a result about a target.
func NewLine(r *Result, target string, timeUS int64) Line {
	l := Line{
		Type: "row", TimeUS: timeUS, Row: r.Row.ID, Name: r.Row.Name, Target: target, Verdict: r.Verdict, Outcome: r.Key,
		Text: r.Text, Rule: r.Rule.String(), Risk: r.Row.Risk.String(), Offered: r.Offered, Attempts: r.Tries, Agreed: r.Agreed,
		TookUS: r.Took.Microseconds(), Facts: []FactLine{}, Conns: append([]uint64{}, r.Conns()...), Segments: []int{},
	}
	for _, f := range r.Facts {
		l.Facts = append(l.Facts, FactLine{f.Name, f.Text, microseconds(f.Times)})
	}
	for _, rec := range r.Record {
		l.Segments = append(l.Segments, rec.Number)
	}
	return l
}

func microseconds(times []time.Duration) []int64 {
	var us []int64
	for _, d := range times {
		us = append(us, d.Microseconds())
	}
	return us
}

// A Declaration is a Row as a line of JSON, type "declaration": what --list shows.
type Declaration struct {
	Type     string        `json:"type"` // "declaration"
	Row      string        `json:"row"`
	Name     string        `json:"name"`
	Group    string        `json:"group"`
	Question string        `json:"question"`
	Stimulus string        `json:"stimulus"`
	Clauses  []string      `json:"clauses"`
	Risk     string        `json:"risk"`
	TakesUS  int64         `json:"takes_us"` // expected
	Service  string        `json:"service"`  // what it has to do
	Outcomes []OutcomeLine `json:"outcomes"`
}

// An OutcomeLine is an Outcome in JSON.
type OutcomeLine struct {
	Outcome string  `json:"outcome"`
	Verdict Verdict `json:"verdict"`
	Text    string  `json:"text"`
	Rule    string  `json:"rule"`
}

// NewDeclaration makes the line of a row.
func NewDeclaration(r *Row) Declaration {
	d := Declaration{
		Type: "declaration", Row: r.ID, Name: r.Name, Group: r.Group(), Question: r.Question, Stimulus: r.Stimulus,
		Clauses: []string{}, Risk: r.Risk.String(), TakesUS: r.Takes.Microseconds(), Service: r.Service.String(), Outcomes: []OutcomeLine{},
	}
	for _, c := range r.Clauses {
		d.Clauses = append(d.Clauses, c.String())
	}
	for i := range r.Outcomes {
		o := &r.Outcomes[i]
		d.Outcomes = append(d.Outcomes, OutcomeLine{o.Key, o.Verdict, o.Says, r.rule(o).String()})
	}
	return d
}
