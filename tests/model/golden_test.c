/* What a store does on the disk, to the call and to the byte. A few fixed histories; after each of
 * their parts everything that can be seen of the store is told and compared with what is written
 * down in tests/model/golden: how often each kind of file was read, written and synced and how many
 * bytes that was, in what order (as a hash), what the files hold (as hashes), what pfs_store_stat
 * says, what was logged, how much had to be read.
 *
 * Nothing of this is a promise but the documents, and all of it may be changed on purpose; but a
 * sync more, a page read twice, values that land elsewhere, a batch that is no batch any more are
 * never seen by a test that only reads the documents. Who changes it on purpose looks at the
 * difference of the files after `make golden` (golden_test accept), which writes down what is.
 *
 * The clock and the random numbers are the test's own. Payloads do not compress, so that nothing
 * depends on the version of a library, but those of the history "words": with other versions than
 * those in its first line only its documents are compared. */
#include "tests/model/tale.h"

#define KEYS 900u
#define POINTS_MAX 2000u

/* ---- what is done ---- */

static uint64_t roll(struct tale *t, uint64_t n)
{
	t->random += UINT64_C(0x9e3779b97f4a7c15);
	return pfs_mix64(t->random) % n;
}

/* Numbers, UUIDs and names of scratch files. */
static struct pfs_key key_of(uint64_t i)
{
	char text[64];

	if (i % 30 == 29)
		snprintf(text, sizeof(text), ".%llu.swp", (unsigned long long)i);
	else if (i % 4 == 3)
		snprintf(text, sizeof(text), "%08llx-0000-4000-8000-%012llx",
			 (unsigned long long)(pfs_mix64(i) & UINT32_MAX), (unsigned long long)i);
	else
		return pfs_key_num(i * 7);
	return key_named(text);
}

/* Mostly a few hundred bytes, some few and some many. */
static size_t a_length(struct tale *t)
{
	uint64_t kind = roll(t, 20);

	return kind == 0 ? roll(t, 20) : kind == 1 ? 1000 + roll(t, 4000) : 60 + roll(t, 600);
}

static uint8_t *a_document(struct tale *t, size_t len)
{
	uint8_t *bytes = malloc(len + 1);

	t->seeds += 2;
	fill_document(bytes, len, t->seeds + 1);
	return bytes;
}

static struct pfs_attr an_attr(struct tale *t)
{
	struct pfs_attr attr = {.mode = 0644, .mtime_ns = the_time};

	if (roll(t, 4) == 0)
		attr = (struct pfs_attr){.mode = 0600, .uid = 7, .gid = 8, .mtime_ns = 5};
	return attr;
}

static void let_go(struct tale *t, uint32_t object)
{
	if (t->hold && object)
		pfs_release(t->store, object);
}

static void put(struct tale *t, uint64_t i, size_t len, unsigned flags)
{
	struct pfs_key key = key_of(i);
	struct pfs_attr attr = an_attr(t);
	uint8_t *bytes = a_document(t, len);
	uint32_t replaced = 0;

	the_time += 1000000;
	assert_int_equal(pfs_put(t->store, &key, bytes, len, &attr, flags, &replaced), 0);
	let_go(t, replaced);
	free(bytes);
}

static void put_several(struct tale *t, uint64_t first, size_t count)
{
	struct pfs_put_item items[64] = {0};
	struct pfs_attr attrs[64];
	int err = 0;

	for (size_t i = 0; i < count; i++) {
		size_t len = a_length(t);

		attrs[i] = an_attr(t);
		items[i] = (struct pfs_put_item){.key = key_of(first + i),
						 .data = a_document(t, len),
						 .len = len,
						 .attr = i % 5 ? &attrs[i] : NULL};
	}
	the_time += 1000000;
	assert_int_equal(pfs_put_many(t->store, items, count, &err), count);
	for (size_t i = 0; i < count; i++)
		free((void *)items[i].data);
}

static void put_in_pieces(struct tale *t, uint64_t i, size_t len)
{
	struct pfs_key key = key_of(i);
	uint8_t *bytes = a_document(t, len);
	struct pfs_put *put;

	assert_int_equal(pfs_put_begin(t->store, &put), 0);
	for (size_t off = 0; off < len; off += 100000)
		assert_int_equal(pfs_put_write(put, bytes + off, pfs_min_u64(100000, len - off)),
				 0);
	assert_int_equal(pfs_put_commit(put, &key, NULL, 0, NULL), 0);
	free(bytes);
}

static uint32_t object_of(struct tale *t, uint64_t i, struct pfs_attr *attr)
{
	struct pfs_key key = key_of(i);
	uint32_t object;

	return pfs_lookup(t->store, &key, &object, attr) == 0 ? object : 0;
}

/* One small change of one document, if it is there. */
static void change(struct tale *t, uint64_t i)
{
	struct pfs_attr attr, to = {.mode = 0640, .uid = 3, .mtime_ns = the_time};
	uint32_t object = object_of(t, i, &attr);
	uint64_t off, kind = roll(t, 9);
	uint8_t *bytes;

	the_time += 1000000;
	if (!object)
		return;
	off = roll(t, attr.size + 1);
	bytes = a_document(t, 700);
	switch (kind) {
	case 0: /* in the middle, or beyond the end */
	case 1:
		assert_int_equal(pfs_write(t->store, object, off, bytes, roll(t, 300), the_time),
				 0);
		break;
	case 2: /* behind a gap */
		assert_int_equal(pfs_write(t->store, object, attr.size + 50, bytes, 10, the_time),
				 0);
		break;
	case 3: /* the whole */
		assert_int_equal(pfs_write(t->store, object, 0, bytes,
					   pfs_min_u64(attr.size + roll(t, 30), 700),
					   PFS_MTIME_KEEP),
				 0);
		break;
	case 4:
		to.size = off;
		assert_int_equal(pfs_setattr(t->store, object, PFS_ATTR_SIZE, &to, NULL), 0);
		break;
	case 5:
		assert_int_equal(
			pfs_setattr(t->store, object, PFS_ATTR_MODE | PFS_ATTR_UID, &to, NULL), 0);
		break;
	case 6:
		assert_int_equal(pfs_setattr(t->store, object, PFS_ATTR_MTIME, &to, NULL), 0);
		break;
	case 7:
		assert_int_equal(pfs_zero(t->store, object, off, roll(t, attr.size + 1), the_time),
				 0);
		break;
	default: /* in the way of editors: to nothing, then the whole */
		to.size = 0;
		assert_int_equal(pfs_setattr(t->store, object, PFS_ATTR_SIZE, &to, NULL), 0);
		assert_int_equal(pfs_write(t->store, object, 0, bytes, 300, the_time), 0);
	}
	if (roll(t, 20) == 0)
		assert_int_equal(pfs_sync_object(t->store, object), 0);
	free(bytes);
}

static void drop(struct tale *t, uint64_t i)
{
	struct pfs_key key = key_of(i);
	uint32_t object = 0;
	int err = pfs_remove(t->store, &key, &object);

	assert_true(err == 0 || err == -ENOENT);
	let_go(t, object);
}

static void move(struct tale *t, uint64_t from, uint64_t to, unsigned flags)
{
	struct pfs_key a = key_of(from), b = key_of(to);
	uint32_t replaced = 0;
	int err = pfs_rename(t->store, &a, &b, flags, &replaced);

	assert_true(err == 0 || err == -ENOENT || err == -EEXIST);
	let_go(t, replaced);
}

static void checkpoint(struct tale *t)
{
	assert_int_equal(pfs_store_checkpoint(t->store), 0);
}

static void tick(struct tale *t)
{
	the_time += 1000000000;
	assert_int_equal(pfs_store_tick(t->store), 0);
}

static void open_again(struct tale *t, bool read_only)
{
	static const struct pfs_defaults defaults = {.mode = 0644, .uid = 3, .gid = 3};
	struct pfs_open_options options = {.manual = true,
					   .hold_objects = t->hold,
					   .read_only = read_only,
					   .defaults = &defaults,
					   .io = pfs_sim_io(t->sim),
					   .logger = {.fn = tell_log, .arg = t}};
	struct pfs_reason reason;
	int err = pfs_store_open(&t->store, STORE, &options, &reason);

	if (err)
		fail_msg("open: %d %s", err, reason.text);
	memset(t->stat, 0, sizeof(t->stat));
}

static void close_it(struct tale *t)
{
	assert_int_equal(pfs_store_close(t->store), 0);
	t->store = NULL;
}

/* The process dies: what it has written is there; or the power fails: some of what was not synced
 * may be. */
static void end_it(struct tale *t, bool power_fails)
{
	struct pfs_sim *after;

	watch(t, false);
	after = power_fails ? pfs_sim_crash_seed(t->sim, 7) : pfs_sim_kill(t->sim);
	assert_int_equal(pfs_store_close(t->store), 0);
	pfs_sim_free(t->sim);
	t->sim = after;
	t->store = NULL;
	forget_calls(t);
	watch(t, true);
}

/* ---- publishing ---- */

static int by_key(const void *a, const void *b)
{
	return pfs_key_compare(a, b);
}

/* The points, in the order of their keys. Free with free(). */
static struct pfs_key *points_of(struct tale *t, size_t *count)
{
	struct pfs_key *keys = malloc(POINTS_MAX * sizeof(*keys));
	struct pfs_listed listed[64];
	uint64_t after = 0;
	ssize_t n;

	*count = 0;
	while ((n = pfs_list(t->store, after, listed, pfs_array_len(listed))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			assert_true(*count < POINTS_MAX);
			if (listed[i].key.kind != PFS_KEY_SCRATCH)
				keys[(*count)++] = listed[i].key;
			after = listed[i].cookie;
		}
	}
	qsort(keys, *count, sizeof(*keys), by_key);
	return keys;
}

static void publish_all(struct tale *t, struct pfs_publish *p, bool adding)
{
	size_t count;
	struct pfs_key *keys = points_of(t, &count);

	for (size_t i = 0; i < count; i++) {
		struct pfs_attr attr;
		void *data;
		size_t len;

		assert_int_equal(pfs_get(t->store, &keys[i], &data, &len, &attr), 0);
		if (adding)
			assert_int_equal(pfs_publish_add(p, &keys[i], &attr, data, len), 0);
		else if (i % 3 == 0)
			assert_int_equal(pfs_publish_sample(p, data, len), 0);
		free(data);
	}
	free(keys);
}

static void publish_it(struct tale *t, uint32_t keep)
{
	struct pfs_publish_options options = publish_options();
	struct pfs_publish_result r = {0};
	struct pfs_prune_result pruned = {0};
	struct pfs_dir *dir = open_where(pfs_sim_io(t->sim));
	struct pfs_reason reason;
	struct pfs_publish *p;

	options.threads = 1;
	options.logger = (struct pfs_logger){.fn = tell_log, .arg = t};
	assert_int_equal(pfs_publish_begin(&p, dir, WHERE, &options, &reason), 0);
	publish_all(t, p, false);
	publish_all(t, p, true);
	assert_int_equal(pfs_publish_commit(p, &r), 0);
	assert_int_equal(pfs_publish_prune(p, keep, &pruned), 0);
	pfs_publish_end(p);
	dir->ops->close_dir(dir);
	fprintf(t->out,
		"published %u%s%s: %llu points, %llu bytes; %llu objects, %llu bytes; uploaded "
		"%llu, "
		"%llu bytes; reused %llu, %llu bytes, %llu pages; pruned %u, %llu objects, %llu "
		"bytes\n",
		r.generation, r.unchanged ? ", unchanged" : "", r.trained ? ", trained" : "",
		(unsigned long long)r.points, (unsigned long long)r.raw_bytes,
		(unsigned long long)r.objects, (unsigned long long)r.bytes,
		(unsigned long long)r.uploaded, (unsigned long long)r.uploaded_bytes,
		(unsigned long long)r.reused, (unsigned long long)r.reused_bytes,
		(unsigned long long)r.reused_pages, pruned.generations,
		(unsigned long long)pruned.objects, (unsigned long long)pruned.bytes);
	tell_calls(t);
	watch(t, false);
	tell_files(t, WHERE, NULL);
	watch(t, true);
}

/* Its own threads fetch ahead, so that neither order nor size of the requests is always the same.
 */
static void read_published(struct tale *t)
{
	struct pfs_open_options options = {
		.read_only = true, .io = pfs_sim_io(t->sim), .logger = {.fn = tell_log, .arg = t}};
	struct pfs_store *source = t->store;
	struct pfs_remote_stat remote;
	struct pfs_reason reason;

	watch(t, false);
	assert_int_equal(pfs_store_open(&t->store, WHERE, &options, &reason), 0);
	fprintf(t->out, "what is published is read\n");
	tell_documents(t);
	memset(t->stat, 0, sizeof(t->stat));
	tell_stat(t);
	memset(t->stat, 0, sizeof(t->stat));
	assert_int_equal(pfs_store_remote_stat(t->store, &remote), 0);
	fprintf(t->out, "chunks: %llu fetched, %llu bytes\n", (unsigned long long)remote.fetched,
		(unsigned long long)remote.fetched_bytes);
	close_it(t);
	t->store = source;
	watch(t, true);
}

static void publish_history(struct tale *t)
{
	publish_it(t, 2);
	read_published(t);
	publish_it(t, 2);
	for (unsigned n = 0; n < 5; n++)
		change(t, n);
	publish_it(t, 2);
	read_published(t);
	for (unsigned n = 0; n < 100; n++)
		drop(t, roll(t, KEYS));
	put(t, 77, 300000, 0);
	publish_it(t, 2);
	publish_it(t, 1);
	read_published(t);
}

/* ---- the histories ---- */

static void fill(struct tale *t)
{
	open_again(t, false);
	tell(t, "a new store");
	for (uint64_t i = 0; i < KEYS; i += 50)
		put_several(t, i, 50);
	tell(t, "documents are put, many at once");
	tick(t);
	checkpoint(t);
	tell(t, "a checkpoint");
}

static void edit(struct tale *t)
{
	for (unsigned n = 0; n < 400; n++) {
		change(t, roll(t, KEYS));
		if (n % 100 == 99)
			tick(t);
	}
	tell(t, "documents are changed");
	checkpoint(t);
	tell(t, "a checkpoint of changes");
	for (uint64_t i = 0; i < KEYS; i += 3)
		put(t, i, a_length(t), i % 2 ? PFS_PUT_NEW_OBJECT : 0);
	for (uint64_t i = 0; i < KEYS; i += 9)
		move(t, i, KEYS + i % 50, i % 2 ? 0 : PFS_RENAME_NOREPLACE);
	for (uint64_t i = 1; i < KEYS; i += 50)
		move(t, i, i + 7, PFS_RENAME_EXCHANGE);
	assert_int_equal(pfs_sync(t->store), 0);
	checkpoint(t);
	tell(t, "documents are put anew and moved");
}

static void large(struct tale *t)
{
	static const size_t sizes[] = {20000, 65536, 70000, 300000, 1300000};
	struct pfs_attr attr;

	for (unsigned i = 0; i < pfs_array_len(sizes); i++) {
		uint8_t *bytes = a_document(t, 5000);
		uint32_t object;

		put(t, KEYS + 100 + i, sizes[i], 0);
		put_in_pieces(t, KEYS + 200 + i, sizes[i]);
		object = object_of(t, KEYS + 100 + i, &attr);
		assert_int_equal(pfs_write(t->store, object, sizes[i] / 2, bytes, 5000, the_time),
				 0);
		if (i % 2)
			checkpoint(t);
		assert_int_equal(pfs_write(t->store, object, attr.size, bytes, 5000, the_time), 0);
		assert_int_equal(pfs_read(t->store, object, sizes[i] / 3, bytes, 5000), 5000);
		free(bytes);
	}
	checkpoint(t);
	tell(t, "large documents");
}

static void remove_some(struct tale *t)
{
	int more, steps = 0;

	for (uint64_t i = 0; i < KEYS; i++)
		if (roll(t, 5) < 3)
			drop(t, i);
	for (unsigned i = 0; i < 3; i++)
		drop(t, KEYS + 100 + i);
	tell(t, "documents are removed");
	checkpoint(t);
	tell(t, "a checkpoint of removals");
	while ((more = pfs_store_compact_step(t->store, false)) == 1)
		steps++;
	assert_int_equal(more, 0);
	fprintf(t->out, "%d steps of compaction\n", steps);
	tell(t, "compaction");
	steps = 0;
	while ((more = pfs_store_compact_step(t->store, true)) == 1)
		steps++;
	assert_int_equal(more, 0);
	checkpoint(t);
	fprintf(t->out, "%d steps of compaction\n", steps);
	tell(t, "eager compaction");
}

static void tell_snapshot(struct tale *t, struct pfs_snapshot *snapshot)
{
	struct pfs_snapshot_name names[64];
	struct pfs_snapshot_info info;
	uint64_t after = 0, count = 0, what = HASH_FIRST;
	ssize_t n;

	pfs_snapshot_info(snapshot, &info);
	while ((n = pfs_snapshot_list(snapshot, after, names, pfs_array_len(names))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			struct pfs_attr attr;
			uint64_t sequence;
			void *data;
			size_t len;

			after = names[i].cookie;
			assert_int_equal(
				pfs_snapshot_get(snapshot, &names[i].key, &data, &len, &attr), 0);
			what = hash_number(hash_bytes(what, data, len), (uint64_t)attr.mtime_ns);
			free(data);
			assert_int_equal(pfs_snapshot_lookup_change(snapshot, &names[i].key, &attr,
								    &sequence),
					 0);
			what = hash_number(what, sequence);
			count++;
		}
	}
	fprintf(t->out,
		"snapshot: %llu of %llu points, %llu scratch, %llu bytes, sequence %llu, %016llx\n",
		(unsigned long long)count, (unsigned long long)info.points,
		(unsigned long long)info.scratch, (unsigned long long)info.raw_bytes,
		(unsigned long long)info.sequence, (unsigned long long)what);
}

static void look_back(struct tale *t)
{
	struct pfs_snapshot *first, *second;

	assert_int_equal(pfs_snapshot_open(t->store, &first), 0);
	for (uint64_t i = 0; i < KEYS; i += 4)
		put(t, i, a_length(t), 0);
	checkpoint(t);
	assert_int_equal(pfs_snapshot_open(t->store, &second), 0);
	for (uint64_t i = 0; i < KEYS; i += 10)
		drop(t, i);
	for (unsigned n = 0; n < 100; n++)
		change(t, roll(t, KEYS));
	checkpoint(t);
	tell(t, "changes under snapshots");
	tell_snapshot(t, first);
	tell_snapshot(t, second);
	pfs_snapshot_close(first);
	checkpoint(t);
	tell_snapshot(t, second);
	pfs_snapshot_close(second);
	checkpoint(t);
	tell(t, "snapshots are closed");
}

static void come_back(struct tale *t)
{
	close_it(t);
	tell(t, "closed");
	open_again(t, false);
	tell(t, "opened again");
	for (unsigned n = 0; n < 60; n++)
		change(t, roll(t, KEYS));
	put(t, KEYS + 300, 200000, 0);
	tick(t);
	for (unsigned n = 0; n < 30; n++)
		change(t, roll(t, KEYS));
	tell(t, "changes before a kill");
	end_it(t, false);
	tell(t, "killed");
	open_again(t, true);
	tell(t, "opened for reading");
	close_it(t);
	open_again(t, false);
	tell(t, "opened after a kill");
	for (unsigned n = 0; n < 60; n++) {
		change(t, roll(t, KEYS));
		if (n % 20 == 10)
			tick(t);
		if (n == 35)
			checkpoint(t);
	}
	end_it(t, true);
	tell(t, "the power has failed");
	open_again(t, false);
	tell(t, "opened after that");
	close_it(t);
	remove_file(t->sim, PFS_INDEX_NAME);
	open_again(t, false);
	tell(t, "opened without index");
}

/* Ever less room: compaction and the journal do with what is there, and writers get errors. */
static void fill_the_disk(struct tale *t)
{
	uint64_t failed = 0, put = 0;
	uint8_t *bytes = a_document(t, 3000);

	pfs_sim_set_capacity(t->sim, pfs_sim_used(t->sim) + 100000);
	for (uint64_t i = 0; i < 500; i++) {
		struct pfs_key key = key_of(KEYS + 400 + i);
		int err = pfs_put(t->store, &key, bytes, 1000 + roll(t, 2000), NULL, 0, NULL);

		assert_true(err == 0 || err == -ENOSPC);
		failed += err != 0;
		put += err == 0;
		if (i % 50 == 49) {
			err = pfs_store_tick(t->store);
			if (!err)
				err = pfs_store_checkpoint(t->store);
			fprintf(t->out, "%llu put, %llu not; then %d\n", (unsigned long long)put,
				(unsigned long long)failed, err);
		}
	}
	tell(t, "the disk is full");
	for (uint64_t i = 0; i < 500; i++)
		drop(t, KEYS + 400 + i);
	checkpoint(t);
	while (pfs_store_compact_step(t->store, false) == 1)
		;
	tell(t, "there is room again");
	pfs_sim_set_capacity(t->sim, UINT64_C(1) << 40);
	free(bytes);
}

static void pack_all(struct tale *t)
{
	struct pfs_compact_result result;
	bool stop = false;

	assert_int_equal(pfs_store_compact(t->store, NULL, NULL, &stop, &result), 0);
	fprintf(t->out,
		"compaction: %llu values, %llu bytes, pages %llu to %llu, disk %llu to %llu\n",
		(unsigned long long)result.values, (unsigned long long)result.bytes,
		(unsigned long long)result.pages_before, (unsigned long long)result.pages_after,
		(unsigned long long)result.disk_before, (unsigned long long)result.disk_after);
	tell(t, "a full compaction");
	for (uint64_t i = 0; i < KEYS; i += 2)
		put(t, i, a_length(t), 0);
	assert_int_equal(pfs_store_compact(t->store, NULL, NULL, &stop, &result), 0);
	tell(t, "a second one");
}

static void check_it(struct tale *t)
{
	struct found *found;

	close_it(t);
	found = check_store(t->sim);
	print_found(found);
	assert_int_equal(found->count, 0);
	fprintf(t->out, "checked: %llu documents, %llu pages, %llu bytes\n",
		(unsigned long long)found->result.documents,
		(unsigned long long)found->result.pages, (unsigned long long)found->result.bytes);
	free(found);
	tell(t, "a check");
}

static void whole_history(struct tale *t)
{
	fill(t);
	edit(t);
	large(t);
	remove_some(t);
	look_back(t);
	come_back(t);
	fill_the_disk(t);
	pack_all(t);
	publish_history(t);
	check_it(t);
}
/* Proves: what a store with small pages does for a history of all kinds of changes is what it did.
 */
static void small_pages(void **state)
{
	struct tale t = {.min_value_size = 16};

	(void)state;
	begin(&t, "small-pages", 64 * PFS_KIB);
	whole_history(&t);
	end(&t);
}

/* Proves: the same where removed documents stay until they are released, as under a mount, with
 * larger pages and values. */
static void held_objects(void **state)
{
	struct tale t = {.min_value_size = 128, .hold = true};

	(void)state;
	begin(&t, "held-objects", 256 * PFS_KIB);
	whole_history(&t);
	end(&t);
}

static uint8_t *a_record(struct tale *t, size_t *len)
{
	struct source source = {.size = 200 + roll(t, 300), .changed = UINT64_MAX};
	struct pfs_attr attr;
	struct pfs_key key;
	char *data;

	record_doc(&source, ++t->seeds, &key, &attr, &data, len);
	return (uint8_t *)data;
}

static void put_records(struct tale *t, uint64_t first, uint64_t end)
{
	for (uint64_t i = first; i < end; i++) {
		struct pfs_key key = pfs_key_num(i);
		size_t len;
		uint8_t *bytes = a_record(t, &len);

		the_time += 1000000;
		assert_int_equal(pfs_put(t->store, &key, bytes, len, NULL, 0, NULL), 0);
		free(bytes);
	}
}

static void tell_training(struct tale *t, bool force)
{
	struct pfs_train_result r = {0};
	int err = pfs_train(t->store, force, &r);

	fprintf(t->out,
		"training: %d; %llu samples, %llu bytes; %llu held out, %llu before, %llu packed; "
		"dictionary %u, %llu bytes\n",
		err, (unsigned long long)r.samples, (unsigned long long)r.sample_bytes,
		(unsigned long long)r.raw, (unsigned long long)r.before,
		(unsigned long long)r.packed, r.number, (unsigned long long)r.length);
}

static void train_and_pack(struct tale *t)
{
	open_again(t, false);
	put_records(t, 0, 1300);
	checkpoint(t);
	tell(t, "records without a dictionary");
	tell_training(t, false);
	tell(t, "a dictionary is made");
	put_records(t, 1300, 1700);
	put_records(t, 0, 200);
	checkpoint(t);
	tell(t, "records with a dictionary");
	tell_training(t, false);
	tell_training(t, true);
	for (uint64_t i = 300; i < 900; i += 2) {
		struct pfs_key key = pfs_key_num(i);

		assert_int_equal(pfs_remove(t->store, &key, NULL), 0);
	}
	put_records(t, 200, 300);
	checkpoint(t);
	tell(t, "two dictionaries");
	pack_all(t);
	close_it(t);
	tell(t, "packed and closed");
	open_again(t, false);
	tell(t, "opened with dictionaries");
	publish_it(t, 2);
	read_published(t);
	put_records(t, 250, 300);
	publish_it(t, 2);
	read_published(t);
	check_it(t);
}

/* Proves: the same of documents that are packed with dictionaries. */
static void words(void **state)
{
	struct tale t = {.min_value_size = 16, .packs = true};

	(void)state;
	if (!pfs_store_trainer())
		fail_msg("built without libzstd, which makes dictionaries");
	begin(&t, "words", 256 * PFS_KIB);
	train_and_pack(&t);
	end(&t);
}

/* ---- numbers that follow one another ---- */

#define IN_A_ROW 1200u

static struct pfs_key row_key(uint64_t i)
{
	return pfs_key_num(5000 + i);
}

static void put_row(struct tale *t, uint64_t first, uint64_t end)
{
	for (uint64_t i = first; i < end; i += 50) {
		struct pfs_put_item items[50] = {0};
		int err;

		for (uint64_t k = 0; k < 50; k++)
			items[k] = (struct pfs_put_item){.key = row_key(i + k),
							 .data = a_document(t, 20 + i % 7),
							 .len = 20 + i % 7};
		the_time += 1000000;
		assert_int_equal(pfs_put_many(t->store, items, 50, &err), 50);
		for (uint64_t k = 0; k < 50; k++)
			free((void *)items[k].data);
	}
}

/* At the ends and in the middle of what are runs when it has been opened. */
static void change_row(struct tale *t, uint64_t i)
{
	struct pfs_key a = row_key(i), b = row_key(i + 1), c = row_key(i + 2),
		       d = pfs_key_num(1000000 + i), e = row_key(i + 3), f = row_key(i + 4),
		       g = row_key(i + 5), h = row_key(i + 6);
	uint32_t replaced = 0, object = 0;
	struct pfs_attr attr = {.mode = 0600};

	the_time += 1000000;
	assert_int_equal(pfs_rename(t->store, &a, &d, 0, NULL), 0);
	assert_int_equal(pfs_rename(t->store, &b, &c, 0, &replaced), 0);
	let_go(t, replaced);
	assert_int_equal(pfs_rename(t->store, &e, &f, PFS_RENAME_EXCHANGE, NULL), 0);
	assert_int_equal(pfs_put(t->store, &g, "new", 3, NULL, PFS_PUT_NEW_OBJECT, &replaced), 0);
	let_go(t, replaced);
	assert_int_equal(pfs_lookup(t->store, &h, &object, NULL), 0);
	assert_int_equal(pfs_setattr(t->store, object, PFS_ATTR_MODE, &attr, NULL), 0);
	assert_int_equal(pfs_create(t->store, &a, &attr, &object), 0);
	assert_int_equal(pfs_write(t->store, object, 0, "again", 5, the_time), 0);
	assert_int_equal(pfs_remove(t->store, &g, &object), 0);
	let_go(t, object);
}

static void change_rows(struct tale *t)
{
	for (uint64_t i = 0; i < IN_A_ROW - 10; i += 397)
		change_row(t, i);
	tell(t, "some of a row are changed");
}

static void a_row(struct tale *t)
{
	open_again(t, false);
	put_row(t, 0, IN_A_ROW);
	checkpoint(t);
	close_it(t);
	tell(t, "a row");
	open_again(t, false);
	tell(t, "a row is opened");
	change_rows(t);
	checkpoint(t);
	close_it(t);
	tell(t, "a row with gaps is closed");
	open_again(t, true);
	tell(t, "a row is opened for reading");
	close_it(t);
	open_again(t, false);
	put_row(t, 2000, 2000 + IN_A_ROW);
	checkpoint(t);
	tell(t, "another row");
	end_it(t, false);
	open_again(t, false);
	tell(t, "rows are found again");
	put_row(t, 100, 150);
	put_row(t, 2000, 2050);
	end_it(t, true);
	open_again(t, false);
	tell(t, "rows are found again after changes");
	close_it(t);
	remove_file(t->sim, PFS_INDEX_NAME);
	open_again(t, false);
	for (uint64_t i = 0; i < IN_A_ROW; i++) {
		struct pfs_key key = row_key(2000 + i);
		uint32_t object;

		if (i % 500 > 2) {
			assert_int_equal(pfs_remove(t->store, &key, &object), 0);
			let_go(t, object);
		}
	}
	put_row(t, 4000, 4300);
	checkpoint(t);
	close_it(t);
	tell(t, "most of a row are removed");
	open_again(t, false);
	pack_all(t);
	check_it(t);
}

/* Proves: the same of documents whose numbers follow one another, as an import leaves them, which
 * are opened without looking at each. */
static void rows(void **state)
{
	struct tale t = {.min_value_size = 16};

	(void)state;
	begin(&t, "rows", 256 * PFS_KIB);
	a_row(&t);
	end(&t);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_pages),
		cmocka_unit_test(held_objects),
		cmocka_unit_test(words),
		cmocka_unit_test(rows),
	};

	accepts = argc > 1 && strcmp(argv[1], "accept") == 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
