#!/usr/bin/env bash
# having.sh PREFIX: the packages whose tests hold a function PREFIX…, one a line.
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=${1:?usage: having.sh Fuzz|Benchmark}
go test -list "^$prefix" ./... | awk -v prefix="$prefix" '
	index($1, prefix) == 1 { found = 1 }
	$1 == "ok" { if (found) print $2; found = 0 }'
