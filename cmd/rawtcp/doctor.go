package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"rawtcp/internal/trace"
)

// The verdicts of the doctor.
const (
	verdictOK   = "ok"
	verdictWarn = "warn"
	verdictFail = "fail"
)

// A finding is one line of the doctor. It is a JSON line too.
type finding struct {
	Type   string `json:"type"`   // "check"
	Status string `json:"status"` // "ok", "warn" or "fail"
	Check  string `json:"check"`  // what was looked at
	What   string `json:"what"`   // what was found
	Do     string `json:"do"`     // what to do about it; empty for nothing
}

func okay(check, format string, args ...any) finding {
	return finding{Status: verdictOK, Check: check, What: fmt.Sprintf(format, args...)}
}

func warn(check, do, format string, args ...any) finding {
	return finding{Status: verdictWarn, Check: check, What: fmt.Sprintf(format, args...), Do: do}
}

func bad(check, do, format string, args ...any) finding {
	return finding{Status: verdictFail, Check: check, What: fmt.Sprintf(format, args...), Do: do}
}

// doctorOptions are the settings of doctor.
type doctorOptions struct {
	json  bool
	color string
}

func (p *program) doctorCommand() *command {
	o := &doctorOptions{color: "auto"}
	return &command{
		name: "doctor", usage: "rawtcp doctor [flags]", help: helpDoctor,
		flags: []flagSpec{
			{name: "json", short: "j", group: groupOutput, usage: "JSON Lines on stdout", set: switchTo(&o.json)},
			{name: "color", arg: "WHEN", group: groupOutput, usage: "auto, always or never", set: oneOf(&o.color, "auto", "always", "never")},
		},
		run: func(_ context.Context, args []string) error { return p.doctor(o, args) },
	}
}

// doctorChecks in the order of what stops most.
var doctorChecks = []func() []finding{
	checkKernel,
	checkCapabilities,
	checkRawSocket,
	checkGuards,
	checkHandshake,
	checkNFTables,
	checkIPTables,
	checkConntrack,
	checkReversePath,
	checkOffloads,
	checkClock,
	checkNamespaces,
}

func (p *program) doctor(o *doctorOptions, args []string) error {
	if len(args) > 0 {
		return usageError("doctor takes no arguments, got %q", args[0])
	}
	columns, terminal := terminalSize(p.stdout)
	color := useColor(o.color, p.env, terminal)
	counts := map[string]int{}
	if o.json {
		if err := writeJSON(p.stdout, map[string]string{"type": "start", "schema": trace.Schema, "command": "doctor", "version": versionText()}); err != nil {
			return err
		}
	}
	for _, check := range doctorChecks {
		for _, f := range check() {
			counts[f.Status]++
			f.Type = "check"
			if err := p.tell(f, o.json, columns, color); err != nil {
				return err
			}
		}
	}
	if o.json {
		line := map[string]any{"type": "summary", "ok": counts[verdictOK], "warn": counts[verdictWarn], "fail": counts[verdictFail]}
		if err := writeJSON(p.stdout, line); err != nil {
			return err
		}
	}
	if counts[verdictFail] > 0 {
		return &failure{code: exitNo, err: fmt.Errorf("%s", plural(uint64(counts[verdictFail]), "check")+" failed"), silent: true}
	}
	return nil
}

// tell prints one finding.
func (p *program) tell(f finding, asJSON bool, columns int, color bool) error {
	if asJSON {
		return writeJSON(p.stdout, f)
	}
	return p.print(findingText(f, columns, color))
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return &failure{code: exitOutput, err: err}
	}
	return nil
}

// findingText is a line such as "ok    kernel       Linux 6.18", broken at the
// edge of a terminal and nowhere else.
func findingText(f finding, columns int, color bool) string {
	const indent = 6 + 13
	status := fmt.Sprintf("%-4s", f.Status)
	if color {
		status = map[string]string{verdictOK: "\x1b[32m", verdictWarn: "\x1b[33m", verdictFail: "\x1b[31m"}[f.Status] + status + "\x1b[0m"
	}
	text := f.What
	if f.Do != "" {
		text += " -- " + f.Do
	}
	text = string(trace.AppendEscaped(nil, []byte(text)))
	if columns > 2*indent {
		text = strings.ReplaceAll(wrap(text, columns-indent), "\n  ", "\n"+strings.Repeat(" ", indent+2))
	}
	return fmt.Sprintf("%s  %-12s %s\n", status, f.Check, text)
}
