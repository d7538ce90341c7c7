#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/disk.h"

#define SPACE_WITHOUT_LIMIT (1024 * PFS_GIB)

struct sim_dir {
	struct pfs_dir base;
	struct pfs_sim *sim;
	struct sim_node *node;
	struct sim_inode *locked; /* NULL: no lock held */
	bool exclusive;
};

struct sim_file {
	struct pfs_file base;
	struct pfs_sim *sim;
	struct sim_node *node;
	struct sim_inode *inode;
	bool writable;
};

static struct sim_dir *as_dir(struct pfs_dir *dir)
{
	return (struct sim_dir *)dir;
}

static struct sim_file *as_file(struct pfs_file *file)
{
	return (struct sim_file *)file;
}

/* The mutex belongs to no observable state, so that looking takes a const sim. */
static void lock_sim(const struct pfs_sim *sim)
{
	pthread_mutex_lock(&((struct pfs_sim *)(uintptr_t)sim)->mutex);
}

static void unlock_sim(const struct pfs_sim *sim)
{
	pthread_mutex_unlock(&((struct pfs_sim *)(uintptr_t)sim)->mutex);
}

/* Counts a look and asks the look function about it. */
static int look(struct pfs_sim *sim, enum pfs_sim_kind kind, const char *name, uint64_t off,
		uint64_t len)
{
	struct pfs_sim_step s = {.kind = kind, .name = name, .off = off, .len = len};
	pfs_sim_step_fn *fn;
	void *arg;

	lock_sim(sim);
	sim->counts[kind]++;
	s.number = ++sim->looks;
	fn = sim->look_fn;
	arg = sim->look_arg;
	unlock_sim(sim);
	return fn ? fn(arg, &s) : 0;
}

/* Counts a step and asks the step function about it. */
static int step(struct pfs_sim *sim, enum pfs_sim_kind kind, const char *name, uint64_t off,
		uint64_t len)
{
	struct pfs_sim_step s = {.kind = kind, .name = name, .off = off, .len = len};
	pfs_sim_step_fn *fn;
	void *arg;

	lock_sim(sim);
	sim->counts[kind]++;
	s.number = ++sim->steps;
	fn = sim->step_fn;
	arg = sim->step_arg;
	unlock_sim(sim);
	return fn ? fn(arg, &s) : 0;
}

static void find_name(struct sim_file *file, char name[256])
{
	name[0] = 0;
	lock_sim(file->sim);
	for (size_t i = 0; i < file->node->names.count; i++)
		if (file->node->names.at[i].inode == file->inode)
			snprintf(name, 256, "%s", file->node->names.at[i].text);
	unlock_sim(file->sim);
}

static int file_step(struct sim_file *file, enum pfs_sim_kind kind, uint64_t off, uint64_t len)
{
	char name[256];

	if (!file->writable && kind != PFS_SIM_SYNC)
		return -EBADF;
	find_name(file, name);
	return step(file->sim, kind, name, off, len);
}

static int file_look(struct sim_file *file, enum pfs_sim_kind kind, uint64_t off, uint64_t len)
{
	char name[256] = "";

	/* Reads are many: the name is worth looking for only where somebody asks. */
	if (file->sim->look_fn)
		find_name(file, name);
	return look(file->sim, kind, name, off, len);
}

/* ---- directories ---- */

static int sim_open_dir(const struct pfs_io *io, const char *path, unsigned flags,
			struct pfs_dir **out)
{
	struct pfs_sim *sim = io->context;
	struct sim_node *node;
	struct sim_dir *dir;
	int err;

	*out = NULL;
	err = look(sim, PFS_SIM_OPEN, "", 0, 0);
	if (err)
		return err;
	lock_sim(sim);
	node = sim_node_find(sim, path);
	if (node && (flags & PFS_IO_CREATE) && (flags & PFS_IO_EXCL))
		err = -EEXIST;
	else if (!node && !(flags & PFS_IO_CREATE))
		err = -ENOENT;
	else if (!node)
		node = sim_node_new(sim, path);
	unlock_sim(sim);
	if (err)
		return err;
	dir = sim_alloc(sizeof(*dir));
	*dir = (struct sim_dir){.base.ops = io->ops, .sim = sim, .node = node};
	*out = &dir->base;
	return 0;
}

static void sim_close_dir(struct pfs_dir *base)
{
	struct sim_dir *dir = as_dir(base);

	lock_sim(dir->sim);
	if (dir->locked) {
		if (dir->exclusive)
			dir->locked->exclusive_lock = false;
		else
			dir->locked->shared_locks--;
		dir->locked->open_refs--;
		sim_inode_settle(dir->sim, dir->locked);
	}
	unlock_sim(dir->sim);
	free(dir);
}

static int sim_sync_dir(struct pfs_dir *base)
{
	struct sim_dir *dir = as_dir(base);
	int err = step(dir->sim, PFS_SIM_SYNC_DIR, "", 0, 0);

	if (err)
		return err;
	lock_sim(dir->sim);
	sim_node_sync(dir->sim, dir->node);
	unlock_sim(dir->sim);
	return 0;
}

static int sim_list(struct pfs_dir *base, pfs_io_list_fn *fn, void *arg)
{
	struct sim_dir *dir = as_dir(base);
	size_t n;
	char **texts;
	int err = look(dir->sim, PFS_SIM_READ, "", 0, 0);

	if (err)
		return err;
	lock_sim(dir->sim);
	n = dir->node->names.count;
	texts = sim_alloc((n + 1) * sizeof(*texts));
	for (size_t i = 0; i < n; i++)
		texts[i] = sim_strdup(dir->node->names.at[i].text);
	unlock_sim(dir->sim);
	for (size_t i = 0; i < n; i++) {
		if (!err)
			err = fn(arg, texts[i]);
		free(texts[i]);
	}
	free(texts);
	return err;
}

static int check_name(const char *name)
{
	if (!*name || strchr(name, '/'))
		return -EINVAL;
	return strlen(name) > 255 ? -ENAMETOOLONG : 0;
}

/* The file's inode, made when it is missing and flags say so. */
static int find_or_make(struct sim_dir *dir, const char *name, unsigned flags,
			struct sim_inode **out)
{
	struct pfs_sim *sim = dir->sim;
	int err = check_name(name);

	if (err)
		return err;
	lock_sim(sim);
	*out = sim_names_get(&dir->node->names, name);
	unlock_sim(sim);
	if (*out)
		return (flags & PFS_IO_CREATE) && (flags & PFS_IO_EXCL) ? -EEXIST : 0;
	if (!(flags & PFS_IO_CREATE))
		return -ENOENT;
	err = step(sim, PFS_SIM_CREATE, name, 0, 0);
	if (err)
		return err;
	lock_sim(sim);
	*out = sim_names_get(&dir->node->names, name);
	if (!*out) {
		*out = sim_inode_new(sim, NULL);
		(*out)->nlink = 1;
		sim_names_set(&dir->node->names, name, *out);
		sim_change_add(dir->node, NULL, name, *out);
	}
	unlock_sim(sim);
	return 0;
}

static int sim_lock(struct pfs_dir *base, const char *name, bool exclusive)
{
	struct sim_dir *dir = as_dir(base);
	struct sim_inode *inode;
	int err;

	if (dir->locked)
		return -EINVAL;
	err = find_or_make(dir, name, PFS_IO_CREATE, &inode);
	if (err)
		return err;
	lock_sim(dir->sim);
	if (inode->exclusive_lock || (exclusive && inode->shared_locks)) {
		err = -EWOULDBLOCK;
	} else {
		inode->exclusive_lock = exclusive;
		inode->shared_locks += !exclusive;
		inode->open_refs++;
		dir->locked = inode;
		dir->exclusive = exclusive;
	}
	unlock_sim(dir->sim);
	return err;
}

static int sim_space(struct pfs_dir *base, struct pfs_io_space *out)
{
	struct pfs_sim *sim = as_dir(base)->sim;
	uint64_t used;

	lock_sim(sim);
	used = sim_used(sim);
	out->total = sim->capacity ? sim->capacity : SPACE_WITHOUT_LIMIT;
	out->available = out->total > used ? out->total - used : 0;
	unlock_sim(sim);
	return 0;
}

/* ---- names ---- */

static int sim_open(struct pfs_dir *base, const char *name, unsigned flags, struct pfs_file **out)
{
	struct sim_dir *dir = as_dir(base);
	struct sim_inode *inode;
	struct sim_file *file;
	int err;

	*out = NULL;
	err = look(dir->sim, PFS_SIM_OPEN, name, 0, 0);
	if (!err)
		err = find_or_make(dir, name, flags, &inode);
	if (err)
		return err;
	file = sim_alloc(sizeof(*file));
	*file = (struct sim_file){.base.ops = base->ops, .sim = dir->sim, .node = dir->node};
	file->inode = inode;
	file->writable = flags & PFS_IO_WRITE;
	lock_sim(dir->sim);
	inode->open_refs++;
	unlock_sim(dir->sim);
	*out = &file->base;
	return 0;
}

static int sim_rename(struct pfs_dir *base, const char *from, const char *to)
{
	struct sim_dir *dir = as_dir(base);
	struct sim_names *names = &dir->node->names;
	struct sim_inode *inode, *replaced;
	int err = check_name(to);

	if (!err)
		err = step(dir->sim, PFS_SIM_RENAME, from, 0, 0);
	if (err)
		return err;
	lock_sim(dir->sim);
	inode = sim_names_get(names, from);
	replaced = sim_names_get(names, to);
	if (!inode) {
		err = -ENOENT;
	} else if (inode != replaced) {
		sim_change_add(dir->node, from, to, inode);
		sim_names_apply(names, from, to, inode);
		if (replaced) {
			replaced->nlink--;
			sim_inode_settle(dir->sim, replaced);
		}
	}
	unlock_sim(dir->sim);
	return err;
}

static int sim_unlink(struct pfs_dir *base, const char *name)
{
	struct sim_dir *dir = as_dir(base);
	struct sim_inode *inode;
	int err = step(dir->sim, PFS_SIM_UNLINK, name, 0, 0);

	if (err)
		return err;
	lock_sim(dir->sim);
	inode = sim_names_get(&dir->node->names, name);
	if (inode) {
		sim_change_add(dir->node, name, NULL, inode);
		sim_names_apply(&dir->node->names, name, NULL, NULL);
		inode->nlink--;
	} else {
		err = -ENOENT;
	}
	unlock_sim(dir->sim);
	return err;
}

/* ---- files ---- */

static bool has_room(const struct sim_file *file, uint64_t off, uint64_t len)
{
	return len <= file->inode->room && off <= file->inode->room - len;
}

static void sim_close(struct pfs_file *base)
{
	struct sim_file *file = as_file(base);

	lock_sim(file->sim);
	file->inode->open_refs--;
	sim_inode_settle(file->sim, file->inode);
	unlock_sim(file->sim);
	free(file);
}

static ssize_t sim_read(struct pfs_file *base, void *buf, size_t len, uint64_t off)
{
	struct sim_file *file = as_file(base);
	uint64_t end;
	int err = file_look(file, PFS_SIM_READ, off, len);

	if (err)
		return err;
	lock_sim(file->sim);
	end = file->inode->len;
	unlock_sim(file->sim);
	if (off >= end)
		return 0;
	len = pfs_min_u64(len, end - off);
	memcpy(buf, file->inode->bytes + off, len);
	return (ssize_t)len;
}

/* Takes room for [off, off + len) as far as there is some, and notes that it changes. Returns the
 * end of what may be written, which is then inside the file. */
static uint64_t prepare_write(struct pfs_sim *sim, struct sim_inode *inode, size_t len,
			      uint64_t off)
{
	uint64_t end = off + len;

	lock_sim(sim);
	for (size_t i = off / PFS_SIM_PIECE; (uint64_t)i * PFS_SIM_PIECE < end; i++) {
		if (!sim_piece_allocate(sim, inode, i)) {
			end = pfs_max_u64(off, (uint64_t)i * PFS_SIM_PIECE);
			break;
		}
		sim_piece_remember(sim, inode, i);
		inode->pieces[i].written = true;
	}
	if (end > off)
		inode->len = pfs_max_u64(inode->len, end);
	unlock_sim(sim);
	return end;
}

/* How much of a write that is failed is done. */
static size_t failed_len(const struct pfs_sim *sim, size_t len, uint64_t off)
{
	uint64_t end = (off + len / 2) / PFS_SIM_SECTOR * PFS_SIM_SECTOR;

	switch (sim->failed_writes) {
	case PFS_SIM_FAILED_HALF: return end > off ? end - off : 0;
	case PFS_SIM_FAILED_NOTHING: return 0;
	case PFS_SIM_FAILED_ALL: break;
	}
	return len;
}

/* As memcpy, but bytes that are to stay as they are are not touched: who reads them meanwhile sees
 * nothing of the write, and races with nobody. */
static void store_bytes(uint8_t *to, const uint8_t *from, size_t len)
{
	enum { STEP = 64 };

	for (size_t at = 0; at < len; at += STEP) {
		size_t end = at + pfs_min_u64(STEP, len - at);

		if (memcmp(to + at, from + at, end - at) == 0)
			continue;
		for (size_t i = at; i < end; i++)
			if (to[i] != from[i])
				to[i] = from[i];
	}
}

static int sim_write(struct pfs_file *base, const void *buf, size_t len, uint64_t off)
{
	struct sim_file *file = as_file(base);
	uint64_t end;
	int err;

	if (!has_room(file, off, len))
		return -EFBIG;
	err = file_step(file, PFS_SIM_WRITE, off, len);
	if (err == -EBADF)
		return err;
	if (err)
		len = failed_len(file->sim, len, off);
	if (!len)
		return err;
	end = prepare_write(file->sim, file->inode, len, off);
	store_bytes(file->inode->bytes + off, buf, end - off);
	if (!err && end < off + len)
		err = -ENOSPC;
	return err;
}

static int sim_sync(struct pfs_file *base)
{
	struct sim_file *file = as_file(base);
	struct sim_inode *inode = file->inode;
	int err = file_step(file, PFS_SIM_SYNC, 0, 0);

	lock_sim(file->sim);
	for (size_t i = 0; i < inode->piece_end; i++) {
		struct sim_piece *piece = &inode->pieces[i];

		if (err)
			piece->forgotten = piece->version_count > 0;
		else if (!piece->forgotten)
			sim_piece_settle(piece);
	}
	if (!err)
		inode->durable_len = inode->len;
	unlock_sim(file->sim);
	return err;
}

static int sim_allocate(struct pfs_file *base, uint64_t off, uint64_t len)
{
	struct sim_file *file = as_file(base);
	uint64_t end = off + len;
	int err;

	if (!len)
		return -EINVAL;
	if (!has_room(file, off, len))
		return -EFBIG;
	err = file_step(file, PFS_SIM_ALLOCATE, off, len);
	if (err)
		return err;
	lock_sim(file->sim);
	for (size_t i = off / PFS_SIM_PIECE; (uint64_t)i * PFS_SIM_PIECE < end; i++) {
		if (!sim_piece_allocate(file->sim, file->inode, i)) {
			end = (uint64_t)i * PFS_SIM_PIECE;
			err = -ENOSPC;
		}
	}
	file->inode->len = pfs_max_u64(file->inode->len, end);
	unlock_sim(file->sim);
	return err;
}

static int sim_punch(struct pfs_file *base, uint64_t off, uint64_t len)
{
	struct sim_file *file = as_file(base);
	int err;

	if (!len)
		return -EINVAL;
	if (!has_room(file, off, len))
		return -EFBIG;
	err = file_step(file, PFS_SIM_PUNCH, off, len);
	if (err)
		return err;
	lock_sim(file->sim);
	sim_inode_zero(file->sim, file->inode, off, off + len);
	unlock_sim(file->sim);
	return 0;
}

static int sim_truncate(struct pfs_file *base, uint64_t size)
{
	struct sim_file *file = as_file(base);
	int err;

	if (!has_room(file, size, 0))
		return -EFBIG;
	err = file_step(file, PFS_SIM_TRUNCATE, size, 0);
	if (err)
		return err;
	lock_sim(file->sim);
	if (size < file->inode->len)
		sim_inode_zero(file->sim, file->inode, size, PFS_SIM_FILE_MAX);
	file->inode->len = size;
	unlock_sim(file->sim);
	return 0;
}

static int sim_size(struct pfs_file *base, uint64_t *out)
{
	struct sim_file *file = as_file(base);

	lock_sim(file->sim);
	*out = file->inode->len;
	unlock_sim(file->sim);
	return 0;
}

static int sim_disk_usage(struct pfs_file *base, uint64_t *out)
{
	struct sim_file *file = as_file(base);

	lock_sim(file->sim);
	*out = file->inode->allocated * PFS_SIM_PIECE;
	unlock_sim(file->sim);
	return 0;
}

static int sim_map(struct pfs_file *base, size_t len, const uint8_t **out)
{
	struct sim_file *file = as_file(base);
	int err;

	*out = NULL;
	if (!len)
		return -EINVAL;
	if (!has_room(file, 0, len))
		return -ENOMEM;
	err = file_look(file, PFS_SIM_MAP, 0, len);
	if (err)
		return err;
	lock_sim(file->sim);
	file->inode->open_refs++;
	unlock_sim(file->sim);
	*out = file->inode->bytes;
	return 0;
}

static void sim_unmap(struct pfs_file *base, const uint8_t *addr, size_t len)
{
	struct sim_file *file = as_file(base);

	(void)len;
	if (addr != file->inode->bytes)
		abort();
	lock_sim(file->sim);
	file->inode->open_refs--;
	unlock_sim(file->sim);
}

static const struct pfs_io_ops sim_ops = {
	.open_dir = sim_open_dir,
	.close_dir = sim_close_dir,
	.sync_dir = sim_sync_dir,
	.list = sim_list,
	.lock = sim_lock,
	.space = sim_space,
	.open = sim_open,
	.rename = sim_rename,
	.unlink = sim_unlink,
	.close = sim_close,
	.read = sim_read,
	.write = sim_write,
	.sync = sim_sync,
	.allocate = sim_allocate,
	.punch = sim_punch,
	.truncate = sim_truncate,
	.size = sim_size,
	.disk_usage = sim_disk_usage,
	.map = sim_map,
	.unmap = sim_unmap,
};

/* ---- the sim itself ---- */

struct pfs_sim *sim_new(const struct pfs_io_ops *ops, struct sim_pool *pool)
{
	struct pfs_sim *sim = sim_alloc(sizeof(*sim));

	sim->io = (struct pfs_io){.ops = ops, .context = sim};
	sim->pool = pool;
	sim->file_max = PFS_SIM_FILE_MAX;
	pthread_mutex_init(&sim->mutex, NULL);
	return sim;
}

struct pfs_sim *pfs_sim_new(void)
{
	return sim_new(&sim_ops, sim_pool_new());
}

static void free_names(struct sim_names *names)
{
	while (names->count) {
		struct sim_name *name = &names->at[--names->count];

		name->inode->name_refs--;
		free(name->text);
	}
	free(names->at);
}

void pfs_sim_free(struct pfs_sim *sim)
{
	if (!sim)
		return;
	while (sim->nodes) {
		struct sim_node *node = sim->nodes;

		sim_node_sync(sim, node);
		free_names(&node->names);
		free_names(&node->durable);
		sim->nodes = node->next;
		free(node->changes);
		free(node->path);
		free(node);
	}
	while (sim->inodes) {
		sim->inodes->open_refs = 0;
		sim_inode_settle(sim, sim->inodes);
	}
	sim_pool_unref(sim->pool);
	pthread_mutex_destroy(&sim->mutex);
	free(sim);
}

const struct pfs_io *pfs_sim_io(struct pfs_sim *sim)
{
	return &sim->io;
}

const char *pfs_sim_kind_name(enum pfs_sim_kind kind)
{
	static const char *const names[PFS_SIM_KINDS] = {
		[PFS_SIM_CREATE] = "create",	 [PFS_SIM_WRITE] = "write",
		[PFS_SIM_SYNC] = "sync",	 [PFS_SIM_SYNC_DIR] = "sync_dir",
		[PFS_SIM_RENAME] = "rename",	 [PFS_SIM_UNLINK] = "unlink",
		[PFS_SIM_TRUNCATE] = "truncate", [PFS_SIM_ALLOCATE] = "allocate",
		[PFS_SIM_PUNCH] = "punch",	 [PFS_SIM_READ] = "read",
		[PFS_SIM_MAP] = "map",		 [PFS_SIM_OPEN] = "open",
	};

	return kind < PFS_SIM_KINDS ? names[kind] : "?";
}

void pfs_sim_on_step(struct pfs_sim *sim, pfs_sim_step_fn *fn, void *arg)
{
	lock_sim(sim);
	sim->step_fn = fn;
	sim->step_arg = arg;
	unlock_sim(sim);
}

void pfs_sim_on_look(struct pfs_sim *sim, pfs_sim_step_fn *fn, void *arg)
{
	lock_sim(sim);
	sim->look_fn = fn;
	sim->look_arg = arg;
	unlock_sim(sim);
}

void pfs_sim_set_failed_writes(struct pfs_sim *sim, enum pfs_sim_failed_write what)
{
	sim->failed_writes = what;
}

uint64_t pfs_sim_count(const struct pfs_sim *sim, enum pfs_sim_kind kind)
{
	uint64_t n;

	lock_sim(sim);
	n = sim->counts[kind];
	unlock_sim(sim);
	return n;
}

uint64_t pfs_sim_steps(const struct pfs_sim *sim)
{
	uint64_t n;

	lock_sim(sim);
	n = sim->steps;
	unlock_sim(sim);
	return n;
}

void pfs_sim_set_file_max(struct pfs_sim *sim, uint64_t bytes)
{
	lock_sim(sim);
	sim->file_max = pfs_min_u64(bytes, PFS_SIM_FILE_MAX);
	unlock_sim(sim);
}

void pfs_sim_set_capacity(struct pfs_sim *sim, uint64_t bytes)
{
	lock_sim(sim);
	sim->capacity = bytes;
	unlock_sim(sim);
}

uint64_t pfs_sim_used(const struct pfs_sim *sim)
{
	uint64_t n;

	lock_sim(sim);
	n = sim_used(sim);
	unlock_sim(sim);
	return n;
}
