/* Rank 1: making a dictionary from samples, with the trainer of libzstd (ZDICT), which LZ4's
 * documentation names for this. Pure. Built without libzstd, there is none to be had; using those
 * that are there needs none of this. */
#ifndef PFS_TRAIN_H
#define PFS_TRAIN_H

#include <sys/types.h>

#include "storage/base.h"

/* The version of libzstd; NULL: built without. */
const char *pfs_train_version(void);

/* Makes a dictionary of up to cap bytes from count samples, which lie in `samples` one after the
 * other. What is most worth comes last. Returns its length; -ENODATA: the samples have too little
 * in common, or are too few; -EOPNOTSUPP: built without libzstd; -ENOMEM. */
ssize_t pfs_train_samples(void *out, size_t cap, const void *samples, const size_t *lens,
			  size_t count);

#endif
