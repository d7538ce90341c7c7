/* storage/repair_super.c and storage/repair_journal.c, part by part: what other files say of a
 * superblock that is lost, what is cleared of a file that can't be read, and what is kept of
 * documents that a replay will lose. The files are included. */
#include <sys/random.h>

#include "storage/crc.h"
#include "tests/unit/damaged_file.h"
#include "tests/unit/noted_calls.h"

static struct {
	int read_err, keep_sync_err, write_err, create_err, open_err, add_err, files_err;
	unsigned random_flags, kept_lost;
	char calls[512];
} world;

#define note(what) calls_note(world.calls, sizeof(world.calls), "%s; ", what)
#define expect_calls(want) calls_expect(world.calls, want)

static int fake_super_read(struct pfs_dir *dir, struct pfs_super *super,
			   const struct pfs_logger *logger)
{
	(void)dir;
	(void)logger;
	*super = (struct pfs_super){.version = PFS_FORMAT_VERSION};
	return world.read_err;
}

static int fake_super_write(struct pfs_dir *dir, const struct pfs_super *super)
{
	(void)dir;
	note(super->doubt ? "write with doubt" : "write");
	return world.write_err;
}

static int fake_super_create(struct pfs_dir *dir, const struct pfs_super *super)
{
	(void)dir;
	assert_true(super->doubt);
	note("create");
	return world.create_err;
}

static ssize_t fake_random(void *buf, size_t len, unsigned flags)
{
	world.random_flags = flags;
	memset(buf, 9, len);
	return (ssize_t)len;
}

static int fake_keep_sync(struct pfs_quarantine *quarantine)
{
	(void)quarantine;
	note("kept for good");
	return world.keep_sync_err;
}

static void fake_say(struct pfs_repair *r, bool lost, const char *where, uint64_t off,
		     const struct pfs_key *key, const char *fmt, ...)
{
	(void)r;
	(void)off;
	(void)key;
	(void)fmt;
	assert_false(lost);
	assert_string_equal(where, PFS_SUPER_NAME);
	note("say");
}

/* ---- a store that is opened to see what it loses ---- */

static struct pfs_version versions[5];

static int fake_open(struct pfs_store **out, struct pfs_dir *dir, const char *path,
		     const struct pfs_open_options *options, struct pfs_reason *reason)
{
	static struct pfs_store opened;

	(void)dir;
	(void)path;
	(void)reason;
	assert_true(options->read_only);
	*out = &opened;
	return world.open_err;
}

static int fake_close(struct pfs_store *store)
{
	(void)store;
	note("close");
	return 0;
}

static uint32_t fake_end(const struct pfs_index *index)
{
	(void)index;
	return PFS_OBJECT_FIRST + 4;
}

static uint64_t fake_word(const struct pfs_index *index, uint32_t object)
{
	(void)index;
	assert_in_range(object, PFS_OBJECT_FIRST, PFS_OBJECT_FIRST + 3);
	return pfs_word_version(&versions[object - PFS_OBJECT_FIRST]);
}

static int fake_set_add(struct pfs_check_set *set, uint64_t hash)
{
	if (world.add_err && set->count)
		return world.add_err;
	return pfs_check_set_add(set, hash);
}

static int fake_check_files(struct pfs_check *check)
{
	(void)check;
	note("files");
	return world.files_err;
}

static int fake_check_journal(struct pfs_check *check)
{
	(void)check;
	note("journal");
	return 0;
}

static void fake_check_end(struct pfs_check *check)
{
	(void)check;
}

static int fake_keep_slot(struct pfs_repair *r, struct pfs_file *from,
			  const struct pfs_checked_page *page, uint32_t number,
			  const struct pfs_key *key, const char *reason)
{
	(void)r;
	(void)from;
	(void)page;
	(void)reason;
	assert_int_equal(key->kind, PFS_KEY_NUM);
	the_kept.slot[the_kept.count++] = number;
	return the_kept.err;
}

static unsigned decoded; /* superblocks */

static bool counting_decode(struct pfs_super *super, const struct pfs_super_disk *disk)
{
	decoded++;
	return pfs_super_decode(super, disk);
}

#define pfs_super_decode counting_decode
#define pfs_repair_keep fake_keep
#define pfs_repair_keep_slot fake_keep_slot
#define pfs_quarantine_sync fake_keep_sync
#define pfs_repair_say fake_say
#define pfs_super_read fake_super_read
#define pfs_super_write fake_super_write
#define pfs_super_create fake_super_create
#define getrandom fake_random
#define pfs_check_reader_new fake_reader_new
#define pfs_store_open_in fake_open
#define pfs_store_close fake_close
#define pfs_index_end fake_end
#define pfs_index_word fake_word
#define pfs_check_set_add fake_set_add
#define pfs_check_files fake_check_files
#define pfs_check_journal fake_check_journal
#define pfs_check_end fake_check_end
#include "storage/repair_journal.c"
#include "storage/repair_super.c"

static const struct pfs_logger no_logger;
static struct pfs_reason the_reason;

static void begin(void)
{
	begin_repair();
	memset(&world, 0, sizeof(world));
	memset(&the_kept, 0, sizeof(the_kept));
	the_reason.text[0] = '\0';
	the_repair.reason = &the_reason;
	the_repair.logger = &no_logger;
	the_repair.path = "store";
}

/* ---- what other files say ---- */

static void seal(uint64_t off, size_t len)
{
	pfs_put_le32(file_bytes + off + 8, pfs_crc32c(0, file_bytes + off + 12, len - 12));
}

static void put_segment(uint64_t off, uint64_t epoch, uint64_t seq)
{
	struct pfs_segment_disk *disk = (struct pfs_segment_disk *)(file_bytes + off);

	memcpy(disk->magic, PFS_SEGMENT_MAGIC, sizeof(disk->magic));
	memcpy(disk->uuid, store_uuid, PFS_UUID_LEN);
	pfs_put_le64(disk->open_epoch.b, epoch);
	pfs_put_le64(disk->first_seq.b, seq);
	seal(off, sizeof(*disk));
}

static void put_index(uint64_t epoch)
{
	struct pfs_index_disk *disk = (struct pfs_index_disk *)file_bytes;

	memcpy(disk->magic, PFS_INDEX_MAGIC, sizeof(disk->magic));
	memcpy(disk->uuid, store_uuid, PFS_UUID_LEN);
	pfs_put_le64(disk->epoch.b, epoch);
	seal(0, sizeof(*disk));
}

/* Proves: a page file tells what one of its headers says, if it is long enough for both and its
 * length can be had. */
static void pages_tell(void **state)
{
	static const struct {
		uint64_t size;
		bool front, copy;
		int size_err, read_err;
		unsigned pages;
	} cases[] = {
		{PAGE_SIZE, true, true, 0, 0, 1},    {PAGE_SIZE, true, false, 0, 0, 1},
		{PAGE_SIZE, false, true, 0, 0, 1},   {PAGE_SIZE, false, false, 0, 0, 0},
		{128, true, false, 0, 0, 1},	     {127, true, false, 0, 0, 0},
		{PAGE_SIZE, true, true, -EIO, 0, 0}, {PAGE_SIZE, true, true, 0, -EIO, 0},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct hints hints = {.dir = &the_dir.base};
		struct pfs_page_header header = new_header();

		begin();
		if (cases[i].front)
			put_header(0, &header);
		if (cases[i].copy)
			put_header(PAGE_END, &header);
		the_file.size = cases[i].size;
		the_file.size_err = cases[i].size_err;
		the_file.read_err = cases[i].read_err;
		assert_int_equal(look_at_file(&hints, "page-00000003"), 0);
		assert_int_equal(hints.pages, cases[i].pages);
		assert_int_equal(hints.count, cases[i].pages);
		assert_int_equal(hints.sequence, cases[i].pages ? header.base_seq : 0);
		assert_int_equal(hints.page_size, cases[i].pages ? PAGE_SIZE : 0);
		assert_int_equal(the_dir.written, 0);
		assert_false(the_file.open);
	}
}

/* Proves: a segment tells what the first copy of its header says that is whole, a saved index its
 * epoch; neither does when it is not one, does not verify, can't be read whole, is another store's
 * or says more than there can be. */
static void segments_and_indexes_tell(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2 * 10; i++) {
		struct hints hints = {.dir = &the_dir.base, .uuid = store_uuid};
		bool index = i % 2;
		unsigned how = i / 2;

		begin();
		if (index) {
			put_index(how == 7 ? PFS_EPOCH_MAX : how == 8 ? PFS_EPOCH_MAX + 1 : 11);
		} else {
			put_segment(0,
				    how == 7   ? PFS_EPOCH_MAX
				    : how == 8 ? PFS_EPOCH_MAX + 1
					       : 11,
				    how == 7   ? PFS_SEQ_MAX
				    : how == 9 ? PFS_SEQ_MAX + 1
					       : 70);
			put_segment(PFS_SEGMENT_STRIDE, 5, 6);
		}
		if (how == 1)
			file_bytes[0] ^= 1;
		if (how == 2)
			file_bytes[20] ^= 1;
		if (how == 3)
			file_bytes[8] ^= 1;
		if (how == 4)
			hints.uuid = (const uint8_t *)"of another store";
		if (how == 5)
			the_file.short_by = 1;
		if (how == 6)
			the_file.read_err = -EIO;
		assert_int_equal(look_at_file(&hints, index ? "index" : "journal-00000001"), 0);
		assert_false(the_file.open);
		if (index) {
			assert_int_equal(hints.index_epoch, how == 0 || how == 9 ? 11
							    : how == 7		 ? PFS_EPOCH_MAX
										 : 0);
			assert_int_equal(hints.count, how == 0 || how == 7 || how == 9);
		} else {
			bool first = how == 0 || how == 7, none = how >= 4 && how <= 6;

			assert_int_equal(hints.segment_epoch, how == 7 ? PFS_EPOCH_MAX
							      : first  ? 11
							      : none   ? 0
								       : 5);
			assert_int_equal(hints.sequence, how == 7 ? PFS_SEQ_MAX
							 : first  ? 70
							 : none	  ? 0
								  : 6);
			assert_int_equal(hints.segments, !none);
		}
	}
}

/* Proves: only files that may be a page, a segment or the index are opened, and only for reading.
 */
static void other_files_are_not_opened(void **state)
{
	static const struct {
		const char *name;
		bool opened;
	} cases[] = {
		{"page-00000001", true}, {"page_00000001", false}, {"pages", false},
		{"journal-1", true},	 {"journal_1", false},	   {"index", true},
		{"index2", false},	 {"superblock", false},	   {"dict-00000001", false},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct hints hints = {.dir = &the_dir.base};

		begin();
		assert_int_equal(look_at_file(&hints, cases[i].name), 0);
		assert_int_equal(the_dir.opens, cases[i].opened);
		assert_int_equal(the_dir.written, 0);
		the_dir.open_err = -EIO;
		assert_int_equal(look_at_file(&hints, cases[i].name), 0);
	}
}

/* Proves: a store of which no file is left but its superblock's gets an id that is waited for; a
 * directory with nothing is none; one that can't be listed is an error. */
static void without_files_the_id_is_a_new_one(void **state)
{
	(void)state;
	begin();
	world.random_flags = 99;
	assert_int_equal(work_out(&the_repair, true), 0);
	assert_int_equal(world.random_flags, 0);
	for (unsigned i = 0; i < PFS_UUID_LEN; i++)
		assert_int_equal(the_repair.super.uuid[i], 9);
	assert_int_equal(work_out(&the_repair, false), -ENOENT);
	the_dir.list_err = -EIO;
	assert_int_equal(work_out(&the_repair, true), -EIO);
	/* One segment newer than the index. */
	begin();
	put_segment(0, 11, 70);
	the_dir.names[0] = "journal-00000001";
	assert_int_equal(work_out(&the_repair, false), 0);
	assert_memory_equal(the_repair.super.uuid, store_uuid, PFS_UUID_LEN);
	assert_int_equal(the_repair.super.open_epoch, 11);
	assert_int_equal(the_repair.super.clean_epoch, 0);
	assert_int_equal(the_repair.super.sequence, 70);
}

/* ---- the superblock ---- */

/* Proves: of a superblock that no turned bit explains each bit is tried, and no other. */
static void each_bit_is_tried_once(void **state)
{
	struct pfs_super_disk disk;
	struct pfs_super super;

	(void)state;
	memset(&disk, 7, sizeof(disk));
	decoded = 0;
	assert_false(mend_copy(&super, &disk));
	assert_int_equal(decoded, 8 * sizeof(disk));
}

/* Proves: a superblock that can't be opened, whose copies can't be kept or written, is an error, of
 * which the reason says something, where it is asked for and nothing else was said. */
static void errors_of_the_superblock_are_passed_on(void **state)
{
	(void)state;
	begin();
	world.read_err = -EUCLEAN;
	the_dir.open_err = -EMFILE;
	assert_int_equal(pfs_repair_find_super(&the_repair), -EMFILE);
	assert_true(the_reason.text[0] != '\0');
	snprintf(the_reason.text, sizeof(the_reason.text), "it was said");
	assert_int_equal(pfs_repair_super(&the_repair), -EMFILE);
	assert_string_equal(the_reason.text, "it was said");
	the_repair.reason = NULL;
	assert_int_equal(pfs_repair_super(&the_repair), -EMFILE);
	assert_int_equal(keep_copies(&the_repair), -EMFILE);
	expect_calls("");
	for (unsigned i = 0; i < 5; i++) {
		int err = i == 3 ? 0 : -ENOSPC;

		begin();
		world.read_err = i == 4 ? -ENOENT : -EUCLEAN;
		put_index(11);
		the_dir.names[0] = "index";
		the_kept.err = i == 0 ? err : 0;
		world.keep_sync_err = i == 1 ? err : 0;
		world.write_err = i == 2 ? err : 0;
		world.create_err = i == 4 ? err : 0;
		assert_int_equal(pfs_repair_super(&the_repair), err);
		expect_calls(i == 0   ? ""
			     : i == 1 ? "kept for good; "
			     : i == 2 ? "kept for good; write with doubt; "
			     : i == 3 ? "kept for good; write with doubt; say; "
				      : "create; ");
		assert_int_equal(the_result.faults, 1);
		assert_false(the_file.open);
		assert_int_equal(the_dir.written, 0);
		if (i == 3) {
			assert_int_equal(the_kept.count, PFS_SUPER_COPIES);
			assert_int_equal(the_kept.off[1], PFS_SUPER_STRIDE);
			assert_true(the_repair.rebuilt);
		}
	}
}

/* ---- what can't be read ---- */

/* Proves: of the pieces from the one of `from` to before `end` those are written again that can't
 * be read, with zeros for their sectors that can't, and the rest as it was; the first place that
 * was cleared is told. What ends early does not fail. */
static void pieces_are_cleared(void **state)
{
	static const struct {
		uint64_t from, end, bad, size;
		const char *writes;
		uint64_t cleared;
	} cases[] = {
		{0, 8192, 5000, PAGE_SIZE, "w4096+4096 ", 4608},
		{0, 4096, 4096, PAGE_SIZE, "", UINT64_MAX},
		{0, 4097, 4096, PAGE_SIZE, "w4096+4096 ", 4096},
		{4095, 4096, 0, PAGE_SIZE, "w0+4096 ", 0},
		{4096, 8192, 4095, PAGE_SIZE, "", UINT64_MAX},
		{100, 100, 0, PAGE_SIZE, "w0+4096 ", 0},
		{4096, 4096, 4096, PAGE_SIZE, "", UINT64_MAX},
		{0, 4096, 700, 1000, "w0+4096 ", 512},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		uint64_t cleared;
		char *w;

		begin();
		memset(file_bytes, 5, PAGE_SIZE);
		the_file.size = cases[i].size;
		the_file.bad_from = cases[i].bad;
		the_file.bad_end = cases[i].bad + 1;
		assert_int_equal(pfs_repair_clear_unreadable(&the_file.base, cases[i].from,
							     cases[i].end, &cleared),
				 0);
		assert_int_equal(cleared, cases[i].cleared);
		w = strchr(the_file.calls, 'w');
		assert_true(w ? strncmp(w, cases[i].writes, strlen(cases[i].writes)) == 0
			      : !*cases[i].writes);
		for (uint64_t at = 0; at < cases[i].size; at++)
			assert_int_equal(file_bytes[at],
					 *cases[i].writes && at / 512 == cases[i].bad / 512 ? 0
											    : 5);
	}
	the_file.size = PAGE_SIZE;
	the_file.write_err = -EIO;
	{
		uint64_t cleared;

		assert_int_equal(pfs_repair_clear_unreadable(&the_file.base, 0, 8192, &cleared),
				 -EIO);
	}
}

/* Proves: of records that can't be read the pieces are cleared that are all theirs, durably if
 * there are any; errors are passed on, and the file is closed. */
static void records_are_cleared(void **state)
{
	static const struct {
		uint64_t off, len, bad;
		bool cleared;
	} cases[] = {
		{4096, 8192, 4096, true}, {4097, 8192, 4096, false}, {4097, 8192, 8192, true},
		{4095, 8192, 4096, true}, {4096, 8191, 8192, false}, {4096, 8192, 12288, false},
		{8191, 4097, 8192, true}, {8190, 4097, 8192, false},
	};
	struct pfs_repair_item *item = &the_items[0];

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		begin();
		item->fault =
			(struct pfs_fault){PFS_FAULT_RECORDS, 1, 0, cases[i].off, cases[i].len};
		the_file.bad_from = cases[i].bad;
		the_file.bad_end = cases[i].bad + 1;
		assert_int_equal(pfs_repair_clear_records(&the_repair, item), 0);
		assert_int_equal(strchr(the_file.calls, 'w') != NULL, cases[i].cleared);
		assert_int_equal(strchr(the_file.calls, 's') != NULL, cases[i].cleared);
		assert_false(the_file.open);
	}
	begin();
	item->fault = (struct pfs_fault){PFS_FAULT_RECORDS, 1, 0, 4096, 8192};
	the_file.bad_from = 4096;
	the_file.bad_end = 4097;
	the_file.sync_err = -EIO;
	assert_int_equal(pfs_repair_clear_records(&the_repair, item), -EIO);
	the_file.write_err = -ENOSPC;
	assert_int_equal(pfs_repair_clear_records(&the_repair, item), -ENOSPC);
	assert_false(the_file.open);
	the_dir.open_err = -EMFILE;
	assert_int_equal(pfs_repair_clear_records(&the_repair, item), -EMFILE);
}

/* ---- what will be lost ---- */

static struct pfs_check_set lost_set(uint64_t number)
{
	struct pfs_check_set set = {0};

	assert_int_equal(pfs_check_set_add(&set, pfs_check_hash(PFS_KEY_NUM, number)), 1);
	return set;
}

/* Proves: a record is kept that has the key of a lost document as one of its two, and no other;
 * from a file that is only read. */
static void records_of_what_is_lost_are_kept(void **state)
{
	struct pfs_check_set lost = lost_set(7);
	struct keeping k = {.repair = &the_repair, .lost = &lost};
	const uint8_t bytes[1] = {0};

	(void)state;
	for (unsigned at = 0; at < 5; at++) {
		struct pfs_key keys[3] = {{0}};

		begin();
		k.check.dir = &the_dir.base;
		for (unsigned i = 0; i < 3; i++)
			keys[i] = pfs_key_num(i == at ? 7 : 8);
		if (at == 4)
			keys[0] = (struct pfs_key){.kind = PFS_KEY_NONE, .num = 7};
		assert_int_equal(keep_record(&k.check, 1, bytes, 640, 80, keys), 0);
		assert_int_equal(the_kept.count, at < 2);
		if (at < 2) {
			assert_int_equal(the_kept.off[0], 640);
			assert_int_equal(the_kept.len[0], 80);
		}
		assert_int_equal(the_dir.written, 0);
		assert_false(the_file.open);
		if (at != 1)
			continue;
		the_kept.err = -ENOSPC;
		assert_int_equal(keep_record(&k.check, 1, bytes, 640, 80, keys), -ENOSPC);
		assert_false(the_file.open);
		the_dir.open_err = -EMFILE;
		assert_int_equal(keep_record(&k.check, 1, bytes, 640, 80, keys), -EMFILE);
	}
	pfs_check_set_free(&lost);
}

/* Proves: of the pages those slots are kept that have a lost document, as far as they can be read;
 * the first error ends it. */
static void slots_of_what_is_lost_are_kept(void **state)
{
	struct pfs_check_set lost = lost_set(7);
	struct keeping k = {.repair = &the_repair, .lost = &lost};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		begin();
		the_repair.check.page_count = 1;
		the_page.usable = i != 2;
		the_page.header.slot_count = 5;
		put_value(0, 8000, 100, 8, 50);
		put_value(1, 9000, 100, 7, 50);
		put_slot(2, &(struct pfs_slot){.kind = PFS_SLOT_TOMBSTONE, .tag = 7, .seq = 1});
		memset(file_bytes + pfs_slot_offset(3), 0xf7, PFS_SLOT_LEN);
		put_value(4, 9500, 100, 7, 50);
		put_value(5, 9900, 100, 7, 50);
		if (i == 1) {
			/* Behind one that is lost, and before one. */
			the_file.bad_from = pfs_slot_offset(2);
			the_file.bad_end = the_file.bad_from + 1;
		}
		the_kept.err = i == 3 ? -ENOSPC : 0;
		assert_int_equal(keep_pages(&k), i == 3 ? -ENOSPC : 0);
		assert_int_equal(the_kept.count, i < 2 ? 2 : i == 2 ? 0 : 1);
		if (the_kept.count)
			assert_int_equal(the_kept.slot[0], 1);
		if (the_kept.count > 1)
			assert_int_equal(the_kept.slot[1], 4);
		assert_int_equal(the_dir.written, 0);
		assert_false(the_file.open);
	}
	begin();
	the_dir.open_err = -EMFILE;
	assert_int_equal(keep_pages(&k), -EMFILE);
	begin();
	readers_left = 0;
	the_page.header.slot_count = 1;
	assert_int_equal(keep_pages(&k), -ENOMEM);
	readers_left = UINT32_MAX;
	pfs_check_set_free(&lost);
}

/* Proves: before a replay loses documents what there is of them is searched for, once; where none
 * will be lost nothing is. Errors end it. */
static void a_rehearsal_keeps_what_will_be_lost(void **state)
{
	static const struct {
		unsigned lost; /* documents */
		int open_err, add_err, files_err, then;
		const char *calls;
	} cases[] = {
		{0, 0, 0, 0, 0, "close; "},
		{1, 0, 0, 0, 0, "close; files; journal; "},
		{3, 0, 0, 0, 0, "close; files; journal; "},
		{3, 0, -ENOMEM, 0, -ENOMEM, "close; "},
		{1, 0, 0, -ENOMEM, -ENOMEM, "close; files; "},
		{1, -EIO, 0, 0, -EIO, ""},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		begin();
		the_repair.check.page_count = 0;
		memset(versions, 0, sizeof(versions));
		for (unsigned n = 0; n < 4; n++) {
			versions[n].kind = n == 3 ? PFS_KEY_TEMP : PFS_KEY_NUM;
			versions[n].tag = n + 1;
			versions[n].source.kind =
				n == 3 || n < cases[i].lost ? PFS_SOURCE_LOST : PFS_SOURCE_EMPTY;
		}
		world.open_err = cases[i].open_err;
		world.add_err = cases[i].add_err;
		world.files_err = cases[i].files_err;
		assert_int_equal(pfs_repair_rehearse(&the_repair), cases[i].then);
		expect_calls(cases[i].calls);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_tell),
		cmocka_unit_test(segments_and_indexes_tell),
		cmocka_unit_test(other_files_are_not_opened),
		cmocka_unit_test(without_files_the_id_is_a_new_one),
		cmocka_unit_test(each_bit_is_tried_once),
		cmocka_unit_test(errors_of_the_superblock_are_passed_on),
		cmocka_unit_test(pieces_are_cleared),
		cmocka_unit_test(records_are_cleared),
		cmocka_unit_test(records_of_what_is_lost_are_kept),
		cmocka_unit_test(slots_of_what_is_lost_are_kept),
		cmocka_unit_test(a_rehearsal_keeps_what_will_be_lost),
	};

	return cmocka_run_group_tests_name("repair of superblock and journal, part by part", tests,
					   NULL, NULL);
}
