#include <stdlib.h>

#include "tools/target_remote.h"

#define BATCH_DOCS_MAX 4096

int remote_put_begin(struct target *t)
{
	struct remote *r = remote_of(t);
	int err = remote_begin(r, PFS_WIRE_PUT_BEGIN);

	if (!err)
		err = remote_noted(r, client_send(&r->client));
	pfs_wire_begin(&r->put, PFS_WIRE_PUT_DATA, 0);
	return err;
}

/* Sends the gathered piece. */
static int send_piece(struct remote *r)
{
	int err = remote_send(r, &r->put);

	pfs_wire_begin(&r->put, PFS_WIRE_PUT_DATA, 0);
	return err;
}

int remote_put_write(struct target *t, const void *data, size_t len)
{
	struct remote *r = remote_of(t);
	const uint8_t *p = data;
	int err = 0;

	while (!err && len) {
		size_t n = pfs_min_u64(len, PFS_WIRE_PIECE_MAX - pfs_wire_body_len(&r->put));

		pfs_wire_raw(&r->put, p, n);
		if (r->put.err)
			return r->put.err;
		p += n;
		len -= n;
		if (pfs_wire_body_len(&r->put) == PFS_WIRE_PIECE_MAX)
			err = send_piece(r);
	}
	return err;
}

int remote_put_commit(struct target *t, const struct pfs_key *key)
{
	struct remote *r = remote_of(t);
	int err = pfs_wire_body_len(&r->put) ? send_piece(r) : 0;

	if (err)
		return err;
	pfs_wire_begin(&r->client.out, PFS_WIRE_PUT_END, 0);
	pfs_wire_key(&r->client.out, key);
	return remote_finished(r, client_request(&r->client, NULL, NULL));
}

int remote_put_abort(struct target *t)
{
	struct remote *r = remote_of(t);

	if (r->client.broken)
		return 0;
	pfs_wire_begin(&r->client.out, PFS_WIRE_PUT_ABORT, 0);
	return remote_finished(r, client_request(&r->client, NULL, NULL));
}

/* Takes the answer to the batch that is on its way. */
static int land_batch(struct remote *r)
{
	const struct target_import *import = &r->t.import;
	struct client *c = &r->client;
	uint32_t count = r->flying.count, done, refused;
	int err;

	if (!count)
		return 0;
	r->flying.count = 0;
	err = client_answer(c, NULL, NULL);
	if (err) {
		done = c->header.type == PFS_WIRE_REPLY && !c->broken ? pfs_wire_get_u32(&c->in)
								      : 0;
		if (done <= count)
			import->stored(import->arg, done);
		return remote_noted(r, err);
	}
	done = pfs_wire_get_u32(&c->in);
	refused = pfs_wire_get_u32(&c->in);
	if (c->in.bad || (uint64_t)done + refused != count)
		return remote_noted(r, -EPROTO);
	import->stored(import->arg, done);
	while (refused--) {
		uint32_t index = pfs_wire_get_u32(&c->in);
		int status = pfs_wire_get_status(&c->in);

		if (c->in.bad || index >= count)
			return remote_noted(r, -EPROTO);
		import->refused(import->arg, &r->flying.docs[index].where,
				&r->flying.docs[index].key, status);
	}
	return remote_noted(r, client_done(c));
}

/* Sends the gathered batch, after the answer to the last one has come. The daemon stores it while
 * the next is gathered. */
static int launch_batch(struct remote *r)
{
	struct remote_batch landed;
	int err = land_batch(r);

	if (err || !r->filling.count)
		return err;
	err = remote_refresh(r);
	if (err)
		return err;
	err = remote_send(r, &r->gathered);
	landed = r->flying;
	r->flying = r->filling;
	r->filling = landed;
	r->filling.count = 0;
	pfs_wire_begin(&r->gathered, PFS_WIRE_IMPORT, 0);
	return err;
}

int remote_import_flush(struct target *t)
{
	struct remote *r = remote_of(t);
	int err = launch_batch(r);

	return err ? err : land_batch(r);
}

/* A document that is too large for a batch. */
static int import_large(struct target *t, const struct pfs_key *key, const void *data, size_t len,
			const struct target_where *where)
{
	int err = remote_import_flush(t);

	if (!err)
		err = remote_put_begin(t);
	if (!err)
		err = remote_put_write(t, data, len);
	if (!err)
		err = remote_put_commit(t, key);
	if (!err)
		t->import.stored(t->import.arg, 1);
	if ((err != -EFBIG && err != -EINVAL) || t->lost)
		return err;
	t->import.refused(t->import.arg, where, key, err);
	return 0;
}

static int make_batches(struct remote *r)
{
	if (r->filling.docs && r->flying.docs)
		return 0;
	free(r->filling.docs);
	free(r->flying.docs);
	r->filling.docs = calloc(BATCH_DOCS_MAX, sizeof(*r->filling.docs));
	r->flying.docs = calloc(BATCH_DOCS_MAX, sizeof(*r->flying.docs));
	pfs_wire_begin(&r->gathered, PFS_WIRE_IMPORT, 0);
	return r->filling.docs && r->flying.docs ? 0 : -ENOMEM;
}

int remote_import_add(struct target *t, const struct pfs_key *key, const void *data, size_t len,
		      const struct pfs_attr *attr, const struct target_where *where)
{
	struct remote *r = remote_of(t);
	int err = attr ? -EOPNOTSUPP : make_batches(r);

	if (err)
		return err;
	if (len > PFS_WIRE_PIECE_MAX)
		return import_large(t, key, data, len, where);
	pfs_wire_key(&r->gathered, key);
	pfs_wire_bytes(&r->gathered, data, len);
	if (r->gathered.err)
		return r->gathered.err;
	r->filling.docs[r->filling.count].where = *where;
	r->filling.docs[r->filling.count].key = *key;
	r->filling.count++;
	if (r->filling.count < BATCH_DOCS_MAX &&
	    pfs_wire_body_len(&r->gathered) < PFS_WIRE_BATCH_SOFT)
		return 0;
	return launch_batch(r);
}

static int remove_some(struct remote *r, const struct pfs_key *keys, size_t count, int *statuses)
{
	struct client *c = &r->client;
	int err = remote_begin(r, PFS_WIRE_REMOVE);

	if (err)
		return err;
	for (size_t i = 0; i < count; i++)
		pfs_wire_key(&c->out, &keys[i]);
	err = client_request(c, NULL, NULL);
	if (err)
		return remote_noted(r, err);
	if (pfs_wire_get_u32(&c->in) != count)
		return remote_noted(r, -EPROTO);
	for (size_t i = 0; i < count; i++)
		statuses[i] = pfs_wire_get_status(&c->in);
	return remote_noted(r, client_done(c));
}

int remote_remove(struct target *t, const struct pfs_key *keys, size_t count, int *statuses)
{
	int err = 0;

	for (size_t i = 0; i < count && !err; i += REMOTE_KEYS_MAX)
		err = remove_some(remote_of(t), keys + i, pfs_min_u64(count - i, REMOTE_KEYS_MAX),
				  statuses + i);
	return err;
}
