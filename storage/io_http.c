/* The HTTP backend: io.h in requests. */
#include "storage/io_http.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/fd.h"
#include "storage/hash.h"
#include "storage/http_client.h"
#include "storage/http_list.h"

bool pfs_location_is_url(const char *location)
{
	return strstr(location, "://") != NULL;
}

#ifndef PFS_HAVE_CURL
const char *pfs_http_version(void)
{
	return NULL;
}

static int open_none(const struct pfs_io *io, const char *path, unsigned flags,
		     struct pfs_dir **out)
{
	const struct pfs_http_options *options = io->context;

	(void)flags;
	*out = NULL;
	pfs_logf(options ? &options->logger : NULL, PFS_LOG_ERROR,
		 "%s: built without libcurl, which is needed for URLs", path);
	return -EOPNOTSUPP;
}

static const struct pfs_io_ops http_ops = {.open_dir = open_none};
#else
#include <curl/curl.h>

#define SHA_PIECE 65536
#define LIST_ANSWER_MAX (8 * PFS_MIB)

const char *pfs_http_version(void)
{
	return curl_version_info(CURLVERSION_NOW)->version;
}

struct http_dir {
	struct pfs_dir base; /* first member */
	struct pfs_http_place place;
	struct pfs_http_client *client;
};

struct http_file {
	struct pfs_file base; /* first member */
	struct http_dir *dir;
	char url[PFS_HTTP_URL_MAX + PFS_PLAIN_NAME_MAX + 1];
	int fd;	    /* of the temporary file; -1: none */
	bool dirty; /* it has what was not uploaded */
	bool only_new;
	bool unchanged; /* PFS_IO_UNCHANGED, before the first change */

	pthread_mutex_t lock; /* of what follows */
	char etag[PFS_HTTP_ETAG_MAX];
	bool absent; /* that is what the server said */
};

static struct http_dir *dir_of(struct pfs_dir *dir)
{
	return (struct http_dir *)dir;
}

static struct http_file *file_of(struct pfs_file *file)
{
	return (struct http_file *)file;
}

/* ---- directories ---- */

static int http_open_dir(const struct pfs_io *io, const char *path, unsigned flags,
			 struct pfs_dir **out)
{
	const struct pfs_http_options *options = io->context;
	struct pfs_reason reason = {.text = ""};
	struct http_dir *dir;
	int err;

	*out = NULL;
	dir = calloc(1, sizeof(*dir));
	if (!dir)
		return -ENOMEM;
	dir->base.ops = io->ops;
	err = pfs_http_place_parse(&dir->place, path, &reason);
	if (err)
		pfs_logf(options ? &options->logger : NULL, PFS_LOG_ERROR, "%s", reason.text);
	else if ((flags & (PFS_IO_WRITE | PFS_IO_CREATE)) && !dir->place.s3)
		err = -EROFS;
	else
		err = pfs_http_client_new(&dir->client, &dir->place, options);
	if (err) {
		free(dir);
		return err;
	}
	*out = &dir->base;
	return 0;
}

static void http_close_dir(struct pfs_dir *base)
{
	struct http_dir *dir = dir_of(base);

	pfs_http_client_free(dir->client);
	free(dir);
}

static int http_sync_dir(struct pfs_dir *dir)
{
	(void)dir; /* what is there is durable */
	return 0;
}

static int http_lock(struct pfs_dir *dir, const char *name, bool exclusive)
{
	(void)dir;
	(void)name;
	(void)exclusive;
	return -EOPNOTSUPP;
}

static int http_space(struct pfs_dir *dir, struct pfs_io_space *out)
{
	(void)dir;
	*out = (struct pfs_io_space){0};
	return -EOPNOTSUPP;
}

/* Pages of up to 1000 names; their parameters in the order in which they are signed. */
static int http_list(struct pfs_dir *base, pfs_io_list_fn *fn, void *arg)
{
	struct http_dir *dir = dir_of(base);
	char *url = NULL, *text = NULL;
	struct pfs_http_listing listing = {.prefix = dir->place.prefix};
	char encoded[3 * PFS_HTTP_URL_MAX];
	int err = -ENOMEM;

	if (!dir->place.s3)
		return -EOPNOTSUPP;
	text = malloc(LIST_ANSWER_MAX + 1);
	if (!text || !pfs_http_encode(encoded, sizeof(encoded), dir->place.prefix, false))
		goto out;
	do {
		struct pfs_http_request request = {
			.method = PFS_HTTP_GET, .whole = true, .len = LIST_ANSWER_MAX, .buf = text};

		free(url);
		url = NULL;
		if (asprintf(&url,
			     "%s?%s%s%sdelimiter=%%2F&encoding-type=url&list-type=2"
			     "&max-keys=1000&prefix=%s",
			     dir->place.bucket, listing.token[0] ? "continuation-token=" : "",
			     listing.token, listing.token[0] ? "&" : "", encoded) < 0) {
			url = NULL;
			err = -ENOMEM;
			break;
		}
		request.url = url;
		err = pfs_http_perform(dir->client, &request);
		if (err)
			break;
		text[request.got] = 0;
		err = pfs_http_list_page(&listing, text, fn, arg);
		if (err == -EBADMSG)
			err = pfs_http_complain(dir->client, -EIO, url,
						"the server's list can't be read");
	} while (!err && listing.token[0]);
out:
	free(url);
	free(text);
	return err;
}

/* ---- files ---- */

static int open_temporary(void)
{
	const char *where = getenv("TMPDIR");
	char path[4096];
	int fd;

	if (!where || !*where)
		where = "/tmp";
	fd = open(where, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT))
		return fd < 0 ? -errno : fd;
	if ((size_t)snprintf(path, sizeof(path), "%s/payloadfs-XXXXXX", where) >= sizeof(path))
		return -ENAMETOOLONG;
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	unlink(path);
	return fd;
}

static int request_size(struct http_file *file, uint64_t *out)
{
	struct pfs_http_request request = {.method = PFS_HTTP_HEAD, .url = file->url};
	int err = pfs_http_perform(file->dir->client, &request);

	*out = err ? 0 : request.total;
	return err;
}

/* Whether it is the temporary file that is read. */
static bool is_collected(const struct http_file *file)
{
	return file->fd >= 0 && !file->unchanged;
}

static void note_absent(struct http_file *file)
{
	pthread_mutex_lock(&file->lock);
	file->absent = true;
	pthread_mutex_unlock(&file->lock);
}

static int check_open(const struct http_dir *dir, const char *name, unsigned flags)
{
	if (!pfs_name_is_plain(name))
		return -EINVAL;
	if (!(flags & (PFS_IO_WRITE | PFS_IO_CREATE)))
		return 0;
	if (!dir->place.s3)
		return -EROFS;
	return flags & PFS_IO_CREATE ? 0 : -EOPNOTSUPP;
}

static int http_open(struct pfs_dir *base, const char *name, unsigned flags, struct pfs_file **out)
{
	struct http_dir *dir = dir_of(base);
	struct http_file *file;
	uint64_t size;
	int err;

	*out = NULL;
	err = check_open(dir, name, flags);
	if (err)
		return err;
	file = calloc(1, sizeof(*file));
	if (!file)
		return -ENOMEM;
	file->base.ops = base->ops;
	file->dir = dir;
	file->fd = -1;
	snprintf(file->url, sizeof(file->url), "%s%s", dir->place.url, name);
	file->only_new = flags & PFS_IO_EXCL;
	file->unchanged = flags & PFS_IO_UNCHANGED;
	/* There are servers that take no notice of a condition, and do not say so. */
	if (file->only_new) {
		err = request_size(file, &size);
		err = err == -ENOENT ? 0 : err ? err : -EEXIST;
	}
	if (!err && (flags & PFS_IO_CREATE)) {
		file->fd = open_temporary();
		file->dirty = !file->unchanged;
		err = file->fd < 0 ? file->fd : 0;
	}
	if (err) {
		free(file);
		return err;
	}
	pthread_mutex_init(&file->lock, NULL);
	*out = &file->base;
	return 0;
}

static void http_close(struct pfs_file *base)
{
	struct http_file *file = file_of(base);

	if (file->fd >= 0)
		close(file->fd);
	pthread_mutex_destroy(&file->lock);
	free(file);
}

/* The version of the server's file is that of the first answer. */
static int check_version(struct http_file *file, const char *etag)
{
	char before[PFS_HTTP_ETAG_MAX];
	bool same;

	if (!etag[0])
		return 0;
	pthread_mutex_lock(&file->lock);
	if (!file->etag[0])
		snprintf(file->etag, sizeof(file->etag), "%s", etag);
	same = strcmp(file->etag, etag) == 0;
	memcpy(before, file->etag, sizeof(before));
	pthread_mutex_unlock(&file->lock);
	if (same)
		return 0;
	return pfs_http_complain(file->dir->client, -ESTALE, file->url,
				 "it was changed on the server: its ETag was %s, now it is %s",
				 before, etag);
}

static ssize_t http_read(struct pfs_file *base, void *buf, size_t len, uint64_t off)
{
	struct http_file *file = file_of(base);
	struct pfs_http_request request = {
		.method = PFS_HTTP_GET, .url = file->url, .off = off, .len = len, .buf = buf};
	int err;

	if (len == 0)
		return 0;
	if (off > INT64_MAX || len > INT64_MAX - off)
		return -EINVAL;
	if (is_collected(file))
		return pfs_fd_read(file->fd, buf, len, off);
	err = pfs_http_perform(file->dir->client, &request);
	if (!err)
		err = check_version(file, request.etag);
	else if (err == -ENOENT)
		note_absent(file);
	return err ? err : (ssize_t)request.got;
}

static int http_write(struct pfs_file *base, const void *buf, size_t len, uint64_t off)
{
	struct http_file *file = file_of(base);
	int err;

	if (file->fd < 0)
		return -EBADF;
	err = pfs_fd_write(file->fd, buf, len, off);
	if (err)
		return err;
	file->dirty = true;
	file->unchanged = false;
	return 0;
}

static int sha256_of(char hex[PFS_HTTP_SHA256_HEX], int fd, uint64_t size)
{
	uint8_t digest[PFS_HASH_WHOLE_LEN], *piece;
	struct pfs_hash *hash;
	int err;

	err = pfs_hash_new(&hash);
	if (err)
		return err;
	piece = malloc(SHA_PIECE);
	pfs_hash_begin(hash);
	for (uint64_t off = 0; off < size && piece && !err; off += SHA_PIECE) {
		size_t len = (size_t)pfs_min_u64(SHA_PIECE, size - off);

		if (pfs_fd_read(fd, piece, len, off) != (ssize_t)len)
			err = -EIO;
		else
			pfs_hash_add(hash, piece, len);
	}
	if (!piece)
		err = -ENOMEM;
	if (!err)
		err = pfs_hash_end_whole(hash, digest);
	for (size_t i = 0; i < sizeof(digest) && !err; i++)
		sprintf(hex + 2 * i, "%02x", digest[i]);
	free(piece);
	pfs_hash_free(hash);
	return err;
}

/* One that stands for the same bytes, and was not cut off. */
static bool is_strong(const char *etag)
{
	size_t len = strlen(etag);

	return len >= 2 && len < PFS_HTTP_ETAG_MAX - 1 && etag[0] == '"' && etag[len - 1] == '"';
}

/* What must hold when the file is replaced, for the first sync. */
static void set_conditions(struct http_file *file, struct pfs_http_request *request)
{
	pthread_mutex_lock(&file->lock);
	request->only_new = file->only_new || file->absent;
	if (!file->absent && is_strong(file->etag))
		request->match = file->etag;
	pthread_mutex_unlock(&file->lock);
}

/* A server that knows no conditions: what was found out before has to do. */
static int upload(struct http_file *file, struct pfs_http_request *request)
{
	bool was_absent = request->only_new && !file->only_new;
	int err = pfs_http_perform(file->dir->client, request);

	if (err == -EOPNOTSUPP && (request->only_new || request->match)) {
		request->only_new = false;
		request->match = NULL;
		err = pfs_http_perform(file->dir->client, request);
	}
	return err == -EEXIST && was_absent ? -ESTALE : err;
}

static int http_sync(struct pfs_file *base)
{
	struct http_file *file = file_of(base);
	char hex[PFS_HTTP_SHA256_HEX];
	struct pfs_http_request request = {
		.method = PFS_HTTP_PUT, .url = file->url, .fd = file->fd};
	struct stat st;
	int err;

	if (file->fd < 0 || !file->dirty)
		return 0;
	if (fstat(file->fd, &st))
		return -errno;
	request.size = (uint64_t)st.st_size;
	err = sha256_of(hex, file->fd, request.size);
	if (err && err != -EOPNOTSUPP)
		return err;
	/* Built without: the server can't verify what it gets. */
	request.sha256 = err ? NULL : hex;
	set_conditions(file, &request);
	err = upload(file, &request);
	if (!err) {
		pthread_mutex_lock(&file->lock);
		file->dirty = file->only_new = file->absent = false;
		file->etag[0] = 0;
		pthread_mutex_unlock(&file->lock);
	}
	return err == -ENOENT ? pfs_http_complain(file->dir->client, -EIO, file->url,
						  "there is no such bucket")
			      : err;
}

static int http_size(struct pfs_file *base, uint64_t *out)
{
	struct http_file *file = file_of(base);
	struct stat st;
	int err;

	*out = 0;
	if (!is_collected(file)) {
		err = request_size(file, out);
		if (err == -ENOENT)
			note_absent(file);
		return err;
	}
	if (fstat(file->fd, &st))
		return -errno;
	*out = (uint64_t)st.st_size;
	return 0;
}

static int http_truncate(struct pfs_file *base, uint64_t size)
{
	struct http_file *file = file_of(base);

	if (file->fd < 0)
		return -EBADF;
	file->dirty = true;
	file->unchanged = false;
	while (ftruncate(file->fd, (off_t)size))
		if (errno != EINTR)
			return -errno;
	return 0;
}

static int http_rename(struct pfs_dir *dir, const char *from, const char *to)
{
	(void)dir;
	(void)from;
	(void)to;
	return -EOPNOTSUPP;
}

static int http_unlink(struct pfs_dir *base, const char *name)
{
	struct http_dir *dir = dir_of(base);
	char url[PFS_HTTP_URL_MAX + PFS_PLAIN_NAME_MAX + 1];
	struct pfs_http_request request = {.method = PFS_HTTP_DELETE, .url = url};
	int err = check_open(dir, name, PFS_IO_CREATE);

	if (err)
		return err;
	snprintf(url, sizeof(url), "%s%s", dir->place.url, name);
	return pfs_http_perform(dir->client, &request);
}

/* What a server has no word for. */
static int http_change_space(struct pfs_file *file, uint64_t off, uint64_t len)
{
	(void)file;
	(void)off;
	(void)len;
	return -EOPNOTSUPP;
}

static int http_map(struct pfs_file *file, size_t len, const uint8_t **out)
{
	(void)file;
	(void)len;
	*out = NULL;
	return -EOPNOTSUPP;
}

static void http_unmap(struct pfs_file *file, const uint8_t *addr, size_t len)
{
	(void)file;
	(void)addr;
	(void)len;
}

static const struct pfs_io_ops http_ops = {
	.open_dir = http_open_dir,
	.close_dir = http_close_dir,
	.sync_dir = http_sync_dir,
	.list = http_list,
	.lock = http_lock,
	.space = http_space,
	.open = http_open,
	.rename = http_rename,
	.unlink = http_unlink,
	.close = http_close,
	.read = http_read,
	.write = http_write,
	.sync = http_sync,
	.allocate = http_change_space,
	.punch = http_change_space,
	.truncate = http_truncate,
	.size = http_size,
	.disk_usage = http_size,
	.map = http_map,
	.unmap = http_unmap,
	.whole_files = true,
};
#endif

static const struct pfs_io pfs_io_http = {.ops = &http_ops, .context = NULL};

const struct pfs_io *pfs_io_for(const char *location, const struct pfs_http_options *options,
				struct pfs_io *io)
{
	if (!pfs_location_is_url(location))
		return &pfs_io_file;
	if (!options)
		return &pfs_io_http;
	*io = (struct pfs_io){.ops = &http_ops, .context = (void *)(uintptr_t)options};
	return io;
}
