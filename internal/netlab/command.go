package netlab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
)

// A Cmd is an exec.Cmd whose Start, Run, Output and CombinedOutput start the
// program inside its host. The program is killed when the lab is closed or this
// process dies; as with exec.Cmd, a started Cmd wants a Wait.
type Cmd struct {
	*exec.Cmd
	host *Host
}

// Command returns a program to be run inside the host, killed when ctx ends.
func (h *Host) Command(ctx context.Context, name string, args ...string) *Cmd {
	return &Cmd{Cmd: exec.CommandContext(ctx, name, args...), host: h}
}

// Start starts the program inside the host.
func (c *Cmd) Start() error {
	if c.SysProcAttr == nil {
		c.SysProcAttr = &syscall.SysProcAttr{}
	}
	c.SysProcAttr.Pdeathsig = syscall.SIGKILL
	err := errHostClosed
	keeperErr := c.host.onKeeper(func() { err = c.Cmd.Start() })
	if err = errors.Join(keeperErr, err); err != nil {
		return fmt.Errorf("host %s: start %s: %w", c.host.name, c.Path, err)
	}
	return nil
}

// onKeeper runs f on the thread that lives as long as the host, so that
// Pdeathsig, which follows the thread, means the host's end.
func (h *Host) onKeeper(f func()) error {
	h.mu.Lock()
	defer h.mu.Unlock() // held, so that close cannot close the channel under us
	if h.closed {
		return errHostClosed
	}
	done := make(chan struct{})
	h.starts <- func() { f(); close(done) }
	<-done
	return nil
}

// Run starts the program and waits for it.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the program and returns its standard output. Standard error goes
// where the field Stderr says.
func (c *Cmd) Output() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout = &out
	err := c.Run()
	return out.Bytes(), err
}

// CombinedOutput runs the program and returns all it printed.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}
