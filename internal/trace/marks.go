package trace

// A mark is the arrow of a ladder line; its shape alone says what kind of line
// it is. All marks are three columns wide, in ASCII and beyond.
type mark uint8

const (
	markOut   mark = iota // a segment of ours
	markAgain             // a segment of ours, sent again
	markIn                // a segment of the peer's
	markDrop              // received and refused
	markICMP              // somebody on the path speaks
	markTimer
	markState   // a change of state without a segment
	markLocal   // something this host did
	markAgainIn // a segment of the other side, sent again
)

const markWidth = 3

var (
	asciiMarks = [...]string{"-->", "==>", "<--", "x--", "<~~", "...", "---", "!!!", "<=="}
	utf8Marks  = [...]string{"──→", "══→", "←──", "x──", "←~~", "···", "───", "!!!", "←══"}
)

func (m mark) text(utf8 bool) string {
	if utf8 {
		return utf8Marks[m]
	}
	return asciiMarks[m]
}

// A color is an ANSI sequence out of the 16 base colours, which every terminal
// theme keeps readable on its own background.
type color string

const (
	colorNone  color = ""
	colorOut   color = "\x1b[36m" // cyan
	colorIn    color = "\x1b[32m" // green
	colorWarn  color = "\x1b[33m" // yellow
	colorBad   color = "\x1b[31m" // red
	colorQuiet color = "\x1b[34m" // blue
	colorState color = "\x1b[1m"  // bold
	colorReset       = "\x1b[0m"
)
