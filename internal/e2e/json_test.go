package e2e

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"rawtcp/internal/netlab"
)

// checkJSON holds each line to the schema; the last one must be a summary or an error.
func checkJSON(t *testing.T, text string) {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile("../../docs/json/rawtcp-1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	last, kind := "", ""
	for line := range strings.Lines(text) {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
		if err == nil {
			err = schema.Validate(value)
		}
		if err != nil {
			t.Errorf("%v\n%s", err, line)
			continue
		}
		kind, _ = value.(map[string]any)["type"].(string)
		last = line
	}
	if kind != "summary" && kind != "error" {
		t.Errorf("the last line is %q", last)
	}
}

// Every line of every command fits the committed schema.
func TestJSONFitsTheSchema(t *testing.T) {
	a, b := netlab.Pair(t, netlab.LinkConfig{})
	echo := b.MustServe(t, netlab.Echo).Port()
	to, to6 := target(b.Addr4(), echo), target(b.Addr6(), echo)
	for name, args := range map[string][]string{
		"connect":         {"connect", to, "--send", "hello", "--wait", "50ms"},
		"connect IPv6":    {"connect", to6, "--close", "rst"},
		"connect series":  {"connect", to, "-c", "2", "-i", "10ms"},
		"refused":         {"connect", target(b.Addr4(), 9)},
		"timeout":         {"connect", "198.18.0.77:9", "--connect-timeout", "300ms"},
		"show":            {"connect", to, "--show"},
		"listen show":     {"listen", ":7001", "--show"},
		"listen for long": {"listen", ":7002", "--timeout", "200ms"},
		"doctor":          {"doctor"},
		"usage":           {"connect", "nowhere"},
		"demo":            {"demo"},
	} {
		t.Run(name, func(t *testing.T) {
			var text string
			if name == "demo" { // makes namespaces of its own
				out, err := exec.Command(rawtcp, "demo", "--json").Output()
				if err != nil {
					t.Fatal(err)
				}
				text = string(out)
			} else {
				text = run(t, a, nil, append(args, "--json")...).stdout
			}
			if strings.Contains(name, "show") {
				text += `{"type":"error","code":0,"message":"","hint":""}` + "\n" // it shows one segment and no end
			}
			checkJSON(t, text)
		})
	}
	t.Run("listen", func(t *testing.T) {
		l := listen(t, a, ":7000", "--count", "2", "--json")
		for _, f := range []family{v4, v6} {
			c := dialKernel(t, b, f.of(a), 7000)
			sayAndHear(t, c)
		}
		l.wait()
		l.mu.Lock()
		defer l.mu.Unlock()
		checkJSON(t, l.stdout.String())
	})
}
