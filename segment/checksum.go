package segment

// Verdict is what a received TCP checksum says.
type Verdict uint8

// The three verdicts. A packet that never left this machine (loopback, veth,
// a NIC with transmit offload) carries an unfinished checksum: exactly the
// folded pseudo-header sum. That is ChecksumPartial and not damage.
const (
	ChecksumUnknown Verdict = iota // not looked at
	ChecksumOK
	ChecksumPartial
	ChecksumBad
)
