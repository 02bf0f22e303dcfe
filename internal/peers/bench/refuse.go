package bench

import "fmt"

// MaxSpread is how much a peer may vary over the rounds before its ratios mean
// too little to be published; see Spread.
const MaxSpread = 0.15

// Refusals says why the rows must not be published: each peer of a judged row
// that varied by more than MaxSpread, in the order of the rows, once.
func Refusals(rows []Row) []string {
	var reasons []string
	said := map[string]bool{}
	for _, r := range rows {
		if r.Bound == nil || r.Peer == nil || r.Peer.Spread <= MaxSpread {
			continue
		}
		reason := fmt.Sprintf("%s, %s: %s varied by %.0f %% (%s to %s %s)", r.Goal, r.Work, r.Peer.Name,
			100*r.Peer.Spread, number(r.Peer.Low), number(r.Peer.High), r.Unit)
		if !said[reason] {
			said[reason] = true
			reasons = append(reasons, reason)
		}
	}
	return reasons
}
