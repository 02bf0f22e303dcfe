package kernel

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/capture"
	"rawtcp/internal/flow"
	"rawtcp/internal/netlab"
	"rawtcp/segment"
)

// The states as ss calls them.
var ssStates = map[string]engine.State{
	"SYN-SENT": engine.SynSent, "SYN-RECV": engine.SynReceived, "ESTAB": engine.Established, "FIN-WAIT-1": engine.FinWait1, "FIN-WAIT-2": engine.FinWait2,
	"CLOSE-WAIT": engine.CloseWait, "CLOSING": engine.Closing, "LAST-ACK": engine.LastAck, "TIME-WAIT": engine.TimeWait,
}

// ss returns the state of the connection between two ends on a host, Closed if
// there is none.
func ss(t *testing.T, h *netlab.Host, local, remote netip.AddrPort) engine.State {
	t.Helper()
	out, err := h.Command(t.Context(), "ss", "-Htan").Output()
	if err != nil {
		t.Fatalf("ss: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) >= 5 && f[3] == local.String() && f[4] == remote.String() {
			state, known := ssStates[f[0]]
			if !known {
				t.Fatalf("ss says %q", line)
			}
			return state
		}
	}
	return engine.Closed
}

// A watch follows a capture while it is made.
type watch struct {
	tracker *flow.Tracker
	rec     *recorder
	done    int
	local   [2]netip.AddrPort
	states  [2]engine.State
	passed  [2][]engine.State
}

// Segment implements flow.Sink.
func (w *watch) Segment(e *flow.Event) {
	for side := range w.states {
		end := &e.Conn.Ends[side]
		w.local[side], w.states[side] = end.Addr, end.State
		w.passed[side] = append(w.passed[side][:0], end.Passed...)
	}
}

// Gone implements flow.Sink.
func (w *watch) Gone(*flow.Conn) {}

// look follows what was captured meanwhile.
func (w *watch) look(t *testing.T) [2]engine.State {
	t.Helper()
	w.rec.mu.Lock()
	frames := w.rec.rec.frames[w.done:]
	w.rec.mu.Unlock()
	for _, f := range frames {
		p := capture.Packet{Link: capture.LinkEthernet, Data: f.data, Len: f.size}
		var s segment.Segment
		d, err := new(capture.Decoder).Segment(&p, &s)
		if err != nil {
			t.Fatal(err)
		}
		w.done++
		w.tracker.Add(flow.Moment{Frame: uint64(w.done), At: f.at.UnixNano()}, &s, d)
	}
	return w.states
}

// An observation compares both ends of a connection with what their hosts say.
type observation struct {
	*world
	client, server *watch
	seen           map[[2]engine.State]bool
	lossy          bool // what one host has sent the other may not have: each capture is held to its own host alone
}

// moment waits until ss has the wanted states of both ends, and holds what was
// captured on either host to them.
func (o *observation) moment(want ...engine.State) {
	o.t.Helper()
	pair := [2]engine.State(want)
	var now [2]engine.State
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		local := o.client.local
		if o.client.look(o.t); !local[0].IsValid() {
			local = o.client.local
		}
		now = [2]engine.State{ss(o.t, o.a, local[0], local[1]), ss(o.t, o.b, local[1], local[0])}
		if now == pair {
			break
		}
		if time.Now().After(deadline) {
			o.t.Fatalf("ss has %v, want %v", now, pair)
		}
	}
	o.seen[pair] = true
	for side, w := range []*watch{o.client, o.server} {
		for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
			got := shownBySS(w.look(o.t))
			if got == pair || o.lossy && got[side] == pair[side] {
				break
			}
			if time.Now().After(deadline) {
				o.t.Fatalf("the tracker on %s side has %v, ss %v", flow.Side(side), got, pair)
			}
		}
	}
}

// alone waits until a host's own capture has its side in a state, and holds that
// to what ss has there; it must have come from one state and no other. What the
// other host has cannot be known to this capture.
func (o *observation) alone(w *watch, side flow.Side, from, want engine.State) {
	o.t.Helper()
	for deadline := time.Now().Add(patience); w.look(o.t)[side] != want; pause(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			o.t.Fatalf("the tracker has %v, want %v of %v", w.states, want, side)
		}
	}
	h := []*netlab.Host{o.a, o.b}[side]
	if s := ss(o.t, h, w.local[side], w.local[side.Other()]); s != want {
		o.t.Errorf("ss has %v, the tracker %v", s, want)
	}
	if passed := w.passed[side]; len(passed) < 2 || passed[len(passed)-2] != from {
		o.t.Errorf("the tracker came to %v by %v", want, passed)
	}
	o.seen[[2]engine.State{want, want}] = true
}

// shownBySS is what ss has of two states: a listener is no connection.
func shownBySS(states [2]engine.State) [2]engine.State {
	for i, s := range states {
		if s == engine.Listen {
			states[i] = engine.Closed
		}
	}
	return states
}

// The tracker's states of two kernels are those that ss reports, at every moment
// at which they stay for long enough to be asked for.
func TestStatesAgainstSS(t *testing.T) {
	const (
		closed, synSent, synReceived, established = engine.Closed, engine.SynSent, engine.SynReceived, engine.Established
		finWait1, finWait2, closeWait, closing    = engine.FinWait1, engine.FinWait2, engine.CloseWait, engine.Closing
		lastAck, timeWait                         = engine.LastAck, engine.TimeWait
	)
	var mu sync.Mutex
	all := map[engine.State]bool{}
	for i, scene := range []struct {
		name string
		v6   bool
		link netlab.RelayConfig
		play func(o *observation)
	}{
		{"client closes first", false, netlab.RelayConfig{}, func(o *observation) {
			client, server := o.open()
			o.moment(established, established)
			o.must(client.CloseWrite())
			o.moment(finWait2, closeWait)
			server.Close()
			o.moment(timeWait, closed)
		}},
		{"server closes first", true, netlab.RelayConfig{}, func(o *observation) {
			client, server := o.open()
			o.write(client, 1000)
			o.read(server, 1000)
			o.must(server.CloseWrite())
			o.moment(closeWait, finWait2)
			client.Close()
			o.moment(closed, timeWait)
		}},
		{"reset", false, netlab.RelayConfig{}, func(o *observation) {
			client, server := o.open()
			o.moment(established, established)
			o.must(noLinger(server))
			server.Close()
			o.moment(closed, closed)
			_ = client
		}},
		{"reset in CLOSE-WAIT", true, netlab.RelayConfig{}, func(o *observation) {
			client, server := o.open()
			o.must(client.CloseWrite())
			o.moment(finWait2, closeWait)
			o.must(noLinger(server))
			server.Close()
			o.moment(closed, closed)
		}},
		{"SYN without answer", false, netlab.RelayConfig{AtoB: loses(every)}, func(o *observation) {
			o.knock()
			o.waitFor(o.client)
			// The server's side knows nothing of it, and its capture neither.
			o.alone(o.client, flow.Local, closed, synSent)
			if o.client.states[1] != engine.Listen {
				o.t.Errorf("the tracker has %v", o.client.states)
			}
		}},
		{"SYN-ACK without answer", true, netlab.RelayConfig{BtoA: loses(flags(syn | ack))}, func(o *observation) {
			o.listen()
			o.knock()
			o.waitFor(o.server)
			o.alone(o.server, flow.Remote, engine.Listen, synReceived)
		}},
		{"FIN without answer", false, netlab.RelayConfig{}, func(o *observation) {
			client, _ := o.open()
			o.moment(established, established)
			o.must(o.r.SetBoth(loses(every)))
			o.must(client.CloseWrite())
			o.alone(o.client, flow.Local, established, finWait1)
		}},
		{"both close at once", true, netlab.RelayConfig{}, func(o *observation) {
			client, server := o.open()
			o.moment(established, established)
			o.lossy = true // both FINs arrive, and no ACK of one
			for _, d := range []netlab.Direction{netlab.AtoB, netlab.BtoA} {
				once := first(1, hasFIN)
				o.must(o.r.Set(d, withLongDelay(loses(func(tcp []byte, n int) bool { return bare(tcp, n) || hasFIN(tcp, n) && !once(tcp, n) }))))
			}
			o.must(client.CloseWrite())
			o.must(server.CloseWrite())
			o.moment(closing, closing)
			o.must(o.r.SetBoth(netlab.Impairment{}))
			o.moment(timeWait, timeWait)
		}},
		{"last ACK lost", false, netlab.RelayConfig{}, func(o *observation) {
			client, server := o.open()
			o.must(client.CloseWrite())
			o.moment(finWait2, closeWait)
			o.must(o.r.Set(netlab.AtoB, loses(every)))
			server.Close()
			o.end(client)
			// What the client has acknowledged does not arrive: only the server's
			// own capture can know.
			o.alone(o.server, flow.Remote, closeWait, lastAck)
		}},
	} {
		t.Run(scene.name, func(t *testing.T) {
			a, b, r := netlab.RelayPair(t, scene.link)
			o := &observation{
				world: &world{t: t, a: a, b: b, r: r, v6: scene.v6, port: uint16(6000 + i)}, seen: map[[2]engine.State]bool{},
				client: newWatch(t, a), server: newWatch(t, b),
			}
			scene.play(o)
			mu.Lock()
			defer mu.Unlock()
			for pair := range o.seen {
				all[pair[0]], all[pair[1]] = true, true
			}
		})
	}
	for _, s := range ssStates {
		if !all[s] && !t.Failed() {
			t.Errorf("no moment was in %v", s)
		}
	}
}

func newWatch(t *testing.T, h *netlab.Host) *watch {
	w := &watch{rec: record(t, h, h.Name(), false)}
	w.tracker = flow.New(w, 0)
	return w
}

// waitFor waits until a capture has its first segment.
func (o *observation) waitFor(w *watch) {
	o.t.Helper()
	for deadline := time.Now().Add(patience); ; pause(5 * time.Millisecond) {
		if w.look(o.t); w.local[0].IsValid() {
			return
		}
		if time.Now().After(deadline) {
			o.t.Fatal("nothing was captured")
		}
	}
}

// withLongDelay holds packets back for long enough that both sides have sent
// their FIN before either comes.
func withLongDelay(i netlab.Impairment) netlab.Impairment {
	i.Delay = 1500 * time.Millisecond
	return i
}
