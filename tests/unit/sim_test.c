/* tests/sim as a disk: that it works like one, that its steps are seen, that it fails and fills up.
 */
#include "tests/unit/sim_helpers.h"

/* ---- as a disk ---- */

/* Proves: it works like the file backend: lengths, zeros, short reads, errors. */
static void works_like_files(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_dir *dir;
	struct pfs_file *file, *reader, *small;
	char buf[16];
	uint64_t size;

	(void)state;
	assert_int_equal(io->ops->open_dir(io, "store", 0, &dir), -ENOENT);
	dir = open_dir(sim);
	assert_int_equal(dir->ops->open(dir, "f", 0, &file), -ENOENT);
	assert_null(file);
	assert_int_equal(dir->ops->open(dir, "a/b", PFS_IO_CREATE, &file), -EINVAL);
	file = open_file(dir, "f");
	put(file, 5000, "text");
	assert_int_equal(file->ops->size(file, &size), 0);
	assert_int_equal(size, 5004);
	assert_int_equal(file->ops->read(file, buf, 10, 4998), 6);
	assert_memory_equal(buf, "\0\0text", 6);
	assert_int_equal(file->ops->read(file, buf, 10, 5004), 0);
	assert_int_equal(file->ops->truncate(file, 5002), 0);
	assert_int_equal(file->ops->truncate(file, 9000), 0);
	assert_int_equal(file->ops->read(file, buf, 6, 4998), 6);
	assert_memory_equal(buf, "\0\0te\0\0", 6);
	assert_int_equal(dir->ops->open(dir, "f", PFS_IO_CREATE | PFS_IO_EXCL, &reader), -EEXIST);
	assert_int_equal(dir->ops->open(dir, "f", 0, &reader), 0);
	assert_int_equal(reader->ops->write(reader, "x", 1, 0), -EBADF);
	assert_int_equal(reader->ops->truncate(reader, 0), -EBADF);
	assert_int_equal(file->ops->write(file, "x", 1, PFS_SIM_FILE_MAX), -EFBIG);
	pfs_sim_set_file_max(sim, PFS_MIB);
	small = open_file(dir, "small");
	assert_int_equal(small->ops->write(small, "x", 1, PFS_MIB), -EFBIG);
	put(small, PFS_MIB - 1, "x");
	small->ops->close(small);
	assert_int_equal(dir->ops->unlink(dir, "small"), 0);
	assert_int_equal(dir->ops->rename(dir, "nothing", "f"), -ENOENT);
	assert_int_equal(dir->ops->unlink(dir, "nothing"), -ENOENT);
	/* A removed file stays readable for those who have it open. */
	assert_int_equal(dir->ops->unlink(dir, "f"), 0);
	assert_int_equal(dir->ops->sync_dir(dir), 0);
	assert_int_equal(reader->ops->read(reader, buf, 2, 5000), 2);
	assert_memory_equal(buf, "te", 2);
	reader->ops->close(reader);
	file->ops->close(file);
	dir->ops->close_dir(dir);
	assert_int_equal(pfs_sim_used(sim), 0);
	pfs_sim_free(sim);
}

/* Proves: a mapping keeps its address and shows later writes, punching and truncation. */
static void mappings_follow_the_file(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_file *file = open_file(dir, "f");
	const uint8_t *map, *again;
	char buf[4];

	(void)state;
	assert_int_equal(file->ops->map(file, 1 << 20, &map), 0);
	put(file, 100000, "abcd");
	assert_int_equal(pfs_map_copy(buf, map + 100000, 4), 0);
	assert_memory_equal(buf, "abcd", 4);
	assert_int_equal(file->ops->map(file, 1 << 20, &again), 0);
	assert_ptr_equal(map, again);
	file->ops->unmap(file, again, 1 << 20);
	assert_int_equal(file->ops->punch(file, 100001, 2), 0);
	assert_memory_equal(map + 100000, "a\0\0d", 4);
	assert_int_equal(file->ops->truncate(file, 100001), 0);
	assert_memory_equal(map + 100000, "a\0\0\0", 4);
	file->ops->unmap(file, map, 1 << 20);
	file->ops->close(file);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: locks exclude as the contract says, and are given back by closing. */
static void locks_exclude(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *killed;
	struct pfs_dir *a = open_dir(sim), *b = open_dir(sim), *c = open_dir(sim);

	(void)state;
	assert_int_equal(a->ops->lock(a, "lock", false), 0);
	assert_int_equal(b->ops->lock(b, "lock", false), 0);
	assert_int_equal(c->ops->lock(c, "lock", true), -EWOULDBLOCK);
	a->ops->close_dir(a);
	assert_int_equal(c->ops->lock(c, "lock", true), -EWOULDBLOCK);
	b->ops->close_dir(b);
	assert_int_equal(c->ops->lock(c, "lock", true), 0);
	a = open_dir(sim);
	assert_int_equal(a->ops->lock(a, "lock", false), -EWOULDBLOCK);
	/* The death of the process frees it. */
	killed = pfs_sim_kill(sim);
	b = open_dir(killed);
	assert_int_equal(b->ops->lock(b, "lock", true), 0);
	b->ops->close_dir(b);
	a->ops->close_dir(a);
	c->ops->close_dir(c);
	pfs_sim_free(killed);
	pfs_sim_free(sim);
}

/* ---- steps, failures, space ---- */

struct steps {
	char text[512];
	uint64_t fail_at;
	int fail_with;
	uint64_t last;
};

static int note_step(void *arg, const struct pfs_sim_step *step)
{
	struct steps *steps = arg;
	size_t len = strlen(steps->text);

	assert_int_equal(step->number, steps->last + 1);
	steps->last = step->number;
	snprintf(steps->text + len, sizeof(steps->text) - len, "%s:%s ",
		 pfs_sim_kind_name(step->kind), step->name);
	return step->number == steps->fail_at ? steps->fail_with : 0;
}

/* Proves: every change is announced once, in order, with its file, and reads are not. */
static void steps_are_announced(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct steps steps = {.fail_at = 0};
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_file *file;
	char byte;

	(void)state;
	pfs_sim_on_step(sim, note_step, &steps);
	file = open_file(dir, "a");
	put(file, 0, "x");
	assert_int_equal(file->ops->read(file, &byte, 1, 0), 1);
	assert_int_equal(file->ops->allocate(file, 0, 10), 0);
	assert_int_equal(file->ops->punch(file, 0, 10), 0);
	assert_int_equal(file->ops->truncate(file, 1), 0);
	assert_int_equal(file->ops->sync(file), 0);
	assert_int_equal(dir->ops->rename(dir, "a", "b"), 0);
	assert_int_equal(file->ops->sync(file), 0);
	assert_int_equal(dir->ops->unlink(dir, "b"), 0);
	assert_int_equal(file->ops->sync(file), 0);
	assert_int_equal(dir->ops->sync_dir(dir), 0);
	assert_string_equal(steps.text,
			    "create:a write:a allocate:a punch:a truncate:a sync:a rename:a sync:b "
			    "unlink:b sync: sync_dir: ");
	assert_int_equal(pfs_sim_steps(sim), 11);
	assert_int_equal(pfs_sim_count(sim, PFS_SIM_SYNC), 3);
	assert_int_equal(pfs_sim_count(sim, PFS_SIM_READ), 1);
	assert_int_equal(pfs_sim_count(sim, PFS_SIM_WRITE), 1);
	file->ops->close(file);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: an injected error is returned and the change not made. */
static void failing_steps_change_nothing(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_file *file = open_file(dir, "f"), *none;
	struct steps steps = {.fail_with = -EIO};
	uint64_t size;

	(void)state;
	put(file, 0, "oldtext");
	sync_all(dir, file);
	steps.last = pfs_sim_steps(sim);
	pfs_sim_on_step(sim, note_step, &steps);
	steps.fail_at = steps.last + 1;
	assert_int_equal(file->ops->write(file, "NEWTEXT!", 8, 0), -EIO);
	assert_string_equal(text_in(sim, "f", 0), "oldtext");
	steps.fail_at = steps.last + 1;
	assert_int_equal(file->ops->truncate(file, 2), -EIO);
	steps.fail_at = steps.last + 1;
	assert_int_equal(file->ops->allocate(file, 0, 100), -EIO);
	steps.fail_at = steps.last + 1;
	assert_int_equal(file->ops->punch(file, 0, 7), -EIO);
	assert_int_equal(file->ops->size(file, &size), 0);
	assert_int_equal(size, 7);
	steps.fail_at = steps.last + 1;
	assert_int_equal(dir->ops->rename(dir, "f", "g"), -EIO);
	steps.fail_at = steps.last + 1;
	assert_int_equal(dir->ops->unlink(dir, "f"), -EIO);
	steps.fail_at = steps.last + 1;
	assert_int_equal(dir->ops->open(dir, "g", PFS_IO_CREATE, &none), -EIO);
	assert_null(none);
	assert_null(text_in(sim, "g", 0));
	assert_string_equal(text_in(sim, "f", 0), "oldtext");
	steps.fail_at = steps.last + 1;
	assert_int_equal(dir->ops->sync_dir(dir), -EIO);
	file->ops->close(file);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: looks are announced with their own numbers and their file, and an injected error is
 * returned by them: nothing is opened, mapped or read. */
static void looks_can_fail(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim), *no_dir;
	struct pfs_file *file = open_file(dir, "f"), *none;
	struct steps looks = {.fail_with = -EIO, .last = 2};
	const struct pfs_io *io = pfs_sim_io(sim);
	const uint8_t *map;
	char byte = 'n';

	(void)state;
	put(file, 0, "x");
	pfs_sim_on_look(sim, note_step, &looks);
	assert_int_equal(file->ops->read(file, &byte, 1, 0), 1);
	assert_int_equal(byte, 'x');
	for (unsigned i = 0; i < 6; i++) {
		looks.fail_at = looks.last + 1;
		switch (i) {
		case 0: assert_int_equal(file->ops->read(file, &byte, 1, 0), -EIO); break;
		case 1: assert_int_equal(file->ops->map(file, 1, &map), -EIO); break;
		case 2: assert_int_equal(dir->ops->open(dir, "f", 0, &none), -EIO); break;
		case 3:
			assert_int_equal(dir->ops->open(dir, "g", PFS_IO_CREATE, &none), -EIO);
			break;
		case 4: assert_int_equal(dir->ops->list(dir, NULL, NULL), -EIO); break;
		case 5: assert_int_equal(io->ops->open_dir(io, "store", 0, &no_dir), -EIO); break;
		}
	}
	assert_null(none);
	assert_null(map);
	pfs_sim_on_look(sim, NULL, NULL);
	assert_string_equal(looks.text, "read:f read:f map:f open:f open:g read: open: ");
	assert_null(text_in(sim, "g", 0));
	file->ops->close(file);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: a failed write has written the first half, up to a sector's end, or nothing, or all of
 * it, as was asked for. */
static void failing_writes_are_done_in_part(void **state)
{
	static const enum pfs_sim_failed_write modes[] = {
		PFS_SIM_FAILED_HALF, PFS_SIM_FAILED_NOTHING, PFS_SIM_FAILED_ALL};
	static const unsigned written[] = {2, 0, 4}; /* sectors */
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_file *file = open_file(dir, "f");
	char sectors[4 * PFS_SIM_SECTOR + 300], now[sizeof(sectors)];

	(void)state;
	memset(sectors, 'n', sizeof(sectors));
	for (unsigned i = 0; i < pfs_array_len(modes); i++) {
		struct steps steps = {.fail_with = -ENOSPC, .last = pfs_sim_steps(sim)};
		size_t end = written[i] == 4 ? sizeof(sectors) : written[i] * PFS_SIM_SECTOR;

		pfs_sim_set_failed_writes(sim, modes[i]);
		assert_int_equal(file->ops->truncate(file, 0), 0);
		assert_int_equal(file->ops->truncate(file, sizeof(now)), 0);
		steps.last = pfs_sim_steps(sim);
		steps.fail_at = steps.last + 1;
		pfs_sim_on_step(sim, note_step, &steps);
		assert_int_equal(file->ops->write(file, sectors, sizeof(sectors), 0), -ENOSPC);
		pfs_sim_on_step(sim, NULL, NULL);
		assert_int_equal(file->ops->read(file, now, sizeof(now), 0), sizeof(now));
		for (size_t k = 0; k < sizeof(now); k++)
			assert_int_equal(now[k], k < end ? 'n' : 0);
	}
	file->ops->close(file);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: after a failed sync a later one that succeeds makes durable only what was written again:
 * the trap into which a program falls that just tries again. */
static void a_failed_sync_forgets(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *image;
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_file *file = open_file(dir, "f");
	struct steps steps = {.fail_with = -EIO};

	(void)state;
	put(file, 0, "old");
	put(file, PIECE, "old");
	sync_all(dir, file);
	put(file, 0, "new");
	put(file, PIECE, "new");
	steps.last = pfs_sim_steps(sim);
	steps.fail_at = steps.last + 1;
	pfs_sim_on_step(sim, note_step, &steps);
	assert_int_equal(file->ops->sync(file), -EIO);
	put(file, PIECE, "new");
	assert_int_equal(file->ops->sync(file), 0);
	assert_int_equal(pfs_sim_pending(sim), 1);
	image = pfs_sim_crash_index(sim, 0);
	assert_string_equal(text_in(image, "f", PIECE), "new");
	assert_memory_equal(text_in(image, "f", 0), "old", 3);
	pfs_sim_free(image);
	put(file, 0, "new");
	assert_int_equal(file->ops->sync(file), 0);
	assert_int_equal(pfs_sim_pending(sim), 0);
	file->ops->close(file);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: a full disk refuses what needs room, does what fitted, still takes rewrites of what has
 * its room, and room comes back by punching, truncating and removing. */
static void a_full_disk(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *image;
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_file *file = open_file(dir, "f"), *other = open_file(dir, "g");
	struct pfs_io_space space;
	uint8_t *data = calloc(1, 8 * PIECE);
	uint64_t size;

	(void)state;
	pfs_sim_set_capacity(sim, 4 * PIECE);
	assert_int_equal(file->ops->allocate(file, 0, 2 * PIECE), 0);
	assert_int_equal(pfs_sim_used(sim), 2 * PIECE);
	assert_int_equal(dir->ops->space(dir, &space), 0);
	assert_int_equal(space.total, 4 * PIECE);
	assert_int_equal(space.available, 2 * PIECE);
	memset(data, 'd', 8 * PIECE);
	assert_int_equal(other->ops->write(other, data, 3 * PIECE, 0), -ENOSPC);
	assert_int_equal(other->ops->size(other, &size), 0);
	assert_int_equal(size, 2 * PIECE);
	assert_int_equal(other->ops->write(other, data, 1, 2 * PIECE), -ENOSPC);
	assert_int_equal(other->ops->allocate(other, 0, 3 * PIECE), -ENOSPC);
	assert_int_equal(file->ops->write(file, data, 2 * PIECE, 0), 0);
	assert_int_equal(other->ops->write(other, data, 2 * PIECE, 0), 0);
	image = pfs_sim_kill(sim);
	assert_int_equal(pfs_sim_used(image), 4 * PIECE);
	pfs_sim_free(image);
	assert_int_equal(file->ops->punch(file, 0, PIECE), 0);
	assert_int_equal(other->ops->write(other, data, PIECE, 2 * PIECE), 0);
	assert_int_equal(other->ops->write(other, data, 1, 3 * PIECE), -ENOSPC);
	assert_int_equal(other->ops->truncate(other, PIECE), 0);
	assert_int_equal(pfs_sim_used(sim), 2 * PIECE);
	assert_int_equal(dir->ops->unlink(dir, "f"), 0);
	assert_int_equal(pfs_sim_used(sim), 2 * PIECE);
	file->ops->close(file);
	assert_int_equal(pfs_sim_used(sim), PIECE);
	assert_int_equal(other->ops->disk_usage(other, &size), 0);
	assert_int_equal(size, PIECE);
	other->ops->close(other);
	dir->ops->close_dir(dir);
	free(data);
	pfs_sim_free(sim);
}

static int make_image(void *arg, const struct pfs_sim_step *step)
{
	struct pfs_sim *image = pfs_sim_crash_seed(arg, step->number);

	assert_non_null(image);
	pfs_sim_free(image);
	return 0;
}

/* Proves: images can be made from inside a step, which is how every moment of a workload is tried.
 */
static void images_from_inside_a_step(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_file *file;

	(void)state;
	pfs_sim_on_step(sim, make_image, sim);
	file = open_file(dir, "f");
	for (uint64_t i = 0; i < 20; i++)
		put(file, i * 1000, "something");
	sync_all(dir, file);
	assert_int_equal(dir->ops->rename(dir, "f", "g"), 0);
	assert_int_equal(dir->ops->unlink(dir, "g"), 0);
	file->ops->close(file);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(works_like_files),
		cmocka_unit_test(mappings_follow_the_file),
		cmocka_unit_test(locks_exclude),
		cmocka_unit_test(steps_are_announced),
		cmocka_unit_test(failing_steps_change_nothing),
		cmocka_unit_test(looks_can_fail),
		cmocka_unit_test(failing_writes_are_done_in_part),
		cmocka_unit_test(a_failed_sync_forgets),
		cmocka_unit_test(a_full_disk),
		cmocka_unit_test(images_from_inside_a_step),
	};

	return cmocka_run_group_tests_name("sim", tests, NULL, NULL);
}
