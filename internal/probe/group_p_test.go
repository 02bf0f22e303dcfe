package probe_test

var answersP = answers{}

var breakagesP []breakage
