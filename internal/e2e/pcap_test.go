package e2e

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket/pcapgo"
	"golang.org/x/sys/unix"

	"rawtcp/internal/netlab"
)

// A talk is one real conversation whose capture is examined.
type talk struct {
	name string
	run  func(t *testing.T, f family, a, b *netlab.Host, out []string) (jsonLines string)
}

// connecting is a talk that rawtcp on a begins with the kernel's TCP on b.
func connecting(name string, serve netlab.Handler, code int, args ...string) talk {
	return talk{"connect " + name, func(t *testing.T, f family, a, b *netlab.Host, out []string) string {
		port := uint16(9)
		if serve != nil {
			port = b.MustServe(t, serve).Port()
		}
		r := run(t, a, nil, slices.Concat([]string{"connect", target(f.of(b), port)}, args, out)...)
		if r.code != code {
			t.Fatalf("want exit code %d: %s", code, r)
		}
		return r.stdout
	}}
}

// listening is a talk that the kernel's TCP on b begins with rawtcp on a.
func listening(name string, do func(t *testing.T, c *net.TCPConn), args ...string) talk {
	return talk{"listen " + name, func(t *testing.T, f family, a, b *netlab.Host, out []string) string {
		l := listen(t, a, slices.Concat([]string{":7000", "--count", "1"}, args, out)...)
		do(t, dialKernel(t, b, f.of(a), 7000))
		l.wait()
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.stdout.String()
	}}
}

func sayAndHear(t *testing.T, c *net.TCPConn) {
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Error(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Error(err)
	}
	_, _ = io.Copy(io.Discard, c) // a reset is an end too
	c.Close()
}

var talks = []talk{
	connecting("close", netlab.Echo, 0),
	connecting("send", netlab.Echo, 0, "--send", "hello", "--wait", "50ms"),
	connecting("half-close", netlab.Echo, 0, "--send", "hello", "--close", "half"),
	connecting("server first", netlab.Source(1, 5000), 0, "--wait", "2s"),
	connecting("reset", netlab.Echo, 0, "--close", "rst"),
	connecting("silently", netlab.Echo, 0, "--close", "none"),
	connecting("refused", nil, 7),
	connecting("keep-alive", netlab.Echo, 0, "--hold", "350ms", "--keepalive", "100ms,100ms,3"),
	connecting("plain", netlab.Echo, 0, "--send", "hello", "--wait", "50ms", "--sack", "off", "--timestamps", "off", "--wscale", "off", "--mss", "300"),
	listening("echo", sayAndHear),
	listening("send", sayAndHear, "--send", "welcome"),
	listening("reset", sayAndHear, "--close", "rst"),
	proxying, forwarding,
	pinging(), pinging("--full"),
}

// proxying is a talk that a program on a has through rawtcp with the kernel's TCP on b.
var proxying = talk{"proxy", func(t *testing.T, f family, a, b *netlab.Host, out []string) string {
	local, echo := target(f.loopback(), 7000), b.MustServe(t, netlab.Echo)
	p := start(t, a, nil, "listening on", rawtcp, slices.Concat([]string{"proxy", local, target(f.of(b), echo.Port()), "--count", "1"}, out)...)
	sayAndHear(t, dialKernel(t, a, f.loopback(), 7000))
	p.wait()
	return p.stdout.String()
}}

// forwarding is a talk that the kernel's TCP on b has through rawtcp with a program on a.
var forwarding = talk{"listen --to", func(t *testing.T, f family, a, b *netlab.Host, out []string) string {
	to := target(f.loopback(), a.MustServe(t, netlab.Echo).Port())
	return listening("", sayAndHear, "--to", to).run(t, f, a, b, out)
}}

// pinging is a talk of two round trips. Half-open probes have no states to tell of.
func pinging(args ...string) talk {
	return talk{strings.Join(append([]string{"ping"}, args...), " "), func(t *testing.T, f family, a, b *netlab.Host, out []string) string {
		port := b.MustServe(t, netlab.Echo).Port()
		return mustRun(t, a, nil, slices.Concat([]string{"ping", "-c", "2", "-i", "0.05", target(f.of(b), port)}, args, out)...).stdout
	}}
}

// How far a time of ours may be from an independent capture's: nothing but a
// rounding where the kernel stamps a packet once for all, and where it does not,
// what people will not notice.
const (
	same      = time.Microsecond
	tolerance = 50 * time.Microsecond
)

// At least twenty real conversations: the file pleases tshark, the time of every
// segment is that of an independent capture, and each comment is on its packet.
//
// Between the hosts stands a relay, so that what arrives has been on a wire as
// far as the kernel knows, and is stamped once for all who listen. What a
// kernel's TCP sends through a veth pair alone bears the time at which it was to
// leave, and each listener stamps it for himself; see TestPcapTimesOnAVethPair.
func TestPcapOfRealConversations(t *testing.T) {
	keepStamping(t)
	dir := t.TempDir()
	var files []string
	var ours, theirs []time.Duration
	for _, talk := range talks {
		for _, f := range []family{v4, v6} {
			t.Run(talk.name+"/"+f.String(), func(t *testing.T) {
				a, b, _ := netlab.RelayPair(t, netlab.RelayConfig{})
				file := filepath.Join(dir, fmt.Sprintf("%s %s.pcapng", talk.name, f))
				files = append(files, file)
				packets, lines, out, in := talk.captured(t, f, a, b, file)
				if !strings.HasPrefix(talk.name, "ping") {
					checkComments(t, packets, lines)
				}
				ours, theirs = append(ours, out...), append(theirs, in...)
			})
		}
	}
	pleaseTshark(t, files...)
	for whose, off := range map[string][]time.Duration{"ours": ours, "the peers'": theirs} {
		if len(off) == 0 {
			t.Fatalf("no segment of %s was compared", whose)
		}
		t.Logf("%d segments of %s: the farthest is %v from the independent capture", len(off), whose, slices.Max(off))
		if far := slices.Max(off); far > same {
			t.Errorf("a time of %s is %v off", whose, far)
		}
	}
}

// On a veth pair what we send is stamped once as well. What comes in is stamped
// a microsecond after the capture has stamped it, unless the machine is taken
// away between the two: then the conversation is held again.
func TestPcapTimesOnAVethPair(t *testing.T) {
	keepStamping(t)
	both(t, func(t *testing.T, f family) {
		const tries = 10
		for try := 1; ; try++ {
			a, b := netlab.Pair(t, netlab.LinkConfig{})
			file := filepath.Join(t.TempDir(), "x.pcapng")
			_, _, ours, theirs := talks[1].captured(t, f, a, b, file)
			if far := slices.Max(ours); far > same {
				t.Fatalf("a time of ours is %v off", far)
			}
			far := slices.Max(theirs)
			if far <= tolerance {
				return
			}
			t.Logf("try %d: a time of the peer's is %v off", try, far)
			if try == tries {
				t.Fatalf("in %d conversations a time of the peer's was more than %v off", tries, tolerance)
			}
		}
	})
}

// captured holds a conversation beside an independent capture. It returns the
// packets of rawtcp's capture, which is in the file, its JSON lines, and how far
// the times are off.
func (k talk) captured(t *testing.T, f family, a, b *netlab.Host, file string) (packets []packetRecord, lines string, ours, theirs []time.Duration) {
	t.Helper()
	meet(t, f, a, b)
	c := record(t, a, "eth0")
	lines = k.run(t, f, a, b, []string{"--json", "--pcap", file})
	c.stop()
	packets = readCapture(t, file)
	ours, theirs = checkTimes(t, packets, c.file)
	return packets, lines, ours, theirs
}

// keepStamping makes the kernel stamp packets when they arrive, and not when
// they are read: it begins to only some time after the first socket has asked.
func keepStamping(t *testing.T) {
	t.Helper()
	receiver, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { receiver.Close() })
	raw, err := receiver.SyscallConn()
	if err == nil {
		err = errors.Join(raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
		}), err)
	}
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "packets stamped on arrival", func() bool {
		if _, err := receiver.WriteTo([]byte("x"), receiver.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		arrived := time.Now()
		time.Sleep(5 * time.Millisecond) // a stamp at the time of reading would be so late
		oob := make([]byte, 64)
		_, n, _, _, err := receiver.ReadMsgUDP(make([]byte, 1), oob)
		messages, parseErr := unix.ParseSocketControlMessage(oob[:n])
		if err != nil || parseErr != nil || len(messages) != 1 {
			t.Fatalf("no stamp: %v, %v", err, parseErr)
		}
		data := messages[0].Data
		stamp := time.Unix(int64(binary.NativeEndian.Uint64(data)), int64(binary.NativeEndian.Uint64(data[8:])))
		return stamp.Before(arrived.Add(time.Millisecond))
	})
}

// meet lets two hosts find each other's link address, which the first packet
// would have to wait for.
func meet(t *testing.T, f family, a, b *netlab.Host) {
	t.Helper()
	if c, err := a.Dial(t.Context(), netip.AddrPortFrom(f.of(b), 9)); err == nil {
		c.Close()
		t.Fatal("port 9 is open")
	}
}

// tsharkErrors is what tshark has to complain about a file; that it runs as
// root is not about the file. The kernel writes a checksum of zero as 0xffff,
// one segment in 65536: both are the same number, and Segment.Append writes zero.
func tsharkErrors(t *testing.T, file string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command("tshark", "-n", "-r", file, "-d", "tcp.port==1-65535,data", // what it guesses about the payload is not about the file
		"-Y", "_ws.malformed || _ws.expert.severity == error || (tcp.checksum.status == bad && !tcp.checksum.ffff) || ip.checksum.status == bad",
		"-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		fmt.Fprintf(&stderr, "%v\n", err)
	}
	complaints := string(out)
	for line := range strings.Lines(stderr.String()) {
		if !strings.HasPrefix(line, "Running as user") {
			complaints += line
		}
	}
	return complaints
}

// pleaseTshark has tshark and capinfos look at captures: at all of them at once,
// since to start takes them longer than to look.
func pleaseTshark(t *testing.T, files ...string) {
	t.Helper()
	all := filepath.Join(t.TempDir(), "all.pcapng")
	if out, err := exec.Command("mergecap", append([]string{"-a", "-F", "pcapng", "-w", all}, files...)...).CombinedOutput(); err != nil {
		t.Fatalf("mergecap: %v\n%s", err, out)
	}
	if complaints := tsharkErrors(t, all); complaints != "" {
		t.Errorf("tshark: %s", complaints)
		for _, file := range files {
			t.Logf("%s: %s", filepath.Base(file), tsharkErrors(t, file))
		}
	}
	out, err := exec.Command("capinfos", files...).CombinedOutput()
	if err != nil {
		t.Fatalf("capinfos: %v\n%s", err, out)
	}
	const first = "File name:"
	infos := strings.SplitAfter(string(out), "\n"+first)
	if len(infos) != len(files) {
		t.Fatalf("capinfos speaks of %d files, want %d\n%s", len(infos), len(files), out)
	}
	for i, info := range infos {
		for _, want := range []string{"Raw IP", "nanoseconds", "Name = eth0", "rawtcp"} {
			if want == "Name = eth0" && strings.Contains(files[i], "listen") {
				continue // on every interface
			}
			if !strings.Contains(info, want) {
				t.Errorf("%s: capinfos does not say %q:\n%s", filepath.Base(files[i]), want, info)
			}
		}
	}
}

// A record is one packet of a capture.
type packetRecord struct {
	at       time.Time
	out      bool
	tcp      []byte // from the TCP header on
	comments string
}

func readCapture(t *testing.T, file string) []packetRecord {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewNgReader(f, pcapgo.NgReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var packets []packetRecord
	for {
		data, info, options, err := r.ReadPacketDataWithOptions()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return packets
		}
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, packetRecord{
			at: info.Timestamp, tcp: transport(data), comments: strings.Join(options.Comments, "\n"),
			out: options.Flags.Direction == pcapgo.NgEpbFlagDirectionOutbound,
		})
	}
}

// transport is what an IP packet carries, as far as both captures keep it.
func transport(ip []byte) []byte {
	header := 40
	if ip[0]>>4 == 4 {
		header = int(ip[0]&15) * 4
	}
	return bytes.Clone(ip[header:min(len(ip), 200)])
}

// checkTimes compares with the independent capture, which holds the same
// packets, and returns how far the times of ours are off.
func checkTimes(t *testing.T, packets []packetRecord, file string) (ours, theirs []time.Duration) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	left, missing := slices.Clone(packets), ""
	for {
		frame, info, err := r.ReadPacketData()
		if err != nil {
			break
		}
		const ethernet = 14
		ip := frame[ethernet:]
		if isTCP := ip[0]>>4 == 4 && ip[9] == 6 || ip[0]>>4 == 6 && ip[6] == 6; !isTCP {
			continue
		}
		tcp := transport(ip)
		i := slices.IndexFunc(left, func(p packetRecord) bool { return bytes.Equal(p.tcp, tcp) })
		if i < 0 {
			missing = fmt.Sprintf("%x", tcp[:16])
			continue
		}
		// At the end it would be the kernel's word to a connection that is over;
		// a reset leaves what is in flight behind.
		if missing != "" && !strings.Contains(t.Name(), "reset") {
			t.Errorf("the capture misses a packet: %s", missing)
			missing = ""
		}
		off := left[i].at.Sub(info.Timestamp).Abs()
		if strings.Contains(left[i].comments, "time by the program") {
			t.Errorf("the tap has missed a packet: %s", left[i].comments)
		}
		if off > same {
			t.Logf("%v off: %x %s", left[i].at.Sub(info.Timestamp), left[i].tcp[:20], left[i].comments)
		}
		if left[i].out {
			ours = append(ours, off)
		} else {
			theirs = append(theirs, off)
		}
		left = slices.Delete(left, i, i+1)
	}
	if len(left) > 0 {
		t.Errorf("%d packets of the capture never were on the wire", len(left))
	}
	return ours, theirs
}

// checkComments holds the comments to the JSON lines of the same run: each
// change of state stands on the segment that caused it, or on the segment of
// ours that it led to, and each reason of ours on our segment. The capture is in
// the order of the wire and the lines are in that of the engine, so that each
// direction is followed by itself.
func checkComments(t *testing.T, packets []packetRecord, lines string) {
	t.Helper()
	directions := map[string][]packetRecord{}
	for _, p := range packets {
		dir := "in"
		if p.out {
			dir = "out"
		}
		directions[dir] = append(directions[dir], p)
	}
	states := 0
	var last, in packetRecord // the last segment, and the last one if it came in
	var at int64              // when
	var waiting []string
	says := func(p packetRecord, want string) {
		if !strings.Contains(p.comments, want) {
			t.Errorf("the packet of %v says %q, want %q", p.at, p.comments, want)
		}
	}
	for text := range strings.Lines(lines) {
		var line struct {
			Type, Dir, From, To, Cause, Reason string
			TimeUS                             int64 `json:"t_us"`
		}
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		switch line.Type {
		case "segment":
			left := directions[line.Dir]
			if len(left) == 0 {
				t.Fatalf("a segment of the JSON lines is not in the capture: %s", text)
			}
			last, directions[line.Dir] = left[0], left[1:]
			if in, at = last, line.TimeUS; last.out {
				in = packetRecord{}
				for _, want := range append(waiting, line.Reason) {
					says(last, want)
				}
				waiting = nil
			}
		case "state":
			states++
			change := line.From + " -> " + line.To
			switch {
			case in.tcp != nil && line.TimeUS == at:
				says(in, change+": "+line.Cause)
			case line.To == "CLOSED" && last.out && strings.Contains(last.comments, change): // our RST
			case line.To != "CLOSED":
				waiting = append(waiting, change+": "+line.Cause)
			}
		}
	}
	if len(directions["in"])+len(directions["out"]) > 0 || states == 0 {
		t.Errorf("%d changes of state in the JSON lines; in the capture alone: %v", states, directions)
	}
}

// captures are the commands that write one, each busy until it is stopped. c
// talks to what does not talk by itself.
var captures = []struct {
	name  string
	ready string // said when it can be talked to
	args  func(t *testing.T, a, b *netlab.Host) []string
	talk  func(t *testing.T, a, b *netlab.Host)
}{
	{"connect", "", func(t *testing.T, _, b *netlab.Host) []string {
		return []string{"connect", target(b.Addr4(), b.MustServe(t, netlab.Source(1, 1<<30)).Port()), "--wait", "60s"}
	}, nil},
	{"listen", "listening on", func(*testing.T, *netlab.Host, *netlab.Host) []string {
		return []string{"listen", ":7000", "--echo"}
	}, func(t *testing.T, a, b *netlab.Host) { chatter(dialKernel(t, b, a.Addr4(), 7000)) }},
	{"proxy", "listening on", func(t *testing.T, _, b *netlab.Host) []string {
		return []string{"proxy", "127.0.0.1:7000", target(b.Addr4(), b.MustServe(t, netlab.Echo).Port())}
	}, func(t *testing.T, a, _ *netlab.Host) { chatter(dialKernel(t, a, v4.loopback(), 7000)) }},
	{"ping", "", func(t *testing.T, _, b *netlab.Host) []string {
		return []string{"ping", target(b.Addr4(), b.MustServe(t, netlab.Echo).Port()), "-i", "0.002"}
	}, nil},
}

// chatter sends and hears octets until the connection breaks.
func chatter(c *net.TCPConn) {
	go func() {
		defer c.Close()
		text := make([]byte, 1000)
		for {
			if _, err := c.Write(text); err != nil {
				return
			}
			if _, err := io.ReadFull(c, text); err != nil {
				return
			}
		}
	}()
}

// After kill -9 at any moment the file can be read to its last whole packet.
func TestKillLeavesAReadableCapture(t *testing.T) {
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, 0))
	for i := range 8 {
		c := captures[i%len(captures)]
		wait := time.Duration(rng.IntN(280)) * time.Millisecond
		t.Run(fmt.Sprintf("%s %v later", c.name, wait), func(t *testing.T) {
			a, b := netlab.Pair(t, netlab.LinkConfig{})
			file := filepath.Join(t.TempDir(), "x.pcapng")
			p := start(t, a, nil, c.ready, rawtcp, append(c.args(t, a, b), "--pcap", file)...)
			if c.talk != nil {
				c.talk(t, a, b)
			}
			eventually(t, patience, "some packets in the file", func() bool {
				info, err := os.Stat(file)
				return err == nil && info.Size() > 4000
			})
			time.Sleep(wait)
			p.signal(syscall.SIGKILL)
			p.wait()
			packets := readCapture(t, file)
			out, err := exec.Command("capinfos", "-c", "-M", file).CombinedOutput()
			if !strings.Contains(string(out), fmt.Sprintf("Number of packets:   %d", len(packets))) {
				t.Errorf("capinfos does not count %d packets: %v\n%s", len(packets), err, out)
			}
			if complaints := tsharkErrors(t, file); complaints != "" && !strings.Contains(complaints, "cut short") {
				t.Errorf("tshark: %s", complaints)
			} else if complaints != "" {
				t.Logf("the last record was being written: %s", complaints)
			}
			if len(packets) < 3 {
				t.Errorf("only %d packets", len(packets))
			}
		})
	}
}

// --pcap - streams: the reader has each packet at once, and the text is elsewhere.
func TestPcapStreams(t *testing.T) {
	for _, c := range captures {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a, b := netlab.Pair(t, netlab.LinkConfig{})
			cmd := a.Command(t.Context(), rawtcp, append(c.args(t, a, b), "--pcap", "-")...)
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			said := bufio.NewReader(stderr)
			for line := ""; !strings.Contains(line, c.ready); {
				if line, err = said.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
			go func() { _, _ = io.Copy(io.Discard, said) }()
			if c.talk != nil {
				c.talk(t, a, b)
			}
			r, err := pcapgo.NewNgReader(stdout, pcapgo.NgReaderOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for i := range 20 { // while it goes on
				if _, _, err := r.ReadPacketData(); err != nil {
					t.Fatalf("packet %d: %v", i, err)
				}
			}
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, stdout)
			_ = cmd.Wait() // 0 or 130
		})
	}
}
