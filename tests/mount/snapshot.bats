# Exports and copies of a live mount are of one moment; a snapshot ends with whoever holds it; full disks.
# shellcheck disable=SC2154 # set by lib and run

load lib

setup() {
	setup_dirs
	moments=$(helper moments)
}

# The writer has done more than the export has seen.
went_on() { (($(cat "$M/1" 2>/dev/null) > seen)); }

# The writer had no error, and did something in every round of the test.
end_writing() {
	touch "$T/stop"
	wait "$writer"
	(($(<"$T/rounds") >= 20))
}

# one_moment: of the NDJSON on standard input.
one_moment() {
	jq -r '"\(.id) \(.payload | if type == "number" then . else 0 end)"' | "$moments" look >"$T/look" ||
		fail "not of one moment: $(cat "$T/look")"
}

no_snapshots() { [[ $(stat_of 'snapshots, .pinned_bytes' | xargs) == '0 0' ]]; }
has_snapshot() { (($(stat_of snapshots) == 1)); }

@test "an export beside a writer is of one moment" {
	local i seen
	begin_writing
	for i in {1..4}; do
		ctl export -q "$M" >"$T/out"
		[[ $(wc -l <"$T/out") == 19999 ]]
		one_moment <"$T/out"
		seen=$(cut -d ' ' -f 1 "$T/look")
		wait_for 60 went_on
	done
	end_writing
	wait_for 30 no_snapshots
}

@test "a sorted export, which asks for names and then for documents, is of one moment" {
	local i
	begin_writing
	for i in {1..4}; do
		ctl export -q --sort "$S" >"$T/out"
		[[ $(wc -l <"$T/out") == 19999 ]]
		one_moment <"$T/out"
	done
	end_writing
	wait_for 30 no_snapshots
}

@test "copies of a store that is busy are of one moment, and healthy" {
	local n
	begin_writing
	for n in 1 2 3; do
		ctl snapshot -q "$M" "$T/copy$n"
		[[ $(ctl check "$T/copy$n") == "checked 19,999 documents"*"no faults" ]]
		ctl export -q "$T/copy$n" >"$T/out"
		one_moment <"$T/out"
	done
	end_writing
	wait_for 30 no_snapshots
	run -0 ctl check "$M"
	# What nobody wrote to is as it was.
	diff <(grep -vE '"id":(1|2|10000|19999|20000),' "$T/in") \
		<(ctl export -q --sort "$T/copy3" | grep -vE '"id":(1|2|10000|19999|20000),')
}

# All kinds of names, of contents and of attributes, in $W and on the mount.
all_kinds() {
	both <<-'END'
		echo '{"a":1}' >1
		: >2
		printf '%s' 'not JSON' >18446744073709551615
		echo '{"u":true}' >c0ffee00-0000-4000-8000-000000000001
		head -c 3000000 /dev/zero | tr '\0' 'x' >7
		echo scratch >.1.swp
		echo more >"a name with spaces"
		chmod 600 1
		chmod 4755 7
		chown 12:34 c0ffee00-0000-4000-8000-000000000001
		chmod 400 .1.swp
		touch -d '2001-02-03 04:05:06.123456789' 1
		touch -d '1969-07-20 20:17:40' 7
		touch -d '2010-01-01 00:00:00.5' .1.swp
		touch -d '2030-12-31' "a name with spaces" 2 18446744073709551615 c0ffee00-0000-4000-8000-000000000001
	END
	ctl sync "$M"
}

# same_copy COPY: mounted, it shows what $W has.
same_copy() {
	S=$1 M=$T/copy-mnt
	mkdir "$M"
	mount_fs
	same times
}

@test "a copy has every name, byte, mode, owner and time" {
	mount_fs
	all_kinds
	run -0 --separate-stderr ctl snapshot "$M" "$T/copy"
	[[ -z $output && $stderr == "copied 5 points and 2 scratch files of "* ]]
	# What is changed afterwards is not in it.
	echo changed >"$M/1"
	rm "$M/7"
	unmount_fs
	run -0 ctl check "$T/copy"
	[[ $output == *"no faults" ]]
	same_copy "$T/copy"
}

@test "a copy of a read-only mount, and of the store of one that is not mounted, is the same" {
	mount_fs
	all_kinds
	remount -o ro
	ctl snapshot -q "$M" "$T/copy"
	unmount_fs
	ctl snapshot -q "$S" "$T/copy2"
	diff <(ctl export -q --sort "$T/copy") <(ctl export -q --sort "$T/copy2")
	diff <(cd "$T/copy" && ls) <(cd "$T/copy2" && ls)
	same_copy "$T/copy"
	unmount_fs
	rmdir "$M"
	same_copy "$T/copy2"
}

@test "the holder of a snapshot is killed in the middle: the snapshot is closed, what it pinned is free" {
	local way
	mount_fs
	for way in export "export --sort" snapshot; do
		word_records 1 30000 | ctl import -q "$M"
		ctl sync "$M"
		mkfifo "$T/fifo"
		if [[ $way == snapshot ]]; then
			begin_copy
		else
			# shellcheck disable=SC2086 # words
			payloadctl $way -q "$M" >"$T/fifo" 3>&- &
			holder=$!
			exec 7<"$T/fifo"
			wait_for 30 has_snapshot
			head -c 1000 <&7 >"$T/head"
			[[ -s $T/head ]]
		fi
		has_snapshot
		word_records 1 30000 | sed 's/word/WORD/' | ctl import -q "$M"
		wait_for 30 pins_something
		kill -KILL "$holder"
		wait "$holder" || true
		[[ $way == snapshot ]] || exec 7<&-
		wait_for 30 no_snapshots
		[[ ! -e $T/copy ]]
		rm "$T/fifo"
	done
	run -0 ctl check "$M"
	# Nothing of what was pinned is missing from the free space.
	ctl stat --pages --json "$M" | jq -e 'map(.pinned_bytes) | add == 0'
	unmount_fs
	run -0 ctl check "$S"
}

# Begins a copy, and stops it as soon as there is something of it.
begin_copy() {
	local try
	for try in {1..20}; do
		payloadctl snapshot -q "$M" "$T/copy" 2>"$T/error" 3>&- &
		holder=$!
		wait_for 60 begun_or_gone
		if kill -STOP "$holder" 2>/dev/null && is_begun && has_snapshot; then return; fi
		# It was faster.
		kill -CONT "$holder" 2>/dev/null || true
		ends_with 0
		rm -r "$T/copy"
	done
	fail "not met in its work, $try times"
}

is_begun() { compgen -G "$T/.copy.partial-*" >/dev/null; }
begun_or_gone() { is_begun || gone "$holder"; }

# The holder's exit status.
ends_with() {
	local status=0
	wait "$holder" || status=$?
	((status == $1)) || fail "ended with $status"
}

pins_something() { stat_of 'pinned_bytes > 0'; }

# interrupted COMMAND...: stops a copy in its work, runs the command and lets the copy go on. Its exit status is in $ended;
# one that had everything already when it was stopped is begun anew.
interrupted() {
	local try
	for try in {1..10}; do
		begin_copy
		"$@"
		kill -CONT "$holder" 2>/dev/null || true
		ended=0
		wait "$holder" || ended=$?
		((ended == 0)) || return 0
		rm -r "$T/copy"
		no_daemon && mount_fs
	done
	fail "not met in its work, $try times"
}

@test "a copy that is told to stop leaves nothing behind; one that is killed only what says so" {
	mount_fs
	word_records 1 60000 | ctl import -q "$M"
	interrupted eval 'kill -TERM "$holder"'
	((ended == 143))
	[[ ! -e $T/copy && -z $(compgen -G "$T/.copy.partial-*") ]]
	wait_for 30 no_snapshots
	begin_copy
	kill -KILL "$holder"
	ends_with 137
	[[ ! -e $T/copy ]]
	is_begun
	# The next one is not kept from its work.
	ctl snapshot -q "$M" "$T/copy"
	run -0 ctl check "$T/copy"
	wait_for 30 no_snapshots
}

@test "a daemon that is killed while it is copied leaves no copy" {
	mount_fs
	word_records 1 60000 | ctl import -q "$M"
	interrupted kill_daemon
	((ended == 8))
	[[ $(<"$T/error") == "payloadctl: $M: the daemon has closed the connection" ]]
	[[ ! -e $T/copy && -z $(compgen -G "$T/.copy.partial-*") ]]
	mount_fs
	no_snapshots
}

@test "where a copy can't be: one line, nothing made, nothing harmed" {
	mount_fs
	echo x >"$M/1"
	mkdir "$T/full" "$T/full/x" "$T/mounted" "$T/closed"
	touch "$T/file"
	ln -s "$T/nowhere" "$T/link"
	mount -t tmpfs none "$T/mounted"
	fails 3 "full: is not empty" ctl snapshot "$M" "$T/full"
	fails 3 "file: is there, and not a directory" ctl snapshot "$M" "$T/file"
	fails 3 "link: a link to nothing" ctl snapshot "$M" "$T/link"
	fails 3 "mounted: is a mount point" ctl snapshot "$M" "$T/mounted"
	fails 3 "$S: is not empty" ctl snapshot "$M" "$S"
	fails 2 "is inside the store" ctl snapshot "$M" "$S/copy"
	fails 2 "is inside the mount" ctl snapshot "$M" "$M/copy"
	fails 7 "No such file or directory" ctl snapshot "$M" "$T/no/copy"
	no_snapshots
	[[ -z $(find "$T" "$S" -maxdepth 1 -name '*partial*') && $(ls "$M") == 1 ]]
	ctl snapshot -q "$M" "$T/mounted/copy"
	run -0 ctl check "$T/mounted/copy"
	# An empty directory keeps its mode and owner; a link to one is followed.
	mkdir -m 750 "$T/empty"
	chown 12:34 "$T/empty"
	ln -s empty "$T/to-empty"
	ctl snapshot -q "$M" "$T/to-empty/"
	[[ $(stat -c '%a %u:%g' "$T/empty") == '750 12:34' && -L $T/to-empty ]]
	[[ $(ctl get "$T/empty" 1) == x ]]
	(cd "$T/closed" && ctl snapshot -q "$M" ../new && ctl snapshot -q "$M" new/)
	[[ $(ctl get "$T/new" 1)$(ctl get "$T/closed/new" 1) == xx ]]
	umount "$T/mounted"
}

# ---- a small disk ----

small_disk() {
	mkdir "$T/disk"
	truncate -s "$1M" "$T/image"
	mkfs.ext4 -q -F -m 0 "$T/image"
	mount -o loop "$T/image" "$T/disk"
}

available() { df --output=avail -B1 "$T/disk" | tail -n 1; }

# Not a byte is left.
fill_up() {
	head -c "$(available)" /dev/zero >"$T/disk/ballast" 2>/dev/null || true
	head -c 100000 /dev/zero >"$T/disk/ballast2" 2>/dev/null || true
}

@test "without room for a snapshot an export says so and gives what is there; a copy is refused" {
	small_disk 200
	S=$T/disk/store
	mount_fs
	word_records 1 3000 >"$T/in"
	ctl import -q "$M" "$T/in"
	# A daemon that starts on a disk without room has no journal, and so no checkpoint.
	unmount_fs
	fill_up
	mount_fs
	run -0 --separate-stderr ctl export -q -o "$T/out" --sort "$M"
	((${#stderr_lines[@]} == 1))
	[[ $stderr == "payloadctl: $M: not one moment: "*"no room"* ]]
	cmp "$T/in" "$T/out"
	run -0 --separate-stderr ctl export "$M"
	[[ $stderr == *"not one moment: "*"exported 3,000 documents"* ]]
	cmp "$T/in" <(sort -t : -k 2n <<<"$output" | jq -cs 'sort_by(.id) | .[]')
	fails 7 "no room on its disk" ctl snapshot "$M" "$T/copy"
	[[ ! -e $T/copy && -z $(compgen -G "$T/.copy.partial-*") ]]
	no_snapshots
	# When there is room again, there are snapshots again.
	rm "$T/disk/ballast" "$T/disk/ballast2"
	sync -f "$T/disk"
	wait_for 30 copies_again
	run -0 ctl check "$T/copy"
	cmp "$T/in" <(ctl export -q --sort "$T/copy")
	[[ -z $(ctl export -q -o "$T/out" "$M" 2>&1) ]]
}

copies_again() { ctl snapshot -q "$M" "$T/copy" 2>/dev/null; }

# write_until_full NAME...: writes noise to each of the names in $M, and what was taken in $W as well. Ends where the disk is
# full, and prints that name; any other error is one.
write_until_full() {
	perl -e '
		my ($want, $mount) = splice @ARGV, 0, 2;
		sub put {
			my ($name, $bytes) = @_;
			open my $file, ">:raw", $name or return;
			for (my ($at, $n) = 0; $at < length $bytes; $at += $n) {
				next if defined($n = syswrite $file, $bytes, 131072, $at);
				my $error = $!;
				close $file;
				$! = $error;
				return;
			}
			return close $file;
		}
		open my $noise, "<:raw", "/dev/urandom" or die "urandom: $!\n";
		for my $name (@ARGV) {
			read($noise, my $bytes, 300000) == 300000 or die "urandom: $!\n";
			if (!put("$mount/$name", $bytes)) {
				$!{ENOSPC} or die "$name: $!\n";
				print "$name\n";
				last;
			}
			put("$want/$name", $bytes) or die "$want/$name: $!\n";
		}' "$W" "$M" "$@"
}

@test "a full disk with a snapshot open: writers get ENOSPC, and go on when it is closed" {
	small_disk 200
	S=$T/disk/store
	mount_fs
	# So much that each round of changes needs as much again while the old is pinned, and more than the daemon has when it
	# gives its journal's files back (32 MiB of them where it is written to faster than it makes checkpoints).
	noise_files 300000 "$W"/{1..150}
	cp "$W"/* "$M/"
	ctl sync "$M"
	cp -r "$W" "$T/before"
	mkfifo "$T/fifo"
	payloadctl export -q "$M" >"$T/fifo" 3>&- &
	holder=$!
	exec 7<"$T/fifo"
	wait_for 30 has_snapshot
	head -c "$(($(available) - (2 << 20)))" /dev/zero >"$T/disk/ballast"
	write_until_full {1..150} {1..150} >"$T/full"
	[[ -s $T/full ]] || fail "the disk did not get full"
	same
	forget_pages
	same
	# The snapshot still shows what there was.
	cat <&7 >"$T/out"
	exec 7<&-
	ends_with 0
	ctl import -q "$T/then" "$T/out"
	cmp <(file_lines "$T/before" {1..150}) <(ctl get "$T/then" {1..150})
	wait_for 30 no_snapshots
	rm "$T/disk/ballast"
	wait_for 30 writes_again
	noise_files 300000 "$W"/{1..30}
	cp "$W"/{1..30} "$M/"
	same
	unmount_fs
	run -0 ctl check "$S"
}

writes_again() {
	noise 300000 >"$T/probe" && cp "$T/probe" "$M/probe" 2>/dev/null && rm "$M/probe"
}

@test "the disk of the copy gets full: an error, and nothing of it is left" {
	small_disk 40
	mount_fs
	noise 900000 >"$T/in"
	perl -e 'my $from = shift; link $from, $_ or die "$_: $!\n" for @ARGV' "$T/in" "$W"/{1..100}
	cp "$W"/* "$M/"
	fails 7 "$T/disk/copy: no space left" ctl snapshot "$M" "$T/disk/copy"
	[[ $(ls -A "$T/disk") == lost+found ]]
	wait_for 30 no_snapshots
	cmp "$T/in" "$M/100"
}

@test "stat --pages of a live mount adds up, and shows what snapshots hold back" {
	mount_fs -o page_size=64K
	word_records 1 3000 | ctl import -q "$M"
	ctl sync "$M"
	mkfifo "$T/fifo"
	payloadctl export -q "$M" >"$T/fifo" 3>&- &
	holder=$!
	exec 7<"$T/fifo"
	wait_for 30 has_snapshot
	wait_for 60 adds_up
	jq -e 'all(.[]; .pinned_bytes == 0)' "$T/pages"
	# The whole of some pages is removed, and what was changed in others is elsewhere.
	seq 1 1000 | xargs payloadctl rm -q "$M"
	word_records 1500 2000 | sed 's/word/WORD/' | ctl import -q "$M"
	ctl compact -q "$M"
	wait_for 60 adds_up
	jq -e 'map(.pinned_bytes) | add > 100000' "$T/pages"
	kill -KILL "$holder"
	wait "$holder" || true
	exec 7<&-
	wait_for 30 no_snapshots
	wait_for 60 adds_up
	jq -e 'all(.[]; .pinned_bytes == 0)' "$T/pages"
}

# Between the two calls the daemon may have given a page back: then they are made again.
adds_up() {
	ctl stat --pages --json "$M" >"$T/pages"
	jq -e --argjson stat "$(ctl stat --json "$M")" 'length == $stat.pages and
		(map(.disk_bytes) | add) == $stat.page_bytes and
		(map(.used_bytes) | add) == $stat.used_bytes and
		(map(.hole_bytes) | add) == $stat.hole_bytes and
		(map(.gap_bytes) | add) == $stat.gap_bytes and
		(map(.pinned_bytes) | add) == $stat.pinned_bytes' "$T/pages" >/dev/null
}
