/* Reading what was published, of which every call fails, one way after the other: memory,
 * operations on the origin's files, threads, and system calls beneath a cache directory. */
#include <unistd.h>

#include "tests/fault/calls.h"
#include "tests/fault/scenario.h"
#include "tests/unit/publish_helpers.h"

#define NONE UINT64_MAX
#define DOCS 24
#define LISTED 7 /* in a step */

static const struct pfs_logger no_log = {.fn = publish_ignore_log};

/* One reader, and what it has found. */
struct reading {
	struct pfs_sim *sim;
	struct source source;
	char cache[64];
	struct pfs_remote_options remote;
	struct pfs_store *store; /* of scenarios that begin with an open one */
	struct pfs_refreshed refreshed;
	struct pfs_reason reason;
	struct pfs_check_result checked;
	uint64_t fatal;
};

static struct source small_source(unsigned version)
{
	return (struct source){.count = DOCS,
			       .doc = odd_doc,
			       .changed = version ? 4 : NONE,
			       .absent = NONE,
			       .version = version};
}

static void publish_small(struct pfs_sim *sim, unsigned version)
{
	const struct source s = small_source(version);

	publish_ok(pfs_sim_io(sim), &s);
}

/* Records with a dictionary, of which only the first are read. */
static struct source record_source(void)
{
	return (struct source){
		.count = 3100, .doc = record_doc, .changed = NONE, .absent = NONE, .size = 300};
}

static struct reading *new_reading(struct pfs_sim *sim, const struct source *source)
{
	struct reading *r = calloc(1, sizeof(*r));

	r->sim = sim;
	r->source = *source;
	fault_watch(sim);
	return r;
}

static int open_store(struct reading *r)
{
	const struct pfs_open_options options = {.read_only = true,
						 .io = pfs_sim_io(r->sim),
						 .remote = &r->remote,
						 .logger = no_log};
	int err;

	r->reason.text[0] = '\0';
	err = pfs_store_open(&r->store, WHERE, &options, &r->reason);
	assert_true(!err == !!r->store && !err == !r->reason.text[0]);
	return err;
}

static int close_store(struct reading *r, int err)
{
	int closed = r->store ? pfs_store_close(r->store) : 0;

	assert_int_equal(closed, 0);
	r->store = NULL;
	return err;
}

/* ---- collections, made once ---- */

static struct pfs_sim *odd_made, *records_made;

static struct pfs_sim *odd_collection(void)
{
	if (!odd_made) {
		odd_made = pfs_sim_new();
		publish_small(odd_made, 0);
	}
	return pfs_sim_kill(odd_made);
}

static struct pfs_sim *record_collection(void)
{
	const struct source s = record_source();

	if (!records_made) {
		records_made = pfs_sim_new();
		assert_int_equal(publish_ok(pfs_sim_io(records_made), &s).trained,
				 pfs_store_trainer() != NULL);
	}
	return pfs_sim_kill(records_made);
}

static int free_collections(void **state)
{
	(void)state;
	if (odd_made)
		pfs_sim_free(odd_made);
	if (records_made)
		pfs_sim_free(records_made);
	return 0;
}

/* ---- documents ---- */

/* Right, or an error; err 0: right. */
static int read_doc(struct reading *r, uint64_t i)
{
	struct pfs_attr attr = {0}, got;
	struct pfs_key key;
	struct pfs_place place;
	size_t len, n;
	uint32_t object;
	void *bytes;
	uint8_t part[64];
	ssize_t got_part;
	char *data;
	int err;

	fault_exempt(true);
	r->source.doc(&r->source, i, &key, &attr, &data, &len);
	fault_exempt(false);
	err = pfs_get(r->store, &key, &bytes, &n, &got);
	assert_true(err || (n == len && memcmp(bytes, data, len) == 0 && got.size == len));
	free(bytes);
	if (!err)
		err = pfs_lookup(r->store, &key, &object, &got);
	if (!err) {
		got_part = pfs_read(r->store, object, len / 2, part, sizeof(part));
		err = got_part < 0 ? (int)got_part : 0;
		assert_true(err || memcmp(part, data + len / 2, (size_t)got_part) == 0);
	}
	if (!err)
		err = pfs_getattr(r->store, object, &got);
	if (!err)
		err = pfs_object_key(r->store, object, &key);
	if (!err)
		err = pfs_place(r->store, &key, &place);
	free(data);
	return err;
}

static int list_all(struct reading *r)
{
	struct pfs_listed listed[LISTED];
	uint64_t after = 0, count = 0;
	ssize_t n;

	while ((n = pfs_list(r->store, after, listed, LISTED)) > 0) {
		count += (uint64_t)n;
		after = listed[n - 1].cookie;
	}
	assert_true(n || count == r->source.count);
	return (int)n;
}

static int read_snapshot(struct reading *r, uint64_t i)
{
	struct pfs_attr attr = {0}, got;
	struct pfs_snapshot_name names[LISTED];
	struct pfs_snapshot *snapshot;
	struct pfs_key key;
	uint64_t after = 0, size, sequence;
	uint8_t byte;
	size_t len, n;
	bool line;
	void *bytes;
	ssize_t listed;
	char *data;
	int err = pfs_snapshot_open(r->store, &snapshot);

	if (err)
		return err;
	fault_exempt(true);
	r->source.doc(&r->source, i, &key, &attr, &data, &len);
	fault_exempt(false);
	err = pfs_snapshot_get(snapshot, &key, &bytes, &n, &got);
	assert_true(err || (n == len && memcmp(bytes, data, len) == 0));
	free(bytes);
	if (!err)
		err = pfs_snapshot_glance(snapshot, &key, &size, &line);
	if (!err)
		err = pfs_snapshot_lookup_change(snapshot, &key, &got, &sequence);
	listed = err ? 0 : pfs_snapshot_read(snapshot, &key, 0, &byte, 1);
	err = listed < 0 ? (int)listed : err;
	while (!err && (listed = pfs_snapshot_list(snapshot, after, names, LISTED)) > 0)
		after = names[listed - 1].cookie;
	assert_true(err || listed || after == r->source.count);
	pfs_snapshot_close(snapshot);
	free(data);
	return err ? err : (int)listed;
}

static int look_at_pages(struct reading *r)
{
	struct pfs_page_stat *pages;
	struct pfs_store_stat stat;
	struct pfs_remote_stat remote;
	size_t count;
	int err = pfs_store_pages(r->store, &pages, &count);

	assert_true(err || count > 0);
	free(pages);
	if (!err)
		err = pfs_store_stat(r->store, &stat);
	if (!err)
		err = pfs_store_remote_stat(r->store, &remote);
	return err;
}

/* All ways to read, of a few documents. */
static int read_some(void *state)
{
	static const uint64_t some[] = {0, 4, 6, 8, 9, 15};
	struct reading *r = state;
	int err = open_store(r);

	for (size_t i = 0; i < pfs_array_len(some) && !err; i++)
		err = read_doc(r, some[i]);
	if (!err)
		err = list_all(r);
	if (!err)
		err = read_snapshot(r, 9);
	if (!err)
		err = look_at_pages(r);
	return close_store(r, err);
}

static void expect_nothing_more(void *state, int err)
{
	(void)state;
	(void)err;
}

static void end(void *state)
{
	struct reading *r = state;
	char command[128];

	close_store(r, 0);
	pfs_sim_free(r->sim);
	if (r->cache[0]) {
		snprintf(command, sizeof(command), "rm -rf '%s'", r->cache);
		assert_int_equal(system(command), 0);
	}
	free(r);
}

static void *odd_documents(void)
{
	const struct source s = small_source(0);

	return new_reading(odd_collection(), &s);
}

static void *records(void)
{
	const struct source s = record_source();

	return new_reading(record_collection(), &s);
}

/* What can't be read is an I/O error, while what is to be opened gives its own; a file of the
 * origin that is not there any more was another generation's. */
static bool allows_reading(const struct fault *fault, int err)
{
	switch (fault->kind) {
	case FAULT_MEMORY: return err == -ENOMEM;
	case FAULT_THREAD: return false; /* nothing is asked for ahead of time */
	case FAULT_SYSTEM: return false; /* of the cache */
	case PFS_SIM_OPEN: return err == fault->err || err == -EIO || err == -ENOENT;
	default: return err == fault->err || err == -EIO;
	}
}

/* ---- a cache directory ---- */

static void *with_cache(void)
{
	struct reading *r = odd_documents();

	snprintf(r->cache, sizeof(r->cache), "%s/pfs-read-XXXXXX", calls_where());
	assert_non_null(mkdtemp(r->cache));
	r->remote.cache_dir = r->cache;
	return r;
}

static void *with_full_cache(void)
{
	struct reading *r = with_cache();

	assert_int_equal(read_some(r), 0);
	return r;
}

/* ---- refreshing ---- */

/* An open reader of the first generation, and the second one there. */
static void *outdated(void)
{
	const struct source s = small_source(0);
	struct reading *r = new_reading(odd_collection(), &s);

	assert_int_equal(open_store(r), 0);
	publish_small(r->sim, 1);
	return r;
}

static int refresh(void *state)
{
	struct reading *r = state;

	return pfs_store_refresh(r->store, &r->refreshed);
}

static void expect_one_generation(void *state, int err)
{
	struct reading *r = state;

	assert_int_equal(r->refreshed.changed, !err);
	assert_int_equal(r->refreshed.generation, err ? 1 : 2);
	r->source = small_source(err ? 0 : 1);
	assert_int_equal(read_doc(r, 4), 0);
	assert_int_equal(read_doc(r, 9), 0);
}

/* ---- checking ---- */

static void note_finding(void *arg, const struct pfs_finding *finding)
{
	struct reading *r = arg;

	r->fatal += finding->fatal;
}

static int check(void *state)
{
	struct reading *r = state;

	r->fatal = 0;
	return pfs_check(WHERE, pfs_sim_io(r->sim), &no_log, note_finding, NULL, r, &r->checked,
			 &r->reason);
}

/* What could not be read is a finding; without memory there is none. */
static void expect_sound(void *state, int err)
{
	const struct reading *r = state;

	assert_true(err || r->fatal == 0);
	assert_true(err || r->checked.documents == r->source.count);
}

static void expect_checked(void *state, int err)
{
	const struct reading *r = state;

	assert_true(err || r->checked.findings == 0 || r->fatal > 0);
}

static const struct scenario odd = {"documents of all sorts", odd_documents, read_some,
				    expect_nothing_more,      end,	     allows_reading};
static const struct scenario packed = {"documents with a dictionary", records, read_some,
				       expect_nothing_more,	      end,     allows_reading};
static const struct scenario cached = {"an empty cache",    with_cache, read_some,
				       expect_nothing_more, end,	allows_reading};
static const struct scenario kept = {
	"a cache that has all", with_full_cache, read_some, expect_nothing_more, end,
	allows_reading};
static const struct scenario refreshing = {"a newer generation",  outdated, refresh,
					   expect_one_generation, end,	    allows_reading};
static const struct scenario checking = {"a check",    odd_documents, check,
					 expect_sound, end,	      allows_reading};
static const struct scenario checking_packed = {
	"a check with a dictionary", records, check, expect_sound, end, allows_reading};
static const struct scenario checking_looks = {
	"a check that can't read", odd_documents, check, expect_checked, end, allows_reading};

/* Proves: without memory reading says so, and never shows another byte; nothing leaks, and the next
 * reader has all. A check says nothing wrong for lack of memory. */
static void no_allocation_that_fails_does_harm(void **state)
{
	const struct fault memory = {.kind = FAULT_MEMORY};

	(void)state;
	scenario_try(&odd, &memory, 1);
	scenario_try(&packed, &memory, 1);
	scenario_try(&kept, &memory, 1);
	scenario_try(&refreshing, &memory, 1);
	scenario_try(&checking, &memory, 1);
	scenario_try(&checking_packed, &memory, 1);
}

/* Proves: an origin that can't be read is an error, and no document is missing for it; a generation
 * that can't be had does not take the place of the one that is there. */
static void no_read_that_fails_does_harm(void **state)
{
	const struct fault looks[] = {{.kind = PFS_SIM_READ, .err = -EIO},
				      {.kind = PFS_SIM_OPEN, .err = -EACCES}};

	(void)state;
	scenario_try(&odd, looks, pfs_array_len(looks));
	scenario_try(&packed, looks, pfs_array_len(looks));
	scenario_try(&refreshing, looks, pfs_array_len(looks));
	scenario_try(&checking_looks, looks, pfs_array_len(looks));
}

/* Proves: a cache that can't be used, or can't be used any more, is not missed while there is the
 * origin; and neither are threads that would ask ahead. */
static void what_helps_may_fail(void **state)
{
	const struct fault calls[] = {{.kind = FAULT_SYSTEM, .err = -EIO},
				      {.kind = FAULT_SYSTEM, .err = -ENOSPC}};
	const struct fault threads = {.kind = FAULT_THREAD, .err = -EAGAIN};

	(void)state;
	scenario_try(&cached, calls, pfs_array_len(calls));
	scenario_try(&kept, calls, 1);
	scenario_try(&odd, &threads, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_allocation_that_fails_does_harm),
		cmocka_unit_test(no_read_that_fails_does_harm),
		cmocka_unit_test(what_helps_may_fail),
	};

	if (!pfs_hash_version())
		return 0;
	cmocka_set_test_filter(getenv("FAULT_TEST"));
	return cmocka_run_group_tests_name("faults of reading what was published", tests, NULL,
					   free_collections);
}
