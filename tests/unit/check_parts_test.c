/* storage/check.c, check_segment.c, check_journal.c, check_twice.c, check_index.c: their rules,
 * each by itself, at and beside its bounds. The files are included, to ask for what a store comes
 * to hardly ever. */
#include "tests/unit/store_helpers.h"

#include "storage/search.h"

static unsigned searches;

/* Counts. */
static int search_add(struct pfs_search *search, const uint8_t *bytes, uint64_t from, uint64_t end,
		      uint64_t zeros, uint32_t seed)
{
	searches++;
	return pfs_search_add(search, bytes, from, end, zeros, seed);
}

#define pfs_search_add search_add
#include "storage/check_journal.c"
#undef pfs_search_add

#include "storage/check.c"
#include "storage/check_twice.c"
#define by_number by_segment_number
#include "storage/check_segment.c"
#undef by_number
#include "storage/check_index.c"

/* A check of nothing, whose findings are kept. */
struct nothing {
	struct pfs_check check;
	struct found found;
};

static struct nothing *begin_nothing(void)
{
	struct nothing *n = calloc(1, sizeof(*n));

	n->check.fn = keep_finding;
	n->check.arg = &n->found;
	n->check.result = &n->found.result;
	return n;
}

/* The next finding is this one, fatal; *i: how many were looked at. */
static void expect_next(const struct nothing *n, size_t *i, const char *where, uint64_t off,
			const char *text)
{
	if (*i >= n->found.count || strcmp(n->found.at[*i].text, text) != 0)
		print_found(&n->found);
	assert_true(*i < n->found.count);
	assert_string_equal(n->found.at[*i].where, where);
	assert_int_equal(n->found.at[*i].offset, off);
	assert_string_equal(n->found.at[*i].text, text);
	assert_true(n->found.at[*i].fatal);
	++*i;
}

/* ---- the files that there must be ---- */

#define MISSING "there is no such file; what it held can't be named"

/* What is said of the pages that are there (0: no more) where the superblock names others. */
static struct nothing *set_of(const uint32_t named[8], uint32_t highest, const uint32_t there[8])
{
	struct nothing *n = begin_nothing();

	for (size_t i = 0; named[i]; i++)
		pfs_page_set_add(&n->check.super.pages, named[i]);
	n->check.super.pages.highest = highest;
	n->check.counts_known = true;
	for (size_t i = 0; there[i]; i++)
		assert_int_equal(add_page(&n->check, there[i], 100 * there[i]), 0);
	check_set(&n->check);
	return n;
}

static size_t end_set(struct nothing *n)
{
	size_t count = n->found.count;

	free(n->check.pages);
	free(n);
	return count;
}

/* Proves: of pages that are missing each is named where all numbers were in use, and where one is
 * missing; else how many there are. */
static void missing_pages_are_named_or_counted(void **state)
{
	const uint32_t all[8] = {1, 2, 3, 4, 5, 6}, some[8] = {2, 3, 5, 6};
	struct nothing *n;
	size_t i = 0;

	(void)state;
	n = set_of(all, 6, (const uint32_t[8]){2, 5, 8});
	expect_next(n, &i, "page-00000001", 0, MISSING);
	expect_next(n, &i, "page-00000003", 0, MISSING);
	expect_next(n, &i, "page-00000004", 0, MISSING);
	expect_next(n, &i, "page-00000006", 0, MISSING);
	assert_false(n->check.counts_known);
	assert_int_equal(end_set(n), i);

	n = set_of(all, 6, (const uint32_t[8]){1, 2, 3, 4, 5});
	i = 0;
	expect_next(n, &i, "page-00000006", 0, MISSING);
	assert_int_equal(end_set(n), i);

	n = set_of(some, 6, (const uint32_t[8]){2, 3, 6});
	i = 0;
	expect_next(n, &i, "page-00000005", 0, MISSING);
	assert_int_equal(end_set(n), i);

	n = set_of(some, 6, (const uint32_t[8]){3, 6, 7});
	i = 0;
	expect_next(n, &i, "pages", 0, "2 files are missing; what they held can't be named");
	assert_false(n->check.counts_known);
	assert_int_equal(end_set(n), i);

	n = set_of(some, 6, (const uint32_t[8]){0});
	i = 0;
	expect_next(n, &i, "pages", 0, "4 files are missing; what they held can't be named");
	assert_int_equal(end_set(n), i);

	n = set_of(some, 6, (const uint32_t[8]){2, 3, 5, 6, 7});
	assert_true(n->check.counts_known);
	assert_int_equal(end_set(n), 0);

	n = set_of(some, 6, (const uint32_t[8]){2, 3, 4, 6});
	i = 0;
	expect_next(n, &i, PFS_SUPER_NAME, 128, "the page files are not those that it names");
	assert_true(n->check.counts_known);
	assert_int_equal(end_set(n), i);
}

/* ---- whole checks ---- */

static void forge_super(struct pfs_sim *sim, bool doubt, uint32_t dict_highest)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_super super;
	struct pfs_dir *dir;

	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE, &dir), 0);
	assert_int_equal(pfs_super_read(dir, &super, &quiet), 0);
	super.doubt = doubt;
	super.dict_highest = dict_highest;
	assert_int_equal(pfs_super_write(dir, &super), 0);
	dir->ops->close_dir(dir);
}

/* Proves: what is missing is said before the doubt about more. */
static void doubt_comes_after_what_is_missing(void **state)
{
	struct nothing n = {.found = {.count = 0}};
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	struct found *found;
	size_t i = 0;

	(void)state;
	create_store(sim, 64 * PFS_KIB, 16);
	store = open_store(sim);
	put_document(store, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = 3}, 10, 1);
	assert_int_equal(pfs_store_close(store), 0);
	forge_super(sim, true, 0);
	remove_file(sim, page_name(1));
	found = check_store(sim);
	n.found = *found;
	expect_next(&n, &i, page_name(1), 0, MISSING);
	expect_next(&n, &i, PFS_SUPER_NAME, 76,
		    "the store had documents whose ids can't be told, or its repair was not "
		    "finished: check --repair");
	expect_next(&n, &i, page_name(1), 0,
		    "it is missing: it held 1 document, which can't be named");
	assert_int_equal(found->count, i);
	free(found);
	pfs_sim_free(sim);
}

static int count_name(void *arg, const char *name)
{
	(void)name;
	++*(unsigned *)arg;
	return 0;
}

static unsigned files_in(struct pfs_sim *sim)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_dir *dir;
	unsigned count = 0;

	assert_int_equal(io->ops->open_dir(io, STORE, 0, &dir), 0);
	assert_int_equal(dir->ops->list(dir, count_name, &count), 0);
	dir->ops->close_dir(dir);
	return count;
}

static int fail_listing(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	return step->kind == PFS_SIM_READ && !*step->name ? -EACCES : 0;
}

static int fail_dir(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	return step->kind == PFS_SIM_OPEN && !*step->name ? -EACCES : 0;
}

/* Proves: a directory that is no store, that can't be opened or whose names can't be read is
 * refused, with the reason; nothing is found in it, and nothing is made there. */
static void what_is_no_store_is_left_alone(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct found found = {.count = 0};
	struct pfs_check_result result;
	struct pfs_reason reason;

	(void)state;
	create_store(sim, 64 * PFS_KIB, 16);
	remove_file(sim, PFS_SUPER_NAME);
	remove_file(sim, PFS_LOCK_NAME);
	make_file(sim, "other");
	assert_int_equal(files_in(sim), 1);
	assert_int_equal(pfs_check(STORE, pfs_sim_io(sim), &quiet, keep_finding, NULL, &found,
				   &result, &reason),
			 -ENOENT);
	assert_string_equal(reason.text, STORE ": not a payloadfs store (it has no superblock)");
	assert_int_equal(files_in(sim), 1);
	pfs_sim_free(sim);

	sim = pfs_sim_new();
	create_store(sim, 64 * PFS_KIB, 16);
	pfs_sim_on_look(sim, fail_listing, NULL);
	assert_int_equal(pfs_check(STORE, pfs_sim_io(sim), &quiet, keep_finding, NULL, &found,
				   &result, &reason),
			 -EACCES);
	assert_string_equal(reason.text, STORE ": can't be checked: Permission denied");
	pfs_sim_on_look(sim, fail_dir, NULL);
	assert_int_equal(pfs_check(STORE, pfs_sim_io(sim), &quiet, keep_finding, NULL, &found,
				   &result, &reason),
			 -EACCES);
	assert_string_equal(reason.text, STORE ": Permission denied");
	assert_int_equal(found.count, 0);
	pfs_sim_free(sim);
}

static const struct pfs_io_ops *true_ops;
static struct pfs_io_ops spying;
static struct pfs_sim *doubtful; /* of which the superblock is changed before it is locked */

static int open_for_reading(struct pfs_dir *dir, const char *name, unsigned flags,
			    struct pfs_file **out)
{
	assert_int_equal(flags, 0);
	return true_ops->open(dir, name, flags, out);
}

static int open_dir_for_reading(const struct pfs_io *io, const char *path, unsigned flags,
				struct pfs_dir **out)
{
	assert_int_equal(flags, 0);
	return true_ops->open_dir(io, path, flags, out);
}

static int lock_shared(struct pfs_dir *dir, const char *name, bool exclusive)
{
	assert_false(exclusive);
	if (doubtful)
		forge_super(doubtful, true, 0);
	return true_ops->lock(dir, name, exclusive);
}

/* Does what `ops` do, which are the sim's, and looks how directories and files are opened. */
static const struct pfs_io_ops *spy_on(const struct pfs_io_ops *ops)
{
	true_ops = ops;
	spying = *ops;
	spying.open = open_for_reading;
	spying.open_dir = open_dir_for_reading;
	spying.lock = lock_shared;
	return &spying;
}

/* Proves: a check opens nothing for writing, and takes a lock that others may have too; what the
 * superblock says counts as it is then, and not as it was before. */
static void a_check_reads_what_it_has_locked(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct nothing *n = begin_nothing();
	struct pfs_check_result result;
	struct pfs_store *store;
	struct pfs_reason reason;
	struct pfs_io io;
	uint64_t before;
	size_t i = 0;

	(void)state;
	create_store(sim, 64 * PFS_KIB, 16);
	store = open_store(sim);
	for (unsigned k = 0; k < 9; k++)
		put_document(store, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = k}, 30, k);
	assert_int_equal(pfs_store_close(store), 0);
	io = *pfs_sim_io(sim);
	io.ops = spy_on(io.ops);
	before = pfs_sim_hash(sim);
	assert_int_equal(
		pfs_check(STORE, &io, &quiet, keep_finding, NULL, &n->found, &result, &reason), 0);
	assert_int_equal(n->found.count, 0);
	assert_int_equal(result.documents, 9);
	assert_true(pfs_sim_hash(sim) == before);
	doubtful = sim;
	assert_int_equal(
		pfs_check(STORE, &io, &quiet, keep_finding, NULL, &n->found, &result, &reason), 0);
	doubtful = NULL;
	expect_next(n, &i, PFS_SUPER_NAME, 76,
		    "the store had documents whose ids can't be told, or its repair was not "
		    "finished: check --repair");
	assert_int_equal(n->found.count, i);
	free(n);
	pfs_sim_free(sim);
}

/* ---- what is remembered ---- */

/* Proves: there is room for all files that are found, which are remembered in their order; at the
 * end nothing is left. */
static void files_are_remembered(void **state)
{
	enum { FILES = 300 };
	struct nothing *n = begin_nothing();
	struct pfs_check *check = &n->check;

	(void)state;
	for (uint32_t i = 0; i < FILES; i++) {
		assert_int_equal(add_page(check, 7 * i, i), 0);
		assert_in_range(check->page_cap, check->page_count, 2 * FILES);
		assert_int_equal(add_segment(check, 5 * i), 0);
		assert_in_range(check->segment_cap, check->segment_count, 2 * FILES);
		assert_int_equal(pfs_check_add_dict(check, 3 * i), 0);
		assert_in_range(check->dict_cap, check->dict_count, 2 * FILES);
		assert_int_equal(check->dict_named, 3 * i);
	}
	assert_int_equal(pfs_check_add_dict(check, 1), 0);
	assert_int_equal(check->dict_named, 3 * (FILES - 1));
	assert_int_equal(check->page_count, FILES);
	assert_int_equal(check->segment_count, FILES);
	assert_int_equal(check->dict_count, FILES + 1);
	for (uint32_t i = 0; i < FILES; i++) {
		assert_int_equal(check->pages[i].number, 7 * i);
		assert_int_equal(check->pages[i].file_size, i);
		assert_int_equal(check->segments[i], 5 * i);
		assert_int_equal(check->dicts[i].number, 3 * i);
	}
	assert_int_equal(check->total, FILES * (FILES - 1) / 2);
	pfs_check_end(check);
	assert_null(check->pages);
	assert_int_equal(check->page_count + check->page_cap, 0);
	assert_null(check->segments);
	assert_int_equal(check->segment_count + check->segment_cap, 0);
	assert_null(check->dicts);
	assert_int_equal(check->dict_count + check->dict_cap, 0);
	free(n);
}

struct told {
	struct nothing *n;
	struct pfs_fault fault;
};

static void keep_fault(void *arg, const struct pfs_finding *finding)
{
	struct told *told = arg;

	(void)finding;
	told->fault = told->n->check.fault;
}

/* Proves: what a finding is about is there when it is said, and is not what the next one is about.
 */
static void a_finding_has_its_own_fault(void **state)
{
	const struct pfs_fault fault = {PFS_FAULT_VALUE, 3, 4, 5, 6};
	struct told told = {.n = begin_nothing()};
	struct pfs_check *check = &told.n->check;

	(void)state;
	check->fn = keep_fault;
	check->arg = &told;
	check->fault = fault;
	pfs_check_say(check, true, "x", 0, NULL, "first");
	assert_int_equal(told.fault.kind, fault.kind);
	assert_int_equal(told.fault.number, fault.number);
	assert_int_equal(told.fault.slot, fault.slot);
	assert_int_equal(told.fault.off, fault.off);
	assert_int_equal(told.fault.len, fault.len);
	pfs_check_say(check, true, "x", 0, NULL, "second");
	assert_int_equal(told.fault.kind, PFS_FAULT_NONE);
	assert_int_equal(told.fault.number + told.fault.slot, 0);
	assert_int_equal(told.fault.off + told.fault.len, 0);
	assert_int_equal(check->result->findings, 2);
	free(told.n);
}

/* ---- segments ---- */

struct fake {
	struct pfs_file file; /* first member */
	struct pfs_dir dir;
	uint64_t size;
	ssize_t short_read; /* bytes that there are; below 0: an error of reads of more than a piece
			     */
	uint64_t bad;	    /* of this byte no read succeeds */
	int size_err, open_err;
};

static ssize_t fake_read(struct pfs_file *file, void *buf, size_t len, uint64_t off)
{
	const struct fake *f = (const struct fake *)file;

	/* Of a segment's buffer. */
	assert_true(off + len <= PFS_SEGMENT_SIZE);
	if (f->short_read < 0 && (len > PFS_CHECK_PIECE || (off <= f->bad && f->bad < off + len)))
		return f->short_read;
	len = f->short_read < 0 ? len : pfs_min_u64(len, (size_t)f->short_read);
	memset(buf, 0x11, len);
	return (ssize_t)len;
}

static int fake_size(struct pfs_file *file, uint64_t *size)
{
	const struct fake *f = (const struct fake *)file;

	*size = f->size;
	return f->size_err;
}

static void fake_close(struct pfs_file *file)
{
	(void)file;
}

static struct fake *opened;

static int fake_open(struct pfs_dir *dir, const char *name, unsigned flags, struct pfs_file **out)
{
	(void)dir;
	assert_string_equal(name, "journal-0007");
	assert_int_equal(flags, 0);
	*out = &opened->file;
	return opened->open_err;
}

static const struct pfs_io_ops fake_ops = {
	.open = fake_open, .read = fake_read, .size = fake_size, .close = fake_close};

/* Proves: of a file that can't be opened, or does not tell its length, no byte counts as work. */
static void work_is_what_can_be_read(void **state)
{
	struct fake fake = {.file = {&fake_ops}, .dir = {&fake_ops}, .size = 100};
	struct nothing *n = begin_nothing();

	(void)state;
	opened = &fake;
	n->check.dir = &fake.dir;
	assert_int_equal(size_of(&n->check, "journal-0007"), 100);
	fake.size_err = -EIO;
	assert_int_equal(size_of(&n->check, "journal-0007"), 0);
	fake.size_err = 0;
	fake.open_err = -EACCES;
	assert_int_equal(size_of(&n->check, "journal-0007"), 0);
	free(n);
}

/* Proves: what a segment's file lacks, or the device can't read, is zeros, whatever was in the
 * buffer before; of the latter, and of nothing else, there is a bit; nothing is read that is behind
 * a segment. Want of memory is an error. */
static void segments_are_read_as_they_are(void **state)
{
	struct fake fake = {.file = {&fake_ops}, .dir = {&fake_ops}, .short_read = 5000};
	struct nothing *n = begin_nothing();
	uint8_t *bytes = malloc(PFS_SEGMENT_SIZE), unread[PFS_CHECK_UNREAD_LEN];

	(void)state;
	opened = &fake;
	n->check.dir = &fake.dir;
	memset(bytes, 0xee, PFS_SEGMENT_SIZE);
	memset(unread, 0xff, sizeof(unread));
	assert_int_equal(pfs_check_load_segment(&n->check, 7, bytes, unread), 0);
	assert_true(pfs_is_zero(unread, sizeof(unread)));
	assert_int_equal(bytes[0], 0x11);
	assert_int_equal(bytes[4999], 0x11);
	assert_true(pfs_is_zero(bytes + 5000, PFS_SEGMENT_SIZE - 5000));

	fake.short_read = -EIO;
	for (unsigned at = 0; at < 2; at++) {
		uint64_t piece = at ? PFS_SEGMENT_SIZE / PFS_CHECK_PIECE - 1 : 2;

		fake.bad = piece * PFS_CHECK_PIECE + (at ? PFS_CHECK_PIECE - 1 : 0);
		memset(bytes, 0xee, PFS_SEGMENT_SIZE);
		memset(unread, 0xff, sizeof(unread));
		assert_int_equal(pfs_check_load_segment(&n->check, 7, bytes, unread), 0);
		for (uint32_t i = 0; i < PFS_SEGMENT_SIZE / PFS_CHECK_PIECE; i++) {
			assert_int_equal(pfs_check_bit(unread, i), i == piece);
			assert_int_equal(bytes[i * PFS_CHECK_PIECE], i == piece ? 0 : 0x11);
			assert_int_equal(bytes[(i + 1) * PFS_CHECK_PIECE - 1],
					 i == piece ? 0 : 0x11);
		}
		assert_int_equal(pfs_check_load_segment(&n->check, 7, bytes, NULL), 0);
	}
	fake.short_read = -ENOMEM;
	assert_int_equal(pfs_check_load_segment(&n->check, 7, bytes, unread), -ENOMEM);
	free(bytes);
	free(n);
}

/* Proves: of a file that ends within its header there are zeros behind; an error of opening or
 * reading, or of asking for the length, is that, also of an empty file. */
static void headers_of_segments_are_read_as_they_are(void **state)
{
	struct fake fake = {
		.file = {&fake_ops}, .dir = {&fake_ops}, .short_read = 100, .size = 100};
	struct pfs_checked_segment segment = {.file = 7};
	struct nothing *n = begin_nothing();
	uint8_t bytes[PFS_SEGMENT_DATA];

	(void)state;
	opened = &fake;
	n->check.dir = &fake.dir;
	memset(bytes, 0xee, sizeof(bytes));
	assert_int_equal(load_header(&n->check, &segment, bytes), 0);
	assert_int_equal(segment.size, 100);
	assert_int_equal(bytes[99], 0x11);
	assert_true(pfs_is_zero(bytes + 100, sizeof(bytes) - 100));
	fake.short_read = 0;
	assert_int_equal(load_header(&n->check, &segment, bytes), 0);
	fake.size_err = -EACCES;
	assert_int_equal(load_header(&n->check, &segment, bytes), -EACCES);
	fake.short_read = -EIO;
	fake.bad = 0;
	assert_int_equal(load_header(&n->check, &segment, bytes), -EIO);
	fake.open_err = -EMFILE;
	assert_int_equal(load_header(&n->check, &segment, bytes), -EMFILE);
	assert_int_equal(pfs_check_load_segment(&n->check, 7, bytes, NULL), -EMFILE);
	free(n);
}

/* The header, or its copy, of a segment of a store whose UUID is of zeros. */
static void put_copy(uint8_t *block, unsigned copy, uint64_t number, uint64_t oldest_live)
{
	struct pfs_segment_disk *disk =
		(struct pfs_segment_disk *)(block + copy * PFS_SEGMENT_STRIDE);

	memcpy(disk->magic, PFS_SEGMENT_MAGIC, sizeof(disk->magic));
	pfs_put_le64(disk->number.b, number);
	pfs_put_le64(disk->oldest_live.b, oldest_live);
	pfs_put_le32(disk->crc.b, pfs_crc32c(0, (const uint8_t *)disk + HEADER_CRC_AT,
					     sizeof(*disk) - HEADER_CRC_AT));
}

#define OUT_OF_RANGE "its numbers are out of range"

/* Proves: of a header and its copy that are both good the newer one holds: that with the higher
 * number, then that which knows of an older end; one that says what can't be does not, however high
 * its number is. */
static void the_newer_header_holds(void **state)
{
	static const struct {
		uint64_t number[2], oldest[2];
		int holds; /* below 0: none */
	} cases[] = {
		{{8, 9}, {5, 3}, 1},	 {{9, 8}, {3, 5}, 0}, {{9, 9}, {3, 5}, 1},
		{{9, 9}, {5, 3}, 0},	 {{9, 9}, {5, 5}, 0}, {{9, 12}, {5, 13}, 0},
		{{12, 9}, {13, 5}, 1},	 {{9, 0}, {5, 0}, 0}, {{0, 9}, {0, 5}, 1},
		{{9, 12}, {10, 13}, -1},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		uint8_t block[PFS_SEGMENT_DATA] = {0};
		struct pfs_checked_segment segment = {.file = 7};
		struct nothing *n = begin_nothing();
		unsigned holds = cases[i].holds > 0;
		size_t next = 0;

		for (unsigned copy = 0; copy < 2; copy++)
			put_copy(block, copy, cases[i].number[copy], cases[i].oldest[copy]);
		if (read_copies(&n->check, block, &segment, "journal-0007") !=
		    (cases[i].holds >= 0))
			fail_msg("case %zu", i);
		if (cases[i].holds >= 0) {
			assert_int_equal(segment.file, 7);
			assert_int_equal(segment.number, cases[i].number[holds]);
			assert_int_equal(segment.oldest_live, cases[i].oldest[holds]);
		}
		for (unsigned copy = 0; copy < 2; copy++) {
			uint64_t number = cases[i].number[copy];

			if (number == 0 || cases[i].oldest[copy] > number)
				expect_next(n, &next, "journal-0007", copy * PFS_SEGMENT_STRIDE,
					    copy ? "copy of the header: " OUT_OF_RANGE
						 : OUT_OF_RANGE);
		}
		assert_int_equal(n->found.count, next);
		free(n);
	}
}

/* ---- records ---- */

/* A journal of one segment, `first`, or of a second one behind it. */
struct records {
	struct nothing *n;
	struct journal j;
	struct pfs_checked_segment at[2];
};

static struct records *begin_records(void)
{
	struct records *r = calloc(1, sizeof(*r));

	r->n = begin_nothing();
	r->j.check = &r->n->check;
	r->j.at = r->at;
	r->j.count = 1;
	r->j.bytes = calloc(1, PFS_SEGMENT_SIZE);
	r->j.other = malloc(PFS_SEGMENT_SIZE);
	r->j.file = 7;
	pfs_check_segment_name(r->j.name, 7);
	r->at[0] = (struct pfs_checked_segment){.file = 7, .number = 3, .epoch = 5};
	r->at[1] = (struct pfs_checked_segment){.file = 8, .number = 4, .epoch = 5};
	return r;
}

static void end_records(struct records *r)
{
	pfs_search_free(&r->j.search);
	free(r->j.bytes);
	free(r->j.other);
	free(r->n);
	free(r);
}

/* A record of the first segment that removes a number. */
static void put_record(struct records *r, uint64_t off, size_t len, uint64_t seq, uint64_t num)
{
	struct pfs_record_disk *head = (struct pfs_record_disk *)(r->j.bytes + off);
	uint8_t *body = r->j.bytes + off + PFS_RECORD_HEADER_LEN;

	pfs_put_le32(head->len.b, (uint32_t)len);
	pfs_put_le64(head->seq.b, seq);
	head->type = PFS_RECORD_REMOVE;
	body[8] = PFS_KEY_NUM;
	body[9] = 8;
	pfs_put_le64(body + 10, num);
	pfs_put_le32(head->crc.b, pfs_record_crc(seed_of(&r->j, r->at), r->j.bytes + off, len));
}

/* Proves: the last place for a record is that of the shortest one at the segment's end. */
static void records_lie_in_their_segment(void **state)
{
	struct records *r = begin_records();
	uint8_t *last = r->j.bytes + PFS_SEGMENT_SIZE - PFS_RECORD_LEN_MIN;

	(void)state;
	put_record(r, PFS_SEGMENT_SIZE - 56, 56, 9, 1);
	assert_int_equal(record_at(&r->j, r->at, PFS_SEGMENT_SIZE - 56), 56);
	assert_int_equal(record_at(&r->j, r->at, PFS_SEGMENT_SIZE - PFS_RECORD_LEN_MIN), 0);
	assert_int_equal(record_at(&r->j, r->at, PFS_SEGMENT_SIZE - PFS_RECORD_LEN_MIN + 8), 0);
	assert_int_equal(record_at(&r->j, r->at, PFS_SEGMENT_SIZE - 8), 0);
	assert_int_equal(record_at(&r->j, r->at, PFS_SEGMENT_SIZE), 0);
	memset(last, 0, PFS_RECORD_LEN_MIN);
	pfs_put_le32(last, PFS_RECORD_LEN_MIN);
	pfs_put_le32(last + 4, pfs_record_crc(seed_of(&r->j, r->at), last, PFS_RECORD_LEN_MIN));
	assert_int_equal(record_at(&r->j, r->at, PFS_SEGMENT_SIZE - PFS_RECORD_LEN_MIN),
			 PFS_RECORD_LEN_MIN);
	end_records(r);
}

/* Proves: a record has one of the sequences that there are, of which the last one is one. */
static void records_have_a_sequence(void **state)
{
	struct records *r = begin_records();

	(void)state;
	put_record(r, PFS_SEGMENT_DATA, 56, PFS_SEQ_MAX, 1);
	assert_int_equal(record_at(&r->j, r->at, PFS_SEGMENT_DATA), 56);
	put_record(r, PFS_SEGMENT_DATA, 56, PFS_SEQ_MAX + 1, 1);
	assert_int_equal(record_at(&r->j, r->at, PFS_SEGMENT_DATA), 0);
	end_records(r);
}

/* Proves: a record names its two keys, and nothing that stands behind them. */
static void records_name_two_keys(void **state)
{
	const struct pfs_record_disk head = {.type = PFS_RECORD_PATCH};
	const struct pfs_key keys[] = {pfs_key_num(1), pfs_key_num(2), pfs_key_num(3)};
	struct records *r = begin_records();

	(void)state;
	assert_int_equal(name_keys(&r->j, &head, keys), 0);
	assert_int_equal(r->n->check.named.count, 2);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(
			pfs_check_set_has(&r->n->check.named,
					  pfs_check_hash(keys[i].kind, pfs_key_tag(&keys[i]))),
			i < 2);
	pfs_check_set_free(&r->n->check.named);
	end_records(r);
}

/* Proves: a patch lies within the document that it makes, which is no longer than a document may
 * be; what it says that it has is there, but of zeros nothing. */
static void patches_lie_in_their_document(void **state)
{
	static const struct {
		uint64_t off, len, size;
		uint8_t flags;
		size_t room;
		bool ok;
	} cases[] = {
		{0, 10, 10, 0, 10, true},
		{3, 7, 10, 0, 7, true},
		{3, 8, 10, 0, 8, false},
		{3, 7, 10, 0, 6, false},
		{3, 7, 10, PFS_PATCH_ZERO, 0, true},
		{10, 0, 10, 0, 0, true},
		{11, 0, 10, 0, 0, false},
		{0, 0, 0, 0, 0, true},
		{0, 1, PFS_PAYLOAD_MAX, 0, 1, true},
		{0, 1, PFS_PAYLOAD_MAX + 1, 0, 1, false},
		{10, UINT64_MAX - 5, 20, PFS_PATCH_ZERO, 0, false},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_record_disk head = {.flags = cases[i].flags};
		struct pfs_patch_disk patch = {0};
		uint8_t bytes[16];
		struct pfs_record_walk walk = {bytes, bytes, bytes + cases[i].room, false};
		const char *why;

		pfs_put_le64(patch.off.b, cases[i].off);
		pfs_put_le64(patch.len.b, cases[i].len);
		pfs_put_le64(patch.new_size.b, cases[i].size);
		why = check_patch(&head, &patch, &walk);
		if (cases[i].ok != !why)
			fail_msg("case %zu: %s", i, why ? why : "ok");
		if (why)
			assert_string_equal(why, "a patch that makes no sense");
	}
}

/* Proves: a segment ends early only where its file does, within what should be a record; and not
 * where it may still have been being made: before the first record of the newest one that began
 * with the power on. */
static void cut_segments_are_told_from_new_ones(void **state)
{
	enum { D = PFS_SEGMENT_DATA };
	static const struct {
		uint64_t size, off;
		bool after_end, second, newer; /* newer: than the superblock says */
		uint32_t len;
		bool cut;
	} cases[] = {
		{PFS_SEGMENT_SIZE, D + 96, false, false, false, 0, false},
		{PFS_SEGMENT_SIZE, PFS_SEGMENT_SIZE - 8, false, false, false, 48, false},
		{PFS_SEGMENT_SIZE - 1, PFS_SEGMENT_SIZE - 8, false, false, false, 48, true},
		{D, D, false, false, false, 0, true},
		{D, D, false, false, true, 0, false},
		{D, D, false, true, false, 0, false},
		{D, D, true, true, false, 0, true},
		{D, D, true, false, true, 0, true},
		{D + 96, D + 96, false, true, false, 0, true},
		{D + 96, D + 96, false, false, true, 0, true},
		{D + 96, D + 96, true, true, false, 0, true},
		{D + 96, D + 93, false, false, false, 0, true},
		{D + 96, D + 92, false, false, false, 0, false},
		{D + 96, D + 40, false, false, false, 56, false},
		{D + 96, D + 40, false, false, false, 57, true},
		{D + 96, D + 40, true, true, false, 56, false},
		{D + 96, D + 40, true, true, false, 64, true},
		{D + 96, D + 40, false, true, false, 64, true},
	};
	struct records *r = begin_records();

	(void)state;
	r->n->check.super.journal_epoch = 5;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_checked_segment *segment = &r->at[cases[i].second];

		segment->size = cases[i].size;
		segment->epoch = cases[i].newer ? 6 : 5;
		pfs_put_le32(r->j.bytes + cases[i].off, cases[i].len);
		if (is_cut(&r->j, segment, cases[i].after_end, cases[i].off) != cases[i].cut)
			fail_msg("case %zu", i);
		pfs_put_le32(r->j.bytes + cases[i].off, 0);
	}
	end_records(r);
}

/* Proves: of a record each piece that it lies in is looked at, and no other; what can't be read is
 * told up to the end of it, or of the segment. */
static void unread_pieces_are_those_of_the_record(void **state)
{
	enum { P = PFS_CHECK_PIECE, BAD = 3 };
	static const struct {
		uint64_t off;
		uint32_t len;
		uint64_t first;
	} cases[] = {
		{BAD * P - 80, 80, 0},	       {BAD * P - 80, 88, BAD * P},
		{BAD * P - 80, 0, 0},	       {BAD * P - 40, 0, 0},
		{BAD * P - 32, 0, BAD * P},    {BAD * P, 0, BAD * P},
		{BAD * P + 4000, 0, BAD * P},  {(BAD + 1) * P, 0, 0},
		{P, 3 * P, BAD * P},	       {P, 2 * P, 0},
		{PFS_SEGMENT_SIZE - 32, 0, 0},
	};
	struct records *r = begin_records();
	size_t next = 0;

	(void)state;
	pfs_check_set_bit(r->j.unread, BAD);
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		pfs_put_le32(r->j.bytes + cases[i].off, cases[i].len);
		if (first_unread(&r->j, cases[i].off) != cases[i].first)
			fail_msg("case %zu", i);
		pfs_put_le32(r->j.bytes + cases[i].off, 0);
	}
	r->j.expected = UINT64_MAX; /* it stands behind the bits */
	pfs_check_set_bit(r->j.unread, BAD + 1);
	pfs_check_set_bit(r->j.unread, PFS_SEGMENT_SIZE / P - 1);
	/* What would end behind the segment is no length. */
	pfs_put_le32(r->j.bytes + PFS_SEGMENT_SIZE - 2 * P + 8, 3 * P);
	assert_int_equal(first_unread(&r->j, PFS_SEGMENT_SIZE - 2 * P + 8), 0);
	report_unread(&r->j, BAD * P - 80, BAD * P);
	expect_next(r->n, &next, "journal-0007", BAD * P - 80,
		    "8272 bytes can't be read: whether there are records can't be told, so that "
		    "the store can't be opened before a repair");
	report_unread(&r->j, PFS_SEGMENT_SIZE - P - 8, PFS_SEGMENT_SIZE - P);
	expect_next(r->n, &next, "journal-0007", PFS_SEGMENT_SIZE - P - 8,
		    "4104 bytes can't be read: whether there are records can't be told, so that "
		    "the store can't be opened before a repair");
	assert_int_equal(r->n->found.count, next);
	end_records(r);
}

/* Proves: over damage it goes on at the next record behind the place where one should be: a record
 * there that is not the expected one does not count, one eight bytes behind it does. */
static void damage_ends_at_the_next_record(void **state)
{
	enum { OFF = PFS_SEGMENT_DATA + 800 };
	static const struct {
		uint32_t next;
		const char *text;
	} cases[] = {
		{OFF + 8, "8 bytes of durable records are damaged"},
		{OFF + 48, "48 bytes of durable records are damaged"},
	};
	char text[256];

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct records *r = begin_records();
		uint64_t off = OFF;
		size_t next = 0;
		struct pfs_found there[] = {{OFF, 48, 7, 10}, {cases[i].next, 48, 9, 10}};

		r->j.search.found = malloc(sizeof(there));
		memcpy(r->j.search.found, there, sizeof(there));
		r->j.search.count = r->j.search.cap = 2;
		r->j.searched = r->at;
		r->j.expected = 6;
		assert_int_equal(check_hole(&r->j, r->at, false, &off), 0);
		assert_int_equal(off, cases[i].next);
		assert_int_equal(r->j.expected, 9);
		snprintf(text, sizeof(text),
			 "%s; whose they were can't be told, so that the store can't be opened "
			 "before a repair",
			 cases[i].text);
		expect_next(r->n, &next, "journal-0007", OFF, text);
		assert_int_equal(r->n->found.count, next);
		end_records(r);
	}
}

/* Proves: a record that stands where another one should is no proof that this was durable: there is
 * the tail. */
static void what_stands_there_proves_nothing(void **state)
{
	enum { OFF = PFS_SEGMENT_DATA + 800 };
	struct records *r = begin_records();
	uint64_t off = OFF;

	(void)state;
	r->at[0].size = PFS_SEGMENT_SIZE;
	r->j.search.found = malloc(sizeof(*r->j.search.found));
	r->j.search.found[0] = (struct pfs_found){OFF, 48, 9, 10};
	r->j.search.count = r->j.search.cap = 1;
	r->j.searched = r->at;
	r->j.expected = 6;
	assert_int_equal(check_hole(&r->j, r->at, false, &off), 1);
	assert_int_equal(off, OFF);
	assert_int_equal(r->j.expected, 6);
	assert_int_equal(r->n->found.count, 0);
	end_records(r);
}

/* Proves: a segment is searched once, however often it is asked what is behind a place of it. */
static void segments_are_searched_once(void **state)
{
	struct records *r = begin_records();

	(void)state;
	put_record(r, PFS_SEGMENT_DATA + 80, 56, 9, 1);
	put_record(r, PFS_SEGMENT_DATA + 136, 56, 10, 1);
	searches = 0;
	r->j.expected = 1;
	for (uint64_t off = 8; off < 96; off += 8)
		assert_int_equal(is_proven_behind(&r->j, r->at, PFS_SEGMENT_DATA + off), 0);
	assert_int_equal(searches, 1);
	assert_int_equal(r->j.search.count, 2);
	/* And another one anew. */
	assert_int_equal(is_proven_behind(&r->j, &r->at[1], PFS_SEGMENT_DATA), 0);
	assert_int_equal(searches, 2);
	assert_int_equal(r->j.search.count, 0);
	end_records(r);
}

/* Proves: where nothing follows that shows where a damaged record ended, nobody is named. */
static void damage_up_to_the_end_is_nobodys(void **state)
{
	enum { LEN = PFS_SEGMENT_SIZE - PFS_SEGMENT_DATA };
	struct records *r = begin_records();
	size_t next = 0;
	char text[256];

	(void)state;
	put_record(r, PFS_SEGMENT_DATA, LEN, 0, 1);
	r->j.bytes[PFS_SEGMENT_SIZE - 1] ^= 1;
	assert_int_equal(report_damage(&r->j, r->at, PFS_SEGMENT_DATA, 0), 0);
	snprintf(text, sizeof(text),
		 "%u bytes of durable records are damaged; whose they were can't be told, so that "
		 "the store can't be opened before a repair",
		 (unsigned)LEN);
	expect_next(r->n, &next, "journal-0007", PFS_SEGMENT_DATA, text);
	assert_int_equal(r->n->found.count, next);
	end_records(r);
}

/* Proves: whether the newest segment is there is told from those that there are. */
static void the_newest_is_told_from_those_there_are(void **state)
{
	struct records *r = begin_records();
	size_t next = 0;

	(void)state;
	r->n->check.super.journal_epoch = 6;
	r->n->check.super.clean_epoch = 1;
	r->at[1].epoch = 6;
	check_newest(&r->j, false);
	expect_next(r->n, &next, "journal", 0,
		    "its newest segment is missing: whose records it had can't be told, so that "
		    "the store can't be opened before a repair");
	r->j.count = 2;
	check_newest(&r->j, false);
	assert_int_equal(r->n->found.count, next);
	end_records(r);
}

/* ---- what was moved ---- */

static void move_from(struct pfs_check *check, uint64_t from, uint64_t to, bool exchange)
{
	move_documents(check, (const uint64_t[2]){from, to}, exchange);
}

/* How many keys are known that the document was given; *now: the one that it has, or 0. */
static size_t given(const struct pfs_check *check, uint64_t from, uint64_t *now)
{
	size_t count = 0;

	*now = 0;
	for (size_t i = 0; i < check->moved_count; i++) {
		if (check->moved[i].from != from)
			continue;
		assert_true(!check->moved[i].now || !*now);
		if (check->moved[i].now)
			*now = check->moved[i].to;
		count++;
	}
	return count;
}

/* Proves: a document is followed through all keys that it is given, up to when it is replaced;
 * one that the journal has made is not, and no more than there is room for. */
static void moved_documents_are_followed(void **state)
{
	struct nothing *n = begin_nothing();
	struct pfs_check *check = &n->check;
	uint64_t now;

	(void)state;
	check->moved = calloc(MOVES_MAX + 2, sizeof(*check->moved));
	move_from(check, 1, 2, false);
	assert_int_equal(given(check, 1, &now), 1);
	assert_int_equal(now, 2);
	move_from(check, 2, 3, false);
	assert_int_equal(check->moved_count, 2);
	assert_int_equal(given(check, 1, &now), 2);
	assert_int_equal(now, 3);
	/* It has not these. */
	forget_moved(check, 1);
	forget_moved(check, 2);
	forget_moved(check, 9);
	assert_int_equal(check->moved_count, 2);
	move_from(check, 3, 4, true);
	assert_int_equal(given(check, 1, &now), 3);
	assert_int_equal(now, 4);
	assert_int_equal(given(check, 4, &now), 1);
	assert_int_equal(now, 3);
	/* And each back. */
	move_from(check, 3, 4, true);
	assert_int_equal(given(check, 1, &now), 4);
	assert_int_equal(now, 3);
	assert_int_equal(given(check, 4, &now), 2);
	assert_int_equal(now, 4);
	/* What has the key 1 now is another one. */
	move_from(check, 1, 7, false);
	assert_int_equal(check->moved_count, 6);
	forget_moved(check, 3);
	assert_int_equal(check->moved_count, 2);
	assert_int_equal(given(check, 4, &now), 2);
	assert_int_equal(now, 4);
	assert_int_equal(pfs_check_set_add(&check->whole, 5), 1);
	move_from(check, 5, 6, false);
	assert_int_equal(check->moved_count, 2);
	/* What stands behind the two keys is neither of them. */
	move_documents(check, (const uint64_t[3]){8, 5, 4}, true);
	assert_int_equal(check->moved_count, 3);
	assert_int_equal(given(check, 8, &now), 1);
	assert_int_equal(now, 5);
	assert_int_equal(given(check, 4, &now), 2);
	assert_int_equal(now, 4);

	/* What stands behind the last one is none, and the first is one. */
	check->moved[3] = (struct pfs_check_moved){77, 78, true};
	assert_null(moved_to(check, 78));
	assert_true(is_unmoved(check, 77));
	assert_false(is_unmoved(check, check->moved[0].from));
	for (uint64_t i = 3; i < MOVES_MAX - 1; i++)
		move_from(check, 10000 + i, 20000 + i, false);
	assert_int_equal(check->moved_count, MOVES_MAX - 1);
	move_from(check, 100, 101, true);
	assert_int_equal(check->moved_count, MOVES_MAX);
	assert_int_equal(given(check, 100, &now), 1);
	move_from(check, 102, 103, false);
	assert_int_equal(check->moved_count, MOVES_MAX);
	assert_true(pfs_is_zero(&check->moved[MOVES_MAX], 2 * sizeof(*check->moved)));
	pfs_check_set_free(&check->whole);
	free(check->moved);
	free(n);
}

/* ---- keys that are there twice ---- */

static struct version version(uint64_t num, uint64_t seq, uint32_t page, uint32_t slot)
{
	return (struct version){pfs_key_num(num), seq, page, slot};
}

/* Proves: versions are in the order of their keys, then of their age, then of their places. */
static void versions_are_in_order(void **state)
{
	const struct version at[] = {version(1, 1, 1, 1), version(1, 1, 1, 2), version(1, 1, 2, 0),
				     version(1, 2, 1, 0), version(1, 9, 3, 3), version(2, 1, 1, 0),
				     version(2, 3, 2, 2), version(7, 0, 0, 0)};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(at); i++) {
		for (size_t j = 0; j < pfs_array_len(at); j++) {
			int order = by_key(&at[i], &at[j]);

			assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
		}
	}
}

/* Proves: of one key there may be one version that is older than the journal, and any number of
 * others; when the store was closed, one in all. The finding is about the oldest. */
static void versions_of_the_window_are_allowed(void **state)
{
	static const struct {
		bool clean;
		uint64_t window, seqs[3];
		unsigned count;
		const char *text;
	} cases[] = {
		{false, 10, {5, 10, 11}, 3, NULL},
		{false, 10, {10, 11, 12}, 3, NULL},
		{false, 10, {9}, 1, NULL},
		{false,
		 10,
		 {5, 9, 10},
		 3,
		 "it is there 2 times: slot 4 here, and newest (sequence "
		 "9) in page 3, slot 5"},
		{true,
		 10,
		 {5, 10},
		 2,
		 "it is there 2 times: slot 4 here, and newest (sequence 10) "
		 "in page 3, slot 5"},
		{true,
		 UINT64_MAX,
		 {5, 6, 7},
		 3,
		 "it is there 3 times: slot 4 here, and newest "
		 "(sequence 7) in page 4, slot 6"},
		{true, UINT64_MAX, {5}, 1, NULL},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct nothing *n = begin_nothing();
		struct version at[3];
		size_t next = 0;

		for (uint32_t v = 0; v < 3; v++)
			at[v] = version(8, cases[i].seqs[v], 2 + v, 4 + v);
		n->check.clean = cases[i].clean;
		n->check.window = cases[i].window;
		judge(&n->check, at, cases[i].count);
		if (cases[i].text)
			expect_next(n, &next, "page-00000002", pfs_slot_offset(4), cases[i].text);
		assert_int_equal(n->found.count, next);
		assert_int_equal(n->found.result.damaged, next);
		free(n);
	}
}

/* Proves: of pages only slots are compared whose keys are there twice, and only of pages that there
 * are; these, and slots that are read again, are opened for reading. */
static void only_keys_that_are_there_twice_are_compared(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct nothing *n = begin_nothing();
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_key key = pfs_key_num(3);
	struct versions found = {0};
	const struct pfs_io_ops *ops;
	struct pfs_store *store;
	struct pfs_slot slot;
	struct pfs_key again;

	(void)state;
	create_store(sim, 64 * PFS_KIB, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < 9; i++)
		put_document(store, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = i}, 30, i);
	assert_int_equal(pfs_store_close(store), 0);
	assert_int_equal(io->ops->open_dir(io, STORE, 0, &n->check.dir), 0);
	ops = n->check.dir->ops;
	n->check.dir->ops = spy_on(ops);
	assert_int_equal(pfs_super_read(n->check.dir, &n->check.super, &quiet), 0);
	n->check.clean = true;
	assert_int_equal(pfs_check_files(&n->check), 0);
	assert_int_equal(n->check.page_count, 1);
	assert_int_equal(pfs_check_page(&n->check, &n->check.pages[0]), 0);
	assert_int_equal(
		pfs_check_set_add(&n->check.twice, pfs_check_hash(PFS_KEY_NUM, pfs_key_tag(&key))),
		1);
	assert_int_equal(scan_page(&n->check, &n->check.pages[0], &found), 0);
	assert_int_equal(found.count, 1);
	assert_true(pfs_key_equal(&found.at[0].key, &key));
	assert_int_equal(found.at[0].page, 1);
	free(found.at);

	assert_true(read_slot(&n->check, &n->check.pages[0], 3, &slot, &again));
	assert_int_equal(again.kind, PFS_KEY_NUM);
	assert_int_equal(slot.tag, again.num);

	/* What stands behind the last one is none. */
	n->check.pages[1] = n->check.pages[0];
	assert_int_equal(pfs_check_duplicates(&n->check), 0);
	assert_int_equal(n->found.count, 0);
	n->check.dir->ops = ops;
	n->check.dir->ops->close_dir(n->check.dir);
	pfs_check_end(&n->check);
	free(n);
	pfs_sim_free(sim);
}

/* ---- the index ---- */

/* Proves: a page is bare when no slot of it has a document, wherever the last one is. */
static void bare_pages_have_no_document(void **state)
{
	uint8_t live[8];

	(void)state;
	for (uint32_t count = 0; count < 8 * sizeof(live) - 8; count++) {
		struct pfs_checked_page page = {.live = live, .header = {.slot_count = count}};

		memset(live, 0, sizeof(live));
		memset(live + count / 8 + 1, 0xff, sizeof(live) - count / 8 - 1);
		assert_true(is_bare(&page));
		for (uint32_t i = 0; i < count; i++) {
			pfs_check_set_bit(live, i);
			assert_false(is_bare(&page));
			live[i / 8] = 0;
		}
	}
}

/* Proves: there is room for one more slot in a page that has all but one of those that there may
 * be, and for none in one that has all. */
static void slots_take_room(void **state)
{
	static const struct {
		uint32_t count, gap, free, hole, room;
	} cases[] = {
		{5, 100, 1, 0, 100},
		{5, 100, 1, 101, 101},
		{5, 100, 0, 0, 100 - PFS_SLOT_LEN},
		{5, PFS_SLOT_LEN, 0, 50, 50},
		{5, PFS_SLOT_LEN - 1, 0, 50, 0},
		{PFS_SLOT_NUMBER_MAX, 100, 0, 0, 100 - PFS_SLOT_LEN},
		{PFS_SLOT_NUMBER_MAX + 1, 100, 0, 0, 0},
		{PFS_SLOT_NUMBER_MAX + 1, 100, 1, 0, 100},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_checked_page page = {.free_slots = cases[i].free,
						.longest_hole = cases[i].hole,
						.header = {.slot_count = cases[i].count}};

		page.header.floor = (uint32_t)pfs_slot_offset(cases[i].count) + cases[i].gap;
		if (room_in(&page) != cases[i].room)
			fail_msg("case %zu: %llu", i, (unsigned long long)room_in(&page));
	}
}

/* Proves: first it is said which pages the index lacks, except of retired ones that have no
 * document; then whose slots are others; then what is free in the rest, first room, then bytes,
 * then slots. */
static void pages_are_compared_with_the_index(void **state)
{
	uint8_t live = 1, bare = 0;
	struct pfs_checked_page pages[] = {
		{.number = 1, .in_index = true, .index_room = 9, .free_bytes = 30, .free_slots = 2},
		{.number = 2, .in_index = true, .index_room = 9, .slots_crc = 5},
		{.number = 3, .retired = true, .live = &live, .header = {.slot_count = 1}},
		{.number = 4, .retired = true, .live = &bare, .header = {.slot_count = 1}},
		{.number = 5, .live = &bare, .header = {.slot_count = 1}},
	};
	struct nothing *n = begin_nothing();
	struct index_check x = {.check = &n->check, .pages_off = 104};
	size_t i = 0;

	(void)state;
	for (size_t k = 0; k < pfs_array_len(pages); k++) {
		pages[k].usable = true;
		pages[k].header.floor = (uint32_t)pfs_slot_offset(0) + 500;
	}
	n->check.pages = pages;
	n->check.page_count = pfs_array_len(pages);
	assert_int_equal(check_objects(&x), 0);
	expect_next(n, &i, "page-00000003", 0,
		    "the index lacks the page: what it holds is not found");
	expect_next(n, &i, "page-00000005", 0,
		    "the index lacks the page: what it holds is not found");
	expect_next(n, &i, "page-00000002", PFS_PAGE_HEADER_LEN,
		    "its slots are not what the index says: nothing is put into it");
	expect_next(n, &i, PFS_INDEX_NAME, 104, "it says 9 bytes of room in page 1, there are 500");
	expect_next(n, &i, PFS_INDEX_NAME, 104, "it says 0 free bytes in page 1, there are 30");
	expect_next(n, &i, PFS_INDEX_NAME, 104, "it says 0 free slots in page 1, there are 2");
	assert_int_equal(n->found.count, i);
	free(n);
}

/* Proves: the index verifies by a checksum that is there whole. */
static void the_checksum_of_the_index_is_whole(void **state)
{
	uint8_t bytes[200];
	struct nothing *n = begin_nothing();
	struct index_check x = {
		.check = &n->check,
		.reader = {.buf = bytes, .len = 164, .cap = sizeof(bytes)},
		.objects_off = 104,
		.crc_off = 160,
	};
	size_t i = 0;

	(void)state;
	memset(bytes, 0x11, sizeof(bytes));
	pfs_put_le32(bytes + 160, pfs_crc32c(0, bytes + 104, 160 - 104));
	assert_true(verify_body(&x));
	assert_int_equal(n->check.done, 160 - 104);
	x.reader.len = 163;
	assert_false(verify_body(&x));
	expect_next(n, &i, PFS_INDEX_NAME, 160,
		    "its checksum is wrong; the next opening makes it anew");
	assert_int_equal(n->found.count, i);
	free(n);
}

/* Proves: what the index says of the documents that need each dictionary is compared with those
 * that there are, wherever it stands, and not where these are not known or it does not know
 * itself. */
static void users_of_each_dictionary_are_compared(void **state)
{
	static const uint64_t says[] = {5, 1, 2, 0, 7}, there[] = {5, 3, 1, 2, 0};
	struct pfs_checked_dict dicts[5];
	uint8_t bytes[1000] = {0};
	struct nothing *n = begin_nothing();
	struct index_check x = {.check = &n->check,
				.reader = {.buf = bytes, .len = sizeof(bytes)},
				.dicts = 5,
				.dicts_off = 200};
	size_t next = 0;

	(void)state;
	for (uint32_t i = 0; i < 5; i++) {
		struct pfs_index_dict_disk *disk = (struct pfs_index_dict_disk *)(bytes + 200) + i;

		pfs_put_le32(disk->number.b, 11 + i);
		pfs_put_le64(disk->users.b, says[i]);
		dicts[i] = (struct pfs_checked_dict){.number = 11 + i, .users = there[i]};
	}
	n->check.dicts = dicts;
	n->check.dict_count = 4; /* of the last one the file is missing */
	check_users(&x);
	pfs_put_le32(x.header.flags.b, PFS_INDEX_USERS_KNOWN);
	check_users(&x);
	assert_int_equal(n->found.count, 0);
	n->check.counts_known = true;
	check_users(&x);
	expect_next(n, &next, PFS_INDEX_NAME, 212,
		    "it says that 1 document needs dictionary 12; there are 3");
	expect_next(n, &next, PFS_INDEX_NAME, 224,
		    "it says that 2 documents need dictionary 13; there are 1");
	expect_next(n, &next, PFS_INDEX_NAME, 236,
		    "it says that 0 documents need dictionary 14; there are 2");
	assert_int_equal(n->found.count, next);
	pfs_put_le32(x.header.flags.b, 0);
	check_users(&x);
	assert_int_equal(n->found.count, next);
	free(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(missing_pages_are_named_or_counted),
		cmocka_unit_test(doubt_comes_after_what_is_missing),
		cmocka_unit_test(what_is_no_store_is_left_alone),
		cmocka_unit_test(a_check_reads_what_it_has_locked),
		cmocka_unit_test(files_are_remembered),
		cmocka_unit_test(a_finding_has_its_own_fault),
		cmocka_unit_test(work_is_what_can_be_read),
		cmocka_unit_test(segments_are_read_as_they_are),
		cmocka_unit_test(headers_of_segments_are_read_as_they_are),
		cmocka_unit_test(the_newer_header_holds),
		cmocka_unit_test(records_lie_in_their_segment),
		cmocka_unit_test(records_have_a_sequence),
		cmocka_unit_test(records_name_two_keys),
		cmocka_unit_test(patches_lie_in_their_document),
		cmocka_unit_test(cut_segments_are_told_from_new_ones),
		cmocka_unit_test(unread_pieces_are_those_of_the_record),
		cmocka_unit_test(damage_ends_at_the_next_record),
		cmocka_unit_test(what_stands_there_proves_nothing),
		cmocka_unit_test(segments_are_searched_once),
		cmocka_unit_test(damage_up_to_the_end_is_nobodys),
		cmocka_unit_test(the_newest_is_told_from_those_there_are),
		cmocka_unit_test(moved_documents_are_followed),
		cmocka_unit_test(versions_are_in_order),
		cmocka_unit_test(versions_of_the_window_are_allowed),
		cmocka_unit_test(only_keys_that_are_there_twice_are_compared),
		cmocka_unit_test(bare_pages_have_no_document),
		cmocka_unit_test(slots_take_room),
		cmocka_unit_test(pages_are_compared_with_the_index),
		cmocka_unit_test(the_checksum_of_the_index_is_whole),
		cmocka_unit_test(users_of_each_dictionary_are_compared),
	};

	return cmocka_run_group_tests_name("check parts", tests, NULL, NULL);
}
