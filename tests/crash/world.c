/* The oracle, the moments, and the worlds. */
#include "tests/crash/world_internal.h"

#include "storage/crc.h"
#include "storage/super.h"

#define STORE "/s"

/* ---- documents ---- */

struct pfs_key doc_key(unsigned doc)
{
	static const char *const names[DOCS] = {
		"0",	   "42", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "18446744073709551615",
		".42.swp", "7"};
	struct pfs_key key;

	assert_int_equal(pfs_key_parse(&key, names[doc], strlen(names[doc])), 0);
	return key;
}

uint32_t bytes_hash(const void *bytes, size_t len)
{
	return pfs_crc32c((uint32_t)len, bytes, len);
}

struct pfs_key quiet_key(unsigned i)
{
	return pfs_key_num(QUIET_FIRST + i);
}

static size_t quiet_bytes(unsigned i, char out[32])
{
	return (size_t)snprintf(out, 32, "{\"quiet\":%u}", i);
}

uint32_t quiet_hash(unsigned i)
{
	char text[32];
	size_t len = quiet_bytes(i, text);

	return bytes_hash(text, len);
}

/* Text that shrinks a little when it is packed, and says who it is. */
uint8_t *world_fresh_bytes(uint32_t tag, size_t len)
{
	uint8_t *bytes = malloc(len + 1);
	uint64_t random = tag;

	assert_non_null(bytes);
	for (size_t i = 0; i < len; i++) {
		if (i % 32 == 0)
			random = pfs_mix64(random + i + 1);
		bytes[i] = i % 32 < 8 ? (uint8_t)(random >> (i % 8 * 8))
				      : (uint8_t) "{\"price\": 12.5, \"city\":"[i % 23];
	}
	return bytes;
}

/* ---- states ---- */

const struct state *world_newest(const struct world *w)
{
	return &w->states[w->count - 1];
}

struct state *world_push(struct world *w)
{
	if (w->count == w->cap) {
		w->cap = w->cap ? 2 * w->cap : 16;
		w->states = realloc(w->states, w->cap * sizeof(*w->states));
		assert_non_null(w->states);
	}
	if (w->count)
		w->states[w->count] = w->states[w->count - 1];
	else
		memset(&w->states[0], 0, sizeof(w->states[0]));
	return &w->states[w->count++];
}

/* What no crash can show any more. */
static void forget_states(struct world *w)
{
	memmove(w->states, w->states + w->durable, (w->count - w->durable) * sizeof(*w->states));
	w->count -= w->durable;
	w->acked -= w->durable;
	w->durable = 0;
}

void world_set_bytes(struct world *w, unsigned i, uint8_t *bytes)
{
	free(w->bytes[i]);
	w->bytes[i] = bytes;
}

void world_see(struct world *w, unsigned i, const struct doc *doc, uint8_t *bytes)
{
	w->seen[i] = *doc;
	world_set_bytes(w, i, bytes);
}

/* The record that says what is held of a document. */
void world_push_held(struct world *w, unsigned i)
{
	if (!w->held[i].is)
		return;
	world_push(w)->docs[i] = w->seen[i];
	w->held[i].is = false;
}

void world_hold(struct world *w, unsigned i)
{
	w->held[i] = (struct held){.is = true, .order = ++w->hold_order};
}

/* Those held in the order in which they are logged; returns how many. */
unsigned world_held_in_order(const struct world *w, unsigned out[DOCS])
{
	unsigned n = 0;

	for (unsigned i = 0; i < DOCS; i++) {
		unsigned at = n;

		if (!w->held[i].is)
			continue;
		for (; at && w->held[out[at - 1]].order > w->held[i].order; at--)
			out[at] = out[at - 1];
		out[at] = i;
		n++;
	}
	return n;
}

void world_push_all_held(struct world *w)
{
	unsigned order[DOCS], n = world_held_in_order(w, order);

	for (unsigned i = 0; i < n; i++)
		world_push_held(w, order[i]);
}

/* ---- moments ---- */

/* Half of them, at twice the distance: each is a copy of the disk. */
static void thin_moments(struct world *w)
{
	size_t n = 0;

	w->moment_every *= 2;
	for (size_t i = 0; i < w->moment_count; i++) {
		if (w->moments[i].step % w->moment_every == 0)
			w->moments[n++] = w->moments[i];
		else
			pfs_sim_free(w->moments[i].disk);
	}
	w->moment_count = n;
}

/* step NULL: the end of the operation, which is never left out. */
static void take_moment(struct world *w, const struct pfs_sim_step *step)
{
	struct moment *m;

	if (step && w->step % w->moment_every)
		return;
	if (w->moment_count == MOMENTS_MAX) {
		thin_moments(w);
		if (step && w->step % w->moment_every)
			return;
	}
	m = &w->moments[w->moment_count++];
	*m = (struct moment){.disk = pfs_sim_kill(w->sim), .step = w->step};
	if (step)
		snprintf(m->what, sizeof(m->what), "%s %.16s %llu", pfs_sim_kind_name(step->kind),
			 step->name, (unsigned long long)step->off);
	else
		snprintf(m->what, sizeof(m->what), "nothing more");
}

/* Before each step: the moment before the first is that after the operation before. */
static int on_step(void *arg, const struct pfs_sim_step *step)
{
	struct world *w = arg;
	bool sync = step->kind == PFS_SIM_SYNC || step->kind == PFS_SIM_SYNC_DIR;

	if (w->cutting && w->step)
		take_moment(w, step);
	w->step++;
	if (!sync || ++w->syncs != w->fail_at)
		return 0;
	w->cutting = true;
	w->tally.failed_syncs++;
	return -EIO;
}

void world_drain(struct world *w)
{
	for (size_t i = 0; i < w->moment_count; i++) {
		struct moment *m = &w->moments[i];

		if (!w->stop && w->look &&
		    (w->only_step == UINT64_MAX || w->only_step == m->step)) {
			w->tally.points++;
			w->before = m->what;
			w->look(w, m);
		}
		pfs_sim_free(m->disk);
	}
	w->moment_count = 0;
}

void world_begin_op(struct world *w)
{
	w->step = w->syncs = 0;
	w->moment_every = 1;
	w->err = 0;
}

/* The operation has returned: what was in flight is acknowledged, if it did not fail. */
bool world_finish_op(struct world *w, int err, bool durable)
{
	world_drain(w);
	w->err = err;
	/* The world goes on from a moment before the end of the operation. */
	if (w->stop)
		return true;
	if (!err)
		w->acked = w->count - 1;
	if (!err && durable)
		w->durable = w->acked;
	if (w->cutting) {
		take_moment(w, NULL);
		world_drain(w);
	}
	if (!w->stop)
		forget_states(w);
	return true;
}

/* ---- worlds ---- */

int world_open_store(struct world *w)
{
	struct pfs_open_options options = {.io = pfs_sim_io(w->sim),
					   .manual = true,
					   .hold_objects = w->hold_objects,
					   .logger = w->logger};
	struct pfs_reason reason;

	return pfs_store_open(&w->store, STORE, &options, &reason);
}

static void put_new(struct pfs_store *store, struct pfs_key key, const void *bytes, size_t len)
{
	struct pfs_attr attr = {.mode = MODE_PUT, .mtime_ns = 1};

	assert_int_equal(pfs_put(store, &key, bytes, len, &attr, 0, NULL), 0);
}

/* In pages: documents 0, 2 (in blocks), 4, 5 and the quiet ones; one slot and container of another
 * that is gone. No more of these, so that checkpoints need new slots. */
static void fill_base(struct world *w)
{
	static const size_t lens[DOCS] = {200, 0, 70000, 0, 150, 5000};
	struct pfs_key gone = pfs_key_num(900);
	char text[32];

	for (unsigned i = 0; i < QUIET; i++)
		put_new(w->store, quiet_key(i), text, quiet_bytes(i, text));
	put_new(w->store, gone, "to be removed", 13);
	for (unsigned i = 0; i < DOCS; i++) {
		if (lens[i])
			op_put(w, i, lens[i], false);
	}
	assert_int_equal(pfs_store_checkpoint(w->store), 0);
	assert_int_equal(pfs_remove(w->store, &gone, NULL), 0);
	assert_int_equal(pfs_store_checkpoint(w->store), 0);
}

static struct {
	struct pfs_sim *disk;
	struct state state;
	uint8_t *bytes[DOCS];
	uint32_t tag;
} base;

/* The same bytes in every run, so that a failure happens again. */
static void fix_identity(struct pfs_sim *sim)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_super super;
	struct pfs_dir *dir;

	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE, &dir), 0);
	assert_int_equal(pfs_super_read(dir, &super, NULL), 0);
	memset(super.uuid, 7, sizeof(super.uuid));
	super.created_ns = 0;
	assert_int_equal(pfs_super_write(dir, &super), 0);
	dir->ops->close_dir(dir);
}

static void forget_base(void)
{
	pfs_sim_free(base.disk);
	for (unsigned i = 0; i < DOCS; i++)
		free(base.bytes[i]);
}

static void make_base(void)
{
	struct pfs_create_options create = {.page_size = PFS_PAGE_SIZE_MIN, .min_value_size = 64};
	struct world w = {.only_step = UINT64_MAX};
	struct pfs_reason reason;

	w.sim = pfs_sim_new();
	create.io = pfs_sim_io(w.sim);
	assert_int_equal(pfs_store_create(STORE, &create, &reason), 0);
	fix_identity(w.sim);
	world_push(&w);
	for (unsigned i = 0; i < DOCS; i++)
		w.bytes[i] = calloc(1, 1);
	assert_int_equal(world_open_store(&w), 0);
	fill_base(&w);
	assert_int_equal(pfs_store_close(w.store), 0);
	pfs_sim_settle(w.sim);
	base.disk = w.sim;
	base.state = *world_newest(&w);
	base.tag = w.tag;
	memcpy(base.bytes, w.bytes, sizeof(base.bytes));
	free(w.states);
	atexit(forget_base);
}

struct pfs_sim *base_disk(void)
{
	if (!base.disk)
		make_base();
	return base.disk;
}

void world_begin(struct world *w)
{
	w->sim = pfs_sim_kill(base_disk());
	w->count = w->acked = w->durable = 0;
	*world_push(w) = base.state;
	memcpy(w->seen, base.state.docs, sizeof(w->seen));
	memset(w->held, 0, sizeof(w->held));
	for (unsigned i = 0; i < DOCS; i++) {
		world_set_bytes(w, i, malloc(w->seen[i].len + 1));
		memcpy(w->bytes[i], base.bytes[i], w->seen[i].len);
	}
	w->tag = base.tag;
	w->cutting = w->stop = false;
	assert_int_equal(world_open_store(w), 0);
	op_put(w, 1, 300, false);
	op_patch(w, 4, 100, 60);
	assert_int_equal(w->err, 0);
	op_sync(w);
	assert_int_equal(w->err, 0);
	pfs_sim_settle(w->sim);
	pfs_sim_on_step(w->sim, on_step, w);
}

static void read_bytes(struct world *w)
{
	for (unsigned i = 0; i < DOCS; i++) {
		struct pfs_key key = doc_key(i);
		void *bytes = NULL;
		size_t len;

		if (w->seen[i].there)
			assert_int_equal(pfs_get(w->store, &key, &bytes, &len, NULL), 0);
		world_set_bytes(w, i, bytes ? bytes : calloc(1, 1));
	}
}

bool world_resume(struct world *w, struct pfs_sim *disk, const struct state *state, bool killed)
{
	world_end(w);
	w->sim = disk;
	if (!killed)
		w->count = w->durable = 0;
	*world_push(w) = *state;
	w->acked = w->count - 1;
	memcpy(w->seen, state->docs, sizeof(w->seen));
	memset(w->held, 0, sizeof(w->held));
	w->stop = false;
	pfs_sim_on_step(w->sim, on_step, w);
	world_begin_op(w);
	w->err = world_open_store(w);
	if (w->err)
		w->store = NULL;
	world_finish_op(w, w->err, true);
	if (w->stop || w->err)
		return false;
	read_bytes(w);
	return true;
}

/* Nothing of it matters any more. */
static int fail_everything(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	(void)step;
	return -EIO;
}

void world_end(struct world *w)
{
	if (w->sim)
		pfs_sim_on_step(w->sim, fail_everything, NULL);
	if (w->store)
		pfs_store_close(w->store);
	w->store = NULL;
	pfs_sim_free(w->sim);
	w->sim = NULL;
}

void world_free(struct world *w)
{
	world_end(w);
	for (unsigned i = 0; i < DOCS; i++)
		free(w->bytes[i]);
	free(w->states);
}
