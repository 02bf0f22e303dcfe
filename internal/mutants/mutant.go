package mutants

// A Mutant is one bug, and the change that brings it back: in one function, one
// line, found by its text, so that it survives what moves around it.
type Mutant struct {
	Name  string // of the bug, unique
	Class string // the rows of docs/faults.md it belongs to, separated by blanks
	Dir   string // of its package, from the root of the module
	Func  string // the function it stands in: Name or Type.Name
	Old   string // what stands there, within one line; it must stand there once
	New   string // what the bug was
}
