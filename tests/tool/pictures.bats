#!/usr/bin/env bats
# tools/pictures: README's pictures can be made anew from what payloadctl draws and prints, and README shows just these.
# shellcheck disable=SC2030,SC2031,SC2154 # bats runs each test in its own shell, and sets output and stderr
load lib

# svg FILE: what it shows as text, one line for each height; a fault when it is no SVG.
svg() {
	python3 - "$1" <<-'END'
		import sys
		import xml.etree.ElementTree as tree
		root = tree.parse(sys.argv[1]).getroot()
		n = "{http://www.w3.org/2000/svg}"
		assert root.tag == n + "svg"
		lines, width, height = {}, float(root.get("width")), float(root.get("height"))
		for text in root.iter(n + "text"):
		    x, y = float(text.get("x")), float(text.get("y"))
		    assert 0 <= x and x + float(text.get("textLength") or 0) <= width and 0 < y <= height, text.text
		    lines.setdefault(y, []).append((x, text.text))
		for y in sorted(lines):
		    print(" ".join(text for _, text in sorted(lines[y])))
	END
}

screen() { "$root/tools/pictures/terminal-svg" "${1:-20}" "${2:-4}"; }

@test "the pictures are made, show what they are to show, and are all that README shows of them" {
	local name before after
	mkdir pictures
	cd "$root"
	BUILD=$build DOCS=3000 PAGE_SIZE=64K timeout 300 tools/pictures/record "$T/pictures" 3>&-
	[[ -z $(compgen -G "${TMPDIR:-/tmp}/payloadfs-pictures.*") ]]
	diff <(ls "$T/pictures") <(cd tools/pictures && ls -- *.svg)
	diff <(ls "$T/pictures") <(grep -o '(tools/pictures/[^)]*)' README.md | sed 's,.*/,,; s/)//' | sort)
	for name in "$T"/pictures/* tools/pictures/*.svg; do
		svg "$name" >"$T/text" || fail "$name"
		run -1 grep -F payloadfs-pictures "$T/text"
	done
	before=$(svg "$T/pictures/map-before.svg") after=$(svg "$T/pictures/map-after.svg")
	[[ $before == store$'\n'*"; it begins above"*"compaction empties it next"* && $before != *"dead: 0 B"* ]] || fail "$before"
	[[ $after == store$'\n'*"compaction: 0 B of dead bytes"* ]] || fail "$after"
	[[ $(svg "$T/pictures/map-terminal.svg") == "store: "*" pages of 65.5 kB,"*"behind them dead bytes: from 10 %"* ]]
	svg "$T/pictures/top.svg" >"$T/text"
	grep -Eq '^mnt: 2,[0-9]{3} documents, process [0-9]+, up 0:00:0' "$T/text" || fail "$(cat "$T/text")"
	grep -q '^write ' "$T/text" || fail "$(cat "$T/text")"
	grep -q '^read ' "$T/text" || fail "$(cat "$T/text")"
}

@test "a terminal: lines, colours, clearing and the second screen come out as they are" {
	[[ $(printf 'one\r\ntwo  words\e[K\r\n' | screen | tee a.svg | grep -c '<text') == 3 ]]
	[[ $(svg a.svg) == $'one\ntwo words' ]]
	printf '1\r\n2\r\n3\r\n4\r\n5' | screen >a.svg
	[[ $(svg a.svg) == $'2\n3\n4\n5' ]]
	printf 'shell\r\n\e[?1049h\e[?25l\e[Hlong line\e[K\r\nmore\e[K\r\n\e[J\e[Hnew\e[K\r\n\e[J\e[?25h\e[?1049l' | screen >a.svg
	[[ $(svg a.svg) == new ]] || fail "$(svg a.svg)"
	printf '\e[36;41m▄\e[0m \e[2mdim\e[0m \e[1;31m!\e[0m&<' | screen >a.svg
	[[ $(svg a.svg) == 'dim ! &<' ]]
	# A cell of 18 filled to its half, behind it the colour of what is dead.
	grep -q 'height="18" fill="#a3262a"' a.svg && grep -q 'height="9" fill="#4cb8d8"' a.svg
	grep -q 'opacity="0.6">dim<' a.svg && grep -q 'font-weight="bold">!<' a.svg
}

@test "a terminal: what is not understood, or does not fit, makes no picture" {
	local bytes
	for bytes in '\e[35mx' '\e[5;5Hx' '\e[?7lx' '\tx' '\ex' 'twenty-one characters' ''; do
		# shellcheck disable=SC2059
		printf "$bytes" >bytes
		run -1 --separate-stderr screen <bytes
		[[ -z $output && $stderr == "terminal-svg: "* ]] || fail "$bytes: $output$stderr"
	done
}
