package rawsock

import (
	"net/netip"
	"time"
)

// Config says how to open a Conn. The zero value is fit for most uses.
type Config struct {
	// Interface binds the sockets and guards to one network interface.
	// Default: the routing table decides.
	Interface string

	// Source is the source address for Route when the caller names none.
	Source netip.Addr

	// Guard says how the kernel is kept silent. Default: the first way of the
	// ladder that this process may take.
	Guard GuardMode

	// Mark is the SO_MARK of every packet sent. Default: DefaultMark.
	Mark uint32

	// ReceiveBuffer is the size asked of each socket's receive queue, in
	// octets. Default 8 MiB; without CAP_NET_ADMIN the kernel may grant less. Under
	// PacketIO a ring of so many octets, 4 MiB at most, comes before that queue.
	ReceiveBuffer int

	// Family restricts the Conn to one address family. Default: both.
	Family Family

	// IO chooses the sockets that carry packets. Default: RawIO.
	IO IOMode

	// Spin is how long ReadBatch looks for packets again and again before it sleeps:
	// an answer then meets a goroutine that is awake, for the price of a processor.
	// Default: not at all.
	Spin time.Duration

	// TxTimestamps asks the kernel to stamp what is sent, for TxStamps.
	TxTimestamps bool

	// NoTimestamps leaves the stamps of ReadBatch 0: the kernel then reads no clock
	// for a packet that comes, which counts where a hundred thousand do in a second.
	NoTimestamps bool
}

// DefaultMark is the firewall mark of our packets: "ra" and "t" in ASCII, and
// none of the bits that Kubernetes (0x4000, 0x8000) takes for its own. A rule that
// drops the kernel's RSTs has to let packets with this mark pass, or it drops
// our own RSTs too.
const DefaultMark = 0x72610074

// defaultReceiveBuffer holds some hundred merged segments of 64 KiB.
const defaultReceiveBuffer = 8 << 20

// BatchSize is the most packets one system call carries. ReadBatch and
// WriteBatch take longer slices and need no shorter ones.
const BatchSize = 64

// IOMode chooses the sockets that carry packets.
type IOMode int

// The choices of IOMode.
const (
	RawIO    IOMode = iota // raw IP sockets
	PacketIO               // packet sockets; raw IP sockets where those cannot serve
)

// String returns the mode as the command line spells it.
func (m IOMode) String() string {
	if m == PacketIO {
		return "packet"
	}
	return "raw"
}

// Family chooses address families.
type Family int

// The choices of Family.
const (
	Both Family = iota
	IPv4
	IPv6
)

// GuardMode chooses how the kernel is kept silent on claimed ports.
type GuardMode int

// The guard modes.
const (
	GuardAuto   GuardMode = iota // a socket, else an nft table, else a refusal
	GuardSocket                  // a listening socket that drops everything
	GuardNFT                     // an nft table that the kernel removes with us
	GuardNone                    // nothing: somebody else keeps the kernel silent
)

// String returns the mode as the command line spells it.
func (m GuardMode) String() string {
	switch m {
	case GuardAuto:
		return "auto"
	case GuardSocket:
		return "socket"
	case GuardNFT:
		return "nft"
	case GuardNone:
		return "none"
	}
	return "unknown"
}

func (cfg Config) withDefaults() Config {
	if cfg.Mark == 0 {
		cfg.Mark = DefaultMark
	}
	if cfg.ReceiveBuffer <= 0 {
		cfg.ReceiveBuffer = defaultReceiveBuffer
	}
	return cfg
}
