#include "fs/init_reply.h"

#include <linux/fuse.h>
#include <sys/uio.h>
#include <unistd.h>

/* The first reply that is ever sent is the one to INIT: a header and a fuse_init_out. The kernel
 * sends no other request before it has it. */
static void complete(struct pfs_init_reply *reply, struct iovec *iov, int count)
{
	const struct fuse_out_header *header = iov[0].iov_base;
	struct fuse_init_out *init;

	if (header->unique == 0) /* a notice, of what a client of the socket has changed */
		return;
	atomic_store(&reply->sent, true);
	if (count != 2 || iov[0].iov_len < sizeof(*header) || header->error != 0 ||
	    iov[1].iov_len < offsetof(struct fuse_init_out, max_background))
		return;
	init = iov[1].iov_base;
	if (reply->parallel_dirops)
		init->flags |= FUSE_PARALLEL_DIROPS;
}

static ssize_t send_reply(int fd, struct iovec *iov, int count, void *userdata)
{
	struct pfs_init_reply *reply = userdata;

	if (!atomic_load_explicit(&reply->sent, memory_order_relaxed))
		complete(reply, iov, count);
	return writev(fd, iov, count);
}

static ssize_t receive(int fd, void *buf, size_t len, void *userdata)
{
	(void)userdata;
	return read(fd, buf, len);
}

int pfs_init_reply_watch(struct fuse_session *session)
{
	const struct fuse_custom_io io = {.writev = send_reply, .read = receive};

	return fuse_session_custom_io(session, &io, fuse_session_fd(session));
}
