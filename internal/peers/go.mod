module rawtcp/internal/peers

go 1.26.8

require (
	github.com/gopacket/gopacket v1.7.7
	gvisor.dev/gvisor v0.0.0-20260905035102-160fafc42237
	rawtcp v0.0.0
)

require (
	github.com/google/btree v1.1.2 // indirect
	golang.org/x/exp v0.0.0-20250711185948-6ae5c78190dc // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/time v0.15.0 // indirect
)

replace rawtcp => ../..
