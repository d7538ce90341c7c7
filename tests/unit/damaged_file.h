/* A page file in memory, for the parts of a repair: what can't be read of it, and which calls fail,
 * the test says; all calls are noted. */
#ifndef PFS_TEST_DAMAGED_FILE_H
#define PFS_TEST_DAMAGED_FILE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage/page.h"
#include "storage/repair.h"

#define FILE_MAX (4 * PFS_MIB)
#define PAGE_SIZE (64 * PFS_KIB)
#define PAGE_END (PAGE_SIZE - PFS_PAGE_TRAILER_LEN)
#define PAGE_NUMBER 3u

struct damaged_file {
	struct pfs_file base;
	uint8_t *bytes; /* FILE_MAX */
	uint64_t size;
	uint64_t bad_from, bad_end; /* reads of one of these bytes fail, */
	unsigned bad_times;	    /* if not 0: only so often */
	int read_err, write_err, truncate_err, sync_err, size_err;
	uint64_t short_by; /* bytes fewer are read */
	bool open;
	char calls[4096];
};

static inline void note_call(struct damaged_file *f, const char *fmt, ...)
{
	size_t len = strlen(f->calls);
	va_list args;

	va_start(args, fmt);
	vsnprintf(f->calls + len, sizeof(f->calls) - len, fmt, args);
	va_end(args);
}

/* What a call that fails may leave in the buffer is what a good one would. */
static inline ssize_t damaged_read(struct pfs_file *file, void *buf, size_t len, uint64_t off)
{
	struct damaged_file *f = (struct damaged_file *)file;
	size_t have = off < f->size ? pfs_min_u64(len, f->size - off) : 0;

	note_call(f, "r%llu+%zu ", (unsigned long long)off, len);
	memcpy(buf, f->bytes + off, have);
	if (f->read_err)
		return f->read_err;
	if (off < f->bad_end && f->bad_from < off + len) {
		if (f->bad_times && --f->bad_times == 0)
			f->bad_from = f->bad_end = 0;
		return -EIO;
	}
	return (ssize_t)(have - pfs_min_u64(have, f->short_by));
}

static inline int damaged_write(struct pfs_file *file, const void *buf, size_t len, uint64_t off)
{
	struct damaged_file *f = (struct damaged_file *)file;

	note_call(f, "w%llu+%zu ", (unsigned long long)off, len);
	if (f->write_err)
		return f->write_err;
	memcpy(f->bytes + off, buf, len);
	return 0;
}

static inline int damaged_sync(struct pfs_file *file)
{
	struct damaged_file *f = (struct damaged_file *)file;

	note_call(f, "s ");
	return f->sync_err;
}

static inline int damaged_truncate(struct pfs_file *file, uint64_t size)
{
	struct damaged_file *f = (struct damaged_file *)file;

	note_call(f, "t%llu ", (unsigned long long)size);
	if (!f->truncate_err)
		f->size = size;
	return f->truncate_err;
}

static inline int damaged_size(struct pfs_file *file, uint64_t *out)
{
	*out = ((struct damaged_file *)file)->size;
	return ((struct damaged_file *)file)->size_err;
}

static inline void damaged_close(struct pfs_file *file)
{
	((struct damaged_file *)file)->open = false;
}

/* The directory that the file is in, by whichever name but those that begin with `missing`. */
struct damaged_dir {
	struct pfs_dir base;
	struct damaged_file *file;
	const char *missing;
	int open_err, rename_err, sync_err, unlink_err, lock_err, list_err;
	const char *names[8];	 /* what is listed */
	unsigned opens, written; /* written: so many were opened for writing */
	char calls[1024];	 /* but openings */
};

static inline int damaged_open(struct pfs_dir *dir, const char *name, unsigned flags,
			       struct pfs_file **out)
{
	struct damaged_dir *d = (struct damaged_dir *)dir;

	d->opens++;
	d->written += (flags & PFS_IO_WRITE) != 0;
	if (d->open_err)
		return d->open_err;
	if (d->missing && strncmp(name, d->missing, strlen(d->missing)) == 0)
		return -ENOENT;
	d->file->open = true;
	*out = &d->file->base;
	return 0;
}

static inline int note_of_dir(struct pfs_dir *dir, int err, const char *what, const char *name,
			      const char *to)
{
	struct damaged_dir *d = (struct damaged_dir *)dir;
	size_t len = strlen(d->calls);

	snprintf(d->calls + len, sizeof(d->calls) - len, "%s%s%s%s%s; ", what, *name ? " " : "",
		 name, *to ? " " : "", to);
	return err;
}

static inline int damaged_rename(struct pfs_dir *dir, const char *from, const char *to)
{
	return note_of_dir(dir, ((struct damaged_dir *)dir)->rename_err, "rename", from, to);
}

static inline int damaged_unlink(struct pfs_dir *dir, const char *name)
{
	return note_of_dir(dir, ((struct damaged_dir *)dir)->unlink_err, "unlink", name, "");
}

static inline int damaged_sync_dir(struct pfs_dir *dir)
{
	return note_of_dir(dir, ((struct damaged_dir *)dir)->sync_err, "sync", "", "");
}

static inline int damaged_lock(struct pfs_dir *dir, const char *name, bool exclusive)
{
	assert_true(exclusive);
	return note_of_dir(dir, ((struct damaged_dir *)dir)->lock_err, "lock", name, "");
}

static inline int damaged_list(struct pfs_dir *dir, pfs_io_list_fn *fn, void *arg)
{
	struct damaged_dir *d = (struct damaged_dir *)dir;
	int err = d->list_err;

	for (size_t i = 0; i < pfs_array_len(d->names) && d->names[i] && !err; i++)
		err = fn(arg, d->names[i]);
	return err;
}

static const struct pfs_io_ops damaged_ops = {
	.open = damaged_open,
	.rename = damaged_rename,
	.unlink = damaged_unlink,
	.sync_dir = damaged_sync_dir,
	.lock = damaged_lock,
	.list = damaged_list,
	.close = damaged_close,
	.read = damaged_read,
	.write = damaged_write,
	.sync = damaged_sync,
	.truncate = damaged_truncate,
	.size = damaged_size,
};

/* ---- a repair of one page ---- */

static struct damaged_file the_file = {.base = {&damaged_ops}};
static struct damaged_dir the_dir = {.base = {&damaged_ops}, .file = &the_file};
static struct pfs_repair the_repair;
static struct pfs_repair_result the_result;
static struct pfs_checked_page the_page;
static struct pfs_repair_item the_items[4];
static uint8_t file_bytes[FILE_MAX], probe[PFS_CHECK_PREFIX];

static const uint8_t store_uuid[PFS_UUID_LEN] = "of this store..";

/* The header of a page without slots. */
static inline struct pfs_page_header new_header(void)
{
	struct pfs_page_header header = {
		.number = PAGE_NUMBER,
		.page_size = PAGE_SIZE,
		.generation = 5,
		.base_seq = 1000,
		.base_mtime = INT64_C(1700000000123456789),
		.floor = PAGE_END,
	};

	memcpy(header.uuid, store_uuid, PFS_UUID_LEN);
	return header;
}

/* A file of zeros, and a repair that knows nothing of it yet. */
static inline void begin_repair(void)
{
	the_file = (struct damaged_file){.base = {&damaged_ops}, .bytes = file_bytes};
	the_file.size = PAGE_SIZE;
	memset(file_bytes, 0, sizeof(file_bytes));
	the_dir = (struct damaged_dir){.base = {&damaged_ops}, .file = &the_file};
	the_page = (struct pfs_checked_page){
		.number = PAGE_NUMBER, .usable = true, .header = new_header()};
	memset(the_items, 0, sizeof(the_items));
	the_result = (struct pfs_repair_result){0};
	memset(&the_repair, 0, sizeof(the_repair));
	the_repair.dir = the_repair.check.dir = &the_dir.base;
	the_repair.result = &the_result;
	the_repair.items = the_items;
	the_repair.super.min_value_size = 16;
	the_repair.super.sequence = 5000;
	memcpy(the_repair.super.uuid, store_uuid, PFS_UUID_LEN);
	the_repair.check.probe = probe;
	the_repair.check.pages = &the_page;
	the_repair.check.page_count = 1;
}

static inline void put_slot(uint32_t number, const struct pfs_slot *slot)
{
	pfs_slot_encode((struct pfs_slot_disk *)(file_bytes + pfs_slot_offset(number)), slot);
}

/* What a container of this document takes, and its bytes at `off` of the page, where it has len. */
static inline uint64_t put_container(uint64_t off, uint64_t len, uint64_t tag, uint64_t body_len)
{
	const struct pfs_container_base base = {PFS_KEY_NUM, tag, the_page.header.base_seq,
						the_page.header.base_mtime};
	struct pfs_container c = {.raw_len = body_len,
				  .body_len = body_len,
				  .seq = base.base_seq,
				  .mtime_ns = base.base_mtime};
	size_t header_len = pfs_container_header_encode(file_bytes + off, &c, &base, len);

	memset(file_bytes + off + header_len, (int)tag, body_len);
	pfs_container_seal(file_bytes + off, header_len, body_len, file_bytes[off + 4], c.seq,
			   &base);
	return header_len + body_len;
}

/* The same, and its slot. */
static inline uint64_t put_value(uint32_t number, uint64_t off, uint64_t len, uint64_t tag,
				 uint64_t body_len)
{
	put_slot(number,
		 &(struct pfs_slot){
			 .kind = PFS_KEY_NUM, .tag = tag, .off = (uint32_t)off, .len = len});
	return put_container(off, len, tag, body_len);
}

static inline void put_header(uint64_t off, const struct pfs_page_header *header)
{
	pfs_page_header_encode((struct pfs_page_disk *)(file_bytes + off), header);
}

static inline void turn_bit(uint64_t off, unsigned bit)
{
	file_bytes[off + bit / 8] ^= (uint8_t)(1u << (bit % 8));
}

/* ---- what is kept aside ---- */

static struct {
	uint64_t off[8], len[8];
	uint32_t slot[8];
	unsigned count;
	int err;
} the_kept;

static inline int fake_keep(struct pfs_repair *r, const struct pfs_kept *k, struct pfs_file *from)
{
	assert_ptr_equal(r, &the_repair);
	assert_ptr_equal(from, &the_file.base);
	if (the_kept.err)
		return the_kept.err;
	assert_true(the_kept.count < pfs_array_len(the_kept.off));
	the_kept.off[the_kept.count] = k->off;
	the_kept.len[the_kept.count] = k->len;
	the_kept.slot[the_kept.count++] = k->slot_number;
	return 0;
}

/* ---- memory that there may not be ---- */

static unsigned readers_left = UINT32_MAX; /* so many are made */

static inline int fake_reader_new(struct pfs_check_reader *reader, struct pfs_file *from)
{
	if (readers_left && readers_left--)
		return pfs_check_reader_new(reader, from);
	*reader = (struct pfs_check_reader){0};
	return -ENOMEM;
}

#endif
