// Package kernel holds the explaining of captures to a second opinion: captures
// of the kernel's own TCP, made in namespaces, against tshark's analysis of the
// same files and against what ss says of the sockets. It has tests alone.
package kernel
