/* C7 to C11 of the rules that keep documents safe (DESIGN, C1 to C11): one test for each, named
 * after it and directed at it. It fails when that rule is broken, and says by its name which one it
 * was; what else a broken rule leads to, the power-cut tests show. */
#include <stdlib.h>

#include "storage/page.h"
#include "tests/fault/box.h"

/* ---- C7 ---- */

/* Proves: a new page file's name is durable when the segments whose documents it took are recycled,
 * and a removed one's when others are. */
static void c7_the_directory_is_synced_before_a_segment_is_recycled(void **state)
{
	struct box *b = box_new();
	struct pfs_store *store;
	struct pfs_sim *image;

	(void)state;
	/* Names of segments are durable by now, so that their syncs of the directory are over. */
	put_id(b, 1, 30000, 3);
	checkpoint(b);
	put_id(b, 2, 20000, 5);
	checkpoint(b);
	for (uint64_t i = 0; i < 6; i++)
		put_id(b, 10 + i, 40000, 2 * i + 1);
	watch(b, false);
	checkpoint(b);
	assert_true(count_steps(b, PFS_SIM_SYNC_DIR, "") > 0);
	image = pfs_sim_crash_index(b->sim, 0);
	store = open_store(image);
	for (uint64_t i = 0; i < 6; i++)
		assert_true(is(store, 10 + i, 40000, 2 * i + 1));
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(image);
	box_free(b);
}

/* ---- C8 ---- */

static void expect_mode_of_either(struct pfs_store *store, size_t i)
{
	(void)i;
	assert_true(is(store, 1, 3000, 3));
	assert_true(mode_of(store, 1) == 0644 || mode_of(store, 1) == 0600);
	assert_true(is(store, 2, 3000, 5));
}

/* Proves: whoever moves a document syncs the copy before the source is retired: whatever a cut
 * keeps, one of them is there; where both are, the one with the higher sequence counts. */
static void c8_the_copy_is_synced_before_the_source_is_retired(void **state)
{
	struct box *b = box_new();
	size_t slots = 0, retired = 0;

	(void)state;
	put_id(b, 1, 3000, 3);
	put_id(b, 2, 3000, 5);
	checkpoint(b);
	set_mode(b->store, 1, 0600);
	watch(b, true);
	checkpoint(b);
	unwatch(b);
	/* Between the slot of the copy and the tombstone of the source there is a sync. */
	for (size_t i = 0; i < b->count; i++) {
		const struct step *s = &b->steps[i];

		if (!is_of(s, PFS_SIM_WRITE, "page-") || s->len != PFS_SLOT_LEN)
			continue;
		if (slots++ == 0)
			continue;
		retired = i;
		while (i-- > 0 && !is_of(&b->steps[i], PFS_SIM_SYNC, "page-"))
			assert_false(is_of(&b->steps[i], PFS_SIM_WRITE, "page-"));
		break;
	}
	assert_true(retired > 0);
	each_image(b, expect_mode_of_either);
	assert_int_equal(mode_of(b->store, 1), 0600);
	b->torn = 100;
	set_mode(b->store, 2, 0600);
	watch(b, true);
	checkpoint(b);
	unwatch(b);
	for (size_t i = 0; i < b->image_count; i++) {
		struct pfs_store *store = open_store(b->images[i]);

		assert_true(is(store, 2, 3000, 5));
		assert_int_equal(pfs_store_close(store), 0);
		pfs_sim_free(b->images[i]);
	}
	b->image_count = 0;
	box_free(b);
}

/* ---- C9 ---- */

/* Makes the container of a document name a dictionary, and verify. */
static void name_dictionary(struct pfs_sim *sim, const struct pfs_key *key, uint32_t dict)
{
	struct pfs_place at = place_of(sim, key);
	struct pfs_page_disk page;
	struct pfs_container_base base = {.kind = key->kind, .tag = pfs_key_tag(key)};
	struct pfs_container c;
	uint8_t *was = calloc(1, at.container_len), *now = calloc(1, at.container_len);
	size_t header;

	read_at(sim, page_name(at.page), 0, &page, sizeof(page));
	base.base_seq = pfs_get_le64(page.base_seq.b);
	base.base_mtime = (int64_t)pfs_get_le64(page.base_mtime.b);
	read_at(sim, page_name(at.page), at.offset, was, at.container_len);
	assert_int_equal(
		pfs_container_header_decode(&c, was, at.container_len, at.container_len, &base), 0);
	header = c.header_len;
	c.dict = dict;
	c.header_len = pfs_container_header_encode(now, &c, &base, at.container_len);
	memcpy(now + c.header_len, was + header, c.body_len);
	pfs_container_seal(now, c.header_len, c.body_len, now[4], c.seq, &base);
	write_at(sim, page_name(at.page), at.offset, now, at.container_len);
	free(was);
	free(now);
}

/* Proves: a value that names a dictionary which is not there is refused as damage, and the check
 * names it; it is never decoded without one, or with another. */
static void c9_a_value_of_an_unknown_dictionary_is_refused(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_key key = pfs_key_num(1), other = pfs_key_num(2);
	struct pfs_store *store;
	struct found *found;
	bool named = false;

	(void)state;
	/* The smallest container has room for the number. */
	create_store(sim, PFS_PAGE_SIZE_MIN, 2048);
	store = open_store(sim);
	put_document(store, &key, 3000, 4);
	put_document(store, &other, 3000, 6);
	assert_int_equal(pfs_store_close(store), 0);
	name_dictionary(sim, &key, 7);
	found = check_store(sim);
	for (size_t i = 0; i < found->count; i++)
		named = named || (found->at[i].fatal && pfs_key_equal(&found->at[i].key, &key));
	assert_true(named);
	free(found);
	store = open_store(sim);
	assert_int_equal(get_error(store, 1), -EIO);
	assert_true(is(store, 2, 3000, 6));
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* ---- C10 ---- */

/* Proves: an opening raises the epoch in the superblock, and syncs it, before it changes anything
 * else. */
static void c10_the_epoch_is_raised_before_the_first_change(void **state)
{
	struct box *b = box_new();
	size_t i = 0;

	(void)state;
	put_id(b, 1, 300, 3);
	assert_int_equal(pfs_store_close(b->store), 0);
	watch(b, false);
	box_open(b);
	assert_true(b->count > 4);
	for (unsigned copy = 0; copy < PFS_SUPER_COPIES; copy++) {
		assert_true(is_of(&b->steps[i++], PFS_SIM_WRITE, PFS_SUPER_NAME));
		assert_true(is_of(&b->steps[i++], PFS_SIM_SYNC, PFS_SUPER_NAME));
	}
	box_free(b);
}

/* Proves: an index that was saved under another epoch is not believed. */
static void c10_an_index_of_another_epoch_is_ignored(void **state)
{
	struct box *b = box_new();
	struct pfs_key one = pfs_key_num(1);
	uint64_t size;
	uint8_t *index;
	struct pfs_file *file;
	struct pfs_dir *dir;

	(void)state;
	put_id(b, 1, 300, 3);
	assert_int_equal(pfs_store_close(b->store), 0);
	size = size_at(b->sim, PFS_INDEX_NAME);
	index = malloc(size);
	read_at(b->sim, PFS_INDEX_NAME, 0, index, size);
	box_open(b);
	put_id(b, 2, 300, 5);
	assert_int_equal(pfs_remove(b->store, &one, NULL), 0);
	assert_int_equal(pfs_store_close(b->store), 0);
	file = store_file(b->sim, PFS_INDEX_NAME, &dir);
	assert_int_equal(file->ops->truncate(file, 0), 0);
	assert_int_equal(file->ops->write(file, index, size, 0), 0);
	store_file_done(dir, file);
	free(index);
	box_open(b);
	assert_int_equal(get_error(b->store, 1), -ENOENT);
	assert_true(is(b->store, 2, 300, 5));
	box_free(b);
}

/* ---- C11 ---- */

/* Proves: ticks and syncs make the journal durable and leave the pages alone; a checkpoint syncs
 * these. */
static void c11_pages_are_synced_by_checkpoints_alone(void **state)
{
	struct box *b = box_new();

	(void)state;
	put_id(b, 1, 300, 3);
	checkpoint(b);
	watch(b, false);
	for (uint64_t i = 0; i < 50; i++) {
		put_id(b, i, 300, 2 * i + 1);
		assert_int_equal(i % 2 ? pfs_store_tick(b->store) : pfs_sync(b->store), 0);
	}
	assert_int_equal(count_steps(b, PFS_SIM_SYNC, "journal-"), 50);
	assert_int_equal(count_steps(b, PFS_SIM_SYNC, "page-"), 0);
	assert_int_equal(count_steps(b, PFS_SIM_WRITE, "page-"), 0);
	checkpoint(b);
	assert_true(count_steps(b, PFS_SIM_SYNC, "page-") > 0);
	box_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(c7_the_directory_is_synced_before_a_segment_is_recycled),
		cmocka_unit_test(c8_the_copy_is_synced_before_the_source_is_retired),
		cmocka_unit_test(c9_a_value_of_an_unknown_dictionary_is_refused),
		cmocka_unit_test(c10_the_epoch_is_raised_before_the_first_change),
		cmocka_unit_test(c10_an_index_of_another_epoch_is_ignored),
		cmocka_unit_test(c11_pages_are_synced_by_checkpoints_alone),
	};

	cmocka_set_test_filter(getenv("FAULT_TEST"));
	return cmocka_run_group_tests_name("rules", tests, NULL, NULL);
}
