/* storage/check_page.c, check_value.c: what is left of a page without its header, slot by slot, and
 * what is read for that; what is said and summed of pages, and in which order. The file is
 * included, to ask how many slots a page has. */
#include "tests/unit/store_helpers.h"

#include "storage/check_page.c"
#include "storage/store_internal.h"

#define PAGE_SIZE (64 * PFS_KIB)
#define COPY_AT (PAGE_SIZE - PFS_PAGE_TRAILER_LEN)
#define PAGE "page-00000001"

enum { H = 11, T, U, OTHER }; /* hashes */

/* A store with one page, whose slots are all unused. */
struct empty {
	struct pfs_sim *sim;
	struct pfs_page_header header;
};

static struct pfs_sim *killed_now(struct pfs_sim *sim)
{
	struct pfs_store *store = open_store(sim);
	struct pfs_sim *killed = pfs_sim_kill(sim);

	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
	pfs_sim_settle(killed);
	return killed;
}

static struct empty make_empty(bool killed)
{
	static const uint8_t zeros[PFS_SLOT_LEN];
	struct empty e = {.sim = pfs_sim_new()};
	struct pfs_key key = pfs_key_num(1);
	struct pfs_page_disk disk;
	struct pfs_store *store;
	const char *why;

	create_store(e.sim, PAGE_SIZE, 16);
	store = open_store(e.sim);
	put_document(store, &key, 10, 1);
	assert_int_equal(pfs_store_close(store), 0);
	if (killed)
		e.sim = killed_now(e.sim);
	write_at(e.sim, PAGE, pfs_slot_offset(0), zeros, sizeof(zeros));
	read_at(e.sim, PAGE, 0, &disk, sizeof(disk));
	assert_int_equal(pfs_page_header_decode(&e.header, &disk, disk.uuid, &why), 0);
	return e;
}

static void put_header(struct empty *e, uint32_t slots, uint64_t floor)
{
	struct pfs_page_disk disk;

	e->header.slot_count = slots;
	e->header.floor = floor;
	pfs_page_header_encode(&disk, &e->header);
	write_at(e->sim, PAGE, 0, &disk, sizeof(disk));
}

static void put_slot(struct empty *e, uint32_t number, const struct pfs_slot *slot)
{
	struct pfs_slot_disk disk;

	pfs_slot_encode(&disk, slot);
	write_at(e->sim, PAGE, pfs_slot_offset(number), &disk, sizeof(disk));
}

/* A document in slot `number`, under ten times that and one, of zeros; len: of its container. */
static void put_at(struct empty *e, uint32_t number, uint32_t off, uint32_t len, uint64_t seq)
{
	struct pfs_slot slot = {
		.kind = PFS_KEY_NUM, .tag = 10 * (uint64_t)number + 1, .off = off, .len = len};
	struct pfs_container_base base = {slot.kind, slot.tag, e->header.base_seq,
					  e->header.base_mtime};
	uint8_t bytes[200] = {0};
	struct pfs_container c = {.seq = e->header.base_seq + seq,
				  .mtime_ns = e->header.base_mtime};
	size_t head = seq ? 7 : 6;

	assert_true(len >= head && len <= sizeof(bytes));
	c.raw_len = c.body_len = len - head;
	assert_int_equal(pfs_container_header_encode(bytes, &c, &base, len), head);
	pfs_container_seal(bytes, head, c.body_len, bytes[4], c.seq, &base);
	write_at(e->sim, PAGE, off, bytes, len);
	put_slot(e, number, &slot);
}

static void spoil_header(struct empty *e, uint64_t off)
{
	uint8_t junk[PFS_PAGE_HEADER_LEN];

	memset(junk, 0xff, sizeof(junk));
	write_at(e->sim, PAGE, off, junk, sizeof(junk));
}

/* ---- how many slots there are ---- */

struct range {
	uint64_t from, to;
};

/* What can't be read. */
static int fail_ranges(void *arg, const struct pfs_sim_step *step)
{
	const struct range *bad = arg;

	if (step->kind != PFS_SIM_READ || strcmp(step->name, PAGE) != 0)
		return 0;
	for (size_t i = 0; i < 2; i++) {
		if (step->off < bad[i].to && bad[i].from < step->off + step->len)
			return -EIO;
	}
	return 0;
}

/* Proves: a page without header has the slots up to the last one whose container verifies, or that
 * can't be read and does not lie where a container does; a container that can't be read is said,
 * and claims its place. Of a container that lies over slots before its own nobody says that it is
 * one. */
static void slots_are_counted_without_a_header(void **state)
{
	static const struct {
		struct {
			uint32_t number, off, len;
		} at[2];
		struct range bad[2];
		uint32_t count;
		bool unread;
	} cases[] = {
		{{{0, 0, 0}}, {{0, 0}}, 0, false},
		{{{0, 80, 16}}, {{0, 0}}, 1, false},
		{{{0, 2000, 64}, {7, 1000, 64}}, {{0, 0}}, 8, false},
		{{{0, 1000, 64}, {7, 2000, 64}}, {{0, 0}}, 1, false},
		/* Over other slots. */
		{{{20, 96, 16}}, {{0, 0}}, 0, false},
		{{{20, 368, 16}}, {{0, 0}}, 0, false},
		/* Of the first sector only slots can't be read; 28 lie in it. */
		{{{0, 0, 0}}, {{0, 512}}, 28, true},
		{{{0, 0, 0}}, {{512, 1024}}, 60, true},
		/* A container begins where the sector ends, or within it. */
		{{{0, 1024, 64}}, {{512, 1024}}, 60, true},
		{{{0, 1032, 64}}, {{512, 1024}}, 60, true},
		{{{0, 1016, 64}}, {{512, 1024}}, 0, true},
		{{{0, 1000, 64}}, {{512, 1024}}, 0, true},
		{{{0, 2000, 64}, {1, 1000, 12}}, {{512, 1024}}, 1, true},
		/* One that can't be read. */
		{{{0, 40000, 64}}, {{40000, 40064}}, 0, true},
		{{{0, 40000, 64}, {1, 50000, 64}}, {{40000, 40064}}, 2, true},
		{{{0, 40000, 64}, {1, 30000, 64}}, {{40000, 40064}}, 2, true},
		{{{0, 40000, 64}}, {{512, 1024}, {40000, 40064}}, 60, true},
		{{{0, 1024, 64}}, {{512, 1024}, {1080, 1088}}, 60, true},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct empty e = make_empty(false);
		struct pfs_check_result result = {0};
		struct pfs_check check = {.result = &result, .logger = &quiet};
		struct paging p = {.check = &check};
		struct range bad[2];
		uint32_t count;
		bool unread = false;

		for (size_t d = 0; d < 2 && cases[i].at[d].len; d++)
			put_at(&e, cases[i].at[d].number, cases[i].at[d].off, cases[i].at[d].len,
			       0);
		memcpy(bad, cases[i].bad, sizeof(bad));
		pfs_sim_on_look(e.sim, fail_ranges, bad);
		p.file = store_file(e.sim, PAGE, &check.dir);
		assert_int_equal(pfs_check_files(&check), 0);
		assert_int_equal(pfs_check_reader_new(&p.reader, p.file), 0);
		count = count_slots(&p, &e.header, &unread);
		if (count != cases[i].count || unread != cases[i].unread)
			fail_msg("case %zu: %u, %d", i, count, unread);
		pfs_check_reader_free(&p.reader);
		store_file_done(check.dir, p.file);
		pfs_check_end(&check);
		pfs_sim_free(e.sim);
	}
}

/* Where the first finding about the page is that it is opened by its copy. */
static bool is_by_copy(const struct found *found)
{
	return found->count && strcmp(found->at[0].where, PAGE) == 0 && found->at[0].fatal &&
	       strstr(found->at[0].text, "; opened by the copy at its end");
}

/* Proves: a killed store whose page has no header, but its copy, was making that page only if
 * nothing can be in it: not where there is a document, or where whether there is one can't be
 * read. The first slot counts as any other does. */
static void pages_are_being_made_only_when_empty(void **state)
{
	static const uint8_t zeros[PFS_PAGE_HEADER_LEN];
	struct range bad[2] = {{40000, 40064}, {0, 0}};
	struct found *found;

	(void)state;
	for (unsigned documents = 0; documents < 3; documents++) {
		struct empty e = make_empty(true);

		if (documents)
			put_at(&e, 0, 40000, 64, 0);
		write_at(e.sim, PAGE, 0, zeros, sizeof(zeros));
		if (documents == 2)
			pfs_sim_on_look(e.sim, fail_ranges, bad);
		found = check_store(e.sim);
		assert_int_equal(is_by_copy(found), documents > 0);
		assert_int_equal(found->result.documents, documents == 1);
		assert_int_equal(found->count, documents > 0);
		free(found);
		pfs_sim_free(e.sim);
	}
}

/* Proves: a page file that the superblock does not count was being made only if it has neither
 * header nor copy, or ends early. */
static void uncounted_pages_are_looked_at(void **state)
{
	static const uint8_t zeros[PFS_PAGE_HEADER_LEN];
	static const char *const texts[2][2] = {
		{"; opened by the copy at its end", "it says it is page 1;"},
		{"copy of the header: ", "it says it is page 1;"},
	};
	uint8_t *bytes = malloc(PAGE_SIZE);

	(void)state;
	for (unsigned zeroed = 0; zeroed < 4; zeroed++) {
		struct empty e = make_empty(false);
		struct found *found;
		size_t said = 0;

		put_at(&e, 0, 40000, 64, 0);
		read_at(e.sim, PAGE, 0, bytes, PAGE_SIZE);
		make_file(e.sim, "page-00000009");
		write_at(e.sim, "page-00000009", 0, bytes, PAGE_SIZE);
		if (zeroed != 1)
			write_at(e.sim, "page-00000009", 0, zeros, sizeof(zeros));
		if (zeroed != 0)
			write_at(e.sim, "page-00000009", COPY_AT, zeros, sizeof(zeros));
		if (zeroed == 3) {
			struct pfs_dir *dir;
			struct pfs_file *file = store_file(e.sim, "page-00000009", &dir);

			assert_int_equal(file->ops->truncate(file, 30), 0);
			store_file_done(dir, file);
		}
		found = check_store(e.sim);
		for (size_t i = 0; i < found->count; i++) {
			if (strcmp(found->at[i].where, "page-00000009") != 0)
				continue;
			assert_true(said < 3);
			if (zeroed > 1) {
				assert_false(found->at[i].fatal);
				assert_string_equal(found->at[i].text, "it holds nothing");
			} else if (said < 2) {
				assert_true(found->at[i].fatal);
				assert_non_null(strstr(found->at[i].text, texts[zeroed][said]));
			}
			said++;
		}
		assert_int_equal(said, zeroed > 1 ? 1 : 3);
		free(found);
		pfs_sim_free(e.sim);
	}
	free(bytes);
}

/* ---- what it held ---- */

/* The numbers of slots whose documents are named, of a page without header and copy. */
static size_t slots_named(struct empty *e, uint32_t *slots, size_t max)
{
	struct found *found;
	size_t count = 0;

	spoil_header(e, 0);
	spoil_header(e, COPY_AT);
	found = check_store(e->sim);
	for (size_t i = 0; i < found->count; i++) {
		const struct pfs_finding *f = &found->at[i];
		uint32_t slot = (uint32_t)((f->offset - PFS_PAGE_HEADER_LEN) / PFS_SLOT_LEN);

		if (strcmp(f->text, "its page can't be used") != 0)
			continue;
		assert_true(f->fatal && count < max);
		assert_string_equal(f->where, PAGE);
		assert_int_equal(f->key.kind, PFS_KEY_NUM);
		assert_int_equal(f->offset, pfs_slot_offset(slot));
		slots[count++] = slot;
	}
	assert_int_equal(found->result.documents, count);
	free(found);
	return count;
}

/* Proves: of a page that can't be used the documents are named that slots point to, behind up to
 * 255 unused ones in a row; each container once, and none that lies over its slot or over one
 * before it. */
static void lost_documents_are_named(void **state)
{
	static const struct {
		struct {
			uint32_t number, off, len;
		} at[3];
		uint32_t named[4]; /* slots and 1 */
	} cases[] = {
		{{{0, 50000, 64}, {256, 40000, 64}}, {1, 257}},
		{{{0, 50000, 64}, {257, 40000, 64}}, {1}},
		{{{255, 40000, 64}}, {256}},
		{{{256, 40000, 64}}, {0}},
		{{{3, 40000, 64}, {130, 50000, 64}, {250, 39000, 64}}, {4, 251}},
		{{{3, 50000, 64}, {130, 40000, 64}, {250, 39000, 64}}, {4, 131, 251}},
		/* Up to where containers begin. */
		{{{0, 104, 60}, {1, 96, 8}}, {1, 2}},
		{{{0, 96, 60}, {1, 88, 8}}, {1}},
	};
	uint32_t slots[400];

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct empty e = make_empty(false);
		size_t count, expected = 0;

		for (size_t d = 0; d < 3 && cases[i].at[d].len; d++)
			put_at(&e, cases[i].at[d].number, cases[i].at[d].off, cases[i].at[d].len,
			       0);
		count = slots_named(&e, slots, pfs_array_len(slots));
		while (cases[i].named[expected])
			expected++;
		if (count != expected)
			fail_msg("case %zu: %zu", i, count);
		for (size_t n = 0; n < count; n++)
			assert_int_equal(slots[n] + 1, cases[i].named[n]);
		pfs_sim_free(e.sim);
	}
}

/* Proves: slots in use are none that are unused, however many there are in a row; one that makes no
 * sense, and one that has another's container, name nobody. */
static void only_documents_are_named(void **state)
{
	enum { MANY = 300 };
	struct empty e = make_empty(false);
	struct pfs_slot slot = {.kind = PFS_KEY_NUM, .tag = 99, .off = 40000, .len = 64};
	uint8_t junk[PFS_SLOT_LEN];
	uint32_t slots[400];

	(void)state;
	for (uint32_t i = 0; i < MANY; i++)
		put_at(&e, i, 60000 - 64 * i, 64, 0);
	assert_int_equal(slots_named(&e, slots, pfs_array_len(slots)), MANY);
	for (uint32_t i = 0; i < MANY; i++)
		assert_int_equal(slots[i], i);
	pfs_sim_free(e.sim);

	e = make_empty(false);
	put_at(&e, 0, 40000, 64, 0);
	put_slot(&e, 1, &slot);
	memset(junk, 0xff, sizeof(junk));
	write_at(e.sim, PAGE, pfs_slot_offset(2), junk, sizeof(junk));
	put_at(&e, 3, 30000, 64, 0);
	assert_int_equal(slots_named(&e, slots, pfs_array_len(slots)), 2);
	assert_int_equal(slots[0], 0);
	assert_int_equal(slots[1], 3);
	pfs_sim_free(e.sim);

	/* It would be its own container: a checksum, no flags, 34 bytes. */
	e = make_empty(false);
	slot = (struct pfs_slot){.kind = PFS_KEY_NUM,
				 .tag = UINT64_C(34) << 40,
				 .off = (uint32_t)pfs_slot_offset(0),
				 .len = 40};
	put_slot(&e, 0, &slot);
	assert_int_equal(slots_named(&e, slots, pfs_array_len(slots)), 0);
	pfs_sim_free(e.sim);
}

/* ---- what is read ---- */

struct counted {
	unsigned opens, reads, fail_at;
};

static int count_call(void *arg, const struct pfs_sim_step *step)
{
	struct counted *c = arg;

	if (strcmp(step->name, PAGE) != 0)
		return 0;
	c->opens += step->kind == PFS_SIM_OPEN;
	c->reads += step->kind == PFS_SIM_READ;
	return step->kind == PFS_SIM_OPEN && c->opens == c->fail_at ? -EIO : 0;
}

/* Proves: a healthy page is opened for its length and for what is in it, and is read once, besides
 * header and copy. One that can't be opened is said to be so. */
static void healthy_pages_are_read_once(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct counted c = {.fail_at = 0};
	struct pfs_store *store;
	struct found *found;

	(void)state;
	create_store(sim, PAGE_SIZE, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < 50; i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, 100 + i, i);
	}
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_on_look(sim, count_call, &c);
	expect_healthy(sim);
	assert_int_equal(c.opens, 2);
	assert_int_equal(c.reads, 3);

	c = (struct counted){.fail_at = 2};
	found = check_store(sim);
	assert_int_equal(found->count, 1);
	assert_true(found->at[0].fatal);
	assert_string_equal(found->at[0].where, PAGE);
	assert_int_equal(found->at[0].offset, 0);
	assert_string_equal(found->at[0].text, "can't be opened: Input/output error");
	free(found);
	pfs_sim_free(sim);
}

static int count_reads(void *arg, const struct pfs_sim_step *step)
{
	*(unsigned *)arg += step->kind == PFS_SIM_READ;
	return 0;
}

static int fail_reads(void *arg, const struct pfs_sim_step *step)
{
	return count_reads(arg, step), step->kind == PFS_SIM_READ ? -EIO : 0;
}

/* Proves: what a reader has at hand it does not read again, wherever in the file that is; what is
 * longer than its room, or beyond bytes in memory, can't be read; nor can a byte that the device
 * does not give. */
static void what_is_at_hand_is_not_read_again(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_check_reader reader, memory = {.len = 10};
	const uint8_t *bytes;
	struct pfs_file *file;
	struct pfs_dir *dir;
	unsigned reads = 0;
	uint8_t ten[10] = "012345678";

	(void)state;
	create_store(sim, PAGE_SIZE, 16);
	make_file(sim, "file");
	file = store_file(sim, "file", &dir);
	assert_int_equal(file->ops->truncate(file, 4 * PFS_MIB), 0);
	pfs_sim_on_look(sim, count_reads, &reads);
	assert_int_equal(pfs_check_reader_new(&reader, file), 0);
	for (uint64_t off = 2 * PFS_MIB; off <= 3 * PFS_MIB - 16; off += PFS_MIB / 8 - 2)
		assert_int_equal(pfs_check_read(&reader, off, 16, &bytes), 0);
	assert_int_equal(pfs_check_read(&reader, 2 * PFS_MIB, PFS_CHECK_WINDOW, &bytes), 0);
	assert_int_equal(reads, 1);
	assert_int_equal(pfs_check_read(&reader, 2 * PFS_MIB - 1, 1, &bytes), 0);
	assert_int_equal(reads, 2);
	assert_int_equal(pfs_check_read(&reader, 0, PFS_CHECK_WINDOW + 1, &bytes), -EIO);
	assert_null(bytes);
	assert_int_equal(reads, 2);
	/* What is behind the file's end is asked for once. */
	assert_int_equal(pfs_check_read(&reader, 4 * PFS_MIB, 1, &bytes), -EIO);
	assert_int_equal(reads, 3);
	pfs_sim_on_look(sim, fail_reads, &reads);
	assert_int_equal(pfs_check_read(&reader, 1000, 1, &bytes), -EIO);
	assert_null(bytes);
	assert_int_equal(reads, 5);
	pfs_check_reader_free(&reader);
	store_file_done(dir, file);
	pfs_sim_free(sim);

	memory.buf = ten;
	assert_int_equal(pfs_check_read(&memory, 3, 7, &bytes), 0);
	assert_ptr_equal(bytes, ten + 3);
	assert_int_equal(pfs_check_read(&memory, 3, 8, &bytes), -EIO);
	assert_null(bytes);
	assert_int_equal(pfs_check_read(&memory, 11, 0, &bytes), -EIO);
}

/* Proves: of a container that can't be read, whatever its length, that is known. */
static void what_can_not_be_read_is_unread(void **state)
{
	static const uint64_t lens[] = {1, 2, 64};
	struct range bad[2] = {{40000, 40064}, {0, 0}};
	struct empty e = make_empty(false);
	struct pfs_check_result result = {0};
	struct pfs_check check = {.result = &result, .logger = &quiet};
	struct pfs_file *file = store_file(e.sim, PAGE, &check.dir);

	(void)state;
	assert_int_equal(pfs_check_files(&check), 0);
	for (size_t i = 0; i < 2 * pfs_array_len(lens); i++) {
		const struct pfs_slot slot = {
			.kind = PFS_KEY_NUM, .tag = 1, .off = 40000, .len = lens[i / 2]};
		struct pfs_check_value value;

		pfs_sim_on_look(e.sim, i % 2 ? fail_ranges : NULL, bad);
		assert_false(pfs_check_header(&check, file, &e.header, &slot, &value));
		assert_int_equal(value.unread, i % 2);
	}
	store_file_done(check.dir, file);
	pfs_check_end(&check);
	pfs_sim_free(e.sim);
}

/* Proves: a body that ends early can't be read; of blocks that do not verify that is said, and of
 * others nothing. */
static void what_is_wrong_with_a_body_is_said(void **state)
{
	/* Two blocks of zeros, of which nothing is stored. */
	const struct pfs_container blocks = {.flags = PFS_CONTAINER_BLOCKS,
					     .raw_len = PFS_BLOCK_LEN + 5,
					     .body_len = 2 * PFS_BLOCK_ENTRY_LEN,
					     .content = 7},
				   plain = {.raw_len = 10, .body_len = 10};
	uint8_t bytes[2 * PFS_BLOCK_ENTRY_LEN] = {0};
	struct pfs_check_reader memory = {.buf = bytes, .len = sizeof(bytes)};
	struct pfs_check check = {.logger = &quiet};
	struct pfs_check_value value = {.why = NULL};

	(void)state;
	for (uint32_t i = 0; i < 2; i++)
		pfs_put_le32(bytes + i * PFS_BLOCK_ENTRY_LEN + 4,
			     pfs_block_crc(blocks.content, i, 0, bytes, 0));
	assert_int_equal(pfs_check_body(&check, &memory, 0, &blocks, &value), 0);
	assert_null(value.why);
	assert_int_equal(value.bad_blocks, 0);
	bytes[sizeof(bytes) - 1] ^= 1;
	assert_int_equal(pfs_check_body(&check, &memory, 0, &blocks, &value), -EUCLEAN);
	assert_string_equal(value.why, "blocks of it do not verify");
	assert_int_equal(value.bad_blocks, 1);
	assert_int_equal(value.first_bad, 1);

	assert_int_equal(pfs_check_body(&check, &memory, sizeof(bytes) - 10, &plain, &value), 0);
	assert_null(value.why);
	assert_int_equal(pfs_check_body(&check, &memory, sizeof(bytes) - 9, &plain, &value), -EIO);
	assert_string_equal(value.why, "it can't be read");
}

/* ---- what is said and summed ---- */

/* Proves: documents are taken in the order of their places, and at one place in that of slots. */
static void documents_are_in_the_order_of_places(void **state)
{
	static const struct live at[] = {{{.off = 5}, 9}, {{.off = 6}, 1}, {{.off = 6}, 2},
					 {{.off = 6}, 7}, {{.off = 8}, 0}, {{.off = 9}, 0}};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(at); i++) {
		for (size_t j = 0; j < pfs_array_len(at); j++) {
			int order = by_offset(&at[i], &at[j]);

			assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
		}
	}
}

/* Of the last finding. */
static struct pfs_fault said;

static void keep_fault(void *arg, const struct pfs_finding *finding)
{
	(void)finding;
	said = ((const struct pfs_check *)arg)->fault;
}

/* Proves: a page that can't be opened is a fault of that page, with which a repair can do
 * something; what it holds is not known. */
static void pages_that_can_not_be_opened_are_faults(void **state)
{
	struct empty e = make_empty(false);
	struct pfs_check_result result = {0};
	struct pfs_checked_page page = {.number = 9};
	struct pfs_check check = {.result = &result, .fn = keep_fault, .counts_known = true};
	struct pfs_file *file = store_file(e.sim, PAGE, &check.dir);

	(void)state;
	check.arg = &check;
	assert_int_equal(pfs_check_page(&check, &page), 0);
	assert_int_equal(result.findings, 1);
	assert_int_equal(said.kind, PFS_FAULT_UNUSABLE);
	assert_int_equal(said.number, 9);
	assert_int_equal(check.fault.kind, PFS_FAULT_NONE);
	assert_true(page.said && !check.counts_known);
	store_file_done(check.dir, file);
	pfs_sim_free(e.sim);
}

/* Proves: what was put off until the journal is known is said once. */
static void suspects_are_said_once(void **state)
{
	struct pfs_check_result result = {0};
	struct pfs_check check = {.result = &result, .fn = keep_fault, .arg = &check};
	const struct pfs_key key = pfs_key_num(3);

	(void)state;
	for (uint32_t i = 0; i < 2; i++) {
		check.fault = (struct pfs_fault){.kind = PFS_FAULT_VALUE, .number = 1, .slot = i};
		suspect(&check, H + i, &key);
	}
	assert_int_equal(result.findings, 0);
	pfs_check_suspects(&check);
	assert_int_equal(result.findings, 2);
	assert_int_equal(result.damaged, 2);
	assert_int_equal(said.slot, 1);
	pfs_check_suspects(&check);
	assert_int_equal(result.findings, 2);
	free(check.suspects);
}

/* Proves: the sum of a page, with which the index is compared, is that of documents that are not
 * damaged. */
static void damaged_documents_are_not_summed(void **state)
{
	struct empty e = make_empty(false);
	struct pfs_check_result result = {0};
	struct pfs_check check = {.result = &result, .fn = keep_fault, .clean = true};
	struct pfs_file *file;
	uint64_t sum = 0;

	(void)state;
	check.arg = &check;
	for (uint32_t i = 0; i < 4; i++) {
		put_at(&e, i, 40000 + 64 * i, 64, 0);
		if (i != 2)
			sum += pfs_check_mark(i, pfs_index_hash(PFS_KEY_NUM, 10 * i + 1));
	}
	flip_bit(e.sim, PAGE, 40000 + 64 * 2 + 30, 2);
	put_header(&e, 4, 40000);
	file = store_file(e.sim, PAGE, &check.dir);
	assert_int_equal(pfs_super_read(check.dir, &check.super, &quiet), 0);
	assert_int_equal(pfs_check_files(&check), 0);
	assert_int_equal(pfs_check_page(&check, &check.pages[0]), 0);
	assert_int_equal(result.findings, 1);
	assert_int_equal(said.slot, 2);
	assert_true(check.pages[0].live_sum == sum);
	store_file_done(check.dir, file);
	pfs_check_end(&check);
	pfs_sim_free(e.sim);
}

/* Proves: the highest number that a content has, and the shortest container, are those of all
 * documents. */
static void bounds_are_those_of_all(void **state)
{
	const size_t lens[] = {500, 3 * PFS_BLOCK_LEN, 300};
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_check_result result = {0};
	struct pfs_check check = {.result = &result, .logger = &quiet, .clean = true};
	uint64_t shortest = UINT64_MAX;
	struct pfs_store *store;
	struct pfs_file *file;

	(void)state;
	create_store(sim, PFS_MIB, 16);
	store = open_store(sim);
	for (unsigned i = 0; i < pfs_array_len(lens); i++) {
		struct pfs_key key = pfs_key_num(i);

		put_document(store, &key, lens[i], i + 1);
	}
	assert_int_equal(pfs_store_close(store), 0);
	for (unsigned i = 0; i < pfs_array_len(lens); i++) {
		struct pfs_key key = pfs_key_num(i);

		shortest = pfs_min_u64(shortest, place_of(sim, &key).container_len);
	}
	file = store_file(sim, PAGE, &check.dir);
	assert_int_equal(pfs_super_read(check.dir, &check.super, &quiet), 0);
	assert_int_equal(pfs_check_files(&check), 0);
	assert_int_equal(pfs_check_page(&check, &check.pages[0]), 0);
	assert_int_equal(result.findings, 0);
	assert_int_equal(check.container_min, shortest);
	/* The store was opened once when that was put. */
	assert_int_equal(check.content_max >> PFS_CONTENT_EPOCH_SHIFT, 1);
	store_file_done(check.dir, file);
	pfs_check_end(&check);
	pfs_sim_free(sim);
}

/* ---- whose it is ---- */

struct reads {
	unsigned seen, fail_from;
};

static int fail_from(void *arg, const struct pfs_sim_step *step)
{
	struct reads *r = arg;

	if (step->kind != PFS_SIM_READ || strcmp(step->name, PAGE) != 0)
		return 0;
	return r->fail_from && ++r->seen >= r->fail_from ? -EIO : 0;
}

/* Proves: the sequence of the container that a damaged slot should have had is known when that can
 * be read, and of no other. */
static void sequences_are_those_of_identified_slots(void **state)
{
	static const struct {
		int bit; /* of the slot that is wrong; below 0: none */
		bool container;
		unsigned fail_from;
		enum pfs_identity identity;
		bool known;
	} cases[] = {
		{3, false, 0, PFS_IDENTITY_SLOT, true},
		{3, false, 2, PFS_IDENTITY_SLOT, false},
		{-1, false, 0, PFS_IDENTITY_WHOLE, false},
		{-1, true, 0, PFS_IDENTITY_CONTAINER, false},
		{-1, false, 1, PFS_IDENTITY_UNREADABLE, false},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct empty e = make_empty(false);
		struct pfs_check_result result = {0};
		struct pfs_check check = {
			.result = &result, .logger = &quiet, .identified_seq = 77};
		struct reads reads = {.fail_from = cases[i].fail_from};
		struct pfs_slot_disk disk;
		struct pfs_file *file;
		struct pfs_key key;

		put_at(&e, 0, 40000, 64, 5);
		if (cases[i].container)
			flip_bit(e.sim, PAGE, 40030, 2);
		file = store_file(e.sim, PAGE, &check.dir);
		assert_int_equal(pfs_check_files(&check), 0);
		read_at(e.sim, PAGE, pfs_slot_offset(0), &disk, sizeof(disk));
		if (cases[i].bit >= 0)
			disk.tag.b[0] ^= (uint8_t)(1 << cases[i].bit);
		pfs_sim_on_look(e.sim, fail_from, &reads);
		assert_int_equal(pfs_check_identify(&check, file, &e.header, &disk, &key),
				 cases[i].identity);
		assert_int_equal(check.identified_seq, cases[i].known ? e.header.base_seq + 5 : 0);
		store_file_done(check.dir, file);
		pfs_check_end(&check);
		pfs_sim_free(e.sim);
	}
}

/* ---- after an unclean end ---- */

/* Proves: a damaged version is made good by one from before the journal that verifies; else, where
 * the document was moved, only by a newer one under a key that it was given, and where it was not,
 * by a newer one, or when it is replaced. */
static void what_makes_a_version_good(void **state)
{
	static const struct {
		bool whole, sound, renewed; /* of its key */
		uint64_t moved[2];	    /* keys that it was given */
		uint64_t renewed_too;
		bool good;
	} cases[] = {
		{false, false, false, {0}, 0, false},	  {true, false, false, {0}, 0, true},
		{false, true, false, {0}, 0, true},	  {false, false, true, {0}, 0, true},
		{false, false, false, {0}, OTHER, false}, {false, false, false, {T}, 0, false},
		{true, false, true, {T}, OTHER, false},	  {true, false, false, {T}, 0, false},
		{false, false, true, {T}, 0, false},	  {false, true, false, {T}, 0, true},
		{false, false, false, {T}, T, true},	  {true, false, true, {T, U}, T, true},
		{false, false, false, {T, U}, U, true},	  {true, false, true, {T, U}, OTHER, false},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_check check = {.clean = false};
		struct pfs_check_moved moved[4] = {{OTHER, U, true}};

		check.moved = moved;
		check.moved_count = 1;
		for (unsigned m = 0; m < 2 && cases[i].moved[m]; m++)
			moved[check.moved_count++] =
				(struct pfs_check_moved){H, cases[i].moved[m], m == 1};
		/* Behind the last one. */
		moved[check.moved_count] = (struct pfs_check_moved){H, OTHER, true};
		if (cases[i].whole)
			assert_int_equal(pfs_check_set_add(&check.whole, H), 1);
		if (cases[i].sound)
			assert_int_equal(pfs_check_set_add(&check.sound, H), 1);
		if (cases[i].renewed)
			assert_int_equal(pfs_check_set_add(&check.renewed, H), 1);
		if (cases[i].renewed_too)
			assert_int_equal(pfs_check_set_add(&check.renewed, cases[i].renewed_too),
					 1);
		if (is_made_good(&check, H) != cases[i].good)
			fail_msg("case %zu", i);
		pfs_check_set_free(&check.whole);
		pfs_check_set_free(&check.sound);
		pfs_check_set_free(&check.renewed);
	}
}

static bool has_key(const struct pfs_check_set *set, uint64_t num)
{
	return pfs_check_set_has(set, pfs_check_hash(PFS_KEY_NUM, num));
}

/* Proves: of documents that the journal names, those that verify are from before its first record,
 * or not; others are not remembered. */
static void versions_are_older_than_the_journal_or_not(void **state)
{
	struct empty e = make_empty(true);
	struct pfs_check_result result = {0};
	struct pfs_check check = {
		.result = &result, .logger = &quiet, .window = e.header.base_seq + 5};
	struct pfs_slot_disk slot;
	struct pfs_file *file;

	(void)state;
	for (uint32_t i = 0; i < 4; i++)
		put_at(&e, i, 40000 + 64 * i, 64, 4 + i % 3);
	/* One that is there twice is remembered once. */
	read_at(e.sim, PAGE, pfs_slot_offset(0), &slot, sizeof(slot));
	write_at(e.sim, PAGE, pfs_slot_offset(4), &slot, sizeof(slot));
	put_header(&e, 5, 40000);
	file = store_file(e.sim, PAGE, &check.dir);
	assert_int_equal(pfs_super_read(check.dir, &check.super, &quiet), 0);
	assert_int_equal(pfs_check_files(&check), 0);
	for (uint64_t num = 1; num < 31; num += 10)
		assert_int_equal(pfs_check_set_add(&check.named, pfs_check_hash(PFS_KEY_NUM, num)),
				 1);
	assert_int_equal(pfs_check_page(&check, &check.pages[0]), 0);
	assert_int_equal(result.documents, 4);
	assert_int_equal(result.findings, 1); /* it overlaps itself */
	assert_true(has_key(&check.sound, 1) && !has_key(&check.renewed, 1));
	assert_true(!has_key(&check.sound, 11) && has_key(&check.renewed, 11));
	assert_true(!has_key(&check.sound, 21) && has_key(&check.renewed, 21));
	assert_int_equal(check.sound.count, 1);
	assert_int_equal(check.renewed.count, 2);
	store_file_done(check.dir, file);
	pfs_check_end(&check);
	pfs_sim_free(e.sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slots_are_counted_without_a_header),
		cmocka_unit_test(pages_are_being_made_only_when_empty),
		cmocka_unit_test(uncounted_pages_are_looked_at),
		cmocka_unit_test(lost_documents_are_named),
		cmocka_unit_test(only_documents_are_named),
		cmocka_unit_test(healthy_pages_are_read_once),
		cmocka_unit_test(what_is_at_hand_is_not_read_again),
		cmocka_unit_test(what_can_not_be_read_is_unread),
		cmocka_unit_test(what_is_wrong_with_a_body_is_said),
		cmocka_unit_test(documents_are_in_the_order_of_places),
		cmocka_unit_test(pages_that_can_not_be_opened_are_faults),
		cmocka_unit_test(suspects_are_said_once),
		cmocka_unit_test(damaged_documents_are_not_summed),
		cmocka_unit_test(bounds_are_those_of_all),
		cmocka_unit_test(sequences_are_those_of_identified_slots),
		cmocka_unit_test(what_makes_a_version_good),
		cmocka_unit_test(versions_are_older_than_the_journal_or_not),
	};

	return cmocka_run_group_tests_name("check page", tests, NULL, NULL);
}
