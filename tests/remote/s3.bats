#!/usr/bin/env bats
# Publishing to S3 and reading from it, with a server that verifies every signature by itself.
# shellcheck disable=SC2031,SC2154 # bats runs each test in its own shell, and sets output and stderr
load lib

# What is published is what the store has.
same_as_store() { cmp <(payloadctl export -q --sort "$S") <(payloadctl export -q --sort "$1"); }

@test "the server's own verification knows the signatures of Amazon's examples" {
	run -0 python3 "$root/tests/remote/s3_server.py" --self-test
	[[ $output == "four examples: no fault" ]]
}

@test "publish, read, publish again and prune, with the bucket in the path: every request is signed rightly" {
	start_s3 --page 3
	documents 20000 | payloadctl import -q "$S"
	run -0 payloadctl publish "$S" "$COLLECTION"
	same_as_store "$COLLECTION"
	payloadctl check "$COLLECTION"
	payloadctl put "$S" 777 <<<'{"changed":true}'
	run -0 --separate-stderr payloadctl publish --json "$S" "$COLLECTION"
	jq -e '.generation == 2 and .uploaded > 0 and .reused > 0' <<<"$output"
	[[ $(payloadctl get "$COLLECTION" 777) == '{"changed":true}' ]]
	payloadctl rm "$S" 1
	run -0 --separate-stderr payloadctl publish --json --keep 1 "$S" "$COLLECTION"
	# More pages of the list than one.
	jq -e '.generation == 3 and .pruned_generations == 2 and .pruned_objects > 0' <<<"$output"
	(($(grep -c 'continuation-token=' "$REQUESTS") > 0))
	same_as_store "$COLLECTION"
	payloadctl check "$COLLECTION"
	[[ $(find "$T/s3" -name '*generation-*' | wc -l) == 1 ]]
	run ! grep -E ' (400|403) ' "$REQUESTS"
	for method in GET HEAD PUT DELETE; do
		grep -q "^$method /bucket-1/some%20prefix/%C3%A4%2B~%25/" "$REQUESTS" || fail "no $method"
	done
}

@test "the bucket in the host's name, over TLS with an authority of one's own" {
	make_ca
	start_s3 --virtual --cert "$CERT"
	export AWS_ENDPOINT_URL=https://localhost:$(<"$T/s3.port") AWS_S3_ADDRESSING_STYLE=virtual
	documents 3000 | payloadctl import -q "$S"
	run -7 payloadctl publish "$S" "$COLLECTION"
	[[ $output == *"not to be trusted"* ]]
	[[ ! -s $REQUESTS ]]
	export AWS_CA_BUNDLE=$CA
	payloadctl publish -q "$S" "$COLLECTION"
	same_as_store "$COLLECTION"
	run ! grep -E ' (400|403) ' "$REQUESTS"
	grep -q "^PUT /some%20prefix/" "$REQUESTS"
	export AWS_S3_ADDRESSING_STYLE=path
	run -3 payloadctl stat "$COLLECTION"
}

@test "temporary credentials, none at all, and wrong ones" {
	local name value
	start_s3 --token "temporary/token=="
	echo '{"id":1,"payload":1}' | payloadctl import -q "$S"
	run -7 payloadctl publish "$S" "$COLLECTION"
	[[ $output == *"the server refuses (HTTP 403"* ]]
	AWS_SESSION_TOKEN="temporary/token==" payloadctl publish -q "$S" "$COLLECTION"
	kill "$s3_pid"
	start_s3
	for name in AWS_ACCESS_KEY_ID=WRONG AWS_SECRET_ACCESS_KEY=wrong AWS_REGION=elsewhere-1; do
		value=${name#*=} name=${name%%=*}
		run -7 env "$name=$value" payloadctl get "$COLLECTION" 1
		[[ $output == *"HTTP 40"*"/current"* || $output == *"/current"*"HTTP 40"* ]] || fail "$output"
	done
	run -7 env AWS_SECRET_ACCESS_KEY=wrong payloadctl get "$COLLECTION" 1
	[[ $output == *"HTTP 403, SignatureDoesNotMatch"* ]] || fail "$output"
	run -7 env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY payloadctl get "$COLLECTION" 1
	[[ $output == *"HTTP 403, AccessDenied"* ]] || fail "$output"
	run -2 env -u AWS_ACCESS_KEY_ID payloadctl get "$COLLECTION" 1
	[[ $output == *"AWS_SECRET_ACCESS_KEY is set, AWS_ACCESS_KEY_ID is not"* ]] || fail "$output"
	kill "$s3_pid"
	start_s3 --anonymous
	[[ $(env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY payloadctl get "$COLLECTION" 1) == 1 ]]
	run -3 payloadctl get s3://bucket-2/x 1
}

@test "a publication that is cut off leaves the generation from before, and the next one goes on" {
	local before
	start_s3
	documents 30000 | payloadctl import -q "$S"
	payloadctl publish -q "$S" "$COLLECTION"
	payloadctl export -q --sort "$COLLECTION" >"$T/before"
	documents 30000 100000 | payloadctl import -q "$S"
	before=$(grep -c ^PUT "$REQUESTS")
	payloadctl publish -q "$S" "$COLLECTION" 3>&- &
	wait_for 60 more_puts_than "$before"
	kill -9 $!
	wait $! || true
	cmp "$T/before" <(payloadctl export -q --sort "$COLLECTION")
	payloadctl publish -q "$S" "$COLLECTION"
	same_as_store "$COLLECTION"
}

more_puts_than() { (($(grep -c ^PUT "$REQUESTS") > $1)); }

# overtaken REGEX [OPTION...]: one that publishes (and prunes, with these options) is held up at the object of this name;
# meanwhile somebody else publishes. Sets status and output as `run` does.
overtaken() {
	local held=$1 pid
	shift
	start_s3 --hold "$held"
	documents 3000 | payloadctl import -q "$S"
	payloadctl publish -q "$S" "$COLLECTION"
	payloadctl snapshot -q "$S" "$T/other"
	payloadctl put "$S" 1 <<<'"mine"'
	payloadctl put "$T/other" 1 <<<'"of the other"'
	: >"$T/s3.hold"
	payloadctl publish "$@" "$S" "$COLLECTION" >"$T/out" 2>&1 3>&- &
	pid=$!
	wait_for 60 test -e "$T/s3.held"
	payloadctl publish -q --adopt "$T/other" "$COLLECTION"
	rm "$T/s3.held"
	status=0
	wait "$pid" || status=$?
	output=$(<"$T/out")
}

@test "of two that publish at once one is told, whatever it was about to write, and the other one's is whole" {
	local at
	for at in page- generation- current; do
		overtaken "$at" --adopt
		((status == 4)) || fail "$status: $output"
		[[ $output == *"somebody else has published there meanwhile"*"publish again"* ]] || fail "$output"
		payloadctl check -q "$COLLECTION"
		[[ $(payloadctl get "$COLLECTION" 1) == '"of the other"' ]]
		run -0 --separate-stderr payloadctl publish --json --adopt --keep 1 "$S" "$COLLECTION"
		payloadctl check -q "$COLLECTION"
		[[ $(payloadctl get "$COLLECTION" 1) == '"mine"' ]]
		[[ $(find "$T/s3" -name '*generation-*' | wc -l) == 1 ]]
		kill "$s3_pid"
		rm -rf "$S" "$T/other" "$T/s3"
	done
}

@test "one that has replaced what is current without hearing so knows it for its own" {
	local of_first
	start_s3 --lose current
	documents 3000 | payloadctl import -q "$S"
	for of_first in 1 0; do
		payloadctl put "$S" 1 <<<"$of_first"
		: >"$T/s3.lose"
		run -0 payloadctl publish "$S" "$COLLECTION"
		[[ -e $T/s3.lost ]]
		rm "$T/s3.lost"
		same_as_store "$COLLECTION"
	done
	# It was asked twice, and the second time the condition did not hold.
	[[ $(grep -c '^PUT .*/current 412 ' "$REQUESTS") == 2 ]]
	[[ $(find "$T/s3" -name '*generation-*' | wc -l) == 2 ]]
}

@test "a server that knows no conditions, or takes no notice of them, is published to all the same" {
	local kind
	documents 3000 | payloadctl import -q "$S"
	for kind in unconditional heedless; do
		start_s3 "--$kind"
		for _ in 1 2; do
			payloadctl put "$S" 1 <<<"\"$kind $_\""
			run -0 payloadctl publish "$S" "$COLLECTION"
			[[ $output != *501* ]]
			same_as_store "$COLLECTION"
		done
		if [[ $kind == unconditional ]]; then
			(($(grep -c '^PUT .*/current 501 ' "$REQUESTS") == 2))
		else
			run ! grep -E '^PUT .* (412|501) ' "$REQUESTS"
		fi
		kill "$s3_pid"
		rm -r "$T/s3"
	done
}

@test "locations that are none, and servers that can't be published to, are told apart" {
	echo '{"id":1,"payload":1}' | payloadctl import -q "$S"
	for url in http://localhost/x https://localhost/x; do
		run -7 payloadctl publish "$S" "$url"
		[[ $output == "payloadctl: $url: plain servers can only be read"* ]]
	done
	for url in ftp://x/y s3:// s3://a/../b http://me:word@localhost/ 'http://x/?y'; do
		run -2 payloadctl stat "$url"
		[[ $output == "payloadctl: "* && $output != *word@* && ${#lines[@]} == 1 ]] || fail "$output"
	done
	run -2 payloadctl publish "$S" s3://a/../b
	[[ $output == *"dots for names"* && ${#lines[@]} == 1 ]] || fail "$output"
	run -7 payloadctl put http://localhost:9/x 1
	[[ $output == *"can only be read"* ]] || fail "$output"
}
