/* Rank 1: the command line. Parses and checks, changes nothing outside the process. */
#ifndef PFS_OPTIONS_H
#define PFS_OPTIONS_H

#include "fs/fuse_api.h"
#include "storage/store.h"

#define PFS_COMMIT_SECONDS_MAX 3600
#define PFS_REFRESH_SECONDS_MAX 86400
#define PFS_TIMEOUT_SECONDS_MAX 3600
#define PFS_CACHE_SIZE_MIN (16 * PFS_MIB)

struct pfs_options {
	char *store;	  /* as given, NULL: the default for the mount point */
	char *mountpoint; /* as given */
	bool help, version;
	bool foreground, debug;
	bool read_only, strict;
	bool published; /* STORE is a published collection; set by main() */
	bool json_check;
	bool low_latency;
	enum pfs_dict_use dict;
	unsigned commit_seconds; /* 0: not given */
	uint64_t page_size;	 /* 0: not given */
	uint32_t min_value_size; /* 0: not given */
	bool has_uid, has_gid, has_umask;
	uint32_t uid, gid, umask;
	/* Of published collections: */
	char *cache;		  /* as given; NULL: not given, "off": in memory only */
	uint64_t cache_size;	  /* 0: not given */
	unsigned refresh_seconds; /* 0: not given */
	unsigned timeout_seconds; /* 0: not given */
	struct fuse_args fuse;	  /* what is left for libfuse, with the program's name in front */
};

/* 0, or -EINVAL when the command line is wrong (*reason says how). With help or version nothing
 * else is looked at. Free with pfs_options_free in either case. */
int pfs_options_parse(struct pfs_options *options, int argc, char **argv,
		      struct pfs_reason *reason);

void pfs_options_free(struct pfs_options *options);

/* For a store that is no published collection: -EINVAL when there are options that only those
 * have (*reason says which). */
int pfs_options_check_own(const struct pfs_options *options, struct pfs_reason *reason);

/* Prints the help to standard output. */
void pfs_options_help(const char *program);

#endif
