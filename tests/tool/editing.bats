#!/usr/bin/env bats
# For people at a terminal: get --pretty, edit, scratch. Bytes that nobody has changed stay, and what was edited is
# never lost.
# shellcheck disable=SC2030,SC2031,SC2154 # bats runs each test in its own shell, and sets output and stderr
load lib

# editor SCRIPT: an editor that runs SCRIPT on "$1".
editor() {
	printf '#!/bin/sh -e\n%s\n' "$1" >"$T/editor"
	chmod +x "$T/editor"
	export EDITOR=$T/editor
	unset VISUAL
}

setup() {
	T=$(mktemp -d "${TMPDIR:-/tmp}/payloadfs-tool.XXXXXX")
	S=$T/store
	cd "$T" || return
	mkdir "$T/tmp"
	export TMPDIR=$T/tmp
	payloadctl create -q "$S"
}

put() { printf %s "$2" | payloadctl put "$S" "$1"; }

# kept TEXT: exactly one temporary file was kept, was named, and holds the text.
kept() {
	local files=("$T"/tmp/*)
	((${#files[@]} == 1)) || fail "files: ${files[*]}"
	[[ $stderr == *"${files[0]}"* ]] || fail "not named: $stderr"
	[[ ${files[0]} == *.json ]]
	[[ $(cat "${files[0]}") == "$1" ]] || fail "holds: $(cat "${files[0]}")"
}

none_kept() { [[ -z $(ls -A "$T/tmp") ]] || fail "left: $(ls -A "$T/tmp")"; }

@test "get --pretty changes white space only" {
	local doc='{"a" : 1.50e+01,"b":[ ],"c":{},"d":[1,{"x":"\u00e9 \"q\" , : [ {"},  null],"e":{"k":[[-0]]}}'
	put 1 "$doc"
	payloadctl get --pretty "$S" 1 >out
	cat >want <<-'END'
		{
		  "a": 1.50e+01,
		  "b": [],
		  "c": {},
		  "d": [
		    1,
		    {
		      "x": "\u00e9 \"q\" , : [ {"
		    },
		    null
		  ],
		  "e": {
		    "k": [
		      [
		        -0
		      ]
		    ]
		  }
		}
	END
	diff want out
	[[ $(payloadctl get "$S" 1) == "$doc" ]]
	put 2 '  "x"  '
	put 3 '{"a":'
	put 4 '1 2'
	[[ $(payloadctl get -p "$S" 2) == '"x"' ]]
	run -0 --separate-stderr payloadctl get -p "$S" 3
	[[ $output == '{"a":' && $stderr == "payloadctl: 3: not JSON"*"byte 5" ]]
	run -0 --separate-stderr payloadctl get -p "$S" 4 2
	[[ $output == $'1 2\n"x"' && $stderr == *"something follows"*"byte 2" ]]
	put 5 "$(printf '[%.0s' {1..250}; printf ']%.0s' {1..250})"
	[[ $(payloadctl get -p "$S" 5 | jq -c .) == "$(payloadctl get "$S" 5)" ]]
	fails 1 "no such document" payloadctl get -p "$S" 6
}

@test "documents of all kinds mean the same when they are laid out" {
	documents 300 >in
	payloadctl import -q "$S" in
	# shellcheck disable=SC2046 # numbers
	diff <(payloadctl get --pretty "$S" $(seq 300)) <(payloadctl get "$S" $(seq 300) | jq .)
}

@test "edit replaces the document; the editor's newline does not" {
	local old='{"city":"Berlin", "n":1.0}'
	put 42 "$old"
	# shellcheck disable=SC2016 # for the editor
	editor '[ $# = 1 ]; case $1 in *.json) ;; *) exit 1 ;; esac; stat -c %a "$1" >mode
		sed -i s/Berlin/Bonn/ "$1"; echo >>"$1"'
	payloadctl edit "$S" 42
	[[ $(cat mode) == 600 ]]
	payloadctl get "$S" 42 >out
	printf %s '{"city":"Bonn", "n":1.0}' | cmp - out
	none_kept
	# With options in the variable; VISUAL goes before EDITOR, an empty one does not count.
	VISUAL="sed -i -e s/Bonn/Ulm/" EDITOR=false payloadctl edit "$S" 42
	VISUAL='' EDITOR="sed -i -e s/Ulm/Jena/" payloadctl edit "$S" 42
	[[ $(payloadctl get "$S" 42) == *Jena* ]]
	fails 1 "no such document" payloadctl edit "$S" 7
}

@test "edit --pretty: indented in the editor, in one line in the store, untouched when nothing was changed" {
	put 1 '{"a" : 1.0,  "b":[true]}'
	# shellcheck disable=SC2016
	editor 'cp "$1" seen'
	fails 0 "1: not changed" payloadctl edit --pretty "$S" 1
	[[ $(sed -n 2p seen) == '  "a": 1.0,' ]]
	[[ $(payloadctl get "$S" 1) == '{"a" : 1.0,  "b":[true]}' ]]
	none_kept
	# shellcheck disable=SC2016
	editor 'sed -i "s/1.0/2.50/" "$1"'
	payloadctl edit -p "$S" 1
	payloadctl get "$S" 1 >out
	printf %s '{"a":2.50,"b":[true]}' | cmp - out
}

@test "edit: what is not JSON is not stored but kept; --raw stores it" {
	put 1 '{"a":1}'
	# shellcheck disable=SC2016
	editor 'printf "{\n\"a\":,\n}" >"$1"'
	run -1 --separate-stderr payloadctl edit "$S" 1 </dev/null
	[[ $stderr == *"line 2, column 5"* ]]
	kept $'{\n"a":,\n}'
	[[ $(payloadctl get "$S" 1) == '{"a":1}' ]]
	rm "$T"/tmp/*
	# shellcheck disable=SC2016
	editor ': >"$1"'
	run -1 --separate-stderr payloadctl edit "$S" 1 </dev/null
	kept ''
	rm "$T"/tmp/*
	# shellcheck disable=SC2016
	editor 'printf "no json" >"$1"'
	payloadctl edit --raw "$S" 1
	[[ $(payloadctl get "$S" 1) == 'no json' ]]
	none_kept
}

# on_terminal ANSWERS COMMAND...: runs it on a terminal, types the answers at its questions.
on_terminal() {
	python3 - "$@" <<-'END'
		import os, pty, sys
		answers, pid_fd = list(sys.argv[1]), pty.fork()
		if pid_fd[0] == 0:
		    os.execvp(sys.argv[2], sys.argv[2:])
		pid, fd = pid_fd
		seen = asked = b""
		while True:
		    try:
		        piece = os.read(fd, 4096)
		    except OSError:
		        break
		    if not piece:
		        break
		    seen += piece
		    asked += piece
		    if b"[Y/n] " in asked:
		        asked = b""
		        os.write(fd, answers.pop(0).encode() + b"\n")
		sys.stdout.buffer.write(seen)
		sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
	END
}

@test "edit on a terminal asks whether to go on with what is not JSON" {
	put 1 '{"a":1}'
	# The first time wrong, the second time right, from what was left.
	# shellcheck disable=SC2016
	editor 'if [ -e once ]; then sed -i s/:,/:9/ "$1"; else touch once; printf "{\"a\":,}" >"$1"; fi'
	run -0 timeout 60 bash -c "$(declare -f on_terminal); on_terminal y payloadctl edit '$S' 1"
	[[ $output == *"not JSON"*"Edit again?"* ]]
	[[ $(payloadctl get "$S" 1) == '{"a":9}' ]]
	none_kept
	rm once
	stderr=$(on_terminal n payloadctl edit "$S" 1) && fail "no error"
	kept '{"a":,}'
	[[ $(payloadctl get "$S" 1) == '{"a":9}' ]]
}

@test "edit: a document that others have changed or removed meanwhile is left, and what was edited kept" {
	put 1 '{"a":1}'
	# The store is free while the editor runs.
	# shellcheck disable=SC2016
	editor "printf '{\"a\":2}' | payloadctl put --wait=0 '$S' 1; printf '{\"a\":3}' >\"\$1\""
	run -1 --separate-stderr payloadctl edit "$S" 1
	[[ $stderr == *"changed meanwhile"* ]]
	kept '{"a":3}'
	[[ $(payloadctl get "$S" 1) == '{"a":2}' ]]
	rm "$T"/tmp/*
	editor "payloadctl rm '$S' 1; printf '{\"a\":4}' >\"\$1\""
	run -1 --separate-stderr payloadctl edit "$S" 1
	[[ $stderr == *"removed meanwhile"* ]]
	kept '{"a":4}'
	fails 1 "no such document" payloadctl get "$S" 1
}

@test "edit: an editor that fails, or a store that is in use, loses nothing" {
	put 1 '{"a":1}'
	# shellcheck disable=SC2016
	editor 'printf "{}" >"$1"; exit 3'
	run -1 --separate-stderr payloadctl edit "$S" 1
	[[ $stderr == *"did not end well"* ]]
	kept '{}'
	rm "$T"/tmp/*
	VISUAL="$T/none --wait" run -1 --separate-stderr payloadctl edit "$S" 1
	[[ $stderr == *"the editor ($T/none --wait) was not found: set EDITOR"* ]] || fail "$stderr"
	none_kept
	editor 'kill -TERM $$'
	run -1 --separate-stderr payloadctl edit "$S" 1
	none_kept
	editor "printf '{}' >\"\$1\"; touch ready; until [ -e go ]; do sleep 0.02; done"
	payloadctl edit -q --wait=0 "$S" 1 2>errors 3>&- &
	wait_for 30 test -e ready
	hold
	touch go
	local status=0
	wait %1 || status=$?
	release
	stderr=$(cat errors)
	[[ $status == 4 ]]
	kept '{}'
	[[ $(payloadctl get "$S" 1) == '{"a":1}' ]]
}

@test "scratch list shows size, time and name of what is no point" {
	put 42 1
	put .42.swp 12345
	put $'odd\nname' 1
	[[ $(payloadctl scratch list "$S" | sort) == "           1  $(date +%Y)-"*"  odd?name"$'\n'"           5  "*"  .42.swp" ]]
	[[ $(payloadctl scratch list --json "$S" | jq -c 'map([.name,.size]) | sort') == '[[".42.swp",5],["odd\nname",1]]' ]]
	payloadctl scratch list --json "$S" | jq -e 'all(.[]; .mtime_ns / 1e9 - now | fabs < 600)'
	payloadctl rm --scratch "$S"
	[[ -z $(payloadctl scratch list "$S") && $(payloadctl scratch list --json "$S") == '[]' ]]
}

@test "scratch clean removes what it is told to, and no point" {
	local name
	put 42 1
	for name in a b c d; do
		put $name x
	done
	fails 2 "wants NAMEs" payloadctl scratch clean "$S"
	fails 2 "--all excludes" payloadctl scratch clean --all "$S" a
	fails 2 "42 is a point" payloadctl scratch clean "$S" a 42
	fails 2 "not an age" payloadctl scratch clean --older-than=1x "$S"
	fails 2 "neither" payloadctl scratch purge "$S"
	fails 2 "list takes" payloadctl scratch list --all "$S"
	[[ $(payloadctl scratch list "$S" | wc -l) == 4 ]]
	[[ $(payloadctl scratch clean "$S" a) == "removed 1 scratch file" ]]
	fails 1 "a: no such document" payloadctl scratch clean -q "$S" a
	[[ $(payloadctl scratch clean --older-than=1d "$S") == "removed 0 scratch files" ]]
	[[ $(payloadctl scratch clean --older-than=1h "$S" b) == "removed 0 scratch files" ]]
	[[ $(payloadctl scratch clean --older-than=0 "$S" b) == "removed 1 scratch file" ]]
	[[ $(payloadctl scratch list --json "$S" | jq -c 'map(.name) | sort') == '["c","d"]' ]]
	[[ $(payloadctl scratch clean --all "$S") == "removed 2 scratch files" ]]
	[[ -z $(payloadctl scratch list "$S") && $(payloadctl get "$S" 42) == 1 ]]
	payloadctl check -q "$S"
}
