package sim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"rawtcp/engine"
)

// An Ending is how an application ends its talk.
type Ending uint8

// The endings. All but the first may cost data, by RFC 9293 section 3.6.1.
const (
	endOrderly Ending = iota // all is sent, a FIN, all is read, Close
	endClose                 // Close once all is handed over, read or not
	endCloseAt               // Close at a moment
	endAbortAt               // Abort at a moment
	numEndings
)

// An App is what one side does with its connection.
type App struct {
	Send      int           // octets in all
	Chunk     int           // octets of one write
	Pause     time.Duration // between writes
	ReadChunk int           // octets of one read
	ReadPause time.Duration // between reads
	ReadFrom  time.Duration // reads nothing before, since the start of the run
	WaitEnd   bool          // writes only when the peer has ended
	Turns     bool          // writes a chunk for each chunk of the peer
	First     bool          // with Turns: begins
	End       Ending
	At        time.Duration // of endCloseAt and endAbortAt
}

// String tells the application to a person.
func (a App) String() string {
	return fmt.Sprintf("sends %d by %d every %v, reads by %d every %v from %v; waits %t turns %t first %t; ending %d at %v",
		a.Send, a.Chunk, a.Pause, a.ReadChunk, a.ReadPause, a.ReadFrom, a.WaitEnd, a.Turns, a.First, a.End, a.At)
}

// An end is one application at its end of a talk.
type end struct {
	w          *world
	at         *host
	side, talk int
	app        *App
	peerApp    *App
	c          *engine.Conn
	began      time.Duration // when c came
	sent, read int
	eof        bool
	err        error // its terminal result, if it is not eof
	shut       bool  // CloseWrite was called
	closed     bool  // Close or Abort was called
	settled    bool
	dirty      bool // waits in the world's list
	writeAt    time.Duration
	readAt     time.Duration
	wakeAt     time.Duration // when work is planned
}

// adopt takes the connection that was dialled or accepted.
func (e *end) adopt(c *engine.Conn) {
	e.c, e.began = c, e.w.now
	e.settled = c.State() == engine.Closed // while it waited to be accepted
	c.OnEvent = func(ev engine.ConnEvents) {
		if e.settled {
			e.w.fail("I26: talk %d, host %d: event %d after the end", e.talk, e.at.id, ev)
		}
		if ev&engine.Connected != 0 && e.side == e.w.plan.Talks[e.talk].Opener {
			e.w.opened++
		}
		if ev&engine.Settled != 0 {
			e.settled = true
		}
		e.touch()
	}
	e.touch()
}

func (e *end) touch() {
	if !e.dirty {
		e.dirty = true
		e.w.dirty = append(e.w.dirty, e)
	}
}

// wake plans the next work, if nothing earlier is planned.
func (e *end) wake(at time.Duration) {
	if e.wakeAt <= e.w.now || at < e.wakeAt {
		e.wakeAt = at
		e.w.agenda.push(happening{at: at, kind: works, who: e.side, talk: e.talk})
	}
}

// work does what the application can do now.
func (e *end) work() {
	if e.c == nil || e.closed {
		return
	}
	now := e.at.clock(e.w.now)
	if e.app.End >= endCloseAt {
		if e.w.now >= e.app.At {
			e.leave(now)
			return
		}
		e.wake(e.app.At)
	}
	e.receive(now)
	e.send(now)
	switch handed := e.sent == e.app.Send; {
	case e.err != nil:
		e.closed = true
		e.c.Close(now)
	case handed && e.app.End == endClose:
		e.leave(now)
	case handed && e.eof && e.shut:
		e.leave(now)
	}
}

func (e *end) leave(now engine.Time) {
	e.closed = true
	if e.app.End == endAbortAt {
		e.c.Abort(now)
	} else {
		e.c.Close(now)
	}
}

func (e *end) receive(now engine.Time) {
	if e.w.now < max(e.app.ReadFrom, e.readAt) {
		e.wake(max(e.app.ReadFrom, e.readAt))
		return
	}
	for !e.eof && e.err == nil {
		p := e.w.scratch[:min(e.app.ReadChunk, len(e.w.scratch))]
		n, err := e.c.Read(now, p)
		if !e.w.tainted && !bytes.Equal(p[:n], stream(e.talk, 1-e.side, e.read, n)) {
			e.w.fail("I6: talk %d, host %d: octets %d to %d are not what was sent", e.talk, e.side, e.read, e.read+n)
			return
		}
		e.read += n
		switch {
		case errors.Is(err, io.EOF):
			e.eof, e.w.done = true, e.w.now
		case err != nil:
			e.err = err
		}
		if n == 0 {
			return
		}
		if e.app.ReadPause > 0 {
			e.readAt = e.w.now + e.app.ReadPause
			e.wake(e.readAt)
			return
		}
	}
}

// allowed is how much may be written by now in all.
func (e *end) allowed() int {
	switch {
	case e.eof:
	case e.app.WaitEnd:
		return 0
	case e.app.Turns:
		turns := e.read / e.peerApp.Chunk
		if e.app.First {
			turns++
		}
		return min(e.app.Send, turns*e.app.Chunk)
	}
	return e.app.Send
}

func (e *end) send(now engine.Time) {
	for e.err == nil && !e.shut && e.sent < e.allowed() {
		if e.w.now < e.writeAt {
			e.wake(e.writeAt)
			return
		}
		p := stream(e.talk, e.side, e.sent, min(e.app.Chunk, e.allowed()-e.sent))
		n, err := e.c.Write(now, p)
		e.sent += n
		if err != nil {
			if e.c.Err() == nil {
				e.w.fail("I26: talk %d, host %d: write says %v on a connection that has not failed", e.talk, e.side, err)
			}
			e.err = err
			return
		}
		if n < len(p) {
			return // Writable will tell
		}
		e.writeAt = e.w.now + e.app.Pause
	}
	if e.sent == e.app.Send && !e.shut && e.err == nil {
		e.shut = true
		e.c.CloseWrite(now)
	}
}

// pattern is what all streams are cut from: a prime period hides no shift.
var pattern = func() []byte {
	p := make([]byte, period+longest)
	x := uint32(1)
	for i := range period {
		x = x*1664525 + 1013904223
		p[i] = byte(x >> 24)
	}
	for i := period; i < len(p); i++ {
		p[i] = p[i-period]
	}
	return p
}()

const (
	period  = 65521
	longest = 1 << 16
)

// stream returns n octets, at most longest, from octet at of what a host says in a talk.
func stream(talk, host, at, n int) []byte {
	start := (at + talk*7919 + host*31337) % period
	return pattern[start : start+n]
}
