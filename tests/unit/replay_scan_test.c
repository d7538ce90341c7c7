/* storage/replay_scan.c by itself: what becomes of each kind of slot, and of each error on the way.
 * The file is included; what it calls of the index, the pager and of what finds out about slots is
 * the test's, which notes it. */
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage/replay.h"
#include "tests/unit/noted_calls.h"

#define PAGE 6u
#define WINDOW 1000u

static struct {
	char calls[8192];
	uint32_t objects;	   /* so many there are */
	int alloc_err, insert_err; /* of the index */
	int runs_err, dissolve_err;
	unsigned refuse; /* this allocation from now is refused; 0: none */
	struct pfs_slot_disk slots[8];
	uint32_t unread; /* this slot and those behind it can't be read */
	/* What a slot's container gives: */
	bool verifies;
	struct pfs_container c;
	/* What is found out about a damaged one: */
	enum pfs_identity identity;
	struct pfs_slot decoded;
	bool explained;
	/* Of the page: */
	int load_err;
	struct pfs_ahead_slot ahead[8];
} world;

static struct pfs_store the_store;
static struct pfs_page the_page;

#define note(...) calls_note(world.calls, sizeof(world.calls), __VA_ARGS__)
#define expect_calls(want) calls_expect(world.calls, want)

static bool is_refused(void)
{
	return world.refuse && --world.refuse == 0;
}

static void *fake_calloc(size_t n, size_t size)
{
	return is_refused() ? NULL : calloc(n, size);
}

static void *fake_realloc(void *old, size_t size)
{
	return is_refused() ? NULL : realloc(old, size);
}

static void *fake_malloc(size_t size)
{
	return is_refused() ? NULL : malloc(size);
}

static void fake_account(struct pfs_store *s, unsigned kind, uint64_t raw_len,
			 uint64_t container_len, bool add)
{
	assert_ptr_equal(s, &the_store);
	assert_true(add);
	note("account %u %llu %llu; ", kind, (unsigned long long)raw_len,
	     (unsigned long long)container_len);
}

static void fake_dict_count(struct pfs_store *s, uint32_t number, uint64_t seq, bool add)
{
	assert_ptr_equal(s, &the_store);
	assert_true(add);
	note("dict %u %llu; ", number, (unsigned long long)seq);
}

static int fake_alloc(struct pfs_index *index, uint32_t *object)
{
	(void)index;
	if (world.alloc_err)
		return world.alloc_err;
	*object = ++world.objects;
	return 0;
}

static void fake_set_word(struct pfs_index *index, uint32_t object, uint64_t word)
{
	(void)index;
	note("%u at %u:%u; ", object, pfs_word_page_number(word), pfs_word_slot(word));
}

static int fake_insert(struct pfs_index *index, uint32_t object, uint32_t hash)
{
	(void)index;
	(void)hash;
	if (!world.insert_err)
		note("insert %u; ", object);
	return world.insert_err;
}

static uint64_t reserved[8]; /* what was asked for, in order */
static unsigned reservations;

static int fake_reserve(struct pfs_index *index, uint64_t n)
{
	(void)index;
	reserved[reservations++ % pfs_array_len(reserved)] = n;
	return 0;
}

static uint32_t fetched[64]; /* hashes, in order */
static unsigned fetches;

static void fake_prefetch(const struct pfs_index *index, uint32_t hash)
{
	(void)index;
	assert_true(fetches < pfs_array_len(fetched));
	fetched[fetches++] = hash;
}

static int fake_add_run(struct pfs_index *index, uint64_t word, uint32_t count, uint64_t number)
{
	(void)index;
	note("run of %u from %llu at %u:%u; ", count, (unsigned long long)number,
	     pfs_word_page_number(word), pfs_word_slot(word));
	return 0;
}

static int fake_end_runs(struct pfs_index *index)
{
	(void)index;
	return world.runs_err;
}

static int fake_dissolve(struct pfs_index *index)
{
	(void)index;
	note("dissolve; ");
	return world.dissolve_err;
}

static int fake_copy(const struct pfs_page *page, void *dst, uint64_t off, size_t len)
{
	uint32_t slot = (uint32_t)((off - PFS_PAGE_HEADER_LEN) / PFS_SLOT_LEN);

	assert_ptr_equal(page, &the_page);
	assert_int_equal(len, sizeof(struct pfs_slot_disk));
	assert_int_equal(off, pfs_slot_offset(slot));
	if (slot >= world.unread)
		return -EIO;
	memcpy(dst, &world.slots[slot], len);
	return 0;
}

static int fake_load_slot(struct pfs_page *page, const struct pfs_slot_disk *disk,
			  struct pfs_loaded *out)
{
	memset(out, 0xa5, sizeof(*out));
	out->page = page;
	assert_int_equal(pfs_slot_decode(&out->slot, disk, PFS_PAGE_HEADER_LEN, page->size), 0);
	if (!world.verifies)
		return -EUCLEAN;
	out->c = world.c;
	return 0;
}

static uint64_t fake_peek(const struct pfs_page *page, const struct pfs_slot *slot)
{
	assert_ptr_equal(page, &the_page);
	return slot->tag + 3;
}

static enum pfs_identity fake_identify(struct pfs_identify *by, const struct pfs_slot_disk *slot,
				       struct pfs_identified *out)
{
	(void)slot;
	assert_ptr_equal(by->arg, &the_page);
	assert_int_equal(by->page_size, the_page.size);
	assert_int_equal(by->base_seq, the_page.base_seq);
	by->budget -= 100;
	*out = (struct pfs_identified){.decoded = world.decoded};
	return world.identity;
}

static bool fake_identify_slot(struct pfs_identify *by, const struct pfs_slot_disk *slot,
			       struct pfs_identified *out)
{
	(void)slot;
	by->budget -= 10;
	*out = (struct pfs_identified){.decoded = world.decoded};
	return world.explained;
}

static void fake_make_unusable(struct pfs_pager *pager, struct pfs_page *page)
{
	(void)pager;
	assert_ptr_equal(page, &the_page);
	note("unusable; ");
}

static int fake_load(struct pfs_pager *pager, struct pfs_page *page)
{
	(void)pager;
	(void)page;
	return world.load_err;
}

static uint32_t fake_next(const struct pfs_pager *pager, uint32_t after)
{
	(void)pager;
	return after ? 0 : PAGE;
}

static struct pfs_page *fake_find(struct pfs_pager *pager, uint32_t number)
{
	(void)pager;
	assert_int_equal(number, PAGE);
	return &the_page;
}

static int fake_ahead_begin(struct pfs_ahead **out, const struct pfs_replay_state *state)
{
	(void)state;
	*out = NULL;
	return 0;
}

/* Two slots at a time. */
static const struct pfs_ahead_slot *fake_ahead_next(struct pfs_ahead *ahead, uint32_t *count)
{
	static uint32_t at;

	(void)ahead;
	at %= the_page.slot_count;
	*count = (uint32_t)pfs_min_u64(2, the_page.slot_count - at);
	at += *count;
	return &world.ahead[at - *count];
}

static void fake_ahead_end(struct pfs_ahead *ahead)
{
	assert_null(ahead);
}

#define calloc fake_calloc
#define realloc fake_realloc
#define malloc fake_malloc
#define pfs_account fake_account
#define pfs_dict_count fake_dict_count
#define pfs_index_alloc fake_alloc
#define pfs_index_set_word fake_set_word
#define pfs_index_insert fake_insert
#define pfs_index_reserve fake_reserve
#define pfs_index_prefetch_hash fake_prefetch
#define pfs_index_add_run fake_add_run
#define pfs_index_end_runs fake_end_runs
#define pfs_index_dissolve_runs fake_dissolve
#define pfs_page_copy fake_copy
#define pfs_load_slot fake_load_slot
#define pfs_peek_raw_len fake_peek
#define pfs_identify(...) fake_identify(__VA_ARGS__)
#define pfs_identify_slot fake_identify_slot
#define pfs_pager_make_unusable fake_make_unusable
#define pfs_pager_load fake_load
#define pfs_pager_next fake_next
#define pfs_pager_find fake_find
#define pfs_ahead_begin fake_ahead_begin
#define pfs_ahead_next fake_ahead_next
#define pfs_ahead_end fake_ahead_end
#include "storage/replay_scan.c"
#undef calloc
#undef realloc
#undef malloc

static void keep_line(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	note("%s%s; ", level == PFS_LOG_ERROR ? "" : "not an error: ", line);
}

static struct pfs_replay_state begin(void)
{
	struct pfs_replay_state state = {.store = &the_store, .window = WINDOW, .run_min = 3};

	memset(&world, 0, sizeof(world));
	world.unread = UINT32_MAX;
	memset(&the_store, 0, sizeof(the_store));
	the_store.logger.fn = keep_line;
	the_store.dict_users_known = true;
	memset(&the_page, 0, sizeof(the_page));
	the_page.number = PAGE;
	the_page.size = 64 * PFS_KIB;
	the_page.base_seq = 500;
	state.loaded = malloc(sizeof(*state.loaded));
	state.probe_bytes = 10000;
	return state;
}

static void end(struct pfs_replay_state *state)
{
	free(state->loaded);
	free(state->named);
	free(state->untrusted);
	free(state->tombstones);
	free(state->tombstone_tags);
	free(state->tombstone_seqs);
}

/* ---- names ---- */

/* Proves: of any number of names each is known once it was told, and no other; there are at least
 * twice as many places as names, and no more than that needs. Without memory nothing changes. */
static void names_are_known(void **state)
{
	struct pfs_replay_state s = begin();

	(void)state;
	assert_false(pfs_is_named(&s, PFS_KEY_NUM, 0));
	for (unsigned i = 0; i < 5000; i++) {
		unsigned kind = 1 + i % 4;

		assert_int_equal(pfs_name(&s, kind, i / 4), 0);
		assert_int_equal(s.named_count, i + 1);
		assert_int_equal(s.named_size, i < 512	  ? 1024
					       : i < 1024 ? 2048
					       : i < 2048 ? 4096
					       : i < 4096 ? 8192
							  : 16384);
		assert_int_equal(pfs_name(&s, kind, i / 4), 0);
		assert_int_equal(s.named_count, i + 1);
		if (i % 500 == 0 || i == 511 || i == 512 || i == 1023)
			for (unsigned k = 0; k < i + 50; k++)
				assert_int_equal(pfs_is_named(&s, 1 + k % 4, k / 4), k <= i);
	}
	while (s.named_count < 8192)
		assert_int_equal(pfs_name(&s, PFS_KEY_NUM, 100000 + s.named_count), 0);
	world.refuse = 1;
	assert_int_equal(pfs_name(&s, PFS_KEY_NUM, 1), -ENOMEM);
	assert_int_equal(s.named_count, 8192);
	assert_true(pfs_is_named(&s, PFS_KEY_NUM, 1));
	assert_false(pfs_is_named(&s, PFS_KEY_NUM, 99999));
	end(&s);
}

/* Proves: a place is found whichever are taken, as long as one is free. */
static void the_free_place_is_found(void **state)
{
	(void)state;
	for (size_t hole = 0; hole < 8; hole++) {
		uint64_t named[8];
		size_t at;

		for (size_t i = 0; i < 8; i++)
			named[i] = i == hole ? 0 : 80 + i;
		for (uint64_t hash = 8; hash < 16; hash++) {
			assert_false(find_name(named, 8, hash, &at));
			assert_int_equal(at, hole);
			named[hole] = hash;
			assert_true(find_name(named, 8, hash, &at));
			assert_int_equal(at, hole);
			named[hole] = 0;
		}
	}
}

/* ---- slots ---- */

static void put_slot(uint32_t number, const struct pfs_slot *slot)
{
	pfs_slot_encode(&world.slots[number], slot);
}

static const struct pfs_slot live = {PFS_KEY_NUM, 70, 4096, 200, 0};
static const struct pfs_slot temp = {PFS_KEY_TEMP, 71, 4096, 300, 0};

/* Proves: of a slot without document nothing is kept but a tombstone of the window; one that is not
 * all zero, or makes no sense, is damage; one that can't be read is an error. The highest sequence
 * of tombstones is known. */
static void slots_without_documents(void **state)
{
	struct pfs_replay_state s = begin();

	(void)state;
	assert_int_equal(scan_slot(&s, &the_page, 0), 0);
	expect_calls("");
	put_slot(1, &(struct pfs_slot){.kind = PFS_SLOT_TOMBSTONE, .tag = 5, .seq = WINDOW - 1});
	assert_int_equal(scan_slot(&s, &the_page, 1), 0);
	assert_int_equal(s.tombstone_count, 0);
	assert_int_equal(s.last_seq, WINDOW - 1);
	put_slot(2, &(struct pfs_slot){.kind = PFS_SLOT_TOMBSTONE, .tag = 5, .seq = WINDOW});
	assert_int_equal(scan_slot(&s, &the_page, 2), 0);
	assert_int_equal(s.tombstone_count, 1);
	assert_int_equal(s.tombstones[0].page, PAGE);
	assert_int_equal(s.tombstones[0].slot, 2);
	assert_int_equal(s.tombstone_tags[0], 5);
	assert_int_equal(s.tombstone_seqs[0], WINDOW);
	assert_int_equal(s.last_seq, WINDOW);
	expect_calls("");
	world.identity = PFS_IDENTITY_NONE;
	for (unsigned bad = 0; bad < 2; bad++) {
		memset(&world.slots[3], 0, sizeof(world.slots[3]));
		if (bad)
			world.slots[3].word.b[3] = 0xf0;
		else
			world.slots[3].tag.b[0] = 1;
		assert_int_equal(scan_slot(&s, &the_page, 3), 0);
		expect_calls("damage in page-00000006 at byte 112: slot 3 or what it points to is "
			     "damaged; unusable; ");
	}
	assert_int_equal(s.unknown, 0);
	assert_false(the_store.dict_users_known);
	world.unread = 4;
	assert_int_equal(scan_slot(&s, &the_page, 4), -EIO);
	end(&s);
}

/* Proves: without memory a tombstone is an error, whichever of its parts there is none for, and is
 * not counted. */
static void tombstones_need_memory(void **state)
{
	struct pfs_replay_state s = begin();

	(void)state;
	put_slot(2, &(struct pfs_slot){.kind = PFS_SLOT_TOMBSTONE, .tag = 5, .seq = WINDOW});
	for (unsigned i = 1; i < 4; i++) {
		world.refuse = i;
		assert_int_equal(scan_slot(&s, &the_page, 2), -ENOMEM);
		assert_int_equal(s.tombstone_count, 0);
	}
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(scan_slot(&s, &the_page, 2), 0);
	assert_int_equal(s.tombstone_count, 200);
	end(&s);
}

#define DAMAGED \
	"damage in page-00000006 at byte 64: slot 0 or what it points to is damaged; unusable; "

/* Proves: a slot with a document goes where it belongs: to those that records decide about, where
 * they name it and it is of the window or torn; to the damaged ones, where it does not verify and
 * is its own; else into the index, with what its container says if that verifies. The sequence of
 * what verifies is known. */
static void slots_with_documents(void **state)
{
	static const struct {
		bool temporary, named, verifies, window, anothers;
		enum { UNTRUSTED, DAMAGE, INSTALLED } then;
	} cases[] = {
		{false, false, true, true, false, INSTALLED},
		{false, false, false, true, false, DAMAGE},
		{false, true, true, true, false, UNTRUSTED},
		{false, true, true, false, false, INSTALLED},
		{false, true, false, false, false, UNTRUSTED},
		{false, true, false, false, true, DAMAGE},
		{true, false, true, true, false, INSTALLED},
		{true, false, false, true, false, INSTALLED},
		{true, true, false, false, true, INSTALLED},
		{true, true, false, false, false, UNTRUSTED},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_replay_state s = begin();
		const struct pfs_slot *slot = cases[i].temporary ? &temp : &live;
		uint64_t seq = cases[i].window ? WINDOW : WINDOW - 1;
		char expected[200];

		put_slot(0, slot);
		if (cases[i].named)
			assert_int_equal(pfs_name(&s, slot->kind, slot->tag), 0);
		world.verifies = cases[i].verifies;
		world.c = (struct pfs_container){.raw_len = 150, .dict = 9, .seq = seq};
		world.explained = true;
		world.decoded = *slot;
		world.decoded.tag += cases[i].anothers;
		world.identity = PFS_IDENTITY_NONE;
		assert_int_equal(scan_slot(&s, &the_page, 0), 0);
		if (s.run.count)
			assert_int_equal(end_run(&s), 0);
		snprintf(expected, sizeof(expected),
			 "account %u %d %llu; dict %d 0; 1 at 6:0; insert 1; ", slot->kind,
			 cases[i].verifies ? 150 : 0, (unsigned long long)slot->len,
			 cases[i].verifies ? 9 : 0);
		expect_calls(cases[i].then == INSTALLED ? expected
			     : cases[i].then == DAMAGE	? DAMAGED
							: "");
		assert_int_equal(s.untrusted_count, cases[i].then == UNTRUSTED);
		assert_int_equal(s.last_seq,
				 cases[i].then == UNTRUSTED && cases[i].verifies ? seq : 0);
		if (cases[i].then == UNTRUSTED) {
			assert_int_equal(s.untrusted[0].at.page, PAGE);
			assert_int_equal(s.untrusted[0].at.slot, 0);
			assert_int_equal(s.untrusted[0].at.off, slot->off);
			assert_int_equal(s.untrusted[0].at.len, slot->len);
			assert_int_equal(s.untrusted[0].tag, slot->tag);
			assert_int_equal(s.untrusted[0].seq, cases[i].verifies ? seq : 0);
		}
		/* Also another kind of key with the same tag is another's. */
		end(&s);
	}
}

/* Proves: of a damaged slot it is told what it was: nothing; not known; a document, which is there,
 * or which the records decide about; something temporary, or nothing again, which nobody misses. */
static void damaged_slots_are_told(void **state)
{
	static const struct {
		enum pfs_identity identity;
		unsigned kind;
		bool named;
		unsigned unknown, installed, untrusted;
	} cases[] = {
		{PFS_IDENTITY_NONE, PFS_KEY_NUM, false, 0, 0, 0},
		{PFS_IDENTITY_SLOT, PFS_KEY_NUM, false, 0, 1, 0},
		{PFS_IDENTITY_CONTAINER, PFS_KEY_UUID, false, 0, 1, 0},
		{PFS_IDENTITY_UNREADABLE, PFS_KEY_NUM, false, 0, 1, 0},
		{PFS_IDENTITY_UNKNOWN, PFS_KEY_NUM, false, 1, 1, 0},
		{PFS_IDENTITY_UNKNOWN, PFS_SLOT_FREE, false, 1, 0, 0},
		{PFS_IDENTITY_UNKNOWN, PFS_SLOT_TOMBSTONE, false, 1, 0, 0},
		{PFS_IDENTITY_WHOLE, PFS_SLOT_TOMBSTONE, false, 0, 0, 0},
		{PFS_IDENTITY_SLOT, PFS_KEY_TEMP, false, 0, 0, 0},
		{PFS_IDENTITY_UNKNOWN, PFS_KEY_TEMP, false, 1, 0, 0},
		{PFS_IDENTITY_SLOT, PFS_KEY_NUM, true, 0, 0, 1},
		{PFS_IDENTITY_UNKNOWN, PFS_KEY_NUM, true, 1, 0, 1},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_replay_state s = begin();
		char expected[300] = DAMAGED;

		world.identity = cases[i].identity;
		world.decoded = live;
		world.decoded.kind = cases[i].kind;
		if (cases[i].named)
			assert_int_equal(pfs_name(&s, cases[i].kind, live.tag), 0);
		if (cases[i].installed)
			snprintf(expected + strlen(expected), 100,
				 "account %u 73 200; dict 0 0; 1 at 6:0; insert 1; ",
				 cases[i].kind);
		assert_int_equal(scan_damaged(&s, &the_page, 0, &world.slots[0]), 0);
		expect_calls(expected);
		assert_int_equal(s.unknown, cases[i].unknown);
		assert_int_equal(s.untrusted_count, cases[i].untrusted);
		if (cases[i].untrusted) {
			assert_int_equal(s.untrusted[0].tag, live.tag);
			assert_int_equal(s.untrusted[0].at.off, live.off);
			assert_int_equal(s.untrusted[0].at.len, 0);
			assert_int_equal(s.untrusted[0].seq, 0);
		}
		assert_false(the_store.dict_users_known);
		assert_int_equal(s.probe_bytes, 9900);
		end(&s);
	}
}

/* ---- pages ---- */

static void put_ahead(uint32_t number, uint8_t seen, unsigned kind, uint64_t tag)
{
	world.ahead[number] = (struct pfs_ahead_slot){
		.seen = seen, .kind = (uint8_t)kind, .tag = tag, .raw_len = 10, .len = 20};
}

/* Documents 8, 9, 10, 11 and another key's, one slot unused, one to be looked at. */
static struct pfs_replay_state begin_page(void)
{
	struct pfs_replay_state s = begin();

	the_page.slot_count = 7;
	for (uint32_t i = 0; i < 4; i++)
		put_ahead(i, PFS_AHEAD_GOOD, PFS_KEY_NUM, 8 + i);
	put_ahead(4, PFS_AHEAD_GOOD, PFS_KEY_UUID, 9);
	put_ahead(5, PFS_AHEAD_FREE, 0, 0);
	put_ahead(6, PFS_AHEAD_ODD, 0, 0);
	put_slot(6, &(struct pfs_slot){.kind = PFS_SLOT_TOMBSTONE, .seq = 3});
	return s;
}

#define ONE "account 1 10 20; dict 0 0; "
#define OTHER "account 2 10 20; dict 0 0; 1 at 6:4; insert 1; "
#define RUN "run of 4 from 8 at 6:0; "

/* Proves: all slots of a page are taken, with the highest sequence of it; the first error ends
 * that, but what was read before comes into the index. */
static void pages_are_taken_to_the_first_error(void **state)
{
	struct pfs_replay_state s = begin_page();

	(void)state;
	assert_int_equal(scan_page(&s, NULL, &the_page), 0);
	expect_calls(ONE ONE ONE ONE OTHER RUN);
	assert_int_equal(s.last_seq, 500);
	assert_int_equal(s.scanned, 7);
	assert_int_equal(s.singles, 1);
	assert_int_equal(s.unknown, 0);
	assert_true(the_store.dict_users_known);
	end(&s);
	s = begin_page();
	world.insert_err = -ENOMEM;
	assert_int_equal(scan_page(&s, NULL, &the_page), -ENOMEM);
	end(&s);
	s = begin_page();
	world.alloc_err = -ENOSPC;
	assert_int_equal(scan_page(&s, NULL, &the_page), -ENOSPC);
	expect_calls(ONE ONE ONE ONE "account 2 10 20; dict 0 0; " RUN);
	end(&s);
	s = begin_page();
	world.load_err = -ENOMEM;
	assert_int_equal(scan_page(&s, NULL, &the_page), -ENOMEM);
	expect_calls("");
	end(&s);
	/* One by one, of which the second can't be. */
	s = begin_page();
	s.run_min = 5;
	world.ahead[4].seen = PFS_AHEAD_FREE;
	world.insert_err = -ENOMEM;
	assert_int_equal(scan_page(&s, NULL, &the_page), -ENOMEM);
	expect_calls(ONE ONE ONE ONE "1 at 6:0; ");
	end(&s);
}

/* Proves: of a page that can't be read to its end it is said so, what was read is there, and
 * nothing is put there any more; the others are scanned. */
static void a_page_that_ends_early_is_told(void **state)
{
	struct pfs_replay_state s = begin_page();

	(void)state;
	put_ahead(5, PFS_AHEAD_ODD, 0, 0);
	world.unread = 5;
	assert_int_equal(scan_page(&s, NULL, &the_page), 0);
	expect_calls(
		ONE ONE ONE ONE OTHER RUN
		"page-00000006 can't be read to its end: what it held is not listed; unusable; ");
	assert_int_equal(s.unknown, 1);
	assert_false(the_store.dict_users_known);
	end(&s);
}

/* Proves: where documents are inserted one by one, what the index needs of each is fetched when the
 * one sixteen before it is looked at, of those that were read together; where most are in runs
 * nothing is. */
static void hashes_are_fetched_early(void **state)
{
	static struct pfs_ahead_slot slots[41];

	(void)state;
	for (unsigned singles = 49; singles < 51; singles++) {
		struct pfs_replay_state s = begin();
		unsigned expected = 0;

		for (unsigned i = 0; i < pfs_array_len(slots); i++)
			slots[i] = (struct pfs_ahead_slot){.seen = i % 3 ? PFS_AHEAD_GOOD
									 : PFS_AHEAD_FREE,
							   .kind = PFS_KEY_UUID,
							   .tag = i};
		s.scanned = 100;
		s.singles = singles;
		s.slots = 10000;
		fetches = 0;
		assert_int_equal(scan_ahead(&s, &the_page, 0, slots, 40), 0);
		for (unsigned i = 16; i < 40 && singles == 50; i++)
			if (i % 3)
				assert_int_equal(fetched[expected++],
						 pfs_index_hash(PFS_KEY_UUID, i));
		assert_int_equal(fetches, expected);
		assert_int_equal(s.scanned, 140);
		end(&s);
	}
}

/* Proves: once an eighth of the slots was seen the index is made for the rest, as far as what was
 * seen tells how many of them go there one by one. */
static void the_index_is_made_for_the_rest(void **state)
{
	static const struct {
		uint64_t slots, scanned, singles;
		bool reserved;
		uint64_t n;
	} cases[] = {
		{800, 99, 99, false, 0},    {800, 100, 100, true, 700}, {800, 100, 50, true, 350},
		{800, 100, 0, true, 0},	    {800, 400, 100, true, 100}, {800, 800, 100, true, 0},
		{807, 100, 100, true, 707}, {808, 100, 100, false, 0},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_replay_state s = begin();
		const struct pfs_ahead_slot slot = {.seen = PFS_AHEAD_FREE};

		s.slots = cases[i].slots;
		s.scanned = cases[i].scanned - 1;
		s.singles = cases[i].singles;
		reservations = 0;
		assert_int_equal(scan_ahead(&s, &the_page, 0, &slot, 1), 0);
		assert_int_equal(reservations, cases[i].reserved);
		if (reservations)
			assert_int_equal(reserved[0], cases[i].n);
		end(&s);
	}
}

/* Proves: places that are not trusted stand in the order of their sequences after the scan; runs
 * that have a number twice are dissolved, and an error of that is one of the scan. */
static void a_scan_ends_in_order(void **state)
{
	static const int errors[][3] = {
		{0, 0, 0}, {-ENOMEM, 0, -ENOMEM}, {-EUCLEAN, 0, 0}, {-EUCLEAN, -ENOMEM, -ENOMEM}};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(errors); i++) {
		struct pfs_replay_state s = begin_page();

		free(s.loaded);
		s.loaded = NULL;
		for (uint64_t k = 0; k < 100; k++) {
			assert_int_equal(
				pfs_distrust_place(&s, &(struct pfs_extent_at){.slot = (uint32_t)k},
						   k),
				0);
			s.untrusted[k].seq = k * 37 % 50 * (UINT64_C(1) << 33);
		}
		world.runs_err = errors[i][0];
		world.dissolve_err = errors[i][1];
		the_store.pages_damaged = i;
		assert_int_equal(pfs_scan(&s), errors[i][2]);
		assert_int_equal(strstr(world.calls, "dissolve; ") != NULL,
				 errors[i][0] == -EUCLEAN);
		assert_int_equal(s.slots, 7);
		assert_int_equal(s.unknown, i);
		assert_int_equal(the_store.dict_users_known, i == 0);
		assert_int_equal(s.untrusted_sorted, 100);
		for (uint64_t k = 0; k < 100; k++)
			assert_int_equal(s.untrusted[k].seq, k / 2 * (UINT64_C(1) << 33));
		s.loaded = NULL;
		end(&s);
	}
	for (unsigned i = 1; i < 3; i++) {
		struct pfs_replay_state s = begin_page();

		free(s.loaded);
		s.loaded = NULL;
		world.refuse = i;
		assert_int_equal(pfs_scan(&s), -ENOMEM);
		expect_calls("");
		s.loaded = NULL;
		end(&s);
	}
}

/* Proves: a place for which there is no memory is an error, and the next one is taken. */
static void without_memory_it_is_said_that_a_place_is_not_noted(void **state)
{
	struct pfs_replay_state s = begin_page();
	struct pfs_extent_at at = {.slot = 5};

	(void)state;
	world.refuse = 1;
	assert_int_equal(pfs_distrust_place(&s, &at, 7), -ENOMEM);
	assert_int_equal(s.untrusted_count, 0);
	assert_int_equal(pfs_distrust_place(&s, &at, 7), 0);
	assert_int_equal(s.untrusted_count, 1);
	assert_int_equal(s.untrusted[0].at.slot, 5);
	assert_int_equal(s.untrusted[0].tag, 7);
	end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_known),
		cmocka_unit_test(the_free_place_is_found),
		cmocka_unit_test(slots_without_documents),
		cmocka_unit_test(tombstones_need_memory),
		cmocka_unit_test(slots_with_documents),
		cmocka_unit_test(damaged_slots_are_told),
		cmocka_unit_test(pages_are_taken_to_the_first_error),
		cmocka_unit_test(a_page_that_ends_early_is_told),
		cmocka_unit_test(hashes_are_fetched_early),
		cmocka_unit_test(the_index_is_made_for_the_rest),
		cmocka_unit_test(a_scan_ends_in_order),
		cmocka_unit_test(without_memory_it_is_said_that_a_place_is_not_noted),
	};

	return cmocka_run_group_tests_name("scan of the pages", tests, NULL, NULL);
}
