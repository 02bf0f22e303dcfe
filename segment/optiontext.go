package segment

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"
)

// mptcpSubtypes are the names of the MPTCP subtypes (RFC 8684 section 8.2).
var mptcpSubtypes = [...]string{"capable", "join", "dss", "add-addr", "remove-addr", "prio", "fail", "fastclose", "tcprst"}

// accECNCounters are the counters in the order of kind 172; kind 174 has them
// the other way round (RFC 9768 section 3.2.3).
var accECNCounters = [...]string{"e0b", "ceb", "e1b"}

// AppendText appends the options in the notation of Segment.AppendText, without
// the angle brackets: those of Raw in wire order, or if Raw is nil, what Append
// would lay out. base counts as 0 in SACK blocks.
func (o *Options) AppendText(dst []byte, base Seq) []byte {
	if o.Raw != nil {
		return appendOptions(dst, o.Raw, base)
	}
	n := o.Len()
	if n > MaxOptionsLen {
		return append(dst, "too long"...)
	}
	var laidOut [MaxOptionsLen]byte
	o.put(laidOut[:n])
	return appendOptions(dst, laidOut[:n], base)
}

// String returns the options in text, with absolute numbers.
func (o *Options) String() string { return string(o.AppendText(nil, Seq{})) }

// appendBracketed appends " <…>", or nothing if there are no options.
func (o *Options) appendBracketed(dst []byte, base Seq) []byte {
	if o.Len() == 0 {
		return dst
	}
	return append(o.AppendText(append(dst, " <"...), base), '>')
}

// appendOptions appends every option of raw, and what cannot be read as one:
// octets behind EOL as "eol" if they are zeros and as "pad" if not, an option of
// illegal length and all behind it as "bad".
func appendOptions(dst, raw []byte, base Seq) []byte {
	for first := true; len(raw) > 0; first = false {
		if !first {
			dst = append(dst, ',')
		}
		kind, data, rest, ok := nextOption(raw)
		if !ok {
			return appendHex(append(dst, "bad"...), raw)
		}
		if kind == KindEOL {
			return appendEnd(append(dst, "eol"...), rest)
		}
		dst = appendOptionText(dst, kind, data, base)
		raw = rest
	}
	return dst
}

// appendEnd appends what stands behind the first EOL.
func appendEnd(dst, rest []byte) []byte {
	for _, octet := range rest {
		if octet != 0 {
			return appendHex(append(dst, ",pad"...), rest)
		}
	}
	for range rest {
		dst = append(dst, ",eol"...)
	}
	return dst
}

// appendOptionText appends one option by name if its length is the one its RFC
// gives, and else as "opt-KIND" with its data in hex.
func appendOptionText(dst []byte, kind Kind, data []byte, base Seq) []byte {
	n := len(data)
	switch {
	case kind == KindNOP:
		return append(dst, "nop"...)
	case kind == KindMSS && n == 2:
		return appendField(dst, "mss ", uint64(binary.BigEndian.Uint16(data)))
	case kind == KindWindowScale && n == 1:
		return appendField(dst, "wscale ", uint64(data[0]))
	case kind == KindSACKPermitted && n == 0:
		return append(dst, "sackOK"...)
	case kind == KindSACK && n > 0 && n%8 == 0:
		return appendSACKText(dst, data, base)
	case kind == KindTimestamps && n == 8:
		dst = appendField(dst, "TS val ", uint64(binary.BigEndian.Uint32(data)))
		return appendField(dst, " ecr ", uint64(binary.BigEndian.Uint32(data[4:])))
	case kind == KindFastOpen && n == 0:
		return append(dst, "tfo cookiereq"...)
	case kind == KindFastOpen && legalCookie(data):
		return appendHex(append(dst, "tfo cookie"...), data)
	}
	return appendRareText(dst, kind, data)
}

// appendRareText is appendOptionText for the options without a field.
func appendRareText(dst []byte, kind Kind, data []byte) []byte {
	n := len(data)
	switch {
	case kind == KindMD5 && n == 16:
		return appendHex(append(dst, "md5"...), data)
	case kind == KindAO && n >= 2:
		dst = appendField(dst, "tcp-ao keyid ", uint64(data[0]))
		dst = appendField(dst, " rnextkeyid ", uint64(data[1]))
		if n == 2 {
			return dst
		}
		return appendHex(append(dst, " mac"...), data[2:])
	case kind == KindMPTCP && n > 0:
		return appendHex(appendSubtype(append(dst, "mptcp "...), data[0]>>4), data)
	case kind == KindUserTimeout && n == 2:
		return appendTimeout(dst, binary.BigEndian.Uint16(data))
	case (kind == KindAccECN0 || kind == KindAccECN1) && n%3 == 0 && n <= 9:
		return appendAccECN(dst, kind, data)
	case (kind == KindExperiment1 || kind == KindExperiment2) && n >= 2:
		dst = appendHex(appendField(dst, "exp-", uint64(kind)), data[:2])
		return appendHex(dst, data[2:])
	}
	return appendHex(appendField(dst, "opt-", uint64(kind)), data)
}

// appendHex appends a space and data in hex, or nothing if there is no data.
func appendHex(dst, data []byte) []byte {
	if len(data) == 0 {
		return dst
	}
	return hex.AppendEncode(append(dst, ' '), data)
}

func appendSACKText(dst, data []byte, base Seq) []byte {
	dst = append(dst, "sack"...)
	for ; len(data) >= 8; data = data[8:] {
		dst = append(dst, ' ')
		dst = appendSeq(dst, Seq{binary.BigEndian.Uint32(data)}, base)
		dst = append(dst, ':')
		dst = appendSeq(dst, Seq{binary.BigEndian.Uint32(data[4:])}, base)
	}
	return dst
}

func appendSubtype(dst []byte, subtype uint8) []byte {
	if int(subtype) < len(mptcpSubtypes) {
		return append(dst, mptcpSubtypes[subtype]...)
	}
	return appendField(dst, "subtype-", uint64(subtype))
}

// appendTimeout appends the user timeout, whose top bit says minutes (RFC 5482
// section 3).
func appendTimeout(dst []byte, value uint16) []byte {
	dst = appendField(dst, "uto ", uint64(value&0x7fff))
	if value&0x8000 != 0 {
		return append(dst, 'm')
	}
	return append(dst, 's')
}

func appendAccECN(dst []byte, kind Kind, data []byte) []byte {
	dst = append(dst, "accecn0"...)
	if kind == KindAccECN1 {
		dst[len(dst)-1] = '1'
	}
	for i := 0; 3*i < len(data); i++ {
		dst = append(append(append(dst, ' '), accECNCounter(kind, i)...), ' ')
		dst = strconv.AppendUint(dst, uint64(uint24(data[3*i:])), 10)
	}
	return dst
}

// accECNCounter names the i-th counter of an AccECN option.
func accECNCounter(kind Kind, i int) string {
	if kind == KindAccECN1 {
		i = len(accECNCounters) - 1 - i
	}
	return accECNCounters[i]
}

func uint24(b []byte) uint32 { return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) }
