package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"rawtcp/internal/netlab"
)

// Options say what Run measures and how long.
type Options struct {
	Only   []string      // goals; none: all
	Rounds int           // of each contender, at least 5 unless Quick
	Length time.Duration // of the measured part of one run
	Warm   time.Duration // of the part before it
	Quick  bool          // see that every row can be made, and judge none
	Rawtcp string        // the shipped binary, for P13
	Log    io.Writer     // progress, and nothing else
	Calm   Calm          // not for Quick, which takes the machine as it is
}

// A Session is one run of the benchmark.
type Session struct {
	Options
	ctx      context.Context
	lab      *scene
	testCPU  string // where the tested side runs, as pin takes it
	peerCPU  string // where the kernel's side runs
	port     uint16
	terminal bool
	gate     *gate
	began    time.Time
	dirty    bool // a line of progress stands on the terminal
}

// Run holds every contest that the options want and returns their rows in the
// order of the goals. The process must be Privileged, or one that netlab has isolated.
func Run(ctx context.Context, o Options) (Report, error) {
	s := &Session{Options: o, ctx: ctx, port: firstPort, began: time.Now()}
	if f, ok := o.Log.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		s.terminal = err == nil
	}
	if err := s.chooseCPUs(); err != nil {
		return Report{}, err
	}
	defer s.clear()
	defer s.leave()
	s.openGate()
	var all []contest
	for _, c := range contests() {
		if c, wanted := c.wanted(o.Only); wanted {
			all = append(all, c)
		}
	}
	var rows []Row
	for _, c := range all {
		s.say("%s", c.name)
		s.gate.allow(len(all))
		got, err := c.rows(s)
		if err != nil {
			return Report{}, err
		}
		rows = append(rows, got...)
	}
	slices.SortStableFunc(rows, func(a, b Row) int { return order(a.Goal) - order(b.Goal) })
	if o.Quick {
		for i := range rows {
			rows[i].Met = nil
		}
	}
	machine, err := describeMachine()
	if err != nil {
		return Report{}, err
	}
	return Report{Machine: machine, Calm: o.Calm, Tally: s.gate.Tally, Rounds: o.Rounds, Length: o.Length, Warm: o.Warm, TestCPU: s.testCPU, PeerCPU: s.peerCPU,
		Began: s.began, Took: time.Since(s.began), Only: o.Only, Rows: rows}, nil
}

// openGate has laps judged by this machine's own counts. A quick run has no
// limit and no patience, and so neither waits nor plays anything again.
func (s *Session) openGate() {
	s.gate = &gate{Calm: s.Calm, world: world{now: time.Now, times: readCPUTimes, rest: s.rest, tell: s.progress,
		spin: func(d time.Duration) { spinAll(runtime.NumCPU(), d) }}}
	if s.Quick {
		s.gate.Calm = Calm{Limit: 1}
	}
}

// rest sleeps, unless the run is to end.
func (s *Session) rest(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// Privileged reports whether this process may do all that the benchmark does
// where it is, in namespaces that it makes. In a user namespace it could too, but
// sockets there have no receive buffers beyond net.core.rmem_max: packet sockets
// then lose what the kernel's own TCP would not.
func Privileged() bool {
	if largeBuffers() != nil {
		return false
	}
	lab := netlab.New()
	defer lab.Close()
	_, err := lab.Host("probe")
	return err == nil
}

// largeBuffers tries to have a socket with a receive buffer of any size.
func largeBuffers() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer)
}

// firstPort is where the ports of the kernel's side begin; each run has one of
// its own, so that no TIME-WAIT of another is in its way.
const firstPort = 2000

// nextPort returns a port that no run has had yet.
func (s *Session) nextPort() uint16 {
	s.port++
	return s.port
}

// chooseCPUs gives each side a processor of its own where there are two.
func (s *Session) chooseCPUs() error {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return fmt.Errorf("ask which processors we may use: %w", err)
	}
	var allowed []string
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			allowed = append(allowed, strconv.Itoa(cpu))
		}
	}
	s.testCPU, s.peerCPU = allowed[0], allowed[min(1, len(allowed)-1)]
	if s.testCPU == s.peerCPU {
		s.say("one processor alone: both sides share it, and the figures say little")
	}
	return nil
}

// say writes a line of progress that stays.
func (s *Session) say(format string, args ...any) {
	s.clear()
	fmt.Fprintf(s.Log, "bench: "+format+"\n", args...)
}

// progress writes a line that the next one overwrites, on a terminal alone.
func (s *Session) progress(format string, args ...any) {
	if s.terminal {
		fmt.Fprintf(s.Log, "\r\x1b[K"+format, args...)
		s.dirty = true
	}
}

// clear takes the line of progress away.
func (s *Session) clear() {
	if s.dirty {
		fmt.Fprint(s.Log, "\r\x1b[K")
		s.dirty = false
	}
}
