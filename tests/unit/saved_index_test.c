/* storage/store_index.c: the index that a store leaves when it is closed, and what the next opening
 * makes of it. The file is included. */
#include <stdlib.h>

#include "storage/crc.h"
#include "storage/store_internal.h"

#include "tests/unit/fenced.h"
#undef malloc
#undef calloc
#undef realloc
#undef free

static bool refused(void);

#define place_of index_place_of
#define malloc(len) (refused() ? NULL : malloc(len))
#define pfs_index_new(index) (refused() ? -ENOMEM : pfs_index_new(index))
#define pfs_index_alloc(...) (refused() ? -ENOMEM : pfs_index_alloc(__VA_ARGS__))
#define pfs_index_insert(...) (refused() ? -ENOMEM : pfs_index_insert(__VA_ARGS__))
#define pfs_index_end_runs(index) (refused() ? -ENOMEM : pfs_index_end_runs(index))
#include "storage/store_index.c"
#undef place_of
#undef malloc
#undef pfs_index_new
#undef pfs_index_alloc
#undef pfs_index_insert
#undef pfs_index_end_runs

#include "tests/unit/store_helpers.h"

/* Of what the index needs memory for, so much is had, and from then on nothing, or the next is not;
 * 0: all is. */
static unsigned refused_at;
static bool refused_for_good;

static bool refused(void)
{
	if (!refused_at || --refused_at)
		return false;
	refused_at = refused_for_good;
	return true;
}

/* Numbered in a row, so that they are saved as runs; but for one, which was put again. */
enum { DOCS = 200, AGAIN = 80 };

static void keep_warning(void *arg, enum pfs_log_level level, const char *line)
{
	char *warnings = arg;

	if (level <= PFS_LOG_WARNING)
		snprintf(warnings + strlen(warnings), 4096 - strlen(warnings), "%s\n", line);
}

/* Opens the store, expects its documents, and closes it. Returns what it warned of on opening. */
static const char *open_warnings(struct pfs_sim *sim)
{
	static char warnings[4096];
	struct pfs_open_options options = {.manual = true,
					   .io = pfs_sim_io(sim),
					   .logger = {.fn = keep_warning, .arg = warnings}};
	struct pfs_reason reason;
	struct pfs_store *store;
	struct pfs_store_stat stat;

	warnings[0] = '\0';
	assert_int_equal(pfs_store_open(&store, STORE, &options, &reason), 0);
	assert_int_equal(pfs_store_stat(store, &stat), 0);
	assert_int_equal(stat.points, DOCS);
	for (unsigned i = 0; i < DOCS; i++) {
		struct pfs_key key = pfs_key_num(i);
		uint8_t expected[100 + DOCS];
		void *bytes;
		size_t len;

		fill_document(expected, 100 + i, i);
		assert_int_equal(pfs_get(store, &key, &bytes, &len, NULL), 0);
		assert_int_equal(len, 100 + i);
		assert_memory_equal(bytes, expected, len);
		free(bytes);
	}
	assert_int_equal(pfs_store_close(store), 0);
	return warnings;
}

static struct pfs_sim *closed_store(void)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	struct pfs_key again;

	create_store(sim, PFS_PAGE_SIZE_MIN, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < DOCS; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 100 + i, i);
	}
	assert_int_equal(pfs_store_checkpoint(store), 0);
	again = pfs_key_num(AGAIN);
	put_document(store, &again, 100 + AGAIN, AGAIN);
	assert_int_equal(pfs_store_close(store), 0);
	return sim;
}

/* Proves: what a closed store has saved is used by the next opening, also when the power fails as
 * soon as it is closed. */
static void a_saved_index_is_used(void **state)
{
	struct pfs_sim *sim = closed_store(), *cut = pfs_sim_crash_index(sim, 0);
	struct found *found = check_store(cut);

	(void)state;
	assert_int_equal(found->count, 0);
	free(found);
	assert_string_equal(open_warnings(cut), "");
	assert_string_equal(open_warnings(sim), "");
	pfs_sim_free(cut);
	pfs_sim_free(sim);
}

/* Proves: an index of which any bit is wrong is not believed, but made anew. */
static void a_damaged_index_is_made_anew(void **state)
{
	struct pfs_sim *sim = closed_store();
	uint64_t size = size_at(sim, PFS_INDEX_NAME);

	(void)state;
	for (uint64_t off = 0; off < size; off += off < sizeof(struct pfs_index_disk) ? 1 : 5) {
		struct pfs_sim *image = pfs_sim_kill(sim);

		flip_bit(image, PFS_INDEX_NAME, off, (unsigned)off % 8);
		assert_non_null(strstr(open_warnings(image), "the saved index is not usable"));
		assert_string_equal(open_warnings(image), "");
		pfs_sim_free(image);
	}
	pfs_sim_free(sim);
}

/* Proves: what has lost its name and is still open goes when the store is closed, wherever it
 * stands: before, among and behind documents that follow one another and that nobody has touched.
 */
static void what_has_no_name_goes_when_it_is_closed(void **state)
{
	enum { ROW = 1500 };
	struct pfs_store *store;
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store_stat before, after;

	(void)state;
	create_store(sim, PFS_MIB, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < ROW; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 60, 1);
	}
	assert_int_equal(pfs_store_close(store), 0);
	for (unsigned n = 0; n < 6; n++) {
		/* The last ones are behind the row. */
		struct pfs_key key = pfs_key_num(n == 0 ? 0 : n < 3 ? 700 + n : ROW + n);

		store = open_held(sim);
		if (n >= 3)
			put_document(store, &key, 5000, 3);
		assert_int_equal(pfs_remove(store, &key, NULL), 0);
		assert_int_equal(pfs_store_stat(store, &before), 0);
		assert_int_equal(before.points, ROW - (n < 3 ? n + 1 : 3));
		assert_int_equal(pfs_store_close(store), 0);
		store = open_held(sim);
		assert_int_equal(pfs_store_stat(store, &after), 0);
		assert_int_equal(after.points, before.points);
		/* Of those that are there, all bytes are. */
		assert_int_equal(after.container_bytes, before.container_bytes);
		assert_int_equal(after.used_bytes, after.container_bytes);
		assert_int_equal(pfs_store_close(store), 0);
	}
	expect_healthy(sim);
	pfs_sim_free(sim);
}

/* Proves: an index that nobody has changed is saved as it was, documents in a row by a few bytes.
 */
static void what_was_not_touched_is_saved_again(void **state)
{
	const struct pfs_key others[] = {key_named("0f8fad5b-d9cb-469f-a165-70867728950e"),
					 key_named(".x"), pfs_key_num(70000)};
	enum { ROW = 1000 };
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	uint64_t size = 0;

	(void)state;
	create_store(sim, PFS_MIB, 16);
	store = open_store(sim);
	/* It does not begin with the first slot, nor with the first number. */
	for (unsigned i = 0; i < 3; i++)
		put_document(store, &others[i], 60, 1);
	for (unsigned i = 7; i < 7 + ROW; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 60, 1);
	}
	for (unsigned pass = 0; pass < 3; pass++) {
		assert_int_equal(pfs_store_close(store), 0);
		assert_true(size_at(sim, PFS_INDEX_NAME) < 1000);
		assert_true(!size || size == size_at(sim, PFS_INDEX_NAME));
		size = size_at(sim, PFS_INDEX_NAME);
		store = open_store(sim);
	}
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

/* ---- streams ---- */

/* A file of so many bytes, of which each says where it stands; at most so many are given at once,
 * and behind some place there are none, but an error. */
static struct {
	uint64_t size, bad_from;
	size_t most;
	uint64_t written; /* in order */
	unsigned writes;
	int write_err;
} fake;

static uint8_t byte_at(uint64_t off)
{
	return (uint8_t)pfs_mix64(off);
}

static ssize_t fake_read(struct pfs_file *file, void *buf, size_t len, uint64_t off)
{
	size_t n = off < fake.size ? pfs_min_u64(pfs_min_u64(len, fake.most), fake.size - off) : 0;

	(void)file;
	if (off + n > fake.bad_from)
		return -EIO;
	for (size_t i = 0; i < n; i++)
		((uint8_t *)buf)[i] = byte_at(off + i);
	return (ssize_t)n;
}

static int fake_write(struct pfs_file *file, const void *buf, size_t len, uint64_t off)
{
	(void)file;
	assert_int_equal(off, fake.written);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(((const uint8_t *)buf)[i], byte_at(off + i));
	fake.written += len;
	fake.writes++;
	return fake.write_err;
}

static const struct pfs_io_ops fake_ops = {.read = fake_read, .write = fake_write};
static struct pfs_file fake_file = {.ops = &fake_ops};

/* Proves: what is read goes on where the last ended, whatever is asked for and however much comes
 * at once, to the last byte; behind it the file is damaged, and an error is one. All of it is
 * summed, and nothing else. */
static void streams_are_read_through(void **state)
{
	static const size_t lens[] = {12, 4, 24, 12, 40, 1};
	static const size_t mosts[] = {SIZE_MAX, BUFFER_LEN - 1, 1000, 40};

	(void)state;
	for (size_t m = 0; m < pfs_array_len(mosts); m++) {
		for (unsigned bad = 0; bad < 2; bad++) {
			struct stream s = {.file = &fake_file, .buf = fenced_malloc(BUFFER_LEN)};
			uint32_t crc = 0;
			uint64_t off = 0, most;

			fake = (typeof(fake)){.size = 2 * BUFFER_LEN + 17,
					      .bad_from = bad ? BUFFER_LEN + 100 : UINT64_MAX,
					      .most = mosts[m]};
			for (size_t i = 0;; i++) {
				size_t len = lens[i % pfs_array_len(lens)];
				const uint8_t *at = stream_take(&s, len);
				uint8_t want[40];

				if (!at)
					break;
				for (size_t k = 0; k < len; k++)
					want[k] = byte_at(off + k);
				assert_memory_equal(at, want, len);
				crc = pfs_crc32c(crc, want, len);
				off += len;
				assert_int_equal(s.crc, crc);
			}
			assert_int_equal(s.err, bad ? -EIO : -EUCLEAN);
			/* What comes at once may reach into what is bad. */
			most = bad ? pfs_min_u64(mosts[m], BUFFER_LEN) : 0;
			assert_true(off <= pfs_min_u64(fake.size, fake.bad_from) &&
				    off + most + 40 >= pfs_min_u64(fake.size, fake.bad_from));
			fenced_free(s.buf);
		}
	}
	/* The last bytes of a file can be asked for exactly. */
	for (uint64_t size = BUFFER_LEN - 1; size <= BUFFER_LEN + 13; size++) {
		struct stream s = {.file = &fake_file, .buf = fenced_malloc(BUFFER_LEN)};

		fake = (typeof(fake)){.size = size, .bad_from = UINT64_MAX, .most = SIZE_MAX};
		for (uint64_t off = 0; off < size; off += pfs_min_u64(12, size - off))
			assert_non_null(stream_take(&s, pfs_min_u64(12, size - off)));
		assert_int_equal(s.err, 0);
		assert_null(stream_take(&s, 1));
		assert_int_equal(s.err, -EUCLEAN);
		fenced_free(s.buf);
	}
}

/* Proves: what is written comes to the file in order, a buffer at a time, all of it and summed;
 * after an error nothing more does. */
static void streams_are_written_through(void **state)
{
	(void)state;
	for (unsigned fails = 0; fails < 2; fails++) {
		struct stream s = {.file = &fake_file, .buf = fenced_malloc(BUFFER_LEN)};
		const uint64_t end = 3 * BUFFER_LEN + 5;
		uint32_t crc = 0;

		fake = (typeof(fake)){.write_err = fails ? -ENOSPC : 0};
		for (uint64_t off = 0, len; off < end; off += len) {
			uint8_t bytes[32];

			len = pfs_min_u64(16 + off % 17, end - off);
			for (size_t k = 0; k < len; k++)
				bytes[k] = byte_at(off + k);
			stream_put(&s, bytes, len);
			crc = pfs_crc32c(crc, bytes, len);
		}
		stream_flush(&s);
		assert_int_equal(s.crc, crc);
		assert_int_equal(s.err, fails ? -ENOSPC : 0);
		assert_int_equal(s.off, end);
		if (fails)
			assert_int_equal(fake.writes, 1);
		else
			assert_true(fake.written == end && fake.writes == 4);
		stream_flush(&s);
		assert_int_equal(fake.writes, fails ? 1 : 4);
		fenced_free(s.buf);
	}
}

/* Proves: an index is that of the store if magic, checksum, UUID and epoch say so, each of them. */
static void headers_are_the_stores(void **state)
{
	struct pfs_sim *sim = closed_store();
	struct pfs_index_disk right;

	(void)state;
	read_at(sim, PFS_INDEX_NAME, 0, &right, sizeof(right));
	for (unsigned i = 0; i < 5; i++) {
		struct pfs_sim *image = pfs_sim_crash_index(sim, 0);
		struct pfs_index_disk disk = right;
		const char *warnings;

		if (i == 1)
			disk.magic[7] ^= 1;
		if (i == 2)
			disk.uuid[PFS_UUID_LEN - 1] ^= 1;
		if (i == 3)
			pfs_put_le64(disk.epoch.b, pfs_get_le64(disk.epoch.b) + 1);
		if (i != 4)
			pfs_put_le32(disk.crc.b, pfs_crc32c(0, (uint8_t *)&disk + HEADER_CRC_AT,
							    sizeof(disk) - HEADER_CRC_AT));
		else
			disk.points.b[0] ^= 1;
		write_at(image, PFS_INDEX_NAME, 0, &disk, sizeof(disk));
		warnings = open_warnings(image);
		assert_int_equal(strstr(warnings, "the saved index is not usable") != NULL, i > 0);
		pfs_sim_free(image);
	}
	pfs_sim_free(sim);
}

/* A file of which only a header can be read. */
static struct pfs_index_disk only_header;
static uint64_t only_size;

static ssize_t read_header_only(struct pfs_file *file, void *buf, size_t len, uint64_t off)
{
	(void)file;
	if (off || len != sizeof(only_header))
		return -EIO;
	memcpy(buf, &only_header, len);
	return (ssize_t)len;
}

static int only_size_of(struct pfs_file *file, uint64_t *out)
{
	(void)file;
	*out = only_size;
	return 0;
}

/* Proves: an index that says of itself what can't be, or is longer or shorter than that, is refused
 * before it is read; whatever can be is read. */
static void sizes_are_what_headers_say(void **state)
{
	enum { RUNS = PFS_INDEX_RUNS, SLOTS = PFS_PAGE_SIZE_MIN / PFS_SLOT_LEN };
	static const struct {
		uint64_t objects, pages, dicts, flags, records;
		int more; /* bytes */
		int err;
	} cases[] = {
		{0, 0, 0, 0, 0, 0, -EIO},
		{7, 3, 2, 0, 7, 0, -EIO},
		{6, 3, 2, 0, 7, 0, -EUCLEAN},
		{8, 3, 2, 0, 7, 0, -EUCLEAN},
		{8, 3, 2, RUNS, 7, 0, -EIO},
		{7, 3, 2, RUNS, 7, 1, -EUCLEAN},
		{7, 3, 2, RUNS, 7, 4, -EUCLEAN},
		{7, 3, 2, RUNS, 7, 11, -EUCLEAN},
		{7, 3, 2, 0, 7, 5, -EUCLEAN},
		{0, 3, 2, 0, 0, -1, -EUCLEAN},
		{0, 3, 2, RUNS, 0, -4, -EUCLEAN},
		{0, 3, 2, RUNS, 0, -12, -EUCLEAN},
		/* Runs say more than there are entries, but no more than there can be slots. */
		{7 + 3 * SLOTS, 3, 2, RUNS, 7, 0, -EIO},
		{8 + 3 * SLOTS, 3, 2, RUNS, 7, 0, -EUCLEAN},
		{7, 0, 2, RUNS, 7, 0, -EIO},
		{8, 0, 2, RUNS, 7, 0, -EUCLEAN},
		{UINT32_MAX - PFS_OBJECT_FIRST, 10000000, 0, RUNS, 7, 0, -EIO},
		{UINT32_MAX - PFS_OBJECT_FIRST + 1, 10000000, 0, RUNS, 7, 0, -EUCLEAN},
		/* Of so many pages the length is that of one. */
		{0, PFS_PAGE_NUMBER_MAX, 0, RUNS, 0, 0, -EIO},
		{0, PFS_PAGE_NUMBER_MAX + 1, 0, RUNS, 0, 0, -EUCLEAN},
		{0, (UINT64_C(1) << 61) + 1, 0, RUNS, 0, 0, -EUCLEAN},
	};
	const struct pfs_io_ops ops = {.read = read_header_only, .size = only_size_of};
	struct pfs_file file = {.ops = &ops};
	struct pfs_store *bare = calloc(1, sizeof(*bare));
	struct pfs_dicts dicts = {0};

	(void)state;
	bare->super.page_size = PFS_PAGE_SIZE_MIN;
	bare->super.open_epoch = bare->super.clean_epoch = 5;
	bare->dicts = &dicts;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		int err;

		dicts.count = cases[i].dicts;
		encode_header(bare, &only_header, cases[i].objects, cases[i].pages);
		pfs_put_le32(only_header.flags.b, (uint32_t)cases[i].flags);
		pfs_put_le32(only_header.crc.b,
			     pfs_crc32c(0, (uint8_t *)&only_header + HEADER_CRC_AT,
					sizeof(only_header) - HEADER_CRC_AT));
		only_size = sizeof(only_header) + 12 * cases[i].records + 24 * cases[i].pages +
			    12 * cases[i].dicts + 4 + (uint64_t)cases[i].more;
		err = load_from(bare, &file);
		if (err != cases[i].err)
			fail_msg("case %zu: %d", i, err);
	}
	free(bare);
}

static int open_to_read(struct pfs_dir *dir, const char *name, unsigned flags,
			struct pfs_file **out)
{
	(void)dir;
	(void)out;
	assert_string_equal(name, PFS_INDEX_NAME);
	assert_int_equal(flags, 0);
	return -EACCES;
}

/* Proves: an index is opened to be read and for nothing else, which a store that is read-only may
 * not be; where it can't be opened, that is the error. */
static void indexes_are_opened_to_be_read(void **state)
{
	const struct pfs_io_ops ops = {.open = open_to_read};
	struct pfs_store *bare = calloc(1, sizeof(*bare));
	struct pfs_dir dir = {.ops = &ops};

	(void)state;
	bare->dir = &dir;
	assert_int_equal(pfs_index_load(bare), -EACCES);
	free(bare);
}

/* Proves: an index of nothing is one, too. */
static void an_empty_index_is_used(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	char warnings[4096];
	struct pfs_open_options options = {.manual = true,
					   .io = pfs_sim_io(sim),
					   .logger = {.fn = keep_warning, .arg = warnings}};
	struct pfs_store *store;

	(void)state;
	create_store(sim, PFS_PAGE_SIZE_MIN, 16);
	for (unsigned i = 0; i < 3; i++) {
		warnings[0] = '\0';
		assert_int_equal(pfs_store_open(&store, STORE, &options, NULL), 0);
		assert_string_equal(warnings, "");
		assert_int_equal(pfs_store_close(store), 0);
	}
	pfs_sim_free(sim);
}

/* Loads objects that these records say, into an index of its own. Returns how many the first one is
 * in a run with, or the error. */
static int load_these(const void *records, size_t n, uint64_t count, uint32_t flags)
{
	struct pfs_store *bare = calloc(1, sizeof(*bare));
	struct stream s = {.file = &fake_file, .buf = malloc(BUFFER_LEN), .len = 12 * n};
	uint64_t number;
	int err;

	fake = (typeof(fake)){.most = SIZE_MAX, .bad_from = UINT64_MAX};
	memcpy(s.buf, records, 12 * n);
	assert_int_equal(pfs_index_new(&bare->index), 0);
	err = load_objects(bare, &s, n, count, flags);
	if (!err)
		err = (int)pfs_index_in_run(bare->index, PFS_OBJECT_FIRST, &number);
	pfs_index_free(bare->index);
	free(s.buf);
	free(bare);
	return err;
}

/* Proves: there are as many objects as the header says, no more and no less; many in a row stay
 * so if what is said of their keys is exact, and are objects like any others if not. */
static void objects_are_as_many_as_said(void **state)
{
	struct pfs_index_object_disk alone[2] = {0};
	struct {
		struct pfs_index_object_disk first;
		struct pfs_index_run_disk more;
	} run = {0};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		pfs_put_le32(alone[i].page.b, 1);
		pfs_put_le32(alone[i].slot.b, i);
		pfs_put_le32(alone[i].hash.b, 77 + i);
	}
	pfs_put_le32(run.first.page.b, 1 | PFS_INDEX_RUN_BIT);
	pfs_put_le32(run.more.count.b, 300);
	assert_int_equal(sizeof(run), 24);
	for (unsigned flags = 0; flags < 8; flags += 2) {
		bool runs = flags & PFS_INDEX_RUNS;

		assert_int_equal(load_these(alone, 2, 2, flags), 0);
		assert_int_equal(load_these(alone, 2, 1, flags), -EUCLEAN);
		assert_int_equal(load_these(alone, 2, 3, flags), -EUCLEAN);
		if (!runs)
			continue;
		assert_int_equal(load_these(&run, 2, 300, flags),
				 flags & PFS_INDEX_RUNS_EXACT ? 300 : 0);
		assert_int_equal(load_these(&run, 2, 299, flags), -EUCLEAN);
		assert_int_equal(load_these(&run, 2, 301, flags), -EUCLEAN);
		assert_int_equal(load_these(&run, 1, 300, flags), -EUCLEAN);
	}
}

/* Proves: an object has a number to be found by if its slot can be read and is that of one. */
static void numbers_are_of_slots(void **state)
{
	struct pfs_key keys[] = {pfs_key_num(5), key_named("0f8fad5b-d9cb-469f-a165-70867728950e")};
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	struct pfs_page *page = NULL;
	uint64_t number, size;

	(void)state;
	create_store(sim, PFS_PAGE_SIZE_MIN, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < 2; i++)
		put_document(store, &keys[i], 60, 1);
	assert_int_equal(pfs_store_checkpoint(store), 0);
	for (unsigned i = 0; i < 2; i++) {
		struct pfs_place place;
		uint32_t object;
		uint64_t word;

		assert_int_equal(pfs_find(store, &keys[i], &object, &word), 0);
		assert_int_equal(pfs_place(store, &keys[i], &place), 0);
		page = pfs_pager_find(store->pager, place.page);
		size = page->file_size;
		number = 0;
		assert_int_equal(number_of(store, object, word, &number), i == 0);
		assert_int_equal(number, i == 0 ? 5 : 0);
		assert_false(number_of(store, object, pfs_word_page(999, place.slot), &number));
		page->file_size = pfs_slot_offset(place.slot);
		assert_false(number_of(store, object, word, &number));
		page->file_size = size;
	}
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

static int try_to_open(struct pfs_sim *sim, struct pfs_store **store)
{
	struct pfs_open_options options = {.manual = true, .io = pfs_sim_io(sim), .logger = quiet};

	return pfs_store_open(store, STORE, &options, NULL);
}

/* Proves: without memory for a saved index, at whichever point, the store does not open, nor does
 * it with a part of the index; the next opening has all of it. */
static void indexes_need_memory(void **state)
{
	struct pfs_sim *sim = closed_store();

	(void)state;
	for (unsigned for_good = 0; for_good < 2; for_good++) {
		bool met = true;

		for (unsigned n = 1; met; n += n < 10 ? 1 : 37) {
			struct pfs_sim *image = pfs_sim_crash_index(sim, 0);
			struct pfs_store *store;

			refused_at = n;
			refused_for_good = for_good;
			if (try_to_open(image, &store) == 0) {
				met = false;
				refused_at = 0;
				assert_true(n > 10);
				assert_int_equal(pfs_store_close(store), 0);
			}
			refused_at = 0;
			(void)open_warnings(image);
			assert_string_equal(open_warnings(image), "");
			pfs_sim_free(image);
		}
	}
	pfs_sim_free(sim);
}

static void add_dict(struct pfs_store *store, uint64_t seed)
{
	uint8_t text[4000];

	fill_document(text, sizeof(text), seed);
	assert_int_equal(pfs_dict_add(store, text, sizeof(text), 1000, 300), 0);
}

/* Proves: how many need each dictionary is saved with the index; what was loaded of one that is of
 * no use is forgotten, also that. */
static void users_of_dictionaries_are_saved(void **state)
{
	struct pfs_key random = pfs_key_num(7777);
	struct pfs_sim *sim = pfs_sim_new();
	uint64_t users[2] = {0};
	struct pfs_store *store;

	(void)state;
	create_store(sim, PFS_MIB, 16);
	store = open_store(sim);
	for (unsigned n = 0; n < 2; n++) {
		add_dict(store, 2 * n);
		for (unsigned i = 0; i < 20 + 10 * n; i++) {
			struct pfs_key key = pfs_key_num(100 * n + i);

			put_document(store, &key, 900 + i, 2 * (i + n));
		}
	}
	/* What is not made smaller needs none. */
	put_document(store, &random, 900, 1);
	assert_int_equal(store->dict->packing, 0);
	assert_int_equal(store->dicts->count, 2);
	for (unsigned n = 0; n < 2; n++)
		users[n] = store->dicts->at[n]->users;
	assert_true(users[0] > 0 && users[1] > 0 && users[0] != users[1]);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	store = open_store(sim);
	assert_true(store->dict_users_known);
	for (unsigned n = 0; n < 2; n++)
		assert_int_equal(store->dicts->at[n]->users, users[n]);
	store->dict_users_known = false;
	assert_int_equal(forget_loaded(store, -EUCLEAN), -EUCLEAN);
	assert_true(store->dict_users_known);
	assert_int_equal(pfs_index_end(store->index), PFS_OBJECT_FIRST);
	for (unsigned n = 0; n < 2; n++)
		assert_int_equal(store->dicts->at[n]->users, 0);
	store->failed = true;
	assert_int_equal(pfs_store_close(store), -EROFS);
	store = open_store(sim);
	for (unsigned n = 0; n < 2; n++)
		assert_int_equal(store->dicts->at[n]->users, users[n]);
	assert_int_equal(pfs_store_close(store), 0);
	expect_healthy(sim);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_saved_index_is_used),
		cmocka_unit_test(a_damaged_index_is_made_anew),
		cmocka_unit_test(what_has_no_name_goes_when_it_is_closed),
		cmocka_unit_test(what_was_not_touched_is_saved_again),
		cmocka_unit_test(streams_are_read_through),
		cmocka_unit_test(streams_are_written_through),
		cmocka_unit_test(headers_are_the_stores),
		cmocka_unit_test(sizes_are_what_headers_say),
		cmocka_unit_test(indexes_are_opened_to_be_read),
		cmocka_unit_test(an_empty_index_is_used),
		cmocka_unit_test(objects_are_as_many_as_said),
		cmocka_unit_test(numbers_are_of_slots),
		cmocka_unit_test(indexes_need_memory),
		cmocka_unit_test(users_of_dictionaries_are_saved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
