# What all test files have from their lib.bash: the programs of BUILD first in PATH, the same locale everywhere, and
# small things.

bats_require_minimum_version 1.5.0

root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
case ${BUILD:=build/release} in
/*) build=$BUILD ;;
*) build=$root/$BUILD ;;
esac
PATH=$build:$PATH
export LC_ALL=C.UTF-8 TZ=UTC
umask 022

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

# reads FILE TEXT: the file can be read, and has the text. Where a condition asks whether a file can be read already it must
# not be by $(<FILE): that ends a test (bash 5.2, set -e) when the file can't be opened, whoever asks.
reads() { [[ $(cat "$1" 2>/dev/null) == "$2" ]]; }

# not COMMAND...: it fails. (A plain `! command` would not end a test.)
not() {
	if "$@"; then
		fail "succeeded: $*"
	fi
}
