/* storage/store_published.c: what the entry points of a store do of which a published collection
 * has no more than a word; numbers and documents that it does not have; many blocks of keys. */
#include "tests/unit/publish_helpers.h"

#include <dirent.h>
#include <unistd.h>

#include "storage/cache_dir.h"
#include "storage/published.h"
#include "storage/store_internal.h"
#include "storage/store.h"

#define NONE UINT64_MAX
#define MANY 70000 /* documents: more blocks of keys than are kept */

static const struct pfs_logger no_log = {.fn = publish_ignore_log};

static void tiny_doc(const struct source *s, uint64_t i, struct pfs_key *key, struct pfs_attr *attr,
		     char **data, size_t *len)
{
	(void)s;
	*key = pfs_key_num(2 * i);
	*attr = (struct pfs_attr){.mode = 0644, .mtime_ns = 5};
	*len = 8;
	*data = malloc(9);
	snprintf(*data, 9, "%08llu", (unsigned long long)i);
}

static struct pfs_sim *published(uint64_t count)
{
	const struct source s = {.count = count, .doc = tiny_doc, .changed = NONE, .absent = NONE};
	struct pfs_sim *sim = pfs_sim_new();

	publish_ok(pfs_sim_io(sim), &s);
	return sim;
}

static struct pfs_store *open_published(struct pfs_sim *sim)
{
	const struct pfs_open_options options = {
		.read_only = true, .io = pfs_sim_io(sim), .logger = no_log};
	struct pfs_reason reason;
	struct pfs_store *store;

	assert_int_equal(pfs_store_open(&store, WHERE, &options, &reason), 0);
	return store;
}

/* Proves: several documents at once are each what it would be alone. */
static void many_are_got_at_once(void **state)
{
	struct pfs_sim *sim = published(20);
	struct pfs_store *store = open_published(sim);
	const struct pfs_key keys[] = {pfs_key_num(0), pfs_key_num(3), pfs_key_num(38)};
	struct pfs_got got[3];

	(void)state;
	pfs_get_many(store, keys, 3, got);
	assert_true(got[0].err == 0 && got[1].err == -ENOENT && got[2].err == 0);
	assert_null(got[1].data);
	assert_int_equal(got[0].len, 8);
	assert_int_equal(got[2].attr.size, 8);
	assert_memory_equal(got[2].data, "00000019", 8);
	free(got[0].data);
	free(got[2].data);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: a number that no generation has is that of nothing, whichever way it is asked for; giving
 * numbers back one by one does nothing. */
static void numbers_that_nobody_has(void **state)
{
	struct pfs_sim *sim = published(20);
	struct pfs_store *store = open_published(sim);
	const uint32_t numbers[] = {0, 1, PFS_OBJECT_FIRST + 20, UINT32_MAX};
	struct pfs_key key = pfs_key_num(0);
	struct pfs_listed listed[3];
	struct pfs_attr attr;
	uint32_t object;
	uint8_t byte;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(numbers); i++) {
		assert_int_equal(pfs_getattr(store, numbers[i], &attr), -ENOENT);
		assert_int_equal(pfs_object_key(store, numbers[i], &key), -ENOENT);
		assert_int_equal(pfs_read(store, numbers[i], 0, &byte, 1), -ENOENT);
	}
	assert_int_equal(pfs_list(store, UINT64_C(1) << 33, listed, 3), -ESTALE);
	key = pfs_key_num(38);
	assert_int_equal(pfs_lookup(store, &key, NULL, NULL), 0);
	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	pfs_release(store, object);
	assert_int_equal(pfs_tidy(store, object), -EALREADY);
	assert_int_equal(pfs_read(store, object, 7, &byte, 1), 1);
	assert_int_equal(byte, '9');
	assert_int_equal(pfs_list(store, object, listed, 3), 0);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: the pages of what is published are those of its manifest, full, with nothing to be had
 * back. */
static void pages_are_those_of_the_manifest(void **state)
{
	struct pfs_sim *sim = published(20);
	struct pfs_store *store = open_published(sim);
	struct pfs_dir *dir = open_where(pfs_sim_io(sim));
	struct pfs_page_stat *pages = NULL;
	const struct pfs_manifest_object *o;
	struct pfs_manifest m;
	size_t count = 77;

	(void)state;
	assert_int_equal(read_generation(dir, &m), 1);
	assert_int_equal(m.object_count, 2);
	o = &m.objects[1];
	assert_int_equal(pfs_store_pages(store, &pages, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(pages->number, 2);
	assert_int_equal(pages->slots, 20);
	assert_int_equal(pages->free_slots, 0);
	assert_int_equal(pages->size, o->len);
	assert_int_equal(pages->disk, o->len);
	assert_true(!pages->worth && !pages->closed && !pages->retiring && !pages->unusable);
	assert_int_equal(pages->used, o->len - o->head - PFS_PAGE_TRAILER_LEN);
	assert_int_equal(pages->live, pages->used + UINT64_C(20) * PFS_SLOT_LEN);
	assert_true(!pages->dead && !pages->holes && !pages->gap && !pages->free && !pages->pinned);
	free(pages);
	pfs_manifest_free(&m);
	dir->ops->close_dir(dir);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: whatever is asked, whether there is an answer or not, keeps no generation; a snapshot
 * keeps its own until it is closed. Of what is not there nothing is said. */
static void nothing_is_kept_of_a_generation(void **state)
{
	struct pfs_sim *sim = published(20);
	struct pfs_store *store = open_published(sim);
	const struct pfs_generation *g = store->published->newest;

	(void)state;
	for (unsigned is_there = 0; is_there < 2; is_there++) {
		uint32_t object = is_there ? PFS_OBJECT_FIRST + 5 : PFS_OBJECT_FIRST + 20, found;
		struct pfs_key key = pfs_key_num(is_there ? 10 : 11), keys[2] = {key, key};
		const int err = is_there ? 0 : -ENOENT;
		const int64_t size = is_there ? 8 : 0;
		struct pfs_snapshot_name names[3];
		struct pfs_snapshot_info info;
		struct pfs_snapshot *snapshot;
		struct pfs_check_result result;
		struct pfs_listed listed[30];
		struct pfs_store_stat stat;
		struct pfs_remote_stat remote;
		struct pfs_page_stat *pages;
		struct pfs_refreshed refreshed;
		struct pfs_attr attr;
		struct pfs_place place;
		struct pfs_got got[2];
		uint64_t sequence, length;
		uint8_t buf[20];
		size_t len = 7;
		void *data;
		bool line;

#define kept_by(call, refs_then)                      \
	do {                                          \
		call;                                 \
		assert_int_equal(g->refs, refs_then); \
	} while (0)
		kept_by(assert_int_equal(pfs_lookup(store, &key, &found, &attr), err), 1);
		kept_by(assert_int_equal(pfs_lookup(store, &key, NULL, NULL), err), 1);
		kept_by(assert_int_equal(pfs_getattr(store, object, &attr), err), 1);
		kept_by(assert_int_equal(pfs_object_key(store, object, &key), err), 1);
		key = keys[0];
		kept_by(assert_int_equal(pfs_read(store, object, 0, buf, sizeof(buf)),
					 is_there ? 8 : -ENOENT),
			1);
		kept_by(assert_int_equal(pfs_get(store, &key, &data, &len, &attr), err), 1);
		assert_true(!data == !is_there);
		assert_int_equal(len, size);
		free(data);
		kept_by(pfs_get_many(store, keys, 2, got), 1);
		assert_true(got[0].err == err && got[1].err == err);
		free(got[0].data);
		free(got[1].data);
		memset(&place, 7, sizeof(place));
		kept_by(assert_int_equal(pfs_place(store, &key, &place), err), 1);
		assert_int_equal(pfs_is_zero(&place, sizeof(place)), !is_there);
		kept_by(assert_int_equal(pfs_list(store, 0, listed, 0), 0), 1);
		kept_by(assert_int_equal(pfs_list(store, 0, listed, 30), 20), 1);
		kept_by(assert_int_equal(pfs_list(store, listed[19].cookie, listed, 30), 0), 1);
		kept_by(assert_int_equal(pfs_store_sequence(store), 1), 1);
		kept_by(assert_int_equal(pfs_store_stat(store, &stat), 0), 1);
		kept_by(assert_int_equal(pfs_store_remote_stat(store, &remote), 0), 1);
		kept_by(assert_int_equal(pfs_store_pages(store, &pages, &len), 0), 1);
		free(pages);
		kept_by(assert_int_equal(pfs_store_check(store, NULL, NULL, NULL, NULL, &result),
					 0),
			1);
		kept_by(assert_int_equal(pfs_store_refresh(store, &refreshed), 0), 1);
		kept_by(assert_int_equal(pfs_snapshot_open(store, &snapshot), 0), 2);
		pfs_snapshot_info(snapshot, &info);
		assert_true(info.sequence == 1 && info.points == 20 && info.scratch == 0);
		assert_int_equal(info.raw_bytes, 160);
		assert_int_equal(info.opened_ns, 1700000000000000000);
		memset(&attr, 7, sizeof(attr));
		kept_by(assert_int_equal(
				pfs_snapshot_lookup_change(snapshot, &key, &attr, &sequence), err),
			2);
		assert_int_equal(sequence, is_there);
		if (is_there)
			assert_true(attr.size == 8 && attr.mode == 0644 && attr.mtime_ns == 5 &&
				    attr.nlink == 1 && !attr.uid && !attr.gid);
		kept_by(assert_int_equal(pfs_snapshot_lookup(snapshot, &key, NULL), err), 2);
		length = 7;
		line = true;
		kept_by(assert_int_equal(pfs_snapshot_glance(snapshot, &key, &length, &line), err),
			2);
		assert_true(length == (uint64_t)size && (is_there || !line));
		kept_by(assert_int_equal(pfs_snapshot_read(snapshot, &key, 2, buf, sizeof(buf)),
					 is_there ? 6 : -ENOENT),
			2);
		len = 7;
		kept_by(assert_int_equal(pfs_snapshot_get(snapshot, &key, &data, &len, NULL), err),
			2);
		assert_int_equal(len, size);
		free(data);
		kept_by(assert_int_equal(pfs_snapshot_list(snapshot, 0, names, 0), 0), 2);
		kept_by(assert_int_equal(pfs_snapshot_list(snapshot, 18, names, 3), 2), 2);
		assert_true(names[0].cookie == 19 && names[1].key.num == 38);
		kept_by(assert_int_equal(pfs_snapshot_list(snapshot, 20, names, 3), 0), 2);
		kept_by(pfs_snapshot_close(snapshot), 1);
#undef kept_by
	}
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: a listing gives as many as are asked for, and no more, in whatever steps it gets them. */
static void listings_give_what_is_asked_for(void **state)
{
	static struct pfs_listed listed[700];
	static struct pfs_snapshot_name names[700];
	struct pfs_sim *sim = published(600);
	struct pfs_store *store = open_published(sim);
	struct pfs_snapshot *snapshot;

	(void)state;
	assert_int_equal(pfs_snapshot_open(store, &snapshot), 0);
	for (size_t max = 250; max < 700; max += 7) {
		size_t want = pfs_min_u64(max, 600);

		memset(listed, 0, sizeof(listed));
		memset(names, 0, sizeof(names));
		assert_int_equal(pfs_list(store, 0, listed, max), want);
		assert_int_equal(pfs_snapshot_list(snapshot, 0, names, max), want);
		assert_true(listed[want - 1].key.num == 2 * (want - 1) && !listed[want].cookie);
		assert_true(names[want - 1].key.num == 2 * (want - 1) && !names[want].cookie);
	}
	pfs_snapshot_close(snapshot);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: the figures of what is published are those of its manifest and of its objects, with a
 * dictionary and without. */
static void figures_are_those_of_the_manifest(void **state)
{
	(void)state;
	for (unsigned many = 0; many < 2; many++) {
		struct source s = {.count = many ? 3100 : 20,
				   .doc = many ? record_doc : tiny_doc,
				   .changed = NONE,
				   .absent = NONE,
				   .size = 300};
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_store_stat stat, want;
		struct pfs_io_space space;
		struct pfs_store *store;
		struct pfs_manifest m;
		struct pfs_dir *dir;

		publish_ok(pfs_sim_io(sim), &s);
		dir = open_where(pfs_sim_io(sim));
		assert_int_equal(read_generation(dir, &m), 1);
		store = open_published(sim);
		assert_int_equal(dir->ops->space(dir, &space), 0);
		want = (struct pfs_store_stat){
			.points = s.count,
			.raw_bytes = m.raw_bytes,
			.container_bytes = m.container_bytes,
			.slot_bytes = 16 * s.count,
			.used_bytes = m.container_bytes,
			.min_value_size = PFS_PUBLISHED_VALUE_MIN,
			.sequence = 42,
			.durable_sequence = 42,
			.index_bytes = m.object_count * sizeof(struct pfs_manifest_object),
			.format_version = 1,
			.dictionary_raw = m.dict_raw,
			.dictionary_packed = m.dict_packed,
			.dictionary_trainer = pfs_store_trainer() != NULL,
			.identity = {pfs_get_le64(m.uuid), pfs_get_le64(m.uuid + 8)},
			.defaults = {0644, 0, 0},
			.defaults_recorded = true,
			.read_only = true,
			.published_generation = 1,
			.published_ns = 1700000000000000000,
			.space_total = space.total,
			.space_available = space.available,
		};
		want.index_bytes += m.block_count * sizeof(struct pfs_manifest_block);
		want.index_bytes += m.chunk_count * sizeof(uint32_t);
		for (uint32_t i = 0; i < m.object_count; i++) {
			const struct pfs_manifest_object *o = &m.objects[i];
			bool is_page = o->role == PFS_OBJECT_PAGE;

			want.disk_bytes += o->len;
			want.pages += is_page;
			want.page_bytes += is_page ? o->len : 0;
			if (is_page)
				want.page_size = UINT64_C(1) << o->size_log2;
			if (o->role == PFS_OBJECT_DICT) {
				want.dictionaries = 1;
				want.dictionary = o->count;
			}
		}
		assert_int_equal(want.pages, 1);
		assert_int_equal(want.dictionaries, many && pfs_store_trainer());
		memset(&stat, 7, sizeof(stat));
		assert_int_equal(pfs_store_stat(store, &stat), 0);
		{
			char is[PFS_STAT_JSON_MAX], was[PFS_STAT_JSON_MAX];

			pfs_store_stat_json(is, sizeof(is), &stat);
			pfs_store_stat_json(was, sizeof(was), &want);
			assert_string_equal(is, was);
		}
		assert_int_equal(stat.published_ns, want.published_ns);
		assert_int_equal(stat.identity[0], want.identity[0]);
		assert_int_equal(stat.identity[1], want.identity[1]);
		pfs_manifest_free(&m);
		dir->ops->close_dir(dir);
		assert_int_equal(pfs_store_close(store), 0);
		pfs_sim_free(sim);
	}
}

static void note_synced(void *arg, int err)
{
	*(int *)arg = err;
}

/* Proves: nothing changes what is published, by whichever way; what it gives back is empty, and
 * what is asked of it is durable. */
static void nothing_changes_what_is_published(void **state)
{
	struct pfs_sim *sim = published(20);
	struct pfs_store *store = open_published(sim);
	struct pfs_key key = pfs_key_num(0);
	struct pfs_put_item item = {.key = key};
	struct pfs_attr attr = {.mode = 0600};
	struct pfs_train_result trained;
	struct pfs_compact_result packed;
	struct pfs_refreshed refreshed;
	uint64_t steps = pfs_sim_steps(sim);
	uint32_t object = 7;
	struct pfs_put *put;
	size_t len = 1;
	int err = 7;

	(void)state;
	assert_int_equal(pfs_create(store, &key, &attr, NULL), -EROFS);
	assert_int_equal(pfs_remove(store, &key, NULL), -EROFS);
	assert_int_equal(pfs_remove(store, &key, &object), -EROFS);
	assert_int_equal(object, 0);
	object = 7;
	assert_int_equal(pfs_rename(store, &key, &key, 0, NULL), -EROFS);
	assert_int_equal(pfs_rename(store, &key, &key, 0, &object), -EROFS);
	assert_int_equal(object, 0);
	object = 7;
	assert_int_equal(pfs_put(store, &key, "x", 1, NULL, 0, NULL), -EROFS);
	assert_int_equal(pfs_put(store, &key, "x", 1, NULL, 0, &object), -EROFS);
	assert_int_equal(object, 0);
	assert_int_equal(pfs_put_many(store, &item, 1, &err), 0);
	assert_int_equal(err, -EROFS);
	assert_int_equal(pfs_put_many(store, &item, 0, &err), 0);
	assert_int_equal(err, 0);
	assert_int_equal(pfs_put_begin(store, &put), -EROFS);
	assert_null(put);
	object = PFS_OBJECT_FIRST;
	assert_int_equal(pfs_write(store, object, 0, "x", 1, 5), -EROFS);
	assert_int_equal(pfs_zero(store, object, 0, 1, 5), -EROFS);
	assert_int_equal(pfs_setattr(store, object, PFS_ATTR_MODE, &attr, NULL), -EROFS);
	assert_int_equal(pfs_store_tick(store), -EROFS);
	assert_int_equal(pfs_store_checkpoint(store), -EROFS);
	assert_int_equal(pfs_store_compact_step(store, true), -EROFS);
	memset(&packed, 7, sizeof(packed));
	assert_int_equal(pfs_store_compact(store, NULL, NULL, NULL, &packed), -EROFS);
	memset(&trained, 7, sizeof(trained));
	assert_int_equal(pfs_train(store, true, &trained), -EROFS);
	assert_true(pfs_is_zero(&trained, sizeof(trained)));
	memset(&trained, 7, sizeof(trained));
	assert_int_equal(pfs_train_from(store, "x", &len, 1, &trained), -EROFS);
	assert_true(pfs_is_zero(&trained, sizeof(trained)) && pfs_is_zero(&packed, sizeof(packed)));
	assert_int_equal(pfs_sync(store), 0);
	assert_int_equal(pfs_sync_object(store, object), 0);
	err = 7;
	pfs_sync_object_then(store, object, note_synced, &err);
	assert_int_equal(err, 0);
	assert_int_equal(pfs_sim_steps(sim), steps);
	assert_int_equal(pfs_store_close(store), 0);
	/* And what is none has no generations. */
	sim = (pfs_sim_free(sim), pfs_sim_new());
	assert_int_equal(pfs_store_create("store",
					  &(struct pfs_create_options){.io = pfs_sim_io(sim)},
					  NULL),
			 0);
	assert_int_equal(pfs_store_open(&store, "store",
					&(struct pfs_open_options){.io = pfs_sim_io(sim),
								   .manual = true,
								   .logger = no_log},
					NULL),
			 0);
	assert_int_equal(pfs_store_refresh(store, &refreshed), -EOPNOTSUPP);
	pfs_store_forget(store, PFS_OBJECT_FIRST);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

static int fail_read(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	return step->kind == PFS_SIM_READ ? -EIO : 0;
}

/* Proves: where the origin does not answer, each way of asking says so, and works again later. */
static void an_origin_that_does_not_answer(void **state)
{
	struct pfs_sim *sim = published(20);
	struct pfs_store *store = open_published(sim);
	struct pfs_snapshot_name names[8];
	struct pfs_snapshot *snapshot;
	struct pfs_attr attr;

	(void)state;
	assert_int_equal(pfs_snapshot_open(store, &snapshot), 0);
	pfs_sim_on_look(sim, fail_read, NULL);
	assert_true(pfs_getattr(store, PFS_OBJECT_FIRST, &attr) < 0);
	assert_true(pfs_snapshot_list(snapshot, 0, names, 8) < 0);
	pfs_sim_on_look(sim, NULL, NULL);
	assert_int_equal(pfs_getattr(store, PFS_OBJECT_FIRST, &attr), 0);
	assert_int_equal(attr.size, 8);
	assert_int_equal(pfs_snapshot_list(snapshot, 0, names, 8), 8);
	pfs_snapshot_close(snapshot);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: what a snapshot does not have is not there, by each way to ask it. */
static void snapshots_have_no_more(void **state)
{
	struct pfs_sim *sim = published(20);
	struct pfs_store *store = open_published(sim);
	struct pfs_key absent = pfs_key_num(39), scratch, there = pfs_key_num(38);
	struct pfs_snapshot_name names[8];
	struct pfs_snapshot_info info;
	struct pfs_snapshot *snapshot;
	uint64_t sequence = 5, size = 5;
	uint8_t byte;
	bool line;
	size_t len;
	void *data;

	(void)state;
	assert_int_equal(pfs_key_parse(&scratch, "scratch", 7), 0);
	assert_int_equal(pfs_snapshot_open(store, &snapshot), 0);
	pfs_snapshot_info(snapshot, &info);
	assert_int_equal(info.points, 20);
	assert_int_equal(info.sequence, 1);
	assert_int_equal(pfs_snapshot_lookup_change(snapshot, &absent, NULL, &sequence), -ENOENT);
	assert_int_equal(sequence, 0);
	assert_int_equal(pfs_snapshot_lookup_change(snapshot, &there, NULL, &sequence), 0);
	assert_int_equal(sequence, 1);
	assert_int_equal(pfs_snapshot_glance(snapshot, &scratch, &size, &line), -ENOENT);
	assert_int_equal(size, 0);
	assert_int_equal(pfs_snapshot_read(snapshot, &absent, 0, &byte, 1), -ENOENT);
	assert_int_equal(pfs_snapshot_get(snapshot, &absent, &data, &len, NULL), -ENOENT);
	assert_int_equal(pfs_snapshot_list(snapshot, 20, names, 8), 0);
	assert_int_equal(pfs_snapshot_list(snapshot, 18, names, 8), 2);
	pfs_snapshot_close(snapshot);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: more blocks of keys than are kept are read anew when they are wanted again, also while a
 * newer generation takes the place of theirs. */
static void blocks_that_are_not_kept_come_anew(void **state)
{
	struct pfs_sim *sim = published(publish_takes_samples() ? MANY / 50 : MANY);
	const struct source small = {.count = 10, .doc = tiny_doc, .changed = NONE, .absent = NONE};
	struct pfs_store *store = open_published(sim);
	struct pfs_listed *listed = calloc(1000, sizeof(*listed));
	struct pfs_refreshed refreshed;
	struct pfs_key key = pfs_key_num(0);
	uint64_t after = 0, count;
	uint32_t object;
	ssize_t n;

	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		for (after = count = 0; (n = pfs_list(store, after, listed, 1000)) > 0;
		     count += (uint64_t)n) {
			assert_int_equal(listed[0].key.num, 2 * count);
			after = listed[n - 1].cookie;
		}
		assert_int_equal(n, 0);
		assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	}
	for (unsigned generation = 0; generation < 3; generation++) {
		struct source s = small;

		s.count += generation;
		publish_ok(pfs_sim_io(sim), &s);
		assert_int_equal(pfs_store_refresh(store, &refreshed), 0);
		assert_true(refreshed.changed);
		pfs_store_forget(store, refreshed.first);
		assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	}
	assert_int_equal(pfs_store_close(store), 0);
	free(listed);
	pfs_sim_free(sim);
}

/* Proves: counts of what came from the origin are those of a published collection alone. */
static void only_collections_have_an_origin(void **state)
{
	struct pfs_sim *sim = published(20);
	const struct pfs_open_options options = {
		.io = pfs_sim_io(sim), .manual = true, .logger = no_log};
	struct pfs_store *store = open_published(sim);
	struct pfs_create_options create = {.io = pfs_sim_io(sim)};
	struct pfs_key key = pfs_key_num(4);
	struct pfs_remote_stat stat;
	struct pfs_reason reason;
	uint8_t byte;
	uint32_t object;

	(void)state;
	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	assert_int_equal(pfs_read(store, object, 0, &byte, 1), 1);
	assert_int_equal(pfs_store_remote_stat(store, &stat), 0);
	assert_true(stat.fetches > 0 && stat.fetched_bytes > 0 && stat.failed == 0);
	assert_int_equal(pfs_store_close(store), 0);
	assert_int_equal(pfs_store_create("store", &create, &reason), 0);
	assert_int_equal(pfs_store_open(&store, "store", &options, &reason), 0);
	assert_int_equal(pfs_store_remote_stat(store, &stat), -EOPNOTSUPP);
	assert_true(pfs_is_zero(&stat, sizeof(stat)));
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: a location that can't be one is refused; what it may hold is not repeated. */
static void urls_that_are_none(void **state)
{
	const struct pfs_open_options options = {.read_only = true, .logger = no_log};
	struct pfs_reason reason;
	struct pfs_store *store;

	(void)state;
	assert_int_equal(!pfs_store_http(), 0);
	assert_int_equal(pfs_store_open(&store, "http://me:secret@host/", &options, &reason),
			 -EINVAL);
	assert_null(store);
	assert_non_null(strstr(reason.text, "can't be used"));
	assert_null(strstr(reason.text, "secret"));
	assert_false(pfs_published_is_here("/", NULL));
	assert_false(pfs_published_is_here("/nowhere at all", NULL));
	assert_true(pfs_published_is_here("gopher://x", NULL));
}

/* The collection's files as they are when its dictionary has another number, or is not named. */
static void forge_dictionary(struct pfs_dir *dir, bool unnamed)
{
	struct pfs_current_generation current = {.generation = 1};
	char text[PFS_CURRENT_LEN_MAX];
	struct pfs_manifest m;
	struct pfs_file *file;
	uint8_t *bytes;
	size_t len;

	assert_int_equal(read_generation(dir, &m), 1);
	assert_int_equal(m.objects[0].role, PFS_OBJECT_DICT);
	m.objects[0].count++;
	if (unnamed) {
		m.object_count--;
		m.chunk_count--;
		memmove(m.objects, m.objects + 1, m.object_count * sizeof(*m.objects));
		memmove(m.crcs, m.crcs + 1, m.chunk_count * sizeof(*m.crcs));
	}
	assert_int_equal(pfs_manifest_encode(&m, &bytes, &len), 0);
	pfs_manifest_free(&m);
	current.len = len;
	current.crc = pfs_crc32c(0, bytes, len);
	assert_int_equal(dir->ops->open(dir, "generation-00000001", PFS_IO_WRITE, &file), 0);
	assert_int_equal(file->ops->truncate(file, len), 0);
	assert_int_equal(file->ops->write(file, bytes, len, 0), 0);
	dir->ops->close(file);
	free(bytes);
	len = pfs_current_encode(text, &current);
	assert_int_equal(dir->ops->open(dir, PFS_CURRENT_NAME, PFS_IO_WRITE, &file), 0);
	assert_int_equal(file->ops->write(file, text, len, 0), 0);
	dir->ops->close(file);
}

static void count_finding(void *arg, const struct pfs_finding *finding)
{
	*(unsigned *)arg += finding->fatal && finding->key.kind != PFS_KEY_NONE;
}

/* Proves: documents that were packed with a dictionary are not decoded with another one, or
 * without: they are an error, and the check names them. */
static void documents_need_their_dictionary(void **state)
{
	const struct source s = {
		.count = 3100, .doc = record_doc, .changed = NONE, .absent = NONE, .size = 300};

	(void)state;
	for (unsigned unnamed = 0; unnamed < 2 && pfs_store_trainer(); unnamed++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_key key = pfs_key_num(3);
		struct pfs_check_result result;
		struct pfs_reason reason;
		struct pfs_store *store;
		struct pfs_dir *dir;
		unsigned named = 0;
		size_t len;
		void *data;

		assert_true(publish_ok(pfs_sim_io(sim), &s).trained);
		dir = open_where(pfs_sim_io(sim));
		forge_dictionary(dir, unnamed);
		dir->ops->close_dir(dir);
		store = open_published(sim);
		assert_int_equal(pfs_get(store, &key, &data, &len, NULL), -EIO);
		assert_int_equal(pfs_store_close(store), 0);
		assert_int_equal(pfs_check(WHERE, pfs_sim_io(sim), &no_log, count_finding, NULL,
					   &named, &result, &reason),
				 0);
		assert_true(named > s.count / 2);
		pfs_sim_free(sim);
	}
}

static int fail_current(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	return strcmp(step->name, PFS_CURRENT_NAME) == 0 ? -EIO : 0;
}

/* The name of what is kept whole in the cache and begins so, without its ending. */
static void find_kept(const char *cache, const char *begin, char name[128])
{
	char path[128];
	struct dirent *entry;
	DIR *stream;

	snprintf(path, sizeof(path), "%s/chunks", cache);
	stream = opendir(path);
	assert_non_null(stream);
	name[0] = 0;
	while ((entry = readdir(stream)))
		if (strncmp(entry->d_name, begin, strlen(begin)) == 0)
			snprintf(name, 128, "%.*s", (int)strlen(entry->d_name) - 2, entry->d_name);
	closedir(stream);
	assert_true(name[0]);
}

static void count_last(void *arg, enum pfs_log_level level, const char *line)
{
	*(unsigned *)arg += level == PFS_LOG_WARNING && strstr(line, WHERE) &&
			    strstr(line, "can't be reached") &&
			    strstr(line, "current last is read");
}

/* Proves: while the origin can't say what is current, what it said last is read, from the cache,
 * and the log says so; of what is kept there only the right manifest is taken. */
static void what_was_current_last_is_read(void **state)
{
	struct pfs_sim *sim = published(20);
	char cache[] = "/tmp/pfs-kept-XXXXXX", name[128], command[64];
	const struct pfs_remote_options remote = {.cache_dir = mkdtemp(cache)};
	unsigned said = 0;
	const struct pfs_open_options options = {.read_only = true,
						 .io = pfs_sim_io(sim),
						 .remote = &remote,
						 .logger = {.fn = count_last, .arg = &said}};
	struct pfs_key key = pfs_key_num(38);
	struct pfs_cache_dir *dir;
	struct pfs_reason reason;
	struct pfs_store *store;
	uint64_t reads;
	size_t len;
	void *data;

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		pfs_sim_on_look(sim, round ? fail_current : NULL, NULL);
		reads = pfs_sim_count(sim, PFS_SIM_READ);
		assert_int_equal(pfs_store_open(&store, WHERE, &options, &reason), 0);
		assert_int_equal(pfs_get(store, &key, &data, &len, NULL), 0);
		assert_memory_equal(data, "00000019", 8);
		free(data);
		assert_int_equal(said, round);
		/* `current` alone, which failed; the manifest as well when it was another one. */
		if (round == 1)
			assert_int_equal(pfs_sim_count(sim, PFS_SIM_READ), reads);
		if (round == 2)
			assert_true(pfs_sim_count(sim, PFS_SIM_READ) > reads);
		assert_int_equal(pfs_store_close(store), 0);
		find_kept(cache, "manifest-", name);
		assert_int_equal(pfs_cache_dir_open(&dir, cache, PFS_GIB, &reason), 0);
		if (round == 1)
			assert_int_equal(pfs_cache_dir_keep(dir, name, "other", 5), 0);
		pfs_cache_dir_close(dir);
	}
	pfs_sim_free(sim);
	snprintf(command, sizeof(command), "rm -rf %s", cache);
	assert_int_equal(system(command), 0);
}

/* Proves: a `current` of a newer version, one that no manifest could fit, and one of another
 * generation's manifest are refused, each with its reason. */
static void what_is_current_must_fit(void **state)
{
	static const char *const says[] = {"newer version", "damaged", "another one's", "damaged"};

	(void)state;
	for (size_t way = 0; way < pfs_array_len(says); way++) {
		struct pfs_sim *sim = published(20);
		const struct pfs_open_options options = {
			.read_only = true, .io = pfs_sim_io(sim), .logger = no_log};
		struct pfs_dir *dir = open_where(pfs_sim_io(sim));
		struct pfs_current_generation current;
		char text[PFS_CURRENT_LEN_MAX + 10];
		struct pfs_reason reason;
		struct pfs_store *store;
		size_t len;
		uint8_t *bytes = read_file(dir, PFS_CURRENT_NAME, &len);

		assert_int_equal(pfs_current_decode(&current, (char *)bytes, len), 0);
		free(bytes);
		current.generation = 7;
		current.len = way == 1 ? PFS_MANIFEST_LEN_MAX + 1 : current.len + (way == 3);
		len = way ? pfs_current_encode(text, &current)
			  : (size_t)sprintf(text, "payloadfs collection 9\n");
		write_file(dir, PFS_CURRENT_NAME, text, len);
		bytes = read_file(dir, "generation-00000001", &len);
		write_file(dir, "generation-00000007", bytes, len);
		free(bytes);
		assert_int_equal(pfs_store_open(&store, WHERE, &options, &reason),
				 way ? -EUCLEAN : -EPROTONOSUPPORT);
		if (!strstr(reason.text, says[way]))
			fail_msg("%s", reason.text);
		dir->ops->close_dir(dir);
		pfs_sim_free(sim);
	}
}

static void publish_more(struct pfs_sim *sim, uint64_t count)
{
	const struct source s = {.count = count, .doc = tiny_doc, .changed = NONE, .absent = NONE};

	publish_ok(pfs_sim_io(sim), &s);
}

/* Proves: behind the last number the first ones are given again, but none that a generation has;
 * when there is no room left, the generation that is there stays. */
static void numbers_begin_anew(void **state)
{
	struct pfs_sim *sim = published(20);
	const struct pfs_published_options options = {.io = pfs_sim_io(sim), .logger = no_log};
	struct pfs_refreshed refreshed;
	struct pfs_published_doc doc;
	struct pfs_published *p;
	struct pfs_reason reason;
	uint32_t before;

	(void)state;
	assert_int_equal(pfs_published_open(&p, WHERE, &options, &reason), 0);
	for (unsigned round = 0; round < 2; round++) {
		p->newest->base = UINT32_MAX - 30;
		publish_more(sim, 21 + round);
		assert_int_equal(pfs_published_refresh(p, &refreshed), 0);
		assert_true(refreshed.changed);
		if (round == 0)
			assert_int_equal(p->newest->base, PFS_OBJECT_FIRST);
		/* The one before is where the first numbers were given. */
		p->newest->base = PFS_OBJECT_FIRST;
	}
	p->newest->base = UINT32_MAX - 30;
	p->newest->older->base = PFS_OBJECT_FIRST + 5;
	publish_more(sim, 23);
	assert_int_equal(pfs_published_refresh(p, &refreshed), 0);
	assert_true(p->newest->base >= PFS_OBJECT_FIRST + 5 + 21);
	before = p->newest->base;
	p->newest->base = PFS_OBJECT_FIRST;
	p->newest->m.points = UINT32_MAX;
	publish_more(sim, 24);
	assert_int_equal(pfs_published_refresh(p, &refreshed), -EFBIG);
	assert_int_equal(refreshed.generation, 4);
	p->newest->base = before;
	p->newest->m.points = 23;
	assert_int_equal(pfs_published_refresh(p, &refreshed), 0);
	assert_int_equal(refreshed.generation, 5);
	assert_int_equal(pfs_published_at(p, p->newest, p->newest->m.points - 1, &doc), 0);
	assert_int_equal(pfs_published_at(p, p->newest, p->newest->m.points, &doc), -ENOENT);
	pfs_published_close(p);
	pfs_published_close(NULL);
	pfs_sim_free(sim);
}

/* Proves: what is known of a generation's keys goes with it: each of many that follow each other,
 * of which all but two are given up, shows its own documents. */
static void keys_go_with_their_generation(void **state)
{
	struct pfs_sim *sim = published(1);
	struct pfs_store *store = open_published(sim);
	const struct pfs_key first = pfs_key_num(0);

	(void)state;
	for (uint64_t count = 2; count < 40; count++) {
		const struct pfs_key last = pfs_key_num(2 * (count - 1));
		struct pfs_refreshed refreshed;
		uint32_t object, last_object;

		publish_more(sim, count);
		assert_int_equal(pfs_store_refresh(store, &refreshed), 0);
		assert_true(refreshed.changed);
		pfs_store_forget(store, refreshed.first);
		assert_int_equal(pfs_lookup(store, &first, &object, NULL), 0);
		assert_int_equal(pfs_lookup(store, &last, &last_object, NULL), 0);
		assert_int_equal(last_object, object + count - 1);
	}
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

static void count_line(void *arg, enum pfs_log_level level, const char *line)
{
	(void)level;
	*(unsigned *)arg += strstr(line, "page-") != NULL;
}

static int no_memory_for_pages(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	return step->kind == PFS_SIM_OPEN && strncmp(step->name, "page-", 5) == 0 ? -ENOMEM : 0;
}

/* Proves: a check that nobody takes findings from logs them; it ends when it is told to, and when
 * an object can't be opened for lack of memory, which is no damage. */
static void checks_end_or_say_it(void **state)
{
	struct pfs_sim *sim = published(20);
	unsigned lines = 0;
	const struct pfs_logger logger = {.fn = count_line, .arg = &lines};
	struct pfs_dir *dir = open_where(pfs_sim_io(sim));
	struct pfs_check_result result;
	char name[PFS_OBJECT_NAME_MAX];
	struct pfs_reason reason;
	struct pfs_store *store;
	struct pfs_manifest m;
	const bool stop = true;

	(void)state;
	store = open_published(sim);
	assert_int_equal(pfs_store_check(store, NULL, NULL, NULL, &stop, &result), -ECANCELED);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_on_look(sim, no_memory_for_pages, NULL);
	assert_int_equal(
		pfs_check(WHERE, pfs_sim_io(sim), &logger, NULL, NULL, NULL, &result, &reason),
		-ENOMEM);
	assert_int_equal(lines, 0);
	pfs_sim_on_look(sim, NULL, NULL);
	assert_int_equal(read_generation(dir, &m), 1);
	pfs_object_name(name, PFS_OBJECT_PAGE, m.objects[m.object_count - 1].hash);
	pfs_manifest_free(&m);
	write_file(dir, name, "short", 5);
	dir->ops->close_dir(dir);
	assert_int_equal(
		pfs_check(WHERE, pfs_sim_io(sim), &logger, NULL, NULL, NULL, &result, &reason), 0);
	assert_true(lines > 0 && result.damaged == 20);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_are_got_at_once),
		cmocka_unit_test(numbers_that_nobody_has),
		cmocka_unit_test(pages_are_those_of_the_manifest),
		cmocka_unit_test(nothing_is_kept_of_a_generation),
		cmocka_unit_test(figures_are_those_of_the_manifest),
		cmocka_unit_test(listings_give_what_is_asked_for),
		cmocka_unit_test(nothing_changes_what_is_published),
		cmocka_unit_test(an_origin_that_does_not_answer),
		cmocka_unit_test(snapshots_have_no_more),
		cmocka_unit_test(blocks_that_are_not_kept_come_anew),
		cmocka_unit_test(only_collections_have_an_origin),
		cmocka_unit_test(urls_that_are_none),
		cmocka_unit_test(documents_need_their_dictionary),
		cmocka_unit_test(what_was_current_last_is_read),
		cmocka_unit_test(what_is_current_must_fit),
		cmocka_unit_test(numbers_begin_anew),
		cmocka_unit_test(keys_go_with_their_generation),
		cmocka_unit_test(checks_end_or_say_it),
	};

	if (!pfs_hash_version() || !pfs_store_http()) {
		print_message("NOT TESTED: this build has no libcrypto, or no libcurl\n");
		return 0;
	}
	return cmocka_run_group_tests_name("collections as stores", tests, NULL, NULL);
}
