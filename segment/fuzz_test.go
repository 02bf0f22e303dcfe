package segment

import (
	"bytes"
	"testing"
)

// FuzzParse: whatever the bytes, Parse does not panic, and what it reads can be
// written again and reads as the same.
func FuzzParse(f *testing.F) {
	for _, fam := range families {
		for _, set := range optionSets {
			s := sample(fam.src, fam.dst, "payload")
			s.Options = set.o
			f.Add(mustAppend(f, s))
		}
	}
	f.Add(extended(f, destOptions, chain(8)))
	f.Add(mustAppend(f, Segment{Src: v4a, Dst: v4b, Options: Options{Raw: []byte{2, 4, 5, 0xb4, 3, 0, 1, 1}}}))
	f.Add(bytes.Repeat([]byte{0x45}, 64))
	f.Fuzz(func(t *testing.T, pkt []byte) {
		checkParse(t, pkt)
		// Chance seldom finds an IPv4 header checksum: give it a right one.
		if len(pkt) >= IPv4HeaderLen && pkt[0] >= 0x45 && pkt[0] <= 0x4f && int(pkt[0]&15)*4 <= len(pkt) {
			pkt = bytes.Clone(pkt)
			fixIPv4(pkt)
			checkParse(t, pkt)
		}
	})
}

func checkParse(t *testing.T, pkt []byte) {
	var s Segment
	if err := s.Parse(pkt); err != nil {
		if Reason(err) == "other" || Reason(err) == "none" {
			t.Errorf("%v has no name", err)
		}
		return
	}
	checkOptions(t, &s.Options)
	out, err := s.Append(nil)
	if err != nil {
		t.Fatalf("Append(%v): %v", &s, err)
	}
	again := mustParse(t, out)
	want := s
	want.Checksum = ChecksumOK
	if want.TTL == 0 {
		want.TTL = defaultTTL // a segment without a TTL is sent with the default
	}
	if !same(again, want) {
		t.Errorf("parsed  %+v\nwritten %+v", want, again)
	}
	checkText(t, &s)
}

func checkOptions(t *testing.T, o *Options) {
	n := 0
	for range o.All() {
		n++
	}
	if n > MaxOptionsLen || len(o.Raw) > MaxOptionsLen || o.SACKCount > 4 {
		t.Errorf("%d options in %x, %d blocks", n, o.Raw, o.SACKCount)
	}
	o.Malformed()
	o.Duplicates()
	o.MD5()
	o.AO()
	o.MPTCP()
	o.AccECN()
	o.UserTimeout()
	o.Experiment(1)
}

// checkText: what is printed reads as the same segment.
func checkText(t *testing.T, s *Segment) {
	t.Helper()
	line := s.String()
	got, dir, err := ParseText(line)
	if err != nil || dir != NoDirection {
		t.Fatalf("ParseText(%q): %v, direction %v", line, err, dir)
	}
	if want := textual(t, s); !same(got, want) {
		t.Errorf("line %q\nread  %+v\nwant  %+v", line, got, want)
	}
}

// textual is what the notation can say of a segment: TCP's own fields, options
// in wire form, and the payload's length.
func textual(t *testing.T, s *Segment) Segment {
	t.Helper()
	want := Segment{Seq: s.Seq, Ack: s.Ack, Flags: s.Flags & allFlags, Window: s.Window, Urgent: s.Urgent, Payload: make([]byte, len(s.Payload))}
	raw := s.Options.Raw
	if raw == nil {
		raw = make([]byte, s.Options.Len())
		s.Options.put(raw)
	}
	want.Options.parse(raw)
	return want
}

func FuzzParseText(f *testing.F) {
	for _, line := range goodLines {
		f.Add(line.text)
	}
	for _, line := range badLines {
		f.Add(line.text)
	}
	f.Fuzz(func(t *testing.T, line string) {
		s, _, err := ParseText(line)
		if err != nil {
			textErr, ok := err.(*TextError)
			if !ok || textErr.Column < 1 || textErr.Column > len(line)+1 || textErr.Text == "" {
				t.Errorf("ParseText(%q): %v", line, err)
			}
			return
		}
		checkText(t, &s)
	})
}
