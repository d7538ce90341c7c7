/* Publishing, of which every call fails, one way after the other: memory, operations on files,
 * threads, libcrypto. */
#include "tests/fault/calls.h"
#include "tests/fault/scenario.h"
#include "tests/unit/publish_helpers.h"

#define NONE UINT64_MAX
#define DOCS_MAX 1200
#define RECORDS 1100 /* enough to train with */
#define LARGE (4u << 20)

struct doc {
	struct pfs_key key;
	struct pfs_attr attr;
	char *data;
	size_t len;
};

/* What is published in a run, made before it. */
struct publication {
	struct pfs_sim *sim;
	struct pfs_dir *dir;
	struct source now;
	bool second; /* there is a generation before it */
	struct pfs_publish_options options;
	uint32_t keep;
	bool only_train; /* ends behind the first document */
	struct doc docs[DOCS_MAX];
	struct pfs_publish_result result;
	struct pfs_prune_result pruned;
	struct pfs_reason reason;
	bool began;
};

/* Records, and a document behind them that has a page of its own. */
static void mixed_doc(const struct source *s, uint64_t i, struct pfs_key *key,
		      struct pfs_attr *attr, char **data, size_t *len)
{
	if (i < RECORDS) {
		record_doc(s, i, key, attr, data, len);
		return;
	}
	*len = LARGE;
	*data = malloc(LARGE);
	memset(*data, i == s->changed ? 'b' : 'a', LARGE);
	*key = pfs_key_num(3 * i);
	*attr = (struct pfs_attr){.mode = 0644, .mtime_ns = 5};
}

static struct publication *new_publication(struct pfs_sim *sim, const struct source *now)
{
	struct publication *p = calloc(1, sizeof(*p));

	p->sim = sim;
	p->now = *now;
	p->options = publish_options();
	p->dir = open_where(pfs_sim_io(sim));
	for (uint64_t i = 0; i < now->count; i++)
		now->doc(now, i, &p->docs[i].key, &p->docs[i].attr, &p->docs[i].data,
			 &p->docs[i].len);
	fault_watch(sim);
	return p;
}

static int add_all(struct publication *p, struct pfs_publish *publish)
{
	int err = 0;

	for (unsigned adding = 0; adding < 2; adding++) {
		uint64_t count = adding && p->only_train ? 1 : p->now.count;

		for (uint64_t i = 0; i < count && !err; i++) {
			const struct doc *d = &p->docs[i];

			err = adding ? pfs_publish_add(publish, &d->key, &d->attr, d->data, d->len)
				     : pfs_publish_sample(publish, d->data, d->len);
		}
	}
	return err;
}

static int publish_once(struct publication *p)
{
	struct pfs_publish *publish;
	int err = pfs_publish_begin(&publish, p->dir, WHERE, &p->options, &p->reason);

	p->began = !err;
	if (err) {
		assert_null(publish);
		return err;
	}
	err = add_all(p, publish);
	if (!err && !p->only_train)
		err = pfs_publish_commit(publish, &p->result);
	if (!err && p->keep)
		err = pfs_publish_prune(publish, p->keep, &p->pruned);
	pfs_publish_end(publish);
	return err;
}

static int publish(void *state)
{
	struct publication *p = state;
	int err = publish_once(p);

	/* The lock goes with the directory. */
	fault_disarm();
	p->dir->ops->close_dir(p->dir);
	p->dir = open_where(pfs_sim_io(p->sim));
	fault_arm();
	return err;
}

/* Of a generation that is not read to the last document: that its objects are there, whole. */
static void expect_objects(struct pfs_dir *dir, const struct pfs_manifest *m)
{
	for (uint32_t i = 0; i < m->object_count; i++)
		free(read_object(dir, m, i));
}

/* What is current is what was before, or what was published; the latter when all went well. */
static void expect_old_or_new(void *state, int err)
{
	struct publication *p = state;
	struct pfs_dir *dir = open_where(pfs_sim_io(p->sim));
	uint32_t old = p->second ? 1 : 0, generation;
	struct pfs_manifest m;

	assert_true(p->began || p->reason.text[0]);
	generation = read_generation(dir, &m);
	assert_true(generation == old || generation == old + 1);
	if (generation) {
		expect_objects(dir, &m);
		pfs_manifest_free(&m);
	}
	if (!err) {
		assert_int_equal(generation, old + !p->only_train);
		assert_true(p->only_train || verify_published(dir, &p->now) == generation);
	}
	dir->ops->close_dir(dir);
}

static void end(void *state)
{
	struct publication *p = state;

	p->dir->ops->close_dir(p->dir);
	pfs_sim_free(p->sim);
	for (uint64_t i = 0; i < p->now.count; i++)
		free(p->docs[i].data);
	free(p);
}

static bool allows(const struct fault *fault, int err)
{
	switch (fault->kind) {
	case FAULT_MEMORY: return err == -ENOMEM;
	case FAULT_THREAD: return false; /* others do its work */
	case FAULT_SYSTEM: return false; /* the number of processors */
	case FAULT_LIBRARY: return err == -ENOMEM || err == -EIO;
	case PFS_SIM_SYNC:
	case PFS_SIM_SYNC_DIR: return err == -EIO;
	default: return err == fault->err;
	}
}

/* ---- what there is to publish ---- */

static struct source odd_source(uint64_t count)
{
	return (struct source){.count = count, .doc = odd_doc, .changed = NONE, .absent = NONE};
}

static void *nothing_before(void)
{
	struct source s = odd_source(18);
	struct publication *p = new_publication(pfs_sim_new(), &s);

	p->options.threads = 0;
	p->options.dict_off = true;
	return p;
}

static void *first_records(void)
{
	struct source s = {
		.count = RECORDS, .doc = record_doc, .changed = NONE, .absent = NONE, .size = 300};
	struct publication *p = new_publication(pfs_sim_new(), &s);

	p->only_train = true;
	return p;
}

static struct source mixed_source(void)
{
	return (struct source){.count = RECORDS + 1,
			       .doc = mixed_doc,
			       .changed = NONE,
			       .absent = NONE,
			       .size = 300};
}

static void leave_behind(struct pfs_dir *dir, const char *name)
{
	struct pfs_file *file;

	assert_int_equal(dir->ops->open(dir, name, PFS_IO_WRITE | PFS_IO_CREATE, &file), 0);
	assert_int_equal(file->ops->write(file, "x", 1, 0), 0);
	file->ops->close(file);
}

/* With leftovers of one that was cut off. */
static struct pfs_sim *make_before(void)
{
	struct source s = mixed_source();
	struct publication *p = new_publication(pfs_sim_new(), &s);
	struct pfs_sim *image;

	assert_int_equal(publish_once(p), 0);
	assert_int_equal(p->result.trained, pfs_store_trainer() != NULL);
	leave_behind(p->dir, "keys-1.tmp");
	leave_behind(p->dir, "page-00112233445566778899aabbccddeeff.pfp");
	image = pfs_sim_kill(p->sim);
	end(p);
	return image;
}

/* Published once for all runs. */
static struct pfs_sim *made;

static struct pfs_sim *published_before(void)
{
	if (!made)
		made = make_before();
	return pfs_sim_kill(made);
}

static int free_before(void **state)
{
	(void)state;
	if (made)
		pfs_sim_free(made);
	return 0;
}

static struct publication *second(void)
{
	struct source s = mixed_source();
	struct publication *p;

	s.changed = RECORDS;
	p = new_publication(published_before(), &s);
	p->second = true;
	return p;
}

static void *one_change(void)
{
	return second();
}

static void *one_change_and_pruning(void)
{
	struct publication *p = second();

	p->keep = 1;
	return p;
}

/* What no generation names any more is gone in the end. */
static void expect_pruned(void *state, int err)
{
	static const char *const gone[] = {"keys-1.tmp", "generation-00000001",
					   "page-00112233445566778899aabbccddeeff.pfp"};
	struct publication *p = state;

	expect_old_or_new(state, err);
	for (size_t i = 0; i < pfs_array_len(gone) && !err; i++) {
		struct pfs_file *file;

		assert_int_equal(p->dir->ops->open(p->dir, gone[i], 0, &file), -ENOENT);
	}
}

static const struct scenario first = {
	"a first generation", nothing_before, publish, expect_old_or_new, end, allows};
static const struct scenario training = {"a dictionary is made", first_records, publish,
					 expect_old_or_new,	 end,		allows};
static const struct scenario next = {"one change",	one_change, publish,
				     expect_old_or_new, end,	    allows};
static const struct scenario pruning = {
	"one change, and pruning", one_change_and_pruning, publish, expect_pruned, end, allows};

/* Proves: without memory publishing says so, and what was current stays that, or is the new
 * generation, whole; nothing leaks, and the next time it succeeds. */
static void no_allocation_that_fails_does_harm(void **state)
{
	const struct fault memory = {.kind = FAULT_MEMORY};

	(void)state;
	scenario_try(&first, &memory, 1);
	scenario_try(&training, &memory, 1);
	scenario_try(&pruning, &memory, 1);
}

/* Proves: the same of every operation on files; of what was published before and can't be read
 * again, it is made anew where that does. */
static void no_operation_on_files_that_fails_does_harm(void **state)
{
	const struct fault changes[] = {{.kind = PFS_SIM_WRITE, .err = -ENOSPC},
					{.kind = PFS_SIM_SYNC, .err = -EIO},
					{.kind = PFS_SIM_SYNC_DIR, .err = -ENOSPC},
					{.kind = PFS_SIM_CREATE, .err = -ENOSPC},
					{.kind = PFS_SIM_RENAME, .err = -EIO},
					{.kind = PFS_SIM_UNLINK, .err = -EIO}};
	const struct fault looks[] = {{.kind = PFS_SIM_READ, .err = -EIO},
				      {.kind = PFS_SIM_OPEN, .err = -EMFILE}};

	(void)state;
	scenario_try(&first, changes, pfs_array_len(changes));
	scenario_try(&first, looks, pfs_array_len(looks));
	scenario_try(&pruning, &changes[4], 2);
	scenario_try(&next, looks, pfs_array_len(looks));
}

/* Proves: threads that can't be had, and processors that nobody can count, are not missed; a hash
 * that can't be had is an error. */
static void what_helps_may_fail(void **state)
{
	const struct fault helpers[] = {{.kind = FAULT_THREAD, .err = -EAGAIN},
					{.kind = FAULT_SYSTEM, .err = -EINVAL}};
	const struct fault hashes = {.kind = FAULT_LIBRARY};

	(void)state;
	scenario_try(&first, helpers, pfs_array_len(helpers));
	scenario_try(&first, &hashes, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_allocation_that_fails_does_harm),
		cmocka_unit_test(no_operation_on_files_that_fails_does_harm),
		cmocka_unit_test(what_helps_may_fail),
	};

	if (!pfs_hash_version())
		return 0;
	cmocka_set_test_filter(getenv("FAULT_TEST"));
	return cmocka_run_group_tests_name("faults of publishing", tests, NULL, free_before);
}
