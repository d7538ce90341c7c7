/* Several documents read at once, against each of them read alone; what the processor is asked for
 * in advance. */
#include <stdint.h>

#include "storage/epoch.h"
#include "storage/key.h"
#include "storage/store_internal.h"

static void note_prefetch(const void *address);
static void note_step(char step);
static ssize_t read_then(struct pfs_store *store, uint64_t word, uint64_t off, void *buf,
			 size_t len);

#include "tests/unit/fenced.h"

#define __builtin_prefetch(address) note_prefetch(address)
#define pfs_probe_key(...) (note_step('k'), pfs_probe_key(__VA_ARGS__))
#define pfs_probe_prefetch(probe) (note_step('b'), pfs_probe_prefetch(probe))
#define pfs_probe_next(probe) (note_step('n'), pfs_probe_next(probe))
#define pfs_index_prefetch(index, object) \
	(note_step((object) ? 'w' : '!'), pfs_index_prefetch(index, object))
#define pfs_pager_find(pager, number) (note_step('p'), pfs_pager_find(pager, number))
#define pfs_read_word read_then
#include "storage/store_get.c"
#undef __builtin_prefetch
#undef pfs_probe_key
#undef pfs_probe_prefetch
#undef pfs_probe_next
#undef pfs_index_prefetch
#undef pfs_pager_find
#undef pfs_read_word

#include "tests/unit/store_helpers.h"

/* What is asked for: documents of all kinds and places, and names that nobody has, in an order that
 * mixes them. */
enum { NUMBERS = 60, UUIDS = 10, SCRATCHES = 10, WANTED = NUMBERS + UUIDS + SCRATCHES };

static struct pfs_key wanted_key(unsigned i)
{
	char name[64];

	i = i * 37 % WANTED;
	if (i < NUMBERS)
		return pfs_key_num(i);
	if (i < NUMBERS + UUIDS)
		snprintf(name, sizeof(name), "01234567-89ab-cdef-0123-4567890%05u", i);
	else
		snprintf(name, sizeof(name), ".%u.swp", i);
	return key_named(name);
}

static struct {
	const void *at[4096];
	size_t count;
} noted, expected;

static void note_prefetch(const void *address)
{
	assert_true(noted.count < pfs_array_len(noted.at));
	noted.at[noted.count++] = address;
}

/* The steps of looking ahead: keys and their buckets, what these say and the words, pages. */
static struct {
	char at[1024];
	size_t count;
} steps;

static void note_step(char step)
{
	steps.at[steps.count++ % sizeof(steps.at)] = step;
}

/* What is read of a version: nothing but the answer, if there is one; else what is there, after the
 * document has been made longer, if it is to be. */
static struct {
	bool given;
	ssize_t answer;
	unsigned reads;
	uint32_t grows; /* the object */
	unsigned by;
} reading;

static ssize_t read_then(struct pfs_store *store, uint64_t word, uint64_t off, void *buf,
			 size_t len)
{
	uint32_t object = reading.grows;
	struct pfs_attr attr;

	reading.reads++;
	if (reading.given)
		return reading.answer;
	reading.grows = PFS_OBJECT_NONE;
	if (object) {
		assert_int_equal(pfs_getattr(store, object, &attr), 0);
		assert_int_equal(pfs_write(store, object, attr.size, "grown up", reading.by, 5), 0);
	}
	return pfs_read_word(store, word, off, buf, len);
}

/* Every fourth is not there; some are large, one is empty, some do not compress. */
static size_t wanted_len(unsigned i)
{
	return i == 1 ? 0 : i % 11 == 0 ? 70000 + i : 60 * i;
}

static struct pfs_sim *begin(struct pfs_store **store)
{
	struct pfs_sim *sim = pfs_sim_new();

	create_store(sim, 256 * PFS_KIB, 16);
	*store = open_store(sim);
	for (unsigned i = 0; i < WANTED; i++) {
		struct pfs_key key = wanted_key(i);

		if (i % 4)
			put_document(*store, &key, wanted_len(i), i);
		/* The later ones, and what is put again, are only in the journal. */
		if (i == WANTED / 2)
			assert_int_equal(pfs_store_checkpoint(*store), 0);
	}
	for (unsigned i = 1; i < WANTED / 2; i += 10) {
		struct pfs_key key = wanted_key(i);

		put_document(*store, &key, 100, i + 1000);
	}
	return sim;
}

/* Reads the first count of them at once, and compares. Returns how many were there. */
static unsigned compare(struct pfs_store *store, unsigned count)
{
	static struct pfs_key keys[WANTED];
	struct pfs_got got[WANTED + 1];
	unsigned there = 0;

	for (unsigned i = 0; i < count; i++)
		keys[i] = wanted_key(i);
	got[count].err = 4711;
	pfs_get_many(store, keys, count, got);
	assert_int_equal(got[count].err, 4711);
	for (unsigned i = 0; i < count; i++) {
		struct pfs_attr attr;
		void *data;
		size_t len;
		int err = pfs_get(store, &keys[i], &data, &len, &attr);

		assert_int_equal(got[i].err, err);
		assert_int_equal(got[i].len, len);
		if (err) {
			assert_null(got[i].data);
			continue;
		}
		there++;
		assert_memory_equal(got[i].data, data, len);
		assert_int_equal(got[i].attr.size, len);
		assert_int_equal(got[i].attr.mtime_ns, attr.mtime_ns);
		assert_int_equal(got[i].attr.stored, attr.stored);
		free(got[i].data);
		free(data);
	}
	return there;
}

/* Proves: any number of documents, wherever they are, have the bytes and attributes that each has
 * when it is read alone; who is not there has its error and nothing else. */
static void each_is_as_if_read_alone(void **state)
{
	static const unsigned counts[] = {0, 1, 2, 15, 16, 17, 32, 33, WANTED};
	struct pfs_store *store;
	struct pfs_sim *sim = begin(&store);

	(void)state;
	for (unsigned pass = 0; pass < 2; pass++) {
		reading.reads = 0;
		for (size_t i = 0; i < pfs_array_len(counts); i++)
			assert_int_equal(compare(store, counts[i]),
					 counts[i] - (counts[i] + 3) / 4);
		/* What is in a page is had from there at once. */
		assert_int_equal(reading.reads > 0, pass == 0);
		assert_int_equal(pfs_store_checkpoint(store), 0);
	}
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

static void count_line(void *arg, enum pfs_log_level level, const char *line)
{
	(void)line;
	*(unsigned *)arg += level == PFS_LOG_ERROR;
}

/* Proves: a damaged document is an error of its own, which is said once; the others are read. */
static void damage_is_told_for_whom_it_hits(void **state)
{
	unsigned lines = 0;
	struct pfs_store *store;
	struct pfs_sim *sim = begin(&store);
	struct pfs_key hit = wanted_key(2), keys[3] = {wanted_key(3), wanted_key(2), wanted_key(5)};
	struct pfs_open_options options = {
		.manual = true, .io = pfs_sim_io(sim), .logger = {.fn = count_line, .arg = &lines}};
	struct pfs_got got[3];
	struct pfs_place place;

	(void)state;
	assert_int_equal(pfs_store_close(store), 0);
	place = place_of(sim, &hit);
	flip_bit(sim, page_name(place.page), place.offset + place.container_len - 1, 3);
	assert_int_equal(pfs_store_open(&store, STORE, &options, NULL), 0);
	pfs_get_many(store, keys, 3, got);
	assert_int_equal(lines, 1);
	assert_int_equal(got[0].err, 0);
	assert_int_equal(got[1].err, -EIO);
	assert_null(got[1].data);
	assert_int_equal(got[2].err, 0);
	assert_int_equal(got[0].len, wanted_len(3));
	assert_int_equal(got[2].len, wanted_len(5));
	free(got[0].data);
	free(got[2].data);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

static void expect_prefetch(const void *address)
{
	expected.at[expected.count++] = address;
}

/* What is asked for in advance of some documents that are looked for together: the slots and the
 * changes that are not in the pages yet, then of each container the first lines. */
static void expect_group(struct pfs_store *store, const struct pfs_key *keys, size_t count)
{
	for (unsigned containers = 0; containers < 2; containers++) {
		for (size_t i = 0; i < count; i++) {
			const struct pfs_page *page;
			struct pfs_place place;
			uint32_t object;
			uint64_t word;

			if (pfs_find(store, &keys[i], &object, &word) != 0)
				continue;
			if (pfs_word_is_version(word)) {
				if (!containers)
					expect_prefetch(pfs_word_to_version(word));
				continue;
			}
			assert_int_equal(pfs_place(store, &keys[i], &place), 0);
			page = pfs_pager_find(store->pager, place.page);
			if (!containers) {
				expect_prefetch(page->map + 64 + 16 * place.slot);
				continue;
			}
			for (uint64_t at = 0; at < place.container_len && at < 1024; at += 64)
				expect_prefetch(page->map + place.offset + at);
		}
	}
}

/* Where the file ends before a slot or within a container, no more is asked for. */
static void nothing_beyond_the_file(struct pfs_store *store)
{
	static const struct {
		int64_t end;	/* of the file, behind the slot or the container's beginning */
		bool container; /* which of them */
		size_t count;
	} cases[] = {{0, false, 0}, {1, false, 1}, {0, true, 1},
		     {1, true, 2},  {64, true, 2}, {65, true, 3}};
	const struct pfs_key key = wanted_key(5);
	struct pfs_place place;
	struct pfs_page *page;
	struct pfs_got got;
	uint64_t size;

	assert_int_equal(pfs_place(store, &key, &place), 0);
	assert_true(place.container_len > 128);
	page = pfs_pager_find(store->pager, place.page);
	size = page->file_size;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		noted.count = 0;
		page->file_size = (uint64_t)cases[i].end +
				  (cases[i].container ? place.offset : pfs_slot_offset(place.slot));
		pfs_get_many(store, &key, 1, &got);
		page->file_size = size;
		free(got.data);
		assert_int_equal(noted.count, cases[i].count);
	}
}

/* Proves: of sixteen documents at a time all that they will need is asked for before the first is
 * read: of each its slot, or its change, and up to a kibibyte of its container; and nothing else.
 */
static void what_they_need_is_asked_for_at_once(void **state)
{
	static struct pfs_key keys[WANTED];
	static struct pfs_got got[WANTED];
	struct pfs_store *store;
	struct pfs_sim *sim = begin(&store);

	(void)state;
	for (unsigned i = 0; i < WANTED; i++)
		keys[i] = wanted_key(i);
	for (unsigned pass = 0; pass < 2; pass++) {
		noted.count = expected.count = 0;
		for (unsigned i = 0; i < WANTED; i += 16)
			expect_group(store, &keys[i], pfs_min_u64(16, WANTED - i));
		pfs_get_many(store, keys, WANTED, got);
		for (unsigned i = 0; i < WANTED; i++)
			free(got[i].data);
		assert_int_equal(noted.count, expected.count);
		assert_memory_equal(noted.at, expected.at, expected.count * sizeof(expected.at[0]));
		assert_int_equal(pfs_store_checkpoint(store), 0);
	}
	nothing_beyond_the_file(store);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: of each document that is looked for, and of no other, key and bucket are asked for before
 * any of them is looked into; then the words of those that are there, and the pages of those that
 * are in one. */
static void they_are_looked_for_together(void **state)
{
	static const unsigned counts[] = {0, 1, 15, 16};
	struct pfs_key keys[17];
	struct pfs_got got[16];
	struct pfs_store *store;
	struct pfs_sim *sim = begin(&store);

	(void)state;
	for (unsigned i = 0; i < pfs_array_len(keys); i++)
		keys[i] = wanted_key(i);
	for (size_t c = 0; c < pfs_array_len(counts); c++) {
		char want[sizeof(steps.at)], *at = want;

		for (unsigned i = 0; i < counts[c]; i++)
			at = stpcpy(at, "kb");
		for (unsigned i = 0; i < counts[c]; i++)
			at = stpcpy(at, i % 4 ? "nw" : "n");
		for (unsigned i = 0; i < counts[c]; i++) {
			uint32_t object;
			uint64_t word;

			if (pfs_find(store, &keys[i], &object, &word) == 0 &&
			    pfs_word_is_page(word))
				at = stpcpy(at, "p");
		}
		steps.count = 0;
		pfs_get_many(store, keys, counts[c], got);
		for (unsigned i = 0; i < counts[c]; i++)
			free(got[i].data);
		assert_int_equal(steps.count, at - want);
		assert_memory_equal(steps.at, want, steps.count);
	}
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: what is read of a version is the document if it has the length that the version says, and
 * is read again otherwise, sixteen times at most; an error is one at once. Nothing is left behind.
 */
static void lengths_must_agree(void **state)
{
	static const struct {
		ssize_t answer;
		int err;
		unsigned reads;
	} cases[] = {{5, 0, 1},	      {0, -EAGAIN, 16},	     {4, -EAGAIN, 16},	 {6, -EAGAIN, 16},
		     {-EIO, -EIO, 1}, {-ENOMEM, -ENOMEM, 1}, {-EPERM, -EPERM, 1}};
	struct pfs_sim *sim = pfs_sim_new();
	const struct pfs_key key = pfs_key_num(1);
	struct pfs_store *store;

	(void)state;
	create_store(sim, 0, 0);
	store = open_store(sim);
	put_document(store, &key, 5, 1);
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		unsigned blocks = fenced_blocks;
		size_t len = 4711;
		void *data = &len;

		reading = (typeof(reading)){.given = true, .answer = cases[i].answer};
		assert_int_equal(pfs_get(store, &key, &data, &len, NULL), cases[i].err);
		assert_int_equal(reading.reads, cases[i].reads);
		assert_int_equal(len, cases[i].err ? 0 : 5);
		assert_int_equal(!data, cases[i].err != 0);
		free(data);
		assert_int_equal(fenced_blocks, blocks);
	}
	reading.given = false;
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: a large document that grows by a little while it is got is got as it was or as it is
 * then, into memory of its own. */
static void it_may_grow_meanwhile(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	const struct pfs_key key = pfs_key_num(1);
	struct pfs_store *store;
	size_t size = 100000;
	uint32_t object;

	(void)state;
	create_store(sim, 0, 0);
	store = open_store(sim);
	put_document(store, &key, size, 1);
	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	assert_int_equal(pfs_write(store, object, 7, "staged", 6, 5), 0);
	for (unsigned by = 1; by <= 8; by++) {
		struct pfs_attr attr;
		uint8_t *data;
		size_t len;

		reading = (typeof(reading)){.grows = object, .by = by};
		assert_int_equal(pfs_get(store, &key, (void **)&data, &len, &attr), 0);
		assert_int_equal(reading.grows, PFS_OBJECT_NONE);
		assert_int_equal(reading.reads, 2);
		size += by;
		assert_int_equal(len, size);
		assert_int_equal(attr.size, size);
		assert_memory_equal(data + size - by, "grown up", by);
		free(data);
	}
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: without memory for it a document is not got, wherever it is, and the next time it is; one
 * of no bytes has a place all the same. */
static void without_memory(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;

	(void)state;
	create_store(sim, 0, 0);
	store = open_store(sim);
	for (unsigned i = 0; i < 4; i++) {
		const struct pfs_key key = pfs_key_num(i);
		unsigned blocks = fenced_blocks;
		struct pfs_attr attr;
		size_t len = 4711;
		void *data = &len;

		put_document(store, &key, i % 2 * 300, 1);
		if (i / 2)
			assert_int_equal(pfs_store_checkpoint(store), 0);
		fenced_refuse(0);
		assert_int_equal(pfs_get(store, &key, &data, &len, &attr), -ENOMEM);
		assert_true(!fenced_refuses && !data && !len);
		assert_int_equal(pfs_get(store, &key, &data, &len, &attr), 0);
		assert_non_null(data);
		assert_int_equal(len, i % 2 * 300);
		free(data);
		assert_int_equal(fenced_blocks, blocks);
	}
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_is_as_if_read_alone),
		cmocka_unit_test(damage_is_told_for_whom_it_hits),
		cmocka_unit_test(what_they_need_is_asked_for_at_once),
		cmocka_unit_test(they_are_looked_for_together),
		cmocka_unit_test(lengths_must_agree),
		cmocka_unit_test(it_may_grow_meanwhile),
		cmocka_unit_test(without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
