package probe_test

var answersH = answers{}

var breakagesH []breakage
