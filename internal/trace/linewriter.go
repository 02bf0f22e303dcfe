package trace

import (
	"encoding/json"
	"io"
)

// A LineWriter writes JSON Lines at once and one after the other: for what is
// read from a file, where nothing must be lost and the reader may wait.
type LineWriter struct {
	w       io.Writer
	line    writer
	encoder *json.Encoder
}

// NewLineWriter returns a writer of lines to w.
func NewLineWriter(w io.Writer) *LineWriter {
	l := &LineWriter{w: w}
	l.encoder = json.NewEncoder(&l.line)
	l.encoder.SetEscapeHTML(false)
	return l
}

// Write writes one line: printable ASCII, whatever is in v.
func (l *LineWriter) Write(v any) error {
	l.line = l.line[:0]
	if err := l.encoder.Encode(v); err != nil {
		return err
	}
	_, err := l.w.Write(asciiOnly(l.line))
	return err
}
