/* storage/io.c: reading from mappings whose bytes may not be there. Each test runs in a process of
 * its own, because what is tested is the process's signal handler. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/counted.h"

static int count_and_raise(int sig)
{
	write_counts();
	return raise(sig);
}

/* Of the first copies of this thread: what they did, in this order. */
static _Thread_local char steps[8];
static _Thread_local unsigned step_count;

static void step(char what)
{
	if (step_count + 1 < sizeof(steps))
		steps[step_count++] = what;
}

#define raise count_and_raise
#undef atomic_signal_fence
#define atomic_signal_fence(order) (step('f'), __atomic_signal_fence(order))
#define memcpy(dst, src, len) (step('c'), memcpy(dst, src, len))
#include "storage/io.c"
#undef raise
#undef memcpy

#define PAGE 4096
#define PAGES 4

/* In a child there is no cmocka to report to: the exit status is the number of the line that
 * failed, below 256. */
#define CHECK(cond)                                \
	do {                                       \
		if (!(cond))                       \
			_exit(__LINE__ % 255 + 1); \
	} while (0)

/* A file of PAGES pages in memory, and its mapping; byte i is i / PAGE + 1. */
static const uint8_t *make_mapping(int *fd)
{
	uint8_t page[PAGE];
	void *map;

	*fd = memfd_create("io_test", MFD_CLOEXEC);
	CHECK(*fd >= 0);
	for (int i = 0; i < PAGES; i++) {
		memset(page, i + 1, sizeof(page));
		CHECK(write(*fd, page, sizeof(page)) == sizeof(page));
	}
	map = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ, MAP_SHARED, *fd, 0);
	CHECK(map != MAP_FAILED);
	return map;
}

/* Runs fn in a child; the child's wait status. */
static int run_apart(void (*fn)(void))
{
	struct rlimit no_core = {0, 0};
	int status;
	pid_t child = fork();

	if (child == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		fn();
		write_counts();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void cut_under_mapping(void)
{
	uint8_t buf[PAGES * PAGE];
	int fd;
	const uint8_t *map = make_mapping(&fd);

	CHECK(pfs_map_copy(buf, map, sizeof(buf)) == 0);
	CHECK(buf[0] == 1 && buf[sizeof(buf) - 1] == PAGES);
	CHECK(ftruncate(fd, 2 * PAGE) == 0);
	/* Again and again: neither may the signal stay blocked nor the guard stay up after the
	 * first. */
	for (int i = 0; i < 1000; i++) {
		CHECK(pfs_map_copy(buf, map, sizeof(buf)) == -EIO);
		CHECK(pfs_map_copy(buf, map + 3 * PAGE + 5, 1) == -EIO);
		CHECK(pfs_map_copy(buf, map + 2 * PAGE - 1, 2) == -EIO);
		memset(buf, 0, sizeof(buf));
		CHECK(pfs_map_copy(buf, map, 2 * PAGE) == 0);
		CHECK(buf[0] == 1 && buf[2 * PAGE - 1] == 2 && buf[2 * PAGE] == 0);
	}
	CHECK(ftruncate(fd, PAGES * PAGE) == 0);
	CHECK(pfs_map_copy(buf, map, sizeof(buf)) == 0);
	CHECK(buf[2 * PAGE] == 0);
	CHECK(pfs_map_copy(NULL, NULL, 0) == 0);
}

/* Proves: bytes that a truncated file no longer has are an error, bytes that it still has are read,
 * any number of times. */
static void truncated_file_is_an_error(void **state)
{
	(void)state;
	assert_int_equal(run_apart(cut_under_mapping), 0);
}

struct reader {
	pthread_t thread;
	const uint8_t *map;
	atomic_bool *stop;
	unsigned errors, successes, wrong;
};

static void *read_on(void *arg)
{
	struct reader *r = arg;
	uint8_t buf[2 * PAGE];

	while (!atomic_load(r->stop) || !r->errors || !r->successes) {
		int err = pfs_map_copy(buf, r->map + PAGE, sizeof(buf));

		if (err == -EIO)
			r->errors++;
		else if (err == 0)
			r->successes++;
		r->wrong += err != 0 && err != -EIO;
		/* This page is always there, whatever happens to other threads. */
		r->wrong +=
			pfs_map_copy(buf, r->map, PAGE) != 0 || buf[0] != 1 || buf[PAGE - 1] != 1;
	}
	return NULL;
}

static void cut_under_threads(void)
{
	struct reader readers[4] = {0};
	atomic_bool stop = false;
	int fd;
	const uint8_t *map = make_mapping(&fd);

	for (size_t i = 0; i < pfs_array_len(readers); i++) {
		readers[i] = (struct reader){.map = map, .stop = &stop};
		CHECK(pthread_create(&readers[i].thread, NULL, read_on, &readers[i]) == 0);
	}
	for (int i = 0; i < 500; i++) {
		CHECK(ftruncate(fd, i % 2 ? PAGES * PAGE : PAGE) == 0);
		sched_yield();
	}
	atomic_store(&stop, true);
	/* Each reader waits until it has met both cases. */
	for (int i = 0; i < 100; i++) {
		CHECK(ftruncate(fd, i % 2 ? PAGES * PAGE : PAGE) == 0);
		usleep(1000);
	}
	for (size_t i = 0; i < pfs_array_len(readers); i++) {
		pthread_join(readers[i].thread, NULL);
		CHECK(readers[i].wrong == 0);
		CHECK(readers[i].errors > 0 && readers[i].successes > 0);
	}
}

/* Proves: the guard belongs to its thread: a fault in one does not disturb the copies of the
 * others. */
static void threads_fault_on_their_own(void **state)
{
	(void)state;
	assert_int_equal(run_apart(cut_under_threads), 0);
}

static sigjmp_buf foreign_retreat;
static volatile sig_atomic_t foreign_count;

static void foreign_handler(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	(void)context;
	foreign_count++;
	siglongjmp(foreign_retreat, 1);
}

static void plain_handler(int sig)
{
	(void)sig;
	foreign_count++;
}

static void fault_outside_of_a_copy(void)
{
	struct sigaction own = {.sa_sigaction = foreign_handler, .sa_flags = SA_SIGINFO};
	uint8_t buf[PAGE];
	int fd;
	const uint8_t *map = make_mapping(&fd);

	CHECK(sigaction(SIGBUS, &own, NULL) == 0);
	CHECK(ftruncate(fd, PAGE) == 0);
	for (int i = 0; i < 3; i++) {
		CHECK(pfs_map_copy(buf, map + PAGE, PAGE) == -EIO);
		CHECK(foreign_count == i);
		if (!sigsetjmp(foreign_retreat, 1))
			buf[0] = *(const volatile uint8_t *)(map + PAGE);
		CHECK(foreign_count == i + 1);
	}
	/* In the very range of a copy that is over. */
	CHECK(pfs_map_copy(buf, map, PAGE) == 0);
	CHECK(ftruncate(fd, 0) == 0);
	if (!sigsetjmp(foreign_retreat, 1))
		buf[0] = *(const volatile uint8_t *)map;
	CHECK(foreign_count == 4);
}

/* The destination is a mapping without bytes. It lies once below and once above what is copied. */
static void fault_in_the_destination(void)
{
	struct sigaction own = {.sa_sigaction = foreign_handler, .sa_flags = SA_SIGINFO};
	int fd, empty = memfd_create("io_test", MFD_CLOEXEC);
	const uint8_t *map = make_mapping(&fd);
	uint8_t *room = mmap(NULL, 3 * (size_t)PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(sigaction(SIGBUS, &own, NULL) == 0);
	CHECK(room != MAP_FAILED && empty >= 0);
	CHECK(mremap((void *)(uintptr_t)map, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		     room + PAGE) == room + PAGE);
	for (int i = 0; i < 2; i++) {
		uint8_t *to = room + (size_t)i * 2 * PAGE;

		CHECK(mmap(to, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, empty, 0) ==
		      to);
		if (!sigsetjmp(foreign_retreat, 1))
			CHECK(pfs_map_copy(to, room + PAGE, PAGE) == -1);
		CHECK(foreign_count == i + 1);
	}
}

static void signal_from_outside(void)
{
	struct sigaction own = {.sa_handler = plain_handler};
	uint8_t buf[PAGE];
	int fd;
	const uint8_t *map = make_mapping(&fd);

	CHECK(sigaction(SIGBUS, &own, NULL) == 0);
	CHECK(pfs_map_copy(buf, map, PAGE) == 0);
	raise(SIGBUS);
	raise(SIGBUS);
	CHECK(foreign_count == 2);
	CHECK(ftruncate(fd, 0) == 0);
	CHECK(pfs_map_copy(buf, map, PAGE) == -EIO);
	CHECK(foreign_count == 2);
}

static void signal_that_was_ignored(void)
{
	struct sigaction own = {.sa_handler = SIG_IGN};
	uint8_t buf[PAGE];
	int fd;
	const uint8_t *map = make_mapping(&fd);

	CHECK(sigaction(SIGBUS, &own, NULL) == 0);
	CHECK(pfs_map_copy(buf, map, PAGE) == 0);
	raise(SIGBUS);
	CHECK(ftruncate(fd, 0) == 0);
	CHECK(pfs_map_copy(buf, map, PAGE) == -EIO);
}

/* Proves: a SIGBUS of somebody else reaches the handler that was there before ours, of either kind.
 */
static void foreign_signals_are_passed_on(void **state)
{
	(void)state;
	assert_int_equal(run_apart(fault_outside_of_a_copy), 0);
	assert_int_equal(run_apart(fault_in_the_destination), 0);
	assert_int_equal(run_apart(signal_from_outside), 0);
	assert_int_equal(run_apart(signal_that_was_ignored), 0);
}

/* Sends this thread what the kernel would send. */
static void send_fault(int code, const void *addr)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	info.si_signo = SIGBUS;
	info.si_code = code;
	info.si_addr = (void *)(uintptr_t)addr;
	CHECK(syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), SIGBUS, &info) == 0);
}

static void counting_handler(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	(void)context;
	foreign_count++;
}

/* Whether a fault with this code, at this address, ends a copy of 50 bytes from there; else it is
 * the other handler's. */
static bool ends_copy(int code, const uint8_t *addr, const uint8_t *from)
{
	const sig_atomic_t before = foreign_count;
	volatile bool ends = true;

	if (!sigsetjmp(guard.retreat, 1)) {
		guard.to = from + 50;
		guard.from = from;
		send_fault(code, addr);
		ends = false;
	}
	guard.from = NULL;
	CHECK(foreign_count == before + !ends);
	return ends;
}

static void faults_of_any_kind(void)
{
	static const int codes[] = {BUS_ADRALN, BUS_ADRERR, BUS_OBJERR, BUS_MCEERR_AR};
	static const int others[] = {SI_USER, SI_QUEUE, SI_TKILL};
	struct sigaction own = {.sa_sigaction = counting_handler, .sa_flags = SA_SIGINFO};
	uint8_t buf[PAGE];
	int fd;
	const uint8_t *map = make_mapping(&fd);

	CHECK(sigaction(SIGBUS, &own, NULL) == 0);
	CHECK(pfs_map_copy(buf, map, PAGE) == 0);
	/* Pages of whose numbers one is even and one is odd. */
	for (unsigned i = 0; i < 4; i++) {
		const uint8_t *page = map + (1 + i / 2) * PAGE, *from = page + i % 2 * 101;

		for (size_t k = 0; k < pfs_array_len(codes); k++) {
			CHECK(!ends_copy(codes[k], page - 1, from));
			CHECK(ends_copy(codes[k], page, from));
			CHECK(ends_copy(codes[k], from, from));
			CHECK(ends_copy(codes[k], from + 49, from));
			CHECK(!ends_copy(codes[k], from + 50, from));
		}
		for (size_t k = 0; k < pfs_array_len(others); k++)
			CHECK(!ends_copy(others[k], from, from));
	}
}

static void faults_where_signals_are_ignored(void)
{
	static const int ignored[] = {SI_USER, SI_QUEUE, SI_TKILL, BUS_MCEERR_AO};
	static const int deadly[] = {BUS_ADRALN, BUS_ADRERR, BUS_OBJERR, BUS_MCEERR_AR};
	struct sigaction own = {.sa_handler = SIG_IGN}, now;
	uint8_t buf[PAGE];
	int fd;
	const uint8_t *map = make_mapping(&fd);

	CHECK(sigaction(SIGBUS, &own, NULL) == 0);
	CHECK(pfs_map_copy(buf, map, PAGE) == 0);
	for (size_t k = 0; k < pfs_array_len(ignored); k++) {
		send_fault(ignored[k], map);
		CHECK(sigaction(SIGBUS, NULL, &now) == 0);
		CHECK(now.sa_sigaction == on_sigbus);
	}
	for (size_t k = 0; k < pfs_array_len(deadly); k++) {
		struct sigaction again = now;

		send_fault(deadly[k], map); /* strikes again, if it is one, and finds the default */
		CHECK(sigaction(SIGBUS, &again, &now) == 0);
		CHECK(now.sa_handler == SIG_DFL);
		now = again;
	}
}

/* Proves: a copy is ended by a fault within its page or its bytes, of whatever kind, and by no
 * signal that somebody sent; of those that are ignored, only faults are not. */
static void faults_are_told_from_signals(void **state)
{
	(void)state;
	assert_int_equal(run_apart(faults_of_any_kind), 0);
	assert_int_equal(run_apart(faults_where_signals_are_ignored), 0);
}

static void die_by_fault(void)
{
	struct sigaction usual = {.sa_handler = SIG_DFL};
	uint8_t buf[PAGE];
	int fd;
	const uint8_t *map = make_mapping(&fd);

	CHECK(sigaction(SIGBUS, &usual, NULL) == 0);
	CHECK(ftruncate(fd, 0) == 0);
	CHECK(pfs_map_copy(buf, map, PAGE) == -EIO);
	buf[0] = *(const volatile uint8_t *)map;
	_exit(buf[0] ? 1 : 2);
}

static void die_by_fault_that_was_ignored(void)
{
	struct sigaction ignored = {.sa_handler = SIG_IGN};
	uint8_t buf[PAGE];
	int fd;
	const uint8_t *map = make_mapping(&fd);

	CHECK(sigaction(SIGBUS, &ignored, NULL) == 0);
	CHECK(ftruncate(fd, 0) == 0);
	CHECK(pfs_map_copy(buf, map, PAGE) == -EIO);
	buf[0] = *(const volatile uint8_t *)map;
	_exit(buf[0] ? 1 : 2);
}

static void die_by_signal(void)
{
	struct sigaction usual = {.sa_handler = SIG_DFL};
	uint8_t buf[PAGE];
	int fd;
	const uint8_t *map = make_mapping(&fd);

	CHECK(sigaction(SIGBUS, &usual, NULL) == 0);
	CHECK(pfs_map_copy(buf, map, PAGE) == 0);
	raise(SIGBUS);
	_exit(1);
}

/* Proves: without an earlier handler a foreign SIGBUS still kills, instead of being swallowed or
 * repeated for ever. */
static void foreign_signals_still_kill(void **state)
{
	int status = run_apart(die_by_fault);

	(void)state;
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	status = run_apart(die_by_fault_that_was_ignored);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	status = run_apart(die_by_signal);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

static void copy_once(void)
{
	uint8_t from[3] = "abc", to[3];

	step_count = 0;
	CHECK(pfs_map_copy(to, from, sizeof(to)) == 0);
	CHECK(memcmp(to, from, sizeof(to)) == 0);
	CHECK(step_count == 3 && memcmp(steps, "fcf", 3) == 0);
}

/* Proves: the bytes are copied between two fences. They keep the compiler from copying while the
 * guard is not up; that it tries to, no test can bring about. */
static void copies_stay_behind_the_guard(void **state)
{
	(void)state;
	assert_int_equal(run_apart(copy_once), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies_stay_behind_the_guard),
		cmocka_unit_test(truncated_file_is_an_error),
		cmocka_unit_test(threads_fault_on_their_own),
		cmocka_unit_test(foreign_signals_are_passed_on),
		cmocka_unit_test(faults_are_told_from_signals),
		cmocka_unit_test(foreign_signals_still_kill),
	};

	return cmocka_run_group_tests_name("io", tests, NULL, NULL);
}
