/* storage/check*.c: healthy stores have no findings; damage in pages is found, and named by the
 * document that it hit. */
#include "tests/unit/store_helpers.h"

#define DOCUMENTS 60
#define PAGE_SIZE (64 * PFS_KIB)

/* Numbers, UUIDs and scratch names in turn. */
static struct pfs_key key_number(unsigned i)
{
	char name[64];

	if (i % 3 == 0)
		return pfs_key_num(i * UINT64_C(0x10000001));
	if (i % 3 == 1)
		snprintf(name, sizeof(name), "0f8fad5b-d9cb-469f-a165-%012x", i);
	else
		snprintf(name, sizeof(name), ".%u.swp", i);
	return key_named(name);
}

static size_t len_number(unsigned i)
{
	static const size_t lens[] = {0, 1, 15, 100, 127, 128, 900, 5000, 65536, 65537, 200000};

	return lens[i % pfs_array_len(lens)];
}

/* A closed store of DOCUMENTS documents, each put once. */
static struct pfs_sim *plain_store(uint64_t page_size, uint32_t min_value_size)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;

	create_store(sim, page_size, min_value_size);
	store = open_store(sim);
	for (unsigned i = 0; i < DOCUMENTS; i++) {
		struct pfs_key key = key_number(i);

		put_document(store, &key, len_number(i), i);
	}
	assert_int_equal(pfs_store_close(store), 0);
	return sim;
}

/* One closed store for tests that put back what they damage: page 1 holds all but large documents.
 */
static int make_plain(void **state)
{
	*state = plain_store(PFS_MIB * 2, 16);
	return 0;
}

static int free_plain(void **state)
{
	expect_healthy(*state); /* or a test has left something behind */
	pfs_sim_free(*state);
	return 0;
}

/* Everything that is fatal names this document. */
static void expect_only(const struct found *found, const struct pfs_key *key, const char *file)
{
	bool right = found->fatal > 0 && found->result.damaged == 1;

	for (size_t i = 0; i < found->count; i++)
		right = right && (!found->at[i].fatal || (pfs_key_equal(&found->at[i].key, key) &&
							  strcmp(found->at[i].where, file) == 0));
	if (!right)
		print_found(found);
	assert_true(right);
}

/* ---- healthy ---- */

static void change_much(struct pfs_store *store, unsigned round)
{
	uint32_t object;

	for (unsigned i = 0; i < DOCUMENTS; i++) {
		struct pfs_key key = key_number(i), other = key_number((i * 7 + round) % DOCUMENTS);
		struct pfs_attr attr = {.mode = 0600, .size = len_number(i) / 2};

		switch ((i + round) % 7) {
		case 0: put_document(store, &key, len_number(i + round), i + round); break;
		case 1: (void)pfs_remove(store, &key, NULL); break;
		case 2: (void)pfs_rename(store, &key, &other, 0, NULL); break;
		case 3: (void)pfs_rename(store, &key, &other, PFS_RENAME_EXCHANGE, NULL); break;
		case 4:
			if (pfs_lookup(store, &key, &object, NULL) == 0)
				assert_int_equal(pfs_write(store, object, 50, "middle", 6, 5), 0);
			break;
		case 5:
			if (pfs_lookup(store, &key, &object, NULL) == 0)
				assert_int_equal(pfs_setattr(store, object,
							     PFS_ATTR_SIZE | PFS_ATTR_MODE, &attr,
							     NULL),
						 0);
			break;
		default: put_document(store, &key, len_number(i) * 2, i); break;
		}
		if (i % 20 == 0)
			assert_int_equal(pfs_store_checkpoint(store), 0);
	}
}

/* Proves: a store is healthy after any changes, over page sizes and smallest containers, closed
 * cleanly or killed; the counts of documents and bytes are those of the store. */
static void healthy_stores_have_no_findings(void **state)
{
	static const uint64_t page_sizes[] = {64 * PFS_KIB, 256 * PFS_KIB, 32 * PFS_MIB,
					      64 * PFS_MIB};
	static const uint32_t minimums[] = {16, 128, 512};

	(void)state;
	for (size_t p = 0; p < pfs_array_len(page_sizes) * pfs_array_len(minimums); p++) {
		struct pfs_sim *sim = plain_store(page_sizes[p / 3], minimums[p % 3]), *killed;

		expect_healthy(sim);
		for (unsigned round = 0; round < 4; round++) {
			struct pfs_store *store = open_store(sim);
			struct pfs_store_stat stat;
			struct found *found;

			change_much(store, round);
			killed = pfs_sim_kill(sim);
			expect_healthy(killed);
			pfs_sim_free(killed);
			assert_int_equal(pfs_sync(store), 0); /* held truncations are not counted */
			assert_int_equal(pfs_store_stat(store, &stat), 0);
			assert_int_equal(pfs_store_close(store), 0);
			found = check_store(sim);
			print_found(found);
			assert_int_equal(found->count, 0);
			assert_int_equal(found->result.documents, stat.points + stat.scratch);
			assert_int_equal(found->result.bytes, stat.raw_bytes);
			store = open_store(sim); /* closing gives empty pages back */
			assert_int_equal(pfs_store_stat(store, &stat), 0);
			assert_int_equal(found->result.pages, stat.pages);
			assert_int_equal(pfs_store_close(store), 0);
			free(found);
		}
		pfs_sim_free(sim);
	}
}

/* Proves: a store that was made and never opened, or opened and closed without a document, is
 * healthy. */
static void new_stores_have_no_findings(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();

	(void)state;
	create_store(sim, PAGE_SIZE, 128);
	expect_healthy(sim);
	assert_int_equal(pfs_store_close(open_store(sim)), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

/* ---- refusing ---- */

static int check_result(struct pfs_sim *sim, const char *path, const char *expected)
{
	struct pfs_check_result result;
	struct pfs_reason reason;
	int err = pfs_check(path, pfs_sim_io(sim), &quiet, NULL, NULL, NULL, &result, &reason);

	if (err ? !strstr(reason.text, expected) : reason.text[0] != '\0')
		fail_msg("%d: %s", err, reason.text);
	return err;
}

/* Proves: what can't be checked is refused with its reason, a store that a writer holds too, one
 * that readers hold is not. */
static void what_cannot_be_checked_is_refused(void **state)
{
	struct pfs_open_options shared = {.read_only = true};
	struct pfs_sim *sim = plain_store(PAGE_SIZE, 16);
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_reason reason;
	struct pfs_store *store;
	struct pfs_dir *dir;

	(void)state;
	assert_int_equal(check_result(sim, "nowhere", "no such store"), -ENOENT);
	assert_int_equal(io->ops->open_dir(io, "foreign", PFS_IO_WRITE | PFS_IO_CREATE, &dir), 0);
	assert_int_equal(check_result(sim, "foreign", "no superblock"), -ENOENT);
	assert_int_equal(dir->ops->unlink(dir, PFS_LOCK_NAME), -ENOENT);
	dir->ops->close_dir(dir);

	store = open_store(sim);
	assert_int_equal(check_result(sim, STORE, "another process"), -EBUSY);
	assert_int_equal(pfs_store_close(store), 0);
	shared.io = io;
	assert_int_equal(pfs_store_open(&store, STORE, &shared, &reason), 0);
	assert_int_equal(check_result(sim, STORE, ""), 0);
	assert_int_equal(pfs_store_close(store), 0);

	flip_bit(sim, PFS_SUPER_NAME, 70, 0);
	flip_bit(sim, PFS_SUPER_NAME, PFS_SUPER_STRIDE + 70, 0);
	assert_int_equal(check_result(sim, STORE, "superblock is damaged"), -EUCLEAN);
	pfs_sim_free(sim);
}

static int no_step(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	fail_msg("the check wrote: %s %s", pfs_sim_kind_name(step->kind), step->name);
	return -EIO;
}

/* Proves: checking changes nothing, of healthy stores and of damaged ones, closed or killed. */
static void checking_writes_nothing(void **state)
{
	struct pfs_sim *sim = plain_store(PAGE_SIZE, 16), *killed;
	struct pfs_store *store = open_store(sim);

	(void)state;
	change_much(store, 1);
	killed = pfs_sim_kill(sim);
	assert_int_equal(pfs_store_close(store), 0);
	flip_bit(sim, page_name(1), 20, 1);
	flip_bit(killed, page_name(1), 70, 1);
	pfs_sim_on_step(sim, no_step, NULL);
	pfs_sim_on_step(killed, no_step, NULL);
	free(check_store(sim));
	free(check_store(killed));
	pfs_sim_free(sim);
	pfs_sim_free(killed);
}

/* ---- damage in pages ---- */

static void flip_all_bits_of_container(struct pfs_sim *sim, const struct pfs_key *key)
{
	struct pfs_place place = place_of(sim, key);
	const char *file = page_name(place.page);

	for (uint64_t bit = 0; bit < 8 * place.packed_len; bit++) {
		struct found *found;

		flip_bit(sim, file, place.offset + bit / 8, bit % 8);
		found = check_store(sim);
		expect_only(found, key, file);
		assert_int_equal(found->result.documents, DOCUMENTS);
		free(found);
		flip_bit(sim, file, place.offset + bit / 8, bit % 8);
	}
}

/* Proves: every single bit of a container is guarded, and its damage named by the right key,
 * whatever kind of key it is and wherever the bit is: also in the key itself. */
static void every_bit_of_a_container_is_guarded(void **state)
{
	struct pfs_key number = key_number(3), uuid = key_number(4), name = key_number(14);

	flip_all_bits_of_container(*state, &number);
	flip_all_bits_of_container(*state, &uuid);
	flip_all_bits_of_container(*state, &name);
}

/* Proves: every single bit of a slot is guarded, and the document is named by its true key, not by
 * what the slot now says. */
static void every_bit_of_a_slot_is_guarded(void **state)
{
	for (unsigned i = 3; i < 6; i++) {
		struct pfs_key key = key_number(i);
		struct pfs_place place = place_of(*state, &key);
		const char *file = page_name(place.page);

		for (unsigned bit = 0; bit < 8 * PFS_SLOT_LEN; bit++) {
			uint64_t off = PFS_PAGE_HEADER_LEN + place.slot * PFS_SLOT_LEN + bit / 8;
			struct found *found;

			flip_bit(*state, file, off, bit % 8);
			found = check_store(*state);
			expect_only(found, &key, file);
			free(found);
			flip_bit(*state, file, off, bit % 8);
		}
	}
}

/* Proves: every bit of a page's header and of its copy is guarded, and one of them is enough to
 * check all documents. */
static void every_bit_of_a_header_is_guarded(void **state)
{
	const uint64_t copy = size_at(*state, page_name(1)) - PFS_PAGE_TRAILER_LEN;

	for (unsigned bit = 0; bit < 2 * 8 * PFS_PAGE_HEADER_LEN; bit++) {
		uint64_t off = bit / 8 < PFS_PAGE_HEADER_LEN ? bit / 8
							     : copy + bit / 8 - PFS_PAGE_HEADER_LEN;
		struct found *found;

		flip_bit(*state, page_name(1), off, bit % 8);
		found = check_store(*state);
		assert_int_equal(found->fatal, 1);
		assert_string_equal(found->at[0].where, page_name(1));
		assert_int_equal(found->result.damaged, 0);
		assert_int_equal(found->result.documents, DOCUMENTS);
		free(found);
		flip_bit(*state, page_name(1), off, bit % 8);
	}
}

/* Proves: damage in the table or in any block of a large document is found and says where. */
static void damaged_blocks_are_named(void **state)
{
	struct pfs_key key = key_number(21);
	struct pfs_place place = place_of(*state, &key);
	const char *file = page_name(place.page);

	assert_int_equal(len_number(21), 200000);
	assert_int_equal(place.blocks, 4);
	/* Behind the header and the table. */
	for (uint64_t at = 80; at < place.packed_len; at += at < 140 ? 1 : place.packed_len / 20) {
		struct found *found;

		flip_bit(*state, file, place.offset + at, at % 8);
		found = check_store(*state);
		expect_only(found, &key, file);
		assert_non_null(strstr(found->at[0].text, "blocks do not verify"));
		free(found);
		flip_bit(*state, file, place.offset + at, at % 8);
	}
}

/* Proves: without header and copy the documents of the page are still named. */
static void documents_of_an_unusable_page_are_named(void **state)
{
	struct pfs_sim *sim = plain_store(PFS_MIB, 16);
	uint64_t end = size_at(sim, page_name(1));
	bool named[DOCUMENTS] = {false};
	struct found *found;
	size_t count = 0;

	(void)state;
	flip_bit(sim, page_name(1), 30, 0);
	flip_bit(sim, page_name(1), end - 30, 0);
	found = check_store(sim);
	for (unsigned i = 0; i < DOCUMENTS; i++) {
		struct pfs_key key = key_number(i);

		for (size_t f = 0; f < found->count; f++)
			named[i] = named[i] || pfs_key_equal(&found->at[f].key, &key);
		count += named[i];
	}
	assert_int_equal(found->result.damaged, count);
	assert_int_equal(found->result.documents, DOCUMENTS);
	assert_true(count > DOCUMENTS / 2);
	free(found);
	pfs_sim_free(sim);
}

/* Proves: after a page file is gone the check says so, and how much was in it. */
static void missing_pages_are_named(void **state)
{
	struct pfs_sim *sim = plain_store(PAGE_SIZE, 16);
	struct found *found;

	(void)state;
	remove_file(sim, page_name(2));
	found = check_store(sim);
	assert_int_equal(found->fatal, 2);
	assert_string_equal(found->at[0].where, page_name(2));
	assert_string_equal(found->at[1].where, page_name(2));
	assert_non_null(strstr(found->at[1].text, "it is missing: it held"));
	assert_true(found->result.damaged > 0);
	assert_int_equal(found->result.documents, DOCUMENTS);
	free(found);
	pfs_sim_free(sim);
}

/* Proves: of a page whose file was cut exactly the documents behind the cut are named, each once.
 */
static void cut_pages_name_what_is_behind_the_cut(void **state)
{
	struct pfs_sim *sim = plain_store(PFS_MIB * 2, 16);
	uint64_t size = size_at(sim, page_name(1)), cut = size - 20000;
	struct pfs_dir *dir;
	struct pfs_file *file;
	struct found *found;
	unsigned expected = 0, named = 0;

	(void)state;
	for (unsigned i = 0; i < DOCUMENTS; i++) {
		struct pfs_key key = key_number(i);
		struct pfs_place place = place_of(sim, &key);

		expected += place.page == 1 && place.offset + place.container_len > cut;
	}
	file = store_file(sim, page_name(1), &dir);
	assert_int_equal(file->ops->truncate(file, cut), 0);
	store_file_done(dir, file);
	found = check_store(sim);
	assert_int_equal(found->result.damaged, expected);
	for (size_t i = 0; i < found->count; i++) {
		assert_string_equal(found->at[i].where, page_name(1));
		named += found->at[i].key.kind == PFS_KEY_NUM ||
			 found->at[i].key.kind == PFS_KEY_NONE;
	}
	assert_true(expected > 0 && found->fatal == expected + 1 && named > 1);
	free(found);
	pfs_sim_free(sim);
}

/* ---- remarks ---- */

/* Proves: files that are no part of a store are remarked upon, those that are, or may be, are not.
 */
static void unknown_files_are_remarks(void **state)
{
	static const char *const known[] = {"socket", "reserve", "index.tmp", "lock"};
	static const char *const unknown[] = {"page-1",	   "page-00000000", "PAGE-00000001",
					      "journal-1", "notes.txt",	    "page-00000001.bak"};
	struct pfs_sim *sim = plain_store(PAGE_SIZE, 16);
	struct found *found;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(known); i++)
		make_file(sim, known[i]);
	expect_healthy(sim);
	for (size_t i = 0; i < pfs_array_len(unknown); i++)
		make_file(sim, unknown[i]);
	found = check_store(sim);
	assert_int_equal(found->fatal, 0);
	assert_int_equal(found->count, pfs_array_len(unknown));
	free(found);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(healthy_stores_have_no_findings),
		cmocka_unit_test(new_stores_have_no_findings),
		cmocka_unit_test(what_cannot_be_checked_is_refused),
		cmocka_unit_test(checking_writes_nothing),
		cmocka_unit_test_setup_teardown(every_bit_of_a_container_is_guarded, make_plain,
						free_plain),
		cmocka_unit_test_setup_teardown(every_bit_of_a_slot_is_guarded, make_plain,
						free_plain),
		cmocka_unit_test_setup_teardown(every_bit_of_a_header_is_guarded, make_plain,
						free_plain),
		cmocka_unit_test_setup_teardown(damaged_blocks_are_named, make_plain, free_plain),
		cmocka_unit_test(documents_of_an_unusable_page_are_named),
		cmocka_unit_test(missing_pages_are_named),
		cmocka_unit_test(cut_pages_name_what_is_behind_the_cut),
		cmocka_unit_test(unknown_files_are_remarks),
	};

	return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
