#include "storage/index_runs.h"

#include <stdlib.h>

int pfs_index_runs_add(struct pfs_index_runs *runs, const struct pfs_index_run *run)
{
	if (runs->count == runs->cap) {
		size_t cap = runs->cap ? 2 * runs->cap : 16;
		struct pfs_index_run *at = realloc(runs->at, cap * sizeof(*at));

		if (!at)
			return -ENOMEM;
		runs->at = at;
		runs->cap = cap;
	}
	runs->at[runs->count++] = *run;
	return 0;
}

static int by_number(const void *a, const void *b, void *arg)
{
	const struct pfs_index_run *at = arg, *x = &at[*(const uint32_t *)a],
				   *y = &at[*(const uint32_t *)b];

	return pfs_order(x->number, y->number);
}

int pfs_index_runs_finish(struct pfs_index_runs *runs)
{
	if (!runs->count)
		return 0;
	runs->by_number = malloc(runs->count * sizeof(*runs->by_number));
	if (!runs->by_number)
		return -ENOMEM;
	for (size_t i = 0; i < runs->count; i++)
		runs->by_number[i] = (uint32_t)i;
	qsort_r(runs->by_number, runs->count, sizeof(*runs->by_number), by_number, runs->at);
	for (size_t i = 1; i < runs->count; i++) {
		const struct pfs_index_run *below = &runs->at[runs->by_number[i - 1]];

		if (runs->at[runs->by_number[i]].number - below->number < below->count)
			return -EUCLEAN;
	}
	return 0;
}

void pfs_index_runs_free(struct pfs_index_runs *runs)
{
	free(runs->at);
	free(runs->by_number);
}

const struct pfs_index_run *pfs_index_runs_from(const struct pfs_index_runs *runs, uint32_t object)
{
	size_t from = 0, to = runs->count;

	while (from < to) {
		size_t mid = from + (to - from) / 2;

		if (runs->at[mid].first + (runs->at[mid].count - 1) < object)
			from = mid + 1;
		else
			to = mid;
	}
	return from < runs->count ? &runs->at[from] : NULL;
}

const struct pfs_index_run *pfs_index_runs_of(const struct pfs_index_runs *runs, uint32_t object)
{
	const struct pfs_index_run *run = pfs_index_runs_from(runs, object);

	return run && run->first <= object ? run : NULL;
}

uint32_t pfs_index_runs_find(const struct pfs_index_runs *runs, uint64_t number)
{
	const struct pfs_index_run *run;
	size_t from = 0, to = runs->count;

	while (from < to) {
		size_t mid = from + (to - from) / 2;

		if (runs->at[runs->by_number[mid]].number <= number)
			from = mid + 1;
		else
			to = mid;
	}
	if (from == 0)
		return 0;
	run = &runs->at[runs->by_number[from - 1]];
	return number - run->number < run->count ? run->first + (uint32_t)(number - run->number)
						 : 0;
}
