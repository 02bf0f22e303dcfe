package differ

import (
	"os"
	"strings"
	"testing"
)

// TestPage holds docs/differences.md to the list: a line for each entry, with
// the same subjects and a clause, and no other line.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/differences.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string][]string{}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if id := strings.TrimSpace(cells[0]); strings.HasPrefix(id, "`") && len(cells) == 5 {
			lines[strings.Trim(id, "`")] = cells[1:]
		}
	}
	for _, k := range Differences {
		cells, there := lines[k.ID]
		delete(lines, k.ID)
		switch {
		case !there:
			t.Errorf("docs/differences.md has no line for %s", k.ID)
		case cells[0] != strings.Join(k.Of, ", "):
			t.Errorf("%s is said to be of %s, and is of %v", k.ID, cells[0], k.Of)
		case !strings.Contains(cells[3], "RFC "):
			t.Errorf("%s: %q names no clause", k.ID, cells[3])
		}
	}
	for id := range lines {
		t.Errorf("docs/differences.md has %s, which is no entry", id)
	}
}

// TestUnlistedDifferenceIsFound plants a difference in a transcript of ours.
func TestUnlistedDifferenceIsFound(t *testing.T) {
	plan := Plan{Target: Passive, Steps: []Step{{Flags: ack | psh, Size: 10, Window: 8000}}}
	ours, err := Play(&plan, &Ours{})
	if err != nil {
		t.Fatal(err)
	}
	if found := Compare(&plan, ours, ours, KnownOf("kernel")); found != nil {
		t.Errorf("a transcript differs from itself: %v", found)
	}
	again, err := Play(&plan, &Ours{})
	if err != nil {
		t.Fatal(err)
	}
	last := &again.Turns[len(again.Turns)-1]
	if len(last.Replies) != 1 {
		t.Fatalf("the text is answered with %v", last.Replies)
	}
	last.Replies[0].Ack--
	if found := Compare(&plan, ours, again, KnownOf("kernel")); len(found) != 1 || found[0].Known != "" {
		t.Errorf("another ACK number: found %v", found)
	}
	last.Replies[0].Ack++
	again.Stream = again.Stream[1:]
	if found := Compare(&plan, ours, again, KnownOf("kernel")); len(found) != 1 || found[0].Known != "" {
		t.Errorf("another stream: found %v", found)
	}
}

// TestPlansAreRepeatable: a seed is a conversation, the same each time.
func TestPlansAreRepeatable(t *testing.T) {
	for seed := range uint64(500) {
		plan := Draw(seed)
		a, err := Play(&plan, &Ours{})
		if err != nil {
			t.Fatal(err)
		}
		b, err := Play(&plan, &Ours{})
		if err != nil {
			t.Fatal(err)
		}
		if found := Compare(&plan, a, b, nil); found != nil {
			t.Errorf("the same twice: %v", found[0])
		}
	}
}
