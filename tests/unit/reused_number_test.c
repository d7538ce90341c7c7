/* Documents that are read by their key while the object's number is given to another document, at
 * each place where that can come in between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/store_helpers.h"

/* Where the reader is interrupted, once. */
enum place { NOWHERE, AT_MALLOC, AT_LOOKUP, AT_LIST };

static struct {
	enum place at;
	struct pfs_store *store;
	size_t len;
	bool again; /* the first document comes back, with a number of its own */
	bool done;
} swap;

static void interrupt(enum place place);

static void *malloc_interrupted(size_t len)
{
	interrupt(AT_MALLOC);
	return malloc(len);
}

#define malloc malloc_interrupted
#include "storage/store_get.c"
#undef malloc

static int lookup_interrupted(struct pfs_store *store, const struct pfs_key *key, uint32_t *object,
			      struct pfs_attr *attr)
{
	int err = pfs_lookup(store, key, object, attr);

	interrupt(AT_LOOKUP);
	return err;
}

static ssize_t list_interrupted(struct pfs_store *store, uint64_t after, struct pfs_listed *out,
				size_t max)
{
	ssize_t n = pfs_list(store, after, out, max);

	interrupt(AT_LIST);
	return n;
}

#define pfs_lookup lookup_interrupted
#define pfs_list list_interrupted
#include "fs/serve_export.c"
#undef pfs_lookup
#undef pfs_list

/* Seeds of the documents: what 1 holds first, 2, and 1 when it has come back. */
enum { FIRST = 1, OTHER = 3, AGAIN = 5 };

static void interrupt(enum place place)
{
	struct pfs_key one = pfs_key_num(1), two = pfs_key_num(2);
	uint32_t was, is;

	if (place != swap.at)
		return;
	swap.at = NOWHERE;
	assert_int_equal(pfs_lookup(swap.store, &one, &was, NULL), 0);
	assert_int_equal(pfs_remove(swap.store, &one, NULL), 0);
	put_document(swap.store, &two, swap.len, OTHER);
	/* Else nothing would be tried. */
	assert_int_equal(pfs_lookup(swap.store, &two, &is, NULL), 0);
	assert_int_equal(is, was);
	if (swap.again)
		put_document(swap.store, &one, swap.len, AGAIN);
	swap.done = true;
}

static bool is_document(const void *bytes, size_t len, uint64_t seed)
{
	uint8_t *expected = malloc(len + 1);
	bool same;

	fill_document(expected, len, seed);
	same = memcmp(bytes, expected, len) == 0;
	free(expected);
	return same;
}

/* A store with document 1; in_page: it is not only in the journal. */
static struct pfs_sim *begin(enum place at, size_t len, bool again, bool in_page)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_key one = pfs_key_num(1);

	create_store(sim, 256 * PFS_KIB, 16);
	swap.store = open_store(sim);
	put_document(swap.store, &one, len, FIRST);
	if (in_page)
		assert_int_equal(pfs_store_checkpoint(swap.store), 0);
	swap.at = at;
	swap.len = len;
	swap.again = again;
	swap.done = false;
	return sim;
}

static void end(struct pfs_sim *sim)
{
	assert_true(swap.done);
	assert_int_equal(pfs_store_close(swap.store), 0);
	pfs_sim_free(sim);
}

/* Proves: what is got under a key is what stood there, also when its number becomes another
 * document's of the same length meanwhile. */
static void get_gives_what_the_key_had(void **state)
{
	(void)state;
	for (unsigned in_page = 0; in_page < 2; in_page++) {
		struct pfs_sim *sim = begin(AT_MALLOC, 300, false, in_page);
		struct pfs_key one = pfs_key_num(1);
		struct pfs_attr attr;
		void *data;
		size_t len;

		assert_int_equal(pfs_get(swap.store, &one, &data, &len, &attr), 0);
		assert_int_equal(len, 300);
		assert_int_equal(attr.mtime_ns, FIRST);
		assert_true(is_document(data, len, FIRST));
		free(data);
		end(sim);
	}
}

/* Proves: a number that was let go of with its name, and released all the same, does not take the
 * one that has it now: a document that is being put in pieces. */
static void late_release_takes_nobody_else(void **state)
{
	struct pfs_sim *sim = pfs_sim_new();
	struct pfs_key one = pfs_key_num(1), two = pfs_key_num(2);
	struct pfs_store *store;
	struct pfs_put *put;
	uint8_t bytes[600], got[600];
	uint32_t gone;

	(void)state;
	create_store(sim, 256 * PFS_KIB, 16);
	store = open_store(sim);
	put_document(store, &one, 300, FIRST);
	assert_int_equal(pfs_remove(store, &one, &gone), 0);
	assert_int_equal(pfs_put_begin(store, &put), 0);
	fill_document(bytes, sizeof(bytes), OTHER);
	assert_int_equal(pfs_put_write(put, bytes, 300), 0);
	/* Else nothing would be tried. */
	assert_int_equal(pfs_read(store, gone, 0, got, sizeof(got)), 300);
	assert_memory_equal(got, bytes, 300);
	pfs_release(store, gone);
	assert_int_equal(pfs_put_write(put, bytes + 300, 300), 0);
	assert_int_equal(pfs_put_commit(put, &two, NULL, 0, NULL), 0);
	assert_int_equal(pfs_lookup(store, &two, &gone, NULL), 0);
	assert_int_equal(pfs_read(store, gone, 0, got, sizeof(got)), sizeof(bytes));
	assert_memory_equal(got, bytes, sizeof(bytes));
	assert_int_equal(pfs_store_close(store), 0);
	pfs_sim_free(sim);
}

/* ---- exporting ---- */

/* What the client has got. */
static struct {
	unsigned ones, twos; /* documents, by their names */
	uint8_t *pieces;     /* of the large one that was begun last */
	size_t pieces_len;
	unsigned begun;
} client;

static void take_docs(struct pfs_wire_in *in)
{
	while (pfs_wire_more(in)) {
		struct pfs_key key;
		const uint8_t *bytes;
		size_t len;
		int status;

		pfs_wire_get_key(in, &key);
		status = pfs_wire_get_status(in);
		bytes = pfs_wire_get_bytes(in, &len);
		assert_false(in->bad);
		assert_int_equal(status, 0);
		assert_int_equal(len, swap.len);
		assert_true(key.num == 1 || key.num == 2);
		assert_true(is_document(bytes, len, key.num == 1 ? FIRST : OTHER));
		*(key.num == 1 ? &client.ones : &client.twos) += 1;
	}
}

int pfs_conn_send(struct pfs_conn *conn)
{
	struct pfs_wire_header header;
	struct pfs_wire_in in;

	assert_int_equal(pfs_wire_end(&conn->out), 0);
	assert_int_equal(pfs_wire_header(&header, conn->out.buf), 0);
	in = pfs_wire_in(conn->out.buf + PFS_WIRE_HEADER_LEN, header.len);
	switch (header.type) {
	case PFS_WIRE_DOCS: take_docs(&in); break;
	case PFS_WIRE_DOC_BEGIN:
		client.pieces_len = 0;
		client.begun++;
		break;
	case PFS_WIRE_DATA:
		assert_true(header.len <= swap.len - client.pieces_len);
		memcpy(client.pieces + client.pieces_len, conn->out.buf + PFS_WIRE_HEADER_LEN,
		       header.len);
		client.pieces_len += header.len;
		break;
	default: fail_msg("a message of type %u", (unsigned)header.type);
	}
	return 0;
}

bool pfs_conn_stopping(const struct pfs_conn *conn)
{
	(void)conn;
	return false;
}

/* Proves: what is exported under a name are the bytes of that document, or nothing when it has
 * gone. */
static void export_gives_what_the_key_has(void **state)
{
	static const enum place places[] = {AT_LIST, AT_LOOKUP, AT_MALLOC};

	(void)state;
	for (unsigned i = 0; i < 2 * pfs_array_len(places); i++) {
		enum place at = places[i / 2];
		struct pfs_sim *sim = begin(at, 300, false, i % 2);
		struct pfs_conn conn = {.fd = -1, .stop_fd = -1};
		const struct pfs_export from = {.conn = &conn, .store = swap.store};
		struct pfs_wire_out names = {0};
		struct pfs_key one = pfs_key_num(1);
		struct pfs_wire_in in;

		client.ones = client.twos = 0;
		pfs_wire_begin(&names, PFS_WIRE_REPLY, 0);
		pfs_wire_key(&names, &one);
		in = pfs_wire_in(names.buf + PFS_WIRE_HEADER_LEN, pfs_wire_body_len(&names));
		if (at == AT_LIST)
			assert_int_equal(pfs_export_all(&from), 0);
		else
			assert_int_equal(pfs_export_keys(&from, &in, false), 0);
		/* While its bytes are got it is there. */
		assert_int_equal(client.ones, at == AT_MALLOC ? 1 : 0);
		pfs_wire_out_free(&names);
		pfs_wire_out_free(&conn.out);
		end(sim);
	}
}

/* Proves: the pieces of a large document are all its own. */
static void pieces_are_of_one_document(void **state)
{
	size_t len = PFS_WIRE_PIECE_MAX + 70000;

	(void)state;
	for (unsigned in_page = 0; in_page < 2; in_page++) {
		struct pfs_sim *sim = begin(AT_LOOKUP, len, true, in_page);
		struct pfs_conn conn = {.fd = -1, .stop_fd = -1};
		const struct pfs_export from = {.conn = &conn, .store = swap.store};
		const struct stream stream = stream_of(&from, false);
		struct pfs_key one = pfs_key_num(1);
		int status;

		client.pieces = malloc(len);
		client.begun = 0;
		assert_int_equal(send_now(&stream, &one, PIECES_TRIES, &status), 0);
		assert_int_equal(status, 0);
		assert_int_equal(client.begun, 2);
		assert_int_equal(client.pieces_len, len);
		assert_true(is_document(client.pieces, len, AGAIN));
		free(client.pieces);
		pfs_wire_out_free(&conn.out);
		end(sim);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(get_gives_what_the_key_had),
		cmocka_unit_test(late_release_takes_nobody_else),
		cmocka_unit_test(export_gives_what_the_key_has),
		cmocka_unit_test(pieces_are_of_one_document),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
