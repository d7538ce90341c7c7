# payloadctl publish: generations in a directory, what is written and what is not, what is refused.
# shellcheck disable=SC2154 # set by lib and run

load lib

eval "lib_$(declare -f teardown)"
teardown() {
	umount -l "$T/disk" 2>/dev/null || true
	lib_teardown
}

documents() { # FIRST LAST
	perl -e 'for my $i ($ARGV[0] .. $ARGV[1]) {
		printf qq({"id":%d,"payload":{"n":%d,"text":"%s"}}\n), $i, $i, "word$i " x ($i % 20 + 5);
	}' "$@"
}

generation() { sed -n 's/^generation 0*//p' "$1/current"; }

@test "a store is published, a change writes little, no change nothing" {
	documents 1 30000 | payloadctl import -q "$S"
	payloadctl put "$S" scratch~ <<<x
	run -0 --separate-stderr payloadctl publish "$S" pub
	[[ -z $output && $stderr == "published generation 1: 30,000 points, "* ]]
	[[ $(generation pub) == 1 && -f pub/generation-00000001 ]]
	cp -r pub first
	run -0 --separate-stderr payloadctl publish "$S" pub
	[[ $stderr == "nothing has changed since generation 1: "*"written 0 objects, 0 B; "* ]]
	diff -r pub first
	payloadctl put "$S" 15000 <<<'{"n":15000}'
	payloadctl publish --json "$S" pub >out
	jq -e '.generation == 2 and .unchanged == false and .points == 30000 and .failed == 0 and
		.uploaded <= 4 and .uploaded + .reused == .objects and .uploaded_bytes < .bytes' out
	[[ $(generation pub) == 2 ]]
	# What was there is there as it was.
	(cd first && sha256sum ./generation-* ./*.pf?) | (cd pub && sha256sum -c --quiet)
	# The file names say what is in them.
	local file
	for file in pub/*.pf?; do
		[[ $(basename "$file") == *-"$(sha256sum "$file" | head -c 32)".* ]]
	done
	payloadctl check "$S"
}

@test "what is published is readable for others as the umask says" {
	documents 1 10 | payloadctl import -q "$S"
	payloadctl publish -q "$S" a/pub
	[[ $(stat -c %a a a/pub a/pub/current a/pub/generation-00000001 | xargs) == '755 755 644 644' ]]
	(umask 077 && payloadctl publish -q "$S" private)
	[[ $(stat -c %a private private/current | xargs) == '700 600' ]]
}

@test "--keep removes older generations and what only they need" {
	local i
	documents 1 1000 | payloadctl import -q "$S"
	for i in 1 2 3; do
		payloadctl put "$S" 5 <<<"$i"
		payloadctl publish -q "$S" pub
	done
	[[ $(echo pub/generation-*) == *1*2*3 ]]
	payloadctl put "$S" 5 <<<4
	payloadctl publish --json --keep=2 "$S" pub >out
	jq -e '.pruned_generations == 2 and .pruned_objects == 4 and .generation == 4' out
	[[ $(echo pub/generation-*) == 'pub/generation-00000003 pub/generation-00000004' ]]
	[[ $(find pub -name '*.pf?' | wc -l) == 4 ]]
	fails 2 'number from 1' payloadctl publish --keep=0 "$S" pub
	fails 2 'number from 1' payloadctl publish --keep=x "$S" pub
}

@test "what is not meant is refused, and left as it is" {
	documents 1 10 | payloadctl import -q "$S"
	payloadctl create other
	mkdir full && touch full/file
	fails 2 'one DESTINATION' payloadctl publish "$S"
	fails 3 'holds other files (file)' payloadctl publish "$S" full
	[[ $(ls full) == file ]]
	fails 2 'inside the store' payloadctl publish "$S" "$S"
	fails 2 'inside the store' payloadctl publish "$S" "$S/new/pub"
	[[ ! -e $S/new ]]
	fails 3 'holds other files' payloadctl publish "$S" other
	fails 3 "can't be made a directory" payloadctl publish "$S" full/file
	payloadctl publish -q "$S" pub
	fails 3 '--adopt' payloadctl publish other pub
	[[ $(generation pub) == 1 ]]
	payloadctl publish -q --adopt other pub
	[[ $(generation pub) == 2 ]]
	printf x >>pub/current
	fails 5 'is damaged' payloadctl publish --adopt other pub
	[[ $(generation pub) == 2 ]]
}

@test "damaged documents are named, and nothing is published, unless that is wanted" {
	documents 1 1000 | payloadctl import -q "$S"
	local at
	at=$(payloadctl stat --json "$S" 500 | jq '.[0].offset + 20')
	printf '\xff\xff\xff\xff' | dd of="$S/page-00000001" bs=1 seek="$at" conv=notrunc status=none
	run -1 --separate-stderr payloadctl publish "$S" pub
	[[ $stderr == *": 500: "*"nothing was published"* && ! -e pub/current ]]
	run -1 --separate-stderr payloadctl publish --json --without-damaged "$S" pub
	jq -e '.points == 999 and .failed == 1' <<<"$output"
	[[ $(generation pub) == 1 ]]
}

@test "one that is killed at any time leaves the generation from before, or the new one, and the next one finishes" {
	local i killed=0 start took
	# Small pages: as many objects as those of far more documents.
	payloadctl create --page-size=1M "$S"
	documents 1 20000 | payloadctl import -q "$S"
	payloadctl publish -q "$S" pub
	payloadctl export -q pub >old
	documents 100001 120000 | payloadctl import -q "$S"
	payloadctl export -q --sort "$S" >new
	cp -a pub whole
	start=${EPOCHREALTIME/./}
	payloadctl publish -q "$S" whole
	took=$((${EPOCHREALTIME/./} - start))
	for i in {1..12}; do # later each time: the first is far from its end, however fast the machine is
		payloadctl publish -q "$S" pub &
		sleep "$((took * i / 13))e-6"
		kill -"$((i % 4 ? 9 : 15))" $! 2>/dev/null && ((++killed))
		wait $! || true
		payloadctl check -q pub
		payloadctl export -q pub >now
		cmp -s now "$([[ $(generation pub) == 1 ]] && echo old || echo new)"
		[[ $(generation pub) == 1 ]] || break
	done
	((killed))
	payloadctl publish -q "$S" pub
	[[ $(generation pub) == 2 ]]
	payloadctl export -q pub | cmp - new
	run find pub -name '*.tmp'
	[[ -z $output ]]
}

@test "on a full disk the generation from before stays, and it goes on when there is room" {
	((EUID == 0)) || skip "only root mounts a small disk"
	mkdir disk
	mount -t tmpfs -o size=9m none disk
	documents 1 60000 | payloadctl import -q "$S"
	payloadctl publish -q "$S" disk/pub
	payloadctl export -q disk/pub >old
	# Hexadecimal digits by chance: next to nothing for LZ4.
	perl -e 'for my $i (1 .. 20000) {
		read STDIN, my $bytes, 300;
		printf qq({"id":%d,"payload":"%s"}\n), $i, unpack "H*", $bytes;
	}' </dev/urandom | payloadctl import -q "$S"
	fails 7 'space' payloadctl publish "$S" disk/pub
	[[ $(generation disk/pub) == 1 ]]
	payloadctl check -q disk/pub
	payloadctl export -q disk/pub | cmp - old
	mount -o remount,size=60m disk
	payloadctl publish -q "$S" disk/pub
	payloadctl check -q disk/pub
	cmp <(payloadctl export -q disk/pub) <(payloadctl export -q --sort "$S")
	umount disk
}

@test "payloadctl reads a published directory like the store, and changes nothing in it" {
	documents 1 5000 | payloadctl import -q "$S"
	payloadctl put "$S" c0ffee00-0000-4000-8000-000000000001 <<<'"uuid"'
	payloadctl publish -q "$S" pub
	find pub -type f -exec sha256sum {} + | sort >before
	cmp <(payloadctl export -q --sort "$S") <(payloadctl export -q pub)
	cmp <(payloadctl get "$S" 17) <(payloadctl get pub 17)
	fails 1 'no such' payloadctl get pub 5001
	payloadctl stat --json pub | jq -e '.points == 5001 and .published_generation == 1 and .raw_bytes > 500000 and
		.journal_bytes == 0 and .scratch == 0'
	run -0 payloadctl stat pub
	[[ $output == *'generation'*'1, of 20'*'5,001'* ]]
	payloadctl stat --json pub 17 "$uuid" | jq -e '.[0].id == 17 and .[0].page > 0 and .[1].size == 7'
	run -0 payloadctl check pub
	[[ $output == 'checked 5,001 documents in 1 page'*'no faults' ]]
	payloadctl snapshot -q pub copy
	cmp <(payloadctl export -q --sort copy) <(payloadctl export -q pub)
	payloadctl publish -q pub again
	cmp <(payloadctl export -q again) <(payloadctl export -q pub)
	local command
	for command in 'put pub 5' 'rm pub 5' 'import pub' 'compact pub' 'train pub'; do
		# shellcheck disable=SC2086 # several words
		fails 7 'can only be read' payloadctl $command </dev/null
	done
	fails 5 'publish it again' payloadctl check --repair pub
	find pub -type f -exec sha256sum {} + | sort | cmp before -
}

@test "what is damaged in a published directory is named; removed and published again it is there" {
	documents 1 5000 | payloadctl import -q "$S"
	payloadctl publish -q "$S" pub
	local page
	page=$(basename pub/page-*)
	printf '\377\377' | dd of="pub/$page" bs=1 seek=200000 conv=notrunc status=none
	run -1 payloadctl check --json pub
	# What can't be read is named, each of it once, and nothing else.
	jq -r '.findings[] | select(.id) | .id' <<<"$output" | sort >named
	jq -e --arg page "$page" 'all(.findings[]; .file == $page) and .damaged > 50 and .damaged < 1000' <<<"$output"
	run -1 --separate-stderr payloadctl export pub
	[[ -n $output ]]
	sort -u named | cmp - named
	sed 's/.*pub: \([0-9]*\): .*/\1/' <<<"$stderr" | grep -x '[0-9]*' | sort | cmp - named
	rm "pub/$page"
	payloadctl publish -q "$S" pub
	payloadctl check pub
	cmp <(payloadctl export -q --sort "$S") <(payloadctl export -q pub)
}
