/* Rank 1: imports what is written to the file `import` of the control directory.
 *
 * What is written arrives in pieces (the kernel's write-back), of which several may be under way at
 * once. They are put in order by their offsets, and parsed as one stream of NDJSON or scroll bodies
 * (storage/ndjson.h): the complete lines of it are imported at once, the rest is kept for the next
 * piece. A last line without newline counts as complete when it is.
 *
 * A line that is refused is logged with its number and reason and makes the piece fail; the lines
 * before and behind it are imported. Bytes that come a second time (the kernel writes whole pages)
 * are passed over when they are the same, else refused. So is a piece before which others are
 * missing for PFS_IMPORT_GAP_MS.
 *
 * A store that has no dictionary gets one from the first documents, as soon as these are enough for
 * it (fs/import_sample.h).
 *
 * Threads. pfs_import_add from any; the rest is done in one job at a time for each stream. */
#ifndef PFS_IMPORTER_H
#define PFS_IMPORTER_H

#include "fs/jobs.h"
#include "fs/serve.h"

#define PFS_IMPORT_GAP_MS 10000

struct pfs_import;

/* Over all streams, since mounting. */
struct pfs_import_totals {
	pthread_mutex_t lock;
	/* Under lock. */
	uint64_t documents, bytes, refused; /* imported; lines that were not */
	char last_error[320];		    /* empty: none so far */
	int64_t changed_ns;
};

struct pfs_import_env {
	struct pfs_store *store;
	struct pfs_jobs *jobs;
	const struct pfs_logger *logger;
	struct pfs_import_totals *totals;
	const _Atomic bool *stopping;
	void (*changed)(void *arg, const struct pfs_serve_change *changes, size_t count);
	void *arg;
};

/* A stream. The env is copied, what it names is borrowed. -ENOMEM. */
int pfs_import_new(struct pfs_import **out, const struct pfs_import_env *env);

/* Called once for each piece, when it is imported or refused: 0 or why it was not, or not whole.
 * -EINVAL: a line was refused. */
typedef void pfs_imported_fn(void *arg, int err);

/* Copies the piece. */
void pfs_import_add(struct pfs_import *import, uint64_t off, const void *data, size_t len,
		    pfs_imported_fn *fn, void *arg);

/* -EINVAL: what was written so far ends inside a line or record; logged with its number. While
 * pieces are at work that is not known yet, and no error. */
int pfs_import_check(struct pfs_import *import);

/* The end of the stream: a rest that is not complete is refused and logged. No piece is under way.
 * May be NULL. */
void pfs_import_free(struct pfs_import *import);

#endif
