package rawsock

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A routeCache remembers routes as long as the kernel tells of no change. Who
// looks takes in first what the kernel has told, which it does before a change is
// done: what was changed before the question is in the answer.
type routeCache struct {
	mu      sync.Mutex
	fd      int    // hears of changes; -1: nothing does, and nothing is remembered
	turn    uint64 // counts them
	known   map[routeKey]knownRoute
	scratch [16]byte
}

// A routeKey is a question to Route. The interface, if the configuration names
// one, is always the same.
type routeKey struct{ remote, local netip.Addr }

// A knownRoute is an answer.
type knownRoute struct {
	route Route
	until time.Time
}

// routeLife is how long an answer is good for, because the kernel does not tell of
// all: not of redirects, nor of a path MTU that it has learned.
const routeLife = time.Second

// maxRoutes bounds the cache; one that is full begins anew.
const maxRoutes = 1024

// open begins to hear of changes. A system that refuses that has no cache.
func (r *routeCache) open() {
	r.known = make(map[routeKey]knownRoute)
	var err error
	if r.fd, err = routeSocket(routeGroups); err != nil {
		r.fd = -1
	}
}

func (r *routeCache) close() {
	if r.fd >= 0 {
		unix.Close(r.fd)
	}
}

// get returns what is known of a route. turn is what put wants of who has to ask
// the kernel.
func (r *routeCache) get(key routeKey) (route Route, turn uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.heard() {
		r.turn++
		clear(r.known)
	}
	k, ok := r.known[key]
	return k.route, r.turn, ok && time.Now().Before(k.until)
}

// put takes an answer of the kernel to who found nothing at turn. One that a change
// may have overtaken is not kept.
func (r *routeCache) put(key routeKey, route Route, turn uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fd < 0 || turn != r.turn {
		return
	}
	if len(r.known) >= maxRoutes {
		clear(r.known)
	}
	r.known[key] = knownRoute{route, time.Now().Add(routeLife)}
}

// heard takes in what the kernel has told, and reports whether that was anything.
func (r *routeCache) heard() (changed bool) {
	const most = 1000 // should changes come as fast as they are read
	for range most {
		switch _, err := unix.Read(r.fd, r.scratch[:]); err {
		case nil, unix.ENOBUFS: // or more than it could keep
			changed = true
		case unix.EINTR:
		default:
			return changed
		}
	}
	return true
}
