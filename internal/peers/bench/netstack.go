package bench

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/fdbased"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	gvisorstack "gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// netstack is gVisor's TCP on a packet socket, set up as gVisor's own runsc does
// it: recvmmsg, buffers of 4 MiB, received checksums not verified, windows tuned,
// and, with gso, super-segments of 64 KiB in both directions. Its own GRO is on
// besides where octets stream: that is worth a third to it on a road whose kernel
// merges nothing.
type netstack struct{ *gvisorstack.Stack }

const (
	netstackNIC  = 1
	socketBuffer = 4 << 20
)

func openNetstack(spec Spec) (stack, error) {
	gso := spec.Stack == gvisorGSO
	iface, err := net.InterfaceByName("eth0")
	if err != nil {
		return nil, err
	}
	fd, err := packetSocket(iface.Index, gso)
	if err != nil {
		return nil, fmt.Errorf("open a packet socket for gVisor: %w", err)
	}
	opts := &fdbased.Options{FDs: []int{fd}, MTU: mtu, EthernetHeader: true, Address: tcpip.LinkAddress(iface.HardwareAddr),
		PacketDispatchMode: fdbased.RecvMMsg, RXChecksumOffload: true}
	if gso {
		opts.GSOMaxSize = 65536
		opts.GRO = spec.Work == "send" || spec.Work == "receive"
	}
	link, err := fdbased.New(opts)
	if err != nil {
		return nil, err
	}
	n := netstack{gvisorstack.New(gvisorstack.Options{
		NetworkProtocols:   []gvisorstack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []gvisorstack.TransportProtocolFactory{tcp.NewProtocol},
		HandleLocal:        true,
	})}
	return n, n.configure(link, spec.Local)
}

func packetSocket(ifindex int, gso bool) (int, error) {
	const all = 0x0300 // htons(ETH_P_ALL)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if gso {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
			return 0, err
		}
	}
	for _, o := range []struct{ force, plain int }{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, o.force, socketBuffer) == nil {
			continue
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, o.plain, socketBuffer); err != nil {
			return 0, err
		}
	}
	return fd, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: ifindex})
}

// configure brings the interface up with its address, and TCP as runsc has it.
func (n netstack) configure(link gvisorstack.LinkEndpoint, local netip.Addr) error {
	sack, moderate := tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(true)
	for _, o := range []tcpip.SettableTransportProtocolOption{&sack, &moderate} {
		if err := n.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return fmt.Errorf("set an option of gVisor: %v", err)
		}
	}
	if err := n.CreateNIC(netstackNIC, link); err != nil {
		return fmt.Errorf("make an interface of gVisor: %v", err)
	}
	address := tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(local.As4()), PrefixLen: 24}
	protocol := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: address}
	if err := n.AddProtocolAddress(netstackNIC, protocol, gvisorstack.AddressProperties{}); err != nil {
		return fmt.Errorf("give gVisor an address: %v", err)
	}
	n.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: netstackNIC}})
	return nil
}

// full is an address in gVisor's words.
func full(a netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: netstackNIC, Addr: tcpip.AddrFrom4(a.Addr().As4()), Port: a.Port()}
}

func (n netstack) Dial(ctx context.Context, remote netip.AddrPort) (net.Conn, error) {
	return gonet.DialContextTCP(ctx, n.Stack, full(remote), ipv4.ProtocolNumber)
}

func (n netstack) Listen(local netip.AddrPort) (net.Listener, error) {
	var wq waiter.Queue
	ep, err := n.NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, &wq)
	if err == nil {
		err = ep.Bind(full(local))
	}
	if err == nil {
		err = ep.Listen(backlog)
	}
	if err != nil {
		return nil, fmt.Errorf("listen with gVisor: %v", err)
	}
	return gonet.NewTCPListener(n.Stack, &wq, ep), nil
}
