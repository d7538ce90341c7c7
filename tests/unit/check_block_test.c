/* A block table that verifies and names bytes that are not the document's. */
#include "storage/base.h"
#include "storage/check.h"
#include "storage/page.h"
#include "tests/unit/store_helpers.h"

enum { LAST = 32 /* bytes of the last block, which become a few less when they are packed */ };

static void put(struct pfs_store *store, uint64_t number, size_t len, size_t more)
{
	struct pfs_key key = pfs_key_num(number);
	uint8_t *bytes = malloc(len + more);

	fill_document(bytes, len, 7);
	fill_document(bytes + len, more, 2);
	assert_int_equal(pfs_put(store, &key, bytes, len + more, NULL, 0, NULL), 0);
	free(bytes);
}

static struct pfs_container container_at(struct pfs_sim *sim, const struct pfs_place *place,
					 uint64_t number)
{
	uint8_t bytes[PFS_CONTAINER_HEADER_MAX];
	struct pfs_page_disk disk;
	struct pfs_page_header header;
	struct pfs_container c;
	const char *why;

	read_at(sim, page_name(place->page), 0, &disk, sizeof(disk));
	assert_int_equal(pfs_page_header_decode(&header, &disk, disk.uuid, &why), 0);
	read_at(sim, page_name(place->page), place->offset, bytes, sizeof(bytes));
	assert_int_equal(pfs_container_header_decode(&c, bytes, sizeof(bytes), place->container_len,
						     &(struct pfs_container_base){
							     .kind = PFS_KEY_NUM,
							     .tag = number,
							     .base_seq = header.base_seq,
							     .base_mtime = header.base_mtime,
						     }),
			 0);
	return c;
}

/* Proves: a block that is said to go on behind the end of its container is damage, for the check as
 * for who reads it, though its checksum is right. */
static void blocks_end_with_their_container(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_key key = pfs_key_num(2);
	uint8_t entry[PFS_BLOCK_ENTRY_LEN], behind[LAST];
	struct pfs_container c;
	struct pfs_place place;
	struct pfs_store *store;
	struct found *found;
	uint64_t table;
	uint32_t end;
	void *bytes;
	size_t len;

	(void)state;
	create_store(sim, PFS_MIB, 64);
	store = open_store(sim);
	put(store, 1, 500, 0);
	put(store, 2, PFS_BLOCK_LEN, LAST);
	assert_int_equal(pfs_store_close(store), 0);
	place = place_of(sim, &key);
	c = container_at(sim, &place, 2);
	assert_int_equal(c.raw_len, PFS_BLOCK_LEN + LAST);
	assert_true(c.flags & PFS_CONTAINER_BLOCKS);
	table = place.offset + c.header_len;
	read_at(sim, page_name(place.page), table + sizeof(entry), entry, sizeof(entry));
	end = pfs_get_le32(entry);
	assert_int_equal(end, c.body_len - 2 * PFS_BLOCK_ENTRY_LEN);
	/* As if it stood there as it is: with the bytes of others, but no more than the table has.
	 */
	assert_in_range(end, PFS_BLOCK_LEN + LAST - 2 * PFS_BLOCK_ENTRY_LEN,
			PFS_BLOCK_LEN + LAST - 1);
	end = PFS_BLOCK_LEN + LAST;
	read_at(sim, page_name(place.page), table + 2 * PFS_BLOCK_ENTRY_LEN + PFS_BLOCK_LEN, behind,
		sizeof(behind));
	pfs_put_le32(entry, end);
	pfs_put_le32(entry + 4, pfs_block_crc(c.content, 1, end, behind, sizeof(behind)));
	write_at(sim, page_name(place.page), table + sizeof(entry), entry, sizeof(entry));
	found = check_store(sim);
	assert_int_equal(found->fatal, 1);
	assert_true(pfs_key_equal(&found->at[0].key, &key));
	free(found);
	store = open_store(sim);
	assert_int_equal(pfs_get(store, &key, &bytes, &len, NULL), -EIO);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: a block whose checksum is right, but whose bytes do not decode, is damage, and the one
 * that is said. */
static void blocks_decode(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_key key = pfs_key_num(2);
	uint8_t entry[PFS_BLOCK_ENTRY_LEN], junk[LAST];
	struct pfs_container c;
	struct pfs_place place;
	struct pfs_store *store;
	struct found *found;
	uint64_t table;
	uint32_t end;

	(void)state;
	create_store(sim, PFS_MIB, 64);
	store = open_store(sim);
	put(store, 2, PFS_BLOCK_LEN, LAST);
	assert_int_equal(pfs_store_close(store), 0);
	place = place_of(sim, &key);
	c = container_at(sim, &place, 2);
	table = place.offset + c.header_len;
	read_at(sim, page_name(place.page), table + sizeof(entry), entry, sizeof(entry));
	end = pfs_get_le32(entry);
	assert_in_range(end, PFS_BLOCK_LEN + 1, PFS_BLOCK_LEN + LAST - 1);
	memset(junk, 0xff, sizeof(junk));
	write_at(sim, page_name(place.page), table + 2 * PFS_BLOCK_ENTRY_LEN + PFS_BLOCK_LEN, junk,
		 end - PFS_BLOCK_LEN);
	pfs_put_le32(entry + 4, pfs_block_crc(c.content, 1, end, junk, end - PFS_BLOCK_LEN));
	write_at(sim, page_name(place.page), table + sizeof(entry), entry, sizeof(entry));
	found = check_store(sim);
	assert_int_equal(found->count, 1);
	assert_true(found->at[0].fatal && pfs_key_equal(&found->at[0].key, &key));
	assert_string_equal(found->at[0].text,
			    "1 of its 2 blocks do not verify, the first at byte 65536 of it");
	free(found);
	pfs_sim_free(sim);
}

/* A file of which only the beginning can be read. */
struct begun {
	struct pfs_file base;
	const uint8_t *bytes;
	size_t len;
};

static ssize_t read_begun(struct pfs_file *file, void *buf, size_t len, uint64_t off)
{
	const struct begun *begun = (const struct begun *)file;

	if (off > begun->len || len > begun->len - off)
		return -EIO;
	memcpy(buf, begun->bytes + off, len);
	return (ssize_t)len;
}

/* Proves: where the table of a long document's blocks can't be read, which is longer than what is
 * read of a container at first, that is what is said; the document itself is known. */
static void a_table_may_be_unreadable(void **state)
{
	static const struct pfs_io_ops ops = {.read = read_begun};
	const struct pfs_page_header page = {.base_seq = 5};
	const struct pfs_container_base base = {.kind = PFS_KEY_NUM, .tag = 7, .base_seq = 5};
	const uint64_t table_len = pfs_block_count(PFS_GIB) * PFS_BLOCK_ENTRY_LEN;
	const struct pfs_slot slot = {.kind = PFS_KEY_NUM, .tag = 7, .len = table_len + PFS_MIB};
	const struct pfs_container c = {.flags = PFS_CONTAINER_BLOCKS,
					.raw_len = PFS_GIB,
					.seq = 5,
					.content = 9,
					.body_len = slot.len - 32};
	uint8_t *bytes = calloc(1, PFS_CHECK_PREFIX);
	struct begun begun = {.base.ops = &ops, .bytes = bytes, .len = PFS_CHECK_PREFIX};
	struct pfs_check check = {0};
	struct pfs_check_reader reader;
	struct pfs_check_value value;
	struct pfs_key key = pfs_key_num(7);
	size_t header_len;

	(void)state;
	assert_true(table_len > PFS_CHECK_PREFIX);
	header_len = pfs_container_header_encode(bytes, &c, &base, slot.len);
	pfs_container_seal(bytes, header_len, c.body_len, bytes[4], c.seq, &base);
	assert_int_equal(pfs_check_reader_new(&reader, &begun.base), 0);
	assert_int_equal(pfs_check_container(&check, &reader, &page, &slot, &value), -EIO);
	assert_string_equal(value.why, "its block table can't be read");
	assert_true(value.verified);
	assert_true(pfs_key_equal(&value.key, &key));
	assert_int_equal(value.bad_blocks, 0);
	pfs_check_reader_free(&reader);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_end_with_their_container),
		cmocka_unit_test(blocks_decode),
		cmocka_unit_test(a_table_may_be_unreadable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
