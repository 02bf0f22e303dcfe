// Package probe holds the battery of rawtcp/internal/probe against gVisor's
// netstack: another stack than Linux, so that a battery that follows a template
// is found out.
package probe
