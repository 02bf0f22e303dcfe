package ping

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"rawtcp/internal/netlab"
	"rawtcp/segment"
)

func TestMain(m *testing.M) {
	if slices.ContainsFunc(os.Args, func(arg string) bool { return len(arg) > 10 && arg[:10] == "-test.fuzz" }) {
		os.Exit(m.Run()) // the core needs no network
	}
	netlab.Main(m)
}

// A tap sees what goes out and what comes in, and only SYNs and RSTs.
func TestTap(t *testing.T) {
	a, b := netlab.Pair(t, netlab.LinkConfig{Offload: true})
	echo := b.MustServe(t, netlab.Echo)
	var tap *Tap
	if err := a.Do(func() (err error) { tap, err = OpenTap("eth0"); return err }); err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	for _, addr := range []netip.Addr{b.Addr4(), b.Addr6()} {
		conn, err := a.Dial(t.Context(), netip.AddrPortFrom(addr, echo.Port()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err != nil { // unread, it would make the close a reset
			t.Fatal(err)
		}
		conn.Close()
		var seen []string
		var before int64
		for packet, stamp, out, ok := tap.next(); ok; packet, stamp, out, ok = tap.next() {
			var s segment.Segment
			if err := s.Parse(packet); err != nil {
				t.Fatal(err)
			}
			seen = append(seen, fmt.Sprint(s.Flags, out))
			if age := time.Since(time.Unix(0, stamp)); stamp <= before || age < 0 || age > time.Minute {
				t.Errorf("stamped %v ago", age)
			}
			before = stamp
		}
		if !slices.Equal(seen, []string{"S true", "S. false"}) {
			t.Errorf("%s: it saw %q", addr, seen)
		}
	}
	if err := a.Do(func() error { _, err := OpenTap("eth7"); return err }); err == nil {
		t.Error("an interface that is not there has a tap")
	}
}
