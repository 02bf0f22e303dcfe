package netlab

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// A Handler serves one connection on the kernel's TCP. The connection is
// closed when it returns, and under it when the server or its host is closed.
type Handler func(conn *net.TCPConn)

// A Server is a listener on the kernel's TCP inside a host, on both families.
type Server struct {
	listener *net.TCPListener
	handler  Handler

	mu       sync.Mutex
	conns    map[*net.TCPConn]struct{} // nil after Close
	accepted int
	running  sync.WaitGroup
}

// Serve listens on port (0: the kernel chooses) of every address of the host
// and runs handler for each connection, in a goroutine of its own.
func (h *Host) Serve(port uint16, handler Handler) (*Server, error) {
	l, err := h.Listen(port)
	if err != nil {
		return nil, err
	}
	s := &Server{listener: l, handler: handler, conns: make(map[*net.TCPConn]struct{})}
	if err := h.atEnd(func() { s.Close() }); err != nil {
		l.Close()
		return nil, err
	}
	s.running.Add(1)
	go s.accept()
	return s, nil
}

// Listen opens an ordinary listening socket on every address of the host.
// MPTCP is off: Go listens with it by default, and it changes the SYN-ACK.
func (h *Host) Listen(port uint16) (*net.TCPListener, error) {
	var cfg net.ListenConfig
	cfg.SetMultipathTCP(false)
	var l net.Listener
	err := h.Do(func() (err error) {
		l, err = cfg.Listen(context.Background(), "tcp", fmt.Sprintf(":%d", port))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", h.name, err)
	}
	return l.(*net.TCPListener), nil
}

// Dial connects from inside the host over the kernel's TCP.
func (h *Host) Dial(ctx context.Context, remote netip.AddrPort) (*net.TCPConn, error) {
	var c net.Conn
	err := h.Do(func() (err error) {
		c, err = (&net.Dialer{}).DialContext(ctx, "tcp", remote.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", h.name, err)
	}
	return c.(*net.TCPConn), nil
}

// Port returns the port the server listens on.
func (s *Server) Port() uint16 {
	return s.listener.Addr().(*net.TCPAddr).AddrPort().Port()
}

// Accepted returns how many connections were accepted so far.
func (s *Server) Accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// Close stops listening, closes every connection and waits for the handlers.
// It may be called more than once.
func (s *Server) Close() error {
	err := s.listener.Close()
	s.mu.Lock()
	conns := s.conns
	s.conns = nil
	s.mu.Unlock()
	for c := range conns {
		c.Close()
	}
	s.running.Wait()
	return err
}

// accept runs until the listener is closed.
func (s *Server) accept() {
	defer s.running.Done()
	for {
		c, err := s.listener.AcceptTCP()
		if err != nil {
			return
		}
		if !s.add(c) {
			c.Close()
			return
		}
		go s.serve(c)
	}
}

// add notes a connection so that Close can close it; false after Close.
func (s *Server) add(c *net.TCPConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		return false
	}
	s.conns[c] = struct{}{}
	s.accepted++
	s.running.Add(1)
	return true
}

// serve runs the handler and closes the connection.
func (s *Server) serve(c *net.TCPConn) {
	defer s.running.Done()
	s.handler(c)
	c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// ServeHTTP runs a web server on the kernel's TCP inside the host until the
// host is closed, and returns its port. Port 0 lets the kernel choose.
func (h *Host) ServeHTTP(port uint16, handler http.Handler) (uint16, error) {
	l, err := h.Listen(port)
	if err != nil {
		return 0, err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	if err := h.atEnd(func() { server.Close() }); err != nil {
		l.Close()
		return 0, err
	}
	go server.Serve(l)
	return l.Addr().(*net.TCPAddr).AddrPort().Port(), nil
}
