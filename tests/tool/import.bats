#!/usr/bin/env bats
# payloadctl import and export: exact bytes, both input formats, bad input, round trips, constant memory.
# shellcheck disable=SC2030,SC2031,SC2154 # bats runs each test in its own shell, and sets output and stderr
load lib

# Payloads that a JSON library would print otherwise, and bytes that are not JSON.
awkward() {
	printf '%s\n' \
		'{"id":0,"payload":{}}' \
		'{"id":1,"payload":{"z":1,"a":2,"z":3}}' \
		'{"id":2,"payload":{ "spaces" : [ 1 ,  2 ] ,"tab":	null }}' \
		'{"id":3,"payload":1.50}' \
		'{"id":4,"payload":100000000000000000000000000000001}' \
		'{"id":5,"payload":1E+400}' \
		'{"id":6,"payload":-0.0}' \
		'{"id":7,"payload":"\u00e9\/\ud83d\ude00\ud800 é😀"}' \
		'{"id":8,"payload":null}' \
		'{"id":9,"payload":[]}' \
		'{"id":10,"payload":""}' \
		'{"id":'"$max"',"payload":true}' \
		'{"id":"'"$uuid"'","payload":{"a":{"b":{"c":[[[[]]]]}}}}'
}

@test "payload bytes are those of the input: numbers, spacing, key order, escapes" {
	awkward >in
	run -0 --separate-stderr payloadctl import "$S" in
	[[ -z $output && $stderr == *"imported 13 documents"* ]]
	payloadctl export -q --sort "$S" | cmp - in
	[[ $(payloadctl get "$S" 2) == '{ "spaces" : [ 1 ,  2 ] ,"tab":	null }' ]]
	[[ $(payloadctl get "$S" 5) == '1E+400' ]]
	[[ $(payloadctl get "$S" 8) == 'null' ]]
	# What is around the payload does not matter.
	sed 's/,"payload":/ ,\t"score" : 0.5, "payload" :  /; s/}$/ , "vector":[1,2] }\r/' in >around
	payloadctl import -q again around
	payloadctl export -q --sort again | cmp - in
}

@test "payloads that are not JSON in one line are exported as base64 and come back byte for byte" {
	payloadctl create "$S"
	printf '{"a":1}\n' | payloadctl put "$S" 1
	printf '{"a":\n1}' | payloadctl put "$S" 2
	: | payloadctl put "$S" 3
	printf '\xff\0\x01' | payloadctl put "$S" 4
	printf '"\xff"' | payloadctl put "$S" 5
	printf '1 2' | payloadctl put "$S" 6
	head -c 200000 /dev/urandom >noise
	payloadctl put "$S" "$uuid" noise
	printf scratch | payloadctl put "$S" 4~
	payloadctl export -q --sort "$S" >out
	[[ $(grep -c '"payload_base64":"' out) == 7 && $(wc -l <out) == 7 ]]
	[[ $(sed -n 1p out) == '{"id":1,"payload_base64":"eyJhIjoxfQo="}' ]]
	[[ $(jq -r 'select(.id == 4).payload_base64' out | base64 -d | od -An -tx1) == " ff 00 01" ]]
	payloadctl import -q copy out
	payloadctl get copy "$uuid" | cmp - noise
	payloadctl get copy 2 | cmp - <(printf '{"a":\n1}')
	payloadctl export -q --sort copy | cmp - out
}

@test "a large set comes back identical, in memory that does not grow, in any order" {
	documents 30000 >in
	payloadctl import -q "$S" in
	payloadctl export -q --sort "$S" | cmp - in
	payloadctl export -q "$S" | sort | cmp - <(sort in)
	payloadctl export -q "$S" | payloadctl import -q copy
	payloadctl export -q --sort copy | cmp - in
	run -0 payloadctl check copy
}

# scroll FROM TO OFFSET: prints a scroll response in one line.
scroll() {
	jq -cn --argjson a "$1" --argjson b "$2" --argjson next "$3" '{result: {points: [range($a; $b) |
		{id: ., version: 3, score: 0.5, payload: {city: "Bonn", n: .}, vector: [0.1, 0.2]}],
		next_page_offset: $next}, status: "ok", time: 0.002}'
}

@test "bodies of scroll responses are read: one line, pretty-printed, concatenated, mixed with records" {
	scroll 1 101 101 >a
	scroll 101 201 null | jq . >b
	echo '{"id":500,"payload":{"x":1}}' >c
	scroll 201 301 null | tr -d '\n' >d
	scroll 301 401 null | tr -d '\n' >e
	cat a b c d e >all
	payloadctl import -q "$S" all
	[[ $(payloadctl stat --json "$S" | jq .points) == 401 ]]
	[[ $(payloadctl get "$S" 1) == '{"city":"Bonn","n":1}' ]]
	# The pretty-printed payload keeps its line breaks.
	[[ $(payloadctl get "$S" 150) == $'{\n          "city": "Bonn",\n          "n": 150\n        }' ]]
	payloadctl import -q copy a b - d e <c
	[[ $(payloadctl export -q --sort copy) == $(payloadctl export -q --sort "$S") ]]
	scroll 0 0 null | payloadctl import -q none
	[[ $(payloadctl stat --json none | jq .points) == 0 ]]
}

bad_input() {
	printf '%s\n' \
		'{"id":1,"payload":{"ok":1}}' \
		'not json' \
		'' \
		'{"id":2,"payload":{"broken":}}' \
		'{"id":-3,"payload":{}}' \
		'{"id":"007","payload":{}}' \
		'{"payload":{}}' \
		'{"id":4}' \
		'{"id":5,"payload":1,"id":6}' \
		'{"id":7,"payload_base64":"%"}' \
		'{"id":8,"payload":"' \
		'{"id":9,"payload":{"ok":9}}'
	printf '{"id":10,"payload":"\xff"}\n{"id":11,"payload":[1,2'
}

@test "bad lines are named with line and reason, counted, and the rest is imported; exit code 1" {
	bad_input >in
	run -1 --separate-stderr payloadctl import "$S" in
	[[ -z $output ]]
	printf '%s\n' "${stderr_lines[@]}" | grep -v '^imported\|made a new store' >said
	cat >want <<-'END'
		payloadctl: in: line 2: column 1: a record {"id":..., "payload":...} or the body of a scroll response is expected
		payloadctl: in: line 4: column 29: a JSON value is expected
		payloadctl: in: line 5: id -3 is not an unsigned 64-bit integer and not a UUID in lower case with hyphens
		payloadctl: in: line 6: id "007" is not an unsigned 64-bit integer and not a UUID in lower case with hyphens
		payloadctl: in: line 7: no id: a record is {"id":..., "payload":...}
		payloadctl: in: line 8: no payload
		payloadctl: in: line 9: the member "id" is there twice
		payloadctl: in: line 10: payload_base64 is not base64
		payloadctl: in: line 11: column 20: a string is not closed in its line
		payloadctl: in: line 13: column 21: invalid UTF-8 in a string
		payloadctl: in: line 14: column 24: the input ends inside a record
	END
	diff want said
	[[ $stderr == *"imported 2 documents"*"refused 11"* ]]
	[[ $(payloadctl export -q --sort "$S") == $'{"id":1,"payload":{"ok":1}}\n{"id":9,"payload":{"ok":9}}' ]]
}

@test "--stop-on-error stops at the first fault; what was imported before stays" {
	documents 100 >in
	echo '{"id":oops}' >>in
	documents 200 | tail -n 50 >>in
	run -1 --separate-stderr payloadctl import --stop-on-error "$S" in
	[[ $stderr == *"in: line 101: "* && $stderr == *"imported 100 documents"*"refused 1" ]]
	[[ $(payloadctl stat --json "$S" | jq .points) == 100 ]]
	run -1 payloadctl import --stop-on-error "$S" in in
	run -1 payloadctl import -q "$S" in
	[[ $(payloadctl stat --json "$S" | jq .points) == 150 ]]
}

@test "faults in scroll bodies are named with the point's place" {
	cat >in <<-'END'
		{"result":{"points":[{"id":1,"payload":1},
		{"id":"x","payload":2},{"id":3,"vector":[]},
		{"id":4,"payload":4}, oops ]},"status":"ok"}
		{"result":{"points":[{"id":5,"payload":5}]}}
		{"result":{"points":[{"id":6,"payload":6}
	END
	run -1 --separate-stderr payloadctl import -q "$S" in
	diff - <(printf '%s\n' "${stderr_lines[@]}") <<-'END'
		payloadctl: in: line 2, point 2: id "x" is not an unsigned 64-bit integer and not a UUID in lower case with hyphens
		payloadctl: in: line 2, point 3: no payload
		payloadctl: in: line 3, point 5: column 23: a point is expected: {"id":..., "payload":...}
		payloadctl: in: line 6, point 1: column 1: the input ends inside a scroll body
	END
	[[ $(payloadctl export -q --sort "$S" | jq -c .id | tr '\n' ' ') == "1 4 5 6 " ]]
}

@test "a later record of the same id wins; an import over existing documents replaces them" {
	printf '{"id":1,"payload":"a"}\n{"id":1,"payload":"b"}\n' | payloadctl import -q "$S"
	[[ $(payloadctl get "$S" 1) == '"b"' ]]
	printf '{"id":"1","payload":"c"}' | payloadctl import -q "$S"
	[[ $(payloadctl get "$S" 1) == '"c"' && $(payloadctl stat --json "$S" | jq .points) == 1 ]]
}

@test "import makes a missing store and says so; but not when its input is missing" {
	fails 7 "nowhere: No such file" payloadctl import "$S" nowhere
	fails 7 "is a directory" payloadctl import "$S" /tmp
	[[ ! -e $S ]]
	run -0 --separate-stderr payloadctl import "$S" /dev/null
	[[ $stderr == *"made a new store in $S"*"imported 0 documents"* ]]
	run -0 --separate-stderr payloadctl import -q other /dev/null
	[[ -z $stderr && $(payloadctl stat --json other | jq .points) == 0 ]]
}

@test "the summary is JSON when asked for, and no progress is drawn where there is no terminal" {
	documents 1000 >in
	run -0 --separate-stderr payloadctl import --json -q "$S" in
	[[ -z $stderr ]]
	jq -e --argjson size "$(stat -c %s in)" '.imported == 1000 and .refused == 0 and .input_bytes == $size and
		.payload_bytes > 100000 and .seconds >= 0' <<<"$output"
	run -0 --separate-stderr payloadctl import "$S" in
	[[ $stderr != *$'\r'* && $stderr != *$'\033'* ]]
}

@test "progress is drawn on a terminal: bar, count, rate" {
	documents 60000 >in
	script -qec "payloadctl import $S in" /dev/null >typescript </dev/null
	grep -aq $'\r''import  \[=*>* *\] *[0-9]* %  [0-9,]* documents, [0-9,]*/s' typescript
	grep -aq 'imported 60,000 documents' typescript
}

@test "export -o writes a whole file or none" {
	documents 1000 >in
	payloadctl import -q "$S" in
	echo old >out
	payloadctl export -q --sort -o out "$S"
	cmp in out
	[[ $(stat -c %a out) == 644 ]]
	ln -s out link
	payloadctl rm "$S" 1
	payloadctl export -q --sort --output=link "$S"
	[[ -L link ]]
	tail -n +2 in | cmp - out
	# A device stays a device.
	mknod null c 1 3 || skip "no device nodes here"
	payloadctl export -q -o null "$S"
	[[ -c null ]]
	fails 7 "no/such/out: No such file" payloadctl export -o no/such/out "$S"
	run -0 payloadctl export -q -o - "$S"
	[[ ${#lines[@]} == 999 ]]
	[[ -z $(find . -name 'out.*' -o -name 'link.*') ]]
}

@test "an export that is interrupted leaves no file, and the old one as it was" {
	local pid status=0
	payloadctl create "$S"
	head -c 400000000 /dev/zero | payloadctl put "$S" 999999
	documents 20000 | payloadctl import -q "$S"
	echo old >out
	# Held by the large document, which takes long to be written in base64.
	payloadctl export -q -o out "$S" 3>&- &
	pid=$!
	wait_for 30 eval 'compgen -G "out.*" >/dev/null'
	kill -TERM "$pid"
	wait "$pid" || status=$?
	((status == 143))
	# The signal may also have come when the file was complete.
	cmp -s out <(echo old) || [[ $(wc -l <out) == 20001 ]]
	[[ -z $(find . -name 'out.*') ]]
}

@test "memory stays constant: a long stream, and a scroll body that is never held whole" {
	case $build in
	*asan | *tsan) skip "sanitizers reserve address space" ;;
	esac
	local stream='my $text = "x" x 60000; for my $i (1 .. 4000) {
		print $ARGV[0] ? ($i > 1 ? "," : "") : "";
		printf qq({"id":%d,"payload":{"n":%d,"text":"%s"}}%s), $i % 50, $i, $text, $ARGV[0] ? "" : "\n"; }'
	payloadctl create --page-size=1M "$S"
	# 240 MB each, in 160 MB of address space with program, libraries, page mappings and journal buffers.
	(ulimit -v 160000; perl -e "$stream" 0 | payloadctl import -q "$S")
	(ulimit -v 160000; { printf '{"result":{"points":['; perl -e "$stream" 1; printf ']},"status":"ok"}'; } |
		payloadctl import -q "$S")
	[[ $(payloadctl stat --json "$S" | jq .points) == 50 ]]
	[[ $(payloadctl get "$S" 49 | jq -c '[.n,(.text|length)]') == '[3999,60000]' ]]
}

@test "a document of many megabytes passes, in a record, a scroll body and as base64" {
	perl -e 'printf qq({"id":1,"payload":"%s"}\n), "0123456789abcdef" x 2000000' >in
	payloadctl import -q "$S" in
	payloadctl export -q "$S" | cmp - in
	{ printf '{"result":{"points":['; tr -d '\n' <in; printf ']}}'; } | payloadctl import -q body
	payloadctl export -q body | cmp - in
	head -c 20000000 /dev/urandom >noise
	payloadctl put "$S" 2 noise
	payloadctl export -q "$S" | payloadctl import -q copy
	payloadctl get copy 2 | cmp - noise
}
