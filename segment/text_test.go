package segment

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

// goodLines read, and print again as print, or as text where print is empty.
var goodLines = []struct{ text, print string }{
	{"P. 1:1001(1000) ack 1 win 502 <nop,nop,TS val 7 ecr 3>", ""},
	{"S 0:0(0) win 65535 <mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7>", ""},
	{"S. 4294967295:4294967295(0) ack 1 win 65535 <mss 1460>", ""},
	{". 1:1(0) ack 1 win 5 <nop,nop,sack 1001:2001 3001:4001>", ""},
	{". ack 1 win 5 <nop,nop,sack 1001:2001 3001:4001>", ". 0:0(0) ack 1 win 5 <nop,nop,sack 1001:2001 3001:4001>"},
	{"F. 1:1(0) ack 1 win 0", ""},
	{"R 77:77(0) win 0", ""},
	{"none 0:0(0) win 0", ""},
	{"FSRP.UEWe 0:0(0) ack 0 win 0 urg 0", ""},
	{".U 1:3(2) ack 1 win 9 urg 2", ""},
	{". 1:3(2) ack 1 win 9 urg 2", ""},
	{"S 0:0(0) ack 9 win 0", ""},
	{"P. 4294967290:4(10) ack 1 win 1", ""},
	{". 1:1(0) ack 1 win 1 <opt-77 0a0b>", ""},
	{". 1:1(0) ack 1 win 1 <opt-77,opt-255 00>", ""},
	{". 1:1(0) ack 1 win 1 <md5 000102030405060708090a0b0c0d0e0f,nop,nop>", ""},
	{". 1:1(0) ack 1 win 1 <tcp-ao keyid 1 rnextkeyid 2 mac 0a0b0c0d>", ""},
	{". 1:1(0) ack 1 win 1 <tcp-ao keyid 255 rnextkeyid 0>", ""},
	{". 1:1(0) ack 1 win 1 <mptcp capable 0181>", ""},
	{". 1:1(0) ack 1 win 1 <mptcp tcprst 80aa,mptcp subtype-15 f0>", ""},
	{". 1:1(0) ack 1 win 1 <uto 120s,uto 2m>", ""},
	{". 1:1(0) ack 1 win 1 <accecn0 e0b 1 ceb 2 e1b 16777215>", ""},
	{". 1:1(0) ack 1 win 1 <accecn1 e1b 1 ceb 2,accecn1>", ""},
	{". 1:1(0) ack 1 win 1 <exp-253 f989 0a0b,exp-254 e2d4>", ""},
	{"S 0:0(0) win 1 <tfo cookiereq,nop,nop>", ""},
	{"S 0:0(0) win 1 <tfo cookie 0102030405060708>", ""},
	{"S 0:0(0) win 1 <mss 1460,eol>", ""},
	{"S 0:0(0) win 1 <mss 1460,eol,eol,eol>", ""},
	{"S 0:0(0) win 1 <mss 1460,eol,pad 000102>", ""},
	{"S 0:0(0) win 1 <mss 1460,bad 0300ff>", ""},
	{"S 0:0(0) win 1 <opt-2 05,opt-3 0102,opt-4 00,opt-5,opt-8 01,opt-34 01>", ""},
	{"S 0:0(0) win 1 <>", "S 0:0(0) win 1"},
	{"< S 0:0(0) win 1", "S 0:0(0) win 1"},
	{">S 0:0(0) win 1", "S 0:0(0) win 1"},
	{"  .\t1:1(0)   win 1  ack 2 ", ". 1:1(0) ack 2 win 1"},
	{"P. 1:11 ack 1", "P. 1:11(10) ack 1 win 0"},
	{"S", "S 0:0(0) win 0"},
	{".P 7 ack 1", "P. 7:7(0) ack 1 win 0"},
	{"Flags [P.], seq 1:1001, ack 1, win 502, options [nop,nop,TS val 7 ecr 3], length 1000",
		"P. 1:1001(1000) ack 1 win 502 <nop,nop,TS val 7 ecr 3>"},
	{"Flags [S], seq 3500000000, win 64240, options [mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7], length 0",
		"S 3500000000:3500000000(0) win 64240 <mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7>"},
	{"Flags [.], ack 1, win 5, options [nop,nop,sack 2 {1001:2001}{3001:4001}], length 0",
		". 0:0(0) ack 1 win 5 <nop,nop,sack 1001:2001 3001:4001>"},
	{"Flags [S], seq 0, win 1, options [unknown-77 0x0a0b,tfo  cookiereq], length 5", "S 0:5(5) win 1 <opt-77 0a0b,tfo cookiereq>"},
	{"Flags [none], seq 0, win 1, length 0", "none 0:0(0) win 1"},
}

func TestTextIsReadAndPrintedAgain(t *testing.T) {
	for _, line := range goodLines {
		s, _, err := ParseText(line.text)
		if err != nil {
			t.Errorf("ParseText(%q): %v", line.text, err)
			continue
		}
		want := line.print
		if want == "" {
			want = line.text
		}
		if got := s.String(); got != want {
			t.Errorf("%q printed as %q, want %q", line.text, got, want)
		}
	}
}

// badLines are refused at a column, with these words.
var badLines = []struct {
	text   string
	column int
	want   string
}{
	{"", 1, "want flags"},
	{"   ", 4, "want flags"},
	{"> ", 3, "want flags"},
	{"X 1:1(0)", 1, `'X' is not a flag`},
	{"SxF 1:1(0)", 2, `'x' is not a flag`},
	{"SS 1:1(0)", 2, `given twice`},
	{"Flags [S seq 1", 10, `want "]"`},
	{"S 1:x(0)", 5, `want a number, got "x"`},
	{"S -1:0(1)", 3, `want seq, ack, win, urg, length or options, got "-1:0(1)"`},
	{"S 1:1(0", 8, `want ")"`},
	{"S 1:1001(900)", 10, "payload is 900 octets here and 1000 before"},
	{"S 1:1001(1000) length 7", 23, "payload is 7 octets here"},
	{"S 5:4(4294967295)", 5, "payload of 4294967295 octets is more than 65535"},
	{"S 0:65536(65536)", 5, "payload of 65536 octets"},
	{"S 4294967296:0(0)", 3, "4294967296 does not fit 32 bits"},
	{"S 0:0(0) win 65536", 14, "65536 does not fit 16 bits"},
	{"S 0:0(0) win", 13, `want a number, got ""`},
	{"S 0:0(0) ack 1 ack 1", 16, "ack is given twice"},
	{"S 0:0(0) 0:0(0)", 10, "seq is given twice"},
	{"S 0:0(0) wim 5", 10, `want seq, ack, win, urg, length or options, got "wim 5"`},
	{"S 0:0(0) <mss 1460", 11, `want '>' behind the options`},
	{"S 0:0(0) options mss", 18, `want '[' before the options`},
	{"S 0:0(0) <mss 1460> <nop>", 21, "given twice"},
	{"S 0:0(0) <mss 65536>", 15, "does not fit 16 bits"},
	{"S 0:0(0) <mss>", 14, "want a number"},
	{"S 0:0(0) <mss 1 2>", 17, `unexpected "2"`},
	{"S 0:0(0) <nop,,nop>", 15, `"" is not an option`},
	{"S 0:0(0) <wscale 256>", 18, "does not fit 8 bits"},
	{"S 0:0(0) <foo 1>", 11, `"foo" is not an option; an unknown one is written as opt-77 0a0b`},
	{"S 0:0(0) <opt-1>", 11, "wants an option kind from 2 to 255"},
	{"S 0:0(0) <opt-256>", 11, "wants an option kind"},
	{"S 0:0(0) <opt-7 0>", 17, "want octets in hex"},
	{"S 0:0(0) <opt-7 zz>", 17, "want octets in hex"},
	{"S 0:0(0) <TS val 1>", 19, `want "ecr"`},
	{"S 0:0(0) <TS 1 2>", 14, `want "val", got "1"`},
	{"S 0:0(0) <sack>", 15, "want a number"},
	{"S 0:0(0) <sack 1>", 17, `want ":"`},
	{"S 0:0(0) <sack 1 {1:2>", 22, `want "}"`},
	{"S 0:0(0) <sack 1:2 3:4 5:6 7:8 9:10>", 11, "more than 40 octets"},
	{"S 0:0(0) <sack 1:2 1:2 1:2 1:2 1:2 1:2 1:2 1:2>", 15, "more SACK blocks than fit"},
	{"S 0:0(0) <tfo>", 14, "want cookiereq or cookie"},
	{"S 0:0(0) <mptcp join 00>", 17, `subtype is "join", but the data says "capable"`},
	{"S 0:0(0) <uto 5>", 15, "want a user timeout"},
	{"S 0:0(0) <uto 32768s>", 15, "want a user timeout"},
	{"S 0:0(0) <accecn0 e1b 5>", 19, `want "e0b"`},
	{"S 0:0(0) <accecn0 e0b 16777216>", 23, "does not fit 24 bits"},
	{"S 0:0(0) <exp-253 f9>", 18, "want an experiment id"},
	{"S 0:0(0) <exp-253 f98901>", 18, "want an experiment id"},
	{"S 0:0(0) <tcp-ao keyid 1>", 25, `want "rnextkeyid"`},
	{"S 0:0(0) <opt-9 " + strings.Repeat("00", 300) + ">", 11, "more than 40 octets"},
	{"S 0:0(0) <" + strings.Repeat("nop,", 40) + "nop>", 171, "more than 40 octets"},
}

func TestBadTextIsRefusedAtItsColumn(t *testing.T) {
	for _, line := range badLines {
		s, dir, err := ParseText(line.text)
		var textErr *TextError
		if !errors.As(err, &textErr) {
			t.Errorf("ParseText(%q) = %v, %v", line.text, &s, err)
			continue
		}
		if textErr.Column != line.column || !strings.Contains(err.Error(), line.want) {
			t.Errorf("ParseText(%q):\n %v\nwant column %d: … %s", line.text, err, line.column, line.want)
		}
		if dir != NoDirection || s.Flags != 0 {
			t.Errorf("ParseText(%q) returned %v beside the error", line.text, &s)
		}
	}
}

func TestDirection(t *testing.T) {
	for arrow, want := range map[string]Direction{"": NoDirection, "<": In, ">": Out} {
		_, got, err := ParseText(arrow + " . 1:1(0) ack 1")
		if err != nil || got != want || got.String() != arrow {
			t.Errorf("%q: direction %v (%v)", arrow, got, err)
		}
	}
}

func TestRelativeNumbers(t *testing.T) {
	s := Segment{Seq: MakeSeq(5001), Ack: MakeSeq(4294967290), Flags: ACK | PSH, Window: 1, Payload: make([]byte, 10),
		Options: Options{Set: HasSACK, SACKCount: 1, SACK: [4]SACKBlock{{MakeSeq(4), MakeSeq(14)}}}}
	got := string(s.AppendText(nil, Relative{Seq: MakeSeq(5000), Ack: MakeSeq(4294967289)}))
	if want := "P. 1:11(10) ack 1 win 1 <nop,nop,sack 11:21>"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	// Before the base is far behind it, as tcpdump has it.
	got = string(s.AppendText(nil, Relative{Seq: MakeSeq(5002)}))
	if want := "P. 4294967295:9(10) ack 4294967290 win 1 <nop,nop,sack 4:14>"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}

func TestOptionsThatCannotBeSentAreSaidToBe(t *testing.T) {
	s := Segment{Flags: SYN, Options: Options{Set: HasFastOpen, FastOpen: make([]byte, 100)}}
	if got := s.String(); got != "S 0:0(0) win 0 <too long>" {
		t.Errorf("printed %q", got)
	}
}

func TestNoOptionsAndEmptyOptions(t *testing.T) {
	if s, _, err := ParseText("S 0:0(0)"); err != nil || s.Options.Raw != nil {
		t.Errorf("no options: Raw %v, %v", s.Options.Raw, err)
	}
	if s, _, err := ParseText("S 0:0(0) <>"); err != nil || s.Options.Raw == nil || len(s.Options.Raw) != 0 {
		t.Errorf("empty options: Raw %v, %v", s.Options.Raw, err)
	}
}

// Random segments, whose options are drawn so that each notation is met often.
func TestPrintedSegmentsReadAsTheSame(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	kinds := []Kind{KindMSS, KindWindowScale, KindSACKPermitted, KindSACK, KindTimestamps, KindMD5, KindUserTimeout, KindAO,
		KindMPTCP, KindFastOpen, KindAccECN0, KindAccECN1, KindExperiment1, KindExperiment2, 77}
	for range 10000 {
		s := Segment{Seq: MakeSeq(rng.Uint32()), Ack: MakeSeq(rng.Uint32()), Flags: Flags(rng.Uint32()) & allFlags,
			Window: uint16(rng.Uint32()), Urgent: uint16(rng.Uint32()), Payload: make([]byte, rng.IntN(3)*rng.IntN(3000))}
		s.Options.Raw = []byte{}
		for rng.IntN(4) != 0 {
			s.Options.Raw = append(s.Options.Raw, randomOption(rng, kinds[rng.IntN(len(kinds))])...)
		}
		if len(s.Options.Raw) > MaxOptionsLen {
			s.Options.Raw = s.Options.Raw[:MaxOptionsLen]
		}
		s.Options.parse(s.Options.Raw)
		checkText(t, &s)
		s.Options.Raw = nil // and as the fields are laid out
		if s.Options.Len() <= MaxOptionsLen {
			checkText(t, &s)
		}
	}
}

func randomOption(rng *rand.Rand, kind Kind) []byte {
	switch rng.IntN(12) {
	case 0:
		return []byte{byte(KindNOP)}
	case 1:
		return []byte{byte(KindEOL), byte(rng.IntN(2))}
	case 2:
		return []byte{byte(kind), byte(rng.IntN(3))}
	}
	lengths := []int{0, 1, 2, 3, 4, 6, 8, 9, 16, rng.IntN(36)}
	data := make([]byte, lengths[rng.IntN(len(lengths))])
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	return appendOption(nil, kind, data)
}

func TestFlagsText(t *testing.T) {
	for f, want := range map[Flags]string{0: "none", SYN: "S", SYN | ACK: "S.", ACK: ".", PSH | ACK: "P.", FIN | PSH | URG: "FPU",
		RST: "R", ECE | CWR | SYN: "SEW", AE: "e", 0xfe00: "none"} {
		if got := f.String(); got != want {
			t.Errorf("Flags(%#x) = %q, want %q", uint16(f), got, want)
		}
	}
	if !(SYN | ACK).Has(SYN) || (SYN | ACK).Has(SYN|RST) || !(SYN | ACK).Any(SYN|RST) || SYN.Any(RST|FIN) {
		t.Error("Has or Any is wrong")
	}
}

func TestSegmentLength(t *testing.T) {
	for f, want := range map[Flags]int{ACK: 5, SYN: 6, FIN | ACK: 6, SYN | FIN: 7} {
		s := Segment{Seq: MakeSeq(4294967295), Flags: f, Payload: make([]byte, 5)}
		if s.Len() != want || s.End() != MakeSeq(uint32(want-1)) {
			t.Errorf("%v: length %d, end %v", f, s.Len(), s.End())
		}
	}
}

// Times of order: every comparison, from every quadrant of the circle.
func TestSeqOrder(t *testing.T) {
	for _, n := range []uint32{0, 1, 1<<30 - 1, 1 << 30, 1<<31 - 1, 1 << 31, 1<<31 + 1, 3 << 30, 1<<32 - 1} {
		s := MakeSeq(n)
		for _, d := range []int{1, 1460, 65535, 1 << 30, 1<<31 - 1} {
			later := s.Add(d)
			if !s.Less(later) || later.Less(s) || !s.LessEq(later) || later.LessEq(s) || later.Sub(s) != d || s.Sub(later) != -d ||
				later.Add(-d) != s || MaxSeq(s, later) != later || MinSeq(s, later) != s || MaxSeq(later, s) != later || MinSeq(later, s) != s {
				t.Errorf("%v and %d after it", s, d)
			}
			if !s.InWindow(s, d) || later.InWindow(s, d) || !later.Add(-1).InWindow(s, d) || s.Add(-1).InWindow(s, d) {
				t.Errorf("window of %d from %v", d, s)
			}
		}
		if s.Less(s) || !s.LessEq(s) || s.InWindow(s, 0) || s.InWindow(s, -5) || s.Uint32() != n || s.Sub(s) != 0 {
			t.Errorf("%v and itself", s)
		}
		if got := binary.BigEndian.Uint32(binary.BigEndian.AppendUint32(nil, s.Uint32())); MakeSeq(got) != s {
			t.Errorf("%v does not come back", s)
		}
	}
}
