/* storage/store_survey.c: what a full compaction sees of pages, value by value: their order,
 * samples of what they gain, former dictionaries, what is dead; which pages it marks, and when it
 * ends. The file is included; what values are packed to, and their dictionaries, is the test's own.
 */
#include "storage/epoch.h"
#include "storage/store_pack.h"

static int some_repack(const struct pfs_repacker *r, uint32_t page, uint32_t slot, unsigned kind,
		       uint64_t tag, struct pfs_repacked *out);
static bool some_peek(const struct pfs_slot *slot, uint64_t *raw_len, uint32_t *dict);
static int some_load(struct pfs_pager *pager, struct pfs_page *page);

#define pfs_repack_slot(r, page, slot, kind, tag, out) some_repack(r, page, slot, kind, tag, out)
#define pfs_peek_container(page, slot, raw_len, dict) some_peek(slot, raw_len, dict)
#define pfs_pager_load(pager, page) some_load(pager, page)
#include "storage/store_survey.c"
#undef pfs_repack_slot
#undef pfs_peek_container
#undef pfs_pager_load

#include "tests/unit/one_store.h"

static struct {
	/* Of each slot that was packed: */
	unsigned samples;
	uint32_t slots[200];
	unsigned fail_at; /* the one that fails */
	struct pfs_repacked says;
	bool gives; /* a body that is to be freed */
	/* Of each that was looked into: */
	unsigned peeks;
	uint64_t foreign; /* the number of the document that another dictionary is of */
	uint32_t dict;	  /* which that is */
	bool blind;	  /* none can be looked into */
	int load_err;
	unsigned loads, load_fails;
} fake;

static struct pfs_repacker packer;

static int some_repack(const struct pfs_repacker *r, uint32_t page, uint32_t slot, unsigned kind,
		       uint64_t tag, struct pfs_repacked *out)
{
	assert_ptr_equal(r, &packer);
	assert_true(page > 0 && kind == PFS_KEY_NUM && tag < 10000);
	assert_true(fake.samples < pfs_array_len(fake.slots));
	fake.slots[fake.samples++] = slot;
	*out = fake.says;
	if (fake.gives) {
		out->better = true;
		out->packed.owned = malloc(10);
	}
	if (fake.fail_at && fake.samples == fake.fail_at) {
		pfs_packed_free(&out->packed);
		*out = (struct pfs_repacked){0};
		return -ENOMEM;
	}
	return 0;
}

static bool some_peek(const struct pfs_slot *slot, uint64_t *raw_len, uint32_t *dict)
{
	fake.peeks++;
	*raw_len = 1;
	*dict = slot->tag == fake.foreign ? fake.dict : 7;
	return !fake.blind;
}

static int some_load(struct pfs_pager *pager, struct pfs_page *page)
{
	if (++fake.loads == fake.load_fails)
		return fake.load_err;
	return pfs_pager_load(pager, page);
}

/* Values of one length in pages of that size, in order. */
static void begin(uint64_t page_size, unsigned count, size_t len)
{
	begin_store(page_size, 16);
	memset(&fake, 0, sizeof(fake));
	fake.says.len = 100;
	fake.foreign = UINT64_MAX;
	packer.store = store;
	put_numbers(count, len);
}

/* Proves: a page is untidy when more than one value of 64 is not in order, when a sample gains more
 * than one byte of 64, or with a former dictionary; not before. */
static void what_is_untidy(void **state)
{
	static const struct {
		uint32_t values, disordered;
		uint64_t sampled, gain;
		bool old_dict, untidy;
	} cases[] = {
		{0, 0, 0, 0, false, false},	   {640, 10, 0, 0, false, false},
		{640, 11, 0, 0, false, true},	   {639, 10, 0, 0, false, true},
		{63, 1, 0, 0, false, true},	   {64, 1, 0, 0, false, false},
		{640, 0, 6400, 100, false, false}, {640, 0, 6400, 101, false, true},
		{640, 0, 6399, 100, false, true},  {640, 0, 0, 1, false, true},
		{640, 0, 6400, 0, true, true},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		const struct look look = {.values = cases[i].values,
					  .disordered = cases[i].disordered,
					  .sampled = cases[i].sampled,
					  .gain = cases[i].gain,
					  .old_dict = cases[i].old_dict};

		assert_int_equal(is_untidy(&look), cases[i].untidy);
	}
}

/* Proves: a value is out of order when its kind is lower than that of the one before, or its tag
 * with the same kind; the first one never is, nor is one of the same tag. */
static void what_is_out_of_order(void **state)
{
	static const struct {
		unsigned kind;
		uint64_t tag;
		bool wrong;
	} slots[] = {{2, 9, false}, {2, 9, false}, {2, 10, false}, {2, 8, true},   {3, 1, false},
		     {3, 0, true},  {2, 50, true}, {1, 60, true},  {1, 60, false}, {2, 1, false}};
	struct look look = {0};
	uint32_t wrong = 0;

	(void)state;
	for (uint32_t i = 0; i < pfs_array_len(slots); i++) {
		const struct pfs_slot slot = {.kind = slots[i].kind, .tag = slots[i].tag};

		look_at_order(&look, &slot);
		wrong += slots[i].wrong;
		assert_int_equal(look.values, i + 1);
		assert_int_equal(look.disordered, wrong);
	}
}

/* Proves: of a page's values some 64 are packed to see what they gain, in even steps from the first
 * slot on, whatever goes; what that says is added up, and nothing stays of it. An error ends it. */
static void samples_are_taken(void **state)
{
	static const unsigned counts[] = {1, 63, 64, 127, 128, 700};

	for (size_t i = 0; i < pfs_array_len(counts); i++) {
		const unsigned count = counts[i], step = count / 64 + 1;
		const unsigned samples = (count + step - 1) / step;
		struct pfs_packing_plan plan;
		struct look look;
		int err;

		begin(PFS_MIB, count, 20);
		fake.says.gain = 3;
		fake.gives = true;
		assert_true(begin_look(store, 1, &look, &err));
		assert_int_equal(err, 0);
		assert_int_equal(look.slots, count);
		assert_int_equal(look_at_slots(&packer, &look, 0, count, 0), 0);
		assert_int_equal(fake.samples, samples);
		for (unsigned k = 0; k < samples; k++)
			assert_int_equal(fake.slots[k], k * step);
		assert_int_equal(look.values, count);
		assert_int_equal(look.disordered, 0);
		assert_int_equal(look.sampled, 100 * samples);
		assert_int_equal(look.gain, 3 * samples);
		assert_false(look.old_dict);
		assert_int_equal(fake.peeks, 0); /* without a newest one none is former */
		/* In parts it is the same, to the slot. */
		fake.samples = 0;
		look.values = 0;
		assert_int_equal(look_at_slots(&packer, &look, 0, count / 2, 0), 0);
		assert_int_equal(look.values, count / 2);
		assert_int_equal(look_at_slots(&packer, &look, count / 2, count, 0), 0);
		assert_int_equal(look.values, count);
		assert_int_equal(fake.samples, samples);
		fake.samples = 0;
		fake.fail_at = samples / 2 + 1;
		assert_int_equal(look_at_slots(&packer, &look, 0, count, 0), -ENOMEM);
		assert_int_equal(fake.samples, fake.fail_at);
		fake.samples = 0;
		assert_int_equal(pfs_pack_survey(&packer, &plan, NULL), -ENOMEM);
		fake.fail_at = 0;
		if (i + 1 < pfs_array_len(counts))
			end_store(state);
	}
}

/* Proves: each value is looked into for a former dictionary until there is one, when there is one
 * of new values; what is not packed with any needs none. A sample may tell of one, too. */
static void former_dictionaries_are_found(void **state)
{
	struct look look;
	int err;

	(void)state;
	begin(PFS_MIB, 100, 20);
	for (unsigned way = 0; way < 6; way++) {
		fake.samples = fake.peeks = 0;
		fake.foreign = way == 0 ? UINT64_MAX : 60;
		fake.dict = way == 2 ? 0 : 5;
		fake.blind = way == 3;
		fake.says.old_dict = way == 4;
		assert_true(begin_look(store, 1, &look, &err));
		assert_int_equal(look_at_slots(&packer, &look, 0, 100, way == 5 ? 0 : 7), 0);
		assert_int_equal(look.old_dict, way == 1 || way == 4);
		assert_int_equal(fake.peeks, way == 5 ? 0 : way == 1 ? 61 : way == 4 ? 1 : 100);
	}
	fake.says.old_dict = false;
	/* A slot that has no value is not looked into. */
	drop_number(60);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	fake.peeks = fake.samples = 0;
	fake.blind = false;
	fake.foreign = 60;
	assert_true(begin_look(store, 1, &look, &err));
	assert_int_equal(look_at_slots(&packer, &look, 0, 100, 7), 0);
	assert_false(look.old_dict);
	assert_int_equal(fake.peeks, 99);
	assert_int_equal(look.values, 99);
}

/* Proves: of a page is known what is live and dead in it; one that is empty, unusable or going is
 * not looked at; what can't be loaded is an error. */
static void pages_are_looked_at(void **state)
{
	struct pfs_page_space space;
	struct pfs_page *page;
	struct look look;
	int err;

	(void)state;
	begin(PFS_MIB, 100, 1000);
	for (unsigned i = 0; i < 100; i += 3)
		drop_number(i);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	page = pfs_pager_find(store->pager, 1);
	pfs_page_space(page, &space);
	assert_true(space.free_slots == 34 && space.holes > 30000);
	assert_true(begin_look(store, 1, &look, &err));
	assert_int_equal(err, 0);
	assert_int_equal(look.page, 1);
	assert_int_equal(look.slots, 100);
	assert_int_equal(look.used, space.used);
	assert_int_equal(look.live, space.used + 66 * 16);
	assert_int_equal(look.dead, space.holes + 34 * 16);
	assert_false(look.full);
	assert_false(begin_look(store, 2, &look, &err));
	assert_int_equal(err, 0);
	page->unusable = true;
	assert_false(begin_look(store, 1, &look, &err));
	page->unusable = false;
	page->retiring = true;
	assert_false(begin_look(store, 1, &look, &err));
	page->retiring = false;
	fake.loads = 0;
	fake.load_fails = 1;
	fake.load_err = -EIO;
	assert_false(begin_look(store, 1, &look, &err));
	assert_int_equal(err, -EIO);
	for (unsigned i = 0; i < 100; i++)
		if (i % 3)
			drop_number(i);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	if (pfs_pager_find(store->pager, 1))
		assert_false(begin_look(store, 1, &look, &err));
}

/* Proves: pages with something to gain are marked and summed up, the others are not; each slot is
 * looked at once, however many there are. It ends when it is told to, or at an error. */
static void pages_are_marked(void **state)
{
	struct pfs_packing_plan plan;
	struct pfs_store_stat stat;
	bool stop = false;

	(void)state;
	begin(PFS_MIB, 2500, 300); /* in one page, which is not full */
	assert_int_equal(pfs_store_stat(store, &stat), 0);
	assert_int_equal(stat.pages, 1);
	store->compaction.run = 5;
	assert_int_equal(pfs_pack_survey(&packer, &plan, &stop), 0);
	assert_int_equal(plan.values, 2500);
	assert_int_equal(plan.total, stat.used_bytes);
	assert_int_equal(plan.live, stat.used_bytes + 2500 * 16);
	assert_int_equal(plan.pages, 1);
	assert_int_equal(plan.untidy, 0);
	assert_int_equal(fake.samples, 2500 / 40 + 1);
	assert_int_equal(pfs_pager_find(store->pager, 1)->packed_run, 5);
	fake.samples = 0;
	fake.says.gain = 50;
	store->compaction.run = 6;
	assert_int_equal(pfs_pack_survey(&packer, &plan, &stop), 0);
	assert_int_equal(plan.untidy, 1);
	assert_int_equal(pfs_pager_find(store->pager, 1)->packed_run, 6);
	fake.samples = 0;
	stop = true;
	assert_int_equal(pfs_pack_survey(&packer, &plan, &stop), -ECANCELED);
	assert_int_equal(fake.samples, 1024 / 40 + 1);
	assert_int_equal(plan.pages + plan.values + plan.untidy, 0);
	fake.samples = 0;
	fake.loads = 0;
	fake.load_fails = 1;
	fake.load_err = -EIO;
	assert_int_equal(pfs_pack_survey(&packer, &plan, NULL), -EIO);
	assert_int_equal(plan.pages, 0);
}

/* Proves: former dictionaries are looked for with the number of the newest one, when there are
 * values that may need them. */
static void the_newest_dictionary_is_meant(void **state)
{
	struct pfs_packing_plan plan;

	(void)state;
	begin(PFS_MIB, 50, 300);
	for (unsigned i = 0; i < 7; i++) {
		char text[1000];

		memset(text, 'a' + (int)i, sizeof(text));
		assert_int_equal(pfs_dict_add(store, text, sizeof(text), 1000, 300), 0);
	}
	assert_int_equal(pfs_pack_survey(&packer, &plan, NULL), 0);
	assert_int_equal(fake.peeks, 0);
	store->dicts->at[0]->users = 1;
	fake.samples = 0;
	assert_int_equal(pfs_pack_survey(&packer, &plan, NULL), 0);
	assert_int_equal(fake.peeks, 50); /* all of them have number 7 */
	assert_int_equal(plan.untidy, 0);
	fake.foreign = 49;
	fake.dict = 6;
	fake.samples = 0;
	assert_int_equal(pfs_pack_survey(&packer, &plan, NULL), 0);
	assert_int_equal(plan.untidy, 1);
	store->dicts->at[0]->users = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_untidy),
		cmocka_unit_test(what_is_out_of_order),
		cmocka_unit_test_teardown(samples_are_taken, end_store),
		cmocka_unit_test_teardown(former_dictionaries_are_found, end_store),
		cmocka_unit_test_teardown(pages_are_looked_at, end_store),
		cmocka_unit_test_teardown(pages_are_marked, end_store),
		cmocka_unit_test_teardown(the_newest_dictionary_is_meant, end_store),
	};

	return cmocka_run_group_tests_name("surveys", tests, NULL, NULL);
}
