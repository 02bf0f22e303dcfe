// Command rawtcp opens, accepts and studies TCP connections with segments of
// its own making, and shows every segment, state and timer. The kernel's TCP is
// kept silent and takes no part.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// Without this, a closed stdout would kill the process before it could
	// close its connections: `rawtcp connect ... | head`.
	signal.Ignore(syscall.SIGPIPE)
	os.Exit(run(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr))
}
