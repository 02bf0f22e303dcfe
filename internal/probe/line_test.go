package probe_test

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"rawtcp/internal/probe"
)

const schemaFile = "../../docs/json/rawtcp-1.schema.json"

// TestLinesFitTheSchema: what a battery writes is what docs/json says.
func TestLinesFitTheSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	check := func(line any) {
		text, err := json.Marshal(line)
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
		if err == nil {
			err = schema.Validate(value)
		}
		if err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
	report := subject{}.probe(t, "A3", "C1", "C2")
	for i := range report.Results {
		check(probe.NewLine(&report.Results[i], "host:1", 5))
	}
	for _, r := range probe.Rows() {
		check(probe.NewDeclaration(r))
	}
}

// TestSchemaNamesTheFields: the schema has exactly the keys of the Go types.
func TestSchemaNamesTheFields(t *testing.T) {
	text, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Defs map[string]struct {
			Properties map[string]any
			Required   []string
		} `json:"$defs"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{
		"row": probe.Line{}, "fact": probe.FactLine{}, "declaration": probe.Declaration{}, "outcome": probe.OutcomeLine{},
	} {
		var all, required []string
		for i := range reflect.TypeOf(v).NumField() {
			key, rest, _ := strings.Cut(reflect.TypeOf(v).Field(i).Tag.Get("json"), ",")
			all = append(all, key)
			if rest != "omitempty" {
				required = append(required, key)
			}
		}
		def := file.Defs[name]
		slices.Sort(all)
		slices.Sort(required)
		if diff := cmp.Diff(all, slices.Sorted(maps.Keys(def.Properties))); diff != "" {
			t.Errorf("%s: properties (-type +schema):\n%s", name, diff)
		}
		if diff := cmp.Diff(required, slices.Sorted(slices.Values(def.Required))); diff != "" {
			t.Errorf("%s: required (-type +schema):\n%s", name, diff)
		}
	}
}
