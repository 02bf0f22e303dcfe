package probe

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"rawtcp/segment"
)

// A change is a field of a segment that did not arrive at a router as it left us.
type change struct {
	field    Field
	from, to string
}

func (c change) String() string { return fmt.Sprintf("%s %s to %s", c.field, c.from, c.to) }

// compareQuote holds what a router quotes of a packet against the packet as it
// left, field by field as far as the quote reaches; whole is false if it ends
// before the options do. A router may quote no more than eight octets of TCP (RFC
// 792) and quotes what had arrived, but for the hop limit and checksums, which are
// not compared: everybody changes them.
func compareQuote(sent, quoted []byte) (changes []change, whole bool) {
	ours, theirs := fieldsOf(sent), fieldsOf(quoted)
	for i, f := range ours.list {
		if i >= len(theirs.list) {
			break
		}
		if g := theirs.list[i]; f.value != g.value {
			changes = append(changes, change{f.field, f.value, g.value})
		}
	}
	if !theirs.whole {
		return changes, false
	}
	changes = append(changes, compareOptions(ours.options, theirs.options)...)
	if n := min(len(ours.payload), len(theirs.payload)); !bytes.Equal(ours.payload[:n], theirs.payload[:n]) {
		changes = append(changes, change{FieldPayload, "what we sent", "something else"})
	}
	return changes, true
}

// A packetFields is a packet taken apart: what stands at fixed places, in order,
// and the rest.
type packetFields struct {
	list    []fieldValue
	whole   bool // with all options
	options segment.Options
	payload []byte
}

type fieldValue struct {
	field Field
	value string
}

func fieldsOf(packet []byte) (p packetFields) {
	add := func(field Field, format string, args ...any) {
		p.list = append(p.list, fieldValue{field, fmt.Sprintf(format, args...)})
	}
	if len(packet) < segment.IPv4HeaderLen {
		return p
	}
	tcp := packet
	if packet[0]>>4 == 4 {
		add(FieldDSCP, "%d", packet[1]>>2)
		add(FieldECN, "%s", ecnName(packet[1]))
		add(FieldIPID, "%d", binary.BigEndian.Uint16(packet[4:]))
		tcp = packet[min(int(packet[0]&15)*4, len(packet)):]
	} else {
		class := packet[0]<<4 | packet[1]>>4
		add(FieldDSCP, "%d", class>>2)
		add(FieldECN, "%s", ecnName(class))
		add(FieldIPID, "0")
		tcp = packet[min(segment.IPv6HeaderLen, len(packet)):]
	}
	if len(tcp) < 8 {
		return p
	}
	add(FieldSeq, "%d", binary.BigEndian.Uint32(tcp[4:]))
	if len(tcp) < segment.TCPHeaderLen {
		return p
	}
	add(FieldAck, "%d", binary.BigEndian.Uint32(tcp[8:]))
	add(FieldReserved, "%d", tcp[12]>>1&7)
	add(FieldFlags, "%s", segment.Flags(tcp[13]))
	add(FieldWindow, "%d", binary.BigEndian.Uint16(tcp[14:]))
	add(FieldUrgent, "%d", binary.BigEndian.Uint16(tcp[18:]))
	end := int(tcp[12]>>4) * 4
	if end < segment.TCPHeaderLen || end > len(tcp) {
		return p
	}
	p.whole, p.options.Raw, p.payload = true, tcp[segment.TCPHeaderLen:end], tcp[end:]
	return p
}

func ecnName(class uint8) string { return [...]string{"Not-ECT", "ECT(1)", "ECT(0)", "CE"}[class&3] }

// compareOptions compares each kind of option, wherever it stands.
func compareOptions(ours, theirs segment.Options) (changes []change) {
	for kind, value := range ours.All() {
		if kind == segment.KindNOP || kind == segment.KindEOL {
			continue
		}
		switch got, there := theirs.Find(kind); {
		case !there:
			changes = append(changes, change{optionField(kind), optionText(kind, value), "nothing"})
		case !bytes.Equal(got, value):
			changes = append(changes, change{optionField(kind), optionText(kind, value), optionText(kind, got)})
		}
	}
	for kind, value := range theirs.All() {
		if _, ours := ours.Find(kind); !ours && kind != segment.KindNOP && kind != segment.KindEOL {
			changes = append(changes, change{FieldOptions, "nothing", optionText(kind, value)})
		}
	}
	return changes
}

func optionField(kind segment.Kind) Field {
	switch kind {
	case segment.KindMSS:
		return FieldMSS
	case segment.KindWindowScale:
		return FieldScale
	case segment.KindSACKPermitted, segment.KindSACK:
		return FieldSACK
	case segment.KindTimestamps:
		return FieldStamps
	}
	return FieldOptions
}

func optionText(kind segment.Kind, value []byte) string {
	switch {
	case kind == segment.KindMSS && len(value) == 2:
		return fmt.Sprint(binary.BigEndian.Uint16(value))
	case kind == segment.KindWindowScale && len(value) == 1:
		return fmt.Sprint(value[0])
	case kind == segment.KindSACKPermitted:
		return "permitted"
	}
	return fmt.Sprintf("option %d: %x", kind, value)
}

// changesText is "mss 1460 to 1300, sack permitted to nothing".
func changesText(changes []change) string {
	var words []string
	for _, c := range changes {
		words = append(words, c.String())
	}
	return strings.Join(words, ", ")
}
