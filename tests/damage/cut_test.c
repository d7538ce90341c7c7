/* Files of a store cut at any length, missing, and with sectors that are zeros or another page's.
 */
#include "tests/damage/damage.h"

#define SECTOR 512u
#define COUNTS_MAX 16
#define WRITE_STEP 29
#define LENGTH_STEP 16 /* lengths of larger files that are taken */
#define QUICK_STEP 25  /* of these, in a quick run */

static struct damage_world closed, killed;

static int make_worlds(void **state)
{
	(void)state;
	damage_keep_memory();
	damage_worlds(&closed, &killed);
	return 0;
}

static int free_worlds(void **state)
{
	(void)state;
	damage_world_free(&closed);
	damage_world_free(&killed);
	return 0;
}

static const char *kind_of(const char *name, const struct damage_world *w)
{
	if (strncmp(name, "page-", 5) == 0)
		return "page";
	if (strcmp(name, w->segment) == 0)
		return "journal";
	if (strncmp(name, "journal-", 8) == 0)
		return "other journal";
	if (damage_is_dict(name))
		return "dictionary";
	return name;
}

static struct damage_count *count_of(struct damage_count *counts, const char *kind)
{
	size_t i = 0;

	while (i < COUNTS_MAX && counts[i].what[0] && strcmp(counts[i].what, kind) != 0)
		i++;
	assert_true(i < COUNTS_MAX);
	snprintf(counts[i].what, sizeof(counts[i].what), "%s", kind);
	return &counts[i];
}

/* The files of a store, whose names may change meanwhile. */
static size_t list(const struct damage_world *w, char names[32][64])
{
	const struct sim_names *all =
		&sim_node_find((struct pfs_sim *)(uintptr_t)w->sim, DAMAGE_STORE)->names;

	assert_true(all->count <= 32);
	for (size_t i = 0; i < all->count; i++)
		snprintf(names[i], 64, "%s", all->at[i].text);
	return all->count;
}

static unsigned checks(uint64_t number)
{
	return DAMAGE_CHECK | (number % WRITE_STEP ? 0 : DAMAGE_WRITE);
}

/* ---- lengths ---- */

static bool is_interesting(const struct damage_world *w, const char *name, uint64_t len,
			   uint64_t size)
{
	uint64_t used = w->record_count ? w->records[w->record_count - 1].end : 0;

	if (strcmp(name, "reserve") == 0)
		return len % 65536 == 0;
	if (damage_is_dict(name))
		return len % 65536 == 0 || (damage_in_dict(w, name, len) && len % LENGTH_STEP == 0);
	if (strncmp(name, "journal-", 8) != 0)
		return len <= 4200 || len + 4200 > size || len % LENGTH_STEP == 0;
	if (strcmp(name, w->segment) != 0)
		return len % 65536 == 0 || (len <= 4200 && len % 32 == 0);
	return (len < used + 100 && (len % LENGTH_STEP == 0 || len > used - 300)) ||
	       len % 65536 == 0 || len + 2 > size;
}

static void cut_file(const struct damage_world *w, const char *name, struct damage_count *count)
{
	uint64_t size = damage_file(w->sim, name)->len, number = 0;

	for (uint64_t len = 0; len < size; len++) {
		struct damage damage = {DAMAGE_CUT, name, len, size, 0, NULL};

		if (!is_interesting(w, name, len, size))
			continue;
		number++;
		if (len > 80 && !damage_sampled(number, QUICK_STEP))
			continue;
		damage_look(w, &damage, checks(number), count);
	}
}

static void cut_all(const struct damage_world *w)
{
	struct damage_count counts[COUNTS_MAX] = {{.cases = 0}};
	char names[32][64];
	size_t n = list(w, names);

	for (size_t i = 0; i < n; i++)
		cut_file(w, names[i], count_of(counts, kind_of(names[i], w)));
	print_message("%s store: a file ends early\n", w->name);
	damage_print(counts, COUNTS_MAX);
	damage_expect(counts, COUNTS_MAX);
}

/* Proves: wherever a file of a closed store ends, what is missing gives errors and nothing else. */
static void short_files_of_a_closed_store(void **state)
{
	(void)state;
	cut_all(&closed);
}

/* Proves: the same of a killed one; a journal that ends early is not taken for a tail. */
static void short_files_of_a_killed_store(void **state)
{
	(void)state;
	cut_all(&killed);
}

/* ---- missing files ---- */

/* A dictionary of which no copy is whole serves no better than none. */
static void spoil_both_copies(const struct damage_world *w, const char *name,
			      struct damage_count *count)
{
	static const uint8_t zeros[PFS_DICT_STRIDE + SECTOR];
	struct damage damage = {.kind = DAMAGE_BYTES,
				.file = name,
				.from = 100,
				.to = 100 + sizeof(zeros),
				.bytes = zeros};

	damage_look(w, &damage, DAMAGE_CHECK | DAMAGE_NAMED | DAMAGE_WRITE, count);
}

static void miss_all(const struct damage_world *w)
{
	struct damage_count counts[COUNTS_MAX] = {{.cases = 0}};
	char names[32][64];
	size_t n = list(w, names);
	unsigned users = 0;

	for (size_t i = 0; i < n; i++) {
		struct damage damage = {.kind = DAMAGE_GONE, .file = names[i]};
		struct damage_count *count = count_of(counts, kind_of(names[i], w));

		if (damage_is_dict(names[i]))
			users += damage_dict_users(w, names[i]);
		damage_look(w, &damage, DAMAGE_CHECK | DAMAGE_WRITE, count);
		if (damage_is_dict(names[i]))
			spoil_both_copies(w, names[i], count);
	}
	print_message("%s store: a file is missing\n", w->name);
	damage_print(counts, COUNTS_MAX);
	damage_expect(counts, COUNTS_MAX);
	/* What holds nothing is not missed. */
	assert_int_equal(count_of(counts, PFS_LOCK_NAME)->error, 0);
	assert_int_equal(count_of(counts, PFS_INDEX_NAME)->error, 0);
	assert_int_equal(count_of(counts, "other journal")->error, 0);
	assert_int_equal(count_of(counts, PFS_SUPER_NAME)->refused, 1);
	/* Exactly what is packed with a dictionary needs it. */
	assert_true(users >= 8);
	assert_int_equal(count_of(counts, "dictionary")->error, 2 * users);
	if (w->record_count)
		assert_int_equal(count_of(counts, "journal")->refused, 1);
}

/* Proves: a missing page or segment is known to be missing, with an index and without; other files
 * are not needed. */
static void missing_files(void **state)
{
	(void)state;
	miss_all(&closed);
	miss_all(&killed);
}

/* ---- sectors ---- */

/* Zeroes a sector, or puts that of `other` there. What hits the slots of a killed store may make
 * documents look as if they had never been, and counts as untold (FORMAT.md, "Limits"). */
static void spoil_file(const struct damage_world *w, const char *name,
		       const struct sim_inode *other, struct damage_count *count)
{
	static const uint8_t zeros[SECTOR];
	uint64_t size = damage_file(w->sim, name)->len;

	for (uint64_t off = 0; off < size; off += SECTOR) {
		struct damage damage = {.kind = DAMAGE_BYTES,
					.file = name,
					.from = off,
					.to = pfs_min_u64(off + SECTOR, size),
					.bytes = other ? other->bytes + off : zeros};

		if (strncmp(name, "journal-", 8) == 0 && off > 128 * 1024)
			break;
		if (off >= 4096 && !damage_sampled(off / SECTOR, 4))
			continue;
		damage_look(w, &damage, checks(off / SECTOR) | DAMAGE_UNTOLD, count);
	}
}

static void spoil_all(const struct damage_world *w, bool swap)
{
	struct damage_count counts[COUNTS_MAX] = {{.cases = 0}};
	char names[32][64];
	size_t n = list(w, names), pages = 0;
	uint64_t untold = 0;

	for (size_t i = 0; i < n; i++) {
		const char *page =
			strcmp(names[i], "page-00000001") ? "page-00000001" : "page-00000002";
		bool is_page = strncmp(names[i], "page-", 5) == 0;

		pages += is_page;
		if (!swap || is_page)
			spoil_file(w, names[i], swap ? damage_file(w->sim, page) : NULL,
				   count_of(counts, kind_of(names[i], w)));
	}
	assert_true(pages >= 3);
	print_message("%s store: a sector is %s\n", w->name, swap ? "another page's" : "all zeros");
	damage_print(counts, COUNTS_MAX);
	damage_expect(counts, COUNTS_MAX);
	for (size_t i = 0; i < COUNTS_MAX; i++)
		untold += counts[i].untold;
	/* With an index everything is told. */
	assert_true(untold == 0 || w == &killed);
}

/* Proves: a sector of zeros, or of another page, never shows wrong bytes. */
static void spoilt_sectors(void **state)
{
	(void)state;
	for (unsigned swap = 0; swap < 2; swap++) {
		spoil_all(&closed, swap);
		spoil_all(&killed, swap);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(short_files_of_a_closed_store),
		cmocka_unit_test(short_files_of_a_killed_store),
		cmocka_unit_test(missing_files),
		cmocka_unit_test(spoilt_sectors),
	};

	return cmocka_run_group_tests_name("cut", tests, make_worlds, free_worlds);
}
