package bench

import (
	"os"
	"strconv"
	"strings"
)

// A cpuTimes is what the kernel has counted of all processors, in ticks.
type cpuTimes struct{ all, idle, stolen uint64 }

// readCPUTimes reads /proc/stat; what cannot be read is zero.
func readCPUTimes() cpuTimes {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return cpuTimes{}
	}
	return parseCPUTimes(string(text))
}

// parseCPUTimes reads the first line, of all processors; see proc_stat(5).
func parseCPUTimes(text string) (t cpuTimes) {
	first, _, _ := strings.Cut(text, "\n")
	for i, f := range strings.Fields(first) {
		n, _ := strconv.ParseUint(f, 10, 64)
		if i >= 1 && i <= 8 { // those after it are in user time, too
			t.all += n
		}
		switch i {
		case 4, 5:
			t.idle += n
		case 8:
			t.stolen = n
		}
	}
	return t
}

// since is what was counted after an earlier reading.
func (t cpuTimes) since(before cpuTimes) cpuTimes {
	return cpuTimes{t.all - before.all, t.idle - before.idle, t.stolen - before.stolen}
}

// plus adds two stretches of time.
func (t cpuTimes) plus(u cpuTimes) cpuTimes {
	return cpuTimes{t.all + u.all, t.idle + u.idle, t.stolen + u.stolen}
}

// stolenShare is the share of the time in which this machine had something to do
// that it did not get.
func (t cpuTimes) stolenShare() float64 { return share(t.stolen, t.all-t.idle) }

// busyShare is the share of all time in which this machine had something to do.
func (t cpuTimes) busyShare() float64 { return share(t.all-t.idle, t.all) }

func share(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
