# payloadfs. `make help` lists the targets, V=1 shows the commands, WERROR=1 turns warnings into errors.
#
# Everything is built below build/<variant>/; a variant is release, debug, asan or tsan. CC, CFLAGS, CPPFLAGS
# and LDFLAGS are the user's and come after the project's own; a change of them rebuilds what it concerns. So do
# ZSTD=0, CRYPTO=0 and CURL=0, which build without libzstd, libcrypto, libcurl where there is one.
# Sources are found by their place, so a new file needs no line here.

SHELL = /bin/bash
.DEFAULT_GOAL = all
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

VARIANTS = release debug asan tsan fuzz cov

V ?= 0
ifeq ($(V),1)
Q =
say = @:
else
Q = @
say = @printf '  %-4s %s\n'
endif

ifneq ($(filter 1 true,$(CI) $(WERROR)),)
werror = -Werror
endif

own_cflags = -std=gnu11 -g -pthread -fno-strict-aliasing -Wall -Wextra -Wshadow -Wstrict-prototypes \
	-Wmissing-prototypes -Wpointer-arith $(werror)
own_cppflags = -I. -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64
own_ldflags = -pthread -Wl,--as-needed

flags_release = -O2
flags_debug = -O1 -DPFS_DEBUG
flags_asan = -O1 -DPFS_DEBUG -fsanitize=address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer
flags_tsan = -O1 -DPFS_DEBUG -fsanitize=thread -fno-omit-frame-pointer
flags_cov = -O0 -DPFS_DEBUG -DPFS_COVERAGE --coverage -fprofile-update=atomic
# libFuzzer comes with clang only, so this variant has a compiler of its own.
FUZZ_CC := $(if $(findstring clang,$(CC)),$(CC),clang)
build/fuzz/%: private override CC = $(FUZZ_CC)
# Short segments are filled by short inputs, and read in an eighth of the time.
flags_fuzz = -O2 -DPFS_DEBUG -DPFS_SEGMENT_SIZE=262144 -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=all -fno-omit-frame-pointer
fuzz_ldflags = -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free # tests/fuzz/large.c
# The loop over bytes has nothing to tell about coverage.
build/fuzz/storage/crc.o: private extra_cflags = -fno-sanitize=fuzzer-no-link,undefined

# Expanded once, and only when a recipe asks: pkg-config may not be there before install-deps has run.
# libzstd trains dictionaries, libcrypto hashes what is published, libcurl speaks with servers; without one, or with
# ZSTD=0, CRYPTO=0 or CURL=0, the rest is built.
crypto = $(if $(filter 0,$(CRYPTO)),false,pkg-config --exists libcrypto)
curl = $(if $(filter 0,$(CURL)),false,pkg-config --exists 'libcurl >= 7.85')
zstd = $(if $(filter 0,$(ZSTD)),false,pkg-config --exists libzstd)
storage_cflags = $(eval storage_cflags := $(shell pkg-config --cflags liblz4 liburcu-bp; \
	$(zstd) && echo -DPFS_HAVE_ZSTD && pkg-config --cflags libzstd; \
	$(crypto) && echo -DPFS_HAVE_CRYPTO && pkg-config --cflags libcrypto; \
	$(curl) && echo -DPFS_HAVE_CURL && pkg-config --cflags libcurl))$(storage_cflags)
storage_libs = $(eval storage_libs := $(shell pkg-config --libs liblz4 liburcu-bp; \
	$(zstd) && pkg-config --libs libzstd; \
	$(crypto) && pkg-config --libs libcrypto; \
	$(curl) && pkg-config --libs libcurl))$(storage_libs)
peer_cflags = $(eval peer_cflags := $(shell pkg-config --cflags rocksdb lmdb sqlite3))$(peer_cflags)
peer_libs = $(eval peer_libs := $(shell pkg-config --libs rocksdb lmdb sqlite3))$(peer_libs)
fuse_cflags = $(eval fuse_cflags := $(shell pkg-config --cflags fuse3))$(fuse_cflags)
fuse_libs = $(eval fuse_libs := $(shell pkg-config --libs fuse3))$(fuse_libs)
cmocka_cflags = $(eval cmocka_cflags := $(shell pkg-config --cflags cmocka))$(cmocka_cflags)
cmocka_libs = $(eval cmocka_libs := $(shell pkg-config --libs cmocka))$(cmocka_libs)

storage_src = $(wildcard storage/*.c)
fs_src = $(wildcard fs/*.c)
tool_src = $(wildcard tools/*.c)
# The peers that the engine is measured beside, and what measures them: engine and space link with all of them,
# engine-own, which tests use, with payloadfs alone. holds.c is part of churn.
peer_src = $(addprefix tools/bench/,peer_rocksdb.c peer_lmdb.c peer_sqlite.c)
engine_src = $(addprefix tools/bench/,documents.c measure.c peers.c peer_payload.c)
bench_src = $(filter-out $(peer_src) $(engine_src) $(addprefix %/,holds.c space.c engine.c phases.c),$(wildcard tools/bench/*.c))
holds_ldflags = -rdynamic -Wl,--wrap=pthread_mutex_lock,--wrap=pthread_mutex_unlock,--wrap=fdatasync,--wrap=fsync
support_src = $(wildcard tests/sim/*.c)
support_ldflags = -Wl,--wrap=pthread_mutex_init,--wrap=pthread_mutex_destroy,--wrap=pthread_mutex_lock \
	-Wl,--wrap=pthread_mutex_unlock,--wrap=pthread_cond_init,--wrap=pthread_cond_destroy \
	-Wl,--wrap=pthread_cond_wait,--wrap=pthread_cond_timedwait # tests/sim/mutex.c
crash_src = $(filter-out %_test.c,$(wildcard tests/crash/*.c))
# What the tests of failing calls share; it takes the place of what gets memory, of system calls and of libraries.
fault_src = $(filter-out %_test.c,$(wildcard tests/fault/*.c))
fault_calls = malloc calloc realloc free strdup asprintf pthread_create \
	open64 openat64 mkostemp64 mkdir renameat unlinkat faccessat fstatat64 fdopendir readdir64 \
	fstat64 fstatvfs64 pread64 pwrite64 fsync fdatasync ftruncate64 fallocate64 flock mmap64 sysconf \
	EVP_MD_CTX_new EVP_DigestInit_ex EVP_DigestUpdate EVP_DigestFinal_ex \
	curl_multi_init curl_easy_init curl_easy_setopt curl_slist_append curl_multi_add_handle
fault_ldflags = $(fault_calls:%=-Wl,--wrap=%)
damage_src = $(filter-out %_test.c,$(wildcard tests/damage/*.c))
test_dirs = tests/unit tests/model tests/crash tests/fault tests/damage tests/images
test_src = $(wildcard $(test_dirs:%=%/*_test.c))
fuzz_src = $(wildcard tests/fuzz/*_fuzz.c)
FUZZ_TARGETS = $(fuzz_src:tests/fuzz/%_fuzz.c=%)
fuzz_main_src = tests/fuzz/replay.c tests/fuzz/seeds.c
# Tests that include what knows libfuse; those of requests are linked with the daemon's objects, and are the kernel themselves.
fuse_test_src = $(patsubst %,tests/unit/%_test.c,control_parts daemon init_reply main open_store options report) $(request_test_src)
request_test_src = $(wildcard tests/*/requests*_test.c)
daemon_src = $(filter-out fs/main.c,$(fs_src))
# The reader of what Qdrant leaves, without the command.
qdrant_src = $(filter-out %_import.c %_upsert.c,$(wildcard tools/qdrant*.c))
qdrant_test_src = $(wildcard tests/unit/qdrant*_test.c)
fuzz_support_src = $(filter-out %_fuzz.c $(fuzz_main_src),$(wildcard tests/fuzz/*.c))
all_src = $(sort $(wildcard storage/*.[ch] fs/*.[ch] tools/*.[ch] tools/bench/*.[ch] tests/*/*.[ch]))
tool_bats = $(wildcard tests/tool/*.bats)
mount_bats = $(wildcard tests/mount/*.bats)
# With servers on the loopback interface.
remote_bats = $(wildcard tests/remote/*.bats)
MOUNT_TESTS = $(mount_bats) $(remote_bats)

compile = $(CC) $(own_cppflags) $(own_cflags) $(flags_$(1)) $(storage_cflags) $(extra_cflags) $(CPPFLAGS) \
	$(CFLAGS) -MMD -MP
link = $(CC) $(own_cflags) $(flags_$(1)) $(CFLAGS) $(own_ldflags) $(LDFLAGS)

# All that decides how a variant is built, as one word of the shell. What only some of its files need (extra_cflags)
# is private to these, and not looked up for the rest.
flags_of = '$(subst ','\'',$(call compile,$(1)) $(own_ldflags) $(LDFLAGS))'

# ---- what one variant consists of ----

define variant
$(1)_programs = build/$(1)/libpayload.a $(if $(fs_src),build/$(1)/payloadfs) \
	$(if $(tool_src),build/$(1)/payloadctl)
$(1)_tests = $(test_src:%.c=build/$(1)/%)
$(1)_fuzz = $(fuzz_src:%.c=build/$(1)/%)
$(1)_bench = $(bench_src:tools/bench/%.c=build/$(1)/bench/%)

build/$(1)/fs/%.o build/$(1)/tools/bench/%.o: private extra_cflags = $$(fuse_cflags)
build/$(1)/tests/%.o: private extra_cflags = $$(cmocka_cflags)
$(fuse_test_src:%.c=build/$(1)/%.o): private extra_cflags = $$(cmocka_cflags) $$(fuse_cflags)
$(test_src:%.c=build/$(1)/%.o) $(support_src:%.c=build/$(1)/%.o) $(fault_src:%.c=build/$(1)/%.o) \
	$(crash_src:%.c=build/$(1)/%.o) $(damage_src:%.c=build/$(1)/%.o): | deps-test

build/$(1)/.flags: FORCE | deps-build$(if $(filter fuzz,$(1)), deps-fuzz)
	@mkdir -p $$(@D)
	@printf '%s\n' $$(call flags_of,$(1)) | cmp -s - $$@ || printf '%s\n' $$(call flags_of,$(1)) >$$@

build/$(1)/%.o: %.c build/$(1)/.flags | deps-build
	@mkdir -p $$(@D)
	$$(say) CC $$@
	$$(Q)$$(call compile,$(1)) -c -o $$@ $$<

build/$(1)/libpayload.a: $(storage_src:%.c=build/$(1)/%.o)
	$$(say) AR $$@
	$$(Q)rm -f $$@ && $$(AR) rcs $$@ $$(filter %.o,$$^)

build/$(1)/payloadfs: $(fs_src:%.c=build/$(1)/%.o) build/$(1)/libpayload.a
	$$(say) LINK $$@
	$$(Q)$$(call link,$(1)) -o $$@ $$^ $$(fuse_libs) $$(storage_libs)

build/$(1)/payloadctl: $(tool_src:%.c=build/$(1)/%.o) build/$(1)/libpayload.a
	$$(say) LINK $$@
	$$(Q)$$(call link,$(1)) -o $$@ $$^ $$(storage_libs)

$$($(1)_tests): build/$(1)/%: build/$(1)/%.o $(support_src:%.c=build/$(1)/%.o) build/$(1)/libpayload.a
	$$(say) LINK $$@
	$$(Q)$$(call link,$(1)) -o $$@ $$(filter %.o,$$^) $$(filter %.a,$$^) $(support_ldflags) $$(extra_ldflags) $$(cmocka_libs) \
		$$(storage_libs)

$(fuse_test_src:%.c=build/$(1)/%): private extra_ldflags = $$(fuse_libs)
# Its children end without the usual: they write by themselves what they have counted.
build/cov/tests/unit/io_test: private extra_ldflags = -Wl,-u,__gcov_dump
$$(filter build/$(1)/tests/fault/%,$$($(1)_tests)): private extra_ldflags = $$(fault_ldflags)
$$(filter build/$(1)/tests/fault/%,$$($(1)_tests)): $(fault_src:%.c=build/$(1)/%.o)
$(request_test_src:%.c=build/$(1)/%): $(daemon_src:%.c=build/$(1)/%.o)
$(request_test_src:%.c=build/$(1)/%): private extra_ldflags = $$(fuse_libs) $$(if $$(findstring /fault/,$$@),$$(fault_ldflags))
$$(filter build/$(1)/tests/crash/%,$$($(1)_tests)): $(crash_src:%.c=build/$(1)/%.o)
$$(filter build/$(1)/tests/damage/%,$$($(1)_tests)): $(damage_src:%.c=build/$(1)/%.o)

# The tests of what Qdrant leaves are linked with the objects of the tool.
$(qdrant_test_src:%.c=build/$(1)/%) build/$(1)/tests/fuzz/qdrant_fuzz: $(qdrant_src:%.c=build/$(1)/%.o)

# A fuzz target brings its main with libFuzzer; elsewhere it replays files.
build/$(1)/tests/fuzz/%.o: private extra_cflags = $$(fuse_cflags)
$$($(1)_fuzz): build/$(1)/%: build/$(1)/%.o $(fuzz_support_src:%.c=build/$(1)/%.o) \
		$(if $(filter fuzz,$(1)),,build/$(1)/tests/fuzz/replay.o) build/$(1)/libpayload.a
	$$(say) LINK $$@
	$$(Q)$$(call link,$(1)) $(if $(filter fuzz,$(1)),-fsanitize=fuzzer) $$(fuzz_ldflags) -o $$@ \
		$$(filter %.o,$$^) $$(filter %.a,$$^) $$(fuse_libs) $$(storage_libs)

build/$(1)/tests/fuzz/seeds: build/$(1)/tests/fuzz/seeds.o $(fuzz_support_src:%.c=build/$(1)/%.o) build/$(1)/libpayload.a
	$$(say) LINK $$@
	$$(Q)$$(call link,$(1)) $$(fuzz_ldflags) -o $$@ $$^ $$(storage_libs)

$$($(1)_bench): build/$(1)/bench/%: build/$(1)/tools/bench/%.o build/$(1)/libpayload.a
	@mkdir -p $$(@D)
	$$(say) LINK $$@
	$$(Q)$$(call link,$(1)) -o $$@ $$(filter %.o,$$^) $$(filter %.a,$$^) $$(extra_ldflags) $$(fuse_libs) $$(storage_libs)

build/$(1)/bench/churn: private extra_ldflags = $$(holds_ldflags)
build/$(1)/bench/churn: build/$(1)/tools/bench/holds.o

$(peer_src:%.c=build/$(1)/%.o): private extra_cflags = $$(peer_cflags)
$(peer_src:%.c=build/$(1)/%.o): | deps-bench-engine
build/$(1)/bench/space: build/$(1)/tools/bench/space.o $(peer_src:%.c=build/$(1)/%.o)
build/$(1)/bench/engine: build/$(1)/tools/bench/engine.o build/$(1)/tools/bench/phases.o $(peer_src:%.c=build/$(1)/%.o)
build/$(1)/bench/engine-own: build/$(1)/tools/bench/engine.o build/$(1)/tools/bench/phases.o
build/$(1)/bench/space build/$(1)/bench/engine build/$(1)/bench/engine-own: $(engine_src:%.c=build/$(1)/%.o) build/$(1)/libpayload.a
	@mkdir -p $$(@D)
	$$(say) LINK $$@
	$$(Q)$$(call link,$(1)) -o $$@ $$(filter %.o,$$^) $$(filter %.a,$$^) $$(if $$(filter %-own,$$@),,$$(peer_libs)) $$(storage_libs)
endef

$(foreach v,$(VARIANTS),$(eval $(call variant,$(v))))

# ---- targets ----

.PHONY: all demo test images golden check-asan check-tsan check-crash check-kill check-damage fuzz coverage mutate print-compile bench bench-engine bench-mounts bench-quick bench-wait bench-churn bench-space bench-stream tidy format deb check-deb clean \
	help FORCE deps-build deps-test deps-demo deps-bench deps-bench-engine deps-bench-mounts deps-bench-space deps-bench-stream deps-tidy deps-fuzz \
	deps-deb deps-check-deb tour deps-tour pictures deps-pictures deps-mutate

all: $(release_programs) ## build payloadfs, payloadctl and libpayload.a in build/release

demo: $(release_programs) deps-demo ## a guided tour: import, mount, use, remount
	@BUILD=build/release tools/demo

tour: $(release_programs) deps-tour ## run the session that README shows, and put it there anew
	@BUILD=build/release tools/tour --readme README.md

pictures: $(release_programs) deps-pictures ## make the pictures of README anew, from what payloadctl draws and prints
	@BUILD=build/release tools/pictures/record

test: $(release_programs) $(release_bench) build/release/bench/engine-own $(debug_tests) $(asan_fuzz) deps-test ## all tests: unit, model, crash, fault, fuzz corpus, payloadctl, mount
	@BUILD=build/release tests/run $(debug_tests) $(asan_fuzz) $(tool_bats) $(mount_bats) $(remote_bats)

# Under sanitizers a sample of cases that are alike, in one thread, that the plain build tries in full; of these
# ThreadSanitizer, which has nothing to see in them, gets the fewest. Nothing is judged by how slow it is there.
sampled = TEST_SAMPLE=$${TEST_SAMPLE:-$(1)} CRASH_IMAGES=$${CRASH_IMAGES:-2} CRASH_EVERY2=$${CRASH_EVERY2:-$(2)} \
	CRASH_EVERY3=$${CRASH_EVERY3:-$(3)} CRASH_HISTORIES=$${CRASH_HISTORIES:-$(4)} TEST_TIMEOUT=$${TEST_TIMEOUT:-3600}

# MOUNT=1 runs the tests of payloadctl and of the mount with instrumented programs, too.
check-asan: $(asan_tests) $(asan_fuzz) $(if $(MOUNT),$(asan_programs) build/asan/bench/engine-own) deps-test ## tests under ASan and UBSan (MOUNT=1: the mount, too)
	@$(call sampled,31,120,5000,3) BUILD=build/asan tests/run $(asan_tests) $(asan_fuzz) $(if $(MOUNT),$(tool_bats) $(MOUNT_TESTS))

check-tsan: $(tsan_tests) $(if $(MOUNT),$(tsan_programs) build/tsan/bench/engine-own) deps-test ## tests under TSan (MOUNT=1: the mount, too)
	@$(call sampled,97,400,20000,1) BUILD=build/tsan tests/run $(tsan_tests) $(if $(MOUNT),$(tool_bats) $(MOUNT_TESTS))

crash_tests = $(filter build/debug/tests/crash/%,$(debug_tests))

check-crash: $(crash_tests) deps-test ## the crash simulator's long run (JOBS=2: on two cores; CRASH_PART=i/n: a part)
	@JOBS='$(JOBS)' CRASH_PART='$(CRASH_PART)' tests/check-crash $(crash_tests)

# KILL_ROUNDS=N how many, KILL_SEED=N repeats the choices of one that failed.
check-kill: $(release_programs) deps-test ## kill -9 of the daemon under load, 1000 times
	@BUILD=build/release KILL_ROUNDS=$${KILL_ROUNDS:-1000} TEST_TIMEOUT=$${TEST_TIMEOUT:-7200} V=1 \
		tests/run tests/mount/kill.bats

# DAMAGE_PART=1/2 and 2/2 share the work of two processors.
check-damage: $(filter %_test,$(filter build/debug/tests/damage/%,$(debug_tests))) deps-test ## every bit of a store turned, each alone (two hours)
	@BUILD=build/debug DAMAGE_FULL=1 TEST_TIMEOUT=$${TEST_TIMEOUT:-14400} V=1 tests/run \
		$(filter build/debug/tests/damage/%,$(debug_tests))

# FUZZ_TARGETS, FUZZ_SECONDS for each, FUZZ_JOBS at once: see tests/fuzz/run. What is found lies below build/fuzz.
fuzz: $(FUZZ_TARGETS:%=build/fuzz/tests/fuzz/%_fuzz) deps-fuzz ## hostile bytes guided by coverage, FUZZ_SECONDS (60) for each target
	@BUILD=build/fuzz tests/fuzz/run $(FUZZ_TARGETS)

# What tests count adds up in their counters, which begin anew; of cases that are alike a sample runs the same lines.
# COVERAGE=-v names what nothing ran.
coverage: $(cov_programs) build/cov/bench/engine-own $(cov_tests) $(cov_fuzz) deps-test ## what all tests run of storage/ and fs/ (half an hour)
	@find build/cov -name '*.gcda' -delete
	@$(call sampled,7,120,5000,3) BUILD=build/cov tests/run $(cov_tests) $(cov_fuzz) $(tool_bats) $(mount_bats) $(remote_bats) || true
	@tests/coverage $(COVERAGE) build/cov

# What of it is known stays in build/mutation: MUTATE='--sample 500', files, parts: see tests/mutation/mutate.
mutate: deps-mutate ## changes the program in small ways and looks whether a test notices (days; MUTATE='--sample 500')
	@tests/mutation/mutate $(MUTATE)

print-compile:
	@printf '%s\n' '$(call compile,debug) $(fuse_cflags)'

golden: $(patsubst %.c,build/debug/%,$(wildcard tests/model/golden*_test.c)) ## write down anew what the golden histories do to the disk
	@set -e; for test in $^; do $$test accept >/dev/null; done

images: $(patsubst %.c,build/debug/%,$(wildcard tests/images/*_test.c)) ## make the golden images and the verdicts of the broken ones anew
	@build/debug/tests/images/images_test make tests/images/golden-v1 >/dev/null
	@tests/images/accept

# One after the other, also with -j. PEERS, DOCS and ROUNDS mean something else to each part: they are for the parts.
bench: build/release/bench/engine deps-bench-engine bench-mounts ## everything against its peers: hours; tables, CSV, plots in build/bench
	@BUILD=build/release tools/bench/engine

# SETS, PEERS, DOCS, ROUNDS...: see tools/bench/engine.
bench-engine: build/release/bench/engine deps-bench-engine ## the engine against RocksDB, LMDB and SQLite
	@BUILD=build/release tools/bench/engine

# PEERS, FILES, ROUNDS, DOCS...: see tools/bench/mounts.
bench-mounts: $(release_programs) $(release_bench) deps-bench-mounts ## the mount against ext4, an in-memory floor, bindfs, gocryptfs, squashfuse
	@BUILD=build/release WORK="$${WORK:-build/bench}" tools/bench/mounts

bench-quick: $(release_programs) $(release_bench) deps-bench ## the mount against ext4 and an in-memory floor, in two minutes
	@BUILD=build/release WORK="$${WORK:-build/bench-quick}" PEERS="$${PEERS:-ext4 floor payloadfs}" DOCS="$${DOCS:-0}" NAMES="$${NAMES:-0}" \
		tools/bench/mounts

bench-wait: $(release_programs) $(release_bench) deps-bench ## how long readers wait while others write
	@BUILD=build/release tools/bench/wait

# DOCS, FILES, ROUNDS: see tools/bench/stream.
bench-stream: $(release_programs) build/release/bench/engine-own deps-bench-stream ## all documents as one stream: points.ndjson, export, find | xargs cat
	@BUILD=build/release tools/bench/stream

# CHURN='-n 100000 live': fewer points, one part.
bench-churn: build/release/bench/churn ## what steady change takes of the disk, waits beside a compaction (CHURN=OPTIONS)
	@build/release/bench/churn -d build $(CHURN)

bench-space: $(release_programs) build/release/bench/space deps-bench-space ## what documents take on disk, here and in RocksDB, LMDB, SQLite, ext4
	@BUILD=build/release tools/bench/space

tidy: deps-tidy ## layering, format, line length, static analysis
	@status=0; tests/layering || status=1; tests/tidy || status=1; exit $$status

format: deps-tidy ## reformat all C files
	clang-format -i $(all_src)

include tools/dist/install.mk

# Built from a copy of the tree, with Debian's own compiler flags: CC and the like mean nothing to it.
deb: deps-deb ## Debian packages payloadfs and libpayload-dev, in build/deb
	@tools/dist/make-deb build/deb

# DEB_ROOT=ARCHIVE: a clean system that is there already. Of the tree's own build it takes the files that are not built.
check-deb: deb $(release_programs) deps-check-deb ## the packages installed, used and purged on a clean Debian (as root)
	@BUILD=build/release V=1 tests/run tests/deb/packages.bats

clean: ## remove build/
	rm -rf build

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(filter-out %.d,$(MAKEFILE_LIST))

# Run at every make: it takes some milliseconds when everything is there.
deps-build deps-test deps-demo deps-bench deps-bench-engine deps-bench-mounts deps-bench-space deps-bench-stream deps-tidy deps-fuzz deps-deb deps-check-deb deps-tour deps-pictures deps-mutate: deps-%:
	@CC='$(CC)' ZSTD='$(ZSTD)' CRYPTO='$(CRYPTO)' CURL='$(CURL)' tools/install-deps $*

deps-fuzz: private override CC = $(FUZZ_CC)

deps-test deps-demo deps-bench deps-bench-engine deps-bench-mounts deps-bench-space deps-bench-stream deps-deb deps-check-deb deps-tour deps-pictures deps-mutate: deps-build

-include $(wildcard build/*/*/*.d build/*/*/*/*.d)
