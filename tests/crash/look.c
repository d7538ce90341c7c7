/* Looking at what a crash leaves. */
#include "tests/crash/world.h"

#define STORE "/s"
#define CUTS_WHILE_OPENING 2 /* images of each step of an opening */
#define GOES_ON_LEN 500

/* ---- reading everything ---- */

static uint64_t state_hash(const struct state *state)
{
	uint64_t h = 1;

	for (unsigned i = 0; i < DOCS; i++) {
		const struct doc *d = &state->docs[i];

		h = pfs_mix64(h + d->there);
		if (!d->there)
			continue;
		h = pfs_mix64(h ^ d->hash);
		h = pfs_mix64(h ^ d->len);
		h = pfs_mix64(h ^ ((uint64_t)d->mode << 40) ^ (uint64_t)d->mtime_ns);
	}
	return h;
}

static int read_doc(struct pfs_store *store, const struct pfs_key *key, struct doc *doc)
{
	struct pfs_attr attr;
	void *bytes;
	size_t len;
	int err = pfs_get(store, key, &bytes, &len, &attr);

	*doc = (struct doc){0};
	if (err)
		return err == -ENOENT ? 0 : err;
	*doc = (struct doc){true, bytes_hash(bytes, len), attr.mode, len, attr.mtime_ns};
	free(bytes);
	return attr.size == len ? 0 : -ERANGE;
}

/* Everything that is there: the documents, the quiet ones unchanged, and nothing else. */
static void read_state(const struct world *w, struct pfs_store *store, struct state *state,
		       bool extra)
{
	struct pfs_listed listed[DOCS + QUIET + 4];
	unsigned there = QUIET + extra;
	ssize_t n;
	int err;

	for (unsigned i = 0; i < DOCS; i++) {
		struct pfs_key key = doc_key(i);

		err = read_doc(store, &key, &state->docs[i]);
		if (err)
			bad_image(w, "document %u: error %d", i, err);
		there += state->docs[i].there;
	}
	for (unsigned i = 0; i < QUIET; i++) {
		struct pfs_key key = quiet_key(i);
		struct doc doc;

		err = read_doc(store, &key, &doc);
		if (err || !doc.there || doc.hash != quiet_hash(i))
			bad_image(w, "document %u, which nobody has changed: %s (error %d)",
				  QUIET_FIRST + i, doc.there ? "other bytes" : "not there", err);
	}
	n = pfs_list(store, 0, listed, pfs_array_len(listed));
	if (n != (ssize_t)there)
		bad_image(w, "%zd documents are listed, %u can be read", n, there);
}

static void print_state(const struct state *state, const char *what)
{
	print_message("  %s:", what);
	for (unsigned i = 0; i < DOCS; i++) {
		const struct doc *d = &state->docs[i];

		if (d->there)
			print_message("  %u: %08x %llu bytes, mode %o, time %lld", i, d->hash,
				      (unsigned long long)d->len, d->mode, (long long)d->mtime_ns);
		else
			print_message("  %u: none", i);
	}
	print_message("\n");
}

/* What an image may show: states[0..count). */
struct allowed {
	const struct state *states;
	size_t count;
};

static bool is_allowed(const struct allowed *allowed, uint64_t shown)
{
	for (size_t i = 0; i < allowed->count; i++) {
		if (state_hash(&allowed->states[i]) == shown)
			return true;
	}
	return false;
}

static void expect_allowed(const struct world *w, const struct allowed *allowed,
			   const struct state *shown)
{
	if (is_allowed(allowed, state_hash(shown)))
		return;
	print_state(shown, "shown  ");
	for (size_t i = 0; i < allowed->count; i++)
		print_state(&allowed->states[i], "allowed");
	bad_image(w, "a state that never was, or too old");
}

void expect_seen(struct world *w)
{
	struct state shown, seen;

	memcpy(seen.docs, w->seen, sizeof(seen.docs));
	snprintf(w->image, sizeof(w->image), "(the living store)");
	read_state(w, w->store, &shown, false);
	expect_allowed(w, &(struct allowed){&seen, 1}, &shown);
}

void expect_read_only(struct world *w)
{
	struct pfs_key key = pfs_key_num(EXTRA), first = doc_key(0), second = doc_key(1);
	struct pfs_store_stat stat;
	struct pfs_attr attr = {0};
	uint32_t object;
	int errs[] = {
		pfs_put(w->store, &key, "x", 1, NULL, 0, NULL),
		pfs_create(w->store, &key, &attr, NULL),
		pfs_remove(w->store, &first, NULL),
		pfs_rename(w->store, &first, &second, 0, NULL),
		pfs_sync(w->store),
		pfs_store_tick(w->store),
		pfs_store_checkpoint(w->store),
		pfs_lookup(w->store, &first, &object, NULL) ? -EROFS
							    : pfs_sync_object(w->store, object),
	};

	snprintf(w->image, sizeof(w->image), "(the living store)");
	for (size_t i = 0; i < pfs_array_len(errs); i++) {
		if (errs[i] != -EROFS && !(errs[i] == -ENOENT && (i == 2 || i == 3)))
			bad_image(w, "after a failed sync change %zu gives %d", i, errs[i]);
	}
	assert_int_equal(pfs_store_stat(w->store, &stat), 0);
	if (!stat.read_only)
		bad_image(w, "after a failed sync the store does not say that it is read-only");
	expect_seen(w);
}

/* ---- what is known of images ---- */

/* Images that were opened, and the state that each showed. */
static struct {
	struct {
		uint64_t image, shown;
	} * at;
	size_t size, count;
} known;

static size_t known_slot(uint64_t image)
{
	size_t at = image & (known.size - 1);

	while (known.at[at].image && known.at[at].image != image)
		at = (at + 1) & (known.size - 1);
	return at;
}

static uint64_t known_state(uint64_t image)
{
	return known.size ? known.at[known_slot(image)].shown : 0;
}

static void know(uint64_t image, uint64_t shown)
{
	if (known.count * 2 >= known.size) {
		size_t old_size = known.size;
		void *old = known.at;

		known.size = old_size ? 2 * old_size : 1 << 16;
		known.at = calloc(known.size, sizeof(*known.at));
		assert_non_null(known.at);
		for (size_t i = 0; i < old_size; i++) {
			const uint64_t *pair = (const uint64_t *)old + 2 * i;

			if (pair[0]) {
				size_t at = known_slot(pair[0]);

				known.at[at].image = pair[0];
				known.at[at].shown = pair[1];
			}
		}
		free(old);
	}
	known.count++;
	known.at[known_slot(image)].image = image;
	known.at[known_slot(image)].shown = shown;
}

/* ---- opening images ---- */

static struct pfs_store *open_image(const struct world *w, struct pfs_sim *image, bool read_only)
{
	struct pfs_open_options options = {.io = pfs_sim_io(image),
					   .manual = true,
					   .read_only = read_only,
					   .logger = report_logger};
	struct pfs_store *store;
	struct pfs_reason reason;
	int err;

	report_clear();
	err = pfs_store_open(&store, STORE, &options, &reason);
	if (err)
		bad_image(w, "opening%s: %d %s", read_only ? " read-only" : "", err, reason.text);
	/* A power cut is no damage, and nobody has to do anything about it. */
	if (report_faults())
		bad_image(w, "opening complains");
	return store;
}

static void remember_finding(void *arg, const struct pfs_finding *finding)
{
	char line[PFS_LOG_LINE_MAX];

	if (!finding->fatal && !*(bool *)arg)
		return;
	snprintf(line, sizeof(line), "%s at %llu: %s", finding->where,
		 (unsigned long long)finding->offset, finding->text);
	report_line(NULL, PFS_LOG_ERROR, line);
}

static void check_image(const struct world *w, struct pfs_sim *image, bool closed)
{
	struct pfs_check_result result;
	struct pfs_reason reason;

	report_clear();
	if (pfs_check(STORE, pfs_sim_io(image), &report_logger, remember_finding, NULL, &closed,
		      &result, &reason) != 0)
		bad_image(w, "checking: %s", reason.text);
	if (report_faults())
		bad_image(w, "the check finds faults %s", closed ? "afterwards" : "in the image");
}

static void read_only_shows(const struct world *w, struct pfs_sim *image, struct state *state)
{
	struct pfs_store *store = open_image(w, image, true);

	read_state(w, store, state, false);
	assert_int_equal(pfs_store_close(store), 0);
}

static void close_image(const struct world *w, struct pfs_store *store)
{
	int err = pfs_store_close(store);

	if (err)
		bad_image(w, "closing: %d", err);
}

/* The store works: new, changed and removed documents are there after the next opening. */
static void goes_on(const struct world *w, struct pfs_sim *image, struct pfs_store *store,
		    const struct state *state, bool reopen)
{
	struct pfs_key extra = pfs_key_num(EXTRA), first = doc_key(0), last = doc_key(DOCS - 1);
	char bytes[GOES_ON_LEN];
	struct state now;

	memset(bytes, 'g', sizeof(bytes));
	if (pfs_put(store, &extra, bytes, sizeof(bytes), NULL, 0, NULL) != 0 ||
	    pfs_put(store, &first, bytes, sizeof(bytes), NULL, 0, NULL) != 0 ||
	    (state->docs[DOCS - 1].there && pfs_remove(store, &last, NULL) != 0))
		bad_image(w, "the store does not go on working");
	close_image(w, store);
	check_image(w, image, true);
	if (!reopen)
		return;
	store = open_image(w, image, false);
	read_state(w, store, &now, true);
	if (now.docs[0].hash != bytes_hash(bytes, sizeof(bytes)) || now.docs[DOCS - 1].there)
		bad_image(w, "a change made after the crash is gone");
	for (unsigned i = 1; i < DOCS - 1; i++) {
		if (memcmp(&now.docs[i], &state->docs[i], sizeof(now.docs[i])) != 0)
			bad_image(w, "document %u changed by a clean close", i);
	}
	close_image(w, store);
}

/* Moments of an opening. */
struct opening {
	struct pfs_sim *image, **moments;
	size_t count, cap;
};

static int opening_step(void *arg, const struct pfs_sim_step *step)
{
	struct opening *o = arg;

	(void)step;
	if (o->count == o->cap) {
		o->cap = o->cap ? 2 * o->cap : 64;
		o->moments = realloc(o->moments, o->cap * sizeof(struct pfs_sim *));
		assert_non_null(o->moments);
	}
	o->moments[o->count++] = pfs_sim_kill(o->image);
	return 0;
}

static void look(struct world *w, struct pfs_sim *image, const struct allowed *allowed,
		 bool nested);

/* The power went again, during the opening (the image's disk has nothing undecided, so that the
 * result must be the same) or directly after it. */
static void look_at_opening(struct world *w, struct opening *o, const struct state *state)
{
	struct allowed same = {state, 1};
	size_t len = strlen(w->image);

	w->tally.recuts++;
	for (size_t i = 0; i < o->count; i++) {
		for (unsigned k = 0; k < CUTS_WHILE_OPENING; k++) {
			struct pfs_sim *cut = k == 0 ? pfs_sim_crash_index(o->moments[i], 0)
						     : pfs_sim_crash_seed(o->moments[i], i + k);

			snprintf(w->image + len, sizeof(w->image) - len, " (opening, step %zu/%u)",
				 i + 1, k);
			look(w, cut, &same, true);
			pfs_sim_free(cut);
		}
		pfs_sim_free(o->moments[i]);
	}
	w->image[len] = 0;
	free(o->moments);
}

/* Opens the image and looks at everything; returns the hash of what it shows. */
static uint64_t explore(struct world *w, struct pfs_sim *image, uint64_t hash,
			const struct allowed *allowed, bool nested)
{
	bool all = w->verbose, reopen = all || (hash >> 12) % 4 == 0;
	bool recut = !nested && w->effort.recut_every &&
		     (all || (hash >> 16) % w->effort.recut_every == 0);
	struct opening o = {.image = image};
	struct pfs_store *store;
	struct state state, again;

	w->tally.opened++;
	report_image(image);
	if (all || hash % 8 == 0)
		check_image(w, image, false);
	if (all || (hash >> 8) % 8 == 0) {
		read_only_shows(w, image, &again);
		expect_allowed(w, allowed, &again);
	}
	if (recut)
		pfs_sim_on_step(image, opening_step, &o);
	store = open_image(w, image, false);
	pfs_sim_on_step(image, NULL, NULL);
	read_state(w, store, &state, false);
	expect_allowed(w, allowed, &state);
	if (recut) {
		opening_step(&o, NULL);
		look_at_opening(w, &o, &state);
	}
	goes_on(w, image, store, &state, reopen);
	return state_hash(&state);
}

/* An image that was opened before shows what it showed then. */
static void look(struct world *w, struct pfs_sim *image, const struct allowed *allowed, bool nested)
{
	uint64_t hash = pfs_sim_hash(image), shown = w->verbose ? 0 : known_state(hash);

	w->tally.images++;
	if (!shown || !is_allowed(allowed, shown)) {
		shown = explore(w, image, hash, allowed, nested);
		if (!known_state(hash))
			know(hash, shown);
	}
}

/* ---- power cuts ---- */

static uint64_t seed_of(const struct moment *moment, uint64_t i)
{
	return pfs_mix64(moment->step * 1000003 + i) >> 1;
}

static void look_at_index(struct world *w, struct moment *moment, const struct allowed *allowed,
			  uint64_t index)
{
	struct pfs_sim *image = pfs_sim_crash_index(moment->disk, index);

	snprintf(w->image, sizeof(w->image), "CRASH_STEP=%llu CRASH_INDEX=%llu",
		 (unsigned long long)moment->step, (unsigned long long)index);
	look(w, image, allowed, false);
	pfs_sim_free(image);
}

static void look_at_seed(struct world *w, struct moment *moment, const struct allowed *allowed,
			 uint64_t seed)
{
	struct pfs_sim *image = pfs_sim_crash_seed(moment->disk, seed);

	snprintf(w->image, sizeof(w->image), "CRASH_STEP=%llu CRASH_IMAGE=%llu",
		 (unsigned long long)moment->step, (unsigned long long)seed);
	look(w, image, allowed, false);
	pfs_sim_free(image);
}

void look_at_cuts(struct world *w, struct moment *moment)
{
	struct allowed allowed = {w->states + w->durable, w->count - w->durable};
	uint64_t images = pfs_sim_images(moment->disk), pending = pfs_sim_pending(moment->disk);

	if (w->only_kill)
		return;
	if (w->only_index != UINT64_MAX) {
		look_at_index(w, moment, &allowed, w->only_index);
	} else if (w->only_seed != UINT64_MAX) {
		look_at_seed(w, moment, &allowed, w->only_seed);
	} else if (pending <= w->effort.pending_max && images <= w->effort.exhaustive_max) {
		for (uint64_t i = 0; i < images; i++)
			look_at_index(w, moment, &allowed, i);
	} else {
		look_at_index(w, moment, &allowed, 0);
		for (uint64_t i = 1; i < w->effort.samples; i++)
			look_at_seed(w, moment, &allowed, seed_of(moment, i));
	}
}

/* ---- the death of the process ---- */

void look_at_kill(struct world *w, struct moment *moment)
{
	struct allowed acked = {w->states + w->acked, w->count - w->acked};
	struct allowed durable = {w->states + w->durable, w->count - w->durable};
	struct pfs_sim *image;
	struct pfs_store *store;
	struct opening o = {0};
	struct state state;

	if (!w->effort.kill || w->only_index != UINT64_MAX || w->only_seed != UINT64_MAX)
		return;
	snprintf(w->image, sizeof(w->image), "CRASH_STEP=%llu CRASH_KILL=1",
		 (unsigned long long)moment->step);
	w->tally.images++;
	w->tally.opened++;
	w->tally.kills++;
	image = o.image = pfs_sim_kill(moment->disk);
	report_image(image);
	pfs_sim_on_step(image, opening_step, &o);
	store = open_image(w, image, false);
	pfs_sim_on_step(image, NULL, NULL);
	read_state(w, store, &state, false);
	expect_allowed(w, &acked, &state);
	/* In the middle of it the power goes: what was durable before is there. */
	for (size_t i = 0; i < o.count; i++) {
		struct pfs_sim *cut = pfs_sim_crash_seed(o.moments[i], seed_of(moment, i));

		if (w->verbose || pfs_mix64(seed_of(moment, i)) % 8 == 0) {
			snprintf(w->image, sizeof(w->image),
				 "CRASH_STEP=%llu CRASH_KILL=1 (opening, step %zu)",
				 (unsigned long long)moment->step, i + 1);
			look(w, cut, &durable, true);
		}
		pfs_sim_free(cut);
		pfs_sim_free(o.moments[i]);
	}
	o.count = 0;
	opening_step(&o, NULL);
	snprintf(w->image, sizeof(w->image), "CRASH_STEP=%llu CRASH_KILL=1",
		 (unsigned long long)moment->step);
	/* What was found is durable from now on. */
	look_at_opening(w, &o, &state);
	goes_on(w, image, store, &state, true);
	pfs_sim_free(image);
}

struct pfs_sim *look_and_keep(struct world *w, struct moment *moment, bool kill, uint64_t seed,
			      struct state *state)
{
	size_t from = kill ? w->acked : w->durable;
	struct allowed allowed = {w->states + from, w->count - from};
	struct pfs_sim *image = kill ? pfs_sim_kill(moment->disk)
				     : pfs_sim_crash_seed(moment->disk, seed),
		       *copy = pfs_sim_kill(image);
	struct pfs_store *store;

	snprintf(w->image, sizeof(w->image), "(step %llu, %s)", (unsigned long long)moment->step,
		 kill ? "process death" : "power cut");
	w->tally.images++;
	w->tally.opened++;
	report_image(image);
	store = open_image(w, copy, false);
	read_state(w, store, state, false);
	expect_allowed(w, &allowed, state);
	goes_on(w, copy, store, state, true);
	pfs_sim_free(copy);
	return image;
}
