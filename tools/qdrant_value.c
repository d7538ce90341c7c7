/* Reading one value of a payload storage, and asking what contradicts it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/codec.h"
#include "storage/json_scan.h"
#include "tools/qdrant_pages_internal.h"

#define BUFFER_KEEP (8 * PFS_MIB)
#define STORED_MAX (QDRANT_PAYLOAD_MAX + QDRANT_PAYLOAD_MAX / 255 + 64) /* LZ4's bound */
#define LZ4_RATIO_MAX 255

/* What speaks against a value that decodes, or NULL. */
static const char *doubt(const struct qdrant_pages *p, uint64_t internal, uint64_t first,
			 uint64_t n)
{
	if (qdrant_get_bit(p->overlaps, internal))
		return "another value lies in the same blocks: the entry of one of both in "
		       "tracker.dat is damaged";
	for (uint64_t b = first; p->marked && b < first + n; b++) {
		if (b >= p->marked_blocks || !qdrant_get_bit(p->marked, b))
			return "it lies in blocks that bitmask.dat says are free: it may be an "
			       "older value";
	}
	return NULL;
}

static int make_room(struct qdrant_buffer *buffer, size_t len)
{
	if (buffer->cap >= len && (buffer->cap <= BUFFER_KEEP || len > BUFFER_KEEP))
		return 0;
	free(buffer->bytes);
	buffer->cap = 0;
	buffer->bytes = malloc(len ? len : 1);
	if (!buffer->bytes)
		return -ENOMEM;
	buffer->cap = len;
	return 0;
}

/* Keeps what is there. */
static int grow(struct qdrant_buffer *buffer, size_t len)
{
	uint8_t *bytes;

	if (buffer->cap >= len)
		return 0;
	bytes = realloc(buffer->bytes, len);
	if (!bytes)
		return -ENOMEM;
	buffer->bytes = bytes;
	buffer->cap = len;
	return 0;
}

static void say(struct qdrant_pages *p, struct qdrant_value *v, const char *reason)
{
	v->state = QDRANT_VALUE_DAMAGED;
	v->reason = reason == p->reason ? reason : memcpy(p->reason, reason, strlen(reason) + 1);
}

/* Opens the page file, if it is not the one that is open. */
static int open_page(struct qdrant_pages *p, uint64_t number)
{
	char name[32];

	if (p->page.path && p->page_number == number)
		return p->page_err;
	qdrant_file_close(&p->page);
	p->page_number = number;
	snprintf(name, sizeof(name), "page_%" PRIu64 ".dat", number);
	p->page_err = qdrant_file_open(&p->page, p->directory, name);
	return p->page_err;
}

/* Reads the stored bytes, page by page. 0 or -ENOMEM; what can't be read makes the value damaged,
 * and its place the one where reading ended. */
static int read_stored(struct qdrant_pages *p, const struct qdrant_entry *e, struct qdrant_value *v)
{
	uint64_t number = e->page, off = e->block * p->block_size;
	int err = 0;

	if (p->stored.cap > BUFFER_KEEP && e->length <= BUFFER_KEEP)
		err = make_room(&p->stored, e->length);
	while (v->stored_len < e->length) {
		size_t want = pfs_min_u64(e->length - v->stored_len, p->page_size - off), got = 0;

		if (err != -ENOMEM)
			err = open_page(p, number);
		/* Room for what the file can have: a length may be damaged. */
		if (!err && p->page.size > off)
			err = grow(&p->stored,
				   v->stored_len + pfs_min_u64(want, p->page.size - off));
		if (err == -ENOMEM)
			return err;
		v->stored = p->stored.bytes;
		if (!err && p->page.size > off)
			err = qdrant_file_read(&p->page, off, p->stored.bytes + v->stored_len,
					       pfs_min_u64(want, p->stored.cap - v->stored_len),
					       &got);
		v->stored_len += got;
		if (err || got < want) {
			v->file = p->page.path;
			v->offset = off + got;
			snprintf(p->reason, sizeof(p->reason), "page_%" PRIu64 ".dat: %s", number,
				 err ? strerror(-err) : "the file ends inside the value");
			say(p, v, p->reason);
			return 0;
		}
		number++;
		off = 0;
	}
	/* The message names the page in which it begins. */
	err = open_page(p, e->page);
	v->file = p->page.path;
	return err == -ENOMEM ? err : 0;
}

/* 0: decoded; -EUCLEAN; -ENOMEM. */
static int decode_lz4(struct qdrant_pages *p, struct qdrant_value *v)
{
	uint64_t len;
	int err;

	if (v->stored_len <= 4)
		return -EUCLEAN;
	len = pfs_get_le32(v->stored);
	if (len > QDRANT_PAYLOAD_MAX || len / LZ4_RATIO_MAX > v->stored_len)
		return -EUCLEAN;
	err = make_room(&p->raw, len);
	if (err)
		return err;
	err = pfs_codec_unpack(p->raw.bytes, len, v->stored + 4, v->stored_len - 4, NULL);
	v->payload = p->raw.bytes;
	v->len = len;
	return err;
}

static bool is_object(const struct qdrant_value *v)
{
	const uint8_t *end = v->payload + v->len;
	struct pfs_json_scan scan;

	return v->len && *v->payload == '{' &&
	       pfs_json_scan_value(&scan, v->payload, end, true) == PFS_JSON_OK && scan.at == end;
}

static int decode(struct qdrant_pages *p, struct qdrant_value *v)
{
	const char *why = "it does not decode to its length";
	int err = -EUCLEAN;

	if (p->compression != QDRANT_RAW) {
		err = decode_lz4(p, v);
		if (err == -ENOMEM)
			return err;
		if (!err && !is_object(v)) {
			why = "it is not a JSON object";
			err = -EUCLEAN;
		}
	}
	if (err && p->compression != QDRANT_LZ4) {
		v->payload = v->stored;
		v->len = v->stored_len;
		err = v->len <= QDRANT_PAYLOAD_MAX && is_object(v) ? 0 : -EUCLEAN;
		why = "it is not a JSON object";
	}
	if (!err) {
		v->state = QDRANT_VALUE_GOOD;
		return 0;
	}
	v->payload = NULL;
	v->len = 0;
	say(p, v, why);
	return 0;
}

/* Damage in the tracker: its entry is what is kept. */
static void blame_entry(struct qdrant_pages *p, struct qdrant_value *v, uint64_t internal,
			const char *reason)
{
	v->file = p->tracker.path;
	v->offset = QDRANT_TRACKER_HEAD_LEN + QDRANT_ENTRY_LEN * internal;
	v->length = QDRANT_ENTRY_LEN;
	if (internal >= p->window_at && internal - p->window_at < p->window_len) {
		v->stored = p->window + (internal - p->window_at) * QDRANT_ENTRY_LEN;
		v->stored_len = QDRANT_ENTRY_LEN;
	}
	say(p, v, reason);
}

int qdrant_pages_value(struct qdrant_pages *p, uint64_t internal, struct qdrant_value *v)
{
	uint64_t first, n;
	struct qdrant_entry e;
	int err;

	*v = (struct qdrant_value){.state = QDRANT_VALUE_NONE};
	if (internal >= p->count)
		return 0;
	if (internal >= p->there || qdrant_get_entry(p, internal, &e)) {
		blame_entry(p, v, internal, "tracker.dat ends before its entry");
		return 0;
	}
	if (e.tag == 0)
		return 0;
	if (e.tag != 1) {
		snprintf(p->reason, sizeof(p->reason), "its entry in tracker.dat has the tag %u",
			 e.tag);
		blame_entry(p, v, internal, p->reason);
		return 0;
	}
	if (!qdrant_find_blocks(p, &e, &first, &n) || e.length > STORED_MAX) {
		snprintf(p->reason, sizeof(p->reason),
			 "its entry in tracker.dat leads out of the pages (page %u, block %u, %u "
			 "bytes)",
			 e.page, e.block, e.length);
		blame_entry(p, v, internal, p->reason);
		return 0;
	}
	v->offset = e.block * p->block_size;
	v->length = e.length;
	err = read_stored(p, &e, v);
	if (!err && v->state != QDRANT_VALUE_DAMAGED)
		err = decode(p, v);
	if (!err && v->state == QDRANT_VALUE_GOOD) {
		v->reason = doubt(p, internal, first, n);
		if (v->reason)
			v->state = QDRANT_VALUE_DOUBTFUL;
	}
	return err;
}
