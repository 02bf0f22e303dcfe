package segment

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A TextError says where and why ParseText refused a line.
type TextError struct {
	Column int // of the octet in question, from 1
	Text   string
}

func (e *TextError) Error() string { return fmt.Sprintf("column %d: %s", e.Column, e.Text) }

// ParseText reads one line of the notation that AppendText prints, with an
// optional "<" or ">" in front:
//
//	> P. 1:1001(1000) ack 1 win 502 <nop,nop,TS val 7 ecr 3>
//
// Fields may come in any order, and what is not given is zero. tcpdump's
// spelling is read too: Flags [P.], seq 1:1001, ack 1, win 502, options
// [nop,nop,TS val 7 ecr 3], length 1000. Numbers are taken as they stand;
// the payload is zeros of the given length, at most 65535. If options are
// given, "<>" too, Options.Raw holds them in the order written, beside the
// fields. The error is a *TextError.
func ParseText(line string) (Segment, Direction, error) {
	p := textParser{r: &textReader{line: line, end: len(line)}}
	dir := p.direction()
	p.flags()
	for p.r.more() {
		p.field()
	}
	if p.r.err != nil {
		return Segment{}, NoDirection, p.r.err
	}
	if p.length > 0 {
		p.seg.Payload = make([]byte, p.length)
	}
	if p.seg.Options.Raw != nil {
		p.seg.Options.parse(p.seg.Options.Raw)
	}
	return p.seg, dir, nil
}

// textParser builds a segment out of the words of a line.
type textParser struct {
	r      *textReader
	seg    Segment
	length int      // of the payload
	seen   []string // names of the fields met
}

func (p *textParser) direction() Direction {
	switch {
	case p.r.eat('<'):
		return In
	case p.r.eat('>'):
		return Out
	}
	return NoDirection
}

// flags reads "P.", "none", or tcpdump's "Flags [P.],".
func (p *textParser) flags() {
	col, word := p.r.word()
	bracket := word == "Flags" && p.r.eat('[')
	if bracket {
		col, word = p.r.word()
	}
	if word == "" {
		p.r.fail(col, `want flags such as "S", "P." or "none"`)
	}
	for i := 0; i < len(word) && word != "none"; i++ {
		bit := strings.IndexByte(flagLetters, word[i])
		if bit < 0 {
			p.r.fail(col+i, "%q is not a flag; flags are the letters of %s, or none", word[i], flagLetters)
			return
		}
		if p.seg.Flags.Has(1 << bit) {
			p.r.fail(col+i, "flag %q is given twice", word[i])
		}
		p.seg.Flags |= 1 << bit
	}
	if bracket && !p.r.eat(']') {
		p.r.fail(p.r.pos, `want "]" behind the flags`)
	}
}

// field reads one field behind the flags.
func (p *textParser) field() {
	col, name := p.r.pos, ""
	switch c := p.r.peek(); {
	case c == '<':
		name = "<"
	case c >= '0' && c <= '9':
		name = "seq"
	default:
		col, name = p.r.word()
	}
	switch name {
	case "seq":
		p.sequence()
	case "ack":
		p.seg.Ack = Seq{uint32(p.r.number(32))}
	case "win":
		p.seg.Window = uint16(p.r.number(16))
	case "urg":
		p.seg.Urgent = uint16(p.r.number(16))
	case "length":
		p.payloadLength()
	case "<":
		p.options('<', '>')
	case "options":
		p.options('[', ']')
	default:
		p.r.fail(col, "want seq, ack, win, urg, length or options, got %q", p.r.rest(col))
	}
	if slices.Contains(p.seen, name) {
		p.r.fail(col, "%s is given twice", name)
	}
	p.seen = append(p.seen, name)
}

// sequence reads "1:1001(1000)", "1:1001" or "1".
func (p *textParser) sequence() {
	p.seg.Seq = Seq{uint32(p.r.number(32))}
	if !p.r.eat(':') {
		return
	}
	col := p.r.pos
	length := uint32(p.r.number(32)) - p.seg.Seq.n
	p.setLength(col, length)
	if !p.r.eat('(') {
		return
	}
	p.payloadLength()
	if !p.r.eat(')') {
		p.r.fail(p.r.pos, `want ")" behind the payload length`)
	}
}

func (p *textParser) payloadLength() {
	p.r.skip()
	col := p.r.pos
	p.setLength(col, uint32(p.r.number(32)))
}

// setLength takes the payload's length, which a line may tell more than once.
func (p *textParser) setLength(col int, n uint32) {
	if n > maxIPLen {
		p.r.fail(col, "payload of %d octets is more than %d", n, maxIPLen)
		return
	}
	if slices.Contains(p.seen, "payload") && int(n) != p.length {
		p.r.fail(col, "payload is %d octets here and %d before", n, p.length)
	}
	p.seen = append(p.seen, "payload")
	p.length = int(n)
}

// options reads a bracketed, comma-separated list of options into Raw.
func (p *textParser) options(opening, closing byte) {
	if !p.r.eat(opening) {
		p.r.fail(p.r.pos, "want %q before the options", opening)
		return
	}
	start := p.r.pos
	size := strings.IndexByte(p.r.line[start:], closing)
	if size < 0 {
		p.r.fail(start, "want %q behind the options", closing)
		return
	}
	p.r.pos = start + size + 1
	p.seg.Options.Raw = []byte{}
	if strings.TrimSpace(p.r.line[start:start+size]) == "" {
		return
	}
	for from, last := start, false; !last; {
		end := start + size
		if n := strings.IndexByte(p.r.line[from:end], ','); n >= 0 {
			end = from + n
		} else {
			last = true
		}
		p.option(&textReader{line: p.r.line, pos: from, end: end})
		from = end + 1
	}
}

// option reads one option and appends it to Raw.
func (p *textParser) option(r *textReader) {
	start := r.pos
	raw := appendOptionFrom(p.seg.Options.Raw, r)
	if r.more() {
		r.fail(r.pos, "unexpected %q", r.rest(r.pos))
	}
	if r.err == nil && len(raw) > MaxOptionsLen {
		r.fail(start, "options are more than %d octets", MaxOptionsLen)
	}
	if p.r.err == nil {
		p.r.err = r.err
	}
	p.seg.Options.Raw = raw
}

// textReader takes words and numbers off line[pos:end]. The first error stays,
// and ends the reading.
type textReader struct {
	line     string
	pos, end int
	err      error
}

// fail notes an error at an offset in the line.
func (r *textReader) fail(offset int, format string, args ...any) {
	if r.err == nil {
		r.err = &TextError{Column: offset + 1, Text: fmt.Sprintf(format, args...)}
	}
}

// skip passes over blanks, and commas, which separate fields for tcpdump.
func (r *textReader) skip() {
	for r.pos < r.end && strings.IndexByte(" \t,", r.line[r.pos]) >= 0 {
		r.pos++
	}
}

// more reports whether there is anything left to read without an error so far.
func (r *textReader) more() bool {
	r.skip()
	return r.err == nil && r.pos < r.end
}

// peek returns the next octet that is not blank, or 0 at the end.
func (r *textReader) peek() byte {
	r.skip()
	if r.pos == r.end {
		return 0
	}
	return r.line[r.pos]
}

// eat takes c if it is what comes next.
func (r *textReader) eat(c byte) bool {
	if r.peek() != c || r.pos == r.end {
		return false
	}
	r.pos++
	return true
}

// word takes octets up to a blank, comma, colon or bracket, maybe none.
func (r *textReader) word() (offset int, word string) {
	r.skip()
	offset = r.pos
	for r.pos < r.end && strings.IndexByte(" \t,:()[]<>{}", r.line[r.pos]) < 0 {
		r.pos++
	}
	return offset, r.line[offset:r.pos]
}

// number takes an unsigned decimal number of so many bits.
func (r *textReader) number(bits int) uint64 {
	offset, word := r.word()
	n, err := strconv.ParseUint(word, 10, 64)
	switch {
	case err != nil && word == "":
		r.fail(offset, "want a number, got %q", r.rest(offset))
	case err != nil:
		r.fail(offset, "want a number, got %q", word)
	case n >= 1<<bits:
		r.fail(offset, "%d does not fit %d bits", n, bits)
	}
	return n
}

// keyword takes a word that must come next.
func (r *textReader) keyword(want string) {
	if offset, word := r.word(); word != want {
		r.fail(offset, "want %q, got %q", want, word)
	}
}

// rest returns a little of the line from an offset on, for an error message.
func (r *textReader) rest(offset int) string {
	const some = 20
	return r.line[offset:min(r.end, offset+some)]
}
