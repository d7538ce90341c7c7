# -o low_latency: the processors are kept awake while requests come, where the machine has the device for it.
# shellcheck disable=SC2154 # set by lib and run

load lib

device=/dev/cpu_dma_latency

held() { [[ -n $(find "/proc/$pid/fd" -lname "$device" 2>/dev/null) ]]; }
let_go() { not held; }

# Requests without end, one after the other.
ask() {
	while : >"$M/.asked" && rm "$M/.asked"; do :; done
}

held_while_asked() {
	local status=0 asking
	ask 3>&- &
	asking=$!
	"$@" || status=1
	kill "$asking"
	wait "$asking" || true
	return "$status"
}

setup() {
	setup_dirs
}

@test "the device is held while requests come, and let go afterwards; where it can't be had the log says so" {
	payloadfs -f -o low_latency "$S" "$M" >>"$LOG" 2>&1 3>&- &
	pid=$!
	wait_for 60 answers
	echo '{"a":1}' >"$M/42"
	if [[ -w $device ]]; then
		held_while_asked wait_for 60 held
		wait_for 60 let_go
		held_while_asked wait_for 60 held
	else
		wait_for 60 grep -qF "low_latency: $device can't be held" "$LOG"
	fi
	[[ $(<"$M/42") == '{"a":1}' ]]
	unmount_fs
	[[ $(payloadctl get "$S" 42) == '{"a":1}' ]]
}

@test "without the option nobody touches it" {
	payloadfs -f "$S" "$M" >>"$LOG" 2>&1 3>&- &
	pid=$!
	wait_for 60 answers
	never_held() { for ((i = 0; i < 20; i++)); do not held || return 1; done; }
	held_while_asked never_held
	not grep -qF low_latency "$LOG"
}
