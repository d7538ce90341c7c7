/* tests/sim losing power: what it forgets to lose, no crash test can find. */
#include "tests/unit/sim_helpers.h"

/* Proves: what was synced is in every image, whatever was not. */
static void what_is_synced_survives(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_file *file = open_file(dir, "f");

	(void)state;
	put(file, 0, "durable");
	sync_all(dir, file);
	assert_int_equal(pfs_sim_pending(sim), 0);
	assert_int_equal(pfs_sim_images(sim), 1);
	put(file, 3 * PIECE, "lost");
	for (uint64_t i = 0; i < pfs_sim_images(sim) + 50; i++) {
		struct pfs_sim *image = i < pfs_sim_images(sim) ? pfs_sim_crash_index(sim, i)
								: pfs_sim_crash_seed(sim, i);

		assert_string_equal(text_in(image, "f", 0), "durable");
		assert_int_equal(pfs_sim_pending(image), 0);
		pfs_sim_free(image);
	}
	file->ops->close(file);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Two writes of 1024 bytes over two synced pieces: returns a number for the state of one piece in
 * an image. */
static int state_of_piece(struct pfs_sim *image, unsigned piece)
{
	char sectors[3] = {0};

	for (unsigned s = 0; s < 2; s++)
		sectors[s] = text_in(image, "f", piece * PIECE + s * PFS_SIM_SECTOR)[0];
	if (!strcmp(sectors, "oo"))
		return 0;
	if (!strcmp(sectors, "nn"))
		return 1;
	assert_true(!strcmp(sectors, "on") || !strcmp(sectors, "no"));
	return 2;
}

/* Proves: the images by index are every combination of old, new and torn, index 0 being all old;
 * those by seed find them all, too, given time. */
static void every_combination_of_pieces_is_met(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_file *file = open_file(dir, "f");
	unsigned met[3][3] = {{0}}, met_by_seed[3][3] = {{0}};
	char old[2 * PIECE], new[1024];

	(void)state;
	memset(old, 'o', sizeof(old));
	memset(new, 'n', sizeof(new));
	assert_int_equal(file->ops->write(file, old, sizeof(old), 0), 0);
	sync_all(dir, file);
	assert_int_equal(file->ops->write(file, new, sizeof(new), 0), 0);
	assert_int_equal(file->ops->write(file, new, sizeof(new), PIECE), 0);
	assert_int_equal(pfs_sim_pending(sim), 2);
	assert_int_equal(pfs_sim_images(sim), 9);
	for (uint64_t i = 0; i < 9; i++) {
		struct pfs_sim *image = pfs_sim_crash_index(sim, i);

		met[state_of_piece(image, 0)][state_of_piece(image, 1)]++;
		if (i == 0)
			assert_int_equal(met[0][0], 1);
		pfs_sim_free(image);
	}
	for (uint64_t seed = 0; seed < 1000; seed++) {
		struct pfs_sim *image = pfs_sim_crash_seed(sim, seed);

		met_by_seed[state_of_piece(image, 0)][state_of_piece(image, 1)]++;
		pfs_sim_free(image);
	}
	for (int a = 0; a < 3; a++)
		for (int b = 0; b < 3; b++) {
			assert_int_equal(met[a][b], 1);
			assert_true(met_by_seed[a][b] > 0);
		}
	file->ops->close(file);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: a piece that was written several times since the sync can be found in a state between,
 * with other pieces newer than it, as a disk that writes in any order may leave it. */
static void states_between_are_met(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_file *file = open_file(dir, "f");
	unsigned met = 0;
	char wanted[2] = {'2', 'z'};

	(void)state;
	put(file, 0, "1");
	put(file, PIECE, "-");
	sync_all(dir, file);
	put(file, 0, "2");
	put(file, 0, "3");
	put(file, PIECE, "z");
	assert_int_equal(pfs_sim_images(sim), 4 * 3);
	for (uint64_t i = 0; i < pfs_sim_images(sim); i++) {
		struct pfs_sim *image = pfs_sim_crash_index(sim, i);
		char first = text_in(image, "f", 0)[0], second = text_in(image, "f", PIECE)[0];

		assert_non_null(strchr("123", first));
		assert_non_null(strchr("-z", second));
		met += first == wanted[0] && second == wanted[1];
		pfs_sim_free(image);
	}
	assert_true(met > 0);
	/* Only so many are remembered, but always the durable one. */
	for (char c = '4'; c <= '9'; c++)
		put(file, 0, (char[]){c, 0});
	assert_int_equal(pfs_sim_images(sim), (PFS_SIM_VERSIONS + 2) * 3);
	{
		struct pfs_sim *image = pfs_sim_crash_index(sim, 0);

		assert_int_equal(text_in(image, "f", 0)[0], '1');
		pfs_sim_free(image);
	}
	file->ops->close(file);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: an unsynced length is old, new or between; a piece that was dropped inside a kept length
 * reads as zeros; one beyond a dropped length is gone. */
static void lengths_are_undecided(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_file *file = open_file(dir, "f");
	bool met_old = false, met_new = false, met_between = false, met_hole = false;

	(void)state;
	put(file, 0, "begin");
	sync_all(dir, file);
	put(file, 4 * PIECE, "end");
	assert_int_equal(pfs_sim_pending(sim), 2);
	for (uint64_t i = 0; i < pfs_sim_images(sim); i++) {
		struct pfs_sim *image = pfs_sim_crash_index(sim, i);
		uint64_t size = size_in(image, "f");

		met_old |= size == 5;
		met_between |= size > 5 && size < 4 * PIECE;
		if (size == 4 * PIECE + 3) {
			met_new |= !strcmp(text_in(image, "f", 4 * PIECE), "end");
			met_hole |= !strcmp(text_in(image, "f", 4 * PIECE), "");
			assert_int_equal(text_in(image, "f", PIECE)[0], 0);
		}
		pfs_sim_free(image);
	}
	assert_true(met_old && met_new && met_between && met_hole);

	/* Shrinking: the old bytes can come back with the old length, not otherwise. */
	sync_all(dir, file);
	assert_int_equal(file->ops->truncate(file, 2), 0);
	met_old = met_new = false;
	for (uint64_t i = 0; i < pfs_sim_images(sim); i++) {
		struct pfs_sim *image = pfs_sim_crash_index(sim, i);

		if (size_in(image, "f") == 2) {
			assert_string_equal(text_in(image, "f", 0), "be");
			met_new = true;
		} else {
			met_old |= size_in(image, "f") == 4 * PIECE + 3 &&
				   !strcmp(text_in(image, "f", 4 * PIECE), "end");
		}
		pfs_sim_free(image);
	}
	assert_true(met_old && met_new);
	file->ops->close(file);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: names are lost and kept each on its own, a rename as a whole, and of one name never a
 * later change without the earlier ones. */
static void names_are_undecided(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_file *target = open_file(dir, "target"), *temp, *other;
	unsigned met[8] = {0};

	(void)state;
	put(target, 0, "old");
	sync_all(dir, target);
	temp = open_file(dir, "temp");
	put(temp, 0, "new");
	assert_int_equal(temp->ops->sync(temp), 0);
	assert_int_equal(dir->ops->rename(dir, "temp", "target"), 0);
	other = open_file(dir, "other");
	assert_int_equal(pfs_sim_images(sim), 8);
	for (uint64_t i = 0; i < 8; i++) {
		struct pfs_sim *image = pfs_sim_crash_index(sim, i);
		bool is_new = !strcmp(text_in(image, "target", 0), "new");
		bool has_temp = text_in(image, "temp", 0), has_other = text_in(image, "other", 0);

		assert_true(is_new || !strcmp(text_in(image, "target", 0), "old"));
		assert_false(is_new && has_temp);
		met[is_new | has_temp << 1 | has_other << 2]++;
		pfs_sim_free(image);
	}
	for (unsigned other_bit = 0; other_bit < 8; other_bit += 4) {
		assert_int_equal(met[other_bit],
				 2); /* the rename cannot be there without the creation */
		assert_int_equal(met[other_bit + 1], 1);
		assert_int_equal(met[other_bit + 2], 1);
	}
	/* After the sync of the directory there is one image; of a removal there are two. */
	assert_int_equal(dir->ops->sync_dir(dir), 0);
	assert_int_equal(pfs_sim_images(sim), 1);
	assert_int_equal(dir->ops->unlink(dir, "target"), 0);
	{
		struct pfs_sim *image = pfs_sim_crash_index(sim, 0);

		assert_string_equal(text_in(image, "target", 0), "new");
		pfs_sim_free(image);
		image = pfs_sim_crash_index(sim, 1);
		assert_null(text_in(image, "target", 0));
		pfs_sim_free(image);
	}
	temp->ops->close(temp);
	other->ops->close(other);
	target->ops->close(target);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: a name's later change waits for its earlier ones, also where it is the target of a
 * rename. */
static void changes_of_a_name_keep_their_order(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_file *target = open_file(dir, "target"), *temp = open_file(dir, "temp");
	unsigned old_and_temp = 0, temp_only = 0, new_only = 0;

	(void)state;
	put(target, 0, "old");
	sync_all(dir, target);
	put(temp, 0, "new");
	sync_all(dir, temp);
	assert_int_equal(dir->ops->unlink(dir, "target"), 0);
	assert_int_equal(dir->ops->rename(dir, "temp", "target"), 0);
	assert_int_equal(pfs_sim_images(sim), 4);
	for (uint64_t i = 0; i < 4; i++) {
		struct pfs_sim *image = pfs_sim_crash_index(sim, i);
		bool has_temp = text_in(image, "temp", 0);
		const char *text = text_in(image, "target", 0);

		old_and_temp += has_temp && text && !strcmp(text, "old");
		temp_only += has_temp && !text;
		new_only += !has_temp && text && !strcmp(text, "new");
		pfs_sim_free(image);
	}
	assert_int_equal(old_and_temp, 2);
	assert_int_equal(temp_only, 1);
	assert_int_equal(new_only, 1);
	temp->ops->close(temp);
	target->ops->close(target);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: bytes beyond the length that a power cut left are gone, and do not come back when the
 * file grows again. */
static void bytes_beyond_the_length_are_gone(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim), *again;
	struct pfs_file *file = open_file(dir, "f"), *reopened;
	unsigned met = 0;

	(void)state;
	put(file, 0, "begin");
	sync_all(dir, file);
	put(file, 5, "and more");
	for (uint64_t i = 0; i < pfs_sim_images(sim); i++) {
		struct pfs_sim *image = pfs_sim_crash_index(sim, i);

		if (size_in(image, "f") == 5) {
			again = open_dir(image);
			reopened = open_file(again, "f");
			assert_int_equal(reopened->ops->truncate(reopened, 13), 0);
			assert_string_equal(text_in(image, "f", 0), "begin");
			reopened->ops->close(reopened);
			again->ops->close_dir(again);
			met++;
		}
		pfs_sim_free(image);
	}
	assert_int_equal(met, 3);
	file->ops->close(file);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: a synced file of an unsynced name can vanish, and syncing the name alone does not save
 * its bytes. */
static void name_and_bytes_are_synced_apart(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *image;
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_file *file = open_file(dir, "f");

	(void)state;
	put(file, 0, "bytes");
	assert_int_equal(file->ops->sync(file), 0);
	image = pfs_sim_crash_index(sim, 0);
	assert_null(text_in(image, "f", 0));
	pfs_sim_free(image);
	assert_int_equal(dir->ops->sync_dir(dir), 0);
	put(file, 0, "other");
	assert_int_equal(dir->ops->sync_dir(dir), 0);
	image = pfs_sim_crash_index(sim, 0);
	assert_string_equal(text_in(image, "f", 0), "bytes");
	pfs_sim_free(image);
	file->ops->close(file);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* Proves: the death of a process loses nothing that was written, and makes nothing durable either.
 */
static void killing_keeps_everything_undecided(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *killed, *image;
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_file *file = open_file(dir, "f");

	(void)state;
	put(file, 0, "old");
	sync_all(dir, file);
	put(file, 0, "new");
	put(file, PIECE, "tail");
	file->ops->close(open_file(dir, "g"));
	killed = pfs_sim_kill(sim);
	assert_string_equal(text_in(killed, "f", PIECE), "tail");
	assert_int_equal(pfs_sim_images(killed), pfs_sim_images(sim));
	for (uint64_t i = 0; i < pfs_sim_images(sim); i++) {
		struct pfs_sim *a = pfs_sim_crash_index(sim, i),
			       *b = pfs_sim_crash_index(killed, i);
		char text[64];

		assert_int_equal(size_in(a, "f"), size_in(b, "f"));
		snprintf(text, sizeof(text), "%s", text_in(a, "f", 0));
		assert_string_equal(text_in(b, "f", 0), text);
		assert_int_equal(!text_in(a, "g", 0), !text_in(b, "g", 0));
		pfs_sim_free(a);
		pfs_sim_free(b);
	}
	/* What happens to the one does not happen to the other. */
	put(file, 0, "xxx");
	assert_string_equal(text_in(killed, "f", PIECE), "tail");
	image = pfs_sim_crash_index(killed, 0);
	assert_string_equal(text_in(image, "f", 0), "old");
	pfs_sim_free(image);
	pfs_sim_free(killed);
	file->ops->close(file);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

/* What is done to one image must not be in the next. */
static void scribble(struct pfs_sim *image)
{
	struct pfs_dir *dir = open_dir(image);
	struct pfs_file *file = open_file(dir, "f");

	put(file, 0, "scribbled");
	put(file, 7 * PIECE, "scribbled");
	file->ops->close(file);
	dir->ops->close_dir(dir);
}

/* Proves: disks with the same bytes have the same hash, by whatever way they came to be so, and
 * others do not; images that are made one after the other show nothing of each other. */
static void equal_disks_have_equal_hashes(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *other = pfs_sim_new();
	struct pfs_dir *dir = open_dir(sim), *other_dir = open_dir(other);
	struct pfs_file *file = open_file(dir, "f"), *twin = open_file(other_dir, "f");
	uint64_t first[512], n;

	(void)state;
	put(file, 0, "old");
	put(file, PIECE, "kept");
	sync_all(dir, file);
	put(twin, 0, "abc");
	put(twin, PIECE, "kept");
	assert_true(pfs_sim_hash(sim) != pfs_sim_hash(other));
	put(twin, 0, "old");
	put(twin, 2 * PIECE, "gone");
	assert_int_equal(twin->ops->truncate(twin, PIECE + 4), 0);
	assert_true(pfs_sim_hash(sim) == pfs_sim_hash(other));
	assert_int_equal(twin->ops->truncate(twin, PIECE + 5), 0);
	assert_true(pfs_sim_hash(sim) != pfs_sim_hash(other));

	put(file, 0, "new");
	put(file, 3 * PIECE, "far");
	n = pfs_sim_images(sim);
	assert_true(n <= pfs_array_len(first));
	for (unsigned round = 0; round < 2; round++) {
		for (uint64_t i = 0; i < n; i++) {
			struct pfs_sim *image = pfs_sim_crash_index(sim, round ? n - 1 - i : i);
			uint64_t hash = pfs_sim_hash(image);

			if (round == 0)
				first[i] = hash;
			else
				assert_true(first[n - 1 - i] == hash);
			scribble(image);
			pfs_sim_free(image);
		}
	}
	file->ops->close(file);
	dir->ops->close_dir(dir);
	twin->ops->close(twin);
	other_dir->ops->close_dir(other_dir);
	pfs_sim_free(sim);
	pfs_sim_free(other);
}

/* Proves: after the kernel has written back on its own, nothing is undecided, and the newest state
 * is what every power cut leaves. */
static void settling_makes_everything_durable(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *image;
	struct pfs_dir *dir = open_dir(sim);
	struct pfs_file *file = open_file(dir, "f");

	(void)state;
	put(file, 0, "one");
	put(file, PIECE, "two");
	assert_true(pfs_sim_pending(sim) > 0);
	pfs_sim_settle(sim);
	assert_int_equal(pfs_sim_pending(sim), 0);
	image = pfs_sim_crash_index(sim, 0);
	assert_string_equal(text_in(image, "f", PIECE), "two");
	assert_true(pfs_sim_hash(image) == pfs_sim_hash(sim));
	pfs_sim_free(image);
	put(file, 0, "new");
	image = pfs_sim_crash_index(sim, 0);
	assert_string_equal(text_in(image, "f", 0), "one");
	pfs_sim_free(image);
	file->ops->close(file);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_synced_survives),
		cmocka_unit_test(every_combination_of_pieces_is_met),
		cmocka_unit_test(states_between_are_met),
		cmocka_unit_test(lengths_are_undecided),
		cmocka_unit_test(names_are_undecided),
		cmocka_unit_test(changes_of_a_name_keep_their_order),
		cmocka_unit_test(bytes_beyond_the_length_are_gone),
		cmocka_unit_test(name_and_bytes_are_synced_apart),
		cmocka_unit_test(killing_keeps_everything_undecided),
		cmocka_unit_test(equal_disks_have_equal_hashes),
		cmocka_unit_test(settling_makes_everything_durable),
	};

	return cmocka_run_group_tests_name("sim_crash", tests, NULL, NULL);
}
