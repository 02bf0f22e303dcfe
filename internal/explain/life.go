package explain

import (
	"fmt"
	"strings"

	"rawtcp/engine"
	"rawtcp/internal/flow"
)

// beginning tells how the connection was opened.
func (t *teller) beginning() {
	c := t.c
	local, remote := t.ends()
	if c.Reused != 0 {
		t.add("ports_reused", Info, "both", c.First, nil, "the same addresses and ports as of connection %d, with new sequence numbers: another connection", c.Reused)
	}
	switch {
	case c.Opening == flow.MidStream:
		t.add("mid_stream", Note, "capture", c.First, nil, "the capture has no SYN: it begins in the midst of this connection, so options and window scales are unknown")
	case !c.SYN.Seen():
		t.add("mid_stream", Note, "capture", c.First, nil, "the capture has no SYN of the client: it begins with the server's answer")
	case c.Established.Seen() && c.SYNACK.Seen():
		t.handshake()
	case c.Opening == flow.Active && !remote.SYN.Seen && len(c.Resets) == 0:
		t.unanswered()
	}
	if local.SYN.Count > 1 && remote.SYN.Seen {
		t.add("syn_retry", Warning, "local", local.SYN.Last, []uint64{local.SYN.First.Frame, local.SYN.Last.Frame},
			"%s sent its SYN %d times over %s: the earlier ones or their answers were lost, or not wanted", t.who(flow.Local), local.SYN.Count, took(max(local.SYN.Last.At-local.SYN.First.At, 0)))
	}
	if remote.SYN.Count > 1 && c.Established.Seen() {
		t.add("syn_ack_retry", Warning, "remote", remote.SYN.Last, []uint64{remote.SYN.First.Frame, remote.SYN.Last.Frame},
			"%s sent its SYN-ACK %d times: the first one or the ACK of it was lost", t.who(flow.Remote), remote.SYN.Count)
	}
	t.halfOpen()
	if n := local.Count(flow.OldSYN) + remote.Count(flow.OldSYN); n > 0 {
		t.add("old_syn", Note, "path", c.First, append(t.frames(flow.Local, flow.OldSYN), t.frames(flow.Remote, flow.OldSYN)...), "%s came in the midst of the connection, with another sequence number: an old duplicate, a restarted host or an attack", count(n, "SYN", "SYNs"))
	}
	if n := local.Count(flow.FastOpen); n > 0 {
		t.add("fast_open", Info, "local", local.SYN.First, nil, "the SYN carries data (TCP Fast Open, RFC 7413)")
	}
}

func (t *teller) handshake() {
	c := t.c
	if c.Opening == flow.Simultaneous {
		t.add("simultaneous_open", Note, "both", c.SYN, nil, "both sides sent a SYN at once: a simultaneous open (RFC 9293 section 3.5)")
		return
	}
	there, back := c.SYNACK.At-c.SYN.At, c.Established.At-c.SYNACK.At
	where := ""
	switch {
	case there > 10*max(back, 1):
		where = "; the capture was made near the client"
	case back > 10*max(there, 1):
		where = "; the capture was made near the server"
	}
	t.add("handshake", Info, "both", c.SYN, []uint64{c.SYN.Frame, c.SYNACK.Frame, c.Established.Frame},
		"the handshake took %s: %s from SYN to SYN-ACK, %s from there to the ACK%s", took(there+back), took(there), took(back), where)
}

func (t *teller) unanswered() {
	c := t.c
	syn := &c.Ends[flow.Local].SYN
	t.add("no_answer", Problem, "path", c.SYN, []uint64{c.SYN.Frame, syn.Last.Frame},
		"nobody answered %s over %s: the host is not there, or a firewall drops the SYN or its answer", count(uint64(syn.Count), "SYN", "SYNs"), took(max(syn.Last.At-c.SYN.At, 0)))
}

func (t *teller) halfOpen() {
	c := t.c
	_, remote := t.ends()
	if c.SYNACK.Seen() && !c.Established.Seen() && c.Opening == flow.Active && remote.State == engine.SynReceived && len(c.Resets) == 0 {
		t.add("half_open", Warning, "local", c.SYNACK, nil,
			"the handshake was never completed: %s sent its SYN-ACK %s, and no ACK of it was seen", t.who(flow.Remote), times(remote.SYN.Count))
	}
}

func times(n uint32) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return fmt.Sprintf("%d times", n)
}

// options tells what the two sides have agreed on.
func (t *teller) options() {
	local, remote := t.ends()
	a, b := &local.SYN, &remote.SYN
	if !a.Seen || !b.Seen {
		return
	}
	if a.Cut || b.Cut {
		t.add("options", Info, "both", a.First, []uint64{a.First.Frame, b.First.Frame}, "options: MSS %s by the client, %s by the server; the others are not whole in the capture (snap length), so that window scales are unknown", mssText(a), mssText(b))
		return
	}
	words := []string{fmt.Sprintf("MSS %s by the client, %s by the server", mssText(a), mssText(b))}
	agree := func(name string, client, server bool) {
		switch {
		case client && server:
			words = append(words, name)
		case client:
			words = append(words, "no "+name+": the server did not agree")
		case server:
			words = append(words, "no "+name+": the server offered what the client had not asked for")
		default:
			words = append(words, "no "+name)
		}
	}
	scale := "window scaling"
	if a.HasScale && b.HasScale {
		scale = fmt.Sprintf("window scaling (shift %d and %d)", a.Scale, b.Scale)
	}
	agree(scale, a.HasScale, b.HasScale)
	agree("SACK", a.SACKPermitted, b.SACKPermitted)
	agree("timestamps", a.Timestamps, b.Timestamps)
	if a.ECN {
		agree("ECN", a.ECN, b.ECN)
	}
	t.add("options", Info, "both", a.First, []uint64{a.First.Frame, b.First.Frame}, "options: %s", strings.Join(words, ", "))
	if a.HasScale && !b.HasScale {
		t.add("no_window_scaling", Note, "remote", b.First, nil, "without window scaling no window is over 64 KiB: on a long path that is slow. The server did not offer it, or a box removed the option")
	}
}

func mssText(y *flow.SYN) string {
	switch {
	case y.MSS != 0:
		return fmt.Sprint(y.MSS)
	case y.Cut:
		return "not captured"
	}
	return "not given"
}

// ending tells how the connection was closed.
func (t *teller) ending() {
	c := t.c
	switch {
	case c.Evicted:
		t.add("forgotten", Note, "capture", c.Last, nil, "there were too many connections at once to follow this one further: what comes later counts as another")
		return
	case !c.Closing.Seen():
		if result(c) == ResultOpen && (c.Established.Seen() || c.Opening == flow.MidStream) {
			t.add("open_at_end", Note, "both", c.Last, nil, "the connection is open when the capture ends: no FIN and no RST that counts")
		}
		return
	case c.ByReset:
		return // resets tells
	}
	first, second := c.ClosedBy, c.ClosedBy.Other()
	if c.Crossed {
		t.add("simultaneous_close", Info, "both", c.Closing, nil, "both sides closed at once: their FINs crossed")
	}
	f, s := &c.Ends[first], &c.Ends[second]
	if !s.FIN.Seen() {
		if !s.AfterReset.Seen() && result(c) == ResultOpen {
			t.add("half_closed", Note, second.String(), f.FIN, nil, "half-closed when the capture ends: %s sent its FIN in %s, %s never did and is in %s",
				t.who(first), t.at(f.FIN), t.who(second), s.State)
		}
		return
	}
	end := ""
	if c.Over.Seen() {
		end = fmt.Sprintf("; all was done %s after the first FIN", took(c.Over.At-c.Closing.At))
		if f.State == engine.TimeWait {
			end += fmt.Sprintf(", and %s waits in TIME-WAIT", t.who(first))
		}
	} else {
		end = fmt.Sprintf("; the last ACK is missing: %s is in %s, %s in %s", t.who(first), f.State, t.who(second), s.State)
	}
	t.add("teardown", Info, first.String(), c.Closing, []uint64{f.FIN.Frame, s.FIN.Frame}, "%s closed first, with FIN in %s; the FIN of %s came %s later%s",
		t.who(first), t.at(f.FIN), t.who(second), took(s.FIN.At-f.FIN.At), end)
	const long = 1e9
	if lag := s.FIN.At - f.FIN.At; lag > long {
		t.add("half_closed", Note, second.String(), f.FIN, []uint64{f.FIN.Frame, s.FIN.Frame}, "half-closed for %s: %s had ended its half, %s had not", took(lag), t.who(first), t.who(second))
	}
}
