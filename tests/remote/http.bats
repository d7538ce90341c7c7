#!/usr/bin/env bats
# payloadctl on what nginx serves: contents, numbers of requests, TLS, and what is said of what is wrong.
# shellcheck disable=SC2031,SC2154 # bats runs each test in its own shell, and sets output and stderr
load lib

publish_documents() { # N
	documents "$1" | payloadctl import -q "$S"
	payloadctl publish -q "$S" "$WWW/c"
}

same_as_store() { cmp <(payloadctl export -q --sort "$S") <(payloadctl export -q --sort "$1"); }

@test "everything that reads a collection reads it over HTTP, and gives what the store has" {
	publish_documents 20000
	start_nginx
	same_as_store "$URL/c"
	same_as_store "$URL/c/"
	run -0 payloadctl check "$URL/c"
	[[ $output == "checked 20,000 documents"*"no faults" ]]
	cmp <(payloadctl get "$URL/c" 1234) <(payloadctl get "$S" 1234)
	[[ $(payloadctl stat --json "$URL/c" | jq -c '[.points,.raw_bytes]') == "$(payloadctl stat --json "$S" | jq -c '[.points,.raw_bytes]')" ]]
	payloadctl stat --json "$URL/c" 1234 | jq -e '.[0].size > 0 and .[0].page > 0'
	run -1 payloadctl get "$URL/c" 99999
	payloadctl snapshot -q "$URL/c" "$T/copy"
	same_as_store "$T/copy"
	run -7 payloadctl rm "$URL/c" 1
	run -3 payloadctl get "$URL/nothing" 1
	[[ $output == *"nothing is published there" ]]
	run ! grep -v '^GET \|^HEAD ' "$REQUESTS"
}

@test "a document takes two requests once manifest and dictionary are there; all of them take few more than there are megabytes" {
	local bytes
	publish_documents 20000
	start_nginx
	forget_requests
	payloadctl get "$URL/c" 12345 >/dev/null
	settle_requests
	(($(requests current) == 1 && $(requests generation-) == 1 && $(requests dict-) == 1)) || fail "$(<"$REQUESTS")"
	(($(requests keys-) == 1 && $(requests page-) == 1)) || fail "$(<"$REQUESTS")"
	forget_requests
	payloadctl export -q "$URL/c" >/dev/null
	settle_requests
	bytes=$(cat "$WWW"/c/{page,keys}-* | wc -c)
	# Of each byte once, in requests of up to a megabyte; of the table of keys in smaller ones.
	(($(tail -n "+$((seen + 1))" "$REQUESTS" | awk '{ n += $4 } END { print n }') < bytes * 11 / 10 + 400000)) || fail "$(<"$REQUESTS")"
	(($(requests) < bytes / 1000000 * 2 + 30)) || fail "$(requests) requests for $bytes bytes"
}

@test "HTTPS, in HTTP/2 where the server has it: whoever is not to be trusted gets no request" {
	local wrong
	publish_documents 3000
	make_ca
	NGINX_TLS=$CERT start_nginx
	run -7 payloadctl get "$URL/c" 1
	[[ $output == *"$URL/c/current: the server is not to be trusted: "* ]] || fail "$output"
	[[ ! -s $REQUESTS ]]
	export AWS_CA_BUNDLE=$CA
	same_as_store "$URL/c"
	run ! grep -v 'HTTP/2.0$' "$REQUESTS"
	stop_nginx
	for wrong in "$OTHER" "$OLD"; do
		NGINX_TLS=$wrong start_nginx
		run -7 payloadctl get "$URL/c" 1
		[[ $output == *"the server is not to be trusted: "* ]] || fail "$output"
		stop_nginx
	done
	# A way that begins encrypted does not end otherwise.
	NGINX_TLS=$CERT start_nginx "location /moved/ { return 302 http://localhost:1/c/; }"
	run -7 payloadctl get "$URL/moved" 1
	[[ $output == *"rotocol"*"http"* ]] || fail "$output"
}

@test "redirections are followed, and what stands behind a password is read with ~/.netrc" {
	publish_documents 3000
	printf 'me:%s\n' "$(openssl passwd -apr1 word)" >"$T/passwords"
	start_nginx "location /old/ { rewrite ^/old/(.*) /c/\$1 redirect; }
		location /locked/ { alias $WWW/c/; auth_basic x; auth_basic_user_file $T/passwords; }"
	same_as_store "$URL/old"
	export HOME=$T
	run -7 payloadctl get "$URL/locked" 1
	[[ $output == *"$URL/locked/current: the server refuses (HTTP 401)"* ]] || fail "$output"
	printf 'machine localhost login me password word\n' >"$T/.netrc"
	same_as_store "$URL/locked"
}

@test "damaged objects, missing ones, and answers that are something else: an error for what they hit, never a wrong byte" {
	local page size
	publish_documents 20000
	start_nginx
	page=$(ls "$WWW"/c/page-* | head -n 1)
	size=$(stat -c %s "$page")
	payloadctl export -q --sort "$S" >"$T/all"
	cp "$page" "$T/page"
	printf 'X' | dd of="$page" bs=1 seek=$((size / 2)) conv=notrunc 2>/dev/null
	run -1 --separate-stderr payloadctl export -q --sort "$URL/c"
	(($(wc -l <<<"$output") < 20000 && $(wc -l <<<"$output") > 15000))
	[[ -z $(comm -13 <(sort "$T/all") <(sort <<<"$output")) ]]
	[[ $stderr == *"damage in ${page##*/} at byte "* ]] || fail "$stderr"
	run -1 payloadctl check "$URL/c"
	[[ $output == *"${page##*/}"* ]]
	rm "$page"
	run -1 --separate-stderr payloadctl export -q --sort "$URL/c"
	[[ -z $(comm -13 <(sort "$T/all") <(sort <<<"$output")) ]]
	[[ $stderr == *"${page##*/} is not there any more"* ]] || fail "$stderr"
	cp "$T/page" "$page"
	cmp "$T/all" <(payloadctl export -q --sort "$URL/c")
	printf '<html>some portal</html>' >"$WWW/c/current"
	run -5 payloadctl get "$URL/c" 1
	[[ $output == *'`current` is damaged, or something else'* ]] || fail "$output"
}
