#!/usr/bin/env bats
# payloadctl map: the terminal's picture, the SVG and the JSON show the same pages with the figures of `stat --pages`, on
# directories and on live mounts, and what a compaction would take.
# shellcheck disable=SC2030,SC2031,SC2154 # bats runs each test in its own shell, and sets output and stderr
load lib

# A store of small pages of which parts are gone, more in some than in others.
setup_file() {
	local store=$BATS_FILE_TMPDIR/store
	payloadctl create --page-size=64K --min-value-size=16 "$store"
	documents 16000 | payloadctl import -q "$store"
	seq 16000 | awk '{ part = int($1 / 1600) } ($1 * 7919) % 100 < part * 9' | xargs payloadctl rm -q "$store"
}

holey_store() { cp -a "$BATS_FILE_TMPDIR/store" "$S"; }

# The rows of tiles in a picture without colours.
tiles() { sed -nE 's/^ {1,7}[0-9]+ //p'; }

@test "each page is a tile, as high as its live share; the marks are those of the JSON" {
	holey_store
	COLUMNS=60 payloadctl map "$S" >picture
	payloadctl map --json "$S" >json
	[[ $(tiles <picture | grep -o '#' | wc -l) == 1 ]]
	(($(tiles <picture | grep -o '[*#]' | wc -l) == $(jq '[.pages[] | select(.next)] | length' json)))
	(($(jq '[.pages[] | select(.next)] | length' json) > 10))
	python3 - picture json <<-'END'
		import json, re, sys
		pages = json.load(open(sys.argv[2]))["pages"]
		rows = [l.rstrip("\n") for l in open(sys.argv[1]) if re.match(r" {1,7}\d+ ", l)]
		tiles, at = [], 0
		for row in rows:
		    number, cells = row[:8], row[9:]
		    assert int(number) == pages[at]["page"], row
		    cells = [(cells[i], cells[i + 1:i + 2] or " ") for i in range(0, len(cells), 2)]
		    at += len(cells)
		    tiles += cells
		assert len(tiles) == len(pages)
		for (fill, mark), p in zip(tiles, pages):
		    height = " ▁▂▃▄▅▆▇█".index(fill)
		    assert abs(height / 8 - p["live_bytes"] / p["size"]) <= 1 / 8, (fill, p)
		    assert mark == ("#" if p["next"] == 1 else "*" if p["next"] else " "), (mark, p)
	END
}

@test "--json: the parts of each page are the page, the sums those of stat, the turns by dead share" {
	holey_store
	payloadctl map --json "$S" >json
	jq -e --argjson pages "$(payloadctl stat --pages --json "$S")" --argjson stat "$(payloadctl stat --json "$S")" '[
		(.pages | length) == ($pages | length) and $stat.pages == (.pages | length),
		all(.pages[]; .live_bytes + .pinned_bytes + .dead_bytes + .free_bytes == .size),
		([.pages[].live_bytes] | add) == .live_bytes and .live_bytes == $stat.container_bytes + $stat.slot_bytes,
		.dead_bytes == $stat.dead_bytes and .dead_max == $stat.dead_max and .due == (.dead_bytes > .dead_max),
		.disk_bytes == $stat.page_bytes and .points == $stat.points and .raw_bytes == $stat.raw_bytes,
		(.ratio - $stat.raw_bytes / ($stat.container_bytes + $stat.slot_bytes) | fabs) < 0.001,
		[.pages[] | .dead_bytes] == [$pages[] | .dead_bytes],
		[.pages[] | .next != null] == [$pages[] | .worth_emptying],
		([.pages[] | select(.next)] | sort_by(.next) | map(.dead_bytes / .disk_bytes) | . == (sort | reverse)),
		([.pages[] | select(.next) | .next] | sort) == [range(1; 1 + ([.pages[] | select(.next)] | length))]
	] | all' json >/dev/null || fail "$(cat json)"
	[[ $(jq .due json) == true ]]
	payloadctl compact -q "$S"
	jq -e '.due == false and ([.pages[] | select(.next)] | length) <= 1 and .dead_bytes < .live_bytes / 10' \
		<<<"$(payloadctl map --json "$S")"
}

@test "-o: a well-formed SVG, a tile and its figures for each page, heights that are the shares" {
	holey_store
	mv "$S" "$T/a <b> & \"c\""
	S="$T/a <b> & \"c\""
	payloadctl map -o map.svg "$S"
	payloadctl map --json "$S" >json
	python3 - map.svg json "$S" <<-'END'
		import json, re, sys
		import xml.etree.ElementTree as tree
		data = json.load(open(sys.argv[2]))
		root = tree.parse(sys.argv[1]).getroot()
		n = "{http://www.w3.org/2000/svg}"
		assert root.tag == n + "svg"
		assert root.find(n + "title").text == sys.argv[3]
		texts = [t.text for t in root.findall(n + "text")]
		assert texts[0] == sys.argv[3]
		assert "%d pages" % len(data["pages"]) in texts[1] and "%.2f to 1" % data["ratio"] in texts[1], texts
		assert "which is more than" in texts[2]
		for word in "live", "only for snapshots", "dead", "free or never used", "damaged", "being emptied":
		    assert any(t.startswith(word) for t in texts), word
		width, height = float(root.get("width")), float(root.get("height"))
		tiles = root.findall(n + "g")
		assert len(tiles) == len(data["pages"])
		frames = []
		places = set()
		for tile, page in zip(tiles, data["pages"]):
		    lines = tile.find(n + "title").text.split("\n")
		    assert lines[0].startswith("page %d: " % page["page"]), lines
		    rects = {r.get("class"): r for r in tile.findall(n + "rect")}
		    side = float(rects["f"].get("height"))
		    x, y = float(rects["f"].get("x")), float(rects["f"].get("y"))
		    assert 0 <= x <= x + side <= width and 0 <= y <= y + side <= height
		    places.add((x, y))
		    low = y + side
		    for part, key in ("l", "live_bytes"), ("s", "pinned_bytes"), ("d", "dead_bytes"):
		        share = page[key] / page["size"]
		        assert (part in rects) == (page[key] > 0)
		        if part in rects:
		            h, top = float(rects[part].get("height")), float(rects[part].get("y"))
		            assert abs(h - max(0.5, side * share)) < 0.1, (h, side, page)
		            assert abs(top + h - low) < 0.1
		            low = top
		    # The number is seen on whatever is behind it.
		    label = tile.find(n + "text")
		    assert (label is None) == (side < 34), side
		    assert label is None or label.get("class") == ("q" if y + side - low < 12 else "p")
		    frame = [c for c in rects if c in "nwe"]
		    assert frame == (["n"] if page["next"] == 1 else ["w"] if page["next"] else []), (frame, page)
		    assert any("as number %d" % page["next"] in l for l in lines) if page["next"] else len(lines) == 4
		assert len(places) == len(tiles)
	END
	payloadctl map -o - "$S" | cmp - map.svg
	[[ $(stat -c %a map.svg) == 644 ]]
}

@test "an empty store, one that only the journal has, and a read-only one" {
	payloadctl create "$S"
	[[ $(payloadctl map "$S") == *"0 pages"*"0 documents"*"no pages yet" ]]
	payloadctl map --json "$S" | jq -e '.pages == [] and .ratio == null and .size == 0 and .due == false'
	payloadctl map -o empty.svg "$S"
	python3 -c 'import xml.etree.ElementTree as t; assert "no pages yet" in "".join(t.parse("empty.svg").getroot().itertext())'
	echo '{"id":1,"payload":{}}' | payloadctl import -q "$S"
	[[ $(payloadctl map "$S") == *": 1 page of "*"1 document, 2 B of payload"* ]]
	fingerprint "$S" >before
	cat >script <<-END
		mount --bind "$S" "$S"
		mount -o remount,bind,ro "$S"
		payloadctl map --json "$S"
	END
	run -0 unshare --mount --propagation private bash -e script
	[[ $(jq -c '[.points, (.pages | length)]' <<<"$output") == "[1,1]" ]]
	fingerprint "$S" | cmp - before
}

@test "of more pages than fit, a tile stands for several, and that is said" {
	payloadctl create --page-size=64K --min-value-size=16 "$S"
	perl -e 'srand 7; for my $i (1 .. 1600) { printf qq({"id":%d,"payload":"%s"}\n), $i, join "", map { chr(97 + int rand 26) } 1 .. 6000 }' |
		payloadctl import -q "$S"
	pages=$(payloadctl map --json "$S" | jq '.pages | length')
	((pages > 100))
	COLUMNS=20 payloadctl map "$S" >picture
	grep -q "^each tile: $(((pages + 79) / 80)) pages, averaged" picture || fail "$(cat picture)"
	(($(tiles <picture | wc -l) <= 16))
	[[ -z $(grep -E '^ {1,7}[0-9]+ .{12}' picture) ]]
	[[ $(COLUMNS=200 payloadctl map "$S") != *"each tile"* ]]
}

# on_terminal COLUMNS COMMAND: what it writes to a terminal of that width.
on_terminal() {
	local columns=$1
	shift
	TERM=xterm-256color script -qefc "stty cols $columns rows 50; $*" /dev/null </dev/null
}

@test "colours are for terminals, NO_COLOR and TERM=dumb switch them off; the terminal's width counts" {
	local escape=$'\e'
	holey_store
	[[ $(on_terminal 60 payloadctl map "$S") == *"${escape}[36m"*"${escape}[36;41m"* ]]
	[[ $(NO_COLOR=1 on_terminal 60 payloadctl map "$S") != *"$escape"* ]]
	[[ $(on_terminal 60 TERM=dumb payloadctl map "$S") != *"$escape"* ]]
	[[ $(NO_COLOR='' on_terminal 60 payloadctl map "$S") == *"$escape"* ]]
	[[ $(payloadctl map "$S") != *"$escape"* ]]
	[[ $(NO_COLOR=1 on_terminal 40 payloadctl map "$S" | tr -d '\r' | tiles | head -n 1 | wc -m) == 31 ]]
	[[ $(NO_COLOR=1 COLUMNS=40 on_terminal 60 payloadctl map "$S" | tr -d '\r' | tiles | head -n 1 | wc -m) == 51 ]]
	[[ -z $(LC_ALL=C payloadctl map "$S" | LC_ALL=C grep '[^ -~]') ]]
	[[ $(LC_ALL=C payloadctl map "$S" | tiles) == *[0-9]* ]]
}

@test "errors: the command line, no store, an output that can't be written" {
	fails 2 "one TARGET" payloadctl map
	fails 2 "two kinds" payloadctl map --json -o x "$S"
	fails 3 "$T/none" payloadctl map "$T/none"
	payloadctl create "$S"
	fails 7 "$T/no/map.svg" payloadctl map -o "$T/no/map.svg" "$S"
	run -7 bash -c 'payloadctl map "$1" >/dev/full' - "$S"
	run -7 payloadctl map -o /dev/full "$S"
	[[ $(ls -A) == store ]]
}

@test "on a terminal of eighty columns the picture and its legend fit, with colours" {
	local plain
	holey_store
	TERM=xterm NO_COLOR='' script -qefc "stty cols 80 rows 24; payloadctl map $S" /dev/null </dev/null >bytes
	grep -q $'\e\\[36;4[13]m' bytes || fail "$(cat -v bytes)"
	plain=$(sed $'s/\e[[0-9;]*m//g; s/\r//g' bytes)
	[[ $plain == *$'\nbehind them dead bytes: '*"% of the disk"* ]] || fail "$plain"
	[[ -z $(tail -n +2 <<<"$plain" | grep -E '.{81}') ]] || fail "$plain"
}
