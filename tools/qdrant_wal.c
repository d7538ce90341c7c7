#include "tools/qdrant_wal.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "storage/crc.h"
#include "tools/qdrant_config.h"

#define HEAD_LEN 8
#define LENGTH_LEN 8
#define CRC_LEN 4
#define PIECE 65536
#define FIRST_INDEX_MAX 4096

struct log_file {
	uint64_t number;
	bool closed;
};

struct list {
	struct log_file *files;
	size_t count;
};

/* ---- one file ---- */

static uint32_t reverse_bits(uint32_t v)
{
	uint32_t out = 0;

	for (int i = 0; i < 32; i++)
		out |= (v >> i & 1) << (31 - i);
	return out;
}

/* The CRC of the bytes of a file, continuing `before` as the log does it: the register begins with
 * the bits of the CRC before, mirrored. False: they can't be read. */
static bool file_crc(const struct qdrant_file *file, uint64_t off, uint64_t len, uint32_t before,
		     uint32_t *out)
{
	uint32_t crc = ~reverse_bits(before);
	uint8_t piece[PIECE];
	size_t got;

	while (len) {
		size_t n = pfs_min_u64(len, sizeof(piece));

		if (qdrant_file_read(file, off, piece, n, &got) || got < n)
			return false;
		crc = pfs_crc32c(crc, piece, n);
		off += n;
		len -= n;
	}
	*out = crc;
	return true;
}

/* How many operations a file holds. -EBADMSG: it is none of a log. */
static int count_operations(const struct qdrant_file *file, const struct qdrant_notes *notes,
			    uint64_t *count)
{
	uint8_t head[HEAD_LEN], sum[CRC_LEN];
	uint64_t off = HEAD_LEN, len;
	uint32_t crc, stored;
	size_t got;

	*count = 0;
	if (qdrant_file_read(file, 0, head, sizeof(head), &got) || got < sizeof(head) ||
	    memcmp(head, "wal", 4) != 0)
		return -EBADMSG;
	crc = pfs_get_le32(head + 4);
	for (;;) {
		if (qdrant_file_read(file, off, head, sizeof(head), &got) || got < sizeof(head))
			return 0;
		len = pfs_get_le64(head);
		if (len > file->size)
			return 0;
		len += LENGTH_LEN + ((UINT64_C(4) - len) & 7);
		if (off + len + CRC_LEN > file->size ||
		    qdrant_file_read(file, off + len, sum, sizeof(sum), &got) || got < sizeof(sum))
			return 0;
		stored = pfs_get_le32(sum);
		if (!file_crc(file, off, len, crc, &crc) || crc != stored) {
			if (stored)
				qdrant_note(notes,
					    "%s: what lies at byte %" PRIu64 " does not verify: "
					    "operations from there on are not counted",
					    file->path, off);
			return 0;
		}
		off += len + CRC_LEN;
		++*count;
	}
}

/* ---- the directory ---- */

static bool parse_name(const char *name, struct log_file *file)
{
	char *end;

	file->closed = strncmp(name, "closed-", 7) == 0;
	if (!file->closed && strncmp(name, "open-", 5) != 0)
		return false;
	name += file->closed ? 7 : 5;
	if (*name < '0' || *name > '9')
		return false;
	errno = 0;
	file->number = strtoull(name, &end, 10);
	return errno == 0 && *end == '\0';
}

static int compare_files(const void *a, const void *b)
{
	const struct log_file *x = a, *y = b;

	if (x->closed != y->closed)
		return x->closed ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

static int list_files(struct list *list, const char *directory)
{
	DIR *dir = opendir(directory);
	struct dirent *name;
	struct log_file file;
	int err = 0;

	if (!dir)
		return -errno;
	while (!err && (name = readdir(dir))) {
		struct log_file *files;

		if (!parse_name(name->d_name, &file))
			continue;
		files = reallocarray(list->files, list->count + 1, sizeof(*files));
		if (!files)
			err = -ENOMEM;
		else
			(list->files = files)[list->count++] = file;
	}
	closedir(dir);
	if (list->count)
		qsort(list->files, list->count, sizeof(*list->files), compare_files);
	return err;
}

/* Closed files follow one another, so that of these only the last has to be read; then come the
 * open ones. */
static int find_end(struct qdrant_wal *wal, const char *directory, const struct list *list,
		    const struct qdrant_notes *notes)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct log_file *log = &list->files[i];
		struct qdrant_file file;
		uint64_t operations = 0;
		char name[40];
		int err;

		if (log->closed && i + 1 < list->count && list->files[i + 1].closed)
			continue;
		snprintf(name, sizeof(name), "%s-%" PRIu64, log->closed ? "closed" : "open",
			 log->number);
		err = qdrant_file_open(&file, directory, name);
		if (!err)
			err = count_operations(&file, notes, &operations);
		if (err && err != -ENOMEM)
			qdrant_note(notes, "%s: %s: what it holds is not known", file.path,
				    err == -EBADMSG ? "is no file of a write-ahead log"
						    : strerror(-err));
		qdrant_file_close(&file);
		if (err == -ENOMEM)
			return err;
		wal->end = (log->closed ? log->number : wal->end) + operations;
	}
	return 0;
}

static int read_ack(struct qdrant_wal *wal, const char *directory)
{
	struct qdrant_file file;
	uint8_t *text = NULL;
	size_t len = 0;
	int err = qdrant_file_open(&file, directory, "first-index");

	if (!err)
		err = qdrant_file_load(&file, FIRST_INDEX_MAX, &text, &len);
	if (err || !qdrant_config_number(text, len, "ack_index", &wal->ack))
		wal->ack = 0;
	free(text);
	qdrant_file_close(&file);
	return err == -ENOMEM ? err : 0;
}

int qdrant_wal_open(struct qdrant_wal *wal, const char *directory, const struct qdrant_notes *notes)
{
	struct list list = {0};
	int err;

	*wal = (struct qdrant_wal){.lock = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
	if (wal->lock < 0) {
		if (errno != ENOENT)
			qdrant_note(notes, "%s: %s", directory, strerror(errno));
		return 0;
	}
	/* Qdrant holds an exclusive lock on the directory as long as it runs. */
	if (flock(wal->lock, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK) {
		qdrant_wal_close(wal);
		return -EBUSY;
	}
	err = list_files(&list, directory);
	if (!err)
		err = find_end(wal, directory, &list, notes);
	if (!err)
		err = read_ack(wal, directory);
	free(list.files);
	if (err)
		qdrant_wal_close(wal);
	return err;
}

void qdrant_wal_close(struct qdrant_wal *wal)
{
	if (wal->lock >= 0)
		close(wal->lock);
	wal->lock = -1;
}
