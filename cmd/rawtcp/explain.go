package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime/debug"
	"strconv"

	"rawtcp/internal/explain"
	"rawtcp/internal/trace"
)

// explainOptions are the settings of explain.
type explainOptions struct {
	explain.Options
	json     bool
	color    string
	ladder   string
	verbose  int
	absolute bool
	time     trace.TimeStyle
}

const groupFilter = "What is looked at"

func (p *program) explainCommand() *command {
	o := &explainOptions{color: "auto", ladder: "auto"}
	return &command{
		name: "explain", usage: "rawtcp explain [flags] FILE...", help: helpExplain,
		flags: []flagSpec{
			{name: "host", arg: "ADDR", group: groupFilter, usage: "only connections with this address", set: addrTo(&o.Host)},
			{name: "port", arg: "N", group: groupFilter, usage: "only connections with this port", set: numberTo(&o.Port, 1, 65535)},
			{name: "stream", arg: "N", group: groupFilter, usage: "only the connection of this number, as the table has it: Wireshark's tcp.stream + 1", set: streamTo(&o.Stream)},
			{name: "ladder", arg: "HOW", group: groupOutput, usage: "auto (the beginning of each, if they are few), all (every segment, in the order of the capture) or none", set: oneOf(&o.ladder, "auto", "all", "none")},
			{name: "json", short: "j", group: groupOutput, usage: "JSON Lines on stdout", set: switchTo(&o.json)},
			{name: "verbose", short: "v", counted: true, group: groupOutput, usage: "show payload too", set: numberTo(&o.verbose, 0, 9)},
			{name: "color", arg: "WHEN", group: groupOutput, usage: "auto, always or never", set: oneOf(&o.color, "auto", "always", "never")},
			{name: "time", arg: "STYLE", group: groupOutput, usage: "time of each line: rel, delta, abs or epoch", set: func(s string) (err error) {
				o.time, err = trace.ParseTimeStyle(s)
				return err
			}},
			{name: "absolute-seq", short: "S", group: groupOutput, usage: "sequence numbers as on the wire", set: switchTo(&o.absolute)},
		},
		run: func(ctx context.Context, args []string) error { return p.explain(ctx, o, args) },
	}
}

func addrTo(p *netip.Addr) func(string) error {
	return func(s string) error {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return fmt.Errorf("want an IPv4 or IPv6 address")
		}
		*p = addr.Unmap()
		return nil
	}
}

func streamTo(p *uint64) func(string) error {
	return func(s string) error {
		n, err := strconv.ParseUint(s, 10, 63)
		if err != nil || n == 0 {
			return fmt.Errorf("want the number of a connection, from 1")
		}
		*p = n
		return nil
	}
}

// gcPercent is how much garbage there may be beside what is in use.
const gcPercent = 30

// explain looks at one file after the other. One that cannot be read does not
// keep it from the others.
func (p *program) explain(ctx context.Context, o *explainOptions, files []string) error {
	if len(files) == 0 {
		return usageError("no capture: want FILE, or - for stdin")
	}
	// Most of the memory is that of the connections followed; it is to stay that.
	defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	rein := newControl(ctx, 0, func() {})
	defer rein.end()
	// A second signal does what it does to any program.
	defer context.AfterFunc(rein.stop, rein.end)()
	out := bufio.NewWriterSize(p.stdout, 64<<10)
	var failed error
	for i, name := range files {
		if i > 0 && !o.json {
			fmt.Fprintln(out)
		}
		err := p.explainFile(rein.stop, o, name, out)
		failed = errors.Join(failed, err)
		if err != nil && codeOf(err) != exitUsage {
			break
		}
	}
	if err := out.Flush(); err != nil && codeOf(failed) != exitOutput {
		failed = &failure{code: exitOutput, err: err}
	}
	if isReaderGone(failed) {
		return nil // rawtcp explain FILE | head has what it wanted
	}
	return failed
}

func (p *program) explainFile(stop context.Context, o *explainOptions, name string, out *bufio.Writer) error {
	in, size, err := p.openCapture(stop, name)
	if err != nil {
		return err
	}
	defer in.Close()
	options := o.Options
	bar := p.newProgress(name, size, o.json || o.ladder == "all")
	if bar != nil {
		options.Progress = bar.show
		defer bar.clear()
	}
	// What was made of the octets so far is shown before more are waited for.
	source := &eager{r: in, out: out}
	if o.json {
		err = p.explainJSON(options, name, source, out)
	} else {
		err = explain.Text(source, options, p.explainText(o, name, out))
	}
	var sig errSignal
	switch {
	case errors.As(in.stopped, &sig) && (in.wait == nil || err != nil): // of a pipe it is how the reading ends
		return &failure{code: sig.code(), err: fmt.Errorf("interrupted by %w", sig), silent: true}
	case err == nil:
		return nil
	case source.failed != nil || errors.As(err, new(*writeError)):
		return &failure{code: exitOutput, err: err}
	}
	return usageError("%s: %w", shown(name), err)
}

func (p *program) explainJSON(options explain.Options, name string, in io.Reader, out io.Writer) error {
	w := trace.NewLineWriter(markErrors{out})
	start := trace.CaptureStart{Type: "start", Schema: trace.Schema, Command: "explain", File: name, Version: versionText()}
	if err := w.Write(start); err != nil {
		return err
	}
	return explain.Lines(in, options, w.Write)
}

func (p *program) explainText(o *explainOptions, name string, out io.Writer) explain.TextConfig {
	columns, terminal := terminalSize(p.stdout)
	if n, err := strconv.Atoi(p.env("COLUMNS")); err == nil && n > 0 && !terminal {
		columns = n
	}
	return explain.TextConfig{
		Out: markErrors{out}, Name: shown(name), Width: columns, UTF8: speaksUTF8(p.env), Color: useColor(o.color, p.env, terminal),
		Verbose: o.verbose, Absolute: o.absolute, Time: o.time,
		Ladder: map[string]explain.LadderAmount{"auto": explain.LadderSome, "all": explain.LadderAll, "none": explain.LadderNone}[o.ladder],
	}
}

// shown is a file's name as a terminal may have it.
func shown(name string) string {
	if name == "-" {
		return "stdin"
	}
	return string(trace.AppendEscaped(nil, []byte(name)))
}

// eager flushes what was written before it reads more, for reading may take
// long where the capture is being made.
type eager struct {
	r      io.Reader
	out    *bufio.Writer
	failed error
}

// Read implements io.Reader.
func (e *eager) Read(b []byte) (int, error) {
	if e.failed = e.out.Flush(); e.failed != nil {
		return 0, e.failed
	}
	return e.r.Read(b)
}

// A writeError is an error of the output, not of the capture.
type writeError struct{ error }

// Unwrap returns the cause.
func (w *writeError) Unwrap() error { return w.error }

// markErrors makes the errors of a writer known as such.
type markErrors struct{ w io.Writer }

// Write implements io.Writer.
func (m markErrors) Write(b []byte) (int, error) {
	n, err := m.w.Write(b)
	if err != nil {
		err = &writeError{err}
	}
	return n, err
}
