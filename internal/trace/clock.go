package trace

import (
	"fmt"
	"strconv"
	"time"

	"rawtcp/engine"
)

// A TimeStyle says how the ladder writes the time of a line.
type TimeStyle uint8

// The time styles, as in --time.
const (
	TimeRelative TimeStyle = iota // seconds since the first event
	TimeDelta                     // seconds since the line before
	TimeAbsolute                  // local time of day
	TimeEpoch                     // seconds since 1970
)

var timeStyles = []string{"rel", "delta", "abs", "epoch"}

// ParseTimeStyle reads rel, delta, abs or epoch.
func ParseTimeStyle(s string) (TimeStyle, error) {
	for i, name := range timeStyles {
		if s == name {
			return TimeStyle(i), nil
		}
	}
	return 0, fmt.Errorf("want rel, delta, abs or epoch")
}

// A timeline places engine times, which count from an epoch of their own,
// against the first event and against the wall clock.
type timeline struct {
	now  func() time.Time // the wall clock, read once at the first event
	base engine.Time
	wall time.Time // the wall clock at base
}

// since returns the time from the first event to t. The first call sets the base.
func (tl *timeline) since(t engine.Time) time.Duration {
	if tl.base.IsZero() {
		tl.base = t
		tl.wall = tl.now()
	}
	return t.Sub(tl.base)
}

func (tl *timeline) wallTime(t engine.Time) time.Time { return tl.wall.Add(tl.since(t)) }

// appendSeconds appends d as seconds with six decimals, right-aligned to width.
func appendSeconds(dst []byte, d time.Duration, width int) []byte {
	var digits [32]byte
	text := strconv.AppendFloat(digits[:0], d.Seconds(), 'f', 6, 64)
	for range width - len(text) {
		dst = append(dst, ' ')
	}
	return append(dst, text...)
}

// microseconds is d in the unit of the JSON keys that end in _us.
func microseconds(d time.Duration) int64 { return d.Microseconds() }
