# Names: ids and what looks like one, scratch files, renames, inode numbers and removed files.

load lib

uuid=f47ac10b-58cc-4372-a567-0e02b2c3d479

@test "ids 0, 1, 2^64-1 and a UUID work in every way" {
	local ids="0 1 18446744073709551615 $uuid 00000000-0000-0000-0000-000000000000" numbers
	both <<-END
		for id in $ids; do echo a > \$id; echo b >> \$id; done
		cat $ids
		sed -i s/a/c/ $ids
		cat $ids
		stat -c '%n %s %h' $ids
		for id in $ids; do
			mv \$id tmp
			mapfile < tmp
			echo "\${MAPFILE[@]}" *
			mv tmp \$id
		done
		ls
	END
	both "for id in $ids; do cp \$id copy; mv copy \$id; done; truncate -s 3 $ids; chmod 600 $ids; cat $ids"
	same_for_good
	# shellcheck disable=SC2086 # words
	payloadctl get "$M" $ids | cmp - <(file_lines "$M" $ids)
	# shellcheck disable=SC2086
	mapfile -t numbers < <(cd "$M" && stat -c %i $ids | sort -nu)
	((${#numbers[@]} == 5 && numbers[0] > 1)) || fail "inodes ${numbers[*]}"
	both "for id in ${ids% *}; do rm \$id; echo *; done"
	same_for_good
}

@test "what looks like an id but is not canonical is refused" {
	local name names=(007 00 +1 -1 -0 18446744073709551616 99999999999999999999
		340282366920938463463374607431768211456
		F47AC10B-58CC-4372-A567-0E02B2C3D479 f47ac10B-58cc-4372-a567-0e02b2c3d479
		f47ac10b58cc4372a5670e02b2c3d479 F47AC10B58CC4372A5670E02B2C3D479)
	echo x >"$M/1"
	# What a shell, touch, cp and mv ask for.
	perl -MFcntl -e '
		chdir shift or die;
		sub refused {
			my ($name, $what, $done) = @_;
			print !$done && $!{EINVAL} ? "refused\n" : "$what $name: " . ($done ? "done" : $!) . "\n";
		}
		for my $name (@ARGV) {
			refused($name, "write", sysopen my $f, $name, O_WRONLY | O_CREAT | O_TRUNC);
			refused($name, "touch", sysopen my $g, $name, O_WRONLY | O_CREAT | O_NOCTTY | O_NONBLOCK);
			refused($name, "copy", sysopen my $h, $name, O_WRONLY | O_CREAT | O_EXCL);
			refused($name, "rename", rename "1", $name);
		}' "$M" "${names[@]}" >"$T/refused"
	[[ $(uniq -c "$T/refused" | xargs) == "48 refused" ]] || fail "$(grep -vx refused "$T/refused")"
	for name in 007 F47AC10B-58CC-4372-A567-0E02B2C3D479; do
		refused "Invalid argument" bash -c 'echo y > "$1"' - "$M/$name"
		refused "Invalid argument" touch "$M/$name"
		refused "Invalid argument" mv "$M/1" "$M/$name"
		refused "Invalid argument" cp "$M/1" "$M/$name"
	done
	[[ $(ls -A "$M") == 1 ]]
	[[ $(cat "$M/1") == x ]]
}

@test "names that are no ids are scratch files: bytes, renames and remount" {
	local names
	names="note .hidden 42~ '#42#' sedAbC123 .42.swp 42.json 4e5 0x10 1_000 'with space' -x"
	names+=" \$'tab\\there' \$'line\\nbreak' 'é ü 漢' \$'\\xff\\xfe'"
	names+=" f47ac10b f47ac10b-58cc-4372-a567-0e02b2c3d47"
	both "for n in $names; do echo \"in \$n\" > \"./\$n\" || exit; done; cat ./*; ls -A | wc -l"
	both "mv note 42; mv ./-x note; cat 42 note"
	same_for_good
}

@test "names up to 255 bytes, no longer ones" {
	local name
	name=$(printf 'n%.0s' {1..255})
	both "echo x > $name; cat $name; ls"
	refused "File name too long" touch "$M/n$name"
	refused "File name too long" stat "$M/n$name"
	same_for_good
}

@test "scratch files survive a remount, are not exported and are not points" {
	echo '{"a":1}' >"$M/1"
	echo '{"b":2}' >"$M/$uuid"
	echo scratch >"$M/note"
	echo scratch >"$M/.42.swp"
	remount
	[[ $(cat "$M/note") == scratch && $(cat "$M/.42.swp") == scratch ]]
	[[ $(payloadctl export "$M" | wc -l) == 2 ]]
	payloadctl export "$M" >"$T/exported"
	not grep scratch "$T/exported"
	[[ $(stat_of points) == 2 && $(stat_of scratch) == 2 ]]
	mv "$M/note" "$M/3"
	[[ $(stat_of points) == 3 && $(stat_of scratch) == 1 ]]
}

@test "-o strict refuses scratch files and nothing else" {
	remount -o strict
	refused "Invalid argument" touch "$M/note"
	echo x >"$M/1"
	# mv has its own words for EINVAL.
	refused "" mv "$M/1" "$M/note"
	[[ $(cat "$M/1") == x && $(ls -A "$M") == 1 ]]
}

@test "rename without replacing, and exchange" {
	local probe
	probe=$(helper probe)
	both <<-END
		echo a > 1
		echo b > 2
		$probe noreplace 1 3
		cat 3
		mv -n 2 3
		cat 2 3
		$probe exchange 2 3
		cat 2 3
	END
	both "echo c > note; $probe exchange note 2; cat note 2; $probe exchange 3 3; cat 3"
	refused "File exists" "$probe" noreplace "$M/2" "$M/3"
	refused "No such file or directory" "$probe" exchange "$M/2" "$M/99"
	refused "No such file or directory" mv "$M/98" "$M/2"
	same_for_good
}

@test "a rename onto itself changes nothing" {
	both <<-'END'
		echo a > 1
		perl -e 'rename "1", "1" or die'
		cat 1
		echo b > note
		perl -e 'rename "note", "note" or die'
		cat note
		ls
	END
	same_for_good
}

@test "a file that is open and removed stays readable and writable, also from the daemon" {
	local probe
	probe=$(helper probe)
	text 200000 >"$M/1"
	"$probe" unlinked "$M/1"
	echo short >"$M/2"
	"$probe" unlinked "$M/2"
	[[ -z $(ls -A "$M") ]]
}

@test "a descriptor of a replaced file keeps the old bytes, the name has the new ones" {
	local probe
	probe=$(helper probe)
	text 70000 >"$M/1"
	echo fresh >"$M/tmp"
	"$probe" replaced "$M/tmp" "$M/1"
	[[ $(cat "$M/1") == fresh && $(ls -A "$M") == 1 ]]
	payloadctl put "$M" 1 <<<'put over it'
	[[ $(cat "$M/1") == 'put over it' ]]
}

@test "inode numbers that are used again never show another file's bytes" {
	local probe
	probe=$(helper probe)
	"$probe" reuse "$M" 1500
	[[ -z $(ls -A "$M") ]]
}

@test "an unlinked file that is open when the daemon is killed is gone afterwards" {
	echo kept >"$M/1"
	echo removed >"$M/2"
	exec 5<"$M/2"
	rm "$M/2"
	kill_daemon
	exec 5<&-
	mount_fs
	[[ $(ls -A "$M") == 1 && $(cat "$M/1") == kept ]]
	unmount_fs
	payloadctl check "$S"
}

@test "stat 77 is ENOENT, then payloadctl put, then cat 77 at once" {
	refused "No such file or directory" stat "$M/77"
	echo '{"n":77}' | payloadctl put "$M" 77
	[[ $(cat "$M/77") == '{"n":77}' ]]
	ls "$M" >/dev/null
	echo '{"n":78,"longer":true}' | payloadctl put "$M" 77
	[[ $(cat "$M/77") == '{"n":78,"longer":true}' ]]
	[[ $(stat -c %s "$M/77") == 23 ]]
	payloadctl rm "$M" 77
	refused "No such file or directory" cat "$M/77"
	[[ -z $(ls "$M") ]]
}

@test "put, rm and import through payloadctl show at once, to readers who have read before" {
	local i
	for i in $(seq 100); do echo "old $i" >"$M/$i"; done
	cat "$M"/* >/dev/null
	ls "$M" >/dev/null
	seq 50 150 | sed 's/.*/{"id":&,"payload":{"new":&}}/' | payloadctl import "$M" -
	[[ $(ls "$M" | wc -l) == 150 ]]
	for i in 1 49; do [[ $(cat "$M/$i") == "old $i" ]]; done
	for i in 50 100 101 150; do [[ $(cat "$M/$i") == "{\"new\":$i}" ]]; done
	payloadctl rm "$M" 50 60 70
	[[ $(ls "$M" | wc -l) == 147 && ! -e $M/60 ]]
	remount
	[[ $(ls "$M" | wc -l) == 147 && $(cat "$M/150") == '{"new":150}' ]]
}

@test "open with O_CREAT, beside payloadctl making the same documents: they are opened, EEXIST is O_EXCL's" {
	local count probe step opening=()
	count=$(quick_or_full 15000 200000)
	probe=$(helper probe)
	for step in 7919 104729 1299709; do
		"$probe" create-beside "$M" "$count" "$step" "$T/ready$step" "$T/go" 3>&- &
		opening+=($!)
	done
	for step in 7919 104729 1299709; do wait_for 60 test -e "$T/ready$step"; done
	seq "$count" | shuf | sed 's/.*/{"id":&,"payload":{"n":&}}/' >"$T/in"
	touch "$T/go"
	# In pieces, so that there is something to be made in between.
	perl -ne '$| = 1; print; select undef, undef, undef, 0.002 if ++$n % 50 == 0' "$T/in" |
		ctl import -q "$M" -
	for step in "${opening[@]}"; do wait "$step"; done
	cmp <(ctl export -q --sort "$M") <(sort -t: -k2n "$T/in")
}
