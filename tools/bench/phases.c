#include "tools/bench/phases.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/bench/measure.h"

#define MANY 16u
#define LANES_MAX 16u
#define DISK_BLOCK 4096u
#define DISK_BYTES (64u << 20)

size_t bench_kept(const struct bench *b)
{
	size_t deleted = b->docs.count / 4;

	return b->docs.count - (deleted < b->changes ? deleted : b->changes);
}

static void settle(struct bench *b)
{
	if (b->peer->settle)
		b->peer->settle(b->db);
}

static void say_phase(const char *name, size_t ops, double seconds, double cpu)
{
	char metric[64];

	bench_say(name, (double)ops / seconds);
	snprintf(metric, sizeof(metric), "%s_cpu", name);
	bench_say(metric, cpu / (double)ops * 1e6);
}

/* ---- load ---- */

void phase_load(struct bench *b)
{
	void *session = b->peer->begin(b->db, PEER_BULK);
	double cpu = bench_cpu(), begin = bench_now();

	if (b->peer->prepare)
		b->peer->prepare(b->db, b->docs.at, b->docs.count);
	for (size_t i = 0; i < b->docs.count; i += PEER_BATCH) {
		size_t rest = b->docs.count - i;

		b->peer->load(session, &b->docs.at[i], rest < PEER_BATCH ? rest : PEER_BATCH);
	}
	b->peer->sync(session);
	begin = bench_now() - begin;
	b->peer->end(session);
	settle(b);
	say_phase("load", b->docs.count, begin, bench_cpu() - cpu);
	if (b->peer->ready)
		b->peer->ready(b->db);
}

/* ---- verifying ---- */

static void expect(const struct bench *b, size_t i, const void *data, size_t len, char *buf)
{
	char what[64];
	struct doc doc = {0};

	snprintf(what, sizeof(what), "%s: document %zu", b->peer->name, i);
	if (b->version[i] == VERSION_GONE) {
		if (data)
			bench_die(what, "it was deleted, and is there");
		return;
	}
	if (!data)
		bench_die(what, "it is missing");
	doc = docs_version(&b->docs, i, b->version[i], buf);
	if (doc.len != len || memcmp(doc.bytes, data, len) != 0)
		bench_die(what, "it has other bytes than it was given");
}

static char *version_buf(const struct bench *b)
{
	return bench_alloc(docs_version_max(&b->docs));
}

void phase_verify_gets(struct bench *b)
{
	void *session = b->peer->begin(b->db, PEER_STEADY);
	char *buf = version_buf(b);

	for (size_t i = 0; i < b->docs.count; i++) {
		struct peer_value value = b->peer->get(session, b->docs.at[i].id);

		expect(b, i, value.data, value.len, buf);
	}
	free(buf);
	b->peer->end(session);
}

struct verify {
	const struct bench *b;
	size_t at, seen;
	char *buf;
};

/* The index of the document with the id: often the next one. SIZE_MAX: there is none. */
static size_t find_doc(const struct docs *docs, size_t hint, uint64_t id)
{
	size_t from = 0, to = docs->count;

	if (hint < to && docs->at[hint].id == id)
		return hint;
	while (from < to) {
		size_t mid = from + (to - from) / 2;

		if (docs->at[mid].id == id)
			return mid;
		if (docs->at[mid].id < id)
			from = mid + 1;
		else
			to = mid;
	}
	return SIZE_MAX;
}

static void verify_one(void *arg, uint64_t id, const void *data, size_t len)
{
	struct verify *v = arg;
	size_t i = find_doc(&v->b->docs, v->at, id);

	if (i == SIZE_MAX)
		bench_die(v->b->peer->name, "there is a document that nobody put");
	expect(v->b, i, data, len, v->buf);
	v->at = i + 1;
	v->seen++;
}

void phase_verify_scan(struct bench *b)
{
	void *session = b->peer->begin(b->db, PEER_STEADY);
	struct verify v = {.b = b, .buf = version_buf(b)};
	size_t there = 0;

	for (size_t i = 0; i < b->docs.count; i++)
		there += b->version[i] != VERSION_GONE;
	b->peer->scan(session, verify_one, &v);
	if (v.seen != there)
		bench_die(b->peer->name, "a scan shows more or fewer documents than there are");
	free(v.buf);
	b->peer->end(session);
}

/* ---- reading ---- */

/* What one thread writes lies far from what others do. */
struct lane {
	void *session;
	uint64_t sum;
	size_t ops;
	char *buf;
	char apart[128];
};

struct run {
	struct bench *b;
	unsigned threads;
	struct lane lanes[LANES_MAX];
};

/* A compiler must not find that nobody wants the sum. */
static volatile uint64_t sink;

static struct run *start_run(struct bench *b, unsigned threads)
{
	struct run *run = bench_alloc(sizeof(*run));

	if (threads > LANES_MAX)
		bench_die("threads", "too many");
	run->b = b;
	run->threads = threads;
	return run;
}

static void get_some(void *arg, unsigned index)
{
	struct run *run = arg;
	struct bench *b = run->b;
	struct lane *lane = &run->lanes[index];
	size_t count = b->docs.count, at = index * (count / run->threads);
	uint64_t sum = 0;

	for (size_t i = 0; i < lane->ops; i++) {
		struct peer_value value = b->peer->get(lane->session, b->docs.at[b->order[at]].id);

		if (!value.data)
			bench_die(b->peer->name, "a document is missing");
		sum += bench_touch(value.data, value.len);
		at = at + 1 == count ? 0 : at + 1;
	}
	lane->sum = sum;
}

void phase_get(struct bench *b, unsigned threads)
{
	struct run *run = start_run(b, threads);
	char name[16];
	double cpu, seconds;
	size_t ops = 0;

	for (unsigned i = 0; i < threads; i++) {
		run->lanes[i].session = b->peer->begin(b->db, PEER_STEADY);
		run->lanes[i].ops = b->gets / threads;
		ops += run->lanes[i].ops;
	}
	cpu = bench_cpu();
	seconds = bench_threads(threads, get_some, run);
	snprintf(name, sizeof(name), "get%u", threads);
	say_phase(name, ops, seconds, bench_cpu() - cpu);
	for (unsigned i = 0; i < threads; i++) {
		b->peer->end(run->lanes[i].session);
		sink = run->lanes[i].sum;
	}
	free(run);
}

void phase_get_many(struct bench *b)
{
	void *session = b->peer->begin(b->db, PEER_STEADY);
	size_t done = 0, at = 0;
	double cpu = bench_cpu(), begin = bench_now();
	uint64_t sum = 0, ids[MANY];
	struct peer_value out[MANY];

	while (done < b->gets) {
		for (unsigned i = 0; i < MANY; i++) {
			ids[i] = b->docs.at[b->order[at]].id;
			at = at + 1 == b->docs.count ? 0 : at + 1;
		}
		b->peer->get_many(session, ids, MANY, out);
		for (unsigned i = 0; i < MANY; i++) {
			if (!out[i].data)
				bench_die(b->peer->name, "a document is missing");
			sum += bench_touch(out[i].data, out[i].len);
		}
		done += MANY;
	}
	say_phase("get_many", done, bench_now() - begin, bench_cpu() - cpu);
	b->peer->end(session);
	sink = sum;
}

static void touch_one(void *arg, uint64_t id, const void *data, size_t len)
{
	struct lane *lane = arg;

	(void)id;
	lane->sum += bench_touch(data, len);
	lane->ops++;
}

void phase_scan(struct bench *b)
{
	void *session = b->peer->begin(b->db, PEER_STEADY);
	struct lane lane = {0};
	double cpu = bench_cpu(), begin = bench_now();

	b->peer->scan(session, touch_one, &lane);
	say_phase("scan", lane.ops, bench_now() - begin, bench_cpu() - cpu);
	if (lane.ops != b->docs.count)
		bench_die(b->peer->name, "a scan shows more or fewer documents than there are");
	b->peer->end(session);
	sink = lane.sum;
}

/* ---- changing ---- */

void bench_put_next(struct bench *b, void *session, size_t i, char *buf)
{
	/* 0 is the document as it was read, which is not by 20 % shorter or longer. */
	unsigned next = b->version[i] % (DOCS_VERSIONS - 1) + 1;
	struct doc doc = docs_version(&b->docs, i, next, buf);

	b->peer->put(session, &doc);
	b->version[i] = (uint8_t)next;
}

void phase_update(struct bench *b)
{
	size_t ops = b->changes < bench_kept(b) ? b->changes : bench_kept(b);
	void *session = b->peer->begin(b->db, PEER_STEADY);
	char *buf = version_buf(b);
	double cpu = bench_cpu(), begin = bench_now();

	for (size_t i = 0; i < ops; i++)
		bench_put_next(b, session, b->order[i], buf);
	begin = bench_now() - begin;
	b->peer->end(session);
	settle(b);
	say_phase("update", ops, begin, bench_cpu() - cpu);
	free(buf);
}

void phase_delete(struct bench *b)
{
	void *session = b->peer->begin(b->db, PEER_STEADY);
	size_t kept = bench_kept(b), ops = b->docs.count - kept;
	double cpu = bench_cpu(), begin = bench_now();

	for (size_t i = kept; i < b->docs.count; i++) {
		b->peer->remove(session, b->docs.at[b->order[i]].id);
		b->version[b->order[i]] = VERSION_GONE;
	}
	begin = bench_now() - begin;
	b->peer->end(session);
	settle(b);
	if (ops)
		say_phase("delete", ops, begin, bench_cpu() - cpu);
}

void phase_disk(const struct bench *b, const char *dir)
{
	static char block[DISK_BLOCK];
	char path[4096];
	size_t ops = 0;
	double begin;
	int fd;

	snprintf(path, sizeof(path), "%s.disk", dir);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		bench_die(path, strerror(errno));
	for (unsigned at = 0; at < DISK_BYTES; at += DISK_BLOCK)
		if (pwrite(fd, block, DISK_BLOCK, at) != DISK_BLOCK)
			bench_die(path, strerror(errno));
	if (fsync(fd) != 0)
		bench_die(path, strerror(errno));
	begin = bench_now();
	do {
		memset(block, (int)ops, sizeof(block));
		if (pwrite(fd, block, DISK_BLOCK, (off_t)(ops * DISK_BLOCK % DISK_BYTES)) !=
			    DISK_BLOCK ||
		    fdatasync(fd) != 0)
			bench_die(path, strerror(errno));
		ops++;
	} while (bench_now() - begin < b->durable_s);
	bench_say("disk", (double)ops / (bench_now() - begin));
	close(fd);
	unlink(path);
}

/* Threads have documents of their own. */
static void put_some(void *arg, unsigned index)
{
	struct run *run = arg;
	struct bench *b = run->b;
	struct lane *lane = &run->lanes[index];
	size_t kept = bench_kept(b), at = index;
	double end = bench_now() + b->durable_s;

	do {
		bench_put_next(b, lane->session, b->order[at], lane->buf);
		lane->ops++;
		at += run->threads;
		if (at >= kept)
			at = index;
	} while (bench_now() < end);
}

void phase_durable(struct bench *b, unsigned threads)
{
	struct run *run = start_run(b, threads);
	char name[16];
	double cpu, seconds;
	size_t ops = 0;

	if (bench_kept(b) < threads)
		bench_die("durable", "there are fewer documents than threads");
	for (unsigned i = 0; i < threads; i++) {
		run->lanes[i].session = b->peer->begin(b->db, PEER_DURABLE);
		run->lanes[i].buf = version_buf(b);
	}
	settle(b);
	cpu = bench_cpu();
	seconds = bench_threads(threads, put_some, run);
	for (unsigned i = 0; i < threads; i++) {
		b->peer->end(run->lanes[i].session);
		ops += run->lanes[i].ops;
		free(run->lanes[i].buf);
	}
	settle(b);
	snprintf(name, sizeof(name), "durable%u", threads);
	say_phase(name, ops, seconds, bench_cpu() - cpu);
	free(run);
}
