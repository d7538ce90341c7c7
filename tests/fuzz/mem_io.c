#include "tests/fuzz/mem_io.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "tests/fuzz/asan.h"
#include "tests/fuzz/fuzz.h"

#define BLOCK 4096u
#define BLOCKS (MEM_IO_FILE_MAX / BLOCK)
#define RED_ZONE (256 * PFS_KIB) /* behind a mapping */
#define DIRTY_MAX 1024		 /* blocks that are cleared one by one */

/* F1: bytes that are in no dirty block are zero, and so are those behind the size. */
struct mem_file {
	char name[64]; /* empty: none */
	bool used;
	uint8_t *bytes;
	uint64_t size;
	uint64_t dirty_end;		  /* no block from here on is dirty */
	uint8_t is_dirty[BLOCKS / 8 + 1]; /* a bit for each block */
	uint32_t dirty[DIRTY_MAX];
	size_t dirty_count; /* may be more than fit into dirty */
	unsigned handles, maps;
	uint64_t red_at; /* where the red zone begins; 0: there is none */
};

struct mem_dir {
	struct pfs_dir base;
};

struct mem_handle {
	struct pfs_file base;
	struct mem_file *file;
	bool writable;
};

static struct mem_file files[MEM_IO_FILES];
static size_t open_dirs;
static uint64_t fail_in;
static int fail_err;
static bool fail_on;

/* ---- bytes ---- */

static void reserve_bytes(struct mem_file *f)
{
	size_t stride = MEM_IO_FILE_MAX + 2 * RED_ZONE;
	uint8_t *at = mmap(NULL, stride, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	FUZZ_CHECK(at != MAP_FAILED);
	/* What lies before the file can't be touched either. */
	FUZZ_CHECK(mprotect(at, RED_ZONE, PROT_NONE) == 0);
	f->bytes = at + RED_ZONE;
}

static void red_zone_off(struct mem_file *f)
{
	if (f->red_at)
		__asan_unpoison_memory_region(f->bytes + f->red_at, RED_ZONE);
	f->red_at = 0;
}

static void clear_bytes(struct mem_file *f)
{
	red_zone_off(f);
	for (size_t i = 0; i < f->dirty_count && f->dirty_count <= DIRTY_MAX; i++) {
		memset(f->bytes + (uint64_t)f->dirty[i] * BLOCK, 0, BLOCK);
		f->is_dirty[f->dirty[i] / 8] = 0;
	}
	if (f->dirty_count > DIRTY_MAX) {
		FUZZ_CHECK(madvise(f->bytes, f->dirty_end, MADV_DONTNEED) == 0);
		memset(f->is_dirty, 0, f->dirty_end / BLOCK / 8 + 1);
	}
	f->dirty_count = 0;
	f->dirty_end = 0;
	f->size = 0;
}

static void mark_dirty(struct mem_file *f, uint64_t off, uint64_t len)
{
	for (uint64_t b = off / BLOCK; b * BLOCK < off + len; b++) {
		if (f->is_dirty[b / 8] >> (b % 8) & 1)
			continue;
		f->is_dirty[b / 8] |= (uint8_t)(1u << (b % 8));
		if (f->dirty_count < DIRTY_MAX)
			f->dirty[f->dirty_count] = (uint32_t)b;
		f->dirty_count++;
		f->dirty_end = pfs_max_u64(f->dirty_end, (b + 1) * BLOCK);
	}
}

/* Zeroes what is dirty of [off, end). */
static void zero_bytes(struct mem_file *f, uint64_t off, uint64_t end)
{
	end = pfs_min_u64(end, f->dirty_end);
	while (off < end) {
		uint64_t b = off / BLOCK, part = pfs_min_u64(end, (b + 1) * BLOCK) - off;

		if (f->is_dirty[b / 8] >> (b % 8) & 1)
			memset(f->bytes + off, 0, part);
		off += part;
	}
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
	return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}

static void put_bytes(struct mem_file *f, uint64_t off, const uint8_t *bytes, size_t len)
{
	f->size = pfs_max_u64(f->size, off + len);
	if (f->red_at && off + len > f->red_at)
		red_zone_off(f);
	/* Zeros on what was never written change nothing, and a lot of them are written. */
	if (off >= f->dirty_end && all_zero(bytes, len))
		return;
	mark_dirty(f, off, len);
	memcpy(f->bytes + off, bytes, len);
}

static void set_size(struct mem_file *f, uint64_t size)
{
	if (f->red_at && size > f->red_at)
		red_zone_off(f);
	if (size < f->size)
		zero_bytes(f, size, f->size);
	f->size = size;
}

/* ---- the target's side ---- */

static struct mem_file *find(const char *name)
{
	for (size_t i = 0; i < MEM_IO_FILES; i++) {
		if (files[i].used && strcmp(files[i].name, name) == 0)
			return &files[i];
	}
	return NULL;
}

static struct mem_file *make(const char *name)
{
	for (size_t i = 0; i < MEM_IO_FILES && strlen(name) < sizeof(files[i].name); i++) {
		struct mem_file *f = &files[i];

		if (f->used)
			continue;
		if (!f->bytes)
			reserve_bytes(f);
		f->used = true;
		snprintf(f->name, sizeof(f->name), "%s", name);
		return f;
	}
	return NULL;
}

/* Without name, handle and mapping it is gone. */
static void settle(struct mem_file *f)
{
	if (f->name[0] || f->handles || f->maps)
		return;
	clear_bytes(f);
	f->used = false;
}

void mem_io_reset(void)
{
	FUZZ_CHECK(mem_io_open_count() == 0);
	for (size_t i = 0; i < MEM_IO_FILES; i++) {
		files[i].name[0] = '\0';
		if (files[i].used)
			settle(&files[i]);
	}
	mem_io_fail(0, 0, false);
}

void mem_io_fail(uint64_t nth, int err, bool on)
{
	fail_in = nth;
	fail_err = err;
	fail_on = on;
}

struct mem_file *mem_io_file(const char *name)
{
	struct mem_file *f = find(name);

	return f ? f : make(name);
}

void mem_io_remove(const char *name)
{
	struct mem_file *f = find(name);

	if (!f)
		return;
	f->name[0] = '\0';
	settle(f);
}

uint64_t mem_io_size(const struct mem_file *f)
{
	return f->size;
}

void mem_io_set_size(struct mem_file *f, uint64_t size)
{
	set_size(f, pfs_min_u64(size, MEM_IO_FILE_MAX));
}

const uint8_t *mem_io_bytes(const struct mem_file *f)
{
	return f->bytes;
}

uint8_t *mem_io_change(struct mem_file *f, uint64_t off, uint64_t len)
{
	FUZZ_CHECK(off <= f->size && len <= f->size - off);
	mark_dirty(f, off, len);
	return f->bytes + off;
}

void mem_io_put(struct mem_file *f, uint64_t off, const void *bytes, size_t len)
{
	if (off <= MEM_IO_FILE_MAX && len <= MEM_IO_FILE_MAX - off)
		put_bytes(f, off, bytes, len);
}

struct mem_file *mem_io_nth(size_t n, const char **name)
{
	for (size_t i = 0; i < MEM_IO_FILES; i++) {
		if (!files[i].used || !files[i].name[0] || n-- > 0)
			continue;
		*name = files[i].name;
		return &files[i];
	}
	return NULL;
}

size_t mem_io_open_count(void)
{
	size_t count = open_dirs;

	for (size_t i = 0; i < MEM_IO_FILES; i++)
		count += files[i].handles + files[i].maps;
	return count;
}

/* ---- the table of operations ---- */

static int step(void)
{
	if (fail_in == 0)
		return 0;
	if (--fail_in > 0)
		return 0;
	if (fail_on)
		fail_in = 1;
	return fail_err;
}

static struct mem_handle *as_handle(struct pfs_file *file)
{
	return (struct mem_handle *)file;
}

static int mem_open_dir(const struct pfs_io *io, const char *path, unsigned flags,
			struct pfs_dir **out)
{
	struct mem_dir *dir = calloc(1, sizeof(*dir));

	(void)path;
	(void)flags;
	FUZZ_CHECK(dir != NULL);
	dir->base.ops = io->ops;
	open_dirs++;
	*out = &dir->base;
	return 0;
}

static void mem_close_dir(struct pfs_dir *dir)
{
	open_dirs--;
	free(dir);
}

static int mem_sync_dir(struct pfs_dir *dir)
{
	(void)dir;
	return step();
}

static int mem_list(struct pfs_dir *dir, pfs_io_list_fn *fn, void *arg)
{
	int err = 0;

	(void)dir;
	for (size_t i = 0; i < MEM_IO_FILES && !err; i++) {
		char name[sizeof(files[i].name)];

		if (!files[i].used || !files[i].name[0])
			continue;
		memcpy(name, files[i].name, sizeof(name));
		err = fn(arg, name);
	}
	return err;
}

static int mem_lock(struct pfs_dir *dir, const char *name, bool exclusive)
{
	(void)dir;
	(void)exclusive;
	return mem_io_file(name) ? 0 : -ENOSPC;
}

static int mem_space(struct pfs_dir *dir, struct pfs_io_space *out)
{
	(void)dir;
	*out = (struct pfs_io_space){64 * PFS_GIB, 32 * PFS_GIB};
	return 0;
}

static int mem_open(struct pfs_dir *dir, const char *name, unsigned flags, struct pfs_file **out)
{
	struct mem_file *f = find(name);
	struct mem_handle *h;
	int err;

	*out = NULL;
	if (f && (flags & PFS_IO_CREATE) && (flags & PFS_IO_EXCL))
		return -EEXIST;
	if (!f && !(flags & PFS_IO_CREATE))
		return -ENOENT;
	if (!f) {
		err = step();
		f = err ? NULL : make(name);
		if (!f)
			return err ? err : -ENOSPC;
	}
	h = calloc(1, sizeof(*h));
	FUZZ_CHECK(h != NULL);
	*h = (struct mem_handle){.base.ops = dir->ops, .file = f};
	h->writable = flags & PFS_IO_WRITE;
	f->handles++;
	*out = &h->base;
	return 0;
}

static int mem_unlink(struct pfs_dir *dir, const char *name)
{
	struct mem_file *f = find(name);
	int err = step();

	(void)dir;
	if (err || !f)
		return err ? err : -ENOENT;
	f->name[0] = '\0';
	settle(f);
	return 0;
}

static int mem_rename(struct pfs_dir *dir, const char *from, const char *to)
{
	struct mem_file *f = find(from), *replaced = find(to);
	int err = step();

	(void)dir;
	if (err || !f)
		return err ? err : -ENOENT;
	FUZZ_CHECK(strlen(to) < sizeof(f->name));
	if (replaced && replaced != f) {
		replaced->name[0] = '\0';
		settle(replaced);
	}
	snprintf(f->name, sizeof(f->name), "%s", to);
	return 0;
}

static void mem_close(struct pfs_file *file)
{
	struct mem_handle *h = as_handle(file);

	h->file->handles--;
	settle(h->file);
	free(h);
}

/* The file may have been mapped shorter than it is, and then a red zone lies on its bytes. */
NO_ASAN static void copy_out(uint8_t *to, const uint8_t *from, size_t len)
{
	for (volatile size_t i = 0; i < len; i++)
		to[i] = from[i];
}

static ssize_t mem_read(struct pfs_file *file, void *buf, size_t len, uint64_t off)
{
	struct mem_file *f = as_handle(file)->file;

	if (off >= f->size)
		return 0;
	len = pfs_min_u64(len, f->size - off);
	if (f->red_at && off + len > f->red_at)
		copy_out(buf, f->bytes + off, len);
	else
		memcpy(buf, f->bytes + off, len);
	return (ssize_t)len;
}

/* Of a call that changes [off, off + len). */
static int may_change(struct pfs_file *file, uint64_t off, uint64_t len)
{
	int err = step();

	if (err)
		return err;
	if (!as_handle(file)->writable)
		return -EBADF;
	return off > MEM_IO_FILE_MAX || len > MEM_IO_FILE_MAX - off ? -EFBIG : 0;
}

static int mem_write(struct pfs_file *file, const void *buf, size_t len, uint64_t off)
{
	int err = may_change(file, off, len);

	if (!err && len)
		put_bytes(as_handle(file)->file, off, buf, len);
	return err;
}

static int mem_sync(struct pfs_file *file)
{
	(void)file;
	return step();
}

static int mem_allocate(struct pfs_file *file, uint64_t off, uint64_t len)
{
	struct mem_file *f = as_handle(file)->file;
	int err = may_change(file, off, len);

	if (!err)
		set_size(f, pfs_max_u64(f->size, off + len));
	return err;
}

static int mem_punch(struct pfs_file *file, uint64_t off, uint64_t len)
{
	struct mem_file *f = as_handle(file)->file;
	int err = may_change(file, off, len);

	if (!err)
		zero_bytes(f, off, pfs_min_u64(off + len, f->size));
	return err;
}

static int mem_truncate(struct pfs_file *file, uint64_t size)
{
	int err = may_change(file, size, 0);

	if (!err)
		set_size(as_handle(file)->file, size);
	return err;
}

static int mem_size(struct pfs_file *file, uint64_t *out)
{
	*out = as_handle(file)->file->size;
	return 0;
}

static int mem_disk_usage(struct pfs_file *file, uint64_t *out)
{
	*out = as_handle(file)->file->dirty_count * (uint64_t)BLOCK;
	return 0;
}

static int mem_map(struct pfs_file *file, size_t len, const uint8_t **out)
{
	struct mem_file *f = as_handle(file)->file;

	*out = NULL;
	if (len > MEM_IO_FILE_MAX)
		return -ENOMEM;
	f->maps++;
	red_zone_off(f);
	if (f->maps == 1 && len >= f->size && len % 8 == 0) {
		f->red_at = len;
		__asan_poison_memory_region(f->bytes + len, RED_ZONE);
	}
	*out = f->bytes;
	return 0;
}

static void mem_unmap(struct pfs_file *file, const uint8_t *addr, size_t len)
{
	struct mem_file *f = as_handle(file)->file;

	(void)len;
	FUZZ_CHECK(addr == f->bytes && f->maps > 0);
	red_zone_off(f);
	f->maps--;
}

static const struct pfs_io_ops mem_ops = {
	.open_dir = mem_open_dir,
	.close_dir = mem_close_dir,
	.sync_dir = mem_sync_dir,
	.list = mem_list,
	.lock = mem_lock,
	.space = mem_space,
	.open = mem_open,
	.rename = mem_rename,
	.unlink = mem_unlink,
	.close = mem_close,
	.read = mem_read,
	.write = mem_write,
	.sync = mem_sync,
	.allocate = mem_allocate,
	.punch = mem_punch,
	.truncate = mem_truncate,
	.size = mem_size,
	.disk_usage = mem_disk_usage,
	.map = mem_map,
	.unmap = mem_unmap,
};

const struct pfs_io mem_io = {.ops = &mem_ops};
