/* Every call fails that a check, a repair, or an opening of a broken store makes, one way after the
 * other. The stores are those of tests/images and some more. */
#include "tests/fault/broken_stores.h"
#include "tests/fault/contents.h"
#include "tests/fault/killed.h"
#include "tests/fault/scenario.h"
#include "tests/images/recipe.h"
#include "tests/unit/repair_helpers.h"

/* The store that scenarios begin with, and what becomes of it when nothing fails. */
static struct {
	struct pfs_sim *sim;
	bool check_known, repair_known, open_known;
	int check, repair, open;	  /* errors */
	uint64_t findings;		  /* of the check: a hash */
	struct contents repaired, opened; /* the documents afterwards */
} base;

#define KILLED_STEP 9 /* of the moments of a checkpoint every so many is tried */

struct broken {
	struct pfs_sim *sim;
	uint64_t findings;
	size_t count, fatal, told; /* findings; documents that are lost, in all runs */
	uint64_t unknown;	   /* of what is set aside */
	struct pfs_check_result check;
	struct pfs_repair_result repair;
	struct pfs_reason reason;
};

static void *copy_of_base(void)
{
	struct broken *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	b->sim = pfs_sim_kill(base.sim);
	fault_watch(b->sim);
	return b;
}

static void end_broken(void *state)
{
	struct broken *b = state;

	pfs_sim_free(b->sim);
	free(b);
}

/* The error, or 0 where it is that of the first time. */
static int settled(int err, bool *known, int *first)
{
	if (!*known) {
		*known = true;
		*first = err;
	}
	return err == *first ? 0 : err;
}

static void add_finding(void *arg, const struct pfs_finding *finding)
{
	struct broken *b = arg;

	if (getenv("FAULT_LOG"))
		print_message("  %s at %llu: %s%s\n", finding->where,
			      (unsigned long long)finding->offset,
			      finding->fatal ? "" : "(remark) ", finding->text);
	b->findings = pfs_mix64(b->findings + pfs_crc32c(0, finding->text, strlen(finding->text)) +
				finding->offset * 7 + finding->fatal);
	b->count++;
	b->fatal += finding->fatal;
}

static bool was_of(unsigned kind)
{
	return fault_now() && fault_now()->met && fault_now()->kind == kind;
}

/* ---- the check ---- */

static int check(struct broken *b)
{
	b->findings = b->count = b->fatal = 0;
	return pfs_check(STORE, pfs_sim_io(b->sim), &quiet, add_finding, NULL, b, &b->check,
			 &b->reason);
}

static int run_check(void *state)
{
	struct broken *b = state;
	int err;

	if (!base.check_known) {
		err = check(b);
		base.findings = b->findings;
		return settled(err, &base.check_known, &base.check);
	}
	return settled(check(b), &base.check_known, &base.check);
}

/* Nothing is written. What it says without an error is what there is to be said, but for what it
 * could not read. */
static void expect_verdict(void *state, int err)
{
	struct broken *b = state;

	assert_int_equal(pfs_sim_steps(b->sim), 0);
	if (err)
		assert_true(b->reason.text[0] != '\0');
	if (!err && !was_of(FAULT_MEMORY) && fault_now()->met)
		assert_int_equal(check(b), base.check);
	if (!err)
		assert_true(b->findings == base.findings);
}

/* ---- repair ---- */

static void look_into(struct contents *contents, struct pfs_sim *sim)
{
	struct pfs_store *store = open_store(sim);

	contents_of(contents, store);
	assert_int_equal(pfs_store_close(store), 0);
}

static int run_repair(void *state)
{
	struct broken *b = state;
	int err;

	b->count = b->fatal = 0;
	err = pfs_repair(STORE, pfs_sim_io(b->sim), &quiet, add_finding, NULL, b, &b->repair,
			 &b->reason);
	b->told += b->fatal;
	b->unknown += b->repair.unknown;
	return settled(err, &base.repair_known, &base.repair);
}

static void expect_repaired(void *state, int err)
{
	struct broken *b = state;
	struct contents now;
	size_t missing;

	if (err)
		assert_true(b->reason.text[0] != '\0');
	if (err || base.repair)
		return;
	assert_int_equal(check(b), 0);
	/* A file that could not be removed is still there, which is remarked. */
	assert_int_equal(was_of(PFS_SIM_UNLINK) ? b->fatal : b->count, 0);
	look_into(&now, b->sim);
	if (!base.repaired.count)
		base.repaired = now;
	missing = contents_missing(&base.repaired, &now);
	/* A file of which nothing can be read is set aside, and told as one. */
	if (was_of(PFS_SIM_READ))
		assert_true(missing <= b->told || b->unknown);
	else
		assert_int_equal(missing, 0);
}

/* ---- opening ---- */

static int run_open(void *state)
{
	struct broken *b = state;
	struct pfs_open_options options = {
		.manual = true, .io = pfs_sim_io(b->sim), .logger = quiet};
	struct pfs_store *store;
	int err = pfs_store_open(&store, STORE, &options, &b->reason), closed;

	if (err)
		assert_true(b->reason.text[0] != '\0');
	err = settled(err, &base.open_known, &base.open);
	if (err || base.open)
		return err;
	err = pfs_store_checkpoint(store);
	closed = pfs_store_close(store);
	return err ? err : closed;
}

static void expect_opened(void *state, int err)
{
	struct broken *b = state;
	struct contents now;

	if (err || base.open)
		return;
	look_into(&now, b->sim);
	if (!base.opened.count)
		base.opened = now;
	assert_int_equal(contents_missing(&base.opened, &now), 0);
}

/* A store that is opened on the way may fail for good: it is read-only then. */
static bool may_fail(const struct fault *fault, int err)
{
	if (fault->kind == FAULT_MEMORY)
		return err == -ENOMEM;
	/* Without superblock, and when nobody can look for more, it may be a published collection,
	 * which a repair leaves alone. */
	if (fault->kind == PFS_SIM_OPEN && err == -EUCLEAN)
		return true;
	return err == fault->err || err == -EROFS || (fault->sync_met && err == -EIO);
}

/* ---- the stores ---- */

/* Whatever comes of it. */
static void make_lock(struct pfs_sim *sim)
{
	struct broken b = {.sim = sim};

	(void)check(&b);
	pfs_sim_settle(sim);
}

static struct fault_sites met;

static void try_base(const char *name, const struct fault *faults, size_t count)
{
	const struct scenario scenarios[] = {
		{"check", copy_of_base, run_check, expect_verdict, end_broken, may_fail},
		{"repair", copy_of_base, run_repair, expect_repaired, end_broken, may_fail},
		{"open", copy_of_base, run_open, expect_opened, end_broken, may_fail},
	};

	print_message("%s\n", name);
	/* The file that holders of a store lock is made by the first of them. */
	make_lock(base.sim);
	for (size_t i = 0; i < pfs_array_len(scenarios); i++)
		scenario_try_new(&scenarios[i], faults, count, &met);
}

struct faults {
	const struct fault *at;
	size_t count;
};

static void try_killed(void *arg, const char *name, struct pfs_sim *sim)
{
	const struct faults *faults = arg;

	memset(&base, 0, sizeof(base));
	base.sim = sim;
	if (!getenv("FAULT_IMAGE") || strstr(name, getenv("FAULT_IMAGE")))
		try_base(name, faults->at, faults->count);
	pfs_sim_free(sim);
}

static void try_images(const struct fault *faults, size_t count)
{
	struct dirent **entries;
	int n = scandir(IMAGES, &entries, is_recipe, alphasort);
	const char *only = getenv("FAULT_IMAGE");
	struct faults all = {faults, count};

	assert_true(n > 0);
	memset(&met, 0, sizeof(met));
	for (int i = 0; i < n; i++) {
		struct recipe r = {.sim = NULL};
		char expected[65536];

		snprintf(r.path, sizeof(r.path), IMAGES "/%s/recipe", entries[i]->d_name);
		if (!only || strstr(entries[i]->d_name, only)) {
			make_broken(&r, expected, sizeof(expected));
			memset(&base, 0, sizeof(base));
			base.sim = r.sim;
			try_base(entries[i]->d_name, faults, count);
			pfs_sim_free(r.sim);
			pfs_sim_free(r.closed);
		}
		free(entries[i]);
	}
	free(entries);
	for (size_t i = 0; i < broken_store_count; i++)
		try_killed(&all, broken_stores[i].name, broken_stores[i].make());
	each_killed(try_killed, &all, KILLED_STEP);
}

/* Proves: without memory, or where a file can't be opened, read, written..., check, repair and
 * opening say so; nothing is judged wrongly, nothing is lost that is not broken, nothing leaks, and
 * when nothing fails any more all is as if nothing ever had. */
static void calls_that_fail_cost_nothing(void **state)
{
	(void)state;
	try_images(scenario_disk_faults, SCENARIO_DISK_FAULTS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_that_fail_cost_nothing),
	};

	cmocka_set_test_filter(getenv("FAULT_TEST"));
	return cmocka_run_group_tests_name("broken stores under faults", tests, NULL, NULL);
}
