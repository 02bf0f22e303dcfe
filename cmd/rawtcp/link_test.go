package main

import (
	"rawtcp/engine"
	"rawtcp/rawsock"
)

// The two rooms know nothing of each other; here they have to fit.
var (
	_ engine.SegmentingLink = (*rawsock.Conn)(nil)
	_ engine.ICMPError      = (*rawsock.ICMPError)(nil)
	_ engine.BroadcastError = (*rawsock.BroadcastError)(nil)
)
