package segment

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// parsed reads an option area, through a packet if it can be in one.
func parsed(t *testing.T, raw []byte) Options {
	t.Helper()
	s := sample(v4a, v4b, "")
	s.Options = Options{Raw: raw}
	return mustParse(t, mustAppend(t, s)).Options
}

func TestIllegalOptionLengthEndsTheOptions(t *testing.T) {
	mss := []byte{2, 4, 5, 0xb4}
	tests := []struct {
		name string
		tail []byte
	}{
		{"length 0", []byte{3, 0, 7, 4, 2, 0, 0, 0}},
		{"length 1", []byte{3, 1, 7, 4, 2, 0, 0, 0}},
		{"length past the end", []byte{3, 9, 7, 4, 2, 1, 1, 1}},
		{"length 255", []byte{77, 255, 4, 2}},
		{"kind as the last octet", []byte{1, 1, 1, 3}},
	}
	for _, tt := range tests {
		o := parsed(t, append(slices.Clone(mss), tt.tail...))
		if !o.Malformed() || o.Set != HasMSS || o.MSS != 1460 {
			t.Errorf("%s: malformed %v, set %b, MSS %d; want true and the MSS alone", tt.name, o.Malformed(), o.Set, o.MSS)
		}
		kinds := 0
		for range o.All() {
			kinds++
		}
		if kinds > 4 {
			t.Errorf("%s: All went on to %d options", tt.name, kinds)
		}
	}
}

func TestGoodOptionsAreNotMalformed(t *testing.T) {
	for _, set := range optionSets {
		s := sample(v4a, v4b, "")
		s.Options = set.o
		o := mustParse(t, mustAppend(t, s)).Options
		if o.Malformed() || o.Duplicates() != 0 {
			t.Errorf("%s: malformed %v, %d duplicates", set.name, o.Malformed(), o.Duplicates())
		}
	}
}

func TestFortyOptionsAtOddPlaces(t *testing.T) {
	tests := map[string][]byte{
		"20 unknown options":       bytes.Repeat([]byte{77, 2}, 20),
		"unknown, then MSS at odd": {1, 99, 5, 1, 2, 3, 2, 4, 5, 0xb4, 0, 0},
		"40 NOPs":                  bytes.Repeat([]byte{1}, 40),
		"EOL, then garbage":        {2, 4, 5, 0xb4, 0, 3, 0, 255, 8, 1, 1, 9},
		"EOL at once":              {0, 2, 4, 5, 0xb4, 0, 0, 0},
		"EOL before an MSS":        {0, 2, 2, 4, 5, 0xb4, 1, 1},
	}
	want := map[string]bool{"unknown, then MSS at odd": true, "EOL, then garbage": true}
	for name, raw := range tests {
		o := parsed(t, raw)
		if o.Malformed() || o.Has(HasMSS) != want[name] || want[name] && o.MSS != 1460 {
			t.Errorf("%s: malformed %v, set %b, MSS %d", name, o.Malformed(), o.Set, o.MSS)
		}
		if !bytes.Equal(o.Raw, raw) {
			t.Errorf("%s: Raw is %x", name, o.Raw)
		}
	}
}

func TestOptionsOfTheWrongLengthArePassedOver(t *testing.T) {
	tests := map[string][]byte{
		"MSS of 3":                  {2, 3, 5, 1},
		"MSS of 5":                  {2, 5, 5, 0xb4, 0, 1, 1, 1},
		"window scale of 2":         {3, 2, 1, 1},
		"window scale of 4":         {3, 4, 1, 1},
		"SACK-permitted of 3":       {4, 3, 0, 1},
		"timestamps of 9":           {8, 9, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1},
		"timestamps of 12":          {8, 12, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1},
		"SACK of no blocks":         {5, 2, 1, 1},
		"SACK of a block and a bit": {5, 11, 0, 0, 0, 1, 0, 0, 0, 2, 9, 1},
		"SACK of 5":                 {5, 5, 1, 1, 1, 1, 1, 1},
		"TFO cookie of 2":           {34, 4, 1, 2},
		"TFO cookie of 5":           {34, 7, 1, 2, 3, 4, 5, 1},
		"TFO cookie of 18":          append([]byte{34, 20}, make([]byte, 18)...),
	}
	for name, raw := range tests {
		if o := parsed(t, raw); o.Set != 0 || o.Malformed() {
			t.Errorf("%s: set %b, malformed %v", name, o.Set, o.Malformed())
		}
	}
}

// Options that are read by words say the same as when they are read one by one,
// however they are mixed, cut off, repeated or wrong.
func TestOptionsByWordsAreAsOneByOne(t *testing.T) {
	pieces := [][]byte{
		{2, 4, 5, 0xb4}, {2, 3, 5, 1}, {1, 3, 3, 7}, {1, 3, 2, 1}, {1, 1, 4, 2}, {4, 2}, {1}, {0}, {77, 3, 1}, {34, 6, 1, 2, 3, 4}, {28, 4, 0, 9}, {3, 0}, {8, 11},
		{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}, {4, 2, 8, 10, 0, 0, 0, 3, 0, 0, 0, 4}, {1, 1, 8, 9, 0, 0, 0, 1, 0, 0, 0, 2},
		{1, 1, 5, 2}, {1, 1, 5, 3}, {1, 1, 5, 9}, {1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2}, {1, 1, 5, 18, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4}, {1, 1, 5, 34}, {1, 1, 5, 42},
	}
	rng := rand.New(rand.NewPCG(5, 5))
	for range 200_000 {
		var raw []byte
		for range rng.IntN(6) {
			raw = append(raw, pieces[rng.IntN(len(pieces))]...)
		}
		raw = slices.Clip(raw[:min(len(raw), MaxOptionsLen, rng.IntN(80))])
		var got Options
		got.parse(raw)
		want := Options{Raw: raw}
		want.Set = want.readOptions(raw, 0)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%x: by words %+v, one by one %+v", raw, got, want)
		}
	}
}

// Five blocks of 8 octets and a header of 2 are 42: they can only be told, not
// sent, and tell a liar.
func TestSACKOfFiveBlocks(t *testing.T) {
	var o Options
	o.parse(append([]byte{5, 42}, make([]byte, 40)...))
	if o.SACKCount > 4 {
		t.Errorf("%d blocks", o.SACKCount)
	}
	o.Blocks()
}

func TestFirstOfTwoOptionsWins(t *testing.T) {
	o := parsed(t, []byte{2, 4, 0, 100, 2, 4, 0, 200, 3, 3, 5, 3, 3, 6, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 8, 10, 0, 0, 0, 3, 0, 0, 0, 4, 1, 1})
	if o.MSS != 100 || o.WindowScale != 5 || o.TSVal != 1 || o.TSEcr != 2 {
		t.Errorf("parsed %+v", o)
	}
	if n := o.Duplicates(); n != 3 {
		t.Errorf("%d duplicates, want 3", n)
	}
	o = parsed(t, []byte{5, 10, 0, 0, 0, 1, 0, 0, 0, 2, 5, 10, 0, 0, 0, 3, 0, 0, 0, 4, 34, 6, 1, 1, 1, 1, 34, 6, 2, 2, 2, 2})
	if o.SACK[0].Start != MakeSeq(1) || o.SACKCount != 1 || o.FastOpen[0] != 1 || o.Duplicates() != 2 {
		t.Errorf("parsed %+v", o)
	}
	// One that cannot be read is not the first of its kind.
	if o := parsed(t, []byte{2, 3, 9, 2, 4, 0, 200, 1}); o.MSS != 200 {
		t.Errorf("MSS %d after a broken one, want 200", o.MSS)
	}
}

func TestOptionsThatMayRepeat(t *testing.T) {
	o := parsed(t, []byte{30, 3, 0x20, 30, 3, 0x30, 254, 4, 1, 2, 254, 4, 3, 4, 1, 1})
	if n := o.Duplicates(); n != 0 {
		t.Errorf("%d duplicates", n)
	}
}

func TestWindowScaleIsNotClamped(t *testing.T) {
	for _, scale := range []uint8{0, 14, 15, 255} {
		if o := parsed(t, []byte{3, 3, scale, 1}); o.WindowScale != scale {
			t.Errorf("shift %d came as %d", scale, o.WindowScale)
		}
	}
}

func TestMSSIsNotClamped(t *testing.T) {
	for _, mss := range []uint16{0, 1, 7, 48, 65535} {
		if o := parsed(t, []byte{2, 4, byte(mss >> 8), byte(mss)}); o.MSS != mss || !o.Has(HasMSS) {
			t.Errorf("MSS %d came as %d", mss, o.MSS)
		}
	}
}

func TestAllWalksInWireOrder(t *testing.T) {
	o := parsed(t, []byte{4, 2, 1, 3, 3, 7, 77, 4, 9, 9, 0, 1})
	want := []struct {
		kind Kind
		data []byte
	}{{KindSACKPermitted, []byte{}}, {KindNOP, nil}, {KindWindowScale, []byte{7}}, {77, []byte{9, 9}}, {KindEOL, nil}}
	i := 0
	for kind, data := range o.All() {
		if i >= len(want) || kind != want[i].kind || !bytes.Equal(data, want[i].data) {
			t.Fatalf("option %d is %d %x", i, kind, data)
		}
		i++
	}
	if i != len(want) {
		t.Errorf("%d options, want %d", i, len(want))
	}
	for range o.All() {
		break // a caller may leave
	}
	if data, ok := o.Find(77); !ok || !bytes.Equal(data, []byte{9, 9}) {
		t.Errorf("Find(77) = %x, %v", data, ok)
	}
	if _, ok := o.Find(78); ok {
		t.Error("Find(78) found something")
	}
}

func TestRareOptions(t *testing.T) {
	digest := []byte("0123456789abcdef")
	o := parsed(t, append([]byte{19, 18}, digest...))
	if got, ok := o.MD5(); !ok || !bytes.Equal(got, digest) {
		t.Errorf("MD5 = %x, %v", got, ok)
	}
	o = parsed(t, []byte{29, 6, 1, 2, 0xaa, 0xbb, 28, 4, 0x80, 2, 1, 1})
	if ao, ok := o.AO(); !ok || ao.KeyID != 1 || ao.RNextKeyID != 2 || !bytes.Equal(ao.MAC, []byte{0xaa, 0xbb}) {
		t.Errorf("AO = %+v, %v", ao, ok)
	}
	if seconds, ok := o.UserTimeout(); !ok || seconds != 120 {
		t.Errorf("user timeout = %d, %v", seconds, ok)
	}
	o = parsed(t, []byte{30, 4, 0x01, 0x81, 28, 4, 0x7f, 0xff, 253, 6, 0xf9, 0x89, 5, 6, 254, 4, 0xe2, 0xd4, 1, 1})
	if option, ok := o.MPTCP(); !ok || option.Subtype != 0 || !bytes.Equal(option.Data, []byte{1, 0x81}) {
		t.Errorf("MPTCP = %+v, %v", option, ok)
	}
	if seconds, ok := o.UserTimeout(); !ok || seconds != 32767 {
		t.Errorf("user timeout = %d, %v", seconds, ok)
	}
	if data, ok := o.Experiment(0xf989); !ok || !bytes.Equal(data, []byte{5, 6}) {
		t.Errorf("experiment f989 = %x, %v", data, ok)
	}
	if data, ok := o.Experiment(0xe2d4); !ok || len(data) != 0 {
		t.Errorf("experiment e2d4 = %x, %v", data, ok)
	}
	if _, ok := o.Experiment(1); ok {
		t.Error("experiment 1 found")
	}
}

func TestAccECN(t *testing.T) {
	tests := []struct {
		raw  []byte
		want AccECN
	}{
		{[]byte{172, 11, 0, 0, 1, 0, 0, 2, 1, 0, 0, 1}, AccECN{ECT0: 1, CE: 2, ECT1: 1 << 16, Kind: KindAccECN0, Count: 3}},
		{[]byte{174, 11, 0, 0, 1, 0, 0, 2, 0, 0, 3, 1}, AccECN{ECT1: 1, CE: 2, ECT0: 3, Kind: KindAccECN1, Count: 3}},
		{[]byte{174, 5, 0, 0, 9, 1, 1, 1}, AccECN{ECT1: 9, Kind: KindAccECN1, Count: 1}},
		{[]byte{172, 8, 0, 0, 9, 0, 0, 8}, AccECN{ECT0: 9, CE: 8, Kind: KindAccECN0, Count: 2}},
		{[]byte{172, 2, 1, 1}, AccECN{Kind: KindAccECN0}},
	}
	for _, tt := range tests {
		o := parsed(t, tt.raw)
		if got, ok := o.AccECN(); !ok || got != tt.want {
			t.Errorf("%x: %+v, %v, want %+v", tt.raw, got, ok, tt.want)
		}
	}
}

// Malformed security and multipath options must not be read beyond their ends.
func TestRareOptionsOfTheWrongLength(t *testing.T) {
	for _, raw := range [][]byte{
		nil,
		{19, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1},
		append([]byte{19, 20}, make([]byte, 18)...),
		{29, 2, 1, 1}, {29, 3, 9, 1}, {30, 2, 1, 1}, {172, 3, 1, 1}, {172, 14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1},
		{253, 2, 1, 1}, {254, 3, 1, 1}, {28, 3, 1, 1}, {28, 5, 1, 1, 1, 1, 1, 1},
		{19, 0, 29, 1}, {29, 255, 1, 1},
	} {
		o := parsed(t, raw)
		_, md5 := o.MD5()
		_, ao := o.AO()
		_, mptcp := o.MPTCP()
		_, acc := o.AccECN()
		_, uto := o.UserTimeout()
		_, exp := o.Experiment(0)
		if md5 || ao || mptcp || acc || uto || exp {
			t.Errorf("%x was read: md5 %v, ao %v, mptcp %v, accecn %v, timeout %v, experiment %v", raw, md5, ao, mptcp, acc, uto, exp)
		}
	}
}

func TestUserTimeoutIsInSecondsWhileTheyFit(t *testing.T) {
	for _, tt := range []struct{ seconds, want int }{
		{0, 1}, {1, 1}, {300, 300}, {32767, 32767}, {32768, 547 * 60}, {36000, 600 * 60}, {1 << 30, 32767 * 60},
	} {
		var o Options
		o.SetUserTimeout(tt.seconds)
		var laidOut [8]byte
		o.put(laidOut[:o.Len()])
		got := parsed(t, laidOut[:o.Len()])
		if seconds, ok := got.UserTimeout(); !ok || seconds != tt.want {
			t.Errorf("%d s came back as %d, %v, want %d", tt.seconds, seconds, ok, tt.want)
		}
		listed := parsed(t, AppendLayout(nil, &o, []Kind{KindUserTimeout}))
		if listed.UTO != o.UTO {
			t.Errorf("%d s in a list of options: %#x, want %#x", tt.seconds, listed.UTO, o.UTO)
		}
	}
}
