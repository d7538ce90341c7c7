/* C1 to C6 of the rules that keep documents safe (DESIGN, C1 to C11): one test for each, named
 * after it and directed at it. It fails when that rule is broken, and says by its name which one it
 * was; what else a broken rule leads to, the power-cut tests show. */
#include <stdlib.h>

#include "tests/fault/box.h"

/* ---- records of the journal ---- */

/* Name of the segment with the highest number in the sim, and its header. */
static void newest_segment(struct pfs_sim *sim, char name[24], struct pfs_segment_disk *out)
{
	uint64_t highest = 0;

	for (unsigned i = 0; i < 16; i++) {
		const struct pfs_io *io = pfs_sim_io(sim);
		struct pfs_segment_disk disk;
		struct pfs_dir *dir;
		struct pfs_file *file;
		char at[24];

		snprintf(at, sizeof(at), PFS_SEGMENT_NAME_FMT, i);
		assert_int_equal(io->ops->open_dir(io, STORE, 0, &dir), 0);
		if (dir->ops->open(dir, at, 0, &file) == 0) {
			assert_int_equal(file->ops->read(file, &disk, sizeof(disk), 0),
					 sizeof(disk));
			file->ops->close(file);
			if (pfs_get_le64(disk.number.b) > highest) {
				highest = pfs_get_le64(disk.number.b);
				snprintf(name, 24, "%s", at);
				*out = disk;
			}
		}
		dir->ops->close_dir(dir);
	}
	assert_true(highest > 0);
}

/* The record with this sequence in a segment's file: its offset, and *len; 0: there is none. */
static uint64_t find_record(struct pfs_sim *sim, const char *name, uint64_t seq, size_t *len)
{
	struct pfs_record_disk head;

	for (uint64_t off = PFS_SEGMENT_DATA;; off += *len) {
		read_at(sim, name, off, &head, sizeof(head));
		*len = pfs_get_le32(head.len.b);
		if (*len == 0)
			return 0;
		if (pfs_get_le64(head.seq.b) == seq)
			return off;
	}
}

/* Flips a bit in the record that is so many before the last, or wipes its body with all that it
 * says of whom it is about; dies, and opens. */
static struct pfs_sim *damage_and_open(struct box *b, uint64_t back, struct pfs_store **store)
{
	struct pfs_sim *image = killed(b);
	struct pfs_segment_disk segment;
	uint64_t off, seq = stat_of(b).sequence;
	char name[24];
	size_t len;

	newest_segment(image, name, &segment);
	off = find_record(image, name, seq - back, &len);
	assert_true(off != 0);
	flip_bit(image, name, off + len - 9, 3);
	*store = open_store(image);
	return image;
}

/* ---- C1 ---- */

static void expect_either_mode(struct pfs_store *store, size_t i)
{
	(void)i;
	assert_true(is(store, 1, 3000, 3));
	assert_true(mode_of(store, 1) == 0644 || mode_of(store, 1) == 0600);
}

/* Proves: what the journal holds only a part of (new attributes) goes to another place, so that a
 * torn write can't hit the one whole copy; what it holds whole goes in place. */
static void c1_in_place_only_with_the_whole_image_in_the_journal(void **state)
{
	struct box *b = box_new();
	struct pfs_place first, second, third;

	(void)state;
	put_id(b, 1, 3000, 3);
	set_mode(b->store, 1, 0600);
	checkpoint(b);
	first = place(b, 1);
	/* The default mode takes no bytes, so that the place would do. */
	set_mode(b->store, 1, 0644);
	b->torn = 1;
	watch(b, true);
	checkpoint(b);
	unwatch(b);
	second = place(b, 1);
	assert_true(second.offset != first.offset || second.page != first.page);
	each_image(b, expect_either_mode);
	put_id(b, 1, 3000, 5);
	checkpoint(b);
	third = place(b, 1);
	assert_true(third.page == second.page && third.slot == second.slot);
	box_free(b);
}

/* ---- C2 ---- */

static bool overlap(const struct pfs_place *a, const struct pfs_place *b)
{
	return a->page == b->page && a->offset < b->offset + b->container_len &&
	       b->offset < a->offset + a->container_len;
}

/* Proves: the space of a removed document is nobody's until the slot change that freed it is
 * synced, and is used afterwards. */
static void c2_freed_space_rests_until_its_tombstone_is_synced(void **state)
{
	struct box *b = box_new();
	struct pfs_key key = pfs_key_num(1);
	struct pfs_place freed, now;

	(void)state;
	put_id(b, 1, 3000, 3);
	put_id(b, 2, 3000, 5);
	checkpoint(b);
	freed = place(b, 1);
	assert_int_equal(pfs_remove(b->store, &key, NULL), 0);
	put_id(b, 3, 2900, 7);
	checkpoint(b);
	now = place(b, 3);
	assert_true(now.slot != freed.slot && !overlap(&now, &freed));
	put_id(b, 4, 2900, 9);
	checkpoint(b);
	now = place(b, 4);
	assert_true(now.slot == freed.slot && overlap(&now, &freed));
	box_free(b);
}

#define MEANWHILE 100 /* ids of documents that are put while a checkpoint syncs */

struct putting {
	struct box *b;
	uint64_t count;
	bool declared; /* the last one was put at the sync of the journal's header */
};

static int put_at_syncs(void *arg, const struct pfs_sim_step *step)
{
	struct putting *p = arg;

	bool of_page = strncmp(step->name, "page-", 5) == 0;
	bool of_journal = strncmp(step->name, "journal-", 8) == 0;

	/* The syncs of the journal before those of pages are done by somebody who holds a lock. */
	if (step->kind != PFS_SIM_SYNC || !(of_page || (of_journal && p->count)))
		return 0;
	put_id(p->b, MEANWHILE + p->count++, 2900, 11);
	p->declared = of_journal;
	return 0;
}

/* Proves: until the last sync of a checkpoint, that of the journal's header which calls the records
 * dead, nobody who writes meanwhile is given what the checkpoint frees; afterwards it is free. */
static void c2_freed_space_rests_until_the_journal_says_so(void **state)
{
	struct box *b = box_new();
	struct putting p = {.b = b};
	struct pfs_key key = pfs_key_num(1);
	struct pfs_place freed, now;

	(void)state;
	put_id(b, 1, 3000, 3);
	put_id(b, 2, 3000, 5);
	checkpoint(b);
	freed = place(b, 1);
	assert_int_equal(pfs_remove(b->store, &key, NULL), 0);
	put_id(b, 3, 100, 7); /* something to be written */
	pfs_sim_on_step(b->sim, put_at_syncs, &p);
	checkpoint(b);
	unwatch(b);
	assert_true(p.count >= 3 && p.declared);
	checkpoint(b);
	for (uint64_t i = 0; i < p.count; i++) {
		now = place(b, MEANWHILE + i);
		assert_true(now.slot != freed.slot && !overlap(&now, &freed));
	}
	put_id(b, 4, 2900, 9);
	checkpoint(b);
	now = place(b, 4);
	assert_true(now.slot == freed.slot && overlap(&now, &freed));
	box_free(b);
}

/* ---- C3 ---- */

/* Proves: segments die first in, first out: as long as the oldest is needed by a document under
 * heavy writing, the later ones stay, too, and a kill shows everything. */
static void c3_segments_die_first_in_first_out(void **state)
{
	struct box *b = box_new();
	struct pfs_store *store;
	struct pfs_sim *image;
	uint8_t byte = 'x';

	(void)state;
	put_id(b, 1, 200000, 3);
	checkpoint(b);
	/* A stage, which a checkpoint leaves out while it is being written. */
	assert_int_equal(pfs_write(b->store, object_of(b->store, 1), 100000, &byte, 1, 1), 0);
	for (uint64_t i = 0; i < 8; i++)
		put_id(b, 10 + i, 900000, 2 * i + 1);
	assert_true(stat_of(b).journal_bytes >= 8 * PFS_MIB);
	/* However long that took. */
	assert_int_equal(pfs_write(b->store, object_of(b->store, 1), 150000, &byte, 1, 1), 0);
	checkpoint(b);
	assert_true(stat_of(b).journal_bytes >= 8 * PFS_MIB);
	image = killed(b);
	store = open_store(image);
	assert_int_equal(pfs_read(store, object_of(store, 1), 100000, &byte, 1), 1);
	assert_int_equal(byte, 'x');
	for (uint64_t i = 0; i < 8; i++)
		assert_true(is(store, 10 + i, 900000, 2 * i + 1));
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(image);
	/* Once it has its place they go. */
	assert_int_equal(pfs_store_close(b->store), 0);
	box_open(b);
	assert_true(stat_of(b).journal_bytes < 8 * PFS_MIB);
	box_free(b);
}

static bool c3_first_name_is_old; /* what the images before showed */

static void expect_one_move(struct pfs_store *store, size_t i)
{
	bool old = is(store, 1, 300, 3) && is(store, 2, 400, 5) && is(store, 3, 500, 7) &&
		   is(store, 5, 600, 9) && is(store, 6, 700, 11);
	bool new = is(store, 1, 400, 5) && is(store, 2, 300, 3) && is(store, 4, 500, 7) &&
		   is(store, 6, 600, 9) &&
		   get_error(store, 3) == -ENOENT &&get_error(store, 5) == -ENOENT;

	(void)i;
	assert_true(old || new);
	c3_first_name_is_old = old;
}

/* Proves: an exchange and a rename, to a free name or over another, are one record each, that name
 * their documents by what they are and not by where they are: at no step of the checkpoint that
 * moves them does a cut show a half of one, or another document. */
static void c3_a_rename_is_one_record(void **state)
{
	struct pfs_key one = pfs_key_num(1), two = pfs_key_num(2), three = pfs_key_num(3),
		       four = pfs_key_num(4), five = pfs_key_num(5), six = pfs_key_num(6);
	struct box *b = box_new();
	uint64_t records;

	(void)state;
	put_id(b, 1, 300, 3);
	put_id(b, 2, 400, 5);
	put_id(b, 3, 500, 7);
	put_id(b, 5, 600, 9);
	put_id(b, 6, 700, 11);
	checkpoint(b);
	records = stat_of(b).records;
	assert_int_equal(pfs_rename(b->store, &one, &two, PFS_RENAME_EXCHANGE, NULL), 0);
	assert_int_equal(stat_of(b).records, records + 1);
	assert_int_equal(pfs_rename(b->store, &three, &four, 0, NULL), 0);
	assert_int_equal(stat_of(b).records, records + 2);
	assert_int_equal(pfs_rename(b->store, &five, &six, 0, NULL), 0);
	assert_int_equal(stat_of(b).records, records + 3);
	assert_int_equal(pfs_sync(b->store), 0);
	watch(b, true);
	checkpoint(b);
	unwatch(b);
	each_image(b, expect_one_move);
	assert_false(c3_first_name_is_old);
	box_free(b);
}

/* Proves: a change is made to the version that it names: where the record of that one is damaged,
 * it is not made to the version before, whose older bytes would come back. */
static void c3_a_change_is_made_to_its_base_alone(void **state)
{
	struct box *b = box_new();
	struct pfs_store *store;
	struct pfs_sim *image;

	(void)state;
	put_id(b, 1, 3000, 3);
	checkpoint(b);
	put_id(b, 1, 3000, 5);
	set_mode(b->store, 1, 0600);
	assert_int_equal(pfs_sync(b->store), 0);
	put_id(b, 2, 100, 7);
	image = damage_and_open(b, 2, &store);
	assert_int_equal(get_error(store, 1), -EIO);
	assert_true(is(store, 2, 100, 7));
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(image);
	box_free(b);
}

/* ---- C4 ---- */

/* Proves: another change than a write first logs the truncation that is held; a write takes its
 * place; a document that was made is one record with its first write. */
static void c4_what_is_held_is_logged_before_other_changes(void **state)
{
	struct box *b = box_new();
	struct pfs_key made = pfs_key_num(9);
	struct pfs_attr attr = {.mode = 0644};
	struct pfs_store *store;
	struct pfs_sim *image;
	uint64_t records;
	uint32_t object;

	(void)state;
	put_id(b, 1, 3000, 3);
	empty(b->store, 1);
	image = killed(b);
	store = open_store(image);
	assert_true(is(store, 1, 3000, 3)); /* held */
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(image);
	records = stat_of(b).records;
	set_mode(b->store, 1, 0600);
	assert_int_equal(stat_of(b).records, records + 2);
	image = killed(b);
	store = open_store(image);
	assert_true(is(store, 1, 0, 0) && mode_of(store, 1) == 0600);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(image);

	records = stat_of(b).records;
	assert_int_equal(pfs_create(b->store, &made, &attr, &object), 0);
	image = killed(b);
	store = open_store(image);
	assert_int_equal(get_error(store, 9), -ENOENT);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(image);
	assert_int_equal(pfs_write(b->store, object, 0, "written", 7, 1), 0);
	assert_int_equal(stat_of(b).records, records + 1);
	box_free(b);
}

/* ---- C5 ---- */

/* Proves: a record is one only in its own segment and epoch: its bytes, put where another segment
 * expects that very sequence, are not taken for one. */
static void c5_a_record_is_bound_to_its_segment(void **state)
{
	struct box *b = box_new();
	struct pfs_sim *died = killed(b), *died_again, *wrote;
	struct pfs_segment_disk from, to;
	struct pfs_store *store = open_store(died);
	char from_name[24], to_name[24];
	uint8_t record[512];
	uint64_t off;
	size_t len;

	(void)state;
	/* One branch of the store's life puts documents, the other dies twice. */
	died_again = pfs_sim_kill(died);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(died);
	for (uint64_t i = 0; i < 6; i++)
		put_id(b, 7, 100, 3);
	wrote = killed(b);
	newest_segment(wrote, from_name, &from);
	newest_segment(died_again, to_name, &to);
	assert_true(pfs_get_le64(from.number.b) != pfs_get_le64(to.number.b));
	off = find_record(wrote, from_name, pfs_get_le64(to.first_seq.b), &len);
	assert_true(off != 0 && len <= sizeof(record));
	read_at(wrote, from_name, off, record, len);
	write_at(died_again, to_name, PFS_SEGMENT_DATA, record, len);
	store = open_store(died_again);
	assert_int_equal(get_error(store, 7), -ENOENT);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(died_again);
	pfs_sim_free(wrote);
	box_free(b);
}

/* Proves: what lies behind a record that does not verify is not replayed if that one may have been
 * cut off, not then and not after more was written; it is replayed if that one was durable, because
 * then it is damage and no cut. */
static void c5_nothing_is_appended_behind_a_torn_tail(void **state)
{
	struct box *b = box_new();
	struct pfs_store *store;
	struct pfs_sim *image, *second;

	(void)state;
	put_id(b, 1, 100, 3);
	put_id(b, 2, 100, 5);
	image = damage_and_open(b, 1, &store);
	assert_int_equal(get_error(store, 1), -ENOENT);
	assert_int_equal(get_error(store, 2), -ENOENT);
	put_document(store, &(struct pfs_key){.kind = PFS_KEY_NUM, .num = 3}, 100, 7);
	second = pfs_sim_kill(image);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(image);
	store = open_store(second);
	assert_true(is(store, 3, 100, 7));
	assert_int_equal(get_error(store, 2), -ENOENT);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(second);

	put_id(b, 4, 100, 9);
	assert_int_equal(pfs_sync(b->store), 0);
	put_id(b, 5, 100, 11);
	image = damage_and_open(b, 1, &store);
	assert_true(get_error(store, 4) != 0);
	assert_true(is(store, 5, 100, 11));
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(image);
	box_free(b);
}

/* ---- C6 ---- */

static int fail_syncs(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	return step->kind == PFS_SIM_SYNC ? -EIO : 0;
}

/* Proves: what a replay finds in the page cache is written and synced again before a page is
 * touched on the strength of it: the sync that was to bring it to the disk had failed. */
static void c6_replay_makes_durable_what_it_has_found(void **state)
{
	struct box *b = box_new(), *again = calloc(1, sizeof(*again));
	bool written = false, synced = false;
	size_t pages = 0;

	(void)state;
	put_id(b, 1, 3000, 3);
	checkpoint(b);
	put_id(b, 1, 3000, 5);
	pfs_sim_on_step(b->sim, fail_syncs, NULL);
	assert_int_equal(pfs_sync(b->store), -EROFS);
	again->sim = killed(b);
	watch(again, false);
	box_open(again);
	for (size_t i = 0; i < again->count; i++) {
		const struct step *s = &again->steps[i];

		/* The record lies behind the header, in the part that is written again. */
		written = written || (is_of(s, PFS_SIM_WRITE, "journal-") &&
				      s->off + s->len > PFS_SEGMENT_DATA);
		synced = synced || (written && is_of(s, PFS_SIM_SYNC, "journal-"));
		pages += is_of(s, PFS_SIM_WRITE, "page-");
		if (pages)
			assert_true(synced);
	}
	assert_true(pages > 0);
	assert_true(is(again->store, 1, 3000, 5));
	box_free(again);
	unwatch(b);
	assert_int_equal(pfs_store_close(b->store), -EROFS);
	pfs_sim_free(b->sim);
	free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(c1_in_place_only_with_the_whole_image_in_the_journal),
		cmocka_unit_test(c2_freed_space_rests_until_its_tombstone_is_synced),
		cmocka_unit_test(c2_freed_space_rests_until_the_journal_says_so),
		cmocka_unit_test(c3_segments_die_first_in_first_out),
		cmocka_unit_test(c3_a_rename_is_one_record),
		cmocka_unit_test(c3_a_change_is_made_to_its_base_alone),
		cmocka_unit_test(c4_what_is_held_is_logged_before_other_changes),
		cmocka_unit_test(c5_a_record_is_bound_to_its_segment),
		cmocka_unit_test(c5_nothing_is_appended_behind_a_torn_tail),
		cmocka_unit_test(c6_replay_makes_durable_what_it_has_found),
	};

	cmocka_set_test_filter(getenv("FAULT_TEST"));
	return cmocka_run_group_tests_name("rules", tests, NULL, NULL);
}
