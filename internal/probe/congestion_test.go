package probe_test

import (
	"net"
	"net/http"
	"testing"

	"golang.org/x/sys/unix"
)

// serveWith starts a web server whose connections use a congestion control.
func (k *kernelHost) serveWith(t *testing.T, control string) uint16 {
	t.Helper()
	l, err := k.there.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, control)
	})
	if err != nil || failed != nil {
		t.Fatalf("congestion control %s: %v %v", control, err, failed)
	}
	server := &http.Server{Handler: webPage}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

// TestCongestionControls is a part of the campaign: what Linux is set to is what
// the battery finds, and whether it begins anew after silence.
func TestCongestionControls(t *testing.T) {
	if *golden == 0 {
		return // engines of every kind are asked in virtual time
	}
	for control, outcomes := range map[string]map[string]string{
		"reno":  {"E2": "restarts", "E5": "reno"},
		"cubic": {"E2": "restarts", "E5": "cubic"},
		"bbr":   {"E2": "kept", "E5": "rate"},
	} {
		t.Run(control, func(t *testing.T) {
			t.Parallel()
			k := newKernelHost(t)
			port := k.serveWith(t, control)
			for range *golden {
				report := k.probe(t, port, "http", "E2", "E5")
				want(t, report, outcomes)
				t.Logf("%s\n%s", factsOf(report.Results[0]), factsOf(report.Results[1]))
			}
		})
	}
}
