#include "tests/fault/scenario.h"

#include <stdio.h>
#include <stdlib.h>

const struct fault scenario_disk_faults[SCENARIO_DISK_FAULTS] = {
	{.kind = FAULT_MEMORY},
	{.kind = PFS_SIM_CREATE, .err = -ENOSPC},
	{.kind = PFS_SIM_WRITE, .err = -ENOSPC},
	{.kind = PFS_SIM_SYNC, .err = -EIO},
	{.kind = PFS_SIM_SYNC_DIR, .err = -EIO},
	{.kind = PFS_SIM_RENAME, .err = -EIO},
	{.kind = PFS_SIM_UNLINK, .err = -EIO},
	{.kind = PFS_SIM_TRUNCATE, .err = -EIO},
	{.kind = PFS_SIM_ALLOCATE, .err = -ENOSPC},
	{.kind = PFS_SIM_MAP, .err = -ENOMEM},
	{.kind = PFS_SIM_OPEN, .err = -EMFILE},
	{.kind = PFS_SIM_READ, .err = -EIO},
	{.kind = PFS_SIM_PUNCH, .err = -EIO},
};

static const char *kind_name(unsigned kind)
{
	if (kind < PFS_SIM_KINDS)
		return pfs_sim_kind_name(kind);
	return kind == FAULT_MEMORY ? "allocation" : "call";
}

static bool is_allowed(const struct scenario *s, const struct fault *fault, int err)
{
	if (!err)
		return true;
	if (!fault->met)
		return false;
	if (s->allows)
		return s->allows(fault, err);
	return err == (fault->kind == FAULT_MEMORY ? -ENOMEM : fault->err);
}

/* One run, and what must hold after it. */
static void try_once(const struct scenario *s, struct fault *fault, const char *label)
{
	void *state;
	int err;

	if (getenv("FAULT_LOG"))
		print_message("%s\n", label);
	fault_begin(fault);
	state = s->prepare();
	fault_arm();
	err = s->run(state);
	fault_disarm();
	fault->over = true;
	if (!is_allowed(s, fault, err))
		fail_msg("%s: error %d", label, err);
	s->expect(state, err);
	if (err) {
		fault_arm();
		err = s->run(state);
		fault_disarm();
		if (err)
			fail_msg("%s: and error %d when nothing fails any more", label, err);
		s->expect(state, 0);
	}
	s->end(state);
	if (fault_live_blocks(true))
		fail_msg("%s: %zu blocks of memory are lost", label, fault_live_blocks(false));
	fault_begin(NULL);
}

struct tally {
	uint64_t runs, met, sites;
	uint64_t number; /* of the one that is tried, for FAULT_AT */
};

static bool try_at(const struct scenario *s, const struct fault *proto, uint64_t at, uint64_t site,
		   bool from_then_on, struct tally *tally)
{
	struct fault fault = *proto;
	char label[160];

	fault.at = at;
	fault.site = site;
	fault.from_then_on = from_then_on;
	snprintf(label, sizeof(label), "%s: %s %llu%s fails %s (%d)", s->name,
		 kind_name(proto->kind), (unsigned long long)tally->number,
		 site ? " of all ways" : "", from_then_on ? "and all later ones" : "once",
		 proto->err);
	try_once(s, &fault, label);
	tally->runs++;
	tally->met += fault.met;
	return fault.met;
}

/* By number. */
static void try_calls(const struct scenario *s, const struct fault *proto, uint64_t step,
		      struct tally *tally)
{
	for (unsigned mode = 0; mode < 2; mode++)
		for (tally->number = 1; try_at(s, proto, tally->number, 0, mode, tally);)
			tally->number += step;
}

/* Its ways without a fault, which only makes more of them. */
static struct fault_sites *find_sites(const struct scenario *s)
{
	struct fault_sites *sites = calloc(1, sizeof(*sites));
	struct fault none = {.kind = FAULT_MEMORY, .sites = sites};

	assert_non_null(sites);
	try_once(s, &none, s->name);
	return sites;
}

/* False: it was there. */
static bool add_site(struct fault_sites *sites, uint64_t at, unsigned kind)
{
	for (size_t i = 0; i < sites->count; i++)
		if (sites->at[i] == at && sites->kind[i] == kind)
			return false;
	assert_true(sites->count < FAULT_SITES_MAX);
	sites->at[sites->count] = at;
	sites->kind[sites->count++] = kind;
	return true;
}

static void try_sites(const struct scenario *s, const struct fault *proto,
		      const struct fault_sites *sites, struct tally *tally)
{
	const char *only = getenv("FAULT_AT");
	size_t n = 0;

	for (size_t i = 0; i < sites->count; i++) {
		if (sites->kind[i] != proto->kind)
			continue;
		tally->number = ++n;
		if (only ? n != strtoull(only, NULL, 0) : n % SCENARIO_STEP != 0)
			continue;
		try_at(s, proto, 1, sites->at[i], false, tally);
		try_at(s, proto, 1, sites->at[i], true, tally);
	}
	tally->sites += n;
}

void scenario_try_new(const struct scenario *s, const struct fault *faults, size_t count,
		      struct fault_sites *met)
{
	const char *name = getenv("FAULT_SCENARIO"), *step = getenv("FAULT_STEP");
	struct fault_sites *sites, *fresh = calloc(1, sizeof(*fresh));
	struct fault none = {.kind = FAULT_MEMORY};
	struct tally tally = {0};
	void *state;

	assert_non_null(fresh);
	if (name && strcmp(name, s->name) != 0)
		goto out;
	/* What is made once for the process is there when blocks are counted. */
	fault_begin(&none);
	state = s->prepare();
	assert_int_equal(s->run(state), 0);
	s->expect(state, 0);
	s->end(state);
	sites = find_sites(s);
	for (size_t i = 0; i < sites->count; i++)
		if (add_site(met, sites->at[i], sites->kind[i]))
			add_site(fresh, sites->at[i], sites->kind[i]);
	free(sites);
	for (size_t i = 0; i < count; i++) {
		if (step)
			try_calls(s, &faults[i], pfs_max_u64(1, strtoull(step, NULL, 0)), &tally);
		else
			try_sites(s, &faults[i], fresh, &tally);
	}
	/* A single thread goes the same way again. */
	if (!step && tally.runs && tally.met == 0)
		fail_msg("%s: no call failed", s->name);
	if (tally.runs)
		print_message("%s: %llu ways, %llu runs, fault met in %llu\n", s->name,
			      (unsigned long long)tally.sites, (unsigned long long)tally.runs,
			      (unsigned long long)tally.met);
out:
	free(fresh);
}

void scenario_try(const struct scenario *s, const struct fault *faults, size_t count)
{
	struct fault_sites *met = calloc(1, sizeof(*met));

	assert_non_null(met);
	scenario_try_new(s, faults, count, met);
	if (met->count == 0 && !getenv("FAULT_SCENARIO"))
		fail_msg("%s: no call that could fail", s->name);
	free(met);
}

void scenario_try_all(const struct scenario *scenarios, size_t scenario_count,
		      const struct fault *faults, size_t count)
{
	for (size_t i = 0; i < scenario_count; i++)
		scenario_try(&scenarios[i], faults, count);
}
