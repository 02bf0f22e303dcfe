package probe

import (
	"strconv"
	"strings"
)

// A Clause is where a standard says what should be.
type Clause struct {
	RFC     int    // number
	Section string // "3.10.7.4"
	Rule    string // "MUST-8", "SHLD-3" of RFC 9293 appendix B; may be empty
}

// rfc makes a Clause; rule is at most one.
func rfc(number int, section string, rule ...string) Clause {
	return Clause{number, section, strings.Join(rule, ", ")}
}

// IsZero reports whether no clause was given.
func (c Clause) IsZero() bool { return c.RFC == 0 }

// String is "RFC 9293 section 3.10.7.4 (MUST-8)".
func (c Clause) String() string {
	if c.IsZero() {
		return ""
	}
	text := "RFC " + strconv.Itoa(c.RFC) + " section " + c.Section
	if c.Rule != "" {
		text += " (" + c.Rule + ")"
	}
	return text
}

// MarshalText makes a clause a string in JSON.
func (c Clause) MarshalText() ([]byte, error) { return []byte(c.String()), nil }
