package segment

// Kind is a TCP option kind (IANA registry "TCP Option Kind Numbers").
type Kind uint8

// The option kinds this package knows by name. Others are kept as bytes.
const (
	KindEOL           Kind = 0   // RFC 9293
	KindNOP           Kind = 1   // RFC 9293
	KindMSS           Kind = 2   // RFC 9293
	KindWindowScale   Kind = 3   // RFC 7323
	KindSACKPermitted Kind = 4   // RFC 2018
	KindSACK          Kind = 5   // RFC 2018
	KindTimestamps    Kind = 8   // RFC 7323
	KindMD5           Kind = 19  // RFC 2385
	KindUserTimeout   Kind = 28  // RFC 5482
	KindAO            Kind = 29  // RFC 5925
	KindMPTCP         Kind = 30  // RFC 8684
	KindFastOpen      Kind = 34  // RFC 7413
	KindAccECN0       Kind = 172 // RFC 9768
	KindAccECN1       Kind = 174 // RFC 9768
	KindExperiment1   Kind = 253 // RFC 4727, RFC 6994
	KindExperiment2   Kind = 254 // RFC 4727, RFC 6994
)

// OptionSet says which of the options that have a field in Options are present.
type OptionSet uint8

// The members of an OptionSet.
const (
	HasMSS OptionSet = 1 << iota
	HasWindowScale
	HasSACKPermitted
	HasSACK
	HasTimestamps
	HasFastOpen
)

// MaxOptionsLen is the room for options in a TCP header, in octets.
const MaxOptionsLen = 40

// A SACKBlock is a received range [Start, End) (RFC 2018 section 3).
type SACKBlock struct{ Start, End Seq }

// Options are the TCP options of one segment.
//
// The options an endpoint acts on have fields, valid only if Set holds their bit.
// All options, in wire order, are in Raw, which All walks.
// Nothing is allocated: Raw and FastOpen alias the parsed packet.
type Options struct {
	Set         OptionSet
	MSS         uint16       // octets
	WindowScale uint8        // shift count as on the wire, not clamped to 14
	SACKCount   uint8        // valid entries of SACK, 0 to 4
	TSVal       uint32       // timestamp value
	TSEcr       uint32       // timestamp echo reply
	SACK        [4]SACKBlock // SACK[:SACKCount]
	FastOpen    []byte       // TFO cookie; empty is a cookie request

	// Raw is the option area as on the wire. Parse sets it. When Append finds
	// it non-nil it writes these bytes (padded with zeros to a multiple of 4)
	// and ignores the fields above; when nil, it lays the fields out itself.
	Raw []byte
}

// Has reports whether all options of want are present.
func (o *Options) Has(want OptionSet) bool { return o.Set&want == want }

// Blocks returns the SACK blocks, aliasing o.
func (o *Options) Blocks() []SACKBlock { return o.SACK[:o.SACKCount] }
