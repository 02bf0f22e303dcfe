package simnet

import (
	"container/heap"
	"time"
)

// A parcel is a packet, or news for the reader, on its way to a port.
type parcel struct {
	data  []byte
	err   error // news: data is empty
	stamp int64 // arrival, ns since 1970
	to    *Port
	due   time.Duration
	order uint64 // among parcels due at the same time, first sent is first
}

// parcels are in flight, the next one due first.
type parcels struct {
	heap  parcelHeap
	count uint64
}

func (q *parcels) push(p *parcel) {
	q.count++
	p.order = q.count
	heap.Push(&q.heap, p)
}

func (q *parcels) pop() *parcel { return heap.Pop(&q.heap).(*parcel) }

type parcelHeap []*parcel

func (h parcelHeap) Len() int      { return len(h) }
func (h parcelHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *parcelHeap) Push(x any)   { *h = append(*h, x.(*parcel)) }

func (h parcelHeap) Less(i, j int) bool {
	if h[i].due != h[j].due {
		return h[i].due < h[j].due
	}
	return h[i].order < h[j].order
}

func (h *parcelHeap) Pop() any {
	last := len(*h) - 1
	p := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return p
}
