package probe_test

var answersB = answers{}

var breakagesB []breakage
