# Completion of payloadctl and payloadfs for bash. Commands and options are read from what --help prints, so
# that they are always those of the program that is installed. Ids are not completed: there may be millions.
# shellcheck shell=bash

# Prints the options that a help text on standard input names, those with a value with their `=`.
_payloadfs_options() {
	sed -nE 's/^ {2,6}(-[A-Za-z]), +(--[a-z-]+=?).*/\1\n\2/p; s/^ {2,6}(--[a-z-]+=?).*/\1/p; s/^  (-[A-Za-z])  .*/\1/p'
}

# Prints the mount options that the help of payloadfs on standard input names.
_payloadfs_mount_options() {
	sed -nE '
		s/^ {4,6}(-o )?([a-z_]+=?[^ ]*)  *[^ ].*/\2/
		t split
		b
		:split
		s/^dict=.*/dict=auto\ndict=off/
		s/^json=.*/json=check\njson=off/
		s/^uid=N.*/uid=\ngid=\numask=/
		s/=[A-Z]+$/=/
		p'
}

# Offers the words in $1 that begin with $2; behind a value's `=` no space is set.
_payloadfs_offer() {
	local word
	COMPREPLY=()
	while IFS= read -r word; do
		[[ -n $word && $word == "$2"* ]] && COMPREPLY+=("$word")
	done <<<"$1"
	((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
}

_payloadfs_paths() { # -d: directories only, -f: all
	local path
	COMPREPLY=()
	while IFS= read -r path; do
		COMPREPLY+=("$path")
	done < <(compgen "$1" -- "$2")
	compopt -o filenames 2>/dev/null
}

# The words of the line up to the cursor without splitting at `=`: sets words and current.
_payloadfs_words() {
	local line=${COMP_LINE:0:COMP_POINT}
	read -ra words <<<"$line"
	current=
	[[ $line == *[[:space:]] ]] || current=${words[-1]}
	[[ -z $current ]] || unset 'words[-1]'
}

# Readline replaces only what stands behind the last `=` or `:`, where COMP_WORDBREAKS has them.
_payloadfs_trim() {
	local i front=
	[[ $COMP_WORDBREAKS == *=* && $current == *=* ]] && front=${current%=*}=
	for i in "${!COMPREPLY[@]}"; do
		COMPREPLY[i]=${COMPREPLY[i]#"$front"}
	done
}

_payloadctl() {
	local words current word command='' arguments=0 verb=''
	_payloadfs_words
	for word in "${words[@]:1}"; do
		if [[ -z $command ]]; then
			[[ $word == -* ]] || command=$word
		elif [[ $word != -?* ]]; then
			((++arguments))
			((arguments == 1)) && verb=$word
		fi
	done
	if [[ -z $command ]]; then
		if [[ $current == -* ]]; then
			_payloadfs_offer $'--help\n--version\n-h\n-V' "$current"
		else
			_payloadfs_offer "$("${words[0]}" --help 2>/dev/null | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')" "$current"
		fi
		return
	fi
	if [[ $current == --output=* ]]; then
		_payloadfs_paths -f "${current#--output=}"
		return
	fi
	if [[ $current == -* ]]; then
		_payloadfs_offer "$("${words[0]}" "$command" --help 2>/dev/null | _payloadfs_options)" "$current"
		_payloadfs_trim
		return
	fi
	case $command:${words[-1]} in
	export:-o | export:--output | map:-o | map:--output)
		_payloadfs_paths -f "$current"
		return
		;;
	esac
	case $command:$arguments in
	scratch:0) # words of the usage line stand before the target: `list|clean TARGET`
		verb=$("${words[0]}" "$command" --help 2>/dev/null | sed -nE '1s/.* ([a-z]+(\|[a-z]+)+) .*/\1/p')
		if [[ -n $verb ]]; then
			_payloadfs_offer "${verb//|/$'\n'}" "$current"
		else
			_payloadfs_paths -d "$current"
		fi
		;;
	*:0 | scratch:1 | snapshot:1 | publish:1) _payloadfs_paths -d "$current" ;;
	import:* | put:2) _payloadfs_paths -f "$current" ;;
	*) COMPREPLY=() ;;
	esac
}

_payloadfs() {
	local words current list front='' value
	_payloadfs_words
	if [[ ${words[-1]} == -o || $current == -o?* ]]; then
		value=$current
		[[ $current == -o?* ]] && { front=-o; value=${current#-o}; }
		[[ $value == *,* ]] && { front=$front${value%,*},; value=${value##*,}; }
		list=$("${words[0]}" --help 2>/dev/null | _payloadfs_mount_options | sed "s|^|$front|")
		_payloadfs_offer "$list" "$current"
		compopt -o nospace 2>/dev/null
		_payloadfs_trim
	elif [[ $current == -* ]]; then
		_payloadfs_offer "$("${words[0]}" --help 2>/dev/null | _payloadfs_options)" "$current"
	else
		_payloadfs_paths -d "$current"
	fi
}

complete -F _payloadctl payloadctl
complete -F _payloadfs payloadfs
