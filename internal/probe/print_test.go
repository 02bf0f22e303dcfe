package probe_test

import (
	"strings"
	"testing"
)

// TestPrintOfASchedule: the print has every time of row A2, as docs/print.md says:
// since the first SYN-ACK.
func TestPrintOfASchedule(t *testing.T) {
	print := subject{}.probe(t, "A2").Print()
	if !strings.Contains(print, ";sa=1.0,3.0,7.0;") {
		t.Errorf("the print is %s", print)
	}
}
