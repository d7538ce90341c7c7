/* Checking the documents of an open store: every one is read and verified, whatever happens to the
 * store meanwhile. */
#include <stdlib.h>

#include "storage/store_internal.h"

#define CHECK_BATCH 256
#define CHECK_READ PFS_MIB

/* Reads the whole document. 0, or the error that it gave; one that goes away meanwhile is no
 * finding. */
static int read_whole(struct pfs_store *store, uint32_t object, uint8_t *buf, uint64_t *bytes)
{
	uint64_t off = 0;
	ssize_t n;

	do {
		n = pfs_read(store, object, off, buf, CHECK_READ);
		if (n > 0)
			off += (uint64_t)n;
	} while (n > 0);
	*bytes += off;
	return n == -ENOENT ? 0 : (int)n;
}

static void report(pfs_finding_fn *fn, void *arg, const struct pfs_key *key, int err)
{
	struct pfs_finding finding = {.fatal = true, .key = *key};

	snprintf(finding.where, sizeof(finding.where), "document");
	snprintf(finding.text, sizeof(finding.text), "can't be read: %s", strerror(-err));
	if (fn)
		fn(arg, &finding);
}

int pfs_store_check(struct pfs_store *store, pfs_finding_fn *fn, pfs_progress_fn *progress,
		    void *arg, struct pfs_check_result *result)
{
	struct pfs_listed *listed = malloc(CHECK_BATCH * sizeof(*listed));
	uint8_t *buf = malloc(CHECK_READ);
	struct pfs_store_stat stat;
	uint64_t after = 0;
	ssize_t n = 0;
	int err = listed && buf ? pfs_store_stat(store, &stat) : -ENOMEM;

	*result = (struct pfs_check_result){0};
	while (!err && (n = pfs_list(store, after, listed, CHECK_BATCH)) > 0) {
		for (ssize_t i = 0; i < n && !err; i++) {
			int found = read_whole(store, listed[i].object, buf, &result->bytes);

			result->documents++;
			after = listed[i].cookie;
			/* That there was no memory says nothing about the document. */
			if (found == -ENOMEM)
				err = found;
			if (!found || err)
				continue;
			result->damaged++;
			result->findings++;
			report(fn, arg, &listed[i].key, found);
		}
		if (progress)
			progress(arg, result->bytes, pfs_max_u64(stat.raw_bytes, result->bytes));
	}
	if (!err) {
		result->pages = stat.pages;
		err = n < 0 ? (int)n : 0;
	}
	free(listed);
	free(buf);
	return err;
}
