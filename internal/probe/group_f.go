package probe

// groupF: closing.
var groupF []*Row
