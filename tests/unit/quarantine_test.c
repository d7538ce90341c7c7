/* storage/quarantine.c: what is kept of a file, and when it is sure to stay. */
#include "storage/base64.h"
#include "storage/quarantine.h"
#include "tests/unit/damaged_file.h"
#include "tests/unit/store_helpers.h"

#define SOURCE "page-00000001"
#define CUT_OFF "{\"where\":\"page-000"

static struct pfs_dir *open_dir(struct pfs_sim *sim)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_dir *dir;

	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE | PFS_IO_CREATE, &dir), 0);
	return dir;
}

static void make(struct pfs_dir *dir, const char *name, const void *bytes, size_t len)
{
	struct pfs_file *file;

	assert_int_equal(dir->ops->open(dir, name, PFS_IO_WRITE | PFS_IO_CREATE, &file), 0);
	assert_int_equal(file->ops->write(file, bytes, len, 0), 0);
	assert_int_equal(file->ops->sync(file), 0);
	file->ops->close(file);
}

/* Keeps [off, off + len) of the source, durably. Returns how many entries that is. */
static uint64_t keep(struct pfs_dir *dir, uint64_t off, uint64_t len)
{
	struct pfs_kept kept = {.where = SOURCE, .off = off, .len = len, .reason = "a test"};
	struct pfs_quarantine quarantine;
	struct pfs_file *source;
	uint64_t entries;

	assert_int_equal(dir->ops->open(dir, SOURCE, 0, &source), 0);
	pfs_quarantine_begin(&quarantine, dir);
	assert_int_equal(pfs_quarantine_add(&quarantine, &kept, source), 0);
	assert_int_equal(pfs_quarantine_sync(&quarantine), 0);
	entries = quarantine.entries;
	pfs_quarantine_end(&quarantine);
	source->ops->close(source);
	return entries;
}

static char *text_of(struct pfs_sim *sim)
{
	uint64_t size = size_at(sim, PFS_QUARANTINE_NAME);
	char *text = malloc(size + 1);

	read_at(sim, PFS_QUARANTINE_NAME, 0, text, size);
	text[size] = '\0';
	return text;
}

#define KEPT                                                        \
	"{\"where\":\"page-00000001\",\"key\":null,\"reason\":\"a " \
	"test\",\"offset\":0,\"length\":3,"                         \
	"\"bytes\":\"YWJj\"}\n"

/* Proves (R1): what was added is there after a power cut, under its name, also where the file was
 * left by a repair that was cut off before it could make the name durable. A line that is not whole
 * is ended, so that the next one stands for itself; one that is stays as it is. */
static void what_is_kept_stays(void **state)
{
	static const char *const before[] = {"", CUT_OFF, KEPT, "\n"};
	static const char *const then[] = {KEPT, CUT_OFF "\n" KEPT, KEPT KEPT, "\n" KEPT};

	(void)state;
	for (unsigned left = 0; left < 4; left++) {
		struct pfs_sim *sim = pfs_sim_new(), *image;
		struct pfs_dir *dir = open_dir(sim);
		char *text;

		make(dir, SOURCE, "abc", 3);
		pfs_sim_settle(sim);
		if (left)
			make(dir, PFS_QUARANTINE_NAME, before[left], strlen(before[left]));
		assert_int_equal(keep(dir, 0, 3), 1);
		image = pfs_sim_crash_index(sim, 0);
		text = text_of(image);
		assert_string_equal(text, then[left]);
		free(text);
		pfs_sim_free(image);
		dir->ops->close_dir(dir);
		pfs_sim_free(sim);
	}
}

/* Pieces 1 and 3 of the source can't be read. */
static int fail_pieces(void *arg, const struct pfs_sim_step *step)
{
	uint64_t end = step->off + step->len;

	(void)arg;
	if (step->kind != PFS_SIM_READ || strcmp(step->name, SOURCE) != 0)
		return 0;
	return (step->off < 8192 && end > 4096) || (step->off < 16384 && end > 12288) ? -EIO : 0;
}

/* Proves: of bytes of which some can't be read, or are not there, the others are kept, zeros stand
 * for these, and the line says which they are. */
static void what_can_not_be_read_is_said(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim);
	uint8_t bytes[20100] = {0};
	char *text, *encoded = calloc(1, pfs_base64_encoded_len(sizeof(bytes)) + 1);

	(void)state;
	fill_document(bytes, 16484, 1);
	make(dir, SOURCE, bytes, 16484);
	memset(bytes + 4096, 0, 4096);
	memset(bytes + 12288, 0, 4096);
	pfs_base64_encode(encoded, bytes + 100, sizeof(bytes) - 100);
	pfs_sim_on_look(sim, fail_pieces, NULL);
	assert_int_equal(keep(dir, 100, sizeof(bytes) - 100), 1);
	pfs_sim_on_look(sim, NULL, NULL);
	text = text_of(sim);
	assert_non_null(
		strstr(text, ",\"unread\":[[4096,8192],[12288,16384],[16484,20100]],\"bytes\":\""));
	assert_non_null(strstr(text, encoded));
	free(text);
	free(encoded);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Every second piece. */
static int fail_every_second(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	return step->kind == PFS_SIM_READ && strcmp(step->name, SOURCE) == 0 &&
			       (step->len > 4096 || step->off / 4096 % 2)
		       ? -EIO
		       : 0;
}

/* Proves: of more ranges that can't be read than a line names the last one is said to reach up to
 * the end of all. */
static void many_ranges_that_can_not_be_read_are_said(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim);
	uint8_t *bytes = malloc(PFS_QUARANTINE_PART);
	char *text;

	(void)state;
	memset(bytes, 'x', PFS_QUARANTINE_PART);
	make(dir, SOURCE, bytes, PFS_QUARANTINE_PART);
	pfs_sim_on_look(sim, fail_every_second, NULL);
	assert_int_equal(keep(dir, 0, PFS_QUARANTINE_PART), 1);
	pfs_sim_on_look(sim, NULL, NULL);
	text = text_of(sim);
	assert_non_null(strstr(text, ",\"unread\":[[4096,8192],[12288,16384],"));
	assert_non_null(strstr(text, ",[512000,516096],[520192,1048576]],\"bytes\":\""));
	free(text);
	free(bytes);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

static int fail_for_memory(void *arg, const struct pfs_sim_step *step)
{
	const unsigned *later = arg;

	if (step->kind != PFS_SIM_READ || strcmp(step->name, SOURCE) != 0)
		return 0;
	return *later && step->len > 4096 ? -EIO : -ENOMEM;
}

/* Proves: where there is no memory to read with, nothing is kept of what could be read, and that is
 * said: it is no damage. */
static void without_memory_nothing_is_kept(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_kept kept = {.where = SOURCE, .len = 20000, .reason = "a test"};
	uint8_t bytes[20000] = {0};

	(void)state;
	make(dir, SOURCE, bytes, sizeof(bytes));
	for (unsigned later = 0; later < 2; later++) {
		struct pfs_quarantine quarantine;
		struct pfs_file *source;

		assert_int_equal(dir->ops->open(dir, SOURCE, 0, &source), 0);
		pfs_quarantine_begin(&quarantine, dir);
		pfs_sim_on_look(sim, fail_for_memory, &later);
		assert_int_equal(pfs_quarantine_add(&quarantine, &kept, source), -ENOMEM);
		pfs_sim_on_look(sim, NULL, NULL);
		assert_int_equal(quarantine.entries, 0);
		pfs_quarantine_end(&quarantine);
		source->ops->close(source);
	}
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: an entry has a line for each PFS_QUARANTINE_PART of its bytes, and as a whole counts
 * once.
 */
static void long_entries_have_several_lines(void **state)
{
	static const struct {
		uint64_t len;
		unsigned lines;
		const char *last; /* what the last line says of its part */
	} cases[] = {
		{0, 1, "\"offset\":5,\"length\":0,\"bytes\":\"\"}"},
		{PFS_QUARANTINE_PART, 1, "\"offset\":5,\"length\":1048576,\"bytes\":\""},
		{PFS_QUARANTINE_PART + 1, 2,
		 "\"offset\":1048581,\"length\":1,\"part\":2,\"parts\":2,\"bytes\":\"eA==\"}"},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_dir *dir = open_dir(sim);
		uint8_t *bytes = malloc(PFS_QUARANTINE_PART + 6);
		char *text, *last, *end;
		unsigned lines = 0;

		memset(bytes, 'x', PFS_QUARANTINE_PART + 6);
		make(dir, SOURCE, bytes, PFS_QUARANTINE_PART + 6);
		assert_int_equal(keep(dir, 5, cases[i].len), 1);
		text = last = text_of(sim);
		for (char *p = text; (end = strchr(p, '\n')); p = end + 1) {
			last = p;
			lines++;
		}
		assert_int_equal(lines, cases[i].lines);
		assert_non_null(strstr(last, cases[i].last));
		free(text);
		free(bytes);
		dir->ops->close_dir(dir);
		pfs_sim_free(sim);
	}
}

struct syncs {
	unsigned files, dirs, fail_file, fail_dir;
};

static int count_sync(void *arg, const struct pfs_sim_step *step)
{
	struct syncs *s = arg;

	if (step->kind == PFS_SIM_SYNC)
		return ++s->files == s->fail_file ? -EIO : 0;
	if (step->kind == PFS_SIM_SYNC_DIR)
		return ++s->dirs == s->fail_dir ? -EIO : 0;
	return 0;
}

/* Proves: a sync that fails is said, of the file or of its name, and is tried again; after one that
 * succeeds nothing is synced before more is kept, and the name not again. */
static void failed_syncs_are_said_and_tried_again(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_kept kept = {.where = SOURCE, .len = 3, .reason = "a test"};
	struct syncs s = {.fail_file = 1, .fail_dir = 1};
	struct pfs_quarantine quarantine;
	struct pfs_file *source;

	(void)state;
	make(dir, SOURCE, "abc", 3);
	assert_int_equal(dir->ops->open(dir, SOURCE, 0, &source), 0);
	pfs_quarantine_begin(&quarantine, dir);
	pfs_sim_on_step(sim, count_sync, &s);
	assert_int_equal(pfs_quarantine_sync(&quarantine), 0);
	assert_int_equal(s.files + s.dirs, 0);
	assert_int_equal(pfs_quarantine_add(&quarantine, &kept, source), 0);
	assert_int_equal(pfs_quarantine_sync(&quarantine), -EIO);
	assert_true(s.files == 1 && s.dirs == 0);
	assert_int_equal(pfs_quarantine_sync(&quarantine), -EIO);
	assert_true(s.files == 2 && s.dirs == 1);
	assert_int_equal(pfs_quarantine_sync(&quarantine), 0);
	assert_true(s.files == 3 && s.dirs == 2);
	assert_int_equal(pfs_quarantine_sync(&quarantine), 0);
	assert_true(s.files == 3 && s.dirs == 2);
	assert_int_equal(pfs_quarantine_add(&quarantine, &kept, source), 0);
	assert_int_equal(pfs_quarantine_sync(&quarantine), 0);
	assert_true(s.files == 4 && s.dirs == 2);
	pfs_sim_on_step(sim, NULL, NULL);
	pfs_quarantine_end(&quarantine);
	source->ops->close(source);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

static int fail_second_write(void *arg, const struct pfs_sim_step *step)
{
	return step->kind == PFS_SIM_WRITE && ++*(unsigned *)arg == 2 ? -ENOSPC : 0;
}

/* Proves: what ends a line that was cut off is one byte, also where nothing can be written behind
 * it. */
static void a_cut_line_is_ended_by_one_byte(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_kept kept = {.where = SOURCE, .len = 3, .reason = "a test"};
	struct pfs_quarantine quarantine;
	struct pfs_file *source;
	unsigned writes = 0;
	char *text;

	(void)state;
	make(dir, SOURCE, "abc", 3);
	make(dir, PFS_QUARANTINE_NAME, CUT_OFF, strlen(CUT_OFF));
	assert_int_equal(dir->ops->open(dir, SOURCE, 0, &source), 0);
	pfs_quarantine_begin(&quarantine, dir);
	pfs_sim_set_failed_writes(sim, PFS_SIM_FAILED_NOTHING);
	pfs_sim_on_step(sim, fail_second_write, &writes);
	assert_int_equal(pfs_quarantine_add(&quarantine, &kept, source), -ENOSPC);
	pfs_sim_on_step(sim, NULL, NULL);
	assert_int_equal(size_at(sim, PFS_QUARANTINE_NAME), strlen(CUT_OFF "\n"));
	text = text_of(sim);
	assert_string_equal(text, CUT_OFF "\n");
	free(text);
	pfs_quarantine_end(&quarantine);
	source->ops->close(source);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Keeps nothing of the file in the file itself, which is of this size. Returns the error. */
static int keep_nothing(uint64_t size, int size_err)
{
	struct pfs_kept kept = {.where = SOURCE, .reason = "a test"};
	struct pfs_quarantine quarantine;
	int err;

	the_file.bytes = file_bytes;
	the_file.size = size;
	the_file.size_err = size_err;
	the_file.calls[0] = '\0';
	memset(file_bytes, 'x', size);
	pfs_quarantine_begin(&quarantine, &the_dir.base);
	err = pfs_quarantine_add(&quarantine, &kept, &the_file.base);
	assert_int_equal(quarantine.entries, !err);
	pfs_quarantine_end(&quarantine);
	assert_false(the_file.open);
	return err;
}

/* Proves: a file whose length can't be told is not written to, for what would it go over; one that
 * is empty is not asked for its last byte. */
static void a_line_begins_where_the_last_one_ends(void **state)
{
	(void)state;
	assert_int_equal(keep_nothing(0, 0), 0);
	assert_int_equal(strncmp(the_file.calls, "w0+", 3), 0);
	assert_int_equal(keep_nothing(9, 0), 0);
	assert_int_equal(strncmp(the_file.calls, "r8+1 w9+1 w10+", 14), 0);
	assert_int_equal(keep_nothing(9, -EIO), -EIO);
	assert_string_equal(the_file.calls, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_kept_stays),
		cmocka_unit_test(what_can_not_be_read_is_said),
		cmocka_unit_test(many_ranges_that_can_not_be_read_are_said),
		cmocka_unit_test(without_memory_nothing_is_kept),
		cmocka_unit_test(long_entries_have_several_lines),
		cmocka_unit_test(failed_syncs_are_said_and_tried_again),
		cmocka_unit_test(a_cut_line_is_ended_by_one_byte),
		cmocka_unit_test(a_line_begins_where_the_last_one_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
