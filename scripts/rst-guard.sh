#!/bin/sh
# Keeps the kernel from resetting connections that it does not know, by hand.
#
#   kernel --RST--> OUTPUT, priority raw --- port is guarded, mark is not ours --> dropped
#   rawtcp --RST--> OUTPUT, priority raw --- mark 0x72610074 -------------------> sent
#
# Priority raw and not filter: conntrack comes right after it, and would forget
# the connection if it saw the RST. OUTPUT and not INPUT: what is dropped in
# INPUT never reaches a raw socket either.
set -eu

mark=0x72610074 # "ra", "t"; the mark of every socket of rawtcp
table=rawtcp_guard

usage() {
	cat <<'END'
usage: rst-guard.sh up     --port N | --range A-B [options]
       rst-guard.sh down   [--port N | --range A-B] [options]
       rst-guard.sh status [--port N | --range A-B] [options]

Drops the TCP resets that this host's kernel sends from the given port or
ports, over IPv4 and IPv6, unless they carry the mark of rawtcp (0x72610074).

  up      add the rule, unless it is there, and remove those of dead owners
  down    remove the rules that match the options; all of ours without options
  status  list the rules that match the options; exit code 1 if there is none

  --port N          the local port
  --range A-B       the local ports from A to B
  --source ADDR     only from this local address
  --pid PID         the rule belongs to process PID: once that is gone, the
                    next up removes the rule
  --backend NAME    nft or iptables; up takes nft where it is installed,
                    down and status look at both
  --dry-run         print the commands and change nothing

Rules are marked with a comment rawtcp:BOOT:PID:START:PORTS:SOURCE, and no
other rule is touched.

exit codes: 0 done, 1 failed, 2 usage, 77 not root

examples:
  sudo rst-guard.sh up --port 40000
  rawtcp connect --guard none --source-port 40000 198.18.0.2:80
  sudo rst-guard.sh down --port 40000
END
}

die() {
	printf 'rst-guard: %s\n' "$1" >&2
	exit "${2:-1}"
}

wrong() { die "$1; see rst-guard.sh --help" 2; }

have() { command -v "$1" >/dev/null 2>&1; }

# run executes a command, or prints it in a dry run.
run() {
	if [ -n "$dry" ]; then
		printf '%s\n' "$*"
	else
		"$@"
	fi
}

check_port() {
	case $1 in
	'' | 0* | *[!0-9]* | ??????*) wrong "'$1' is not a port: want a number from 1 to 65535" ;;
	esac
	[ "$1" -le 65535 ] || wrong "'$1' is not a port: want a number from 1 to 65535"
}

check_range() {
	case $1 in
	*-*) ;;
	*) wrong "'$1' is not a range of ports: want A-B" ;;
	esac
	check_port "${1%%-*}"
	check_port "${1#*-}"
	[ "${1%%-*}" -le "${1#*-}" ] || wrong "the range $1 is empty: want A-B with A not above B"
}

check_source() {
	case $1 in
	'' | *[!0-9a-f.:]*) wrong "'$1' is not an address: want one of this host, such as 198.18.0.1 or 2001:db8::1" ;;
	*.* | *:*) ;;
	*) wrong "'$1' is not an address: want one of this host, such as 198.18.0.1 or 2001:db8::1" ;;
	esac
}

# start_of prints when a process began, in ticks since boot; nothing if it is
# gone. With the boot this tells a process from a later one of the same number.
start_of() {
	# The name in field 2 may hold spaces and parentheses.
	sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20
}

check_pid() {
	case $1 in
	'' | 0* | *[!0-9]*) wrong "'$1' is not a process number" ;;
	esac
	[ -n "$(start_of "$1")" ] || die "there is no process $1"
}

# A tag is the comment of a rule and says all about it:
# rawtcp:BOOT:PID:START:PORTS:SOURCE, with PID and START 0 if made by hand.
# split_tag sets tag_boot to tag_source; the last may hold colons.
split_tag() {
	rest=${1#rawtcp:}
	tag_boot=${rest%%:*} rest=${rest#*:}
	tag_pid=${rest%%:*} rest=${rest#*:}
	tag_start=${rest%%:*} rest=${rest#*:}
	tag_ports=${rest%%:*} tag_source=${rest#*:}
}

# owner_is_gone reports whether nobody can still want the rule of a tag.
owner_is_gone() {
	split_tag "$1"
	[ "$tag_boot" = "$boot" ] || return 0
	[ "$tag_pid" != 0 ] && [ "$(start_of "$tag_pid")" != "$tag_start" ]
}

# wanted reports whether a tag is one that the options ask for.
wanted() {
	split_tag "$1"
	[ -z "$ports" ] || [ "$tag_ports" = "$ports" ] || return 1
	[ -z "$source" ] || [ "$tag_source" = "$source" ] || return 1
	[ -z "$pid" ] || [ "$tag_pid" = "$pid" ]
}

# list prints our rules as lines of: command tag handle. A backend that cannot
# be read has none of ours.
list() {
	form='rawtcp:[-0-9a-f]\{36\}:[0-9]\{1,\}:[0-9]\{1,\}:[-0-9]\{1,\}:[0-9a-f.:ny]\{1,\}'
	if [ "$backend" != nft ]; then
		for command in iptables ip6tables; do
			have "$command" || continue
			"$command" -w -t raw -S OUTPUT 2>/dev/null |
				sed -n "s/^-A OUTPUT .*--comment \"\{0,1\}\($form\)\"\{0,1\} .*/$command \1 -/p"
		done
	fi
	if [ "$backend" != iptables ] && have nft; then
		nft -a list chain inet "$table" output 2>/dev/null |
			sed -n "s/.* comment \"\($form\)\" # handle \([0-9]*\)\$/nft \1 \2/p"
	fi
}

# iptables_rule adds (-A) or deletes (-D) the rule of a tag in one family.
iptables_rule() {
	command=$1 operation=$2 tag=$3
	split_tag "$tag"
	set -- "$command" -w -t raw "$operation" OUTPUT -p tcp
	[ "$tag_source" = any ] || set -- "$@" -s "$tag_source"
	set -- "$@" --sport "$(printf '%s' "$tag_ports" | tr - :)" --tcp-flags RST RST
	run "$@" -m mark ! --mark "$mark" -m comment --comment "$tag" -j DROP
}

# nft_rule adds the rule of a tag, with the table and the chain if need be, in one transaction.
nft_rule() {
	split_tag "$1"
	case $tag_source in
	any) from= ;;
	*:*) from="ip6 saddr $tag_source " ;;
	*) from="ip saddr $tag_source " ;;
	esac
	script="add table inet $table
add chain inet $table output { type filter hook output priority -300; policy accept; }
add rule inet $table output ${from}tcp sport $tag_ports tcp flags & rst == rst meta mark != $mark counter drop comment \"$1\""
	if [ -n "$dry" ]; then
		printf "nft -f - <<'END'\n%s\nEND\n" "$script"
	else
		printf '%s\n' "$script" | nft -f -
	fi
}

# remove deletes the rules whose tag the given test holds for, and our nft table
# with them when there is nothing else in it.
remove() {
	doomed=$(list | while read -r command tag handle; do
		! "$1" "$tag" || printf '%s %s %s\n' "$command" "$tag" "$handle"
	done)
	in_table=$(nft -a list table inet "$table" 2>/dev/null | grep -c '# handle') || :
	in_doom=$(printf '%s' "$doomed" | grep -c '^nft ') || :
	# The table and our chain have a handle each.
	if have nft && [ "$backend" != iptables ] && [ "$in_table" -eq $((in_doom + 2)) ]; then
		run nft delete table inet "$table"
		doomed=$(printf '%s' "$doomed" | grep -v '^nft ') || :
	fi
	[ -n "$doomed" ] || return 0
	printf '%s\n' "$doomed" | while read -r command tag handle; do
		if [ "$command" = nft ]; then
			run nft delete rule inet "$table" output handle "$handle"
		else
			iptables_rule "$command" -D "$tag"
		fi
	done
}

# add puts up the rule of a tag unless the list has it.
add() {
	if list | grep -qF "$1 $2 "; then
		return
	fi
	if [ "$1" = nft ]; then
		nft_rule "$2"
	else
		iptables_rule "$1" -A "$2"
	fi
}

up() {
	[ -n "$ports" ] || wrong "up wants --port N or --range A-B"
	chosen=$backend backend=
	remove owner_is_gone
	backend=$chosen
	if [ -z "$backend" ]; then
		backend=iptables
		! have nft || backend=nft
	fi
	start=0
	[ -z "$pid" ] || start=$(start_of "$pid")
	tag=rawtcp:$boot:${pid:-0}:$start:$ports:${source:-any}
	case $backend:$source in
	nft:*) add nft "$tag" ;;
	iptables:*:*) add ip6tables "$tag" ;;
	iptables:*.*) add iptables "$tag" ;;
	*)
		add iptables "$tag"
		[ ! -e /proc/sys/net/ipv6 ] || add ip6tables "$tag"
		;;
	esac
}

down() { remove wanted; }

status() {
	list | {
		none=1
		while read -r command tag handle; do
			wanted "$tag" || continue
			none=0 owner="by hand"
			[ "$tag_pid" = 0 ] || owner="of process $tag_pid"
			! owner_is_gone "$tag" || owner="$owner, which is gone"
			printf '%s: no RST from port %s, source %s; %s\n' "$command" "$tag_ports" "$tag_source" "$owner"
		done
		return "$none"
	}
}

# check_tools ends with the reason if the backend, or any, is not installed.
check_tools() {
	case $backend in
	nft) have nft || die "nft is not installed; install the package nftables or use --backend iptables" ;;
	iptables)
		have iptables || die "iptables is not installed; install the package iptables or use --backend nft"
		have ip6tables || die "ip6tables is not installed; install the package iptables or use --backend nft"
		;;
	*) have nft || have iptables || die "neither nft nor iptables is installed; install the package nftables" ;;
	esac
}

parse() {
	[ $# -gt 0 ] || wrong "want up, down or status"
	while [ $# -gt 0 ]; do
		case $1 in
		--*=*)
			option=$1
			shift
			set -- "${option%%=*}" "${option#*=}" "$@"
			;;
		esac
		case $1 in
		up | down | status)
			[ -z "$action" ] || wrong "want one of up, down and status"
			action=$1
			;;
		--dry-run) dry=1 ;;
		-h | --help)
			usage
			exit 0
			;;
		--port | --range | --source | --pid | --backend)
			[ $# -gt 1 ] || wrong "$1 wants a value"
			set_option "$1" "$2"
			shift
			;;
		*) wrong "unknown argument '$1'" ;;
		esac
		shift
	done
	[ -n "$action" ] || wrong "want up, down or status"
}

set_option() {
	case $1 in
	--port | --range)
		[ -z "$ports" ] || wrong "want one of --port and --range"
		"check_${1#--}" "$2"
		ports=$2
		;;
	--source)
		source=$(printf '%s' "$2" | tr 'A-F' 'a-f')
		check_source "$source"
		;;
	--pid)
		check_pid "$2"
		pid=$2
		;;
	--backend)
		case $2 in
		nft | iptables) backend=$2 ;;
		*) wrong "unknown backend '$2': want nft or iptables" ;;
		esac
		;;
	esac
}

action='' dry='' ports='' source='' pid='' backend=''
parse "$@"
if [ "$(id -u)" != 0 ] && [ -z "$dry" ]; then
	die "only root may read and change firewall rules; try: sudo $0 $*" 77
fi
check_tools
boot=$(cat /proc/sys/kernel/random/boot_id)
"$action"
