package report

import (
	"cmp"
	"slices"
)

// A dataBlock is what the script of the page knows of one connection: numbers,
// and texts by their index in Words.
type dataBlock struct {
	First    int64      `json:"first"` // microseconds
	Last     int64      `json:"last"`
	Trip     int64      `json:"trip"` // half a round trip
	Folds    [][2]int64 `json:"folds"`
	Words    []string   `json:"words"`
	Segments [][]int64  `json:"segments"`
	Marks    [][]int64  `json:"marks"`  // time, kind, text, side (1: remote)
	States   [][]int64  `json:"states"` // time, band, side
	Graphs   []plotData `json:"graphs"` // in the order of the pictures
}

// A plotData is a sequence for the script, which draws it anew when it zooms.
type plotData struct {
	High  int64      `json:"high"` // sequence number at the top
	Bars  [][4]int64 `json:"bars"` // time, from, to, 1 if sent again
	SACKs [][3]int64 `json:"sacks"`
	Acks  [][2]int64 `json:"acks"`
	Edges [][2]int64 `json:"edges"`
	Shut  [][3]int64 `json:"shut"` // from, to, sequence number
}

func plotOf(q *sequence) plotData {
	d := plotData{High: int64(q.height()), Bars: [][4]int64{}, SACKs: [][3]int64{}, Acks: [][2]int64{}, Edges: [][2]int64{}, Shut: [][3]int64{}}
	for _, b := range q.bars {
		d.Bars = append(d.Bars, [4]int64{b.us, b.from, b.to, side(!b.again)})
	}
	for _, b := range q.sacks {
		d.SACKs = append(d.SACKs, [3]int64{b.us, b.from, b.to})
	}
	for i, p := range q.acks {
		d.Acks = append(d.Acks, [2]int64{p.us, p.seq})
		d.Edges = append(d.Edges, [2]int64{q.edges[i].us, q.edges[i].seq})
	}
	for _, s := range q.shut {
		d.Shut = append(d.Shut, [3]int64{s.from, s.to, s.seq})
	}
	return d
}

// A lexicon gives each text its index.
type lexicon struct {
	words []string
	index map[string]int64
}

func (x *lexicon) of(text string) int64 {
	if i, ok := x.index[text]; ok {
		return i
	}
	i := int64(len(x.words))
	x.words = append(x.words, text)
	x.index[text] = i
	return i
}

// dataOf collects what the script draws and tells.
func dataOf(c *conn, s *timescale) dataBlock {
	x := &lexicon{index: map[string]int64{}}
	d := dataBlock{First: s.first, Last: s.last, Trip: c.halfTrip(), Folds: [][2]int64{}, Segments: [][]int64{}, Marks: [][]int64{}, States: [][]int64{}}
	for _, f := range s.folds {
		d.Folds = append(d.Folds, [2]int64{f.from, f.to})
	}
	for i := range c.segments {
		l := &c.segments[i]
		d.Segments = append(d.Segments, []int64{
			l.TimeUS, side(out(l)), x.of(arrowClass(c, i)), x.of(l.Flags), int64(l.Seq), int64(l.Ack), int64(l.SeqAbs), int64(l.AckAbs),
			int64(l.Win), int64(l.WScale), int64(l.Len), int64(l.TTL), x.of(l.Checksum), x.of(notesText(l)), x.of(l.Reason), x.of(l.State),
			x.of(optionsText(&l.Options)), int64(min(l.Frame, latest)), x.of(l.PeerState),
		})
	}
	for i := range c.states {
		l := &c.states[i]
		remote := side(sideOf(*l) == "local")
		d.Marks = append(d.Marks, []int64{l.TimeUS, x.of("state"), x.of(l.To), remote})
		d.States = append(d.States, []int64{l.TimeUS, x.of(bandOf(l.To)), remote})
	}
	for i := range c.timers {
		if l := &c.timers[i]; l.What == "fired" {
			d.Marks = append(d.Marks, []int64{l.TimeUS, x.of("timer"), x.of(spoken(l.Timer) + " timer fires"), 0})
		}
	}
	for i := range c.icmps {
		l := &c.icmps[i]
		d.Marks = append(d.Marks, []int64{l.TimeUS, x.of("icmp"), x.of("ICMP " + l.Text + " from " + l.From), 0})
	}
	for _, local := range c.directions() {
		d.Graphs = append(d.Graphs, plotOf(sequenceOf(c, local)))
	}
	slices.SortStableFunc(d.Marks, func(a, b []int64) int { return cmp.Compare(a[0], b[0]) })
	d.Words = x.words
	return d
}

// side is 0 for the local side, 1 for the remote one.
func side(local bool) int64 {
	if local {
		return 0
	}
	return 1
}

// moments are the times of everything that a connection's pictures show, sorted.
func (c *conn) moments() []int64 {
	var list []int64
	for i := range c.segments {
		list = append(list, c.segments[i].TimeUS)
	}
	for i := range c.states {
		list = append(list, c.states[i].TimeUS)
	}
	for i := range c.timers {
		if c.timers[i].What == "fired" {
			list = append(list, c.timers[i].TimeUS)
		}
	}
	for i := range c.icmps {
		list = append(list, c.icmps[i].TimeUS)
	}
	slices.Sort(list)
	return list
}
