package main

import (
	"slices"
	"strings"
	"testing"
)

// testCommands are the real commands, with settings nobody else has.
func testCommands() []*command { return (&program{}).commands() }

func TestNormalise(t *testing.T) {
	tests := []struct{ in, want string }{
		{"connect h:1", "connect -- h:1"},
		{"connect h:1 -v", "connect --verbose=1 -- h:1"},
		{"connect -4vc3 h:1", "connect --ipv4=true --verbose=1 --count=3 -- h:1"},
		{"connect -c3 -c 4 -c=5 --count 6 --count=7 h:1", "connect --count=3 --count=4 --count=5 --count=6 --count=7 -- h:1"},
		{"connect -vv h 1 -v", "connect --verbose=3 -- h 1"},
		{"connect -v --verbose=5 -v h:1", "connect --verbose=1 --verbose=6 -- h:1"},
		{"connect --json=false h:1", "connect --json=false -- h:1"},
		{"connect --send --json h:1", "connect --send=--json -- h:1"},
		{"connect --tos -1 h:1", "connect --tos=-1 -- h:1"},
		{"connect -- -v h:1", "connect -- -v h:1"},
		{"connect - h:1", "connect -- - h:1"},
		{"-4 -w 5 connect h:1", "connect --ipv4=true --timeout=5 -- h:1"},
		{"--wait=1 connect h:1", "connect --wait=1 -- h:1"},
		{"connect --keepalive h:1", "connect --keepalive=2h,75s,9 -- h:1"},
		{"connect --keepalive 10,5,3 h:1", "connect --keepalive=10,5,3 -- h:1"},
		{"connect h:1 --keepalive", "connect --keepalive=2h,75s,9 -- h:1"},
		{"--keepalive connect h:1", "connect --keepalive=2h,75s,9 -- h:1"},
		{"connect --keepalive=1m h:1", "connect --keepalive=1m -- h:1"},
		{"version", "version --"},
		{"", "--"},
		{"--", "--"},
		{"-- connect", "-- connect"},
	}
	for _, tt := range tests {
		line, err := normalise(testCommands(), strings.Fields(tt.in))
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
			continue
		}
		if got := strings.Join(line.words(), " "); got != tt.want {
			t.Errorf("%q\n got %q\nwant %q", tt.in, got, tt.want)
		}
	}
}

func TestNormaliseRefuses(t *testing.T) {
	tests := []struct{ in, want string }{
		{"conect h:1", `unknown command "conect"; did you mean connect?`},
		{"con h:1", `unknown command "con"; did you mean connect?`},
		{"xyzzy", `unknown command "xyzzy"`},
		{"connect --wiat 1 h:1", "unknown flag --wiat; did you mean --wait?"},
		{"connect --zzzzz h:1", "unknown flag --zzzzz"},
		{"connect -vz h:1", `unknown flag -z in "-vz"`},
		{"connect h:1 -c", "flag -c needs a value: N"},
		{"connect h:1 --send", "flag --send needs a value: TEXT"},
		{"connect -é", `unknown flag -é in "-é"`},
		{"--nonsense connect", "unknown flag --nonsense"},
	}
	for _, tt := range tests {
		_, err := normalise(testCommands(), strings.Fields(tt.in))
		if err == nil || err.Error() != tt.want || codeOf(err) != exitUsage {
			t.Errorf("%q: %v, want %s", tt.in, err, tt.want)
		}
	}
}

func TestNormaliseFindsHelp(t *testing.T) {
	for _, in := range []string{"connect --help", "connect -h", "--help connect", "connect h:1 -vh"} {
		line, err := normalise(testCommands(), strings.Fields(in))
		if err != nil || !line.help || line.command != "connect" {
			t.Errorf("%q: %+v, %v", in, line, err)
		}
	}
	if line, err := normalise(testCommands(), []string{"-V"}); err != nil || !line.version {
		t.Errorf("-V: %+v, %v", line, err)
	}
}

// A flag before the command is read without knowing the command: it must take
// a value in all of them or in none.
func TestFlagsAgreeAcrossCommands(t *testing.T) {
	seen := map[string]flagSpec{}
	for _, c := range testCommands() {
		own := map[string]bool{}
		for _, f := range c.flags {
			for _, name := range []string{"--" + f.name, "-" + f.short} {
				if name == "-" {
					continue
				}
				if own[name] {
					t.Errorf("%s has %s twice", c.name, name)
				}
				own[name] = true
				before, known := seen[name]
				if known && (before.takesValue() != f.takesValue() || before.bare != f.bare || before.name != f.name) {
					t.Errorf("%s means something else in %s", name, c.name)
				}
				seen[name] = f
			}
		}
	}
}

func FuzzNormalise(f *testing.F) {
	for _, seed := range []string{
		"connect\x00-4vc3\x00h:1", "connect\x00--keepalive\x00--\x00-x", "-v\x00listen\x00:1\x00--count=2",
		"connect\x00-c\x00-c", "connect\x00--send=\x00h:1", "\x00-\x00--", "connect\x00-v\x00-v\x00--verbose=x\x00-v",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, joined string) {
		words := strings.Split(joined, "\x00")
		line, err := normalise(testCommands(), words)
		if err != nil || line.help || line.version {
			return
		}
		once := line.words()
		again, err := normalise(testCommands(), once)
		if err != nil || !slices.Equal(again.words(), once) {
			t.Fatalf("%q\n once %q\nagain %q, %v", words, once, again.words(), err)
		}
		noWordIsLost(t, words, line)
	})
}

// noWordIsLost checks that each word that is no flag is still there, as the
// command, an argument or a flag's value.
func noWordIsLost(t *testing.T, words []string, line *commandLine) {
	t.Helper()
	left := append([]string{line.command}, line.args...)
	for _, flag := range line.flags {
		_, value, _ := strings.Cut(flag, "=")
		left = append(left, value)
	}
	afterDashes := false
	for _, word := range words {
		if !afterDashes && word == "--" && !slices.Contains(left, word) {
			afterDashes = true
			continue
		}
		if !afterDashes && isFlag(word) {
			continue
		}
		i := slices.Index(left, word)
		if i < 0 {
			t.Fatalf("%q is lost from %q: %q", word, words, line.words())
		}
		left = slices.Delete(left, i, i+1)
	}
}
