/* floor: a filesystem that answers every request from memory, as fast as libfuse lets it.
 *
 * It is what the kernel and libfuse cost when the filesystem itself costs nothing: one flat
 * directory, the caching flags of payloadfs (open, opendir and flush unanswered, writeback cache,
 * infinite timeouts, negative entries), file contents in malloc'ed memory. Nothing is kept after it
 * ends.
 *
 * One mutex guards everything: the requests of a benchmark come from one client, and the hash
 * table, the nodes and their bytes are touched for well under a microsecond. */
#define FUSE_USE_VERSION 312
#include <errno.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FLOOR_TIMEOUT_S 1e9 /* for ever, as the kernel sees it */
#define FLOOR_WRITE_MAX (1u << 20)
#define FLOOR_READDIR_MAX (128u << 10)
#define FLOOR_FILE_MAX ((size_t)1 << 30)
#define FLOOR_NODES_MAX (1u << 26)

/* Node n is inode n; 0 is no node and 1 the directory. A node lives until it has neither name nor
 * lookups. */
struct node {
	char *name; /* NULL: removed, or free */
	uint8_t *data;
	size_t size, room;
	uint64_t lookups;
	uint64_t generation;
	uint32_t next; /* in its hash bucket, or in the free list */
	mode_t mode;
	uid_t uid;
	gid_t gid;
	struct timespec mtime;
};

struct floor {
	pthread_mutex_t lock;
	struct node *nodes;
	uint32_t used, room, free;
	uint32_t *buckets;
	uint32_t bucket_count; /* power of two */
	uint32_t names;
};

static struct floor *floor_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static uint32_t hash(const char *name)
{
	uint32_t h = 2166136261u;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return h ^ h >> 15;
}

/* The place that holds the number of the node called name, or that would. */
static uint32_t *find(struct floor *f, const char *name)
{
	uint32_t *p = &f->buckets[hash(name) & (f->bucket_count - 1)];

	while (*p && strcmp(f->nodes[*p].name, name))
		p = &f->nodes[*p].next;
	return p;
}

static void attach(struct floor *f, uint32_t n)
{
	uint32_t *p = &f->buckets[hash(f->nodes[n].name) & (f->bucket_count - 1)];

	f->nodes[n].next = *p;
	*p = n;
	f->names++;
}

/* Frees the node unless somebody still has it. */
static void drop(struct floor *f, uint32_t n)
{
	struct node *node = &f->nodes[n];

	if (node->name || node->lookups)
		return;
	free(node->data);
	node->data = NULL;
	node->size = node->room = 0;
	node->next = f->free;
	f->free = n;
}

/* Takes the name away from the node at *p. */
static void detach(struct floor *f, uint32_t *p)
{
	uint32_t n = *p;

	*p = f->nodes[n].next;
	free(f->nodes[n].name);
	f->nodes[n].name = NULL;
	f->names--;
	drop(f, n);
}

static int grow_buckets(struct floor *f)
{
	uint32_t count = f->bucket_count * 2;
	uint32_t *buckets = calloc(count, sizeof(*buckets));

	if (!buckets)
		return ENOMEM;
	free(f->buckets);
	f->buckets = buckets;
	f->bucket_count = count;
	f->names = 0;
	for (uint32_t n = FUSE_ROOT_ID + 1; n < f->used; n++)
		if (f->nodes[n].name)
			attach(f, n);
	return 0;
}

static int new_node(struct floor *f, uint32_t *out)
{
	if (f->free) {
		*out = f->free;
		f->free = f->nodes[f->free].next;
		return 0;
	}
	if (f->used == f->room) {
		uint32_t room = f->room * 2;
		struct node *nodes;

		if (room > FLOOR_NODES_MAX)
			return ENOSPC;
		nodes = realloc(f->nodes, room * sizeof(*nodes));
		if (!nodes)
			return ENOMEM;
		memset(nodes + f->room, 0, (room - f->room) * sizeof(*nodes));
		f->nodes = nodes;
		f->room = room;
	}
	*out = f->used++;
	return 0;
}

static void fill_stat(struct floor *f, uint32_t n, struct stat *st)
{
	struct node *node = &f->nodes[n];

	memset(st, 0, sizeof(*st));
	st->st_ino = n;
	st->st_mode = node->mode;
	st->st_nlink = n == FUSE_ROOT_ID ? 2 : node->name != NULL;
	st->st_uid = node->uid;
	st->st_gid = node->gid;
	st->st_size = (off_t)node->size;
	st->st_blocks = (blkcnt_t)((node->size + 511) / 512);
	st->st_blksize = 4096;
	st->st_mtim = st->st_ctim = st->st_atim = node->mtime;
}

static void fill_entry(struct floor *f, uint32_t n, struct fuse_entry_param *e)
{
	memset(e, 0, sizeof(*e));
	e->attr_timeout = e->entry_timeout = FLOOR_TIMEOUT_S;
	e->ino = n;
	if (n) {
		e->generation = f->nodes[n].generation;
		f->nodes[n].lookups++;
		fill_stat(f, n, &e->attr);
	}
}

/* Replies with an entry whose lookup was counted, and takes the count back when the kernel did not
 * get it. */
static void reply_entry(fuse_req_t req, struct floor *f, const struct fuse_entry_param *e)
{
	if (fuse_reply_entry(req, e) == 0 || !e->ino)
		return;
	pthread_mutex_lock(&f->lock);
	f->nodes[e->ino].lookups--;
	drop(f, (uint32_t)e->ino);
	pthread_mutex_unlock(&f->lock);
}

static void floor_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	conn->want |= conn->capable & (FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_NO_OPEN_SUPPORT |
				       FUSE_CAP_NO_OPENDIR_SUPPORT | FUSE_CAP_PARALLEL_DIROPS |
				       FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
	conn->want &= ~(unsigned)(FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_AUTO_INVAL_DATA);
	conn->max_write = FLOOR_WRITE_MAX;
	conn->time_gran = 1;
}

static void floor_unanswered(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, ENOSYS);
}

static void floor_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct floor *f = floor_of(req);
	struct fuse_entry_param e;

	(void)parent;
	pthread_mutex_lock(&f->lock);
	fill_entry(f, *find(f, name), &e);
	pthread_mutex_unlock(&f->lock);
	reply_entry(req, f, &e);
}

static void forget(struct floor *f, fuse_ino_t ino, uint64_t count)
{
	if (ino == FUSE_ROOT_ID)
		return;
	pthread_mutex_lock(&f->lock);
	f->nodes[ino].lookups -= count;
	drop(f, (uint32_t)ino);
	pthread_mutex_unlock(&f->lock);
}

static void floor_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	forget(floor_of(req), ino, count);
	fuse_reply_none(req);
}

static void floor_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		forget(floor_of(req), forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

static void floor_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct floor *f = floor_of(req);
	struct stat st;

	(void)fi;
	pthread_mutex_lock(&f->lock);
	fill_stat(f, (uint32_t)ino, &st);
	pthread_mutex_unlock(&f->lock);
	fuse_reply_attr(req, &st, FLOOR_TIMEOUT_S);
}

static int resize(struct node *node, size_t size)
{
	if (size > FLOOR_FILE_MAX)
		return EFBIG;
	if (size > node->room) {
		size_t room = size > 2 * node->room ? size : 2 * node->room;
		uint8_t *data = realloc(node->data, room);

		if (!data)
			return ENOMEM;
		node->data = data;
		node->room = room;
	}
	if (size > node->size)
		memset(node->data + node->size, 0, size - node->size);
	node->size = size;
	return 0;
}

static void floor_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int set,
			  struct fuse_file_info *fi)
{
	struct floor *f = floor_of(req);
	struct node *node;
	struct stat st;
	int err = 0;

	(void)fi;
	pthread_mutex_lock(&f->lock);
	node = &f->nodes[ino];
	if (set & FUSE_SET_ATTR_SIZE)
		err = resize(node, (size_t)attr->st_size);
	if (set & FUSE_SET_ATTR_MODE)
		node->mode = (node->mode & S_IFMT) | (attr->st_mode & 07777);
	if (set & FUSE_SET_ATTR_UID)
		node->uid = attr->st_uid;
	if (set & FUSE_SET_ATTR_GID)
		node->gid = attr->st_gid;
	if (set & FUSE_SET_ATTR_MTIME)
		node->mtime = attr->st_mtim;
	if (set & (FUSE_SET_ATTR_MTIME_NOW | FUSE_SET_ATTR_SIZE))
		clock_gettime(CLOCK_REALTIME, &node->mtime);
	fill_stat(f, (uint32_t)ino, &st);
	pthread_mutex_unlock(&f->lock);
	if (err)
		fuse_reply_err(req, err);
	else
		fuse_reply_attr(req, &st, FLOOR_TIMEOUT_S);
}

static int make_node(struct floor *f, const char *name, mode_t mode, const struct fuse_ctx *ctx,
		     struct fuse_entry_param *e)
{
	struct node *node;
	uint32_t n;
	int err;

	if (*find(f, name))
		return EEXIST;
	if (f->names >= f->bucket_count) {
		err = grow_buckets(f);
		if (err)
			return err;
	}
	err = new_node(f, &n);
	if (err)
		return err;
	node = &f->nodes[n];
	node->name = strdup(name);
	if (!node->name) {
		drop(f, n);
		return ENOMEM;
	}
	node->generation++;
	node->mode = mode;
	node->uid = ctx->uid;
	node->gid = ctx->gid;
	clock_gettime(CLOCK_REALTIME, &node->mtime);
	attach(f, n);
	fill_entry(f, n, e);
	return 0;
}

static void floor_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
			dev_t rdev)
{
	struct floor *f = floor_of(req);
	struct fuse_entry_param e;
	int err;

	(void)parent;
	(void)rdev;
	if (!S_ISREG(mode)) {
		fuse_reply_err(req, EPERM);
		return;
	}
	pthread_mutex_lock(&f->lock);
	err = make_node(f, name, mode, fuse_req_ctx(req), &e);
	pthread_mutex_unlock(&f->lock);
	if (err)
		fuse_reply_err(req, err);
	else
		reply_entry(req, f, &e);
}

/* Sent under the lock: the bytes may move when a write makes the node's room larger. */
static void floor_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	struct floor *f = floor_of(req);
	struct node *node;
	size_t len = 0;

	(void)fi;
	pthread_mutex_lock(&f->lock);
	node = &f->nodes[ino];
	if ((size_t)off < node->size)
		len = node->size - (size_t)off;
	fuse_reply_buf(req, len ? (char *)node->data + off : NULL, len < size ? len : size);
	pthread_mutex_unlock(&f->lock);
}

static void floor_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
			struct fuse_file_info *fi)
{
	struct floor *f = floor_of(req);
	struct node *node;
	int err = 0;

	(void)fi;
	pthread_mutex_lock(&f->lock);
	node = &f->nodes[ino];
	if ((size_t)off + size > node->size)
		err = resize(node, (size_t)off + size);
	if (!err) {
		memcpy(node->data + off, buf, size);
		clock_gettime(CLOCK_REALTIME, &node->mtime);
	}
	pthread_mutex_unlock(&f->lock);
	if (err)
		fuse_reply_err(req, err);
	else
		fuse_reply_write(req, size);
}

static void floor_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct floor *f = floor_of(req);
	uint32_t *p;
	bool found;

	(void)parent;
	pthread_mutex_lock(&f->lock);
	p = find(f, name);
	found = *p != 0;
	if (found)
		detach(f, p);
	pthread_mutex_unlock(&f->lock);
	fuse_reply_err(req, found ? 0 : ENOENT);
}

static int move_name(struct floor *f, const char *from, const char *to)
{
	uint32_t *p = find(f, from), *q = find(f, to);
	uint32_t n = *p;
	char *name;

	if (!n)
		return ENOENT;
	if (*q == n)
		return 0;
	name = strdup(to);
	if (!name)
		return ENOMEM;
	if (*q)
		detach(f, q);
	p = find(f, from);
	*p = f->nodes[n].next;
	f->names--;
	free(f->nodes[n].name);
	f->nodes[n].name = name;
	attach(f, n);
	return 0;
}

static void floor_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
			 const char *newname, unsigned flags)
{
	struct floor *f = floor_of(req);
	int err;

	(void)parent;
	(void)newparent;
	if (flags) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	pthread_mutex_lock(&f->lock);
	err = move_name(f, name, newname);
	pthread_mutex_unlock(&f->lock);
	fuse_reply_err(req, err);
}

/* Cookies are node numbers. "." and ".." are left out: the kernel does not need them and tools get
 * by. */
static void list(fuse_req_t req, size_t size, off_t off, bool plus)
{
	struct floor *f = floor_of(req);
	size_t len = 0, room = size < FLOOR_READDIR_MAX ? size : FLOOR_READDIR_MAX;
	char *buf = malloc(room);

	if (!buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	pthread_mutex_lock(&f->lock);
	for (uint32_t n = off > FUSE_ROOT_ID ? (uint32_t)off + 1 : FUSE_ROOT_ID + 1; n < f->used;
	     n++) {
		struct fuse_entry_param e = {0};
		size_t need;

		if (!f->nodes[n].name)
			continue;
		if (plus) {
			fill_entry(f, n, &e);
			need = fuse_add_direntry_plus(req, buf + len, room - len, f->nodes[n].name,
						      &e, n);
		} else {
			fill_stat(f, n, &e.attr);
			need = fuse_add_direntry(req, buf + len, room - len, f->nodes[n].name,
						 &e.attr, n);
		}
		if (need > room - len) {
			if (plus)
				f->nodes[n].lookups--;
			break;
		}
		len += need;
	}
	pthread_mutex_unlock(&f->lock);
	fuse_reply_buf(req, buf, len);
	free(buf);
}

static void floor_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			  struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	list(req, size, off, false);
}

static void floor_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			      struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	list(req, size, off, true);
}

static void floor_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)ino;
	(void)datasync;
	(void)fi;
	fuse_reply_err(req, 0);
}

static const struct fuse_lowlevel_ops floor_ops = {
	.init = floor_init,
	.lookup = floor_lookup,
	.forget = floor_forget,
	.forget_multi = floor_forget_multi,
	.getattr = floor_getattr,
	.setattr = floor_setattr,
	.mknod = floor_mknod,
	.open = floor_unanswered,
	.opendir = floor_unanswered,
	.flush = floor_unanswered,
	.read = floor_read,
	.write = floor_write,
	.unlink = floor_unlink,
	.rename = floor_rename,
	.readdir = floor_readdir,
	.readdirplus = floor_readdirplus,
	.fsync = floor_fsync,
	.fsyncdir = floor_fsync,
};

static int floor_setup(struct floor *f)
{
	memset(f, 0, sizeof(*f));
	f->room = f->bucket_count = 1024;
	f->nodes = calloc(f->room, sizeof(*f->nodes));
	f->buckets = calloc(f->bucket_count, sizeof(*f->buckets));
	if (!f->nodes || !f->buckets)
		return -1;
	f->used = FUSE_ROOT_ID + 1;
	f->nodes[FUSE_ROOT_ID].mode = S_IFDIR | 0755;
	f->nodes[FUSE_ROOT_ID].uid = getuid();
	f->nodes[FUSE_ROOT_ID].gid = getgid();
	clock_gettime(CLOCK_REALTIME, &f->nodes[FUSE_ROOT_ID].mtime);
	return pthread_mutex_init(&f->lock, NULL);
}

static void floor_teardown(struct floor *f)
{
	for (uint32_t n = 0; n < f->used; n++) {
		free(f->nodes[n].name);
		free(f->nodes[n].data);
	}
	free(f->nodes);
	free(f->buckets);
}

int main(int argc, char *argv[])
{
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	struct fuse_cmdline_opts opts = {0};
	struct fuse_loop_config *loop = NULL;
	struct fuse_session *session = NULL;
	struct floor f;
	int ret = 1;

	if (floor_setup(&f) || fuse_parse_cmdline(&args, &opts))
		goto out;
	if (opts.show_help || !opts.mountpoint) {
		printf("usage: %s [-f] [-d] [-o option,...] MOUNTPOINT\n", argv[0]);
		ret = opts.show_help ? 0 : 2;
		goto out;
	}
	if (fuse_opt_add_arg(&args, "-odefault_permissions,fsname=floor,subtype=floor"))
		goto out;
	session = fuse_session_new(&args, &floor_ops, sizeof(floor_ops), &f);
	loop = fuse_loop_cfg_create();
	if (!session || !loop || fuse_set_signal_handlers(session))
		goto out;
	if (fuse_session_mount(session, opts.mountpoint) == 0) {
		fuse_daemonize(opts.foreground);
		ret = fuse_session_loop_mt(session, loop) != 0;
		fuse_session_unmount(session);
	}
	fuse_remove_signal_handlers(session);
out:
	if (session)
		fuse_session_destroy(session);
	if (loop)
		fuse_loop_cfg_destroy(loop);
	free(opts.mountpoint);
	fuse_opt_free_args(&args);
	floor_teardown(&f);
	return ret;
}
