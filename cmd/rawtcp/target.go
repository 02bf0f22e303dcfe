package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"rawtcp/rawsock"
)

// A target is HOST:PORT as the user wrote it, with the port as a number.
type target struct {
	host string // name or address, without brackets
	port uint16
}

// parseTarget reads HOST:PORT, HOST PORT or [V6]:PORT. The port may be a
// service name.
func parseTarget(args []string) (target, error) {
	host, port, err := splitTarget(args)
	if err != nil {
		return target{}, err
	}
	if err := checkHost(host); err != nil {
		return target{}, err
	}
	n, err := parsePort(port)
	return target{host, n}, err
}

func splitTarget(args []string) (host, port string, err error) {
	switch len(args) {
	case 0:
		return "", "", usageError("no target: want HOST:PORT")
	case 1:
		return splitHostPort(args[0])
	case 2:
		return strings.TrimSuffix(strings.TrimPrefix(args[0], "["), "]"), args[1], nil
	}
	return "", "", usageError("too many arguments: want HOST:PORT, got %q after it", args[2])
}

func splitHostPort(s string) (host, port string, err error) {
	if scheme, rest, isURL := strings.Cut(s, "://"); isURL {
		name, _, _ := strings.Cut(rest, "/")
		return "", "", usageError("want HOST:PORT, not a URL: try %s:%s", name, scheme)
	}
	host, port, err = net.SplitHostPort(s)
	switch {
	case err == nil:
		return host, port, nil
	case strings.Count(s, ":") > 1 && !strings.HasPrefix(s, "["):
		return "", "", usageError("%q: write an IPv6 address and its port as [ADDRESS]:PORT", s)
	case !strings.Contains(s, ":"):
		return "", "", usageError("%q has no port: want HOST:PORT", s)
	}
	return "", "", usageError("%q is not HOST:PORT", s)
}

// checkHost refuses what no resolver should be asked, before it is.
func checkHost(host string) error {
	switch {
	case host == "":
		return usageError("no host before the port: want HOST:PORT")
	case strings.HasPrefix(host, "-"):
		return usageError("host %q begins with a dash", host)
	case len(host) > 253+1+15: // a name, or an address with a zone
		return usageError("the host's name is too long")
	case strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return usageError("host %q holds a blank or control character", host)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	// A resolver may take 010.1 or 0x7f.1 for an address, each its own way.
	if strings.Trim(host, "0123456789.") == "" || strings.HasPrefix(strings.ToLower(host), "0x") {
		return usageError("%q is not an IPv4 address: want four numbers from 0 to 255 without leading zeros", host)
	}
	if strings.Contains(host, ":") {
		return usageError("%q is not an IPv6 address", host)
	}
	return nil
}

// parsePort reads a port's number or the name of a service, such as https.
func parsePort(s string) (uint16, error) {
	if n, err := strconv.ParseUint(s, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		if n < 1 || n > 65535 {
			return 0, usageError("port %s is not from 1 to 65535", s)
		}
		return uint16(n), nil
	}
	n, err := net.DefaultResolver.LookupPort(context.Background(), "tcp", s)
	if err != nil || n < 1 || s == "" {
		return 0, usageError("port %q is neither a number nor the name of a service (/etc/services)", s)
	}
	return uint16(n), nil
}

// checkRemote refuses what can be no TCP peer (RFC 9293 section 3.9.1.1, MUST-46).
func checkRemote(addr netip.Addr) error {
	if addr.IsMulticast() || addr.IsUnspecified() || addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return usageError("%s cannot be a TCP destination", addr)
	}
	return nil
}

// resolve returns the addresses of the target's host, of one family if so asked.
func (t target) resolve(ctx context.Context, family rawsock.Family) ([]netip.Addr, error) {
	network := "ip"
	switch family {
	case rawsock.IPv4:
		network = "ip4"
	case rawsock.IPv6:
		network = "ip6"
	}
	if addr, err := netip.ParseAddr(t.host); err == nil {
		addr = addr.Unmap()
		if network == "ip4" && !addr.Is4() || network == "ip6" && !addr.Is6() {
			return nil, usageError("%s is not of the address family asked for", addr)
		}
		return []netip.Addr{addr}, nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, network, t.host)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, nameFailure(t.host, network, err)
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, nil
}

func nameFailure(host, network string, err error) error {
	reason := err.Error()
	var dns *net.DNSError
	if errors.As(err, &dns) {
		reason = dns.Err
	}
	hint := ""
	if network != "ip" {
		hint = "-4, -6 and --source narrow the lookup to one address family"
	}
	return fail(exitName, hint, "cannot resolve %q: %s", host, reason)
}

// String is HOST:PORT.
func (t target) String() string { return net.JoinHostPort(t.host, strconv.Itoa(int(t.port))) }
