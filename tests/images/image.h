/* Images of stores as text, which may stand in the tree: `file NAME SIZE`, then `OFFSET HEX` for
 * what is not zero. */
#ifndef PFS_TEST_IMAGE_H
#define PFS_TEST_IMAGE_H

#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/store_helpers.h"

#define BYTES_A_LINE 48
#define LINE_MAX_LEN 4096

static inline void save_file(struct pfs_sim *sim, const char *name, FILE *out)
{
	uint64_t size = size_at(sim, name);
	uint8_t *bytes = malloc(size + 1);

	read_at(sim, name, 0, bytes, size);
	fprintf(out, "file %s %llu\n", name, (unsigned long long)size);
	for (uint64_t at = 0; at < size;) {
		uint64_t len = pfs_min_u64(BYTES_A_LINE, size - at);

		if (bytes[at] == 0) {
			at++;
			continue;
		}
		while (len && bytes[at + len - 1] == 0)
			len--;
		fprintf(out, "%llu ", (unsigned long long)at);
		for (uint64_t i = 0; i < len; i++)
			fprintf(out, "%02x", bytes[at + i]);
		fputc('\n', out);
		at += len;
	}
	free(bytes);
}

static inline int save_name(void *arg, const char *name)
{
	char **names = arg;

	while (*names)
		names++;
	if (strcmp(name, PFS_LOCK_NAME) != 0 && strcmp(name, "reserve") != 0)
		*names = strdup(name);
	return 0;
}

static inline int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static inline void save_image(struct pfs_sim *sim, const char *dir_name, const char *image)
{
	const struct pfs_io *io = pfs_sim_io(sim);
	char path[512], *names[64] = {NULL};
	struct pfs_dir *dir;
	size_t count = 0;
	FILE *out;

	snprintf(path, sizeof(path), "%s/%s", dir_name, image);
	out = fopen(path, "w");
	assert_non_null(out);
	assert_int_equal(io->ops->open_dir(io, STORE, 0, &dir), 0);
	assert_int_equal(dir->ops->list(dir, save_name, names), 0);
	dir->ops->close_dir(dir);
	while (names[count])
		count++;
	qsort(names, count, sizeof(*names), by_name);
	for (size_t i = 0; i < count; i++) {
		save_file(sim, names[i], out);
		free(names[i]);
	}
	fclose(out);
}

static inline void load_line(struct pfs_file *file, const char *line)
{
	uint8_t bytes[BYTES_A_LINE];
	char *hex;
	uint64_t at = strtoull(line, &hex, 10);
	size_t len = 0;

	for (hex++; len < BYTES_A_LINE && hex[2 * len] > ' '; len++)
		assert_int_equal(sscanf(hex + 2 * len, "%2hhx", &bytes[len]), 1);
	assert_int_equal(file->ops->write(file, bytes, len, at), 0);
}

static inline struct pfs_sim *parse_image(const char *path)
{
	struct pfs_sim *sim = pfs_sim_new();
	const struct pfs_io *io = pfs_sim_io(sim);
	struct pfs_file *file = NULL;
	char line[LINE_MAX_LEN], name[64];
	unsigned long long size;
	struct pfs_dir *dir;
	FILE *in = fopen(path, "r");

	if (!in)
		fail_msg("%s can't be opened (the tests run from the top of the tree)", path);
	assert_int_equal(io->ops->open_dir(io, STORE, PFS_IO_WRITE | PFS_IO_CREATE, &dir), 0);
	while (fgets(line, sizeof(line), in)) {
		if (sscanf(line, "file %63s %llu", name, &size) != 2) {
			load_line(file, line);
			continue;
		}
		if (file)
			file->ops->close(file);
		assert_int_equal(dir->ops->open(dir, name, PFS_IO_WRITE | PFS_IO_CREATE, &file), 0);
		assert_int_equal(file->ops->truncate(file, size), 0);
	}
	file->ops->close(file);
	dir->ops->close_dir(dir);
	fclose(in);
	pfs_sim_settle(sim);
	return sim;
}

static struct {
	char path[512];
	struct pfs_sim *sim;
} known_images[4];

static inline void forget_images(void)
{
	for (size_t i = 0; i < pfs_array_len(known_images); i++)
		pfs_sim_free(known_images[i].sim);
}

/* Each is parsed once. */
static inline struct pfs_sim *load_image(const char *path)
{
	size_t i = 0;

	if (!known_images[0].sim)
		atexit(forget_images);
	while (known_images[i].sim && strcmp(known_images[i].path, path) != 0)
		assert_true(++i < pfs_array_len(known_images));
	if (!known_images[i].sim) {
		snprintf(known_images[i].path, sizeof(known_images[i].path), "%s", path);
		known_images[i].sim = parse_image(path);
	}
	return pfs_sim_kill(known_images[i].sim);
}

static inline void unpack(const char *image, const char *dir)
{
	char line[LINE_MAX_LEN], name[64], path[512];
	FILE *in = fopen(image, "r"), *out = NULL;
	unsigned long long size;

	assert_non_null(in);
	mkdir(dir, 0700);
	while (fgets(line, sizeof(line), in)) {
		uint8_t byte;
		char *hex;

		if (sscanf(line, "file %63s %llu", name, &size) == 2) {
			if (out)
				fclose(out);
			snprintf(path, sizeof(path), "%s/%s", dir, name);
			out = fopen(path, "w");
			assert_non_null(out);
			assert_int_equal(ftruncate(fileno(out), (off_t)size), 0);
			continue;
		}
		fseek(out, (long)strtoull(line, &hex, 10), SEEK_SET);
		for (hex++; *hex > ' '; hex += 2) {
			assert_int_equal(sscanf(hex, "%2hhx", &byte), 1);
			fputc(byte, out);
		}
	}
	fclose(out);
	fclose(in);
}

#endif
