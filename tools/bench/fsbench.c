/* fsbench: what clients pay for what people do with small documents, in microseconds an operation.
 *
 *	fsbench [-n FILES] [-s BYTES] [-f FILES_SYNCED] [-c CLIENTS] [-w WRITERS] [-r] DIRECTORY
 *	fsbench -d COUNT DIRECTORY
 *
 * The directory must be empty and is left empty; with -r it holds files that another run with -k
 * has left, and is only read. Files are named 1..FILES and visited in random order, each loop makes
 * only the system calls that it names. Loops are run by one client, some by CLIENTS too, and
 * creation with fsync by WRITERS. With -d: what the disk does at best, overwriting a preallocated
 * file with 4 KiB at a time and fdatasync. Prints "operation<TAB>microseconds" lines; "-" where
 * caches could not be dropped (that needs root). Listing is given per name. Of several clients the
 * time of all over the operations of all is given: half is twice the rate. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
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
#define CLIENTS_MAX 64
#define DISK_WRITE 4096
#define DISK_FILE (64ul << 20)

struct bench {
	int dir;
	unsigned long files, synced;
	unsigned clients, writers;
	bool keep, read_only;
	size_t bytes;
	uint32_t *order;
	char *data;
	uint64_t seed;
};

struct client {
	struct bench *bench;
	unsigned number;
	char *back;
	/* Its part of the loop: order[from..to). */
	void (*op)(struct client *client, uint32_t n, const char *name);
	unsigned long from, to;
	pthread_t thread;
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
typedef void op_fn(struct client *client, uint32_t n, const char *name);

static void *run_client(void *arg)
{
	struct client *client = arg;
	char name[16];

	for (unsigned long i = client->from; i < client->to; i++) {
		uint32_t n = client->bench->order[i];

		snprintf(name, sizeof(name), "%u", n + 1);
		client->op(client, n, name);
	}
	return NULL;
}

static void run_clients(struct bench *b, const char *label, op_fn *op, unsigned long count,
			unsigned clients)
{
	struct client all[CLIENTS_MAX] = {0};
	double start;

	shuffle(b);
	for (unsigned i = 0; i < clients; i++) {
		all[i] = (struct client){.bench = b,
					 .number = i,
					 .back = malloc(b->bytes + APPEND_BYTES + 1),
					 .op = op,
					 .from = count * i / clients,
					 .to = count * (i + 1) / clients};
		if (!all[i].back)
			die("memory for", label);
	}
	start = now_us();
	for (unsigned i = 1; i < clients; i++) {
		if (pthread_create(&all[i].thread, NULL, run_client, &all[i]))
			die("thread for", label);
	}
	run_client(&all[0]);
	for (unsigned i = 1; i < clients; i++)
		pthread_join(all[i].thread, NULL);
	printf("%s", label);
	if (clients > 1)
		printf(", %u clients", clients);
	printf("\t%.2f\n", (now_us() - start) / (double)count);
	fflush(stdout);
	for (unsigned i = 0; i < clients; i++)
		free(all[i].back);
}

static void run(struct bench *b, const char *label, op_fn *op)
{
	run_clients(b, label, op, b->files, 1);
}

/* Once by one client, and once by several if there are to be. */
static void run_both(struct bench *b, const char *label, op_fn *op)
{
	run(b, label, op);
	if (b->clients > 1)
		run_clients(b, label, op, b->files, b->clients);
}

static void run_cold(struct bench *b, const char *label, op_fn *op, unsigned clients)
{
	if (drop_caches())
		run_clients(b, label, op, b->files, clients);
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

static void op_create(struct client *client, uint32_t n, const char *name)
{
	struct bench *b = client->bench;
	int fd = openat(b->dir, name, O_WRONLY | O_CREAT | O_EXCL, 0644);

	(void)n;
	write_out(b, fd, b->bytes, name);
	if (close(fd))
		die("close", name);
}

static void op_create_synced(struct client *client, uint32_t n, const char *name)
{
	struct bench *b = client->bench;
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

static void op_read(struct client *client, uint32_t n, const char *name)
{
	struct bench *b = client->bench;
	int fd = openat(b->dir, name, O_RDONLY);
	ssize_t got;

	(void)n;
	if (fd < 0)
		die("open", name);
	got = read(fd, client->back, b->bytes + APPEND_BYTES + 1);
	if (got != (ssize_t)b->bytes || memcmp(client->back, b->data, b->bytes)) {
		fprintf(stderr, "fsbench: %s does not hold what was written\n", name);
		exit(1);
	}
	close(fd);
}

static void op_stat(struct client *client, uint32_t n, const char *name)
{
	struct bench *b = client->bench;
	struct stat st;

	(void)n;
	if (fstatat(b->dir, name, &st, 0) || st.st_size != (off_t)b->bytes)
		die("stat", name);
}

static void op_rewrite(struct client *client, uint32_t n, const char *name)
{
	struct bench *b = client->bench;
	int fd = openat(b->dir, name, O_WRONLY | O_TRUNC);

	(void)n;
	write_out(b, fd, b->bytes, name);
	if (close(fd))
		die("close", name);
}

static void op_replace(struct client *client, uint32_t n, const char *name)
{
	struct bench *b = client->bench;
	char tmp[16];
	int fd;

	(void)n;
	snprintf(tmp, sizeof(tmp), "tmp%u", client->number);
	fd = openat(b->dir, tmp, O_WRONLY | O_CREAT | O_EXCL, 0644);
	write_out(b, fd, b->bytes, tmp);
	if (close(fd))
		die("close", tmp);
	if (renameat(b->dir, tmp, b->dir, name))
		die("rename", name);
}

static void op_append(struct client *client, uint32_t n, const char *name)
{
	struct bench *b = client->bench;
	int fd = openat(b->dir, name, O_WRONLY | O_APPEND);

	(void)n;
	write_out(b, fd, b->bytes < APPEND_BYTES ? b->bytes : APPEND_BYTES, name);
	if (close(fd))
		die("close", name);
}

/* Onto a free id; the ids stay a permutation of FILES+1..2*FILES. */
static void op_rename(struct client *client, uint32_t n, const char *name)
{
	struct bench *b = client->bench;
	char to[16];

	snprintf(to, sizeof(to), "%lu", b->files + n + 1);
	if (renameat(b->dir, name, b->dir, to))
		die("rename", name);
}

static void op_unlink(struct client *client, uint32_t n, const char *name)
{
	struct bench *b = client->bench;
	char moved[16];

	(void)name;
	snprintf(moved, sizeof(moved), "%lu", b->files + n + 1);
	if (unlinkat(b->dir, moved, 0))
		die("unlink", moved);
}

static void unlink_synced(struct bench *b)
{
	for (unsigned long n = 1; n <= b->files; n++) {
		char synced[32];

		snprintf(synced, sizeof(synced), "s%lu", n);
		if (unlinkat(b->dir, synced, 0) && errno != ENOENT)
			die("unlink", synced);
	}
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

static void run_reading(struct bench *b)
{
	run_cold(b, "cold read", op_read, 1);
	run(b, "warm read", op_read);
	if (b->clients > 1) {
		run_cold(b, "cold read", op_read, b->clients);
		run_clients(b, "warm read", op_read, b->files, b->clients);
	}
	run_warm_stat(b);
	run_list(b, "cold list", true);
	run_list(b, "warm list", false);
}

static void run_synced(struct bench *b)
{
	run_clients(b, "create and fsync", op_create_synced, b->synced, 1);
	unlink_synced(b);
	if (b->writers > 1) {
		unsigned long count = b->synced * b->writers;

		run_clients(b, "create and fsync", op_create_synced,
			    count < b->files ? count : b->files, b->writers);
		unlink_synced(b);
	}
}

static void run_all(struct bench *b)
{
	if (b->read_only) {
		run_reading(b);
		return;
	}
	run(b, "create", op_create);
	run(b, "read after create", op_read);
	if (b->keep)
		return;
	run_reading(b);
	run_both(b, "rewrite", op_rewrite);
	run(b, "replace", op_replace);
	run(b, "append", op_append);
	run_synced(b);
	run(b, "rename", op_rename);
	run(b, "unlink", op_unlink);
	if (b->clients > 1) {
		run_clients(b, "create", op_create, b->files, b->clients);
		run_clients(b, "rename", op_rename, b->files, b->clients);
		run_clients(b, "unlink", op_unlink, b->files, b->clients);
	}
}

/* The file has its blocks and no other client, so that the disk has nothing to do but to be sure.
 */
static void run_disk(int dir, unsigned long count)
{
	static const char name[] = "disk";
	char *data = calloc(1, DISK_FILE / 64);
	int fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL, 0644);
	double start;

	if (!data || fd < 0)
		die("create", name);
	for (unsigned i = 0; i < 64; i++) {
		if (write(fd, data, DISK_FILE / 64) != (ssize_t)(DISK_FILE / 64))
			die("write", name);
	}
	if (fsync(fd))
		die("fsync", name);
	start = now_us();
	for (unsigned long i = 0; i < count; i++) {
		off_t off = (off_t)(i % (DISK_FILE / DISK_WRITE) * DISK_WRITE);

		memcpy(data, &i, sizeof(i));
		if (pwrite(fd, data, DISK_WRITE, off) != DISK_WRITE || fdatasync(fd))
			die("overwrite", name);
	}
	printf("overwrite and fdatasync\t%.2f\n", (now_us() - start) / (double)count);
	free(data);
	close(fd);
	if (unlinkat(dir, name, 0))
		die("unlink", name);
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

static void usage(void)
{
	fprintf(stderr, "usage: fsbench [-n FILES] [-s BYTES] [-f FILES_SYNCED] [-c CLIENTS] "
			"[-w WRITERS] [-k | -r] DIRECTORY\n"
			"       fsbench -d COUNT DIRECTORY\n");
	exit(2);
}

int main(int argc, char *argv[])
{
	struct bench b = {.files = 10000, .synced = 300, .bytes = 1000, .seed = 88172645463325252u};
	unsigned long disk = 0;
	int c;

	b.clients = b.writers = 1;
	while ((c = getopt(argc, argv, "n:s:f:c:w:d:kr")) != -1) {
		switch (c) {
		case 'n': b.files = number(optarg, FILES_MAX); break;
		case 's': b.bytes = number(optarg, BYTES_MAX); break;
		case 'f': b.synced = number(optarg, FILES_MAX); break;
		case 'c': b.clients = (unsigned)number(optarg, CLIENTS_MAX); break;
		case 'w': b.writers = (unsigned)number(optarg, CLIENTS_MAX); break;
		case 'd': disk = number(optarg, FILES_MAX); break;
		case 'k': b.keep = true; break;
		case 'r': b.read_only = true; break;
		default: usage();
		}
	}
	if (optind + 1 != argc)
		usage();
	if (b.synced > b.files)
		b.synced = b.files;
	b.dir = open(argv[optind], O_RDONLY | O_DIRECTORY);
	if (b.dir < 0)
		die("open", argv[optind]);
	if (disk) {
		run_disk(b.dir, disk);
		close(b.dir);
		return 0;
	}
	b.order = malloc(b.files * sizeof(*b.order));
	b.data = malloc(b.bytes);
	if (!b.order || !b.data)
		die("memory for", argv[optind]);
	for (uint32_t i = 0; i < b.files; i++)
		b.order[i] = i;
	fill(&b);
	run_all(&b);
	free(b.order);
	free(b.data);
	close(b.dir);
	return 0;
}
