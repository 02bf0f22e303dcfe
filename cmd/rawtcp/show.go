package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"rawtcp/engine"
	"rawtcp/internal/trace"
	"rawtcp/segment"
)

// showTime is the moment in which --show lets everything happen.
const showTime engine.Time = 1

// defaultMTU stands in where no interface says otherwise.
const defaultMTU = 1500

// showStack is an engine without a network.
func showStack(tracer engine.Tracer) *engine.Stack {
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // never fails: it ends the program rather
	return engine.NewStack(engine.StackConfig{Secret: secret, Tracer: tracer})
}

// show prints the SYN that connect would send.
func (r *connectRun) show(ctx context.Context) error {
	addrs, err := r.target.resolve(ctx, r.o.family())
	if err != nil {
		return err
	}
	if err := checkRemote(addrs[0]); err != nil {
		return err
	}
	remote := netip.AddrPortFrom(addrs[0].WithZone(""), r.target.port)
	source, mtu, err := routeUnprivileged(addrs[0], r.o.source, r.o.iface)
	if err != nil {
		return fail(exitLocal, "", "cannot reach %s: %w", r.target.host, err)
	}
	shown := &shownEvent{}
	stack := showStack(shown)
	port := r.o.sourcePort
	if port == 0 {
		port = stack.EphemeralPort(source, remote, 0)
	}
	if _, err := stack.Dial(showTime, netip.AddrPortFrom(source, port), remote, mtu, r.o.conn); err != nil {
		return usageError("%w", err)
	}
	return r.p.showFirst(stack, shown, r.o.json)
}

// show prints the SYN-ACK that listen would answer the SYN of a Linux host with.
func (r *listenRun) show(ctx context.Context, args []string) error {
	if r.o.mute {
		return usageError("--mute answers no SYN: there is nothing to show")
	}
	local, err := r.o.where(ctx, args)
	if err != nil {
		return err
	}
	syn := linuxSYN(local)
	packet, err := syn.Append(nil)
	if err != nil {
		return err
	}
	shown := &shownEvent{}
	stack := showStack(shown)
	cfg := engine.ListenConfig{Conn: r.o.conn}
	if _, err := stack.Listen(showTime, syn.Dst, func(netip.Addr) int { return defaultMTU }, cfg); err != nil {
		return usageError("%w", err)
	}
	stack.Deliver(showTime, packet, 0)
	return r.p.showFirst(stack, shown, r.o.json)
}

// linuxSYN is what a Linux host would open a connection to local with.
func linuxSYN(local netip.AddrPort) *segment.Segment {
	peer, here := netip.MustParseAddr("192.0.2.1"), local.Addr().WithZone("")
	switch {
	case here == netip.IPv6Unspecified(), here == netip.IPv4Unspecified():
		here = netip.MustParseAddr("192.0.2.2")
	case here.Is6():
		peer = netip.MustParseAddr("2001:db8::1")
	}
	s := &segment.Segment{
		Src: netip.AddrPortFrom(peer, 40000), Dst: netip.AddrPortFrom(here, max(local.Port(), 1)),
		Seq: segment.MakeSeq(1), Flags: segment.SYN, Window: 64240, TTL: 64,
	}
	s.Options = segment.Options{
		Set: segment.HasMSS | segment.HasSACKPermitted | segment.HasTimestamps | segment.HasWindowScale,
		MSS: 1460, WindowScale: 7, TSVal: 1,
	}
	return s
}

// routeUnprivileged asks the kernel for the source address by connecting a UDP
// socket, which sends nothing, and finds the MTU of the interface that has it.
func routeUnprivileged(remote, source netip.Addr, iface string) (netip.Addr, int, error) {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		if iface == "" {
			return nil
		}
		var err error
		ctlErr := c.Control(func(fd uintptr) { err = syscall.BindToDevice(int(fd), iface) })
		return firstOf(ctlErr, err)
	}}
	if source.IsValid() {
		d.LocalAddr = &net.UDPAddr{IP: source.AsSlice(), Zone: source.Zone()}
	}
	conn, err := d.Dial("udp", netip.AddrPortFrom(remote, 9).String())
	if err != nil {
		return netip.Addr{}, 0, err
	}
	defer conn.Close()
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().WithZone("")
	return local, mtuOf(local), nil
}

// mtuOf is the MTU of the interface with an address.
func mtuOf(local netip.Addr) int {
	interfaces, err := net.Interfaces()
	if err != nil {
		return defaultMTU
	}
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr() == local {
				return i.MTU
			}
		}
	}
	return defaultMTU
}

// shownEvent keeps the JSON line of the first segment sent.
type shownEvent struct{ line []byte }

// Trace implements engine.Tracer.
func (s *shownEvent) Trace(e *engine.Event) {
	if e.Kind == engine.EventSegmentOut && s.line == nil {
		s.line, _ = json.Marshal(trace.NewSegmentLine(e))
	}
}

// showFirst prints the first segment that the stack has to say.
func (p *program) showFirst(stack *engine.Stack, shown *shownEvent, asJSON bool) error {
	var s segment.Segment
	if !stack.Transmit(showTime, &s) {
		return fmt.Errorf("the engine has nothing to send")
	}
	if asJSON {
		return p.print(string(shown.line) + "\n")
	}
	packet, err := s.Append(nil)
	if err != nil {
		return err
	}
	return p.print(decoded(packet) + hexDump(packet))
}

// decoded shows a packet in words.
func decoded(packet []byte) string {
	var s segment.Segment
	if err := s.Parse(packet); err != nil {
		return err.Error() + "\n"
	}
	var b strings.Builder
	tcp := packet[segment.IPv6HeaderLen:]
	hop := "hop limit"
	if s.Src.Addr().Is4() {
		tcp = packet[segment.IPv4HeaderLen:]
		hop = "ttl"
	}
	fmt.Fprintf(&b, "%s\n", s.String())
	fmt.Fprintf(&b, "  IP   %s > %s, %s %d, tos %#02x, %d octets\n", s.Src.Addr(), s.Dst.Addr(), hop, s.TTL, s.TOS, len(packet))
	fmt.Fprintf(&b, "  TCP  %d > %d, flags %s, seq %s, ack %s, win %d, checksum %#04x\n",
		s.Src.Port(), s.Dst.Port(), s.Flags, s.Seq, s.Ack, s.Window, binary.BigEndian.Uint16(tcp[16:]))
	text := string(s.AppendText(nil, segment.Relative{}))
	if _, options, ok := strings.Cut(text, "<"); ok {
		fmt.Fprintf(&b, "       options %s\n", strings.TrimSuffix(options, ">"))
	}
	return b.String()
}

// hexDump is tcpdump's -X.
func hexDump(data []byte) string {
	var b strings.Builder
	for at := 0; at < len(data); at += 16 {
		row := data[at:min(at+16, len(data))]
		fmt.Fprintf(&b, "  %#04x: ", at)
		for i := range 16 {
			if i%2 == 0 {
				b.WriteByte(' ')
			}
			if i < len(row) {
				fmt.Fprintf(&b, "%02x", row[i])
			} else {
				b.WriteString("  ")
			}
		}
		b.WriteString("  ")
		for _, c := range row {
			if c < ' ' || c > '~' {
				c = '.'
			}
			b.WriteByte(c)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
