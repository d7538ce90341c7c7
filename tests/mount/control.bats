# The control directory: .payloadfs in the mount. What it shows, what it does, and that nobody meets it.
# shellcheck disable=SC2154 # set by lib and run

load lib

# documents FIRST LAST: records of some 100 bytes.
documents() {
	awk -v from="$1" -v to="$2" 'BEGIN {
		for (i = from; i <= to; i++)
			printf "{\"id\":%d,\"payload\":{\"n\":%d,\"city\":\"%s\",\"text\":\"word%d word%d\"}}\n",
				i, i, i % 10 ? "Berlin" : "Bonn", i, i * 7
	}'
}

stats() { jq -e "$1" "$C/stats.json"; }
no_snapshots() { [[ $(stat_of snapshots) == 0 ]]; }
logged() { grep -qF "$1" "$LOG"; }

setup() {
	setup_dirs
	C=$M/.payloadfs
	# In the foreground: its messages are in $LOG.
	payloadfs -f "$S" "$M" >>"$LOG" 2>&1 3>&- &
	wait_for 60 answers
}

@test "it answers when it is named, and no listing, walk, archive, copy or glob meets it" {
	echo '{"a":1}' >"$M/42"
	echo x >"$M/.hidden"
	[[ -d $C ]]
	cat "$C/stats.json" "$C/points.ndjson" >/dev/null
	[[ $(ls -a "$M" | xargs) == ". .. .hidden 42" ]]
	[[ $(find "$M" -mindepth 1 -printf '%P\n' | sort | xargs) == ".hidden 42" ]]
	[[ $(tar c -C "$M" . | tar t | sort | xargs) == "./ ./.hidden ./42" ]]
	[[ $(grep -rl . "$M" | wc -l) == 2 ]]
	cp -r "$M/." "$W"
	[[ $(ls -A "$W" | xargs) == ".hidden 42" ]]
	(cd "$M" && shopt -s dotglob && rm -rf -- *)
	[[ -d $C && $(ls -A "$M") == "" ]]
	[[ $(ls -A "$C" | xargs) == "compact import points.ndjson stats.json sync train" ]]
	[[ $(find "$C" -type f | wc -l) == 6 ]]
}

@test "nothing is made, removed or moved in it, nor is it, and no document takes its name" {
	echo '{"a":1}' >"$M/42"
	refused "not permitted" touch "$C/new"
	refused "not permitted" mkdir "$C/new"
	refused "not permitted" ln -s x "$C/new"
	refused "not permitted" ln "$M/42" "$C/new"
	refused "not permitted" mv "$M/42" "$C/new"
	refused "not permitted" mv "$M/42" "$C/import"
	refused "not permitted" mv "$C/import" "$M/43"
	refused "not permitted" mv "$C" "$M/43"
	refused "not permitted" rm -f "$C/sync"
	refused "not permitted" rmdir "$C"
	refused "not permitted" rm -r "$C"
	refused "not permitted" chmod 777 "$C"
	refused "not permitted" chmod 777 "$C/points.ndjson"
	refused "exists" mkdir "$C"
	refused "not permitted" truncate -s 0 "$C/stats.json"
	not cp "$M/42" "$T/none/" 2>/dev/null
	[[ $(cat "$M/42") == '{"a":1}' ]]
	[[ $(ls -A "$C" | wc -l) == 6 ]]
	[[ $(stat -c %F "$C") == directory ]]
}

@test "modes, owners, sizes and times are sensible" {
	[[ $(stat -c '%a %F' "$C") == "555 directory" ]]
	[[ $(stat -c '%a' "$C"/{stats.json,points.ndjson,import,compact,sync,train} | xargs) == "444 400 200 644 644 644" ]]
	[[ $(stat -c '%u:%g' "$C/stats.json") == "$(stat -c '%u:%g' "$M")" ]]
	chown 1234:2345 "$M"
	[[ $(stat -c '%u:%g' "$C/points.ndjson") == 1234:2345 ]]
	[[ $(stat -c %s "$C/import") == 0 ]]
	[[ $(stat -c %s "$C/compact") == 5 ]] # idle
	(($(stat -c %Y "$C/stats.json") >= $(date +%s) - 60))
	(($(stat -c %Y "$C/import") >= $(date +%s) - 600))
}

@test "points.ndjson is what export writes, from the front, the end and the middle" {
	local size half
	documents 1 5000 | ctl import -q "$M"
	ctl rm "$M" 4000 4001
	printf '{"b":\n2}' >"$M/17"
	printf '\xff\xfe' >"$M/18"
	echo scratch >"$M/.scratch"
	{ printf '"'; text 300000 | tr '\n' ' '; printf '"'; } >"$M/6000"
	noise 200000 >"$M/6001"
	ctl put "$M" c0ffee00-0000-4000-8000-000000000001 <<<'{"uuid":true}'
	ctl export -q "$M" >"$T/all"
	cmp "$T/all" "$C/points.ndjson"
	size=$(stat -c %s "$T/all") half=$((size / 2))
	[[ $(stat -c %s "$C/points.ndjson") == "$size" ]]
	[[ $(wc -l <"$C/points.ndjson") == $(wc -l <"$T/all") ]]
	cmp <(head -n 3 "$C/points.ndjson") <(head -n 3 "$T/all")
	cmp <(tail -n 1 "$C/points.ndjson") <(tail -n 1 "$T/all")
	cmp <(tail -c 100001 "$C/points.ndjson") <(tail -c 100001 "$T/all")
	cmp <(dd if="$C/points.ndjson" bs=1 skip=$half count=777 status=none) \
		<(dd if="$T/all" bs=1 skip=$half count=777 status=none)
	cmp <(tac "$C/points.ndjson") <(tac "$T/all")
	[[ $(jq -c 'select(.payload.city? == "Bonn") | .id' "$C/points.ndjson" | wc -l) == 499 ]] # 4000 is gone
	[[ $(jq -r 'select(.id == 18).payload_base64' "$C/points.ndjson" | base64 -d | xxd -p) == fffe ]]
	cp "$C/points.ndjson" "$T/copy"
	cmp "$T/all" "$T/copy"
	# What is exported comes back.
	mkdir "$T/second"
	ctl import -q "$T/second/store" "$T/copy"
	cmp <(ctl export -q --sort "$T/second/store") <(ctl export -q --sort "$M")
}

@test "a reader keeps its moment while others write, and the next open has the next one" {
	documents 1 3000 | ctl import -q "$M"
	ctl export -q "$M" >"$T/first"
	exec 8<"$C/points.ndjson"
	head -c 1000 <&8 >"$T/got"
	documents 2000 4000 | sed 's/Berlin/Hamburg/' | ctl import -q "$M"
	rm "$M/1" "$M/2999"
	echo '{"now":1}' >"$M/500"
	ctl export -q "$M" >"$T/second"
	exec 9<"$C/points.ndjson"
	rm "$M/500"
	head -c 1000000000 <&8 >>"$T/got"
	cmp "$T/first" "$T/got"
	[[ $(stat_of snapshots) == 2 ]]
	cmp "$T/second" /dev/fd/9
	exec 8<&- 9<&-
	wait_for 30 no_snapshots
	cmp <(ctl export -q "$M") "$C/points.ndjson"
}

@test "it shows what was written before it was opened, each time, and lets go of its snapshot at once" {
	local i line
	for i in {1..50}; do
		printf '{"round":%d}' "$i" >"$M/7"
		read -r -d '' line <"$C/points.ndjson" || true
		[[ $line == '{"id":7,"payload":{"round":'"$i"'}}' ]]
	done
	stat "$C/points.ndjson" >/dev/null
	ls -l "$C" >/dev/null
	wait_for 30 no_snapshots
	[[ $(stat_of pinned_bytes) == 0 ]]
}

@test "an unchanged store is not gone through again" {
	local before
	documents 1 2000 | ctl import -q "$M"
	cat "$C/points.ndjson" >/dev/null
	wait_for 30 no_snapshots
	before=$(stat_of blocks_decoded)
	exec 8<"$C/points.ndjson"
	exec 9<"$C/points.ndjson"
	[[ $(stat_of snapshots) == 1 ]]
	[[ $(stat -L -c %s /dev/fd/8) == $(stat -L -c %s /dev/fd/9) ]]
	(($(stat_of blocks_decoded) == before))
	exec 8<&- 9<&-
}

@test "stats.json tells what payloadctl stat tells, and counts and times requests" {
	local key before differing
	documents 1 100 | ctl import -q "$M"
	echo x >"$M/.scratch"
	ctl sync "$M"
	ctl stat --json "$M" >"$T/stat"
	cp "$C/stats.json" "$T/stats"
	jq -e . "$T/stats" >/dev/null
	[[ $(wc -l <"$T/stats") == 1 ]]
	[[ $(stat -c %s "$T/stats") == $(wc -c <"$T/stats") ]]
	# shellcheck disable=SC2016 # of jq
	differing=$(jq -c --slurpfile b "$T/stats" '[("points", "scratch", "raw_bytes", "container_bytes", "pages", "page_size",
		"sequence", "defaults", "dictionary", "snapshots", "doubt") as $key | select(has($key) and .[$key] == $b[0][$key] | not) |
		$key]' "$T/stat")
	[[ $differing == '[]' ]] || fail "differ: $differing"
	# Each member of the one is in the other, but for where the store is.
	[[ $(jq -c --slurpfile b "$T/stats" '(keys - ($b[0] | keys))' "$T/stat") == '["mountpoint","store"]' ]]
	[[ $(stats '.schema, .points, .scratch' | xargs) == "1 100 1" ]]
	(($(stats .uptime_ns) > 0))
	[[ $(stats .pid) == "$(daemon_pids)" ]]
	before=$(stats .operations.write.count)
	for key in {1..20}; do echo "$key" >"$M/$key"; done
	[[ $(($(stats .operations.write.count) - before)) == 20 ]]
	stats '.operations[] | select(.count > 0) |
		.p50_ns > 0 and .p50_ns <= .p99_ns and .p99_ns <= .p999_ns and .p999_ns <= .max_ns and
		.total_ns >= .max_ns and .total_ns <= .max_ns * .count' | sort -u | grep -qx true
	not grep -x false <(stats '.operations[] | .p50_ns <= .max_ns')
	rm "$M/1"
	mv "$M/2" "$M/1"
	dd of="$M/3" conv=fsync status=none <<<x
	stats '.operations | .unlink.count > 0 and .rename.count > 0 and .fsync.count > 0 and .lookup.count > 0 and
		.setattr.count > 0 and .mknod.count > 0 and .control.count > 0'
}

@test "a damaged point is told in its line, what is around it can be read, and no import takes it" {
	local page offset packed
	documents 1 200 | ctl import -q "$M"
	ctl umount "$M"
	wait_for 60 no_daemon
	read -r page offset packed < <(ctl stat --json "$S" 100 | jq -r '.[0] | "\(.page) \(.offset) \(.packed)"')
	printf '\xa5\x5a\xa5' | dd of="$S/$(printf 'page-%08x' "$page")" bs=1 seek=$((offset + packed / 2)) conv=notrunc status=none
	payloadfs -f "$S" "$M" >>"$LOG" 2>&1 3>&- &
	wait_for 60 answers
	cp "$C/points.ndjson" "$T/stream"
	[[ $(wc -l <"$T/stream") == 200 ]]
	[[ $(grep -v payload "$T/stream") == '{"id":100,"error":"damaged"}' ]]
	cmp <(grep -v error "$T/stream") <(documents 1 200 | grep -v '^{"id":100,')
	logged 'points.ndjson: 100 is damaged'
	run -1 payloadctl import -q "$T/other" "$T/stream"
	[[ $output == *"stream"*"no payload"* ]]
}

@test "what is written to import is imported, whatever the pieces" {
	local i line
	documents 1 20000 >"$T/in"
	cat "$T/in" >"$C/import"
	[[ $(stat_of points) == 20000 ]]
	cmp <(ctl export -q --sort "$M") "$T/in"
	[[ $(jq .city "$M/10") == '"Bonn"' ]]
	# In small writes, appended; in writes that end inside lines; without a last newline.
	sed 's/Bonn/Ulm/' "$T/in" | dd of="$C/import" bs=777 oflag=append conv=notrunc status=none
	cmp <(ctl export -q --sort "$M") <(sed 's/Bonn/Ulm/' "$T/in")
	for i in {30000..30010}; do
		printf '{"id":%d,"payload":"no newline"}' "$i" >"$C/import"
		read -r -d '' line <"$M/$i" || true
		[[ $line == '"no newline"' ]]
	done
	printf '{"result":{"points":[{"id":40000,"payload":{"q":1}},\n{"id":40001,"payload":{"q":2}}]}}\n' >"$C/import"
	[[ $(cat "$M/4000"{0,1}) == '{"q":1}{"q":2}' ]]
	printf '{"id":40002,\n"payload_base64":"aGVsbG8="\n}\n\n' | tee "$C/import" >/dev/null
	[[ $(cat "$M/40002") == hello ]]
	[[ $(stats .import.refused) == 0 && $(stats .import.documents) == 40014 ]]
}

# Records that a dictionary makes smaller.
alike() {
	documents "$@" | sed 's/"text":"\(.*\)"/"text":"what all of them have in common: \1, and then: \1","more":"and again: \1, what else"/'
}

@test "import: a store without a dictionary gets one from the first documents, whatever the pieces" {
	local first last
	dictionary_of() { ctl stat --json "$M" "$1" | jq '.[0].dictionary'; }
	alike 1 20000 >"$T/in"
	cat "$T/in" >"$C/import"
	cmp <(ctl export -q --sort "$M") "$T/in"
	[[ $(dictionary_of 1) == 1 ]] || fail "$(ctl stat "$M" 1)"
	(($(stats .dictionary_users) > 19900))
	# In pieces that are too small for one: those that came first are packed without.
	unmount_fs
	S=$T/other
	mount_fs -o dict=auto
	python3 - "$T/in" "$C/import" <<-'END'
		import os, sys
		lines = open(sys.argv[1], "rb").readlines()
		fd = os.open(sys.argv[2], os.O_WRONLY)
		for i in range(0, len(lines), 200):
		    os.write(fd, b"".join(lines[i:i + 200]))
		    os.fsync(fd)
		os.close(fd)
	END
	cmp <(ctl export -q --sort "$M") "$T/in"
	first=$(dictionary_of 1) last=$(dictionary_of 20000)
	[[ $first == 0 ]] && ((last > 0)) || fail "$first, $last"
	(($(stats .dictionary_users) > 15000))
	# None where none may be; and bad lines among them are still named, and no others.
	unmount_fs
	S=$T/third
	mount_fs -o dict=off
	cat "$T/in" >"$C/import"
	[[ $(stats .dictionary) == 0 && $(stats .import.documents) == 20000 ]]
	unmount_fs
	S=$T/fourth
	mount_fs
	sed '1500s/payload/pailoat/; 7s/^/{/' "$T/in" >"$T/bad"
	run -1 dd if="$T/bad" of="$C/import" bs=1M conv=notrunc,fsync status=none
	stats '.import.refused == 2 and (.import.last_error | startswith("line 1500: ")) and .dictionary > 0'
	[[ $(stat_of points) == 19998 ]]
	cmp <(ctl export -q --sort "$M") <(sed '1500d; 7d' "$T/in")
}

@test "import: slowly, its pages written back in between, over what the kernel has cached" {
	echo '{"old":1}' >"$M/1"
	not cat "$M/2" 2>/dev/null
	cat "$M/1" >/dev/null
	exec 8>"$C/import"
	printf '{"id":1,"pay' >&8
	sync -f "$M"
	[[ $(cat "$M/1") == '{"old":1}' ]]
	printf 'load":{"new":1}}\n{"id":2,"payload":{"new":2}}\n{"id":3' >&8
	sync -f "$M"
	[[ $(cat "$M/1") == '{"new":1}' ]]
	[[ $(cat "$M/2") == '{"new":2}' ]]
	[[ $(ls "$M" | xargs) == "1 2" ]]
	printf ',"payload":3}\n' >&8
	documents 10 3000 >&8
	sync "$C" # fsync of the directory, which writes nothing back
	exec 8>&-
	[[ $(cat "$M/3") == 3 ]]
	[[ $(stat_of points) == 2994 ]]
	[[ $(stats .import.refused) == 0 ]]
}

@test "import: a bad line fails the write and is named; those before and behind it are there" {
	printf '{"id":1,"payload":1}\n{"id":007,"payload":2}\n{"id":3,"payload":3}\n{"payload":4}\n' >"$T/bad"
	refused "rror" cp --no-preserve=all "$T/bad" "$C/import"
	[[ $(cat "$M/1" "$M/3") == 13 ]]
	[[ $(ls "$M" | xargs) == "1 3" ]]
	logged '.payloadfs/import: line 2: '
	logged '.payloadfs/import: line 4: no id'
	[[ $(stats .import.refused) == 2 ]]
	[[ $(stats .import.last_error) == *"line 4: no id"* ]]
	refused "Invalid argument" dd if="$T/bad" of="$C/import" conv=notrunc,fsync status=none
}

@test "import: an end inside a record fails fsync, and is named when the file is closed" {
	printf '{"id":1,"payload":1}\n{"id":2,"pay' >"$T/cut"
	refused "Invalid argument" dd if="$T/cut" of="$C/import" conv=notrunc,fsync status=none
	cat "$T/cut" >"$C/import" || true
	wait_for 30 logged '.payloadfs/import: line 2: '
	[[ $(cat "$M/1") == 1 ]]
	[[ $(ls "$M") == 1 ]]
}

@test "import: a hole in what is written is refused, and keeps nobody waiting for good" {
	refused "Invalid argument" dd if=/dev/zero of="$C/import" bs=4096 seek=3 count=1 conv=notrunc,fsync status=none
	logged 'bytes 0 to 12288 were not written'
	echo '{"id":1,"payload":1}' >"$C/import"
	[[ $(cat "$M/1") == 1 ]]
}

@test "import: what was imported can't be written over or cut off" {
	exec 8<>"$C/import"
	printf '{"id":1,"payload":1}\n' >&8
	sync -f "$M"
	[[ $(cat "$M/1") == 1 ]]
	refused "Invalid argument" perl -e 'open F, ">&=", 8; truncate(F, 0) or die "$!\n"'
	perl -e 'open F, ">&=", 8; sysseek F, 0, 0; syswrite F, qq({"id":2,"payload":2}\n{"id":3,"payload":3}\n)'
	sync -f "$M" || true
	wait_for 30 logged 'bytes 0 to 21 were written once more, with others'
	exec 8>&-
	[[ $(ls "$M") == 1 ]]
}

@test "compact, sync, train: writing does it, reading tells it, an error comes back when it is opened" {
	local first before
	[[ $(cat "$C/sync") == idle ]]
	before=$(stat_of syncs)
	echo '{"a":1}' >"$M/1"
	echo 1 >"$C/sync"
	(($(stat_of syncs) > before))
	[[ $(stat_of 'sequence == .durable_sequence') == true ]]
	[[ $(cat "$C/sync") == idle*"done: everything is durable" ]]
	refused "No data" bash -c "echo 1 >$C/train"
	[[ $(cat "$C/train") == *"failed: too few points"* ]]
	documents 1 5000 | ctl import -q "$M"
	find "$M" -name '*[1-8]' -delete
	echo 1 >"$C/compact"
	first=$(cat "$C/compact")
	[[ $first == idle*"done: moved "*"documents"* ]]
	[[ $(stat_of moved_values) != 0 ]]
	echo 1 >"$C/compact"
	[[ $(tail -n 1 "$C/compact") == *"done: nothing to compact: 1 page, bytes on disk "+([0-9]) ]]
	# Appending empties nothing: then it is the write that does it.
	sleep 1.1
	echo 1 >>"$C/compact"
	[[ $(cat "$C/compact") != "$first" ]]
	not test -e "$M/compact"
}

@test "compact: a signal to the program that waits for it ends it where it is, and nothing else" {
	local pid code=0 before after
	# Packed each on its own, then a dictionary is made, and all of them are packed anew: that takes its time.
	ctl umount "$M"
	documents 1 60000 | sed 's/"text":"\(.*\)"/"text":"\1","more":"what all of them have in common, and again: \1", "less":"\1 and so on; so that it pays"/' |
		ctl import -q --dict=off "$S"
	mount_fs -o dict=auto
	ctl export -q --sort "$M" | sha256sum >"$T/before"
	before=$(stat_of page_bytes)
	bash -c "echo 1 >'$C/compact'" 2>/dev/null 3>&- &
	pid=$!
	wait_for 60 eval '[[ $(head -n 1 "$C/compact") == running* ]]'
	# Another one is refused meanwhile, and waits for nothing.
	refused "busy" timeout 60 bash -c "echo 1 >'$C/compact'"
	[[ $(head -n 1 "$C/compact") == running* ]]
	kill -TERM "$pid"
	wait "$pid" || code=$?
	((code == 128 + 15)) || fail "ended with $code"
	wait_for 60 eval '[[ $(head -n 1 "$C/compact") == idle ]]'
	[[ $(tail -n 1 "$C/compact") == *"failed: Interrupted system call" ]] || fail "$(cat "$C/compact")"
	# What was moved stays moved; the rest is done by the next one.
	ctl export -q --sort "$M" | sha256sum | diff - "$T/before"
	ctl check -q "$M"
	echo '{"a":1}' >"$M/7"
	[[ $(<"$M/7") == '{"a":1}' ]]
	ctl rm -q "$M" 7
	echo 1 >"$C/compact"
	[[ $(tail -n 1 "$C/compact") == *"done: moved "* ]] || fail "$(cat "$C/compact")"
	after=$(stat_of page_bytes)
	((after < before * 9 / 10)) || fail "$before, then $after"
	ctl umount "$M"
	ctl check -q "$S"
}

@test "a dictionary is trained by writing to train" {
	documents 1 20000 | sed 's/"text":"\(.*\)"/"text":"\1 and what all of them have in common: \1, \1"/' |
		ctl import -q "$M"
	echo 1 >"$C/train"
	[[ $(tail -n 1 "$C/train") == *"done: "* ]]
	(($(stats .dictionary) > 0))
}

@test "a read-only mount shows it, and nothing in it can be written" {
	documents 1 100 | ctl import -q "$M"
	ctl export -q "$M" >"$T/all"
	unmount_fs
	mount_fs -o ro
	cmp "$T/all" "$C/points.ndjson"
	stats .read_only | grep -qx true
	refused "Read-only" bash -c "echo 1 >$C/sync"
	refused "Read-only" bash -c "echo 1 >>$C/import"
	refused "Read-only" touch "$C/new"
}

@test "other users see the figures, but not the points, and change nothing" {
	local user
	unmount_fs
	chmod 755 "$T"
	mount_fs -o allow_other
	user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
	documents 1 10 | ctl import -q "$M"
	"${user[@]}" cat "$C/stats.json" | jq -e '.points == 10'
	"${user[@]}" cat "$C/compact" >/dev/null
	refused "Permission denied" "${user[@]}" cat "$C/points.ndjson"
	refused "Permission denied" "${user[@]}" bash -c "echo 1 >$C/sync"
	refused "Permission denied" "${user[@]}" bash -c "echo 1 >$C/import"
	refused "Permission denied" "${user[@]}" touch "$C/new"
	refused "Permission denied" "${user[@]}" rm -f "$C/sync"
}

@test "many readers and importers at once, beside writers, and an unmount in the middle of it" {
	local i pids=()
	documents 1 2000 | ctl import -q "$M"
	for i in {1..4}; do
		(while cat "$C/points.ndjson" 2>/dev/null | jq -ce 'select(has("id") | not)' >>"$T/bad"; [[ ! -e $T/stop ]]; do :; done) 3>&- &
		pids+=($!)
	done
	for i in {1..3}; do
		(n=0; while [[ ! -e $T/stop ]]; do documents $((i * 10000)) $((i * 10000 + 200)) >"$C/import"; echo $((n++)) >"$M/$i"; done) 3>&- &
		pids+=($!)
	done
	(while [[ ! -e $T/stop ]]; do echo 1 >"$C/sync"; cat "$C/stats.json" | jq -e .points >/dev/null || touch "$T/bad-stats"; done) 3>&- &
	pids+=($!)
	wait_for 60 stats '.import.documents > 5000'
	touch "$T/stop"
	wait "${pids[@]}" || true
	[[ ! -s $T/bad && ! -e $T/bad-stats ]]
	wait_for 30 no_snapshots
	cmp <(ctl export -q "$M") "$C/points.ndjson"
	exec 8<"$C/points.ndjson"
	timeout 60 umount -l "$M"
	exec 8<&-
	wait_for 60 no_daemon
	ctl check "$S"
}
