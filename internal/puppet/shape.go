package puppet

import (
	"rawtcp/segment"
)

// A Shape is what a puppet offers in its SYN and how its segments look. The zero
// Shape is that of an ordinary host: MSS by the MTU, SACK, timestamps, a window
// scale of 7.
type Shape struct {
	MSS          int // octets; 0: by the MTU; below 0: no option
	Scale        int // shift count; 0: 7; below 0: no option
	NoSACK       bool
	NoTimestamps bool
	Window       uint16 // as on the wire; 0: 64240, or 65535 where there is no scale
	ECN          bool   // ECE and CWR on the SYN (RFC 3168 section 6.1.1)
	TTL, TOS     uint8

	// Raw, if not nil, is the whole option area of the SYN; the fields above
	// still say which options count as offered.
	Raw []byte

	// Layout, if not nil, is the order of the options of the SYN, NOPs included.
	Layout []segment.Kind
}

// Plain is a Shape without any option.
var Plain = Shape{MSS: -1, Scale: -1, NoSACK: true, NoTimestamps: true}

// or fills in what an ordinary host would say.
func (s Shape) or(mtu int, v4 bool) Shape {
	headers := segment.IPv6HeaderLen + segment.TCPHeaderLen
	if v4 {
		headers = segment.IPv4HeaderLen + segment.TCPHeaderLen
	}
	if s.MSS == 0 {
		s.MSS = min(mtu-headers, 65495) // of a loopback's 64 KiB
	}
	if s.Scale == 0 {
		s.Scale = 7
	}
	if s.Window == 0 {
		s.Window = 64240
	}
	if s.Layout == nil {
		s.Layout = usualLayout
		if s.NoTimestamps {
			s.Layout = unstampedLayout
		}
	}
	return s
}

// The orders in which most hosts have their options, aligned by NOPs.
var (
	usualLayout = []segment.Kind{
		segment.KindMSS, segment.KindSACKPermitted, segment.KindTimestamps, segment.KindNOP, segment.KindWindowScale,
	}
	unstampedLayout = []segment.Kind{
		segment.KindMSS, segment.KindNOP, segment.KindNOP, segment.KindSACKPermitted, segment.KindNOP, segment.KindWindowScale,
	}
)

// options are those of the SYN.
func (s *Shape) options(tsVal, tsEcr uint32) segment.Options {
	if s.Raw != nil {
		return segment.Options{Raw: s.Raw}
	}
	o := segment.Options{TSVal: tsVal, TSEcr: tsEcr}
	if s.MSS > 0 {
		o.Set |= segment.HasMSS
		o.MSS = uint16(s.MSS)
	}
	if s.Scale > 0 {
		o.Set |= segment.HasWindowScale
		o.WindowScale = uint8(s.Scale)
	}
	if !s.NoSACK {
		o.Set |= segment.HasSACKPermitted
	}
	if !s.NoTimestamps {
		o.Set |= segment.HasTimestamps
	}
	if o.Set != 0 {
		o.Raw = segment.AppendLayout(nil, &o, s.Layout)
	}
	return o
}
