# What the tests of payloadctl on directories share. A test file begins with `load lib`. $T is the test's own
# directory, $S the store in it (not made yet).
#
#	BUILD    the variant's directory (default build/release)

bats_require_minimum_version 1.5.0

root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
case ${BUILD:=build/release} in
/*) build=$BUILD ;;
*) build=$root/$BUILD ;;
esac
PATH=$build:$PATH
export LC_ALL=C.UTF-8 TZ=UTC
umask 022

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

fail() {
	printf '%s\n' "$*"
	return 1
}

# fails CODE WORDS COMMAND...: the command ends with the exit code, prints nothing to standard output, and to standard
# error one line that begins with `payloadctl: ` and holds the words.
fails() {
	local code=$1 words=$2 out=$BATS_TEST_TMPDIR/out err=$BATS_TEST_TMPDIR/err status=0 messages
	shift 2
	# Not by run, which starts several processes for each command.
	"$@" >"$out" 2>"$err" || status=$?
	mapfile messages <"$err"
	((status == code)) || fail "exit code $status, not $code: ${messages[*]}"
	[[ ! -s $out ]] || fail "on standard output: $(<"$out")"
	((${#messages[@]} == 1)) || fail "not one line: ${messages[*]}"
	[[ ${messages[0]} == "payloadctl: "*"$words"*$'\n' ]] || fail "wanted \"$words\", got: ${messages[0]}"
}

# wait_for SECONDS COMMAND...: polls until the command succeeds.
wait_for() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		((SECONDS < end)) || return 1
		sleep 0.02
	done
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
