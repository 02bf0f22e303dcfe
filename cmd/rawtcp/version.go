package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the linker where a release is built without the history.
var version string

// versionText is what this build calls itself: the release, else the commit.
func versionText() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, modified := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+changes"
		}
	}
	if revision != "" {
		return "commit " + revision + modified
	}
	return info.Main.Version
}

func (p *program) printVersion() error {
	return p.print(fmt.Sprintf("rawtcp %s %s %s/%s\n", versionText(), runtime.Version(), runtime.GOOS, runtime.GOARCH))
}
