# Copying whole collections in and out, with their attributes: cp -a, rsync, tar, cpio's like,
# install, mv.

load lib

# A collection in a plain directory: names of every kind, modes and times of every kind.
collection() {
	local i
	mkdir "$T/in"
	for i in $(seq 60); do
		text $((i * i * 37)) >"$T/in/$i"
	done
	noise 200000 >"$T/in/100"
	: >"$T/in/0"
	echo u >"$T/in/f47ac10b-58cc-4372-a567-0e02b2c3d479"
	echo m >"$T/in/18446744073709551615"
	echo s >"$T/in/a scratch file"
	chmod 600 "$T/in/3"
	chmod 444 "$T/in/4"
	chmod 755 "$T/in/5"
	chown 12:34 "$T/in/6"
	touch -d '2001-02-03 04:05:06.789012345' "$T/in/7"
	touch -d '1969-12-31 23:59:59.5' "$T/in/8"
}

# The bytes and attributes, times included, of $T/in and of $1 are the same.
like_input() {
	diff -r "$T/in" "$1"
	diff <(cd "$T/in" && attributes times) <(cd "$1" && attributes times)
}

@test "cp -a in and out" {
	collection
	cp -a "$T/in/." "$M"
	like_input "$M"
	forget_pages
	remount
	like_input "$M"
	cp -a "$M" "$T/out"
	like_input "$T/out"
	cp -a "$M/7" "$M/70"
	[[ $(stat -c %.9Y "$M/70") == "$(stat -c %.9Y "$T/in/7")" ]]
}

@test "cp -p and cp --preserve=all over documents that are there" {
	collection
	cp -a "$T/in/." "$M"
	cp -p "$T/in/7" "$M/3"
	cp --preserve=all "$T/in/5" "$M/4"
	remount
	cmp "$T/in/7" "$M/3"
	cmp "$T/in/5" "$M/4"
	[[ $(stat -c '%a %.9Y' "$M/3") == "$(stat -c '%a %.9Y' "$T/in/7")" ]]
	[[ $(stat -c '%a %.9Y' "$M/4") == "$(stat -c '%a %.9Y' "$T/in/5")" ]]
}

# rsync's own count of what it had to send.
transferred() { rsync -a --stats "$@" | sed -n 's/^Number of regular files transferred: //p'; }

@test "rsync -a in both directions, twice: the second run transfers nothing" {
	collection
	[[ $(transferred "$T/in/" "$M/") == 65 ]]
	like_input "$M"
	[[ $(transferred "$T/in/" "$M/") == 0 ]]
	remount
	like_input "$M"
	[[ $(transferred "$T/in/" "$M/") == 0 ]]
	mkdir "$T/out"
	[[ $(transferred "$M/" "$T/out/") == 65 ]]
	like_input "$T/out"
	[[ $(transferred "$M/" "$T/out/") == 0 ]]
	[[ $(transferred -c "$M/" "$T/out/") == 0 ]]
}

@test "rsync brings over changes, deletions and partial differences" {
	collection
	rsync -a "$T/in/" "$M/"
	echo changed >"$T/in/9"
	printf more >>"$T/in/100"
	rm "$T/in/10"
	[[ $(transferred --delete --no-whole-file "$T/in/" "$M/") == 2 ]]
	like_input "$M"
	printf tail >>"$T/in/100"
	rsync -a --inplace --no-whole-file "$T/in/" "$M/"
	like_input "$M"
	printf last >>"$T/in/100"
	rsync -a --append "$T/in/" "$M/"
	remount
	like_input "$M"
}

@test "tar c | tar x in and out, and an archive of the mount taken twice is the same" {
	collection
	tar c --format=posix -C "$T/in" . | tar x -p -C "$M"
	like_input "$M"
	archive() { (cd "$M" && find . -type f | sort | tar c -T -); }
	archive >"$T/first.tar"
	remount
	like_input "$M"
	archive >"$T/second.tar"
	cmp "$T/first.tar" "$T/second.tar"
	mkdir "$T/out"
	tar c --format=posix -C "$M" . | tar x -p -C "$T/out"
	like_input "$T/out"
	tar d -f "$T/first.tar" -C "$M"
}

@test "install: new, over an old one, with a mode and owner" {
	text 5000 >"$T/file"
	both <<-'END'
		install ../file 1
		install -m 600 -o 12 -g 34 ../file 2
		install -m 644 ../file 1
		install -b ../file 1
		ls
	END
	same_for_good
	both "install -p -m 640 ../file 3; stat -c '%a %Y' 3"
	same_for_good
}

@test "mv of a whole collection in and out keeps bytes and attributes" {
	collection
	cp -a "$T/in" "$T/moving"
	mv "$T/moving"/* "$M"
	like_input "$M"
	remount
	like_input "$M"
	mkdir "$T/out"
	mv "$M"/* "$T/out"
	like_input "$T/out"
	[[ -z $(ls -A "$M") ]]
}

@test "cp -u copies what is newer and nothing else, to the nanosecond" {
	echo old >"$T/file"
	touch -d '2020-01-01 00:00:00.000000001' "$T/file"
	cp -a "$T/file" "$M/1"
	echo new >"$T/file"
	touch -d '2020-01-01 00:00:00.000000001' "$T/file"
	cp -u "$T/file" "$M/1"
	[[ $(cat "$M/1") == old ]]
	touch -d '2020-01-01 00:00:00.000000002' "$T/file"
	remount
	cp -u "$T/file" "$M/1"
	[[ $(cat "$M/1") == new ]]
}

@test "busybox's tools copy, edit and remove like the others" {
	text 30000 >"$T/file"
	both <<-'END'
		busybox cp ../file 1
		busybox mv 1 2
		busybox sed -i s/1000/2000/ 2
		busybox cat 2 | sha256sum
		busybox rm 2
		busybox ls
	END
	both <<-'END'
		busybox tar c -f - -C .. file | busybox tar x -f -
		busybox dd if=file of=3 bs=1000 count=3 2> /dev/null; busybox ls
	END
	same_for_good
}
