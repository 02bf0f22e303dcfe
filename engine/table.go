package engine

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
)

// A connTable finds a connection by its two sockets (RFC 9293 section 3.3.1). Its keys are the bare
// addresses and ports, a third of a netip.AddrPort's octets: with a hundred
// thousand connections the table is a good part of what an idle one costs.
type connTable struct {
	v4 map[key4]*Conn
	v6 map[key6]*Conn
}

type (
	key4 struct {
		local, remote         [4]byte
		localPort, remotePort uint16
	}
	key6 struct {
		local, remote         [16]byte
		localPort, remotePort uint16
	}
)

func newConnTable() connTable {
	return connTable{v4: make(map[key4]*Conn), v6: make(map[key6]*Conn)}
}

func (t *connTable) len() int { return len(t.v4) + len(t.v6) }

// bothIPv4 says which of the maps is meant.
func bothIPv4(local, remote netip.AddrPort) bool { return local.Addr().Is4() && remote.Addr().Is4() }

// find returns the connection between two sockets, nil if there is none.
func (t *connTable) find(local, remote netip.AddrPort) *Conn {
	if bothIPv4(local, remote) {
		return t.v4[toKey4(local, remote)]
	}
	return t.v6[toKey6(local, remote)]
}

func (t *connTable) add(c *Conn) {
	if bothIPv4(c.local, c.remote) {
		t.v4[toKey4(c.local, c.remote)] = c
	} else {
		t.v6[toKey6(c.local, c.remote)] = c
	}
}

// remove takes c out, if c is what stands there, and reports whether it was.
func (t *connTable) remove(c *Conn) bool {
	switch {
	case t.find(c.local, c.remote) != c:
		return false
	case bothIPv4(c.local, c.remote):
		delete(t.v4, toKey4(c.local, c.remote))
	default:
		delete(t.v6, toKey6(c.local, c.remote))
	}
	return true
}

// inOrder returns the connections by age, so that no decision hangs on a map's order.
func (t *connTable) inOrder() []*Conn {
	byAge := func(a, b *Conn) int { return cmp.Compare(a.id, b.id) }
	list := append(slices.SortedFunc(maps.Values(t.v4), byAge), slices.SortedFunc(maps.Values(t.v6), byAge)...)
	slices.SortFunc(list, byAge)
	return list
}

func toKey4(local, remote netip.AddrPort) key4 {
	return key4{local.Addr().As4(), remote.Addr().As4(), local.Port(), remote.Port()}
}

func toKey6(local, remote netip.AddrPort) key6 {
	return key6{local.Addr().As16(), remote.Addr().As16(), local.Port(), remote.Port()}
}
