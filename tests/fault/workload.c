#include "tests/fault/workload.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/fault/operations.h"

#define LARGE (150 * 1024)
#define VERY_LARGE (3u << 20) /* its space is given back to the filesystem */

static void fill(struct world *w)
{
	op_put(w, 0, 300, 0);
	op_put(w, 1, LARGE, 0);
	op_create(w, 2);
	op_write(w, 2, 0, 700);
	op_put(w, 3, 5000, 0);
	op_create(w, 0);
	op_sync(w);
	op_put(w, 4, 90, PFS_PUT_NEW_OBJECT);
	op_put(w, 4, 33, PFS_PUT_NEW_OBJECT);
	op_checkpoint(w);
}

static void change(struct world *w)
{
	op_write(w, 0, 100, 100);
	op_write(w, 1, 70000, 3000);
	op_zero(w, 1, 10, 66000);
	op_read_part(w, 1, 69000, 5000);
	op_resize(w, 1, LARGE + 40000);
	op_resize(w, 0, 0);
	op_attr(w, 0, 0);
	op_write(w, 0, 0, 450);
	op_attr(w, 3, 0600);
	op_resize(w, 3, 0);
	op_ticks(w);
	op_checkpoint(w);
	op_write(w, 3, 10, 60);
	op_zero(w, 0, 5, 100);
	op_read_all(w);
}

static void rename_all(struct world *w)
{
	op_rename(w, 2, 0, 0);
	op_rename(w, 0, 3, PFS_RENAME_EXCHANGE);
	op_write(w, 1, 5, 70000);
	op_rename(w, 1, 5, PFS_RENAME_NOREPLACE);
	op_create(w, 2);
	op_rename(w, 2, 4, 0);
	op_checkpoint(w);
	op_write(w, 5, 80000, 100);
	op_remove(w, 3);
	op_stream(w, 1, true);
	op_stream(w, 1, false);
	op_put(w, 1, 40, PFS_PUT_NEW_OBJECT);
	op_remove(w, 5);
	if (w->fault->kind == PFS_SIM_PUNCH) {
		op_put(w, 5, VERY_LARGE, 0);
		op_remove(w, 5);
	}
	op_resize(w, 1, 90000);
	op_resize(w, 1, 0);
	op_sync_object(w, 1);
	op_checkpoint(w);
	op_resize(w, 1, 200);
	op_read_all(w);
}

bool workload_run(struct fault *fault, const char *label, struct workload_stat *stat)
{
	struct world w = {.sim = pfs_sim_new(), .fault = fault, .stat = stat};

	model_begin(&w.model, label);
	fault_begin(fault);
	fault_watch(w.sim);
	world_make(&w);
	world_open(&w, false);
	fill(&w);
	change(&w);
	world_close(&w);
	world_open(&w, false);
	op_read_all(&w);
	rename_all(&w);
	world_close(&w);
	world_check(&w);
	world_open(&w, true);
	op_read_all(&w);
	world_close(&w);
	world_open(&w, false);
	fill(&w);
	op_write(&w, 1, 1000, 80000);
	op_resize(&w, 0, 0);
	world_kill(&w);
	world_open(&w, false);
	op_read_all(&w);
	change(&w);
	world_close(&w);
	fault->over = true;
	world_limit_disk(&w);
	if (fault_live_blocks(true))
		fail_msg("%s: %zu blocks of memory are lost", label, fault_live_blocks(false));
	model_expect_image(&w.model, pfs_sim_kill(w.sim), false);
	fault_begin(NULL);
	model_end(&w.model);
	pfs_sim_free(w.sim);
	stat->runs++;
	stat->met += fault->met;
	return fault->met;
}

static bool loop_run(const struct fault *proto, const char *name, uint64_t at, bool from_then_on,
		     struct workload_stat *stat)
{
	struct fault fault = *proto;
	char label[96];

	fault.at = at;
	fault.from_then_on = from_then_on;
	snprintf(label, sizeof(label), "%s number %llu fails %s", name, (unsigned long long)at,
		 from_then_on ? "and all later ones" : "once");
	return workload_run(&fault, label, stat);
}

void workload_loop(const struct fault *fault, const char *name, unsigned step)
{
	const char *only = getenv("FAULT_AT"), *effort = getenv("FAULT_STEP");
	struct workload_stat stat = {0};

	if (effort)
		step = (unsigned)pfs_max_u64(1, strtoull(effort, NULL, 0));
	else
		step *= WORKLOAD_STEP;

	/* What differs when later calls fail as well is mostly the same for neighbours. */
	for (unsigned mode = 0; mode < 2; mode++) {
		uint64_t at = only ? strtoull(only, NULL, 0) : 1;

		while (loop_run(fault, name, at, mode, &stat) && !only)
			at += mode ? 2 * (uint64_t)step : step;
	}
	print_message("%s: %llu runs, fault met in %llu, %llu calls refused, %llu images opened\n",
		      name, (unsigned long long)stat.runs, (unsigned long long)stat.met,
		      (unsigned long long)stat.refused, (unsigned long long)stat.images);
}
