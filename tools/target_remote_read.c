#include <stdlib.h>

#include "storage/wire_fields.h"
#include "tools/target_remote.h"

struct getting {
	target_data_fn *fn;
	void *arg;
	uint64_t left; /* bytes of the document to come */
	bool begun;
};

static int get_part(void *arg, struct client *c)
{
	struct getting *g = arg;
	size_t len = c->header.len;
	struct pfs_key key;

	if (c->header.type == PFS_WIRE_DOC_BEGIN && !g->begun) {
		pfs_wire_get_key(&c->in, &key);
		g->left = pfs_wire_get_u64(&c->in);
		g->begun = true;
		return pfs_wire_done(&c->in);
	}
	if (c->header.type != PFS_WIRE_DATA || !g->begun || len > g->left)
		return -EPROTO;
	g->left -= len;
	return g->fn(g->arg, pfs_wire_get_raw(&c->in, len), len);
}

int remote_get(struct target *t, const struct pfs_key *key, target_data_fn *fn, void *arg)
{
	struct remote *r = remote_of(t);
	struct getting g = {.fn = fn, .arg = arg};
	int err = remote_begin(r, PFS_WIRE_GET);

	if (err)
		return err;
	pfs_wire_key(&r->client.out, key);
	err = remote_finished(r, client_request(&r->client, get_part, &g));
	if (!err && (!g.begun || g.left))
		err = remote_noted(r, -EPROTO);
	return err;
}

/* A stream of documents. A large one comes in pieces and is put together first. */
struct exporting {
	target_doc_fn *fn;	 /* of an export; */
	target_copy_fn *copy_fn; /* of a copy, which has attributes */
	void *arg;
	bool begun;
	struct pfs_key key; /* of the one that is begun */
	struct pfs_attr attr;
	uint8_t *data;
	size_t len, size;
};

static int export_document(struct exporting *e, const struct pfs_key *key, int status,
			   const struct pfs_attr *attr, const void *data, size_t len)
{
	if (e->copy_fn)
		return e->copy_fn(e->arg, key, status, attr, data, len);
	return e->fn(e->arg, key, status, data, len);
}

static void get_attr(struct pfs_wire_in *in, struct pfs_attr *attr)
{
#define GET(field) attr->field = pfs_wire_get_u64(in);
	PFS_WIRE_ATTR_FIELDS(GET)
#undef GET
}

static int export_docs(struct exporting *e, struct client *c)
{
	struct pfs_attr attr = {0};
	int err = 0;

	e->begun = false;
	while (!err && pfs_wire_more(&c->in)) {
		struct pfs_key key;
		const uint8_t *data;
		size_t len;
		int status;

		pfs_wire_get_key(&c->in, &key);
		status = pfs_wire_get_status(&c->in);
		if (e->copy_fn)
			get_attr(&c->in, &attr);
		data = pfs_wire_get_bytes(&c->in, &len);
		if (c->in.bad)
			return -EPROTO;
		err = export_document(e, &key, status, &attr, data, status ? 0 : len);
	}
	return err ? err : pfs_wire_done(&c->in);
}

static int export_begin(struct exporting *e, struct client *c)
{
	uint64_t size;

	free(e->data);
	e->data = NULL;
	pfs_wire_get_key(&c->in, &e->key);
	if (e->copy_fn)
		get_attr(&c->in, &e->attr);
	size = e->copy_fn ? e->attr.size : pfs_wire_get_u64(&c->in);
	if (pfs_wire_done(&c->in) || size > PFS_PAYLOAD_MAX)
		return -EPROTO;
	e->data = malloc(pfs_max_u64(size, 1));
	if (!e->data)
		return -ENOMEM;
	e->size = size;
	e->len = 0;
	e->begun = true;
	return 0;
}

static int export_part(void *arg, struct client *c)
{
	struct exporting *e = arg;
	size_t len = c->header.len;

	if (c->header.type == (e->copy_fn ? PFS_WIRE_COPIES : PFS_WIRE_DOCS))
		return export_docs(e, c);
	if (c->header.type == (e->copy_fn ? PFS_WIRE_COPY_BEGIN : PFS_WIRE_DOC_BEGIN))
		return export_begin(e, c);
	switch (c->header.type) {
	case PFS_WIRE_DATA:
		if (!e->begun || len > e->size - e->len)
			return -EPROTO;
		memcpy(e->data + e->len, c->in.p, len);
		e->len += len;
		return 0;
	case PFS_WIRE_DOC_END:
		if (!e->begun || e->len != e->size || pfs_wire_done(&c->in))
			return -EPROTO;
		e->begun = false;
		return export_document(e, &e->key, 0, &e->attr, e->data, e->len);
	default: return -EPROTO;
	}
}

static int open_snapshot(struct remote *r, struct pfs_snapshot_info *info)
{
	struct pfs_wire_in *in = &r->client.in;
	int err = remote_begin(r, PFS_WIRE_SNAPSHOT);

	if (!err)
		err = remote_noted(r, client_request(&r->client, NULL, NULL));
	if (err)
		return err;
#define GET(field) info->field = pfs_wire_get_u64(in);
	PFS_WIRE_SNAPSHOT_FIELDS(GET)
#undef GET
	return remote_finished(r, 0);
}

int remote_snapshot(struct target *t, struct pfs_snapshot_info *info)
{
	struct remote *r = remote_of(t);
	int err;

	*info = (struct pfs_snapshot_info){0};
	r->snapshot = false;
	err = open_snapshot(r, info);
	/* The store has failed in the middle of it: now it gives one without writing anything. */
	if (err == -EROFS) {
		t->reason.text[0] = '\0';
		err = open_snapshot(r, info);
	}
	r->snapshot = err == 0;
	return err;
}

int remote_copy_all(struct target *t, target_copy_fn *fn, void *arg)
{
	struct remote *r = remote_of(t);
	struct exporting e = {.copy_fn = fn, .arg = arg};
	int err = remote_begin(r, PFS_WIRE_COPY);

	if (!err)
		err = remote_finished(r, client_request(&r->client, export_part, &e));
	free(e.data);
	return err;
}

int remote_export_all(struct target *t, target_doc_fn *fn, void *arg)
{
	struct remote *r = remote_of(t);
	struct exporting e = {.fn = fn, .arg = arg};
	int err = remote_begin(r, PFS_WIRE_EXPORT);

	if (!err)
		err = remote_finished(r, client_request(&r->client, export_part, &e));
	free(e.data);
	return err;
}

static int ask_keys(struct remote *r, enum pfs_wire_type type, const struct pfs_key *keys,
		    size_t count, struct exporting *e)
{
	size_t i = 0;
	int err = 0;

	while (!err && i < count) {
		err = remote_begin(r, type);
		if (err)
			break;
		for (size_t n = 0; n < REMOTE_KEYS_MAX && i < count; n++, i++)
			pfs_wire_key(&r->client.out, &keys[i]);
		err = remote_finished(r, client_request(&r->client, export_part, e));
	}
	free(e->data);
	return err;
}

int remote_export_keys(struct target *t, const struct pfs_key *keys, size_t count,
		       target_doc_fn *fn, void *arg)
{
	struct exporting e = {.fn = fn, .arg = arg};

	return ask_keys(remote_of(t), PFS_WIRE_EXPORT_KEYS, keys, count, &e);
}

int remote_copy_keys(struct target *t, const struct pfs_key *keys, size_t count, target_copy_fn *fn,
		     void *arg)
{
	struct exporting e = {.copy_fn = fn, .arg = arg};

	return ask_keys(remote_of(t), PFS_WIRE_COPY_KEYS, keys, count, &e);
}

struct naming {
	target_name_fn *fn;
	void *arg;
};

static int names_part(void *arg, struct client *c)
{
	struct naming *n = arg;
	struct pfs_key key;
	int err = 0;

	if (c->header.type != PFS_WIRE_KEYS)
		return -EPROTO;
	while (!err && pfs_wire_more(&c->in)) {
		pfs_wire_get_key(&c->in, &key);
		err = c->in.bad ? -EPROTO : n->fn(n->arg, &key);
	}
	return err;
}

int remote_names(struct target *t, unsigned kinds, target_name_fn *fn, void *arg)
{
	struct remote *r = remote_of(t);
	struct naming n = {.fn = fn, .arg = arg};
	int err = remote_begin(r, PFS_WIRE_LIST);

	if (err)
		return err;
	pfs_wire_u8(&r->client.out, (uint8_t)kinds);
	return remote_finished(r, client_request(&r->client, names_part, &n));
}
