/* storage/store_check.c: the check of an open store, part by part: what is counted in a page, and
 * what is said. The file is included, with others that only answer what they are told to. */
#include <pthread.h>
#include <stdlib.h>

#include "storage/store_internal.h"

static void *memory_or_none(size_t len);
static ssize_t read_or_answer(struct pfs_store *store, uint32_t object, uint64_t off, void *buf,
			      size_t len);
static ssize_t list_or_fail(struct pfs_store *store, uint64_t after, struct pfs_listed *out,
			    size_t max);
static int given_slot(const struct pfs_page *page, uint32_t number, struct pfs_slot *slot);
static int given_count(const struct pfs_page *page, uint64_t *used, uint32_t *free_slots);
static void space_and_more(const struct pfs_page *page, struct pfs_page_space *space);
static uint64_t pinned_or_given(const struct pfs_store *store, uint32_t page);
static void note_lock(const pthread_mutex_t *mutex);

#define malloc(len) memory_or_none(len)
#define pfs_read read_or_answer
#define pfs_list(...) list_or_fail(__VA_ARGS__)
#define pfs_page_read_slot given_slot
#define pfs_page_recount given_count
#define pfs_page_space(page, space) space_and_more(page, space)
#define pfs_snapshot_pinned pinned_or_given
#define pthread_mutex_lock(mutex) (note_lock(mutex), pthread_mutex_lock(mutex))
#include "storage/store_check.c"
#undef malloc
#undef pfs_read
#undef pfs_list
#undef pfs_page_read_slot
#undef pfs_page_recount
#undef pfs_page_space
#undef pfs_snapshot_pinned
#undef pthread_mutex_lock

#include "tests/unit/store_helpers.h"

static struct {
	struct pfs_store *store;
	unsigned memory; /* so much is had, and the next is not; 0: all */
	bool answers;	 /* instead of what is there: */
	ssize_t answer, answer_at_end;
	int list_err;
	bool gives; /* instead of what is there: */
	struct pfs_slot slot;
	int slot_err, count_err;
	uint64_t used, pinned;
	uint32_t free_slots;
	struct pfs_page_space space;
	uint32_t drifts; /* a page that is said to have more used bytes and free slots */
	char locks[64], said[1024];
} now;

static void *memory_or_none(size_t len)
{
	return now.memory && --now.memory == 0 ? NULL : malloc(len);
}

static ssize_t read_or_answer(struct pfs_store *store, uint32_t object, uint64_t off, void *buf,
			      size_t len)
{
	if (!now.answers)
		return pfs_read(store, object, off, buf, len);
	return off ? now.answer_at_end : now.answer;
}

static ssize_t list_or_fail(struct pfs_store *store, uint64_t after, struct pfs_listed *out,
			    size_t max)
{
	return now.list_err ? now.list_err : pfs_list(store, after, out, max);
}

static int given_slot(const struct pfs_page *page, uint32_t number, struct pfs_slot *slot)
{
	if (!now.gives)
		return pfs_page_read_slot(page, number, slot);
	*slot = now.slot;
	return now.slot_err;
}

static int given_count(const struct pfs_page *page, uint64_t *used, uint32_t *free_slots)
{
	if (!now.gives)
		return pfs_page_recount(page, used, free_slots);
	*used = now.used;
	*free_slots = now.free_slots;
	return now.count_err;
}

static void space_and_more(const struct pfs_page *page, struct pfs_page_space *space)
{
	if (now.gives) {
		*space = now.space;
		return;
	}
	pfs_page_space(page, space);
	if (page->number == now.drifts) {
		space->used += 8;
		space->free_slots += 1;
	}
}

static uint64_t pinned_or_given(const struct pfs_store *store, uint32_t page)
{
	return now.gives ? now.pinned : pfs_snapshot_pinned(store, page);
}

static void note_lock(const pthread_mutex_t *mutex)
{
	size_t len = strlen(now.locks);

	if (now.store && len + 1 < sizeof(now.locks))
		now.locks[len] = mutex == &now.store->checkpoint_lock ? 'C'
				 : mutex == &now.store->commit	      ? 'c'
								      : '?';
}

static void say(const char *text)
{
	assert_true(strlen(now.said) + strlen(text) < sizeof(now.said));
	strcat(now.said, text);
}

static struct pfs_finding last;

static void on_finding(void *arg, const struct pfs_finding *finding)
{
	(void)arg;
	last = *finding;
	assert_true(finding->fatal);
	say("!");
}

static uint64_t total_said;

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
	(void)arg;
	assert_true(done <= total);
	total_said = total;
	say(".");
}

/* ---- free space ---- */

static const struct pfs_slot live = {.kind = PFS_KEY_NUM, .off = 5000, .len = 100},
			     dead = {.kind = PFS_SLOT_TOMBSTONE};

/* Proves: where a document stands takes of its page what its slot does not say: what was reserved
 * beyond it, or all of it, with a slot, where it is a tombstone already. */
static void homes_are_counted(void **state)
{
	static const struct {
		uint32_t page;
		bool live, unreadable;
		uint64_t len, more;
		unsigned slots;
	} cases[] = {{7, true, false, 100, 0, 0},  {7, true, false, 160, 60, 0},
		     {7, true, false, 40, 0, 0},   {7, false, false, 160, 160, 1},
		     {8, false, false, 160, 0, 0}, {8, true, false, 160, 0, 0},
		     {7, false, true, 160, 0, 0},  {7, true, true, 160, 0, 0}};
	const struct pfs_page page = {.number = 7};

	(void)state;
	memset(&now, 0, sizeof(now));
	now.gives = true;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_version v = {.home = {cases[i].page, 3, 5000, cases[i].len}};
		struct counted c = {1000, 10};

		now.slot = cases[i].live ? live : dead;
		now.slot_err = cases[i].unreadable ? -EIO : 0;
		count_home(&page, &v, &c);
		assert_int_equal(c.used, 1000 + cases[i].more);
		assert_int_equal(c.free_slots, 10 - cases[i].slots);
	}
}

/* Proves: what is on its way takes where it goes to with a slot, or what it needs more in place;
 * and where it comes from is counted, too. */
static void changes_on_their_way_are_counted(void **state)
{
	static const struct {
		struct pfs_extent_at home, target;
		uint64_t more;
		unsigned slots;
	} cases[] = {
		{{0, 0, 0, 0}, {7, 4, 9000, 300}, 300, 1},
		{{0, 0, 0, 0}, {8, 4, 9000, 300}, 0, 0},
		{{7, 3, 5000, 100}, {7, 3, 5000, 100}, 0, 0},
		{{7, 3, 5000, 100}, {7, 3, 5000, 140}, 40, 0},
		{{7, 3, 5000, 100}, {7, 3, 5000, 60}, 0, 0},
		{{7, 3, 5000, 130}, {7, 4, 9000, 300}, 330, 1},
		{{8, 4, 5000, 100}, {7, 4, 9000, 300}, 300, 1},
		{{7, 3, 5000, 130}, {8, 3, 9000, 300}, 30, 0},
	};
	const struct pfs_page page = {.number = 7};
	struct pfs_version versions[pfs_array_len(cases)];
	uint64_t more = 0;
	uint32_t slots = 0;
	struct pfs_list list;

	(void)state;
	memset(&now, 0, sizeof(now));
	memset(versions, 0, sizeof(versions));
	now.gives = true;
	now.slot = live;
	pfs_list_init(&list);
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct counted c = {1000, 20};

		versions[i].home = cases[i].home;
		versions[i].target = cases[i].target;
		pfs_list_append(&list, &versions[i].list);
		more += cases[i].more;
		slots += cases[i].slots;
		count_pending(&list, &page, &c);
		assert_int_equal(c.used, 1000 + more);
		assert_int_equal(c.free_slots, 20 - slots);
	}
}

/* Proves: a page is right when bytes and slots are as counted, with what is pinned, what is whole
 * and what is staged on its way, and what is open without a name; where it can't be counted it is.
 */
static void pages_that_are_right(void **state)
{
	enum {
		RIGHT,
		BYTES,
		SLOTS,
		BOTH,
		UNUSABLE,
		INEXACT,
		BATCH,
		DAMAGED,
		PINNED,
		PENDING,
		STAGED,
		ORPHAN,
		CASES
	};
	struct pfs_store *store = calloc(1, sizeof(*store));
	struct pfs_key key = pfs_key_num(1);
	uint32_t object;

	(void)state;
	memset(&now, 0, sizeof(now));
	assert_int_equal(pfs_index_new(&store->index), 0);
	assert_int_equal(pfs_index_alloc(store->index, &object), 0);
	for (unsigned i = 0; i < CASES; i++) {
		bool skipped = i >= UNUSABLE && i <= DAMAGED, counts = i >= PINNED;
		struct pfs_page page = {
			.number = 7, .unusable = i == UNUSABLE, .inexact = i == INEXACT};
		struct pfs_version *v = pfs_version_new(&key);
		struct pfs_page_space space;
		struct counted c;

		pfs_list_init(&store->pending);
		pfs_list_init(&store->staged);
		pfs_list_init(&store->batch);
		pfs_index_set_word(store->index, object, 0);
		now.gives = true;
		now.slot = dead;
		now.count_err = i == DAMAGED ? -EUCLEAN : 0;
		now.used = 1000;
		now.free_slots = 10;
		now.pinned = i == PINNED ? 64 : 0;
		now.space = (struct pfs_page_space){.used = 1000, .free_slots = 10};
		now.space.used += i == BYTES || i == BOTH || skipped ? 8 : counts ? 64 : 0;
		now.space.free_slots += i == SLOTS || i == BOTH || skipped;
		now.space.free_slots -= i > PINNED;
		if (i == PENDING || i == STAGED) {
			v->target = (struct pfs_extent_at){7, 4, 9000, 64};
			pfs_list_append(i == PENDING ? &store->pending : &store->staged, &v->list);
		} else if (i == BATCH) {
			pfs_list_append(&store->batch, &v->list);
		} else if (i == ORPHAN) {
			v->home = (struct pfs_extent_at){7, 3, 5000, 64};
			v->applied = true;
			pfs_index_set_word(store->index, object, pfs_word_version(v));
		}
		assert_int_equal(space_is_right(store, &page, &space, &c),
				 i == RIGHT || i >= UNUSABLE);
		if (i == BYTES)
			assert_int_equal(space.used - c.used, 8);
		pfs_list_remove(&v->list);
		free(v);
	}
	pfs_index_free(store->index);
	free(store);
}

/* ---- the whole ---- */

static struct pfs_sim *begin(void)
{
	struct pfs_sim *sim = pfs_sim_new();

	memset(&now, 0, sizeof(now));
	create_store(sim, PFS_PAGE_SIZE_MIN, 16);
	now.store = open_store(sim);
	for (unsigned i = 1; i <= 150; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(now.store, &key, 1001, 2 * i + 1);
	}
	assert_int_equal(pfs_store_checkpoint(now.store), 0);
	return sim;
}

static int check(struct pfs_check_result *result)
{
	memset(now.said, 0, sizeof(now.said));
	memset(now.locks, 0, sizeof(now.locks));
	return pfs_store_check(now.store, on_finding, on_progress, NULL, NULL, result);
}

static void end(struct pfs_sim *sim)
{
	assert_int_equal(pfs_store_close(now.store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

/* Proves: each page is looked at, under both locks in their order, and progress is said after it;
 * of the one whose free space is wrong what is known and what was counted is said. */
static void each_page_is_looked_at(void **state)
{
	struct pfs_sim *sim = begin();
	struct pfs_check_result result;
	struct pfs_store_stat stat;

	(void)state;
	assert_int_equal(pfs_store_stat(now.store, &stat), 0);
	assert_in_range(stat.pages, 2, 5);
	assert_int_equal(check(&result), 0);
	assert_int_equal(result.findings, 0);
	assert_int_equal(result.documents, 150);
	assert_int_equal(result.bytes, 150 * 1001);
	assert_int_equal(result.pages, stat.pages);
	assert_int_equal(total_said, 150 * 1001);
	assert_int_equal(strlen(now.said), stat.pages + 1);
	assert_int_equal(strlen(now.locks), 2 * stat.pages);
	for (size_t i = 0; i < stat.pages; i++)
		assert_memory_equal(now.locks + 2 * i, "Cc", 2);
	for (uint32_t page = pfs_pager_next(now.store->pager, 0), before = 0; page;
	     page = pfs_pager_next(now.store->pager, page), before++) {
		struct pfs_page_space space;
		char want[256];

		pfs_page_space(pfs_pager_find(now.store->pager, page), &space);
		now.drifts = page;
		assert_int_equal(check(&result), 0);
		assert_int_equal(result.findings, 1);
		assert_int_equal(result.damaged, 0);
		assert_int_equal(strchr(now.said, '!') - now.said, before);
		assert_string_equal(last.where, page_name(page));
		snprintf(want, sizeof(want),
			 "free space drifted: %llu bytes and %u free slots are known, %llu and %u "
			 "counted",
			 (unsigned long long)space.used + 8, space.free_slots + 1,
			 (unsigned long long)space.used, space.free_slots);
		assert_string_equal(last.text, want);
	}
	end(sim);
}

/* Proves: a document that can't be read is said, with its id and why; one that goes away meanwhile
 * is none; want of memory and of a listing ends the check. */
static void documents_are_read(void **state)
{
	static const struct {
		ssize_t first, second;
		int err;
		unsigned damaged;
		uint64_t bytes;
	} cases[] = {
		{0, 0, 0, 0, 0},
		{1, 0, 0, 0, 150},
		{1, -ENOENT, 0, 0, 150},
		{-ENOENT, 0, 0, 0, 0},
		{-EIO, 0, 0, 150, 0},
		{5, -EIO, 0, 150, 150 * 5},
		{-ENOMEM, 0, -ENOMEM, 0, 0},
	};
	struct pfs_sim *sim = begin();
	struct pfs_check_result result;

	(void)state;
	now.answers = true;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		now.answer = cases[i].first;
		now.answer_at_end = cases[i].second;
		memset(&last, 0, sizeof(last));
		assert_int_equal(check(&result), cases[i].err);
		assert_int_equal(result.damaged, cases[i].damaged);
		assert_int_equal(result.findings, cases[i].damaged);
		assert_int_equal(result.bytes, cases[i].bytes);
		assert_int_equal(result.documents, cases[i].err ? 0 : 150);
		assert_int_equal(result.pages > 0, !cases[i].err);
		if (!cases[i].damaged)
			continue;
		assert_string_equal(last.where, "document");
		assert_string_equal(last.text, "can't be read: Input/output error");
		assert_int_equal(last.key.num, 150);
	}
	now.answers = false;
	now.list_err = -ESTALE;
	assert_int_equal(check(&result), -ESTALE);
	assert_int_equal(result.pages, 0);
	now.list_err = 0;
	for (unsigned n = 1; n <= 2; n++) {
		now.memory = n;
		assert_int_equal(check(&result), -ENOMEM);
		assert_true(pfs_is_zero(&result, sizeof(result)));
		assert_string_equal(now.said, "");
	}
	assert_int_equal(check(&result), 0);
	end(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(homes_are_counted),
		cmocka_unit_test(changes_on_their_way_are_counted),
		cmocka_unit_test(pages_that_are_right),
		cmocka_unit_test(each_page_is_looked_at),
		cmocka_unit_test(documents_are_read),
	};

	return cmocka_run_group_tests_name("parts of the check", tests, NULL, NULL);
}
