# The daemon dies without a chance to do anything more (kill -9): what had returned is there, every
# document is whole.

load lib

@test "everything that has returned is there after kill -9" {
	text 300000 >"$T/in"
	for i in 1 2 3 4 5 6 7 8 9 10; do both "echo 'document $i' > $i"; done
	both <<-'END'
		cp ../in 20
		cp ../in 21
		truncate -s 1000 21
		printf PATCH | dd of=20 bs=1 seek=150000 conv=notrunc status=none
	END
	both <<-'END'
		mv 1 2
		rm 3
		chmod 600 4
		chown 12:34 5
		touch -d '2001-02-03 04:05:06.789' 6
		echo more >> 7
		sed -i s/document/changed/ 8
	END
	both "echo scratch > note; mv note 9; echo x > 30; rm 30; echo y > 30"
	kill_daemon
	mount_fs
	same
	unmount_fs
	payloadctl check "$S"
}

@test "the same when it dies again right after each start" {
	local i
	for i in 1 2 3 4 5; do
		both "echo round $i > $i; echo $i >> all; mv all all2; mv all2 all"
		kill_daemon
		mount_fs
		same
	done
	unmount_fs
	payloadctl check "$S"
}

@test "a truncation whose write never came keeps the old document; a sync makes it empty" {
	remount -o commit=600
	echo kept >"$M/1"
	echo emptied >"$M/2"
	exec 5>"$M/1"
	: >"$M/2"
	sync "$M/2"
	: >"$M/3"
	: >"$M/4"
	sync "$M/4"
	[[ ! -s $M/1 ]]
	kill_daemon
	exec 5>&- 2>/dev/null || true
	mount_fs
	[[ $(cat "$M/1") == kept ]]
	[[ -e $M/2 && ! -s $M/2 ]]
	[[ ! -e $M/3 ]]
	[[ -e $M/4 && ! -s $M/4 ]]
}

@test "payloadctl sync, or a few commit ticks, make emptied and new documents durable as such" {
	local before
	echo old >"$M/1"
	echo old >"$M/3"
	: >"$M/1"
	: >"$M/2"
	payloadctl sync "$M"
	before=$(stat_of sequence)
	: >"$M/3"
	: >"$M/4"
	two_more() { (($(stat_of sequence) >= before + 2)); }
	wait_for 60 two_more
	kill_daemon
	mount_fs
	[[ $(cd "$M" && stat -c '%n %s' *) == $'1 0\n2 0\n3 0\n4 0' ]]
}

@test "mounting over a dead mount detaches it first" {
	echo x >"$M/1"
	kill_daemon
	refused "Transport endpoint is not connected" ls "$M"
	mount_fs
	[[ $(cat "$M/1") == x ]]
	[[ $(mounts_below | wc -l) == 1 ]]
}

# One round: writers work until the daemon is killed, at a moment that is as good as random; then
# everything is checked.
crash_round() {
	local round=$1 changes=$((20 + RANDOM % 400)) log=$T/changes pids=() i
	for i in 1 2; do
		: >"$log.$i"
		timeout 60 "$writer" write "$M" "$log.$i" $((round * 2 + i)) $((i * 1000)) 40 \
			2>"$T/writer.$i" 3>&- &
		pids+=($!)
	done
	wait_for 60 enough_changes "$changes"
	kill_daemon
	for i in "${pids[@]}"; do
		wait "$i" || { cat "$T"/writer.*; fail "round $round: a writer failed by itself"; }
	done
	mount_fs
	for i in 1 2; do
		cat "$log.$i" >>"$log.all.$i"
		"$writer" check "$M" "$log.all.$i" || fail "round $round, writer $i"
	done
	# What is there now is what the next round begins with.
	forget_pages
	for i in 1 2; do
		"$writer" check "$M" "$log.all.$i"
	done
}

enough_changes() { (($(cat "$T"/changes.[12] | grep -c end) >= $1)); }

@test "kill -9 in the middle of writing: every closed document is there, every one whole" {
	local round rounds
	writer=$(helper writer)
	rounds=$(quick_or_full 6 100)
	for round in $(seq "$rounds"); do
		crash_round "$round"
	done
	unmount_fs
	payloadctl check "$S"
	mount_fs
	for i in 1 2; do
		"$writer" check "$M" "$T/changes.all.$i"
	done
}

@test "kill -9 during an import: what it put in is whole" {
	local importer got
	seq 30000 | sed 's/.*/{"id":&,"payload":{"n":&,"text":"a document that is longer"}}/' >"$T/in.ndjson"
	mkfifo "$T/pipe"
	payloadctl import "$M" - <"$T/pipe" >"$T/out" 2>&1 3>&- &
	importer=$!
	# The pipe stays open, so the import can't come to its end.
	exec 5>"$T/pipe"
	head -n 20000 "$T/in.ndjson" >&5
	some_are_there() { (($(stat_of points) > 1000)); }
	wait_for 60 some_are_there
	kill_daemon
	tail -n 10000 "$T/in.ndjson" >&5 || true
	exec 5>&-
	if wait "$importer"; then
		fail "the import claims to have succeeded"
	fi
	mount_fs
	payloadctl export "$M" | sort >"$T/got"
	got=$(wc -l <"$T/got")
	((got >= 1000)) || fail "only $got documents are left"
	[[ -z $(comm -23 "$T/got" <(sort "$T/in.ndjson")) ]]
	unmount_fs
	payloadctl check "$S"
}
