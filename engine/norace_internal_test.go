//go:build !race

package engine

const underRaceDetector = false
