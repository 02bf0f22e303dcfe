package rawsock

import (
	"os"

	"golang.org/x/sys/unix"
)

// Privileges says which capabilities of the calling thread are effective.
type Privileges struct {
	NetRaw         bool // raw sockets
	NetAdmin       bool // nft tables, receive buffers beyond net.core.rmem_max
	NetBindService bool // ports below net.ipv4.ip_unprivileged_port_start
}

// Capabilities reads the calling thread's effective capabilities.
func Capabilities() (Privileges, error) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return Privileges{}, os.NewSyscallError("capget", err)
	}
	has := func(c int) bool { return data[c/32].Effective&(1<<(c%32)) != 0 }
	return Privileges{
		NetRaw:         has(unix.CAP_NET_RAW),
		NetAdmin:       has(unix.CAP_NET_ADMIN),
		NetBindService: has(unix.CAP_NET_BIND_SERVICE),
	}, nil
}
