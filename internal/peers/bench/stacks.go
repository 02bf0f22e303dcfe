package bench

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"rawtcp/engine"
	"rawtcp/rawsock"
)

// A stack is what a subject speaks TCP with.
type stack interface {
	Dial(ctx context.Context, remote netip.AddrPort) (net.Conn, error)
	Listen(local netip.AddrPort) (net.Listener, error)
}

// openStack opens the stack that a spec names.
func openStack(spec Spec) (stack, error) {
	switch spec.Stack {
	case goNet:
		return kernelStack{}, nil
	case ourRaw, ourPacket, ourSpinning:
		link, err := openLink(spec.Stack)
		if err != nil {
			return nil, err
		}
		return ours{engine.NewHost(engine.HostConfig{Link: link})}, nil
	case gvisorGSO, gvisorNoGSO:
		return openNetstack(spec)
	}
	return nil, fmt.Errorf("no stack is called %q", spec.Stack)
}

// kernelStack is the kernel's TCP through package net.
type kernelStack struct{}

func (kernelStack) Dial(ctx context.Context, remote netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	d.SetMultipathTCP(false)
	return d.DialContext(ctx, "tcp", remote.String())
}

func (kernelStack) Listen(local netip.AddrPort) (net.Listener, error) {
	var cfg net.ListenConfig
	cfg.SetMultipathTCP(false)
	return cfg.Listen(context.Background(), "tcp4", local.String())
}

// ours is our engine on a link of rawsock, as a program has it that sets nothing.
type ours struct{ *engine.Host }

// links are ours by the names that the table has for them.
var links = map[string]rawsock.IOMode{
	ourRaw: rawsock.RawIO, ourPacket: rawsock.PacketIO, ourSpinning: rawsock.RawIO,
	ourRawInTurn: rawsock.RawIO, ourPacketInTurn: rawsock.PacketIO,
}

// spin is how long the spinning link looks for packets before it sleeps.
const spin = time.Millisecond

// openLink opens the link of that name and sees to it that it is the one that was
// asked for.
func openLink(name string) (*rawsock.Conn, error) {
	io := links[name]
	cfg := rawsock.Config{Family: rawsock.IPv4, IO: io}
	if name == ourSpinning {
		cfg.Spin = spin
	}
	link, err := rawsock.Open(cfg)
	if err != nil {
		return nil, err
	}
	if got, why := link.IO(); got != io {
		return nil, fmt.Errorf("asked for the %v link and got %v: %s", io, got, why)
	}
	return link, nil
}

func (o ours) Dial(ctx context.Context, remote netip.AddrPort) (net.Conn, error) {
	return o.Host.Dial(ctx, remote, engine.DialConfig{})
}

func (o ours) Listen(local netip.AddrPort) (net.Listener, error) {
	return o.Host.Listen(local, engine.ListenConfig{Backlog: backlog})
}

// backlog is how many connections may wait for a subject that accepts, with every
// stack: that a queue is full is not what is measured.
const backlog = 4096
