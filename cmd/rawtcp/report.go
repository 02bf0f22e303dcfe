package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"rawtcp/internal/capture"
	"rawtcp/internal/explain"
	"rawtcp/internal/report"
	"rawtcp/internal/trace"
)

// reportOptions are the settings of `rawtcp report`.
type reportOptions struct {
	output string // of the HTML; - is stdout
	svg    string // directory, or FILE.svg
	conn   uint64 // 0: all
	force  bool
}

func (p *program) reportCommand() *command {
	o := new(reportOptions)
	return &command{
		name: "report", usage: "rawtcp report [flags] FILE... -o REPORT.html", help: helpReport,
		flags: o.flags(),
		run:   func(_ context.Context, args []string) error { return p.makeReport(o, args) },
	}
}

func (o *reportOptions) flags() []flagSpec {
	return []flagSpec{
		{name: "output", short: "o", arg: "FILE", group: groupOutput, usage: "write the report to FILE; - is stdout", set: textTo(&o.output)},
		{name: "svg", arg: "DIR|FILE.svg", group: groupOutput, usage: "write ladder and graphs as files of their own: into a directory, or beside FILE.svg", set: textTo(&o.svg)},
		{name: "conn", arg: "N", group: groupOutput, usage: "only the connection with this number", set: o.setConn},
		{name: "stream", arg: "N", group: groupOutput, usage: "the same as --conn, for who knows it from other tools", set: o.setConn},
		{name: "force", group: groupOutput, usage: "overwrite output files", set: switchTo(&o.force)},
	}
}

func (o *reportOptions) setConn(s string) error {
	var n int
	if err := numberTo(&n, 1, 1<<62)(s); err != nil {
		return err
	}
	o.conn = uint64(n)
	return nil
}

func (p *program) makeReport(o *reportOptions, args []string) error {
	switch {
	case len(args) == 0:
		return usageError("no input: want a file of JSON Lines or a capture, or - for stdin")
	case len(args) > 1 && o.conn != 0:
		return usageError("--conn wants one input: each has a connection %d of its own", o.conn)
	case o.output == "" && o.svg == "":
		return usageError("no output: want -o REPORT.html, or -o - for stdout")
	}
	if err := o.checkOutput(); err != nil {
		return err
	}
	run, err := p.readRuns(o, args)
	if err != nil {
		return err
	}
	if o.output != "" {
		var page bytes.Buffer
		if err := run.Write(&page); err != nil {
			return err
		}
		if err := p.writeOutput(o.output, o.force, page.Bytes()); err != nil {
			return err
		}
	}
	if o.svg != "" {
		return p.writePictures(o, run)
	}
	return nil
}

// checkOutput finds a file in the way before a long file is read.
func (o *reportOptions) checkOutput() error {
	if o.output == "" || o.output == "-" || o.force {
		return nil
	}
	info, err := os.Lstat(o.output)
	if err == nil && info.Mode()&(os.ModeNamedPipe|os.ModeCharDevice) == 0 {
		return usageError("%s: %w", o.output, errAlreadyThere)
	}
	return nil
}

// readRuns reads the inputs, in their order, into one run.
func (p *program) readRuns(o *reportOptions, names []string) (*report.Run, error) {
	run := report.NewRun()
	run.Only = o.conn
	for _, name := range names {
		run.Next()
		err := p.readRun(run, name)
		if err == nil {
			err = run.Check()
		}
		if err != nil {
			return nil, inputError(name, err)
		}
	}
	return run, nil
}

// readRun adds one input: JSON Lines begin with a brace, and no capture does.
func (p *program) readRun(run *report.Run, name string) error {
	in, size, err := p.openCapture(context.Background(), name)
	if err != nil {
		return err
	}
	defer in.Close()
	text := bufio.NewReaderSize(in, 1<<16)
	if first, err := text.Peek(1); err == nil && first[0] == '{' {
		return run.Read(text)
	}
	return p.readCapture(run, text, name, size)
}

// readCapture adds what a capture shows to the run.
func (p *program) readCapture(run *report.Run, in io.Reader, name string, size int64) error {
	options := explain.Options{Stream: run.Only}
	if bar := p.newProgress(name, size, false); bar != nil {
		options.Progress = bar.show
		defer bar.clear()
	}
	run.Add(trace.CaptureStart{Schema: trace.Schema, Command: "explain", File: name, Version: versionText()})
	err := explain.Lines(in, options, func(line any) error {
		run.Add(line)
		return nil
	})
	if errors.Is(err, capture.ErrFormat) {
		return errors.New("neither JSON Lines of a run nor a capture (pcap, pcapng)")
	}
	return err
}

// inputError names the input once; an error of the system has named it already.
func inputError(name string, err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return usageError("%w", err)
	}
	return usageError("%s: %w", shown(name), err)
}

// writeOutput writes a whole file, or says that it could not.
func (p *program) writeOutput(path string, force bool, data []byte) error {
	if path == "-" {
		return outputFailure("stdout", writeAll(p.stdout, data))
	}
	f, err := openOutput(path, force)
	if err != nil {
		return err
	}
	err = writeAll(f, data)
	return outputFailure(path, errors.Join(err, f.Close()))
}

func writeAll(w io.Writer, data []byte) error {
	_, err := w.Write(data)
	if isReaderGone(err) {
		return nil
	}
	return err
}

func outputFailure(name string, err error) error {
	if err == nil {
		return nil
	}
	return &failure{code: exitOutput, err: fmt.Errorf("cannot write %s: %w", name, err)}
}

// writePictures writes each picture as a file of its own.
func (p *program) writePictures(o *reportOptions, run *report.Run) error {
	prefix := strings.TrimSuffix(o.svg, ".svg") + "-"
	if prefix == o.svg+"-" {
		if err := os.MkdirAll(o.svg, 0o777); err != nil {
			return outputFailure(o.svg, err)
		}
		prefix = o.svg + string(filepath.Separator)
	}
	return run.Pictures(func(name string, svg []byte) error {
		return p.writeOutput(prefix+name+".svg", o.force, svg)
	})
}
