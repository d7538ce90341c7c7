# The command line of the daemon: what it refuses, how it starts and ends, and its exit codes
# (storage/exit_codes.h).

load lib

exit_usage=2 exit_no_store=3 exit_locked=4 exit_damaged=5 exit_newer=6 exit_io=7 exit_target=8 exit_mount=9

setup() {
	setup_dirs
}

# ends CODE TEXT OPTION...: payloadfs ends with that code and one line on standard error, which
# holds TEXT; it mounts nothing.
ends() {
	local code=$1 text=$2 rc=0 said lines mounts
	shift 2
	timeout 60 payloadfs "$@" >"$T/out" 2>"$T/err" 3>&- || rc=$?
	said=$(<"$T/err")
	[[ $rc == "$code" ]] || fail "exit code $rc, not $code: $said"
	mapfile lines <"$T/err"
	[[ ${#lines[@]} == 1 && ${lines[0]} == *$'\n' ]] || fail "not one line: $said"
	[[ ${said,,} == *"${text,,}"* ]] || fail "does not say \"$text\": $said"
	mapfile -t mounts < <(mounts_below)
	[[ ${mounts[*]} == "${still:-}" ]] || fail "something is mounted"
}

# Everything below a directory, to see that nothing was changed.
fingerprint() {
	(cd "$1" && find . -mindepth 1 -printf '%P %y %s %m %T@ %i\n' | sort)
	(cd "$1" && find . -type f -exec sha256sum {} + | sort)
}

@test "help and version" {
	run -0 payloadfs -h
	[[ $output == *MOUNTPOINT* && $output == *"Exit codes"* ]]
	run -0 payloadfs -V
	[[ $output == *payloadfs* && $output =~ [Ff][Uu][Ss][Ee].*3\. ]]
}

@test "a wrong command line" {
	ends $exit_usage mountpoint
	ends $exit_usage nonsense --nonsense "$S" "$M"
	ends $exit_usage nonsense -o nonsense "$S" "$M"
	ends $exit_usage commit -o commit=soon "$S" "$M"
	ends $exit_usage page_size -o page_size=12345 "$S" "$M"
	ends $exit_usage min_value_size -o min_value_size=1 "$S" "$M"
	ends $exit_usage "json=repair: check or off" -o json=repair "$S" "$M"
	ends $exit_usage "json=: check or off" -o json= "$S" "$M"
	ends $exit_usage "" "$S" "$M" "$T/third"
	[[ ! -e $S ]]
}

# One value of each kind: which of them are taken is what tests/unit/options_test.c tries.
@test "the values of options: what is taken, what is refused and named" {
	# It is the mount point that is refused.
	ends $exit_target "$T/nowhere" \
		-o commit=3600,page_size=64k,min_value_size=4K,uid=0,gid=4294967294,umask=022,json=check,dict=auto "$S" "$T/nowhere"
	ends $exit_target "$T/nowhere" -o ro,rw,page_size=64K "$S" "$T/nowhere"
	local value
	for value in "commit=3601: a number of seconds from 1 to 3600" "page_size=96K: a power of two from 64K to 1G" \
		"min_value_size=4097: a number of bytes from 16 to 4096" "uid=root: a numeric id" \
		"umask=8: an octal number up to 0777" "dict=on: auto or off" "refresh=0: a number of seconds from 1 to 86400" \
		"timeout=3601: a number of seconds from 1 to 3600" "cache_size=15M: a number of bytes from 16M on" \
		"cache=: a directory, or off,"; do
		ends $exit_usage "-o $value is expected" -o "${value%%:*}" "$S" "$T/nowhere"
	done
	# Of published collections; the store is none.
	ends $exit_usage "-o refresh=: is for published collections, and $S is none" -o refresh=86400 "$S" "$T/nowhere"
	ends $exit_usage "makes no new store" -o ro,page_size=64K "$S" "$T/nowhere"
	ends $exit_usage "can't be chosen" -o fsname=x "$S" "$T/nowhere"
	ends $exit_usage "a path is empty" "" "$T/nowhere"
	[[ ! -e $S ]]
}

@test "a missing mount point, and a file where the directory should be" {
	ends $exit_target "$T/nowhere" "$S" "$T/nowhere"
	echo x >"$T/file"
	ends $exit_target "$T/file" "$S" "$T/file"
	[[ $(cat "$T/file") == x ]]
}

@test "a file instead of a store, a foreign directory, a missing store for reading" {
	local before
	echo x >"$T/file"
	ends $exit_no_store "$T/file" "$T/file" "$M"
	mkdir "$T/foreign"
	echo letter >"$T/foreign/letter"
	echo mine >"$T/foreign/lock"
	before=$(fingerprint "$T/foreign")
	ends $exit_no_store "$T/foreign" "$T/foreign" "$M"
	[[ $(fingerprint "$T/foreign") == "$before" ]]
	ends $exit_no_store "$S" -o ro "$S" "$M"
	[[ ! -e $S ]]
}

@test "a store that another process holds; the holder goes on" {
	mkdir "$T/mnt2"
	mount_fs
	still=$M
	echo x >"$M/1"
	ends $exit_locked "$S" "$S" "$T/mnt2"
	ends $exit_locked "$S" -o ro "$S" "$T/mnt2"
	ends $exit_locked "$S" "$S" "$M"
	[[ $(cat "$M/1") == x ]]
	echo y >"$M/2"
}

@test "two read-only mounts of one store" {
	mount_fs
	echo x >"$M/1"
	remount -o ro
	mkdir "$T/mnt2"
	timeout 60 payloadfs -o ro "$S" "$T/mnt2" 3>&-
	[[ $(cat "$M/1" "$T/mnt2/1") == $'x\nx' ]]
}

@test "a second writer of a mounted store goes through its daemon, or is refused" {
	local before daemon
	mount_fs
	echo x >"$M/1"
	[[ ! -e $M/2 ]]
	# payloadctl on the store's directory: what it puts is seen at once.
	printf y | payloadctl put "$S" 2
	[[ $(cat "$M/2") == y ]]
	# Without the daemon's socket there is no way to it, and none around it.
	mv "$S/socket" "$T/socket"
	# What the daemon has still to do it does afterwards.
	daemon=$(daemon_pids)
	kill -STOP "$daemon"
	before=$(sha256sum "$S"/*)
	run -$exit_locked --separate-stderr timeout 60 payloadctl put "$S" 3 <<<z
	[[ $stderr == *"in use"* || $stderr == *"using this store"* ]] || fail "$stderr"
	[[ $(sha256sum "$S"/*) == "$before" ]]
	kill -CONT "$daemon"
	mv "$T/socket" "$S/socket"
	[[ $(cat "$M/1") == x && ! -e $M/3 ]]
}

# The store where nothing can be written.
read_only_filesystem() {
	mkdir "$T/disk"
	mount --bind "$S" "$T/disk"
	mount -o remount,bind,ro "$T/disk"
	refused "Read-only file system" touch "$T/disk/x"
}

@test "a store on a read-only filesystem: with ro it is mounted, without it is refused in one line" {
	local before
	mount_fs
	noise 300000 >"$W/1"
	echo x >"$W/2"
	cp "$W"/* "$M/"
	unmount_fs
	before=$(fingerprint "$S")
	read_only_filesystem
	ends $exit_io "read-only" "$T/disk" "$M"
	S=$T/disk
	mount_fs -o ro
	same
	refused "Read-only file system" touch "$M/3"
	payloadctl get "$S" 2
	unmount_fs
	payloadctl check "$S"
	payloadctl get "$S" 2
	run -$exit_io payloadctl put "$S" 3 <<<z
	[[ $(fingerprint "$S") == "$before" ]]
}

@test "the same with a store whose daemon was killed: the journal is read, nothing is written" {
	local before
	mount_fs
	noise 300000 >"$W/1"
	echo x >"$W/2"
	cp "$W"/* "$M/"
	kill_daemon
	umount "$M"
	before=$(fingerprint "$S")
	read_only_filesystem
	ends $exit_io "read-only" "$T/disk" "$M"
	S=$T/disk
	mount_fs -o ro
	same
	unmount_fs
	[[ $(fingerprint "$S") == "$before" ]]
	umount "$T/disk"
	S=$T/store
	mount_fs
	same
}

# Changes two bytes at offset $1 of both superblocks to $2, with a good checksum.
patch_superblock() {
	cat >"$T/patch" <<-'END'
		sub crc32c {
			my $c = 0xffffffff;
			for my $byte (unpack "C*", $_[0]) {
				$c ^= $byte;
				$c = $c & 1 ? ($c >> 1) ^ 0x82f63b78 : $c >> 1 for 1 .. 8;
			}
			return $c ^ 0xffffffff;
		}
		my ($file, $at, $value) = @ARGV;
		open my $f, "+<:raw", $file or die "$file: $!";
		my $all = do { local $/; <$f> };
		for my $copy (0, 4096) {
			my $sum = unpack "V", substr $all, $copy + 8, 4;
			die "the checksum is not understood" if $sum != crc32c(substr $all, $copy + 12, 244);
			substr($all, $copy + $at, 2) = pack "v", $value;
			substr($all, $copy + 8, 4) = pack "V", crc32c(substr $all, $copy + 12, 244);
		}
		seek $f, 0, 0;
		print $f $all;
		close $f or die;
	END
	perl "$T/patch" "$S/superblock" "$1" "$2"
}

@test "a store of a newer format version, and one with unknown features" {
	local before
	payloadctl create "$S"
	cp -a "$S" "$T/copy"
	patch_superblock 12 2
	before=$(fingerprint "$S")
	ends $exit_newer "$S" "$S" "$M"
	[[ $(fingerprint "$S") == "$before" ]]
	rm -rf "$S"
	cp -a "$T/copy" "$S"
	patch_superblock 16 64
	ends $exit_newer "$S" "$S" "$M"
}

@test "a damaged superblock" {
	local before
	payloadctl create "$S"
	printf 'XXXX' | dd of="$S/superblock" bs=1 seek=20 conv=notrunc status=none
	printf 'XXXX' | dd of="$S/superblock" bs=1 seek=$((4096 + 20)) conv=notrunc status=none
	before=$(fingerprint "$S")
	ends $exit_damaged superblock "$S" "$M"
	[[ $(fingerprint "$S") == "$before" ]]
}

@test "one damaged copy of the superblock is no obstacle" {
	payloadctl create "$S"
	printf 'XXXX' | dd of="$S/superblock" bs=1 seek=20 conv=notrunc status=none
	mount_fs
	echo x >"$M/1"
	remount
	[[ $(cat "$M/1") == x ]]
}

@test "a store inside the mount point is refused, a mount point inside the store as well" {
	ends $exit_target "$M" "$M/store" "$M"
	[[ -z $(ls -A "$M") ]]
}

@test "the store is made when it is missing, its directories too; -o sizes are kept" {
	S=$T/a/b/store
	mount_fs -o page_size=64K,min_value_size=16
	echo x >"$M/1"
	[[ $(stat_of page_size) == 65536 && $(stat_of min_value_size) == 16 ]]
	remount
	[[ $(stat_of page_size) == 65536 && $(cat "$M/1") == x ]]
}

@test "without STORE the place is chosen and printed: for root below /var/lib" {
	cat >"$T/script" <<-END
		mount -t tmpfs none /var/lib
		payloadfs "$M" > "$T/out"
		echo x > "$M/1"
		grep -F /var/lib/payloadfs/ "$T/out"
		payloadctl umount "$M"
		[[ \$(ls /var/lib/payloadfs | wc -l) == 1 ]]
		payloadctl get /var/lib/payloadfs/* 1
	END
	run -0 private "$T/script"
	[[ ${lines[-1]} == x ]]
}

@test "without STORE, for another user: below XDG_DATA_HOME, or in the home directory" {
	mkdir "$T/dev"
	install -d -o 65534 -g 65534 "$T/data" "$T/home" "$T/mine"
	install -D -m 755 -t "$T/bin" "$build/payloadfs" "$build/payloadctl"
	chmod 755 "$T"
	cat >"$T/script" <<-END
		mount -t tmpfs none "$T/dev"
		mknod -m 666 "$T/dev/fuse" c 10 229
		mount --bind "$T/dev/fuse" /dev/fuse
		export PATH=$T/bin:\$PATH HOME=$T/home
		cd /
		exec setpriv --reuid=65534 --regid=65534 --clear-groups bash -e "$T/user"
	END
	cat >"$T/user" <<-END
		export XDG_DATA_HOME=$T/data
		payloadfs "$T/mine" | grep -F "$T/data/payloadfs/"
		echo x > "$T/mine/1"
		[[ \$(stat -c '%U %a' "$T/mine/1") == 'nobody 644' ]]
		payloadctl umount "$T/mine"
		unset XDG_DATA_HOME
		payloadfs "$T/mine" | grep -F "$T/home/.local/share/payloadfs/"
		[[ -z \$(ls "$T/mine") ]]
		echo y > "$T/mine/2"
		payloadctl umount "$T/mine"
		payloadctl get "$T"/data/payloadfs/* 1
		payloadctl get "$T"/home/.local/share/payloadfs/* 2
	END
	run -0 private "$T/script"
	[[ ${lines[-2]} == x && ${lines[-1]} == y ]]
}

@test "SIGTERM, SIGINT and SIGHUP unmount without loss; in the foreground the exit code is 0" {
	local signal daemon
	for signal in TERM INT HUP; do
		bash -c 'trap - INT; exec payloadfs -f "$1" "$2"' - "$S" "$M" >>"$LOG" 2>&1 3>&- &
		daemon=$!
		wait_for 30 answers
		echo "$signal" >"$M/$signal"
		kill -"$signal" "$daemon"
		wait "$daemon"
		[[ -z $(mounts_below) ]]
	done
	mount_fs
	[[ $(cat "$M/TERM" "$M/INT" "$M/HUP") == $'TERM\nINT\nHUP' ]]
	payloadctl stat "$M" >/dev/null
	kill -TERM "$(daemon_pids)"
	wait_for 30 no_daemon
	[[ -z $(mounts_below) ]]
	payloadctl check "$S"
}

@test "payloadctl umount returns when the daemon has ended; a mount in use is refused and goes on" {
	mount_fs
	echo x >"$M/1"
	exec 5<"$M/1"
	run -$exit_mount timeout 60 payloadctl umount "$M"
	[[ $(cat "$M/1") == x ]]
	exec 5<&-
	timeout 60 payloadctl umount "$M"
	no_daemon
	[[ -z $(mounts_below) && -z $(ls -A "$M") ]]
	payloadctl get "$S" 1
}

@test "mounting again right after fusermount3 -u waits for the daemon that still closes" {
	local i
	for i in 1 2 3 4 5; do
		mount_fs
		noise 3000000 >"$M/$i"
		timeout 60 fusermount3 -u "$M"
	done
	mount_fs
	[[ $(ls "$M" | wc -l) == 5 ]]
}

@test "mount -t fuse.payloadfs, as from fstab" {
	cat >"$T/script" <<-END
		mount -t tmpfs none /usr/local
		install -D -t /usr/local/bin "$build/payloadfs"
		mount -t fuse.payloadfs -o defaults,nofail,allow_other,x-systemd.automount "$S" "$M"
		echo x > "$M/1"
		findmnt -n -o FSTYPE "$M"
		payloadctl umount "$M"
		payloadctl get "$S" 1
	END
	run -0 private "$T/script"
	[[ ${lines[-2]} == fuse.payloadfs && ${lines[-1]} == x ]]
}

@test "Type=notify: systemd is told when the mount answers" {
	local listener
	cat >"$T/listen" <<-'END'
		use Socket;
		alarm 60;
		socket my $s, PF_UNIX, SOCK_DGRAM, 0 or die;
		bind $s, sockaddr_un($ARGV[0]) or die;
		while (defined recv $s, my $message, 4096, 0) {
			print "$message\n";
			last if $message =~ /READY=1/;
		}
	END
	perl "$T/listen" "$T/notify" >"$T/told" 3>&- &
	listener=$!
	wait_for 30 test -S "$T/notify"
	NOTIFY_SOCKET=$T/notify payloadfs -f "$S" "$M" >>"$LOG" 2>&1 3>&- &
	wait "$listener"
	answers
	grep -q READY=1 "$T/told"
}

@test "payloadctl: bad lines are named, good ones imported; plain directories are refused" {
	mount_fs
	cat >"$T/in" <<-'END'
		{"id":1,"payload":{"a":1}}
		{"id":2,"payload":{"a":
		{"id":"007","payload":{}}
		{"id":4,"payload":{"a":4}}
	END
	run -1 --separate-stderr payloadctl import "$M" "$T/in"
	[[ $stderr == *2* && $stderr == *3* ]]
	[[ $(ls "$M" | tr '\n' ' ') == "1 4 " ]]
	run -$exit_no_store payloadctl stat "$W"
	run -$exit_no_store payloadctl stat "$T/nowhere"
	# On a dead mount it goes to the store itself.
	kill_daemon
	run -0 timeout 60 payloadctl get "$M" 4
	[[ $output == '{"a":4}' ]]
	mount_fs
	[[ $(cat "$M/4") == '{"a":4}' ]]
}

# without LIBRARY SWITCH FILE: the programs that a machine without the library builds: one file of storage/ is another,
# the rest is what there is.
without() {
	local compile library
	local -a libraries
	for library in liblz4 liburcu-bp libzstd libcrypto libcurl; do
		[[ $library == "$1" ]] || libraries+=("$library")
	done
	mkdir "$T/bin"
	compile="$(<"$build/.flags") -U$2"
	(
		cd "$root"
		eval "$compile -c -o '$T/bin/$3.o' storage/$3.c"
		eval "$compile -o '$T/bin/payloadctl' $build/tools/*.o '$T/bin/$3.o' $build/libpayload.a \
			$(pkg-config --libs "${libraries[@]}")"
		eval "$compile -o '$T/bin/payloadfs' $build/fs/*.o '$T/bin/$3.o' $build/libpayload.a \
			$(pkg-config --libs fuse3 "${libraries[@]}")"
	)
	build=$T/bin PATH=$T/bin:$PATH
}

@test "built without libzstd: who asks for dictionaries is told, those that are there are used" {
	local wanted="built without libzstd"
	perl -e 'for my $i (1 .. 3000) { printf qq({"id":%d,"payload":{"n":%d,"text":"%s"}}\n), $i, $i, "word$i " x 20 }' >"$T/in"
	payloadctl import -q "$S" "$T/in"
	(($(payloadctl stat --json "$S" | jq .dictionaries) == 1)) || fail "libzstd is not here: nothing to compare with"
	without libzstd PFS_HAVE_ZSTD train
	[[ $(payloadfs -V) == *"libzstd none"* && $(payloadctl -V) == *"libzstd none"* ]]
	# By default nobody asks.
	mount_fs
	[[ ! -s $LOG ]] || fail "$(<"$LOG")"
	echo '{"n":1,"text":"word1 "}' >"$M/1"
	payloadctl export -q --sort "$M" | sed 1d | cmp - <(sed 1d "$T/in")
	run -7 payloadctl train "$M"
	[[ $output == *"$wanted"* ]]
	run -0 --separate-stderr payloadctl import -q --dict=auto "$M" <<<'{"id":1,"payload":2}'
	[[ $stderr == "payloadctl: $M: --dict=auto: $wanted"* && ${#stderr_lines[@]} == 1 ]]
	unmount_fs
	mount_fs -o dict=auto
	[[ $(<"$LOG") == "payloadfs: -o dict=auto: $wanted"* && $(wc -l <"$LOG") == 1 ]] || fail "$(<"$LOG")"
	[[ $(<"$M/1") == 2 ]]
	unmount_fs
	: >"$LOG"
	mount_fs -o dict=off
	unmount_fs
	mount_fs -o ro,dict=auto
	unmount_fs
	[[ ! -s $LOG ]] || fail "$(<"$LOG")"
	run -0 --separate-stderr payloadctl import -q --dict=auto "$T/new" "$T/in"
	[[ $stderr == "payloadctl: $T/new: --dict=auto: $wanted"* ]] || fail "$stderr"
	(($(payloadctl stat --json "$T/new" | jq .dictionaries) == 0))
	run -0 --separate-stderr payloadctl create --dict=auto "$T/made"
	[[ $stderr == "payloadctl: --dict=auto: $wanted"* && ${#stderr_lines[@]} == 1 ]]
	[[ -z $(payloadctl create --dict=off "$T/made2" 2>&1; payloadctl import -q "$T/made2" "$T/in" 2>&1) ]]
}

@test "built without libcurl: URLs are refused with the reason, directories are not" {
	local url wanted="built without libcurl"
	echo '{"id":1,"payload":2}' | payloadctl import -q "$S"
	without libcurl PFS_HAVE_CURL io_http
	[[ $(payloadfs -V) == *"libcurl none"* && $(payloadctl -V) == *"libcurl none"* ]]
	for url in http://localhost/x https://localhost/x s3://bucket/x; do
		run -7 payloadctl get "$url" 1
		[[ $output == *"$wanted"* && ${#lines[@]} == 1 ]] || fail "$output"
		run -7 payloadfs "$url" "$M"
		[[ $output == *"$wanted"* ]] || fail "$output"
	done
	run -7 payloadctl publish "$S" s3://bucket/x
	[[ $output == *"$wanted"* ]]
	payloadctl publish -q "$S" "$T/published"
	payloadctl check -q "$T/published"
	[[ $(payloadctl get "$T/published" 1) == 2 ]]
	mount_fs
	[[ $(<"$M/1") == 2 ]]
}

@test "built without libcrypto: publishing is refused with the reason, what is published is read" {
	echo '{"id":1,"payload":2}' | payloadctl import -q "$S"
	payloadctl publish -q "$S" "$T/published"
	without libcrypto PFS_HAVE_CRYPTO hash
	run -7 payloadctl publish "$S" "$T/other"
	[[ $output == *"built without libcrypto"* ]]
	[[ ! -e $T/other/current ]]
	[[ $(payloadctl get "$T/published" 1) == 2 ]]
	mount_fs
	[[ $(<"$M/1") == 2 ]]
}

# standard_descriptors: the daemon's lead to nothing that is written to.
standard_descriptors() {
	local fd
	for fd in 0 1 2; do
		[[ $(readlink "/proc/$(daemon_pids)/fd/$fd") == /dev/null ]] ||
			fail "$fd leads to $(readlink "/proc/$(daemon_pids)/fd/$fd")"
	done
}

@test "started with standard input, output and error closed: no file takes their place" {
	timeout 60 payloadfs "$S" "$M" <&- >&- 2>&- 3>&-
	echo x >"$M/1"
	standard_descriptors
	unmount_fs
	timeout 60 payloadfs "$S" "$M" 2>&- 3>&-
	[[ $(cat "$M/1") == x ]]
	standard_descriptors
	unmount_fs
	payloadfs -f "$S" "$M" <&- >&- 2>&- 3>&- &
	wait_for 60 answers
	standard_descriptors
	kill -USR1 "$(daemon_pids)" # it has something to say
	[[ $(cat "$M/1") == x ]]
	unmount_fs
	payloadctl check "$S"
}

# The daemon's connection is cut off when it does not end by itself.
leave_no_connection() {
	[[ -z ${device:-} || ! -e $(connections)/$device ]] || echo 1 >"$(connections)/$device/abort"
}

teardown() {
	leave_no_connection
	cleanup_all
}

@test "SIGTERM when the mount is out of the tree and in use, beside programs and payloadctl: it ends" {
	local i programs=()
	mount_fs
	device=$(awk -v m="$M" '$5 == m { sub(/.*:/, "", $3); print $3 }' /proc/self/mountinfo)
	for i in 1 2 3 4; do
		(cd "$M" && while : >"$i" && rm "$i"; do :; done) >/dev/null 2>&1 3>&- &
		programs+=($!)
	done
	(while [[ ! -e $T/stop ]]; do word_records 1000 1200 | ctl import -q "$S" || true; done) >/dev/null 2>&1 3>&- &
	programs+=($!)
	is_imported() { [[ -e $M/1200 ]]; }
	wait_for 30 is_imported
	umount -l "$M"
	kill -TERM "$(daemon_pids)"
	wait_for 60 no_daemon || fail "it does not end"
	touch "$T/stop"
	wait "${programs[@]}" || true
	ctl check "$S"
}
