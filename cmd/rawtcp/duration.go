package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// longest is more than any run lasts, and small enough to be added to any time.
const longest = 10 * 365 * 24 * time.Hour

// parseDuration reads a span of time: a bare number is seconds, fractions
// allowed; otherwise Go's notation, 500ms or 1m30s. It is never negative.
func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if strings.Trim(s, "0123456789.") == "" {
		d, err = parseSeconds(s)
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("want a time: seconds, or 500ms, 1m30s")
	case d < 0:
		return 0, fmt.Errorf("want a time of zero or more")
	case d > longest:
		return 0, fmt.Errorf("want a time of at most ten years")
	}
	return d, nil
}

func parseSeconds(s string) (time.Duration, error) {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, err
	}
	if n > longest.Seconds() {
		return math.MaxInt64, nil
	}
	return time.Duration(math.Round(n * float64(time.Second))), nil
}

func durationTo(p *time.Duration) func(string) error {
	return func(s string) error {
		d, err := parseDuration(s)
		if err == nil {
			*p = d
		}
		return err
	}
}

// positiveTo is durationTo for a time that cannot be zero.
func positiveTo(p *time.Duration) func(string) error {
	return func(s string) error {
		d, err := parseDuration(s)
		if err == nil && d == 0 {
			err = fmt.Errorf("want a time above zero")
		}
		if err == nil {
			*p = d
		}
		return err
	}
}

// keepAlive is --keepalive IDLE,INTERVAL,COUNT.
type keepAlive struct {
	idle, interval time.Duration
	count          int
}

// keepAliveBare is what --keepalive means without a value: a Linux host's.
const keepAliveBare = "2h,75s,9"

// parseKeepAlive reads IDLE, or IDLE,INTERVAL, or all three.
func parseKeepAlive(s string) (keepAlive, error) {
	k := keepAlive{interval: 75 * time.Second, count: 9}
	parts := strings.Split(s, ",")
	if len(parts) > 3 {
		return k, fmt.Errorf("want IDLE,INTERVAL,COUNT, such as %s", keepAliveBare)
	}
	err := positiveTo(&k.idle)(parts[0])
	if err == nil && len(parts) > 1 {
		err = positiveTo(&k.interval)(parts[1])
	}
	if err == nil && len(parts) > 2 {
		err = numberTo(&k.count, 1, 1000)(parts[2])
	}
	if err != nil {
		return k, fmt.Errorf("want IDLE,INTERVAL,COUNT, such as %s: %w", keepAliveBare, err)
	}
	return k, nil
}
