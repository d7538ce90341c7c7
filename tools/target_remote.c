#include "tools/target_remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "storage/wire_fields.h"

#define RECONNECT_AFTER_MS (5 * 60 * 1000) /* less than what the daemon allows */

int remote_noted(struct remote *r, int err)
{
	if (err) {
		r->t.reason = r->client.reason;
		r->t.lost = err == -EPROTO || (r->client.broken && !r->client.stopped);
	}
	return err;
}

int remote_finished(struct remote *r, int err)
{
	return remote_noted(r, err ? err : client_done(&r->client));
}

int remote_refresh(struct remote *r)
{
	struct client fresh;
	int err;

	if (r->snapshot || pfs_now_monotonic_ms() - r->client.used_ms < RECONNECT_AFTER_MS)
		return 0;
	err = client_connect(&fresh, r->dirfd);
	if (err) {
		r->client.reason = fresh.reason;
		r->client.broken = true;
		return remote_noted(r, err);
	}
	client_close(&r->client);
	r->client = fresh;
	return 0;
}

int remote_begin(struct remote *r, enum pfs_wire_type type)
{
	int err = remote_refresh(r);

	r->client.reason.text[0] = '\0';
	pfs_wire_begin(&r->client.out, type, 0);
	return err;
}

int remote_send(struct remote *r, struct pfs_wire_out *message)
{
	struct pfs_wire_out keep = r->client.out;
	int err;

	r->client.out = *message;
	err = client_send(&r->client);
	*message = r->client.out;
	r->client.out = keep;
	return remote_noted(r, err);
}

static int remote_close(struct target *t)
{
	struct remote *r = remote_of(t);

	client_close(&r->client);
	close(r->dirfd);
	pfs_wire_out_free(&r->put);
	pfs_wire_out_free(&r->gathered);
	free(r->filling.docs);
	free(r->flying.docs);
	free(r);
	return 0;
}

static int remote_stat(struct target *t, struct pfs_store_stat *stat)
{
	struct remote *r = remote_of(t);
	struct pfs_wire_in *in = &r->client.in;
	int err = remote_begin(r, PFS_WIRE_STAT);

	memset(stat, 0, sizeof(*stat));
	if (err)
		return err;
	err = client_request(&r->client, NULL, NULL);
	if (err)
		return remote_noted(r, err);
#define GET(field) stat->field = pfs_wire_get_u64(in);
	PFS_WIRE_STAT_FIELDS(GET)
#undef GET
	return remote_finished(r, 0);
}

struct paging {
	struct pfs_page_stat *pages;
	size_t count, cap;
};

static int pages_part(void *arg, struct client *c)
{
	struct paging *paging = arg;

	if (c->header.type != PFS_WIRE_PAGE_STATS)
		return -EPROTO;
	while (pfs_wire_more(&c->in)) {
		struct pfs_page_stat page;

#define GET(field) page.field = pfs_wire_get_u64(&c->in);
		PFS_WIRE_PAGE_FIELDS(GET)
#undef GET
		if (c->in.bad)
			return -EPROTO;
		if (paging->count == paging->cap) {
			size_t cap = paging->cap ? 2 * paging->cap : 256;
			struct pfs_page_stat *pages =
				realloc(paging->pages, cap * sizeof(*paging->pages));

			if (!pages)
				return -ENOMEM;
			paging->pages = pages;
			paging->cap = cap;
		}
		paging->pages[paging->count++] = page;
	}
	return 0;
}

static int remote_pages(struct target *t, struct pfs_page_stat **pages, size_t *count)
{
	struct remote *r = remote_of(t);
	struct paging paging = {.pages = calloc(1, sizeof(*paging.pages)), .cap = 1};
	int err = paging.pages ? remote_begin(r, PFS_WIRE_PAGES) : -ENOMEM;

	*pages = NULL;
	*count = 0;
	if (!err)
		err = remote_finished(r, client_request(&r->client, pages_part, &paging));
	if (err) {
		free(paging.pages);
		return err;
	}
	*pages = paging.pages;
	*count = paging.count;
	return 0;
}

static int remote_place(struct target *t, const struct pfs_key *key, struct pfs_attr *attr,
			struct pfs_place *place)
{
	struct remote *r = remote_of(t);
	struct pfs_wire_in *in = &r->client.in;
	int err = remote_begin(r, PFS_WIRE_PLACE);

	memset(attr, 0, sizeof(*attr));
	memset(place, 0, sizeof(*place));
	if (err)
		return err;
	pfs_wire_key(&r->client.out, key);
	err = client_request(&r->client, NULL, NULL);
	if (err)
		return remote_noted(r, err);
#define GET(field) attr->field = pfs_wire_get_u64(in);
	PFS_WIRE_ATTR_FIELDS(GET)
#undef GET
#define GET(field) place->field = pfs_wire_get_u64(in);
	PFS_WIRE_PLACE_FIELDS(GET)
#undef GET
	return remote_finished(r, 0);
}

struct checking {
	pfs_finding_fn *fn;
	pfs_progress_fn *progress;
	void *arg;
};

static int check_part(void *arg, struct client *c)
{
	struct checking *check = arg;
	struct pfs_finding finding;
	uint64_t done, total;

	if (c->header.type == PFS_WIRE_PROGRESS) {
		done = pfs_wire_get_u64(&c->in);
		total = pfs_wire_get_u64(&c->in);
		if (pfs_wire_done(&c->in))
			return -EPROTO;
		check->progress(check->arg, done, total);
		return 0;
	}
	if (c->header.type != PFS_WIRE_FINDING)
		return -EPROTO;
	memset(&finding, 0, sizeof(finding));
	finding.fatal = pfs_wire_get_u8(&c->in);
	pfs_wire_get_text(&c->in, finding.where, sizeof(finding.where));
	finding.offset = pfs_wire_get_u64(&c->in);
	if (pfs_wire_get_u8(&c->in))
		pfs_wire_get_key(&c->in, &finding.key);
	pfs_wire_get_text(&c->in, finding.text, sizeof(finding.text));
	if (pfs_wire_done(&c->in))
		return -EPROTO;
	check->fn(check->arg, &finding);
	return 0;
}

static int remote_check(struct target *t, pfs_finding_fn *fn, pfs_progress_fn *progress, void *arg,
			struct pfs_check_result *result)
{
	struct remote *r = remote_of(t);
	struct checking check = {.fn = fn, .progress = progress, .arg = arg};
	struct pfs_wire_in *in = &r->client.in;
	int err = remote_begin(r, PFS_WIRE_CHECK);

	memset(result, 0, sizeof(*result));
	if (err)
		return err;
	err = client_request(&r->client, check_part, &check);
	if (err)
		return remote_noted(r, err);
#define GET(field) result->field = pfs_wire_get_u64(in);
	PFS_WIRE_CHECK_FIELDS(GET)
#undef GET
	return remote_finished(r, 0);
}

struct compacting {
	pfs_progress_fn *progress;
	void *arg;
};

static int compact_part(void *arg, struct client *c)
{
	struct compacting *compacting = arg;
	uint64_t done, total;

	if (c->header.type != PFS_WIRE_PROGRESS)
		return -EPROTO;
	done = pfs_wire_get_u64(&c->in);
	total = pfs_wire_get_u64(&c->in);
	if (pfs_wire_done(&c->in))
		return -EPROTO;
	compacting->progress(compacting->arg, done, total);
	return 0;
}

static int remote_compact(struct target *t, pfs_progress_fn *progress, void *arg,
			  struct pfs_compact_result *result)
{
	struct remote *r = remote_of(t);
	struct compacting compacting = {progress, arg};
	struct pfs_wire_in *in = &r->client.in;
	int err = remote_begin(r, PFS_WIRE_COMPACT);

	memset(result, 0, sizeof(*result));
	if (err)
		return err;
	err = client_request(&r->client, compact_part, &compacting);
	if (err)
		return remote_noted(r, err);
#define GET(field) result->field = pfs_wire_get_u64(in);
	PFS_WIRE_COMPACT_FIELDS(GET)
#undef GET
	return remote_finished(r, 0);
}

static int remote_sync(struct target *t)
{
	struct remote *r = remote_of(t);
	int err = remote_begin(r, PFS_WIRE_SYNC);

	return err ? err : remote_finished(r, client_request(&r->client, NULL, NULL));
}

/* Sends the request for a training, and takes its answer. */
static int trained(struct remote *r, struct pfs_train_result *result)
{
	struct pfs_wire_in *in = &r->client.in;
	int err = client_request(&r->client, NULL, NULL), status, done;

	if (err)
		return remote_noted(r, err);
	status = pfs_wire_get_status(in);
#define GET(field) result->field = pfs_wire_get_u64(in);
	PFS_WIRE_TRAIN_FIELDS(GET)
#undef GET
	done = remote_finished(r, 0);
	return done ? done : status;
}

static int remote_train(struct target *t, bool force, struct pfs_train_result *result)
{
	struct remote *r = remote_of(t);
	int err = remote_begin(r, PFS_WIRE_TRAIN);

	*result = (struct pfs_train_result){0};
	if (err)
		return err;
	pfs_wire_u8(&r->client.out, force);
	return trained(r, result);
}

static int remote_train_from(struct target *t, const uint8_t *samples, const size_t *lens,
			     size_t count, struct pfs_train_result *result)
{
	struct remote *r = remote_of(t);
	int err = remote_begin(r, PFS_WIRE_TRAIN_FROM);

	*result = (struct pfs_train_result){0};
	if (err)
		return err;
	for (size_t i = 0; i < count; samples += lens[i++])
		pfs_wire_bytes(&r->client.out, samples, lens[i]);
	return trained(r, result);
}

static int ended(struct remote *r, int err, const char *reason)
{
	snprintf(r->t.reason.text, sizeof(r->t.reason.text), "%s", reason);
	return err;
}

/* Waits for CLOSED and then for the end of the process, which ends the connection. */
static int wait_for_end(struct remote *r, int timeout_ms)
{
	int64_t deadline = pfs_now_monotonic_ms() + timeout_ms;
	bool closed = false;
	int err, status = 0;

	for (;;) {
		int64_t left = timeout_ms < 0 ? -1 : deadline - pfs_now_monotonic_ms();

		if (timeout_ms >= 0 && left <= 0)
			return ended(r, -ETIMEDOUT,
				     "unmounted, but the daemon has not ended in time");
		err = client_receive(&r->client, (int)left);
		if (err && err != -ETIMEDOUT)
			break;
		if (!err && r->client.header.type == PFS_WIRE_CLOSED) {
			closed = true;
			status = r->client.header.status;
		}
	}
	if (!closed)
		return ended(r, -EIO,
			     "unmounted, but the daemon died before it had closed the store: "
			     "the next opening replays its journal");
	if (status)
		return ended(r, -EIO,
			     "unmounted, but the daemon could not write everything to the pages: "
			     "the next opening replays its journal");
	return 0;
}

static int remote_unmount(struct target *t, int timeout_ms)
{
	struct remote *r = remote_of(t);
	int err = remote_begin(r, PFS_WIRE_UNMOUNT);

	if (err)
		return err;
	pfs_wire_text(&r->client.out, t->mountpoint ? t->mountpoint : "");
	err = remote_finished(r, client_request(&r->client, NULL, NULL));
	return err ? err : wait_for_end(r, timeout_ms);
}

static const struct target_ops remote_ops = {
	.close = remote_close,
	.get = remote_get,
	.put_begin = remote_put_begin,
	.put_write = remote_put_write,
	.put_commit = remote_put_commit,
	.put_abort = remote_put_abort,
	.import_add = remote_import_add,
	.import_flush = remote_import_flush,
	.remove = remote_remove,
	.names = remote_names,
	.export_all = remote_export_all,
	.export_keys = remote_export_keys,
	.snapshot = remote_snapshot,
	.copy_all = remote_copy_all,
	.copy_keys = remote_copy_keys,
	.pages = remote_pages,
	.stat = remote_stat,
	.place = remote_place,
	.check = remote_check,
	.compact = remote_compact,
	.sync = remote_sync,
	.train = remote_train,
	.train_from = remote_train_from,
	.unmount = remote_unmount,
};

int target_remote_open(struct target **out, const struct client *client, int dirfd)
{
	struct remote *r = calloc(1, sizeof(*r));

	*out = NULL;
	if (!r)
		return -ENOMEM;
	r->t.ops = &remote_ops;
	r->client = *client;
	r->dirfd = dirfd;
	r->t.daemon_mountpoint = r->client.mountpoint;
	r->t.daemon_pid = client->pid;
	*out = &r->t;
	return 0;
}
