package probe

import (
	"time"

	"rawtcp/internal/puppet"
	"rawtcp/segment"
)

// groupA: reachability and handshake.
var groupA = []*Row{
	{
		ID: "A3", Name: "dup-syn",
		Question: "Is a SYN that comes twice answered twice, with the same ISN?",
		Stimulus: "the same SYN again in SYN-RECEIVED",
		Clauses:  []Clause{rfc(9293, "3.10.7.4")},
		Risk:     Safe, Takes: time.Second, Needs: []Field{FieldSeq},
		Outcomes: []Outcome{
			{Key: "same", Verdict: Pass, Says: "a SYN-ACK again, with the same ISN"},
			{Key: "ack", Verdict: Pass, Says: "an ACK without SYN: the duplicate is not acceptable, and says so"},
			{Key: "new", Verdict: Note, Says: "a SYN-ACK with another ISN: a SYN cookie or several hosts behind one address"},
			{Key: "none", Verdict: Note, LikeLoss: true, Says: "no answer to the second SYN"},
		},
		Test: dupSYN,
	},
}

func dupSYN(t *T) string {
	p := t.Puppet()
	p.Send(segment.SYN)
	first := t.Answer(p, puppet.SYNACK)
	if first == nil {
		t.Unknown("no SYN-ACK to begin with")
	}
	p.Send(segment.SYN)
	second := t.Answer(p, puppet.Any)
	switch {
	case second == nil:
		return "none"
	case puppet.RST(second):
		t.Unknown("a RST answers the second SYN")
	case !puppet.SYNACK(second):
		return "ack"
	}
	t.Times("answered_after", second.At-first.At)
	if second.Seq != first.Seq {
		return "new"
	}
	return "same"
}
