/* Checking a published collection: bytes against the checksums of their chunks, as the origin has
 * them and not a cache; pages as those of a store; the table of keys against slots and containers.
 */
#include <stdlib.h>

#include "storage/check.h"
#include "storage/crc.h"
#include "storage/published.h"

#define WINDOW PFS_MIB
#define TRIALS_MAX (8 * PFS_GIB) /* bytes summed in the search for damaged bits, in all */

_Static_assert(WINDOW % PFS_CHUNK_LEN == 0, "windows hold whole chunks");

struct checking {
	struct pfs_published *p;
	struct pfs_generation *g;
	struct pfs_check check;
	pfs_finding_fn *fn; /* of the caller */
	void *arg;
	const struct pfs_manifest_object *page; /* that is being checked, or NULL */
	char name[PFS_OBJECT_NAME_MAX];		/* of the object */
	uint8_t *window;
	struct pfs_key_block *block;
};

/* ---- findings ---- */

/* A page finds things in itself as it would be with its hole, and calls itself page 1. */
static void on_finding(void *arg, const struct pfs_finding *finding)
{
	struct checking *c = arg;
	struct pfs_finding own = *finding;

	if (c->page && strncmp(own.where, "page-0", 6) == 0) {
		snprintf(own.where, sizeof(own.where), "%s", c->name);
		if (own.offset >= c->page->head)
			own.offset -=
				pfs_min_u64(own.offset - c->page->head, pfs_page_hole(c->page));
	}
	if (c->fn)
		c->fn(c->arg, &own);
	else
		pfs_logf(c->check.logger, own.fatal ? PFS_LOG_ERROR : PFS_LOG_INFO,
			 "%s at byte %llu: %s", own.where, (unsigned long long)own.offset,
			 own.text);
}

/* ---- a page with its hole ---- */

struct holed_dir {
	struct pfs_dir base;
	struct pfs_dir *origin;
	const struct pfs_manifest_object *page;
	const char *name;
};

struct holed_file {
	struct pfs_file base;
	struct pfs_file *file;
	const struct pfs_manifest_object *page;
};

static void holed_close(struct pfs_file *base)
{
	struct holed_file *f = (struct holed_file *)base;

	f->file->ops->close(f->file);
	free(f);
}

static int holed_size(struct pfs_file *base, uint64_t *out)
{
	*out = UINT64_C(1) << ((struct holed_file *)base)->page->size_log2;
	return 0;
}

static ssize_t holed_read(struct pfs_file *base, void *buf, size_t len, uint64_t off)
{
	struct holed_file *f = (struct holed_file *)base;
	uint64_t hole = pfs_page_hole(f->page), head = f->page->head;
	uint64_t size = UINT64_C(1) << f->page->size_log2;
	size_t done = 0;

	len = off < size ? pfs_min_u64(len, size - off) : 0;
	while (done < len) {
		uint8_t *to = (uint8_t *)buf + done;
		uint64_t at = off + done, part;
		ssize_t n;

		if (at >= head && at < head + hole) {
			part = pfs_min_u64(len - done, head + hole - at);
			memset(to, 0, part);
			done += part;
			continue;
		}
		part = at < head ? pfs_min_u64(len - done, head - at) : len - done;
		n = f->file->ops->read(f->file, to, part, at < head ? at : at - hole);
		if (n < 0)
			return n;
		done += (size_t)n;
		if ((uint64_t)n < part)
			break;
	}
	return (ssize_t)done;
}

static const struct pfs_io_ops holed_file_ops = {
	.close = holed_close, .size = holed_size, .read = holed_read};

static int holed_open(struct pfs_dir *base, const char *name, unsigned flags, struct pfs_file **out)
{
	const struct holed_dir *dir = (const struct holed_dir *)base;
	struct holed_file *f = calloc(1, sizeof(*f));
	int err;

	(void)name;
	*out = NULL;
	if (!f)
		return -ENOMEM;
	f->base.ops = &holed_file_ops;
	f->page = dir->page;
	err = dir->origin->ops->open(dir->origin, dir->name, flags, &f->file);
	if (err) {
		free(f);
		return err;
	}
	*out = &f->base;
	return 0;
}

static const struct pfs_io_ops holed_dir_ops = {.open = holed_open};

static int check_page(struct checking *c)
{
	struct holed_dir dir = {
		.base.ops = &holed_dir_ops, .origin = c->p->dir, .page = c->page, .name = c->name};
	struct pfs_checked_page page = {.number = PFS_PUBLISHED_PAGE, .file_size = c->page->len};
	const uint64_t done = c->check.done, total = c->check.total;
	pfs_progress_fn *progress = c->check.progress;
	int err;

	/* Its bytes were counted as those of the object. */
	c->check.progress = NULL;
	c->check.dir = &dir.base;
	err = pfs_check_page(&c->check, &page);
	c->check.progress = progress;
	c->check.done = done;
	c->check.total = total;
	free(page.live);
	free(page.odd);
	return err;
}

/* ---- keys against the page ---- */

static void say(struct checking *c, uint64_t off, const struct pfs_key *key, const char *text)
{
	if (key)
		c->check.result->damaged++;
	pfs_check_say(&c->check, true, c->name, off, key, "%s", text);
}

/* NULL: the entry is that of the slot and of the container. -EIO goes for damage, too. */
static const char *compare(const struct checking *c, struct pfs_check_reader *slots,
			   struct pfs_check_reader *containers, uint32_t number,
			   const struct pfs_key_entry *e, const struct pfs_key *key)
{
	const struct pfs_manifest_object *page = c->page;
	uint64_t floor = page->head + pfs_page_hole(page), size = UINT64_C(1) << page->size_log2;
	const struct pfs_manifest *m = &c->g->m;
	struct pfs_container_base base = {key->kind, pfs_key_tag(key), PFS_PUBLISHED_SEQ,
					  page->base_mtime};
	struct pfs_container v;
	struct pfs_key found;
	struct pfs_slot slot;
	const uint8_t *bytes;
	size_t have = pfs_min_u64(e->len, PFS_CONTAINER_HEADER_MAX);

	if (pfs_check_read(slots, pfs_slot_offset(number), PFS_SLOT_LEN, &bytes) != 0)
		return "its slot can't be read";
	if (pfs_slot_decode(&slot, (const struct pfs_slot_disk *)bytes, floor,
			    size - PFS_PAGE_TRAILER_LEN) != 0 ||
	    slot.kind != base.kind || slot.tag != base.tag || slot.off != floor + e->off ||
	    slot.len != e->len)
		return "the table of keys does not say what its slot says";
	if (pfs_check_read(containers, page->head + e->off, have, &bytes) != 0)
		return "its container can't be read";
	if (pfs_container_header_decode(&v, bytes, have, e->len, &base) != 0 ||
	    pfs_container_key(&found, &v, base.kind, base.tag) != 0 ||
	    !pfs_key_equal(&found, key) || v.raw_len != e->raw_len || v.mtime_ns != e->mtime_ns ||
	    !!(v.flags & PFS_CONTAINER_ATTR) != e->own_attr ||
	    (e->own_attr && (v.mode != e->mode || v.uid != e->uid || v.gid != e->gid)) ||
	    (v.dict && (m->objects[0].role != PFS_OBJECT_DICT || v.dict != m->objects[0].count)))
		return "the table of keys does not say what its container says";
	return NULL;
}

static void compare_block(struct checking *c, struct pfs_check_reader *slots,
			  struct pfs_check_reader *containers)
{
	for (uint32_t i = 0; i < c->block->count; i++) {
		const struct pfs_key_entry *e = &c->block->entries[i];
		const char *why;
		struct pfs_key key;

		pfs_key_from_bytes(&key, c->block->kind, e->key);
		why = compare(c, slots, containers, c->block->first + i, e, &key);
		if (why)
			say(c, c->page->head + e->off, &key, why);
	}
}

/* The block, from the origin. False: it was said that it is damaged. */
static bool read_block(struct checking *c, struct pfs_file *keys, uint32_t number)
{
	const struct pfs_manifest_block *about = &c->g->m.blocks[number];
	const struct pfs_manifest_object *o = &c->g->m.objects[about->keys];
	const struct pfs_key_entry *last;
	char page[PFS_OBJECT_NAME_MAX];
	bool good;

	good = keys->ops->read(keys, c->window, about->len, about->off) == (ssize_t)about->len &&
	       pfs_key_block_decode(c->block, c->window, about->len) == 0;
	last = good ? &c->block->entries[c->block->count - 1] : NULL;
	if (good && c->block->kind == about->kind && c->block->count == about->count &&
	    memcmp(c->block->entries[0].key, about->key, 16) == 0 &&
	    c->block->first + c->page->first_rank == about->rank &&
	    (uint64_t)last->off + last->len <= pfs_page_containers_len(c->page))
		return true;
	memcpy(page, c->name, sizeof(page));
	pfs_object_name(c->name, o->role, o->hash);
	say(c, about->off, NULL, "a block of keys is damaged: its documents can't be found");
	c->check.result->damaged += about->count;
	memcpy(c->name, page, sizeof(page));
	return false;
}

/* sound: nothing is wrong with the page; else what is was said. */
static int check_keys(struct checking *c, struct pfs_file *file, bool sound)
{
	const struct pfs_manifest *m = &c->g->m;
	uint32_t number = c->page->first_block;
	const struct pfs_manifest_object *o = &m->objects[m->blocks[number].keys];
	struct pfs_check_reader slots = {0}, containers = {0};
	char name[PFS_OBJECT_NAME_MAX];
	struct pfs_file *keys;
	int err;

	pfs_object_name(name, o->role, o->hash);
	if (c->p->dir->ops->open(c->p->dir, name, 0, &keys) != 0)
		return 0; /* which was said */
	err = pfs_check_reader_new(&slots, file);
	if (!err)
		err = pfs_check_reader_new(&containers, file);
	for (; !err && number < m->block_count && &m->objects[m->blocks[number].page] == c->page;
	     number++) {
		if (read_block(c, keys, number) && sound)
			compare_block(c, &slots, &containers);
	}
	pfs_check_reader_free(&slots);
	pfs_check_reader_free(&containers);
	keys->ops->close(keys);
	return err;
}

/* ---- objects ---- */

/* Every chunk. True: all are right. */
static bool check_chunks(struct checking *c, const struct pfs_manifest_object *o,
			 struct pfs_file *file)
{
	const uint32_t *crcs = c->g->m.crcs + o->chunk;
	bool right = true;

	for (uint64_t off = 0; off < o->len; off += WINDOW) {
		size_t len = pfs_min_u64(WINDOW, o->len - off);
		ssize_t n = file->ops->read(file, c->window, len, off);

		if (n != (ssize_t)len) {
			pfs_check_say(&c->check, true, c->name, off, NULL, "can't be read: %s",
				      strerror(n < 0 ? (int)-n : EIO));
			right = false;
		}
		for (size_t at = 0; n == (ssize_t)len && at < len; at += PFS_CHUNK_LEN) {
			size_t part = pfs_min_u64(PFS_CHUNK_LEN, len - at);

			if (pfs_crc32c(0, c->window + at, part) == crcs[(off + at) / PFS_CHUNK_LEN])
				continue;
			say(c, off + at, NULL, "checksum of 64 KiB");
			right = false;
		}
		c->check.done += len;
		if (c->check.progress)
			c->check.progress(c->arg, c->check.done, c->check.total);
	}
	return right;
}

static int check_dict(struct checking *c, const struct pfs_manifest_object *o, bool right)
{
	struct pfs_checked_dict *dict = calloc(1, sizeof(*dict));

	if (!dict)
		return -ENOMEM;
	dict->number = o->count;
	c->check.dicts = dict;
	c->check.dict_count = c->check.dict_cap = 1;
	return right ? pfs_codec_dict_new(&dict->codec, c->window, o->len) : 0;
}

static int check_object(struct checking *c, uint32_t i)
{
	const struct pfs_manifest_object *o = &c->g->m.objects[i];
	struct pfs_file *file;
	uint64_t size = 0, before;
	bool right;
	int err;

	pfs_object_name(c->name, o->role, o->hash);
	c->page = NULL;
	err = c->p->dir->ops->open(c->p->dir, c->name, 0, &file);
	if (!err) {
		err = c->p->dir->ops->size(file, &size);
		if (err)
			file->ops->close(file);
	}
	if (err == -ENOMEM)
		return err;
	if (err) {
		pfs_check_say(&c->check, true, c->name, 0, NULL, "can't be opened: %s",
			      strerror(-err));
		c->check.result->damaged += o->role == PFS_OBJECT_PAGE ? o->count : 0;
		c->check.counts_known = false;
		return o->role == PFS_OBJECT_DICT ? check_dict(c, o, false) : 0;
	}
	if (size != o->len)
		pfs_check_say(&c->check, true, c->name, size, NULL,
			      "it has %llu bytes, not the %llu that the manifest says",
			      (unsigned long long)size, (unsigned long long)o->len);
	right = check_chunks(c, o, file);
	if (o->role == PFS_OBJECT_DICT)
		err = check_dict(c, o, right);
	if (o->role == PFS_OBJECT_PAGE) {
		c->page = o;
		before = c->check.result->findings;
		err = check_page(c);
		if (!err)
			err = check_keys(c, file, right && c->check.result->findings == before);
		c->check.result->pages++;
		c->page = NULL;
	}
	file->ops->close(file);
	return err;
}

/* ---- the whole ---- */

static void prepare(struct checking *c, struct pfs_check_result *result)
{
	struct pfs_check *check = &c->check;

	check->logger = &c->p->logger;
	check->fn = on_finding;
	check->arg = c;
	check->result = result;
	memcpy(check->super.uuid, c->g->m.uuid, PFS_UUID_LEN);
	check->super.min_value_size = PFS_PUBLISHED_VALUE_MIN;
	check->super.sequence = PFS_PUBLISHED_SEQ;
	check->super.pages.highest = PFS_PUBLISHED_PAGE;
	check->clean = true;
	check->window = UINT64_MAX;
	check->trials = TRIALS_MAX;
	check->counts_known = true;
	check->raw = malloc(PFS_BLOCK_LEN);
	check->probe = malloc(PFS_CHECK_PREFIX);
	for (uint32_t i = 0; i < c->g->m.object_count; i++)
		check->total += c->g->m.objects[i].len;
	c->window = malloc(pfs_max_u64(WINDOW, PFS_KEY_BLOCK_LEN_MAX));
	c->block = malloc(sizeof(*c->block));
}

int pfs_published_check(struct pfs_published *p, pfs_finding_fn *fn, pfs_progress_fn *progress,
			void *arg, struct pfs_check_result *result)
{
	struct checking c = {.p = p, .fn = fn, .arg = arg};
	int err = 0;

	*result = (struct pfs_check_result){0};
	c.g = pfs_published_current(p);
	prepare(&c, result);
	c.check.progress = progress;
	if (!c.check.raw || !c.check.probe || !c.window || !c.block)
		err = -ENOMEM;
	for (uint32_t i = 0; i < c.g->m.object_count && !err; i++)
		err = check_object(&c, i);
	if (!err && c.check.counts_known &&
	    (c.check.points != c.g->m.points || c.check.raw_bytes != c.g->m.raw_bytes ||
	     c.check.container_bytes != c.g->m.container_bytes)) {
		pfs_generation_name(c.name, c.g->m.generation);
		say(&c, 0, NULL, "its counts are not those of its pages");
	}
	pfs_check_end(&c.check);
	free(c.window);
	free(c.block);
	pfs_generation_put(p, c.g);
	return err;
}
