/* What exactly is said of damage, by the check and by an opening: of which file, at which byte. */
#include <stdarg.h>

#include "storage/check.h"
#include "tests/unit/store_helpers.h"

/* ---- the journal ---- */

#define SEGMENTS 4
#define DOCUMENT_LEN 900000 /* two in a segment */

struct journal {
	struct pfs_sim *sim; /* killed */
	char names[SEGMENTS][32];
	uint64_t end[SEGMENTS]; /* where its last record is */
};

static uint64_t last_record(const uint8_t *bytes)
{
	uint64_t off = PFS_SEGMENT_DATA, last = 0;

	while (off + PFS_RECORD_LEN_MIN <= PFS_SEGMENT_SIZE && pfs_get_le32(bytes + off)) {
		last = off;
		off += pfs_get_le32(bytes + off);
	}
	return last;
}

/* The live segments in their order. */
static void find_segments(struct journal *j)
{
	uint8_t *bytes = malloc(PFS_SEGMENT_SIZE);
	unsigned found = 0;

	for (unsigned file = 0; file < 3 * SEGMENTS; file++) {
		const struct pfs_segment_disk *head = (const struct pfs_segment_disk *)bytes;
		const struct pfs_io *io = pfs_sim_io(j->sim);
		struct pfs_file *f;
		struct pfs_dir *dir;
		unsigned i;
		char name[32];

		snprintf(name, sizeof(name), PFS_SEGMENT_NAME_FMT, file);
		assert_int_equal(io->ops->open_dir(io, STORE, 0, &dir), 0);
		if (dir->ops->open(dir, name, 0, &f) == 0) {
			assert_int_equal(f->ops->read(f, bytes, PFS_SEGMENT_SIZE, 0),
					 PFS_SEGMENT_SIZE);
			f->ops->close(f);
			i = (unsigned)pfs_get_le64(head->number.b) - 1;
			if (i < SEGMENTS && last_record(bytes)) {
				memcpy(j->names[i], name, sizeof(name));
				j->end[i] = last_record(bytes);
				found++;
			}
		}
		dir->ops->close_dir(dir);
	}
	assert_int_equal(found, SEGMENTS);
	free(bytes);
}

static struct journal make_journal(void)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;
	struct journal j;

	create_store(sim, 256 * PFS_KIB, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < 2 * SEGMENTS; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, DOCUMENT_LEN, 2 * i + 1);
		assert_int_equal(pfs_sync(store), 0);
	}
	j.sim = pfs_sim_kill(sim);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
	find_segments(&j);
	return j;
}

/* One finding, fatal and without a key. */
static void expect_said(const struct found *found, size_t i, const char *where, uint64_t off,
			const char *fmt, ...) PFS_PRINTF(5, 6);

static void expect_said(const struct found *found, size_t i, const char *where, uint64_t off,
			const char *fmt, ...)
{
	char text[sizeof(found->at[0].text)];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (i >= found->count || strcmp(found->at[i].text, text) != 0)
		print_found(found);
	assert_true(i < found->count);
	assert_string_equal(found->at[i].where, where);
	assert_int_equal(found->at[i].offset, off);
	assert_string_equal(found->at[i].text, text);
	assert_true(found->at[i].fatal);
	assert_int_equal(found->at[i].key.kind, PFS_KEY_NONE);
}

#define CLOSED_BY_IT \
	"; whose they were can't be told, so that the store can't be opened before a repair"

/* Proves: what is damaged at the end of a segment, or a whole one that is missing, is told by what
 * later segments say, and the check goes on behind it: damage there is found, too. */
static void the_check_goes_on_behind_damage(void **state)
{
	struct journal j = make_journal();
	struct found *found;

	(void)state;
	expect_healthy(j.sim);
	flip_bit(j.sim, j.names[0], j.end[0] + 12, 3);
	found = check_store(j.sim);
	assert_int_equal(found->count, 1);
	expect_said(found, 0, j.names[0], j.end[0],
		    "%llu bytes of durable records are damaged" CLOSED_BY_IT,
		    (unsigned long long)(PFS_SEGMENT_SIZE - j.end[0]));
	free(found);

	flip_bit(j.sim, j.names[2], j.end[2] + 12, 3);
	found = check_store(j.sim);
	assert_int_equal(found->count, 2);
	expect_said(found, 1, j.names[2], j.end[2],
		    "%llu bytes of durable records are damaged" CLOSED_BY_IT,
		    (unsigned long long)(PFS_SEGMENT_SIZE - j.end[2]));
	free(found);

	remove_file(j.sim, j.names[1]);
	found = check_store(j.sim);
	assert_int_equal(found->count, 2);
	expect_said(found, 0, j.names[0], j.end[0], "segments 2 to 2, which follow, are missing");
	expect_said(found, 1, j.names[2], j.end[2],
		    "%llu bytes of durable records are damaged" CLOSED_BY_IT,
		    (unsigned long long)(PFS_SEGMENT_SIZE - j.end[2]));
	free(found);

	remove_file(j.sim, j.names[2]);
	found = check_store(j.sim);
	assert_int_equal(found->count, 1);
	expect_said(found, 0, j.names[0], j.end[0], "segments 2 to 3, which follow, are missing");
	free(found);
	pfs_sim_free(j.sim);
}

/* Proves: a segment that ends early although later ones show that it did not is damaged, and
 * nothing else is said of it; the newest, of which nobody knows where it ended, is missing
 * something. */
static void ends_of_segments_are_told(void **state)
{
	struct journal j = make_journal();
	const unsigned newest = SEGMENTS - 1;

	(void)state;
	for (unsigned i = 0; i < SEGMENTS; i += newest) {
		struct pfs_sim *copy = pfs_sim_kill(j.sim);
		struct found *found;
		struct pfs_file *file;
		struct pfs_dir *dir;

		file = store_file(copy, j.names[i], &dir);
		assert_int_equal(file->ops->truncate(file, j.end[i]), 0);
		store_file_done(dir, file);
		found = check_store(copy);
		assert_int_equal(found->count, 1);
		if (i == newest)
			expect_said(found, 0, j.names[i], j.end[i],
				    "the file ends early: whose records are missing can't be told, "
				    "so that the store can't be opened before a repair");
		else
			expect_said(found, 0, j.names[i], j.end[i],
				    "%llu bytes of durable records are damaged" CLOSED_BY_IT,
				    (unsigned long long)(PFS_SEGMENT_SIZE - j.end[i]));
		free(found);
		pfs_sim_free(copy);
	}
	pfs_sim_free(j.sim);
}

/* Proves: of the oldest and of the newest segment it is told that they are missing, and of one that
 * is there twice that it is. */
static void segments_are_counted(void **state)
{
	struct journal j = make_journal();
	uint8_t *bytes = malloc(PFS_SEGMENT_SIZE);
	struct pfs_sim *copy = pfs_sim_kill(j.sim);
	struct found *found;

	(void)state;
	remove_file(copy, j.names[0]);
	found = check_store(copy);
	assert_int_equal(found->count, 1);
	expect_said(found, 0, j.names[1], 0,
		    "the journal begins with segment 1, but this is 2: what was between is lost");
	free(found);
	pfs_sim_free(copy);

	copy = pfs_sim_kill(j.sim);
	remove_file(copy, j.names[SEGMENTS - 1]);
	found = check_store(copy);
	assert_int_equal(found->count, 1);
	expect_said(found, 0, "journal", 0,
		    "its newest segment is missing: whose records it had can't be told, so that "
		    "the store can't be opened before a repair");
	free(found);
	pfs_sim_free(copy);

	make_file(j.sim, "journal-00ff");
	read_at(j.sim, j.names[1], 0, bytes, PFS_SEGMENT_SIZE);
	write_at(j.sim, "journal-00ff", 0, bytes, PFS_SEGMENT_SIZE);
	found = check_store(j.sim);
	assert_true(found->count >= 1);
	expect_said(found, 0,
		    strcmp(found->at[0].where, j.names[1]) == 0 ? j.names[1] : "journal-00ff", 16,
		    "it has the number of another segment, 2");
	free(found);
	free(bytes);
	pfs_sim_free(j.sim);
}

/* ---- files ---- */

/* Proves: a file by the name of what a repair sets aside, or of what is being made, belongs to a
 * store; others are told, each by its name. */
static void files_of_others_are_named(void **state)
{
	static const char *const known[] = {"quarantine", "quarantine-page-00000007", "x.tmp"};
	static const char *const unknown[] = {"quarantines", "quarantin",     ".tmp",	      "tmp",
					      "x.tmp2",	     "journal-00001", "page-0000000A"};
	struct pfs_sim *sim = pfs_sim_new();
	struct found *found;

	(void)state;
	create_store(sim, 64 * PFS_KIB, 16);
	assert_int_equal(pfs_store_close(open_store(sim)), 0);
	for (size_t i = 0; i < pfs_array_len(known); i++)
		make_file(sim, known[i]);
	expect_healthy(sim);
	for (size_t i = 0; i < pfs_array_len(unknown); i++) {
		make_file(sim, unknown[i]);
		found = check_store(sim);
		assert_int_equal(found->count, 1);
		assert_false(found->at[0].fatal);
		assert_string_equal(found->at[0].where, unknown[i]);
		assert_string_equal(found->at[0].text, "this file is no part of a store");
		free(found);
		remove_file(sim, unknown[i]);
	}
	pfs_sim_free(sim);
}

/* ---- keys that are there twice ---- */

#define COPIES 65537u /* one more than are compared */

struct counts {
	unsigned duplicates, too_many, overlaps, others;
	char duplicate[sizeof(((struct pfs_finding *)NULL)->text)];
};

static void count_finding(void *arg, const struct pfs_finding *finding)
{
	struct counts *c = arg;

	if (strstr(finding->text, "it is there ")) {
		snprintf(c->duplicate, sizeof(c->duplicate), "%s", finding->text);
		c->duplicates++;
	} else if (strstr(finding->text, "its container overlaps")) {
		c->overlaps++;
	} else if (strncmp(finding->text, "more than 65536 versions ", 25) == 0) {
		assert_true(finding->fatal);
		assert_string_equal(finding->where, "pages");
		assert_int_equal(finding->offset, 0);
		c->too_many++;
	} else {
		c->others++;
	}
}

/* Makes `copies` slots of the first one of page 1, all of the same container. */
static void copy_slot(struct pfs_sim *sim, uint32_t copies)
{
	struct pfs_slot_disk *slots = malloc(copies * sizeof(*slots));
	struct pfs_page_header header;
	struct pfs_page_disk disk;
	const char *why;

	read_at(sim, page_name(1), 0, &disk, sizeof(disk));
	assert_int_equal(pfs_page_header_decode(&header, &disk, disk.uuid, &why), 0);
	assert_int_equal(header.slot_count, 1);
	header.slot_count = copies;
	pfs_page_header_encode(&disk, &header);
	write_at(sim, page_name(1), 0, &disk, sizeof(disk));
	read_at(sim, page_name(1), pfs_slot_offset(0), &slots[0], sizeof(slots[0]));
	for (uint32_t i = 1; i < copies; i++)
		slots[i] = slots[0];
	write_at(sim, page_name(1), pfs_slot_offset(0), slots, copies * sizeof(*slots));
	free(slots);
}

/* Proves: of a key that is there more often than versions are compared, as many as are compared are
 * told, and that there are more. */
static void versions_are_compared_up_to_a_bound(void **state)
{
	struct pfs_key key = pfs_key_num(1);

	(void)state;
	for (uint32_t copies = COPIES - 1; copies <= COPIES; copies++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_check_result result;
		struct counts c = {.others = 0};
		struct pfs_store *store;

		create_store(sim, 2 * PFS_MIB, 16);
		store = open_store(sim);
		put_document(store, &key, 10, 1);
		assert_int_equal(pfs_store_close(store), 0);
		remove_file(sim, PFS_INDEX_NAME);
		copy_slot(sim, copies);
		assert_int_equal(pfs_check(STORE, pfs_sim_io(sim), &quiet, count_finding, NULL, &c,
					   &result, NULL),
				 0);
		assert_int_equal(c.duplicates, 1);
		assert_string_equal(c.duplicate,
				    "it is there 65536 times: slot 0 here, and newest (sequence 1) "
				    "in page 1, slot 65535");
		assert_int_equal(c.too_many, copies == COPIES);
		assert_int_equal(c.overlaps, copies - 1);
		assert_int_equal(result.damaged, 1);
		assert_int_equal(result.documents, 1);
		pfs_sim_free(sim);
	}
}

/* ---- who is told ---- */

struct lines {
	char at[8][PFS_LOG_LINE_MAX];
	enum pfs_log_level levels[8];
	size_t count;
};

static void keep_all(void *arg, enum pfs_log_level level, const char *line)
{
	struct lines *lines = arg;

	assert_true(lines->count < pfs_array_len(lines->at));
	lines->levels[lines->count] = level;
	snprintf(lines->at[lines->count++], PFS_LOG_LINE_MAX, "%s", line);
}

/* Proves: where nobody takes the findings they are logged, faults as errors, remarks not. */
static void findings_that_nobody_takes_are_logged(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct lines lines = {.count = 0};
	struct pfs_logger logger = {.fn = keep_all, .arg = &lines};
	struct pfs_check_result result;

	(void)state;
	create_store(sim, 2 * PFS_MIB, 16);
	assert_int_equal(pfs_store_close(open_store(sim)), 0);
	make_file(sim, "stranger");
	flip_bit(sim, PFS_SUPER_NAME, PFS_SUPER_STRIDE + 20, 0);
	assert_int_equal(
		pfs_check(STORE, pfs_sim_io(sim), &logger, NULL, NULL, NULL, &result, NULL), 0);
	assert_int_equal(result.findings, 2);
	assert_int_equal(lines.count, 2);
	for (size_t i = 0; i < lines.count; i++) {
		bool fault = strncmp(lines.at[i], PFS_SUPER_NAME, strlen(PFS_SUPER_NAME)) == 0;
		char wanted[PFS_LOG_LINE_MAX];

		snprintf(wanted, sizeof(wanted),
			 PFS_SUPER_NAME " at byte %u: this copy of the superblock is damaged; "
					"the other one is used",
			 (unsigned)PFS_SUPER_STRIDE);
		assert_string_equal(lines.at[i],
				    fault ? wanted
					  : "stranger at byte 0: this file is no part of a store");
		assert_int_equal(lines.levels[i], fault ? PFS_LOG_ERROR : PFS_LOG_INFO);
	}
	assert_string_not_equal(lines.at[0], lines.at[1]);
	pfs_sim_free(sim);
}

/* ---- openings ---- */

static void keep_line(void *arg, enum pfs_log_level level, const char *line)
{
	struct lines *lines = arg;

	if (level <= PFS_LOG_WARNING && lines->count < pfs_array_len(lines->at))
		keep_all(arg, level, line);
}

/* Proves: an opening without an index names the slots that are damaged, themselves or by what they
 * point to, with their places, and each page that takes nothing more, once. */
static void openings_name_damaged_slots(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct lines lines = {.count = 0};
	struct pfs_open_options options = {.manual = true,
					   .logger = {.fn = keep_line, .arg = &lines}};
	uint8_t junk[PFS_SLOT_LEN];
	char expected[3][128];
	struct pfs_place places[2];
	struct pfs_store *store;

	(void)state;
	create_store(sim, 64 * PFS_KIB, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < 9; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 300, i);
	}
	assert_int_equal(pfs_store_close(store), 0);
	places[0] = place_of(sim, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = 3});
	places[1] = place_of(sim, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = 7});
	assert_true(places[0].slot < places[1].slot);
	memset(junk, 0xff, sizeof(junk));
	write_at(sim, page_name(1), places[0].offset + 10, junk, sizeof(junk));
	write_at(sim, page_name(1), pfs_slot_offset(places[1].slot), junk, sizeof(junk));
	remove_file(sim, PFS_INDEX_NAME);
	for (unsigned i = 0; i < 2; i++)
		snprintf(expected[i], sizeof(expected[i]),
			 "damage in page-00000001 at byte %llu: slot %u or what it points to is "
			 "damaged",
			 (unsigned long long)pfs_slot_offset(places[i].slot), places[i].slot);
	options.io = pfs_sim_io(sim);
	assert_int_equal(pfs_store_open(&store, STORE, &options, NULL), 0);
	assert_int_equal(lines.count, 5);
	/* When it is found that the page can't be used as it is; then whose documents these are. */
	snprintf(expected[2], sizeof(expected[2]),
		 "damage in page-00000001 at byte %llu: slot %u is damaged",
		 (unsigned long long)pfs_slot_offset(places[1].slot), places[1].slot);
	assert_string_equal(lines.at[0], expected[2]);
	assert_string_equal(lines.at[1], "page-00000001 is damaged: nothing is put there until "
					 "`payloadctl check --repair`");
	assert_string_equal(lines.at[2], expected[0]);
	assert_string_equal(lines.at[3], expected[1]);
	assert_non_null(strstr(lines.at[4], "damage hides the ids of some documents"));
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_check_goes_on_behind_damage),
		cmocka_unit_test(ends_of_segments_are_told),
		cmocka_unit_test(segments_are_counted),
		cmocka_unit_test(files_of_others_are_named),
		cmocka_unit_test(versions_are_compared_up_to_a_bound),
		cmocka_unit_test(findings_that_nobody_takes_are_logged),
		cmocka_unit_test(openings_name_damaged_slots),
	};

	return cmocka_run_group_tests_name("check_said", tests, NULL, NULL);
}
