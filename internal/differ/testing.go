package differ

import "time"

// TB is what Test needs of a *testing.T.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// smoke is how many conversations a test holds that nobody gave time.
const smoke = 1000

// Test holds conversations with a subject from seed first on: a fixed number, or
// as many as fit in long if that is positive. A difference that is not listed
// fails the test; a long run also tells which listed ones were never seen.
func Test(t TB, name string, s Subject, first uint64, long time.Duration) {
	t.Helper()
	most := smoke
	if long > 0 {
		most = 1 << 40
	} else {
		long = time.Hour
	}
	tally, err := Campaign(name, s, first, most, long)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Logf("seeds from %d: %v", first, tally)
	if long > 0 && most > smoke {
		for id, d := range tally.Examples {
			t.Logf("%s, for example %v", id, d)
		}
	}
	for kind, n := range tally.Kinds {
		t.Errorf("%d times: %s", n, kind)
	}
}
