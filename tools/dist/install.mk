# Included by the Makefile: install, uninstall. What is installed stands once, in `installed`, as
# MODE:SOURCE:DESTINATION; uninstall removes the same list. Templates (*.in and man pages) have their @NAMES@
# filled in below build/dist. PREFIX and the directories that follow from it may not hold spaces, DESTDIR may.

PREFIX = /usr/local
BINDIR = $(PREFIX)/bin
LIBDIR = $(PREFIX)/lib
INCLUDEDIR = $(PREFIX)/include
MANDIR = $(PREFIX)/share/man
DOCDIR = $(PREFIX)/share/doc/payloadfs
UNITDIR = $(PREFIX)/lib/systemd/system
BASHCOMPDIR = $(PREFIX)/share/bash-completion/completions
ZSHCOMPDIR = $(PREFIX)/share/zsh/site-functions
DESTDIR =
INSTALL = install
# The variant whose programs are installed.
INSTALL_VARIANT = release

dist_version := $(shell sed -n 's/^\#define PFS_VERSION "\(.*\)"/\1/p' storage/version.h)
# Of the day that SOURCE_DATE_EPOCH or the last change of the man pages says: the same sources make the same files.
dist_date = $(shell date -u +%F -d @$${SOURCE_DATE_EPOCH:-$$(stat -c %Y tools/dist/man/* | sort -n | tail -1)})
dist_templates = $(wildcard tools/dist/*.in tools/dist/man/*)
dist_out = build/dist/$(INSTALL_VARIANT)
public_headers = storage/store.h storage/base.h storage/key.h storage/log.h storage/io.h

installed = 755:build/$(INSTALL_VARIANT)/payloadfs:$(BINDIR)/payloadfs \
	755:build/$(INSTALL_VARIANT)/payloadctl:$(BINDIR)/payloadctl \
	644:build/$(INSTALL_VARIANT)/libpayload.a:$(LIBDIR)/libpayload.a \
	$(foreach h,$(public_headers),644:$(h):$(INCLUDEDIR)/payloadfs/$(h)) \
	644:$(dist_out)/payload.pc:$(LIBDIR)/pkgconfig/payload.pc \
	644:$(dist_out)/payloadfs@.service:$(UNITDIR)/payloadfs@.service \
	644:$(dist_out)/payloadfs.1:$(MANDIR)/man1/payloadfs.1 \
	644:$(dist_out)/payloadctl.1:$(MANDIR)/man1/payloadctl.1 \
	644:$(dist_out)/payloadfs.5:$(MANDIR)/man5/payloadfs.5 \
	644:tools/dist/completion/payloadfs.bash:$(BASHCOMPDIR)/payloadfs \
	644:tools/dist/completion/payloadfs.bash:$(BASHCOMPDIR)/payloadctl \
	644:tools/dist/completion/_payloadfs:$(ZSHCOMPDIR)/_payloadfs \
	644:README.md:$(DOCDIR)/README.md \
	644:storage/FORMAT.md:$(DOCDIR)/FORMAT.md \
	644:tools/dist/example.conf:$(DOCDIR)/example.conf

dist_requires = liblz4 liburcu-bp $(shell pkg-config --exists libzstd && echo libzstd) \
	$(shell pkg-config --exists libcrypto && echo libcrypto) $(shell $(curl) && echo libcurl)

.PHONY: install install-files uninstall dist-files

# Every time: the names depend on variables of the command line.
dist-files: | deps-build
	@mkdir -p $(dist_out)
	@for file in $(dist_templates); do \
		name=$${file##*/}; \
		sed -e 's|@PREFIX@|$(PREFIX)|g; s|@BINDIR@|$(BINDIR)|g; s|@LIBDIR@|$(LIBDIR)|g' \
			-e 's|@INCLUDEDIR@|$(INCLUDEDIR)|g; s|@VERSION@|$(dist_version)|g' \
			-e 's|@DATE@|$(dist_date)|g; s|@REQUIRES@|$(strip $(dist_requires))|g' \
			$$file >$(dist_out)/$${name%.in} || exit; \
	done

install: $($(INSTALL_VARIANT)_programs) ## install below PREFIX (/usr/local), honours DESTDIR
	@$(MAKE) --no-print-directory install-files

# What is built already, as it is.
install-files: dist-files
	@for entry in $(installed); do \
		IFS=: read -r mode from to <<<"$$entry"; \
		$(INSTALL) -D -m $$mode "$$from" '$(DESTDIR)'"$$to" || exit; \
	done

# Directories that are nobody else's go too, once they are empty.
uninstall: ## remove what install has put there
	@for entry in $(installed); do \
		rm -f '$(DESTDIR)'"$${entry##*:}" || exit; \
	done
	@for dir in $(INCLUDEDIR)/payloadfs/storage $(INCLUDEDIR)/payloadfs $(DOCDIR); do \
		rmdir '$(DESTDIR)'"$$dir" 2>/dev/null || [[ ! -d '$(DESTDIR)'"$$dir" || \
			-n $$(ls -A '$(DESTDIR)'"$$dir") ]] || exit; \
	done
