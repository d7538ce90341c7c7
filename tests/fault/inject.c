#include "tests/fault/inject.h"

#include <execinfo.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BLOCKS_MAX (1u << 16)
#define PRINT_MAX 8
#define FRAMES_MAX 48

/* Linked with --wrap. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void __real_free(void *p);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void __wrap_free(void *p);
char *__wrap_strdup(const char *text);
int __wrap_asprintf(char **out, const char *fmt, ...);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg);

extern const char __executable_start[]; /* the linker's */

struct block {
	const void *at, *by;
};

static pthread_mutex_t lock = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP; /* all below */
static struct fault *fault;
static bool armed;
static _Thread_local bool exempt;
static _Thread_local int arming_depth; /* frames of whoever armed, and of those who called it */
static struct block blocks[BLOCKS_MAX];
static size_t block_count;

/* For addr2line. */
static unsigned long address_of(const void *code)
{
	return (unsigned long)((const char *)code - __executable_start);
}

/* By which way the call that is being made is made, from where it was armed on; never 0. */
static uint64_t way_here(void)
{
	void *frames[FRAMES_MAX];
	int n = backtrace(frames, FRAMES_MAX);
	uint64_t way = 1;

	for (int i = 0; i < n - arming_depth; i++)
		way = pfs_mix64(way + (uintptr_t)frames[i]);
	return way ? way : 1;
}

/* For addr2line: by whom it is made, and all the return addresses, inmost first. */
static void print_way(unsigned kind, const char *name, const void *by)
{
	void *frames[FRAMES_MAX];
	int n = backtrace(frames, FRAMES_MAX);

	printf("  %s of %s fails, called by the code at %#lx; way:",
	       kind < PFS_SIM_KINDS   ? pfs_sim_kind_name(kind)
	       : kind == FAULT_MEMORY ? "allocation"
				      : "call",
	       name, by ? address_of(by) : 0);
	for (int i = 0; i < n - arming_depth; i++)
		printf(" %#lx", address_of(frames[i]));
	printf("\n");
}

static void note_way(struct fault_sites *sites, uint64_t way, unsigned kind)
{
	for (size_t i = 0; i < sites->count; i++)
		if (sites->at[i] == way && sites->kind[i] == kind)
			return;
	if (sites->count == FAULT_SITES_MAX)
		abort();
	sites->at[sites->count] = way;
	sites->kind[sites->count++] = kind;
}

/* Whether the call that is being made is one of those that count. */
static bool is_counted(unsigned kind)
{
	uint64_t way;

	if (!fault || !armed || exempt)
		return false;
	way = fault->sites || (fault->site && fault->kind == kind && !fault->met) ? way_here() : 0;
	if (fault->sites)
		note_way(fault->sites, way, kind);
	return !fault->over && fault->kind == kind &&
	       (!fault->site || fault->met || way == fault->site);
}

bool fault_hits(unsigned kind, const char *name, const void *by)
{
	bool hit = false;

	pthread_mutex_lock(&lock);
	if (is_counted(kind)) {
		fault->seen++;
		hit = fault->at && (fault->seen == fault->at ||
				    (fault->from_then_on && fault->seen > fault->at));
	}
	if (hit && !fault->met && getenv("FAULT_LOG"))
		print_way(kind, name, by);
	if (hit) {
		fault->met = true;
		fault->sync_met = kind == PFS_SIM_SYNC || kind == PFS_SIM_SYNC_DIR;
	}
	pthread_mutex_unlock(&lock);
	return hit;
}

int fault_error(void)
{
	int err;

	pthread_mutex_lock(&lock);
	err = fault ? fault->err : 0;
	pthread_mutex_unlock(&lock);
	return err;
}

void fault_begin(struct fault *f)
{
	/* The first trace loads what makes them, which gets memory. */
	(void)way_here();
	pthread_mutex_lock(&lock);
	fault = f;
	armed = false;
	memset(blocks, 0, sizeof(blocks));
	block_count = 0;
	pthread_mutex_unlock(&lock);
}

const struct fault *fault_now(void)
{
	return fault;
}

static int on_call(void *arg, const struct pfs_sim_step *step)
{
	(void)arg;
	return fault_hits(step->kind, step->name, NULL) ? fault->err : 0;
}

void fault_watch(struct pfs_sim *sim)
{
	pfs_sim_on_step(sim, on_call, NULL);
	pfs_sim_on_look(sim, on_call, NULL);
	pfs_sim_set_failed_writes(sim, fault ? fault->failed_writes : PFS_SIM_FAILED_HALF);
}

static void set_armed(bool on)
{
	pthread_mutex_lock(&lock);
	armed = on;
	pthread_mutex_unlock(&lock);
}

void fault_arm(void)
{
	void *frames[FRAMES_MAX];

	arming_depth = backtrace(frames, FRAMES_MAX) - 1;
	set_armed(true);
}

void fault_disarm(void)
{
	set_armed(false);
}

void fault_exempt(bool on)
{
	exempt = on;
}

/* ---- blocks ---- */

static size_t place_of(const void *p)
{
	return pfs_mix64((uintptr_t)p) % BLOCKS_MAX;
}

static void note(const void *p, const void *by)
{
	size_t at = place_of(p);

	pthread_mutex_lock(&lock);
	if (armed && !exempt && p && block_count < BLOCKS_MAX / 2) {
		while (blocks[at].at)
			at = (at + 1) % BLOCKS_MAX;
		blocks[at] = (struct block){p, by};
		block_count++;
	}
	pthread_mutex_unlock(&lock);
}

void fault_forget(const void *p)
{
	size_t at = place_of(p);

	if (!p)
		return;
	pthread_mutex_lock(&lock);
	while (blocks[at].at && blocks[at].at != p)
		at = (at + 1) % BLOCKS_MAX;
	if (blocks[at].at) {
		blocks[at].at = NULL;
		block_count--;
		/* The rest of the run may have probed across the hole. */
		for (at = (at + 1) % BLOCKS_MAX; blocks[at].at; at = (at + 1) % BLOCKS_MAX) {
			struct block moved = blocks[at];
			size_t to = place_of(moved.at);

			blocks[at].at = NULL;
			while (blocks[to].at)
				to = (to + 1) % BLOCKS_MAX;
			blocks[to] = moved;
		}
	}
	pthread_mutex_unlock(&lock);
}

size_t fault_live_blocks(bool print)
{
	unsigned printed = 0;

	for (size_t i = 0; print && i < BLOCKS_MAX && printed < PRINT_MAX; i++) {
		if (!blocks[i].at)
			continue;
		printf("  a block that was got by the code at %#lx is still there\n",
		       address_of(blocks[i].by));
		printed++;
	}
	return block_count;
}

/* ---- getting and freeing ---- */

static bool memory_fails(const void *by)
{
	return !pfs_sim_allocates && fault_hits(FAULT_MEMORY, "a block", by);
}

void *__wrap_malloc(size_t size)
{
	void *p = memory_fails(__builtin_return_address(0)) ? NULL : __real_malloc(size);

	if (!pfs_sim_allocates)
		note(p, __builtin_return_address(0));
	return p;
}

void *__wrap_calloc(size_t n, size_t size)
{
	void *p = memory_fails(__builtin_return_address(0)) ? NULL : __real_calloc(n, size);

	if (!pfs_sim_allocates)
		note(p, __builtin_return_address(0));
	return p;
}

void *__wrap_realloc(void *old, size_t size)
{
	bool failing = memory_fails(__builtin_return_address(0));
	void *p;

	/* Forgotten first: another thread may be given the old address. */
	if (!pfs_sim_allocates && !failing)
		fault_forget(old);
	p = failing ? NULL : __real_realloc(old, size);
	if (!pfs_sim_allocates && !failing)
		note(p, __builtin_return_address(0));
	return p;
}

void __wrap_free(void *p)
{
	fault_forget(p);
	__real_free(p);
}

char *__wrap_strdup(const char *text)
{
	size_t len = strlen(text) + 1;
	char *p = memory_fails(__builtin_return_address(0)) ? NULL : __real_malloc(len);

	if (p)
		memcpy(p, text, len);
	note(p, __builtin_return_address(0));
	return p;
}

int __wrap_asprintf(char **out, const char *fmt, ...)
{
	const void *by = __builtin_return_address(0);
	va_list args;
	int len;

	*out = NULL;
	if (memory_fails(by))
		return -1;
	va_start(args, fmt);
	len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	*out = __real_malloc((size_t)len + 1);
	note(*out, by);
	if (!*out)
		return -1;
	va_start(args, fmt);
	vsnprintf(*out, (size_t)len + 1, fmt, args);
	va_end(args);
	return len;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg)
{
	if (fault_hits(FAULT_THREAD, "a thread", __builtin_return_address(0)))
		return -fault->err;
	return __real_pthread_create(thread, attr, fn, arg);
}
