package explain

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// aboutCapture tells what stands out in the capture as a file.
func aboutCapture(t *Total) []Finding {
	var found []Finding
	add := func(kind string, severity Severity, first uint64, format string, args ...any) {
		f := Finding{Kind: kind, Severity: severity, Side: "capture", Text: sentence(fmt.Sprintf(format, args...))}
		if first != 0 {
			f.Frames = []uint64{first}
		}
		found = append(found, f)
	}
	switch {
	case errors.Is(t.Damage, ErrStopped):
		add("not_read", Note, 0, "the capture was not read to its end, %v", t.Damage)
	case t.Damage != nil:
		add("damaged_file", Warning, 0, "the file is damaged or cut short, %v; what stands before it was read", t.Damage)
	}
	if n := t.Snapped; n > 0 {
		add("snapped", Info, t.odd["cut"], "%s not kept whole (snap length): their checksums are not judged", count(n, "segment", "segments"))
	}
	if n := t.Backwards; n > 0 {
		add("time_backwards", Note, t.odd["backwards"], "%s with an earlier time than the one before: the capture was made on several interfaces or merged (reordercap puts it in order), or its clock was set", count(n, "packet", "packets"))
	}
	if n := t.Timeless; n > 0 {
		add("no_time", Note, t.odd["timeless"], "%s without a time, or with one that cannot be: the time of the packet before stands for it", count(n, "packet", "packets"))
	}
	for _, reason := range slices.Sorted(maps.Keys(t.Passed)) {
		severity, text := Info, passedTexts[reason]
		if text == "" {
			severity, text = Note, "cannot be read as TCP ("+reason+")"
		}
		add("passed_"+reason, severity, t.odd[reason], "%s %s", count(t.Passed[reason], "packet", "packets"), text)
	}
	return found
}

// passedTexts says what packets were that hold no TCP segment.
var passedTexts = map[string]string{
	"not_ip":      "of other protocols than IP",
	"not_tcp":     "of other protocols than TCP",
	"ip_fragment": "of IP fragments, which are not put together: TCP seldom sends any",
	"link_type":   "of a link layer that is not known here",
	"snapped":     "too short for a TCP header: the snap length was too small",
}
