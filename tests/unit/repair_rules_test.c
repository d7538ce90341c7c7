/* Repairing a store: what must be durable before a page is changed, and what is left alone. */
#include <limits.h>

#include "storage/crc.h"
#include "tests/unit/repair_helpers.h"

/* ---- the saved index ---- */

struct cut {
	struct pfs_sim *sim, *image;
};

/* Keeps what is durable when the first page is changed. */
static int cut_at_page(void *arg, const struct pfs_sim_step *step)
{
	struct cut *cut = arg;

	if (!cut->image && step->kind == PFS_SIM_WRITE && strncmp(step->name, "page-", 5) == 0)
		cut->image = pfs_sim_crash_index(cut->sim, 0);
	return 0;
}

/* Proves (R3): when a page is changed no saved index can come back, also where it was another
 * repair that has removed it, and was cut off. */
static void no_index_comes_back(void **state)
{
	(void)state;
	for (unsigned removed = 0; removed < 2; removed++) {
		struct cut cut = {.sim = docs_store()};
		struct pfs_place place = doc_place(cut.sim, 7);
		const struct pfs_io *io;
		struct pfs_file *file;
		struct pfs_dir *dir;

		flip_bit(cut.sim, page_name(place.page), pfs_slot_offset(place.slot) + 1, 3);
		pfs_sim_settle(cut.sim);
		if (removed)
			remove_file(cut.sim, PFS_INDEX_NAME);
		pfs_sim_on_step(cut.sim, cut_at_page, &cut);
		free(repair_all(cut.sim));
		pfs_sim_on_step(cut.sim, NULL, NULL);
		assert_non_null(cut.image);
		io = pfs_sim_io(cut.image);
		assert_int_equal(io->ops->open_dir(io, STORE, 0, &dir), 0);
		assert_int_equal(dir->ops->open(dir, PFS_INDEX_NAME, 0, &file), -ENOENT);
		dir->ops->close_dir(dir);
		pfs_sim_free(cut.image);
		pfs_sim_free(cut.sim);
	}
}

/* ---- containers that are smaller than the store's smallest ---- */

/* Proves: a slot whose length is too small, and wrong, is nothing to be repaired when the journal
 * puts its document anew; the page stays as it is. */
static void torn_slots_that_are_replaced_are_left_alone(void **state)
{
	struct pfs_sim *sim = docs_store(), *killed;
	struct pfs_place place = doc_place(sim, 7);
	struct pfs_store *store = open_store(sim);
	struct pfs_slot_disk disk;
	struct pfs_slot slot;
	struct repaired *done;
	struct found *found;

	(void)state;
	put_doc(store, 7);
	assert_int_equal(pfs_sync(store), 0);
	killed = pfs_sim_kill(sim);
	assert_int_equal(pfs_store_close(store), 0);
	read_at(killed, page_name(place.page), pfs_slot_offset(place.slot), &disk, sizeof(disk));
	assert_int_equal(pfs_slot_decode(&slot, &disk, PFS_PAGE_HEADER_LEN, PFS_PAGE_SIZE_MIN), 0);
	slot.len = 40;
	pfs_slot_encode(&disk, &slot);
	write_at(killed, page_name(place.page), pfs_slot_offset(place.slot), &disk, sizeof(disk));
	found = check_store(killed);
	assert_int_equal(found->fatal, 0);
	assert_int_equal(found->count, 1);
	assert_non_null(strstr(found->at[0].text, "a change of it was not finished"));
	free(found);
	done = repair_store(killed);
	if (done->count)
		print_deeds(done);
	assert_int_equal(done->count + done->result.faults, 0);
	assert_int_equal(docs_gone(killed, NULL), 0);
	free(done);
	pfs_sim_free(killed);
	pfs_sim_free(sim);
}

static struct pfs_super super_of(struct pfs_sim *sim)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_super super;
	struct pfs_dir *dir;

	assert_int_equal(io->ops->open_dir(io, STORE, 0, &dir), 0);
	assert_int_equal(pfs_super_read(dir, &super, &quiet), 0);
	dir->ops->close_dir(dir);
	return super;
}

static void put_super(struct pfs_sim *sim, struct pfs_super super)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_dir *dir;

	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE, &dir), 0);
	assert_int_equal(pfs_super_write(dir, &super), 0);
	dir->ops->close_dir(dir);
}

static void set_smallest(struct pfs_sim *sim, uint32_t smallest)
{
	struct pfs_super super = super_of(sim);

	super.min_value_size = smallest;
	put_super(sim, super);
}

/* Proves: where the superblock says that containers are larger than they are, and there is no room
 * for that, it gets the size of the smallest that there is. */
static void a_smallest_container_that_is_too_large_is_put_right(void **state)
{
	struct pfs_sim *sim = docs_store();
	uint32_t least = UINT32_MAX;
	struct repaired *done;

	(void)state;
	for (unsigned i = 0; i < DOCS; i++)
		least = (uint32_t)pfs_min_u64(least, doc_place(sim, i).container_len);
	set_smallest(sim, 512);
	done = repair_all(sim);
	for (size_t i = 0; i < done->count; i++)
		assert_non_null(strstr(done->at[i].text, "; the store's smallest is less now"));
	free(done);
	assert_int_equal(super_of(sim).min_value_size, least);
	pfs_sim_free(sim);
}

/* Proves: a tombstone that is newer than any change gets a sequence that there is; the store does
 * not go on behind it, where there may be few left. */
static void a_tombstone_of_the_future_is_put_right(void **state)
{
	struct pfs_sim *sim = docs_store();
	struct pfs_place place = doc_place(sim, 7);
	struct pfs_key key = doc_key(7);
	struct pfs_store *store = open_store(sim);
	struct pfs_slot_disk disk;
	struct pfs_slot slot;
	struct pfs_store_stat stat;
	struct repaired *done;

	(void)state;
	assert_int_equal(pfs_remove(store, &key, NULL), 0);
	assert_int_equal(pfs_store_close(store), 0);
	read_at(sim, page_name(place.page), pfs_slot_offset(place.slot), &disk, sizeof(disk));
	assert_int_equal(pfs_slot_decode(&slot, &disk, PFS_PAGE_HEADER_LEN, PFS_PAGE_SIZE_MIN), 0);
	assert_int_equal(slot.kind, PFS_SLOT_TOMBSTONE);
	slot.seq = PFS_SEQ_MAX - 1;
	pfs_slot_encode(&disk, &slot);
	write_at(sim, page_name(place.page), pfs_slot_offset(place.slot), &disk, sizeof(disk));
	done = repair_store(sim);
	assert_true(done->result.faults > 0);
	free(done);
	assert_int_equal(docs_gone(sim, NULL), 1);
	store = open_store(sim);
	put_doc(store, 7);
	assert_int_equal(pfs_store_stat(store, &stat), 0);
	assert_true(stat.sequence < 1000);
	assert_int_equal(pfs_store_close(store), 0);
	assert_int_equal(docs_gone(sim, NULL), 0);
	pfs_sim_free(sim);
}

/* Proves: while a slot is damaged nobody knows what is free beside it: a container is not made
 * longer over a document whose slot is put right only then. */
static void containers_do_not_grow_over_damaged_neighbours(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_key large = pfs_key_num(1), small = pfs_key_num(2);
	struct pfs_place at, above;
	struct pfs_store *store;
	struct repaired *done;
	struct found *found;

	(void)state;
	create_store(sim, PFS_PAGE_SIZE_MIN, 16);
	store = open_store(sim);
	put_document(store, &large, 3000, 1);
	put_document(store, &small, 10, 2);
	assert_int_equal(pfs_store_close(store), 0);
	above = place_of(sim, &large);
	at = place_of(sim, &small);
	assert_int_equal(at.offset + at.container_len, above.offset);
	set_smallest(sim, 512);
	flip_bit(sim, page_name(above.page), pfs_slot_offset(above.slot) + 1, 3);
	done = repair_store(sim);
	assert_int_equal(done->fatal + done->result.lost + done->result.unknown, 0);
	assert_int_equal(done->result.corrected, 1);
	assert_int_equal(done->result.kept, 0);
	free(done);
	found = check_store(sim);
	assert_int_equal(found->result.documents, 2);
	free(found);
	assert_int_equal(place_of(sim, &large).offset, above.offset);
	assert_int_equal(place_of(sim, &small).container_len, at.container_len);
	assert_int_equal(super_of(sim).min_value_size, at.container_len);
	pfs_sim_free(sim);
}

/* ---- slots that seem to be none ---- */

/* A bit that makes a number's slot none, and a tombstone, too. */
#define KIND_BYTE 15
#define KIND_BIT 7

/* Proves: a slot that one bit made is taken for a tombstone only with a sequence that there was: a
 * document whose container is damaged, too, is lost, and said to be. */
static void damaged_slots_are_not_taken_for_tombstones(void **state)
{
	static const uint8_t junk[20] = "junk";
	struct pfs_sim *sim = docs_store();
	struct pfs_place place = doc_place(sim, 7);
	struct repaired *done;
	unsigned gone = DOCS;

	(void)state;
	assert_int_equal(doc_key(7).kind, PFS_KEY_NUM);
	write_at(sim, page_name(place.page), place.offset + 8, junk, sizeof(junk));
	flip_bit(sim, page_name(place.page), pfs_slot_offset(place.slot) + KIND_BYTE, KIND_BIT);
	done = repair_store(sim);
	assert_int_equal(done->result.lost + done->result.unknown, 1);
	assert_true(done->fatal > 0);
	assert_int_equal(docs_gone(sim, &gone), 1);
	assert_int_equal(gone, 7);
	free(done);
	pfs_sim_free(sim);
}

/* Proves: a tombstone of which a bit was turned is one again, and nothing is lost with it. */
static void damaged_tombstones_held_nothing(void **state)
{
	struct pfs_sim *sim = docs_store();
	struct pfs_place place = doc_place(sim, 7);
	struct pfs_key key = doc_key(7);
	struct pfs_store *store = open_store(sim);
	struct pfs_slot_disk before, after;
	struct repaired *done;

	(void)state;
	assert_int_equal(pfs_remove(store, &key, NULL), 0);
	assert_int_equal(pfs_store_close(store), 0);
	read_at(sim, page_name(place.page), pfs_slot_offset(place.slot), &before, sizeof(before));
	flip_bit(sim, page_name(place.page), pfs_slot_offset(place.slot) + KIND_BYTE, 4);
	done = repair_store(sim);
	assert_int_equal(done->fatal + done->result.lost + done->result.unknown, 0);
	assert_int_equal(done->result.corrected, 0);
	assert_non_null(strstr(done->at[0].text, "; it held no document; cleared"));
	assert_int_equal(done->at[0].offset, pfs_slot_offset(place.slot));
	read_at(sim, page_name(place.page), pfs_slot_offset(place.slot), &after, sizeof(after));
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(docs_gone(sim, NULL), 1);
	free(done);
	pfs_sim_free(sim);
}

/* ---- headers of pages ---- */

static struct pfs_page_header header_of(struct pfs_sim *sim, uint32_t page, uint64_t off)
{
	struct pfs_page_header header;
	struct pfs_page_disk disk;
	const char *why;

	read_at(sim, page_name(page), off, &disk, sizeof(disk));
	assert_int_equal(pfs_page_header_decode(&header, &disk, disk.uuid, &why), 0);
	return header;
}

static void put_header(struct pfs_sim *sim, uint32_t page, const struct pfs_page_header *header)
{
	struct pfs_page_disk disk;

	pfs_page_header_encode(&disk, header);
	write_at(sim, page_name(page), 0, &disk, sizeof(disk));
}

/* Proves: a header that says that the containers begin higher than they do gets their true
 * beginning; the documents below it, of which nothing is wrong, are there again. */
static void a_floor_that_is_too_high_is_lowered(void **state)
{
	struct pfs_sim *sim = docs_store();
	struct pfs_page_header header = header_of(sim, 1, 0), now;
	uint64_t floor = header.floor;
	unsigned below = 0;
	struct repaired *done;

	(void)state;
	header.floor += 4000;
	for (unsigned i = 0; i < DOCS; i++) {
		struct pfs_place place = doc_place(sim, i);

		below += place.page == 1 && place.offset < header.floor;
	}
	assert_true(below > 1);
	put_header(sim, 1, &header);
	done = repair_all(sim);
	assert_int_equal(done->result.corrected, below);
	assert_int_equal(done->result.kept, 0);
	free(done);
	now = header_of(sim, 1, 0);
	assert_int_equal(now.floor, floor);
	assert_int_equal(now.slot_count, header.slot_count);
	pfs_sim_free(sim);
}

/* Proves: where nothing is left of a page's header, and a bit of its copy is wrong, the header is
 * made from that, with the slots that there are. */
static void a_damaged_copy_makes_a_header(void **state)
{
	struct pfs_sim *sim = docs_store();
	struct pfs_page_header before, after;
	uint64_t size = size_at(sim, page_name(1));
	struct pfs_store *store = open_store(sim);
	uint8_t junk[PFS_PAGE_HEADER_LEN];
	struct pfs_key key = pfs_key_num(99);
	struct repaired *done;

	(void)state;
	/* Of this one the copy knows nothing. */
	put_document(store, &key, 10, 1);
	assert_int_equal(pfs_store_close(store), 0);
	assert_int_equal(place_of(sim, &key).page, 1);
	before = header_of(sim, 1, 0);
	after = header_of(sim, 1, size - PFS_PAGE_TRAILER_LEN);
	assert_int_equal(before.slot_count, after.slot_count + 1);
	fill_document(junk, sizeof(junk), 5);
	write_at(sim, page_name(1), 0, junk, sizeof(junk));
	flip_bit(sim, page_name(1), size - PFS_PAGE_TRAILER_LEN + 30, 2);
	done = repair_all(sim);
	assert_int_equal(done->result.files, 0);
	free(done);
	assert_int_equal(place_of(sim, &key).page, 1);
	after = header_of(sim, 1, 0);
	assert_int_equal(after.slot_count, before.slot_count);
	assert_int_equal(after.floor, before.floor);
	after = header_of(sim, 1, size - PFS_PAGE_TRAILER_LEN);
	assert_int_equal(after.number, 1);
	assert_int_equal(after.page_size, size);
	pfs_sim_free(sim);
}

/* ---- what can't be read ---- */

#define MANY 600u /* documents: their slots take more than two pieces */
#define PIECE 4096u

/* [from, end) of page 1 can't be read until something was written there, or so often: reads that
 * begin before `counted` fail, and do not count. */
struct bad_place {
	uint64_t from, end, counted;
	unsigned times;
	bool cleared;
};

static bool is_there(const struct bad_place *bad, const struct pfs_sim_step *step)
{
	return strcmp(step->name, page_name(1)) == 0 && step->off < bad->end &&
	       bad->from < step->off + step->len;
}

static int fail_there(void *arg, const struct pfs_sim_step *step)
{
	struct bad_place *bad = arg;

	if (step->kind != PFS_SIM_READ || bad->cleared || !is_there(bad, step) || bad->times == 0)
		return 0;
	bad->times -= step->off >= bad->counted;
	return -EIO;
}

static int clear_there(void *arg, const struct pfs_sim_step *step)
{
	struct bad_place *bad = arg;

	/* A sector that can't be read can't be written in part. */
	bad->cleared |=
		step->kind == PFS_SIM_WRITE && is_there(bad, step) && step->len >= PFS_SIM_SECTOR;
	return 0;
}

static struct pfs_sim *store_of_many(void)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_store *store;

	create_store(sim, PFS_PAGE_SIZE_MIN, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < MANY; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 10, i);
	}
	assert_int_equal(pfs_store_close(store), 0);
	return sim;
}

/* Proves: where slots can't be read the sectors of the page that they are in are written over, and
 * no others: the documents of the others stay, and the header with them when it is beside them. */
static void slots_that_can_not_be_read_are_cleared(void **state)
{
	for (unsigned piece = 0; piece < 2; piece++) {
		struct pfs_sim *sim = store_of_many();
		/* A disk may read the sector of the header, and not those behind it. */
		struct bad_place bad = {piece ? PIECE : PFS_SIM_SECTOR, (piece + 1) * PIECE, 0,
					UINT_MAX, false};
		struct pfs_page_header before = header_of(sim, 1, 0), after;
		bool hit[MANY];
		char text[128];
		struct pfs_store *store;
		struct repaired *done;
		unsigned hits = 0;

		(void)state;
		for (unsigned i = 0; i < MANY; i++) {
			struct pfs_key key = pfs_key_num(i);
			struct pfs_place place = place_of(sim, &key);

			assert_int_equal(place.page, 1);
			hit[i] = pfs_slot_offset(place.slot) >= bad.from &&
				 pfs_slot_offset(place.slot) < bad.end;
			hits += hit[i];
		}
		assert_in_range(hits, 200, MANY - 1);
		pfs_sim_on_look(sim, fail_there, &bad);
		pfs_sim_on_step(sim, clear_there, &bad);
		done = repair_store(sim);
		assert_true(bad.cleared);
		assert_int_equal(done->result.files + done->result.lost, 0);
		assert_int_equal(done->result.unknown, 1);
		assert_int_equal(done->count, 1);
		snprintf(text, sizeof(text),
			 "slots %u to %u can't be read; made right; what it held is not known",
			 piece ? 252 : 28, MANY - 1);
		assert_string_equal(done->at[0].text, text);
		assert_int_equal(done->at[0].offset, bad.from);
		free(done);
		after = header_of(sim, 1, 0);
		assert_int_equal(after.slot_count, before.slot_count);
		assert_int_equal(after.floor, before.floor);
		store = open_store(sim);
		for (unsigned i = 0; i < MANY; i++) {
			struct pfs_key key = pfs_key_num(i);
			uint32_t object;

			assert_int_equal(pfs_lookup(store, &key, &object, NULL),
					 hit[i] ? -ENOENT : 0);
		}
		assert_int_equal(pfs_store_close(store), 0);
		pfs_sim_free(sim);
	}
}

/* Proves: where the header is in the sector that can't be read it is made anew, with the slots that
 * are behind it. */
static void headers_that_can_not_be_read_are_made_anew(void **state)
{
	struct pfs_sim *sim = store_of_many();
	struct bad_place bad = {0, PFS_SIM_SECTOR, 0, UINT_MAX, false};
	struct pfs_page_header before = header_of(sim, 1, 0), after;
	unsigned first = (PFS_SIM_SECTOR - PFS_PAGE_HEADER_LEN) / PFS_SLOT_LEN, gone = 0;
	struct pfs_store *store;
	struct repaired *done;

	(void)state;
	pfs_sim_on_look(sim, fail_there, &bad);
	pfs_sim_on_step(sim, clear_there, &bad);
	done = repair_store(sim);
	assert_true(bad.cleared);
	assert_int_equal(done->result.files + done->result.lost, 0);
	assert_int_equal(done->result.unknown, 1);
	free(done);
	after = header_of(sim, 1, 0);
	assert_int_equal(after.slot_count, before.slot_count);
	assert_int_equal(after.floor, before.floor);
	store = open_store(sim);
	for (unsigned i = 0; i < MANY; i++) {
		struct pfs_key key = pfs_key_num(i);
		uint32_t object;

		gone += pfs_lookup(store, &key, &object, NULL) == -ENOENT;
	}
	assert_int_equal(gone, first);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* Proves: where all slots of a page were in that sector, too, the page is set aside with its
 * containers. */
static void pages_whose_slots_can_not_be_read_are_set_aside(void **state)
{
	struct bad_place bad = {0, PFS_SIM_SECTOR, 0, UINT_MAX, false};
	struct pfs_sim *sim = docs_store();
	uint64_t size = size_at(sim, page_name(1));
	unsigned in_page = 0;
	struct repaired *done;

	(void)state;
	for (unsigned i = 0; i < DOCS; i++)
		in_page += doc_place(sim, i).page == 1;
	pfs_sim_on_look(sim, fail_there, &bad);
	pfs_sim_on_step(sim, clear_there, &bad);
	done = repair_store(sim);
	assert_true(bad.cleared);
	assert_int_equal(done->result.files, 1);
	assert_true(done->result.unknown > 0);
	free(done);
	assert_int_equal(size_at(sim, "quarantine-page-00000001"), size);
	assert_int_equal(docs_gone(sim, NULL), in_page);
	pfs_sim_free(sim);
}

/* Proves: what the device failed to read, however often, and then reads is left as it is. */
static void what_is_read_at_the_next_try_stays(void **state)
{
	struct pfs_sim *sim = docs_store();
	struct pfs_place place = doc_place(sim, 7);
	unsigned said = 0;

	(void)state;
	assert_int_equal(place.page, 1);
	for (unsigned times = 1; times < 12; times++) {
		struct bad_place bad = {place.offset + 8, place.offset + 9, place.offset, times,
					false};
		struct repaired *done;

		pfs_sim_on_look(sim, fail_there, &bad);
		done = try_repair(sim);
		assert_int_equal(done->err, 0);
		assert_int_equal(bad.times, 0);
		assert_true(done->count <= 1);
		assert_int_equal(done->result.kept + done->result.corrected, 0);
		assert_int_equal(done->fatal + done->result.lost + done->result.unknown, 0);
		if (done->count) {
			assert_int_equal(done->at[0].offset, place.offset);
			assert_string_equal(done->at[0].text,
					    "it can't be read; it was to be read at the next try");
			said++;
		}
		free(done);
		assert_int_equal(docs_gone(sim, NULL), 0);
		assert_int_equal(doc_place(sim, 7).offset, place.offset);
	}
	assert_true(said > 5);
	pfs_sim_free(sim);
}

/* ---- the superblock ---- */

/* Proves: from copies of the superblock with one wrong bit each all that they say is to be had
 * again; where they differ, what the newer one says. */
static void superblocks_with_a_wrong_bit_are_read(void **state)
{
	(void)state;
	for (unsigned newer = 0; newer < PFS_SUPER_COPIES; newer++) {
		struct pfs_sim *sim = docs_store();
		struct pfs_super before, after;
		struct pfs_super_disk old;
		struct repaired *done;

		read_at(sim, PFS_SUPER_NAME, PFS_SUPER_STRIDE * !newer, &old, sizeof(old));
		before = super_of(sim);
		before.mode = 0640;
		before.uid = 77;
		put_super(sim, before);
		write_at(sim, PFS_SUPER_NAME, PFS_SUPER_STRIDE * !newer, &old, sizeof(old));
		flip_bit(sim, PFS_SUPER_NAME, 70, 1);
		flip_bit(sim, PFS_SUPER_NAME, PFS_SUPER_STRIDE + 100, 6);
		done = repair_all(sim);
		assert_int_equal(done->result.kept, PFS_SUPER_COPIES);
		free(done);
		after = super_of(sim);
		assert_memory_equal(after.uuid, before.uuid, PFS_UUID_LEN);
		assert_int_equal(after.created_ns, before.created_ns);
		assert_int_equal(after.page_size, before.page_size);
		assert_int_equal(after.min_value_size, before.min_value_size);
		assert_int_equal(after.mode, before.mode);
		assert_int_equal(after.uid, before.uid);
		assert_int_equal(after.dict_highest, before.dict_highest);
		assert_true(after.sequence >= before.sequence);
		assert_true(after.open_epoch >= before.open_epoch);
		assert_false(after.doubt);
		pfs_sim_free(sim);
	}
}

static int fail_super(void *arg, const struct pfs_sim_step *step)
{
	unsigned *steps = arg;

	if (step->kind == PFS_SIM_WRITE && strcmp(step->name, PFS_SUPER_NAME) == 0)
		return -ENOSPC;
	*steps += strcmp(step->name, PFS_QUARANTINE_NAME) != 0 && step->kind != PFS_SIM_SYNC_DIR;
	return 0;
}

/* Proves: a repair that can't write the superblock ends there, with the reason; the next one does
 * it all. */
static void a_superblock_that_can_not_be_written_ends_it(void **state)
{
	struct pfs_sim *sim = docs_store();
	uint8_t junk[256];
	unsigned steps = 0;
	struct repaired *done;

	(void)state;
	fill_document(junk, sizeof(junk), 5);
	write_at(sim, PFS_SUPER_NAME, 0, junk, sizeof(junk));
	write_at(sim, PFS_SUPER_NAME, PFS_SUPER_STRIDE, junk, sizeof(junk));
	pfs_sim_set_failed_writes(sim, PFS_SIM_FAILED_NOTHING);
	pfs_sim_on_step(sim, fail_super, &steps);
	done = try_repair(sim);
	pfs_sim_on_step(sim, NULL, NULL);
	assert_int_equal(done->err, -ENOSPC);
	assert_string_equal(done->reason.text, STORE ": repairing stopped: No space left on device;"
						     " it can be started again");
	assert_int_equal(done->count, 0);
	assert_int_equal(steps, 0);
	free(done);
	free(repair_all(sim));
	pfs_sim_free(sim);
}

/* ---- what other files say of a lost superblock ---- */

/* Proves: an index with an epoch that no store has is none to make a superblock of. */
static void epochs_out_of_range_say_nothing(void **state)
{
	struct pfs_sim *sim = docs_store();
	struct pfs_index_disk disk;
	struct repaired *done;
	unsigned lost = 0;

	(void)state;
	remove_file(sim, PFS_SUPER_NAME);
	read_at(sim, PFS_INDEX_NAME, 0, &disk, sizeof(disk));
	pfs_put_le64(disk.epoch.b, PFS_EPOCH_MAX + 1);
	pfs_put_le32(disk.crc.b, pfs_crc32c(0, (uint8_t *)&disk + 12, sizeof(disk) - 12));
	write_at(sim, PFS_INDEX_NAME, 0, &disk, sizeof(disk));
	done = repair_all(sim);
	for (size_t i = 0; i < done->count; i++)
		lost += strncmp(done->at[i].text, "the superblock is lost", 22) == 0;
	assert_int_equal(lost, 1);
	free(done);
	pfs_sim_free(sim);
}

#define WRONG_BIT 40 /* of an epoch: far from all that a store has, and none that is refused */

/* Proves: the epoch of a lost superblock is that of the saved index, unless a bit of it is wrong.
 */
static void the_saved_index_says_the_epoch(void **state)
{
	(void)state;
	for (unsigned damaged = 0; damaged < 2; damaged++) {
		struct pfs_sim *sim = docs_store();
		uint64_t epoch;

		for (unsigned i = 0; i < 7; i++)
			assert_int_equal(pfs_store_close(open_store(sim)), 0);
		epoch = super_of(sim).open_epoch;
		remove_file(sim, PFS_SUPER_NAME);
		if (damaged)
			flip_bit(sim, PFS_INDEX_NAME,
				 offsetof(struct pfs_index_disk, epoch) + WRONG_BIT / 8,
				 WRONG_BIT % 8);
		free(repair_store(sim));
		assert_true(damaged || super_of(sim).open_epoch >= epoch);
		assert_true(super_of(sim).open_epoch < 1ull << WRONG_BIT);
		assert_int_equal(docs_gone(sim, NULL), 0);
		pfs_sim_free(sim);
	}
}

/* Proves: where nothing is in the pages yet, a segment says whose store it is and that it is one.
 */
static void a_segment_makes_a_store(void **state)
{
	struct pfs_sim *sim = pfs_sim_new(), *cut;
	struct pfs_store *store;
	struct repaired *done;

	(void)state;
	create_store(sim, PFS_PAGE_SIZE_MIN, 64);
	store = open_store(sim);
	for (unsigned i = 0; i < DOCS; i++)
		put_doc(store, i);
	assert_int_equal(pfs_sync(store), 0);
	cut = pfs_sim_crash_index(sim, 0);
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
	remove_file(cut, PFS_SUPER_NAME);
	done = repair_store(cut);
	assert_int_equal(done->result.lost, 0);
	free(done);
	assert_int_equal(docs_gone(cut, NULL), 0);
	pfs_sim_free(cut);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_index_comes_back),
		cmocka_unit_test(torn_slots_that_are_replaced_are_left_alone),
		cmocka_unit_test(a_smallest_container_that_is_too_large_is_put_right),
		cmocka_unit_test(a_tombstone_of_the_future_is_put_right),
		cmocka_unit_test(containers_do_not_grow_over_damaged_neighbours),
		cmocka_unit_test(damaged_slots_are_not_taken_for_tombstones),
		cmocka_unit_test(damaged_tombstones_held_nothing),
		cmocka_unit_test(a_floor_that_is_too_high_is_lowered),
		cmocka_unit_test(a_damaged_copy_makes_a_header),
		cmocka_unit_test(slots_that_can_not_be_read_are_cleared),
		cmocka_unit_test(headers_that_can_not_be_read_are_made_anew),
		cmocka_unit_test(pages_whose_slots_can_not_be_read_are_set_aside),
		cmocka_unit_test(what_is_read_at_the_next_try_stays),
		cmocka_unit_test(superblocks_with_a_wrong_bit_are_read),
		cmocka_unit_test(a_superblock_that_can_not_be_written_ends_it),
		cmocka_unit_test(epochs_out_of_range_say_nothing),
		cmocka_unit_test(the_saved_index_says_the_epoch),
		cmocka_unit_test(a_segment_makes_a_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
