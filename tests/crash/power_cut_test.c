/* Power cuts at every write and sync of short workloads. Each image that a cut could leave is
 * opened; every document must then be one that it was after some acknowledged operation, no older
 * than its last durable state (or the result of the operation in flight), the check must find
 * nothing, and the store must go on working. A part of the images is cut again while it is being
 * opened.
 *
 * A failure prints its workload and step; CRASH_SEED=N runs that workload alone, CRASH_WORKLOADS=N
 * and CRASH_IMAGES=N set the effort. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/store.h"
#include "tests/sim/sim.h"

#define KEYS 5
#define STATES_MAX 256
#define LEN_MAX (200 * 1024)

/* What a document was after an operation. */
struct state {
	bool there;
	bool held; /* not in the journal yet: a crash must not show it */
	uint32_t hash, mode;
	size_t len;
};

struct history {
	struct state states[STATES_MAX];
	size_t count;	/* acknowledged */
	size_t durable; /* the oldest that a power cut may show */
	unsigned ticks; /* since it was held */
	uint8_t *bytes; /* of the last state */
};

struct world {
	struct pfs_sim *sim;
	struct pfs_store *store;
	struct history docs[KEYS];
	/* The operation in flight may have happened: the next state of up to two documents. */
	struct state flight[2];
	int flight_key[2];
	bool flight_syncs; /* what is held becomes visible by it */
	uint64_t random, seed;
	unsigned images_a_step;
	uint64_t cuts, images, recut;
	/* Images of the operation in flight. They are looked at when it has returned: the step
	 * function is called inside of the store. */
	struct pfs_sim **queue;
	size_t queued, queue_cap;
};

static uint64_t roll(struct world *w, uint64_t n)
{
	w->random += UINT64_C(0x9e3779b97f4a7c15);
	return pfs_mix64(w->random) % n;
}

static struct pfs_key key_of(unsigned i)
{
	struct pfs_key key;

	if (i < 3)
		return pfs_key_num(i == 0 ? 0 : i == 1 ? 42 : UINT64_MAX);
	assert_int_equal(pfs_key_parse(&key,
				       i == 3 ? ".42.swp" : "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
				       i == 3 ? 7 : 36),
			 0);
	return key;
}

static uint32_t hash(const uint8_t *bytes, size_t len)
{
	uint64_t h = len;

	for (size_t i = 0; i < len; i++)
		h = (h ^ bytes[i]) * UINT64_C(0x100000001b3);
	return (uint32_t)(h ^ h >> 32);
}

static struct state *last(struct history *d)
{
	return &d->states[d->count - 1];
}

/* ---- looking at an image ---- */

static bool equals(const struct state *s, bool there, uint32_t h, size_t len, uint32_t mode)
{
	return s->there == there && (!there || (s->hash == h && s->len == len && s->mode == mode));
}

static bool allowed(const struct world *w, unsigned i, bool there, uint32_t h, size_t len,
		    uint32_t mode)
{
	const struct history *d = &w->docs[i];

	for (size_t k = d->durable; k < d->count; k++) {
		if ((!d->states[k].held || w->flight_syncs) &&
		    equals(&d->states[k], there, h, len, mode))
			return true;
	}
	for (unsigned f = 0; f < 2; f++) {
		if (w->flight_key[f] == (int)i && equals(&w->flight[f], there, h, len, mode))
			return true;
	}
	return false;
}

static struct pfs_store *open_image(struct pfs_sim *image, const struct world *w)
{
	struct pfs_open_options options = {.io = pfs_sim_io(image), .manual = true};
	struct pfs_store *store;
	struct pfs_reason reason;
	int err = pfs_store_open(&store, "/s", &options, &reason);

	if (err)
		fail_msg("workload %llu cut %llu: opening: %d %s", (unsigned long long)w->seed,
			 (unsigned long long)w->cuts, err, reason.text);
	return store;
}

static void print_finding(void *arg, const struct pfs_finding *finding)
{
	(void)arg;
	if (finding->fatal)
		print_message("  %s at %llu: %s\n", finding->where,
			      (unsigned long long)finding->offset, finding->text);
}

static void look(const struct world *w, struct pfs_sim *image, const char *what)
{
	struct pfs_store *store = open_image(image, w);
	struct pfs_check_result result;
	struct pfs_reason reason;
	struct pfs_key extra = pfs_key_num(77);

	for (unsigned i = 0; i < KEYS; i++) {
		struct pfs_key key = key_of(i);
		struct pfs_attr attr = {0};
		void *bytes = NULL;
		size_t len = 0;
		int err = pfs_get(store, &key, &bytes, &len, &attr);

		if (err && err != -ENOENT)
			fail_msg("workload %llu cut %llu (%s): document %u: error %d",
				 (unsigned long long)w->seed, (unsigned long long)w->cuts, what, i,
				 err);
		if (!allowed(w, i, !err, err ? 0 : hash(bytes, len), len, attr.mode))
			fail_msg("workload %llu cut %llu (%s): document %u is %s, %zu bytes, mode "
				 "%o: it never was, or too old",
				 (unsigned long long)w->seed, (unsigned long long)w->cuts, what, i,
				 err ? "missing" : "there", len, attr.mode);
		free(bytes);
	}
	assert_int_equal(pfs_put(store, &extra, "goes on", 7, NULL, 0, NULL), 0);
	assert_int_equal(pfs_store_close(store), 0);
	assert_int_equal(pfs_check("/s", pfs_sim_io(image), NULL, print_finding, NULL, NULL,
				   &result, &reason),
			 0);
	if (result.findings)
		fail_msg("workload %llu cut %llu (%s): the check finds %llu faults",
			 (unsigned long long)w->seed, (unsigned long long)w->cuts, what,
			 (unsigned long long)result.findings);
}

/* ---- cutting again while an image is being opened ---- */

struct second {
	struct world *w;
	struct pfs_sim *image;
	uint64_t at;
	uint64_t seed;
	struct pfs_sim *cut;
};

static int second_step(void *arg, const struct pfs_sim_step *step)
{
	struct second *s = arg;

	if (step->number == s->at)
		s->cut = pfs_sim_crash_seed(s->image, s->seed);
	return 0;
}

static void cut_while_opening(struct world *w, struct pfs_sim *image)
{
	struct second s = {
		.w = w, .image = image, .at = 1 + roll(w, 60), .seed = roll(w, UINT64_MAX)};
	struct pfs_store *store;

	pfs_sim_on_step(image, second_step, &s);
	store = open_image(image, w);
	pfs_sim_on_step(image, NULL, NULL);
	assert_int_equal(pfs_store_close(store), 0);
	if (!s.cut)
		return;
	w->recut++;
	look(w, s.cut, "cut again while opening");
	pfs_sim_free(s.cut);
}

static void enqueue(struct world *w, struct pfs_sim *image)
{
	if (w->queued == w->queue_cap) {
		w->queue_cap = w->queue_cap ? w->queue_cap * 2 : 16;
		w->queue = realloc(w->queue, w->queue_cap * sizeof(*w->queue));
		assert_non_null(w->queue);
	}
	w->queue[w->queued++] = image;
	w->images++;
}

static int cut(void *arg, const struct pfs_sim_step *step)
{
	struct world *w = arg;
	uint64_t n = pfs_sim_images(w->sim);

	(void)step;
	w->cuts++;
	/* Few choices are all tried in turn; of many, nothing kept is always among those tried. */
	for (unsigned i = 0; i < w->images_a_step && i < n; i++)
		enqueue(w, i == 0 || n <= w->images_a_step
				   ? pfs_sim_crash_index(w->sim, i)
				   : pfs_sim_crash_seed(w->sim, roll(w, UINT64_MAX)));
	return 0;
}

/* Looks at the images of the operation that has just returned, before the history says that it has.
 */
static void drain(struct world *w)
{
	while (w->queued) {
		struct pfs_sim *image = w->queue[--w->queued];

		if (roll(w, 4) == 0)
			cut_while_opening(w, image);
		else
			look(w, image, "cut");
		pfs_sim_free(image);
	}
}

/* ---- workloads ---- */

static void flight(struct world *w, unsigned f, unsigned key, bool there, const uint8_t *bytes,
		   size_t len, uint32_t mode)
{
	w->flight_key[f] = (int)key;
	w->flight[f] = (struct state){
		.there = there, .hash = there ? hash(bytes, len) : 0, .mode = mode, .len = len};
}

/* The operation has returned: what was in flight is what the documents are. */
static void landed(struct world *w, bool held)
{
	drain(w);
	for (unsigned f = 0; f < 2; f++) {
		struct history *d;

		if (w->flight_key[f] < 0)
			continue;
		d = &w->docs[w->flight_key[f]];
		assert_true(d->count < STATES_MAX);
		d->states[d->count] = w->flight[f];
		d->states[d->count].held = held;
		d->ticks = 0;
		d->count++;
		w->flight_key[f] = -1;
	}
}

static void replace_bytes(struct history *d, uint8_t *bytes)
{
	free(d->bytes);
	d->bytes = bytes;
}

static uint8_t *random_bytes(struct world *w, size_t len)
{
	uint8_t *bytes = malloc(len + 1);
	bool plain = roll(w, 2);

	assert_non_null(bytes);
	for (size_t i = 0; i < len; i++)
		bytes[i] = plain ? (uint8_t) "{\"price\":"[i % 9] : (uint8_t)roll(w, 256);
	if (len)
		bytes[roll(w, len)] = (uint8_t)roll(w, 256);
	return bytes;
}

static size_t random_len(struct world *w)
{
	return roll(w, 8) == 0 ? roll(w, LEN_MAX) : roll(w, 3) == 0 ? roll(w, 9000) : roll(w, 400);
}

static void do_put(struct world *w, unsigned i)
{
	struct pfs_key key = key_of(i);
	struct pfs_attr attr = {.mode = 0600, .mtime_ns = 1};
	size_t len = random_len(w);
	uint8_t *bytes = random_bytes(w, len);

	flight(w, 0, i, true, bytes, len, 0600);
	assert_int_equal(pfs_put(w->store, &key, bytes, len, &attr,
				 roll(w, 2) ? PFS_PUT_NEW_OBJECT : 0, NULL),
			 0);
	landed(w, false);
	replace_bytes(&w->docs[i], bytes);
}

/* Truncate to zero, then write, as a shell's redirection does. */
static void do_rewrite(struct world *w, unsigned i, uint32_t object)
{
	struct history *d = &w->docs[i];
	struct pfs_attr attr = {0};
	size_t len = random_len(w) + 1;
	uint8_t *bytes = random_bytes(w, len);
	bool held = last(d)->len > 0 || last(d)->held;

	flight(w, 0, i, true, NULL, 0, last(d)->mode);
	if (held)
		w->flight_key[0] = -1; /* a crash does not show it */
	assert_int_equal(pfs_setattr(w->store, object, PFS_ATTR_SIZE, &attr, NULL), 0);
	if (held && !last(d)->held)
		flight(w, 0, i, true, NULL, 0, last(d)->mode);
	landed(w, held);
	flight(w, 0, i, true, bytes, len, last(d)->mode);
	assert_int_equal(pfs_write(w->store, object, 0, bytes, len, 2), 0);
	landed(w, false);
	replace_bytes(d, bytes);
}

static void do_patch(struct world *w, unsigned i, uint32_t object)
{
	struct history *d = &w->docs[i];
	size_t old = last(d)->len, off = roll(w, old + 1), len = random_len(w) + 1;
	size_t size = off + len > old ? off + len : old;
	uint8_t *part = random_bytes(w, len), *bytes = calloc(1, size + 1);

	memcpy(bytes, d->bytes, old);
	memcpy(bytes + off, part, len);
	flight(w, 0, i, true, bytes, size, last(d)->mode);
	assert_int_equal(pfs_write(w->store, object, off, part, len, 3), 0);
	landed(w, false);
	replace_bytes(d, bytes);
	free(part);
}

static void do_resize(struct world *w, unsigned i, uint32_t object)
{
	struct history *d = &w->docs[i];
	struct pfs_attr attr = {.size = 1 + roll(w, roll(w, 3) ? last(d)->len + 10 : LEN_MAX)};
	uint8_t *bytes = calloc(1, attr.size + 1);

	memcpy(bytes, d->bytes, pfs_min_u64(attr.size, last(d)->len));
	flight(w, 0, i, true, bytes, attr.size, last(d)->mode);
	/* What is held is logged first: between the two records a cut shows it. */
	if (last(d)->held)
		last(d)->held = false;
	assert_int_equal(pfs_setattr(w->store, object, PFS_ATTR_SIZE, &attr, NULL), 0);
	landed(w, false);
	replace_bytes(d, bytes);
}

static void do_mode(struct world *w, unsigned i, uint32_t object)
{
	struct history *d = &w->docs[i];
	struct pfs_attr attr = {.mode = 0400 | (uint32_t)roll(w, 8)};

	w->flight[0] = *last(d);
	w->flight[0].mode = attr.mode;
	w->flight_key[0] = (int)i;
	last(d)->held = false;
	assert_int_equal(pfs_setattr(w->store, object, PFS_ATTR_MODE, &attr, NULL), 0);
	landed(w, false);
}

static void do_remove(struct world *w, unsigned i)
{
	struct pfs_key key = key_of(i);

	flight(w, 0, i, false, NULL, 0, 0);
	assert_int_equal(pfs_remove(w->store, &key, NULL), 0);
	landed(w, false);
	replace_bytes(&w->docs[i], calloc(1, 1));
}

static void do_rename(struct world *w, unsigned i, unsigned j)
{
	struct pfs_key from = key_of(i), to = key_of(j);
	struct history *a = &w->docs[i], *b = &w->docs[j];
	bool exchange = last(b)->there && roll(w, 2);
	uint8_t *bytes = a->bytes;

	if (i == j)
		return;
	w->flight[0] = exchange ? *last(b) : (struct state){0};
	w->flight[1] = *last(a);
	w->flight_key[0] = (int)i;
	w->flight_key[1] = (int)j;
	last(a)->held = false;
	if (exchange)
		last(b)->held = false;
	assert_int_equal(pfs_rename(w->store, &from, &to, exchange ? PFS_RENAME_EXCHANGE : 0, NULL),
			 0);
	landed(w, false);
	if (exchange) {
		a->bytes = b->bytes;
		b->bytes = bytes;
	} else {
		replace_bytes(b, bytes);
		a->bytes = calloc(1, 1);
	}
}

static void do_create(struct world *w, unsigned i)
{
	struct pfs_key key = key_of(i);
	struct pfs_attr attr = {.mode = 0640, .mtime_ns = 4};
	uint32_t object;

	assert_int_equal(pfs_create(w->store, &key, &attr, &object, NULL), 0);
	flight(w, 0, i, true, NULL, 0, 0640);
	landed(w, true);
}

static void do_sync(struct world *w)
{
	w->flight_syncs = true;
	assert_int_equal(pfs_sync(w->store), 0);
	drain(w);
	w->flight_syncs = false;
	for (unsigned i = 0; i < KEYS; i++) {
		last(&w->docs[i])->held = false;
		w->docs[i].durable = w->docs[i].count - 1;
	}
}

static void do_tick(struct world *w)
{
	w->flight_syncs = true;
	assert_int_equal(pfs_store_tick(w->store), 0);
	drain(w);
	w->flight_syncs = false;
	for (unsigned i = 0; i < KEYS; i++) {
		struct history *d = &w->docs[i];
		size_t k = d->count;

		if (last(d)->held && ++d->ticks >= PFS_HOLD_TICKS)
			last(d)->held = false;
		while (k > 1 && d->states[k - 1].held)
			k--;
		d->durable = k - 1;
	}
}

/* A checkpoint makes the journal durable before it touches a page. */
static void do_checkpoint(struct world *w)
{
	assert_int_equal(pfs_store_checkpoint(w->store), 0);
	drain(w);
	for (unsigned i = 0; i < KEYS; i++) {
		struct history *d = &w->docs[i];
		size_t k = d->count;

		while (k > 1 && d->states[k - 1].held)
			k--;
		d->durable = k - 1;
	}
}

/* Steps of compaction move documents that are the same afterwards; their checkpoints make durable
 * what was logged. */
static void do_compact(struct world *w)
{
	for (uint64_t steps = 1 + roll(w, 4); steps; steps--) {
		int more = pfs_store_compact_step(w->store, true);

		assert_in_range(more, 0, 1);
		drain(w);
	}
}

static void do_something(struct world *w)
{
	unsigned i = (unsigned)roll(w, KEYS), op = (unsigned)roll(w, 24);
	struct pfs_key key = key_of(i);
	uint32_t object = 0;

	if (op < 2) {
		do_sync(w);
	} else if (op < 4) {
		do_tick(w);
	} else if (op < 7) {
		do_checkpoint(w);
	} else if (op >= 20) {
		do_compact(w);
	} else if (!last(&w->docs[i])->there) {
		if (roll(w, 3))
			do_put(w, i);
		else
			do_create(w, i);
	} else {
		assert_int_equal(pfs_lookup(w->store, &key, &object, NULL), 0);
		if (op < 9)
			do_put(w, i);
		else if (op < 11)
			do_rewrite(w, i, object);
		else if (op < 13)
			do_patch(w, i, object);
		else if (op < 15)
			do_resize(w, i, object);
		else if (op < 16)
			do_mode(w, i, object);
		else if (op < 18)
			do_rename(w, i, (unsigned)roll(w, KEYS));
		else
			do_remove(w, i);
	}
}

static void workload(struct world *w, uint64_t seed, unsigned ops)
{
	struct pfs_create_options create = {.page_size = PFS_PAGE_SIZE_MIN,
					    .min_value_size = seed % 2 ? 16 : 128};
	struct pfs_open_options options = {.manual = true};
	struct pfs_reason reason;

	w->seed = w->random = seed;
	w->flight_key[0] = w->flight_key[1] = -1;
	w->sim = pfs_sim_new();
	assert_non_null(w->sim);
	create.io = options.io = pfs_sim_io(w->sim);
	assert_int_equal(pfs_store_create("/s", &create, &reason), 0);
	for (unsigned i = 0; i < KEYS; i++)
		w->docs[i] = (struct history){.count = 1, .bytes = calloc(1, 1)};
	pfs_sim_on_step(w->sim, cut, w);
	assert_int_equal(pfs_store_open(&w->store, "/s", &options, &reason), 0);
	drain(w);
	for (unsigned i = 0; i < ops; i++)
		do_something(w);
	w->flight_syncs = true;
	assert_int_equal(pfs_store_close(w->store), 0);
	drain(w);
	w->flight_syncs = false;
	pfs_sim_on_step(w->sim, NULL, NULL);
	for (unsigned i = 0; i < KEYS; i++) {
		last(&w->docs[i])->held = false;
		w->docs[i].durable = w->docs[i].count - 1;
	}
	look(w, w->sim, "after a clean close");
	pfs_sim_free(w->sim);
	for (unsigned i = 0; i < KEYS; i++)
		free(w->docs[i].bytes);
	free(w->queue);
	w->queue = NULL;
	w->queue_cap = 0;
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
	const char *value = getenv(name);

	return value ? strtoull(value, NULL, 10) : otherwise;
}

/* Proves G2, G3 and G4 against power cuts: nothing durable is lost, nothing is mixed, no image
 * needs a repair. */
static void every_cut_leaves_whole_documents(void **state)
{
	struct world w = {.images_a_step = (unsigned)setting("CRASH_IMAGES", 2)};
	uint64_t workloads = setting("CRASH_WORKLOADS", 12),
		 only = setting("CRASH_SEED", UINT64_MAX);

	(void)state;
	for (uint64_t seed = 1; seed <= workloads; seed++) {
		if (only == UINT64_MAX || only == seed)
			workload(&w, seed, 14);
	}
	if (only != UINT64_MAX && only > workloads)
		workload(&w, only, 14);
	print_message("%llu cuts, %llu images, %llu of them cut again while opening\n",
		      (unsigned long long)w.cuts, (unsigned long long)w.images,
		      (unsigned long long)w.recut);
	assert_true(w.images > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_cut_leaves_whole_documents)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
