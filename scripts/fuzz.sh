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

# fuzz PACKAGE TARGET: one target. When a budget of time is used up, Go's
# coordinator now and then sees that before the context of its workers does, and
# calls "context deadline exceeded" a failure. Without an input it is none.
fuzz() {
	local status=0
	go test -run='^$' -fuzz="^$2\$" -fuzztime="$budget" -fuzzminimizetime=10x "$1" </dev/null 2>&1 | tee "$log" || status=$?
	if ((status)) && grep -q '^ *context deadline exceeded$' "$log" && ! grep -q 'Failing input written' "$log"; then
		printf 'fuzz: the time of %s is over; nothing was found\n' "$2"
		return 0
	fi
	# A worker that is stopped at the end of its budget in the middle of making an
	# input smaller is called one that died. Whether the input is at fault is told
	# by the input, which stays where it was written.
	if ((status)) && grep -q 'terminated unexpectedly while minimizing: EOF$' "$log" && go test -count=1 -run="^$2\$" "$1"; then
		printf 'fuzz: a worker of %s was stopped; what it had in hand is no fault\n' "$2"
		return 0
	fi
	return "$status"
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
while read -r package target; do
	printf -- '--- %s %s\n' "$package" "$target"
	fuzz "$package" "$target"
done <<<"$list"
