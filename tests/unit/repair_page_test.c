/* storage/repair_page.c, part by part: what is made of a page's header, slots, length and file. The
 * file is included, with few slots in a page. */
#include "tests/unit/damaged_file.h"

#undef PFS_SLOT_NUMBER_MAX
#define PFS_SLOT_NUMBER_MAX 40u
static unsigned decoded; /* headers */

static int counting_decode(struct pfs_page_header *header, const struct pfs_page_disk *disk,
			   const uint8_t uuid[PFS_UUID_LEN], const char **why)
{
	decoded++;
	return pfs_page_header_decode(header, disk, uuid, why);
}

#define pfs_page_header_decode counting_decode
#define pfs_repair_keep fake_keep
#define pfs_check_reader_new fake_reader_new
#include "storage/repair_page.c"
#undef pfs_page_header_decode

/* ---- headers ---- */

static bool same_header(const struct pfs_page_header *a, const struct pfs_page_header *b)
{
	struct pfs_page_disk x, y;

	pfs_page_header_encode(&x, a);
	pfs_page_header_encode(&y, b);
	return memcmp(&x, &y, sizeof(x)) == 0;
}

/* Proves: whichever bit of a header was turned, it is the one that it was; of two that were turned
 * none is, nor is one of another page or another store. Each bit is tried once. */
static void a_turned_bit_of_a_header_is_found(void **state)
{
	struct pfs_page_header header, mended;
	struct pfs_page_disk disk;

	(void)state;
	begin_repair();
	header = new_header();
	header.slot_count = 7;
	for (unsigned bit = 0; bit < 8 * sizeof(disk); bit++) {
		put_header(0, &header);
		turn_bit(0, bit);
		memcpy(&disk, file_bytes, sizeof(disk));
		assert_true(mend_header(&the_repair, &the_page, &disk, &mended));
		assert_true(same_header(&mended, &header));
		assert_memory_equal(&disk, file_bytes, sizeof(disk));
		turn_bit(0, (bit + 9) % (8 * sizeof(disk)));
		memcpy(&disk, file_bytes, sizeof(disk));
		decoded = 0;
		assert_false(mend_header(&the_repair, &the_page, &disk, &mended));
		assert_int_equal(decoded, 8 * sizeof(disk)); /* each bit, and no other */
	}
	for (unsigned other = 0; other < 2; other++) {
		header = new_header();
		header.number += !other;
		header.uuid[0] ^= (uint8_t)(other << 1);
		pfs_page_header_encode(&disk, &header);
		disk.magic[0] ^= 1;
		assert_false(mend_header(&the_repair, &the_page, &disk, &mended));
	}
}

/* Proves: of a header that can't be read whole the reason is given, or that there is not enough. */
static void headers_are_read_whole(void **state)
{
	struct pfs_page_disk disk;

	(void)state;
	begin_repair();
	assert_int_equal(read_header(&the_file.base, PAGE_END, &disk), 0);
	the_file.size--;
	assert_int_equal(read_header(&the_file.base, PAGE_END, &disk), -EIO);
	the_file.size = PAGE_END;
	assert_int_equal(read_header(&the_file.base, PAGE_END, &disk), -EIO);
	the_file.read_err = -ENOMEM;
	assert_int_equal(read_header(&the_file.base, 0, &disk), -ENOMEM);
}

/* ---- slots ---- */

#define LEN 100u /* of containers */

/* A slot as its letter says: v: a container below all others, which verifies; b: one that does not;
 * u: it can't be read; d: the first slot once more; t: a tombstone; j: junk; 0: nothing; x: the
 * slot can't be read; s: a container that lies over its own slot, and can't be read; e, E: one
 * right behind this slot, or the one after the next. */
static void put_kind(uint32_t i, char kind, uint64_t *low)
{
	uint64_t own = pfs_slot_offset(i);

	switch (kind) {
	case 'v':
	case 'b':
	case 'u':
		*low -= LEN;
		put_value(i, *low, LEN, 100 + i, 60);
		file_bytes[*low + 20] ^= kind == 'b';
		if (kind == 'u')
			the_file.bad_from = *low + 5, the_file.bad_end = *low + 6;
		break;
	case 'd': memcpy(file_bytes + own, file_bytes + PFS_PAGE_HEADER_LEN, PFS_SLOT_LEN); break;
	case 't': put_slot(i, &(struct pfs_slot){.kind = PFS_SLOT_TOMBSTONE, .seq = 3}); break;
	case 'j': memset(file_bytes + own, 0xf7, PFS_SLOT_LEN); break;
	case 'x':
		the_file.bad_from = own + 3;
		the_file.bad_end = own + 4;
		break;
	case 's':
		put_slot(i, &(struct pfs_slot){PFS_KEY_NUM, 7, (uint32_t)own, 1500, 0});
		the_file.bad_from = own + 1400;
		the_file.bad_end = the_file.bad_from + 1;
		break;
	case 'e': put_value(i, own + PFS_SLOT_LEN, LEN, 7, 60); break;
	case 'E': put_value(i, own + 3 * PFS_SLOT_LEN, LEN, 7, 60); break;
	default: break;
	}
}

/* Returns the lowest of the containers. */
static uint64_t put_slots(const char *kinds)
{
	uint64_t low = PAGE_END;

	/* Containers that lie over slots come first. */
	for (uint32_t i = 0; kinds[i]; i++)
		if (strchr("eE", kinds[i]))
			put_kind(i, kinds[i], &low);
	for (uint32_t i = 0; kinds[i]; i++)
		if (!strchr("eE", kinds[i]))
			put_kind(i, kinds[i], &low);
	return low;
}

/* Proves: of a page whose header is lost the slots are counted to the last that verifies or whose
 * container can't be read, with what follows on it up to the next unused one, and with those behind
 * it that can't be read; to where the containers begin, and to no more slots than there can be. */
static void slots_are_counted(void **state)
{
	static const struct {
		const char *kinds;
		uint32_t count;
		unsigned containers; /* above the floor that is found; 99: as said there */
	} cases[] = {
		{"", 0, 0},	 {"000", 0, 0},
		{"v", 1, 1},	 {"vvv", 3, 3},
		{"vv0v", 4, 3},	 {"vv00", 2, 2},
		{"b", 0, 0},	 {"vb", 2, 1},
		{"vb0b", 2, 1},	 {"v0b", 1, 1},
		{"bv", 2, 2},	 {"u", 1, 0},
		{"vu", 2, 1},	 {"uv", 2, 2},
		{"v0u", 3, 1},	 {"v0d", 1, 1},
		{"vd0", 2, 1},	 {"t", 0, 0},
		{"vt", 2, 1},	 {"v0t", 1, 1},
		{"v0j", 1, 1},	 {"vjtb0", 4, 1},
		{"x", 1, 0},	 {"v0x", 3, 1},
		{"x0v", 3, 1},	 {"v0s", 1, 1},
		{"v0v0s", 3, 2}, {"vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv", 41, 41},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_page_header header = new_header();

		begin_repair();
		header.slot_count = 9;
		put_slots(cases[i].kinds);
		assert_int_equal(count_slots(&the_repair, &the_file.base, &header), 0);
		if (header.slot_count != cases[i].count)
			print_message("%s\n", cases[i].kinds);
		assert_int_equal(header.slot_count, cases[i].count);
		assert_int_equal(header.floor, PAGE_END - LEN * cases[i].containers);
		assert_int_equal(header.base_seq, the_page.header.base_seq);
	}
}

/* Proves: slots are counted up to the container that begins right behind them; those that can't be
 * read, only up to there. */
static void slots_end_where_containers_begin(void **state)
{
	struct pfs_page_header header = new_header();

	(void)state;
	begin_repair();
	put_slots("v0e");
	assert_int_equal(count_slots(&the_repair, &the_file.base, &header), 0);
	assert_int_equal(header.slot_count, 3);
	assert_int_equal(header.floor, pfs_slot_offset(3));
	begin_repair();
	put_slots("Ejj");
	assert_int_equal(count_slots(&the_repair, &the_file.base, &header), 0);
	assert_int_equal(header.slot_count, 3);
	assert_int_equal(header.floor, pfs_slot_offset(3));
	begin_repair();
	put_slots("Ej");
	assert_int_equal(count_slots(&the_repair, &the_file.base, &header), 0);
	assert_int_equal(header.slot_count, 2);
	readers_left = 0;
	assert_int_equal(count_slots(&the_repair, &the_file.base, &header), -ENOMEM);
	readers_left = UINT32_MAX;
}

/* A front header that says `slots`, and one slot with a document. */
static struct pfs_page_header put_front(uint32_t slots)
{
	struct pfs_page_header front = new_header();

	begin_repair();
	front.floor = (uint32_t)put_slots("v");
	front.slot_count = slots;
	put_header(0, &front);
	return front;
}

/* Proves: a header of which a bit was turned is what it was, with slots of which nothing tells any
 * more, if it is of one page with its copy; else it is what the copy and the slots say. */
static void fronts_are_mended_or_made(void **state)
{
	struct pfs_page_header front, found, made;
	bool mended;

	(void)state;
	for (unsigned other = 0; other < 6; other++) {
		front = put_front(5);
		made = the_page.header;
		made.slot_count = 1;
		made.floor = front.floor;
		front.page_size <<= other == 1;
		front.base_seq += other == 2;
		front.base_mtime -= other == 3;
		put_header(0, &front);
		turn_bit(0, 77);
		if (other == 4)
			turn_bit(0, 400);
		/* It can't be read alone. */
		the_file.short_by = other == 5;
		assert_int_equal(
			find_front(&the_repair, &the_file.base, &the_page, &found, &mended), 0);
		assert_int_equal(mended, other == 0);
		if (other < 5)
			assert_true(same_header(&found, other ? &made : &front));
	}
	put_front(5);
	the_file.read_err = -EIO;
	assert_int_equal(find_front(&the_repair, &the_file.base, &the_page, &found, &mended), 0);
	assert_false(mended);
	readers_left = 0;
	assert_int_equal(find_front(&the_repair, &the_file.base, &the_page, &found, &mended),
			 -ENOMEM);
	assert_int_equal(plan_front(&the_repair, &the_file.base, &the_page, &the_items[0]),
			 -ENOMEM);
	assert_int_equal(make_front(&the_repair, &the_file.base, &the_page), -ENOMEM);
	/* The slots are counted, and none is found. */
	begin_repair();
	readers_left = 1;
	assert_int_equal(plan_front(&the_repair, &the_file.base, &the_page, &the_items[0]),
			 -ENOMEM);
	readers_left = UINT32_MAX;
}

/* Proves: of a page whose header is gone it is said that documents may be lost with it when a slot
 * beside it is, too, which the index has not told; one without slots in which something is, is set
 * aside. What needs no more than a turned bit loses nothing. */
static void what_went_with_a_header_is_told(void **state)
{
	static const char all[] = "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv";
	static const struct {
		const char *kinds;
		int zero; /* a slot that is none any more; -1: all are */
		int bad;  /* one that can't be read; -1: all can */
		bool lost, aside;
	} cases[] = {
		{"", -1, -1, true, false},   {"b", -1, -1, true, true},
		{all, -1, -1, false, false}, {all, 0, -1, true, false},
		{all, 13, -1, true, false},  {all, 27, -1, true, false},
		{all, 28, -1, false, false}, /* in the next sector */
		{all, 29, -1, false, false}, {all, -1, 0, true, false},
		{all, -1, 27, true, false},  {all, -1, 28, false, false},
		{"vv", 0, -1, true, false},  {"vv", 1, -1, false, false},
	};

	(void)state;
	for (size_t i = 0; i < 2 * pfs_array_len(cases); i++) {
		bool clean = i % 2;
		struct pfs_repair_item *item = &the_items[0];

		begin_repair();
		the_repair.check.clean = clean;
		item->fault.kind = PFS_FAULT_HEADER;
		item->deed = PFS_DEED_MEND;
		put_slots(cases[i / 2].kinds);
		if (cases[i / 2].zero >= 0)
			memset(file_bytes + pfs_slot_offset((uint32_t)cases[i / 2].zero), 0,
			       PFS_SLOT_LEN);
		if (cases[i / 2].bad >= 0) {
			the_file.bad_from = pfs_slot_offset((uint32_t)cases[i / 2].bad);
			the_file.bad_end = the_file.bad_from + PFS_SLOT_LEN;
		}
		assert_int_equal(plan_front(&the_repair, &the_file.base, &the_page, item), 0);
		assert_int_equal(item->lost, cases[i / 2].lost && !clean);
		assert_int_equal(item->deed, cases[i / 2].aside ? PFS_DEED_ASIDE : PFS_DEED_MEND);
		assert_int_equal(item->fault.kind,
				 cases[i / 2].aside ? PFS_FAULT_UNUSABLE : PFS_FAULT_HEADER);
	}
	put_front(5);
	turn_bit(0, 30);
	memset(file_bytes + pfs_slot_offset(0), 0, PFS_SLOT_LEN);
	assert_int_equal(plan_front(&the_repair, &the_file.base, &the_page, &the_items[0]), 0);
	assert_false(the_items[0].lost);
}

/* Proves: a page has something in it when there is one byte between header and end, wherever, or
 * when it can't be read. */
static void one_byte_is_something(void **state)
{
	static const struct {
		uint64_t at, end;
		bool any;
	} cases[] = {
		{0, PAGE_END, false},
		{63, PAGE_END, false},
		{64, PAGE_END, true},
		{PAGE_END - 1, PAGE_END, true},
		{PAGE_END, PAGE_END, false},
		{PFS_MIB + 63, 2 * PFS_MIB, true},
		{PFS_MIB + 64, 2 * PFS_MIB, true},
		{2 * PFS_MIB + 64, 3 * PFS_MIB, true},
		{3 * PFS_MIB - 1, 3 * PFS_MIB, true},
		{3 * PFS_MIB, 3 * PFS_MIB, false},
		{PFS_MIB + 64, PFS_MIB + 64, false},
	};
	bool any = true;

	(void)state;
	for (size_t i = 0; i < 2 * pfs_array_len(cases); i++) {
		uint64_t at = cases[i / 2].at;

		begin_repair();
		the_file.size = FILE_MAX;
		if (i % 2) {
			the_file.bad_from = at;
			the_file.bad_end = at + 1;
		} else {
			file_bytes[at] = 1;
		}
		assert_int_equal(holds_bytes(&the_file.base, cases[i / 2].end, &any), 0);
		if (i % 2 == 0 || cases[i / 2].any)
			assert_int_equal(any, cases[i / 2].any);
	}
	readers_left = 0;
	assert_int_equal(holds_bytes(&the_file.base, PAGE_END, &any), -ENOMEM);
	assert_false(any);
	readers_left = UINT32_MAX;
}

/* ---- lengths ---- */

/* Proves: what is behind a page is kept where it is not zeros, in pieces. */
static void what_is_behind_a_page_is_kept(void **state)
{
	struct pfs_repair_item *item = &the_items[0];

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		begin_repair();
		memset(&the_kept, 0, sizeof(the_kept));
		item->fault = (struct pfs_fault){PFS_FAULT_LENGTH, PAGE_NUMBER, 0, PAGE_SIZE, 0};
		the_file.size = i == 0	 ? PAGE_SIZE - 100
				: i == 1 ? PAGE_SIZE + 100
					 : PAGE_SIZE + 2 * PFS_MIB + (i == 4 ? 5 : 0);
		if (i == 2)
			file_bytes[PAGE_SIZE + 2 * PFS_MIB - 1] = 1;
		if (i == 4)
			file_bytes[PAGE_SIZE] = file_bytes[PAGE_SIZE + 2 * PFS_MIB + 4] = 1;
		assert_int_equal(keep_surplus(&the_repair, &the_file.base, item), 0);
		assert_int_equal(the_kept.count, i == 2 ? 1 : i == 4 ? 2 : 0);
		if (i == 2) {
			assert_int_equal(the_kept.off[0], PAGE_SIZE + PFS_MIB);
			assert_int_equal(the_kept.len[0], PFS_MIB);
		} else if (i == 4) {
			assert_int_equal(the_kept.off[0], PAGE_SIZE);
			assert_int_equal(the_kept.len[0], PFS_MIB);
			assert_int_equal(the_kept.off[1], PAGE_SIZE + 2 * PFS_MIB);
			assert_int_equal(the_kept.len[1], 5);
		}
	}
	the_kept.err = -ENOSPC;
	assert_int_equal(keep_surplus(&the_repair, &the_file.base, item), -ENOSPC);
	the_kept.err = 0;
	readers_left = 0;
	assert_int_equal(keep_surplus(&the_repair, &the_file.base, item), -ENOMEM);
	readers_left = UINT32_MAX;
}

/* Proves: a file that was too short gets its length, and then the copy of its header; one that was
 * too long only its length; nothing comes after an error. */
static void lengths_are_set(void **state)
{
	struct pfs_page_header header;
	const char *why;

	(void)state;
	begin_repair();
	the_file.size = PAGE_SIZE - 1;
	memset(file_bytes + PAGE_END, 7, PFS_PAGE_TRAILER_LEN);
	assert_int_equal(set_length(&the_file.base, &the_page, PAGE_SIZE), 0);
	assert_string_equal(the_file.calls, "t65536 w65472+64 ");
	assert_int_equal(pfs_page_header_decode(
				 &header, (const struct pfs_page_disk *)(file_bytes + PAGE_END),
				 store_uuid, &why),
			 0);
	assert_true(same_header(&header, &the_page.header));
	begin_repair();
	the_file.size = PAGE_SIZE + 1;
	assert_int_equal(set_length(&the_file.base, &the_page, PAGE_SIZE), 0);
	assert_string_equal(the_file.calls, "t65536 ");
	begin_repair();
	the_file.size = PAGE_SIZE - 1;
	the_file.truncate_err = -ENOSPC;
	assert_int_equal(set_length(&the_file.base, &the_page, PAGE_SIZE), -ENOSPC);
	assert_string_equal(the_file.calls, "t65536 ");
	the_file.truncate_err = 0;
	the_file.write_err = -EIO;
	assert_int_equal(set_length(&the_file.base, &the_page, PAGE_SIZE), -EIO);
}

/* ---- slots that can't be read ---- */

/* Proves: whether bytes can be read is tried sector by sector, and only for these bytes. */
static void readable_is_what_each_sector_gives(void **state)
{
	static const struct {
		uint64_t from, end;
		const char *calls;
	} cases[] = {
		{64, 80, "r64+16 "},
		{64, 512, "r64+448 "},
		{64, 513, "r64+448 r512+1 "},
		{512, 1024, "r512+512 "},
		{500, 1600, "r500+12 r512+512 r1024+512 r1536+64 "},
		{512, 2048, "r512+512 r1024+512 r1536+512 "},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		uint64_t from = cases[i].from, end = cases[i].end;

		begin_repair();
		assert_true(can_be_read(&the_file.base, from, end));
		assert_string_equal(the_file.calls, cases[i].calls);
		the_file.bad_from = end - 1;
		the_file.bad_end = end;
		assert_false(can_be_read(&the_file.base, from, end));
		the_file.bad_from = from;
		the_file.bad_end = from + 1;
		assert_false(can_be_read(&the_file.base, from, end));
		the_file.bad_from = end;
		the_file.bad_end = FILE_MAX;
		assert_true(can_be_read(&the_file.base, from, end));
		the_file.bad_end = 0;
		the_file.size = end - 1;
		assert_false(can_be_read(&the_file.base, from, end));
	}
}

/* Proves: of slots that can't be read the pieces that they are in are written over, from the first
 * to the last of them, and no other; with zeros where a sector can't be read, else with what was
 * there. */
static void unread_slots_are_cleared(void **state)
{
	/* From the middle of the second piece to the beginning of the fourth. */
	const struct pfs_fault fault = {.slot = 300, .len = 480};

	(void)state;
	begin_repair();
	memset(file_bytes, 5, PAGE_SIZE);
	the_file.bad_from = 5000;
	the_file.bad_end = 5001;
	assert_int_equal(clear_slots(&the_file.base, &fault), 0);
	for (unsigned i = 0; i < 5 * 4096; i++)
		assert_int_equal(file_bytes[i], i / 512 == 5000 / 512 ? 0 : 5);
	assert_non_null(strstr(the_file.calls, "w4096+4096 "));
	for (unsigned piece = 0; piece < 5; piece++) {
		begin_repair();
		the_file.bad_from = piece * 4096 + 511;
		the_file.bad_end = the_file.bad_from + 2;
		memset(file_bytes, 5, PAGE_SIZE);
		assert_int_equal(clear_slots(&the_file.base, &fault), 0);
		assert_int_equal(file_bytes[piece * 4096],
				 piece == 1 || piece == 2 || piece == 3 ? 0 : 5);
		assert_int_equal(file_bytes[piece * 4096 + 1023],
				 piece == 1 || piece == 2 || piece == 3 ? 0 : 5);
		assert_int_equal(file_bytes[piece * 4096 + 1024], 5);
	}
	/* Not behind the end of the file. */
	begin_repair();
	the_file.size = 8192;
	the_file.bad_from = 8192;
	the_file.bad_end = FILE_MAX;
	assert_int_equal(clear_slots(&the_file.base, &fault), 0);
	assert_null(strchr(the_file.calls, 'w'));
}

/* Proves: slots that can be read at the second try are left alone; those that can't are kept. */
static void slots_may_be_read_at_the_next_try(void **state)
{
	struct pfs_repair_item *item = &the_items[0];

	(void)state;
	for (unsigned bad = 0; bad < 2; bad++) {
		begin_repair();
		memset(&the_kept, 0, sizeof(the_kept));
		item->fault = (struct pfs_fault){PFS_FAULT_UNREADABLE, PAGE_NUMBER, 4, 0, 3};
		item->deed = PFS_DEED_MEND;
		the_file.bad_from = bad ? pfs_slot_offset(7) - 1 : pfs_slot_offset(7);
		the_file.bad_end = the_file.bad_from + 1;
		assert_int_equal(plan_page(&the_repair, &the_file.base, &the_page, item), 0);
		assert_int_equal(item->deed, bad ? PFS_DEED_MEND : PFS_DEED_NONE);
		assert_int_equal(the_kept.count, bad);
		if (bad) {
			assert_int_equal(the_kept.off[0], pfs_slot_offset(4));
			assert_int_equal(the_kept.len[0], 3 * PFS_SLOT_LEN);
		}
		assert_int_equal(do_item(&the_repair, &the_file.base, &the_page, item), 0);
		assert_int_equal(item->lost, bad);
	}
}

/* ---- files ---- */

static void count_told(void *arg, const struct pfs_finding *finding)
{
	(void)finding;
	((struct pfs_repair_result *)arg)->corrected++;
}

/* Proves: the file of a page that is to be renamed or set aside is not opened before, nor is that
 * of what is left for later; of others an error is passed on, and the file is closed. */
static void only_what_is_looked_into_is_opened(void **state)
{
	static const enum pfs_fault_kind kinds[] = {PFS_FAULT_UNUSABLE, PFS_FAULT_FOREIGN,
						    PFS_FAULT_NUMBER,	PFS_FAULT_TRAILER,
						    PFS_FAULT_TRAILER,	PFS_FAULT_GONE};

	(void)state;
	memset(&the_kept, 0, sizeof(the_kept));
	for (size_t i = 0; i < pfs_array_len(kinds); i++) {
		begin_repair();
		the_repair.count = 1;
		the_items[0].fault = (struct pfs_fault){.kind = kinds[i], .number = PAGE_NUMBER};
		the_items[0].deed = i == 4 ? PFS_DEED_LATER : PFS_DEED_MEND;
		the_dir.open_err = -EIO;
		assert_int_equal(pfs_repair_plan_pages(&the_repair), i == 3 ? -EIO : 0);
		assert_int_equal(the_dir.opens, i == 3);
		assert_int_equal(the_kept.count, 0);
	}
	the_dir.open_err = 0;
	the_items[0].fault.kind = PFS_FAULT_TRAILER;
	assert_int_equal(pfs_repair_plan_pages(&the_repair), 0);
	assert_int_equal(the_kept.count, 1);
	assert_false(the_file.open);
}

/* Proves: the file of a page is synced before the next one is opened, and an error of that is one;
 * one that is open already is not opened again. What could not be done is not told, and the file is
 * closed. */
static void pages_are_synced_one_by_one(void **state)
{
	struct opened opened = {0};

	(void)state;
	begin_repair();
	assert_int_equal(open_page(&the_repair, &opened, 3, PFS_IO_WRITE), 0);
	assert_int_equal(open_page(&the_repair, &opened, 3, PFS_IO_WRITE), 0);
	assert_int_equal(the_dir.opens, 1);
	assert_int_equal(open_page(&the_repair, &opened, 4, PFS_IO_WRITE), 0);
	assert_string_equal(the_file.calls, "");
	opened.dirty = true;
	assert_int_equal(open_page(&the_repair, &opened, 5, PFS_IO_WRITE), 0);
	assert_string_equal(the_file.calls, "s ");
	opened.dirty = true;
	the_file.sync_err = -EIO;
	assert_int_equal(open_page(&the_repair, &opened, 6, PFS_IO_WRITE), -EIO);
	assert_false(the_file.open);
	for (unsigned fail = 0; fail < 3; fail++) {
		begin_repair();
		the_repair.count = 1;
		the_items[0].fault = (struct pfs_fault){PFS_FAULT_TRAILER, PAGE_NUMBER, 0, 0, 0};
		the_items[0].deed = PFS_DEED_MEND;
		the_repair.fn = count_told;
		the_repair.arg = &the_result;
		the_file.write_err = fail == 1 ? -ENOSPC : 0;
		the_file.sync_err = fail == 2 ? -EIO : 0;
		assert_int_equal(pfs_repair_pages(&the_repair), fail == 0   ? 0
								: fail == 1 ? -ENOSPC
									    : -EIO);
		assert_int_equal(the_result.corrected, fail != 1); /* told */
		assert_false(the_file.open);
	}
}

/* Proves: a page that can't be opened for want of something is an error; one that can't be opened
 * at all is not mended. */
static void files_that_can_not_be_opened_are_not_mended(void **state)
{
	static const int errors[] = {-ENOMEM, -EMFILE, -ENFILE, -EACCES, -EPERM,
				     -EIO,    -ENOENT, -EISDIR, -ELOOP};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(errors); i++) {
		bool mended = true;

		begin_repair();
		the_dir.open_err = errors[i];
		assert_int_equal(mend_unusable(&the_repair, &the_page, &mended),
				 i < 5 ? errors[i] : 0);
		assert_false(mended);
	}
}

enum header_state { GOOD, BIT, JUNK, OTHER_PAGE, OTHER_SIZE };

static void put_state(uint64_t off, enum header_state how, uint32_t slots)
{
	struct pfs_page_header header = new_header();

	header.slot_count = slots;
	header.floor = PAGE_END - LEN;
	header.number += how == OTHER_PAGE;
	header.page_size <<= how == OTHER_SIZE;
	put_header(off, &header);
	if (how == BIT)
		turn_bit(off, 0);
	if (how == JUNK)
		memset(file_bytes + off, 3, PFS_PAGE_HEADER_LEN);
}

/* Proves: a page of which nothing was good can be used again when one of its headers is good at the
 * next try, which is not changed, or when one of them has a single wrong bit: the first one is
 * written with the slots that it says, the copy in its place with those that there are. */
static void a_page_is_mended_by_one_of_its_headers(void **state)
{
	for (unsigned i = 0; i < 25; i++) {
		enum header_state front = i % 5, copy = i / 5;
		bool usable = front <= BIT || copy <= BIT || front == OTHER_SIZE, mended;
		const char *writes = front == GOOD || front == OTHER_SIZE ? ""
				     : front == BIT || copy == BIT	  ? "w0+64 s "
									  : "";
		struct pfs_page_header header;
		const char *why;
		char *w;

		(void)state;
		begin_repair();
		put_slots("v");
		put_state(0, front, 5);
		put_state(PAGE_END, copy, 0);
		assert_int_equal(mend_unusable(&the_repair, &the_page, &mended), 0);
		assert_int_equal(mended, usable);
		assert_false(the_file.open);
		w = strchr(the_file.calls, 'w');
		assert_string_equal(w ? w : "", writes);
		if (!*writes)
			continue;
		assert_int_equal(pfs_page_header_decode(&header,
							(const struct pfs_page_disk *)file_bytes,
							store_uuid, &why),
				 0);
		assert_int_equal(header.slot_count, front == BIT ? 5 : 1);
		assert_int_equal(header.floor, PAGE_END - LEN);
	}
}

/* Proves: a header that is mended is of a page as long as the file; a file that can hold no two
 * headers has none; errors of writing are passed on. */
static void a_mended_page_is_whole(void **state)
{
	bool mended;

	(void)state;
	begin_repair();
	put_state(0, BIT, 0);
	the_file.size = PAGE_SIZE + 4096;
	assert_int_equal(mend_unusable(&the_repair, &the_page, &mended), 0);
	assert_false(mended);
	for (unsigned less = 0; less < 2; less++) {
		begin_repair();
		put_state(0, GOOD, 0);
		the_file.size = PFS_PAGE_HEADER_LEN + PFS_PAGE_TRAILER_LEN - less;
		assert_int_equal(mend_unusable(&the_repair, &the_page, &mended), 0);
		assert_int_equal(mended, !less);
	}
	for (unsigned i = 0; i < 3; i++) {
		begin_repair();
		put_state(0, i == 2 ? JUNK : BIT, 0);
		put_state(PAGE_END, BIT, 0);
		the_file.write_err = i == 0 ? -ENOSPC : 0;
		the_file.sync_err = i == 1 ? -EIO : 0;
		readers_left = i == 2 ? 0 : UINT32_MAX;
		assert_int_equal(mend_unusable(&the_repair, &the_page, &mended), i == 0 ? -ENOSPC
										 : i == 1
											 ? -EIO
											 : -ENOMEM);
		assert_false(the_file.open);
	}
	readers_left = UINT32_MAX;
}

/* Proves: of a page that can be used after all, what was found of its documents is not so; of
 * others it is, and what else was found. */
static void what_was_found_of_a_mended_page_is_not_so(void **state)
{
	static const struct {
		enum pfs_fault_kind kind;
		const char *where;
		bool spared;
	} cases[] = {
		{PFS_FAULT_GONE, "page-00000003", true},
		{PFS_FAULT_TOLD, "page-00000004", false},
		{PFS_FAULT_SLOT, "page-00000003", false},
		{PFS_FAULT_TOLD, "page-00000003", false}, /* none any more */
	};

	(void)state;
	begin_repair();
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		the_items[i].fault.kind = cases[i].kind;
		snprintf(the_items[i].finding.where, sizeof(the_items[i].finding.where), "%s",
			 cases[i].where);
	}
	the_repair.count = 3;
	spare(&the_repair, "page-00000003");
	for (size_t i = 0; i < pfs_array_len(cases); i++)
		assert_int_equal(the_items[i].spared, cases[i].spared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_turned_bit_of_a_header_is_found),
		cmocka_unit_test(headers_are_read_whole),
		cmocka_unit_test(slots_are_counted),
		cmocka_unit_test(slots_end_where_containers_begin),
		cmocka_unit_test(fronts_are_mended_or_made),
		cmocka_unit_test(what_went_with_a_header_is_told),
		cmocka_unit_test(one_byte_is_something),
		cmocka_unit_test(what_is_behind_a_page_is_kept),
		cmocka_unit_test(lengths_are_set),
		cmocka_unit_test(readable_is_what_each_sector_gives),
		cmocka_unit_test(unread_slots_are_cleared),
		cmocka_unit_test(slots_may_be_read_at_the_next_try),
		cmocka_unit_test(only_what_is_looked_into_is_opened),
		cmocka_unit_test(pages_are_synced_one_by_one),
		cmocka_unit_test(files_that_can_not_be_opened_are_not_mended),
		cmocka_unit_test(a_page_is_mended_by_one_of_its_headers),
		cmocka_unit_test(a_mended_page_is_whole),
		cmocka_unit_test(what_was_found_of_a_mended_page_is_not_so),
	};

	return cmocka_run_group_tests_name("repair of a the_page, part by part", tests, NULL, NULL);
}
