// Package mutants measures the tests of the other rooms: it brings back one bug
// after another, each by a change within one line, and asks whether a test
// notices. A bug that nobody notices is a hole in the tests, and what the bench
// is for.
//
// Nothing is written into the tree. Files with all mutants in them, each asleep
// in a copy of its function, are shown to the compiler in place of the real ones
// (go build -overlay). Each test binary is built once, and an environment
// variable wakes one mutant at a run.
package mutants
