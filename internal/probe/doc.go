// Package probe is a battery of behaviour tests for the TCP of an unmodified
// remote host. Each test is a Row: what it asks, what it sends, which clauses
// decide, and what may come of it, all of it data, and a function of ten to thirty
// lines that reads like the protocol.
//
//	Rows() ---> --list, docs/probe.md, the HTML report      (declarations)
//	   |
//	Battery.Run ---> T ---> Row.Test(t) ---> the key of an Outcome
//	   |   repeats what may have been lost, doubts what is bad news
//	   v
//	Report: a Result for each row: verdict, rule, facts, evidence
//
// # How to write a row
//
// Rows stand in one file for each group: group_a.go, group_b.go and so on. A file
// has one variable, groupC for instance, a []*Row in the order of the catalogue,
// which rows.go gathers. Fill in every field of the Row:
//
//	{
//		ID: "C2", Name: "rst-in-window",
//		Question: "Does a RST in the window, but not at its left edge, end the connection?",
//		Stimulus: "RST with SEQ=RCV.NXT+10 in ESTABLISHED, then one octet of data",
//		Clauses:  []Clause{rfc(5961, "3.2"), rfc(9293, "3.10.7.4", "MUST-…")},
//		Risk:     Safe, Takes: 2 * time.Second,
//		Outcomes: []Outcome{
//			{Key: "challenge", Verdict: Pass, Says: "a challenge ACK, and the connection lives"},
//			{Key: "accepted", Verdict: Vulnerable, Says: "the connection is dead: anybody in the window can end it"},
//			{Key: "ignored", Verdict: Note, LikeLoss: true, Says: "no answer, and the connection lives"},
//		},
//		Test: rstInWindow,
//	},
//
//	func rstInWindow(t *T) string {
//		p := t.Connect()
//		p.Provoke(segment.RST, puppet.Seq(10))
//		answer := t.Answer(p, puppet.Any)
//		switch t.Life(p) {
//		case puppet.Dead:
//			return "accepted"
//		…
//
// The function returns the Key of one of its row's outcomes. Decide only from
// what was seen. The rules that keep a verdict honest:
//
//   - Begin with T.Connect (or T.Greet, T.Request): it is the control. If the
//     handshake fails, the row is unknown and no outcome is asked for.
//   - One behaviour for each connection. Ask p.Provoke for every segment that an
//     obedient peer would not send: it keeps them 600 ms apart.
//   - End with T.Life where the outcome says whether the connection lives.
//   - LikeLoss: true marks an outcome that a lost segment, ours or theirs, would
//     look like. The Battery then repeats the row on a fresh connection, and an
//     attempt whose outcome is not LikeLoss wins; a bad LikeLoss outcome stands
//     only if Attempts of them agree. A bad outcome that no loss can explain has
//     to come twice. When attempts contradict each other the verdict is unknown.
//   - Whatever is neither: T.Unknown("why") ends the row at once. A service that
//     gave too little data, an answer that fits no outcome, a connection that
//     fell silent are unknown, never fail.
//   - T.Fact and T.Times take down what was observed, whatever the outcome, with
//     numbers relative and times exact. Verdict and observation are kept apart.
//   - Needs says which part of a segment the row relies on. If the path changes
//     it, a bad outcome becomes "unknown: changed on the path".
//   - LikePath: true marks an outcome that is no bad news, and that such a path
//     would look like too: "no cookie", where an option may have been stripped.
//   - A row that needs data declares Service; T.Request sends the request.
//   - What the host's timers wait for must not wait for the pace: p.Book what an
//     exchange will take before it begins, answer with p.Reply, which hides nothing
//     that came meanwhile, and be p.OnCall where the moment of the answer counts.
//     How long to wait on a connection is said by its own round trip (t.rtt).
//   - Never wait for a fixed time where something can be waited for; T.Answer
//     waits for as long as an answer may take on this path.
//
// # How to test a row
//
// Tests stand in one file for each group too: group_c_test.go has a table of what
// hosts we know answer, and a list of breakages. TestEngine runs the rows against
// our own engine on a simulated network, in virtual time: milliseconds, however
// long the row's timers are. TestKernel runs them against the kernel in a
// namespace; a row that takes more than some seconds says slow, and is left to
// the campaign: TestGolden -args -golden N holds what was measured of Linux, cell
// by cell (goldenCells), against nginx and an echo server, with a witness on the
// host's own interface that says how far our times are off. A breakage is an engine behind a
// road that changes packets so that the host does what it should not
// (TestBrokenHosts): name the rows that must find it; every other row has to answer
// as before. TestLossIsNoFault runs everything on a path that loses, TestTargets
// Linux hosts with other settings. What takes long is asked for: make golden, and
// make probe-loss.
//
// docs/probe.md is made from the declarations: go test ./internal/probe -run
// TestPage -update, and read the difference.
package probe
