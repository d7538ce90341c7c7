/* Proves: the block table of a large value is believed only as far as its bytes go; a range read is
 * the same bytes as the whole read has there; what can be read as a whole is what a check finds
 * nothing wrong with. */
#include "storage/check.h"
#include "tests/fuzz/fuzz.h"

/* The reader of blocks is its own. */
#include "storage/store_source.c"

#define RAW_MAX (6 * PFS_BLOCK_LEN)
#define RANGES 4
#define MORE (2 * PFS_BLOCK_LEN) /* bytes that may follow on those of the input */

static void seal(uint8_t *body, size_t body_len, uint64_t raw_len, uint64_t content)
{
	uint64_t n = pfs_block_count(raw_len), table = n * PFS_BLOCK_ENTRY_LEN;

	for (uint64_t i = 0; i < n; i++) {
		uint8_t *entry = body + i * PFS_BLOCK_ENTRY_LEN;
		uint32_t start = i ? pfs_get_le32(entry - PFS_BLOCK_ENTRY_LEN) : 0;
		uint32_t end = pfs_get_le32(entry);

		if (start <= end && end <= body_len - table)
			pfs_put_le32(entry + 4, pfs_block_crc(content, (uint32_t)i, end,
							      body + table + start, end - start));
	}
}

static int check_verdict(const struct blocks *b, uint64_t *blocks, uint64_t *bad)
{
	static uint8_t raw[PFS_BLOCK_LEN];
	struct pfs_check check = {.raw = raw};
	struct pfs_check_reader reader = {.buf = (uint8_t *)(uintptr_t)b->map, .len = b->body_len};
	struct pfs_container c = {.flags = PFS_CONTAINER_BLOCKS,
				  .raw_len = b->raw_len,
				  .content = b->content,
				  .body_len = b->body_len};
	struct pfs_check_value value = {0};
	int err = pfs_check_body(&check, &reader, 0, &c, &value);

	*blocks = value.blocks;
	*bad = value.bad_blocks;
	FUZZ_CHECK((err == 0) == (value.bad_blocks == 0));
	return err;
}

static void read_ranges(struct pfs_store *store, const struct blocks *b, struct fuzz_in *in,
			const uint8_t *whole)
{
	for (unsigned i = 0; i < RANGES; i++) {
		uint64_t off = fuzz_u32(in) % b->raw_len;
		size_t len = 1 + fuzz_u32(in) % (b->raw_len - off);
		uint8_t *part = malloc(len);
		int err;

		FUZZ_CHECK(part != NULL);
		err = read_blocks(store, b, off, part, len);
		FUZZ_CHECK(err == 0 || err == -EUCLEAN);
		FUZZ_CHECK(!whole || (err == 0 && memcmp(part, whole + off, len) == 0));
		free(part);
	}
}

/* u8 bit 0 the checksums are made right, bit 1 the body goes on with zeros; u32 raw length; u64
 * content number; four ranges of u32 offset and length; the body. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct pfs_store store; /* a counter of it is used */
	struct fuzz_in in = fuzz_in(data, size), ranges;
	unsigned flags = fuzz_u8(&in);
	struct blocks b = {.raw_len =
				   PFS_BLOCK_LEN + 1 + fuzz_u32(&in) % (RAW_MAX - PFS_BLOCK_LEN)};
	uint64_t bad = 0, blocks, n = pfs_block_count(b.raw_len);
	uint8_t *body, *whole;
	const uint8_t *at;
	size_t len;
	int err;

	b.content = fuzz_int(&in, 8);
	at = fuzz_bytes(&in, RANGES * 8, &len);
	ranges = fuzz_in(at, len);
	b.body_len = fuzz_left(&in) + (flags & 2 ? MORE : 0);
	if (b.body_len < n * PFS_BLOCK_ENTRY_LEN) /* refused with the container's header */
		return 0;
	body = calloc(1, b.body_len);
	whole = malloc(b.raw_len);
	FUZZ_CHECK(body && whole);
	if (fuzz_left(&in))
		memcpy(body, in.at, fuzz_left(&in));
	b.map = body;
	if (flags & 1)
		seal(body, b.body_len, b.raw_len, b.content);
	err = read_blocks(&store, &b, 0, whole, b.raw_len);
	FUZZ_CHECK(err == 0 || err == -EUCLEAN);
	FUZZ_CHECK((err == 0) == (check_verdict(&b, &blocks, &bad) == 0));
	FUZZ_CHECK(blocks == n);
	for (uint64_t i = 0; i < n && err; i++) {
		if (read_blocks(&store, &b, i * PFS_BLOCK_LEN, whole,
				pfs_block_raw_len(b.raw_len, i)))
			bad--;
	}
	FUZZ_CHECK(bad == 0);
	read_ranges(&store, &b, &ranges, err ? NULL : whole);
	free(body);
	free(whole);
	return 0;
}
