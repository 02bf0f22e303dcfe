package rawsock

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// A routeLab is a link and an address to which the test makes the route.
type routeLab struct {
	*lab
	c       *Conn
	family  int
	outside netip.Addr
}

func newRouteLab(t *testing.T, family int) *routeLab {
	t.Helper()
	l := &routeLab{lab: newLab(t), family: family}
	l.outside = []netip.Addr{netip.MustParseAddr("198.19.88.1"), netip.MustParseAddr("2001:db8:ff88::1")}[family]
	c, err := openLink(Config{})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	l.c = c
	return l
}

// set makes the route, with a path MTU.
func (l *routeLab) set(mtu int) {
	l.t.Helper()
	must(l.t, netlink.RouteReplace(&netlink.Route{
		Dst: ipNet(netip.PrefixFrom(l.outside, l.outside.BitLen())), Gw: l.theirs[l.family].AsSlice(), MTU: mtu,
	}))
}

// want asks for the route.
func (l *routeLab) want(mtu int, when string) {
	l.t.Helper()
	got, err := l.c.RouteInfo(l.outside, netip.Addr{})
	if want := (Route{Source: l.ours[l.family], Interface: l.name, MTU: mtu}); got != want || err != nil {
		l.t.Fatalf("%s: %+v, %v, want %+v", when, got, err, want)
	}
}

// answers asks for the route, has what is then remembered of it altered, and
// returns the MTU of the next answer. The kernel may still tell of the devices that
// other tests leave behind, so that the caller tries again.
func (l *routeLab) answers(alter func(*knownRoute)) (mtu int) {
	l.t.Helper()
	_, _, err := l.c.Route(l.outside, netip.Addr{})
	must(l.t, err)
	cache, key := &l.c.routes.cache, routeKey{remote: l.outside}
	cache.mu.Lock()
	k := cache.known[key]
	alter(&k)
	cache.known[key] = k
	cache.mu.Unlock()
	_, mtu, err = l.c.Route(l.outside, netip.Addr{})
	must(l.t, err)
	return mtu
}

// A change of routes, addresses or devices is in the next answer, however short
// before the question it was made.
func TestRouteIsNeverStale(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newRouteLab(t, family)
		for i := range 50 {
			l.set(1300 + i)
			l.want(1300+i, "a new route")
			l.want(1300+i, "the same again")
		}
		link, err := netlink.LinkByName(l.name)
		must(t, err)
		l.set(0)
		l.want(1500, "a route without an MTU of its own")
		must(t, netlink.LinkSetMTU(link, 1400))
		l.want(1400, "a new MTU of the device")
		must(t, netlink.LinkSetDown(link))
		_, err = l.c.RouteInfo(l.outside, netip.Addr{})
		wantRouteErrno(t, err, syscall.ENETUNREACH)
	})
}

// A source address that is gone is no source any more.
func TestSourceIsNeverStale(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newRouteLab(t, family)
		local := l.ours[family]
		for range 2 {
			if _, _, err := l.c.Route(l.theirs[family], local); err != nil {
				t.Fatal(err)
			}
		}
		link, err := netlink.LinkByName(l.name)
		must(t, err)
		bits := []int{24, 64}[family]
		must(t, netlink.AddrDel(link, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(local, bits))}))
		_, _, err = l.c.Route(l.theirs[family], local)
		wantRouteErrno(t, err, syscall.EADDRNOTAVAIL)
	})
}

// While the kernel tells of nothing it is asked once in a while.
func TestRouteIsRemembered(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newRouteLab(t, family)
		l.set(1300)
		poll(t, "an answer that is remembered", func() bool {
			return l.answers(func(k *knownRoute) { k.route.MTU, k.until = 1234, time.Now().Add(time.Hour) }) == 1234
		})
		if mtu := l.answers(func(k *knownRoute) { k.route.MTU, k.until = 1234, time.Now() }); mtu != 1300 {
			t.Errorf("an MTU of %d from an answer that is too old", mtu)
		}
	})
}

// What was asked before a change, and answered after it, is not kept: nobody knows
// which of both it tells of.
func TestOvertakenAnswerIsNotKept(t *testing.T) {
	l := newRouteLab(t, 0)
	l.set(1300)
	cache, key := &l.c.routes.cache, routeKey{remote: l.outside}
	_, turn, ok := cache.get(key)
	if ok {
		t.Fatal("known before it was asked")
	}
	old, err := l.c.askRoute(l.outside, netip.Addr{})
	must(t, err)
	l.set(1400)
	if _, _, err := l.c.Route(l.theirs[0], netip.Addr{}); err != nil { // another goroutine hears of the change
		t.Fatal(err)
	}
	cache.put(key, old, turn)
	l.want(1400, "after the change")
}

// A host that is asked for ever new addresses remembers a bounded number, and one
// that hears of no changes remembers nothing.
func TestRouteCacheIsBounded(t *testing.T) {
	l := newRouteLab(t, 0)
	cache := &l.c.routes.cache
	at := netip.MustParseAddr("198.19.0.1")
	for range 3 * maxRoutes {
		cache.put(routeKey{remote: at}, Route{}, cache.turn)
		at = at.Next()
	}
	if n := len(cache.known); n == 0 || n > maxRoutes {
		t.Errorf("%d routes are remembered, at most %d should be", n, maxRoutes)
	}
	deaf := routeCache{fd: -1, known: map[routeKey]knownRoute{}}
	deaf.put(routeKey{remote: at}, Route{MTU: 1300}, 0)
	if _, _, ok := deaf.get(routeKey{remote: at}); ok {
		t.Error("a route is remembered that nobody would tell to have changed")
	}
}
