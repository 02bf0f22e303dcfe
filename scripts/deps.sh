#!/usr/bin/env bash
# deps.sh test|check|bench|list: the programs that the tests, make check, or
# make bench and make bench-ping call.
#
# Whatever is missing is installed with apt-get when we are root or may use
# sudo without a password. Otherwise the script refuses with one line that says
# what to type. Nothing is started: a developer's machine must not gain a
# running sshd because somebody ran a test.
set -euo pipefail

# Where each program comes from: command:package. gcc is for the race detector.
check_needs=(shellcheck:shellcheck)
bench_needs=(
	dumpcap:wireshark-common
	hping3:hping3
	iperf3:iperf3
	nping:nmap
	scapy:python3-scapy
)
test_needs=(
	"${check_needs[@]}"
	"${bench_needs[@]}" # make test has a quick run of make bench
	gcc:gcc
	ip:iproute2
	nft:nftables
	iptables:iptables
	tcpdump:tcpdump
	tshark:tshark
	nginx:nginx
	curl:curl
	socat:socat
	nc:netcat-openbsd
	sshd:openssh-server
	ssh-keygen:openssh-client
	python3:python3
	ethtool:ethtool
	openssl:openssl
	git:git
	wget:wget
	wrk:wrk
	redis-server:redis-server
	redis-benchmark:redis-tools
	chromium-headless-shell:chromium-headless-shell
)

# An ordinary user's PATH often lacks the directories where nft and sshd live.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

die() {
	printf 'deps: %s\n' "$*" >&2
	exit 1
}

# browsers are the names that a Chromium goes by; any of them will do.
browsers=(chromium chromium-headless-shell chromium-browser google-chrome google-chrome-stable)

has_browser() {
	local name
	for name in "${browsers[@]}"; do
		command -v "$name" >/dev/null && return
	done
	return 1
}

# missing prints the packages of those needs whose command is not there.
missing() {
	local need
	for need in "$@"; do
		[[ $need == chromium-headless-shell:* ]] && has_browser && continue
		command -v "${need%%:*}" >/dev/null || printf '%s\n' "${need##*:}"
	done
	# Of the three programs called nc, the tests speak to OpenBSD's.
	if [[ " $* " == *" nc:netcat-openbsd "* && -n $(command -v nc) && $(nc -h 2>&1) != *OpenBSD* ]]; then
		printf 'netcat-openbsd\n'
	fi
	# A browser without a font shows no text.
	if [[ " $* " == *" chromium-headless-shell:"* && -z $(find /usr/share/fonts -name '*.ttf' -print -quit 2>/dev/null) ]]; then
		printf 'fonts-dejavu-core\n'
	fi
	# A compiler without the C library's headers cannot link the race detector.
	if [[ " $* " == *" gcc:gcc "* && ! -e /usr/include/stdlib.h ]]; then
		printf 'libc6-dev\n'
	fi
}

# quiet runs a command and shows its output only if it fails.
quiet() {
	local log
	log=$(mktemp)
	if ! "$@" >"$log" 2>&1; then
		cat "$log" >&2
		rm -f "$log"
		return 1
	fi
	rm -f "$log"
}

# forbid_starts makes the package scripts start no daemon while we install:
# invoke-rc.d and deb-systemd-invoke ask policy-rc.d, and 101 says no. A policy
# that is already there is somebody's decision and stays as it is.
policy=/usr/sbin/policy-rc.d
forbid_starts() {
	[[ -e $policy ]] && return
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
}

# disable_new keeps the daemons we just brought from starting at the next boot.
disable_new() {
	command -v systemctl >/dev/null || return 0
	local package
	for package in "$@"; do
		case $package in
		nginx) systemctl --quiet disable nginx.service || true ;;
		openssh-server) systemctl --quiet disable ssh.service ssh.socket || true ;;
		redis-server) systemctl --quiet disable redis-server.service || true ;;
		iperf3) systemctl --quiet disable iperf3.service || true ;;
		esac
	done >/dev/null 2>&1
}

install() {
	export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
	local apt=(apt-get -q -y -o DPkg::Lock::Timeout=120)
	printf 'deps: installing %s\n' "$*" >&2
	forbid_starts
	quiet "${apt[@]}" update || die "apt-get update failed; look at /etc/apt/sources.list"
	quiet "${apt[@]}" install --no-install-recommends "$@" ||
		die "could not install; try by hand: apt-get install $*"
	disable_new "$@"
}

main() {
	local needs
	case ${1-} in
	test) needs=("${test_needs[@]}") ;;
	check) needs=("${check_needs[@]}") ;;
	bench) needs=("${bench_needs[@]}") ;;
	list)
		printf '%s\n' "${test_needs[@]}" | tr : '\t'
		exit 0
		;;
	*)
		printf 'usage: deps.sh test|check|bench|list\n' >&2
		exit 2
		;;
	esac

	local lack
	mapfile -t lack < <(missing "${needs[@]}")
	((${#lack[@]})) || exit 0

	command -v apt-get >/dev/null ||
		die "missing ${lack[*]} (Debian's package names); install them with this machine's package manager"
	if ((EUID != 0)); then
		if sudo -n true 2>/dev/null; then
			exec sudo -n "${BASH_SOURCE[0]}" "$1"
		fi
		die "missing ${lack[*]}; run: sudo apt-get install ${lack[*]}"
	fi
	install "${lack[@]}"

	mapfile -t lack < <(missing "${needs[@]}")
	((${#lack[@]} == 0)) || die "installed, and yet missing: ${lack[*]}"
}

main "$@"
