#!/usr/bin/env bats
# The Debian packages, as `make check-deb` has built them: lintian finds no fault, they hold what `make install` puts
# there, and on a clean system, made by debootstrap, apt installs them with nothing but what they depend on, they work,
# and they go without a trace but the data.
#
#	DEB_DIR   where the packages are (default build/deb)
#	DEB_ROOT  the clean system as a tar archive (default build/deb-root.tar, made when it is missing)
#
# Needs root, for chroot and mounts. These are in a namespace of their own and end with it.
# shellcheck disable=SC2030,SC2031,SC2154 # bats runs each test in its own shell, and sets output and stderr
load ../tool/lib

debs=$(realpath -m "${DEB_DIR:-$root/build/deb}")
base=$(realpath -m "${DEB_ROOT:-$root/build/deb-root.tar}")

setup_file() {
	local suite
	((EUID == 0)) || fail "needs root"
	export clean=$BATS_FILE_TMPDIR/root
	mkdir "$clean"
	if [[ -e $base ]]; then
		tar -C "$clean" --numeric-owner -xf "$base"
	else
		suite=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
		debootstrap --variant=minbase "$suite" "$clean" >"$BATS_FILE_TMPDIR/log" 2>&1 ||
			fail "$(tail "$BATS_FILE_TMPDIR/log")"
		tar -C "$clean" --numeric-owner -cf "$base.new" .
		mv "$base.new" "$base"
	fi
	cp /etc/resolv.conf "$clean/etc/"
	mkdir "$clean/debs"
	cp "$debs"/*.deb "$clean/debs/"
	inside 'find / -xdev \( -path /proc -o -path /dev -o -path /sys -o -path /tmp \) -prune -o -print | sort' \
		>"$BATS_FILE_TMPDIR/before"
	inside 'apt-get -q update && apt-get -q -y install --no-install-recommends /debs/payloadfs_*.deb /debs/libpayload-dev_*.deb' \
		>"$BATS_FILE_TMPDIR/log" 2>&1 || fail "$(tail -n 20 "$BATS_FILE_TMPDIR/log")"
}

# inside SCRIPT: runs it in the clean system. Processes and mounts that it leaves end with it.
inside() {
	# shellcheck disable=SC2016 # for the shell in the namespace
	timeout 600 unshare --mount --pid --fork --kill-child --propagation private bash -ec '
		mount -t proc proc "$1/proc"
		mount --rbind /dev "$1/dev"
		exec chroot "$1" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
			DEBIAN_FRONTEND=noninteractive bash -euo pipefail -c "$2"' - "$clean" "$1" 3>&- 4>&-
}

multiarch() { dpkg-architecture -q DEB_HOST_MULTIARCH; }
version() { sed -n 's/^#define PFS_VERSION "\(.*\)"/\1/p' "$root/storage/version.h"; }

@test "lintian has nothing to say" {
	# Whose address it is, is the matter of who builds them.
	run -0 --separate-stderr lintian --allow-root --display-info --fail-on error,warning,info \
		--suppress-tags bogus-mail-host,root-in-contact "$debs"/*.changes
	[[ -z $output ]] || fail "$output"
}

@test "the version is that of storage/version.h, everywhere" {
	local package
	[[ -n $(version) ]]
	for package in payloadfs libpayload-dev; do
		[[ $(dpkg-deb -f "$debs/${package}"_*.deb Version) == "$(version)" ]]
	done
	[[ $(inside 'payloadctl -V' | head -n 1) == "payloadctl $(version)" ]]
	[[ $(inside 'payloadfs -V' | head -n 1) == "payloadfs $(version)" ]]
	[[ $(sed -n 's/^Version: //p' "$clean/usr/lib/$(multiarch)/pkgconfig/payload.pc") == "$(version)" ]]
}

@test "the maintainer is who has built them" {
	local package maintainer
	maintainer=$("$root/tools/dist/make-deb" --maintainer)
	for package in payloadfs libpayload-dev; do
		[[ $(dpkg-deb -f "$debs/${package}"_*.deb Maintainer) == "$maintainer" ]]
	done
}

# Sorted names, without what packaging adds: compression, changelog, copyright.
packaged() {
	for file in "$debs"/payloadfs_*.deb "$debs"/libpayload-dev_*.deb; do
		dpkg-deb --fsys-tarfile "$file" | tar -t | grep -v '/$'
	done | sed -E 's/^\.//; s/\.gz$//' | grep -vE '/(changelog|copyright)$' | sort
}

@test "the packages hold each file of make install, once, and no other" {
	make -s -C "$root" install-files INSTALL_VARIANT="${build##*/}" DESTDIR="$T/root" PREFIX=/usr \
		LIBDIR="/usr/lib/$(multiarch)" UNITDIR=/lib/systemd/system \
		ZSHCOMPDIR=/usr/share/zsh/vendor-completions >&2
	diff <(cd "$T/root" && find . -type f | sed 's/^\.//' | sort) <(packaged)
	# shellcheck disable=SC2016
	inside 'for page in payloadfs.1 payloadctl.1 payloadfs.5; do
			zcat /usr/share/man/man${page##*.}/$page.gz | grep -q "^\.TH .*payloadfs '"$(version)"'"
		done'
}

@test "installed: create, import, mount, change, unmount, check" {
	documents 300 >"$clean/tmp/points.ndjson"
	run -0 inside '
		! ldd /usr/bin/payloadfs /usr/bin/payloadctl | grep "not found"
		payloadctl create /srv/p
		payloadctl import -q /srv/p /tmp/points.ndjson
		mkdir /mnt/p
		payloadfs /srv/p /mnt/p
		ls /mnt/p | wc -l
		sed -i "s/\"n\":42/\"n\":4242/" /mnt/p/42
		printf "{\"city\":\"Bonn\"}" >/mnt/p/1000
		payloadctl umount /mnt/p
		payloadctl check -q /srv/p
		payloadctl get /srv/p 42 | cut -c -9
		payloadctl export -q --sort /srv/p | tail -n 1'
	[[ $output == $'300\n{"n":4242\n{"id":1000,"payload":{"city":"Bonn"}}' ]] || fail "$output"
}

@test "installed: a line of fstab, and the lines of the service" {
	run -0 inside '
		mkdir -p /mnt/fstab
		echo "/srv/fstab /mnt/fstab fuse.payloadfs defaults,allow_other 0 0" >/etc/fstab
		mount /mnt/fstab
		echo x >/mnt/fstab/1
		umount /mnt/fstab
		payloadctl get --wait=30 /srv/fstab 1
		: >/etc/fstab

		mkdir -p /mnt/service
		sed "s,/srv/payloads,/srv/service,; s,/mnt/p,/mnt/service," /usr/share/doc/payloadfs/example.conf >/etc/payloadfs/x.conf
		set -a
		. /etc/payloadfs/x.conf
		line() { sed -n "s/^$1=//p" /lib/systemd/system/payloadfs@.service; }
		eval "$(line ExecStart)" &
		until mountpoint -q /mnt/service; do kill -0 $!; sleep 0.05; done
		echo y >/mnt/service/2
		eval "$(line ExecStop)"
		wait $!
		payloadctl get /srv/service 2
		rm /etc/payloadfs/x.conf'
	[[ $output == $'x\ny' ]] || fail "$output"
}

@test "systemd finds no fault with the unit" {
	command -v systemd-analyze >/dev/null || fail "no systemd-analyze"
	sed 's,=/usr/bin/payload[a-z]*,=/bin/true,' "$clean/lib/systemd/system/payloadfs@.service" >"$T/payloadfs@x.service"
	run -0 systemd-analyze verify --man=no "$T/payloadfs@x.service"
	[[ -z $output ]] || fail "$output"
}

@test "a C program is built with libpayload-dev, and runs on the clean system" {
	cat >"$T/use.c" <<-'END'
		#include <stdio.h>
		#include <stdlib.h>

		#include <storage/store.h>

		int main(int argc, char **argv)
		{
			const struct pfs_open_options open = {.read_only = true};
			struct pfs_key key = pfs_key_num(42);
			struct pfs_reason reason = {""};
			struct pfs_store *store;
			void *data;
			size_t len;

			if (argc != 2 || pfs_store_open(&store, argv[1], &open, &reason))
				return puts(reason.text), 1;
			if (pfs_get(store, &key, &data, &len, NULL))
				return 2;
			printf("%.*s\n", (int)len, (char *)data);
			free(data);
			return pfs_store_close(store) ? 3 : 0;
		}
	END
	export PKG_CONFIG_SYSROOT_DIR=$clean PKG_CONFIG_LIBDIR=$clean/usr/lib/$(multiarch)/pkgconfig:$clean/usr/share/pkgconfig
	# shellcheck disable=SC2046 # words
	"${CC:-cc}" -std=c11 -Wall -Wextra -Werror -o "$clean/tmp/use" "$T/use.c" $(pkg-config --cflags --libs payload) \
		"-L$clean/usr/lib/$(multiarch)" "-Wl,-rpath-link,$clean/usr/lib/$(multiarch)"
	run -0 inside '
		echo "{\"id\":42,\"payload\":{\"a\":1}}" | payloadctl import -q /srv/c
		/tmp/use /srv/c'
	[[ $output == '{"a":1}' ]] || fail "$output"
}

@test "purged, they leave the data and nothing else" {
	run -0 inside '
		echo "{\"id\":7,\"payload\":{}}" | payloadctl import -q /srv/stays
		dpkg --purge payloadfs libpayload-dev >&2
		apt-get -q -y autoremove --purge >&2
		find / -xdev \( -path /proc -o -path /dev -o -path /sys -o -path /tmp \) -prune -o -print | sort >/tmp/after
		! command -v payloadctl'
	# What apt and dpkg write about themselves, and the tests above below /srv and /mnt.
	comm -13 "$BATS_FILE_TMPDIR/before" "$clean/tmp/after" |
		grep -vE '^/(srv|mnt|run|var/(lib/(dpkg|apt)|cache|log)|etc/[^/]*-$|usr/share/(doc|man|lintian|bug)(/|$))' >"$T/left" || true
	[[ ! -s $T/left ]] || fail "$(cat "$T/left")"
	run ! grep -i payload <(comm -13 "$BATS_FILE_TMPDIR/before" "$clean/tmp/after" | grep -v '^/srv')
	[[ -e $clean/srv/stays/superblock || -n $(ls -A "$clean/srv/stays") ]]
}
