/* Stores with right checksums over what no store writes, but somebody who can compute them: the
 * check says what is wrong. */
#include "storage/crc.h"
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

typedef void forge_fn(struct pfs_container *c, uint8_t *bytes);

/* The container of document i as fn makes it, with a right checksum. */
static void forge(struct pfs_sim *sim, unsigned i, forge_fn *fn)
{
	struct pfs_place place = doc_place(sim, i);
	struct pfs_page_header header = header_of(sim, place.page);
	uint8_t *bytes = malloc(place.container_len);
	struct pfs_slot_disk disk;
	struct pfs_container c;
	struct pfs_slot slot;
	struct pfs_container_base base = {.base_seq = header.base_seq,
					  .base_mtime = header.base_mtime};

	read_at(sim, page_name(place.page), pfs_slot_offset(place.slot), &disk, sizeof(disk));
	assert_int_equal(pfs_slot_decode(&slot, &disk, PFS_PAGE_HEADER_LEN, header.page_size), 0);
	base.kind = slot.kind;
	base.tag = slot.tag;
	read_at(sim, page_name(place.page), place.offset, bytes, place.container_len);
	assert_int_equal(pfs_container_header_decode(&c, bytes, place.container_len,
						     place.container_len, &base),
			 0);
	fn(&c, bytes);
	pfs_container_seal(bytes, c.header_len, c.body_len, bytes[4], c.seq, &base);
	write_at(sim, page_name(place.page), place.offset, bytes, place.container_len);
	free(bytes);
}

static void another_name(struct pfs_container *c, uint8_t *bytes)
{
	bytes[(size_t)(c->tail.bytes - bytes) + 1] ^= 1;
}

/* Blocks become one packed body. */
static void one_long_body(struct pfs_container *c, uint8_t *bytes)
{
	(void)c;
	bytes[4] = (uint8_t)((bytes[4] & ~PFS_CONTAINER_BLOCKS) | PFS_CONTAINER_LZ4);
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
	expect_lost(sim, 9);
}

/* ---- documents that are there twice ---- */

#define TWICE 32800u /* two versions of each are more than are compared */

static void count_finding(void *arg, const struct pfs_finding *finding)
{
	unsigned *too_many = arg;

	*too_many += strstr(finding->text, "not all were compared") != NULL;
}

/* Proves: where more documents are there twice than are compared the check says that, and the rest
 * all the same. */
static void too_many_versions_are_said(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	struct pfs_check_result result;
	struct pfs_reason reason;
	struct pfs_page_header header;
	struct pfs_page_disk disk;
	uint8_t *bytes;
	unsigned too_many = 0;

	(void)state;
	create_store(sim, 4 * PFS_MIB, 16);
	store = open_store(sim);
	for (uint64_t i = 0; i < TWICE; i++) {
		struct pfs_key key = pfs_key_num(i);

		assert_int_equal(pfs_put(store, &key, "{}", 2, NULL, 0, NULL), 0);
	}
	assert_int_equal(pfs_store_close(store), 0);
	header = header_of(sim, 1);
	assert_int_equal(header.slot_count, TWICE);
	bytes = malloc(header.page_size);
	read_at(sim, page_name(1), 0, bytes, header.page_size);
	header.number = 2;
	pfs_page_header_encode(&disk, &header);
	memcpy(bytes, &disk, sizeof(disk));
	memcpy(bytes + header.page_size - PFS_PAGE_TRAILER_LEN, &disk, sizeof(disk));
	make_file(sim, page_name(2));
	write_at(sim, page_name(2), 0, bytes, header.page_size);
	free(bytes);
	assert_int_equal(pfs_check(STORE, pfs_sim_io(sim), &quiet, count_finding, NULL, &too_many,
				   &result, &reason),
			 0);
	assert_int_equal(too_many, 1);
	assert_true(result.damaged > TWICE / 2);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(other_page_files_are_found),
		cmocka_unit_test(forged_containers_are_found),
		cmocka_unit_test(too_many_versions_are_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
