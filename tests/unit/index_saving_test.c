/* storage/store_index.c: what a store that is closed saves of its index, byte by byte, and what is
 * left where that fails. unit/saved_index_test has what an opening makes of it. The file is
 * included. */
#include <stdlib.h>

#include "storage/crc.h"
#include "storage/index_runs.h"
#include "storage/store_internal.h"

static bool no_memory;
static struct pfs_page *page_or_given(struct pfs_pager *pager, uint32_t number);
static int slot_or_given(struct pfs_page *page, uint32_t number, struct pfs_slot *slot);

#define place_of index_place_of
#define malloc(len) (no_memory ? NULL : malloc(len))
#define pfs_pager_find page_or_given
#define pfs_page_read_slot slot_or_given
#include "storage/store_index.c"
#undef place_of
#undef malloc
#undef pfs_pager_find
#undef pfs_page_read_slot

#include "tests/unit/one_store.h"

/* A page that there is not: its last slots have the numbers from 0 on, and those of the next page
 * the numbers behind these. */
enum { LAST_SLOTS = 100 };
static struct pfs_page *given_page;

static struct pfs_page *page_or_given(struct pfs_pager *pager, uint32_t number)
{
	return given_page ? given_page : pfs_pager_find(pager, number);
}

static int slot_or_given(struct pfs_page *page, uint32_t number, struct pfs_slot *slot)
{
	if (!given_page)
		return pfs_page_read_slot(page, number, slot);
	*slot = (struct pfs_slot){.kind = PFS_KEY_NUM,
				  .tag = (number + LAST_SLOTS) & PFS_SLOT_NUMBER_MAX};
	return 0;
}

/* ---- rows ---- */

/* An index of so many pages and entries; a row of documents takes two. */
static uint64_t size_of(uint64_t entries)
{
	return sizeof(struct pfs_index_disk) + 12 * entries + sizeof(struct pfs_index_page_disk) +
	       4;
}

/* Closes the store, looks for this many entries, and opens it again. */
static void close_and_open(uint64_t entries)
{
	assert_int_equal(pfs_store_close(store), 0);
	assert_int_equal(size_at(sim, PFS_INDEX_NAME), size_of(entries));
	expect_healthy(sim);
	store = open_store(sim);
}

/* Proves: documents with numbers in a row are saved as one from 64 on, wherever it begins and ends;
 * each of the others by itself; all are found again. */
static void what_is_in_a_row_is_saved_as_one(void **state)
{
	/* In this order: a UUID, or not; two rows of numbers. */
	static const struct {
		bool uuid;
		unsigned from[2], count[2];
		uint64_t entries;
	} cases[] = {
		{false, {5, 0}, {63, 0}, 63},
		{false, {5, 0}, {64, 0}, 2},
		{false, {5, 0}, {65, 0}, 2},
		{true, {5, 0}, {64, 0}, 3},
		/* Had the UUID a number, it would be 0. */
		{true, {1, 0}, {63, 0}, 64},
		{true, {1, 0}, {64, 0}, 3},
		/* What is too short does not spoil what follows, nor what is before. */
		{false, {0, 1000}, {10, 300}, 12},
		{true, {1, 1000}, {63, 64}, 66},
		{false, {0, 1000}, {64, 63}, 65},
		{false, {0, 1000}, {64, 64}, 4},
	};
	const struct pfs_key uuid = key_named("0f8fad5b-d9cb-469f-a165-70867728950e");

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		begin_store(PFS_MIB, 16);
		if (cases[i].uuid)
			put_document(store, &uuid, 60, 1);
		for (unsigned r = 0; r < 2; r++) {
			for (unsigned n = 0; n < cases[i].count[r]; n++) {
				struct pfs_key key = pfs_key_num(cases[i].from[r] + n);

				put_document(store, &key, 60, 1);
			}
		}
		for (unsigned pass = 0; pass < 2; pass++) {
			close_and_open(cases[i].entries);
			assert_int_equal(pfs_lookup(store, &uuid, NULL, NULL),
					 cases[i].uuid ? 0 : -ENOENT);
			for (unsigned r = 0; r < 2; r++) {
				for (unsigned n = 0; n < cases[i].count[r]; n++) {
					struct pfs_key key = pfs_key_num(cases[i].from[r] + n);

					assert_int_equal(pfs_lookup(store, &key, NULL, NULL), 0);
				}
			}
		}
		end_store(state);
	}
}

/* Proves: a row ends with the page that it began in, though the words of the next one's slots
 * follow. */
static void rows_end_with_their_page(void **state)
{
	struct pfs_store *bare = calloc(1, sizeof(*bare));
	struct pfs_page page = {.number = 4};
	struct pfs_index_run run;
	uint64_t word = pfs_word_page(4, PFS_SLOT_NUMBER_MAX - LAST_SLOTS + 1);

	(void)state;
	given_page = &page;
	assert_int_equal(pfs_index_new(&bare->index), 0);
	for (unsigned i = 0; i < 2 * LAST_SLOTS; i++) {
		uint32_t object;

		assert_int_equal(pfs_index_alloc(bare->index, &object), 0);
		pfs_index_set_word(bare->index, object, word + i);
		assert_int_equal(
			pfs_index_insert(bare->index, object, pfs_index_hash(PFS_KEY_NUM, i)), 0);
	}
	assert_int_equal(pfs_index_word(bare->index, PFS_OBJECT_FIRST + LAST_SLOTS),
			 pfs_word_page(5, 0));
	run = run_from(bare, PFS_OBJECT_FIRST, word);
	assert_int_equal(run.first, PFS_OBJECT_FIRST);
	assert_int_equal(run.number, 0);
	assert_int_equal(run.count, LAST_SLOTS);
	given_page = NULL;
	pfs_index_free(bare->index);
	free(bare);
}

/* ---- saving ---- */

/* Proves: the header has each count at its place, and zeros where there is nothing. */
static void headers_are_whole(void **state)
{
	struct pfs_store *bare = calloc(1, sizeof(*bare));
	struct pfs_dicts dicts = {.count = 0x1718};
	struct pfs_index_disk disk;
	uint8_t want[104] = PFS_INDEX_MAGIC;

	(void)state;
	bare->dicts = &dicts;
	bare->super.open_epoch = 0x0102030405060708;
	memcpy(bare->super.uuid, "of this store..", PFS_UUID_LEN);
	bare->points = 3;
	bare->scratch = 4;
	bare->raw_bytes = 5;
	bare->container_bytes = 6;
	bare->next_temp = 0x070000000008;
	pfs_put_le64(want + 16, 0x0102030405060708);
	memcpy(want + 24, "of this store..", PFS_UUID_LEN);
	for (unsigned i = 0; i < 6; i++)
		pfs_put_le64(want + 40 + 8 * i, 1 + i);
	pfs_put_le64(want + 88, 0x070000000008);
	pfs_put_le32(want + 96, 0x1718);
	for (unsigned known = 0; known < 2; known++) {
		bare->dict_users_known = known;
		pfs_put_le32(want + 100, 6 + known);
		pfs_put_le32(want + 8, pfs_crc32c(0, want + 12, sizeof(want) - 12));
		memset(&disk, 0xff, sizeof(disk));
		encode_header(bare, &disk, 1, 2);
		assert_memory_equal(&disk, want, sizeof(want));
	}
	free(bare);
}

/* The writes of what is going to be the index fail so often. */
struct no_writes {
	unsigned times;
	int err;
};

static int refuse_writes(void *arg, const struct pfs_sim_step *step)
{
	struct no_writes *no = arg;

	if (step->kind != PFS_SIM_WRITE || strcmp(step->name, PFS_INDEX_NAME ".tmp") != 0 ||
	    !no->times)
		return 0;
	no->times--;
	return no->err;
}

/* Proves: an index that can't be written, or for which there is no memory, is an error, and the
 * one from before stays; where the disk is full, and only there, both that and the reserve are
 * given up for it. */
static void indexes_that_cannot_be_saved(void **state)
{
	static const struct {
		struct no_writes no;
		bool no_memory, gives_up;
		int err;
	} cases[] = {
		{{0, 0}, false, false, 0},
		{{0, 0}, true, false, -ENOMEM},
		{{1, -EIO}, false, false, -EIO},
		{{1, -ENOSPC}, false, true, 0},
		{{2, -ENOSPC}, false, true, -ENOSPC},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct no_writes no = cases[i].no;

		begin_store(PFS_MIB, 16);
		put_numbers(10, 60);
		assert_int_equal(pfs_index_save(store), 0);
		assert_int_equal(size_at(sim, PFS_INDEX_NAME), size_of(10));
		put_numbers(12, 60);
		assert_true(has_file(sim, PFS_RESERVE_NAME));
		pfs_sim_on_step(sim, refuse_writes, &no);
		no_memory = cases[i].no_memory;
		assert_int_equal(pfs_index_save(store), cases[i].err);
		no_memory = false;
		pfs_sim_on_step(sim, NULL, NULL);
		assert_int_equal(no.times, 0);
		assert_int_equal(has_file(sim, PFS_RESERVE_NAME), !cases[i].gives_up);
		/* It goes with the reserve. */
		assert_int_equal(has_file(sim, PFS_INDEX_NAME),
				 !cases[i].gives_up || !cases[i].err);
		if (has_file(sim, PFS_INDEX_NAME))
			assert_int_equal(size_at(sim, PFS_INDEX_NAME),
					 size_of(cases[i].err ? 10 : 12));
		end_store(state);
	}
}

/* Proves: nothing is left in an index of what an attempt before has written. */
static void indexes_are_written_anew(void **state)
{
	begin_store(PFS_MIB, 16);
	put_numbers(10, 60);
	make_file(sim, PFS_INDEX_NAME ".tmp");
	write_at(sim, PFS_INDEX_NAME ".tmp", 5000, "longer", 6);
	assert_int_equal(pfs_index_save(store), 0);
	assert_int_equal(size_at(sim, PFS_INDEX_NAME), size_of(10));
	end_store(state);
}

/* Proves: what of a page was not known to be free, for lack of memory, is counted anew before it is
 * saved. */
static void free_space_is_saved_exactly(void **state)
{
	struct pfs_index_page_disk disk;
	struct pfs_page *page;
	uint64_t free_bytes, off;

	begin_store(PFS_MIB, 16);
	put_numbers(3, 5000);
	drop_number(1);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	page = pfs_pager_find(store->pager, 1);
	free_bytes = page->space.free_bytes;
	assert_int_equal(pfs_space_take(&page->space, 1024, &off), 0);
	page->inexact = true;
	assert_int_equal(pfs_index_save(store), 0);
	assert_false(page->inexact);
	assert_int_equal(page->space.free_bytes, free_bytes);
	read_at(sim, PFS_INDEX_NAME, size_of(2) - 4 - sizeof(disk), &disk, sizeof(disk));
	assert_int_equal(pfs_get_le32(disk.page.b), 1);
	assert_int_equal(pfs_get_le64(disk.free_bytes.b), free_bytes);
	end_store(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_in_a_row_is_saved_as_one),
		cmocka_unit_test(rows_end_with_their_page),
		cmocka_unit_test(headers_are_whole),
		cmocka_unit_test(indexes_that_cannot_be_saved),
		cmocka_unit_test(indexes_are_written_anew),
		cmocka_unit_test(free_space_is_saved_exactly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
