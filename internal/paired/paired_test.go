package paired

import (
	"slices"
	"testing"
)

func TestRounds(t *testing.T) {
	var order []byte
	did := func(what byte, took float64) func() float64 {
		return func() float64 { order = append(order, what); return took }
	}
	ratios := Rounds(3, did('a', 1), did('b', 2))
	if want := []float64{0.5, 0.5, 0.5}; !slices.Equal(ratios, want) || string(order) != "abbaab" {
		t.Errorf("ratios %v, want %v; order %s, want abbaab", ratios, want, order)
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
