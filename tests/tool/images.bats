#!/usr/bin/env bats
# payloadctl on the golden images (tests/README.md, "Images"), as on stores of somebody's disk.
# shellcheck disable=SC2030,SC2031,SC2154 # bats runs each test in its own shell, and sets output and stderr
load lib

golden=$root/tests/images/golden-v1

# unpack IMAGE DIR: makes the store's directory from its text.
unpack() {
	mkdir "$2"
	perl -e 'open(my $in, "<", $ARGV[0]) or die; my $out; while (<$in>) {
		if (/^file (\S+) (\d+)$/) {
			open($out, ">", "$ARGV[1]/$1") or die; truncate($out, $2) or die;
		} else {
			my ($at, $hex) = split; seek($out, $at, 0) or die; print $out pack("H*", $hex);
		}
	}' "$1" "$2"
}

@test "a store of the format's first day, closed or not, is whole: checked, exported, changed, exported again" {
	local image before
	for image in closed killed; do
		unpack "$golden/$image" "$image"
		before=$(fingerprint "$image" | grep -v ' ./lock$')
		run -0 --separate-stderr payloadctl check "$image"
		[[ $output == *": no faults" && -z $stderr ]]
		cmp "$golden/points.ndjson" <(payloadctl export -q --sort "$image")
		[[ $image == killed || $(fingerprint "$image" | grep -v ' ./lock$') == "$before" ]]
		payloadctl put "$image" 77 <<<'{"new":true}'
		payloadctl rm -q "$image" 77
		cmp "$golden/points.ndjson" <(payloadctl export -q --sort "$image")
		run -0 payloadctl check "$image"
		run -0 payloadctl check --repair "$image"
		[[ $output == "nothing to repair: 14 documents, no faults" ]]
	done
}
