/* Every single bit of every file of a store turned, one at a time: after a clean close, and as a
 * kill leaves it with its last changes in the journal.
 *
 * `make test` takes all bits of superblock, headers and slots, and a sample of the rest;
 * DAMAGE_FULL=1 (`make check-damage`) takes all, but of what a journal segment does not use, whose
 * first 4 KiB are taken, and then one bit in SPARSE. DAMAGE_PART=1/2 and 2/2 share that. */
#include "tests/damage/damage.h"

#define SPARSE 4001 /* bits */
#define KINDS_MAX 32
#define WRITE_STEP 97

/* A part of a file, and how many of its bits a quick run leaves out. */
struct part {
	char file[32];
	const char *kind;
	uint64_t from, to;
	uint64_t step;	    /* of a quick run */
	uint64_t full_step; /* of a full one: 1 */
};

struct parts {
	struct part at[256];
	size_t count;
};

static void add(struct parts *parts, const char *file, const char *kind, uint64_t from, uint64_t to,
		uint64_t step, uint64_t full_step)
{
	struct part *p = &parts->at[parts->count++];

	assert_true(parts->count < pfs_array_len(parts->at));
	*p = (struct part){
		.kind = kind, .from = from, .to = to, .step = step, .full_step = full_step};
	snprintf(p->file, sizeof(p->file), "%s", file);
}

static void add_page(struct parts *parts, const char *name, const struct sim_inode *inode)
{
	const struct pfs_page_disk *head = (const struct pfs_page_disk *)inode->bytes;
	uint64_t slots = PFS_PAGE_HEADER_LEN + pfs_get_le32(head->slot_count.b) * PFS_SLOT_LEN;
	uint64_t floor = pfs_get_le32(head->floor.b);

	add(parts, name, "page header", 0, PFS_PAGE_HEADER_LEN, 1, 1);
	add(parts, name, "page slots", PFS_PAGE_HEADER_LEN, slots, 1, 1);
	add(parts, name, "page gap", slots, floor, 500, 1);
	add(parts, name, "page containers", floor, inode->len - PFS_PAGE_TRAILER_LEN, 700, 1);
	add(parts, name, "page header copy", inode->len - PFS_PAGE_TRAILER_LEN, inode->len, 1, 1);
}

static void add_segment(struct parts *parts, const struct damage_world *w, const char *name,
			const struct sim_inode *inode)
{
	bool live = strcmp(name, w->segment) == 0;
	uint64_t used = live ? w->records[w->record_count - 1].end : PFS_SEGMENT_DATA;

	add(parts, name, live ? "journal header" : "other journal header", 0, PFS_SEGMENT_DATA,
	    live ? 16 : 64, 1);
	add(parts, name, "journal records", PFS_SEGMENT_DATA, used, 30, 1);
	add(parts, name, live ? "journal behind" : "other journal", used, used + 4096, 300, 1);
	add(parts, name, "journal unused", used + 4096, inode->len, 400000, SPARSE);
}

static void add_dict(struct parts *parts, const char *name, const struct sim_inode *inode)
{
	for (uint64_t at = 0; at < inode->len; at += PFS_DICT_STRIDE) {
		uint64_t bytes = at + PFS_DICT_HEADER_LEN;
		uint64_t end = at + inode->len - PFS_DICT_STRIDE;

		add(parts, name, "dictionary header", at, bytes, 8, 1);
		add(parts, name, "dictionary", bytes, end, 200, 1);
		if (at == 0)
			add(parts, name, "dictionary gap", end, PFS_DICT_STRIDE, 100000, SPARSE);
	}
}

static void find_parts(struct parts *parts, const struct damage_world *w)
{
	const struct sim_names *names =
		&sim_node_find((struct pfs_sim *)(uintptr_t)w->sim, DAMAGE_STORE)->names;

	*parts = (struct parts){.count = 0};
	for (size_t i = 0; i < names->count; i++) {
		const char *name = names->at[i].text;
		const struct sim_inode *inode = names->at[i].inode;

		if (strcmp(name, PFS_SUPER_NAME) == 0) {
			add(parts, name, "superblock", 0, 256, 1, 1);
			add(parts, name, "superblock", 4096, 4096 + 256, 1, 1);
			add(parts, name, "superblock between", 256, 4096, 400, 1);
		} else if (strncmp(name, "page-", 5) == 0) {
			add_page(parts, name, inode);
		} else if (strncmp(name, "journal-", 8) == 0) {
			add_segment(parts, w, name, inode);
		} else if (damage_is_dict(name)) {
			add_dict(parts, name, inode);
		} else if (strcmp(name, PFS_INDEX_NAME) == 0) {
			add(parts, name, "index", 0, inode->len, 4, 1);
		} else {
			add(parts, name, "other files", 0, inode->len, 200000, SPARSE);
		}
	}
}

static struct damage_count *count_of(struct damage_count *counts, size_t *n, const char *kind)
{
	for (size_t i = 0; i < *n; i++) {
		if (strcmp(counts[i].what, kind) == 0)
			return &counts[i];
	}
	assert_true(*n < KINDS_MAX);
	snprintf(counts[*n].what, sizeof(counts[*n].what), "%s", kind);
	return &counts[(*n)++];
}

static void flip_part(const struct damage_world *w, const struct part *p,
		      struct damage_count *count)
{
	static uint64_t flips;

	for (uint64_t bit = 8 * p->from; bit < 8 * p->to; bit++) {
		struct damage damage = {
			DAMAGE_BIT, p->file, bit / 8, bit / 8 + 1, (uint8_t)(1u << (bit % 8)),
			NULL};
		uint64_t number = bit + pfs_mix64(p->file[strlen(p->file) - 1]);
		unsigned checks = damage_full() && bit % 64 ? DAMAGE_CHECK_ERRORS : DAMAGE_CHECK;

		if (!damage_sampled(number, p->step) ||
		    (p->full_step > 1 && pfs_mix64(bit) % p->full_step))
			continue;
		if (damage_is_dict(p->file))
			checks = DAMAGE_CHECK | DAMAGE_NAMED;
		if (flips++ % WRITE_STEP == 0)
			checks |= DAMAGE_WRITE;
		damage_look(w, &damage, checks, count);
	}
}

static void flip_all(const struct damage_world *w)
{
	struct damage_count counts[KINDS_MAX] = {{.cases = 0}};
	struct parts *parts = malloc(sizeof(*parts));
	struct damage none = {.file = "nothing"};
	struct damage_count whole = {.what = "nothing"};
	size_t n = 0;

	damage_look(w, &none, DAMAGE_CHECK | DAMAGE_WRITE, &whole);
	assert_int_equal(whole.right, w->count);
	find_parts(parts, w);
	for (size_t i = 0; i < parts->count; i++)
		flip_part(w, &parts->at[i], count_of(counts, &n, parts->at[i].kind));
	free(parts);
	print_message("%s store: one bit\n", w->name);
	damage_print(counts, n);
	damage_expect(counts, n);
	/* There are two of each, so that one bit of a dictionary takes nothing away. */
	assert_int_equal(count_of(counts, &n, "dictionary header")->error, 0);
	assert_int_equal(count_of(counts, &n, "dictionary")->error, 0);
}

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

/* Proves G5 for one wrong bit anywhere in a store that was closed: every document is right or an
 * error, the check says which, and what is written afterwards does not spread the damage. */
static void one_bit_of_a_closed_store(void **state)
{
	(void)state;
	flip_all(&closed);
}

/* Proves the same for a store that was killed, whose index is rebuilt and whose journal is
 * replayed.
 */
static void one_bit_of_a_killed_store(void **state)
{
	(void)state;
	flip_all(&killed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_bit_of_a_closed_store),
		cmocka_unit_test(one_bit_of_a_killed_store),
	};

	return cmocka_run_group_tests_name("flip", tests, make_worlds, free_worlds);
}
