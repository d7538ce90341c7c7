#include "tests/fuzz/proto.h"

#include "storage/store.h"
#include "tests/fuzz/archive.h"
#include "tests/fuzz/fixup.h"

#define PACKED_MAX (64 * PFS_KIB)

const uint8_t proto_uuid[PFS_UUID_LEN] = "proto of a store";

static void put(struct pfs_store *store, const char *name, size_t len, unsigned seed)
{
	static uint8_t bytes[80000];
	struct pfs_attr attr = {.mode = seed % 2 ? 0644 : 0600, .uid = 1, .gid = 2, .mtime_ns = 7};
	struct pfs_key key;

	for (size_t i = 0; i < len; i++)
		bytes[i] = seed ? (uint8_t) "{\"city\":\"Bonn\"}"[(i + seed) % 15] : 0;
	FUZZ_CHECK(pfs_key_parse(&key, name, strlen(name)) == 0);
	FUZZ_CHECK(pfs_put(store, &key, bytes, len, &attr, 0, NULL) == 0);
}

static void make(void)
{
	static const struct pfs_defaults defaults = {0644, 1, 2};
	struct pfs_create_options create = {
		.page_size = PFS_PAGE_SIZE_MIN, .min_value_size = 16, .io = &mem_io};
	struct pfs_open_options options = {
		.manual = true, .defaults = &defaults, .io = &mem_io, .logger = fuzz_logger()};
	struct pfs_store *store;
	struct mem_file *super;

	FUZZ_CHECK(pfs_store_create("store", &create, NULL) == 0);
	super = mem_io_file(PFS_SUPER_NAME);
	for (unsigned i = 0; i < PFS_SUPER_COPIES; i++) {
		uint64_t off = (uint64_t)i * PFS_SUPER_STRIDE;

		mem_io_put(super, off + offsetof(struct pfs_super_disk, uuid), proto_uuid,
			   PFS_UUID_LEN);
		mem_io_put(super, off + offsetof(struct pfs_super_disk, created_ns),
			   "\0\0\0\0\0\0\0", 8);
	}
	fixup_store(FIXUP_SUPER, NULL);
	FUZZ_CHECK(pfs_store_open(&store, "store", &options, NULL) == 0);
	put(store, "1", 100, 1);
	put(store, "18446744073709551615", 30, 3);
	put(store, "c0ffee00-0000-4000-8000-0000000000aa", 200, 2);
	put(store, ".42.swp", 64, 5);
	put(store, "5", 0, 0);
	put(store, "6", 70000, 0);
	FUZZ_CHECK(pfs_store_close(store) == 0);
}

void proto_unpack(void)
{
	static uint8_t packed[PACKED_MAX];
	static size_t len;
	struct archive_ops ops;
	struct fuzz_in in;

	if (!len) {
		make();
		len = archive_pack(packed, sizeof(packed), ARCHIVE_ALL);
		mem_io_reset();
	}
	in = fuzz_in(packed, len);
	archive_unpack(&in, ARCHIVE_ALL, &ops);
}
