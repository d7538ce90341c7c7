#!/usr/bin/env bats
# payloadctl import --qdrant, and export --qdrant-upsert: directories that Qdrant has written, whole and damaged.
# shellcheck disable=SC2030,SC2031,SC2154 # bats runs each test in its own shell, and sets output and stderr
load lib

data=$root/tests/data/qdrant

unpack() { # ARCHIVE...
	local name
	for name; do
		tar xzf "$data/$name.tar.gz"
	done
}

# Whether an export, sorted, is what Qdrant itself reads: is_expected STORE NAME
is_expected() {
	local sum
	sum=$(payloadctl export -q --sort "$1" | sha256sum)
	grep -qF "${sum%% *}  $2" "$data/expected.sha256" || fail "not what $2 was"
}

# The points of the segment churn, as the whole fixture gives them: in the file `whole`.
make_whole() {
	payloadctl import -q reference --qdrant churn
	is_expected reference churn/expected-external.ndjson
	payloadctl export -q --sort reference >whole
}

# Every document of a store is one of `whole`, byte for byte; those that are not in the store are in the rejects, or
# none of them is missing.
is_part() { # STORE
	payloadctl export -q --sort "$1" >part
	[[ -z $(comm -13 <(sort whole) <(sort part)) ]] || fail "documents that were never there"
}

put_le32() { # FILE OFFSET NUMBER
	perl -e 'open(F, "+<", $ARGV[0]) && seek(F, $ARGV[1], 0) && print F pack("V", $ARGV[2]) or die' "$@"
}

@test "what Qdrant has written comes out byte for byte, with and without ids" {
	unpack churn none current
	local name
	for name in churn churn-immutable; do
		run -0 --separate-stderr payloadctl import "$name.store" --qdrant "$name"
		[[ -z $output && $stderr == *"imported 6"[64]"2 documents"* && $stderr != *"put aside"* ]]
		is_expected "$name.store" "$name/expected-external.ndjson"
		payloadctl import -q "$name.offsets" --qdrant="$name" --offset-ids
		is_expected "$name.offsets" "$name/expected.ndjson"
	done
	for name in none current; do
		fails 7 "$name: has no id tracker" payloadctl import "$name.store" --qdrant "$name"
		[[ ! -e $name.store ]]
		payloadctl import -q "$name.store" --qdrant "$name" --offset-ids
		is_expected "$name.store" "$name/expected.ndjson"
	done
	[[ ! -e qdrant-rejects.ndjson ]]
	run -0 payloadctl check churn.store
}

@test "nothing is written to what is imported" {
	unpack churn
	fingerprint churn >before
	chmod -R a-w churn
	payloadctl import -q "$S" --qdrant churn
	fingerprint churn | cmp - before
	chmod -R u+w churn
}

# A collection of one shard with both segments of the fixture churn.
make_collection() {
	unpack churn
	mkdir -p collection/0/segments collection/0/wal
	mv churn collection/0/segments/a
	mv churn-immutable collection/0/segments/b
	touch collection/0/segments/{a,b}/version.info
	echo '{"params":{}}' >collection/config.json
}

@test "a collection of two segments: each point once, nothing twice, nothing that both have deleted" {
	make_collection
	run -0 --separate-stderr payloadctl import --json -q "$S" --qdrant collection
	jq -e '.imported == .qdrant.points and .qdrant.segments == 2 and .qdrant.superseded == 662 + 642 - .imported and
		.refused == 0 and .qdrant.rejects_file == null' <<<"$output"
	payloadctl import -q a --qdrant collection/0/segments/a
	payloadctl import -q b --qdrant collection/0/segments/b
	cmp <(payloadctl export -q "$S" | sort) <({ payloadctl export -q a; payloadctl export -q b; } | sort -u)
	payloadctl import -q shard --qdrant collection/0
	cmp <(payloadctl export -q --sort "$S") <(payloadctl export -q --sort shard)
}

@test "a newer version in another segment wins, whatever the order; its damage brings no older one back" {
	make_collection
	# All versions of b are higher by 2^40.
	perl -0777 -pi -e '$_ = pack("Q<*", map { $_ + (1 << 40) } unpack("Q<*", $_))' collection/0/segments/b/id_tracker.versions
	payloadctl import -q b --qdrant collection/0/segments/b
	payloadctl export -q --sort b >newest
	# Their payloads are others, too: every value of b gets the tag 9.
	perl -0777 -pi -e 'for my $i (0 .. 1151) { substr($_, 4 + 16 * $i, 1) =~ tr/\x01/\x09/ }' \
		collection/0/segments/b/payload_storage/tracker.dat
	run -1 --separate-stderr payloadctl import --json -q "$S" --qdrant collection --rejects rejects
	[[ $(jq .qdrant.rejects <<<"$output") == $(wc -l <rejects) ]]
	# What b had with a payload is not there with that of a.
	jq -r 'select(.payload != {}).id' newest | sort >damaged
	payloadctl export -q "$S" | jq -r .id | sort | comm -12 - damaged >back
	[[ ! -s back ]]
	grep -c '"reason":"its entry in tracker.dat has the tag 9"' rejects
	grep -c '"payload":.*"reason":"version [0-9]* of a point whose version [0-9]* is damaged"' rejects
	# Somebody has looked, and takes the older ones.
	run -1 payloadctl import -q "$S" rejects
	[[ $(payloadctl stat --json "$S" | jq .points) -gt 620 ]]
}

@test "damage in a page costs the values it hits, which are put aside with place, reason and bytes" {
	unpack churn
	make_whole
	# In the middle of the value that begins in page 4 and ends in page 6.
	head -c 4096 /dev/zero | tr '\0' '\377' | dd of=churn/payload_storage/page_5.dat bs=4096 seek=20 conv=notrunc status=none
	run -1 --separate-stderr payloadctl import "$S" --qdrant churn
	[[ $stderr == *"payload_storage/page_4.dat: byte "*": point "*": it "*"qdrant-rejects.ndjson: holds the 1 thing"* ]]
	is_part "$S"
	[[ $(wc -l <part) == 661 && $(wc -l <qdrant-rejects.ndjson) == 1 ]]
	jq -e '.id != null and .payload == null and .length == 702789 and (.bytes | length) == 937052 and
		(.file | endswith("/page_4.dat")) and .offset % 128 == 0' qdrant-rejects.ndjson
	jq -r .bytes qdrant-rejects.ndjson | base64 -d | head -c $((262144 - $(jq .offset qdrant-rejects.ndjson))) |
		cmp - <(tail -c +$(($(jq .offset qdrant-rejects.ndjson) + 1)) churn/payload_storage/page_4.dat)
	fails 1 "no payload" payloadctl import -q "$S" qdrant-rejects.ndjson
	# Another import keeps what the first has put aside.
	run -1 payloadctl import -q again --qdrant churn
	cmp qdrant-rejects.ndjson qdrant-rejects-1.ndjson
	payloadctl export -q --sort again | cmp - part
}

@test "two values in the same blocks are not believed, but kept" {
	unpack churn
	make_whole
	# The entry of offset 5 is made that of 6.
	dd if=churn/payload_storage/tracker.dat of=churn/payload_storage/tracker.dat bs=1 skip=100 seek=84 count=16 \
		conv=notrunc status=none
	run -1 --separate-stderr payloadctl import "$S" --qdrant churn --rejects=aside
	[[ $stderr == *"imported 660 documents"*"put aside 2"* ]]
	is_part "$S"
	[[ $(jq -c 'select(.reason | startswith("another value lies in the same blocks")).payload' aside | sort -u | wc -l) == 1 ]]
	payloadctl import -q "$S" aside
	[[ $(payloadctl stat --json "$S" | jq .points) == 662 ]]
}

@test "the payloads of points whose ids are lost are kept, and their bytes in the mapping" {
	unpack churn
	make_whole
	dd if=/dev/zero of=churn/mutable_id_tracker.mappings bs=1 seek=9000 count=100 conv=notrunc status=none
	run -1 --separate-stderr payloadctl import "$S" --qdrant churn
	is_part "$S"
	[[ $(wc -l <part) -ge 640 ]]
	# Nothing that was there is nowhere.
	{ jq -cS .payload qdrant-rejects.ndjson; jq -cS .payload part; } | sort -u >kept
	[[ -z $(comm -13 kept <(jq -cS .payload whole | sort -u)) ]]
	# The entry before may have lost bytes of its id only.
	jq -se 'map(select(.reason == "no entries of a mapping of ids")) | length == 1 and .[0].offset < 9021 and
		.[0].offset + .[0].length >= 9100 and .[0].length < 140' qdrant-rejects.ndjson
}

# cut FILE: how the import ends when the file is shorter, at some lengths.
cut_and_import() {
	local file=$1 size len status
	size=$(stat -c %s "$file")
	cp --sparse=always "$file" original
	for len in 0 19 $((size / 3)) $((size - 1)); do
		cp --sparse=always original "$file"
		truncate -s "$len" "$file"
		rm -rf cut qdrant-rejects*.ndjson
		status=0
		timeout 60 payloadctl import -q cut --qdrant "${file%%/*}" 2>err || status=$?
		((status == 0 || status == 1)) || fail "$file cut to $len: exit code $status: $(head -n 3 err)"
		if [[ $file == *mutable_id_tracker.mappings ]]; then
			# Deletes may be cut off.
			payloadctl export -q cut | jq -r .id | sort -u >ids
		else
			is_part cut
		fi
	done
	cp --sparse=always original "$file" # in place: other names of the file see it, too
}

@test "each file cut at several lengths: what is left comes out right, and nothing crashes" {
	unpack churn
	make_whole
	local file
	for file in churn/payload_storage/{tracker,bitmask,page_0,page_6}.dat churn/mutable_id_tracker.{mappings,versions}; do
		cut_and_import "$file"
	done
	payloadctl import -q reference2 --qdrant churn-immutable
	payloadctl export -q --sort reference2 >whole
	for file in churn-immutable/id_tracker.{mappings,versions,deleted}; do
		cut_and_import "$file"
	done
}

@test "bytes turned at random in all files: an end in order, and whatever is imported is JSON" {
	unpack churn
	local i status dir
	for i in {1..16}; do
		dir=$([[ $((i % 2)) == 0 ]] && echo churn || echo churn-immutable)
		rm -rf turned store qdrant-rejects*.ndjson
		cp -r --sparse=always "$dir" turned
		perl -e 'my $seed = shift; for my $file (@ARGV) {
			srand($seed); open(F, "+<", $file) or die; my $size = -s F; $size = 18436 if $size > 262144;
			for (1 .. 1 + $seed % 5) { my $at = int rand $size; seek F, $at, 0; print F chr int rand 256; }
			close(F) or die; }' "$i" turned/*tracker* turned/payload_storage/*
		status=0
		timeout 60 payloadctl import -q store --qdrant turned 2>err || status=$?
		((status == 0 || status == 1 || status == 7)) || fail "seed $i: exit code $status: $(tail -n 3 err)"
		((status == 7)) || payloadctl export -q store | jq -e . >/dev/null
		[[ ! -e qdrant-rejects.ndjson ]] || jq -e . qdrant-rejects.ndjson >/dev/null
	done
}

@test "what can't be read is refused by name, with a remedy, and makes no store" {
	unpack churn current
	fails 7 "nowhere: No such file" payloadctl import "$S" --qdrant nowhere
	tar cf packed.snapshot churn
	fails 7 "packed.snapshot: not a directory: unpack a snapshot first" payloadctl import "$S" --qdrant packed.snapshot
	mkdir -p empty storage/collections/c snap/0/segments
	fails 7 "empty: neither a collection, a shard nor a segment" payloadctl import "$S" --qdrant empty
	fails 7 "name one collection" payloadctl import "$S" --qdrant storage
	fails 7 "name the segment's directory" payloadctl import "$S" --qdrant churn/payload_storage
	fails 7 "there is no segment in it" payloadctl import "$S" --qdrant snap
	tar cf snap/0/segments/x.tar churn
	fails 7 "snap/0/segments/x.tar: a packed segment of a snapshot: unpack it first" payloadctl import "$S" --qdrant snap
	mkdir old && touch old/CURRENT old/version.info
	fails 7 "RocksDB" payloadctl import "$S" --qdrant old
	mv churn/mutable_id_tracker.mappings saved
	rm churn/mutable_id_tracker.versions
	touch churn/id_tracker.i2e
	fails 7 "id_tracker.i2e" payloadctl import "$S" --qdrant churn
	rm churn/id_tracker.i2e
	sed -i 's/"LZ4"/"Zstd"/' churn/payload_storage/config.json
	fails 7 'the compression "Zstd" is not known' payloadctl import "$S" --qdrant churn --offset-ids
	sed -i 's/"mutable"/"append_only"/' current/payload_storage/config.json
	fails 7 'the mode "append_only" is not known' payloadctl import "$S" --qdrant current --offset-ids
	[[ ! -e $S ]]
}

@test "a running Qdrant's directory is refused" {
	make_collection
	exec 9<collection/0/wal
	flock -n 9
	fails 4 "collection/0: a running Qdrant has it: stop Qdrant first" payloadctl import "$S" --qdrant collection
	fails 4 "a running Qdrant has it" payloadctl import "$S" --qdrant collection/0/segments/a
	exec 9<&-
	payloadctl import -q "$S" --qdrant collection
}

# write_log FILE COUNT: a file of Qdrant's write-ahead log with so many operations.
write_log() {
	python3 - "$@" <<-'END'
		import struct, sys

		def mirror(v):
		    return int(f"{v:032b}"[::-1], 2)

		def crc32c(register, data):
		    for byte in data:
		        register ^= byte
		        for _ in range(8):
		            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
		    return register ^ 0xFFFFFFFF

		crc = 0x1234567
		out = b"wal\0" + struct.pack("<I", crc)
		for i in range(int(sys.argv[2])):
		    data = b"operation %d" % i
		    entry = struct.pack("<Q", len(data)) + data
		    entry += bytes((4 - len(entry)) % 8)
		    crc = crc32c(mirror(crc), entry)
		    out += entry + struct.pack("<I", crc)
		open(sys.argv[1], "wb").write(out + bytes(4096))
	END
}

@test "operations that only the write-ahead log has are told, and make exit code 1" {
	make_collection
	local last
	last=$(cat collection/0/segments/*/*id_tracker.versions |
		perl -0777 -ne 'my ($max) = sort { $b <=> $a } unpack("Q<*", $_); print $max')
	write_log "collection/0/wal/closed-$((last - 3))" 4
	write_log collection/0/wal/open-2 0
	payloadctl import -q whole.store --qdrant collection
	write_log collection/0/wal/open-2 5
	run -1 --separate-stderr payloadctl import --json "$S" --qdrant collection
	[[ $stderr == *"collection/0/wal: reaches to operation $((last + 5)), the segments to $last: what the 5 operations"* ]]
	[[ $(jq .qdrant.unread_operations <<<"$output") == 5 ]]
	# The segments themselves have been imported.
	cmp <(payloadctl export -q --sort "$S") <(payloadctl export -q --sort whole.store)
}

@test "an interrupted flush: points without version are imported and told" {
	unpack churn
	truncate -s $((8 * 1150)) churn/mutable_id_tracker.versions
	run -1 --separate-stderr payloadctl import "$S" --qdrant churn
	[[ $stderr == *"the last change of "[12]" point"*" was interrupted"*"imported 662 documents"* ]]
	is_expected "$S" churn/expected-external.ndjson
	unpack churn
	printf '\x01\x05\x00' >>churn/mutable_id_tracker.mappings
	run -0 --separate-stderr payloadctl import again --qdrant churn
	[[ $stderr == *"its last entry, at byte 25722, is incomplete"* ]]
	is_expected again churn/expected-external.ndjson
}

@test "unpacked snapshots: the segment in files/, in snapshot/files/" {
	unpack churn
	mkdir -p snap/0/segments/{u1,u2/snapshot}
	touch churn/version.info churn-immutable/version.info
	mv churn snap/0/segments/u1/files
	mv churn-immutable snap/0/segments/u2/snapshot/files
	run -0 payloadctl import --json -q "$S" --qdrant snap
	[[ $(jq .qdrant.segments <<<"$output") == 2 ]]
	payloadctl import -q one --qdrant snap/0/segments/u1
	is_expected one churn/expected-external.ndjson
}

@test "options that do not go together; rejects that can't be written; --stop-on-error" {
	unpack churn
	fails 2 "there are FILEs, too" payloadctl import "$S" --qdrant churn file
	fails 2 "belong to --qdrant" payloadctl import --rejects=r "$S" /dev/null
	fails 2 "belong to --qdrant" payloadctl import --offset-ids "$S" /dev/null
	fails 2 "--qdrant is there twice" payloadctl import "$S" --qdrant churn --qdrant churn
	fails 2 "needs a value" payloadctl import "$S" --qdrant
	fails 7 "(what Qdrant has left is imported with --qdrant)" payloadctl import "$S" churn
	[[ ! -e $S ]]
	put_le32 churn/payload_storage/tracker.dat 84 7
	put_le32 churn/payload_storage/tracker.dat 164 7
	run -7 --separate-stderr payloadctl import -q "$S" --qdrant churn --rejects=no/such/file
	[[ $stderr == *"no/such/file: No such file or directory: what can't be imported needs a file"* ]]
	run -1 --separate-stderr payloadctl import -q other --qdrant churn --rejects=file --stop-on-error
	[[ $(wc -l <file) == 1 && $(payloadctl stat --json other | jq .points) -lt 600 ]]
	run -0 payloadctl import --help
	[[ $output == *"--qdrant=DIRECTORY"*"--rejects=FILE"*"--offset-ids"* ]]
}

@test "progress is drawn on a terminal" {
	unpack churn
	script -qec "payloadctl import $S --qdrant churn" /dev/null >typescript </dev/null
	grep -aq $'\r''import  \[=*>* *\] *[0-9]* %  [0-9,]* documents, [0-9,]*/s' typescript
	grep -aq 'imported 662 documents' typescript
}

# body FROM TO NEXT: the answer of Qdrant 1.16 to a scroll request.
body() {
	jq -cn --argjson a "$1" --argjson b "$2" --argjson next "$3" '{usage: {hardware: {cpu: 1}},
		result: {points: [range($a; $b) | {id: ., payload: {n: ., city: "Bonn"}, vector: {v: [0.1]}, shard_key: null,
		order_value: 3}], next_page_offset: $next}, status: "ok", time: 0.001}'
}

@test "pages of the scroll API: a page a line, a page a file, concatenated; what was asked without payloads is refused" {
	local i
	for i in 0 1 2; do
		body $((i * 10)) $((i * 10 + 10)) $((i < 2 ? i * 10 + 10 : 0)) >"page$i"
	done
	cat page? >lines
	cat page? | tr -d '\n' >joined
	payloadctl import -q "$S" page0 page1 page2
	[[ $(payloadctl export -q --sort "$S" | jq -c '[.id, .payload.n]' | wc -l) == 30 ]]
	for i in lines joined; do
		payloadctl import -q "$i.store" "$i"
		cmp <(payloadctl export -q --sort "$S") <(payloadctl export -q --sort "$i.store")
	done
	[[ $(payloadctl get "$S" 7) == '{"n":7,"city":"Bonn"}' ]]
	sed 's/"payload":{[^}]*}/"payload":null/' page0 >without
	run -1 --separate-stderr payloadctl import "$S" without
	[[ $stderr == *"without: line 1, point 1: its payload was left out: scroll with \"with_payload\": true"* ]]
	[[ $(payloadctl get "$S" 7) == '{"n":7,"city":"Bonn"}' ]]
}

@test "export --qdrant-upsert writes bodies of requests: one document, or a batch of them" {
	printf '%s\n' '{"id":1,"payload":{"z":1.50,"a":"\u00e9"}}' '{"id":'"$max"',"payload":{}}' \
		'{"id":"'"$uuid"'","payload":{ "x" : [ 1 ] }}' | payloadctl import -q "$S"
	payloadctl export -q --sort --qdrant-upsert "$S" >out
	diff - out <<-END
		{"payload":{"z":1.50,"a":"\\u00e9"},"points":[1]}
		{"payload":{},"points":[$max]}
		{"payload":{ "x" : [ 1 ] },"points":["$uuid"]}
	END
	payloadctl export -q --sort --qdrant-upsert --batch=2 -o out "$S"
	diff - out <<-END
		{"operations":[{"overwrite_payload":{"payload":{"z":1.50,"a":"\\u00e9"},"points":[1]}},{"overwrite_payload":{"payload":{},"points":[$max]}}]}
		{"operations":[{"overwrite_payload":{"payload":{ "x" : [ 1 ] },"points":["$uuid"]}}]}
	END
	cmp out <(payloadctl export -q --sort --qdrant-upsert --batch=2 "$S")
	[[ $(payloadctl export -q --qdrant-upsert --batch=3 "$S" | wc -l) == 1 ]]
}

@test "export --qdrant-upsert: objects over several lines become one line, other documents are named" {
	payloadctl create "$S"
	printf '{"a":\n  1,\r\n"b":"x y"}\n\n' | payloadctl put "$S" 1
	printf '[1]' | payloadctl put "$S" 2
	printf '{"a":1} {}' | payloadctl put "$S" 3
	: | payloadctl put "$S" 4
	printf '{"ok":5}\n' | payloadctl put "$S" 5
	run -1 --separate-stderr payloadctl export --sort --qdrant-upsert --batch=10 "$S"
	[[ ${#lines[@]} == 1 && $(jq -c '[.operations[].overwrite_payload]' <<<"$output") == \
		'[{"payload":{"a":1,"b":"x y"},"points":[1]},{"payload":{"ok":5},"points":[5]}]' ]]
	[[ $(grep -c "is not a JSON object, and Qdrant takes no other payload" <<<"$stderr") == 3 ]]
	fails 2 "--batch belongs to --qdrant-upsert" payloadctl export --batch=2 "$S"
	fails 2 "--batch=0 is not a number" payloadctl export --qdrant-upsert --batch=0 "$S"
}

@test "export --qdrant-upsert: a batch of large documents ends before Qdrant's limit" {
	perl -e 'printf qq({"id":%d,"payload":{"t":"%s"}}\n), $_, "x" x 6000000 for 1 .. 7' | payloadctl import -q "$S"
	payloadctl export -q --sort --qdrant-upsert --batch=1000 "$S" >out
	[[ $(jq -c '[.operations[].overwrite_payload.points[0]]' out | tr '\n' ' ') == '[1,2] [3,4] [5,6] [7] ' ]]
}
