package kernel

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"rawtcp/internal/netlab"
)

// A recorder captures what passes an interface. The kernel writes into a ring
// with room for all that a talk can be: what a capture has lost on a busy machine
// would make witnesses of the others liars.
type recorder struct {
	fd   int
	ring []byte
	slot int // octets of one
	next int // the slot that the kernel fills next
	stop chan struct{}
	done chan struct{}
	once sync.Once

	mu   sync.Mutex
	rec  recording
	last time.Time // when the last frame was read
}

// The slots of a ring: as many as make a few MiB, of a frame each.
const (
	slots     = 2048
	slotSize  = 2 << 10
	slotsHuge = 256 // for what offloads make
	slotHuge  = 128 << 10
	blockSize = 128 << 10
)

// record begins to capture on a host; huge frames are up to 64 KiB long.
func record(t *testing.T, h *netlab.Host, name string, huge bool) *recorder {
	t.Helper()
	r := &recorder{fd: -1, slot: slotSize, stop: make(chan struct{}), done: make(chan struct{}), rec: recording{name: name, link: layers.LinkTypeEthernet}}
	number := slots
	if huge {
		r.slot, number = slotHuge, slotsHuge
	}
	if err := h.Do(func() error { return r.open(number) }); err != nil {
		t.Fatal(err)
	}
	go r.run()
	t.Cleanup(r.close)
	return r
}

func (r *recorder) open(number int) (err error) {
	if r.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return os.NewSyscallError("socket", err)
	}
	if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return os.NewSyscallError("PACKET_VERSION", err)
	}
	size := r.slot * number
	req := unix.TpacketReq{Block_size: blockSize, Block_nr: uint32(size / blockSize), Frame_size: uint32(r.slot), Frame_nr: uint32(number)}
	if err := unix.SetsockoptTpacketReq(r.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return os.NewSyscallError("PACKET_RX_RING", err)
	}
	if r.ring, err = unix.Mmap(r.fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return os.NewSyscallError("mmap", err)
	}
	eth, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	return os.NewSyscallError("bind", unix.Bind(r.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: eth.Index}))
}

// run reads until stop, and then what is there.
func (r *recorder) run() {
	defer close(r.done)
	for {
		stopped := false
		select {
		case <-r.stop:
			stopped = true
		default:
		}
		for r.read() {
		}
		if stopped {
			return
		}
		const turn = 10 // ms
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}}, turn)
	}
}

// read takes one frame, if there is one.
func (r *recorder) read() bool {
	slot := r.ring[r.next*r.slot:][:r.slot]
	head := (*unix.Tpacket2Hdr)(unsafe.Pointer(&slot[0]))
	if atomic.LoadUint32(&head.Status)&unix.TP_STATUS_USER == 0 {
		return false
	}
	data := append([]byte(nil), slot[head.Mac:][:head.Snaplen]...)
	at, size := time.Unix(int64(head.Sec), int64(head.Nsec)), int(head.Len)
	atomic.StoreUint32(&head.Status, unix.TP_STATUS_KERNEL)
	r.next = (r.next + 1) % (len(r.ring) / r.slot)
	if len(data) < 34 || !(data[12] == 8 && data[13] == 0 && data[14+9] == 6 || data[12] == 0x86 && data[13] == 0xdd && data[14+6] == 6) {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rec.frames = append(r.rec.frames, frame{at, data, size})
	r.last = time.Now()
	return true
}

// close ends the recording.
func (r *recorder) close() {
	r.once.Do(func() {
		close(r.stop)
		<-r.done
		_ = unix.Munmap(r.ring)
		_ = unix.Close(r.fd)
	})
}

// idle is for how long nothing was read.
func (r *recorder) idle() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.last)
}

// lost returns an error if the kernel had no room for something.
func (r *recorder) lost() error {
	stats, err := unix.GetsockoptTpacketStats(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err == nil && stats.Drops > 0 {
		err = errors.New("the ring was full")
	}
	return err
}

// until is the recording up to a moment.
func (r *recorder) until(end time.Time) recording {
	frames := r.rec.frames
	for len(frames) > 0 && frames[len(frames)-1].at.After(end) {
		frames = frames[:len(frames)-1]
	}
	r.rec.frames = frames
	return r.rec
}

// end ends the recordings of both sides, when nothing has come for a while: at
// the same moment, so that what one has received the other was seen to send.
func end(t *testing.T, a, b *recorder) (recording, recording) {
	t.Helper()
	const quiet = 60 * time.Millisecond
	for deadline := time.Now().Add(patience); min(a.idle(), b.idle()) < quiet && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	moment := time.Now()
	for _, r := range []*recorder{a, b} {
		if err := r.lost(); err != nil {
			t.Fatalf("%s: %v", r.rec.name, err)
		}
		r.close()
	}
	return a.until(moment), b.until(moment)
}
