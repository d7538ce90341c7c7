/* storage/store_compact.c: a page is taken away from under a reader. The file is included, to know
 * the moment at which it waits for readers. */
#include <pthread.h>
#include <unistd.h>

#include "storage/epoch.h"

static void wait_for_readers(void);

#define pfs_epoch_wait wait_for_readers
#include "storage/store_compact.c"
#undef pfs_epoch_wait

#include "tests/unit/store_helpers.h"

#define HANG_S 120
#define DOCUMENTS 60 /* in three pages */
#define RETIRED 2

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct pfs_store *store;
	struct pfs_page *page; /* that the reader looks at */
	enum { OUTSIDE, ASKED, INSIDE, LET_GO, LEFT } reader;
	bool armed, waited, removed, removed_under_reader, hidden;
} gate = {.lock = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP};

static void set_reader(int to)
{
	pthread_mutex_lock(&gate.lock);
	gate.reader = to;
	pthread_cond_broadcast(&gate.changed);
	pthread_mutex_unlock(&gate.lock);
}

static void wait_for_reader(int to)
{
	pthread_mutex_lock(&gate.lock);
	while ((int)gate.reader < to)
		pthread_cond_wait(&gate.changed, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
}

/* Compaction waits: the page must be out of the table by then, and the reader may go on. */
static void wait_for_readers(void)
{
	if (gate.armed && !gate.waited) {
		gate.waited = true;
		gate.hidden = !pfs_pager_find(gate.store->pager, gate.page->number);
		set_reader(LET_GO);
	}
	pfs_epoch_wait();
}

/* The reader comes when a page is counted out, which is after the last wait for something else; and
 * it must be gone when the file of the page is removed. */
static int on_step(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	if (!gate.armed && step->kind == PFS_SIM_WRITE && strcmp(step->name, PFS_SUPER_NAME) == 0) {
		gate.armed = true;
		set_reader(ASKED);
		wait_for_reader(INSIDE);
	}
	if (step->kind == PFS_SIM_UNLINK && gate.armed && !gate.removed) {
		gate.removed = true;
		pthread_mutex_lock(&gate.lock);
		gate.removed_under_reader = gate.reader != LEFT;
		pthread_mutex_unlock(&gate.lock);
		set_reader(LET_GO);
	}
	return 0;
}

static void *reader(void *arg)
{
	uint8_t before[512], after[512];

	(void)arg;
	wait_for_reader(ASKED);
	pfs_epoch_enter();
	gate.page = pfs_pager_find(gate.store->pager, RETIRED);
	assert_non_null(gate.page);
	assert_int_equal(pfs_page_copy(gate.page, before, 0, sizeof(before)), 0);
	set_reader(INSIDE);
	wait_for_reader(LET_GO);
	assert_int_equal(pfs_page_copy(gate.page, after, 0, sizeof(after)), 0);
	assert_memory_equal(before, after, sizeof(before));
	pfs_epoch_leave();
	set_reader(LEFT);
	return NULL;
}

/* Proves: a page is hidden, then everybody who may have found it is waited for, and only then it is
 * unmapped, freed and its file removed (PG5). */
static void a_page_outlives_its_readers(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	pthread_t thread;

	(void)state;
	create_store(sim, PFS_PAGE_SIZE_MIN, 16);
	store = gate.store = open_store(sim);
	for (unsigned i = 0; i < DOCUMENTS; i++)
		put_document(store, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = i}, 3000, 1);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	for (unsigned i = 0; i < DOCUMENTS * 3 / 4; i++) /* two pages; one is kept */
		assert_int_equal(
			pfs_remove(store, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = i}, NULL),
			0);
	assert_int_equal(pthread_create(&thread, NULL, reader, NULL), 0);
	pfs_sim_on_step(sim, on_step, NULL);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	pfs_sim_on_step(sim, NULL, NULL);
	assert_true(gate.removed);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_false(gate.removed_under_reader);
	assert_true(gate.waited && gate.hidden);
	assert_null(pfs_pager_find(store->pager, RETIRED));
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_page_outlives_its_readers),
	};

	int failed;

	alarm(HANG_S);
	pthread_cond_init(&gate.changed, NULL);
	failed = cmocka_run_group_tests_name("retire", tests, NULL, NULL);
	pthread_cond_destroy(&gate.changed);
	return failed;
}
