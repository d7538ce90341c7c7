# Writing, reading and cutting parts of documents.

load lib

@test "dd conv=notrunc in the middle, at the borders, past the end" {
	text 300000 >"$T/in"
	printf 'PATCHED' >"$T/patch"
	both <<-'END'
		cp ../in 1
		dd if=../patch of=1 bs=1 seek=150000 conv=notrunc status=none; sha256sum < 1
	END
	both <<-'END'
		dd if=../patch of=1 bs=1 seek=65533 conv=notrunc status=none
		dd if=../patch of=1 conv=notrunc status=none
	END
	both <<-'END'
		dd if=../patch of=1 bs=1 seek=299996 conv=notrunc status=none
		dd if=../patch of=1 bs=1 seek=400000 conv=notrunc status=none
	END
	both "echo small > 2; dd if=../patch of=2 bs=1 seek=2 conv=notrunc status=none; cat 2"
	same_for_good
}

@test "dd reads ranges: skip, tail, head, the end" {
	text 2000000 >"$T/in"
	both "cp ../in 1"
	forget_pages
	both <<-'END'
		dd if=1 bs=4096 skip=200 count=1 status=none | sha256sum
		dd if=1 bs=1 skip=65530 count=20 status=none
		tail -c 5 1
		head -c 5 1
		dd if=1 bs=4096 skip=1000 status=none | wc -c
	END
	same_for_good
}

@test "dd with oflag=sync, dsync, append and direct" {
	noise 100000 >"$T/in"
	both <<-'END'
		dd if=../in of=1 bs=10000 oflag=sync status=none
		dd if=../in of=2 bs=30000 oflag=dsync status=none
		dd if=../in of=1 oflag=append conv=notrunc bs=5000 status=none
	END
	both <<-'END'
		dd if=../in of=3 bs=4096 count=5 oflag=direct status=none
		dd if=3 bs=4096 iflag=direct status=none | sha256sum
	END
	both <<-'END'
		dd if=../in of=4 bs=1000 conv=fsync status=none
		dd if=../in of=5 bs=1000 conv=fdatasync status=none
	END
	same_for_good
}

@test "truncate: to nothing, shorter, longer, to the same, in steps" {
	text 200000 >"$T/in"
	both "for i in 1 2 3 4 5 6; do cp ../in \$i; done"
	both <<-'END'
		truncate -s 0 1
		truncate -s 100 2
		truncate -s 200000 3
		truncate -s 300000 4
		truncate -s -5 5
		truncate -s +5 6
		truncate -s 65536 6
	END
	same
	both <<-'END'
		truncate -s 1000 1
		echo end >> 1
		truncate -s 10 4
		truncate -s 50 4
		cat 4 | tr '\0' 0
	END
	both "truncate -s 10000 7; wc -c 7"
	same_for_good
}

@test "sparse: truncate -s alone, a write far behind the end, cp --sparse" {
	both <<-'END'
		truncate -s 20M 1
		printf x | dd of=2 bs=1 seek=10000000 conv=notrunc status=none
		sha256sum < 1
		sha256sum < 2
	END
	both <<-'END'
		cp --sparse=always 2 3
		printf middle | dd of=1 bs=1 seek=5000000 conv=notrunc status=none
	END
	same_for_good
	remount
	(($(stat -c %b "$M/1") * 512 < 4000000)) || fail "zeros take $(stat -c %b "$M/1") blocks"
}

@test "a held truncation and what follows it: rewriting in place keeps nothing of the old end" {
	text 100000 >"$T/in"
	both <<-'END'
		cp ../in 1
		exec 5<> 1
		printf abc >&5
		exec 5>&-
		head -c 6 1
		printf short > 1
		cat 1
	END
	both "cp ../in 2; (exec 5> 2; sleep 0; printf one >&5; printf two >&5); cat 2"
	both <<-'END'
		cp ../in 3
		perl -e 'open my $f, "+<", "3"; truncate $f, 0; seek $f, 50, 0; syswrite $f, "end"; close $f'
		tr '\0' 0 < 3
	END
	same_for_good
}

@test "fallocate: growth, keeping the size, punching and zeroing" {
	text 100000 >"$T/in"
	both <<-'END'
		cp ../in 1
		fallocate -l 150000 1
		fallocate -l 500000 2
		fallocate -n -l 300000 1
		wc -c 1 2
	END
	both <<-'END'
		fallocate -p -o 5000 -l 60000 1
		sha256sum < 1
		fallocate -z -o 90000 -l 80000 1
		fallocate -z -n -o 99000 -l 80000 1
		wc -c 1
	END
	same_for_good
}

@test "two descriptors of one file see each other's writes" {
	both <<-'END'
		exec 5> 1
		exec 6< 1
		printf abc >&5
		cat <&6
		printf def >&5
		cat <&6
		rm 1
		printf ghi >&5
		cat <&6
	END
	same_for_good
}

@test "stores through a shared mapping arrive, and mappings show what was written" {
	local probe
	probe=$(helper probe)
	text 300000 >"$T/in"
	both <<-END
		cp ../in 1
		$probe mmap-write 1 0 first
		$probe mmap-write 1 131070 across
		$probe mmap-write 1 299996 last
		$probe mmap-read 1 | sha256sum
	END
	both <<-END
		printf patched | dd of=1 bs=1 seek=4000 conv=notrunc status=none
		$probe mmap-read 1 | sha256sum
	END
	same_for_good
	both "$probe mmap-read 1 | sha256sum"
}

run_fio() {
	(cd "$M" && fio --verify_fatal=1 --output="$T/fio" "$@") || { cat "$T/fio"; fail "fio $*"; }
}

@test "fio: random writes with verification, several engines and block sizes" {
	local engine
	for engine in psync pvsync mmap; do
		run_fio --name=verify --filename="fio.$engine" --ioengine="$engine" --rw=randwrite \
			--bsrange=512-16k --size=4m --io_size=8m --verify=crc32c --do_verify=1 \
			--verify_backlog=200 --randseed=7
	done
	sha256sum "$M"/fio.* >"$T/sums"
	forget_pages
	sha256sum -c --quiet "$T/sums"
	remount
	sha256sum -c --quiet "$T/sums"
}

@test "fio: direct, synced and mixed reads and writes, four jobs" {
	run_fio --name=direct --filename=1 --ioengine=psync --direct=1 --rw=randrw --bs=4k --size=4m \
		--verify=md5
	run_fio --name=jobs --directory=. --filename_format='$jobnum' --ioengine=psync --numjobs=4 \
		--fsync=16 --rw=randrw --bsrange=1k-8k --size=1m --verify=crc32c
	sha256sum "$M"/* >"$T/sums"
	remount
	sha256sum -c --quiet "$T/sums"
}

@test "a large file: copied in and compared, with bounded memory, a range read without the rest" {
	local mib bound_kib daemon sampler before after peak
	mib=$(quick_or_full 128 1024)
	bound_kib=$(quick_or_full 100000 300000)
	# Sanitizers keep what was freed for a while.
	[[ $build != *[at]san ]] || bound_kib=$((bound_kib * 8))
	# Half noise, half text: not all of it shrinks.
	for _ in $(seq $((mib / 64))); do
		noise $((32 << 20))
		text $((32 << 20))
	done >"$T/large"
	daemon=$(daemon_pids)
	# Anonymous memory: what the daemon has for itself, without the mappings of its pages.
	cat >"$T/sampler" <<-'END'
		my ($pid, $out, $peak) = (@ARGV, 0);
		while (open my $f, "<", "/proc/$pid/status") {
			while (<$f>) { $peak = $1 if /^RssAnon:\s+(\d+)/ && $1 > $peak }
			open my $o, ">", "$out.new" or die;
			print $o $peak;
			close $o;
			rename "$out.new", $out;
			select undef, undef, undef, 0.02;
		}
	END
	perl "$T/sampler" "$daemon" "$T/peak" 3>&- &
	sampler=$!
	wait_for 10 test -s "$T/peak"
	cp "$T/large" "$M/1"
	cmp "$T/large" "$M/1"
	forget_pages
	cmp "$T/large" "$M/1"
	timeout 300 payloadctl sync "$M"
	peak=$(cat "$T/peak")
	kill "$sampler"
	((peak > 0 && peak < bound_kib)) || fail "the daemon had $peak KiB for itself"

	unmount_fs
	mount_fs
	before=$(stat_of blocks_decoded)
	dd if="$M/1" bs=4096 skip=$((mib * 128)) count=1 status=none |
		cmp - <(dd if="$T/large" bs=4096 skip=$((mib * 128)) count=1 status=none)
	after=$(stat_of blocks_decoded)
	((after > before && after - before <= 2)) || fail "$((after - before)) blocks decoded for 4 KiB"
	cmp "$T/large" "$M/1"

	# Rewriting parts of it, and cutting it.
	printf 'PATCHED' >"$T/patch"
	for at in 0 70000 $((mib << 19)) $(((mib << 20) - 7)); do
		dd if="$T/patch" of="$M/1" bs=1 seek="$at" conv=notrunc status=none
		dd if="$T/patch" of="$T/large" bs=1 seek="$at" conv=notrunc status=none
	done
	truncate -s $(((mib << 20) - 12345)) "$M/1" "$T/large"
	cmp "$T/large" "$M/1"
	remount
	cmp "$T/large" "$M/1"
}

@test "more than 1 GiB is refused, and the document stays what it was" {
	echo x >"$M/1"
	refused "File too large" truncate -s 1073741825 "$M/1"
	refused "" dd if=/dev/zero of="$M/1" bs=1 count=1 seek=1073741824 conv=notrunc status=none
	[[ $(cat "$M/1") == x ]]
	truncate -s 1073741824 "$M/1"
	[[ $(stat -c %s "$M/1") == 1073741824 ]]
	remount
	[[ $(stat -c %s "$M/1") == 1073741824 && $(head -c 1 "$M/1") == x ]]
}

@test "what would make a document too large is refused, and changes nothing of it" {
	text 100000 >"$W/1"
	printf small >"$W/2"
	cp "$W"/* "$M/"
	refused "File too large" fallocate -z -o 1000 -l 2G "$M/1"
	refused "File too large" fallocate -z -o 1 -l 2G "$M/2"
	refused "File too large" fallocate -l 2G "$M/2"
	refused "File too large" truncate -s 1073741825 "$M/1"
	same
	forget_pages
	same_for_good
}
