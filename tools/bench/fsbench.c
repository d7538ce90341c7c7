/* fsbench: what one client pays for what people do with small documents, in microseconds an
 *operation.
 *
 *	fsbench [-n FILES] [-s BYTES] [-f FILES_SYNCED] DIRECTORY
 *
 * The directory must be empty and is left empty. Files are named 1..FILES and visited in random
 *order, each loop makes only the system calls that it names. Prints "operation<TAB>microseconds"
 *lines; "-" where caches could not be dropped (that needs root). Listing is given per name. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILES_MAX 10000000ul
#define BYTES_MAX (1ul << 20)
#define APPEND_BYTES 100

struct bench {
	int dir;
	unsigned long files, synced;
	size_t bytes;
	uint32_t *order;
	char *data, *back;
	uint64_t seed;
};

static void die(const char *what, const char *name)
{
	fprintf(stderr, "fsbench: %s %s: %s\n", what, name, strerror(errno));
	exit(1);
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static uint64_t next_random(struct bench *b)
{
	b->seed ^= b->seed << 13;
	b->seed ^= b->seed >> 7;
	b->seed ^= b->seed << 17;
	return b->seed;
}

static void shuffle(struct bench *b)
{
	for (unsigned long i = b->files - 1; i > 0; i--) {
		unsigned long j = next_random(b) % (i + 1);
		uint32_t t = b->order[i];

		b->order[i] = b->order[j];
		b->order[j] = t;
	}
}

/* Random letters and digits with runs in between, so that a compressor finds about what it finds in
 * JSON. */
static void fill(struct bench *b)
{
	static const char word[] = "\"description\":\"";

	for (size_t i = 0; i < b->bytes; i++) {
		size_t k = i % 40;

		b->data[i] = k < sizeof(word) - 1 ? word[k] : (char)('a' + next_random(b) % 26);
	}
}

static bool drop_caches(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);
	bool done;

	sync();
	if (fd < 0)
		return false;
	done = write(fd, "3", 1) == 1;
	close(fd);
	return done;
}

/* One operation on file number n. */
typedef void op_fn(struct bench *b, uint32_t n, const char *name);

static void run_some(struct bench *b, const char *label, op_fn *op, unsigned long count)
{
	char name[16];
	double start;

	shuffle(b);
	start = now_us();
	for (unsigned long i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%u", b->order[i] + 1);
		op(b, b->order[i], name);
	}
	printf("%s\t%.2f\n", label, (now_us() - start) / (double)count);
	fflush(stdout);
}

static void run(struct bench *b, const char *label, op_fn *op)
{
	run_some(b, label, op, b->files);
}

static void run_cold(struct bench *b, const char *label, op_fn *op)
{
	if (drop_caches())
		run(b, label, op);
	else
		printf("%s\t-\n", label);
}

static void write_out(struct bench *b, int fd, size_t len, const char *name)
{
	if (fd < 0)
		die("open", name);
	if (write(fd, b->data, len) != (ssize_t)len)
		die("write", name);
}

static void op_create(struct bench *b, uint32_t n, const char *name)
{
	int fd = openat(b->dir, name, O_WRONLY | O_CREAT | O_EXCL, 0644);

	(void)n;
	write_out(b, fd, b->bytes, name);
	if (close(fd))
		die("close", name);
}

static void op_create_synced(struct bench *b, uint32_t n, const char *name)
{
	char synced[32];
	int fd;

	(void)n;
	snprintf(synced, sizeof(synced), "s%s", name);
	fd = openat(b->dir, synced, O_WRONLY | O_CREAT | O_EXCL, 0644);
	write_out(b, fd, b->bytes, synced);
	if (fsync(fd))
		die("fsync", synced);
	if (close(fd))
		die("close", synced);
}

static void op_read(struct bench *b, uint32_t n, const char *name)
{
	int fd = openat(b->dir, name, O_RDONLY);
	ssize_t got;

	(void)n;
	if (fd < 0)
		die("open", name);
	got = read(fd, b->back, b->bytes + APPEND_BYTES + 1);
	if (got != (ssize_t)b->bytes || memcmp(b->back, b->data, b->bytes)) {
		fprintf(stderr, "fsbench: %s does not hold what was written\n", name);
		exit(1);
	}
	close(fd);
}

static void op_stat(struct bench *b, uint32_t n, const char *name)
{
	struct stat st;

	(void)n;
	if (fstatat(b->dir, name, &st, 0) || st.st_size != (off_t)b->bytes)
		die("stat", name);
}

static void op_rewrite(struct bench *b, uint32_t n, const char *name)
{
	int fd = openat(b->dir, name, O_WRONLY | O_TRUNC);

	(void)n;
	write_out(b, fd, b->bytes, name);
	if (close(fd))
		die("close", name);
}

static void op_replace(struct bench *b, uint32_t n, const char *name)
{
	int fd = openat(b->dir, "tmp", O_WRONLY | O_CREAT | O_EXCL, 0644);

	(void)n;
	write_out(b, fd, b->bytes, "tmp");
	if (close(fd))
		die("close", "tmp");
	if (renameat(b->dir, "tmp", b->dir, name))
		die("rename", name);
}

static void op_append(struct bench *b, uint32_t n, const char *name)
{
	int fd = openat(b->dir, name, O_WRONLY | O_APPEND);

	(void)n;
	write_out(b, fd, b->bytes < APPEND_BYTES ? b->bytes : APPEND_BYTES, name);
	if (close(fd))
		die("close", name);
}

/* Onto a free id; the ids stay a permutation of FILES+1..2*FILES. */
static void op_rename(struct bench *b, uint32_t n, const char *name)
{
	char to[16];

	snprintf(to, sizeof(to), "%lu", b->files + n + 1);
	if (renameat(b->dir, name, b->dir, to))
		die("rename", name);
}

static void op_unlink(struct bench *b, uint32_t n, const char *name)
{
	char moved[16];

	(void)name;
	snprintf(moved, sizeof(moved), "%lu", b->files + n + 1);
	if (unlinkat(b->dir, moved, 0))
		die("unlink", moved);
}

static void op_unlink_synced(struct bench *b, uint32_t n, const char *name)
{
	char synced[32];

	(void)n;
	snprintf(synced, sizeof(synced), "s%s", name);
	if (unlinkat(b->dir, synced, 0) && errno != ENOENT)
		die("unlink", synced);
}

/* The visit before lets the kernel ask once for what a cold read has made stale (the access time).
 */
static void run_warm_stat(struct bench *b)
{
	struct stat st;

	for (uint32_t n = 0; n < b->files; n++) {
		char name[16];

		snprintf(name, sizeof(name), "%u", n + 1);
		if (fstatat(b->dir, name, &st, 0))
			die("stat", name);
	}
	run(b, "warm stat", op_stat);
}

static void run_list(struct bench *b, const char *label, bool cold)
{
	unsigned long names = 0;
	double start;
	DIR *dir;

	if (cold && !drop_caches()) {
		printf("%s\t-\n", label);
		return;
	}
	start = now_us();
	dir = fdopendir(openat(b->dir, ".", O_RDONLY | O_DIRECTORY));
	if (!dir)
		die("opendir", ".");
	for (struct dirent *e = readdir(dir); e; e = readdir(dir))
		names += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
	closedir(dir);
	printf("%s\t%.3f\n", label, (now_us() - start) / (double)b->files);
	if (names != b->files) {
		fprintf(stderr, "fsbench: %lu names listed, %lu are there\n", names, b->files);
		exit(1);
	}
}

static void run_all(struct bench *b)
{
	run(b, "create", op_create);
	run(b, "read after create", op_read);
	run_cold(b, "cold read", op_read);
	run(b, "warm read", op_read);
	run_warm_stat(b);
	run_list(b, "cold list", true);
	run_list(b, "warm list", false);
	run(b, "rewrite", op_rewrite);
	run(b, "replace", op_replace);
	run(b, "append", op_append);
	run_some(b, "create and fsync", op_create_synced, b->synced);
	run(b, "rename", op_rename);
	run(b, "unlink", op_unlink);
	for (uint32_t n = 0; n < b->files; n++) {
		char name[16];

		snprintf(name, sizeof(name), "%u", n + 1);
		op_unlink_synced(b, n, name);
	}
}

static unsigned long number(const char *text, unsigned long max)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (*end || !v || v > max) {
		fprintf(stderr, "fsbench: %s is not a number from 1 to %lu\n", text, max);
		exit(2);
	}
	return v;
}

int main(int argc, char *argv[])
{
	struct bench b = {.files = 10000, .synced = 300, .bytes = 1000, .seed = 88172645463325252u};
	int c;

	while ((c = getopt(argc, argv, "n:s:f:")) != -1) {
		if (c == 'n')
			b.files = number(optarg, FILES_MAX);
		else if (c == 's')
			b.bytes = number(optarg, BYTES_MAX);
		else if (c == 'f')
			b.synced = number(optarg, FILES_MAX);
		else
			return 2;
	}
	if (optind + 1 != argc) {
		fprintf(stderr,
			"usage: fsbench [-n FILES] [-s BYTES] [-f FILES_SYNCED] DIRECTORY\n");
		return 2;
	}
	if (b.synced > b.files)
		b.synced = b.files;
	b.dir = open(argv[optind], O_RDONLY | O_DIRECTORY);
	if (b.dir < 0)
		die("open", argv[optind]);
	b.order = malloc(b.files * sizeof(*b.order));
	b.data = malloc(b.bytes);
	b.back = malloc(b.bytes + APPEND_BYTES + 1);
	if (!b.order || !b.data || !b.back)
		die("memory for", argv[optind]);
	for (uint32_t i = 0; i < b.files; i++)
		b.order[i] = i;
	fill(&b);
	run_all(&b);
	free(b.order);
	free(b.data);
	free(b.back);
	close(b.dir);
	return 0;
}
