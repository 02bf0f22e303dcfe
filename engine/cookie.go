package engine

import (
	"net/netip"
	"slices"
	"sort"
	"time"

	"rawtcp/segment"
)

// CookieMode says when a listener answers a SYN without remembering it: all that
// it would have to remember is in the sequence number of the SYN-ACK, and the
// peer's ACK brings it back (SYN cookies, RFC 4987 section 3.6).
//
// What a cookie cannot carry is the price: the MSS is one of eight, and without
// timestamps there is neither window scale nor SACK nor ECN; a lost SYN-ACK is
// sent again only if the peer repeats its SYN, and if the ACK and the first data
// segment are lost, the second one draws a RST.
type CookieMode uint8

// The modes. A listener with SYNDelay, or with an ISN of its own, has to
// remember and sends no cookies in any of them.
const (
	CookiesWhenFull CookieMode = iota // once the SYN cache is full, as Linux by default
	CookiesNever                      // the oldest handshake under way makes room instead
	CookiesAlways                     // there is no SYN cache
)

// A cookie is believed in the period it was made in and in the next one: for
// one to two minutes.
const (
	cookiePeriod = 60 * time.Second
	cookieAges   = 2
)

// cookieMSS are the MSS values a cookie can say, three bits (RFC 4987 section
// 3.6): the usual ones, and below them few, for they are rare.
var cookieMSS = [...]uint16{64, 256, 536, 1220, 1380, 1440, 1460, 8960}

// cookieMSSShift is where the index stands: high up, so that an ACK of one
// octet more than our SYN is not that of another MSS.
const cookieMSSShift = 21

// mssIndex returns the largest of cookieMSS that is not above mss; below the
// smallest one the floor of every connection counts.
func mssIndex(mss int) int {
	return max(0, sort.Search(len(cookieMSS), func(i int) bool { return int(cookieMSS[i]) > mss })-1)
}

// A cookie is, modulo 2^32,
//
//	IRS + F1(pair) + period<<24 + (F2(pair, IRS, period) + MSS index<<21) mod 2^24
//
// with F1 and F2 keyed hashes. F1 hides the period of a pair, so that a forger
// has to guess 32 bits, of which 16 values are right. IRS and period let the
// numbers of a pair grow slowly from one connection to the next, as those of
// RFC 6528 do.
func (s *secrets) cookie(now Time, local, remote netip.AddrPort, irs segment.Seq, mss int) segment.Seq {
	period := cookieClock(now)
	low := (s.cookieTag(local, remote, irs, period) + uint32(mss)<<cookieMSSShift) & 0xffffff
	return segment.MakeSeq(irs.Uint32() + s.hash(purposeCookie, local, remote) + period<<24 + low)
}

// checkCookie returns the MSS index of a cookie, and whether it is one of ours
// for this pair and IRS that is not too old.
func (s *secrets) checkCookie(now Time, local, remote netip.AddrPort, irs, cookie segment.Seq) (mss int, ok bool) {
	rest := cookie.Uint32() - irs.Uint32() - s.hash(purposeCookie, local, remote)
	age := (cookieClock(now) - rest>>24) & 0xff
	if age >= cookieAges {
		return 0, false
	}
	low := (rest - s.cookieTag(local, remote, irs, cookieClock(now)-age)) & 0xffffff
	return int(low >> cookieMSSShift), low&(1<<cookieMSSShift-1) == 0
}

func (s *secrets) cookieTag(local, remote netip.AddrPort, irs segment.Seq, period uint32) uint32 {
	return s.hash(purposeCookieTag, local, remote, irs.Uint32(), period)
}

func cookieClock(now Time) uint32 { return uint32(int64(now) / int64(cookiePeriod)) }

// The low bits of the timestamp of a SYN-ACK with a cookie, as on Linux: the
// peer's shift in four of them, all ones for none, and two flags.
const (
	stampScale = 0x0f
	stampSACK  = 0x10
	stampECN   = 0x20
	stampBits  = 0x3f
)

// cookieStamp puts what a connection has agreed on into a timestamp of now, and
// makes it no later than now, so that those after it do not go back.
func cookieStamp(now uint32, c *Conn) uint32 {
	bits := uint32(stampScale)
	if c.peer.scale >= 0 && c.cfg.WindowScale > 0 {
		bits = uint32(c.snd.scale)
	}
	if c.sack {
		bits |= stampSACK
	}
	if c.ecn.on {
		bits |= stampECN
	}
	stamp := now&^stampBits | bits
	if int32(stamp-now) > 0 {
		stamp -= stampBits + 1
	}
	return stamp
}

// readStamp is the way back: what the peer's SYN had said.
func readStamp(stamp uint32, p *PeerInfo) {
	p.Timestamps = true
	if scale := int(stamp & stampScale); scale <= maxScale {
		p.WindowScale = scale
	}
	p.SACKPermitted = stamp&stampSACK != 0
	p.ECN = stamp&stampECN != 0
}

// wantsCookie reports whether the next SYN is answered without memory of it.
func (l *Listener) wantsCookie() bool {
	if l.cfg.SYNDelay > 0 || l.conn.ISN != nil || l.stack.cfg.ISN != nil {
		return false
	}
	return l.cfg.Cookies == CookiesAlways || l.cfg.Cookies == CookiesWhenFull && l.cacheIsFull()
}

// awaitsCookies reports whether one that we sent can still be valid. At other
// times no ACK is believed on the strength of its number alone.
func (l *Listener) awaitsCookies(now Time) bool {
	return l.cookieAt != 0 && now.Sub(l.cookieAt) < cookieAges*cookiePeriod
}

// answerByCookie answers a SYN and forgets it.
func (l *Listener) answerByCookie(now Time, s *segment.Segment, mtu uint16) {
	e := synEntry{listener: l, tos: l.conn.TOS, mtu: mtu}
	p := peerInfo(s)
	if !p.Timestamps || !l.conn.Timestamps.or(true) { // no place to remember the rest, so it is not agreed on
		p = PeerInfo{MSS: p.MSS, WindowScale: -1, Window: p.Window}
	}
	e.set(s.Dst, s.Src, s.Seq, p, s.Options.TSVal)
	c := &l.scratch
	l.restore(c, &e)
	e.iss = l.stack.secrets.cookie(now, s.Dst, s.Src, s.Seq, mssIndex(c.peerMSS()))
	var answer segment.Segment
	l.synAck(now, &e, &answer)
	if o := &answer.Options; o.Has(segment.HasTimestamps) {
		o.TSVal = cookieStamp(o.TSVal, c)
	}
	if l.conn.SYNOptions != nil { // what is queued may not alias the scratch
		answer.Options.Raw = slices.Clone(segment.AppendLayout(l.stack.optionScratch[:0], &answer.Options, l.conn.SYNOptions))
	}
	l.cookieAt = now
	l.stack.counters.CookiesSent++
	if l.stack.cfg.Tracer != nil {
		in := l.stack.segmentIn(s, NoteSYNCookie)
		in.State, in.Vars = Listen, e.vars()
		l.stack.trace(&in)
	}
	l.stack.say(Event{State: Listen, Vars: e.vars(), Note: NoteSYNCookie,
		Reason: "answers the SYN and forgets it: the number is a SYN cookie, RFC 4987 section 3.6"}, answer)
}

// receiveCookie makes a connection of an ACK that brings a valid cookie back;
// false: it does not.
func (l *Listener) receiveCookie(now Time, s *segment.Segment) bool {
	irs, iss := s.Seq.Add(-1), s.Ack.Add(-1)
	mss, ok := l.stack.secrets.checkCookie(now, s.Dst, s.Src, irs, iss)
	if !ok {
		l.stack.counters.CookiesRefused++
		return false
	}
	if l.isFull() {
		l.refuse(s)
		return true
	}
	mtu := l.pathTo(s)
	if mtu == 0 {
		return true
	}
	l.stack.counters.CookiesTaken++
	p := PeerInfo{MSS: int(cookieMSS[mss]), WindowScale: -1, Window: int(s.Window)}
	if s.Options.Has(segment.HasTimestamps) && l.conn.Timestamps.or(true) {
		readStamp(s.Options.TSEcr, &p)
	}
	e := synEntry{listener: l, id: l.stack.common.nextID(), iss: iss, at: now, tos: l.conn.TOS, mtu: mtu}
	e.set(s.Dst, s.Src, irs, p, s.Options.TSVal)
	l.stack.holdTrace(s)
	l.traceState(&e, Listen, SynReceived, "a SYN cookie of ours came back")
	l.promote(now, &e, s)
	return true
}
