#include "storage/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/crc.h"

#define MAGIC "PFSMANI1"
#define VERSION 1
#define CRC_END 12u /* the checksum is of what follows it */
#define BEGINS_PAGE 1u
#define BEGINS_KEYS 2u

struct manifest_disk {
	uint8_t magic[8];			     /* 000-007 MAGIC */
	pfs_le32 crc;				     /* 008-011 CRC32C of bytes 12 to the end */
	pfs_le16 version;			     /* 012-013 */
	uint8_t zero1[2];			     /* 014-015 */
	pfs_le64 incompat;			     /* 016-023 */
	pfs_le64 len;				     /* 024-031 */
	uint8_t uuid[PFS_UUID_LEN];		     /* 032-047 */
	uint8_t source[PFS_UUID_LEN];		     /* 048-063 */
	pfs_le32 generation;			     /* 064-067 */
	pfs_le32 mode, uid, gid;		     /* 068-079 */
	pfs_le64 published_ns, sequence;	     /* 080-095 */
	pfs_le64 points, raw_bytes, container_bytes; /* 096-119 */
	pfs_le64 dict_raw, dict_packed;		     /* 120-135 */
	pfs_le32 object_count, block_count;	     /* 136-143 */
	pfs_le64 chunk_count;			     /* 144-151 */
	uint8_t zero2[40];			     /* 152-191 */
};
_Static_assert(sizeof(struct manifest_disk) == 192, "format v1");

struct object_disk {
	uint8_t hash[PFS_HASH_LEN];   /* 00-15 */
	uint8_t digest[PFS_HASH_LEN]; /* 16-31 */
	pfs_le64 len;		      /* 32-39 */
	pfs_le64 base_mtime;	      /* 40-47 */
	pfs_le32 head, count;	      /* 48-55 */
	uint8_t role, size_log2;      /* 56-57 */
	uint8_t zero[6];	      /* 58-63 */
};
_Static_assert(sizeof(struct object_disk) == 64, "format v1");

struct block_disk {
	uint8_t key[16]; /* 00-15 */
	pfs_le32 len;	 /* 16-19 */
	pfs_le16 count;	 /* 20-21 */
	uint8_t kind;	 /* 22 */
	uint8_t flags;	 /* 23 */
};
_Static_assert(sizeof(struct block_disk) == 24, "format v1");

void pfs_manifest_free(struct pfs_manifest *manifest)
{
	free(manifest->objects);
	free(manifest->blocks);
	free(manifest->crcs);
	*manifest = (struct pfs_manifest){0};
}

static uint64_t encoded_len(uint64_t objects, uint64_t blocks, uint64_t chunks)
{
	return sizeof(struct manifest_disk) + objects * sizeof(struct object_disk) +
	       blocks * sizeof(struct block_disk) + chunks * sizeof(pfs_le32);
}

/* ---- encoding ---- */

static void encode_head(struct manifest_disk *disk, const struct pfs_manifest *m, size_t len)
{
	memcpy(disk->magic, MAGIC, sizeof(disk->magic));
	pfs_put_le16(disk->version.b, VERSION);
	pfs_put_le64(disk->len.b, len);
	memcpy(disk->uuid, m->uuid, sizeof(disk->uuid));
	memcpy(disk->source, m->source, sizeof(disk->source));
	pfs_put_le32(disk->generation.b, m->generation);
	pfs_put_le32(disk->mode.b, m->mode);
	pfs_put_le32(disk->uid.b, m->uid);
	pfs_put_le32(disk->gid.b, m->gid);
	pfs_put_le64(disk->published_ns.b, (uint64_t)m->published_ns);
	pfs_put_le64(disk->sequence.b, m->sequence);
	pfs_put_le64(disk->points.b, m->points);
	pfs_put_le64(disk->raw_bytes.b, m->raw_bytes);
	pfs_put_le64(disk->container_bytes.b, m->container_bytes);
	pfs_put_le64(disk->dict_raw.b, m->dict_raw);
	pfs_put_le64(disk->dict_packed.b, m->dict_packed);
	pfs_put_le32(disk->object_count.b, m->object_count);
	pfs_put_le32(disk->block_count.b, m->block_count);
	pfs_put_le64(disk->chunk_count.b, m->chunk_count);
}

static void encode_object(struct object_disk *disk, const struct pfs_manifest_object *o)
{
	memcpy(disk->hash, o->hash, sizeof(disk->hash));
	memcpy(disk->digest, o->digest, sizeof(disk->digest));
	pfs_put_le64(disk->len.b, o->len);
	pfs_put_le64(disk->base_mtime.b, (uint64_t)o->base_mtime);
	pfs_put_le32(disk->head.b, o->head);
	pfs_put_le32(disk->count.b, o->count);
	disk->role = o->role;
	disk->size_log2 = o->size_log2;
}

static void encode_block(struct block_disk *disk, const struct pfs_manifest_block *b)
{
	memcpy(disk->key, b->key, sizeof(disk->key));
	pfs_put_le32(disk->len.b, b->len);
	pfs_put_le16(disk->count.b, b->count);
	disk->kind = b->kind;
	disk->flags =
		(uint8_t)((b->begins_page ? BEGINS_PAGE : 0) | (b->begins_keys ? BEGINS_KEYS : 0));
}

int pfs_manifest_encode(const struct pfs_manifest *m, uint8_t **out, size_t *len)
{
	uint64_t total = encoded_len(m->object_count, m->block_count, m->chunk_count);
	struct object_disk *objects;
	struct block_disk *blocks;
	pfs_le32 *crcs;
	uint8_t *bytes;

	*out = NULL;
	*len = 0;
	if (total > PFS_MANIFEST_LEN_MAX || m->points > PFS_PUBLISHED_POINTS_MAX)
		return -EFBIG;
	bytes = calloc(1, total);
	if (!bytes)
		return -ENOMEM;
	encode_head((struct manifest_disk *)bytes, m, total);
	objects = (struct object_disk *)(bytes + sizeof(struct manifest_disk));
	for (uint32_t i = 0; i < m->object_count; i++)
		encode_object(&objects[i], &m->objects[i]);
	blocks = (struct block_disk *)(objects + m->object_count);
	for (uint32_t i = 0; i < m->block_count; i++)
		encode_block(&blocks[i], &m->blocks[i]);
	crcs = (pfs_le32 *)(blocks + m->block_count);
	for (uint64_t i = 0; i < m->chunk_count; i++)
		pfs_put_le32(crcs[i].b, m->crcs[i]);
	pfs_put_le32(((struct manifest_disk *)bytes)->crc.b,
		     pfs_crc32c(0, bytes + CRC_END, total - CRC_END));
	*out = bytes;
	*len = total;
	return 0;
}

/* ---- decoding ---- */

static int decode_head(struct pfs_manifest *m, const uint8_t *bytes, size_t len, const char **why)
{
	const struct manifest_disk *disk = (const struct manifest_disk *)bytes;

	*why = "not a manifest";
	if (len < sizeof(*disk) || memcmp(disk->magic, MAGIC, sizeof(disk->magic)) != 0)
		return -EUCLEAN;
	*why = "checksum";
	if (len > PFS_MANIFEST_LEN_MAX || pfs_get_le64(disk->len.b) != len ||
	    pfs_get_le32(disk->crc.b) != pfs_crc32c(0, bytes + CRC_END, len - CRC_END))
		return -EUCLEAN;
	*why = "made by a newer version of this program";
	if (pfs_get_le16(disk->version.b) != VERSION || pfs_get_le64(disk->incompat.b) != 0)
		return -EPROTONOSUPPORT;
	memcpy(m->uuid, disk->uuid, sizeof(m->uuid));
	memcpy(m->source, disk->source, sizeof(m->source));
	m->generation = pfs_get_le32(disk->generation.b);
	m->mode = pfs_get_le32(disk->mode.b);
	m->uid = pfs_get_le32(disk->uid.b);
	m->gid = pfs_get_le32(disk->gid.b);
	m->published_ns = (int64_t)pfs_get_le64(disk->published_ns.b);
	m->sequence = pfs_get_le64(disk->sequence.b);
	m->points = pfs_get_le64(disk->points.b);
	m->raw_bytes = pfs_get_le64(disk->raw_bytes.b);
	m->container_bytes = pfs_get_le64(disk->container_bytes.b);
	m->dict_raw = pfs_get_le64(disk->dict_raw.b);
	m->dict_packed = pfs_get_le64(disk->dict_packed.b);
	m->object_count = pfs_get_le32(disk->object_count.b);
	m->block_count = pfs_get_le32(disk->block_count.b);
	m->chunk_count = pfs_get_le64(disk->chunk_count.b);
	*why = "its counts make no sense";
	if (m->generation == 0 || m->generation > PFS_GENERATION_MAX || m->mode > 07777 ||
	    m->points > PFS_PUBLISHED_POINTS_MAX || m->chunk_count > PFS_MANIFEST_LEN_MAX ||
	    encoded_len(m->object_count, m->block_count, m->chunk_count) != len)
		return -EUCLEAN;
	return 0;
}

static int decode_object(struct pfs_manifest_object *o, const struct object_disk *disk)
{
	memcpy(o->hash, disk->hash, sizeof(o->hash));
	memcpy(o->digest, disk->digest, sizeof(o->digest));
	o->len = pfs_get_le64(disk->len.b);
	o->base_mtime = (int64_t)pfs_get_le64(disk->base_mtime.b);
	o->head = pfs_get_le32(disk->head.b);
	o->count = pfs_get_le32(disk->count.b);
	o->role = disk->role;
	o->size_log2 = disk->size_log2;
	if (!pfs_is_zero(disk->zero, sizeof(disk->zero)))
		return -EUCLEAN;
	switch (o->role) {
	case PFS_OBJECT_DICT:
		return o->len && o->len <= PFS_DICT_LEN_MAX && o->count && !o->head ? 0 : -EUCLEAN;
	case PFS_OBJECT_KEYS: return o->len && o->len <= UINT32_MAX && !o->head ? 0 : -EUCLEAN;
	case PFS_OBJECT_PAGE: break;
	default: return -EUCLEAN;
	}
	if (o->size_log2 < 16 || o->size_log2 > 31 || o->count == 0 ||
	    o->count > PFS_SLOT_NUMBER_MAX + 1u ||
	    o->head != PFS_PAGE_HEADER_LEN + (uint64_t)o->count * PFS_SLOT_LEN ||
	    o->len > UINT64_C(1) << o->size_log2 ||
	    o->len < o->head + (uint64_t)PFS_PAGE_TRAILER_LEN + o->count)
		return -EUCLEAN;
	return 0;
}

static int decode_objects(struct pfs_manifest *m, const struct object_disk *disk)
{
	uint64_t chunks = 0;
	unsigned role = 0;

	for (uint32_t i = 0; i < m->object_count; i++) {
		struct pfs_manifest_object *o = &m->objects[i];

		if (decode_object(o, &disk[i]) != 0 || o->role < role ||
		    (o->role == PFS_OBJECT_DICT && i != 0))
			return -EUCLEAN;
		role = o->role;
		o->chunk = chunks;
		chunks += pfs_chunks_of(o->len);
	}
	return chunks == m->chunk_count ? 0 : -EUCLEAN;
}

/* The blocks one after the other, and where they lie. */
struct walk {
	struct pfs_manifest *m;
	uint32_t keys, page;	     /* indexes of objects: the next ones */
	uint32_t keys_end, page_end; /* behind the last of each */
	uint64_t off, rank, in_page;
};

static void walk_begin(struct walk *w, struct pfs_manifest *m)
{
	uint32_t i = 0;

	*w = (struct walk){.m = m};
	while (i < m->object_count && m->objects[i].role == PFS_OBJECT_DICT)
		i++;
	w->keys = i;
	while (i < m->object_count && m->objects[i].role == PFS_OBJECT_KEYS)
		i++;
	w->keys_end = w->page = i;
	w->page_end = m->object_count;
}

/* Whether the objects that are at an end there have all that they should. */
static bool walk_may_leave(const struct walk *w, bool page, bool keys, bool begun)
{
	const struct pfs_manifest *m = w->m;

	if (!begun)
		return true;
	return (!page || w->in_page == m->objects[w->page - 1].count) &&
	       (!keys || w->off == m->objects[w->keys - 1].len);
}

static int walk_block(struct walk *w, uint32_t i)
{
	struct pfs_manifest *m = w->m;
	struct pfs_manifest_block *b = &m->blocks[i];

	if ((i == 0 && !b->begins_keys) || (b->begins_keys && !b->begins_page) ||
	    !walk_may_leave(w, b->begins_page, b->begins_keys, i != 0))
		return -EUCLEAN;
	if (b->begins_keys) {
		if (w->keys == w->keys_end)
			return -EUCLEAN;
		m->objects[w->keys++].first_block = i;
		w->off = 0;
	}
	if (b->begins_page) {
		if (w->page == w->page_end)
			return -EUCLEAN;
		m->objects[w->page].first_block = i;
		m->objects[w->page++].first_rank = w->rank;
		w->in_page = 0;
	}
	b->keys = w->keys - 1;
	b->page = w->page - 1;
	b->off = (uint32_t)w->off;
	b->rank = (uint32_t)w->rank;
	w->off += b->len;
	w->rank += b->count;
	w->in_page += b->count;
	return 0;
}

static int decode_block(struct pfs_manifest_block *b, const struct block_disk *disk,
			const struct pfs_manifest_block *before)
{
	memcpy(b->key, disk->key, sizeof(b->key));
	b->len = pfs_get_le32(disk->len.b);
	b->count = pfs_get_le16(disk->count.b);
	b->kind = disk->kind;
	b->begins_page = disk->flags & BEGINS_PAGE;
	b->begins_keys = disk->flags & BEGINS_KEYS;
	if ((disk->flags & ~(BEGINS_PAGE | BEGINS_KEYS)) ||
	    (b->kind != PFS_KEY_NUM && b->kind != PFS_KEY_UUID) ||
	    (b->kind == PFS_KEY_NUM && !pfs_is_zero(b->key + 8, 8)) || b->count == 0 ||
	    b->count > PFS_KEY_BLOCK_MAX || b->len <= PFS_KEY_BLOCK_HEADER_LEN ||
	    b->len > PFS_KEY_BLOCK_LEN_MAX)
		return -EUCLEAN;
	if (before && (b->kind < before->kind ||
		       (b->kind == before->kind && memcmp(b->key, before->key, 16) <= 0)))
		return -EUCLEAN;
	return 0;
}

static int decode_blocks(struct pfs_manifest *m, const struct block_disk *disk)
{
	struct walk w;

	walk_begin(&w, m);
	for (uint32_t i = 0; i < m->block_count; i++) {
		int err = decode_block(&m->blocks[i], &disk[i], i ? &m->blocks[i - 1] : NULL);

		if (!err)
			err = walk_block(&w, i);
		if (err)
			return err;
	}
	return w.keys == w.keys_end && w.page == w.page_end && w.rank == m->points &&
			       walk_may_leave(&w, true, true, m->block_count != 0)
		       ? 0
		       : -EUCLEAN;
}

int pfs_manifest_decode(struct pfs_manifest *m, const uint8_t *bytes, size_t len, const char **why)
{
	const struct object_disk *objects =
		(const struct object_disk *)(bytes + sizeof(struct manifest_disk));
	const struct block_disk *blocks;
	const pfs_le32 *crcs;
	int err;

	*m = (struct pfs_manifest){0};
	err = decode_head(m, bytes, len, why);
	if (err) {
		*m = (struct pfs_manifest){0};
		return err;
	}
	blocks = (const struct block_disk *)(objects + m->object_count);
	crcs = (const pfs_le32 *)(blocks + m->block_count);
	m->objects = calloc(m->object_count + 1u, sizeof(*m->objects));
	m->blocks = calloc(m->block_count + 1u, sizeof(*m->blocks));
	m->crcs = calloc(m->chunk_count + 1u, sizeof(*m->crcs));
	*why = "no memory";
	err = m->objects && m->blocks && m->crcs ? 0 : -ENOMEM;
	if (!err) {
		*why = "its objects make no sense";
		err = decode_objects(m, objects);
	}
	if (!err) {
		*why = "its table of keys makes no sense";
		err = decode_blocks(m, blocks);
	}
	for (uint64_t i = 0; !err && i < m->chunk_count; i++)
		m->crcs[i] = pfs_get_le32(crcs[i].b);
	if (err)
		pfs_manifest_free(m);
	else
		*why = "";
	return err;
}

/* ---- names ---- */

static const struct {
	const char *begin, *end;
} names[] = {
	[PFS_OBJECT_DICT] = {"dict-", ".pfd"},
	[PFS_OBJECT_KEYS] = {"keys-", ".pfk"},
	[PFS_OBJECT_PAGE] = {"page-", ".pfp"},
};

void pfs_object_name(char name[PFS_OBJECT_NAME_MAX], unsigned role,
		     const uint8_t hash[PFS_HASH_LEN])
{
	static const char digits[] = "0123456789abcdef";
	size_t n = strlen(names[role].begin);

	memcpy(name, names[role].begin, n);
	for (unsigned i = 0; i < PFS_HASH_LEN; i++) {
		name[n++] = digits[hash[i] >> 4];
		name[n++] = digits[hash[i] & 15];
	}
	memcpy(name + n, names[role].end, strlen(names[role].end) + 1);
}

static int digit_of(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool pfs_object_is_name(const char *name, unsigned *role, uint8_t hash[PFS_HASH_LEN])
{
	uint8_t bytes[PFS_HASH_LEN];

	for (unsigned r = PFS_OBJECT_DICT; r <= PFS_OBJECT_PAGE; r++) {
		size_t begin = strlen(names[r].begin);

		if (strncmp(name, names[r].begin, begin) != 0)
			continue;
		for (size_t i = 0; i < PFS_HASH_LEN; i++) {
			int high = digit_of(name[begin + 2 * i]);
			int low = high < 0 ? -1 : digit_of(name[begin + 2 * i + 1]);

			if (low < 0)
				return false;
			bytes[i] = (uint8_t)(high << 4 | low);
		}
		if (strcmp(name + begin + (size_t)2 * PFS_HASH_LEN, names[r].end) != 0)
			return false;
		*role = r;
		if (hash)
			memcpy(hash, bytes, sizeof(bytes));
		return true;
	}
	return false;
}

void pfs_generation_name(char name[PFS_OBJECT_NAME_MAX], uint32_t generation)
{
	snprintf(name, PFS_OBJECT_NAME_MAX, "generation-%08" PRIu32, generation);
}

bool pfs_generation_is_name(const char *name, uint32_t *generation)
{
	char canonical[PFS_OBJECT_NAME_MAX], rest;
	uint32_t n;

	if (sscanf(name, "generation-%8" SCNu32 "%c", &n, &rest) != 1 || n == 0)
		return false;
	pfs_generation_name(canonical, n);
	if (strcmp(name, canonical) != 0)
		return false;
	*generation = n;
	return true;
}

/* ---- current ---- */

#define CURRENT_FORMAT               \
	"payloadfs collection %u\n"  \
	"generation %08" PRIu32 "\n" \
	"length %" PRIu64 "\n"       \
	"crc32c %08" PRIx32 "\n"
#define CURRENT_SCAN              \
	"payloadfs collection %u" \
	" generation %8" SCNu32 " length %" SCNu64 " crc32c %8" SCNx32

size_t pfs_current_encode(char text[PFS_CURRENT_LEN_MAX], const struct pfs_current_generation *c)
{
	return (size_t)snprintf(text, PFS_CURRENT_LEN_MAX, CURRENT_FORMAT, VERSION, c->generation,
				c->len, c->crc);
}

int pfs_current_decode(struct pfs_current_generation *c, const char *text, size_t len)
{
	char copy[PFS_CURRENT_LEN_MAX], canonical[PFS_CURRENT_LEN_MAX];
	unsigned version = 0;
	int fields;

	*c = (struct pfs_current_generation){0};
	if (len >= sizeof(copy))
		return -EUCLEAN;
	memcpy(copy, text, len);
	copy[len] = '\0';
	fields = sscanf(copy, CURRENT_SCAN, &version, &c->generation, &c->len, &c->crc);
	if (fields >= 1 && version > VERSION)
		return -EPROTONOSUPPORT;
	/* Exactly what is written, so that no byte of it can be another. */
	if (fields != 4 || c->generation == 0 || pfs_current_encode(canonical, c) != len ||
	    memcmp(canonical, copy, len) != 0) {
		*c = (struct pfs_current_generation){0};
		return -EUCLEAN;
	}
	return 0;
}
