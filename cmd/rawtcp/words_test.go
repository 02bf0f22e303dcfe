package main

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"rawtcp/rawsock"
)

func TestParseDuration(t *testing.T) {
	good := map[string]time.Duration{
		"0": 0, "1": time.Second, "0.5": 500 * time.Millisecond, ".25": 250 * time.Millisecond, "90": 90 * time.Second,
		"500ms": 500 * time.Millisecond, "1m30s": 90 * time.Second, "2h": 2 * time.Hour,
	}
	for in, want := range good {
		if got, err := parseDuration(in); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "x", "-1", "-1s", "1e3", "0x10", "inf", "NaN", "1 s", "99999999999", "300000000000000", "1.2.3", ".", "5 "} {
		if got, err := parseDuration(in); err == nil {
			t.Errorf("%q gives %v", in, got)
		}
	}
}

func TestParseKeepAlive(t *testing.T) {
	if k, err := parseKeepAlive("10,500ms,3"); err != nil || k != (keepAlive{10 * time.Second, 500 * time.Millisecond, 3}) {
		t.Errorf("%+v, %v", k, err)
	}
	if k, err := parseKeepAlive(keepAliveBare); err != nil || k != (keepAlive{2 * time.Hour, 75 * time.Second, 9}) {
		t.Errorf("%+v, %v", k, err)
	}
	for _, in := range []string{"", "0", "1,2,3,4", "1,2,0", "x", ",,", "example.com:80", "10.0.0.1"} {
		if k, err := parseKeepAlive(in); err == nil {
			t.Errorf("%q gives %+v", in, k)
		}
	}
}

func TestParseTarget(t *testing.T) {
	good := map[string]target{
		"example.com:80":         {"example.com", 80},
		"example.com https":      {"example.com", 443},
		"192.0.2.1:ssh":          {"192.0.2.1", 22},
		"[2001:db8::1]:443":      {"2001:db8::1", 443},
		"2001:db8::1 443":        {"2001:db8::1", 443},
		"[fe80::1%eth0]:8080":    {"fe80::1%eth0", 8080},
		"[2001:db8::1] 65535":    {"2001:db8::1", 65535},
		"::ffff:192.0.2.1 00080": {"::ffff:192.0.2.1", 80},
	}
	for in, want := range good {
		if got, err := parseTarget(strings.Fields(in)); err != nil || got != want {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	bad := map[string]string{
		"":                       "no target",
		"example.com":            "no port",
		"example.com:0":          "not from 1 to 65535",
		"example.com:65536":      "not from 1 to 65535",
		"h:99999999999999999999": "not from 1 to 65535",
		"example.com:nosuchname": "neither a number nor the name of a service",
		"2001:db8::1:443":        "[ADDRESS]:PORT",
		"http://example.com/x":   "try example.com:http",
		"a b c":                  "too many arguments",
		"010.0.0.1:80":           "without leading zeros",
		"256.1.1.1:80":           "not an IPv4 address",
		"127:80":                 "not an IPv4 address",
		"0x7f.1:80":              "not an IPv4 address",
		":80":                    "no host",
		"-x:80":                  "begins with a dash",
		"[::1:80":                "not HOST:PORT",
		"[zz::1]:80":             "not an IPv6 address",
	}
	for in, want := range bad {
		got, err := parseTarget(strings.Fields(in))
		if err == nil || !strings.Contains(err.Error(), want) || codeOf(err) != exitUsage {
			t.Errorf("%q: %+v, %v; want %q", in, got, err, want)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	f.Add("example.com:80", "")
	f.Add("[fe80::1%25eth0]:1", "http")
	f.Add("\x00:\xff", "0")
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, args := range [][]string{{a}, {a, b}} {
			got, err := parseTarget(args)
			if err == nil && (got.port == 0 || got.host == "" || got.host[0] == '-' || strings.ContainsAny(got.host, " \x00\n")) {
				t.Fatalf("%q gives %+v", args, got)
			}
		}
	})
}

func TestResolveLiterals(t *testing.T) {
	addrs, err := target{host: "::ffff:192.0.2.1"}.resolve(t.Context(), rawsock.Both)
	if err != nil || len(addrs) != 1 || addrs[0].String() != "192.0.2.1" {
		t.Errorf("%v, %v", addrs, err)
	}
	if _, err := (target{host: "192.0.2.1"}).resolve(t.Context(), rawsock.IPv6); codeOf(err) != exitUsage {
		t.Errorf("-6 with an IPv4 address: %v", err)
	}
}

func TestUnescape(t *testing.T) {
	good := map[string]string{
		``: "", `plain`: "plain", `a\r\n`: "a\r\n", `\x00\xff`: "\x00\xff", `\u00e9`: "é", `\\`: `\`,
		`"quoted"`: `"quoted"`, `\"\'`: `"'`, `\101`: "A", "é\n": "é\n", "\xff": "\xff",
	}
	for in, want := range good {
		if got, err := unescape(in); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{`\`, `\q`, `\x`, `\x0`, `\ud800`, `\400`} {
		if got, err := unescape(in); err == nil {
			t.Errorf("%q gives %q", in, got)
		}
	}
}

func FuzzUnescape(f *testing.F) {
	f.Add(`a\r\n\x00`)
	f.Fuzz(func(t *testing.T, s string) {
		got, err := unescape(s)
		if err == nil && !strings.Contains(s, `\`) && string(got) != s {
			t.Fatalf("%q gives %q", s, got)
		}
		quoted := strconv.Quote(s)
		if back, err := unescape(quoted[1 : len(quoted)-1]); err != nil || !bytes.Equal(back, []byte(s)) {
			t.Fatalf("%s gives %q, %v", quoted, back, err)
		}
	})
}

func TestUseColor(t *testing.T) {
	tests := []struct {
		when     string
		env      map[string]string
		terminal bool
		want     bool
	}{
		{"auto", nil, true, true},
		{"auto", nil, false, false},
		{"always", map[string]string{"NO_COLOR": "1", "TERM": "dumb"}, false, true},
		{"never", map[string]string{"CLICOLOR_FORCE": "1"}, true, false},
		{"auto", map[string]string{"NO_COLOR": "0"}, true, false},
		{"auto", map[string]string{"NO_COLOR": ""}, true, true},
		{"auto", map[string]string{"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, true, false},
		{"auto", map[string]string{"CLICOLOR_FORCE": "1"}, false, true},
		{"auto", map[string]string{"CLICOLOR_FORCE": "0"}, false, false},
		{"auto", map[string]string{"CLICOLOR_FORCE": "1", "TERM": "dumb"}, false, true},
		{"auto", map[string]string{"TERM": "dumb"}, true, false},
	}
	for _, tt := range tests {
		env := func(name string) string { return tt.env[name] }
		if got := useColor(tt.when, env, tt.terminal); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

func TestSpeaksUTF8(t *testing.T) {
	tests := []struct {
		env  map[string]string
		want bool
	}{
		{nil, false},
		{map[string]string{"LANG": "C.UTF-8"}, true},
		{map[string]string{"LANG": "de_DE.utf8"}, true},
		{map[string]string{"LANG": "C.UTF-8", "LC_ALL": "C"}, false},
		{map[string]string{"LANG": "C", "LC_CTYPE": "en_US.UTF-8"}, true},
	}
	for _, tt := range tests {
		if got := speaksUTF8(func(name string) string { return tt.env[name] }); got != tt.want {
			t.Errorf("%v: %v", tt.env, got)
		}
	}
}

// Each screen of help fits a terminal of 80 by 24, names every flag and ends
// with three examples.
func TestHelpScreens(t *testing.T) {
	screens := map[string]string{"": helpMain}
	for _, c := range testCommands() {
		screens[c.name] = c.help
		for _, f := range c.flags {
			if !strings.Contains(c.help, "--"+f.name) && (f.short == "" || !regexp.MustCompile(`[ ,]-`+f.short+`\b`).MatchString(c.help)) {
				t.Errorf("rawtcp %s --help says nothing of --%s", c.name, f.name)
			}
		}
	}
	for name, text := range screens {
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		if len(lines) > 24 {
			t.Errorf("%s: %d lines", name, len(lines))
		}
		for _, line := range lines {
			if utf8.RuneCountInString(line) > 80 {
				t.Errorf("%s: too wide: %s", name, line)
			}
		}
		at := slices.Index(lines, "Examples:")
		if at < 0 || len(lines)-at-1 != 3 {
			t.Errorf("%s does not end with three examples", name)
		}
	}
}

func TestFullHelpNamesEveryVariable(t *testing.T) {
	for _, c := range testCommands() {
		text := fullHelp(c)
		for _, f := range c.flags {
			if !strings.Contains(text, "--"+f.name) || !strings.Contains(text, "["+f.env()+"]") || f.usage == "" || f.group == "" {
				t.Errorf("rawtcp help %s says too little of --%s", c.name, f.name)
			}
		}
	}
}

// The flags that the help shows exist.
func TestHelpInventsNoFlag(t *testing.T) {
	for _, c := range testCommands() {
		table := newFlagTable(c.flags)
		for _, name := range regexp.MustCompile(`--[a-z][a-z-]*`).FindAllString(c.help, -1) {
			if table.long[name[2:]] == nil && name != "--help" && !(c.name == "version" && name == "--version") {
				t.Errorf("rawtcp %s --help shows %s, which it has not", c.name, name)
			}
		}
	}
}

func TestExitCodesAreTold(t *testing.T) {
	codes := []int{exitOK, exitNo, exitUsage, exitName, exitRefused, exitTimeout, exitLocal, exitReset, exitInternal,
		exitOutput, exitCapability, exitInterrupted, exitTerminated}
	var told []int
	for _, m := range regexp.MustCompile(`(?m)^ *(\d+)  `).FindAllStringSubmatch(helpExitCodes, -1) {
		n, _ := strconv.Atoi(m[1])
		told = append(told, n)
	}
	if !slices.Equal(codes, told) {
		t.Errorf("told %v, have %v", told, codes)
	}
}

func TestErrorText(t *testing.T) {
	if got := errorText("connect", usageError("no target")); got != "rawtcp connect: no target (see rawtcp connect --help)" {
		t.Error(got)
	}
	if got := errorText("connect", fail(exitName, "try", "cannot %s", "do")); got != "rawtcp: cannot do\nhint: try" {
		t.Error(got)
	}
	if code := codeOf(fmt.Errorf("wrapped: %w", fail(exitReset, "", "x"))); code != exitReset {
		t.Error(code)
	}
	if code := codeOf(errors.New("unforeseen")); code != exitInternal {
		t.Error(code)
	}
}

func TestDurationText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.000 ms", 1234 * time.Microsecond: "1.234 ms", 9 * time.Second: "9000.000 ms", 127 * time.Second: "127.0 s",
	} {
		if got := durationText(d); got != want {
			t.Errorf("%v: %s", d, got)
		}
	}
}

func TestHexDump(t *testing.T) {
	want := "  0x0000:  4500 003c 0001 0203 0405 0607 0809 0a41  E..<...........A\n  0x0010:  7f                                       .\n"
	data := []byte("\x45\x00\x00\x3c\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0aA\x7f")
	if got := hexDump(data); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
