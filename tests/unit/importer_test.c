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
#define PFS_NDJSON_RECORD_MAX PFS_MIB

#include "storage/store.h"

static int put_err;	   /* of the next put of several, for its second document; taken once */
static bool put_err_stays; /* not only once */

static size_t put_or_fail(struct pfs_store *store, struct pfs_put_item *items, size_t count,
			  int *err)
{
	int failing = put_err;
	size_t put;

	if (!failing || count < 2)
		return pfs_put_many(store, items, count, err);
	put = pfs_put_many(store, items, 1, err);
	*err = failing;
	if (!put_err_stays)
		put_err = 0;
	return put;
}

#include "fs/import_sample.c"
#define pfs_put_many put_or_fail
#include "fs/importer.c"
#include "fs/jobs.c"

struct fixture {
	char dir[64];
	struct pfs_store *store;
	struct pfs_jobs *jobs;
	struct pfs_import_totals totals;
	_Atomic bool stopping;
	struct pfs_import *import;
	uint64_t off; /* where the next piece belongs */
	bool held;    /* changed waits for let_go, once */
	sem_t is_held, let_go;
};

static void changed(void *arg, const struct pfs_serve_change *changes, size_t count)
{
	struct fixture *f = arg;

	for (size_t i = 0; i < count; i++)
		if (changes[i].replaced)
			pfs_release(f->store, changes[i].replaced);
	if (!f->held)
		return;
	f->held = false;
	sem_post(&f->is_held);
	sem_wait(&f->let_go);
}

static int setup(void **state)
{
	const struct pfs_create_options create = {.page_size = PFS_PAGE_SIZE_MIN, .dict_off = true};
	const struct pfs_open_options options = {.hold_objects = true};
	struct fixture *f = calloc(1, sizeof(*f));
	struct pfs_import_env env;
	struct pfs_reason reason;

	assert_non_null(f);
	strcpy(f->dir, "/tmp/payloadfs-importer.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(pfs_store_create(f->dir, &create, &reason), 0);
	assert_int_equal(pfs_store_open(&f->store, f->dir, &options, &reason), 0);
	assert_int_equal(pfs_jobs_new(&f->jobs, 2), 0);
	pthread_mutex_init(&f->totals.lock, NULL);
	sem_init(&f->is_held, 0, 0);
	sem_init(&f->let_go, 0, 0);
	env = (struct pfs_import_env){
		.store = f->store,
		.jobs = f->jobs,
		.logger = pfs_store_logger(f->store),
		.totals = &f->totals,
		.stopping = &f->stopping,
		.changed = changed,
		.arg = f,
	};
	assert_int_equal(pfs_import_new(&f->import, &env), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	pfs_jobs_free(f->jobs);
	pfs_import_free(f->import);
	assert_int_equal(pfs_store_close(f->store), 0);
	sem_destroy(&f->let_go);
	sem_destroy(&f->is_held);
	pthread_mutex_destroy(&f->totals.lock);
	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
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

static int write_at(struct fixture *f, uint64_t off, const void *data, size_t len)
{
	struct answered a;

	begin(f, &a, off, data, len);
	return end(&a);
}

/* Behind what was written last. */
static int append(struct fixture *f, const char *text)
{
	int err = write_at(f, f->off, text, strlen(text));

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
	err = write_at(f, f->off, data, len);
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
	assert_int_equal(write_at(f, 0, first, len), 0);
	assert_int_equal(write_at(f, 0, first, len), 0);
	assert_int_equal(write_at(f, 0, other, len), -EINVAL);
	assert_int_equal(write_at(f, 5, first + 5, len - 5), 0);
	/* Together with what is new. */
	assert_int_equal(write_at(f, len - 1, "\n{\"id\":2,\"payload\":2}\n", 22), 0);
	assert_true(is_there(f, 2, "2") && is_there(f, 9, NULL));
	assert_int_equal(f->totals.documents, 2);
	/* Over the end of the ring. */
	f->off = len + 21;
	assert_int_equal(write_at(f, f->off, spaces, KEPT - len - 21), 0);
	assert_int_equal(write_at(f, 0, first, len), 0);
	assert_int_equal(write_at(f, KEPT, spaces, 1), 0);
	assert_int_equal(write_at(f, 0, first, len), -EINVAL);
	assert_int_equal(write_at(f, 1, first + 1, len - 1), 0);
	assert_int_equal(write_at(f, 0, spaces, KEPT + 2), -EINVAL);
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
	};

	return cmocka_run_group_tests_name("importer", tests, NULL, NULL);
}
