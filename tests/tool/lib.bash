# What the tests of payloadctl on directories share. A test file begins with `load lib`. $T is the test's own
# directory, $S the store in it (not made yet).
#
#	BUILD    the variant's directory (default build/release)

# shellcheck source=tests/common.bash
source "$BATS_TEST_DIRNAME/../common.bash"

# shellcheck disable=SC2034 # for the test files
uuid=c0ffee00-0000-4000-8000-000000000001
# shellcheck disable=SC2034
max=18446744073709551615

setup() {
	T=$(mktemp -d "${TMPDIR:-/tmp}/payloadfs-tool.XXXXXX")
	S=$T/store
	cd "$T" || return
}

teardown() {
	local pid
	for pid in $(jobs -p); do
		kill "$pid" 2>/dev/null || true
	done
	cd /
	rm -rf "$T"
}

# Holds the store open for writing until `release`. A FIFO that is not written to keeps an import waiting.
hold() {
	mkfifo "$T/fifo"
	payloadctl import -q "$S" "$T/fifo" 3>&- &
	holder=$!
	exec 8>"$T/fifo"
	wait_for 30 is_held
}

is_held() { [[ $(payloadctl get -q --wait=0 "$S" 1 2>&1 >/dev/null; echo $?) == *4 ]]; }

release() {
	exec 8>&-
	wait "$holder"
}

# The names and bytes of everything below a directory.
fingerprint() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0r sha256sum); }

# documents N: prints N records with payloads of some hundred bytes, ids from 1.
documents() {
	perl -e 'for my $i (1 .. $ARGV[0]) {
		printf qq({"id":%d,"payload":{"n":%d,"text":"%s","list":[%s]}}\n),
			$i, $i, "word$i " x ($i % 40), join(",", map { $i * $_ } 1 .. $i % 30);
	}' "$1"
}
