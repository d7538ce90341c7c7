#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "tools/command.h"
#include "tools/report.h"

#define PIECE PFS_MIB

static const struct option options[] = {COMMON_OPTIONS};

/* Copies everything from fd into the document that was begun. *input_failed: the error is the
 * input's. */
static int copy_all(struct target *target, int fd, bool *input_failed)
{
	uint8_t *buf = malloc(PIECE);
	int err = buf ? 0 : -ENOMEM;
	uint64_t size = 0;
	ssize_t n;

	while (!err) {
		n = read(fd, buf, PIECE);
		if (n == 0)
			break;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			*input_failed = true;
			err = -errno;
			break;
		}
		size += (uint64_t)n;
		err = size > PFS_PAYLOAD_MAX ? -EFBIG : target_put_write(target, buf, (size_t)n);
	}
	free(buf);
	return err;
}

static int put_from(struct target *target, const char *name, const struct pfs_key *key, int fd,
		    const char *file)
{
	bool input_failed = false, begun = false;
	int err = target_put_begin(target);

	if (!err) {
		begun = true;
		err = copy_all(target, fd, &input_failed);
	}
	if (!err) {
		begun = false;
		err = target_put_commit(target, key);
	}
	if (!err)
		return PFS_EXIT_OK;
	if (input_failed)
		complain("%s: %s", file, explain(err));
	else
		target_complain(target, name, err);
	int result = input_failed ? PFS_EXIT_IO : target_exit(target, err);

	if (begun)
		target_put_abort(target);
	return result;
}

static int run(const struct command *command, int argc, char **argv)
{
	struct common_options common = {.wait_ms = WAIT_MS_DEFAULT};
	const char *file = "standard input";
	struct target *target;
	struct pfs_key *key;
	int c, result, fd = STDIN_FILENO;

	while ((c = getopt_long(argc, argv, ":hq", options, NULL)) != -1) {
		result = common_option(command, c, argv, &common);
		if (result >= 0)
			return result;
	}
	if (argc - optind < 2 || argc - optind > 3)
		return usage_error(command, "a TARGET, an ID and at most one FILE are expected");
	key = parse_keys(argv + optind + 1, 1, &result);
	if (!key)
		return result;
	if (argc - optind == 3 && strcmp(argv[optind + 2], "-") != 0) {
		file = argv[optind + 2];
		fd = open(file, O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			complain("%s: %s", file, strerror(errno));
			free(key);
			return PFS_EXIT_IO;
		}
	}
	result = open_target(&target, argv[optind], TARGET_WRITE, &common);
	if (!result) {
		result = put_from(target, argv[optind + 1], key, fd, file);
		result = close_target(target, result);
	}
	if (fd != STDIN_FILENO)
		close(fd);
	free(key);
	return result;
}

const struct command command_put = {
	.name = "put",
	.summary = "store one document, replacing it as a whole",
	.usage = "[options] TARGET ID [FILE|-]",
	.help = "Stores what FILE or standard input holds as document ID, up to 1 GiB, atomically: "
		"a reader, and\n"
		"a store after a crash, has the old document or the new one. Mode and owner of a "
		"document that is\n"
		"there are kept. An ID may also be the name of a scratch file.\n\nOptions:\n",
	.run = run,
};
