package arrows

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// A rule says what one room may have behind it.
type rule struct {
	room  string   // import path within the module
	std   []string // the standard packages it may import; nil: any
	rooms []string // the rooms it may reach, also through others
	mods  []string // the foreign import paths, and all below them, it may reach
	why   string
}

// The arrows of docs/ARCHITECTURE.md.
var rules = []rule{
	{
		room: "segment",
		std:  []string{"bytes", "cmp", "encoding/binary", "encoding/hex", "errors", "fmt", "iter", "math/bits", "net/netip", "slices", "strconv", "strings"},
		why:  "segment knows no socket, no clock and no state",
	},
	{
		room:  "engine",
		rooms: []string{"segment"},
		why:   "engine declares Link and cmd wires a socket in, so that the same core runs on a simulated network",
	},
	{
		room: "rawsock",
		mods: append(netlinkMods, "github.com/google/nftables", "github.com/mdlayher/netlink", "github.com/mdlayher/socket", "golang.org/x/sync"),
		why:  "rawsock moves bytes and reads no segment; a program that imports it inherits sockets and netlink only",
	},
	{
		room:  "internal/trace",
		rooms: []string{"segment", "engine"},
		mods:  []string{"github.com/gopacket/gopacket", "golang.org/x/net/bpf", "golang.org/x/sys"}, // the latter two behind pcapgo
		why:   "a sink reads the event stream and touches no socket",
	},
	{
		room:  "internal/capture",
		rooms: []string{"segment"},
		why:   "a file is octets: what they mean for a connection is flow's",
	},
	{
		room:  "internal/flow",
		rooms: []string{"segment", "engine", "internal/capture"},
		why:   "an observer runs no TCP and has no words: of engine it has the names of states and timers",
	},
	{
		room:  "internal/explain",
		rooms: []string{"segment", "engine", "internal/capture", "internal/flow", "internal/trace"},
		mods:  []string{"github.com/gopacket/gopacket", "golang.org/x/net/bpf", "golang.org/x/sys"}, // behind trace
		why:   "explaining a file needs no socket",
	},
	{
		room:  "internal/report",
		rooms: []string{"segment", "engine", "internal/trace"},
		mods:  []string{"github.com/gopacket/gopacket", "golang.org/x/net/bpf", "golang.org/x/sys"}, // behind trace
		why:   "a report is made of lines, and asks nothing of a socket or the network",
	},
	{
		room:  "internal/handshakes",
		rooms: []string{"segment", "engine"},
		why:   "a driver runs on any link, and on the simulated network above all",
	},
	{
		room:  "internal/ping",
		rooms: []string{"segment", "engine", "rawsock", "internal/handshakes"},
		mods:  append(netlinkMods, "github.com/google/nftables", "github.com/mdlayher/netlink", "github.com/mdlayher/socket", "golang.org/x/sync"), // behind rawsock
		why:   "ping measures and has no words: cmd tells what it found",
	},
	{
		room:  "internal/puppet",
		rooms: []string{"segment", "engine"},
		why:   "a puppet speaks over engine's Link, so that it stands on a simulated network too; cmd wires the socket in",
	},
	{
		room:  "internal/probe",
		rooms: []string{"segment", "engine", "internal/puppet"},
		why:   "a row is a conversation and a verdict; sockets, sinks and terminals are cmd's",
	},
	{
		room:  "internal/dossier",
		rooms: []string{"segment", "engine", "internal/puppet", "internal/probe", "internal/trace"},
		mods:  []string{"github.com/gopacket/gopacket", "golang.org/x/net/bpf", "golang.org/x/sys"}, // behind trace
		why:   "a dossier is made of a run that is over, and touches no network",
	},
	{
		room:  "internal/simnet",
		rooms: []string{"segment", "engine"},
		why:   "the simulated network opens no socket",
	},
	{
		room:  "internal/differ",
		rooms: []string{"segment", "engine"},
		why:   "the conversations are the same for every subject; what is real about one stays in a room of its own",
	},
	{
		room: "internal/netlab",
		mods: netlinkMods,
		why:  "the lab is real hosts and a road; it judges our TCP and must not be made of it",
	},
}

// What github.com/vishvananda/netlink stands on.
var netlinkMods = []string{"golang.org/x/net", "golang.org/x/sys", "github.com/vishvananda/netlink", "github.com/vishvananda/netns"}

// TestArrows holds the tree to the rules.
func TestArrows(t *testing.T) {
	packages := list(t, "-deps", "./...")
	for _, r := range rules {
		if _, there := packages[module+r.room]; !there {
			t.Errorf("the rule for %s speaks of no package", r.room)
		}
		for _, sin := range r.sins(packages) {
			t.Error(sin)
		}
	}
	for _, sin := range commandImports(packages) {
		t.Error(sin)
	}
}

// sins returns what the room of r imports against r.
func (r rule) sins(packages map[string]listed) []string {
	room := packages[module+r.room]
	var sins []string
	sin := func(path string) {
		sins = append(sins, fmt.Sprintf("%s must not import %s: %s", r.room, path, r.why))
	}
	for _, path := range room.Imports {
		if packages[path].Standard && r.std != nil && !slices.Contains(r.std, path) {
			sin(path)
		}
	}
	for _, path := range room.Deps {
		if name, ours := strings.CutPrefix(path, module); ours {
			if !slices.Contains(r.rooms, name) {
				sin(path)
			}
		} else if !packages[path].Standard && !slices.ContainsFunc(r.mods, func(mod string) bool { return below(mod, path) }) {
			sin(path)
		}
	}
	return sins
}

// below reports whether path is mod or a package under it.
func below(mod, path string) bool {
	return path == mod || strings.HasPrefix(path, mod+"/")
}

// commandImports returns who imports a package of cmd from outside of cmd.
func commandImports(packages map[string]listed) []string {
	var sins []string
	for _, path := range slices.Sorted(maps.Keys(packages)) {
		if below(module+"cmd", path) {
			continue
		}
		for _, imported := range packages[path].Imports {
			if below(module+"cmd", imported) {
				sins = append(sins, fmt.Sprintf("%s must not import %s: cmd is the wiring and nobody's library", path, imported))
			}
		}
	}
	return sins
}

// TestArrowsBite plants one import that is against each rule.
func TestArrowsBite(t *testing.T) {
	for _, sin := range []struct{ room, path string }{
		{"segment", "net"},
		{"segment", "time"},
		{"segment", "golang.org/x/sys/unix"},
		{"engine", "rawtcp/rawsock"},
		{"engine", "rawtcp/internal/simnet"},
		{"engine", "golang.org/x/sys/unix"},
		{"rawsock", "rawtcp/engine"},
		{"rawsock", "rawtcp/segment"},
		{"rawsock", "github.com/urfave/cli/v2"},
		{"rawsock", "github.com/vishvananda/netlinked"},
		{"internal/trace", "rawtcp/rawsock"},
		{"internal/ping", "rawtcp/internal/trace"},
		{"internal/ping", "golang.org/x/term"},
		{"internal/puppet", "rawtcp/rawsock"},
		{"internal/probe", "rawtcp/internal/trace"},
		{"internal/simnet", "rawtcp/rawsock"},
		{"internal/netlab", "rawtcp/engine"},
		{"internal/capture", "rawtcp/engine"},
		{"internal/flow", "rawtcp/internal/trace"},
		{"internal/explain", "rawtcp/rawsock"},
		{"internal/report", "golang.org/x/net/html"},
	} {
		t.Run(sin.room+" imports "+sin.path, func(t *testing.T) {
			imports := []string{"errors", sin.path}
			packages := map[string]listed{
				"errors":          {Standard: true},
				"net":             {Standard: true},
				"time":            {Standard: true},
				module + sin.room: {Imports: imports, Deps: imports},
			}
			i := slices.IndexFunc(rules, func(r rule) bool { return r.room == sin.room })
			if got := rules[i].sins(packages); len(got) != 1 {
				t.Errorf("got %q, want one complaint", got)
			}
		})
	}
	t.Run("engine imports cmd", func(t *testing.T) {
		packages := map[string]listed{
			"rawtcp/engine":         {Imports: []string{"rawtcp/cmd/rawtcp/ui"}},
			"rawtcp/cmd/rawtcp":     {Imports: []string{"rawtcp/cmd/rawtcp/ui"}},
			"rawtcp/cmd/rawtcp/ui2": {},
		}
		if got := commandImports(packages); len(got) != 1 {
			t.Errorf("got %q, want one complaint", got)
		}
	})
}
