package probe_test

var answersD = answers{}

var breakagesD []breakage
