/* Broken stores that open are used: everything is done with every document of theirs. The stores
 * are those of tests/images, and some that died within a checkpoint and are damaged besides. */
#include "storage/store_internal.h"
#include "tests/fault/contents.h"
#include "tests/fault/killed.h"
#include "tests/images/recipe.h"

#define KILLED_STEP 5

static struct pfs_store *try_open(struct pfs_sim *sim)
{
	struct pfs_open_options options = {
		.manual = true, .hold_objects = true, .io = pfs_sim_io(sim), .logger = quiet};
	struct pfs_reason reason;
	struct pfs_store *store;

	return pfs_store_open(&store, STORE, &options, &reason) == 0 ? store : NULL;
}

static void expect_same(struct pfs_store *store, const struct contents *was, const char *what)
{
	struct contents now;

	contents_of(&now, store);
	if (contents_missing(was, &now))
		fail_msg("%s: documents are missing", what);
}

/* A document that can't be read gives the same error whichever way it is asked for. */
static void read_each(struct pfs_store *store, const struct contents *was)
{
	struct pfs_key *keys = calloc(was->count + 1, sizeof(*keys));
	struct pfs_got *got = calloc(was->count + 1, sizeof(*got));

	for (size_t i = 0; i < was->count; i++)
		keys[i] = key_named(was->at[i].name);
	pfs_get_many(store, keys, was->count, got);
	for (size_t i = 0; i < was->count; i++) {
		uint8_t byte;
		uint32_t object;
		struct pfs_place place;
		struct pfs_attr attr;
		int err = pfs_lookup(store, &keys[i], &object, &attr);

		assert_int_equal(got[i].err, was->at[i].err);
		if (!got[i].err)
			assert_int_equal(pfs_crc32c(0, got[i].data, got[i].len), was->at[i].bytes);
		free(got[i].data);
		if (was->at[i].err) {
			assert_int_equal(was->at[i].err, -EIO);
			assert_true(err == 0 || err == -EIO);
			continue;
		}
		assert_int_equal(err, 0);
		assert_int_equal(pfs_place(store, &keys[i], &place), 0);
		assert_int_equal(pfs_read(store, object, attr.size / 2, &byte, 1), attr.size > 0);
	}
	free(keys);
	free(got);
}

/* The snapshot shows what was. */
static void read_snapshot(struct pfs_snapshot *snapshot, const struct contents *was)
{
	for (size_t i = 0; i < was->count; i++) {
		struct pfs_key key = key_named(was->at[i].name);
		struct pfs_attr attr;
		uint64_t sequence, size;
		uint8_t byte;
		void *bytes;
		size_t len;
		bool line;
		int err = pfs_snapshot_get(snapshot, &key, &bytes, &len, NULL);

		(void)pfs_snapshot_glance(snapshot, &key, &size, &line);
		if (was->at[i].err) {
			assert_true(err == -EIO || err == -ENOENT);
			/* Of a large one other blocks may be right. */
			len = (size_t)pfs_snapshot_read(snapshot, &key, 0, &byte, 1);
			assert_true(len <= 1 || (ssize_t)len == err);
			continue;
		}
		assert_int_equal(err, 0);
		assert_int_equal(len, was->at[i].len);
		assert_int_equal(pfs_crc32c(0, bytes, len), was->at[i].bytes);
		free(bytes);
		assert_int_equal(pfs_snapshot_lookup_change(snapshot, &key, &attr, &sequence), 0);
		assert_int_equal(attr.size, len);
	}
}

/* What can't be read can't be changed either, or is changed without being read. */
static void change_each(struct pfs_store *store, const struct contents *was)
{
	struct pfs_attr attr = {.mode = 0600, .size = 30};

	for (size_t i = 0; i < was->count; i++) {
		struct pfs_key key = key_named(was->at[i].name), other = key_named("123456789");
		bool sound = was->at[i].err == 0;
		uint32_t object;
		int err = pfs_lookup(store, &key, &object, NULL);

		if (err && !sound)
			continue;
		assert_int_equal(err, 0);
		err = pfs_setattr(store, object, PFS_ATTR_MODE, &attr, NULL);
		assert_true(err == 0 || (!sound && err == -EIO));
		/* In doubt, nobody knows whether there is something of the other name. */
		err = pfs_rename(store, &key, &other, 0, NULL);
		assert_true(err == 0 || err == -EIO);
		if (!err)
			assert_int_equal(pfs_rename(store, &other, &key, 0, NULL), 0);
		if (i % 3 == 0)
			err = pfs_write(store, object, 1, "abc", 3, 5);
		else if (i % 3 == 1)
			err = pfs_setattr(store, object, PFS_ATTR_SIZE, &attr, NULL);
		else
			err = pfs_zero(store, object, 2, 5, 5);
		assert_true(err == 0 || (!sound && err == -EIO));
	}
}

static void replace_each(struct pfs_store *store, const struct contents *was)
{
	for (size_t i = 0; i < was->count; i++) {
		struct pfs_key key = key_named(was->at[i].name);

		if (i % 4 == 3)
			assert_int_equal(pfs_remove(store, &key, NULL), 0);
		else
			put_document(store, &key, 100 + i, i);
	}
}

static bool use(const char *name, struct pfs_sim *sim)
{
	struct pfs_store *store = try_open(sim);
	struct contents was, now;
	struct pfs_compact_result result;
	struct pfs_train_result trained;
	struct pfs_snapshot *snapshot;

	if (!store)
		return false;
	contents_of(&was, store);
	read_each(store, &was);
	assert_int_equal(pfs_snapshot_open(store, &snapshot), 0);
	read_snapshot(snapshot, &was);
	expect_same(store, &was, name);
	assert_int_equal(pfs_store_compact(store, NULL, NULL, NULL, &result), 0);
	(void)pfs_train(store, true, &trained);
	read_each(store, &was);
	change_each(store, &was);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	read_snapshot(snapshot, &was);
	pfs_snapshot_close(snapshot);
	contents_of(&now, store);
	assert_int_equal(now.count, was.count);
	assert_int_equal(pfs_store_close(store), 0);
	store = try_open(sim);
	assert_non_null(store);
	expect_same(store, &now, name);
	replace_each(store, &now);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	contents_of(&now, store);
	for (size_t i = 0; i < now.count; i++)
		assert_int_equal(now.at[i].err, 0);
	assert_int_equal(pfs_store_compact(store, NULL, NULL, NULL, &result), 0);
	expect_same(store, &now, name);
	assert_int_equal(pfs_store_close(store), 0);
	return true;
}

static void use_killed(void *arg, const char *name, struct pfs_sim *sim)
{
	unsigned *used = arg;

	if (getenv("FAULT_LOG"))
		print_message("%s\n", name);
	*used += use(name, sim);
	pfs_sim_free(sim);
}

/* Proves: whatever is broken, a document is what it was or can't be read, by every way of reading,
 * and no operation on it, on another or on all makes it anything else; what is put in its place is
 * there. */
static void broken_stores_are_used(void **state)
{
	struct dirent **entries;
	int n = scandir(IMAGES, &entries, is_recipe, alphasort);
	unsigned used = 0;

	(void)state;
	assert_true(n > 0);
	for (int i = 0; i < n; i++) {
		struct recipe r = {.sim = NULL};
		char expected[65536];

		snprintf(r.path, sizeof(r.path), IMAGES "/%s/recipe", entries[i]->d_name);
		if (getenv("FAULT_LOG"))
			print_message("%s\n", entries[i]->d_name);
		make_broken(&r, expected, sizeof(expected));
		used += use(entries[i]->d_name, r.sim);
		pfs_sim_free(r.sim);
		pfs_sim_free(r.closed);
		free(entries[i]);
	}
	free(entries);
	assert_true(used > 30);
	each_killed(use_killed, &used, KILLED_STEP);
	print_message("%u stores were used\n", used);
}

static unsigned warned;

static void look_at_log(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	warned += level == PFS_LOG_WARNING && strstr(line, "is newer than the end of the journal");
}

/* Proves: a document that has come to its page is there also when the journal has lost the end that
 * says so, and goes on with an older one. */
static void what_is_newer_than_the_journal_is_kept(void **state)
{
	struct pfs_open_options options = {.manual = true, .logger = {.fn = look_at_log}};
	struct pfs_key key = pfs_key_num(100);
	struct pfs_store *store;
	size_t len;
	void *got;

	(void)state;
	for (unsigned twice = 0; twice < 2; twice++) {
		struct pfs_sim *sim = without_journal_end(twice);

		options.io = pfs_sim_io(sim);
		for (unsigned pass = 0; pass < 2; pass++) {
			warned = 0;
			assert_int_equal(pfs_store_open(&store, STORE, &options, NULL), 0);
			assert_int_equal(warned, pass == 0);
			assert_int_equal(pfs_get(store, &key, &got, &len, NULL), 0);
			assert_int_equal(strncmp(got, "what the journal", 16), 0);
			free(got);
			assert_int_equal(pfs_store_close(store), 0);
		}
		expect_healthy(sim);
		pfs_sim_free(sim);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(broken_stores_are_used),
		cmocka_unit_test(what_is_newer_than_the_journal_is_kept),
	};

	return cmocka_run_group_tests_name("broken stores in use", tests, NULL, NULL);
}
