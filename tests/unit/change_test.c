/* storage/store_change.c, storage/store_read.c: where versions go, and what is given back of places
 * that were taken and not needed, to the byte; packing, also without memory; what is told of a
 * place that can't be read. The files are included, with a pager that only answers what it is told
 * to. */
#include <stdlib.h>

#include "storage/codec.h"
#include "storage/epoch.h"
#include "storage/store_internal.h"
#include "tests/unit/poisoned.h"

static void *memory_or_none(size_t len);
static void note_free(const struct pfs_extent_at *at);
static void note_bytes(uint32_t page, uint64_t off, uint64_t len);
static bool fails(void);
static struct pfs_page *fake_find(struct pfs_pager *pager, uint32_t number);
static uint64_t fake_len(const struct pfs_pager *pager, const struct pfs_page *page,
			 const struct pfs_pager_need *need);
static int fake_extend(struct pfs_pager *pager, const struct pfs_extent_at *at, uint64_t more);
static int fake_alloc(struct pfs_pager *pager, const struct pfs_pager_need *need,
		      struct pfs_extent_at *out);
static bool fake_pins_home(const struct pfs_store *store, const struct pfs_version *v);

#define malloc(len) memory_or_none(len)
#define free(block) poisoned_free(block)
#define pfs_pager_free(pager, at) ((void)(pager), note_free(at))
#define pfs_pager_free_bytes(pager, page, off, len) ((void)(pager), note_bytes(page, off, len))
#define pfs_pager_find fake_find
#define pfs_pager_len fake_len
#define pfs_pager_extend fake_extend
#define pfs_pager_alloc fake_alloc
#define pfs_snapshot_pins_home fake_pins_home
#define same_place same_place_of_change
#include "storage/store_change.c"
#undef malloc
#undef free
#undef pfs_pager_free
#undef pfs_pager_free_bytes
#undef pfs_pager_find
#undef pfs_pager_len
#undef pfs_pager_extend
#undef pfs_pager_alloc
#undef pfs_snapshot_pins_home

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

static struct pfs_page home_page = {.number = 7}, unused_page = {.number = 8};

/* Of places: what the container takes, and what is to be had. */
static struct {
	uint64_t len, behind; /* free behind its home */
	bool fake;	      /* else it is a store's */
	bool pinned, full, nearly_full;
	char asked[128];
} room;

static struct pfs_page *fake_find(struct pfs_pager *pager, uint32_t number)
{
	if (!room.fake)
		return pfs_pager_find(pager, number);
	return number == 7 ? &home_page : number == 8 ? &unused_page : NULL;
}

static uint64_t fake_len(const struct pfs_pager *pager, const struct pfs_page *page,
			 const struct pfs_pager_need *need)
{
	return room.fake ? room.len : pfs_pager_len(pager, page, need);
}

static int fake_extend(struct pfs_pager *pager, const struct pfs_extent_at *at, uint64_t more)
{
	size_t len = strlen(room.asked);

	if (!room.fake)
		return pfs_pager_extend(pager, at, more);
	snprintf(room.asked + len, sizeof(room.asked) - len, " extend %llu+%llu",
		 (unsigned long long)at->len, (unsigned long long)more);
	return more <= room.behind ? 0 : -ENOSPC;
}

static int fake_alloc(struct pfs_pager *pager, const struct pfs_pager_need *need,
		      struct pfs_extent_at *out)
{
	size_t len = strlen(room.asked);

	if (!room.fake)
		return pfs_pager_alloc(pager, need, out);
	snprintf(room.asked + len, sizeof(room.asked) - len, " alloc %llu",
		 (unsigned long long)need->container->body_len);
	if (room.full)
		return -ENOSPC;
	if (room.nearly_full) {
		room.nearly_full = false;
		return -ENOSPC;
	}
	*out = (struct pfs_extent_at){9, 1, 4096, 500};
	return 0;
}

static bool fake_pins_home(const struct pfs_store *store, const struct pfs_version *v)
{
	return room.fake ? room.pinned : pfs_snapshot_pins_home(store, v);
}

static void expect_given(const char *text)
{
	assert_string_equal(now.given, text);
	now.given[0] = '\0';
}

/* Proves: a version goes over its old container if it is whole in the journal, nobody shows that,
 * and it fits there, or what it needs more is free behind it; else to where the version before it
 * was to go, if it fits there; else to a new place. A page that is being emptied takes what is its
 * own only if there is no new place. */
static void places_are_found(void **state)
{
	enum {
		LEAVES = 1,
		PINNED = 2,
		CLOSED = 4,
		FULL = 8,
		UNUSED = 16,
		CLOSED_THERE = 32,
		NO_HOME = 64,
		OTHER = 128,
		LOST = 256
	};
	static const struct {
		unsigned how;
		uint64_t len, extended, behind;
		uint64_t target; /* its length; its page says where it is from */
		uint32_t page;
		int err;
		const char *asked;
	} cases[] = {
		{0, 100, 0, 0, 100, 7, 0, ""},
		{0, 80, 0, 0, 80, 7, 0, ""},
		{0, 120, 20, 0, 120, 7, 0, ""},
		{0, 120, 0, 20, 120, 7, 0, " extend 100+20"},
		{0, 150, 20, 30, 150, 7, 0, " extend 120+30"},
		{0, 150, 20, 29, 500, 9, 0, " extend 120+30 alloc 60"},
		{0, 101, 0, 0, 500, 9, 0, " extend 100+1 alloc 60"},
		{LEAVES, 100, 0, 0, 500, 9, 0, " alloc 60"},
		{PINNED, 100, 0, 0, 500, 9, 0, " alloc 60"},
		{OTHER, 100, 0, 0, 500, 9, 0, " alloc 60"},
		{LOST, 100, 0, 0, 500, 9, 0, " alloc 60"},
		{CLOSED, 100, 0, 0, 500, 9, 0, " alloc 60"},
		{CLOSED | FULL, 100, 0, 0, 100, 7, 0, " alloc 60"},
		{CLOSED | FULL, 101, 0, 0, 0, 0, -ENOSPC, " alloc 60 extend 100+1"},
		{CLOSED | FULL, 101, 0, 1, 101, 7, 0, " alloc 60 extend 100+1"},
		{NO_HOME, 100, 0, 0, 500, 9, 0, " alloc 60"},
		{NO_HOME | FULL, 100, 0, 0, 0, 0, -ENOSPC, " alloc 60"},
		{NO_HOME | UNUSED, 100, 0, 0, 100, 8, 0, ""},
		{NO_HOME | UNUSED, 300, 0, 0, 300, 8, 0, ""},
		{NO_HOME | UNUSED, 301, 0, 0, 500, 9, 0, " alloc 60"},
		{NO_HOME | UNUSED | CLOSED_THERE, 100, 0, 0, 500, 9, 0, " alloc 60"},
		{UNUSED | LEAVES, 100, 0, 0, 100, 8, 0, ""},
		{UNUSED, 100, 0, 0, 100, 7, 0, ""},
	};
	struct pfs_store *store = calloc(1, sizeof(*store));
	struct pfs_key key = pfs_key_num(1);

	(void)state;
	memset(&now, 0, sizeof(now));
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		unsigned how = cases[i].how;
		struct pfs_version *v = pfs_version_new(&key);
		struct pfs_change change = {.version = v,
					    .source_leaves = how & LEAVES,
					    .current = {.home = {how & LOST ? 5 : 7, 3, 5000, 100},
							.unused = {8, 4, 9000, 300},
							.extended = cases[i].extended}};
		bool extends = strstr(cases[i].asked, "extend") && cases[i].page == 7;

		if (how & NO_HOME)
			change.current.home = (struct pfs_extent_at){0};
		if (!(how & UNUSED))
			change.current.unused = (struct pfs_extent_at){0};
		v->source = (struct pfs_source){.kind = how & OTHER ? PFS_SOURCE_CONTAINER
								    : PFS_SOURCE_RECORD,
						.body_len = 60};
		home_page.closed = how & CLOSED;
		unused_page.closed = how & CLOSED_THERE;
		memset(&room, 0, sizeof(room));
		room.fake = true;
		room.len = cases[i].len;
		room.behind = cases[i].behind;
		room.pinned = how & PINNED;
		room.full = how & FULL;
		assert_int_equal(pfs_change_place(store, &change), cases[i].err);
		assert_string_equal(room.asked, cases[i].asked);
		assert_int_equal(change.allocated, cases[i].page == 9);
		assert_int_equal(change.reused, cases[i].page == 8);
		assert_int_equal(change.extended,
				 extends ? cases[i].len - 100 - cases[i].extended : 0);
		if (!cases[i].err) {
			assert_int_equal(v->target.page, cases[i].page);
			assert_int_equal(v->target.len, cases[i].target);
		}
		assert_memory_equal(&v->home, &change.current.home, sizeof(v->home));
		free(v);
	}
	free(store);
}

/* Proves: a stage gets a place a quarter, and a block at least, larger than all that may be in it,
 * or one of just that; it keeps the whole place of the version before it. */
static void stages_get_more(void **state)
{
	struct pfs_store *store = calloc(1, sizeof(*store));
	struct pfs_key key = pfs_key_num(1);

	(void)state;
	memset(&now, 0, sizeof(now));
	home_page.closed = unused_page.closed = false;
	for (unsigned way = 0; way < 8; way++) {
		bool large = way & 1, unused = way & 2, nearly_full = way & 4;
		uint64_t size = large ? 2 * PFS_MIB : 200000, blocks = large ? 32 : 4;
		uint64_t exact = blocks * PFS_BLOCK_ENTRY_LEN + size + 2 * PFS_VARINT_MAX;
		struct pfs_stage stage = {.dense = size - 1000};
		struct pfs_version *v = pfs_version_new(&key);
		struct pfs_change change = {.version = v,
					    .current = {.unused = {unused ? 8 : 0, 4, 9000, 300}}};
		char want[128];

		v->size = size;
		v->adding = 1000;
		v->source = (struct pfs_source){.kind = PFS_SOURCE_STAGE, .stage = &stage};
		memset(&room, 0, sizeof(room));
		room.fake = true;
		room.len = 200;
		room.nearly_full = nearly_full;
		assert_int_equal(pfs_change_place(store, &change), 0);
		if (unused) {
			assert_string_equal(room.asked, "");
			assert_int_equal(v->target.page, 8);
			assert_int_equal(v->target.len, 300);
		} else {
			uint64_t more = exact + (large ? exact / 4 : PFS_BLOCK_LEN);

			snprintf(want, sizeof(want),
				 nearly_full ? " alloc %llu alloc %llu" : " alloc %llu",
				 (unsigned long long)more, (unsigned long long)exact);
			assert_string_equal(room.asked, want);
			assert_true(change.allocated);
		}
		free(v);
	}
	free(store);
}

/* Proves: of a version that takes over what the object shows the source leaves with the checkpoint
 * that has taken the version before it. */
static void sources_may_leave(void **state)
{
	struct pfs_store *store = calloc(1, sizeof(*store));
	struct pfs_view view = {.size = 5, .mtime_ns = 7, .source = {.kind = PFS_SOURCE_RECORD}};
	struct pfs_key key = pfs_key_num(1);

	(void)state;
	store->applying = 7;
	for (uint64_t batch = 5; batch <= 8; batch++) {
		struct pfs_version pending = {.batch = batch};
		struct pfs_change change = {.version = pfs_version_new(&key),
					    .current = {.pending = batch > 5 ? &pending : NULL}};

		pfs_change_inherit(store, &change, &view);
		assert_int_equal(change.source_leaves, batch == 6 || batch == 7);
		assert_int_equal(change.version->size, 5);
		assert_int_equal(change.version->mtime_ns, 7);
		free(change.version);
	}
	free(store);
}

/* Proves: large documents are packed block by block, each of them smaller if it can be, and no two
 * of them have the same content number. */
static void large_ones_are_packed(void **state)
{
	static uint8_t bytes[200000];
	struct pfs_store *store = calloc(1, sizeof(*store));

	(void)state;
	memset(&now, 0, sizeof(now));
	store->next_content = 100;
	for (unsigned seed = 1; seed <= 2; seed++) {
		struct pfs_packed packed;

		fill_document(bytes, sizeof(bytes), seed);
		assert_int_equal(pfs_pack(store, &packed, bytes, sizeof(bytes), true), 0);
		assert_int_equal(packed.content, 99 + seed);
		assert_int_equal(store->next_content, 100 + seed);
		assert_int_equal(packed.flags, PFS_CONTAINER_BLOCKS);
		assert_int_equal(packed.raw_len, sizeof(bytes));
		if (seed == 1)
			assert_int_equal(packed.body_len, sizeof(bytes) + 4 * PFS_BLOCK_ENTRY_LEN);
		else
			assert_true(packed.body_len < 5000);
		pfs_packed_free(&packed);
	}
	free(store);
}

/* Proves: what a version takes is its place, or the one that it shows; of one that is written in
 * parts no more than that and what the journal has of it. */
static void what_versions_take(void **state)
{
	static const struct {
		uint64_t target, home, logged; /* lengths; logged 0: it is no stage */
		uint64_t stored;
	} cases[] = {{300, 0, 0, 300},	  {0, 200, 0, 200},    {300, 200, 0, 300}, {300, 0, 50, 50},
		     {300, 200, 50, 250}, {300, 290, 50, 300}, {0, 200, 50, 200}};
	struct pfs_store *store = calloc(1, sizeof(*store));
	struct pfs_key key = pfs_key_num(1);

	(void)state;
	memset(&now, 0, sizeof(now));
	store->batch_number = 9;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_version *v = pfs_version_new(&key);
		struct pfs_stage stage = {.logged = cases[i].logged};
		struct pfs_change change = {
			.object = 17,
			.version = v,
			.current = {.home = {cases[i].home ? 7 : 0, 3, 5000, cases[i].home}}};

		v->removed = true; /* so that no index is needed */
		v->target =
			(struct pfs_extent_at){cases[i].target ? 8 : 0, 4, 9000, cases[i].target};
		if (cases[i].logged)
			v->source = (struct pfs_source){.kind = PFS_SOURCE_STAGE, .stage = &stage};
		pfs_change_show(store, &change, 77);
		assert_int_equal(v->stored, cases[i].stored);
		assert_int_equal(v->seq, 77);
		assert_int_equal(v->object, 17);
		assert_int_equal(v->batch, 9);
		assert_int_equal(v->home.len, cases[i].home);
		assert_int_equal(stage.written_ns > 0, cases[i].logged > 0);
		free(v);
	}
	free(store);
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
	room.fake = false;
	create_store(sim, PFS_MIB, 16);
	store = open_store(sim);
	put_document(store, &key, 300, 1);
	assert_true(store->changed_ns > 0 && store->changed_ns <= pfs_now_monotonic());
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

/* Proves: of a document in a damaged page the place is known, but of its bytes none is its own to
 * be written over or given back; what is counted of it is what its slot says. */
static void places_in_damaged_pages(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_key key = pfs_key_num(7);
	struct pfs_current current;
	struct pfs_store *store;
	struct pfs_page *page;
	uint32_t object;
	uint64_t len;

	(void)state;
	memset(&now, 0, sizeof(now));
	room.fake = false;
	create_store(sim, PFS_MIB, 16);
	store = open_store(sim);
	put_document(store, &key, 300, 1);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	assert_int_equal(pfs_current(store, object, &current), 0);
	len = current.home.len;
	assert_true(len > 16);
	assert_int_equal(current.counted_len, len);
	page = pfs_pager_find(store->pager, current.home.page);
	page->unusable = true;
	memset(&current, 0xa5, sizeof(current));
	assert_int_equal(pfs_current(store, object, &current), 0);
	assert_int_equal(current.home.page, page->number);
	assert_int_equal(current.home.len, 0);
	assert_int_equal(current.counted_len, len);
	page->unusable = false;
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places_are_found),
		cmocka_unit_test(stages_get_more),
		cmocka_unit_test(sources_may_leave),
		cmocka_unit_test(what_versions_take),
		cmocka_unit_test(large_ones_are_packed),
		cmocka_unit_test(what_is_not_made_gives_back),
		cmocka_unit_test(what_is_replaced_gives_back),
		cmocka_unit_test(packing_needs_memory),
		cmocka_unit_test(places_that_can_not_be_read),
		cmocka_unit_test(places_in_damaged_pages),
	};

	return cmocka_run_group_tests_name("changes", tests, NULL, NULL);
}
