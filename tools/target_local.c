#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "storage/wire.h"
#include "tools/client.h"
#include "tools/put_batch.h"
#include "tools/report.h"
#include "tools/target.h"

#define LIST_STEP 256
#define GET_PIECE (4 * PFS_MIB)
#define RETRY_MS 50

/* Messages of the store are printed as payloadctl's. While it is being opened the first is kept
 * back: when opening fails, the reason that is given then says it better. */
struct messages {
	pthread_mutex_t lock; /* the store has threads */
	bool opening;
	char first[PFS_LOG_LINE_MAX];
};

/* A store opened in this process. store is NULL with TARGET_CHECK. */
struct local {
	struct target t;
	struct pfs_store *store;
	struct pfs_put *put;
	struct put_batch *batch;       /* NULL: nothing was imported yet */
	struct pfs_snapshot *snapshot; /* NULL: the store is read as it is now */
	int64_t import_ns;	       /* when the first document to import came; 0: none did */
	struct messages messages;
};

static void on_message(void *arg, enum pfs_log_level level, const char *line)
{
	struct messages *m = arg;

	if (level > PFS_LOG_WARNING)
		return;
	pthread_mutex_lock(&m->lock);
	if (m->opening && !m->first[0])
		snprintf(m->first, sizeof(m->first), "%s", line);
	else
		complain("%s", line);
	pthread_mutex_unlock(&m->lock);
}

/* What a check has to say comes as findings, or as the reason why it failed. */
static void drop_message(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

static void messages_opened(struct messages *m)
{
	pthread_mutex_lock(&m->lock);
	m->opening = false;
	if (m->first[0])
		complain("%s", m->first);
	pthread_mutex_unlock(&m->lock);
}

static struct local *local_of(struct target *t)
{
	return (struct local *)t;
}

static int local_close(struct target *t)
{
	struct local *l = local_of(t);
	int err = 0;

	if (l->put)
		pfs_put_abort(l->put);
	put_batch_free(l->batch);
	pfs_snapshot_close(l->snapshot);
	if (l->store)
		err = pfs_store_close(l->store);
	pthread_mutex_destroy(&l->messages.lock);
	free(l);
	return err;
}

static int local_get(struct target *t, const struct pfs_key *key, target_data_fn *fn, void *arg)
{
	struct pfs_store *store = local_of(t)->store;
	struct pfs_attr attr;
	uint32_t object;
	uint8_t *buf;
	ssize_t n = 0;
	int err = pfs_lookup(store, key, &object, &attr);

	if (err)
		return err;
	buf = malloc(pfs_max_u64(1, pfs_min_u64(attr.size, GET_PIECE)));
	if (!buf)
		return -ENOMEM;
	for (uint64_t off = 0; !err && off < attr.size; off += (uint64_t)n) {
		n = pfs_read(store, object, off, buf, pfs_min_u64(attr.size - off, GET_PIECE));
		err = n < 0 ? (int)n : n == 0 ? -EIO : fn(arg, buf, (size_t)n);
	}
	free(buf);
	return err;
}

static int local_put_begin(struct target *t)
{
	return pfs_put_begin(local_of(t)->store, &local_of(t)->put);
}

static int local_put_write(struct target *t, const void *data, size_t len)
{
	return pfs_put_write(local_of(t)->put, data, len);
}

static int local_put_commit(struct target *t, const struct pfs_key *key)
{
	struct pfs_put *put = local_of(t)->put;

	local_of(t)->put = NULL;
	return pfs_put_commit(put, key, NULL, 0, NULL);
}

static int local_put_abort(struct target *t)
{
	pfs_put_abort(local_of(t)->put);
	local_of(t)->put = NULL;
	return 0;
}

/* All that is imported at once has one time, which takes no bytes. */
static int64_t import_time(struct local *local)
{
	struct timespec now;

	if (!local->import_ns) {
		clock_gettime(CLOCK_REALTIME, &now);
		local->import_ns = now.tv_sec * (int64_t)PFS_NSEC_PER_SEC + now.tv_nsec;
	}
	return local->import_ns;
}

static int local_import_add(struct target *t, const struct pfs_key *key, const void *data,
			    size_t len, const struct pfs_attr *attr,
			    const struct target_where *where)
{
	struct local *l = local_of(t);
	const struct pfs_attr time = {.mtime_ns = attr ? 0 : import_time(l)};

	if (!l->batch)
		l->batch = put_batch_new(l->store, &t->import);
	if (!l->batch)
		return -ENOMEM;
	return put_batch_add(l->batch, key, data, len, attr ? attr : &time,
			     attr ? 0 : PFS_PUT_MTIME_ONLY, where);
}

static int local_import_flush(struct target *t)
{
	return local_of(t)->batch ? put_batch_flush(local_of(t)->batch) : 0;
}

static int local_remove(struct target *t, const struct pfs_key *keys, size_t count, int *statuses)
{
	for (size_t i = 0; i < count; i++)
		statuses[i] = pfs_remove(local_of(t)->store, &keys[i], NULL);
	return 0;
}

/* ---- reading many ---- */

/* Fills keys with some names behind *after, which it moves on: how many, 0 at the end, an error. */
static ssize_t next_names(struct local *l, uint64_t *after, struct pfs_key *keys)
{
	union {
		struct pfs_listed now[LIST_STEP];
		struct pfs_snapshot_name then[LIST_STEP];
	} *listed = calloc(1, sizeof(*listed));
	ssize_t n = -ENOMEM;

	if (!listed)
		return n;
	if (l->snapshot) {
		n = pfs_snapshot_list(l->snapshot, *after, listed->then, LIST_STEP);
		for (ssize_t i = 0; i < n; i++)
			keys[i] = listed->then[i].key;
		*after = n > 0 ? listed->then[n - 1].cookie : *after;
	} else {
		n = pfs_list(l->store, *after, listed->now, LIST_STEP);
		for (ssize_t i = 0; i < n; i++)
			keys[i] = listed->now[i].key;
		*after = n > 0 ? listed->now[n - 1].cookie : *after;
	}
	free(listed);
	return n;
}

/* Calls fn for each name of the kinds. */
static int local_names(struct target *t, unsigned kinds, target_name_fn *fn, void *arg)
{
	struct pfs_key *keys = calloc(LIST_STEP, sizeof(*keys));
	uint64_t after = 0;
	ssize_t n = 0;
	int err = 0;

	if (!keys)
		return -ENOMEM;
	while (!err && (n = next_names(local_of(t), &after, keys)) > 0) {
		for (ssize_t i = 0; i < n && !err; i++) {
			bool point = pfs_key_is_point(&keys[i]);

			if (kinds & (point ? PFS_WIRE_POINTS : PFS_WIRE_SCRATCH))
				err = fn(arg, &keys[i]);
		}
	}
	free(keys);
	return err ? err : (int)n;
}

/* An export, or a copy, that is under way. */
struct local_export {
	struct local *local;
	target_doc_fn *fn;
	target_copy_fn *copy_fn;
	void *arg;
};

static int export_one(void *arg, const struct pfs_key *key)
{
	struct local_export *e = arg;
	struct local *l = e->local;
	struct pfs_attr attr = {0};
	void *data = NULL;
	size_t len = 0;
	int status = l->snapshot ? pfs_snapshot_get(l->snapshot, key, &data, &len, &attr)
				 : pfs_get(l->store, key, &data, &len, &attr);
	int err;

	if (status == -ENOENT)
		return 0;
	len = status ? 0 : len;
	err = e->fn ? e->fn(e->arg, key, status, data, len)
		    : e->copy_fn(e->arg, key, status, &attr, data, len);
	free(data);
	return err;
}

static int local_export_all(struct target *t, target_doc_fn *fn, void *arg)
{
	struct local_export e = {.local = local_of(t), .fn = fn, .arg = arg};

	return local_names(t, PFS_WIRE_POINTS, export_one, &e);
}

static int local_export_keys(struct target *t, const struct pfs_key *keys, size_t count,
			     target_doc_fn *fn, void *arg)
{
	struct local_export e = {.local = local_of(t), .fn = fn, .arg = arg};
	int err = 0;

	for (size_t i = 0; i < count && !err; i++)
		err = export_one(&e, &keys[i]);
	return err;
}

static int local_snapshot(struct target *t, struct pfs_snapshot_info *info)
{
	struct local *l = local_of(t);
	int err;

	*info = (struct pfs_snapshot_info){0};
	pfs_snapshot_close(l->snapshot);
	l->snapshot = NULL;
	err = pfs_snapshot_open(l->store, &l->snapshot);
	if (!err)
		pfs_snapshot_info(l->snapshot, info);
	return err;
}

static int local_copy_all(struct target *t, target_copy_fn *fn, void *arg)
{
	struct local_export e = {.local = local_of(t), .copy_fn = fn, .arg = arg};

	return local_names(t, PFS_WIRE_POINTS | PFS_WIRE_SCRATCH, export_one, &e);
}

static int local_copy_keys(struct target *t, const struct pfs_key *keys, size_t count,
			   target_copy_fn *fn, void *arg)
{
	struct local_export e = {.local = local_of(t), .copy_fn = fn, .arg = arg};
	int err = 0;

	for (size_t i = 0; i < count && !err; i++)
		err = export_one(&e, &keys[i]);
	return err;
}

static int local_pages(struct target *t, struct pfs_page_stat **pages, size_t *count)
{
	return pfs_store_pages(local_of(t)->store, pages, count);
}

static int local_stat(struct target *t, struct pfs_store_stat *stat)
{
	return pfs_store_stat(local_of(t)->store, stat);
}

static int local_place(struct target *t, const struct pfs_key *key, struct pfs_attr *attr,
		       struct pfs_place *place)
{
	uint32_t object;
	int err = pfs_lookup(local_of(t)->store, key, &object, attr);

	return err ? err : pfs_place(local_of(t)->store, key, place);
}

/* The store's holder may be a daemon that is just ending: waited for like in target_open. */
static int local_check(struct target *t, pfs_finding_fn *fn, pfs_progress_fn *progress, void *arg,
		       struct pfs_check_result *result)
{
	const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000L};
	const struct pfs_logger logger = {.fn = drop_message};
	int64_t deadline = pfs_now_monotonic_ms() + t->wait_ms;
	int err;

	for (;;) {
		err = pfs_check(t->store, NULL, &logger, fn, progress, arg, result, &t->reason);
		if (err != -EBUSY || pfs_now_monotonic_ms() >= deadline)
			return err;
		nanosleep(&pause, NULL);
	}
}

static int local_train(struct target *t, bool force, struct pfs_train_result *result)
{
	return pfs_train(local_of(t)->store, force, result);
}

static int local_train_from(struct target *t, const uint8_t *samples, const size_t *lens,
			    size_t count, struct pfs_train_result *result)
{
	return pfs_train_from(local_of(t)->store, samples, lens, count, result);
}

static int local_compact(struct target *t, pfs_progress_fn *progress, void *arg,
			 struct pfs_compact_result *result)
{
	return pfs_store_compact(local_of(t)->store, progress, arg, NULL, result);
}

static int local_sync(struct target *t)
{
	return pfs_sync(local_of(t)->store);
}

static int local_unmount(struct target *t, int timeout_ms)
{
	(void)t;
	(void)timeout_ms;
	return -ENXIO;
}

static const struct target_ops local_ops = {
	.close = local_close,
	.get = local_get,
	.put_begin = local_put_begin,
	.put_write = local_put_write,
	.put_commit = local_put_commit,
	.put_abort = local_put_abort,
	.import_add = local_import_add,
	.import_flush = local_import_flush,
	.remove = local_remove,
	.names = local_names,
	.export_all = local_export_all,
	.export_keys = local_export_keys,
	.snapshot = local_snapshot,
	.copy_all = local_copy_all,
	.copy_keys = local_copy_keys,
	.pages = local_pages,
	.stat = local_stat,
	.place = local_place,
	.check = local_check,
	.compact = local_compact,
	.sync = local_sync,
	.train = local_train,
	.train_from = local_train_from,
	.unmount = local_unmount,
};

int target_local_open(struct target **out, const char *store, const struct target_options *how,
		      struct pfs_reason *reason)
{
	unsigned flags = how->flags;
	struct pfs_open_options options = {
		.read_only = !(flags & TARGET_WRITE), .dict = how->dict, .defaults = how->defaults};
	struct local *l = calloc(1, sizeof(*l));
	int err = 0;

	*out = NULL;
	if (!l) {
		snprintf(reason->text, sizeof(reason->text), "no memory to open a store");
		return -ENOMEM;
	}
	l->t.ops = &local_ops;
	pthread_mutex_init(&l->messages.lock, NULL);
	options.logger.fn = on_message;
	options.logger.arg = &l->messages;
	l->messages.opening = !(flags & TARGET_CHECK);
	if (!(flags & TARGET_CHECK))
		err = pfs_store_open(&l->store, store, &options, reason);
	if (err) {
		/* Of a server only the message says what it answered. */
		if (l->messages.first[0] && strstr(store, "://"))
			snprintf(reason->text, sizeof(reason->text), "%s", l->messages.first);
		pthread_mutex_destroy(&l->messages.lock);
		free(l);
		return err;
	}
	messages_opened(&l->messages);
	*out = &l->t;
	return 0;
}
