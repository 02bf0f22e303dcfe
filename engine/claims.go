package engine

import (
	"io"
	"net/netip"
	"slices"
	"sync"
)

// claims are the local addresses and ports that the kernel leaves to a Host.
// Connections and listeners share a claim; the last one to go gives it back.
type claims struct {
	link Link
	mu   sync.Mutex          // a lock of its own: a claim costs system calls
	held map[uint16][]*claim // by port
}

// A claim is one claimed address and port.
type claim struct {
	of     *claims
	local  netip.AddrPort
	users  int
	closer io.Closer
}

// take returns a claim that covers local, a new one if none does. The caller
// must release it once.
func (s *claims) take(local netip.AddrPort) (*claim, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.held[local.Port()] {
		if c.covers(local.Addr()) {
			c.users++
			return c, nil
		}
	}
	closer, err := s.link.Claim(local)
	if err != nil {
		return nil, err
	}
	c := &claim{of: s, local: local, users: 1, closer: closer}
	s.held[local.Port()] = append(s.held[local.Port()], c)
	return c, nil
}

// share makes one more user of a claim.
func (c *claim) share() *claim {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.users++
	return c
}

// release ends one use.
func (c *claim) release() {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if c.users--; c.users > 0 {
		return
	}
	port := c.local.Port()
	rest := slices.DeleteFunc(c.of.held[port], func(other *claim) bool { return other == c })
	if c.of.held[port] = rest; len(rest) == 0 {
		delete(c.of.held, port)
	}
	c.closer.Close()
}

// covers reports whether the claim holds its port on an address. An unspecified
// address holds all of its family, [::] both families.
func (c *claim) covers(addr netip.Addr) bool {
	mine := c.local.Addr()
	return mine == addr || mine.IsUnspecified() && (mine.Is6() || addr.Is4())
}
