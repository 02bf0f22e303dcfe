#!/usr/bin/env bash
# fuzz.sh [BUDGET [PATTERN]]: every fuzz target of the module, one after the other.
#
# BUDGET is for each target: a time (30s, the default) or a count of inputs
# (500x: the same work on every machine, and no deadline to miss on a slow one).
# PATTERN is a regular expression that picks targets. What a target finds is
# left as a file under testdata/fuzz/ of its package: keep it with the mend.
set -euo pipefail
cd "$(dirname "$0")/.."
budget=${1:-30s}
pattern=${2:-Fuzz}

# targets prints "package target" for each.
targets() {
	go test -list '^Fuzz' ./... | awk '
		/^Fuzz/ { name[n++] = $1 }
		$1 == "ok" { for (i = 0; i < n; i++) print $2, name[i]; n = 0 }'
}

list=$(targets | awk -v pattern="$pattern" '$2 ~ pattern')
if [[ -z $list ]]; then
	printf 'fuzz: no target matches %s; there are:\n' "$pattern" >&2
	targets >&2
	exit 2
fi
while read -r package target; do
	printf -- '--- %s %s\n' "$package" "$target"
	go test -run='^$' -fuzz="^$target\$" -fuzztime="$budget" -fuzzminimizetime=10x "$package" </dev/null
done <<<"$list"
