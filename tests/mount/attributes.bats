# Mode, owner and times: kept, shown at once, and after a remount; permissions enforced.

load lib

@test "chmod, chown and touch -d: kept to the bit and the nanosecond" {
	both "for i in 1 2 3 4 5 6 7 8 9; do echo \$i > \$i; done"
	both <<-'END'
		chmod 600 1
		chmod 000 2
		chmod 755 3
		chmod u+s,g+s 3
		chmod 7777 4
		chown 12:34 5
		chown :56 6
		chmod a-w 7
	END
	both <<-'END'
		touch -d '2001-02-03 04:05:06.789012345' 1
		touch -d @0 2
		touch -d '1950-01-01' 3
		touch -d '2100-06-07 08:09:10.000000001' 4
	END
	both <<-'END'
		touch -d '2222-01-01 00:00:00.5' 5
		touch -m -d @1.999999999 6
		touch -r 1 7
		touch -d @-1.25 8
		touch -d @1000 9
	END
	same times
	remount
	same times
	both "stat -c '%n %a %u:%g %.9Y' *"
	both "chmod 644 2; echo more >> 2; cat 2; chown 1:1 3; stat -c %a 3 4"
	both "touch -d @2000 *"
	same_for_good times
}

@test "writing changes the time, reading and chmod do not" {
	local before
	echo x >"$M/1"
	touch -d @1000000000 "$M/1"
	cat "$M/1" >/dev/null
	chmod 600 "$M/1"
	[[ $(stat -c %Y "$M/1") == 1000000000 ]]
	before=$(date +%s)
	echo y >>"$M/1"
	(($(stat -c %Y "$M/1") >= before))
	touch -d @1000000000 "$M/1"
	truncate -s 1 "$M/1"
	(($(stat -c %Y "$M/1") >= before))
	remount
	(($(stat -c %Y "$M/1") >= before))
	[[ $(stat -c %a "$M/1") == 600 ]]
}

@test "the time of a write is the same before and after a remount" {
	local i
	for i in 1 2 3; do echo "$i" >"$M/$i"; done
	printf x | dd of="$M/2" bs=1 seek=5 conv=notrunc status=none
	mv "$M/3" "$M/4"
	(cd "$M" && attributes times) >"$T/before"
	forget_pages
	cat "$M"/* >/dev/null
	diff "$T/before" <(cd "$M" && attributes times)
	remount
	diff "$T/before" <(cd "$M" && attributes times)
}

@test "find -newer and test -nt go by nanoseconds" {
	echo a >"$M/1"
	echo b >"$M/2"
	echo c >"$M/3"
	touch -d '2020-01-01 00:00:00.000000005' "$M/1"
	touch -d '2020-01-01 00:00:00.000000006' "$M/2"
	touch -d '2020-01-01 00:00:00.000000004' "$M/3"
	[[ $(find "$M" -type f -newer "$M/1") == "$M/2" ]]
	remount
	[[ $(find "$M" -type f -newer "$M/1") == "$M/2" ]]
	[[ $M/1 -nt $M/3 && $M/3 -ot $M/1 ]]
	echo new >"$M/3"
	[[ $(find "$M" -type f -newer "$M/2") == "$M/3" ]]
}

@test "attributes stay with a file through rename, append, sed -i and rewriting" {
	both <<-'END'
		echo a > 1
		chmod 640 1
		chown 12:34 1
		mv 1 2
		echo b >> 2
		sed -i s/a/c/ 2
		echo d > 2
		stat -c '%a %u:%g' 2
	END
	same_for_good
}

@test "uid=, gid= and umask= are the defaults of the store's documents" {
	unmount_fs
	rm -rf "$S"
	mount_fs -o uid=12,gid=34,umask=027
	payloadctl put "$M" 1 <<<'{"a":1}'
	[[ $(stat -c '%a %u:%g' "$M/1") == '640 12:34' ]]
	unmount_fs
	mount_fs
	[[ $(stat -c '%a %u:%g' "$M/1") == '640 12:34' ]]
}

@test "extended attributes are not supported, and nobody stumbles over that" {
	echo x >"$M/1"
	refused "Operation not supported" setfattr -n user.a -v b "$M/1"
	getfattr -d "$M/1" >"$T/out" 2>&1 || true
	[[ $(grep -c user.a "$T/out") == 0 ]]
	cp -a "$M/1" "$M/2"
	[[ $(cat "$M/2") == x ]]
}

@test "allow_other: another user is refused what the mode refuses" {
	local as_nobody
	as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
	remount -o allow_other
	chmod 755 "$T"
	echo secret >"$M/1"
	chmod 600 "$M/1"
	echo public >"$M/2"
	cat "$M/1" "$M/2" >/dev/null
	refused "Permission denied" as_nobody cat "$M/1"
	[[ $(as_nobody cat "$M/2") == public ]]
	refused "Permission denied" as_nobody bash -c 'echo x >> "$1"' - "$M/2"
	refused "Permission denied" as_nobody rm -f "$M/2"
	refused "Permission denied" as_nobody mv "$M/2" "$M/3"
	refused "Permission denied" as_nobody touch "$M/4"
	refused "Operation not permitted" as_nobody chmod 777 "$M/1"
	refused "Permission denied" as_nobody truncate -s 0 "$M/1"
	remount -o allow_other
	refused "Permission denied" as_nobody cat "$M/1"
	chown 65534 "$M/1"
	[[ $(as_nobody cat "$M/1") == secret ]]
	as_nobody bash -c 'echo more >> "$1"' - "$M/1"
	[[ $(cat "$M/1") == $'secret\nmore' ]]
}

@test "without allow_other another user sees nothing" {
	echo public >"$M/1"
	chmod 755 "$T"
	refused "Permission denied" setpriv --reuid=65534 --regid=65534 --clear-groups ls "$M"
}

@test "ro: everything is read, nothing is changed" {
	echo x >"$M/1"
	chmod 640 "$M/1"
	remount -o ro
	[[ $(cat "$M/1") == x && $(stat -c %a "$M/1") == 640 ]]
	refused "Read-only file system" bash -c 'echo y > "$1"' - "$M/1"
	refused "Read-only file system" bash -c 'echo y > "$1"' - "$M/2"
	refused "Read-only file system" rm -f "$M/1"
	refused "Read-only file system" chmod 600 "$M/1"
	refused "Read-only file system" mv "$M/1" "$M/2"
	remount
	[[ $(cat "$M/1") == x && $(ls -A "$M") == 1 ]]
}

@test "flock and fcntl locks exclude" {
	local probe
	probe=$(helper probe)
	echo x >"$M/1"
	"$probe" flock "$M/1"
	exec 5<"$M/1"
	flock -x 5
	not flock -n "$M/1" true
	exec 5<&-
	flock -n "$M/1" true
}

@test "fsync, fdatasync and sync -f of files and of the directory" {
	local probe
	probe=$(helper probe)
	echo x >"$M/1"
	"$probe" fsync "$M/1"
	"$probe" fsync "$M"
	sync "$M/1"
	sync -d "$M/1"
	sync "$M"
	sync -f "$M"
	kill_daemon
	mount_fs
	[[ $(cat "$M/1") == x ]]
}
