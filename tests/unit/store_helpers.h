/* Short forms for tests that make a store on the sim, damage its files and check it. Calls are
 * expected to succeed. */
#ifndef PFS_TEST_STORE_HELPERS_H
#define PFS_TEST_STORE_HELPERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/format.h"
#include "storage/store.h"
#include "tests/sim/sim.h"

#define STORE "store"
#define FOUND_MAX 4096

/* Of many cases that are alike every so many is tried: TEST_SAMPLE=N in the environment, where each
 * takes long (sanitizers); else 1. */
static inline unsigned test_sample(void)
{
	const char *sample = getenv("TEST_SAMPLE");
	unsigned n = sample ? (unsigned)strtoul(sample, NULL, 10) : 1;

	return n ? n : 1;
}

struct found {
	struct pfs_finding at[FOUND_MAX];
	size_t count, fatal;
	uint64_t done, total; /* of the progress */
	uint64_t steps;	      /* made of all that it said */
	struct pfs_check_result result;
};

static inline void keep_finding(void *arg, const struct pfs_finding *finding)
{
	struct found *found = arg;

	assert_true(found->count < FOUND_MAX);
	found->at[found->count++] = *finding;
	found->fatal += finding->fatal;
}

/* What was said of progress before, and this. */
static inline uint64_t one_step_more(uint64_t steps, uint64_t done, uint64_t total)
{
	return pfs_mix64(pfs_mix64(steps + done) + total);
}

static inline void keep_progress(void *arg, uint64_t done, uint64_t total)
{
	struct found *found = arg;

	assert_true(done >= found->done && done <= total);
	found->steps = one_step_more(found->steps, done, total);
	found->done = done;
	found->total = total;
}

static inline void ignore_log(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

static const struct pfs_logger quiet = {.fn = ignore_log};

/* Checks the store. Free with free(). */
static inline struct found *check_store(struct pfs_sim *sim)
{
	struct found *found = calloc(1, sizeof(*found));
	struct pfs_reason reason;
	int err = pfs_check(STORE, pfs_sim_io(sim), &quiet, keep_finding, keep_progress, found,
			    &found->result, &reason);

	if (err)
		fail_msg("check: %d %s", err, reason.text);
	assert_int_equal(found->result.findings, found->count);
	assert_int_equal(found->done, found->total);
	assert_true(found->total < UINT64_C(1) << 40); /* no store of a test is so large */
	return found;
}

static inline void print_found(const struct found *found)
{
	for (size_t i = 0; i < found->count; i++) {
		char key[PFS_NAME_MAX + 1];

		pfs_key_format(key, &found->at[i].key);
		print_message("%s at %llu [%s]: %s%s\n", found->at[i].where,
			      (unsigned long long)found->at[i].offset, key,
			      found->at[i].fatal ? "" : "(remark) ", found->at[i].text);
	}
}

static inline void expect_healthy(struct pfs_sim *sim)
{
	struct found *found = check_store(sim);

	print_found(found);
	assert_int_equal(found->count, 0);
	assert_int_equal(found->result.damaged, 0);
	free(found);
}

static inline void create_store(struct pfs_sim *sim, uint64_t page_size, uint32_t min_value_size)
{
	struct pfs_create_options options = {
		.page_size = page_size,
		.min_value_size = min_value_size,
		.io = pfs_sim_io(sim),
	};
	struct pfs_reason reason;

	assert_int_equal(pfs_store_create(STORE, &options, &reason), 0);
}

static inline struct pfs_store *open_store(struct pfs_sim *sim)
{
	struct pfs_open_options options = {.manual = true, .io = pfs_sim_io(sim), .logger = quiet};
	struct pfs_reason reason;
	struct pfs_store *store;
	int err = pfs_store_open(&store, STORE, &options, &reason);

	if (err)
		fail_msg("open: %d %s", err, reason.text);
	return store;
}

/* Its objects are held, as the mount does; nothing is done by itself. */
static inline struct pfs_store *open_held(struct pfs_sim *sim)
{
	struct pfs_open_options options = {
		.manual = true, .hold_objects = true, .io = pfs_sim_io(sim), .logger = quiet};
	struct pfs_reason reason;
	struct pfs_store *store;

	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	return store;
}

static inline struct pfs_key key_named(const char *name)
{
	struct pfs_key key;

	assert_int_equal(pfs_key_parse(&key, name, strlen(name)), 0);
	return key;
}

/* Bytes that look like a document, different for each seed; those of an odd one do not compress. */
static inline void fill_document(uint8_t *bytes, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = seed % 2 ? (uint8_t)pfs_mix64(seed * 131071 + i)
				    : (uint8_t) "{\"city\":\"Bonn\"}"[(i + seed) % 15];
}

static inline void put_document(struct pfs_store *store, const struct pfs_key *key, size_t len,
				uint64_t seed)
{
	uint8_t *bytes = malloc(len + 1);
	struct pfs_attr attr = {.mode = 0644, .mtime_ns = (int64_t)seed};

	fill_document(bytes, len, seed);
	assert_int_equal(pfs_put(store, key, bytes, len, &attr, 0, NULL), 0);
	free(bytes);
}

/* ---- files ---- */

static inline struct pfs_file *store_file(struct pfs_sim *sim, const char *name,
					  struct pfs_dir **dir)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_file *file;

	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE, dir), 0);
	assert_int_equal((*dir)->ops->open(*dir, name, PFS_IO_WRITE, &file), 0);
	return file;
}

static inline void store_file_done(struct pfs_dir *dir, struct pfs_file *file)
{
	file->ops->close(file);
	dir->ops->close_dir(dir);
}

static inline void read_at(struct pfs_sim *sim, const char *name, uint64_t off, void *bytes,
			   size_t len)
{
	struct pfs_dir *dir;
	struct pfs_file *file = store_file(sim, name, &dir);

	assert_int_equal(file->ops->read(file, bytes, len, off), len);
	store_file_done(dir, file);
}

static inline void write_at(struct pfs_sim *sim, const char *name, uint64_t off, const void *bytes,
			    size_t len)
{
	struct pfs_dir *dir;
	struct pfs_file *file = store_file(sim, name, &dir);

	assert_int_equal(file->ops->write(file, bytes, len, off), 0);
	store_file_done(dir, file);
}

static inline void flip_bit(struct pfs_sim *sim, const char *name, uint64_t off, unsigned bit)
{
	uint8_t byte;

	read_at(sim, name, off, &byte, 1);
	byte ^= (uint8_t)(1u << bit);
	write_at(sim, name, off, &byte, 1);
}

static inline bool has_file(struct pfs_sim *sim, const char *name)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_file *file;
	struct pfs_dir *dir;
	int err;

	assert_int_equal(io->ops->open_dir(io, STORE, 0, &dir), 0);
	err = dir->ops->open(dir, name, 0, &file);
	if (!err)
		file->ops->close(file);
	dir->ops->close_dir(dir);
	return !err;
}

static inline uint64_t size_at(struct pfs_sim *sim, const char *name)
{
	struct pfs_dir *dir;
	struct pfs_file *file = store_file(sim, name, &dir);
	uint64_t size;

	assert_int_equal(file->ops->size(file, &size), 0);
	store_file_done(dir, file);
	return size;
}

static inline void remove_file(struct pfs_sim *sim, const char *name)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_dir *dir;

	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE, &dir), 0);
	assert_int_equal(dir->ops->unlink(dir, name), 0);
	dir->ops->close_dir(dir);
}

static inline void make_file(struct pfs_sim *sim, const char *name)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_file *file;
	struct pfs_dir *dir;

	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE, &dir), 0);
	assert_int_equal(dir->ops->open(dir, name, PFS_IO_WRITE | PFS_IO_CREATE, &file), 0);
	store_file_done(dir, file);
}

/* Where a document lies, of a store that is closed. */
static inline struct pfs_place place_of(struct pfs_sim *sim, const struct pfs_key *key)
{
	struct pfs_open_options options = {
		.read_only = true, .io = pfs_sim_io(sim), .logger = quiet};
	struct pfs_reason reason;
	struct pfs_store *store;
	struct pfs_place place;

	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	assert_int_equal(pfs_place(store, key, &place), 0);
	assert_int_equal(pfs_store_close(store), 0);
	assert_false(place.in_journal);
	return place;
}

static inline const char *page_name(uint32_t number)
{
	static char name[32];

	snprintf(name, sizeof(name), PFS_PAGE_NAME_FMT, number);
	return name;
}

/* The file of the segment that has records. Returns whether there is one. */
static inline bool find_segment(struct pfs_sim *sim, char name[32])
{
	for (unsigned i = 0; i < 8; i++) {
		const struct pfs_io *io = pfs_sim_io(sim);
		struct pfs_file *file;
		struct pfs_dir *dir;
		uint8_t len[4] = {0};

		snprintf(name, 32, PFS_SEGMENT_NAME_FMT, i);
		assert_int_equal(io->ops->open_dir(io, STORE, 0, &dir), 0);
		if (dir->ops->open(dir, name, 0, &file) == 0) {
			(void)file->ops->read(file, len, sizeof(len), PFS_SEGMENT_DATA);
			file->ops->close(file);
		}
		dir->ops->close_dir(dir);
		if (pfs_get_le32(len))
			return true;
	}
	return false;
}

#endif
