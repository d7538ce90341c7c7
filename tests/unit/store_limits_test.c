/* storage/store.h: the limits that it names, each from both sides, and what is answered there. */
#include "tests/unit/one_store.h"

static int begin(void **state)
{
	(void)state;
	begin_store(PFS_MIB, 128);
	return 0;
}

static uint32_t object_of(const struct pfs_key *key)
{
	uint32_t object;

	assert_int_equal(pfs_lookup(store, key, &object, NULL), 0);
	return object;
}

/* Proves: a document may have PFS_PAYLOAD_MAX bytes, whichever way it comes to them, and not one
 * more; a refusal changes nothing. */
static void payloads_end_at_their_maximum(void **state)
{
	struct pfs_key key = pfs_key_num(1), other = pfs_key_num(2);
	struct pfs_attr attr = {.size = PFS_PAYLOAD_MAX + 1}, now;
	struct pfs_put_item items[2] = {{.key = pfs_key_num(3), .data = "three", .len = 5},
					{.key = pfs_key_num(4), .len = PFS_PAYLOAD_MAX + 1}};
	struct pfs_put *put;
	uint32_t object, replaced = 7;
	char last;
	int err;

	(void)state;
	assert_int_equal(pfs_put(store, &key, "", PFS_PAYLOAD_MAX + 1, NULL, 0, &replaced), -EFBIG);
	assert_int_equal(replaced, 0);
	assert_int_equal(pfs_lookup(store, &key, &object, NULL), -ENOENT);
	assert_int_equal(pfs_put(store, &key, "x", 1, NULL, 0, NULL), 0);
	object = object_of(&key);
	assert_int_equal(pfs_write(store, object, PFS_PAYLOAD_MAX, "y", 1, 5), -EFBIG);
	assert_int_equal(pfs_write(store, object, PFS_PAYLOAD_MAX + 1, "", 0, 5), -EFBIG);
	assert_int_equal(pfs_write(store, object, PFS_PAYLOAD_MAX, "", 0, 5), 0);
	assert_int_equal(pfs_setattr(store, object, PFS_ATTR_SIZE, &attr, NULL), -EFBIG);
	assert_int_equal(pfs_getattr(store, object, &now), 0);
	assert_int_equal(now.size, 1);
	attr.size = PFS_PAYLOAD_MAX;
	assert_int_equal(pfs_setattr(store, object, PFS_ATTR_SIZE, &attr, &now), 0);
	assert_int_equal(now.size, PFS_PAYLOAD_MAX);
	assert_int_equal(pfs_write(store, object, PFS_PAYLOAD_MAX - 1, "z", 1, 5), 0);
	assert_int_equal(pfs_read(store, object, PFS_PAYLOAD_MAX - 1, &last, 1), 1);
	assert_int_equal(last, 'z');
	assert_int_equal(pfs_put_begin(store, &put), 0);
	assert_int_equal(pfs_put_write(put, "a", 1), 0);
	assert_int_equal(pfs_put_write(put, "", PFS_PAYLOAD_MAX), -EFBIG);
	assert_int_equal(pfs_put_commit(put, &other, NULL, 0, NULL), 0);
	assert_int_equal(pfs_getattr(store, object_of(&other), &now), 0);
	assert_int_equal(now.size, 1);
	assert_int_equal(pfs_put_many(store, items, 2, &err), 1);
	assert_int_equal(err, -EFBIG);
	assert_int_equal(pfs_remove(store, &key, NULL), 0);
}

/* Proves: the flags of a rename are those that there are; what it replaces is named only when it
 * was replaced. */
static void renames_know_their_flags(void **state)
{
	static const struct {
		unsigned from, to, flags;
		int err;
	} tries[] = {
		{1, 2, PFS_RENAME_NOREPLACE | PFS_RENAME_EXCHANGE, -EINVAL},
		{1, 2, PFS_RENAME_EXCHANGE << 1, -EINVAL},
		{1, 2, PFS_RENAME_NOREPLACE, -EEXIST},
		{1, 3, PFS_RENAME_EXCHANGE, -ENOENT},
		{3, 1, 0, -ENOENT},
		{1, 1, 0, 0},
		{1, 2, PFS_RENAME_EXCHANGE, 0},
		{1, 3, PFS_RENAME_NOREPLACE, 0},
	};
	struct pfs_key one = pfs_key_num(1), two = pfs_key_num(2), three = pfs_key_num(3);
	uint32_t first, second, replaced;

	(void)state;
	put_document(store, &one, 100, 1);
	put_document(store, &two, 100, 2);
	first = object_of(&one);
	second = object_of(&two);
	for (size_t i = 0; i < pfs_array_len(tries); i++) {
		struct pfs_key from = pfs_key_num(tries[i].from), to = pfs_key_num(tries[i].to);

		replaced = 7;
		assert_int_equal(pfs_rename(store, &from, &to, tries[i].flags, &replaced),
				 tries[i].err);
		assert_int_equal(replaced, 0);
	}
	/* They were exchanged, and then 1 became 3. */
	assert_int_equal(object_of(&two), first);
	assert_int_equal(object_of(&three), second);
	assert_int_equal(pfs_rename(store, &two, &three, 0, &replaced), 0);
	assert_int_equal(replaced, second);
}

/* Proves: what is there already is not made again, and is named. */
static void what_is_there_is_not_made(void **state)
{
	struct pfs_key key = pfs_key_num(1);
	struct pfs_attr attr = {.mode = 0600};
	uint32_t made, there = 7;

	(void)state;
	assert_int_equal(pfs_create(store, &key, &attr, &made), 0);
	assert_int_equal(pfs_create(store, &key, &attr, &there), -EEXIST);
	assert_int_equal(there, made);
	assert_int_equal(pfs_create(store, &key, &attr, NULL), -EEXIST);
	assert_int_equal(pfs_write(store, made, 0, "x", 1, 1), 0);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_create(store, &key, &attr, &there), -EEXIST);
	assert_int_equal(there, made);
}

/* Proves: what is held is in the journal after PFS_HOLD_TICKS ticks, and not before. */
static void what_is_held_is_logged_in_time(void **state)
{
	struct pfs_key key = pfs_key_num(1);
	struct pfs_attr attr = {.mode = 0600}, empty = {.size = 0};
	uint32_t object;

	(void)state;
	assert_int_equal(pfs_create(store, &key, &attr, &object), 0);
	for (unsigned what = 0; what < 2; what++) {
		uint64_t before = pfs_store_sequence(store);

		for (unsigned i = 1; i < PFS_HOLD_TICKS; i++) {
			assert_int_equal(pfs_store_tick(store), 0);
			assert_int_equal(pfs_store_sequence(store), before);
		}
		assert_int_equal(pfs_store_tick(store), 0);
		assert_int_equal(pfs_store_sequence(store), before + 1);
		assert_int_equal(pfs_write(store, object, 0, "x", 1, 1), 0);
		assert_int_equal(pfs_setattr(store, object, PFS_ATTR_SIZE, &empty, NULL), 0);
	}
}

/* Proves: where a document lies, and how it is packed, is told alike before and after it has come
 * to a page: blocks from one byte over a block on. Reads end where it ends. */
static void places_are_told_before_and_after(void **state)
{
	static const struct {
		size_t len;
		unsigned seed; /* odd: random bytes */
		uint64_t blocks;
		bool compressed;
	} docs[] = {
		{50, 1, 0, false},    {500, 2, 0, true},
		{65536, 1, 0, false}, {65536, 2, 0, true},
		{65537, 2, 2, true},  {131072, 1, 2, true}, /* in blocks, though none is smaller */
		{131073, 2, 3, true},
	};

	(void)state;
	for (unsigned i = 0; i < pfs_array_len(docs); i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, docs[i].len, docs[i].seed);
	}
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < pfs_array_len(docs); i++) {
			struct pfs_key key = pfs_key_num(i);
			uint32_t object = object_of(&key);
			struct pfs_place place;
			char byte;

			assert_int_equal(pfs_place(store, &key, &place), 0);
			assert_int_equal(place.in_journal, !pass);
			assert_int_equal(place.page != 0, pass);
			assert_int_equal(place.compressed, docs[i].compressed);
			assert_int_equal(place.blocks, docs[i].blocks);
			assert_int_equal(place.sequence, i + 1);
			assert_int_equal(pfs_read(store, object, docs[i].len - 1, &byte, 1), 1);
			assert_int_equal(pfs_read(store, object, docs[i].len, &byte, 1), 0);
			assert_int_equal(pfs_read(store, object, UINT64_MAX, &byte, 1), 0);
		}
		assert_int_equal(pfs_store_checkpoint(store), 0);
	}
}

/* Proves: the mode and owner of documents that say none are those which the first opening for
 * writing gave, of its mode what a mode is; later ones have no say. */
static void the_first_opening_gives_the_defaults(void **state)
{
	const struct pfs_defaults given[] = {{.mode = 0107604, .uid = 7, .gid = 8},
					     {.mode = 0600, .uid = 9, .gid = 10}};
	struct pfs_sim *disk = pfs_sim_new();

	(void)state;
	create_store(disk, PFS_PAGE_SIZE_MIN, 16);
	for (unsigned i = 0; i < 3; i++) {
		const struct pfs_open_options options = {.manual = true,
							 .io = pfs_sim_io(disk),
							 .logger = quiet,
							 .defaults = i < 2 ? &given[i] : NULL};
		struct pfs_key key = pfs_key_num(i);
		struct pfs_store *opened;
		struct pfs_attr attr;

		assert_int_equal(pfs_store_open(&opened, STORE, &options, NULL), 0);
		assert_int_equal(pfs_put(opened, &key, "x", 1, NULL, 0, NULL), 0);
		assert_int_equal(pfs_lookup(opened, &key, NULL, &attr), 0);
		assert_true(attr.mode == 07604 && attr.uid == 7 && attr.gid == 8);
		assert_int_equal(pfs_store_close(opened), 0);
	}
	pfs_sim_free(disk);
}

static uint64_t used_by(struct pfs_store *opened)
{
	struct pfs_store_stat stat;

	assert_int_equal(pfs_store_stat(opened, &stat), 0);
	return stat.used_bytes;
}

/* Proves: a document that is removed while somebody holds it is read on, and takes no more room for
 * that, whether it was in a page, changed since, or never got there; let go of, it takes none. */
static void what_is_held_takes_no_more_room(void **state)
{
	enum { IN_PAGE, OTHER_MODE, OTHER_BYTES, IN_JOURNAL, WAYS };

	(void)state;
	for (unsigned way = 0; way < WAYS; way++) {
		struct pfs_sim *disk = pfs_sim_new();
		const struct pfs_open_options options = {.manual = true,
							 .hold_objects = true,
							 .io = pfs_sim_io(disk),
							 .logger = quiet};
		const struct pfs_attr attr = {.mode = 0600};
		struct pfs_key key = pfs_key_num(5);
		struct pfs_store *opened;
		uint64_t nothing, used;
		uint32_t object, removed;
		uint8_t want[3000], got[3000];

		create_store(disk, PFS_PAGE_SIZE_MIN, 16);
		assert_int_equal(pfs_store_open(&opened, STORE, &options, NULL), 0);
		nothing = used_by(opened);
		put_document(opened, &key, sizeof(want), 3);
		fill_document(want, sizeof(want), 3);
		if (way != IN_JOURNAL)
			assert_int_equal(pfs_store_checkpoint(opened), 0);
		assert_int_equal(pfs_lookup(opened, &key, &object, NULL), 0);
		if (way == OTHER_MODE)
			assert_int_equal(pfs_setattr(opened, object, PFS_ATTR_MODE, &attr, NULL),
					 0);
		if (way == OTHER_BYTES)
			assert_int_equal(pfs_write(opened, object, 10, want, 20, 5), 0);
		if (way == OTHER_BYTES)
			memmove(want + 10, want, 20);
		used = used_by(opened);
		assert_int_equal(pfs_remove(opened, &key, &removed), 0);
		assert_int_equal(removed, object);
		/* What its body is in is read where it lies; else its key may take a few bytes
		 * more. */
		assert_in_range(used_by(opened), nothing,
				way == OTHER_MODE ? used - sizeof(want) : used + 16);
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(pfs_read(opened, object, 0, got, sizeof(got)),
					 sizeof(got));
			assert_memory_equal(got, want, sizeof(got));
			assert_int_equal(pfs_store_checkpoint(opened), 0);
		}
		pfs_release(opened, object);
		assert_int_equal(pfs_store_checkpoint(opened), 0);
		assert_int_equal(used_by(opened), nothing);
		assert_int_equal(pfs_store_close(opened), 0);
		expect_healthy(disk);
		pfs_sim_free(disk);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(payloads_end_at_their_maximum, begin, end_store),
		cmocka_unit_test_setup_teardown(renames_know_their_flags, begin, end_store),
		cmocka_unit_test_setup_teardown(what_is_there_is_not_made, begin, end_store),
		cmocka_unit_test_setup_teardown(what_is_held_is_logged_in_time, begin, end_store),
		cmocka_unit_test(the_first_opening_gives_the_defaults),
		cmocka_unit_test(what_is_held_takes_no_more_room),
		cmocka_unit_test_setup_teardown(places_are_told_before_and_after, begin, end_store),
	};

	return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
