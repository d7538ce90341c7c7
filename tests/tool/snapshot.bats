#!/usr/bin/env bats
# payloadctl snapshot on store directories: what the copy has, when it gets its name. stat --pages: figures that add up.
# shellcheck disable=SC2031,SC2154 # bats runs each test in its own shell, and sets output and stderr
load lib

# uuid_of STORE: the 16 bytes that tell stores apart.
uuid_of() { od -An -tx1 -j 40 -N 16 "$1/superblock"; }

# What is to be the same of a store and its copy, but for the documents.
settings() { payloadctl stat --json "$1" | jq -c '[.page_size,.min_value_size,.dictionary_off,.defaults,.points,.scratch,.raw_bytes]'; }

@test "the copy of a closed store has the same settings and documents, and a UUID of its own" {
	local options
	for options in "" "--page-size=64K --min-value-size=16" "--dict=off --page-size=1M"; do
		# shellcheck disable=SC2086 # words
		payloadctl create $options "$S"
		documents 5000 | payloadctl import -q "$S"
		payloadctl put "$S" $uuid <<<'{"a": 1}'
		payloadctl put "$S" $max <<<'no JSON'
		payloadctl put "$S" .7.swp <<<scratch
		head -c 5000000 /dev/urandom >large
		payloadctl put "$S" 99999 large
		payloadctl put "$S" large~ large
		before=$(fingerprint "$S")
		run -0 --separate-stderr payloadctl snapshot "$S" copy
		[[ -z $output && $stderr == "copied 5,003 points and 2 scratch files of "* ]]
		[[ $(fingerprint "$S") == "$before" ]]
		run -0 payloadctl check copy
		[[ $output == "checked 5,005 documents"*"no faults" ]]
		[[ $(settings "$S") == "$(settings copy)" ]]
		[[ $(uuid_of "$S") != "$(uuid_of copy)" ]]
		cmp <(payloadctl export -q --sort "$S") <(payloadctl export -q --sort copy)
		payloadctl get copy large~ | cmp - large
		[[ $(payloadctl get copy .7.swp) == scratch ]]
		[[ $(payloadctl scratch list --json "$S") == "$(payloadctl scratch list --json copy)" ]]
		# It is a store like any other.
		payloadctl put copy 5 <<<new
		payloadctl compact -q copy
		payloadctl check copy
		rm -r "$S" copy
	done
}

@test "small documents of the copy are packed with a dictionary, where those of the store are" {
	documents 5000 | payloadctl import -q "$S"
	payloadctl put "$S" tmp <<<x
	payloadctl snapshot -q "$S" copy
	payloadctl stat --json "$S" | jq -e --argjson copy "$(payloadctl stat --json copy)" \
		'.dictionary_users > 4000 and $copy.dictionary_users > 4000 and $copy.container_bytes < 1.05 * .container_bytes'
}

@test "mode, owner and time of documents are kept, also from a store that nobody has mounted yet" {
	local fields='map({id, scratch, size, mode, uid, gid, mtime_ns})'
	documents 2000 | payloadctl import -q "$S"
	payloadctl put "$S" 3 <<<x
	payloadctl put "$S" tmp <<<y
	payloadctl snapshot -q "$S" copy
	cmp <(payloadctl stat --json "$S" 1 3 2000 tmp | jq "$fields") <(payloadctl stat --json copy 1 3 2000 tmp | jq "$fields")
	# Neither has a default owner yet: the first mount gives it.
	[[ $(od -An -tu4 -j 76 -N 4 "$S/superblock") == $(od -An -tu4 -j 76 -N 4 copy/superblock) ]]
}

@test "--json says what was copied; -q says nothing" {
	documents 10 | payloadctl import -q "$S"
	payloadctl put "$S" tmp <<<y
	run -0 --separate-stderr payloadctl snapshot --json "$S" copy
	[[ -z $stderr ]]
	jq -e --argjson stat "$(payloadctl stat --json "$S")" '.points == 10 and .scratch == 1 and .failed == 0 and
		.payload_bytes == $stat.raw_bytes and .opened_ns > 1.7e18 and (.seconds | type) == "number"' <<<"$output"
	[[ -z $(payloadctl snapshot -q "$S" copy2 2>&1) ]]
}

@test "an empty store is copied; one that is not there, or is held, is not" {
	payloadctl create "$S"
	payloadctl snapshot -q "$S" copy
	[[ $(settings copy) == "$(settings "$S")" ]]
	fails 3 "$T/none" payloadctl snapshot "$T/none" copy2
	fails 2 "one DIRECTORY" payloadctl snapshot "$S"
	fails 2 "one DIRECTORY" payloadctl snapshot "$S" a b
	fails 3 "copy: is not empty" payloadctl snapshot "$S" copy
	hold
	fails 4 "" payloadctl snapshot --wait=0 "$S" copy2
	release
	[[ ! -e copy2 && -z $(compgen -G '.*partial*') ]]
}

@test "documents that are damaged are named, and the rest is copied: exit code 1" {
	payloadctl create --dict=off "$S"
	documents 100 | payloadctl import -q "$S"
	local place
	place=$(payloadctl stat --json "$S" 77 | jq -r '.[0] | "\(.page) \(.offset + 20)"')
	printf '\377\377\377\377' | dd of="$S/page-$(printf %08x "${place% *}")" bs=1 seek="${place#* }" conv=notrunc status=none
	run -1 --separate-stderr payloadctl snapshot "$S" copy
	[[ $stderr == *": 77: damaged, or could not be read"* && $stderr == *"copied 99 points"*"failed 1"* ]]
	run -0 payloadctl check copy
	[[ $output == "checked 99 documents"*"no faults" ]]
	fails 1 "77: no such document" payloadctl get copy 77
	# Without the index nobody can tell whose it was, either.
	rm -r "$S/index" copy
	run -1 --separate-stderr payloadctl snapshot -q "$S" copy
	[[ $stderr == *"there are documents whose ids are not known; they are not in the copy"* ]]
	[[ $(payloadctl export -q copy | wc -l) == 99 ]]
}

@test "a document whose name is damaged is missed: exit code 1" {
	payloadctl create --dict=off "$S"
	documents 100 | payloadctl import -q "$S"
	local place
	place=$(payloadctl stat --json "$S" 77 | jq -r '.[0] | "\(.page) \(64 + 16 * .slot)"')
	printf '\377\377\377\377' | dd of="$S/page-$(printf %08x "${place% *}")" bs=1 seek="${place#* }" conv=notrunc status=none
	run -1 --separate-stderr payloadctl snapshot -q "$S" copy
	[[ $stderr == *": 1 document whose name is damaged is not in the copy"* ]] || fail "$stderr"
	[[ $(payloadctl check copy) == "checked 99 documents"*"no faults" ]]
}

@test "a page that ends early is no failure half way; one that can't be written is, and leaves nothing" {
	payloadctl create --page-size=64K --min-value-size=16 --dict=off "$S"
	documents 2000 | payloadctl import -q "$S"
	# Files may have 32 KiB, the reserve has more.
	run -7 --separate-stderr bash -c 'trap "" XFSZ; ulimit -f 32; exec payloadctl snapshot -q "$1" copy' - "$S"
	[[ $stderr == *"File too large" ]] || fail "$stderr"
	[[ ! -e copy && -z $(compgen -G '.copy.*') ]]
	mkdir copy
	run -7 bash -c 'trap "" XFSZ; ulimit -f 32; exec payloadctl snapshot -q "$1" copy' - "$S"
	[[ -z $(ls -A copy) && -z $(compgen -G '.copy.*') ]]
	truncate -s 40000 "$S/page-00000003"
	run -1 --separate-stderr payloadctl snapshot "$S" copy
	[[ $stderr == *"damaged, or could not be read"*"failed "* ]] || fail "$stderr"
	[[ -z $(compgen -G '.copy.*') ]]
	[[ $(payloadctl check copy) == "checked 1,"*" documents"*"no faults" ]]
}

@test "the copy gets its name after all of it is synced, and then the name is synced" {
	documents 3000 | payloadctl import -q "$S"
	payloadctl put "$S" tmp <<<y
	strace -f -qq -y -e trace=write,pwrite64,fsync,fdatasync,rename,renameat,renameat2 -o log payloadctl snapshot -q "$S" copy
	perl -e '
		my ($top, %dirty, $synced, $renamed, $parent) = @ARGV;
		while (<STDIN>) {
			if (m{ (?:pwrite64|write)\(\d+<\Q$top\E/(\.copy\.partial-\w+/[^>]+)>}) {
				die "written after the renaming: $_" if $renamed;
				$dirty{$1} = 1;
			} elsif (m{ f(?:data)?sync\(\d+<\Q$top\E/(\.copy\.partial-\w+)>\) += 0}) {
				$synced = 1;
			} elsif (m{ f(?:data)?sync\(\d+<\Q$top\E/(\.copy\.partial-\w+/[^>]+)>}) {
				delete $dirty{$1};
			} elsif (m{ rename\w*\(.*"[^"]*/(\.copy\.partial-\w+)/index\.tmp"}) {
				die "the index is not synced: $_" if $dirty{"$1/index.tmp"};
				$synced = 0;
			} elsif (m{ rename\w*\(.*\.copy\.partial-\w+", .*/copy"}) {
				$renamed = 1;
				# Files of the journal that are not there any more do not count.
				my @left = grep { my $f = s{.*/}{}r; -e "copy/$f" } keys %dirty;
				die "not synced: @left" if @left;
				die "the directory is not synced" unless $synced;
			} elsif (m{ f(?:data)?sync\(\d+<\Q$top\E>\) += 0}) {
				$parent = $renamed;
			}
		}
		die "never renamed" unless $renamed;
		die "its name is not synced" unless $parent;' "$T" <log
	grep -q 'pwrite64.*/\.copy\.partial-.*/page-00000001>' log
}

@test "killed at any moment, there is no copy or a whole one" {
	local n pid whole=0
	documents 4000 | payloadctl import -q "$S"
	payloadctl export -q --sort "$S" >before
	for n in {1..12}; do
		payloadctl snapshot -q "$S" copy 3>&- &
		pid=$!
		sleep "0.0$n"
		kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
		if [[ -e copy ]]; then
			payloadctl check copy >out || fail "$(<out)"
			payloadctl export -q --sort copy | cmp - before
			whole=$((whole + 1))
			rm -r copy
		fi
		rm -rf .copy.partial-*
	done
	payloadctl snapshot -q "$S" copy
	payloadctl export -q --sort copy | cmp - before
}

# adds_up TARGET: the figures of the pages are those of the store.
adds_up() {
	payloadctl stat --pages --json "$1" >pages
	jq -e --argjson stat "$(payloadctl stat --json "$1")" '[
		length == $stat.pages,
		(map(.disk_bytes) | add // 0) == $stat.page_bytes,
		(map(.used_bytes) | add // 0) == $stat.used_bytes,
		(map(.hole_bytes) | add // 0) == $stat.hole_bytes,
		(map(.gap_bytes) | add // 0) == $stat.gap_bytes,
		(map(.free_bytes) | add // 0) == $stat.free_bytes,
		(map(.dead_bytes) | add // 0) == $stat.dead_bytes,
		all(.[]; .dead_bytes <= .free_bytes and .worth_emptying == (.dead_bytes > .disk_bytes / 10 and .used_bytes > 0)),
		(map(.live_bytes) | add // 0) == $stat.container_bytes + $stat.slot_bytes,
		(map(.slots - .free_slots) | add // 0) == $stat.points + $stat.scratch,
		all(.[]; .size >= .used_bytes + .hole_bytes + .gap_bytes + 16 * .slots and .live <= 1 and .pinned_bytes == 0)
	] | all' pages >/dev/null || fail "$(cat pages; payloadctl stat --json "$1")"
}

@test "stat --pages: each page, with sums that are those of the store; removed documents are holes" {
	payloadctl create --page-size=64K --min-value-size=16 "$S"
	[[ $(payloadctl stat --pages --json "$S") == "[]" ]]
	documents 3000 | payloadctl import -q "$S"
	adds_up "$S"
	jq -e 'length > 5 and (map(.page) | . == sort and . == unique) and all(.[]; .size == 65536)' pages
	[[ $(payloadctl stat --pages "$S" | wc -l) == $(($(jq length pages) + 1)) ]]
	[[ $(payloadctl stat --pages "$S" | head -n 1) == *"on disk"*"holes"*"live" ]]
	# In one page every second document is removed: there are holes of just that, in no other page.
	local page gone bytes
	page=$(payloadctl stat --json "$S" 1500 | jq '.[0].page')
	payloadctl stat --json "$S" $(seq 3000) | jq -r --argjson page "$page" '.[] | select(.page == $page and .id % 2 == 0) | "\(.id) \(.container)"' >victims
	gone=$(wc -l <victims) bytes=$(awk '{ n += $2 } END { print n }' victims)
	((gone > 10))
	before=$(jq -c --argjson page "$page" 'map(select(.page != $page))' pages)
	hole=$(jq --argjson page "$page" '.[] | select(.page == $page).hole_bytes' pages)
	cut -d ' ' -f 1 victims | xargs payloadctl rm -q "$S"
	adds_up "$S"
	jq -e --argjson page "$page" --argjson gone "$gone" --argjson bytes "$((bytes + hole))" \
		'.[] | select(.page == $page) | .hole_bytes == $bytes and .free_slots == $gone and .live < 0.7' pages
	[[ $(jq -c --argjson page "$page" 'map(select(.page != $page))' pages) == "$before" ]]
	fails 2 "--pages is about the store" payloadctl stat --pages "$S" 1
}
