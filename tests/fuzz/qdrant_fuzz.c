/* Proves: whatever the files of a Qdrant directory hold, reading them ends; each point that is told
 * as good has a JSON object of its own, and is told once; what is not good has a reason; and the
 * same files give the same. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "storage/json_scan.h"
#include "tools/qdrant.h"

#define FILES 16
#define FILE_MAX (256 * PFS_KIB)
#define CUT 0x80u    /* of a piece's file: it ends at the offset first */
#define SECOND 0x40u /* of a piece's file: it is the second segment's */
#define ITEMS_MAX 4096

static const char *const names[FILES] = {
	"payload_storage/config.json",
	"payload_storage/tracker.dat",
	"payload_storage/page_0.dat",
	"payload_storage/page_1.dat",
	"payload_storage/bitmask.dat",
	"mutable_id_tracker.mappings",
	"mutable_id_tracker.versions",
	"id_tracker.mappings",
	"id_tracker.deleted",
	"id_tracker.versions",
	"segment.json",
	"version.info",
	/* Of the shard. */
	"wal/open-1",
	"wal/open-2",
	"wal/closed-3",
	"wal/first-index",
};
#define SHARD_FILES 12 /* from here on */

static char root[] = "/dev/shm/payloadfs-fuzz.XXXXXX";
static bool made;

static void path_of(char *path, size_t cap, unsigned file, bool second)
{
	if (file >= SHARD_FILES)
		snprintf(path, cap, "%s/%s", root, names[file]);
	else
		snprintf(path, cap, "%s/segments/%c/%s", root, second ? 'b' : 'a', names[file]);
}

static void remove_directories(void)
{
	static const char *const directories[] = {
		"segments/a/payload_storage",
		"segments/b/payload_storage",
		"segments/a",
		"segments/b",
		"segments",
		"wal",
		"",
	};
	char path[256];

	for (size_t i = 0; i < pfs_array_len(directories); i++) {
		snprintf(path, sizeof(path), "%s/%s", root, directories[i]);
		(void)rmdir(path);
	}
}

static void make_directories(void)
{
	static const char *const directories[] = {
		"segments",
		"segments/a",
		"segments/a/payload_storage",
		"segments/b",
		"segments/b/payload_storage",
		"wal",
	};
	char path[256];

	if (made)
		return;
	made = true;
	if (!mkdtemp(root)) {
		strcpy(root, "/tmp/payloadfs-fuzz.XXXXXX");
		FUZZ_CHECK(mkdtemp(root) != NULL);
	}
	for (size_t i = 0; i < pfs_array_len(directories); i++) {
		snprintf(path, sizeof(path), "%s/%s", root, directories[i]);
		FUZZ_CHECK(mkdir(path, 0777) == 0);
	}
	atexit(remove_directories);
}

static void remove_files(void)
{
	char path[256];

	for (unsigned i = 0; i < FILES; i++) {
		path_of(path, sizeof(path), i, false);
		(void)unlink(path);
		path_of(path, sizeof(path), i, true);
		(void)unlink(path);
	}
}

static void write_piece(struct fuzz_in *in)
{
	uint8_t file = fuzz_u8(in);
	uint32_t off = fuzz_u32(in) % FILE_MAX;
	size_t len;
	const uint8_t *bytes = fuzz_bytes(in, fuzz_u16(in), &len);
	char path[256];
	int fd;

	path_of(path, sizeof(path), file % FILES, file & SECOND);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	FUZZ_CHECK(fd >= 0);
	if (file & CUT)
		FUZZ_CHECK(ftruncate(fd, off) == 0);
	if (off + len <= FILE_MAX)
		FUZZ_CHECK(pwrite(fd, bytes, len, off) == (ssize_t)len);
	close(fd);
}

struct told {
	struct pfs_key good[ITEMS_MAX];
	size_t count;
	uint64_t hash, notes;
};

static void mix(struct told *told, const void *bytes, size_t len)
{
	const uint8_t *b = bytes;

	for (size_t i = 0; i < len; i++)
		told->hash = (told->hash ^ b[i]) * UINT64_C(0x100000001b3);
	told->hash = pfs_mix64(told->hash + len);
}

static void on_note(void *arg, const char *line)
{
	struct told *told = arg;

	if (getenv("FUZZ_LOG"))
		fprintf(stderr, "note: %s\n", line);
	FUZZ_CHECK(line[0]);
	told->notes++;
}

static int on_item(void *arg, const struct qdrant_item *item, uint64_t done, uint64_t total)
{
	struct told *told = arg;
	struct pfs_json_scan scan;

	FUZZ_CHECK(done <= total);
	if (item->payload) {
		FUZZ_CHECK(*item->payload == '{' &&
			   pfs_json_scan_value(&scan, item->payload, item->payload + item->len,
					       true) == PFS_JSON_OK &&
			   scan.at == item->payload + item->len);
		mix(told, item->payload, item->len);
	}
	if (item->stored)
		mix(told, item->stored, item->stored_len);
	if (item->reason)
		mix(told, item->reason, strlen(item->reason));
	FUZZ_CHECK(item->good || (item->reason && item->reason[0]));
	if (!item->good)
		return 0;
	FUZZ_CHECK(item->payload && pfs_key_is_point(&item->key));
	for (size_t i = 0; i < told->count; i++)
		FUZZ_CHECK(!pfs_key_equal(&told->good[i], &item->key));
	if (told->count < ITEMS_MAX)
		told->good[told->count++] = item->key;
	return 0;
}

static uint64_t look(bool offset_ids)
{
	static struct told told;
	struct qdrant_notes notes = {on_note, &told};
	struct pfs_reason reason = {""};
	struct qdrant *q;
	char path[256];
	int err;

	told.count = 0;
	told.hash = told.notes = 1;
	snprintf(path, sizeof(path), "%s%s", root, offset_ids ? "/segments/a" : "");
	err = qdrant_open(&q, path, offset_ids, &notes, &reason);
	if (getenv("FUZZ_LOG"))
		fprintf(stderr, "open: %d %s\n", err, reason.text);
	FUZZ_CHECK(!err || err == -ENOMEM || reason.text[0]);
	if (!err) {
		FUZZ_CHECK(qdrant_read(q, on_item, &told) == 0);
		qdrant_close(q);
	}
	mix(&told, reason.text, strlen(reason.text));
	return told.hash + told.notes;
}

/* u8: bit 0 internal offsets are ids. Then pieces: u8 file (number, CUT, SECOND), u32 offset, u16
 * length, the bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = fuzz_in(data, size);
	bool offset_ids = fuzz_u8(&in) & 1;
	uint64_t hash;

	make_directories();
	remove_files();
	while (fuzz_left(&in))
		write_piece(&in);
	hash = look(offset_ids);
	FUZZ_CHECK(look(offset_ids) == hash);
	remove_files();
	return 0;
}
