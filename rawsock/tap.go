package rawsock

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// A Tap sees the packets of a Conn pass the network interface, where a capture
// sees them and with the time that a capture gives them: the kernel stamps a
// packet once for all who listen there. (TxStamps are taken some steps further
// on, in the driver, and one by one.)
//
// The kernel writes into memory that it shares with us, so that a look costs no
// system call. A Tap is used by one goroutine at a time.
type Tap struct {
	fd    int
	ring  []byte
	frame int // the next one to be filled by the kernel
}

// The ring: each frame holds what tapFilter keeps of one packet. A reader that
// looks after every WriteBatch never sees it full.
const (
	tapFrame  = 256
	tapFrames = 4096
	tapBlock  = 64 << 10
	tapSnap   = ipv6HeaderLen + 20
)

// OpenTap opens a Tap on the interface that c is bound to, or on all. It needs
// CAP_NET_RAW. It sees every packet that any program sends with the Conn's
// mark, or, without the right to set a mark, all that this host sends. Close it
// before or after c.
func (c *Conn) OpenTap() (*Tap, error) {
	t := &Tap{fd: -1}
	// Of no protocol it hears nothing, until it is bound with its filter in place.
	err := c.ns.do(func() (err error) {
		t.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		return os.NewSyscallError("socket", err)
	})
	if err == nil {
		err = t.open(c)
	}
	if err != nil {
		_ = t.Close()
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	return t, nil
}

func (t *Tap) open(c *Conn) error {
	if err := attachFilter(t.fd, mustAssemble(tapFilter(c))); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(t.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return os.NewSyscallError("PACKET_VERSION", err)
	}
	const size = tapFrame * tapFrames
	req := unix.TpacketReq{Block_size: tapBlock, Block_nr: size / tapBlock, Frame_size: tapFrame, Frame_nr: tapFrames}
	if err := unix.SetsockoptTpacketReq(t.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return os.NewSyscallError("PACKET_RX_RING", err)
	}
	var err error
	if t.ring, err = unix.Mmap(t.fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return os.NewSyscallError("mmap", err)
	}
	// Only a socket of all protocols sees what goes out.
	address := &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: c.ifindex}
	return os.NewSyscallError("bind", unix.Bind(t.fd, address))
}

// networkOrder returns a number as the kernel reads a big-endian field.
func networkOrder(n uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], n)
	return binary.NativeEndian.Uint16(b[:])
}

// tapFilter keeps the headers of what goes out with c's mark.
func tapFilter(c *Conn) []bpf.Instruction {
	prog := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_OUTGOING, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
	}
	if c.marked {
		prog = append(prog,
			bpf.LoadExtension{Num: bpf.ExtMark},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: c.cfg.Mark, SkipTrue: 1},
			bpf.RetConstant{Val: 0})
	}
	return append(prog, bpf.RetConstant{Val: tapSnap})
}

// Next writes the first octets, 60 at most, of the next packet that has passed
// to headers and returns how many, and when it passed, in nanoseconds since
// 1970. It does not wait: ok is false if there is none.
func (t *Tap) Next(headers []byte) (n int, stamp int64, ok bool) {
	frame := t.ring[t.frame*tapFrame:][:tapFrame]
	head := (*unix.Tpacket2Hdr)(unsafe.Pointer(&frame[0]))
	if atomic.LoadUint32(&head.Status)&unix.TP_STATUS_USER == 0 {
		return 0, 0, false
	}
	n = copy(headers, frame[head.Net:][:head.Snaplen])
	stamp = int64(head.Sec)*1e9 + int64(head.Nsec)
	atomic.StoreUint32(&head.Status, unix.TP_STATUS_KERNEL)
	t.frame = (t.frame + 1) % tapFrames
	runtime.KeepAlive(t)
	return n, stamp, true
}

// Close ends the Tap.
func (t *Tap) Close() error {
	if t.ring != nil {
		_ = unix.Munmap(t.ring)
		t.ring = nil
	}
	if t.fd < 0 {
		return nil
	}
	fd := t.fd
	t.fd = -1
	return unix.Close(fd)
}
