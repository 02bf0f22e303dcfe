package report

import (
	"strconv"

	"rawtcp/internal/trace"
)

// An optionRow is one option as both SYNs had it, and what came of it.
type optionRow struct{ Name, Local, Remote, Outcome string }

const absent = "–"

// syns are the first SYN of each side, or nil.
func (c *conn) syns() (local, remote *trace.SegmentLine) {
	for i := range c.segments {
		l := &c.segments[i]
		switch {
		case !has(l.Flags, 'S') || refused(l):
		case out(l) && local == nil:
			local = l
		case !out(l) && remote == nil:
			remote = l
		}
	}
	return local, remote
}

// optionTable compares what the two SYNs offered.
func optionTable(c *conn) []optionRow {
	local, remote := c.syns()
	if local == nil && remote == nil {
		return nil
	}
	cell := func(l *trace.SegmentLine, f func(*trace.SegmentLine) string) string {
		if l == nil {
			return "no SYN"
		}
		return f(l)
	}
	var rows []optionRow
	add := func(name string, f func(*trace.SegmentLine) string, outcome func(a, b string) string) {
		a, b := cell(local, f), cell(remote, f)
		row := optionRow{Name: name, Local: a, Remote: b}
		if local != nil && remote != nil {
			row.Outcome = outcome(a, b)
		}
		rows = append(rows, row)
	}
	add("Maximum segment size", mssText, mssOutcome)
	add("Window scale", scaleText, bothOr("windows up to 1 GiB", "not in use: both must offer it (RFC 7323 section 2.2)"))
	add("SACK permitted", yes(func(o *trace.OptionsLine) bool { return o.SACKPermitted }), bothOr("in use", "not in use"))
	add("Timestamps", yes(func(o *trace.OptionsLine) bool { return o.TSVal != nil }), bothOr("in use", "not in use: both must offer it (RFC 7323 section 3.2)"))
	add("ECN", ecnText, bothOr("in use", "not in use"))
	add("Fast Open", fastOpenText, func(string, string) string { return "" })
	add("Window in the SYN", func(l *trace.SegmentLine) string { return thousands(uint64(l.Win)) + " octets" }, func(string, string) string { return "never scaled in a SYN" })
	add("TTL or hop limit", func(l *trace.SegmentLine) string { return strconv.Itoa(int(l.TTL)) }, func(string, string) string { return "" })
	return rows
}

func mssText(l *trace.SegmentLine) string {
	if l.Options.MSS == nil {
		return absent
	}
	return thousands(uint64(*l.Options.MSS)) + " octets"
}

func mssOutcome(a, b string) string {
	if a == absent || b == absent {
		return "where there is none: 536 octets in IPv4, 1220 in IPv6 (RFC 9293 section 3.7.1)"
	}
	return "each side may send what the other can take"
}

func scaleText(l *trace.SegmentLine) string {
	if l.Options.WScale == nil {
		return absent
	}
	return strconv.Itoa(int(*l.Options.WScale)) + " (times " + thousands(uint64(1)<<min(*l.Options.WScale, 14)) + ")"
}

func yes(f func(*trace.OptionsLine) bool) func(*trace.SegmentLine) string {
	return func(l *trace.SegmentLine) string {
		if f(&l.Options) {
			return "yes"
		}
		return absent
	}
}

// ecnText reads an ECN-setup SYN, with ECE and CWR, and an ECN-setup SYN-ACK,
// with ECE alone (RFC 3168 section 6.1.1).
func ecnText(l *trace.SegmentLine) string {
	ece, cwr := has(l.Flags, 'E'), has(l.Flags, 'W')
	if ece && cwr != has(l.Flags, '.') {
		return "yes"
	}
	return absent
}

func fastOpenText(l *trace.SegmentLine) string {
	switch o := l.Options.FastOpen; {
	case o == nil:
		return absent
	case *o == "":
		return "asks for a cookie"
	}
	return "cookie"
}

func bothOr(both, otherwise string) func(a, b string) string {
	return func(a, b string) string {
		if a == absent || b == absent {
			return otherwise
		}
		return both
	}
}
