package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"rawtcp/engine"
	"rawtcp/internal/trace"
)

// hintDeaf is for a run that heard nothing at all.
const hintDeaf = "nothing came back; a firewall on this host may hide it: rawtcp doctor"

// openFailure explains why there is no link.
func openFailure(err error) error {
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return &failure{code: exitCapability, err: err, hint: "rawtcp doctor shows what else is missing"}
	case isLocal(err):
		return &failure{code: exitLocal, err: err}
	}
	return fmt.Errorf("cannot open a raw socket: %w", err)
}

// isLocal reports whether an error is about this host's interfaces, addresses,
// routes or ports.
func isLocal(err error) bool {
	for _, errno := range []syscall.Errno{
		syscall.EADDRINUSE, syscall.EADDRNOTAVAIL, syscall.ENODEV, syscall.ENXIO,
		syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.EINVAL, syscall.EAFNOSUPPORT,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return errors.Is(err, engine.ErrInUse)
}

// connectFailure explains why a connection did not come about or broke.
func connectFailure(err error, sum *trace.Summary, port uint16) error {
	var f *failure
	switch {
	case err == nil || errors.As(err, &f):
		return err
	case errors.Is(err, engine.ErrRefused):
		return fail(exitRefused, "", "refused: %s", refusal(sum, "no port open there"))
	case errors.Is(err, engine.ErrUnreachable):
		return fail(exitRefused, "", "unreachable: %s", refusal(sum, "a router said so"))
	case errors.Is(err, engine.ErrTimeout), errors.Is(err, os.ErrDeadlineExceeded):
		return timeoutFailure(sum)
	case errors.Is(err, engine.ErrReset):
		return fail(exitReset, "", "reset: %s", refusal(sum, "by the peer"))
	case errors.Is(err, engine.ErrBadAddress):
		return usageError("%w", err)
	case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, engine.ErrInUse):
		return fail(exitLocal, "ss -ltn shows who listens; without --source-port any free port is taken", "source port %d is taken: %w", port, err)
	case isLocal(err):
		return &failure{code: exitLocal, err: err}
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return &failure{code: exitCapability, err: err}
	case errors.Is(err, engine.ErrAborted), errors.Is(err, engine.ErrClosing), errors.Is(err, net.ErrClosed):
		return fail(exitReset, "", "broken: %w", err)
	}
	return err
}

// refusal says where the bad news came from.
func refusal(sum *trace.Summary, otherwise string) string {
	switch {
	case sum != nil && sum.RST != nil:
		return originText(sum.RST, "RST")
	case sum != nil && sum.ICMP != nil:
		return originText(sum.ICMP, "")
	}
	return otherwise
}

func timeoutFailure(sum *trace.Summary) error {
	switch {
	case sum == nil:
		return fail(exitTimeout, "", "timed out")
	case sum.ICMP != nil:
		return fail(exitTimeout, "", "timed out; the last news was %s", originText(sum.ICMP, ""))
	case sum.SegmentsReceived == 0:
		return fail(exitTimeout, hintDeaf, "timed out: no answer to %s", plural(sum.SegmentsSent, "SYN"))
	}
	return fail(exitTimeout, "", "timed out: no answer from the peer after %s", plural(sum.Retransmits, "retransmission"))
}
