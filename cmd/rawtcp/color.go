package main

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// useColor is the one place where colour is decided: the flag, then NO_COLOR,
// CLICOLOR_FORCE and TERM=dumb, then whether a person looks at a terminal.
func useColor(when string, env func(string) string, terminal bool) bool {
	switch {
	case when == "always":
		return true
	case when == "never":
		return false
	case env("NO_COLOR") != "": // no-color.org: any value but the empty one
		return false
	case env("CLICOLOR_FORCE") != "" && env("CLICOLOR_FORCE") != "0":
		return true
	case env("TERM") == "dumb":
		return false
	}
	return terminal
}

// speaksUTF8 reports whether the locale's characters are UTF-8.
func speaksUTF8(env func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := strings.ToLower(env(name)); value != "" {
			return strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
		}
	}
	return false
}

// terminalSize returns the columns of the terminal that w writes to.
func terminalSize(w io.Writer) (columns int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	return columns, err == nil && columns > 0
}

func isTerminal(stream any) bool {
	f, isFile := stream.(*os.File)
	return isFile && term.IsTerminal(int(f.Fd()))
}
