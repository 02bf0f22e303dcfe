//go:build race

package engine

// raced says that the race detector is at work, ten times as slow.
const raced = true
