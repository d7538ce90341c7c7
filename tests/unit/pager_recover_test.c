/* storage/pager_open.c, part by part: slots that are counted anew, headers that can't be read. The
 * file is included, with few slots in a page. */
#include "tests/unit/damaged_file.h"

static bool refuses;
static unsigned passes; /* so many are not refused before */

static void *fake_malloc(size_t size)
{
	return refuses ? NULL : malloc(size);
}

static void *fake_calloc(size_t n, size_t size)
{
	if (refuses && passes) {
		passes--;
		return calloc(n, size);
	}
	return refuses ? NULL : calloc(n, size);
}

#undef PFS_SLOT_NUMBER_MAX
#define PFS_SLOT_NUMBER_MAX 20u
#define malloc fake_malloc
#define calloc fake_calloc
#include "storage/pager_open.c"
#undef malloc
#undef calloc

#define LEN 100u /* of containers */

static char said[512];

static void keep_line(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	assert_int_equal(level, PFS_LOG_ERROR);
	snprintf(said, sizeof(said), "%s", line);
}

static const struct pfs_logger logger = {.fn = keep_line};
static struct pfs_pager pager;
static struct pfs_page opened;

static void begin(void)
{
	begin_repair();
	said[0] = '\0';
	memset(&pager, 0, sizeof(pager));
	memcpy(pager.uuid, store_uuid, PFS_UUID_LEN);
	pager.logger = &logger;
	opened = (struct pfs_page){
		.number = PAGE_NUMBER, .file = &the_file.base, .file_size = PAGE_SIZE};
}

/* ---- slots ---- */

/* v: a container below all others; b: one that does not verify; u: that can't be read; c: one that
 * ends with the file; s: the bytes of the first one once more, its length too short; 0: none;
 * t: a tombstone; j: junk; x: the slot can't be read; e: a container right behind the slot; o: one
 * that lies over the header. */
static void put_slots(const char *kinds)
{
	uint64_t low = PAGE_END;

	for (uint32_t i = 0; kinds[i]; i++) {
		uint64_t own = pfs_slot_offset(i);

		switch (kinds[i]) {
		case 'v':
		case 'b':
		case 'u':
		case 'c':
			low -= LEN;
			put_value(i, low, LEN, 100 + i, 60);
			file_bytes[low + 20] ^= kinds[i] == 'b';
			the_file.bad_from = kinds[i] == 'u' ? low + 5 : the_file.bad_from;
			the_file.bad_end = kinds[i] == 'u' ? low + 6 : the_file.bad_end;
			the_file.size = kinds[i] == 'c' ? low + 1 : the_file.size;
			break;
		case 's':
			low -= LEN;
			put_slot(i, &(struct pfs_slot){PFS_KEY_NUM, 100, (uint32_t)low, 30, 0});
			memcpy(file_bytes + low, file_bytes + PAGE_END - LEN, LEN);
			break;
		case 't':
			put_slot(i, &(struct pfs_slot){.kind = PFS_SLOT_TOMBSTONE, .seq = 3});
			break;
		case 'j': memset(file_bytes + own, 0xf7, PFS_SLOT_LEN); break;
		case 'x':
			the_file.bad_from = own + 3;
			the_file.bad_end = own + 4;
			break;
		case 'e': put_value(i, own + PFS_SLOT_LEN, LEN, 7, 60); break;
		case 'o': put_value(i, 8, 50, 7, 30); break;
		default: break;
		}
	}
}

/* Proves: slots are counted to the last whose container verifies, to where the containers begin and
 * to no more than there can be; without memory for that it is an error. */
static void slots_are_counted_to_the_last_that_verifies(void **state)
{
	static const struct {
		const char *kinds;
		uint32_t count;
		uint64_t floor; /* 0: that of so many containers as there are v */
	} cases[] = {
		{"", 0, 0},
		{"000", 0, 0},
		{"bjt", 0, 0},
		{"v", 1, 0},
		{"vvv", 3, 0},
		{"v0v", 3, 0},
		{"vbv", 3, PAGE_END - 3 * LEN},
		{"vv0", 2, 0},
		{"vb", 1, 0},
		{"vu", 1, 0},
		{"c", 0, 0},
		{"cv", 2, PAGE_END - 2 * LEN},
		{"vs", 1, 0},
		{"vx", 1, 0},
		{"vtj", 1, 0},
		{"vtv", 3, 0},
		{"e", 1, PFS_PAGE_HEADER_LEN + PFS_SLOT_LEN},
		{"v0e", 3, PFS_PAGE_HEADER_LEN + 3 * PFS_SLOT_LEN},
		{"o", 0, 0},
		{"vo", 1, 0},
		{"vvvvvvvvvvvvvvvvvvvvvvvvv", 21, PAGE_END - 21 * LEN},
	};

	(void)state;
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		struct pfs_page_header header = new_header();
		uint64_t floor = PAGE_END;

		begin();
		header.slot_count = 9;
		put_slots(cases[i].kinds);
		for (const char *kind = cases[i].kinds; *kind; kind++)
			floor -= *kind == 'v' ? LEN : 0;
		assert_int_equal(recover_header(&opened, &header), 0);
		if (header.slot_count != cases[i].count)
			print_message("%s\n", cases[i].kinds);
		assert_int_equal(header.slot_count, cases[i].count);
		assert_int_equal(header.floor, cases[i].floor ? cases[i].floor : floor);
		refuses = true;
		assert_int_equal(recover_header(&opened, &header), -ENOMEM);
		refuses = false;
	}
}

/* Proves: a container that is longer than it was is none, also where the bytes of one that verifies
 * were read before. */
static void longer_slots_have_no_container(void **state)
{
	const uint64_t first = PAGE_END - 200, second = PAGE_END - 400;
	struct pfs_page_header header = new_header();
	uint64_t need;

	(void)state;
	begin();
	need = put_value(0, first, 66, 100, 60);
	assert_int_equal(need, 66);
	memcpy(file_bytes + second, file_bytes + first, 90);
	put_slot(1, &(struct pfs_slot){PFS_KEY_NUM, 100, (uint32_t)second, 90, 0});
	assert_int_equal(recover_header(&opened, &header), 0);
	assert_int_equal(header.slot_count, 1);
	assert_int_equal(header.floor, first);
	put_slot(1, &(struct pfs_slot){PFS_KEY_NUM, 100, (uint32_t)second, 66, 0});
	assert_int_equal(recover_header(&opened, &header), 0);
	assert_int_equal(header.slot_count, 2);
}

/* ---- headers ---- */

/* Proves: an error of reading the header or its copy is passed on, the header's first; also when
 * the file has become shorter. */
static void headers_are_read_or_an_error(void **state)
{
	struct pfs_page_header header = new_header(), found;
	bool damaged;

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		begin();
		put_header(0, &header);
		put_header(PAGE_END, &header);
		the_file.bad_from = i == 0 ? 10 : PAGE_END + 10;
		the_file.bad_end = i == 3 ? 0 : the_file.bad_from + 1;
		the_file.size = i == 2 ? 0 : PAGE_SIZE;
		if (i == 4)
			the_file.read_err = -ENOMEM;
		assert_int_equal(find_header(&pager, &opened, "page-00000003", &found, &damaged),
				 i == 3	  ? 1
				 : i == 4 ? -ENOMEM
					  : -EIO);
	}
	assert_string_equal(said, "");
	assert_false(opened.unborn);
}

/* Proves: a file too short for a header is no page: one that is being made, or damaged; one too
 * short for a copy has none. */
static void short_files_are_no_pages(void **state)
{
	struct pfs_page_header header = new_header(), found;
	bool damaged;

	(void)state;
	for (uint64_t size = 0; size < 129; size += size == 64 ? 63 : size == 127 ? 1 : 64) {
		for (unsigned i = 0; i < 4; i++) {
			bool counted = i % 2, front = i / 2 && size >= 64;

			begin();
			the_file.size = opened.file_size = size;
			if (front)
				put_header(0, &header);
			pager.set.highest = counted ? PAGE_NUMBER : 0;
			assert_int_equal(
				find_header(&pager, &opened, "page-00000003", &found, &damaged),
				front	  ? 1
				: counted ? -EUCLEAN
					  : 0);
			assert_int_equal(opened.unborn, front);
		}
	}
}

/* Proves: of a page that is being made, whose header is torn, it is said that it is opened by the
 * copy; of one without any header yet, nothing is. */
static void torn_headers_of_new_pages_are_told(void **state)
{
	struct pfs_page_header header = new_header(), found;
	bool damaged;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		begin();
		put_header(PAGE_END, &header);
		file_bytes[40] = i % 2;
		pager.set.highest = i / 2 ? PAGE_NUMBER : 0;
		assert_int_equal(find_header(&pager, &opened, "page-00000003", &found, &damaged),
				 1);
		assert_true(damaged && opened.unborn);
		assert_int_equal(found.floor, PAGE_END);
		assert_string_equal(said, i == 0 ? ""
						 : "damage in page-00000003 at byte 0: not a page "
						   "(magic); the page is opened by the copy of its "
						   "header");
	}
}

/* Proves: without memory there is no pager. */
static void a_pager_needs_memory(void **state)
{
	struct pfs_pager_options options = {
		.dir = &the_dir.base, .uuid = store_uuid, .logger = &logger};
	struct pfs_pager *new_pager;
	uint64_t count = 9;

	(void)state;
	begin();
	refuses = true;
	assert_int_equal(pfs_pager_open(&new_pager, &options, &count), -ENOMEM);
	assert_null(new_pager);
	the_dir.names[0] = "page-00000003";
	passes = 1;
	assert_int_equal(pfs_pager_open(&new_pager, &options, &count), -ENOMEM);
	assert_null(new_pager);
	assert_int_equal(the_dir.opens, 0);
	refuses = false;
	the_dir.open_err = -EMFILE;
	assert_int_equal(pfs_pager_open(&new_pager, &options, &count), -EMFILE);
	assert_null(new_pager);
	/* What only looks like a page is left alone, and those behind it are found. */
	the_dir.names[0] = "page-3";
	the_dir.names[1] = "page-0000000A";
	assert_int_equal(pfs_pager_open(&new_pager, &options, &count), 0);
	assert_int_equal(count, 0);
	pfs_pager_close(new_pager);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slots_are_counted_to_the_last_that_verifies),
		cmocka_unit_test(longer_slots_have_no_container),
		cmocka_unit_test(headers_are_read_or_an_error),
		cmocka_unit_test(short_files_are_no_pages),
		cmocka_unit_test(torn_headers_of_new_pages_are_told),
		cmocka_unit_test(a_pager_needs_memory),
	};

	return cmocka_run_group_tests_name("opening of pages, part by part", tests, NULL, NULL);
}
