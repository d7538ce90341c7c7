/* Saying what is wrong with an image; settings and tallies. */
#include <malloc.h>
#include <time.h>

#include "tests/crash/world.h"

#define STORE "/s"
#define LOG_LINES 8

/* ---- saying what is wrong ---- */

/* The last lines that the store on an image has logged. */
static struct {
	char lines[LOG_LINES][PFS_LOG_LINE_MAX];
	unsigned count, faults;
} logged;

void report_line(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	if (level > PFS_LOG_WARNING)
		return;
	logged.faults++;
	snprintf(logged.lines[logged.count++ % LOG_LINES], PFS_LOG_LINE_MAX, "%s", line);
}

const struct pfs_logger report_logger = {.fn = report_line};

void report_clear(void)
{
	logged.count = logged.faults = 0;
}

unsigned report_faults(void)
{
	return logged.faults;
}

/* With CRASH_DUMP=DIRECTORY: the image that is looked at, as it was before. */
static struct pfs_sim *dumped;

static int dump_file(void *arg, const char *name)
{
	static uint8_t bytes[4 * PFS_MIB];
	struct pfs_dir *dir = arg;
	struct pfs_file *file;
	char path[512];
	FILE *out;
	ssize_t n;

	assert_int_equal(dir->ops->open(dir, name, 0, &file), 0);
	n = file->ops->read(file, bytes, sizeof(bytes), 0);
	file->ops->close(file);
	snprintf(path, sizeof(path), "%s/%s", getenv("CRASH_DUMP"), name);
	out = fopen(path, "w");
	if (!out || n < 0 || fwrite(bytes, 1, (size_t)n, out) != (size_t)n || fclose(out) != 0)
		fail_msg("%s: can't be written", path);
	return 0;
}

static void dump(void)
{
	struct pfs_dir *dir;

	if (!dumped)
		return;
	assert_int_equal(pfs_sim_io(dumped)->ops->open_dir(pfs_sim_io(dumped), STORE, 0, &dir), 0);
	assert_int_equal(dir->ops->list(dir, dump_file, dir), 0);
	dir->ops->close_dir(dir);
}

void report_image(struct pfs_sim *image)
{
	if (!getenv("CRASH_DUMP"))
		return;
	pfs_sim_free(dumped);
	dumped = pfs_sim_kill(image);
}

void bad_image(const struct world *w, const char *fmt, ...)
{
	char text[400];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	dump();
	for (unsigned i = logged.count > LOG_LINES ? logged.count - LOG_LINES : 0; i < logged.count;
	     i++)
		print_message("  log: %s\n", logged.lines[i % LOG_LINES]);
	fail_msg("%s\n  before: %s\n  again with: %s %s", text, w->before ? w->before : "?",
		 w->name, w->image);
}

/* ---- settings ---- */

double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

uint64_t setting(const char *name, uint64_t otherwise)
{
	const char *value = getenv(name);

	return value ? strtoull(value, NULL, 10) : otherwise;
}

void world_settings(struct world *w, bool *is_long)
{
	/* Opening and closing stores all the time, the heap must not go back to the kernel each
	 * time, and what is large and hardly touched must not be cleared by hand. */
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	mallopt(M_MMAP_THRESHOLD, 256 << 10);
	*is_long = setting("CRASH_LONG", 0);
	w->logger = report_logger;
	w->effort.pending_max = 10;
	w->only_step = setting("CRASH_STEP", UINT64_MAX);
	w->only_index = setting("CRASH_INDEX", UINT64_MAX);
	w->only_seed = setting("CRASH_IMAGE", UINT64_MAX);
	w->only_kill = setting("CRASH_KILL", 0);
	w->verbose = w->only_step != UINT64_MAX;
}

void print_tally(const struct world *w, const char *what, uint64_t n, double seconds)
{
	print_message(
		"crash points %llu, images %llu (opened %llu), %s %llu, process deaths %llu, "
		"openings cut again %llu, failed syncs %llu, dictionaries %llu (dropped %llu), "
		"failures 0, %.0f s\n",
		(unsigned long long)w->tally.points, (unsigned long long)w->tally.images,
		(unsigned long long)w->tally.opened, what, (unsigned long long)n,
		(unsigned long long)w->tally.kills, (unsigned long long)w->tally.recuts,
		(unsigned long long)w->tally.failed_syncs, (unsigned long long)w->tally.dicts_made,
		(unsigned long long)w->tally.dicts_dropped, seconds);
}
