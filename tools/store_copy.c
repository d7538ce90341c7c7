#include "tools/store_copy.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/exit_codes.h"
#include "storage/wire.h"
#include "tools/report.h"

#define TEMP_STEM_MAX 200 /* bytes of the name that the temporary one repeats */

/* ---- where it is to be ---- */

static bool is_below(const char *path, const char *top)
{
	size_t len = strlen(top);

	return strncmp(path, top, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

static bool is_empty(const char *path, int *err)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	bool empty = true;

	*err = dir ? 0 : -errno;
	while (dir && empty && (entry = readdir(dir)))
		empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
	if (dir)
		closedir(dir);
	return empty;
}

static bool is_mount_point(const char *path)
{
	struct statx st;

	return statx(AT_FDCWD, path, 0, 0, &st) == 0 &&
	       (st.stx_attributes_mask & st.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

/* Something is there already. */
static int look_at_directory(struct store_copy *copy)
{
	struct stat st;
	int err;

	if (stat(copy->name, &st)) {
		complain("%s: %s", copy->name,
			 errno == ENOENT ? "a link to nothing" : strerror(errno));
		return PFS_EXIT_NO_STORE;
	}
	if (!S_ISDIR(st.st_mode)) {
		complain("%s: is there, and not a directory", copy->name);
		return PFS_EXIT_NO_STORE;
	}
	copy->path = realpath(copy->name, NULL);
	if (!copy->path) {
		complain("%s: %s", copy->name, strerror(errno));
		return PFS_EXIT_IO;
	}
	if (!is_empty(copy->path, &err)) {
		complain("%s: is not empty: give a directory that is, or a new one", copy->name);
		return PFS_EXIT_NO_STORE;
	}
	if (err) {
		complain("%s: %s", copy->name, strerror(-err));
		return PFS_EXIT_IO;
	}
	if (is_mount_point(copy->path)) {
		complain("%s: is a mount point: give a new directory in it", copy->name);
		return PFS_EXIT_NO_STORE;
	}
	copy->replaces = true;
	return 0;
}

/* Joins and allocates. */
static char *join(const char *dir, const char *name)
{
	char *path = NULL;

	if (asprintf(&path, "%s/%s", strcmp(dir, "/") ? dir : "", name) < 0)
		return NULL;
	return path;
}

/* Nothing is there: its directory must be. */
static int look_at_parent(struct store_copy *copy)
{
	char *given = strdup(copy->name), *slash, *base;
	char *parent = NULL;

	for (size_t len = given ? strlen(given) : 0; len > 1 && given[len - 1] == '/';)
		given[--len] = '\0';
	slash = given ? strrchr(given, '/') : NULL;
	base = slash ? slash + 1 : given;
	if (given && *base) {
		if (slash)
			*slash = '\0';
		parent = realpath(!slash ? "." : slash == given ? "/" : given, NULL);
		if (parent)
			copy->path = join(parent, base);
	} else {
		errno = given ? ENOENT : ENOMEM;
	}
	if (!copy->path && given && *base && slash)
		complain("%s: can't be made in %s: %s", copy->name, *given ? given : "/",
			 strerror(errno));
	else if (!copy->path)
		complain("%s: can't be made: %s", copy->name, strerror(errno));
	free(given);
	free(parent);
	return copy->path ? 0 : PFS_EXIT_IO;
}

static int refuse_inside(const struct store_copy *copy, const struct target *source)
{
	char *store = realpath(source->store, NULL);
	int result = 0;

	if (store && is_below(copy->path, store)) {
		complain("%s: is inside the store that is to be copied", copy->name);
		result = PFS_EXIT_USAGE;
	} else if (source->daemon_mountpoint && is_below(copy->path, source->daemon_mountpoint)) {
		complain("%s: is inside the mount of what is to be copied", copy->name);
		result = PFS_EXIT_USAGE;
	}
	free(store);
	return result;
}

int store_copy_begin(struct store_copy *copy, const char *name, const struct target *source)
{
	struct stat st;
	int result;

	*copy = (struct store_copy){.name = name};
	result = lstat(name, &st) == 0 ? look_at_directory(copy) : look_at_parent(copy);
	if (!result)
		result = refuse_inside(copy, source);
	if (result)
		return result;
	copy->parent = strdup(copy->path);
	if (!copy->parent) {
		complain("%s", explain(-ENOMEM));
		return PFS_EXIT_IO;
	}
	*strrchr(copy->parent, '/') = '\0';
	return 0;
}

/* ---- making it ---- */

/* "" for the root, to which a slash is added in any case. */
static int make_temp(struct store_copy *copy)
{
	const char *base = strrchr(copy->path, '/') + 1;
	char *temp;
	int err;

	if (asprintf(&temp, "%s/.%.*s.partial-XXXXXX", copy->parent, TEMP_STEM_MAX, base) < 0)
		return -ENOMEM;
	if (!mkdtemp(temp)) {
		err = -errno;
		free(temp);
		return err;
	}
	copy->temp = temp;
	return 0;
}

/* What a document lacks is the copy's fault as a whole. */
static void on_refused(void *arg, const struct target_where *where, const struct pfs_key *key,
		       int err)
{
	struct store_copy *copy = arg;

	(void)where;
	complain("%s: %s: %s", copy->name, key_text(key).text, explain(err));
	if (!copy->err)
		copy->err = err;
}

static void on_stored(void *arg, uint64_t documents)
{
	(void)arg;
	(void)documents; /* counted at the end, in the store */
}

int store_copy_make(struct store_copy *copy, const struct pfs_store_stat *stat)
{
	const struct pfs_create_options create = {
		.page_size = stat->page_size,
		.min_value_size = (uint32_t)stat->min_value_size,
		.dict_off = stat->dictionary_off_recorded,
	};
	const struct target_options how = {
		.flags = TARGET_WRITE,
		.quiet = true,
		.defaults = stat->defaults_recorded ? &stat->defaults : NULL,
	};
	const struct target_import hooks = {
		.stored = on_stored, .refused = on_refused, .arg = copy};
	struct pfs_store_stat empty;
	struct pfs_reason reason;
	int result, err = make_temp(copy);

	if (err) {
		complain("%s: can't be made: %s", copy->name, strerror(-err));
		return PFS_EXIT_IO;
	}
	err = pfs_store_create(copy->temp, &create, &reason);
	if (err) {
		complain("%s", reason.text);
		return pfs_exit_of_open(err);
	}
	result = target_open(&copy->target, copy->temp, &how);
	if (result)
		return result;
	err = target_stat(copy->target, &empty);
	if (err) {
		target_complain(copy->target, NULL, err);
		return target_exit(copy->target, err);
	}
	target_import_begin(copy->target, &hooks);
	sampler_begin(&copy->sampler, copy->target, &empty);
	return 0;
}

int store_copy_add(struct store_copy *copy, const struct pfs_key *key, const struct pfs_attr *attr,
		   const void *data, size_t len)
{
	const struct target_where nowhere = {0};
	bool point = pfs_key_is_point(key);
	int err;

	/* What is no sample of small points does not end the sampling. */
	if (point && len <= PFS_WIRE_PIECE_MAX)
		err = sampler_add(&copy->sampler, key, data, len, attr, &nowhere);
	else
		err = target_import_add(copy->target, key, data, len, attr, &nowhere);
	if (err && !copy->err)
		copy->err = err;
	copy->points += point;
	copy->scratch += !point;
	copy->bytes += len;
	return copy->err;
}

/* ---- finishing ---- */

/* That the store has what it was given; then it is closed, durably. */
static int close_whole(struct store_copy *copy)
{
	struct pfs_store_stat stat;
	int err = sampler_end(&copy->sampler), close_err;

	if (!err)
		err = copy->err;
	if (!err)
		err = target_import_flush(copy->target);
	if (!err)
		err = target_stat(copy->target, &stat);
	if (!err && (stat.points != copy->points || stat.scratch != copy->scratch ||
		     stat.raw_bytes != copy->bytes))
		err = -EIO;
	close_err = target_close(copy->target);
	copy->target = NULL;
	return err ? err : close_err;
}

static int sync_directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = fd < 0 ? -errno : 0;

	if (!err && fsync(fd))
		err = -errno;
	if (fd >= 0)
		close(fd);
	return err;
}

/* Mode and owner of the empty directory that it takes the place of. */
static int take_attributes(const struct store_copy *copy)
{
	struct stat st;

	if (!copy->replaces)
		return 0;
	if (stat(copy->path, &st) || chown(copy->temp, st.st_uid, st.st_gid) ||
	    chmod(copy->temp, st.st_mode & 07777))
		return -errno;
	return 0;
}

int store_copy_finish(struct store_copy *copy)
{
	int err = close_whole(copy);

	if (!err)
		err = take_attributes(copy);
	if (!err)
		err = sync_directory(copy->temp);
	if (!err && rename(copy->temp, copy->path))
		err = -errno;
	if (err) {
		complain("%s: %s", copy->name, explain(err));
		return err == -ENOTEMPTY || err == -EEXIST ? PFS_EXIT_NO_STORE : PFS_EXIT_IO;
	}
	free(copy->temp);
	copy->temp = NULL;
	err = sync_directory(copy->parent[0] ? copy->parent : "/");
	if (err)
		complain("%s: is complete, but its name may not survive a power cut: %s",
			 copy->name, strerror(-err));
	return err ? PFS_EXIT_IO : 0;
}

static void remove_store(const char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
	}
	if (dir)
		closedir(dir);
	if (rmdir(path) && errno != ENOENT)
		complain("%s: what was not finished can't be removed: %s", path, strerror(errno));
}

void store_copy_end(struct store_copy *copy)
{
	if (copy->target) {
		(void)sampler_end(&copy->sampler);
		(void)target_close(copy->target);
	}
	if (copy->temp)
		remove_store(copy->temp);
	free(copy->temp);
	free(copy->path);
	free(copy->parent);
	*copy = (struct store_copy){0};
}
