package main

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/trace"
	"rawtcp/rawsock"
	"rawtcp/segment"
)

// talkOptions are the settings of every command that talks.
type talkOptions struct {
	ipv4, ipv6 bool
	iface      string
	source     netip.Addr
	sourcePort uint16
	timeout    time.Duration // of the whole run; 0: none
	verbose    int
	quiet      bool
	numeric    bool
	json       bool
	pcap       string // file, - for stdout, or empty
	report     string // file, or empty
	color      string
	time       trace.TimeStyle
	absolute   bool
	guard      rawsock.GuardMode
	io         rawsock.IOMode
	show       bool
	explain    bool
	force      bool
	live       bool // a terminal shows what the run waits for
	conn       engine.ConnConfig
}

// The groups that the full help sorts flags by.
const (
	groupData   = "Data"
	groupClose  = "Opening and closing"
	groupShape  = "Shape of our segments"
	groupSource = "Addresses and kernel"
	groupOutput = "Output"
)

func (o *talkOptions) flags() []flagSpec {
	return append(append(o.sourceFlags(), o.outputFlags()...), o.shapeFlags()...)
}

func (o *talkOptions) sourceFlags() []flagSpec {
	return []flagSpec{
		{name: "ipv4", short: "4", group: groupSource, usage: "IPv4 only", set: switchTo(&o.ipv4)},
		{name: "ipv6", short: "6", group: groupSource, usage: "IPv6 only", set: switchTo(&o.ipv6)},
		{name: "interface", short: "I", arg: "IFACE", group: groupSource, usage: "send and receive on this interface only", set: o.setInterface},
		{name: "source", short: "s", arg: "ADDR", group: groupSource, usage: "our address (default: the route's)", set: o.setSource},
		{name: "source-port", arg: "N", group: groupSource, usage: "our port (default: a random one, RFC 6056)", set: numberTo(&o.sourcePort, 1, 65535)},
		{name: "timeout", short: "w", arg: "D", group: groupSource, usage: "end the whole run after D", set: positiveTo(&o.timeout)},
		{name: "guard", arg: "MODE", group: groupSource, usage: "how the kernel is kept silent: auto, socket, nft or none", set: o.setGuard},
		{name: "io", arg: "WAY", group: groupSource, usage: "raw (a raw IP socket, the default) or packet (Ethernet frames; past this host's firewall)", set: o.setIO},
	}
}

func (o *talkOptions) outputFlags() []flagSpec {
	return []flagSpec{
		{name: "verbose", short: "v", counted: true, group: groupOutput, usage: "say why each segment was sent, show timers; -vv: sequence variables too", set: numberTo(&o.verbose, 0, 9)},
		{name: "explain", group: groupOutput, usage: "after each step say in plain sentences what it does, and why", set: switchTo(&o.explain)},
		{name: "quiet", short: "q", group: groupOutput, usage: "only the summary", set: switchTo(&o.quiet)},
		{name: "numeric", short: "n", group: groupOutput, usage: "numbers only; rawtcp never looks names of addresses up, so this is how it always is", set: switchTo(&o.numeric)},
		{name: "json", short: "j", group: groupOutput, usage: "JSON Lines on stdout; with -v the ladder on stderr as well", set: switchTo(&o.json)},
		{name: "pcap", arg: "FILE", group: groupOutput, usage: "write a pcapng capture; - is stdout, the text then goes to stderr", set: textTo(&o.pcap)},
		{name: "report", arg: "FILE", group: groupOutput, usage: "write a report at the end: one HTML file with ladder, graphs, states and timers", set: textTo(&o.report)},
		{name: "color", arg: "WHEN", group: groupOutput, usage: "auto, always or never", set: oneOf(&o.color, "auto", "always", "never")},
		{name: "time", arg: "STYLE", group: groupOutput, usage: "time of each line: rel, delta, abs or epoch", set: o.setTime},
		{name: "absolute-seq", short: "S", group: groupOutput, usage: "sequence numbers as on the wire", set: switchTo(&o.absolute)},
		{name: "show", group: groupOutput, usage: "print the first segment we would send, in hex and decoded, and send nothing; needs no privilege", set: switchTo(&o.show)},
		{name: "force", group: groupOutput, usage: "overwrite output files", set: switchTo(&o.force)},
	}
}

func (o *talkOptions) shapeFlags() []flagSpec {
	c := &o.conn
	return []flagSpec{
		{name: "mss", arg: "N", group: groupShape, usage: "MSS option in octets (default: from the MTU), or off", set: offOr(&c.MSS, 1, 65535)},
		{name: "wscale", arg: "N", group: groupShape, usage: "window scale shift, 1 to 14 (default: fits the buffer), or off", set: offOr(&c.WindowScale, 1, 14)},
		{name: "window", arg: "N", group: groupShape, usage: "advertise exactly this receive window, in octets", set: numberTo(&c.Window, 1, 1<<30)},
		{name: "sack", arg: "on|off", group: groupShape, usage: "selective acknowledgements", set: onOff(&c.SACK)},
		{name: "timestamps", arg: "on|off", group: groupShape, usage: "timestamps option", set: onOff(&c.Timestamps)},
		{name: "ecn", arg: "on|off", group: groupShape, usage: "explicit congestion notification (default off)", set: onOff(&c.ECN)},
		{name: "ttl", arg: "N", group: groupShape, usage: "TTL or hop limit (default 64)", set: numberTo(&c.TTL, 1, 255)},
		{name: "tos", arg: "N", group: groupShape, usage: "TOS or traffic class", set: numberTo(&c.TOS, 0, 255)},
		{name: "isn", arg: "N", group: groupShape, usage: "our initial sequence number (default: RFC 6528)", set: o.setISN},
	}
}

// check finds settings that contradict each other.
func (o *talkOptions) check() error {
	switch {
	case o.ipv4 && o.ipv6:
		return usageError("-4 and -6 exclude each other")
	case o.quiet && o.verbose > 0:
		return usageError("-q and -v exclude each other")
	case o.quiet && o.explain:
		return usageError("-q and --explain exclude each other")
	case o.json && o.pcap == "-":
		return usageError("--json and --pcap - both want stdout; write the capture to a file")
	case o.report == "-":
		return usageError("--report wants a file; for stdout: -j into rawtcp report - -o -")
	case o.source.IsValid() && o.ipv4 && !o.source.Is4():
		return usageError("-4 and the source %s exclude each other", o.source)
	case o.source.IsValid() && o.ipv6 && !o.source.Is6():
		return usageError("-6 and the source %s exclude each other", o.source)
	}
	return nil
}

// family is the address family that -4, -6 or the source address ask for.
func (o *talkOptions) family() rawsock.Family {
	switch {
	case o.ipv4 || o.source.Is4():
		return rawsock.IPv4
	case o.ipv6 || o.source.Is6():
		return rawsock.IPv6
	}
	return rawsock.Both
}

// setInterface takes an address too, as ping's -I does.
func (o *talkOptions) setInterface(s string) error {
	if addr, err := netip.ParseAddr(s); err == nil {
		o.source = addr.Unmap()
		return nil
	}
	if strings.ContainsAny(s, "/ \x00") || len(s) > 15 || s == "" {
		return fmt.Errorf("want the name of an interface (ip link lists them)")
	}
	o.iface = s
	return nil
}

func (o *talkOptions) setSource(s string) error {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return fmt.Errorf("want an IPv4 or IPv6 address of this host")
	}
	o.source = addr.Unmap()
	return nil
}

func (o *talkOptions) setGuard(s string) error {
	modes := []rawsock.GuardMode{rawsock.GuardAuto, rawsock.GuardSocket, rawsock.GuardNFT, rawsock.GuardNone}
	for _, mode := range modes {
		if s == mode.String() {
			o.guard = mode
			return nil
		}
	}
	return fmt.Errorf("want auto, socket, nft or none")
}

func (o *talkOptions) setIO(s string) error {
	for _, mode := range []rawsock.IOMode{rawsock.RawIO, rawsock.PacketIO} {
		if s == mode.String() {
			o.io = mode
			return nil
		}
	}
	return fmt.Errorf("want raw or packet")
}

func (o *talkOptions) setTime(s string) error {
	style, err := trace.ParseTimeStyle(s)
	o.time = style
	return err
}

func (o *talkOptions) setISN(s string) error {
	var n uint32
	if err := numberTo(&n, 0, 1<<32-1)(s); err != nil {
		return err
	}
	isn := segment.MakeSeq(n)
	o.conn.ISN = &isn
	return nil
}

// offOr accepts a number, or off, which the engine knows as -1.
func offOr(p *int, low, high int64) func(string) error {
	return func(s string) error {
		if s == "off" {
			*p = -1
			return nil
		}
		if err := numberTo(p, low, high)(s); err != nil {
			return fmt.Errorf("%w, or off", err)
		}
		return nil
	}
}

func onOff(p *engine.Switch) func(string) error {
	return func(s string) error {
		switch s {
		case "on":
			*p = engine.On
		case "off":
			*p = engine.Off
		default:
			return fmt.Errorf("want on or off")
		}
		return nil
	}
}
