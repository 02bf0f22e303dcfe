package probe

import (
	"time"

	"rawtcp/internal/puppet"
	"rawtcp/segment"
)

// groupC: segments that arrive in ESTABLISHED.
var groupC = []*Row{
	{
		ID: "C1", Name: "rst-exact",
		Question: "Does a RST at exactly RCV.NXT end the connection?",
		Stimulus: "RST with SEQ=RCV.NXT in ESTABLISHED, then one octet of data",
		Clauses:  []Clause{rfc(9293, "3.10.7.4"), rfc(5961, "3.2")},
		Risk:     Safe, Takes: time.Second, Needs: []Field{FieldSeq},
		Outcomes: []Outcome{
			{Key: "dead", Verdict: Pass, Says: "the connection is dead"},
			{Key: "ignored", Verdict: Fail, LikeLoss: true, Says: "the connection lives on"},
		},
		Test: rstExact,
	},
	{
		ID: "C2", Name: "rst-in-window",
		Question: "Does a RST in the window, but not at its left edge, end the connection?",
		Stimulus: "RST with SEQ=RCV.NXT+10 in ESTABLISHED, then one octet of data",
		Clauses:  []Clause{rfc(5961, "3.2"), rfc(9293, "3.10.7.4")},
		Risk:     Safe, Takes: time.Second, Needs: []Field{FieldSeq},
		Outcomes: []Outcome{
			{Key: "challenge", Verdict: Pass, Says: "a challenge ACK, and the connection lives"},
			{Key: "accepted", Verdict: Vulnerable, Says: "the connection is dead: a RST anywhere in the window ends it"},
			{Key: "ignored", Verdict: Note, LikeLoss: true, Says: "no challenge ACK, and the connection lives"},
		},
		Test: rstInWindow,
	},
}

func rstExact(t *T) string {
	p := t.Connect()
	p.Provoke(segment.RST)
	if t.Lives(p) {
		return "ignored"
	}
	return "dead"
}

func rstInWindow(t *T) string {
	p := t.Connect()
	sent := p.Provoke(segment.RST, puppet.Seq(10))
	answer := t.Answer(p, puppet.PureACK)
	if answer != nil {
		t.Times("challenged_after", answer.At-sent.At)
	}
	switch {
	case !t.Lives(p):
		return "accepted"
	case answer == nil:
		return "ignored"
	}
	return "challenge"
}
