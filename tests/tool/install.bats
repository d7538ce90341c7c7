#!/usr/bin/env bats
# What is installed: programs, library, manual pages, completion. The manual pages and the completion name exactly the
# commands and options that --help names.
# shellcheck disable=SC2030,SC2031,SC2154 # bats runs each test in its own shell, and sets output and stderr
load lib

man_pages=(payloadfs.1 payloadctl.1 payloadfs.5)

# install_into PREFIX: what was built, below $T/root.
install_into() {
	make -s -C "$root" install-files INSTALL_VARIANT="${build##*/}" DESTDIR="$T/root" PREFIX="$1" >&2
}

commands() { payloadctl --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'; }

# Prints the options in a help text on standard input: -x and --xyz, sorted.
help_options() {
	sed -nE 's/^ {2,6}(-[A-Za-z]), +(--[a-z-]+).*/\1\n\2/p; s/^ {2,6}(--[a-z-]+).*/\1/p; s/^  (-[A-Za-z])  .*/\1/p
		s/^  (-o) OPT.*/\1/p' | sort -u
}

# man_section PAGE HEADING: the source of a section of a manual page, without fonts.
man_section() {
	awk -v wanted="$2" '
		/^\.S[HS] / { heading = $0; sub(/^\.S[HS] /, "", heading); on = heading == wanted; next }
		on { print }' "$root/tools/dist/man/$1" | sed -e 's/\\f.//g' -e 's/\\-/-/g'
}

# The tags (.TP, .TQ) in it.
man_tags() { man_section "$@" | awk '/^\.T[PQ]/ { getline; print }' | sed -E 's/^\.[A-Z]+ //; s/"//g'; }

# The options in these tags.
man_options() { man_tags "$@" | grep -oE '(^|[ ,|])--?[A-Za-z][a-z-]*' | tr -d ' ,|' | sort -u; }

same_words() { # WHAT A B
	[[ $2 == "$3" ]] || fail "$1: < --help, > here:
$(diff <(printf '%s\n' "$2") <(printf '%s\n' "$3"))"
	[[ -n $2 ]] || fail "$1: nothing found"
}

@test "the manual of payloadctl names each command and each option of it, and no other" {
	local command common own
	same_words commands "$(commands)" "$(sed -n '/^\.SH COMMANDS/,/^\.SH EXIT/s/^\.SS //p' \
		"$root/tools/dist/man/payloadctl.1")"
	common=$(man_options payloadctl.1 "Options of every command")
	same_words common $'--help\n--quiet\n--wait\n-h\n-q' "$common"
	for command in $(commands); do
		own=$(payloadctl "$command" --help | help_options | grep -vxF -e "$common" || true)
		same_words "$command" "none
$own" "none
$(man_options payloadctl.1 "$command")"
	done
}

mount_options() {
	payloadfs --help | sed -nE 's/^ {4,6}(-o )?([a-z_]+=?[^ ]*)  *[^ ].*/\2/p' | tr ',' '\n' | sed 's/=.*//' | sort
}

@test "the manual of payloadfs names each option and each mount option, and no other" {
	same_words options "$(payloadfs --help | help_options)" "$(man_options payloadfs.1 OPTIONS)"
	same_words 'mount options' "$(mount_options)" "$(man_tags payloadfs.1 'Mount options' | sed 's/=.*//' | sort)"
}

@test "the manuals name each exit code and each environment variable" {
	local variable page
	same_words payloadctl "$(payloadctl --help | sed -nE 's/^ {1,2}([0-9]+)  .*/\1/p')" \
		"$(man_tags payloadctl.1 'EXIT STATUS')"
	same_words payloadfs "$(payloadfs --help | sed -nE 's/^ {1,2}([0-9]+)  .*/\1/p' | grep -vxE '1|10|11')" \
		"$(man_tags payloadfs.1 'EXIT STATUS')"
	for page in fs:payloadfs.1 tools:payloadctl.1; do
		for variable in $(grep -oh 'getenv("[A-Z_]*")' "$root/${page%:*}"/*.c | tr -d '"()' | sed 's/getenv//'); do
			[[ $(man_tags "${page#*:}" ENVIRONMENT) == *"$variable"* ]] || fail "${page#*:}: no $variable"
		done
	done
}

@test "the manual pages have no fault, and say version and date" {
	local page output
	install_into /usr
	for page in "${man_pages[@]}"; do
		page=$T/root/usr/share/man/man${page##*.}/$page
		# Style is about the length of lines in the source.
		output=$(mandoc -T lint -W warning "$page") || fail "$output"
		output=$(groff -man -ww -Tutf8 "$page" 2>&1 >/dev/null)
		[[ -z $output ]] || fail "$output"
		grep -q "^\.TH .* \"20..-..-..\" \"payloadfs $(payloadctl -V | sed -n '1s/.* //p')\"" "$page"
	done
}

# completed LINE: what bash offers at the end of the line.
completed() {
	bash -c '
		set -u
		source "$1"
		COMP_LINE=$2 COMP_POINT=${#2} COMP_WORDBREAKS=${3-$COMP_WORDBREAKS}
		program=${2%% *}
		[[ $(complete -p "$program") =~ -F\ ([^ ]+) ]] || exit
		COMPREPLY=()
		"${BASH_REMATCH[1]}" "$program"
		printf "%s\n" "${COMPREPLY[@]+"${COMPREPLY[@]}"}"' - \
		"$root/tools/dist/completion/payloadfs.bash" "$@" 2>"$T/completion-errors"
	[[ ! -s $T/completion-errors ]] || fail "$(cat "$T/completion-errors")"
}

@test "bash: commands, the options of each, mount options" {
	local command offered help
	same_words commands "$(commands)" "$(completed 'payloadctl ')"
	[[ $(completed 'payloadctl exp') == export ]]
	same_words - $'--help\n--version\n-V\n-h' "$(completed 'payloadctl -' | sort)"
	for command in $(commands); do
		help=$(payloadctl "$command" --help)
		offered=$(completed "payloadctl $command -" | sort -u)
		same_words "$command" "$(help_options <<<"$help")" "${offered//=/}"
		# A value is asked for where the help shows one.
		same_words "values of $command" "$(grep -oE '^ {2,6}(-[a-zA-Z], +)?--[a-z-]+=' <<<"$help" | sed 's/.*--/--/' | sort)" \
			"$(grep '=$' <<<"$offered")"
	done
	same_words options "$(payloadfs --help | help_options)" "$( (completed 'payloadfs -'; echo -o) | sort -u)"
	same_words 'mount options' "$(mount_options)" "$(completed 'payloadfs -o ' | sed 's/=.*//' | sort -u)"
	[[ $(completed 'payloadfs -o ro,comm') == ro,commit= ]]
	[[ $(completed 'payloadfs -oro,dict=a') == auto ]]
	[[ $(completed 'payloadfs -oro,dict=a' ' ') == -oro,dict=auto ]]
}

@test "bash: directories for a target, files where files are meant, nothing for ids" {
	mkdir -p "$T/dir one" "$T/dir2"
	touch "$T/file"
	[[ $(completed "payloadctl stat $T/d" | sort) == "$T/dir one"$'\n'"$T/dir2" ]]
	[[ -z $(completed "payloadctl stat $T/f") ]]
	[[ $(completed "payloadctl stat --json $T/dir2") == "$T/dir2" ]]
	[[ -z $(completed "payloadctl get $T/dir2 ") ]]
	[[ -z $(completed "payloadctl put $T/dir2 ") ]]
	[[ $(completed "payloadctl put $T/dir2 42 $T/f") == "$T/file" ]]
	[[ $(completed "payloadctl import $T/dir2 $T/f") == "$T/file" ]]
	[[ $(completed "payloadctl snapshot $T/dir2 $T/d" | sort) == "$T/dir one"$'\n'"$T/dir2" ]]
	[[ -z $(completed "payloadctl snapshot $T/dir2 $T/f") ]]
	[[ -z $(completed "payloadctl snapshot $T/dir2 $T/new ") ]]
	[[ $(completed "payloadctl export -o $T/f") == "$T/file" ]]
	[[ $(completed "payloadctl export --output=$T/f") == "$T/file" ]]
	[[ $(completed "payloadctl map -o $T/f") == "$T/file" ]]
	[[ $(completed "payloadfs $T/dir2") == "$T/dir2" ]]
}

# zsh_offers LINE: what zsh shows for a tab at the end of the line.
zsh_offers() {
	cat >"$T/zpty" <<-'END'
		zmodload zsh/zpty
		zpty z zsh -f -i
		zpty -w z "PS1= RPS1= ; unset zle_bracketed_paste; fpath=($2 \$fpath); autoload -Uz compinit"
		zpty -w z "compinit -u -d $3/dump; LISTMAX=0; stty cols 200 rows 200; print -r rea''dy"
		zpty -m -r z out '*ready*'
		zpty -n -w z "$1"$'\t'
		line=
		for i in {1..300}; do
			if zpty -r -t z more; then line+=$more; else sleep 0.1; fi
			[[ $line == *$4* ]] && break
		done
		print -r -- $line
	END
	timeout 120 zsh -f "$T/zpty" "$1" "$root/tools/dist/completion" "$T" "$2"
}

@test "zsh: commands, options with their words, mount options" {
	[[ $(zsh_offers 'payloadctl ' 'umount') == *"quarantine"*"-- "* ]]
	[[ $(zsh_offers 'payloadctl export --' '--wait') == *"--sort"*"ids in ascending order"* ]]
	[[ $(zsh_offers 'payloadctl quara' 'quarantine') == *"payloadctl quarantine"* ]]
	[[ $(zsh_offers 'payloadfs -o ro,comm' 'commit') == *"commit"* ]]
	[[ $(zsh_offers 'payloadfs -o ro,dict=' 'auto') == *"auto"*"off"* ]]
}

@test "uninstall removes all that install has put there, and nothing else" {
	mkdir -p "$T/root/usr/local/bin" "$T/root/usr/local/share/doc/payloadfs"
	touch "$T/root/usr/local/bin/mine" "$T/root/usr/local/share/doc/payloadfs/notes"
	install_into /usr/local
	(($(find "$T/root" -type f | wc -l) == 2 + 19))
	[[ $("$T/root/usr/local/bin/payloadctl" -V) == "payloadctl "* ]]
	[[ $("$T/root/usr/local/bin/payloadfs" -V) == "payloadfs "* ]]
	[[ $(stat -c %a "$T/root/usr/local/bin/payloadfs" "$T/root/usr/local/lib/libpayload.a") == $'755\n644' ]]
	make -s -C "$root" uninstall DESTDIR="$T/root" PREFIX=/usr/local
	[[ $(cd "$T/root/usr/local" && find . -type f | sort) == $'./bin/mine\n./share/doc/payloadfs/notes' ]]
	[[ ! -e $T/root/usr/local/include/payloadfs ]]
	rm "$T/root/usr/local/share/doc/payloadfs/notes"
	make -s -C "$root" uninstall DESTDIR="$T/root" PREFIX=/usr/local
	[[ ! -e $T/root/usr/local/share/doc/payloadfs ]]
}

@test "a C program is built with payload.pc from where it was installed, and opens a store" {
	local flags
	install_into /opt/p
	cat >"$T/use.c" <<-'END'
		#include <stdlib.h>

		#include <storage/store.h>

		int main(int argc, char **argv)
		{
			const struct pfs_create_options create = {0};
			const struct pfs_open_options open = {0};
			struct pfs_key key = pfs_key_num(42);
			struct pfs_reason reason = {""};
			struct pfs_store *store;
			void *data;
			size_t len;

			if (argc != 2 || pfs_store_create(argv[1], &create, &reason) ||
			    pfs_store_open(&store, argv[1], &open, &reason))
				return puts(reason.text), 1;
			if (pfs_put(store, &key, "{}", 2, NULL, 0, NULL) || pfs_get(store, &key, &data, &len, NULL))
				return 1;
			printf("%.*s\n", (int)len, (char *)data);
			free(data);
			return pfs_store_close(store) ? 1 : 0;
		}
	END
	export PKG_CONFIG_PATH=$T/root/opt/p/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$T/root
	flags=$(pkg-config --cflags --libs payload)
	# shellcheck disable=SC2086 # words
	"${CC:-cc}" -std=c11 -Wall -Wextra -Werror -o use use.c $flags
	[[ $(./use "$S") == "{}" ]]
	[[ $(payloadctl get "$S" 42) == "{}" ]]
	[[ $(pkg-config --modversion payload) == "$(payloadctl -V | sed -n '1s/.* //p')" ]]
}

# Whom make-deb names, when nothing but the variables that are given says who builds.
maintainer() { env -i PATH="$PATH" HOME="$T" GIT_CONFIG_NOSYSTEM=1 GIT_DIR="$T/git" "$@" "$root/tools/dist/make-deb" --maintainer; }

@test "Debian packages name who builds them, in the way of debchange" {
	[[ $(maintainer DEBFULLNAME='Jo Doe' DEBEMAIL=jo@example.org NAME=x EMAIL=x@y.z) == 'Jo Doe <jo@example.org>' ]]
	[[ $(maintainer NAME='Jo Doe' EMAIL=jo@example.org) == 'Jo Doe <jo@example.org>' ]]
	[[ $(maintainer DEBEMAIL='Jo Doe <jo@example.org>' NAME=x) == 'Jo Doe <jo@example.org>' ]]
	[[ $(maintainer DEBFULLNAME='J. Doe' DEBEMAIL='Jo Doe <jo@example.org>') == 'J. Doe <jo@example.org>' ]]
	git init -q --bare "$T/git"
	git --git-dir="$T/git" config user.name 'Git Doe'
	git --git-dir="$T/git" config user.email git@example.org
	[[ $(maintainer) == 'Git Doe <git@example.org>' ]]
	[[ $(maintainer DEBEMAIL=jo@example.org) == 'Git Doe <jo@example.org>' ]]
	rm -rf "$T/git"
	[[ $(maintainer) =~ ^[^\<]+' <'"$(id -un)@"[^@\ ]+'>'$ ]]
	fails_deb DEBFULLNAME='Doe, Jo' DEBEMAIL=jo@example.org
	fails_deb DEBFULLNAME='Jo <Doe>' DEBEMAIL=jo@example.org
	fails_deb DEBFULLNAME='Jo' DEBEMAIL=jo
	fails_deb DEBFULLNAME=$'Jo\nSection: x' DEBEMAIL=jo@example.org
	fails_deb DEBFULLNAME='Jo' DEBEMAIL='jo doe@example.org'
}

fails_deb() {
	run -1 --separate-stderr maintainer "$@"
	[[ -z $output && $stderr == "make-deb: "*"set DEBFULLNAME and DEBEMAIL"* ]] || fail "$output$stderr"
}
