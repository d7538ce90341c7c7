#include "tools/output.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/base64.h"
#include "storage/json_scan.h"

#define BUFFER (256 * PFS_KIB)
#define BASE64_PIECE 3072 /* a multiple of 3 */

/* Makes the file that is written first, beside the one that is to come. */
static int make_temp(struct output *out)
{
	mode_t mask = umask(0);

	umask(mask);
	if (asprintf(&out->temp, "%s.XXXXXX", out->path) < 0) {
		out->temp = NULL;
		return -ENOMEM;
	}
	out->fd = mkostemp(out->temp, O_CLOEXEC);
	if (out->fd < 0) {
		int err = -errno;

		free(out->temp);
		out->temp = NULL;
		return err;
	}
	return fchmod(out->fd, 0666 & ~mask) ? -errno : 0;
}

/* A device or a pipe is written to as it is; a symbolic link stays, and what it leads to is
 * replaced. */
static int open_file(struct output *out, const char *path)
{
	struct stat st;

	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		out->fd = open(path, O_WRONLY | O_CLOEXEC);
		return out->fd < 0 ? -errno : 0;
	}
	out->path = realpath(path, NULL);
	if (!out->path && errno == ENOENT)
		out->path = strdup(path);
	return out->path ? make_temp(out) : -errno;
}

int output_open(struct output *out, const char *path)
{
	int err = 0;

	memset(out, 0, sizeof(*out));
	out->fd = path ? -1 : STDOUT_FILENO;
	out->buf = malloc(BUFFER);
	if (!out->buf)
		return -ENOMEM;
	if (path)
		err = open_file(out, path);
	if (err)
		output_close(out);
	return err;
}

static void write_out(struct output *out, const uint8_t *p, size_t len)
{
	while (len && !out->err) {
		ssize_t n = write(out->fd, p, len);

		if (n < 0 && errno != EINTR)
			out->err = -errno;
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
}

static void flush(struct output *out)
{
	write_out(out, out->buf, out->len);
	out->len = 0;
}

int output_write(struct output *out, const void *data, size_t len)
{
	if (len > BUFFER - out->len)
		flush(out);
	if (len > BUFFER) {
		write_out(out, data, len);
	} else if (len) {
		memcpy(out->buf + out->len, data, len);
		out->len += len;
	}
	return out->err;
}

int output_text(struct output *out, const char *text)
{
	return output_write(out, text, strlen(text));
}

int output_base64(struct output *out, const void *data, size_t len)
{
	const uint8_t *bytes = data;
	char piece[BASE64_PIECE / 3 * 4];
	int err = 0;

	for (size_t off = 0, n; !err && off < len; off += n) {
		n = pfs_min_u64(len - off, BASE64_PIECE);
		pfs_base64_encode(piece, bytes + off, n);
		err = output_write(out, piece, pfs_base64_encoded_len(n));
	}
	return err;
}

int output_json_string(struct output *out, const char *text)
{
	size_t len = strlen(text);
	char *string = malloc(6 * len + 2);
	int err;

	if (!string)
		return -ENOMEM;
	err = output_write(out, string, pfs_json_string_encode(string, text, len));
	free(string);
	return err;
}

/* Makes the file's new name durable. */
static int sync_parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *parent = !slash	       ? strdup(".")
		       : slash == path ? strdup("/")
				       : strndup(path, (size_t)(slash - path));
	int fd = parent ? open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1, err = 0;

	if (fd < 0 || fsync(fd))
		err = -errno;
	if (fd >= 0)
		close(fd);
	free(parent);
	return err;
}

int output_commit(struct output *out)
{
	flush(out);
	if (out->err || !out->temp)
		return out->err;
	if (fsync(out->fd) || rename(out->temp, out->path)) {
		out->err = -errno;
		return out->err;
	}
	free(out->temp);
	out->temp = NULL;
	out->err = sync_parent(out->path);
	return out->err;
}

void output_close(struct output *out)
{
	if (out->temp)
		unlink(out->temp);
	if (out->fd > STDOUT_FILENO)
		close(out->fd);
	out->fd = -1;
	free(out->temp);
	free(out->path);
	free(out->buf);
	out->temp = out->path = NULL;
	out->buf = NULL;
}
