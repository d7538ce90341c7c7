/* storage/index.c: object numbers, the hash, cookies of listings (I1 to I3), readers beside a
 * writer. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/epoch.h"
#include "storage/index.h"

static struct pfs_index *new_index(void)
{
	struct pfs_index *index;

	assert_int_equal(pfs_index_new(&index), 0);
	return index;
}

static uint32_t new_object(struct pfs_index *index, uint64_t word)
{
	uint32_t object;

	assert_int_equal(pfs_index_alloc(index, &object), 0);
	assert_int_equal(pfs_index_word(index, object), 0);
	pfs_index_set_word(index, object, word);
	return object;
}

/* Candidates that had another hash than what was looked for. */
static unsigned looks_in_vain;

/* How often the object is among the candidates of a hash. */
static unsigned count_candidates(struct pfs_index *index, uint32_t hash, uint32_t object)
{
	struct pfs_probe probe;
	unsigned count = 0;
	uint32_t candidate;

	pfs_epoch_enter();
	pfs_probe_begin(&probe, index, hash);
	while ((candidate = pfs_probe_next(&probe)) != PFS_OBJECT_NONE) {
		looks_in_vain += pfs_index_stored_hash(index, candidate) != hash;
		count += candidate == object;
	}
	assert_int_equal(pfs_probe_next(&probe), PFS_OBJECT_NONE);
	pfs_epoch_leave();
	return count;
}

static void collect(struct pfs_index *index)
{
	void *detached = pfs_index_detach(index);

	pfs_epoch_wait();
	pfs_index_reclaim(detached);
}

/* ---- words and numbers ---- */

/* Proves: a word keeps what it says: places up to the largest page and slot, and pointers; 0 is
 * neither. */
static void words_keep_what_they_say(void **state)
{
	static const uint32_t numbers[] = {0, 1, 255, 65536, 0xffffff};
	void *block = malloc(64);
	uint64_t word = pfs_word_version(block);

	(void)state;
	for (size_t p = 0; p < pfs_array_len(numbers); p++) {
		for (size_t s = 0; s < pfs_array_len(numbers); s++) {
			uint64_t place = pfs_word_page(numbers[p], numbers[s]);

			assert_true(pfs_word_is_page(place) && !pfs_word_is_version(place));
			assert_int_equal(pfs_word_page_number(place), numbers[p]);
			assert_int_equal(pfs_word_slot(place), numbers[s]);
		}
	}
	assert_true(pfs_word_is_version(word) && !pfs_word_is_page(word));
	assert_ptr_equal(pfs_word_to_version(word), block);
	assert_false(pfs_word_is_page(0) || pfs_word_is_version(0));
	free(block);
}

/* Proves: numbers begin at 2, are given once until released, and then rest: the one that was
 * released longest ago comes back first. */
static void numbers_are_given_once_and_rest(void **state)
{
	struct pfs_index *index = new_index();
	uint32_t objects[3000];

	(void)state;
	for (uint32_t i = 0; i < 3000; i++) {
		objects[i] = new_object(index, pfs_word_page(1, i));
		assert_int_equal(objects[i], i + 2);
		assert_int_equal(pfs_index_end(index), i + 3);
	}
	for (uint32_t i = 0; i < 3000; i += 2)
		pfs_index_release(index, objects[i]);
	for (uint32_t i = 0; i < 3000; i += 2) {
		assert_int_equal(pfs_index_word(index, objects[i]), 0);
		assert_int_equal(new_object(index, pfs_word_page(1, i)), objects[i]);
	}
	for (uint32_t i = 0; i < 3000; i++)
		assert_int_equal(pfs_index_word(index, objects[i]), pfs_word_page(1, i));
	assert_int_equal(new_object(index, 1), 3002);
	assert_int_equal(pfs_index_word(index, 100000000), 0); /* never given */
	pfs_index_free(index);
}

/* ---- hash ---- */

/* Proves: over growth from the smallest table to many times that, every object is found exactly
 * once under its hash (I1), also with few hashes that all collide; after removal it is not found,
 * the others are. */
static void objects_are_found_once(void **state)
{
	enum { COUNT = 20000 };

	(void)state;
	for (unsigned spread = 0; spread < 3; spread++) {
		struct pfs_index *index = new_index();
		uint32_t *objects = malloc(COUNT * sizeof(*objects)),
			 *hashes = malloc(COUNT * sizeof(*hashes));
		unsigned count = spread == 0 ? COUNT : 1500;

		for (uint32_t i = 0; i < count; i++) {
			hashes[i] = spread == 0	  ? pfs_index_hash(PFS_KEY_NUM, i)
				    : spread == 1 ? UINT32_MAX - i % 3 /* runs that wrap around */
						  : i << 12;
			objects[i] = new_object(index, pfs_word_page(1, i));
			assert_int_equal(pfs_index_insert(index, objects[i], hashes[i]), 0);
		}
		collect(index);
		for (uint32_t i = 0; i < count; i++) {
			assert_int_equal(count_candidates(index, hashes[i], objects[i]), 1);
			assert_int_equal(pfs_index_stored_hash(index, objects[i]), hashes[i]);
		}
		for (uint32_t i = 0; i < count; i += 3)
			pfs_index_remove(index, objects[i], hashes[i]);
		for (uint32_t i = 0; i < count; i++)
			assert_int_equal(count_candidates(index, hashes[i], objects[i]),
					 i % 3 != 0);
		free(objects);
		free(hashes);
		pfs_index_free(index);
	}
}

/* Proves: a search is led to hardly any object that has another hash, however many share its way;
 * each would be a look at a page for nothing. */
static void others_are_told_apart(void **state)
{
	enum { COUNT = 50000 };
	struct pfs_index *index = new_index();

	(void)state;
	for (uint32_t i = 0; i < COUNT; i++)
		assert_int_equal(pfs_index_insert(index, new_object(index, pfs_word_page(1, i)),
						  pfs_index_hash(PFS_KEY_NUM, i)),
				 0);
	looks_in_vain = 0;
	for (uint32_t i = 0; i < 2 * COUNT; i++)
		count_candidates(index, pfs_index_hash(PFS_KEY_NUM, i), PFS_OBJECT_NONE);
	assert_true(looks_in_vain < COUNT / 100);
	pfs_index_free(index);
}

/* Proves: few objects are found among numbers that have become large, and reserving makes room for
 * large numbers, too. */
static void large_numbers_are_found(void **state)
{
	enum { END = 40000, KEPT = 97 };
	struct pfs_index *index = new_index();
	uint32_t objects[END / KEPT + 1];

	(void)state;
	for (uint32_t i = 0; i < END; i++) {
		uint32_t object;

		assert_int_equal(pfs_index_reserve(index, 1), 0);
		collect(index);
		object = new_object(index, pfs_word_page(1, i));
		if (i % KEPT)
			continue;
		objects[i / KEPT] = object;
		assert_int_equal(pfs_index_insert(index, object, ~i * 2654435761u), 0);
		assert_null(pfs_index_detach(index));
	}
	for (uint32_t i = 0; i < END; i += KEPT)
		assert_int_equal(count_candidates(index, ~i * 2654435761u, objects[i / KEPT]), 1);
	pfs_index_free(index);
}

/* Proves: what was removed leaves room: inserting and removing for ever neither grows the table
 * without bound nor ends a search early. */
static void removed_buckets_are_used_again(void **state)
{
	struct pfs_index *index = new_index();
	uint32_t stays = new_object(index, 1), comes = new_object(index, 1);
	uint64_t bytes;

	(void)state;
	assert_int_equal(pfs_index_insert(index, stays, 12345), 0);
	for (uint32_t i = 0; i < 10000; i++) {
		assert_int_equal(pfs_index_insert(index, comes, i * 2654435761u), 0);
		pfs_index_remove(index, comes, i * 2654435761u);
	}
	collect(index);
	bytes = pfs_index_bytes(index);
	for (uint32_t i = 0; i < 200000; i++) {
		assert_int_equal(pfs_index_insert(index, comes, i * 2654435761u), 0);
		pfs_index_remove(index, comes, i * 2654435761u);
		if (i % 1000 == 0)
			collect(index);
	}
	assert_true(pfs_index_bytes(index) <= bytes);
	assert_int_equal(count_candidates(index, 12345, stays), 1);
	assert_int_equal(count_candidates(index, 12345, comes), 0);
	pfs_index_free(index);
}

/* Proves: removing under a hash that the object does not have removes nothing; replacing gives the
 * bucket to the other object. */
static void replace_and_remove_are_exact(void **state)
{
	struct pfs_index *index = new_index();
	uint32_t a = new_object(index, 1), b = new_object(index, 1), c = new_object(index, 1);

	(void)state;
	assert_int_equal(pfs_index_insert(index, a, 7), 0);
	assert_int_equal(pfs_index_insert(index, b, 7), 0);
	pfs_index_remove(index, c, 7);
	pfs_index_remove(index, a, UINT32_C(3) << 30);
	assert_int_equal(count_candidates(index, 7, a), 1);
	pfs_index_replace(index, a, c, 7);
	assert_int_equal(count_candidates(index, 7, a), 0);
	assert_int_equal(count_candidates(index, 7, b), 1);
	assert_int_equal(count_candidates(index, 7, c), 1);
	assert_int_equal(pfs_index_stored_hash(index, c), 7);
	pfs_index_free(index);
}

/* Proves: after a reservation so many insertions do not replace the table. */
static void reserved_insertions_need_no_memory(void **state)
{
	struct pfs_index *index = new_index();

	(void)state;
	for (unsigned round = 0; round < 4; round++) {
		assert_int_equal(pfs_index_reserve(index, 5000), 0);
		collect(index);
		for (uint32_t i = 0; i < 5000; i++)
			assert_int_equal(pfs_index_insert(index, new_object(index, 1), i * 77777),
					 0);
		assert_null(pfs_index_detach(index));
	}
	pfs_index_free(index);
}

/* ---- cookies ---- */

/* Names, each of which stands at a place in the listing; what the store does with them. */
struct names {
	struct pfs_index *index;
	uint32_t object[64];	/* of each name, 0: the name is free */
	uint32_t place[64];	/* where it must be listed */
	uint32_t orphans[4096]; /* without a name, still held */
	size_t orphan_count;
	bool hold;
	uint64_t random;
};

static uint64_t roll(struct names *n, uint64_t limit)
{
	n->random += UINT64_C(0x9e3779b97f4a7c15);
	return pfs_mix64(n->random) % limit;
}

static void lose(struct names *n, uint32_t object)
{
	if (n->hold && n->orphan_count < pfs_array_len(n->orphans))
		n->orphans[n->orphan_count++] = object; /* it has a word, under a temporary name */
	else
		pfs_index_release(n->index, object);
}

static void renumber(struct names *n, unsigned name)
{
	uint32_t number = pfs_index_renumber(n->index, n->object[name]);

	if (number) {
		assert_int_equal(number, n->place[name]);
		n->object[name] = number;
	}
}

static void name_create(struct names *n, unsigned name)
{
	if (n->object[name])
		return;
	n->object[name] = new_object(n->index, pfs_word_page(1, name));
	assert_int_equal(pfs_index_insert(n->index, n->object[name], name), 0);
	n->place[name] = n->object[name];
}

static void name_remove(struct names *n, unsigned name)
{
	if (!n->object[name])
		return;
	pfs_index_remove(n->index, n->object[name], name);
	lose(n, n->object[name]);
	n->object[name] = 0;
}

static void name_move(struct names *n, unsigned from, unsigned to)
{
	uint32_t a = n->object[from], b = n->object[to];

	if (!a || from == to)
		return;
	assert_int_equal(pfs_index_reserve(n->index, 2), 0);
	assert_int_equal(pfs_index_reserve_cookies(n->index), 0);
	pfs_index_remove(n->index, a, from);
	if (!b) {
		assert_int_equal(pfs_index_insert(n->index, a, to), 0);
		n->place[to] = n->place[from];
	} else {
		pfs_index_replace(n->index, b, a, to);
		assert_int_equal(pfs_index_vacate(n->index, n->place[from]), 0);
		assert_int_equal(pfs_index_set_cookie(n->index, a, n->place[to]), 0);
	}
	n->object[to] = a;
	n->object[from] = 0;
	if (b)
		lose(n, b);
	if (!n->hold)
		renumber(n, to);
}

static void name_exchange(struct names *n, unsigned one, unsigned two)
{
	uint32_t a = n->object[one], b = n->object[two];

	if (!a || !b || one == two)
		return;
	assert_int_equal(pfs_index_reserve_cookies(n->index), 0);
	pfs_index_remove(n->index, a, one);
	pfs_index_remove(n->index, b, two);
	assert_int_equal(pfs_index_insert(n->index, a, two), 0);
	assert_int_equal(pfs_index_insert(n->index, b, one), 0);
	assert_int_equal(pfs_index_set_cookie(n->index, a, n->place[two]), 0);
	assert_int_equal(pfs_index_set_cookie(n->index, b, n->place[one]), 0);
	n->object[one] = b;
	n->object[two] = a;
}

/* Every name is listed exactly once, at its place; nothing else is listed but orphans (which have
 * no name, and listings leave out). */
static void expect_listed_once(struct names *n)
{
	uint32_t end = pfs_index_end(n->index);
	unsigned *seen = calloc(end, sizeof(*seen));
	uint64_t words = 0;

	for (uint32_t place = 2; place < end; place++) {
		uint32_t object = pfs_index_at_cookie(n->index, place);

		if (object && pfs_index_word(n->index, object) != 0)
			seen[object]++;
	}
	for (uint32_t object = 2; object < end; object++)
		words += pfs_index_word(n->index, object) != 0;
	for (unsigned name = 0; name < pfs_array_len(n->object); name++) {
		uint32_t object = n->object[name];

		if (!object)
			continue;
		words--;
		assert_int_equal(seen[object], 1);
		assert_int_equal(pfs_index_cookie(n->index, object), n->place[name]);
		assert_int_equal(pfs_index_at_cookie(n->index, n->place[name]), object);
		assert_int_equal(count_candidates(n->index, name, object), 1);
	}
	assert_int_equal(words, n->orphan_count);
	for (size_t i = 0; i < n->orphan_count; i++)
		assert_true(seen[n->orphans[i]] <= 1);
	free(seen);
}

static void change_names(struct names *n)
{
	unsigned a = (unsigned)roll(n, pfs_array_len(n->object)),
		 b = (unsigned)roll(n, pfs_array_len(n->object));

	switch (roll(n, 8)) {
	case 0:
	case 1: name_create(n, a); break;
	case 2: name_remove(n, a); break;
	case 3:
	case 4: name_move(n, a, b); break;
	case 5: name_exchange(n, a, b); break;
	case 6:
		if (n->orphan_count) {
			size_t i = roll(n, n->orphan_count);

			pfs_index_release(n->index, n->orphans[i]);
			n->orphans[i] = n->orphans[--n->orphan_count];
		}
		break;
	default:
		if (n->object[a])
			renumber(n, a);
	}
}

/* Proves: through any creations, removals, renames over others, exchanges, releases and
 * renumberings each name keeps its place in the listing, is listed exactly once (I2), and no number
 * is given while it is in use (I3); and when all is gone, no number is lost. */
static void cookies_stay_with_names(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < 8; seed++) {
		struct names n = {.index = new_index(), .hold = seed % 2, .random = seed};
		uint32_t end;

		for (unsigned step = 0; step < 6000; step++) {
			change_names(&n);
			if (step % 10)
				continue;
			expect_listed_once(&n);
			if (step % 100 == 0)
				collect(n.index);
		}
		for (unsigned name = 0; name < pfs_array_len(n.object); name++)
			name_remove(&n, name);
		while (n.orphan_count)
			pfs_index_release(n.index, n.orphans[--n.orphan_count]);
		end = pfs_index_end(n.index);
		for (uint32_t i = 2; i < end; i++)
			(void)new_object(n.index, 1);
		assert_int_equal(pfs_index_end(n.index), end);
		pfs_index_free(n.index);
	}
}

/* Proves: rewriting a document by temporary file and rename, for ever, with numbers held until
 * released, uses a bounded number of them. */
static void renames_do_not_use_up_numbers(void **state)
{
	struct names n = {.index = new_index(), .hold = true};

	(void)state;
	name_create(&n, 0);
	for (unsigned i = 0; i < 10000; i++) {
		name_create(&n, 1);
		name_move(&n, 1, 0);
		while (n.orphan_count)
			pfs_index_release(n.index, n.orphans[--n.orphan_count]);
	}
	expect_listed_once(&n);
	assert_true(pfs_index_end(n.index) < 10);
	pfs_index_free(n.index);
}

/* ---- readers beside a writer ---- */

#define FIXED 500

struct race {
	struct pfs_index *index;
	uint32_t fixed[FIXED];
	bool stop;
	unsigned missed;
};

/* Objects that are there all the time must always be found, with their word. */
static void *reader(void *arg)
{
	struct race *race = arg;
	uint32_t i = 0;

	while (!__atomic_load_n(&race->stop, __ATOMIC_ACQUIRE)) {
		struct pfs_probe probe;
		uint32_t object;
		bool found = false;

		i = (i + 1) % FIXED;
		pfs_epoch_enter();
		pfs_probe_begin(&probe, race->index, pfs_index_hash(PFS_KEY_NUM, i));
		while ((object = pfs_probe_next(&probe)) != PFS_OBJECT_NONE)
			found = found ||
				(object == race->fixed[i] &&
				 pfs_index_word(race->index, object) == pfs_word_page(7, i));
		pfs_epoch_leave();
		if (!found || pfs_index_at_cookie(race->index, race->fixed[i]) != race->fixed[i])
			__atomic_fetch_add(&race->missed, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Proves: while the table grows again and again, and others come and go, readers find what is there
 * (ThreadSanitizer watches). */
static void readers_find_while_the_table_grows(void **state)
{
	struct race race = {.index = new_index()};
	pthread_t threads[3];

	(void)state;
	for (uint32_t i = 0; i < FIXED; i++) {
		race.fixed[i] = new_object(race.index, pfs_word_page(7, i));
		assert_int_equal(
			pfs_index_insert(race.index, race.fixed[i], pfs_index_hash(PFS_KEY_NUM, i)),
			0);
	}
	for (size_t t = 0; t < pfs_array_len(threads); t++)
		assert_int_equal(pthread_create(&threads[t], NULL, reader, &race), 0);
	for (unsigned round = 0; round < 3; round++) {
		enum { COUNT = 8000 };
		uint32_t *others = malloc(COUNT * sizeof(*others));

		for (uint32_t i = 0; i < COUNT; i++) {
			others[i] = new_object(race.index, 1);
			assert_int_equal(pfs_index_insert(race.index, others[i], i * 2654435761u),
					 0);
			if (i % 512 == 0)
				collect(race.index);
		}
		for (uint32_t i = 0; i < COUNT; i++) {
			pfs_index_remove(race.index, others[i], i * 2654435761u);
			pfs_index_release(race.index, others[i]);
		}
		free(others);
	}
	__atomic_store_n(&race.stop, true, __ATOMIC_RELEASE);
	for (size_t t = 0; t < pfs_array_len(threads); t++)
		pthread_join(threads[t], NULL);
	assert_int_equal(race.missed, 0);
	pfs_index_free(race.index);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_keep_what_they_say),
		cmocka_unit_test(numbers_are_given_once_and_rest),
		cmocka_unit_test(objects_are_found_once),
		cmocka_unit_test(others_are_told_apart),
		cmocka_unit_test(large_numbers_are_found),
		cmocka_unit_test(removed_buckets_are_used_again),
		cmocka_unit_test(replace_and_remove_are_exact),
		cmocka_unit_test(reserved_insertions_need_no_memory),
		cmocka_unit_test(cookies_stay_with_names),
		cmocka_unit_test(renames_do_not_use_up_numbers),
		cmocka_unit_test(readers_find_while_the_table_grows),
	};

	return cmocka_run_group_tests_name("index", tests, NULL, NULL);
}
