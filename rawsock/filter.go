package rawsock

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// snapLen is what an accepting program returns: keep all of the packet.
const snapLen = 0xffffffff

// maxRanges bounds a filter program. Its cost for a foreign packet is the
// logarithm of this; its memory counts against net.core.optmem_max.
const maxRanges = 128

// refuseAll is the program that lets nothing through.
var refuseAll = mustAssemble([]bpf.Instruction{bpf.RetConstant{Val: 0}})

func mustAssemble(prog []bpf.Instruction) []bpf.RawInstruction {
	raw, err := bpf.Assemble(prog)
	if err != nil {
		panic("rawsock: filter program does not assemble: " + err.Error())
	}
	return raw
}

// refuseCrowds refuses what came in a frame for many hosts, as the kernel's TCP
// does. A broadcast or multicast destination comes in one (RFC 9293 section
// 3.9.2.3, MUST-57).
var refuseCrowds = []bpf.Instruction{
	bpf.LoadExtension{Num: bpf.ExtType},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_HOST, SkipTrue: 1},
	bpf.RetConstant{Val: 0},
}

// filterProgram returns the program for a socket that accepts whole TCP packets
// for this host, to the ports.
func filterProgram(s *socket, ranges []portRange) []bpf.RawInstruction {
	if len(ranges) == 0 {
		return refuseAll
	}
	prog := refuseCrowds[:len(refuseCrowds):len(refuseCrowds)]
	if s.packet {
		prog = append(prog, refuseLoopback(s.v6)...)
	}
	return mustAssemble(append(prog, filterInstructions(s, ranges)...))
}

// filterInstructions looks into the packet. It starts at the IP header, except
// on a raw IPv6 socket: there at the TCP header.
func filterInstructions(s *socket, ranges []portRange) []bpf.Instruction {
	load := loadPort(s.v6)
	if s.packet {
		load = loadPortOfFrame(s.v6)
	}
	return append(load, searchRanges(ranges)...)
}

// refuseLoopback refuses what comes from the network to or from this host's
// loopback addresses, as the kernel's IP does (RFC 1122 section 3.2.1.3 (g), RFC
// 4291 section 2.5.3): a packet socket hears it before IP has judged. On IPv6
// all of ::/96 is refused, of which nothing is in use on a network.
func refuseLoopback(v6 bool) []bpf.Instruction {
	if !v6 {
		return []bpf.Instruction{
			bpf.LoadExtension{Num: bpf.ExtLinkLayerType},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ARPHRD_LOOPBACK, SkipTrue: 5},
			bpf.LoadAbsolute{Off: 12, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: 127, SkipTrue: 2},
			bpf.LoadAbsolute{Off: 16, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: 127, SkipFalse: 1},
			bpf.RetConstant{Val: 0},
		}
	}
	return []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtLinkLayerType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ARPHRD_LOOPBACK, SkipTrue: 13},
		bpf.LoadAbsolute{Off: 8, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipFalse: 4},
		bpf.LoadAbsolute{Off: 12, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipFalse: 2},
		bpf.LoadAbsolute{Off: 16, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 6},
		bpf.LoadAbsolute{Off: 24, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipFalse: 5},
		bpf.LoadAbsolute{Off: 28, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipFalse: 3},
		bpf.LoadAbsolute{Off: 32, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipFalse: 1},
		bpf.RetConstant{Val: 0},
	}
}

// loadPortOfFrame is loadPort for a packet socket. A first fragment passes, to
// tell packetLink that there are fragments. So does an IPv6 packet with extension
// headers: packetLink looks behind them.
func loadPortOfFrame(v6 bool) []bpf.Instruction {
	if v6 {
		return []bpf.Instruction{
			bpf.LoadAbsolute{Off: 6, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_TCP, SkipTrue: 6},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_HOPOPTS, SkipTrue: 4},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_ROUTING, SkipTrue: 3},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_FRAGMENT, SkipTrue: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_DSTOPTS, SkipTrue: 1},
			bpf.RetConstant{Val: 0},
			bpf.RetConstant{Val: snapLen},
			bpf.LoadAbsolute{Off: ipv6HeaderLen + 2, Size: 2},
		}
	}
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_TCP, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.LoadAbsolute{Off: 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: 0x1fff, SkipTrue: 1}, // the offset
		bpf.RetConstant{Val: 0},
		bpf.LoadMemShift{Off: 0}, // X = 4 * IHL
		bpf.LoadIndirect{Off: 2, Size: 2},
	}
}

// loadPort loads the destination port of a raw socket's packet. A fragment has none to trust: the kernel
// puts fragments together before a raw socket sees them, so one that comes
// through alone is refused.
func loadPort(v6 bool) []bpf.Instruction {
	if v6 {
		return []bpf.Instruction{bpf.LoadAbsolute{Off: 2, Size: 2}}
	}
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_TCP, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.LoadAbsolute{Off: 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: 0x3fff, SkipTrue: 1}, // MF and the offset
		bpf.RetConstant{Val: 0},
		bpf.LoadMemShift{Off: 0}, // X = 4 * IHL
		bpf.LoadIndirect{Off: 2, Size: 2},
	}
}

// searchRanges returns a binary search for the port in A among sorted ranges.
func searchRanges(ranges []portRange) []bpf.Instruction {
	if len(ranges) == 1 {
		r := ranges[0]
		return []bpf.Instruction{
			bpf.JumpIf{Cond: bpf.JumpLessThan, Val: uint32(r.first), SkipTrue: 2},
			bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: uint32(r.last), SkipTrue: 1},
			bpf.RetConstant{Val: snapLen},
			bpf.RetConstant{Val: 0},
		}
	}
	half := len(ranges) / 2
	low, high := searchRanges(ranges[:half]), searchRanges(ranges[half:])
	prog := []bpf.Instruction{
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: uint32(ranges[half].first), SkipTrue: 1},
		bpf.Jump{Skip: uint32(len(low))}, // a conditional jump reaches only 255 instructions
	}
	return append(append(prog, low...), high...)
}
