// Package peers puts the segment codec beside those of gVisor and gopacket, for
// package bench to measure. It has a module of its own, so that neither is a
// dependency of the main one.
//
// All three do the same work on the same segment: parse into typed fields with
// options, parse and verify IP and TCP checksums, build a packet with options
// and checksums into a reused buffer, and sum octets. What they are asked for is
// what an endpoint needs: fragments are refused, and the values of the options are
// read. Beyond that each does what its own functions do. Ours copies addresses as
// values of netip (gVisor its own, while gopacket's are slices of the packet), looks
// for extension headers and for addresses that no packet may carry, holds lengths and
// options to their RFCs, and keeps a checksum that is unfinished apart from a wrong one.
// gopacket is used by its layers' DecodeFromBytes, which is quicker than
// its DecodingLayerParser by a third to a half.
package peers

import (
	"fmt"
	"net/netip"

	"rawtcp/segment"
)

// A Job is one piece of work that every contender does.
type Job struct {
	Name       string // such as "Parse/1460" or "Parse/SYN/0"
	Size       int    // octets of payload
	Contenders []Contender
	Floor      func() // what no contender can do without: for a sum, to copy the octets; nil if there is none
}

// A Contender does a job once by Do.
type Contender struct {
	Name string // "rawtcp", "gvisor" or "gopacket"
	Do   func()
}

// Names are the contenders, ours first, as they stand in Job.Contenders.
var Names = []string{"rawtcp", "gvisor", "gopacket"}

// A codec is a contender's way through one segment. The results stay in its own
// fields, as a caller would keep them.
type codec interface {
	parse(pkt []byte)
	verify(pkt []byte)
	build()
	sum(b []byte)
	result() result
}

// result is what the last call left, for tests that all did the same.
type result struct {
	seq, ack         uint32
	srcPort, dstPort uint16
	window           uint16
	payload          int
	tsVal, tsEcr     uint32
	mss              uint16
	blocks           int
	ok               bool
	pkt              []byte
	sum              uint16
}

// Sizes are the payloads of every kind of job on a plain data segment.
var Sizes = []int{0, 64, 536, 1460, 9000}

// shapes are the segments of the jobs: a plain data segment with timestamps over
// IPv4, which has all sizes, and others.
var shapes = []struct {
	name  string
	sizes []int
	seg   segment.Segment
}{
	{"", Sizes, shape(false, timestamps)},
	{"none/", []int{0, 1460}, shape(false, segment.Options{})},
	{"SYN/", []int{0, 1460}, shape(false, syn)},
	{"SACK/", []int{0, 1460}, shape(false, sack)},
	{"IPv6/", []int{0, 1460}, shape(true, timestamps)},
}

var (
	timestamps = segment.Options{Set: segment.HasTimestamps, TSVal: 7, TSEcr: 3}
	syn        = segment.Options{Set: segment.HasMSS | segment.HasSACKPermitted | segment.HasTimestamps | segment.HasWindowScale,
		MSS: 1460, TSVal: 7, WindowScale: 7}
	sack = segment.Options{Set: segment.HasTimestamps | segment.HasSACK, TSVal: 7, TSEcr: 3, SACKCount: 3,
		SACK: [4]segment.SACKBlock{block(1, 2), block(3, 4), block(5, 6)}}
)

func block(start, end uint32) segment.SACKBlock {
	return segment.SACKBlock{Start: segment.MakeSeq(start), End: segment.MakeSeq(end)}
}

func shape(v6 bool, o segment.Options) segment.Segment {
	s := segment.Segment{Src: netip.MustParseAddrPort("198.18.0.1:40000"), Dst: netip.MustParseAddrPort("198.18.0.2:80"),
		Seq: segment.MakeSeq(1000), Ack: segment.MakeSeq(2000), Flags: segment.ACK | segment.PSH, Window: 502, TTL: 64, IPID: 9, Options: o}
	if v6 {
		s.Src, s.Dst = netip.MustParseAddrPort("[2001:db8::1]:40000"), netip.MustParseAddrPort("[2001:db8::2]:80")
		s.IPID = 0
	}
	if o.Has(segment.HasMSS) {
		s.Flags, s.Ack = segment.SYN, segment.MakeSeq(0)
	}
	return s
}

// codecs returns every contender for one segment, in the order of Names.
func codecs(s segment.Segment) []codec {
	return []codec{newRawtcp(s), newGvisor(s), newGopacket(s)}
}

// Jobs returns all jobs, ready to run.
func Jobs() []Job {
	var jobs []Job
	for _, shape := range shapes {
		for _, size := range shape.sizes {
			s := shape.seg
			s.Payload = filled(size)
			pkt, err := s.Append(nil)
			if err != nil {
				panic(err) // a shape above is wrong
			}
			jobs = append(jobs,
				job("Parse/"+shape.name, s, func(c codec) func() { return func() { c.parse(pkt) } }),
				job("Verify/"+shape.name, s, func(c codec) func() { return func() { c.verify(pkt) } }),
				job("Append/"+shape.name, s, func(c codec) func() { return func() { c.build() } }))
		}
	}
	for _, size := range Sizes {
		s := shapes[0].seg
		s.Payload = filled(size)
		sum := job("Checksum/", s, func(c codec) func() { return func() { c.sum(s.Payload) } })
		moved := make([]byte, size)
		sum.Floor = func() { copy(moved, s.Payload) }
		jobs = append(jobs, sum)
	}
	return jobs
}

func job(prefix string, s segment.Segment, work func(codec) func()) Job {
	j := Job{Name: fmt.Sprintf("%s%d", prefix, len(s.Payload)), Size: len(s.Payload)}
	for i, c := range codecs(s) {
		j.Contenders = append(j.Contenders, Contender{Names[i], work(c)})
	}
	return j
}

// filled is a payload without a pattern that a sum could like.
func filled(n int) []byte {
	b := make([]byte, n)
	x := uint32(2463534242)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}
