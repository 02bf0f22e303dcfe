package model

import "rawtcp/segment"

// reopened reports whether a SYN in TIME-WAIT opens a new connection, by RFC 6191
// section 2, and opens it. Only a plain SYN asks for a connection.
func (a *arrival) reopened() bool {
	t := &a.After
	if !t.Listener || a.seg.Flags&(segment.SYN|segment.ACK|segment.RST|segment.FIN) != segment.SYN {
		return false
	}
	if !a.newIncarnation() {
		return false
	}
	fresh := TCB{State: Listen, Listener: true, ISS: t.ISS, RcvWnd: t.RcvWnd, TSOffer: t.TSOffer, WSOffer: t.WSOffer, SACKOffer: t.SACKOffer, Credit: true}
	a.After = fresh
	a.listen()
	return true
}

// newIncarnation is the list of RFC 6191 section 2.
func (a *arrival) newIncarnation() bool {
	t, o := &a.After, &a.seg.Options
	newTS := t.TSOffer && o.Has(segment.HasTimestamps)
	// "it refers to the sequence number corresponding to the FIN flag of the
	// previous incarnation"
	higher := t.RcvNxt.Add(-1).Less(a.seg.Seq)
	switch {
	case t.TS && newTS && int32(o.TSVal-t.TSRecent) > 0:
		a.by(`6191 2 "the timestamp contained in the incoming SYN segment is greater than the last timestamp seen on the previous incarnation of the connection ... honor the connection request"`)
		return true
	case t.TS && newTS && o.TSVal != t.TSRecent:
		return false
	case !t.TS && newTS:
		a.by(`6191 2 "If TCP Timestamps would be enabled for the new incarnation of the connection, honor the incoming connection request"`)
		return true
	}
	a.by(`6191 2 "the Sequence Number of the incoming SYN segment is greater than the last sequence number seen on the previous incarnation of the connection"`)
	return higher
}
