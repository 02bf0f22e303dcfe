package probe

import (
	"encoding/binary"

	"rawtcp/internal/puppet"
	"rawtcp/segment"
)

// A complaint is an ICMP error that an end of a connection may send.
type complaint struct {
	name       string
	kind, code uint8
	hard       bool // says that it will stay like this
}

// Of "fragmentation needed" row C16 says nothing: it would shrink what the host
// sends to us for minutes.
var (
	complaints4 = []complaint{
		{"net_unreachable", 3, 0, false}, {"host_unreachable", 3, 1, false}, {"time_exceeded", 11, 0, false},
		{"protocol_unreachable", 3, 2, true}, {"port_unreachable", 3, 3, true},
	}
	complaints6 = []complaint{
		{"no_route", 1, 0, false}, {"address_unreachable", 1, 3, false}, {"time_exceeded", 3, 0, false},
		{"port_unreachable", 1, 4, true},
	}
)

// icmpErrors complains of what the host has sent, first with a sequence number
// that it never used. An error is about one segment: a new one for each.
func icmpErrors(t *T) string {
	complaints := complaints4
	if t.Target.Addr().Is6() {
		complaints = complaints6
	}
	said := "survives"
	for _, c := range complaints {
		p, seen := t.unacknowledged()
		p.Complain(c.kind, c.code, moveSeq(seen.Bytes, 1<<30))
		if !t.Lives(p) {
			t.Fact(c.name, "aborts, whatever the sequence number")
			return "blind"
		}
		p.Complain(c.kind, c.code, seen.Bytes)
		lives := t.Lives(p)
		t.Fact(c.name, "%s", map[bool]string{true: "survives", false: "aborts"}[lives])
		switch {
		case lives:
		case !c.hard:
			return "soft-aborts"
		default:
			said = "hard-aborts"
		}
		p.Close()
	}
	return said
}

// unacknowledged returns a connection with data of the host's that we have not
// acknowledged, and a segment of it.
func (t *T) unacknowledged() (*puppet.Puppet, *puppet.Arrival) {
	p := t.Connect()
	p.HoldAck()
	t.Request(p)
	a := t.seen(p, t.Patience(), puppet.Data)
	if a == nil {
		t.Unknown("the service sent no data")
	}
	return p, a
}

// moveSeq returns a packet with another sequence number.
func moveSeq(packet []byte, by uint32) []byte {
	moved := append([]byte(nil), packet...)
	at := segment.IPv6HeaderLen
	if moved[0]>>4 == 4 {
		at = int(moved[0]&15) * 4
	}
	field := moved[at+4:]
	binary.BigEndian.PutUint32(field, binary.BigEndian.Uint32(field)+by)
	return moved
}
