// Package explain tells what a capture shows: of each segment what it is, of
// each connection what stands out, in lines for programs and in text for people.
//
//	capture.Reader -> flow.Tracker -+-> Lines  values of package trace, for JSON and reports
//	                                +-> Text   ladders, a table of connections, findings
//
// Both read a file once, from its beginning to its end, in bounded memory.
// Octets of strangers reach a text only escaped.
package explain
