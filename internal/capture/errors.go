package capture

import (
	"errors"
	"fmt"

	"rawtcp/segment"
)

// Why a file cannot be read, or not further.
var (
	ErrEmpty        = errors.New("the file is empty")
	ErrFormat       = errors.New("neither a pcap nor a pcapng file")
	ErrVersion      = errors.New("a version of the format that does not exist")
	ErrCut          = errors.New("the file ends inside a record")
	ErrBlockLength  = errors.New("a block length that cannot be: below 12 octets, no multiple of 4, or too short for what is in it")
	ErrBlockTrailer = errors.New("a block whose two lengths differ")
	ErrByteOrder    = errors.New("a section without a byte-order mark")
	ErrPacketLength = errors.New("a packet of more than 256 KiB, or of more octets than its block has")
	ErrInterface    = errors.New("a packet of an interface that was not described")
	ErrInterfaces   = errors.New("more than 65536 interfaces in one section")
)

// Why a packet holds no TCP segment to read. Reason names these, and those of
// package segment.
var (
	ErrLinkType = errors.New("a link layer that is not known here")
	ErrNotIP    = errors.New("not an IP packet")
	ErrSnapped  = errors.New("the capture kept less than the TCP header")
	ErrFragment = errors.New("a fragment")
	ErrLength   = errors.New("an IP length beyond the packet")
)

// A Damage is where and why reading a file ended before its end.
type Damage struct {
	Offset int64  // of the record, in octets from the start of what was read
	Frame  uint64 // the last one that was read whole
	Err    error
}

// Error implements error.
func (d *Damage) Error() string {
	return fmt.Sprintf("at octet %d, after frame %d: %v", d.Offset, d.Frame, d.Err)
}

// Unwrap returns the reason.
func (d *Damage) Unwrap() error { return d.Err }

var reasons = map[error]string{
	ErrLinkType: "link_type", ErrNotIP: "not_ip", ErrSnapped: "snapped", ErrFragment: "ip_fragment", ErrLength: "ip_truncated",
}

// Reason is the snake_case name of why a packet was passed over.
func Reason(err error) string {
	if name := reasons[err]; name != "" {
		return name
	}
	return segment.Reason(err)
}
