package main

import (
	"fmt"
	"io"
	"strings"
)

// help prints the screen of a command, or of rawtcp.
func (p *program) help(commands []*command, name string) error {
	if c := findByName(commands, name); c != nil {
		return p.print(c.help)
	}
	return p.print(helpMain)
}

// helpOn is `rawtcp help TOPIC`: all there is to say of it.
func (p *program) helpOn(commands []*command, args []string) error {
	switch {
	case len(args) == 0:
		return p.print(helpMain)
	case len(args) > 1:
		return usageError("want one topic, got %q too", args[1])
	case args[0] == "exit-codes":
		return p.print(helpExitCodes)
	}
	c := findByName(commands, args[0])
	if c == nil {
		topics := append(commandNames(commands), "exit-codes")
		return usageError("no help on %q%s", args[0], didYouMean(args[0], topics, ""))
	}
	if len(c.flags) == 0 {
		return p.print(c.help)
	}
	return p.print(fullHelp(c))
}

func (p *program) print(text string) error {
	if _, err := io.WriteString(p.stdout, text); err != nil {
		return &failure{code: exitOutput, err: err}
	}
	return nil
}

// fullHelp lists every flag with its environment variable, by group.
func fullHelp(c *command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "usage: %s\n", c.usage)
	var groups []string
	members := map[string][]*flagSpec{}
	for i := range c.flags {
		f := &c.flags[i]
		if members[f.group] == nil {
			groups = append(groups, f.group)
		}
		members[f.group] = append(members[f.group], f)
	}
	for _, group := range groups {
		fmt.Fprintf(&b, "\n%s\n", group)
		for _, f := range members[group] {
			fmt.Fprintf(&b, "  %s\n      %s [%s]\n", f.spelling(), f.usage, f.env())
		}
	}
	b.WriteString("\nTimes are seconds (0.5, 90) or 500ms, 1m30s. A flag wins over its variable.\n")
	return b.String()
}

// spelling is "-c, --count N".
func (f *flagSpec) spelling() string {
	text := "    --" + f.name
	if f.short != "" {
		text = "-" + f.short + ", --" + f.name
	}
	switch {
	case f.bare != "":
		text += " [" + f.arg + "]"
	case f.arg != "":
		text += " " + f.arg
	}
	return text
}
