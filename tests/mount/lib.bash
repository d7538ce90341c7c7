# What the tests of a live mount share. A test file begins with `load lib`; the default setup mounts
# a new store.
#
#	BUILD        the variant's directory (default build/release)
#	FULL=1       full sizes and counts instead of the quick ones
#	TEST_LIMIT   seconds for one test; then its mounts are aborted and it fails
#
# $T is the test's own directory, $S the store in it, $M the mount point, $W a plain directory that serves
# as the oracle: `both COMMAND` runs a command in $W and in $M and wants the same output and status, `same`
# wants the same names, bytes and attributes in both. Nothing here waits by sleeping for a while: wait_for
# polls a condition.

# shellcheck source=tests/common.bash
source "$BATS_TEST_DIRNAME/../common.bash"

if [[ ${FULL:-} == 1 ]]; then
	limit=${TEST_LIMIT:-3600}
else
	limit=${TEST_LIMIT:-120}
fi

# quick_or_full QUICK FULL: prints the one that this run is for.
quick_or_full() {
	if [[ ${FULL:-} == 1 ]]; then echo "$2"; else echo "$1"; fi
}

# Builds tests/mount/NAME.c and prints the program's path. More arguments, also more sources, go to the
# compiler. What was built from the same files before is used again.
helper() {
	local source=$root/tests/mount/$1.c program=$build/mount/$1 newer
	shift
	local options=(-std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra)
	newer=$(find "$root"/tests/mount -name '*.[ch]' -newer "$program" 2>&1)
	if [[ -n $newer ]]; then
		mkdir -p "$build/mount"
		"${CC:-cc}" "${options[@]}" -o "$program.$$" "$source" "$@" >&2 || return
		mv "$program.$$" "$program"
	fi
	echo "$program"
}

# ---- setup, teardown ----

setup() {
	setup_dirs
	mount_fs
}

teardown() {
	cleanup_all
}

setup_dirs() {
	T=$(mktemp -d "${TMPDIR:-/tmp}/payloadfs-mount.XXXXXX")
	cd -P "$T"
	T=$PWD
	cd "$OLDPWD"
	S=$T/store M=$T/mnt W=$T/want
	mkdir "$M" "$W"
	LOG=$T/daemon.log
	: >"$LOG"
	export ASAN_OPTIONS=${ASAN_OPTIONS:-}:log_path=$T/sanitizer
	export UBSAN_OPTIONS=${UBSAN_OPTIONS:-}:log_path=$T/sanitizer
	export TSAN_OPTIONS=${TSAN_OPTIONS:-}:log_path=$T/sanitizer
	watch_over
}

# When the test takes longer than $limit: aborts its mounts, which fails whatever hangs in them,
# ends its daemons and then everything that it has started.
watch_over() {
	(
		set +eET
		trap - ERR DEBUG
		trap 'kill "$sleeper"; exit' TERM
		sleep "$limit" &
		sleeper=$!
		wait "$sleeper"
		echo "no result within $limit s: the mounts were aborted" >"$T/timed_out"
		abort_mounts
		# shellcheck disable=SC2046 # lists of numbers
		end_processes $(daemon_pids) $(descendants $$ "$BASHPID")
	) </dev/null >/dev/null 2>&1 3>&- &
	watcher=$!
}

# Ends what the test has left running, unmounts what it has left mounted. Fails when a daemon does not end by
# itself, when a sanitizer has complained, and when the test took too long.
cleanup_all() {
	local status=0 point report
	cd /
	[[ -n ${T:-} ]] || return 0
	kill "$watcher" 2>/dev/null || true
	# shellcheck disable=SC2046 # a list of numbers
	end_processes $(test_processes)
	if is_mounted_below; then
		while read -r point; do
			timeout 30 umount "$point" 2>/dev/null || detach "$point"
		done < <(mounts_below | tac)
	fi
	if ! wait_for 60 no_daemon; then
		echo "a daemon did not end after its mount was gone"
		# shellcheck disable=SC2046
		end_processes $(daemon_pids)
		status=1
	fi
	if is_mounted_below; then
		while read -r point; do
			umount "$point" || umount -l "$point"
		done < <(awk -v top="$T/" 'index($5, top) == 1 { print $5 }' /proc/self/mountinfo | tac)
	fi
	for report in "$T"/sanitizer*; do
		[[ -e $report ]] || continue
		head -c 20000 "$report"
		status=1
	done
	if [[ -e $T/timed_out ]]; then
		cat "$T/timed_out"
		status=1
	fi
	if [[ -z ${BATS_TEST_COMPLETED:-} && -s $LOG ]]; then
		echo "--- the daemon's messages"
		tail -n 40 "$LOG"
	fi
	rm -rf --one-file-system "$T"
	return "$status"
}

# What the test has started and not waited for, but for its daemons in the foreground.
test_processes() {
	local daemons
	find_daemons
	descendants $$ "$BASHPID" "${daemons[*]}"
}

# For a mount that can't be ended in the orderly way.
detach() {
	abort_mounts
	umount -l "$1" 2>/dev/null || fusermount3 -uz "$1" || true
}

# ---- mounting ----

# mount_fs [OPTION...]: mounts the store in the background, as a user does.
mount_fs() {
	timeout 60 payloadfs "$@" "$S" "$M" >>"$LOG" 2>&1 3>&-
}

# The same in the foreground, its debug output in $LOG.
mount_fs_debug() {
	payloadfs -f -d "$@" "$S" "$M" >>"$LOG" 2>&1 3>&- &
	wait_for 60 answers
}

# Returns when the daemon has ended: the store is closed then.
unmount_fs() {
	timeout 60 fusermount3 -u "$M"
	wait_for 60 no_daemon
}

remount() {
	unmount_fs
	mount_fs "$@"
}

# Ends the daemon without letting it do anything more. The mount stays, dead.
kill_daemon() {
	local daemons
	find_daemons
	((${#daemons[@]}))
	end_processes "${daemons[@]}"
}

answers() { grep -qF " $M " /proc/self/mountinfo && timeout 5 stat "$M" >/dev/null 2>&1; }

# Whether anything is.
is_mounted_below() {
	local mounts
	mapfile -t mounts </proc/self/mountinfo
	[[ "${mounts[*]}" == *" $T/"* ]]
}

mounts_below() {
	awk -v top="$T/" 'index($5, top) == 1 && / - fuse[. ]/ { print $5 }' /proc/self/mountinfo
}

# Sets daemons: the running daemons of this test. One that has ended but was not waited for has no exe any more.
find_daemons() {
	local dir names argv
	daemons=()
	# The name first: to look at what another runs from a mount would need that mount to answer. And by one program: bash,
	# traced as it is in a test, takes a hundred milliseconds to read them all.
	mapfile -t names < <(exec grep -lsxF payloadfs /proc/[0-9]*/comm)
	for dir in "${names[@]%/comm}"; do
		[[ $dir/exe -ef $build/payloadfs ]] || continue
		{ mapfile -d '' argv <"$dir/cmdline"; } 2>/dev/null || continue
		[[ "${argv[*]}" != *"$T/"* ]] || daemons+=("${dir#/proc/}")
	done
}

daemon_pids() {
	local daemons
	find_daemons
	((${#daemons[@]} == 0)) || printf '%s\n' "${daemons[@]}"
}

no_daemon() {
	local daemons
	find_daemons
	((${#daemons[@]} == 0))
}

# The directory of fusectl: mounted for this test where the machine has none.
connections() {
	local dir=/sys/fs/fuse/connections
	if ! mountpoint -q "$dir"; then
		dir=$T/connections
		if ! mountpoint -q "$dir"; then
			mkdir -p "$dir"
			mount -t fusectl none "$dir"
		fi
	fi
	echo "$dir"
}

abort_mounts() {
	local device dir
	dir=$(connections) || return 0
	awk -v top="$T/" 'index($5, top) == 1 && / - fuse[. ]/ { print $3 }' /proc/self/mountinfo |
		while IFS=: read -r _ device; do
			echo 1 >"$dir/$device/abort"
		done
}

# ---- processes ----

# The processes below $1, but not $2 and what is below it, and none of the list $3.
descendants() {
	ps -e -o pid=,ppid= | awk -v top="$1" -v but="$2" -v list="${3:-}" '
		{ parent[$1] = $2 }
		END {
			split(list, kept)
			for (i in kept) is_kept[kept[i]]
			for (p in parent)
				for (q = p; q in parent && q != but; q = parent[q])
					if (parent[q] == top) { if (!(p in is_kept)) print p; break }
		}'
}

end_processes() {
	local pid
	for pid; do
		kill -KILL "$pid" 2>/dev/null || true
	done
	for pid; do
		wait_for 30 gone "$pid" || return
	done
}

# Also when it has ended without being waited for: then it has no exe.
gone() { [[ ! -e /proc/$1/exe ]]; }

# ---- the oracle ----

# both [COMMAND]: runs the command, or the script on standard input, in $W and in $M. It must print the
# same in both places, with the same exit status, which is 0.
both() {
	local want got script
	script=${1:-$(cat)}
	want=$(cd "$W" && bash -ec "$script" 2>&1; echo "status $?")
	got=$(cd "$M" && bash -ec "$script" 2>&1; echo "status $?")
	if [[ $want != "$got" ]]; then
		printf 'on plain files: %s\non the mount: %s\n' "$want" "$got"
		return 1
	fi
	if [[ $got != *"status 0" ]]; then
		printf 'failed in both places: %s\n' "$got"
		return 1
	fi
}

attributes() {
	local format='%P %s %m %U:%G %y %n'
	[[ ${1:-} == times ]] && format+=' %T@'
	find . -mindepth 1 -printf "$format\n" | LC_ALL=C sort
}

# same [times]: names, bytes, sizes, modes and owners of $M are those of $W; with times, the times
# of change as well.
same() {
	diff -r "$W" "$M"
	diff <(cd "$W" && attributes "${1:-}") <(cd "$M" && attributes "${1:-}")
}

# The same, then with the bytes read from the daemon again, then after a remount, then with what
# lies in the store checked.
same_for_good() {
	same "$@"
	forget_pages
	same "$@"
	remount
	same "$@"
	unmount_fs
	payloadctl check "$S"
	mount_fs
}

# The kernel forgets the bytes of the mount's files (not their attributes).
forget_pages() {
	local program
	program=$(helper forget)
	"$program" "$M"
}

# read_each NAME...: reads these of $M and compares them with those of $W. Prints a line for each: "good NAME" when it has
# its bytes, "bad NAME" when it can't be read for an I/O error, else "wrong NAME" and what is wrong.
read_each() {
	perl -e '
		my ($want, $mount) = splice @ARGV, 0, 2;
		sub bytes { # undef when there was an error, $! says which
			my ($all, $n) = ("");
			open my $file, "<:raw", $_[0] or return;
			1 while $n = sysread $file, $all, 131072, length $all;
			defined $n && close $file or return;
			return $all;
		}
		for my $name (@ARGV) {
			my $wanted = bytes("$want/$name") // die "$want/$name: $!\n";
			my $got = bytes("$mount/$name");
			print defined $got ? $got eq $wanted ? "good $name" : "wrong $name: wrong bytes" :
				$!{EIO} ? "bad $name" : "wrong $name: $!", "\n";
		}' "$W" "$M" "$@"
}

# ---- a namespace ----

# private SCRIPT: runs it where its mounts are its own and nothing that it started lives longer than
# it. It lets go of what else is mounted on the machine by FUSE: a daemon lives as long as any copy of
# its mount.
private() {
	cat >"$T/private" <<-END
		awk '/ - fuse[. ]/ { print \$5 }' /proc/self/mountinfo | xargs -r umount -l
		. "$1"
	END
	timeout 60 unshare --mount --propagation private --pid --fork --kill-child --mount-proc \
		bash -e "$T/private" 3>&-
}

# ---- small things ----

# refused ERROR COMMAND...: the command fails and says ERROR ("Invalid argument").
refused() {
	local error=$1 said=$BATS_TEST_TMPDIR/said message
	shift
	if "$@" >"$said" 2>&1; then
		fail "was not refused: $*"
	fi
	read -r -d '' message <"$said" || true
	[[ $message == *"$error"* ]] || fail "wanted \"$error\", got: $message"
}

# text BYTES: prints that many bytes, each place different from the others, that a compressor can do
# something with.
text() { seq 1000000000 2000000000 2>/dev/null | head -c "$1"; }

# noise BYTES: prints bytes that no compressor shrinks.
noise() { head -c "$1" /dev/urandom; }

# noise_files BYTES FILE...: each of the files gets that many bytes of noise of its own.
noise_files() {
	perl -e '
		my $size = shift;
		open my $noise, "<:raw", "/dev/urandom" or die "urandom: $!\n";
		for (@ARGV) {
			read($noise, my $bytes, $size) == $size or die "urandom: $!\n";
			open my $file, ">:raw", $_ or die "$_: $!\n";
			print $file $bytes and close $file or die "$_: $!\n";
		}' "$@"
}

# file_lines DIRECTORY ID...: the files' bytes, a newline behind each, as `payloadctl get` prints several documents.
file_lines() {
	perl -e 'my $dir = shift; local $/; for (@ARGV) { open my $f, "<", "$dir/$_" or die "$_: $!\n";
		my $all = <$f>; die "$_: $!\n" unless defined $all; print $all, "\n"; }' "$@"
}

# A number from `payloadctl stat --json` of the mount.
stat_of() { timeout 60 payloadctl stat --json "$M" | jq -e ".$1"; }

ctl() { timeout 100 payloadctl "$@"; }

# word_records FIRST LAST: NDJSON of some 200 bytes a point.
word_records() {
	perl -e 'for my $i ($ARGV[0] .. $ARGV[1]) {
		printf qq({"id":%d,"payload":{"n":%d,"text":"%s"}}\n), $i, $i, "word$i " x ($i % 20 + 5);
	}' "$@"
}

# 20,000 documents, and a writer that keeps its order in them until $T/stop is there ($moments: helper
# moments). Sets writer.
begin_writing() { # MOUNT_OPTION...
	mount_fs "$@"
	word_records 1 20000 >"$T/in"
	ctl import -q "$M" "$T/in"
	rm "$M/19999"
	printf 0 >"$M/1"
	printf 0 >"$M/10000"
	printf 0 >"$M/20000"
	"$moments" write "$M" "$T/stop" >"$T/rounds" 3>&- &
	writer=$!
	wait_for 30 test -s "$M/1"
	wait_for 30 is_writing
}

is_writing() { (($(cat "$M/1" 2>/dev/null) > 20)); }
