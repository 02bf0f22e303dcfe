package probe

// groupG: extensions.
var groupG []*Row
