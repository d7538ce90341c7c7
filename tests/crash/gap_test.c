/* Two power cuts in a row: what the first leaves between the slots and the containers of a page
 * must not be what the second shows as slots (FORMAT.md, O5). */
#include <pthread.h>
#include <unistd.h>

#include "tests/unit/store_helpers.h"

#define HANG_S 120
#define FIRST 3		/* documents that are in the page before */
#define LARGE_LEN 58000 /* nearly all of the gap */
#define SMALL 900	/* their slots reach over where the large document was */
#define PAGE "page-00000001"

/* Stops a checkpoint at its second sync of the page: containers are on the disk, slots and header
 * are written and are not. */
struct gate {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct pfs_sim *sim, *cut, *whole; /* images: nothing undecided is kept; all of it is */
	unsigned syncs;
	bool waits, reached, go; /* waits: for the other thread to let it go */
};

static int stop_at_slots(void *arg, const struct pfs_sim_step *step)
{
	struct gate *gate = arg;

	if (step->kind != PFS_SIM_SYNC || strcmp(step->name, PAGE) != 0 || ++gate->syncs != 2)
		return 0;
	gate->cut = pfs_sim_crash_index(gate->sim, 0);
	gate->whole = pfs_sim_kill(gate->sim);
	pthread_mutex_lock(&gate->lock);
	gate->reached = true;
	pthread_cond_broadcast(&gate->changed);
	while (gate->waits && !gate->go)
		pthread_cond_wait(&gate->changed, &gate->lock);
	pthread_mutex_unlock(&gate->lock);
	return 0;
}

static void *run_checkpoint(void *store)
{
	assert_int_equal(pfs_store_checkpoint(store), 0);
	return NULL;
}

/* A store whose page has the bytes of a large document below the floor that its header says; the
 * document itself is removed, and that is durable. */
static struct pfs_sim *first_cut(void)
{
	struct gate gate = {.lock = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP,
			    .sim = pfs_sim_new(),
			    .waits = true};
	struct pfs_key key, large = pfs_key_num(9);
	struct pfs_store *store;
	struct pfs_sim *image;
	pthread_t thread;

	pthread_cond_init(&gate.changed, NULL);
	create_store(gate.sim, PFS_PAGE_SIZE_MIN, 16);
	store = open_store(gate.sim);
	for (unsigned i = 0; i < FIRST; i++) {
		key = pfs_key_num(i);
		put_document(store, &key, 20, i);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	put_document(store, &large, LARGE_LEN, 1);
	pfs_sim_on_step(gate.sim, stop_at_slots, &gate);
	assert_int_equal(pthread_create(&thread, NULL, run_checkpoint, store), 0);
	pthread_mutex_lock(&gate.lock);
	while (!gate.reached)
		pthread_cond_wait(&gate.changed, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
	assert_int_equal(pfs_remove(store, &large, NULL), 0);
	assert_int_equal(pfs_sync(store), 0);
	image = pfs_sim_crash_index(gate.sim, 0);
	pthread_mutex_lock(&gate.lock);
	gate.go = true;
	pthread_cond_broadcast(&gate.changed);
	pthread_mutex_unlock(&gate.lock);
	assert_int_equal(pthread_join(thread, NULL), 0);
	pfs_sim_on_step(gate.sim, NULL, NULL);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(gate.cut);
	pfs_sim_free(gate.whole);
	pfs_sim_free(gate.sim);
	pthread_cond_destroy(&gate.changed);
	return image;
}

/* The second cut: of the page's first piece the first sector is on the disk, which has the header
 * that counts the new slots; those in the sectors behind it are as they were. */
static struct pfs_sim *second_cut(struct pfs_sim *sim, struct pfs_store *store)
{
	struct gate gate = {.lock = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP, .sim = sim};
	uint8_t sector[PFS_SIM_SECTOR];
	struct pfs_page_disk header;

	pfs_sim_on_step(sim, stop_at_slots, &gate);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	pfs_sim_on_step(sim, NULL, NULL);
	assert_true(gate.reached);
	read_at(gate.whole, PAGE, 0, sector, sizeof(sector));
	memcpy(&header, sector, sizeof(header));
	assert_int_equal(pfs_get_le32(header.slot_count.b), FIRST + SMALL);
	write_at(gate.cut, PAGE, 0, sector, sizeof(sector));
	pfs_sim_settle(gate.cut);
	pfs_sim_free(gate.whole);
	return gate.cut;
}

static void expect_document(struct pfs_store *store, uint64_t id, size_t len, uint64_t seed)
{
	struct pfs_key key = pfs_key_num(id);
	uint8_t bytes[64];
	size_t got_len;
	void *got;

	fill_document(bytes, len, seed);
	assert_int_equal(pfs_get(store, &key, &got, &got_len, NULL), 0);
	assert_int_equal(got_len, len);
	assert_memory_equal(got, bytes, len);
	free(got);
}

/* Proves: what a container that never came to a slot has left in the gap is cleared before slots
 * grow over it. A header that counts them, on the disk before they are, then shows unused slots,
 * and not bytes of a document, which would be damage, or another document. */
static void bytes_in_the_gap_do_not_become_slots(void **state)
{
	struct pfs_sim *sim = first_cut(), *image;
	struct pfs_key large = pfs_key_num(9);
	struct pfs_store *store;
	const uint64_t low = 8192; /* slots reach beyond it */
	uint8_t bytes[256], zeros[256] = {0};

	(void)state;
	read_at(sim, PAGE, low, bytes, sizeof(bytes));
	assert_memory_not_equal(bytes, zeros, sizeof(bytes)); /* the state is the one meant */
	expect_healthy(sim);
	store = open_store(sim);
	for (unsigned i = 0; i < SMALL; i++) {
		struct pfs_key key = pfs_key_num(100 + i);

		put_document(store, &key, 10, i);
	}
	image = second_cut(sim, store);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);

	expect_healthy(image);
	store = open_store(image);
	assert_int_equal(pfs_lookup(store, &large, NULL, NULL), -ENOENT);
	for (unsigned i = 0; i < FIRST; i++)
		expect_document(store, i, 20, i);
	for (unsigned i = 0; i < SMALL; i++)
		expect_document(store, 100 + i, 10, i);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(image);
	pfs_sim_free(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_in_the_gap_do_not_become_slots),
	};

	alarm(HANG_S);
	return cmocka_run_group_tests_name("gap", tests, NULL, NULL);
}
