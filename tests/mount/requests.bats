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

# requests COMMAND: runs it, prints the names of the requests that it caused, in order.
requests() {
	local before
	before=$(stat -c %s "$LOG")
	(cd "$M" && bash -c "$1" >/dev/null 2>&1) || true
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
	[[ $(requests 'cat 42') == *READ* ]]
}

@test "the second cat of a file sends no request" {
	payloadctl put "$M" 42 <<<'{"a":1}'
	requests 'cat 42'
	at_most 0 'cat 42'
	at_most 0 'cat 42; cat 42; head -c 3 42'
}

@test "a file that was just written is read without a request" {
	text 100000 >"$T/in"
	requests 'cp ../in 42'
	at_most 0 'cat 42'
}

@test "the second stat, a second look for what is not there, and the second listing send none" {
	local i
	for i in $(seq 500); do echo "$i" >"$M/$i"; done
	requests 'stat 42; stat 999; ls'
	at_most 0 'stat 42'
	at_most 0 'stat 999; cat 999'
	at_most 0 'ls'
	requests 'ls -l'
	at_most 0 'ls -l; ls -la'
}

@test "echo x > new: at most four requests" {
	at_most 4 'echo x > 42'
	at_most 4 'echo x > 18446744073709551615'
}

@test "echo y > old: at most three requests" {
	requests 'echo x > 42'
	at_most 3 'echo y > 42'
}

@test "a document of 20 KB, rewritten in writes of 4 KiB, arrives as one WRITE" {
	local probe got before
	probe=$(helper probe)
	text 30000 >"$M/42"
	text 20480 >"$T/in"
	before=$(stat -c %s "$LOG")
	got=$(requests "$probe pieces 42 4096 < ../in")
	[[ $(grep -c '^WRITE$' <<<"$got") == 1 ]] || fail "requests:" $got
	tail -c +$((before + 1)) "$LOG" | grep -q 'opcode: WRITE .* insize: 20560,' ||
		fail "it is not the whole document"
	cmp "$T/in" "$M/42"
}

@test "appending in small writes and closing once is one WRITE" {
	local probe got
	probe=$(helper probe)
	echo begin >"$M/42"
	got=$(requests "$probe append 42 line 100")
	[[ $(grep -c '^WRITE$' <<<"$got") == 1 ]] || fail "requests:" $got
}

@test "no request asks for extended attributes, opens, flushes or releases" {
	local got
	text 100000 >"$T/in"
	got=$(requests 'cp ../in 42; cat 42; echo x >> 42; mv 42 43; ls -l; rm 43; grep -r x .')
	not grep -E '^((OPEN|RELEASE)(DIR)?|FLUSH|(GET|LIST)XATTR|ACCESS|CREATE)$' <<<"$got"
}
