#!/usr/bin/env bats
# payloadctl on live mounts: through the mount point and through the store's directory, with the kernel's caches warm.
# shellcheck disable=SC2030,SC2031,SC2154 # bats runs each test in its own shell, and sets variables of its own
load ../mount/lib

# ctl ARG...: payloadctl, which can't hang the test: watch_over ends it.
ctl() { payloadctl "$@"; }

documents() {
	perl -e 'for my $i ($ARGV[0] .. $ARGV[1]) {
		printf qq({"id":%d,"payload":{"n":%d,"text":"%s"}}\n), $i, $i, $ARGV[2] x ($i % 40 + 1);
	}' "$@"
}

@test "every command works on the mount point and on the directory of a mounted store" {
	local target
	for target in "$M" "$S"; do
		documents 1 500 a >"$T/in"
		ctl import -q "$target" "$T/in"
		cmp "$T/in" <(ctl export -q --sort "$target")
		cmp <(sort "$T/in") <(ctl export -q "$target" | sort)
		[[ $(ctl get "$target" 7) == $(<"$M/7") ]]
		printf hello | ctl put "$target" 1000
		[[ $(<"$M/1000") == hello ]]
		printf scratch >"$M/note~"
		[[ $(ctl get "$target" note~) == scratch ]]
		ctl sync "$target"
		[[ $(ctl stat --json "$target" | jq -c '[.points,.scratch,.mountpoint]') == "[501,1,\"$M\"]" ]]
		[[ $(ctl stat "$target") == *"mounted at $M by process "* ]]
		[[ $(ctl map --json "$target" | jq -c '[.points,.mountpoint]') == "[501,\"$M\"]" ]]
		[[ $(ctl map "$target") == *"mounted at $M"* ]]
		[[ $(ctl stat --json "$target" 7 1000 | jq -c 'map([.id, .size])') == "[[7,$(stat -c %s "$M/7")],[1000,5]]" ]]
		run -1 ctl stat "$target" 4711
		ctl rm "$target" 1000 note~
		[[ ! -e $M/1000 && ! -e $M/note~ ]]
		fails 1 "1000: no such document" ctl rm "$target" 1000
		fails 1 "1000: no such document" ctl get "$target" 1000
		run -0 ctl check "$target"
		[[ $output == "checked 500 documents"*"no faults" ]]
		run ctl create "$target"
		((status == 3 || status == 4))
	done
	ctl umount "$S"
	[[ $(ctl stat --json "$S" | jq -c '[.points,.mountpoint]') == '[500,null]' ]]
	mount_fs
}

# shows QUERY: what jq says of the map that the daemon gives.
shows() { ctl map --json "$M" | jq -e "$1" >/dev/null; }

@test "map shows a live store's pages: dead ones, whose turn would come, and those that a snapshot needs" {
	documents 1 4000 abc >"$T/in"
	ctl import -q "$M" "$T/in"
	ctl sync "$M"
	wait_for 60 shows '(.pages | length) >= 1 and all(.pages[]; .live_bytes > 0)'
	# Less than what starts a compaction, more than a tenth.
	ctl rm "$M" $(seq 1 1500)
	wait_for 60 shows '.due == false and .pages[0].next == 1 and .pages[0].dead_bytes > 20000 and .dead_max > .dead_bytes'
	# A reader that stands still keeps its snapshot.
	mkfifo "$T/fifo"
	ctl export -q "$M" >"$T/fifo" 3>&- &
	local exporter=$!
	exec 7<"$T/fifo"
	read -r _ <&7
	ctl rm "$M" $(seq 2000 2200)
	wait_for 60 shows '.pinned_bytes > 5000 and .pages[0].pinned_bytes == .pinned_bytes' || fail "$(ctl map --json "$M")"
	exec 7<&-
	wait "$exporter"
	wait_for 60 shows '.pinned_bytes == 0'
}

@test "train works on a live mount; dict=off reads, and packs without" {
	local long='"maintainer":"Debian Example Maintainers <maintainers@example.org>","homepage":"https://example.org/"'
	perl -e 'for my $i (1 .. 600) {
		printf qq({"id":%d,"payload":{"package":"lib%d",%s}}\n), $i, $i, $ARGV[0];
	}' "$long" >"$T/in"
	ctl import -q "$M" "$T/in"
	[[ $(ctl train --json "$M" | jq .dictionary) == 1 ]]
	ctl import -q "$M" "$T/in"
	[[ $(ctl stat --json "$M" 5 | jq '.[0].dictionary') == 1 ]]
	unmount_fs
	mount_fs -o dict=off
	[[ $(<"$M/5") == "{\"package\":\"lib5\",$long}" ]]
	printf '{"package":"lib6",%s} ' "$long" >"$M/6"
	ctl sync "$M"
	[[ $(ctl stat --json "$M" 6 7 | jq -c 'map(.dictionary)') == '[0,1]' ]]
	[[ $(ctl stat "$M") == *"off: new documents are packed without dictionary"* ]]
	fails 1 "dictionaries are off for this mount" ctl train "$M"
	fails 2 "mounted with dict=off" ctl import -q --dict=auto "$M" "$T/in"
	ctl import -q --dict=off "$M" "$T/in"
	[[ $(ctl stat --json "$M" 6 7 | jq -c 'map(.dictionary)') == '[0,0]' ]]
	unmount_fs
	run -2 payloadfs -o dict=maybe "$S" "$M"
	[[ $output == *"auto or off is expected"* ]]
	mount_fs
	run -0 ctl check "$M"
	fails 2 "mounted with dict=auto" ctl import -q --dict=off "$M" "$T/in"
}

# similar FROM TO: records with much in common, of some 300 bytes.
similar() {
	perl -e 'for my $i ($ARGV[0] .. $ARGV[1]) {
		printf qq({"id":%d,"payload":{"package":"lib%d","section":"libs","priority":"optional",), $i, $i;
		printf qq("maintainer":"Debian Example Maintainers <maintainers\@example.org>","size":%d,), $i * 7919;
		printf qq("homepage":"https://example.org/","depends":["libc6","libgcc-s1","libstdc++6"],);
		printf qq("description":"a library that stands for others, with the number %d"}}\n), $i;
	}' "$@"
}

@test "an import into a live mount packs with a dictionary from its first document on" {
	similar 1 5000 >"$T/in"
	ctl import -q "$M" "$T/in"
	[[ $(ctl stat --json "$M" | jq -c '[.dictionaries,.dictionary_users]') == '[1,5000]' ]]
	[[ $(ctl stat --json "$M" 1 2 5000 | jq -c 'map(.dictionary)') == '[1,1,1]' ]]
	cmp "$T/in" <(ctl export -q --sort "$M")
	[[ $(<"$M/77") == "$(jq -c 'select(.id == 77).payload' "$T/in")" ]]
	run -0 ctl check "$M"
}

@test "a store that a mount made with dict=off has none at later mounts, but while one says dict=auto" {
	similar 1 3000 >"$T/in"
	unmount_fs
	rm -rf "$S"
	mount_fs -o dict=off
	ctl import -q "$M" "$T/in"
	unmount_fs
	mount_fs
	ctl import -q "$M" "$T/in"
	[[ $(ctl stat --json "$M" | jq -c '[.dictionaries,.dictionary_off]') == '[0,true]' ]]
	fails 1 "dictionaries are off" ctl train "$S"
	unmount_fs
	mount_fs -o dict=auto
	ctl import -q "$M" "$T/in"
	[[ $(ctl stat --json "$M" | jq -c '[.dictionary_users,.dictionary_off]') == '[3000,false]' ]]
	unmount_fs
	mount_fs
	printf '%s' "$(jq -c 'select(.id == 5).payload' "$T/in") " >"$M/5"
	ctl sync "$M"
	[[ $(ctl stat --json "$M" 5 6 | jq -c 'map(.dictionary)') == '[0,1]' ]]
}

@test "documents of an import that makes a pause are stored meanwhile, in their order" {
	mkfifo "$T/fifo"
	local pid
	ctl import -q "$M" "$T/fifo" 3>&- &
	pid=$!
	exec 8>"$T/fifo"
	similar 1 20 >&8
	wait_for 30 test -s "$M/20"
	[[ $(ctl stat --json "$M" | jq -c '[.points,.dictionaries]') == '[20,0]' ]]
	printf '{"id":7,"payload":"again"}\n' >&8
	wait_for 30 grep -q again "$M/7"
	# With what came before it is enough.
	similar 21 1500 >&8
	wait_for 30 test -s "$M/1500"
	similar 1501 1510 >&8
	printf '{"id":8,"payload":"again"}\n' >&8
	exec 8>&-
	wait "$pid"
	[[ $(<"$M/7") == '"again"' && $(<"$M/8") == '"again"' ]]
	[[ $(ctl stat --json "$M" | jq -c '[.points,.dictionary]') == '[1510,1]' ]]
	[[ $(ctl stat --json "$M" 20 21 1500 1510 | jq -c 'map(.dictionary)') == '[0,1,1,1]' ]]
}

@test "create refuses a mount point, also an empty one, and leaves it empty" {
	fails 3 "$M: the store $S is mounted there" ctl create "$M"
	[[ -z $(ls -A "$M") ]]
	run ctl create "$M/1"
	((status != 0))
	[[ -z $(ls -A "$M") ]]
}

@test "what is put and removed is seen at once, whatever the kernel had cached" {
	local i
	for i in 1 2 3; do
		run -1 stat "$M/77"
		[[ $(ls "$M") == "" ]]
		printf 'version %s' "$i" | ctl put "$M" 77
		[[ $(cat "$M/77") == "version $i" && $(ls "$M") == 77 && $(stat -c %s "$M/77") == 9 ]]
		printf 'a longer version %s' "$i" | ctl put "$S" 77
		[[ $(cat "$M/77") == "a longer version $i" && $(stat -c %s "$M/77") == 18 ]]
		: | ctl put "$M" 77
		[[ -e $M/77 && ! -s $M/77 ]]
		ctl rm "$M" 77
	done
}

@test "what was written through the mount is there for payloadctl, and the other way round" {
	local i first ids
	# Right after ten were written, all ten; after the first of them, this one alone.
	for first in {1..191..10}; do
		mapfile -t ids < <(seq "$first" $((first + 9)))
		for i in "${ids[@]}"; do
			printf 'from the mount %s' "$i" >"$M/$i"
			((i > first)) || [[ $(ctl get "$M" "$i") == "from the mount $i" ]]
		done
		[[ $(ctl get "$M" "${ids[@]}") == "$(printf 'from the mount %s\n' "${ids[@]}")" ]]
	done
	documents 1 200 b >"$T/in"
	ctl import -q "$M" "$T/in"
	for i in 1 77 200; do
		cmp "$M/$i" <(ctl get "$M" "$i")
	done
	ctl get "$M" {1..200} >"$T/got"
	file_lines "$M" {1..200} | cmp - "$T/got"
	sed 's/.*"payload":\(.*\)}$/\1/' "$T/in" | cmp - "$T/got"
	# An open descriptor keeps the old document.
	exec 7<"$M/5"
	printf new | ctl put "$M" 5
	[[ $(cat <&7) == *'"n":5,'* && $(<"$M/5") == new ]]
	exec 7<&-
}

@test "an import over cached documents replaces every one of them" {
	local n=3000
	documents 1 $n a | ctl import -q "$M"
	cat "$M"/* | md5sum >"$T/before"
	ls -l "$M" >/dev/null
	documents 1 $((n + 50)) bb >"$T/in"
	ctl import -q "$M" "$T/in"
	[[ $(find "$M" -type f | wc -l) == $((n + 50)) ]]
	# shellcheck disable=SC2046 # a list of numbers
	file_lines "$M" $(seq $((n + 50))) | awk '{ printf "{\"id\":%d,\"payload\":%s}\n", NR, $0 }' | cmp - "$T/in"
}

@test "mode and owner of a document survive a put; mtime is now" {
	echo old >"$M/1"
	chmod 640 "$M/1"
	chown 12:34 "$M/1"
	touch -d '2001-01-01' "$M/1"
	echo new | ctl put "$M" 1
	[[ $(stat -c '%a %u %g' "$M/1") == '640 12 34' && $(<"$M/1") == new ]]
	(($(stat -c %Y "$M/1") > 1700000000))
	[[ $(ctl stat --json "$S" 1 | jq -c '.[0]|[.mode,.uid,.gid]') == '["0640",12,34]' ]]
}

@test "large documents go through the socket in both directions, beside small ones" {
	noise 8000000 >"$T/noise"
	text 12000000 >"$T/text"
	ctl put "$M" 1 "$T/noise"
	ctl put "$M" 2 <"$T/text"
	documents 10 20 x | ctl import -q "$M"
	cmp "$M/1" "$T/noise"
	ctl get "$M" 1 | cmp - "$T/noise"
	ctl get "$S" 2 | cmp - "$T/text"
	ctl export -q "$M" >"$T/out"
	[[ $(wc -l <"$T/out") == 13 ]]
	ctl import -q "$T/copy" "$T/out"
	ctl get "$T/copy" 1 | cmp - "$T/noise"
	ctl rm "$M" 1 2
	ctl import -q "$M" "$T/out"
	cmp "$M/2" "$T/text"
	ctl export -q --sort "$M" | cmp - <(ctl export -q --sort "$T/copy")
}

@test "bad lines of an import are named; documents that come slowly are stored as they come" {
	printf '{"id":1,"payload":1}\noops\n{"id":2,"payload":2}\n{"id":"x","payload":3}' >"$T/in"
	run -1 --separate-stderr ctl import "$M" "$T/in"
	[[ $stderr == *"in: line 2: column 1: "*"in: line 4: id \"x\" is not"*"imported 2 documents"*"refused 2" ]]
	mkfifo "$T/fifo"
	ctl import -q "$M" "$T/fifo" 3>&- &
	exec 8>"$T/fifo"
	echo '{"id":10,"payload":"first"}' >&8
	wait_for 30 test -e "$M/10"
	echo '{"id":11,"payload":"second"}' >&8
	wait_for 30 test -e "$M/11"
	exec 8>&-
	wait $!
	[[ $(<"$M/10")$(<"$M/11") == '"first""second"' ]]
}

@test "a path below the mount is no target; links, relative paths and odd names of the mount point are" {
	echo x >"$M/1"
	run -3 ctl stat "$M/1"
	run -3 ctl stat "$M/2"
	run -3 ctl get "$M/.payloadfs" 1
	ln -s "$M" "$T/link"
	[[ $(ctl get "$T/link" 1) == x && $(ctl get "$M/" 1) == x && $(ctl get "$T//./mnt/../mnt" 1) == x ]]
	(cd "$T" && [[ $(ctl get mnt 1) == x ]])
	(cd "$M" && [[ $(ctl get . 1) == x ]])
	unmount_fs
	S="$T/my store" M=$T/$'a mount\\040 with\ttab'
	mkdir "$M"
	mount_fs
	echo y >"$M/1"
	[[ $(ctl get "$M" 1) == y && $(ctl get "$S" 1) == y && $(ctl stat --json "$M" | jq -r .store) == "$S" ]]
	ctl umount "$M"
}

@test "the store's path may be longer than a socket's address" {
	unmount_fs
	S=$T/$(printf 'd%.0s' {1..200})/$(printf 'e%.0s' {1..200})
	mkdir -p "${S%/*}"
	mount_fs
	echo x | ctl put "$M" 1
	[[ $(ctl get "$S" 1) == x ]]
	ctl umount "$S"
	[[ $(ctl get "$S" 1) == x ]]
}

@test "umount returns when the daemon has ended; a mount that is in use stays" {
	echo x >"$M/1"
	exec 7<"$M/1"
	fails 9 "$M" ctl umount "$M"
	[[ $(<"$M/1") == x && $(ctl get "$M" 1) == x ]]
	exec 7<&-
	run -0 --separate-stderr ctl umount "$M"
	[[ -z $output && -z $stderr && ! -e $S/socket ]]
	no_daemon
	[[ $(ctl get --wait=0 "$S" 1) == x ]]
	printf y | ctl put --wait=0 "$S" 1
	fails 8 "not mounted" ctl umount "$S"
	fails 8 "not mounted" ctl umount "$M"
	mount_fs
	[[ $(<"$M/1") == y ]]
}

@test "of a mount whose daemon was killed, documents are read; changes are refused with exit code 8" {
	echo x >"$M/1"
	sync "$M/1"
	kill_daemon
	fails 8 "no daemon answers for this mount" ctl put "$M" 1 /dev/null
	fails 8 "no daemon answers for this mount" ctl umount "$M"
	[[ $(ctl get "$M" 1) == x && $(ctl get "$M/" 1) == x && $(cd "$T" && ctl get mnt/ 1) == x ]]
	[[ $(ctl get "$S" 1) == x ]]
	printf y | ctl put "$S" 1
	mount_fs
	[[ $(<"$M/1") == y && $(ctl get "$M" 1) == y ]]
}

@test "a read-only mount is read, and refuses changes with exit code 7" {
	echo x >"$M/1"
	remount -o ro
	local target
	for target in "$M" "$S"; do
		[[ $(ctl get "$target" 1) == x ]]
		[[ $(ctl export -q "$target") == '{"id":1,"payload_base64":"eAo="}' ]]
		fails 7 "read-only" ctl put "$target" 1 /dev/null
		fails 7 "read-only" ctl rm "$target" 1
		run -7 ctl import -q "$target" <<<'{"id":2,"payload":1}'
		run -0 ctl check "$target"
	done
	ctl umount "$M"
	no_daemon
}

@test "the socket is for the daemon's user and root" {
	[[ $(stat -c '%a %F' "$S/socket") == '600 socket' ]]
	install -m 755 "$build/payloadctl" "$T/payloadctl"
	chmod 755 "$T" "$S"
	fails 8 "no permission" timeout 60 setpriv --reuid=65534 --regid=65534 --clear-groups "$T/payloadctl" stat "$M"
	chmod 666 "$S/socket"
	fails 8 "only root" timeout 60 setpriv --reuid=65534 --regid=65534 --clear-groups "$T/payloadctl" stat "$M"
	[[ $(ctl stat --json "$M" | jq .points) == 0 ]]
}

@test "a peer that sends rubbish loses its connection, the daemon goes on" {
	local bytes
	for bytes in 'rubbish of more than sixteen bytes' 'PFSW\x01\x00\x01\x00\xff\xff\xff\xff\x00\x00\x00\x00' \
		'PFSW\x01\x00\x0b\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x02\x03\x04' 'PFSW'; do
		# shellcheck disable=SC2059 # escapes are meant
		printf "$bytes" | timeout 60 perl -MSocket -e 'socket(my $s, AF_UNIX, SOCK_STREAM, 0);
			connect($s, sockaddr_un($ARGV[0])) or die; local $/; my $in = <STDIN>; $SIG{PIPE} = "IGNORE";
			syswrite($s, $in); shutdown($s, 1); my $answer = <$s>;' "$S/socket"
	done
	echo x >"$M/1"
	[[ $(ctl get "$M" 1) == x ]]
}

@test "clients work at the same time: imports, exports, puts, checks beside writers on the mount" {
	local i
	documents 1 2000 a | ctl import -q "$M"
	documents 5001 9000 b >"$T/in"
	ctl import -q "$M" "$T/in" 3>&- &
	for i in 1 2 3; do
		ctl export -q "$M" 3>&- | jq -es 'map(.id) | length == (unique | length)' >/dev/null &
	done
	for i in {1..100}; do
		((i % 2)) || printf 'put %s' "$i" | ctl put "$M" $((3000 + i))
		printf 'file %s' "$i" >"$M/$((4000 + i))"
	done
	ctl check "$M" >/dev/null
	for i in 1 2 3 4; do
		wait -n
	done
	[[ $(find "$M" -type f | wc -l) == 6150 && $(<"$M/3050") == "put 50" && $(<"$M/4050") == "file 50" ]]
	ctl umount "$M"
	run -0 ctl check "$S"
	[[ $output == "checked 6,150 documents"*"no faults" ]]
}

@test "a mounted store is not repaired: it says to unmount it first" {
	documents 1 20 a | ctl import -q "$M"
	fails 4 "unmount it first" ctl check --repair "$M"
	fails 4 "unmount it first" ctl check --repair "$S"
	ctl umount "$M"
	run -0 ctl check --repair "$S"
	[[ $output == "nothing to repair: 20 documents, no faults" ]]
}

@test "a live store is compacted under readers and writers, who notice nothing" {
	local i before now
	documents 1 9000 abcdefgh >"$T/in"
	ctl import -q "$M" "$T/in"
	seq 1 9000 | awk '$1 % 4' | xargs payloadctl rm -q "$M"
	before=$(ctl export -q "$M" | sort | sha256sum)
	(for i in {1..200}; do printf 'file %s' "$i" >"$M/$((20000 + i))" || exit 1; done) 3>&- &
	(file_lines "$M" {4..2000..4} >"$T/read") 3>&- &
	ctl compact "$M" >"$T/out"
	[[ $(<"$T/out") == "moved "*" take "* ]]
	wait -n
	wait -n
	sed -n 's/^{"id":[0-9]*,"payload":\(.*\)}$/\1/p' "$T/in" | awk 'NR <= 2000 && NR % 4 == 0' | cmp - "$T/read"
	now=$(seq 20001 20200 | xargs payloadctl rm -q "$S" && ctl export -q "$M" | sort | sha256sum)
	[[ $now == "$before" ]]
	[[ $(stat -c %s "$M/4000") == $(ctl stat --json "$M" 4000 | jq '.[0].size') ]]
	run -0 ctl check "$M"
	[[ $output == *"no faults" ]]
	ctl umount "$M"
	run -0 ctl check "$S"
	[[ $output == *"no faults" ]]
}
