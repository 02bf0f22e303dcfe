package rawsock

import (
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A ring is where a packet socket hears packets: slots in memory that the kernel
// fills one after the other and we empty without a system call (PACKET_RX_RING,
// TPACKET_V2). The kernel copies a packet while it has it in its cache, and keeps
// the memory that it came in. A merged segment fits no slot: it waits in the
// socket's queue, and its slot says so (PACKET_COPY_THRESH). So order is kept.
type ring struct {
	mem     []byte
	next    int           // the slot that is to be read next
	stamped bool          // somebody wants receive stamps
	lost    atomic.Uint64 // packets that found no room, as far as drops has asked
}

// The ring: a slot holds a packet of an Ethernet's MTU behind its head, and there
// are 2048 of them: three megabytes of payload, of which none has to leave the
// processor's cache before it is read.
const (
	ringSlot  = 2048
	ringBlock = 64 << 10
	maxRing   = 4 << 20
)

// ringHead is the head of a slot.
type ringHead = unix.Tpacket2Hdr

// openRing gives a packet socket, which hears nothing yet, a ring of about so many octets.
func openRing(fd, octets int, stamped bool) (*ring, error) {
	blocks := max(1, min(octets, maxRing)/ringBlock)
	for _, o := range []option{
		{"PACKET_VERSION", unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2},
		{"PACKET_COPY_THRESH", unix.SOL_PACKET, unix.PACKET_COPY_THRESH, 1},
	} {
		if err := o.set(fd); err != nil {
			return nil, err
		}
	}
	req := unix.TpacketReq{Block_size: ringBlock, Block_nr: uint32(blocks), Frame_size: ringSlot, Frame_nr: uint32(blocks * ringBlock / ringSlot)}
	if err := unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return nil, os.NewSyscallError("PACKET_RX_RING", err)
	}
	mem, err := unix.Mmap(fd, 0, blocks*ringBlock, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		_ = unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, new(unix.TpacketReq))
		return nil, os.NewSyscallError("mmap", err)
	}
	return &ring{mem: mem, stamped: stamped}, nil
}

// close gives the memory back. The socket lives until that is done.
func (r *ring) close() { _ = unix.Munmap(r.mem) }

func (r *ring) slots() int { return len(r.mem) / ringSlot }

// slot returns slot i after the next one, and its head.
func (r *ring) slot(i int) (*ringHead, []byte) {
	at := (r.next + i) % r.slots() * ringSlot
	slot := r.mem[at:][:ringSlot]
	return (*ringHead)(unsafe.Pointer(&slot[0])), slot
}

// isEmpty reports whether the kernel has filled no slot.
func (r *ring) isEmpty() bool {
	head, _ := r.slot(0)
	return atomic.LoadUint32(&head.Status)&unix.TP_STATUS_USER == 0
}

// release gives the next slot back to the kernel.
func (r *ring) release(head *ringHead) {
	atomic.StoreUint32(&head.Status, unix.TP_STATUS_KERNEL)
	r.next = (r.next + 1) % r.slots()
}

// read moves packets into bufs, as recvmmsg does, and returns how many. It never
// waits. in receives what fits no slot.
func (r *ring) read(fd int, in *inBatch, bufs [][]byte, sizes []int, stamps []int64) (n int, errno unix.Errno) {
	for n < len(bufs) {
		head, slot := r.slot(0)
		status := atomic.LoadUint32(&head.Status)
		switch {
		case status&unix.TP_STATUS_USER == 0:
			return n, 0
		case status&unix.TP_STATUS_COPY != 0:
			got, errno := r.readQueued(fd, in, bufs[n:], sizes[n:], stamps[n:])
			if n += got; errno != 0 {
				return n, errno
			}
			continue
		case head.Snaplen < head.Len: // the queue had no room for it
			r.lost.Add(1)
		default:
			sizes[n], stamps[n] = copy(bufs[n], slot[head.Net:][:head.Snaplen]), r.stamp(head)
			n++
		}
		r.release(head)
	}
	return n, 0
}

// readQueued receives the packets of those slots, from the next on, that say that
// theirs wait in the queue.
func (r *ring) readQueued(fd int, in *inBatch, bufs [][]byte, sizes []int, stamps []int64) (int, unix.Errno) {
	const queued = unix.TP_STATUS_USER | unix.TP_STATUS_COPY
	k := 0
	for k < min(len(bufs), r.slots()) {
		head, _ := r.slot(k)
		if atomic.LoadUint32(&head.Status)&queued != queued {
			break
		}
		k++
	}
	got, errno := in.recv(fd, bufs[:k], sizes, stamps)
	for range got {
		head, _ := r.slot(0)
		r.release(head)
	}
	if errno == unix.EAGAIN { // which does not happen: the kernel queues before it says so
		head, _ := r.slot(0)
		r.release(head)
		r.lost.Add(1)
		errno = 0
	}
	return got, errno
}

// stamp is when the kernel received a packet, in nanoseconds since 1970.
func (r *ring) stamp(head *ringHead) int64 {
	if !r.stamped {
		return 0
	}
	return int64(head.Sec)*1e9 + int64(head.Nsec)
}

// drops returns how many packets were lost so far. What the kernel counts it
// counts from 0 each time it was asked.
func (r *ring) drops(fd int) uint64 {
	stats, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return r.lost.Load()
	}
	return r.lost.Add(uint64(stats.Drops))
}
