package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// wellFormed reads a picture as XML, as other programs do.
func wellFormed(svg []byte) error {
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// A picture of its own needs nothing from a page: no variable is left in it.
func TestPicturesAlone(t *testing.T) {
	for _, name := range runs {
		n := 0
		err := read(t, text(t, name)).Pictures(func(picture string, svg []byte) error {
			n++
			if bytes.Contains(svg, []byte("var(")) || bytes.Contains(svg, []byte("light-dark")) || !bytes.HasPrefix(svg, []byte(`<svg xmlns="http://www.w3.org/2000/svg"`)) {
				t.Errorf("%s %s does not stand on its own", name, picture)
			}
			return wellFormed(svg)
		})
		if err != nil || n < 2 {
			t.Errorf("%s: %d pictures, %v", name, n, err)
		}
	}
	stop := errors.New("full")
	if err := read(t, text(t, "lost")).Pictures(func(string, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}

// A picture of its own explains its colours, each with a mark that looks as in
// the picture.
func TestLegends(t *testing.T) {
	for _, name := range runs {
		for _, c := range read(t, text(t, name)).conns {
			s := newTimescale(c.moments(), c.roundTrip())
			list := []*picture{ladder(c, s)}
			for _, local := range c.directions() {
				list = append(list, graph(c, s, local))
			}
			for _, p := range list {
				drawn := map[string]bool{}
				for _, l := range p.Layers {
					for _, shape := range l.Shapes {
						drawn[strings.Fields(l.Class)[0]+" "+shape.Class] = true
						drawn["legend "+shape.Class] = true
					}
				}
				q := p.withLegend()
				if len(q.Layers) != len(p.Layers)+1+len(p.Keys) || q.H <= p.H {
					t.Errorf("%s: %d layers for %d keys", name, len(q.Layers)-len(p.Layers), len(p.Keys))
				}
				for _, l := range q.Layers[len(p.Layers)+1:] {
					if group := strings.Fields(l.Class)[0]; len(l.Shapes) != 1 || !drawn[group+" "+l.Shapes[0].Class] {
						t.Errorf("%s: the picture has no %s %v", name, l.Class, l.Shapes)
					}
				}
			}
		}
	}
}

// Time on a scale never runs backwards, begins at nought and ends at the length,
// and is linear between the folds.
func TestTimescale(t *testing.T) {
	draw := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		moments := []int64{draw.Int64N(1e9)}
		for range 1 + draw.IntN(40) {
			moments = append(moments, moments[len(moments)-1]+draw.Int64N(int64(math.Pow(10, float64(draw.IntN(9))))+1))
		}
		s := newTimescale(moments, draw.Int64N(5000))
		s.fit(1000, 10)
		if at := s.at(s.first); at != 0 {
			t.Fatalf("%v begins at %v", moments, at)
		}
		if want := max(1000, 10*float64(len(s.folds))+1); s.awake() > 0 && math.Abs(s.length()-want) > 0.01 {
			t.Fatalf("%v is %v long, want %v", moments, s.length(), want)
		}
		last := 0.0
		for _, us := range moments {
			if at := s.at(us); at < last {
				t.Fatalf("%v: %d is at %v, before %v", moments, us, at, last)
			} else {
				last = at
			}
		}
		for _, f := range s.folds {
			if slices.ContainsFunc(moments, func(us int64) bool { return us > f.from && us < f.to }) {
				t.Fatalf("%v: something happens within the fold %v", moments, f)
			}
			if d := s.at(f.to) - s.at(f.from); math.Abs(d-10) > 1e-6 {
				t.Fatalf("%v: the fold %v is %v long", moments, f, d)
			}
		}
		ticks, _ := s.ticks(80)
		for i := range ticks {
			if i > 0 && ticks[i].Place-ticks[i-1].Place < 71 {
				t.Fatalf("%v: ticks at %v and %v", moments, ticks[i-1].Place, ticks[i].Place)
			}
		}
	}
}

func TestSilences(t *testing.T) {
	ms := func(list ...int64) []int64 {
		for i := range list {
			list[i] *= 1000
		}
		return list
	}
	for _, tt := range []struct {
		about   string
		moments []int64
		trip    int64
		want    int
	}{
		{"a handshake and nothing else", ms(0, 20, 21), 20000, 0},
		{"then a second of thought", ms(0, 20, 21, 1021, 1041), 20000, 1},
		{"a lone RTO stays as it is", ms(0, 20, 21, 221, 241), 20000, 0},
		{"a SYN that nobody answers", ms(0, 1000, 3000, 7000, 15000), 0, 0},
		{"keep-alives", ms(0, 20, 21, 10021, 10041, 20041, 20061, 30061), 20000, 3},
		{"half-seconds in a long transfer are its rhythm", ms(0, 20, 320, 620, 920, 1220, 1720, 2020, 2320), 20000, 0},
	} {
		s := newTimescale(tt.moments, tt.trip)
		if len(s.folds) != tt.want {
			t.Errorf("%s: folds %v, want %d", tt.about, s.folds, tt.want)
		}
	}
}

// Labels do not stand on each other, keep their order, and none is lost without
// being counted.
func TestSpread(t *testing.T) {
	draw := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		var list []*ladderLabel
		for range 1 + draw.IntN(200) {
			list = append(list, &ladderLabel{want: draw.Float64() * 1000, weighty: draw.IntN(5) == 0})
		}
		slices.SortFunc(list, func(a, b *ladderLabel) int { return int(math.Copysign(1, a.want-b.want)) })
		spread(list)
		counted, last := 0, math.Inf(-1)
		for _, l := range list {
			counted += l.hidden
			if !l.shown {
				counted--
				continue
			}
			if l.at < l.want || l.at-last < rowHeight-1e-6 {
				t.Fatalf("a label for %v stands at %v, the one before at %v", l.want, l.at, last)
			}
			last = l.at
		}
		if counted != 0 {
			t.Fatalf("%d labels are not counted", -counted)
		}
	}
}

// The slices of a ladder are the whole of it, none is higher than half a page,
// and no text is cut in two where there is room between texts.
func TestSlices(t *testing.T) {
	var list []*conn
	for _, name := range runs {
		list = append(list, read(t, text(t, name)).conns...)
	}
	tall := &conn{}
	for i := range int64(500) {
		tall.segments = append(tall.segments, segmentAt(1, i*i))
	}
	most := 0
	for _, c := range append(list, tall) {
		p := ladder(c, newTimescale(c.moments(), c.roundTrip()))
		var end float64
		for i, s := range p.Slices() {
			most = max(most, i+1)
			if float64(s.Y) != end || s.H <= 0 || s.H > maxSlice {
				t.Errorf("a slice from %v, %v high, after %v", s.Y, s.H, end)
			}
			if end > 0 && p.textAt(end) {
				t.Errorf("a text is cut at %v", end)
			}
			end = float64(s.Y + s.H)
		}
		if math.Abs(end-float64(p.H)) > 1e-6 {
			t.Errorf("the slices end at %v, the picture at %v", end, p.H)
		}
	}
	if most < 3 {
		t.Errorf("at most %d slices", most)
	}
	crowded := &picture{H: 10 * maxSlice, Layers: []layer{{}}}
	for y := range int(crowded.H) {
		crowded.Layers[0].Texts = append(crowded.Layers[0].Texts, label{Y: num(y)})
	}
	if n := len(crowded.Slices()); n != 10 {
		t.Errorf("%d slices of a picture without room between its texts", n)
	}
}

// A window that is shut is marked until it opens, or to the end.
func TestShutWindow(t *testing.T) {
	c := &conn{}
	for us, size := range []uint16{10, 0, 0, 7, 0} {
		l := segmentAt(1, int64(us))
		l.Dir, l.Win, l.Ack = "in", size, 5
		c.segments = append(c.segments, l)
	}
	q := sequenceOf(c, true)
	if want := []seqShut{{1, 3, 5}, {4, latest, 5}}; !slices.Equal(q.shut, want) {
		t.Errorf("%v, want %v", q.shut, want)
	}
}

// Few labels are all shown.
func TestSpreadShowsAllOfFew(t *testing.T) {
	var list []*ladderLabel
	for range 8 {
		list = append(list, &ladderLabel{want: 100})
	}
	spread(list)
	for i, l := range list {
		if !l.shown {
			t.Errorf("label %d has no room", i)
		}
	}
}

// The ways of the figure begin and end at the border of their states.
func TestWaysTouchTheirStates(t *testing.T) {
	touches := func(name string, x, y float64) bool {
		n, ok := nodeOf(name)
		dx, dy := math.Abs(x-n.x), math.Abs(y-n.y)
		return ok && dx <= nodeWidth/2 && dy <= nodeHeight/2 && (dx == nodeWidth/2 || dy == nodeHeight/2)
	}
	for _, w := range ways {
		if !touches(w.from, w.x0, w.y0) {
			t.Errorf("%s to %s begins at %v, %v", w.from, w.to, w.x0, w.y0)
		}
		if !touches(w.to, w.x1, w.y1) {
			t.Errorf("%s to %s ends at %v, %v", w.from, w.to, w.x1, w.y1)
		}
	}
}

// The path of each run is lit: each step has its number on the figure.
func TestMachine(t *testing.T) {
	for _, name := range runs {
		for _, c := range read(t, text(t, name)).conns {
			p := machine(c, "local")
			var numbers []string
			for _, l := range p.Layers {
				for _, text := range l.Texts {
					if text.Class == "mid number" {
						numbers = append(numbers, strings.Split(text.Text, ",")...)
					}
				}
			}
			for i := range c.states {
				if !slices.Contains(numbers, fmt.Sprint(i+1)) {
					t.Errorf("%s: step %d, from %s to %s, is not on the figure", name, i+1, c.states[i].From, c.states[i].To)
				}
			}
			if len(numbers) != len(c.states) {
				t.Errorf("%s: %d numbers, %d steps", name, len(numbers), len(c.states))
			}
		}
	}
}

// Sequence numbers go on beyond 32 bits.
func TestSequenceUnwraps(t *testing.T) {
	c := &conn{}
	for i := range 10 {
		l := segmentAt(1, int64(i))
		l.Seq, l.Len = uint32(i)*(1<<29), 1<<20
		c.segments = append(c.segments, l)
		a := segmentAt(1, int64(i))
		a.Dir, a.Ack = "in", l.Seq+uint32(l.Len)
		c.segments = append(c.segments, a)
	}
	q := sequenceOf(c, true)
	if want := int64(9)<<29 + 1<<20; q.top != want || q.bars[9].from != int64(9)<<29 || q.acks[9].seq != want {
		t.Errorf("top %d, want %d", q.top, want)
	}
}

func TestTexts(t *testing.T) {
	for us, want := range map[int64]string{0: "0 µs", 999: "999 µs", 1500: "1.5 ms", 20000: "20 ms", 123456: "123 ms", 1e6: "1 s", 59900000: "59.9 s", 3600e6: "60 min 0 s", -1500: "-1.5 ms"} {
		if got := span(us); got != want {
			t.Errorf("%d: %s, want %s", us, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1\u202f000", 1234567: "1\u202f234\u202f567", math.MaxUint64: "18\u202f446\u202f744\u202f073\u202f709\u202f551\u202f615"} {
		if got := thousands(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
	for _, n := range []num{num(math.NaN()), num(math.Inf(1)), num(math.Inf(-1)), -0.01} {
		if got := n.String(); got != "0" {
			t.Errorf("%v is written %s", float64(n), got)
		}
	}
	if got := clean("plain \"text\" \\"); got != `plain "text" \` {
		t.Error(got)
	}
}
