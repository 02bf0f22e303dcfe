package probe

import "slices"

// A Group is the rows of one subject.
type Group struct {
	Letter, Title string
	Rows          []*Row
}

// Groups returns the battery: every group in the order of the catalogue.
func Groups() []Group {
	return []Group{
		{"A", "Reachability and handshake", groupA},
		{"B", "Options and header hygiene", groupB},
		{"C", "Segments in ESTABLISHED", groupC},
		{"D", "Timers of the target", groupD},
		{"E", "Window, acknowledgements, congestion", groupE},
		{"F", "Closing", groupF},
		{"G", "Extensions", groupG},
		{"H", "Identity and randomness", groupH},
		{"P", "Path", groupP},
	}
}

// Rows returns the rows of all groups.
func Rows() []*Row {
	var all []*Row
	for _, g := range Groups() {
		all = append(all, g.Rows...)
	}
	return all
}

// Find returns the row of an id, or nil.
func Find(id string) *Row {
	all := Rows()
	i := slices.IndexFunc(all, func(r *Row) bool { return r.ID == id })
	if i < 0 {
		return nil
	}
	return all[i]
}
