/* Without memory: a check, a manifest, what is kept aside. Each allocation fails, one at a time;
 * unlike in tests/fault/broken_fault_test none may be done without. */
#include "storage/crc.h"
#include "storage/journal.h"
#include "storage/store_internal.h"
#include "storage/manifest.h"
#include "storage/quarantine.h"
#include "tests/fault/broken_stores.h"
#include "tests/fault/inject.h"
#include "tests/unit/publish_helpers.h"
#include "tests/unit/repair_helpers.h"

/* ---- checks ---- */

#define LONG 200000 /* in blocks */

/* A dictionary, documents with it and without, a long one, and one that is there twice. */
static struct pfs_sim *closed_store(void)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	struct pfs_place from, to;
	uint8_t bytes[4096];

	create_store(sim, 512 * PFS_KIB, 16);
	store = open_store(sim);
	fill_document(bytes, sizeof(bytes), 4);
	assert_int_equal(pfs_dict_add(store, bytes, sizeof(bytes), 1000, 300), 0);
	for (unsigned i = 0; i < 8; i++)
		put_document(store, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = i},
			     i == 7 ? LONG : 60, i);
	assert_int_equal(pfs_store_close(store), 0);
	from = place_of(sim, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = 2});
	to = place_of(sim, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = 4});
	read_at(sim, page_name(from.page), pfs_slot_offset(from.slot), bytes, PFS_SLOT_LEN);
	write_at(sim, page_name(to.page), pfs_slot_offset(to.slot), bytes, PFS_SLOT_LEN);
	return sim;
}

static struct pfs_sim *killed_now(struct pfs_sim *sim, struct pfs_store *store)
{
	struct pfs_sim *killed = pfs_sim_kill(sim);

	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
	pfs_sim_settle(killed);
	return killed;
}

/* A journal that begins with a move over another document, then names a damaged one. */
static struct pfs_sim *moved_store(void)
{
	struct pfs_sim *sim = docs_store();
	struct pfs_place place = doc_place(sim, 7);
	struct pfs_key keys[3] = {doc_key(10), doc_key(11), doc_key(7)};
	struct pfs_attr later = {.mtime_ns = 5};
	struct pfs_store *store = open_store(sim);
	uint32_t object;

	assert_int_equal(pfs_rename(store, &keys[0], &keys[1], 0, NULL), 0);
	assert_int_equal(pfs_lookup(store, &keys[2], &object, NULL), 0);
	assert_int_equal(pfs_setattr(store, object, PFS_ATTR_MTIME, &later, NULL), 0);
	assert_int_equal(pfs_sync(store), 0);
	sim = killed_now(sim, store);
	write_at(sim, page_name(place.page), place.offset + 1, "xy", 2);
	return sim;
}

/* The first record is damaged, and names its document all the same. */
static struct pfs_sim *damaged_journal(void)
{
	struct pfs_sim *sim = docs_store();
	struct pfs_store *store = open_store(sim);
	char segment[32];

	for (unsigned i = 7; i < 9; i++) {
		put_doc(store, i);
		assert_int_equal(pfs_sync(store), 0);
	}
	sim = killed_now(sim, store);
	assert_true(find_segment(sim, segment));
	flip_bit(sim, segment, PFS_SEGMENT_DATA + PFS_RECORD_LEN_MIN, 3);
	return sim;
}

struct checked {
	uint64_t findings; /* a sum of hashes, whatever their order is */
	size_t count;
	struct pfs_check_result result;
	struct pfs_reason reason;
};

static void add_finding(void *arg, const struct pfs_finding *finding)
{
	struct checked *c = arg;

	c->findings += pfs_mix64(pfs_crc32c(0, finding->text, strlen(finding->text)) +
				 finding->offset * 7 + finding->fatal);
	c->count++;
}

static int check(struct pfs_sim *sim, struct checked *c)
{
	int err;

	*c = (struct checked){.count = 0};
	fault_arm();
	err = pfs_check(STORE, pfs_sim_io(sim), &quiet, add_finding, NULL, c, &c->result,
			&c->reason);
	fault_disarm();
	return err;
}

static const struct {
	struct pfs_sim *(*make)(void);
	unsigned done_without; /* allocations */
} stores[] = {
	{closed_store, 0},
	{moved_store, 1}, /* of what is only remembered to be told later */
	{damaged_journal, 0},
};

/* Proves: a check for which there is no memory, whatever for, says that it can't be done; but for
 * what it can tell at once instead of later. */
static void checks_without_memory_are_none(void **state)
{
	(void)state;
	for (size_t s = 0; s < pfs_array_len(stores); s++) {
		struct pfs_sim *sim = stores[s].make();
		struct checked whole, c;
		unsigned without = 0;
		bool met = true;

		assert_int_equal(check(sim, &whole), 0);
		assert_true(whole.count > 0);
		for (uint64_t at = 1; met; at++) {
			struct fault fault = {.kind = FAULT_MEMORY, .at = at};
			int err;

			fault_begin(&fault);
			err = check(sim, &c);
			assert_int_equal(fault_live_blocks(true), 0);
			met = fault.met;
			fault_begin(NULL);
			if (err && (!met || err != -ENOMEM))
				fail_msg("store %zu, allocation %u: %d", s, (unsigned)at, err);
			assert_int_equal(c.reason.text[0] != 0, err != 0);
			if (err)
				continue;
			without += met;
			assert_int_equal(c.count, whole.count);
			assert_true(c.findings == whole.findings);
			assert_int_equal(c.result.damaged, whole.result.damaged);
		}
		assert_int_equal(without, stores[s].done_without);
		pfs_sim_free(sim);
	}
}

/* Proves: the same of a published collection, with the reason. */
static void checks_of_collections_without_memory_are_none(void **state)
{
	const struct source source = {
		.count = 40, .doc = record_doc, .changed = UINT64_MAX, .absent = UINT64_MAX};
	struct pfs_sim *sim = pfs_sim_new();
	unsigned refused = 0;
	bool met = true;

	(void)state;
	publish_ok(pfs_sim_io(sim), &source);
	for (uint64_t at = 1; met; at++) {
		struct fault fault = {.kind = FAULT_MEMORY, .at = at};
		struct checked c = {.count = 0};
		int err;

		fault_begin(&fault);
		fault_arm();
		err = pfs_check(WHERE, pfs_sim_io(sim), &quiet, add_finding, NULL, &c, &c.result,
				&c.reason);
		fault_disarm();
		assert_int_equal(fault_live_blocks(true), 0);
		met = fault.met;
		fault_begin(NULL);
		assert_int_equal(err, met ? -ENOMEM : 0);
		assert_int_equal(c.count, 0);
		if (strstr(c.reason.text, "can't be checked"))
			assert_string_equal(c.reason.text,
					    WHERE ": can't be checked: Cannot allocate memory");
		refused += strstr(c.reason.text, "can't be checked") != NULL;
	}
	assert_true(refused > 0);
	pfs_sim_free(sim);
}

/* ---- repairs ---- */

struct writes {
	unsigned seen, at;
};

static int fail_write(void *arg, const struct pfs_sim_step *step)
{
	struct writes *w = arg;

	return step->kind == PFS_SIM_WRITE && strcmp(step->name, PFS_QUARANTINE_NAME) == 0 &&
			       ++w->seen == w->at
		       ? -ENOSPC
		       : 0;
}

/* Proves: a repair that can't keep all aside that it takes out, from pages or from the journal, is
 * none. */
static void what_can_not_be_kept_ends_a_repair(void **state)
{
	unsigned writes = 0;

	(void)state;
	for (size_t s = 0; s < broken_store_count; s++) {
		struct pfs_sim *sim;
		bool met = true;

		if (strcmp(broken_stores[s].name, "changed and damaged") != 0)
			continue;
		sim = broken_stores[s].make();
		for (unsigned at = 1; met; at++) {
			struct pfs_sim *copy = pfs_sim_kill(sim);
			struct writes w = {.at = at};
			struct repaired *done;

			pfs_sim_on_step(copy, fail_write, &w);
			done = try_repair(copy);
			met = w.seen >= at;
			assert_int_equal(done->err, met ? -ENOSPC : 0);
			if (!met)
				writes = w.seen;
			free(done);
			pfs_sim_free(copy);
		}
		pfs_sim_free(sim);
	}
	/* A container, and the record that changes it. */
	assert_true(writes >= 2);
}

/* ---- manifests ---- */

/* Proves: a manifest for which there is no memory is neither written nor read, and says so. */
static void manifests_without_memory_are_none(void **state)
{
	struct pfs_manifest_object objects[] = {
		{.role = PFS_OBJECT_DICT, .len = 1, .count = 1},
		{.role = PFS_OBJECT_KEYS, .len = 41},
		{.role = PFS_OBJECT_PAGE, .len = 145, .count = 1, .head = 80, .size_log2 = 16}};
	struct pfs_manifest_block block = {.kind = PFS_KEY_NUM,
					   .begins_page = true,
					   .begins_keys = true,
					   .count = 1,
					   .len = 41};
	uint32_t crcs[3] = {1, 2, 3};
	const struct pfs_manifest m = {.generation = 1,
				       .points = 1,
				       .object_count = 3,
				       .block_count = 1,
				       .chunk_count = 3,
				       .objects = objects,
				       .blocks = &block,
				       .crcs = crcs};
	uint8_t *bytes, *again;
	size_t len, again_len;
	unsigned failed = 0;
	bool met = true;

	(void)state;
	assert_int_equal(pfs_manifest_encode(&m, &bytes, &len), 0);
	for (uint64_t at = 1; met; at++) {
		struct fault fault = {.kind = FAULT_MEMORY, .at = at};
		struct pfs_manifest got;
		const char *why = NULL;
		int err;

		fault_begin(&fault);
		fault_arm();
		err = pfs_manifest_decode(&got, bytes, len, &why);
		fault_disarm();
		met = fault.met;
		failed += met;
		assert_int_equal(err, met ? -ENOMEM : 0);
		assert_string_equal(why, met ? "no memory" : "");
		if (met)
			assert_true(pfs_is_zero(&got, sizeof(got)));
		pfs_manifest_free(&got);
		assert_int_equal(fault_live_blocks(true), 0);
		fault_begin(NULL);
	}
	assert_int_equal(failed, 3);
	for (uint64_t at = 1; at < 3; at++) {
		struct fault fault = {.kind = FAULT_MEMORY, .at = at};
		int err;

		again = bytes;
		again_len = 7;
		fault_begin(&fault);
		fault_arm();
		err = pfs_manifest_encode(&m, &again, &again_len);
		fault_disarm();
		assert_int_equal(err, fault.met ? -ENOMEM : 0);
		assert_int_equal(fault.met, at == 1);
		assert_int_equal(again != NULL, err == 0);
		assert_int_equal(again_len, err ? 0 : len);
		free(again);
		fault_begin(NULL);
	}
	free(bytes);
}

/* ---- what is kept aside ---- */

/* Proves: without memory nothing is kept, which is said, and no file is made. */
static void nothing_is_kept_without_memory(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_kept kept = {.where = "file", .len = 3, .reason = "a test"};
	struct pfs_file *source;
	struct pfs_dir *dir;
	unsigned failed = 0;
	bool met = true;

	(void)state;
	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE | PFS_IO_CREATE, &dir), 0);
	assert_int_equal(dir->ops->open(dir, "file", PFS_IO_WRITE | PFS_IO_CREATE, &source), 0);
	assert_int_equal(source->ops->write(source, "abc", 3, 0), 0);
	for (uint64_t at = 1; met; at++) {
		struct fault fault = {.kind = FAULT_MEMORY, .at = at};
		struct pfs_quarantine quarantine;
		int err;

		pfs_quarantine_begin(&quarantine, dir);
		fault_begin(&fault);
		fault_arm();
		err = pfs_quarantine_add(&quarantine, &kept, source);
		fault_disarm();
		met = fault.met;
		failed += met;
		assert_int_equal(err, met ? -ENOMEM : 0);
		assert_int_equal(has_quarantine(sim), !met);
		assert_int_equal(quarantine.entries, !met);
		pfs_quarantine_end(&quarantine);
		fault_begin(NULL);
	}
	assert_int_equal(failed, 2);
	source->ops->close(source);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checks_without_memory_are_none),
		cmocka_unit_test(checks_of_collections_without_memory_are_none),
		cmocka_unit_test(what_can_not_be_kept_ends_a_repair),
		cmocka_unit_test(manifests_without_memory_are_none),
		cmocka_unit_test(nothing_is_kept_without_memory),
	};

	cmocka_set_test_filter(getenv("FAULT_TEST"));
	return cmocka_run_group_tests_name("checks without memory", tests, NULL, NULL);
}
