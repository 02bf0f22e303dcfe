// Package e2e holds tests of the shipped binary against real programs: the
// kernel's TCP, nginx, curl, sshd and others, in namespaces that the tests make
// themselves. What the tests need besides Go is listed in scripts/deps.sh.
package e2e
