package segment

import (
	"encoding/binary"
	"iter"
)

// Kind is a TCP option kind (IANA registry "TCP Option Kind Numbers").
type Kind uint8

// The option kinds this package knows by name. Others are kept as bytes.
const (
	KindEOL           Kind = 0   // RFC 9293
	KindNOP           Kind = 1   // RFC 9293
	KindMSS           Kind = 2   // RFC 9293
	KindWindowScale   Kind = 3   // RFC 7323
	KindSACKPermitted Kind = 4   // RFC 2018
	KindSACK          Kind = 5   // RFC 2018
	KindTimestamps    Kind = 8   // RFC 7323
	KindMD5           Kind = 19  // RFC 2385
	KindUserTimeout   Kind = 28  // RFC 5482
	KindAO            Kind = 29  // RFC 5925
	KindMPTCP         Kind = 30  // RFC 8684
	KindFastOpen      Kind = 34  // RFC 7413
	KindAccECN0       Kind = 172 // RFC 9768
	KindAccECN1       Kind = 174 // RFC 9768
	KindExperiment1   Kind = 253 // RFC 4727, RFC 6994
	KindExperiment2   Kind = 254 // RFC 4727, RFC 6994
)

// OptionSet says which of the options that have a field in Options are present.
type OptionSet uint8

// The members of an OptionSet.
const (
	HasMSS OptionSet = 1 << iota
	HasWindowScale
	HasSACKPermitted
	HasSACK
	HasTimestamps
	HasFastOpen
	HasUserTimeout
)

// MaxOptionsLen is the room for options in a TCP header, in octets.
const MaxOptionsLen = 40

// A SACKBlock is a received range [Start, End) (RFC 2018 section 3).
type SACKBlock struct{ Start, End Seq }

// Options are the TCP options of one segment.
//
// The options an endpoint acts on have fields, valid only if Set holds their bit.
// Of two of a kind the first counts; one of a length that its RFC does not know
// is passed over. All options, in wire order, are in Raw, which All walks, and
// from which methods read the rarer ones.
// Nothing is allocated: Raw and FastOpen alias the parsed packet.
type Options struct {
	Set         OptionSet
	MSS         uint16       // octets
	WindowScale uint8        // shift count as on the wire, not clamped to 14
	SACKCount   uint8        // valid entries of SACK, 0 to 4
	TSVal       uint32       // timestamp value
	TSEcr       uint32       // timestamp echo reply
	SACK        [4]SACKBlock // SACK[:SACKCount]
	FastOpen    []byte       // TFO cookie; empty is a cookie request
	UTO         uint16       // user timeout as on the wire; UserTimeout and SetUserTimeout know its units

	// Raw is the option area as on the wire. Parse sets it. When Append finds
	// it non-nil it writes these bytes (padded with zeros to a multiple of 4)
	// and ignores the fields above; when nil, it lays the fields out itself.
	Raw []byte
}

// Has reports whether all options of want are present.
func (o *Options) Has(want OptionSet) bool { return o.Set&want == want }

// Blocks returns the SACK blocks, aliasing o.
func (o *Options) Blocks() []SACKBlock { return o.SACK[:o.SACKCount] }

// All walks Raw in wire order and yields each option's kind and its data, which
// follows kind and length and aliases Raw; NOP and EOL have none. It ends behind
// EOL, and before an option of an illegal length, which Malformed tells.
func (o *Options) All() iter.Seq2[Kind, []byte] {
	return func(yield func(Kind, []byte) bool) {
		for raw := o.Raw; len(raw) > 0; {
			kind, data, rest, ok := nextOption(raw)
			if !ok || !yield(kind, data) || kind == KindEOL {
				return
			}
			raw = rest
		}
	}
}

// Find returns the data of the first option of a kind in Raw, aliasing it.
func (o *Options) Find(kind Kind) (data []byte, ok bool) {
	for k, data := range o.All() {
		if k == kind {
			return data, true
		}
	}
	return nil, false
}

// Malformed reports whether Raw has an option of length 0 or 1, or one that
// reaches past the end. What stands before it counts, what follows cannot be read.
func (o *Options) Malformed() bool {
	for raw := o.Raw; len(raw) > 0; {
		kind, _, rest, ok := nextOption(raw)
		if !ok {
			return true
		}
		if kind == KindEOL {
			return false
		}
		raw = rest
	}
	return false
}

// Duplicates returns how many options in Raw repeat the kind of an earlier one.
// NOP does not count, nor do MPTCP and the experimental kinds, of which
// a segment may carry several (RFC 8684, RFC 6994).
func (o *Options) Duplicates() (n int) {
	var seen [256]bool
	for kind := range o.All() {
		switch kind {
		case KindNOP, KindMPTCP, KindExperiment1, KindExperiment2:
			continue
		}
		if seen[kind] {
			n++
		}
		seen[kind] = true
	}
	return n
}

// nextOption takes the first option off raw, which is not empty. ok is false if
// its length is illegal.
func nextOption(raw []byte) (kind Kind, data, rest []byte, ok bool) {
	kind = Kind(raw[0])
	if kind <= KindNOP {
		return kind, nil, raw[1:], true
	}
	if len(raw) < 2 || raw[1] < 2 || int(raw[1]) > len(raw) {
		return kind, nil, nil, false
	}
	return kind, raw[2:raw[1]], raw[raw[1]:], true
}

// parse fills o from an option area.
func (o *Options) parse(raw []byte) {
	*o = Options{Raw: raw}
	if len(raw) > 0 {
		o.Set = o.readWords(raw)
	}
}

// readWords reads an option area as nearly everybody lays it out, by the words
// that Append writes, and what is laid out in another way, or comes twice, option
// by option.
func (o *Options) readWords(raw []byte) (set OptionSet) {
	for len(raw) >= 4 {
		word := binary.BigEndian.Uint32(raw)
		switch {
		case (word == nopNopTimestamps || word == sackOKTimestamps) && len(raw) >= 12 && set&HasTimestamps == 0:
			if set |= HasTimestamps; word == sackOKTimestamps {
				set |= HasSACKPermitted
			}
			o.TSVal = binary.BigEndian.Uint32(raw[4:])
			o.TSEcr = binary.BigEndian.Uint32(raw[8:])
			raw = raw[12:]
		case word&^0xff == nopNopSACK && sackLen(word, len(raw)) && set&HasSACK == 0:
			set |= HasSACK
			n := 2 + int(word&0xff)
			o.readSACK(raw[4:n])
			raw = raw[n:]
		case word&^0xffff == mssWord && set&HasMSS == 0:
			set |= HasMSS
			o.MSS = uint16(word)
			raw = raw[4:]
		case word&^0xff == nopWindowScale && set&HasWindowScale == 0:
			set |= HasWindowScale
			o.WindowScale = uint8(word)
			raw = raw[4:]
		default:
			return o.readOptions(raw, set)
		}
	}
	if len(raw) > 0 {
		set = o.readOptions(raw, set)
	}
	return set
}

// sackLen reports whether a word that begins with NOP, NOP and SACK has the length
// of whole blocks, of which all are in an option area with so many octets left.
func sackLen(word uint32, left int) bool {
	n := int(word & 0xff)
	return n%8 == 2 && n > 2 && n+2 <= left
}

// readOptions reads one option after another and returns set with what was found.
func (o *Options) readOptions(raw []byte, set OptionSet) OptionSet {
	for len(raw) > 0 {
		kind := Kind(raw[0])
		if kind == KindNOP {
			raw = raw[1:]
			continue
		}
		if kind == KindEOL || len(raw) < 2 || raw[1] < 2 || int(raw[1]) > len(raw) {
			break
		}
		data := raw[2:raw[1]]
		raw = raw[raw[1]:]
		switch {
		case kind == KindMSS && len(data) == 2 && set&HasMSS == 0:
			set |= HasMSS
			o.MSS = binary.BigEndian.Uint16(data)
		case kind == KindSACKPermitted && len(data) == 0:
			set |= HasSACKPermitted
		case kind == KindTimestamps && len(data) == 8 && set&HasTimestamps == 0:
			set |= HasTimestamps
			o.TSVal = binary.BigEndian.Uint32(data)
			o.TSEcr = binary.BigEndian.Uint32(data[4:])
		case kind == KindWindowScale && len(data) == 1 && set&HasWindowScale == 0:
			set |= HasWindowScale
			o.WindowScale = data[0]
		case kind == KindSACK && len(data)%8 == 0 && len(data) > 0 && set&HasSACK == 0:
			set |= HasSACK
			o.readSACK(data)
		case kind == KindFastOpen && legalCookie(data) && set&HasFastOpen == 0:
			set |= HasFastOpen
			o.FastOpen = data
		case kind == KindUserTimeout && len(data) == 2 && set&HasUserTimeout == 0:
			set |= HasUserTimeout
			o.UTO = binary.BigEndian.Uint16(data)
		}
	}
	return set
}

// readSACK takes the blocks, of which no more than 4 fit into a header.
func (o *Options) readSACK(data []byte) {
	n := 0
	for ; len(data) >= 8 && n < len(o.SACK); n++ {
		block := binary.BigEndian.Uint64(data)
		o.SACK[n] = SACKBlock{Seq{uint32(block >> 32)}, Seq{uint32(block)}}
		data = data[8:]
	}
	o.SACKCount = uint8(n)
}

// legalCookie says whether data is a TFO cookie request or a cookie of 4 to 16
// octets, an even number (RFC 7413 section 4.1.1).
func legalCookie(data []byte) bool {
	return len(data) == 0 || len(data) >= 4 && len(data) <= 16 && len(data)%2 == 0
}
