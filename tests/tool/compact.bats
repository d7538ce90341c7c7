#!/usr/bin/env bats
# payloadctl compact on store directories: what it gives back, what it leaves as it is, and that it may die at any time.
# shellcheck disable=SC2031,SC2154 # bats runs each test in its own shell, and sets output and stderr
load lib

# A store of small pages, most of whose documents are gone.
wasteful() {
	payloadctl create --page-size=64K --min-value-size=16 "$S"
	documents 6000 | payloadctl import -q "$S"
	seq 1 6000 | awk '$1 % 3' | xargs payloadctl rm -q "$S"
	payloadctl export -q "$S" | sort >before
}

@test "compact gives back what removed documents left, and changes no document" {
	local stat
	wasteful
	stat=$(payloadctl stat --json "$S")
	run -0 --separate-stderr payloadctl compact "$S"
	[[ $output == "moved "*" documents, "*"; pages took "*" and take "* && -z $stderr ]]
	payloadctl export -q "$S" | sort | cmp - before
	run -0 payloadctl check "$S"
	[[ $output == *"no faults" ]]
	# Of the pages' bytes no more than a thirtieth is dead, with half a page at the end.
	payloadctl stat --json "$S" | jq -e --argjson old "$stat" '.page_bytes < $old.page_bytes / 2 and
		.page_bytes <= (.container_bytes + .slot_bytes) * 31 / 30 + 40000 and .pages < $old.pages / 2'
	[[ $(find "$S" -name 'page-*' | wc -l) == $(payloadctl stat --json "$S" | jq .pages) ]]
	run -0 payloadctl compact "$S"
	[[ $output == "nothing to compact: "* ]]
	[[ $(payloadctl compact --json "$S" | jq -c '[.values,.bytes]') == '[0,0]' ]]
	[[ -z $(payloadctl compact -q "$S" 2>&1) ]]
}

@test "times, modes and scratch files are as before" {
	wasteful
	payloadctl put "$S" .3.swp <<<scratch
	payloadctl put "$S" 3 <<<mine
	local before fields='map({id, scratch, size, mode, uid, gid, mtime_ns})'
	before=$(payloadctl stat --json "$S" 3 6 300 .3.swp | jq -c "$fields")
	payloadctl compact -q "$S"
	[[ $(payloadctl stat --json "$S" 3 6 300 .3.swp | jq -c "$fields") == "$before" ]]
	[[ $(payloadctl get "$S" .3.swp) == scratch && $(payloadctl get "$S" 3) == mine ]]
}

@test "a store of which everything was removed gives everything back" {
	wasteful
	seq 3 3 6000 | xargs payloadctl rm -q "$S"
	payloadctl compact -q "$S"
	[[ -z $(find "$S" -name 'page-*') ]]
	payloadctl put "$S" 1 <<<again
	[[ $(payloadctl get "$S" 1) == again ]]
	run -0 payloadctl check "$S"
}

@test "killed at any moment it loses nothing, and the next one finishes" {
	local i pid
	wasteful
	for i in {1..12}; do
		payloadctl compact -q "$S" 3>&- &
		pid=$!
		sleep "0.0$((RANDOM % 10))"
		kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" || true
		payloadctl check "$S" >out || fail "$(<out)"
		payloadctl export -q "$S" | sort | cmp - before
		# Something is left to do.
		seq $((i * 300 + 3)) 3 $((i * 300 + 240)) | xargs payloadctl rm -q "$S"
		payloadctl export -q "$S" | sort >before
	done
	payloadctl compact -q "$S"
	payloadctl export -q "$S" | sort | cmp - before
	run -0 payloadctl check "$S"
}

@test "what can't be compacted is said in one line" {
	fails 3 "$S" payloadctl compact "$S"
	payloadctl create "$S"
	hold
	fails 4 "" payloadctl compact --wait=0 "$S"
	release
}
