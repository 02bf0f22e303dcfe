package engine_test

import (
	"bytes"
	"context"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/simnet"
)

// However a host ends, and whatever is under way then, none of its goroutines is
// left when it has ended, and every call into it comes back.
func TestEndOfAHostLeavesNoGoroutine(t *testing.T) {
	for name, end := range map[string]func(w *world){
		"Close": func(*world) {},
		"Shutdown": func(w *world) {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := w.client.Shutdown(ctx); err != nil {
				w.t.Error(err)
			}
		},
		"Shutdown in vain": func(w *world) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if err := w.server.Shutdown(ctx); err == nil {
				w.t.Error("Shutdown has no error, though the peers did not close")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				before, _ := bubbled()
				w := newWorld(t, worldConfig{path: simnet.PathConfig{Delay: time.Millisecond}})
				calls := w.callers()
				end(w)
				for _, h := range []*engine.Host{w.client, w.server} {
					if err := h.Close(); err != nil {
						t.Error(err)
					}
				}
				for range cap(calls) {
					if err := <-calls; err == nil {
						t.Error("a call that waited has no error")
					}
				}
				synctest.Wait()
				if n, stacks := bubbled(); n > before {
					t.Errorf("%d goroutines, there were %d before:\n%s", n, before, stacks)
				}
			})
		})
	}
}

// bubbled counts the goroutines of the test's bubble. There are others, which come
// and go: those of the runtime, and of tests before.
func bubbled() (int, []byte) {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return bytes.Count(stacks, []byte(", synctest bubble ")), stacks
}

// callers leaves one call of each kind that waits on the two hosts. Each sends
// the error it comes back with.
func (w *world) callers() chan error {
	calls := make(chan error, 5)
	l := w.listen(engine.ListenConfig{})
	client := w.dial()
	server, err := l.AcceptConn()
	if err != nil {
		w.t.Fatal(err)
	}
	until := func(call func([]byte) (int, error), end func() error) {
		var err error
		for p := make([]byte, 1<<20); err == nil; {
			_, err = call(p)
		}
		end()
		calls <- err
	}
	nothing := func() error { return nil }
	go until(client.Read, nothing)
	go until(client.Write, nothing)
	go until(server.Read, server.Close)
	go func() {
		_, err := l.Accept()
		calls <- err
	}()
	go func() {
		_, err := w.client.Dial(context.Background(), netip.MustParseAddrPort("198.18.0.77:80"), engine.DialConfig{})
		calls <- err
	}()
	time.Sleep(10 * time.Millisecond) // of virtual time: all of them wait
	return calls
}
