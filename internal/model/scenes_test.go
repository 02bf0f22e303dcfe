package model_test

import (
	"time"

	"rawtcp/engine"
	"rawtcp/internal/model"
	"rawtcp/segment"
)

// A scene is a conversation that leads to a state, segment by segment.
type scene struct {
	name  string
	base  bool // one of the eleven states of RFC 9293, SYN-RECEIVED by both ways
	state model.State
	talk  func(*bench)
	conf  func(*engine.ConnConfig)
}

// active is an active open with 30 octets sent, of which 20 are acknowledged,
// and 8 received and read.
func active(b *bench) {
	b.dial()
	b.in(syn|ackf, 0)
	b.exchange()
}

func (b *bench) exchange() {
	b.write(20)
	b.in(ackf|psh, 8)
	b.advance(time.Second)
	b.read(8)
	b.write(10)
}

var scenes = []scene{
	{name: "CLOSED", base: true, state: model.Closed, talk: func(*bench) {}},
	{name: "LISTEN", base: true, state: model.Listen, talk: (*bench).listen},
	{name: "SYN-SENT", base: true, state: model.SynSent, talk: (*bench).dial},
	{name: "SYN-RECEIVED by a passive open", base: true, state: model.SynReceived, talk: func(b *bench) {
		b.listen()
		b.in(syn, 0)
	}},
	{name: "SYN-RECEIVED by a simultaneous open", base: true, state: model.SynReceived, talk: func(b *bench) {
		b.dial()
		b.in(syn, 0)
	}},
	{name: "ESTABLISHED", base: true, state: model.Established, talk: active},
	{name: "FIN-WAIT-1", base: true, state: model.FinWait1, talk: func(b *bench) {
		active(b)
		b.closeWrite()
	}},
	{name: "FIN-WAIT-2", base: true, state: model.FinWait2, talk: func(b *bench) {
		active(b)
		b.closeWrite()
		b.in(ackf, 0)
	}},
	{name: "CLOSE-WAIT", base: true, state: model.CloseWait, talk: func(b *bench) {
		active(b)
		b.ack(b.tcb.SndUna, ackf|fin, 0)
	}},
	{name: "CLOSING", base: true, state: model.Closing, talk: func(b *bench) {
		active(b)
		b.closeWrite()
		b.ack(b.tcb.SndUna, ackf|fin, 0)
	}},
	{name: "LAST-ACK", base: true, state: model.LastAck, talk: func(b *bench) {
		active(b)
		b.ack(b.tcb.SndUna, ackf|fin, 0)
		b.closeWrite()
	}},
	{name: "TIME-WAIT", base: true, state: model.TimeWait, talk: func(b *bench) {
		active(b)
		b.closeWrite()
		b.in(ackf, 0)
		b.in(ackf|fin, 0)
		b.advance(10 * time.Second)
	}},

	{name: "SYN-SENT with text waiting", state: model.SynSent, talk: func(b *bench) {
		b.dial()
		b.write(10)
	}},
	{name: "SYN-SENT without options", state: model.SynSent, conf: bare, talk: (*bench).dial},
	{name: "LISTEN without options", state: model.Listen, conf: bare, talk: (*bench).listen},
	{name: "SYN-RECEIVED by a simultaneous open, closed", state: model.SynReceived, talk: func(b *bench) {
		b.dial()
		b.in(syn, 0)
		b.closeWrite()
	}},
	{name: "ESTABLISHED by a passive open", state: model.Established, talk: func(b *bench) {
		b.listen()
		b.in(syn, 0)
		b.in(ackf, 0)
		b.exchange()
	}},
	{name: "ESTABLISHED without options", state: model.Established, conf: bare, talk: active},
	{name: "ESTABLISHED with nothing outstanding", state: model.Established, talk: func(b *bench) {
		active(b)
		b.in(ackf, 0)
	}},
	{name: "ESTABLISHED with an ACK owed", state: model.Established, talk: func(b *bench) {
		active(b)
		b.ack(b.tcb.SndUna, ackf|psh, 20)
	}},
	{name: "ESTABLISHED with a closed window", state: model.Established, talk: func(b *bench) {
		active(b)
		b.ack(b.tcb.SndUna, ackf, b.tcb.RcvEdge.Sub(b.tcb.RcvNxt))
	}},
	{name: "ESTABLISHED with a hole", state: model.Established, talk: func(b *bench) {
		active(b)
		b.beyond(1, 20, ackf)
		b.beyond(500, 20, ackf)
	}},
	{name: "ESTABLISHED with a FIN beyond a hole", state: model.Established, talk: func(b *bench) {
		active(b)
		b.beyond(1, 20, ackf|fin)
	}},
	{name: "ESTABLISHED with no challenge ACK left", state: model.Established, talk: func(b *bench) {
		active(b)
		b.beyond(5, 0, rst)
	}},
	{name: "FIN-WAIT-1 with the FIN waiting", state: model.FinWait1, talk: waiting},
	{name: "FIN-WAIT-1 without a reader", state: model.FinWait1, talk: func(b *bench) {
		active(b)
		b.closeAll()
	}},
	{name: "FIN-WAIT-2 without a reader", state: model.FinWait2, talk: func(b *bench) {
		active(b)
		b.closeAll()
		b.in(ackf, 0)
	}},
	{name: "FIN-WAIT-2 with a hole", state: model.FinWait2, talk: func(b *bench) {
		active(b)
		b.closeWrite()
		b.in(ackf, 0)
		b.beyond(1, 20, ackf)
	}},
	{name: "CLOSE-WAIT with text unread", state: model.CloseWait, talk: func(b *bench) {
		active(b)
		b.ack(b.tcb.SndUna, ackf|fin, 50)
	}},
	{name: "CLOSING with the FIN waiting", state: model.Closing, talk: func(b *bench) {
		waiting(b)
		b.ack(b.tcb.SndUna, ackf|fin, 0)
	}},
	{name: "LAST-ACK without options", state: model.LastAck, conf: bare, talk: func(b *bench) {
		active(b)
		b.ack(b.tcb.SndUna, ackf|fin, 0)
		b.closeWrite()
	}},
	{name: "TIME-WAIT by way of CLOSING", state: model.TimeWait, talk: func(b *bench) {
		active(b)
		b.closeWrite()
		b.ack(b.tcb.SndUna, ackf|fin, 0)
		b.in(ackf, 0)
	}},
	{name: "TIME-WAIT beside a listener", state: model.TimeWait, talk: reopenable},
	{name: "TIME-WAIT beside a listener without options", state: model.TimeWait, conf: bare, talk: reopenable},
}

// bare has neither timestamps nor window scale nor SACK.
func bare(cfg *engine.ConnConfig) {
	cfg.Timestamps, cfg.WindowScale, cfg.SACK = engine.Off, -1, engine.Off
}

// waiting is FIN-WAIT-1 with text before the FIN that does not fit the window.
func waiting(b *bench) {
	active(b)
	b.write(b.tcb.SndWnd)
	b.closeWrite()
}

func reopenable(b *bench) {
	b.listen()
	b.in(syn, 0)
	b.in(ackf, 0)
	b.exchange()
	b.closeWrite()
	b.in(ackf, 0)
	b.in(ackf|fin, 0)
}

// places are ISNs, ours and the peer's: in the middle of the sequence space, and
// so that it wraps inside of what is outstanding and inside of the window.
var places = [][2]segment.Seq{
	{segment.MakeSeq(5_000_000), segment.MakeSeq(1_000_000)},
	{segment.MakeSeq(1<<32 - 25), segment.MakeSeq(1<<32 - 400)},
}

func (sc *scene) bench(place int) *bench {
	b := &bench{isn: places[place][0], peerISN: places[place][1], inlet: make([]byte, 1<<13)}
	b.cfg = engine.ConnConfig{ISN: &b.isn, ReceiveBuffer: recvWindow, WindowScale: 1, Timestamps: engine.On, NoDelay: true}
	if sc.conf != nil {
		sc.conf(&b.cfg)
	}
	return b
}
