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
func filterProgram(v6 bool, ranges []portRange) []bpf.RawInstruction {
	if len(ranges) == 0 {
		return refuseAll
	}
	return mustAssemble(append(refuseCrowds[:len(refuseCrowds):len(refuseCrowds)], filterInstructions(v6, ranges)...))
}

// filterInstructions looks into the packet. On IPv4 the packet starts at the IP header, on IPv6 at the TCP header.
func filterInstructions(v6 bool, ranges []portRange) []bpf.Instruction {
	return append(loadPort(v6), searchRanges(ranges)...)
}

// loadPort loads the destination port. A fragment has none to trust: the kernel
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
