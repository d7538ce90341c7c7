/* Proves: whatever a client of the control socket sends, the session stays within its buffers,
 * ends, answers in whole messages of the protocol, and leaves a healthy store; what the getters of
 * the protocol accept is what the builders write. */
#include <poll.h>
#include <sys/socket.h>

#include "tests/fuzz/proto.h"
#include "tests/fuzz/session.h"

/* The socket: the client's bytes come from memory, in pieces, and the answers are looked at. */
struct socket {
	struct fuzz_in in;
	uint64_t state; /* of the pieces */
	uint8_t head[16];
	size_t head_len, body_left;
	uint64_t messages;
	uint64_t stop_after; /* polls until the stop comes; 0: never */
};

static struct socket wire;

static void take_head(void);

static ssize_t wire_recv(int fd, void *buf, size_t len, int flags)
{
	const uint8_t *bytes;
	size_t n;

	(void)fd;
	(void)flags;
	wire.state = pfs_mix64(wire.state + 1);
	if (wire.state % 8 == 0) {
		errno = wire.state & 64 ? EAGAIN : EINTR;
		return -1;
	}
	bytes = fuzz_bytes(&wire.in, wire.state & 16 ? len : 1 + (wire.state >> 8) % len, &n);
	if (n > len)
		n = len;
	if (n)
		memcpy(buf, bytes, n);
	return (ssize_t)n;
}

static ssize_t wire_send(int fd, const void *buf, size_t len, int flags)
{
	const uint8_t *bytes = buf;

	(void)fd;
	FUZZ_CHECK(flags & MSG_NOSIGNAL);
	wire.state = pfs_mix64(wire.state + 1);
	if (wire.state % 16 == 0) {
		errno = wire.state & 64 ? EAGAIN : EINTR;
		return -1;
	}
	if (wire.state & 32)
		len = 1 + (wire.state >> 8) % len;
	for (size_t i = 0; i < len;) {
		size_t part = wire.body_left < len - i ? wire.body_left : len - i;

		if (part) {
			wire.body_left -= part;
			i += part;
			continue;
		}
		wire.head[wire.head_len++] = bytes[i++];
		if (wire.head_len == sizeof(wire.head))
			take_head();
	}
	return (ssize_t)len;
}

static int wire_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	bool stop = wire.stop_after && --wire.stop_after == 0;

	(void)timeout;
	if (stop)
		wire.stop_after = 1;
	for (nfds_t i = 0; i < n; i++)
		fds[i].revents = fds[i].fd == 4 ? (stop ? POLLIN : 0) : fds[i].events;
	return n == 1 && fds[0].fd == 4 ? stop : 1;
}

#define recv wire_recv
#define send wire_send
#define poll wire_poll
#include "fs/serve_answer.c"
#include "fs/serve_conn.c"
#include "fs/serve_export.c"
#include "fs/serve_session.c"
#undef recv
#undef send
#undef poll

static void take_head(void)
{
	struct pfs_wire_header header;

	FUZZ_CHECK(pfs_wire_header(&header, wire.head) == 0);
	FUZZ_CHECK(header.version == PFS_WIRE_VERSION && header.type >= PFS_WIRE_REPLY);
	wire.body_left = header.len;
	wire.head_len = 0;
	wire.messages++;
}

static void on_changed(void *arg, const struct pfs_serve_change *changes, size_t count)
{
	struct pfs_store *store = *(struct pfs_store **)arg;

	FUZZ_CHECK(count > 0 && count <= PFS_SERVE_CHANGES_MAX);
	for (size_t i = 0; i < count; i++) {
		FUZZ_CHECK(changes[i].key.kind != PFS_KEY_NONE);
		if (changes[i].replaced)
			pfs_release(store, changes[i].replaced);
	}
}

static int on_unmount(void *arg, struct pfs_reason *reason)
{
	(void)arg;
	snprintf(reason->text, sizeof(reason->text), "files are in use");
	return wire.state & 128 ? 0 : -EBUSY;
}

static void serve(struct pfs_store *store, bool read_only)
{
	struct pfs_session_env env = {.store = store,
				      .hooks = {on_changed, on_unmount, &store},
				      .mountpoint = "/mnt",
				      .read_only = read_only};
	struct pfs_conn conn = {.fd = -1, .stop_fd = 4};

	(void)pfs_session_run(&conn, &env);
	pfs_conn_close(&conn);
	/* A message that was begun was sent to its end, unless the stop came. */
	FUZZ_CHECK(wire.stop_after || (wire.head_len == 0 && wire.body_left == 0));
}

/* Messages of former versions are made ones of this version, so that the corpus outlives a change
 * of it; those of later ones stay. Returns a copy. */
static uint8_t *with_this_version(struct fuzz_in *in)
{
	size_t len = fuzz_left(in);
	uint8_t *bytes = malloc(len + 1);
	struct pfs_wire_header header;

	FUZZ_CHECK(bytes != NULL);
	if (len)
		memcpy(bytes, in->at, len);
	for (size_t at = 0; len - at >= PFS_WIRE_HEADER_LEN;) {
		if (pfs_wire_header(&header, bytes + at) != 0)
			break;
		if (header.version < PFS_WIRE_VERSION)
			pfs_put_le16(bytes + at + 4, PFS_WIRE_VERSION);
		if (header.len > len - at - PFS_WIRE_HEADER_LEN)
			break;
		at += PFS_WIRE_HEADER_LEN + header.len;
	}
	*in = fuzz_in(bytes, len);
	return bytes;
}

static void run_session(struct fuzz_in *in, unsigned flags)
{
	struct pfs_open_options options = {.manual = true,
					   .hold_objects = true,
					   .read_only = flags & 2,
					   .io = &mem_io,
					   .logger = fuzz_logger()};
	static struct store_session look; /* check, read, nothing more */
	struct pfs_store *store;
	uint8_t *bytes;

	mem_io_reset();
	proto_unpack();
	FUZZ_CHECK(pfs_store_open(&store, "store", &options, NULL) == 0);
	wire = (struct socket){.state = fuzz_u8(in), .stop_after = fuzz_u8(in)};
	if (wire.stop_after >= 128)
		wire.stop_after = 0;
	bytes = with_this_version(in);
	wire.in = *in;
	serve(store, flags & 2);
	free(bytes);
	FUZZ_CHECK(pfs_store_close(store) == 0);
	look.flags = SESSION_NO_WRITE;
	session_expect_healthy(&look);
}

/* ---- the getters, against the builders ---- */

static void copy_fields(struct pfs_wire_in *in, struct pfs_wire_out *out, struct fuzz_in *program)
{
	char text[PFS_WIRE_TEXT_MAX + 1];
	struct pfs_key key;
	const uint8_t *bytes;
	size_t len;
	uint64_t v;
	int status;

	switch (fuzz_u8(program) % 7) {
	case 0:
		v = pfs_wire_get_u8(in);
		if (!in->bad)
			pfs_wire_u8(out, (uint8_t)v);
		break;
	case 1:
		v = pfs_wire_get_u32(in);
		if (!in->bad)
			pfs_wire_u32(out, (uint32_t)v);
		break;
	case 2:
		v = pfs_wire_get_u64(in);
		if (!in->bad)
			pfs_wire_u64(out, v);
		break;
	case 3:
		bytes = pfs_wire_get_bytes(in, &len);
		if (!in->bad)
			pfs_wire_bytes(out, bytes, len);
		break;
	case 4:
		pfs_wire_get_key(in, &key);
		FUZZ_CHECK(in->bad == (key.kind == PFS_KEY_NONE));
		if (!in->bad)
			pfs_wire_key(out, &key);
		break;
	case 5:
		pfs_wire_get_path(in, text, 1 + fuzz_u8(program) * 16u);
		if (!in->bad)
			pfs_wire_text(out, text);
		break;
	default:
		status = pfs_wire_get_status(in);
		FUZZ_CHECK(status <= 0 && status > -4096);
		if (!in->bad)
			pfs_wire_u32(out, (uint32_t)status);
		break;
	}
}

static void run_getters(struct fuzz_in *in)
{
	size_t program_len, len;
	const uint8_t *bytes = fuzz_bytes(in, 16, &program_len);
	struct fuzz_in program = fuzz_in(bytes, program_len);
	struct pfs_wire_out out = {0};
	struct pfs_wire_header header;
	uint8_t *body = malloc(fuzz_left(in) + 1);
	struct pfs_wire_in body_in;
	char text[32];

	FUZZ_CHECK(body != NULL);
	len = fuzz_left(in);
	if (len)
		memcpy(body, in->at, len);
	body_in = pfs_wire_in(body, len);
	pfs_wire_begin(&out, PFS_WIRE_REPLY, -5);
	while (fuzz_left(&program) && pfs_wire_more(&body_in))
		copy_fields(&body_in, &out, &program);
	FUZZ_CHECK(pfs_wire_end(&out) == 0);
	FUZZ_CHECK(pfs_wire_header(&header, out.buf) == 0 && header.status == -5 &&
		   header.len == pfs_wire_body_len(&out));
	/* What was taken whole is written the same. */
	FUZZ_CHECK(header.len <= len &&
		   memcmp(out.buf + PFS_WIRE_HEADER_LEN, body, header.len) == 0);
	body_in = pfs_wire_in(body, len);
	pfs_wire_get_text(&body_in, text, sizeof(text));
	FUZZ_CHECK(memchr(text, 0, sizeof(text)) != NULL);
	if (len >= PFS_WIRE_HEADER_LEN && pfs_wire_header(&header, body) == 0)
		FUZZ_CHECK(header.len <= PFS_WIRE_BODY_MAX && header.status <= 0);
	pfs_wire_out_free(&out);
	free(body);
}

/* u8 flags: 1 getters and builders, else a session, 2 of a store that is open read-only, with u8
 * how the bytes come and u8 when the stop comes; then what the client sends. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = fuzz_in(data, size);
	unsigned flags = fuzz_u8(&in);

	if (flags & 1)
		run_getters(&in);
	else
		run_session(&in, flags);
	return 0;
}
