package arrows

import (
	"strings"
	"testing"
)

// TestSeqHasNoOrder: "a < b" on two sequence numbers is wrong on half of the
// circle, and must stay a compile error (docs/adr/0001-seq-is-a-struct.md).
func TestSeqHasNoOrder(t *testing.T) {
	const text = `package p
import "rawtcp/segment"
func f(a, b segment.Seq) bool { return EXPR }
`
	packages := list(t, "-export", "-deps", "./segment")
	check := func(expr string) error {
		_, err := newChecker(packages).check("p", map[string]any{"p.go": strings.Replace(text, "EXPR", expr, 1)})
		return err
	}
	for _, expr := range []string{"a < b", "a <= b", "a > b", "a >= b", "a-b > 0", "max(a, b) == a", "uint32(a) == 0"} {
		if err := check(expr); err == nil {
			t.Errorf("%s compiles", expr)
		}
	}
	for _, expr := range []string{"a == b", "a.Less(b)", "a.Sub(b) > 0"} {
		if err := check(expr); err != nil {
			t.Errorf("%s: %v", expr, err)
		}
	}
}
