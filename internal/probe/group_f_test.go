package probe_test

var answersF = answers{}

var breakagesF []breakage
