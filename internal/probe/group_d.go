package probe

// groupD: timers of the target.
var groupD []*Row
