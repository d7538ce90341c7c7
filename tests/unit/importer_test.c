/* fs/importer.c: what is written to `import` arrives in pieces, in any order, again, cut anywhere.
 */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/ndjson.h"

/* A record that is too long need not be so very long. */
#undef PFS_NDJSON_RECORD_MAX
#define PFS_NDJSON_RECORD_MAX (2 * PFS_MIB)

#include "fs/importer.h"
#include "tests/unit/store_helpers.h"

/* Nor is waited for what is missing so very long, in tests of that. */
static unsigned gap_ms;
#undef PFS_IMPORT_GAP_MS
#define PFS_IMPORT_GAP_MS gap_ms

#define PUTS_MAX 64

static int put_err;	   /* of the next put of several, for its second document; taken once */
static bool put_err_stays; /* not only once */
static size_t put_lens[PUTS_MAX], put_count; /* documents of each put */

static size_t put_or_fail(struct pfs_store *store, struct pfs_put_item *items, size_t count,
			  int *err)
{
	int failing = put_err;
	size_t put;

	if (put_count < PUTS_MAX)
		put_lens[put_count++] = count;

	if (!failing || count < 2)
		return pfs_put_many(store, items, count, err);
	put = pfs_put_many(store, items, 1, err);
	*err = failing;
	if (!put_err_stays)
		put_err = 0;
	return put;
}

/* What the store says of dictionaries, and what it was given to train one from. */
static struct {
	struct pfs_store_stat stat;
	int stat_err;
	unsigned calls;
	size_t count, used, puts_before;
	uint64_t hash; /* of the samples and their lengths */
} trained;

static uint64_t mix_bytes(uint64_t hash, const void *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		hash = pfs_mix64(hash + ((const uint8_t *)data)[i]);
	return pfs_mix64(hash + len);
}

static int stat_as_told(struct pfs_store *store, struct pfs_store_stat *out)
{
	(void)store;
	*out = trained.stat;
	return trained.stat_err;
}

static int train_as_told(struct pfs_store *store, const void *data, const size_t *lens,
			 size_t count, struct pfs_train_result *result)
{
	(void)store;
	(void)result;
	trained.calls++;
	trained.puts_before = put_count;
	trained.count = count;
	trained.used = 0;
	trained.hash = 0;
	for (size_t i = 0; i < count; i++) {
		trained.hash =
			mix_bytes(trained.hash, (const uint8_t *)data + trained.used, lens[i]);
		trained.used += lens[i];
	}
	return -ENODATA;
}

/* What the reader says of itself besides what it has read. */
static struct {
	int open_err;
	unsigned calls, at; /* with this call, from 1, it fails */
	int err;
	_Atomic bool *stopping; /* or the mount ends */
} reading;

static int open_or_fail(struct pfs_ndjson **out, pfs_window_source_fn *fn, void *arg)
{
	return reading.open_err ? reading.open_err : pfs_ndjson_open_source(out, fn, arg);
}

static int next_or_fail(struct pfs_ndjson *reader, struct pfs_ndjson_doc *doc)
{
	bool now = ++reading.calls == reading.at;

	if (now && reading.stopping)
		*reading.stopping = true;
	return now && reading.err ? reading.err : pfs_ndjson_next(reader, doc);
}

/* Waits that end when they are told to. */
static struct {
	bool counted; /* at once: so many as if there was something, */
	unsigned woken, calls;
	sem_t *begun; /* or not before there is; posted when it begins */
} waits;

static int wait_as_told(pthread_cond_t *cond, pthread_mutex_t *lock, const struct timespec *until)
{
	if (waits.counted)
		return waits.calls++ < waits.woken ? 0 : ETIMEDOUT;
	if (!waits.begun)
		return pthread_cond_timedwait(cond, lock, until);
	sem_post(waits.begun);
	return pthread_cond_wait(cond, lock);
}

/* The last error when the lock of these is given back. */
static struct pfs_import_totals *watched_totals;
static char watched_error[sizeof(watched_totals->last_error)];

/* Of the thread that adds pieces: how often it had woken the others when it gave this lock back. */
static pthread_mutex_t *watched_lock;
static pthread_t adder;
static unsigned signals, signals_seen;

static void count_signal(void)
{
	signals += watched_lock && pthread_equal(pthread_self(), adder);
}

static int look_and_unlock(pthread_mutex_t *lock)
{
	if (watched_lock == lock && pthread_equal(pthread_self(), adder))
		signals_seen = signals;
	if (watched_totals && lock == &watched_totals->lock)
		memcpy(watched_error, watched_totals->last_error, sizeof(watched_error));
	return pthread_mutex_unlock(lock);
}

static bool no_threads; /* there are none to be had */

#include "fs/thread.h"
#include "tests/unit/fenced.h"

#define pfs_store_stat(store, out) stat_as_told(store, out)
#define pfs_train_from train_as_told
#include "fs/import_sample.c"
#undef pfs_train_from
#undef pfs_store_stat
#define pfs_put_many put_or_fail
#define pfs_ndjson_open_source(out, fn, arg) open_or_fail(out, fn, arg)
#define pfs_ndjson_next(reader, doc) next_or_fail(reader, doc)
#define pthread_cond_timedwait(cond, lock, until) wait_as_told(cond, lock, until)
#define pthread_mutex_unlock(lock) look_and_unlock(lock)
#define pthread_cond_signal(cond) (count_signal(), pthread_cond_signal(cond))
#include "fs/importer.c"
#undef pthread_cond_signal
#undef pthread_mutex_unlock
#undef pthread_cond_timedwait
#undef pfs_ndjson_next
#undef pfs_ndjson_open_source
#define pfs_thread_start(thread, fn, arg) (no_threads ? -EAGAIN : pfs_thread_start(thread, fn, arg))
#include "fs/jobs.c"
#undef pfs_thread_start
#undef free
#undef realloc
#undef calloc
#undef malloc

struct fixture {
	struct pfs_sim *sim;
	struct pfs_store *store;
	struct pfs_jobs *jobs;
	struct pfs_import_totals totals;
	_Atomic bool stopping;
	struct pfs_import *import;
	uint64_t off; /* where the next piece belongs */
	bool held;    /* changed waits for let_go, once */
	struct pfs_logger logger;
	char log[32][512]; /* the first lines */
	unsigned log_count;
	struct pfs_serve_change told[256]; /* the first changes */
	size_t told_count, told_max;	   /* told_max: in one call */
	sem_t is_held, let_go;
};

static void changed(void *arg, const struct pfs_serve_change *changes, size_t count)
{
	struct fixture *f = arg;

	f->told_max = pfs_max_u64(f->told_max, count);
	for (size_t i = 0; i < count; i++) {
		if (f->told_count < pfs_array_len(f->told))
			f->told[f->told_count++] = changes[i];
		if (changes[i].replaced)
			pfs_release(f->store, changes[i].replaced);
	}
	if (!f->held)
		return;
	f->held = false;
	sem_post(&f->is_held);
	sem_wait(&f->let_go);
}

static void keep_line(void *arg, enum pfs_log_level level, const char *line)
{
	struct fixture *f = arg;

	if (level == PFS_LOG_WARNING && f->log_count < pfs_array_len(f->log))
		snprintf(f->log[f->log_count++], sizeof(f->log[0]), "%s", line);
}

static struct pfs_import_env env_of(struct fixture *f)
{
	return (struct pfs_import_env){
		.store = f->store,
		.jobs = f->jobs,
		.logger = &f->logger,
		.totals = &f->totals,
		.stopping = &f->stopping,
		.changed = changed,
		.arg = f,
	};
}

/* A stream of its own, in place of the one that is there. */
static void begin_stream(struct fixture *f)
{
	const struct pfs_import_env env = env_of(f);

	pfs_import_free(f->import);
	assert_int_equal(pfs_import_new(&f->import, &env), 0);
	f->off = 0;
}

static int setup(void **state)
{
	struct pfs_open_options options = {.manual = true, .hold_objects = true, .logger = quiet};
	struct fixture *f = calloc(1, sizeof(*f));
	struct pfs_reason reason;

	assert_non_null(f);
	memset(&trained, 0, sizeof(trained));
	memset(&reading, 0, sizeof(reading));
	memset(&waits, 0, sizeof(waits));
	watched_totals = NULL;
	watched_lock = NULL;
	no_threads = false;
	put_count = 0;
	put_err = 0;
	gap_ms = 10000;
	f->sim = pfs_sim_new();
	create_store(f->sim, PFS_PAGE_SIZE_MIN, 16);
	options.io = pfs_sim_io(f->sim);
	assert_int_equal(pfs_store_open(&f->store, STORE, &options, &reason), 0);
	assert_int_equal(pfs_jobs_new(&f->jobs, 2), 0);
	pthread_mutex_init(&f->totals.lock, NULL);
	sem_init(&f->is_held, 0, 0);
	sem_init(&f->let_go, 0, 0);
	f->logger = (struct pfs_logger){.fn = keep_line, .arg = f};
	begin_stream(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pfs_jobs_free(f->jobs);
	pfs_import_free(f->import);
	assert_int_equal(fenced_blocks, 0);
	assert_int_equal(pfs_store_close(f->store), 0);
	sem_destroy(&f->let_go);
	sem_destroy(&f->is_held);
	pthread_mutex_destroy(&f->totals.lock);
	pfs_sim_free(f->sim);
	free(f);
	return 0;
}

/* ---- pieces ---- */

struct answered {
	sem_t done;
	int err;
};

static void on_answer(void *arg, int err)
{
	struct answered *a = arg;

	a->err = err;
	sem_post(&a->done);
}

static void begin(struct fixture *f, struct answered *a, uint64_t off, const void *data, size_t len)
{
	sem_init(&a->done, 0, 0);
	pfs_import_add(f->import, off, data, len, on_answer, a);
}

static int end(struct answered *a)
{
	sem_wait(&a->done);
	sem_destroy(&a->done);
	return a->err;
}

static int write_piece(struct fixture *f, uint64_t off, const void *data, size_t len)
{
	struct answered a;

	begin(f, &a, off, data, len);
	return end(&a);
}

/* Behind what was written last. */
static int append(struct fixture *f, const char *text)
{
	int err = write_piece(f, f->off, text, strlen(text));

	f->off += strlen(text);
	return err;
}

/* A piece of so many times the character. */
static int append_many(struct fixture *f, char c, size_t len)
{
	char *data = malloc(len);
	int err;

	assert_non_null(data);
	memset(data, c, len);
	err = write_piece(f, f->off, data, len);
	free(data);
	f->off += len;
	return err;
}

static bool is_there(struct fixture *f, uint64_t id, const char *payload)
{
	struct pfs_key key = pfs_key_num(id);
	void *data;
	size_t len;
	bool same;

	if (pfs_get(f->store, &key, &data, &len, NULL) != 0)
		return payload == NULL;
	same = payload && len == strlen(payload) && memcmp(data, payload, len) == 0;
	free(data);
	return same;
}

/* ---- tests ---- */

/* Proves: pieces that overtake each other are put in order, wherever they end. */
static void pieces_are_put_in_order(void **state)
{
	const char text[] = "{\"id\":1,\"payload\":1}\n{\"id\":2,\"payload\":2}\n{\"id\":3,\"payl"
			    "oad\":3}\n";
	struct fixture *f = *state;
	struct answered a[3];

	begin(f, &a[2], 40, text + 40, sizeof(text) - 1 - 40);
	begin(f, &a[1], 10, text + 10, 30);
	begin(f, &a[0], 0, text, 10);
	for (size_t i = 0; i < pfs_array_len(a); i++)
		assert_int_equal(end(&a[i]), 0);
	assert_true(is_there(f, 1, "1") && is_there(f, 2, "2") && is_there(f, 3, "3"));
	assert_int_equal(pfs_import_check(f->import), 0);
}

/* Proves: bytes that come again are passed over when they are the same, as far back as they are
 * kept; others are refused, and so are those that are not kept any more. */
static void what_comes_again_must_be_the_same(void **state)
{
	const char first[] = "{\"id\":1,\"payload\":1}\n", other[] = "{\"id\":9,\"payload\":1}\n";
	const size_t len = sizeof(first) - 1;
	struct fixture *f = *state;
	char *spaces = malloc(KEPT + 2);

	assert_non_null(spaces);
	memset(spaces, '\n', KEPT + 2);
	assert_int_equal(write_piece(f, 0, first, len), 0);
	assert_int_equal(write_piece(f, 0, first, len), 0);
	assert_int_equal(write_piece(f, 0, other, len), -EINVAL);
	assert_int_equal(write_piece(f, 5, first + 5, len - 5), 0);
	/* Together with what is new. */
	assert_int_equal(write_piece(f, len - 1, "\n{\"id\":2,\"payload\":2}\n", 22), 0);
	assert_true(is_there(f, 2, "2") && is_there(f, 9, NULL));
	assert_int_equal(f->totals.documents, 2);
	/* Over the end of the ring. */
	f->off = len + 21;
	assert_int_equal(write_piece(f, f->off, spaces, KEPT - len - 21), 0);
	assert_int_equal(write_piece(f, 0, first, len), 0);
	assert_int_equal(write_piece(f, KEPT, spaces, 1), 0);
	assert_int_equal(write_piece(f, 0, first, len), -EINVAL);
	assert_int_equal(write_piece(f, 1, first + 1, len - 1), 0);
	assert_int_equal(write_piece(f, 0, spaces, KEPT + 2), -EINVAL);
	free(spaces);
}

/* Proves: a line that is longer than a record may be is refused as a whole, with its number, though
 * its end alone would fit again; what stands before and behind it is imported, and counted right.
 */
static void a_line_that_is_too_long(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(append(f, "{\"id\":1,\"payload\":1}\n{\"id\":2,\"payload\":\""), 0);
	assert_int_equal(append_many(f, 'a', PFS_NDJSON_RECORD_MAX - 1000), 0);
	assert_int_equal(f->totals.refused, 0);
	assert_int_equal(append_many(f, 'b', 1000), -EFBIG);
	assert_int_equal(f->totals.refused, 1);
	assert_non_null(strstr(f->totals.last_error, "line 2: longer"));
	assert_int_equal(append_many(f, 'c', 1000), -EFBIG);
	assert_int_equal(append(f, "\"}\n{\"id\":3,\"payload\":3}\n{\"id\":4,\"pay"), -EFBIG);
	assert_int_equal(append(f, "load\":4}\n{\"id\":x}\n"), -EINVAL);
	assert_true(is_there(f, 1, "1") && is_there(f, 2, NULL));
	assert_true(is_there(f, 3, "3") && is_there(f, 4, "4"));
	assert_int_equal(f->totals.refused, 2);
	assert_non_null(strstr(f->totals.last_error, "line 5: "));
}

/* Proves: one that is just as long as it may be is not. */
static void a_line_that_is_not_too_long(void **state)
{
	const char head[] = "{\"id\":2,\"payload\":\"";
	struct fixture *f = *state;
	struct pfs_attr attr;
	struct pfs_key key = pfs_key_num(2);

	assert_int_equal(append(f, head), 0);
	assert_int_equal(append_many(f, 'a', PFS_NDJSON_RECORD_MAX - strlen(head) - 3), 0);
	assert_int_equal(append(f, "\"}\n"), 0);
	assert_int_equal(pfs_lookup(f->store, &key, NULL, &attr), 0);
	assert_int_equal(attr.size, PFS_NDJSON_RECORD_MAX - strlen(head) - 1);
}

/* Proves: that the end lies inside a record is an error once all pieces are answered, and none
 * while one is at work: more may come. */
static void the_end_is_looked_at_when_all_is_done(void **state)
{
	const char text[] = "{\"id\":1,\"payload\":1}\n{\"id\":2,";
	struct fixture *f = *state;
	struct answered a;

	f->held = true;
	begin(f, &a, 0, text, sizeof(text) - 1);
	sem_wait(&f->is_held);
	assert_int_equal(pfs_import_check(f->import), 0);
	sem_post(&f->let_go);
	assert_int_equal(end(&a), 0);
	assert_int_equal(pfs_import_check(f->import), -EINVAL);
	f->off = sizeof(text) - 1;
	assert_int_equal(append(f, "\"payload\":2}\n"), 0);
	assert_int_equal(pfs_import_check(f->import), 0);
}

/* Proves: when the mount ends, nobody waits for a piece that will not come, and nothing more is
 * put.
 */
static void nothing_is_waited_for_at_the_end(void **state)
{
	struct fixture *f = *state;
	struct answered a;

	begin(f, &a, 1000, "x", 1);
	f->stopping = true;
	assert_int_equal(end(&a), -EINVAL);
	assert_int_equal(append(f, "{\"id\":1,\"payload\":1}\n"), -ESHUTDOWN);
	assert_true(is_there(f, 1, NULL));
}

#define THREE                                                            \
	"{\"id\":1,\"payload\":1}\n{\"id\":2,\"payload\":2}\n{\"id\":3," \
	"\"payload\":3}\n"

/* Proves: a document that the store refuses for its own sake is named with its line, and the others
 * are imported; of what fails for all nothing is put behind it, and the error says why. */
static void what_the_store_refuses_is_named(void **state)
{
	static const struct {
		int err;
		const char *said;
	} all[] = {
		{-ENOSPC, "no space left on the filesystem of the store"},
		{-EROFS, "the store is read-only"},
		{-EIO, "Input/output error"},
	};
	struct fixture *f = *state;
	struct pfs_key key;

	put_err = -EFBIG;
	assert_int_equal(append(f, THREE), -EFBIG);
	assert_true(is_there(f, 1, "1") && is_there(f, 2, NULL) && is_there(f, 3, "3"));
	assert_int_equal(f->totals.documents, 2);
	assert_int_equal(f->totals.refused, 1);
	assert_string_equal(f->totals.last_error, "line 2: larger than 1 GiB");
	for (size_t i = 0; i < pfs_array_len(all); i++) {
		key = pfs_key_num(3);
		pfs_remove(f->store, &key, NULL);
		put_err = all[i].err;
		assert_int_equal(append(f, THREE), all[i].err);
		assert_true(is_there(f, 1, "1") && is_there(f, 2, NULL) && is_there(f, 3, NULL));
		assert_non_null(strstr(f->totals.last_error, all[i].said));
	}
	assert_int_equal(append(f, THREE), 0);
	assert_true(is_there(f, 2, "2") && is_there(f, 3, "3"));
}

/* Proves: a last line without newline is imported when it is complete, also with white space behind
 * it; one that is not waits for the rest. */
static void a_last_line_needs_no_newline(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(append(f, "{\"id\":1,\"payload\":1} \t\r"), 0);
	assert_true(is_there(f, 1, "1"));
	assert_int_equal(append(f, "\n{\"id\":2,\"payload\":{\"a\":{}}"), 0);
	assert_true(is_there(f, 2, NULL));
	assert_int_equal(pfs_import_check(f->import), -EINVAL);
	assert_int_equal(append(f, "}"), 0);
	assert_true(is_there(f, 2, "{\"a\":{}}"));
	assert_int_equal(pfs_import_check(f->import), 0);
}

/* Proves: wherever a stream is cut into three pieces, which may begin with the end of the one
 * before them again: its documents are imported, each once, what is wrong is refused once, with its
 * line; after each piece it is known whether the stream may end there. */
static void every_cut_gives_the_same(void **state)
{
	/* Each part is complete at its end; also before its last `open` bytes. */
	static const struct {
		const char *text;
		size_t open;
	} parts[] = {
		{"{\"id\":1,\"payload\":{\"a\":1}}\r\n", 2},
		{"\n", 0},
		{"{\"id\":2,\"payload\":\n [2]}\n", 0},
		{"{\"id\":x}\n", 0},
		{"{\"result\":{\"points\":[{\"id\":3,\"payload\":{}},\n", 0},
		{"{\"id\":4,\"payload\":{\"b\":0}}]}}\n", 0},
		{"{\"id\":5,\"payload\":5}  ", 2},
	};
	static const char *const payloads[] = {"{\"a\":1}", "[2]", "{}", "{\"b\":0}", "5"};
	struct fixture *f = *state;
	bool complete[256] = {[0] = true};
	char text[256];
	size_t len = 0;
	uint64_t random = 1;

	for (size_t i = 0; i < pfs_array_len(parts); i++) {
		len += strlen(strcpy(text + len, parts[i].text));
		for (size_t k = 0; k <= parts[i].open; k++)
			complete[len - k] = i != 4; /* a body of a scroll, in two lines */
	}
	for (size_t round = 0; round < 3 * len; round++) {
		size_t cuts[4] = {0, round % len, len, len}, again = 0, wrong = 0;
		uint64_t documents = f->totals.documents, bytes = f->totals.bytes;

		begin_stream(f);
		random = pfs_mix64(random);
		if (round >= len)
			cuts[2] = cuts[1] + random % (len - cuts[1] + 1);
		f->totals.refused = 0;
		for (size_t i = 0; i < 3; i++) {
			int err = write_piece(f, cuts[i] - again, text + cuts[i] - again,
					      cuts[i + 1] - cuts[i] + again);

			assert_true(err == 0 || err == -EINVAL);
			wrong += err != 0;
			assert_int_equal(pfs_import_check(f->import),
					 complete[cuts[i + 1]] ? 0 : -EINVAL);
			again = round < 2 * len ? 0 : pfs_min_u64(cuts[i + 1], random % 50);
		}
		assert_int_equal(wrong, 1);
		assert_int_equal(f->totals.refused, 1);
		assert_memory_equal(f->totals.last_error, "line 5: ", 8);
		assert_int_equal(f->totals.documents - documents, 5);
		assert_int_equal(f->totals.bytes - bytes, 7 + 3 + 2 + 7 + 1);
		for (uint64_t id = 1; id <= 5; id++) {
			struct pfs_key key = pfs_key_num(id);
			uint32_t object;

			assert_true(is_there(f, id, payloads[id - 1]));
			assert_int_equal(pfs_remove(f->store, &key, &object), 0);
			pfs_release(f->store, object);
		}
	}
}

/* Bytes of which nothing comes, and which are not alike anywhere. */
static char *blanks(size_t len)
{
	char *text = malloc(len);

	assert_non_null(text);
	for (size_t i = 0; i < len; i++)
		text[i] = " \t\r\n"[pfs_mix64(i) % 4];
	text[len - 1] = '\n';
	return text;
}

/* Proves: whatever length the pieces have, of what was written last so much as is kept can come
 * again, at any place, and not a byte before it; any other byte in it is refused, and the log says
 * which piece. */
static void exactly_what_is_kept_may_come_again(void **state)
{
	static const size_t lens[] = {1, 1000, KEPT - 1, KEPT, KEPT + 1, 2 * KEPT + 77};
	const size_t most = 4 * KEPT;
	struct fixture *f = *state;
	char *text = blanks(2 * most), want[512];
	uint64_t random = 1;

	for (size_t i = 0; i < pfs_array_len(lens); i++) {
		size_t end = 0;

		begin_stream(f);
		for (unsigned piece = 0; piece < 4 && end + lens[i] <= most; piece++) {
			assert_int_equal(write_piece(f, end, text + end, lens[i]), 0);
			end += lens[i];
		}
		for (unsigned k = 0; k < 12; k++) {
			size_t kept = pfs_min_u64(end, KEPT), len;
			size_t off = k < 4 ? end - kept : end - 1 - random % kept;
			char *at = text + off + (k % 2 ? 0 : random % (end - off)), was;

			random = pfs_mix64(random);
			/* Also with what is new. */
			len = end - off + (k % 3 == 2 ? random % 100 : 0);
			if (k % 4 == 3)
				len = 1 + random % len;
			assert_int_equal(write_piece(f, off, text + off, len), 0);
			end = pfs_max_u64(end, off + len);
			if (end - off > KEPT)
				continue;
			len = pfs_min_u64(end - off, (size_t)(at - text - off) + 1 + random % 9);
			was = *at;
			*at = 'x';
			f->log_count = 0;
			assert_int_equal(write_piece(f, off, text + off, len), -EINVAL);
			*at = was;
			assert_int_equal(f->log_count, 1);
			snprintf(want, sizeof(want),
				 ".payloadfs/import: bytes %zu to %zu were written once more, with "
				 "others: what comes with or behind them is not imported; write it "
				 "as one stream",
				 off, off + len);
			assert_string_equal(f->log[0], want);
		}
		if (end > KEPT)
			assert_int_equal(write_piece(f, end - KEPT - 1, text + end - KEPT - 1, 1),
					 -EINVAL);
	}
	assert_int_equal(f->totals.refused, 0);
	free(text);
}

/* Proves: a piece before which others are missing is refused when none comes for some time, and the
 * log says what is missing; while others come it is waited for them. */
static void what_is_missing_is_waited_for(void **state)
{
	const char *text = "{\"id\":1,\"payload\":1}\n";
	const size_t len = strlen(text);
	struct fixture *f = *state;
	struct answered late, more;
	int64_t begun;

	gap_ms = 2 * WAIT_STEP_MS;
	begun = pfs_now_monotonic();
	begin(f, &late, 20, text + 20, len - 20);
	begin(f, &more, 10, text + 10, 10);
	assert_int_equal(end(&more), -EINVAL);
	assert_true(pfs_now_monotonic() - begun >= (int64_t)gap_ms * 1000000);
	assert_int_equal(end(&late), -EINVAL);
	assert_int_equal(f->log_count, 2);
	for (unsigned i = 0; i < 2; i++) {
		char want[128];

		snprintf(want, sizeof(want),
			 ".payloadfs/import: bytes 0 to %d were not written: ", i ? 20 : 10);
		assert_memory_equal(f->log[i], want, strlen(want));
	}
	assert_int_equal(f->totals.refused, 0);
	/* The stream can go on where it was. */
	gap_ms = 10000;
	begin(f, &late, 20, text + 20, len - 20);
	assert_int_equal(write_piece(f, 0, text, 20), 0);
	assert_int_equal(end(&late), 0);
	assert_true(is_there(f, 1, "1"));
}

/* Proves: pieces that come while others are imported are taken in their order, and answered in it;
 * of two at the same place the first one first. */
static void pieces_wait_their_turn(void **state)
{
	const char text[] = "{\"id\":1,\"payload\":1}\n{\"id\":2,\"payload\":2}\n{\"id\":3,\"payl"
			    "oad\":3}\n";
	const size_t line = (sizeof(text) - 1) / 3;
	struct fixture *f = *state;
	struct answered a[5];

	f->held = true;
	begin(f, &a[0], 0, text, line);
	sem_wait(&f->is_held);
	begin(f, &a[3], 2 * line, text + 2 * line, line);
	begin(f, &a[1], line, text + line, line);
	begin(f, &a[4], 2 * line, "xxxx", 4);
	begin(f, &a[2], line, text + line, 5);
	sem_post(&f->let_go);
	for (size_t i = 0; i < pfs_array_len(a); i++)
		assert_int_equal(end(&a[i]), i == 4 ? -EINVAL : 0);
	assert_int_equal(f->told_count, 3);
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(f->told[i].key.num, i + 1);
	assert_true(is_there(f, 1, "1") && is_there(f, 2, "2") && is_there(f, 3, "3"));
}

/* Proves: the first refused lines of a stream are logged one by one, with what to do; the rest is
 * counted; the next stream begins anew. */
static void refused_lines_are_logged(void **state)
{
	struct fixture *f = *state;

	for (unsigned stream = 0; stream < 2; stream++) {
		int64_t before = pfs_realtime_ns();

		begin_stream(f);
		f->log_count = 0;
		for (unsigned i = 0; i < LOGGED_MAX + 5; i++)
			assert_int_equal(append(f, "{\"id\":1}\n"), -EINVAL);
		assert_int_equal(f->totals.refused, (stream + 1) * (LOGGED_MAX + 5));
		assert_true(f->totals.changed_ns >= before);
		assert_int_equal(f->log_count, LOGGED_MAX);
		for (unsigned i = 0; i < LOGGED_MAX; i++) {
			char head[64], *tail;

			snprintf(head, sizeof(head), ".payloadfs/import: line %u: ", i + 1);
			assert_memory_equal(f->log[i], head, strlen(head));
			tail = strstr(f->log[i],
				      ": not imported; mend the line and write it again");
			assert_non_null(tail);
			assert_string_equal(tail, i + 1 == LOGGED_MAX
							  ? ": not imported; mend the line and "
							    "write it again (more are only counted)"
							  : ": not imported; mend the line and "
							    "write it again");
		}
	}
}

/* A line of a document whose payload is a string of so many bytes, quotes included. */
static size_t add_line(char *text, uint64_t id, size_t len)
{
	int n = sprintf(text, "{\"id\":%llu,\"payload\":\"", (unsigned long long)id);

	memset(text + n, 'p', len - 2);
	memcpy(text + n + len - 2, "\"}\n", 3);
	return (size_t)n + len + 1;
}

/* Proves: documents are put together, so many at once, or so many bytes; each is told, with what it
 * has replaced, and all of one stream have one time. */
static void documents_are_put_together(void **state)
{
	struct fixture *f = *state;
	char *text = malloc(4 * PFS_MIB);
	struct pfs_attr attr[2];
	size_t len = 0, bytes = 0;
	int64_t before = pfs_now_ns();

	assert_non_null(text);
	begin_stream(f); /* of a time of its own */
	for (uint64_t id = 0; id < 2 * ITEMS + 3; id++)
		len += add_line(text + len, id, 10);
	assert_int_equal(write_piece(f, 0, text, len), 0);
	assert_int_equal(put_count, 3);
	assert_true(put_lens[0] == ITEMS && put_lens[1] == ITEMS && put_lens[2] == 3);
	assert_int_equal(f->told_max, ITEMS);
	assert_int_equal(f->told_count, 2 * ITEMS + 3);
	for (uint64_t id = 0; id < f->told_count; id++) {
		assert_true(pfs_key_equal(&f->told[id].key,
					  &(struct pfs_key){.kind = PFS_KEY_NUM, .num = id}));
		assert_int_equal(f->told[id].replaced, 0);
	}
	assert_int_equal(f->totals.documents, 2 * ITEMS + 3);
	assert_int_equal(f->totals.bytes, 10 * (2 * ITEMS + 3));
	f->off = len;
	put_count = f->told_count = 0;
	bytes = f->totals.bytes;
	/* One byte below, the whole of, and one above what is put at once. */
	for (unsigned i = 0; i < 3; i++) {
		size_t large = ITEMS_BYTES - 100 - 1 + i;

		len = add_line(text, 1, 100);
		len += add_line(text + len, 2, large);
		len += add_line(text + len, 3, 100);
		assert_int_equal(write_piece(f, f->off, text, len), 0);
		f->off += len;
		bytes += large + 200;
	}
	assert_int_equal(f->totals.bytes, bytes);
	assert_int_equal(put_count, 5);
	assert_true(put_lens[0] == 3 && put_lens[1] == 2 && put_lens[2] == 1 && put_lens[3] == 2 &&
		    put_lens[4] == 1);
	assert_int_equal(f->told_count, 9);
	for (unsigned i = 0; i < 9; i++)
		assert_true(f->told[i].replaced >= PFS_OBJECT_FIRST);
	for (uint64_t i = 0; i < 2; i++) {
		struct pfs_key key = pfs_key_num(i);

		assert_int_equal(pfs_lookup(f->store, &key, NULL, &attr[i]), 0);
	}
	assert_int_equal(attr[0].mtime_ns, attr[1].mtime_ns);
	assert_true(attr[0].mtime_ns >= before && attr[0].mtime_ns <= pfs_realtime_ns());
	free(text);
}

/* Proves: the first error of a piece is its answer; behind one that stops all, lines are still
 * looked at. */
static void the_first_error_is_the_answer(void **state)
{
	struct fixture *f = *state;

	put_err = -EFBIG;
	assert_int_equal(append(f, "{}\n" THREE), -EINVAL);
	assert_string_equal(f->totals.last_error, "line 3: larger than 1 GiB");
	put_err = -EFBIG;
	assert_int_equal(append(f, THREE "{}\n"), -EINVAL);
	assert_int_equal(f->totals.refused, 4);
	assert_int_equal(f->totals.documents, 4);
	put_err = -EROFS;
	assert_int_equal(append(f, THREE), -EROFS);
	assert_string_equal(f->totals.last_error, "line 10: the store is read-only");
	assert_int_equal(f->totals.refused, 5);
	f->stopping = true;
	assert_int_equal(append(f, "{}\n" THREE), -EINVAL);
	assert_int_equal(append(f, THREE "{}\n"), -ESHUTDOWN);
	assert_int_equal(f->totals.refused, 7);
	assert_int_equal(f->totals.documents, 5);
}

/* Proves: what stops all while many are put stops the piece there; what comes behind it is looked
 * at, and not put. */
static void nothing_is_put_behind_what_stops_all(void **state)
{
	struct fixture *f = *state;
	char *text = malloc(PFS_MIB);
	size_t len = 0;

	assert_non_null(text);
	for (uint64_t id = 0; id < 3 * ITEMS; id++)
		len += add_line(text + len, id, 10);
	memcpy(text + len, "{}\n", 3);
	put_err = -ENOSPC;
	assert_int_equal(write_piece(f, 0, text, len + 3), -ENOSPC);
	assert_int_equal(put_count, 1);
	assert_int_equal(f->totals.documents, 1);
	assert_int_equal(f->totals.refused, 2);
	assert_int_equal(f->log_count, 2);
	assert_memory_equal(f->log[0], ".payloadfs/import: line 2: no space left", 40);
	assert_memory_equal(f->log[1], ".payloadfs/import: line 193: ", 29);
	/* What is the document's own fault does not. */
	begin_stream(f);
	put_count = 0;
	put_err = -EFBIG;
	assert_int_equal(write_piece(f, 0, text, len), -EFBIG);
	assert_int_equal(f->totals.documents, 3 * ITEMS);
	assert_int_equal(put_count, 4);
	assert_true(is_there(f, 0, "\"pppppppp\"") && is_there(f, 1, NULL));
	assert_true(is_there(f, 3 * ITEMS - 1, "\"pppppppp\""));
	free(text);
}

/* Proves: what the stream ends with is refused when it is no record, and logged with its line. */
static void an_end_inside_a_line_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(append(f, "{\"id\":1,\"payload\":1}\n{\"id\":2,"), 0);
	assert_int_equal(pfs_import_check(f->import), -EINVAL);
	assert_int_equal(f->log_count, 1);
	assert_string_equal(f->log[0], ".payloadfs/import: line 2: what was written so far ends "
				       "inside it: it is not imported yet");
	begin_stream(f);
	assert_int_equal(f->log_count, 2);
	assert_memory_equal(f->log[1], ".payloadfs/import: line 2: ", 27);
	assert_int_equal(f->totals.refused, 1);
	assert_int_equal(f->totals.documents, 1);
}

/* Proves: a store that has no dictionary is offered the first documents for one, as soon as they
 * are enough, once, before they are put; one that has one, wants none, is only read, or can't make
 * one, is not. */
static void a_dictionary_is_offered_the_first_documents(void **state)
{
	const size_t count = PFS_TRAIN_POINTS_MIN + 10, size = PFS_TRAIN_RAW_MIN / count + 20;
	struct fixture *f = *state;
	char *text = malloc(count * (size + 64));
	char *payload = malloc(size);
	uint64_t hash = 0;
	size_t len = 0;

	assert_non_null(text);
	assert_non_null(payload);
	memset(payload, 'p', size);
	payload[0] = payload[size - 1] = '"';
	for (size_t i = 0; i < count; i++) {
		len += add_line(text + len, i, size);
		hash = mix_bytes(hash, payload, size);
	}
	for (unsigned i = 0; i < 6; i++) {
		trained.stat = (struct pfs_store_stat){.dictionary_trainer = i != 1,
						       .dictionary = i == 2,
						       .dictionary_off = i == 3,
						       .read_only = i == 4};
		trained.stat_err = i == 5 ? -EIO : 0;
		trained.calls = 0;
		put_count = 0;
		begin_stream(f);
		assert_int_equal(append_many(f, '\n', 1), 0);
		assert_int_equal(write_piece(f, 1, text, len), 0);
		assert_int_equal(trained.calls, i == 0);
		assert_int_equal(put_count, (count + ITEMS - 1) / ITEMS);
		if (i > 0)
			continue;
		assert_int_equal(trained.count, count);
		assert_int_equal(trained.used, count * size);
		assert_true(trained.hash == hash);
		assert_int_equal(trained.puts_before, 0);
		/* Not again, also not of as many. */
		f->off = 1 + len;
		assert_int_equal(write_piece(f, f->off, text, len), 0);
		assert_int_equal(trained.calls, 1);
	}
	free(payload);
	free(text);
}

/* Proves: too few documents, or too small ones, are no sample; they are kept for one while they
 * come together. */
static void a_dictionary_needs_enough(void **state)
{
	struct fixture *f = *state;
	char *text = malloc(PFS_MIB);
	size_t len = 0;

	assert_non_null(text);
	trained.stat.dictionary_trainer = true;
	begin_stream(f);
	/* Many, but small. */
	for (uint64_t id = 0; id < PFS_TRAIN_POINTS_MIN; id++)
		len += add_line(text + len, id, PFS_TRAIN_RAW_MIN / PFS_TRAIN_POINTS_MIN);
	assert_int_equal(write_piece(f, 0, text, len), 0);
	assert_int_equal(trained.calls, 0);
	/* Enough together. */
	f->off = len;
	len = add_line(text, 1, PFS_TRAIN_RAW_MIN % PFS_TRAIN_POINTS_MIN);
	assert_int_equal(write_piece(f, f->off, text, len), 0);
	assert_int_equal(trained.calls, 1);
	assert_int_equal(trained.count, PFS_TRAIN_POINTS_MIN + 1);
	assert_int_equal(trained.used, PFS_TRAIN_RAW_MIN);
	/* Large, but few. */
	begin_stream(f);
	len = 0;
	for (uint64_t id = 0; id + 1 < PFS_TRAIN_POINTS_MIN; id++)
		len += add_line(text + len, id, PFS_TRAIN_RAW_MIN / PFS_TRAIN_POINTS_MIN + 2);
	assert_int_equal(write_piece(f, 0, text, len), 0);
	assert_int_equal(trained.calls, 1);
	f->off = len;
	f->stopping = true;
	len = add_line(text, 1, 1000);
	assert_int_equal(write_piece(f, f->off, text, len), -ESHUTDOWN);
	assert_int_equal(trained.calls, 1);
	f->stopping = false;
	f->off += len;
	assert_int_equal(write_piece(f, f->off, text, len), 0);
	assert_int_equal(trained.calls, 2);
	free(text);
}

/* Proves: whatever there is no memory for, a stream is not there, or has no sample. */
static void a_stream_needs_memory(void **state)
{
	struct fixture *f = *state;
	const struct pfs_import_env env = env_of(f);
	const unsigned blocks = fenced_blocks;
	struct pfs_import *import;

	trained.stat.dictionary_trainer = true;
	for (unsigned n = 0; n <= 6; n++) {
		bool sample = n == 1 || n == 2; /* these two are of the sample */

		fenced_refuse(n);
		import = f->import;
		assert_int_equal(pfs_import_new(&import, &env), n < 6 && !sample ? -ENOMEM : 0);
		fenced_refuses = false;
		if (import) {
			assert_int_equal(import->sample.wanted, n == 6);
			assert_int_equal(import->sample.bytes || import->sample.lens, n == 6);
			pfs_import_free(import);
		}
		assert_int_equal(fenced_blocks, blocks);
	}
	reading.open_err = -EIO;
	assert_int_equal(pfs_import_new(&import, &env), -EIO);
	assert_null(import);
	pfs_import_free(NULL);
}

/* Proves: a piece for which there is no memory or no thread is answered, with that; it may be
 * written once more. */
static void a_piece_needs_memory(void **state)
{
	const char *text = "{\"id\":1,\"payload\":\"1\"}\n";
	struct fixture *f = *state;
	int err = -ENOMEM;

	no_threads = true;
	assert_int_equal(write_piece(f, 0, text, strlen(text)), -EAGAIN);
	no_threads = false;
	assert_null(f->import->pieces);
	for (unsigned n = 0; err; n++) {
		assert_in_range(n, 0, 10);
		/* Of its own: what was taken once is passed over when it comes again. */
		begin_stream(f);
		fenced_refuse(n);
		err = write_piece(f, 0, text, strlen(text));
		assert_int_equal(err, fenced_refuses ? 0 : -ENOMEM);
		assert_true(is_there(f, 1, err ? NULL : "\"1\""));
		fenced_refuses = false;
		if (n < 3)
			assert_int_equal(f->import->next_off, 0);
	}
	assert_int_equal(f->totals.documents, 1);
}

/* Proves: what the reader fails with is the answer, unless a line was refused before. */
static void a_reader_that_fails_is_answered(void **state)
{
	struct fixture *f = *state;

	reading.at = 2;
	reading.err = -ENOMEM;
	assert_int_equal(append(f, "{\"id\":1,\"payload\":1}\n"), -ENOMEM);
	assert_true(is_there(f, 1, "1"));
	reading.calls = 0;
	reading.at = 3;
	assert_int_equal(append(f, "{}\n{\"id\":2,\"payload\":2}\n"), -EINVAL);
	assert_true(is_there(f, 2, "2"));
}

/* Proves: how long it is waited for a piece is told by waits in which none came; who waits is told
 * of one. */
static void waits_are_counted(void **state)
{
	const char *text = "{\"id\":1,\"payload\":1}\n";
	struct fixture *f = *state;
	struct answered late;
	sem_t begun;

	waits.counted = true;
	waits.woken = 5;
	gap_ms = 2 * WAIT_STEP_MS;
	assert_int_equal(write_piece(f, 20, text + 20, strlen(text) - 20), -EINVAL);
	assert_int_equal(waits.calls, 5 + 2);
	waits.counted = false;
	waits.begun = &begun;
	sem_init(&begun, 0, 0);
	begin(f, &late, 20, text + 20, strlen(text) - 20);
	sem_wait(&begun);
	assert_int_equal(write_piece(f, 0, text, 20), 0);
	assert_int_equal(end(&late), 0);
	assert_true(is_there(f, 1, "1"));
	sem_destroy(&begun);
}

/* Proves: the number of refused lines and the last of them are changed together. */
static void totals_are_changed_together(void **state)
{
	struct fixture *f = *state;

	watched_totals = &f->totals;
	assert_int_equal(append(f, "{\"id\":x}\n"), -EINVAL);
	assert_memory_equal(watched_error, "line 1: ", 8);
	assert_string_equal(watched_error, f->totals.last_error);
	assert_int_equal(append(f, "\n{\"id\":x}\n"), -EINVAL);
	assert_memory_equal(watched_error, "line 3: ", 8);
}

/* Proves: who adds a piece has woken the others when he gives the lock back: with their answer the
 * stream may be gone. */
static void nothing_is_touched_behind_the_lock(void **state)
{
	struct fixture *f = *state;

	adder = pthread_self();
	signals = signals_seen = 0;
	watched_lock = &f->import->lock;
	for (unsigned n = 1; n <= 3; n++) {
		assert_int_equal(append(f, "\n"), 0);
		assert_int_equal(signals_seen, n);
	}
	watched_lock = NULL;
}

/* Proves: within a body of a scroll a line waits for its newline, though it may look complete. */
static void lines_of_a_body_need_a_newline(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(append(f, "{\"result\":{\"points\":[\n"), 0);
	assert_int_equal(append(f, "{\"id\":4,\"payload\":4}"), 0);
	assert_true(is_there(f, 4, NULL));
	assert_int_equal(pfs_import_check(f->import), -EINVAL);
	assert_int_equal(append(f, "]}}\n"), 0);
	assert_true(is_there(f, 4, "4"));
	assert_int_equal(pfs_import_check(f->import), 0);
}

/* Proves: documents are taken into a sample in their order, as long as there is room for bytes and
 * for lengths, to the last of each; into none when it is not wanted. */
static void a_sample_has_its_bounds(void **state)
{
	struct fixture *f = *state;
	struct pfs_import_sample sample;
	uint8_t *bytes = malloc(PFS_TRAIN_FROM_BYTES);

	assert_non_null(bytes);
	for (size_t i = 0; i < PFS_TRAIN_FROM_BYTES; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 256);
	pfs_import_sample_begin(&sample, f->store);
	assert_false(sample.wanted);
	pfs_import_sample_add(&sample, bytes, 1);
	assert_int_equal(sample.count + sample.used, 0);
	trained.stat.dictionary_trainer = true;
	pfs_import_sample_begin(&sample, f->store);
	assert_true(sample.wanted);
	pfs_import_sample_add(&sample, bytes, PFS_TRAIN_FROM_BYTES - 10);
	pfs_import_sample_add(&sample, bytes, 11);
	assert_int_equal(sample.count, 1);
	pfs_import_sample_add(&sample, bytes + PFS_TRAIN_FROM_BYTES - 10, 10);
	pfs_import_sample_add(&sample, bytes, 1);
	assert_int_equal(sample.count, 2);
	assert_int_equal(sample.used, PFS_TRAIN_FROM_BYTES);
	assert_int_equal(sample.lens[0], PFS_TRAIN_FROM_BYTES - 10);
	assert_int_equal(sample.lens[1], 10);
	assert_memory_equal(sample.bytes, bytes, PFS_TRAIN_FROM_BYTES);
	pfs_import_sample_end(&sample);
	assert_null(sample.bytes);
	assert_null(sample.lens);
	pfs_import_sample_begin(&sample, f->store);
	for (unsigned i = 0; i < PFS_TRAIN_FROM_COUNT + 1; i++)
		pfs_import_sample_add(&sample, bytes + i, 1);
	assert_int_equal(sample.count, PFS_TRAIN_FROM_COUNT);
	assert_int_equal(sample.used, PFS_TRAIN_FROM_COUNT);
	assert_memory_equal(sample.bytes, bytes, PFS_TRAIN_FROM_COUNT);
	pfs_import_sample_end(&sample);
	free(bytes);
}

/* Proves: a sample is enough with the last document and the last byte that it needs, and not
 * without; then it is not wanted any more. */
static void a_sample_is_just_enough(void **state)
{
	static const struct {
		size_t count, used;
		bool enough;
	} cases[] = {
		{PFS_TRAIN_POINTS_MIN, PFS_TRAIN_RAW_MIN, true},
		{PFS_TRAIN_POINTS_MIN - 1, PFS_TRAIN_RAW_MIN, false},
		{PFS_TRAIN_POINTS_MIN, PFS_TRAIN_RAW_MIN - 1, false},
	};
	struct fixture *f = *state;
	uint8_t *bytes = calloc(1, PFS_TRAIN_RAW_MIN);
	struct pfs_import_sample sample;

	assert_non_null(bytes);
	trained.stat.dictionary_trainer = true;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		pfs_import_sample_begin(&sample, f->store);
		for (size_t k = 1; k < cases[i].count; k++)
			pfs_import_sample_add(&sample, bytes, 1);
		pfs_import_sample_add(&sample, bytes, cases[i].used - sample.used);
		assert_int_equal(sample.count, cases[i].count);
		trained.calls = 0;
		pfs_import_sample_train(&sample, f->store);
		assert_int_equal(trained.calls, cases[i].enough);
		assert_int_equal(sample.wanted, !cases[i].enough);
		pfs_import_sample_train(&sample, f->store);
		assert_int_equal(trained.calls, cases[i].enough);
		pfs_import_sample_end(&sample);
	}
	free(bytes);
}

/* Proves: when the mount ends while documents are gathered, no dictionary is made of them. */
static void the_end_makes_no_dictionary(void **state)
{
	const size_t count = PFS_TRAIN_POINTS_MIN + 10, size = PFS_TRAIN_RAW_MIN / count + 20;
	struct fixture *f = *state;
	char *text = malloc(count * (size + 64));
	size_t len = 0;

	assert_non_null(text);
	for (size_t i = 0; i < count; i++)
		len += add_line(text + len, i, size);
	trained.stat.dictionary_trainer = true;
	begin_stream(f);
	reading.calls = 0;
	reading.at = (unsigned)count + 1;
	reading.stopping = &f->stopping;
	assert_int_equal(write_piece(f, 0, text, len), 0);
	assert_true(f->stopping);
	assert_int_equal(trained.calls, 0);
	assert_int_equal(f->totals.documents, count);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pieces_are_put_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(what_comes_again_must_be_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(a_line_that_is_too_long, setup, teardown),
		cmocka_unit_test_setup_teardown(a_line_that_is_not_too_long, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_is_looked_at_when_all_is_done, setup,
						teardown),
		cmocka_unit_test_setup_teardown(nothing_is_waited_for_at_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(what_the_store_refuses_is_named, setup, teardown),
		cmocka_unit_test_setup_teardown(a_last_line_needs_no_newline, setup, teardown),
		cmocka_unit_test_setup_teardown(every_cut_gives_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(exactly_what_is_kept_may_come_again, setup,
						teardown),
		cmocka_unit_test_setup_teardown(what_is_missing_is_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(pieces_wait_their_turn, setup, teardown),
		cmocka_unit_test_setup_teardown(refused_lines_are_logged, setup, teardown),
		cmocka_unit_test_setup_teardown(documents_are_put_together, setup, teardown),
		cmocka_unit_test_setup_teardown(the_first_error_is_the_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_put_behind_what_stops_all, setup,
						teardown),
		cmocka_unit_test_setup_teardown(an_end_inside_a_line_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(a_dictionary_is_offered_the_first_documents, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_dictionary_needs_enough, setup, teardown),
		cmocka_unit_test_setup_teardown(a_stream_needs_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(a_piece_needs_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(a_reader_that_fails_is_answered, setup, teardown),
		cmocka_unit_test_setup_teardown(waits_are_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(totals_are_changed_together, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_touched_behind_the_lock, setup,
						teardown),
		cmocka_unit_test_setup_teardown(lines_of_a_body_need_a_newline, setup, teardown),
		cmocka_unit_test_setup_teardown(a_sample_has_its_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(a_sample_is_just_enough, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_makes_no_dictionary, setup, teardown),
	};

	return cmocka_run_group_tests_name("importer", tests, NULL, NULL);
}
