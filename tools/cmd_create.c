#include "tools/command.h"
#include "tools/mountinfo.h"
#include "tools/report.h"

enum { OPTION_PAGE_SIZE = OPTION_FIRST_OWN, OPTION_MIN_VALUE_SIZE, OPTION_DICT };

static const struct option options[] = {
	{"page-size", required_argument, NULL, OPTION_PAGE_SIZE},
	{"min-value-size", required_argument, NULL, OPTION_MIN_VALUE_SIZE},
	{"dict", required_argument, NULL, OPTION_DICT},
	COMMON_OPTIONS,
};

/* A mounted store must not get another one's files into it. */
static bool is_mounted(const char *path)
{
	struct mount mount;
	bool found = mountinfo_find(path, &mount) == 1;

	if (found)
		complain("%s: the store %s is mounted there", path, mount.source);
	mount_free(&mount);
	return found;
}

static int run(const struct command *command, int argc, char **argv)
{
	struct common_options common = {.wait_ms = WAIT_MS_DEFAULT};
	struct pfs_create_options create = {0};
	struct pfs_reason reason = {""};
	enum pfs_dict_use dict = PFS_DICT_AS_RECORDED;
	uint64_t size;
	int c, result, err;

	while ((c = getopt_long(argc, argv, ":hq", options, NULL)) != -1) {
		switch (c) {
		case OPTION_PAGE_SIZE:
			if (!parse_size(optarg, &create.page_size) ||
			    create.page_size < PFS_PAGE_SIZE_MIN ||
			    create.page_size > PFS_PAGE_SIZE_MAX || !pfs_is_pow2(create.page_size))
				return usage_error(
					command,
					"--page-size=%s is not a power of two from 64K to 1G",
					optarg);
			break;
		case OPTION_MIN_VALUE_SIZE:
			if (!parse_size(optarg, &size) || size < PFS_MIN_VALUE_MIN ||
			    size > PFS_MIN_VALUE_MAX)
				return usage_error(
					command,
					"--min-value-size=%s is not a size from 16 to 4096",
					optarg);
			create.min_value_size = (uint32_t)size;
			break;
		case OPTION_DICT:
			if (!pfs_dict_use_parse(optarg, &dict))
				return usage_error(command, "--dict=%s is neither auto nor off",
						   optarg);
			create.dict_off = dict == PFS_DICT_OFF;
			break;
		default:
			result = common_option(command, c, argv, &common);
			if (result >= 0)
				return result;
		}
	}
	if (argc - optind != 1)
		return usage_error(command, "one directory is expected");
	if (is_mounted(argv[optind]))
		return PFS_EXIT_NO_STORE;
	/* The store is made all the same: other programs may give it dictionaries. */
	if (dict == PFS_DICT_AUTO && !pfs_store_trainer())
		complain("--dict=auto: " PFS_WITHOUT_TRAINER);
	err = pfs_store_create(argv[optind], &create, &reason);
	if (err) {
		complain("%s", reason.text);
		return pfs_exit_of_open(err);
	}
	return PFS_EXIT_OK;
}

const struct command command_create = {
	.name = "create",
	.summary = "make an empty store",
	.usage = "[options] DIRECTORY",
	.help = "Makes a store in DIRECTORY, which is made when it is missing and must be "
		"empty.\n\n"
		"Options (K, M and G stand for powers of 1024):\n"
		"      --page-size=SIZE       size of a page file: a power of two, 64K to 1G "
		"(32M)\n"
		"      --min-value-size=SIZE  the smallest room of a document, 16 to 4096 bytes "
		"(128)\n"
		"      --dict=auto|off        off: the store gets no dictionaries, unless it is "
		"mounted with\n"
		"                             -o dict=auto or imported to with --dict=auto "
		"(auto)\n",
	.run = run,
};
