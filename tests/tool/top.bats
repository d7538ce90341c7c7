#!/usr/bin/env bats
# payloadctl top on live mounts: blocks with the mount's operations, a terminal that is left as it was, and a clear end
# when the mount goes away underneath.
# shellcheck disable=SC2030,SC2031,SC2154 # bats runs each test in its own shell, and sets variables of its own
load ../mount/lib

ctl() { timeout 60 payloadctl "$@"; }

@test "top -b: a block for each reading, with each operation that stats.json counts, and no escape" {
	local name target
	echo '{"a":1}' >"$M/1"
	cat "$M/1" >/dev/null
	for target in "$M" "$S"; do
		ctl top -b -n 2 -d 0.1 "$target" >"$T/out"
		[[ $(grep -c "^$M: 1 document, process " "$T/out") == 2 ]] || fail "$(cat "$T/out")"
		[[ $(grep -c '^operation .*per second' "$T/out") == 2 ]]
		! grep -q $'\e' "$T/out"
	done
	for name in $(jq -r '.operations | to_entries[] | select(.value.count > 0).key' "$M/.payloadfs/stats.json"); do
		grep -q "^$name " "$T/out" || [[ $name == forget ]] || fail "no $name: $(cat "$T/out")"
	done
	grep -q '^write ' "$T/out"
	grep -q '^cache .*; no dictionary$' "$T/out"
	[[ $(ctl top --batch --count=1 --delay=9 "$M" | grep -c '^journal ') == 1 ]]
	ctl top -n 1 "$M" | grep -q '^dead '
}

# Writes $1 to the terminal when the first block is there; prints what was on it, then how it ended.
keys() {
	mkfifo "$T/keys"
	TERM=xterm script -qefc "stty cols 60 rows 9; payloadctl top -d 30 '$M'; echo ended:\$?; stty -a" /dev/null \
		<"$T/keys" >"$T/screen" 2>&1 3>&- &
	local pid=$!
	exec 6>"$T/keys"
	wait_for 30 grep -q '^store/s' "$T/screen"
	printf '%b' "$1" >&6
	wait "$pid" || true
	exec 6>&-
	rm "$T/keys"
}

@test "on a terminal: q and Ctrl-C end it at once, and leave the terminal as it was" {
	local key
	for key in q '\003'; do
		keys "$key"
		grep -q $'\e\[?1049h' "$T/screen"
		grep -q $'\e\[?25h\e\[?1049l.*ended:0' "$T/screen" || fail "$(cat -v "$T/screen")"
		grep -q '[^-]icanon' "$T/screen"
		grep -q '[^-]echo ' "$T/screen"
		# Nine lines of sixty columns.
		[[ -z $(sed $'s/\e[[?0-9]*[A-Za-z]//g; s/\r//g' "$T/screen" | sed -n '/^store/q; /^\//,$p' | grep -E '.{61}') ]]
	done
}

ends_with_8() {
	local code=0
	wait "$1" || code=$?
	((code == 8)) || fail "ended with $code"
}

@test "an unmount or the end of the daemon underneath is said, with code 8" {
	local pid
	ctl top -b -d 0.1 "$M" >"$T/out" 2>"$T/err" 3>&- &
	pid=$!
	wait_for 30 grep -q operation "$T/out"
	wait_for 30 ctl umount "$M"
	ends_with_8 "$pid"
	[[ $(cat "$T/err") == "payloadctl: $M: it is not mounted any more" ]] || fail "$(cat "$T/err")"
	run -8 ctl top -b "$S"
	[[ $output == *"not mounted"* ]]
	mount_fs
	: >"$T/out"
	ctl top -b -d 0.1 "$M" >"$T/out" 2>"$T/err" 3>&- &
	pid=$!
	wait_for 30 grep -q operation "$T/out"
	kill -9 "$(ctl stat --json "$M" | jq .pid)"
	ends_with_8 "$pid"
	[[ $(cat "$T/err") == "payloadctl: $M: its daemon has ended"* ]] || fail "$(cat "$T/err")"
	fusermount3 -u "$M"
	mount_fs
}

@test "top: what is wrong on the command line" {
	fails 2 "--delay=0" ctl top -d 0 "$M"
	fails 2 "--count=x" ctl top -n x "$M"
	fails 2 "--count=0" ctl top -n 0 "$M"
	fails 2 "one TARGET" ctl top
}
