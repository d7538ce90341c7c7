#include "fs/control.h"

#include <stdlib.h>

#include "fs/clock.h"
#include "fs/control_impl.h"
#include "storage/monotonic.h"

#define LOOKUP_THREADS 2 /* of points.ndjson, of which one looks and the others wait */
#define IMPORT_THREADS 4 /* streams that are imported at once */
#define DOER_THREADS 4	 /* compact, sync, train, fsync */
#define BLOCK_SIZE (128 * PFS_KIB)
#define TIMEOUT_FOREVER 1e9
/* Places in the listing: of "." and "..", then of the files. */
#define OFF_DOTS 2

/* mode: what the owner may do besides what everyone may. points.ndjson shows all documents, whoever
 * may read each of them: it is the owner's alone, like what is imported without asking for theirs.
 */
static const struct {
	const char *name;
	mode_t mode;
} files[PFS_CONTROL_FILES] = {
	[PFS_CONTROL_STATS] = {"stats.json", 0444}, [PFS_CONTROL_POINTS] = {"points.ndjson", 0400},
	[PFS_CONTROL_IMPORT] = {"import", 0200},    [PFS_CONTROL_COMPACT] = {"compact", 0644},
	[PFS_CONTROL_SYNC] = {"sync", 0644},	    [PFS_CONTROL_TRAIN] = {"train", 0644},
};

/* ---- beginning and end ---- */

/* On the invalidator's thread: waits until nobody has the directory's lock for long. */
static int drop_name(void *arg, const char *name, size_t len, uint64_t gone)
{
	struct pfs_control *control = arg;
	bool leaving;

	(void)gone;
	pthread_mutex_lock(&control->lock);
	while (control->slow_lookups > 0 && !control->leaving)
		pthread_cond_wait(&control->quiet, &control->lock);
	leaving = control->leaving;
	pthread_mutex_unlock(&control->lock);
	return leaving ? 0 : control->env.drop(control->env.arg, PFS_CONTROL_DIR, name, len);
}

static int drop_listing(void *arg)
{
	(void)arg;
	return 0; /* it never changes */
}

int pfs_control_new(struct pfs_control **out, const struct pfs_control_env *env)
{
	struct pfs_control *control = calloc(1, sizeof(*control));
	int err;

	*out = control;
	if (!control)
		return -ENOMEM;
	control->env = *env;
	control->begun_ns = pfs_now_monotonic();
	control->begun_realtime_ns = pfs_realtime_ns();
	control->next_nodeid = PFS_CONTROL_DIR + 1;
	pthread_mutex_init(&control->lock, NULL);
	pthread_cond_init(&control->quiet, NULL);
	control->imports = calloc(1, sizeof(*control->imports));
	err = control->imports ? 0 : -ENOMEM;
	if (!err) {
		pthread_mutex_init(&control->imports->lock, NULL);
		control->imports->changed_ns = control->begun_realtime_ns;
		err = pfs_points_new(&control->points, env->store, env->logger);
	}
	if (!err)
		err = pfs_actions_new(&control->actions, env->store, env->logger);
	if (!err)
		err = pfs_jobs_new(&control->lookups, LOOKUP_THREADS);
	if (!err)
		err = pfs_jobs_new(&control->importers, IMPORT_THREADS);
	if (!err)
		err = pfs_jobs_new(&control->doers, DOER_THREADS);
	if (err) {
		pfs_control_free(control);
		*out = NULL;
	}
	return err;
}

int pfs_control_start(struct pfs_control *control)
{
	const struct pfs_invalidate_ops ops = {
		.entry = drop_name, .listing = drop_listing, .arg = control};

	return pfs_invalidator_start(&control->invalidator, &ops, control->env.logger);
}

struct ending {
	struct pfs_control *control;
	struct pfs_moment *moment;
	struct pfs_import *import;
};

static void end_content(void *arg)
{
	struct ending *ending = arg;

	if (ending->moment)
		pfs_moment_release(ending->control->points, ending->moment);
	pfs_import_free(ending->import);
	free(ending);
}

/* The end of a snapshot waits for writers, and what is still imported the kernel is told of: not on
 * a thread that answers requests, unless there is no other. */
static void end_later(struct pfs_control *control, struct pfs_control_inode *inode)
{
	struct pfs_jobs *jobs = inode->import ? control->importers : control->doers;
	struct ending *ending = malloc(sizeof(*ending));

	if (ending) {
		*ending = (struct ending){control, inode->moment, inode->import};
		if (!jobs || pfs_jobs_submit(jobs, end_content, ending) != 0)
			end_content(ending);
		return;
	}
	if (inode->moment)
		pfs_moment_release(control->points, inode->moment);
	pfs_import_free(inode->import);
}

static void free_inode(struct pfs_control *control, struct pfs_control_inode *inode)
{
	if (inode->moment || inode->import)
		end_later(control, inode);
	free(inode->text);
	free(inode);
}

void pfs_control_leave(struct pfs_control *control)
{
	pthread_mutex_lock(&control->lock);
	control->leaving = true;
	pthread_cond_broadcast(&control->quiet);
	pthread_mutex_unlock(&control->lock);
	pfs_invalidator_end(control->invalidator);
}

static void end_jobs(struct pfs_jobs **jobs)
{
	pfs_jobs_free(*jobs);
	*jobs = NULL;
}

void pfs_control_stop(struct pfs_control *control)
{
	if (!control || atomic_exchange(&control->stopping, true))
		return;
	if (control->actions)
		pfs_actions_stop(control->actions);
	/* In this order: what ends in one of them may leave its inode's end to a later one. */
	end_jobs(&control->lookups);
	end_jobs(&control->doers);
	end_jobs(&control->importers);
	pfs_invalidator_stop(control->invalidator);
	control->invalidator = NULL;
	for (unsigned i = 0; i < PFS_CONTROL_BUCKETS; i++) {
		struct pfs_control_inode *inode;

		while ((inode = control->buckets[i])) {
			control->buckets[i] = inode->next;
			free_inode(control, inode);
		}
	}
}

void pfs_control_free(struct pfs_control *control)
{
	if (!control)
		return;
	pfs_control_stop(control);
	pfs_actions_free(control->actions);
	pfs_points_free(control->points);
	if (control->imports)
		pthread_mutex_destroy(&control->imports->lock);
	free(control->imports);
	pthread_cond_destroy(&control->quiet);
	pthread_mutex_destroy(&control->lock);
	free(control);
}

/* ---- inodes ---- */

static struct pfs_control_inode **bucket_of(struct pfs_control *control, uint64_t nodeid)
{
	return &control->buckets[nodeid % PFS_CONTROL_BUCKETS];
}

struct pfs_control_inode *pfs_control_inode_new(struct pfs_control *control,
						enum pfs_control_file file)
{
	struct pfs_control_inode *inode = calloc(1, sizeof(*inode));

	if (inode) {
		inode->file = file;
		inode->mtime_ns = control->begun_realtime_ns;
	}
	return inode;
}

/* Under the lock. */
static struct pfs_control_inode *find(struct pfs_control *control, fuse_ino_t ino)
{
	struct pfs_control_inode *inode = *bucket_of(control, ino);

	while (inode && inode->nodeid != ino)
		inode = inode->next;
	return inode;
}

struct pfs_control_inode *pfs_control_inode_get(struct pfs_control *control, fuse_ino_t ino)
{
	struct pfs_control_inode *inode;

	pthread_mutex_lock(&control->lock);
	inode = find(control, ino);
	if (inode)
		inode->users++;
	pthread_mutex_unlock(&control->lock);
	return inode;
}

struct pfs_import *pfs_control_stream(struct pfs_control *control,
				      const struct pfs_control_inode *inode)
{
	struct pfs_import *import;

	pthread_mutex_lock(&control->lock);
	import = inode->import;
	pthread_mutex_unlock(&control->lock);
	return import;
}

/* Takes references back, of the kernel's and of users. */
static void unref(struct pfs_control *control, struct pfs_control_inode *inode, uint64_t nlookup,
		  unsigned users)
{
	struct pfs_control_inode **at;
	bool gone;

	pthread_mutex_lock(&control->lock);
	inode->nlookup -= pfs_min_u64(nlookup, inode->nlookup);
	inode->users -= users;
	gone = inode->nlookup == 0 && inode->users == 0;
	for (at = bucket_of(control, inode->nodeid); gone && *at; at = &(*at)->next) {
		if (*at == inode) {
			*at = inode->next;
			break;
		}
	}
	pthread_mutex_unlock(&control->lock);
	if (gone)
		free_inode(control, inode);
}

void pfs_control_inode_put(struct pfs_control *control, struct pfs_control_inode *inode)
{
	unref(control, inode, 0, 1);
}

void pfs_control_forget(struct pfs_control *control, fuse_ino_t ino, uint64_t nlookup)
{
	struct pfs_control_inode *inode = pfs_control_inode_get(control, ino);

	if (inode)
		unref(control, inode, nlookup, 1);
}

/* Has the kernel drop the name: the next open looks it up anew, and the inode is forgotten when its
 * last user closes it. The kernel may get it before it has put the name in; so once more, with the
 * first request that shows that it has. */
static void drop_later(struct pfs_control *control, enum pfs_control_file file)
{
	struct pfs_invalidation item = {.gone = 0};

	if (pfs_key_parse(&item.key, files[file].name, strlen(files[file].name)) == 0)
		pfs_invalidate_later(control->invalidator, &item);
}

static void drop_again(struct pfs_control *control, struct pfs_control_inode *inode)
{
	if (!atomic_exchange_explicit(&inode->dropped, true, memory_order_relaxed))
		drop_later(control, inode->file);
}

/* The inode of a request, with a reference; NULL: it was replied that there is none. */
static struct pfs_control_inode *get_for(struct pfs_control *control, fuse_req_t req,
					 fuse_ino_t ino)
{
	struct pfs_control_inode *inode = pfs_control_inode_get(control, ino);

	if (inode)
		drop_again(control, inode);
	else
		fuse_reply_err(req, ENOENT);
	return inode;
}

void pfs_control_stat(struct pfs_control *control, const struct pfs_control_inode *inode,
		      struct stat *st)
{
	struct pfs_attr root;

	pfs_root_get(control->env.root, &root);
	memset(st, 0, sizeof(*st));
	st->st_ino = PFS_CONTROL_DIR;
	st->st_mode = S_IFDIR | 0555;
	st->st_nlink = 2;
	st->st_uid = root.uid;
	st->st_gid = root.gid;
	st->st_blksize = BLOCK_SIZE;
	st->st_mtim = pfs_timespec_from_ns(control->begun_realtime_ns);
	if (inode) {
		st->st_ino = PFS_CONTROL_DIR + 1 + inode->file;
		st->st_mode = S_IFREG | files[inode->file].mode;
		st->st_nlink = 1;
		st->st_size = (off_t)inode->len;
		st->st_mtim = pfs_timespec_from_ns(inode->mtime_ns);
	}
	st->st_atim = st->st_mtim;
	st->st_ctim = st->st_mtim;
}

/* ---- names ---- */

void pfs_control_lookup_dir(struct pfs_control *control, fuse_req_t req)
{
	struct fuse_entry_param entry = {
		.ino = PFS_CONTROL_DIR, .entry_timeout = TIMEOUT_FOREVER, .attr_timeout = 0};

	pfs_control_stat(control, NULL, &entry.attr);
	fuse_reply_entry(req, &entry);
}

void pfs_control_reply_entry(struct pfs_control *control, fuse_req_t req,
			     struct pfs_control_inode *inode)
{
	struct fuse_entry_param entry = {.entry_timeout = 0, .attr_timeout = 0};
	enum pfs_control_file file = inode->file;

	pthread_mutex_lock(&control->lock);
	if (inode->nodeid == 0) {
		inode->nodeid = control->next_nodeid++;
		inode->next = *bucket_of(control, inode->nodeid);
		*bucket_of(control, inode->nodeid) = inode;
	}
	inode->nlookup++;
	inode->users++;
	pthread_mutex_unlock(&control->lock);
	entry.ino = inode->nodeid;
	pfs_control_stat(control, inode, &entry.attr);
	unref(control, inode, fuse_reply_entry(req, &entry) ? 1 : 0, 1);
	drop_later(control, file);
}

/* stats.json and what the actions say, as they are now. */
static int fill(struct pfs_control *control, struct pfs_control_inode *inode)
{
	enum pfs_action action = (enum pfs_action)(inode->file - PFS_CONTROL_COMPACT);

	if (inode->file == PFS_CONTROL_STATS) {
		inode->mtime_ns = pfs_realtime_ns();
		return pfs_control_stats(control, &inode->text, &inode->len);
	}
	if (inode->file == PFS_CONTROL_IMPORT) {
		pthread_mutex_lock(&control->imports->lock);
		inode->mtime_ns = control->imports->changed_ns;
		pthread_mutex_unlock(&control->imports->lock);
		return 0; /* empty: what is appended begins at 0 */
	}
	inode->text = malloc(PFS_ACTION_TEXT_MAX);
	if (!inode->text)
		return -ENOMEM;
	inode->len = pfs_action_text(control->actions, action, inode->text, &inode->mtime_ns);
	return 0;
}

void pfs_control_lookup(struct pfs_control *control, fuse_req_t req, fuse_ino_t parent,
			const char *name)
{
	struct pfs_control_inode *inode;
	unsigned file = 0;
	int err;

	while (file < PFS_CONTROL_FILES && strcmp(name, files[file].name) != 0)
		file++;
	if (parent != PFS_CONTROL_DIR || file == PFS_CONTROL_FILES) {
		fuse_reply_err(req, parent == PFS_CONTROL_DIR ? ENOENT : ENOTDIR);
		return;
	}
	if (file == PFS_CONTROL_POINTS) {
		pfs_control_lookup_points(control, req);
		return;
	}
	inode = pfs_control_inode_new(control, file);
	err = inode ? fill(control, inode) : -ENOMEM;
	if (!err) {
		pfs_control_reply_entry(control, req, inode);
		return;
	}
	if (inode)
		free_inode(control, inode);
	fuse_reply_err(req, -err);
}

/* ---- listing ---- */

static void list(struct pfs_control *control, fuse_req_t req, size_t size, off_t off, bool plus)
{
	char *buf = malloc(size);
	size_t used = 0;

	(void)control;
	if (!buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	for (off_t i = off; i < OFF_DOTS + PFS_CONTROL_FILES; i++) {
		const char *name = i == 0 ? "." : i == 1 ? ".." : files[i - OFF_DOTS].name;
		struct fuse_entry_param entry = {.ino = 0};
		size_t need;

		entry.attr.st_ino = i == 0   ? PFS_CONTROL_DIR
				    : i == 1 ? FUSE_ROOT_ID
					     : PFS_CONTROL_DIR + 1 + (uint64_t)(i - OFF_DOTS);
		entry.attr.st_mode = i < OFF_DOTS ? S_IFDIR : S_IFREG;
		need = plus ? fuse_add_direntry_plus(req, buf + used, size - used, name, &entry,
						     i + 1)
			    : fuse_add_direntry(req, buf + used, size - used, name, &entry.attr,
						i + 1);
		if (need > size - used)
			break;
		used += need;
	}
	fuse_reply_buf(req, buf, used);
	free(buf);
}

void pfs_control_readdir(struct pfs_control *control, fuse_req_t req, fuse_ino_t ino, size_t size,
			 off_t off, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	list(control, req, size, off, false);
}

void pfs_control_readdirplus(struct pfs_control *control, fuse_req_t req, fuse_ino_t ino,
			     size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	list(control, req, size, off, true);
}

/* ---- attributes ---- */

void pfs_control_getattr(struct pfs_control *control, fuse_req_t req, fuse_ino_t ino,
			 struct fuse_file_info *fi)
{
	struct pfs_control_inode *inode = NULL;
	struct stat st;

	(void)fi;
	if (ino != PFS_CONTROL_DIR) {
		inode = get_for(control, req, ino);
		if (!inode)
			return;
	}
	pfs_control_stat(control, inode, &st);
	fuse_reply_attr(req, &st, 0);
	if (inode)
		pfs_control_inode_put(control, inode);
}

/* Times are taken and ignored, as the kernel sends them after writing; so is the size of `import`.
 * Emptying one of the actions does it: programs that write it anew do so when they open it, and
 * there the error is told to everyone, also to shells. */
void pfs_control_setattr(struct pfs_control *control, fuse_req_t req, fuse_ino_t ino,
			 struct stat *st, int to_set, struct fuse_file_info *fi)
{
	struct pfs_control_inode *inode;
	int err = 0;

	(void)fi;
	inode = ino == PFS_CONTROL_DIR ? NULL : pfs_control_inode_get(control, ino);
	if (!inode || (to_set & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)))
		err = EPERM;
	else if ((to_set & FUSE_SET_ATTR_SIZE) && inode->file <= PFS_CONTROL_POINTS)
		err = EPERM;
	else if ((to_set & FUSE_SET_ATTR_SIZE) &&
		 (st->st_size != 0 || pfs_control_stream(control, inode)))
		err = EINVAL; /* what was imported can't be taken back */
	if (inode)
		drop_again(control, inode);
	if (err) {
		fuse_reply_err(req, err);
	} else if ((to_set & FUSE_SET_ATTR_SIZE) && inode->file >= PFS_CONTROL_COMPACT) {
		pfs_control_act(control, req, inode, 0);
		return;
	} else {
		pfs_control_stat(control, inode, st);
		if (to_set & FUSE_SET_ATTR_SIZE)
			st->st_size = 0;
		fuse_reply_attr(req, st, 0);
	}
	if (inode)
		pfs_control_inode_put(control, inode);
}

/* ---- data ---- */

static void read_moment(fuse_req_t req, struct pfs_moment *moment, size_t size, off_t off)
{
	uint64_t end = pfs_moment_size(moment);
	char *buf;
	int err;

	size = (uint64_t)off < end ? pfs_min_u64(size, end - (uint64_t)off) : 0;
	buf = malloc(size + 1);
	if (!buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	err = pfs_moment_read(moment, (uint64_t)off, buf, size);
	if (err)
		fuse_reply_err(req, err == -EUCLEAN ? EIO : -err);
	else
		fuse_reply_buf(req, buf, size);
	free(buf);
}

void pfs_control_read(struct pfs_control *control, fuse_req_t req, fuse_ino_t ino, size_t size,
		      off_t off, struct fuse_file_info *fi)
{
	struct pfs_control_inode *inode = get_for(control, req, ino);

	(void)fi;
	if (!inode)
		return;
	if (inode->moment) {
		read_moment(req, inode->moment, size, off);
	} else {
		size_t len = (uint64_t)off < inode->len ? inode->len - (size_t)off : 0;

		fuse_reply_buf(req, len ? inode->text + off : NULL, pfs_min_u64(size, len));
	}
	pfs_control_inode_put(control, inode);
}

void pfs_control_write(struct pfs_control *control, fuse_req_t req, fuse_ino_t ino, const char *buf,
		       size_t size, off_t off, struct fuse_file_info *fi)
{
	struct pfs_control_inode *inode = get_for(control, req, ino);

	(void)fi;
	if (!inode)
		return;
	if (inode->file == PFS_CONTROL_IMPORT) {
		pfs_control_import(control, req, inode, buf, size, off);
	} else if (inode->file < PFS_CONTROL_IMPORT) {
		fuse_reply_err(req, EPERM);
		pfs_control_inode_put(control, inode);
	} else if (atomic_exchange(&inode->acted, false)) {
		fuse_reply_write(req, size);
		pfs_control_inode_put(control, inode);
	} else {
		pfs_control_act(control, req, inode, size);
	}
}

void pfs_control_fallocate(struct pfs_control *control, fuse_req_t req, fuse_ino_t ino, int mode,
			   off_t off, off_t len, struct fuse_file_info *fi)
{
	(void)control;
	(void)ino;
	(void)mode;
	(void)off;
	(void)len;
	(void)fi;
	fuse_reply_err(req, EOPNOTSUPP);
}
