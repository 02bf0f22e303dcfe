package trace

// A ConnectionLine is what a capture shows of one connection, from the point
// where it was made. "local" is the side that opened it, or, where the
// beginning is missing, the side whose segment was seen first; "remote" is the
// other. It comes behind the connection's other lines.
type ConnectionLine struct {
	Type        string   `json:"type"` // "connection"
	Conn        uint64   `json:"conn"`
	TimeUS      int64    `json:"t_us"`   // of its first segment
	EndUS       int64    `json:"end_us"` // of its last segment
	FirstFrame  uint64   `json:"first_frame"`
	LastFrame   uint64   `json:"last_frame"`
	Segments    uint64   `json:"segments"`
	Parts       uint8    `json:"parts"`        // of its life that were seen, bit by bit: SYN 1, SYN-ACK 2, ACK 4, data 8, FIN 16, RST 32
	Opener      string   `json:"opener"`       // "local", "both" (simultaneous open) or "unknown"
	Result      string   `json:"result"`       // as in a summary, or "open"
	SYNRTTUS    *int64   `json:"syn_rtt_us"`   // SYN to SYN-ACK; null if either is missing or was repeated
	HandshakeUS *int64   `json:"handshake_us"` // first SYN to the ACK that completes the handshake
	TeardownUS  *int64   `json:"teardown_us"`  // first FIN or RST to the last segment that the end needs
	Close       Close    `json:"close"`
	Local       SideLine `json:"local"`
	Remote      SideLine `json:"remote"`
	Evicted     bool     `json:"evicted,omitempty"` // forgotten before the capture's end, for want of room
	Findings    int      `json:"findings"`
}

// A SideLine is one end of a connection: what it sent, and what it said of itself.
type SideLine struct {
	Addr          string   `json:"addr"`
	Segments      uint64   `json:"segments"`
	Bytes         uint64   `json:"bytes"` // payload, each octet once
	Retransmits   uint64   `json:"retransmits"`
	DupAcks       uint64   `json:"dup_acks"`
	OutOfOrder    uint64   `json:"out_of_order"`
	ZeroWindows   uint64   `json:"zero_windows"`
	Largest       int      `json:"largest"` // octets of payload in the largest segment
	TTL           uint8    `json:"ttl"`     // of its first segment
	MSS           *uint16  `json:"mss"`     // of its SYN; null: no such option, or no SYN seen
	WScale        *uint8   `json:"wscale"`
	SACKPermitted bool     `json:"sack_permitted"`
	Timestamps    bool     `json:"timestamps"`
	States        []string `json:"states"` // in the order they were passed
}

// A FindingLine is something worth saying of a connection, or, with conn 0, of
// the capture.
type FindingLine struct {
	Type     string   `json:"type"` // "finding"
	Conn     uint64   `json:"conn"`
	TimeUS   int64    `json:"t_us"`
	Kind     string   `json:"kind"`     // snake_case
	Severity string   `json:"severity"` // "info", "note", "warning" or "problem"
	Side     string   `json:"side"`     // "local", "remote", "both", "path" or "capture"
	Frames   []uint64 `json:"frames"`   // the first of those that show it, from 1 as in Wireshark
	Text     string   `json:"text"`     // one or two sentences
}

// A CaptureStart is the first line of rawtcp explain.
type CaptureStart struct {
	Type    string `json:"type"` // "start"
	Schema  string `json:"schema"`
	Command string `json:"command"`
	File    string `json:"file"`
	Version string `json:"version"`
}
