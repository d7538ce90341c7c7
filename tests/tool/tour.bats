#!/usr/bin/env bats
# tools/tour: the session that README.md shows runs from its first command to its last, and README shows just these.
# shellcheck disable=SC2030,SC2031,SC2154 # bats runs each test in its own shell, and sets output and stderr
load lib

export BUILD=$build # whatever directory it runs in

@test "the session of README runs, and README has its commands" {
	cd "$root"
	run -0 --separate-stderr timeout 300 tools/tour
	[[ -z $stderr ]] || fail "$stderr"
	((${#lines[@]} > 30))
	[[ $output == *'"city":"Bonn"'*'"draft":true'*"no faults" ]] || fail "$output"
	diff <(grep '^    \$ ' <<<"$output") <(sed -n '/^<!-- tour -->/,/^<!-- \/tour -->/p' README.md | grep '^    \$ ')
	[[ -z $(compgen -G "${TMPDIR:-/tmp}/payloadfs-tour.*") ]]
}

@test "it is put between its marks, and what is wrong changes nothing" {
	printf 'above\n<!-- tour -->\nold\n<!-- /tour -->\nbelow\n' >page
	timeout 300 "$root/tools/tour" --readme page
	[[ $(head -n 2 page) == $'above\n<!-- tour -->' && $(tail -n 2 page) == $'<!-- /tour -->\nbelow' ]]
	run -1 grep -q old page
	grep -q '^    \$ payloadctl umount' page
	printf 'no marks\n' >page
	run -1 timeout 300 "$root/tools/tour" --readme page
	[[ $(<page) == "no marks" ]]
	mkdir broken
	printf '#!/bin/sh\nexit 1\n' >broken/payloadctl
	cp broken/payloadctl broken/payloadfs
	chmod +x broken/*
	printf '<!-- tour -->\n<!-- /tour -->\n' >page
	BUILD=broken run -1 "$root/tools/tour" --readme page
	[[ $(wc -l <page) == 2 ]]
	run -2 "$root/tools/tour" --readme
}
