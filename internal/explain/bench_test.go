package explain

import (
	"bytes"
	"flag"
	"io"
	"testing"

	"rawtcp/internal/explain/traffic"
)

var benchOctets = flag.Int64("explainoctets", 16<<20, "size of the generated capture of BenchmarkExplain")

// BenchmarkExplain reads a generated capture of many connections, as the table
// of rawtcp explain --ladder none does. -explainoctets is its size.
func BenchmarkExplain(b *testing.B) {
	var file bytes.Buffer
	if err := traffic.Write(&file, *benchOctets, 1); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(file.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if err := Text(bytes.NewReader(file.Bytes()), Options{}, TextConfig{Out: io.Discard, Ladder: LadderNone}); err != nil {
			b.Fatal(err)
		}
	}
}
