#include "storage/quarantine.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/base64.h"
#include "storage/json_scan.h"

#define READ_PIECE 4096 /* a place that can't be read costs so much around it */
#define UNREAD_MAX 64	/* ranges of a part that a line names */
#define HEAD_MAX 16384	/* of a line, before its bytes */

static const char line_end[] = "\"}\n"; /* behind them */

/* ---- text ---- */

struct line {
	char *at;
	size_t len, cap;
};

static void add(struct line *line, const char *fmt, ...) PFS_PRINTF(2, 3);

/* What does not fit is left out: HEAD_MAX has room for the longest of all that is added. */
static void add(struct line *line, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(line->at + line->len, line->cap - line->len, fmt, args);
	va_end(args);
	if (n > 0)
		line->len = pfs_min_u64(line->len + (size_t)n, line->cap - 1);
}

static void add_string(struct line *line, const char *text)
{
	size_t len = strlen(text);

	if (6 * len + 2 < line->cap - line->len)
		line->len += pfs_json_string_encode(line->at + line->len, text, len);
}

static void add_head(struct line *line, const struct pfs_kept *kept)
{
	char text[PFS_NAME_MAX + 1], slot[PFS_SLOT_LEN * 2];

	add(line, "{\"where\":");
	add_string(line, kept->where);
	add(line, ",\"key\":");
	if (kept->key && kept->key->kind != PFS_KEY_NONE) {
		pfs_key_format(text, kept->key);
		add_string(line, text);
	} else {
		add(line, "null");
	}
	add(line, ",\"reason\":");
	add_string(line, kept->reason);
	if (!kept->slot)
		return;
	pfs_base64_encode(slot, kept->slot, sizeof(*kept->slot));
	add(line,
	    ",\"slot\":%" PRIu32 ",\"slot_bytes\":\"%.*s\",\"base_seq\":%" PRIu64
	    ",\"base_mtime\":%" PRId64,
	    kept->slot_number, (int)pfs_base64_encoded_len(sizeof(*kept->slot)), slot,
	    kept->base_seq, kept->base_mtime);
}

/* ---- bytes ---- */

struct range {
	uint64_t from, to;
};

static size_t mark_unread(struct range *ranges, size_t count, uint64_t from, uint64_t to)
{
	if (count && ranges[count - 1].to == from)
		ranges[count - 1].to = to;
	else if (count < UNREAD_MAX)
		ranges[count++] = (struct range){from, to};
	else
		ranges[count - 1].to = to;
	return count;
}

/* Reads what can be read of [off, off + len). Returns how many ranges can't. -ENOMEM. */
static int read_part(struct pfs_file *file, uint8_t *bytes, uint64_t off, size_t len,
		     struct range *unread)
{
	ssize_t n = file->ops->read(file, bytes, len, off);
	size_t count = 0;

	if (n == (ssize_t)len)
		return 0;
	if (n == -ENOMEM)
		return -ENOMEM;
	for (size_t done = 0; done < len;) {
		size_t want = pfs_min_u64(READ_PIECE - (off + done) % READ_PIECE, len - done);

		n = file->ops->read(file, bytes + done, want, off + done);
		if (n == -ENOMEM)
			return -ENOMEM;
		n = n < 0 ? 0 : n;
		if ((size_t)n < want) {
			memset(bytes + done + n, 0, want - (size_t)n);
			count = mark_unread(unread, count, off + done + (size_t)n,
					    off + done + want);
		}
		done += want;
	}
	return (int)count;
}

/* ---- the file ---- */

void pfs_quarantine_begin(struct pfs_quarantine *quarantine, struct pfs_dir *dir)
{
	*quarantine = (struct pfs_quarantine){.dir = dir};
}

/* A line that was cut off is ended, so that the next one stands for itself. */
static int end_line(struct pfs_quarantine *q)
{
	char last = '\n';
	int err = q->file->ops->size(q->file, &q->end);

	if (!err && q->end) {
		ssize_t n = q->file->ops->read(q->file, &last, 1, q->end - 1);

		err = n < 0 ? (int)n : 0;
	}
	if (!err && last != '\n')
		err = q->file->ops->write(q->file, "\n", 1, q->end++);
	return err;
}

static int open_file(struct pfs_quarantine *q)
{
	int err;

	q->bytes = malloc(PFS_QUARANTINE_PART);
	q->line = malloc(HEAD_MAX + pfs_base64_encoded_len(PFS_QUARANTINE_PART) + sizeof(line_end));
	if (!q->bytes || !q->line)
		return -ENOMEM;
	err = q->dir->ops->open(q->dir, PFS_QUARANTINE_NAME, PFS_IO_WRITE | PFS_IO_CREATE,
				&q->file);
	if (err) {
		q->file = NULL;
		return err;
	}
	return end_line(q);
}

static int add_part(struct pfs_quarantine *q, const struct pfs_kept *kept, struct pfs_file *source,
		    uint64_t part, uint64_t parts)
{
	uint64_t from = part * PFS_QUARANTINE_PART;
	size_t len = pfs_min_u64(kept->len - from, PFS_QUARANTINE_PART);
	struct line line = {.at = q->line, .cap = HEAD_MAX};
	struct range unread[UNREAD_MAX];
	int bad = len ? read_part(source, q->bytes, kept->off + from, len, unread) : 0, err;

	if (bad < 0)
		return bad;
	add_head(&line, kept);
	add(&line, ",\"offset\":%" PRIu64 ",\"length\":%zu", kept->off + from, len);
	if (parts > 1)
		add(&line, ",\"part\":%" PRIu64 ",\"parts\":%" PRIu64, part + 1, parts);
	for (int i = 0; i < bad; i++)
		add(&line, "%s[%" PRIu64 ",%" PRIu64 "]%s", i ? "," : ",\"unread\":[",
		    unread[i].from, unread[i].to, i + 1 == bad ? "]" : "");
	add(&line, ",\"bytes\":\"");
	pfs_base64_encode(line.at + line.len, q->bytes, len);
	line.len += pfs_base64_encoded_len(len);
	memcpy(line.at + line.len, line_end, sizeof(line_end) - 1);
	line.len += sizeof(line_end) - 1;
	err = q->file->ops->write(q->file, line.at, line.len, q->end);
	if (!err)
		q->end += line.len;
	return err;
}

int pfs_quarantine_add(struct pfs_quarantine *q, const struct pfs_kept *kept,
		       struct pfs_file *source)
{
	uint64_t parts =
		pfs_max_u64((kept->len + PFS_QUARANTINE_PART - 1) / PFS_QUARANTINE_PART, 1);
	int err = q->file ? 0 : open_file(q);

	q->dirty = true;
	for (uint64_t part = 0; part < parts && !err; part++)
		err = add_part(q, kept, source, part, parts);
	q->entries += !err;
	return err;
}

int pfs_quarantine_sync(struct pfs_quarantine *q)
{
	int err;

	if (!q->dirty || !q->file)
		return 0;
	err = q->file->ops->sync(q->file);
	/* Also where the file was there: who made it may have been cut off before this. */
	if (!err && !q->name_synced)
		err = q->dir->ops->sync_dir(q->dir);
	if (err)
		return err;
	q->name_synced = true;
	q->dirty = false;
	return 0;
}

void pfs_quarantine_end(struct pfs_quarantine *q)
{
	if (q->file)
		q->file->ops->close(q->file);
	free(q->bytes);
	free(q->line);
	*q = (struct pfs_quarantine){0};
}

bool pfs_quarantine_is_name(const char *name)
{
	size_t len = strlen(PFS_QUARANTINE_NAME);

	return strncmp(name, PFS_QUARANTINE_NAME, len) == 0 &&
	       (name[len] == '\0' || name[len] == '-');
}
