package rawsock

import (
	"net/netip"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// drop makes the kernel of the tests' namespace drop what matches, at a hook's
// priority filter, for the length of the test.
func drop(t *testing.T, hook *nftables.ChainHook, match ...expr.Any) {
	t.Helper()
	conn, err := nftables.New()
	must(t, err)
	table := conn.AddTable(&nftables.Table{Name: "strict", Family: nftables.TableFamilyINet})
	chain := conn.AddChain(&nftables.Chain{Name: "chain", Table: table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityFilter})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(match, &expr.Verdict{Kind: expr.VerdictDrop})})
	must(t, conn.Flush())
	t.Cleanup(func() {
		conn.DelTable(table)
		must(t, conn.Flush())
	})
}

// toPort matches a TCP destination port.
func toPort(port byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0, port}},
	}
}

// invalid matches what connection tracking cannot place.
func invalid() []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitINVALID), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

// TestConnectionTrackingSeesNoRST: a RST of the kernel would end the tracked
// connection even if it is dropped later, and then a host that drops what is
// invalid drops the rest.
func TestConnectionTrackingSeesNoRST(t *testing.T) { // G8
	for _, mode := range []GuardMode{GuardSocket, GuardNFT} {
		bothFamilies(t, func(t *testing.T, family int) {
			l := newLab(t)
			drop(t, nftables.ChainHookOutput, invalid()...)
			remote := kernelListener(l, family)
			s := openStation(t, Config{Guard: mode})
			local := netip.AddrPortFrom(l.ours[family], 4001)
			s.claim(local)
			s.send(tcpPacket{src: local, dst: remote, seq: 1000, flags: syn})
			sa := s.want(syn | ack)
			s.send(tcpPacket{src: local, dst: remote, seq: 1001, ack: sa.seq + 1, flags: ack})
			s.send(tcpPacket{src: local, dst: remote, seq: 1001, ack: sa.seq + 1, flags: psh | ack, payload: []byte("hello")})
			if p := s.want(ack); p.ack != 1006 {
				t.Errorf("the peer acknowledges %d, want 1006", p.ack)
			}
			if state := trackedState(t, family, local); state != nl.TCP_CONNTRACK_ESTABLISHED {
				t.Errorf("%v: tracked in state %d, want %d", mode, state, nl.TCP_CONNTRACK_ESTABLISHED)
			}
			s.send(tcpPacket{src: local, dst: remote, seq: 1006, ack: sa.seq + 1, flags: rst | ack})
		})
	}
}

// trackedState returns the state of the connection that local has opened.
func trackedState(t *testing.T, family int, local netip.AddrPort) uint8 {
	t.Helper()
	flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, []netlink.InetFamily{netlink.FAMILY_V4, netlink.FAMILY_V6}[family])
	must(t, err)
	for _, f := range flows {
		tcp, ok := f.ProtoInfo.(*netlink.ProtoInfoTCP)
		if ok && f.Forward.SrcPort == local.Port() && f.Forward.SrcIP.Equal(local.Addr().AsSlice()) {
			return tcp.State
		}
	}
	t.Fatal("the connection is not tracked")
	return 0
}

func TestInputDropMakesDeaf(t *testing.T) { // G9
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		s := openStation(t, Config{Guard: GuardNone})
		drop(t, nftables.ChainHookInput, toPort(201)...)
		w := l.newWire(family)
		for port := uint16(201); port <= 202; port++ {
			local := netip.AddrPortFrom(l.ours[family], port)
			s.claim(local)
			w.send(tcpPacket{src: netip.AddrPortFrom(w.here, 80), dst: local, flags: ack})
		}
		if p := s.want(ack); p.dst.Port() != 202 {
			t.Errorf("received %+v past a firewall that drops it", p)
		}
	})
}

func TestFirewallIsNamed(t *testing.T) { // S3
	l := newLab(t)
	drop(t, nftables.ChainHookOutput, toPort(80)...)
	s := openStation(t, Config{Guard: GuardNone})
	for family := range 2 {
		_, err := s.WriteBatch([][]byte{tcpPacket{src: netip.AddrPortFrom(l.ours[family], 4001), dst: netip.AddrPortFrom(l.theirs[family], 80), flags: rst}.bytes()})
		wantErrno(t, err, unix.EPERM)
		wantWords(t, err, "firewall", "nft list ruleset", "iptables-save")
	}
}
