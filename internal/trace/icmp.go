package trace

import (
	"fmt"

	"rawtcp/engine"
)

type icmpKey struct{ typ, code uint8 }

// The messages a TCP can draw (RFC 792, RFC 1812 section 5.2.7.1).
var icmpNames = map[icmpKey]string{
	{3, 0}:  "network unreachable",
	{3, 1}:  "host unreachable",
	{3, 2}:  "protocol unreachable",
	{3, 3}:  "port unreachable",
	{3, 4}:  "fragmentation needed",
	{3, 5}:  "source route failed",
	{3, 6}:  "network unknown",
	{3, 7}:  "host unknown",
	{3, 9}:  "network administratively prohibited",
	{3, 10}: "host administratively prohibited",
	{3, 11}: "network unreachable for this TOS",
	{3, 12}: "host unreachable for this TOS",
	{3, 13}: "communication administratively prohibited",
	{4, 0}:  "source quench",
	{11, 0}: "TTL exceeded in transit",
	{11, 1}: "fragment reassembly time exceeded",
	{12, 0}: "parameter problem",
}

// The same for IPv6 (RFC 4443 section 3).
var icmpv6Names = map[icmpKey]string{
	{1, 0}: "no route to destination",
	{1, 1}: "communication administratively prohibited",
	{1, 2}: "beyond scope of source address",
	{1, 3}: "address unreachable",
	{1, 4}: "port unreachable",
	{1, 5}: "source address failed policy",
	{1, 6}: "reject route to destination",
	{2, 0}: "packet too big",
	{3, 0}: "hop limit exceeded in transit",
	{3, 1}: "fragment reassembly time exceeded",
	{4, 0}: "erroneous header field",
	{4, 1}: "unrecognized next header",
	{4, 2}: "unrecognized IPv6 option",
}

// ICMPText names an ICMP or ICMPv6 error message in words, with the next-hop
// MTU where it has one.
func ICMPText(m *engine.ICMP) string {
	names := icmpNames
	if m.From.Is6() && !m.From.Is4In6() {
		names = icmpv6Names
	}
	text, known := names[icmpKey{m.Type, m.Code}]
	if !known {
		text = fmt.Sprintf("type %d code %d", m.Type, m.Code)
	}
	if m.MTU > 0 {
		text += fmt.Sprintf(", mtu %d", m.MTU)
	}
	return text
}
