package paired

import (
	"slices"
	"testing"
	"time"
)

func TestRounds(t *testing.T) {
	var order []byte
	did := func(what byte, wall, cpu time.Duration) Way {
		return func() (time.Duration, time.Duration) { order = append(order, what); return wall, cpu }
	}
	walls, cpus := Rounds(3, did('a', 1, 6), did('b', 2, 8))
	if want := []float64{0.5, 0.5, 0.5}; !slices.Equal(walls, want) {
		t.Errorf("%v, want %v", walls, want)
	}
	if want := []float64{0.75, 0.75, 0.75}; !slices.Equal(cpus, want) {
		t.Errorf("of the processor %v, want %v", cpus, want)
	}
	if string(order) != "abbaab" {
		t.Errorf("order %s, want abbaab", order)
	}
}

func TestQuartiles(t *testing.T) {
	for _, tt := range []struct {
		ratios            []float64
		low, middle, high float64
	}{
		{[]float64{7}, 7, 7, 7},
		{[]float64{9, 1}, 1, 9, 9},
		{[]float64{5, 1, 4, 2, 3}, 2, 3, 4},
		{[]float64{8, 7, 6, 5, 4, 3, 2, 1}, 3, 5, 6},
	} {
		if low, middle, high := Quartiles(tt.ratios); low != tt.low || middle != tt.middle || high != tt.high {
			t.Errorf("%v: %v, %v, %v; want %v, %v, %v", tt.ratios, low, middle, high, tt.low, tt.middle, tt.high)
		}
	}
}
