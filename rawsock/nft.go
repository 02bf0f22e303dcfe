package rawsock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// An ownerTable is an nft table that drops the kernel's RSTs from claimed
// addresses and ports, and lets packets with our mark pass. The kernel removes
// it when the netlink socket that made it closes, be it by SIGKILL, and lets
// nobody else change it ("flags owner", Linux 5.12).
//
// It hooks in at priority raw, before connection tracking: behind it, a tracked
// connection would have ended by the RST already.
type ownerTable struct {
	conn  *nftables.Conn
	table *nftables.Table
	any   [2]*nftables.Set // by family: ports on every address
	addr  [2]*nftables.Set // by family: pairs of address and port
}

// An nftFamily is what differs between IPv4 and IPv6 in the rules.
type nftFamily struct {
	name      string
	proto     byte // NFPROTO_…
	addrType  nftables.SetDatatype
	srcOffset uint32 // of the source address in the IP header
	srcLen    uint32
}

var nftFamilies = [2]nftFamily{
	{"4", unix.NFPROTO_IPV4, nftables.TypeIPAddr, 12, 4},
	{"6", unix.NFPROTO_IPV6, nftables.TypeIP6Addr, 8, 16},
}

// tables numbers the tables of this process.
var tables atomic.Uint32

// newOwnerTable makes the table, in one transaction, in the network namespace
// of the calling thread.
func newOwnerTable(mark uint32) (*ownerTable, error) {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return nil, fmt.Errorf("open an nftables socket: %w", err)
	}
	t := &ownerTable{conn: conn}
	t.table = conn.AddTable(&nftables.Table{
		Name:   fmt.Sprintf("rawtcp-%d-%d", os.Getpid(), tables.Add(1)),
		Family: nftables.TableFamilyINet,
		Flags:  nftables.TableFlagOwner,
	})
	if err := t.build(mark); err != nil {
		t.close()
		return nil, fmt.Errorf("make nft table %s: %w", t.table.Name, err)
	}
	return t, nil
}

func (t *ownerTable) build(mark uint32) error {
	chain := t.conn.AddChain(&nftables.Chain{
		Name:     "output",
		Table:    t.table,
		Type:     nftables.ChainTypeFilter,
		Hooknum:  nftables.ChainHookOutput,
		Priority: nftables.ChainPriorityRaw,
	})
	for i, f := range nftFamilies {
		pair := nftables.MustConcatSetType(f.addrType, nftables.TypeInetService)
		t.any[i] = &nftables.Set{Table: t.table, Name: "any" + f.name, KeyType: nftables.TypeInetService}
		t.addr[i] = &nftables.Set{Table: t.table, Name: "addr" + f.name, KeyType: pair, Concatenation: true}
		if err := errors.Join(t.conn.AddSet(t.any[i], nil), t.conn.AddSet(t.addr[i], nil)); err != nil {
			return err
		}
		t.addRule(chain, f.dropRST(mark), f.matchPort(t.any[i]))
		t.addRule(chain, f.dropRST(mark), f.matchPair(t.addr[i]))
	}
	return t.conn.Flush()
}

func (t *ownerTable) addRule(chain *nftables.Chain, parts ...[]expr.Any) {
	var exprs []expr.Any
	for _, p := range parts {
		exprs = append(exprs, p...)
	}
	exprs = append(exprs, &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop})
	t.conn.AddRule(&nftables.Rule{Table: t.table, Chain: chain, Exprs: exprs})
}

// dropRST matches a RST of the family that does not carry our mark:
// meta nfproto F meta l4proto tcp tcp flags & rst == rst meta mark != MARK
func (f nftFamily) dropRST(mark uint32) []expr.Any {
	const rst = 0x04
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{f.proto}},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{rst}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{rst}},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(mark)},
	}
}

// matchPort: tcp sport @set
func (f nftFamily) matchPort(set *nftables.Set) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 2},
		&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID},
	}
}

// matchPair: ip saddr . tcp sport @set. Each part of a concatenation fills
// registers of 4 octets, of which number 8 is the first.
func (f nftFamily) matchPair(set *nftables.Set) []expr.Any {
	const first = 8
	return []expr.Any{
		&expr.Payload{DestRegister: first, Base: expr.PayloadBaseNetworkHeader, Offset: f.srcOffset, Len: f.srcLen},
		&expr.Payload{DestRegister: first + f.srcLen/4, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 2},
		&expr.Lookup{SourceRegister: first, SetName: set.Name, SetID: set.ID},
	}
}

// add silences an address and port.
func (t *ownerTable) add(local netip.AddrPort) error {
	set, elements := t.element(local)
	if err := t.conn.SetAddElements(set, elements); err != nil {
		return err
	}
	return t.conn.Flush()
}

// remove ends the silence.
func (t *ownerTable) remove(local netip.AddrPort) error {
	set, elements := t.element(local)
	if err := t.conn.SetDeleteElements(set, elements); err != nil {
		return err
	}
	return t.conn.Flush()
}

// element returns the set that an address and port belong to, and their key.
func (t *ownerTable) element(local netip.AddrPort) (*nftables.Set, []nftables.SetElement) {
	family := 0
	if local.Addr().Is6() {
		family = 1
	}
	port := binary.BigEndian.AppendUint16(nil, local.Port())
	if local.Addr().IsUnspecified() {
		return t.any[family], []nftables.SetElement{{Key: port}}
	}
	key := append(local.Addr().AsSlice(), port...)
	return t.addr[family], []nftables.SetElement{{Key: append(key, 0, 0)}}
}

// close removes the table.
func (t *ownerTable) close() { t.conn.CloseLasting() }
