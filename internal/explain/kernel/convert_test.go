package kernel

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
)

// A conversion makes another capture of one: as another tool or another place
// would have made it.
type conversion struct {
	name string
	link layers.LinkType
	do   func(frames []frame) []frame
}

// each changes every frame on its own.
func each(change func(f frame) frame) func([]frame) []frame {
	return func(frames []frame) []frame {
		out := make([]frame, len(frames))
		for i, f := range frames {
			out[i] = change(f)
		}
		return out
	}
}

// header puts another header before the IP packet.
func header(make func(kind uint16) []byte) func([]frame) []frame {
	return each(func(f frame) frame {
		b := append(make(binary.BigEndian.Uint16(f.data[12:])), f.data[14:]...)
		return frame{f.at, b, f.size - len(f.data) + len(b)}
	})
}

func raw(uint16) []byte { return nil }

// tag puts more between the Ethernet addresses and the type.
func tag(more ...byte) func([]frame) []frame {
	return each(func(f frame) frame {
		b := bytes.Join([][]byte{f.data[:12], more, f.data[12:]}, nil)
		return frame{f.at, b, f.size + len(more)}
	})
}

var conversions = []conversion{
	{"as raw IP", layers.LinkTypeRaw, header(raw)},
	{"as raw IP of a BSD", 12, header(raw)},
	{"as raw IP of OpenBSD", 14, header(raw)},
	{"as cooked packets", layers.LinkTypeLinuxSLL, header(func(kind uint16) []byte {
		return binary.BigEndian.AppendUint16([]byte{0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0}, kind)
	})},
	{"as cooked packets, version 2", 276, header(func(kind uint16) []byte {
		return append(binary.BigEndian.AppendUint16(nil, kind), 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0)
	})},
	{"as BSD loopback", layers.LinkTypeNull, header(func(kind uint16) []byte {
		if kind == 0x0800 {
			return []byte{2, 0, 0, 0}
		}
		return []byte{30, 0, 0, 0}
	})},
	{"as OpenBSD loopback", layers.LinkTypeLoop, header(func(kind uint16) []byte {
		if kind == 0x0800 {
			return []byte{0, 0, 0, 2}
		}
		return []byte{0, 0, 0, 24}
	})},
	{"in a VLAN", layers.LinkTypeEthernet, tag(0x81, 0, 0, 7)},
	{"in two VLANs", layers.LinkTypeEthernet, tag(0x88, 0xa8, 0, 7, 0x81, 0, 0, 8)},
	{"over PPPoE", layers.LinkTypeEthernet, each(func(f frame) frame {
		protocol := []byte{0, 0x21}
		if f.data[12] == 0x86 {
			protocol = []byte{0, 0x57}
		}
		size := binary.BigEndian.AppendUint16(nil, uint16(f.size-14+2))
		b := bytes.Join([][]byte{f.data[:12], {0x88, 0x64, 0x11, 0, 0, 1}, size, protocol, f.data[14:]}, nil)
		return frame{f.at, b, f.size + 8}
	})},
	{"snapped", layers.LinkTypeEthernet, each(func(f frame) frame { return frame{f.at, f.data[:min(len(f.data), 100)], f.size} })},
	{"begun too late", layers.LinkTypeEthernet, func(frames []frame) []frame { return frames[min(3, len(frames)):] }},
	{"without its third", layers.LinkTypeEthernet, func(frames []frame) []frame {
		var out []frame
		for i, f := range frames {
			if i%7 != 5 {
				out = append(out, f)
			}
		}
		return out
	}},
	{"captured twice", layers.LinkTypeEthernet, func(frames []frame) []frame {
		var out []frame
		for _, f := range frames {
			again := f
			again.at = f.at.Add(2 * time.Microsecond)
			out = append(out, f, again)
		}
		return out
	}},
	{"out of order", layers.LinkTypeEthernet, func(frames []frame) []frame {
		out := append([]frame(nil), frames...)
		for i := 5; i+1 < len(out); i += 6 {
			out[i], out[i+1] = out[i+1], out[i]
		}
		return out
	}},
	{"in the other direction first", layers.LinkTypeEthernet, func(frames []frame) []frame { return frames[min(1, len(frames)):] }},
}

// Which talks are converted, of the client's side: no two conversions of one,
// so that all can stand in one file.
var converted = []string{
	"client closes first", "server closes first", "half-close", "one segment lost", "one segment lost, no SACK", "window closes",
	"server resets", "lossy", "reordered", "keep-alive", "offload", "plain TCP", "ECN", "small receive buffer", "small MSS", "nothing said",
}

func convertAll(t *testing.T, client, _ []recording) (out []recording) {
	t.Helper()
	if len(converted) != len(conversions) {
		t.Fatalf("%d talks for %d conversions", len(converted), len(conversions))
	}
	for i, c := range conversions {
		for k := range talks {
			if talks[k].name == converted[i] {
				out = append(out, recording{talks[k].name + ", " + c.name, talks[k].name, c.link, c.do(client[k].frames)})
			}
		}
	}
	if len(out) != len(conversions) {
		t.Fatal("a conversion is of a talk that is not")
	}
	return out
}
