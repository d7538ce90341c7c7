/* storage/index.c against simple models: numbers in a queue, names in a list, places of listings in
 * arrays; and the memory that it says it takes, to the byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/epoch.h"
#include "tests/unit/fenced.h"

#include "storage/index.c"
#include "storage/index_runs.c"

#define FIRST 2u
#define CHUNK_OBJECTS 65536u
#define CHUNK_BYTES (CHUNK_OBJECTS * UINT64_C(12)) /* a word and a hash each */
#define BUCKETS_MIN 1024u

static uint64_t random_state;

static uint32_t roll(uint32_t limit)
{
	random_state += UINT64_C(0x9e3779b97f4a7c15);
	return (uint32_t)(pfs_mix64(random_state) % limit);
}

static struct pfs_index *new_index(void)
{
	struct pfs_index *index;

	random_state = 1;
	assert_int_equal(pfs_index_new(&index), 0);
	return index;
}

static uint32_t new_object(struct pfs_index *index)
{
	uint32_t object;

	assert_int_equal(pfs_index_alloc(index, &object), 0);
	assert_int_equal(pfs_index_word(index, object), 0);
	pfs_index_set_word(index, object, pfs_word_page(1, object));
	return object;
}

/* Whether something was replaced since the last time. */
static bool collect(struct pfs_index *index)
{
	void *detached = pfs_index_detach(index);

	pfs_epoch_wait();
	pfs_index_reclaim(detached);
	return detached != NULL;
}

/* ---- numbers ---- */

/* Proves: over any allocations and releases, a number that was released is given again after all
 * that were released before it, and a new one only when none is free. */
static void numbers_come_back_in_order(void **state)
{
	enum { OPERATIONS = 30000 };
	struct pfs_index *index = new_index();
	uint32_t *free_ones = malloc(OPERATIONS * sizeof(*free_ones)), head = 0, tail = 0;
	uint32_t *used = malloc(OPERATIONS * sizeof(*used)), count = 0, end = FIRST;

	(void)state;
	for (uint32_t n = 0; n < OPERATIONS; n++) {
		/* Ever more, then ever fewer, and again. */
		if (!count || roll(100) < (n / 5000 % 2 ? 20 : 80)) {
			uint32_t object = new_object(index);

			assert_int_equal(object, head < tail ? free_ones[head++] : end++);
			used[count++] = object;
		} else {
			uint32_t i = roll(count);

			pfs_index_release(index, used[i]);
			free_ones[tail++] = used[i];
			used[i] = used[--count];
		}
		assert_int_equal(pfs_index_end(index), end);
	}
	free(free_ones);
	free(used);
	pfs_index_free(index);
}

/* ---- memory ---- */

/* Proves: of the hash, that it is made anew exactly when more than four fifths would be taken or a
 * number needs another bit, with room for five eighths more; and that what memory all takes is what
 * it says. */
static void the_hash_takes_what_it_says(void **state)
{
	enum { COUNT = 20000 };
	struct pfs_index *index = new_index();
	uint64_t without = pfs_index_bytes(index) - BUCKETS_MIN * 4 + CHUNK_BYTES;
	uint64_t buckets = BUCKETS_MIN;
	unsigned bits = 12;

	(void)state;
	for (uint32_t n = 1; n <= COUNT; n++) {
		uint32_t object = new_object(index);
		bool grows = UINT64_C(5) * n > 4 * buckets || object >> bits;

		assert_int_equal(pfs_index_insert(index, object, n * 2654435761u), 0);
		assert_int_equal(collect(index), grows);
		if (grows) {
			buckets = pfs_max_u64(n + n / 2 + n / 8, BUCKETS_MIN);
			for (bits = 12; (object + 1) >> bits;)
				bits++;
		}
		assert_int_equal(pfs_index_bytes(index), without + buckets * 4);
	}
	/* A reservation makes room at once, for as many and for their numbers. */
	assert_int_equal(pfs_index_reserve(index, 4 * buckets / 5 - COUNT), 0);
	assert_false(collect(index));
	assert_int_equal(pfs_index_reserve(index, 4 * buckets / 5 - COUNT + 1), 0);
	assert_true(collect(index));
	buckets = 4 * buckets / 5 + 1;
	buckets += buckets / 2 + buckets / 8;
	assert_int_equal(pfs_index_bytes(index), without + buckets * 4);
	pfs_index_free(index);
}

/* Proves: what chunks of objects, released numbers and places of listings take is said, when they
 * begin, and when there are twice as many. */
static void the_rest_takes_what_it_says(void **state)
{
	struct pfs_index *index = new_index();
	uint64_t bytes = pfs_index_bytes(index);
	uint32_t objects[3000];

	(void)state;
	objects[0] = new_object(index);
	assert_int_equal(pfs_index_bytes(index), bytes += CHUNK_BYTES);
	while (pfs_index_end(index) < CHUNK_OBJECTS)
		(void)new_object(index);
	assert_int_equal(pfs_index_bytes(index), bytes);
	(void)new_object(index);
	assert_int_equal(pfs_index_bytes(index), bytes += CHUNK_BYTES);
	for (uint32_t i = 1; i < 3000; i++)
		objects[i] = new_object(index);
	for (uint32_t i = 0; i < 3000; i++) {
		pfs_index_release(index, objects[i]);
		bytes += i == 0 || i == 1024 ? 4096 : i == 2048 ? 8192 : 0;
		assert_int_equal(pfs_index_bytes(index), bytes);
	}
	/* Places: up to three quarters of 16, 32, 64... */
	for (uint32_t i = 1; i <= 100; i++) {
		assert_int_equal(pfs_index_set_cookie(index, 10000 + i, 20000 + i), 0);
		bytes += i == 1 ? 256 : i == 13 ? 256 : i == 25 ? 512 : i == 49 ? 1024 : 0;
		bytes += i == 97 ? 2048 : 0;
		assert_int_equal(pfs_index_bytes(index), bytes);
	}
	pfs_index_free(index);
}

/* Proves: a reservation for a rename is for the four places that one may take. */
static void renames_are_reserved_for(void **state)
{
	(void)state;
	for (uint32_t taken = 0; taken < 60; taken++) {
		struct pfs_index *index = new_index();
		uint64_t bytes;

		(void)new_object(index);
		for (uint32_t i = 0; i < taken; i++)
			assert_int_equal(pfs_index_set_cookie(index, 1000 + i, 2000 + i), 0);
		bytes = pfs_index_bytes(index);
		assert_int_equal(pfs_index_reserve_cookies(index), 0);
		if (taken == 8 || taken == 20 || taken == 44) {
			assert_int_equal(pfs_index_bytes(index), bytes); /* just enough */
		} else if (taken == 9 || taken == 21 || taken == 45 || !taken) {
			assert_true(pfs_index_bytes(index) > bytes);
		}
		bytes = pfs_index_bytes(index);
		for (uint32_t i = 0; i < 4; i++)
			assert_int_equal(pfs_index_set_cookie(index, 3000 + i, 4000 + i), 0);
		assert_int_equal(pfs_index_bytes(index), bytes);
		pfs_index_free(index);
	}
}

/* ---- the hash ---- */

#define NAMES 700u

struct named {
	uint32_t object, hash;
	bool there;
};

/* What a search for the hash finds: each object with it once, and of others those at most that are
 * there and share its low bits, which are kept beside the object's number. */
static void compare_found(struct pfs_index *index, const struct named *names, uint32_t hash)
{
	unsigned seen[FIRST + NAMES] = {0};
	struct pfs_probe probe;
	uint32_t object;

	pfs_epoch_enter();
	pfs_probe_begin(&probe, index, hash);
	while ((object = pfs_probe_next(&probe)) != PFS_OBJECT_NONE) {
		assert_in_range(object, FIRST, FIRST + NAMES - 1);
		assert_int_equal(pfs_index_stored_hash(index, object) << 12, hash << 12);
		assert_int_equal(seen[object]++, 0);
	}
	assert_int_equal(pfs_probe_next(&probe), PFS_OBJECT_NONE);
	pfs_epoch_leave();
	for (unsigned i = 0; i < NAMES; i++) {
		const struct named *name = &names[i];

		if (name->there && name->hash == hash)
			assert_int_equal(seen[name->object], 1);
		else if (!name->there)
			assert_int_equal(seen[name->object], 0);
	}
}

/* Few, at the beginning, in the middle and at the end, where a search goes on at the beginning. */
static uint32_t some_hash(void)
{
	static const uint32_t first[] = {0, UINT32_C(0x7ff00000), UINT32_C(0xff800000)};

	return first[roll(3)] + roll(4) * (UINT32_C(1) << 20) + roll(5);
}

/* Proves: over any insertions, removals and replacements, also of what is not there, a search finds
 * exactly what a list of all names has under the hash. */
static void searches_find_what_is_there(void **state)
{
	struct pfs_index *index = new_index();
	struct named names[NAMES] = {0};

	(void)state;
	for (unsigned i = 0; i < NAMES; i++)
		names[i].object = new_object(index);
	for (unsigned n = 0; n < 20000; n++) {
		struct named *name = &names[roll(NAMES)], *other = &names[roll(NAMES)];

		if (!name->there) {
			name->hash = some_hash();
			name->there = true;
			assert_int_equal(pfs_index_insert(index, name->object, name->hash), 0);
		} else if (roll(3) == 0 && !other->there) {
			pfs_index_replace(index, name->object, other->object, name->hash);
			other->hash = name->hash;
			other->there = true;
			name->there = false;
		} else {
			pfs_index_remove(index, other->object, name->hash ^ 8); /* never there */
			pfs_index_remove(index, name->object, name->hash);
			name->there = false;
		}
		compare_found(index, names, name->hash);
		compare_found(index, names, some_hash());
		collect(index);
	}
	pfs_index_free(index);
}

/* ---- places of listings ---- */

#define PLACES 600u

struct places {
	uint32_t object_at[PLACES], cookie_of[PLACES];
};

static void compare_places(struct pfs_index *index, const struct places *p)
{
	for (uint32_t i = FIRST; i < PLACES; i++) {
		assert_int_equal(pfs_index_at_cookie(index, i), p->object_at[i]);
		assert_int_equal(pfs_index_cookie(index, i), p->cookie_of[i]);
	}
}

/* Proves: over any of them, each exception of places and objects is as it was told last, and of all
 * others the number is the place. */
static void places_are_as_told(void **state)
{
	struct pfs_index *index = new_index();
	struct places p;

	(void)state;
	for (uint32_t i = 0; i < PLACES; i++)
		p.object_at[i] = p.cookie_of[i] = i;
	while (pfs_index_end(index) < PLACES)
		(void)new_object(index);
	for (unsigned n = 0; n < 12000; n++) {
		uint32_t object = FIRST + roll(PLACES - FIRST),
			 cookie = FIRST + roll(PLACES - FIRST);

		/* Ever more exceptions, then ever fewer. */
		switch (roll(4) + (n / 3000 % 2 ? 0 : 3)) {
		case 0:
		case 1:
		case 2: cookie = object; /* fall through */
		case 3:
		case 4:
		case 5:
			assert_int_equal(pfs_index_set_cookie(index, object, cookie), 0);
			p.object_at[cookie] = object;
			p.cookie_of[object] = cookie;
			break;
		default:
			assert_int_equal(pfs_index_vacate(index, cookie), 0);
			p.object_at[cookie] = 0;
		}
		if (n % 20 == 0)
			compare_places(index, &p);
	}
	compare_places(index, &p);
	pfs_index_free(index);
}

/* ---- names that change hands ---- */

/* Proves: an object that gets the free number of its place takes with it word, hash and name; who
 * looks meanwhile is told; its own number is free then. Where the number is not free, nothing
 * changes. */
static void an_object_gets_the_number_of_its_place(void **state)
{
	struct pfs_index *index = new_index();
	uint32_t a = new_object(index), b = new_object(index), c = new_object(index);
	uint64_t word = pfs_index_word(index, b), moves = pfs_index_moves(index);
	struct pfs_probe probe;

	(void)state;
	assert_false(pfs_index_moved(index, moves));
	assert_int_equal(pfs_index_insert(index, b, 77), 0);
	assert_int_equal(pfs_index_renumber(index, b), PFS_OBJECT_NONE); /* it stands at its own */
	assert_int_equal(pfs_index_set_cookie(index, b, a), 0);
	assert_int_equal(pfs_index_renumber(index, b), PFS_OBJECT_NONE); /* a is in use */
	assert_false(pfs_index_moved(index, moves));
	pfs_index_set_word(index, a, 0);
	assert_int_equal(pfs_index_renumber(index, b), a);
	assert_true(pfs_index_moved(index, moves));
	assert_int_equal(pfs_index_moves(index), moves + 2);
	assert_int_equal(pfs_index_word(index, a), word);
	assert_int_equal(pfs_index_word(index, b), 0);
	assert_int_equal(pfs_index_stored_hash(index, a), 77);
	assert_int_equal(pfs_index_cookie(index, a), a);
	assert_int_equal(pfs_index_at_cookie(index, a), a);
	assert_int_equal(pfs_index_cookie(index, b), b);
	pfs_epoch_enter();
	pfs_probe_begin(&probe, index, 77);
	assert_int_equal(pfs_probe_next(&probe), a);
	assert_int_equal(pfs_probe_next(&probe), PFS_OBJECT_NONE);
	pfs_epoch_leave();
	assert_int_equal(new_object(index), b);
	assert_int_equal(new_object(index), c + 1);
	pfs_index_moving(index);
	assert_true(pfs_index_moved(index, pfs_index_moves(index))); /* it is under way */
	pfs_index_free(index);
}

/* ---- runs ---- */

#define RUN_OBJECTS (CHUNK_OBJECTS + 2000)

struct in_runs {
	struct pfs_index *index;
	uint64_t number[RUN_OBJECTS], word[RUN_OBJECTS];
	uint32_t end_of_run[RUN_OBJECTS]; /* 0: in none */
	bool chunk[2];			  /* it is there */
};

static void add_plain(struct in_runs *r, uint64_t number)
{
	uint32_t object = new_object(r->index);

	r->number[object] = number;
	r->word[object] = pfs_index_word(r->index, object);
	r->chunk[object / CHUNK_OBJECTS] = true;
	assert_int_equal(pfs_index_insert(r->index, object, pfs_index_hash(PFS_KEY_NUM, number)),
			 0);
}

static void add_run(struct in_runs *r, uint32_t count, uint64_t number)
{
	uint32_t first = pfs_index_end(r->index);
	uint64_t word = pfs_word_page(7 + first % 5, first);

	assert_int_equal(pfs_index_add_run(r->index, word, count, number), 0);
	assert_int_equal(pfs_index_end(r->index), first + count);
	for (uint32_t i = 0; i < count; i++) {
		r->number[first + i] = number + i;
		r->word[first + i] = word + i;
		r->end_of_run[first + i] = first + count;
	}
}

/* How often the object is found; others may be met, if they do not have the number. */
static unsigned times_found(struct in_runs *r, uint32_t object, uint64_t number)
{
	struct pfs_probe probe;
	unsigned times = 0;
	uint32_t found;

	pfs_epoch_enter();
	pfs_probe_key(&probe, r->index, PFS_KEY_NUM, number);
	while ((found = pfs_probe_next(&probe)) != PFS_OBJECT_NONE) {
		assert_true(found == object || r->number[found] != number);
		times += found == object;
	}
	pfs_epoch_leave();
	return times;
}

static void compare_object(struct in_runs *r, uint32_t object)
{
	uint32_t chunk_end = (object / CHUNK_OBJECTS + 1) * CHUNK_OBJECTS, left = 0;
	uint64_t number = 4711;

	if (r->end_of_run[object] && !r->chunk[object / CHUNK_OBJECTS])
		left = (uint32_t)pfs_min_u64(r->end_of_run[object], chunk_end) - object;
	assert_int_equal(pfs_index_word(r->index, object), r->word[object]);
	assert_int_equal(pfs_index_stored_hash(r->index, object),
			 pfs_index_hash(PFS_KEY_NUM, r->number[object]));
	assert_int_equal(pfs_index_in_run(r->index, object, &number), left);
	assert_int_equal(number, left ? r->number[object] : 4711);
	assert_int_equal(times_found(r, object, r->number[object]), 1);
}

static void compare_runs(struct in_runs *r)
{
	uint32_t end = pfs_index_end(r->index);

	for (uint32_t object = FIRST; object < end; object++)
		if (object < 300 || object > CHUNK_OBJECTS - 300 || object % 97 == 0)
			compare_object(r, object);
	assert_int_equal(pfs_index_word(r->index, end), 0);
	assert_int_equal(pfs_index_stored_hash(r->index, end), 0);
	assert_int_equal(times_found(r, PFS_OBJECT_NONE, 1), 0);
}

/* Proves: objects in runs, between others and across chunks, have the words, hashes and names that
 * they would have if each had been inserted; also when a chunk is made, and when they are
 * dissolved.
 */
static void runs_are_as_if_inserted(void **state)
{
	struct in_runs *r = calloc(1, sizeof(*r));

	(void)state;
	for (unsigned round = 0; round < 4; round++) {
		uint64_t number = 1000;

		memset(r, 0, sizeof(*r));
		r->index = new_index();
		if (round % 2)
			add_plain(r, 500);
		for (unsigned i = 0; i < 10; i++, number += 100)
			add_run(r, 1 + roll(40), number);
		add_run(r, CHUNK_OBJECTS - 40 - pfs_index_end(r->index), 200000);
		for (unsigned i = 0; i < 10; i++, number += 100)
			add_run(r, 1 + roll(40), UINT64_MAX - number);
		add_run(r, 3, UINT64_MAX - 2);
		if (round >= 2) {
			add_plain(r, 600);
			add_run(r, 5, 700);
		}
		assert_int_equal(pfs_index_end_runs(r->index), 0);
		compare_runs(r);
		assert_int_equal(pfs_index_touch(r->index, CHUNK_OBJECTS + 1), 0);
		r->chunk[1] = true;
		compare_runs(r);
		assert_int_equal(pfs_index_dissolve_runs(r->index), 0);
		r->chunk[0] = true;
		compare_runs(r);
		pfs_index_free(r->index);
	}
	free(r);
}

/* Proves: runs of none, of more than there are numbers of objects, or beyond the largest number are
 * refused; those that just fit are not. */
static void runs_have_ends(void **state)
{
	struct pfs_index *index = new_index();
	uint64_t number;

	(void)state;
	assert_int_equal(pfs_index_add_run(index, 1, 0, 5), -EUCLEAN);
	assert_int_equal(pfs_index_add_run(index, 1, 2, UINT64_MAX), -EUCLEAN);
	assert_int_equal(pfs_index_add_run(index, 1, UINT32_MAX - 1, 5), -EUCLEAN);
	assert_int_equal(pfs_index_end(index), FIRST);
	assert_int_equal(pfs_index_add_run(index, pfs_word_page(1, 0), 1, UINT64_MAX), 0);
	assert_int_equal(pfs_index_add_run(index, pfs_word_page(1, 1), 2, 0), 0);
	assert_int_equal(pfs_index_add_run(index, pfs_word_page(1, 3), UINT32_MAX - 5, 2), 0);
	assert_int_equal(pfs_index_end(index), UINT32_MAX);
	assert_int_equal(pfs_index_end_runs(index), 0);
	assert_int_equal(pfs_index_in_run(index, FIRST, &number), 1);
	assert_int_equal(number, UINT64_MAX);
	assert_int_equal(pfs_index_in_run(index, UINT32_MAX - 1, &number), 1);
	assert_int_equal(number, UINT32_MAX - 4);
	assert_int_equal(pfs_index_add_run(index, 1, 1, 5), -EUCLEAN);
	pfs_index_free(index);
}

/* What is found under the hash of the number: how many, the last of which is *object. */
static unsigned found(const struct pfs_index *index, uint64_t number, uint32_t *object)
{
	struct pfs_probe probe;
	unsigned count = 0;
	uint32_t at;

	pfs_probe_key(&probe, index, PFS_KEY_NUM, number);
	while ((at = pfs_probe_next(&probe))) {
		*object = at;
		count++;
	}
	return count;
}

/* Proves: without memory an insertion, a number, a place of a listing or a run is an error that
 * changes nothing, whichever allocation it is; all that was there is found as before, and the same
 * works when there is memory again. */
static void memory_may_be_missing(void **state)
{
	struct pfs_index *index = NULL;
	uint32_t objects[2000], at = 0, other;

	(void)state;
	for (unsigned passes = 0; passes < 2; passes++) {
		fenced_refuse(passes);
		assert_int_equal(pfs_index_new(&index), -ENOMEM);
		assert_null(index);
		assert_int_equal(fenced_blocks, 0);
	}
	index = new_index();
	fenced_refuse(0);
	assert_int_equal(pfs_index_alloc(index, &at), -ENOMEM);
	assert_int_equal(pfs_index_end(index), FIRST);
	for (uint32_t i = 0; i < 2000; i++) {
		int err;

		objects[i] = new_object(index);
		fenced_refuse(0);
		err = pfs_index_insert(index, objects[i], pfs_index_hash(PFS_KEY_NUM, i));
		if (err) {
			assert_int_equal(err, -ENOMEM);
			assert_int_equal(found(index, i, &at), 0);
			assert_int_equal(found(index, i - 1, &at), 1);
			err = pfs_index_insert(index, objects[i], pfs_index_hash(PFS_KEY_NUM, i));
		}
		fenced_refuses = false;
		assert_int_equal(err, 0);
		collect(index);
	}
	/* Each of the maps of places takes two blocks; the third time the first map has its own. */
	for (unsigned i = 0; i < 4; i++) {
		unsigned blocks = fenced_blocks;

		fenced_refuse(i < 3 ? i : 1);
		assert_int_equal(pfs_index_reserve_cookies(index), -ENOMEM);
		assert_int_equal(fenced_blocks, i == 2 ? blocks + 2 : blocks);
	}
	assert_int_equal(pfs_index_reserve_cookies(index), 0);
	for (unsigned i = 0; i < 300; i++) {
		fenced_refuse(0);
		if (pfs_index_set_cookie(index, objects[i], objects[i + 1000])) {
			assert_false(fenced_refuses);
			assert_int_equal(pfs_index_set_cookie(index, objects[i], objects[i + 1000]),
					 0);
		}
		fenced_refuse(0);
		if (pfs_index_vacate(index, objects[i + 500]))
			assert_int_equal(pfs_index_vacate(index, objects[i + 500]), 0);
		fenced_refuses = false;
		for (unsigned k = 0; k <= i; k++) {
			assert_int_equal(pfs_index_cookie(index, objects[k]), objects[k + 1000]);
			assert_int_equal(pfs_index_at_cookie(index, objects[k + 1000]), objects[k]);
			assert_int_equal(pfs_index_at_cookie(index, objects[k + 500]), 0);
		}
	}
	/* A number that can't be remembered is given to nobody. */
	fenced_refuse(0);
	pfs_index_release(index, objects[1999]);
	assert_int_equal(pfs_index_alloc(index, &other), 0);
	assert_int_equal(other, pfs_index_end(index) - 1);
	pfs_index_release(index, objects[1998]);
	assert_int_equal(pfs_index_alloc(index, &other), 0);
	assert_int_equal(other, objects[1998]);
	for (uint32_t i = 0; i < 2000; i++) {
		assert_int_equal(found(index, i, &at), 1);
		assert_int_equal(at, objects[i]);
	}
	pfs_index_free(index);
	assert_int_equal(fenced_blocks, 0);
}

/* Proves: places that come and go take no more memory than those that are there at once, and all
 * is given back, wherever in a chunk the last number is. */
static void memory_comes_back(void **state)
{
	(void)state;
	for (uint32_t end = CHUNK_OBJECTS - 1; end <= CHUNK_OBJECTS + 2; end++) {
		struct pfs_index *index = new_index();
		uint64_t bytes;

		while (pfs_index_end(index) < end)
			(void)new_object(index);
		assert_int_equal(pfs_index_set_cookie(index, 5, 7), 0);
		bytes = pfs_index_bytes(index);
		for (unsigned i = 0; i < 300; i++) {
			assert_int_equal(pfs_index_set_cookie(index, 10 + i, 1000 + i), 0);
			assert_int_equal(pfs_index_set_cookie(index, 10 + i, 10 + i), 0);
			assert_int_equal(pfs_index_set_cookie(index, 1000 + i, 1000 + i), 0);
		}
		assert_int_equal(pfs_index_bytes(index), bytes);
		pfs_index_free(index);
		assert_int_equal(fenced_blocks, 0);
	}
}

/* Proves: the same of runs, which can be dissolved in any moment. */
static void runs_without_memory(void **state)
{
	enum { RUNS = 40, LEN = 50 };
	struct pfs_index *index = new_index();
	uint32_t at = 0;
	int err;

	(void)state;
	for (uint32_t r = 0; r < RUNS; r++) {
		uint64_t word = pfs_word_page(1, r * LEN), number = UINT64_C(1000) * (RUNS - r);
		uint32_t end = pfs_index_end(index);

		fenced_refuse(0);
		err = pfs_index_add_run(index, word, LEN, number);
		if (err) {
			assert_int_equal(err, -ENOMEM);
			assert_int_equal(pfs_index_end(index), end);
			err = pfs_index_add_run(index, word, LEN, number);
		}
		fenced_refuses = false;
		assert_int_equal(err, 0);
		assert_int_equal(pfs_index_end(index), end + LEN);
	}
	fenced_refuse(0);
	assert_int_equal(pfs_index_end_runs(index), -ENOMEM);
	assert_int_equal(pfs_index_end_runs(index), 0);
	for (uint32_t r = 0; r < RUNS; r++) {
		for (uint32_t i = 0; i < LEN; i++) {
			uint64_t number = UINT64_C(1000) * (RUNS - r) + i;

			assert_int_equal(found(index, number, &at), 1);
			assert_int_equal(at, FIRST + r * LEN + i);
			assert_int_equal(pfs_index_word(index, at), pfs_word_page(1, r * LEN + i));
			assert_int_equal(pfs_index_stored_hash(index, at),
					 pfs_index_hash(PFS_KEY_NUM, number));
		}
		assert_int_equal(found(index, UINT64_C(1000) * (RUNS - r) - 1, &at), 0);
		assert_int_equal(found(index, UINT64_C(1000) * (RUNS - r) + LEN, &at), 0);
	}
	/* A chunk, and a table for all. */
	fenced_refuse(0);
	assert_int_equal(pfs_index_dissolve_runs(index), -ENOMEM);
	assert_int_equal(pfs_index_dissolve_runs(index), 0);
	for (uint32_t r = 0; r < RUNS; r++)
		for (uint32_t i = 0; i < LEN; i++) {
			unsigned n = found(index, UINT64_C(1000) * (RUNS - r) + i, &at);

			assert_int_equal(n, 1);
			assert_int_equal(at, FIRST + r * LEN + i);
			assert_int_equal(pfs_index_word(index, at), pfs_word_page(1, r * LEN + i));
		}
	pfs_index_free(index);
	assert_int_equal(fenced_blocks, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_come_back_in_order),
		cmocka_unit_test(the_hash_takes_what_it_says),
		cmocka_unit_test(the_rest_takes_what_it_says),
		cmocka_unit_test(renames_are_reserved_for),
		cmocka_unit_test(searches_find_what_is_there),
		cmocka_unit_test(places_are_as_told),
		cmocka_unit_test(an_object_gets_the_number_of_its_place),
		cmocka_unit_test(runs_are_as_if_inserted),
		cmocka_unit_test(runs_have_ends),
		cmocka_unit_test(memory_may_be_missing),
		cmocka_unit_test(memory_comes_back),
		cmocka_unit_test(runs_without_memory),
	};

	return cmocka_run_group_tests_name("index-model", tests, NULL, NULL);
}
