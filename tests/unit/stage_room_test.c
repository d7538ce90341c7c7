/* A large document that is written in pieces, on disks with hardly room for it: what is reserved
 * for it when it is written is enough when it goes to its page. */
#include "tests/unit/store_helpers.h"

enum { PIECE = 256 * 1024 };

static const struct pfs_attr attr = {.mode = 0644, .mtime_ns = 1};

/* Writes `len` bytes that do not compress to document 1. */
static int write_all(struct pfs_store *store, const uint8_t *bytes, size_t len)
{
	struct pfs_key key = pfs_key_num(1);
	uint32_t object;
	int err = 0;

	assert_int_equal(pfs_put(store, &key, "x", 1, &attr, 0, NULL), 0);
	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	for (size_t at = 0; at < len && !err; at += PIECE)
		err = pfs_write(store, object, at, bytes + at, pfs_min_u64(PIECE, len - at), 1);
	return err;
}

/* Proves: whatever room there is, what was written can be moved to the pages, and is read then. */
static void what_was_taken_has_its_place(void **state)
{
	const size_t len = 9 * PIECE + 8000;
	uint8_t *bytes = malloc(len);
	unsigned taken = 0, refused = 0;

	(void)state;
	fill_document(bytes, len, 7);
	for (size_t room = len; room < 12 * len; room += PIECE) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_key key = pfs_key_num(1);
		struct pfs_store *store;
		void *got;
		size_t got_len;
		int err;

		create_store(sim, 4 * PFS_MIB, 64);
		store = open_store(sim);
		assert_int_equal(pfs_store_checkpoint(store), 0);
		pfs_sim_set_capacity(sim, pfs_sim_used(sim) + room);
		err = write_all(store, bytes, len);
		if (err) {
			assert_int_equal(err, -ENOSPC);
			refused++;
		} else {
			taken++;
			assert_int_equal(pfs_store_checkpoint(store), 0);
			assert_int_equal(pfs_get(store, &key, &got, &got_len, NULL), 0);
			assert_int_equal(got_len, len);
			assert_memory_equal(got, bytes, len);
			free(got);
		}
		assert_int_equal(pfs_store_close(store), 0);
		expect_healthy(sim);
		pfs_sim_free(sim);
	}
	assert_true(taken && refused);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_taken_has_its_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
