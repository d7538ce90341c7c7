#include "fs/options.h"

#include <stdio.h>
#include <stdlib.h>

#include "storage/exit_codes.h"

enum pfs_option_key {
	PFS_OPT_HELP,
	PFS_OPT_VERSION,
	PFS_OPT_FOREGROUND,
	PFS_OPT_DEBUG,
	PFS_OPT_RO,
	PFS_OPT_RW,
	PFS_OPT_STRICT,
	PFS_OPT_JSON,
	PFS_OPT_DICT,
	PFS_OPT_COMMIT,
	PFS_OPT_LOW_LATENCY,
	PFS_OPT_PAGE_SIZE,
	PFS_OPT_MIN_VALUE_SIZE,
	PFS_OPT_UID,
	PFS_OPT_GID,
	PFS_OPT_UMASK,
	PFS_OPT_CACHE,
	PFS_OPT_CACHE_SIZE,
	PFS_OPT_REFRESH,
	PFS_OPT_TIMEOUT,
	PFS_OPT_OURS,
	PFS_OPT_MOUNT_ONLY,
};

static const struct fuse_opt option_specs[] = {
	FUSE_OPT_KEY("-h", PFS_OPT_HELP),
	FUSE_OPT_KEY("--help", PFS_OPT_HELP),
	FUSE_OPT_KEY("-V", PFS_OPT_VERSION),
	FUSE_OPT_KEY("--version", PFS_OPT_VERSION),
	FUSE_OPT_KEY("-f", PFS_OPT_FOREGROUND),
	FUSE_OPT_KEY("-d", PFS_OPT_DEBUG),
	FUSE_OPT_KEY("debug", PFS_OPT_DEBUG),
	FUSE_OPT_KEY("ro", PFS_OPT_RO),
	FUSE_OPT_KEY("rw", PFS_OPT_RW),
	FUSE_OPT_KEY("strict", PFS_OPT_STRICT),
	FUSE_OPT_KEY("json=", PFS_OPT_JSON),
	FUSE_OPT_KEY("low_latency", PFS_OPT_LOW_LATENCY),
	FUSE_OPT_KEY("dict=", PFS_OPT_DICT),
	FUSE_OPT_KEY("commit=", PFS_OPT_COMMIT),
	FUSE_OPT_KEY("page_size=", PFS_OPT_PAGE_SIZE),
	FUSE_OPT_KEY("min_value_size=", PFS_OPT_MIN_VALUE_SIZE),
	FUSE_OPT_KEY("uid=", PFS_OPT_UID),
	FUSE_OPT_KEY("gid=", PFS_OPT_GID),
	FUSE_OPT_KEY("umask=", PFS_OPT_UMASK),
	FUSE_OPT_KEY("cache=", PFS_OPT_CACHE),
	FUSE_OPT_KEY("cache_size=", PFS_OPT_CACHE_SIZE),
	FUSE_OPT_KEY("refresh=", PFS_OPT_REFRESH),
	FUSE_OPT_KEY("timeout=", PFS_OPT_TIMEOUT),
	/* The mount's source and type say which store it is, for payloadctl and findmnt. */
	FUSE_OPT_KEY("fsname=", PFS_OPT_OURS),
	FUSE_OPT_KEY("subtype=", PFS_OPT_OURS),
	/* Always so. */
	FUSE_OPT_KEY("default_permissions", FUSE_OPT_KEY_DISCARD),
	/* Words of fstab that are for mount(8) and systemd, and which some versions of mount pass
	   on. */
	FUSE_OPT_KEY("defaults", PFS_OPT_MOUNT_ONLY),
	FUSE_OPT_KEY("auto", PFS_OPT_MOUNT_ONLY),
	FUSE_OPT_KEY("noauto", PFS_OPT_MOUNT_ONLY),
	FUSE_OPT_KEY("nofail", PFS_OPT_MOUNT_ONLY),
	FUSE_OPT_KEY("user", PFS_OPT_MOUNT_ONLY),
	FUSE_OPT_KEY("user=", PFS_OPT_MOUNT_ONLY),
	FUSE_OPT_KEY("nouser", PFS_OPT_MOUNT_ONLY),
	FUSE_OPT_KEY("users", PFS_OPT_MOUNT_ONLY),
	FUSE_OPT_KEY("nousers", PFS_OPT_MOUNT_ONLY),
	FUSE_OPT_KEY("owner", PFS_OPT_MOUNT_ONLY),
	FUSE_OPT_KEY("group", PFS_OPT_MOUNT_ONLY),
	FUSE_OPT_KEY("_netdev", PFS_OPT_MOUNT_ONLY),
	FUSE_OPT_KEY("comment=", PFS_OPT_MOUNT_ONLY),
	FUSE_OPT_END,
};

struct pfs_parsing {
	struct pfs_options *options;
	struct pfs_reason *reason;
};

/* The value of "name=value". */
static const char *value_of(const char *arg)
{
	return strchr(arg, '=') + 1;
}

/* A number without sign; scale allows K, M and G behind it. */
static bool parse_number(const char *text, int base, bool scale, uint64_t max, uint64_t *out)
{
	unsigned shift = 0;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*out = strtoull(text, &end, base);
	if (scale && *end) {
		switch (*end++) {
		case 'K':
		case 'k': shift = 10; break;
		case 'M':
		case 'm': shift = 20; break;
		case 'G':
		case 'g': shift = 30; break;
		default: return false;
		}
	}
	if (errno || *end || *out > max >> shift)
		return false;
	*out <<= shift;
	return true;
}

static int bad_value(struct pfs_reason *reason, const char *arg, const char *expected)
{
	snprintf(reason->text, sizeof(reason->text), "-o %s: %s is expected", arg, expected);
	return -1;
}

static int parse_seconds(unsigned *out, const char *arg, unsigned max, struct pfs_reason *reason)
{
	char expected[64];
	uint64_t n;

	if (parse_number(value_of(arg), 10, false, max, &n) && n > 0) {
		*out = (unsigned)n;
		return 0;
	}
	snprintf(expected, sizeof(expected), "a number of seconds from 1 to %u", max);
	return bad_value(reason, arg, expected);
}

static int parse_remote(struct pfs_options *o, int key, const char *arg, struct pfs_reason *reason)
{
	switch (key) {
	case PFS_OPT_REFRESH:
		return parse_seconds(&o->refresh_seconds, arg, PFS_REFRESH_SECONDS_MAX, reason);
	case PFS_OPT_TIMEOUT:
		return parse_seconds(&o->timeout_seconds, arg, PFS_TIMEOUT_SECONDS_MAX, reason);
	case PFS_OPT_CACHE_SIZE:
		if (parse_number(value_of(arg), 10, true, INT64_MAX, &o->cache_size) &&
		    o->cache_size >= PFS_CACHE_SIZE_MIN)
			return 0;
		return bad_value(reason, arg, "a number of bytes from 16M on");
	default: break;
	}
	if (!*value_of(arg))
		return bad_value(reason, arg, "a directory, or off,");
	free(o->cache);
	o->cache = strdup(value_of(arg));
	if (o->cache)
		return 0;
	snprintf(reason->text, sizeof(reason->text), "no memory");
	return -1;
}

static int parse_sizes(struct pfs_options *o, int key, const char *arg, struct pfs_reason *reason)
{
	uint64_t n;

	if (key == PFS_OPT_PAGE_SIZE) {
		if (!parse_number(value_of(arg), 10, true, PFS_PAGE_SIZE_MAX, &n) ||
		    n < PFS_PAGE_SIZE_MIN || !pfs_is_pow2(n))
			return bad_value(reason, arg, "a power of two from 64K to 1G");
		o->page_size = n;
		return 0;
	}
	if (!parse_number(value_of(arg), 10, true, PFS_MIN_VALUE_MAX, &n) || n < PFS_MIN_VALUE_MIN)
		return bad_value(reason, arg, "a number of bytes from 16 to 4096");
	o->min_value_size = (uint32_t)n;
	return 0;
}

static int parse_owner(struct pfs_options *o, int key, const char *arg, struct pfs_reason *reason)
{
	uint64_t n;

	/* The greatest id means "no id" to the kernel. */
	if (!parse_number(value_of(arg), 10, false, UINT32_MAX - 1, &n))
		return bad_value(reason, arg, "a numeric id");
	if (key == PFS_OPT_UID) {
		o->uid = (uint32_t)n;
		o->has_uid = true;
	} else {
		o->gid = (uint32_t)n;
		o->has_gid = true;
	}
	return 0;
}

static int parse_umask(struct pfs_options *o, const char *arg, struct pfs_reason *reason)
{
	uint64_t n;

	if (!parse_number(value_of(arg), 8, false, 0777, &n))
		return bad_value(reason, arg, "an octal number up to 0777");
	o->umask = (uint32_t)n;
	o->has_umask = true;
	return 0;
}

static int parse_position(struct pfs_options *o, const char *arg, struct pfs_reason *reason)
{
	char **place = o->mountpoint ? &o->store : &o->mountpoint;

	if (o->store) {
		snprintf(reason->text, sizeof(reason->text),
			 "%s: one STORE and one MOUNTPOINT are all there can be", arg);
		return -1;
	}
	if (!*arg) {
		snprintf(reason->text, sizeof(reason->text), "a path is empty");
		return -1;
	}
	*place = strdup(arg);
	if (!*place) {
		snprintf(reason->text, sizeof(reason->text), "no memory");
		return -1;
	}
	if (o->store) { /* the first of two is the store */
		char *first = o->mountpoint;

		o->mountpoint = o->store;
		o->store = first;
	}
	return 0;
}

/* For fuse_opt_parse: 1 keeps the argument for libfuse, 0 takes it away, -1 is an error. */
static int parse_one(void *data, const char *arg, int key, struct fuse_args *outargs)
{
	struct pfs_parsing *parsing = data;
	struct pfs_options *o = parsing->options;

	(void)outargs;
	switch (key) {
	case PFS_OPT_HELP: o->help = true; return 0;
	case PFS_OPT_VERSION: o->version = true; return 0;
	case PFS_OPT_FOREGROUND: o->foreground = true; return 0;
	case PFS_OPT_DEBUG:
		o->debug = true;
		o->foreground = true;
		return 1;
	case PFS_OPT_RO:
	case PFS_OPT_RW: o->read_only = key == PFS_OPT_RO; return 0;
	case PFS_OPT_STRICT: o->strict = true; return 0;
	case PFS_OPT_JSON:
		o->json_check = strcmp(value_of(arg), "check") == 0;
		if (!o->json_check && strcmp(value_of(arg), "off") != 0)
			return bad_value(parsing->reason, arg, "check or off");
		return 0;
	case PFS_OPT_LOW_LATENCY: o->low_latency = true; return 0;
	case PFS_OPT_DICT:
		if (!pfs_dict_use_parse(value_of(arg), &o->dict))
			return bad_value(parsing->reason, arg, "auto or off");
		return 0;
	case PFS_OPT_COMMIT:
		return parse_seconds(&o->commit_seconds, arg, PFS_COMMIT_SECONDS_MAX,
				     parsing->reason);
	case PFS_OPT_CACHE:
	case PFS_OPT_CACHE_SIZE:
	case PFS_OPT_REFRESH:
	case PFS_OPT_TIMEOUT: return parse_remote(o, key, arg, parsing->reason);
	case PFS_OPT_PAGE_SIZE:
	case PFS_OPT_MIN_VALUE_SIZE: return parse_sizes(o, key, arg, parsing->reason);
	case PFS_OPT_UID:
	case PFS_OPT_GID: return parse_owner(o, key, arg, parsing->reason);
	case PFS_OPT_UMASK: return parse_umask(o, arg, parsing->reason);
	case PFS_OPT_OURS:
		snprintf(parsing->reason->text, sizeof(parsing->reason->text),
			 "-o %s: set by payloadfs itself, can't be chosen", arg);
		return -1;
	case PFS_OPT_MOUNT_ONLY: return 0;
	case FUSE_OPT_KEY_NONOPT: return parse_position(o, arg, parsing->reason);
	default: return strncmp(arg, "x-", 2) == 0 ? 0 : 1;
	}
}

int pfs_options_parse(struct pfs_options *options, int argc, char **argv, struct pfs_reason *reason)
{
	struct pfs_parsing parsing = {.options = options, .reason = reason};

	memset(options, 0, sizeof(*options));
	reason->text[0] = '\0';
	options->fuse = (struct fuse_args)FUSE_ARGS_INIT(argc, argv);
	if (fuse_opt_parse(&options->fuse, &parsing, option_specs, parse_one) != 0) {
		if (!reason->text[0]) /* libfuse has printed what it did not like */
			snprintf(reason->text, sizeof(reason->text), "wrong options");
		return -EINVAL;
	}
	if (options->help || options->version)
		return 0;
	if (!options->mountpoint) {
		snprintf(reason->text, sizeof(reason->text), "MOUNTPOINT is missing");
		return -EINVAL;
	}
	if (options->read_only && (options->page_size || options->min_value_size)) {
		snprintf(reason->text, sizeof(reason->text),
			 "-o ro makes no new store, so page_size= and min_value_size= can't be "
			 "given with it");
		return -EINVAL;
	}
	return 0;
}

int pfs_options_check_own(const struct pfs_options *options, struct pfs_reason *reason)
{
	const char *name = options->cache	      ? "cache"
			   : options->cache_size      ? "cache_size"
			   : options->refresh_seconds ? "refresh"
			   : options->timeout_seconds ? "timeout"
						      : NULL;

	if (!name)
		return 0;
	snprintf(reason->text, sizeof(reason->text),
		 "-o %s=: is for published collections, and %s is none", name,
		 options->store ? options->store : "the store");
	return -EINVAL;
}

void pfs_options_free(struct pfs_options *options)
{
	free(options->cache);
	free(options->store);
	free(options->mountpoint);
	fuse_opt_free_args(&options->fuse);
}

void pfs_options_help(const char *program)
{
	printf("Usage: %s [options] [STORE] MOUNTPOINT\n"
	       "\n"
	       "Mounts a store of payloads: every point is a file named by its id.\n"
	       "\n"
	       "STORE is the store's directory, which is made when it is missing, or the URL\n"
	       "  (http://, https://, s3://) or directory of a published collection, which can\n"
	       "  only be read. Left out, it is\n"
	       "  ${XDG_DATA_HOME:-~/.local/share}/payloadfs/<MOUNTPOINT, escaped>, or for root\n"
	       "  /var/lib/payloadfs/<MOUNTPOINT, escaped>; the chosen directory is printed.\n"
	       "\n"
	       "  -h, --help     this help\n"
	       "  -V, --version  versions\n"
	       "  -f             stay in the foreground, messages to standard error\n"
	       "  -d             the same, and print every request\n"
	       "  -o OPT,...     mount options:\n"
	       "      ro                  read only; several may mount the same store so\n"
	       "      strict              refuse new files whose name is not a point id\n"
	       "      commit=SECONDS      what was closed survives a power cut after so long (1)\n"
	       "      page_size=BYTES     of a new store: power of two, 64K to 1G (32M)\n"
	       "      min_value_size=N    of a new store: smallest container, 16 to 4096 (128)\n"
	       "      uid=N,gid=N,umask=M owner and permissions of documents that have none of\n"
	       "                          their own, such as imported ones; fixed by the first\n"
	       "                          mount (the mounting user's)\n"
	       "      dict=auto|off       pack new documents with a dictionary that is made from\n"
	       "                          those that are there, or each on its own; a new store\n"
	       "                          keeps the choice, else it holds for this mount (as the\n"
	       "                          store was made)\n"
	       "      json=check|off      report which changed documents are not valid JSON (log,\n"
	       "                          stats.json), and take them as they are all the same "
	       "(off)\n"
	       "      low_latency         keep the machine's processors from sleeping while "
	       "requests\n"
	       "                          come (/dev/cpu_dma_latency): faster where they sleep\n"
	       "                          deeply, at the cost of power\n"
	       "      cache=DIR           of a published collection: keep there what was fetched\n"
	       "                          (of a URL ${XDG_CACHE_HOME:-~/.cache}/payloadfs, or for\n"
	       "                          root /var/cache/payloadfs); off: in memory only\n"
	       "      cache_size=BYTES    at most so much of it, 16M and more (1G)\n"
	       "      refresh=SECONDS     look for a newer generation so often (at SIGHUP only)\n"
	       "      timeout=SECONDS     give up on a server that does not answer (30)\n"
	       "\n"
	       "Options of libfuse:\n",
	       program);
	fuse_lowlevel_help();
	printf("\n%s", PFS_EXIT_HELP);
}
