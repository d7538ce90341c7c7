# A published directory, mounted: what is there is what the store had, nothing can be changed, a newer generation is
# taken up without unmounting, beside readers of the old one. Publishing from a mount that is written to.
# shellcheck disable=SC2154 # set by lib and run

load lib

setup() {
	setup_dirs
	P=$T/published
}

publish() { ctl publish -q "$S" "$P"; }

mount_published() {
	timeout 60 payloadfs "$@" "$P" "$M" >>"$LOG" 2>&1 3>&-
}

refresh() { kill -HUP "$(daemon_pids)"; }
says() { reads "$M/$1" "$2"; }
absent() { [[ ! -e $M/$1 ]]; }
present() { [[ -e $M/$1 ]]; }

@test "a published directory is mounted read-only, and has the points of the store" {
	word_records 1 3000 | ctl import -q "$S"
	head -c 3000000 /dev/urandom >"$T/large"
	ctl put "$S" c0ffee00-0000-4000-8000-000000000001 "$T/large"
	: | ctl put "$S" 18446744073709551615
	ctl put "$S" scratch~ <<<x
	mount_fs
	chmod 600 "$M/7"
	touch -d '2001-02-03 04:05:06.789' "$M/8"
	mkdir "$T/all"
	cp -a "$M/." "$T/all"
	rm "$T/all/scratch~"
	unmount_fs
	publish
	find "$P" -type f -exec sha256sum {} + | sort >"$T/before"
	mount_published
	# Read in the order of the listing, and in another one.
	diff -r "$T/all" "$M"
	shuf -i 1-3000 -n 500 | while read -r id; do cmp "$T/all/$id" "$M/$id" || exit; done
	[[ $(ls -A "$M" | wc -l) == 3002 && ! -e $M/scratch~ && ! -e $M/3001 ]]
	[[ $(cd "$M" && stat -c '%n %s %a %u %y' -- * | sort) == "$(cd "$T/all" && stat -c '%n %s %a %u %y' -- * | sort)" ]]
	cmp <(tail -c +1000001 "$M/c0ffee00-0000-4000-8000-000000000001" | head -c 70000) \
		<(tail -c +1000001 "$T/large" | head -c 70000)
	cmp <(sort "$M/.payloadfs/points.ndjson") <(ctl export -q "$S" | sort)
	run touch "$M/1"
	[[ $output == *'Read-only file system'* ]]
	run bash -c "echo x >'$M/new'"
	[[ $output == *'Read-only file system'* ]]
	run rm "$M/1"
	[[ $output == *'Read-only file system'* ]]
	# payloadctl works on the mount, too, and on the directory beside it.
	[[ $(ctl stat --json "$M" | jq .points) == 3002 ]]
	[[ $(jq -c '[.points, .read_only]' "$M/.payloadfs/stats.json") == '[3002,true]' ]]
	ctl check "$M" | grep -q 'no faults'
	cmp <(ctl get "$P" 5) "$T/all/5"
	# A second mount, and nothing was changed by any of it.
	mkdir "$T/second"
	timeout 60 payloadfs "$P" "$T/second" >>"$LOG" 2>&1 3>&-
	cmp "$T/second/9" "$T/all/9"
	timeout 60 fusermount3 -u "$T/second"
	unmount_fs
	find "$P" -type f -exec sha256sum {} + | sort | diff "$T/before" -
}

@test "SIGHUP takes a newer generation up; who has a file open goes on reading the old one" {
	word_records 1 2000 | ctl import -q "$S"
	ctl put "$S" 5 <<<old
	publish
	mount_published
	says 5 old
	ls "$M" >"$T/names"
	absent 2001
	exec 7<"$M/5" 8<"$M/1000"
	[[ $(cat "$M/.payloadfs/points.ndjson" | wc -l) == 2000 ]]
	ctl put "$S" 5 <<<new
	ctl rm -q "$S" 1000
	ctl put "$S" 2001 <<<made
	publish
	says 5 old
	refresh
	wait_for 20 says 5 new
	wait_for 5 absent 1000
	wait_for 5 present 2001
	says 2001 made
	[[ $(cat <&7) == old ]]
	[[ $(<"$M/999") == "$(ctl get "$S" 999)" ]]
	grep -q '"n":1000' <&8
	[[ $(ls "$M" | wc -l) == 2000 && $(ls "$M") != "$(cat "$T/names")" ]]
	[[ $(cat "$M/.payloadfs/points.ndjson" | wc -l) == 2000 ]]
	cmp <(sort "$M/.payloadfs/points.ndjson") <(ctl export -q "$S" | sort)
	# Again and again; former ones are let go of.
	local i
	for i in {1..8}; do
		ctl put "$S" 5 <<<"round $i"
		publish
		refresh
		wait_for 20 says 5 "round $i"
	done
	exec 7<&- 8<&-
	[[ $(grep -c 'generation .* is read now' "$LOG") == 9 || -z $(grep 'is read now' "$LOG") ]]
	unmount_fs
}

# So many other documents are read that the daemon has to read the table of keys again to tell a name.
@test "a document of the former generation whose name can't be read any more does not hide the new one" {
	local file i
	word_records 1 80000 | ctl import -q "$S"
	for i in {10..21}; do ctl put "$S" "a0000000-0000-4000-8000-0000000000$i" < <(noise 4000000); done
	ctl put "$S" 5 <<<old
	ctl rm -q "$S" 7
	publish
	mount_published
	says 5 old
	absent 7
	stat -c %s "$M/6" "$M/8" >/dev/null
	exec 7<"$M/8"
	ls "$M" >/dev/null
	cat "$M"/a0000000-* | wc -c >/dev/null
	mkdir "$T/keys"
	ln "$P"/keys-* "$T/keys"
	ctl put "$S" 5 <<<new
	ctl rm -q "$S" 6
	ctl put "$S" 7 <<<made
	ctl publish -q --keep=1 "$S" "$P"
	# Also for who has them open.
	for file in "$T"/keys/*; do
		[[ ! -e $P/${file##*/} ]] || continue
		head -c "$(stat -c %s "$file")" /dev/zero | dd of="$file" conv=notrunc status=none
	done
	refresh
	wait_for 20 says 7 made
	wait_for 20 says 5 new
	wait_for 20 absent 6
	[[ $(stat -c %s "$M/5") == 4 ]]
	[[ $(<"$M/8") == "$(ctl get "$S" 8)" ]]
	exec 7<&-
}

@test "when what is current is damaged, the mount goes on with what it has" {
	word_records 1 100 | ctl import -q "$S"
	publish
	mount_published -f &
	wait_for 60 answers
	ctl put "$S" 5 <<<new
	publish
	cp "$P/current" "$T/current"
	echo rubbish >"$P/current"
	refresh
	wait_for 20 grep -q 'generation 1 is kept' "$LOG"
	grep -q '"n":5' "$M/5"
	cp "$T/current" "$P/current"
	refresh
	wait_for 20 says 5 new
	unmount_fs
}

@test "a damaged page costs its documents, with EIO and a line in the log" {
	word_records 1 5000 | ctl import -q "$S"
	publish
	local page
	page=$(basename "$P"/page-*)
	printf '\377\377' | dd of="$P/$page" bs=1 seek=200000 conv=notrunc status=none
	mount_published -f &
	wait_for 60 answers
	run grep -c . -r "$M"
	[[ $output == *'Input/output error'* ]]
	grep -q "$page" "$LOG"
	[[ $(find "$M" -type f -exec cat {} + 2>/dev/null | wc -l) -lt 5000 ]]
	run -1 ctl check "$M"
	[[ $output == *"$page"* ]]
	unmount_fs
}

@test "publishing from a mount that is written to gives one moment, which check accepts" {
	local moments writer i
	moments=$(helper moments)
	begin_writing
	for i in 1 2 3; do
		ctl publish -q "$M" "$P"
		ctl check "$P" | grep -q 'no faults'
		ctl export -q "$P" | jq -r '"\(.id) \(.payload | if type == "number" then . else 0 end)"' |
			"$moments" look >"$T/look" || fail "not of one moment: $(cat "$T/look")"
		[[ $(sed -n 's/^generation 0*//p' "$P/current") == "$i" ]]
	done
	touch "$T/stop"
	wait "$writer"
	(($(<"$T/rounds") >= 20))
}
