package main

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"rawtcp/internal/explain"
)

// The goal of speed holds on a small capture too. The processor's time is
// measured, which a busy machine changes little, and under the race detector a
// twentieth of the speed will do.
func TestSmoke(t *testing.T) {
	file := filepath.Join(t.TempDir(), "many.pcap")
	if err := generate(file, 32<<20); err != nil {
		t.Fatal(err)
	}
	theirs, err := measure([]string{"tshark", "-q", "-z", "conv,tcp", "-r", file})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	began := processorTime(t)
	if err := explain.Text(f, explain.Options{}, explain.TextConfig{Out: io.Discard, Ladder: explain.LadderNone}); err != nil {
		t.Fatal(err)
	}
	ratio := float64(theirs.cpu) / float64(processorTime(t)-began)
	t.Logf("%.1f times as fast by the processor's time", ratio)
	least := leastRatio
	if underRaceDetector {
		least /= 20
	}
	if ratio < least {
		t.Errorf("%.2f times as fast as tshark by the processor's time, want %.1f", ratio, least)
	}
}

// processorTime is what this process has had of the processor.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
