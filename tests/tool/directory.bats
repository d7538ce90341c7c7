#!/usr/bin/env bats
# payloadctl on store directories: every command, exact bytes, exit codes, bad input.
# shellcheck disable=SC2030,SC2031,SC2154 # bats runs each test in its own shell, and sets output and stderr
load lib

commands=(create import export get put rm stat check quarantine compact snapshot sync train umount edit scratch)

@test "help and version are printed, for every command" {
	local command
	run -0 payloadctl --help
	for command in "${commands[@]}"; do
		[[ $output == *"  $command "* ]]
		[[ $(payloadctl "$command" --help) == "Usage: payloadctl $command "* ]]
		[[ $(payloadctl "$command" -h) == *"--wait=SECONDS"* ]]
	done
	[[ $output == *"Exit codes:"* ]]
	[[ $(payloadctl -V) == "payloadctl "* && $(payloadctl --version) == "$(payloadctl -V)" ]]
}

@test "a wrong command line is named in one line, exit code 2, and nothing is done" {
	local command
	fails 2 "no command" payloadctl
	fails 2 "frobnicate: unknown command" payloadctl frobnicate "$S"
	for command in "${commands[@]}"; do
		fails 2 "unknown option --frobnicate" payloadctl "$command" --frobnicate "$S" 1
		fails 2 "option -z" payloadctl "$command" -z "$S" 1
		fails 2 "payloadctl $command --help" payloadctl "$command"
		fails 2 "--wait=soon" payloadctl "$command" --wait=soon "$S"
		fails 2 "--wait needs a value" payloadctl "$command" "$S" --wait
		fails 2 "takes no value" payloadctl "$command" --help=x "$S" || fails 2 "misused option -h" \
			payloadctl "$command" --help=x "$S"
	done
	for command in get put rm; do
		fails 2 "ID" payloadctl "$command" "$S"
	done
	for command in create export check compact sync train umount; do
		fails 2 "one" payloadctl "$command" "$S" "$S"
	done
	fails 2 "at most one FILE" payloadctl put "$S" 1 a b
	[[ ! -e $S ]]
}

# similar FIRST LAST SALT: documents that have much in common.
similar() {
	perl -e 'for my $i ($ARGV[0] .. $ARGV[1]) {
		printf qq({"id":%d,"payload":{"package":"lib%d","section":"libs","priority":"optional",), $i, $i;
		printf qq("maintainer":"%s <nobody\@example.org>","size":%d}}\n), $ARGV[2], $i * 7919;
	}' "$@"
}

@test "train makes a dictionary; new documents use it, take less, and come back" {
	local before after
	payloadctl create --min-value-size 16 "$S"
	fails 1 "too few points" payloadctl train "$S"
	similar 1 900 Alice >in
	payloadctl import -q "$S" in
	[[ $(payloadctl stat --json "$S" | jq -c '[.dictionaries,.dictionary_users]') == '[0,0]' ]]
	before=$(payloadctl stat --json "$S" | jq .container_bytes)
	[[ $(payloadctl train --json "$S" | jq -c '[.dictionary, .packed * 2 < .packed_before]') == '[1,true]' ]]
	[[ $(payloadctl train "$S") == "nothing to gain: "* ]]
	[[ $(payloadctl train --force "$S") == "dictionary 2 of "* ]]
	similar 1 900 Bob >in
	payloadctl import -q "$S" in
	after=$(payloadctl stat --json "$S" | jq .container_bytes)
	((after * 3 < before * 2))
	[[ $(payloadctl stat --json "$S" 5 | jq '.[0].dictionary') == 2 ]]
	[[ $(payloadctl stat "$S") == *"needed by 900 documents; new ones use number 2"* ]]
	[[ $(payloadctl stat "$S") == *"number 2 was not made from: "*" to 1"* ]]
	[[ $(payloadctl stat --json "$S" | jq '.dictionary_raw > .dictionary_packed * 2') == true ]]
	[[ ! -e $S/dict-00000001 && -e $S/dict-00000002 ]]
	cmp in <(payloadctl export -q --sort "$S")
	payloadctl check "$S"
	rm "$S/dict-00000002"
	run -1 payloadctl check "$S"
	[[ $output == *"dictionary that is not there"* ]]
	run payloadctl get "$S" 5
	((status != 0))
	[[ $output == *"dict-00000002"*"missing"* ]]
}

@test "without its dictionary a document is an error, kept aside by a repair, and decoded when it is back" {
	payloadctl create --min-value-size 16 "$S"
	similar 1 900 Alice >in
	payloadctl import -q "$S" in
	payloadctl train --force "$S"
	similar 5 6 Bob >two
	payloadctl import -q "$S" two
	mv "$S/dict-00000001" kept
	run -1 --separate-stderr payloadctl export -q -o out "$S"
	[[ $(grep -c "5: damaged, or could not be read" <<<"$stderr") == 1 ]]
	[[ $(grep -c "6: damaged, or could not be read" <<<"$stderr") == 1 ]]
	[[ $(grep -c "damaged, or could not be read" <<<"$stderr") == 2 ]]
	run -1 payloadctl get "$S" 5
	[[ $output == *"5: damaged, or could not be read"* ]]
	run payloadctl check --repair "$S"
	[[ $output == *"document 5: it needs a dictionary that is not there"* ]]
	fails 1 "dict-00000001, which it is packed with, can't be read" payloadctl quarantine "$S" 1
	cp kept "$S/dict-00000001"
	for entry in 1 2; do payloadctl quarantine "$S" $entry; echo; done | sort >back
	jq -c .payload two | sort | cmp back
}

@test "stat says when there may be documents whose ids are not known" {
	payloadctl create --min-value-size 16 "$S"
	similar 1 5 Alice >in
	payloadctl import -q "$S" in
	[[ $(payloadctl stat --json "$S" | jq .doubt) == false ]]
	[[ $(payloadctl stat "$S") != *"ids are not known"* ]]
	rm "$S/index" "$S/page-00000001"
	[[ $(payloadctl stat --json "$S" 2>/dev/null | jq .doubt) == true ]]
	[[ $(payloadctl stat "$S" 2>/dev/null) == *"ids are not known"* ]]
}

@test "an import makes a dictionary by itself" {
	similar 1 20000 Carol >in
	payloadctl import -q "$S" in
	[[ $(payloadctl stat --json "$S" | jq -c '[.dictionaries, .dictionary_users, .dictionary_off]') == '[1,20000,false]' ]]
	[[ $(payloadctl stat --json "$S" 1 2 | jq -c 'map(.dictionary)') == '[1,1]' ]]
	cmp in <(payloadctl export -q --sort "$S")
	payloadctl check "$S"
	# The next import uses it.
	payloadctl import -q "$S" <<<'{"id":1,"payload":'"$(payloadctl get "$S" 2)"'}'
	[[ $(payloadctl stat --json "$S" 1 | jq -c 'map(.dictionary)') == '[1]' ]]
}

@test "an import too small for a dictionary makes none, and faults in it lose nothing" {
	similar 1 999 Carol >in
	payloadctl import -q small in
	[[ $(payloadctl stat --json small | jq -c '[.points, .dictionaries]') == '[999,0]' ]]
	similar 1000 1000 Carol >>in
	{ cat in; echo '{"id":3,"payload":"later"}'; echo oops; } >faulty
	run -1 payloadctl import -q --stop-on-error "$S" faulty
	[[ $(payloadctl stat --json "$S" | jq -c '[.points, .dictionaries]') == '[1000,0]' ]]
	[[ $(payloadctl get "$S" 3) == '"later"' ]]
	cmp <(payloadctl export -q --sort "$S" | sed 3d) <(sed 3d in)
	# What comes in several files counts together; a large document ends the sampling, in its order.
	similar 1001 4000 Dave >two
	{ printf '{"id":1,"payload":"'; head -c 17000000 /dev/zero | tr '\0' x; echo '"}'; } >large
	similar 1 1 Erin >one
	payloadctl import -q again in two large one
	[[ $(payloadctl stat --json again | jq -c '[.points, .dictionaries]') == '[4000,1]' ]]
	cmp <(payloadctl export -q --sort again) <(cat one in two | sed 2d)
	payloadctl check again
}

@test "dict=off is recorded when a store is made, and holds until a command says otherwise" {
	local where
	similar 1 3000 Carol >in
	payloadctl create --dict=off "$S"
	payloadctl import -q --dict=off other in
	for where in "$S" other; do
		payloadctl import -q "$where" in
		[[ $(payloadctl stat --json "$where" | jq -c '[.dictionaries, .dictionary_off]') == '[0,true]' ]]
		fails 1 "it was made with dict=off" payloadctl train "$where"
		payloadctl import -q --dict=auto "$where" in
		[[ $(payloadctl stat --json "$where" | jq -c '[.dictionary_users, .dictionary_off]') == '[3000,true]' ]]
		payloadctl import -q "$where" in
		[[ $(payloadctl stat --json "$where" | jq -c .dictionary_users) == 0 ]]
		cmp in <(payloadctl export -q --sort "$where")
		payloadctl check "$where"
	done
	payloadctl create --dict=auto third
	payloadctl import -q --dict=off third in
	[[ $(payloadctl stat --json third | jq -c '[.dictionaries, .dictionary_off]') == '[0,false]' ]]
	fails 2 "--dict=maybe is neither auto nor off" payloadctl import --dict=maybe third in
	fails 2 "--dict= is neither auto nor off" payloadctl create --dict= fourth
}

@test "create makes a store in a missing or empty directory, with its options" {
	run -0 --separate-stderr payloadctl create "$S"
	[[ -z $output && -z $stderr ]]
	[[ $(payloadctl stat --json "$S" | jq -c '[.points,.page_size,.min_value_size]') == '[0,33554432,128]' ]]
	[[ $(stat -c %a "$S") == 700 ]]
	mkdir empty
	payloadctl create --page-size=64K --min-value-size=16 empty
	[[ $(payloadctl stat --json empty | jq -c '[.page_size,.min_value_size]') == '[65536,16]' ]]
	payloadctl create --page-size 1m --min-value-size 4096 more
	[[ $(payloadctl stat --json more | jq -c '[.page_size,.min_value_size]') == '[1048576,4096]' ]]
}

@test "create refuses what is there already, and sizes that can't be" {
	local size before
	payloadctl create "$S"
	payloadctl put "$S" 1 <<<x
	before=$(fingerprint "$S")
	fails 3 "$S" payloadctl create "$S"
	[[ $(fingerprint "$S") == "$before" ]]
	mkdir foreign
	echo mine >foreign/file
	fails 3 foreign payloadctl create foreign
	[[ $(ls -A foreign) == file && $(<foreign/file) == mine ]]
	fails 3 foreign/file payloadctl create foreign/file
	for size in 0 32K 3M 2G 1T x 64Kx 64KK "" -1 18446744073709551617 36028797018963968K; do
		fails 2 "--page-size=$size is not" payloadctl create --page-size="$size" new
	done
	for size in 0 15 4097 x; do
		fails 2 "--min-value-size=$size is not" payloadctl create --min-value-size="$size" new
	done
	[[ ! -e new ]]
}

@test "put and get keep any bytes, for every kind of name" {
	local id
	payloadctl create "$S"
	: >empty
	printf '{"a": 1.50}' >json
	printf '\n\0\xff\r\n{"\x01' >binary
	head -c 300000 /dev/urandom >noise
	head -c 5000000 <(yes '{"k":"some text that repeats"}') >large
	for id in 0 1 "$max" "$uuid" .42.swp 'name with space' $'tab\tand\xff'; do
		for file in noise empty json large binary; do
			payloadctl put "$S" "$id" "$file"
			payloadctl get "$S" "$id" | cmp - "$file"
		done
	done
	payloadctl put "$S" 7 <json
	payloadctl put "$S" 8 - <binary
	payloadctl get "$S" 7 | cmp - json
	payloadctl get "$S" 8 | cmp - binary
	payloadctl put "$S" -- -dash json
	payloadctl get "$S" -- -dash | cmp - json
	[[ $(payloadctl stat --json "$S" | jq -c '[.points,.scratch]') == '[6,4]' ]]
	run -0 payloadctl check "$S"
}

@test "get prints several documents with a newline behind each, and goes on after one that is missing" {
	payloadctl create "$S"
	printf one | payloadctl put "$S" 1
	printf 'three\n' | payloadctl put "$S" 3
	payloadctl get "$S" 1 3 1 >got
	printf 'one\nthree\n\none\n' | cmp - got
	run -1 --separate-stderr payloadctl get "$S" 1 2 3
	[[ $output == $'one\nthree' ]]
	[[ $stderr == "payloadctl: $S: 2: no such document" ]]
	fails 1 "2: no such document" payloadctl get "$S" 2
}

@test "a put that fails leaves the old document" {
	payloadctl create "$S"
	printf old | payloadctl put "$S" 1
	fails 7 "nowhere: No such file" payloadctl put "$S" 1 nowhere
	fails 7 "Is a directory" payloadctl put "$S" 1 /
	[[ $(payloadctl get "$S" 1) == old ]]
	# One byte too many; the file takes no space.
	truncate -s 1073741825 sparse
	fails 1 "larger than 1 GiB" payloadctl put "$S" 1 sparse
	[[ $(payloadctl get "$S" 1) == old ]]
	[[ $(payloadctl stat --json "$S" | jq -c '[.points,.scratch]') == '[1,0]' ]]
}

@test "names that look like an id but are not canonical are refused before anything is done" {
	local name
	payloadctl create "$S"
	printf keep | payloadctl put "$S" 1
	for name in 007 +1 -1 18446744073709551616 C0FFEE00-0000-4000-8000-000000000001 \
		c0ffee0000004000800000000000001f . .. a/b ""; do
		fails 2 "$name: not a name of a document" payloadctl get "$S" -- "$name"
		fails 2 "not a name" payloadctl put "$S" -- "$name" /dev/null
		fails 2 "not a name" payloadctl rm "$S" -- 1 "$name"
		fails 2 "not a name" payloadctl stat "$S" -- "$name"
	done
	fails 2 "a name has up to 255 bytes" payloadctl get "$S" "$(printf 'x%.0s' {1..256})"
	payloadctl put "$S" "$(printf 'x%.0s' {1..255})" </dev/null
	[[ $(payloadctl get "$S" 1) == keep ]]
}

@test "rm removes points and scratch files, reports what is missing, and --scratch takes only scratch files" {
	payloadctl create "$S"
	for id in 1 2 3 4 "$uuid" .1.swp 1~ tmp; do
		printf %s "$id" | payloadctl put "$S" "$id"
	done
	payloadctl rm "$S" 1 .1.swp
	fails 1 "1: no such document" payloadctl rm "$S" 1 2
	fails 1 "2: no such document" payloadctl get "$S" 2
	run -0 --separate-stderr payloadctl rm -f "$S" 1 2 3
	[[ -z $output && -z $stderr ]]
	fails 1 "3: no such document" payloadctl get "$S" 3
	[[ $(payloadctl stat --json "$S" | jq -c '[.points,.scratch]') == '[2,2]' ]]
	payloadctl rm --scratch "$S"
	[[ $(payloadctl stat --json "$S" | jq -c '[.points,.scratch]') == '[2,0]' ]]
	[[ $(payloadctl get "$S" 4 "$uuid") == $'4\n'"$uuid" ]]
}

@test "stat shows the store and where documents lie, for people and as JSON" {
	payloadctl create "$S"
	documents 100 | payloadctl import -q "$S"
	payloadctl get "$S" 42 >document
	printf x | payloadctl put "$S" tmp
	[[ $(payloadctl stat "$S") == *"points         100"*"scratch files  1"* ]]
	run -0 payloadctl stat --json "$S"
	jq -e --arg s "$S" '.store == $s and .mountpoint == null and .points == 100 and .scratch == 1 and
		.raw_bytes > 10000 and .pages == 1 and .format_version == 1 and .disk_bytes > 0 and
		.defaults.mode == "0644"' <<<"$output"
	run -0 payloadctl stat --json "$S" 42 tmp
	jq -e --argjson size "$(stat -c %s document)" 'length == 2 and .[0].id == 42 and .[0].size == $size and
		.[0].in_journal == false and .[0].container >= 128 and .[0].packed <= .[0].container and
		.[0].sequence > 0 and .[0].uid == 0 and (.[0].checksum | test("^[0-9a-f]{8}$")) and
		.[1].scratch == "tmp" and .[1].size == 1' <<<"$output"
	[[ $(payloadctl stat "$S" 42) == 42*"page 1, slot "* ]]
	[[ $(payloadctl stat "$S") == *" in 1 page of "* ]]
	[[ $(payloadctl stat "$S" tmp) == *"payload      1 byte, mode "* ]]
	run -1 --separate-stderr payloadctl stat --json "$S" 1000 42
	[[ $(jq -c 'map(.id)' <<<"$output") == '[42]' && $stderr == *"1000: no such document" ]]
}

@test "every command refuses what is no store, with exit code 3, and changes nothing" {
	local target before
	mkdir foreign empty
	echo mine >foreign/file
	echo file >file
	before=$(fingerprint .)
	for target in missing foreign file foreign/file file/below; do
		fails 3 "$target" payloadctl get "$target" 1
		fails 3 "$target" payloadctl put "$target" 1 /dev/null
		fails 3 "$target" payloadctl rm "$target" 1
		fails 3 "$target" payloadctl stat "$target"
		fails 3 "$target" payloadctl check "$target"
		fails 3 "$target" payloadctl sync "$target"
		fails 3 "$target" payloadctl export "$target"
		fails 8 "not mounted" payloadctl umount "$target"
	done
	for target in foreign file file/below; do
		fails 3 "$target" payloadctl import -q "$target" /dev/null
	done
	fails 3 empty payloadctl get empty 1
	[[ ! -e missing && $(fingerprint .) == "$before" && -z $(ls -A empty) ]]
}

@test "a store that another process holds is waited for, then refused with exit code 4" {
	payloadctl create "$S"
	printf x | payloadctl put "$S" 1
	hold
	fails 4 "$S" payloadctl get --wait=0 "$S" 1
	fails 4 "$S" payloadctl put --wait=0.1 "$S" 1 /dev/null
	fails 4 "$S" payloadctl rm --wait=0 "$S" 1
	fails 4 "$S" payloadctl stat --wait=0 "$S"
	fails 4 "$S" payloadctl check --wait=0 "$S"
	fails 4 "$S" payloadctl sync --wait=0 "$S"
	fails 4 "$S" payloadctl export --wait=0 "$S"
	fails 4 "$S" payloadctl import -q --wait=0 "$S" /dev/null
	payloadctl get --wait=60 "$S" 1 >got 3>&- 8>&- &
	waiter=$!
	echo '{"id":1,"payload":"new"}' >&8
	release
	wait "$waiter"
	[[ $(<got) == '"new"' ]]
}

@test "readers share a store that nobody writes" {
	payloadctl create "$S"
	documents 2000 | payloadctl import -q "$S"
	mkfifo out
	payloadctl export -q "$S" >out 3>&- &
	exec 7<out
	read -r _ <&7
	[[ $(payloadctl get --wait=0 "$S" 1) == *'"n":1,'* ]]
	fails 4 "$S" payloadctl put --wait=0 "$S" 1 /dev/null
	exec 7<&-
}

# Changes byte $2 of file $1.
flip() {
	perl -e 'open(my $f, "+<", $ARGV[0]) or die; seek($f, $ARGV[1], 0); read($f, my $c, 1);
		seek($f, $ARGV[1], 0); print $f chr(ord($c) ^ 0x55);' "$1" "$2"
}

@test "a store of a newer format is refused with exit code 6, a damaged superblock with 5; nothing changes" {
	local before
	payloadctl create "$S"
	cp -a "$S" newer
	perl -e 'open(my $f, "+<", $ARGV[0]) or die; local $/; my $s = <$f>;
		for my $at (0, 4096) {
			next unless substr($s, $at, 8) eq "PAYLDFS1";
			substr($s, $at + 12, 2) = pack("v", 2);
			my $crc = 0xffffffff;
			for my $c (unpack("C*", substr($s, $at + 12, 244))) {
				$crc ^= $c;
				$crc = $crc & 1 ? ($crc >> 1) ^ 0x82f63b78 : $crc >> 1 for 1 .. 8;
			}
			substr($s, $at + 8, 4) = pack("V", $crc ^ 0xffffffff);
		}
		seek($f, 0, 0); print $f $s;' newer/superblock
	cp -a "$S" damaged
	flip damaged/superblock 70
	flip damaged/superblock 4166
	before=$(fingerprint newer; fingerprint damaged)
	for command in "get X 1" "put X 1 /dev/null" "rm X 1" "stat X" "check X" "sync X" "export X" "import -q X /dev/null"; do
		# shellcheck disable=SC2086 # words
		fails 6 newer payloadctl ${command/X/newer}
		# shellcheck disable=SC2086
		fails 5 damaged payloadctl ${command/X/damaged}
	done
	[[ $(fingerprint newer; fingerprint damaged) == "$before" ]]
}

@test "damage costs only the documents that it hit: check names them, the others stay readable" {
	local place
	payloadctl create "$S"
	documents 200 | payloadctl import -q "$S"
	payloadctl export -q --sort "$S" >before
	run -0 payloadctl check "$S"
	[[ $output == "checked 200 documents"*": no faults" ]]
	place=$(payloadctl stat --json "$S" 77 | jq '.[0].offset + .[0].packed / 2 | floor')
	flip "$S/page-00000001" "$place"
	run -1 --separate-stderr payloadctl check "$S"
	[[ $output == *"page-00000001 at byte "*"document 77: "*"1 document damaged"* ]]
	run -1 --separate-stderr payloadctl check --json "$S"
	jq -e '.faults >= 1 and .damaged == 1 and .documents == 200 and
		(.findings | map(select(.fault)) | all(.id == 77 and .file == "page-00000001"))' <<<"$output"
	run -1 --separate-stderr payloadctl get "$S" 77
	[[ -z $output && $stderr == *"77: damaged"* ]]
	run -1 --separate-stderr payloadctl export -q --sort "$S"
	[[ $stderr == *"77: damaged"* ]]
	diff <(printf '%s\n' "$output") <(grep -v '^{"id":77,' before)
	[[ $(payloadctl check -q "$S" | wc -l) -ge 1 ]]
}

@test "sync and umount on a directory" {
	payloadctl create "$S"
	run -0 --separate-stderr payloadctl sync "$S"
	[[ -z $output && -z $stderr ]]
	fails 8 "not mounted" payloadctl umount "$S"
}

@test "output that can't be written is reported; a reader that goes away is not" {
	payloadctl create "$S"
	documents 3000 | payloadctl import -q "$S"
	head -c 3000000 /dev/zero | payloadctl put "$S" 5000
	run -7 --separate-stderr bash -c "payloadctl get '$S' 5000 >/dev/full"
	[[ $stderr == "payloadctl: standard output: No space left on device" ]]
	run -7 --separate-stderr bash -c "payloadctl export -q '$S' >/dev/full"
	[[ $stderr == "payloadctl: standard output: No space left on device" ]]
	run -7 --separate-stderr bash -c "payloadctl stat '$S' >/dev/full"
	run -0 --separate-stderr bash -c "set -o pipefail; payloadctl export -q '$S' | head -n 1"
	[[ $output == '{"id":'* && -z $stderr ]]
	run -0 --separate-stderr bash -c "set -o pipefail; payloadctl get '$S' 5000 | head -c 1 | wc -c"
	[[ $output == 1 && -z $stderr ]]
}

@test "standard input, output and error that are closed: no file takes their place, and output is not lost in silence" {
	local closed
	printf '{"id":1,"payload":1}\n{"id":x}\n{"id":3,"payload":3}\n' >in
	for closed in '2>&-' '>&- 2>&-' '<&- >&- 2>&-'; do
		payloadctl create "$S"
		run -1 bash -c "exec $closed; payloadctl import '$S' in"
		run -1 bash -c "exec $closed; payloadctl rm '$S' 7 8 9"
		payloadctl check -q "$S"
		[[ ! -s $S/lock ]]
		not_there=$(find "$S" -type f -exec grep -la payloadctl: {} +) || true
		[[ -z $not_there ]] || fail "$closed: messages in $not_there"
		[[ $(payloadctl export -q "$S") == '{"id":1,"payload":1}'$'\n''{"id":3,"payload":3}' ]]
		fails 7 "standard output: Bad file descriptor" bash -c "payloadctl export -q '$S' >&-"
		fails 7 "standard input: Bad file descriptor" bash -c "payloadctl import -q '$S' <&-"
		rm -r "$S"
	done
}
