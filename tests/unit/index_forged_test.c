/* Saved indexes with right checksums that say what no store would: the check says so, and the store
 * opens without them and has every document. */
#include "storage/crc.h"
#include "tests/unit/store_helpers.h"

#define DOCS 3000u
#define RECORD sizeof(struct pfs_index_object_disk)
#define PAGE_RECORD sizeof(struct pfs_index_page_disk)

struct index {
	struct pfs_index_disk header;
	uint8_t *records, *pages;
	uint64_t record_count, page_count;
};

/* With room for some more records. */
static struct index read_index(struct pfs_sim *sim)
{
	struct index x;
	uint64_t size = size_at(sim, PFS_INDEX_NAME), at = sizeof(x.header);

	read_at(sim, PFS_INDEX_NAME, 0, &x.header, at);
	assert_int_equal(pfs_get_le32(x.header.dicts.b), 0);
	x.page_count = pfs_get_le64(x.header.pages.b);
	x.record_count = (size - at - 4 - x.page_count * PAGE_RECORD) / RECORD;
	x.records = calloc(x.record_count + 1200, RECORD);
	x.pages = calloc(x.page_count + 1, PAGE_RECORD);
	read_at(sim, PFS_INDEX_NAME, at, x.records, x.record_count * RECORD);
	read_at(sim, PFS_INDEX_NAME, at + x.record_count * RECORD, x.pages,
		x.page_count * PAGE_RECORD);
	return x;
}

static void write_index(struct pfs_sim *sim, struct index *x)
{
	uint64_t at = sizeof(x->header), len = x->record_count * RECORD;
	struct pfs_dir *dir;
	struct pfs_file *file = store_file(sim, PFS_INDEX_NAME, &dir);
	uint32_t crc = pfs_crc32c(0, x->records, len);
	uint8_t disk[4];

	assert_int_equal(file->ops->truncate(file, 0), 0);
	store_file_done(dir, file);
	pfs_put_le32(disk, pfs_crc32c(crc, x->pages, x->page_count * PAGE_RECORD));
	pfs_put_le32(x->header.crc.b,
		     pfs_crc32c(0, (uint8_t *)&x->header + 12, sizeof(x->header) - 12));
	write_at(sim, PFS_INDEX_NAME, 0, &x->header, at);
	write_at(sim, PFS_INDEX_NAME, at, x->records, len);
	write_at(sim, PFS_INDEX_NAME, at + len, x->pages, x->page_count * PAGE_RECORD);
	write_at(sim, PFS_INDEX_NAME, at + len + x->page_count * PAGE_RECORD, disk, sizeof(disk));
}

static void set_objects(struct index *x, uint64_t objects)
{
	pfs_put_le64(x->header.objects.b, objects);
}

/* The first record begins a run: page and slot, and the record behind it count and number. */
static void too_many_objects(struct index *x)
{
	set_objects(x, UINT64_C(1) << 33);
}

static void too_many_pages(struct index *x)
{
	pfs_put_le64(x->header.pages.b, UINT64_C(1) << 40);
}

static void run_beyond_all_slots(struct index *x)
{
	pfs_put_le32(x->records + 4, 0x00fffff0);
}

static void run_of_too_many(struct index *x)
{
	pfs_put_le32(x->records + 12, 0x7fffffff);
	set_objects(x, 0x7fffffff);
}

static void run_of_none(struct index *x)
{
	pfs_put_le32(x->records + 12, 0);
	set_objects(x, 0);
}

/* What would be its second record is a page's. */
static void run_without_its_end(struct index *x)
{
	pfs_put_le32(x->records + x->record_count * RECORD, PFS_INDEX_RUN_BIT | 1);
	x->record_count++;
	set_objects(x, DOCS + pfs_get_le32(x->pages));
}

static void run_over_the_highest_number(struct index *x)
{
	pfs_put_le64(x->records + 16, UINT64_MAX - 5);
}

static void short_run(struct index *x)
{
	pfs_put_le32(x->records + 12, DOCS - 1100);
	set_objects(x, DOCS - 1100);
}

static void entries_twice(struct index *x)
{
	for (uint32_t i = 0; i < 1100; i++) {
		uint8_t *at = x->records + (x->record_count + i) * RECORD;

		pfs_put_le32(at, 1);
		pfs_put_le32(at + 4, i);
		pfs_put_le32(at + 8, 77);
	}
	x->record_count += 1100;
	set_objects(x, DOCS + 1100);
}

static void entries_of_no_slot(struct index *x)
{
	for (uint32_t i = 0; i < 1100; i++) {
		uint8_t *at = x->records + (x->record_count + i) * RECORD;

		pfs_put_le32(at, i % 2 ? 1 : 99);
		pfs_put_le32(at + 4, 100000 + i);
	}
	x->record_count += 1100;
	set_objects(x, DOCS + 1100);
}

static const struct {
	const char *text; /* of the check */
	void (*forge)(struct index *x);
	bool unusable; /* an opening sees it by itself */
} forged[] = {
	{"counts are out of range", too_many_objects, true},
	{"counts are out of range", too_many_pages, true},
	{"a run of entries makes no sense", run_beyond_all_slots, true},
	{"not as many entries as it says", run_of_too_many, true},
	{"the index lacks", run_of_none, false},
	{"a run of entries makes no sense", run_without_its_end, true},
	{"has another hash", run_over_the_highest_number, true},
	{"the index lacks 1100 documents", short_run, false},
	{"", entries_twice, false},
	{"", entries_of_no_slot, false},
};

static void expect_all(struct pfs_store *store)
{
	for (unsigned i = 0; i < DOCS; i++) {
		struct pfs_key key = pfs_key_num(i);

		assert_int_equal(pfs_lookup(store, &key, &(uint32_t){0}, NULL), 0);
	}
}

/* Proves: each of these is found, whatever else it says; one that makes no sense is not used by an
 * opening, after which every document is there; a repair makes all of them right. */
static void forged_indexes_are_found_and_not_used(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;

	(void)state;
	create_store(sim, 256 * PFS_KIB, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < DOCS; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 40, i + 1);
	}
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_settle(sim);
	for (size_t i = 0; i < pfs_array_len(forged); i++) {
		struct pfs_sim *copy = pfs_sim_kill(sim);
		struct index x = read_index(copy);
		struct pfs_repair_result result;
		struct pfs_reason reason;
		struct found *found;
		bool said = false;

		assert_true(pfs_get_le32(x.records) & PFS_INDEX_RUN_BIT);
		forged[i].forge(&x);
		write_index(copy, &x);
		found = check_store(copy);
		for (size_t f = 0; f < found->count; f++)
			said |= found->at[f].fatal && strstr(found->at[f].text, forged[i].text);
		if (!said)
			print_found(found);
		if (!said)
			fail_msg("%zu: the check does not say: %s", i, forged[i].text);
		free(found);
		if (forged[i].unusable) {
			struct pfs_sim *opened = pfs_sim_kill(copy);

			store = open_store(opened);
			expect_all(store);
			assert_int_equal(pfs_store_close(store), 0);
			expect_healthy(opened);
			pfs_sim_free(opened);
		}
		assert_int_equal(pfs_repair(STORE, pfs_sim_io(copy), &quiet, NULL, NULL, NULL,
					    &result, &reason),
				 0);
		store = open_store(copy);
		expect_all(store);
		assert_int_equal(pfs_store_close(store), 0);
		expect_healthy(copy);
		free(x.records);
		free(x.pages);
		pfs_sim_free(copy);
	}
	pfs_sim_free(sim);
}

/* Objects of no run, and what else the index says, in two pieces that are read one after the other:
 * `records` fill the first but for a part of one of pages, or of dictionaries, of which two are
 * appended. */
static void make_long(struct pfs_sim *sim, uint64_t records, uint64_t objects, uint32_t flags)
{
	struct index x = read_index(sim);

	free(x.records);
	x.records = calloc(records, RECORD);
	x.record_count = records;
	for (uint64_t i = 0; i < records; i++) {
		struct pfs_index_object_disk *o =
			(struct pfs_index_object_disk *)(x.records + i * RECORD);

		pfs_put_le32(o->page.b, 1);
		pfs_put_le32(o->slot.b, (uint32_t)i % 100);
		pfs_put_le32(o->hash.b, (uint32_t)pfs_mix64(i));
	}
	set_objects(&x, objects);
	pfs_put_le32(x.header.flags.b, flags);
	/* As long as one page. */
	pfs_put_le32(x.header.dicts.b, 2);
	x.page_count++;
	write_index(sim, &x);
	free(x.records);
	free(x.pages);
}

static unsigned reads, failing;

static int fail_one_read(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	return step->kind == PFS_SIM_READ && strcmp(step->name, PFS_INDEX_NAME) == 0 &&
			       ++reads == failing
		       ? -EIO
		       : 0;
}

/* Proves: an index that can't be read to its end, whichever part of it that is in, is made anew, as
 * one that says fewer objects than it has. */
static void indexes_that_can_not_be_read(void **state)
{
	/* Of 256 KiB: 4 bytes, 16, and 28 are left behind the objects; a page has 24. */
	static const uint64_t records[] = {21845, 21844, 21843, 5};
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;

	(void)state;
	create_store(sim, PFS_MIB, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < DOCS; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 40, i + 1);
	}
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_settle(sim);
	for (size_t i = 0; i < pfs_array_len(records); i++) {
		bool is_short = records[i] == 5;

		for (failing = is_short ? 0 : 1; failing <= (is_short ? 0 : 5); failing++) {
			struct pfs_sim *copy = pfs_sim_kill(sim);

			make_long(copy, records[i], is_short ? 3 : records[i],
				  is_short ? PFS_INDEX_RUNS : 0);
			reads = 0;
			pfs_sim_on_look(copy, fail_one_read, NULL);
			store = open_store(copy);
			pfs_sim_on_look(copy, NULL, NULL);
			assert_true(reads >= failing);
			expect_all(store);
			assert_int_equal(pfs_store_close(store), 0);
			expect_healthy(copy);
			pfs_sim_free(copy);
		}
	}
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forged_indexes_are_found_and_not_used),
		cmocka_unit_test(indexes_that_can_not_be_read),
	};

	return cmocka_run_group_tests_name("forged indexes", tests, NULL, NULL);
}
