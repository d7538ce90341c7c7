/* Everything that opens files: for writing it opens what it is about to change, and nothing else.
 * On a disk or a mount that can only be read the rest must work, and nobody is to find out there
 * that it does not. */
#include <dirent.h>
#include <malloc.h>
#include <string.h>

#include "tests/images/recipe.h"
#include "tests/unit/publish_helpers.h"
#include "tests/unit/repair_helpers.h"

/* ---- files that are watched ---- */

static struct pfs_io_ops watching;
static const struct pfs_io_ops *watched; /* the sim's */

static struct {
	struct pfs_file *file;
	char name[64];
	bool changed;
} opened[512];

static char idle[8192]; /* what was opened for writing and not changed, a word each */

static void note_idle(const char *name)
{
	size_t len = strlen(idle);

	assert_true(len + strlen(name) + 2 < sizeof(idle));
	sprintf(idle + len, "%s ", name);
}

static size_t place_in_opened(const struct pfs_file *file)
{
	for (size_t i = 0; i < pfs_array_len(opened); i++)
		if (opened[i].file == file)
			return i;
	return pfs_array_len(opened);
}

static int open_watched(struct pfs_dir *dir, const char *name, unsigned flags,
			struct pfs_file **out)
{
	int err = watched->open(dir, name, flags, out);
	size_t i;

	if (err || !(flags & PFS_IO_WRITE))
		return err;
	i = place_in_opened(NULL);
	assert_true(i < pfs_array_len(opened));
	opened[i].file = *out;
	opened[i].changed = flags & PFS_IO_CREATE; /* or to be made */
	snprintf(opened[i].name, sizeof(opened[i].name), "%s", name);
	return 0;
}

static void note_change(const struct pfs_file *file)
{
	size_t i = place_in_opened(file);

	if (i < pfs_array_len(opened))
		opened[i].changed = true;
}

static void close_watched(struct pfs_file *file)
{
	size_t i = place_in_opened(file);

	if (i < pfs_array_len(opened)) {
		if (!opened[i].changed)
			note_idle(opened[i].name);
		opened[i].file = NULL;
	}
	watched->close(file);
}

static int write_watched(struct pfs_file *file, const void *buf, size_t len, uint64_t off)
{
	note_change(file);
	return watched->write(file, buf, len, off);
}

static int truncate_watched(struct pfs_file *file, uint64_t size)
{
	note_change(file);
	return watched->truncate(file, size);
}

static int open_dir_watched(const struct pfs_io *io, const char *path, unsigned flags,
			    struct pfs_dir **out)
{
	const struct pfs_io *sim = io->context;
	int err = watched->open_dir(sim, path, flags, out);

	if (err)
		return err;
	if (flags & PFS_IO_WRITE)
		note_idle("DIR");
	(*out)->ops = &watching;
	return 0;
}

/* The sim's backend, watched. */
static struct pfs_io watch_io(struct pfs_sim *sim)
{
	const struct pfs_io *io = pfs_sim_io(sim);

	idle[0] = '\0';
	watched = io->ops;
	watching = *watched;
	watching.open_dir = open_dir_watched;
	watching.open = open_watched;
	watching.close = close_watched;
	watching.write = write_watched;
	watching.truncate = truncate_watched;
	return (struct pfs_io){.ops = &watching, .context = (void *)(uintptr_t)io};
}

static void ignore_finding(void *arg, const struct pfs_finding *finding)
{
	(void)arg;
	(void)finding;
}

/* ---- who opens what ---- */

static void expect_idle(const char *what, const char *name)
{
	if (strcmp(idle, name) != 0)
		fail_msg("%s: opened for writing, and not changed: %s", what, idle);
	idle[0] = '\0';
}

/* Pages and segments of a store that is open are there to be written. */
static void expect_only_a_stores(const char *what)
{
	char *save = NULL;

	for (char *name = strtok_r(idle, " ", &save); name; name = strtok_r(NULL, " ", &save)) {
		if (strcmp(name, "DIR") != 0 && strncmp(name, "page-", 5) != 0 &&
		    strncmp(name, "journal-", 8) != 0)
			fail_msg("%s: opened for writing, and not changed: %s", what, name);
	}
	idle[0] = '\0';
}

/* Every document, as far as it can be had. */
static void read_all(struct pfs_store *store)
{
	struct pfs_listed listed[64];
	uint64_t after = 0;
	ssize_t n;

	while ((n = pfs_list(store, after, listed, pfs_array_len(listed))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			void *data = NULL;
			size_t len;

			after = listed[i].cookie;
			(void)pfs_get(store, &listed[i].key, &data, &len, NULL);
			free(data);
		}
	}
}

static void check_it(const struct pfs_io *io, const char *path)
{
	struct pfs_check_result result;
	struct pfs_reason reason;

	(void)pfs_check(path, io, &quiet, ignore_finding, NULL, NULL, &result, &reason);
}

static void read_it(const struct pfs_io *io, const char *path)
{
	const struct pfs_open_options options = {.read_only = true, .io = io, .logger = quiet};
	struct pfs_reason reason;
	struct pfs_store *store;

	if (pfs_store_open(&store, path, &options, &reason) != 0)
		return;
	read_all(store);
	assert_int_equal(pfs_store_close(store), 0);
}

static void repair_it(const struct pfs_io *io)
{
	struct pfs_repair_result result;
	struct pfs_reason reason;

	(void)pfs_repair(STORE, io, &quiet, ignore_finding, NULL, NULL, &result, &reason);
}

/* Proves: whatever is wrong with a store, who checks or reads it opens nothing for writing; who
 * repairs it nothing that he leaves as it is, but the pages and segments of the store that he opens
 * in the end. */
static void who_reads_opens_nothing_for_writing(void **state)
{
	struct dirent **entries;
	int count = scandir(IMAGES, &entries, is_recipe, alphasort);

	(void)state;
	assert_true(count > 50);
	for (int i = 0; i < count; i++) {
		struct recipe r = {.sim = NULL};
		char expected[65536];
		struct pfs_io io;

		snprintf(r.path, sizeof(r.path), IMAGES "/%s/recipe", entries[i]->d_name);
		make_broken(&r, expected, sizeof(expected));
		io = watch_io(r.sim);
		check_it(&io, STORE);
		expect_idle(r.path, "");
		read_it(&io, STORE);
		expect_idle(r.path, "");
		repair_it(&io);
		expect_only_a_stores(r.path);
		pfs_sim_free(r.sim);
		pfs_sim_free(r.closed);
		free(entries[i]);
	}
	free(entries);
}

/* Proves: so does who writes: of what is opened for writing all is changed. */
static void who_writes_opens_what_he_changes(void **state)
{
	struct pfs_sim *sim = load_image(GOLDEN "killed");
	struct pfs_io io = watch_io(sim);
	const struct pfs_open_options options = {.manual = true, .io = &io, .logger = quiet};
	struct pfs_reason reason;
	struct pfs_store *store;
	struct pfs_key key = pfs_key_num(77777);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
		read_all(store);
		assert_int_equal(pfs_put(store, &key, "one", 3, NULL, 0, NULL), 0);
		assert_int_equal(pfs_store_checkpoint(store), 0);
		assert_int_equal(pfs_store_close(store), 0);
		expect_only_a_stores("a store");
	}
	pfs_sim_free(sim);
}

/* Proves: who publishes opens what he makes, and for reading what is there; who reads or checks
 * what is published, nothing for writing. */
static void who_publishes_opens_what_he_makes(void **state)
{
	struct source s = {.count = 3000, .doc = record_doc, .changed = UINT64_MAX, .size = 300};
	struct pfs_publish_options options = publish_options();
	struct pfs_publish_result result;
	struct pfs_prune_result pruned;
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_io io = watch_io(sim);
	struct pfs_dir *dir;

	(void)state;
	s.absent = UINT64_MAX;
	if (!pfs_hash_version()) {
		print_message("NOT TESTED: this build has no libcrypto, so it publishes nothing\n");
		pfs_sim_free(sim);
		return;
	}
	for (unsigned i = 0; i < 4; i++) {
		s.changed = i / 2; /* every second time nothing */
		s.version = i / 2;
		dir = open_where(&io);
		idle[0] = '\0'; /* this one is of the test */
		assert_int_equal(publish_to(dir, &s, &options, 2, &result, &pruned), 0);
		dir->ops->close_dir(dir);
		assert_int_equal(result.unchanged, i % 2);
		expect_idle("publishing", "");
		read_it(&io, WHERE);
		expect_idle("reading", "");
		check_it(&io, WHERE);
		expect_idle("checking", "");
	}
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_reads_opens_nothing_for_writing),
		cmocka_unit_test(who_writes_opens_what_he_changes),
		cmocka_unit_test(who_publishes_opens_what_he_makes),
	};

	/* Each check takes some mebibytes: they stay, which saves half of the time. */
	mallopt(M_MMAP_THRESHOLD, 32 * PFS_MIB);
	mallopt(M_TRIM_THRESHOLD, 1024 * PFS_MIB);
	return cmocka_run_group_tests_name("what is opened for writing", tests, NULL, NULL);
}
