/* Objects: named by their bytes, written once. */
#include <stdlib.h>

#include "storage/crc.h"
#include "storage/publish_internal.h"

int publish_reserve(uint8_t **bytes, size_t *cap, size_t need)
{
	size_t room = *cap ? *cap : 65536;
	uint8_t *grown;

	if (need <= *cap)
		return 0;
	while (room < need)
		room *= 2;
	grown = realloc(*bytes, room);
	if (!grown)
		return -ENOMEM;
	*bytes = grown;
	*cap = room;
	return 0;
}

/* ---- files ---- */

int publish_file(struct pfs_publish *p, const char *name, const void *bytes, size_t len,
		 bool only_new)
{
	const struct pfs_io_ops *ops = p->dir->ops;
	unsigned flags = PFS_IO_WRITE | PFS_IO_CREATE | PFS_IO_SHARED;
	char temp[PFS_OBJECT_NAME_MAX + 8];
	struct pfs_file *file;
	int err;

	snprintf(temp, sizeof(temp), ops->whole_files ? "%s" : "%s.tmp", name);
	/* One of an earlier publication that was cut off could be longer. */
	if (!ops->whole_files) {
		err = ops->unlink(p->dir, temp);
		if (err && err != -ENOENT)
			return err;
	}
	err = ops->open(p->dir, temp, flags | (only_new && ops->whole_files ? PFS_IO_EXCL : 0),
			&file);
	if (err)
		return err;
	err = ops->write(file, bytes, len, 0);
	if (!err)
		err = ops->whole_files ? ops->sync(file) : pfs_file_sync(file);
	ops->close(file);
	if (ops->whole_files)
		return err;
	if (!err)
		err = ops->rename(p->dir, temp, name);
	if (err)
		(void)ops->unlink(p->dir, temp);
	return err;
}

/* As publish_read, of an open file. */
static int read_whole(struct pfs_file *file, uint64_t expected, uint64_t max, uint8_t **out,
		      size_t *len)
{
	uint64_t size = expected;
	uint8_t *bytes = NULL;
	ssize_t n;
	int err = file->ops->size(file, &size);

	*out = NULL;
	*len = 0;
	if (!err && (size > max || (expected != UINT64_MAX && size != expected)))
		err = -EUCLEAN;
	if (!err)
		bytes = malloc(size + 1);
	if (!err && !bytes)
		err = -ENOMEM;
	if (!err) {
		n = file->ops->read(file, bytes, size, 0);
		err = n < 0 ? (int)n : (uint64_t)n == size ? 0 : -EUCLEAN;
	}
	if (err) {
		free(bytes);
		return err;
	}
	*out = bytes;
	*len = size;
	return 0;
}

int publish_read(struct pfs_dir *dir, const char *name, uint64_t expected, uint64_t max,
		 uint8_t **out, size_t *len)
{
	struct pfs_file *file;
	int err = dir->ops->open(dir, name, 0, &file);

	*out = NULL;
	*len = 0;
	if (err)
		return err;
	err = read_whole(file, expected, max, out, len);
	file->ops->close(file);
	return err;
}

/* ---- manifests ---- */

int publish_read_manifest(struct pfs_dir *dir, uint32_t generation, struct pfs_manifest *manifest,
			  const char **why)
{
	char name[PFS_OBJECT_NAME_MAX];
	uint8_t *bytes;
	size_t len;
	int err;

	*manifest = (struct pfs_manifest){0};
	pfs_generation_name(name, generation);
	*why = "its manifest is missing or can't be read";
	err = publish_read(dir, name, UINT64_MAX, PFS_MANIFEST_LEN_MAX, &bytes, &len);
	if (err)
		return err;
	err = pfs_manifest_decode(manifest, bytes, len, why);
	if (!err && manifest->generation != generation) {
		*why = "its manifest is that of another generation";
		pfs_manifest_free(manifest);
		err = -EUCLEAN;
	}
	free(bytes);
	return err;
}

/* ---- `current` ---- */

static int read_open_pointer(struct pfs_file *file, struct pfs_current_generation *current,
			     const char **why)
{
	uint8_t *bytes;
	size_t len;
	int err = read_whole(file, UINT64_MAX, PFS_CURRENT_LEN_MAX, &bytes, &len);

	*current = (struct pfs_current_generation){0};
	*why = "`current` can't be read";
	if (err)
		return err;
	err = pfs_current_decode(current, (const char *)bytes, len);
	free(bytes);
	*why = err == -EPROTONOSUPPORT ? "made by a newer version of this program"
				       : "`current` is damaged";
	return err;
}

static int read_pointer(struct pfs_dir *dir, struct pfs_current_generation *current,
			const char **why)
{
	struct pfs_file *file;
	int err = dir->ops->open(dir, PFS_CURRENT_NAME, 0, &file);

	*current = (struct pfs_current_generation){0};
	*why = "`current` can't be read";
	if (err)
		return err;
	err = read_open_pointer(file, current, why);
	file->ops->close(file);
	return err;
}

static bool is_same(const struct pfs_current_generation *a, const struct pfs_current_generation *b)
{
	return a->generation == b->generation && a->crc == b->crc;
}

int publish_is_alone(struct pfs_publish *p)
{
	struct pfs_current_generation now;
	const char *why;
	int err;

	if (!p->dir->ops->whole_files)
		return 0;
	err = read_pointer(p->dir, &now, &why);
	if (err == -ENOENT)
		err = 0;
	return err ? err : is_same(&now, &p->current) ? 0 : -EBUSY;
}

/* Where nothing locks others out: what is replaced is what was current when we began, and, where
 * the server can tell, still is at that moment. */
static int replace_current(struct pfs_publish *p, const struct pfs_current_generation *next,
			   const char *text, size_t len)
{
	unsigned flags = PFS_IO_WRITE | PFS_IO_CREATE | PFS_IO_UNCHANGED;
	struct pfs_current_generation now;
	struct pfs_file *file;
	const char *why;
	int err = p->dir->ops->open(p->dir, PFS_CURRENT_NAME, flags, &file);

	if (err)
		return err;
	err = read_open_pointer(file, &now, &why);
	if (err == -ENOENT)
		err = 0;
	if (!err && !is_same(&now, &p->current))
		err = -EBUSY;
	if (!err)
		err = file->ops->write(file, text, len, 0);
	if (!err)
		err = file->ops->sync(file);
	file->ops->close(file);
	if (err != -ESTALE)
		return err;
	/* A request of ours may have succeeded although its answer was lost. */
	err = read_pointer(p->dir, &now, &why);
	return !err && is_same(&now, next) ? 0 : -EBUSY;
}

int publish_set_current(struct pfs_publish *p, const struct pfs_current_generation *next)
{
	char text[PFS_CURRENT_LEN_MAX];
	size_t len = pfs_current_encode(text, next);
	int err = p->dir->ops->whole_files ? replace_current(p, next, text, len)
					   : publish_file(p, PFS_CURRENT_NAME, text, len, false);

	if (!err)
		p->current = *next;
	return err;
}

int publish_read_current(struct pfs_dir *dir, struct pfs_current_generation *current,
			 struct pfs_manifest *manifest, const char **why)
{
	char name[PFS_OBJECT_NAME_MAX];
	uint8_t *bytes;
	size_t len;
	int err = read_pointer(dir, current, why);

	*manifest = (struct pfs_manifest){0};
	if (err)
		return err;
	pfs_generation_name(name, current->generation);
	*why = "the manifest of its current generation is missing or can't be read";
	err = publish_read(dir, name, current->len, PFS_MANIFEST_LEN_MAX, &bytes, &len);
	if (err)
		return err == -ENOENT ? -EUCLEAN : err;
	*why = "the manifest is not the one that `current` speaks of";
	err = pfs_crc32c(0, bytes, len) == current->crc ? 0 : -EUCLEAN;
	if (!err)
		err = pfs_manifest_decode(manifest, bytes, len, why);
	if (!err && manifest->generation != current->generation) {
		pfs_manifest_free(manifest);
		err = -EUCLEAN;
	}
	free(bytes);
	return err;
}

/* ---- objects ---- */

static int add_object(struct publish_objects *list, const struct pfs_manifest_object *at,
		      uint32_t *crcs)
{
	if (list->count == list->cap) {
		size_t cap = list->cap ? 2 * list->cap : 64;
		struct publish_object *grown = realloc(list->at, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		list->at = grown;
		list->cap = cap;
	}
	list->at[list->count++] = (struct publish_object){*at, crcs};
	return 0;
}

/* malloc'ed. NULL: no memory. */
static uint32_t *chunk_crcs(const uint8_t *bytes, size_t len)
{
	uint32_t *crcs = malloc(pfs_chunks_of(len) * sizeof(*crcs));

	for (size_t off = 0; off < len && crcs; off += PFS_CHUNK_LEN)
		crcs[off / PFS_CHUNK_LEN] =
			pfs_crc32c(0, bytes + off, pfs_min_u64(len - off, PFS_CHUNK_LEN));
	return crcs;
}

/* 0: the object is there, whole. -ENOENT: it is not; other errors: nobody knows. */
static int look_for(struct pfs_publish *p, const char *name, uint64_t len)
{
	struct pfs_file *file;
	uint64_t size = 0;
	int err = p->dir->ops->open(p->dir, name, 0, &file);

	if (err)
		return err;
	err = p->dir->ops->size(file, &size);
	p->dir->ops->close(file);
	return err ? err : size == len ? 0 : -ENOENT;
}

static void count_object(struct pfs_publish *p, uint64_t len, bool reused)
{
	struct pfs_publish_result *r = &p->result;

	r->objects++;
	r->bytes += len;
	*(reused ? &r->reused : &r->uploaded) += 1;
	*(reused ? &r->reused_bytes : &r->uploaded_bytes) += len;
}

int publish_object(struct pfs_publish *p, struct publish_objects *list,
		   const struct pfs_manifest_object *about, const void *bytes, size_t len)
{
	struct pfs_manifest_object at = *about;
	char name[PFS_OBJECT_NAME_MAX];
	uint32_t *crcs;
	bool there;
	int err;

	at.len = len;
	pfs_hash_begin(p->hash);
	pfs_hash_add(p->hash, bytes, len);
	err = pfs_hash_end(p->hash, at.hash);
	if (err)
		return err;
	pfs_object_name(name, at.role, at.hash);
	there = look_for(p, name, len) == 0;
	if (!there)
		err = publish_file(p, name, bytes, len, false);
	crcs = err ? NULL : chunk_crcs(bytes, len);
	if (!err)
		err = crcs ? add_object(list, &at, crcs) : -ENOMEM;
	if (err)
		free(crcs);
	else
		count_object(p, len, there);
	return err;
}

int publish_reuse(struct pfs_publish *p, struct publish_objects *list,
		  const struct pfs_manifest_object *before)
{
	uint64_t chunks = pfs_chunks_of(before->len);
	char name[PFS_OBJECT_NAME_MAX];
	uint32_t *crcs;
	int err;

	pfs_object_name(name, before->role, before->hash);
	err = look_for(p, name, before->len);
	if (err)
		return err;
	crcs = malloc((chunks + 1) * sizeof(*crcs));
	if (!crcs)
		return -ENOMEM;
	memcpy(crcs, p->before.crcs + before->chunk, chunks * sizeof(*crcs));
	err = add_object(list, before, crcs);
	if (err)
		free(crcs);
	else
		count_object(p, before->len, true);
	return err;
}
