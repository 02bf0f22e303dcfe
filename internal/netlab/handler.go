package netlab

import (
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
)

// Echo sends back all it receives and closes when the peer has closed.
func Echo(c *net.TCPConn) { _, _ = io.Copy(c, c) } // an error is the peer's going

// Discard reads until the peer closes and says nothing.
func Discard(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }

// Mute reads nothing, says nothing, and keeps the connection until the server is closed.
func Mute(c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	// False means "not ready yet": this waits without reading until the socket
	// is closed under it.
	_ = raw.Read(func(uintptr) bool { return false })
}

// Source sends Pattern(seed, n) to each peer and a FIN, and then reads until
// the peer closes: closing over unread data would be a reset.
func Source(seed uint64, n int64) Handler {
	return func(c *net.TCPConn) {
		if _, err := io.Copy(c, Pattern(seed, n)); err == nil && c.CloseWrite() == nil {
			Discard(c)
		}
	}
}

// Pattern returns n octets that never repeat and that the seed determines.
func Pattern(seed uint64, n int64) io.Reader {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return io.LimitReader(rand.NewChaCha8(key), n)
}

// PatternSum returns the SHA-256 of Pattern(seed, n).
func PatternSum(seed uint64, n int64) [32]byte {
	return sum(Pattern(seed, n)).SHA256
}

// A Received is what one connection brought to a Sink.
type Received struct {
	N      int64 // octets
	SHA256 [32]byte
	Err    error // nil if the peer closed in order
}

// Sink reads each connection to its end and tells results what it brought.
// The channel needs room or a reader.
func Sink(results chan<- Received) Handler {
	return func(c *net.TCPConn) { results <- sum(c) }
}

// sum reads r to its end.
func sum(r io.Reader) Received {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return Received{N: n, SHA256: [32]byte(h.Sum(nil)), Err: err}
}

// Hello is a web page to say hello with, for ServeHTTP.
var Hello http.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "hello from the kernel's own TCP\n")
})
