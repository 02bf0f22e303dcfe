package trace

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

	"rawtcp/engine"
	"rawtcp/segment"
)

const schemaFile = "../../docs/json/rawtcp-1.schema.json"

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// checkLines holds each line of text to the schema.
func checkLines(t *testing.T, schema *jsonschema.Schema, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
		if err == nil {
			err = schema.Validate(value)
		}
		if err != nil {
			t.Errorf("%v\n%s", err, line)
		}
	}
}

func TestEveryLineFitsTheSchema(t *testing.T) {
	schema := compileSchema(t)
	types := map[string]int{}
	for _, p := range plots {
		for _, v6 := range []bool{false, true} {
			s := newStory(t, v6)
			p.play(s)
			s.run()
			for _, v := range s.views {
				text := v.outs["json"].String()
				checkLines(t, schema, text)
				for line := range strings.Lines(text) {
					kind, _, _ := strings.Cut(line, ",")
					types[kind]++
				}
			}
		}
	}
	if want := 6; len(types) != want {
		t.Errorf("the plots make %v: %d types of line, want %d", types, len(types), want)
	}
	checkLines(t, schema, jsonOf(t, func(j *JSONLines) {
		j.Start(Start{Command: "connect"})
		c := NewCollector()
		newScript(Tee{j, c}).exchange()
		sum, _ := c.Take(1)
		var total Total
		total.Add(sum)
		j.Summary(sum)
		all := total.Summary()
		all.Drops = c.Drops()
		all.LinesLost = 1
		j.Summary(all)
		j.Summary(new(Total).Summary())
		j.Error(ErrorLine{Code: 7, Message: "refused", Hint: "none"})
	}))
}

// A line with one key less, or one key under another name, does not fit: so no
// field can go without the schema.
func TestSchemaMissesEveryField(t *testing.T) {
	schema := compileSchema(t)
	text := jsonOf(t, func(j *JSONLines) {
		j.Start(Start{Command: "connect"})
		c := NewCollector()
		newScript(Tee{j, c}).exchange()
		sum, _ := c.Take(1)
		j.Summary(sum)
		j.Error(ErrorLine{})
	})
	tried := map[string]bool{}
	for line := range strings.Lines(text) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatal(err)
		}
		for key := range maps.Clone(object) {
			name := object["type"].(string) + "." + key
			if optional[name] || tried[name] || key == "type" {
				continue
			}
			tried[name] = true
			less := maps.Clone(object)
			delete(less, key)
			if schema.Validate(less) == nil {
				t.Errorf("%s can go unnoticed", name)
			}
			less[key+"2"] = object[key]
			less[key] = object[key]
			if schema.Validate(less) == nil {
				t.Errorf("%s2 can come unnoticed", name)
			}
		}
	}
	if len(tried) < 50 {
		t.Errorf("only %d fields were tried", len(tried))
	}
}

// optional are the keys that a line may be without.
var optional = map[string]bool{
	"segment.note": true, "segment.reason": true, "segment.state": true,
	"icmp.mtu": true, "icmp.note": true, "start.remote": true,
	"summary.local": true, "summary.remote": true, "summary.rst": true, "summary.icmp": true,
}

// The schema names exactly the keys of the Go types, the optional ones too.
func TestSchemaNamesTheFieldsOfTheTypes(t *testing.T) {
	text, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Defs map[string]struct {
			Properties           map[string]any
			Required             []string
			AdditionalProperties *bool
		} `json:"$defs"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{
		"start": Start{}, "segment": SegmentLine{}, "options": OptionsLine{}, "state": StateLine{}, "timer": TimerLine{},
		"data": DataLine{}, "icmp": ICMPLine{}, "summary": Summary{}, "peer": Peer{}, "close": Close{}, "origin": Origin{},
		"spread": Spread{}, "error": ErrorLine{}, "connection": ConnectionLine{}, "side": SideLine{}, "finding": FindingLine{},
		"captureStart": CaptureStart{},
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
		if def.AdditionalProperties == nil || *def.AdditionalProperties {
			t.Errorf("%s may have any other property", name)
		}
	}
}

func TestSchemaKnowsTheTimers(t *testing.T) {
	schema := compileSchema(t)
	checkLines(t, schema, jsonOf(t, func(j *JSONLines) {
		for k := range engine.NumTimers {
			j.Trace(&engine.Event{Kind: engine.EventTimerFired, Conn: 1, Timer: k})
		}
	}))
}

// The engine's words for timers, states and notes are the schema's.
func TestSchemaKnowsTheFlags(t *testing.T) {
	schema := compileSchema(t)
	for flags := segment.Flags(0); flags < 1<<9; flags++ {
		line := NewSegmentLine(scriptEvent(flags))
		text, err := json.Marshal(line)
		if err != nil {
			t.Fatal(err)
		}
		checkLines(t, schema, string(text)+"\n")
	}
}
