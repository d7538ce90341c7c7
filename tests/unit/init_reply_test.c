/* fs/init_reply.c: what is changed of what libfuse sends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/init_reply.c"

static struct fuse_custom_io io; /* what the session was given */

int fuse_session_fd(struct fuse_session *session)
{
	(void)session;
	return 7;
}

int fuse_session_custom_io(struct fuse_session *session, const struct fuse_custom_io *given, int fd)
{
	(void)session;
	assert_int_equal(fd, 7);
	io = *given;
	return 0;
}

/* Sends a header and, of so many bytes, what an INIT is replied with; returns the flags that
 * arrive.
 */
static uint32_t send_init(struct pfs_init_reply *reply, const struct fuse_out_header *header,
			  size_t len)
{
	struct fuse_init_out init = {.flags = FUSE_BIG_WRITES};
	struct fuse_out_header h = *header;
	struct iovec iov[2] = {{&h, sizeof(h)}, {&init, len}};
	struct {
		struct fuse_out_header header;
		struct fuse_init_out init;
	} got = {.init.flags = 0};
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(io.writev(ends[1], iov, 2, reply), sizeof(h) + len);
	assert_int_equal(io.read(ends[0], &got, sizeof(got), reply), sizeof(h) + len);
	close(ends[0]);
	close(ends[1]);
	assert_memory_equal(&got.header, header, sizeof(h));
	return got.init.flags;
}

static void watch(struct pfs_init_reply *reply, bool parallel)
{
	*reply = (struct pfs_init_reply){.parallel_dirops = parallel};
	assert_int_equal(pfs_init_reply_watch(NULL), 0);
}

static const struct fuse_out_header answer = {.unique = 2}, failed = {.unique = 2, .error = -71},
				    notice = {.error = FUSE_NOTIFY_INVAL_ENTRY};

/* Proves: the first reply, and no other, gets the flag when it is wanted. */
static void the_first_reply_is_completed(void **state)
{
	struct pfs_init_reply reply;
	const size_t whole = sizeof(struct fuse_init_out);

	(void)state;
	watch(&reply, true);
	assert_int_equal(send_init(&reply, &answer, whole), FUSE_BIG_WRITES | FUSE_PARALLEL_DIROPS);
	assert_int_equal(send_init(&reply, &answer, whole), FUSE_BIG_WRITES);
	watch(&reply, false);
	assert_int_equal(send_init(&reply, &answer, whole), FUSE_BIG_WRITES);
}

/* Proves: a notice, which a client of the socket can lead to before the kernel has asked anything,
 * is sent as it is and not taken for that reply. */
static void notices_come_before(void **state)
{
	struct pfs_init_reply reply;
	const size_t whole = sizeof(struct fuse_init_out);

	(void)state;
	watch(&reply, true);
	assert_int_equal(send_init(&reply, &notice, whole), FUSE_BIG_WRITES);
	assert_int_equal(send_init(&reply, &answer, whole), FUSE_BIG_WRITES | FUSE_PARALLEL_DIROPS);
}

/* Proves: neither an error nor a reply that is too short for the flags is touched. */
static void other_replies_are_left_alone(void **state)
{
	struct pfs_init_reply reply;

	(void)state;
	watch(&reply, true);
	assert_int_equal(send_init(&reply, &failed, sizeof(struct fuse_init_out)), FUSE_BIG_WRITES);
	watch(&reply, true);
	assert_int_equal(send_init(&reply, &answer, offsetof(struct fuse_init_out, flags)), 0);
	watch(&reply, true);
	assert_int_equal(send_init(&reply, &answer, offsetof(struct fuse_init_out, max_background)),
			 FUSE_BIG_WRITES | FUSE_PARALLEL_DIROPS);
}

/* Proves: what has no whole header, no flags, or other parts than those two is sent as it is. */
static void parts_are_whole_or_left_alone(void **state)
{
	static const struct {
		size_t first, second;
		int count;
		bool completed;
	} cases[] = {
		{sizeof(struct fuse_out_header), sizeof(struct fuse_init_out), 2, true},
		{sizeof(struct fuse_out_header) - 1, sizeof(struct fuse_init_out), 2, false},
		{sizeof(struct fuse_out_header), offsetof(struct fuse_init_out, max_background) - 1,
		 2, false},
		{sizeof(struct fuse_out_header), sizeof(struct fuse_init_out), 1, false},
		{sizeof(struct fuse_out_header), sizeof(struct fuse_init_out), 3, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pfs_init_reply reply = {.parallel_dirops = true};
		struct fuse_init_out init = {.flags = FUSE_BIG_WRITES};
		struct fuse_out_header header = answer;
		struct iovec iov[3] = {{&header, cases[i].first}, {&init, cases[i].second}};

		complete(&reply, iov, cases[i].count);
		assert_int_equal(init.flags, cases[i].completed
						     ? FUSE_BIG_WRITES | FUSE_PARALLEL_DIROPS
						     : FUSE_BIG_WRITES);
		assert_true(atomic_load(&reply.sent));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_reply_is_completed),
		cmocka_unit_test(notices_come_before),
		cmocka_unit_test(other_replies_are_left_alone),
		cmocka_unit_test(parts_are_whole_or_left_alone),
	};

	return cmocka_run_group_tests_name("init_reply", tests, NULL, NULL);
}
