# What reaches the daemon: the kernel's caches are used so that reading again costs no request and
# writing costs few.

load lib

setup() {
	setup_dirs
	mount_fs_debug
	# The kernel asks once about what the daemon does not answer (open, flush, extended
	# attributes).
	echo warm >"$M/warm"
	cat "$M/warm" >/dev/null
	ls "$M" >/dev/null
	echo again >"$M/warm"
	rm "$M/warm"
}

# requests COMMAND: runs it in this shell, prints the names of the requests that it caused, in
# order. It names its files by $M/...: cd would ask for the directory's attributes.
requests() {
	local before
	before=$(stat -c %s "$LOG")
	eval "$1" >/dev/null 2>&1 || true
	tail -c +$((before + 1)) "$LOG" | sed -n 's/^unique: .*opcode: \([A-Z0-9_]*\) .*/\1/p' |
		grep -v '^\(BATCH_\)\?FORGET$' || true
}

# at_most COUNT COMMAND
at_most() {
	local got count
	got=$(requests "$2")
	count=$(wc -w <<<"$got")
	((count <= $1)) || fail "$2: $count requests, $1 are allowed:" $got
}

@test "the counting counts: reading something new asks for it" {
	payloadctl put "$M" 42 <<<'{"a":1}'
	[[ $(requests 'cat "$M/42"') == *LOOKUP*READ* ]]
}

@test "reading a file again sends no request" {
	payloadctl put "$M" 42 <<<'{"a":1}'
	requests 'head -c 100 "$M/42"'
	at_most 0 'head -c 100 "$M/42"'
	at_most 0 'head -c 3 "$M/42"; : $(<"$M/42")'
}

# Unlike head, cat asks for the file's attributes. With the writeback cache Linux holds the number
# of blocks for stale after every close, so that this is one GETATTR whatever the daemon does.
@test "the second cat of a file reads nothing and looks up nothing" {
	payloadctl put "$M" 42 <<<'{"a":1}'
	requests 'cat "$M/42"'
	[[ $(requests 'cat "$M/42"') =~ ^(GETATTR)?$ ]]
	[[ $(requests 'cat "$M/42"') =~ ^(GETATTR)?$ ]]
}

@test "a file that was just written is read without a request" {
	text 100000 >"$T/in"
	requests 'cp "$T/in" "$M/42"'
	stat "$M" >/dev/null
	at_most 0 'head -c 100000 "$M/42"'
	[[ $(requests 'cmp "$T/in" "$M/42"') =~ ^(GETATTR)?$ ]]
}

@test "the second stat, a second look for what is not there, and the second listing send none" {
	local i
	for i in $(seq 500); do echo "$i" >"$M/$i"; done
	requests 'stat "$M/42"; stat "$M/999"; ls "$M"'
	at_most 0 'stat "$M/42"'
	at_most 0 'stat "$M/999"; cat "$M/999"'
	requests 'ls "$M"' # listing has made the directory's time of access stale
	at_most 0 'ls "$M"'
	requests 'ls -l "$M"'
	at_most 0 'ls -l "$M"; ls -la "$M"'
}

@test "echo x > new: at most four requests" {
	stat "$M" >/dev/null
	at_most 4 'echo x > "$M/42"'
	stat "$M" >/dev/null
	at_most 4 'echo x > "$M/18446744073709551615"'
}

# The kernel sends a SETATTR of the times unless they are those of its own clock, which ticks every few
# milliseconds: then only a file that is written in another tick than it was made in needs one.
@test "new files that are written at once need no SETATTR of their times" {
	local got times
	got=$(requests 'for i in {1..200}; do echo x > "$M/$i"; done')
	times=$(grep -c '^SETATTR$' <<<"$got") || true
	((times < 150)) || fail "$times SETATTR for 200 files"
	[[ $(grep -c '^WRITE$' <<<"$got") == 200 ]]
}

# SETATTR and WRITE; the kernel adds one SETATTR of the times when its clock ticks between the two, and
# the shell may ask for attributes.
@test "echo y > old: at most four requests" {
	requests 'echo x > "$M/42"'
	at_most 4 'echo y > "$M/42"'
	at_most 4 'echo z > "$M/42"'
}

@test "a document of 20 KB, rewritten in writes of 4 KiB, arrives as one WRITE" {
	local probe got before
	probe=$(helper probe)
	text 30000 >"$M/42"
	text 20480 >"$T/in"
	before=$(stat -c %s "$LOG")
	got=$(requests '"$probe" pieces "$M/42" 4096 < "$T/in"')
	[[ $(grep -c '^WRITE$' <<<"$got") == 1 ]] || fail "requests:" $got
	tail -c +$((before + 1)) "$LOG" | grep -q 'opcode: WRITE .* insize: 20560,' ||
		fail "it is not the whole document"
	cmp "$T/in" "$M/42"
}

@test "appending in small writes and closing once is one WRITE" {
	local probe got
	probe=$(helper probe)
	echo begin >"$M/42"
	got=$(requests '"$probe" append "$M/42" line 100')
	[[ $(grep -c '^WRITE$' <<<"$got") == 1 ]] || fail "requests:" $got
}

@test "no request asks for extended attributes, opens, flushes or releases" {
	local got
	text 100000 >"$T/in"
	got=$(requests 'cp "$T/in" "$M/42"; cat "$M/42"; echo x >> "$M/42"; mv "$M/42" "$M/43"
		ls -l "$M"; rm "$M/43"; grep -r x "$M"')
	not grep -E '^((OPEN|RELEASE)(DIR)?|FLUSH|(GET|LIST)XATTR|ACCESS|CREATE)$' <<<"$got"
}
