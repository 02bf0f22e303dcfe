package probe

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// A Need is what a row wants of the service behind the port.
type Need uint8

// The needs.
const (
	NoService    Need = iota // a handshake is enough
	AnyData                  // it says something: a greeting, or an answer to a request
	BulkData                 // the answer is longer than an initial window
	EchoedData               // it sends back what it is sent
	ClosesFirst              // there is something that makes it close first
	RepeatedData             // it answers again and again on one connection
)

// String names the need.
func (n Need) String() string {
	return [...]string{"none", "data", "bulk data", "echo", "one that can be made to close first", "repeated answers"}[n]
}

// A Service is what is known about the program behind the port.
type Service struct {
	Name    string // "http", "https", "ssh", "smtp", "echo", "raw", or "none"
	Greets  bool   // it speaks first
	Echoes  bool   // it sends back what it is sent
	Closes  bool   // it closes when it has answered
	Request []byte // asks for data; nil: nothing to ask with
	Encore  []byte // asks for some thousands of octets, as often as it is sent; nil: nothing does
	Goodbye []byte // makes it close first, with a short answer; nil: nothing does
}

// Speaks reports whether a service can do what a row needs. Whether it really
// sends so much only shows.
func (s Service) Speaks(n Need) bool {
	switch n {
	case AnyData, BulkData:
		return s.Greets || s.Echoes || s.Request != nil
	case EchoedData:
		return s.Echoes
	case ClosesFirst:
		return s.Goodbye != nil
	case RepeatedData:
		return s.Encore != nil
	}
	return true
}

// GuessService returns the service that lives on a port as a rule. host is the
// name that a request asks for.
func GuessService(port uint16, host string) Service {
	name := "none"
	switch port {
	case 80, 8000, 8008, 8080, 8888:
		name = "http"
	case 443, 8443:
		name = "https"
	case 22, 2222:
		name = "ssh"
	case 25, 587, 2525:
		name = "smtp"
	case 7, 7777:
		name = "echo"
	}
	s, _ := ParseService(name, host)
	return s
}

// ParseService reads http, https, ssh, smtp, echo, none or raw:TEXT, where TEXT
// has been unescaped. http and https may be followed by a path: http:/big.bin.
func ParseService(text, host string) (Service, error) {
	name, rest, _ := strings.Cut(text, ":")
	switch name {
	case "http":
		if rest == "" {
			rest = "/"
		}
		return Service{
			Name: name, Closes: true, Request: httpRequest("GET", rest, host), Goodbye: httpRequest("HEAD", rest, host),
			// RFC 9112 section 9.3.2: a client may send requests without waiting for answers.
			Encore: bytes.Repeat([]byte("HEAD "+rest+" HTTP/1.1\r\nHost: "+hostField(host)+"\r\n\r\n"), 24),
		}, nil
	case "https":
		hello, err := clientHello(host)
		// An alert that ends the session, before there is one (RFC 5246 section 7.2.2).
		return Service{Name: name, Request: hello, Goodbye: []byte{21, 3, 1, 0, 2, 2, 40}}, err
	case "ssh":
		return Service{Name: name, Greets: true, Request: []byte("SSH-2.0-rawtcp_probe\r\n"), Goodbye: []byte("goodbye\r\n")}, nil
	case "smtp":
		return Service{Name: name, Greets: true, Request: []byte("EHLO probe.invalid\r\n"), Goodbye: []byte("QUIT\r\n")}, nil
	case "echo":
		request := []byte("echo echo echo\r\n")
		return Service{Name: name, Echoes: true, Request: request, Encore: bytes.Repeat(request, 300)}, nil
	case "raw":
		if rest == "" {
			return Service{}, errors.New("raw: wants the text of a request behind it")
		}
		return Service{Name: name, Request: []byte(rest)}, nil
	case "none":
		return Service{Name: name}, nil
	}
	return Service{}, fmt.Errorf("want http, https, ssh, smtp, echo, none or raw:TEXT, not %s", strconv.Quote(text))
}

func httpRequest(method, path, host string) []byte {
	return []byte(method + " " + path + " HTTP/1.0\r\nHost: " + hostField(host) + "\r\nUser-Agent: rawtcp-probe\r\nAccept: */*\r\n\r\n")
}

// hostField is a name or an address as the Host field has it.
func hostField(host string) string {
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		return "[" + host + "]"
	}
	return host
}

// clientHello returns the first flight of a TLS client, to which a server
// answers with its certificate.
func clientHello(host string) ([]byte, error) {
	var sink helloSink
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12}
	_ = tls.Client(&sink, config).Handshake() // ends when nothing can be read
	if len(sink.sent) == 0 {
		return nil, errors.New("no TLS client hello could be made")
	}
	return sink.sent, nil
}

// A helloSink takes down what is written and has nothing to read.
type helloSink struct{ sent []byte }

func (h *helloSink) Read([]byte) (int, error) { return 0, io.EOF }

func (h *helloSink) Write(p []byte) (int, error) {
	h.sent = append(h.sent, p...)
	return len(p), nil
}

func (h *helloSink) Close() error                     { return nil }
func (h *helloSink) LocalAddr() net.Addr              { return nil }
func (h *helloSink) RemoteAddr() net.Addr             { return nil }
func (h *helloSink) SetDeadline(time.Time) error      { return nil }
func (h *helloSink) SetReadDeadline(time.Time) error  { return nil }
func (h *helloSink) SetWriteDeadline(time.Time) error { return nil }
