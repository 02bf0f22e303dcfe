package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"rawtcp/internal/explain"
)

// A captureReader reads a capture until its end, or until a signal asks for one.
// What is on its way in a pipe then is read all the same: who writes it has often
// had the same signal, and ends it properly.
type captureReader struct {
	io.Closer
	r       io.Reader
	wait    *os.File // a pipe or the like, whose octets come as they are made; nil: a file
	stop    context.Context
	until   time.Time // how long a pipe is read after stop
	stopped error
}

// stopGrace is how long what comes out of a pipe is read after a signal, and
// readPause how long it may be silent then, and how late a signal is heard.
const (
	stopGrace = 2 * time.Second
	readPause = 100 * time.Millisecond
)

// Read implements io.Reader.
func (c *captureReader) Read(b []byte) (int, error) {
	if c.stopped != nil {
		return 0, c.stopped
	}
	for {
		stop := c.stop.Err() != nil
		switch {
		case stop && c.until.IsZero():
			c.until = time.Now().Add(stopGrace)
		case stop && time.Now().After(c.until):
			return 0, c.halt()
		}
		switch {
		case c.wait == nil && !stop, c.wait != nil && readable(c.wait, readPause):
			return c.r.Read(b)
		case stop:
			return 0, c.halt()
		}
	}
}

// halt ends the reading for good.
func (c *captureReader) halt() error {
	c.stopped = fmt.Errorf("%w by %w", explain.ErrStopped, context.Cause(c.stop))
	return c.stopped
}

// readable waits for something to read, or an end, for some time at most.
func readable(f *os.File, pause time.Duration) bool {
	poll := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLIN}}
	n, err := unix.Poll(poll, int(pause.Milliseconds()))
	return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
}

// openCapture opens a file, or stdin for "-". size is 0 if it is not known.
func (p *program) openCapture(stop context.Context, name string) (in *captureReader, size int64, err error) {
	if name == "-" {
		if isTerminal(p.stdin) {
			return nil, 0, usageError("stdin is a terminal: give a capture, such as tcpdump -w - | rawtcp explain -")
		}
		in = &captureReader{Closer: io.NopCloser(nil), r: p.stdin, stop: stop}
		if f, isFile := p.stdin.(*os.File); isFile {
			size = in.look(f)
		}
		return in, size, nil
	}
	f, err := os.Open(name)
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			path.Path = shown(name)
		}
		return nil, 0, usageError("%w", err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a directory: want a capture", shown(name))
	}
	if err != nil {
		f.Close()
		return nil, 0, usageError("%w", err)
	}
	in = &captureReader{Closer: f, r: f, stop: stop}
	return in, in.look(f), nil
}

// look tells a file from a pipe and returns its size, 0 if it has none.
func (c *captureReader) look(f *os.File) (size int64) {
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() {
		return info.Size()
	}
	c.wait = f
	return 0
}
