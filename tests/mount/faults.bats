# The files of a store fail under a live mount: cut short, deleted, unreadable, unwritable. What is hit gives
# EIO, everything else its bytes; the daemon lives and says where; nothing is called durable that is not.

load lib

setup() {
	setup_dirs
}

# The daemon in the foreground, its messages in $LOG.
mount_here() {
	payloadfs -f "$@" "$S" "$M" >>"$LOG" 2>&1 3>&- &
	wait_for 60 answers
	daemon=$(daemon_pids)
}

# A store of 60 documents over several small pages, two of them large, all in pages.
fill_store() {
	mount_fs -o page_size=64K
	noise_files 3000 "$W"/{1..60}
	noise 200000 >"$W/200"
	text 300000 >"$W/201"
	cp "$W"/* "$M/"
	unmount_fs
}

# Reads every document: those that read well must have their bytes, the others give EIO. Their numbers are in
# $good and $bad.
read_all() {
	local files=("$W"/*) state name
	good=() bad=()
	forget_pages
	read_each "${files[@]##*/}" >"$T/states"
	while read -r state name; do
		case $state in
		good) good+=("$name") ;;
		bad) bad+=("$name") ;;
		*) fail "$name" ;;
		esac
	done <"$T/states"
	((${#good[@]} + ${#bad[@]} == ${#files[@]}))
	[[ $(daemon_pids) == "$daemon" ]] || fail "the daemon has died"
}

# Those of which stat says that they are in the file.
expect_bad_only_in() {
	local id where
	((${#bad[@]})) || fail "nothing was hit"
	((${#good[@]} > 30)) || fail "only ${#good[@]} are left"
	for id in "${bad[@]}"; do
		where=${places[$id]}
		[[ $where == "$1" ]] || fail "$id in $where is hit, too"
	done
}

# The file in which each document lies, and where.
note_places() {
	local id page offset
	declare -gA places offsets
	while read -r id page offset; do
		printf -v "places[$id]" 'page-%08x' "$page"
		offsets[$id]=$offset
	# shellcheck disable=SC2046 # a list of numbers
	done < <(payloadctl stat --json "$S" $(seq 60) 200 201 | jq -r '.[] | "\(.id) \(.page) \(.offset)"')
	((${#places[@]} == 62))
}

@test "a page file that is cut short: EIO for what was there, bytes for the rest" {
	local file size
	fill_store
	note_places
	file=${places[30]}
	for size in 40000 0; do
		cp -a "$S/$file" "$T/whole"
		: >"$LOG"
		mount_here
		truncate -s "$size" "$S/$file"
		read_all
		expect_bad_only_in "$file"
		grep -q "$file" "$LOG" || fail "no line says where: $(cat "$LOG")"
		# It goes on serving changes of others.
		echo new >"$M/1000"
		rm "$M/1000"
		[[ $(ls "$M" | wc -l) -ge ${#good[@]} ]]
		unmount_fs
		cp -a "$T/whole" "$S/$file"
	done
	mount_here
	same
}

@test "a large document's page file that is cut in its middle: the blocks before stay readable" {
	local file
	fill_store
	note_places
	file=${places[200]}
	mount_here
	truncate -s 100000 "$S/$file"
	read_all
	[[ " ${bad[*]} " == *" 200 "* ]]
	expect_bad_only_in "$file"
}

@test "page files deleted underneath: readable as long as the mount lives, then EIO for theirs" {
	local file
	fill_store
	note_places
	file=${places[30]}
	mount_here
	rm "$S/$file"
	read_all
	((${#bad[@]} == 0)) || fail "${bad[*]} can't be read"
	unmount_fs
	: >"$LOG"
	mount_here
	read_all
	expect_bad_only_in "$file"
	[[ " ${bad[*]} " == *" 30 "* ]]
	grep -q "$file" "$LOG" || fail "no line says where: $(cat "$LOG")"
}

@test "a journal segment cut short: EIO for what only it had, also after a checkpoint and a remount" {
	local segment
	fill_store
	mount_here -o commit=600
	# Else what is still to be moved brings checkpoints, after which the pages have everything.
	payloadctl compact -q "$M"
	# The journal alone has them; more than one segment of them. They are new, and imported: what replaces others, or
	# gets another time and with it another place, leaves bytes that a compaction comes for.
	noise_files 45000 "$W"/{301..345}
	perl -MMIME::Base64 -0777 -i -pe '$_ = "\"" . encode_base64($_, "") . "\""' "$W"/{301..345}
	for i in {301..345}; do
		printf '{"id":%d,"payload":%s}\n' "$i" "$(<"$W/$i")"
	done | payloadctl import -q "$M"
	# The first of those that are in use; others wait to be used again.
	for segment in $(grep -l PFSJRNL1 "$S"/journal-*); do
		truncate -s 500000 "$segment"
		read_all
		((${#bad[@]})) && break
	done
	((${#bad[@]})) || fail "nothing was hit"
	((${#bad[@]} < 45)) || fail "all were hit"
	[[ -z $(printf '%s\n' "${bad[@]}" | awk '$1 < 301') ]] || fail "hit: ${bad[*]}"
	grep -qi journal "$LOG" || fail "no line says where: $(cat "$LOG")"
	local before="${bad[*]}"
	unmount_fs
	mount_here
	read_all
	[[ ${bad[*]} == "$before" ]] || fail "before: $before, after a remount: ${bad[*]}"
}

# ---- a disk that fails ----

# The store lies on a filesystem that fails as $T/faults says.
mount_faulty() {
	local program
	# shellcheck disable=SC2046 # words
	program=$(helper faulty $(pkg-config --cflags --libs fuse3))
	mkdir "$T/below" "$T/disk"
	: >"$T/faults"
	"$program" "$T/below" "$T/faults" "$T/disk" 3>&-
	S=$T/disk/store
}

@test "an I/O error while paging in: EIO for what is there, bytes for the rest, all of it later" {
	local file from
	mount_faulty
	fill_store
	note_places
	file=${places[30]}
	from=${offsets[30]}
	echo "read $file $((from / 4096 * 4096)) $((from / 4096 * 4096 + 8192))" >"$T/faults"
	mount_here
	read_all
	[[ " ${bad[*]} " == *" 30 "* ]] || fail "30 was not hit: ${bad[*]}"
	expect_bad_only_in "$file"
	((${#bad[@]} < 12)) || fail "far more was hit than two blocks: ${bad[*]}"
	grep -q "$file" "$LOG" || fail "no line says where: $(cat "$LOG")"
	: >"$T/faults"
	read_all
	((${#bad[@]} == 0)) || fail "${bad[*]} can't be read after the disk has recovered"
}

# After a failed sync or write: nothing can be changed, everything can be read, and the reason is told.
expect_read_only() {
	local id
	is_read_only() { [[ $(payloadctl stat --json "$M" | jq .read_only) == true ]]; }
	wait_for 30 is_read_only
	refused "Read-only file system" touch "$M/3000"
	refused "Read-only file system" rm "$M/1"
	refused "Read-only file system" mv "$M/1" "$M/2"
	refused "Read-only file system" chmod 600 "$M/1"
	not timeout 30 payloadctl sync "$M"
	not timeout 30 payloadctl put "$M" 5 </dev/null
	not sync "$M/1"
	grep -q 'read-only from now on\|is read-only until' "$LOG" || fail "it does not say why: $(cat "$LOG")"
	read_all
	((${#bad[@]} == 0)) || fail "${bad[*]} can't be read"
}

# What the mount shows can be taken out of it, all of it.
expect_copies() {
	local names
	mapfile -t names < <(ls "$W")
	(cd "$W" && perl -0777 -ne 'print $_, "\n"' "${names[@]}") >"$T/all"
	rm -rf "$T/copy" "$T/copy2"
	timeout 60 payloadctl snapshot -q "$M" "$T/copy"
	timeout 60 payloadctl check "$T/copy"
	payloadctl get "$T/copy" "${names[@]}" | cmp - "$T/all"
	timeout 60 payloadctl export -q "$M" | payloadctl import -q "$T/copy2"
	payloadctl get "$T/copy2" "${names[@]}" | cmp - "$T/all"
}

@test "a sync that fails: never called durable, read-only from then on, readers go on (G7)" {
	local rc
	mount_faulty
	fill_store
	mount_here -o commit=600
	echo acknowledged >"$W/300"
	cp "$W/300" "$M/300"
	echo "sync journal- 0 0" >"$T/faults"
	sync "$M/300"
	echo again >"$W/301"
	cp "$W/301" "$M/301"
	echo "sync journal- 0 1" >"$T/faults"
	refused "" sync "$M/301"
	expect_read_only
	expect_copies
	# Also when the disk answers again.
	: >"$T/faults"
	refused "Read-only file system" touch "$M/3000"
	not sync "$M/301"
	rc=0
	fusermount3 -u "$M"
	wait "$daemon" || rc=$?
	((rc)) || fail "the daemon claims to have closed it all"
	mount_here
	same
	unmount_fs
	payloadctl check "$S"
}

@test "a commit tick whose sync fails: the same without anybody asking" {
	mount_faulty
	fill_store
	mount_here
	echo "sync journal- 0 1" >"$T/faults"
	echo late >"$W/300"
	cp "$W/300" "$M/300"
	expect_read_only
}

@test "a write to the journal that fails: the change is refused, what was there stays (G7)" {
	mount_faulty
	fill_store
	mount_here
	echo "write journal- 0 99999999" >"$T/faults"
	refused "" cp "$W/2" "$M/1"
	refused "" cp "$W/2" "$M/400"
	wait_for 30 test ! -s "$M/400"
	expect_read_only
	: >"$T/faults"
	fusermount3 -u "$M"
	wait "$daemon" || true
	mount_here
	rm -f "$M/400"
	same
	unmount_fs
	payloadctl check "$S"
}

@test "pages that can't be written or synced: read-only, and the journal has it all (G7)" {
	local operation
	mount_faulty
	fill_store
	for operation in write sync; do
		: >"$LOG"
		mount_here
		noise_files 2000 "$W"/{20..40}
		cp "$W"/{20..40} "$M/"
		echo "$operation page- 0 99999999" >"$T/faults"
		# 32 MiB of journal start a checkpoint.
		for i in {1..10}; do noise 4000000 >"$M/500" 2>/dev/null || break; done
		expect_read_only
		fusermount3 -u "$M"
		wait "$daemon" || true
		: >"$T/faults"
		mount_here
		rm -f "$M/500"
		same
		unmount_fs
		payloadctl check "$S"
	done
}

@test "the checkpoint of a snapshot fails: read-only, and the copy is of what is shown then" {
	mount_faulty
	fill_store
	mount_here -o commit=600
	noise_files 2000 "$W"/{20..40}
	cp "$W"/{20..40} "$M/"
	echo "sync page- 0 99999999" >"$T/faults"
	[[ $(payloadctl stat --json "$M" | jq .read_only) == false ]]
	expect_copies
	refused "Read-only file system" touch "$M/3000"
	grep -q 'read-only from now on' "$LOG"
	[[ $(payloadctl stat --json "$M" | jq -c '[.snapshots,.pinned_bytes]') == '[0,0]' ]]
	fusermount3 -u "$M"
	wait "$daemon" || true
	: >"$T/faults"
	mount_here
	same
	unmount_fs
	payloadctl check "$S"
}

# Waits until a write to the journal is held: that of a change for which the kernel holds no lock of the directory.
# It has nothing open of $fds.
hold_journal() {
	echo "hold journal- 0 99999999" >"$T/faults"
	(
		for fd in "${fds[@]}"; do exec {fd}<&-; done
		exec chmod 600 "$M/5"
	) 3>&- &
	changing=$!
	wait_for 30 test -e "$T/faults.held"
}

# Nobody has looked at them since the mount.
expect_cold_reads() {
	export -f read_each
	export W M
	timeout 20 bash -c 'read_each {20..50}' >"$T/states" || fail "not all can be read while a write is held"
	diff <(printf 'good %s\n' {20..50}) "$T/states"
	kill -0 "$changing" || fail "the change did not wait: nothing was held"
	: >"$T/faults"
	wait "$changing"
	chmod 600 "$W/5"
}

# close_while_held FILE [COMMAND...]: opens that file of the mount for each of 31 new documents (%s: its id), runs the command,
# and closes them all while the disk does not answer.
close_while_held() {
	local file=$1 fd fds=() id
	shift
	mount_faulty
	fill_store
	mount_here -o commit=600
	for id in {300..330}; do
		both "echo $id > $id"
		# shellcheck disable=SC2059 # it is one
		exec {fd}<"$M/$(printf "$file" "$id")"
		fds+=("$fd")
	done
	"$@"
	# Only what was asked for by name is in the kernel's caches.
	hold_journal
	for fd in "${fds[@]}"; do exec {fd}<&-; done
	expect_cold_reads
}

@test "a disk that does not answer: the files that are closed then keep no reader waiting (G8)" {
	# What is removed and still open is given back when it is closed.
	close_while_held %s both 'rm {300..330}'
	same
}

@test "a disk that does not answer: nor does the end of a snapshot (G8)" {
	snapshots() { (($(stat_of snapshots) == $1)); }
	close_while_held .payloadfs/points.ndjson snapshots 31
	wait_for 30 snapshots 0
	same
}
