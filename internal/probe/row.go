package probe

import (
	"slices"
	"strings"
	"time"
)

// A Verdict is what a row says about the host.
type Verdict string

// The verdicts.
const (
	Pass       Verdict = "pass"       // as the standards ask
	Note       Verdict = "note"       // allowed, or not decided by a standard, and worth knowing
	Fail       Verdict = "fail"       // against a MUST, or a SHOULD without an excuse
	Vulnerable Verdict = "vulnerable" // somebody who is not on the path can do harm with it
	Unknown    Verdict = "unknown"    // could not be told; the text says why
)

// Verdicts lists the verdicts, the best first.
var Verdicts = []Verdict{Pass, Note, Fail, Vulnerable, Unknown}

// Bad reports whether a verdict is an accusation.
func (v Verdict) Bad() bool { return v == Fail || v == Vulnerable }

// A Risk says what running a row may cost the host or the user.
type Risk uint8

// The risks, which may be combined. Safe is none of them.
const (
	Data      Risk = 1 << iota // needs a service that sends data
	Slow                       // takes more than ten seconds
	Intrusive                  // may disturb the host: only if asked for
	Passive                    // the host has to connect to us
	Safe      Risk = 0
)

// String is the catalogue's letters: "s", "d", "t", "i", "l", or several.
func (r Risk) String() string {
	var b strings.Builder
	for i, letter := range "dtil" {
		if r>>i&1 != 0 {
			b.WriteRune(letter)
		}
	}
	if b.Len() == 0 {
		return "s"
	}
	return b.String()
}

// A Field is a part of a segment that a path may change.
type Field string

// The fields.
const (
	FieldOptions  Field = "options"
	FieldMSS      Field = "mss"
	FieldScale    Field = "wscale"
	FieldSACK     Field = "sack"
	FieldStamps   Field = "timestamps"
	FieldSeq      Field = "seq"
	FieldAck      Field = "ack"
	FieldWindow   Field = "window"
	FieldFlags    Field = "flags"
	FieldECN      Field = "ecn"
	FieldDSCP     Field = "dscp"
	FieldTTL      Field = "ttl"
	FieldIPID     Field = "ipid"
	FieldReserved Field = "reserved"
	FieldUrgent   Field = "urgent"
	FieldPayload  Field = "payload"
	FieldPorts    Field = "ports"
)

// An Outcome is one way in which a row can end.
type Outcome struct {
	Key      string // one word, which Test returns
	Verdict  Verdict
	Says     string // one sentence without a period
	Rule     Clause // which decides; default: the first of the row's clauses
	LikeLoss bool   // a lost segment, ours or theirs, would look the same
	LikePath bool   // no bad news, and a path that changes what the row needs would look the same
}

// A Row is one behaviour test.
type Row struct {
	ID       string // "C2"
	Name     string // "rst-in-window"
	Question string
	Stimulus string   // what is sent
	Clauses  []Clause // the first decides unless an outcome says otherwise
	Risk     Risk
	Takes    time.Duration // expected, with no loss
	Service  Need          // what the service has to do
	Puppets  int           // connections at a time; default 1
	Needs    []Field       // what a path must have left alone
	Outcomes []Outcome

	// Attempts is how many times a bad outcome that looks like loss has to
	// come, and nothing else, to stand; default 5. A row that repeats its
	// stimulus itself, or takes minutes, may say 1.
	Attempts int

	Test func(*T) string // returns the key of an outcome
}

// Group returns the letters of a row's group: "C".
func (r *Row) Group() string { return strings.TrimRight(r.ID, "0123456789") }

// Outcome returns the outcome of a key, or nil.
func (r *Row) Outcome(key string) *Outcome {
	i := slices.IndexFunc(r.Outcomes, func(o Outcome) bool { return o.Key == key })
	if i < 0 {
		return nil
	}
	return &r.Outcomes[i]
}

// rule returns the clause that decides an outcome.
func (r *Row) rule(o *Outcome) Clause {
	if !o.Rule.IsZero() || len(r.Clauses) == 0 {
		return o.Rule
	}
	return r.Clauses[0]
}
