# As the system starts it: from fstab, as a service that systemd is told of, with messages to the journal or to syslog.
# shellcheck disable=SC2030,SC2031,SC2154 # bats runs each test in its own shell, and sets output and stderr
load lib

setup() {
	setup_dirs
}

# listen SOCKET OUT: writes each datagram that comes to SOCKET (@NAME: an abstract one) as a line to OUT.
listen() {
	cat >"$T/listen" <<-'END'
		use Socket;
		alarm 100;
		$| = 1;
		(my $name = $ARGV[0]) =~ s/^@/\0/;
		socket my $s, PF_UNIX, SOCK_DGRAM, 0 or die;
		bind $s, pack("S a*", AF_UNIX, $name . ($name =~ /^\0/ ? "" : "\0")) or die;
		print "listening\n";
		while (defined recv $s, my $message, 65536, 0) {
			$message =~ s/[\n\0]/|/g;
			print "$message\n";
		}
	END
	perl "$T/listen" "$1" >"$2" 3>&- &
	listener=$!
	wait_for 30 grep -q listening "$2"
}

install_files() { # DESTDIR PREFIX
	make -s -C "$root" install-files INSTALL_VARIANT="${build##*/}" DESTDIR="$1" PREFIX="$2" >&2
}

@test "the service's unit: READY, STATUS, STOPPING; its ExecStop ends it with everything on disk" {
	local unit start stop name
	install_files "" "$T/usr"
	unit=$T/usr/lib/systemd/system/payloadfs@.service
	printf 'STORE=%s\nMOUNTPOINT=%s\nOPTIONS=commit=5\n' "$S" "$M" >"$T/x.conf"
	grep -qx 'Type=notify' "$unit"
	grep -qx 'EnvironmentFile=/etc/payloadfs/%i.conf' "$unit"
	start=$(sed -n 's/^ExecStart=//p' "$unit")
	stop=$(sed -n 's/^ExecStop=//p' "$unit")
	for name in "$T/notify" "@payloadfs-test-$$-$BASHPID"; do
		listen "$name" "$T/told"
		bash -c "set -a; . '$T/x.conf'; export NOTIFY_SOCKET=$name; exec $start" >>"$LOG" 2>&1 3>&- &
		wait_for 60 grep -q READY=1 "$T/told"
		[[ $(tail -n 1 "$T/told") == "READY=1|MAINPID=$!|STATUS=$S is mounted at $M" ]] || fail "$(cat "$T/told")"
		stat "$M" >/dev/null
		echo "{\"$name\":1}" >"$M/42"
		(set -a && . "$T/x.conf" && eval "$stop")
		wait "$!"
		grep -q "^STOPPING=1|STATUS=" "$T/told"
		[[ $(payloadctl get "$S" 42) == "{\"$name\":1}" ]]
		kill "$listener"
	done
}

@test "mount -T: a line of fstab, with what was installed" {
	install_files "$T/root" /usr/local
	printf '%s %s fuse.payloadfs noauto,nofail,allow_other,commit=7,x-systemd.automount 0 0\n' "$S" "$M" >"$T/fstab"
	cat >"$T/script" <<-END
		mount --bind "$T/root/usr/local" /usr/local
		mount -T "$T/fstab" "$M"
		findmnt -n -o FSTYPE,SOURCE "$M"
		findmnt -n -o OPTIONS "$M" | grep -c allow_other
		echo x >"$M/1"
		readlink /proc/\$(payloadctl stat --json "$M" | jq .pid)/exe
		umount "$M"
		payloadctl get --wait=30 "$S" 1
	END
	run -0 private "$T/script"
	[[ ${lines[0]} == "fuse.payloadfs $S" && ${lines[1]} == 1 ]] || fail "$output"
	[[ ${lines[2]} == /usr/local/bin/payloadfs && ${lines[3]} == x ]] || fail "$output"
}

@test "in the foreground, the journal gets priorities; others, the program's name" {
	local stream
	: >"$T/journal"
	stream=$(stat -c %d:%i "$T/journal")
	run -3 env JOURNAL_STREAM="$stream" bash -c "payloadfs -f -o ro '$T/none' '$M' 2>'$T/journal'"
	[[ $(cat "$T/journal") == "<3>"*"$T/none"* ]] || fail "$(cat "$T/journal")"
	[[ $(wc -l <"$T/journal") == 1 ]]
	run -3 env JOURNAL_STREAM="$stream" bash -c "payloadfs -f -o ro '$T/none' '$M' 2>'$T/other'"
	[[ $(cat "$T/other") == "payloadfs: "*"$T/none"* ]]
	run -8 env JOURNAL_STREAM="$stream" bash -c "payloadfs -f '$S' '$T/nowhere' 2>'$T/journal'"
	[[ $(cat "$T/journal") == "<3>"*"$T/nowhere"* ]]
}

@test "in the background, messages go to syslog" {
	listen "$T/log" "$T/logged"
	cat >"$T/script" <<-END
		mkdir "$T/dev"
		mount -t tmpfs none "$T/dev"
		for device in fuse null zero urandom random; do
			touch "$T/dev/\$device"
			mount --bind "/dev/\$device" "$T/dev/\$device"
		done
		mount --move "$T/dev" /dev || mount --rbind "$T/dev" /dev
		ln -s "$T/log" /dev/log
		payloadfs "$S" "$M"
		echo '{"a":1}' >"$M/1"
		payloadctl umount "$M"
		payloadfs "$S" "$M"
		payloadctl umount "$M"
	END
	run -0 private "$T/script"
	[[ $(grep -c "^<30>.* payloadfs\[[0-9]*\]: $S is mounted at $M" "$T/logged") == 2 ]] || fail "$(cat "$T/logged")"
	[[ $(grep -c "^<30>.* payloadfs\[[0-9]*\]: $S is closed" "$T/logged") == 2 ]]
	[[ -z $output ]]
	kill "$listener"
}

@test "edit on a mount: visible at once, mode and owner stay" {
	mount_fs
	echo '{"city":"Berlin"}' >"$M/42"
	chmod 640 "$M/42"
	chown 12:34 "$M/42"
	EDITOR="sed -i s/Berlin/Bonn/" payloadctl edit "$M" 42
	[[ $(cat "$M/42") == '{"city":"Bonn"}' ]]
	[[ $(stat -c '%a %u %g' "$M/42") == "640 12 34" ]]
	echo tmp >"$M/.42.swp"
	[[ $(payloadctl scratch list "$M") == *.42.swp ]]
	payloadctl scratch clean --all "$M"
	[[ $(ls -A "$M") == 42 ]]
}
