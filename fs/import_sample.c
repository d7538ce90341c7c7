#include "fs/import_sample.h"

#include <stdlib.h>

void pfs_import_sample_begin(struct pfs_import_sample *sample, struct pfs_store *store)
{
	struct pfs_store_stat stat;

	*sample = (struct pfs_import_sample){.wanted = false};
	if (pfs_store_stat(store, &stat) || stat.dictionary || stat.dictionary_off ||
	    !stat.dictionary_trainer || stat.read_only)
		return;
	sample->bytes = malloc(PFS_TRAIN_FROM_BYTES);
	sample->lens = malloc(PFS_TRAIN_FROM_COUNT * sizeof(*sample->lens));
	if (sample->bytes && sample->lens)
		sample->wanted = true;
	else
		pfs_import_sample_end(sample);
}

void pfs_import_sample_end(struct pfs_import_sample *sample)
{
	free(sample->bytes);
	free(sample->lens);
	*sample = (struct pfs_import_sample){.wanted = false};
}

void pfs_import_sample_add(struct pfs_import_sample *sample, const void *data, size_t len)
{
	if (!sample->wanted || len > PFS_TRAIN_FROM_BYTES - sample->used ||
	    sample->count == PFS_TRAIN_FROM_COUNT)
		return;
	memcpy(sample->bytes + sample->used, data, len);
	sample->lens[sample->count++] = len;
	sample->used += len;
}

void pfs_import_sample_train(struct pfs_import_sample *sample, struct pfs_store *store)
{
	struct pfs_train_result result;

	if (!sample->wanted || sample->count < PFS_TRAIN_POINTS_MIN ||
	    sample->used < PFS_TRAIN_RAW_MIN)
		return;
	(void)pfs_train_from(store, sample->bytes, sample->lens, sample->count, &result);
	pfs_import_sample_end(sample);
}
