/* Readers, writers and the store's own threads at once, on the memory backend, whose plain copies
 * let ThreadSanitizer see what the kernel would hide. Every document says whose it is and which
 * version, in every line of it, so that a mix of two is noticed. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/store_internal.h"
#include "tests/sim/sim.h"

#define WRITERS 3
#define READERS 2
#define KEYS_EACH 20
#define ROUNDS 300
#define LINE 16

struct shared {
	struct pfs_store *store;
	bool done, hold;
	uint64_t mixed, errors, reads;	       /* atomic */
	uint32_t versions[WRITERS][KEYS_EACH]; /* the last written by each; 0: removed */
};

struct worker {
	struct shared *shared;
	unsigned number;
	uint64_t random;
};

static uint64_t roll(struct worker *w, uint64_t n)
{
	w->random += UINT64_C(0x9e3779b97f4a7c15);
	return pfs_mix64(w->random) % n;
}

static void fill(uint8_t *bytes, size_t lines, uint64_t id, uint32_t version)
{
	for (size_t i = 0; i < lines; i++) {
		pfs_put_le64(bytes + i * LINE, id);
		pfs_put_le32(bytes + i * LINE + 8, version);
		pfs_put_le32(bytes + i * LINE + 12, (uint32_t)lines);
	}
}

/* Whether the document is one whole version of id. */
static bool is_whole(const uint8_t *bytes, size_t len, uint64_t id)
{
	if (len == 0)
		return true; /* created, not yet written */
	if (len % LINE != 0 || pfs_get_le32(bytes + 12) != len / LINE || pfs_get_le64(bytes) != id)
		return false;
	for (size_t i = LINE; i < len; i += LINE) {
		if (memcmp(bytes, bytes + i, LINE) != 0)
			return false;
	}
	return true;
}

static uint64_t id_of(unsigned writer, unsigned key)
{
	return writer * 1000 + key + 1;
}

static void write_one(struct worker *w, unsigned k, uint32_t version, uint8_t *bytes)
{
	struct pfs_key key = pfs_key_num(id_of(w->number, k));
	struct pfs_attr attr = {.mode = 0644, .mtime_ns = version};
	size_t lines = 1 + roll(w, roll(w, 20) ? 60 : 9000);
	struct pfs_key scratch;
	char name[32];
	uint32_t gone = 0, object;
	int err = 0;

	fill(bytes, lines, id_of(w->number, k), version);
	switch (roll(w, 8)) {
	case 0:
		/* As an editor: a scratch file, then renamed over the document. */
		snprintf(name, sizeof(name), "tmp.%u", w->number);
		err = pfs_key_parse(&scratch, name, strlen(name));
		if (!err)
			err = pfs_put(w->shared->store, &scratch, bytes, lines * LINE, &attr, 0,
				      NULL);
		if (!err)
			err = pfs_rename(w->shared->store, &scratch, &key, 0, &gone);
		break;
	case 1:
		err = pfs_remove(w->shared->store, &key, &gone);
		if (err == -ENOENT)
			err = 0;
		version = 0;
		break;
	case 2:
	case 3:
		/* As a shell: emptied, then written, its mode changed afterwards. */
		err = pfs_create(w->shared->store, &key, &attr, &object);
		if (err == -EEXIST)
			err = pfs_setattr(w->shared->store, object, PFS_ATTR_SIZE, &attr, NULL);
		if (!err)
			err = pfs_write(w->shared->store, object, 0, bytes, lines * LINE, version);
		if (!err)
			err = pfs_setattr(w->shared->store, object, PFS_ATTR_MODE, &attr, NULL);
		break;
	default:
		err = pfs_put(w->shared->store, &key, bytes, lines * LINE, &attr,
			      roll(w, 2) ? PFS_PUT_NEW_OBJECT : 0, &gone);
	}
	if (gone && w->shared->hold)
		pfs_release(w->shared->store, gone);
	if (err)
		__atomic_fetch_add(&w->shared->errors, 1, __ATOMIC_RELAXED);
	w->shared->versions[w->number][k] = version;
}

static void *writer(void *arg)
{
	struct worker *w = arg;
	uint8_t *bytes = malloc(9001 * LINE);

	for (uint32_t round = 1; round <= ROUNDS; round++) {
		write_one(w, (unsigned)roll(w, KEYS_EACH), round, bytes);
		if (roll(w, 25) == 0 && pfs_sync(w->shared->store) != 0)
			__atomic_fetch_add(&w->shared->errors, 1, __ATOMIC_RELAXED);
		if (roll(w, 60) == 0 && pfs_store_checkpoint(w->shared->store) != 0)
			__atomic_fetch_add(&w->shared->errors, 1, __ATOMIC_RELAXED);
	}
	free(bytes);
	return NULL;
}

static void read_one(struct worker *w)
{
	uint64_t id = id_of((unsigned)roll(w, WRITERS), (unsigned)roll(w, KEYS_EACH));
	struct pfs_key key = pfs_key_num(id);
	struct pfs_attr attr;
	void *bytes;
	size_t len;
	int err = pfs_get(w->shared->store, &key, &bytes, &len, &attr);

	__atomic_fetch_add(&w->shared->reads, 1, __ATOMIC_RELAXED);
	if (err == -ENOENT || err == -EAGAIN)
		return;
	if (err) {
		__atomic_fetch_add(&w->shared->errors, 1, __ATOMIC_RELAXED);
		return;
	}
	if (!is_whole(bytes, len, id))
		__atomic_fetch_add(&w->shared->mixed, 1, __ATOMIC_RELAXED);
	free(bytes);
}

static void *reader(void *arg)
{
	struct worker *w = arg;

	/* At least once, also where the writers are through before it begins. */
	do {
		struct pfs_listed listed[16];
		struct pfs_store_stat stat;

		for (unsigned i = 0; i < 50; i++)
			read_one(w);
		if (pfs_list(w->shared->store, roll(w, 50), listed, 16) < 0 ||
		    pfs_store_stat(w->shared->store, &stat) != 0)
			__atomic_fetch_add(&w->shared->errors, 1, __ATOMIC_RELAXED);
	} while (!__atomic_load_n(&w->shared->done, __ATOMIC_ACQUIRE));
	return NULL;
}

/* Changes the dictionary under everybody, and takes those away that nobody needs any more. */
static void *trainer(void *arg)
{
	struct worker *w = arg;
	struct pfs_store_stat stat;
	uint8_t bytes[64 * LINE];

	do {
		fill(bytes, 64, id_of((unsigned)roll(w, WRITERS), (unsigned)roll(w, KEYS_EACH)),
		     (uint32_t)roll(w, ROUNDS));
		if (pfs_store_stat(w->shared->store, &stat) != 0 ||
		    (stat.dictionaries < 8 &&
		     pfs_dict_add(w->shared->store, bytes, sizeof(bytes), 0, 0) != 0) ||
		    pfs_store_checkpoint(w->shared->store) != 0)
			__atomic_fetch_add(&w->shared->errors, 1, __ATOMIC_RELAXED);
	} while (!__atomic_load_n(&w->shared->done, __ATOMIC_ACQUIRE));
	return NULL;
}

static void compare(struct shared *shared)
{
	for (unsigned n = 0; n < WRITERS; n++) {
		for (unsigned k = 0; k < KEYS_EACH; k++) {
			struct pfs_key key = pfs_key_num(id_of(n, k));
			struct pfs_attr attr;
			void *bytes;
			size_t len;
			int err = pfs_get(shared->store, &key, &bytes, &len, &attr);

			if (shared->versions[n][k] == 0) {
				assert_int_equal(err, -ENOENT);
				continue;
			}
			assert_int_equal(err, 0);
			assert_true(is_whole(bytes, len, id_of(n, k)));
			assert_int_equal(attr.mtime_ns, shared->versions[n][k]);
			assert_int_equal(pfs_get_le32((uint8_t *)bytes + 8),
					 shared->versions[n][k]);
			free(bytes);
		}
	}
}

static void run(bool hold)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_create_options create = {
		.page_size = 256 * PFS_KIB, .min_value_size = 64, .io = pfs_sim_io(sim)};
	struct pfs_open_options options = {
		.io = pfs_sim_io(sim), .commit_ms = 5, .journal_max = 4 * PFS_MIB};
	struct worker workers[WRITERS + READERS + 1];
	pthread_t threads[WRITERS + READERS + 1];
	struct shared shared = {.hold = hold};
	struct pfs_reason reason;

	options.hold_objects = hold;
	assert_int_equal(pfs_store_create("/s", &create, &reason), 0);
	assert_int_equal(pfs_store_open(&shared.store, "/s", &options, &reason), 0);
	for (unsigned i = 0; i < WRITERS + READERS + 1; i++) {
		void *(*fn)(void *) = i < WRITERS	      ? writer
				      : i < WRITERS + READERS ? reader
							      : trainer;

		workers[i] = (struct worker){&shared, i, i + 1};
		assert_int_equal(pthread_create(&threads[i], NULL, fn, &workers[i]), 0);
	}
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	__atomic_store_n(&shared.done, true, __ATOMIC_RELEASE);
	for (unsigned i = WRITERS; i < WRITERS + READERS + 1; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(shared.mixed, 0);
	assert_int_equal(shared.errors, 0);
	assert_true(shared.reads > 0);
	compare(&shared);
	assert_int_equal(pfs_store_close(shared.store), 0);
	assert_int_equal(pfs_store_open(&shared.store, "/s", &options, &reason), 0);
	compare(&shared);
	assert_int_equal(pfs_store_close(shared.store), 0);
	pfs_sim_free(sim);
}

/* Proves: readers beside writers, commits, checkpoints and changes of the dictionary see whole
 * versions of the document they asked for and no errors, and the last of each writer is there
 * afterwards, also after opening again. */
static void readers_see_whole_versions(void **state)
{
	(void)state;
	run(false);
	run(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(readers_see_whole_versions)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
