package main

import (
	"encoding/binary"
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// A readerWatch notices that nobody reads a pipe any more. A write would tell
// too, but a quiet connection has nothing to write. The pipe must not be closed
// before the watch has ended: its number may be another file's by then. (Nor can
// the watch have a duplicate of its own, which would keep the reader waiting for
// the end.)
type readerWatch struct {
	wake  int // an eventfd, which ends the poll
	ended chan struct{}
	once  sync.Once
}

// watchReader calls gone, at most once and from a goroutine of its own, when the
// other end of the pipe is closed. The watch must be ended.
func watchReader(pipe *os.File, gone func()) (*readerWatch, error) {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	w := &readerWatch{wake: fd, ended: make(chan struct{})}
	spawn(func() {
		defer close(w.ended)
		_ = raw.Control(func(fd uintptr) { // fails if the pipe is closed: then nobody reads what nobody writes
			if w.wait(int32(fd)) {
				gone()
			}
		})
	})
	return w, nil
}

// wait reports whether the reader has gone before the watch was ended.
func (w *readerWatch) wait(pipe int32) bool {
	for {
		fds := []unix.PollFd{{Fd: pipe}, {Fd: int32(w.wake), Events: unix.POLLIN}} // an error is told unasked
		_, err := unix.Poll(fds, -1)
		if !errors.Is(err, unix.EINTR) {
			return err == nil && fds[0].Revents != 0
		}
	}
}

// end ends the watch. gone is not called after it. It may be called again, and
// by several goroutines.
func (w *readerWatch) end() {
	w.once.Do(func() {
		_, _ = unix.Write(w.wake, binary.NativeEndian.AppendUint64(nil, 1)) // the first count of an eventfd always fits
		<-w.ended
		unix.Close(w.wake)
	})
}

// isPipe reports whether a file has a reader who may go away.
func isPipe(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0
}
