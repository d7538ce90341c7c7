# Reading, writing and removing documents with the shell and the plainest tools: the mount holds
# what plain files would hold, now, when read from the daemon again, and after a remount.

load lib

@test "echo, append, cat and overwrite" {
	both "echo x > 42; cat 42; echo y >> 42; cat 42"
	both "printf '{\"city\":\"Berlin\"}' > 7; cat 7"
	both "echo first > 8; echo second, and longer > 8; cat 8; echo 3 > 8; cat 8"
	same_for_good
}

@test "an empty document stays empty, an emptied one is emptied" {
	both ": > 1; echo something > 2; : > 2; touch 3; cat 1 2 3 | wc -c"
	same_for_good
}

@test "tee -a and repeated appends from one and from many openings" {
	both "for i in \$(seq 100); do echo \"line \$i\" >> 5; done; wc 5"
	both "seq 50 | tee -a 5 | tail -n 1; seq 3 | tee 6"
	both "{ for i in \$(seq 100); do echo \"line \$i\"; done; } >> 9"
	same_for_good
}

@test "cp in, out and between ids, over a shorter and a longer one" {
	text 300000 >"$T/long"
	text 17 >"$T/short"
	both <<-'END'
		cp ../long 1; cp ../short 2; cp 1 3; cp 2 1; cp 3 2; cmp 3 ../long; cmp 1 ../short
	END
	both "cat 3 > 4; cat 4 3 > 5; head -c 5 5"
	same_for_good
}

@test "mv onto an id, away from it, and from and to another filesystem" {
	both "echo a > 1; echo b > 2; mv 1 2; cat 2; mv 2 3; cat 3; mv 3 note; mv note 4; cat 4"
	both "echo c > new; mv new 4; cat 4"
	both "echo d > 5; mv 5 ../moved; cat ../moved; mv ../moved 6; cat 6"
	same_for_good
}

@test "jq . 42 > tmp && mv tmp 42" {
	both <<-'END'
		printf '{"a":1,"b":[true,null]}' > 42
		jq . 42 > tmp && mv tmp 42
		cat 42
		jq -c '.a = 10' 42 > tmp && mv tmp 42
		cat 42
	END
	same_for_good
}

@test "rm, rm of what is not there, rm and make again" {
	both "echo 1 > 1; echo 2 > 2; rm 1; ls; echo 3 > 1; cat 1; rm 1 2; ls"
	refused "No such file or directory" rm "$M/1"
	refused "No such file or directory" cat "$M/1"
	same_for_good
}

@test "split, cat of the pieces, xargs rm" {
	text 700000 >"$T/whole"
	both "split -d -a 1 -b 100000 ../whole 1; cat 1[0-9] | cmp - ../whole; ls"
	same
	both "ls | head -n 3 | xargs rm; ls; find . -type f -print0 | xargs -0 rm; ls"
	same_for_good
}

@test "the listing: ls, find and wc agree, hidden names included" {
	both "for i in \$(seq 1000); do echo \$i > \$i; done; touch .42.swp 42~"
	both <<-'END'
		ls | wc -l
		ls -A | wc -l
		find . -type f | wc -l
		ls -U | sort -n | tail -n 1
		ls -d .[!.]*
	END
	[[ $(cd "$M" && find . -type f -printf '%i\n' | sort -u | wc -l) == 1002 ]]
	same_for_good
}

@test "grep -l, wc, sort, sha256sum, file, xxd and diff read documents" {
	both <<-'END'
		for i in $(seq 200); do echo "{\"n\":$i,\"draft\":$((i % 7 == 0 ? 1 : 0))}" > $i; done
	END
	both <<-'END'
		grep -l '"draft":1' * | sort -n
		grep -rl '"n":19' . | sort
		cat * | sort | sha256sum
		wc -c 77
		file 77
		xxd 78
	END
	both "grep -l '\"draft\":1' -r . | xargs rm; ls | wc -l"
	both <<-'END'
		diff 1 2 > ../difference || true
		cat ../difference
		cp 1 copy
		patch -s copy ../difference && cmp copy 2
		rm copy
		ls -A | wc -l
	END
	same_for_good
}

@test "documents of every size around the borders of blocks, pages of memory and records" {
	local sizes=(1 15 16 17 127 128 129 511 512 513 4095 4096 4097 65535 65536 65537 131072 131073
		1048575 1048576 1048577 3000000)
	mkdir "$T/in"
	# Of each size one of text and, its id 10,000,000 higher, one of noise.
	text 3000000 | perl -e '
		sub put { open my $f, ">:raw", "$dir/$_[0]" or die; print $f $_[1] and close $f or die "$!\n" }
		($dir, @sizes) = @ARGV;
		read(STDIN, my $text, 3000000) == 3000000 or die;
		open my $urandom, "<:raw", "/dev/urandom" or die;
		for (@sizes) {
			read($urandom, my $noise, $_) == $_ or die;
			put($_, substr $text, 0, $_);
			put($_ + 10000000, $noise);
		}' "$T/in" "${sizes[@]}"
	both "cp ../in/* .; ls | wc -l"
	[[ $(ls "$M" | wc -l) == 44 ]]
	same_for_good
}

@test "growing and shrinking one document again and again" {
	mkdir "$T/in"
	text 200000 | perl -e '
		read(STDIN, my $text, 200000) == 200000 or die;
		for (1 .. 60) {
			open my $f, ">:raw", "$ARGV[0]/$_" or die;
			print $f substr $text, 0, ($_ * 7919 + $_ * $_ * 104729) % 200000 and close $f or die "$!\n";
		}' "$T/in"
	# Three of four rounds are one program's, which opens and cuts the documents each time as cp and cat do.
	cat >"$T/write" <<-'END'
		for my $round (@ARGV) {
			open my $in, "<:raw", "../in/$round" or die;
			sysread $in, my $bytes, 200000;
			for my $id (1, 2) {
				open my $f, ">:raw", $id or die "$!\n";
				syswrite($f, $bytes) == length $bytes and close $f or die "$!\n";
			}
		}
	END
	both <<-'END'
		for ((i = 1; i <= 60; i += 4)); do
			cp ../in/$i 1; cat ../in/$i > 2
			perl ../write $((i + 1)) $((i + 2)) $((i + 3))
		done
		cmp 1 ../in/60; cmp 2 ../in/60
	END
	same_for_good
}

@test "a shell script is executed from the mount" {
	both "printf '#!/bin/sh\necho ran with \$1\n' > script; chmod +x script; ./script it"
	both "cp /bin/true 77; chmod 755 77; ./77"
	same_for_good
	both "./script again; ./77"
}

@test "a document larger than a page file" {
	noise 50000000 >"$T/large"
	both "cp ../large 1; cmp 1 ../large; cp 1 2; rm 1; truncate -s 1000 2"
	both "cp ../large 1"
	same_for_good
}

@test "nothing but regular files can be made" {
	refused "Operation not permitted" mkdir "$M/1"
	refused "Operation not permitted" mkdir "$M/directory"
	echo x >"$M/1"
	refused "Operation not permitted" ln "$M/1" "$M/2"
	refused "Operation not permitted" ln -s 1 "$M/2"
	refused "Operation not permitted" mkfifo "$M/2"
	refused "Operation not permitted" mknod "$M/2" c 1 3
	[[ $(ls -A "$M") == 1 ]]
}

@test "df and du: sensible numbers" {
	local blocks
	noise 2000000 >"$M/1"
	head -c 2000000 /dev/zero >"$M/2"
	sync -f "$M/1"
	df "$M" | awk -v m="$M" '$6 == m && $2 > 0 && $3 >= 0 && $4 > 0 && $4 <= $2 { good = 1 }
		END { exit !good }'
	[[ $(stat -f -c %l "$M") == 255 ]]
	[[ $(stat -c %s "$M/1" "$M/2" | uniq) == 2000000 ]]
	remount
	blocks=$(stat -c %b "$M/1")
	((blocks * 512 >= 2000000 && blocks * 512 < 2100000)) || fail "$blocks blocks for noise"
	blocks=$(stat -c %b "$M/2")
	((blocks >= 1 && blocks * 512 < 200000)) || fail "$blocks blocks for zeros: not the stored bytes"
}

@test "two programs append to one file: every line is there, whole" {
	local probe a b
	probe=$(helper probe)
	"$probe" append "$M/42" left 3000 3>&- &
	a=$!
	"$probe" append "$M/42" right 3000 3>&- &
	b=$!
	wait "$a"
	wait "$b"
	check_lines() {
		[[ $(wc -l <"$M/42") == 6000 ]]
		diff <(grep ^left "$M/42") <(seq 3000 | sed 's/^/left /')
		diff <(grep ^right "$M/42") <(seq 3000 | sed 's/^/right /')
	}
	check_lines
	remount
	check_lines
}

@test "two shells append by opening the file for each line" {
	local append a b
	append='for i in $(seq 300); do echo "$1 $i" >> "$2"; done'
	bash -c "$append" - left "$M/42" 3>&- &
	a=$!
	bash -c "$append" - right "$M/42" 3>&- &
	b=$!
	wait "$a"
	wait "$b"
	remount
	[[ $(wc -l <"$M/42") == 600 ]]
	diff <(grep ^left "$M/42") <(seq 300 | sed 's/^/left /')
	diff <(grep ^right "$M/42") <(seq 300 | sed 's/^/right /')
}

@test "readers of a document that is replaced by renames see it whole" {
	local i reader seen=$T/seen
	# Reads it whole until $stop is there; prints how many different lines it saw, a dot per reading into $count.
	cat >"$T/reader" <<-'END'
		my ($name, $stop, $count) = @ARGV;
		my %seen;
		open my $dots, ">", $count or die;
		until (-e $stop) {
			open my $file, "<", $name or die "$name: $!\n";
			my %lines;
			$lines{$_}++ while <$file>;
			my @counts = values %lines;
			$seen{@counts . " line, " . ($counts[0] // 0) . " times"} = 1;
			syswrite $dots, ".";
		}
		print "$_\n" for sort keys %seen;
	END
	# Replaces it FIRST to LAST, each time when it has been read once more.
	cat >"$T/writer" <<-'END'
		my ($dir, $count, $first, $last) = @ARGV;
		for my $round ($first .. $last) {
			my $dots = -s $count;
			open my $file, ">", "$dir/tmp" or die "$!\n";
			print $file "$round\n" x 3000 and close $file or die "$!\n";
			rename "$dir/tmp", "$dir/42" or die "$!\n";
			select undef, undef, undef, 0.001 until -s $count > $dots || -e "$count.gone";
		}
	END
	perl -e 'print "0\n" x 3000' >"$M/42"
	(perl "$T/reader" "$M/42" "$T/stop" "$T/count" >"$seen"; touch "$T/count.gone") 3>&- &
	reader=$!
	wait_for 30 test -s "$T/count"
	for ((i = 0; i < 150; i += 15)); do
		perl "$T/writer" "$M" "$T/count" $((i + 1)) $((i + 14))
		perl -e 'print "$ARGV[0]\n" x 3000' $((i + 15)) >"$M/tmp"
		mv "$M/tmp" "$M/42"
	done
	[[ $(sort -u "$M/42" | wc -l) == 1 ]]
	touch "$T/stop"
	wait "$reader"
	[[ $(<"$seen") == "1 line, 3000 times" ]] || fail "$(<"$seen")"
}
