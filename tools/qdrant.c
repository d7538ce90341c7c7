#include "tools/qdrant.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/qdrant_config.h"
#include "tools/qdrant_find.h"
#include "tools/qdrant_ids.h"
#include "tools/qdrant_pages.h"
#include "tools/qdrant_wal.h"

#define STATE_MAX (4 * PFS_MIB) /* of segment.json */

struct segment {
	const char *directory; /* of q->places */
	uint32_t shard;
	struct qdrant_ids ids;	/* points are moved to q->points */
	bool opened, has_pages; /* its payload storage was looked at; is there */
	uint32_t *orphans;	/* offsets of values of which no id was ever read */
	size_t orphan_count;
};

struct open_pages {
	struct qdrant_pages *pages;
	size_t segment;
};

struct qdrant {
	struct qdrant_places places;
	struct qdrant_wal *wals; /* of each shard */
	size_t wal_count;
	struct segment *segments;
	bool offset_ids;

	struct qdrant_point *points; /* by id, the best of each id first */
	size_t count, cap;
	size_t *best; /* their places in points, in the order of the pages */
	size_t best_count;

	struct open_pages open[2]; /* the one that is read, and one looked into besides */
	const struct qdrant_notes *notes;
	struct qdrant_notes silent;
	struct qdrant_stat stat;
	char reason[512];

	/* While it is read. */
	qdrant_item_fn *fn;
	void *arg;
	uint64_t done, total;
};

static void say_nothing(void *arg, const char *line)
{
	(void)arg;
	(void)line;
}

const struct qdrant_stat *qdrant_stat(const struct qdrant *q)
{
	return &q->stat;
}

/* ---- payload storages ---- */

/* The payload storage of a segment, NULL in *out: it has none. The notes on it are told once. */
static int get_pages(struct qdrant *q, size_t number, unsigned slot, struct qdrant_pages **out,
		     struct pfs_reason *reason)
{
	struct segment *segment = &q->segments[number];
	struct open_pages *open = &q->open[slot];
	char *directory;
	int err;

	*out = open->pages;
	if (open->pages && open->segment == number)
		return 0;
	*out = NULL;
	if (segment->opened && !segment->has_pages)
		return 0;
	qdrant_pages_close(open->pages);
	*open = (struct open_pages){.segment = number};
	directory = qdrant_path(segment->directory, QDRANT_PAGES_NAME);
	if (!directory)
		return -ENOMEM;
	err = qdrant_pages_open(&open->pages, directory, segment->opened ? &q->silent : q->notes,
				reason);
	free(directory);
	segment->opened = true;
	segment->has_pages = !err;
	*out = open->pages;
	return err;
}

/* What values have no owner: leftovers, or the payloads of points whose ids are lost. */
static int find_orphans(struct qdrant *q, struct segment *segment, struct qdrant_pages *pages)
{
	const struct qdrant_ids *ids = &segment->ids;
	uint64_t count = qdrant_pages_count(pages);
	uint8_t *alive = calloc(1, count / 8 + 1);

	if (!alive)
		return -ENOMEM;
	for (size_t i = 0; i < ids->count; i++) {
		uint32_t internal = ids->points[i].internal;

		if (internal < count)
			alive[internal / 8] |= (uint8_t)(1u << (internal % 8));
	}
	for (uint64_t i = 0; i < count; i++) {
		uint32_t *orphans;

		if (alive[i / 8] >> (i % 8) & 1 || !qdrant_pages_has(pages, i))
			continue;
		if (!ids->damaged || qdrant_ids_known(ids, i)) {
			q->stat.ownerless++;
			continue;
		}
		orphans = segment->orphan_count & (segment->orphan_count - 1)
				  ? segment->orphans
				  : reallocarray(segment->orphans,
						 pfs_max_u64(1, 2 * segment->orphan_count),
						 sizeof(*orphans));
		if (!orphans) {
			free(alive);
			return -ENOMEM;
		}
		segment->orphans = orphans;
		orphans[segment->orphan_count++] = (uint32_t)i;
	}
	free(alive);
	return 0;
}

/* ---- loading ---- */

static int add_points(struct qdrant *q, size_t number, struct qdrant_ids *ids)
{
	if (q->count + ids->count > q->cap) {
		size_t cap = q->count + ids->count + q->count / 2;
		struct qdrant_point *points = reallocarray(q->points, cap, sizeof(*points));

		if (!points)
			return -ENOMEM;
		q->points = points;
		q->cap = cap;
	}
	for (size_t i = 0; i < ids->count; i++) {
		q->points[q->count] = ids->points[i];
		q->points[q->count++].segment = number & (QDRANT_SEGMENTS_MAX - 1);
	}
	free(ids->points);
	ids->points = NULL;
	ids->count = 0;
	return 0;
}

/* A point for each offset that has a value. */
static int number_offsets(struct qdrant_ids *ids, struct qdrant_pages *pages)
{
	uint64_t count = pages ? qdrant_pages_count(pages) : 0;

	memset(ids, 0, sizeof(*ids));
	ids->points = calloc(count + 1, sizeof(*ids->points));
	if (!ids->points)
		return -ENOMEM;
	for (uint64_t i = 0; i < count; i++) {
		struct qdrant_point *point = &ids->points[ids->count];

		if (!qdrant_pages_has(pages, i))
			continue;
		point->internal = (uint32_t)i;
		for (int b = 0; b < 8; b++)
			point->id[8 + b] = (uint8_t)(i >> (56 - 8 * b));
		ids->count++;
	}
	return 0;
}

static int load_pages(struct qdrant *q, size_t number, struct qdrant_pages **pages,
		      struct pfs_reason *reason)
{
	struct segment *segment = &q->segments[number];
	struct pfs_reason why = {""};
	int err;

	if (!qdrant_is_directory(segment->directory, QDRANT_PAGES_NAME) &&
	    qdrant_is_file(segment->directory, "CURRENT"))
		return pfs_refuse(reason, -EPROTONOSUPPORT,
				  "%s: an older release of Qdrant kept its payloads in RocksDB "
				  "there, which is not known; open it once with Qdrant 1.16, which "
				  "converts it, or read them through its scroll API, whose answers "
				  "import takes, too",
				  segment->directory);
	err = get_pages(q, number, 0, pages, &why);
	if (err == -ENOENT && !q->offset_ids) {
		qdrant_note(q->notes, "%s", why.text);
		return 0;
	}
	return err && err != -ENOMEM ? pfs_refuse(reason, err, "%s", why.text) : err;
}

static int load_segment(struct qdrant *q, size_t number, struct pfs_reason *reason)
{
	struct segment *segment = &q->segments[number];
	struct qdrant_pages *pages = NULL;
	int err = 0;

	segment->directory = q->places.segments[number].segment;
	segment->shard = q->places.segments[number].shard;
	if (!q->offset_ids)
		err = qdrant_ids_read(&segment->ids, segment->directory, q->notes, reason);
	if (!err)
		err = load_pages(q, number, &pages, reason);
	if (!err && q->offset_ids)
		err = number_offsets(&segment->ids, pages);
	if (err)
		return err;
	if (pages)
		err = find_orphans(q, segment, pages);
	/* Without its storage a segment of no points has lost nothing. */
	q->stat.damaged = q->stat.damaged || segment->ids.damaged ||
			  (pages ? qdrant_pages_damaged(pages) : segment->ids.count > 0);
	q->stat.unversioned += segment->ids.unversioned;
	return err ? err : add_points(q, number, &segment->ids);
}

/* ---- which of several ---- */

static int compare_ids(const struct qdrant_point *a, const struct qdrant_point *b)
{
	return a->uuid != b->uuid ? (int)a->uuid - (int)b->uuid
				  : memcmp(a->id, b->id, sizeof(a->id));
}

static bool same_id(const struct qdrant_point *a, const struct qdrant_point *b)
{
	return compare_ids(a, b) == 0;
}

static uint32_t shard_of(const struct qdrant *q, const struct qdrant_point *point)
{
	return q->segments[point->segment].shard;
}

/* By id; of one id by shard, then the highest version first. Shards number their operations on
 * their own, so versions of different ones say nothing. */
static int compare_points(const void *a, const void *b, void *arg)
{
	const struct qdrant *q = arg;
	const struct qdrant_point *x = a, *y = b;
	int order = compare_ids(x, y);

	if (order)
		return order;
	if (shard_of(q, x) != shard_of(q, y))
		return shard_of(q, x) < shard_of(q, y) ? -1 : 1;
	if (x->version != y->version)
		return x->version > y->version ? -1 : 1;
	if (x->doubt != y->doubt)
		return x->doubt < y->doubt ? -1 : 1;
	if (x->segment != y->segment)
		return x->segment > y->segment ? -1 : 1;
	return x->internal > y->internal ? -1 : x->internal < y->internal;
}

static int compare_places(const void *a, const void *b, void *arg)
{
	const struct qdrant *q = arg;
	const struct qdrant_point *x = &q->points[*(const size_t *)a];
	const struct qdrant_point *y = &q->points[*(const size_t *)b];

	if (x->segment != y->segment)
		return x->segment < y->segment ? -1 : 1;
	return x->internal < y->internal ? -1 : x->internal > y->internal;
}

static int choose_points(struct qdrant *q)
{
	q->best = reallocarray(NULL, q->count + 1, sizeof(*q->best));
	if (!q->best)
		return -ENOMEM;
	if (q->count)
		qsort_r(q->points, q->count, sizeof(*q->points), compare_points, q);
	for (size_t i = 0; i < q->count; i++) {
		if (i == 0 || !same_id(&q->points[i - 1], &q->points[i]))
			q->best[q->best_count++] = i;
	}
	if (q->best_count)
		qsort_r(q->best, q->best_count, sizeof(*q->best), compare_places, q);
	q->stat.points = q->best_count;
	return 0;
}

/* ---- the write-ahead log ---- */

/* The version that segment.json says. */
static uint64_t state_version(const struct segment *segment)
{
	struct qdrant_file file;
	uint8_t *text = NULL;
	uint64_t version = 0;
	size_t len = 0;

	if (qdrant_file_open(&file, segment->directory, "segment.json") == 0 &&
	    qdrant_file_load(&file, STATE_MAX, &text, &len) == 0 &&
	    !qdrant_config_number(text, len, "version", &version))
		version = 0;
	free(text);
	qdrant_file_close(&file);
	return version;
}

static void compare_with_wal(struct qdrant *q, size_t shard)
{
	const struct qdrant_wal *wal = &q->wals[shard];
	uint64_t applied = wal->ack;

	for (size_t i = 0; i < q->places.count; i++) {
		const struct segment *segment = &q->segments[i];

		if (segment->shard == shard)
			applied = pfs_max_u64(applied, pfs_max_u64(segment->ids.version_max,
								   state_version(segment)));
	}
	if (!q->places.shards[shard].whole || !wal->end || wal->end - 1 <= applied)
		return;
	q->stat.unread += wal->end - 1 - applied;
	qdrant_note(q->notes,
		    "%s: reaches to operation %" PRIu64 ", the segments to %" PRIu64
		    ": what the %" PRIu64 " operations between them changed is not read; start "
		    "this Qdrant and stop it properly, so that it applies them, and import again",
		    q->places.shards[shard].wal, wal->end - 1, applied, wal->end - 1 - applied);
}

static int open_wals(struct qdrant *q, struct pfs_reason *reason)
{
	q->wals = calloc(q->places.shard_count + 1, sizeof(*q->wals));
	if (!q->wals)
		return -ENOMEM;
	for (size_t i = 0; i < q->places.shard_count; i++) {
		int err = qdrant_wal_open(&q->wals[i], q->places.shards[i].wal, q->notes);

		if (err == -EBUSY)
			return pfs_refuse(reason, err,
					  "%s: a running Qdrant has it: stop Qdrant first, or "
					  "unpack a snapshot of it, or import the answers of its "
					  "scroll API",
					  q->places.shards[i].directory);
		if (err)
			return err;
		q->wal_count++;
	}
	return 0;
}

/* ---- opening ---- */

static int load(struct qdrant *q, const char *path, struct pfs_reason *reason)
{
	int err = qdrant_find(&q->places, path, q->notes, reason);

	if (err)
		return err;
	if (q->offset_ids && q->places.count != 1)
		return pfs_refuse(reason, -EINVAL,
				  "%s: has %zu segments, whose offsets are not different: name one "
				  "segment",
				  path, q->places.count);
	err = open_wals(q, reason);
	q->segments = calloc(q->places.count, sizeof(*q->segments));
	if (!err && !q->segments)
		err = -ENOMEM;
	for (size_t i = 0; !err && i < q->places.count; i++)
		err = load_segment(q, i, reason);
	for (size_t i = 0; !err && i < q->places.shard_count; i++)
		compare_with_wal(q, i);
	q->stat.segments = q->places.count;
	q->stat.shards = q->places.shard_count;
	return err ? err : choose_points(q);
}

int qdrant_open(struct qdrant **out, const char *path, bool offset_ids,
		const struct qdrant_notes *notes, struct pfs_reason *reason)
{
	struct qdrant *q = calloc(1, sizeof(*q));
	int err;

	*out = NULL;
	if (!q)
		return -ENOMEM;
	q->notes = notes;
	q->silent.fn = say_nothing;
	q->offset_ids = offset_ids;
	err = load(q, path, reason);
	if (err)
		qdrant_close(q);
	else
		*out = q;
	return err;
}

void qdrant_close(struct qdrant *q)
{
	if (!q)
		return;
	for (size_t i = 0; i < pfs_array_len(q->open); i++)
		qdrant_pages_close(q->open[i].pages);
	for (size_t i = 0; q->segments && i < q->places.count; i++) {
		qdrant_ids_free(&q->segments[i].ids);
		free(q->segments[i].orphans);
	}
	for (size_t i = 0; i < q->wal_count; i++)
		qdrant_wal_close(&q->wals[i]);
	qdrant_places_free(&q->places);
	free(q->wals);
	free(q->segments);
	free(q->points);
	free(q->best);
	free(q);
}

/* ---- reading ---- */

static int PFS_PRINTF(3, 4)
	put_aside(struct qdrant *q, struct qdrant_item *item, const char *fmt, ...)
{
	va_list args;

	item->good = false;
	va_start(args, fmt);
	vsnprintf(q->reason, sizeof(q->reason), fmt, args);
	va_end(args);
	item->reason = q->reason;
	return q->fn(q->arg, item, q->done, q->total);
}

/* Fills an item with what a value holds. */
static void take_value(struct qdrant_item *item, const struct qdrant_value *value)
{
	item->payload = value->payload;
	item->len = value->len;
	item->file = value->file;
	item->offset = value->offset;
	item->length = value->length;
	item->reason = value->reason;
	if (value->state == QDRANT_VALUE_DAMAGED) {
		item->stored = value->stored;
		item->stored_len = value->stored_len;
	}
}

static const char *point_doubt(const struct qdrant_point *point, const struct segment *segment,
			       const struct qdrant_value *value)
{
	switch (point->doubt) {
	case QDRANT_SHARED: return "two ids claim this payload: the mapping of ids is damaged";
	case QDRANT_TWICE:
		return "its id is there twice, so that one of both is another's: the mapping of "
		       "ids is damaged";
	case QDRANT_DELETED:
		return "it may have been deleted: what would say so is damaged or cut off";
	default: break;
	}
	/* A point whose offset is damaged in the mapping, or whose delete is lost, looks so. */
	if (value->state == QDRANT_VALUE_NONE && point->version == 0 && segment->ids.damaged)
		return "it has no payload, in a mapping of ids that is damaged";
	return NULL;
}

/* Looks at one version of a point. */
static int look(struct qdrant *q, const struct qdrant_point *point, unsigned slot,
		struct qdrant_item *item)
{
	const struct segment *segment = &q->segments[point->segment];
	struct qdrant_value value = {.state = QDRANT_VALUE_DAMAGED,
				     .file = segment->directory,
				     .reason = "its payload storage is missing"};
	struct qdrant_pages *pages;
	const char *doubt;
	int err = get_pages(q, point->segment, slot, &pages, NULL);

	if (err == -ENOMEM)
		return err;
	if (pages)
		err = qdrant_pages_value(pages, point->internal, &value);
	if (err == -ENOMEM)
		return err;
	*item = (struct qdrant_item){.key = qdrant_point_key(point)};
	take_value(item, &value);
	doubt = point_doubt(point, segment, &value);
	if (value.state == QDRANT_VALUE_NONE) {
		item->payload = (const uint8_t *)"{}";
		item->len = 2;
		item->file = segment->ids.mapping;
	}
	if (doubt)
		item->reason = doubt;
	item->good = !item->reason;
	return 0;
}

/* The point is good: what else has its id is older, or a different shard's. */
static int pass_others(struct qdrant *q, size_t best)
{
	const struct qdrant_point *point = &q->points[best];
	int err = 0;

	for (size_t i = best + 1; !err && i < q->count && same_id(&q->points[i], point); i++) {
		struct qdrant_item item;

		if (shard_of(q, &q->points[i]) == shard_of(q, &q->points[i - 1])) {
			q->stat.superseded++;
			continue;
		}
		err = look(q, &q->points[i], 1, &item);
		if (!err)
			err = put_aside(q, &item,
					"another shard (%s) has a point with the same id, which "
					"was imported",
					q->places.shards[shard_of(q, point)].directory);
	}
	return err;
}

/* The point is not: it, and all others that have its id, are put aside. */
static int put_all_aside(struct qdrant *q, size_t best, struct qdrant_item *item)
{
	const struct qdrant_point *point = &q->points[best];
	const char *why = item->reason;
	int err = put_aside(q, item, "%s", why);

	for (size_t i = best + 1; !err && i < q->count && same_id(&q->points[i], point); i++) {
		struct qdrant_item other;

		err = look(q, &q->points[i], 1, &other);
		if (!err)
			err = put_aside(q, &other,
					"version %" PRIu64 " of a point whose version %" PRIu64
					" is damaged",
					q->points[i].version, point->version);
	}
	return err;
}

static int read_point(struct qdrant *q, size_t best)
{
	const struct qdrant_point *point = &q->points[best];
	struct qdrant_item item;
	size_t good = best;
	int err = look(q, point, 0, &item);

	/* The same version in another segment is as good. */
	while (!err && !item.good && good + 1 < q->count && same_id(&q->points[good + 1], point) &&
	       q->points[good + 1].version == point->version &&
	       shard_of(q, &q->points[good + 1]) == shard_of(q, point))
		err = look(q, &q->points[++good], 1, &item);
	if (!err && !item.good && good != best)
		err = look(q, point, 0, &item);
	if (err)
		return err;
	if (!item.good)
		return put_all_aside(q, best, &item);
	err = q->fn(q->arg, &item, q->done, q->total);
	return err ? err : pass_others(q, best);
}

static int read_orphans(struct qdrant *q, size_t number)
{
	const struct segment *segment = &q->segments[number];
	struct qdrant_pages *pages;
	int err = 0;

	for (size_t i = 0; !err && i < segment->orphan_count; i++) {
		struct qdrant_item item = {.key.kind = PFS_KEY_NONE};
		struct qdrant_value value = {0};

		err = get_pages(q, number, 0, &pages, NULL);
		if (!err && pages)
			err = qdrant_pages_value(pages, segment->orphans[i], &value);
		if (err)
			break;
		take_value(&item, &value);
		q->done++;
		err = put_aside(q, &item,
				"the payload of internal offset %" PRIu32
				", whose id is lost: %s is damaged%s%s",
				segment->orphans[i], segment->ids.mapping, value.reason ? "; " : "",
				value.reason ? value.reason : "");
	}
	return err;
}

/* Bytes of a mapping that are no entries. */
static int read_gaps(struct qdrant *q, const struct qdrant_ids *ids)
{
	int err = 0;

	for (size_t i = 0; !err && i < ids->gap_count; i++) {
		struct qdrant_item item = {.key.kind = PFS_KEY_NONE,
					   .file = ids->mapping,
					   .offset = ids->gaps[i].offset,
					   .length = ids->gaps[i].length};
		struct qdrant_file file;
		uint8_t *bytes = malloc(item.length);

		if (!bytes)
			return -ENOMEM;
		if (qdrant_file_open(&file, ids->mapping, NULL) == 0)
			(void)qdrant_file_read(&file, item.offset, bytes, item.length,
					       &item.stored_len);
		item.stored = bytes;
		q->done++;
		err = put_aside(q, &item, "no entries of a mapping of ids");
		qdrant_file_close(&file);
		free(bytes);
	}
	return err;
}

int qdrant_read(struct qdrant *q, qdrant_item_fn *fn, void *arg)
{
	int err = 0;

	q->fn = fn;
	q->arg = arg;
	q->total = q->best_count;
	for (size_t i = 0; i < q->places.count; i++)
		q->total += q->segments[i].orphan_count + q->segments[i].ids.gap_count;
	for (size_t i = 0; !err && i < q->best_count; i++) {
		q->done++;
		err = read_point(q, q->best[i]);
	}
	for (size_t i = 0; !err && i < q->places.count; i++) {
		err = read_gaps(q, &q->segments[i].ids);
		if (!err)
			err = read_orphans(q, i);
	}
	return err;
}
