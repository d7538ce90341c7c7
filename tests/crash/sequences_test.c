/* Every sequence of one to three operations, and every state in which a crash at any step of the
 * last one can leave the store (those of the operations before it are met by the shorter
 * sequences).
 *
 * CRASH_LONG=1: all sequences, and all images of up to ten undecided things. CRASH_PART=i/n: every
 * n-th sequence only. A failure says which variables run the one image again. README.md has the
 * rest. */
#include "tests/crash/world.h"

#define LENGTH_MAX 3
#define SMALL 200
#define LARGE 70000

/* ---- the operations ---- */

struct row {
	const char *name;
	bool (*run)(struct world *w, unsigned doc, unsigned other, uint64_t n);
	unsigned doc, other;
	uint64_t n;
	bool core; /* one of each kind, for the sequences of three */
};

static bool run_put(struct world *w, unsigned doc, unsigned other, uint64_t n)
{
	return op_put(w, doc, n, other);
}

static bool run_patch(struct world *w, unsigned doc, unsigned other, uint64_t n)
{
	return op_patch(w, doc, other, n);
}

static bool run_resize(struct world *w, unsigned doc, unsigned other, uint64_t n)
{
	(void)other;
	return op_resize(w, doc, n);
}

static bool run_rewrite(struct world *w, unsigned doc, unsigned other, uint64_t n)
{
	(void)other;
	return op_rewrite(w, doc, n);
}

static bool run_truncate(struct world *w, unsigned doc, unsigned other, uint64_t n)
{
	(void)other;
	(void)n;
	return op_truncate(w, doc);
}

static bool run_create(struct world *w, unsigned doc, unsigned other, uint64_t n)
{
	(void)other;
	(void)n;
	return op_create(w, doc);
}

static bool run_remove(struct world *w, unsigned doc, unsigned other, uint64_t n)
{
	(void)other;
	(void)n;
	return op_remove(w, doc);
}

/* n: 0 onto another or to a new name, 1 exchange; the target must be there or not as n / 2 says. */
static bool run_rename(struct world *w, unsigned doc, unsigned other, uint64_t n)
{
	return op_rename(w, doc, other, n);
}

static bool run_mode(struct world *w, unsigned doc, unsigned other, uint64_t n)
{
	(void)other;
	return n ? op_mtime(w, doc) : op_mode(w, doc);
}

static bool run_fsync(struct world *w, unsigned doc, unsigned other, uint64_t n)
{
	(void)other;
	(void)n;
	return op_fsync(w, doc);
}

static bool run_dict_drop(struct world *w, unsigned doc, unsigned other, uint64_t n)
{
	(void)other;
	(void)n;
	return op_dict_drop(w, doc);
}

static bool run_whole(struct world *w, unsigned doc, unsigned other, uint64_t n)
{
	static bool (*const ops[])(struct world *) = {
		op_sync, op_tick, op_checkpoint, op_reopen, op_compact, op_compact_all, op_dict};

	(void)doc;
	(void)other;
	return ops[n](w);
}

/* Document 0: small, in a page. 1: small, in the journal only. 2: large, in blocks, in a page. 3:
 * not there. 4: a scratch name, in a page and changed in the journal. 5: 5000 bytes, in a page. */
static const struct row rows[] = {
	{"put", run_put, 0, 0, SMALL + 3, true}, /* in place */
	{"put-longer", run_put, 0, 0, 900, false},
	{"put-object", run_put, 0, 1, SMALL, true},
	{"put-journal", run_put, 1, 0, SMALL, false},
	{"put-new", run_put, 3, 0, 50, false},
	{"put-large", run_put, 2, 0, LARGE + 500, false},
	{"patch", run_patch, 0, 50, 60, true},
	{"patch-journal", run_patch, 4, 10, 30, false},
	{"patch-large", run_patch, 2, 66000, 300, true},
	{"grow", run_resize, 0, 0, 700, true},
	{"grow-large", run_resize, 2, 0, 2 * LARGE, false},
	{"grow-to-blocks", run_resize, 5, 0, LARGE, false},
	{"shrink", run_resize, 0, 0, 40, true},
	{"shrink-large", run_resize, 2, 0, 300, false},
	{"rewrite", run_rewrite, 0, 0, SMALL + 9, true},
	{"rewrite-large", run_rewrite, 2, 0, 100, false},
	{"truncate", run_truncate, 0, 0, 0, true},
	{"create", run_create, 3, 0, 0, false},
	{"remove", run_remove, 0, 0, 0, true},
	{"remove-journal", run_remove, 1, 0, 0, false},
	{"remove-large", run_remove, 2, 0, 0, false},
	{"rename-onto", run_rename, 4, 0, 0, true},
	{"rename-large-onto", run_rename, 2, 5, 0, false},
	{"rename-new", run_rename, 0, 3, 0, true},
	{"rename-back", run_rename, 3, 0, 0, true},
	{"exchange", run_rename, 0, 1, 1, true},
	{"exchange-large", run_rename, 0, 2, 1, false},
	{"mode", run_mode, 0, 0, 0, true},
	{"mode-large", run_mode, 2, 0, 0, false},
	{"time", run_mode, 0, 0, 1, false},
	{"fsync", run_fsync, 0, 0, 0, true},
	{"sync", run_whole, 0, 0, 0, true},
	{"tick", run_whole, 0, 0, 1, true},
	{"checkpoint", run_whole, 0, 0, 2, true},
	{"reopen", run_whole, 0, 0, 3, true},
	{"compact-steps", run_whole, 0, 0, 4, true},
	{"compact-all", run_whole, 0, 0, 5, false},
	{"dict", run_whole, 0, 0, 6, true},
	{"dict-drop", run_dict_drop, 0, 0, 0, true},
};

/* ---- sequences ---- */

struct sequence {
	unsigned rows[LENGTH_MAX], length;
};

static bool run_row(struct world *w, const struct sequence *s, unsigned at)
{
	const struct row *row = &rows[s->rows[at]];

	return row->run(w, row->doc, row->other, row->n);
}

static void name_world(struct world *w, const struct sequence *s)
{
	size_t len = (size_t)snprintf(w->name, sizeof(w->name), "CRASH_SEQUENCE=");

	for (unsigned i = 0; i < s->length; i++)
		len += (size_t)snprintf(w->name + len, sizeof(w->name) - len, "%s%s", i ? "," : "",
					rows[s->rows[i]].name);
	if (w->fail_at)
		snprintf(w->name + len, sizeof(w->name) - len, " CRASH_FAIL=%llu",
			 (unsigned long long)w->fail_at);
}

static void look_at_all(struct world *w, struct moment *moment)
{
	look_at_cuts(w, moment);
	look_at_kill(w, moment);
}

/* Runs the sequence with power cuts in its last operation, or, with fail_at, after that sync of it
 * has failed. *done: it could be done; *failed: there was such a sync. */
static void run_sequence(struct world *w, const struct sequence *s, uint64_t fail_at, bool *done,
			 bool *failed)
{
	uint64_t failed_before = w->tally.failed_syncs;

	*done = *failed = false;
	w->fail_at = fail_at;
	name_world(w, s);
	w->fail_at = 0;
	world_begin(w);
	for (unsigned i = 0; i + 1 < s->length; i++) {
		if (!run_row(w, s, i)) {
			world_end(w);
			return;
		}
		assert_int_equal(w->err, 0);
	}
	w->look = look_at_all;
	w->cutting = !fail_at;
	w->fail_at = fail_at;
	*done = run_row(w, s, s->length - 1);
	w->fail_at = 0;
	w->cutting = false;
	*failed = w->tally.failed_syncs > failed_before;
	if (*failed && !w->err)
		fail_msg("a failed sync is not reported; again with: %s", w->name);
	/* Unless it was while closing or opening. */
	if (*failed && w->store)
		expect_read_only(w);
	if (*failed || !*done) {
		world_end(w);
		return;
	}
	if (w->err)
		fail_msg("error %d; again with: %s", w->err, w->name);
	expect_seen(w);
	world_end(w);
}

struct run {
	struct world w;
	bool is_long;
	uint64_t part, parts, number, sequences;
	double began;
};

/* One sequence, and again with each of its syncs failing. */
static void run_all_of(struct run *r, const struct sequence *s, bool failing)
{
	bool done, failed = true;

	if (r->number++ % r->parts != r->part)
		return;
	run_sequence(&r->w, s, 0, &done, &failed);
	r->sequences += done;
	for (uint64_t k = 1; done && failing; k++) {
		run_sequence(&r->w, s, k, &done, &failed);
		if (!failed)
			break;
	}
}

static void run_one(struct run *r, const char *text)
{
	struct sequence s = {.length = 0};
	char copy[200], *at, *name;
	bool done, failed;

	snprintf(copy, sizeof(copy), "%s", text);
	for (at = copy; (name = strsep(&at, ",")) != NULL && s.length < LENGTH_MAX;) {
		for (unsigned i = 0; i < pfs_array_len(rows); i++) {
			if (!strcmp(rows[i].name, name))
				s.rows[s.length++] = i;
		}
	}
	assert_true(s.length > 0);
	run_sequence(&r->w, &s, setting("CRASH_FAIL", 0), &done, &failed);
	assert_true(done);
	r->sequences++;
}

static void run_length(struct run *r, unsigned length, bool core, uint64_t every)
{
	uint64_t total = 1;

	for (unsigned i = 0; i < length; i++)
		total *= pfs_array_len(rows);
	for (uint64_t n = 0; n < total; n++) {
		struct sequence s = {.length = length};
		bool wanted = every <= 1 || pfs_mix64(n) % every == 0;
		uint64_t rest = n;

		for (unsigned i = 0; i < length; i++) {
			s.rows[i] = (unsigned)(rest % pfs_array_len(rows));
			rest /= pfs_array_len(rows);
			wanted = wanted && (!core || rows[s.rows[i]].core);
		}
		if (wanted)
			run_all_of(r, &s, length < 3 || every > 1);
	}
}

/* Proves G1 to G4 and G7: after every sequence, whatever a power cut at any of its steps, the death
 * of the process, or a failed sync leaves, the store opens again without complaint, shows what it
 * was after some completed request, no older than its last sync (or, when only the process died,
 * all that was acknowledged), the check finds nothing, and it goes on working. */
static void every_sequence_leaves_whole_documents(void **state)
{
	struct run r = {.parts = 1, .began = now_s()};
	const char *one = getenv("CRASH_SEQUENCE"), *part = getenv("CRASH_PART");

	(void)state;
	world_settings(&r.w, &r.is_long);
	r.w.hold_objects = true;
	r.w.effort.kill = true;
	r.w.effort.exhaustive_max = setting("CRASH_ALL", r.is_long ? 60000 : 32);
	r.w.effort.samples = setting("CRASH_IMAGES", r.is_long ? 200 : 8);
	r.w.effort.recut_every = r.is_long ? 50 : 40;
	if (part)
		assert_int_equal(sscanf(part, "%" SCNu64 "/%" SCNu64, &r.part, &r.parts), 2);
	if (one) {
		r.w.effort.recut_every = 1;
		run_one(&r, one);
	} else {
		run_length(&r, 1, false, 1);
		run_length(&r, 2, false, setting("CRASH_EVERY2", r.is_long ? 1 : 100));
		r.w.effort.exhaustive_max = pfs_min_u64(r.w.effort.exhaustive_max, 2000);
		run_length(&r, 3, r.is_long, setting("CRASH_EVERY3", r.is_long ? 1 : 2000));
	}
	print_tally(&r.w, "sequences", r.sequences, now_s() - r.began);
	assert_true(r.w.tally.images > 0 && r.sequences > 0);
	/* Each part of a run that is shared out meets some, but the shortest. */
	if (!one && r.parts == 1)
		assert_true(r.w.tally.dicts_made > 0 && r.w.tally.dicts_dropped > 0);
	world_free(&r.w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_sequence_leaves_whole_documents)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
