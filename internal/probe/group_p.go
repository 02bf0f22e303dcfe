package probe

// groupP: the path.
var groupP []*Row
