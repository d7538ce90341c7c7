/* Writes the inputs that the corpus of the targets on stores begins with: seeds DIRECTORY. Real
 * stores in mem_io, made by the engine itself, and taken while they were open, or after a close. */
#include <sys/stat.h>

#include "storage/dict.h"
#include "storage/store.h"
#include "tests/fuzz/fixup.h"
#include "tests/fuzz/session.h"

#define PATH "store"
#define HEAD_LEN 4

static const uint8_t head_plain[HEAD_LEN] = {FIXUP_ALL, 0, 0, 0};
static const char *directory;

static struct pfs_key key_named(const char *name)
{
	struct pfs_key key;

	FUZZ_CHECK(pfs_key_parse(&key, name, strlen(name)) == 0);
	return key;
}

static void put(struct pfs_store *store, const char *name, size_t len, unsigned seed)
{
	struct pfs_attr attr = {.mode = seed % 2 ? 0644 : 0600, .uid = 1, .gid = 2, .mtime_ns = 7};
	struct pfs_key key = key_named(name);
	uint8_t *bytes = malloc(len + 1);

	FUZZ_CHECK(bytes != NULL);
	for (size_t i = 0; i < len; i++)
		bytes[i] = seed ? (uint8_t) "{\"city\":\"Bonn\"}"[(i + seed) % 15] : 0;
	FUZZ_CHECK(pfs_put(store, &key, bytes, len, &attr, 0, NULL) == 0);
	free(bytes);
}

static void patch(struct pfs_store *store, const char *name, uint64_t off, const char *text)
{
	struct pfs_key key = key_named(name);
	uint32_t object;

	FUZZ_CHECK(pfs_lookup(store, &key, &object, NULL) == 0);
	FUZZ_CHECK(pfs_write(store, object, off, text, strlen(text), 8) == 0);
}

static void change_mode(struct pfs_store *store, const char *name)
{
	struct pfs_attr attr = {.mode = 0604};
	struct pfs_key key = key_named(name);
	uint32_t object;

	FUZZ_CHECK(pfs_lookup(store, &key, &object, NULL) == 0);
	FUZZ_CHECK(pfs_setattr(store, object, PFS_ATTR_MODE, &attr, NULL) == 0);
}

static void move(struct pfs_store *store, const char *from, const char *to, unsigned flags)
{
	struct pfs_key a = key_named(from), b = key_named(to);

	FUZZ_CHECK(pfs_rename(store, &a, &b, flags, NULL) == 0);
}

static void drop(struct pfs_store *store, const char *name)
{
	struct pfs_key key = key_named(name);

	FUZZ_CHECK(pfs_remove(store, &key, NULL) == 0);
}

static struct pfs_store *open_store(void)
{
	static const struct pfs_defaults defaults = {0644, 1, 2};
	struct pfs_open_options options = {
		.manual = true, .defaults = &defaults, .io = &mem_io, .logger = fuzz_logger()};
	struct pfs_store *store;

	FUZZ_CHECK(pfs_store_open(&store, PATH, &options, NULL) == 0);
	return store;
}

static struct pfs_store *new_store(uint32_t min_value_size)
{
	struct pfs_create_options options = {
		.page_size = PFS_PAGE_SIZE_MIN, .min_value_size = min_value_size, .io = &mem_io};

	mem_io_reset();
	FUZZ_CHECK(pfs_store_create(PATH, &options, NULL) == 0);
	return open_store();
}

static struct pfs_store *reopen(struct pfs_store *store)
{
	FUZZ_CHECK(pfs_store_close(store) == 0);
	return open_store();
}

/* What is in mem_io now, with a program of operations behind it. */
static void keep(const char *target, unsigned files, const char *name, const char *ops,
		 size_t ops_len)
{
	static uint8_t bytes[256 * 1024];
	char path[512];
	size_t n = HEAD_LEN;
	FILE *file;

	memcpy(bytes, head_plain, HEAD_LEN);
	n += archive_pack(bytes + n, sizeof(bytes) - n - 8 - ops_len, files);
	bytes[n] = ARCHIVE_OPS;
	bytes[n + 1] = 0;
	pfs_put_le16(bytes + n + 2, (uint16_t)ops_len);
	pfs_put_le32(bytes + n + 4, 0);
	memcpy(bytes + n + 8, ops, ops_len);
	snprintf(path, sizeof(path), "%s/%s", directory, target);
	(void)mkdir(path, 0777);
	snprintf(path, sizeof(path), "%s/%s/%s", directory, target, name);
	file = fopen(path, "wb");
	FUZZ_CHECK(file && fwrite(bytes, 1, n + 8 + ops_len, file) == n + 8 + ops_len);
	FUZZ_CHECK(fclose(file) == 0);
}

#define KEEP(target, files, name, ops) keep(target, files, name, ops, sizeof(ops) - 1)
#define ALL ARCHIVE_ALL
#define INDEX (1u << 1)
#define PAGES (15u << 2)
#define SEGMENTS (15u << 6)

static void fill_store(struct pfs_store *store)
{
	put(store, "1", 100, 1);
	put(store, "18446744073709551615", 30, 3);
	put(store, "c0ffee00-0000-4000-8000-0000000000aa", 200, 2);
	put(store, ".42.swp", 64, 5);
	put(store, "5", 0, 0);
	put(store, "6", 70000, 0);
	put(store, "8", 400, 7);
	drop(store, "8");
}

static void clean_stores(void)
{
	struct pfs_store *store = new_store(16);

	fill_store(store);
	FUZZ_CHECK(pfs_store_close(store) == 0);
	KEEP("store", ALL, "seed-clean",
	     "\x00\x01\x20\x02\x03\x00\x0a\x06\x02\x10\x02\x08\x04\x02\x01");
	KEEP("index", INDEX, "seed-clean", "\x00\x01\x20\x02\x03\x00");
	KEEP("page", PAGES, "seed-clean", "\x00\x01\x20\x02\x03\x00");
	store = reopen(open_store());
	drop(store, "1");
	FUZZ_CHECK(pfs_store_checkpoint(store) == 0);
	put(store, "9", 90, 4);
	FUZZ_CHECK(pfs_store_close(store) == 0);
	KEEP("store", ALL, "seed-clean-again", "\x02\x01\x10\x01\x0a\x0c\x05\x00\x02");

	store = new_store(4096);
	for (unsigned i = 0; i < 18; i++) {
		char name[8];

		snprintf(name, sizeof(name), "%u", 100 + i);
		put(store, name, 20 + i, 1 + i % 3);
	}
	drop(store, "103");
	FUZZ_CHECK(pfs_store_close(store) == 0);
	KEEP("store", ALL, "seed-pages", "\x00\x01\x20\x02\x03\x08\x0a\x09\x04\x1f\x05");
	KEEP("page", PAGES, "seed-pages", "\x00\x01\x20\x02\x03\x08");
	KEEP("index", INDEX, "seed-pages", "\x00\x01\x20\x02\x03\x08");
}

static void crashed_stores(void)
{
	struct pfs_store *store = new_store(16);

	fill_store(store);
	FUZZ_CHECK(pfs_sync(store) == 0);
	KEEP("store", ALL, "seed-journal-only", "\x0a\x00\x01\x05\x01");
	KEEP("journal", SEGMENTS, "seed-puts", "");
	store = reopen(store);
	put(store, "1", 120, 2);
	patch(store, "6", 65530, "patched over a border");
	patch(store, "1", 50, "patched");
	change_mode(store, "5");
	drop(store, "18446744073709551615");
	move(store, ".42.swp", "c0ffee00-0000-4000-8000-0000000000aa", 0);
	move(store, "1", "5", PFS_RENAME_EXCHANGE);
	FUZZ_CHECK(pfs_sync(store) == 0);
	KEEP("store", ALL, "seed-changes", "\x0a\x03\x00\x0d\x03\x0b");
	KEEP("journal", SEGMENTS, "seed-changes", "");
	FUZZ_CHECK(pfs_store_checkpoint(store) == 0);
	patch(store, "6", 10, "again");
	put(store, "10", 66000, 0);
	FUZZ_CHECK(pfs_sync(store) == 0);
	KEEP("store", ALL, "seed-after-checkpoint", "\x06\x02\x05\x01\x02\x0a");
	KEEP("journal", SEGMENTS, "seed-after-checkpoint", "");
	FUZZ_CHECK(pfs_store_close(store) == 0);
}

/* Failures at each step of a session leave what a crash may leave. */
static void cut_stores(void)
{
	for (unsigned nth = 3; nth < 60; nth += 8) {
		struct pfs_store *store = new_store(16);
		char name[64];

		fill_store(store);
		mem_io_fail(nth, -EIO, true);
		(void)pfs_store_close(store);
		mem_io_fail(0, 0, false);
		snprintf(name, sizeof(name), "seed-cut-%u", nth);
		keep("store", ALL, name, "\x0a", 1);
		if (nth % 16 == 3)
			keep("journal", SEGMENTS, name, "", 0);
	}
}

/* A dictionary that nobody has trained; the superblock has given its number. */
static void add_dictionary(void)
{
	static const char words[] = "{\"city\":\"Bonn\"}{\"city\":\"Bonn\"}{\"city\":\"Bonn\"}";
	struct mem_file *super = mem_io_file(PFS_SUPER_NAME);
	struct pfs_dict_file dict = {
		.number = 1, .len = sizeof(words) - 1, .raw = 90, .packed = 30};
	struct pfs_super_disk disk;
	struct pfs_dir *dir;

	memcpy(&disk, mem_io_bytes(super), sizeof(disk));
	pfs_put_le32(disk.dict_highest.b, 1);
	for (unsigned i = 0; i < PFS_SUPER_COPIES; i++)
		mem_io_put(super, (uint64_t)i * PFS_SUPER_STRIDE, &disk, sizeof(disk));
	fixup_store(FIXUP_SUPER, NULL);
	dict.bytes = (uint8_t *)(uintptr_t)words;
	FUZZ_CHECK(mem_io.ops->open_dir(&mem_io, PATH, PFS_IO_WRITE, &dir) == 0);
	FUZZ_CHECK(pfs_dict_write(dir, disk.uuid, &dict, NULL) == 0);
	dir->ops->close_dir(dir);
}

static void dictionary_stores(void)
{
	struct pfs_store *store = new_store(16);
	struct mem_file *file;
	char path[512];
	FILE *out;

	FUZZ_CHECK(pfs_store_close(store) == 0);
	add_dictionary();
	store = open_store();
	fill_store(store);
	FUZZ_CHECK(pfs_sync(store) == 0);
	KEEP("store", ALL, "seed-dict-journal", "\x0a\x00\x01\x05\x01");
	FUZZ_CHECK(pfs_store_close(store) == 0);
	KEEP("store", ALL, "seed-dict", "\x00\x01\x20\x02\x03\x00\x0a\x06\x02\x10");
	/* The file by itself: flags, bit, length, no differences. */
	file = mem_io_file("dict-00000001");
	snprintf(path, sizeof(path), "%s/dict", directory);
	(void)mkdir(path, 0777);
	snprintf(path, sizeof(path), "%s/dict/seed-file", directory);
	out = fopen(path, "wb");
	FUZZ_CHECK(out && fwrite("\0\0\0\x80\x01\0\0\0\0\x6d\0\0", 1, 12, out) == 12);
	FUZZ_CHECK(fwrite(mem_io_bytes(file), 1, 0x6d, out) == 0x6d);
	FUZZ_CHECK(fwrite("\0{\"city\":\"Bonn\"}", 1, 16, out) == 16);
	FUZZ_CHECK(fclose(out) == 0);
}

int main(int argc, char **argv)
{
	FUZZ_CHECK(argc == 2);
	directory = argv[1];
	clean_stores();
	crashed_stores();
	cut_stores();
	dictionary_stores();
	return 0;
}
