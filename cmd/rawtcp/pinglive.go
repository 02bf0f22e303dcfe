package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"rawtcp/internal/ping"
)

// Control sequences of every terminal since the VT100, and xterm's second screen.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	homeCursor  = "\x1b[H"
	clearRest   = "\x1b[J"
	clearLine   = "\x1b[K"
)

// redrawEvery is how often the screen is drawn.
const redrawEvery = 200 * time.Millisecond

// recentNotes is how many lines of news the screen shows.
const recentNotes = 4

// A pingScreen is what --live draws. It has the terminal's second screen, so
// that nothing of it stays behind on the first.
type pingScreen struct {
	run   *pingRun
	out   io.Writer
	utf8  bool
	began time.Time
	quit  chan struct{}
	ended chan struct{}

	mu    sync.Mutex
	notes []string // what was no ordinary answer, latest last
}

func openPingScreen(r *pingRun) *pingScreen {
	s := &pingScreen{
		run: r, out: r.p.stdout, utf8: speaksUTF8(r.p.env), began: time.Now(),
		quit: make(chan struct{}), ended: make(chan struct{}),
	}
	_, _ = io.WriteString(s.out, enterScreen)
	spawn(s.draw)
	return s
}

// close gives the terminal back.
func (s *pingScreen) close() {
	close(s.quit)
	<-s.ended
	_, _ = io.WriteString(s.out, leaveScreen)
}

// note keeps what is no ordinary answer.
func (s *pingScreen) note(e *ping.Event) {
	if e.Kind == ping.Reply || e.Kind == ping.Refused {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes = append(s.notes, probeText(e, s.run.o.wait))
	if len(s.notes) > recentNotes {
		s.notes = s.notes[1:]
	}
}

func (s *pingScreen) draw() {
	defer close(s.ended)
	ticker := time.NewTicker(redrawEvery)
	defer ticker.Stop()
	for {
		if _, err := io.WriteString(s.out, s.frame()); err != nil {
			return
		}
		select {
		case <-s.quit:
			return
		case <-ticker.C:
		}
	}
}

// frame is one picture, cut to the terminal as it is now.
func (s *pingScreen) frame() string {
	columns, rows := screenSize(s.out)
	lines := s.lines(columns, rows)
	var b strings.Builder
	b.WriteString(homeCursor)
	for i, line := range lines[:min(len(lines), rows)] {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(cutTo(line, columns) + clearLine)
	}
	b.WriteString(clearRest)
	return b.String()
}

func screenSize(w io.Writer) (columns, rows int) {
	if f, ok := w.(*os.File); ok {
		if c, r, err := term.GetSize(int(f.Fd())); err == nil && c > 0 && r > 0 {
			return c, r
		}
	}
	return 80, 24
}

// cutTo leaves out what does not fit; every character is one column wide.
func cutTo(line string, columns int) string {
	runes := []rune(line)
	if len(runes) > columns {
		runes = runes[:columns]
	}
	return string(runes)
}

// lines share the rows out between the targets.
func (s *pingScreen) lines(columns, rows int) []string {
	stats := s.run.pinger.Stats()
	s.mu.Lock()
	notes := append([]string(nil), s.notes...)
	s.mu.Unlock()
	const perTarget = 4 // lines of one target beside its bars
	bars := min(12, (rows-2-len(notes))/len(stats)-perTarget)
	lines := []string{fmt.Sprintf("rawtcp ping, every %v, wait %v, running %v; Ctrl-C ends it",
		s.run.o.interval, s.run.o.wait, time.Since(s.began).Truncate(time.Second))}
	for i := range stats {
		lines = append(lines, "")
		lines = append(lines, targetLines(s.run.config.Targets[i].Remote.String(), &stats[i], bars, columns, s.utf8)...)
	}
	if len(notes) > 0 {
		lines = append(append(lines, ""), notes...)
	}
	return lines
}

// targetLines are the sums of one target and its histogram.
func targetLines(remote string, s *ping.Stats, bars, columns int, utf8 bool) []string {
	lines := []string{remote + ": " + pingCounts(s)}
	if spread := pingSpread(s); spread != "" {
		lines = append(lines, strings.Split(spread, "\n")...)
	}
	if bars < 3 || s.Times.Count() == 0 {
		return lines
	}
	return append(lines, histogram(&s.Times, bars, columns, utf8)...)
}

// histogram draws the times from the least to the 99th percentile, n bars; the
// few above count in the last.
func histogram(t *ping.Times, n, columns int, utf8 bool) []string {
	low := t.Min()
	width := max((t.Quantile(0.99)-low)/time.Duration(n)+1, time.Microsecond)
	counts := t.Bars(low, low+width*time.Duration(n), n)
	most := 0
	for _, c := range counts {
		most = max(most, c)
	}
	lines := make([]string, n)
	for i, c := range counts {
		head := fmt.Sprintf("%10.3f ms %9d ", msOf(low+width*time.Duration(i)), c)
		lines[i] = head + bar(c, most, columns-len(head), utf8)
	}
	return lines
}

// bar is a bar of n out of most, at most room wide: in eighths of a column
// where the terminal has characters for that.
func bar(n, most, room int, utf8 bool) string {
	if most == 0 || room <= 0 {
		return ""
	}
	if !utf8 {
		return strings.Repeat("#", (n*room+most-1)/most)
	}
	eighths := (n*room*8 + most - 1) / most
	text := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		text += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return text
}
