/* What a command works on: a store directory, or the daemon that holds it, behind one table of
 * operations, so that commands do not care.
 *
 * A TARGET is a store's directory or the mount point of one (not a path below it). When a daemon
 * has the store, everything goes through its socket; else the store is opened here. All functions
 * return 0 or a negative errno; target_complain says what it means, target_exit which exit code it
 * makes. A target belongs to one thread. */
#ifndef TOOLS_TARGET_H
#define TOOLS_TARGET_H

#include "storage/store.h"

enum target_flags {
	TARGET_WRITE = 1,  /* it is going to be changed */
	TARGET_CREATE = 2, /* a store is made when there is none (an empty or missing directory) */
	TARGET_CHECK = 4,  /* for target_check only: a store without daemon is not opened, so that
			      damaged ones can be checked */
	TARGET_DAEMON = 8, /* for target_unmount only: without a daemon it is an error */
};

struct target_options {
	unsigned flags;		/* enum target_flags */
	unsigned wait_ms;	/* how long to wait for another process that holds the store */
	bool quiet;		/* nothing is said about a store that is made */
	enum pfs_dict_use dict; /* of a store that is opened here, and recorded in one that is made
				 */
	const struct pfs_defaults *defaults; /* as in pfs_open_options; may be NULL */
};

/* Where a document to import stood in its input; given back when it is refused. */
struct target_where {
	const char *file;
	uint64_t line, point;
};

/* Called while an import goes on: documents that were stored; one that was refused (negative
 * errno). */
struct target_import {
	void (*stored)(void *arg, uint64_t documents);
	void (*refused)(void *arg, const struct target_where *where, const struct pfs_key *key,
			int err);
	void *arg;
};

/* Each returns non-zero to stop, which the operation returns. Data is borrowed during the call. */
typedef int target_data_fn(void *arg, const void *data, size_t len);
typedef int target_name_fn(void *arg, const struct pfs_key *key);
/* status: 0, or why this document could not be had (data is empty). */
typedef int target_doc_fn(void *arg, const struct pfs_key *key, int status, const void *data,
			  size_t len);

/* The same of points and scratch files; attr: all of it, when status is 0. */
typedef int target_copy_fn(void *arg, const struct pfs_key *key, int status,
			   const struct pfs_attr *attr, const void *data, size_t len);

struct target;

/* The two kinds of target implement these. The functions below call them. */
struct target_ops {
	int (*close)(struct target *t);
	int (*get)(struct target *t, const struct pfs_key *key, target_data_fn *fn, void *arg);
	int (*put_begin)(struct target *t);
	int (*put_write)(struct target *t, const void *data, size_t len);
	int (*put_commit)(struct target *t, const struct pfs_key *key);
	int (*put_abort)(struct target *t);
	int (*import_add)(struct target *t, const struct pfs_key *key, const void *data, size_t len,
			  const struct pfs_attr *attr, const struct target_where *where);
	int (*import_flush)(struct target *t);
	int (*remove)(struct target *t, const struct pfs_key *keys, size_t count, int *statuses);
	int (*names)(struct target *t, unsigned kinds, target_name_fn *fn, void *arg);
	int (*export_all)(struct target *t, target_doc_fn *fn, void *arg);
	int (*export_keys)(struct target *t, const struct pfs_key *keys, size_t count,
			   target_doc_fn *fn, void *arg);
	int (*snapshot)(struct target *t, struct pfs_snapshot_info *info);
	int (*copy_all)(struct target *t, target_copy_fn *fn, void *arg);
	int (*copy_keys)(struct target *t, const struct pfs_key *keys, size_t count,
			 target_copy_fn *fn, void *arg);
	int (*stat)(struct target *t, struct pfs_store_stat *stat);
	int (*pages)(struct target *t, struct pfs_page_stat **pages, size_t *count);
	int (*place)(struct target *t, const struct pfs_key *key, struct pfs_attr *attr,
		     struct pfs_place *place);
	int (*check)(struct target *t, pfs_finding_fn *fn, pfs_progress_fn *progress, void *arg,
		     struct pfs_check_result *result);
	int (*compact)(struct target *t, pfs_progress_fn *progress, void *arg,
		       struct pfs_compact_result *result);
	int (*sync)(struct target *t);
	int (*train)(struct target *t, bool force, struct pfs_train_result *result);
	int (*train_from)(struct target *t, const uint8_t *samples, const size_t *lens,
			  size_t count, struct pfs_train_result *result);
	int (*unmount)(struct target *t, int timeout_ms);
};

/* Both kinds begin with this. */
struct target {
	const struct target_ops *ops;
	char *name;		       /* TARGET as it was given */
	char *store;		       /* the store's directory */
	char *mountpoint;	       /* canonical, when TARGET is a mount point; else NULL */
	const char *daemon_mountpoint; /* where the daemon that has the store serves it; NULL: there
					  is none */
	uint32_t daemon_pid;
	unsigned wait_ms;
	struct target_import import;
	struct pfs_reason
		reason; /* of the last error, when there is more to say than the errno does */
	bool lost;	/* the last error was one of the connection to the daemon */
};

/* Opens TARGET. On failure the one line is printed already, and the return value is the exit code
 * (> 0). */
int target_open(struct target **out, const char *name, const struct target_options *options);

/* Closes it: everything that was changed is durable when it returns 0 (directly opened stores). t
 * may be NULL. */
int target_close(struct target *t);

/* Prints the one line for an error of an operation on this target; what: the document or file
 * concerned, or NULL. */
void target_complain(const struct target *t, const char *what, int err);

/* The exit code for such an error. */
int target_exit(const struct target *t, int err);

/* The same for an operation on one document of several: damage (-EIO) is that document's. */
int target_document_exit(const struct target *t, int err);

/* The document's bytes, in order, in pieces. */
int target_get(struct target *t, const struct pfs_key *key, target_data_fn *fn, void *arg);

/* Replaces a document as a whole: begin, write..., then commit or abort. */
int target_put_begin(struct target *t);
int target_put_write(struct target *t, const void *data, size_t len);
int target_put_commit(struct target *t, const struct pfs_key *key);
int target_put_abort(struct target *t);

/* Stores one document of many; what is gathered is stored by import_flush at the latest. An error
 * is the store's (the rest would fail, too); a document's own goes to refused. attr: its mode,
 * owner and mtime; NULL: it keeps those that it has, and all of an import have one time. Only a
 * store that is opened here takes attr (-EOPNOTSUPP). */
void target_import_begin(struct target *t, const struct target_import *import);
int target_import_add(struct target *t, const struct pfs_key *key, const void *data, size_t len,
		      const struct pfs_attr *attr, const struct target_where *where);
int target_import_flush(struct target *t);

/* statuses: one for each key. */
int target_remove(struct target *t, const struct pfs_key *keys, size_t count, int *statuses);

/* The keys of the kinds (enum pfs_wire_kinds). */
int target_names(struct target *t, unsigned kinds, target_name_fn *fn, void *arg);

/* All points, or the documents of these keys in this order (those that are gone are left out). */
int target_export_all(struct target *t, target_doc_fn *fn, void *arg);
int target_export_keys(struct target *t, const struct pfs_key *keys, size_t count,
		       target_doc_fn *fn, void *arg);

/* Opens a snapshot (store.h), which lasts until the target is closed: names, export and copy read
 * from it, so that all they give is of one moment. -ENOSPC: its store has no room for it, and they
 * read what is there at the time; other errors: of the store. */
int target_snapshot(struct target *t, struct pfs_snapshot_info *info);

/* Everything that the snapshot shows, one document after the other, those of over 1 MiB too. */
int target_copy_all(struct target *t, target_copy_fn *fn, void *arg);

/* The same for these, in this order; what it does not show is left out. */
int target_copy_keys(struct target *t, const struct pfs_key *keys, size_t count, target_copy_fn *fn,
		     void *arg);

int target_stat(struct target *t, struct pfs_store_stat *stat);
/* *pages is malloc'ed; the caller frees it. */
int target_pages(struct target *t, struct pfs_page_stat **pages, size_t *count);
int target_place(struct target *t, const struct pfs_key *key, struct pfs_attr *attr,
		 struct pfs_place *place);
int target_check(struct target *t, pfs_finding_fn *fn, pfs_progress_fn *progress, void *arg,
		 struct pfs_check_result *result);
int target_compact(struct target *t, pfs_progress_fn *progress, void *arg,
		   struct pfs_compact_result *result);
int target_sync(struct target *t);
int target_train(struct target *t, bool force, struct pfs_train_result *result);
/* As pfs_train_from; no more samples than that takes. */
int target_train_from(struct target *t, const uint8_t *samples, const size_t *lens, size_t count,
		      struct pfs_train_result *result);

/* Asks the daemon to unmount, and waits until it has ended. -EBUSY: the mount is in use;
 * -ETIMEDOUT: it was asked, and has not ended in time; -EIO: it has ended but could not close the
 * store properly. timeout_ms -1: no limit. */
int target_unmount(struct target *t, int timeout_ms);

/* ---- for target.c: the two kinds ---- */

struct client;

/* A store opened here (or, with TARGET_CHECK, only named). *out is set on success. reason as in
 * pfs_store_open. */
int target_local_open(struct target **out, const char *store, const struct target_options *how,
		      struct pfs_reason *reason);

/* Takes over the client's connection; dirfd (which it takes over, too) is the store's directory. */
int target_remote_open(struct target **out, const struct client *client, int dirfd);

#endif
