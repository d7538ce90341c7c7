/* storage/published.c and what makes a store of it: a published collection reads like the store
 * that it was made of, with few reads of the origin; damage is an error and never another byte; a
 * newer generation is taken up beside the old one. */
#include "storage/publish_internal.h"
/* Pages of a tenth, so that there are some although little is packed. */
#undef PUBLISH_PAGE_MIN
#define PUBLISH_PAGE_MIN 200000
#undef PUBLISH_PAGE_TARGET
#define PUBLISH_PAGE_TARGET 600000
#undef PUBLISH_PAGE_MAX
#define PUBLISH_PAGE_MAX 3200000
#undef PUBLISH_PAGE_OWN
#define PUBLISH_PAGE_OWN 400000
#include "storage/publish.c"
#include "storage/publish_page.c"

#include "tests/unit/publish_helpers.h"

#include "storage/published.h"
#include "storage/store.h"

#define NONE UINT64_MAX

static struct source odd_source(uint64_t count)
{
	return (struct source){.count = count, .doc = odd_doc, .changed = NONE, .absent = NONE};
}

static struct source records(uint64_t count, uint64_t size)
{
	return (struct source){
		.count = count, .doc = record_doc, .changed = NONE, .absent = NONE, .size = size};
}

static const struct pfs_logger no_log = {.fn = publish_ignore_log};

static int try_open(struct pfs_sim *sim, struct pfs_store **store, struct pfs_reason *reason)
{
	const struct pfs_open_options options = {
		.read_only = true, .io = pfs_sim_io(sim), .logger = no_log};

	return pfs_store_open(store, WHERE, &options, reason);
}

static struct pfs_store *open_published(struct pfs_sim *sim)
{
	struct pfs_reason reason;
	struct pfs_store *store;
	int err = try_open(sim, &store, &reason);

	if (err)
		fail_msg("%d: %s", err, reason.text);
	return store;
}

static struct pfs_store *publish_and_open(struct pfs_sim *sim, const struct source *s)
{
	publish_ok(pfs_sim_io(sim), s);
	return open_published(sim);
}

/* ---- reading ---- */

static void expect_attr(const struct pfs_attr *got, const struct pfs_attr *attr, size_t len)
{
	assert_int_equal(got->size, len);
	assert_int_equal(got->mtime_ns, attr->mtime_ns);
	assert_int_equal(got->mode, attr->mode);
	assert_int_equal(got->uid, attr->uid);
	assert_int_equal(got->gid, attr->gid);
	assert_int_equal(got->nlink, 1);
	assert_true(got->stored > 0);
}

/* Document i by its key, by its number, as a whole and in parts. Returns its number. */
static uint32_t expect_doc(struct pfs_store *store, const struct source *s, uint64_t i)
{
	struct pfs_attr attr = {0}, got;
	struct pfs_key key, found;
	struct pfs_place place;
	uint8_t part[700];
	uint32_t object;
	void *bytes;
	size_t len, got_len;
	char *data;

	s->doc(s, i, &key, &attr, &data, &len);
	assert_int_equal(pfs_lookup(store, &key, &object, &got), 0);
	expect_attr(&got, &attr, len);
	assert_int_equal(pfs_getattr(store, object, &got), 0);
	expect_attr(&got, &attr, len);
	assert_int_equal(pfs_object_key(store, object, &found), 0);
	assert_true(pfs_key_equal(&found, &key));
	assert_int_equal(pfs_get(store, &key, &bytes, &got_len, &got), 0);
	assert_int_equal(got_len, len);
	assert_memory_equal(bytes, data, len);
	free(bytes);
	for (unsigned n = 0; n < 4; n++) {
		uint64_t off = n == 0 ? len : pfs_mix64(i + n) % (len + 1);
		size_t want = pfs_min_u64(sizeof(part), len - off);

		assert_int_equal(pfs_read(store, object, off, part, sizeof(part)), want);
		assert_memory_equal(part, data + off, want);
	}
	if (len > 3 * sizeof(part)) { /* over the border of blocks */
		uint64_t off = pfs_min_u64(len - sizeof(part), 65536 - 100);

		assert_int_equal(pfs_read(store, object, off, part, sizeof(part)), sizeof(part));
		assert_memory_equal(part, data + off, sizeof(part));
	}
	assert_int_equal(pfs_read(store, object, len + 5, part, sizeof(part)), 0);
	assert_int_equal(pfs_place(store, &key, &place), 0);
	assert_true(place.page > 0 && place.container_len == got.stored &&
		    place.packed_len <= place.container_len && !place.in_journal);
	assert_int_equal(place.blocks, len > 65536 ? (len + 65535) / 65536 : 0);
	free(data);
	return object;
}

static void expect_absent(struct pfs_store *store, const struct pfs_key *key)
{
	struct pfs_attr attr;
	uint32_t object;
	size_t len;
	void *data;

	assert_int_equal(pfs_lookup(store, key, &object, &attr), -ENOENT);
	assert_int_equal(object, 0);
	assert_int_equal(pfs_get(store, key, &data, &len, NULL), -ENOENT);
	assert_null(data);
}

/* Proves: what was published reads as it was given, by every way there is, in any order; what is
 * not there is not found, be it between the keys, before the first or behind the last. */
static void it_reads_like_the_store(void **state)
{
	static const uint64_t counts[] = {0, 1, 40, 3000};
	struct pfs_key key;

	(void)state;
	for (size_t c = 0; c < pfs_array_len(counts); c++) {
		struct pfs_sim *sim = pfs_sim_new();
		const uint64_t most = publish_takes_samples() ? 300 : UINT64_MAX;
		const struct source s = odd_source(pfs_min_u64(counts[c], most));
		struct pfs_store *store = publish_and_open(sim, &s);
		struct pfs_store_stat stat;

		for (uint64_t i = 0; i < s.count; i++)
			expect_doc(store, &s, pfs_mix64(i) % s.count);
		for (uint64_t i = 0; i < s.count; i++)
			assert_int_equal(expect_doc(store, &s, i), PFS_OBJECT_FIRST + i);
		for (uint64_t i = 2; i < s.count / 2; i++) {
			key = pfs_key_num(i * i + 1);
			expect_absent(store, &key);
		}
		key = pfs_key_num(UINT64_MAX - 1);
		expect_absent(store, &key);
		set_uuid(&key, 0, 0);
		expect_absent(store, &key);
		set_uuid(&key, UINT64_MAX, UINT64_MAX);
		expect_absent(store, &key);
		assert_int_equal(pfs_key_parse(&key, "scratch", 7), 0);
		expect_absent(store, &key);
		assert_int_equal(pfs_store_stat(store, &stat), 0);
		assert_int_equal(stat.points, s.count);
		assert_int_equal(stat.published_generation, 1);
		assert_true(stat.read_only);
		assert_int_equal(pfs_store_close(store), 0);
		pfs_sim_free(sim);
	}
}

/* Proves: listings, of the store and of a snapshot, have every key once, in order, in steps of any
 * size; the snapshot's documents are those. */
static void it_lists_everything_once(void **state)
{
	static const size_t steps[] = {1, 7, 256, 1000, 5000};
	struct pfs_sim *sim = pfs_sim_new();
	const struct source s = {
		.count = 2500, .doc = odd_doc, .changed = NONE, .absent = NONE, .size = 100};
	struct pfs_store *store = publish_and_open(sim, &s);
	struct pfs_listed *listed = calloc(5000, sizeof(*listed));
	struct pfs_snapshot_name *names = calloc(5000, sizeof(*names));
	struct pfs_snapshot_info info;
	struct pfs_snapshot *snapshot;

	(void)state;
	assert_int_equal(pfs_snapshot_open(store, &snapshot), 0);
	pfs_snapshot_info(snapshot, &info);
	assert_int_equal(info.points, 2500);
	assert_int_equal(info.sequence, 1);
	assert_int_equal(pfs_store_sequence(store), 1);
	for (size_t step = 0; step < pfs_array_len(steps); step++) {
		uint64_t after = 0, i = 0, then = 0;
		ssize_t n;

		while ((n = pfs_list(store, after, listed, steps[step])) > 0) {
			assert_int_equal(pfs_snapshot_list(snapshot, then, names, steps[step]), n);
			for (ssize_t k = 0; k < n; k++, i++) {
				struct pfs_attr attr = {0};
				struct pfs_key key;
				char *data;
				size_t len;

				s.doc(&s, i, &key, &attr, &data, &len);
				assert_true(pfs_key_equal(&key, &listed[k].key));
				assert_true(pfs_key_equal(&key, &names[k].key));
				assert_int_equal(listed[k].object, PFS_OBJECT_FIRST + i);
				assert_true(listed[k].cookie > after && names[k].cookie > then);
				after = listed[k].cookie;
				then = names[k].cookie;
				free(data);
			}
		}
		assert_int_equal(n, 0);
		assert_int_equal(i, s.count);
	}
	for (uint64_t i = 0; i < s.count; i += 17) {
		struct pfs_attr attr = {0}, got;
		struct pfs_key key;
		uint64_t sequence;
		void *bytes;
		char *data;
		size_t len, n;

		s.doc(&s, i, &key, &attr, &data, &len);
		assert_int_equal(pfs_snapshot_get(snapshot, &key, &bytes, &n, &got), 0);
		assert_int_equal(n, len);
		assert_memory_equal(bytes, data, len);
		assert_int_equal(pfs_snapshot_lookup_change(snapshot, &key, &got, &sequence), 0);
		expect_attr(&got, &attr, len);
		assert_int_equal(pfs_snapshot_read(snapshot, &key, 1, bytes, len),
				 len ? len - 1 : 0);
		assert_memory_equal(bytes, data + 1, len ? len - 1 : 0);
		free(bytes);
		free(data);
	}
	pfs_snapshot_close(snapshot);
	assert_int_equal(pfs_store_close(store), 0);
	free(listed);
	free(names);
	pfs_sim_free(sim);
}

/* Proves: whatever would change it is refused with EROFS, opening it for writing, too; nothing of
 * it is touched; syncing has nothing to do. */
static void nothing_changes_it(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	const struct source s = odd_source(10);
	struct pfs_store *store = publish_and_open(sim, &s);
	const struct pfs_attr attr = {.mode = 0600};
	struct pfs_put_item item = {.key = pfs_key_num(1), .data = "x", .len = 1};
	struct pfs_key key = pfs_key_num(1), other = pfs_key_num(77);
	uint64_t steps = pfs_sim_steps(sim);
	struct pfs_open_options options = {.io = pfs_sim_io(sim), .logger = no_log};
	struct pfs_compact_result compacted;
	struct pfs_train_result trained;
	struct pfs_repair_result repaired;
	struct pfs_store *second;
	struct pfs_reason reason;
	struct pfs_put *put;
	uint32_t object;
	int err;

	(void)state;
	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	assert_int_equal(pfs_create(store, &other, &attr, &object), -EROFS);
	assert_int_equal(pfs_write(store, object, 0, "x", 1, 0), -EROFS);
	assert_int_equal(pfs_zero(store, object, 0, 1, 0), -EROFS);
	assert_int_equal(pfs_setattr(store, object, PFS_ATTR_MODE, &attr, NULL), -EROFS);
	assert_int_equal(pfs_remove(store, &key, NULL), -EROFS);
	assert_int_equal(pfs_rename(store, &key, &other, 0, NULL), -EROFS);
	assert_int_equal(pfs_put(store, &key, "x", 1, NULL, 0, NULL), -EROFS);
	assert_int_equal(pfs_put_many(store, &item, 1, &err), 0);
	assert_int_equal(err, -EROFS);
	assert_int_equal(pfs_put_begin(store, &put), -EROFS);
	assert_null(put);
	assert_int_equal(pfs_store_compact(store, NULL, NULL, NULL, &compacted), -EROFS);
	assert_int_equal(pfs_train(store, true, &trained), -EROFS);
	assert_int_equal(pfs_sync(store), 0);
	assert_int_equal(pfs_sync_object(store, object), 0);
	assert_int_equal(pfs_store_open(&second, WHERE, &options, &reason), -EROFS);
	assert_non_null(strstr(reason.text, "can only be read"));
	assert_int_equal(
		pfs_repair(WHERE, pfs_sim_io(sim), &no_log, NULL, NULL, NULL, &repaired, &reason),
		-EUCLEAN);
	assert_int_equal(pfs_sim_steps(sim), steps);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: what a line of every document takes is known without a read of any page. */
static void lines_are_known_from_the_keys(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	const struct source s = {
		.count = 400, .doc = odd_doc, .changed = NONE, .absent = NONE, .size = 450};
	struct pfs_store *store = publish_and_open(sim, &s);
	struct pfs_snapshot *snapshot;
	struct pfs_key absent = pfs_key_num(2);
	uint64_t before, size, lines = 0;
	bool line;

	(void)state;
	assert_int_equal(pfs_snapshot_open(store, &snapshot), 0);
	before = pfs_sim_count(sim, PFS_SIM_READ);
	for (uint64_t i = 0; i < s.count; i++) {
		struct pfs_attr attr = {0};
		struct pfs_key key;
		char *data;
		size_t len;

		s.doc(&s, i, &key, &attr, &data, &len);
		assert_int_equal(pfs_snapshot_glance(snapshot, &key, &size, &line), 0);
		assert_int_equal(size, len);
		assert_int_equal(line, pfs_line_is_plain(data, len));
		lines += line;
		free(data);
	}
	assert_true(lines > 0 && lines < s.count);
	assert_in_range(pfs_sim_count(sim, PFS_SIM_READ) - before, 1, 2);
	assert_int_equal(pfs_snapshot_glance(snapshot, &absent, &size, &line), -ENOENT);
	pfs_snapshot_close(snapshot);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* ---- generations ---- */

/* Proves: after a refresh keys find the new generation, numbers of the old one go on being read, a
 * listing that was begun goes on in the old one, and so does a snapshot; when nobody refers to it,
 * it is dropped in the end. Without anything new, nothing happens. */
static void a_newer_generation_is_taken_up(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	const uint64_t all = 700;
	struct source old = odd_source(all), now;
	struct pfs_store *store;
	struct pfs_listed listed[100];
	struct pfs_refreshed r, again;
	struct pfs_snapshot *snapshot;
	struct pfs_key key = pfs_key_num(5 * 5);
	uint32_t object, renewed;
	uint8_t was[5000], is[5000];
	uint64_t after, count = 100;
	ssize_t n;

	(void)state;
	old.size = 5000;
	now = old;
	store = publish_and_open(sim, &old);
	assert_int_equal(pfs_store_refresh(store, &r), 0);
	assert_true(!r.changed && r.generation == 1);
	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	assert_int_equal(pfs_read(store, object, 0, was, sizeof(was)), 5000);
	assert_int_equal(pfs_list(store, 0, listed, 100), 100);
	after = listed[99].cookie;
	assert_int_equal(pfs_snapshot_open(store, &snapshot), 0);

	now.changed = 5;
	now.version = 1;
	now.absent = 7;
	publish_ok(pfs_sim_io(sim), &now);
	assert_int_equal(pfs_lookup(store, &key, &renewed, NULL), 0);
	assert_int_equal(renewed, object); /* not before it is told to */
	assert_int_equal(pfs_store_refresh(store, &r), 0);
	assert_true(r.changed && r.generation == 2);
	assert_true(object >= r.first && object < r.end && r.end - r.first == all);
	assert_int_equal(pfs_lookup(store, &key, &renewed, NULL), 0);
	assert_false(renewed >= r.first && renewed < r.end);
	assert_int_equal(pfs_read(store, renewed, 0, is, sizeof(is)), 5000);
	assert_memory_not_equal(is, was, sizeof(is));
	assert_int_equal(pfs_read(store, object, 0, is, sizeof(is)), 5000);
	assert_memory_equal(is, was, sizeof(is));
	key = pfs_key_num(7 * 7);
	expect_absent(store, &key);
	assert_int_equal(pfs_snapshot_lookup(snapshot, &key, NULL), 0);

	/* Dropped when another one has come, and not while a snapshot reads it. */
	pfs_store_forget(store, r.first);
	for (now.version = 2; now.version < 4; now.version++) {
		uint64_t place;

		assert_int_equal(pfs_list(store, 0, listed, 100), 100);
		place = listed[99].cookie;
		publish_ok(pfs_sim_io(sim), &now);
		assert_int_equal(pfs_store_refresh(store, &again), 0);
		assert_true(again.changed);
		pfs_store_forget(store, again.first);
		/* A listing that has begun goes on until another one comes. */
		assert_int_equal(pfs_store_refresh(store, &again), 0);
		assert_false(again.changed);
		assert_int_equal(pfs_list(store, place, listed, 100), 100);
	}
	assert_int_equal(pfs_snapshot_lookup(snapshot, &key, NULL), 0);
	while ((n = pfs_list(store, after, listed, 100)) > 0) {
		count += (uint64_t)n;
		after = listed[n - 1].cookie;
	}
	assert_int_equal(count, all);
	assert_int_equal(pfs_read(store, object, 0, is, sizeof(is)), 5000);
	pfs_snapshot_close(snapshot);
	assert_int_equal(pfs_store_refresh(store, &again), 0);
	assert_false(again.changed);
	assert_int_equal(pfs_read(store, object, 0, is, sizeof(is)), -ENOENT);
	assert_int_equal(pfs_list(store, object, listed, 100), -ESTALE);
	for (uint64_t i = 0; i < now.count; i += 13) {
		now.version = 3;
		if (i != now.absent)
			expect_doc(store, &now, i);
	}
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

static int fail_current(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	return strcmp(step->name, PFS_CURRENT_NAME) == 0 ? -EIO : 0;
}

/* Proves: when the origin can't be asked, or says nonsense, the generation that is there goes on
 * being read, and the next refresh that can does. */
static void a_failed_refresh_changes_nothing(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct source s = odd_source(100);
	struct pfs_store *store = publish_and_open(sim, &s);
	struct pfs_dir *dir = open_where(pfs_sim_io(sim));
	struct pfs_refreshed r;
	struct pfs_file *file;

	(void)state;
	s.changed = 4;
	s.version = 1;
	publish_ok(pfs_sim_io(sim), &s);
	pfs_sim_on_look(sim, fail_current, NULL);
	assert_int_equal(pfs_store_refresh(store, &r), -EIO);
	assert_true(!r.changed && r.generation == 1);
	pfs_sim_on_look(sim, NULL, NULL);
	assert_int_equal(dir->ops->open(dir, "generation-00000002", PFS_IO_WRITE, &file), 0);
	assert_int_equal(dir->ops->write(file, "X", 1, 0), 0);
	assert_int_equal(pfs_store_refresh(store, &r), -EUCLEAN);
	s.changed = NONE;
	expect_doc(store, &s, 4);
	assert_int_equal(dir->ops->write(file, "P", 1, 0), 0);
	dir->ops->close(file);
	assert_int_equal(pfs_store_refresh(store, &r), 0);
	assert_true(r.changed && r.generation == 2);
	s.changed = 4;
	expect_doc(store, &s, 4);
	dir->ops->close_dir(dir);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* ---- damage ---- */

struct names {
	char at[64][PFS_OBJECT_NAME_MAX];
	size_t count;
};

static int add_name(void *arg, const char *name)
{
	struct names *names = arg;

	if (strcmp(name, PFS_PUBLISH_LOCK_NAME) != 0)
		snprintf(names->at[names->count++], PFS_OBJECT_NAME_MAX, "%s", name);
	return 0;
}

struct findings {
	unsigned fatal, named;
	char where[64]; /* the first */
};

static void note_finding(void *arg, const struct pfs_finding *finding)
{
	struct findings *f = arg;

	if (finding->fatal && f->fatal++ == 0)
		snprintf(f->where, sizeof(f->where), "%s", finding->where);
	f->named += finding->key.kind != PFS_KEY_NONE;
}

static void note_progress(void *arg, uint64_t done, uint64_t total)
{
	(void)arg;
	assert_true(done <= total);
}

static int check_it(struct pfs_sim *sim, struct findings *f, struct pfs_check_result *result)
{
	struct pfs_reason reason;

	*f = (struct findings){0};
	return pfs_check(WHERE, pfs_sim_io(sim), &no_log, note_finding, note_progress, f, result,
			 &reason);
}

static void flip(struct pfs_dir *dir, const char *name, uint64_t off, uint8_t mask)
{
	struct pfs_file *file;
	uint8_t byte;

	assert_int_equal(dir->ops->open(dir, name, PFS_IO_WRITE, &file), 0);
	assert_int_equal(dir->ops->read(file, &byte, 1, off), 1);
	byte ^= mask;
	assert_int_equal(dir->ops->write(file, &byte, 1, off), 0);
	dir->ops->close(file);
}

static uint64_t size_of(struct pfs_dir *dir, const char *name)
{
	struct pfs_file *file;
	uint64_t size;

	assert_int_equal(dir->ops->open(dir, name, 0, &file), 0);
	assert_int_equal(dir->ops->size(file, &size), 0);
	dir->ops->close(file);
	return size;
}

/* Every document is as it was or an error. Returns how many are an error. */
static unsigned read_all(struct pfs_store *store, const struct source *s)
{
	unsigned errors = 0;

	for (uint64_t i = 0; i < s->count; i++) {
		struct pfs_attr attr = {0}, got;
		struct pfs_key key;
		size_t len, got_len;
		void *bytes;
		char *data;
		int err;

		s->doc(s, i, &key, &attr, &data, &len);
		err = pfs_get(store, &key, &bytes, &got_len, &got);
		if (err) {
			assert_int_equal(err, -EIO);
			errors++;
		} else {
			assert_int_equal(got_len, len);
			assert_memory_equal(bytes, data, len);
			expect_attr(&got, &attr, len);
			free(bytes);
		}
		free(data);
	}
	return errors;
}

/* Proves: whichever bit of whichever file is wrong, nobody reads another byte than was published,
 * and the check says that something is wrong, and where. */
static void damage_is_an_error_and_found(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	const struct source s = {.count = 60, .doc = odd_doc, .changed = NONE, .absent = NONE};
	struct pfs_check_result result;
	struct names names = {0};
	struct findings f;
	struct pfs_dir *dir;
	unsigned lost = 0;

	(void)state;
	publish_ok(pfs_sim_io(sim), &s);
	dir = open_where(pfs_sim_io(sim));
	assert_int_equal(dir->ops->list(dir, add_name, &names), 0);
	assert_int_equal(check_it(sim, &f, &result), 0);
	assert_int_equal(f.fatal, 0);
	assert_int_equal(result.findings, 0);
	assert_int_equal(result.documents, 60);
	for (size_t i = 0; i < names.count; i++)
		result.pages -= strncmp(names.at[i], "page-", 5) == 0;
	assert_int_equal(result.pages, 0);
	for (size_t i = 0; i < names.count; i++) {
		uint64_t size = size_of(dir, names.at[i]);

		for (unsigned n = 0; n < 40; n += publish_takes_samples() ? 7 : 1) {
			uint64_t off = n < 8 ? size * n / 8 : pfs_mix64(n * 77 + i) % size;
			struct pfs_reason reason;
			struct pfs_store *store;
			int err;

			flip(dir, names.at[i], off, (uint8_t)(1u << n % 8));
			err = try_open(sim, &store, &reason);
			if (err) {
				assert_true(err == -EUCLEAN || err == -EPROTONOSUPPORT);
				assert_true(reason.text[0]);
				assert_int_equal(check_it(sim, &f, &result), err);
			} else {
				unsigned errors = read_all(store, &s);

				lost += errors;
				assert_int_equal(pfs_store_close(store), 0);
				assert_int_equal(check_it(sim, &f, &result), 0);
				assert_true(f.fatal > 0);
				assert_string_equal(f.where, names.at[i]);
				/* What can't be read is named. */
				assert_int_equal(f.named, errors);
				assert_int_equal(result.damaged, errors);
			}
			flip(dir, names.at[i], off, (uint8_t)(1u << n % 8));
		}
	}
	assert_true(lost > 0);
	assert_int_equal(check_it(sim, &f, &result), 0);
	assert_int_equal(f.fatal, 0);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: an object that is missing, or cut off, costs its own documents and no others. */
static void what_is_missing_costs_its_own(void **state)
{
	const struct source s = records(2500, 1000);
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_check_result result;
	struct pfs_manifest m;
	struct pfs_dir *dir;
	struct findings f;
	uint32_t last;

	(void)state;
	publish_ok(pfs_sim_io(sim), &s);
	dir = open_where(pfs_sim_io(sim));
	assert_int_equal(read_generation(dir, &m), 1);
	last = m.object_count - 1;
	assert_true(m.objects[last].first_rank > 0); /* there are two pages, at least */
	for (unsigned way = 0; way < 2; way++) {
		char name[PFS_OBJECT_NAME_MAX];
		struct pfs_store *store;
		struct pfs_file *file;

		pfs_object_name(name, PFS_OBJECT_PAGE, m.objects[last].hash);
		if (way == 0) {
			assert_int_equal(dir->ops->open(dir, name, PFS_IO_WRITE, &file), 0);
			assert_int_equal(dir->ops->truncate(file, 70000 + m.objects[last].head), 0);
			dir->ops->close(file);
		} else {
			assert_int_equal(dir->ops->unlink(dir, name), 0);
		}
		store = open_published(sim);
		for (uint64_t i = 0; i < s.count; i += 7) {
			struct pfs_key key = pfs_key_num(3 * i);
			size_t len;
			void *data;
			int err = pfs_get(store, &key, &data, &len, NULL);

			if (i < m.objects[last].first_rank)
				assert_int_equal(err, 0);
			else if (way == 1)
				assert_true(err == -EIO || err == -ESTALE);
			free(data);
		}
		assert_int_equal(pfs_store_close(store), 0);
		assert_int_equal(check_it(sim, &f, &result), 0);
		assert_true(f.fatal > 0);
		assert_string_equal(f.where, name);
		if (way == 1)
			assert_int_equal(result.damaged, m.objects[last].count);
	}
	pfs_manifest_free(&m);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

static void small_doc(const struct source *s, uint64_t i, struct pfs_key *key,
		      struct pfs_attr *attr, char **data, size_t *len)
{
	*key = pfs_key_num(10 * i + s->version);
	*attr = (struct pfs_attr){.mode = 0644, .mtime_ns = 5};
	*len = 12;
	*data = malloc(13);
	snprintf(*data, 13, "%012llu", (unsigned long long)(i + 1000 * s->version));
}

/* The object of a role. */
static struct pfs_manifest_object *object_of(const struct pfs_manifest *m, unsigned role)
{
	uint32_t i = 0;

	while (m->objects[i].role != role)
		i++;
	return &m->objects[i];
}

/* Proves: a page, or a table of keys, of other documents, whose checksums are all right, as a
 * hostile server can give them, costs the documents and never shows another's bytes. */
static void what_does_not_belong_together_is_an_error(void **state)
{
	/* Of the table once with a fence that fits it, once with one that does not. */
	static const unsigned roles[] = {PFS_OBJECT_PAGE, PFS_OBJECT_KEYS, PFS_OBJECT_KEYS};

	(void)state;
	for (size_t way = 0; way < pfs_array_len(roles); way++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct source s = {.count = 50, .doc = small_doc, .changed = NONE, .absent = NONE};
		struct pfs_manifest m, others;
		struct pfs_current_generation current = {.generation = 2};
		struct pfs_manifest_object *to, *from;
		char text[PFS_CURRENT_LEN_MAX];
		struct pfs_check_result result;
		struct pfs_store *store;
		struct pfs_file *file;
		struct findings f;
		struct pfs_dir *dir;
		uint8_t *bytes;
		size_t len;

		publish_ok(pfs_sim_io(sim), &s);
		dir = open_where(pfs_sim_io(sim));
		assert_int_equal(read_generation(dir, &others), 1);
		s.version = 1;
		publish_ok(pfs_sim_io(sim), &s);
		assert_int_equal(read_generation(dir, &m), 2);
		to = object_of(&m, roles[way]);
		from = object_of(&others, roles[way]);
		assert_int_equal(to->len, from->len);
		assert_memory_not_equal(to->hash, from->hash, PFS_HASH_LEN);
		memcpy(to->hash, from->hash, PFS_HASH_LEN);
		m.crcs[to->chunk] = others.crcs[from->chunk];
		if (way == 1)
			memcpy(m.blocks[0].key, others.blocks[0].key, 16);
		assert_int_equal(pfs_manifest_encode(&m, &bytes, &len), 0);
		current.len = len;
		current.crc = pfs_crc32c(0, bytes, len);
		assert_int_equal(dir->ops->open(dir, "generation-00000002", PFS_IO_WRITE, &file),
				 0);
		assert_int_equal(dir->ops->write(file, bytes, len, 0), 0);
		dir->ops->close(file);
		len = pfs_current_encode(text, &current);
		assert_int_equal(dir->ops->open(dir, PFS_CURRENT_NAME, PFS_IO_WRITE, &file), 0);
		assert_int_equal(dir->ops->write(file, text, len, 0), 0);
		dir->ops->close(file);

		store = open_published(sim);
		for (uint64_t key = 0; key < 10 * s.count; key++) {
			struct pfs_key k = pfs_key_num(key);
			bool there = way == 0 ? key % 10 == 1 : way == 1 ? key % 10 == 0 : key > 0;
			struct pfs_place place;
			void *data;
			size_t n;

			assert_int_equal(pfs_get(store, &k, &data, &n, NULL),
					 there ? -EIO : -ENOENT);
			assert_int_equal(pfs_place(store, &k, &place), there ? -EIO : -ENOENT);
		}
		assert_int_equal(pfs_store_close(store), 0);
		assert_int_equal(check_it(sim, &f, &result), 0);
		assert_true(f.fatal >= 50);
		free(bytes);
		pfs_manifest_free(&m);
		pfs_manifest_free(&others);
		dir->ops->close_dir(dir);
		pfs_sim_free(sim);
	}
}

/* Proves: where there is nothing, or a store, or something else, opening says so. */
static void what_is_none_is_no_collection(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_reason reason;
	struct pfs_store *store;
	struct pfs_dir *dir;
	struct pfs_file *file;

	(void)state;
	assert_int_equal(try_open(sim, &store, &reason), -ENOENT);
	assert_false(pfs_store_is_published(WHERE, pfs_sim_io(sim)));
	dir = open_where(pfs_sim_io(sim));
	assert_int_equal(dir->ops->open(dir, PFS_CURRENT_NAME, PFS_IO_WRITE | PFS_IO_CREATE, &file),
			 0);
	assert_int_equal(dir->ops->write(file, "main\n", 5, 0), 0);
	dir->ops->close(file);
	dir->ops->close_dir(dir);
	assert_true(pfs_store_is_published(WHERE, pfs_sim_io(sim)));
	assert_int_equal(try_open(sim, &store, &reason), -EUCLEAN);
	assert_non_null(strstr(reason.text, "current"));
	pfs_sim_free(sim);
}

/* Proves: a collection that was removed and published anew is taken up by a refresh, although its
 * generation has the number of the one before. */
static void a_collection_made_anew_is_taken_up(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct source old = odd_source(100), now = old;
	struct pfs_store *store = publish_and_open(sim, &old);
	struct pfs_dir *dir = open_where(pfs_sim_io(sim));
	struct names names = {.count = 0};
	struct pfs_refreshed r;

	(void)state;
	now.changed = 4;
	now.version = 1;
	assert_int_equal(dir->ops->list(dir, add_name, &names), 0);
	for (size_t i = 0; i < names.count; i++)
		assert_int_equal(dir->ops->unlink(dir, names.at[i]), 0);
	dir->ops->close_dir(dir);
	publish_ok(pfs_sim_io(sim), &now);
	assert_int_equal(pfs_store_refresh(store, &r), 0);
	assert_true(r.changed && r.generation == 1);
	expect_doc(store, &now, 4);
	assert_int_equal(pfs_store_refresh(store, &r), 0);
	assert_false(r.changed);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* ---- what is said ---- */

struct lines {
	char text[4096];
	size_t len;
};

static void take_line(void *arg, enum pfs_log_level level, const char *line)
{
	struct lines *l = arg;

	assert_true(l->len < sizeof(l->text) / 2);
	l->len += (size_t)sprintf(l->text + l->len, "%d %s\n", level, line);
}

static int open_collection(struct pfs_sim *sim, struct pfs_published **p, struct lines *lines,
			   struct pfs_reason *reason)
{
	const struct pfs_published_options options = {.io = pfs_sim_io(sim),
						      .logger = {.fn = take_line, .arg = lines}};

	lines->len = 0;
	lines->text[0] = '\0';
	memset(reason, 0, sizeof(*reason));
	return pfs_published_open(p, WHERE, &options, reason);
}

/* Fails looks at one file. */
struct unreadable {
	const char *name;
	enum pfs_sim_kind kind;
	int error;
};

static int fail_at(void *arg, const struct pfs_sim_step *step)
{
	const struct unreadable *u = arg;

	return step->kind == u->kind && strcmp(step->name, u->name) == 0 ? u->error : 0;
}

/* What is done to the manifest, and to `current`, which then speaks of it. */
struct forgery {
	uint32_t generation;
	uint64_t points_more, len;
	uint32_t crc_more;
	int version;
};

static void forge(struct pfs_dir *dir, const struct forgery *f)
{
	struct pfs_current_generation current = {.generation = 1};
	char text[PFS_CURRENT_LEN_MAX];
	struct pfs_manifest m;
	uint8_t *bytes;
	size_t len;

	assert_int_equal(read_generation(dir, &m), 1);
	m.generation = f->generation;
	m.points += f->points_more;
	assert_int_equal(pfs_manifest_encode(&m, &bytes, &len), 0);
	bytes[12] = (uint8_t)f->version;
	pfs_put_le32(bytes + 8, pfs_crc32c(0, bytes + 12, len - 12));
	write_file(dir, "generation-00000001", bytes, len);
	current.len = f->len ? f->len : len;
	current.crc = pfs_crc32c(0, bytes, len) + f->crc_more;
	write_file(dir, PFS_CURRENT_NAME, text, pfs_current_encode(text, &current));
	free(bytes);
	pfs_manifest_free(&m);
}

/* Proves: whatever keeps a collection from being opened, the reason says exactly that. */
static void refusals_say_why(void **state)
{
	static const char other[] = "generation-00000001 is damaged, or not the one that "
				    "`current` speaks of";
	static const struct {
		const char *file, *text; /* written anew; text NULL: removed */
		size_t pad;		 /* of text, to this length */
		struct unreadable unreadable;
		struct forgery forgery;
		int err;
		const char *says;
	} cases[] = {
		{.says = ""},
		{.forgery = {.generation = 1, .version = 1}, .says = ""},
		{"current", .err = -ENOENT, .says = "nothing is published there"},
		{"current", "x", .err = -EUCLEAN,
		 .says = "`current` is damaged, or something else"},
		{"current", "", .err = -EUCLEAN, .says = "`current` is damaged, or something else"},
		{"current", "payloadfs collection 1", 256, .err = -EUCLEAN,
		 .says = "`current` is damaged, or something else"},
		{"current", "payloadfs collection 1", 257, .err = -EFBIG, .says = "File too large"},
		{"current", "payloadfs collection 2\n", .err = -EPROTONOSUPPORT,
		 .says = "published by a newer version of this program"},
		{.unreadable = {"", PFS_SIM_OPEN, -EACCES},
		 .err = -EACCES,
		 .says = "can't be opened: Permission denied"},
		{.unreadable = {"current", PFS_SIM_OPEN, -EACCES},
		 .err = -EACCES,
		 .says = "Permission denied"},
		{.unreadable = {"current", PFS_SIM_READ, -EIO},
		 .err = -EIO,
		 .says = "Input/output error"},
		{"generation-00000001", .err = -EUCLEAN,
		 .says = "generation-00000001: No such file or directory"},
		{"generation-00000001", "x", .err = -EUCLEAN, .says = other},
		{.unreadable = {"generation-00000001", PFS_SIM_READ, -EIO},
		 .err = -EIO,
		 .says = "generation-00000001: Input/output error"},
		{.unreadable = {"generation-00000001", PFS_SIM_OPEN, -EACCES},
		 .err = -EACCES,
		 .says = "generation-00000001: Permission denied"},
		{.forgery = {.generation = 1, .version = 1, .crc_more = 1},
		 .err = -EUCLEAN,
		 .says = other},
		{.forgery = {.generation = 1, .version = 1, .len = 300},
		 .err = -EUCLEAN,
		 .says = other},
		{.forgery = {.generation = 1, .version = 1, .len = 100000},
		 .err = -EUCLEAN,
		 .says = other},
		{.forgery = {.generation = 1, .version = 1, .len = PFS_MANIFEST_LEN_MAX + 1},
		 .err = -EUCLEAN,
		 .says = "`current` is damaged"},
		{.forgery = {.generation = 2, .version = 1},
		 .err = -EUCLEAN,
		 .says = "manifest of generation 1: it is another one's"},
		{.forgery = {.generation = 1, .version = 1, .points_more = 1},
		 .err = -EUCLEAN,
		 .says = "manifest of generation 1: its table of keys makes no sense"},
		{.forgery = {.generation = 1, .version = 2},
		 .err = -EPROTONOSUPPORT,
		 .says = "manifest of generation 1: made by a newer version of this program"},
	};
	const struct source s = odd_source(3);

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct unreadable unreadable = cases[i].unreadable;
		struct pfs_published *p = (struct pfs_published *)&s;
		char says[256], text[300];
		struct pfs_reason reason;
		struct lines lines;
		struct pfs_dir *dir;
		int err;

		publish_ok(pfs_sim_io(sim), &s);
		dir = open_where(pfs_sim_io(sim));
		if (cases[i].text) {
			memset(text, '\n', sizeof(text));
			memcpy(text, cases[i].text, strlen(cases[i].text));
			write_file(dir, cases[i].file, text,
				   cases[i].pad ? cases[i].pad : strlen(cases[i].text));
		} else if (cases[i].file) {
			assert_int_equal(dir->ops->unlink(dir, cases[i].file), 0);
		}
		if (cases[i].forgery.generation)
			forge(dir, &cases[i].forgery);
		dir->ops->close_dir(dir);
		if (unreadable.name)
			pfs_sim_on_look(sim, fail_at, &unreadable);
		err = open_collection(sim, &p, &lines, &reason);
		pfs_sim_on_look(sim, NULL, NULL);
		snprintf(says, sizeof(says), *cases[i].says ? "published: %s" : "%s",
			 cases[i].says);
		if (err != cases[i].err || strcmp(reason.text, says) != 0)
			fail_msg("%zu: %d, %s", i, err, reason.text);
		assert_true(!p == !!err);
		assert_string_equal(lines.text, "");
		pfs_published_close(p);
		pfs_sim_free(sim);
	}
}

/* Proves: a directory is one of a collection when it has its pointer and is no store, also while
 * neither can be opened; a location that is a URL always is. */
static void collections_are_told_from_stores(void **state)
{
	static const struct {
		bool has_super, has_current;
		struct unreadable unreadable;
		bool is;
	} cases[] = {
		{false, false, {"", PFS_SIM_KINDS, 0}, false},
		{false, true, {"", PFS_SIM_KINDS, 0}, true},
		{true, false, {"", PFS_SIM_KINDS, 0}, false},
		{true, true, {"", PFS_SIM_KINDS, 0}, false},
		{false, true, {"current", PFS_SIM_OPEN, -EACCES}, true},
		{false, true, {"current", PFS_SIM_OPEN, -ELOOP}, false},
		{false, true, {"current", PFS_SIM_OPEN, -EUCLEAN}, false},
		{true, true, {"superblock", PFS_SIM_OPEN, -EACCES}, false},
		{true, true, {"superblock", PFS_SIM_OPEN, -EUCLEAN}, true},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct unreadable unreadable = cases[i].unreadable;
		struct pfs_dir *dir = open_where(pfs_sim_io(sim));

		if (cases[i].has_super)
			put_file(dir, PFS_SUPER_NAME);
		if (cases[i].has_current)
			put_file(dir, PFS_CURRENT_NAME);
		dir->ops->close_dir(dir);
		pfs_sim_on_look(sim, fail_at, &unreadable);
		assert_int_equal(pfs_published_is_here(WHERE, pfs_sim_io(sim)), cases[i].is);
		assert_false(pfs_published_is_here("elsewhere", pfs_sim_io(sim)));
		assert_true(pfs_published_is_here("http://host/", pfs_sim_io(sim)));
		pfs_sim_on_look(sim, NULL, NULL);
		pfs_sim_free(sim);
	}
	assert_false(pfs_published_is_here("/nowhere/at/all", NULL));
}

/* Proves: that the origin can't be asked is said once, with what is read meanwhile, and that it can
 * be again. */
static void refreshes_that_fail_are_told_once(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct source s = odd_source(3);
	struct unreadable unreadable = {"current", PFS_SIM_READ, -EIO};
	struct pfs_check_result checked;
	struct pfs_published *p;
	struct pfs_refreshed r;
	struct pfs_reason reason;
	struct lines lines;
	struct pfs_generation *g, *of;

	(void)state;
	publish_ok(pfs_sim_io(sim), &s);
	assert_int_equal(open_collection(sim, &p, &lines, &reason), 0);
	/* A check keeps nothing of it. */
	assert_int_equal(pfs_published_check(p, NULL, NULL, NULL, NULL, &checked), 0);
	assert_int_equal(checked.findings, 0);
	pfs_sim_on_look(sim, fail_at, &unreadable);
	for (unsigned i = 0; i < 3; i++) {
		memset(&r, 'x', sizeof(r));
		assert_int_equal(pfs_published_refresh(p, &r), -EIO);
		assert_true(!r.changed && r.generation == 1 && r.first == 0 && r.end == 0);
		assert_string_equal(lines.text, "1 published: Input/output error; generation 1 is "
						"kept\n");
	}
	pfs_sim_on_look(sim, NULL, NULL);
	lines.len = 0;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(pfs_published_refresh(p, &r), 0);
		assert_true(!r.changed && r.generation == 1);
		assert_string_equal(lines.text, "2 published: can be reached again\n");
	}
	/* Numbers go on behind those of the generation before. */
	for (unsigned i = 1; i <= 3; i++) {
		s.changed = 2;
		s.version = i;
		publish_ok(pfs_sim_io(sim), &s);
		assert_int_equal(pfs_published_refresh(p, &r), 0);
		assert_true(r.changed && r.generation == 1 + i);
		assert_int_equal(r.first, PFS_OBJECT_FIRST + 3 * (i - 1));
		assert_int_equal(r.end, PFS_OBJECT_FIRST + 3 * i);
		for (uint32_t object = 0; object < PFS_OBJECT_FIRST + 3 * (i + 1) + 2; object++) {
			of = pfs_published_of(p, object);
			assert_int_equal(!of, object < PFS_OBJECT_FIRST ||
						      object >= PFS_OBJECT_FIRST + 3 * (i + 1));
			if (!of)
				continue;
			assert_int_equal(of->m.generation, 1 + (object - PFS_OBJECT_FIRST) / 3);
			pfs_generation_put(p, of);
		}
	}
	/* Those that are forgotten go, but for the one before, and those that somebody has. */
	g = pfs_published_of(p, PFS_OBJECT_FIRST);
	for (uint32_t k = 1; k < 12; k++) {
		if (k % 3 == 0 && k <= 6)
			continue;
		pfs_published_forget(p, PFS_OBJECT_FIRST + k); /* nobody's first number, or not */
		assert_int_equal(pfs_published_refresh(p, &r), 0);
		of = pfs_published_of(p, PFS_OBJECT_FIRST + 3);
		assert_non_null(of);
		pfs_generation_put(p, of);
	}
	pfs_published_forget(p, PFS_OBJECT_FIRST);
	pfs_published_forget(p, PFS_OBJECT_FIRST + 3);
	pfs_published_forget(p, PFS_OBJECT_FIRST + 6);
	pfs_published_forget(p, PFS_OBJECT_FIRST + 9);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(pfs_published_refresh(p, &r), 0);
		for (uint32_t k = 0; k < 4; k++) {
			of = pfs_published_of(p, PFS_OBJECT_FIRST + 3 * k);
			assert_int_equal(!of, k == 1 || (k == 0 && i == 1));
			if (of)
				pfs_generation_put(p, of);
		}
		if (i == 0)
			pfs_generation_put(p, g);
	}
	of = pfs_published_current(p);
	assert_int_equal(of->m.generation, 4);
	pfs_generation_put(p, of);
	pfs_published_close(p);
	pfs_sim_free(sim);
}

/* ---- parts ---- */

/* Proves: a document is found by its key and by its rank as the same one, with the place that the
 * manifest has for it, in as many blocks as there may be; beyond the last, and of other names,
 * there is none. */
static void ranks_and_keys_are_of_one_order(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	const struct source s = {
		.count = 3000, .doc = odd_doc, .changed = NONE, .absent = NONE, .size = 20};
	struct pfs_published_doc doc, same;
	struct pfs_published *p;
	struct pfs_generation *g;
	struct pfs_reason reason;
	struct lines lines;
	struct pfs_key key, found;

	(void)state;
	publish_ok(pfs_sim_io(sim), &s);
	assert_int_equal(open_collection(sim, &p, &lines, &reason), 0);
	g = pfs_published_current(p);
	assert_true(g->m.block_count >= 4);
	for (uint32_t i = 0, block = 0; i < s.count; i++) {
		struct pfs_attr attr = {0}, got;
		char *data;
		size_t len;

		while (block + 1 < g->m.block_count && g->m.blocks[block + 1].rank <= i)
			block++;
		s.doc(&s, i, &key, &attr, &data, &len);
		free(data);
		memset(&doc, 0, sizeof(doc));
		memset(&same, 0, sizeof(same));
		assert_int_equal(pfs_published_find(p, g, &key, &doc), 0);
		assert_int_equal(pfs_published_at(p, g, i, &same), 0);
		assert_int_equal(doc.rank, i);
		assert_int_equal(same.rank, i);
		assert_true(doc.block == block && same.block == block);
		assert_int_equal(doc.slot, i - g->m.objects[g->m.blocks[block].page].first_rank);
		assert_int_equal(same.slot, doc.slot);
		assert_true(doc.kind == key.kind && same.kind == key.kind);
		assert_memory_equal(&doc.entry, &same.entry, sizeof(doc.entry));
		pfs_published_key(&doc, &found);
		assert_true(pfs_key_equal(&found, &key));
		pfs_published_attr(g, &doc, &got);
		expect_attr(&got, &attr, len);
		assert_int_equal(got.stored, doc.entry.len);
	}
	assert_int_equal(pfs_published_at(p, g, 3000, &doc), -ENOENT);
	assert_int_equal(pfs_published_at(p, g, UINT32_MAX, &doc), -ENOENT);
	assert_int_equal(pfs_published_list(p, g, 3000, &key, 1), 0);
	assert_int_equal(pfs_published_list(p, g, 2999, &key, 5), 1);
	assert_int_equal(pfs_key_parse(&key, "scratch", 7), 0);
	assert_int_equal(pfs_published_find(p, g, &key, &doc), -ENOENT);
	assert_string_equal(lines.text, "");
	pfs_generation_put(p, g);
	pfs_published_close(p);
	pfs_sim_free(sim);
}

/* Makes another generation the current one, and has it taken up. */
static int renew(struct pfs_sim *sim, struct pfs_published *p, struct source *s,
		 struct pfs_refreshed *r)
{
	s->changed = 2;
	s->version++;
	publish_ok(pfs_sim_io(sim), s);
	return pfs_published_refresh(p, r);
}

/* Proves: numbers of documents end at 32 bits and begin anew then; where no range is free, nothing
 * newer is taken up, and that is said. */
static void numbers_begin_anew(void **state)
{
	(void)state;
	for (uint32_t way = 0; way < 3; way++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct source s = odd_source(3);
		struct pfs_generation *first;
		struct pfs_published *p;
		struct pfs_refreshed r;
		struct pfs_reason reason;
		struct lines lines;

		publish_ok(pfs_sim_io(sim), &s);
		assert_int_equal(open_collection(sim, &p, &lines, &reason), 0);
		first = p->newest;
		assert_int_equal(first->base, PFS_OBJECT_FIRST);
		if (way < 2) /* then the next one's end is the last number, or one behind */
			first->base = UINT32_MAX - 6 + way;
		else
			first->m.points = UINT32_MAX - 4;
		assert_int_equal(renew(sim, p, &s, &r), way < 2 ? 0 : -EFBIG);
		if (way == 2) {
			assert_string_equal(lines.text, "1 published: too many documents; "
							"generation 1 is kept\n");
			assert_true(p->newest == first && !r.changed);
			first->m.points = 3;
		} else {
			assert_int_equal(p->newest->base, way ? PFS_OBJECT_FIRST : UINT32_MAX - 3);
			assert_true(r.changed && r.first == first->base &&
				    r.end == first->base + 3);
			/* What others have is left out. */
			first->base = PFS_OBJECT_FIRST + 2;
			p->newest->base = UINT32_MAX - 4;
			assert_int_equal(renew(sim, p, &s, &r), 0);
			assert_int_equal(p->newest->base, PFS_OBJECT_FIRST + 5);
			p->newest->base = UINT32_MAX - 4;
			first->base = PFS_OBJECT_FIRST + 3;
			assert_int_equal(renew(sim, p, &s, &r), 0);
			assert_int_equal(p->newest->base, PFS_OBJECT_FIRST);
		}
		pfs_published_close(p);
		pfs_sim_free(sim);
	}
}

/* Proves: without its dictionary, or with one of another number, what was packed with it is an
 * error, which is said, and the rest is read. */
static void dictionaries_are_needed(void **state)
{
	const struct source s = records(3100, 300);

	(void)state;
	if (!pfs_store_trainer()) {
		print_message(
			"NOT TESTED: this build has no libzstd, so it makes no dictionaries\n");
		return;
	}
	for (unsigned way = 0; way < 3; way++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct unreadable unreadable = {"", PFS_SIM_READ, -EACCES};
		struct pfs_published_doc doc;
		struct pfs_published *p;
		struct pfs_generation *g;
		struct pfs_reason reason;
		struct lines lines;
		char name[PFS_OBJECT_NAME_MAX], want[256] = "";
		struct pfs_manifest m;
		struct pfs_dir *dir;
		uint8_t buf[300];

		publish_ok(pfs_sim_io(sim), &s);
		dir = open_where(pfs_sim_io(sim));
		assert_int_equal(read_generation(dir, &m), 1);
		assert_int_equal(m.objects[0].role, PFS_OBJECT_DICT);
		pfs_object_name(name, PFS_OBJECT_DICT, m.objects[0].hash);
		unreadable.name = name;
		if (way == 1) {
			pfs_sim_on_look(sim, fail_at, &unreadable);
			snprintf(want, sizeof(want),
				 "0 published: generation 1: its dictionary can't be read: "
				 "Permission denied\n");
		}
		assert_int_equal(open_collection(sim, &p, &lines, &reason), 0);
		assert_non_null(strstr(lines.text, want));
		lines.len = 0;
		lines.text[0] = '\0';
		g = pfs_published_current(p);
		if (way == 2)
			g->m.objects[0].count++;
		assert_int_equal(pfs_published_at(p, g, 7, &doc), 0);
		assert_true(doc.entry.len < doc.entry.raw_len);
		assert_int_equal(pfs_published_read(p, g, &doc, 0, buf, sizeof(buf)),
				 way ? -EIO : 300);
		assert_int_equal(pfs_published_read(p, g, &doc, 5, buf, 20), way ? -EIO : 20);
		if (way == 2)
			assert_non_null(
				strstr(lines.text, "it needs a dictionary that is not there"));
		else
			assert_string_equal(lines.text, ""); /* it was said */
		pfs_generation_put(p, g);
		pfs_sim_on_look(sim, NULL, NULL);
		pfs_published_close(p);
		pfs_manifest_free(&m);
		dir->ops->close_dir(dir);
		pfs_sim_free(sim);
	}
}

/* Proves: with a cache, what was current last is opened while the origin can't be asked, which is
 * said; not where it says that there is nothing, not one of another place, and not in place of one
 * that is open. */
static void what_was_current_is_kept(void **state)
{
	static const struct {
		struct unreadable unreadable;
		int err;
		const char *says;
	} cases[] = {
		{{"current", PFS_SIM_READ, -EIO},
		 0,
		 "1 published: can't be reached (Input/output error): the generation that was "
		 "current last is read\n"},
		{{"current", PFS_SIM_OPEN, -ETIMEDOUT},
		 0,
		 "1 published: can't be reached (Connection timed out): the generation that was "
		 "current last is read\n"},
		{{"current", PFS_SIM_OPEN, -ENOENT}, -ENOENT, ""},
		{{"current", PFS_SIM_OPEN, -ENOTDIR}, -ENOTDIR, ""},
		{{"current", PFS_SIM_OPEN, -ENOMEM}, -ENOMEM, ""},
		/* What is kept of the manifest needs no asking. */
		{{"generation-00000001", PFS_SIM_OPEN, -EIO}, 0, ""},
	};
	char place[] = "/tmp/pfs-kept-XXXXXX", command[64];
	struct pfs_sim *sim = pfs_sim_new();
	const struct source s = odd_source(3);
	struct pfs_remote_options remote = {.cache_dir = place};
	struct lines lines = {.len = 0};
	const struct pfs_published_options options = {.io = pfs_sim_io(sim),
						      .remote = &remote,
						      .logger = {.fn = take_line, .arg = &lines}};
	struct pfs_publish_options publishing = publish_options();
	struct pfs_publish_result result;
	struct pfs_published *p;
	struct pfs_refreshed r;
	struct pfs_reason reason;
	struct pfs_dir *other;

	(void)state;
	assert_non_null(mkdtemp(place));
	publish_ok(pfs_sim_io(sim), &s);
	assert_int_equal(options.io->ops->open_dir(options.io, "other",
						   PFS_IO_WRITE | PFS_IO_CREATE, &other),
			 0);
	assert_int_equal(publish_to(other, &s, &publishing, 0, &result, NULL), 0);
	other->ops->close_dir(other);
	assert_int_equal(pfs_published_open(&p, WHERE, &options, &reason), 0);
	pfs_published_close(p);
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct unreadable unreadable = cases[i].unreadable;
		struct pfs_published_doc doc;
		struct pfs_generation *g;
		int err;

		lines.len = 0;
		lines.text[0] = '\0';
		pfs_sim_on_look(sim, fail_at, &unreadable);
		err = pfs_published_open(&p, WHERE, &options, &reason);
		assert_int_equal(err, cases[i].err);
		assert_string_equal(lines.text, cases[i].says);
		if (!err) {
			g = pfs_published_current(p);
			assert_int_equal(pfs_published_at(p, g, 2, &doc), 0);
			pfs_generation_put(p, g);
			assert_int_equal(pfs_published_refresh(p, &r),
					 i < 2 ? unreadable.error : 0);
			pfs_published_close(p);
		}
		if (i < 2) /* this one was never opened */
			assert_int_equal(pfs_published_open(&p, "other", &options, &reason),
					 unreadable.error);
		pfs_sim_on_look(sim, NULL, NULL);
	}
	pfs_sim_free(sim);
	snprintf(command, sizeof(command), "rm -rf %s", place);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_reads_like_the_store),
		cmocka_unit_test(it_lists_everything_once),
		cmocka_unit_test(nothing_changes_it),
		cmocka_unit_test(lines_are_known_from_the_keys),
		cmocka_unit_test(a_newer_generation_is_taken_up),
		cmocka_unit_test(a_failed_refresh_changes_nothing),
		cmocka_unit_test(a_collection_made_anew_is_taken_up),
		cmocka_unit_test(damage_is_an_error_and_found),
		cmocka_unit_test(what_is_missing_costs_its_own),
		cmocka_unit_test(what_does_not_belong_together_is_an_error),
		cmocka_unit_test(what_is_none_is_no_collection),
		cmocka_unit_test(refusals_say_why),
		cmocka_unit_test(collections_are_told_from_stores),
		cmocka_unit_test(refreshes_that_fail_are_told_once),
		cmocka_unit_test(ranks_and_keys_are_of_one_order),
		cmocka_unit_test(numbers_begin_anew),
		cmocka_unit_test(dictionaries_are_needed),
		cmocka_unit_test(what_was_current_is_kept),
	};

	if (!pfs_hash_version()) {
		print_message("NOT TESTED: this build has no libcrypto, so it publishes nothing\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
