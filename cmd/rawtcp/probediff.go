package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"rawtcp/internal/dossier"
	"rawtcp/internal/probe"
	"rawtcp/internal/trace"
)

// listRows shows the rows and sends nothing.
func (p *program) listRows(o *probeOptions, rows []*probe.Row) error {
	if !o.json {
		return p.print(probeListText(rows))
	}
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	for _, r := range rows {
		if err := encoder.Encode(probe.NewDeclaration(r)); err != nil {
			return err
		}
	}
	return p.print(b.String())
}

// A diffLine is a row of `probe --diff --json`, type "diff".
type diffLine struct {
	Type string    `json:"type"` // "diff"
	Row  string    `json:"row"`
	Name string    `json:"name"`
	A    *diffSide `json:"a"` // null: not run
	B    *diffSide `json:"b"`
}

// A diffSide is what one run says of a row.
type diffSide struct {
	Target  string        `json:"target"`
	Verdict probe.Verdict `json:"verdict"`
	Outcome string        `json:"outcome"`
	Text    string        `json:"text"`
	Rule    string        `json:"rule"`
}

// A diffSummary is the last line of `probe --diff --json`.
type diffSummary struct {
	trace.Summary
	Diff diffCounts `json:"diff"`
}

// diffCounts are how many rows two runs share, and in how many they differ.
type diffCounts struct {
	A      string `json:"a"` // target
	B      string `json:"b"`
	Shared int    `json:"shared"` // rows that both have
	Differ int    `json:"differ"` // rows that differ, or that one of them lacks
	PrintA string `json:"print_a"`
	PrintB string `json:"print_b"`
}

// probeDiff compares two runs, of which each is a saved one or is made now.
func (p *program) probeDiff(ctx context.Context, o *probeOptions, rows []*probe.Row, args []string) (err error) {
	if len(args) != 2 {
		return usageError("--diff wants two: each a HOST:PORT, or a file that rawtcp probe --json has written")
	}
	if o.pcap != "" {
		return usageError("--diff and --pcap exclude each other: a capture is of one run")
	}
	o.live = !o.quiet
	session, err := p.openSession("probe", &o.talkOptions, false, trace.TagLocal)
	if err != nil {
		return err
	}
	defer func() { err = firstOf(err, session.close()) }()
	rein := newControl(ctx, o.timeout, func() {})
	defer rein.end()
	var runs [2]*dossier.Run
	for i, arg := range args {
		if runs[i], err = p.savedRun(arg); err != nil {
			return err
		}
		if runs[i] != nil {
			continue
		}
		r := &probeRun{p: p, o: o, rows: rows, session: session, rein: rein}
		if runs[i], err = r.runOf(arg); err != nil {
			return err
		}
	}
	return p.tellDiff(session, runs[0], runs[1])
}

// savedRun reads a saved run. It returns nil if there is no such file.
func (p *program) savedRun(arg string) (*dossier.Run, error) {
	f, err := os.Open(arg)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, usageError("%w", err)
	}
	defer f.Close()
	run, err := dossier.Read(f)
	if err != nil {
		return nil, usageError("%s is no saved run (rawtcp probe --json > FILE): %w", arg, err)
	}
	return run, nil
}

// runOf makes a run of a host, of which people see nothing but its progress.
func (r *probeRun) runOf(arg string) (*dossier.Run, error) {
	var err error
	if r.target, err = parseTarget([]string{arg}); err != nil {
		return nil, err
	}
	if r.service, err = r.o.serviceOf(r.target); err != nil {
		return nil, err
	}
	if err := r.open(); err != nil {
		return nil, r.early(err)
	}
	defer r.link.Close()
	r.silent = true
	report, err := r.battery(nil)
	if err = r.outcome(report, err); err != nil && codeOf(err) != exitNo {
		return nil, err
	}
	if report.Cut {
		return nil, stopFailure(r.rein.stopped(), r.o.timeout)
	}
	run := &dossier.Run{Target: r.remote.String(), Print: report.Print()}
	for i := range report.Results {
		run.Rows = append(run.Rows, probe.NewLine(&report.Results[i], run.Target, 0))
	}
	return run, nil
}

// tellDiff shows the rows that differ. As diff does, it ends with 1 if there are any.
func (p *program) tellDiff(s *session, a, b *dossier.Run) error {
	differ, shared := dossier.Diff(a, b)
	for _, d := range differ {
		if s.json != nil {
			s.json.Line(showTime, func(int64) any {
				return diffLine{"diff", d.Row, d.Name, sideOf(d.A), sideOf(d.B)}
			})
		}
		s.say(diffText(d, a.Target, b.Target))
	}
	if s.json != nil {
		line := diffSummary{Summary: new(trace.Total).Summary(), Diff: diffCounts{a.Target, b.Target, shared, len(differ), a.Print, b.Print}}
		line.Type = "summary"
		s.json.Line(showTime, func(int64) any { return line })
	}
	s.say(diffSummaryText(a, b, shared, len(differ)))
	if len(differ) > 0 {
		return &failure{code: exitNo, err: errors.New("the runs differ"), silent: true}
	}
	return nil
}

func sideOf(l *probe.Line) *diffSide {
	if l == nil {
		return nil
	}
	return &diffSide{l.Target, l.Verdict, l.Outcome, l.Text, l.Rule}
}

// diffText is a row, and below it what each run says.
func diffText(d dossier.Difference, a, b string) string {
	return fmt.Sprintf("%s %s\n%s\n%s", d.Row, d.Name, sideText("<", a, d.A), sideText(">", b, d.B))
}

func sideText(mark, target string, l *probe.Line) string {
	if l == nil {
		return fmt.Sprintf("%s %s: not run", mark, target)
	}
	return fmt.Sprintf("%s %s: %s, %s", mark, target, l.Verdict, trace.AppendEscaped(nil, []byte(l.Text)))
}

func diffSummaryText(a, b *dossier.Run, shared, differ int) string {
	verb := "differ"
	if differ == 1 {
		verb = "differs"
	}
	text := fmt.Sprintf("--- %s and %s ---\n%s in both, %d %s", a.Target, b.Target, plural(uint64(shared), "row"), differ, verb)
	if a.Print != b.Print {
		text += fmt.Sprintf("\nprint < %s\nprint > %s",
			trace.AppendEscaped(nil, []byte(a.Print)), trace.AppendEscaped(nil, []byte(b.Print)))
	}
	return text
}
