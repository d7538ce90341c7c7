#include "fs/points.h"

#include <pthread.h>
#include <stdlib.h>

#include "storage/export_line.h"

#define LIST_STEP 64 /* names of a mark */
#define CURSORS 4    /* places that readers have come to */
#define PIECE 3072   /* bytes of a payload that are put into base64 at once; a multiple of 3 */

/* What stands at a cookie of the listing; two bits. */
enum kind { KIND_NONE, KIND_PLAIN, KIND_BASE64, KIND_DAMAGED };

/* The line at `off` is that of the first point behind the cookie `after`. */
struct mark {
	uint64_t off, after;
};

/* Of a sequence of the store. Constant once it is complete. */
struct sums {
	unsigned refs; /* points->lock */
	uint64_t sequence, size;
	uint8_t *kinds; /* four cookies a byte */
	uint64_t kinds_len;
	struct mark *marks;
	size_t mark_count, mark_cap;
};

struct pfs_moment {
	unsigned refs; /* points->lock */
	struct pfs_snapshot *snapshot;
	struct pfs_snapshot_info info;
	struct sums *sums;
	pthread_mutex_t lock;
	struct mark cursors[CURSORS]; /* under lock */
	unsigned next_cursor;
};

struct pfs_points {
	struct pfs_store *store;
	const struct pfs_logger *logger;
	pthread_mutex_t looking; /* held by the one who looks; before lock */
	pthread_mutex_t lock;
	struct pfs_moment *newest; /* under lock; not a reference */
	struct sums *known;	   /* under lock: the last that were made, a reference */
};

int pfs_points_new(struct pfs_points **out, struct pfs_store *store,
		   const struct pfs_logger *logger)
{
	struct pfs_points *points = calloc(1, sizeof(*points));

	*out = points;
	if (!points)
		return -ENOMEM;
	points->store = store;
	points->logger = logger;
	pthread_mutex_init(&points->looking, NULL);
	pthread_mutex_init(&points->lock, NULL);
	return 0;
}

static void free_sums(struct sums *sums)
{
	if (!sums)
		return;
	free(sums->kinds);
	free(sums->marks);
	free(sums);
}

/* Under points->lock. */
static void unref_sums(struct sums *sums)
{
	if (sums && --sums->refs == 0)
		free_sums(sums);
}

void pfs_points_free(struct pfs_points *points)
{
	if (!points)
		return;
	unref_sums(points->known);
	pthread_mutex_destroy(&points->lock);
	pthread_mutex_destroy(&points->looking);
	free(points);
}

/* ---- sums ---- */

static enum kind kind_at(const struct sums *sums, uint64_t cookie)
{
	if (cookie / 4 >= sums->kinds_len)
		return KIND_NONE;
	return sums->kinds[cookie / 4] >> (cookie % 4 * 2) & 3;
}

static int set_kind(struct sums *sums, uint64_t cookie, enum kind kind)
{
	if (cookie / 4 >= sums->kinds_len) {
		uint64_t len = pfs_max_u64(cookie / 4 + 1, sums->kinds_len * 2 + 4096);
		uint8_t *kinds = realloc(sums->kinds, len);

		if (!kinds)
			return -ENOMEM;
		memset(kinds + sums->kinds_len, 0, len - sums->kinds_len);
		sums->kinds = kinds;
		sums->kinds_len = len;
	}
	sums->kinds[cookie / 4] |= (uint8_t)(kind << (cookie % 4 * 2));
	return 0;
}

static int add_mark(struct sums *sums, uint64_t after)
{
	if (sums->mark_count == sums->mark_cap) {
		size_t cap = sums->mark_cap ? 2 * sums->mark_cap : 64;
		struct mark *marks = realloc(sums->marks, cap * sizeof(*marks));

		if (!marks)
			return -ENOMEM;
		sums->marks = marks;
		sums->mark_cap = cap;
	}
	sums->marks[sums->mark_count++] = (struct mark){.off = sums->size, .after = after};
	return 0;
}

/* What stands around the payload of a kind; a damaged one has none. */
static void frame(struct pfs_line *line, const struct pfs_key *key, enum kind kind)
{
	pfs_line_frame(line, key, kind != KIND_BASE64);
	if (kind != KIND_DAMAGED)
		return;
	line->head_len -= strlen(",\"payload\":");
	line->tail = ",\"error\":\"damaged\"}\n";
	line->tail_len = strlen(line->tail);
}

static uint64_t body_len(enum kind kind, uint64_t size)
{
	return kind == KIND_DAMAGED ? 0 : pfs_line_body_len(kind == KIND_PLAIN, size);
}

/* Looks at the bytes. */
static int inspect(struct pfs_snapshot *snapshot, const struct pfs_key *key, enum kind *kind,
		   uint64_t *size)
{
	void *data;
	size_t len;
	int err = pfs_snapshot_get(snapshot, key, &data, &len, NULL);

	if (err == -EIO || err == -EUCLEAN) {
		*kind = KIND_DAMAGED;
		*size = 0;
		return 0;
	}
	if (err)
		return err;
	*kind = pfs_line_is_plain(data, len) ? KIND_PLAIN : KIND_BASE64;
	*size = len;
	free(data);
	return 0;
}

/* The kind and size of a point; known: what an earlier look has found, or NULL. */
static int look_at(struct pfs_snapshot *snapshot, const struct sums *known,
		   const struct pfs_snapshot_name *name, enum kind *kind, uint64_t *size)
{
	struct pfs_attr attr;
	uint64_t sequence;
	bool line;

	/* That it can be read is found out when it is. */
	if (pfs_snapshot_glance(snapshot, &name->key, size, &line) == 0) {
		*kind = line ? KIND_PLAIN : KIND_BASE64;
		return 0;
	}
	*kind = known ? kind_at(known, name->cookie) : KIND_NONE;
	if (*kind == KIND_PLAIN || *kind == KIND_BASE64) {
		/* A name keeps its cookie; what was given to it since has a higher sequence. */
		if (pfs_snapshot_lookup_change(snapshot, &name->key, &attr, &sequence) == 0 &&
		    sequence <= known->sequence) {
			*size = attr.size;
			return 0;
		}
	}
	return inspect(snapshot, &name->key, kind, size);
}

static int add_point(struct pfs_points *points, struct sums *sums, struct pfs_snapshot *snapshot,
		     const struct sums *known, const struct pfs_snapshot_name *name)
{
	struct pfs_line line;
	enum kind kind;
	uint64_t size;
	int err = look_at(snapshot, known, name, &kind, &size);

	if (!err)
		err = set_kind(sums, name->cookie, kind);
	if (err)
		return err;
	frame(&line, &name->key, kind);
	if (kind == KIND_DAMAGED) {
		char text[PFS_NAME_MAX + 1];

		pfs_key_format(text, &name->key);
		pfs_logf(points->logger, PFS_LOG_WARNING,
			 "points.ndjson: %s is damaged: its line says so (`payloadctl check` says "
			 "where)",
			 text);
	}
	sums->size += line.head_len + body_len(kind, size) + line.tail_len;
	return 0;
}

static int make_sums(struct pfs_points *points, struct pfs_snapshot *snapshot,
		     const struct sums *known, struct sums *sums, pfs_points_stop_fn *stop,
		     void *arg)
{
	struct pfs_snapshot_name names[LIST_STEP];
	uint64_t after = 0;
	ssize_t n;

	while ((n = pfs_snapshot_list(snapshot, after, names, LIST_STEP)) > 0) {
		int err = stop(arg) ? -ECANCELED : add_mark(sums, after);

		for (ssize_t i = 0; !err && i < n; i++)
			if (pfs_key_is_point(&names[i].key))
				err = add_point(points, sums, snapshot, known, &names[i]);
		if (err)
			return err;
		after = names[n - 1].cookie;
	}
	return (int)n;
}

/* ---- moments ---- */

/* One that shows what the store is now, with a reference, or NULL. */
static struct pfs_moment *present_moment(struct pfs_points *points)
{
	uint64_t sequence = pfs_store_sequence(points->store);
	struct pfs_moment *moment;

	pthread_mutex_lock(&points->lock);
	moment = points->newest;
	if (moment && moment->info.sequence == sequence)
		moment->refs++;
	else
		moment = NULL;
	pthread_mutex_unlock(&points->lock);
	return moment;
}

/* The sums of the moment's snapshot; points->looking is held. */
static int find_sums(struct pfs_points *points, struct pfs_moment *moment, pfs_points_stop_fn *stop,
		     void *arg)
{
	struct sums *known, *sums;
	int err;

	pthread_mutex_lock(&points->lock);
	known = points->known;
	if (known)
		known->refs++;
	pthread_mutex_unlock(&points->lock);
	if (known && known->sequence == moment->info.sequence) {
		moment->sums = known;
		return 0;
	}
	sums = calloc(1, sizeof(*sums));
	err = sums ? 0 : -ENOMEM;
	if (!err) {
		sums->sequence = moment->info.sequence;
		err = make_sums(points, moment->snapshot, known, sums, stop, arg);
	}
	pthread_mutex_lock(&points->lock);
	unref_sums(known);
	if (!err) {
		unref_sums(points->known);
		points->known = sums;
		sums->refs = 2;
	}
	pthread_mutex_unlock(&points->lock);
	if (err)
		free_sums(sums);
	else
		moment->sums = sums;
	return err;
}

static void free_moment(struct pfs_moment *moment)
{
	pfs_snapshot_close(moment->snapshot);
	pthread_mutex_destroy(&moment->lock);
	free(moment);
}

static int new_moment(struct pfs_points *points, struct pfs_moment **out, pfs_points_stop_fn *stop,
		      void *arg)
{
	struct pfs_moment *moment = calloc(1, sizeof(*moment));
	int err;

	if (!moment)
		return -ENOMEM;
	pthread_mutex_init(&moment->lock, NULL);
	moment->refs = 1;
	err = pfs_snapshot_open(points->store, &moment->snapshot);
	if (!err) {
		pfs_snapshot_info(moment->snapshot, &moment->info);
		err = find_sums(points, moment, stop, arg);
	}
	if (err) {
		free_moment(moment);
		return err;
	}
	pthread_mutex_lock(&points->lock);
	points->newest = moment;
	pthread_mutex_unlock(&points->lock);
	*out = moment;
	return 0;
}

int pfs_moment_take(struct pfs_points *points, struct pfs_moment **out, pfs_points_stop_fn *stop,
		    void *arg)
{
	int err = 0;

	*out = present_moment(points);
	if (*out)
		return 0;
	pthread_mutex_lock(&points->looking);
	/* Who looked before may have made it. */
	*out = present_moment(points);
	if (!*out)
		err = stop(arg) ? -ECANCELED : new_moment(points, out, stop, arg);
	pthread_mutex_unlock(&points->looking);
	return err;
}

void pfs_moment_release(struct pfs_points *points, struct pfs_moment *moment)
{
	bool last;

	pthread_mutex_lock(&points->lock);
	last = --moment->refs == 0;
	if (last) {
		if (points->newest == moment)
			points->newest = NULL;
		unref_sums(moment->sums);
	}
	pthread_mutex_unlock(&points->lock);
	if (last)
		free_moment(moment);
}

uint64_t pfs_moment_size(const struct pfs_moment *moment)
{
	return moment->sums->size;
}

int64_t pfs_moment_time(const struct pfs_moment *moment)
{
	return moment->info.opened_ns;
}

/* ---- reading ---- */

/* Where to begin for `off`: the nearest place before it that is known. */
static struct mark find_start(struct pfs_moment *moment, uint64_t off)
{
	const struct sums *sums = moment->sums;
	struct mark start = {0};
	size_t low = 0, high = sums->mark_count;

	/* Marks below low are at off or before it; several may have the same offset: the last. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (sums->marks[middle].off <= off)
			low = middle + 1;
		else
			high = middle;
	}
	if (low > 0)
		start = sums->marks[low - 1];
	pthread_mutex_lock(&moment->lock);
	for (unsigned i = 0; i < CURSORS; i++)
		if (moment->cursors[i].off <= off && moment->cursors[i].off > start.off)
			start = moment->cursors[i];
	pthread_mutex_unlock(&moment->lock);
	return start;
}

static void keep_cursor(struct pfs_moment *moment, struct mark at)
{
	pthread_mutex_lock(&moment->lock);
	moment->cursors[moment->next_cursor++ % CURSORS] = at;
	pthread_mutex_unlock(&moment->lock);
}

/* What a reader still wants. */
struct want {
	uint8_t *p;
	size_t len;
	uint64_t skip; /* bytes before them */
};

static void give(struct want *want, const void *data, size_t len)
{
	size_t skip = pfs_min_u64(want->skip, len), n = pfs_min_u64(want->len, len - skip);

	memcpy(want->p, (const uint8_t *)data + skip, n);
	want->skip -= skip;
	want->p += n;
	want->len -= n;
}

/* The payload as it is, up to its end. */
static int give_plain(struct pfs_moment *moment, struct want *want, const struct pfs_key *key)
{
	ssize_t n = pfs_snapshot_read(moment->snapshot, key, want->skip, want->p, want->len);

	if (n < 0)
		return (int)n;
	want->skip = 0;
	want->p += n;
	want->len -= (size_t)n;
	return 0;
}

static int give_base64(struct pfs_moment *moment, struct want *want, const struct pfs_key *key,
		       uint64_t size)
{
	uint64_t off = want->skip / 4 * 3; /* below size: what is skipped ends within it */
	uint8_t raw[PIECE];
	char text[PIECE / 3 * 4];

	want->skip -= off / 3 * 4;
	while (off < size && want->len) {
		ssize_t n = pfs_snapshot_read(moment->snapshot, key, off, raw,
					      pfs_min_u64(size - off, PIECE));

		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		pfs_base64_encode(text, raw, (size_t)n);
		give(want, text, pfs_base64_encoded_len((size_t)n));
		off += (uint64_t)n;
	}
	return 0;
}

/* Gives what is wanted of the point's line. *len: that of the whole line, when all that is wanted
 * lies behind it. */
static int give_line(struct pfs_moment *moment, struct want *want, const struct pfs_key *key,
		     enum kind kind, uint64_t *len)
{
	struct pfs_line line;
	struct pfs_attr attr = {0};
	uint64_t body;
	int err = 0;

	frame(&line, key, kind);
	*len = 0;
	/* Behind the first line there is nothing to skip, and its size need not be known before. */
	if (kind != KIND_DAMAGED && (want->skip || kind == KIND_BASE64)) {
		err = pfs_snapshot_lookup(moment->snapshot, key, &attr);
		if (err)
			return err;
	}
	body = body_len(kind, attr.size);
	if (want->skip && want->skip >= line.head_len + body + line.tail_len) {
		*len = line.head_len + body + line.tail_len;
		want->skip -= *len;
		return 0;
	}
	give(want, line.head, line.head_len);
	if (want->len && want->skip && want->skip >= body)
		want->skip -= body;
	else if (want->len && kind == KIND_PLAIN)
		err = give_plain(moment, want, key);
	else if (want->len && kind == KIND_BASE64)
		err = give_base64(moment, want, key, attr.size);
	if (!err)
		give(want, line.tail, line.tail_len);
	return err;
}

int pfs_moment_read(struct pfs_moment *moment, uint64_t off, void *buf, size_t len)
{
	struct mark at = find_start(moment, off);
	struct want want = {.p = buf, .len = len, .skip = off - at.off};
	struct pfs_snapshot_name names[LIST_STEP];
	uint64_t line_len;
	ssize_t n;

	while (want.len) {
		n = pfs_snapshot_list(moment->snapshot, at.after, names, LIST_STEP);
		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		for (ssize_t i = 0; want.len && i < n; i++) {
			enum kind kind = kind_at(moment->sums, names[i].cookie);
			size_t before = want.len;
			uint64_t skip = want.skip;
			int err;

			if (kind == KIND_NONE) {
				at.after = names[i].cookie;
				continue;
			}
			err = give_line(moment, &want, &names[i].key, kind, &line_len);
			if (err)
				return err == -ENOENT ? -EIO : err;
			/* The last line may go on: the next reader begins with it. */
			if (!want.len)
				break;
			at.off += line_len ? line_len : skip + (before - want.len);
			at.after = names[i].cookie;
		}
	}
	keep_cursor(moment, at);
	return 0;
}
