package rawsock

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// childRole names what a child process of a test does.
const childRole = "RAWSOCK_TEST_ROLE"

// childClaim is what a child claims, in the tests' namespace.
var childClaim = netip.MustParseAddrPort("127.0.0.1:4100")

// startChild runs the test binary in a role, with one argument, and waits until
// it says that it is ready.
func startChild(t *testing.T, role, arg string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", arg)
	cmd.Env = append(os.Environ(), childRole+"="+role)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "ready\n" {
		t.Fatalf("child %s %s says %q, %v", role, arg, line, err)
	}
	return cmd
}

func runChild(role string) int {
	if role != "claim" {
		return 2
	}
	mode := GuardSocket
	if os.Args[1] == GuardNFT.String() {
		mode = GuardNFT
	}
	c, err := openLink(Config{Guard: mode})
	if err == nil {
		_, err = c.Claim(childClaim)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("ready")
	select {}
}
