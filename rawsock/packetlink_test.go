package rawsock

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// linkIO is of every Conn that a test opens. TestPacketLink changes it.
var linkIO IOMode

func openLink(cfg Config) (*Conn, error) {
	cfg.IO = linkIO
	return Open(cfg)
}

// linkTests are what holds of a Conn whatever sockets carry its packets.
var linkTests = []struct {
	name string
	test func(*testing.T)
}{
	{"CloseUnblocksReadBatch", TestCloseUnblocksReadBatch},
	{"ReadBatchRefusesBadBuffers", TestReadBatchRefusesBadBuffers},
	{"WriteBatchRoutesMixedFamilies", TestWriteBatchRoutesMixedFamilies},
	{"WriteBatchStopsAtTheFirstError", TestWriteBatchStopsAtTheFirstError},
	{"TooBigWhateverDFSays", TestTooBigWhateverDFSays},
	{"KernelFillsIPv4Header", TestKernelFillsIPv4Header},
	{"IPv6HeaderIsRestored", TestIPv6HeaderIsRestored},
	{"ExtensionHeadersAreGone", TestExtensionHeadersAreGone},
	{"WrongChecksumArrives", TestWrongChecksumArrives},
	{"SuperSegmentsArriveWhole", TestSuperSegmentsArriveWhole},
	{"LoopbackCarriesTheLargestPackets", TestLoopbackCarriesTheLargestPackets},
	{"DropsAreCounted", TestDropsAreCounted},
	{"OnlyClaimedPortsComeThrough", TestOnlyClaimedPortsComeThrough},
	{"ManyClaims", TestManyClaims},
	{"FullQueueIsNoBuffers", TestFullQueueIsNoBuffers},
	{"LinkDownAndRouteGone", TestLinkDownAndRouteGone},
	{"OpenInAnotherNamespace", TestOpenInAnotherNamespace},
	{"InterfaceIsObeyed", TestInterfaceIsObeyed},
	{"LinkLocal", TestLinkLocal},
	{"BusyFamilyStarvesNoOther", TestBusyFamilyStarvesNoOther},
	{"NoAllocationPerPacket", TestNoAllocationPerPacket},
	{"FamilyIsObeyed", TestFamilyIsObeyed},
	{"HostWithoutIPv6Addresses", TestHostWithoutIPv6Addresses},
	{"HandshakeWithAKernel", TestHandshakeWithAKernel},
	{"GuardSilencesKernel", TestGuardSilencesKernel},
	{"WildcardGuardSilencesBothFamilies", TestWildcardGuardSilencesBothFamilies},
	{"TakenPortIsInUse", TestTakenPortIsInUse},
	{"ClaimRefusals", TestClaimRefusals},
	{"ClaimsShareOneGuard", TestClaimsShareOneGuard},
	{"CloseReleasesClaims", TestCloseReleasesClaims},
	{"ICMPErrorsComeOutOfReadBatch", TestICMPErrorsComeOutOfReadBatch},
	{"ReaderRestsAfterICMPErrors", TestReaderRestsAfterICMPErrors},
	{"ICMPErrorsOfStrangersStayOut", TestICMPErrorsOfStrangersStayOut},
	{"RoutersICMPErrors", TestRoutersICMPErrors},
	{"ICMPErrorFailsNoInnocentSend", TestICMPErrorFailsNoInnocentSend},
	{"ICMPErrorDuringReceive", TestICMPErrorDuringReceive},
	{"NFTTableSilencesKernel", TestNFTTableSilencesKernel},
	{"Route", TestRoute},
	{"RouteToOurselves", TestRouteToOurselves},
	{"RouteErrors", TestRouteErrors},
	{"NoRouteToBroadcast", TestNoRouteToBroadcast},
	{"BroadcastIsNotHeard", TestBroadcastIsNotHeard},
	{"RouteMTU", TestRouteMTU},
	{"RouteSourceFromConfig", TestRouteSourceFromConfig},
	{"RouteFollowsTheMark", TestRouteFollowsTheMark},
	{"TransmitStampsGiveRTT", TestTransmitStampsGiveRTT},
	{"StampsFollowENOBUFS", TestStampsFollowENOBUFS},
	{"NoStampsUnlessAskedFor", TestNoStampsUnlessAskedFor},
	{"TapSeesWhatLeaves", TestTapSeesWhatLeaves},
	{"OpenSocketOutlivesItsCapabilities", TestOpenSocketOutlivesItsCapabilities},
	{"DescriptorsAreCloseOnExec", TestDescriptorsAreCloseOnExec},
}

// TestPacketLink holds the packet link to what the raw link is held to.
func TestPacketLink(t *testing.T) {
	linkIO = PacketIO
	defer func() { linkIO = RawIO }()
	for _, tt := range linkTests {
		t.Run(tt.name, tt.test)
	}
}

// settle waits until a packet link knows the way of a packet, so that it and not
// the raw socket is what a test sees.
func settle(t *testing.T, c *Conn, pkts ...[]byte) {
	t.Helper()
	for _, pkt := range pkts {
		if c.packet == nil || ipVersion(pkt) == 0 {
			continue
		}
		poll(t, "the next hop", func() bool {
			hops := &c.packet.hops
			hops.mu.Lock()
			defer hops.mu.Unlock()
			h := hops.find(keyOf(c, pkt))
			h.nudged = time.Now()
			if h.until.IsZero() && !h.asked {
				hops.ask(h)
			}
			return !h.until.IsZero() && !h.asked && (h.state&nudUsable != 0 || h.why != "" || h.state&unix.NUD_INCOMPLETE == 0)
		})
	}
}

// WriteBatch is that of the Conn, of whose link the test shall see the packets.
func (s *station) WriteBatch(pkts [][]byte) (int, error) {
	s.t.Helper()
	settle(s.t, s.Conn, pkts...)
	return s.Conn.WriteBatch(pkts)
}

// whyLocal is Route.Raw of a destination on this host.
func whyLocal() string {
	if linkIO == PacketIO {
		return "it is an address of this host"
	}
	return ""
}
