// Package report makes one self-contained HTML file out of what a run or a
// capture has shown: ladder, time-sequence graph, timers, state machine,
// options and findings, for somebody who has neither the tool nor the network.
//
//	JSON Lines  -> Read   \
//	capture     -> Run.Add > Run -> pictures (values) -> html/template -> file
//	live events -> Recorder/
//
// A Run takes lines of the schema rawtcp/1 and keeps a bounded part of them.
// The pictures are laid out as plain numbers and texts; only html/template
// writes them, so that no octet of a peer is ever more than text. The page
// allows itself nothing from elsewhere (Content-Security-Policy) and is whole
// without its script, which adds zoom, details and the choice of light or dark.
package report
