package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rawtcp/internal/netlab"
)

// A pairing is a server program and what client programs do with it.
type pairing struct {
	name  string
	serve func(t *testing.T, h *netlab.Host, port uint16, dir string)
	use   func(t *testing.T, p *passage, dir string, size int64)
}

var pairings = []pairing{
	{"curl", serveNginx, useCurl},
	{"wget", serveNginx, useWget},
	{"wrk", serveNginx, useWrk},
	{"iperf3", serveIperf3, useIperf3},
	{"redis", serveRedis, useRedis},
	{"ssh", serveSSH, useSSH},
	{"openssl", serveTLS, useTLS},
	{"git", serveGit, useGit},
}

// A wire is what the programs talk over.
type wire struct {
	name string
	harm netlab.Impairment
	size int64 // of a large file
}

var wires = []wire{
	{"good wire", netlab.Impairment{}, 8 << 20},
	{"bad wire", netlab.Impairment{Loss: 0.01, Reorder: 0.01, Duplicate: 0.005}, 1 << 20},
}

// soak is for `make soak`: minutes over a wire that nobody would put up with.
var soak = flag.Bool("soak", false, "talk over a terrible wire instead")

var terribleWires = []wire{
	{"terrible wire", netlab.Impairment{Loss: 0.05, Reorder: 0.02, Duplicate: 0.01, Delay: 5 * time.Millisecond}, 4 << 20},
}

// Real programs, which know nothing of it, talk through a TCP of rawtcp's, in
// either role, over either family, on a good wire and on a bad one. tshark
// judges what rawtcp put on the wire.
func TestRealProgramsThroughRawTCP(t *testing.T) {
	over := wires
	if *soak {
		over = terribleWires
	}
	for _, wire := range over {
		for _, r := range []role{asClient, asServer} {
			for _, f := range []family{v4, v6} {
				t.Run(fmt.Sprintf("%s/%s/%s", wire.name, r, f), func(t *testing.T) {
					t.Parallel()
					a, b, relay := netlab.RelayPair(t, netlab.RelayConfig{AtoB: wire.harm, BtoA: wire.harm})
					w := witnessOn(t, r.own(a, b), f.of(r.own(a, b)))
					for i, pair := range pairings {
						t.Run(pair.name, func(t *testing.T) {
							dir, port := t.TempDir(), uint16(8000+10*i)
							pair.serve(t, b, port, dir)
							p := open(t, r, f, a, b, port, "-q")
							pair.use(t, p, dir, wire.size)
							p.end(t)
						})
					}
					checkVerdict(t, w.end(), relay, wire.harm.Loss > 0)
				})
			}
		}
	}
}

func checkVerdict(t *testing.T, v verdict, relay *netlab.Relay, lossy bool) {
	t.Helper()
	if v.segments < 1000 {
		t.Errorf("the capture holds %d segments: it proves nothing", v.segments)
	}
	for _, fault := range v.faults {
		t.Error(fault)
	}
	ab, ba := relay.Counters(netlab.AtoB), relay.Counters(netlab.BtoA)
	if lossy != (ab.Lost > 0 && ba.Lost > 0) || ab.Overrun+ba.Overrun > 0 {
		t.Errorf("the relay did %+v, %+v", ab, ba)
	}
	t.Logf("%d segments; explained: %v", v.segments, v.remarks)
}

// pattern writes a file whose content seed determines, and returns its sum.
func pattern(t *testing.T, file string, seed uint64, size int64) string {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, netlab.Pattern(seed, size)); err != nil {
		t.Fatal(err)
	}
	return sumFile(t, file)
}

func sumFile(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

func wantSame(t *testing.T, got, want, what string) {
	t.Helper()
	if got != want {
		t.Errorf("%s is not what was sent", what)
	}
}

func serveNginx(t *testing.T, h *netlab.Host, port uint16, dir string) {
	write(t, filepath.Join(dir, "html", "index.html"), "served by nginx\n")
	write(t, filepath.Join(dir, "html", "put", "empty"), "")
	conf := filepath.Join(dir, "nginx.conf")
	write(t, conf, fmt.Sprintf(`user root; daemon off; master_process off; pid %[1]s/pid; error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
	server {
		listen %[2]d; listen [::]:%[2]d; root %[1]s/html;
		client_max_body_size 0;
		location /put/ { dav_methods PUT; }
	}
}`, dir, port))
	start(t, h, nil, "", "nginx", "-e", "stderr", "-p", dir, "-c", conf)
	waitPort(t, h, port)
}

func useCurl(t *testing.T, p *passage, dir string, size int64) {
	curl := func(args ...string) string {
		return p.run(t, "", "curl", append([]string{"-gsS", "-m", "60"}, args...)...)
	}
	if got := curl(p.url("")); got != "served by nginx\n" {
		t.Errorf("curl got %q", got)
	}
	big, got := filepath.Join(dir, "html", "big"), filepath.Join(dir, "got")
	sum := pattern(t, big, 1, size)
	curl("-o", got, p.url("big"))
	wantSame(t, sumFile(t, got), sum, "the download")
	curl("-o", got, "--limit-rate", "1M", "-r", "0-499999", p.url("big")) // the reader is slow
	if info, err := os.Stat(got); err != nil || info.Size() != 500000 {
		t.Errorf("the slow download: %v, %v", info, err)
	}
	curl("-T", big, p.url("put/up"))
	wantSame(t, sumFile(t, filepath.Join(dir, "html", "put", "up")), sum, "the upload")
	curl("--limit-rate", "1M", "-T", got, p.url("put/slow"))
	wantSame(t, sumFile(t, filepath.Join(dir, "html", "put", "slow")), sumFile(t, got), "the slow upload")
}

func useWget(t *testing.T, p *passage, dir string, size int64) {
	sum := pattern(t, filepath.Join(dir, "html", "big"), 2, size)
	got := filepath.Join(dir, "got")
	p.run(t, "", "wget", "-q", "-T", "60", "-O", got, p.url("big"))
	wantSame(t, sumFile(t, got), sum, "the download")
}

func useWrk(t *testing.T, p *passage, _ string, _ int64) {
	out := p.run(t, "", "wrk", "-t", "1", "-c", "8", "-d", "1s", "--timeout", "10s", p.url(""))
	if !strings.Contains(out, "Requests/sec") || strings.Contains(out, "Socket errors") || strings.Contains(out, "Non-2xx") || strings.Contains(out, " 0 requests") {
		t.Errorf("wrk says\n%s", out)
	}
}

func serveIperf3(t *testing.T, h *netlab.Host, port uint16, _ string) {
	start(t, h, nil, "Server listening", "iperf3", "--forceflush", "-s", "-p", fmt.Sprint(port))
}

func useIperf3(t *testing.T, p *passage, _ string, _ int64) {
	// At a given rate: what is sent as fast as possible waits in buffers that
	// iperf3 knows nothing of, and it reports before they are empty.
	for _, more := range [][]string{nil, {"-R"}, {"-P", "4"}} {
		args := append([]string{"-J", "-c", p.host(), "-p", p.port(), "-t", "1", "-b", "10M"}, more...)
		out := ""
		// It serves one client at a time, and the next one's SYN may overtake the
		// last one's goodbye, which has a connection of its own. The server says
		// that it is busy, and closes over what it has not read, which is a reset,
		// early or late.
		eventually(t, patience, "iperf3 is not busy", func() bool {
			out = runProgram(t, p.a, nil, "iperf3", args...).stdout
			return !strings.Contains(out, "busy running a test") && !strings.Contains(out, "unable to receive control message: Connection reset") &&
				!strings.Contains(out, "unable to connect to server: Connection reset")
		})
		var report struct {
			End struct {
				Received struct{ Bytes int64 } `json:"sum_received"`
			}
			Error string
		}
		if err := json.Unmarshal([]byte(out), &report); err != nil || report.Error != "" || report.End.Received.Bytes == 0 {
			t.Errorf("iperf3 %v says %v, %s", more, err, tail(out))
		}
	}
}

func serveRedis(t *testing.T, h *netlab.Host, port uint16, dir string) {
	start(t, h, nil, "", "redis-server", "--port", fmt.Sprint(port), "--bind", "*", "-::*", "--save", "", "--protected-mode", "no", "--dir", dir)
	waitPort(t, h, port)
}

func useRedis(t *testing.T, p *passage, _ string, _ int64) {
	out := p.run(t, "", "redis-benchmark", "-h", p.host(), "-p", p.port(), "-c", "10", "-n", "2000", "-P", "16", "-d", "100", "-t", "set,get,lpush,lrange_100", "--csv")
	if strings.Count(out, "\n") < 5 || strings.Contains(out, "Error") {
		t.Errorf("redis-benchmark says\n%s", out)
	}
}

// serveSSH starts an sshd that serves one user, itself. As root it would become
// others, and in a namespace that maps root alone there are none; so it gets
// one more user namespace, where it is the user of a passwd file of its own.
func serveSSH(t *testing.T, h *netlab.Host, port uint16, dir string) {
	for _, key := range []string{"host", "user"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	write(t, filepath.Join(dir, "passwd"), fmt.Sprintf("rawtcp-guest:*:1000:1000::%s:/bin/sh\n", dir))
	conf := filepath.Join(dir, "sshd_config")
	write(t, conf, fmt.Sprintf("Port %d\nHostKey %[2]s/host\nAuthorizedKeysFile %[2]s/user.pub\nPidFile none\nUsePAM no\nStrictModes no\nSubsystem sftp internal-sftp\n", port, dir))
	sshd, err := exec.LookPath("sshd") // it insists on its whole path
	if err != nil {
		t.Fatal(err)
	}
	const steps = `mount --bind "$1/passwd" /etc/passwd && exec unshare --user --map-user=1000 --map-group=1000 "$2" -D -e -f "$1/sshd_config"`
	start(t, h, nil, "", "unshare", "--mount", "sh", "-c", steps, "sh", dir, sshd)
	waitPort(t, h, port)
}

func useSSH(t *testing.T, p *passage, dir string, size int64) {
	file := filepath.Join(dir, "file")
	sum := pattern(t, file, 3, size)
	options := []string{"-F", "none", "-o", "LogLevel=ERROR", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-i", filepath.Join(dir, "user"), "-o", "Port=" + p.port()}
	out := p.run(t, "typed by a person\n", "ssh", append(options, "rawtcp-guest@"+p.host(), "id -un; cat; exit 0")...)
	if out != "rawtcp-guest\ntyped by a person\n" {
		t.Errorf("ssh says %q", out)
	}
	copied, back := filepath.Join(dir, "copied"), filepath.Join(dir, "back")
	remote := fmt.Sprintf("rawtcp-guest@[%s]:%s", p.host(), copied)
	p.run(t, "", "scp", append(options, file, remote)...)
	wantSame(t, sumFile(t, copied), sum, "what scp sent")
	p.run(t, "", "scp", append(options, remote, back)...)
	wantSame(t, sumFile(t, back), sum, "what scp fetched")
}

func serveTLS(t *testing.T, h *netlab.Host, port uint16, dir string) {
	key, cert := filepath.Join(dir, "key"), filepath.Join(dir, "cert")
	if out, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
		"-subj", "/CN=test", "-days", "2", "-keyout", key, "-out", cert).CombinedOutput(); err != nil {
		t.Fatalf("openssl req: %v\n%s", err, out)
	}
	start(t, h, nil, "", "openssl", "s_server", "-accept", fmt.Sprint(port), "-key", key, "-cert", cert, "-rev")
	waitPort(t, h, port)
}

func useTLS(t *testing.T, p *passage, dir string, _ int64) {
	// s_server turns each line back, and closes at CLOSE.
	out := p.run(t, "hello from s_client\nCLOSE\n", "openssl", "s_client", "-quiet", "-connect", p.to.String(),
		"-CAfile", filepath.Join(dir, "cert"), "-verify_return_error")
	if !strings.Contains(out, "tneilc_s morf olleh") {
		t.Errorf("s_client says %q", out)
	}
}

func serveGit(t *testing.T, h *netlab.Host, port uint16, dir string) {
	repo := filepath.Join(dir, "repo")
	git := func(args ...string) {
		cmd := exec.Command("git", append([]string{"-C", repo, "-c", "user.name=test", "-c", "user.email=test@test"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	write(t, filepath.Join(repo, "readme"), "read me\n")
	pattern(t, filepath.Join(repo, "large"), 4, 1<<20)
	git("init", "-q")
	git("add", ".")
	git("commit", "-q", "-m", "first")
	libexec, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	// The daemon itself: git would be its parent, and it would outlive git.
	daemon := filepath.Join(strings.TrimSpace(string(libexec)), "git-daemon")
	start(t, h, nil, "Ready to rumble", "env", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		daemon, "--verbose", "--export-all", "--base-path="+dir, fmt.Sprintf("--port=%d", port))
	waitPort(t, h, port)
}

func useGit(t *testing.T, p *passage, dir string, _ int64) {
	clone := filepath.Join(dir, "clone")
	p.run(t, "", "git", "-c", "safe.directory=*", "clone", "-q", fmt.Sprintf("git://%s/repo", p.to), clone)
	wantSame(t, sumFile(t, filepath.Join(clone, "large")), sumFile(t, filepath.Join(dir, "repo", "large")), "the clone")
}
