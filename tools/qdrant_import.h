/* `import --qdrant`: the points of a stopped Qdrant into a target, and what can't be imported into
 * a file of rejects.
 *
 * That file is NDJSON, an object a line: "id" where it is known, "payload" where it can be decoded,
 * "reason", and "file", "offset", "length" of where it lies; where there is no payload, the "bytes"
 * there in base64. So `payloadctl import` takes the lines that have both id and payload, once
 * somebody has looked at them, and refuses the others. */
#ifndef TOOLS_QDRANT_IMPORT_H
#define TOOLS_QDRANT_IMPORT_H

#include "tools/output.h"
#include "tools/progress.h"
#include "tools/qdrant.h"
#include "tools/sampler.h"

#define QDRANT_REJECTS_NAME "qdrant-rejects.ndjson"

struct qdrant_import {
	/* Set by the caller. */
	const char *path;    /* what is imported */
	const char *rejects; /* NULL: QDRANT_REJECTS_NAME in the current directory, or a name with a
				number when that is there */
	bool offset_ids, stop_on_error;
	struct sampler *sampler; /* of the target */
	struct progress *progress;
	const uint64_t *stored; /* documents, for the progress */

	/* What came of it. */
	uint64_t aside, bytes; /* rejects; bytes of payloads that were imported */
	int err;	       /* of the target */

	struct qdrant *qdrant;
	struct qdrant_notes notes;
	struct output out;
	char *rejects_path; /* NULL: there are none */
	bool out_failed;
};

/* Opens what is to be imported. Returns 0 or the exit code (the complaint is printed). */
int qdrant_import_open(struct qdrant_import *import);

/* Imports all of it into the target (which stays to be flushed and synced), and completes the file
 * of rejects. Returns the exit code, import->err apart. */
int qdrant_import_run(struct qdrant_import *import);

void qdrant_import_close(struct qdrant_import *import);

#endif
