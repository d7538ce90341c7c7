#include "storage/publish.h"

#include <stdlib.h>
#include <unistd.h>

#include "storage/publish_internal.h"

/* What the hash of a key is mixed with, so that pages and objects of keys end at different ones. */
#define PAGE_SALT UINT64_C(0x70616765)
#define KEYS_SALT UINT64_C(0x6b657973)

/* ---- beginning ---- */

static int by_digest(const void *a, const void *b)
{
	return memcmp(((const struct publish_known *)a)->digest,
		      ((const struct publish_known *)b)->digest, PFS_HASH_LEN);
}

/* What was published before, to be found by what it was made of. */
static int know_pages(struct pfs_publish *p)
{
	const struct pfs_manifest *m = &p->before;

	p->known = malloc((m->object_count + 1u) * sizeof(*p->known));
	if (!p->known)
		return -ENOMEM;
	for (uint32_t i = 0; i < m->object_count; i++) {
		struct publish_known *known = &p->known[p->known_count];

		if (m->objects[i].role != PFS_OBJECT_PAGE)
			continue;
		memcpy(known->digest, m->objects[i].digest, sizeof(known->digest));
		known->object = i;
		p->known_count++;
	}
	if (p->known_count)
		qsort(p->known, p->known_count, sizeof(*p->known), by_digest);
	return 0;
}

struct contents {
	char foreign[PFS_NAME_MAX + 1];
};

/* Only what publishing makes may be there. */
static int look_at_name(void *arg, const char *name)
{
	struct contents *contents = arg;
	size_t len = strlen(name);
	uint32_t generation;
	unsigned role;

	if (!pfs_object_is_name(name, &role, NULL) && !pfs_generation_is_name(name, &generation) &&
	    strcmp(name, PFS_CURRENT_NAME) != 0 && strcmp(name, PFS_PUBLISH_LOCK_NAME) != 0 &&
	    !(len > 4 && strcmp(name + len - 4, ".tmp") == 0))
		snprintf(contents->foreign, sizeof(contents->foreign), "%s", name);
	return 0;
}

static int refuse_contents(struct pfs_publish *p, const char *path, struct pfs_reason *reason)
{
	struct contents contents = {0};
	int err = p->dir->ops->list(p->dir, look_at_name, &contents);

	if (err)
		return pfs_refuse(reason, err, "%s: can't be listed: %s", path, strerror(-err));
	if (contents.foreign[0])
		return pfs_refuse(reason, -ENOTEMPTY,
				  "%s: holds other files (%s); give an empty directory, or one "
				  "that was published to",
				  path, contents.foreign);
	return 0;
}

static int refuse_other(struct pfs_publish *p, const char *path, struct pfs_reason *reason)
{
	if (p->options.adopt || p->before.generation == 0 ||
	    memcmp(p->before.source, p->options.source, PFS_UUID_LEN) == 0)
		return 0;
	return pfs_refuse(reason, -EEXIST,
			  "%s: was published from another store; --adopt publishes this one there "
			  "all the same (as after restoring a backup)",
			  path);
}

static int read_before(struct pfs_publish *p, const char *path, struct pfs_reason *reason)
{
	const char *why;
	int err = publish_read_current(p->dir, &p->current, &p->before, &why);

	if (err == -ENOENT) {
		memcpy(p->uuid, p->options.source, sizeof(p->uuid));
		return refuse_contents(p, path, reason);
	}
	if (err == -EUCLEAN || err == -EPROTONOSUPPORT)
		return pfs_refuse(reason, err, "%s: %s", path, why);
	if (err)
		return pfs_refuse(reason, err, "%s: %s: %s", path, why, strerror(-err));
	memcpy(p->uuid, p->before.uuid, sizeof(p->uuid));
	err = refuse_other(p, path, reason);
	return err ? err : know_pages(p);
}

static int make_tools(struct pfs_publish *p)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	int err = pfs_hash_new(&p->hash);

	if (!err)
		err = pfs_hash_new(&p->digest);
	p->threads = p->options.threads ? p->options.threads
					: (unsigned)(processors > 0 ? processors : 1);
	p->threads = (unsigned)pfs_min_u64(p->threads, PUBLISH_THREADS_MAX);
	for (unsigned i = 0; i < p->threads && !err; i++)
		err = pfs_codec_hc_new(&p->hc[i]);
	return err;
}

static int remove_unfinished(void *arg, const char *name)
{
	struct pfs_dir *dir = arg;
	size_t len = strlen(name);

	if (len > 4 && strcmp(name + len - 4, ".tmp") == 0)
		(void)dir->ops->unlink(dir, name);
	return 0;
}

static int begin(struct pfs_publish *p, const char *path, struct pfs_reason *reason)
{
	static const char without[] = "built without libcrypto, which names what is published";
	int err = make_tools(p);

	if (err)
		return pfs_refuse(reason, err, "%s", err == -EOPNOTSUPP ? without : strerror(-err));
	/* First of all: a directory of something else gets no lock file. */
	err = read_before(p, path, reason);
	if (err)
		return err;
	err = p->dir->ops->lock(p->dir, PFS_PUBLISH_LOCK_NAME, true);
	if (err == -EOPNOTSUPP)
		return 0;
	if (err == -EWOULDBLOCK)
		return pfs_refuse(reason, -EBUSY, "%s: somebody else is publishing there", path);
	if (err)
		return pfs_refuse(reason, err, "%s: can't be locked: %s", path, strerror(-err));
	/* Unfinished files are nobody's now. */
	(void)p->dir->ops->list(p->dir, remove_unfinished, p->dir);
	/* And as nobody else changes it any more. */
	pfs_manifest_free(&p->before);
	free(p->known);
	p->known = NULL;
	p->known_count = 0;
	return read_before(p, path, reason);
}

int pfs_publish_begin(struct pfs_publish **out, struct pfs_dir *dir, const char *path,
		      const struct pfs_publish_options *options, struct pfs_reason *reason)
{
	struct pfs_publish *p = calloc(1, sizeof(*p));
	int err;

	*out = NULL;
	if (reason)
		reason->text[0] = '\0';
	if (!p)
		return pfs_refuse(reason, -ENOMEM, "%s: no memory", path);
	p->dir = dir;
	p->options = *options;
	err = begin(p, path, reason);
	if (err) {
		pfs_publish_end(p);
		return pfs_refuse(reason, err, "%s: %s", path, strerror(-err));
	}
	*out = p;
	return 0;
}

static void free_objects(struct publish_objects *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->at[i].crcs);
	free(list->at);
}

void pfs_publish_end(struct pfs_publish *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < PUBLISH_THREADS_MAX; i++)
		pfs_codec_hc_free(p->hc[i]);
	pfs_hash_free(p->hash);
	pfs_hash_free(p->digest);
	pfs_manifest_free(&p->before);
	pfs_codec_dict_free(p->dict);
	free_objects(&p->dicts);
	free_objects(&p->key_objects);
	free_objects(&p->pages);
	free(p->known);
	free(p->samples);
	free(p->sample_lens);
	free(p->docs);
	free(p->raw);
	free(p->packed);
	free(p->keys);
	free(p->blocks);
	free(p);
}

/* ---- keys ---- */

static uint64_t key_hash(const uint8_t key[16], uint64_t salt)
{
	return pfs_mix64(pfs_mix64(pfs_get_le64(key) ^ salt) ^ pfs_get_le64(key + 8));
}

/* The object of keys is complete. */
int publish_flush_keys(struct pfs_publish *p)
{
	const struct pfs_manifest_object about = {.role = PFS_OBJECT_KEYS};
	int err =
		p->keys_len ? publish_object(p, &p->key_objects, &about, p->keys, p->keys_len) : 0;

	p->keys_len = 0;
	p->keys_pages = 0;
	return err;
}

int publish_add_block(struct pfs_publish *p, const struct pfs_manifest_block *block,
		      const uint8_t *bytes, bool begins_page)
{
	struct pfs_manifest_block *to;
	int err;

	if (p->block_count == p->block_cap) {
		size_t cap = p->block_cap ? 2 * p->block_cap : 1024;
		struct pfs_manifest_block *grown = realloc(p->blocks, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		p->blocks = grown;
		p->block_cap = cap;
	}
	err = publish_reserve(&p->keys, &p->keys_cap, p->keys_len + block->len);
	if (err)
		return err;
	to = &p->blocks[p->block_count++];
	*to = *block;
	to->begins_page = begins_page;
	to->begins_keys = p->keys_len == 0;
	memcpy(p->keys + p->keys_len, bytes, block->len);
	p->keys_len += block->len;
	p->keys_pages += begins_page;
	return 0;
}

/* A page begins: whether with it an object of keys. */
static int begin_page_keys(struct pfs_publish *p)
{
	bool ends = key_hash(p->docs[0].key, KEYS_SALT) % PUBLISH_KEYS_PAGES == 0 ||
		    p->keys_pages >= PUBLISH_KEYS_PAGES_MAX || p->keys_len >= PUBLISH_KEYS_LEN_MAX;

	return ends ? publish_flush_keys(p) : 0;
}

/* ---- pages that are there already ---- */

static const struct publish_known *find_known(const struct pfs_publish *p,
					      const uint8_t digest[PFS_HASH_LEN])
{
	struct publish_known key = {.object = 0};

	memcpy(key.digest, digest, sizeof(key.digest));
	return p->known_count ? bsearch(&key, p->known, p->known_count, sizeof(key), by_digest)
			      : NULL;
}

/* The blocks of the page, of which the first begins at first, in the object that has them:
 * malloc'ed. -ENOENT: they can't be had. */
static int read_blocks(struct pfs_publish *p, uint32_t first, uint32_t end, uint8_t **out)
{
	const struct pfs_manifest_block *from = &p->before.blocks[first];
	const struct pfs_manifest_object *keys = &p->before.objects[from->keys];
	size_t len = p->before.blocks[end - 1].off + p->before.blocks[end - 1].len - from->off;
	uint8_t *bytes = malloc(len);
	char name[PFS_OBJECT_NAME_MAX];
	struct pfs_file *file;
	ssize_t n;
	int err;

	*out = NULL;
	if (!bytes)
		return -ENOMEM;
	pfs_object_name(name, keys->role, keys->hash);
	err = p->dir->ops->open(p->dir, name, 0, &file);
	if (!err) {
		n = p->dir->ops->read(file, bytes, len, from->off);
		err = n == (ssize_t)len ? 0 : -ENOENT;
		p->dir->ops->close(file);
	}
	if (err) {
		free(bytes);
		return -ENOENT;
	}
	*out = bytes;
	return 0;
}

/* Whether the bytes are the block that the manifest speaks of. */
static bool is_block(struct pfs_key_block *room, const struct pfs_manifest_block *about,
		     const uint8_t *bytes)
{
	return pfs_key_block_decode(room, bytes, about->len) == 0 && room->kind == about->kind &&
	       room->count == about->count && memcmp(room->entries[0].key, about->key, 16) == 0;
}

/* Takes the page, and its keys, as they are. -ENOENT: that can't be. */
static int reuse_page(struct pfs_publish *p, uint32_t object)
{
	const struct pfs_manifest *m = &p->before;
	const struct pfs_manifest_object *page = &m->objects[object];
	uint32_t first = page->first_block, end = first + 1;
	struct pfs_key_block *room = malloc(sizeof(*room));
	const uint8_t *at;
	uint8_t *bytes = NULL;
	int err;

	while (end < m->block_count && !m->blocks[end].begins_page)
		end++;
	err = room ? read_blocks(p, first, end, &bytes) : -ENOMEM;
	at = bytes;
	for (uint32_t i = first; i < end && !err; at += m->blocks[i++].len)
		err = is_block(room, &m->blocks[i], at) ? 0 : -ENOENT;
	if (!err)
		err = publish_reuse(p, &p->pages, page);
	if (err && err != -ENOMEM)
		err = -ENOENT;
	at = bytes;
	for (uint32_t i = first; i < end && !err; at += m->blocks[i++].len)
		err = publish_add_block(p, &m->blocks[i], at, i == first);
	free(room);
	free(bytes);
	if (!err)
		p->result.reused_pages++;
	return err;
}

/* ---- documents ---- */

/* What a page's bytes depend on, besides its documents. */
static void begin_digest(struct pfs_publish *p)
{
	uint8_t head[20] = {1};

	pfs_put_le32(head + 4, p->options.defaults.mode);
	pfs_put_le32(head + 8, p->options.defaults.uid);
	pfs_put_le32(head + 12, p->options.defaults.gid);
	pfs_put_le32(head + 16, p->dict_number);
	pfs_hash_begin(p->digest);
	pfs_hash_add(p->digest, head, sizeof(head));
	pfs_hash_add(p->digest, p->uuid, sizeof(p->uuid));
	pfs_hash_add(p->digest, p->dict_hash, sizeof(p->dict_hash));
}

static void add_to_digest(struct pfs_publish *p, const struct publish_doc *doc)
{
	uint8_t head[49];

	memcpy(head, doc->key, 16);
	head[16] = doc->kind;
	pfs_put_le64(head + 17, (uint64_t)doc->mtime_ns);
	pfs_put_le32(head + 25, doc->mode);
	pfs_put_le32(head + 29, doc->uid);
	pfs_put_le32(head + 33, doc->gid);
	pfs_put_le32(head + 37, doc->own_attr);
	pfs_put_le64(head + 41, doc->raw_len);
	pfs_hash_add(p->digest, head, sizeof(head));
	pfs_hash_add(p->digest, p->raw + doc->off, doc->raw_len);
}

/* The page is complete. */
int publish_flush_page(struct pfs_publish *p)
{
	const struct publish_known *known;
	uint8_t digest[PFS_HASH_LEN];
	int err;

	if (p->doc_count == 0)
		return 0;
	err = pfs_hash_end(p->digest, digest);
	if (!err)
		err = begin_page_keys(p);
	if (err)
		return err;
	known = find_known(p, digest);
	err = known ? reuse_page(p, known->object) : -ENOENT;
	if (err == -ENOENT)
		err = publish_pack_page(p, digest);
	p->doc_count = 0;
	p->raw_len = 0;
	p->weight = 0;
	p->own = false;
	return err;
}

/* Whether a page ends before the document. */
static bool ends_page(const struct pfs_publish *p, const struct publish_doc *doc, uint64_t weight)
{
	uint64_t chance = UINT64_MAX / PUBLISH_PAGE_TARGET * weight;

	if (p->doc_count == 0)
		return false;
	if (p->own || weight >= PUBLISH_PAGE_OWN || p->weight + weight > PUBLISH_PAGE_MAX)
		return true;
	return p->weight >= PUBLISH_PAGE_MIN && key_hash(doc->key, PAGE_SALT) < chance;
}

static int gather(struct pfs_publish *p, struct publish_doc *doc, const void *data, uint64_t weight)
{
	int err;

	if (p->doc_count == p->doc_cap) {
		size_t cap = p->doc_cap ? 2 * p->doc_cap : 4096;
		struct publish_doc *grown = realloc(p->docs, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		p->docs = grown;
		p->doc_cap = cap;
	}
	err = publish_reserve(&p->raw, &p->raw_cap, p->raw_len + doc->raw_len + 1);
	if (err)
		return err;
	if (p->doc_count == 0)
		begin_digest(p);
	doc->off = p->raw_len;
	if (doc->raw_len)
		memcpy(p->raw + p->raw_len, data, doc->raw_len);
	p->raw_len += doc->raw_len;
	p->docs[p->doc_count++] = *doc;
	p->weight += weight;
	p->own = weight >= PUBLISH_PAGE_OWN;
	add_to_digest(p, doc);
	return 0;
}

static void take_attributes(const struct pfs_publish *p, struct publish_doc *doc,
			    const struct pfs_attr *attr)
{
	const struct pfs_defaults *d = &p->options.defaults;

	doc->mtime_ns = attr->mtime_ns;
	doc->own_attr =
		(attr->mode & 07777) != d->mode || attr->uid != d->uid || attr->gid != d->gid;
	if (!doc->own_attr)
		return;
	doc->mode = attr->mode & 07777;
	doc->uid = attr->uid;
	doc->gid = attr->gid;
}

static int add(struct pfs_publish *p, struct publish_doc *doc, const void *data)
{
	uint64_t weight = (uint64_t)doc->raw_len + PUBLISH_WEIGHT_MORE;
	int err = publish_choose_dict(p);

	if (!err && ends_page(p, doc, weight))
		err = publish_flush_page(p);
	if (!err)
		err = p->result.points < PFS_PUBLISHED_POINTS_MAX ? 0 : -EFBIG;
	if (!err)
		err = gather(p, doc, data, weight);
	if (err)
		return err;
	p->last_kind = doc->kind;
	memcpy(p->last_key, doc->key, sizeof(p->last_key));
	p->result.points++;
	p->result.raw_bytes += doc->raw_len;
	return 0;
}

int pfs_publish_add(struct pfs_publish *p, const struct pfs_key *key, const struct pfs_attr *attr,
		    const void *data, size_t len)
{
	struct publish_doc doc = {.kind = key->kind, .raw_len = (uint32_t)len};

	if (p->err)
		return p->err;
	if (len > PFS_PAYLOAD_MAX)
		return -EFBIG;
	if (!pfs_key_is_point(key))
		return -EINVAL;
	pfs_key_to_bytes(doc.key, key);
	if (doc.kind < p->last_kind ||
	    (doc.kind == p->last_kind && memcmp(doc.key, p->last_key, sizeof(doc.key)) <= 0))
		return -EINVAL;
	take_attributes(p, &doc, attr);
	p->err = add(p, &doc, data);
	return p->err;
}
