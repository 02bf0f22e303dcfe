package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// A program is one run of the command.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(string) string

	command string   // as the user named it
	words   []string // the whole command line
	json    bool     // errors are wanted as JSON too, and no one has written them yet
}

// A command is one of the words after rawtcp.
type command struct {
	name  string
	usage string // how it is called
	help  string // one screen
	flags []flagSpec
	run   func(ctx context.Context, args []string) error
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	p := &program{stdin: stdin, stdout: stdout, stderr: stderr, env: os.Getenv}
	defer func() {
		if cause := recover(); cause != nil {
			tellPanic(stderr, cause)
			code = exitInternal
		}
	}()
	err := p.main(ctx, args[1:])
	p.report(err)
	return codeOf(err)
}

func tellPanic(stderr io.Writer, cause any) {
	fmt.Fprintf(stderr, "rawtcp: internal error: %v\n%s", cause, debug.Stack())
}

// crash ends the program for a goroutine that panics: by itself Go would end it
// with exit code 2, which is that of bad usage. Claims and sockets go with the
// process.
func crash(cause any) {
	tellPanic(os.Stderr, cause)
	os.Exit(exitInternal)
}

// spawn starts a goroutine whose panic ends the program as one of main does.
func spawn(f func()) {
	go func() {
		defer func() {
			if cause := recover(); cause != nil {
				crash(cause)
			}
		}()
		f()
	}()
}

func (p *program) main(ctx context.Context, words []string) error {
	p.words = words
	commands := p.commands()
	line, err := normalise(commands, words)
	if findByName(commands, line.command) != nil {
		p.command = line.command
	}
	byEnv, _ := strconv.ParseBool(p.env("RAWTCP_JSON"))
	p.json = byEnv || slices.Contains(line.flags, "--json=true")
	switch {
	case err != nil:
		return err
	case line.version:
		return p.printVersion()
	case line.help:
		return p.help(commands, line.command)
	case line.command == "":
		return &failure{code: exitUsage, err: errors.New(strings.TrimSuffix(helpShort, "\n")), bare: true}
	}
	return p.dispatch(ctx, commands, line)
}

// dispatch lets the cli package read the flags and run the command. All its
// habits that scripts would trip over are switched off: help on stdout after an
// error, exits of its own, a help command inside each command.
func (p *program) dispatch(ctx context.Context, commands []*command, line *commandLine) error {
	app := &cli.App{
		Name: "rawtcp", HideHelp: true, HideHelpCommand: true, HideVersion: true,
		Writer: p.stderr, ErrWriter: p.stderr,
		ExitErrHandler: func(*cli.Context, error) {},
	}
	for _, c := range commands {
		app.Commands = append(app.Commands, c.cliCommand(ctx))
	}
	return app.RunContext(ctx, append([]string{"rawtcp"}, line.words()...))
}

func (c *command) cliCommand(ctx context.Context) *cli.Command {
	sub := &cli.Command{
		Name: c.name, HideHelp: true, HideHelpCommand: true,
		Action:       func(cc *cli.Context) error { return c.run(ctx, cc.Args().Slice()) },
		OnUsageError: func(_ *cli.Context, err error, _ bool) error { return flagError(err) },
	}
	for i := range c.flags {
		sub.Flags = append(sub.Flags, c.flags[i].cliFlag())
	}
	return sub
}

var fromVariable = regexp.MustCompile(`from environment variable "(\w+)"`)

// flagError rewords what the flag and cli packages say of a bad value.
func flagError(err error) error {
	text := err.Error()
	text = strings.Replace(text, " for flag -", " for --", 1)
	text = strings.Replace(text, " as value for flag ", " for --", 1)
	text = strings.Replace(text, "could not parse ", "invalid value ", 1)
	text = fromVariable.ReplaceAllString(text, "from $1")
	return usageError("%s", text)
}

// report tells the user what went wrong, on stderr and, where JSON is wanted
// and the run has not said it, as the last line of stdout.
func (p *program) report(err error) {
	var f *failure
	if err == nil || errors.As(err, &f) && f.silent {
		return
	}
	if p.json {
		line, _ := json.Marshal(errorLine(err))
		fmt.Fprintf(p.stdout, "%s\n", line)
	}
	if f != nil && f.bare {
		fmt.Fprintln(p.stderr, err)
		return
	}
	fmt.Fprintln(p.stderr, errorText(p.command, err))
}

// commands makes the commands, each with settings of its own.
func (p *program) commands() []*command {
	list := []*command{
		p.connectCommand(),
		p.listenCommand(),
		p.proxyCommand(),
		p.pingCommand(),
		p.probeCommand(),
		p.reportCommand(),
		p.demoCommand(),
		p.doctorCommand(),
		p.explainCommand(),
		{name: "version", usage: "rawtcp version", help: helpVersion, run: func(context.Context, []string) error { return p.printVersion() }},
	}
	help := &command{name: "help", usage: "rawtcp help [COMMAND|exit-codes]", help: helpHelp}
	list = append(list, help)
	help.run = func(_ context.Context, args []string) error { return p.helpOn(list, args) }
	return list
}

// variables are those of the environment that stand in for a flag of the
// command.
func (p *program) variables() []string {
	var list []string
	if c := findByName(p.commands(), p.command); c != nil {
		for i := range c.flags {
			if value := p.env(c.flags[i].env()); value != "" {
				list = append(list, c.flags[i].env()+"="+value)
			}
		}
	}
	return list
}

func findByName(commands []*command, name string) *command {
	for _, c := range commands {
		if c.name == name {
			return c
		}
	}
	return nil
}

func commandNames(commands []*command) []string {
	names := make([]string, len(commands))
	for i, c := range commands {
		names[i] = c.name
	}
	return names
}
