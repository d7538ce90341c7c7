/* storage/store_source.c: bytes of documents, part by part: what is said of slots and containers
 * that are not right, what of a container is taken for what it was, and where bytes end. The file
 * is included, to call its parts. */
#include <stdlib.h>

#include "storage/codec.h"
#include "storage/store_internal.h"

static void *memory_or_none(size_t len);
static int read_or_given(struct pfs_journal *journal, const struct pfs_segment *segment,
			 uint64_t off, void *buf, size_t len);

#define malloc(len) memory_or_none(len)
#define pfs_journal_read read_or_given
#include "storage/store_source.c"
#undef malloc
#undef pfs_journal_read

#include "storage/epoch.h"
#include "tests/unit/store_helpers.h"

static struct {
	struct pfs_store *store;
	char line[256]; /* the last that was logged */
	bool no_memory;
	const uint8_t *record; /* that the journal gives; NULL: its own */
} now;

static void *memory_or_none(size_t len)
{
	return now.no_memory ? NULL : malloc(len);
}

static int read_or_given(struct pfs_journal *journal, const struct pfs_segment *segment,
			 uint64_t off, void *buf, size_t len)
{
	if (!now.record)
		return pfs_journal_read(journal, segment, off, buf, len);
	memcpy(buf, now.record, len);
	return 0;
}

static void keep_line(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	snprintf(now.line, sizeof(now.line), "%s", line);
}

static struct pfs_sim *begin(void)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_open_options options = {
		.manual = true, .io = pfs_sim_io(sim), .logger = {.fn = keep_line}};

	memset(&now, 0, sizeof(now));
	create_store(sim, PFS_MIB, 16);
	assert_int_equal(pfs_store_open(&now.store, STORE, &options, NULL), 0);
	return sim;
}

static void end(struct pfs_sim *sim)
{
	assert_int_equal(pfs_store_close(now.store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

static void put(uint64_t number, size_t len, uint64_t seed)
{
	struct pfs_key key = pfs_key_num(number);

	put_document(now.store, &key, len, seed);
}

static struct pfs_place place_now(uint64_t number)
{
	struct pfs_key key = pfs_key_num(number);
	struct pfs_place place;

	assert_int_equal(pfs_place(now.store, &key, &place), 0);
	return place;
}

static struct pfs_view view_now(uint64_t number)
{
	struct pfs_key key = pfs_key_num(number);
	struct pfs_view view;
	uint32_t object;
	uint64_t word;

	pfs_epoch_enter();
	assert_int_equal(pfs_find(now.store, &key, &object, &word), 0);
	assert_int_equal(pfs_view(now.store, word, &view), 0);
	pfs_epoch_leave();
	return view;
}

/* That this was said of a page, or of the journal. */
static void expect_said(const char *where, uint64_t off, const char *why)
{
	char want[128];

	snprintf(want, sizeof(want), "damage in %s at byte %llu: %s", where,
		 (unsigned long long)off, why);
	if (!strstr(now.line, want))
		fail_msg("'%s' was to be said, not '%s'", want, now.line);
	now.line[0] = '\0';
}

/* ---- containers ---- */

/* Proves: what can't be loaded is an error, which says where and why: the page, the slot, or the
 * container are not there, or are not what they should be. */
static void what_can_not_be_loaded_is_told(void **state)
{
	const struct pfs_slot gone = {.kind = PFS_SLOT_TOMBSTONE, .tag = 2, .seq = 1};
	struct pfs_sim *sim = begin();
	struct pfs_loaded loaded;
	struct pfs_slot_disk disk, right;
	struct pfs_place place;
	struct pfs_page *page;
	struct pfs_slot slot;
	uint64_t size, slot_off;

	(void)state;
	for (unsigned i = 1; i < 4; i++)
		put(i, 300, i);
	assert_int_equal(pfs_store_checkpoint(now.store), 0);
	place = place_now(2);
	page = pfs_pager_find(now.store->pager, place.page);
	size = page->file_size;
	slot_off = pfs_slot_offset(place.slot);
	assert_int_equal(pfs_load(now.store, place.page, place.slot, &loaded), 0);
	slot = loaded.slot;
	assert_int_equal(pfs_load_at(now.store, place.page, &slot, &loaded), 0);
	assert_string_equal(now.line, "");

	assert_int_equal(pfs_load(now.store, 999, 0, &loaded), -EIO);
	expect_said(page_name(999), 0, "the page is missing or unusable");
	assert_int_equal(pfs_load_at(now.store, 999, &slot, &loaded), -EIO);
	expect_said(page_name(999), 0, "the page is missing or unusable");
	page->file_size = slot_off;
	assert_int_equal(pfs_load(now.store, place.page, place.slot, &loaded), -EIO);
	expect_said(page_name(place.page), slot_off, "the slot can't be read");
	page->file_size = place.offset;
	assert_int_equal(pfs_load(now.store, place.page, place.slot, &loaded), -EIO);
	expect_said(page_name(place.page), place.offset, "the container can't be read");
	page->file_size = size;

	read_at(sim, page_name(place.page), slot_off, &right, sizeof(right));
	pfs_slot_encode(&disk, &gone);
	write_at(sim, page_name(place.page), slot_off, &disk, sizeof(disk));
	assert_int_equal(pfs_load(now.store, place.page, place.slot, &loaded), -EIO);
	expect_said(page_name(place.page), slot_off, "not a live slot");
	memset(&disk, 0xff, sizeof(disk));
	write_at(sim, page_name(place.page), slot_off, &disk, sizeof(disk));
	assert_int_equal(pfs_load(now.store, place.page, place.slot, &loaded), -EIO);
	expect_said(page_name(place.page), slot_off, "not a live slot");
	write_at(sim, page_name(place.page), slot_off, &right, sizeof(right));
	flip_bit(sim, page_name(place.page), place.offset + 20, 1);
	assert_int_equal(pfs_load(now.store, place.page, place.slot, &loaded), -EIO);
	expect_said(page_name(place.page), place.offset, "container does not verify");
	flip_bit(sim, page_name(place.page), place.offset + 20, 1);
	end(sim);
}

/* Proves: the length that a container says is that which stands behind its first five bytes, within
 * it and possible; else it says none. */
static void lengths_that_containers_say(void **state)
{
	static const struct {
		uint64_t says;
		unsigned takes; /* bytes */
	} cases[] = {{0, 1}, {5, 1}, {127, 1}, {128, 2}, {PFS_PAYLOAD_MAX, 0}};
	uint8_t *map = calloc(1, 4096);
	struct pfs_page page = {.map = map, .size = 4096, .file_size = 4096};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		unsigned takes = (unsigned)pfs_put_varint(map + 105, cases[i].says);

		assert_true(!cases[i].takes || cases[i].takes == takes);
		for (unsigned len = 0; len < 40; len++) {
			struct pfs_slot slot = {.off = 100, .len = len};

			assert_int_equal(pfs_peek_raw_len(&page, &slot),
					 len >= 5 + takes ? cases[i].says : 0);
		}
	}
	pfs_put_varint(map + 105, PFS_PAYLOAD_MAX + 1);
	assert_int_equal(pfs_peek_raw_len(&page, &(struct pfs_slot){.off = 100, .len = 40}), 0);
	pfs_put_varint(map + 105, 5);
	page.file_size = 131;
	assert_int_equal(pfs_peek_raw_len(&page, &(struct pfs_slot){.off = 100, .len = 40}), 0);
	page.file_size = 132;
	assert_int_equal(pfs_peek_raw_len(&page, &(struct pfs_slot){.off = 100, .len = 40}), 5);
	free(map);
}

/* Proves: a container is that of a source if change, lengths, dictionary and form are the same,
 * each of them. */
static void containers_of_sources(void **state)
{
	const struct pfs_container right = {
		.seq = 7, .raw_len = 100, .body_len = 50, .dict = 3, .flags = PFS_CONTAINER_LZ4};
	const struct pfs_source s = {
		.seq = 7, .size = 100, .body_len = 50, .dict = 3, .flags = PFS_CONTAINER_LZ4};

	(void)state;
	for (unsigned i = 0; i < 9; i++) {
		struct pfs_container c = right;

		c.seq += i == 1;
		c.raw_len += i == 2;
		c.body_len += i == 3;
		c.dict += i == 4;
		c.flags ^= i == 5   ? PFS_CONTAINER_LZ4
			   : i == 6 ? PFS_CONTAINER_BLOCKS
			   : i == 7 ? PFS_CONTAINER_LOST
			   : i == 8 ? PFS_CONTAINER_ATTR
				    : 0;
		assert_int_equal(is_source(&c, &s), i == 0 || i == 8);
	}
}

/* ---- stored form ---- */

/* Proves: blocks are had of a source that has some, in a record or a container, and of no other. */
static void sources_with_blocks(void **state)
{
	struct pfs_sim *sim = begin();
	uint64_t body_len, content;

	(void)state;
	for (unsigned large = 0; large < 2; large++) {
		for (unsigned in_page = 0; in_page < 2; in_page++) {
			struct pfs_view view;
			const uint8_t *blocks;

			put(1, large ? 200000 : 3000, 1);
			if (in_page)
				assert_int_equal(pfs_store_checkpoint(now.store), 0);
			view = view_now(1);
			assert_int_equal(view.source.kind,
					 in_page ? PFS_SOURCE_CONTAINER : PFS_SOURCE_RECORD);
			blocks = pfs_source_blocks(&view.source, &body_len, &content);
			assert_int_equal(blocks != NULL, large);
			if (!large)
				continue;
			assert_int_equal(body_len, view.source.body_len);
			assert_int_equal(content, view.source.content);
			/* The table's last entry says where the last block ends. */
			assert_int_equal(pfs_get_le32(blocks + 3 * PFS_BLOCK_ENTRY_LEN),
					 body_len - 4 * PFS_BLOCK_ENTRY_LEN);
		}
	}
	assert_null(pfs_source_blocks(&(struct pfs_source){.kind = PFS_SOURCE_EMPTY}, &body_len,
				      &content));
	end(sim);
}

/* Proves: the packed body of a small document is had as it is stored, from a record of up to the
 * room that there is for it; of another container nothing is copied. */
static void packed_bodies(void **state)
{
	static uint8_t buf[PFS_PACKED_ROOM + 8], want[PFS_PACKED_ROOM];
	struct pfs_sim *sim = begin();
	struct pfs_source s = {.kind = PFS_SOURCE_RECORD, .body_off = 40};
	struct pfs_view view;
	const uint8_t *body;

	(void)state;
	fill_document(want, sizeof(want), 1);
	now.record = want;
	s.record_len = PFS_PACKED_ROOM;
	assert_int_equal(pfs_source_packed(now.store, &s, buf, &body), 0);
	assert_ptr_equal(body, buf + 40);
	assert_memory_equal(buf, want, PFS_PACKED_ROOM);
	s.record_len = PFS_PACKED_ROOM + 1;
	assert_int_equal(pfs_source_packed(now.store, &s, buf, &body), -EIO);
	expect_said("journal", 0, "segment 0: a value does not verify");
	now.record = NULL;
	put(1, 3000, 1);
	put(2, 200000, 1);
	assert_int_equal(pfs_store_checkpoint(now.store), 0);
	view = view_now(1);
	memset(buf, 0, sizeof(buf));
	assert_int_equal(pfs_source_packed(now.store, &view.source, buf, &body), 0);
	assert_ptr_equal(body, buf);
	fill_document(want, 3000, 1);
	assert_memory_equal(buf, want, 3000);
	view = view_now(2);
	memset(buf, 0xa5, sizeof(buf));
	assert_int_equal(pfs_source_packed(now.store, &view.source, buf, &body), 0);
	for (size_t i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], 0xa5);
	end(sim);
}

/* ---- reading ---- */

/* Proves: a block of zeros takes nothing and reads as zeros, wherever it is read to. */
static void blocks_of_zeros(void **state)
{
	struct pfs_key key = pfs_key_num(1);
	struct pfs_sim *sim = begin();
	uint8_t *have = malloc(400000);
	uint32_t object;

	(void)state;
	put(1, 10, 1);
	assert_int_equal(pfs_lookup(now.store, &key, &object, NULL), 0);
	assert_int_equal(pfs_write(now.store, object, 399990, "the end...", 10, 5), 0);
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned from = 0; from < 3; from++) {
			static const uint64_t begins[] = {10, 65536, 70000};

			memset(have, 0xa5, 400000);
			assert_int_equal(pfs_read(now.store, object, begins[from], have, 200000),
					 200000);
			for (unsigned i = 0; i < 200000; i++)
				assert_int_equal(have[i], 0);
		}
		assert_int_equal(pfs_checkpoint(now.store, true), 0);
	}
	assert_true(place_now(1).container_len < 1000);
	free(have);
	end(sim);
}

/* Proves: behind the end of what a stage holds a source is of zeros; behind that of anything else
 * there is nothing to be read. */
static void behind_the_end(void **state)
{
	static const struct {
		uint64_t off;
		size_t len;
		bool beyond;
	} cases[] = {{0, 100000, false},   {99990, 10, false}, {99990, 11, true},
		     {99999, 2, true},	   {100000, 1, true},  {100001, 1, true},
		     {0, 100001, true},	   {100000, 0, false}, {200000, 0, false},
		     {99999, 1, false},	   {5, 99995, false},  {5, 99996, true},
		     {UINT64_MAX, 1, true}};
	static uint8_t want[100000], have[100100];
	struct pfs_key key = pfs_key_num(1);
	struct pfs_sim *sim = begin();
	uint32_t object;

	(void)state;
	fill_document(want, sizeof(want), 1);
	put(1, sizeof(want), 1);
	assert_int_equal(pfs_lookup(now.store, &key, &object, NULL), 0);
	for (unsigned kind = 0; kind < 3; kind++) {
		struct pfs_view view;

		if (kind == 1)
			assert_int_equal(pfs_store_checkpoint(now.store), 0);
		if (kind == 2)
			assert_int_equal(pfs_write(now.store, object, 7, want + 7, 9, 5), 0);
		view = view_now(1);
		for (size_t i = 0; i < pfs_array_len(cases); i++) {
			uint64_t off = cases[i].off;
			size_t len = cases[i].len;

			if (kind == 2 && off == UINT64_MAX)
				continue;
			memset(have, 0xa5, sizeof(have));
			assert_int_equal(pfs_source_read(now.store, &view.source, off, have, len),
					 cases[i].beyond && kind < 2 ? -EIO : 0);
			assert_int_equal(have[len], 0xa5);
			if (cases[i].beyond && kind < 2)
				continue;
			for (size_t k = 0; k < len; k++)
				assert_int_equal(have[k],
						 off + k < sizeof(want) ? want[off + k] : 0);
		}
	}
	end(sim);
}

/* Proves: without memory for a record it is not read, and nothing is said of damage; what is
 * damaged in no segment is said to be in the first. */
static void without_memory(void **state)
{
	struct pfs_sim *sim = begin();
	struct pfs_view view;
	uint8_t have[300];

	(void)state;
	put(1, 300, 1);
	view = view_now(1);
	now.no_memory = true;
	assert_int_equal(pfs_source_read(now.store, &view.source, 0, have, 300), -ENOMEM);
	now.no_memory = false;
	assert_string_equal(now.line, "");
	assert_int_equal(pfs_source_read(now.store, &view.source, 0, have, 300), 0);
	assert_int_equal(journal_damaged(now.store, NULL, 17, -EIO), -EIO);
	expect_said("journal", 17, "segment 0: a value can't be read");
	end(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_can_not_be_loaded_is_told),
		cmocka_unit_test(lengths_that_containers_say),
		cmocka_unit_test(containers_of_sources),
		cmocka_unit_test(sources_with_blocks),
		cmocka_unit_test(packed_bodies),
		cmocka_unit_test(blocks_of_zeros),
		cmocka_unit_test(behind_the_end),
		cmocka_unit_test(without_memory),
	};

	return cmocka_run_group_tests_name("sources", tests, NULL, NULL);
}
