/* Compaction beside readers, writers, checkpoints and looks at the free space, on the memory
 * backend, whose plain copies let ThreadSanitizer see what the kernel would hide: pages are
 * unmapped under readers, values move under those who change them. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/store.h"
#include "tests/sim/sim.h"

#define WRITERS 2
#define READERS 2
#define KEYS_EACH 150
#define ROUNDS 1200
#define LINE 16

struct shared {
	struct pfs_store *store;
	bool writing, reading, hold;	/* atomic */
	uint64_t mixed, errors, drifts; /* atomic */
	uint64_t steps, full;
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

static void count_error(struct worker *w)
{
	__atomic_fetch_add(&w->shared->errors, 1, __ATOMIC_RELAXED);
}

static uint64_t id_of(unsigned writer, unsigned key)
{
	return writer * 1000 + key + 1;
}

/* Lines that do not compress well and say whose they are and which version. */
static void fill(uint8_t *bytes, size_t lines, uint64_t id, uint32_t version)
{
	for (size_t i = 0; i < lines; i++) {
		pfs_put_le64(bytes + i * LINE, pfs_mix64(id * 131 + version + i));
		pfs_put_le32(bytes + i * LINE + 8, version);
		pfs_put_le32(bytes + i * LINE + 12, (uint32_t)lines);
	}
}

static bool is_whole(const uint8_t *bytes, size_t len, uint64_t id)
{
	uint32_t version = len ? pfs_get_le32(bytes + 8) : 0;

	if (len == 0)
		return true; /* created, not yet written */
	if (len % LINE != 0 || pfs_get_le32(bytes + 12) != len / LINE)
		return false;
	for (size_t i = 0; i < len / LINE; i++) {
		if (pfs_get_le64(bytes + i * LINE) != pfs_mix64(id * 131 + version + i))
			return false;
	}
	return true;
}

static void write_one(struct worker *w, uint32_t version, uint8_t *bytes)
{
	unsigned k = (unsigned)roll(w, KEYS_EACH);
	struct pfs_key key = pfs_key_num(id_of(w->number, k));
	struct pfs_attr attr = {.mode = 0644, .mtime_ns = version};
	size_t lines = 1 + roll(w, roll(w, 30) ? 120 : 9000);
	uint32_t gone = 0, object;
	int err;

	fill(bytes, lines, id_of(w->number, k), version);
	switch (roll(w, 6)) {
	case 0:
		err = pfs_remove(w->shared->store, &key, &gone);
		if (err == -ENOENT)
			err = 0;
		version = 0;
		break;
	case 1:
		/* As a shell: emptied, which is held, then written. */
		err = pfs_create(w->shared->store, &key, &attr, &object);
		if (err == -EEXIST)
			err = pfs_setattr(w->shared->store, object, PFS_ATTR_SIZE, &attr, NULL);
		if (!err)
			err = pfs_write(w->shared->store, object, 0, bytes, lines * LINE, version);
		break;
	default:
		err = pfs_put(w->shared->store, &key, bytes, lines * LINE, &attr,
			      roll(w, 4) ? 0 : PFS_PUT_NEW_OBJECT, &gone);
	}
	if (gone && w->shared->hold)
		pfs_release(w->shared->store, gone);
	if (err)
		count_error(w);
	w->shared->versions[w->number][k] = version;
}

static void *writer(void *arg)
{
	struct worker *w = arg;
	uint8_t *bytes = malloc(9001 * LINE);

	for (uint32_t round = 1; round <= ROUNDS; round++) {
		write_one(w, round, bytes);
		if (roll(w, 80) == 0 && pfs_store_checkpoint(w->shared->store) != 0)
			count_error(w);
	}
	free(bytes);
	return NULL;
}

static void *reader(void *arg)
{
	struct worker *w = arg;

	while (__atomic_load_n(&w->shared->reading, __ATOMIC_ACQUIRE)) {
		uint64_t id = id_of((unsigned)roll(w, WRITERS), (unsigned)roll(w, KEYS_EACH));
		struct pfs_key key = pfs_key_num(id);
		struct pfs_place place;
		void *bytes;
		size_t len;
		int err = pfs_get(w->shared->store, &key, &bytes, &len, NULL);

		if (!err && !is_whole(bytes, len, id))
			__atomic_fetch_add(&w->shared->mixed, 1, __ATOMIC_RELAXED);
		if (!err)
			free(bytes);
		else if (err != -ENOENT && err != -EAGAIN)
			count_error(w);
		err = pfs_place(w->shared->store, &key, &place);
		if (err && err != -ENOENT)
			count_error(w);
	}
	return NULL;
}

static void *compactor(void *arg)
{
	struct worker *w = arg;
	struct pfs_compact_result result;
	unsigned n = 0;

	while (__atomic_load_n(&w->shared->writing, __ATOMIC_ACQUIRE)) {
		int err = ++n % 16 ? pfs_store_compact_step(w->shared->store, true)
				   : pfs_store_compact(w->shared->store, NULL, NULL, NULL, &result);

		if (err < 0)
			count_error(w);
		w->shared->steps += err == 1;
		w->shared->full += n % 16 == 0 && err == 0;
	}
	return NULL;
}

static void on_finding(void *arg, const struct pfs_finding *finding)
{
	struct worker *w = arg;

	print_message("%s: %s\n", finding->where, finding->text);
	__atomic_fetch_add(&w->shared->drifts, 1, __ATOMIC_RELAXED);
}

/* What is known of the free space is that of a recount, whatever is on its way. */
static void *accountant(void *arg)
{
	struct worker *w = arg;
	struct pfs_check_result result;

	while (__atomic_load_n(&w->shared->writing, __ATOMIC_ACQUIRE)) {
		if (pfs_store_check(w->shared->store, on_finding, NULL, w, NULL, &result) != 0)
			count_error(w);
	}
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

			assert_int_equal(err, shared->versions[n][k] ? 0 : -ENOENT);
			if (err)
				continue;
			assert_true(is_whole(bytes, len, id_of(n, k)));
			assert_int_equal(attr.mtime_ns, shared->versions[n][k]);
			free(bytes);
		}
	}
}

static void run(bool hold)
{
	typedef void *thread_fn(void *arg);
	static thread_fn *const fns[] = {writer, writer, reader, reader, compactor, accountant};
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_create_options create = {
		.page_size = 128 * PFS_KIB, .min_value_size = 16, .io = pfs_sim_io(sim)};
	struct pfs_open_options options = {.io = pfs_sim_io(sim),
					   .commit_ms = 5,
					   .journal_max = 4 * PFS_MIB,
					   .hold_objects = hold};
	struct shared shared = {.hold = hold, .writing = true, .reading = true};
	struct worker workers[pfs_array_len(fns)];
	pthread_t threads[pfs_array_len(fns)];
	struct pfs_check_result result;
	struct pfs_store_stat stat;
	struct pfs_reason reason;

	assert_int_equal(pfs_store_create("/s", &create, &reason), 0);
	assert_int_equal(pfs_store_open(&shared.store, "/s", &options, &reason), 0);
	for (unsigned i = 0; i < pfs_array_len(fns); i++) {
		workers[i] = (struct worker){&shared, i, i + 1};
		assert_int_equal(pthread_create(&threads[i], NULL, fns[i], &workers[i]), 0);
	}
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	__atomic_store_n(&shared.writing, false, __ATOMIC_RELEASE);
	pthread_join(threads[WRITERS + READERS], NULL);
	pthread_join(threads[WRITERS + READERS + 1], NULL);
	__atomic_store_n(&shared.reading, false, __ATOMIC_RELEASE);
	for (unsigned i = WRITERS; i < WRITERS + READERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(shared.mixed, 0);
	assert_int_equal(shared.errors, 0);
	assert_int_equal(shared.drifts, 0);
	assert_int_equal(pfs_store_stat(shared.store, &stat), 0);
	print_message("%llu steps, %llu full compactions, %llu values moved, %llu pages retired\n",
		      (unsigned long long)shared.steps, (unsigned long long)shared.full,
		      (unsigned long long)stat.moved_values,
		      (unsigned long long)stat.retired_pages);
	assert_true(stat.moved_values > 0 && stat.retired_pages > 0);
	compare(&shared);
	assert_int_equal(pfs_store_close(shared.store), 0);
	assert_int_equal(pfs_check("/s", pfs_sim_io(sim), NULL, NULL, NULL, NULL, &result, &reason),
			 0);
	assert_int_equal(result.findings, 0);
	assert_int_equal(pfs_store_open(&shared.store, "/s", &options, &reason), 0);
	compare(&shared);
	assert_int_equal(pfs_store_close(shared.store), 0);
	pfs_sim_free(sim);
}

/* Proves: under compaction, steps and whole runs, readers see whole versions and writers lose
 * nothing, the free space of every page is that of a recount at any moment, and nothing of a page
 * that is given back is looked at any more. */
static void nobody_notices_compaction(void **state)
{
	(void)state;
	run(false);
	run(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(nobody_notices_compaction)};

	return cmocka_run_group_tests_name("compaction", tests, NULL, NULL);
}
