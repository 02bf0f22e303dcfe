package differ

import (
	"fmt"
	"rawtcp/internal/differ"
	"slices"
	"testing"
	"time"
)

func TestProbe(t *testing.T) {
	k, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	tally, err := differ.Campaign("gvisor", k, 1, 20000, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(tally.Seeds, tally.Known)
	kinds := []string{}
	for k := range tally.Kinds {
		kinds = append(kinds, k)
	}
	slices.SortFunc(kinds, func(a, b string) int { return tally.Kinds[b] - tally.Kinds[a] })
	for _, k := range kinds[:min(150, len(kinds))] {
		fmt.Println(tally.Kinds[k], k)
	}
}
