/* storage/pending.c: versions and their keys, lists, stages (the extents of large documents that
 * are being written). */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/fenced.h"

#include "storage/pending.c"

/* ---- versions ---- */

static struct pfs_key key_named(const char *name)
{
	struct pfs_key key;

	assert_int_equal(pfs_key_parse(&key, name, strlen(name)), 0);
	return key;
}

/* Proves: a version gives back the key it was made with, of every kind and length, and has no
 * other. */
static void versions_keep_their_keys(void **state)
{
	char longest[PFS_NAME_MAX + 1];
	struct pfs_key keys[9];
	size_t n = 0;

	(void)state;
	memset(longest, 'n', PFS_NAME_MAX);
	longest[PFS_NAME_MAX] = '\0';
	keys[n++] = pfs_key_num(0);
	keys[n++] = pfs_key_num(UINT64_MAX);
	keys[n++] = (struct pfs_key){.kind = PFS_KEY_TEMP, .num = 7};
	keys[n++] = pfs_key_num(7);
	keys[n++] = key_named("0f8fad5b-d9cb-469f-a165-70867728950e");
	keys[n++] = key_named("0f8fad5b-d9cb-469f-a165-70867728950f");
	keys[n++] = key_named(".42.swp");
	keys[n++] = key_named("x");
	keys[n++] = key_named(longest);
	for (size_t i = 0; i < n; i++) {
		struct pfs_version *v = pfs_version_new(&keys[i]);
		struct pfs_key out;

		assert_non_null(v);
		assert_true(pfs_list_empty(&v->list));
		pfs_version_key(v, &out);
		assert_true(pfs_key_equal(&out, &keys[i]));
		for (size_t j = 0; j < n; j++)
			assert_int_equal(pfs_version_has_key(v, &keys[j]), i == j);
		free(v);
	}
}

/* Proves: keys whose tags are equal, as hostile UUIDs can have, are told apart. */
static void equal_tags_are_not_equal_keys(void **state)
{
	struct pfs_key a = key_named("0f8fad5b-d9cb-469f-a165-70867728950e"), b = a;
	struct pfs_version *v = pfs_version_new(&a);
	uint64_t lo = 99;

	(void)state;
	pfs_put_le64(b.uuid, pfs_key_tag(&a) ^ pfs_mix64(lo));
	pfs_put_le64(b.uuid + 8, lo);
	assert_int_equal(pfs_key_tag(&a), pfs_key_tag(&b));
	assert_true(pfs_version_has_key(v, &a));
	assert_false(pfs_version_has_key(v, &b));
	free(v);
}

/* Proves: sources are the same when they are the same bytes in the same place; what is nowhere is
 * never the same. */
static void sources_are_compared_by_place(void **state)
{
	struct pfs_segment s1, s2;
	struct pfs_page p1, p2;
	const struct pfs_source sources[] = {
		{.kind = PFS_SOURCE_RECORD, .segment = &s1, .record_off = 4096},
		{.kind = PFS_SOURCE_RECORD, .segment = &s1, .record_off = 4136},
		{.kind = PFS_SOURCE_RECORD, .segment = &s2, .record_off = 4096},
		{.kind = PFS_SOURCE_CONTAINER, .page = &p1, .off = 4096, .seq = 1},
		{.kind = PFS_SOURCE_CONTAINER, .page = &p1, .off = 4096, .seq = 2},
		{.kind = PFS_SOURCE_CONTAINER, .page = &p1, .off = 4097, .seq = 1},
		{.kind = PFS_SOURCE_CONTAINER, .page = &p2, .off = 4096, .seq = 1},
		{.kind = PFS_SOURCE_STAGE, .stage = (struct pfs_stage *)&s1},
		{.kind = PFS_SOURCE_STAGE, .stage = (struct pfs_stage *)&s2},
		{.kind = PFS_SOURCE_EMPTY},
		{.kind = PFS_SOURCE_LOST},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(sources); i++)
		for (size_t j = 0; j < pfs_array_len(sources); j++)
			assert_int_equal(pfs_source_same(&sources[i], &sources[j]),
					 i == j && i < 9);
}

/* ---- lists ---- */

static void expect_list(const struct pfs_list *list, struct pfs_list *items, const char *order)
{
	const struct pfs_list *at = list;

	for (; *order; order++) {
		assert_ptr_equal(at->next, &items[*order - '0']);
		assert_ptr_equal(at->next->prev, at);
		at = at->next;
	}
	assert_ptr_equal(at->next, list);
	assert_ptr_equal(list->prev, at);
}

/* Proves: appending, removing, replacing and splicing keep lists whole in both directions. */
static void lists_stay_whole(void **state)
{
	struct pfs_list a, b, items[8];

	(void)state;
	pfs_list_init(&a);
	pfs_list_init(&b);
	for (unsigned i = 0; i < 8; i++)
		pfs_list_init(&items[i]);
	assert_true(pfs_list_empty(&a));
	pfs_list_splice(&a, &b);
	expect_list(&a, items, "");
	for (unsigned i = 0; i < 3; i++)
		pfs_list_append(&a, &items[i]);
	expect_list(&a, items, "012");
	pfs_list_remove(&items[1]);
	expect_list(&a, items, "02");
	assert_true(pfs_list_empty(&items[1]));
	pfs_list_remove(&items[1]); /* of none: nothing happens */
	pfs_list_replace(&items[0], &items[3]);
	expect_list(&a, items, "32");
	assert_true(pfs_list_empty(&items[0]));
	items[4].prev = items[4].next = NULL;
	pfs_list_replace(&items[0], &items[4]); /* in no list: nor is the other */
	assert_true(pfs_list_empty(&items[4]));
	pfs_list_append(&b, &items[5]);
	pfs_list_append(&b, &items[6]);
	pfs_list_splice(&a, &b);
	expect_list(&a, items, "3256");
	expect_list(&b, items, "");
	pfs_list_splice(&b, &a);
	expect_list(&b, items, "3256");
}

/* ---- stages ---- */

#define SIZE_MAX_TESTED 2000

/* Where each byte of a stage comes from. */
struct byte {
	enum { BASE, ZEROS, RECORD } from;
	uint64_t record, at;
};

struct model {
	struct pfs_stage *stage;
	struct byte bytes[SIZE_MAX_TESTED];
	uint64_t size, base_size, random, records;
	struct pfs_segment segments[5];
};

static uint64_t roll(struct model *m, uint64_t n)
{
	m->random += UINT64_C(0x9e3779b97f4a7c15);
	return pfs_mix64(m->random) % n;
}

static void model_new(struct model *m, uint64_t seed, uint64_t size)
{
	static const struct pfs_source base = {.kind = PFS_SOURCE_EMPTY};

	*m = (struct model){.random = seed, .size = size, .base_size = size};
	m->stage = pfs_stage_new(&base, size);
	assert_non_null(m->stage);
}

static void model_free(struct model *m)
{
	struct pfs_stage *gone = pfs_stage_unref(m->stage);

	assert_ptr_equal(gone, m->stage);
	for (size_t i = 0; i < pfs_array_len(m->segments); i++)
		assert_int_equal(m->segments[i].pins, 0);
	pfs_stage_free(gone);
}

static void resize(struct model *m, uint64_t size)
{
	for (uint64_t i = m->size; i < size; i++)
		m->bytes[i] = (struct byte){.from = ZEROS};
	m->base_size = pfs_min_u64(m->base_size, size);
	m->size = size;
}

static void change(struct model *m)
{
	bool zeros = roll(m, 4) == 0;
	uint64_t size = roll(m, 3) ? m->size : roll(m, SIZE_MAX_TESTED),
		 off = size ? roll(m, size) : 0;
	uint64_t len = roll(m, size - off + 1);
	struct pfs_journal_pos pos = {.segment = &m->segments[roll(m, 5)], .off = ++m->records};

	if (roll(m, 2))
		len = pfs_min_u64(len, roll(m, 30));
	pos.len = len + 100;
	assert_int_equal(pfs_stage_reserve(m->stage), 0);
	pfs_stage_change(m->stage, size, off, len, &pos, zeros ? PFS_STAGE_ZEROS : 64);
	resize(m, size);
	for (uint64_t i = off; i < off + len; i++)
		m->bytes[i] = zeros ? (struct byte){.from = ZEROS}
				    : (struct byte){RECORD, pos.off, 64 + (i - off)};
}

/* What a reader makes of extents and base: see read of stages. */
static void expect_range(struct model *m, uint64_t off, uint64_t len)
{
	struct pfs_stage_extent *extents;
	uint64_t base_size, size, at = off;
	struct pfs_source base;
	size_t count;

	assert_int_equal(
		pfs_stage_collect(m->stage, off, len, &extents, &count, &base, &base_size, &size),
		0);
	assert_int_equal(size, m->size);
	assert_int_equal(base_size, m->base_size);
	assert_true(count || !extents);
	for (size_t i = 0; i <= count; i++) {
		uint64_t begin = i < count ? extents[i].off : off + len;

		assert_true(begin >= at);
		assert_true(i == count || extents[i].len || !len);
		for (; at < begin && at < m->size; at++)
			assert_int_equal(m->bytes[at].from, at < base_size ? BASE : ZEROS);
		at = begin;
		for (; i < count && at < extents[i].off + extents[i].len; at++) {
			const struct byte *b = &m->bytes[at];

			assert_true(at < m->size && at < off + len);
			if (!extents[i].segment) {
				assert_int_equal(b->from, ZEROS);
				continue;
			}
			assert_int_equal(b->from, RECORD);
			assert_int_equal(b->record, extents[i].record_off);
			assert_int_equal(b->at, extents[i].data_off + (at - extents[i].off));
			assert_true(b->at < extents[i].record_len);
		}
	}
	free(extents);
}

static void expect_sound(const struct pfs_stage *stage)
{
	for (size_t i = 0; i < stage->count; i++) {
		assert_true(stage->extents[i].len > 0);
		assert_true(stage->extents[i].off + stage->extents[i].len <= stage->size);
		if (i)
			assert_true(stage->extents[i - 1].off + stage->extents[i - 1].len <=
				    stage->extents[i].off);
	}
	assert_true(stage->count <= stage->cap);
}

/* Proves: after any writes, zeroings, cuts and growths a stage says for every byte where it comes
 * from, as a map of single bytes does, for whole reads and any part. */
static void stages_equal_a_map_of_bytes(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct model m;

		model_new(&m, seed, seed * 100);
		for (unsigned step = 0; step < 300; step++) {
			uint64_t off;

			change(&m);
			expect_sound(m.stage);
			expect_range(&m, 0, m.size);
			off = roll(&m, m.size + 1);
			expect_range(&m, off, roll(&m, m.size - off + 1));
		}
		model_free(&m);
	}
}

/* Proves: a reservation is enough for any one change, which then cannot fail: also for a write into
 * the middle of an extent. */
static void a_reservation_is_enough(void **state)
{
	struct model m;

	(void)state;
	model_new(&m, 1, 1000);
	for (unsigned i = 0; i < 500; i++) {
		struct pfs_journal_pos pos = {.segment = &m.segments[0], .off = i + 1, .len = 100};
		const struct pfs_stage_extent *extents;

		assert_int_equal(pfs_stage_reserve(m.stage), 0);
		extents = m.stage->extents;
		assert_true(m.stage->cap >= m.stage->count + 2);
		if (i == 0)
			pfs_stage_change(m.stage, 1000, 0, 1000, &pos, 64);
		else
			pfs_stage_change(m.stage, 1000, 2 * i - 1, 1, &pos, 64);
		assert_ptr_equal(m.stage->extents, extents);
	}
	assert_int_equal(m.stage->count, 2 * 499 + 1);
	model_free(&m);
}

/* Proves: segments are pinned while the stage lives, once for each run of records in them, and let
 * go by the last reference only. */
static void stages_pin_their_segments(void **state)
{
	struct model m;

	(void)state;
	model_new(&m, 1, 100);
	for (unsigned i = 0; i < 6; i++) {
		struct pfs_journal_pos pos = {
			.segment = &m.segments[i / 3], .off = i + 1, .len = 100};

		assert_int_equal(pfs_stage_reserve(m.stage), 0);
		pfs_stage_change(m.stage, 100, i, 1, &pos, 64);
	}
	assert_int_equal(m.segments[0].pins, 1);
	assert_int_equal(m.segments[1].pins, 1);
	assert_int_equal(m.segments[2].pins, 0);
	m.stage->refs++;
	assert_null(pfs_stage_unref(m.stage));
	assert_int_equal(m.segments[0].pins, 1);
	model_free(&m);
	pfs_stage_free(NULL);
}

/* Proves: the base is replaced as a whole, and given back; its size does not come back with it. */
static void bases_are_replaced(void **state)
{
	struct pfs_source page = {.kind = PFS_SOURCE_CONTAINER, .off = 77, .seq = 5}, former, base;
	struct pfs_stage_extent *extents;
	uint64_t base_size, size;
	struct model m;
	size_t count;

	(void)state;
	model_new(&m, 1, 100);
	m.stage->base.off = 33;
	assert_int_equal(pfs_stage_reserve(m.stage), 0);
	pfs_stage_change(m.stage, 40, 0, 0, &(struct pfs_journal_pos){.segment = &m.segments[0]},
			 PFS_STAGE_ZEROS);
	assert_int_equal(pfs_stage_reserve(m.stage), 0);
	pfs_stage_change(m.stage, 200, 0, 0, &(struct pfs_journal_pos){.segment = &m.segments[0]},
			 PFS_STAGE_ZEROS);
	former = pfs_stage_rebase(m.stage, &page);
	assert_int_equal(former.off, 33);
	assert_int_equal(
		pfs_stage_collect(m.stage, 0, 200, &extents, &count, &base, &base_size, &size), 0);
	assert_true(pfs_source_same(&base, &page));
	assert_true(base_size == 40 && size == 200 && count == 0);
	model_free(&m);
}

/* Proves: what may be other than zero is counted with two blocks more for each record, and the
 * records' bytes are; zeros, and a base that is nothing, are not. */
static void what_may_not_be_zero_is_counted(void **state)
{
	static const struct pfs_source empty = {.kind = PFS_SOURCE_EMPTY},
				       page = {.kind = PFS_SOURCE_CONTAINER};
	struct pfs_segment segment = {.pins = 0};
	struct pfs_journal_pos pos = {.segment = &segment, .off = 1, .len = 300};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct pfs_stage *stage = pfs_stage_new(i ? &page : &empty, 5000);
		uint64_t dense = i ? 5000 : 0;

		assert_int_equal(stage->dense, dense);
		assert_int_equal(stage->logged, 0);
		assert_int_equal(pfs_stage_reserve(stage), 0);
		pfs_stage_change(stage, 5000, 10, 100, &pos, 64);
		dense += 100 + 2 * PFS_BLOCK_LEN;
		assert_int_equal(stage->dense, dense);
		assert_int_equal(stage->logged, 100);
		assert_int_equal(pfs_stage_reserve(stage), 0);
		pfs_stage_change(stage, 5000, 10, 100, &pos, PFS_STAGE_ZEROS);
		assert_int_equal(pfs_stage_reserve(stage), 0);
		pfs_stage_change(stage, 7000, 5000, 2000, &pos, 64);
		assert_int_equal(stage->dense, dense + 2000 + 2 * PFS_BLOCK_LEN);
		assert_int_equal(stage->logged, 2100);
		assert_ptr_equal(pfs_stage_unref(stage), stage);
		assert_int_equal(segment.pins, 0);
		pfs_stage_free(stage);
	}
	assert_int_equal(fenced_blocks, 0);
}

/* Proves: without memory nothing is changed, nothing given and nothing lost. */
static void memory_may_be_missing(void **state)
{
	struct pfs_key key = pfs_key_num(7);
	struct pfs_stage_extent *extents;
	uint64_t base_size, size;
	struct pfs_source base;
	struct model m;
	size_t count;

	(void)state;
	fenced_refuse(0);
	assert_null(pfs_version_new(&key));
	fenced_refuse(0);
	assert_null(pfs_stage_new(&(struct pfs_source){.kind = PFS_SOURCE_EMPTY}, 1));
	model_new(&m, 3, 100);
	for (unsigned i = 0; i < 40; i++) {
		struct pfs_journal_pos pos = {
			.segment = &m.segments[i % 5], .off = ++m.records, .len = 100};

		for (unsigned passes = 0; passes < 2; passes++) {
			fenced_refuse(passes);
			/* Both the extents and the pins have their memory, or one is refused. */
			if (pfs_stage_reserve(m.stage) == 0)
				assert_true(m.stage->count + 2 <= m.stage->cap &&
					    m.stage->pin_count < m.stage->pin_cap);
			fenced_refuses = false;
			expect_sound(m.stage);
			expect_range(&m, 0, m.size);
		}
		assert_int_equal(pfs_stage_reserve(m.stage), 0);
		pfs_stage_change(m.stage, 100, 2 * i, 1, &pos, 64);
		m.bytes[2 * i] = (struct byte){RECORD, pos.off, 64};
	}
	fenced_refuse(0);
	extents = (void *)&m;
	count = 77;
	assert_int_equal(
		pfs_stage_collect(m.stage, 0, 100, &extents, &count, &base, &base_size, &size),
		-ENOMEM);
	assert_null(extents);
	assert_int_equal(count, 0);
	expect_range(&m, 0, 100);
	model_free(&m);
	assert_int_equal(fenced_blocks, 0);
}

struct race {
	struct model m;
	bool stop;
};

static void *read_on(void *arg)
{
	struct race *race = arg;

	while (!__atomic_load_n(&race->stop, __ATOMIC_ACQUIRE)) {
		struct pfs_stage_extent *extents;
		uint64_t base_size, size, end = 0;
		struct pfs_source base;
		size_t count;

		if (pfs_stage_collect(race->m.stage, 0, SIZE_MAX_TESTED, &extents, &count, &base,
				      &base_size, &size))
			return race;
		for (size_t i = 0; i < count; i++) {
			if (extents[i].off < end || extents[i].off + extents[i].len > size)
				return race;
			end = extents[i].off + extents[i].len;
		}
		free(extents);
	}
	return NULL;
}

/* Proves: readers beside the writer always see one whole state (ThreadSanitizer watches). */
static void readers_see_whole_states(void **state)
{
	struct race *race = calloc(1, sizeof(*race));
	pthread_t threads[3];

	(void)state;
	model_new(&race->m, 5, 500);
	for (size_t t = 0; t < pfs_array_len(threads); t++)
		assert_int_equal(pthread_create(&threads[t], NULL, read_on, race), 0);
	for (unsigned step = 0; step < 5000; step++)
		change(&race->m);
	__atomic_store_n(&race->stop, true, __ATOMIC_RELEASE);
	for (size_t t = 0; t < pfs_array_len(threads); t++) {
		void *failed;

		pthread_join(threads[t], &failed);
		assert_null(failed);
	}
	model_free(&race->m);
	free(race);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(versions_keep_their_keys),
		cmocka_unit_test(equal_tags_are_not_equal_keys),
		cmocka_unit_test(sources_are_compared_by_place),
		cmocka_unit_test(lists_stay_whole),
		cmocka_unit_test(stages_equal_a_map_of_bytes),
		cmocka_unit_test(a_reservation_is_enough),
		cmocka_unit_test(stages_pin_their_segments),
		cmocka_unit_test(bases_are_replaced),
		cmocka_unit_test(what_may_not_be_zero_is_counted),
		cmocka_unit_test(memory_may_be_missing),
		cmocka_unit_test(readers_see_whole_states),
	};

	return cmocka_run_group_tests_name("pending", tests, NULL, NULL);
}
