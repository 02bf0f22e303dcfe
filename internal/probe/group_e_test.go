package probe_test

var answersE = answers{}

var breakagesE []breakage
