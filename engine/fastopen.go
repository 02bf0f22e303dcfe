package engine

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"rawtcp/segment"
)

// fastOpen is a connection's part in TCP Fast Open (RFC 7413): data on the SYN,
// for peers whose cookie shows that they are where they say.
type fastOpen struct {
	offer   []byte       // the cookie that our next first SYN or SYN-ACK carries
	kind    segment.Kind // of the option it stands in; 0: no option
	asked   bool         // our first SYN had the option
	carried bool         // and octets of data
	refused bool         // which the SYN-ACK did not acknowledge
	taken   bool         // ours were acknowledged, or we have taken the peer's
	early   *Listener    // whose client has sent data and no ACK yet
}

// fast returns what there is of Fast Open; the zero value on most connections.
func (c *Conn) fast() fastOpen {
	if c.cold == nil {
		return fastOpen{}
	}
	return c.cold.fast
}

// Bounds of RFC 7413 section 4.1.3, and our choice of how long things last.
const (
	maxFastOpenMSS4     = 1460           // "the client MAY limit the cached MSS"
	maxFastOpenMSS6     = 1440           // the same, IPv6
	fastOpenRefusal     = time.Hour      // how long a path that failed is left alone, as Linux
	fastOpenRotation    = 12 * time.Hour // how long a server's cookie is given out; it is taken twice as long
	fastOpenResetMemory = time.Minute    // how long a reset open counts as pending (section 5.1), as Linux
	fastOpenCookieLen   = 8              // octets of those we make
	maxFastOpenPaths    = 1024           // most paths a client remembers
)

// experimentFastOpen marks the option under an experimental kind, as it was
// before RFC 7413 had a kind of its own.
const experimentFastOpen = 0xf989

// fastOpenOption returns the cookie of a SYN or SYN-ACK, empty for a request, and
// the option's kind; 0: it has none.
func fastOpenOption(o *segment.Options) (cookie []byte, kind segment.Kind) {
	if o.Has(segment.HasFastOpen) {
		return o.FastOpen, segment.KindFastOpen
	}
	for _, kind := range [...]segment.Kind{segment.KindExperiment1, segment.KindExperiment2} {
		data, ok := o.Find(kind)
		if ok && len(data) >= 2 && len(data) <= 18 && len(data)%2 == 0 && binary.BigEndian.Uint16(data) == experimentFastOpen {
			return data[2:], kind
		}
	}
	return nil, 0
}

// addFastOpen puts the option that is offered among the others of a SYN or SYN-ACK. If there is no
// room for it, it is not offered: "abort TFO and fall back to the regular 3WHS"
// RFC 7413 section 4.2.2.
func (c *Conn) addFastOpen(o *segment.Options) {
	f := &c.rare().fast
	order := c.cfg.SYNOptions
	if order == nil && f.kind == segment.KindFastOpen {
		o.Set |= segment.HasFastOpen
		o.FastOpen = f.offer
		return
	}
	if order == nil {
		order = []segment.Kind{segment.KindMSS, segment.KindSACKPermitted, segment.KindTimestamps, segment.KindNOP, segment.KindWindowScale}
	}
	raw := segment.AppendLayout(c.stack.optionScratch[:0], o, order)
	length := 2 + len(f.offer)
	if f.kind != segment.KindFastOpen {
		length += 2
	}
	if len(raw)+length > segment.MaxOptionsLen {
		f.kind = 0
		return
	}
	raw = append(raw, uint8(f.kind), uint8(length))
	if f.kind != segment.KindFastOpen {
		raw = binary.BigEndian.AppendUint16(raw, experimentFastOpen)
	}
	o.Raw = append(raw, f.offer...)
}

// The client.

// A fastOpenPath is what cookies are good for.
type fastOpenPath struct{ client, server netip.Addr }

// A fastOpenPort is what a failure is remembered by: "the source and destination
// IP addresses and ports" RFC 7413 section 4.1.3.1, but not our port, which is
// another one each time.
type fastOpenPort struct {
	client netip.Addr
	server netip.AddrPort
}

// A fastOpenCookie is what a server gave, and the MSS it announced with it.
type fastOpenCookie struct {
	octets [16]byte
	n      int
	mss    int
}

// A fastOpenCache is what the clients of a host remember of servers (RFC 7413
// section 4.1.3): cookies, and the paths on which Fast Open has failed.
type fastOpenCache struct {
	cookies shared[fastOpenPath, fastOpenCookie]
	refused shared[fastOpenPort, Time] // until when
}

// bounded is a map that forgets its oldest entry when it is full.
type bounded[K comparable, V any] struct {
	m     map[K]V
	order []K
}

func (b *bounded[K, V]) get(k K) (V, bool) {
	v, ok := b.m[k]
	return v, ok
}

func (b *bounded[K, V]) put(k K, v V) {
	if b.m == nil {
		b.m = make(map[K]V)
	}
	if _, ok := b.m[k]; !ok {
		if len(b.order) >= maxFastOpenPaths {
			b.remove(b.order[0])
		}
		b.order = append(b.order, k)
	}
	b.m[k] = v
}

func (b *bounded[K, V]) remove(k K) {
	if _, ok := b.m[k]; ok {
		delete(b.m, k)
		i := slices.Index(b.order, k)
		b.order = slices.Delete(b.order, i, i+1)
	}
}

func (c *Conn) fastOpenPath() fastOpenPath { return fastOpenPath{c.local.Addr(), c.remote.Addr()} }

func (c *Conn) fastOpenPort() fastOpenPort { return fastOpenPort{c.local.Addr(), c.remote} }

// askFastOpen decides what the first SYN carries: the server's cookie, with which
// data may follow, or the request for one (RFC 7413 section 4.2.1).
func (c *Conn) askFastOpen(now Time) {
	cache := &c.stack.common.fastOpen
	if until, ok := cache.refused.get(c.fastOpenPort()); ok && now < until {
		return
	}
	f := &c.rare().fast
	f.kind, f.asked = segment.KindFastOpen, true
	if known, ok := cache.cookies.get(c.fastOpenPath()); ok {
		f.offer = slices.Clone(known.octets[:known.n])
	}
}

// loadSYN puts data behind a SYN that has a cookie, "any data up to the cached
// server MSS or default" RFC 7413 section 4.2.2, and reports whether it did. No
// PSH: on a SYN it only makes firewalls suspicious.
func (c *Conn) loadSYN(now Time, s *segment.Segment) bool {
	f := &c.rare().fast
	if f.kind == 0 || len(f.offer) == 0 {
		return false
	}
	known, _ := c.stack.common.fastOpen.cookies.get(c.fastOpenPath())
	fits := c.mtu - ipHeaderLen(c.local.Addr()) - segment.TCPHeaderLen
	n := min(min(known.mss, fits)-s.Options.Len(), c.snd.buf.len())
	if n <= 0 {
		return false
	}
	end := c.snd.nxt.Add(n)
	c.load(s, c.snd.nxt, end)
	s.Flags &^= segment.PSH
	c.track(sentRange{start: c.snd.nxt, end: end, at: now})
	c.snd.nxt = end
	f.carried = true
	return true
}

// answeredFastOpen takes what the SYN-ACK says about Fast Open. Data that it does
// not acknowledge goes again at once, behind the ACK: "The client SHOULD
// retransmit any unacknowledged data in the first ACK packet" RFC 7413 section 4.2.2.
func (c *Conn) answeredFastOpen(now Time, s *segment.Segment) {
	f := c.fast()
	if !f.asked {
		return
	}
	cache := &c.stack.common.fastOpen
	cookie, kind := fastOpenOption(&s.Options)
	known, had := cache.cookies.get(c.fastOpenPath())
	f.taken = f.carried && c.snd.iss.Add(1).Less(s.Ack)
	switch {
	case kind != 0 && len(cookie) >= 4:
		known.n = copy(known.octets[:], cookie)
		fallthrough
	case had && f.taken:
		known.mss = min(c.peerMSS(), maxFastOpenMSS4)
		if c.remote.Addr().Is6() {
			known.mss = min(known.mss, maxFastOpenMSS6)
		}
		cache.cookies.put(c.fastOpenPath(), known)
	default: // it has no Fast Open, not any more, or something on the way has swallowed our first SYN
		c.failedFastOpen(now)
	}
	f.refused = f.carried && s.Ack.Less(c.snd.nxt)
	c.rare().fast = f
}

// failedFastOpen leaves the path alone for a while: "The client MUST cache
// negative responses" RFC 7413 section 4.1.3.1.
func (c *Conn) failedFastOpen(now Time) {
	if !c.fast().asked || c.state != SynSent {
		return
	}
	c.stack.common.fastOpen.cookies.remove(c.fastOpenPath())
	c.stack.common.fastOpen.refused.put(c.fastOpenPort(), now.Add(fastOpenRefusal))
}

// resendSYNData has the octets sent again that our SYN carried in vain.
func (c *Conn) resendSYNData() {
	for n := c.snd.sent.first(); n <= c.snd.sent.last(); n++ {
		c.snd.sent.lose(n)
	}
	c.loss.urgently = true
}

// The server.

// fastOpenCookie is what a client has to bring: a keyed hash of both addresses
// and of the key's age, "a MAC tag" RFC 7413 section 4.1.2.
func (s *secrets) fastOpenCookie(local, remote netip.Addr, age uint32) [fastOpenCookieLen]byte {
	sum := s.sum(purposeFastOpen, netip.AddrPortFrom(local, 0), netip.AddrPortFrom(remote, 0), age)
	return [fastOpenCookieLen]byte(sum[:fastOpenCookieLen])
}

func fastOpenAge(now Time) uint32 { return uint32(int64(now) / int64(fastOpenRotation)) }

// checkFastOpen reports whether a client's cookie is ours, by the key in use or by
// the one before, and whether it is by the one in use.
func (s *secrets) checkFastOpen(now Time, local, remote netip.Addr, cookie []byte) (valid, current bool) {
	if len(cookie) != fastOpenCookieLen {
		return false, false
	}
	age, theirs := fastOpenAge(now), [fastOpenCookieLen]byte(cookie)
	if theirs == s.fastOpenCookie(local, remote, age) { // in one word: the time it takes tells nothing
		return true, true
	}
	return age > 0 && theirs == s.fastOpenCookie(local, remote, age-1), false
}

// unconfirmed counts the connections that data on a SYN has opened and no ACK has
// confirmed: PendingFastOpenRequests of RFC 7413 section 4.2.
func (l *Listener) unconfirmed(now Time) int {
	for len(l.resets) > 0 && l.resets[0] <= now {
		l.resets = l.resets[:copy(l.resets, l.resets[1:])]
		l.common.early.Add(-1)
	}
	return int(l.common.early.Load())
}

// opensFast reports whether a SYN opens a connection at once: it brings a valid
// cookie, and not too many have done so before it. "The server MUST ignore all
// cookie options" where the listener has no Fast Open.
func (l *Listener) opensFast(now Time, s *segment.Segment) bool {
	if l.cfg.FastOpen <= 0 {
		return false
	}
	cookie, kind := fastOpenOption(&s.Options)
	if kind == 0 || len(cookie) == 0 {
		return false
	}
	if valid, _ := l.stack.secrets.checkFastOpen(now, s.Dst.Addr(), s.Src.Addr(), cookie); !valid {
		l.stack.counters.FastOpensRefused++
		return false
	}
	return l.unconfirmed(now) < l.cfg.FastOpen
}

// grantFastOpen has the next SYN-ACK give the peer a cookie.
func (c *Conn) grantFastOpen(now Time, kind segment.Kind) {
	cookie := c.stack.secrets.fastOpenCookie(c.local.Addr(), c.remote.Addr(), fastOpenAge(now))
	f := &c.rare().fast
	f.offer, f.kind = cookie[:], kind
}

// confirmed ends the time in which a connection that data on a SYN has opened
// counts as pending: an ACK has come, or the connection is gone. After a RST it
// goes on counting for a while.
func (c *Conn) confirmed(now Time, reset bool) {
	l := c.fast().early
	if l == nil {
		return
	}
	c.cold.fast.early = nil
	if !reset {
		l.common.early.Add(-1)
		return
	}
	l.resets = append(l.resets, now.Add(fastOpenResetMemory))
}

// openFast makes a connection of a SYN with a valid cookie and gives the
// application its data, before the peer has shown that it gets our answers
// (RFC 7413 section 4.2.2).
func (l *Listener) openFast(now Time, s *segment.Segment, mtu uint16) {
	e := synEntry{listener: l, id: l.stack.common.nextID(), at: now, iss: l.stack.isn(now, s.Dst, s.Src, l.conn), tos: l.conn.TOS, mtu: mtu}
	e.set(s.Dst, s.Src, s.Seq, peerInfo(s), s.Options.TSVal)
	c := l.build(now, &e)
	c.newController(c.cfg.InitialWindow) // "MUST follow [RFC5681] … to set the initial congestion window"
	c.snd.wnd, c.snd.maxWnd = int(s.Window), int(s.Window)
	c.snd.wl1 = s.Seq
	f := &c.rare().fast
	f.taken, f.early = true, l
	cookie, kind := fastOpenOption(&s.Options)
	if _, current := l.stack.secrets.checkFastOpen(now, c.local.Addr(), c.remote.Addr(), cookie); !current {
		c.grantFastOpen(now, kind)
	}
	l.common.early.Add(1)
	l.stack.counters.FastOpens++
	l.stack.add(c)
	l.stack.holdTrace(s)
	c.trace(&Event{Kind: EventState, From: Listen, To: SynReceived, Reason: "a SYN with a Fast Open cookie of ours"})
	c.synNow = true
	c.receiveText(now, s, s.Seq.Add(1))
	l.stack.releaseTrace(c, s, NoteFastOpen)
	l.push(c)
	c.stack.wake(c)
}
