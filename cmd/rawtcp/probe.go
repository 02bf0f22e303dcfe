package main

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/dossier"
	"rawtcp/internal/probe"
	"rawtcp/internal/puppet"
	"rawtcp/internal/trace"
	"rawtcp/rawsock"
)

// probeOptions are the settings of `rawtcp probe`.
type probeOptions struct {
	talkOptions
	list       bool
	only       string
	group      string
	fast, full bool
	intrusive  bool
	authorized bool
	service    string
	listen     uint16
	rate       int
	page       string // FILE of --report; talkOptions.report is one connection's
	diff       bool
}

const groupBattery = "Battery"

func (p *program) probeCommand() *command {
	o := &probeOptions{}
	o.color = "auto"
	return &command{
		name: "probe", usage: "rawtcp probe [flags] HOST:PORT | --diff A B", help: helpProbe,
		flags: append(o.batteryFlags(), append(o.probeSourceFlags(), o.probeOutputFlags()...)...),
		run:   func(ctx context.Context, args []string) error { return p.probe(ctx, o, args) },
	}
}

// probeSourceFlags are those of every command that talks, without the port: each
// connection of a battery has one of its own.
func (o *probeOptions) probeSourceFlags() []flagSpec {
	return slices.DeleteFunc(o.sourceFlags(), func(f flagSpec) bool { return f.name == "source-port" })
}

// probeOutputFlags are those of every command that talks, without the narrator
// and the first segment, for a battery has many, and with a report of its own:
// a page of verdicts instead of one connection's pictures.
func (o *probeOptions) probeOutputFlags() []flagSpec {
	flags := slices.DeleteFunc(o.outputFlags(), func(f flagSpec) bool { return slices.Contains([]string{"explain", "show", "report"}, f.name) })
	return append(flags, flagSpec{name: "report", arg: "FILE", group: groupOutput,
		usage: "write a page of HTML: verdicts, and each row's evidence to fold out", set: textTo(&o.page)})
}

func (o *probeOptions) batteryFlags() []flagSpec {
	return []flagSpec{
		{name: "list", group: groupBattery, usage: "show the rows and send nothing", set: switchTo(&o.list)},
		{name: "only", arg: "ROWS", group: groupBattery, usage: "run these rows: A2,D1", set: textTo(&o.only)},
		{name: "group", arg: "GROUPS", group: groupBattery, usage: "run the rows of these groups: C,D", set: textTo(&o.group)},
		{name: "fast", group: groupBattery, usage: "only safe rows that are quick, several at a time: under 20 s", set: switchTo(&o.fast)},
		{name: "full", group: groupBattery, usage: "the slow timer rows too, side by side: under 5 minutes", set: switchTo(&o.full)},
		{name: "intrusive", group: groupBattery, usage: "the rows too that may disturb the host", set: switchTo(&o.intrusive)},
		{name: "authorized", group: groupBattery, usage: "the owner of a host with a public address agrees to --intrusive", set: switchTo(&o.authorized)},
		{name: "service", arg: "WHAT", group: groupBattery, usage: "what lives behind the port: http, https, ssh, smtp, echo, none or raw:TEXT (default: by the port)", set: textTo(&o.service)},
		{name: "listen", arg: "PORT", group: groupBattery, usage: "wait here for the rows in which the host connects to us", set: numberTo(&o.listen, 1, 65535)},
		{name: "rate", arg: "N", group: groupBattery, usage: "at most N packets a second (default 10; 50 with --fast and --full)", set: numberTo(&o.rate, 1, 1000)},
		{name: "diff", group: groupBattery, usage: "compare two runs, each a host or a file of --json: the rows that differ", set: switchTo(&o.diff)},
	}
}

// check finds settings that contradict each other.
func (o *probeOptions) check() error {
	switch {
	case o.fast && o.full:
		return usageError("--fast and --full exclude each other")
	case o.authorized && !o.intrusive:
		return usageError("--authorized says who agrees to --intrusive, which is not given")
	case o.diff && o.page != "":
		return usageError("--diff and --report exclude each other")
	case o.page == "-":
		return usageError("--report wants a file")
	case o.diff && o.list:
		return usageError("--diff and --list exclude each other")
	}
	return o.talkOptions.check()
}

// The manners of a run: packets a second and connections at a time.
const (
	politeRate, politeConns = 10, 1
	briskRate               = 50
	fastConns, fullConns    = 8, 64
	fastRow                 = 6 * time.Second // longer rows are none of --fast
)

// manners are packets a second and connections at a time.
func (o *probeOptions) manners() (rate, conns int) {
	rate, conns = politeRate, politeConns
	switch {
	case o.fast:
		rate, conns = briskRate, fastConns
	case o.full:
		rate, conns = briskRate, fullConns
	}
	if o.rate > 0 {
		rate = o.rate
	}
	return rate, conns
}

// rows are those that the flags pick.
func (o *probeOptions) rows() ([]*probe.Row, error) {
	rows := probe.Rows()
	names := namesIn(o.only + "," + o.group)
	if names != nil {
		var err error
		if rows, err = probe.Select(rows, names); err != nil {
			return nil, usageError("%w", err)
		}
		if i := slices.IndexFunc(rows, isIntrusive); i >= 0 && !o.intrusive && slices.Contains(names, rows[i].ID) {
			return nil, usageError("%s may disturb the host: --intrusive runs it", rows[i].ID)
		}
	}
	rows = slices.DeleteFunc(rows, func(r *probe.Row) bool { return o.leavesOut(r, slices.Contains(names, r.ID)) })
	if len(rows) == 0 {
		return nil, usageError("the flags leave no row: --list shows them")
	}
	return rows, nil
}

// namesIn are the words between commas, in upper case.
func namesIn(list string) (names []string) {
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.ToUpper(strings.TrimSpace(name)); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func isIntrusive(r *probe.Row) bool { return r.Risk&probe.Intrusive != 0 }

// leavesOut reports whether a row is not to be run. A row that was named is run
// however slow it is.
func (o *probeOptions) leavesOut(r *probe.Row, named bool) bool {
	switch {
	case isIntrusive(r) && !o.intrusive && !o.list:
		return true
	case o.list || named:
		return false
	case o.fast:
		return r.Risk != probe.Safe || r.Takes > fastRow
	case r.Risk&probe.Passive != 0 && o.listen == 0:
		return true
	}
	return r.Risk&probe.Slow != 0 && !o.full && o.group == ""
}

func (p *program) probe(ctx context.Context, o *probeOptions, args []string) error {
	if err := o.check(); err != nil {
		return err
	}
	rows, err := o.rows()
	if err != nil {
		return err
	}
	switch {
	case o.list:
		return p.listRows(o, rows)
	case o.diff:
		return p.probeDiff(ctx, o, rows, args)
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
	board   *puppet.Board
	table   *probeTable
	watch   *probeWatch
	page    *os.File // of --report, or nil
	silent  bool     // rows are told to nobody
}

// run does all that a run does around its rows.
func (r *probeRun) run(ctx context.Context) (err error) {
	if r.o.page != "" {
		if r.page, err = openOutput(r.o.page, r.o.force); err != nil {
			return err
		}
		defer func() { err = firstOf(err, outputFailure(r.o.page, r.page.Close())) }()
	}
	r.o.live = !r.o.quiet
	if r.session, err = r.p.openSession("probe", &r.o.talkOptions, false, trace.TagLocal); err != nil {
		return err
	}
	defer func() { err = firstOf(err, r.session.close()) }()
	r.rein = newControl(ctx, r.o.timeout, func() {})
	defer r.rein.end()
	if err := r.open(); err != nil {
		return r.early(err)
	}
	defer r.link.Close()
	if err := r.session.watchReader(r.rein); err != nil {
		return err
	}
	tracer, err := r.session.begin(r.route.Interface, r.banner)
	if err != nil {
		return err
	}
	report, err := r.battery(r.sinks(tracer))
	return r.sum(report, err)
}

// early is why a run ended before its first row.
func (r *probeRun) early(err error) error {
	if stopped := r.rein.stopped(); stopped != nil && isStop(err) {
		return stopFailure(stopped, r.o.timeout)
	}
	return err
}

// open resolves the target and opens the link.
func (r *probeRun) open() error {
	addrs, err := r.target.resolve(r.rein.stop, r.o.family())
	if err != nil {
		return err
	}
	if err := r.mayProbe(addrs[0]); err != nil {
		return err
	}
	r.link, err = rawsock.Open(rawsock.Config{Interface: r.o.iface, Source: r.o.source, Guard: r.o.guard, Family: r.o.family(), IO: r.o.io})
	if err != nil {
		return openFailure(err)
	}
	r.session.attach(r.link)
	var firstErr error
	for _, addr := range addrs {
		route, err := r.link.RouteInfo(addr, r.o.source)
		if err == nil {
			r.route, r.remote = route, netip.AddrPortFrom(addr, r.target.port)
			return r.mayProbe(addr)
		}
		firstErr = firstOf(firstErr, err)
	}
	r.link.Close()
	return fail(exitLocal, "", "cannot reach %s: %w", r.target.host, firstErr)
}

// mayProbe refuses addresses that cannot be a target, and rows that may disturb a
// host of which nobody has said that its owner agrees.
func (r *probeRun) mayProbe(addr netip.Addr) error {
	if err := checkRemote(addr); err != nil {
		return err
	}
	if r.o.intrusive && !r.o.authorized && !isPrivate(addr) && slices.ContainsFunc(r.rows, isIntrusive) {
		return usageError("%s is a public address: --intrusive there wants --authorized, which says that its owner agrees", addr)
	}
	return nil
}

// labNets are for tests and examples: RFC 2544 section C.2.2 and RFC 3849.
var labNets = []netip.Prefix{netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("2001:db8::/32")}

func isPrivate(addr netip.Addr) bool {
	return addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast() ||
		slices.ContainsFunc(labNets, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// battery runs the rows.
func (r *probeRun) battery(tracer engine.Tracer) (*probe.Report, error) {
	rate, conns := r.o.manners()
	r.board = puppet.NewBoard(puppet.Config{
		Link: r.session.link(r.link), Source: r.o.source, Tracer: tracer, Rate: rate, Conns: conns, OnPanic: crash,
	})
	defer r.board.Close()
	r.table = newProbeTable(r.rows, r.tell)
	r.watch = newProbeWatch(r.rows, r.lanes(conns), r.o.full, r.board.Now, r.session.status)
	defer r.watch.end()
	b := &probe.Battery{
		Board: r.board, Target: r.remote, Service: r.service, Rows: r.rows, SideBySide: r.o.full, Lanes: r.lanes(conns), Listen: r.o.listen,
		Progress: r.progress, OnPanic: crash,
	}
	report, err := b.Run(r.rein.stop)
	r.table.flush()
	return report, err
}

// lanes are how many quick rows run at a time: only a quick look has several.
func (r *probeRun) lanes(conns int) int {
	if r.o.fast {
		return conns
	}
	return 1
}

// sinks are those that have a use for the segments of a battery: nobody takes
// the summaries of its connections, the ladder of a row is told with the row, and
// the lines are for -v.
func (r *probeRun) sinks(tracer engine.Tracer) engine.Tracer {
	all, isTee := tracer.(trace.Tee)
	if !isTee {
		return tracer
	}
	return slices.DeleteFunc(slices.Clone(all), func(t engine.Tracer) bool {
		switch t.(type) {
		case *trace.Collector, *trace.Ladder:
			return true
		case *trace.JSONLines:
			return r.o.verbose == 0
		}
		return false
	})
}

// banner is called with the first event, when the guard is known.
func (r *probeRun) banner(string) {
	guard := r.link.Guard()
	line := trace.Start{Local: r.route.Source.String(), Remote: r.remote.String(), Iface: r.route.Interface, MTU: r.route.MTU, Guard: guard}
	rate, conns := r.o.manners()
	r.session.start(line, probeBanner(r.target, r.remote, r.route.Source, r.service, len(r.rows), guard)+"\n"+mannersText(rate, conns))
}

// progress tells a row that is done, in JSON at once, and to people in its turn.
func (r *probeRun) progress(news probe.Progress) {
	r.watch.note(news)
	if news.What != probe.RowDone {
		return
	}
	if r.session.json != nil && !r.silent {
		end := engine.Time(news.Result.Began + news.Result.Took + 1)
		r.session.json.Line(end, func(at int64) any { return probe.NewLine(news.Result, r.remote.String(), at) })
	}
	r.table.done(news.Result)
}

// tell shows people a row, and its group before the first of it.
func (r *probeRun) tell(group string, result *probe.Result) {
	if r.o.quiet || r.silent || r.session.ladder == nil {
		return
	}
	look := probeLook{columns: r.session.columns, verbose: r.o.verbose, ladder: r.session.look}
	look.ladder.Absolute = r.o.absolute
	if group != "" {
		r.session.ladder.Print("\n" + group)
	}
	for line := range strings.Lines(look.row(result)) {
		r.session.ladder.Print(strings.TrimSuffix(line, "\n"))
	}
}

// sum ends the run: its page, its summary, and its exit code.
func (r *probeRun) sum(report *probe.Report, err error) error {
	err = r.outcome(report, err)
	if r.page != nil {
		err = firstOf(err, outputFailure(r.o.page, r.writePage(report, err)))
	}
	r.session.fail(err)
	line := newProbeSummary(report, r.remote.String(), r.route.Source.String())
	if r.session.json != nil {
		line.LinesLost = r.session.json.Lost()
		r.session.json.Line(showTime, func(int64) any { return line })
	}
	r.session.say(probeSummaryText(report, r.remote.String()))
	if stack := report.Print(); stack != "" && r.session.ladder != nil {
		r.session.ladder.Print("print " + stack)
	}
	return err
}

// writePage writes the page of --report.
func (r *probeRun) writePage(report *probe.Report, failed error) error {
	page := dossier.Page{
		Target: r.remote.String(), Name: r.target.String(), Service: r.service.Name, Local: r.route.Source.String(),
		Began: r.board.Began(), Version: versionText(), Report: report,
	}
	if failed != nil && len(report.Results) == 0 {
		page.Failure = failed.Error()
	}
	return page.Write(r.page)
}

func (r *probeRun) outcome(report *probe.Report, err error) error {
	var control *probe.ControlError
	stopped := r.rein.stopped()
	switch {
	case errors.As(err, &control) && control.Answer == puppet.Silent:
		return fail(exitTimeout, hintDeaf, "%s: %w", r.remote, control)
	case errors.As(err, &control):
		return fail(exitRefused, "", "%s: %w", r.remote, control)
	case err != nil:
		return connectFailure(err, nil, 0)
	case len(report.Results) == 0 && stopped != nil:
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
	Rows       int    `json:"rows"`
	Pass       int    `json:"pass"`
	Note       int    `json:"note"`
	Fail       int    `json:"fail"`
	Vulnerable int    `json:"vulnerable"`
	Unknown    int    `json:"unknown"`
	Cut        bool   `json:"cut"` // the run was ended before its last row
	TookUS     int64  `json:"took_us"`
	ErrorUS    int64  `json:"error_us"` // times of the run may be so far off
	Print      string `json:"print"`    // of the stack; empty: no SYN-ACK was seen
}

func newProbeSummary(report *probe.Report, remote, local string) probeSummary {
	bar, _ := report.ErrorBar()
	line := probeSummary{Summary: new(trace.Total).Summary(), Probe: probeCounts{
		Rows: len(report.Results), Pass: report.Count(probe.Pass), Note: report.Count(probe.Note), Fail: report.Count(probe.Fail),
		Vulnerable: report.Count(probe.Vulnerable), Unknown: report.Count(probe.Unknown), Cut: report.Cut, TookUS: report.Took.Microseconds(),
		ErrorUS: bar.Microseconds(), Print: report.Print(),
	}}
	line.Type, line.Remote, line.Local = "summary", remote, local
	return line
}
