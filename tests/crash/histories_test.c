/* Long random histories of one store: operations, syncs that fail, process deaths and power cuts,
 * after each of which the store goes on from what was left, and the oracle with it. Faults that
 * need two crashes one after the other are met here.
 *
 * CRASH_LONG=1: many more. CRASH_PART=i/n: every n-th history only. CRASH_SEED=n: that one alone.
 */
#include "tests/crash/world.h"

#define OPS 60
#define LARGE 70000
#define HUGE_LEN 1000000 /* of which a few fill a segment of the journal */

struct history {
	struct world w; /* first member */
	uint64_t random, seed;
	unsigned crash_every; /* steps, about */
	bool heavy;
	struct pfs_sim *next; /* the disk that a crash has left */
	struct state next_state;
	bool next_killed;
	uint64_t crashes;
};

static uint64_t roll(struct history *h, uint64_t n)
{
	h->random += UINT64_C(0x9e3779b97f4a7c15);
	return pfs_mix64(h->random) % n;
}

static void crash(struct history *h, struct moment *moment)
{
	h->next_killed = roll(h, 3) == 0;
	h->next = look_and_keep(&h->w, moment, h->next_killed, roll(h, UINT64_MAX), &h->next_state);
	h->w.stop = true;
	h->crashes++;
}

static void look_now_and_then(struct world *w, struct moment *moment)
{
	struct history *h = (struct history *)w;

	if (roll(h, h->crash_every) == 0)
		crash(h, moment);
	else if (roll(h, 6) == 0)
		look_at_cuts(w, moment);
	else if (roll(h, 40) == 0)
		look_at_kill(w, moment);
}

static size_t some_len(struct history *h)
{
	if (h->heavy && roll(h, 4) == 0)
		return HUGE_LEN;
	return roll(h, 8) == 0	 ? roll(h, 2 * LARGE)
	       : roll(h, 3) == 0 ? roll(h, 9000)
				 : roll(h, 400);
}

static void do_something(struct history *h)
{
	struct world *w = &h->w;
	unsigned doc = (unsigned)roll(h, DOCS);

	w->fail_at = roll(h, 12) == 0 ? 1 + roll(h, 8) : 0;
	switch (roll(h, 30)) {
	case 0: op_sync(w); break;
	case 1: op_fsync(w, doc); break;
	case 2:
	case 3: op_tick(w); break;
	case 4:
	case 5:
	case 6: op_checkpoint(w); break;
	case 7: op_reopen(w); break;
	case 8:
	case 9: op_remove(w, doc); break;
	case 10:
	case 11: op_patch(w, doc, roll(h, w->seen[doc].len + 1), some_len(h) + 1); break;
	case 12:
	case 13:
		op_resize(w, doc, 1 + roll(h, roll(h, 3) ? w->seen[doc].len + 10 : 2 * LARGE));
		break;
	case 14: op_rewrite(w, doc, some_len(h) + 1); break;
	case 15: op_truncate(w, doc); break;
	case 16: op_create(w, doc); break;
	case 17: op_mode(w, doc); break;
	case 18: op_mtime(w, doc); break;
	case 19:
	case 20: op_rename(w, doc, (unsigned)roll(h, DOCS), roll(h, 2)); break;
	case 21:
	case 22: op_compact(w); break;
	case 23: op_compact_all(w); break;
	case 24: op_dict(w); break;
	case 25: op_dict_drop(w, doc); break;
	default: op_put(w, doc, some_len(h), roll(h, 2)); break;
	}
}

/* The store that failed is given up: its process dies, or the power goes. */
static void crash_after_failure(struct history *h)
{
	struct moment moment = {.disk = pfs_sim_kill(h->w.sim), .step = h->w.step};

	snprintf(moment.what, sizeof(moment.what), "the end, after a failed sync");
	h->w.before = moment.what;
	crash(h, &moment);
	pfs_sim_free(moment.disk);
}

static void run_history(struct history *h, uint64_t seed)
{
	struct world *w = &h->w;

	h->seed = h->random = seed;
	h->heavy = seed % 8 == 7;
	h->crash_every = 8 + (unsigned)(seed % 5) * 12;
	snprintf(w->name, sizeof(w->name), "CRASH_SEED=%llu", (unsigned long long)seed);
	w->hold_objects = seed % 2;
	w->look = look_now_and_then;
	w->fail_at = 0;
	world_begin(w);
	w->cutting = true;
	for (unsigned i = 0; i < OPS; i++) {
		uint64_t failed = w->tally.failed_syncs;

		if (w->stop) {
			w->fail_at = roll(h, 20) == 0 ? 1 + roll(h, 8) : 0;
			(void)world_resume(w, h->next, &h->next_state, h->next_killed);
		} else {
			do_something(h);
		}
		w->fail_at = 0;
		if (w->stop)
			continue;
		if (w->tally.failed_syncs > failed) {
			if (!w->err)
				fail_msg("a failed sync is not reported; again with: %s", w->name);
			if (w->store)
				expect_read_only(w);
			crash_after_failure(h);
		} else if (w->err) {
			fail_msg("error %d; again with: %s", w->err, w->name);
		} else {
			expect_seen(w);
		}
	}
	w->cutting = false;
	if (w->stop)
		pfs_sim_free(h->next);
	w->stop = false;
	world_end(w);
}

/* Proves G1 to G4 and G7 over histories with many crashes: each starts from what the one before
 * has left, and no image of any of them shows what never was, or lacks what was durable. */
static void histories_of_many_crashes_keep_what_was_durable(void **state)
{
	struct history h = {0};
	uint64_t histories, only = setting("CRASH_SEED", UINT64_MAX), part = 0, parts = 1, n = 0;
	const char *text = getenv("CRASH_PART");
	double began = now_s();
	bool is_long;

	(void)state;
	world_settings(&h.w, &is_long);
	h.w.effort.kill = true;
	h.w.effort.exhaustive_max = 3;
	h.w.effort.samples = 3;
	h.w.effort.recut_every = 40;
	histories = setting("CRASH_HISTORIES", is_long ? 4000 : 8);
	if (text)
		assert_int_equal(sscanf(text, "%" SCNu64 "/%" SCNu64, &part, &parts), 2);
	for (uint64_t seed = 1; seed <= histories; seed++) {
		if (only != UINT64_MAX || seed % parts != part)
			continue;
		run_history(&h, seed);
		n++;
	}
	if (only != UINT64_MAX) {
		run_history(&h, only);
		n++;
	}
	print_tally(&h.w, "histories", n, now_s() - began);
	print_message("%llu crashes that a history went on from\n", (unsigned long long)h.crashes);
	assert_true(h.crashes > 0 && h.w.tally.images > 0);
	world_free(&h.w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(histories_of_many_crashes_keep_what_was_durable)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
