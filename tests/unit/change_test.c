/* storage/store_change.c, storage/store_read.c: what is given back of places that were taken and
 * not needed, to the byte; packing without memory; what is told of a place that can't be read. The
 * files are included. */
#include <stdlib.h>

#include "storage/codec.h"
#include "storage/epoch.h"
#include "storage/store_internal.h"
#include "tests/unit/poisoned.h"

static void *memory_or_none(size_t len);
static void note_free(const struct pfs_extent_at *at);
static void note_bytes(uint32_t page, uint64_t off, uint64_t len);
static bool fails(void);

#define malloc(len) memory_or_none(len)
#define free(block) poisoned_free(block)
#define pfs_pager_free(pager, at) ((void)(pager), note_free(at))
#define pfs_pager_free_bytes(pager, page, off, len) ((void)(pager), note_bytes(page, off, len))
#define same_place same_place_of_change
#include "storage/store_change.c"
#undef malloc
#undef free
#undef pfs_pager_free
#undef pfs_pager_free_bytes

#define pfs_load(...) (fails() ? -EIO : pfs_load(__VA_ARGS__))
#include "storage/store_read.c"
#undef pfs_load

#include "tests/unit/store_helpers.h"

static struct {
	bool no_memory;
	char given[256];
	unsigned fails_at; /* loads; 0: none */
} now;

static void *memory_or_none(size_t len)
{
	return now.no_memory ? NULL : malloc(len);
}

static void note_bytes(uint32_t page, uint64_t off, uint64_t len)
{
	size_t at = strlen(now.given);

	if (len)
		snprintf(now.given + at, sizeof(now.given) - at, " %u,%llu+%llu", page,
			 (unsigned long long)off, (unsigned long long)len);
}

static void note_free(const struct pfs_extent_at *at)
{
	size_t len = strlen(now.given);

	snprintf(now.given + len, sizeof(now.given) - len, " slot %u", at->slot);
	note_bytes(at->page, at->off, at->len);
}

static bool fails(void)
{
	return now.fails_at && --now.fails_at == 0;
}

static void expect_given(const char *text)
{
	assert_string_equal(now.given, text);
	now.given[0] = '\0';
}

/* Proves: a change that is not made gives back the place that it had got, or what it had got behind
 * the old one and what others had there before; and its stage. */
static void what_is_not_made_gives_back(void **state)
{
	static const struct {
		bool allocated;
		uint64_t extended, before;
		const char *given;
	} cases[] = {{false, 0, 0, ""},
		     {true, 0, 0, " slot 4 7,9000+300"},
		     {false, 16, 0, " 7,5100+16"},
		     {false, 16, 40, " 7,5140+16"}};
	struct pfs_store *store = calloc(1, sizeof(*store));
	struct pfs_key key = pfs_key_num(1);

	(void)state;
	memset(&now, 0, sizeof(now));
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		const struct pfs_source empty = {.kind = PFS_SOURCE_EMPTY};
		struct pfs_stage *stage = pfs_stage_new(&empty, 0);
		struct pfs_change change = {.version = pfs_version_new(&key),
					    .allocated = cases[i].allocated,
					    .extended = cases[i].extended,
					    .current = {.extended = cases[i].before}};

		change.version->home = (struct pfs_extent_at){7, 3, 5000, 100};
		change.version->target = (struct pfs_extent_at){7, 4, 9000, 300};
		change.version->source =
			(struct pfs_source){.kind = PFS_SOURCE_STAGE, .stage = stage};
		stage->logged = 5;
		store->staged_bytes = 7;
		pfs_change_drop(store, &change);
		assert_null(change.version);
		expect_given(cases[i].given);
		assert_ptr_equal(store->stage_limbo, stage);
		assert_int_equal(store->staged_bytes, 2);
		store->stage_limbo = NULL;
		pfs_stage_free(stage);
		pfs_change_drop(store, &change); /* which is nothing any more */
		expect_given("");
	}
	free(store);
}

/* Proves: of what the replaced version had been promised and did not get written, that is given
 * back which the new one does not take. */
static void what_is_replaced_gives_back(void **state)
{
	const struct pfs_extent_at none = {0}, unused = {7, 4, 9000, 300}, home = {7, 3, 5000, 100};
	const struct {
		struct pfs_extent_at unused, target;
		bool reused;
		uint64_t extended;
		const char *given;
	} cases[] = {
		{none, {8, 1, 2000, 50}, false, 0, ""},
		{unused, {8, 1, 2000, 50}, false, 0, " slot 4 7,9000+300"},
		{unused, {7, 4, 9000, 300}, true, 0, ""},
		{unused, {7, 4, 9000, 200}, true, 0, " 7,9200+100"},
		{none, {8, 1, 2000, 50}, false, 40, " 7,5100+40"},
		{none, {7, 3, 5000, 100}, false, 40, " 7,5100+40"},
		{none, {7, 3, 5000, 80}, false, 40, " 7,5100+40"},
		{none, {7, 3, 5000, 110}, false, 40, " 7,5110+30"},
		{none, {7, 3, 5000, 140}, false, 40, ""},
		{none, {7, 3, 5000, 180}, false, 40, ""},
		{unused, {7, 3, 5000, 110}, false, 40, " slot 4 7,9000+300 7,5110+30"},
	};
	struct pfs_store *store = calloc(1, sizeof(*store));

	(void)state;
	memset(&now, 0, sizeof(now));
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_version v = {.target = cases[i].target};
		struct pfs_change change = {.version = &v,
					    .reused = cases[i].reused,
					    .current = {.home = home,
							.unused = cases[i].unused,
							.extended = cases[i].extended}};

		give_back(store, &change);
		expect_given(cases[i].given);
	}
	free(store);
}

/* Proves: without memory nothing is packed that needs some, in whichever way; what is too short for
 * that is. */
static void packing_needs_memory(void **state)
{
	static uint8_t bytes[70000];
	struct pfs_store *store = calloc(1, sizeof(*store));
	struct pfs_codec_hc *hc;

	(void)state;
	memset(&now, 0, sizeof(now));
	fill_document(bytes, sizeof(bytes), 2);
	store->super.min_value_size = 16;
	assert_int_equal(pfs_codec_hc_new(&hc), 0);
	now.no_memory = true;
	for (unsigned i = 0; i < 3; i++) {
		static const size_t lens[] = {5, 1000, 70000};
		struct pfs_packed packed;

		assert_int_equal(pfs_pack(store, &packed, bytes, lens[i], false), i ? -ENOMEM : 0);
		pfs_packed_free(&packed);
		assert_int_equal(pfs_repack(store, &packed, bytes, lens[i], hc), i ? -ENOMEM : 0);
		assert_true(packed.repacked);
		pfs_packed_free(&packed);
	}
	now.no_memory = false;
	pfs_codec_hc_free(hc);
	free(store);
}

/* Proves: where the container of a document that was just there can't be read, its place is told,
 * and nothing of what it says. A key that is read from a slot is as if it was made of the number.
 */
static void places_that_can_not_be_read(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_key key = pfs_key_num(7), have;
	struct pfs_place right, place;
	struct pfs_store *store;
	uint32_t object;

	(void)state;
	memset(&now, 0, sizeof(now));
	create_store(sim, PFS_MIB, 16);
	store = open_store(sim);
	put_document(store, &key, 300, 1);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_place(store, &key, &right), 0);
	assert_true(right.checksum && right.packed_len);
	/* It is looked for, viewed, and then loaded. */
	for (unsigned n = 1; n <= 2; n++) {
		now.fails_at = n;
		assert_int_equal(pfs_place(store, &key, &place), -EIO);
		assert_int_equal(now.fails_at, 0);
		assert_int_equal(place.checksum, 0);
		assert_int_equal(place.packed_len, 0);
		assert_int_equal(place.offset, n == 1 ? 0 : right.offset);
	}
	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	memset(&have, 0xa5, sizeof(have));
	assert_int_equal(pfs_object_key(store, object, &have), 0);
	assert_memory_equal(&have, &key, offsetof(struct pfs_key, name) + sizeof(uint64_t));
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_made_gives_back),
		cmocka_unit_test(what_is_replaced_gives_back),
		cmocka_unit_test(packing_needs_memory),
		cmocka_unit_test(places_that_can_not_be_read),
	};

	return cmocka_run_group_tests_name("changes", tests, NULL, NULL);
}
