// Package mutants measures the tests of the other rooms: it brings back one bug
// after another, each by a change within one line, and asks whether a test
// notices. A bug that nobody notices is a hole in the tests, and what the bench
// is for.
//
// Nothing is written into the tree: a mutated file is shown to the compiler in
// place of the real one (go build -overlay), so that the build cache serves
// everything else.
package mutants
