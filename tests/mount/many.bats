# Many points: 100,000 by default, 1,000,000 with FULL=1.

load lib

# Documents 1..$1, each different, as NDJSON.
points() {
	awk -v n="$1" -v form='{"id":%d,"payload":{"n":%d,"city":"Bonn %d", "price": %d.50}}\n' \
		'BEGIN { for (i = 1; i <= n; i++) printf form, i, i, i % 97, i % 1000 }'
}

@test "import, list, find, export and import into a second store: the identical set" {
	local count i
	count=$(quick_or_full 100000 1000000)
	points "$count" >"$T/in.ndjson"
	timeout "$limit" payloadctl import "$M" "$T/in.ndjson"
	[[ $(ls -U "$M" | wc -l) == "$count" ]]
	[[ $(find "$M" -type f | wc -l) == "$count" ]]
	[[ $(ls -U "$M" | sort -u | wc -l) == "$count" ]]
	for i in 1 2 777 $((count / 2)) "$count"; do
		[[ $(cat "$M/$i") == "$(sed -n "${i}{s/^{\"id\":[0-9]*,\"payload\"://;s/}\$//;p}" "$T/in.ndjson")" ]]
	done
	payloadctl export "$M" | sort >"$T/exported"
	sort "$T/in.ndjson" >"$T/sorted"
	cmp "$T/exported" "$T/sorted"
	remount
	[[ $(ls -U "$M" | wc -l) == "$count" ]]
	payloadctl create "$T/second"
	timeout "$limit" payloadctl import "$T/second" "$T/exported"
	payloadctl export "$T/second" | sort | cmp - "$T/sorted"
	payloadctl check "$T/second"
}

@test "rm -rf * over all points, then the store is empty and usable" {
	points 100000 | timeout "$limit" payloadctl import "$M" -
	(cd "$M" && rm -rf ./*)
	[[ -z $(ls -A "$M") ]]
	[[ $(stat_of points) == 0 ]]
	echo x >"$M/1"
	remount
	[[ $(ls -A "$M") == 1 && $(cat "$M/1") == x ]]
	unmount_fs
	payloadctl check "$S"
}

@test "a listing whose entries are removed as they come shows each of them once" {
	local probe
	probe=$(helper probe)
	points 30000 | payloadctl import "$M" -
	"$probe" list-removing "$M" 30000
	[[ -z $(ls -A "$M") ]]
}

@test "a listing while others are removed and renamed over shows each name that stays once" {
	local probe
	probe=$(helper probe)
	points 20000 | payloadctl import "$M" -
	"$probe" list-beside "$M" 20000
	[[ $(ls "$M" | wc -l) == 10000 ]]
	"$probe" list-again "$M"
}

@test "sed -i over all, while the listing goes on, edits each once" {
	local count=2000
	points "$count" | payloadctl import "$M" -
	# Each edit makes a scratch file beside the document and renames it over the name that is
	# being listed.
	find "$M" -type f -exec sed -i 's/"n":/"m":1,"n":/' {} +
	[[ $(ls -A "$M" | wc -l) == "$count" ]]
	[[ $(cd "$M" && grep -l '"m":1,"n":' ./* | wc -l) == "$count" ]]
	[[ $(cd "$M" && grep -l '"m":1,"m":1' ./* | wc -l) == 0 ]]
}

@test "many files made, changed and removed from several processes at once" {
	local pids=() i
	cat >"$T/worker" <<-'END'
		my ($dir, $which) = @ARGV;
		chdir $dir or die "$dir: $!\n";
		sub put {
			my ($mode, $name, $line) = @_;
			open my $file, $mode, $name or die "$mode $name: $!\n";
			print $file $line and close $file or die "$name: $!\n";
		}
		for my $i (1 .. 200) {
			my $n = $which * 1000 + $i;
			put ">", $n, "$n a\n";
			put ">>", $n, "$n b\n";
			rename $n, "t$n" or die "rename $n: $!\n";
			rename "t$n", $n or die "rename t$n: $!\n";
			$i % 2 or unlink $n or die "unlink $n: $!\n";
		}
	END
	for i in 1 2 3 4; do
		perl "$T/worker" "$M" "$i" 3>&- &
		pids+=($!)
	done
	for i in "${pids[@]}"; do wait "$i"; done
	for i in {1..4}{001..199..2}; do printf '%s a\n%s b\n' "$i" "$i" >"$W/$i"; done
	[[ $(ls -A "$M" | wc -l) == 400 ]]
	same
	remount
	same
}

# Each creation asks whether there would be room for the document; asking must not cut up the pages.
@test "documents that are made one by one lie next to each other" {
	local i stat pages holes
	for i in {1..1500}; do echo "{\"a\":$i}" >"$M/$i"; done
	stat=$(payloadctl stat --json "$M")
	pages=$(sed -n 's/.*"pages": *\([0-9]*\).*/\1/p' <<<"$stat")
	holes=$(sed -n 's/.*"hole_bytes": *\([0-9]*\).*/\1/p' <<<"$stat")
	((pages == 1 && holes < 65536)) || fail "$pages pages with $holes bytes in holes"
}
