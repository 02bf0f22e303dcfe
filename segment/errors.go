package segment

import "errors"

// A refusal is why a packet was not parsed or could not be built. Its reason is
// one snake_case word, made to be the name of a counter.
type refusal struct{ reason, text string }

func (r *refusal) Error() string { return r.text }

// Why Parse, ParseQuoted and FinishChecksum refuse a packet.
var (
	ErrShortIP      error = &refusal{"short_ip", "packet is shorter than its IP header"}
	ErrVersion      error = &refusal{"ip_version", "IP version is neither 4 nor 6"}
	ErrIPHeaderLen  error = &refusal{"ip_header_length", "IPv4 header length is below 20 octets or beyond the total length"}
	ErrTruncated    error = &refusal{"ip_truncated", "IP length is more than the octets read"}
	ErrJumbo        error = &refusal{"ip_jumbo", "packet is over 64 KiB and carries no length"}
	ErrIPChecksum   error = &refusal{"ip_checksum", "IPv4 header checksum is wrong"}
	ErrFragment     error = &refusal{"ip_fragment", "packet is a fragment"}
	ErrExtension    error = &refusal{"ipv6_extension", "IPv6 extension headers are malformed, unfinished routes or more than 8"}
	ErrMapped       error = &refusal{"ipv4_mapped", "IPv6 header carries an IPv4-mapped address"}
	ErrNotTCP       error = &refusal{"not_tcp", "packet does not carry TCP"}
	ErrShortTCP     error = &refusal{"short_tcp", "fewer octets than a TCP header"}
	ErrDataOffset   error = &refusal{"data_offset", "TCP data offset is below 5"}
	ErrOptionsShort error = &refusal{"data_offset_beyond", "TCP data offset is beyond the segment"}
)

// Why Append cannot build a packet.
var (
	ErrAddress        error = &refusal{"address", "source and destination must both be IPv4 or both be IPv6, and never IPv4-mapped"}
	ErrTooLarge       error = &refusal{"too_large", "segment does not fit an IP packet of 65535 octets"}
	ErrOptionsTooLong error = &refusal{"options_too_long", "TCP options are more than 40 octets"}
)

// Reason returns the snake_case name of an error of this package, made to be
// the name of a counter, "none" for nil and "other" for an error of someone else.
func Reason(err error) string {
	if err == nil {
		return "none"
	}
	var r *refusal
	if errors.As(err, &r) {
		return r.reason
	}
	return "other"
}
