/* Checking a published collection: bytes against the checksums of their chunks, as the origin has
 * them and not a cache; pages as those of a store; the table of keys against slots and containers.
 */
#include <stdlib.h>

#include "storage/check.h"
#include "storage/crc.h"
#include "storage/published.h"

#define WINDOW PFS_MIB
#ifndef WHOLE_MAX
#define WHOLE_MAX (64 * PFS_MIB) /* objects up to here are read once */
#endif
#define TRIALS_MAX (8 * PFS_GIB) /* bytes summed in the search for damaged bits, in all */

_Static_assert(WINDOW % PFS_CHUNK_LEN == 0, "windows hold whole chunks");
_Static_assert(WINDOW >= PFS_KEY_BLOCK_LEN_MAX + 2 * PFS_CHUNK_LEN, "and a block's");

/* A file of which everything is in memory. */
struct loaded_file {
	struct pfs_file base;
	uint8_t *bytes;
	uint64_t len;
};

struct checking {
	struct pfs_published *p;
	struct pfs_generation *g;
	struct pfs_check check;
	pfs_finding_fn *fn; /* of the caller */
	void *arg;
	const bool *stop;
	const struct pfs_manifest_object *page; /* that is being checked, or NULL */
	char name[PFS_OBJECT_NAME_MAX];		/* of the object */
	uint8_t *bad;	    /* a bit for each chunk of the page that does not verify */
	uint64_t bad_count; /* of these */
	uint8_t *window;
	struct loaded_file whole; /* the object, unless it is too long */
	struct pfs_key_block *block;
	/* The object of keys that the last page needed. */
	uint32_t keys;
	struct pfs_file *keys_file; /* NULL: it can't be opened */
	struct pfs_check_reader keys_reader;
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

/* ---- an object in memory ---- */

static ssize_t loaded_read(struct pfs_file *base, void *buf, size_t len, uint64_t off)
{
	const struct loaded_file *f = (const struct loaded_file *)base;

	len = off < f->len ? pfs_min_u64(len, f->len - off) : 0;
	memcpy(buf, f->bytes + (len ? off : 0), len);
	return (ssize_t)len;
}

/* It is read, and nothing else. */
static const struct pfs_io_ops loaded_ops = {.read = loaded_read};

/* ---- a page with its hole ---- */

struct holed_dir {
	struct pfs_dir base;
	struct pfs_file *file; /* of the object */
	const struct pfs_manifest_object *page;
};

struct holed_file {
	struct pfs_file base;
	struct pfs_file *file;
	const struct pfs_manifest_object *page;
};

static void holed_close(struct pfs_file *base)
{
	free(base); /* the object's file is the check's */
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

	(void)name;
	(void)flags;
	*out = NULL;
	if (!f)
		return -ENOMEM;
	f->base.ops = &holed_file_ops;
	f->file = dir->file;
	f->page = dir->page;
	*out = &f->base;
	return 0;
}

static const struct pfs_io_ops holed_dir_ops = {.open = holed_open};

static int check_page(struct checking *c, struct pfs_file *file)
{
	struct holed_dir dir = {.base.ops = &holed_dir_ops, .file = file, .page = c->page};
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
	    (e->own_attr && (v.mode != e->mode || v.uid != e->uid || v.gid != e->gid)))
		return "the table of keys does not say what its container says";
	return NULL;
}

/* Whether readers get none of a range of the page, because they verify chunks. */
static bool is_bad(const struct checking *c, uint64_t off, uint64_t len)
{
	for (uint64_t i = off / PFS_CHUNK_LEN; i <= (off + len - 1) / PFS_CHUNK_LEN; i++) {
		if (pfs_check_bit(c->bad, (uint32_t)i))
			return true;
	}
	return false;
}

/* sound: nothing is wrong with the page; else what is was said, but for chunks. */
static void compare_block(struct checking *c, struct pfs_check_reader *slots,
			  struct pfs_check_reader *containers, bool sound)
{
	for (uint32_t i = 0; i < c->block->count; i++) {
		const struct pfs_key_entry *e = &c->block->entries[i];
		const char *why = NULL;
		struct pfs_key key;

		pfs_key_from_bytes(&key, c->block->kind, e->key);
		/* Of an empty one nobody reads the container. */
		if (c->bad_count && e->raw_len && is_bad(c, c->page->head + e->off, e->len))
			why = "it lies in bytes that do not verify";
		else if (sound)
			why = compare(c, slots, containers, c->block->first + i, e, &key);
		if (why)
			say(c, c->page->head + e->off, &key, why);
	}
}

/* The object's file is opened once for all pages that have their keys in it. -ENOMEM. */
static int open_keys(struct checking *c, uint32_t object)
{
	const struct pfs_manifest_object *o = &c->g->m.objects[object];
	char name[PFS_OBJECT_NAME_MAX];

	if (c->keys == object)
		return 0;
	if (c->keys_file)
		c->keys_file->ops->close(c->keys_file);
	c->keys_file = NULL;
	pfs_check_reader_free(&c->keys_reader);
	c->keys = object;
	pfs_object_name(name, o->role, o->hash);
	if (c->p->dir->ops->open(c->p->dir, name, 0, &c->keys_file) != 0)
		c->keys_file = NULL; /* which was said */
	return pfs_check_reader_new(&c->keys_reader, c->keys_file);
}

/* The chunks that the block lies in, verified; from the origin. NULL: they are not to be had. */
static const uint8_t *read_chunks(struct checking *c, const struct pfs_manifest_block *about)
{
	const struct pfs_manifest_object *o = &c->g->m.objects[about->keys];
	uint64_t first = about->off / PFS_CHUNK_LEN, from = first * PFS_CHUNK_LEN;
	uint64_t end = pfs_round_up((uint64_t)about->off + about->len, PFS_CHUNK_LEN);
	size_t len = pfs_min_u64(end, o->len) - from;
	const uint8_t *bytes;

	if (pfs_check_read(&c->keys_reader, from, len, &bytes) != 0)
		return NULL;
	for (size_t at = 0; at < len; at += PFS_CHUNK_LEN) {
		if (pfs_crc32c(0, bytes + at, pfs_min_u64(PFS_CHUNK_LEN, len - at)) !=
		    c->g->m.crcs[o->chunk + first + at / PFS_CHUNK_LEN])
			return NULL;
	}
	return bytes + (about->off - from);
}

/* The block, from the origin. */
static bool read_block(struct checking *c, uint32_t number)
{
	const struct pfs_manifest_block *about = &c->g->m.blocks[number];
	const uint8_t *bytes = read_chunks(c, about);

	return bytes && pfs_key_block_decode(c->block, bytes, about->len) == 0 &&
	       !pfs_published_misfit(c->g, number, c->block);
}

/* Whose slot it is, as far as slot and container tell. */
static void name_slot(const struct checking *c, struct pfs_check_reader *slots,
		      struct pfs_check_reader *containers, uint32_t number, struct pfs_key *key)
{
	uint64_t hole = pfs_page_hole(c->page), size = UINT64_C(1) << c->page->size_log2;
	struct pfs_container_base base = {.base_seq = PFS_PUBLISHED_SEQ,
					  .base_mtime = c->page->base_mtime};
	struct pfs_container v;
	struct pfs_slot slot;
	const uint8_t *bytes;
	size_t have;

	*key = (struct pfs_key){.kind = PFS_KEY_NONE};
	if (pfs_check_read(slots, pfs_slot_offset(number), PFS_SLOT_LEN, &bytes) != 0 ||
	    pfs_slot_decode(&slot, (const struct pfs_slot_disk *)bytes, c->page->head + hole,
			    size - PFS_PAGE_TRAILER_LEN) != 0)
		return;
	if (slot.kind == PFS_KEY_NUM)
		*key = pfs_key_num(slot.tag);
	if (slot.kind != PFS_KEY_UUID)
		return;
	have = pfs_min_u64(slot.len, PFS_CONTAINER_HEADER_MAX);
	base.kind = slot.kind;
	base.tag = slot.tag;
	if (pfs_check_read(containers, slot.off - hole, have, &bytes) != 0 ||
	    pfs_container_header_decode(&v, bytes, have, slot.len, &base) != 0 ||
	    pfs_container_key(key, &v, base.kind, base.tag) != 0)
		key->kind = PFS_KEY_NONE;
}

/* Nobody finds the documents of the block. */
static void name_block(struct checking *c, struct pfs_check_reader *slots,
		       struct pfs_check_reader *containers, uint32_t number)
{
	const struct pfs_manifest_block *about = &c->g->m.blocks[number];
	uint32_t first = about->rank - (uint32_t)c->page->first_rank;

	for (uint32_t i = 0; i < about->count; i++) {
		struct pfs_key key;

		name_slot(c, slots, containers, first + i, &key);
		c->check.result->damaged++;
		pfs_check_say(&c->check, true, c->name, pfs_slot_offset(first + i), &key,
			      "its part of the table of keys is damaged");
	}
}

static int check_keys(struct checking *c, struct pfs_file *file, bool sound)
{
	const struct pfs_manifest *m = &c->g->m;
	uint32_t number = c->page->first_block;
	struct pfs_check_reader slots = {0}, containers = {0};
	int err = open_keys(c, m->blocks[number].keys);

	if (!err)
		err = pfs_check_reader_new(&slots, file);
	if (!err)
		err = pfs_check_reader_new(&containers, file);
	for (; !err && number < m->block_count && &m->objects[m->blocks[number].page] == c->page;
	     number++) {
		if (read_block(c, number))
			compare_block(c, &slots, &containers, sound);
		else
			name_block(c, &slots, &containers, number);
	}
	pfs_check_reader_free(&slots);
	pfs_check_reader_free(&containers);
	return err;
}

/* ---- objects ---- */

static void bad_chunk(struct checking *c, uint64_t chunk)
{
	pfs_check_set_bit(c->bad, (uint32_t)chunk);
	c->bad_count++;
}

/* Every chunk. file NULL: there is none. -ECANCELED. */
static int check_chunks(struct checking *c, const struct pfs_manifest_object *o,
			struct pfs_file *file)
{
	const uint32_t *crcs = c->g->m.crcs + o->chunk;

	for (uint64_t off = 0; off < o->len && !pfs_is_set(c->stop); off += WINDOW) {
		size_t len = pfs_min_u64(WINDOW, o->len - off);
		uint8_t *window = c->whole.bytes ? c->whole.bytes + off : c->window;
		ssize_t n = file ? file->ops->read(file, window, len, off) : 0;

		if (file && n != (ssize_t)len)
			pfs_check_say(&c->check, true, c->name, off, NULL, "can't be read: %s",
				      n < 0 ? strerror((int)-n) : "it ends here");
		for (size_t at = 0; at < len; at += PFS_CHUNK_LEN) {
			size_t part = pfs_min_u64(PFS_CHUNK_LEN, len - at);
			uint64_t chunk = (off + at) / PFS_CHUNK_LEN;

			if (n == (ssize_t)len && pfs_crc32c(0, window + at, part) == crcs[chunk])
				continue;
			bad_chunk(c, chunk);
			if (n == (ssize_t)len)
				say(c, off + at, NULL, "checksum of 64 KiB");
		}
		c->check.done += len;
		if (c->check.progress)
			c->check.progress(c->arg, c->check.done, c->check.total);
	}
	return pfs_is_set(c->stop) ? -ECANCELED : 0;
}

static int check_dict(struct checking *c, const struct pfs_manifest_object *o)
{
	struct pfs_checked_dict *dict = calloc(1, sizeof(*dict));

	if (!dict)
		return -ENOMEM;
	dict->number = o->count;
	c->check.dicts = dict;
	c->check.dict_count = c->check.dict_cap = 1;
	return c->bad_count ? 0 : pfs_codec_dict_new(&dict->codec, c->whole.bytes, o->len);
}

/* The page's documents. What does not verify does not reach a reader, so that the rest of a page
 * with bad chunks need not be looked at. */
static int check_documents(struct checking *c, struct pfs_file *file)
{
	uint64_t before = c->check.result->findings;
	int err = 0;

	c->check.result->pages++;
	if (c->bad_count) {
		c->check.result->documents += c->page->count;
		c->check.counts_known = false;
	} else {
		err = check_page(c, file);
	}
	return err ? err
		   : check_keys(c, file, !c->bad_count && c->check.result->findings == before);
}

/* The object's file, whose length is what it should be; NULL: it was said that there is none. */
static int open_object(struct checking *c, const struct pfs_manifest_object *o,
		       struct pfs_file **file)
{
	uint64_t size = 0;
	int err = c->p->dir->ops->open(c->p->dir, c->name, 0, file);

	if (!err) {
		err = c->p->dir->ops->size(*file, &size);
		if (err)
			(*file)->ops->close(*file);
	}
	if (err)
		*file = NULL;
	if (err == -ENOMEM)
		return err;
	if (err)
		pfs_check_say(&c->check, true, c->name, 0, NULL, "can't be opened: %s",
			      strerror(-err));
	else if (size != o->len)
		pfs_check_say(&c->check, true, c->name, size, NULL,
			      "it has %llu bytes, not the %llu that the manifest says",
			      (unsigned long long)size, (unsigned long long)o->len);
	return 0;
}

static int check_object(struct checking *c, uint32_t i)
{
	const struct pfs_manifest_object *o = &c->g->m.objects[i];
	struct pfs_file *file;
	int err;

	pfs_object_name(c->name, o->role, o->hash);
	c->page = NULL;
	err = open_object(c, o, &file);
	if (err)
		return err;
	c->bad_count = 0;
	c->bad = calloc(pfs_chunks_of(o->len) / 8 + 1, 1);
	c->whole = (struct loaded_file){.base.ops = &loaded_ops, .len = o->len};
	if (o->len <= WHOLE_MAX)
		c->whole.bytes = calloc(1, o->len);
	if (!c->bad || (o->len <= WHOLE_MAX && !c->whole.bytes))
		err = -ENOMEM;
	if (!err)
		err = check_chunks(c, o, file);
	if (!err && o->role == PFS_OBJECT_DICT)
		err = check_dict(c, o);
	if (!err && o->role == PFS_OBJECT_PAGE) {
		c->page = o;
		err = check_documents(c, file && c->whole.bytes ? &c->whole.base : file);
		c->page = NULL;
	}
	free(c->bad);
	free(c->whole.bytes);
	if (file)
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
	c->window = malloc(WINDOW);
	c->block = malloc(sizeof(*c->block));
}

int pfs_published_check(struct pfs_published *p, pfs_finding_fn *fn, pfs_progress_fn *progress,
			void *arg, const bool *stop, struct pfs_check_result *result)
{
	struct checking c = {.p = p, .fn = fn, .arg = arg, .stop = stop, .keys = UINT32_MAX};
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
	if (c.keys_file)
		c.keys_file->ops->close(c.keys_file);
	pfs_check_reader_free(&c.keys_reader);
	free(c.window);
	free(c.block);
	pfs_generation_put(p, c.g);
	return err;
}
