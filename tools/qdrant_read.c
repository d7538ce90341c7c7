/* Giving out the points that were loaded, and all that must not be lost besides. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/qdrant_internal.h"

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
	int err = qdrant_get_pages(q, point->segment, slot, &pages, NULL);

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

	for (size_t i = best + 1; !err && i < q->count && qdrant_same_id(&q->points[i], point);
	     i++) {
		struct qdrant_item item;

		if (qdrant_shard_of(q, &q->points[i]) == qdrant_shard_of(q, &q->points[i - 1])) {
			q->stat.superseded++;
			continue;
		}
		err = look(q, &q->points[i], 1, &item);
		if (!err)
			err = put_aside(q, &item,
					"another shard (%s) has a point with the same id, which "
					"was imported",
					q->places.shards[qdrant_shard_of(q, point)].directory);
	}
	return err;
}

/* The point is not: it, and all others that have its id, are put aside. */
static int put_all_aside(struct qdrant *q, size_t best, struct qdrant_item *item)
{
	const struct qdrant_point *point = &q->points[best];
	const char *why = item->reason;
	int err = put_aside(q, item, "%s", why);

	for (size_t i = best + 1; !err && i < q->count && qdrant_same_id(&q->points[i], point);
	     i++) {
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
	while (!err && !item.good && good + 1 < q->count &&
	       qdrant_same_id(&q->points[good + 1], point) &&
	       q->points[good + 1].version == point->version &&
	       qdrant_shard_of(q, &q->points[good + 1]) == qdrant_shard_of(q, point))
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

		err = qdrant_get_pages(q, number, 0, &pages, NULL);
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
