package report

import (
	"fmt"
	"strconv"
	"strings"

	"rawtcp/internal/trace"
)

// maxText is the longest text of a line that is shown, in octets.
const maxText = 1000

// clean makes text from a file fit to be shown: printable ASCII, all else as
// escapes, so that nothing can turn the direction of writing, hide or pass for
// something else. What is too long is cut.
func clean(text string) string {
	if len(text) > maxText {
		text = text[:maxText] + "..."
	}
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return string(trace.AppendEscaped(nil, []byte(text)))
		}
	}
	return text
}

// notation is a segment as the ladder of the terminal writes it: flags,
// sequence range, acknowledgment and window in octets.
func notation(l *trace.SegmentLine) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d:%d(%d)", l.Flags, l.Seq, uint64(l.Seq)+uint64(l.Len), l.Len)
	if has(l.Flags, '.') {
		fmt.Fprintf(&b, " ack %d", l.Ack)
	}
	if !has(l.Flags, 'R') {
		fmt.Fprintf(&b, " win %d", window(l))
	}
	return b.String()
}

// window is the window of a segment in octets.
func window(l *trace.SegmentLine) int64 { return int64(l.Win) << l.WScale }

// optionsText is the options of a segment in the order that is usual.
func optionsText(o *trace.OptionsLine) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if o.MSS != nil {
		add("mss %d", *o.MSS)
	}
	if o.WScale != nil {
		add("wscale %d", *o.WScale)
	}
	if o.SACKPermitted {
		add("sackOK")
	}
	for i, block := range o.SACK {
		const most = 4
		if i == most {
			break
		}
		add("sack %d:%d", block[0], block[1])
	}
	if o.TSVal != nil && o.TSEcr != nil {
		add("TS val %d ecr %d", *o.TSVal, *o.TSEcr)
	}
	if o.FastOpen != nil {
		add("fast open %s", strings.TrimSpace(clean(*o.FastOpen)))
	}
	if o.UserTimeout != nil {
		add("user timeout %d s", *o.UserTimeout)
	}
	return strings.Join(parts, ", ")
}

// spoken is a word of the schema as people write it: fast_retransmission is
// "fast retransmission".
func spoken(word string) string { return strings.ReplaceAll(word, "_", " ") }

// notesText is what is remarkable of a segment.
func notesText(l *trace.SegmentLine) string {
	notes := notesOf(l)
	parts := make([]string, 0, len(notes)+1)
	for _, note := range notes {
		parts = append(parts, spoken(note))
	}
	if l.Checksum == "bad" {
		parts = append(parts, "bad checksum")
	}
	return strings.Join(parts, ", ")
}

// seconds is a moment: seconds with six decimals, as the ladder has them.
func seconds(us int64) string { return fmt.Sprintf("%d.%06d", us/1e6, us%1e6) }

// span is a length of time with three digits that count.
func span(us int64) string {
	if us < 0 {
		return "-" + span(-us)
	}
	switch {
	case us < 1000:
		return strconv.FormatInt(us, 10) + " µs"
	case us < 1e6:
		return digits(float64(us)/1e3) + " ms"
	case us < 600e6:
		return digits(float64(us)/1e6) + " s"
	}
	return fmt.Sprintf("%d min %d s", us/60e6, us/1e6%60)
}

func digits(f float64) string {
	decimals := 2
	switch {
	case f >= 100:
		decimals = 0
	case f >= 10:
		decimals = 1
	}
	text := strconv.FormatFloat(f, 'f', decimals, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// maybeSpan is a span that a summary may lack.
func maybeSpan(us *int64) string {
	if us == nil {
		return "–"
	}
	return span(*us)
}

// thousands is a count with a thin gap between thousands.
func thousands[T int | int64 | uint64](n T) string {
	text := strconv.FormatInt(int64(n), 10)
	if uint64(n) > 1<<62 && n > 0 {
		text = strconv.FormatUint(uint64(n), 10)
	}
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return sign + text
}

// count is "1 segment" or "2 segments".
func count[T int | int64 | uint64](n T, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return thousands(n) + " " + noun
}
