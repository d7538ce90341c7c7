/* A block table that verifies and names bytes that are not the document's. */
#include "storage/base.h"
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_end_with_their_container),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
