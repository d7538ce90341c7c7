/* storage/dict.c: the files of dictionaries and their two copies. */
#include "tests/unit/sim_helpers.h"

#include "tests/unit/fenced.h"

#include "storage/dict.c"

static const uint8_t uuid[PFS_UUID_LEN] = "0123456789abcde";
static uint8_t words[PFS_DICT_LEN_MAX];

static struct pfs_dict_file a_dict(uint32_t number, uint32_t len)
{
	for (size_t i = 0; i < sizeof(words); i++)
		words[i] = (uint8_t)pfs_mix64(number * 100000 + i + 1);
	return (struct pfs_dict_file){.number = number,
				      .len = len,
				      .raw = UINT64_MAX,
				      .packed = 12345678901,
				      .created_ns = -5,
				      .bytes = words};
}

static struct pfs_file *file_of(struct pfs_dir *dir, uint32_t number)
{
	char name[32];

	snprintf(name, sizeof(name), PFS_DICT_NAME_FMT, number);
	return open_file(dir, name);
}

/* Reads number and expects what `dict` is, with so many damaged parts. */
static void expect_read(struct pfs_dir *dir, const struct pfs_dict_file *dict, unsigned bad_parts)
{
	struct pfs_dict_file out;

	assert_int_equal(pfs_dict_read(dir, uuid, dict->number, &out), 0);
	assert_true(out.number == dict->number && out.len == dict->len && out.raw == dict->raw &&
		    out.packed == dict->packed && out.created_ns == dict->created_ns);
	assert_memory_equal(out.bytes, dict->bytes, dict->len);
	assert_int_equal(out.bad_parts, bad_parts);
	free(out.bytes);
}

static void expect_refused(struct pfs_dir *dir, uint32_t number, int err)
{
	struct pfs_dict_file out;

	assert_int_equal(pfs_dict_read(dir, uuid, number, &out), err);
	assert_null(out.bytes);
}

static void flip(struct pfs_file *file, uint64_t off, unsigned bit)
{
	uint8_t byte;

	assert_int_equal(file->ops->read(file, &byte, 1, off), 1);
	byte ^= (uint8_t)(1u << bit);
	assert_int_equal(file->ops->write(file, &byte, 1, off), 0);
}

/* Proves: names of dictionaries are told from all others. */
static void names_are_told_apart(void **state)
{
	static const char *const no[] = {
		"dict-",	 "dict-0000001",  "dict-000000001",    "dict-00000000",
		"dict-0000000A", "dict-0000001g", "dict-00000001.tmp", "page-00000001",
		"dict- 0000001"};
	uint32_t number;

	(void)state;
	assert_true(pfs_dict_is_name("dict-00000001", &number) && number == 1);
	assert_true(pfs_dict_is_name("dict-ffffffff", &number) && number == UINT32_MAX);
	for (size_t i = 0; i < pfs_array_len(no); i++)
		assert_false(pfs_dict_is_name(no[i], &number));
}

/* Proves: what is written is read, of every length, and survives a power cut once writing has
 * returned (C9: the file and its name). */
static void dictionaries_round_trip_durably(void **state)
{
	static const uint32_t lens[] = {1, 63, 16384, PFS_DICT_LEN_MAX - 1, PFS_DICT_LEN_MAX};
	struct pfs_sim *sim = pfs_sim_new(), *cut;
	struct pfs_dir *dir = open_dir(sim);

	(void)state;
	for (uint32_t i = 0; i < pfs_array_len(lens); i++) {
		struct pfs_dict_file dict = a_dict(i + 1, lens[i]);
		bool synced = false;

		assert_int_equal(pfs_dict_write(dir, uuid, &dict, &synced), 0);
		assert_true(synced);
	}
	dir->ops->close_dir(dir);
	cut = pfs_sim_crash_index(sim, 0);
	assert_non_null(cut);
	dir = open_dir(cut);
	for (uint32_t i = 0; i < pfs_array_len(lens); i++) {
		struct pfs_dict_file dict = a_dict(i + 1, lens[i]);

		expect_read(dir, &dict, 0);
	}
	expect_refused(dir, 6, -ENOENT);
	dir->ops->close_dir(dir);
	pfs_sim_free(cut);
	pfs_sim_free(sim);
}

/* Proves: whichever single bit is wrong, or what stands behind the end, the dictionary is read, and
 * the damage is seen. */
static void any_one_bit_is_survived(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_dict_file dict = a_dict(9, 200);
	uint64_t end = PFS_DICT_STRIDE + PFS_DICT_HEADER_LEN + dict.len;
	struct pfs_file *file;

	(void)state;
	assert_int_equal(pfs_dict_write(dir, uuid, &dict, NULL), 0);
	file = file_of(dir, 9);
	for (uint64_t off = 0; off < end; off++) {
		/* Of the zeros between the copies a few stand for all. */
		if (off > 300 && off < PFS_DICT_STRIDE - 20 && off % 1009)
			continue;
		for (unsigned bit = 0; bit < 8; bit++) {
			flip(file, off, bit);
			expect_read(dir, &dict, 1);
			flip(file, off, bit);
		}
	}
	expect_read(dir, &dict, 0);
	/* A byte behind the end. */
	assert_int_equal(file->ops->write(file, "", 1, end), 0);
	expect_read(dir, &dict, 1);
	file->ops->close(file);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: a header of one copy serves with the dictionary of the other; with both headers or both
 * dictionaries damaged it is refused, and so it is when cut into its first copy. */
static void what_is_left_of_both_copies_serves(void **state)
{
	static const uint64_t parts[] = {0, PFS_DICT_HEADER_LEN, PFS_DICT_STRIDE,
					 PFS_DICT_STRIDE + PFS_DICT_HEADER_LEN};
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_dict_file dict = a_dict(3, 5000);
	struct pfs_file *file;

	(void)state;
	for (unsigned mask = 0; mask < 16; mask++) {
		bool header = (mask & 5) != 5, body = (mask & 10) != 10;

		assert_int_equal(pfs_dict_write(dir, uuid, &dict, NULL), 0);
		file = file_of(dir, 3);
		for (unsigned i = 0; i < 4; i++) {
			if (mask & 1u << i)
				flip(file, parts[i] + 20, 3);
		}
		if (header && body)
			expect_read(dir, &dict, (unsigned)__builtin_popcount(mask));
		else
			expect_refused(dir, 3, -EUCLEAN);
		file->ops->close(file);
	}
	assert_int_equal(pfs_dict_write(dir, uuid, &dict, NULL), 0);
	file = file_of(dir, 3);
	assert_int_equal(file->ops->truncate(file, PFS_DICT_STRIDE + 10), 0);
	expect_read(dir, &dict, 2);
	assert_int_equal(file->ops->truncate(file, PFS_DICT_HEADER_LEN + 5000), 0);
	expect_read(dir, &dict, 2);
	assert_int_equal(file->ops->truncate(file, PFS_DICT_HEADER_LEN + 4999), 0);
	expect_refused(dir, 3, -EUCLEAN);
	assert_int_equal(file->ops->truncate(file, 0), 0);
	expect_refused(dir, 3, -EUCLEAN);
	file->ops->close(file);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: a dictionary of another number or store is none, and a header that verifies with a length
 * out of range is refused. */
static void other_dictionaries_are_refused(void **state)
{
	static const uint8_t other[PFS_UUID_LEN] = "another store!!";
	static const uint32_t lens[] = {0, PFS_DICT_LEN_MAX + 1, UINT32_MAX};
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_dict_file dict = a_dict(3, 500), out;

	(void)state;
	assert_int_equal(pfs_dict_write(dir, uuid, &dict, NULL), 0);
	assert_int_equal(dir->ops->rename(dir, "dict-00000003", "dict-00000004"), 0);
	expect_refused(dir, 3, -ENOENT);
	expect_refused(dir, 4, -EUCLEAN);
	assert_int_equal(pfs_dict_write(dir, other, &dict, NULL), 0);
	expect_refused(dir, 3, -EUCLEAN);
	assert_int_equal(pfs_dict_read(dir, other, 3, &out), 0);
	free(out.bytes);
	assert_int_equal(pfs_dict_write(dir, uuid, &dict, NULL), 0);
	for (size_t i = 0; i < pfs_array_len(lens); i++) {
		struct pfs_file *file = file_of(dir, 3);
		struct pfs_dict_disk disk;

		assert_int_equal(file->ops->read(file, &disk, sizeof(disk), 0), sizeof(disk));
		pfs_put_le32(disk.len.b, lens[i]);
		if (lens[i] == 0)
			pfs_put_le32(disk.bytes_crc.b, 0); /* which is right */
		pfs_put_le32(disk.crc.b, pfs_crc32c(0, (uint8_t *)&disk + 12, sizeof(disk) - 12));
		for (unsigned copy = 0; copy < PFS_DICT_COPIES; copy++)
			assert_int_equal(file->ops->write(file, &disk, sizeof(disk),
							  (uint64_t)copy * PFS_DICT_STRIDE),
					 0);
		file->ops->close(file);
		expect_refused(dir, 3, -EUCLEAN);
	}
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: a third copy behind the two is none: of what both have lost it brings nothing back, and
 * where they are whole it is damage. */
static void a_third_copy_is_none(void **state)
{
	static const struct {
		unsigned lost, got; /* parts of both copies; of the third */
		bool good;
	} cases[] = {{0, 3, true}, {1, 1, false}, {1, 3, false}, {2, 2, false}, {2, 3, false}};
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_dict_file dict = a_dict(3, PFS_DICT_LEN_MAX);
	struct pfs_dict_disk header;

	(void)state;
	encode(&header, &dict, uuid);
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_file *file;

		assert_int_equal(pfs_dict_write(dir, uuid, &dict, NULL), 0);
		file = file_of(dir, 3);
		for (unsigned copy = 0; copy < PFS_DICT_COPIES; copy++) {
			if (cases[i].lost & 1)
				flip(file, copy * PFS_DICT_STRIDE + 20, 3);
			if (cases[i].lost & 2)
				flip(file, copy * PFS_DICT_STRIDE + PFS_DICT_HEADER_LEN, 3);
		}
		if (cases[i].got & 1)
			assert_int_equal(file->ops->write(file, &header, sizeof(header),
							  2 * PFS_DICT_STRIDE),
					 0);
		if (cases[i].got & 2)
			assert_int_equal(
				file->ops->write(file, words, dict.len,
						 2 * PFS_DICT_STRIDE + PFS_DICT_HEADER_LEN),
				0);
		if (cases[i].good)
			expect_read(dir, &dict, 1);
		else
			expect_refused(dir, 3, -EUCLEAN);
		file->ops->close(file);
	}
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

static unsigned opened_how;

static int note_how(struct pfs_dir *dir, const char *name, unsigned flags, struct pfs_file **out)
{
	(void)dir;
	(void)name;
	*out = NULL;
	opened_how = flags;
	return -EPERM;
}

/* Proves: without either piece of memory a dictionary is not read, and what was got is given back;
 * a dictionary is read without the right to change it, and made with it. */
static void reading_takes_memory_alone(void **state)
{
	const struct pfs_io_ops noting = {.open = note_how};
	struct pfs_dir noting_dir = {.ops = &noting};
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_dict_file dict = a_dict(3, 500), out;

	(void)state;
	assert_int_equal(pfs_dict_write(dir, uuid, &dict, NULL), 0);
	for (unsigned passes = 0; passes < 2; passes++) {
		fenced_refuse(passes);
		expect_refused(dir, 3, -ENOMEM);
		assert_int_equal(fenced_blocks, 0);
	}
	expect_read(dir, &dict, 0);
	expect_refused(dir, 4, -ENOENT);
	assert_int_equal(fenced_blocks, 0);
	assert_int_equal(pfs_dict_read(&noting_dir, uuid, 3, &out), -EPERM);
	assert_int_equal(opened_how, 0);
	assert_int_equal(pfs_dict_write(&noting_dir, uuid, &dict, NULL), -EPERM);
	assert_int_equal(opened_how, PFS_IO_WRITE | PFS_IO_CREATE);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* What writing a dictionary of 500 bytes takes: the steps, in this order. */
static const struct {
	enum pfs_sim_kind kind;
	const char *name;
	uint64_t off, len;
} steps[] = {
	{PFS_SIM_CREATE, "dict-00000003.tmp", 0, 0},
	{PFS_SIM_TRUNCATE, "dict-00000003.tmp", 0, 0},
	{PFS_SIM_WRITE, "dict-00000003.tmp", 0, PFS_DICT_HEADER_LEN},
	{PFS_SIM_WRITE, "dict-00000003.tmp", PFS_DICT_HEADER_LEN, 500},
	{PFS_SIM_WRITE, "dict-00000003.tmp", PFS_DICT_STRIDE, PFS_DICT_HEADER_LEN},
	{PFS_SIM_WRITE, "dict-00000003.tmp", PFS_DICT_STRIDE + PFS_DICT_HEADER_LEN, 500},
	{PFS_SIM_SYNC, "dict-00000003.tmp", 0, 0},
	{PFS_SIM_RENAME, "dict-00000003.tmp", 0, 0},
	{PFS_SIM_SYNC_DIR, "", 0, 0},
};

struct failing {
	size_t seen, at; /* steps; the one that fails */
	bool unlinked;
};

static int fail_one(void *arg, const struct pfs_sim_step *step)
{
	struct failing *failing = arg;

	if (failing->seen > failing->at) {
		assert_false(failing->unlinked);
		assert_int_equal(step->kind, PFS_SIM_UNLINK);
		assert_string_equal(step->name, "dict-00000003.tmp");
		failing->unlinked = true;
		return 0;
	}
	assert_in_range(failing->seen, 0, pfs_array_len(steps) - 1);
	assert_int_equal(step->kind, steps[failing->seen].kind);
	assert_string_equal(step->name, steps[failing->seen].name);
	assert_int_equal(step->off, steps[failing->seen].off);
	if (step->kind == PFS_SIM_WRITE)
		assert_int_equal(step->len, steps[failing->seen].len);
	return failing->seen++ == failing->at ? -ENOSPC : 0;
}

/* Proves: writing takes exactly these steps; whichever of them fails, its error is returned, that
 * it was a sync is said, nothing unfinished stays, and the dictionary of that name is the old one
 * until the new one has its name. */
static void writing_may_fail_anywhere(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_dict_file old = {.number = 3, .len = 3, .bytes = (uint8_t *)"old"};
	struct pfs_dict_file dict = a_dict(3, 500), another = old;

	(void)state;
	another.number = 9; /* whose name nothing is left of */
	for (size_t at = 0; at <= pfs_array_len(steps); at++) {
		struct failing failing = {.at = at};
		bool fails = at < pfs_array_len(steps), synced = !fails;
		enum pfs_sim_kind kind = fails ? steps[at].kind : PFS_SIM_KINDS;
		bool named = !fails || kind == PFS_SIM_SYNC_DIR;
		struct pfs_file *file;

		assert_int_equal(pfs_dict_write(dir, uuid, &old, NULL), 0);
		assert_int_equal(pfs_dict_write(dir, uuid, &another, NULL), 0);
		pfs_sim_on_step(sim, fail_one, &failing);
		assert_int_equal(pfs_dict_write(dir, uuid, &dict, &synced), fails ? -ENOSPC : 0);
		pfs_sim_on_step(sim, NULL, NULL);
		assert_int_equal(failing.seen, fails ? at + 1 : pfs_array_len(steps));
		assert_int_equal(synced, kind != PFS_SIM_SYNC && kind != PFS_SIM_SYNC_DIR);
		assert_int_equal(failing.unlinked, !named && kind != PFS_SIM_CREATE);
		assert_int_equal(dir->ops->open(dir, "dict-00000003.tmp", 0, &file), -ENOENT);
		expect_read(dir, named ? &dict : &old, 0);
	}
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_told_apart),
		cmocka_unit_test(dictionaries_round_trip_durably),
		cmocka_unit_test(any_one_bit_is_survived),
		cmocka_unit_test(what_is_left_of_both_copies_serves),
		cmocka_unit_test(other_dictionaries_are_refused),
		cmocka_unit_test(a_third_copy_is_none),
		cmocka_unit_test(reading_takes_memory_alone),
		cmocka_unit_test(writing_may_fail_anywhere),
	};

	return cmocka_run_group_tests_name("dict", tests, NULL, NULL);
}
