package segment

import "encoding/binary"

// MD5 returns the digest of the first MD5 signature option, 16 octets aliasing
// Raw (RFC 2385). ok is false if there is none, or none of that length.
func (o *Options) MD5() (digest []byte, ok bool) {
	data, ok := o.Find(KindMD5)
	if !ok || len(data) != 16 {
		return nil, false
	}
	return data, true
}

// AO is a TCP Authentication Option (RFC 5925 section 2.2).
type AO struct {
	KeyID, RNextKeyID uint8
	MAC               []byte // aliases Raw
}

// AO returns the first TCP-AO option; ok is false if there is none with both ids.
func (o *Options) AO() (ao AO, ok bool) {
	data, _ := o.Find(KindAO)
	if len(data) < 2 {
		return AO{}, false
	}
	return AO{KeyID: data[0], RNextKeyID: data[1], MAC: data[2:]}, true
}

// MPTCP is a Multipath TCP option (RFC 8684 section 3).
type MPTCP struct {
	Subtype uint8  // 0 to 15: MP_CAPABLE, MP_JOIN, DSS, …
	Data    []byte // from the octet of the subtype on; aliases Raw
}

// MPTCP returns the first MPTCP option; a segment may carry more, which All
// finds. ok is false if there is none with a subtype.
func (o *Options) MPTCP() (option MPTCP, ok bool) {
	data, _ := o.Find(KindMPTCP)
	if len(data) == 0 {
		return MPTCP{}, false
	}
	return MPTCP{Subtype: data[0] >> 4, Data: data}, true
}

// AccECN holds the counters of an AccECN option: received payload octets by ECN
// codepoint, modulo 2^24 (RFC 9768 section 3.2.3).
type AccECN struct {
	ECT0, CE, ECT1 uint32
	Kind           Kind  // KindAccECN0: ECT0 first; KindAccECN1: ECT1 first
	Count          uint8 // counters present, 0 to 3; CE is the second of either order
}

// AccECN returns the first AccECN option of either order that has a whole number
// of counters.
func (o *Options) AccECN() (option AccECN, ok bool) {
	for kind, data := range o.All() {
		if kind != KindAccECN0 && kind != KindAccECN1 || len(data)%3 != 0 || len(data) > 9 {
			continue
		}
		var counters [3]uint32
		for i := range len(data) / 3 {
			counters[i] = uint24(data[3*i:])
		}
		option = AccECN{ECT0: counters[0], CE: counters[1], ECT1: counters[2], Kind: kind, Count: uint8(len(data) / 3)}
		if kind == KindAccECN1 {
			option.ECT0, option.ECT1 = option.ECT1, option.ECT0
		}
		return option, true
	}
	return AccECN{}, false
}

// utoMinutes is G of RFC 5482 section 3.3: the rest of the field counts minutes.
const utoMinutes = 0x8000

// UserTimeout returns the user timeout option, in seconds: at most 32767 minutes
// (RFC 5482 section 3.3). 0 is reserved, and to be ignored (section 3.4).
func (o *Options) UserTimeout() (seconds int, ok bool) {
	if !o.Has(HasUserTimeout) {
		return 0, false
	}
	seconds = int(o.UTO &^ utoMinutes)
	if o.UTO&utoMinutes != 0 {
		seconds *= 60
	}
	return seconds, true
}

// SetUserTimeout adds a user timeout option: seconds where they fit into 15
// bits, else minutes, rounded up. It is held between 1 s and 32767 minutes.
func (o *Options) SetUserTimeout(seconds int) {
	const most = utoMinutes - 1
	o.Set |= HasUserTimeout
	if seconds = max(seconds, 1); seconds <= most {
		o.UTO = uint16(seconds)
		return
	}
	o.UTO = utoMinutes | uint16(min((seconds-1)/60+1, most))
}

// Experiment returns the data behind the 16-bit experiment identifier of the
// first experimental option (kind 253 or 254) that carries it, aliasing Raw
// (RFC 6994 section 3).
func (o *Options) Experiment(id uint16) (data []byte, ok bool) {
	for kind, data := range o.All() {
		if kind != KindExperiment1 && kind != KindExperiment2 || len(data) < 2 {
			continue
		}
		if binary.BigEndian.Uint16(data) == id {
			return data[2:], true
		}
	}
	return nil, false
}
