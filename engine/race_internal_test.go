//go:build race

package engine

const underRaceDetector = true
