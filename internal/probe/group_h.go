package probe

// groupH: identity and randomness.
var groupH []*Row
