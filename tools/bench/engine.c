/* engine: one peer, one set of documents, one repetition.
 *
 *	engine peers                          their names and titles
 *	engine run PEER DIRECTORY FILE        measures, and prints "metric<TAB>value" lines
 *	engine make mutated COUNT FILE        a set of documents made from another, to standard
 *output engine make small COUNT               a set of small ones
 *
 * FILE holds documents with ascending ids (documents.h). The directory must not be there; it and
 * DIRECTORY.versions stay. Environment: GETS (1000000) reads of a measurement, CHANGES (200000)
 * updates and deletions, at most, SECONDS_DURABLE (3) of durable puts, DIRTY (100000) changes
 *before the process is killed.
 *
 * How fast it opens is measured in processes of their own, which the first starts: one after a
 *clean close, which also reads everything and tells its memory; one after another has put documents
 *and was killed (SIGKILL) when these had returned; every one of them must be there. The time is
 *from the call of open until the first document has been read; what was written lies in the page
 * cache. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/bench/measure.h"
#include "tools/bench/phases.h"

#define DIRTY_PATIENCE_S 3600u

static size_t number(const char *name, size_t value)
{
	const char *text = getenv(name);
	char *end;

	if (!text)
		return value;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text || *end || value == 0)
		bench_die(name, "is no number above 0");
	return value;
}

static double seconds(const char *name, double value)
{
	const char *text = getenv(name);
	char *end;

	if (!text)
		return value;
	value = strtod(text, &end);
	if (end == text || *end || !(value > 0 && value < 1e6))
		bench_die(name, "is no number above 0");
	return value;
}

/* ---- what a process begins with ---- */

static void map_versions(struct bench *b, const char *dir)
{
	char path[4096];
	void *map;
	int fd;

	snprintf(path, sizeof(path), "%s.versions", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || ftruncate(fd, (off_t)b->docs.count) != 0)
		bench_die(path, strerror(errno));
	map = mmap(NULL, b->docs.count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (map == MAP_FAILED)
		bench_die(path, strerror(errno));
	close(fd);
	b->version = map;
}

static void make_order(struct bench *b)
{
	size_t count = b->docs.count;

	if (count > UINT32_MAX)
		bench_die("input", "too many documents");
	b->order = bench_alloc(count * sizeof(*b->order));
	for (size_t i = 0; i < count; i++)
		b->order[i] = (uint32_t)i;
	for (size_t i = count - 1; i > 0; i--) {
		size_t j = bench_mix(i) % (i + 1);
		uint32_t t = b->order[i];

		b->order[i] = b->order[j];
		b->order[j] = t;
	}
}

static struct bench prepare(char **argv)
{
	struct bench b = {
		.peer = peer_find(argv[0]),
		.gets = number("GETS", 1000000),
		.changes = number("CHANGES", 200000),
		.durable_s = seconds("SECONDS_DURABLE", 3),
	};

	if (!b.peer)
		bench_die(argv[0], "no such peer in this program");
	b.docs = docs_read(argv[2]);
	for (size_t i = 1; i < b.docs.count; i++)
		if (b.docs.at[i - 1].id >= b.docs.at[i].id)
			bench_die(argv[2], "the ids do not ascend");
	map_versions(&b, argv[1]);
	make_order(&b);
	return b;
}

/* ---- processes of their own ---- */

/* Starts this program as `engine what PEER DIRECTORY FILE`; *output, if wanted, is what it
 * prints. */
static pid_t start(const char *what, char **argv, int *output)
{
	char *const args[] = {"engine", (char *)(uintptr_t)what, argv[0], argv[1], argv[2], NULL};
	int ends[2] = {-1, -1};
	pid_t pid;

	fflush(stdout);
	if (output && pipe2(ends, O_CLOEXEC) != 0)
		bench_die("pipe", strerror(errno));
	pid = fork();
	if (pid < 0)
		bench_die("fork", strerror(errno));
	if (pid == 0) {
		if (output && dup2(ends[1], STDOUT_FILENO) < 0)
			_exit(1);
		execv("/proc/self/exe", args);
		_exit(1);
	}
	if (output) {
		close(ends[1]);
		*output = ends[0];
	}
	return pid;
}

static void run_reopen(const char *what, char **argv)
{
	int status;

	if (waitpid(start(what, argv, NULL), &status, 0) < 0)
		bench_die("waitpid", strerror(errno));
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		bench_die(argv[0], "the process that opened it again failed");
}

/* Kills the process that puts documents when it says that they have returned. */
static void run_dirty(char **argv)
{
	int output, status;
	pid_t pid = start("dirty", argv, &output);
	char said;

	if (read(output, &said, 1) != 1)
		bench_die(argv[0], "the process that was to be killed failed");
	if (kill(pid, SIGKILL) != 0 || waitpid(pid, &status, 0) < 0)
		bench_die("kill", strerror(errno));
	if (!WIFSIGNALED(status))
		bench_die(argv[0], "the process that was to be killed ended by itself");
	close(output);
}

static int dirty(char **argv)
{
	struct bench b = prepare(argv);
	size_t count = number("DIRTY", 100000), kept = bench_kept(&b);
	char *buf = bench_alloc(docs_version_max(&b.docs));
	void *session;

	b.db = b.peer->open(argv[1], false);
	session = b.peer->begin(b.db, PEER_STEADY);
	for (size_t i = 0; i < count && i < kept; i++)
		bench_put_next(&b, session, b.order[i], buf);
	if (write(STDOUT_FILENO, "!", 1) != 1)
		bench_die("dirty", strerror(errno));
	sleep(DIRTY_PATIENCE_S);
	return 1;
}

/* Opens, reads one document, and returns the milliseconds. */
static double open_timed(struct bench *b, const char *dir)
{
	uint64_t id = b->docs.at[b->order[0]].id;
	double begin = bench_now();
	void *session;

	b->db = b->peer->open(dir, false);
	session = b->peer->begin(b->db, PEER_STEADY);
	if (!b->peer->get(session, id).data)
		bench_die(b->peer->name, "a document is missing");
	begin = bench_now() - begin;
	b->peer->end(session);
	return begin * 1e3;
}

static int reopen(char **argv)
{
	struct bench b = prepare(argv);
	struct bench_memory before = bench_memory_now(), after;
	void *session;

	bench_say("open_clean_ms", open_timed(&b, argv[1]));
	session = b.peer->begin(b.db, PEER_STEADY);
	for (size_t i = 0; i < b.docs.count; i++) {
		struct peer_value value = b.peer->get(session, b.docs.at[b.order[i]].id);

		if (!value.data || bench_touch(value.data, value.len) == 0)
			bench_die(b.peer->name, "a document is missing");
	}
	after = bench_memory_now();
	bench_say("private_bytes", (double)after.private_dirty - (double)before.private_dirty);
	bench_say("mapped_bytes", (double)after.mapped - (double)before.mapped);
	b.peer->end(session);
	b.peer->close(b.db);
	return 0;
}

static int reopen_killed(char **argv)
{
	struct bench b = prepare(argv);

	bench_say("open_killed_ms", open_timed(&b, argv[1]));
	phase_verify_gets(&b);
	phase_verify_scan(&b);
	b.peer->close(b.db);
	return 0;
}

/* ---- the whole ---- */

static int run(char **argv)
{
	struct bench b;

	if (access(argv[1], F_OK) == 0)
		bench_die(argv[1], "is there already");
	b = prepare(argv);
	memset(b.version, 0, b.docs.count);
	bench_say("raw_bytes", (double)b.docs.raw_bytes);
	b.db = b.peer->open(argv[1], false);
	phase_load(&b);
	b.peer->close(b.db);
	bench_say("size_loaded", (double)bench_disk_usage(argv[1]));
	run_reopen("reopen", argv);

	b.db = b.peer->open(argv[1], false);
	phase_verify_gets(&b);
	phase_get(&b, 1);
	phase_get(&b, 2);
	if (b.peer->get_many)
		phase_get_many(&b);
	phase_scan(&b);
	phase_update(&b);
	phase_delete(&b);
	phase_disk(&b, argv[1]);
	phase_durable(&b, 1);
	phase_durable(&b, 16);
	phase_verify_scan(&b);
	b.peer->close(b.db);
	bench_say("size_changed", (double)bench_disk_usage(argv[1]));
	run_dirty(argv);
	run_reopen("reopen-killed", argv);
	return 0;
}

static int make(int argc, char **argv)
{
	size_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
	struct docs docs;

	if (count == 0)
		return 2;
	if (argc == 2 && strcmp(argv[0], "small") == 0) {
		docs_write_small(stdout, count);
	} else if (argc == 3 && strcmp(argv[0], "mutated") == 0) {
		docs = docs_read(argv[2]);
		docs_write_mutated(stdout, &docs, count);
		docs_free(&docs);
	} else {
		return 2;
	}
	return 0;
}

static int list_peers(void)
{
	const struct peer *peer;

	for (size_t i = 0; (peer = peer_number(i)); i++)
		printf("%s\t%s\n", peer->name, peer->title);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int status = 2;

	if (strcmp(what, "peers") == 0 && argc == 2)
		status = list_peers();
	else if (strcmp(what, "run") == 0 && argc == 5)
		status = run(argv + 2);
	else if (strcmp(what, "dirty") == 0 && argc == 5)
		status = dirty(argv + 2);
	else if (strcmp(what, "reopen") == 0 && argc == 5)
		status = reopen(argv + 2);
	else if (strcmp(what, "reopen-killed") == 0 && argc == 5)
		status = reopen_killed(argv + 2);
	else if (strcmp(what, "make") == 0)
		status = make(argc - 2, argv + 2);
	if (status == 2)
		fprintf(stderr, "usage: engine peers | run PEER DIRECTORY FILE |\n"
				"       make mutated COUNT FILE | make small COUNT\n");
	return status;
}
