#include <inttypes.h>
#include <stdlib.h>

#include "tools/qdrant_config.h"
#include "tools/qdrant_internal.h"

#define STATE_MAX (4 * PFS_MIB) /* of segment.json */

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

int qdrant_get_pages(struct qdrant *q, size_t number, unsigned slot, struct qdrant_pages **out,
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
	err = qdrant_get_pages(q, number, 0, pages, &why);
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

bool qdrant_same_id(const struct qdrant_point *a, const struct qdrant_point *b)
{
	return compare_ids(a, b) == 0;
}

uint32_t qdrant_shard_of(const struct qdrant *q, const struct qdrant_point *point)
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
	if (qdrant_shard_of(q, x) != qdrant_shard_of(q, y))
		return qdrant_shard_of(q, x) < qdrant_shard_of(q, y) ? -1 : 1;
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
		if (i == 0 || !qdrant_same_id(&q->points[i - 1], &q->points[i]))
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
		    ": what the %" PRIu64 " operation%s between them changed is not read; start "
		    "this Qdrant and stop it properly, so that it applies them, and import again",
		    q->places.shards[shard].wal, wal->end - 1, applied, wal->end - 1 - applied,
		    pfs_plural(wal->end - 1 - applied));
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
