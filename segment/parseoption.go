package segment

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
)

// appendOptionFrom reads one option in the notation of appendOptions and appends
// it to raw as on the wire. An error stays in r.
func appendOptionFrom(raw []byte, r *textReader) []byte {
	offset, name := r.word()
	switch strings.ToLower(name) {
	case "nop":
		return append(raw, uint8(KindNOP))
	case "eol":
		return append(raw, uint8(KindEOL))
	case "pad", "bad":
		return append(raw, r.hex()...)
	case "mss":
		return binary.BigEndian.AppendUint16(append(raw, uint8(KindMSS), 4), uint16(r.number(16)))
	case "wscale":
		return append(raw, uint8(KindWindowScale), 3, uint8(r.number(8)))
	case "sackok":
		return append(raw, uint8(KindSACKPermitted), 2)
	case "sack":
		return appendOption(raw, KindSACK, r.sackBlocks())
	case "ts":
		return appendOption(raw, KindTimestamps, r.timestamps())
	}
	return appendRareFrom(raw, r, offset, name)
}

// appendRareFrom is appendOptionFrom for the options without a field, and for
// those with their kind in their name.
func appendRareFrom(raw []byte, r *textReader, offset int, name string) []byte {
	switch strings.ToLower(name) {
	case "tfo":
		return appendOption(raw, KindFastOpen, r.cookie())
	case "md5":
		return appendOption(raw, KindMD5, r.hex())
	case "tcp-ao":
		return appendOption(raw, KindAO, r.ao())
	case "mptcp":
		return appendOption(raw, KindMPTCP, r.mptcp())
	case "uto":
		return appendOption(raw, KindUserTimeout, r.timeout())
	case "accecn0":
		return appendOption(raw, KindAccECN0, r.accECN(KindAccECN0))
	case "accecn1":
		return appendOption(raw, KindAccECN1, r.accECN(KindAccECN1))
	case "exp-253":
		return appendOption(raw, KindExperiment1, r.experiment())
	case "exp-254":
		return appendOption(raw, KindExperiment2, r.experiment())
	}
	return r.numbered(raw, offset, name)
}

// appendOption appends an option as on the wire. Data too long for its length
// octet is too long for a header as well, and is refused there.
func appendOption(raw []byte, kind Kind, data []byte) []byte {
	return append(append(raw, uint8(kind), uint8(2+len(data))), data...)
}

// numbered reads "opt-77 0a0b", or tcpdump's "unknown-77 0x0a0b".
func (r *textReader) numbered(raw []byte, offset int, name string) []byte {
	prefix, digits, _ := strings.Cut(name, "-")
	kind, err := strconv.ParseUint(digits, 10, 8)
	if prefix != "opt" && prefix != "unknown" {
		r.fail(offset, "%q is not an option; an unknown one is written as opt-77 0a0b", name)
		return raw
	}
	if err != nil || kind <= uint64(KindNOP) {
		r.fail(offset, "%q wants an option kind from 2 to 255", name)
		return raw
	}
	if !r.more() {
		return appendOption(raw, Kind(kind), nil)
	}
	return appendOption(raw, Kind(kind), r.hex())
}

// hex takes octets in hex, at least one; a 0x in front is allowed.
func (r *textReader) hex() []byte {
	offset, word := r.word()
	data, err := hex.DecodeString(strings.TrimPrefix(word, "0x"))
	if err != nil || len(data) == 0 {
		r.fail(offset, "want octets in hex such as 0a0b, got %q", word)
		return nil
	}
	return data
}

// timestamps reads "val 7 ecr 3".
func (r *textReader) timestamps() []byte {
	r.keyword("val")
	data := binary.BigEndian.AppendUint32(nil, uint32(r.number(32)))
	r.keyword("ecr")
	return binary.BigEndian.AppendUint32(data, uint32(r.number(32)))
}

// sackBlocks reads "1:2 3:4", or tcpdump's "2 {1:2}{3:4}".
func (r *textReader) sackBlocks() (data []byte) {
	offset := r.pos
	for count, braces := 0, false; r.err == nil && (len(data) == 0 || r.more()); count++ {
		braces = r.eat('{')
		start := uint32(r.number(32))
		if count == 0 && r.peek() == '{' {
			continue // that was the number of blocks
		}
		if !r.eat(':') {
			r.fail(r.pos, `want ":" between the ends of a SACK block`)
		}
		data = binary.BigEndian.AppendUint32(data, start)
		data = binary.BigEndian.AppendUint32(data, uint32(r.number(32)))
		if braces && !r.eat('}') {
			r.fail(r.pos, `want "}" behind a SACK block`)
		}
		if len(data) > MaxOptionsLen {
			r.fail(offset, "more SACK blocks than fit %d octets", MaxOptionsLen)
		}
	}
	return data
}

// cookie reads "cookiereq" or "cookie 0a0b0c0d".
func (r *textReader) cookie() []byte {
	offset, word := r.word()
	switch word {
	case "cookiereq":
		return nil
	case "cookie":
		return r.hex()
	}
	r.fail(offset, "want cookiereq or cookie, got %q", word)
	return nil
}

// ao reads "keyid 1 rnextkeyid 2 mac 0a0b", the last of which may be absent.
func (r *textReader) ao() []byte {
	r.keyword("keyid")
	data := []byte{uint8(r.number(8))}
	r.keyword("rnextkeyid")
	data = append(data, uint8(r.number(8)))
	if !r.more() {
		return data
	}
	r.keyword("mac")
	return append(data, r.hex()...)
}

// mptcp reads "capable 0102": a subtype, and the data that has it in its first
// four bits.
func (r *textReader) mptcp() []byte {
	offset, name := r.word()
	data := r.hex()
	if len(data) > 0 && string(appendSubtype(nil, data[0]>>4)) != name {
		r.fail(offset, "subtype is %q, but the data says %q", name, appendSubtype(nil, data[0]>>4))
	}
	return data
}

// timeout reads "120s" or "2m".
func (r *textReader) timeout() []byte {
	offset, word := r.word()
	unit := strings.TrimLeft(word, "0123456789")
	n, err := strconv.ParseUint(strings.TrimSuffix(word, unit), 10, 15)
	if err != nil || unit != "s" && unit != "m" {
		r.fail(offset, "want a user timeout up to 32767s or 32767m, got %q", word)
	}
	if unit == "m" {
		n |= 0x8000
	}
	return binary.BigEndian.AppendUint16(nil, uint16(n))
}

// accECN reads "e0b 1 ceb 2 e1b 3", or fewer from the left.
func (r *textReader) accECN(kind Kind) (data []byte) {
	for i := range accECNCounters {
		if !r.more() {
			break
		}
		r.keyword(accECNCounter(kind, i))
		n := r.number(24)
		data = append(data, uint8(n>>16), uint8(n>>8), uint8(n))
	}
	return data
}

// experiment reads "f989 0a0b": the experiment's id and its data, if any.
func (r *textReader) experiment() []byte {
	offset := r.pos
	id := r.hex()
	if len(id) != 2 {
		r.fail(offset, "want an experiment id of 4 hex digits")
	}
	if !r.more() {
		return id
	}
	return slices.Concat(id, r.hex())
}
