package probe

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"rawtcp/engine"
)

// The services of a Netstack.
const (
	EchoPort = 4000
	WebPort  = 4080
)

// closedPorts are those that a battery tries besides.
var closedPorts = []uint16{1, 9, 4, 31337}

// Netstack is gVisor's TCP with default settings on a link: an echo service and
// a web server.
type Netstack struct {
	stack  *stack.Stack
	ends   *channel.Endpoint
	link   engine.Link
	cancel context.CancelFunc
}

const nic = 1

// New puts a netstack with an IPv4 address on a link, and starts its services.
func New(link engine.Link, addr netip.Addr) (*Netstack, error) {
	ctx, cancel := context.WithCancel(context.Background())
	n := &Netstack{link: link, cancel: cancel, ends: channel.New(4096, 1500, "")}
	n.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
	})
	sack := tcpip.TCPSACKEnabled(true)
	if err := n.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &sack); err != nil {
		return nil, fmt.Errorf("set an option of netstack: %v", err)
	}
	if err := n.stack.CreateNIC(nic, n.ends); err != nil {
		return nil, fmt.Errorf("make an interface of netstack: %v", err)
	}
	address := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: tcpip.AddrFromSlice(addr.AsSlice()).WithPrefix()}
	if err := n.stack.AddProtocolAddress(nic, address, stack.AddressProperties{}); err != nil {
		return nil, fmt.Errorf("give netstack an address: %v", err)
	}
	n.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}})
	for _, port := range append([]uint16{EchoPort, WebPort}, closedPorts...) {
		if _, err := link.Claim(netip.AddrPortFrom(addr, port)); err != nil {
			return nil, err
		}
	}
	go n.inbound()
	go n.outbound(ctx)
	return n, n.serve(addr)
}

// Close ends the stack and the link.
func (n *Netstack) Close() {
	n.cancel()
	_ = n.link.Close()
	n.stack.Destroy()
}

func (n *Netstack) inbound() {
	bufs, sizes, stamps := [][]byte{make([]byte, 65600)}, make([]int, 1), make([]int64, 1)
	for {
		got, err := n.link.ReadBatch(bufs, sizes, stamps)
		if err != nil {
			return
		}
		if got == 0 {
			continue
		}
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(bufs[0][:sizes[0]])})
		n.ends.InjectInbound(ipv4.ProtocolNumber, pkt)
		pkt.DecRef()
	}
}

func (n *Netstack) outbound(ctx context.Context) {
	for {
		pkt := n.ends.ReadContext(ctx)
		if pkt == nil {
			return
		}
		view := pkt.ToView()
		_, _ = n.link.WriteBatch([][]byte{view.AsSlice()}) // a link that is closed says so to inbound
		view.Release()
		pkt.DecRef()
	}
}

func (n *Netstack) serve(addr netip.Addr) error {
	listen := func(port uint16) (net.Listener, error) {
		return gonet.ListenTCP(n.stack, tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFromSlice(addr.AsSlice()), Port: port}, ipv4.ProtocolNumber)
	}
	echo, err := listen(EchoPort)
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	web, err := listen(WebPort)
	if err != nil {
		return err
	}
	page := strings.Repeat("all work and no play\n", 8<<20/21)
	go func() {
		_ = http.Serve(web, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(page)))
			_, _ = io.WriteString(w, page)
		}))
	}()
	return nil
}
