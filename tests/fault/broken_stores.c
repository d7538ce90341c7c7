#include "tests/fault/broken_stores.h"

#include "storage/crc.h"
#include "storage/index.h"
#include "storage/store_internal.h"
#include "tests/unit/repair_helpers.h"

#define MANY 300 /* consecutive numbers, which the saved index has as one run */

static void spoil(struct pfs_sim *sim, const char *name, uint64_t off)
{
	uint8_t junk[64];

	fill_document(junk, sizeof(junk), 333);
	write_at(sim, name, off, junk, sizeof(junk));
}

static struct pfs_sim *killed(struct pfs_sim *sim, struct pfs_store *store)
{
	struct pfs_sim *image = pfs_sim_kill(sim);

	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
	pfs_sim_settle(image);
	return image;
}

/* Killed before it had anything to replay. */
static struct pfs_sim *idle(void)
{
	struct pfs_sim *sim = docs_store();

	return killed(sim, open_store(sim));
}

/* Small documents, and a dictionary. */
static struct pfs_sim *runs_of(uint32_t min_value_size)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	uint8_t bytes[4096];

	create_store(sim, PFS_PAGE_SIZE_MIN, min_value_size);
	store = open_store(sim);
	fill_document(bytes, sizeof(bytes), 4);
	assert_int_equal(pfs_dict_add(store, bytes, sizeof(bytes), 1000, 300), 0);
	for (unsigned i = 0; i < MANY; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 40, i);
	}
	assert_int_equal(pfs_store_close(store), 0);
	return sim;
}

static struct pfs_sim *runs(void)
{
	return runs_of(16);
}

/* The saved index has a document under another's hash. */
static struct pfs_sim *index_hash(void)
{
	struct pfs_sim *sim = docs_store();
	uint64_t size = size_at(sim, PFS_INDEX_NAME), at = sizeof(struct pfs_index_disk);
	uint8_t *bytes = malloc(size);

	read_at(sim, PFS_INDEX_NAME, 0, bytes, size);
	((struct pfs_index_object_disk *)(bytes + at))->hash.b[0] ^= 1;
	pfs_put_le32(bytes + size - 4, pfs_crc32c(0, bytes + at, size - 4 - at));
	write_at(sim, PFS_INDEX_NAME, 0, bytes, size);
	free(bytes);
	return sim;
}

/* The superblock says that containers are larger than they are. */
static struct pfs_sim *smallest(void)
{
	struct pfs_sim *sim = docs_store();
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_super super;
	struct pfs_dir *dir;

	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE, &dir), 0);
	assert_int_equal(pfs_super_read(dir, &super, &quiet), 0);
	super.min_value_size = 512;
	assert_int_equal(pfs_super_write(dir, &super), 0);
	dir->ops->close_dir(dir);
	return sim;
}

/* A container lies where that before it in the file has only slack. */
static struct pfs_sim *in_the_slack(void)
{
	enum { MIN = 512, NEED = 100 };
	struct pfs_sim *sim = runs_of(MIN);
	struct pfs_key a = pfs_key_num(7), b = pfs_key_num(9);
	struct pfs_place over = place_of(sim, &a), moved = place_of(sim, &b);
	uint64_t slot_at = pfs_slot_offset(moved.slot);
	struct pfs_slot_disk disk;
	uint8_t bytes[NEED];

	read_at(sim, page_name(moved.page), moved.offset, bytes, sizeof(bytes));
	write_at(sim, page_name(over.page), over.offset + MIN / 2, bytes, sizeof(bytes));
	read_at(sim, page_name(moved.page), slot_at, &disk, sizeof(disk));
	assert_int_equal(pfs_get_le32(disk.low.b), moved.offset);
	pfs_put_le32(disk.low.b, (uint32_t)over.offset + MIN / 2);
	write_at(sim, page_name(moved.page), slot_at, &disk, sizeof(disk));
	return sim;
}

/* The journal changes a part of a document whose container is damaged. */
static struct pfs_sim *changed_and_damaged(void)
{
	struct pfs_sim *sim = docs_store();
	struct pfs_place place = doc_place(sim, 14);
	struct pfs_store *store = open_store(sim);
	struct pfs_key key = doc_key(14);
	uint32_t object;

	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	assert_int_equal(pfs_write(store, object, 70000, "change", 6, 1), 0);
	assert_int_equal(pfs_sync(store), 0);
	sim = killed(sim, store);
	write_at(sim, page_name(place.page), place.offset + 1, "xy", 2);
	return sim;
}

/* Spoils the container of a document without a name. */
static void spoil_nameless(struct pfs_sim *sim, uint32_t page)
{
	for (uint32_t i = 0; i < DOCS; i++) {
		struct pfs_slot_disk disk;
		struct pfs_slot slot;

		read_at(sim, page_name(page), pfs_slot_offset(i), &disk, sizeof(disk));
		if (pfs_slot_decode(&slot, &disk, PFS_PAGE_HEADER_LEN, PFS_PAGE_SIZE_MIN) == 0 &&
		    slot.kind == PFS_KEY_TEMP) {
			spoil(sim, page_name(page), slot.off + slot.len / 2);
			return;
		}
	}
	fail_msg("no document without a name");
}

/* Killed while somebody still reads documents that were removed. */
static struct pfs_sim *nameless(void)
{
	static const struct pfs_defaults defaults = {.mode = 0640};
	struct pfs_sim *sim = docs_store();
	struct pfs_open_options options = {.manual = true,
					   .hold_objects = true,
					   .defaults = &defaults,
					   .io = pfs_sim_io(sim),
					   .logger = quiet};
	struct pfs_reason reason;
	struct pfs_store *store;

	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	for (unsigned i = 8; i < 12; i++) {
		struct pfs_key key = doc_key(i);

		if (i < 10)
			put_document(store, &key, 3000, i + 100);
		assert_int_equal(pfs_remove(store, &key, NULL), 0);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	sim = killed(sim, store);
	spoil_nameless(sim, 2);
	return sim;
}

/* No header, and slots in its sector are zeros. */
static struct pfs_sim *first_sector(void)
{
	static const uint8_t zeros[512];
	struct pfs_sim *sim = runs();

	sim = killed(sim, open_store(sim));
	write_at(sim, page_name(1), 0, zeros, sizeof(zeros));
	return sim;
}

/* No header, and one wrong bit in its copy. */
static struct pfs_sim *both_headers(void)
{
	struct pfs_sim *sim = docs_store();

	spoil(sim, page_name(1), 0);
	flip_bit(sim, page_name(1), size_at(sim, page_name(1)) - PFS_PAGE_TRAILER_LEN + 40, 3);
	return sim;
}

static struct pfs_sim *open_page_header(void)
{
	struct pfs_sim *sim = idle();

	spoil(sim, page_name(2), 0);
	return sim;
}

/* Only the journal has documents, the last but one of them a large one that is damaged. */
static struct pfs_sim *damaged_record(void)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	char segment[32];

	create_store(sim, PFS_PAGE_SIZE_MIN, 16);
	store = open_store(sim);
	for (unsigned i = 7; i < 11; i++) {
		put_doc(store, i);
		assert_int_equal(pfs_sync(store), 0);
	}
	/* More than an index has room for that is made for none. */
	for (unsigned i = 0; i < 2 * MANY; i++) {
		struct pfs_key key = pfs_key_num(5000 + i);

		put_document(store, &key, 4, i);
	}
	assert_int_equal(pfs_sync(store), 0);
	sim = killed(sim, store);
	assert_true(find_segment(sim, segment));
	flip_bit(sim, segment, PFS_SEGMENT_DATA + 100000, 3);
	return sim;
}

/* The first record has a wrong bit, and so is the container that it was to replace: only who
 * knows of the one does not take the other for lost. */
static struct pfs_sim *replaced_and_damaged_at(uint64_t at, unsigned bit)
{
	struct pfs_sim *sim = docs_store();
	struct pfs_place place = doc_place(sim, 7);
	struct pfs_store *store = open_store(sim);
	char segment[32];

	for (unsigned i = 7; i < 9; i++) {
		put_doc(store, i);
		assert_int_equal(pfs_sync(store), 0);
	}
	sim = killed(sim, store);
	write_at(sim, page_name(place.page), place.offset + 1, "xy", 2);
	assert_true(find_segment(sim, segment));
	flip_bit(sim, segment, PFS_SEGMENT_DATA + at, bit);
	return sim;
}

static struct pfs_sim *replaced_and_damaged(void)
{
	return replaced_and_damaged_at(PFS_RECORD_LEN_MIN, 3);
}

/* Its length is none, so that nobody reads it before it is known where the next one begins. */
static struct pfs_sim *replaced_and_unread(void)
{
	return replaced_and_damaged_at(offsetof(struct pfs_record_disk, len), 0);
}

const struct broken_store broken_stores[] = {
	{"documents", docs_store, false},
	{"runs", runs, false},
	{"a hash in the index", index_hash, false},
	{"the smallest container", smallest, false},
	{"containers one over the other", in_the_slack, false},
	{"idle", idle, true},
	{"changed and damaged", changed_and_damaged, true},
	{"nameless", nameless, true},
	{"a damaged record", damaged_record, true},
	{"replaced and damaged", replaced_and_damaged, true},
	{"replaced and unread", replaced_and_unread, true},
	{"a page's first sector", first_sector, true},
	{"both headers of a page", both_headers, false},
	{"a page's header", open_page_header, true},
};
const size_t broken_store_count = pfs_array_len(broken_stores);
