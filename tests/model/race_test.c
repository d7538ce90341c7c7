/* Readers, writers, syncs, checkpoints, compaction, checks, unfinished puts, releases and reuse of
 * object numbers at once, over several openings of one store. On the memory backend, whose plain
 * copies let ThreadSanitizer see what the kernel would hide.
 *
 * The oracle. Each key has one writer, which numbers its states: it says which one it begins before
 * the change, and which one is done after it. A reader notes what was done before it looks, and
 * what was begun after it has seen: it must have got a state between the two, whole. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/store.h"
#include "tests/sim/sim.h"

#define WRITERS 3
#define READERS 2
#define KEYS 10 /* of a writer; the last two are large and never removed */
#define LARGE 8
#define STATES 2000
#define EXCHANGED 600 /* this one and the next */
#define ROUNDS 100    /* changes of a writer in an opening */
#define OPENINGS 3
#define LINE 16
#define LARGE_LEN (192 * 1024)
#define LARGE_PART (64 * 1024) /* at this offset, of this length: what patches write */

enum kind { ABSENT, EMPTY, WHOLE };

struct history {
	uint32_t begun, done; /* atomic */
	uint8_t kinds[STATES];
	uint32_t lines[STATES];
};

struct shared {
	bool hold; /* objects, until they are let go of */
	struct pfs_store *store;
	bool end;
	uint64_t wrong, reads; /* atomic */
	const char *what;
	struct history histories[WRITERS][KEYS];
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

static void wrong(struct shared *shared, const char *what)
{
	__atomic_store_n(&shared->what, what, __ATOMIC_RELAXED);
	__atomic_fetch_add(&shared->wrong, 1, __ATOMIC_RELAXED);
}

static uint64_t id_of(unsigned writer, unsigned key)
{
	return writer * 1000 + key + 1;
}

static void fill(uint8_t *bytes, size_t lines, uint64_t id, uint32_t state)
{
	for (size_t i = 0; i < lines; i++) {
		pfs_put_le64(bytes + i * LINE, id);
		pfs_put_le32(bytes + i * LINE + 8, state);
		pfs_put_le32(bytes + i * LINE + 12, (uint32_t)lines);
	}
}

static bool is_uniform(const uint8_t *bytes, size_t len, uint64_t id)
{
	for (size_t i = LINE; i < len; i += LINE) {
		if (memcmp(bytes, bytes + i, LINE) != 0)
			return false;
	}
	return len >= LINE && len % LINE == 0 && pfs_get_le64(bytes) == id;
}

/* ---- writers ---- */

static uint32_t begin(struct history *h, enum kind kind, size_t lines)
{
	uint32_t state = __atomic_load_n(&h->begun, __ATOMIC_RELAXED) + 1;

	h->kinds[state] = (uint8_t)kind;
	h->lines[state] = (uint32_t)lines;
	__atomic_store_n(&h->begun, state, __ATOMIC_SEQ_CST);
	return state;
}

static void done(struct history *h, uint32_t state)
{
	__atomic_store_n(&h->done, state, __ATOMIC_SEQ_CST);
}

/* Without hold_objects the number is another's already. */
static void let_go(struct worker *w, uint32_t gone)
{
	if (gone && w->shared->hold)
		pfs_release(w->shared->store, gone);
}

static int put_whole(struct worker *w, struct history *h, unsigned k, uint8_t *bytes, unsigned how)
{
	struct pfs_key key = pfs_key_num(id_of(w->number, k)), scratch;
	size_t lines = k >= LARGE ? LARGE_LEN / LINE : 1 + roll(w, roll(w, 20) ? 60 : 9000);
	uint32_t state = begin(h, WHOLE, lines), gone = 0;
	char name[32];
	int err;

	fill(bytes, lines, id_of(w->number, k), state);
	snprintf(name, sizeof(name), "tmp.%u", w->number);
	if (how == 0) {
		err = pfs_key_parse(&scratch, name, strlen(name));
		if (!err)
			err = pfs_put(w->shared->store, &scratch, bytes, lines * LINE, NULL, 0,
				      NULL);
		if (!err)
			err = pfs_rename(w->shared->store, &scratch, &key, 0, &gone);
	} else {
		err = pfs_put(w->shared->store, &key, bytes, lines * LINE, NULL,
			      how == 1 ? PFS_PUT_NEW_OBJECT : 0, &gone);
	}
	done(h, state);
	let_go(w, gone);
	return err;
}

/* As a shell: emptied or made empty, then written. */
static int rewrite(struct worker *w, struct history *h, unsigned k, uint8_t *bytes)
{
	struct pfs_key key = pfs_key_num(id_of(w->number, k));
	struct pfs_attr attr = {.mode = 0644, .mtime_ns = 1};
	size_t lines = 1 + roll(w, 100);
	uint32_t state = begin(h, EMPTY, 0), object;
	int err = pfs_create(w->shared->store, &key, &attr, &object);

	if (err == -EEXIST)
		err = pfs_setattr(w->shared->store, object, PFS_ATTR_SIZE, &attr, NULL);
	done(h, state);
	if (err)
		return err;
	state = begin(h, WHOLE, lines);
	fill(bytes, lines, id_of(w->number, k), state);
	err = pfs_write(w->shared->store, object, 0, bytes, lines * LINE, 2);
	done(h, state);
	return err;
}

static int remove_one(struct worker *w, struct history *h, unsigned k)
{
	struct pfs_key key = pfs_key_num(id_of(w->number, k));
	uint32_t state = begin(h, ABSENT, 0), gone = 0;
	int err = pfs_remove(w->shared->store, &key, &gone);

	done(h, state);
	let_go(w, gone);
	return err == -ENOENT ? 0 : err;
}

/* A part of a large document; the rest keeps the state that it was written with. */
static int patch(struct worker *w, struct history *h, unsigned k, uint8_t *bytes)
{
	struct pfs_key key = pfs_key_num(id_of(w->number, k));
	uint32_t state, object;
	int err = pfs_lookup(w->shared->store, &key, &object, NULL);

	if (err)
		return err == -ENOENT ? put_whole(w, h, k, bytes, 2) : err;
	state = begin(h, WHOLE, LARGE_LEN / LINE);
	fill(bytes, LARGE_PART / LINE, id_of(w->number, k), state);
	err = pfs_write(w->shared->store, object, LARGE_PART, bytes, LARGE_PART, 3);
	done(h, state);
	return err;
}

static int change_one(struct worker *w, uint8_t *bytes)
{
	unsigned k = (unsigned)roll(w, KEYS);
	struct history *h = &w->shared->histories[w->number][k];

	if (k >= LARGE)
		return roll(w, 6) ? patch(w, h, k, bytes)
				  : put_whole(w, h, k, bytes, (unsigned)roll(w, 3));
	switch (roll(w, 8)) {
	case 0: return remove_one(w, h, k);
	case 1:
	case 2: return rewrite(w, h, k, bytes);
	default: return put_whole(w, h, k, bytes, (unsigned)roll(w, 3));
	}
}

static void *writer(void *arg)
{
	struct worker *w = arg;
	uint8_t *bytes = malloc(LARGE_LEN + LINE);

	for (unsigned i = 0; i < ROUNDS; i++) {
		if (change_one(w, bytes) != 0)
			wrong(w->shared, "a change failed");
		if (roll(w, 20) == 0 && pfs_sync(w->shared->store) != 0)
			wrong(w->shared, "a sync failed");
	}
	free(bytes);
	return NULL;
}

/* ---- readers ---- */

/* What was got must be a state in [low, high]. */
static bool is_current(const struct history *h, uint32_t low, uint32_t high, uint64_t id,
		       const uint8_t *bytes, size_t len, bool there)
{
	uint32_t state;

	if (there && len > 0) {
		if (!is_uniform(bytes, len, id))
			return false;
		state = pfs_get_le32(bytes + 8);
		return state >= low && state <= high && h->kinds[state] == WHOLE;
	}
	for (state = low; state <= high; state++)
		if (h->kinds[state] == (there ? EMPTY : ABSENT))
			return true;
	return false;
}

static void get_one(struct worker *w)
{
	unsigned n = (unsigned)roll(w, WRITERS), k = (unsigned)roll(w, KEYS);
	struct history *h = &w->shared->histories[n][k];
	struct pfs_key key = pfs_key_num(id_of(n, k));
	uint32_t low = __atomic_load_n(&h->done, __ATOMIC_SEQ_CST), high;
	void *data;
	size_t len;
	int err = pfs_get(w->shared->store, &key, &data, &len, NULL);

	high = __atomic_load_n(&h->begun, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&w->shared->reads, 1, __ATOMIC_RELAXED);
	if (err == -EAGAIN)
		return;
	if (err && err != -ENOENT)
		wrong(w->shared, "a get failed");
	else if (k >= LARGE && !err)
		/* Two parts, each of one state; that of the patches is the newest. */
		err = len == LARGE_LEN &&
				      is_current(h, low, high, id_of(n, k),
						 (uint8_t *)data + LARGE_PART, LARGE_PART, true) &&
				      is_uniform(data, LARGE_PART, id_of(n, k))
			      ? 0
			      : -EBADMSG;
	else if (!is_current(h, low, high, id_of(n, k), data, len, !err))
		err = -EBADMSG;
	if (err == -EBADMSG)
		wrong(w->shared, "not a state that was current");
	free(data);
}

/* By number, and attributes that belong to the bytes. */
static void read_large(struct worker *w)
{
	unsigned n = (unsigned)roll(w, WRITERS), k = LARGE + (unsigned)roll(w, KEYS - LARGE);
	struct history *h = &w->shared->histories[n][k];
	struct pfs_key key = pfs_key_num(id_of(n, k));
	uint8_t bytes[4 * 1024];
	struct pfs_attr attr;
	uint32_t high, object;
	ssize_t got;

	if (pfs_lookup(w->shared->store, &key, &object, &attr) != 0)
		return;
	if (attr.size != LARGE_LEN)
		wrong(w->shared, "a size that it never had");
	got = pfs_read(w->shared->store, object, LARGE_PART + roll(w, 15) * sizeof(bytes), bytes,
		       sizeof(bytes));
	high = __atomic_load_n(&h->begun, __ATOMIC_SEQ_CST);
	/* The number may have got another document meanwhile. */
	if (got == (ssize_t)sizeof(bytes) && pfs_get_le64(bytes) == id_of(n, k) &&
	    (!is_uniform(bytes, sizeof(bytes), id_of(n, k)) || pfs_get_le32(bytes + 8) > high))
		wrong(w->shared, "a read of no state");
}

/* The two that change places are always both there. */
static void read_exchanged(struct worker *w)
{
	for (uint64_t id = EXCHANGED; id < EXCHANGED + 2; id++) {
		struct pfs_key key = pfs_key_num(id);
		uint32_t object;

		if (pfs_lookup(w->shared->store, &key, &object, NULL) != 0)
			wrong(w->shared, "a name that is always there was not found");
	}
}

static void list_exchanged(struct worker *w)
{
	struct pfs_listed listed[16];
	unsigned seen[2] = {0};
	uint64_t after = 0;
	ssize_t n;

	while ((n = pfs_list(w->shared->store, after, listed, 16)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			if (listed[i].key.kind == PFS_KEY_NUM &&
			    (listed[i].key.num | 1) == (EXCHANGED | 1))
				seen[listed[i].key.num & 1]++;
		after = listed[n - 1].cookie;
	}
	if (seen[0] != 1 || seen[1] != 1)
		wrong(w->shared, "not listed, or twice");
}

/* Names that are there all the time are listed once each. */
static void list_all(struct worker *w)
{
	unsigned seen[WRITERS][KEYS] = {{0}}, exchanged[2] = {0};
	struct pfs_listed listed[16];
	uint64_t after = 0;
	ssize_t n;

	while ((n = pfs_list(w->shared->store, after, listed, 16)) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			uint64_t id = listed[i].key.num;

			if (listed[i].key.kind == PFS_KEY_NUM && (id - 1) / 1000 < WRITERS &&
			    (id - 1) % 1000 < KEYS)
				seen[(id - 1) / 1000][(id - 1) % 1000]++;
			if (listed[i].key.kind == PFS_KEY_NUM && (id | 1) == (EXCHANGED | 1))
				exchanged[id & 1]++;
		}
		after = listed[n - 1].cookie;
	}
	if (exchanged[0] != 1 || exchanged[1] != 1)
		wrong(w->shared, "exchanged, and not listed or twice");
	for (unsigned i = 0; i < WRITERS; i++) {
		for (unsigned k = LARGE; k < KEYS; k++)
			if (seen[i][k] != 1)
				wrong(w->shared, "not listed, or twice");
	}
}

static void *reader(void *arg)
{
	struct worker *w = arg;
	struct pfs_store_stat stat;

	while (!__atomic_load_n(&w->shared->end, __ATOMIC_ACQUIRE)) {
		for (unsigned i = 0; i < 20; i++)
			get_one(w);
		read_large(w);
		read_exchanged(w);
		list_all(w);
		if (pfs_store_stat(w->shared->store, &stat) != 0)
			wrong(w->shared, "no statistics");
	}
	return NULL;
}

/* ---- what the store does besides ---- */

static void no_finding(void *arg, const struct pfs_finding *finding)
{
	if (finding->fatal)
		wrong(arg, "the check found something");
}

static void *keeper(void *arg)
{
	struct worker *w = arg;
	struct pfs_check_result result;

	while (!__atomic_load_n(&w->shared->end, __ATOMIC_ACQUIRE)) {
		int err = 0;

		switch (roll(w, 8)) {
		case 0:
			err = pfs_store_check(w->shared->store, no_finding, NULL, w->shared, NULL,
					      &result);
			break;
		case 1:
		case 2: err = pfs_store_checkpoint(w->shared->store); break;
		case 3: err = pfs_store_compact_step(w->shared->store, true) < 0; break;
		default: err = pfs_sync(w->shared->store);
		}
		if (err)
			wrong(w->shared, "upkeep failed");
	}
	return NULL;
}

/* Puts that come in pieces, given up or brought to an end; they take the numbers that others let go
 * of. */
static void *putter(void *arg)
{
	struct worker *w = arg;
	struct pfs_key key = pfs_key_num(500), one = pfs_key_num(EXCHANGED),
		       other = pfs_key_num(EXCHANGED + 1);
	static uint8_t bytes[3000 * LINE];

	for (uint32_t i = 1; !__atomic_load_n(&w->shared->end, __ATOMIC_ACQUIRE); i++) {
		struct pfs_put *put;
		uint32_t gone = 0;
		void *data;
		size_t len;
		int err = pfs_rename(w->shared->store, &one, &other, PFS_RENAME_EXCHANGE, NULL);

		if (!err)
			err = pfs_put_begin(w->shared->store, &put);
		if (err) {
			wrong(w->shared, "an exchange or the beginning of a put failed");
			continue;
		}
		fill(bytes, 3000, 500, i);
		for (unsigned part = 0; part < 3 && !err; part++)
			err = pfs_put_write(put, bytes + part * sizeof(bytes) / 3,
					    sizeof(bytes) / 3);
		if (err || i % 4 == 0) {
			pfs_put_abort(put);
		} else {
			err = pfs_put_commit(put, &key, NULL, 0, &gone);
			let_go(w, gone);
			if (!err)
				err = pfs_get(w->shared->store, &key, &data, &len, NULL);
			if (!err && (len != sizeof(bytes) || memcmp(data, bytes, len) != 0))
				err = -EBADMSG;
			if (!err)
				free(data);
		}
		if (err)
			wrong(w->shared, "a put in pieces is not what was put");
	}
	return NULL;
}

/* ---- the test ---- */

static void compare(struct shared *shared)
{
	for (unsigned n = 0; n < WRITERS; n++) {
		for (unsigned k = 0; k < KEYS; k++) {
			struct history *h = &shared->histories[n][k];
			struct pfs_key key = pfs_key_num(id_of(n, k));
			void *data;
			size_t len;
			int err = pfs_get(shared->store, &key, &data, &len, NULL);
			const uint8_t *bytes = data;

			assert_true(err == 0 || err == -ENOENT);
			if (k >= LARGE && !err) {
				assert_int_equal(len, LARGE_LEN);
				bytes += LARGE_PART;
				len = LARGE_PART;
			}
			assert_true(is_current(h, h->done, h->done, id_of(n, k), bytes, len, !err));
			free(data);
		}
	}
}

static void one_opening(struct shared *shared, unsigned opening)
{
	void *(*const others[])(void *) = {keeper, putter};
	struct worker workers[WRITERS + READERS + 2];
	pthread_t threads[WRITERS + READERS + 2];

	shared->end = false;
	for (unsigned i = 0; i < WRITERS + READERS + 2; i++) {
		void *(*what)(void *) = i < WRITERS		? writer
					: i < WRITERS + READERS ? reader
								: others[i - WRITERS - READERS];

		workers[i] = (struct worker){shared, i, opening * 100 + i};
		assert_int_equal(pthread_create(&threads[i], NULL, what, &workers[i]), 0);
	}
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	__atomic_store_n(&shared->end, true, __ATOMIC_RELEASE);
	for (unsigned i = WRITERS; i < WRITERS + READERS + 2; i++)
		pthread_join(threads[i], NULL);
	if (shared->wrong)
		fail_msg("%llu times wrong, for example: %s", (unsigned long long)shared->wrong,
			 shared->what);
}

static void run(bool hold)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_create_options create = {
		.page_size = 64 * PFS_KIB, .min_value_size = 16, .io = pfs_sim_io(sim)};
	struct pfs_open_options options = {.io = pfs_sim_io(sim),
					   .commit_ms = 3,
					   .journal_max = 6 * PFS_MIB,
					   .hold_objects = hold};
	struct shared *shared = calloc(1, sizeof(*shared));
	uint8_t *bytes = malloc(LARGE_LEN);
	struct pfs_reason reason;

	shared->hold = hold;
	assert_int_equal(pfs_store_create("/s", &create, &reason), 0);
	for (unsigned opening = 0; opening < OPENINGS; opening++) {
		assert_int_equal(pfs_store_open(&shared->store, "/s", &options, &reason), 0);
		for (uint64_t id = EXCHANGED; id < EXCHANGED + 2; id++) {
			struct pfs_key key = pfs_key_num(id);

			assert_int_equal(pfs_put(shared->store, &key, "x", 1, NULL, 0, NULL), 0);
		}
		for (unsigned n = 0; n < WRITERS && opening == 0; n++) {
			for (unsigned k = LARGE; k < KEYS; k++) {
				struct worker w = {.shared = shared, .number = n};

				assert_int_equal(
					put_whole(&w, &shared->histories[n][k], k, bytes, 2), 0);
			}
		}
		compare(shared);
		one_opening(shared, opening);
		compare(shared);
		assert_int_equal(pfs_store_close(shared->store), 0);
	}
	print_message("%llu documents read beside %u changes\n", (unsigned long long)shared->reads,
		      OPENINGS * WRITERS * ROUNDS);
	free(bytes);
	free(shared);
	pfs_sim_free(sim);
}

/* Proves: whatever runs beside it, a reader sees a state that was current while it looked, whole;
 * names that stay are listed once; the last states are there at the end and after opening again. */
static void readers_see_current_states(void **state)
{
	(void)state;
	run(false);
	run(true);
}

#define MOVES 6000

/* Nothing but changes of names. */
static void *mover(void *arg)
{
	struct shared *shared = arg;
	struct pfs_key a = pfs_key_num(EXCHANGED), b = pfs_key_num(EXCHANGED + 1),
		       other = pfs_key_num(1);

	for (unsigned i = 0; i < MOVES; i++) {
		uint32_t gone = 0;
		int err = pfs_rename(shared->store, &a, &b, PFS_RENAME_EXCHANGE, NULL);

		if (!err)
			err = pfs_put(shared->store, &a, "new", 3, NULL, PFS_PUT_NEW_OBJECT, &gone);
		if (gone)
			pfs_release(shared->store, gone);
		if (!err)
			err = pfs_put(shared->store, &other, "over", 4, NULL, 0, NULL);
		if (!err)
			err = pfs_rename(shared->store, &other, &b, 0, &gone);
		if (gone)
			pfs_release(shared->store, gone);
		if (!err && i % 1000 == 0)
			err = pfs_store_checkpoint(shared->store);
		if (err)
			wrong(shared, "a move failed");
	}
	__atomic_store_n(&shared->end, true, __ATOMIC_RELEASE);
	return NULL;
}

/* Proves: a name that passes from one object to another is found, and listed once, at every moment.
 */
static void names_that_move_are_there(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_create_options create = {.io = pfs_sim_io(sim)};
	struct pfs_open_options options = {.io = pfs_sim_io(sim), .manual = true};
	struct shared *shared = calloc(1, sizeof(*shared));
	struct pfs_reason reason;

	(void)state;
	assert_int_equal(pfs_store_create("/s", &create, &reason), 0);
	for (int hold = 0; hold < 2; hold++) {
		struct worker w = {.shared = shared};
		pthread_t thread;

		options.hold_objects = hold;
		assert_int_equal(pfs_store_open(&shared->store, "/s", &options, &reason), 0);
		for (uint64_t id = EXCHANGED; id < EXCHANGED + 2; id++) {
			struct pfs_key key = pfs_key_num(id);

			assert_int_equal(pfs_put(shared->store, &key, "x", 1, NULL, 0, NULL), 0);
		}
		shared->end = false;
		assert_int_equal(pthread_create(&thread, NULL, mover, shared), 0);
		while (!__atomic_load_n(&shared->end, __ATOMIC_ACQUIRE)) {
			read_exchanged(&w);
			list_exchanged(&w);
		}
		pthread_join(thread, NULL);
		if (shared->wrong)
			fail_msg("%llu times wrong, for example: %s",
				 (unsigned long long)shared->wrong, shared->what);
		assert_int_equal(pfs_store_close(shared->store), 0);
	}
	free(shared);
	pfs_sim_free(sim);
}

/* Proves: tidying up after a rename drops nothing, and neither does a release of an object that has
 * a name; so one that comes late can't take a document away from whoever has its number by then. */
static void late_calls_drop_nothing(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_open_options options = {
		.io = pfs_sim_io(sim), .manual = true, .hold_objects = true};
	struct pfs_create_options create = {.io = pfs_sim_io(sim)};
	struct pfs_key a = pfs_key_num(1), b = pfs_key_num(2);
	uint32_t moved, gone, removed, again;
	struct pfs_reason reason;
	struct pfs_store *store;
	struct pfs_put *put;
	char text[8];

	(void)state;
	assert_int_equal(pfs_store_create("/s", &create, &reason), 0);
	assert_int_equal(pfs_store_open(&store, "/s", &options, &reason), 0);
	assert_int_equal(pfs_put(store, &a, "one", 3, NULL, 0, NULL), 0);
	assert_int_equal(pfs_put(store, &b, "two", 3, NULL, 0, NULL), 0);
	assert_int_equal(pfs_lookup(store, &a, &moved, NULL), 0);
	assert_int_equal(pfs_rename(store, &a, &b, 0, &gone), 0);
	pfs_release(store, gone);
	/* Somebody removes it before its moving is tidied up after. */
	assert_int_equal(pfs_remove(store, &b, &removed), 0);
	assert_int_equal(removed, moved);
	assert_int_equal(pfs_tidy(store, moved), -EALREADY);
	assert_int_equal(pfs_read(store, moved, 0, text, sizeof(text)), 3);
	assert_memory_equal(text, "one", 3);
	pfs_release(store, removed);
	assert_int_equal(pfs_read(store, moved, 0, text, sizeof(text)), -ENOENT);
	/* A put takes the number; what comes late meets it before and after it has a name. */
	assert_int_equal(pfs_put_begin(store, &put), 0);
	assert_int_equal(pfs_put_write(put, "three", 5), 0);
	for (uint32_t object = PFS_OBJECT_FIRST; object < 10; object++)
		(void)pfs_tidy(store, object);
	assert_int_equal(pfs_put_commit(put, &a, NULL, 0, NULL), 0);
	assert_int_equal(pfs_lookup(store, &a, &again, NULL), 0);
	pfs_release(store, again);
	assert_int_equal(pfs_lookup(store, &a, &again, NULL), 0);
	assert_int_equal(pfs_read(store, again, 0, text, sizeof(text)), 5);
	assert_memory_equal(text, "three", 5);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(late_calls_drop_nothing),
		cmocka_unit_test(names_that_move_are_there),
		cmocka_unit_test(readers_see_current_states),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
