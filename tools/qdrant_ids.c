#include "tools/qdrant_ids.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define MAPPING_MAX (UINT64_C(1) << 36) /* 5 thousand million entries */
#define NUMBER_LEN 8
#define UUID_LEN 16
#define OFFSET_LEN 4
#define ENTRY_MIN (1 + NUMBER_LEN) /* the shortest entry of all: a delete */
#define INSERT_MIN (1 + NUMBER_LEN + OFFSET_LEN)
#define HEAD_LEN 8    /* of the immutable mapping */
#define SURE_AFTER 12 /* entries in a row that are no chance */

/* One entry of either mapping. */
struct entry {
	const uint8_t *id;
	uint32_t internal;
	bool uuid, insert;
};

/* An entry of the log, 32 bytes. */
struct change {
	uint8_t id[16];
	uint64_t at; /* which entry it was, from 0 */
	uint32_t internal;
	uint8_t uuid, insert;
};

struct reader {
	struct qdrant_ids *ids;
	const struct qdrant_notes *notes;
	bool immutable;
	const uint8_t *bytes;
	size_t len;
	uint64_t bound; /* no offset is as high as this */
	struct change *changes;
	size_t count, cap;
	bool torn;	 /* the last entry is incomplete */
	uint8_t *shared; /* a bit for each offset that two ids claim */

	uint8_t *versions, *deleted;
	size_t version_count;
	uint64_t deleted_count; /* bits */
};

bool qdrant_ids_known(const struct qdrant_ids *ids, uint64_t internal)
{
	return internal < ids->known_end && ids->known[internal / 8] >> (internal % 8) & 1;
}

struct pfs_key qdrant_point_key(const struct qdrant_point *point)
{
	struct pfs_key key = {.kind = PFS_KEY_UUID};

	if (!point->uuid) {
		key.kind = PFS_KEY_NUM;
		key.num = 0;
		for (int i = 8; i < 16; i++)
			key.num = key.num << 8 | point->id[i];
	} else {
		memcpy(key.uuid, point->id, sizeof(key.uuid));
	}
	return key;
}

static void copy_id(uint8_t out[16], const uint8_t *id, bool uuid)
{
	memset(out, 0, 16);
	for (int i = 0; i < (uuid ? UUID_LEN : NUMBER_LEN); i++)
		out[uuid ? i : 15 - i] = id[i];
}

/* ---- entries ---- */

/* The length of the entry at p, 0: it is none, SIZE_MAX: it is cut off. index: how many entries of
 * an immutable mapping come before it at least. */
static size_t parse_entry(const struct reader *r, const uint8_t *p, uint64_t index, struct entry *e)
{
	size_t left = (size_t)(r->bytes + r->len - p), len;
	uint8_t tag = *p;

	if (r->immutable ? tag > 1 : tag < 1 || tag > 4)
		return 0;
	e->uuid = r->immutable ? tag == 1 : tag % 2 == 0;
	e->insert = r->immutable || tag <= 2;
	len = 1 + (e->uuid ? UUID_LEN : NUMBER_LEN) + (e->insert ? OFFSET_LEN : 0);
	if (left < len)
		return SIZE_MAX;
	e->id = p + 1;
	e->internal = e->insert ? pfs_get_le32(p + len - OFFSET_LEN) : 0;
	if (e->insert && (e->internal >= r->bound || (r->immutable && e->internal < index)))
		return 0;
	return len;
}

/* Whether entries follow one another from p on, many or to the very end. */
static bool entries_follow(const struct reader *r, const uint8_t *p, uint64_t index)
{
	const uint8_t *end = r->bytes + r->len;
	uint64_t expected = UINT64_MAX;

	for (int i = 0; i < SURE_AFTER && p < end; i++) {
		struct entry e;
		size_t len = parse_entry(r, p, index, &e);

		if (len == 0 || len == SIZE_MAX)
			return false;
		if (r->immutable && expected != UINT64_MAX && e.internal != expected)
			return false;
		expected = (uint64_t)e.internal + 1;
		p += len;
	}
	return true;
}

static int add_gap(struct reader *r, const uint8_t *from, const uint8_t *to)
{
	struct qdrant_ids *ids = r->ids;
	struct qdrant_gap *gaps = reallocarray(ids->gaps, ids->gap_count + 1, sizeof(*ids->gaps));

	if (!gaps)
		return -ENOMEM;
	ids->gaps = gaps;
	gaps[ids->gap_count++] =
		(struct qdrant_gap){(uint64_t)(from - r->bytes), (uint64_t)(to - from)};
	ids->damaged = true;
	return 0;
}

static int add_change(struct reader *r, const struct entry *e)
{
	struct change *to;

	if (r->count == r->cap) {
		size_t cap = r->cap ? 2 * r->cap : 4096;
		struct change *changes = reallocarray(r->changes, cap, sizeof(*changes));

		if (!changes)
			return -ENOMEM;
		r->changes = changes;
		r->cap = cap;
	}
	to = &r->changes[r->count];
	copy_id(to->id, e->id, e->uuid);
	to->at = r->count++;
	to->internal = e->internal;
	to->uuid = e->uuid;
	to->insert = e->insert;
	return 0;
}

/* To where entries follow again, or the end; what lies between is a gap. */
static int skip_gap(struct reader *r, const uint8_t **p, uint64_t index)
{
	const uint8_t *from = *p, *end = r->bytes + r->len, *to = from + 1;

	while (to < end && !entries_follow(r, to, index))
		to++;
	*p = to;
	return add_gap(r, from, to);
}

static int read_entries(struct reader *r)
{
	const uint8_t *p = r->bytes + (r->immutable ? HEAD_LEN : 0), *end = r->bytes + r->len;
	uint64_t index = 0;
	int err = 0;

	while (!err && p < end) {
		struct entry e;
		size_t len = parse_entry(r, p, index, &e);

		/* Of an immutable mapping the entries of all offsets are there, in order. */
		if (r->immutable && len && len != SIZE_MAX && e.internal != index &&
		    !entries_follow(r, p, index))
			len = 0;
		if (len == SIZE_MAX && !r->immutable) {
			r->torn = true;
			qdrant_note(r->notes,
				    "%s: its last entry, at byte %zu, is incomplete, as an "
				    "interrupted write leaves it: left out, as Qdrant does",
				    r->ids->mapping, (size_t)(p - r->bytes));
			break;
		}
		if (len == 0 || len == SIZE_MAX) {
			err = skip_gap(r, &p, index);
			continue;
		}
		index = (uint64_t)e.internal + 1;
		err = add_change(r, &e);
		p += len;
	}
	return err;
}

/* ---- what the entries come to ---- */

static int compare_changes(const void *a, const void *b)
{
	const struct change *x = a, *y = b;
	int order = x->uuid != y->uuid ? x->uuid - y->uuid : memcmp(x->id, y->id, sizeof(x->id));

	return order ? order : x->at < y->at ? -1 : x->at > y->at;
}

static bool same_id(const struct change *a, const struct change *b)
{
	return a->uuid == b->uuid && memcmp(a->id, b->id, sizeof(a->id)) == 0;
}

static void set_bit(uint8_t *bits, uint64_t i)
{
	bits[i / 8] |= (uint8_t)(1u << (i % 8));
}

/* Which offsets some id had, and which ones two ids claim. */
static int note_owners(struct reader *r)
{
	struct qdrant_ids *ids = r->ids;
	const struct change **owners;

	for (size_t i = 0; i < r->count; i++) {
		if (r->changes[i].insert)
			ids->known_end =
				pfs_max_u64(ids->known_end, (uint64_t)r->changes[i].internal + 1);
	}
	ids->known = calloc(1, ids->known_end / 8 + 1);
	r->shared = calloc(1, ids->known_end / 8 + 1);
	owners = calloc(ids->known_end + 1, sizeof(const struct change *));
	if (!ids->known || !r->shared || !owners) {
		free(owners);
		return -ENOMEM;
	}
	for (size_t i = 0; i < r->count; i++) {
		const struct change *c = &r->changes[i], **owner = &owners[c->internal];

		if (!c->insert)
			continue;
		if (*owner && !same_id(*owner, c))
			set_bit(r->shared, c->internal);
		set_bit(ids->known, c->internal);
		*owner = c;
	}
	free(owners);
	return 0;
}

static bool is_shared(const struct reader *r, uint64_t internal)
{
	return r->shared[internal / 8] >> (internal % 8) & 1;
}

static uint64_t version_of(const struct reader *r, uint64_t internal)
{
	return internal < r->version_count ? pfs_get_le64(r->versions + 8 * internal) : 0;
}

static bool is_deleted(const struct reader *r, uint64_t internal)
{
	return r->immutable && internal < r->deleted_count &&
	       r->deleted[internal / 8] >> (internal % 8) & 1;
}

/* Of a log, when entries are lost: a deleted point has the version 0. */
static bool delete_may_be_lost(const struct reader *r, uint64_t internal)
{
	return version_of(r, internal) == 0 &&
	       (r->ids->gap_count || (r->torn && internal < r->version_count));
}

/* Files a point that is alive, with its version and what speaks against it. */
static void take_point(struct reader *r, const struct change *c)
{
	struct qdrant_ids *ids = r->ids;
	struct qdrant_point *point = &ids->points[ids->count++];

	*point = (struct qdrant_point){
		.internal = c->internal,
		.uuid = c->uuid & 1,
		.version = version_of(r, c->internal),
	};
	memcpy(point->id, c->id, sizeof(point->id));
	if (r->immutable ? c->internal >= r->deleted_count : delete_may_be_lost(r, c->internal))
		point->doubt = QDRANT_DELETED;
	if (is_shared(r, c->internal))
		point->doubt = QDRANT_SHARED;
}

/* Takes what is alive of the changes of one id, in the order in which they were made. */
static void take_id(struct reader *r, const struct change *changes, size_t count)
{
	struct qdrant_ids *ids = r->ids;
	size_t before = ids->count;
	bool twice = false;

	for (size_t i = 0; i < count; i++) {
		const struct change *c = &changes[i];
		const struct qdrant_point *last =
			ids->count > before ? &ids->points[ids->count - 1] : NULL;

		/* A point moves to another offset only when its insert was interrupted. */
		if (!r->immutable && last &&
		    (!c->insert || last->internal == c->internal || last->version == 0))
			ids->count--;
		if (c->insert && !is_deleted(r, c->internal))
			take_point(r, c);
		twice = twice || ids->count - before > 1;
	}
	for (size_t i = before; i < ids->count; i++) {
		if (twice)
			ids->points[i].doubt = QDRANT_TWICE;
		if (ids->points[i].internal >= r->version_count)
			ids->unversioned++;
		if (ids->points[i].doubt)
			ids->damaged = true;
	}
}

static int take_points(struct reader *r)
{
	int err = note_owners(r);

	if (err)
		return err;
	r->ids->points = calloc(r->count + 1, sizeof(*r->ids->points));
	if (!r->ids->points)
		return -ENOMEM;
	if (r->count)
		qsort(r->changes, r->count, sizeof(*r->changes), compare_changes);
	for (size_t i = 0, n; i < r->count; i += n) {
		for (n = 1; i + n < r->count && same_id(&r->changes[i], &r->changes[i + n]); n++)
			;
		take_id(r, &r->changes[i], n);
	}
	return 0;
}

/* An offset with a version was inserted: if no entry says so, entries are lost. */
static void look_for_lost(struct reader *r)
{
	uint64_t lost = 0;

	for (uint64_t i = 0; i < r->version_count; i++) {
		uint64_t version = pfs_get_le64(r->versions + 8 * i);

		r->ids->version_max = pfs_max_u64(r->ids->version_max, version);
		if (version && !qdrant_ids_known(r->ids, i))
			lost++;
	}
	if (!lost)
		return;
	r->ids->damaged = true;
	qdrant_note(r->notes, "%s: the ids of %" PRIu64 " point%s are missing from it",
		    r->ids->mapping, lost, pfs_plural(lost));
}

/* ---- files ---- */

static int load(const struct reader *r, const char *directory, const char *name, uint8_t **out,
		size_t *len)
{
	struct qdrant_file file;
	int err = qdrant_file_open(&file, directory, name);

	*out = NULL;
	*len = 0;
	if (!err)
		err = qdrant_file_load(&file, MAPPING_MAX, out, len);
	if (err && err != -ENOMEM) {
		qdrant_note(r->notes, "%s: %s", file.path, strerror(-err));
		err = 0;
	}
	qdrant_file_close(&file);
	return err;
}

static int load_all(struct reader *r, const char *directory, uint8_t **mapping)
{
	const char *prefix = r->immutable ? "id_tracker" : "mutable_id_tracker";
	size_t versions = 0, deleted = 0;
	char name[64];
	int err;

	snprintf(name, sizeof(name), "%s.mappings", prefix);
	r->ids->mapping = qdrant_path(directory, name);
	err = r->ids->mapping ? load(r, directory, name, mapping, &r->len) : -ENOMEM;
	snprintf(name, sizeof(name), "%s.versions", prefix);
	if (!err)
		err = load(r, directory, name, &r->versions, &versions);
	if (!err && r->immutable)
		err = load(r, directory, "id_tracker.deleted", &r->deleted, &deleted);
	r->bytes = *mapping;
	r->version_count = versions / 8;
	r->deleted_count = deleted * UINT64_C(8);
	if (r->len < (r->immutable ? HEAD_LEN : 1))
		r->len = 0;
	return err;
}

static int read_mapping(struct reader *r)
{
	struct qdrant_ids *ids = r->ids;
	uint64_t said;
	int err;

	/* As many offsets as there can be inserts. Offsets that are lost count as well. */
	r->bound = pfs_min_u64(pfs_max_u64(r->len / INSERT_MIN, r->version_count) + 1, UINT32_MAX);
	if (!r->len) {
		ids->damaged = r->immutable; /* a new log has no bytes */
		return take_points(r);
	}
	err = read_entries(r);
	if (!err)
		err = take_points(r);
	if (!err && r->immutable) {
		said = pfs_get_le64(r->bytes);
		if (said != ids->known_end) {
			ids->damaged = true;
			qdrant_note(r->notes, "%s: holds %" PRIu64 " %s, not %" PRIu64,
				    ids->mapping, ids->known_end,
				    ids->known_end == 1 ? "entry" : "entries", said);
		}
		if (r->deleted_count < ids->known_end)
			ids->damaged = true;
	}
	return err;
}

/* Names the kind of id tracker that the segment has, if it is one that we can't read. */
static int refuse_tracker(const char *directory, struct pfs_reason *reason)
{
	static const char remedy[] =
		"read them through Qdrant (its scroll API, whose answers import takes, too)";

	if (qdrant_is_file(directory, "id_tracker.i2e") ||
	    qdrant_is_file(directory, "id_tracker.e2i") ||
	    qdrant_is_file(directory, "id_tracker.is_uuid"))
		return pfs_refuse(reason, -EPROTONOSUPPORT,
				  "%s: its ids are in a disk-resident id tracker (id_tracker.i2e), "
				  "which is not known; %s",
				  directory, remedy);
	if (qdrant_is_file(directory, "CURRENT"))
		return pfs_refuse(reason, -EPROTONOSUPPORT,
				  "%s: an older release of Qdrant kept its ids in RocksDB there, "
				  "which is not known; open it once with Qdrant 1.16, which "
				  "converts it, or %s",
				  directory, remedy);
	return pfs_refuse(reason, -ENOENT,
			  "%s: has no id tracker, so which payload is whose is not known; with "
			  "--offset-ids each gets its internal offset as id",
			  directory);
}

int qdrant_ids_read(struct qdrant_ids *ids, const char *directory, const struct qdrant_notes *notes,
		    struct pfs_reason *reason)
{
	struct reader r = {.ids = ids, .notes = notes};
	uint8_t *mapping = NULL;
	int err;

	memset(ids, 0, sizeof(*ids));
	r.immutable = qdrant_is_file(directory, "id_tracker.mappings") ||
		      qdrant_is_file(directory, "id_tracker.deleted");
	if (!r.immutable && !qdrant_is_file(directory, "mutable_id_tracker.mappings") &&
	    !qdrant_is_file(directory, "mutable_id_tracker.versions"))
		return refuse_tracker(directory, reason);
	err = load_all(&r, directory, &mapping);
	if (!err)
		err = read_mapping(&r);
	if (!err)
		look_for_lost(&r);
	free(mapping);
	free(r.versions);
	free(r.deleted);
	free(r.changes);
	free(r.shared);
	if (err)
		qdrant_ids_free(ids);
	return err;
}

void qdrant_ids_free(struct qdrant_ids *ids)
{
	free(ids->points);
	free(ids->known);
	free(ids->mapping);
	free(ids->gaps);
	memset(ids, 0, sizeof(*ids));
}
