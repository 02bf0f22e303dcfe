package bench

import (
	"context"
	"fmt"
	"net"
	"net/netip"

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
	case ourRaw:
		return openOurs(rawsock.RawIO)
	case ourPacket:
		return openOurs(rawsock.PacketIO)
	case gvisorGSO:
		return openNetstack(spec.Local, true)
	case gvisorNoGSO:
		return openNetstack(spec.Local, false)
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

func openOurs(io rawsock.IOMode) (stack, error) {
	link, err := rawsock.Open(rawsock.Config{Family: rawsock.IPv4, IO: io})
	if err != nil {
		return nil, err
	}
	if got, why := link.IO(); got != io {
		return nil, fmt.Errorf("asked for the %v link and got %v: %s", io, got, why)
	}
	return ours{engine.NewHost(engine.HostConfig{Link: link})}, nil
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
