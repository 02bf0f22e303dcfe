package main

import (
	"errors"
	"fmt"
)

// The exit codes. They are part of the contract with scripts.
const (
	exitOK          = 0
	exitNo          = 1
	exitUsage       = 2
	exitName        = 6
	exitRefused     = 7
	exitTimeout     = 28
	exitLocal       = 45
	exitReset       = 56
	exitInternal    = 70
	exitOutput      = 74
	exitCapability  = 77
	exitInterrupted = 130
	exitTerminated  = 143
)

// A failure is an error with the exit code that it ends the program with and,
// where there is one, the way out.
type failure struct {
	code   int
	err    error
	hint   string
	bare   bool // the text stands for itself, without a name before it
	silent bool // all has been said
}

// Error implements error.
func (f *failure) Error() string { return f.err.Error() }

// Unwrap lets errors.Is see the cause.
func (f *failure) Unwrap() error { return f.err }

// usageError is a failure before anything was sent.
func usageError(format string, args ...any) error {
	return &failure{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// fail attaches a code and a hint to an error.
func fail(code int, hint, format string, args ...any) error {
	return &failure{code: code, err: fmt.Errorf(format, args...), hint: hint}
}

// codeOf is the exit code of an error: its own, or that of an internal error.
func codeOf(err error) int {
	var f *failure
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &f):
		return f.code
	}
	return exitInternal
}

func hintOf(err error) string {
	var f *failure
	if errors.As(err, &f) {
		return f.hint
	}
	return ""
}
