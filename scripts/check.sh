#!/usr/bin/env bash
# check.sh GOLANGCI_LINT: all that can be said of the tree without running it.
# Every check runs, also after a failure; the exit code is 1 if one failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
lint=$PWD/${1:?usage: check.sh GOLANGCI_LINT}
failed=()

# check NAME COMMAND...: runs it, quiet if it is content.
check() {
	local name=$1 out
	shift
	if out=$("$@" 2>&1); then
		printf 'ok    %s\n' "$name"
		return
	fi
	printf 'FAIL  %s\n%s\n' "$name" "$out"
	failed+=("$name")
}

formatted() {
	local list
	list=$(git ls-files -co --exclude-standard '*.go' | xargs -r gofmt -l) || return
	[[ -z $list ]] || { printf 'gofmt -w %s\n' "$list" && return 1; }
}

shell_scripts() {
	git ls-files -co --exclude-standard | while read -r file; do
		if head -n 1 "$file" 2>/dev/null | grep -qaE '^#!.*\b(ba)?sh$'; then printf '%s\n' "$file"; fi
	done | xargs -r shellcheck
}

each_module() { # all but tools: its graph is golangci-lint's business
	local mod
	for mod in $(git ls-files -co --exclude-standard '*go.mod' | grep -v '^tools/'); do
		(cd "$(dirname "$mod")" && "$@") || return
	done
}

check 'gofmt' formatted
check 'go vet' each_module go vet ./...
check 'go mod tidy' each_module go mod tidy -diff
check 'go mod verify' go mod verify
check 'import arrows' go test -count=1 ./internal/arrows
check 'golangci-lint' "$lint" run ./...
check 'shellcheck' shell_scripts

((${#failed[@]} == 0)) || { printf 'failed: %s\n' "${failed[*]}" && exit 1; }
