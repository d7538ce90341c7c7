#!/usr/bin/env bats
# payloadctl check --repair and payloadctl quarantine on store directories: exit codes, messages, what is kept.
# shellcheck disable=SC2030,SC2031,SC2154 # bats runs each test in its own shell, and sets output and stderr
load lib

# spoil FILE OFFSET BYTES: writes bytes (as for printf) there.
spoil() { printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }

# at ID FIELD: a number that stat says of a document's place.
at() { payloadctl stat --json "$S" "$1" | jq ".[0].$2"; }

# A store of 200 documents, and `before`, its export.
make_store() {
	payloadctl create "$S"
	documents 200 | payloadctl import -q "$S"
	payloadctl export -q --sort "$S" >before
}

@test "repairing a whole store says so and changes nothing" {
	local before
	make_store
	before=$(fingerprint "$S")
	run -0 --separate-stderr payloadctl check --repair "$S"
	[[ $output == "nothing to repair: 200 documents, no faults" && -z $stderr ]]
	run -0 --separate-stderr payloadctl check --repair --json "$S"
	jq -e '.done == [] and .faults == 0 and .lost == 0 and .documents == 200' <<<"$output"
	[[ -z $(payloadctl check --repair -q "$S") ]]
	[[ $(fingerprint "$S") == "$before" ]]
	[[ -z $(payloadctl quarantine "$S") && $(payloadctl quarantine --json "$S" | jq -c .) == "[]" ]]
}

@test "what can be reached is there again: exit code 10" {
	local slot
	make_store
	slot=$((64 + 16 * $(at 77 slot)))
	spoil "$S/page-00000001" "$slot" '\x4c' # 77 is 0x4d
	spoil "$S/superblock" 70 '\x00\x11\x22'
	rm "$S/index"
	run -10 --separate-stderr payloadctl check --repair "$S"
	[[ $output == *"page-00000001 at byte "*": document 77: "*"corrected: the document is there again"* ]]
	[[ $output == *"200 documents are there, 1 of them corrected"* && $output != *LOST* && -z $stderr ]]
	run -0 payloadctl check "$S"
	cmp before <(payloadctl export -q --sort "$S")
}

@test "what can't be reached is named and kept aside: exit code 11" {
	local place
	make_store
	place=$(at 77 offset)
	spoil "$S/page-00000001" $((place + $(at 77 packed) - 4)) 'XX'
	payloadctl check "$S" && return 1
	run -11 --separate-stderr payloadctl check --repair --json "$S"
	jq -e '.lost == 1 and .unknown == 0 and .kept == 1 and .documents == 199 and
		(.done | length == 1 and .[0].lost and .[0].id == 77 and .[0].file == "page-00000001")' <<<"$output"
	run -0 payloadctl check "$S"
	fails 1 "77: no such document" payloadctl get "$S" 77
	cmp <(payloadctl export -q --sort "$S") <(grep -v '^{"id":77,' before)
	[[ $(payloadctl quarantine "$S") == "1  page-00000001 at byte $place, "*" bytes: document 77: "* ]]
	payloadctl quarantine --json "$S" | jq -e 'length == 1 and .[0].key == "77" and .[0].entry == 1 and
		.[0].offset == '"$place"' and .[0].complete'
	run -0 --separate-stderr payloadctl check --repair "$S"
	[[ $output == "nothing to repair: 199 documents, no faults" ]]
}

@test "an entry of the quarantine is decoded: with one wrong bit put right, or as it is" {
	local place len
	make_store
	place=$(at 5 offset)
	len=$(at 5 container)
	payloadctl get "$S" 5 >five
	dd if="$S/page-00000001" of=container bs=1 skip="$place" count="$len" status=none
	perl -e 'open(my $f, "+<", $ARGV[0]) or die; seek($f, $ARGV[1], 0); read($f, my $c, 1);
		seek($f, $ARGV[1], 0); print $f chr(ord($c) ^ 0x10);' "$S/page-00000001" $((place + $(at 5 packed) - 3))
	run -11 payloadctl check --repair -q "$S"
	run -1 --separate-stderr payloadctl quarantine "$S" 1
	[[ $stderr == "payloadctl: entry 1: one bit of it is wrong, most likely"* ]]
	payloadctl quarantine "$S" 1 2>/dev/null | cmp - five
	payloadctl quarantine --raw "$S" 1 >raw
	[[ $(stat -c %s raw) == "$len" && $(cmp -l raw container | wc -l) == 1 ]]
	fails 1 "entry 2: there is none" payloadctl quarantine "$S" 2
	fails 1 "entry 0: there is none" payloadctl quarantine "$S" 0
	fails 2 "not the number" payloadctl quarantine "$S" five
}

@test "of a large document with a bad block the rest can be had" {
	local place
	make_store
	perl -e 'srand(1); print map { chr(int(rand(256))) } 1 .. 300000' >large
	payloadctl put "$S" 1000 large
	place=$(at 1000 offset)
	spoil "$S/$(printf 'page-%08x' "$(at 1000 page)")" $((place + 150000)) 'damage'
	run -11 payloadctl check --repair "$S"
	[[ $output == *"document 1000: 1 of its 5 blocks do not verify, the first at byte 131072"* ]]
	run -1 --separate-stderr payloadctl quarantine "$S" 1
	[[ $stderr == *"entry 1: bytes 131072 to 196607 are damaged; zeros are written"* ]]
	payloadctl quarantine "$S" 1 2>/dev/null >got || true
	cmp got <(head -c 131072 large; head -c 65536 /dev/zero; tail -c +196609 large)
	cmp before <(payloadctl export -q --sort "$S")
}

@test "a store without superblock does not open, says what to do, and is repaired" {
	make_store
	spoil "$S/superblock" 0 'no superblock any more'
	spoil "$S/superblock" 4096 'no superblock any more'
	fails 5 "check --repair" payloadctl get "$S" 1
	fails 5 "check --repair" payloadctl check "$S"
	run -10 payloadctl check --repair "$S"
	cmp before <(payloadctl export -q --sort "$S")
}

@test "what is no store or is in use is refused and not touched" {
	mkdir empty
	fails 3 "not a payloadfs store" payloadctl check --repair empty
	[[ -z $(ls -A empty) ]]
	fails 3 "no such store" payloadctl check --repair missing
	make_store
	hold
	fails 4 "another process is using this store" payloadctl check --repair --wait=0 "$S"
	release
}

@test "a store on a read-only filesystem is not repaired" {
	local place
	((EUID == 0)) || fail "run as root"
	make_store
	place=$(at 77 offset)
	spoil "$S/page-00000001" $((place + 6)) 'XX'
	mkdir ro
	mount --bind "$S" ro
	mount -o remount,bind,ro ro
	run -7 --separate-stderr payloadctl check --repair ro
	umount ro
	[[ -z $output && $stderr == "payloadctl: ro: "*"Read-only file system"* ]]
	run -11 payloadctl check --repair "$S"
}

@test "--json-payloads names each payload that is not valid JSON, and changes nothing" {
	local before
	make_store
	run -0 --separate-stderr payloadctl check --json-payloads "$S"
	[[ ${lines[1]} == "looked at the payloads of 200 points: all are valid JSON" && ${#lines[@]} == 2 ]]
	printf '{"a":\n [1,\n2]}\n' | payloadctl put "$S" 201
	printf '' | payloadctl put "$S" 202
	printf '{"a":1,}' | payloadctl put "$S" 3
	{ printf '["'; head -c 3000000 /dev/zero | tr '\0' x; printf '"'; } | payloadctl put "$S" "$uuid"
	before=$(fingerprint "$S")
	run -1 --separate-stderr payloadctl check --json-payloads "$S"
	[[ ${lines[0]} == "checked 203 documents"*": no faults" && -z $stderr ]]
	[[ $output == *$'\n'"document 3: not valid JSON at byte 7: a member name in quotes is expected"$'\n'* ]]
	[[ $output == *$'\n'"document 202: not valid JSON at byte 0: empty"$'\n'* ]]
	[[ $output == *$'\n'"document $uuid: not valid JSON at byte 3000003: it ends before its value does"$'\n'* ]]
	[[ $output == *$'\n'"looked at the payloads of 203 points: 3 are not valid JSON, which is no fault of the store" ]]
	[[ ${#lines[@]} == 5 ]]
	run -1 --separate-stderr payloadctl check --json-payloads --json "$S"
	jq -e '.findings == [] and .faults == 0 and .payloads == 203 and .invalid == 3 and .unread == 0 and
		(.invalid_payloads | map({(.id | tostring): .offset}) | add) ==
			{"3": 7, "202": 0, "'$uuid'": 3000003}' <<<"$output"
	run -1 --separate-stderr payloadctl check --json-payloads -q "$S"
	[[ ${#lines[@]} == 3 && -z $stderr ]]
	run -0 payloadctl check "$S"
	[[ $(payloadctl check --json "$S" | jq -c 'has("payloads")') == false ]]
	[[ $(fingerprint "$S") == "$before" ]]
	fails 2 "--json-payloads can't be given with --repair" payloadctl check --json-payloads --repair "$S"
	fails 3 none payloadctl check --json-payloads "$T/none"
}

@test "--json-payloads beside damage: what can't be read is told apart" {
	local place
	make_store
	printf '{' | payloadctl put "$S" 9
	place=$(at 77 offset)
	spoil "$S/page-00000001" $((place + $(at 77 packed) - 4)) 'XX'
	run -1 --separate-stderr payloadctl check --json-payloads "$S"
	[[ $output == *": document 77: "* && $output == *"1 fault, 1 document damaged"* ]]
	[[ $output == *"document 9: not valid JSON at byte 1: "* ]]
	[[ $output == *"200 points: 1 is not valid JSON, which is no fault of the store; 1 can't be read" ]]
}
