package probe

// groupB: options and header hygiene.
var groupB []*Row
