package trace

import "rawtcp/engine"

// Line writes a line of a command's own, made by line from the t_us of the
// moment at. What line returns must be something that JSON can hold.
func (j *JSONLines) Line(at engine.Time, line func(timeUS int64) any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.write(line(microseconds(j.time.since(at))))
}
