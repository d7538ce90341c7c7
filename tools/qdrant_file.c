#include "tools/qdrant_file.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void qdrant_note(const struct qdrant_notes *notes, const char *fmt, ...)
{
	char line[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	notes->fn(notes->arg, line);
}

char *qdrant_path(const char *directory, const char *name)
{
	size_t len = strlen(directory);
	char *path;

	while (len > 1 && directory[len - 1] == '/')
		len--;
	return asprintf(&path, "%.*s/%s", (int)len, directory, name) < 0 ? NULL : path;
}

static bool has_type(const char *directory, const char *name, mode_t type)
{
	char *path = qdrant_path(directory, name);
	struct stat st;
	bool has = path && stat(path, &st) == 0 && (st.st_mode & S_IFMT) == type;

	free(path);
	return has;
}

bool qdrant_is_file(const char *directory, const char *name)
{
	return has_type(directory, name, S_IFREG);
}

bool qdrant_is_directory(const char *directory, const char *name)
{
	return has_type(directory, name, S_IFDIR);
}

int qdrant_file_open(struct qdrant_file *file, const char *directory, const char *name)
{
	struct stat st;
	int err = 0;

	*file = (struct qdrant_file){.fd = -1};
	file->path = name ? qdrant_path(directory, name) : strdup(directory);
	if (!file->path)
		return -ENOMEM;
	/* O_NONBLOCK: a pipe in a file's place must not make us wait. */
	file->fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (file->fd < 0)
		return -errno;
	if (fstat(file->fd, &st))
		err = -errno;
	else if (!S_ISREG(st.st_mode))
		err = -EINVAL;
	else
		file->size = (uint64_t)st.st_size;
	if (err) {
		close(file->fd);
		file->fd = -1;
	}
	return err;
}

void qdrant_file_close(struct qdrant_file *file)
{
	if (file->path && file->fd >= 0)
		close(file->fd);
	free(file->path);
	*file = (struct qdrant_file){.fd = -1};
}

int qdrant_file_read(const struct qdrant_file *file, uint64_t off, void *buf, size_t len,
		     size_t *got)
{
	*got = 0;
	while (*got < len) {
		ssize_t n = pread(file->fd, (uint8_t *)buf + *got, len - *got, (off_t)(off + *got));

		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			*got += (size_t)n;
	}
	return 0;
}

int qdrant_file_load(const struct qdrant_file *file, uint64_t max, uint8_t **out, size_t *len)
{
	*out = NULL;
	*len = 0;
	if (file->size > max)
		return -EFBIG;
	*out = malloc((size_t)file->size + 1);
	if (!*out)
		return -ENOMEM;
	/* What can't be read counts like what is not there. */
	(void)qdrant_file_read(file, 0, *out, (size_t)file->size, len);
	return 0;
}
