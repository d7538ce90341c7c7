/* storage/index.c: what others may do between its steps, numbers and places that become free, and
 * what it takes. The file is included, to know the moments. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void at_lock(void);
static void at_unlock(void);
static void *fake_calloc(size_t n, size_t size);

#include "storage/index.h"
#include "storage/index_runs.h"

#define calloc fake_calloc
#define pthread_mutex_lock(mutex) (at_lock(), pthread_mutex_lock(mutex))
#define pthread_mutex_unlock(mutex) (pthread_mutex_unlock(mutex), at_unlock())
#include "storage/index.c"
#undef calloc
#undef pthread_mutex_lock
#undef pthread_mutex_unlock

static struct {
	void (*lock)(unsigned time), (*unlock)(unsigned time); /* NULL: nothing happens */
	unsigned locks, unlocks;
	struct pfs_index *index;
	uint32_t object, place;
	bool refuse;
} moment;

static void *fake_calloc(size_t n, size_t size)
{
	return moment.refuse ? NULL : calloc(n, size);
}

static void at_lock(void)
{
	if (moment.lock)
		moment.lock(++moment.locks);
}

static void at_unlock(void)
{
	if (moment.unlock)
		moment.unlock(++moment.unlocks);
}

static struct pfs_index *begin(void)
{
	memset(&moment, 0, sizeof(moment));
	assert_int_equal(pfs_index_new(&moment.index), 0);
	return moment.index;
}

/* A number, in use. */
static uint32_t new_object(struct pfs_index *index)
{
	uint32_t object;

	assert_int_equal(pfs_index_alloc(index, &object), 0);
	pfs_index_set_word(index, object, pfs_word_page(1, object));
	return object;
}

/* ---- places ---- */

static void move_away(unsigned time)
{
	(void)time;
	assert_int_equal(map_set(&moment.index->cookie_of, moment.object, 500 + time), 0);
	assert_int_equal(map_set(&moment.index->object_at, moment.place, 600 + time), 0);
}

/* Proves: a place, or who stands there, is what it was while the lock was held: what was changed
 * before is seen, what is changed after is not. */
static void places_are_read_under_the_lock(void **state)
{
	struct pfs_index *index = begin();

	(void)state;
	moment.object = new_object(index);
	moment.place = new_object(index);
	assert_int_equal(pfs_index_set_cookie(index, moment.object, moment.place), 0);
	moment.unlock = move_away;
	assert_int_equal(pfs_index_cookie(index, moment.object), moment.place);
	assert_int_equal(pfs_index_at_cookie(index, moment.place), 601);
	moment.unlock = NULL;
	moment.lock = move_away;
	assert_int_equal(pfs_index_cookie(index, moment.object), 501);
	assert_int_equal(pfs_index_at_cookie(index, moment.place), 602);
	pfs_index_free(index);
}

static bool has(const struct map *map, uint32_t key)
{
	uint32_t value;

	return map_get(map, key, &value);
}

/* The locks of a renumbering: for the place, for the exceptions, for the number that is free. */
static void look_before(unsigned time)
{
	struct pfs_index *index = moment.index;

	assert_int_equal(pfs_index_moves(index) % 2, time > 1);
	assert_int_equal(has(&index->object_at, moment.place), time < 3);
	assert_int_equal(has(&index->cookie_of, moment.object), time < 3);
	assert_int_equal(pfs_index_word(index, moment.place) != 0, time > 1);
}

static void look_after(unsigned time)
{
	struct pfs_index *index = moment.index;

	assert_int_equal(pfs_index_moves(index) % 2, time > 1);
	assert_int_equal(has(&index->object_at, moment.place), time < 2);
	assert_int_equal(has(&index->cookie_of, moment.object), time < 2);
}

/* Proves: from the first to the last step of a renumbering whoever looks is told to look again, and
 * exceptions are changed only under the lock; hashes of other objects stay. */
static void renumbering_is_told_from_beginning_to_end(void **state)
{
	struct pfs_index *index = begin();
	uint32_t objects[10];

	(void)state;
	/* Numbers of the second chunk. */
	while (pfs_index_end(index) < CHUNK)
		(void)new_object(index);
	for (uint32_t i = 0; i < 10; i++) {
		objects[i] = new_object(index);
		assert_int_equal(pfs_index_insert(index, objects[i], 1000 + i), 0);
	}
	moment.object = objects[9];
	moment.place = objects[5];
	pfs_index_remove(index, objects[5], 1005);
	pfs_index_set_word(index, objects[5], 0);
	assert_int_equal(pfs_index_set_cookie(index, moment.object, moment.place), 0);
	moment.lock = look_before;
	moment.unlock = look_after;
	assert_int_equal(pfs_index_renumber(index, moment.object), moment.place);
	moment.lock = moment.unlock = NULL;
	assert_int_equal(moment.locks, 3);
	assert_int_equal(pfs_index_moves(index), 2);
	for (uint32_t i = 0; i < 9; i++)
		assert_int_equal(pfs_index_stored_hash(index, objects[i]),
				 i == 5 ? 1009 : 1000 + i);
	pfs_index_free(index);
}

/* ---- numbers that become free ---- */

/* Proves (I3): a number is given again when neither its object is there any more nor another's name
 * stands at its place; once, whichever of these ends first, and however often a place is vacated.
 */
static void numbers_are_free_once(void **state)
{
	(void)state;
	for (unsigned how = 0; how < 6; how++) {
		struct pfs_index *index = begin();
		uint32_t a = new_object(index), b = new_object(index);

		switch (how) {
		case 0: /* nobody's name stands there, and then there is no object */
			assert_int_equal(pfs_index_vacate(index, a), 0);
			assert_int_equal(pfs_index_at_cookie(index, a), 0);
			assert_int_equal(pfs_index_vacate(index, a), 0);
			assert_int_equal(pfs_index_at_cookie(index, a), 0);
			assert_int_equal(index->free_count, 0);
			pfs_index_release(index, a);
			break;
		case 1: /* another's does, longer than the object is there */
			assert_int_equal(pfs_index_set_cookie(index, b, a), 0);
			pfs_index_release(index, a);
			assert_int_equal(index->free_count, 0);
			assert_int_equal(pfs_index_at_cookie(index, a), b);
			assert_int_equal(pfs_index_vacate(index, a), 0);
			break;
		case 2: /* another's does, not as long */
			assert_int_equal(pfs_index_set_cookie(index, b, a), 0);
			assert_int_equal(pfs_index_vacate(index, a), 0);
			assert_int_equal(pfs_index_at_cookie(index, a), 0);
			assert_int_equal(index->free_count, 0);
			pfs_index_release(index, a);
			break;
		case 3: /* the other one ends with its name */
			assert_int_equal(pfs_index_set_cookie(index, b, a), 0);
			pfs_index_release(index, a);
			pfs_index_release(index, b);
			assert_int_equal(index->free_count, 2);
			assert_int_equal(pfs_index_at_cookie(index, b), b);
			break;
		case 4: /* nothing else has happened */ pfs_index_release(index, a); break;
		default: /* the place is vacated twice of which there is no object */
			pfs_index_release(index, a);
			assert_int_equal(pfs_index_vacate(index, a), 0);
			assert_int_equal(pfs_index_vacate(index, a), 0);
			assert_int_equal(pfs_index_at_cookie(index, a), 0);
			assert_int_equal(index->free_count, 1);
			pfs_index_free(index);
			continue;
		}
		assert_int_equal(index->free_count, how == 3 ? 2 : 1);
		assert_int_equal(pfs_index_at_cookie(index, a), a);
		assert_int_equal(new_object(index), a);
		assert_int_equal(new_object(index), how == 3 ? b : b + 1);
		pfs_index_free(index);
	}
}

/* Proves: a place that can't be vacated for want of memory is as it was. */
static void vacating_needs_memory(void **state)
{
	struct pfs_index *index = begin();
	uint32_t a = new_object(index);

	(void)state;
	moment.refuse = true;
	assert_int_equal(pfs_index_vacate(index, a), -ENOMEM);
	assert_int_equal(pfs_index_at_cookie(index, a), a);
	moment.refuse = false;
	assert_int_equal(pfs_index_vacate(index, a), 0);
	pfs_index_free(index);
}

/* ---- memory ---- */

/* Proves: what was reserved for needs no other table, also where the numbers to come are longer. */
static void reserved_numbers_need_no_memory(void **state)
{
	struct pfs_index *index = begin();

	(void)state;
	while (pfs_index_end(index) < 3000)
		(void)new_object(index);
	assert_int_equal(pfs_index_reserve(index, 2000), 0);
	pfs_index_reclaim(pfs_index_detach(index));
	for (uint32_t i = 0; i < 2000; i++)
		assert_int_equal(pfs_index_insert(index, new_object(index), i), 0);
	assert_null(pfs_index_detach(index));
	pfs_index_free(index);
}

/* Proves: what lies behind the last run is none of them. */
static void chunks_are_filled_from_runs_alone(void **state)
{
	struct pfs_index *index = begin();
	uint32_t end;

	(void)state;
	assert_int_equal(pfs_index_add_run(index, pfs_word_page(3, 0), 100, 5000), 0);
	assert_int_equal(pfs_index_add_run(index, pfs_word_page(4, 0), 100, 9000), 0);
	end = pfs_index_end(index);
	for (size_t i = 2; i < index->runs.cap; i++)
		index->runs.at[i] = (struct pfs_index_run){end, 50, pfs_word_page(5, 0), 100};
	assert_int_equal(pfs_index_end_runs(index), 0);
	assert_int_equal(pfs_index_touch(index, OBJECT_FIRST), 0);
	for (uint32_t object = 0; object < end + 60; object++) {
		uint64_t word = object < OBJECT_FIRST ? 0
				: object >= end	      ? 0
				: object < OBJECT_FIRST + 100
					? pfs_word_page(3, object - OBJECT_FIRST)
					: pfs_word_page(4, object - OBJECT_FIRST - 100);

		assert_int_equal(pfs_index_word(index, object), word);
	}
	pfs_index_free(index);
}

/* Proves: the memory that it takes is that of each of its parts. */
static void memory_is_the_sum_of_the_parts(void **state)
{
	struct pfs_index *index = begin();
	uint64_t bytes = sizeof(*index) + sizeof(struct table) + TABLE_MIN * sizeof(uint32_t);

	(void)state;
	assert_int_equal(pfs_index_bytes(index), bytes);
	assert_int_equal(pfs_index_add_run(index, pfs_word_page(3, 0), 100, 5000), 0);
	assert_int_equal(pfs_index_add_run(index, pfs_word_page(3, 200), 100, 6000), 0);
	assert_int_equal(pfs_index_add_run(index, pfs_word_page(3, 400), 100, 7000), 0);
	assert_int_equal(pfs_index_end_runs(index), 0);
	bytes += index->runs.cap * sizeof(struct pfs_index_run) + 3 * sizeof(uint32_t);
	assert_int_equal(pfs_index_bytes(index), bytes);
	assert_int_equal(pfs_index_add_run(index, pfs_word_page(4, 0),
					   UINT32_MAX - pfs_index_end(index), 10000),
			 0);
	bytes += sizeof(uint32_t);
	assert_int_equal(pfs_index_end(index), UINT32_MAX);
	assert_int_equal(pfs_index_bytes(index), bytes);
	assert_int_equal(pfs_index_touch(index, UINT32_MAX - 1), 0);
	bytes += sizeof(struct chunk);
	assert_int_equal(pfs_index_bytes(index), bytes);
	pfs_index_free(index);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places_are_read_under_the_lock),
		cmocka_unit_test(renumbering_is_told_from_beginning_to_end),
		cmocka_unit_test(numbers_are_free_once),
		cmocka_unit_test(vacating_needs_memory),
		cmocka_unit_test(reserved_numbers_need_no_memory),
		cmocka_unit_test(chunks_are_filled_from_runs_alone),
		cmocka_unit_test(memory_is_the_sum_of_the_parts),
	};

	return cmocka_run_group_tests_name("index, step by step", tests, NULL, NULL);
}
