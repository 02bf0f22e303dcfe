package netlab

import (
	"errors"
	"runtime"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// onOwnThread starts f on an operating system thread that runs nothing else
// and ends when f returns, so that f may move the thread to another namespace.
func onOwnThread(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The main thread never ends, and /proc/self shows its namespace:
			// keep it occupied until f runs elsewhere.
			started := make(chan struct{})
			onOwnThread(func() {
				close(started)
				f()
			})
			<-started
			runtime.UnlockOSThread()
			return
		}
		f() // and never unlock: the runtime ends the thread with the goroutine
	}()
}

var errEndedGoroutine = errors.New("the function ended its goroutine, as runtime.Goexit and t.Fatal do")

// inNamespace runs f on a thread inside ns and waits for it.
func inNamespace(ns netns.NsHandle, f func() error) error {
	result := make(chan error, 1)
	onOwnThread(func() {
		err := netns.Set(ns)
		if err != nil {
			result <- err
			return
		}
		err = errEndedGoroutine // holds if f never returns, as with t.Fatal
		defer func() { result <- err }()
		err = f()
	})
	return <-result
}
