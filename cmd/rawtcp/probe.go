package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/probe"
	"rawtcp/internal/puppet"
	"rawtcp/internal/trace"
	"rawtcp/rawsock"
)

// probeOptions are the settings of `rawtcp probe`.
type probeOptions struct {
	talkOptions
	list    bool
	only    string
	group   string
	service string
}

const groupBattery = "Battery"

func (p *program) probeCommand() *command {
	o := &probeOptions{}
	o.color = "auto"
	return &command{
		name: "probe", usage: "rawtcp probe [flags] HOST:PORT", help: helpProbe,
		flags: append(o.batteryFlags(), append(o.sourceFlags(), probeOutputFlags(&o.talkOptions)...)...),
		run:   func(ctx context.Context, args []string) error { return p.probe(ctx, o, args) },
	}
}

// probeOutputFlags are those of every command that talks, without the narrator
// and the first segment: a battery has many.
func probeOutputFlags(o *talkOptions) []flagSpec {
	return slices.DeleteFunc(o.outputFlags(), func(f flagSpec) bool { return f.name == "explain" || f.name == "show" })
}

func (o *probeOptions) batteryFlags() []flagSpec {
	return []flagSpec{
		{name: "list", group: groupBattery, usage: "show the rows and send nothing", set: switchTo(&o.list)},
		{name: "only", arg: "ROWS", group: groupBattery, usage: "run these rows: A2,D1", set: textTo(&o.only)},
		{name: "group", arg: "GROUPS", group: groupBattery, usage: "run the rows of these groups: C,D", set: textTo(&o.group)},
		{name: "service", arg: "WHAT", group: groupBattery, usage: "what lives behind the port: http, https, ssh, smtp, echo, none or raw:TEXT (default: by the port)", set: textTo(&o.service)},
	}
}

// rows are those that the flags pick.
func (o *probeOptions) rows() ([]*probe.Row, error) {
	var names []string
	for name := range strings.SplitSeq(o.only+","+o.group, ",") {
		if name = strings.ToUpper(strings.TrimSpace(name)); name != "" {
			names = append(names, name)
		}
	}
	rows := slices.DeleteFunc(probe.Rows(), func(r *probe.Row) bool { return r.Risk&probe.Intrusive != 0 })
	if names == nil {
		return rows, nil
	}
	picked, err := probe.Select(rows, names)
	if err != nil {
		return nil, usageError("%w", err)
	}
	return picked, nil
}

func (p *program) probe(ctx context.Context, o *probeOptions, args []string) error {
	if err := o.check(); err != nil {
		return err
	}
	rows, err := o.rows()
	if err != nil {
		return err
	}
	if o.list {
		return p.print(probeListText(rows))
	}
	t, err := parseTarget(args)
	if err != nil {
		return err
	}
	r := &probeRun{p: p, o: o, target: t, rows: rows}
	if r.service, err = o.serviceOf(t); err != nil {
		return err
	}
	return r.run(ctx)
}

// serviceOf is what the flag says, or what the port lets guess.
func (o *probeOptions) serviceOf(t target) (probe.Service, error) {
	if o.service == "" {
		return probe.GuessService(t.port, t.host), nil
	}
	text, err := unescape(o.service)
	if err != nil {
		return probe.Service{}, usageError("--service: %w", err)
	}
	s, err := probe.ParseService(string(text), t.host)
	if err != nil {
		return s, usageError("--service: %w", err)
	}
	return s, nil
}

// A probeRun is one run of the battery.
type probeRun struct {
	p       *program
	o       *probeOptions
	target  target
	rows    []*probe.Row
	service probe.Service
	rein    *control
	session *session
	link    *rawsock.Conn
	remote  netip.AddrPort
	route   rawsock.Route
}

// run does all that a run does around its rows.
func (r *probeRun) run(ctx context.Context) (err error) {
	if r.session, err = r.p.openSession("probe", &r.o.talkOptions, false, trace.TagLocal); err != nil {
		return err
	}
	defer func() { err = firstOf(err, r.session.close()) }()
	r.rein = newControl(ctx, r.o.timeout, func() {})
	defer r.rein.end()
	if err := r.open(); err != nil {
		if stopped := r.rein.stopped(); stopped != nil && isStop(err) {
			return stopFailure(stopped, r.o.timeout)
		}
		return err
	}
	defer r.link.Close()
	if err := r.session.watchReader(r.rein); err != nil {
		return err
	}
	return r.battery()
}

// open resolves the target and opens the link.
func (r *probeRun) open() error {
	addrs, err := r.target.resolve(r.rein.stop, r.o.family())
	if err != nil {
		return err
	}
	if err := checkRemote(addrs[0]); err != nil {
		return err
	}
	r.link, err = rawsock.Open(rawsock.Config{Interface: r.o.iface, Source: r.o.source, Guard: r.o.guard, Family: r.o.family()})
	if err != nil {
		return openFailure(err)
	}
	r.session.attach(r.link)
	var firstErr error
	for _, addr := range addrs {
		route, err := r.link.RouteInfo(addr, r.o.source)
		if err == nil {
			r.route, r.remote = route, netip.AddrPortFrom(addr, r.target.port)
			return nil
		}
		firstErr = firstOf(firstErr, err)
	}
	r.link.Close()
	return fail(exitLocal, "", "cannot reach %s: %w", r.target.host, firstErr)
}

// battery runs the rows and tells what came of them.
func (r *probeRun) battery() error {
	tracer, err := r.session.begin(r.route.Interface, r.banner)
	if err != nil {
		return err
	}
	board := puppet.NewBoard(puppet.Config{Link: r.session.link(r.link), Source: r.o.source, Tracer: r.sinks(tracer), OnPanic: crash})
	defer board.Close()
	b := &probe.Battery{Board: board, Target: r.remote, Service: r.service, Rows: r.rows, Progress: r.progress, OnPanic: crash}
	report, err := b.Run(r.rein.stop)
	return r.sum(report, err)
}

// sinks are those that have a use for the segments of a battery: nobody takes
// the summaries of its connections, and the ladder and the lines are for -v.
func (r *probeRun) sinks(tracer engine.Tracer) engine.Tracer {
	all, isTee := tracer.(trace.Tee)
	if !isTee {
		return tracer
	}
	return slices.DeleteFunc(slices.Clone(all), func(t engine.Tracer) bool {
		switch t.(type) {
		case *trace.Collector:
			return true
		case *trace.Ladder, *trace.JSONLines:
			return r.o.verbose == 0
		}
		return false
	})
}

// banner is called with the first event, when the guard is known.
func (r *probeRun) banner(string) {
	guard := r.link.Guard()
	line := trace.Start{Local: r.route.Source.String(), Remote: r.remote.String(), Iface: r.route.Interface, MTU: r.route.MTU, Guard: guard}
	r.session.start(line, probeBanner(r.target, r.remote, r.route.Source, r.service, len(r.rows), guard))
}

// progress tells a row that is done.
func (r *probeRun) progress(news probe.Progress) {
	if news.What != probe.RowDone {
		return
	}
	if r.session.json != nil {
		end := engine.Time(news.Result.Began + news.Result.Took + 1)
		r.session.json.Line(end, func(at int64) any { return probe.NewLine(news.Result, r.remote.String(), at) })
	}
	if !r.o.quiet {
		r.session.say(probeRowText(news.Result))
	}
}

// sum ends the run: its summary, and its exit code.
func (r *probeRun) sum(report *probe.Report, err error) error {
	err = r.outcome(report, err)
	r.session.fail(err)
	line := newProbeSummary(report, r.remote.String(), r.route.Source.String())
	if r.session.json != nil {
		line.LinesLost = r.session.json.Lost()
		r.session.json.Line(showTime, func(int64) any { return line })
	}
	r.session.say(probeSummaryText(report, r.remote.String()))
	return err
}

func (r *probeRun) outcome(report *probe.Report, err error) error {
	var control *probe.ControlError
	stopped := r.rein.stopped()
	var sig errSignal
	switch {
	case errors.As(err, &control) && control.Answer == puppet.Silent:
		return fail(exitTimeout, hintDeaf, "%s: %w", r.remote, control)
	case errors.As(err, &control):
		return fail(exitRefused, "", "%s: %w", r.remote, control)
	case err != nil:
		return connectFailure(err, nil, 0)
	case len(report.Results) == 0 && errors.As(stopped, &sig):
		return stopFailure(stopped, r.o.timeout)
	case report.Bad():
		return &failure{code: exitNo, err: errors.New("some rows failed"), silent: true}
	}
	return nil
}

// A probeSummary is the last line of a battery in JSON.
type probeSummary struct {
	trace.Summary
	Probe probeCounts `json:"probe"`
}

// probeCounts are how many rows have which verdict.
type probeCounts struct {
	Rows       int   `json:"rows"`
	Pass       int   `json:"pass"`
	Note       int   `json:"note"`
	Fail       int   `json:"fail"`
	Vulnerable int   `json:"vulnerable"`
	Unknown    int   `json:"unknown"`
	Cut        bool  `json:"cut"` // the run was ended before its last row
	TookUS     int64 `json:"took_us"`
}

func newProbeSummary(report *probe.Report, remote, local string) probeSummary {
	line := probeSummary{Summary: new(trace.Total).Summary(), Probe: probeCounts{
		Rows: len(report.Results), Pass: report.Count(probe.Pass), Note: report.Count(probe.Note), Fail: report.Count(probe.Fail),
		Vulnerable: report.Count(probe.Vulnerable), Unknown: report.Count(probe.Unknown), Cut: report.Cut, TookUS: report.Took.Microseconds(),
	}}
	line.Type, line.Remote, line.Local = "summary", remote, local
	return line
}

const helpProbe = `usage: rawtcp probe [flags] HOST:PORT
Judges a host's TCP: a battery of behaviour tests, each with what was seen, a
verdict (pass, note, fail, vulnerable, unknown) and the clause that decides.

rows    --list (show them)   --only A3,C2   --group C,D
        --service http|https|ssh|smtp|echo|none|raw:TEXT (by the port)
where   -4 -6 -I IFACE -s, --source ADDR --source-port N -w, --timeout D
        --guard auto|socket|nft|none --io raw|packet
output  -v -vv -q -n -j, --json --pcap FILE|- --force -S, --absolute-seq
        --color auto|always|never --time rel|delta|abs|epoch

All flags, one by one: rawtcp help probe. Exit codes: rawtcp help exit-codes.
Examples:
  rawtcp probe example.com:443
  rawtcp probe --only C2,A3 -v 192.0.2.7:22
  rawtcp probe --group C --json --pcap evidence.pcapng [2001:db8::7]:80
`

func probeBanner(t target, remote netip.AddrPort, source netip.Addr, service probe.Service, rows int, guard string) string {
	name := t.String()
	if name != remote.String() {
		name += " (" + remote.Addr().String() + ")"
	}
	return fmt.Sprintf("PROBE %s, service %s, %s, src %s, guard %s", name, service.Name, plural(uint64(rows), "row"), source, guard)
}

// probeListText is a line for each row, and its question.
func probeListText(rows []*probe.Row) string {
	var b strings.Builder
	for _, r := range rows {
		fmt.Fprintf(&b, "%-4s%-24s %-4s %6v  %s\n     %s\n", r.ID, r.Name, r.Risk, r.Takes, r.Clauses[0], r.Question)
	}
	return b.String()
}

// probeRowText is one row in one line.
func probeRowText(r *probe.Result) string {
	text := fmt.Sprintf("%-4s%-10s %s: %s", r.Row.ID, r.Verdict, r.Row.Name, r.Text)
	if rule := r.Rule.String(); rule != "" {
		text += " [" + rule + "]"
	}
	return text
}

func probeSummaryText(report *probe.Report, remote string) string {
	var parts []string
	for _, v := range probe.Verdicts {
		if n := report.Count(v); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, v))
		}
	}
	text := fmt.Sprintf("--- %s ---\n%s in %v", remote, plural(uint64(len(report.Results)), "row"), report.Took.Round(time.Millisecond))
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	if report.Cut {
		text += "; ended early"
	}
	return text
}
