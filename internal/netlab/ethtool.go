package netlab

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtoolValue is struct ethtool_value of linux/ethtool.h.
type ethtoolValue struct{ cmd, data uint32 }

// ifreqData is struct ifreq of linux/if.h with the pointer member of its union.
type ifreqData struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte // the union is larger than a pointer
}

// An offload is one switch of ethtool -K.
type offload struct {
	name string
	set  uint32
}

// offloads in the order in which they can be switched off: segmentation stands on checksums.
var offloads = []offload{
	{"tso", unix.ETHTOOL_STSO},
	{"gso", unix.ETHTOOL_SGSO},
	{"gro", unix.ETHTOOL_SGRO},
	{"sg", unix.ETHTOOL_SSG},
	{"tx", unix.ETHTOOL_STXCSUM},
	{"rx", unix.ETHTOOL_SRXCSUM},
}

// segmentationOffloads are those that make frames larger than the MTU.
var segmentationOffloads = offloads[:3]

// Offload switches the interface's checksum and segmentation offloads. GRO
// stays off either way: on veth it only delays.
func (i *Interface) Offload(on bool) error {
	for _, o := range offloads {
		if on && o.name == "gro" {
			continue
		}
		if err := i.setOffload(o, on); err != nil {
			return err
		}
	}
	return nil
}

// setOffload does what ethtool -K does for one switch.
func (i *Interface) setOffload(o offload, on bool) error {
	err := i.Host.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		value := ethtoolValue{cmd: o.set}
		if on {
			value.data = 1
		}
		req := ifreqData{data: unsafe.Pointer(&value)}
		copy(req.name[:unix.IFNAMSIZ-1], i.Name)
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
		if errno != 0 {
			return errno
		}
		return nil
	})
	return i.told(fmt.Sprintf("switch offload %s to %t on", o.name, on), err)
}
