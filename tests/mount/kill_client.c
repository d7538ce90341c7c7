/* The clients of the kill -9 test: see kill.h. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kill.h"

static struct world *world;
static int dir;

/* ---- saying what is done ---- */

static struct op *begin(struct client *c, const char *what, int a, int b)
{
	struct op *op = &c->op;

	op->a = a;
	op->b = b;
	op->data = op->truncates = op->in_pieces = false;
	op->began_ns = now_ns();
	op->worlds = 1;
	for (unsigned i = 0; i < WORLDS; i++) {
		for (unsigned k = 0; k < 2; k++) {
			struct doc *d = &op->world[i][k];
			uint8_t *bytes = d->bytes;

			*d = (struct doc){.bytes = bytes};
		}
	}
	op->what = what;
	say(c, "%s %s %s", what, a >= 0 ? c->entries[a].name : "",
	    b >= 0 ? c->entries[b].name : "");
	return op;
}

static void copy_doc(struct doc *to, const struct doc *from)
{
	uint8_t *bytes = to->bytes;

	*to = *from;
	to->bytes = bytes;
	if (from->exists)
		memcpy(bytes, from->bytes, from->len);
}

static void swap_docs(struct doc *x, struct doc *y)
{
	struct doc tmp = *x;

	*x = *y;
	*y = tmp;
}

/* It is now as op->world[which] says. */
static void done(struct client *c, int err, unsigned which)
{
	struct op *op = &c->op;

	check_alive(world, c, err);
	for (int k = 0; k < 2; k++) {
		int at = k ? op->b : op->a;

		if (at < 0)
			continue;
		c->entries[at].held = false;
		swap_docs(&c->entries[at].now, &op->world[which][k]);
	}
	op->what = NULL;
	c->acknowledged++;
}

/* The same, but that what was there before may come back. */
static void done_held(struct client *c, int err)
{
	struct entry *e = &c->entries[c->op.a];
	bool was_held = e->held;

	check_alive(world, c, err);
	if (!was_held)
		copy_doc(&e->before, &e->now);
	done(c, 0, 0);
	e->held = true;
}

/* ---- operations on names of one's own ---- */

static void fill_new(struct client *c, int at, struct doc *d)
{
	uint32_t version = ++c->version << 3 | c->number;

	d->exists = true;
	d->mode = c->entries[at].now.exists ? c->entries[at].now.mode : 0644;
	make_doc(d->bytes, &d->len, (uint64_t)(c->number * 1000 + (unsigned)at), version, DOC_MAX);
	if (at == LARGE || (world->bulk && at < 8)) {
		uint32_t more = at == LARGE ? 1100000 + (uint32_t)roll(c, 1500000)
					    : 200000 + (uint32_t)roll(c, 600000);

		for (uint32_t i = d->len; i < more; i++)
			d->bytes[i] = (uint8_t)(mix(version + i / 8) >> i % 8 * 8);
		d->len = more;
	}
}

static void rewrite(struct client *c, int at)
{
	struct op *op = begin(c, "rewrite", at, -1);
	struct doc *whole = &op->world[0][0], *part = &op->world[1][0];
	uint32_t piece = roll(c, 2) ? 4096 : UINT32_MAX, synced = 0, off = 0;
	const char *name = c->entries[at].name;
	int fd, err = 0;

	fill_new(c, at, whole);
	if (roll(c, 8) == 0 && whole->len < 1u << 20)
		synced = 1 + (uint32_t)roll(c, whole->len);
	op->data = op->truncates = true;
	op->in_pieces = whole->len > 1u << 20;
	if (synced) {
		copy_doc(part, whole);
		part->len = synced;
		swap_docs(part, whole);
	}
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0)
		err = errno;
	/* A program that takes its time between the two. */
	if (roll(c, 12) == 0)
		usleep((useconds_t)roll(c, 10000));
	if (!err && synced) {
		const uint8_t *full = part->bytes;
		uint32_t full_len = part->len;

		if (!write_all(fd, full, synced) || fsync(fd))
			err = errno ? errno : EIO;
		/* From here on the first part is what is there at least. */
		copy_doc(&op->world[2][0], part);
		done(c, err, 0);
		swap_docs(&op->world[2][0], &op->world[0][0]);
		op->began_ns = now_ns();
		op->truncates = false;
		op->what = "continue";
		whole = &op->world[0][0];
		whole->len = full_len;
		off = synced;
	}
	while (!err && off < whole->len) {
		uint32_t n = whole->len - off < piece ? whole->len - off : piece;

		if (!write_all(fd, whole->bytes + off, n))
			err = errno;
		off += n;
	}
	if (!err && roll(c, 10) == 0 && fsync(fd))
		err = errno;
	if (fd >= 0 && close(fd) && !err)
		err = errno;
	done(c, err, 0);
}

static void append(struct client *c, int at)
{
	struct op *op = begin(c, "append", at, -1);
	struct doc *d = &op->world[0][0];
	uint32_t n = 1 + (uint32_t)roll(c, roll(c, 8) ? 300 : 20000);
	int fd, err = 0;

	copy_doc(d, &c->entries[at].now);
	d->mtime_known = false;
	op->data = true;
	for (uint32_t i = 0; i < n; i++)
		d->bytes[d->len + i] = (uint8_t)('A' + (c->version + i / 3) % 50);
	d->len += n;
	fd = openat(dir, c->entries[at].name, O_WRONLY | O_APPEND);
	if (fd < 0 || !write_all(fd, d->bytes + d->len - n, n))
		err = errno;
	if (!err && roll(c, 6) == 0 && fsync(fd))
		err = errno;
	if (fd >= 0 && close(fd) && !err)
		err = errno;
	c->version++;
	done(c, err, 0);
}

static void scribble(struct client *c, struct doc *d, uint32_t off, uint32_t n)
{
	if (off > d->len)
		memset(d->bytes + d->len, 0, off - d->len);
	for (uint32_t i = 0; i < n; i++)
		d->bytes[off + i] = (uint8_t)('a' + (c->version * 7 + i) % 26);
	if (off + n > d->len)
		d->len = off + n;
}

/* One place, or two, which may be there one without the other. */
static void patch(struct client *c, int at, bool two)
{
	struct op *op = begin(c, two ? "patch two" : "patch", at, -1);
	struct doc *both = &op->world[0][0];
	uint32_t len = c->entries[at].now.len, n = 1 + (uint32_t)roll(c, 3000), off, second = 0;
	int fd, err = 0;

	/* Two do not change the size: of a page that is not the last the kernel writes all. */
	if (two) {
		off = (uint32_t)roll(c, len / 2 - 3000);
		second = len / 2 + 8192 + (uint32_t)roll(c, len / 2 - 8192 - 100);
	} else {
		off = (uint32_t)roll(c, len + (roll(c, 4) ? 0 : 9000) + 1);
	}

	copy_doc(both, &c->entries[at].now);
	both->mtime_known = false;
	op->data = true;
	scribble(c, both, off, n);
	if (two) {
		copy_doc(&op->world[1][0], both);
		copy_doc(&op->world[2][0], &c->entries[at].now);
		op->world[2][0].mtime_known = false;
		scribble(c, &op->world[2][0], second, 100);
		scribble(c, both, second, 100);
		op->worlds = 3;
	}
	fd = openat(dir, c->entries[at].name, O_WRONLY);
	if (fd < 0 || pwrite(fd, both->bytes + off, n, off) != (ssize_t)n)
		err = errno ? errno : EIO;
	if (!err && two && pwrite(fd, both->bytes + second, 100, second) != 100)
		err = errno ? errno : EIO;
	if (fd >= 0 && close(fd) && !err)
		err = errno;
	c->version++;
	done(c, err, 0);
}

static void map_store(struct client *c, int at)
{
	struct op *op = begin(c, "map", at, -1);
	struct doc *d = &op->world[0][0];
	uint32_t len = c->entries[at].now.len, off = (uint32_t)roll(c, len), n;
	int fd = openat(dir, c->entries[at].name, O_RDWR), err = 0;
	uint8_t *map = MAP_FAILED;

	n = len - off < 100 ? len - off : 100;
	n = 4096 - off % 4096 < n ? 4096 - off % 4096 : n;
	copy_doc(d, &c->entries[at].now);
	d->mtime_known = false;
	op->data = true;
	scribble(c, d, off, n);
	if (fd >= 0)
		map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		err = errno;
	} else {
		memcpy(map + off, d->bytes + off, n);
		if (roll(c, 2) && msync(map, len, MS_SYNC))
			err = errno;
		munmap(map, len);
	}
	if (fd >= 0 && close(fd) && !err)
		err = errno;
	c->version++;
	done(c, err, 0);
}

static void resize(struct client *c, int at)
{
	struct op *op = begin(c, "resize", at, -1);
	struct doc *d = &op->world[0][0];
	uint32_t len = c->entries[at].now.len;
	uint32_t to = roll(c, 2) ? 1 + (uint32_t)roll(c, len) : len + (uint32_t)roll(c, 30000) + 1;
	int fd, err = 0;

	copy_doc(d, &c->entries[at].now);
	d->mtime_known = false;
	op->data = true;
	if (to > len)
		memset(d->bytes + len, 0, to - len);
	d->len = to;
	fd = openat(dir, c->entries[at].name, O_WRONLY);
	if (fd < 0 || ftruncate(fd, to))
		err = errno;
	if (fd >= 0 && close(fd) && !err)
		err = errno;
	done(c, err, 0);
}

/* Emptied, or made empty. */
static void empty(struct client *c, int at)
{
	struct entry *e = &c->entries[at];
	struct op *op = begin(c, "empty", at, -1);
	struct doc *d = &op->world[0][0];
	bool holds = !e->now.exists || e->now.len > 0;
	int fd, err = 0;

	d->exists = true;
	d->mode = e->now.exists ? e->now.mode : 0644;
	op->data = op->truncates = true;
	fd = openat(dir, e->name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0)
		err = errno;
	if (fd >= 0 && close(fd) && !err)
		err = errno;
	if (holds || e->held)
		done_held(c, err);
	else
		done(c, err, 0);
}

static void rename_over(struct client *c, int from, int to)
{
	struct op *op = begin(c, "rename", from, to);

	copy_doc(&op->world[0][1], &c->entries[from].now);
	done(c, renameat(dir, c->entries[from].name, dir, c->entries[to].name) ? errno : 0, 0);
}

static void exchange(struct client *c, int a, int b)
{
	struct op *op = begin(c, "exchange", a, b);

	copy_doc(&op->world[0][0], &c->entries[b].now);
	copy_doc(&op->world[0][1], &c->entries[a].now);
	done(c,
	     renameat2(dir, c->entries[a].name, dir, c->entries[b].name, RENAME_EXCHANGE) ? errno
											  : 0,
	     0);
}

static void chmod_one(struct client *c, int at)
{
	static const uint32_t modes[] = {0644, 0600, 0640, 0664};
	struct op *op = begin(c, "chmod", at, -1);
	struct doc *d = &op->world[0][0];

	copy_doc(d, &c->entries[at].now);
	d->mode = modes[roll(c, 4)];
	if (d->mode == c->entries[at].now.mode)
		d->mode ^= 0400 ^ 0200;
	done(c, fchmodat(dir, c->entries[at].name, d->mode, 0) ? errno : 0, 0);
}

static void touch(struct client *c, int at)
{
	struct entry *e = &c->entries[at];
	struct op *op = begin(c, "utimens", at, -1);
	struct doc *d = &op->world[0][0];
	struct timespec times[2];
	bool held = e->held;
	int err;

	copy_doc(d, &e->now);
	d->mtime_known = true;
	d->mtime.tv_sec = 1000000000 + (time_t)roll(c, 100000000);
	d->mtime.tv_nsec = (long)roll(c, 1000000000);
	times[0] = times[1] = d->mtime;
	err = utimensat(dir, e->name, times, 0) ? errno : 0;
	/* A truncation that is held stays so. */
	if (held)
		done_held(c, err);
	else
		done(c, err, 0);
}

static void sync_one(struct client *c, int at)
{
	struct op *op = begin(c, "fsync", at, -1);
	int fd = openat(dir, c->entries[at].name, O_RDONLY), err = 0;

	copy_doc(&op->world[0][0], &c->entries[at].now);
	if (fd < 0 || fsync(fd))
		err = errno;
	if (fd >= 0)
		close(fd);
	done(c, err, 0);
}

static void remove_one(struct client *c, int at)
{
	begin(c, "unlink", at, -1);
	done(c, unlinkat(dir, c->entries[at].name, 0) ? errno : 0, 0);
}

/* What is there now, from the daemon and not from the kernel's memory. */
static void read_one(struct client *c, int at)
{
	static uint8_t buf[DOC_MAX + 1];
	const struct entry *e = &c->entries[at];
	int fd = openat(dir, e->name, O_RDONLY), err = fd < 0 ? errno : 0;
	size_t len = 0;
	ssize_t n = 0;

	if (fd >= 0)
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	while (fd >= 0 && (n = read(fd, buf + len, sizeof(buf) - len)) > 0)
		len += (size_t)n;
	if (n < 0)
		err = errno;
	if (fd >= 0)
		close(fd);
	if (err == ENOENT && !e->now.exists)
		err = 0;
	else if (!err &&
		 (!e->now.exists || len != e->now.len || memcmp(buf, e->now.bytes, len) != 0))
		err = EBADMSG;
	begin_other(c, "read", at);
	check_alive(world, c, err);
	c->op.what = NULL;
}

/* ---- ids that several clients change ---- */

static void shared_change(struct client *c)
{
	uint32_t id = 1 + (uint32_t)roll(c, SHARED_IDS), version = ++c->version << 3 | c->number;
	const char *tmp = c->entries[SCRATCH].name;
	struct shared_op *shared;
	struct op *op;
	char name[16];
	int fd, err = 0;

	if (!shared_room(world, c))
		return;
	snprintf(name, sizeof(name), "%u", id);
	if (roll(c, 5) == 0) {
		shared = shared_begin(world, c, id, 0);
		begin_other(c, "shared unlink", -1);
		err = unlinkat(dir, name, 0) ? errno : 0;
		check_alive(world, c, err == ENOENT ? 0 : err);
		if (err)
			world->shared_count[c->number]--;
		else
			shared->end = atomic_fetch_add(&world->ticket, 1) + 1;
		c->op.what = NULL;
		return;
	}
	op = begin(c, "shared write", SCRATCH, -1);
	op->world[0][0].exists = true;
	op->world[0][0].mode = c->entries[SCRATCH].now.exists ? c->entries[SCRATCH].now.mode : 0644;
	op->data = op->truncates = true;
	make_doc(op->world[0][0].bytes, &op->world[0][0].len, id, version, DOC_MAX);
	fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0 || !write_all(fd, op->world[0][0].bytes, op->world[0][0].len))
		err = errno;
	if (fd >= 0 && close(fd) && !err)
		err = errno;
	done(c, err, 0);
	begin(c, "shared rename", SCRATCH, -1);
	shared = shared_begin(world, c, id, version);
	err = renameat(dir, tmp, dir, name) ? errno : 0;
	check_alive(world, c, err);
	shared->end = atomic_fetch_add(&world->ticket, 1) + 1;
	done(c, 0, 0);
}

/* ---- the loop ---- */

static void existing_one(struct client *c, int at)
{
	uint32_t len = c->entries[at].now.len;
	bool small = len<1u << 20, any = len> 0;

	switch (roll(c, 16)) {
	case 0:
	case 1: small ? append(c, at) : read_one(c, at); break;
	case 2:
	case 3:
	case 4: any &&small ? patch(c, at, false) : rewrite(c, at); break;
	case 5: len >= 24000 && small ? patch(c, at, true) : rewrite(c, at); break;
	case 6: any &&small ? map_store(c, at) : rewrite(c, at); break;
	case 7:
	case 8: any &&small ? resize(c, at) : rewrite(c, at); break;
	case 9: chmod_one(c, at); break;
	case 10: touch(c, at); break;
	case 11: sync_one(c, at); break;
	case 12:
	case 13: remove_one(c, at); break;
	default: read_one(c, at);
	}
}

static void step(struct client *c)
{
	int at = (int)roll(c, NAMES), other = (int)roll(c, SCRATCH);
	uint64_t what = roll(c, 20);

	if (at == LARGE && roll(c, 4))
		at = 0;
	if (what < 2) {
		shared_change(c);
	} else if (what < 6) {
		rewrite(c, at);
	} else if (what == 6) {
		empty(c, at);
	} else if (what < 10) {
		int tmp = SCRATCH + 1 + (int)roll(c, NAMES - SCRATCH - 1);

		rewrite(c, tmp);
		rename_over(c, tmp, other);
	} else if (what == 10 && at != other && c->entries[at].now.exists &&
		   c->entries[other].now.exists) {
		exchange(c, at, other);
	} else if (c->entries[at].now.exists) {
		existing_one(c, at);
	} else {
		read_one(c, at);
	}
}

/* A store to a mapping whose daemon is gone. */
static void on_sigbus(int sig)
{
	(void)sig;
	_exit(atomic_load(&world->dead) ? 0 : 1);
}

int run_client(struct world *w, struct client *c)
{
	world = w;
	umask(0);
	signal(SIGBUS, on_sigbus);
	dir = open(w->mnt, O_RDONLY | O_DIRECTORY);
	if (dir < 0)
		return atomic_load(&w->dead) ? 0 : 1;
	while (!atomic_load(&w->dead) && !atomic_load(&w->stop))
		step(c);
	close(dir);
	return 0;
}
