/* The comparing of the kill -9 test: what is there against what the clients know. See kill.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kill.h"

static struct world *w;
static struct judge *j;

void wrong(struct judge *judge, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	printf("round %llu: ", (unsigned long long)judge->round);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	judge->bad++;
}

static void read_doc(int dir, const char *name, struct doc *d, uint32_t max)
{
	struct stat st;
	ssize_t n;
	int fd;

	d->exists = d->mtime_known = false;
	d->len = 0;
	fd = openat(dir, name, O_RDONLY);
	if (fd < 0) {
		if (errno != ENOENT)
			wrong(j, "%s: %s", name, strerror(errno));
		return;
	}
	j->names++;
	d->exists = true;
	while ((n = read(fd, d->bytes + d->len, max - d->len)) > 0)
		d->len += (uint32_t)n;
	if (n < 0 || fstat(fd, &st) != 0)
		wrong(j, "%s: %s", name, strerror(errno));
	else if (st.st_size != (off_t)d->len)
		wrong(j, "%s: %u bytes, but a size of %lld", name, d->len, (long long)st.st_size);
	d->mode = st.st_mode & 07777;
	d->mtime = st.st_mtim;
	close(fd);
}

static bool doc_is(const struct doc *want, const struct doc *got, bool any_time)
{
	if (want->exists != got->exists || !want->exists)
		return want->exists == got->exists;
	if (want->len != got->len || want->mode != got->mode)
		return false;
	if (want->mtime_known && !any_time &&
	    (want->mtime.tv_sec != got->mtime.tv_sec || want->mtime.tv_nsec != got->mtime.tv_nsec))
		return false;
	return memcmp(want->bytes, got->bytes, want->len) == 0;
}

/* As it was before the operation that was under way, if any. */
static bool is_old(const struct entry *e, const struct doc *got, bool any_time)
{
	return doc_is(&e->now, got, any_time) || (e->held && doc_is(&e->before, got, any_time));
}

/* Of a document over 1 MiB each MiB is a request: it is there or reads as zeros, or the file ends
 * before it. */
static bool is_in_pieces(const struct doc *want, const struct doc *got)
{
	static const uint8_t zeros[1 << 20];

	if (!got->exists || got->len > want->len || got->mode != want->mode ||
	    (got->len % (1u << 20) != 0 && got->len != want->len))
		return false;
	for (uint32_t off = 0; off < got->len; off += 1u << 20) {
		uint32_t n = got->len - off < 1u << 20 ? got->len - off : 1u << 20;

		if (memcmp(got->bytes + off, want->bytes + off, n) != 0 &&
		    memcmp(got->bytes + off, zeros, n) != 0)
			return false;
	}
	return true;
}

static bool is_new(const struct client *c, const struct doc *got_a, const struct doc *got_b)
{
	const struct op *op = &c->op;
	bool emptied = op->truncates &&
		       (j->killed_ns - op->began_ns > HELD_NS_MAX || atomic_load(&w->syncing) ||
			atomic_load(&w->sync_end_ns) >= op->began_ns);

	for (unsigned i = 0; i < op->worlds; i++) {
		if ((op->a < 0 || doc_is(&op->world[i][0], got_a, false)) &&
		    (op->b < 0 || doc_is(&op->world[i][1], got_b, false)))
			return true;
	}
	if (op->a >= 0 && emptied && got_a->exists && got_a->len == 0)
		return true;
	if (op->in_pieces && is_in_pieces(&op->world[0][0], got_a)) {
		j->mixed++;
		return true;
	}
	return false;
}

static void describe(const char *what, const struct doc *d)
{
	if (!d->exists)
		printf("  %s: none\n", what);
	else
		printf("  %s: %u bytes, mode %o%s: %.50s\n", what, d->len, d->mode,
		       d->mtime_known ? ", time known" : "", d->len ? (const char *)d->bytes : "");
}

static void explain(const struct client *c, int at, const struct doc *got)
{
	const struct entry *e = &c->entries[at];
	const struct op *op = &c->op;

	wrong(j, "%s is wrong; under way: %s", e->name, op->what ? op->what : "nothing");
	describe("got", got);
	describe("before", &e->now);
	if (e->held)
		describe("before it was emptied", &e->before);
	for (unsigned i = 0; op->what && i < op->worlds; i++) {
		if (op->a == at)
			describe("wanted", &op->world[i][0]);
		if (op->b == at)
			describe("wanted", &op->world[i][1]);
	}
}

/* What was found is what the next round begins with. */
static void adopt(struct entry *e, const struct doc *got)
{
	e->held = false;
	if (doc_is(&e->now, got, false))
		return;
	e->now.exists = got->exists;
	e->now.mtime_known = false;
	e->now.mode = got->mode;
	e->now.len = got->len;
	memcpy(e->now.bytes, got->bytes, got->len);
}

static void compare_client(int dir, struct client *c, struct doc *got)
{
	const struct op *op = &c->op;
	bool under_way = op->what && op->worlds;

	for (int i = 0; i < NAMES; i++) {
		read_doc(dir, c->entries[i].name, &got[i], DOC_MAX);
		if (under_way && (i == op->a || i == op->b))
			continue;
		if (!is_old(&c->entries[i], &got[i], false))
			explain(c, i, &got[i]);
	}
	if (under_way) {
		const struct doc *a = op->a < 0 ? NULL : &got[op->a],
				 *b = op->b < 0 ? NULL : &got[op->b];

		if ((!a || is_old(&c->entries[op->a], a, op->data)) &&
		    (!b || is_old(&c->entries[op->b], b, op->data))) {
			j->old++;
		} else if (is_new(c, a, b)) {
			j->new ++;
		} else {
			explain(c, op->a, a);
			if (b)
				explain(c, op->b, b);
		}
	}
	for (int i = 0; i < NAMES; i++)
		adopt(&c->entries[i], &got[i]);
	j->acknowledged += c->acknowledged;
	c->acknowledged = 0;
	c->op.what = NULL;
}

/* The version of the document of id that the file holds; 0: none. */
static uint32_t version_of(int dir, uint32_t id, uint32_t max, struct doc *got, uint8_t *want)
{
	unsigned long long said_id;
	uint32_t version, len;
	char name[16], head[65];

	snprintf(name, sizeof(name), "%u", id);
	read_doc(dir, name, got, CTL_DOC_MAX);
	if (!got->exists)
		return 0;
	snprintf(head, sizeof(head), "%.64s", got->len ? (const char *)got->bytes : "");
	if (sscanf(head, "{\"id\":%llu,\"v\":%u", &said_id, &version) == 2 && said_id == id) {
		make_doc(want, &len, id, version, max);
		if (len == got->len && memcmp(want, got->bytes, len) == 0)
			return version;
		/* A line of an import is cut at another length. */
		make_doc(want, &len, id, version, 60000);
		if (len == got->len && memcmp(want, got->bytes, len) == 0)
			return version;
	}
	wrong(j, "%u holds %u bytes that are no document of it: %.50s", id, got->len, head);
	return NO_VERSION;
}

static void compare_ctl(int dir, struct doc *got, uint8_t *want)
{
	for (uint32_t i = 0; i < CTL_IDS; i++) {
		uint32_t version = version_of(dir, CTL_FIRST + i, CTL_DOC_MAX, got, want);

		if (version == w->ctl.now[i])
			j->old += w->ctl.next[i] != NO_VERSION;
		else if (version == w->ctl.next[i])
			j->new ++;
		else if (version != NO_VERSION)
			wrong(j, "%u: version %u, wanted %u, under way %d", CTL_FIRST + i, version,
			      w->ctl.now[i], (int)w->ctl.next[i]);
		w->ctl.now[i] = version;
		w->ctl.next[i] = NO_VERSION;
	}
}

/* Whether an acknowledged change of the id began after the end of another. */
static bool is_superseded(uint32_t id, uint64_t end)
{
	for (unsigned i = 0; i <= CLIENTS; i++) {
		for (size_t k = 0; k < w->shared_count[i]; k++) {
			const struct shared_op *op = &w->shared_ops[i][k];

			if (op->id == id && op->end && op->begin > end)
				return true;
		}
	}
	return false;
}

/* Some change that may have been the last one left what is there. */
static void compare_shared(int dir, uint32_t *versions, struct doc *got, uint8_t *want)
{
	for (uint32_t id = 1; id <= SHARED_IDS; id++) {
		uint32_t version = version_of(dir, id, DOC_MAX, got, want);
		bool good = version == versions[id - 1] && !is_superseded(id, 0);

		for (unsigned i = 0; i <= CLIENTS && !good; i++) {
			for (size_t k = 0; k < w->shared_count[i] && !good; k++) {
				const struct shared_op *op = &w->shared_ops[i][k];

				good = op->id == id && op->version == version &&
				       (!op->end || !is_superseded(id, op->end));
			}
		}
		if (!good && version != NO_VERSION)
			wrong(j, "%u: version %u is not the last one (it was %u before the round)",
			      id, version, versions[id - 1]);
		versions[id - 1] = version;
	}
	memset(w->shared_count, 0, sizeof(w->shared_count));
}

static bool is_known(const char *name, const uint32_t *versions)
{
	char *end;
	unsigned long n = strtoul(name, &end, 10);

	for (unsigned i = 0; i < CLIENTS; i++) {
		for (unsigned k = 0; k < NAMES; k++)
			if (strcmp(w->clients[i].entries[k].name, name) == 0)
				return w->clients[i].entries[k].now.exists;
	}
	if (*end)
		return false;
	if (n >= 1 && n <= SHARED_IDS)
		return versions[n - 1] != 0;
	return n >= CTL_FIRST && n < CTL_FIRST + CTL_IDS && w->ctl.now[n - CTL_FIRST] != 0;
}

/* Names that the listing shows are those that are there, each once. */
static void compare_listing(int dir, const uint32_t *versions)
{
	DIR *stream = fdopendir(openat(dir, ".", O_RDONLY | O_DIRECTORY));
	unsigned listed = 0, there = 0;
	struct dirent *entry;

	while (stream && (entry = readdir(stream))) {
		if (entry->d_name[0] == '.')
			continue;
		listed++;
		if (!is_known(entry->d_name, versions))
			wrong(j, "%s is listed, but nobody made it", entry->d_name);
	}
	if (stream)
		closedir(stream);
	for (unsigned i = 0; i < CLIENTS; i++)
		for (unsigned k = 0; k < NAMES; k++)
			there += w->clients[i].entries[k].now.exists;
	for (unsigned i = 0; i < SHARED_IDS; i++)
		there += versions[i] != 0;
	for (unsigned i = 0; i < CTL_IDS; i++)
		there += w->ctl.now[i] != 0;
	if (listed != there)
		wrong(j, "%u names are listed, %u are there", listed, there);
}

void compare(struct world *world, struct judge *judge)
{
	static struct doc got[NAMES], large;
	static uint8_t *want;
	static uint32_t versions[SHARED_IDS];
	int dir;

	w = world;
	j = judge;
	dir = open(w->mnt, O_RDONLY | O_DIRECTORY);
	if (dir < 0) {
		wrong(j, "%s: %s", w->mnt, strerror(errno));
		return;
	}
	if (!want) {
		for (int i = 0; i < NAMES; i++)
			got[i].bytes = malloc(DOC_MAX);
		large.bytes = malloc(CTL_DOC_MAX);
		want = malloc(CTL_DOC_MAX);
	}
	for (unsigned i = 0; i < CLIENTS; i++)
		compare_client(dir, &w->clients[i], got);
	j->acknowledged += w->clients[CLIENTS].acknowledged;
	w->clients[CLIENTS].acknowledged = 0;
	compare_ctl(dir, &large, want);
	compare_shared(dir, versions, &large, want);
	compare_listing(dir, versions);
	close(dir);
}
