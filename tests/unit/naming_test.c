/* storage/store_names.c, storage/store_put.c: the order in which names change hands, what stands
 * under several versions at once, and puts in pieces that fail. The files are included. */
#include <pthread.h>
#include <stdlib.h>

#include "storage/epoch.h"
#include "storage/store_names.h"
#include "tests/unit/poisoned.h"

static void step(char kind);
static void need_sequence(struct pfs_store *of, uint64_t seq);
static void note_displaced(uint64_t displaced);
static void note_created(const struct pfs_attr *attr);
static void note_written(int64_t mtime_ns);
static void need_commit(const struct pfs_store *of);
static bool fails(void);
static bool has_no_room(void);
static void note_throttled(size_t len, bool large);

#define pfs_index_moving(index) (step('m'), pfs_index_moving(index))
#define pfs_index_remove(...) (step('n'), pfs_index_remove(__VA_ARGS__))
#define pfs_index_insert(...) (step('n'), pfs_index_insert(__VA_ARGS__))
#define pfs_index_replace(...) (step('n'), pfs_index_replace(__VA_ARGS__))
#define pfs_index_set_cookie(...) (step('n'), pfs_index_set_cookie(__VA_ARGS__))
#define pfs_change_show(...) (step('n'), pfs_change_show(__VA_ARGS__))
#define pfs_change_settle(...) (step('s'), pfs_change_settle(__VA_ARGS__))
#define free(block) poisoned_free(block)
#include "storage/store_names.c"

#define pfs_leaving_finish(store, l, seq) \
	(step('s'), need_sequence(store, seq), pfs_leaving_finish(store, l, seq))
#define pfs_put_object(store, object, key, packed, attr, displaced) \
	(note_displaced(displaced),                                 \
	 has_no_room() ? -ENOSPC : pfs_put_object(store, object, key, packed, attr, displaced))
#define pfs_write_throttle(store, len, large) \
	(note_throttled(len, large), pfs_write_throttle(store, len, large))
#define pfs_pack(...) (fails() ? -ENOMEM : pfs_pack(__VA_ARGS__))
#define pfs_index_reserve(index, n) (fails() ? -ENOMEM : pfs_index_reserve(index, n))
#define pfs_index_reserve_cookies(index) (fails() ? -ENOMEM : pfs_index_reserve_cookies(index))
#define pfs_leaving_prepare(...) (fails() ? -ENOMEM : pfs_leaving_prepare(__VA_ARGS__))
#define pfs_create(store, key, attr, object) \
	(note_created(attr), fails() ? -ENOSPC : pfs_create(store, key, attr, object))
#define pfs_write(store, object, off, data, len, mtime_ns) \
	(note_written(mtime_ns),                           \
	 fails() ? -ENOSPC : pfs_write(store, object, off, data, len, mtime_ns))
#define pfs_find(store, key, object, word) (need_commit(store), pfs_find(store, key, object, word))
#define calloc(n, len) (fails() ? NULL : calloc(n, len))
#define pfs_rename(...) (fails() ? -ENOSPC : pfs_rename(__VA_ARGS__))
#include "storage/store_put.c"
#undef pfs_index_moving
#undef pfs_index_remove
#undef pfs_index_insert
#undef pfs_index_replace
#undef pfs_index_set_cookie
#undef pfs_change_show
#undef pfs_change_settle
#undef pfs_leaving_finish
#undef pfs_put_object
#undef pfs_write_throttle
#undef pfs_pack
#undef pfs_index_reserve
#undef pfs_index_reserve_cookies
#undef pfs_leaving_prepare
#undef pfs_create
#undef pfs_write
#undef pfs_find
#undef calloc
#undef pfs_rename
#undef free

#include "tests/unit/store_helpers.h"

static struct pfs_store *store;

static struct {
	char at[64];
	size_t count;
} steps;

static void step(char kind)
{
	if (steps.count + 1 < sizeof(steps.at))
		steps.at[steps.count++] = kind;
	steps.at[steps.count] = '\0';
}

/* That of the last record. */
static void need_sequence(struct pfs_store *of, uint64_t seq)
{
	assert_int_equal(seq, pfs_store_sequence(of));
}

static uint64_t displaced_last; /* by what was put */

static void note_displaced(uint64_t displaced)
{
	displaced_last = displaced;
}

/* What goes to the store of a put in pieces before its attributes are known. */
static struct pfs_attr created;
static int64_t written_ns;

static void note_created(const struct pfs_attr *attr)
{
	created = *attr;
}

static void note_written(int64_t mtime_ns)
{
	written_ns = mtime_ns;
}

static void need_commit(const struct pfs_store *of)
{
	assert_int_equal(pthread_mutex_trylock((pthread_mutex_t *)(uintptr_t)&of->commit), EBUSY);
}

/* Of what is asked for, so much is had, and the next is not; 0: everything is. */
static unsigned fails_at;

static bool fails(void)
{
	return fails_at && --fails_at == 0;
}

/* So often what is put has no room. */
static unsigned no_room, room_asked;

static bool has_no_room(void)
{
	room_asked++;
	return no_room && no_room--;
}

static struct {
	unsigned count;
	size_t len;
	bool large;
} throttled;

static void note_throttled(size_t len, bool large)
{
	throttled.count++;
	throttled.len = len;
	throttled.large = large;
}

static struct pfs_sim *begin(bool hold)
{
	struct pfs_sim *sim = pfs_sim_new();

	create_store(sim, PFS_MIB, 16);
	store = hold ? open_held(sim) : open_store(sim);
	return sim;
}

static void end(struct pfs_sim *sim)
{
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

static void put(uint64_t number, size_t len)
{
	struct pfs_key key = pfs_key_num(number);

	put_document(store, &key, len, number);
}

static uint32_t object_of(uint64_t number)
{
	struct pfs_key key = pfs_key_num(number);
	uint32_t object;

	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	return object;
}

static unsigned held_count(void)
{
	unsigned n = 0;

	for (struct pfs_list *item = store->held.next; item != &store->held; item = item->next)
		n++;
	return n;
}

/* Names were moved while those who look are told so, and nothing else was done meanwhile. */
static void expect_moved_at_once(void)
{
	size_t names;

	assert_int_equal(steps.at[0], 'm');
	names = strspn(steps.at + 1, "n");
	assert_true(names > 0);
	assert_memory_equal(steps.at + 1 + names, "ms", 2);
	assert_null(strchr(steps.at + 2 + names, 'm'));
	steps.count = 0;
}

/* Proves: where a name passes from one document to another, or two exchange theirs, all steps of it
 * are made while who looks is told to look again, and only then what is left is done. */
static void names_change_hands_at_once(void **state)
{
	const struct pfs_key one = pfs_key_num(1), two = pfs_key_num(2), three = pfs_key_num(3);

	(void)state;
	for (unsigned hold = 0; hold < 2; hold++) {
		struct pfs_sim *sim = begin(hold);
		uint32_t replaced;

		put(1, 300);
		put(2, 200);
		put(3, 100);
		steps.count = 0;
		assert_int_equal(pfs_rename(store, &one, &two, PFS_RENAME_EXCHANGE, NULL), 0);
		expect_moved_at_once();
		assert_int_equal(pfs_rename(store, &one, &two, 0, &replaced), 0);
		expect_moved_at_once();
		pfs_release(store, replaced);
		steps.count = 0;
		assert_int_equal(
			pfs_put(store, &three, "new", 3, NULL, PFS_PUT_NEW_OBJECT, &replaced), 0);
		expect_moved_at_once();
		pfs_release(store, replaced);
		end(sim);
	}
}

/* Proves: without memory for it, or room, a new document is not put, and no record says it. */
static void putting_needs_memory(void **state)
{
	struct pfs_key key = pfs_key_num(1);
	struct pfs_sim *sim = begin(false);
	struct pfs_store_stat stat;

	(void)state;
	for (unsigned n = 1; n <= 3; n++) {
		fails_at = n <= 2 ? n : 0;
		no_room = n == 3 ? 3 : 0;
		assert_int_equal(pfs_put(store, &key, "new", 3, NULL, 0, NULL),
				 n == 3 ? -ENOSPC : -ENOMEM);
		assert_int_equal(fails_at + no_room, 0);
		assert_int_equal(pfs_lookup(store, &key, &(uint32_t){0}, NULL), -ENOENT);
		assert_int_equal(pfs_store_stat(store, &stat), 0);
		assert_int_equal(stat.points, 0);
		assert_int_equal(stat.records, 0);
	}
	displaced_last = 4711;
	assert_int_equal(pfs_put(store, &key, "new", 3, NULL, 0, NULL), 0);
	assert_int_equal(displaced_last, 0);
	assert_int_equal(object_of(1), PFS_OBJECT_FIRST);
	end(sim);
}

/* Proves: where there is no room, some is made and the document put again, three times in all. */
static void room_is_made_for_a_put(void **state)
{
	struct pfs_key key = pfs_key_num(1);
	struct pfs_sim *sim = begin(false);

	(void)state;
	for (unsigned n = 0; n <= 4; n++) {
		no_room = n;
		room_asked = 0;
		assert_int_equal(pfs_put(store, &key, "new", 3, NULL, 0, NULL),
				 n < 3 ? 0 : -ENOSPC);
		assert_int_equal(room_asked, n < 3 ? n + 1 : 3);
	}
	no_room = 0;
	end(sim);
}

/* Proves: every document is told to who slows writers down, with its length and whether it has more
 * than a block, but for one that is refused because of that; up to the length of one write it is
 * one record; above that it comes in pieces. */
static void each_length_has_its_way(void **state)
{
	static const struct {
		size_t len;
		int err;
		bool large;
	} cases[] = {
		{0, 0, false},
		{PFS_BLOCK_LEN, 0, false},
		{PFS_BLOCK_LEN + 1, 0, true},
		{PFS_WHOLE_WRITE_MAX, 0, true},
		{PFS_WHOLE_WRITE_MAX + 1, -ENOMEM, true},
		{PFS_PAYLOAD_MAX, -ENOMEM, true},
		{(size_t)PFS_PAYLOAD_MAX + 1, -EFBIG, true},
	};
	struct pfs_key key = pfs_key_num(1);
	struct pfs_sim *sim = begin(false);
	uint8_t *bytes = calloc(1, PFS_WHOLE_WRITE_MAX);

	(void)state;
	put(1, 300);
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		uint64_t sequence = pfs_store_sequence(store);

		throttled = (typeof(throttled)){.len = 4711};
		/* Of those in pieces nothing is read: they can't begin. */
		fails_at = cases[i].err ? 1 : 0;
		assert_int_equal(pfs_put(store, &key, bytes, cases[i].len, NULL, 0, NULL),
				 cases[i].err);
		assert_int_equal(fails_at, cases[i].err == -EFBIG);
		assert_int_equal(throttled.count, cases[i].err != -EFBIG);
		if (throttled.count) {
			assert_int_equal(throttled.len, cases[i].len);
			assert_int_equal(throttled.large, cases[i].large);
		}
		assert_int_equal(pfs_store_sequence(store) - sequence, !cases[i].err);
	}
	fails_at = 0;
	free(bytes);
	end(sim);
}

/* Proves: without memory for what a new object displaces, that stays. */
static void displacing_needs_memory(void **state)
{
	struct pfs_key key = pfs_key_num(1);
	struct pfs_sim *sim = begin(false);
	uint32_t replaced = 4711, object;

	(void)state;
	put(1, 300);
	object = object_of(1);
	for (unsigned n = 1; n <= 4; n++) {
		fails_at = n;
		assert_int_equal(
			pfs_put(store, &key, "new", 3, NULL, PFS_PUT_NEW_OBJECT, &replaced),
			-ENOMEM);
		assert_int_equal(fails_at, 0);
		assert_int_equal(replaced, PFS_OBJECT_NONE);
		assert_int_equal(object_of(1), object);
	}
	end(sim);
}

/* Proves: the record of a new object names what it displaces if that is open and has a record;
 * where nothing is open, the new object gets the number of its place in listings. */
static void what_is_displaced_is_named(void **state)
{
	struct pfs_attr attr = {.mode = 0600, .mtime_ns = 1};
	struct pfs_key key = pfs_key_num(1);

	(void)state;
	for (unsigned way = 0; way < 4; way++) {
		bool hold = way & 1, made = way & 2;
		struct pfs_sim *sim = begin(hold);
		uint32_t replaced, object;

		if (made)
			assert_int_equal(pfs_create(store, &key, &attr, &object), 0);
		else
			put(1, 300);
		object = object_of(1);
		displaced_last = 4711;
		assert_int_equal(
			pfs_put(store, &key, "new", 3, NULL, PFS_PUT_NEW_OBJECT, &replaced), 0);
		assert_int_equal(replaced, object);
		if (hold && !made) {
			const struct pfs_version *v =
				pfs_word_to_version(pfs_index_word(store->index, replaced));

			assert_int_equal(v->kind, PFS_KEY_TEMP);
			assert_int_equal(displaced_last, v->tag);
		} else {
			assert_int_equal(displaced_last, 0);
		}
		assert_int_equal(object_of(1) == object, !hold);
		pfs_release(store, replaced);
		assert_int_equal(pfs_tidy(store, object_of(1)), hold ? 0 : -EALREADY);
		assert_int_equal(object_of(1), object);
		end(sim);
	}
}

/* Proves: a document in pieces, whichever of its steps fails, is not put, leaves nothing behind,
 * and its number is the next one's; then it is put. */
static void puts_in_pieces_may_fail(void **state)
{
	const size_t len = PFS_WHOLE_WRITE_MAX + 5;
	struct pfs_key key = pfs_key_num(1);
	struct pfs_sim *sim = begin(false);
	uint8_t *bytes = malloc(len);
	uint32_t end_number;
	struct pfs_attr attr;

	(void)state;
	fill_document(bytes, len, 2);
	put(1, 300);
	end_number = pfs_index_end(store->index);
	for (unsigned n = 1; n <= 4; n++) {
		struct pfs_store_stat stat;

		fails_at = n;
		assert_int_equal(pfs_put(store, &key, bytes, len, NULL, 0, NULL),
				 n == 1 ? -ENOMEM : -ENOSPC);
		assert_int_equal(fails_at, 0);
		assert_int_equal(pfs_getattr(store, object_of(1), &attr), 0);
		assert_int_equal(attr.size, 300);
		assert_int_equal(pfs_store_stat(store, &stat), 0);
		assert_int_equal(stat.points, 1);
		assert_int_equal(stat.raw_bytes, 300);
		assert_int_equal(held_count(), 0);
	}
	put(2, 30);
	assert_true(pfs_index_end(store->index) <= end_number + 1);
	assert_int_equal(pfs_put(store, &key, bytes, len, NULL, 0, NULL), 0);
	assert_int_equal(pfs_getattr(store, object_of(1), &attr), 0);
	assert_int_equal(attr.size, len);
	free(bytes);
	end(sim);
}

static unsigned said;

static void count_said(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
	said++;
}

/* Proves: who puts over a document without attributes of its own need not read it: be it damaged,
 * nobody is told, and nothing is displaced. */
static void what_is_put_over_is_not_read(void **state)
{
	struct pfs_sim *sim = begin(false);
	struct pfs_open_options options = {
		.manual = true, .io = pfs_sim_io(sim), .logger = {.fn = count_said}};
	struct pfs_key key = pfs_key_num(1);
	struct pfs_place place;
	struct pfs_attr attr;

	(void)state;
	assert_int_equal(pfs_put(store, &key, "0123456789", 10, NULL, 0, NULL), 0);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_place(store, &key, &place), 0);
	flip_bit(sim, page_name(place.page), place.offset + place.packed_len - 1, 3);
	assert_int_equal(pfs_store_close(store), 0);
	assert_int_equal(pfs_store_open(&store, STORE, &options, NULL), 0);
	said = 0;
	displaced_last = 4711;
	assert_int_equal(pfs_put(store, &key, "new", 3, NULL, 0, NULL), 0);
	assert_int_equal(said, 0);
	assert_int_equal(displaced_last, 0);
	assert_int_equal(pfs_getattr(store, object_of(1), &attr), 0);
	assert_int_equal(attr.mode, store->defaults.mode);
	assert_int_equal(attr.size, 3);
	end(sim);
}

/* Puts it in pieces, or at once. */
static void put_either_way(const struct pfs_key *key, bool in_pieces, const struct pfs_attr *attr,
			   unsigned flags)
{
	struct pfs_put *put;

	if (!in_pieces) {
		assert_int_equal(pfs_put(store, key, "one two", 7, attr, flags, NULL), 0);
		return;
	}
	assert_int_equal(pfs_put_begin(store, &put), 0);
	assert_int_equal(pfs_put_write(put, "one ", 4), 0);
	assert_int_equal(pfs_put_write(put, "two", 3), 0);
	assert_int_equal(pfs_put_commit(put, key, attr, flags, NULL), 0);
}

/* Proves: a document that is put in pieces has the attributes that it would have if it was put at
 * once: those that are given, those that were there, in the journal or in a page, or the store's;
 * and the time of now, if none is given. Until then it has the store's. */
static void pieces_have_the_same_attributes(void **state)
{
	struct pfs_attr own = {.mode = 0600, .uid = 5, .gid = 6, .mtime_ns = 1},
			given = {.mode = 0751, .uid = 7, .gid = 8, .mtime_ns = 77};

	(void)state;
	for (unsigned way = 0; way < 36; way++) {
		unsigned before = way % 4, asked = way / 4 % 3;
		bool checkpoint = way / 12 == 1, large = way / 12 == 2;
		const struct pfs_attr *attr = asked ? &given : NULL;
		int64_t begun = pfs_now_realtime();
		struct pfs_sim *sim = begin(false);
		struct pfs_attr have[2];

		store->defaults = (struct pfs_defaults){.mode = 0640, .uid = 3, .gid = 4};
		for (unsigned i = 0; i < 2; i++) {
			struct pfs_key key = pfs_key_num(i);
			size_t len = large ? 70000 : 10;
			uint8_t *bytes = calloc(1, len);
			uint32_t object;

			if (before)
				assert_int_equal(pfs_put(store, &key, bytes, len,
							 before == 1 ? NULL : &own, 0, NULL),
						 0);
			free(bytes);
			if (checkpoint)
				assert_int_equal(pfs_store_checkpoint(store), 0);
			if (before == 3) {
				assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
				assert_int_equal(
					pfs_setattr(store, object, PFS_ATTR_UID, &given, NULL), 0);
			}
			put_either_way(&key, i, attr, asked == 2 ? PFS_PUT_MTIME_ONLY : 0);
			assert_int_equal(pfs_getattr(store, object_of(i), &have[i]), 0);
			assert_int_equal(have[i].size, 7);
		}
		assert_int_equal(have[1].mode, have[0].mode);
		assert_int_equal(have[1].uid, have[0].uid);
		assert_int_equal(have[1].gid, have[0].gid);
		assert_int_equal(have[0].mode, asked == 1 ? 0751 : before >= 2 ? 0600 : 0640);
		assert_int_equal(have[0].uid, asked == 1 || before == 3 ? 7 : before == 2 ? 5 : 3);
		for (unsigned i = 0; i < 2; i++)
			assert_true(asked ? have[i].mtime_ns == 77
					  : have[i].mtime_ns >= begun &&
						    have[i].mtime_ns <= pfs_now_realtime());
		assert_int_equal(created.mode, 0640);
		assert_int_equal(created.uid, 3);
		assert_int_equal(created.gid, 4);
		assert_true(created.mtime_ns >= begun && written_ns >= created.mtime_ns);
		end(sim);
	}
}

/* Proves: without memory, or with a byte more than a document may have, no piece is taken. */
static void pieces_have_an_end(void **state)
{
	struct pfs_sim *sim = begin(false);
	struct pfs_put *put = (void *)sim;

	(void)state;
	fails_at = 1;
	assert_int_equal(pfs_put_begin(store, &put), -ENOMEM);
	assert_null(put);
	assert_int_equal(pfs_put_begin(store, &put), 0);
	put->len = PFS_PAYLOAD_MAX - 5;
	written_ns = 0;
	assert_int_equal(pfs_put_write(put, "123456", 6), -EFBIG);
	assert_int_equal(written_ns, 0);
	fails_at = 1;
	assert_int_equal(pfs_put_write(put, "12345", 5), -ENOSPC);
	assert_int_equal(put->len, PFS_PAYLOAD_MAX - 5);
	put->len = 0;
	assert_int_equal(pfs_put_write(put, "12345", 5), 0);
	assert_int_equal(put->len, 5);
	pfs_put_abort(put);
	pfs_put_abort(NULL);
	end(sim);
}

/* Proves: what was only made, and is removed while somebody has it open, is held until he lets it
 * go, and no record says it. */
static void what_was_only_made_is_let_go(void **state)
{
	struct pfs_attr attr = {.mode = 0600, .mtime_ns = 1};
	struct pfs_key key = pfs_key_num(1);
	struct pfs_sim *sim = begin(true);
	uint32_t object;

	(void)state;
	for (unsigned way = 0; way < 2; way++) {
		struct pfs_store_stat stat;

		assert_int_equal(pfs_create(store, &key, &attr, &object), 0);
		assert_int_equal(held_count(), 1);
		assert_int_equal(pfs_remove(store, &key, NULL), 0);
		assert_int_equal(held_count(), 1);
		assert_int_equal(pfs_sync(store), 0);
		assert_int_equal(held_count(), 1);
		assert_int_equal(pfs_store_stat(store, &stat), 0);
		assert_int_equal(stat.records, 0);
		assert_int_equal(stat.points, 0);
		if (way == 0)
			pfs_release(store, object);
		assert_int_equal(held_count(), way);
	}
	end(sim); /* which frees it */
}

/* Proves: the version of a document and the one that is held over it both get its new number. */
static void both_versions_get_the_number(void **state)
{
	struct pfs_key one = pfs_key_num(1), two = pfs_key_num(2);
	struct pfs_sim *sim = begin(true);
	struct pfs_attr attr = {.size = 0};
	struct pfs_version *held, *under;
	uint32_t object, number, replaced;

	(void)state;
	put(1, 300);
	put(2, 200);
	number = object_of(1);
	object = object_of(2);
	assert_int_equal(pfs_rename(store, &two, &one, 0, &replaced), 0);
	assert_int_equal(replaced, number);
	pfs_release(store, replaced);
	assert_int_equal(object_of(1), object);
	assert_int_equal(pfs_setattr(store, object, PFS_ATTR_SIZE, &attr, NULL), 0);
	assert_int_equal(held_count(), 1);
	assert_int_equal(pfs_tidy(store, object), 0);
	assert_int_equal(object_of(1), number);
	held = pfs_word_to_version(pfs_index_word(store->index, number));
	assert_true(held->held && pfs_word_is_version(held->under));
	under = pfs_word_to_version(held->under);
	assert_int_equal(held->object, number);
	assert_int_equal(under->object, number);
	assert_int_equal(pfs_tidy(store, number), -EALREADY);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	assert_int_equal(pfs_getattr(store, number, &attr), 0);
	assert_int_equal(attr.size, 0);
	end(sim);
}

/* Proves: each name that is only for now is another one, higher than those before it, so that none
 * comes again in a store that was opened once more. */
static void temporary_names_do_not_come_again(void **state)
{
	struct pfs_sim *sim = begin(false);
	uint64_t last = 0;

	(void)state;
	for (unsigned opening = 0; opening < 2; opening++) {
		for (unsigned i = 0; i < 3; i++) {
			struct pfs_key key = pfs_key_new_temp(store);

			assert_int_equal(key.kind, PFS_KEY_TEMP);
			assert_true(key.num > last);
			last = key.num;
		}
		assert_int_equal(pfs_store_close(store), 0);
		store = open_store(sim);
	}
	end(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(temporary_names_do_not_come_again),
		cmocka_unit_test(names_change_hands_at_once),
		cmocka_unit_test(putting_needs_memory),
		cmocka_unit_test(room_is_made_for_a_put),
		cmocka_unit_test(each_length_has_its_way),
		cmocka_unit_test(displacing_needs_memory),
		cmocka_unit_test(what_is_displaced_is_named),
		cmocka_unit_test(puts_in_pieces_may_fail),
		cmocka_unit_test(what_is_put_over_is_not_read),
		cmocka_unit_test(pieces_have_the_same_attributes),
		cmocka_unit_test(pieces_have_an_end),
		cmocka_unit_test(what_was_only_made_is_let_go),
		cmocka_unit_test(both_versions_get_the_number),
	};

	return cmocka_run_group_tests_name("naming", tests, NULL, NULL);
}
