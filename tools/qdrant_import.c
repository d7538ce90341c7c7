#include "tools/qdrant_import.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "storage/exit_codes.h"
#include "tools/report.h"

#define REPORTED_MAX 20 /* rejects that are printed; the file has all */
#define STOPPED 1

static void on_note(void *arg, const char *line)
{
	struct qdrant_import *import = arg;

	if (import->progress)
		progress_hide(import->progress);
	complain("%s", line);
}

int qdrant_import_open(struct qdrant_import *import)
{
	struct pfs_reason reason = {""};
	int err;

	import->notes = (struct qdrant_notes){on_note, import};
	err = qdrant_open(&import->qdrant, import->path, import->offset_ids, &import->notes,
			  &reason);
	if (!err)
		return PFS_EXIT_OK;
	if (reason.text[0])
		complain("%s", reason.text);
	else
		complain("%s: %s", import->path, strerror(-err));
	return err == -EBUSY ? PFS_EXIT_LOCKED : PFS_EXIT_IO;
}

void qdrant_import_close(struct qdrant_import *import)
{
	qdrant_close(import->qdrant);
	free(import->rejects_path);
	import->qdrant = NULL;
	import->rejects_path = NULL;
}

/* ---- rejects ---- */

/* A name that is not there yet, so that nothing of an earlier import is lost. */
static char *free_name(void)
{
	char *path = strdup(QDRANT_REJECTS_NAME);

	for (unsigned i = 1; path && access(path, F_OK) == 0; i++) {
		free(path);
		if (asprintf(&path, "qdrant-rejects-%u.ndjson", i) < 0)
			path = NULL;
	}
	return path;
}

static int open_rejects(struct qdrant_import *import)
{
	int err;

	if (import->rejects_path)
		return 0;
	import->rejects_path = import->rejects ? strdup(import->rejects) : free_name();
	if (!import->rejects_path)
		return -ENOMEM;
	err = output_open(&import->out, import->rejects_path);
	if (err) {
		free(import->rejects_path);
		import->rejects_path = NULL;
	}
	return err;
}

static int write_reject(struct output *out, const struct qdrant_item *item)
{
	const char *quote = item->key.kind == PFS_KEY_NUM ? "" : "\"";
	bool has_key = item->key.kind != PFS_KEY_NONE;
	char text[PFS_NAME_MAX + 80];
	int err;

	snprintf(text, sizeof(text), has_key ? "{\"id\":%s%s%s," : "{", quote,
		 has_key ? key_text(&item->key).text : "", quote);
	err = output_text(out, text);
	if (!err && item->payload) {
		err = output_text(out, "\"payload\":");
		if (!err)
			err = output_write(out, item->payload, item->len);
		if (!err)
			err = output_text(out, ",");
	}
	if (!err)
		err = output_text(out, "\"reason\":");
	if (!err)
		err = output_json_string(out, item->reason);
	if (!err && item->file) {
		err = output_text(out, ",\"file\":");
		if (!err)
			err = output_json_string(out, item->file);
		snprintf(text, sizeof(text), ",\"offset\":%" PRIu64 ",\"length\":%" PRIu64,
			 item->offset, item->length);
		if (!err)
			err = output_text(out, text);
	}
	if (!err && item->stored && !item->payload) {
		err = output_text(out, ",\"bytes\":\"");
		if (!err)
			err = output_base64(out, item->stored, item->stored_len);
		if (!err)
			err = output_text(out, "\"");
	}
	return err ? err : output_text(out, "}\n");
}

static void report_reject(struct qdrant_import *import, const struct qdrant_item *item)
{
	const char *file = item->file ? item->file : import->path;

	if (++import->aside > REPORTED_MAX)
		return;
	progress_hide(import->progress);
	if (item->key.kind != PFS_KEY_NONE)
		complain("%s: byte %" PRIu64 ": point %s: %s", file, item->offset,
			 key_text(&item->key).text, item->reason);
	else
		complain("%s: byte %" PRIu64 ": %s", file, item->offset, item->reason);
}

static int reject(struct qdrant_import *import, const struct qdrant_item *item)
{
	int err = open_rejects(import);

	if (!err) {
		report_reject(import, item);
		err = write_reject(&import->out, item);
	}
	if (err) {
		import->out_failed = true;
		progress_hide(import->progress);
		complain("%s: %s: what can't be imported needs a file to be kept in: see "
			 "--rejects",
			 import->rejects_path ? import->rejects_path
			 : import->rejects    ? import->rejects
					      : QDRANT_REJECTS_NAME,
			 strerror(-err));
		return err;
	}
	return import->stop_on_error ? STOPPED : 0;
}

/* ---- points ---- */

static int on_item(void *arg, const struct qdrant_item *item, uint64_t done, uint64_t total)
{
	struct qdrant_import *import = arg;
	struct target_where where = {.file = import->path};

	import->progress->total = total;
	progress_update(import->progress, done, *import->stored);
	if (!item->good)
		return reject(import, item);
	import->bytes += item->len;
	import->err =
		sampler_add(import->sampler, &item->key, item->payload, item->len, NULL, &where);
	return import->err;
}

/* What should be said besides, and whether all that was there has been read. */
static bool complete(const struct qdrant_import *import)
{
	const struct qdrant_stat *stat = qdrant_stat(import->qdrant);

	if (import->aside > REPORTED_MAX)
		complain("%s: %" PRIu64 " more like these", import->rejects_path,
			 import->aside - REPORTED_MAX);
	if (stat->unversioned)
		complain("%s: the last change of %" PRIu64 " point%s was interrupted: they are "
			 "imported as they are; start this Qdrant and stop it properly to get "
			 "what its write-ahead log has of them",
			 import->path, stat->unversioned, pfs_plural(stat->unversioned));
	if (import->aside)
		complain("%s: holds the %" PRIu64
			 " thing%s that could not be imported; `payloadctl "
			 "import` takes the lines with id and payload, after a look at them",
			 import->rejects_path, import->aside, pfs_plural(import->aside));
	return !import->aside && !stat->unversioned && !stat->unread && !stat->damaged;
}

int qdrant_import_run(struct qdrant_import *import)
{
	int err = qdrant_read(import->qdrant, on_item, import), result = PFS_EXIT_OK;

	progress_hide(import->progress);
	if (err < 0 && !import->err && !import->out_failed) {
		complain("%s: %s", import->path, strerror(-err));
		result = PFS_EXIT_IO;
	}
	if (import->rejects_path) {
		err = import->out_failed ? 0 : output_commit(&import->out);
		if (err)
			complain("%s: %s", import->rejects_path, strerror(-err));
		if (err || import->out_failed)
			result = PFS_EXIT_IO;
		output_close(&import->out);
	} else if (import->out_failed) {
		result = PFS_EXIT_IO;
	}
	if (!result && !complete(import))
		result = PFS_EXIT_SOME;
	return result;
}
