package model

import (
	"iter"

	"rawtcp/segment"
)

// Replies is a set of answers, of which one has to be given.
type Replies uint8

// The answers.
const (
	Silence Replies = 1 << iota
	Ack             // <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>, now
	AckSoon         // the same within 0.5 seconds, or on a segment that goes there anyway (MUST-40)
	SynAck          // <SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK>
	Reset           // as Outcome.Reset says
)

var replyNames = [...]string{"silence", "ACK", "ACK within 0.5 s", "SYN,ACK", "RST"}

// String lists the members.
func (r Replies) String() string {
	text := ""
	for i, name := range replyNames {
		if r&(1<<i) != 0 {
			text += " or " + name
		}
	}
	return text[min(len(text), len(" or ")):]
}

// Endings is a set of ways in which a connection ends for its application.
type Endings uint8

// The ways (MUST-12).
const (
	NoError Endings = 1 << iota // it goes on, or ended in order
	Refused
	WasReset
	Aborted
)

// Clocks is a set of what may happen to the 2 MSL timer.
type Clocks uint8

// What may happen to it.
const (
	Kept      Clocks = 1 << iota // it goes on as before
	Restarted                    // it starts from the beginning
)

// A ResetForm is what a RST has to look like.
type ResetForm struct {
	Seq, Ack segment.Seq
	HasAck   bool // the ACK bit is set and Ack counts
	MayAck   bool // the ACK bit may be set, and then Ack counts
}

// An Outcome is one thing that is allowed to follow from an arriving segment.
type Outcome struct {
	After     TCB
	Replies   Replies
	Reset     ResetForm
	MaySend   bool    // text or a FIN that waited may leave, and carries the ACK
	Delivered []Text  // what became readable, in order
	EOF       bool    // the application reads the end of the peer's data after it
	Ending    Endings // nothing but NoError while the state is not CLOSED
	TimeWait  Clocks  // in TIME-WAIT
	Challenge bool    // the ACK among Replies is one that the limiter counts
}

// Outcomes yields every outcome that the standards and the decisions of this
// project allow when seg arrives at t. The outcome and its slices are valid
// until the next one. Payload octets are aliased, t is left alone.
func Outcomes(t *TCB, seg *segment.Segment) iter.Seq[*Outcome] {
	return func(yield func(*Outcome) bool) {
		a := arrival{seg: seg}
		for {
			a.start(t)
			a.arrive()
			if !yield(&a.Outcome) || !a.next() {
				return
			}
		}
	}
}

// Explain returns the sentences that led to the first outcome and to each other.
func Explain(t *TCB, seg *segment.Segment) (reasons [][]string) {
	a := arrival{seg: seg, told: true}
	for {
		a.start(t)
		a.arrive()
		reasons = append(reasons, a.why)
		if !a.next() {
			return reasons
		}
	}
}

// An arrival is one walk through section 3.10.7.
type arrival struct {
	Outcome
	seg     *segment.Segment
	stamp   uint32 // to become TS.Recent, if stamped
	stamped bool

	// Each walk follows script where a standard leaves a choice, and says no
	// where script has ended. next makes the script of the next walk.
	script []bool
	asked  int

	told bool
	why  []string
}

func (a *arrival) start(t *TCB) {
	a.Outcome = Outcome{After: *t, Replies: Silence, Ending: NoError, TimeWait: Kept}
	a.asked, a.stamped, a.why = 0, false, nil
}

// by notes the sentence that decides.
func (a *arrival) by(sentence string) {
	if a.told {
		a.why = append(a.why, sentence)
	}
}

// may reports whether this walk takes a liberty that a standard allows.
func (a *arrival) may(sentence string) bool {
	if a.asked == len(a.script) {
		a.script = append(a.script, false)
	}
	a.asked++
	taken := a.script[a.asked-1]
	if taken {
		a.by("instead: " + sentence)
	}
	return taken
}

// next turns the last refused liberty into a taken one; false: all were tried.
func (a *arrival) next() bool {
	for a.asked > 0 && a.script[a.asked-1] {
		a.asked--
	}
	if a.asked == 0 {
		return false
	}
	a.script = a.script[:a.asked]
	a.script[a.asked-1] = true
	return true
}
