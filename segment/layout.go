package segment

import "encoding/binary"

// Pairs of option words that Append writes, aligned to 4 octets as Linux does.
const (
	mssWord          = uint32(KindMSS)<<24 | 4<<16
	sackOKTimestamps = uint32(KindSACKPermitted)<<24 | 2<<16 | uint32(KindTimestamps)<<8 | 10
	nopNopTimestamps = uint32(KindNOP)<<24 | uint32(KindNOP)<<16 | uint32(KindTimestamps)<<8 | 10
	nopNopSACKOK     = uint32(KindNOP)<<24 | uint32(KindNOP)<<16 | uint32(KindSACKPermitted)<<8 | 2
	nopWindowScale   = uint32(KindNOP)<<24 | uint32(KindWindowScale)<<16 | 3<<8
	userTimeoutWord  = uint32(KindUserTimeout)<<24 | 4<<16
	nopNopSACK       = uint32(KindNOP)<<24 | uint32(KindNOP)<<16 | uint32(KindSACK)<<8
)

// Len returns how many octets Append writes for o, padding included: a multiple
// of 4, and more than MaxOptionsLen if they cannot be sent.
func (o *Options) Len() int {
	if o.Raw != nil || o.Set&(HasSACK|HasFastOpen) != 0 {
		return o.variableLen()
	}
	return int(fixedLens[o.Set])
}

// fixedLens are the lengths of all sets of options that have no length of their own.
var fixedLens = func() (lens [256]uint8) {
	for set := range lens {
		o := Options{Set: OptionSet(set)}
		lens[set] = uint8(o.fixedLen())
	}
	return lens
}()

// variableLen is Len for all sets.
func (o *Options) variableLen() int {
	if o.Raw != nil {
		return (len(o.Raw) + 3) &^ 3
	}
	n := o.fixedLen()
	if blocks := o.sackRoom(n); blocks > 0 {
		n += 4 + 8*blocks
	}
	return n
}

// fixedLen is the laid-out length of all options but SACK.
func (o *Options) fixedLen() (n int) {
	if o.Set&HasMSS != 0 {
		n += 4
	}
	if o.Set&HasTimestamps != 0 {
		n += 12
	} else if o.Set&HasSACKPermitted != 0 {
		n += 4
	}
	if o.Set&HasWindowScale != 0 {
		n += 4
	}
	if o.Set&HasFastOpen != 0 {
		n += (2 + len(o.FastOpen) + 3) &^ 3
	}
	if o.Set&HasUserTimeout != 0 {
		n += 4
	}
	return n
}

// sackRoom is how many SACK blocks are sent beside n octets of other options:
// as many as fit, for the timestamps matter more than the last block (RFC 7323
// section 3.2 has them in every segment, RFC 2018 section 3 leaves out blocks).
func (o *Options) sackRoom(n int) int {
	if o.Set&HasSACK == 0 {
		return 0
	}
	return max(0, min(int(o.SACKCount), len(o.SACK), (MaxOptionsLen-n-4)/8))
}

// put writes the options into b, whose length is o.Len(), at most MaxOptionsLen, and
// returns the sum of the words written, so that nobody has to read them back. It
// lays the fields out in the order of a Linux SYN:
// mss,sackOK,TS,nop,wscale, and then the rarer ones; NOPs take the place of what is absent.
func (o *Options) put(b []byte) (sum uint64) {
	if o.Raw != nil {
		return putRaw(b, o.Raw)
	}
	if o.Set&HasMSS != 0 {
		b, sum = putWord(b, sum, mssWord|uint32(o.MSS))
	}
	switch {
	case o.Set&HasTimestamps != 0:
		word := nopNopTimestamps
		if o.Set&HasSACKPermitted != 0 {
			word = sackOKTimestamps
		}
		p := (*[12]byte)(b)
		binary.BigEndian.PutUint64(p[0:], uint64(word)<<32|uint64(o.TSVal))
		binary.BigEndian.PutUint32(p[8:], o.TSEcr)
		b, sum = b[12:], sum+uint64(word)+uint64(o.TSVal)+uint64(o.TSEcr)
	case o.Set&HasSACKPermitted != 0:
		b, sum = putWord(b, sum, nopNopSACKOK)
	}
	if o.Set&HasWindowScale != 0 {
		b, sum = putWord(b, sum, nopWindowScale|uint32(o.WindowScale))
	}
	if len(b) == 0 { // as nearly always
		return sum
	}
	return sum + o.putRare(b)
}

// putRaw is put for options that are laid out already.
func putRaw(b, raw []byte) (sum uint64) {
	n := copy(b, raw)
	clear(b[n:])
	return sumWords(b)
}

// putRare writes the options that stand behind the others.
func (o *Options) putRare(b []byte) (sum uint64) {
	if o.Set&HasFastOpen != 0 {
		n := putCookie(b, o.FastOpen)
		sum += sumWords(b[:n])
		b = b[n:]
	}
	if o.Set&HasUserTimeout != 0 {
		b, sum = putWord(b, sum, userTimeoutWord|uint32(o.UTO))
	}
	// What is left is the room that Len has given to SACK: a word, and two for each block.
	if blocks := len(b) / 8; blocks > 0 {
		b, sum = putWord(b, sum, nopNopSACK|uint32(2+8*blocks))
		for _, block := range o.SACK[:min(blocks, len(o.SACK))] {
			start, end := uint64(block.Start.n), uint64(block.End.n)
			binary.BigEndian.PutUint64(b, start<<32|end)
			b, sum = b[8:], sum+start+end
		}
	}
	return sum
}

// putWord writes a word, adds it to a sum, and returns the room behind it.
func putWord(b []byte, sum uint64, word uint32) ([]byte, uint64) {
	binary.BigEndian.PutUint32(b, word)
	return b[4:], sum + uint64(word)
}

// sumWords adds up big-endian words.
func sumWords(b []byte) (sum uint64) {
	for ; len(b) >= 4; b = b[4:] {
		sum += uint64(binary.BigEndian.Uint32(b))
	}
	return sum
}

// putCookie writes a TFO option with NOPs behind it, and returns their length.
func putCookie(b, cookie []byte) int {
	n := 2 + copy(b[2:], cookie)
	b[0], b[1] = uint8(KindFastOpen), uint8(n)
	for ; n%4 != 0; n++ {
		b[n] = uint8(KindNOP)
	}
	return n
}

// AppendLayout appends the options that have fields in o to dst, in the given
// order, and returns the extended slice, to become Raw. KindNOP and KindEOL in
// order are written where they stand; a kind that o.Set has not, or that has no
// field, is left out, and so is what would go beyond 40 octets: SACK is cut to
// the blocks that fit. Nothing is padded; Append does that.
func AppendLayout(dst []byte, o *Options, order []Kind) []byte {
	start := len(dst)
	for _, kind := range order {
		room := MaxOptionsLen - (len(dst) - start)
		before := len(dst)
		if dst = o.appendOption(dst, kind, room); len(dst)-before > room {
			dst = dst[:before]
		}
	}
	return dst
}

// appendOption appends one option from its field, without padding. room bounds
// only the blocks of SACK.
func (o *Options) appendOption(dst []byte, kind Kind, room int) []byte {
	switch {
	case kind <= KindNOP:
		return append(dst, uint8(kind))
	case kind == KindMSS && o.Has(HasMSS):
		return binary.BigEndian.AppendUint16(append(dst, uint8(kind), 4), o.MSS)
	case kind == KindWindowScale && o.Has(HasWindowScale):
		return append(dst, uint8(kind), 3, o.WindowScale)
	case kind == KindSACKPermitted && o.Has(HasSACKPermitted):
		return append(dst, uint8(kind), 2)
	case kind == KindTimestamps && o.Has(HasTimestamps):
		dst = binary.BigEndian.AppendUint32(append(dst, uint8(kind), 10), o.TSVal)
		return binary.BigEndian.AppendUint32(dst, o.TSEcr)
	case kind == KindFastOpen && o.Has(HasFastOpen) && len(o.FastOpen) < MaxOptionsLen:
		return append(append(dst, uint8(kind), uint8(2+len(o.FastOpen))), o.FastOpen...)
	case kind == KindUserTimeout && o.Has(HasUserTimeout):
		return binary.BigEndian.AppendUint16(append(dst, uint8(kind), 4), o.UTO)
	case kind == KindSACK && o.Has(HasSACK):
		return o.appendSACK(dst, room)
	}
	return dst
}

func (o *Options) appendSACK(dst []byte, room int) []byte {
	blocks := min(int(o.SACKCount), len(o.SACK), (room-2)/8)
	if blocks < 1 {
		return dst
	}
	dst = append(dst, uint8(KindSACK), uint8(2+8*blocks))
	for _, block := range o.SACK[:blocks] {
		dst = binary.BigEndian.AppendUint32(dst, block.Start.n)
		dst = binary.BigEndian.AppendUint32(dst, block.End.n)
	}
	return dst
}
