package main

import "testing"

func TestKernelVersion(t *testing.T) {
	for release, want := range map[string][2]int{
		"6.18.44-custom": {6, 18}, "5.4.0-150-generic": {5, 4}, "4.19": {4, 19}, "odd": {0, 0},
	} {
		if major, minor := kernelVersion(release); major != want[0] || minor != want[1] {
			t.Errorf("%s: %d.%d", release, major, minor)
		}
	}
}

func TestFindingText(t *testing.T) {
	f := warn("guard", "do this", "found %s", "that\x1b")
	for _, tt := range []struct {
		columns int
		color   bool
		want    string
	}{
		{0, false, "warn  guard        found that\\x1b -- do this\n"},
		{0, true, "\x1b[33mwarn\x1b[0m  guard        found that\\x1b -- do this\n"},
		{40, false, "warn  guard        found that\\x1b -- do\n                     this\n"},
	} {
		if got := findingText(f, tt.columns, tt.color); got != tt.want {
			t.Errorf("%d columns, colour %v:\n%q\n%q", tt.columns, tt.color, got, tt.want)
		}
	}
}

func TestSummaryWords(t *testing.T) {
	if got := wrap("one two three", 7); got != "one two\n  three" {
		t.Errorf("%q", got)
	}
	if got := plural(1, "SYN"); got != "1 SYN" {
		t.Error(got)
	}
}
