# stress-ng's file stressors: those that need regular files in one directory and no links. They
# verify what they read. stress-ng makes a directory of its own for each: flat_temp.c gives it the
# mount instead.

load lib

# stress NAME OPERATIONS [OPTION...]
stress() {
	local name=$1 count=$2 preload before
	shift 2
	mkdir -p "$T/temp"
	before=$(stat -c %.9Y "$M")
	preload=$(helper flat_temp -shared -fPIC)
	FLAT_TEMP_FROM=$T/temp/ FLAT_TEMP_TO=$M LD_PRELOAD=$preload timeout 100 stress-ng \
		--temp-path "$T/temp" --verify --timeout 60 --"$name" "${workers:-2}" \
		--"$name"-ops "$count" "$@" \
		>"$T/stress" 2>&1 || { cat "$T/stress"; fail "stress-ng --$name"; }
	not grep -iE '(fail|error):' "$T/stress"
	# It made its files in the mount, nowhere else.
	[[ $(stat -c %.9Y "$M") != "$before" && -z $(ls -A "$T/temp") ]]
}

teardown() {
	local status=0
	if [[ -n ${BATS_TEST_COMPLETED:-} ]]; then
		unmount_fs
		payloadctl check "$S" || status=1
	fi
	cleanup_all
	return "$status"
}

@test "stress-ng: hdd, seek, revio, iomix" {
	stress hdd 1000 --hdd-bytes 8m
	stress hdd 200 --hdd-bytes 4m --hdd-opts direct
	stress hdd 100 --hdd-bytes 2m --hdd-opts fsync,wr-rnd,rd-rnd
	stress seek 500 --seek-size 4m
	stress revio 200 --revio-bytes 8m
	stress iomix 300 --iomix-bytes 8m
}

@test "stress-ng: aio, readahead, sendfile" {
	stress aio 300
	stress readahead 100 --readahead-bytes 8m
	stress sendfile 100
}

@test "stress-ng: mmap with a file, msync, sync-file, fallocate" {
	stress mmap 5 --mmap-file --mmap-bytes 4m
	stress msync 100 --msync-bytes 4m
	stress sync-file 5 --sync-file-bytes 2m
	stress fallocate 10 --fallocate-bytes 8m
}

@test "stress-ng: rename, dentry, touch, access" {
	stress rename 1000
	stress dentry 1000 --dentries 200
	stress touch 500
	stress access 100
}

@test "stress-ng: chmod, chown, utime, fcntl, flock, lockf" {
	# One worker: the second waits for the first one's file, which may be gone by then.
	workers=1 stress chmod 100
	workers=1 stress chown 500
	stress utime 500
	stress fcntl 100
	stress flock 300
	stress locka 200
	stress lockofd 200
	stress lockf 200
}
