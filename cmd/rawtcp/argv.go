package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A commandLine is what the user typed, taken apart.
type commandLine struct {
	command string   // empty: none was given
	flags   []string // each as --name=value
	args    []string
	help    bool // -h or --help
	version bool // -V or --version before or without a command
}

// words returns the line in the one form that cannot be misread: the command,
// the flags as --name=value, --, the arguments.
func (c *commandLine) words() []string {
	var words []string
	if c.command != "" {
		words = append(words, c.command)
	}
	words = append(words, c.flags...)
	return append(append(words, "--"), c.args...)
}

// A flagTable finds the flags of a command, or of all commands, by name.
type flagTable struct {
	long  map[string]*flagSpec
	short map[string]*flagSpec
}

func newFlagTable(specs ...[]flagSpec) *flagTable {
	t := &flagTable{long: map[string]*flagSpec{}, short: map[string]*flagSpec{}}
	for _, list := range specs {
		for i := range list {
			f := &list[i]
			t.long[f.name] = f
			if f.short != "" {
				t.short[f.short] = f
			}
		}
	}
	return t
}

// normalise brings the words after the program's name into one form. People
// put flags anywhere, bundle them (-4vc3), and glue values on (-c3, --count=3);
// the cli package reads none of that. No word is lost: what is not a flag or
// a flag's value is an argument, and everything after -- is.
func normalise(commands []*command, words []string) (*commandLine, error) {
	line := &commandLine{}
	every := make([][]flagSpec, len(commands))
	for i, c := range commands {
		every[i] = c.flags
	}
	at := findCommand(newFlagTable(every...), words)
	table := newFlagTable()
	if at >= 0 {
		line.command = words[at]
		words = slices.Delete(slices.Clone(words), at, at+1)
		c := findByName(commands, line.command)
		if c == nil {
			return line, usageError("unknown command %q%s", line.command, didYouMean(line.command, commandNames(commands), ""))
		}
		table = newFlagTable(c.flags)
	}
	return line, line.parse(table, words)
}

// findCommand returns the index of the first word that is neither a flag nor a
// flag's value, or -1.
func findCommand(every *flagTable, words []string) int {
	for i := 0; i < len(words); i++ {
		word := words[i]
		switch {
		case word == "--":
			return -1
		case !isFlag(word):
			return i
		case every.wantsNext(word) && !every.bareBefore(word, words[i+1:]):
			i++
		}
	}
	return -1
}

func isFlag(word string) bool { return len(word) > 1 && word[0] == '-' }

// wantsNext reports whether a flag word leaves its value to the next word.
func (t *flagTable) wantsNext(word string) bool {
	if name, ok := strings.CutPrefix(word, "--"); ok {
		f := t.long[name]
		return f != nil && f.takesValue()
	}
	letters := []rune(word[1:])
	for i, letter := range letters {
		if f := t.short[string(letter)]; f != nil && f.takesValue() {
			return i == len(letters)-1
		}
	}
	return false
}

// bareBefore reports whether a flag whose value may be left out stands without one.
func (t *flagTable) bareBefore(word string, rest []string) bool {
	f := t.long[strings.TrimPrefix(word, "--")]
	return f != nil && f.bare != "" && !bareTakes(f, rest)
}

// bareTakes reports whether the next word is the value of a flag that can do
// without: only if it reads as one.
func bareTakes(f *flagSpec, rest []string) bool {
	return len(rest) > 0 && f.set(rest[0]) == nil
}

// parse sorts the words into flags and arguments.
func (c *commandLine) parse(table *flagTable, words []string) error {
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		var err error
		switch {
		case word == "--":
			c.args = append(c.args, words...)
			return nil
		case !isFlag(word):
			c.args = append(c.args, word)
		case strings.HasPrefix(word, "--"):
			words, err = c.long(table, word[2:], words)
		default:
			words, err = c.bundle(table, word, words)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// long takes --name, --name=value or --name value.
func (c *commandLine) long(table *flagTable, word string, rest []string) ([]string, error) {
	name, value, glued := strings.Cut(word, "=")
	f := table.long[name]
	if f == nil {
		if !glued && c.special("--"+name) {
			return rest, nil
		}
		return rest, usageError("unknown flag --%s%s", name, didYouMean(name, table.names(), "--"))
	}
	if glued {
		c.add(f, value)
		return rest, nil
	}
	return c.value(f, "--"+name, rest)
}

// bundle takes -v, -vv, -c3, -c 3, -4vc3.
func (c *commandLine) bundle(table *flagTable, word string, rest []string) ([]string, error) {
	letters := []rune(word[1:])
	for i, letter := range letters {
		f := table.short[string(letter)]
		if f == nil {
			if c.special("-" + string(letter)) {
				continue
			}
			return rest, usageError("unknown flag -%c in %q", letter, word)
		}
		if glued := string(letters[i+1:]); f.takesValue() && glued != "" {
			c.add(f, strings.TrimPrefix(glued, "="))
			return rest, nil
		}
		var err error
		if rest, err = c.value(f, "-"+string(letter), rest); err != nil {
			return rest, err
		}
	}
	return rest, nil
}

// special takes the flags that every command has and that are not settings.
func (c *commandLine) special(name string) bool {
	switch name {
	case "-h", "--help":
		c.help = true
	case "-V", "--version":
		c.version = true
	default:
		return false
	}
	return true
}

// value takes a switch, or the next word as the flag's value.
func (c *commandLine) value(f *flagSpec, spelled string, rest []string) ([]string, error) {
	switch {
	case !f.takesValue():
		c.addSwitch(f)
		return rest, nil
	case f.bare != "" && !bareTakes(f, rest):
		c.add(f, f.bare)
		return rest, nil
	case len(rest) == 0:
		return rest, usageError("flag %s needs a value: %s", spelled, f.arg)
	}
	c.add(f, rest[0])
	return rest[1:], nil
}

// add appends a flag in its one form.
func (c *commandLine) add(f *flagSpec, value string) {
	c.flags = append(c.flags, "--"+f.name+"="+value)
}

// addSwitch appends a switch that was given without a value. A counted one
// stands once, with how often it was given.
func (c *commandLine) addSwitch(f *flagSpec) {
	if !f.counted {
		c.add(f, "true")
		return
	}
	prefix := "--" + f.name + "="
	for i := len(c.flags) - 1; i >= 0; i-- {
		before, is := strings.CutPrefix(c.flags[i], prefix)
		if n, err := strconv.Atoi(before); is && err == nil && n >= 0 && n < math.MaxInt32 {
			c.flags[i] = prefix + strconv.Itoa(n+1)
			return
		}
	}
	c.add(f, "1")
}

func (t *flagTable) names() []string {
	names := make([]string, 0, len(t.long))
	for name := range t.long {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// didYouMean is "; did you mean --wait?" for the nearest name, or nothing.
func didYouMean(word string, names []string, prefix string) string {
	if len(word) > 64 {
		return "" // no slip of the fingers
	}
	best, bestDistance := "", 3 // two slips at most
	for _, name := range names {
		d := editDistance(word, name)
		if d > 0 && len(word) >= 3 && strings.HasPrefix(name, word) {
			d = 1
		}
		if d < bestDistance && d < len(name) {
			best, bestDistance = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s%s?", prefix, best)
}

// editDistance counts the letters to insert, delete, replace, or swap with
// their neighbour.
func editDistance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replace := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
