/* Damage of every kind to a store of which every document is known, and then a repair: the check
 * finds nothing any more, what could be reached is there with its right bytes, and what is gone was
 * named or counted. */
#include "tests/damage/damage.h"

#define SECTOR 512u
#define SLOTS_END 1100 /* of a page, about */
#define SLOT_STEP 120
#define FIT_STEP 12000 /* bits of which one is taken in a quick run */
#define TOLD_MAX 512

static struct damage_world closed, killed;

static void ignore_log(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

static const struct pfs_logger quiet = {.fn = ignore_log};

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

struct told {
	struct pfs_key keys[TOLD_MAX];
	size_t count;
};

static void keep_told(void *arg, const struct pfs_finding *finding)
{
	struct told *told = arg;

	if (finding->key.kind != PFS_KEY_NONE && told->count < TOLD_MAX)
		told->keys[told->count++] = finding->key;
}

static bool was_told(const struct told *told, const struct pfs_key *key)
{
	for (size_t i = 0; i < told->count; i++) {
		if (pfs_key_equal(&told->keys[i], key))
			return true;
	}
	return false;
}

static void fail_at(const struct damage_world *w, const struct damage *d, const struct pfs_key *key,
		    const char *what)
{
	char text[PFS_NAME_MAX + 1] = "";

	if (key)
		pfs_key_format(text, key);
	fail_msg("%s store, %s [%llu, %llu) kind %d: %s: %s", w->name, d->file,
		 (unsigned long long)d->from, (unsigned long long)d->to, d->kind, text, what);
}

/* What can be read, as a bit for each document of which the bytes are right. */
static bool read_all(const struct damage_world *w, struct pfs_sim *sim, bool right[], bool wrong[])
{
	struct pfs_open_options options = {
		.manual = true, .read_only = true, .io = pfs_sim_io(sim), .logger = quiet};
	struct pfs_reason reason;
	struct pfs_store *store;

	memset(right, 0, DAMAGE_DOCS_MAX * sizeof(*right));
	memset(wrong, 0, DAMAGE_DOCS_MAX * sizeof(*wrong));
	if (pfs_store_open(&store, DAMAGE_STORE, &options, &reason) != 0)
		return false;
	for (size_t i = 0; i < w->count; i++) {
		const struct damage_doc *doc = &w->docs[i];
		const struct damage_state *now = &doc->states[doc->count - 1];
		void *bytes;
		size_t len;
		int err = pfs_get(store, &doc->key, &bytes, &len, NULL);

		right[i] = now->there ? err == 0 && len == now->attr.size &&
						memcmp(bytes, now->bytes, len) == 0
				      : err == -ENOENT;
		wrong[i] = now->there ? err == 0 && !right[i] : err == 0;
		free(bytes);
	}
	assert_int_equal(pfs_store_close(store), 0);
	return true;
}

static void repair_one(const struct damage_world *w, const struct damage *damage,
		       struct damage_count *count, bool exact)
{
	bool before[DAMAGE_DOCS_MAX], after[DAMAGE_DOCS_MAX], wrong[DAMAGE_DOCS_MAX];
	struct pfs_sim *image = pfs_sim_kill(w->sim);
	struct told *told = calloc(1, sizeof(*told));
	struct pfs_repair_result result;
	struct pfs_check_result found;
	struct pfs_reason reason;
	bool opened;
	int err;

	damage_apply(image, damage);
	opened = read_all(w, image, before, wrong);
	count->cases++;
	count->refused += !opened;
	err = pfs_repair(DAMAGE_STORE, pfs_sim_io(image), &quiet, keep_told, NULL, told, &result,
			 &reason);
	if (err)
		fail_at(w, damage, NULL, reason.text);
	err = pfs_check(DAMAGE_STORE, pfs_sim_io(image), &quiet, keep_told, NULL, told, &found,
			&reason);
	if (err || found.findings)
		fail_at(w, damage, NULL, "the check finds something after the repair");
	if (!read_all(w, image, after, wrong))
		fail_at(w, damage, NULL, "the store can't be opened after the repair");
	for (size_t i = 0; i < w->count; i++) {
		const struct damage_doc *doc = &w->docs[i];

		count->right += after[i];
		count->error += !after[i];
		count->repaired += after[i] && !before[i];
		if (opened && before[i] && !after[i])
			fail_at(w, damage, &doc->key, "was there before the repair");
		/* Of a journal whose records can't be told whose they were, the repair says so, and
		 * goes on with what there is. */
		if (wrong[i] && result.unknown == 0 && !was_told(told, &doc->key))
			fail_at(w, damage, &doc->key, "is another, and nobody said so");
		if (exact && !after[i] && result.unknown == 0 && !was_told(told, &doc->key))
			fail_at(w, damage, &doc->key, "is gone, and nobody said so");
	}
	free(told);
	pfs_sim_free(image);
}

static size_t list(const struct damage_world *w, char names[32][64])
{
	const struct sim_names *all =
		&sim_node_find((struct pfs_sim *)(uintptr_t)w->sim, DAMAGE_STORE)->names;

	assert_true(all->count <= 32);
	for (size_t i = 0; i < all->count; i++)
		snprintf(names[i], 64, "%s", all->at[i].text);
	return all->count;
}

/* Bytes of a file that anything depends on. */
static uint64_t used_of(const struct damage_world *w, const char *name)
{
	if (strcmp(name, w->segment) == 0)
		return w->records[w->record_count - 1].off;
	if (strncmp(name, "journal-", 8) == 0)
		return 4096;
	return strcmp(name, "reserve") ? damage_file(w->sim, name)->len : 0;
}

static void repair_all(const struct damage_world *w)
{
	static const uint8_t zeros[SECTOR];
	struct damage_count counts[4] = {{.what = "a bit"},
					 {.what = "a file that ends early"},
					 {.what = "a missing file"},
					 {.what = "a sector of zeros"}};
	char names[32][64];
	size_t n = list(w, names);
	bool full = damage_full();

	for (size_t i = 0; i < n; i++) {
		uint64_t used = used_of(w, names[i]), size = damage_file(w->sim, names[i])->len;
		uint64_t step = strncmp(names[i], "page-", 5) ? FIT_STEP / 16 : FIT_STEP;

		for (uint64_t bit = 0; bit < 8 * used; bit++) {
			struct damage d = {DAMAGE_BIT,
					   names[i],
					   bit / 8,
					   bit / 8 + 1,
					   (uint8_t)(1u << (bit % 8)),
					   NULL};

			if (damage_is_dict(names[i]) && !damage_in_dict(w, names[i], bit / 8))
				continue;
			if (full ? pfs_mix64(bit) % 64 == 0 && damage_mine(pfs_mix64(bit) / 64)
				 : pfs_mix64(bit + i) % (bit < 8 * SLOTS_END ? SLOT_STEP : step) ==
					    0)
				repair_one(w, &d, &counts[0], true);
		}
		for (uint64_t len = 0; len < used; len += 1 + pfs_mix64(len) % (used / 4 + 1)) {
			struct damage d = {DAMAGE_CUT, names[i], len, size, 0, NULL};

			repair_one(w, &d, &counts[1], true);
		}
		if (strcmp(names[i], PFS_SUPER_NAME) != 0) {
			struct damage d = {.kind = DAMAGE_GONE, .file = names[i]};

			repair_one(w, &d, &counts[2], true);
		}
		for (uint64_t off = 0; off + SECTOR <= used; off += SECTOR) {
			struct damage d = {DAMAGE_BYTES, names[i], off, off + SECTOR, 0, zeros};

			if (off < 2048 || damage_sampled(off / SECTOR, 24))
				repair_one(w, &d, &counts[3], false);
		}
	}
	print_message("%s store, repaired\n", w->name);
	damage_print(counts, pfs_array_len(counts));
	for (size_t i = 0; i < pfs_array_len(counts); i++)
		print_message("%s: %llu documents came back\n", counts[i].what,
			      (unsigned long long)counts[i].repaired);
	assert_true(counts[0].repaired > 0);
}

/* Proves: whatever happens to one file of a closed store, after a repair the check finds nothing,
 * nothing that could be read is gone, and what is gone was named or counted. */
static void repairs_of_a_closed_store(void **state)
{
	(void)state;
	repair_all(&closed);
}

/* Proves: the same of a killed one, with its journal. */
static void repairs_of_a_killed_store(void **state)
{
	(void)state;
	repair_all(&killed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(repairs_of_a_closed_store),
		cmocka_unit_test(repairs_of_a_killed_store),
	};

	return cmocka_run_group_tests_name("repair", tests, make_worlds, free_worlds);
}
