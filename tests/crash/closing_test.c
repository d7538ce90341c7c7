/* The death of the process while a store is closed, and again while it is opened afterwards. */
#include "storage/journal.h"
#include "tests/unit/store_helpers.h"

#define STEPS_MAX 64
#define LARGE (900 * 1024) /* three of them fill more than a segment of the journal */

struct images {
	struct pfs_sim *sim, *at[STEPS_MAX];
	size_t count, max;
	const char *from; /* beginning of the file's name */
};

/* From the first write of the file on. */
static int take_image(void *arg, const struct pfs_sim_step *step)
{
	struct images *images = arg;

	if (images->count == images->max ||
	    (images->count == 0 && strncmp(step->name, images->from, strlen(images->from)) != 0))
		return 0;
	assert_true(images->count < STEPS_MAX);
	images->at[images->count] = pfs_sim_kill(images->sim);
	assert_non_null(images->at[images->count++]);
	return 0;
}

static void put_text(struct pfs_store *store, uint64_t id, const char *text)
{
	struct pfs_key key = pfs_key_num(id);

	assert_int_equal(pfs_put(store, &key, text, strlen(text), NULL, 0, NULL), 0);
}

static void expect_text(struct pfs_store *store, uint64_t id, const char *text)
{
	struct pfs_key key = pfs_key_num(id);
	void *data;
	size_t len;
	int err = pfs_get(store, &key, &data, &len, NULL);

	assert_int_equal(err, text ? 0 : -ENOENT);
	if (!text)
		return;
	assert_int_equal(len, strlen(text));
	assert_memory_equal(data, text, len);
	free(data);
}

/* Nothing but remarks: of the superblock's copies one may be older. */
static void expect_no_fault(struct pfs_sim *sim)
{
	struct found *found = check_store(sim);

	if (found->fatal)
		print_found(found);
	assert_int_equal(found->fatal, 0);
	free(found);
}

static void expect_documents(struct pfs_sim *sim)
{
	struct pfs_store *store = open_store(sim);

	expect_text(store, 1, "kept");
	expect_text(store, 2, "rewritten");
	expect_text(store, 3, NULL);
	expect_text(store, 4, "moved");
	expect_text(store, 5, NULL);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
}

/* Opens what the first death has left, and dies again at each step of that. */
static size_t die_while_opening(struct pfs_sim *sim)
{
	struct images images = {.sim = sim, .max = 8, .from = PFS_SUPER_NAME};
	struct pfs_store *store;

	expect_no_fault(sim);
	pfs_sim_on_step(sim, take_image, &images);
	store = open_store(sim);
	pfs_sim_on_step(sim, NULL, NULL);
	assert_int_equal(pfs_store_close(store), 0);
	for (size_t i = 0; i < images.count; i++) {
		expect_no_fault(images.at[i]);
		expect_documents(images.at[i]);
		pfs_sim_free(images.at[i]);
	}
	return images.count;
}

/* Proves: segments that a clean close has left behind are not replayed, even when the next opening
 * dies before it has made use of them; what was removed or rewritten stays so. */
static void death_while_closing_and_again_while_opening(void **state)
{
	struct images images = {.sim = pfs_sim_new(), .max = STEPS_MAX, .from = PFS_SUPER_NAME};
	struct pfs_key from = pfs_key_num(5), to = pfs_key_num(4), gone = pfs_key_num(3);
	struct pfs_store *store;
	size_t again = 0;

	(void)state;
	create_store(images.sim, 64 * PFS_KIB, 16);
	store = open_store(images.sim);
	put_text(store, 1, "kept");
	put_text(store, 2, "first");
	put_text(store, 3, "to be removed");
	put_text(store, 5, "moved");
	for (uint64_t i = 0; i < 3; i++) {
		struct pfs_key key = pfs_key_num(6 + i);

		put_document(store, &key, LARGE, 2 * i + 1);
	}
	put_text(store, 2, "rewritten");
	assert_int_equal(pfs_remove(store, &gone, NULL), 0);
	assert_int_equal(pfs_rename(store, &from, &to, 0, NULL), 0);
	pfs_sim_on_step(images.sim, take_image, &images);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_on_step(images.sim, NULL, NULL);
	assert_true(images.count > 5);
	for (size_t i = 0; i < images.count; i++) {
		again += die_while_opening(images.at[i]);
		pfs_sim_free(images.at[i]);
	}
	assert_true(again > images.count);
	pfs_sim_free(images.sim);
}

/* Proves: a document that is written over in place under the name that it got meanwhile, by a
 * checkpoint that is cut off, is no fault for the check, and is there after the next opening. */
static void renamed_and_written_over_in_place(void **state)
{
	struct images images = {.sim = pfs_sim_new(), .max = STEPS_MAX, .from = "page-"};
	struct pfs_key a = pfs_key_num(1), b = pfs_key_num(2);
	struct pfs_store *store;

	(void)state;
	create_store(images.sim, 64 * PFS_KIB, 16);
	store = open_store(images.sim);
	put_document(store, &a, 3000, 1);
	put_document(store, &b, 2000, 1);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_put(store, &a, "", 0, NULL, 0, NULL), 0);
	put_text(store, 2, "second");
	assert_int_equal(pfs_rename(store, &a, &b, PFS_RENAME_EXCHANGE, NULL), 0);
	pfs_sim_on_step(images.sim, take_image, &images);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	pfs_sim_on_step(images.sim, NULL, NULL);
	assert_int_equal(pfs_store_close(store), 0);
	assert_true(images.count > 5);
	for (size_t i = 0; i < images.count; i++) {
		expect_no_fault(images.at[i]);
		store = open_store(images.at[i]);
		expect_text(store, 1, "second");
		expect_text(store, 2, "");
		assert_int_equal(pfs_store_close(store), 0);
		expect_healthy(images.at[i]);
		pfs_sim_free(images.at[i]);
	}
	pfs_sim_free(images.sim);
}

/* Proves (G4): whatever the documents hold that once stood where the journal's tail is now, its
 * search for records behind the tail comes to an end within its limits, and the store opens. Each
 * word here is the length of a record. */
static void stale_bytes_behind_the_tail(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *image;
	struct pfs_key key = pfs_key_num(6);
	uint8_t *bytes = malloc(LARGE);
	struct pfs_store *store;

	(void)state;
	for (uint64_t i = 0; i < LARGE; i += 8)
		pfs_put_le64(bytes + i, (pfs_mix64(i) & ~UINT64_C(0xfff80007)) | 0x40000);
	create_store(sim, 64 * PFS_KIB, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < 4; i++) {
		/* Nothing compresses it: it stands in the journal as it is. */
		assert_int_equal(pfs_put(store, &key, bytes, LARGE, NULL, 0, NULL), 0);
		assert_int_equal(pfs_store_checkpoint(store), 0);
		put_text(store, 1, "kept");
		image = pfs_sim_kill(sim);
		expect_no_fault(image);
		pfs_store_close(open_store(image));
		pfs_sim_free(image);
	}
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(death_while_closing_and_again_while_opening),
		cmocka_unit_test(renamed_and_written_over_in_place),
		cmocka_unit_test(stale_bytes_behind_the_tail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
