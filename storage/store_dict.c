/* The dictionaries of a store: which there are, which new values are packed with, who needs them.
 *
 * Users. Each present version of a document that names a dictionary is a user of it, those of
 * removed documents that are still open too. They are counted as changes are published, saved in
 * the index, and counted anew when that is built from the slots. A count is exact as long as every
 * container that a change leaves behind verifies; once one does not, the counts are not known until
 * they are made anew, and nothing is dropped.
 *
 * DC1: a dictionary and its number are durable before it is published to packers (C9, D1). DC2:
 * what is packed with it holds it (packing) until its record is published. DC3: it is dropped (D3)
 * when it is not that of new values, has no users, nothing holds it, there is no snapshot, and the
 * journal's window begins behind the last change that had to do with it: then the checkpoint that
 * retired the last slot naming it is done, no record names it, and no stage has a base that does
 * (the stage's first record is that change). */
#include <stdlib.h>

#include "storage/dict.h"
#include "storage/epoch.h"
#include "storage/store_internal.h"

#define DICTS_LOAD_MAX 4096u /* more are ignored: what names them can't be read */

/* ---- the table ---- */

struct pfs_dict *pfs_dict_find(const struct pfs_store *store, uint32_t number)
{
	const struct pfs_dicts *dicts = __atomic_load_n(&store->dicts, __ATOMIC_ACQUIRE);
	size_t low = 0, high = dicts ? dicts->count : 0;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (dicts->at[mid]->number == number)
			return dicts->at[mid];
		if (dicts->at[mid]->number < number)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

int pfs_dict_codec(struct pfs_store *store, uint32_t number, const struct pfs_codec_dict **codec)
{
	const struct pfs_dict *dict;
	char where[32];

	*codec = NULL;
	if (!number)
		return 0;
	dict = pfs_dict_find(store, number);
	if (dict && dict->codec) {
		*codec = dict->codec;
		return 0;
	}
	snprintf(where, sizeof(where), PFS_DICT_NAME_FMT, number);
	pfs_corrupt(&store->logger, where, 0,
		    dict ? "the dictionary is damaged: a value that needs it can't be read"
			 : "the dictionary is missing: a value that needs it can't be read");
	return -EIO;
}

static void dict_free(struct pfs_dict *dict)
{
	if (dict)
		pfs_codec_dict_free(dict->codec);
	free(dict);
}

/* The table with one more at its end (highest number), or without one. NULL: no memory. */
static struct pfs_dicts *table_changed(const struct pfs_dicts *old, struct pfs_dict *added,
				       const struct pfs_dict *removed)
{
	size_t count = old ? old->count : 0, n = 0;
	struct pfs_dicts *table = malloc(sizeof(*table) + (count + 1) * sizeof(table->at[0]));

	if (!table)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		if (old->at[i] != removed)
			table->at[n++] = old->at[i];
	}
	if (added)
		table->at[n++] = added;
	table->count = n;
	return table;
}

/* ---- users ---- */

void pfs_dict_count(struct pfs_store *store, uint32_t number, uint64_t seq, bool add)
{
	struct pfs_dict *dict = number ? pfs_dict_find(store, number) : NULL;

	if (!dict)
		return;
	dict->last_seq = pfs_max_u64(dict->last_seq, seq);
	if (PFS_NEVER(&store->logger, !add && dict->users == 0 && store->dict_users_known))
		store->dict_users_known = false;
	if (add || dict->users)
		dict->users += add ? 1 : UINT64_MAX;
}

uint64_t pfs_dict_users(const struct pfs_store *store)
{
	uint64_t users = 0;

	for (size_t i = 0; i < store->dicts->count; i++)
		users += store->dicts->at[i]->users;
	return users;
}

/* ---- packing ---- */

struct pfs_dict *pfs_dict_hold(struct pfs_store *store)
{
	struct pfs_dict *dict;

	if (store->dict_off)
		return NULL;
	pfs_epoch_enter();
	dict = __atomic_load_n(&store->dict, __ATOMIC_ACQUIRE);
	if (dict)
		__atomic_add_fetch(&dict->packing, 1, __ATOMIC_ACQ_REL);
	pfs_epoch_leave();
	return dict;
}

void pfs_dict_let_go(struct pfs_dict *dict)
{
	if (dict)
		__atomic_sub_fetch(&dict->packing, 1, __ATOMIC_ACQ_REL);
}

/* ---- opening ---- */

struct numbers {
	uint32_t at[DICTS_LOAD_MAX];
	size_t count;
	bool more;
};

static int found_name(void *arg, const char *name)
{
	struct numbers *numbers = arg;
	uint32_t number;

	if (!pfs_dict_is_name(name, &number))
		return 0;
	if (numbers->count < DICTS_LOAD_MAX)
		numbers->at[numbers->count++] = number;
	else
		numbers->more = true;
	return 0;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return pfs_order(x, y);
}

/* One copy is damaged: a second fault must not meet it. The same bytes in a new file, so whatever
 * happens meanwhile, one of the two is there. */
static void write_again(struct pfs_store *store, const struct pfs_dict_file *file)
{
	int err = store->opened_read_only
			  ? -EROFS
			  : pfs_dict_write(store->dir, store->super.uuid, file, NULL);

	pfs_logf(&store->logger, PFS_LOG_WARNING,
		 PFS_DICT_NAME_FMT ": a copy of the dictionary was damaged; %s%s", file->number,
		 err ? "writing both again failed: " : "both were written again",
		 err ? strerror(-err) : "");
}

static int load(struct pfs_store *store, uint32_t number, struct pfs_dict **out)
{
	struct pfs_dict *dict = calloc(1, sizeof(*dict));
	struct pfs_dict_file file;
	char where[32];
	int err;

	*out = NULL;
	if (!dict)
		return -ENOMEM;
	dict->number = number;
	err = pfs_dict_read(store->dir, store->super.uuid, number, &file);
	if (!err) {
		dict->raw = file.raw;
		dict->packed = file.packed;
		err = pfs_codec_dict_new(&dict->codec, file.bytes, file.len);
		if (!err && file.bad_parts)
			write_again(store, &file);
		free(file.bytes);
	}
	if (err == -ENOMEM) {
		free(dict);
		return err;
	}
	snprintf(where, sizeof(where), PFS_DICT_NAME_FMT, number);
	if (err)
		pfs_corrupt(&store->logger, where, 0,
			    "no copy of the dictionary is good (%s): values that need it can't be "
			    "read",
			    strerror(-err));
	*out = dict;
	return 0;
}

static int load_all(struct pfs_store *store, struct numbers *numbers)
{
	struct pfs_dicts *table = malloc(sizeof(*table) + numbers->count * sizeof(table->at[0]));

	if (!table)
		return -ENOMEM;
	table->count = 0;
	store->dicts = table;
	if (numbers->count)
		qsort(numbers->at, numbers->count, sizeof(numbers->at[0]), by_number);
	for (size_t i = 0; i < numbers->count; i++) {
		struct pfs_dict *dict;
		int err = load(store, numbers->at[i], &dict);

		if (err)
			return err;
		table->at[table->count++] = dict;
		if (dict->codec)
			store->dict = dict;
		store->super.dict_highest =
			(uint32_t)pfs_max_u64(store->super.dict_highest, dict->number);
	}
	return 0;
}

int pfs_dicts_open(struct pfs_store *store)
{
	struct numbers *numbers = calloc(1, sizeof(*numbers));
	int err;

	if (!numbers)
		return -ENOMEM;
	err = store->dir->ops->list(store->dir, found_name, numbers);
	if (!err)
		err = load_all(store, numbers);
	if (numbers->more)
		pfs_logf(&store->logger, PFS_LOG_ERROR,
			 "more than %u dictionaries: values that need the others can't be read",
			 DICTS_LOAD_MAX);
	free(numbers);
	store->dict_users_known = true;
	return err;
}

void pfs_dicts_close(struct pfs_store *store)
{
	for (size_t i = 0; store->dicts && i < store->dicts->count; i++)
		dict_free(store->dicts->at[i]);
	free(store->dicts);
	store->dicts = NULL;
	store->dict = NULL;
}

/* ---- a new one ---- */

/* Gives a number, which is the store's forever. Checkpoint lock: it keeps writers of the superblock
 * apart. */
static int give_number(struct pfs_store *store, uint32_t *number)
{
	int err;

	if (store->super.dict_highest == UINT32_MAX)
		return -EOVERFLOW;
	/* Not given back on an error: what is on disk then is not known. */
	*number = ++store->super.dict_highest;
	err = pfs_super_write(store->dir, &store->super);
	if (err && err != -ENOSPC)
		return pfs_store_fail(store, "writing the superblock", err);
	return err;
}

static int publish(struct pfs_store *store, struct pfs_dict *dict)
{
	struct pfs_dicts *table, *old;

	pthread_mutex_lock(&store->commit);
	old = store->dicts;
	table = table_changed(old, dict, NULL);
	dict->first_seq = pfs_journal_next(store->journal);
	if (table) {
		__atomic_store_n(&store->dicts, table, __ATOMIC_RELEASE);
		__atomic_store_n(&store->dict, dict, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&store->commit);
	if (!table)
		return -ENOMEM;
	/* Who took the former dictionary has said so now (DC2). */
	pfs_epoch_wait();
	free(old);
	return 0;
}

int pfs_dict_add(struct pfs_store *store, const void *bytes, size_t len, uint64_t raw,
		 uint64_t packed)
{
	struct pfs_dict *dict = calloc(1, sizeof(*dict));
	struct pfs_dict_file file = {.len = (uint32_t)pfs_min_u64(len, PFS_DICT_LEN_MAX),
				     .raw = raw,
				     .packed = packed,
				     .created_ns = pfs_now_realtime()};
	bool synced = true;
	int err = dict ? pfs_codec_dict_new(&dict->codec, bytes, len) : -ENOMEM;

	if (!err && !pfs_store_is_writable(store))
		err = -EROFS;
	if (!err) {
		pthread_mutex_lock(&store->checkpoint_lock);
		err = give_number(store, &file.number);
		pthread_mutex_unlock(&store->checkpoint_lock);
	}
	if (!err) {
		size_t used;

		file.bytes = (uint8_t *)(uintptr_t)pfs_codec_dict_bytes(dict->codec, &used);
		err = pfs_dict_write(store->dir, store->super.uuid, &file, &synced);
		if (!synced)
			err = pfs_store_fail(store, "syncing a dictionary", err);
	}
	if (!err) {
		dict->number = file.number;
		dict->raw = raw;
		dict->packed = packed;
		err = publish(store, dict);
	}
	if (err)
		dict_free(dict);
	return err;
}

/* ---- dropping ---- */

/* One that nobody needs (DC3), out of the table; NULL: there is none. Commit lock. */
static struct pfs_dict *take_unused(struct pfs_store *store, struct pfs_dicts **old)
{
	*old = store->dicts;
	/* What a repair finds is not counted yet; a snapshot may show former users (SN6). */
	if (!store->dict_users_known || store->repairing || store->snapshots.count)
		return NULL;
	for (size_t i = 0; i < store->dicts->count; i++) {
		struct pfs_dict *dict = store->dicts->at[i];
		struct pfs_dicts *table;

		/* packing first: its holder counts the user before it lets go. */
		if (dict == store->dict || __atomic_load_n(&dict->packing, __ATOMIC_ACQUIRE) ||
		    dict->users || dict->last_seq >= pfs_journal_window(store->journal))
			continue;
		table = table_changed(store->dicts, NULL, dict);
		if (!table)
			return NULL;
		__atomic_store_n(&store->dicts, table, __ATOMIC_RELEASE);
		return dict;
	}
	return NULL;
}

void pfs_dicts_drop(struct pfs_store *store)
{
	for (;;) {
		struct pfs_dicts *old;
		struct pfs_dict *dict;
		char name[32];

		pthread_mutex_lock(&store->commit);
		dict = take_unused(store, &old);
		pthread_mutex_unlock(&store->commit);
		if (!dict)
			return;
		pfs_epoch_wait();
		free(old);
		snprintf(name, sizeof(name), PFS_DICT_NAME_FMT, dict->number);
		pfs_logf(&store->logger, PFS_LOG_INFO, "%s is not needed any more: removed", name);
		/* One that stays is found by the next opening, without users. */
		(void)store->dir->ops->unlink(store->dir, name);
		dict_free(dict);
	}
}
