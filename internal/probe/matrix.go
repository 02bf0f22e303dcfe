package probe

import (
	"fmt"
	"strings"

	"rawtcp/internal/puppet"
	"rawtcp/segment"
)

// A stateRow is what each kind of segment may draw in one state, in letters: "-",
// nothing; A, ACK; R, RST; S, SYN-ACK.
type stateRow struct {
	name  string
	begin func(*T) *puppet.Puppet
	close bool // needs a service that closes first
	want  [8]string
}

// matrixSegments are the columns.
var matrixSegments = []struct {
	name  string
	flags segment.Flags
	mods  []puppet.Mod
}{
	{"syn", segment.SYN, nil},
	{"syn_ack", segment.SYN | segment.ACK, nil},
	{"rst", segment.RST, []puppet.Mod{puppet.Seq(10)}},
	{"ack_future", segment.ACK, []puppet.Mod{puppet.Ack(70000)}},
	{"data_beyond", text, []puppet.Mod{puppet.Seq(200000), puppet.Text([]byte("abc"))}},
	{"no_ack", segment.PSH, []puppet.Mod{puppet.Text([]byte("abc"))}},
	{"fin_beyond", segment.FIN | segment.ACK, []puppet.Mod{puppet.Seq(200000)}},
	{"keep_alive", segment.ACK, []puppet.Mod{puppet.Seq(-1)}},
}

// matrixStates are what a client can bring a host into, with what RFC 9293
// section 3.10.7 and RFC 5961 let it answer.
var matrixStates = []stateRow{
	{"closed", func(t *T) *puppet.Puppet { return t.PuppetTo(t.ClosedPort()) }, false, [8]string{"R", "R", "-", "R", "R", "R", "R", "R"}},
	{"listen", func(t *T) *puppet.Puppet { return t.Puppet() }, false, [8]string{"S", "R", "-", "R", "R", "-", "R", "R"}},
	{"syn_received", func(t *T) *puppet.Puppet { p, _ := t.halfOpen(); return p }, false, [8]string{"ARS", "ARS", "A-", "R", "A", "-", "A", "A"}},
	{"established", func(t *T) *puppet.Puppet { return t.Establish() }, false, [8]string{"A", "A", "A", "A", "A", "-", "A", "A"}},
	{"fin_wait_2", func(t *T) *puppet.Puppet { return t.halfClosed() }, true, [8]string{"A", "A", "A", "A", "AR", "-", "A", "A"}},
	{"time_wait", func(t *T) *puppet.Puppet { return t.waiting() }, true, [8]string{"AS", "A", "A-", "A", "A", "-", "A", "A"}},
}

func stateMatrix(t *T) string {
	said := "as-asked"
	for _, state := range matrixStates {
		if state.close && t.Service.Goodbye == nil {
			continue
		}
		line := ""
		t.ending = state.close
		for i, s := range matrixSegments {
			t.Waiting("%s in %s", s.name, state.name)
			got := ""
			for range 3 { // what is not as asked may be a segment that was lost, or came late
				if got = t.cell(state, i); strings.Contains(state.want[i], got) {
					break
				}
			}
			line += fmt.Sprintf(" %s:%s", s.name, got)
			if !strings.Contains(state.want[i], got) {
				t.Fact(state.name+"_"+s.name, "%s, and not %s", got, state.want[i])
				said = "differs"
			}
		}
		t.Fact(state.name, "%s", line[1:])
	}
	return said
}

// cell is what segment i draws in a state, on a fresh connection.
func (t *T) cell(state stateRow, i int) string {
	p := state.begin(t)
	defer p.Close()
	s := matrixSegments[i]
	mods := s.mods
	if s.flags.Has(segment.SYN) && state.name != "listen" && state.name != "closed" {
		mods = []puppet.Mod{puppet.SeqAt(p.SndNxt().Add(10))}
	}
	return t.draws(p, s.flags, mods, state.want[i] != "-")
}

// draws is the letter of what a segment draws; it is sent again where it should
// draw something and does not.
func (t *T) draws(p *puppet.Puppet, flags segment.Flags, mods []puppet.Mod, expected bool) string {
	send := func() puppet.Sent { return p.Provoke(flags, mods...) }
	var a *puppet.Arrival
	if match := puppet.Either(puppet.PureACK, puppet.RST, puppet.SYNACK); expected {
		_, a = t.Insist(p, match, send)
	} else {
		send()
		a = t.Answer(p, match)
	}
	switch {
	case a == nil:
		return "-"
	case puppet.RST(a):
		return "R"
	case puppet.SYNACK(a):
		return "S"
	}
	return "A"
}
