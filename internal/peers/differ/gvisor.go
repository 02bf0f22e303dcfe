// Package differ holds the conversations of rawtcp/internal/differ with
// gVisor's netstack, in virtual time, and compares it with our engine.
package differ

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/faketime"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"rawtcp/internal/differ"
	"rawtcp/segment"
)

// Gvisor is netstack as a differ.Subject.
type Gvisor struct {
	stack *stack.Stack
	clock *faketime.ManualClock
	link  *channel.Endpoint
	port  uint16

	listener, conn tcpip.Endpoint
	peer           netip.AddrPort
	family         tcpip.NetworkProtocolNumber
	failed         bool
	pending        [][]byte
}

const nic = 1

// fencePort listens for fences only.
const fencePort = 9

// New returns a netstack. Close ends it.
func New() (*Gvisor, error) {
	g := &Gvisor{clock: faketime.NewManualClock(), link: channel.New(4096, 1500, ""), port: firstPort}
	// One processor goroutine, so that what a fence is answered after is over.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	g.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
		Clock:              g.clock,
	})
	if err := g.configure(); err != nil {
		return nil, err
	}
	for _, family := range []tcpip.NetworkProtocolNumber{ipv4.ProtocolNumber, ipv6.ProtocolNumber} {
		if _, err := g.listen(family, fencePort); err != nil {
			return nil, fmt.Errorf("listen with netstack: %v", err)
		}
	}
	return g, nil
}

// Close ends the stack.
func (g *Gvisor) Close() { g.stack.Destroy() }

func (g *Gvisor) configure() error {
	sack, recovery, noModeration := tcpip.TCPSACKEnabled(true), tcpip.TCPRecovery(0), tcpip.TCPModerateReceiveBufferOption(false)
	for _, option := range []tcpip.SettableTransportProtocolOption{&sack, &recovery, &noModeration} {
		if err := g.stack.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
			return fmt.Errorf("set an option of netstack: %v", err)
		}
	}
	if err := g.stack.SetOption(stack.TCPInvalidRateLimitOption(0)); err != nil {
		return fmt.Errorf("set an option of netstack: %v", err)
	}
	if err := g.stack.CreateNIC(nic, g.link); err != nil {
		return fmt.Errorf("make an interface of netstack: %v", err)
	}
	for _, a := range []netip.Addr{differ.Our4, differ.Our6} {
		address := tcpip.ProtocolAddress{Protocol: protocolOf(a), AddressWithPrefix: tcpip.AddrFromSlice(a.AsSlice()).WithPrefix()}
		if err := g.stack.AddProtocolAddress(nic, address, stack.AddressProperties{}); err != nil {
			return fmt.Errorf("give netstack an address: %v", err)
		}
	}
	g.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}, {Destination: header.IPv6EmptySubnet, NIC: nic}})
	return nil
}

func protocolOf(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}

// bound returns an endpoint with a port.
func (g *Gvisor) bound(family tcpip.NetworkProtocolNumber, port uint16) (tcpip.Endpoint, tcpip.Error) {
	ep, err := g.stack.NewEndpoint(tcp.ProtocolNumber, family, &waiter.Queue{})
	if err != nil {
		return nil, err
	}
	ep.SocketOptions().SetV6Only(true) // or both families could not share a port
	if err := ep.Bind(tcpip.FullAddress{Port: port}); err != nil {
		ep.Close()
		return nil, err
	}
	return ep, nil
}

func (g *Gvisor) listen(family tcpip.NetworkProtocolNumber, port uint16) (tcpip.Endpoint, tcpip.Error) {
	ep, err := g.bound(family, port)
	if err == nil {
		err = ep.Listen(8)
	}
	return ep, err
}

// Begin implements differ.Subject.
func (g *Gvisor) Begin(active bool, peer netip.AddrPort) (netip.AddrPort, error) {
	g.peer, g.family, g.failed = peer, protocolOf(peer.Addr()), false
	for range 1 << 16 {
		if g.port++; g.port < firstPort {
			g.port = firstPort
		}
		err := g.open(active, peer)
		if _, taken := err.(*tcpip.ErrPortInUse); taken { // of long ago, and its endpoint is still going
			continue
		}
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("open with netstack: %v", err)
		}
		return netip.AddrPortFrom(differ.LocalAddr(peer), g.port), nil
	}
	return netip.AddrPort{}, errors.New("netstack has no port left")
}

// firstPort is the first of those that conversations take in turn.
const firstPort = 5000

func (g *Gvisor) open(active bool, peer netip.AddrPort) (err tcpip.Error) {
	if !active {
		g.listener, err = g.listen(g.family, g.port)
		return err
	}
	ep, err := g.bound(g.family, g.port)
	if err != nil {
		return err
	}
	err = ep.Connect(tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFromSlice(peer.Addr().AsSlice()), Port: peer.Port()})
	if _, started := err.(*tcpip.ErrConnectStarted); started {
		g.conn, err = ep, nil
	}
	return err
}

// Deliver implements differ.Subject.
func (g *Gvisor) Deliver(pkt []byte) error {
	g.clock.Advance(time.Millisecond)
	g.inject(pkt)
	return g.fence()
}

func (g *Gvisor) inject(pkt []byte) {
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(bytes.Clone(pkt))})
	defer p.DecRef()
	g.link.InjectInbound(g.family, p)
}

// fence waits until all that was delivered is processed: netstack's processor
// takes endpoints in turn, and answers an ACK to a listener with a RST.
func (g *Gvisor) fence() error {
	from := netip.AddrPortFrom(g.peer.Addr(), fencePort)
	to := netip.AddrPortFrom(differ.LocalAddr(g.peer), fencePort)
	s := segment.Segment{Src: from, Dst: to, Flags: segment.ACK, Ack: segment.MakeSeq(1)}
	pkt, err := s.Append(nil)
	if err != nil {
		return err
	}
	g.inject(pkt)
	for end := time.Now().Add(30 * time.Second); ; {
		for out := g.link.Read(); out != nil; out = g.link.Read() {
			pkt := bytes.Clone(out.ToView().AsSlice())
			out.DecRef()
			if s.Parse(pkt) == nil && s.Src == to && s.Dst == from {
				return nil
			}
			g.pending = append(g.pending, pkt)
		}
		if time.Now().After(end) {
			return errors.New("netstack does not answer a fence")
		}
		runtime.Gosched()
	}
}

// Sent implements differ.Subject.
func (g *Gvisor) Sent() ([][]byte, error) {
	if err := g.fence(); err != nil {
		return nil, err
	}
	pkts := g.pending
	g.pending = nil
	return pkts, nil
}

func (g *Gvisor) user() tcpip.Endpoint {
	if g.conn == nil && g.listener != nil {
		if ep, _, err := g.listener.Accept(nil); err == nil {
			g.conn = ep
		}
	}
	return g.conn
}

// Write implements differ.Subject.
func (g *Gvisor) Write(p []byte) {
	if ep := g.user(); ep != nil {
		_, _ = ep.Write(bytes.NewReader(p), tcpip.WriteOptions{})
	}
}

// CloseWrite implements differ.Subject.
func (g *Gvisor) CloseWrite() {
	if ep := g.user(); ep != nil {
		_ = ep.Shutdown(tcpip.ShutdownWrite)
	}
}

// Read implements differ.Subject.
func (g *Gvisor) Read() ([]byte, differ.End) {
	ep := g.user()
	if ep == nil {
		return nil, differ.None
	}
	var data bytes.Buffer
	for !g.failed {
		switch _, err := ep.Read(io.Writer(&data), tcpip.ReadOptions{}); err.(type) {
		case nil:
			continue
		case *tcpip.ErrWouldBlock, *tcpip.ErrNotConnected, *tcpip.ErrInvalidEndpointState:
			return data.Bytes(), differ.Open
		case *tcpip.ErrClosedForReceive:
			return data.Bytes(), differ.EOF
		default:
			g.failed = true // told once
		}
	}
	return data.Bytes(), differ.Failed
}

// Finish implements differ.Subject.
func (g *Gvisor) Finish() error {
	for _, ep := range []tcpip.Endpoint{g.conn, g.listener} {
		if ep != nil {
			ep.Abort()
		}
	}
	g.conn, g.listener = nil, nil
	g.clock.Advance(5 * time.Minute)
	err := g.fence()
	g.pending = nil
	return err
}
