package mutants

import "slices"

// All returns the mutants, in the order of the tables.
func All() []Mutant {
	return slices.Concat(headerBugs, arrivalBugs, handshakeBugs, senderBugs, hostBugs, flowBugs)
}
