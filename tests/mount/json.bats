# json=check: what is not valid JSON is told by the log and stats.json, and by `payloadctl check --json-payloads`; it is
# never refused, and no byte is altered.
# shellcheck disable=SC2154 # set by lib and run

load lib

stats() { jq -e ".json | $1" "$M/.payloadfs/stats.json" >/dev/null; }
logged() { grep -qF "$1" "$LOG"; }
# In the foreground: its messages are in $LOG.
mount_checking() {
	payloadfs -f "$@" "$S" "$M" >>"$LOG" 2>&1 3>&- &
	wait_for 60 answers
}

setup() {
	setup_dirs
}

@test "broken documents are named once with place and reason, counted, and not altered" {
	local uuid=c0ffee00-0000-4000-8000-000000000001
	mount_checking -o json=check
	stats '. == {checked: 0, invalid_seen: 0, invalid: 0, last: null}'
	echo '{"a":1} rest' >"$M/42"
	printf '{"a":\n\t[1,\r\n2]}\n\n' >"$M/43"
	echo '{"a":' >"$M/.scratch"
	printf '\xff\x00' >"$M/$uuid"
	: >"$M/44"
	wait_for 60 stats '.checked >= 4 and .invalid == 3'
	logged '42: not valid JSON at byte 8: something follows the value'
	logged "$uuid: not valid JSON at byte 0: "
	logged '44: not valid JSON at byte 0: empty'
	[[ $(grep -c "not valid JSON" "$LOG") == 3 ]] || fail "$(<"$LOG")"
	not grep -qE 'scratch|43:' "$LOG"
	stats '.invalid_seen == 3 and .last.error != null and (.last.id | IN(42, 44, "'$uuid'"))'
	[[ $(<"$M/42") == '{"a":1} rest' && $(<"$M/.scratch") == '{"a":' ]]
	cmp "$M/43" <(printf '{"a":\n\t[1,\r\n2]}\n\n')
	cmp "$M/$uuid" <(printf '\xff\x00')
	# A member of a number is one, of a UUID a string.
	echo '[' >"$M/45"
	wait_for 60 stats '.last == {id: 45, offset: 2, error: "it ends before its value does"}'
}

@test "what is mended, removed, cut or moved away counts no more; what is moved to a point's name does" {
	mount_checking -o json=check
	for id in 1 2 3; do
		echo '{"a":tru}' >"$M/$id"
	done
	echo '{"a":1}' >"$M/4" # cut to {"a
	wait_for 60 stats '.invalid == 3'
	sed -i 's/tru/true/' "$M/1"
	rm "$M/2"
	mv "$M/3" "$M/3.bak"
	wait_for 60 stats '.invalid == 0 and .invalid_seen == 3'
	mv "$M/3.bak" "$M/5"
	wait_for 60 stats '.invalid == 1 and .last.id == 5'
	# A truncation, and bytes that are added.
	truncate -s 3 "$M/4"
	wait_for 60 stats '.invalid == 2 and .last == {id: 4, offset: 3, error: "it ends before its value does"}'
	printf 'a":2}' >>"$M/4"
	rm "$M/5"
	wait_for 60 stats '.invalid == 0'
	fallocate -l 20 "$M/1" # zeros behind it
	wait_for 60 stats '.invalid == 1 and .last.id == 1'
	[[ $(<"$M/4") == '{"aa":2}' ]]
}

@test "what comes by payloadctl and by the import file is looked at, too" {
	mount_checking -o json=check
	ctl put "$M" 7 <<<'{"a":'
	echo '{"id":8,"payload_base64":"eyI="}' | ctl import -q "$M"
	echo '{"id":9,"payload_base64":"eyI="}' >"$M/.payloadfs/import"
	wait_for 60 stats '.invalid == 3'
	for id in 7 8 9; do
		logged "$id: not valid JSON at byte "
	done
	ctl rm "$M" 7
	wait_for 60 stats '.invalid == 2'
}

@test "what was changed just before the unmount is looked at, and without the option nothing is" {
	mount_checking -o json=check
	echo '{' >"$M/1"
	unmount_fs
	logged '1: not valid JSON at byte 2: it ends before its value does'
	: >"$LOG"
	mount_checking -o json=off
	jq -e 'has("json") and .json == null' "$M/.payloadfs/stats.json"
	echo '{' >"$M/2"
	unmount_fs
	mount_checking
	jq -e '.json == null' "$M/.payloadfs/stats.json"
	not grep -q 'not valid JSON' "$LOG"
}

@test "payloadctl check --json-payloads of a mount names the same" {
	mount_checking
	echo '{"a":1} rest' >"$M/42"
	printf '{"a":\n1}\n' >"$M/43"
	echo '{' >"$M/scratch"
	run -1 --separate-stderr ctl check --json-payloads "$M"
	[[ ${lines[0]} == "checked 3 documents"*": no faults" ]]
	[[ ${lines[1]} == "document 42: not valid JSON at byte 8: something follows the value" ]]
	[[ ${lines[2]} == "looked at the payloads of 2 points: 1 is not valid JSON, which is no fault of the store" ]]
	[[ ${#lines[@]} == 3 && -z $stderr ]]
	echo '{"a":1}' >"$M/42"
	run -0 --separate-stderr ctl check --json-payloads "$M"
	[[ ${lines[1]} == "looked at the payloads of 2 points: all are valid JSON" ]]
}
