#include "tests/fault/model.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const names[MODEL_KEYS] = {
	"7", "42", ".42.swp", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "0", "18446744073709551615",
};

static void quiet_log(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	if (getenv("FAULT_LOG"))
		print_message("  log of an image: %s\n", line);
}

static const struct pfs_logger quiet = {.fn = quiet_log};

struct pfs_key model_key(unsigned i)
{
	struct pfs_key key;

	assert_int_equal(pfs_key_parse(&key, names[i], strlen(names[i])), 0);
	return key;
}

uint8_t *model_bytes(size_t len, unsigned seed)
{
	uint8_t *bytes = malloc(len + 1);

	assert_non_null(bytes);
	for (size_t i = 0; i < len; i++)
		bytes[i] = seed % 2 ? (uint8_t)pfs_mix64(seed * UINT64_C(1000003) + i / 8)
				    : (uint8_t) "{\"city\":\"Bonn\"}"[(i + seed) % 15];
	return bytes;
}

static uint64_t hash_of(const uint8_t *bytes, size_t len)
{
	uint64_t h = len, word = 0;

	while (len >= 8) {
		memcpy(&word, bytes, 8);
		h = pfs_mix64(h ^ word);
		bytes += 8;
		len -= 8;
	}
	word = 0;
	memcpy(&word, bytes, len);
	return pfs_mix64(h ^ word);
}

void model_begin(struct model *model, const char *label)
{
	*model = (struct model){.label = label};
	for (unsigned i = 0; i < MODEL_KEYS; i++)
		model->docs[i].count = 1; /* not there */
}

void model_end(struct model *model)
{
	for (unsigned i = 0; i < MODEL_KEYS; i++) {
		free(model->docs[i].bytes);
		free(model->docs[i].before);
	}
}

static size_t now_at(const struct model_doc *d)
{
	size_t at = d->count - 1;

	while (d->states[at].maybe)
		at--;
	return at;
}

const struct model_state *model_now(const struct model *model, unsigned i)
{
	return &model->docs[i].states[now_at(&model->docs[i])];
}

static void push(struct model_doc *d, const struct model_state *state)
{
	assert_true(d->count < MODEL_STATES_MAX);
	d->states[d->count++] = *state;
}

static struct model_state state_of(const uint8_t *bytes, size_t len, uint32_t mode)
{
	if (!bytes)
		return (struct model_state){0};
	return (struct model_state){
		.there = true, .mode = mode, .len = len, .hash = hash_of(bytes, len)};
}

void model_set(struct model *model, unsigned i, uint8_t *bytes, size_t len, uint32_t mode)
{
	struct model_doc *d = &model->docs[i];
	struct model_state state = state_of(bytes, len, mode);

	push(d, &state);
	free(d->bytes);
	free(d->before);
	d->bytes = bytes;
	d->before = NULL;
}

void model_hold(struct model *model, unsigned i, uint32_t mode)
{
	struct model_doc *d = &model->docs[i];
	struct model_state state = state_of((const uint8_t *)"", 0, mode);

	if (d->states[now_at(d)].held)
		free(d->bytes);
	else
		d->before = d->bytes;
	state.held = true;
	push(d, &state);
	d->bytes = calloc(1, 1);
}

void model_settle(struct model *model, unsigned i)
{
	struct model_doc *d = &model->docs[i];

	d->states[now_at(d)].held = false;
	free(d->before);
	d->before = NULL;
}

void model_unsettled(struct model *model, unsigned i)
{
	struct model_state *now = &model->docs[i].states[now_at(&model->docs[i])];

	now->either = now->either || now->held;
	now->held = false;
}

void model_cancel(struct model *model, unsigned i)
{
	struct model_doc *d = &model->docs[i];
	size_t at = now_at(d);

	/* A creation stays. */
	if (!d->states[at].held || !d->before)
		return;
	while (d->states[at].held || d->states[at].maybe)
		at--;
	push(d, &d->states[at]);
	free(d->bytes);
	d->bytes = d->before;
	d->before = NULL;
}

void model_failed(struct model *model, unsigned i, uint8_t *bytes, size_t len, uint32_t mode)
{
	struct model_state state = state_of(bytes, len, mode);

	state.maybe = true;
	push(&model->docs[i], &state);
	free(bytes);
}

void model_synced(struct model *model, bool held_too)
{
	for (unsigned i = 0; i < MODEL_KEYS; i++) {
		struct model_doc *d = &model->docs[i];
		size_t at = now_at(d);

		if (held_too && d->states[at].held)
			model_settle(model, i);
		if (held_too)
			d->states[at].either = false;
		while (d->states[at].held || d->states[at].either || d->states[at].maybe)
			at--;
		d->durable = at;
	}
}

/* ---- looking ---- */

static const char *text_of(const struct model_state *s)
{
	static char text[96];

	snprintf(text, sizeof(text), "%s, %zu bytes, mode %o, %08x", s->there ? "there" : "missing",
		 s->len, s->mode, (unsigned)s->hash);
	return text;
}

static bool same(const struct model_state *a, const struct model_state *b)
{
	return a->there == b->there &&
	       (!a->there || (a->len == b->len && a->hash == b->hash && a->mode == b->mode));
}

/* What the store shows of document i. */
static struct model_state seen_in(struct model *model, struct pfs_store *store, unsigned i)
{
	struct pfs_key key = model_key(i);
	struct model_state state;
	struct pfs_attr attr = {0};
	void *bytes;
	size_t len;
	int err = pfs_get(store, &key, &bytes, &len, &attr);

	if (err && err != -ENOENT)
		fail_msg("%s: document %s: error %d", model->label, names[i], err);
	state = state_of(bytes, len, attr.mode);
	free(bytes);
	return state;
}

static void expect_list(struct model *model, struct pfs_store *store)
{
	struct pfs_listed listed[MODEL_KEYS + 8];
	ssize_t n = pfs_list(store, 0, listed, pfs_array_len(listed));

	for (unsigned i = 0; i < MODEL_KEYS; i++) {
		struct pfs_key key = model_key(i);
		unsigned found = 0;

		for (ssize_t k = 0; k < n; k++)
			found += pfs_key_equal(&listed[k].key, &key);
		if (found != (unsigned)model_now(model, i)->there)
			fail_msg("%s: document %s is listed %u times", model->label, names[i],
				 found);
	}
}

static bool allowed(const struct model_doc *d, const struct model_state *seen, bool power_cut)
{
	size_t now = now_at(d);

	if (power_cut) {
		for (size_t k = d->durable; k < d->count; k++)
			if (!d->states[k].held && same(&d->states[k], seen))
				return true;
		return false;
	}
	for (;; now--) {
		if (d->states[now].held || d->states[now].maybe)
			continue;
		if (same(&d->states[now], seen))
			return true;
		if (!d->states[now].either)
			return false;
	}
}

void model_resolve(struct model *model, struct pfs_store *store, bool reopened)
{
	for (unsigned i = 0; i < MODEL_KEYS; i++) {
		struct model_doc *d = &model->docs[i];
		struct pfs_key key = model_key(i);
		struct model_state seen;
		void *bytes;
		size_t len;

		/* What is held stays so as long as the process lives. */
		if (!model_now(model, i)->either && !(model_now(model, i)->held && reopened))
			continue;
		seen = seen_in(model, store, i);
		if (!allowed(d, &seen, false))
			fail_msg("%s: document %s has become %s", model->label, names[i],
				 text_of(&seen));
		if (!reopened && same(&seen, model_now(model, i)))
			continue; /* still not known */
		bytes = NULL;
		if (seen.there)
			assert_int_equal(pfs_get(store, &key, &bytes, &len, NULL), 0);
		model_set(model, i, bytes, seen.len, seen.mode);
	}
}

void model_expect(struct model *model, struct pfs_store *store)
{
	for (unsigned i = 0; i < MODEL_KEYS; i++) {
		struct model_state seen = seen_in(model, store, i);

		if (!same(&seen, model_now(model, i)))
			fail_msg("%s: document %s is %s: not what was acknowledged", model->label,
				 names[i], text_of(&seen));
	}
	expect_list(model, store);
}

static void note_finding(void *arg, const struct pfs_finding *finding)
{
	unsigned *faults = arg;

	/* A remark needs nothing done. */
	if (!finding->fatal)
		return;
	++*faults;
	print_message("  %s at %llu: %s\n", finding->where, (unsigned long long)finding->offset,
		      finding->text);
}

void model_check(struct model *model, struct pfs_sim *sim, const char *what)
{
	struct pfs_check_result result;
	struct pfs_reason reason;
	unsigned faults = 0;
	int err = pfs_check(MODEL_STORE, pfs_sim_io(sim), &quiet, note_finding, NULL, &faults,
			    &result, &reason);

	if (err || faults || result.damaged)
		fail_msg("%s: the check %s: %d, %u faults", model->label, what, err, faults);
}

/* With its reserve a store can be opened on a full disk; where that did not fit, or is used up,
 * there must be some room first. */
static bool has_reserve(struct pfs_sim *sim)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_file *file;
	struct pfs_dir *dir;
	uint64_t size = 0;

	assert_int_equal(io->ops->open_dir(io, MODEL_STORE, 0, &dir), 0);
	if (dir->ops->open(dir, "reserve", 0, &file) == 0) {
		assert_int_equal(file->ops->disk_usage(file, &size), 0);
		file->ops->close(file);
	}
	dir->ops->close_dir(dir);
	return size >= 3 * PFS_MIB;
}

void model_expect_image(struct model *model, struct pfs_sim *image, bool power_cut)
{
	struct pfs_open_options options = {
		.io = pfs_sim_io(image), .manual = true, .logger = quiet};
	const char *what = power_cut ? "after a power cut" : "after a kill";
	struct pfs_key extra = pfs_key_num(77);
	struct pfs_reason reason;
	struct pfs_store *store;
	int err;

	if (!has_reserve(image))
		pfs_sim_set_capacity(image, 0);
	err = pfs_store_open(&store, MODEL_STORE, &options, &reason);
	if (err)
		fail_msg("%s: opening %s: %d %s", model->label, what, err, reason.text);
	for (unsigned i = 0; i < MODEL_KEYS; i++) {
		struct model_state seen = seen_in(model, store, i);

		if (!allowed(&model->docs[i], &seen, power_cut))
			fail_msg("%s: %s: document %s is %s: lost, or never acknowledged",
				 model->label, what, names[i], text_of(&seen));
	}
	pfs_sim_set_capacity(image, 0);
	assert_int_equal(pfs_put(store, &extra, "goes on", 7, NULL, 0, NULL), 0);
	assert_int_equal(pfs_store_close(store), 0);
	model_check(model, image, what);
	pfs_sim_free(image);
}
