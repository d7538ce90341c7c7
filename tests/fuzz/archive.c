#include "tests/fuzz/archive.h"

#define PIECE_HEAD 8
#define ZEROS_MIN 24 /* a run of zeros that ends a piece */

const char *const archive_names[ARCHIVE_FILES] = {
	"superblock",	 "index",	  "page-00000001", "page-00000002",
	"page-00000003", "page-00000004", "journal-0000",  "journal-0001",
	"journal-0002",	 "journal-0003",  "page-00000080", "dict-00000001",
	"index.tmp",	 "reserve",	  "quarantine-1",  NULL,
};

static void add_ops(struct archive_ops *ops, const uint8_t *bytes, size_t len)
{
	len = pfs_min_u64(len, sizeof(ops->bytes) - ops->len);
	if (len)
		memcpy(ops->bytes + ops->len, bytes, len);
	ops->len += len;
}

static void put_repeated(struct mem_file *file, uint64_t off, const uint8_t *bytes, size_t len)
{
	uint64_t end, fill = len > 4 ? pfs_get_le32(bytes) : 0;
	uint8_t pattern[4096];
	size_t n = len > 4 ? pfs_min_u64(len - 4, sizeof(pattern)) : 1;

	for (size_t i = 0; i < sizeof(pattern) && fill; i++)
		pattern[i] = bytes[4 + i % n];
	n = sizeof(pattern) / n * n;
	end = pfs_min_u64(off + fill, ARCHIVE_FILE_MAX);
	for (; off < end; off += n)
		mem_io_put(file, off, pattern, pfs_min_u64(n, end - off));
}

void archive_unpack(struct fuzz_in *in, unsigned files, struct archive_ops *ops)
{
	ops->len = 0;
	while (fuzz_left(in) >= PIECE_HEAD) {
		unsigned number = fuzz_u8(in) % ARCHIVE_FILES, flags = fuzz_u8(in);
		size_t want = fuzz_u16(in), len;
		uint64_t off = fuzz_u32(in);
		const uint8_t *bytes = fuzz_bytes(in, want, &len);
		struct mem_file *file;

		if (number == ARCHIVE_OPS) {
			add_ops(ops, bytes, len);
			continue;
		}
		if (!(files >> number & 1))
			continue;
		off %= ARCHIVE_FILE_MAX;
		file = mem_io_file(archive_names[number]);
		FUZZ_CHECK(file != NULL);
		if (flags & ARCHIVE_CUT)
			mem_io_set_size(file, off);
		if (flags & ARCHIVE_REPEAT)
			put_repeated(file, off, bytes, len);
		else if (len)
			mem_io_put(file, off, bytes, pfs_min_u64(len, ARCHIVE_FILE_MAX - off));
	}
}

static size_t pack_piece(uint8_t *out, size_t cap, unsigned number, unsigned flags, uint64_t off,
			 const uint8_t *bytes, size_t len)
{
	if (cap < PIECE_HEAD + len)
		return 0;
	out[0] = (uint8_t)number;
	out[1] = (uint8_t)flags;
	pfs_put_le16(out + 2, (uint16_t)len);
	pfs_put_le32(out + 4, (uint32_t)off);
	if (len)
		memcpy(out + PIECE_HEAD, bytes, len);
	return PIECE_HEAD + len;
}

/* The end of what is to stand in one piece that begins at `at`. */
static uint64_t piece_end(const uint8_t *bytes, uint64_t at, uint64_t size)
{
	uint64_t end = at, zeros = 0;

	for (uint64_t i = at; i < size && i - at < UINT16_MAX && zeros < ZEROS_MIN; i++) {
		zeros = bytes[i] ? 0 : zeros + 1;
		if (bytes[i])
			end = i + 1;
	}
	return end;
}

static size_t pack_file(uint8_t *out, size_t cap, unsigned number, const struct mem_file *file)
{
	const uint8_t *bytes = mem_io_bytes(file);
	uint64_t size = mem_io_size(file), at = 0;
	size_t n = pack_piece(out, cap, number, ARCHIVE_CUT, size, NULL, 0);

	while (at < size) {
		uint64_t end = piece_end(bytes, at, size);

		if (end > at)
			n += pack_piece(out + n, cap - n, number, 0, at, bytes + at, end - at);
		at = pfs_max_u64(end, at + 1);
	}
	return n;
}

size_t archive_pack(uint8_t *out, size_t cap, unsigned files)
{
	const char *name;
	struct mem_file *file;
	size_t n = 0;

	for (size_t i = 0; (file = mem_io_nth(i, &name)) != NULL; i++) {
		for (unsigned number = 0; number < ARCHIVE_OPS; number++) {
			if ((files >> number & 1) && strcmp(name, archive_names[number]) == 0)
				n += pack_file(out + n, cap - n, number, file);
		}
	}
	return n;
}
