package probe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/puppet"
	"rawtcp/segment"
)

// A Battery is a run of rows against one target.
type Battery struct {
	Board   *puppet.Board // Rate and Conns of it are the manners of the run
	Target  netip.AddrPort
	Service Service
	Rows    []*Row

	// SideBySide lets the slow rows run beside the others, as many at a time as
	// the Board has seats. Default: one row after the other.
	SideBySide bool

	// Lanes is how many of the other rows run at a time; default 1. Those of group
	// H share one: they compare connections.
	Lanes int

	// Listen is the local port that passive rows wait at. 0: they are unknown.
	Listen uint16

	Progress func(Progress)  // told by any goroutine, one at a time; may be nil
	OnPanic  func(cause any) // of a row's goroutine; nil: the program dies

	mu       sync.Mutex
	longest  time.Duration        // the longest round trip of a handshake
	least    time.Duration        // the shortest
	path     *pathView            // nil: nobody has looked yet
	followed map[string]*pathView // other SYNs, by shape; who looks has it
	looking  chan struct{}        // full while somebody looks; no lock, for that would stop virtual time
}

// Progress is news of a Battery.
type Progress struct {
	Row    *Row
	What   ProgressKind
	Text   string  // RowWaits: what for; RowAgain: why
	Result *Result // RowDone
}

// A ProgressKind says what the news is.
type ProgressKind uint8

// The kinds of news.
const (
	RowBegins ProgressKind = iota
	RowWaits               // for something that takes long
	RowAgain               // another attempt
	RowDone
)

// A ControlError is why a battery did not begin: the handshake that every row
// builds on failed.
type ControlError struct {
	Answer puppet.Answer
	ICMP   *engine.ICMP // Unreachable: the message
}

// Error names the answer.
func (e *ControlError) Error() string {
	switch e.Answer {
	case puppet.Refused:
		return "connection refused"
	case puppet.Unreachable:
		return "unreachable"
	}
	return "no answer to four SYNs"
}

// Run makes a control handshake and runs the rows. When ctx ends, what was done
// so far is in the Report, which is then Cut. The error is a *ControlError, or
// about the link.
func (b *Battery) Run(ctx context.Context) (*Report, error) {
	began := b.Board.Now()
	report := &Report{}
	if err := b.control(ctx); err != nil {
		report.Cut = true
		if ctx.Err() != nil {
			err = nil
		}
		return report, err
	}
	b.looking, b.followed = make(chan struct{}, 1), map[string]*pathView{}
	results := make([]*Result, len(b.Rows))
	var wait sync.WaitGroup
	for _, lane := range b.lanes() {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for _, i := range lane {
				results[i] = b.run(ctx, b.Rows[i])
			}
		}()
	}
	wait.Wait()
	for _, r := range results {
		if r != nil {
			report.Results = append(report.Results, *r)
		}
	}
	report.Cut = len(report.Results) < len(b.Rows)
	report.Took, report.Resent = b.Board.Now()-began, b.Board.Resent()
	return report, b.Board.Err()
}

// lanes are the rows, by index, that run one after the other, each lane beside the
// others. The passive rows share a port, and with it a lane.
func (b *Battery) lanes() [][]int {
	var passive []int
	var slow [][]int
	quick := make([][]int, max(b.Lanes, 1))
	for i, n := 0, 0; i < len(b.Rows); i++ {
		switch row := b.Rows[i]; {
		case b.SideBySide && row.Risk&Passive != 0:
			passive = append(passive, i)
		case b.SideBySide && row.Risk&Slow != 0:
			slow = append(slow, []int{i})
		case row.Group() == "H":
			quick[0] = append(quick[0], i)
		default:
			quick[n] = append(quick[n], i)
			n = b.emptiest(quick)
		}
	}
	return append(append(slow, passive), quick...)
}

// emptiest is the lane that takes the least time.
func (b *Battery) emptiest(lanes [][]int) (least int) {
	var shortest time.Duration
	for n, lane := range lanes {
		var takes time.Duration
		for _, i := range lane {
			takes += b.Rows[i].Takes
		}
		if n == 0 || takes < shortest {
			least, shortest = n, takes
		}
	}
	return least
}

// control makes one ordinary handshake.
func (b *Battery) control(ctx context.Context) error {
	stage, err := b.Board.Stage(ctx, puppet.StageConfig{Label: "control"})
	if err != nil {
		return err
	}
	defer stage.Close()
	p := stage.Puppet(b.Target, puppet.Shape{})
	if p == nil {
		return stage.Err()
	}
	answer := p.Open()
	switch {
	case stage.Err() != nil:
		return stage.Err()
	case answer == puppet.Unreachable:
		return &ControlError{answer, p.AwaitICMP(0).ICMP}
	case answer != puppet.Opened:
		return &ControlError{Answer: answer}
	}
	b.learn(p.RTT())
	return nil
}

func (b *Battery) learn(rtt time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.longest = max(b.longest, min(rtt, 3*time.Second))
	if rtt > 0 && (b.least == 0 || rtt < b.least) {
		b.least = rtt
	}
}

func (b *Battery) rtt() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.longest
}

// leastRTT is the round trip of a handshake when nobody was busy.
func (b *Battery) leastRTT() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.least
}

// attemptsFor returns how many times in a row loss has to be the excuse before it
// is none any more, on this path: so often that loss alone would do it once in a
// hundred thousand times.
func (b *Battery) attemptsFor() int {
	asked, resent := b.Board.Loss()
	loss := min(max(2*(float64(resent)+0.5)/(float64(asked)+5), 0.1), 0.5)
	return int(math.Ceil(math.Log(1e-5) / math.Log(loss)))
}

// lossy reports whether the path has lost something.
func (b *Battery) lossy() bool { return b.Board.Resent() > 0 }

func (b *Battery) progress(p Progress) {
	if b.Progress == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Progress(p)
}

// run runs a row to its verdict. It returns nil if ctx ended before.
func (b *Battery) run(ctx context.Context, row *Row) *Result {
	if ctx.Err() != nil || b.Board.Err() != nil {
		return nil
	}
	b.progress(Progress{Row: row, What: RowBegins})
	r := b.judge(ctx, row)
	if r != nil {
		b.progress(Progress{Row: row, What: RowDone, Result: r})
	}
	return r
}

// pause waits for d, or until ctx is done.
func (b *Battery) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (b *Battery) judge(ctx context.Context, row *Row) *Result {
	result := &Result{Row: row, Began: b.Board.Now()}
	if !b.Service.Speaks(row.Service) {
		result.Verdict, result.Text = Unknown, fmt.Sprintf("no data service: the row needs %v and the service is %s", row.Service, b.Service.Name)
		return result
	}
	tally := tally{row: row}
	for {
		a := b.attempt(ctx, row, len(tally.tries)+1)
		if a == nil {
			return nil
		}
		tally.tries = append(tally.tries, a)
		verdict, a, text := tally.decide(b.attemptsFor())
		if verdict == "" {
			b.progress(Progress{Row: row, What: RowAgain, Text: a.said()})
			if a.why == TooSlow { // what is busy now need not be for long
				b.pause(ctx, time.Duration(len(tally.tries))*time.Second)
			}
			continue
		}
		result.Verdict, result.Text = verdict, text
		result.Tries, result.Agreed = len(tally.tries), tally.count(a.key())
		result.Facts, result.Record, result.Offered = a.facts, a.record, offered(a.record)
		if a.outcome != nil {
			result.Key, result.Rule = a.outcome.Key, row.rule(a.outcome)
		}
		break
	}
	if o := row.Outcome(result.Key); result.Verdict != Pass || o.LikePath {
		b.doubt(ctx, result)
	}
	result.Took = b.Board.Now() - result.Began
	return result
}

// doubt looks once more whether it is the host that is to blame.
func (b *Battery) doubt(ctx context.Context, r *Result) {
	var control *ControlError
	if r.Verdict.Bad() {
		if err := b.control(ctx); errors.As(err, &control) {
			r.Verdict, r.Text = Unknown, fmt.Sprintf("the host stopped answering (%v) after: %s", control, r.Text)
			return
		}
	}
	if r.Row.Group() == "P" {
		return
	}
	if what := strayReset(r.Record); what != "" {
		r.Verdict, r.Text = Unknown, "changed on the path: "+what
		return
	}
	if len(r.Row.Needs) == 0 {
		return
	}
	if what := b.altered(ctx, r.Row, r); what != "" {
		text := "changed on the path: " + what
		if r.Verdict == Unknown {
			text += "; " + r.Text
		}
		r.Verdict, r.Text = Unknown, text
	}
}

// attempt runs a row once. It returns nil if ctx ended.
func (b *Battery) attempt(ctx context.Context, row *Row, n int) *attempt {
	stage, err := b.Board.Stage(ctx, puppet.StageConfig{
		Label: row.ID + " " + row.Name, Puppets: row.Puppets, Abort: func(error) { runtime.Goexit() },
	})
	if err != nil {
		return nil
	}
	t := &T{Target: b.Target, Service: b.Service, battery: b, row: row, stage: stage, try: n, asked: map[*puppet.Puppet]int{}}
	key := ""
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer b.caught()
		defer stage.Close()
		key = row.Test(t)
	}()
	<-done
	switch {
	case ctx.Err() != nil || b.Board.Err() != nil:
		return nil
	case stage.Err() != nil:
		t.why = "this host could not send: " + stage.Err().Error()
	}
	a := &attempt{facts: t.facts, record: stage.Log(), why: t.why, detail: t.detail}
	if t.why == "" {
		if a.outcome = row.Outcome(key); a.outcome == nil {
			panic(fmt.Sprintf("probe: row %s has no outcome %q", row.ID, key))
		}
	}
	return a
}

// caught hands the panic of a row to OnPanic.
func (b *Battery) caught() {
	if b.OnPanic == nil {
		return
	}
	if cause := recover(); cause != nil {
		b.OnPanic(cause)
	}
}

// offered is the options of the first SYN of ours in the evidence.
func offered(record []puppet.Record) string {
	for _, r := range record {
		if e := r.Event; e.Kind == engine.EventSegmentOut && e.Segment.Flags.Has(segment.SYN) {
			return e.Segment.Options.String()
		}
	}
	return ""
}

// Select returns the rows, of those given, whose ids or groups are named. An id
// that no row has is an error.
func Select(rows []*Row, names []string) ([]*Row, error) {
	var picked []*Row
	known := map[string]bool{}
	for _, r := range rows {
		known[r.ID], known[r.Group()] = true, true
		if slices.Contains(names, r.ID) || slices.Contains(names, r.Group()) {
			picked = append(picked, r)
		}
	}
	for _, name := range names {
		if !known[name] {
			return nil, fmt.Errorf("there is no row %q: --list shows them", name)
		}
	}
	return picked, nil
}
