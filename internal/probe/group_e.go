package probe

// groupE: window, acknowledgements and congestion.
var groupE []*Row
