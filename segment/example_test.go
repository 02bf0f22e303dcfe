package segment_test

import (
	"fmt"
	"net/netip"

	"rawtcp/segment"
)

func Example() {
	syn := segment.Segment{
		Src: netip.MustParseAddrPort("198.18.0.1:40000"), Dst: netip.MustParseAddrPort("198.18.0.2:80"),
		Seq: segment.MakeSeq(1000), Flags: segment.SYN, Window: 65535,
		Options: segment.Options{Set: segment.HasMSS | segment.HasSACKPermitted, MSS: 1460},
	}
	pkt, err := syn.Append(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	var got segment.Segment
	if err := got.Parse(pkt); err != nil {
		fmt.Println("dropped:", segment.Reason(err))
		return
	}
	fmt.Println(len(pkt), "octets, checksum", got.Checksum)
	fmt.Println(&got)
	// Output:
	// 48 octets, checksum ok
	// S 1000:1000(0) win 65535 <mss 1460,nop,nop,sackOK>
}

func ExampleSegment_AppendText() {
	s := segment.Segment{Seq: segment.MakeSeq(5001), Ack: segment.MakeSeq(9001), Flags: segment.ACK | segment.PSH, Window: 502,
		Payload: []byte("hello")}
	fmt.Println(string(s.AppendText(nil, segment.Relative{Seq: segment.MakeSeq(5000), Ack: segment.MakeSeq(9000)})))
	// Output: P. 1:6(5) ack 1 win 502
}

func ExampleParseText() {
	s, dir, err := segment.ParseText("< . 1:1001(1000) ack 1 win 502 <nop,nop,TS val 7 ecr 3>")
	fmt.Println(dir, s.Seq, len(s.Payload), s.Options.TSVal, err)
	_, _, err = segment.ParseText("> S 0:0(0) win 70000")
	fmt.Println(err)
	// Output:
	// < 1 1000 7 <nil>
	// column 16: 70000 does not fit 16 bits
}

// A caller decides which options its SYN carries and in which order.
func ExampleAppendLayout() {
	o := segment.Options{Set: segment.HasMSS | segment.HasWindowScale | segment.HasSACKPermitted, MSS: 1460, WindowScale: 8}
	o.Raw = segment.AppendLayout(nil, &o, []segment.Kind{
		segment.KindMSS, segment.KindNOP, segment.KindWindowScale, segment.KindNOP, segment.KindNOP, segment.KindSACKPermitted})
	fmt.Println(&o)
	// Output: mss 1460,nop,wscale 8,nop,nop,sackOK
}

func ExampleOptions_All() {
	s, _, _ := segment.ParseText("S 0:0(0) win 1 <mss 1460,nop,opt-77 0a0b>")
	for kind, data := range s.Options.All() {
		fmt.Println(kind, data)
	}
	// Output:
	// 2 [5 180]
	// 1 []
	// 77 [10 11]
}
