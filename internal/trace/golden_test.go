package trace

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"rawtcp/engine"
	"rawtcp/segment"
)

// A plot is one story that has a golden transcript of each side's view.
type plot struct {
	name  string
	about string
	play  func(*story)
}

func patient(c *engine.ConnConfig)   { c.TimeWait = 60 * time.Second }
func impatient(c *engine.ConnConfig) { c.SYNRetries = 2 }
func keepAlive(c *engine.ConnConfig) {
	c.KeepAliveIdle, c.KeepAliveInterval, c.KeepAliveCount = 10*time.Second, time.Second, 3
}
func fewRetries(c *engine.ConnConfig) { c.Retries = 2 }
func smallBuffer(c *engine.ListenConfig) {
	c.Conn.ReceiveBuffer = 2000
}

const page = "GET / HTTP/1.0\r\n\r\n"

var (
	full = strings.Repeat("0123456789abcdef", 1424/16) // fits one segment in both families, beside timestamps
	bulk = strings.Repeat("rawtcp", 1000)
)

var plots = []plot{
	// Opening.
	{"open-close-four", "The handshake, and the client closes first.", func(s *story) {
		s.open()
		s.at(50, func() { s.close(client) })
		s.closeOnEOF(server, 30)
	}},
	{"open-simultaneous", "Both sides open at once.", func(s *story) {
		s.dial(client)
		s.dial(server)
		s.at(100, func() { s.close(client) })
		s.closeOnEOF(server, 0)
	}},
	{"open-syn-lost", "The first SYN is lost.", func(s *story) {
		s.open()
		s.lose(client, 1)
		s.at(1200, func() { s.close(client) })
		s.closeOnEOF(server, 0)
	}},
	{"open-syn-ack-lost", "The first SYN-ACK is lost.", func(s *story) {
		s.open()
		s.lose(server, 1)
		s.at(1200, func() { s.close(client) })
		s.closeOnEOF(server, 0)
	}},
	{"open-ack-lost", "The ACK that completes the handshake is lost.", func(s *story) {
		s.open()
		s.lose(client, 2)
		s.at(1200, func() { s.close(client) })
		s.closeOnEOF(server, 0)
	}},
	{"open-refused", "Nobody listens: a RST.", func(s *story) {
		s.dial(client)
		s.at(20, func() { s.inject(client, "R. 0:0(0) ack 1 win 0") })
	}},
	{"open-timeout", "Nobody answers.", func(s *story) { s.dial(client, impatient) }},
	{"open-connect-timeout", "The time for the handshake is over.", func(s *story) {
		s.dial(client, func(c *engine.ConnConfig) { c.ConnectTimeout = 1500 * time.Millisecond })
	}},
	{"open-icmp-port", "ICMP says that nobody listens.", func(s *story) {
		s.dial(client)
		s.at(20, func() {
			if s.v6 {
				s.icmp(client, 1, 4, 0)
			} else {
				s.icmp(client, 3, 3, 0)
			}
		})
	}},
	{"open-icmp-host", "ICMP says that the host is not there; then nothing more.", func(s *story) {
		s.dial(client, impatient)
		s.at(20, func() {
			if s.v6 {
				s.icmp(client, 1, 3, 0)
			} else {
				s.icmp(client, 3, 1, 0)
			}
		})
	}},
	{"open-mute", "The listener is mute.", func(s *story) {
		s.listen(func(c *engine.ListenConfig) { c.Mute = true })
		s.dial(client, impatient)
	}},
	{"open-delayed", "The SYN-ACK is held back, so that the client asks twice.", func(s *story) {
		s.listen(func(c *engine.ListenConfig) { c.SYNDelay = 1100 * time.Millisecond })
		s.dial(client)
		s.at(1500, func() { s.close(client) })
		s.closeOnEOF(server, 0)
	}},
	{"open-backlog-full", "A second client finds the backlog full, and a third has its ACK ignored.", playBacklog},
	{"open-fast", "The second connection sends its request on the SYN (TCP Fast Open).", playFastOpen},
	{"open-cookie", "The listener answers by a SYN cookie and remembers nothing.", func(s *story) {
		s.listen(func(c *engine.ListenConfig) { c.Cookies, c.Conn.ISN = engine.CookiesAlways, nil })
		s.dial(client)
		s.at(50, func() { s.close(client) })
		s.closeOnEOF(server, 30)
	}},
	{"open-old-syn", "An old duplicate SYN comes first (RFC 9293 figure 9).", func(s *story) {
		s.listen()
		s.at(1, func() { s.inject(server, "S 5000:5000(0) win 1000 <mss 1000>") })
		s.at(5, func() { s.dial(client) })
		s.at(1500, func() { s.close(client) })
		s.closeOnEOF(server, 0)
	}},
	{"open-half-open", "The peer still has an old connection (RFC 9293 figure 10).", func(s *story) {
		s.dial(client)
		s.at(10, func() { s.inject(client, ". 300:300(0) ack 100 win 1000") })
		s.at(30, func() { s.inject(client, "R 100:100(0) win 0") })
		s.at(1020, func() { s.inject(client, "S. 0:0(0) ack 1 win 1000 <mss 1000>") })
		s.at(1100, func() { s.abort(client) })
	}},
	{"open-syn-received-reset", "The peer takes its SYN back.", func(s *story) {
		s.listen()
		s.at(0, func() { s.inject(server, "S 5000:5000(0) win 1000 <mss 1000>") })
		s.at(20, func() { s.inject(server, "R 5001:5001(0) win 0") })
	}},
	{"open-syn-ack-unanswered", "A SYN whose sender never answers.", func(s *story) {
		s.listen(func(c *engine.ListenConfig) { c.Conn.SYNRetries = 2 })
		s.at(0, func() { s.inject(server, "S 5000:5000(0) win 1000 <mss 1000>") })
	}},
	{"open-ack-in-listen", "An ACK out of nowhere.", func(s *story) {
		s.listen()
		s.at(0, func() { s.inject(server, ". 700:700(0) ack 900 win 1000") })
	}},
	{"open-withdrawn", "The application closes before the peer answers.", func(s *story) {
		s.dial(client)
		s.at(20, func() { s.close(client) })
	}},
	{"open-again-in-time-wait", "A new SYN ends TIME-WAIT at the server.", func(s *story) {
		s.listen(func(c *engine.ListenConfig) { patient(&c.Conn) })
		s.dial(client)
		s.at(50, func() { s.close(server) })
		s.closeOnEOF(client, 0)
		s.at(500, func() {
			s.conns[server] = nil
			s.dial(client, func(c *engine.ConnConfig) { c.ISN = nil })
		})
		s.at(600, func() { s.abort(client) })
	}},

	// Closing.
	{"close-server-first", "The server closes first.", func(s *story) {
		s.open()
		s.at(50, func() { s.close(server) })
		s.closeOnEOF(client, 30)
	}},
	{"close-three", "The server is done when the FIN comes: three segments.", func(s *story) {
		s.open()
		s.at(50, func() { s.close(client) })
		s.closeOnEOF(server, 0)
	}},
	{"close-simultaneous", "Both close at once.", func(s *story) {
		s.open()
		s.at(50, func() { s.close(client); s.close(server) })
	}},
	{"close-half", "The client closes its direction and goes on reading.", func(s *story) {
		s.open()
		s.at(50, func() { s.write(client, page); s.shut(client) })
		s.eof[server] = func() {
			s.after(10, func() { s.write(server, "a late answer") })
			s.after(100, func() { s.close(server) })
		}
	}},
	{"close-request-response", "One request, one answer, the server closes (HTTP/1.0).", func(s *story) {
		s.open()
		s.at(30, func() { s.write(client, page) })
		s.at(60, func() { s.write(server, "HTTP/1.0 200 OK\r\n\r\nhello"); s.close(server) })
		s.closeOnEOF(client, 0)
	}},
	{"close-fin-lost", "The first FIN is lost.", func(s *story) {
		s.open()
		s.at(50, func() { s.close(client) })
		s.lose(client, 3)
		s.closeOnEOF(server, 0)
	}},
	{"close-last-ack-lost", "The last ACK is lost, and TIME-WAIT is there for it.", func(s *story) {
		s.listen()
		s.dial(client, patient)
		s.at(50, func() { s.close(client) })
		s.lose(client, 4)
		s.closeOnEOF(server, 0)
	}},
	{"close-time-wait-rst", "A RST in TIME-WAIT is ignored (RFC 1337).", func(s *story) {
		s.listen()
		s.dial(client, patient)
		s.at(50, func() { s.close(client) })
		s.closeOnEOF(server, 0)
		s.at(500, func() { s.inject(client, "R 2:2(0) win 0") })
	}},
	{"close-reset", "The server aborts.", func(s *story) {
		s.open()
		s.at(50, func() { s.abort(server) })
	}},
	{"close-unread", "The server closes with data unread.", func(s *story) {
		s.open()
		s.deaf[server] = true
		s.at(30, func() { s.write(client, page) })
		s.at(100, func() { s.close(server) })
	}},
	{"close-data-after", "Data for an application that has closed.", func(s *story) {
		s.open()
		s.at(50, func() { s.close(server) })
		s.at(100, func() { s.write(client, page) })
	}},
	{"close-fin-wait-2", "The peer never closes its direction.", func(s *story) {
		s.open()
		s.at(50, func() { s.close(client) })
		s.until = 70 * time.Second
	}},
	{"close-silently", "The client leaves without a word.", func(s *story) {
		s.open()
		s.at(50, func() { s.conns[client].Abandon(s.now) })
	}},
	{"close-reset-in-last-ack", "A RST answers our FIN.", func(s *story) {
		s.open()
		s.at(50, func() { s.close(server) })
		s.closeOnEOF(client, 20)
		s.loseFrom(server, 3)
		s.at(100, func() { s.inject(client, "R 2:2(0) win 0") })
	}},

	// In between.
	{"data-lost-timeout", "A lone segment is lost: the timer.", func(s *story) {
		s.open()
		s.at(30, func() { s.write(client, page) })
		s.lose(client, 3)
		s.at(600, func() { s.close(client) })
		s.closeOnEOF(server, 0)
	}},
	{"data-lost-fast", "One of many is lost: three duplicate ACKs.", func(s *story) {
		s.open()
		s.at(30, func() { s.write(client, bulk) })
		s.lose(client, 3)
		s.at(600, func() { s.close(client) })
		s.closeOnEOF(server, 0)
	}},
	{"data-reordered", "A segment is overtaken.", func(s *story) {
		s.open()
		s.at(30, func() { s.write(client, full+full+full) })
		s.delays[[2]int{client, 3}] = 5 * time.Millisecond
		s.at(600, func() { s.close(client) })
		s.closeOnEOF(server, 0)
	}},
	{"data-ack-lost", "An ACK is lost: the data comes twice.", func(s *story) {
		s.open()
		s.at(30, func() { s.write(client, page) })
		s.lose(server, 2)
		s.at(600, func() { s.close(client) })
		s.closeOnEOF(server, 0)
	}},
	{"data-timeout", "The peer falls silent.", func(s *story) {
		s.listen()
		s.dial(client, fewRetries)
		s.loseFrom(client, 3)
		s.at(30, func() { s.write(client, page) })
		s.until = 30 * time.Second
	}},
	{"data-user-timeout", "The peer falls silent, and the application's patience is short and told (RFC 5482).", func(s *story) {
		s.listen()
		s.dial(client, func(c *engine.ConnConfig) { c.UserTimeout, c.UserTimeoutOption = 2*time.Second, engine.On })
		s.loseFrom(client, 3)
		s.at(30, func() { s.write(client, page) })
		s.until = 30 * time.Second
	}},
	{"data-corked", "Small writes under a cork.", func(s *story) {
		s.listen()
		s.dial(client, func(c *engine.ConnConfig) { c.Cork = true })
		s.at(30, func() { s.write(client, page) })
		s.at(60, func() { s.write(client, page) })
		s.at(600, func() { s.close(client) })
		s.closeOnEOF(server, 0)
	}},
	{"window-zero", "The server does not read, and later does.", func(s *story) {
		s.listen(smallBuffer)
		s.dial(client)
		s.deaf[server] = true
		s.at(30, func() { s.write(client, bulk) })
		s.at(1500, func() { s.deaf[server] = false })
		s.at(2000, func() { s.close(client) })
		s.closeOnEOF(server, 0)
	}},
	{"window-update-lost", "The ACK that opens the window is lost.", func(s *story) {
		s.listen(smallBuffer)
		s.dial(client)
		s.deaf[server] = true
		s.at(30, func() { s.write(client, bulk[:4000]) })
		s.at(400, func() { s.deaf[server] = false; s.lose(server, s.sent[server]+1) })
		s.at(2000, func() { s.close(client) })
		s.closeOnEOF(server, 0)
	}},
	{"keep-alive", "An idle peer answers keep-alives.", func(s *story) {
		s.listen()
		s.dial(client, keepAlive)
		s.at(25000, func() { s.close(client) })
		s.closeOnEOF(server, 0)
	}},
	{"keep-alive-dead", "An idle peer is gone.", func(s *story) {
		s.listen()
		s.dial(client, keepAlive)
		s.loseFrom(server, 2)
		s.until = 40 * time.Second
	}},
	{"attack", "Somebody guesses: a RST, a SYN, an ACK and old timestamps.", func(s *story) {
		s.open()
		s.at(1000, func() { s.inject(client, "R 500:500(0) win 0") })
		s.at(2000, func() { s.inject(client, "S 9999:9999(0) win 1000") })
		s.at(3000, func() { s.inject(client, ". 1:1(0) ack 9999 win 1000 <nop,nop,TS val 0 ecr 0>") })
		s.at(4000, func() { s.inject(client, "P. 1:5(4) ack 1 win 1000 <nop,nop,TS val 4294962296 ecr 0>") })
		s.at(5000, func() { s.icmpOld(client) })
		s.at(6000, func() { s.close(client) })
		s.closeOnEOF(server, 0)
	}},
	{"icmp-too-big", "The path takes smaller packets only.", func(s *story) {
		s.open()
		s.at(30, func() { s.write(client, full) })
		s.lose(client, 3)
		s.at(40, func() {
			if s.v6 {
				s.icmp(client, 2, 0, 1300)
			} else {
				s.icmp(client, 3, 4, 1300)
			}
		})
		s.at(600, func() { s.close(client) })
		s.closeOnEOF(server, 0)
	}},
	{"path-black-hole", "The path swallows large segments in silence, and says nothing.", func(s *story) {
		s.open()
		mtu := 1400
		s.narrow(client, &mtu)
		s.at(30, func() { s.write(client, page) })
		s.at(100, func() { s.write(client, full+full) })
		s.at(5000, func() { s.write(client, bulk+bulk) })
		s.at(6500, func() { s.close(client) })
		s.closeOnEOF(server, 0)
	}},
	{"path-forged", "Somebody claims that segments are too large, but they get through.", func(s *story) {
		s.open()
		s.at(30, func() { s.write(client, full+full) })
		s.at(100, func() { s.write(client, full+full) })
		s.at(105, func() {
			if s.v6 {
				s.icmp(client, 2, 0, 1300)
			} else {
				s.icmp(client, 3, 4, 600)
			}
		})
		s.at(600, func() { s.close(client) })
		s.closeOnEOF(server, 0)
	}},
	{"checksums", "One checksum is only begun, another one is wrong.", func(s *story) {
		s.open()
		s.at(30, func() { s.write(client, page) })
		s.change(client, unfinished, 3)
		s.change(server, damaged, 2)
		s.at(600, func() { s.close(client) })
		s.closeOnEOF(server, 0)
	}},
	{"ecn", "A router marks a packet instead of dropping it.", func(s *story) {
		s.listen(func(c *engine.ListenConfig) { c.Conn.ECN = engine.On })
		s.dial(client, func(c *engine.ConnConfig) { c.ECN = engine.On })
		s.change(client, congested, 3)
		s.at(30, func() { s.write(client, page) })
		s.at(200, func() { s.write(client, page) })
		s.at(600, func() { s.close(client) })
		s.closeOnEOF(server, 0)
	}},
	{"urgent", "The peer marks its data as urgent.", func(s *story) {
		s.open()
		s.change(client, urgent, 3)
		s.at(30, func() { s.write(client, page) })
		s.at(600, func() { s.close(client) })
		s.closeOnEOF(server, 0)
	}},
	{"close-abort", "The client aborts with data under way.", func(s *story) {
		s.open()
		s.at(30, func() { s.write(client, page) })
		s.at(35, func() { s.abort(client) })
	}},
	{"two-connections", "Two clients at one listener.", func(s *story) {
		s.listen()
		s.dial(client)
		first := (*engine.Conn)(nil)
		s.at(40, func() {
			first = s.conns[server]
			s.conns[server] = nil
			s.dialFrom(50000)
		})
		s.at(80, func() { s.close(client); first.Close(s.now) })
		s.at(90, func() { s.abort(server) })
	}},
}

func playFastOpen(s *story) {
	fast := func(c *engine.ConnConfig) { c.FastOpen = engine.On }
	s.listen(func(c *engine.ListenConfig) { c.FastOpen = 10 })
	s.dial(client, fast)
	s.at(30, func() { s.abort(client) }) // it has the cookie
	s.at(100, func() {
		s.conns[server] = nil // the next one is accepted in its place
		s.dialFrom(50000, fast)
		s.conns[client] = s.later
		s.write(client, page)
	})
	s.at(112, func() { s.write(server, "200 OK") })
	s.at(200, func() { s.close(client) })
	s.closeOnEOF(server, 30)
}

func playBacklog(s *story) {
	s.listen(func(c *engine.ListenConfig) { c.Backlog, c.Conn.SYNRetries = 1, 1 })
	held := s.listener
	s.listener = nil // nobody accepts
	s.dial(client)
	s.at(5, func() { s.dialFrom(50000, impatient) })
	s.at(100, func() { s.dialFrom(50001, impatient) })
	s.at(2000, func() { held.Close(s.now) })
	s.until = 5 * time.Second
}

// congested marks a packet as a router does (RFC 3168 section 5), and mends the
// IPv4 header's checksum.
func congested(pkt []byte) []byte {
	if pkt[0]>>4 == 6 {
		pkt[1] |= 3 << 4
		return pkt
	}
	pkt[1] |= 3
	pkt[10], pkt[11] = 0, 0
	sum := ^segment.Sum(pkt[:20], 0)
	pkt[10], pkt[11] = byte(sum>>8), byte(sum)
	return pkt
}

// urgent calls the first four octets of a segment's data urgent.
func urgent(pkt []byte) []byte {
	var s segment.Segment
	if err := s.Parse(pkt); err != nil {
		panic(err)
	}
	s.Flags |= segment.URG
	s.Urgent = 4
	out, err := s.Append(nil)
	if err != nil {
		panic(err)
	}
	return out
}

// unfinished leaves the checksum as a sending kernel does before the network card.
func unfinished(pkt []byte) []byte {
	return withChecksum(pkt, func(pseudo uint16) uint16 { return pseudo })
}

func damaged(pkt []byte) []byte {
	return withChecksum(pkt, func(pseudo uint16) uint16 { return pseudo + 77 })
}

func withChecksum(pkt []byte, change func(uint16) uint16) []byte {
	header, addrs := 40, pkt[8:40]
	if pkt[0]>>4 == 4 {
		header, addrs = 20, pkt[12:20]
	}
	tcp := pkt[header:]
	sum := change(segment.Sum(addrs, 0))
	pseudo := segment.Sum([]byte{0, 6, byte(len(tcp) >> 8), byte(len(tcp))}, sum)
	tcp[16], tcp[17] = byte(pseudo>>8), byte(pseudo)
	return pkt
}

func TestGolden(t *testing.T) {
	for _, p := range plots {
		for _, v6 := range []bool{false, true} {
			family := "v4"
			if v6 {
				family = "v6"
			}
			t.Run(p.name+"/"+family, func(t *testing.T) {
				s := newStory(t, v6)
				p.play(s)
				s.run()
				for side, name := range []string{"client", "server"} {
					v := s.views[side]
					if len(v.events) == 0 {
						continue
					}
					about := fmt.Sprintf("%s Seen from the %s.", p.about, name)
					if v6 && !strings.HasPrefix(p.name, "open-") && !strings.HasPrefix(p.name, "close-") {
						checkView(t, v)
						continue // the way between is the same
					}
					golden(t, filepath.Join("golden", p.name+"."+name+"."+family+".txt"), v.transcript(about))
					checkView(t, v)
				}
			})
		}
	}
}

// checkView asks what holds of every view.
func checkView(t *testing.T, v *view) {
	t.Helper()
	for _, e := range v.events {
		if e.Kind == engine.EventSegmentOut && !regexp.MustCompile(`RFC \d+ section`).MatchString(e.Reason) {
			t.Errorf("a segment of ours has the reason %q, without the section that asks for it", e.Reason)
		}
	}
	for name, out := range v.outs {
		if name == "json" || name == "pcap" {
			continue
		}
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 || n != len(line)-1 {
				t.Errorf("%s: %d columns, or not ASCII: %q", name, n, line)
			}
		}
	}
}

// No golden file is left over from a plot that is no more.
func TestGoldenFilesAreUsed(t *testing.T) {
	files, err := filepath.Glob("testdata/golden/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, f := range files {
		name, _, _ := strings.Cut(filepath.Base(f), ".")
		if !slices.ContainsFunc(plots, func(p plot) bool { return p.name == name }) {
			t.Errorf("%s belongs to no plot", f)
			if *update {
				_ = os.Remove(f)
			}
		}
	}
}

// The two families differ in addresses and sizes, and never in the story.
func TestFamiliesTellTheSame(t *testing.T) {
	for _, p := range plots {
		var told [2][]string
		for i, v6 := range []bool{false, true} {
			s := newStory(t, v6)
			p.play(s)
			s.run()
			for _, v := range s.views {
				told[i] = append(told[i], v.told())
			}
		}
		a, b := strings.Fields(strings.Join(told[0], " ")), strings.Fields(strings.Join(told[1], " "))
		for i := range max(len(a), len(b)) {
			if i >= len(a) || i >= len(b) || a[i] != b[i] {
				from := max(0, i-20)
				t.Errorf("%s differs between the families:\nIPv4 ...%s\nIPv6 ...%s", p.name, strings.Join(a[from:min(i+10, len(a))], " "), strings.Join(b[from:min(i+10, len(b))], " "))
				break
			}
		}
	}
}

var numbers = regexp.MustCompile(`\d+`)

// told is the narrator's text, without numbers.
func (v *view) told() string {
	var b strings.Builder
	for line := range strings.Lines(v.outs["--explain"].String()) {
		if sentence, ok := strings.CutPrefix(line, "    | "); ok {
			b.WriteString(numbers.ReplaceAllString(sentence, "N"))
		}
	}
	return b.String()
}
