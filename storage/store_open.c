/* Creating, opening and closing a store. */
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "storage/epoch.h"
#include "storage/io_http.h"
#include "storage/monotonic.h"
#include "storage/store_internal.h"
#include "storage/store_published.h"
#include "storage/team.h"

#define LOCK_POLL_MS 20

/* ---- creating ---- */

/* What a directory holds that is to become a store. */
struct contents {
	bool store;
	char foreign[PFS_NAME_MAX + 1];
};

static int look_at_name(void *arg, const char *name)
{
	struct contents *contents = arg;

	if (strcmp(name, PFS_SUPER_NAME) == 0)
		contents->store = true;
	/* A lock, and what a creation that was cut off may leave, are no contents. */
	else if (strcmp(name, PFS_LOCK_NAME) != 0 && strcmp(name, PFS_SUPER_NAME ".tmp") != 0)
		snprintf(contents->foreign, sizeof(contents->foreign), "%s", name);
	return 0;
}

static int refuse_contents(struct pfs_dir *dir, const char *path, struct pfs_reason *reason)
{
	struct contents contents = {0};
	int err = dir->ops->list(dir, look_at_name, &contents);

	if (err)
		return pfs_refuse(reason, err, "%s: can't be listed: %s", path, strerror(-err));
	if (contents.store)
		return pfs_refuse(reason, -EEXIST, "%s: there is a store already", path);
	if (contents.foreign[0])
		return pfs_refuse(reason, -ENOTEMPTY,
				  "%s: holds other files (%s); give an empty directory", path,
				  contents.foreign);
	return 0;
}

static int check_sizes(const struct pfs_super *super, struct pfs_reason *reason)
{
	if (!pfs_is_pow2(super->page_size) || super->page_size < PFS_PAGE_SIZE_MIN ||
	    super->page_size > PFS_PAGE_SIZE_MAX)
		return pfs_refuse(reason, -EINVAL,
				  "page size %llu: give a power of two from 64K to 1G",
				  (unsigned long long)super->page_size);
	if (super->min_value_size < PFS_MIN_VALUE_MIN || super->min_value_size > PFS_MIN_VALUE_MAX)
		return pfs_refuse(reason, -EINVAL,
				  "smallest container %u: give a number of bytes from 16 to 4096",
				  super->min_value_size);
	return 0;
}

static int create_in(struct pfs_dir *dir, const char *path, struct pfs_super *super,
		     struct pfs_reason *reason)
{
	/* Looked at before it is locked, so that a directory of something else does not even get a
	 * lock file; and again when nobody else can make it a store. */
	int err = refuse_contents(dir, path, reason);

	if (err)
		return err;
	err = dir->ops->lock(dir, PFS_LOCK_NAME, true);
	if (err == -EWOULDBLOCK)
		return pfs_refuse(
			reason, -EBUSY,
			"%s: another process is using this store; wait for it or unmount it", path);
	if (err)
		return pfs_refuse(reason, err, "%s: can't be locked: %s", path, strerror(-err));
	err = refuse_contents(dir, path, reason);
	if (!err && getrandom(super->uuid, sizeof(super->uuid), 0) != (ssize_t)sizeof(super->uuid))
		err = -EIO;
	if (!err)
		err = pfs_super_create(dir, super);
	return err ? pfs_refuse(reason, err, "%s: making a store failed: %s", path, strerror(-err))
		   : 0;
}

int pfs_store_create(const char *path, const struct pfs_create_options *options,
		     struct pfs_reason *reason)
{
	static const struct pfs_create_options none;
	const struct pfs_create_options *o = options ? options : &none;
	const struct pfs_io *io = o->io ? o->io : pfs_io_for(path, NULL, NULL);
	struct pfs_super super = {
		.version = PFS_FORMAT_VERSION,
		.page_size = o->page_size ? o->page_size : PFS_PAGE_SIZE_DEFAULT,
		.min_value_size = o->min_value_size ? o->min_value_size : PFS_MIN_VALUE_DEFAULT,
		.compat = o->dict_off ? PFS_FEATURE_COMPAT_DICT_OFF : 0,
		.created_ns = pfs_now_realtime(),
	};
	struct pfs_dir *dir;
	int err;

	if (reason)
		reason->text[0] = '\0';
	err = check_sizes(&super, reason);
	if (err)
		return err;
	err = io->ops->open_dir(io, path, PFS_IO_WRITE | PFS_IO_CREATE, &dir);
	if (err)
		return pfs_refuse(reason, err, "%s: can't be made a directory: %s", path,
				  strerror(-err));
	err = create_in(dir, path, &super, reason);
	dir->ops->close_dir(dir);
	return err;
}

/* ---- opening ---- */

static void store_free(struct pfs_store *store)
{
	pfs_team_free(store->team);
	/* Versions that are still in a list or an object's word: after a failure, or read-only
	 * after a crash. */
	if (store->index) {
		struct pfs_list *lists[] = {&store->pending, &store->staged, &store->held,
					    &store->batch};

		for (uint32_t o = PFS_OBJECT_FIRST; o < pfs_index_end(store->index); o++) {
			uint64_t word = pfs_index_word(store->index, o), number;
			uint32_t in_run = pfs_index_in_run(store->index, o, &number);
			struct pfs_version *v =
				pfs_word_is_version(word) ? pfs_word_to_version(word) : NULL;

			o += in_run ? in_run - 1 : 0;
			if (v && pfs_list_empty(&v->list))
				free(v);
		}
		for (size_t i = 0; i < pfs_array_len(lists); i++) {
			while (!pfs_list_empty(lists[i])) {
				struct pfs_version *v = (struct pfs_version *)lists[i]->next;

				pfs_list_remove(&v->list);
				pfs_source_unref(store, &v->source);
				free(v);
			}
		}
		pfs_epoch_collect(store);
	}
	pfs_published_close(store->published);
	pfs_journal_close(store->journal);
	pfs_pager_close(store->pager);
	pfs_index_free(store->index);
	pfs_dicts_close(store);
	if (store->dir && !store->repairing)
		store->dir->ops->close_dir(store->dir);
	pthread_mutex_destroy(&store->train_lock);
	pthread_mutex_destroy(&store->compact_lock);
	pthread_mutex_destroy(&store->checkpoint_lock);
	pthread_mutex_destroy(&store->commit);
	pthread_mutex_destroy(&store->wake_lock);
	pthread_mutex_destroy(&store->stat_lock);
	pthread_mutex_destroy(&store->snapshots.lock);
	pthread_cond_destroy(&store->wake);
	free(store);
}

static int lock_store(struct pfs_store *store, const char *path, unsigned wait_ms_max,
		      struct pfs_reason *reason)
{
	struct timespec pause = {0, LOCK_POLL_MS * 1000000L};
	unsigned waited = 0;
	int err;

	for (;;) {
		err = store->dir->ops->lock(store->dir, PFS_LOCK_NAME, !store->opened_read_only);
		if (err != -EWOULDBLOCK || waited >= wait_ms_max)
			break;
		nanosleep(&pause, NULL);
		waited += LOCK_POLL_MS;
	}
	if (err == -EWOULDBLOCK)
		return pfs_refuse(reason, -EBUSY,
				  "%s: another process is using this store; unmount it or use its "
				  "mount point",
				  path);
	return err ? pfs_refuse(reason, err, "%s: can't be locked: %s", path, strerror(-err)) : 0;
}

static int read_super(struct pfs_store *store, const char *path, struct pfs_reason *reason)
{
	struct pfs_super *super = &store->super;
	int err = pfs_super_read(store->dir, super, &store->logger);

	if (err) {
		char why[sizeof(reason->text)];

		pfs_super_explain(super, err, path, why, sizeof(why));
		return pfs_refuse(reason, err, "%s", why);
	}
	if ((super->ro_compat & ~PFS_FEATURES_RO_COMPAT) && !store->opened_read_only)
		return pfs_refuse(reason, -EPROTONOSUPPORT,
				  "%s: this program can open the store only read-only", path);
	return 0;
}

static int open_parts(struct pfs_store *store)
{
	struct pfs_journal_options journal = {
		.dir = store->dir,
		.uuid = store->super.uuid,
		.read_only = store->opened_read_only,
		.clean_epoch = store->super.clean_epoch,
		.begun_epoch = store->super.journal_epoch,
		.repairing = store->repairing,
		.logger = &store->logger,
	};
	struct pfs_pager_options pager = {
		.dir = store->dir,
		.uuid = store->super.uuid,
		.page_size = store->super.page_size,
		.min_value_size = store->super.min_value_size,
		.read_only = store->opened_read_only,
		.pages = store->super.pages,
		.logger = &store->logger,
	};
	int err = pfs_index_new(&store->index);

	if (!err)
		err = pfs_pager_open(&store->pager, &pager, &store->pages_damaged);
	if (!err)
		err = pfs_journal_open(&store->journal, &journal);
	return err ? err : pfs_dicts_open(store);
}

/* Raises the open epoch before anything is changed. */
static int begin_epoch(struct pfs_store *store)
{
	struct pfs_super *super = &store->super;

	super->open_epoch =
		pfs_max_u64(super->open_epoch, pfs_journal_epoch_seen(store->journal)) + 1;
	if (super->open_epoch > PFS_EPOCH_MAX)
		return -EOVERFLOW;
	pfs_journal_set_epoch(store->journal, super->open_epoch);
	store->next_content = super->open_epoch << PFS_CONTENT_EPOCH_SHIFT;
	store->next_temp = super->open_epoch << PFS_CONTENT_EPOCH_SHIFT | 1;
	return store->opened_read_only ? 0 : pfs_super_write(store->dir, super);
}

static void set_defaults(struct pfs_store *store, const struct pfs_defaults *given)
{
	struct pfs_super *super = &store->super;

	if (!super->has_defaults && given && !store->opened_read_only) {
		super->has_defaults = true;
		super->mode = given->mode & 07777;
		super->uid = given->uid;
		super->gid = given->gid;
	}
	store->defaults = (struct pfs_defaults){.mode = 0644};
	if (super->has_defaults)
		store->defaults = (struct pfs_defaults){super->mode, super->uid, super->gid};
	else if (given)
		store->defaults = *given;
}

static int remove_temporary(void *arg, const char *name)
{
	struct pfs_dir *dir = arg;
	size_t len = strlen(name);

	if (len > 4 && strcmp(name + len - 4, ".tmp") == 0)
		return dir->ops->unlink(dir, name);
	return 0;
}

/* The journal has a segment from now on, and the superblock says so: without one of this epoch, its
 * file is missing. On a full disk the next checkpoint does it. */
static int begin_journal(struct pfs_store *store)
{
	int err = pfs_journal_prepare(store->journal, 3);

	if (!err)
		err = pfs_journal_rotate(store->journal);
	if (!err)
		err = pfs_store_mark_journal(store);
	return err == -ENOSPC ? 0 : err; /* reading and removing work */
}

static int open_dir(struct pfs_store *store, const char *path, const struct pfs_open_options *o,
		    struct pfs_reason *reason)
{
	int err = pfs_super_open_dir(store->io, path, store->opened_read_only ? 0 : PFS_IO_WRITE,
				     &store->dir, reason);

	if (err)
		return err;
	/* First of all: a directory that is no store is left as it is, without even a lock file. */
	err = read_super(store, path, reason);
	return err ? err : lock_store(store, path, o->lock_wait_ms, reason);
}

static int open_store(struct pfs_store *store, const char *path, const struct pfs_open_options *o,
		      struct pfs_reason *reason)
{
	bool clean;
	int err = store->dir ? 0 : open_dir(store, path, o, reason);

	if (!err)
		err = read_super(store, path, reason);
	if (err)
		return err;
	clean = store->super.open_epoch == store->super.clean_epoch;
	store->dict_off = o->dict == PFS_DICT_AS_RECORDED
				  ? (store->super.compat & PFS_FEATURE_COMPAT_DICT_OFF) != 0
				  : o->dict == PFS_DICT_OFF;
	err = open_parts(store);
	if (err)
		return pfs_refuse(reason, err, "%s: opening failed: %s", path, strerror(-err));
	if (clean && pfs_journal_epoch_seen(store->journal) > store->super.clean_epoch)
		return pfs_refuse(
			reason,
			pfs_corrupt(&store->logger, PFS_SUPER_NAME, 0, "older than the journal"),
			"%s: the superblock is older than the journal: run payloadctl check "
			"--repair on it",
			path);
	set_defaults(store, o->defaults);
	if (!store->opened_read_only)
		(void)store->dir->ops->list(store->dir, remove_temporary, store->dir);
	err = begin_epoch(store);
	if (!err && !store->opened_read_only)
		err = pfs_pager_remove_uncounted(store->pager);
	if (!err)
		err = pfs_recover(store, clean);
	if (!err && !store->opened_read_only) {
		store->reserve_dropped = pfs_make_reserve(store) != 0;
		err = begin_journal(store);
	}
	if (err && store->refusal[0])
		return pfs_refuse(
			reason, err,
			"%s: documents could be shown as they were before: %s; run `payloadctl "
			"check --repair` on it",
			path, store->refusal);
	if (err)
		return pfs_refuse(reason, err, "%s: opening failed: %s", path, strerror(-err));
	pfs_training_begin(store);
	err = store->manual || store->opened_read_only ? 0 : pfs_threads_start(store);
	return err ? pfs_refuse(reason, err, "%s: threads can't be started: %s", path,
				strerror(-err))
		   : 0;
}

static int open_any(struct pfs_store **out, struct pfs_dir *dir, const char *path,
		    const struct pfs_open_options *options, struct pfs_reason *reason)
{
	static const struct pfs_open_options none;
	const struct pfs_open_options *o = options ? options : &none;
	struct pfs_store *store = calloc(1, sizeof(*store));
	int err;

	*out = NULL;
	if (reason)
		reason->text[0] = '\0';
	if (!store)
		return pfs_refuse(reason, -ENOMEM, "%s: no memory", path);
	store->io = o->io ? o->io : pfs_io_for(path, NULL, NULL);
	store->dir = dir;
	store->repairing = dir != NULL;
	store->logger = o->logger;
	store->opened_read_only = o->read_only;
	store->hold_objects = o->hold_objects;
	store->manual = o->manual;
	store->commit_ms = o->commit_ms ? o->commit_ms : 1000;
	store->journal_max_set = o->journal_max != 0;
	store->stage_journal_max = PFS_STAGE_JOURNAL_MAX;
	store->journal_max = o->journal_max ? o->journal_max : PFS_JOURNAL_MAX_LOW;
	store->batch_number = 1;
	pfs_list_init(&store->pending);
	pfs_list_init(&store->staged);
	pfs_list_init(&store->held);
	pfs_list_init(&store->batch);
	pfs_list_init(&store->limbo);
	pthread_mutex_init(&store->train_lock, NULL);
	pthread_mutex_init(&store->compact_lock, NULL);
	pthread_mutex_init(&store->checkpoint_lock, NULL);
	pthread_mutex_init(&store->commit, NULL);
	pthread_mutex_init(&store->stat_lock, NULL);
	pfs_snapshots_init(&store->snapshots);
	pthread_mutex_init(&store->wake_lock, NULL);
	pfs_monotonic_cond_init(&store->wake); /* so that ticks come in time (commit_ms) */
	err = !dir && pfs_published_is_here(path, store->io)
		      ? pfs_store_open_published(store, path, o, reason)
		      : open_store(store, path, o, reason);
	if (err) {
		store_free(store);
		return err;
	}
	*out = store;
	return 0;
}

int pfs_store_open(struct pfs_store **out, const char *path, const struct pfs_open_options *options,
		   struct pfs_reason *reason)
{
	return open_any(out, NULL, path, options, reason);
}

int pfs_store_open_in(struct pfs_store **out, struct pfs_dir *dir, const char *path,
		      const struct pfs_open_options *options, struct pfs_reason *reason)
{
	return open_any(out, dir, path, options, reason);
}

/* ---- closing ---- */

/* Objects without a name that nobody can reach after the closing. */
static void release_temporary(struct pfs_store *store)
{
	for (uint32_t object = PFS_OBJECT_FIRST; object < pfs_index_end(store->index); object++) {
		struct pfs_key key;
		uint64_t number;
		uint32_t in_run = pfs_index_in_run(store->index, object, &number);

		if (in_run) {
			object += in_run - 1;
			continue;
		}
		pfs_epoch_enter();
		if (pfs_object_word_key(store, object, pfs_index_word(store->index, object),
					&key) != 0)
			key.kind = PFS_KEY_NONE;
		pfs_epoch_leave();
		if (key.kind == PFS_KEY_TEMP)
			pfs_drop_temporary(store, object);
	}
}

/* On a full disk there is none afterwards: the next opening reads all slots. */
static int save_index(struct pfs_store *store)
{
	int err = pfs_index_save(store);

	if (err != -ENOSPC)
		return err;
	store->dir->ops->unlink(store->dir, PFS_INDEX_NAME ".tmp");
	pfs_logf(&store->logger, PFS_LOG_INFO,
		 "no room for the index: the next opening makes it anew");
	return 0;
}

/* Nobody writes any more: on a full disk the reserve is for this. */
static int last_checkpoint(struct pfs_store *store)
{
	int err = pfs_checkpoint(store, true);

	if (err != -ENOSPC)
		return err;
	pfs_give_up_reserve(store);
	return pfs_checkpoint(store, true);
}

static int close_writable(struct pfs_store *store)
{
	int err;

	release_temporary(store);
	err = pfs_log_all_held(store);
	if (!err)
		err = last_checkpoint(store);
	if (!err)
		pfs_pager_trim(store->pager);
	if (!err)
		err = save_index(store);
	if (!err) {
		store->super.clean_epoch = store->super.open_epoch;
		store->super.sequence = pfs_journal_appended(store->journal);
		err = pfs_super_write(store->dir, &store->super);
	}
	if (err) {
		pfs_logf(&store->logger, PFS_LOG_WARNING,
			 "closing was not complete (%s): the next opening replays the journal",
			 strerror(-err));
		return err;
	}
	/* The superblock says that they are dead. */
	pfs_journal_discard(store->journal);
	pfs_close_reserve(store);
	return 0;
}

int pfs_store_close(struct pfs_store *store)
{
	int err = 0;

	if (!store)
		return 0;
	pfs_threads_stop(store);
	pfs_snapshots_end(store);
	if (!store->opened_read_only)
		err = pfs_store_is_writable(store) ? close_writable(store) : -EROFS;
	store_free(store);
	return err;
}
