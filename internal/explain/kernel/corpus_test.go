package kernel

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"rawtcp/internal/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m) }

// A frame is one packet of a recording.
type frame struct {
	at   time.Time
	data []byte
	size int
}

// A recording is a capture in memory.
type recording struct {
	name   string
	talk   string // that it is of
	link   layers.LinkType
	frames []frame
}

// corpus are the recordings of all talks, from the client's side, from the
// server's, and some of them changed into other link layers and other damage.
var corpus struct {
	once                      sync.Once
	client, server, converted []recording
}

// atOnce is how many talks are held side by side.
const atOnce = 12

// recordings holds every talk once and returns what was captured.
func recordings(t *testing.T) (client, server, converted []recording) {
	t.Helper()
	corpus.once.Do(func() {
		client, server := make([]recording, len(talks)), make([]recording, len(talks))
		t.Run("talks", func(t *testing.T) {
			room := make(chan struct{}, atOnce)
			for i, k := range talks {
				t.Run(k.name, func(t *testing.T) {
					t.Parallel()
					room <- struct{}{}
					defer func() { <-room }()
					client[i], server[i] = k.hold(t, uint16(7000+i))
				})
			}
		})
		if t.Failed() {
			return
		}
		corpus.client, corpus.server = client, server
		corpus.converted = convertAll(t, client, server)
	})
	if len(corpus.converted) == 0 {
		t.Fatal("the talks have failed")
	}
	return corpus.client, corpus.server, corpus.converted
}

// hold holds a talk and captures it on both hosts.
func (k *talk) hold(t *testing.T, port uint16) (client, server recording) {
	a, b, r := netlab.RelayPair(t, k.link)
	huge := k.link.Link.Offload
	left, right := record(t, a, k.name+", client's side", huge), record(t, b, k.name+", server's side", huge)
	k.run(&world{t: t, a: a, b: b, r: r, v6: k.v6, port: port})
	client, server = end(t, left, right)
	client.talk, server.talk = k.name, k.name
	return client, server
}

// join writes recordings into one file, each on an interface of its own, and
// returns where each begins, counted in frames.
func join(t *testing.T, file string, recordings []recording) (starts []int) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := pcapgo.NewNgWriterInterface(f, ngInterface(&recordings[0]), pcapgo.DefaultNgWriterOptions)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i := range recordings {
		r := &recordings[i]
		id := 0
		if i > 0 {
			if id, err = w.AddInterface(ngInterface(r)); err != nil {
				t.Fatal(err)
			}
		}
		starts = append(starts, n)
		for _, f := range r.frames {
			info := gopacket.CaptureInfo{Timestamp: f.at, CaptureLength: len(f.data), Length: f.size, InterfaceIndex: id}
			if err := w.WritePacket(info, f.data); err != nil {
				t.Fatal(err)
			}
			n++
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return starts
}

func ngInterface(r *recording) pcapgo.NgInterface {
	return pcapgo.NgInterface{Name: r.name, LinkType: r.link, OS: "test", TimestampResolution: 9}
}

// An opinion is what tshark says of one frame.
type opinion struct {
	stream       int
	completeness int
	flags        map[string]bool
}

// The fields that are compared: tshark's name of each.
var fields = []string{
	"retransmission", "fast_retransmission", "spurious_retransmission", "out_of_order", "duplicate_ack", "zero_window",
	"zero_window_probe", "zero_window_probe_ack", "keep_alive", "keep_alive_ack", "window_update", "window_full",
	"lost_segment", "ack_lost_segment", "reused_ports",
}

// ask has tshark analyse a file; the answer is a line for each frame.
func ask(t *testing.T, file string) []opinion {
	t.Helper()
	args := []string{"-n", "-2", "-r", file, "-T", "fields", "-E", "separator=;", "-o", "tcp.desegment_tcp_streams:FALSE", "-d", "tcp.port==1-65535,data",
		"-e", "tcp.stream", "-e", "tcp.completeness"}
	for _, f := range fields {
		args = append(args, "-e", "tcp.analysis."+f)
	}
	var stderr bytes.Buffer
	cmd := exec.Command("tshark", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v\n%s", err, &stderr)
	}
	var opinions []opinion
	for line := range strings.Lines(string(out)) {
		columns := strings.Split(strings.TrimRight(line, "\n"), ";")
		o := opinion{stream: -1, flags: map[string]bool{}}
		if n, err := strconv.Atoi(columns[0]); err == nil {
			o.stream = n
		}
		o.completeness, _ = strconv.Atoi(columns[1])
		for i, f := range fields {
			if columns[2+i] != "" {
				o.flags[f] = true
			}
		}
		opinions = append(opinions, o)
	}
	return opinions
}
