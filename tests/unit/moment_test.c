/* storage/pending.c, storage/store_checkpoint.c, storage/store_write.c: what others do at one
 * moment inside of a call. The files are included, to know the moment. */
#include <limits.h>
#include <pthread.h>

static void before_lock(const pthread_mutex_t *mutex);
static void after_unlock(const pthread_mutex_t *mutex);

#define pthread_mutex_lock(mutex) (before_lock(mutex), pthread_mutex_lock(mutex))
#include "storage/pending.c"
#undef pthread_mutex_lock

static inline int unlock(pthread_mutex_t *mutex)
{
	int err = pthread_mutex_unlock(mutex);

	after_unlock(mutex);
	return err;
}

#define pthread_mutex_unlock(mutex) unlock(mutex)
#include "storage/store_checkpoint.c"
#undef pthread_mutex_unlock

static int pack_then(struct pfs_store *store, struct pfs_packed *out, const void *data, size_t len,
		     bool with_dict);
static bool refused(void);
static void use_reserved(void);
static uint64_t reserved; /* names that need no memory */
static void need_commit(const struct pfs_store *store);
static void note_throttle(size_t len, bool large);
static bool no_room(void);
static void after_write(void);

#define begin begin_change
#define pfs_pack pack_then
#define pfs_version_new(key) (refused() ? NULL : pfs_version_new(key))
#define pfs_stage_new(base, size) (refused() ? NULL : pfs_stage_new(base, size))
#define pfs_stage_reserve(stage) (refused() ? -ENOMEM : pfs_stage_reserve(stage))
#define calloc(n, len) (refused() ? NULL : calloc(n, len))
#define pfs_index_reserve(index, n) (reserved = (n), pfs_index_reserve(index, n))
#define pfs_index_insert(...) (use_reserved(), pfs_index_insert(__VA_ARGS__))
#define pfs_write_throttle(store, len, large) \
	(note_throttle(len, large), pfs_write_throttle(store, len, large))
#define pfs_log_put(...) (no_room() ? -ENOSPC : pfs_log_put(__VA_ARGS__))
#define pfs_log_patch(...) (no_room() ? -ENOSPC : pfs_log_patch(__VA_ARGS__))
#define pfs_log_attr(...) (no_room() ? -ENOSPC : pfs_log_attr(__VA_ARGS__))
#define pfs_write_again(...) (after_write(), pfs_write_again(__VA_ARGS__))
#define pfs_limbo(store, version) (need_commit(store), pfs_limbo(store, version))
#include "storage/store_write.c"
#undef pfs_pack
#undef pfs_version_new
#undef pfs_stage_new
#undef pfs_stage_reserve
#undef calloc
#undef pfs_index_reserve
#undef pfs_index_insert
#undef pfs_write_throttle
#undef pfs_log_put
#undef pfs_log_patch
#undef pfs_log_attr
#undef pfs_write_again
#undef pfs_limbo
#undef begin

#include "storage/journal_internal.h"
#include "tests/unit/store_helpers.h"

#define WHOLE 200000u
#define HALF 100000u

static struct {
	struct pfs_store *store;
	uint32_t object;
	bool cut_before_lock, put_after_checkpoint, grow_after_packing;
	bool empty_after_write;
	bool over_and_over; /* cut, and made longer again */
	uint64_t size;
} moment;

/* Of what a write needs memory for, so many are had, and then one is not; 0: all are. */
static unsigned refused_at;

static bool refused(void)
{
	return refused_at && --refused_at == 0;
}

/* What the last writer said of what comes. */
static struct {
	size_t len;
	bool large;
} throttled;

static void note_throttle(size_t len, bool large)
{
	throttled.len = len;
	throttled.large = large;
}

/* So many records find no room; and how many were to be written. */
static unsigned no_room_for, logs;

static bool no_room(void)
{
	logs++;
	if (!no_room_for)
		return false;
	no_room_for--;
	return true;
}

static void use_reserved(void)
{
	assert_true(reserved > 0);
	reserved--;
}

static void need_commit(const struct pfs_store *store)
{
	assert_int_equal(pthread_mutex_trylock((pthread_mutex_t *)(uintptr_t)&store->commit),
			 EBUSY);
}

static int pack_then(struct pfs_store *store, struct pfs_packed *out, const void *data, size_t len,
		     bool with_dict)
{
	int err = pfs_pack(store, out, data, len, with_dict);

	if (moment.grow_after_packing) {
		moment.grow_after_packing = false;
		assert_int_equal(pfs_write(store, moment.object, 150, "grown", 5, 5), 0);
	}
	return err;
}

static void after_write(void)
{
	struct pfs_attr attr = {.size = 0};

	if (!moment.empty_after_write)
		return;
	moment.empty_after_write = false;
	assert_int_equal(pfs_setattr(moment.store, moment.object, PFS_ATTR_SIZE, &attr, NULL), 0);
}

static void before_lock(const pthread_mutex_t *mutex)
{
	struct pfs_attr attr = {.size = HALF};

	(void)mutex;
	if (!moment.cut_before_lock)
		return;
	moment.cut_before_lock = false;
	if (moment.over_and_over)
		attr.size = moment.size = moment.size == HALF ? WHOLE : HALF;
	assert_int_equal(pfs_setattr(moment.store, moment.object, PFS_ATTR_SIZE, &attr, NULL), 0);
	moment.cut_before_lock = moment.over_and_over;
}

static void after_unlock(const pthread_mutex_t *mutex)
{
	struct pfs_key key = pfs_key_num(1);

	if (!moment.put_after_checkpoint || mutex != &moment.store->checkpoint_lock)
		return;
	moment.put_after_checkpoint = false;
	put_document(moment.store, &key, 300, 3);
}

static void begin(struct pfs_sim **sim)
{
	*sim = pfs_sim_new();
	create_store(*sim, PFS_MIB, 128);
	moment.store = open_store(*sim);
}

static void end(struct pfs_sim *sim)
{
	assert_int_equal(pfs_store_close(moment.store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

/* Proves: a read beside a truncation of a large document that is being written gives bytes of the
 * long one or of the short one, never zeros for what is neither's. */
static void a_read_is_of_one_length(void **state)
{
	struct pfs_key key = pfs_key_num(1);
	uint8_t *want = malloc(WHOLE), *have = malloc(WHOLE);
	struct pfs_sim *sim;
	ssize_t n;

	(void)state;
	begin(&sim);
	fill_document(want, WHOLE, 1);
	assert_int_equal(pfs_put(moment.store, &key, want, HALF, NULL, 0, NULL), 0);
	assert_int_equal(pfs_lookup(moment.store, &key, &moment.object, NULL), 0);
	assert_int_equal(pfs_write(moment.store, moment.object, HALF, want + HALF, WHOLE - HALF, 5),
			 0);
	moment.cut_before_lock = true;
	n = pfs_read(moment.store, moment.object, 0, have, WHOLE);
	assert_false(moment.cut_before_lock);
	assert_true(n == WHOLE || n == HALF);
	assert_memory_equal(have, want, (size_t)n);
	/* Behind the end there is nothing. */
	assert_int_equal(pfs_read(moment.store, moment.object, HALF, have, 1), 0);
	assert_int_equal(pfs_read(moment.store, moment.object, HALF - 1, have, 2), 1);
	assert_int_equal(have[0], want[HALF - 1]);
	free(want);
	free(have);
	end(sim);
}

/* Proves: a whole document that gets another length while it is got is got again; one that gets
 * another one each time is not to be had. */
static void a_document_is_of_one_length(void **state)
{
	struct pfs_key key = pfs_key_num(1);
	struct pfs_sim *sim;
	size_t len;
	void *got;

	(void)state;
	begin(&sim);
	put_document(moment.store, &key, WHOLE, 1);
	assert_int_equal(pfs_lookup(moment.store, &key, &moment.object, NULL), 0);
	assert_int_equal(pfs_write(moment.store, moment.object, 10, "abc", 3, 5), 0);
	moment.cut_before_lock = true;
	assert_int_equal(pfs_get(moment.store, &key, &got, &len, NULL), 0);
	assert_false(moment.cut_before_lock);
	assert_int_equal(len, HALF);
	free(got);
	moment.size = HALF;
	moment.over_and_over = moment.cut_before_lock = true;
	assert_int_equal(pfs_get(moment.store, &key, &got, &len, NULL), -EAGAIN);
	moment.over_and_over = moment.cut_before_lock = false;
	assert_true(got == NULL && len == 0);
	assert_int_equal(pfs_get(moment.store, &key, &got, &len, NULL), 0);
	assert_int_equal(len, moment.size);
	free(got);
	end(sim);
}

/* Proves: what is written over the whole of a document that grows meanwhile leaves what has grown.
 */
static void what_grows_meanwhile_stays(void **state)
{
	struct pfs_key key = pfs_key_num(1);
	struct pfs_sim *sim;
	char have[200];

	(void)state;
	begin(&sim);
	put_document(moment.store, &key, 100, 1);
	assert_int_equal(pfs_lookup(moment.store, &key, &moment.object, NULL), 0);
	moment.grow_after_packing = true;
	memset(have, 'w', 120);
	assert_int_equal(pfs_write(moment.store, moment.object, 0, have, 120, 5), 0);
	assert_false(moment.grow_after_packing);
	assert_int_equal(pfs_read(moment.store, moment.object, 0, have, sizeof(have)), 155);
	assert_true(have[0] == 'w' && have[119] == 'w' && have[120] == 0);
	assert_memory_equal(have + 150, "grown", 5);
	end(sim);
}

/* Where the only version of the batch is written to. */
static struct pfs_extent_at target(void)
{
	return ((struct pfs_version *)moment.store->batch.next)->target;
}

static void damage_target(struct pfs_sim *sim)
{
	struct pfs_extent_at at = target();

	flip_bit(sim, page_name(at.page), at.off + 5, 1);
}

/* The container verifies, and says a shorter document. */
static void shorten_target(struct pfs_sim *sim)
{
	struct pfs_version *v = (struct pfs_version *)moment.store->batch.next;
	struct pfs_page *page = pfs_pager_find(moment.store->pager, v->target.page);
	struct pfs_container_base base = pfs_page_base(page, v->kind, v->tag);
	uint8_t bytes[PFS_CONTAINER_HEADER_MAX];
	struct pfs_container c;
	size_t header;

	read_at(sim, page_name(v->target.page), v->target.off, bytes, sizeof(bytes));
	assert_int_equal(
		pfs_container_header_decode(&c, bytes, sizeof(bytes), v->applied_len, &base), 0);
	c.raw_len = HALF + 1;
	header = pfs_container_header_encode(bytes, &c, &base, v->applied_len);
	assert_int_equal(header, c.header_len);
	pfs_container_seal(bytes, header, c.body_len, bytes[4], c.seq, &base);
	write_at(sim, page_name(v->target.page), v->target.off, bytes, header);
}

static struct {
	struct pfs_sim *sim;
	void (*damage)(struct pfs_sim *sim);
} at_sync;

/* Its containers are written, and nothing else is. */
static int patch_and_damage(void *arg, const struct pfs_sim_step *step)
{
	void (*damage)(struct pfs_sim * sim) = at_sync.damage;

	(void)arg;
	if (!damage || step->kind != PFS_SIM_SYNC || strncmp(step->name, "page-", 5) != 0)
		return 0;
	at_sync.damage = NULL;
	assert_int_equal(pfs_write(moment.store, moment.object, 10, "patch", 5, 5), 0);
	damage(at_sync.sim);
	return 0;
}

/* Proves: what a checkpoint has written, and is damaged before it is shown, is an error for who
 * shows some of it, as far as he does. */
static void damage_before_it_is_shown(void **state)
{
	void (*const damages[])(struct pfs_sim *) = {damage_target, shorten_target};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(damages); i++) {
		struct pfs_key key = pfs_key_num(1);
		uint8_t bytes[5];

		begin(&at_sync.sim);
		at_sync.damage = NULL;
		/* There is a page. */
		put_document(moment.store, &key, 10, 1);
		assert_int_equal(pfs_store_checkpoint(moment.store), 0);
		put_document(moment.store, &key, WHOLE, 1);
		assert_int_equal(pfs_lookup(moment.store, &key, &moment.object, NULL), 0);
		at_sync.damage = damages[i];
		pfs_sim_on_step(at_sync.sim, patch_and_damage, NULL);
		assert_int_equal(pfs_store_checkpoint(moment.store), 0);
		pfs_sim_on_step(at_sync.sim, NULL, NULL);
		assert_null(at_sync.damage);
		assert_int_equal(pfs_read(moment.store, moment.object, 10, bytes, 5), 5);
		assert_memory_equal(bytes, "patch", 5);
		assert_int_equal(pfs_read(moment.store, moment.object, WHOLE - 5, bytes, 5), -EIO);
		(void)pfs_store_close(moment.store);
		pfs_sim_free(at_sync.sim);
	}
}

static int no_room_in_pages(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	return step->kind == PFS_SIM_WRITE && strncmp(step->name, "page-", 5) == 0 ? -ENOSPC : 0;
}

/* Proves: a snapshot whose checkpoint found no room is waited for by nobody afterwards, also when
 * what the checkpoint was to write is changed before the snapshot is gone. */
static void a_failed_snapshot_is_not_written_to(void **state)
{
	struct pfs_key key = pfs_key_num(1);
	struct pfs_check_result checked;
	struct pfs_snapshot *snapshot;
	struct pfs_sim *sim;
	unsigned taken = 0;

	(void)state;
	begin(&sim);
	put_document(moment.store, &key, 300, 1);
	assert_int_equal(pfs_store_checkpoint(moment.store), 0);
	put_document(moment.store, &key, 300, 2);
	pfs_sim_on_step(sim, no_room_in_pages, NULL);
	moment.put_after_checkpoint = true;
	assert_int_equal(pfs_snapshot_open(moment.store, &snapshot), -ENOSPC);
	assert_false(moment.put_after_checkpoint);
	pfs_sim_on_step(sim, NULL, NULL);
	for (struct pfs_list *item = moment.store->batch.next; item != &moment.store->batch;
	     item = item->next) {
		assert_null(((struct pfs_version *)item)->former);
		taken++;
	}
	assert_int_equal(taken, 1);
	/* What is in the pages in part can't be counted. */
	assert_int_equal(pfs_store_check(moment.store, NULL, NULL, NULL, NULL, &checked), 0);
	assert_int_equal(checked.findings, 0);
	assert_int_equal(pfs_store_checkpoint(moment.store), 0);
	assert_int_equal(pfs_snapshot_open(moment.store, &snapshot), 0);
	pfs_snapshot_close(snapshot);
	end(sim);
}

static bool put_at_write;

/* The document that the checkpoint is about to write is changed, and there is no room for it. */
static int put_and_no_room(void *arg, const struct pfs_sim_step *step)
{
	struct pfs_key key = pfs_key_num(1);

	if (step->kind != PFS_SIM_WRITE || strncmp(step->name, "page-", 5) != 0)
		return 0;
	if (put_at_write) {
		put_at_write = false;
		put_document(moment.store, &key, 250, 3);
	}
	return no_room_in_pages(arg, step);
}

/* Proves: what a snapshot has kept of a version while its checkpoint failed is not waited for when
 * that version is written after all. */
static void nobody_waits_for_a_failed_snapshot(void **state)
{
	struct pfs_key key = pfs_key_num(1);
	struct pfs_snapshot *snapshot;
	struct pfs_sim *sim;
	struct pfs_attr attr;
	unsigned taken = 0;

	(void)state;
	begin(&sim);
	put_document(moment.store, &key, 300, 1);
	assert_int_equal(pfs_store_checkpoint(moment.store), 0);
	put_document(moment.store, &key, 300, 2);
	put_at_write = true;
	pfs_sim_on_step(sim, put_and_no_room, NULL);
	assert_int_equal(pfs_snapshot_open(moment.store, &snapshot), -ENOSPC);
	pfs_sim_on_step(sim, NULL, NULL);
	assert_false(put_at_write);
	for (struct pfs_list *item = moment.store->batch.next; item != &moment.store->batch;
	     item = item->next) {
		assert_null(((struct pfs_version *)item)->former);
		taken++;
	}
	assert_true(taken > 0);
	assert_int_equal(moment.store->snapshots.count, 0);
	assert_int_equal(moment.store->snapshots.pins.count, 0);
	assert_int_equal(pfs_store_checkpoint(moment.store), 0);
	assert_int_equal(pfs_lookup(moment.store, &key, &moment.object, &attr), 0);
	assert_int_equal(attr.size, 250);
	end(sim);
}

static int put_at_first_write(void *arg, const struct pfs_sim_step *step)
{
	(void)put_and_no_room(arg, step);
	return 0;
}

/* Proves: what is changed while the checkpoint that a snapshot begins with is about to write it is
 * shown as it was at the snapshot's moment. */
static void what_is_being_written_is_shown(void **state)
{
	struct pfs_key key = pfs_key_num(1);
	struct pfs_snapshot *snapshot;
	struct pfs_sim *sim;
	uint8_t want[300];
	size_t len;
	void *got;

	(void)state;
	begin(&sim);
	put_document(moment.store, &key, 200, 1);
	assert_int_equal(pfs_store_checkpoint(moment.store), 0);
	put_document(moment.store, &key, 300, 2);
	fill_document(want, sizeof(want), 2);
	put_at_write = true;
	pfs_sim_on_step(sim, put_at_first_write, NULL);
	assert_int_equal(pfs_snapshot_open(moment.store, &snapshot), 0);
	pfs_sim_on_step(sim, NULL, NULL);
	assert_false(put_at_write);
	for (unsigned pass = 0; pass < 2; pass++) {
		assert_int_equal(pfs_snapshot_get(snapshot, &key, &got, &len, NULL), 0);
		assert_int_equal(len, sizeof(want));
		assert_memory_equal(got, want, sizeof(want));
		free(got);
		assert_int_equal(pfs_store_checkpoint(moment.store), 0);
	}
	pfs_snapshot_close(snapshot);
	assert_int_equal(moment.store->snapshots.pins.count, 0);
	end(sim);
}

static struct {
	unsigned calls, at;
} failing;

static int fail_at(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	if (step->kind != PFS_SIM_WRITE && step->kind != PFS_SIM_SYNC)
		return 0;
	return ++failing.calls == failing.at ? -EIO : 0;
}

/* Proves: whichever write or sync fails in a checkpoint, of a container, a slot or a tombstone, of
 * the journal or the superblock, it has failed, and the store takes nothing more; what was put is
 * there when it is opened again. */
static void each_write_of_a_checkpoint_counts(void **state)
{
	bool failed = true;

	(void)state;
	for (failing.at = 1; failed; failing.at++) {
		struct pfs_key large = pfs_key_num(1), small = pfs_key_num(2),
			       gone = pfs_key_num(3);
		struct pfs_sim *sim;
		struct pfs_attr attr;
		bool again;
		int err;

		begin(&sim);
		for (unsigned i = 1; i <= 3; i++) {
			struct pfs_key key = pfs_key_num(i);

			put_document(moment.store, &key, 300 * i, i);
		}
		assert_int_equal(pfs_store_checkpoint(moment.store), 0);
		put_document(moment.store, &large, WHOLE, 1);
		put_document(moment.store, &small, 400, 1);
		assert_int_equal(pfs_remove(moment.store, &gone, NULL), 0);
		failing.calls = 0;
		pfs_sim_on_step(sim, fail_at, NULL);
		err = pfs_checkpoint(moment.store, true);
		pfs_sim_on_step(sim, NULL, NULL);
		failed = failing.calls >= failing.at;
		/* A segment that can't be begun may be begun later. */
		again = pfs_store_is_writable(moment.store);
		assert_int_equal(err, !failed ? 0 : again ? -EIO : -EROFS);
		assert_true(!again || failing.at < 4 || !failed);
		assert_int_equal(pfs_put(moment.store, &gone, "x", 1, NULL, 0, NULL),
				 again ? 0 : -EROFS);
		assert_true(failed || failing.at > 4);
		(void)pfs_store_close(moment.store);
		moment.store = open_store(sim);
		assert_int_equal(pfs_lookup(moment.store, &large, &moment.object, &attr), 0);
		assert_int_equal(attr.size, WHOLE);
		assert_int_equal(pfs_lookup(moment.store, &small, &moment.object, &attr), 0);
		assert_int_equal(attr.size, 400);
		assert_int_equal(pfs_lookup(moment.store, &gone, &moment.object, &attr),
				 again ? 0 : -ENOENT);
		end(sim);
	}
}

/* ---- writing ---- */

static unsigned held_count(void)
{
	unsigned n = 0;

	for (struct pfs_list *item = moment.store->held.next; item != &moment.store->held;
	     item = item->next)
		n++;
	return n;
}

enum change { CREATE, EMPTY, TIMES, MODE, SMALL, LARGE, AGAIN, GROW, CHANGES };

/* Object: of a small document, or a large one, as the change needs. */
static int make_change(enum change change, uint32_t object)
{
	struct pfs_key other = pfs_key_num(99);
	struct pfs_attr attr = {.mode = 0600, .mtime_ns = 77};
	uint32_t made;
	int err;

	switch (change) {
	case CREATE:
		err = pfs_create(moment.store, &other, &attr, &made);
		assert_int_equal(made == PFS_OBJECT_NONE, err != 0);
		return err;
	case EMPTY: return pfs_setattr(moment.store, object, PFS_ATTR_SIZE, &attr, NULL);
	case TIMES: return pfs_setattr(moment.store, object, PFS_ATTR_MTIME, &attr, NULL);
	case MODE: return pfs_setattr(moment.store, object, PFS_ATTR_MODE, &attr, NULL);
	case GROW:
		attr.size = 2 * WHOLE;
		return pfs_setattr(moment.store, object, PFS_ATTR_SIZE, &attr, NULL);
	default: return pfs_write(moment.store, object, 50, "fifty", 5, 5);
	}
}

static void expect_as_before(uint32_t object, const struct pfs_attr *before, enum change change)
{
	static uint8_t want[WHOLE], have[WHOLE + 1];
	size_t len = before->size;
	struct pfs_attr attr;

	assert_int_equal(pfs_getattr(moment.store, object, &attr), 0);
	assert_memory_equal(&attr, before, sizeof(attr));
	fill_document(want, len, 1);
	if (change == AGAIN)
		memcpy(want + 7, "staged", 6);
	assert_int_equal(pfs_read(moment.store, object, 0, have, sizeof(have)), len);
	assert_memory_equal(have, want, len);
}

/* Proves: a change for which memory is missing, wherever it is, is not made and leaves nothing
 * behind; with memory it is made. What is held stays held, once. */
static void changes_need_memory(void **state)
{
	(void)state;
	for (enum change change = 0; change < CHANGES; change++) {
		bool missing = true;

		for (unsigned n = 1; missing; n++) {
			struct pfs_key key = pfs_key_num(1), other = pfs_key_num(99);
			struct pfs_attr before, attr = {.size = 0};
			struct pfs_sim *sim;
			uint32_t object, none, end_number;
			unsigned held;
			int err;

			begin(&sim);
			put_document(moment.store, &key, change >= LARGE ? WHOLE : 300, 1);
			assert_int_equal(pfs_lookup(moment.store, &key, &object, NULL), 0);
			if (change == AGAIN)
				assert_int_equal(pfs_write(moment.store, object, 7, "staged", 6, 5),
						 0);
			if (change == TIMES)
				assert_int_equal(pfs_setattr(moment.store, object, PFS_ATTR_SIZE,
							     &attr, NULL),
						 0);
			assert_int_equal(pfs_getattr(moment.store, object, &before), 0);
			held = held_count();
			end_number = pfs_index_end(moment.store->index);
			refused_at = n;
			err = make_change(change, object);
			missing = refused_at == 0;
			refused_at = 0;
			assert_int_equal(err, missing ? -ENOMEM : 0);
			if (missing) {
				expect_as_before(object, &before, change);
				assert_int_equal(held_count(), held);
				assert_int_equal(pfs_lookup(moment.store, &other, &none, NULL),
						 -ENOENT);
				assert_int_equal(make_change(change, object), 0);
			}
			assert_true(missing || n > 1);
			assert_int_equal(held_count(), change <= TIMES);
			assert_int_equal(pfs_index_end(moment.store->index),
					 end_number + (change == CREATE));
			end(sim);
		}
	}
}

/* Proves: a record that finds no room is tried twice more, room having been made each time; then it
 * is an error, and nothing has changed. */
static void room_is_made_twice(void **state)
{
	static const enum change changes[] = {MODE, SMALL, LARGE, AGAIN, GROW};

	(void)state;
	for (unsigned i = 0; i < 4 * pfs_array_len(changes); i++) {
		enum change change = changes[i / 4];
		struct pfs_key key = pfs_key_num(1);
		unsigned refuse = i % 4;
		struct pfs_attr before;
		struct pfs_sim *sim;
		uint32_t object;

		begin(&sim);
		put_document(moment.store, &key, change >= LARGE ? WHOLE : 300, 1);
		assert_int_equal(pfs_lookup(moment.store, &key, &object, NULL), 0);
		if (change == AGAIN)
			assert_int_equal(pfs_write(moment.store, object, 7, "staged", 6, 5), 0);
		assert_int_equal(pfs_getattr(moment.store, object, &before), 0);
		no_room_for = refuse < 3 ? refuse : UINT_MAX;
		logs = 0;
		assert_int_equal(make_change(change, object), refuse < 3 ? 0 : -ENOSPC);
		assert_true(logs == 1 || refuse);
		assert_true(no_room_for == 0 || refuse == 3);
		no_room_for = 0;
		if (refuse == 3) {
			/* Meanwhile it may have come to a page, and take another room there. */
			struct pfs_attr attr;

			assert_int_equal(pfs_getattr(moment.store, object, &attr), 0);
			before.stored = attr.stored;
			expect_as_before(object, &before, change);
		}
		end(sim);
	}
}

/* Proves: a writer says how much it writes, and that it is large from one byte over a block on. */
static void what_comes_is_said(void **state)
{
	static const struct {
		uint64_t off;
		size_t len;
		bool large;
	} cases[] = {{0, 5, false},	{65531, 5, false}, {65532, 5, true},
		     {0, 65536, false}, {0, 65537, true},  {1, 65536, true}};
	static uint8_t bytes[65537];
	struct pfs_key key = pfs_key_num(1);
	struct pfs_sim *sim;
	uint32_t object;

	(void)state;
	begin(&sim);
	put_document(moment.store, &key, 10, 1);
	assert_int_equal(pfs_lookup(moment.store, &key, &object, NULL), 0);
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		throttled.len = 0;
		assert_int_equal(
			pfs_write(moment.store, object, cases[i].off, bytes, cases[i].len, 5), 0);
		assert_int_equal(throttled.len, cases[i].len);
		assert_int_equal(throttled.large, cases[i].large);
		throttled.len = 1;
		assert_int_equal(pfs_zero(moment.store, object, cases[i].off, cases[i].len, 5), 0);
		assert_int_equal(throttled.len, 0);
		assert_int_equal(throttled.large, cases[i].large);
	}
	end(sim);
}

/* Proves: a store that has failed, or whose journal has, takes no change and logs none. */
static void failed_stores_take_nothing(void **state)
{
	struct pfs_attr attr = {.mode = 0600, .mtime_ns = 1, .size = 5};
	struct pfs_key one = pfs_key_num(1), two = pfs_key_num(2);
	struct pfs_sim *sim;
	uint32_t object, none;

	(void)state;
	begin(&sim);
	put_document(moment.store, &one, 300, 1);
	assert_int_equal(pfs_lookup(moment.store, &one, &object, NULL), 0);
	logs = 0;
	for (unsigned i = 0; i < 2; i++) {
		moment.store->failed = i == 0;
		moment.store->journal->failed = i == 1;
		assert_int_equal(pfs_write(moment.store, object, 0, "new", 3, 5), -EROFS);
		assert_int_equal(pfs_zero(moment.store, object, 0, 3, 5), -EROFS);
		assert_int_equal(pfs_setattr(moment.store, object, PFS_ATTR_SIZE, &attr, NULL),
				 -EROFS);
		assert_int_equal(pfs_setattr(moment.store, object, PFS_ATTR_MODE, &attr, NULL),
				 -EROFS);
		assert_int_equal(pfs_create(moment.store, &two, &attr, &none), -EROFS);
		assert_int_equal(pfs_put(moment.store, &two, "new", 3, NULL, 0, NULL), -EROFS);
		assert_int_equal(pfs_remove(moment.store, &one, NULL), -EROFS);
		assert_int_equal(pfs_rename(moment.store, &one, &two, 0, NULL), -EROFS);
		assert_int_equal(logs, 0);
	}
	moment.store->journal->failed = false;
	assert_int_equal(pfs_getattr(moment.store, object, &attr), 0);
	assert_int_equal(attr.size, 300);
	end(sim);
}

/* Proves: a change of bytes or of attributes is not shown by a snapshot from before it; a move is
 * none, and changes nothing that is seen but the place. Each has the number of its record. */
static void moves_are_no_changes(void **state)
{
	struct pfs_attr attr = {.mode = 0600, .uid = 7, .gid = 8, .mtime_ns = 77}, before, shown;
	struct pfs_key key = pfs_key_num(1);
	struct pfs_snapshot *snapshot;
	struct pfs_place place;
	struct pfs_sim *sim;
	uint32_t object;

	(void)state;
	for (unsigned mask = 0; mask < 32; mask++) {
		bool writes = mask >= 16;

		begin(&sim);
		put_document(moment.store, &key, 300, 1);
		assert_int_equal(pfs_lookup(moment.store, &key, &object, &before), 0);
		assert_int_equal(pfs_snapshot_open(moment.store, &snapshot), 0);
		if (writes) {
			if (mask > 16)
				mask = 31;
			assert_int_equal(pfs_write(moment.store, object, 0, "new", 3, 5), 0);
		} else if (mask & (PFS_ATTR_MODE | PFS_ATTR_UID | PFS_ATTR_GID | PFS_ATTR_MTIME)) {
			assert_int_equal(pfs_setattr(moment.store, object,
						     mask & ~(unsigned)PFS_ATTR_SIZE, &attr, NULL),
					 0);
		} else {
			pfs_write_enter(moment.store);
			assert_int_equal(pfs_touch_object(moment.store, object), 0);
			pfs_write_leave(moment.store);
		}
		assert_int_equal(pfs_snapshot_lookup(snapshot, &key, &shown), 0);
		assert_int_equal(shown.mode, before.mode);
		assert_int_equal(shown.uid, before.uid);
		assert_int_equal(shown.mtime_ns, before.mtime_ns);
		assert_int_equal(
			pfs_word_to_version(pfs_index_word(moment.store->index, object))->moved,
			!writes && !(mask & (PFS_ATTR_MODE | PFS_ATTR_UID | PFS_ATTR_GID |
					     PFS_ATTR_MTIME)));
		assert_int_equal(pfs_place(moment.store, &key, &place), 0);
		assert_int_equal(place.sequence, pfs_store_sequence(moment.store));
		pfs_snapshot_close(snapshot);
		end(sim);
	}
}

/* Proves: what is written in parts is counted as long as it is in the journal, zeros are not; and
 * there is room for all of it where it goes. */
static void what_is_staged_is_counted(void **state)
{
	static uint8_t want[300010], have[300010];
	struct pfs_key key = pfs_key_num(1);
	struct pfs_sim *sim;

	(void)state;
	begin(&sim);
	put_document(moment.store, &key, 10, 1);
	assert_int_equal(pfs_lookup(moment.store, &key, &moment.object, NULL), 0);
	fill_document(want, 10, 1);
	assert_int_equal(pfs_write(moment.store, moment.object, 300000, "0123456789", 10, 5), 0);
	memcpy(want + 300000, "0123456789", 10);
	assert_int_equal(moment.store->staged_bytes, 10);
	assert_int_equal(pfs_zero(moment.store, moment.object, 100000, 5000, 5), 0);
	assert_int_equal(moment.store->staged_bytes, 10);
	fill_document(want, 250000, 3);
	assert_int_equal(pfs_write(moment.store, moment.object, 0, want, 250000, 5), 0);
	assert_int_equal(moment.store->staged_bytes, 250010);
	for (unsigned pass = 0; pass < 2; pass++) {
		assert_int_equal(pfs_read(moment.store, moment.object, 0, have, sizeof(have)),
				 sizeof(have));
		assert_memory_equal(have, want, sizeof(want));
		assert_int_equal(pfs_checkpoint(moment.store, true), 0);
		assert_int_equal(moment.store->staged_bytes, 0);
	}
	end(sim);
}

static struct pfs_stage *stage_of(uint32_t object)
{
	uint64_t word = pfs_index_word(moment.store->index, object);

	assert_true(pfs_word_is_version(word));
	assert_int_equal(pfs_word_to_version(word)->source.kind, PFS_SOURCE_STAGE);
	return pfs_word_to_version(word)->source.stage;
}

/* Proves: what is written over a document of which the journal has the whole keeps the journal's
 * segments from there on, for as long as it is written. */
static void whole_ones_stay_in_the_journal(void **state)
{
	static uint8_t want[WHOLE], have[WHOLE];
	struct pfs_key key = pfs_key_num(1);
	const struct pfs_segment *segment;
	struct pfs_stage *stage;
	struct pfs_sim *sim;

	(void)state;
	begin(&sim);
	put_document(moment.store, &key, WHOLE, 1);
	fill_document(want, WHOLE, 1);
	assert_int_equal(pfs_lookup(moment.store, &key, &moment.object, NULL), 0);
	segment = pfs_word_to_version(pfs_index_word(moment.store->index, moment.object))
			  ->source.segment;
	pthread_mutex_lock(&moment.store->commit);
	assert_int_equal(pfs_journal_rotate(moment.store->journal), 0);
	pthread_mutex_unlock(&moment.store->commit);
	assert_int_equal(pfs_write(moment.store, moment.object, 7, "patch", 5, 5), 0);
	memcpy(want + 7, "patch", 5);
	stage = stage_of(moment.object);
	assert_int_equal(stage->pin_count, 2);
	assert_ptr_equal(stage->pins[0], segment);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(pfs_checkpoint(moment.store, i == 2), 0);
		assert_int_equal(pfs_read(moment.store, moment.object, 0, have, WHOLE), WHOLE);
		assert_memory_equal(have, want, WHOLE);
	}
	end(sim);
}

static bool write_at_sync;

static int patch_at_sync(void *arg, const struct pfs_sim_step *step)
{
	struct pfs_stage *former;

	(void)arg;
	if (!write_at_sync || step->kind != PFS_SIM_SYNC || strncmp(step->name, "page-", 5) != 0)
		return 0;
	write_at_sync = false;
	former = stage_of(moment.object);
	assert_int_equal(former->refs, 1);
	assert_int_equal(pfs_write(moment.store, moment.object, 10, "second", 6, 5), 0);
	assert_ptr_equal(stage_of(moment.object)->base.stage, former);
	assert_int_equal(former->refs, 2);
	return 0;
}

/* Proves: what is written to a document while a checkpoint writes what was written to it before
 * stands over that, for as long as it needs it. */
static void stages_stand_over_each_other(void **state)
{
	static uint8_t want[WHOLE], have[WHOLE];
	struct pfs_key key = pfs_key_num(1);
	struct pfs_sim *sim;

	(void)state;
	begin(&sim);
	put_document(moment.store, &key, WHOLE, 1);
	fill_document(want, WHOLE, 1);
	assert_int_equal(pfs_checkpoint(moment.store, true), 0);
	assert_int_equal(pfs_lookup(moment.store, &key, &moment.object, NULL), 0);
	assert_int_equal(pfs_write(moment.store, moment.object, 5, "the first", 9, 5), 0);
	memcpy(want + 5, "the first", 9);
	memcpy(want + 10, "second", 6);
	write_at_sync = true;
	pfs_sim_on_step(sim, patch_at_sync, NULL);
	assert_int_equal(pfs_checkpoint(moment.store, true), 0);
	pfs_sim_on_step(sim, NULL, NULL);
	assert_false(write_at_sync);
	for (unsigned pass = 0; pass < 2; pass++) {
		assert_int_equal(pfs_read(moment.store, moment.object, 0, have, WHOLE), WHOLE);
		assert_memory_equal(have, want, WHOLE);
		assert_int_equal(pfs_checkpoint(moment.store, true), 0);
	}
	end(sim);
}

/* Proves: a large document that was made shorter, or longer, is so after a crash, too. */
static void lengths_survive(void **state)
{
	static const uint64_t sizes[] = {HALF, WHOLE - 1, WHOLE + 1, 2 * WHOLE, 65537};
	static uint8_t want[2 * WHOLE], have[2 * WHOLE];

	(void)state;
	for (size_t i = 0; i < pfs_array_len(sizes); i++) {
		struct pfs_key key = pfs_key_num(1);
		struct pfs_attr attr = {.size = sizes[i]};
		struct pfs_sim *sim, *image;

		begin(&sim);
		put_document(moment.store, &key, WHOLE, 1);
		memset(want, 0, sizeof(want));
		fill_document(want, WHOLE, 1);
		assert_int_equal(pfs_store_checkpoint(moment.store), 0);
		assert_int_equal(pfs_lookup(moment.store, &key, &moment.object, NULL), 0);
		assert_int_equal(
			pfs_setattr(moment.store, moment.object, PFS_ATTR_SIZE, &attr, NULL), 0);
		assert_int_equal(pfs_sync(moment.store), 0);
		image = pfs_sim_crash_seed(sim, 1);
		end(sim);
		moment.store = open_store(image);
		assert_int_equal(pfs_lookup(moment.store, &key, &moment.object, &attr), 0);
		assert_int_equal(attr.size, sizes[i]);
		assert_int_equal(pfs_read(moment.store, moment.object, 0, have, sizeof(have)),
				 sizes[i]);
		assert_memory_equal(have, want, sizes[i]);
		end(image);
	}
}

/* Proves: a write that fails for want of room gives back what the document was before it was
 * emptied for it. */
static void failed_writes_empty_nothing(void **state)
{
	struct pfs_key key = pfs_key_num(1);
	struct pfs_attr attr = {.size = 0};
	struct pfs_sim *sim;

	(void)state;
	begin(&sim);
	put_document(moment.store, &key, 300, 1);
	assert_int_equal(pfs_lookup(moment.store, &key, &moment.object, NULL), 0);
	assert_int_equal(pfs_setattr(moment.store, moment.object, PFS_ATTR_SIZE, &attr, NULL), 0);
	assert_int_equal(held_count(), 1);
	refused_at = 1;
	assert_int_equal(pfs_write(moment.store, moment.object, 0, "new", 3, 5), -ENOMEM);
	assert_int_equal(refused_at, 0);
	assert_int_equal(held_count(), 0);
	assert_int_equal(pfs_getattr(moment.store, moment.object, &attr), 0);
	assert_int_equal(attr.size, 300);
	end(sim);
}

/* Proves: a document that somebody empties as soon as a write to it is done stays empty. */
static void what_is_emptied_after_a_write_is_empty(void **state)
{
	struct pfs_key key = pfs_key_num(1);
	struct pfs_attr attr;
	struct pfs_sim *sim;

	(void)state;
	begin(&sim);
	put_document(moment.store, &key, 300, 1);
	assert_int_equal(pfs_lookup(moment.store, &key, &moment.object, NULL), 0);
	moment.empty_after_write = true;
	assert_int_equal(pfs_write(moment.store, moment.object, 0, "new", 3, 5), 0);
	assert_false(moment.empty_after_write);
	assert_int_equal(pfs_getattr(moment.store, moment.object, &attr), 0);
	assert_int_equal(attr.size, 0);
	end(sim);
}

/* Proves: attributes that are the store's own are no document's, and what was one's before is not
 * kept; of those that are not, all are kept. */
static void defaults_are_nobodys(void **state)
{
	const unsigned all = PFS_ATTR_MODE | PFS_ATTR_UID | PFS_ATTR_GID;
	struct pfs_store *store = calloc(1, sizeof(*store));
	const struct pfs_attr defaults = {.mode = 0640, .uid = 7, .gid = 8},
			      own = {.mode = 0600, .uid = 7, .gid = 8};
	struct pfs_version v = {.mtime_ns = 5};

	(void)state;
	store->defaults = (struct pfs_defaults){.mode = 0640, .uid = 7, .gid = 8};
	set_attr(store, &v, PFS_ATTR_MODE, &own);
	assert_true(v.own_attr);
	assert_true(v.mode == 0600 && v.uid == 7 && v.gid == 8);
	set_attr(store, &v, all, &defaults);
	assert_false(v.own_attr);
	assert_true(v.mode == 0 && v.uid == 0 && v.gid == 0);
	assert_int_equal(v.mtime_ns, 5);
	free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_read_is_of_one_length),
		cmocka_unit_test(a_document_is_of_one_length),
		cmocka_unit_test(what_grows_meanwhile_stays),
		cmocka_unit_test(damage_before_it_is_shown),
		cmocka_unit_test(a_failed_snapshot_is_not_written_to),
		cmocka_unit_test(nobody_waits_for_a_failed_snapshot),
		cmocka_unit_test(what_is_being_written_is_shown),
		cmocka_unit_test(each_write_of_a_checkpoint_counts),
		cmocka_unit_test(changes_need_memory),
		cmocka_unit_test(what_is_emptied_after_a_write_is_empty),
		cmocka_unit_test(room_is_made_twice),
		cmocka_unit_test(what_comes_is_said),
		cmocka_unit_test(failed_stores_take_nothing),
		cmocka_unit_test(defaults_are_nobodys),
		cmocka_unit_test(moves_are_no_changes),
		cmocka_unit_test(what_is_staged_is_counted),
		cmocka_unit_test(whole_ones_stay_in_the_journal),
		cmocka_unit_test(stages_stand_over_each_other),
		cmocka_unit_test(lengths_survive),
		cmocka_unit_test(failed_writes_empty_nothing),
	};

	return cmocka_run_group_tests_name("moment", tests, NULL, NULL);
}
