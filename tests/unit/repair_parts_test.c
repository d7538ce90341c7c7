/* storage/repair.c, part by part: how many rounds there are, what is done in which order, and which
 * error ends it. The file is included; the check and what is done are the test's. */
#include "storage/dict.h"
#include "storage/io_http.h"
#include "tests/unit/damaged_file.h"
#include "tests/unit/noted_calls.h"

/* What each round finds: of so many items all are of this fault. */
struct round {
	size_t count;
	struct pfs_fault fault;
};

static struct {
	const struct round *rounds;
	unsigned count, at; /* the last one comes again and again */
	bool clean;
	char calls[1024];
	int add_err, super_err, plan_err, sync_err, write_err, pages_err, dict_err, records_err;
	bool from_open; /* what calls give comes from the damaged directory */
} world;

#define note(what) calls_note(world.calls, sizeof(world.calls), "%s; ", what)
#define expect_calls(want) calls_expect(world.calls, want)

static int fake_add(struct pfs_quarantine *quarantine, const struct pfs_kept *k,
		    struct pfs_file *from)
{
	(void)quarantine;
	(void)from;
	the_kept.off[0] = k->off;
	the_kept.len[0] = k->len;
	note("keep");
	return world.add_err;
}

static int fake_quarantine_sync(struct pfs_quarantine *quarantine)
{
	(void)quarantine;
	note("keep for good");
	return world.sync_err;
}

static int fake_super(struct pfs_repair *r)
{
	r->super.clean_epoch = r->super.open_epoch - !world.clean;
	return world.super_err;
}

static int fake_find_super(struct pfs_repair *r)
{
	(void)r;
	return world.super_err;
}

static int fake_write_super(struct pfs_repair *r)
{
	note(r->super.doubt ? "write super with doubt" : "write super");
	return world.write_err;
}

static int fake_super_write(struct pfs_dir *dir, const struct pfs_super *super)
{
	(void)dir;
	note(super->doubt ? "last super with doubt" : "last super");
	return 0;
}

static int fake_check_all(struct pfs_check *check)
{
	const struct round *round = &world.rounds[pfs_min_u64(world.at, world.count - 1)];

	world.at++;
	for (size_t i = 0; i < round->count; i++) {
		struct pfs_finding finding = {.fatal = true, .offset = i};

		check->fault = round->fault;
		check->fault.off += i ? world.at : 0; /* the first one alone may stay */
		check->fn(check->arg, &finding);
	}
	return 0;
}

static void fake_check_end(struct pfs_check *check)
{
	(void)check;
}

static int fake_plan(struct pfs_repair *r)
{
	(void)r;
	note("plan");
	return world.plan_err;
}

static int fake_pages(struct pfs_repair *r)
{
	(void)r;
	note("pages");
	return world.pages_err;
}

static int fake_clear_records(struct pfs_repair *r, const struct pfs_repair_item *item)
{
	(void)r;
	(void)item;
	note("clear records");
	return world.records_err;
}

static int fake_rehearse(struct pfs_repair *r)
{
	(void)r;
	note("rehearse");
	return 0;
}

static int fake_open(struct pfs_store **out, struct pfs_dir *dir, const char *path,
		     const struct pfs_open_options *options, struct pfs_reason *reason)
{
	(void)dir;
	(void)path;
	(void)options;
	(void)reason;
	*out = NULL;
	note("open");
	return 0;
}

static int fake_close(struct pfs_store *store)
{
	(void)store;
	note("close");
	world.clean = true;
	return 0;
}

static int fake_dict_read(struct pfs_dir *dir, const uint8_t *uuid, uint32_t number,
			  struct pfs_dict_file *out)
{
	(void)dir;
	(void)uuid;
	(void)number;
	*out = (struct pfs_dict_file){0};
	return world.dict_err;
}

#define pfs_quarantine_add fake_add
#define pfs_quarantine_sync fake_quarantine_sync
#define pfs_repair_super fake_super
#define pfs_repair_find_super fake_find_super
#define pfs_repair_write_super fake_write_super
#define pfs_super_write fake_super_write
#define pfs_check_all fake_check_all
#define pfs_check_end fake_check_end
#define pfs_repair_plan_pages fake_plan
#define pfs_repair_pages fake_pages
#define pfs_repair_clear_records fake_clear_records
#define pfs_repair_rehearse fake_rehearse
#define pfs_store_open_in fake_open
#define pfs_store_close fake_close
#define pfs_dict_read fake_dict_read
#include "storage/repair.c"

static char said[1024];

static void keep_said(void *arg, const struct pfs_finding *finding)
{
	size_t len = strlen(said);

	(void)arg;
	snprintf(said + len, sizeof(said) - len, "%s%s at %llu: %s\n",
		 finding->fatal ? "LOST " : "", finding->where, (unsigned long long)finding->offset,
		 finding->text);
}

static const struct pfs_logger no_logger;
static struct pfs_reason the_reason;

static void begin(void)
{
	begin_repair();
	memset(&world, 0, sizeof(world));
	memset(&the_kept, 0, sizeof(the_kept));
	world.clean = true;
	said[0] = the_reason.text[0] = '\0';
	the_repair.fn = keep_said;
	the_repair.logger = &no_logger;
	the_repair.path = "store";
	the_repair.reason = &the_reason;
	the_repair.super.open_epoch = the_repair.super.clean_epoch = 7;
}

/* ---- telling ---- */

struct line {
	enum pfs_log_level level;
	char text[256];
};

static void keep_line(void *arg, enum pfs_log_level level, const char *text)
{
	struct line *line = arg;

	line->level = level;
	snprintf(line->text, sizeof(line->text), "%s", text);
}

/* Proves: who wants to hear nothing has it in the log, losses as errors. */
static void without_a_listener_it_is_logged(void **state)
{
	struct line line;
	const struct pfs_logger logger = {.fn = keep_line, .arg = &line};

	(void)state;
	begin();
	the_repair.fn = NULL;
	the_repair.logger = &logger;
	for (unsigned lost = 0; lost < 2; lost++) {
		pfs_repair_say(&the_repair, lost, "file", 12, NULL, "number %d", 3);
		assert_int_equal(line.level, lost ? PFS_LOG_ERROR : PFS_LOG_INFO);
		assert_string_equal(line.text, "file at byte 12: number 3");
	}
}

/* ---- files ---- */

/* Proves: a file is there when it can be opened for reading, or can't be for another reason than
 * that it is not there; want of memory or handles tells nothing. */
static void files_are_there_or_not(void **state)
{
	static const int errors[] = {0, -EIO, -EACCES, -EISDIR, -ENOENT, -ENOMEM, -EMFILE, -ENFILE};
	char name[64];

	(void)state;
	for (size_t i = 0; i < pfs_array_len(errors); i++) {
		int expected = i < 4 ? 1 : i == 4 ? 0 : errors[i];

		begin();
		the_dir.open_err = errors[i];
		assert_int_equal(pfs_repair_exists(&the_repair, "x"), expected);
		assert_false(the_file.open);
		assert_int_equal(the_dir.written, 0);
		if (expected <= 0)
			assert_int_equal(pfs_repair_aside_name(&the_repair, "x", name), expected);
	}
}

/* Proves: names of what is set aside are numbered from 2 to 1000. */
static void names_aside_are_numbered(void **state)
{
	static const struct {
		const char *missing, *name;
	} cases[] = {
		{"quarantine", "quarantine-x"},	      {"quarantine-x-2", "quarantine-x-2"},
		{"quarantine-x-9", "quarantine-x-9"}, {"quarantine-x-1000", "quarantine-x-1000"},
		{"quarantine-x-1001", NULL},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		char name[64];

		begin();
		the_dir.missing = cases[i].missing;
		assert_int_equal(pfs_repair_aside_name(&the_repair, "x", name),
				 cases[i].name ? 0 : -EEXIST);
		if (cases[i].name)
			assert_string_equal(name, cases[i].name);
	}
}

/* Proves: what is kept is counted, where it could be; of records, those that are damaged are kept,
 * from a file that is only read. */
static void what_is_kept_is_counted(void **state)
{
	(void)state;
	begin();
	the_items[0].fault = (struct pfs_fault){PFS_FAULT_RECORDS, 4, 0, 4096, 77};
	assert_int_equal(keep_records(&the_repair, &the_items[0]), 0);
	assert_int_equal(the_result.kept, 1);
	assert_int_equal(the_kept.off[0], 4096);
	assert_int_equal(the_kept.len[0], 77);
	assert_int_equal(the_dir.written, 0);
	assert_false(the_file.open);
	world.add_err = -ENOSPC;
	assert_int_equal(keep_records(&the_repair, &the_items[0]), -ENOSPC);
	assert_int_equal(the_result.kept, 1);
	assert_false(the_file.open);
	the_dir.open_err = -EMFILE;
	assert_int_equal(keep_records(&the_repair, &the_items[0]), -EMFILE);
}

/* Proves: a segment or dictionary is set aside durably, and told, unless it is gone, or the
 * dictionary can be read at the next try; errors of that end it. */
static void files_are_set_aside(void **state)
{
	static const struct {
		enum pfs_fault_kind kind;
		int open_err, dict_err, rename_err, sync_err, then;
		bool aside;
	} cases[] = {
		{PFS_FAULT_SEGMENT, 0, 0, 0, 0, 0, true},
		{PFS_FAULT_TWICE, 0, 0, 0, 0, 0, true},
		{PFS_FAULT_SEGMENT, -ENOENT, 0, 0, 0, 0, false},
		{PFS_FAULT_SEGMENT, -EMFILE, 0, 0, 0, -EMFILE, false},
		{PFS_FAULT_SEGMENT, 0, 0, -EROFS, 0, -EROFS, false},
		{PFS_FAULT_SEGMENT, 0, 0, 0, -EIO, -EIO, false},
		{PFS_FAULT_DICT, 0, -EUCLEAN, 0, 0, 0, true},
		{PFS_FAULT_DICT, 0, -EIO, 0, 0, 0, true},
		{PFS_FAULT_DICT, 0, 0, 0, 0, 0, false},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		bool dict = cases[i].kind == PFS_FAULT_DICT;

		begin();
		the_dir.open_err = cases[i].open_err;
		the_dir.missing = "quarantine";
		the_dir.rename_err = cases[i].rename_err;
		the_dir.sync_err = cases[i].sync_err;
		world.dict_err = cases[i].dict_err;
		the_repair.count = 1;
		the_items[0].fault = (struct pfs_fault){.kind = cases[i].kind, .number = 3};
		the_items[0].finding.fatal = true;
		assert_int_equal(do_others(&the_repair), cases[i].then);
		assert_int_equal(the_result.files, cases[i].aside);
		if (!cases[i].aside) {
			assert_string_equal(said, "");
			continue;
		}
		assert_non_null(strstr(said, dict ? "LOST dict-00000003 at 0: ; the file is set "
						    "aside as quarantine-dict-00000003\n"
						  : "LOST journal-"));
		assert_non_null(strstr(the_dir.calls, "; sync; "));
	}
	begin();
	the_repair.count = 2;
	the_items[0].fault.kind = the_items[1].fault.kind = PFS_FAULT_RECORDS;
	world.records_err = -EIO;
	assert_int_equal(do_others(&the_repair), -EIO);
	expect_calls("clear records; ");
	the_repair.count = 1;
	world.records_err = 0;
	assert_int_equal(do_others(&the_repair), 0);
	expect_calls("clear records; ");
}

/* ---- deciding ---- */

/* Proves: of the items of a round, and of no others, each is decided about and counts. */
static void items_are_those_of_the_round(void **state)
{
	(void)state;
	for (size_t count = 0; count < 3; count++) {
		begin();
		for (size_t i = 0; i < 3; i++) {
			the_items[i].fault.kind = PFS_FAULT_SEGMENT;
			the_items[i].deed = PFS_DEED_NONE;
		}
		the_repair.count = count;
		assert_int_equal(takes_out(&the_repair), count > 0);
		the_items[count].fault.kind = PFS_FAULT_DICT;
		assert_false(has_dict_items(&the_repair) || has_page_items(&the_repair));
		the_items[count].fault.kind = PFS_FAULT_VALUE;
		assert_false(has_slot_items(&the_repair) || has_page_items(&the_repair));
		the_items[count].fault.kind = PFS_FAULT_SEGMENT;
		decide(&the_repair);
		for (size_t i = 0; i < 3; i++)
			assert_int_equal(the_items[i].deed,
					 i < count ? PFS_DEED_ASIDE : PFS_DEED_NONE);
	}
}

/* Proves: of a round not more items are taken than there is room for; then there may be faults of
 * slots among those that were not. */
static void items_have_room(void **state)
{
	const struct pfs_finding finding = {.fatal = true};

	(void)state;
	begin();
	the_repair.items = malloc(PFS_REPAIR_ITEMS_MAX * sizeof(*the_repair.items));
	for (size_t i = 0; i < PFS_REPAIR_ITEMS_MAX + 2; i++) {
		assert_int_equal(has_slot_items(&the_repair), i >= PFS_REPAIR_ITEMS_MAX);
		on_finding(&the_repair, &finding);
		assert_int_equal(the_repair.count, pfs_min_u64(i + 1, PFS_REPAIR_ITEMS_MAX));
	}
	free(the_repair.items);
}

/* Proves: of several epochs of the journal the newest holds, and is told, if the superblock is
 * older. */
static void the_newest_epoch_holds(void **state)
{
	static const struct {
		uint64_t epochs[3];
		uint64_t then;
		unsigned raised;
	} cases[] = {
		{{7, 6, 9}, 7, 0},
		{{8, 6, 9}, 8, 1},
		{{8, 9, 10}, 9, 2},
		{{9, 8, 10}, 9, 1},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		unsigned told = 0;

		begin();
		the_repair.count = 2;
		for (size_t k = 0; k < 3; k++) {
			the_items[k].fault.kind = PFS_FAULT_EPOCH;
			the_items[k].fault.off = cases[i].epochs[k];
		}
		assert_int_equal(raise_epoch(&the_repair), cases[i].raised > 0);
		assert_int_equal(the_repair.super.open_epoch, cases[i].then);
		for (const char *at = said; (at = strstr(at, "older than the journal")); at++)
			told++;
		assert_int_equal(told, cases[i].raised);
	}
}

#define TO_KEPT "plan; keep for good; "
#define DONE "pages; write super; "

/* Proves (R1, R2): what is kept aside is durable before anything is done, and so is, before a
 * document is taken out, that there is doubt; the first error ends it. */
static void deeds_come_in_order(void **state)
{
	(void)state;
	begin();
	the_repair.count = 1;
	the_items[0].fault.kind = PFS_FAULT_SMALL;
	assert_int_equal(act(&the_repair), 0);
	expect_calls(TO_KEPT DONE);
	assert_string_equal(the_dir.calls, "unlink index; sync; ");
	the_items[0].fault.kind = PFS_FAULT_GONE;
	assert_int_equal(act(&the_repair), 0);
	expect_calls(TO_KEPT "write super with doubt; pages; write super with doubt; ");
	assert_int_equal(act(&the_repair), 0);
	expect_calls(TO_KEPT "pages; write super with doubt; ");
	for (unsigned i = 0; i < 6; i++) {
		begin();
		the_repair.count = 1;
		the_items[0].fault.kind = PFS_FAULT_RECORDS;
		/* Behind it there is nothing. */
		the_items[1].fault.kind = PFS_FAULT_RECORDS;
		world.add_err = i == 0 ? -ENOSPC : 0;
		world.plan_err = i == 1 ? -EIO : 0;
		world.sync_err = i == 2 ? -EIO : 0;
		world.write_err = i == 3 ? -EIO : 0;
		the_dir.unlink_err = i == 4 ? -EROFS : 0;
		world.pages_err = i == 5 ? -EIO : 0;
		assert_int_equal(act(&the_repair), i == 0 ? -ENOSPC : i == 4 ? -EROFS : -EIO);
		expect_calls(
			i == 0	 ? "keep; "
			: i == 1 ? "keep; plan; "
			: i == 2 ? "keep; plan; keep for good; "
			: i < 5	 ? "keep; plan; keep for good; write super with doubt; "
				 : "keep; plan; keep for good; write super with doubt; pages; ");
		assert_int_equal(the_repair.super.doubt, i > 2);
	}
}

/* ---- rounds ---- */

static int go_through(const struct round *rounds, unsigned count)
{
	static struct pfs_repair_item many[16];

	begin();
	the_repair.items = many;
	world.rounds = rounds;
	world.count = count;
	return go(&the_repair);
}

static const struct pfs_fault small = {PFS_FAULT_SMALL, 1, 2, 3, 4};

/* Proves: it ends when a check finds nothing; when four rounds find as many things with the same
 * first it is given up, naming that. As long as there is less, or something else, it goes on. */
static void rounds_end(void **state)
{
	const struct round same[] = {{2, small}};
	const struct round less[] = {{6, small}, {5, small}, {4, small}, {3, small},
				     {2, small}, {1, small}, {0, {0}}};
	struct round others[11];

	(void)state;
	assert_int_equal(go_through(less, pfs_array_len(less)), 0);
	assert_int_equal(world.at, 7);
	assert_int_equal(the_result.faults, 21);
	assert_int_equal(go_through(same, 1), -EUCLEAN);
	assert_int_equal(world.at, 4);
	assert_non_null(strstr(the_reason.text, "store: can't be repaired"));
	/* Each differs from the one before in one thing. */
	others[0] = same[0];
	for (unsigned i = 1; i < pfs_array_len(others); i++) {
		others[i] = others[i - 1];
		others[i].fault.kind =
			i % 5 == 0 ? PFS_FAULT_OVERLAP + PFS_FAULT_SMALL - others[i].fault.kind
				   : others[i].fault.kind;
		others[i].fault.number += i % 5 == 1;
		others[i].fault.slot += i % 5 == 2;
		others[i].fault.off += i % 5 == 3;
		others[i].fault.len += i % 5 == 4;
	}
	others[10].count = 0;
	assert_int_equal(go_through(others, 11), 0);
	assert_int_equal(world.at, 11);
	/* The same thrice, another, and the same thrice again. */
	for (unsigned i = 0; i < 10; i++)
		others[i] = (struct round){2, {PFS_FAULT_SMALL, i / 3, 0, 0, 0}};
	assert_int_equal(go_through(others, 11), 0);
	assert_int_equal(world.at, 11);
}

/* Proves: faults are the same when all is. */
static void faults_are_compared_whole(void **state)
{
	(void)state;
	assert_true(is_same(&small, &small));
	for (unsigned i = 0; i < 5; i++) {
		struct pfs_fault other = small;

		other.kind += i == 0;
		other.number += i == 1;
		other.slot += i == 2;
		other.off += i == 3;
		other.len += i == 4;
		assert_false(is_same(&small, &other));
	}
}

/* Proves: a superblock that is older than the journal is a fault, which the next round goes on
 * from. */
static void an_old_superblock_is_a_fault(void **state)
{
	const struct round rounds[] = {{1, {.kind = PFS_FAULT_EPOCH, .off = 9}}, {0, {0}}};

	(void)state;
	assert_int_equal(go_through(rounds, 2), 0);
	assert_int_equal(the_result.faults, 1);
	assert_int_equal(the_repair.super.open_epoch, 9);
	assert_int_equal(world.at, 2);
}

/* Proves: a store that can't be locked is not looked at, and the reason says why. */
static void a_lock_that_fails_is_told(void **state)
{
	(void)state;
	begin();
	the_repair.items = NULL;
	the_dir.lock_err = -EACCES;
	assert_int_equal(repair_dir(&the_repair), -EACCES);
	assert_string_equal(the_reason.text, "store: can't be locked: Permission denied");
	the_dir.lock_err = -EWOULDBLOCK;
	assert_int_equal(repair_dir(&the_repair), -EBUSY);
	world.super_err = -ENOENT;
	the_dir.calls[0] = '\0';
	assert_int_equal(repair_dir(&the_repair), -ENOENT);
	assert_string_equal(the_dir.calls, "");
	assert_null(the_repair.items);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_listener_it_is_logged),
		cmocka_unit_test(files_are_there_or_not),
		cmocka_unit_test(names_aside_are_numbered),
		cmocka_unit_test(what_is_kept_is_counted),
		cmocka_unit_test(files_are_set_aside),
		cmocka_unit_test(items_are_those_of_the_round),
		cmocka_unit_test(items_have_room),
		cmocka_unit_test(the_newest_epoch_holds),
		cmocka_unit_test(deeds_come_in_order),
		cmocka_unit_test(rounds_end),
		cmocka_unit_test(faults_are_compared_whole),
		cmocka_unit_test(an_old_superblock_is_a_fault),
		cmocka_unit_test(a_lock_that_fails_is_told),
	};

	return cmocka_run_group_tests_name("repair, part by part", tests, NULL, NULL);
}
