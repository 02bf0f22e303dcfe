//go:build !amd64

package segment

func vectorSums() []vectorCode { return nil }
