package engine

import "time"

// hystart is HyStart++ (RFC 9406): it ends the first slow start when round trips
// grow longer, which shows that a queue builds up, before that queue overflows.
// A phase of conservative slow start (CSS) in between finds out whether they
// grew for good.
type hystart struct {
	round    int32  // the round trip that is under way
	last     micros // least RTT of the one before, 0: no sample
	least    micros // least RTT of this one, 0: no sample
	baseline micros // least RTT when CSS began, 0: not in CSS
	samples  int8   // of this one, as many as it needs
	rounds   int8   // round trips of CSS that are over, the one it began in among them
	rest     int8   // octets acknowledged in CSS that did not make a whole octet of window
	on       bool
}

// micros is a round trip in microseconds, up to half an hour: every connection
// holds a few, also an idle one.
type micros int32

func microsOf(d time.Duration) micros { return micros(min(max(d.Microseconds(), 1), 1<<31-1)) }

// The constants of RFC 9406 section 4.3.
const (
	minRTTThresh     = micros(4_000)
	maxRTTThresh     = micros(16_000)
	minRTTDivisor    = 8
	rttSamples       = 8
	cssGrowthDivisor = 4
	cssRounds        = 5
)

// grow takes the round trip that an ACK of slow start measured, if it did, and
// returns by how many octets the window grows where standard slow start would
// add n (RFC 9406 section 4.2).
func (h *hystart) grow(round int, rtt time.Duration, n int) int {
	if !h.on {
		return n
	}
	if int32(round) != h.round {
		h.nextRound(int32(round))
	}
	if rtt > 0 {
		h.sample(microsOf(rtt))
	}
	if h.baseline == 0 {
		return n
	}
	n += int(h.rest)
	h.rest = int8(n % cssGrowthDivisor)
	return n / cssGrowthDivisor
}

func (h *hystart) nextRound(round int32) {
	h.round, h.last, h.least, h.samples = round, h.least, 0, 0
	if h.baseline != 0 {
		h.rounds = min(h.rounds+1, cssRounds)
	}
}

func (h *hystart) sample(rtt micros) {
	h.samples = min(h.samples+1, rttSamples)
	if h.least == 0 || rtt < h.least {
		h.least = rtt
	}
	switch {
	case h.samples < rttSamples:
	case h.baseline == 0 && h.last != 0:
		if h.least >= h.last+max(minRTTThresh, min(h.last/minRTTDivisor, maxRTTThresh)) {
			h.baseline, h.rounds, h.rest = h.least, 0, 0
		}
	case h.least < h.baseline:
		h.baseline = 0 // the longer round trips were an accident: slow start goes on
	}
}

// over reports whether slow start has ended.
func (h *hystart) over() bool { return h.baseline != 0 && h.rounds >= cssRounds }
