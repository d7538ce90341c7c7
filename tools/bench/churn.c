/* churn: what a store takes of the disk under steady change, and how long writers and readers wait
 * while it is compacted, at the engine.
 *
 *	churn [-n POINTS] [-o OPERATIONS] [-p PAGE_SIZE] [-D] [-s SECONDS] [-d DIRECTORY] [PART...]
 *
 * Works in a new directory below DIRECTORY (the current one), which it removes at the end. PARTs,
 * all when none is named:
 *
 * churn      POINTS (1000000) documents of 200 to 1400 bytes, then OPERATIONS (5 for each): half of
 *            them new contents of 50 % to 150 % of the size, a quarter removals, a quarter new
 *            documents. All the time the blocks of the directory are counted, journal included, and
 *            divided by what the live containers and slots take. Then everything is compacted and
 *            compared with a fresh store that gets the same documents.
 * overwrite  one document is replaced OPERATIONS / 5 times; pages are counted meanwhile.
 * empty      POINTS / 10 documents come and go until none is left.
 * live       a writer and a reader at work for SECONDS (10) and once more, then beside a full
 *compaction of POINTS documents of which 30 % were removed. Percentiles of the calls, and how long
 *            the commit lock was held, the syncs in it left out.
 *
 * -D lets dictionaries be trained; without it contents are packed alike at any time. Exits 1 when a
 * bound (below) is broken that does not depend on the machine. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "storage/store_internal.h"
#include "tools/bench/holds.h"

#define LEN_MIN 200u
#define LEN_MAX 1400u
#define BYTES_MAX 4096u
#define BOUND_PERCENT 125
#define BOUND_MORE (64 * PFS_MIB)
#define FRESH_PERCENT 103
#define SAMPLE_EVERY 500 /* operations between two looks at the directory */

static uint64_t points = 1000000, operations;
static uint64_t page_size;
static double seconds = 10;
static bool dictionaries;
static const char *place = ".";
static char work[4096];
static int broken;

static struct pfs_store *store;

/* ---- a store below the working directory ---- */

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * PFS_NSEC_PER_SEC + t.tv_nsec;
}

static void check(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "churn: %s: %s (what is there stays in %s)\n", what, strerror(-err), work);
	exit(1);
}

static const char *path_of(const char *name)
{
	static char path[sizeof(work) + 300];

	snprintf(path, sizeof(path), "%s/%s", work, name);
	return path;
}

static void open_store(const char *name)
{
	struct pfs_create_options create = {.page_size = page_size, .min_value_size = 16};
	struct pfs_open_options options = {.dict = dictionaries ? PFS_DICT_AUTO : PFS_DICT_OFF};
	struct pfs_reason reason;

	check(pfs_store_create(path_of(name), &create, &reason), "creating a store");
	check(pfs_store_open(&store, path_of(name), &options, &reason), "opening a store");
}

/* What to do with each file of a store. */
static uint64_t for_files(const char *name, bool unlink_it)
{
	DIR *dir = opendir(path_of(name));
	const struct dirent *entry;
	uint64_t blocks = 0;
	struct stat st;

	if (!dir)
		check(-errno, name);
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		/* One may be removed while it is looked at. */
		if (fstatat(dirfd(dir), entry->d_name, &st, 0) == 0)
			blocks += (uint64_t)st.st_blocks;
		if (unlink_it)
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
	}
	closedir(dir);
	return blocks * 512;
}

static void close_store(const char *name)
{
	check(pfs_store_close(store), "closing");
	(void)for_files(name, true);
	(void)rmdir(path_of(name));
}

static struct pfs_store_stat stat_now(void)
{
	struct pfs_store_stat stat;

	check(pfs_store_stat(store, &stat), "statistics");
	return stat;
}

/* What the live documents take in pages, with header and trailer of as many as they need. */
static uint64_t packed_bytes(const struct pfs_store_stat *s)
{
	uint64_t live = s->container_bytes + s->slot_bytes;

	return live + (live / s->page_size + 1) * (PFS_PAGE_HEADER_LEN + PFS_PAGE_TRAILER_LEN);
}

static double mib(uint64_t bytes)
{
	return (double)bytes / PFS_MIB;
}

static void expect(bool holds, const char *what)
{
	printf("%s: %s\n", holds ? "holds" : "BROKEN", what);
	if (!holds)
		broken = 1;
}

/* ---- documents ---- */

struct document {
	uint64_t id;
	uint32_t len, version;
};

static struct document *documents;
static uint64_t count, next_id;
static uint64_t random_state = 1;

static uint64_t roll(uint64_t n)
{
	random_state += UINT64_C(0x9e3779b97f4a7c15);
	return pfs_mix64(random_state) % n;
}

static uint32_t nominal_len(uint64_t id)
{
	return LEN_MIN + (uint32_t)(pfs_mix64(id) % (LEN_MAX - LEN_MIN + 1));
}

/* Text that LZ4 makes somewhat shorter: names that repeat, values that do not. */
static void fill(uint8_t *bytes, const struct document *d)
{
	static const char hex[] = "0123456789abcdef";
	uint64_t seed = d->id * 1000003 + d->version;
	size_t at = 0;

	for (uint64_t field = 0; at < d->len; field++) {
		uint64_t value = pfs_mix64(seed + field);
		char text[40] = "\"name_0\": \"................\", ";

		text[6] = hex[field % 8];
		for (unsigned i = 0; i < 16; i++)
			text[11 + i] = hex[value >> (4 * i) & 15];
		memcpy(bytes + at, text, pfs_min_u64(30, d->len - at));
		at += 30;
	}
}

static void put_to(struct pfs_store *to, const struct document *d)
{
	struct pfs_key key = pfs_key_num(d->id);
	struct pfs_attr attr = {.mode = 0644, .mtime_ns = (int64_t)d->version};
	uint8_t bytes[BYTES_MAX];

	fill(bytes, d);
	check(pfs_put(to, &key, bytes, d->len, &attr, 0, NULL), "put");
}

static void insert(void)
{
	struct document *d = &documents[count++];

	*d = (struct document){.id = next_id++, .version = 1};
	d->len = nominal_len(d->id);
	put_to(store, d);
}

static void update(struct document *d)
{
	d->len = (uint32_t)(nominal_len(d->id) * (50 + roll(101)) / 100);
	d->version++;
	put_to(store, d);
}

static void drop(uint64_t i)
{
	struct pfs_key key = pfs_key_num(documents[i].id);

	check(pfs_remove(store, &key, NULL), "remove");
	documents[i] = documents[--count];
}

static void load(uint64_t n)
{
	count = next_id = 0;
	while (count < n)
		insert();
	check(pfs_store_checkpoint(store), "checkpoint");
}

/* ---- churn ---- */

struct worst {
	double ratio, pages_ratio;
	uint64_t over; /* of the bound, the most; as a signed number */
	uint64_t samples, disk, packed;
	bool is_over;
};

static void sample(const char *name, struct worst *w)
{
	struct pfs_store_stat stat = stat_now();
	uint64_t disk = for_files(name, false), packed = packed_bytes(&stat);
	double ratio = (double)disk / (double)packed;

	w->samples++;
	if ((double)stat.page_bytes / (double)packed > w->pages_ratio)
		w->pages_ratio = (double)stat.page_bytes / (double)packed;
	if (disk > packed * BOUND_PERCENT / 100 + BOUND_MORE)
		w->is_over = true;
	if (ratio <= w->ratio)
		return;
	w->ratio = ratio;
	w->disk = disk;
	w->packed = packed;
}

static void print_waste(const struct pfs_store_stat *s, double took)
{
	printf("pages %" PRIu64 ", %.1f MiB; live %.1f; holes %.1f, ahead and slots %.1f; journal "
	       "%.1f; %.0f s\n",
	       s->pages, mib(s->page_bytes), mib(s->container_bytes + s->slot_bytes),
	       mib(s->hole_bytes), mib(s->free_bytes - pfs_min_u64(s->free_bytes, s->hole_bytes)),
	       mib(s->journal_bytes), took);
	printf("moved %" PRIu64 " values, %.1f MiB; retired %" PRIu64 " pages; %" PRIu64
	       " checkpoints\n",
	       s->moved_values, mib(s->moved_bytes), s->retired_pages, s->checkpoints);
}

static void print_worst(const struct worst *w)
{
	printf("worst of %" PRIu64 " samples: %.3f of packed (%.1f of %.1f MiB), the pages alone "
	       "%.3f\n",
	       w->samples, w->ratio, mib(w->disk), mib(w->packed), w->pages_ratio);
}

/* The same documents in a store that never had others. */
static uint64_t fresh_bytes(void)
{
	struct pfs_store *churned = store;
	struct pfs_store_stat stat;

	open_store("fresh");
	for (uint64_t i = 0; i < count; i++)
		put_to(store, &documents[i]);
	check(pfs_store_checkpoint(store), "checkpoint");
	stat = stat_now();
	close_store("fresh");
	store = churned;
	return stat.page_bytes;
}

static void part_churn(void)
{
	struct pfs_compact_result result;
	struct worst worst = {0};
	struct pfs_store_stat stat;
	int64_t start;
	uint64_t fresh;

	open_store("churn");
	load(points);
	stat = stat_now();
	printf("\nchurn: %" PRIu64 " points, %" PRIu64 " operations; loaded: %.1f MiB\n", points,
	       operations, mib(stat.page_bytes));
	start = now_ns();
	for (uint64_t i = 0; i < operations; i++) {
		uint64_t what = roll(4);

		if (what == 0 && count > 1)
			drop(roll(count));
		else if (what == 1 && count < 2 * points)
			insert();
		else
			update(&documents[roll(count)]);
		if (i % SAMPLE_EVERY == 0)
			sample("churn", &worst);
		if (i % (operations / 10 + 1) == 0 && i)
			print_worst(&worst);
	}
	sample("churn", &worst);
	stat = stat_now();
	print_waste(&stat, (double)(now_ns() - start) / 1e9);
	print_worst(&worst);
	expect(!worst.is_over, "disk usage below 1.25 times the packed size and 64 MiB");
	start = now_ns();
	check(pfs_store_compact(store, NULL, NULL, NULL, &result), "compact");
	printf("compact: %" PRIu64 " values, %.1f MiB moved in %.1f s, pages %.1f -> %.1f MiB\n",
	       result.values, mib(result.bytes), (double)(now_ns() - start) / 1e9,
	       mib(result.disk_before), mib(result.disk_after));
	fresh = fresh_bytes();
	printf("a fresh store: %.1f MiB, %.3f\n", mib(fresh),
	       (double)result.disk_after / (double)fresh);
	expect(result.disk_after <= fresh * FRESH_PERCENT / 100 + PFS_MIB,
	       "after compaction within 3 % of a fresh store");
	close_store("churn");
}

/* ---- one document; none ---- */

static void part_overwrite(void)
{
	struct document d = {.id = 7};
	struct pfs_store_stat stat;
	uint64_t pages = 0;

	open_store("overwrite");
	for (uint64_t i = 0; i < operations / 5; i++) {
		d.version++;
		d.len = LEN_MIN + (uint32_t)roll(LEN_MAX - LEN_MIN);
		put_to(store, &d);
		if (i % 100 == 0)
			pages = pfs_max_u64(pages, stat_now().pages);
	}
	check(pfs_store_checkpoint(store), "checkpoint");
	stat = stat_now();
	printf("\noverwrite: %" PRIu64 " times; %" PRIu64 " pages at most\n", operations / 5,
	       pfs_max_u64(pages, stat.pages));
	expect(pages <= 2 && stat.pages <= 2, "one document never takes more than two pages");
	close_store("overwrite");
}

static void part_empty(void)
{
	struct pfs_compact_result result;
	struct pfs_store_stat stat;

	open_store("empty");
	load(points / 10);
	for (uint64_t i = 0; i < points / 10; i++)
		update(&documents[roll(count)]);
	while (count)
		drop(roll(count));
	check(pfs_store_checkpoint(store), "checkpoint");
	check(pfs_store_compact(store, NULL, NULL, NULL, &result), "compact");
	stat = stat_now();
	printf("\nempty: %" PRIu64 " documents removed; %" PRIu64 " pages, %" PRIu64
	       " bytes in use, %" PRIu64 " in holes\n",
	       points / 10, stat.pages, stat.used_bytes, stat.hole_bytes);
	expect(stat.pages <= 1 && stat.used_bytes == 0 && stat.hole_bytes == 0,
	       "when all is removed a page is left at most, with nothing in it");
	close_store("empty");
}

/* ---- beside a compaction ---- */

struct worker {
	pthread_t thread;
	struct histogram waits;
	uint64_t random, done;
};

static bool stop;

static uint64_t worker_roll(struct worker *w, uint64_t n)
{
	w->random += UINT64_C(0x9e3779b97f4a7c15);
	return pfs_mix64(w->random) % n;
}

static void *write_all_the_time(void *arg)
{
	struct worker *w = arg;

	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		struct document *d = &documents[worker_roll(w, count)];
		int64_t start;

		d->len = (uint32_t)(nominal_len(d->id) * (50 + worker_roll(w, 101)) / 100);
		d->version++;
		start = now_ns();
		put_to(store, d);
		histogram_add(&w->waits, now_ns() - start);
		w->done++;
	}
	return NULL;
}

static void *read_all_the_time(void *arg)
{
	struct worker *w = arg;

	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		struct pfs_key key = pfs_key_num(documents[worker_roll(w, count)].id);
		int64_t start = now_ns();
		void *bytes;
		size_t len;

		check(pfs_get(store, &key, &bytes, &len, NULL), "get");
		histogram_add(&w->waits, now_ns() - start);
		free(bytes);
		w->done++;
	}
	return NULL;
}

struct pace {
	double writes, reads; /* a second */
	double p999_us, hold_us;
};

static struct pace run_workers(const char *what, struct pfs_compact_result *compacted)
{
	struct worker writer = {.random = 1}, reader = {.random = 2};
	int64_t start = now_ns();
	struct pace pace;
	double took;

	stop = false;
	holds_begin(&store->commit);
	check(-pthread_create(&writer.thread, NULL, write_all_the_time, &writer), "thread");
	check(-pthread_create(&reader.thread, NULL, read_all_the_time, &reader), "thread");
	if (compacted) {
		check(pfs_store_compact(store, NULL, NULL, NULL, compacted), "compact");
	} else {
		struct timespec t = {(time_t)seconds, 0};

		nanosleep(&t, NULL);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	pthread_join(writer.thread, NULL);
	pthread_join(reader.thread, NULL);
	took = (double)(now_ns() - start) / 1e9;
	holds_end();
	printf("\n%s, %.1f s: %.0f writes, %.0f reads a second\n", what, took,
	       (double)writer.done / took, (double)reader.done / took);
	histogram_print_head();
	histogram_print("write", &writer.waits);
	histogram_print("read", &reader.waits);
	histogram_print("commit lock", holds_histogram());
	holds_print_longest();
	pace.writes = (double)writer.done / took;
	pace.reads = (double)reader.done / took;
	pace.p999_us = histogram_percentile(&writer.waits, 0.999);
	pace.hold_us = (double)holds_histogram()->longest_ns / 1e3;
	return pace;
}

static void part_live(void)
{
	struct pfs_compact_result result;
	struct pace alone, beside;

	open_store("live");
	load(points);
	printf("\nlive: %" PRIu64 " points\n", points);
	while (count > points * 7 / 10)
		drop(roll(count));
	check(pfs_store_checkpoint(store), "checkpoint");
	/* What the journal takes at once at first is not what there is to compare with. */
	(void)run_workers("at first", NULL);
	alone = run_workers("without compaction", NULL);
	beside = run_workers("beside a full compaction", &result);
	printf("\n%" PRIu64 " values, %.1f MiB moved; pages %.1f -> %.1f MiB\n", result.values,
	       mib(result.bytes), mib(result.disk_before), mib(result.disk_after));
	printf("writes %.2f times, reads %.2f times as many; write p99.9 %.1f ms; longest hold "
	       "%.1f ms\n",
	       beside.writes / alone.writes, beside.reads / alone.reads, beside.p999_us / 1e3,
	       beside.hold_us / 1e3);
	close_store("live");
}

/* ---- main ---- */

static const struct part {
	const char *name;
	void (*run)(void);
} parts[] = {{"churn", part_churn},
	     {"overwrite", part_overwrite},
	     {"empty", part_empty},
	     {"live", part_live}};

static void run_part(const char *name)
{
	for (size_t i = 0; i < pfs_array_len(parts); i++) {
		if (name && strcmp(name, parts[i].name) != 0)
			continue;
		random_state = 1;
		parts[i].run();
		fflush(stdout);
		if (name)
			return;
	}
	if (name) {
		fprintf(stderr, "churn: there is no part \"%s\"\n", name);
		exit(2);
	}
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t n = strtoull(text, &end, 10);

	if (*end == 'K')
		n *= PFS_KIB;
	else if (*end == 'M')
		n *= PFS_MIB;
	if (n == 0 || (*end && end[1])) {
		fprintf(stderr, "churn: %s is no number\n", text);
		exit(2);
	}
	return n;
}

int main(int argc, char *argv[])
{
	int option;

	while ((option = getopt(argc, argv, "n:o:p:s:d:D")) != -1) {
		switch (option) {
		case 'n': points = number(optarg); break;
		case 'o': operations = number(optarg); break;
		case 'p': page_size = number(optarg); break;
		case 's': seconds = (double)number(optarg); break;
		case 'd': place = optarg; break;
		case 'D': dictionaries = true; break;
		default: return 2;
		}
	}
	if (!operations)
		operations = 5 * points;
	documents = malloc(2 * points * sizeof(*documents));
	snprintf(work, sizeof(work), "%s/churn.XXXXXX", place);
	if (!documents || !mkdtemp(work))
		check(-errno, work);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (optind == argc)
		run_part(NULL);
	while (optind < argc)
		run_part(argv[optind++]);
	(void)rmdir(work);
	free(documents);
	return broken;
}
