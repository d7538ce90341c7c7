/* storage/manifest.c, identify.c, quarantine.c, refine.c, train.c: they keep to the memory that
 * they are given and that they get, to the byte. The files are included, with blocks behind which
 * nobody may touch anything. */
#include "storage/base64.h"
#include "storage/codec.h"
#include "storage/json_scan.h"
#include "tests/unit/store_helpers.h"

#include "tests/unit/fenced.h"

#include "storage/identify.c"
#include "storage/manifest.h"

/* Instead of half a gigabyte. */
static size_t manifest_len_max = PFS_MANIFEST_LEN_MAX;

#undef PFS_MANIFEST_LEN_MAX
#define PFS_MANIFEST_LEN_MAX manifest_len_max
#include "storage/manifest.c"
#include "storage/quarantine.c"
#include "storage/refine.c"
#include "storage/train.c"

/* Proves: a manifest is read to its last byte and no further, and is as long as one may be. */
static void manifests_are_read_to_their_end(void **state)
{
	struct pfs_manifest_object objects[] = {
		{.role = PFS_OBJECT_DICT, .len = 1, .count = 1},
		{.role = PFS_OBJECT_KEYS, .len = 41},
		{.role = PFS_OBJECT_PAGE, .len = 70000, .count = 1, .head = 80, .size_log2 = 17}};
	struct pfs_manifest_block block = {.kind = PFS_KEY_NUM,
					   .begins_page = true,
					   .begins_keys = true,
					   .count = 1,
					   .len = 41};
	uint32_t crcs[4] = {1, 2, 3, 4};
	const struct pfs_manifest m = {.generation = 1,
				       .points = 1,
				       .object_count = 3,
				       .block_count = 1,
				       .chunk_count = 4,
				       .objects = objects,
				       .blocks = &block,
				       .crcs = crcs};
	struct pfs_manifest got;
	const char *why;
	uint8_t *bytes, *again;
	size_t len, again_len;

	(void)state;
	assert_int_equal(pfs_manifest_encode(&m, &bytes, &len), 0);
	assert_int_equal(len % FENCED_ALIGNMENT, 0);
	assert_int_equal(pfs_manifest_decode(&got, bytes, len, &why), 0);
	assert_int_equal(got.chunk_count, 4);
	assert_memory_equal(got.crcs, crcs, sizeof(crcs));
	pfs_manifest_free(&got);
	manifest_len_max = len;
	assert_int_equal(pfs_manifest_decode(&got, bytes, len, &why), 0);
	pfs_manifest_free(&got);
	assert_int_equal(pfs_manifest_encode(&m, &again, &again_len), 0);
	assert_int_equal(again_len, len);
	free(again);
	manifest_len_max = len - 1;
	assert_int_equal(pfs_manifest_decode(&got, bytes, len, &why), -EUCLEAN);
	assert_string_equal(why, "checksum");
	assert_int_equal(pfs_manifest_encode(&m, &again, &again_len), -EFBIG);
	free(bytes);
	assert_int_equal(fenced_blocks, 0);
}

#define LONG_PAGE (4 * PFS_IDENTIFY_ROOM)

static int read_long(void *arg, uint64_t off, void *buf, size_t len)
{
	if (off > LONG_PAGE || len > LONG_PAGE - off)
		return -EIO;
	memcpy(buf, (const uint8_t *)arg + off, len);
	return 0;
}

/* Proves: of a packed document that is longer than any that is packed as a whole nothing is summed
 * that was not read, and nothing told. */
static void what_was_not_read_is_not_summed(void **state)
{
	const uint32_t len = 2 * PFS_IDENTIFY_ROOM, off = 8000;
	struct pfs_slot slot = {.kind = PFS_KEY_NUM, .tag = 42, .off = off, .len = len};
	struct pfs_container_base base = {slot.kind, slot.tag, 1000, 5};
	struct pfs_container c = {
		.flags = PFS_CONTAINER_LZ4, .raw_len = 1000, .seq = 1000, .mtime_ns = 5};
	uint8_t *bytes = calloc(1, LONG_PAGE);
	struct pfs_identify by = {.read = read_long,
				  .arg = bytes,
				  .page_size = LONG_PAGE,
				  .base_seq = 1000,
				  .base_mtime = 5,
				  .buf = malloc(PFS_IDENTIFY_ROOM),
				  .budget = PFS_GIB};
	struct pfs_slot_disk disk;
	struct pfs_identified is;

	(void)state;
	c.body_len = len - 7; /* five bytes, and two of the length */
	assert_int_equal(pfs_container_header_encode(bytes + off, &c, &base, len), 7);
	pfs_container_seal(bytes + off, 7, c.body_len, bytes[off + 4], c.seq, &base);
	pfs_slot_encode(&disk, &slot);
	for (unsigned wrong = 0; wrong < 2; wrong++) {
		assert_int_equal(pfs_identify(&by, &disk, &is), PFS_IDENTITY_UNKNOWN);
		assert_int_equal(is.decoded.tag, 42);
		bytes[off + 100] ^= 1;
	}
	free(bytes);
	free(by.buf);
	assert_int_equal(fenced_blocks, 0);
}

/* Proves: of a container of which less is there than its checksum and flags nothing is read behind
 * that, and nothing told. */
static void short_headers_are_not_read_over(void **state)
{
	const struct pfs_container_base base = {PFS_KEY_NUM, 42, 1000, 5};
	uint8_t *block = malloc(FENCED_ALIGNMENT);
	struct pfs_container c;

	(void)state;
	memset(block, 0, FENCED_ALIGNMENT);
	for (size_t len = 0; len < 6; len++)
		assert_int_equal(pfs_container_header_decode(&c, block + FENCED_ALIGNMENT - len,
							     len, 100, &base),
				 -EUCLEAN);
	for (uint64_t len = 0; len < 6; len++)
		assert_int_equal(
			pfs_container_header_decode(&c, block, FENCED_ALIGNMENT, len, &base),
			-EUCLEAN);
	free(block);
	assert_int_equal(fenced_blocks, 0);
}

/* Proves: what is kept of a file that ends within the last piece of a part has zeros up to the
 * part's end, and nothing behind. */
static void parts_end_where_they_end(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_kept kept = {.where = "file", .len = PFS_QUARANTINE_PART, .reason = "a test"};
	struct pfs_quarantine quarantine;
	struct pfs_file *source;
	struct pfs_dir *dir;

	(void)state;
	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE | PFS_IO_CREATE, &dir), 0);
	assert_int_equal(dir->ops->open(dir, "file", PFS_IO_WRITE | PFS_IO_CREATE, &source), 0);
	assert_int_equal(source->ops->truncate(source, PFS_QUARANTINE_PART - 50), 0);
	pfs_quarantine_begin(&quarantine, dir);
	assert_int_equal(pfs_quarantine_add(&quarantine, &kept, source), 0);
	assert_true(pfs_is_zero(quarantine.bytes, PFS_QUARANTINE_PART));
	pfs_quarantine_end(&quarantine);
	source->ops->close(source);
	dir->ops->close_dir(dir);
	pfs_sim_free(sim);
	assert_int_equal(fenced_blocks, 0);
}

/* Proves: of what is added to a line there is as much as has room, with an end behind it; a string
 * is added if it has room however it is written, or not at all. */
static void lines_end_in_their_room(void **state)
{
	enum { CAP = 22 };
	struct line line = {.at = malloc(CAP), .cap = CAP};

	(void)state;
	add(&line, "%s", "x");
	assert_int_equal(line.len, 1);
	add(&line, "%s", "");
	assert_int_equal(line.len, 1);
	/* 20 bytes at most, and one behind them. */
	line.len = CAP - 21;
	add_string(&line, "\1\2\3");
	assert_int_equal(line.len, CAP - 1);
	assert_memory_equal(line.at, "x\"\\u0001\\u0002\\u0003\"", CAP - 1);
	line.len = CAP - 20;
	add_string(&line, "abc");
	assert_int_equal(line.len, CAP - 20);
	add_string(&line, "ab");
	assert_int_equal(line.len, CAP - 16);
	assert_memory_equal(line.at + CAP - 20, "\"ab\"", 4);

	line.len = 0;
	add(&line, "%s", "012345678901234567890");
	assert_int_equal(line.len, CAP - 1);
	assert_string_equal(line.at, "012345678901234567890");
	line.len = 5;
	add(&line, "%s", "abcdefghijklmnopqrstuvwxyz");
	assert_int_equal(line.len, CAP - 1);
	assert_string_equal(line.at, "01234abcdefghijklmnop");
	add(&line, "%s", "more");
	assert_int_equal(line.len, CAP - 1);
	free(line.at);
	assert_int_equal(fenced_blocks, 0);
}

#define SAMPLES 2000u
#define SAMPLE_LEN 61u

static uint8_t *make_samples(size_t lens[SAMPLES])
{
	uint8_t *bytes = malloc((size_t)SAMPLES * SAMPLE_LEN);

	for (unsigned i = 0; i < SAMPLES; i++) {
		uint64_t r = pfs_mix64(i);
		char text[SAMPLE_LEN + 8];

		snprintf(text, sizeof(text),
			 "{\"street\":\"%016llx\",\"city\":\"%016llx\",\"%04x\"}",
			 (unsigned long long)pfs_mix64(r % 30),
			 (unsigned long long)pfs_mix64(100 + r / 7 % 15), i);
		memcpy(bytes + (size_t)i * SAMPLE_LEN, text, SAMPLE_LEN);
		lens[i] = SAMPLE_LEN;
	}
	return bytes;
}

/* Proves: a dictionary is made and refined within what there is for samples and for it. */
static void dictionaries_are_made_in_their_room(void **state)
{
	enum { CAP = 4096 };
	size_t *lens = malloc(SAMPLES * sizeof(*lens)), len = CAP;
	uint8_t *samples = make_samples(lens), *dict = malloc(CAP);

	(void)state;
	memcpy(dict, samples, CAP);
	if (pfs_train_version())
		assert_true(pfs_train_samples(dict, CAP, samples, lens, SAMPLES) > 0);
	assert_int_equal(pfs_refine(dict, &len, CAP, samples, lens, SAMPLES, NULL), 0);
	assert_int_equal(len, CAP);
	free(lens);
	free(samples);
	free(dict);
	assert_int_equal(fenced_blocks, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(manifests_are_read_to_their_end),
		cmocka_unit_test(what_was_not_read_is_not_summed),
		cmocka_unit_test(short_headers_are_not_read_over),
		cmocka_unit_test(parts_end_where_they_end),
		cmocka_unit_test(lines_end_in_their_room),
		cmocka_unit_test(dictionaries_are_made_in_their_room),
	};

	return cmocka_run_group_tests_name("fenced parts", tests, NULL, NULL);
}
