/* What the control directory does on threads of its own. */
#include <stdlib.h>

#include "fs/control_impl.h"

/* A request that is answered later. */
struct task {
	struct pfs_control *control;
	fuse_req_t req;
	struct pfs_control_inode *inode; /* NULL, or a user of it */
	size_t written;			 /* WRITE of so much; 0: SETATTR */
	bool unwanted;			 /* the program was interrupted; atomic */
};

static bool not_wanted(void *arg)
{
	struct task *task = arg;

	return atomic_load_explicit(&task->control->stopping, memory_order_relaxed) ||
	       fuse_req_interrupted(task->req);
}

/* Queues it; replies when it can't be. */
static void submit(struct pfs_jobs *jobs, pfs_job_fn *fn, const struct task *task)
{
	struct task *copy = malloc(sizeof(*copy));
	int err = copy ? 0 : -ENOMEM;

	if (!err) {
		*copy = *task;
		err = pfs_jobs_submit(jobs, fn, copy);
	}
	if (!err)
		return;
	free(copy);
	fuse_reply_err(task->req, -err);
	if (task->inode)
		pfs_control_inode_put(task->control, task->inode);
}

static void end_task(struct task *task)
{
	if (task->inode)
		pfs_control_inode_put(task->control, task->inode);
	free(task);
}

/* ---- actions ---- */

static void on_interrupt(fuse_req_t req, void *arg)
{
	struct task *task = arg;

	(void)req;
	__atomic_store_n(&task->unwanted, true, __ATOMIC_RELAXED);
}

static void do_action(void *arg)
{
	struct task *task = arg;
	enum pfs_action action = (enum pfs_action)(task->inode->file - PFS_CONTROL_COMPACT);
	struct stat st;
	int err;

	/* It is called at once when the interruption came before. */
	fuse_req_interrupt_func(task->req, on_interrupt, task);
	err = pfs_action_do(task->control->actions, action, &task->unwanted);
	fuse_req_interrupt_func(task->req, NULL, NULL);
	if (err) {
		fuse_reply_err(task->req, err == -EUCLEAN ? EIO : -err);
	} else if (task->written) {
		fuse_reply_write(task->req, task->written);
	} else {
		atomic_store(&task->inode->acted, true);
		pfs_control_stat(task->control, task->inode, &st);
		st.st_size = 0;
		fuse_reply_attr(task->req, &st, 0);
	}
	end_task(task);
}

void pfs_control_act(struct pfs_control *control, fuse_req_t req, struct pfs_control_inode *inode,
		     size_t written)
{
	const struct task task = {
		.control = control, .req = req, .inode = inode, .written = written};

	submit(control->doers, do_action, &task);
}

/* ---- fsync ---- */

static void do_fsync(void *arg)
{
	struct task *task = arg;
	struct pfs_import *import = pfs_control_stream(task->control, task->inode);
	int err = import ? pfs_import_check(import) : 0;

	if (!err)
		err = pfs_sync(task->control->env.store);
	fuse_reply_err(task->req, err == -EUCLEAN ? EIO : -err);
	end_task(task);
}

void pfs_control_fsync(struct pfs_control *control, fuse_req_t req, fuse_ino_t ino)
{
	const struct task task = {
		.control = control, .req = req, .inode = pfs_control_inode_get(control, ino)};

	if (task.inode)
		submit(control->doers, do_fsync, &task);
	else
		fuse_reply_err(req, ENOENT);
}

/* ---- import ---- */

static void on_imported(void *arg, int err)
{
	struct task *task = arg;

	if (err)
		fuse_reply_err(task->req, err == -EUCLEAN ? EIO : -err);
	else
		fuse_reply_write(task->req, task->written);
	end_task(task);
}

/* The stream of the inode, made with its first piece. */
static int find_stream(struct pfs_control *control, struct pfs_control_inode *inode)
{
	const struct pfs_import_env env = {
		.store = control->env.store,
		.jobs = control->importers,
		.logger = control->env.logger,
		.totals = control->imports,
		.stopping = &control->stopping,
		.changed = control->env.changed,
		.arg = control->env.arg,
	};
	int err = 0;

	pthread_mutex_lock(&control->lock);
	if (!inode->import)
		err = pfs_import_new(&inode->import, &env);
	pthread_mutex_unlock(&control->lock);
	return err;
}

void pfs_control_import(struct pfs_control *control, fuse_req_t req,
			struct pfs_control_inode *inode, const char *buf, size_t size, off_t off)
{
	struct task *task = malloc(sizeof(*task));
	int err = task ? find_stream(control, inode) : -ENOMEM;

	if (err) {
		free(task);
		fuse_reply_err(req, -err);
		pfs_control_inode_put(control, inode);
		return;
	}
	*task = (struct task){.control = control, .req = req, .inode = inode, .written = size};
	pfs_import_add(inode->import, (uint64_t)off, buf, size, on_imported, task);
}

/* ---- points.ndjson ---- */

/* The inode that the kernel has for the moment already, or a new one. */
static struct pfs_control_inode *inode_of(struct pfs_control *control, struct pfs_moment *moment)
{
	struct pfs_control_inode *inode = NULL;

	pthread_mutex_lock(&control->lock);
	for (unsigned i = 0; !inode && i < PFS_CONTROL_BUCKETS; i++)
		for (inode = control->buckets[i]; inode && inode->moment != moment;
		     inode = inode->next)
			;
	if (inode)
		inode->users++;
	pthread_mutex_unlock(&control->lock);
	return inode;
}

static void reply_moment(struct task *task, struct pfs_moment *moment)
{
	struct pfs_control *control = task->control;
	struct pfs_control_inode *inode = inode_of(control, moment);

	if (inode) {
		pfs_moment_release(control->points, moment);
		pfs_control_reply_entry(control, task->req, inode);
		pfs_control_inode_put(control, inode);
		return;
	}
	inode = pfs_control_inode_new(control, PFS_CONTROL_POINTS);
	if (!inode) {
		pfs_moment_release(control->points, moment);
		fuse_reply_err(task->req, ENOMEM);
		return;
	}
	inode->moment = moment;
	inode->len = pfs_moment_size(moment);
	inode->mtime_ns = pfs_moment_time(moment);
	pfs_control_reply_entry(control, task->req, inode);
}

static void change_slow(struct pfs_control *control, int by)
{
	pthread_mutex_lock(&control->lock);
	control->slow_lookups += (unsigned)by;
	if (control->slow_lookups == 0)
		pthread_cond_broadcast(&control->quiet);
	pthread_mutex_unlock(&control->lock);
}

static void do_lookup_points(void *arg)
{
	struct task *task = arg;
	struct pfs_control *control = task->control;
	struct pfs_moment *moment;
	int err = pfs_moment_take(control->points, &moment, not_wanted, task);

	if (!err)
		reply_moment(task, moment);
	else
		fuse_reply_err(task->req, err == -ECANCELED ? EINTR : err == -EUCLEAN ? EIO : -err);
	end_task(task);
	change_slow(control, -1);
}

void pfs_control_lookup_points(struct pfs_control *control, fuse_req_t req)
{
	struct task *task = malloc(sizeof(*task));
	int err = task ? 0 : -ENOMEM;

	change_slow(control, 1);
	if (!err) {
		*task = (struct task){.control = control, .req = req};
		err = pfs_jobs_submit(control->lookups, do_lookup_points, task);
	}
	if (!err)
		return;
	free(task);
	fuse_reply_err(req, -err);
	change_slow(control, -1);
}
