package probe_test

var answersG = answers{}

var breakagesG []breakage
