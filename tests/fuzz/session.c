#include "tests/fuzz/session.h"

#include "storage/store.h"
#include "storage/super.h"
#include "tests/fuzz/large.h"

#define PATH "store"
#define VIEW_MAX 512
#define READ_MAX (512 * PFS_KIB) /* longer documents are read in part */
#define LISTED 64

/* What a reader sees of a document. */
struct seen {
	struct pfs_key key;
	struct pfs_attr attr;
	int err;
	uint64_t hash;
};

struct view {
	struct seen at[VIEW_MAX];
	size_t count;
	bool cut; /* there are more */
	uint64_t unreadable;
};

struct run {
	const struct store_session *session;
	struct pfs_logger logger;
	bool healthy; /* it was closed, and the check has found no damage */
	struct pfs_store *store;
	struct view *before, *after;
	const uint8_t *ops;
	size_t ops_left;
};

static void clear_view(struct view *view)
{
	view->count = view->unreadable = 0;
	view->cut = false;
}

/* What was seen last is what the next look is compared with. */
static void swap_views(struct run *run)
{
	struct view *seen = run->after;

	run->after = run->before;
	run->before = seen;
}

static uint64_t hash_of(const uint8_t *bytes, size_t len)
{
	uint64_t hash = len + 1;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
	return pfs_mix64(hash);
}

/* ---- check ---- */

struct findings {
	struct pfs_logger logger;
	uint64_t count, fatal, done, total;
};

static void take_finding(void *arg, const struct pfs_finding *finding)
{
	struct findings *f = arg;
	char key[PFS_NAME_MAX + 1];

	FUZZ_CHECK(memchr(finding->where, 0, sizeof(finding->where)) && finding->where[0]);
	FUZZ_CHECK(memchr(finding->text, 0, sizeof(finding->text)) && finding->text[0]);
	if (finding->key.kind != PFS_KEY_NONE)
		pfs_key_format(key, &finding->key);
	else
		key[0] = '\0';
	f->count++;
	/* What a saved index says of free space is believed until the page is changed. */
	f->fatal += finding->fatal && !strstr(finding->text, "free space drifted");
	pfs_logf(&f->logger, finding->fatal ? PFS_LOG_ERROR : PFS_LOG_INFO,
		 "check: %s at %llu [%s]: %s", finding->where, (unsigned long long)finding->offset,
		 key, finding->text);
}

static void take_progress(void *arg, uint64_t done, uint64_t total)
{
	struct findings *f = arg;

	FUZZ_CHECK(done >= f->done && done <= total);
	f->done = done;
	f->total = total;
}

/* True: the store was checked, and there is no damage. */
static bool check_store(struct run *run)
{
	struct findings f = {.logger = run->logger};
	struct pfs_check_result result;
	struct pfs_reason reason;
	int err;

	mem_io_fail(1, -EROFS, true); /* nothing may be written */
	err = pfs_check(PATH, &mem_io, &run->logger, take_finding, take_progress, &f, &result,
			&reason);
	mem_io_fail(0, 0, false);
	FUZZ_CHECK(err <= 0 && (err == 0) == (reason.text[0] == '\0'));
	if (err)
		return false;
	FUZZ_CHECK(f.count == result.findings && f.done == f.total);
	FUZZ_CHECK(f.fatal || !result.damaged);
	return f.fatal == 0;
}

static bool was_closed(void)
{
	struct pfs_logger logger = fuzz_logger();
	struct pfs_super super;
	struct pfs_dir *dir;
	int err;

	FUZZ_CHECK(mem_io.ops->open_dir(&mem_io, PATH, 0, &dir) == 0);
	err = pfs_super_read(dir, &super, &logger);
	dir->ops->close_dir(dir);
	return !err && super.open_epoch == super.clean_epoch;
}

/* ---- reading ---- */

/* Some ranges, against the whole. */
static void read_parts(struct pfs_store *store, uint32_t object, const uint8_t *whole, size_t size)
{
	static const uint32_t parts[][2] = {{0, 1}, {3, 100}, {65535, 2}, {65536, 70000}};
	static uint8_t part[70000];

	for (size_t i = 0; i < pfs_array_len(parts); i++) {
		uint64_t off = parts[i][0], want = parts[i][1];
		ssize_t n = pfs_read(store, object, off, part, want);
		uint64_t there = off < size ? pfs_min_u64(want, size - off) : 0;

		FUZZ_CHECK(n < 0 || (uint64_t)n == there);
		FUZZ_CHECK(!whole || (n >= 0 && memcmp(part, whole + off, there) == 0));
	}
}

static void see(struct pfs_store *store, uint32_t object, struct seen *seen)
{
	uint8_t *bytes;
	size_t want;
	ssize_t n;

	seen->err = pfs_getattr(store, object, &seen->attr);
	if (seen->err)
		return;
	FUZZ_CHECK(seen->attr.size <= PFS_PAYLOAD_MAX && (seen->attr.mode & ~07777u) == 0);
	want = pfs_min_u64(seen->attr.size, READ_MAX);
	bytes = malloc(want + 1);
	FUZZ_CHECK(bytes != NULL);
	n = pfs_read(store, object, 0, bytes, want);
	FUZZ_CHECK(n < 0 || (size_t)n == want);
	seen->err = n < 0 ? (int)n : 0;
	seen->hash = n < 0 ? 0 : hash_of(bytes, want);
	if (want == seen->attr.size)
		read_parts(store, object, n < 0 ? NULL : bytes, want);
	free(bytes);
}

static int by_key(const void *a, const void *b)
{
	return pfs_key_compare(&((const struct seen *)a)->key, &((const struct seen *)b)->key);
}

/* Everything that is listed. */
static void look(struct run *run, struct view *view)
{
	static struct pfs_listed listed[LISTED];
	struct pfs_store *store = run->store;
	uint64_t after = 0;
	ssize_t n;

	clear_view(view);
	while (!view->cut && (n = pfs_list(store, after, listed, LISTED)) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			struct seen *seen = &view->at[view->count];
			uint32_t object;
			int err;

			FUZZ_CHECK(listed[i].cookie > after);
			after = listed[i].cookie;
			if (view->count == VIEW_MAX) {
				view->cut = true;
				break;
			}
			*seen = (struct seen){.key = listed[i].key};
			see(store, listed[i].object, seen);
			err = pfs_lookup(store, &seen->key, &object, NULL);
			FUZZ_CHECK(err == 0 || err == -EIO);
			FUZZ_CHECK(!run->healthy || (!err && object == listed[i].object));
			view->unreadable += seen->err != 0;
			view->count++;
		}
	}
	qsort(view->at, view->count, sizeof(view->at[0]), by_key);
	FUZZ_CHECK(!run->healthy || view->unreadable == 0);
}

static void expect_same(const struct view *a, const struct view *b)
{
	if (a->cut || b->cut)
		return;
	FUZZ_CHECK(a->count == b->count);
	for (size_t i = 0; i < a->count; i++) {
		const struct seen *x = &a->at[i], *y = &b->at[i];

		FUZZ_CHECK(pfs_key_equal(&x->key, &y->key));
		FUZZ_CHECK(x->err == y->err && x->hash == y->hash);
		FUZZ_CHECK(x->attr.size == y->attr.size && x->attr.mode == y->attr.mode &&
			   x->attr.uid == y->attr.uid && x->attr.gid == y->attr.gid &&
			   x->attr.mtime_ns == y->attr.mtime_ns);
	}
}

/* ---- changing ---- */

static uint8_t next_op(struct run *run)
{
	if (run->ops_left == 0)
		return 0;
	run->ops_left--;
	return *run->ops++;
}

/* One of the documents that were there, or a name that may be new. */
static struct pfs_key pick_key(struct run *run)
{
	static const char *const fresh[] = {"7", "c0ffee00-0000-4000-8000-000000000001", "tmp.x",
					    "18446744073709551615"};
	unsigned n = next_op(run);
	struct pfs_key key;

	if (n % 2 == 0 && run->before->count)
		return run->before->at[n / 2 % run->before->count].key;
	n = n / 2 % pfs_array_len(fresh);
	FUZZ_CHECK(pfs_key_parse(&key, fresh[n], strlen(fresh[n])) == 0);
	return key;
}

static void fill(uint8_t *bytes, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = seed % 4 == 0   ? (uint8_t)seed
			   : seed % 4 == 1 ? (uint8_t)pfs_mix64(seed * 65537 + i / 8)
			   : seed % 4 == 2 ? (uint8_t) "{\"city\":\"Bonn\"}"[(i + seed) % 15]
					   : 0;
}

static void expect_content(struct pfs_store *store, const struct pfs_key *key, const uint8_t *bytes,
			   size_t len)
{
	void *data;
	size_t got;

	FUZZ_CHECK(pfs_get(store, key, &data, &got, NULL) == 0);
	FUZZ_CHECK(got == len && memcmp(data, bytes, len) == 0);
	free(data);
}

static void op_put(struct run *run, bool large)
{
	static uint8_t bytes[PFS_MIB / 4];
	struct pfs_attr attr = {.mode = 0600, .mtime_ns = 5};
	struct pfs_key key = pick_key(run);
	unsigned n = next_op(run), seed = next_op(run);
	size_t len = large ? 65537 + n * 700u : n * 8u;

	fill(bytes, len, seed);
	if (pfs_put(run->store, &key, bytes, len, seed & 128 ? NULL : &attr, 0, NULL) == 0)
		expect_content(run->store, &key, bytes, len);
}

static void op_remove(struct run *run)
{
	struct pfs_key key = pick_key(run);
	int err = pfs_remove(run->store, &key, NULL);

	/* In a damaged store the name may be there twice. */
	if (err == 0 && run->healthy)
		FUZZ_CHECK(pfs_lookup(run->store, &key, NULL, NULL) == -ENOENT);
}

static void op_rename(struct run *run, unsigned flags)
{
	struct pfs_key from = pick_key(run), to = pick_key(run);
	struct seen was = {0}, now = {0};
	uint32_t object;
	int err = pfs_lookup(run->store, &from, &object, NULL);

	if (!err)
		see(run->store, object, &was);
	err = pfs_rename(run->store, &from, &to, flags, NULL);
	if (err || pfs_lookup(run->store, &to, &object, NULL) != 0)
		return;
	see(run->store, object, &now);
	FUZZ_CHECK(!run->healthy || (now.err == 0 && now.hash == was.hash));
}

static void op_patch(struct run *run, bool zero)
{
	static uint8_t bytes[2048];
	struct pfs_key key = pick_key(run);
	uint64_t off = (uint64_t)next_op(run) << (next_op(run) % 12);
	size_t len = 1 + next_op(run) * 8u;
	struct pfs_attr attr;
	uint8_t back[2048];
	uint32_t object;
	int err = pfs_lookup(run->store, &key, &object, &attr);

	/* Larger ones take too long. */
	if (err || attr.size > READ_MAX)
		return;
	fill(bytes, len, (unsigned)len);
	err = zero ? pfs_zero(run->store, object, off, len, 6)
		   : pfs_write(run->store, object, off, bytes, len, 6);
	if (err || zero)
		return;
	FUZZ_CHECK(pfs_read(run->store, object, off, back, len) == (ssize_t)len);
	FUZZ_CHECK(memcmp(back, bytes, len) == 0);
}

static void op_setattr(struct run *run)
{
	struct pfs_key key = pick_key(run);
	unsigned mask = next_op(run) & 31;
	struct pfs_attr attr = {
		.size = next_op(run) * 300u, .mode = 0640, .uid = 3, .gid = 4, .mtime_ns = -1};
	struct pfs_attr now, out;
	uint32_t object;

	if (pfs_lookup(run->store, &key, &object, &now) != 0 || now.size > READ_MAX)
		return;
	if (pfs_setattr(run->store, object, mask, &attr, &out) != 0)
		return;
	FUZZ_CHECK(!(mask & PFS_ATTR_SIZE) || out.size == attr.size);
	FUZZ_CHECK(!(mask & PFS_ATTR_MODE) || out.mode == attr.mode);
}

static void op_create(struct run *run)
{
	struct pfs_attr attr = {.mode = 0644, .mtime_ns = 9};
	struct pfs_key key = pick_key(run);
	uint32_t object;

	if (pfs_create(run->store, &key, &attr, &object) == 0)
		FUZZ_CHECK(object >= PFS_OBJECT_FIRST);
}

static void look_around(struct run *run)
{
	struct findings f = {.logger = run->logger};
	struct pfs_check_result result = {0};
	struct pfs_store_stat stat;
	struct pfs_place place;

	(void)pfs_store_stat(run->store, &stat);
	for (size_t i = 0; i < run->before->count && i < 4; i++)
		(void)pfs_place(run->store, &run->before->at[i].key, &place);
	(void)pfs_store_check(run->store, take_finding, take_progress, &f, NULL, &result);
	FUZZ_CHECK(!run->healthy || f.fatal == 0);
}

static void do_ops(struct run *run)
{
	while (run->ops_left) {
		unsigned op = next_op(run);

		switch (op % 14) {
		case 0:
		case 1: op_put(run, false); break;
		case 2: op_put(run, true); break;
		case 3: op_remove(run); break;
		case 4: op_rename(run, 0); break;
		case 5: op_rename(run, PFS_RENAME_EXCHANGE); break;
		case 6:
		case 7: op_patch(run, false); break;
		case 8: op_patch(run, true); break;
		case 9: op_setattr(run); break;
		case 10: (void)pfs_store_checkpoint(run->store); break;
		case 11: (void)pfs_store_tick(run->store); break;
		case 12: (void)pfs_sync(run->store); break;
		default: op_create(run); break;
		}
	}
}

/* ---- sessions ---- */

static int open_store(struct run *run, bool read_only)
{
	static const struct pfs_defaults defaults = {0644, 1, 2};
	struct pfs_open_options options = {.read_only = read_only,
					   .manual = true,
					   .defaults = &defaults,
					   .io = &mem_io,
					   .logger = run->logger};
	struct pfs_reason reason;
	int err = pfs_store_open(&run->store, PATH, &options, &reason);

	FUZZ_CHECK(err <= 0 && (err == 0) == (run->store != NULL));
	FUZZ_CHECK((err == 0) == (reason.text[0] == '\0'));
	if (err)
		pfs_logf(&run->logger, PFS_LOG_INFO, "opening: %d %s", err, reason.text);
	return err;
}

static bool read_only_session(struct run *run, struct view *view)
{
	int err;

	mem_io_fail(1, -EROFS, true);
	err = open_store(run, true);
	FUZZ_CHECK(!run->healthy || err == 0);
	if (!err) {
		look(run, view);
		look_around(run);
		FUZZ_CHECK(pfs_store_close(run->store) == 0);
	}
	mem_io_fail(0, 0, false);
	return !err;
}

static bool repair(struct run *run)
{
	struct findings f = {.logger = run->logger};
	struct pfs_repair_result result;
	struct pfs_reason reason;
	int err = pfs_repair(PATH, &mem_io, &run->logger, take_finding, NULL, &f, &result, &reason);

	FUZZ_CHECK(err <= 0 && (err == 0) == (reason.text[0] == '\0'));
	pfs_logf(&run->logger, PFS_LOG_INFO, "repair: %d, %llu faults, %llu documents %s", err,
		 (unsigned long long)result.faults, (unsigned long long)result.documents,
		 reason.text);
	if (err)
		return false;
	FUZZ_CHECK(!run->healthy || result.lost == 0);
	FUZZ_CHECK(check_store(run));
	return true;
}

/* True: the store was opened, worked with and closed, and nothing failed. */
static bool write_session(struct run *run, bool have_before)
{
	const struct store_session *s = run->session;
	bool failing = s->fail_nth != 0;
	int err;

	mem_io_fail(s->fail_nth, s->flags & SESSION_FAIL_EIO ? -EIO : -ENOSPC,
		    !(s->flags & SESSION_FAIL_ONCE));
	err = open_store(run, false);
	/* It may have features for which this program can only read it. */
	FUZZ_CHECK(!run->healthy || failing || err == 0 || err == -EPROTONOSUPPORT);
	if (err) {
		mem_io_fail(0, 0, false);
		return false;
	}
	look(run, run->after);
	if (have_before && run->healthy)
		expect_same(run->before, run->after);
	swap_views(run);
	do_ops(run);
	look(run, run->after);
	look_around(run);
	err = pfs_store_close(run->store);
	mem_io_fail(0, 0, false);
	FUZZ_CHECK(!run->healthy || failing || err == 0);
	return err == 0;
}

static bool run_all(const struct store_session *session)
{
	static struct view views[2]; /* too large for a stack */
	struct run run;
	bool have_before = false, closed = false;
	size_t large = large_open_count();

	run = (struct run){.session = session,
			   .before = &views[0],
			   .after = &views[1],
			   .logger = fuzz_logger(),
			   .ops = session->ops.bytes,
			   .ops_left = session->ops.len};
	clear_view(run.before);
	clear_view(run.after);
	if (!(session->flags & SESSION_NO_CHECK))
		run.healthy = check_store(&run) && was_closed();
	if (!(session->flags & SESSION_NO_READ_ONLY))
		have_before = read_only_session(&run, run.before);
	if ((session->flags & SESSION_REPAIR) && repair(&run)) {
		run.healthy = true;
		have_before = read_only_session(&run, run.before);
	}
	if (!(session->flags & SESSION_NO_WRITE))
		closed = write_session(&run, have_before);
	if (run.healthy && !(session->flags & SESSION_NO_WRITE)) {
		swap_views(&run);
		FUZZ_CHECK(check_store(&run));
		FUZZ_CHECK(read_only_session(&run, run.after));
		if (closed)
			expect_same(run.before, run.after);
	}
	FUZZ_CHECK(mem_io_open_count() == 0 && large_open_count() == large);
	return run.healthy;
}

void session_run(const struct store_session *session)
{
	(void)run_all(session);
}

void session_expect_healthy(const struct store_session *session)
{
	FUZZ_CHECK(run_all(session));
}
