//go:build !amd64

package segment

// haveVector says that wordSum is all there is here.
const haveVector = false

func vectorSum([]byte) uint64              { panic("segment: no vector code") }
func vectorCopySum(dst, src []byte) uint64 { panic("segment: no vector code") }
