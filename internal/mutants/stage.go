package mutants

// A stage is one look at a mutant: some tests of one package.
type stage struct {
	dir  string // of the package whose tests run
	run  string // -test.run; empty: all
	skip string // -test.skip
}

// slowEngine are the tests of engine that take longer than all others together.
const slowEngine = "^(TestNetConn|TestMachines|TestTransferUnderFaults|TestPairsDeliverEverythingOverABadWire|" +
	"TestReceiveBufferAgainstAModel|TestRoundedWindowsDoNotGrowTheBuffer|TestIdleConnectionOf.*|" +
	"TestHalfOpenConnectionsAreSmall|TestSYNFloodLeavesRoomForAClient)$"

// stages returns who could notice a bug in the package at dir, cheapest first.
func stages(dir string) []stage {
	switch dir {
	case "segment":
		return []stage{{dir: "segment"}, {dir: "engine", skip: slowEngine}, {dir: "internal/sim"}}
	case "engine":
		return []stage{{dir: "engine", skip: slowEngine}, {dir: "internal/sim"}, {dir: "engine", run: slowEngine},
			{dir: "internal/trace", run: "^TestGolden$"}, {dir: "internal/model"}}
	case "rawsock": // what needs no namespace comes first
		return []stage{{dir: dir, run: "Filter|PortSet|Capabilities"}, {dir: dir}}
	case "internal/flow":
		return []stage{{dir: dir}, {dir: "internal/explain"}, {dir: "internal/trace", run: "^TestTrackerStatesAreTheEngines$"}, {dir: "internal/explain/kernel"}}
	case "internal/capture":
		return []stage{{dir: dir}, {dir: "internal/explain"}}
	}
	return []stage{{dir: dir}}
}
