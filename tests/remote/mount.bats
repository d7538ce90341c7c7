#!/usr/bin/env bats
# A collection mounted by its URL: contents, numbers of requests, the cache, newer generations, a server that goes away.
# shellcheck disable=SC2030,SC2031,SC2154 # bats runs each test in its own shell, and sets output and stderr
load lib

C() { printf '%s/c' "$URL"; }

publish_documents() { # N [FIRST]
	documents "$@" | payloadctl import -q "$S"
	payloadctl publish -q "$S" "$WWW/c"
}

# mount_url [OPTION...]
mount_url() { timeout 60 payloadfs "$@" "$(C)" "${MOUNT:-$M}" >>"$LOG" 2>&1 3>&-; }
unmount_url() { timeout 60 fusermount3 -u "${MOUNT:-$M}"; wait_for 60 no_daemon_at "${MOUNT:-$M}"; }
no_daemon_at() { ! pgrep -f "payloadfs .*$1\$" >/dev/null; }
remote() { jq ".remote.$1" "$M/.payloadfs/stats.json"; }
is() { reads "$M/$1" "$2"; }
generation() { (($(jq .published_generation "$M/.payloadfs/stats.json") == $1)); }

# Each point's file is what the store has.
same_files() {
	(cd "$M" && find . -type f | sort -t/ -k2n | xargs cat | cmp - <(payloadctl export -q --sort "$S" | sed -E 's/^[^:]*:[0-9]+,"payload"://; s/}$//' | tr -d '\n'))
}

@test "every payload of a mount by URL is the store's; what was read once is never asked for again, also after a remount" {
	publish_documents 5000
	start_nginx
	mount_url -o "cache=$T/cache"
	[[ $(findmnt -no SOURCE,FSTYPE "$M") == "$(C) fuse.payloadfs" ]]
	same_files
	[[ $(find "$M" -type f | wc -l) == 5000 ]]
	cmp "$M/.payloadfs/points.ndjson" <(payloadctl export -q "$(C)")
	run touch "$M/1"
	[[ $output == *"Read-only file system"* ]]
	[[ $(payloadctl stat --json "$M" | jq .points) == 5000 ]]
	unmount_url
	[[ -n $(find "$T/cache/chunks" -name "*.c") ]]
	forget_requests
	mount_url -o "cache=$T/cache"
	same_files
	settle_requests
	(($(requests page-) == 0 && $(requests keys-) == 0 && $(requests dict-) == 0)) || fail "$(tail -n "+$seen" "$REQUESTS")"
	(($(remote fetches) == 0 && $(remote disk_hits) > 0))
}

@test "requests: two at most for the first cat, none for the next; a listing reads the table of keys alone" {
	publish_documents 60000
	start_nginx
	mount_url -o "cache=$T/cache"
	forget_requests
	cat "$M/31234" >/dev/null
	settle_requests
	(($(requests) <= 2)) || fail "$(tail -n "+$seen" "$REQUESTS")"
	forget_requests
	forget_pages_of "$M/31234"
	cat "$M/31234" >/dev/null
	settle_requests
	(($(requests) == 0)) || fail "$(tail -n "+$seen" "$REQUESTS")"
	forget_requests
	[[ $(find "$M" | wc -l) == 60001 ]]
	settle_requests
	(($(requests page-) == 0 && $(requests keys-) <= 12)) || fail "$(tail -n "+$seen" "$REQUESTS")"
}

@test "two mounts share one cache directory; its bound holds, and what others broke in it is fetched anew" {
	publish_documents 12000
	start_nginx
	mount_url -o "cache=$T/cache,cache_size=16M"
	mkdir "$T/second"
	MOUNT=$T/second mount_url -o "cache=$T/cache,cache_size=16M"
	same_files
	forget_requests
	diff -r "$M" "$T/second"
	settle_requests
	(($(requests page-) == 0)) || fail "$(tail -n "+$seen" "$REQUESTS")"
	(($(du -sk "$T/cache" | cut -f1) <= 17000))
	# Every bit of every file of the cache is turned.
	perl -e 'local $/;
		for my $file (@ARGV) {
			open my $f, "+<:raw", $file or die "$file: $!\n";
			my $all = <$f>;
			seek $f, 0, 0;
			print $f ~$all and close $f or die "$file: $!\n";
		}' "$T"/cache/chunks/*.c
	unmount_url
	mount_url -o "cache=$T/cache,cache_size=16M"
	same_files
	(($(remote wrong) > 10))
	diff -r "$M" "$T/second"
	MOUNT=$T/second unmount_url
}

@test "kill -9 at any moment leaves a cache that is right" {
	publish_documents 5000
	start_nginx
	for round in 1 2 3; do
		rm -rf "$T/cache"
		forget_requests
		mount_url -o "cache=$T/cache"
		(cd "$M" && cat {1..5000..3}) >/dev/null 2>&1 3>&- &
		wait_for 60 asked_for $((3 + round))
		kill_daemon
		wait $! || true
		detach "$M"
		mount_url -o "cache=$T/cache"
		same_files
		unmount_url
	done
}

asked_for() { (($(requests) >= $1)); }

@test "a newer generation is taken up after refresh= seconds, or at once by SIGHUP; open files stay as they are" {
	publish_documents 5000
	start_nginx
	mount_url -o "cache=$T/cache,refresh=1"
	cp "$M/42" "$T/old"
	exec 9<"$M/42" 8<"$M/4000"
	printf '{"new":true}' | payloadctl put "$S" 42
	documents 100 10000 | payloadctl import -q "$S"
	payloadctl rm "$S" 5
	payloadctl publish -q "$S" "$WWW/c"
	wait_for 60 is 42 '{"new":true}'
	[[ ! -e $M/5 && -e $M/10099 ]]
	cmp "$T/old" <(cat <&9)
	payloadctl get "$S" 4000 | cmp - <(cat <&8)
	exec 9<&- 8<&-
	same_files
	unmount_url
	mount_url -o "cache=$T/cache"
	printf '"newer"' | payloadctl put "$S" 42
	payloadctl publish -q "$S" "$WWW/c"
	is 42 '{"new":true}'
	kill -HUP "$(daemon_pids)"
	wait_for 60 is 42 '"newer"'
	generation 3
	same_files
}

@test "a server that goes away: an error in bounded time for what is not there, the rest is read, and all again when it is back" {
	publish_documents 60000
	start_nginx
	mount_url -o "cache=$T/cache,timeout=2"
	cat "$M/1" "$M/2" >/dev/null
	ls "$M" >/dev/null
	stop_nginx
	payloadctl get "$S" 2 | cmp - "$M/2"
	forget_pages_of "$M/1"
	payloadctl get "$S" 1 | cmp - "$M/1"
	for _ in 1 2 3; do
		run timeout 60 cat "$M/59999"
		[[ $output == *"Input/output error" && $status == 1 ]]
	done
	# The generation that was current last is read when nobody answers.
	unmount_url
	mount_url -o "cache=$T/cache,timeout=2"
	payloadctl get "$S" 1 | cmp - "$M/1"
	run timeout 60 cat "$M/59999"
	[[ $output == *"Input/output error" ]]
	start_nginx
	wait_for 60 readable "$M/59999"
	payloadctl get "$S" 59999 | cmp - "$M/59999"
	same_files
	unmount_url
	stop_nginx
	run -7 timeout 60 payloadfs -o "cache=$T/empty,timeout=1" "$(C)" "$M"
	[[ $output == "payloadfs: $(C): "*"onnect"* && ${#lines[@]} == 1 ]] || fail "$output"
}

forget_pages_of() { dd if="$1" iflag=nocache count=0 status=none; }
readable() { cat "$1" >/dev/null 2>&1; }

@test "a bucket is mounted like a plain server" {
	start_s3
	documents 5000 | payloadctl import -q "$S"
	payloadctl publish -q "$S" "$COLLECTION"
	timeout 60 payloadfs -o "cache=$T/cache" "$COLLECTION" "$M" >>"$LOG" 2>&1 3>&-
	same_files
	printf '"changed"' | payloadctl put "$S" 1
	payloadctl publish -q "$S" "$COLLECTION"
	kill -HUP "$(daemon_pids)"
	wait_for 60 is 1 '"changed"'
	run ! grep -E ' (400|403) ' "$REQUESTS"
	run ! grep -F secret /proc/self/mountinfo
}

@test "publishing from a mount that is written to, while it is mounted by URL" {
	documents 3000 | payloadctl import -q "$S"
	mkdir "$T/source"
	timeout 60 payloadfs "$S" "$T/source" >>"$LOG" 2>&1 3>&-
	payloadctl publish -q "$T/source" "$WWW/c"
	start_nginx
	mount_url -o "cache=$T/cache,refresh=1"
	for i in {1..5}; do
		for id in {1..50}; do echo "round $i" >"$T/source/$id"; done
		payloadctl publish -q "$T/source" "$WWW/c"
	done
	wait_for 60 is 50 "round 5"
	is 1 "round 5"
	payloadctl check "$(C)"
}

# Values that are refused: tests/unit/options_test.c.
@test "options of collections: what makes no sense is refused" {
	documents 10 | payloadctl import -q "$S"
	for option in cache=/x cache_size=16M refresh=1 timeout=1; do
		run -2 payloadfs -o "$option" "$S" "$M"
		[[ $output == *"-o ${option%=*}=: is for published collections, and $S is none" ]] || fail "$output"
	done
	run -2 payloadfs ftp://localhost/x "$M"
	run -2 payloadfs http://me:word@localhost/x "$M"
	[[ $output == *"~/.netrc"* && $output != *word@* && ${#lines[@]} == 1 ]] || fail "$output"
}
