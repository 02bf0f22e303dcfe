package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// A flagSpec is one flag: how it is spelled, what its value is called, and who
// takes the value. It is the one source for the parser, the help and the
// environment variable.
type flagSpec struct {
	name    string // long name, without dashes
	short   string // one character, or none
	arg     string // what its value is called; empty for a switch
	counted bool   // a switch that may be repeated: its value is how often
	bare    string // stands for the value where the flag is given without one
	usage   string
	group   string
	set     func(string) error
}

// env is the environment variable that stands in for the flag.
func (f *flagSpec) env() string {
	return "RAWTCP_" + strings.ToUpper(strings.ReplaceAll(f.name, "-", "_"))
}

// takesValue reports whether the flag is no switch.
func (f *flagSpec) takesValue() bool { return f.arg != "" }

// cliFlag makes the flag known to the cli package, under its long name only:
// the words were brought into that form before (see normalise).
func (f *flagSpec) cliFlag() cli.Flag {
	return &cli.GenericFlag{Name: f.name, EnvVars: []string{f.env()}, Usage: f.usage, Value: flagValue{f}}
}

// flagValue hands the text of a flag to its taker.
type flagValue struct{ spec *flagSpec }

// Set implements cli.Generic.
func (v flagValue) Set(s string) error { return v.spec.set(s) }

// String implements cli.Generic: no flag has a default that is a text.
func (v flagValue) String() string { return "" }

func switchTo(p *bool) func(string) error {
	return func(s string) error {
		on, err := strconv.ParseBool(s)
		if err != nil {
			return fmt.Errorf("want true or false")
		}
		*p = on
		return nil
	}
}

func textTo(p *string) func(string) error {
	return func(s string) error {
		if s == "" {
			return fmt.Errorf("want a value")
		}
		*p = s
		return nil
	}
}

// numberTo accepts decimal, 0x and 0b numbers from low to high.
func numberTo[T ~int | ~uint8 | ~uint16 | ~uint32](p *T, low, high int64) func(string) error {
	return func(s string) error {
		n, err := strconv.ParseInt(s, 0, 64)
		if err != nil || n < low || n > high {
			return fmt.Errorf("want a number from %d to %d", low, high)
		}
		*p = T(n)
		return nil
	}
}

// oneOf accepts one of the words.
func oneOf(p *string, words ...string) func(string) error {
	return func(s string) error {
		for _, word := range words {
			if s == word {
				*p = s
				return nil
			}
		}
		return fmt.Errorf("want %s", orList(words))
	}
}

// orList is "a, b or c".
func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
