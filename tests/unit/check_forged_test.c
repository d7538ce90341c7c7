/* Stores with right checksums over what no store writes, but somebody who can compute them: the
 * check says what is wrong. */
#include "storage/crc.h"
#include "storage/journal.h"
#include "storage/record.h"
#include "storage/super.h"
#include "tests/unit/repair_helpers.h"

/* A finding that has this in its text is among those of the check. */
static void expect_found(struct pfs_sim *sim, const char *text)
{
	struct found *found = check_store(sim);
	bool there = false;

	for (size_t i = 0; i < found->count; i++)
		there = there || strstr(found->at[i].text, text);
	if (!there) {
		print_found(found);
		fail_msg("expected: %s", text);
	}
	free(found);
}

/* ---- superblock ---- */

/* Proves: a superblock that names as many page files as there are, but others, is found, and put
 * right without a loss. */
static void other_page_files_are_found(void **state)
{
	struct pfs_sim *sim = docs_store();
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_super super;
	struct pfs_dir *dir;

	(void)state;
	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE, &dir), 0);
	assert_int_equal(pfs_super_read(dir, &super, &quiet), 0);
	super.pages.mix ^= pfs_mix64(77) ^ pfs_mix64(78);
	assert_int_equal(pfs_super_write(dir, &super), 0);
	dir->ops->close_dir(dir);
	expect_found(sim, "the page files are not those that it names");
	free(repair_all(sim));
	pfs_sim_free(sim);
}

/* ---- containers ---- */

static struct pfs_page_header header_of(struct pfs_sim *sim, uint32_t page)
{
	struct pfs_page_header header;
	struct pfs_page_disk disk;
	const char *why;

	read_at(sim, page_name(page), 0, &disk, sizeof(disk));
	assert_int_equal(pfs_page_header_decode(&header, &disk, disk.uuid, &why), 0);
	return header;
}

typedef void forge_fn(struct pfs_container *c);

/* The container of document i as fn makes it, with a right checksum. */
static void forge(struct pfs_sim *sim, unsigned i, forge_fn *fn)
{
	struct pfs_place place = doc_place(sim, i);
	struct pfs_page_header header = header_of(sim, place.page);
	uint8_t *bytes = malloc(2 * place.container_len), *out = bytes + place.container_len;
	struct pfs_slot_disk disk;
	struct pfs_container c;
	struct pfs_slot slot;
	struct pfs_container_base base = {.base_seq = header.base_seq,
					  .base_mtime = header.base_mtime};
	size_t len;

	read_at(sim, page_name(place.page), pfs_slot_offset(place.slot), &disk, sizeof(disk));
	assert_int_equal(pfs_slot_decode(&slot, &disk, PFS_PAGE_HEADER_LEN, header.page_size), 0);
	base.kind = slot.kind;
	base.tag = slot.tag;
	read_at(sim, page_name(place.page), place.offset, bytes, place.container_len);
	memcpy(out, bytes, place.container_len);
	assert_int_equal(pfs_container_header_decode(&c, bytes, place.container_len,
						     place.container_len, &base),
			 0);
	fn(&c);
	len = pfs_container_header_encode(out, &c, &base, place.container_len);
	pfs_container_seal(out, len, c.body_len, out[4], c.seq, &base);
	write_at(sim, page_name(place.page), place.offset, out, place.container_len);
	free(bytes);
}

static void another_name(struct pfs_container *c)
{
	((uint8_t *)(uintptr_t)c->tail.bytes)[1] ^= 1;
}

/* What was in blocks is one packed body. */
static void one_long_body(struct pfs_container *c)
{
	c->flags = PFS_CONTAINER_LZ4;
	c->raw_len = 1000;
}

/* Repairs a store in which exactly document i is lost, whose key is not known. */
static void expect_lost(struct pfs_sim *sim, unsigned i)
{
	struct repaired *done = repair_store(sim);
	unsigned gone;

	assert_int_equal(done->result.unknown, 1);
	free(done);
	assert_int_equal(docs_gone(sim, &gone), 1);
	assert_int_equal(gone, i);
	pfs_sim_free(sim);
}

/* Proves: a container under a name that is not the slot's, and one whose packed body is longer than
 * any document that is packed as a whole, are damage; repair sets them aside and tells. */
static void forged_containers_are_found(void **state)
{
	struct pfs_sim *sim = docs_store();

	(void)state;
	forge(sim, 2, another_name);
	expect_found(sim, "the key in its container is not the slot's");
	expect_lost(sim, 2);
	sim = docs_store();
	forge(sim, 9, one_long_body);
	expect_found(sim, "the header of its container makes no sense");
	free(repair_but(sim, 9));
	pfs_sim_free(sim);
}

/* ---- the journal ---- */

/* A killed store that has documents 8 to 10 in its journal; *segment: whose file that is. */
static struct pfs_sim *killed_store(char segment[32])
{
	struct pfs_sim *sim = docs_store(), *killed;
	struct pfs_store *store = open_store(sim);

	for (unsigned i = 8; i < 11; i++)
		put_doc(store, i);
	assert_int_equal(pfs_sync(store), 0);
	killed = pfs_sim_kill(sim);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
	pfs_sim_settle(killed);
	assert_true(find_segment(killed, segment));
	return killed;
}

static void write_headers(struct pfs_sim *sim, const char *segment, struct pfs_segment_disk *disk)
{
	pfs_put_le32(disk->crc.b, pfs_crc32c(0, (uint8_t *)disk + 12, sizeof(*disk) - 12));
	for (unsigned i = 0; i < PFS_SEGMENT_COPIES; i++)
		write_at(sim, segment, (uint64_t)i * PFS_SEGMENT_STRIDE, disk, sizeof(*disk));
}

/* Proves: a segment of another store, and those whose numbers no journal comes to, are none of this
 * store's, which the check says. */
static void forged_segments_are_found(void **state)
{
	static const struct {
		size_t off;
		uint64_t value;
		const char *text;
	} forged[] = {
		{offsetof(struct pfs_segment_disk, uuid), 77, "segment of another store"},
		{offsetof(struct pfs_segment_disk, number), 0, "its numbers are out of range"},
		{offsetof(struct pfs_segment_disk, number), PFS_SEGMENT_NUMBER_MAX + 1,
		 "its numbers are out of range"},
		{offsetof(struct pfs_segment_disk, first_seq), PFS_SEQ_MAX + 1,
		 "its numbers are out of range"},
		{offsetof(struct pfs_segment_disk, open_epoch), PFS_EPOCH_MAX + 1,
		 "its numbers are out of range"},
		{offsetof(struct pfs_segment_disk, oldest_live), PFS_SEGMENT_NUMBER_MAX,
		 "its numbers are out of range"},
	};
	char segment[32];
	struct pfs_sim *sim = killed_store(segment);
	struct pfs_segment_disk right;

	(void)state;
	read_at(sim, segment, 0, &right, sizeof(right));
	for (size_t i = 0; i < pfs_array_len(forged); i++) {
		struct pfs_segment_disk disk = right;

		pfs_put_le64((uint8_t *)&disk + forged[i].off, forged[i].value);
		write_headers(sim, segment, &disk);
		expect_found(sim, forged[i].text);
	}
	pfs_sim_free(sim);
}

/* Proves: a record that is said to take all of its segment, whose checksum is right, is the last
 * one: nothing is read behind the segment's end. */
static void a_record_up_to_the_end_is_the_last(void **state)
{
	char segment[32];
	struct pfs_sim *sim = killed_store(segment);
	uint32_t len = PFS_SEGMENT_SIZE - PFS_SEGMENT_DATA;
	uint8_t *record = malloc(len), seed[16 + PFS_UUID_LEN];
	struct pfs_record_disk *head = (struct pfs_record_disk *)record;
	struct pfs_segment_disk disk;

	(void)state;
	read_at(sim, segment, 0, &disk, sizeof(disk));
	read_at(sim, segment, PFS_SEGMENT_DATA, record, len);
	memcpy(seed, disk.open_epoch.b, 8);
	memcpy(seed + 8, disk.number.b, 8);
	memcpy(seed + 16, disk.uuid, PFS_UUID_LEN);
	assert_int_equal(pfs_record_crc(pfs_crc32c(0, seed, sizeof(seed)), record,
					pfs_get_le32(head->len.b)),
			 pfs_get_le32(head->crc.b));
	pfs_put_le32(head->len.b, len);
	pfs_put_le32(head->crc.b, pfs_record_crc(pfs_crc32c(0, seed, sizeof(seed)), record, len));
	write_at(sim, segment, PFS_SEGMENT_DATA, record, len);
	free(record);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

/* Proves: of more renames than the check remembers all are checked and replayed. */
static void many_renames_are_checked(void **state)
{
	struct pfs_sim *sim = docs_store(), *killed;
	struct pfs_store *store = open_store(sim);
	struct pfs_key a = doc_key(3), b = doc_key(4);

	(void)state;
	for (unsigned i = 0; i < 2100; i++)
		assert_int_equal(pfs_rename(store, &a, &b, PFS_RENAME_EXCHANGE, NULL), 0);
	assert_int_equal(pfs_sync(store), 0);
	killed = pfs_sim_kill(sim);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
	expect_healthy(killed);
	assert_int_equal(docs_gone(killed, NULL), 0);
	pfs_sim_free(killed);
}

/* ---- documents that are there twice ---- */

#define TWICE 32800u /* two versions of each are more than are compared */

static void count_finding(void *arg, const struct pfs_finding *finding)
{
	unsigned *too_many = arg;

	*too_many += strstr(finding->text, "not all were compared") != NULL;
}

static void put_numbers(struct pfs_store *store, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		struct pfs_key key = pfs_key_num(i);

		assert_int_equal(pfs_put(store, &key, "{}", 2, NULL, 0, NULL), 0);
	}
}

/* As a page with another number. */
static void copy_page(struct pfs_sim *sim, uint32_t from, uint32_t to)
{
	struct pfs_page_header header = header_of(sim, from);
	uint8_t *bytes = malloc(header.page_size);
	struct pfs_page_disk disk;

	read_at(sim, page_name(from), 0, bytes, header.page_size);
	header.number = to;
	pfs_page_header_encode(&disk, &header);
	memcpy(bytes, &disk, sizeof(disk));
	memcpy(bytes + header.page_size - PFS_PAGE_TRAILER_LEN, &disk, sizeof(disk));
	make_file(sim, page_name(to));
	write_at(sim, page_name(to), 0, bytes, header.page_size);
	free(bytes);
}

/* Proves: where more documents are there twice than are compared the check says that, and the rest
 * all the same. */
static void too_many_versions_are_said(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	struct pfs_check_result result;
	struct pfs_reason reason;
	unsigned too_many = 0;

	(void)state;
	create_store(sim, 4 * PFS_MIB, 16);
	store = open_store(sim);
	put_numbers(store, TWICE);
	assert_int_equal(pfs_store_close(store), 0);
	assert_int_equal(header_of(sim, 1).slot_count, TWICE);
	copy_page(sim, 1, 2);
	assert_int_equal(pfs_check(STORE, pfs_sim_io(sim), &quiet, count_finding, NULL, &too_many,
				   &result, &reason),
			 0);
	assert_int_equal(too_many, 1);
	assert_true(result.damaged > TWICE / 2);
	pfs_sim_free(sim);
}

#define RUN 600u

/* Proves: numbers that two pages have are found when the index is made anew, though each page has
 * them in a row. */
static void rows_of_numbers_that_are_there_twice_are_found(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_super super;
	struct pfs_store *store;
	struct pfs_dir *dir;

	(void)state;
	create_store(sim, PFS_PAGE_SIZE_MIN, 16);
	store = open_store(sim);
	put_numbers(store, RUN);
	assert_int_equal(pfs_store_close(store), 0);
	copy_page(sim, 1, 2);
	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE, &dir), 0);
	assert_int_equal(pfs_super_read(dir, &super, &quiet), 0);
	pfs_page_set_add(&super.pages, 2);
	assert_int_equal(pfs_super_write(dir, &super), 0);
	dir->ops->close_dir(dir);
	remove_file(sim, PFS_INDEX_NAME);
	store = open_store(sim);
	for (uint64_t i = 0; i < RUN; i++) {
		struct pfs_key key = pfs_key_num(i);
		void *bytes;
		size_t len;

		assert_int_equal(pfs_get(store, &key, &bytes, &len, NULL), 0);
		assert_int_equal(len, 2);
		free(bytes);
	}
	assert_int_equal(pfs_store_close(store), 0);
	free(repair_store(sim));
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(other_page_files_are_found),
		cmocka_unit_test(forged_containers_are_found),
		cmocka_unit_test(forged_segments_are_found),
		cmocka_unit_test(a_record_up_to_the_end_is_the_last),
		cmocka_unit_test(many_renames_are_checked),
		cmocka_unit_test(too_many_versions_are_said),
		cmocka_unit_test(rows_of_numbers_that_are_there_twice_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
