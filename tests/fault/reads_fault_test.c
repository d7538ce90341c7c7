/* Every read of a check and a repair fails, one after the other, and every opening of a file. */
#include "storage/check.h"
#include "tests/fault/broken_stores.h"
#include "tests/fault/contents.h"
#include "tests/fault/scenario.h"
#include "tests/unit/repair_helpers.h"

/* Reads of so much are what a reader has at hand for the next ones. */
#define LONG (PFS_CHECK_WINDOW / 2)

/* The nth call of a kind fails, and which others. */
struct failing {
	enum pfs_sim_kind kind;
	int err;
	const char *name; /* how the names of the files begin that it is about; NULL: all */
	bool next;	  /* and the one behind it: the second try */
	bool all;	  /* and all later ones */
	bool longs;	  /* and all long reads, with -EIO, which do not count */
	unsigned at, seen;
	bool met;
};

static const struct failing in_checks[] = {
	{.kind = PFS_SIM_READ, .err = -EIO},
	{.kind = PFS_SIM_READ, .err = -EIO, .next = true},
	{.kind = PFS_SIM_READ, .err = -EIO, .all = true},
	{.kind = PFS_SIM_READ, .err = -EIO, .longs = true, .name = PFS_INDEX_NAME},
	{.kind = PFS_SIM_READ, .err = -EIO, .longs = true, .name = "page-00000002"},
	{.kind = PFS_SIM_READ, .err = -ENOMEM},
	{.kind = PFS_SIM_READ, .err = -ENOMEM, .name = "journal-"},
	{.kind = PFS_SIM_READ, .err = -ENOMEM, .longs = true, .name = "journal-"},
	{.kind = PFS_SIM_OPEN, .err = -ENOMEM},
	{.kind = PFS_SIM_OPEN, .err = -EIO},
};

static const struct failing in_repairs[] = {
	{.kind = PFS_SIM_READ, .err = -EIO},
	{.kind = PFS_SIM_READ, .err = -EIO, .all = true},
	{.kind = PFS_SIM_READ, .err = -ENOMEM},
	{.kind = PFS_SIM_OPEN, .err = -EIO},
};

/* A piece of the journal where nothing was written. */
static bool is_like_others(const struct pfs_sim_step *step)
{
	return strncmp(step->name, "journal-", 8) == 0 && step->off > PFS_SEGMENT_DATA + 4096;
}

static int fail_call(void *arg, const struct pfs_sim_step *step)
{
	struct failing *f = arg;

	if (step->kind != f->kind || is_like_others(step) ||
	    (f->name && strncmp(step->name, f->name, strlen(f->name)) != 0))
		return 0;
	if (f->longs && step->len >= LONG)
		return -EIO;
	f->seen++;
	if (f->seen != f->at && !(f->next && f->seen == f->at + 1) && !(f->all && f->seen > f->at))
		return 0;
	f->met = true;
	return f->err;
}

/* All of the first ones; of thousands, which read slot after slot, fewer and fewer. Where a journal
 * is read each time, which takes long, of all. */
static unsigned next_of(const struct broken_store *base, const struct failing *f)
{
	unsigned at = f->at, more = base->killed ? at / 2 : at > 40 ? at / 8 : 0;

	if (f->name)
		more = base->killed ? at / 16 : 0;
	return at + SCENARIO_STEP + more;
}

struct tried {
	size_t count, fatal;
	uint64_t findings; /* a hash */
	struct pfs_check_result check;
	struct pfs_repair_result repair;
	struct pfs_reason reason;
};

static void add_finding(void *arg, const struct pfs_finding *finding)
{
	struct tried *t = arg;

	t->findings = pfs_mix64(t->findings + finding->offset * 7 + finding->fatal +
				pfs_crc32c(0, finding->text, strlen(finding->text)));
	t->count++;
	t->fatal += finding->fatal;
}

static int check(struct pfs_sim *sim, struct tried *t)
{
	*t = (struct tried){.count = 0};
	return pfs_check(STORE, pfs_sim_io(sim), &quiet, add_finding, NULL, t, &t->check,
			 &t->reason);
}

/* What was said before stays. */
static int repair(struct pfs_sim *sim, struct tried *t)
{
	return pfs_repair(STORE, pfs_sim_io(sim), &quiet, add_finding, NULL, t, &t->repair,
			  &t->reason);
}

static void look_into(struct contents *contents, struct pfs_sim *sim)
{
	struct pfs_store *store = open_store(sim);

	contents_of(contents, store);
	assert_int_equal(pfs_store_close(store), 0);
}

/* The file that holders of a store lock is made by the first of them. */
static struct pfs_sim *make(const struct broken_store *base, struct tried *found)
{
	struct pfs_sim *sim = base->make();

	assert_int_equal(check(sim, found), 0);
	pfs_sim_settle(sim);
	return sim;
}

/* Proves: whatever a check can't read or open, it changes nothing, and says what it would have said
 * without that, or something more, or that it could not go on. */
static void checks_say_what_they_can_not_read(void **state)
{
	(void)state;
	for (size_t b = 0; b < broken_store_count; b++) {
		struct tried without, with;
		struct pfs_sim *sim = make(&broken_stores[b], &without);
		uint64_t hash = pfs_sim_hash(sim);

		for (size_t w = 0; w < pfs_array_len(in_checks); w++) {
			struct failing f = {.at = 1};

			for (unsigned at = 1;; at = next_of(&broken_stores[b], &f)) {
				int err;

				f = in_checks[w];
				f.at = at;
				pfs_sim_on_look(sim, fail_call, &f);
				err = check(sim, &with);
				pfs_sim_on_look(sim, NULL, NULL);
				assert_true((err != 0) == (with.reason.text[0] != '\0'));
				if (!f.met && !f.longs) {
					assert_int_equal(err, 0);
					assert_int_equal(with.findings, without.findings);
				}
				if (!err && !with.count && without.fatal)
					fail_msg("%s, way %zu, call %u: nothing is found",
						 broken_stores[b].name, w, at);
				if (!f.met)
					break;
			}
		}
		assert_int_equal(pfs_sim_hash(sim), hash);
		assert_int_equal(check(sim, &with), 0);
		assert_int_equal(with.findings, without.findings);
		pfs_sim_free(sim);
	}
}

/* One repair in which calls fail. False: none has. */
static bool try_repair_with(struct pfs_sim *base, struct failing *f,
			    const struct contents *expected, const char *name)
{
	struct pfs_sim *sim = pfs_sim_kill(base);
	struct tried done = {.count = 0}, then;
	struct contents now;
	uint64_t unknown;
	size_t missing;
	int err;

	pfs_sim_on_look(sim, fail_call, f);
	err = repair(sim, &done);
	pfs_sim_on_look(sim, NULL, NULL);
	unknown = done.repair.unknown;
	if (err) {
		assert_true(f->met || f->longs);
		assert_true(done.reason.text[0] != '\0');
		err = repair(sim, &done);
	}
	if (err)
		fail_msg("%s, call %u: %d %s", name, f->at, err, done.reason.text);
	assert_int_equal(check(sim, &then), 0);
	if (then.count)
		fail_msg("%s, call %u: the check finds something", name, f->at);
	look_into(&now, sim);
	missing = contents_missing(expected, &now);
	/* A file of which nothing can be read is set aside, and told as one. */
	if (missing > done.fatal && !unknown)
		fail_msg("%s, call %u: %zu documents are lost and not told", name, f->at, missing);
	pfs_sim_free(sim);
	return f->met;
}

/* Proves: whatever a repair can't read or open, once or from then on, no document is lost that it
 * does not tell of; when all can be read again it comes to its end. */
static void repairs_tell_what_they_lose(void **state)
{
	(void)state;
	for (size_t b = 0; b < broken_store_count; b++) {
		struct tried found, done = {.count = 0};
		struct pfs_sim *sim = make(&broken_stores[b], &found);
		struct pfs_sim *repaired = pfs_sim_kill(sim);
		struct contents expected;

		assert_int_equal(repair(repaired, &done), 0);
		look_into(&expected, repaired);
		pfs_sim_free(repaired);
		for (size_t w = 0; w < pfs_array_len(in_repairs); w++) {
			struct failing f = {.at = 1};

			for (unsigned at = 1;; at = next_of(&broken_stores[b], &f)) {
				f = in_repairs[w];
				f.at = at;
				if (!try_repair_with(sim, &f, &expected, broken_stores[b].name))
					break;
			}
		}
		pfs_sim_free(sim);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checks_say_what_they_can_not_read),
		cmocka_unit_test(repairs_tell_what_they_lose),
	};

	return cmocka_run_group_tests_name("reads of broken stores", tests, NULL, NULL);
}
