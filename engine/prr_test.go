package engine

import (
	"strconv"
	"strings"
	"testing"
)

// prrScene is the setting of the examples of RFC 6937 section 3.1: a flight of
// 20 segments of which some are lost, ssthresh 10, limited transmit for the first
// two ACKs. It returns for each ACK how many segments are sent.
func prrScene(lost int) (sent []int, pipes []int) {
	const mss = 1000
	var p prr
	out, pipe := 0, 20
	for ack := 1; ack <= 20-lost; ack++ {
		if pipe--; ack <= 2 { // limited transmit: pipe is under cwnd
			pipe++
			out++
			sent, pipes = append(sent, 1), append(pipes, pipe-1)
			continue
		}
		if ack == 3 { // fast recovery
			pipe -= lost
			p.begin(20 * mss)
		}
		pipes = append(pipes, pipe)
		p.ack(mss, pipe*mss, 10*mss, mss)
		n := 0
		for (pipe+1)*mss <= p.window {
			pipe, n = pipe+1, n+1
			p.out += mss
		}
		sent = append(sent, n)
	}
	return sent, pipes
}

func digits(n []int) string {
	var b strings.Builder
	for _, v := range n {
		b.WriteByte(byte('0' + v))
	}
	return b.String()
}

// prrOneLoss is how much each ACK sends in the first example: every other one a
// segment. By the algorithm of section 3 the last is that of ACK 17, and the
// flight ends at ssthresh. The figure of section 3.1 agrees up to ACK 16 and then
// has two more segments, at 18 and 19, for which its row of pipe does not add up.
const prrOneLoss = "1110101010101010100"

// RFC 6937 section 3.1, one segment lost: the reduction is spread over the round
// trip.
func TestPRRExampleOfOneLoss(t *testing.T) {
	sent, pipes := prrScene(1)
	if got, want := digits(sent), prrOneLoss; got != want {
		t.Errorf("sent on each ACK\n%s, the RFC has\n%s", got, want)
	}
	if last := pipes[len(pipes)-1] + sent[len(sent)-1]; last != 10 {
		t.Errorf("%d segments in flight at the end, want ssthresh", last)
	}
}

// RFC 6937 section 3.1, the first fifteen lost: PRR-SSRB sends two for each ACK.
func TestPRRExampleOfABurst(t *testing.T) {
	sent, pipes := prrScene(15)
	if got, want := digits(sent), "11222"; got != want {
		t.Errorf("sent on each ACK %s, the RFC has %s", got, want)
	}
	if got := pipes[2:]; got[0] != 4 || got[1] != 5 || got[2] != 6 {
		t.Errorf("pipe after the ACKs of recovery %v, the RFC has 4 5 6", got)
	}
}

// "When there is an application stall early during recovery, prr_out will fall
// behind … TCP will send a partial window burst to catch up to exactly where it
// would have been": RFC 6937 section 4.
func TestPRRCatchesUpAfterAStall(t *testing.T) {
	const mss = 1000
	var p prr
	p.begin(20 * mss)
	for pipe := 19; pipe > 13; pipe-- { // six ACKs, nothing sent
		p.ack(mss, pipe*mss, 10*mss, mss)
	}
	p.ack(mss, 12*mss, 10*mss, mss)
	if got := p.window - 12*mss; got != 4*mss { // half of seven, rounded up
		t.Errorf("%d octets may be sent, want all of the banked four segments", got)
	}
}

// Against a recount in a connection: the flight never leaves the bounds of PRR
// and ends at the window that congestion control chose.
func TestPRRInAConnection(t *testing.T) {
	k := dial(t, plain(func(c *ConnConfig) { c.InitialWindow = 20 }))
	k.want("SYN", "S 0:0(0)")
	k.advance(100 * ms)
	k.in("S. 0:0(0) ack 1 win 65535 <mss 1000,sackOK>")
	k.want("ACK", ". ack 1")
	k.write(60_000)
	for i := range 20 {
		k.want("the flight", string(segmentText(1+1000*i, 1000, false)))
	}
	sent := ""
	k.advance(100 * ms)
	for ack := 1; ack < 20; ack++ {
		k.advance(ms)
		k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:" + strconv.Itoa(1001+1000*ack) + ">")
		n := 0
		for k.stack.Transmit(k.now, &k.seg) {
			n++
		}
		sent += strconv.Itoa(n)
	}
	if sent != prrOneLoss {
		t.Errorf("sent on each ACK\n%s, the RFC has\n%s", sent, prrOneLoss)
	}
	if k.c.inFlight() != 10_000 || k.c.cc.Window() != 10_000 {
		t.Errorf("%d in flight, window %d: want both at ssthresh, half of the flight", k.c.inFlight(), k.c.cc.Window())
	}
}
