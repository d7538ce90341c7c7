#include "fs/importer.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "fs/clock.h"
#include "fs/import_sample.h"
#include "storage/json_scan.h"
#include "storage/monotonic.h"
#include "storage/ndjson.h"

#define ITEMS 64	     /* documents that are put at once */
#define ITEMS_BYTES PFS_MIB  /* or so many bytes of them */
#define HELD 4096	     /* documents that wait for a dictionary */
#define KEPT (256 * PFS_KIB) /* bytes that were taken last; what comes again must be the same */
#define WAIT_STEP_MS 100
#define LOGGED_MAX 20 /* refused lines of a stream that are logged one by one */

struct piece {
	struct piece *next;
	uint64_t off;
	size_t len;
	pfs_imported_fn *fn;
	void *arg;
	uint8_t data[];
};

struct pfs_import {
	struct pfs_import_env env;

	pthread_mutex_t lock;
	pthread_cond_t arrived; /* monotonic clock */
	struct piece *pieces;	/* under lock, like the next one: by offset */
	bool working;		/* there is a job */

	/* Of the job. */
	uint64_t next_off; /* bytes before it have been taken */
	uint8_t *kept;	   /* the last KEPT of them: that of offset n at n % KEPT */
	uint8_t *rest;	   /* those that are not parsed yet */
	size_t rest_len, rest_cap;
	size_t fed, feed; /* of rest: what the reader has, may have */
	bool at_end;
	bool skipping; /* the line is too long: what comes of it is dropped */
	struct pfs_ndjson *reader;
	uint64_t logged;
	int64_t time_ns; /* one for all that is imported: that takes no bytes */

	/* Documents to be put together; their payloads lie in `payloads`. */
	struct pfs_import_sample sample;
	struct pfs_put_item *items;
	uint64_t *lines;
	size_t count, cap; /* cap: HELD while a sample may be wanted, else ITEMS */
	uint8_t *payloads;
	size_t payloads_len, payloads_cap;
};

static ssize_t feed(void *arg, void *buf, size_t cap)
{
	struct pfs_import *import = arg;
	size_t n = pfs_min_u64(cap, import->feed - import->fed);

	if (n == 0)
		return import->at_end ? 0 : -EAGAIN;
	memcpy(buf, import->rest + import->fed, n);
	import->fed += n;
	return (ssize_t)n;
}

/* The last of it. */
static void free_buffers(struct pfs_import *import)
{
	pfs_import_sample_end(&import->sample);
	free(import->items);
	free(import->lines);
	free(import->payloads);
	free(import->rest);
	free(import->kept);
	free(import);
}

int pfs_import_new(struct pfs_import **out, const struct pfs_import_env *env)
{
	struct pfs_import *import = calloc(1, sizeof(*import));
	int err;

	*out = NULL;
	if (!import)
		return -ENOMEM;
	pfs_import_sample_begin(&import->sample, env->store);
	import->cap = import->sample.wanted ? HELD : ITEMS;
	import->kept = malloc(KEPT);
	import->items = malloc(import->cap * sizeof(*import->items));
	import->lines = malloc(import->cap * sizeof(*import->lines));
	err = import->kept && import->items && import->lines
		      ? pfs_ndjson_open_source(&import->reader, feed, import)
		      : -ENOMEM;
	if (err) {
		free_buffers(import);
		return err;
	}
	import->env = *env;
	pthread_mutex_init(&import->lock, NULL);
	pfs_monotonic_cond_init(&import->arrived);
	import->time_ns = pfs_now_ns();
	*out = import;
	return 0;
}

/* ---- what is refused ---- */

static void refuse(struct pfs_import *import, uint64_t line, const char *why)
{
	struct pfs_import_totals *totals = import->env.totals;
	char text[sizeof(totals->last_error)];

	snprintf(text, sizeof(text), "line %" PRIu64 ": %s", line, why);
	pthread_mutex_lock(&totals->lock);
	totals->refused++;
	totals->changed_ns = pfs_realtime_ns();
	memcpy(totals->last_error, text, sizeof(text));
	pthread_mutex_unlock(&totals->lock);
	if (import->logged++ < LOGGED_MAX)
		pfs_logf(import->env.logger, PFS_LOG_WARNING,
			 ".payloadfs/import: %s: not imported; mend the line and write it again%s",
			 text, import->logged == LOGGED_MAX ? " (more are only counted)" : "");
}

static const char *put_error(int err)
{
	switch (err) {
	case -EROFS: return "the store is read-only";
	case -ENOSPC: return "no space left on the filesystem of the store";
	case -EFBIG: return "larger than 1 GiB";
	default: return strerror(-err);
	}
}

/* ---- putting ---- */

static void tell(struct pfs_import *import, size_t from, size_t count)
{
	struct pfs_serve_change changes[ITEMS];
	struct pfs_import_totals *totals = import->env.totals;
	uint64_t bytes = 0;

	if (!count)
		return;
	for (size_t i = 0; i < count; i++) {
		changes[i].key = import->items[from + i].key;
		changes[i].replaced = import->items[from + i].replaced;
		bytes += import->items[from + i].len;
	}
	import->env.changed(import->env.arg, changes, count);
	pthread_mutex_lock(&totals->lock);
	totals->documents += count;
	totals->bytes += bytes;
	totals->changed_ns = pfs_realtime_ns();
	pthread_mutex_unlock(&totals->lock);
}

/* Puts what is gathered. The first error, when one is not the document's own: then nothing behind
 * it is put. */
static int put_gathered(struct pfs_import *import)
{
	const struct pfs_attr attr = {.mtime_ns = import->time_ns};
	size_t done = 0;
	int result = 0;

	if (import->count && !*import->env.stopping)
		pfs_import_sample_train(&import->sample, import->env.store);
	for (size_t i = 0, off = 0; i < import->count; off += import->items[i++].len) {
		import->items[i].data = import->payloads + off;
		import->items[i].attr = &attr;
		import->items[i].flags = PFS_PUT_NEW_OBJECT | PFS_PUT_MTIME_ONLY;
		import->items[i].replaced = 0;
	}
	while (done < import->count) {
		int err = 0;
		size_t count = pfs_min_u64(import->count - done, ITEMS);
		size_t put = pfs_put_many(import->env.store, &import->items[done], count, &err);

		tell(import, done, put);
		done += put;
		if (put == count)
			continue;
		refuse(import, import->lines[done], put_error(err));
		result = result ? result : err;
		if (!pfs_put_is_own_fault(err))
			break;
		done++;
	}
	import->count = 0;
	import->payloads_len = 0;
	return result;
}

static int gather(struct pfs_import *import, const struct pfs_ndjson_doc *doc)
{
	size_t need = import->payloads_len + doc->len;

	if (need > import->payloads_cap) {
		size_t cap = pfs_max_u64(need, 2 * import->payloads_cap);
		uint8_t *payloads = realloc(import->payloads, cap);

		if (!payloads)
			return -ENOMEM;
		import->payloads = payloads;
		import->payloads_cap = cap;
	}
	memcpy(import->payloads + import->payloads_len, doc->payload, doc->len);
	import->payloads_len = need;
	import->lines[import->count] = doc->line;
	import->items[import->count++] = (struct pfs_put_item){.key = doc->key, .len = doc->len};
	pfs_import_sample_add(&import->sample, doc->payload, doc->len);
	if (import->count < (import->sample.wanted ? import->cap : ITEMS) &&
	    import->payloads_len < ITEMS_BYTES)
		return 0;
	return put_gathered(import);
}

/* Imports all that the reader may have now. The first error; after one of the store the rest is
 * still parsed, so that lines are counted, but not put. */
static int parse(struct pfs_import *import)
{
	struct pfs_ndjson_doc doc;
	bool broken = false;
	int result = 0, more, err;

	while ((more = pfs_ndjson_next(import->reader, &doc)) == 1 || more == -EBADMSG) {
		err = 0;
		if (more == -EBADMSG) {
			const struct pfs_ndjson_fault *fault = pfs_ndjson_fault(import->reader);

			refuse(import, fault->line, fault->text);
			err = -EINVAL;
		} else if (!broken) {
			err = *import->env.stopping ? -ESHUTDOWN : gather(import, &doc);
			broken = err && !pfs_put_is_own_fault(err);
		}
		result = result ? result : err;
	}
	err = put_gathered(import);
	result = result ? result : err;
	if (more < 0 && more != -EAGAIN && !result)
		result = more;
	return result;
}

/* ---- pieces ---- */

/* How much of the rest, of which the last len bytes are new, is whole lines. */
static size_t lines_len(const struct pfs_import *import, size_t len)
{
	const uint8_t *rest = import->rest;
	const uint8_t *newline = memrchr(rest + import->rest_len - len, '\n', len);

	return newline ? (size_t)(newline + 1 - rest) : 0;
}

/* Whether the rest, of which all lines are taken, can be taken as well: it is a record, for the
 * last one needs no newline, or white space. */
static bool is_whole(const struct pfs_import *import)
{
	const uint8_t *p = import->rest, *end = p + import->rest_len;
	struct pfs_json_scan scan;

	while (end > p && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
		end--;
	if (pfs_ndjson_is_inside(import->reader) || (end > p && end[-1] != '}'))
		return false;
	return end == p ||
	       (pfs_json_scan_value(&scan, pfs_json_skip_space(p, end), end, true) == PFS_JSON_OK &&
		scan.at == end);
}

/* Imports the first len bytes of the rest. */
static int parse_rest(struct pfs_import *import, size_t len)
{
	int err;

	import->feed = len;
	import->fed = 0;
	err = parse(import);
	memmove(import->rest, import->rest + len, import->rest_len - len);
	import->rest_len -= len;
	import->feed = import->fed = 0;
	return err;
}

/* Keeps the bytes at off for comparison, or compares them (false: they are others). At most KEPT.
 */
static void keep(struct pfs_import *import, uint64_t off, const uint8_t *data, size_t len)
{
	size_t at = off % KEPT, first = pfs_min_u64(len, KEPT - at);

	memcpy(import->kept + at, data, first);
	memcpy(import->kept, data + first, len - first);
}

static bool is_kept(const struct pfs_import *import, uint64_t off, const uint8_t *data, size_t len)
{
	size_t at = off % KEPT, first = pfs_min_u64(len, KEPT - at);

	return memcmp(import->kept + at, data, first) == 0 &&
	       memcmp(import->kept, data + first, len - first) == 0;
}

static int take(struct pfs_import *import, const uint8_t *data, size_t len)
{
	size_t need = import->rest_len + len;
	int err;

	if (need > import->rest_cap) {
		size_t cap = pfs_max_u64(need, 2 * import->rest_cap);
		uint8_t *rest = realloc(import->rest, cap);

		if (!rest)
			return -ENOMEM;
		import->rest = rest;
		import->rest_cap = cap;
	}
	memcpy(import->rest + import->rest_len, data, len);
	import->rest_len = need;
	import->next_off += len;
	err = parse_rest(import, lines_len(import, len));
	if (import->rest_len > 0 && is_whole(import)) {
		int last = parse_rest(import, import->rest_len);

		err = err ? err : last;
	}
	return err;
}

/* Drops what belongs to a line that is too long, up to its newline: how much of the data. What has
 * come of it before is refused with the first that is too much. */
static size_t skip_line(struct pfs_import *import, const uint8_t *data, size_t len)
{
	const uint8_t *newline = memchr(data, '\n', len);
	size_t skipped = newline ? (size_t)(newline - data) : len;

	if (!import->skipping)
		refuse(import, pfs_ndjson_line(import->reader), "longer than a record may be");
	import->skipping = !newline;
	import->rest_len = 0;
	import->next_off += skipped;
	return skipped;
}

/* Takes what is new of a piece. */
static int take_new(struct pfs_import *import, const uint8_t *data, size_t len)
{
	size_t skipped = 0;
	int err = 0;

	if (import->skipping || import->rest_len + len > PFS_NDJSON_RECORD_MAX)
		skipped = skip_line(import, data, len);
	if (skipped < len)
		err = take(import, data + skipped, len - skipped);
	return skipped ? -EFBIG : err;
}

static int refuse_piece(const struct pfs_import *import, uint64_t from, uint64_t to,
			const char *what)
{
	pfs_logf(import->env.logger, PFS_LOG_WARNING,
		 ".payloadfs/import: bytes %" PRIu64 " to %" PRIu64
		 " were %s: what comes with or behind them is not imported; write it as one stream",
		 from, to, what);
	return -EINVAL;
}

/* What was taken before comes again when the kernel writes whole pages. */
static int take_piece(struct pfs_import *import, const struct piece *piece)
{
	uint64_t again = pfs_min_u64(import->next_off - piece->off, piece->len);
	size_t len = piece->len - (size_t)again, kept = pfs_min_u64(len, KEPT);

	if (again && (import->next_off - piece->off > KEPT ||
		      !is_kept(import, piece->off, piece->data, (size_t)again)))
		return refuse_piece(import, piece->off, piece->off + again,
				    "written once more, with others");
	keep(import, piece->off + piece->len - kept, piece->data + piece->len - kept, kept);
	return len ? take_new(import, piece->data + again, len) : 0;
}

static void answer(struct piece *piece, int err)
{
	piece->fn(piece->arg, err);
	free(piece);
}

static bool wait_a_little(struct pfs_import *import)
{
	const struct timespec until = pfs_monotonic_in_ms(WAIT_STEP_MS);

	return pthread_cond_timedwait(&import->arrived, &import->lock, &until) == 0;
}

/* Waits for another piece before the first one. False: none came, or the mount is ending. Under the
 * lock. */
static bool wait_for_piece(struct pfs_import *import)
{
	const struct piece *first = import->pieces;
	unsigned waited = 0;

	while (import->pieces == first && waited < PFS_IMPORT_GAP_MS && !*import->env.stopping)
		if (!wait_a_little(import))
			waited += WAIT_STEP_MS;
	return import->pieces != first;
}

/* Takes the next piece. Under the lock, which is let go meanwhile. */
static int take_next(struct pfs_import *import, struct piece *piece)
{
	bool missing = piece->off > import->next_off;
	int err;

	import->pieces = piece->next;
	pthread_mutex_unlock(&import->lock);
	if (missing)
		err = refuse_piece(import, import->next_off, piece->off, "not written");
	else
		err = take_piece(import, piece);
	pthread_mutex_lock(&import->lock);
	return err;
}

/* Takes the pieces that are there, in order. With the answer to the last of them the stream may be
 * gone. */
static void work(void *arg)
{
	struct pfs_import *import = arg;
	bool last = false;

	while (!last) {
		struct piece *piece;
		int err;

		pthread_mutex_lock(&import->lock);
		while (import->pieces->off > import->next_off && wait_for_piece(import))
			;
		piece = import->pieces;
		err = take_next(import, piece);
		last = !import->pieces;
		if (last)
			import->working = false;
		pthread_mutex_unlock(&import->lock);
		answer(piece, err);
	}
}

void pfs_import_add(struct pfs_import *import, uint64_t off, const void *data, size_t len,
		    pfs_imported_fn *fn, void *arg)
{
	struct piece *piece = malloc(sizeof(*piece) + len), **at;
	int err = 0;

	if (!piece) {
		fn(arg, -ENOMEM);
		return;
	}
	*piece = (struct piece){.off = off, .len = len, .fn = fn, .arg = arg};
	memcpy(piece->data, data, len);
	pthread_mutex_lock(&import->lock);
	for (at = &import->pieces; *at && (*at)->off <= off; at = &(*at)->next)
		;
	piece->next = *at;
	*at = piece;
	if (!import->working) {
		err = pfs_jobs_submit(import->env.jobs, work, import);
		import->working = err == 0;
		if (err)
			*at = piece->next;
	}
	pthread_cond_signal(&import->arrived);
	pthread_mutex_unlock(&import->lock);
	if (err)
		answer(piece, err);
}

int pfs_import_check(struct pfs_import *import)
{
	uint64_t line;
	bool inside;

	pthread_mutex_lock(&import->lock);
	inside = !import->working && (import->rest_len > 0 || pfs_ndjson_is_inside(import->reader));
	line = inside ? pfs_ndjson_line(import->reader) : 0;
	pthread_mutex_unlock(&import->lock);
	if (!inside)
		return 0;
	pfs_logf(import->env.logger, PFS_LOG_WARNING,
		 ".payloadfs/import: line %" PRIu64
		 ": what was written so far ends inside it: it is not imported yet",
		 line);
	return -EINVAL;
}

void pfs_import_free(struct pfs_import *import)
{
	if (!import)
		return;
	import->feed = import->rest_len;
	import->fed = 0;
	import->at_end = true;
	parse(import);
	pfs_ndjson_close(import->reader);
	pthread_cond_destroy(&import->arrived);
	pthread_mutex_destroy(&import->lock);
	free_buffers(import);
}
