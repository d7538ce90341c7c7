/* storage/super.c: the superblock and its two copies. */
#include "storage/crc.h"
#include "storage/super.h"
#include "tests/unit/sim_helpers.h"

static const struct pfs_super a_super = {
	.version = PFS_FORMAT_VERSION,
	.compat = 0x8000000000000001,
	.ro_compat = 0x4000000000000002,
	.uuid = "0123456789abcde",
	.page_size = 64 * PFS_KIB,
	.min_value_size = 16,
	.has_defaults = true,
	.mode = 0640,
	.uid = 1000,
	.gid = UINT32_MAX,
	.open_epoch = 5,
	.clean_epoch = 4,
	.created_ns = -7,
	.sequence = PFS_SEQ_MAX,
	.pages = {7, 3, 0x1122334455667788},
	.doubt = true,
	.journal_epoch = 3,
	.dict_highest = UINT32_MAX,
};

static void no_log(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

static const struct pfs_logger quiet = {.fn = no_log};

static void expect_equal(const struct pfs_super *a, const struct pfs_super *b)
{
	assert_int_equal(a->version, b->version);
	assert_true(a->incompat == b->incompat && a->ro_compat == b->ro_compat &&
		    a->compat == b->compat);
	assert_memory_equal(a->uuid, b->uuid, PFS_UUID_LEN);
	assert_int_equal(a->generation, b->generation);
	assert_true(a->page_size == b->page_size && a->min_value_size == b->min_value_size);
	assert_true(a->has_defaults == b->has_defaults && a->mode == b->mode && a->uid == b->uid &&
		    a->gid == b->gid);
	assert_true(a->open_epoch == b->open_epoch && a->clean_epoch == b->clean_epoch);
	assert_true(a->created_ns == b->created_ns && a->sequence == b->sequence);
	assert_true(a->pages.highest == b->pages.highest && a->pages.count == b->pages.count &&
		    a->pages.mix == b->pages.mix);
	assert_true(a->doubt == b->doubt && a->journal_epoch == b->journal_epoch &&
		    a->dict_highest == b->dict_highest);
}

static struct pfs_dir *created(struct pfs_sim *sim, struct pfs_super *super)
{
	struct pfs_dir *dir = open_dir(sim);

	assert_int_equal(pfs_super_create(dir, super), 0);
	return dir;
}

static void change(struct pfs_dir *dir, unsigned copy, size_t off, const void *bytes, size_t len,
		   bool seal)
{
	struct pfs_file *file = open_file(dir, PFS_SUPER_NAME);
	struct pfs_super_disk disk;
	uint64_t at = copy * PFS_SUPER_STRIDE;

	assert_int_equal(file->ops->read(file, &disk, sizeof(disk), at), sizeof(disk));
	memcpy((uint8_t *)&disk + off, bytes, len);
	if (seal)
		pfs_put_le32(disk.crc.b, pfs_crc32c(0, (uint8_t *)&disk + 12, sizeof(disk) - 12));
	assert_int_equal(file->ops->write(file, &disk, sizeof(disk), at), 0);
	file->ops->close(file);
}

/* Proves: what is written is read, in every field, after creating and after each writing, whose
 * generation is one more. */
static void superblocks_round_trip(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_super super = a_super, out;
	struct pfs_dir *dir = created(sim, &super);

	(void)state;
	assert_int_equal(super.generation, 1);
	for (unsigned i = 1; i < 5; i++) {
		assert_int_equal(pfs_super_read(dir, &out, &quiet), 0);
		assert_int_equal(out.generation, i);
		expect_equal(&out, &super);
		super.open_epoch++;
		super.has_defaults = i % 2;
		super.doubt = i % 3;
		assert_int_equal(pfs_super_write(dir, &super), 0);
	}
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: a store is never made over another one, and what is missing is told from what is damaged.
 */
static void existing_superblocks_are_kept(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_super super = a_super, other = a_super, out;
	struct pfs_dir *dir = open_dir(sim);

	(void)state;
	assert_int_equal(pfs_super_read(dir, &out, &quiet), -ENOENT);
	assert_int_equal(pfs_super_write(dir, &super), -ENOENT);
	super = a_super;
	assert_int_equal(pfs_super_create(dir, &super), 0);
	other.uuid[0] = 'X';
	assert_int_equal(pfs_super_create(dir, &other), -EEXIST);
	assert_int_equal(pfs_super_read(dir, &out, &quiet), 0);
	expect_equal(&out, &super);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: no bit of either copy can change unnoticed, and the other copy serves; with both damaged
 * there is none. */
static void one_valid_copy_is_enough(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_super super = a_super, out;
	struct pfs_dir *dir = created(sim, &super);

	(void)state;
	for (unsigned copy = 0; copy < 2; copy++) {
		for (unsigned bit = 0; bit < 8 * sizeof(struct pfs_super_disk); bit++) {
			struct pfs_file *file = open_file(dir, PFS_SUPER_NAME);
			uint8_t byte, flipped;
			uint64_t at = copy * PFS_SUPER_STRIDE + bit / 8;

			file->ops->read(file, &byte, 1, at);
			flipped = byte ^ (uint8_t)(1u << (bit % 8));
			assert_int_equal(file->ops->write(file, &flipped, 1, at), 0);
			assert_int_equal(pfs_super_read(dir, &out, &quiet), 0);
			expect_equal(&out, &super);
			assert_int_equal(file->ops->write(file, &byte, 1, at), 0);
			file->ops->close(file);
		}
	}
	change(dir, 0, 50, "damage", 6, false);
	change(dir, 1, 200, "damage", 6, false);
	assert_int_equal(pfs_super_read(dir, &out, &quiet), -EUCLEAN);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: of two valid copies the newer one holds, whichever it is. */
static void the_newer_copy_holds(void **state)
{
	(void)state;
	for (unsigned copy = 0; copy < 2; copy++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_super super = a_super, out;
		struct pfs_dir *dir = created(sim, &super);
		uint8_t generation[8], epoch[8];

		pfs_put_le64(generation, 9);
		pfs_put_le64(epoch, 77);
		change(dir, copy, offsetof(struct pfs_super_disk, open_epoch), epoch, 8, true);
		change(dir, copy, offsetof(struct pfs_super_disk, generation), generation, 8, true);
		assert_int_equal(pfs_super_read(dir, &out, &quiet), 0);
		assert_int_equal(out.open_epoch, 77);
		dir->ops->close_dir(dir);
		pfs_sim_free(sim);
	}
}

/* Proves: newer versions and unknown incompatible features are refused with what they are; other
 * features are let through; sizes out of range are damage. */
static void unknown_formats_are_refused(void **state)
{
	static const struct {
		size_t off;
		uint64_t value;
		size_t len;
		int err;
	} cases[] = {
		{offsetof(struct pfs_super_disk, version), 2, 2, -EPROTONOSUPPORT},
		{offsetof(struct pfs_super_disk, version), 0, 2, -EPROTONOSUPPORT},
		{offsetof(struct pfs_super_disk, incompat), 1, 8, -EPROTONOSUPPORT},
		{offsetof(struct pfs_super_disk, incompat), UINT64_C(1) << 63, 8, -EPROTONOSUPPORT},
		{offsetof(struct pfs_super_disk, ro_compat), 1, 8, 0},
		{offsetof(struct pfs_super_disk, compat), UINT64_MAX, 8, 0},
		{offsetof(struct pfs_super_disk, page_size), 64 * PFS_KIB - 1, 8, -EUCLEAN},
		{offsetof(struct pfs_super_disk, page_size), 32 * PFS_KIB, 8, -EUCLEAN},
		{offsetof(struct pfs_super_disk, page_size), 96 * PFS_KIB, 8, -EUCLEAN},
		{offsetof(struct pfs_super_disk, page_size), PFS_GIB, 8, 0},
		{offsetof(struct pfs_super_disk, page_size), 2 * PFS_GIB, 8, -EUCLEAN},
		{offsetof(struct pfs_super_disk, min_value_size), 15, 4, -EUCLEAN},
		{offsetof(struct pfs_super_disk, min_value_size), 4096, 4, 0},
		{offsetof(struct pfs_super_disk, min_value_size), 4097, 4, -EUCLEAN},
		{offsetof(struct pfs_super_disk, sequence), PFS_SEQ_MAX + 1, 8, -EUCLEAN},
		{offsetof(struct pfs_super_disk, open_epoch), PFS_EPOCH_MAX, 8, 0},
		{offsetof(struct pfs_super_disk, open_epoch), PFS_EPOCH_MAX + 1, 8, -EUCLEAN},
		{offsetof(struct pfs_super_disk, clean_epoch), PFS_EPOCH_MAX, 8, -EUCLEAN},
		{offsetof(struct pfs_super_disk, page_highest), PFS_PAGE_NUMBER_MAX, 4, 0},
		{offsetof(struct pfs_super_disk, page_highest), PFS_PAGE_NUMBER_MAX + 1, 4,
		 -EUCLEAN},
		{offsetof(struct pfs_super_disk, page_count), 8, 4, -EUCLEAN},
		{offsetof(struct pfs_super_disk, journal_epoch), PFS_EPOCH_MAX, 8, -EUCLEAN},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_super super = a_super, out;
		struct pfs_dir *dir = created(sim, &super);
		uint8_t value[8];

		pfs_put_le64(value, cases[i].value);
		change(dir, 0, cases[i].off, value, cases[i].len, true);
		change(dir, 1, cases[i].off, value, cases[i].len, true);
		if (pfs_super_read(dir, &out, &quiet) != cases[i].err)
			fail_msg("case %zu", i);
		if (cases[i].err == -EPROTONOSUPPORT)
			assert_true(out.version == cases[i].value ||
				    out.incompat == cases[i].value);
		dir->ops->close_dir(dir);
		pfs_sim_free(sim);
	}
}

/* Proves: the one page by which two sets differ is told, if it can be one of the first. */
static void the_page_that_differs_is_told(void **state)
{
	struct pfs_page_set set = {.highest = 9}, other;

	(void)state;
	pfs_page_set_add(&set, 3);
	pfs_page_set_add(&set, 9);
	other = set;
	pfs_page_set_remove(&other, 3);
	assert_int_equal(pfs_page_set_difference(&set, &other), 3);
	pfs_page_set_add(&other, 3);
	pfs_page_set_add(&other, 10);
	assert_int_equal(pfs_page_set_difference(&set, &other), 0);
}

struct cutting {
	struct pfs_sim *sim;
	struct pfs_super before, after;
	unsigned images;
	bool create;
};

static int cut_here(void *arg, const struct pfs_sim_step *step)
{
	struct cutting *c = arg;
	uint64_t images = pfs_sim_images(c->sim);

	(void)step;
	for (uint64_t i = 0; i < pfs_min_u64(images, 64); i++) {
		struct pfs_sim *image =
			i % 2 ? pfs_sim_crash_seed(c->sim, i) : pfs_sim_crash_index(c->sim, i);
		struct pfs_dir *dir = open_dir(image);
		struct pfs_super out;
		int err = pfs_super_read(dir, &out, &quiet);

		if (c->create && err == -ENOENT)
			err = 0;
		else if (!err)
			expect_equal(&out, out.generation == c->before.generation ? &c->before
										  : &c->after);
		assert_int_equal(err, 0);
		dir->ops->close_dir(dir);
		pfs_sim_free(image);
		c->images++;
	}
	return 0;
}

/* Proves: a power cut at any point of writing leaves the old or the new superblock, and of creating
 * none or the whole one. When the writing has returned it is the new one. */
static void power_cuts_leave_old_or_new(void **state)
{
	struct cutting c = {.sim = pfs_sim_new(), .after = a_super, .create = true};
	struct pfs_dir *dir = open_dir(c.sim);
	struct pfs_super super = a_super;

	(void)state;
	c.after.generation = 1;
	pfs_sim_on_step(c.sim, cut_here, &c);
	assert_int_equal(pfs_super_create(dir, &super), 0);
	c.create = false;
	for (unsigned i = 0; i < 6; i++) {
		c.before = super;
		super.open_epoch += 3;
		c.after = super;
		c.after.generation++;
		assert_int_equal(pfs_super_write(dir, &super), 0);
		c.before = c.after;
		assert_int_equal(pfs_sim_pending(c.sim), 0);
		cut_here(&c, NULL);
	}
	assert_true(c.images > 50);
	pfs_sim_on_step(c.sim, NULL, NULL);
	dir->ops->close_dir(dir);
	pfs_sim_free(c.sim);
}

static int fail_sync(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	return step->kind == PFS_SIM_SYNC ? -EIO : 0;
}

/* Proves: a sync that fails makes the writing fail. */
static void failed_syncs_are_reported(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_super super = a_super;
	struct pfs_dir *dir = created(sim, &super);

	(void)state;
	pfs_sim_on_step(sim, fail_sync, NULL);
	assert_int_equal(pfs_super_write(dir, &super), -EIO);
	pfs_sim_on_step(sim, NULL, NULL);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Copies that were written and not yet synced; a disk without the power to finish a sector spoils
 * it. */
struct spoiling {
	struct pfs_sim *sim;
	bool pending[PFS_SUPER_COPIES];
	uint64_t open_epoch; /* before the writing */
	unsigned spoilt;
};

static int spoil_pending(void *arg, const struct pfs_sim_step *step)
{
	struct spoiling *s = arg;
	uint8_t garbage[PFS_SIM_SECTOR];
	struct pfs_super read;
	struct pfs_sim *image;
	struct pfs_file *file;
	struct pfs_dir *dir;

	if (step->kind == PFS_SIM_WRITE)
		s->pending[step->off / PFS_SUPER_STRIDE] = true;
	if (step->kind != PFS_SIM_SYNC)
		return 0;
	memset(garbage, 0xa5, sizeof(garbage));
	image = pfs_sim_kill(s->sim);
	dir = open_dir(image);
	file = open_file(dir, PFS_SUPER_NAME);
	for (unsigned i = 0; i < PFS_SUPER_COPIES; i++) {
		if (!s->pending[i])
			continue;
		assert_int_equal(file->ops->write(file, garbage, sizeof(garbage),
						  (uint64_t)i * PFS_SUPER_STRIDE),
				 0);
		s->spoilt++;
		s->pending[i] = false;
	}
	file->ops->close(file);
	assert_int_equal(pfs_super_read(dir, &read, &quiet), 0);
	assert_true(read.open_epoch == s->open_epoch || read.open_epoch == s->open_epoch + 1);
	dir->ops->close_dir(dir);
	pfs_sim_free(image);
	return 0;
}

/* Proves: one copy is written and synced after the other, so that a disk that spoils the sectors
 * which it was writing when the power went leaves one of them. */
static void spoilt_sectors_leave_a_copy(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_super super = a_super;
	struct pfs_dir *dir = created(sim, &super);
	struct spoiling s = {.sim = sim, .open_epoch = super.open_epoch};

	(void)state;
	super.open_epoch++;
	pfs_sim_on_step(sim, spoil_pending, &s);
	assert_int_equal(pfs_super_write(dir, &super), 0);
	pfs_sim_on_step(sim, NULL, NULL);
	assert_int_equal(s.spoilt, PFS_SUPER_COPIES);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* ---- what is said ---- */

static void expect_said(const struct pfs_super *super, int err, const char *expected)
{
	char text[200], cut[20];

	pfs_super_explain(super, err, "/s", text, sizeof(text));
	assert_string_equal(text, expected);
	pfs_super_explain(super, err, "/s", cut, sizeof(cut));
	assert_memory_equal(cut, expected, sizeof(cut) - 1);
	assert_int_equal(cut[sizeof(cut) - 1], '\0');
}

/* Proves: why a superblock can't be used is said with what to do. */
static void refusals_say_what_to_do(void **state)
{
	struct pfs_super super = a_super;

	(void)state;
	expect_said(&super, -ENOENT, "/s: not a payloadfs store (it has no superblock)");
	expect_said(&super, -EUCLEAN,
		    "/s: the superblock is damaged: run payloadctl check --repair on it");
	expect_said(&super, -EIO, "/s: reading the superblock failed: Input/output error");
	super.incompat = UINT64_C(0x8000000000000000) | PFS_FEATURES_INCOMPAT;
	expect_said(
		&super, -EPROTONOSUPPORT,
		"/s: the store needs features that this program lacks (0x8000000000000000); use "
		"a newer payloadfs");
	super.version = PFS_FORMAT_VERSION + 1;
	expect_said(&super, -EPROTONOSUPPORT,
		    "/s: the store has format version 2, this program knows 1; use a newer "
		    "payloadfs");
	expect_said(&super, -EUCLEAN,
		    "/s: the superblock is damaged: run payloadctl check --repair on it");
	expect_said(&super, -ENOENT, "/s: not a payloadfs store (it has no superblock)");
}

static int refused_dir;

static int refuse_dir(const struct pfs_io *io, const char *path, unsigned flags,
		      struct pfs_dir **dir)
{
	(void)io;
	(void)path;
	(void)flags;
	(void)dir;
	return refused_dir;
}

/* Proves: why a directory can't be opened is said, and is the error. */
static void directories_that_are_refused(void **state)
{
	const struct pfs_io_ops ops = {.open_dir = refuse_dir};
	const struct pfs_io io = {.ops = &ops};
	struct pfs_reason reason = {0};
	struct pfs_dir *dir;

	(void)state;
	assert_int_equal(pfs_super_open_dir(&io, "/s", 0, &dir, &reason), 0);
	assert_string_equal(reason.text, "");
	refused_dir = -ENOENT;
	assert_int_equal(pfs_super_open_dir(&io, "/s", 0, &dir, &reason), -ENOENT);
	assert_string_equal(reason.text, "/s: no such store");
	reason.text[0] = '\0';
	refused_dir = -ENOTDIR;
	assert_int_equal(pfs_super_open_dir(&io, "/s", 0, &dir, &reason), -ENOTDIR);
	assert_string_equal(reason.text, "/s: not a directory");
	reason.text[0] = '\0';
	refused_dir = -EACCES;
	assert_int_equal(pfs_super_open_dir(&io, "/s", 0, &dir, &reason), -EACCES);
	assert_string_equal(reason.text, "/s: Permission denied");
}

/* Fails the reads, the first or all. */
struct failing_reads {
	unsigned seen;
	bool all;
};

static int fail_read(void *arg, const struct pfs_sim_step *step)
{
	struct failing_reads *f = arg;

	return step->kind == PFS_SIM_READ && (f->seen++ == 0 || f->all) ? -EIO : 0;
}

/* Proves: one copy that can't be read is none; where neither can, that is no damage but the error
 * of reading, and what was there before in memory is gone. */
static void copies_that_can_not_be_read(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_super super = a_super, got = a_super;
	struct pfs_dir *dir = created(sim, &super);
	struct failing_reads f = {0};

	(void)state;
	assert_int_equal(pfs_super_write(dir, &super), 0);
	pfs_sim_on_look(sim, fail_read, &f);
	assert_int_equal(pfs_super_read(dir, &got, &quiet), 0);
	assert_int_equal(f.seen, 2);
	expect_equal(&got, &super);
	f = (struct failing_reads){.all = true};
	assert_int_equal(pfs_super_read(dir, &got, &quiet), -EIO);
	assert_int_equal(f.seen, 2);
	assert_int_equal(got.page_size, 0);
	assert_int_equal(got.generation, 0);
	pfs_sim_on_look(sim, NULL, NULL);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: of the file nothing is written but two copies, and of these no byte that is no field's:
 * what is reserved is zero; also features that are not known are said. */
static void what_is_reserved_is_zero(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_super super = a_super;
	struct pfs_super_disk disk;
	struct pfs_dir *dir;
	struct pfs_file *file;

	(void)state;
	super.incompat = 0x2000000000000004;
	dir = created(sim, &super);
	for (unsigned written = 0; written < 2; written++) {
		if (written)
			assert_int_equal(pfs_super_write(dir, &super), 0);
		assert_int_equal(size_in(sim, PFS_SUPER_NAME), PFS_SUPER_STRIDE + sizeof(disk));
		file = open_file(dir, PFS_SUPER_NAME);
		for (unsigned copy = 0; copy < PFS_SUPER_COPIES; copy++) {
			assert_int_equal(
				file->ops->read(file, &disk, sizeof(disk), copy * PFS_SUPER_STRIDE),
				sizeof(disk));
			assert_true(pfs_get_le64(disk.incompat.b) == super.incompat);
			assert_true(pfs_is_zero(disk.zero1, sizeof(disk.zero1)));
			assert_true(pfs_is_zero(disk.zero2, sizeof(disk.zero2)));
			assert_true(pfs_is_zero(disk.zero3, sizeof(disk.zero3)));
		}
		file->ops->close(file);
	}
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: of two copies of one generation the first holds. */
static void of_equals_the_first_holds(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_super super = a_super, got;
	struct pfs_dir *dir = created(sim, &super);
	uint8_t bytes[8];

	(void)state;
	pfs_put_le64(bytes, 4711);
	change(dir, 1, offsetof(struct pfs_super_disk, sequence), bytes, 8, true);
	assert_int_equal(pfs_super_read(dir, &got, &quiet), 0);
	expect_equal(&got, &super);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

struct call {
	enum pfs_sim_kind kind;
	unsigned at, seen;
	int err;
};

static int fail_call(void *arg, const struct pfs_sim_step *step)
{
	struct call *c = arg;

	return step->kind == c->kind && ++c->seen == c->at ? c->err : 0;
}

/* Proves: whatever fails when a superblock is made is the error, and there is none then; but when
 * only its name may not stay. */
static void failures_of_making_are_reported(void **state)
{
	static const struct {
		struct call call;
		int err;
	} cases[] = {
		{{PFS_SIM_CREATE, 1, 0, -ENOSPC}, -ENOSPC},
		{{PFS_SIM_WRITE, 1, 0, -ENOSPC}, -ENOSPC},
		{{PFS_SIM_WRITE, 2, 0, -EDQUOT}, -EDQUOT},
		{{PFS_SIM_SYNC, 1, 0, -ENOSPC}, -EIO},
		{{PFS_SIM_RENAME, 1, 0, -EACCES}, -EACCES},
		{{PFS_SIM_SYNC_DIR, 1, 0, -ENOSPC}, -EIO},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_sim *sim = pfs_sim_new();
		struct pfs_dir *dir = open_dir(sim);
		struct pfs_super super = a_super, got;
		struct call call = cases[i].call;

		pfs_sim_on_step(sim, fail_call, &call);
		assert_int_equal(pfs_super_create(dir, &super), cases[i].err);
		pfs_sim_on_step(sim, NULL, NULL);
		assert_int_equal(call.seen, call.at);
		assert_int_equal(pfs_super_read(dir, &got, &quiet),
				 call.kind == PFS_SIM_SYNC_DIR ? 0 : -ENOENT);
		dir->ops->close_dir(dir);
		pfs_sim_free(sim);
	}
}

static struct pfs_io_ops spying;
static int (*true_open)(struct pfs_dir *dir, const char *name, unsigned flags,
			struct pfs_file **out);
static unsigned looked; /* at the superblock, and nothing else done with it */

static int spy_open(struct pfs_dir *dir, const char *name, unsigned flags, struct pfs_file **out)
{
	if (strcmp(name, PFS_SUPER_NAME) == 0) {
		assert_int_equal(flags, 0);
		looked++;
	}
	return true_open(dir, name, flags, out);
}

/* Proves: who reads a superblock, or looks whether there is one, does not open it for writing. */
static void readers_open_for_reading(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_super super = a_super, got;
	const struct pfs_io_ops *ops = dir->ops;

	(void)state;
	spying = *ops;
	true_open = ops->open;
	spying.open = spy_open;
	dir->ops = &spying;
	looked = 0;
	assert_int_equal(pfs_super_create(dir, &super), 0);
	assert_int_equal(pfs_super_create(dir, &super), -EEXIST);
	assert_int_equal(pfs_super_read(dir, &got, &quiet), 0);
	assert_int_equal(looked, 3);
	dir->ops = ops;
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

static void keep_line(void *arg, enum pfs_log_level level, const char *line)
{
	(void)level;
	snprintf(arg, PFS_LOG_LINE_MAX, "%s", line);
}

/* Proves: what is wrong with a superblock is said of its first byte. */
static void damage_is_said_of_the_first_byte(void **state)
{
	char line[PFS_LOG_LINE_MAX] = "";
	const struct pfs_logger logger = {.fn = keep_line, .arg = line};
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_super super = a_super, got;
	struct pfs_dir *dir = created(sim, &super);
	uint8_t bytes[8];

	(void)state;
	pfs_put_le64(bytes, 1000);
	for (unsigned copy = 0; copy < PFS_SUPER_COPIES; copy++)
		change(dir, copy, offsetof(struct pfs_super_disk, page_size), bytes, 8, true);
	assert_int_equal(pfs_super_read(dir, &got, &logger), -EUCLEAN);
	assert_string_equal(line, "damage in superblock at byte 0: sizes out of range");
	for (unsigned copy = 0; copy < PFS_SUPER_COPIES; copy++)
		change(dir, copy, 0, bytes, 8, false);
	assert_int_equal(pfs_super_read(dir, &got, &logger), -EUCLEAN);
	assert_string_equal(line,
			    "damage in superblock at byte 0: no valid copy of the superblock");
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refusals_say_what_to_do),
		cmocka_unit_test(directories_that_are_refused),
		cmocka_unit_test(copies_that_can_not_be_read),
		cmocka_unit_test(superblocks_round_trip),
		cmocka_unit_test(existing_superblocks_are_kept),
		cmocka_unit_test(one_valid_copy_is_enough),
		cmocka_unit_test(the_newer_copy_holds),
		cmocka_unit_test(unknown_formats_are_refused),
		cmocka_unit_test(the_page_that_differs_is_told),
		cmocka_unit_test(power_cuts_leave_old_or_new),
		cmocka_unit_test(failed_syncs_are_reported),
		cmocka_unit_test(spoilt_sectors_leave_a_copy),
		cmocka_unit_test(what_is_reserved_is_zero),
		cmocka_unit_test(of_equals_the_first_holds),
		cmocka_unit_test(failures_of_making_are_reported),
		cmocka_unit_test(readers_open_for_reading),
		cmocka_unit_test(damage_is_said_of_the_first_byte),
	};

	return cmocka_run_group_tests_name("super", tests, NULL, NULL);
}
