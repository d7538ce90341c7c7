/* storage/repair_slot.c, part by part: which bit of a slot was turned, what its length is, and what
 * is kept or left alone. The file is included. */
#include "tests/unit/damaged_file.h"

#define pfs_repair_keep fake_keep
#define pfs_check_reader_new fake_reader_new
#include "storage/repair_slot.c"

#define TAG UINT64_C(0x1122334455667788)
#define BODY 100u
#define AT 0x4000u /* the only container, unless a test says more */

static const struct source source = {&the_repair, &the_file.base, &the_page};

static struct pfs_slot_disk *slot_at(uint32_t number)
{
	return (struct pfs_slot_disk *)(file_bytes + pfs_slot_offset(number));
}

static struct pfs_slot decoded(const struct pfs_slot_disk *disk)
{
	struct pfs_slot slot;

	assert_true(decode(&source, disk, &slot));
	return slot;
}

/* The length of a container with so much in it, without slack. */
static uint64_t exact_len(uint64_t body_len)
{
	const struct pfs_container_base base = {PFS_KEY_NUM, TAG, the_page.header.base_seq,
						the_page.header.base_mtime};
	const struct pfs_container c = {.raw_len = body_len,
					.body_len = body_len,
					.seq = base.base_seq,
					.mtime_ns = base.base_mtime};

	return pfs_container_len(&c, &base, 16);
}

/* A page with `slots` slots, of which slot 1 has a document with so much room; the store was
 * closed. */
static void begin_with(uint32_t slots, uint64_t len)
{
	begin_repair();
	memset(&the_kept, 0, sizeof(the_kept));
	the_repair.check.clean = true;
	the_page.header.slot_count = slots;
	the_page.header.floor = AT;
	put_value(1, AT, len, TAG, BODY);
}

/* ---- reading ---- */

/* Proves: of a slot that can't be read whole the reason is given, or that there is not enough. */
static void slots_are_read_whole(void **state)
{
	struct pfs_slot_disk disk;

	(void)state;
	begin_with(3, 128);
	assert_int_equal(read_slot(&source, 1, &disk), 0);
	assert_memory_equal(&disk, slot_at(1), sizeof(disk));
	the_file.size = pfs_slot_offset(2) - 1;
	assert_int_equal(read_slot(&source, 1, &disk), -EIO);
	the_file.size = pfs_slot_offset(1);
	assert_int_equal(read_slot(&source, 1, &disk), -EIO);
	the_file.read_err = -ENOMEM;
	assert_int_equal(read_slot(&source, 1, &disk), -ENOMEM);
	assert_int_equal(pfs_repair_keep_slot(&the_repair, &the_file.base, &the_page, 1, NULL, ""),
			 -ENOMEM);
	the_items[0].fault = (struct pfs_fault){PFS_FAULT_OVERLAP, PAGE_NUMBER, 1, 2, 0};
	assert_int_equal(plan_overlap(&source, &the_items[0]), -ENOMEM);
	assert_int_equal(
		pfs_repair_plan_slot(&the_repair, &the_file.base, &the_page, &the_items[0]),
		-ENOMEM);
}

/* ---- other containers ---- */

/* Proves: a place is taken by the container of any other slot that is counted, can be read and
 * verifies, when they have a byte in common. */
static void places_are_taken_by_what_verifies(void **state)
{
	const uint64_t len = 128;

	(void)state;
	begin_with(3, len);
	assert_true(is_taken(&source, 0, AT, len));
	assert_true(is_taken(&source, 0, AT - 1, 2));
	assert_true(is_taken(&source, 0, AT + len - 1, 1));
	assert_false(is_taken(&source, 0, AT - 10, 10));
	assert_false(is_taken(&source, 0, AT + len, 10));
	assert_false(is_taken(&source, 1, AT, len));
	file_bytes[AT + 30] ^= 1;
	assert_false(is_taken(&source, 0, AT, len));
	file_bytes[AT + 30] ^= 1;
	the_file.bad_from = pfs_slot_offset(1);
	the_file.bad_end = the_file.bad_from + 1;
	assert_false(is_taken(&source, 0, AT, len));
	the_file.bad_end = 0;
	/* The last slot that is counted, and the one behind it. */
	for (unsigned count = 2; count < 4; count++) {
		the_page.header.slot_count = count;
		put_value(2, AT + 0x1000, len, 7, BODY);
		assert_int_equal(is_taken(&source, 0, AT + 0x1000, len), count == 3);
	}
}

/* ---- one wrong bit ---- */

/* Proves: whichever bit of a slot was turned, the slot becomes what it was, as long as its
 * container needs; the document is there again. */
static void a_turned_bit_of_a_slot_is_found(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2 * 128; i++) {
		bool slack = i % 2;
		unsigned bit = i / 2;
		struct pfs_slot_disk right, disk;
		struct pfs_repair_item *item = &the_items[0];
		struct pfs_slot slot;

		begin_with(3, slack ? 200 : exact_len(BODY));
		/* No place below it can be that of a container. */
		the_page.header.floor = PAGE_END;
		disk = *slot_at(1);
		slot = decoded(&disk);
		slot.len = exact_len(BODY) + slack;
		pfs_slot_encode(&right, &slot);
		((uint8_t *)&disk)[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (!mend(&source, 1, &disk, item))
			fail_msg("bit %u", bit);
		assert_int_equal(item->deed, PFS_DEED_WRITE);
		assert_true(item->corrected);
		assert_int_equal(item->finding.key.kind, PFS_KEY_NUM);
		assert_int_equal(item->finding.key.num, TAG);
		assert_memory_equal(&item->bytes, &right, sizeof(right));
	}
}

/* Whether the slot of a container of 128 bytes at `from` is believed to have this bit of its place
 * turned. */
static bool is_believed(uint64_t from, unsigned bit)
{
	struct pfs_check_value value;
	struct pfs_slot_disk disk = *slot_at(1), out;

	disk.low.b[bit / 8] ^= (uint8_t)(1u << bit % 8);
	if (!try_bit(&source, 1, &disk, 64 + bit, &out, &value))
		return false;
	assert_memory_equal(&out, slot_at(1), sizeof(out));
	assert_int_equal(decoded(&out).off, from);
	return true;
}

/* Proves: where the place of a slot may be that of its container, a turned bit of it is not
 * believed to lead to the right one. That it can't be it is where the containers do not begin yet,
 * after a clean end; where another one is; where there is no page; and where the right one would
 * have been written over. */
static void a_turned_place_must_be_impossible(void **state)
{
	static const struct {
		uint64_t from;
		unsigned bit;
		bool over;
	} cases[] = {
		{0x4000, 0, true},   {0x4000, 6, true},	 {0x4000, 7, false},  {0x4000, 8, false},
		{0x4000, 15, false}, {0x4000, 16, true}, {0x4000, 31, true},  {0x4040, 6, true},
		{0x4080, 7, false},  {0x4001, 0, true},	 {0x4800, 11, false}, {0x4080, 6, true},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		uint64_t from = cases[i].from, there = from ^ (UINT64_C(1) << cases[i].bit);
		unsigned bit = cases[i].bit;

		begin_with(3, 128);
		memset(file_bytes + AT, 0, 128);
		assert_int_equal(put_value(1, from, 128, TAG, 122), 128);
		the_page.header.floor = PFS_PAGE_HEADER_LEN;
		assert_int_equal(is_believed(from, bit), cases[i].over);
		if (cases[i].over)
			continue;
		the_page.header.floor = (uint32_t)there;
		assert_false(is_believed(from, bit));
		the_page.header.floor++;
		assert_true(is_believed(from, bit));
		the_repair.check.clean = false;
		assert_false(is_believed(from, bit));
		/* Another one's, of which a byte is there; it must verify. */
		put_value(0, there, 128, 7, BODY);
		assert_true(is_believed(from, bit));
		file_bytes[there + 40] ^= 1;
		assert_false(is_believed(from, bit));
	}
}

/* Proves: the bytes of a container are those of its header and of its body, to the last. */
static void the_last_byte_is_written_over(void **state)
{
	(void)state;
	for (uint64_t body_len = 57; body_len < 65; body_len++) {
		uint64_t len;

		begin_with(3, 128);
		memset(file_bytes + AT, 0, 128);
		len = exact_len(body_len);
		assert_int_equal(put_value(1, AT, len, TAG, body_len), len);
		the_page.header.floor = PFS_PAGE_HEADER_LEN;
		assert_int_equal(is_believed(AT, 6), len > 64);
	}
}

/* Proves: a bit that leads to a container in which another slot has its own is not the one. */
static void what_another_slot_has_is_not_taken_from_it(void **state)
{
	const struct pfs_container_base base = {PFS_KEY_NUM, TAG, the_page.header.base_seq,
						the_page.header.base_mtime};
	struct pfs_check_value value;
	struct pfs_slot_disk disk, out;
	uint64_t need;

	(void)state;
	begin_with(3, 300);
	need = put_value(1, AT, 300, TAG, BODY);
	disk = *slot_at(1);
	disk.tag.b[3] ^= 4;
	assert_true(try_bit(&source, 1, &disk, 26, &out, &value));
	put_container(AT + need - 60, 60, 7, 40);
	pfs_container_seal(file_bytes + AT, need - BODY, BODY, file_bytes[AT + 4], base.base_seq,
			   &base);
	assert_true(try_bit(&source, 1, &disk, 26, &out, &value));
	put_slot(0, &(struct pfs_slot){PFS_KEY_NUM, 7, (uint32_t)(AT + need - 60), 60, 0});
	assert_false(try_bit(&source, 1, &disk, 26, &out, &value));
	/* What lies in the room that it does not need does no harm. */
	put_value(0, AT + need, 60, 7, 40);
	assert_true(try_bit(&source, 1, &disk, 26, &out, &value));
}

/* ---- lengths ---- */

/* Proves: a slot is made as long as its container needs, or as the store's smallest, and not longer
 * than it was. */
static void slots_are_trimmed(void **state)
{
	static const struct {
		uint64_t len, smallest; /* 0: what it needs */
		uint64_t then;
	} cases[] = {{0, 16, 0},      {1000, 16, 0}, {1000, 500, 500},	{1000, 1000, 1000},
		     {400, 500, 400}, {1000, 0, 0},  {2000, 1001, 1001}};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_check_value value;
		struct pfs_slot_disk disk;
		struct pfs_slot slot;
		uint64_t need;

		begin_with(3, 1000);
		need = put_value(1, AT, cases[i].len ? cases[i].len : exact_len(BODY), TAG, BODY);
		slot = decoded(slot_at(1));
		slot.len = cases[i].len ? cases[i].len : need;
		put_slot(1, &slot);
		the_repair.super.min_value_size = (uint32_t)cases[i].smallest;
		assert_true(verifies(&source, &slot, &value));
		disk = *slot_at(1);
		trim(&source, &disk, &value);
		assert_int_equal(decoded(&disk).len, cases[i].then ? cases[i].then : need);
		assert_int_equal(decoded(&disk).off, AT);
		assert_int_equal(decoded(&disk).tag, TAG);
	}
}

/* Proves: a slot whose container seemed to be too small is left alone when it can't be told at the
 * next try. */
static void lengths_that_can_not_be_told_stay(void **state)
{
	struct pfs_repair_item *item = &the_items[0];

	(void)state;
	begin_with(3, 128);
	the_repair.super.min_value_size = 500;
	item->fault = (struct pfs_fault){PFS_FAULT_SMALL, PAGE_NUMBER, 1, 0, 0};
	file_bytes[AT + 20] ^= 1;
	assert_int_equal(pfs_repair_plan_slot(&the_repair, &the_file.base, &the_page, item), 0);
	assert_int_equal(item->deed, PFS_DEED_NONE);
	file_bytes[AT + 20] ^= 1;
	file_bytes[pfs_slot_offset(1) + 15] = 0xf0;
	assert_int_equal(pfs_repair_plan_slot(&the_repair, &the_file.base, &the_page, item), 0);
	assert_int_equal(item->deed, PFS_DEED_NONE);
	assert_int_equal(the_repair.super.min_value_size, 500);
}

/* ---- deciding ---- */

/* Proves: a container ends before the page's trailer does begin; tombstones have none. */
static void containers_end_before_the_trailer(void **state)
{
	struct pfs_slot slot = {PFS_KEY_NUM, 7, PAGE_END - 100, 100, 0};
	struct pfs_slot_disk disk;

	(void)state;
	begin_with(3, 128);
	pfs_slot_encode(&disk, &slot);
	assert_true(decode(&source, &disk, &slot));
	slot.len++;
	pfs_slot_encode(&disk, &slot);
	assert_false(decode(&source, &disk, &slot));
	pfs_slot_encode(&disk, &(struct pfs_slot){.kind = PFS_SLOT_TOMBSTONE, .seq = 1});
	assert_false(decode(&source, &disk, &slot));
}

/* Proves: with a slot that is taken out a document is lost, but for one that there is twice, or
 * that was temporary as far as its slot can be believed. */
static void what_is_taken_out_is_lost(void **state)
{
	static const struct {
		enum pfs_fault_kind kind;
		unsigned slot;
		bool lost;
	} cases[] = {
		{PFS_FAULT_VALUE, PFS_KEY_NUM, true},
		{PFS_FAULT_SLOT, PFS_KEY_NUM, true},
		{PFS_FAULT_DUPLICATE, PFS_KEY_NUM, false},
		{PFS_FAULT_VALUE, PFS_KEY_TEMP, false},
		{PFS_FAULT_SLOT, PFS_KEY_TEMP, true},
		{PFS_FAULT_DUPLICATE, PFS_KEY_TEMP, false},
		{PFS_FAULT_VALUE, 0xf, true},
		{PFS_FAULT_OVERLAP, PFS_KEY_TEMP, false},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_slot_disk disk;
		struct pfs_slot slot = {cases[i].slot, 7, AT, 100, 0}, then;
		struct pfs_repair_item *item = &the_items[0];

		begin_with(3, 128);
		pfs_slot_encode(&disk, &slot);
		item->fault = (struct pfs_fault){cases[i].kind, PAGE_NUMBER, 1, 0, 0};
		assert_int_equal(drop(&source, &disk, item), 0);
		assert_int_equal(item->deed, PFS_DEED_DROP);
		assert_int_equal(item->lost, cases[i].lost);
		assert_int_equal(the_kept.count, 1);
		assert_int_equal(the_kept.off[0], cases[i].slot == 0xf ? pfs_slot_offset(1) : AT);
		assert_int_equal(pfs_slot_decode(&then, &item->bytes, 0, PAGE_SIZE), 0);
		assert_int_equal(then.kind, PFS_SLOT_TOMBSTONE);
		assert_int_equal(then.seq, the_repair.super.sequence);
		assert_int_equal(then.tag, 7);
		the_kept.err = -ENOSPC;
		assert_int_equal(drop(&source, &disk, item), -ENOSPC);
	}
}

/* How often the page is read. */
static unsigned reads(void)
{
	unsigned count = 0;

	for (const char *at = the_file.calls; (at = strchr(at, 'r')); at++)
		count++;
	the_file.calls[0] = '\0';
	return count;
}

/* Proves: before a document is given up the wrong bit of its slot is searched for twice, lest a
 * read that failed once decides it; at the second try it is found. */
static void a_wrong_bit_is_searched_for_twice(void **state)
{
	struct pfs_identify by = {.read = read_page,
				  .arg = (void *)&source,
				  .page_size = PAGE_SIZE,
				  .buf = probe,
				  .budget = IDENTIFY_BUDGET};
	struct pfs_repair_item *item = &the_items[0];
	unsigned all, identify, once;
	struct pfs_identified is;
	struct pfs_slot_disk disk;

	(void)state;
	for (unsigned last = 0; last < 2; last++) {
		begin_with(2, 128);
		by.base_seq = the_page.header.base_seq;
		by.base_mtime = the_page.header.base_mtime;
		item->fault = (struct pfs_fault){PFS_FAULT_SLOT, PAGE_NUMBER, 1, 0, 0};
		disk = *slot_at(1);
		disk.word.b[3] ^= 0x80;
		the_file.bad_from = AT + 5;
		the_file.bad_end = AT + 6;
		(void)pfs_identify(&by, &disk, &is);
		identify = reads();
		assert_false(mend(&source, 1, &disk, item));
		once = reads();
		assert_true(once > 0);
		the_file.bad_times = last ? identify + 2 * once - 1 : 0;
		assert_int_equal(plan_damaged(&source, &disk, item), 0);
		all = reads();
		assert_int_equal(item->deed, last ? PFS_DEED_WRITE : PFS_DEED_DROP);
		if (!last)
			assert_int_equal(all, identify + 2 * once);
	}
}

/* ---- whole after all ---- */

/* Proves: a slot that is a valid one at the next try is left to the next round, whose container may
 * be the lowest; of a container the bytes are looked at, if there is memory for that. */
static void slots_may_be_whole_at_the_next_try(void **state)
{
	struct pfs_repair_item *item = &the_items[0];
	uint8_t raw[PFS_BLOCK_LEN];

	(void)state;
	begin_with(3, 128);
	the_repair.check.raw = raw;
	item->fault = (struct pfs_fault){PFS_FAULT_SLOT, PAGE_NUMBER, 1, 0, 0};
	assert_true(is_whole_now(&source, slot_at(1), item));
	the_page.header.floor = AT + 1;
	assert_false(is_whole_now(&source, slot_at(1), item));
	the_repair.check.clean = false;
	assert_true(is_whole_now(&source, slot_at(1), item));
	file_bytes[AT + 30] ^= 1;
	assert_true(is_whole_now(&source, slot_at(1), item));
	item->fault.kind = PFS_FAULT_VALUE;
	assert_false(is_whole_now(&source, slot_at(1), item));
	file_bytes[AT + 30] ^= 1;
	assert_true(is_whole_now(&source, slot_at(1), item));
	readers_left = 0;
	assert_false(is_whole_now(&source, slot_at(1), item));
	readers_left = UINT32_MAX;
	slot_at(1)->word.b[3] = 0xf0;
	item->fault.kind = PFS_FAULT_SLOT;
	assert_false(is_whole_now(&source, slot_at(1), item));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slots_are_read_whole),
		cmocka_unit_test(places_are_taken_by_what_verifies),
		cmocka_unit_test(a_turned_bit_of_a_slot_is_found),
		cmocka_unit_test(a_turned_place_must_be_impossible),
		cmocka_unit_test(the_last_byte_is_written_over),
		cmocka_unit_test(what_another_slot_has_is_not_taken_from_it),
		cmocka_unit_test(slots_are_trimmed),
		cmocka_unit_test(lengths_that_can_not_be_told_stay),
		cmocka_unit_test(containers_end_before_the_trailer),
		cmocka_unit_test(what_is_taken_out_is_lost),
		cmocka_unit_test(a_wrong_bit_is_searched_for_twice),
		cmocka_unit_test(slots_may_be_whole_at_the_next_try),
	};

	return cmocka_run_group_tests_name("repair of a slot, part by part", tests, NULL, NULL);
}
