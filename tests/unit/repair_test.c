/* Repairing a store: each kind of damage, what becomes of it, what is kept aside. */
#include "tests/unit/repair_helpers.h"

/* ---- nothing to do, nothing to be done ---- */

/* Proves: of a store that is whole, closed or not, nothing is said, and a closed one is not even
 * written to. */
static void whole_stores_stay_as_they_are(void **state)
{
	struct pfs_sim *sim = docs_store(), *killed;
	uint64_t steps = pfs_sim_steps(sim);
	struct repaired *done = try_repair(sim);
	struct pfs_store *store;

	(void)state;
	assert_int_equal(done->err + done->count + done->result.faults, 0);
	assert_int_equal(done->result.documents, DOCS);
	assert_int_equal(pfs_sim_steps(sim), steps);
	assert_false(has_quarantine(sim));
	free(done);
	store = open_store(sim);
	put_doc(store, 3);
	killed = pfs_sim_kill(sim);
	assert_int_equal(pfs_store_close(store), 0);
	done = repair_store(killed);
	assert_int_equal(done->count + done->result.faults, 0);
	assert_int_equal(docs_gone(killed, NULL), 0);
	free(done);
	pfs_sim_free(killed);
	pfs_sim_free(sim);
}

static void expect_refused(struct pfs_sim *sim, int err, const char *words)
{
	uint64_t steps = pfs_sim_steps(sim);
	struct repaired *done = try_repair(sim);

	assert_int_equal(done->err, err);
	assert_non_null(strstr(done->reason.text, words));
	assert_int_equal(pfs_sim_steps(sim), steps);
	free(done);
}

static void change_super(struct pfs_sim *sim, void (*change)(struct pfs_super *super))
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_super super;
	struct pfs_dir *dir;

	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE, &dir), 0);
	assert_int_equal(pfs_super_read(dir, &super, &quiet), 0);
	change(&super);
	assert_int_equal(pfs_super_write(dir, &super), 0);
	dir->ops->close_dir(dir);
}

static void make_newer(struct pfs_super *super)
{
	super->version = PFS_FORMAT_VERSION + 1;
}

static void add_incompatible(struct pfs_super *super)
{
	super->incompat |= UINT64_C(1) << 63;
}

static void add_read_only(struct pfs_super *super)
{
	super->ro_compat |= UINT64_C(1) << 63;
}

/* Proves: what is no store, is in use, or is of a newer version is refused with its reason and not
 * touched. */
static void what_can_not_be_repaired_is_not_touched(void **state)
{
	static void (*const changes[])(struct pfs_super *) = {make_newer, add_incompatible,
							      add_read_only};
	struct pfs_sim *sim = pfs_sim_new();
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_store *store;
	struct pfs_dir *dir;

	(void)state;
	expect_refused(sim, -ENOENT, "no such store");
	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE | PFS_IO_CREATE, &dir), 0);
	dir->ops->close_dir(dir);
	expect_refused(sim, -ENOENT, "not a payloadfs store");
	pfs_sim_free(sim);
	sim = docs_store();
	store = open_store(sim);
	expect_refused(sim, -EBUSY, "another process is using this store");
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
	for (size_t i = 0; i < pfs_array_len(changes); i++) {
		sim = docs_store();
		change_super(sim, changes[i]);
		flip_bit(sim, page_name(1), 20, 0);
		expect_refused(sim, -EPROTONOSUPPORT, "payloadfs");
		pfs_sim_free(sim);
	}
}

/* ---- slots ---- */

/* Proves: a slot with one wrong bit of tag, kind or length is put right, and its document is there;
 * of the offset's bits at least most, and none leads to anything but the document. */
static void slots_with_one_wrong_bit_are_corrected(void **state)
{
	struct pfs_sim *base = docs_store();
	struct pfs_place place = doc_place(base, 12);
	unsigned corrected = 0;

	(void)state;
	for (unsigned bit = 0; bit < 8 * PFS_SLOT_LEN; bit++) {
		struct pfs_sim *sim = pfs_sim_kill(base);
		bool offset = bit >= 64 && bit < 96;
		struct repaired *done;

		flip_bit(sim, page_name(place.page), pfs_slot_offset(place.slot) + bit / 8,
			 bit % 8);
		done = repair_store(sim);
		if (!offset || docs_gone(sim, NULL) == 0) {
			assert_int_equal(docs_gone(sim, NULL), 0);
			assert_int_equal(done->fatal, 0);
			corrected += done->result.corrected == 1;
		} else {
			assert_int_equal(done->result.lost + done->result.unknown, 1);
		}
		free(done);
		pfs_sim_free(sim);
	}
	assert_true(corrected >= 8 * PFS_SLOT_LEN - 16);
	pfs_sim_free(base);
}

/* Proves: a slot that no single bit explains is taken out, with nothing else. */
static void slots_beyond_repair_are_kept_aside(void **state)
{
	struct pfs_sim *sim = docs_store();
	struct pfs_place place = doc_place(sim, 7);
	uint8_t junk[PFS_SLOT_LEN];
	struct repaired *done;
	unsigned gone;

	(void)state;
	memset(junk, 0xff, sizeof(junk));
	write_at(sim, page_name(place.page), pfs_slot_offset(place.slot), junk, sizeof(junk));
	done = repair_store(sim);
	assert_int_equal(docs_gone(sim, &gone), 1);
	assert_int_equal(gone, 7);
	assert_int_equal(done->result.lost + done->result.unknown, 1);
	assert_true(is_kept(sim, page_name(place.page), pfs_slot_offset(place.slot), NULL, junk,
			    sizeof(junk)));
	free(done);
	pfs_sim_free(sim);
}

/* ---- containers ---- */

/* Proves: a damaged container is taken out as a whole, its bytes kept as they were; the other
 * documents stay, and the id can be given again. */
static void containers_beyond_repair_are_kept_aside(void **state)
{
	static const unsigned documents[] = {0, 1, 2, 9, 13, 14};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(documents); i++) {
		struct pfs_sim *sim = docs_store();
		unsigned n = documents[i];
		struct pfs_place place = doc_place(sim, n);
		uint8_t *bytes = malloc(place.container_len);
		struct pfs_key key = doc_key(n);
		struct pfs_store *store;

		flip_bit(sim, page_name(place.page), place.offset + place.packed_len - 3, 5);
		read_at(sim, page_name(place.page), place.offset, bytes, place.container_len);
		free(repair_but(sim, n));
		assert_true(is_kept(sim, page_name(place.page), place.offset, &key, bytes,
				    place.container_len));
		store = open_store(sim);
		put_doc(store, n);
		assert_int_equal(pfs_store_close(store), 0);
		assert_int_equal(docs_gone(sim, NULL), 0);
		expect_healthy(sim);
		free(bytes);
		pfs_sim_free(sim);
	}
}

/* Writes a container and its slot into the gap of page 1, as a store would have. Returns its slot.
 */
static uint32_t plant(struct pfs_sim *sim, const struct pfs_key *key, unsigned flags, uint64_t seq,
		      const char *payload)
{
	struct pfs_page_disk disk;
	struct pfs_page_header header;
	struct pfs_super super;
	struct pfs_container c = {.flags = flags, .seq = seq, .raw_len = strlen(payload)};
	struct pfs_container_base base = {.kind = key->kind, .tag = pfs_key_tag(key)};
	struct pfs_slot slot = {.kind = key->kind, .tag = pfs_key_tag(key), .len = 64};
	struct pfs_slot_disk slot_disk;
	uint8_t bytes[256] = {0}, room[8];
	struct pfs_super_disk super_disk;
	const char *why;
	size_t head;

	read_at(sim, PFS_SUPER_NAME, 0, &super_disk, sizeof(super_disk));
	assert_true(pfs_super_decode(&super, &super_disk));
	read_at(sim, page_name(1), 0, &disk, sizeof(disk));
	assert_int_equal(pfs_page_header_decode(&header, &disk, super.uuid, &why), 0);
	base.base_seq = header.base_seq;
	base.base_mtime = header.base_mtime;
	c.mtime_ns = header.base_mtime;
	c.body_len = flags & PFS_CONTAINER_LOST ? 0 : c.raw_len;
	c.tail = pfs_key_tail(key, room);
	head = pfs_container_header_encode(bytes, &c, &base, slot.len);
	memcpy(bytes + head, payload, c.body_len);
	pfs_container_seal(bytes, head, c.body_len, bytes[4], seq, &base);
	header.floor -= (uint32_t)slot.len;
	slot.off = header.floor;
	pfs_slot_encode(&slot_disk, &slot);
	write_at(sim, page_name(1), slot.off, bytes, slot.len);
	write_at(sim, page_name(1), pfs_slot_offset(header.slot_count), &slot_disk,
		 sizeof(slot_disk));
	header.slot_count++;
	pfs_page_header_encode(&disk, &header);
	write_at(sim, page_name(1), 0, &disk, sizeof(disk));
	return header.slot_count - 1;
}

/* Proves: where a slot is right and its container damaged, an older version of the document that a
 * single turned bit of the slot leads to is not taken for it. */
static void older_versions_are_not_taken_for_the_document(void **state)
{
	static const struct pfs_slot_disk unused;
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_key key = pfs_key_num(7), filler = pfs_key_num(8);
	struct pfs_slot_disk old, new;
	struct repaired *done;
	struct pfs_store *store;
	uint32_t object, slot;
	uint8_t junk[20];

	(void)state;
	create_store(sim, PFS_PAGE_SIZE_MIN, 64);
	store = open_store(sim);
	for (unsigned i = 0; i < 3; i++)
		put_document(store, &filler, 10, 1);
	assert_int_equal(pfs_store_close(store), 0);
	slot = plant(sim, &key, 0, 2, "{\"version\":1}");
	read_at(sim, page_name(1), pfs_slot_offset(slot), &old, sizeof(old));
	write_at(sim, page_name(1), pfs_slot_offset(slot), &unused, sizeof(unused));
	slot = plant(sim, &key, 0, 3, "{\"version\":2}");
	read_at(sim, page_name(1), pfs_slot_offset(slot), &new, sizeof(new));
	assert_true(pfs_is_pow2(pfs_get_le32(old.low.b) ^ pfs_get_le32(new.low.b)));
	fill_document(junk, sizeof(junk), 77);
	write_at(sim, page_name(1), pfs_get_le32(new.low.b) + 7, junk, sizeof(junk));
	done = repair_store(sim);
	store = open_store(sim);
	assert_int_equal(pfs_lookup(store, &key, &object, NULL), -ENOENT);
	assert_int_equal(pfs_store_close(store), 0);
	assert_int_equal(done->result.lost, 1);
	free(done);
	pfs_sim_free(sim);
}

/* Proves: of a document that is there twice the newest version stays; the other one is kept aside,
 * and nothing counts as lost. */
static void duplicates_leave_the_newest(void **state)
{
	struct pfs_sim *sim = docs_store();
	struct pfs_key key = doc_key(6);
	struct repaired *done;

	(void)state;
	(void)plant(sim, &key, 0, 1, "{\"old\":true}");
	done = repair_all(sim);
	assert_int_equal(done->result.kept, 1);
	assert_int_equal(done->result.corrected, 0);
	free(done);
	pfs_sim_free(sim);
}

/* Proves: when the newest of two versions is damaged, both are seen: the damaged one is told as
 * lost and the older one, which is whole, is what is left. */
static void duplicates_of_a_damaged_document(void **state)
{
	struct pfs_sim *sim = docs_store();
	struct pfs_key key = doc_key(6);
	struct pfs_place place = doc_place(sim, 6);
	struct repaired *done;
	struct pfs_store *store;
	uint32_t object;

	(void)state;
	(void)plant(sim, &key, 0, 1, "{\"old\":true}");
	flip_bit(sim, page_name(place.page), place.offset + 12, 3);
	done = repair_store(sim);
	assert_int_equal(done->result.lost, 1);
	store = open_store(sim);
	assert_int_equal(pfs_lookup(store, &key, &object, NULL), 0);
	assert_int_equal(pfs_store_close(store), 0);
	free(done);
	pfs_sim_free(sim);
}

/* Proves: a document whose content was lost earlier is named and taken out. */
static void lost_containers_are_removed(void **state)
{
	struct pfs_sim *sim = docs_store();
	struct pfs_key key = pfs_key_num(77);
	struct repaired *done;

	(void)state;
	(void)plant(sim, &key, PFS_CONTAINER_LOST, 2, "");
	done = repair_store(sim);
	assert_int_equal(done->result.lost, 1);
	assert_int_equal(done->fatal, 1 + 0);
	assert_true(pfs_key_equal(&done->at[0].key, &key));
	assert_int_equal(docs_gone(sim, NULL), 0);
	free(done);
	pfs_sim_free(sim);
}

static void change_slot(struct pfs_sim *sim, const struct pfs_place *place,
			void (*change)(struct pfs_slot *slot))
{
	struct pfs_slot_disk disk;
	struct pfs_slot slot;

	read_at(sim, page_name(place->page), pfs_slot_offset(place->slot), &disk, sizeof(disk));
	assert_int_equal(pfs_slot_decode(&slot, &disk, PFS_PAGE_HEADER_LEN, PFS_PAGE_SIZE_MAX), 0);
	change(&slot);
	pfs_slot_encode(&disk, &slot);
	write_at(sim, page_name(place->page), pfs_slot_offset(place->slot), &disk, sizeof(disk));
}

static void lengthen(struct pfs_slot *slot)
{
	slot->len += 200;
}

static void shorten(struct pfs_slot *slot)
{
	slot->len = 40;
}

/* Proves: a container that its slot says to be longer or shorter than any would be, while all of it
 * verifies, gets the length that it needs; nothing is lost. */
static void lengths_are_put_right(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_key first = pfs_key_num(1), last = pfs_key_num(10);
	struct pfs_place place;
	struct pfs_store *store;
	struct repaired *done;

	(void)state;
	create_store(sim, PFS_PAGE_SIZE_MIN, 64);
	store = open_store(sim);
	for (unsigned i = 1; i <= 10; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 10, i);
	}
	assert_int_equal(pfs_store_close(store), 0);
	place = place_of(sim, &last);
	change_slot(sim, &place, lengthen);
	place = place_of(sim, &first);
	change_slot(sim, &place, shorten);
	done = repair_store(sim);
	assert_int_equal(done->fatal, 0);
	assert_int_equal(done->result.documents, 10);
	free(done);
	assert_int_equal(place_of(sim, &first).container_len, 64);
	assert_int_equal(place_of(sim, &last).container_len, 64);
	pfs_sim_free(sim);
}

/* ---- headers and files of pages ---- */

/* Proves: a damaged header, or the damaged copy of one, is made anew; slots and floor are those
 * that were there. */
static void headers_are_made_anew(void **state)
{
	static const struct {
		bool back;
		unsigned bytes; /* of junk; 0: one bit */
	} cases[] = {{false, 0}, {true, 0}, {false, 64}, {true, 64}};
	uint8_t junk[64];

	(void)state;
	fill_document(junk, sizeof(junk), 5);
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		for (uint32_t page = 1; page <= 2; page++) {
			struct pfs_sim *sim = docs_store();
			uint64_t at = cases[i].back ? size_at(sim, page_name(page)) - 64 : 0;

			if (cases[i].bytes)
				write_at(sim, page_name(page), at, junk, cases[i].bytes);
			else
				flip_bit(sim, page_name(page), at + 60, 4);
			free(repair_all(sim));
			pfs_sim_free(sim);
		}
	}
}

/* Proves: with one wrong bit in both headers the page is put right; with junk in both it is set
 * aside as a file, its documents are named, and the others stay. */
static void pages_without_headers(void **state)
{
	struct pfs_sim *sim = docs_store();
	uint64_t size = size_at(sim, page_name(1));
	uint8_t junk[64], *page = malloc(size), *aside = malloc(size);
	unsigned in_page = 0;
	struct repaired *done;

	(void)state;
	fill_document(junk, sizeof(junk), 5);
	flip_bit(sim, page_name(1), 33, 0);
	flip_bit(sim, page_name(1), size - 10, 2);
	free(repair_all(sim));
	for (unsigned i = 0; i < DOCS; i++)
		in_page += doc_place(sim, i).page == 1;
	write_at(sim, page_name(1), 0, junk, sizeof(junk));
	write_at(sim, page_name(1), size - 64, junk, sizeof(junk));
	read_at(sim, page_name(1), 0, page, size);
	done = repair_store(sim);
	assert_int_equal(done->result.files, 1);
	assert_int_equal(done->result.lost, in_page);
	assert_int_equal(docs_gone(sim, NULL), in_page);
	read_at(sim, "quarantine-page-00000001", 0, aside, size);
	assert_memory_equal(page, aside, size);
	free(done);
	free(page);
	free(aside);
	pfs_sim_free(sim);
}

/* Proves: a page that lost its header and all its slots with the sector in which they stood is set
 * aside as it is; its containers are not taken for slots. */
static void pages_without_slots(void **state)
{
	static const uint8_t zeros[512];
	struct pfs_sim *sim = docs_store();
	uint64_t size = size_at(sim, page_name(1));
	unsigned in_page = 0;
	struct repaired *done;

	(void)state;
	for (unsigned i = 0; i < DOCS; i++)
		in_page += doc_place(sim, i).page == 1;
	write_at(sim, page_name(1), 0, zeros, sizeof(zeros));
	done = repair_store(sim);
	assert_int_equal(docs_gone(sim, NULL), in_page);
	assert_int_equal(done->result.files, 1);
	assert_int_equal(size_at(sim, "quarantine-page-00000001"), size);
	free(done);
	pfs_sim_free(sim);
}

static void rename_file(struct pfs_sim *sim, const char *from, const char *to)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_dir *dir;

	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE, &dir), 0);
	assert_int_equal(dir->ops->rename(dir, from, to), 0);
	dir->ops->close_dir(dir);
}

/* Proves: a page file under another's name gets its own again; another store's page is set aside.
 */
static void pages_in_the_wrong_place(void **state)
{
	struct pfs_sim *sim = docs_store(), *other = docs_store();
	uint64_t size = size_at(sim, page_name(1));
	uint8_t *bytes = malloc(size);
	struct repaired *done;

	(void)state;
	rename_file(sim, "page-00000002", "page-00000009");
	done = repair_store(sim);
	assert_int_equal(docs_gone(sim, NULL), 0);
	assert_int_equal(done->result.lost, 0);
	free(done);
	read_at(other, page_name(1), 0, bytes, size);
	make_file(sim, "page-00000004");
	write_at(sim, "page-00000004", 0, bytes, size);
	done = repair_store(sim);
	assert_int_equal(docs_gone(sim, NULL), 0);
	assert_int_equal(done->result.files, 1);
	assert_int_equal(size_at(sim, "quarantine-page-00000004"), size);
	free(done);
	free(bytes);
	pfs_sim_free(other);
	pfs_sim_free(sim);
}

static void set_size(struct pfs_sim *sim, const char *name, uint64_t size)
{
	struct pfs_dir *dir;
	struct pfs_file *file = store_file(sim, name, &dir);

	assert_int_equal(file->ops->truncate(file, size), 0);
	store_file_done(dir, file);
}

/* Proves: a page file that was cut has its length again, and what lay behind the cut is named and
 * lost, nothing else; what lies behind a page is kept aside. */
static void lengths_of_files_are_put_right(void **state)
{
	struct pfs_sim *base = docs_store();
	uint64_t size = size_at(base, page_name(1));

	(void)state;
	for (uint64_t cut = 64; cut < size; cut += 4999) {
		struct pfs_sim *sim = pfs_sim_kill(base);
		unsigned behind = 0;
		struct repaired *done;

		for (unsigned i = 0; i < DOCS; i++) {
			struct pfs_place place = doc_place(base, i);

			behind += place.page == 1 && (place.offset + place.packed_len > cut ||
						      pfs_slot_offset(place.slot + 1) > cut);
		}
		set_size(sim, page_name(1), cut);
		done = repair_store(sim);
		assert_int_equal(docs_gone(sim, NULL), behind);
		assert_true(done->result.lost + done->result.unknown >= (behind > 0));
		assert_int_equal(size_at(sim, page_name(1)), size);
		free(done);
		pfs_sim_free(sim);
	}
	set_size(base, page_name(1), size + 5000);
	write_at(base, page_name(1), size + 100, "surplus", 7);
	free(repair_all(base));
	assert_int_equal(size_at(base, page_name(1)), size);
	assert_true(has_quarantine(base));
	pfs_sim_free(base);
}

/* Proves: a missing page is told, and the store then knows which pages it has. */
static void missing_pages_are_told(void **state)
{
	for (unsigned index = 0; index < 2; index++) {
		struct pfs_sim *sim = docs_store();
		unsigned in_page = 0;
		struct repaired *done;

		(void)state;
		for (unsigned i = 0; i < DOCS; i++)
			in_page += doc_place(sim, i).page == 1;
		remove_file(sim, page_name(1));
		if (index)
			remove_file(sim, PFS_INDEX_NAME);
		done = repair_store(sim);
		assert_int_equal(done->result.unknown, 1);
		assert_int_equal(docs_gone(sim, NULL), in_page);
		assert_string_equal(done->at[0].where, page_name(1));
		free(done);
		pfs_sim_free(sim);
	}
}

/* ---- superblock and index ---- */

static void break_super(struct pfs_sim *sim, unsigned how)
{
	uint8_t junk[256];

	fill_document(junk, sizeof(junk), 5);
	switch (how) {
	case 0: flip_bit(sim, PFS_SUPER_NAME, 70, 1); break;
	case 1: flip_bit(sim, PFS_SUPER_NAME, 4096 + 70, 1); break;
	case 2:
		flip_bit(sim, PFS_SUPER_NAME, 70, 1);
		flip_bit(sim, PFS_SUPER_NAME, 4096 + 100, 6);
		break;
	case 3:
		write_at(sim, PFS_SUPER_NAME, 0, junk, sizeof(junk));
		write_at(sim, PFS_SUPER_NAME, 4096, junk, sizeof(junk));
		break;
	case 4: set_size(sim, PFS_SUPER_NAME, 0); break;
	default: remove_file(sim, PFS_SUPER_NAME); break;
	}
}

/* Proves: whatever happens to the superblock, all documents are there afterwards, of a closed store
 * and of one that was not; and new content does not take numbers that were given. */
static void superblocks_are_made_anew(void **state)
{
	(void)state;
	for (unsigned how = 0; how < 6; how++) {
		for (unsigned killed = 0; killed < 2; killed++) {
			struct pfs_sim *sim = docs_store(), *image;
			struct pfs_store *store = open_store(sim);
			struct repaired *done;

			put_doc(store, 11);
			image = pfs_sim_kill(sim);
			assert_int_equal(pfs_store_close(store), 0);
			break_super(killed ? image : sim, how);
			done = repair_all(killed ? image : sim);
			assert_int_equal(done->result.documents, DOCS);
			free(done);
			pfs_sim_free(image);
			pfs_sim_free(sim);
		}
	}
}

static void forget_sequence(struct pfs_super *super)
{
	super->sequence = 3;
}

/* Proves: a superblock that is older than the documents is brought up to them. */
static void old_superblocks_are_brought_up(void **state)
{
	struct pfs_sim *sim = docs_store(), *image;
	struct pfs_super_disk old[2];
	struct pfs_store *store;

	(void)state;
	change_super(sim, forget_sequence);
	free(repair_all(sim));
	/* Older than the journal, too. */
	read_at(sim, PFS_SUPER_NAME, 0, &old[0], sizeof(old[0]));
	read_at(sim, PFS_SUPER_NAME, 4096, &old[1], sizeof(old[1]));
	store = open_store(sim);
	put_doc(store, 11);
	assert_int_equal(pfs_sync(store), 0);
	image = pfs_sim_kill(sim);
	assert_int_equal(pfs_store_close(store), 0);
	write_at(image, PFS_SUPER_NAME, 0, &old[0], sizeof(old[0]));
	write_at(image, PFS_SUPER_NAME, 4096, &old[1], sizeof(old[1]));
	free(repair_all(image));
	pfs_sim_free(image);
	pfs_sim_free(sim);
}

/* Proves: a damaged or missing index is made anew. */
static void indexes_are_made_anew(void **state)
{
	(void)state;
	for (unsigned how = 0; how < 3; how++) {
		struct pfs_sim *sim = docs_store();

		if (how == 0)
			flip_bit(sim, PFS_INDEX_NAME, 130, 2);
		else if (how == 1)
			set_size(sim, PFS_INDEX_NAME, 100);
		else
			remove_file(sim, PFS_INDEX_NAME);
		free(repair_all(sim));
		pfs_sim_free(sim);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_stores_stay_as_they_are),
		cmocka_unit_test(what_can_not_be_repaired_is_not_touched),
		cmocka_unit_test(slots_with_one_wrong_bit_are_corrected),
		cmocka_unit_test(older_versions_are_not_taken_for_the_document),
		cmocka_unit_test(slots_beyond_repair_are_kept_aside),
		cmocka_unit_test(containers_beyond_repair_are_kept_aside),
		cmocka_unit_test(duplicates_leave_the_newest),
		cmocka_unit_test(duplicates_of_a_damaged_document),
		cmocka_unit_test(lost_containers_are_removed),
		cmocka_unit_test(lengths_are_put_right),
		cmocka_unit_test(headers_are_made_anew),
		cmocka_unit_test(pages_without_headers),
		cmocka_unit_test(pages_without_slots),
		cmocka_unit_test(pages_in_the_wrong_place),
		cmocka_unit_test(lengths_of_files_are_put_right),
		cmocka_unit_test(missing_pages_are_told),
		cmocka_unit_test(superblocks_are_made_anew),
		cmocka_unit_test(old_superblocks_are_brought_up),
		cmocka_unit_test(indexes_are_made_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
