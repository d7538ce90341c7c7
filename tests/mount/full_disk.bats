# The disk of the store is full: ENOSPC, nothing that was there is harmed, what frees space works,
# and service resumes.

load lib

image_mib=200

setup() {
	setup_dirs
	mkdir "$T/disk"
	truncate -s "${image_mib}M" "$T/image"
	mkfs.ext4 -q -F -m 0 "$T/image"
	mount -o loop "$T/image" "$T/disk"
	S=$T/disk/store
	mount_fs
}

available() { df --output=avail -B1 "$T/disk" | tail -n 1; }

# Fills the disk but for $1 MiB.
leave() {
	local left=$(($(available) - ($1 << 20)))
	((left > 0))
	head -c "$left" /dev/zero >"$T/disk/ballast" 2>/dev/null || (($1 == 0))
	sync "$T/disk/ballast"
}

# Leaves less than a segment of the journal needs; ext4 gives back what was removed a little later.
fill_up() {
	head -c 1G /dev/zero >"$T/disk/ballast" 2>/dev/null || true
	sync -f "$T/disk"
	# What a file can't have any more, a new one can.
	head -c 1G /dev/zero >"$T/disk/ballast2" 2>/dev/null || true
	sync -f "$T/disk"
	(($(available) < 16000))
}

# 100 documents that are there before.
earlier() {
	text 31100 >"$T/text"
	W=$W perl -0777 -ne 'for my $i (1 .. 100) {
		open my $file, ">", "$ENV{W}/$i" or die;
		print $file substr $_, 0, $i * 311 and close $file or die;
	}' "$T/text"
	noise 200000 >"$W/note"
	cp "$W"/* "$M/"
}

# Copies noise to new ids, eight by each cp, until one of them fails; what was copied without an error is in $W as well.
fill() {
	local i n size=${1:-300000} batch error=
	mkdir "$T/in.d"
	for ((n = 1000; n < 3000; n += 8)); do
		batch=()
		for ((i = n; i < n + 8; i++)); do batch+=("$T/in.d/$i"); done
		noise_files "$size" "${batch[@]}"
		error=$(cp "${batch[@]}" "$M/" 2>&1) || break
		mv "${batch[@]}" "$W/"
	done
	((n < 3000)) || fail "the disk did not get full"
	while read -r i; do
		[[ $i == *'No space left on device'* ]] || fail "another error: $i"
	done <<<"$error"
	for ((i = n; i < n + 8; i++)); do
		if [[ $error != *"/mnt/$i"[!0-9]* ]]; then
			mv "$T/in.d/$i" "$W/"
			continue
		fi
		# One that failed may not be there at all, or empty; it holds no bytes that were not all
		# accepted.
		[[ ! -s $M/$i ]] || fail "$i holds $(stat -c %s "$M/$i") bytes of a write that failed"
		rm -f "$M/$i"
	done
	rm -r "$T/in.d"
}

same_daemon() { [[ $(daemon_pids) == "$daemon" ]] || fail "the daemon has died"; }

@test "40 MB left: writing until ENOSPC, earlier files intact, rm and mv work, service resumes" {
	earlier
	leave 40
	daemon=$(daemon_pids)
	fill
	same
	forget_pages
	same
	same_daemon
	both "rm 5 6 7; mv 8 5; mv 9 tmp; mv tmp 9; truncate -s 100 10; : > 11; chmod 600 12"
	same
	rm "$M/1000" "$M/1001" "$M/1002" "$M/1003" "$W/1000" "$W/1001" "$W/1002" "$W/1003"
	wait_for 30 writes_again
	both "echo again > 2001; cp 20 2002"
	same
	rm "$T/disk/ballast"
	noise 3000000 >"$T/in"
	wait_for 30 writes_again
	both "cp ../in 2003; cp 30 31"
	same
	same_daemon
	remount
	same
	unmount_fs
	payloadctl check "$S"
}

writes_again() {
	noise 100000 >"$T/probe" && cp "$T/probe" "$M/probe" 2>/dev/null && rm "$M/probe"
}

@test "the document that was being rewritten keeps its old bytes" {
	local i accepted=()
	earlier
	leave 40
	daemon=$(daemon_pids)
	fill 1000000
	# Now a rewrite with something much larger, again and again, by every way.
	noise 900000 >"$T/large"
	for i in $(seq 20 40); do
		if cp "$T/large" "$M/$i" 2>"$T/error"; then
			accepted+=("$W/$i")
		else
			[[ $(<"$T/error") == *"No space left"* ]]
		fi
	done
	for i in $(seq 41 60); do
		if cat "$T/large" 2>"$T/error" >"$M/$i"; then
			# The shell does not look at what close says: old or new, as long as it is
			# whole.
			if cmp -s "$T/large" "$M/$i"; then accepted+=("$W/$i"); fi
		fi
	done
	for i in $(seq 61 80); do
		if cp "$T/large" "$M/tmp" 2>"$T/error"; then
			mv "$M/tmp" "$M/$i"
			accepted+=("$W/$i")
		elif [[ -e $M/tmp ]]; then
			rm "$M/tmp"
		fi
	done
	tee "${accepted[@]}" <"$T/large" >/dev/null
	same
	forget_pages
	same
	same_daemon
	remount
	same
	unmount_fs
	payloadctl check "$S"
}

@test "kill -9 on the full disk: it mounts again, everything is there" {
	earlier
	leave 20
	fill 500000
	kill_daemon
	mount_fs
	same
	both "rm 1 2 3; mv 4 3"
	rm "$T/disk/ballast"
	wait_for 30 writes_again
	both "echo new > 1"
	same
	unmount_fs
	payloadctl check "$S"
}

@test "mounted when others have filled the disk: rm works, also after kill -9, and so does unmounting" {
	local reserved
	earlier
	unmount_fs
	reserved=$(du -B1 "$S/reserve" | cut -f1)
	((reserved > 0 && reserved < 100000)) || fail "a closed store keeps $reserved bytes"
	wait_for 30 fill_up
	mount_fs
	both "rm 1 2 3"
	same
	remount
	same
	both "rm 4 5 6; mv 8 7"
	kill_daemon
	mount_fs
	same
	both "rm \$(seq 10 60)"
	same
	unmount_fs
	payloadctl check "$S"
	payloadctl rm "$S" 61
	rm "$W/61" "$T/disk/ballast" "$T/disk/ballast2"
	sync -f "$T/disk"
	mount_fs
	wait_for 30 writes_again
	both "echo new > 2003; cp 70 5"
	same
	unmount_fs
	payloadctl check "$S"
}

@test "imports and puts on a full disk fail with a reason and change nothing else" {
	earlier
	leave 10
	fill 500000
	noise 5000000 >"$T/in"
	run -7 payloadctl put "$M" 5000 "$T/in"
	[[ $output == *[Nn]"o space left"* ]]
	[[ ! -e $M/5000 ]]
	run -7 payloadctl put "$M" 50 "$T/in"
	same
	remount
	same
}

@test "a store can't be made on a disk without room: a clear refusal, nothing left mounted" {
	local rc
	unmount_fs
	rm -rf "$S"
	leave 0
	rc=0
	timeout 60 payloadfs "$S" "$M" >"$T/out" 2>&1 3>&- || rc=$?
	[[ $rc == 7 ]] || { cat "$T/out"; fail "exit code $rc"; }
	[[ $(wc -l <"$T/out") == 1 ]] || fail "not one line: $(cat "$T/out")"
	[[ -z $(mounts_below) ]]
	# ext4 gives the space back when its journal is written.
	rm "$T/disk/ballast"
	sync -f "$T/disk"
	mount_fs
	echo x >"$M/1"
}

@test "a rewrite past the cache (O_DIRECT) that finds no room: everybody sees the old bytes" {
	local i error failed=0
	earlier
	leave 40
	daemon=$(daemon_pids)
	fill 1000000
	noise 1048576 >"$T/large"
	for i in $(seq 20 60); do
		# Emptying it needs the room of a small document, and works longer.
		if error=$(dd if="$T/large" of="$M/$i" bs=1M oflag=direct status=none 2>&1); then
			cp "$T/large" "$W/$i"
			continue
		fi
		[[ $error == *"No space left"* ]] || fail "$error"
		[[ $error == *"failed to open"* ]] || ((++failed))
		wait_for 30 cmp -s "$W/$i" "$M/$i" || fail "$i has $(stat -c %s "$M/$i") bytes"
	done
	((failed)) || fail "no write has failed"
	same
	same_daemon
	rm "$M/1000" "$W/1000"
	wait_for 30 writes_again
	both "echo again > 20"
	same
	remount
	same
}
