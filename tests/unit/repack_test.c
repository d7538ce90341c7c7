/* storage/store_repack.c: of every sort of value, what it is packed to, why that is better and what
 * it gains, to the byte; what is no value, is another one, can't be read or has no memory; and
 * which damage is reported. The file is included, to know moments and to fail what it calls. */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "storage/epoch.h"
#include "storage/store_pack.h"

static void *some_memory(size_t len);
static void no_memory(void *block);
static int some_hc(struct pfs_codec_hc **out);
static int some_copy(struct pfs_page *page, void *out, uint64_t off, size_t len);
static int some_load(struct pfs_store *of, uint32_t page, uint32_t slot, struct pfs_loaded *out);
static void before_lock(pthread_mutex_t *mutex);

#define malloc(len) some_memory(len)
#define free(block) no_memory(block)
#define pfs_codec_hc_new(out) some_hc(out)
#define pfs_page_copy(page, out, off, len) some_copy(page, out, off, len)
#define pfs_load(store, page, slot, out) some_load(store, page, slot, out)
#define pthread_mutex_lock(mutex) (before_lock(mutex), pthread_mutex_lock(mutex))
#include "storage/store_repack.c"
#undef malloc
#undef free
#undef pfs_codec_hc_new
#undef pfs_page_copy
#undef pfs_load
#undef pthread_mutex_lock

#include "tests/unit/one_store.h"
/* A repacker is between fences; what it gives away is freed by others. */
#include "tests/unit/fenced.h"
#undef malloc
#undef calloc
#undef realloc
#undef free

static struct {
	bool no_memory, no_hc;
	bool no_copy; /* the bytes are right, but it is said that they can't be had */
	bool longer;  /* what is loaded anew is too long to be packed */
	void (*at_lock)(void);
} fault;

static void *some_memory(size_t len)
{
	if (fault.no_memory)
		return NULL;
	return len == sizeof(struct pfs_repacker) ? fenced_malloc(len) : malloc(len);
}

static void no_memory(void *block)
{
	fenced_free(block);
}

static int some_hc(struct pfs_codec_hc **out)
{
	return fault.no_hc ? -ENOMEM : pfs_codec_hc_new(out);
}

static int some_copy(struct pfs_page *page, void *out, uint64_t off, size_t len)
{
	int err = pfs_page_copy(page, out, off, len);

	return fault.no_copy ? -EIO : err;
}

static int some_load(struct pfs_store *of, uint32_t page, uint32_t slot, struct pfs_loaded *out)
{
	int err = pfs_load(of, page, slot, out);

	if (fault.longer)
		out->c.raw_len = PFS_WHOLE_WRITE_MAX + 1;
	return err;
}

static void before_lock(pthread_mutex_t *mutex)
{
	void (*act)(void) = fault.at_lock;

	if (mutex != &store->commit || !act)
		return;
	fault.at_lock = NULL;
	act();
}

/* ---- values ---- */

#define DICT_LEN 8000u
#define MIN_VALUE 100u
#define OWN_TEXT 2000u /* of each dictionary, which does not compress */

/* Text that every document has a piece of, and bytes that nobody else has. */
static void fill_dict(uint8_t bytes[DICT_LEN], unsigned number)
{
	fill_document(bytes, DICT_LEN - OWN_TEXT, 2);
	fill_document(bytes + DICT_LEN - OWN_TEXT, OWN_TEXT, 1000 * number + 1);
}

static void add_dict(unsigned number)
{
	uint8_t bytes[DICT_LEN];

	fill_dict(bytes, number);
	assert_int_equal(pfs_dict_add(store, bytes, sizeof(bytes), 1000, 300), 0);
}

enum form { RANDOM, TEXT, MIXED, OF_DICT_1, OF_DICT_2, FORMS };

static void fill(uint8_t *bytes, size_t len, enum form form, unsigned seed)
{
	uint8_t dict[DICT_LEN];

	fill_document(bytes, len, 2 * seed + (form == RANDOM || form == MIXED));
	for (size_t i = 0; form == MIXED && i < len; i++)
		if (pfs_mix64(i / 24 + seed) % 3)
			bytes[i] = (uint8_t) "the quick brown fox"[(i * 7 + i / 24) % 19];
	if (form != OF_DICT_1 && form != OF_DICT_2)
		return;
	fill_dict(dict, form == OF_DICT_1 ? 1 : 2);
	for (size_t i = 0; i < len; i++)
		bytes[i] = dict[DICT_LEN - OWN_TEXT + (seed + i) % OWN_TEXT];
}

static void put(unsigned id, size_t len, enum form form)
{
	const struct pfs_attr attr = {.mode = 0644, .mtime_ns = 7};
	const struct pfs_key key = pfs_key_num(id);
	uint8_t *bytes = malloc(len + 1);

	fill(bytes, len, form, id);
	assert_int_equal(pfs_put(store, &key, bytes, len, &attr, 0, NULL), 0);
	free(bytes);
}

static const size_t lens[] = {0,   1,	8,    9,     40,    75,	   76,	   77,	    100,
			      300, 900, 2000, 65535, 65536, 65537, 200000, PFS_MIB, PFS_MIB + 1};

#define SORTS (pfs_array_len(lens) * FORMS)

/* Ids of one round: there are three, of values that were put without a dictionary and with each. */
static void put_all(unsigned round)
{
	for (unsigned i = 0; i < SORTS; i++)
		put(round * 1000 + i, lens[i / FORMS], (enum form)(i % FORMS));
	/* These keep the room that they had. */
	for (unsigned i = 0; i < 3; i++)
		put(round * 1000 + 900 + i, 3000, RANDOM);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	put(round * 1000 + 900, 0, RANDOM);
	put(round * 1000 + 901, 10, RANDOM);
	put(round * 1000 + 902, 1500, RANDOM);
	assert_int_equal(pfs_store_checkpoint(store), 0);
}

/* ---- what is expected ---- */

static struct pfs_dict *dict_numbered(uint32_t number)
{
	for (size_t i = 0; i < store->dicts->count; i++)
		if (store->dicts->at[i]->number == number)
			return store->dicts->at[i];
	return NULL;
}

static uint64_t in_use(void)
{
	uint64_t packing = 0;

	for (size_t i = 0; i < store->dicts->count; i++)
		packing += store->dicts->at[i]->packing;
	return packing;
}

struct tally {
	unsigned better, old_dict, raw, gains, kept;
};

/* Packs one value, and compares all that is said of it with what stands in the page, and with what
 * pfs_repack makes of the payload. */
static void expect_repacked(struct pfs_repacker *r, unsigned id, struct tally *tally)
{
	const struct pfs_key key = pfs_key_num(id);
	struct pfs_loaded *l = malloc(sizeof(*l));
	uint64_t shorter = 0, used, before = in_use();
	struct pfs_packed packed = {0};
	struct pfs_repacked got;
	struct pfs_place place;
	bool old_dict, packable;
	size_t len;
	void *data;
	int err;

	assert_int_equal(pfs_place(store, &key, &place), 0);
	assert_int_equal(pfs_get(store, &key, &data, &len, NULL), 0);
	assert_false(place.in_journal);
	pfs_epoch_enter();
	err = pfs_load(store, place.page, place.slot, l);
	pfs_epoch_leave();
	assert_int_equal(err, 0);
	memset(&got, 0xa5, sizeof(got));
	assert_int_equal(pfs_repack_slot(r, place.page, place.slot, key.kind, id, &got), 0);
	packable = len > 0 && len <= PFS_MIB;
	assert_int_equal(got.len, place.container_len);
	assert_int_equal(got.seq, place.sequence);
	if (packable)
		assert_int_equal(pfs_repack(store, &packed, data, len, r->hc), 0);
	if (packable && packed.body_len < l->c.body_len)
		shorter = l->c.body_len - packed.body_len;
	old_dict = packable && l->c.dict && l->c.dict != store->dict->number;
	assert_int_equal(got.old_dict, old_dict);
	assert_int_equal(got.better, shorter || old_dict);
	used = pfs_max_u64(place.packed_len - shorter, MIN_VALUE);
	assert_int_equal(got.gain,
			 packable && place.container_len > used ? place.container_len - used : 0);
	if (got.better) {
		assert_ptr_equal(got.packed.body, got.packed.owned);
		assert_int_equal(got.packed.body_len, packed.body_len);
		assert_int_equal(got.packed.raw_len, len);
		assert_int_equal(got.packed.flags, packed.flags);
		assert_ptr_equal(got.packed.dict, packed.dict);
		assert_true(got.packed.repacked);
		/* Blocks have a number of their own in each. */
		memset(r->raw, 0x5a, sizeof(r->raw));
		if (!(packed.flags & PFS_CONTAINER_BLOCKS))
			assert_memory_equal(got.packed.body, packed.body, packed.body_len);
		tally->raw += !packed.flags;
	} else {
		assert_null(got.packed.owned);
		assert_null(got.packed.dict);
	}
	tally->better += got.better;
	tally->old_dict += got.old_dict;
	tally->gains += got.gain > 0;
	tally->kept += packable && !got.better;
	pfs_packed_free(&packed);
	pfs_packed_free(&got.packed);
	assert_int_equal(in_use(), before);
	free(data);
	free(l);
}

/* Proves: each value, of any length, with, without or with an old dictionary, in a container that
 * is longer than it needs or as short as there are, is packed as pfs_repack does it, and what is
 * said of it is exactly that; what has no bytes or too many is left. The body is the caller's, and
 * no dictionary stays in use. */
static void what_is_said_of_a_value_is_exact(void **state)
{
	struct pfs_repacker *r;
	struct tally tally = {0};

	(void)state;
	begin_store(8 * PFS_MIB, MIN_VALUE);
	store->stage_journal_max = 0; /* what is too long for one record is written, too */
	put_all(0);
	add_dict(1);
	put_all(1);
	add_dict(2);
	put_all(2);
	r = pfs_repacker_new(store);
	assert_non_null(r);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < SORTS; i++)
			expect_repacked(r, round * 1000 + i, &tally);
		for (unsigned i = 0; i < 3; i++)
			expect_repacked(r, round * 1000 + 900 + i, &tally);
	}
	assert_true(tally.better > 20 && tally.old_dict > 5 && tally.raw && tally.gains > 20);
	assert_true(tally.kept > 20);
	assert_true(dict_numbered(1)->packing == 0 && dict_numbered(2)->packing == 0);
	pfs_repacker_free(r);
	pfs_repacker_free(NULL);
}

/* ---- what is not packed ---- */

/* Nothing is said of it. */
static void expect_nothing(struct pfs_repacker *r, uint32_t page, uint32_t slot, unsigned kind,
			   uint64_t tag)
{
	struct pfs_repacked got;

	memset(&got, 0xa5, sizeof(got));
	assert_int_equal(pfs_repack_slot(r, page, slot, kind, tag, &got), 0);
	assert_true(!got.better && !got.old_dict && !got.seq && !got.len && !got.gain);
	assert_null(got.packed.body);
	assert_null(got.packed.owned);
	assert_null(got.packed.dict);
}

/* Proves: of a slot that is not there, can't be read or has another value than was meant nothing is
 * said, whatever was packed before. */
static void other_values_are_left(void **state)
{
	struct pfs_place place, other;
	struct pfs_key key = pfs_key_num(5);
	struct pfs_repacker *r;
	struct tally tally = {0};

	(void)state;
	begin_store(PFS_MIB, MIN_VALUE);
	put(5, 1000, MIXED);
	put(6, 1000, MIXED);
	add_dict(1);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_place(store, &key, &place), 0);
	key.num = 6;
	assert_int_equal(pfs_place(store, &key, &other), 0);
	assert_int_equal(place.page, other.page);
	r = pfs_repacker_new(store);
	expect_repacked(r, 5, &tally);
	assert_int_equal(tally.better, 1);
	expect_nothing(r, place.page, other.slot, PFS_KEY_NUM, 5);
	expect_nothing(r, place.page, place.slot, PFS_KEY_NUM, 6);
	expect_nothing(r, place.page, place.slot, PFS_KEY_UUID, 5);
	expect_nothing(r, place.page, 1000, PFS_KEY_NUM, 5);
	expect_nothing(r, place.page, PFS_SLOT_NUMBER_MAX, PFS_KEY_NUM, 5);
	expect_nothing(r, place.page + 1, place.slot, PFS_KEY_NUM, 5);
	expect_nothing(r, 0, place.slot, PFS_KEY_NUM, 5);
	fault.no_copy = true;
	expect_nothing(r, place.page, place.slot, PFS_KEY_NUM, 5);
	fault.no_copy = false;
	expect_repacked(r, 5, &tally);
	assert_int_equal(tally.better, 2);
	pfs_repacker_free(r);
}

/* Proves: what was lost, is empty or has no room is not packed; all else is. */
static void what_is_packed_at_all(void **state)
{
	struct pfs_repacker *r;

	(void)state;
	begin_store(PFS_MIB, MIN_VALUE);
	r = pfs_repacker_new(store);
	for (unsigned lost = 0; lost < 2; lost++) {
		for (unsigned flags = 0; flags < 2; flags++) {
			static const struct {
				uint64_t len;
				bool is;
			} cases[] = {{0, false},
				     {1, true},
				     {sizeof(r->raw) - 1, true},
				     {sizeof(r->raw), true},
				     {sizeof(r->raw) + 1, false},
				     {PFS_PAYLOAD_MAX, false}};

			for (size_t i = 0; i < pfs_array_len(cases); i++) {
				r->loaded.c = (struct pfs_container){
					.raw_len = cases[i].len,
					.flags = (lost ? PFS_CONTAINER_LOST : 0) |
						 (flags ? PFS_CONTAINER_LZ4 : 0)};
				assert_int_equal(is_packed_at_all(r), cases[i].is && !lost);
			}
		}
	}
	pfs_repacker_free(r);
}

/* Proves: without memory a repacker is not made, nothing stays of it, and a value is not packed;
 * with memory it is. */
static void without_memory_nothing_is_packed(void **state)
{
	const struct pfs_key key = pfs_key_num(5);
	struct pfs_repacked got;
	struct pfs_repacker *r;
	struct pfs_packed packed;
	struct pfs_place place;
	struct tally tally = {0};
	uint8_t bytes[5] = "body";

	(void)state;
	begin_store(PFS_MIB, MIN_VALUE);
	fault.no_memory = true;
	assert_null(pfs_repacker_new(store));
	fault.no_memory = false;
	fault.no_hc = true;
	assert_null(pfs_repacker_new(store));
	fault.no_hc = false;
	assert_int_equal(fenced_blocks, 0);
	r = pfs_repacker_new(store);
	put(5, 8, RANDOM); /* is not even tried */
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_place(store, &key, &place), 0);
	fault.no_memory = true;
	assert_int_equal(pfs_repack_slot(r, place.page, place.slot, key.kind, 5, &got), -ENOMEM);
	assert_false(got.better);
	packed = (struct pfs_packed){.body = bytes, .body_len = sizeof(bytes)};
	assert_int_equal(own_body(&packed), -ENOMEM);
	fault.no_memory = false;
	expect_repacked(r, 5, &tally);
	/* Its body has a place of its own from now on, and keeps it. */
	assert_int_equal(own_body(&packed), 0);
	assert_ptr_equal(packed.body, packed.owned);
	bytes[0]++;
	assert_memory_equal(packed.body, "body", 5);
	fault.no_memory = true;
	assert_int_equal(own_body(&packed), 0);
	packed.body = bytes;
	assert_int_equal(own_body(&packed), 0);
	fault.no_memory = false;
	assert_ptr_equal(packed.body, packed.owned);
	assert_memory_equal(packed.body, bytes, 5);
	pfs_packed_free(&packed);
	pfs_repacker_free(r);
	assert_int_equal(fenced_blocks, 0);
}

/* ---- damage ---- */

static unsigned damage;
static char said[PFS_LOG_LINE_MAX];

static void count_damage(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	if (level != PFS_LOG_ERROR)
		return;
	damage++;
	snprintf(said, sizeof(said), "%s", line);
}

#define LONG (150 * PFS_KIB) /* in blocks: a container with its header does not vouch for them */

/* One document in blocks, of which one is damaged on disk. */
static struct pfs_place begin_damaged(void)
{
	const struct pfs_key key = pfs_key_num(5);
	struct pfs_open_options options = {.manual = true, .logger = {.fn = count_damage}};
	struct pfs_reason reason;
	struct pfs_place place;

	begin_store(PFS_MIB, MIN_VALUE);
	put(5, LONG, RANDOM);
	assert_int_equal(pfs_store_close(store), 0);
	place = place_of(sim, &key);
	flip_bit(sim, page_name(place.page), place.offset + 100 * PFS_KIB, 3);
	options.io = pfs_sim_io(sim);
	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	damage = 0;
	return place;
}

static int end_damaged(void **state)
{
	(void)state;
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
	return 0;
}

static void put_another(void)
{
	put(6, 10, RANDOM);
	put(5, LONG, MIXED);
}

static void make_longer(void)
{
	fault.longer = true;
}

static void write_over(void)
{
	put_another();
	assert_int_equal(pfs_store_checkpoint(store), 0);
}

/* Proves: a body that does not verify is reported once each time it is met, with its page and
 * place, as long as it is what the object is; not when the object is something else by now, be that
 * in the journal alone or in the same place, which verifies or is too long. Nothing is packed of
 * it.
 */
static void damage_of_what_is_current_is_reported(void **state)
{
	static void (*const acts[])(void) = {NULL, put_another, write_over, make_longer};

	(void)state;
	for (unsigned i = 0; i < pfs_array_len(acts); i++) {
		struct pfs_place place = begin_damaged(), now;
		const struct pfs_key key = pfs_key_num(5);
		struct pfs_repacker *r = pfs_repacker_new(store);

		for (unsigned times = 1; times <= 2 - !!i; times++) {
			struct pfs_repacked got;

			fault.at_lock = acts[i];
			assert_int_equal(
				pfs_repack_slot(r, place.page, place.slot, key.kind, 5, &got), 0);
			assert_int_equal(damage, i ? 0 : times);
			assert_true(!got.better && !got.gain);
			assert_int_equal(got.len, place.container_len);
			if (!i)
				assert_non_null(strstr(said, page_name(place.page)));
		}
		fault.longer = false;
		assert_int_equal(pfs_place(store, &key, &now), 0);
		assert_int_equal(now.in_journal, i == 1);
		if (i == 2) {
			assert_int_equal(now.page, place.page);
			assert_int_equal(now.slot, place.slot);
			assert_int_equal(now.offset, place.offset);
		}
		pfs_repacker_free(r);
		if (i + 1 < pfs_array_len(acts))
			end_damaged(state);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(what_is_said_of_a_value_is_exact, end_store),
		cmocka_unit_test_teardown(other_values_are_left, end_store),
		cmocka_unit_test_teardown(what_is_packed_at_all, end_store),
		cmocka_unit_test_teardown(without_memory_nothing_is_packed, end_store),
		cmocka_unit_test_teardown(damage_of_what_is_current_is_reported, end_damaged),
	};

	return cmocka_run_group_tests_name("packing one value", tests, NULL, NULL);
}
