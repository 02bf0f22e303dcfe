// Package traffic makes captures of many connections out of nothing, to measure
// readers with.
package traffic

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net/netip"

	"rawtcp/segment"
)

// A traffic makes a capture of many connections that talk side by side: a
// request, an answer of some size, sometimes a segment sent again, a close.
type traffic struct {
	out     io.Writer
	rand    *rand.Rand
	at      int64
	written int64
	conns   []*conversation
	packet  []byte
	record  []byte
	payload []byte
	id      uint16
}

// A conversation is one connection of a traffic.
type conversation struct {
	client, server netip.AddrPort
	seq, ack       segment.Seq // of the client
	step, left     int
}

// sideBySide is how many conversations a traffic has at once.
const sideBySide = 2000

// Write writes a capture of about size octets, classic pcap with Ethernet frames
// and nanoseconds. The seed determines it.
func Write(out io.Writer, size int64, seed uint64) error {
	g := &traffic{out: out, rand: rand.New(rand.NewPCG(seed, 1)), at: 1_700_000_000e9, payload: make([]byte, 1460)}
	header := binary.LittleEndian.AppendUint32(nil, 0xa1b23c4d)
	header = binary.LittleEndian.AppendUint16(header, 2)
	header = binary.LittleEndian.AppendUint16(header, 4)
	header = append(header, make([]byte, 8)...)
	header = binary.LittleEndian.AppendUint32(header, 262144)
	header = binary.LittleEndian.AppendUint32(header, 1)
	if _, err := out.Write(header); err != nil {
		return err
	}
	for i := range g.payload {
		g.payload[i] = byte(i)
	}
	for g.written < size {
		if len(g.conns) < sideBySide {
			g.conns = append(g.conns, g.begin())
		}
		i := g.rand.IntN(len(g.conns))
		done, err := g.conns[i].next(g)
		if err != nil {
			return err
		}
		if done {
			g.conns[i] = g.begin()
		}
	}
	return nil
}

func (g *traffic) begin() *conversation {
	return &conversation{
		client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(g.rand.IntN(256)), byte(g.rand.IntN(256))}), uint16(1024+g.rand.IntN(60000))),
		server: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 19, 0, byte(g.rand.IntN(16))}), 443),
		seq:    segment.MakeSeq(g.rand.Uint32()), ack: segment.MakeSeq(g.rand.Uint32()), left: 1 + g.rand.IntN(60),
	}
}

// next sends the next segment of a conversation.
func (c *conversation) next(g *traffic) (done bool, err error) {
	up, down := segment.Segment{Src: c.client, Dst: c.server}, segment.Segment{Src: c.server, Dst: c.client}
	s := &up
	c.step++
	switch {
	case c.step == 1:
		s.Flags = segment.SYN
		s.Options.Set, s.Options.MSS = segment.HasMSS, 1460
	case c.step == 2:
		s = &down
		s.Flags = segment.SYN | segment.ACK
		s.Options.Set, s.Options.MSS = segment.HasMSS, 1460
	case c.step == 3:
		s.Flags = segment.ACK
		c.ack = c.ack.Add(1)
	case c.step == 4:
		s.Flags, s.Payload = segment.ACK|segment.PSH, g.payload[:400]
	case c.left > 0 && c.step%3 == 0:
		s.Flags = segment.ACK
	case c.left > 0:
		c.left--
		s = &down
		s.Flags, s.Payload = segment.ACK, g.payload
	case c.left == 0:
		c.left--
		s = &down
		s.Flags = segment.ACK | segment.FIN
	case c.left == -1:
		c.left--
		s.Flags = segment.ACK | segment.FIN
	default:
		s = &down
		s.Flags = segment.ACK
		done = true
	}
	g.id++
	s.Window, s.IPID = 65535, g.id
	s.Seq, s.Ack = c.seq, c.ack
	if s == &down {
		s.Seq, s.Ack = c.ack, c.seq
	}
	if err = g.send(s); err != nil {
		return done, err
	}
	if again := s == &down && len(s.Payload) > 0 && g.rand.IntN(100) == 0; again {
		s.IPID++
		err = g.send(s)
	}
	if s == &up {
		c.seq = s.End()
	} else if c.step > 2 {
		c.ack = s.End()
	}
	return done, err
}

func (g *traffic) send(s *segment.Segment) (err error) {
	if g.packet, err = s.Append(g.packet[:0]); err != nil {
		return err
	}
	g.at += int64(g.rand.IntN(2000))
	b := binary.LittleEndian.AppendUint32(g.record[:0], uint32(g.at/1e9))
	b = binary.LittleEndian.AppendUint32(b, uint32(g.at%1e9))
	size := uint32(14 + len(g.packet))
	b = binary.LittleEndian.AppendUint32(b, size)
	b = binary.LittleEndian.AppendUint32(b, size)
	b = append(b, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0)
	g.record = append(b, g.packet...)
	g.written += int64(len(g.record))
	_, err = g.out.Write(g.record)
	return err
}
