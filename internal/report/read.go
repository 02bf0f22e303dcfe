package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"rawtcp/internal/trace"
)

// maxLine is the longest line of JSON that is read, in octets.
const maxLine = 1 << 20

// latest is the greatest time that a line may have, in microseconds: what
// JavaScript can count to, 285 years.
const latest = 1<<53 - 1

// ErrFormat says that the input is no JSON Lines of a run. The error that wraps
// it names the line.
var ErrFormat = errors.New("not JSON Lines of rawtcp")

// Read reads the JSON Lines of a run or of explain and adds them to r. It reads
// in bounded memory. Lines of a type it does not know are passed over. A last
// line that was cut off, as that of a program that was killed, is no error: the
// page tells of it.
func (r *Run) Read(in io.Reader) error {
	tail := &tailReader{in: in}
	scan := bufio.NewScanner(tail)
	scan.Buffer(make([]byte, 0, 64<<10), maxLine)
	n := 0
	for scan.Scan() {
		n++
		text := bytes.TrimSpace(scan.Bytes())
		if len(text) == 0 {
			continue
		}
		line, err := parseLine(text)
		if err != nil && n > 1 && text[0] == '{' && tail.last != '\n' && isHalf(text) && !scan.Scan() && scan.Err() == nil {
			r.source().cut = n
			return nil
		}
		if err != nil {
			return fmt.Errorf("line %d: %w: %w", n, ErrFormat, err)
		}
		r.Add(line)
	}
	if err := scan.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("line %d: %w: longer than %d octets", n+1, ErrFormat, maxLine)
	} else if err != nil {
		return err
	}
	return nil
}

// isHalf reports whether a line ends before its JSON does.
func isHalf(text []byte) bool {
	var v json.RawMessage
	return errors.Is(json.NewDecoder(bytes.NewReader(text)).Decode(&v), io.ErrUnexpectedEOF)
}

// A tailReader knows the last octet that was read from it.
type tailReader struct {
	in   io.Reader
	last byte
}

// Read implements io.Reader.
func (t *tailReader) Read(b []byte) (int, error) {
	n, err := t.in.Read(b)
	if n > 0 {
		t.last = b[n-1]
	}
	return n, err
}

// parseLine returns the line as a value of package trace, or nil for a type
// that no report shows.
func parseLine(text []byte) (any, error) {
	var head struct {
		Type, Schema, Command string
		TimeUS                int64 `json:"t_us"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, inWords(err)
	}
	if head.TimeUS < 0 || head.TimeUS > latest {
		return nil, fmt.Errorf("t_us is %d; want a time from 0 to %d", head.TimeUS, int64(latest))
	}
	switch head.Type {
	case "start":
		if head.Schema != trace.Schema {
			return nil, fmt.Errorf("schema %q; want %q", clean(head.Schema), trace.Schema)
		}
		if head.Command == "explain" {
			return decode[trace.CaptureStart](text)
		}
		return decode[trace.Start](text)
	case "segment":
		return segmentOf(text)
	case "state":
		return decode[trace.StateLine](text)
	case "timer":
		return timerOf(text)
	case "icmp":
		return decode[trace.ICMPLine](text)
	case "connection":
		return decode[trace.ConnectionLine](text)
	case "finding":
		return decode[trace.FindingLine](text)
	case "summary":
		return decode[trace.Summary](text)
	case "error":
		return decode[trace.ErrorLine](text)
	case "":
		return nil, errors.New("no type")
	}
	return nil, nil
}

func decode[T any](text []byte) (any, error) {
	var v T
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, inWords(err)
	}
	return v, nil
}

func segmentOf(text []byte) (any, error) {
	var l trace.SegmentLine
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, inWords(err)
	}
	switch {
	case l.Dir != "in" && l.Dir != "out":
		return nil, fmt.Errorf("dir is %q; want in or out", clean(l.Dir))
	case l.Len < 0 || l.Len > 1<<20:
		return nil, fmt.Errorf("len is %d; want what fits a segment", l.Len)
	case l.WScale > 14:
		return nil, fmt.Errorf("wscale is %d; want at most 14", l.WScale)
	}
	return l, nil
}

func timerOf(text []byte) (any, error) {
	var l trace.TimerLine
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, inWords(err)
	}
	if l.DueUS != nil && (*l.DueUS < 0 || *l.DueUS > latest) {
		return nil, fmt.Errorf("due_us is %d; want a time from 0 to %d", *l.DueUS, int64(latest))
	}
	return l, nil
}

// inWords says what is wrong with a line without the names of Go's types.
func inWords(err error) error {
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Errorf("%s cannot be a %s", clean(kind.Field), clean(kind.Value))
	case errors.As(err, &kind):
		return errors.New("no JSON object")
	case errors.As(err, &syntax):
		return fmt.Errorf("no JSON at octet %d", syntax.Offset)
	}
	return errors.New(clean(err.Error()))
}
