/* Rank 1: the one table of storage operations. Everything that the engine does to files goes
 * through it, so the file backend (io_file.c), the fault-injecting backend of the tests and a
 * network backend are interchangeable, and every write and sync can be counted, failed and
 * replayed.
 *
 * A store is one flat directory (struct pfs_dir) of files (struct pfs_file). All calls return 0 or
 * a count, or a negative errno. A backend's calls may be made from several threads at once; two
 * calls that change the same byte range of a file, and open/rename/unlink of the same name, are
 * kept apart by the caller.
 *
 * Durability is the contract of fdatasync(2) and fsync(2) of a directory:
 *  - sync(file) makes the file's bytes and length durable, not its name;
 *  - sync_dir(dir) makes created, renamed and removed names durable.
 * Until then a power cut may keep any part of the changes, in any order, torn at 512 bytes. */
#ifndef PFS_IO_H
#define PFS_IO_H

#include <sys/types.h>

#include "storage/base.h"

#define PFS_IO_SECTOR 512u /* what a disk loses or keeps as a whole */

struct pfs_io_ops;

/* Backends embed these as first member. */
struct pfs_dir {
	const struct pfs_io_ops *ops;
};
struct pfs_file {
	const struct pfs_io_ops *ops;
};

/* A backend: its operations and what they need. Borrowed by the store, outlives it. */
struct pfs_io {
	const struct pfs_io_ops *ops;
	void *context;
};

enum pfs_io_flags {
	PFS_IO_WRITE = 1,  /* open for writing too */
	PFS_IO_CREATE = 2, /* make it when missing (mode 0600, directories 0700) */
	PFS_IO_EXCL = 4,   /* with CREATE: -EEXIST when it is there; with whole_files also from the
			      first sync */
	PFS_IO_SHARED = 8, /* with CREATE: for others too, as far as the umask says (0666, 0777) */
	/* With CREATE and whole_files: until its first change the file reads as the one that is
	 * there (-ENOENT: none is), and the first sync replaces only what was read, or nothing, as
	 * far as the backend can tell: -ESTALE when it is another one by then. */
	PFS_IO_UNCHANGED = 16,
};

struct pfs_io_space {
	uint64_t total, available; /* bytes of the filesystem beneath; available to this user */
};

/* Names that files have in every backend: letters, digits, '.', '-', '_', no dot in front, up to
 * PFS_PLAIN_NAME_MAX bytes. They stand in a URL as they are. */
#define PFS_PLAIN_NAME_MAX 127
static inline bool pfs_name_is_plain(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				  "0123456789._-");

	return len > 0 && len <= PFS_PLAIN_NAME_MAX && !name[len] && name[0] != '.';
}

/* Called by list for each regular name (never . and ..); non-zero stops the listing and is
 * returned. */
typedef int pfs_io_list_fn(void *arg, const char *name);

struct pfs_io_ops {
	/* path's directory. -ENOENT, -ENOTDIR; with CREATE the directory and its missing parents
	 * are made (and their entries synced). */
	int (*open_dir)(const struct pfs_io *io, const char *path, unsigned flags,
			struct pfs_dir **out);
	void (*close_dir)(struct pfs_dir *dir);
	int (*sync_dir)(struct pfs_dir *dir);
	int (*list)(struct pfs_dir *dir, pfs_io_list_fn *fn, void *arg);
	/* Takes the store's lock (kept until close_dir): exclusive or shared, on the file `name`,
	 * made when it is missing. Shared on a read-only filesystem without the file: 0.
	 * -EWOULDBLOCK when another holder is in the way. Never waits. */
	int (*lock)(struct pfs_dir *dir, const char *name, bool exclusive);
	int (*space)(struct pfs_dir *dir, struct pfs_io_space *out);

	int (*open)(struct pfs_dir *dir, const char *name, unsigned flags, struct pfs_file **out);
	int (*rename)(struct pfs_dir *dir, const char *from, const char *to);
	int (*unlink)(struct pfs_dir *dir, const char *name);

	void (*close)(struct pfs_file *file);
	/* Bytes read, short only at the end of the file. */
	ssize_t (*read)(struct pfs_file *file, void *buf, size_t len, uint64_t off);
	/* All of it or an error; on an error any part may have been written. */
	int (*write)(struct pfs_file *file, const void *buf, size_t len, uint64_t off);
	int (*sync)(struct pfs_file *file);
	/* Reserves disk space, extends the file where needed, new bytes read as zero. -ENOSPC
	 * changes nothing a reader could see but may leave the file longer. Falls back to nothing
	 * but the extension where the filesystem can't reserve. */
	int (*allocate)(struct pfs_file *file, uint64_t off, uint64_t len);
	/* Gives the space back; the bytes read as zero, the length stays. -EOPNOTSUPP: not possible
	 * there. */
	int (*punch)(struct pfs_file *file, uint64_t off, uint64_t len);
	int (*truncate)(struct pfs_file *file, uint64_t size);
	int (*size)(struct pfs_file *file, uint64_t *out);
	/* Bytes of disk that the file takes. */
	int (*disk_usage)(struct pfs_file *file, uint64_t *out);
	/* Shared read-only mapping of [0, len), coherent with write. Reading past the file's end
	 * faults: read mappings only through pfs_map_copy. */
	int (*map)(struct pfs_file *file, size_t len, const uint8_t **out);
	void (*unmap)(struct pfs_file *file, const uint8_t *addr, size_t len);

	/* A file that is made appears under its name only with sync, whole and durable, in place of
	 * one that is there: nobody needs to write it under another name and rename it. */
	bool whole_files;
};

/* Syncing as the engine does it: any failure is -EIO. After it nobody knows what is on the disk, so
 * that it must not be taken for the lack of space, which a sync can report too and which one waits
 * out and tries again. */
static inline int pfs_file_sync(struct pfs_file *file)
{
	return file->ops->sync(file) ? -EIO : 0;
}

static inline int pfs_dir_sync(struct pfs_dir *dir)
{
	return dir->ops->sync_dir(dir) ? -EIO : 0;
}

/* The file backend. */
extern const struct pfs_io pfs_io_file;

/* Copies from a mapping: the only function that touches one. 0, or -EIO when the bytes could not be
 * had (SIGBUS: the file ends before them, or the device failed). Installs its SIGBUS handler on
 * first use and passes every SIGBUS that is not its own on to the handler that was there before. */
int pfs_map_copy(void *dst, const void *src, size_t len);

#endif
