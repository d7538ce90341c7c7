#!/usr/bin/env bats
# The benchmark of the engine, end to end with two hundred documents, and its report of recorded figures: that all
# is measured and said, not how fast anything is. Of the peers only payloadfs is built here; what is measured of each
# is found by the same code.
# shellcheck disable=SC2030,SC2031,SC2154 # bats runs each test in its own shell, and sets output and stderr
load lib

recorded=$BATS_TEST_DIRNAME/bench.csv
metrics=(load get1 get2 scan update delete disk durable1 durable16 open_clean_ms open_killed_ms size_loaded size_changed
	private_bytes mapped_bytes raw_bytes)

engine=$root/tools/bench/engine
export ENGINE=$build/bench/engine-own # which is always built anew with the tests
report() { "$root/tools/bench/report" "$@"; }

setup() {
	T=$(mktemp -d "${TMPDIR:-/tmp}/payloadfs-tool.XXXXXX")
	S=$T/store
	export WORK=$T/work
	cd "$T" || return
}

# cell FILE SET_TITLE OPERATION COLUMN: what a table says; columns are named by its first row.
cell() {
	awk -F ' *[|] *' -v set="**$2**" -v row="$3" -v column="$4" '
		$0 == set { here = 1; next }
		here && !head { for (i = 2; i < NF; i++) if ($i == column) at = i; if (NF > 2) head = 1; next }
		here && $2 == row { print $at; exit }' "$1"
}

@test "every figure of every peer is measured, and what was made is gone afterwards" {
	export SETS='small:200' PEERS='payloadfs payloadfs-dict' ROUNDS=2
	export GETS=500 CHANGES=60 SECONDS_DURABLE=0.1 DIRTY=50
	local peer metric
	"$engine" >said 2>log || fail "$(cat log)"
	for peer in $PEERS; do
		for metric in "${metrics[@]}"; do
			# One line a repetition, with a number; above 0 but where memory is compared.
			[[ $(grep -cE "^engine,small,200,[12],$peer,$metric,-?[0-9.]+(e[+-]?[0-9]+)?$" work/engine.csv) == 2 ]] ||
				fail "$peer $metric"
			[[ $metric == *_bytes ]] || awk -F, -v m="$metric" '$6 == m && $7 <= 0 { exit 1 }' work/engine.csv ||
				fail "$metric is not above 0"
		done
	done
	[[ $(awk -F, '$6 == "raw_bytes" { print $7; exit }' work/engine.csv) -gt 20000 ]]
	cmp said work/engine.md
	grep -qF '**200 small generated documents**' said
	[[ $(cd work && echo *) == 'engine-small-200.svg engine.csv engine.md' ]] || fail "$(ls work)"
}

@test "the sets are the same in every run, and have the documents that were asked for" {
	"$build/bench/engine-own" make small 300 >one
	"$build/bench/engine-own" make small 300 | cmp - one
	[[ $(jq -c '[.id, (.payload | keys | length)]' one | sort -u | wc -l) == 300 ]]
	payloadctl import -q "$S" one
	payloadctl export -q "$S" | cmp - one
	documents 50 >few
	"$build/bench/engine-own" make mutated 400 few >many
	"$build/bench/engine-own" make mutated 400 few | cmp - many
	head -n 50 many | cmp - few
	# JSON with the members that there were, in which something has changed.
	[[ $(jq -c '[.id, (.payload | keys)] | tostring' many | grep -cF '[\"list\",\"n\",\"text\"]') == 400 ]]
	[[ $(jq -c .payload many | sort -u | wc -l) -gt 350 ]]
	[[ $(jq -s 'map(.id) == [range(1; 401)]' many) == true ]]
}

@test "a set of documents that is none, and a peer that is not there, are named" {
	run -1 --separate-stderr "$engine" --fast
	[[ $stderr == 'engine: usage: '* ]]
	for SETS in small:all planets:10 small:0 mutated small:10x; do
		export SETS
		run -1 --separate-stderr "$engine"
		[[ $stderr == "engine: there is no set $SETS" ]] || fail "$stderr"
	done
	export SETS=small:100
	PEERS=oracle run -1 --separate-stderr "$engine"
	[[ $stderr == 'engine: there is no peer oracle in '* ]]
	ROUNDS=0 run -1 --separate-stderr "$engine"
	[[ $stderr == 'engine: ROUNDS and DOCS '* ]]
	[[ ! -e work ]]
	echo '{"id":2,"payload":{}}' >bad
	echo '{"id":1,"payload":{}}' >>bad
	run -1 --separate-stderr "$build/bench/engine-own" run payloadfs "$T/x" bad
	[[ $stderr == *'the ids do not ascend' ]]
	echo '{"id":3,"payload":[' >bad
	run -1 --separate-stderr "$build/bench/engine-own" run payloadfs "$T/x" bad
	[[ $stderr == *'a line is not {"id":N,"payload":...}' ]]
}

@test "a run that is ended leaves no process and no store" {
	local pid status=0
	SETS=small:500 PEERS=payloadfs SECONDS_DURABLE=600 "$engine" >/dev/null 2>&1 3>&- &
	pid=$!
	wait_for 60 test -s work/peer.disk
	kill -TERM "$pid"
	wait "$pid" || status=$?
	((status == 1)) || fail "it ended with $status"
	wait_for 10 gone
	[[ $(cd work && echo *) == engine.csv ]] || fail "$(ls work)"
}

gone() { ! grep -lzF "$T/work/peer" /proc/[0-9]*/cmdline 2>/dev/null; }

@test "the report has medians of every peer and metric, ratios and verdicts" {
	report "$recorded" >out
	local set='1,000,000 package records, mutated copies' peer
	for peer in payloadfs 'payloadfs dict' 'RocksDB LZ4' 'RocksDB zstd' LMDB 'LMDB LZ4' SQLite; do
		[[ $(grep -c "^| operation .*| $peer |" out) == 3 ]] || fail "$peer"
		[[ $(cell out "$set" 'bulk load, thousand/s' "$peer") =~ ^[0-9.]+$ ]] || fail "$peer"
	done
	# Every metric that is recorded has its row in both tables; a dash only where nothing was measured.
	[[ $(grep -cE '^\| [^|]+ \|( [0-9.]+ \|| - \|){11}' out) == 44 ]] || fail "$(cat out)"
	[[ $(grep -cE '^\| random get, 16 at once.*\| - \| - \| 200 \| 100 \| 800 \|' out) == 2 ]]
	# The median, not the mean nor the first.
	[[ $(cell out "$set" 'random get, thousand/s' 'payloadfs dict') == 1000 ]]
	[[ $(cell out "$set" 'disk after the load, bytes a document' SQLite) == 800 ]]
	# Above 1 is better, for what is to be much and for what is to be little.
	[[ $(cell out "$set" 'random get, thousand/s' '/ LMDB') == 1.25 ]]
	[[ $(cell out "$set" 'disk after the load, bytes a document' '/ RocksDB LZ4') == 5 ]]
	[[ $(cell out "$set" 'random get, thousand/s' goal) == '4 x RocksDB LZ4: 5, met; 1.3 x LMDB: 1.25, **missed**' ]]
	[[ $(cell out "$set" 'random get, 2 threads, thousand/s' goal) == '1.9 x 1 thread: 1.95, met' ]]
	[[ $(cell out "$set" 'random get, 16 at once, thousand/s' goal) == '6.5 x RocksDB LZ4: not there' ]]
	[[ $(cell out "$set" 'durable put, 1/s' goal) == '0.85 x the disk: 0.9, met' ]]
	[[ $(cell out "$set" 'durable put, 16 threads, 1/s' goal) == '5 x 1 thread: 4.44, **missed**' ]]
	[[ $(cell out "$set" 'open after a clean close, ms' goal) == 'at most 100 ms: met' ]]
	[[ $(cell out "$set" 'open after kill -9, ms' goal) == 'at most 3000 ms: **missed**' ]]
	[[ $(cell out "$set" 'private memory, bytes a document' goal) == 'at most 20 and 64 MB in all: met' ]]
	# The many beside the few.
	grep -qF 'with 1,000,000 package records, mutated copies, with 100,000 = 1:' out
	grep -qF '| random get | 2 | 2 | 2 | 2 | 2 | 2 | 2 | at most 1.5: **missed** |' out
	grep -qF '| update of +-20 % of size | 1.25 | 1.25 | 1.25 | 1.25 | 1.25 | 1.25 | 1.25 | at most 1.5: met |' out
}

@test "plots are XML with a bar for every peer, in proportion" {
	report --plots "$T" --only mutated:1000000 "$recorded" >out
	[[ $(echo *.svg) == engine-mutated-1000000.svg ]]
	grep -qF '](engine-mutated-1000000.svg)' out
	python3 - <<-'PYTHON'
		import xml.etree.ElementTree as tree
		ns = "{http://www.w3.org/2000/svg}"
		svg = tree.parse("engine-mutated-1000000.svg").getroot()
		bars = svg.findall(ns + "rect")
		texts = [text.text for text in svg.findall(ns + "text")]
		# Eleven panels of seven; in that of get_many payloadfs has nothing to show.
		assert len(bars) == 11 * 7 - 2, len(bars)
		assert texts.count("RocksDB zstd") == 11 and texts.count("payloadfs dict") == 10
		load = [float(bar.get("width")) for bar in bars[:7]]
		assert max(load) == load[1] and abs(load[0] / load[1] - 0.5) < 0.01, load
		_, _, width, height = map(float, svg.get("viewBox").split())
		for bar in bars:
		    assert float(bar.get("x")) + float(bar.get("width")) <= width
		    assert float(bar.get("y")) + float(bar.get("height")) <= height
	PYTHON
}

@test "a report goes between the marks of a file, again and again, and nowhere else" {
	printf 'before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n' >README.md
	report --readme README.md --only mutated:100000 "$recorded"
	cp README.md first
	report --readme README.md --only mutated:100000 "$recorded"
	cmp README.md first
	[[ $(head -n 2 first) == $'before\n<!-- bench -->' && $(tail -n 2 first) == $'<!-- /bench -->\nafter' ]]
	! grep -q '^old$' first || false
	grep -qF '](tools/bench/plots/engine-mutated-100000.svg)' first
	[[ -s tools/bench/plots/engine-mutated-100000.svg ]]
	echo nothing >other
	run -1 report --readme other "$recorded"
	[[ $output == 'report: other: it does not have '* && $(cat other) == nothing ]]
}

@test "figures that are none are refused" {
	local line
	for line in engine,small,1,1,payloadfs,load,fast engine,small,1,payloadfs,load,1 moon,small,1,1,payloadfs,load,1; do
		{ cat "$recorded"; echo "$line"; } >bad
		run -1 report bad
		[[ $output == "report: bad: "* && ${#lines[@]} == 1 ]] || fail "$line: $output"
	done
	tail -n +2 "$recorded" | grep -v ^part >bad
	run -1 report bad
	[[ $output == 'report: bad: its columns are not '* ]]
	head -n 10 "$recorded" | grep -v ^engine >bad
	run -1 report bad
	[[ $output == 'report: bad: there are no figures in it' ]]
	run -1 report --only small "$recorded"
	[[ $output == *'there is no set small' ]]
	run -1 report nowhere
	[[ $output == 'report: nowhere: No such file or directory' ]]
}
