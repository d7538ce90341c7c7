#include "tools/target.h"

#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "storage/exit_codes.h"
#include "tools/client.h"
#include "tools/mountinfo.h"
#include "tools/report.h"

#define RETRY_MS 50

/* What is known of TARGET before it is opened. */
struct lookup {
	const char *name;
	struct mount mount; /* empty when TARGET is none */
	const char *store;  /* the directory */
	const struct target_options *options;
	struct pfs_reason reason;
};

static void pause_ms(unsigned ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	nanosleep(&ts, NULL);
}

/* Connects to the daemon that holds the store. -ENOENT, -ECONNREFUSED, -ENOTDIR: there is none. */
static int try_daemon(struct target **out, struct lookup *look)
{
	int dirfd = open(look->store, O_PATH | O_DIRECTORY | O_CLOEXEC), err;
	struct client client;

	if (dirfd < 0)
		return -errno;
	err = client_connect(&client, dirfd);
	if (!err) {
		err = target_remote_open(out, &client, dirfd);
		if (err)
			client_close(&client);
	} else {
		look->reason = client.reason;
	}
	if (err)
		close(dirfd);
	return err;
}

static bool nobody_listens(int err)
{
	return err == -ENOENT || err == -ECONNREFUSED || err == -ENOTDIR;
}

/* The daemon is there but can't be spoken to: says so. Returns the exit code. */
static int daemon_failed(const struct lookup *look, int err)
{
	if (look->reason.text[0])
		complain("%s: the daemon refuses: %s", look->name, look->reason.text);
	else if (err == -EACCES || err == -EPERM)
		complain("%s: no permission to speak to its daemon: run as root or as its user",
			 look->name);
	else if (err == -ETIMEDOUT)
		complain("%s: the daemon does not answer", look->name);
	else
		complain("%s: can't speak to the daemon: %s", look->name, explain(err));
	return err == -EPROTONOSUPPORT ? PFS_EXIT_NEWER : PFS_EXIT_TARGET;
}

static int open_mounted(struct target **out, struct lookup *look)
{
	int err = try_daemon(out, look);

	if (!err)
		return 0;
	if (!nobody_listens(err))
		return daemon_failed(look, err);
	/* A read-only mount may be without socket, a daemon may have died: what needs no daemon is
	 * done on the store, whose lock tells whether somebody has it after all. */
	if (!(look->options->flags & (TARGET_WRITE | TARGET_DAEMON)) &&
	    target_local_open(out, look->store, look->options, &look->reason) == 0)
		return 0;
	if (look->options->flags & TARGET_DAEMON)
		complain("%s: no daemon answers for this mount: take it away with fusermount3 -u",
			 look->name);
	else
		complain("%s: no daemon answers for this mount: mount it again, or use the store's "
			 "directory %s",
			 look->name, look->store);
	return PFS_EXIT_TARGET;
}

static int make_store(const struct lookup *look)
{
	const struct pfs_create_options options = {.dict_off = look->options->dict == PFS_DICT_OFF};
	struct pfs_reason reason;
	int err = pfs_store_create(look->store, &options, &reason);

	if (err)
		complain("%s", reason.text);
	else if (!look->options->quiet)
		complain("made a new store in %s", look->store);
	return pfs_exit_of_open(err);
}

/* The store is not there, or what is there is none. */
static int store_missing(struct target **out, struct lookup *look)
{
	int result;

	if (!(look->options->flags & TARGET_CREATE)) {
		complain("%s", look->reason.text);
		return PFS_EXIT_NO_STORE;
	}
	result = make_store(look);
	if (result)
		return result;
	if (target_local_open(out, look->store, look->options, &look->reason) == 0)
		return 0;
	complain("%s", look->reason.text);
	return PFS_EXIT_IO;
}

/* Opens a store's directory: through its daemon when there is one. A daemon that is just starting
 * or ending holds the lock without a socket, so both are tried in turn until the wait is over. */
static int open_directory(struct target **out, struct lookup *look)
{
	int64_t deadline = pfs_now_monotonic_ms() + look->options->wait_ms;
	int err, connected;

	for (;;) {
		connected = try_daemon(out, look);
		if (!connected)
			return 0;
		if (!nobody_listens(connected) && connected != -ECONNRESET)
			return daemon_failed(look, connected);
		if (look->options->flags & TARGET_DAEMON) {
			complain("%s: not mounted: no daemon holds it", look->name);
			return PFS_EXIT_TARGET;
		}
		err = target_local_open(out, look->store, look->options, &look->reason);
		if (!err)
			return 0;
		if (err != -EBUSY || pfs_now_monotonic_ms() >= deadline)
			break;
		pause_ms(RETRY_MS);
	}
	if (err == -ENOENT)
		return store_missing(out, look);
	complain("%s", look->reason.text);
	return pfs_exit_of_open(err);
}

/* Gives the target its names. */
static int name_target(struct target *t, struct lookup *look)
{
	t->wait_ms = look->options->wait_ms;
	t->name = strdup(look->name);
	t->store = strdup(look->store);
	t->mountpoint = look->mount.point;
	look->mount.point = NULL;
	return t->name && t->store ? 0 : -ENOMEM;
}

int target_open(struct target **out, const char *name, const struct target_options *options)
{
	struct lookup look = {.name = name, .options = options};
	/* A URL is no path that something could be mounted at. */
	int found = strstr(name, "://") ? 0 : mountinfo_find(name, &look.mount), result;

	*out = NULL;
	if (found < 0) {
		complain("%s: can't find out what is mounted there: %s", name, explain(found));
		return PFS_EXIT_IO;
	}
	look.store = found ? look.mount.source : name;
	result = found ? open_mounted(out, &look) : open_directory(out, &look);
	if (!result && name_target(*out, &look)) {
		complain("%s", explain(-ENOMEM));
		target_close(*out);
		*out = NULL;
		result = PFS_EXIT_IO;
	}
	mount_free(&look.mount);
	return result;
}

int target_close(struct target *t)
{
	char *name, *store, *mountpoint;
	int err;

	if (!t)
		return 0;
	name = t->name;
	store = t->store;
	mountpoint = t->mountpoint;
	err = t->ops->close(t);
	free(name);
	free(store);
	free(mountpoint);
	return err;
}

void target_complain(const struct target *t, const char *what, int err)
{
	const char *why = t->reason.text[0] ? t->reason.text : explain(err);

	if (what)
		complain("%s: %s: %s", t->name, what, why);
	else
		complain("%s: %s", t->name, why);
}

int target_exit(const struct target *t, int err)
{
	if (!err)
		return PFS_EXIT_OK;
	if (t->lost)
		return PFS_EXIT_TARGET;
	switch (err) {
	case -ENOENT:
	case -EAGAIN:
	case -EFBIG:
	case -EINVAL: return PFS_EXIT_SOME;
	case -EBUSY: return PFS_EXIT_LOCKED;
	case -EUCLEAN: return PFS_EXIT_DAMAGED;
	case -EPROTONOSUPPORT: return PFS_EXIT_NEWER;
	default: return PFS_EXIT_IO;
	}
}

int target_document_exit(const struct target *t, int err)
{
	return err == -EIO && !t->lost ? PFS_EXIT_SOME : target_exit(t, err);
}

/* An operation begins without the last one's reason. */
static void fresh(struct target *t)
{
	t->reason.text[0] = '\0';
	t->lost = false;
}

int target_get(struct target *t, const struct pfs_key *key, target_data_fn *fn, void *arg)
{
	fresh(t);
	return t->ops->get(t, key, fn, arg);
}

int target_put_begin(struct target *t)
{
	fresh(t);
	return t->ops->put_begin(t);
}

int target_put_write(struct target *t, const void *data, size_t len)
{
	fresh(t);
	return t->ops->put_write(t, data, len);
}

int target_put_commit(struct target *t, const struct pfs_key *key)
{
	fresh(t);
	return t->ops->put_commit(t, key);
}

int target_put_abort(struct target *t)
{
	fresh(t);
	return t->ops->put_abort(t);
}

void target_import_begin(struct target *t, const struct target_import *import)
{
	t->import = *import;
}

int target_import_add(struct target *t, const struct pfs_key *key, const void *data, size_t len,
		      const struct pfs_attr *attr, const struct target_where *where)
{
	fresh(t);
	return t->ops->import_add(t, key, data, len, attr, where);
}

int target_import_flush(struct target *t)
{
	fresh(t);
	return t->ops->import_flush(t);
}

int target_remove(struct target *t, const struct pfs_key *keys, size_t count, int *statuses)
{
	fresh(t);
	return t->ops->remove(t, keys, count, statuses);
}

int target_names(struct target *t, unsigned kinds, target_name_fn *fn, void *arg)
{
	fresh(t);
	return t->ops->names(t, kinds, fn, arg);
}

int target_export_all(struct target *t, target_doc_fn *fn, void *arg)
{
	fresh(t);
	return t->ops->export_all(t, fn, arg);
}

int target_export_keys(struct target *t, const struct pfs_key *keys, size_t count,
		       target_doc_fn *fn, void *arg)
{
	fresh(t);
	return t->ops->export_keys(t, keys, count, fn, arg);
}

int target_snapshot(struct target *t, struct pfs_snapshot_info *info)
{
	fresh(t);
	return t->ops->snapshot(t, info);
}

int target_copy_all(struct target *t, target_copy_fn *fn, void *arg)
{
	fresh(t);
	return t->ops->copy_all(t, fn, arg);
}

int target_copy_keys(struct target *t, const struct pfs_key *keys, size_t count, target_copy_fn *fn,
		     void *arg)
{
	fresh(t);
	return t->ops->copy_keys(t, keys, count, fn, arg);
}

int target_pages(struct target *t, struct pfs_page_stat **pages, size_t *count)
{
	fresh(t);
	return t->ops->pages(t, pages, count);
}

int target_stat(struct target *t, struct pfs_store_stat *stat)
{
	fresh(t);
	return t->ops->stat(t, stat);
}

int target_place(struct target *t, const struct pfs_key *key, struct pfs_attr *attr,
		 struct pfs_place *place)
{
	fresh(t);
	return t->ops->place(t, key, attr, place);
}

int target_check(struct target *t, pfs_finding_fn *fn, pfs_progress_fn *progress, void *arg,
		 struct pfs_check_result *result)
{
	fresh(t);
	return t->ops->check(t, fn, progress, arg, result);
}

int target_compact(struct target *t, pfs_progress_fn *progress, void *arg,
		   struct pfs_compact_result *result)
{
	fresh(t);
	return t->ops->compact(t, progress, arg, result);
}

int target_sync(struct target *t)
{
	fresh(t);
	return t->ops->sync(t);
}

int target_train(struct target *t, bool force, struct pfs_train_result *result)
{
	fresh(t);
	return t->ops->train(t, force, result);
}

int target_train_from(struct target *t, const uint8_t *samples, const size_t *lens, size_t count,
		      struct pfs_train_result *result)
{
	fresh(t);
	return t->ops->train_from(t, samples, lens, count, result);
}

int target_unmount(struct target *t, int timeout_ms)
{
	fresh(t);
	return t->ops->unmount(t, timeout_ms);
}
