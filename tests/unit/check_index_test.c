/* storage/check*.c: damage and disagreement in the superblock, in the saved index, and between
 * slots. */
#include "storage/crc.h"
#include "storage/index.h"
#include "storage/page.h"
#include "tests/unit/failing_open.h"
#include "tests/unit/store_helpers.h"

#define DOCUMENTS 40

/* A closed store: documents 0 to DOCUMENTS - 1, of which every fifth is a scratch file; document 7
 * was removed. */
static struct pfs_key key_number(unsigned i)
{
	char name[32];

	if (i % 5)
		return pfs_key_num(i);
	snprintf(name, sizeof(name), "scratch%u", i);
	return key_named(name);
}

static struct pfs_sim *make(void)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	struct pfs_key gone = key_number(7);

	create_store(sim, 64 * PFS_KIB, 128);
	store = open_store(sim);
	for (unsigned i = 0; i < DOCUMENTS; i++) {
		struct pfs_key key = key_number(i);

		put_document(store, &key, 100 + 300 * i, i);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_remove(store, &gone, NULL), 0);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	return sim;
}

static int make_store(void **state)
{
	*state = make();
	return 0;
}

static int free_store(void **state)
{
	pfs_sim_free(*state);
	return 0;
}

/* The only fatal finding, which has this in its text. */
static struct pfs_finding only_fatal(struct pfs_sim *sim, const char *text)
{
	struct found *found = check_store(sim);
	struct pfs_finding fatal = {.fatal = false};

	for (size_t i = 0; i < found->count; i++)
		if (found->at[i].fatal)
			fatal = found->at[i];
	if (found->fatal != 1 || !strstr(fatal.text, text)) {
		print_found(found);
		fail_msg("expected once: %s", text);
	}
	free(found);
	return fatal;
}

/* ---- superblock ---- */

/* Proves: every bit of both copies of the superblock is guarded, and the other copy serves. */
static void every_bit_of_the_superblock_is_guarded(void **state)
{
	for (unsigned bit = 0; bit < 2 * 8 * 256; bit += test_sample()) {
		uint64_t off = bit / 8 < 256 ? bit / 8 : PFS_SUPER_STRIDE + bit / 8 - 256;
		struct pfs_finding finding;

		flip_bit(*state, PFS_SUPER_NAME, off, bit % 8);
		finding = only_fatal(*state, "this copy of the superblock is damaged");
		assert_string_equal(finding.where, PFS_SUPER_NAME);
		assert_int_equal(finding.offset, off < 256 ? 0 : PFS_SUPER_STRIDE);
		flip_bit(*state, PFS_SUPER_NAME, off, bit % 8);
	}
}

static void seal_super(struct pfs_super_disk *disk)
{
	pfs_put_le32(disk->crc.b, pfs_crc32c(0, (uint8_t *)disk + 12, sizeof(*disk) - 12));
}

/* Proves: an older copy, as a crash between the two writes leaves it, is a remark; copies that
 * differ in the same generation are damage. */
static void superblock_copies_are_compared(void **state)
{
	struct pfs_super_disk disk;
	struct found *found;

	read_at(*state, PFS_SUPER_NAME, PFS_SUPER_STRIDE, &disk, sizeof(disk));
	pfs_put_le64(disk.created_ns.b, 77);
	seal_super(&disk);
	write_at(*state, PFS_SUPER_NAME, PFS_SUPER_STRIDE, &disk, sizeof(disk));
	only_fatal(*state, "the same generation");

	pfs_put_le64(disk.generation.b, pfs_get_le64(disk.generation.b) - 1);
	seal_super(&disk);
	write_at(*state, PFS_SUPER_NAME, PFS_SUPER_STRIDE, &disk, sizeof(disk));
	found = check_store(*state);
	assert_int_equal(found->count, 1);
	assert_false(found->at[0].fatal);
	assert_int_equal(found->at[0].offset, PFS_SUPER_STRIDE);
	free(found);
}

/* Proves: documents newer than the superblock's last sequence show a superblock that is too old. */
static void documents_newer_than_the_superblock_are_found(void **state)
{
	struct pfs_super_disk disk;
	struct found *found;

	read_at(*state, PFS_SUPER_NAME, 0, &disk, sizeof(disk));
	pfs_put_le64(disk.sequence.b, pfs_get_le64(disk.sequence.b) - 3);
	seal_super(&disk);
	write_at(*state, PFS_SUPER_NAME, 0, &disk, sizeof(disk));
	write_at(*state, PFS_SUPER_NAME, PFS_SUPER_STRIDE, &disk, sizeof(disk));
	found = check_store(*state);
	/* Two documents, and the tombstone of the one that was removed last. */
	assert_int_equal(found->fatal, 3);
	for (size_t i = 0; i < found->count; i++)
		assert_non_null(strstr(found->at[i].text, "newer"));
	free(found);
}

/* ---- index ---- */

/* Proves: every byte of the index is guarded. */
static void every_byte_of_the_index_is_guarded(void **state)
{
	uint64_t size = size_at(*state, PFS_INDEX_NAME);

	for (uint64_t off = 0; off < size; off += test_sample()) {
		struct pfs_finding finding;

		flip_bit(*state, PFS_INDEX_NAME, off, off % 8);
		finding = only_fatal(*state, "the next opening makes it anew");
		assert_string_equal(finding.where, PFS_INDEX_NAME);
		flip_bit(*state, PFS_INDEX_NAME, off, off % 8);
	}
	expect_healthy(*state);
}

struct index {
	struct pfs_index_disk header;
	uint8_t *body; /* objects, then pages */
	uint64_t objects, pages;
};

static struct pfs_index_object_disk *object_at(struct index *index, uint64_t i)
{
	return (struct pfs_index_object_disk *)index->body + i;
}

static struct index read_index(struct pfs_sim *sim)
{
	struct index index;

	read_at(sim, PFS_INDEX_NAME, 0, &index.header, sizeof(index.header));
	index.objects = pfs_get_le64(index.header.objects.b);
	index.pages = pfs_get_le64(index.header.pages.b);
	index.body = malloc((index.objects + 1) * 12 + index.pages * 24);
	read_at(sim, PFS_INDEX_NAME, sizeof(index.header), index.body,
		index.objects * 12 + index.pages * 24);
	return index;
}

/* With right checksums. */
static void write_index(struct pfs_sim *sim, struct index *index)
{
	size_t len = index->objects * 12 + index->pages * 24;
	struct pfs_dir *dir;
	struct pfs_file *file = store_file(sim, PFS_INDEX_NAME, &dir);
	uint8_t crc[4];

	assert_int_equal(file->ops->truncate(file, 0), 0);
	store_file_done(dir, file);
	pfs_put_le64(index->header.objects.b, index->objects);
	pfs_put_le64(index->header.pages.b, index->pages);
	pfs_put_le32(index->header.crc.b,
		     pfs_crc32c(0, (uint8_t *)&index->header + 12, sizeof(index->header) - 12));
	pfs_put_le32(crc, pfs_crc32c(0, index->body, len));
	write_at(sim, PFS_INDEX_NAME, 0, &index->header, sizeof(index->header));
	write_at(sim, PFS_INDEX_NAME, sizeof(index->header), index->body, len);
	write_at(sim, PFS_INDEX_NAME, sizeof(index->header) + len, crc, sizeof(crc));
}

/* Proves: an entry with another hash makes its document impossible to find, which is said with its
 * key; where its page can't be opened again, that it may be so, of no key. */
static void wrong_hashes_are_named(void **state)
{
	struct failing_open openings = {.at = 3}; /* after the length and the page itself */
	struct found *found;
	char expected[128];
	struct index index = read_index(*state);
	struct pfs_key key = key_number(11);
	struct pfs_place place = place_of(*state, &key);
	struct pfs_finding finding;

	for (uint64_t i = 0; i < index.objects; i++) {
		struct pfs_index_object_disk *o = object_at(&index, i);

		if (pfs_get_le32(o->page.b) == place.page && pfs_get_le32(o->slot.b) == place.slot)
			o->hash.b[3] ^= 0x40;
	}
	write_index(*state, &index);
	snprintf(expected, sizeof(expected),
		 "it can't be found: the index has another hash for page %u, slot %u", place.page,
		 place.slot);
	finding = only_fatal(*state, expected);
	assert_true(pfs_key_equal(&finding.key, &key));
	openings.name = page_name(place.page);
	pfs_sim_on_look(*state, fail_open, &openings);
	found = check_store(*state);
	assert_int_equal(found->count, 2);
	assert_string_equal(found->at[0].text, "the index may have another hash for page 1, slot "
					       "0, which can't be read");
	assert_int_equal(found->at[0].key.kind, PFS_KEY_NONE);
	assert_true(found->at[0].fatal);
	assert_string_equal(found->at[1].text, expected);
	pfs_sim_on_look(*state, NULL, NULL);
	free(found);
	free(index.body);
}

/* Proves: of a page with a damaged document nothing is read again for the index, which says of the
 * others what there is. */
static void pages_that_agree_are_read_once(void **state)
{
	struct failing_open openings = {.at = 0};
	struct pfs_key key = key_number(11);
	struct pfs_place place = place_of(*state, &key);
	struct pfs_finding finding;

	flip_bit(*state, page_name(place.page), place.offset + place.container_len / 2, 3);
	openings.name = page_name(place.page);
	pfs_sim_on_look(*state, fail_open, &openings);
	finding = only_fatal(*state, "checksum of its container");
	pfs_sim_on_look(*state, NULL, NULL);
	assert_true(pfs_key_equal(&finding.key, &key));
	assert_int_equal(openings.seen, 2); /* for its length, and to be checked */
}

/* Proves: a live slot that the index lacks is named. */
static void slots_that_the_index_lacks_are_named(void **state)
{
	struct index index = read_index(*state);
	struct pfs_key key = key_number(10);
	struct pfs_place place = place_of(*state, &key);
	struct pfs_finding finding;
	uint64_t kept = 0;

	for (uint64_t i = 0; i < index.objects; i++) {
		struct pfs_index_object_disk o = *object_at(&index, i);

		if (pfs_get_le32(o.page.b) != place.page || pfs_get_le32(o.slot.b) != place.slot)
			*object_at(&index, kept++) = o;
	}
	memmove(object_at(&index, kept), object_at(&index, index.objects), index.pages * 24);
	assert_int_equal(kept, index.objects - 1);
	index.objects = kept;
	write_index(*state, &index);
	finding = only_fatal(*state, "the index lacks it");
	assert_true(pfs_key_equal(&finding.key, &key));
	assert_string_equal(finding.where, page_name(place.page));
	free(index.body);
}

/* Proves: entries without a document (tombstone, beyond the slots, no such page) and double ones
 * are found. */
static void entries_without_a_document_are_found(void **state)
{
	static const uint32_t places[][2] = {
		{1, 7}, {1, 100000}, {0, 3}, {900, 3}, {0xffffffff, 0xffffffff}, {1, 6}};
	struct index index = read_index(*state);

	memmove(object_at(&index, index.objects + 1), object_at(&index, index.objects),
		index.pages * 24);
	index.objects++;
	for (size_t i = 0; i < pfs_array_len(places); i++) {
		struct pfs_index_object_disk *o = object_at(&index, index.objects - 1);

		pfs_put_le32(o->page.b, places[i][0]);
		pfs_put_le32(o->slot.b, places[i][1]);
		write_index(*state, &index);
		only_fatal(*state, i + 1 < pfs_array_len(places) ? "where there is none"
								 : "page 1, slot 6 twice");
	}
	free(index.body);
}

/* Proves: each count of the index is compared with a recount. */
static void counts_of_the_index_are_compared(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		struct index index = read_index(*state);
		struct pfs_index_disk before = index.header;
		pfs_le64 *counts[] = {&index.header.points, &index.header.scratch,
				      &index.header.raw_bytes, &index.header.container_bytes};

		pfs_put_le64(counts[i]->b, pfs_get_le64(counts[i]->b) + 1);
		write_index(*state, &index);
		assert_int_equal(only_fatal(*state, "it says").offset, 56 + 8 * i);
		index.header = before;
		write_index(*state, &index);
		free(index.body);
	}
	expect_healthy(*state);
}

/* Proves: what the index says of the free space of each page is compared with a recount, to the
 * byte and the slot, up and down; but not where the header is lost that says where it begins. */
static void free_space_of_the_index_is_compared(void **state)
{
	static const char *const said[] = {"bytes of room in page", "free bytes in page",
					   "free slots in page"};
	struct index index = read_index(*state);

	assert_true(index.pages > 1);
	for (uint64_t i = 0; i < index.pages * 3 * 3; i++) {
		struct pfs_index_page_disk *page =
			(struct pfs_index_page_disk *)object_at(&index, index.objects) + i / 9;
		struct pfs_index_page_disk before = *page;
		uint8_t *bytes[] = {page->largest.b, page->free_bytes.b, page->free_slots.b};
		uint32_t is = pfs_get_le32(bytes[i % 3]);
		uint32_t says[] = {is + 1, is - 1, is ? 0 : 5};

		pfs_put_le32(bytes[i % 3], says[i / 3 % 3]);
		write_index(*state, &index);
		assert_string_equal(only_fatal(*state, said[i % 3]).where, PFS_INDEX_NAME);
		*page = before;
	}
	write_index(*state, &index);
	expect_healthy(*state);
	flip_bit(*state, page_name(1), 20, 0);
	only_fatal(*state, "opened by the copy at its end");
	free(index.body);
}

#define VALUES 300

/* Proves: a page that is being emptied when the store is closed, and one that was not read since
 * the index was loaded, are saved as they are, so that what is free there is used again. */
static void free_space_is_saved_exactly(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store_stat stat;
	struct pfs_store *store;

	(void)state;
	create_store(sim, 4 * PFS_MIB, 128);
	store = open_store(sim);
	for (unsigned i = 0; i < VALUES; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 12000, 2 * i + 1);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	for (unsigned i = 0; i < VALUES; i += 2) {
		struct pfs_key key = pfs_key_num(i);

		assert_int_equal(pfs_remove(store, &key, NULL), 0);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_store_compact_step(store, true), 1); /* not all that is in it */
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	store = open_store(sim);
	assert_int_equal(pfs_store_stat(store, &stat), 0);
	assert_int_equal(stat.pages, 2);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

/* Proves: a page that the index does not know is found: the store would not find what it holds. */
static void pages_that_the_index_lacks_are_found(void **state)
{
	struct index index = read_index(*state);
	uint64_t kept = 0, lost = 0;
	struct found *found;

	assert_true(index.pages > 1);
	for (uint64_t i = 0; i < index.objects; i++) {
		struct pfs_index_object_disk o = *object_at(&index, i);

		if (pfs_get_le32(o.page.b) != index.pages)
			*object_at(&index, kept++) = o;
		else
			lost++;
	}
	memmove(object_at(&index, kept), object_at(&index, index.objects), index.pages * 24);
	index.objects = kept;
	index.pages--;
	write_index(*state, &index);
	assert_true(lost > 0);
	found = check_store(*state);
	assert_int_equal(found->fatal, 1);
	assert_non_null(strstr(found->at[0].text, "the index lacks the page"));
	free(found);
	free(index.body);
}

/* Proves: an index of an earlier close, or none, is only remarked upon: the store does not need it.
 */
static void missing_and_stale_indexes_are_remarks(void **state)
{
	struct index index = read_index(*state);
	struct found *found;

	pfs_put_le64(index.header.epoch.b, pfs_get_le64(index.header.epoch.b) - 1);
	write_index(*state, &index);
	found = check_store(*state);
	assert_true(found->count == 1 && found->fatal == 0);
	free(found);
	remove_file(*state, PFS_INDEX_NAME);
	found = check_store(*state);
	assert_true(found->count == 1 && found->fatal == 0);
	free(found);
	free(index.body);
}

/* ---- slots ---- */

static uint64_t slot_off(const struct pfs_place *place)
{
	return pfs_slot_offset(place->slot);
}

/* Proves: two slots with the same container overlap and name one document twice; both are said. */
static void overlapping_containers_are_found(void **state)
{
	struct pfs_key key = key_number(11);
	struct pfs_place place = place_of(*state, &key);
	struct pfs_slot_disk slot;
	struct found *found;
	bool overlap = false, twice = false;

	assert_int_equal(place.page, 1);
	read_at(*state, page_name(1), slot_off(&place), &slot, sizeof(slot));
	write_at(*state, page_name(1), pfs_slot_offset(7), &slot,
		 sizeof(slot)); /* the tombstone's */
	found = check_store(*state);
	for (size_t i = 0; i < found->count; i++) {
		overlap = overlap || strstr(found->at[i].text, "overlaps that of slot");
		twice = twice || strstr(found->at[i].text, "it is there 2 times");
		if (found->at[i].fatal && strcmp(found->at[i].where, PFS_INDEX_NAME) != 0)
			assert_true(pfs_key_equal(&found->at[i].key, &key));
	}
	assert_true(overlap && twice);
	free(found);
}

/* Proves: a second version of a document in the space of a removed one is found by its key alone.
 */
static void documents_that_are_there_twice_are_named(void **state)
{
	struct pfs_key key = key_number(6), before = key_number(8);
	struct pfs_place place = place_of(*state, &key), next = place_of(*state, &before);
	struct pfs_slot_disk disk;
	struct pfs_slot slot;
	struct found *found;
	uint8_t bytes[8192];
	bool twice = false;

	/* Containers go downwards: that of 7, which is gone, is behind that of 8. */
	assert_true(place.page == 1 && next.page == 1);
	assert_true(next.offset + next.container_len + place.container_len <= place.offset);
	read_at(*state, page_name(1), place.offset, bytes, place.container_len);
	write_at(*state, page_name(1), next.offset + next.container_len, bytes,
		 place.container_len);
	read_at(*state, page_name(1), slot_off(&place), &disk, sizeof(disk));
	assert_int_equal(pfs_slot_decode(&slot, &disk, 0, 64 * PFS_KIB), 0);
	slot.off = (uint32_t)(next.offset + next.container_len);
	pfs_slot_encode(&disk, &slot);
	write_at(*state, page_name(1), pfs_slot_offset(7), &disk, sizeof(disk));
	found = check_store(*state);
	for (size_t i = 0; i < found->count; i++) {
		twice = twice || (strstr(found->at[i].text, "it is there 2 times") &&
				  pfs_key_equal(&found->at[i].key, &key));
		assert_null(strstr(found->at[i].text, "overlap"));
	}
	assert_true(twice);
	assert_int_equal(found->result.documents, DOCUMENTS - 1);
	free(found);
}

/* Proves: a container may not reach into slots, into the copy of the header, or out of the page. */
static void containers_out_of_bounds_are_found(void **state)
{
	struct pfs_key key = key_number(11);
	struct pfs_place place = place_of(*state, &key);
	const struct {
		uint32_t off;
		uint64_t len;
	} places[] = {
		{100, 200},
		{64 * PFS_KIB - PFS_PAGE_TRAILER_LEN - 128, 129},
		{64 * PFS_KIB - 128, 200},
		{0xfffffff0, 128},
		{(uint32_t)place.offset, 100 * PFS_MIB},
	};

	for (size_t i = 0; i < pfs_array_len(places); i++) {
		struct pfs_slot slot = {PFS_KEY_NUM, 11, places[i].off, places[i].len, 0};
		struct pfs_slot_disk disk;
		struct found *found;

		pfs_slot_encode(&disk, &slot);
		write_at(*state, page_name(1), slot_off(&place), &disk, sizeof(disk));
		found = check_store(*state);
		assert_int_equal(found->fatal, 1);
		assert_int_equal(found->at[0].offset, slot_off(&place));
		assert_non_null(strstr(found->at[0].text, "its slot is damaged"));
		free(found);
	}
}

#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, make_store, free_store)

/* Proves: objects in slots one after the other, under numbers one after the other, take no bytes
 * each in the index; they are found again by their ids, with others between them; and a run that is
 * not what is there, or makes no sense, is said, and not used. */
static void runs_of_ids_take_no_bytes(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	struct index index;
	struct found *found;
	uint64_t size, records;

	(void)state;
	create_store(sim, 256 * PFS_KIB, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < 3000; i++) {
		struct pfs_key key = pfs_key_num(UINT64_MAX - 2999 + i), other = pfs_key_num(7 * i);

		put_document(store, i % 1000 == 999 ? &other : &key, 40, i + 1);
	}
	assert_int_equal(pfs_store_close(store), 0);
	size = size_at(sim, PFS_INDEX_NAME);
	assert_true(size < 300);
	expect_healthy(sim);
	for (unsigned round = 0; round < 2; round++) {
		store = open_store(sim);
		for (unsigned i = 0; i < 3000; i++) {
			struct pfs_key key = pfs_key_num(UINT64_MAX - 2999 + i),
				       other = pfs_key_num(7 * i);
			uint8_t want[40];
			void *have;
			size_t len;

			fill_document(want, sizeof(want), i + 1);
			assert_int_equal(
				pfs_get(store, i % 1000 == 999 ? &other : &key, &have, &len, NULL),
				0);
			assert_memory_equal(have, want, sizeof(want));
			free(have);
		}
		assert_int_equal(pfs_store_close(store), 0);
		assert_int_equal(size_at(sim, PFS_INDEX_NAME), size);
	}
	read_at(sim, PFS_INDEX_NAME, 0, &index.header, sizeof(index.header));
	index.pages = pfs_get_le64(index.header.pages.b);
	records = (size - sizeof(index.header) - 4 - index.pages * 24) / 12;
	index.objects = records;
	index.body = malloc(records * 12 + index.pages * 24);
	read_at(sim, PFS_INDEX_NAME, sizeof(index.header), index.body,
		records * 12 + index.pages * 24);
	assert_true(pfs_get_le32(index.body) & PFS_INDEX_RUN_BIT);
	for (unsigned fault = 0; fault < 4; fault++) {
		uint8_t *at = index.body + (fault == 0	 ? 12
					    : fault == 1 ? 16
					    : fault == 2 ? 4
							 : 15);
		uint8_t before = *at;

		*at ^= fault == 2 ? 1 : 3;
		/* write_index says as many objects as there are entries. */
		write_index(sim, &index);
		pfs_put_le64(index.header.objects.b, 3000);
		pfs_put_le32(index.header.crc.b, pfs_crc32c(0, (uint8_t *)&index.header + 12,
							    sizeof(index.header) - 12));
		write_at(sim, PFS_INDEX_NAME, 0, &index.header, sizeof(index.header));
		found = check_store(sim);
		assert_true(found->fatal > 0);
		free(found);
		if (fault == 0 || fault == 3) {
			/* What can't be used is made anew from the slots. */
			struct pfs_key last = pfs_key_num(7 * 2999),
				       some = pfs_key_num(UINT64_MAX - 5);
			struct pfs_sim *copy = pfs_sim_kill(sim);

			store = open_store(copy);
			assert_int_equal(pfs_lookup(store, &last, &(uint32_t){0}, NULL), 0);
			assert_int_equal(pfs_lookup(store, &some, &(uint32_t){0}, NULL), 0);
			assert_int_equal(pfs_store_close(store), 0);
			expect_healthy(copy);
			pfs_sim_free(copy);
		}
		*at = before;
	}
	free(index.body);
	pfs_sim_free(sim);
}

#define MANY 1003u /* three more than are named of one kind */
#define NAMED 1000u

static struct pfs_key key_uuid(unsigned i)
{
	char name[64];

	snprintf(name, sizeof(name), "00000000-0000-4000-8000-%012x", i * 77);
	return key_named(name);
}

/* MANY documents in one page, in the order of their slots and of the index. */
static struct pfs_sim *many(struct index *index)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;

	create_store(sim, 128 * PFS_KIB, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < MANY; i++) {
		struct pfs_key key = key_uuid(i);

		put_document(store, &key, 3, i);
	}
	assert_int_equal(pfs_store_close(store), 0);
	*index = read_index(sim);
	assert_int_equal(index->objects, MANY);
	assert_int_equal(index->pages, 1);
	return sim;
}

/* As many as `named` findings that have this in their text, each with its key (if it has one), and
 * then one that counts `all` of them (0: none). */
static void expect_named(struct pfs_sim *sim, const char *text, unsigned named, bool keys,
			 unsigned all)
{
	struct found *found = check_store(sim);
	char counted[128];

	snprintf(counted, sizeof(counted), "the index lacks %u documents of it", all);
	assert_int_equal(found->count, named + (all != 0));
	for (unsigned i = 0; i < named; i++) {
		struct pfs_key key = key_uuid(i + (all ? MANY - all : 0));

		assert_non_null(strstr(found->at[i].text, text));
		assert_true(found->at[i].fatal);
		assert_true(keys ? pfs_key_equal(&found->at[i].key, &key)
				 : found->at[i].key.kind == PFS_KEY_NONE);
	}
	if (all) {
		assert_string_equal(found->at[named].text, counted);
		assert_string_equal(found->at[named].where, page_name(1));
		assert_int_equal(found->at[named].offset, PFS_PAGE_HEADER_LEN);
	}
	free(found);
}

/* Proves: of each kind of fault of the index a thousand are named, no fewer and no more; that more
 * documents are missing is said with their number, and what the index has where nothing is counts
 * as damaged, each. */
static void a_thousand_of_a_kind_are_named(void **state)
{
	struct index index, changed;
	struct pfs_sim *sim = many(&index);
	struct found *found;

	(void)state;
	changed = index;
	changed.body = malloc(2 * MANY * 12 + 24);
	memcpy(changed.body, index.body, MANY * 12 + 24);
	for (unsigned i = 0; i < MANY; i++)
		object_at(&changed, i)->hash.b[0] ^= 1;
	write_index(sim, &changed);
	expect_named(sim, "it can't be found: the index has another hash for page 1, slot ", NAMED,
		     true, 0);
	/* The first ones are there. */
	for (unsigned missing = NAMED; missing <= NAMED + 1; missing++) {
		memcpy(changed.body, index.body, MANY * 12);
		memcpy(object_at(&changed, MANY - missing), object_at(&index, MANY), 24);
		changed.objects = MANY - missing;
		write_index(sim, &changed);
		found = check_store(sim);
		assert_int_equal(found->count, missing);
		free(found);
		if (missing > NAMED)
			expect_named(sim, "it can't be found: the index lacks it", NAMED, true,
				     missing);
	}
	memcpy(changed.body, index.body, MANY * 12);
	memcpy(object_at(&changed, MANY), index.body, MANY * 12 + 24);
	changed.objects = 2 * MANY;
	write_index(sim, &changed);
	expect_named(sim, "it has page 1, slot ", NAMED, false, 0);
	for (unsigned i = 0; i < MANY; i++)
		pfs_put_le32(object_at(&changed, MANY + i)->slot.b, MANY + i);
	write_index(sim, &changed);
	expect_named(sim, "the index has a document here, where there is none", NAMED, false, 0);
	found = check_store(sim);
	assert_int_equal(found->result.damaged, MANY);
	assert_int_equal(found->result.documents, 2 * MANY);
	assert_int_equal(found->at[NAMED - 1].offset, pfs_slot_offset(MANY + NAMED - 1));
	free(found);
	write_index(sim, &index);
	expect_healthy(sim);
	free(changed.body);
	free(index.body);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(every_bit_of_the_superblock_is_guarded),
		WITH_STORE(superblock_copies_are_compared),
		WITH_STORE(documents_newer_than_the_superblock_are_found),
		WITH_STORE(every_byte_of_the_index_is_guarded),
		WITH_STORE(wrong_hashes_are_named),
		WITH_STORE(pages_that_agree_are_read_once),
		WITH_STORE(slots_that_the_index_lacks_are_named),
		WITH_STORE(entries_without_a_document_are_found),
		WITH_STORE(counts_of_the_index_are_compared),
		WITH_STORE(free_space_of_the_index_is_compared),
		cmocka_unit_test(free_space_is_saved_exactly),
		WITH_STORE(pages_that_the_index_lacks_are_found),
		WITH_STORE(missing_and_stale_indexes_are_remarks),
		WITH_STORE(overlapping_containers_are_found),
		WITH_STORE(documents_that_are_there_twice_are_named),
		WITH_STORE(containers_out_of_bounds_are_found),
		cmocka_unit_test(runs_of_ids_take_no_bytes),
		cmocka_unit_test(a_thousand_of_a_kind_are_named),
	};

	return cmocka_run_group_tests_name("check_index", tests, NULL, NULL);
}
