/* Repairing a store: what must be durable before the next thing is changed. */
#include "storage/journal.h"
#include "tests/unit/repair_helpers.h"

/* What a repair has changed, and a power cut now could undo. */
struct order {
	bool kept, kept_name; /* in the file of what is set aside; its name */
	bool renamed;	      /* a name of another file */
	char cleared[32];     /* a segment in which was written before the store is opened */
	unsigned keeps, renames, clears;
};

static void on_change(struct order *order, const struct pfs_sim_step *step)
{
	bool super = strcmp(step->name, PFS_SUPER_NAME) == 0;

	/* The bytes that are set aside are on the disk before those that they were taken from can
	 * be gone. */
	if (order->kept || order->kept_name)
		fail_msg("%s of %s: what is set aside is not durable",
			 pfs_sim_kind_name(step->kind), step->name);
	/* The superblock says how things are when a file has got another name, or a place another
	 * content. */
	if (super && order->renamed)
		fail_msg("the superblock is written, and a file may get its old name back");
	if (super && order->cleared[0])
		fail_msg("the superblock is written, and %s may be as it was", order->cleared);
	if (step->kind == PFS_SIM_RENAME && strcmp(step->name, PFS_INDEX_NAME ".tmp") != 0) {
		order->renamed = true;
		order->renames++;
	}
	if (order->clears == 0 && step->kind == PFS_SIM_WRITE &&
	    strncmp(step->name, "journal-", 8) == 0) {
		snprintf(order->cleared, sizeof(order->cleared), "%s", step->name);
		order->clears++;
	}
}

static int watch_order(void *arg, const struct pfs_sim_step *step)
{
	struct order *order = arg;
	bool kept = strcmp(step->name, PFS_QUARANTINE_NAME) == 0;

	if (step->kind == PFS_SIM_SYNC_DIR) {
		order->kept_name = order->renamed = false;
	} else if (step->kind == PFS_SIM_SYNC) {
		if (kept)
			order->kept = false;
		if (strcmp(step->name, order->cleared) == 0)
			order->cleared[0] = '\0';
	} else if (kept && step->kind == PFS_SIM_CREATE) {
		order->kept_name = true;
	} else if (kept) {
		order->kept = true;
		order->keeps++;
	} else {
		on_change(order, step);
	}
	return 0;
}

static struct order repair_in_order(struct pfs_sim *sim)
{
	struct order order = {.keeps = 0};
	struct repaired *done;

	pfs_sim_settle(sim);
	pfs_sim_on_step(sim, watch_order, &order);
	done = try_repair(sim);
	pfs_sim_on_step(sim, NULL, NULL);
	assert_int_equal(done->err, 0);
	assert_true(done->result.faults > 0);
	assert_false(order.kept || order.kept_name || order.renamed);
	free(done);
	return order;
}

static void spoil(struct pfs_sim *sim, const char *name, uint64_t off)
{
	uint8_t junk[64];

	fill_document(junk, sizeof(junk), 333);
	write_at(sim, name, off, junk, sizeof(junk));
}

/* Proves: a container that can't be saved is set aside before its slot is taken away. */
static void containers_are_kept_first(void **state)
{
	struct pfs_sim *sim = docs_store();
	struct pfs_place place = doc_place(sim, 9);

	(void)state;
	spoil(sim, page_name(place.page), place.offset + 8);
	assert_true(repair_in_order(sim).keeps > 0);
	pfs_sim_free(sim);
}

/* A killed store whose journal changes a part of document 14. */
static struct pfs_sim *changed_store(void)
{
	struct pfs_sim *sim = docs_store(), *killed;
	struct pfs_key key = doc_key(14);
	struct pfs_store *store = open_store(sim);
	uint32_t object;

	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	assert_int_equal(pfs_write(store, object, 70000, "change", 6, 1), 0);
	assert_int_equal(pfs_sync(store), 0);
	killed = pfs_sim_kill(sim);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
	return killed;
}

/* Proves: what a replay will lose, because that was damaged which it changes, is set aside before
 * the replay. */
static void lost_changes_are_kept_first(void **state)
{
	struct pfs_sim *sim = docs_store(), *killed;
	struct pfs_place place = doc_place(sim, 14);

	(void)state;
	pfs_sim_free(sim);
	killed = changed_store();
	write_at(killed, page_name(place.page), place.offset + 1, "xy", 2);
	assert_true(repair_in_order(killed).keeps > 0);
	pfs_sim_free(killed);
}

/* Proves: both copies of a superblock that can't be used are set aside before another is written.
 */
static void superblocks_are_kept_first(void **state)
{
	struct pfs_sim *sim = docs_store();

	(void)state;
	spoil(sim, PFS_SUPER_NAME, 16);
	spoil(sim, PFS_SUPER_NAME, 4096 + 16);
	assert_true(repair_in_order(sim).keeps > 0);
	pfs_sim_free(sim);
}

/* Proves: a file that is set aside has its new name before the superblock says that it is gone. */
static void files_are_aside_first(void **state)
{
	struct pfs_sim *sim = changed_store();
	char segment[32];

	(void)state;
	assert_true(find_segment(sim, segment));
	spoil(sim, segment, 0);
	spoil(sim, segment, 2048);
	assert_int_equal(repair_in_order(sim).renames, 1);
	pfs_sim_free(sim);
	sim = docs_store();
	spoil(sim, page_name(2), 0);
	spoil(sim, page_name(2), size_at(sim, page_name(2)) - 64);
	assert_int_equal(repair_in_order(sim).renames, 1);
	pfs_sim_free(sim);
}

/* ---- what can't be read ---- */

struct bad_place {
	char segment[32];
	uint64_t off; /* of 4096 bytes */
	struct order order;
};

static int fail_place(void *arg, const struct pfs_sim_step *step)
{
	const struct bad_place *bad = arg;

	return step->kind == PFS_SIM_READ && bad->order.clears == 0 &&
			       strcmp(step->name, bad->segment) == 0 &&
			       step->off < bad->off + 4096 && bad->off < step->off + step->len
		       ? -EIO
		       : 0;
}

/* Proves: a place that could not be read is durably another before the store is opened. */
static void places_are_cleared_first(void **state)
{
	struct pfs_sim *sim = docs_store(), *killed;
	struct pfs_store *store = open_store(sim);
	struct bad_place bad = {.off = PFS_SEGMENT_DATA + 50000};
	struct repaired *done;

	(void)state;
	for (unsigned i = 8; i < 11; i++) {
		put_doc(store, i);
		assert_int_equal(pfs_sync(store), 0);
	}
	killed = pfs_sim_kill(sim);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
	pfs_sim_settle(killed);
	assert_true(find_segment(killed, bad.segment));
	bad.off -= bad.off % 4096;
	pfs_sim_on_look(killed, fail_place, &bad);
	pfs_sim_on_step(killed, watch_order, &bad.order);
	done = try_repair(killed);
	pfs_sim_on_step(killed, NULL, NULL);
	pfs_sim_on_look(killed, NULL, NULL);
	assert_int_equal(done->err, 0);
	assert_int_equal(bad.order.clears, 1);
	assert_true(bad.order.keeps > 0);
	free(done);
	pfs_sim_free(killed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(containers_are_kept_first),
		cmocka_unit_test(lost_changes_are_kept_first),
		cmocka_unit_test(superblocks_are_kept_first),
		cmocka_unit_test(files_are_aside_first),
		cmocka_unit_test(places_are_cleared_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
