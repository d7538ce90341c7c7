/* What the clients of the kill -9 test share, and the one that uses payloadctl. See kill.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kill.h"

static struct world *world;

int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= UINT64_C(0xff51afd7ed558ccd);
	x ^= x >> 33;
	x *= UINT64_C(0xc4ceb9fe1a85ec53);
	return x ^ x >> 33;
}

uint64_t roll(struct client *c, uint64_t n)
{
	c->random += UINT64_C(0x9e3779b97f4a7c15);
	return mix(c->random) % n;
}

void say(struct client *c, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(c->history[c->said++ % HISTORY], sizeof(c->history[0]), fmt, args);
	va_end(args);
}

/* Half of them compress, all say whose they are and which version. */
void make_doc(uint8_t *buf, uint32_t *len, uint64_t id, uint32_t version, uint32_t max)
{
	uint64_t r = mix(id << 32 ^ version ^ UINT64_C(0x5bd1e995) << 13);
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
	uint32_t n = (uint32_t)(r % 100), at;
	char head[64];
	int head_len;

	if (n < 65)
		*len = 40 + (uint32_t)(r / 100 % 4000);
	else if (n < 85)
		*len = 40 + (uint32_t)(r / 100 % 60000);
	else
		*len = 40 + (uint32_t)(r / 100 % 250000);
	if (max > DOC_MAX && n > 90)
		*len += 2u << 20;
	head_len = snprintf(head, sizeof(head), "{\"id\":%llu,\"v\":%u,\"t\":\"",
			    (unsigned long long)id, version);
	memcpy(buf, head, (size_t)head_len);
	at = (uint32_t)head_len;
	*len = *len < at + 3 ? at + 3 : *len > max ? max : *len;
	for (uint32_t i = 0; at < *len - 2; at++, i++) {
		uint64_t x = r & 1 ? mix(r + i / 16) % 26
				   : (r + i * UINT64_C(0x9e3779b97f4a7c15)) >> 40 & 63;

		buf[at] = (uint8_t)letters[x];
	}
	memcpy(buf + *len - 2, "\"}", 2);
}

bool write_all(int fd, const void *bytes, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = write(fd, (const char *)bytes + done, len - done);

		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

/* The operation has returned. Ends the process unless it was acknowledged: err while the daemon
 * lives is a failure of the test. */
void check_alive(const struct world *world, struct client *c, int err)
{
	if (atomic_load(&world->dead))
		exit(0);
	if (err) {
		fprintf(stderr, "client %u: %s %s: %s\n", c->number, c->op.what,
			c->op.a >= 0 ? c->entries[c->op.a].name : "", strerror(err));
		exit(1);
	}
}

/* An operation that changes no name of one's own. */
void begin_other(struct client *c, const char *what, int a)
{
	c->op.worlds = 0;
	c->op.a = a;
	c->op.b = -1;
	c->op.what = what;
}

struct shared_op *shared_begin(struct world *world, const struct client *c, uint32_t id,
			       uint32_t version)
{
	struct shared_op *op = &world->shared_ops[c->number][world->shared_count[c->number]++];

	*op = (struct shared_op){
		.id = id, .version = version, .begin = atomic_fetch_add(&world->ticket, 1) + 1};
	return op;
}

bool shared_room(const struct world *world, const struct client *c)
{
	return world->shared_count[c->number] < SHARED_OPS;
}

/* ---- payloadctl ---- */

/* Runs it with the file as standard input. Its exit status. */
static int payloadctl(const char *in, char *const argv[])
{
	pid_t pid = fork();
	int status, fd;
	char out[300];

	if (pid == 0) {
		snprintf(out, sizeof(out), "%s/ctl.out", world->dir);
		fd = open(in, O_RDONLY);
		dup2(fd, 0);
		fd = open(out, O_WRONLY | O_CREAT | O_APPEND, 0600);
		dup2(fd, 1);
		dup2(fd, 2);
		execv(world->payloadctl, argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 127;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* Documents for ids [from, from + n) to file, as they are or as lines of NDJSON. */
static void ctl_docs(struct client *c, const char *file, uint32_t from, uint32_t n, bool lines)
{
	static uint8_t buf[CTL_DOC_MAX];
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	char head[64];

	for (uint32_t i = from; i < from + n; i++) {
		uint32_t len, version = ++c->version << 3 | c->number;

		make_doc(buf, &len, CTL_FIRST + i, version, lines ? 60000 : CTL_DOC_MAX);
		snprintf(head, sizeof(head), "{\"id\":%u,\"payload\":", CTL_FIRST + i);
		if (fd < 0 || (lines && !write_all(fd, head, strlen(head))) ||
		    !write_all(fd, buf, len) || (lines && !write_all(fd, "}\n", 2)))
			exit(1);
		world->ctl.next[i] = version;
	}
	close(fd);
}

static void ctl_done(struct client *c, int status)
{
	struct ctl *ctl = &world->ctl;

	check_alive(world, c, status ? EPROTO : 0);
	for (uint32_t i = 0; i < CTL_IDS; i++) {
		if (ctl->next[i] != NO_VERSION)
			ctl->now[i] = ctl->next[i];
		ctl->next[i] = NO_VERSION;
	}
	c->op.what = NULL;
	c->acknowledged++;
}

/* One that ends with a sync of everything. */
static void ctl_sync(struct client *c, const char *in, char *const argv[])
{
	atomic_store(&world->syncing, true);
	ctl_done(c, payloadctl(in, argv));
	atomic_store(&world->sync_end_ns, now_ns());
	atomic_store(&world->syncing, false);
}

static void ctl_put_shared(struct client *c, char *file)
{
	uint32_t id = 1 + (uint32_t)roll(c, SHARED_IDS), version = ++c->version << 3 | c->number,
		 len;
	char *argv[] = {"payloadctl", "put", world->mnt, NULL, NULL};
	static uint8_t buf[DOC_MAX];
	struct shared_op *op;
	char name[16];
	int fd;

	if (!shared_room(world, c))
		return;
	make_doc(buf, &len, id, version, DOC_MAX);
	fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || !write_all(fd, buf, len))
		exit(1);
	close(fd);
	snprintf(name, sizeof(name), "%u", id);
	argv[3] = name;
	begin_other(c, "payloadctl put (shared)", -1);
	op = shared_begin(world, c, id, version);
	ctl_done(c, payloadctl(file, argv));
	op->end = atomic_fetch_add(&world->ticket, 1) + 1;
}

static void ctl_remove(struct client *c)
{
	char *argv[12] = {"payloadctl", "rm", world->mnt};
	char names[8][16];
	unsigned n = 0;

	for (uint32_t i = (uint32_t)roll(c, CTL_IDS); i < CTL_IDS && n < 8; i += 3) {
		if (!world->ctl.now[i])
			continue;
		world->ctl.next[i] = 0;
		snprintf(names[n], sizeof(names[n]), "%u", CTL_FIRST + i);
		argv[3 + n] = names[n];
		n++;
	}
	begin_other(c, "payloadctl rm", -1);
	if (n)
		ctl_done(c, payloadctl("/dev/null", argv));
}

int run_ctl(struct world *w, struct client *c)
{
	char file[300], name[16];

	world = w;
	snprintf(file, sizeof(file), "%s/ctl.in", w->dir);
	for (uint32_t i = 0; i < CTL_IDS; i++)
		w->ctl.next[i] = NO_VERSION;
	while (!atomic_load(&w->dead) && !atomic_load(&w->stop)) {
		uint32_t at = (uint32_t)roll(c, CTL_IDS), n;
		char *put[] = {"payloadctl", "put", w->mnt, name, NULL};
		char *import[] = {"payloadctl", "import", w->mnt, "-", NULL};
		char *sync[] = {"payloadctl", "sync", w->mnt, NULL};

		snprintf(name, sizeof(name), "%u", CTL_FIRST + at);
		switch (roll(c, 8)) {
		case 0: ctl_put_shared(c, file); break;
		case 1:
		case 2: ctl_remove(c); break;
		case 3:
		case 4:
			n = 1 + (uint32_t)roll(c, CTL_IDS - at);
			ctl_docs(c, file, at, n, true);
			begin_other(c, "payloadctl import", -1);
			ctl_sync(c, file, import);
			break;
		case 5:
			begin_other(c, "payloadctl sync", -1);
			ctl_sync(c, "/dev/null", sync);
			break;
		default:
			ctl_docs(c, file, at, 1, false);
			begin_other(c, "payloadctl put", -1);
			ctl_done(c, payloadctl(file, put));
		}
	}
	return 0;
}
