/* storage/replay_record.c by itself: which versions are adopted, what is done in which order, and
 * what is left after an error. The file is included; what it calls of the store is the test's,
 * which notes it. */
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage/record.h"
#include "storage/replay.h"
#include "tests/unit/noted_calls.h"
#include "tests/unit/poisoned.h"

static struct {
	char calls[4096];
	/* What is there under each number (0: nothing). */
	uint64_t seq[4];
	enum pfs_source_kind kind[4];
	struct pfs_extent_at home;
	int find_err, view_err, current_err, insert_err, distrust_err; /* -ENOENT is no find_err */
	uint64_t unread; /* payloads can't be read from here on */
	uint64_t size;
	unsigned refuse; /* this version from now is refused; 0: none */
} world;

static struct pfs_store the_store;
static struct pfs_extent_at distrusted;
static uint64_t distrusted_tag;

#define note(...) calls_note(world.calls, sizeof(world.calls), __VA_ARGS__)
#define expect_calls(want) calls_expect(world.calls, want)

static int fake_find(struct pfs_store *s, const struct pfs_key *key, uint32_t *object,
		     uint64_t *word)
{
	(void)s;
	if (world.find_err)
		return world.find_err;
	if (!world.seq[key->num])
		return -ENOENT;
	*object = (uint32_t)key->num;
	*word = key->num;
	return 0;
}

static int fake_current(struct pfs_store *s, uint32_t object, struct pfs_current *current)
{
	(void)s;
	(void)object;
	if (world.current_err)
		return world.current_err;
	*current = (struct pfs_current){.home = world.home};
	return 0;
}

/* Of a place in a page, or of a number. */
static int fake_view(struct pfs_store *s, uint64_t word, struct pfs_view *view)
{
	(void)s;
	if (world.view_err)
		return world.view_err;
	*view = (struct pfs_view){.size = world.size, .kind = PFS_KEY_NUM};
	view->source.kind = PFS_SOURCE_CONTAINER;
	if (pfs_word_is_page(word))
		return 0;
	view->seq = world.seq[word];
	view->source.kind = world.kind[word];
	return 0;
}

static int fake_read(struct pfs_store *s, const struct pfs_source *source, uint64_t off, void *buf,
		     uint64_t len)
{
	(void)s;
	(void)source;
	(void)buf;
	note("read %llu+%llu; ", (unsigned long long)off, (unsigned long long)len);
	return off + len > world.unread ? -EIO : 0;
}

static struct pfs_version *fake_new(const struct pfs_key *key)
{
	return world.refuse && --world.refuse == 0 ? NULL : pfs_version_new(key);
}

static int fake_alloc(struct pfs_index *index, uint32_t *object)
{
	(void)index;
	*object = 9;
	return 0;
}

static int fake_insert(struct pfs_index *index, uint32_t object, uint32_t hash)
{
	(void)index;
	(void)hash;
	note("insert %u; ", object);
	return world.insert_err;
}

static void fake_remove(struct pfs_index *index, uint32_t object, uint32_t hash)
{
	(void)index;
	(void)hash;
	note("remove %u; ", object);
}

static void fake_release(struct pfs_index *index, uint32_t object)
{
	(void)index;
	note("release %u; ", object);
}

static void fake_publish(struct pfs_store *s, struct pfs_change *change, uint64_t seq)
{
	(void)s;
	note("publish %u%s of %llu at %u:%u; ", change->object,
	     change->version->removed			       ? " gone"
	     : change->version->source.kind == PFS_SOURCE_LOST ? " lost"
							       : "",
	     (unsigned long long)seq, change->current.home.page, change->current.home.slot);
	free(change->version);
}

static void fake_unref(struct pfs_store *s, const struct pfs_source *source)
{
	(void)s;
	note("unref %d; ", source->kind);
}

static int fake_distrust(struct pfs_replay_state *state, const struct pfs_extent_at *at,
			 uint64_t tag)
{
	(void)state;
	distrusted = *at;
	distrusted_tag = tag;
	note("distrust; ");
	return world.distrust_err;
}

#define free poisoned_free
#define pfs_find fake_find
#define pfs_current(...) fake_current(__VA_ARGS__)
#define pfs_view(...) fake_view(__VA_ARGS__)
#define pfs_source_read fake_read
#define pfs_version_new fake_new
#define pfs_index_alloc fake_alloc
#define pfs_index_insert fake_insert
#define pfs_index_remove fake_remove
#define pfs_index_release fake_release
#define pfs_change_publish fake_publish
#define pfs_source_unref fake_unref
#define pfs_distrust_place fake_distrust
#include "storage/replay_record.c"
#undef free

static const struct pfs_key one = {.kind = PFS_KEY_NUM, .num = 1},
			    two = {.kind = PFS_KEY_NUM, .num = 2};

static struct pfs_untrusted untrusted[3];

/* Three places with sequence 70, of which the second and the third are key 1's. */
static struct pfs_replay_state begin(void)
{
	struct pfs_replay_state state = {
		.store = &the_store, .untrusted = untrusted, .untrusted_sorted = 3};

	memset(&world, 0, sizeof(world));
	world.unread = UINT64_MAX;
	for (uint32_t i = 0; i < 3; i++)
		untrusted[i] = (struct pfs_untrusted){.at = {5, i, 4096 * i, 100},
						      .key = i ? one : two,
						      .tag = i ? 1 : 2,
						      .seq = 70,
						      .verified = true};
	return state;
}

/* Proves (O4): of the versions with a record's sequence the first is adopted that verifies to its
 * end and is this key's; where the document stood before is not trusted any more. Of none, nothing
 * is done. */
static void what_verifies_is_adopted(void **state)
{
	struct pfs_replay_state s = begin();
	bool done;

	(void)state;
	world.seq[1] = 60;
	world.home = (struct pfs_extent_at){7, 8, 9000, 500};
	world.size = 2 * PFS_BLOCK_LEN + 5;
	assert_int_equal(pfs_replay_adopt(&s, &one, 70, &done), 0);
	assert_true(done && untrusted[1].adopted && !untrusted[0].adopted && !untrusted[2].adopted);
	expect_calls("read 0+65536; read 65536+65536; read 131072+5; publish 1 of 70 at 5:1; "
		     "distrust; ");
	assert_memory_equal(&distrusted, &world.home, sizeof(distrusted));
	assert_int_equal(distrusted_tag, 1);
	/* One that is not there yet. */
	s = begin();
	world.size = 1;
	assert_int_equal(pfs_replay_adopt(&s, &one, 70, &done), 0);
	expect_calls("read 0+1; insert 9; publish 9 of 70 at 5:1; ");
	/* The key alone, or its last byte. */
	s = begin();
	untrusted[1].verified = false;
	assert_int_equal(pfs_replay_adopt(&s, &one, 70, &done), 0);
	expect_calls("insert 9; publish 9 of 70 at 5:2; ");
	s = begin();
	world.size = PFS_BLOCK_LEN + 3;
	world.unread = world.size - 1;
	assert_int_equal(pfs_replay_adopt(&s, &one, 70, &done), 0);
	assert_false(done || untrusted[1].adopted || untrusted[2].adopted);
	expect_calls("read 0+65536; read 65536+3; read 0+65536; read 65536+3; ");
	for (uint64_t seq = 69; seq < 72; seq += 2) {
		assert_int_equal(pfs_replay_adopt(&s, &one, seq, &done), 0);
		assert_false(done);
		expect_calls("");
	}
}

/* Proves: what is not adopted is lost; errors of either are passed on. */
static void errors_of_adopting_are_passed_on(void **state)
{
	struct pfs_replay_state s = begin();
	bool done;

	(void)state;
	world.view_err = -EIO;
	assert_int_equal(adopt_or_lose(&s, &one, 70), 0);
	expect_calls("insert 9; publish 9 lost of 70 at 0:0; ");
	s = begin();
	assert_int_equal(adopt_or_lose(&s, &one, 70), 0);
	expect_calls("insert 9; publish 9 of 70 at 5:1; ");
	world.refuse = 1;
	assert_int_equal(adopt_or_lose(&s, &one, 70), -ENOMEM);
	world.refuse = 1;
	assert_int_equal(adopt_or_lose(&s, &one, 71), -ENOMEM);
	expect_calls("");
	world.seq[1] = 60;
	world.home.page = 7;
	world.distrust_err = -ENOMEM;
	assert_int_equal(pfs_replay_adopt(&s, &one, 70, &done), -ENOMEM);
	assert_int_equal(adopt_or_lose(&s, &one, 70), -ENOMEM);
	s = begin();
	world.find_err = -EIO;
	assert_int_equal(adopt_or_lose(&s, &one, 70), -EIO);
	expect_calls("unref 2; ");
}

/* Proves: an object that is gone is shown so before its number is another's; without memory, or
 * when it can't be looked at, it stays. */
static void the_number_is_free_last(void **state)
{
	(void)state;
	begin();
	assert_int_equal(pfs_replay_drop(&the_store, &one, 70), 0);
	expect_calls("");
	world.seq[1] = 60;
	assert_int_equal(pfs_replay_drop(&the_store, &one, 70), 0);
	expect_calls("remove 1; publish 1 gone of 70 at 0:0; release 1; ");
	world.refuse = 1;
	assert_int_equal(pfs_replay_drop(&the_store, &one, 70), -ENOMEM);
	world.current_err = -EUCLEAN;
	assert_int_equal(pfs_replay_drop(&the_store, &one, 70), -EUCLEAN);
	world.find_err = -EIO;
	assert_int_equal(pfs_replay_drop(&the_store, &one, 70), -EIO);
	expect_calls("");
}

static uint8_t *put_key(uint8_t *at, const struct pfs_key *key)
{
	*at++ = PFS_KEY_NUM;
	*at++ = 8;
	pfs_put_le64(at, key->num);
	return at + 8;
}

static int move(struct pfs_replay_state *s, bool exchange)
{
	uint8_t bytes[256] = {0};
	struct pfs_record record = {.type = PFS_RECORD_MOVE,
				    .flags = exchange ? PFS_MOVE_EXCHANGE : 0,
				    .seq = 70,
				    .body = bytes + PFS_RECORD_HEADER_LEN};
	struct pfs_move_disk *head = (struct pfs_move_disk *)(bytes + PFS_RECORD_HEADER_LEN);
	uint8_t *at = (uint8_t *)(head + 1);

	pfs_put_le64(head->from_base.b, 60);
	pfs_put_le64(head->to_base.b, 61);
	at = put_key(put_key(at, &one), &two);
	record.body_len = (size_t)(at - record.body);
	return replay_move(s, &record);
}

/* Proves: of a name that changes hands all is done or, after an error before that, nothing: what
 * was prepared is given back, with what it holds. */
static void what_was_prepared_is_given_back(void **state)
{
	struct pfs_replay_state s = begin();

	(void)state;
	world.seq[1] = 60;
	world.seq[2] = 61;
	world.kind[1] = world.kind[2] = PFS_SOURCE_CONTAINER;
	assert_int_equal(move(&s, true), 0);
	expect_calls(
		"remove 1; remove 2; publish 1 of 70 at 0:0; insert 1; publish 2 of 70 at 0:0; "
		"insert 2; ");
	/* The second side. */
	world.refuse = 2;
	assert_int_equal(move(&s, true), -ENOMEM);
	expect_calls("unref 2; ");
	world.refuse = 1;
	assert_int_equal(move(&s, true), -ENOMEM);
	expect_calls("");
	world.insert_err = -ENOMEM;
	assert_int_equal(move(&s, true), -ENOMEM);
	expect_calls("remove 1; remove 2; publish 1 of 70 at 0:0; insert 1; unref 2; ");
	world.view_err = -ENOMEM;
	assert_int_equal(move(&s, false), -ENOMEM);
	expect_calls("");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_verifies_is_adopted),
		cmocka_unit_test(errors_of_adopting_are_passed_on),
		cmocka_unit_test(the_number_is_free_last),
		cmocka_unit_test(what_was_prepared_is_given_back),
	};

	return cmocka_run_group_tests_name("replay of records", tests, NULL, NULL);
}
