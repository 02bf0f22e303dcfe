package netlab

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A mend is one known reason why namespaces are refused, and the command that lifts it.
type mend struct {
	file, bad string // the refusal holds if file contains exactly bad
	command   string
}

var mends = []mend{
	{"/proc/sys/kernel/unprivileged_userns_clone", "0", "sudo sysctl kernel.unprivileged_userns_clone=1"},
	{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"},
	{"/proc/sys/user/max_user_namespaces", "0", "sudo sysctl user.max_user_namespaces=15000"},
	{"/proc/sys/user/max_net_namespaces", "0", "sudo sysctl user.max_net_namespaces=15000"},
}

// explain adds to an error of making namespaces what the host forbids, and the mend.
// Other errors come back as they are.
func explain(err error) error { return explainWith(err, os.ReadFile) }

func explainWith(err error, read func(string) ([]byte, error)) error {
	if !refusesNamespaces(err) {
		return err
	}
	var found []string
	for _, m := range mends {
		if b, readErr := read(m.file); readErr == nil && strings.TrimSpace(string(b)) == m.bad {
			found = append(found, m.command)
		}
	}
	if _, readErr := read("/proc/self/ns/user"); errors.Is(readErr, os.ErrNotExist) {
		found = append(found, "use a kernel with CONFIG_USER_NS and CONFIG_NET_NS, or run as root")
	}
	if len(found) == 0 {
		found = append(found, "run as root; in a container: docker run --security-opt seccomp=unconfined --cap-add SYS_ADMIN --cap-add NET_ADMIN")
	}
	return fmt.Errorf("cannot make user and network namespaces: %w; to mend it: %s", err, strings.Join(found, "; "))
}

// refusesNamespaces reports whether err is one that clone(2), unshare(2) or
// the first privileged act inside gives when namespaces are forbidden.
func refusesNamespaces(err error) bool {
	for _, errno := range []unix.Errno{unix.EPERM, unix.EACCES, unix.ENOSPC, unix.EUSERS, unix.EINVAL, unix.ENOSYS} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
