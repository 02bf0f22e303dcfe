#!/bin/sh
# Builds two hosts joined by a cable, runs a command on one of them, and leaves
# nothing behind: the hosts are network namespaces without names, which end with
# the command, whatever ends it.
set -eu

near4=198.18.0.1 far4=198.18.0.2
near6=2001:db8::1 far6=2001:db8::2

usage() {
	cat <<'END'
usage: netns-lab.sh [options] [--] COMMAND [ARG ...]

Runs COMMAND on the host "near" of a lab of two, joined by a veth pair. As an
ordinary user COMMAND is root of the lab alone. Its exit code is the exit code.

  --mtu N        largest IP packet on the cable, 68 to 65535; 1500 by default
                 (below 1280 there is no IPv6)
  --wire         switch checksum and segmentation offloads off, as if the cable
                 were a real one; needs ethtool
  --far COMMAND  run this shell command on the host "far" meanwhile
  -q, --quiet    do not draw the lab

What COMMAND leaves running in the background keeps the lab alive.
COMMAND finds in its environment: LAB_NEAR4 LAB_NEAR6 LAB_FAR4 LAB_FAR6, and in
LAB_FAR a process of the other host: nsenter -n -t "$LAB_FAR" ss -tn

examples:
  netns-lab.sh --far 'python3 -m http.server 80' -- rawtcp connect 198.18.0.2:80
  netns-lab.sh --mtu 1400 -- bash
END
}

die() {
	printf 'netns-lab: %s\n' "$1" >&2
	exit "${2:-1}"
}

wrong() { die "$1; see netns-lab.sh --help" 2; }

need() {
	command -v "$1" >/dev/null 2>&1 || die "$1 is not installed; install the package $2"
}

draw() {
	printf '%s\n' \
		'+---------------------+                      +---------------------+' \
		'|        near         |                      |         far         |' \
		'|                eth0 +----------------------+ eth0                |'
	printf '|  %-18s | %20s |  %-18s |\n' \
		"$near4/24" "MTU $mtu" "$far4/24" \
		"${near6:+$near6/64}" "" "${far6:+$far6/64}"
	printf '%s\n' '+---------------------+                      +---------------------+'
}

parse() {
	mtu=1500 wire='' far_command='' quiet=''
	while [ $# -gt 0 ]; do
		case $1 in
		--mtu | --far)
			[ $# -gt 1 ] || wrong "$1 wants a value"
			if [ "$1" = --mtu ]; then mtu=$2; else far_command=$2; fi
			shift
			;;
		--mtu=*) mtu=${1#*=} ;;
		--far=*) far_command=${1#*=} ;;
		--wire) wire=1 ;;
		-q | --quiet) quiet=1 ;;
		-h | --help)
			usage
			exit 0
			;;
		--)
			shift
			break
			;;
		-*) wrong "unknown option '$1'" ;;
		*) break ;;
		esac
		shift
	done
	case $mtu in
	'' | 0* | *[!0-9]* | ??????*) wrong "'$mtu' is not an MTU: want 68 to 65535" ;;
	esac
	{ [ "$mtu" -ge 68 ] && [ "$mtu" -le 65535 ]; } || wrong "'$mtu' is not an MTU: want 68 to 65535"
	[ $# -gt 0 ] || wrong "which command shall run in the lab?"
	words=$#
}

namespace() { readlink /proc/self/ns/net; }

# enter runs this script again inside the namespace of near. exec and not fork:
# who kills this process kills what runs in the lab.
enter() {
	need unshare util-linux
	need nsenter util-linux
	need setpriv util-linux
	need ip iproute2
	[ -z "$wire" ] || need ethtool ethtool
	if [ "$(id -u)" != 0 ]; then
		unshare --user --map-root-user --net true ||
			die "this host forbids user namespaces; run as root, or try: sudo sysctl kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0 user.max_user_namespaces=15000"
		exec unshare --user --map-root-user --net -- "$0" --inside "$(namespace)" "$@"
	fi
	exec unshare --net -- "$0" --inside "$(namespace)" "$@"
}

# on_far runs a command on the other host.
on_far() { nsenter --net --target "$LAB_FAR" -- "$@"; }

# hold_far starts the process that is the other host; it dies with this one.
hold_far() {
	setpriv --pdeathsig KILL unshare --net -- sleep infinity &
	LAB_FAR=$!
	# It is a host of its own once it sleeps.
	while [ "$(cat "/proc/$LAB_FAR/comm" 2>/dev/null)" != sleep ]; do
		kill -0 "$LAB_FAR" 2>/dev/null || die "cannot make a network namespace for far"
	done
}

build() {
	hold_far
	ip link set lo up
	on_far ip link set lo up
	ip link add eth0 mtu "$mtu" type veth peer name eth0 mtu "$mtu" netns "$LAB_FAR"
	if [ -n "$wire" ]; then
		ethtool -K eth0 tx off rx off tso off gso off gro off >/dev/null
		on_far ethtool -K eth0 tx off rx off tso off gso off gro off >/dev/null
	fi
	ip address add "$near4/24" dev eth0
	on_far ip address add "$far4/24" dev eth0
	if [ "$mtu" -lt 1280 ] || [ ! -e /proc/sys/net/ipv6 ]; then
		near6='' far6=''
	else
		ip address add "$near6/64" dev eth0 nodad
		on_far ip address add "$far6/64" dev eth0 nodad
	fi
	ip link set eth0 up
	on_far ip link set eth0 up
	# The kernel drops what near sends until it has taken note of far.
	until ip link show dev eth0 | grep -q 'state UP'; do :; done
}

inside=''
if [ "${1:-}" = --inside ]; then
	inside=1
	# Nothing may be built in the namespace of the caller, whoever says --inside.
	case ${2:-} in
	"$(namespace)") die "could not enter a namespace of its own" ;;
	'net:['*']') shift 2 ;;
	*) wrong "unknown option '--inside'" ;;
	esac
fi
parse "$@"
[ -n "$inside" ] || enter "$@"
build
[ -n "$quiet" ] || draw >&2
if [ -n "$far_command" ]; then
	# A process namespace, so that what the command starts ends with it.
	setpriv --pdeathsig KILL unshare --pid --fork --kill-child -- \
		nsenter --net --target "$LAB_FAR" -- sh -c "$far_command" &
fi
export LAB_NEAR4="$near4" LAB_NEAR6="$near6" LAB_FAR4="$far4" LAB_FAR6="$far6" LAB_FAR
shift $(($# - words))
exec "$@"
