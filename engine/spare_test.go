package engine

import (
	"testing"

	"rawtcp/segment"
)

// An array has one user: what was given once is taken once, and empty.
func TestSparesHaveOneUser(t *testing.T) {
	var s spares
	b := []byte("left over")
	s.giveOctets(&b)
	if b != nil {
		t.Error("the giver still has it")
	}
	var one, two []byte
	s.takeOctets(&one)
	s.takeOctets(&two)
	if cap(one) == 0 || len(one) != 0 || two != nil || s.held != 0 {
		t.Errorf("taken with %d octets, cap %d; again: %v; %d held", len(one), cap(one), two, s.held)
	}

	h := &holes{spans: []span{{segment.MakeSeq(1), segment.MakeSeq(2)}}, recents: 1}
	s.giveHoles(&h)
	var first, second *holes
	s.takeHoles(&first)
	s.takeHoles(&second)
	if h != nil || first == nil || len(first.spans) != 0 || first.recents != 0 || second != nil {
		t.Errorf("holes: %+v, again %v", first, second)
	}
}

func TestSparesAreBounded(t *testing.T) {
	var s spares
	for range 100 {
		b := make([]byte, 0, 1<<20)
		s.giveOctets(&b)
		h := new(holes)
		s.giveHoles(&h)
		r := make([]sentRange, 0, 4)
		s.giveRanges(&r)
	}
	sum := 0
	for _, b := range s.octets {
		sum += cap(b)
	}
	if sum != s.held || sum > maxSpareOctets || len(s.holes) > maxSpareHoles || len(s.ranges) > maxSpareRanges {
		t.Errorf("%d octets wait, %d counted, %d holes, %d scoreboards", sum, s.held, len(s.holes), len(s.ranges))
	}
}
