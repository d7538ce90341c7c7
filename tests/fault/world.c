#include "tests/fault/world.h"

#include <stdlib.h>

static void on_log(void *arg, enum pfs_log_level level, const char *line)
{
	struct world *w = arg;

	if (level == PFS_LOG_ERROR && strstr(line, "read-only"))
		w->read_only_lines++;
	if (getenv("FAULT_LOG"))
		print_message("  log: %s\n", line);
}

/* ---- what must hold after each call ---- */

static bool is_read_only(struct world *w)
{
	struct pfs_store_stat stat;

	assert_int_equal(pfs_store_stat(w->store, &stat), 0);
	return stat.read_only;
}

/* A failed sync, or an error that says so, and only these, make the store read-only; it says why,
 * once. */
static void expect_read_only(struct world *w, const char *what, int err)
{
	bool read_only;

	if (!w->store || w->opened_read_only)
		return;
	read_only = is_read_only(w);
	if ((err == -EROFS || w->fault->sync_met) && !read_only)
		fail_msg("%s: %s: error %d, but the store is not read-only", w->model.label, what,
			 err);
	if (read_only && (w->fault->kind == FAULT_MEMORY || w->fault->kind == FAULT_FULL))
		fail_msg("%s: %s: read-only for want of memory or space", w->model.label, what);
	if (w->read_only_lines != (unsigned)read_only)
		fail_msg("%s: %s: read-only %d, but %u lines say so", w->model.label, what,
			 read_only, w->read_only_lines);
	/* Nothing is claimed to be durable any more. */
	if (read_only && (pfs_sync(w->store) != -EROFS || pfs_sync_object(w->store, 2) != -EROFS))
		fail_msg("%s: %s: a read-only store claims to sync", w->model.label, what);
}

static bool is_allowed(const struct world *w, int err)
{
	if (!w->fault->met)
		return false;
	if (w->fault->kind == FAULT_MEMORY)
		return err == -ENOMEM;
	if (w->fault->kind == FAULT_FULL)
		return err == -ENOSPC;
	/* Whatever a sync says, it is that nobody knows what the disk has. */
	if (w->fault->sync_met)
		return err == -EIO || err == -EROFS;
	return err == w->fault->err || err == -EROFS;
}

/* What a kill leaves now, and a power cut: with nothing kept that is not durable, or a part. */
static void look_at_images(struct world *w)
{
	model_expect_image(&w->model, pfs_sim_kill(w->sim), false);
	model_expect_image(&w->model,
			   w->fault->from_then_on ? pfs_sim_crash_seed(w->sim, w->fault->at * 9 + 5)
						  : pfs_sim_crash_index(w->sim, 0),
			   true);
	w->stat->images += 2;
}

void world_after(struct world *w, const char *what, int err)
{
	fault_disarm();
	if (getenv("FAULT_LOG"))
		print_message("  %s: %d\n", what, err);
	if (err == -ENOSPC && w->fault->kind == FAULT_FULL)
		w->fault->met = true;
	if (err && !is_allowed(w, err))
		fail_msg("%s: %s: error %d", w->model.label, what, err);
	if (!w->fault->met)
		return;
	w->stat->refused += err != 0;
	if (err || !w->looked) {
		expect_read_only(w, what, err);
		if (w->store)
			model_expect(&w->model, w->store);
	}
	if (!w->looked) {
		w->looked = true;
		look_at_images(w);
	}
}

unsigned world_next_seed(struct world *w)
{
	return ++w->seed;
}

uint32_t world_object(struct world *w, unsigned i)
{
	struct pfs_key key = model_key(i);
	uint32_t object;

	assert_int_equal(pfs_lookup(w->store, &key, &object, NULL), 0);
	return object;
}

bool world_has(struct world *w, unsigned i)
{
	return w->store && model_now(&w->model, i)->there;
}

uint32_t world_mode(struct world *w, unsigned i)
{
	return model_now(&w->model, i)->mode;
}

/* ---- opening and closing ---- */

void world_make(struct world *w)
{
	struct pfs_create_options options = {
		.page_size = PFS_PAGE_SIZE_MIN, .min_value_size = 16, .io = pfs_sim_io(w->sim)};
	struct pfs_reason reason;
	int err;

	fault_arm();
	err = pfs_store_create(MODEL_STORE, &options, &reason);
	fault_disarm();
	if (!err)
		return;
	if (!is_allowed(w, err))
		fail_msg("%s: creating: error %d", w->model.label, err);
	assert_true(reason.text[0] != 0);
	w->fault->over = true;
	err = pfs_store_create(MODEL_STORE, &options, &reason);
	/* It may be there as a whole, only not known to be durable. */
	if (err && err != -EEXIST)
		fail_msg("%s: creating again: error %d", w->model.label, err);
}

void world_limit_disk(struct world *w)
{
	if (w->fault->kind == FAULT_FULL)
		pfs_sim_set_capacity(w->sim, w->fault->over ? 0 : w->fault->at);
}

static int try_open(struct world *w, bool read_only)
{
	struct pfs_defaults defaults = {.mode = WORLD_MODE};
	struct pfs_open_options options = {
		.io = pfs_sim_io(w->sim),
		.manual = true,
		.hold_objects = true,
		.read_only = read_only,
		.defaults = &defaults,
		.logger = {.fn = on_log, .arg = w},
	};
	struct pfs_reason reason;
	int err;

	world_limit_disk(w);
	w->read_only_lines = 0;
	w->opened_read_only = read_only;
	w->fault->sync_met = false;
	fault_arm();
	err = pfs_store_open(&w->store, MODEL_STORE, &options, &reason);
	fault_disarm();
	if (err == -ENOSPC && w->fault->kind == FAULT_FULL)
		w->fault->met = true;
	if (err && !is_allowed(w, err))
		fail_msg("%s: opening: error %d (%s)", w->model.label, err, reason.text);
	if (err)
		assert_true(reason.text[0] != 0);
	return err;
}

void world_open(struct world *w, bool read_only)
{
	bool met_before = w->fault->met;
	int err = try_open(w, read_only);

	if (!err && read_only && w->fault->kind == PFS_SIM_READ && w->fault->met && !met_before) {
		w->fault->over = true;
		assert_int_equal(pfs_store_close(w->store), 0);
		w->store = NULL;
		assert_int_equal(try_open(w, read_only), 0);
	} else if (err) {
		assert_null(w->store);
		w->stat->refused++;
		look_at_images(w);
		w->looked = true;
		w->fault->over = true;
		assert_int_equal(try_open(w, read_only), 0);
	}
	model_resolve(&w->model, w->store, true);
	if (w->fault->met && !w->looked)
		world_after(w, "open", 0);
}

void world_close(struct world *w)
{
	bool read_only = is_read_only(w);
	int err;

	fault_arm();
	err = pfs_store_close(w->store);
	fault_disarm();
	w->store = NULL;
	if (err)
		for (unsigned i = 0; i < MODEL_KEYS; i++)
			model_unsettled(&w->model, i);
	else if (!w->opened_read_only)
		model_synced(&w->model, true);
	if (read_only && !w->opened_read_only)
		assert_int_equal(err, -EROFS);
	world_after(w, "close", err);
}

void world_kill(struct world *w)
{
	struct pfs_sim *image = pfs_sim_kill(w->sim);
	bool over = w->fault->over;

	w->fault->over = true;
	(void)pfs_store_close(w->store);
	w->fault->over = over;
	w->store = NULL;
	pfs_sim_free(w->sim);
	w->sim = image;
	fault_watch(w->sim);
}

void world_check(struct world *w)
{
	struct pfs_logger logger = {.fn = on_log, .arg = w};
	struct pfs_check_result result;
	struct pfs_reason reason;
	int err;

	fault_arm();
	err = pfs_check(MODEL_STORE, pfs_sim_io(w->sim), &logger, NULL, NULL, NULL, &result,
			&reason);
	fault_disarm();
	if (!err && result.findings && (!w->fault->met || w->fault->kind == FAULT_MEMORY))
		fail_msg("%s: the check finds something", w->model.label);
	world_after(w, "check", err);
}
