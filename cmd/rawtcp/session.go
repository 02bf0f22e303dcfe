package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/report"
	"rawtcp/internal/trace"
	"rawtcp/rawsock"
)

// drainTime is how long the end of a run waits for a slow reader.
const drainTime = 2 * time.Second

// A session is where a run's events and words go: the sinks that the flags ask
// for, and the sums.
type session struct {
	p       *program
	o       *talkOptions
	command string
	text    io.Writer     // where a person reads
	ladder  *trace.Ladder // nil: no text is wanted
	columns int           // of the terminal; 0: lines may be of any length
	look    trace.LadderConfig
	status  *statusLine // the last line of the terminal; nil: it has none
	json    *trace.JSONLines
	pcap    *trace.Pcap
	tap     *rawsock.Tap // of the capture, or nil
	file    *os.File     // of the capture; nil if that is stdout
	report  *report.Recorder
	page    *os.File // of the report
	sums    *trace.Collector
	total   trace.Total
	opened  sync.Once
	drops   func() uint64  // packets that the link's receive queue has lost
	io      rawsock.IOMode // the way that packets take
	reader  *readerWatch   // of stdout; nil if that is no pipe
}

// openSession opens the output files, before anything is sent. With data on
// stdout the text goes to stderr.
func (p *program) openSession(command string, o *talkOptions, dataOnStdout bool, tag trace.Tag) (*session, error) {
	s := &session{p: p, o: o, command: command, text: p.stdout, sums: trace.NewCollector()}
	if dataOnStdout || o.json || o.pcap == "-" {
		s.text = p.stderr
	}
	if o.pcap != "" && o.pcap != "-" {
		f, err := openOutput(o.pcap, o.force)
		if err != nil {
			return nil, err
		}
		s.file = f
	}
	if o.report != "" {
		f, err := openOutput(o.report, o.force)
		if err != nil {
			return nil, errors.Join(err, s.closeFile())
		}
		s.report, s.page = report.NewRecorder(), f
	}
	if o.json {
		s.json = trace.NewJSONLines(p.stdout)
	}
	if !o.json || o.verbose > 0 || o.explain {
		cfg := p.ladderConfig(o, s.text, tag)
		if o.live && cfg.Width > 0 && isTerminal(s.text) && p.env("TERM") != "dumb" {
			s.status = &statusLine{out: s.text, columns: cfg.Width}
			cfg.Out = s.status
		}
		s.ladder, s.columns, s.look = trace.NewLadder(cfg), cfg.Width, cfg
	}
	return s, nil
}

func (p *program) ladderConfig(o *talkOptions, text io.Writer, tag trace.Tag) trace.LadderConfig {
	columns, terminal := terminalSize(text)
	if n, err := strconv.Atoi(p.env("COLUMNS")); err == nil && n > 0 && !terminal {
		columns = n
	}
	return trace.LadderConfig{
		Out: text, Now: time.Now, Width: columns, Unbroken: columns == 0, Tag: tag,
		UTF8: speaksUTF8(p.env), Color: useColor(o.color, p.env, terminal),
		Verbose: o.verbose, Absolute: o.absolute, Time: o.time,
	}
}

// attach makes the session know the link.
func (s *session) attach(link *rawsock.Conn) {
	s.drops = link.Drops
	var why string
	if s.io, why = link.IO(); why != "" {
		s.note("--io packet is not possible, raw IP sockets serve: " + why)
	}
	if s.o.verbose > 0 {
		for _, note := range link.Notes() {
			s.note(note)
		}
	}
}

// goes tells the way of a run's packets when it is not the one that was asked for.
func (s *session) goes(remote netip.Addr, route rawsock.Route) {
	if route.Raw != "" {
		s.io = rawsock.RawIO
		s.note(fmt.Sprintf("packets to %s take the raw IP socket: %s", remote, route.Raw))
	}
}

// note is a line about this host, for who has not asked for silence.
func (s *session) note(text string) {
	if !s.o.quiet {
		s.say("note: " + text)
	}
}

// begin starts the capture and returns what the engine is to tell its events
// to. first is called with the first event of a connection, before any sink
// sees it.
func (s *session) begin(iface string, first func(local string)) (engine.Tracer, error) {
	if s.o.pcap != "" {
		out := s.p.stdout
		if s.file != nil {
			out = s.file
		}
		var err error
		s.pcap, err = trace.NewPcap(trace.PcapConfig{
			Out: out, Now: time.Now, Interface: iface,
			Application: "rawtcp " + versionText(), Comment: "rawtcp " + s.command,
		})
		if err != nil {
			return nil, err
		}
	}
	tracers := trace.Tee{&firstEvent{call: first}, s.sums}
	switch {
	case s.ladder == nil || s.o.quiet:
	case s.o.explain:
		tracers = append(tracers, trace.NewExplain(s.ladder))
	default:
		tracers = append(tracers, s.ladder)
	}
	if s.json != nil {
		tracers = append(tracers, s.json)
	}
	if s.pcap != nil {
		tracers = append(tracers, s.pcap)
	}
	if s.report != nil {
		tracers = append(tracers, s.report)
	}
	return tracers, nil
}

// link is the host's link, seen by the capture if there is one.
func (s *session) link(l *rawsock.Conn) engine.Link {
	if s.pcap == nil {
		return l
	}
	tap, err := l.OpenTap()
	if err != nil {
		s.note("what we send has the program's time in the capture: " + err.Error())
		return s.pcap.Link(l, nil)
	}
	s.tap = tap
	return s.pcap.Link(l, tap)
}

// firstEvent calls once, when a connection first shows its local address.
type firstEvent struct {
	call func(local string)
	done bool
}

// Interest implements engine.Selective: a connection begins with a SYN or a
// change of state.
func (f *firstEvent) Interest() engine.Interest {
	return engine.InterestIn(engine.EventState, engine.EventSegmentIn, engine.EventSegmentOut)
}

// Trace implements engine.Tracer; the stack's lock makes it safe.
func (f *firstEvent) Trace(e *engine.Event) {
	if !f.done && e.Conn != 0 && e.Local.IsValid() {
		f.done = true
		f.call(e.Local.String())
	}
}

// watchReader stops the run when nobody reads stdout any more, until stdout or
// the session is closed. A full disk is no reason to stop: it is told at the end.
func (s *session) watchReader(rein *control) error {
	f, ok := s.p.stdout.(*os.File)
	if !ok || !isPipe(f) {
		return nil
	}
	var err error
	if s.reader, err = watchReader(f, func() { rein.cancel(errReaderGone) }); err != nil {
		return fail(exitLocal, "", "cannot watch the reader of stdout: %w", err)
	}
	return nil
}

// unwatchReader ends the watch, if there is one.
func (s *session) unwatchReader() {
	if s.reader != nil {
		s.reader.end()
	}
}

// closeStdout tells the reader of a pipe that the peer has closed.
func (s *session) closeStdout() {
	s.unwatchReader()
	if f, ok := s.p.stdout.(*os.File); ok {
		_ = f.Close()
	}
}

// start tells what the run is about to do.
func (s *session) start(line trace.Start, banner string) {
	s.opened.Do(func() {
		line.Command, line.IO, line.Version = s.command, s.io.String(), versionText()
		line.Args, line.Env = s.p.words, s.p.variables()
		if s.json != nil {
			s.json.Start(line)
		}
		if s.report != nil {
			s.report.Add(line)
		}
		if !s.o.quiet {
			s.say(banner)
		}
	})
}

// say writes lines for people, in order with the ladder, and breaks them at the
// edge of a terminal.
func (s *session) say(text string) {
	if s.ladder == nil || text == "" {
		return
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if s.columns > 0 {
			line = wrap(line, s.columns)
		}
		s.ladder.Print(line)
	}
}

// sum ends one connection: it is counted, and told in JSON and, by show, in words.
func (s *session) sum(one trace.Summary, show func(trace.Summary) string) {
	s.total.Add(one)
	one.LocalDrops = s.drops()
	if s.json != nil {
		s.json.Summary(one)
	}
	if s.report != nil {
		s.report.Add(one)
	}
	s.say(show(one))
}

// fail writes an error as a JSON line, so that a summary can follow it.
func (s *session) fail(err error) {
	var f *failure
	if err == nil || s.json == nil || errors.As(err, &f) && f.silent {
		return
	}
	s.json.Error(errorLine(err))
	s.p.json = false
}

// all ends a run of many connections.
func (s *session) all(name string) {
	sum := s.total.Summary()
	sum.Drops, sum.LocalDrops = s.sums.Drops(), s.drops()
	if s.json != nil {
		sum.LinesLost = s.json.Lost()
		s.json.Summary(sum)
	}
	if s.report != nil {
		s.report.Add(sum)
	}
	s.say(totalText(name, sum))
}

func errorLine(err error) trace.ErrorLine {
	return trace.ErrorLine{Type: "error", Code: codeOf(err), Message: err.Error(), Hint: hintOf(err)}
}

// end is close for a run that has ended with err, which the report tells.
func (s *session) end(err error) error {
	if s.report != nil && err != nil {
		s.report.Add(errorLine(err))
	}
	return s.close()
}

// close writes out what is left. It returns why an output is not whole: a
// reader that went away had enough, and is no error.
func (s *session) close() error {
	s.unwatchReader()
	var errs []error
	note := func(what string, err error, lost uint64) {
		switch {
		case errors.Is(err, syscall.EPIPE):
			s.p.json = false // nobody would read it
			return
		case err != nil:
			errs = append(errs, &failure{code: exitOutput, err: fmt.Errorf("%s: %w", what, err)})
		case lost > 0:
			fmt.Fprintln(s.p.stderr, lostText(what, lost))
		}
	}
	if s.ladder != nil {
		err := s.ladder.Close(drainTime)
		note("output", err, s.ladder.Lost())
	}
	if s.json != nil {
		err := s.json.Close(drainTime)
		note("JSON output", err, s.json.Lost())
	}
	if s.pcap != nil {
		err := s.pcap.Close(drainTime)
		if s.tap != nil {
			err = errors.Join(err, s.tap.Close())
		}
		if s.file != nil {
			err = errors.Join(err, s.file.Close())
		}
		note("capture "+s.o.pcap, err, s.pcap.Lost())
	}
	if s.page != nil {
		err := s.report.Write(s.page)
		note("report "+s.o.report, errors.Join(err, s.page.Close()), 0)
	}
	return errors.Join(errs...)
}

// closeFile closes a capture that was opened for nothing.
func (s *session) closeFile() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// openOutput creates a file that does not exist yet, or, when forced, empties
// one that does. Pipes and devices cannot be overwritten and are just opened.
func openOutput(path string, force bool) (*os.File, error) {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if info, err := os.Lstat(path); err == nil && info.Mode()&(os.ModeNamedPipe|os.ModeCharDevice) != 0 {
		flags = os.O_WRONLY
	} else if force {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags|syscall.O_CLOEXEC, 0o666)
	switch {
	case errors.Is(err, os.ErrExist):
		return nil, usageError("%s: %w", path, errAlreadyThere)
	case err != nil:
		return nil, fail(exitOutput, "", "cannot write: %w", err)
	}
	return f, nil
}
