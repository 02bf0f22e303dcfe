package segment

// Flags are the control bits of a TCP header (RFC 9293 section 3.1), with AE,
// the former NS bit, above them (RFC 9768).
type Flags uint16

// The control bits, at their places in the header.
const (
	FIN Flags = 1 << iota // no more data from sender
	SYN                   // synchronize sequence numbers
	RST                   // reset the connection
	PSH                   // push function
	ACK                   // acknowledgement field is significant
	URG                   // urgent pointer field is significant
	ECE                   // ECN echo (RFC 3168)
	CWR                   // congestion window reduced (RFC 3168)
	AE                    // accurate ECN (RFC 9768)

	allFlags = AE<<1 - 1
)

// Has reports whether all bits of want are set.
func (f Flags) Has(want Flags) bool { return f&want == want }

// Any reports whether at least one bit of want is set.
func (f Flags) Any(want Flags) bool { return f&want != 0 }

// flagLetters are tcpdump's letters in tcpdump's order.
const flagLetters = "FSRP.UEWe"

// AppendText appends the flags in tcpdump's letters: "S", "S.", "P.", "FP.",
// and "none" when no bit is set.
func (f Flags) AppendText(dst []byte) []byte {
	if f&allFlags == 0 {
		return append(dst, "none"...)
	}
	for i := range len(flagLetters) {
		if f&(1<<i) != 0 {
			dst = append(dst, flagLetters[i])
		}
	}
	return dst
}

// String returns the flags in tcpdump's letters.
func (f Flags) String() string { return string(f.AppendText(nil)) }
