/* What is done again and again: it leaves nothing behind, and what was put off is done. */
#include "storage/store_internal.h"
#include "tests/unit/store_helpers.h"

#define ROUNDS 6000u
#define WARM 100u /* rounds after which everything has its size */
#define DOCUMENTS 40u

static struct pfs_store_stat stat_of(struct pfs_store *store)
{
	struct pfs_store_stat stat;

	assert_int_equal(pfs_store_stat(store, &stat), 0);
	return stat;
}

static uint32_t number_of(struct pfs_store *store, const struct pfs_key *key)
{
	uint32_t object;

	assert_int_equal(pfs_lookup(store, key, &object, NULL), 0);
	return object;
}

static uint64_t listed(struct pfs_store *store)
{
	struct pfs_listed names[64];
	uint64_t after = 0, count = 0;
	ssize_t n;

	while ((n = pfs_list(store, after, names, pfs_array_len(names))) > 0) {
		after = names[n - 1].cookie;
		count += (uint64_t)n;
	}
	assert_int_equal(n, 0);
	return count;
}

/* ---- one round each ---- */

/* To a name that nobody ever had, and so on. */
static void move_on(struct pfs_store *store, uint64_t round)
{
	struct pfs_key from = pfs_key_num(1000 + round), to = pfs_key_num(1001 + round);

	assert_int_equal(pfs_rename(store, &from, &to, PFS_RENAME_NOREPLACE, NULL), 0);
	assert_int_equal(pfs_lookup(store, &from, NULL, NULL), -ENOENT);
}

static void exchange(struct pfs_store *store, uint64_t round)
{
	struct pfs_key a = pfs_key_num(round % DOCUMENTS), b = pfs_key_num((round + 1) % DOCUMENTS);
	uint32_t was_a = number_of(store, &a), was_b = number_of(store, &b);

	assert_int_equal(pfs_rename(store, &a, &b, PFS_RENAME_EXCHANGE, NULL), 0);
	assert_int_equal(number_of(store, &a), was_b);
	assert_int_equal(number_of(store, &b), was_a);
}

/* Its place is found without a table afterwards, or was already. */
static void tidy(struct pfs_store *store, const struct pfs_key *key)
{
	int err = pfs_tidy(store, number_of(store, key));

	assert_true(err == 0 || err == -EALREADY);
	assert_int_equal(pfs_tidy(store, number_of(store, key)), -EALREADY);
}

/* As editors do: another file is made, and takes the place. */
static void replace(struct pfs_store *store, uint64_t round)
{
	struct pfs_key temporary = key_named(".4.tmp"), to = pfs_key_num(round % DOCUMENTS);
	uint32_t replaced, was = number_of(store, &to);

	put_document(store, &temporary, 50, round);
	assert_int_equal(pfs_rename(store, &temporary, &to, 0, &replaced), 0);
	assert_int_equal(replaced, was);
	pfs_release(store, replaced);
	tidy(store, &to);
}

static void put_anew(struct pfs_store *store, uint64_t round)
{
	struct pfs_key key = pfs_key_num(round % DOCUMENTS);
	uint32_t replaced, was = number_of(store, &key);

	assert_int_equal(pfs_put(store, &key, "new", 3, NULL, PFS_PUT_NEW_OBJECT, &replaced), 0);
	assert_int_equal(replaced, was);
	pfs_release(store, replaced);
	tidy(store, &key);
}

/* Removed while it is held, so that no record ever says it. */
static void make_and_remove(struct pfs_store *store, uint64_t round)
{
	struct pfs_key key = pfs_key_num(100000 + round);
	struct pfs_attr attr = {.mode = 0644};
	uint32_t object, removed;

	assert_int_equal(pfs_create(store, &key, &attr, &object), 0);
	if (round % 3 == 0)
		assert_int_equal(pfs_write(store, object, 0, "x", 1, 5), 0);
	assert_int_equal(pfs_remove(store, &key, &removed), 0);
	assert_int_equal(removed, object);
	if (round % 2)
		assert_int_equal(pfs_write(store, object, 0, "late", 4, 5), 0);
	if (round % 5 == 0)
		assert_int_equal(pfs_sync(store), 0);
	pfs_release(store, object);
	assert_int_equal(pfs_getattr(store, object, &attr), -ENOENT);
}

static void churn(struct pfs_store *store, void (*once)(struct pfs_store *store, uint64_t round))
{
	uint64_t names = listed(store), bytes = 0;

	for (uint64_t round = 0; round < ROUNDS; round++) {
		once(store, round);
		if (round % 500 == 499)
			assert_int_equal(pfs_store_checkpoint(store), 0);
		if (round == WARM)
			bytes = stat_of(store).index_bytes;
	}
	assert_int_equal(stat_of(store).index_bytes, bytes);
	assert_int_equal(listed(store), names);
	assert_int_equal(stat_of(store).points, names);
	assert_int_equal(stat_of(store).scratch, 0);
}

/* Proves: documents that are made, moved, exchanged, replaced and removed for ever take no more of
 * the index than at the beginning, and are neither lost nor counted wrongly. */
static void names_leave_nothing_behind(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_key key = pfs_key_num(1000);
	struct pfs_store *store;

	(void)state;
	create_store(sim, 64 * PFS_KIB, 16);
	store = open_held(sim);
	put_document(store, &key, 100, 1);
	for (unsigned i = 0; i < DOCUMENTS; i++) {
		key = pfs_key_num(i);
		put_document(store, &key, 100, i);
	}
	churn(store, move_on);
	churn(store, exchange);
	churn(store, replace);
	churn(store, put_anew);
	churn(store, make_and_remove);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

/* Proves: many empty documents can be made one after the other, and all of them are there. */
static void many_can_be_made(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_attr attr = {.mode = 0640, .uid = 3, .mtime_ns = 9}, got;
	struct pfs_store *store;
	uint32_t object, found;

	(void)state;
	create_store(sim, 64 * PFS_KIB, 16);
	store = open_store(sim);
	for (uint64_t i = 0; i < 9000; i++) {
		struct pfs_key key = pfs_key_num(i);

		assert_int_equal(pfs_create(store, &key, &attr, &object), 0);
		assert_int_equal(pfs_create(store, &key, &attr, &found), -EEXIST);
		assert_int_equal(found, object);
	}
	assert_int_equal(listed(store), 9000);
	assert_int_equal(pfs_store_close(store), 0);
	store = open_store(sim);
	assert_int_equal(listed(store), 9000);
	for (uint64_t i = 0; i < 9000; i++) {
		struct pfs_key key = pfs_key_num(i);

		assert_int_equal(pfs_lookup(store, &key, &object, &got), 0);
		assert_int_equal(got.mode, 0640);
		assert_int_equal(got.uid, 3);
		assert_int_equal(got.size, 0);
		assert_int_equal(got.mtime_ns, 9);
	}
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

static int no_room_in_pages(void *arg, const struct pfs_sim_step *step)
{
	bool refused = step->kind == PFS_SIM_WRITE && strncmp(step->name, "page-", 5) == 0;

	*(unsigned *)arg += refused;
	return refused ? -ENOSPC : 0;
}

static void expect_in_journal(struct pfs_store *store, uint64_t number, bool expected)
{
	struct pfs_key key = pfs_key_num(number);
	struct pfs_place place;

	assert_int_equal(pfs_place(store, &key, &place), 0);
	assert_int_equal(place.in_journal, expected);
}

/* Proves: a checkpoint that finds room where the one before found none does the work of both, what
 * came in between included. */
static void what_was_put_off_is_done(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	unsigned refused = 0;

	(void)state;
	create_store(sim, 64 * PFS_KIB, 16);
	store = open_store(sim);
	for (uint64_t i = 0; i < 40; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 900, 2 * i + 1);
		if (i != 19)
			continue;
		pfs_sim_on_step(sim, no_room_in_pages, &refused);
		assert_int_equal(pfs_store_checkpoint(store), -ENOSPC);
		assert_true(refused > 0);
		pfs_sim_on_step(sim, NULL, NULL);
		expect_in_journal(store, 0, true);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	for (uint64_t i = 0; i < 40; i++)
		expect_in_journal(store, i, false);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_leave_nothing_behind),
		cmocka_unit_test(many_can_be_made),
		cmocka_unit_test(what_was_put_off_is_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
