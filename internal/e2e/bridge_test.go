package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rawtcp/internal/netlab"
)

// passages runs a test of a server on the kernel's TCP that a client on the
// kernel's TCP reaches through rawtcp: in both roles, over both families. ROLE in
// a flag stands for the two.
func passages(t *testing.T, serve netlab.Handler, test func(t *testing.T, p *passage), flags ...string) {
	t.Helper()
	passagesOver(t, netlab.LinkConfig{Offload: true}, serve, test, flags...)
}

func passagesOver(t *testing.T, link netlab.LinkConfig, serve netlab.Handler, test func(t *testing.T, p *passage), flags ...string) {
	t.Helper()
	for _, r := range []role{asClient, asServer} {
		t.Run(string(r), func(t *testing.T) {
			both(t, func(t *testing.T, f family) {
				t.Parallel()
				a, b := netlab.Pair(t, link)
				if serve != nil {
					if _, err := b.Serve(8000, serve); err != nil {
						t.Fatal(err)
					}
				}
				own := slices.Clone(flags)
				for i := range own {
					own[i] = strings.ReplaceAll(own[i], "ROLE", fmt.Sprintf("%s-%s", r, f))
				}
				test(t, open(t, r, f, a, b, 8000, own...))
			})
		})
	}
}

func (p *passage) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	c := dialKernel(t, p.a, p.to.Addr(), p.to.Port())
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// wantReadReset reads until c is reset.
func wantReadReset(t *testing.T, c *net.TCPConn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v, want a reset", err)
	}
}

// said waits until rawtcp has said something.
func (p *passage) said(t *testing.T, what string) {
	t.Helper()
	eventually(t, patience, fmt.Sprintf("rawtcp says %q", what), func() bool { return strings.Contains(p.bridge.text(), what) })
}

// A half-close of the client reaches the server, which answers after it.
func TestBridgeClientHalfCloses(t *testing.T) {
	passages(t, func(c *net.TCPConn) {
		question, err := io.ReadAll(c)
		if err == nil {
			fmt.Fprintf(c, "heard %q", question)
		}
	}, func(t *testing.T, p *passage) {
		c := p.dial(t)
		io.WriteString(c, "question")
		c.CloseWrite()
		if answer, err := io.ReadAll(c); err != nil || string(answer) != `heard "question"` {
			t.Errorf("the answer is %q, %v", answer, err)
		}
		p.end(t)
	})
}

// A half-close of the server reaches the client, which goes on sending.
func TestBridgeServerHalfCloses(t *testing.T) {
	var heard sync.Map // what the server of each passage heard: its address -> chan string
	at := func(server string) chan string {
		ch, _ := heard.LoadOrStore(server, make(chan string, 1))
		return ch.(chan string)
	}
	passages(t, func(c *net.TCPConn) {
		io.WriteString(c, "greeting")
		c.CloseWrite()
		rest, err := io.ReadAll(c)
		if err != nil {
			rest = fmt.Appendf(rest, " (%v)", err)
		}
		at(c.LocalAddr().String()) <- string(rest)
	}, func(t *testing.T, p *passage) {
		c := p.dial(t)
		if greeting, err := io.ReadAll(c); err != nil || string(greeting) != "greeting" {
			t.Errorf("the greeting is %q, %v", greeting, err)
		}
		io.WriteString(c, "the rest")
		c.CloseWrite()
		select {
		case rest := <-at(p.server()):
			if rest != "the rest" {
				t.Errorf("the server heard %q\n%s", rest, p.bridge.text())
			}
		case <-time.After(patience):
			t.Error("the server never saw our FIN")
		}
		p.end(t)
	})
}

// A reset of the server becomes one of the client's connection.
func TestBridgeServerResets(t *testing.T) {
	passages(t, func(c *net.TCPConn) {
		io.ReadFull(c, make([]byte, 5))
		c.SetLinger(0)
	}, func(t *testing.T, p *passage) {
		c := p.dial(t)
		io.WriteString(c, "hello")
		wantReadReset(t, c)
		p.said(t, "both sides were reset")
		p.end(t)
	})
}

// A reset of the client reaches the server at once, even if the server has sent
// all it has and rawtcp has no reason to read from the client, since that has
// half-closed.
func TestBridgeClientResets(t *testing.T) {
	for _, half := range []bool{false, true} {
		t.Run(fmt.Sprintf("half-closed %t", half), func(t *testing.T) {
			ended := make(chan error, 4)
			passages(t, func(c *net.TCPConn) {
				io.WriteString(c, "x")
				io.Copy(io.Discard, c)
				if half {
					// After a FIN a read tells nothing any more: what is sent does.
					for err := error(nil); err == nil; time.Sleep(time.Millisecond) {
						_, err = io.WriteString(c, "x")
						if err != nil {
							ended <- err
						}
					}
					return
				}
				_, err := c.Write([]byte("x"))
				ended <- err
			}, func(t *testing.T, p *passage) {
				c := p.dial(t)
				if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				if half {
					c.CloseWrite()
					time.Sleep(20 * time.Millisecond)
				}
				c.SetLinger(0)
				c.Close()
				select {
				case err := <-ended:
					if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
						t.Errorf("the server ended with %v", err)
					}
				case <-time.After(patience):
					t.Errorf("the server was not reset\n%s", tail(p.bridge.text()))
				}
				p.end(t)
			})
		})
	}
}

// Nobody listens where rawtcp carries on to: a reset, and a line that says why.
func TestBridgeRefused(t *testing.T) {
	passages(t, nil, func(t *testing.T, p *passage) {
		// As a server rawtcp resets so soon that the kernel may call it a failed dial.
		c, err := p.a.Dial(t.Context(), p.to)
		if err == nil {
			_, err = io.Copy(io.Discard, c)
			c.Close()
		}
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the client sees %v, want a reset", err)
		}
		p.said(t, "refused")
		if text := p.bridge.text(); !strings.Contains(text, "was reset: ") {
			t.Errorf("no line tells the client's fate\n%s", text)
		}
		p.bridge.signal(syscall.SIGINT)
		if code, want := p.bridge.wait(), map[role]int{asClient: 130, asServer: 0}[p.role]; code != want {
			t.Errorf("exit %d, want %d", code, want) // as a server it has served a handshake
		}
	})
}

// The far host does not answer: a reset when the time is over.
func TestBridgeTimesOut(t *testing.T) {
	both(t, func(t *testing.T, f family) {
		a, b, relay := netlab.RelayPair(t, netlab.RelayConfig{})
		if err := relay.SetBoth(netlab.Impairment{Drop: func([]byte) bool { return true }}); err != nil {
			t.Fatal(err)
		}
		p := open(t, asClient, f, a, b, 8000, "--connect-timeout", "300ms", "--count", "1")
		wantReadReset(t, p.dial(t))
		if code := p.bridge.wait(); code != 1 || !strings.Contains(p.bridge.text(), "was reset: timed out") {
			t.Errorf("exit %d\n%s", code, p.bridge.text())
		}
	})
}

// The client gives up while the far host does not answer: so does rawtcp.
func TestBridgeClientGivesUp(t *testing.T) {
	both(t, func(t *testing.T, f family) {
		a, b, relay := netlab.RelayPair(t, netlab.RelayConfig{})
		if err := relay.SetBoth(netlab.Impairment{Drop: func([]byte) bool { return true }}); err != nil {
			t.Fatal(err)
		}
		p := open(t, asClient, f, a, b, 8000, "--count", "1")
		c := p.dial(t)
		p.said(t, "SYN-SENT")
		c.SetLinger(0)
		c.Close()
		p.said(t, "the program has reset its connection")
		p.bridge.wait()
	})
}

// Ctrl-C closes in order: both parties read an end, and rawtcp is gone as soon
// as they have closed.
func TestBridgeInterrupted(t *testing.T) {
	passages(t, netlab.Echo, func(t *testing.T, p *passage) {
		c := p.dial(t)
		io.WriteString(c, "hello")
		if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		p.bridge.signal(os.Interrupt)
		if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
			t.Errorf("the client reads %q, %v; want an end", rest, err)
		}
		c.Close()
		if code := p.bridge.wait(); code != 0 {
			t.Errorf("exit %d\n%s", code, p.bridge.text())
		}
		if strings.Contains(p.bridge.text(), "were reset") {
			t.Errorf("it was no orderly end\n%s", p.bridge.text())
		}
	})
}

// A party that does not close after Ctrl-C is reset two seconds later; after a
// second one at once, which TestPumpStopIsNotWaitedForLong measures in virtual time.
func TestBridgeInterruptedWithoutAnAnswer(t *testing.T) {
	passages(t, netlab.Mute, func(t *testing.T, p *passage) {
		c := p.dial(t)
		p.said(t, "is carried by")
		began := time.Now()
		p.bridge.signal(os.Interrupt)
		if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
			t.Errorf("the client reads %q, %v; want an end", rest, err)
		}
		least := 2 * time.Second
		if p.family == v6 {
			p.bridge.signal(os.Interrupt)
			least = 0
		}
		if code := p.bridge.wait(); code != 0 || time.Since(began) < least {
			t.Errorf("exit %d after %v\n%s", code, time.Since(began), p.bridge.text())
		}
		if _, err := c.Write([]byte("x")); err == nil {
			time.Sleep(10 * time.Millisecond)
			if _, err = c.Write([]byte("x")); err == nil {
				t.Error("the client was not reset")
			}
		}
	})
}

// A server that reads nothing stops a client that writes: what is on its way is
// bounded. A reset goes past what is stuck.
func TestBridgeBackPressure(t *testing.T) {
	wire := netlab.LinkConfig{} // without offloads checksums are finished, and can be judged
	passagesOver(t, wire, netlab.Mute, func(t *testing.T, p *passage) {
		own := p.role.own(p.a, p.b)
		w := witnessOn(t, own, p.family.of(own))
		c := p.dial(t)
		total, chunk := 0, make([]byte, 64<<10)
		for {
			c.SetWriteDeadline(time.Now().Add(3 * time.Second)) // nothing moves any more
			n, err := c.Write(chunk)
			total += n
			if err != nil {
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal(err)
				}
				break
			}
			if total > 64<<20 {
				t.Fatalf("%d octets went nowhere", total)
			}
		}
		t.Logf("%d octets are on their way", total)
		c.SetLinger(0)
		c.Close()
		p.said(t, "both sides were reset")
		p.end(t)
		v := w.end()
		shut := 0 // by a sender that stops at the edge, or a receiver that says so
		for _, what := range []string{windowFull, zeroWindow} {
			shut += v.remarks[what] + v.remarks["ours: "+what]
		}
		if v.segments < 50 || shut == 0 {
			t.Errorf("%d segments, %v: never a full window, so that the capture proves nothing", v.segments, v.remarks)
		}
		for _, fault := range v.faults {
			t.Error(fault)
		}
	})
}

// Many connections at once, none lost, and nothing left of them.
func TestBridgeTwoHundredAtOnce(t *testing.T) {
	const count = 200
	passages(t, netlab.Echo, func(t *testing.T, p *passage) {
		files := func() (n int) { // without the pollers of its readers, which they open when they get to it
			dir := fmt.Sprintf("/proc/%d/fd", p.bridge.Process.Pid)
			list, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range list {
				if what, err := os.Readlink(filepath.Join(dir, f.Name())); err == nil && !strings.HasPrefix(what, "anon_inode:[event") {
					n++
				}
			}
			return n
		}
		before := files()
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		defer cancel()
		var all sync.WaitGroup
		for i := range count {
			all.Go(func() {
				c, err := p.a.Dial(ctx, p.to)
				if err != nil {
					t.Errorf("connection %d: %v", i, err)
					return
				}
				defer c.Close()
				want := strings.Repeat(fmt.Sprintf("connection %d ", i), 1000)
				io.WriteString(c, want)
				c.CloseWrite()
				if got, err := io.ReadAll(c); err != nil || string(got) != want {
					t.Errorf("connection %d: %d octets came back, %v", i, len(got), err)
				}
			})
		}
		all.Wait()
		eventually(t, patience, "its files are closed", func() bool { return files() <= before })
		p.end(t)
		if !strings.Contains(p.bridge.text(), "200 connections: 200 closed") {
			t.Errorf("it says\n%s", tail(p.bridge.text()))
		}
	}, "-q")
}

// The lines of --json and the capture of --pcap are those of connect.
func TestBridgeOutputs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "capture.pcapng")
	passages(t, netlab.Echo, func(t *testing.T, p *passage) {
		c := p.dial(t)
		io.WriteString(c, "hello")
		c.CloseWrite()
		if got, err := io.ReadAll(c); err != nil || string(got) != "hello" {
			t.Fatalf("%q, %v", got, err)
		}
		if code := p.bridge.wait(); code != 0 {
			t.Errorf("exit %d", code)
		}
		var last struct {
			Type string `json:"type"`
			Conn any    `json:"conn"`
		}
		types := map[string]bool{}
		for line := range strings.Lines(p.bridge.stdout.String()) {
			if err := json.Unmarshal([]byte(line), &last); err != nil {
				t.Errorf("%q: %v", line, err)
			}
			types[last.Type] = true
		}
		for _, want := range []string{"start", "segment", "state", "data", "summary"} {
			if !types[want] {
				t.Errorf("no line of type %s\n%s", want, p.bridge.text())
			}
		}
		if last.Type != "summary" || last.Conn != "all" {
			t.Errorf("the last line is of %+v", last)
		}
		out, err := exec.Command("tshark", "-n", "-r", fmt.Sprintf("%s-%s-%s", file, p.role, p.family), "-Y", "tcp.len > 0").Output()
		if err != nil || strings.Count(string(out), "\n") < 2 {
			t.Errorf("the capture holds %q, %v", out, err)
		}
	}, "--json", "--count", "1", "--pcap", file+"-ROLE")
}

// A port that is taken, a name that does not resolve: told before anybody connects.
func TestBridgeCannotStart(t *testing.T) {
	a, b := netlab.Pair(t, netlab.LinkConfig{})
	taken := b.MustServe(t, netlab.Echo)
	local := netip.AddrPortFrom(b.Addr4(), taken.Port()).String()
	for _, test := range []struct {
		args []string
		code int
	}{
		{[]string{"proxy", local, target(a.Addr4(), 80)}, 45},
		{[]string{"proxy", "198.18.77.77:80", target(a.Addr4(), 80)}, 45},
		{[]string{"proxy", "127.0.0.1:8000", "nosuchname.invalid:80"}, 6},
		{[]string{"proxy", "127.0.0.1:8000", "203.0.113.1:80"}, 45}, // no route
		{[]string{"proxy", "127.0.0.1:8000"}, 2},
		{[]string{"proxy", "8000", "198.18.0.1:80"}, 2},
		{[]string{"listen", ":8000", "--to", "nosuchname.invalid:80"}, 6},
		{[]string{"listen", ":8000", "--to", "198.18.0.1:80", "--echo"}, 2},
		{[]string{"listen", ":8000", "--to", "198.18.0.1:80", "--close", "rst"}, 2},
	} {
		if r := run(t, b, nil, test.args...); r.code != test.code || r.stderr == "" {
			t.Errorf("%v: want exit %d: %s", test.args, test.code, r)
		}
	}
}
