package dossier

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"rawtcp/internal/probe"
)

// A Run is a battery that has been run, as its JSON Lines tell it.
type Run struct {
	Target string       // address and port
	Print  string       // of the stack; empty: not told
	Rows   []probe.Line // in the order of the lines
}

// maxLine bounds a line of a saved run, in octets.
const maxLine = 16 << 20

// ErrNoRun is why a file is no saved run.
var ErrNoRun = errors.New("no rows of rawtcp probe --json in it")

// Read reads the JSON Lines of a run. Lines of other types are passed over.
func Read(r io.Reader) (*Run, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	run := &Run{}
	for n := 1; lines.Scan(); n++ {
		if err := run.take(lines.Bytes()); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(run.Rows) == 0 {
		return nil, ErrNoRun
	}
	return run, nil
}

func (run *Run) take(line []byte) error {
	var head struct {
		Type  string
		Probe struct{ Print string }
	}
	if err := json.Unmarshal(line, &head); err != nil {
		return err
	}
	switch head.Type {
	case "row":
		var row probe.Line
		if err := json.Unmarshal(line, &row); err != nil {
			return err
		}
		run.Rows = append(run.Rows, row)
		run.Target = row.Target
	case "summary":
		run.Print = head.Probe.Print
	}
	return nil
}
