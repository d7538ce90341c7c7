/* Damage beneath an open store: bytes that are turned, containers with right checksums that no
 * store writes, files that end too early. A document is an error then, by every way of reading it;
 * the others are what they were. */
#include <pthread.h>
#include <unistd.h>

#include "storage/epoch.h"
#include "storage/pager_internal.h"
#include "storage/store_internal.h"
#include "tests/unit/dir_helpers.h"
#include "tests/unit/store_helpers.h"

#define LARGE 80000u
#define SMALL 700u

/* ---- documents ---- */

/* 0 to 9, in their pages; 7 is large, 8 has a name. */
static struct pfs_key doc_key(unsigned i)
{
	return i == 8 ? key_named(".doc.swp") : pfs_key_num(i);
}

static size_t doc_len(unsigned i)
{
	return i == 7 ? LARGE : SMALL;
}

static struct pfs_store *ten_documents(struct pfs_sim **sim)
{
	struct pfs_store *store;

	*sim = pfs_sim_new();
	create_store(*sim, 256 * PFS_KIB, 16);
	store = open_held(*sim);
	for (unsigned i = 0; i < 10; i++) {
		struct pfs_key key = doc_key(i);

		put_document(store, &key, doc_len(i), 2 * i + 1);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	return store;
}

static struct pfs_place place_in(struct pfs_store *store, unsigned i)
{
	struct pfs_key key = doc_key(i);
	struct pfs_place place;

	assert_int_equal(pfs_place(store, &key, &place), 0);
	assert_false(place.in_journal);
	return place;
}

static uint32_t object_of(struct pfs_store *store, unsigned i)
{
	struct pfs_key key = doc_key(i);
	uint32_t object;

	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	return object;
}

/* Its last byte, whatever it is: no header, no table. */
static void damage(struct pfs_sim *sim, const struct pfs_place *place)
{
	flip_bit(sim, page_name(place->page), place->offset + place->packed_len - 1, 3);
}

static int get_error(struct pfs_store *store, unsigned i)
{
	struct pfs_key key = doc_key(i);
	size_t len;
	void *got;
	int err = pfs_get(store, &key, &got, &len, NULL);

	free(got);
	return err;
}

static bool is_whole(struct pfs_store *store, unsigned i)
{
	struct pfs_key key = doc_key(i);
	uint8_t *want = malloc(doc_len(i));
	size_t len;
	void *got;
	bool whole;

	fill_document(want, doc_len(i), 2 * i + 1);
	whole = pfs_get(store, &key, &got, &len, NULL) == 0 && len == doc_len(i) &&
		memcmp(got, want, len) == 0;
	free(got);
	free(want);
	return whole;
}

static void expect_others(struct pfs_store *store, unsigned but)
{
	for (unsigned i = 0; i < 10; i++)
		if (i != but && !is_whole(store, i))
			fail_msg("document %u is not what it was", i);
}

static struct found *check_open(struct pfs_store *store)
{
	struct found *found = calloc(1, sizeof(*found));

	assert_int_equal(pfs_store_check(store, keep_finding, NULL, found, NULL, &found->result),
			 0);
	assert_int_equal(found->result.findings, found->count);
	return found;
}

static void end(struct pfs_store *store, struct pfs_sim *sim)
{
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* ---- the check ---- */

static bool stop;

static void stop_behind_documents(void *arg, uint64_t done, uint64_t total)
{
	(void)arg;
	(void)total;
	if (done)
		stop = true;
}

/* Proves: a check of an open store names each document that can't be read, and ends when it is
 * told to. */
static void checks_name_what_can_not_be_read(void **state)
{
	struct pfs_check_result result;
	struct pfs_sim *sim;
	struct pfs_store *store = ten_documents(&sim);
	struct pfs_place place = place_in(store, 3);
	struct found *found;
	uint8_t byte;

	(void)state;
	damage(sim, &place);
	found = check_open(store);
	assert_int_equal(found->count, 1);
	assert_true(found->at[0].fatal && found->at[0].key.num == 3);
	assert_string_equal(found->at[0].where, "document");
	assert_int_equal(found->result.damaged, 1);
	assert_int_equal(found->result.documents, 10);
	free(found);
	assert_int_equal(pfs_store_check(store, NULL, NULL, NULL, NULL, &result), 0);
	assert_int_equal(result.findings, 1);
	stop = false;
	assert_int_equal(pfs_store_check(store, NULL, stop_behind_documents, NULL, &stop, &result),
			 -ECANCELED);
	assert_int_equal(result.documents, 10);
	assert_int_equal(pfs_read(store, object_of(store, 3), 5, &byte, 1), -EIO);
	expect_others(store, 3);
	end(store, sim);
}

/* Proves: slots that are gone beneath the store are noticed: less is in the page than is known. */
static void checks_count_the_space_again(void **state)
{
	const struct pfs_slot gone = {.kind = PFS_SLOT_TOMBSTONE, .tag = 3, .seq = 1};
	struct pfs_check_result result;
	struct pfs_slot_disk disk;
	struct pfs_sim *sim;
	struct pfs_store *store = ten_documents(&sim);
	struct pfs_place place = place_in(store, 3);
	struct found *found;

	(void)state;
	pfs_slot_encode(&disk, &gone);
	write_at(sim, page_name(place.page), pfs_slot_offset(place.slot), &disk, sizeof(disk));
	found = check_open(store);
	assert_true(found->count >= 1);
	assert_string_equal(found->at[0].where, page_name(place.page));
	assert_non_null(strstr(found->at[0].text, "free space drifted"));
	assert_true(found->at[0].fatal);
	free(found);
	assert_int_equal(pfs_store_check(store, NULL, NULL, NULL, NULL, &result), 0);
	assert_true(result.findings >= 1);
	/* Of a page whose space could not be noted nothing is said. */
	pfs_pager_find(store->pager, place.page)->inexact = true;
	found = check_open(store);
	for (size_t i = 0; i < found->count; i++)
		assert_string_not_equal(found->at[i].where, page_name(place.page));
	free(found);
	pfs_pager_find(store->pager, place.page)->inexact = false;
	expect_others(store, 3);
	end(store, sim);
}

/* Proves: what a removed document that is still open takes is not missed, whether a truncation of
 * it is held or not. */
static void checks_count_what_is_open_without_a_name(void **state)
{
	struct pfs_attr cut = {.size = 0};
	struct pfs_sim *sim;
	struct pfs_store *store = ten_documents(&sim);

	(void)state;
	for (unsigned i = 2; i < 4; i++) {
		struct pfs_key key = doc_key(i);
		struct found *found;
		uint32_t object;

		assert_int_equal(pfs_remove(store, &key, &object), 0);
		assert_int_equal(pfs_object_key(store, object, &key), -ENOENT);
		assert_int_equal(pfs_tidy(store, object), -EALREADY);
		assert_int_equal(pfs_store_checkpoint(store), 0);
		if (i == 3)
			assert_int_equal(pfs_setattr(store, object, PFS_ATTR_SIZE, &cut, NULL), 0);
		found = check_open(store);
		print_found(found);
		assert_int_equal(found->count, 0);
		free(found);
		assert_int_equal(pfs_sync(store), 0);
		pfs_release(store, object);
	}
	/* Who has a name keeps it, and nobody is nobody. */
	pfs_release(store, object_of(store, 5));
	pfs_release(store, 99999);
	assert_true(is_whole(store, 5));
	end(store, sim);
}

/* ---- between a change and its page ---- */

/* Proves: the former slot of a document that has moved on is retired also when it is damaged. */
static void damaged_slots_are_retired(void **state)
{
	struct pfs_key key = doc_key(3);
	struct pfs_sim *sim;
	struct pfs_store *store = ten_documents(&sim);
	struct pfs_place place = place_in(store, 3);

	(void)state;
	put_document(store, &key, 3 * SMALL, 5);
	/* Its offset is out of the page now. */
	flip_bit(sim, page_name(place.page),
		 pfs_slot_offset(place.slot) + offsetof(struct pfs_slot_disk, low) + 3, 6);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(get_error(store, 3), 0);
	expect_others(store, 3);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

/* Proves: what is damaged between a change of its attributes and its move to another place is an
 * error afterwards, in no way a document of other bytes. */
static void damage_before_a_move_is_no_document(void **state)
{
	static const unsigned victims[] = {3, 7};
	struct pfs_attr attr = {.mode = 0604};
	struct pfs_compact_result packed;
	uint8_t byte;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(victims); i++) {
		struct pfs_sim *sim;
		struct pfs_store *store = ten_documents(&sim);
		struct pfs_place place = place_in(store, victims[i]);
		uint32_t object = object_of(store, victims[i]);

		assert_int_equal(pfs_setattr(store, object, PFS_ATTR_MODE, &attr, NULL), 0);
		flip_bit(sim, page_name(place.page), place.offset + 5, 1);
		assert_int_equal(pfs_store_checkpoint(store), 0);
		assert_int_equal(get_error(store, victims[i]), -EIO);
		assert_int_equal(pfs_read(store, object, 1, &byte, 1), -EIO);
		assert_int_equal(pfs_store_compact(store, NULL, NULL, NULL, &packed), 0);
		assert_int_equal(get_error(store, victims[i]), -EIO);
		expect_others(store, victims[i]);
		end(store, sim);
	}
}

/* Of the large document each block is right but the last, which is an error. */
static void expect_all_but_last(struct pfs_store *store, const uint8_t *want)
{
	const uint64_t last = (LARGE - 1) / PFS_BLOCK_LEN;
	uint32_t object = object_of(store, 7);
	uint8_t have[PFS_BLOCK_LEN];

	for (uint64_t b = 0; b <= last; b++) {
		size_t len = pfs_block_raw_len(LARGE, b);
		ssize_t n = pfs_read(store, object, b * PFS_BLOCK_LEN, have, len);

		assert_int_equal(n, b == last ? -EIO : (ssize_t)len);
		if (n > 0)
			assert_memory_equal(have, want + b * PFS_BLOCK_LEN, len);
	}
	assert_int_equal(get_error(store, 7), -EIO);
}

/* Proves: of a large document one block of which is damaged the others stay, also when something of
 * it is written, and it is packed anew. */
static void a_damaged_block_is_lost_alone(void **state)
{
	uint8_t *want = malloc(LARGE);
	struct pfs_sim *sim;
	struct pfs_store *store = ten_documents(&sim);
	struct pfs_place place = place_in(store, 7);
	uint32_t object = object_of(store, 7);

	(void)state;
	fill_document(want, LARGE, 2 * 7 + 1);
	damage(sim, &place);
	assert_int_equal(pfs_write(store, object, 100, "abc", 3, 5), 0);
	memcpy(want + 100, "abc", 3);
	for (unsigned pass = 0; pass < 2; pass++) {
		expect_all_but_last(store, want);
		assert_int_equal(pfs_store_checkpoint(store), 0);
	}
	/* What was written just now goes to its page at the latest when the store is closed. */
	assert_int_equal(pfs_store_close(store), 0);
	store = open_store(sim);
	assert_false(place_in(store, 7).in_journal);
	expect_all_but_last(store, want);
	expect_others(store, 7);
	free(want);
	end(store, sim);
}

/* The place in a segment's file of some bytes that stand in its beginning. */
static uint64_t find_in_segment(struct pfs_sim *sim, const char *name, const char *bytes)
{
	enum { LOOK = 256 * 1024 };
	uint8_t *file = malloc(LOOK);
	const uint8_t *found;
	uint64_t at;

	read_at(sim, name, 0, file, LOOK);
	found = memmem(file, LOOK, bytes, strlen(bytes));
	assert_non_null(found);
	at = (uint64_t)(found - file);
	free(file);
	return at;
}

/* Proves: what is damaged in the journal before it has come to its page is an error from then on,
 * and nothing else of the document is. */
static void damaged_records_are_errors(void **state)
{
	static const char patch[] = "some bytes that stand there once";
	struct pfs_key small = pfs_key_num(100);
	struct pfs_sim *sim;
	struct pfs_store *store = ten_documents(&sim);
	uint32_t object = object_of(store, 7);
	char segment[32], text[200];
	uint8_t byte;
	size_t len;
	void *got;

	(void)state;
	memset(text, 'q', sizeof(text));
	memcpy(text, "another document", 16);
	assert_int_equal(pfs_write(store, object, 5000, patch, strlen(patch), 5), 0);
	store->dict_off = true;
	assert_int_equal(pfs_put(store, &small, text, 60, NULL, 0, NULL), 0);
	assert_true(find_segment(sim, segment));
	flip_bit(sim, segment, find_in_segment(sim, segment, patch) + 3, 2);
	flip_bit(sim, segment, find_in_segment(sim, segment, "another document"), 2);
	for (unsigned pass = 0; pass < 2; pass++) {
		assert_int_equal(pfs_read(store, object, 5001, &byte, 1), -EIO);
		assert_int_equal(pfs_read(store, object, 10, &byte, 1), 1);
		assert_int_equal(pfs_get(store, &small, &got, &len, NULL), -EIO);
		assert_int_equal(pfs_store_checkpoint(store), 0);
	}
	expect_others(store, 7);
	end(store, sim);
}

/* Proves: a truncation that is held over a document that is damaged since is an error when it comes
 * to be logged, and a snapshot shows an error, too. */
static void snapshots_show_damage_as_such(void **state)
{
	struct pfs_attr cut = {.size = 0};
	struct pfs_snapshot *snapshot;
	struct pfs_key key = doc_key(3);
	struct pfs_sim *sim;
	struct pfs_store *store = ten_documents(&sim);
	struct pfs_place place = place_in(store, 3);
	uint8_t byte;

	(void)state;
	assert_int_equal(pfs_snapshot_open(store, &snapshot), 0);
	assert_int_equal(pfs_setattr(store, object_of(store, 3), PFS_ATTR_SIZE, &cut, NULL), 0);
	flip_bit(sim, page_name(place.page),
		 pfs_slot_offset(place.slot) + offsetof(struct pfs_slot_disk, low) + 3, 6);
	assert_int_equal(pfs_sync(store), -EIO);
	assert_int_equal(pfs_snapshot_read(snapshot, &key, 0, &byte, 1), -EIO);
	key = doc_key(4);
	assert_int_equal(pfs_snapshot_read(snapshot, &key, 0, &byte, 1), 1);
	pfs_snapshot_close(snapshot);
	expect_others(store, 3);
	(void)pfs_store_close(store);
	pfs_sim_free(sim);
}

/* Proves: where a damaged slot may be that of a document, nothing of its name is put beside it,
 * alone or among others. */
static void nothing_is_put_beside_what_may_be_there(void **state)
{
	struct pfs_put_item items[2] = {{.key = doc_key(1), .data = "1", .len = 1},
					{.key = doc_key(3), .data = "3", .len = 1}};
	struct pfs_sim *sim;
	struct pfs_store *store = ten_documents(&sim);
	struct pfs_place place = place_in(store, 3);
	int err;

	(void)state;
	flip_bit(sim, page_name(place.page), pfs_slot_offset(place.slot), 6); /* its tag */
	assert_int_equal(pfs_put_many(store, items, 2, &err), 1);
	assert_int_equal(err, -EIO);
	assert_int_equal(pfs_put(store, &items[1].key, "3", 1, NULL, 0, NULL), -EIO);
	end(store, sim);
}

/* ---- containers that verify and make no sense ---- */

static void name_a_dictionary(struct pfs_container *c, uint8_t *body)
{
	(void)body;
	c->dict = 9;
}

static void be_packed(struct pfs_container *c, uint8_t *body)
{
	c->flags |= PFS_CONTAINER_LZ4;
	memset(body, 0xff, c->body_len);
}

static void be_packed_and_long(struct pfs_container *c, uint8_t *body)
{
	c->flags = PFS_CONTAINER_LZ4;
	c->raw_len = 100;
	memset(body, 0xff, c->body_len);
}

static void be_lost(struct pfs_container *c, uint8_t *body)
{
	(void)body;
	c->flags = PFS_CONTAINER_LOST;
	c->body_len = 0;
}

static void have_another_name(struct pfs_container *c, uint8_t *body)
{
	static const uint8_t other[] = ".other";

	(void)body;
	c->tail = (struct pfs_tail){other, 6};
}

struct forgery {
	const char *name;
	unsigned victim;
	void (*change)(struct pfs_container *c, uint8_t *body);
	bool nameless; /* only its name is wrong: who has its number reads it */
};

static const struct forgery forgeries[] = {
	{"a dictionary for what is not packed", 3, name_a_dictionary, false},
	{"a dictionary for blocks", 7, name_a_dictionary, false},
	{"packed bytes that are none", 3, be_packed, false},
	{"more packed bytes than a small one has", 7, be_packed_and_long, false},
	{"another's name", 8, have_another_name, true},
};

/* The container at the place as it is with a change and a right checksum. Returns its length, to
 * the end of the body. */
static size_t forge_bytes(struct pfs_store *store, const struct pfs_place *place,
			  void (*change)(struct pfs_container *c, uint8_t *body), uint8_t *out)
{
	struct pfs_container c;
	struct pfs_loaded was;
	uint8_t *body;
	size_t header;

	pfs_epoch_enter();
	assert_int_equal(pfs_load(store, place->page, place->slot, &was), 0);
	c = was.c;
	body = malloc(c.body_len);
	memcpy(body, was.page->map + place->offset + c.header_len, c.body_len);
	change(&c, body);
	/* Another header may be longer. */
	c.len_width = 0;
	c.body_len = pfs_min_u64(c.body_len, place->container_len - c.header_len - 8);
	if (!(c.flags & (PFS_CONTAINER_LZ4 | PFS_CONTAINER_BLOCKS | PFS_CONTAINER_LOST)))
		c.raw_len = c.body_len;
	header = pfs_container_header_encode(out, &c, &was.base, place->container_len);
	assert_true(header + c.body_len <= place->container_len);
	memcpy(out + header, body, c.body_len);
	pfs_container_seal(out, header, c.body_len, out[4], c.seq, &was.base);
	pfs_epoch_leave();
	free(body);
	return header + c.body_len;
}

static void forge(struct pfs_sim *sim, struct pfs_store *store, const struct forgery *f)
{
	struct pfs_place place = place_in(store, f->victim);
	uint8_t *bytes = malloc(place.container_len);
	size_t len = forge_bytes(store, &place, f->change, bytes);

	write_at(sim, page_name(place.page), place.offset, bytes, len);
	free(bytes);
}

/* Proves: a container whose checksum is right and that says what no store writes is an error, read
 * as a whole, in part or in blocks. */
static void containers_that_make_no_sense(void **state)
{
	(void)state;
	for (size_t i = 0; i < pfs_array_len(forgeries); i++) {
		const struct forgery *f = &forgeries[i];
		struct pfs_sim *sim;
		struct pfs_store *store = ten_documents(&sim);
		uint32_t object = object_of(store, f->victim);
		struct pfs_attr attr = {.mode = 0604};
		struct pfs_compact_result packed;
		struct pfs_key key;
		uint8_t byte;

		forge(sim, store, f);
		if (f->nameless) {
			assert_int_equal(pfs_object_key(store, object, &key), -EIO);
			assert_int_equal(pfs_read(store, object, 1, &byte, 1), 1);
			/* A change would be under a name that it may not have. */
			assert_int_equal(pfs_write(store, object, 1, "abc", 3, 5), -EIO);
			assert_int_equal(pfs_setattr(store, object, PFS_ATTR_MODE, &attr, NULL),
					 -EIO);
			assert_int_equal(pfs_setattr(store, object, PFS_ATTR_SIZE, &attr, NULL),
					 -EIO);
		} else {
			assert_int_equal(pfs_read(store, object, 1, &byte, 1), -EIO);
		}
		if (get_error(store, f->victim) != -EIO)
			fail_msg("%s: it is read", f->name);
		expect_others(store, f->victim);
		assert_int_equal(pfs_store_compact(store, NULL, NULL, NULL, &packed), 0);
		assert_int_equal(get_error(store, f->victim), -EIO);
		expect_others(store, f->victim);
		end(store, sim);
	}
}

/* Proves: a table of blocks that says what can't be leads nowhere: to an error, for each block that
 * it concerns. */
static void tables_that_make_no_sense(void **state)
{
	/* Where the first block ends, and the second. */
	static const uint32_t ends[][2] = {{UINT32_MAX, UINT32_MAX},
					   {PFS_BLOCK_LEN + 1, PFS_BLOCK_LEN + 2},
					   {PFS_BLOCK_LEN, PFS_BLOCK_LEN - 1},
					   {0, LARGE}};
	uint8_t byte;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(ends); i++) {
		struct pfs_sim *sim;
		struct pfs_store *store = ten_documents(&sim);
		struct pfs_place place = place_in(store, 7);
		uint32_t object = object_of(store, 7);
		uint64_t table = place.offset + place.container_len - LARGE -
				 2 * (uint64_t)PFS_BLOCK_ENTRY_LEN;

		for (unsigned block = 0; block < 2; block++) {
			uint8_t end_at[4];

			pfs_put_le32(end_at, ends[i][block]);
			write_at(sim, page_name(place.page),
				 table + block * (uint64_t)PFS_BLOCK_ENTRY_LEN, end_at, 4);
		}
		assert_int_equal(pfs_read(store, object, LARGE - 1, &byte, 1), -EIO);
		/* That of the first may be right. */
		assert_int_equal(pfs_read(store, object, 0, &byte, 1),
				 ends[i][0] == PFS_BLOCK_LEN ? 1 : -EIO);
		expect_others(store, 7);
		end(store, sim);
	}
}

/* Proves: what a change of attributes shows is lost with the container that it shows. */
static void what_is_shown_can_be_lost(void **state)
{
	static const struct forgery lost = {"lost", 3, be_lost, false};
	struct pfs_attr attr = {.mode = 0604};
	struct pfs_sim *sim;
	struct pfs_store *store = ten_documents(&sim);
	struct pfs_place place = place_in(store, 3);
	uint32_t object = object_of(store, 3);

	(void)state;
	(void)place;
	forge(sim, store, &lost);
	assert_int_equal(get_error(store, 3), -EIO);
	assert_int_equal(pfs_write(store, object, 5, "abc", 3, 5), -EIO);
	assert_int_equal(pfs_setattr(store, object, PFS_ATTR_MODE, &attr, NULL), 0);
	assert_int_equal(get_error(store, 3), -EIO);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(get_error(store, 3), -EIO);
	expect_others(store, 3);
	end(store, sim);
}

static void be_another_change(struct pfs_container *c, uint8_t *body)
{
	(void)body;
	c->seq--;
}

/* Proves: what a change of attributes shows is what was there then: another container in its place,
 * however right it is, is an error. */
static void another_container_is_not_shown(void **state)
{
	static const struct forgery others[] = {{"lost", 3, be_lost, false},
						{"another change", 3, be_another_change, false}};
	struct pfs_attr attr = {.mode = 0604};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(others); i++) {
		struct pfs_sim *sim;
		struct pfs_store *store = ten_documents(&sim);
		struct pfs_place place = place_in(store, 3);
		uint32_t object = object_of(store, 3);
		uint8_t bytes[2 * SMALL];
		size_t len = forge_bytes(store, &place, others[i].change, bytes);

		assert_int_equal(pfs_setattr(store, object, PFS_ATTR_MODE, &attr, NULL), 0);
		assert_true(is_whole(store, 3));
		write_at(sim, page_name(place.page), place.offset, bytes, len);
		assert_int_equal(get_error(store, 3), -EIO);
		assert_int_equal(pfs_store_checkpoint(store), 0);
		assert_int_equal(get_error(store, 3), -EIO);
		expect_others(store, 3);
		end(store, sim);
	}
}

/* Proves: where the store has lost a page itself, its documents are errors, for a snapshot and for
 * what is held of them as well; with the page they are there again. */
static void lost_pages_are_errors(void **state)
{
	struct pfs_attr cut = {.size = 0};
	struct pfs_snapshot *snapshot;
	struct pfs_key key = doc_key(3), held = doc_key(4);
	struct pfs_sim *sim;
	struct pfs_store *store = ten_documents(&sim);
	struct pfs_page *page = pfs_pager_find(store->pager, place_in(store, 3).page);
	uint8_t byte;

	(void)state;
	assert_int_equal(place_in(store, 4).page, page->number);
	assert_int_equal(pfs_snapshot_open(store, &snapshot), 0);
	put_document(store, &key, SMALL, 2 * 3 + 1);
	assert_int_equal(pfs_setattr(store, object_of(store, 4), PFS_ATTR_SIZE, &cut, NULL), 0);
	pfs_pager_withdraw(store->pager, page);
	assert_int_equal(pfs_snapshot_read(snapshot, &key, 0, &byte, 1), -EIO);
	assert_int_equal(pfs_snapshot_read(snapshot, &held, 0, &byte, 1), -EIO);
	assert_int_equal(get_error(store, 5), -EIO);
	assert_int_equal(pfs_sync(store), -EIO);
	assert_int_equal(pfs_pager_publish(store->pager, page), 0);
	assert_int_equal(pfs_snapshot_read(snapshot, &key, 0, &byte, 1), 1);
	assert_int_equal(pfs_sync(store), 0);
	expect_others(store, 4);
	pfs_snapshot_close(snapshot);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

/* ---- files that end ---- */

#define FOUR_BLOCKS 200000u

static struct pfs_store *open_files(const char *path)
{
	struct pfs_open_options options = {.manual = true, .logger = quiet};
	struct pfs_store *store;

	assert_int_equal(pfs_store_open(&store, path, &options, NULL), 0);
	return store;
}

static void have_a_long_table(struct pfs_container *c, uint8_t *body)
{
	(void)body;
	c->raw_len = PFS_GIB;
}

static void cut(const char *path, uint64_t off)
{
	assert_int_equal(truncate(path, (off_t)pfs_round_up(off, (uint64_t)sysconf(_SC_PAGESIZE))),
			 0);
}

/* Proves: where the file of a page ends beneath an open store, what was behind the end is an error,
 * wherever that is: in the slots, a table of blocks, a block. */
static void files_may_end_too_early(void **state)
{
	struct pfs_key key = pfs_key_num(1), other = pfs_key_num(2);
	const char *tmp = getenv("TMPDIR");
	static uint8_t bytes[2 * FOUR_BLOCKS];
	struct pfs_store *store;
	struct pfs_place place;
	char where[64], path[128];
	uint32_t object;
	uint8_t byte;
	size_t len;
	int fd;

	(void)state;
	snprintf(where, sizeof(where), "%s/store-damage-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(where));
	assert_int_equal(
		pfs_store_create(where, &(struct pfs_create_options){.page_size = PFS_MIB}, NULL),
		0);
	assert_int_equal(pfs_store_create(where, NULL, NULL), -EEXIST);
	/* With threads, and messages where they go by themselves. */
	assert_int_equal(pfs_store_open(&store, where, NULL, NULL), 0);
	assert_int_equal(pfs_store_close(store), 0);
	store = open_files(where);
	put_document(store, &key, FOUR_BLOCKS, 1);
	put_document(store, &other, SMALL, 1);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	assert_int_equal(pfs_place(store, &key, &place), 0);
	snprintf(path, sizeof(path), "%s/%s", where, page_name(place.page));
	cut(path, place.offset + FOUR_BLOCKS / 2);
	assert_int_equal(pfs_read(store, object, 0, &byte, 1), 1);
	assert_int_equal(pfs_read(store, object, FOUR_BLOCKS - 1, &byte, 1), -EIO);
	/* As if the table went as far. */
	cut(path, PFS_MIB);
	len = forge_bytes(store, &place, have_a_long_table, bytes);
	fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, bytes, len, (off_t)place.offset), len);
	close(fd);
	cut(path, place.offset + FOUR_BLOCKS / 2);
	assert_int_equal(pfs_read(store, object, PFS_GIB - 1, &byte, 1), -EIO);
	cut(path, 0);
	assert_int_equal(pfs_read(store, object, 0, &byte, 1), -EIO);
	assert_int_equal(pfs_lookup(store, &other, &object, NULL), -EIO);
	(void)pfs_store_close(store);
	remove_dir(where);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* First: each test has cmocka's own handler of SIGBUS in the beginning, and the
		 * engine puts its there once. */
		cmocka_unit_test(files_may_end_too_early),
		cmocka_unit_test(checks_name_what_can_not_be_read),
		cmocka_unit_test(checks_count_the_space_again),
		cmocka_unit_test(checks_count_what_is_open_without_a_name),
		cmocka_unit_test(damaged_slots_are_retired),
		cmocka_unit_test(damage_before_a_move_is_no_document),
		cmocka_unit_test(a_damaged_block_is_lost_alone),
		cmocka_unit_test(damaged_records_are_errors),
		cmocka_unit_test(snapshots_show_damage_as_such),
		cmocka_unit_test(nothing_is_put_beside_what_may_be_there),
		cmocka_unit_test(containers_that_make_no_sense),
		cmocka_unit_test(tables_that_make_no_sense),
		cmocka_unit_test(what_is_shown_can_be_lost),
		cmocka_unit_test(another_container_is_not_shown),
		cmocka_unit_test(lost_pages_are_errors),
	};

	return cmocka_run_group_tests_name("damage beneath an open store", tests, NULL, NULL);
}
